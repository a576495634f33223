/*
** options.c - one table makes the command line, the config file, the environment and --help.
**
**     --max-body 1G        max-body = 1G        MAPH_MAX_BODY=1G
**
** The command line beats the environment, the environment the config file, that the default.
*/
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/options.h"
#include "base/uri.h"

options option;

enum kind { TEXT, LIST, COUNT, SIZE, TIME, FLAG };
typedef struct entry {
  const char *name;
  enum kind kind;
  void *target;
  const char *standard; /* the default, as one would type it */
  uint64_t least, most;
  const char *placeholder, *help;
} entry;

#define SECONDS 1000u
#define MIB (1024u * 1024u)
static const entry entries[] = {
  { "data", TEXT, &option.data, NULL, 0, 0, "DIR", "the folder of stores: DIR/NAME.maph" },
  { "listen", LIST, &option.listen, "localhost:8080", 0, 0, "ADDRESS:PORT",
    "where to listen, or unix:PATH; several with commas, or said again" },
  { "config", TEXT, &option.config, NULL, 0, 0, "FILE",
    "read options from FILE, one `name = value` a line" },
  { "read-only", FLAG, &option.read_only, "no", 0, 0, NULL,
    "open stores for reading; every write answers 403" },
  { "sync", TEXT, &option.sync, "normal", 0, 0, "off|normal|full",
    "durability of writes that do not say ?sync= themselves" },
  { "host", LIST, &option.host, "", 0, 0, "NAME,...",
    "further names in Host: that are this server (* for any)" },
  { "origin", LIST, &option.origin, "", 0, 0, "URL,...",
    "web origins whose pages may use this server (CORS)" },
  { "tokens", TEXT, &option.tokens, "", 0, 0, "FILE",
    "ask for bearer tokens; a line of it is TOKEN metrics|read|write|admin STORE,...|*" },
  { "open-to-network", FLAG, &option.open_to_network, "no", 0, 0, NULL,
    "really listen beyond loopback with nobody asked for a token" },
  { "require-preconditions", FLAG, &option.conditional, "no", 0, 0, NULL,
    "a write without If-Match or If-None-Match answers 428" },
  { "threads", COUNT, &option.threads, "128", 2, 4096, "N", "requests that workers serve at once" },
  { "max-body", SIZE, &option.max_body, "256M", 1, UINT32_MAX, "SIZE",
    "largest value in a PUT or an import" },
  { "max-batch", SIZE, &option.max_batch, "16M", 1, 1u << 30, "SIZE",
    "largest batch; of an import's line, all but its value" },
  { "memory", SIZE, &option.memory, "256M", MIB, UINT64_MAX / 4, "SIZE",
    "for all batches and long lines of imports in flight together" },
  { "spool-above", SIZE, &option.spool_above, "1M", 4096, 64 * MIB, "SIZE",
    "bodies above this wait in a file, not in memory" },
  { "spool", TEXT, &option.spool, NULL, 0, 0, "DIR",
    "where those files are (they have no name); default: the data folder" },
  { "compress-above", SIZE, &option.compress_above, "1K", 0, UINT64_MAX / 4, "SIZE",
    "answers of text from so many bytes on go in gzip to clients that take it; 0: none" },
  { "watchers", COUNT, &option.watchers, "64", 0, 4096, "N",
    "further connections that may wait for changes at once" },
  { "rate", COUNT, &option.rate, "0", 0, 1000000, "N",
    "requests a second from one token, or one address; 0: any number" },
  { "request-timeout", TIME, &option.request_timeout_ms, "5", 100, 3600 * SECONDS, "SECONDS",
    "for the head of a request, and for silence in a body" },
  { "body-timeout", TIME, &option.body_timeout_ms, "20", 100, 86400 * SECONDS, "SECONDS",
    "for a body or an answer, plus what it takes at 16 KB/s" },
  { "idle-timeout", TIME, &option.idle_timeout_ms, "60", 100, 86400 * SECONDS, "SECONDS",
    "for a connection that waits between requests" },
  { "busy-timeout", TIME, &option.busy_timeout_ms, "5", 0, 3600 * SECONDS, "SECONDS",
    "for another process that writes the store" },
  { "heartbeat", TIME, &option.heartbeat_ms, "15", 100, 3600 * SECONDS, "SECONDS",
    "a change feed with nothing to tell says so this often" },
  { "drain-timeout", TIME, &option.drain_timeout_ms, "30", 0, 3600 * SECONDS, "SECONDS",
    "for requests in flight when told to stop" },
  { "auto-compact", COUNT, &option.auto_compact, "50", 0, 99, "PERCENT",
    "compact a store when so much of it is dead; 0: only when told to" },
  { "auto-compact-above", SIZE, &option.auto_compact_above, "64M", 4096, UINT64_MAX / 4, "SIZE",
    "and at least so much" },
  { "backups", TEXT, &option.backups, "", 0, 0, "DIR",
    "where backups are put; default: the folder backups in the data folder" },
  { "access-log", TEXT, &option.access_log, "-", 0, 0, "FILE",
    "one line a request; - is standard output, off is none" },
  { "log-format", TEXT, &option.log_format, "logfmt", 0, 0, "FORM",
    "of the access log: logfmt, combined or json" },
  { "proxies", LIST, &option.proxies, "", 0, 0, "ADDRESS,...",
    "whose X-Forwarded-For is believed: addresses, networks such as 10.0.0.0/8, or unix" },
};
enum { ENTRIES = sizeof entries / sizeof entries[0] };
static const char *given_by[ENTRIES]; /* where each was said last; NULL: nowhere */

