/*
** function.c - the scalar functions.
**
**     maph_get(file, key)                     the value under key in the store at file, or NULL
**     maph_put(file, key, value [, ttl])      the version that the row has now; ttl: seconds
**     maph_delete(file, key)                  1, or 0 where there was no such key
**     maph_increment(file, key [, by [, ttl]])  adds to a counter; what it is now
**     maph_merge(file, key, patch [, ttl])    merges a JSON patch (RFC 7396); the value now
**     maph_version()                          of the library
** All but the last use files that their arguments name, so they are for the statements of the
** application alone, not for views, triggers and the like (SQLITE_DIRECTONLY).  None makes a file.
**
** ONE STATEMENT, ONE SNAPSHOT.  SQLite tells a function nothing of the statement's end, but it
** frees the auxiliary data then.  What is set for an argument number below 0 belongs to the
** statement as a whole (SQLite's own JSON functions keep their cache so): there each statement
** keeps the views that its functions opened, and the cursors of its tables share them (store.c).
**
** A WRITE joins the transaction that this connection has on the store, if a table began one, and
** ends with it.  Else it is a transaction of its own, committed when the function returns; and what
** the statement reads of the store from then on is what was committed.
*/
#include "sql.h"

/* -------------------------------------------------------------------------------- the statement */

enum { STATEMENT_DATA = -0x6d617068 }; /* no argument's number */

static void release_views(void *views) {
  views_release(views);
  sqlite3_free(views);
}

/* Keep the view for the statement. */
static int hold_view(sqlite3_context *ctx, sql_view *view) {
  sql_views *views = sqlite3_get_auxdata(ctx, STATEMENT_DATA);
  if (views) return views_keep(views, view);
  views = sqlite3_malloc64(sizeof(*views));
  if (views == NULL) return SQLITE_NOMEM;
  memset(views, 0, sizeof(*views));
  sqlite3_set_auxdata(ctx, STATEMENT_DATA, views, release_views);
  views = sqlite3_get_auxdata(ctx, STATEMENT_DATA); /* NULL: there was no memory for it */
  return views ? views_keep(views, view) : SQLITE_NOMEM;
}

/* ------------------------------------------------------------------------------------ arguments */

static void result_failure(sqlite3_context *ctx, int rc, const char *message) {
  if (rc == SQLITE_NOMEM) {
    sqlite3_result_error_nomem(ctx);
  } else {
    sqlite3_result_error(ctx, message ? message : sqlite3_errstr(rc), -1);
    sqlite3_result_error_code(ctx, rc);
  }
}

/* What an example of the function has behind the file and the key. */
static const char *rest_of(const char *function) {
  if (strcmp(function, "maph_put") == 0) return ", 'value'";
  return strcmp(function, "maph_merge") == 0 ? ", '{\"price\":31}'" : "";
}

static void release_store(void *store) { store_release(store); }

/* The store that argument 0 names, held for the caller; while the argument stays the same, the
** statement keeps it open. */
static int argument_store(sqlite3_context *ctx, sqlite3_value *file, const char *function,
                          sql_store **store, char **message) {
  sql_connection *connection = sqlite3_user_data(ctx);
  const char *path;
  char *resolved = NULL;
  int rc;
  *store = sqlite3_get_auxdata(ctx, 0);
  if (*store) {
    (*store)->holders++;
    return SQLITE_OK;
  }
  path = option_file(file);
  if (path == NULL) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf(
                    "%s: the first argument is the name of a file, as in %s('cache.maph', 'key'%s)",
                    function, function, rest_of(function)));
  }
  rc = option_resolve(connection->db, "main", 1, path, &resolved, message);
  if (rc == SQLITE_OK) rc = store_hold(connection, resolved, store);
  sqlite3_free(resolved);
  if (rc != SQLITE_OK) return rc;
  (*store)->holders++;
  sqlite3_set_auxdata(ctx, 0, *store, release_store);
  /* without the memory for it the statement will fail, so nothing may be written before */
  return sqlite3_get_auxdata(ctx, 0) ? SQLITE_OK : SQLITE_NOMEM;
}

