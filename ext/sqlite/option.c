/*
** option.c - the words of USING maph('file', option=word, ...), and which file a path means.
**
**     word                   default     meaning
**     mode=ro                            read only: no lock, no write, whatever the file permits
**     mode=rw                            read and write a store that exists
**     mode=rwc               the default the same, and CREATE VIRTUAL TABLE makes a missing store
**     sync=off|normal|full   normal      what a COMMIT waits for; see maph.h, DURABILITY
**     busy_timeout=MS        that of     how long a write waits for another writer before
**                            SQLite      SQLITE_BUSY; SQLite's own is its PRAGMA's (pulse.c)
**     ttl=SECONDS            none        default of expires_at: the life of a row that is put now
**
** THE NAME comes first and is one word in quotes.  Without quotes it has a dot or a slash, and
** nothing that makes it an expression, a keyword or a parameter of SQL: a forgotten comma, a
** missing quote or a word from another module's manual must not become the name of a file that is
** then made.
**
** PATHS.  A relative path starts at the folder of the database whose schema names the table, so
** that the two files may move together; without one (":memory:") at the current folder.  Links are
** followed here, once: what is opened, shared between tables and compared with the allowed folders
** is the resolved name.
**
** TRUST.  A database file from a stranger may hold CREATE VIRTUAL TABLE notes USING
** maph('/home/you/private.maph').  So connecting to a table opens nothing, and where the connection
** does not trust its schema (PRAGMA trusted_schema=off), a stored schema reaches only what
** check_trust lets it reach.
*/
#include "sql.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* ---------------------------------------------------------------------------------------- words */

static int is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

/* The quote that closes what z opens, or 0 where z opens nothing. */
static char closing_quote(char z) {
  if (z == '[') return ']';
  return z == '\'' || z == '"' || z == '`' ? z : 0;
}

/* A copy of z without the blanks around it, and without its quotes if it is one quoted word; a
** quote doubled within is one quote.  *is_quoted tells.  Text behind the closing quote leaves it as
** it is. NULL: no memory. */
static char *unquoted(const char *z, int *is_quoted) {
  size_t n = strlen(z), i, used = 0;
  char *copy, close;
  *is_quoted = 0;
  while (n > 0 && is_blank(z[0])) {
    z++;
    n--;
  }
  while (n > 0 && is_blank(z[n - 1])) n--;
  copy = sqlite3_malloc64(n + 1);
  if (copy == NULL) return NULL;
  close = n >= 2 ? closing_quote(z[0]) : 0;
  for (i = 1; close && i < n; i++) {
    if (z[i] == close && close != ']' && i + 1 < n && z[i + 1] == close)
      i++;
    else if (z[i] == close)
      break;
    copy[used++] = z[i];
  }
  *is_quoted = close && i == n - 1;
  if (!*is_quoted) {
    memcpy(copy, z, n);
    used = n;
  }
  copy[used] = 0;
  return copy;
}

/* A whole number from 0 to max, or -1. */
static sqlite3_int64 whole_number(const char *z, sqlite3_int64 max) {
  sqlite3_int64 n = 0;
  if (z[0] == 0) return -1;
  for (; *z; z++) {
    if (*z < '0' || *z > '9') return -1;
    n = n * 10 + (*z - '0');
    if (n > max) return -1;
  }
  return n;
}

/* The place of word among the NULL-ended words, or -1. */
static int place_among(const char *word, const char *const *words) {
  int i;
  for (i = 0; words[i]; i++) {
    if (sqlite3_stricmp(word, words[i]) == 0) return i;
  }
  return -1;
}

static int set_mode(sql_options *options, const char *word) {
  static const char *const words[] = { "ro", "rw", "rwc", NULL };
  static const int modes[] = { OPTION_RO, OPTION_RW, OPTION_RWC };
  int i = place_among(word, words);
  if (i < 0) return 0;
  options->mode = modes[i];
  return 1;
}

static int set_sync(sql_options *options, const char *word) {
  static const char *const words[] = { "off", "normal", "full", NULL };
  static const int levels[] = { MAPH_SYNC_OFF, MAPH_SYNC_NORMAL, MAPH_SYNC_FULL };
  int i = place_among(word, words);
  if (i < 0) return 0;
  options->sync = levels[i];
  return 1;
}