bool option_given(const void *target) {
  for (int i = 0; i < ENTRIES; i++)
    if (entries[i].target == target) return given_by[i] != NULL;
  return false;
}

static void set_text(char **target, const char *value) {
  char *copy = value ? strdup(value) : NULL;
  free(*target);
  *target = copy;
}

/* A list goes on where the same place says it again, and begins anew where a later place does. */
static void add_text(char **target, const char *value, bool goes_on) {
  char *joined = NULL;
  if (!goes_on || *target == NULL || **target == 0) {
    set_text(target, value);
    return;
  }
  if (asprintf(&joined, "%s,%s", *target, value) < 0) joined = NULL;
  free(*target);
  *target = joined;
}

/* "12", "1.5", "16M", "250ms": digits, at most one point, a unit.  False when it is not one. */
static bool number(const char *text, enum kind kind, uint64_t *result) {
  char *end;
  double value;
  if (!isdigit((unsigned char)text[0])) return false;
  value = strtod(text, &end);
  if (memchr(text, 'x', (size_t)(end - text)) || memchr(text, 'e', (size_t)(end - text)))
    return false;
  if (kind == TIME) {
    if (strcmp(end, "ms") != 0) value *= 1000;
    if (*end && strcmp(end, "ms") != 0 && strcmp(end, "s") != 0) return false;
  } else if (kind == SIZE) {
    const char *unit = "KMGT", *at = *end ? strchr(unit, toupper((unsigned char)*end)) : NULL;
    if (*end && at == NULL) return false;
    for (int i = 0; at && i <= at - unit; i++) value *= 1024;
    if (at && end[1] && strcmp(end + 1, "iB") != 0 && strcmp(end + 1, "B") != 0) return false;
  } else if (*end) {
    return false;
  }
  if (value >= 9e18 || (kind == COUNT && value != (double)(uint64_t)value)) return false;
  *result = (uint64_t)value;
  return true;
}

static bool flag(const char *text, bool *result) {
  static const char *const yes[] = { "yes", "true", "on", "1" }, *const no[] = { "no", "false",
                                                                                 "off", "0" };
  for (int i = 0; i < 4; i++) {
    if (strcmp(text, yes[i]) == 0) {
      *result = true;
      return true;
    }
    if (strcmp(text, no[i]) == 0) {
      *result = false;
      return true;
    }
  }
  return false;
}

