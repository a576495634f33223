/*
** options.c - the table of what one may say to maph-server; ext/option reads it.
**
**     --max-body 1G        max-body = 1G        MAPH_MAX_BODY=1G
*/
#include <stdio.h>
#include <string.h>
#include "base/options.h"
#include "maph.h"
#include "option/option.h"

options option;

#define SECONDS 1000u
#define MIB (1024u * 1024u)
static const option_row rows[] = {
  { "data", OPTION_TEXT, &option.data, NULL, 0, 0, "DIR", "the folder of stores: DIR/NAME.maph" },
  { "listen", OPTION_LIST, &option.listen, "localhost:8080", 0, 0, "ADDRESS:PORT",
    "where to listen, or unix:PATH; several with commas, or said again" },
  { "config", OPTION_TEXT, &option.config, NULL, 0, 0, "FILE",
    "read options from FILE, one `name = value` a line" },
  { "read-only", OPTION_FLAG, &option.read_only, "no", 0, 0, NULL,
    "open stores for reading; every write answers 403" },
  { "sync", OPTION_TEXT, &option.sync, "normal", 0, 0, "off|normal|full",
    "durability of writes that do not say ?sync= themselves" },
  { "host", OPTION_LIST, &option.host, "", 0, 0, "NAME,...",
    "further names in Host: that are this server (* for any)" },
  { "origin", OPTION_LIST, &option.origin, "", 0, 0, "URL,...",
    "web origins whose pages may use this server (CORS)" },
  { "tokens", OPTION_TEXT, &option.tokens, "", 0, 0, "FILE",
    "ask for bearer tokens; a line of it is TOKEN metrics|read|write|admin STORE,...|*" },
  { "open-to-network", OPTION_FLAG, &option.open_to_network, "no", 0, 0, NULL,
    "really listen beyond loopback with nobody asked for a token" },
  { "require-preconditions", OPTION_FLAG, &option.conditional, "no", 0, 0, NULL,
    "a write without If-Match or If-None-Match answers 428" },
  { "threads", OPTION_COUNT, &option.threads, "128", 2, 4096, "N",
    "requests that workers serve at once" },
  { "max-body", OPTION_SIZE, &option.max_body, "256M", 1, UINT32_MAX, "SIZE",
    "largest value in a PUT or an import" },
  { "max-batch", OPTION_SIZE, &option.max_batch, "16M", 1, 1u << 30, "SIZE",
    "largest batch; of an import's line, all but its value" },
  { "memory", OPTION_SIZE, &option.memory, "256M", MIB, UINT64_MAX / 4, "SIZE",
    "for all batches and long lines of imports in flight together" },
  { "spool-above", OPTION_SIZE, &option.spool_above, "1M", 4096, 64 * MIB, "SIZE",
    "bodies above this wait in a file, not in memory" },
  { "spool", OPTION_TEXT, &option.spool, NULL, 0, 0, "DIR",
    "where those files are (they have no name); default: the data folder" },
  { "compress-above", OPTION_SIZE, &option.compress_above, "1K", 0, UINT64_MAX / 4, "SIZE",
    "answers of text from so many bytes on go in gzip to clients that take it; 0: none" },
  { "watchers", OPTION_COUNT, &option.watchers, "64", 0, 4096, "N",
    "further connections that may wait for changes at once" },
  { "rate", OPTION_COUNT, &option.rate, "0", 0, 1000000, "N",
    "requests a second from one token, or one address; 0: any number" },
  { "request-timeout", OPTION_TIME, &option.request_timeout_ms, "5", 100, 3600 * SECONDS, "SECONDS",
    "for the head of a request, and for silence in a body" },
  { "body-timeout", OPTION_TIME, &option.body_timeout_ms, "20", 100, 86400 * SECONDS, "SECONDS",
    "for a body or an answer, plus what it takes at 16 KB/s" },
  { "idle-timeout", OPTION_TIME, &option.idle_timeout_ms, "60", 100, 86400 * SECONDS, "SECONDS",
    "for a connection that waits between requests" },
  { "busy-timeout", OPTION_TIME, &option.busy_timeout_ms, "5", 0, 3600 * SECONDS, "SECONDS",
    "for another process that writes the store" },
  { "replica-socket", OPTION_TEXT, &option.replica_socket, "", 0, 0, "PATH",
    "send writes of replicas to their buckets, by `maph-replica relay PATH`; else 403" },
  { "bucket-timeout", OPTION_TIME, &option.bucket_timeout_ms, "10", 100, 60 * SECONDS, "SECONDS",
    "for the bucket of a replica to take a write" },
  { "heartbeat", OPTION_TIME, &option.heartbeat_ms, "15", 100, 3600 * SECONDS, "SECONDS",
    "a change feed with nothing to tell says so this often" },
  { "drain-timeout", OPTION_TIME, &option.drain_timeout_ms, "30", 0, 3600 * SECONDS, "SECONDS",
    "for requests in flight when told to stop" },
  { "auto-compact", OPTION_COUNT, &option.auto_compact, "50", 0, 99, "PERCENT",
    "compact a store when so much of it is dead; 0: only when told to" },
  { "auto-compact-above", OPTION_SIZE, &option.auto_compact_above, "64M", 4096, UINT64_MAX / 4,
    "SIZE", "and at least so much" },
  { "backups", OPTION_TEXT, &option.backups, "", 0, 0, "DIR",
    "where backups are put; default: the folder backups in the data folder" },
  { "access-log", OPTION_TEXT, &option.access_log, "-", 0, 0, "FILE",
    "one line a request; - is standard output, off is none" },
  { "log-format", OPTION_TEXT, &option.log_format, "logfmt", 0, 0, "FORM",
    "of the access log: logfmt, combined or json" },
  { "proxies", OPTION_LIST, &option.proxies, "", 0, 0, "ADDRESS,...",
    "whose X-Forwarded-For is believed: addresses, networks such as 10.0.0.0/8, or unix" },
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* MAPH_ names that others read: the SQL extension, the Python module, maph-replica, and all of
** MAPH_TEST_. */
static bool foreign_variable(const char *name, size_t size) {
  static const char *const others[] = { "SQL_ALLOW", "LIBRARY" };
  if (strncmp(name, "TEST_", 5) == 0 || strncmp(name, "REPLICA_", 8) == 0) return true;
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    if (strlen(others[i]) == size && memcmp(others[i], name, size) == 0) return true;
  }
  return false;
}