static int set_busy_timeout(sql_options *options, const char *word) {
  options->busy_timeout_ms = (int)whole_number(word, INT_MAX);
  return options->busy_timeout_ms >= 0;
}

static int set_ttl(sql_options *options, const char *word) {
  options->ttl_ms = whole_number(word, (sqlite3_int64)100 * 366 * 24 * 3600) * 1000;
  return options->ttl_ms > 0;
}

static int set_columns(sql_options *options, const char *word) {
  int rc = members_parse(&options->members, word, &options->why);
  return rc == SQLITE_NOMEM ? -1 : rc == SQLITE_OK;
}

static const struct word {
  const char *name, *example, *choices;
  int (*set)(sql_options *, const char *); /* 1; 0: it is wrong; -1: no memory */
} words[] = {
  { "mode", "mode=ro", "ro, rw or rwc", set_mode },
  { "sync", "sync=full", "off, normal or full", set_sync },
  { "busy_timeout", "busy_timeout=5000", "milliseconds, 0 or more", set_busy_timeout },
  { "ttl", "ttl=3600", "whole seconds, at least 1, at most a century", set_ttl },
  { "columns", "columns='name TEXT $.name, price REAL $.price'",
    "names with types and paths, and commas between", set_columns },
};
#define WORD_COUNT ((int)(sizeof(words) / sizeof(words[0])))

/* Which option the text sets: the index in words, -1 if none.  *value: behind its '='. */
static int word_of(const char *text, const char **value) {
  const char *equals = strchr(text, '=');
  int i, n;
  if (equals == NULL || strchr("'\"`[", text[0])) return -1;
  for (n = (int)(equals - text); n > 0 && text[n - 1] == ' '; n--) {}
  *value = equals + 1;
  for (i = 0; i < WORD_COUNT; i++) {
    if (n == (int)strlen(words[i].name) && sqlite3_strnicmp(text, words[i].name, n) == 0) return i;
  }
  return -1;
}

static int parse_word(sql_options *options, const char *text, unsigned *seen, char **message) {
  const char *value = "";
  char *word;
  int rc = SQLITE_OK, is_quoted, is_right, i = word_of(text, &value);
  if (i < 0) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("maph: unknown option \"%.100s\": there are mode, sync, "
                                "busy_timeout, ttl and columns, as in "
                                "maph('cache.maph', mode=ro)",
                                text));
  }
  if (*seen & (1u << i)) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("maph: option %s is given twice", words[i].name));
  }
  *seen |= 1u << i;
  word = unquoted(value, &is_quoted);
  if (word == NULL) return SQLITE_NOMEM;
  is_right = words[i].set(options, word);
  if (is_right < 0) rc = SQLITE_NOMEM;
  if (is_right == 0) {
    if (options->why == NULL && strchr(word, '='))
      options->why = "a comma goes between two options";
    rc = fail(message, SQLITE_ERROR,
              sqlite3_mprintf("maph: option %s is %s, as in %s; not \"%.100s\"%s%s", words[i].name,
                              words[i].choices, words[i].example, word, options->why ? ": " : "",
                              options->why ? options->why : ""));
  }
  sqlite3_free(word);
  return rc;
}

/* A name that can stand without quotes: nothing that SQL reads as an expression, a keyword or a
** parameter.  It has a dot or a slash, as file names do. */
static int is_bare_name(const char *z) {
  int i, has_mark = 0, has_letter = 0;
  for (i = 0; z[i]; i++) {
    unsigned char c = (unsigned char)z[i];
    int is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
    if (!is_letter && (c == 0 || !strchr("0123456789_-./", c))) return 0;
    has_letter |= is_letter;
    has_mark |= c == '.' || c == '/';
  }
  return has_letter && has_mark && strncmp(z, "--", 2) != 0;
}

