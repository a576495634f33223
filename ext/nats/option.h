/*
** option.h - what the command line, MAPH_REPLICA_* and the config file say to maph-replica.
*/
#ifndef MAPH_NATS_OPTION_H
#define MAPH_NATS_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct options {
  /* the server, and who we are there */
  char *server, *domain, *creds, *nkey, *nkey_public, *user, *password_file, *token_file, *tls_ca,
      *tls_cert, *tls_key, *inbox_prefix, *config;
  bool plaintext, json, quiet;
  /* follow */
  char *filter, *sync, *mode, *metrics_file;
  uint64_t batch, batch_time_ms, txn_time_ms, marker_age_ms, verify_every_ms, auto_compact;
  /* create */
  char *keys, *storage;
  uint64_t history, replicas, max_value;
  /* put, del, get, wait */
  char *file, *type, *media_type, *wait;
  uint64_t if_revision, ttl_ms, timeout_ms, revision;
  bool if_absent;
  /* publish */
  bool once, overwrite, compare, skip_too_large;
  /* status */
  uint64_t max_lag_ms;
  /* relay */
  char *users, *buckets;
  uint64_t writers;
} options;
extern options option;

enum { OPTION_WORDS = 64 };
typedef struct arguments {
  const char *words[OPTION_WORDS]; /* what is no option; the first is the command */
  int count;
} arguments;

/* Fill `option` and *args; `help` prints all of --help.  0: go on; else the exit status + 1, after
** --help, --version or a mistake (explained on stderr). */
int options_read(int argc, char **argv, void (*help)(void), arguments *args);
/* Whether somebody said it: it is not the default. */
bool option_given(const void *target);
/* Is each option of the command line one of `names` (blanks between them), or one that all commands
** take?  False: one is not, which is explained. */
bool options_suit(const char *command, const char *names);
/* The lines of --help about the options of that command; NULL: those that all take. */
void options_help(const char *names);

#endif