static void show_help(void) {
  printf("maph-server - serve a folder of maph stores over HTTP\n\n"
         "    maph-server --data DIR [--listen 127.0.0.1:8080]\n\n"
         "    curl -X POST localhost:8080/stores/cache\n"
         "    curl -T value.json -H 'Content-Type: application/json' "
         "localhost:8080/stores/cache/keys/KEY\n"
         "    curl localhost:8080/stores/cache/keys/KEY\n\n"
         "Every option can also be a line `name = value` of a config file, or MAPH_NAME in the "
         "environment.\n\n");
  for (int i = 0; i < ROWS; i++) option_help(&rows[i]);
  printf("  %-28s %s\n  %-28s %s\n\n", "--help", "this", "--version", "which version this is");
  printf("SIGTERM lets requests in flight finish, closes the stores and ends.  SIGHUP reads "
         "the\ntokens again and reopens the access log.\n");
}

static option_table table = { .program = "maph-server",
                              .variable = "MAPH_",
                              .rows = rows,
                              .count = ROWS,
                              .config = &option.config,
                              .foreign = foreign_variable,
                              .help = show_help };

bool option_given(const void *target) { return option_source(&table, target) != NULL; }

int durability_from_name(const char *name, size_t size) {
  static const char *const names[] = { "off", "normal", "full" };
  for (int i = 0; i < 3; i++) {
    if (strlen(names[i]) == size && memcmp(name, names[i], size) == 0) return MAPH_SYNC_OFF + i;
  }
  return -1;
}

int options_read(int argc, char **argv) {
  int rc = option_read(&table, argc, argv);
  if (rc != 0) return rc;
  if (option.data == NULL || option.data[0] == 0) {
    fprintf(
        stderr,
        "maph-server: say which folder holds the stores: maph-server --data DIR (see --help)\n");
    return 3;
  }
  if (durability_from_name(option.sync, strlen(option.sync)) < 0) {
    fprintf(stderr, "maph-server: sync is off, normal or full, not \"%s\"\n", option.sync);
    return 3;
  }
  if (strcmp(option.log_format, "logfmt") != 0 && strcmp(option.log_format, "combined") != 0
      && strcmp(option.log_format, "json") != 0) {
    fprintf(stderr, "maph-server: log-format is logfmt, combined or json, not \"%s\"\n",
            option.log_format);
    return 3;
  }
  return 0;
}