/* Two words side by side, as in "key TEXT". */
static int is_column(const char *z) {
  size_t n = strspn(z, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
  return n > 0 && is_blank(z[n]) && z[n + strspn(z + n, " \t\r\n\f")] != '=';
}

/* What was written where the file's name belongs, and how to write it. */
static int refuse_name(const char *text, char **message) {
  const char *equals = strchr(text, '=');
  if (closing_quote(text[0])) {
    return fail(
        message, SQLITE_ERROR,
        sqlite3_mprintf(
            "maph: the file's name is one word in quotes and an option comes behind a comma, as in "
            "USING maph('cache.maph', mode=ro); not %.200s",
            text));
  }
  if (equals) {
    return fail(
        message, SQLITE_ERROR,
        sqlite3_mprintf(
            "maph: name the file first, and without \"%.*s\", as in USING maph('cache.maph')",
            equals - text < 60 ? (int)(equals - text) + 1 : 60, text));
  }
  if (is_column(text)) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("maph: \"%.100s\" declares a column, and a maph table has the "
                                "columns key and value: name "
                                "the file, as in USING maph('cache.maph')",
                                text));
  }
  return fail(message, SQLITE_ERROR,
              sqlite3_mprintf("maph: \"%.100s\" is no file name: write the name in quotes, as in "
                              "USING maph('cache.maph')",
                              text));
}

static int parse_name(sql_options *options, int argc, const char *const *argv, char **message) {
  const char *value;
  char *name;
  int is_quoted;
  if (argc < 1 || argv[0][strspn(argv[0], " \t\r\n\f")] == 0 || word_of(argv[0], &value) >= 0) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("maph: name the file first, as in USING maph('cache.maph')"));
  }
  name = options->path = unquoted(argv[0], &is_quoted);
  if (name == NULL) return SQLITE_NOMEM;
  if (!is_quoted && !is_bare_name(name)) return refuse_name(name, message);
  if (name[0]) return SQLITE_OK;
  return fail(message, SQLITE_ERROR,
              sqlite3_mprintf("maph: the file has no name; write USING maph('cache.maph')"));
}

int option_parse(sql_options *options, int argc, const char *const *argv, char **message) {
  unsigned seen = 0;
  int i, rc;
  memset(options, 0, sizeof(*options));
  options->mode = OPTION_RWC;
  options->busy_timeout_ms = -1;
  rc = parse_name(options, argc, argv, message);
  for (i = 1; i < argc && rc == SQLITE_OK; i++) rc = parse_word(options, argv[i], &seen, message);
  if (rc == SQLITE_OK && options->mode == OPTION_RO && (options->ttl_ms || options->sync)) {
    rc = fail(message, SQLITE_ERROR,
              sqlite3_mprintf("maph: option %s is about writing, and mode=ro writes nothing",
                              options->ttl_ms ? "ttl" : "sync"));
  }
  return rc;
}

const char *option_file(sqlite3_value *value) {
  const char *name =
      sqlite3_value_type(value) == SQLITE_TEXT ? (const char *)sqlite3_value_text(value) : NULL;
  return name && name[0] && strlen(name) == (size_t)sqlite3_value_bytes(value) ? name : NULL;
}

void option_clear(sql_options *options) {
  sqlite3_free(options->path);
  options->path = NULL;
  members_clear(&options->members);
}

/* ---------------------------------------------------------------------------------------- paths */

/* Is path, a real name, in that folder or below? */
static int is_below(const char *path, const char *folder) {
  char real[PATH_MAX];
  size_t length;
  if (realpath(folder, real) == NULL) return 0;
  length = strlen(real);
  return strncmp(path, real, length) == 0 && (path[length] == '/' || length == 1);
}

/* Is path inside one of the folders that MAPH_SQL_ALLOW names? */
static int allowed_by_environment(const char *path) {
  const char *list = getenv("MAPH_SQL_ALLOW");
  char *folder;
  size_t n;
  int found = 0;
  for (; list && *list && !found; list += n + (list[n] == ':')) {
    n = strcspn(list, ":");
    if (list[0] != '/' || (folder = sqlite3_mprintf("%.*s", (int)n, list)) == NULL) continue;
    found = is_below(path, folder);
    sqlite3_free(folder);
  }
  return found;
}

