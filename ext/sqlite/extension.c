/*
** extension.c - the SQLite extension maph.so: its entry, and its scalar functions.
**
** USAGE
**     .load ./maph                                          the sqlite3 shell
**     SELECT load_extension('./maph')                       where loading is enabled
**     sqlite3_auto_extension((void(*)(void))sqlite3_maph_init)  linked in, with -DSQLITE_CORE:
**     every connection has it
**
** WHAT IT REGISTERS
**     maph                    module, and table-valued function maph('file')       vtab.c
**     maph_stat('file')       table-valued function: figures of a store             stat.c
**     maph_result('file')     table-valued function: what the last command did      stat.c
**     maph_get(file, key)     the value under key in the store at file, or NULL
**     maph_version()          of the library
** All but the last open files that their arguments name: they are for top-level SQL only, not for
** views, triggers and the like (SQLITE_DIRECTONLY).
**
** Each connection has one sql_connection, found again if the extension is loaded into it twice,
** freed with the module.  The library stays loaded when the connection closes, since mappings and
** fork handlers of core may outlive it.
*/
#define MAPH_SQL_MAIN 1
#include "sql.h"

/* ------------------------------------------------------------------------------------ functions */

static void version_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  (void)argc;
  (void)argv;
  sqlite3_result_text(ctx, maph_version(), -1, SQLITE_TRANSIENT);
}

static void release_store(void *store) { store_release(store); }

static void result_failure(sqlite3_context *ctx, int rc, const char *message) {
  if (rc == SQLITE_NOMEM) {
    sqlite3_result_error_nomem(ctx);
  } else {
    sqlite3_result_error(ctx, message ? message : sqlite3_errstr(rc), -1);
    sqlite3_result_error_code(ctx, rc);
  }
}

/* The store that argument 0 names, held for the caller; while the argument stays the same, the
** statement keeps it open. */
static int argument_store(sqlite3_context *ctx, sqlite3_value *file, sql_store **store,
                          char **message) {
  sql_connection *c = sqlite3_user_data(ctx);
  const char *path;
  char *resolved = NULL;
  int rc;
  *store = sqlite3_get_auxdata(ctx, 0);
  if (*store) {
    (*store)->holders++;
    return SQLITE_OK;
  }
  path = (const char *)sqlite3_value_text(file);
  if (path == NULL || strlen(path) != (size_t)sqlite3_value_bytes(file)) {
    *message = sqlite3_mprintf(
        "maph_get: the first argument is the name of a file, as in maph_get('cache.maph', 'key')");
    return SQLITE_ERROR;
  }
  rc = option_resolve(c->db, "main", 1, path, &resolved, message);
  if (rc == SQLITE_OK) rc = store_hold(c, resolved, store);
  sqlite3_free(resolved);
  if (rc != SQLITE_OK) return rc;
  (*store)->holders++;
  sqlite3_set_auxdata(ctx, 0, *store, release_store);
  return SQLITE_OK;
}

static void get_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  sql_store *store = NULL;
  sql_view *view = NULL;
  char *message = NULL;
  maph_entry entry;
  maph_slice key;
  int found, rc = argument_store(ctx, argv[0], &store, &message);
  (void)argc;
  if (rc == SQLITE_OK) rc = value_lookup_key(argv[1], &key);
  if (rc != SQLITE_OK || key.size == 0 || key.size > 65535) goto done;
  rc = store_view(store, 0, &view, &message);
  if (rc != SQLITE_OK) goto done;
  found = maph_snapshot_get_entry(view->snapshot, key, &entry);
  if (found == MAPH_NOTFOUND) goto done;
  rc = store_error(view->handle, found, &message);
  if (rc == SQLITE_OK) value_result(ctx, &entry);
done:
  if (rc != SQLITE_OK) result_failure(ctx, rc, message);
  store_view_release(view);
  store_release(store);
  sqlite3_free(message);
}

/* ---------------------------------------------------------------------------------- connections */

static sql_connection *connections; /* of the process; SQLITE_MUTEX_STATIC_APP1 */

static sql_connection *connection_of(sqlite3 *db) {
  sql_connection *c;
  sqlite3_mutex *mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
  sqlite3_mutex_enter(mutex);
  for (c = connections; c && c->db != db; c = c->next) {}
  sqlite3_mutex_leave(mutex);
  return c;
}

static sql_connection *connection_new(sqlite3 *db) {
  sqlite3_mutex *mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
  sql_connection *c = sqlite3_malloc64(sizeof(*c));
  if (c == NULL) return NULL;
  memset(c, 0, sizeof(*c));
  c->db = db;
  sqlite3_mutex_enter(mutex);
  c->next = connections;
  connections = c;
  sqlite3_mutex_leave(mutex);
  return c;
}

static void connection_free(void *connection) {
  sqlite3_mutex *mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
  sql_connection **at;
  sqlite3_mutex_enter(mutex);
  for (at = &connections; *at && *at != connection; at = &(*at)->next) {}
  if (*at) *at = (*at)->next;
  sqlite3_mutex_leave(mutex);
  sqlite3_free(connection);
}

/* ---------------------------------------------------------------------------------------- entry */

#ifdef SQLITE_CORE
#define LOADED SQLITE_OK
#else
#define LOADED SQLITE_OK_LOAD_PERMANENTLY
#endif

MAPH_API int sqlite3_maph_init(sqlite3 *db, char **message, const sqlite3_api_routines *api);
MAPH_API int sqlite3_extension_init(sqlite3 *db, char **message, const sqlite3_api_routines *api);

int sqlite3_maph_init(sqlite3 *db, char **message, const sqlite3_api_routines *api) {
  sql_connection *c;
  int rc;
  (void)api;
  SQLITE_EXTENSION_INIT2(api);
  if (sqlite3_libversion_number() < 3040000) {
    *message =
        sqlite3_mprintf("maph needs SQLite 3.40 or later, and this is %s", sqlite3_libversion());
    return SQLITE_ERROR;
  }
  if (connection_of(db)) return LOADED;
  c = connection_new(db);
  if (c == NULL) return SQLITE_NOMEM;
  /* frees c, also on failure */
  rc = sqlite3_create_module_v2(db, "maph", &vtab_module, c, connection_free);
  if (rc == SQLITE_OK) rc = sqlite3_create_module_v2(db, "maph_stat", &stat_module, c, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_create_module_v2(db, "maph_result", &stat_module, c, NULL);
  if (rc == SQLITE_OK) {
    rc = sqlite3_create_function_v2(db, "maph_get", 2, SQLITE_UTF8 | SQLITE_DIRECTONLY, c,
                                    get_function, NULL, NULL, NULL);
  }
  if (rc == SQLITE_OK) {
    rc = sqlite3_create_function_v2(db, "maph_version", 0,
                                    SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL,
                                    version_function, NULL, NULL, NULL);
  }
  return rc == SQLITE_OK ? LOADED : rc;
}

/* What SQLite looks for when the file has been given another name. */
int sqlite3_extension_init(sqlite3 *db, char **message, const sqlite3_api_routines *api) {
  return sqlite3_maph_init(db, message, api);
}