/* A key that is written: TEXT or BLOB, and not empty. */
static int argument_key(sqlite3_value *value, const char *function, maph_slice *key,
                        char **message) {
  int type = sqlite3_value_type(value);
  int rc = value_lookup_key(value, key);
  if (rc != SQLITE_OK) return rc;
  if ((type == SQLITE_TEXT || type == SQLITE_BLOB) && key->size > 0) return SQLITE_OK;
  return fail(
      message, SQLITE_MISMATCH,
      sqlite3_mprintf("%s: the key is TEXT or BLOB and not empty, as in %s('cache.maph', 'key'%s)",
                      function, function, rest_of(function)));
}

/* ------------------------------------------------------------------------------------- maph_get */

static int get_value(sqlite3_context *ctx, sql_store *store, maph_slice key, char **message) {
  sql_view *view = NULL;
  maph_entry entry;
  int rc, found;
  rc = store_view(store, 0, &view, message);
  if (rc == SQLITE_OK) rc = hold_view(ctx, view);
  if (rc == SQLITE_OK) {
    found = maph_snapshot_get_entry(view->snapshot, key, &entry);
    if (found != MAPH_NOTFOUND) rc = error_of(view->handle, found, message);
    if (found == MAPH_OK) value_result(ctx, &entry, NULL);
  }
  store_view_release(view);
  return rc;
}

static void get_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  sql_store *store = NULL;
  char *message = NULL;
  maph_slice key;
  int rc = argument_store(ctx, argv[0], "maph_get", &store, &message);
  (void)argc;
  if (rc == SQLITE_OK) rc = value_lookup_key(argv[1], &key);
  if (rc == SQLITE_OK && keys_possible(key)) rc = get_value(ctx, store, key, &message);
  if (rc != SQLITE_OK) result_failure(ctx, rc, message);
  store_release(store);
  sqlite3_free(message);
}

/* ------------------------------------------------------------------------ maph_put, maph_delete */

static void put_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  sql_store *store = NULL;
  char *message = NULL;
  maph_outcome outcome = { 0, 0 };
  maph_condition put;
  value_bytes value;
  maph_slice key;
  int rc = argument_store(ctx, argv[0], "maph_put", &store, &message);
  memset(&put, 0, sizeof(put));
  put.outcome = &outcome;
  if (rc == SQLITE_OK) rc = argument_key(argv[1], "maph_put", &key, &message);
  if (rc == SQLITE_OK) rc = value_read(argv[2], &value);
  if (rc == SQLITE_OK && argc == 4) rc = value_read_ttl(argv[3], &put.expires, &message);
  if (rc == SQLITE_OK) {
    put.type = value.type;
    put.key_type = sqlite3_value_type(argv[1]) == SQLITE_TEXT ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
    rc = store_put(store, key, value.bytes, &put, &message);
  }
  if (rc == SQLITE_OK)
    sqlite3_result_int64(ctx, (sqlite3_int64)outcome.version);
  else
    result_failure(ctx, rc, message);
  store_release(store);
  sqlite3_free(message);
}

static void delete_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  sql_store *store = NULL;
  char *message = NULL;
  maph_slice key;
  int existed = 0, rc = argument_store(ctx, argv[0], "maph_delete", &store, &message);
  (void)argc;
  if (rc == SQLITE_OK) rc = value_lookup_key(argv[1], &key);
  if (rc == SQLITE_OK && keys_possible(key)) rc = store_delete(store, key, &existed, &message);
  if (rc == SQLITE_OK)
    sqlite3_result_int(ctx, existed);
  else
    result_failure(ctx, rc, message);
  store_release(store);
  sqlite3_free(message);
}

/* ------------------------------------------------------------------- maph_increment, maph_merge */

/* What the functions that write a value have in common: the store, the key, and the row's life in
** the argument at `ttl`, if it is there. */
static int change_arguments(sqlite3_context *ctx, int argc, sqlite3_value **argv, int ttl,
                            const char *function, sql_store **store, maph_slice *key,
                            maph_condition *how, char **message) {
  int rc = argument_store(ctx, argv[0], function, store, message);
  memset(how, 0, sizeof(*how));
  if (rc == SQLITE_OK) rc = argument_key(argv[1], function, key, message);
  if (rc == SQLITE_OK && argc > ttl) rc = value_read_ttl(argv[ttl], &how->expires, message);
  how->key_type = sqlite3_value_type(argv[1]) == SQLITE_TEXT ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
  return rc;
}