/* The one name of a path, in real[PATH_MAX]: links in its folder are followed, and it itself if it
** is one.  0, or an errno. */
static int real_name(const char *path, char *real) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  char *folder;
  size_t n;
  int error = 0;
  if (realpath(path, real)) return 0;
  if (errno != ENOENT || name[0] == 0) return errno;
  folder = slash ? sqlite3_mprintf("%.*s", (int)(name - path), path) : sqlite3_mprintf(".");
  if (folder == NULL) return ENOMEM;
  if (realpath(folder, real) == NULL) error = errno;
  sqlite3_free(folder);
  if (error) return error;
  n = strlen(real);
  if (strlen(name) >= PATH_MAX - 1 - n) return ENAMETOOLONG;
  sprintf(real + n, "%s%s", n > 1 ? "/" : "", name);
  return 0;
}

/* The file of the database called schema, or NULL: the VFS memdb has names that are no files.
** TEMP, which has no file, belongs to main. */
static const char *database_file(sqlite3 *db, const char *schema) {
  char *vfs = NULL;
  int is_memory;
  if (sqlite3_stricmp(schema, "temp") == 0) schema = "main";
  sqlite3_file_control(db, schema, SQLITE_FCNTL_VFSNAME, &vfs);
  is_memory = vfs && strncmp(vfs, "memdb", 5) == 0;
  sqlite3_free(vfs);
  return is_memory ? NULL : sqlite3_db_filename(db, schema);
}

/* In the folder of the database whose schema names the store, or below?  No file: the working
** directory. */
static int is_beside_database(sqlite3 *db, const char *schema, const char *path) {
  const char *database = database_file(db, schema);
  const char *slash = database ? strrchr(database, '/') : NULL;
  char *folder =
      slash ? sqlite3_mprintf("%.*s/", (int)(slash - database), database) : sqlite3_mprintf(".");
  int found = folder && is_below(path, folder);
  sqlite3_free(folder);
  return found;
}

/* TRUST.  What the application states itself is its own: CREATE VIRTUAL TABLE, the functions, and
** the table-valued form, which SQLite keeps out of views and triggers.  A stored schema may come
** from a stranger: where the connection does not trust it, it reaches the stores beside its
** database and those in the folders that MAPH_SQL_ALLOW names.  DEFENSIVE is about the database
** file and refuses nothing. */
static int check_trust(sqlite3 *db, const char *schema, const char *path, char **message) {
  int trusted = 1;
  sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, -1, &trusted);
  if (trusted || sqlite3_stricmp(schema, "temp") == 0 || is_beside_database(db, schema, path)
      || allowed_by_environment(path))
    return SQLITE_OK;
  return fail(message, SQLITE_AUTH,
              sqlite3_mprintf("maph: \"%s\" may not be opened: it is not below the folder of the "
                              "database whose schema names it, "
                              "and this connection does not trust its schema; if you do, use "
                              "PRAGMA trusted_schema=on, or name "
                              "its folder in the environment, as in MAPH_SQL_ALLOW=/srv/data",
                              path));
}

int option_resolve(sqlite3 *db, const char *schema, int is_own, const char *path, char **resolved,
                   char **message) {
  const char *database = database_file(db, schema);
  const char *slash = database ? strrchr(database, '/') : NULL;
  char *full, *real = NULL;
  int rc = SQLITE_NOMEM, error;
  *resolved = NULL;
  if (strncmp(path, "file:", 5) == 0 || path[0] == ':') {
    return fail(
        message, SQLITE_CANTOPEN,
        sqlite3_mprintf("maph: \"%.100s\" is no file name; write it plainly, as in 'cache.maph'",
                        path));
  }
  if (path[0] == '/' || slash == NULL) {
    full = sqlite3_mprintf("%s", path);
  } else {
    full = sqlite3_mprintf("%.*s/%s", (int)(slash - database), database, path);
  }
  if (full) real = sqlite3_malloc(PATH_MAX);
  if (real == NULL) goto done;
  error = real_name(full, real);
  if (error == 0) {
    rc = is_own ? SQLITE_OK : check_trust(db, schema, real, message);
  } else if (error != ENOMEM) {
    rc = fail(message, SQLITE_CANTOPEN,
              sqlite3_mprintf("maph: cannot open \"%.1000s\": %s", full, strerror(error)));
  }
done:
  sqlite3_free(full);
  if (rc == SQLITE_OK)
    *resolved = real;
  else
    sqlite3_free(real);
  return rc;
}