/* Set one option from text; `from` says where the text stands, `place` which of the four places
** that is. */
enum place { DEFAULT, CONFIG, ENVIRONMENT, ARGUMENTS };
static bool set(const entry *entry, const char *text, const char *from, enum place place) {
  static const char *const places[] = { NULL, "config", "environment", "arguments" };
  const char *before = given_by[entry - entries];
  uint64_t value;
  given_by[entry - entries] = places[place];
  switch (entry->kind) {
    case TEXT: set_text(entry->target, text); return true;
    case LIST:
      add_text(entry->target, text, place != DEFAULT && before == places[place]);
      return true;
    case FLAG:
      if (flag(text, entry->target)) return true;
      break;
    default:
      if (!number(text, entry->kind, &value)) break;
      if (value < entry->least || value > entry->most) {
        fprintf(stderr, "maph-server: %s: %s is out of range for %s\n", from, text, entry->name);
        return false;
      }
      *(uint64_t *)entry->target = value;
      return true;
  }
  fprintf(stderr, "maph-server: %s: \"%s\" is not a value for %s (%s)\n", from, text, entry->name,
          entry->kind == FLAG   ? "yes or no"
          : entry->kind == SIZE ? "a size such as 64M"
          : entry->kind == TIME ? "seconds, or 250ms"
                                : "a whole number");
  return false;
}

static const entry *find(const char *name, size_t size) {
  for (int i = 0; i < ENTRIES; i++) {
    if (strlen(entries[i].name) == size && memcmp(entries[i].name, name, size) == 0)
      return &entries[i];
  }
  return NULL;
}

/* The option's name that is nearest to what was written, for the sentence that refuses it. */
static const char *nearest_option(const char *name, size_t size) {
  static char names[1024], found[64];
  const char *nearest;
  names[0] = 0;
  for (int i = 0; i < ENTRIES; i++) {
    if (i > 0) strcat(names, " ");
    strcat(names, entries[i].name);
  }
  nearest = name_nearest(names, maph_bytes(name, size));
  snprintf(found, sizeof found, "%.*s", (int)strcspn(nearest, " "), nearest);
  return found;
}

/* MAPH_ names that others read: the SQL extension, the Python module, and all of MAPH_TEST_. */
static bool foreign_variable(const char *name, size_t size) {
  static const char *const others[] = { "SQL_ALLOW", "LIBRARY" };
  if (strncmp(name, "TEST_", 5) == 0) return true;
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    if (strlen(others[i]) == size && memcmp(others[i], name, size) == 0) return true;
  }
  return false;
}

/* MAPH_TOKEN instead of MAPH_TOKENS would be a server that asks nobody for a token. */
static bool variable_known(const char *text) {
  char name[64], variable[64];
  const char *nearest;
  size_t size = strcspn(text, "="), k;
  if (foreign_variable(text, size)) return true;
  for (k = 0; k < size && k + 1 < sizeof name; k++) {
    name[k] = text[k] == '_' ? '-' : (char)tolower((unsigned char)text[k]);
  }
  nearest = nearest_option(name, k);
  snprintf(variable, sizeof variable, "%s", nearest);
  for (char *p = variable; *p; p++) *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
  if (strlen(variable) == size && memcmp(variable, text, size) == 0) return true;
  fprintf(stderr, "maph-server: there is no option MAPH_%.*s; the nearest is MAPH_%s\n", (int)size,
          text, variable);
  return false;
}

static bool read_environment(void) {
  for (char **at = environ; *at; at++) {
    if (strncmp(*at, "MAPH_", 5) == 0 && !variable_known(*at + 5)) return false;
  }
  for (int i = 0; i < ENTRIES; i++) {
    char name[64];
    const char *value;
    int n = snprintf(name, sizeof name, "MAPH_%s", entries[i].name);
    for (int k = 5; k < n; k++)
      name[k] = name[k] == '-' ? '_' : (char)toupper((unsigned char)name[k]);
    value = getenv(name);
    if (value && !set(&entries[i], value, name, ENVIRONMENT)) return false;
  }
  return true;
}

static char *trim(char *text) {
  char *end = text + strlen(text);
  while (end > text && isspace((unsigned char)end[-1])) *--end = 0;
  while (isspace((unsigned char)*text)) text++;
  return text;
}

