/*
** option.c - the table of what one may say to maph-replica; ext/option reads it.
**
**     --server nats://10.0.0.1     server = nats://10.0.0.1     MAPH_REPLICA_SERVER=nats://10.0.0.1
*/
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "maph.h"
#include "nats/option.h"
#include "option/option.h"

options option;

#define SECONDS 1000u
#define DAYS (86400u * SECONDS)
static const option_row rows[] = {
  { "server", OPTION_LIST, &option.server, "nats://127.0.0.1:4222", 0, 0, "URL,...",
    "where NATS is: nats://HOST:PORT or tls://HOST:PORT; several are tried in any order" },
  { "domain", OPTION_TEXT, &option.domain, NULL, 0, 0, "NAME",
    "the JetStream domain, as through a leaf node" },
  { "creds", OPTION_TEXT, &option.creds, NULL, 0, 0, "FILE", "sign in by a credentials file" },
  { "nkey", OPTION_TEXT, &option.nkey, NULL, 0, 0, "FILE", "sign in by the seed of an NKey" },
  { "nkey-public", OPTION_TEXT, &option.nkey_public, NULL, 0, 0, "KEY",
    "the public key of that seed, U..." },
  { "user", OPTION_TEXT, &option.user, NULL, 0, 0, "NAME", "sign in by name and password" },
  { "password-file", OPTION_TEXT, &option.password_file, NULL, 0, 0, "FILE",
    "the first line is the password" },
  { "token-file", OPTION_TEXT, &option.token_file, NULL, 0, 0, "FILE",
    "sign in by the token that is the first line" },
  { "tls-ca", OPTION_TEXT, &option.tls_ca, NULL, 0, 0, "FILE",
    "certificates of those who may sign the server's; default: the system's" },
  { "tls-cert", OPTION_TEXT, &option.tls_cert, NULL, 0, 0, "FILE", "our own certificate" },
  { "tls-key", OPTION_TEXT, &option.tls_key, NULL, 0, 0, "FILE", "and its key" },
  { "plaintext", OPTION_FLAG, &option.plaintext, "no", 0, 0, NULL,
    "send password or token without TLS to another machine" },
  { "inbox-prefix", OPTION_TEXT, &option.inbox_prefix, NULL, 0, 0, "SUBJECT",
    "of the subjects that answers come to; default: _INBOX" },
  { "timeout", OPTION_TIME, &option.timeout_ms, "10", 0, 30u * DAYS, "SECONDS",
    "how long a command goes on trying or waiting; wait: without end" },
  { "config", OPTION_TEXT, &option.config, NULL, 0, 0, "FILE",
    "read options from FILE, one `name = value` a line" },
  { "json", OPTION_FLAG, &option.json, "no", 0, 0, NULL, "answer in JSON" },
  { "quiet", OPTION_FLAG, &option.quiet, "no", 0, 0, NULL, "say nothing but errors" },

  { "filter", OPTION_TEXT, &option.filter, NULL, 0, 0, "KEYS",
    "a part of the bucket: user.> is what begins so; needs nats-server 2.9.12" },
  { "batch", OPTION_COUNT, &option.batch, "1000", 1, 1000000, "N", "messages a transaction" },
  { "batch-time", OPTION_TIME, &option.batch_time_ms, "5ms", 0, 60 * SECONDS, "TIME",
    "how long a transaction waits for more" },
  { "txn-time", OPTION_TIME, &option.txn_time_ms, "10", 0, 3600 * SECONDS, "TIME",
    "how long the rest of a published transaction is waited for" },
  { "sync", OPTION_TEXT, &option.sync, "normal", 0, 0, "off|normal",
    "durability of the file; what a power cut takes comes again" },
  { "mode", OPTION_TEXT, &option.mode, "0644", 0, 0, "MODE", "permission bits of the file" },
  { "marker-age", OPTION_TIME, &option.marker_age_ms, "15m", 0, 3650ull * DAYS, "TIME",
    "away for longer, it compares all keys: markers of deletes may have gone" },
  { "verify-every", OPTION_TIME, &option.verify_every_ms, "1d", 0, 3650ull * DAYS, "TIME",
    "compare all keys so often; 0: never" },
  { "metrics-file", OPTION_TEXT, &option.metrics_file, NULL, 0, 0, "PATH",
    "write figures for node_exporter's textfile collector there" },
  { "auto-compact", OPTION_COUNT, &option.auto_compact, "50", 0, 99, "PERCENT",
    "compact the file when so much of it is dead; 0: never" },

  { "keys", OPTION_TEXT, &option.keys, "plain", 0, 0, "plain|escaped",
    "escaped: keys are any bytes, others are written =XX in the bucket" },
  { "storage", OPTION_TEXT, &option.storage, "file", 0, 0, "file|memory", "of the bucket" },
  { "history", OPTION_COUNT, &option.history, "1", 1, 64, "N", "revisions kept of each key" },
  { "replicas", OPTION_COUNT, &option.replicas, "1", 1, 5, "N", "servers that keep the bucket" },
  { "max-value", OPTION_SIZE, &option.max_value, "0", 0, INT_MAX, "SIZE",
    "largest value; 0: what the server takes" },
  { "ttl", OPTION_TIME, &option.ttl_ms, "0", 0, 36500ull * DAYS, "TIME",
    "expires after TIME: 30s 10m 12h 30d" },

  { "file", OPTION_TEXT, &option.file, NULL, 0, 0, "PATH",
    "the value is what is in the file PATH (-: standard input)" },
  { "if-absent", OPTION_FLAG, &option.if_absent, "no", 0, 0, NULL, "only where no such key is" },
  { "if-revision", OPTION_COUNT, &option.if_revision, NULL, 1, INT64_MAX, "N",
    "only if the key is at revision N" },
  { "type", OPTION_TEXT, &option.type, NULL, 0, 0, "blob|text|json|integer|real|null",
    "what SQL takes the value for; else text if it is UTF-8, or blob" },
  { "media-type", OPTION_TEXT, &option.media_type, NULL, 0, 0, "TYPE",
    "the Content-Type it has over HTTP, such as image/png" },
  { "wait", OPTION_TEXT, &option.wait, NULL, 0, 0, "FILE", "end when the replica FILE has it" },
  { "revision", OPTION_COUNT, &option.revision, NULL, 1, INT64_MAX, "N",
    "wait for that revision; else until the replica is complete" },

  { "once", OPTION_FLAG, &option.once, "no", 0, 0, NULL,
    "end when the bucket has all that the file had then" },
  { "skip-too-large", OPTION_FLAG, &option.skip_too_large, "no", 0, 0, NULL,
    "leave out, and count, what is too large for NATS, instead of ending" },
  { "compare", OPTION_FLAG, &option.compare, "no", 0, 0, NULL,
    "compare all keys before it goes on" },
  { "overwrite", OPTION_FLAG, &option.overwrite, "no", 0, 0, NULL,
    "once: make a bucket that somebody else wrote equal to the file" },

  { "max-lag", OPTION_TIME, &option.max_lag_ms, "10", 0, 3650ull * DAYS, "TIME",
    "exit status 1 where the replica is behind by more" },

  { "users", OPTION_LIST, &option.users, NULL, 0, 0, "NAME,...",
    "who may write, beside the relay's own user and root" },
  { "buckets", OPTION_LIST, &option.buckets, NULL, 0, 0, "NAME,...",
    "which are written to; else all that the server lets" },
  { "writers", OPTION_COUNT, &option.writers, "8", 1, 64, "N", "writes at once" },
};
enum { ROWS = sizeof rows / sizeof rows[0], COMMON = 17 };
_Static_assert((int)ROWS <= (int)OPTION_ROWS, "the table has room");