static void increment_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  sql_store *store = NULL;
  char *message = NULL;
  sqlite3_int64 sum = 0;
  maph_condition how;
  maph_slice key;
  int rc = change_arguments(ctx, argc, argv, 3, "maph_increment", &store, &key, &how, &message);
  if (rc == SQLITE_OK && argc > 2 && sqlite3_value_type(argv[2]) != SQLITE_INTEGER)
    rc = fail(&message, SQLITE_MISMATCH,
              sqlite3_mprintf("maph_increment: what is added is an INTEGER, as in "
                              "maph_increment('cache.maph', 'visits', 5)"));
  if (rc == SQLITE_OK)
    rc = change_increment(store, key, argc > 2 ? sqlite3_value_int64(argv[2]) : 1, &how, &sum,
                          &message);
  if (rc == SQLITE_OK)
    sqlite3_result_int64(ctx, sum);
  else
    result_failure(ctx, rc, message);
  store_release(store);
  sqlite3_free(message);
}

static void merge_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  sql_store *store = NULL;
  char *message = NULL, *json = NULL;
  size_t size = 0;
  maph_condition how;
  maph_slice key;
  value_bytes patch;
  int rc = change_arguments(ctx, argc, argv, 3, "maph_merge", &store, &key, &how, &message);
  if (rc == SQLITE_OK && sqlite3_value_type(argv[2]) != SQLITE_TEXT)
    rc = fail(&message, SQLITE_MISMATCH,
              sqlite3_mprintf("maph_merge: the patch is JSON text, as in "
                              "maph_merge('cache.maph', 'key', '{\"price\":31}')"));
  if (rc == SQLITE_OK) rc = value_read(argv[2], &patch);
  if (rc == SQLITE_OK) rc = change_merge(store, key, patch.bytes, &how, &json, &size, &message);
  if (rc == SQLITE_OK)
    sqlite3_result_text64(ctx, json, size, sqlite3_free, SQLITE_UTF8);
  else
    result_failure(ctx, rc, message);
  store_release(store);
  sqlite3_free(message);
}

static void version_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  (void)argc;
  (void)argv;
  sqlite3_result_text(ctx, maph_version(), -1, SQLITE_TRANSIENT);
}

/* ---------------------------------------------------------------------------------- registering */

static const struct function {
  const char *name;
  int arguments, flags;
  void (*run)(sqlite3_context *, int, sqlite3_value **);
} functions[] = {
  { "maph_get", 2, SQLITE_DIRECTONLY, get_function },
  { "maph_put", 3, SQLITE_DIRECTONLY, put_function },
  { "maph_put", 4, SQLITE_DIRECTONLY, put_function },
  { "maph_delete", 2, SQLITE_DIRECTONLY, delete_function },
  { "maph_increment", 2, SQLITE_DIRECTONLY, increment_function },
  { "maph_increment", 3, SQLITE_DIRECTONLY, increment_function },
  { "maph_increment", 4, SQLITE_DIRECTONLY, increment_function },
  { "maph_merge", 3, SQLITE_DIRECTONLY, merge_function },
  { "maph_merge", 4, SQLITE_DIRECTONLY, merge_function },
  { "maph_version", 0, SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, version_function },
};

int function_register(sql_connection *connection) {
  size_t i;
  int rc = SQLITE_OK;
  for (i = 0; i < sizeof(functions) / sizeof(functions[0]) && rc == SQLITE_OK; i++) {
    rc = sqlite3_create_function_v2(connection->db, functions[i].name, functions[i].arguments,
                                    SQLITE_UTF8 | functions[i].flags, connection_hold(connection),
                                    functions[i].run, NULL, NULL, connection_release);
  }
  connection->has_functions = rc == SQLITE_OK;
  return rc;
}