static bool read_config(const char *path) {
  char line[4096], place[600];
  FILE *file = fopen(path, "re");
  bool ok = true;
  if (file == NULL) {
    fprintf(stderr, "maph-server: cannot read %s: %s\n", path, strerror(errno));
    return false;
  }
  for (int number_of_line = 1; ok && fgets(line, sizeof line, file); number_of_line++) {
    char *name = trim(line), *equals = strchr(name, '=');
    const entry *entry;
    if (*name == 0 || *name == '#') continue;
    snprintf(place, sizeof place, "%.500s line %d", path, number_of_line);
    if (equals) *equals = 0;
    name = trim(name);
    entry = find(name, strlen(name));
    if (entry == NULL) {
      fprintf(stderr, "maph-server: %s: \"%s\" is not an option; the nearest is %s\n", place, name,
              nearest_option(name, strlen(name)));
      ok = false;
    } else if (entry->target == &option.config || (equals == NULL && entry->kind != FLAG)) {
      fprintf(stderr, "maph-server: %s: \"%s\" is not an option with a value\n", place, name);
      ok = false;
    } else {
      ok = set(entry, equals ? trim(equals + 1) : "yes", place, CONFIG);
    }
  }
  fclose(file);
  return ok;
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
  for (int i = 0; i < ENTRIES; i++) {
    const entry *entry = &entries[i];
    char left[64];
    snprintf(left, sizeof left, "--%s%s%s", entry->name, entry->placeholder ? " " : "",
             entry->placeholder ? entry->placeholder : "");
    printf("  %-28s %s", left, entry->help);
    if (entry->kind != FLAG && entry->standard && entry->standard[0])
      printf(" [%s]", entry->standard);
    printf("\n");
  }
  printf("  %-28s %s\n  %-28s %s\n\n", "--help", "this", "--version", "which version this is");
  printf("SIGTERM lets requests in flight finish, closes the stores and ends.  SIGHUP reads "
         "the\ntokens again and reopens the access log.\n");
}

/* One pass over the arguments: `config_only` looks for --config, which must be known before the
** rest is read. */
static int read_arguments(int argc, char **argv, bool config_only) {
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i], *equals = strchr(name, '='), *value = NULL;
    const entry *entry = NULL;
    char place[80];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
      show_help();
      return 1;
    }
    if (strcmp(name, "--version") == 0) {
      printf("maph-server %s\n", maph_version());
      return 1;
    }
    if (strncmp(name, "--", 2) == 0)
      entry = find(name + 2, equals ? (size_t)(equals - name - 2) : strlen(name + 2));
    if (entry == NULL) {
      size_t size = strcspn(name, "="), dashes = strspn(name, "-");
      if (dashes > size) dashes = size;
      fprintf(stderr,
              "maph-server: there is no option %.*s; the nearest is --%s; see maph-server --help\n",
              (int)size, name, nearest_option(name + dashes, size - dashes));
      return 3;
    }
    if (equals)
      value = equals + 1;
    else if (entry->kind == FLAG)
      value = "yes";
    else if (i + 1 < argc)
      value = argv[++i];
    else {
      fprintf(stderr, "maph-server: --%s needs a value: %s\n", entry->name, entry->placeholder);
      return 3;
    }
    if (config_only && entry->target != &option.config) continue;
    snprintf(place, sizeof place, "--%s", entry->name);
    if (!set(entry, value, place, ARGUMENTS)) return 3;
  }
  return 0;
}

int durability_from_name(const char *name, size_t size) {
  static const char *const names[] = { "off", "normal", "full" };
  for (int i = 0; i < 3; i++) {
    if (strlen(names[i]) == size && memcmp(name, names[i], size) == 0) return MAPH_SYNC_OFF + i;
  }
  return -1;
}

int options_read(int argc, char **argv) {
  int rc;
  for (int i = 0; i < ENTRIES; i++) {
    if (entries[i].standard && !set(&entries[i], entries[i].standard, "default", DEFAULT)) return 3;
  }
  set_text(&option.config, getenv("MAPH_CONFIG"));
  if ((rc = read_arguments(argc, argv, true)) != 0) return rc;
  if (option.config && !read_config(option.config)) return 3;
  if (!read_environment()) return 3;
  if ((rc = read_arguments(argc, argv, false)) != 0) return rc;
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