/* maph-server's --replica-socket. */
static bool foreign_variable(const char *name, size_t size) {
  return size == 6 && memcmp(name, "SOCKET", 6) == 0;
}

static option_table table = { .program = "maph-replica",
                              .variable = "MAPH_REPLICA_",
                              .rows = rows,
                              .count = ROWS,
                              .config = &option.config,
                              .foreign = foreign_variable };

bool option_given(const void *target) { return option_source(&table, target) != NULL; }

int options_read(int argc, char **argv, void (*help)(void), arguments *args) {
  int rc;
  table.help = help;
  table.words = args->words;
  table.words_most = OPTION_WORDS;
  rc = option_read(&table, argc, argv);
  args->count = table.words_count;
  return rc;
}

static bool has_name(const char *names, const char *name) {
  size_t size = strlen(name);
  for (const char *at = names; (at = strstr(at, name)) != NULL; at += size) {
    if ((at == names || at[-1] == ' ') && (at[size] == ' ' || at[size] == 0)) return true;
  }
  return false;
}

bool options_suit(const char *command, const char *names) {
  for (int i = COMMON; i < ROWS; i++) {
    const char *source = option_source(&table, rows[i].target);
    if (source == NULL || strcmp(source, "arguments") != 0 || has_name(names, rows[i].name))
      continue;
    fprintf(stderr, "maph-replica: %s takes no --%s; see maph-replica --help\n", command,
            rows[i].name);
    return false;
  }
  return true;
}

void options_help(const char *names) {
  for (int i = 0; i < ROWS; i++) {
    if (names ? i >= COMMON && has_name(names, rows[i].name) : i < COMMON) option_help(&rows[i]);
  }
}
