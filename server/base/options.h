/*
** options.h - what the command line, the environment and the config file say.
*/
#ifndef MAPH_BASE_OPTIONS_H
#define MAPH_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct options {
  char *data, *listen, *config, *host, *origin, *access_log, *log_format, *proxies, *spool, *tokens,
      *sync, *backups, *replica_socket;
  uint64_t threads, watchers, rate, max_body, max_batch, spool_above, memory, compress_above;
  uint64_t request_timeout_ms, idle_timeout_ms, body_timeout_ms, busy_timeout_ms;
  uint64_t drain_timeout_ms, heartbeat_ms, bucket_timeout_ms;
  uint64_t auto_compact, auto_compact_above;
  bool read_only, open_to_network, conditional;
} options;
extern options option;

/* Fill `option` from the defaults, the config file, MAPH_* and the arguments, later ones first.  0:
** go on; else the exit status + 1, after --help, --version or a mistake (explained on stderr). */
int options_read(int argc, char **argv);
/* Whether somebody said it: it is not the default. */
bool option_given(const void *target);
/* off normal full; -1: none of them */
int durability_from_name(const char *name, size_t size);

#endif
