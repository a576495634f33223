/*
** extension.c - the SQLite extension maph.so: its entry.
**
** USAGE
**     .load ./maph                                          the sqlite3 shell
**     SELECT load_extension('./maph')                       where loading is enabled
**     sqlite3_auto_extension((void(*)(void))sqlite3_maph_init)
**                                      linked in, with -DSQLITE_CORE: every connection has it
**
** WHAT IT REGISTERS
**     maph                    module, and table-valued function maph('file')       vtab.c
**     maph_stat('file')       table-valued function: figures of a store             stat.c
**     maph_result('file')     table-valued function: what the last command did      stat.c
**     maph_changes('file', since)     table-valued function: puts and deletes        form.c
**     maph_list('folder')     table-valued function: the stores in a folder         form.c
**     maph_get, maph_put, maph_delete, maph_increment, maph_merge, maph_version     function.c
**
** Modules and functions each hold the sql_connection (connection.c).  The library stays loaded when
** the connection closes, since mappings and fork handlers of core may outlive it.
**
** A SQLite may be built without a routine that is used here: its pointer is NULL then.  So the
** table below names them all, and an extension that would miss one is not loaded.
*/
#define MAPH_SQL_MAIN 1
#include "sql.h"
#include <stddef.h>

/* ------------------------------------------------------------------------------ what SQLite has */

#ifndef SQLITE_CORE
#define ROUTINE(name) \
  { "sqlite3_" #name, offsetof(sqlite3_api_routines, name) }
static const struct routine {
  const char *name;
  size_t offset;
} routines[] = {
  { "sqlite3_snprintf", offsetof(sqlite3_api_routines, xsnprintf) },
  ROUTINE(column_int),
  ROUTINE(column_value),
  ROUTINE(create_function_v2),
  ROUTINE(create_module_v2),
  ROUTINE(db_config),
  ROUTINE(db_filename),
  ROUTINE(declare_vtab),
  ROUTINE(errmsg),
  ROUTINE(errstr),
  ROUTINE(file_control),
  ROUTINE(finalize),
  ROUTINE(free),
  ROUTINE(get_auxdata),
  ROUTINE(libversion),
  ROUTINE(malloc),
  ROUTINE(malloc64),
  ROUTINE(mprintf),
  ROUTINE(next_stmt),
  ROUTINE(prepare_v2),
  ROUTINE(realloc64),
  ROUTINE(reset),
  ROUTINE(result_blob64),
  ROUTINE(result_double),
  ROUTINE(result_error),
  ROUTINE(result_error_code),
  ROUTINE(result_error_nomem),
  ROUTINE(result_int),
  ROUTINE(result_int64),
  ROUTINE(result_null),
  ROUTINE(result_text),
  ROUTINE(result_text64),
  ROUTINE(set_auxdata),
  ROUTINE(sql),
  ROUTINE(step),
  ROUTINE(stmt_busy),
  ROUTINE(stricmp),
  ROUTINE(strnicmp),
  ROUTINE(txn_state),
  ROUTINE(user_data),
  ROUTINE(value_blob),
  ROUTINE(value_bytes),
  ROUTINE(value_double),
  ROUTINE(value_dup),
  ROUTINE(value_encoding),
  ROUTINE(value_free),
  ROUTINE(value_frombind),
  ROUTINE(value_int64),
  ROUTINE(value_nochange),
  ROUTINE(value_numeric_type),
  ROUTINE(value_subtype),
  ROUTINE(value_text),
  ROUTINE(value_type),
  ROUTINE(vtab_collation),
  ROUTINE(vtab_config),
  ROUTINE(vtab_distinct),
  ROUTINE(vtab_in),
  ROUTINE(vtab_in_first),
  ROUTINE(vtab_in_next),
  ROUTINE(vtab_nochange),
  ROUTINE(vtab_on_conflict),
  ROUTINE(vtab_rhs_value),
};

static int check_routines(const sqlite3_api_routines *api, char **message) {
  size_t i;
  void (*routine)(void);
  for (i = 0; i < sizeof(routines) / sizeof(routines[0]); i++) {
    memcpy(&routine, (const char *)api + routines[i].offset, sizeof(routine));
    if (routine) continue;
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("maph needs %s(), and this SQLite %s was built without it",
                                routines[i].name, sqlite3_libversion()));
  }
  return SQLITE_OK;
}
#endif

static int check_sqlite(const sqlite3_api_routines *api, char **message) {
  if (sqlite3_libversion_number() < 3040000) {
    return fail(
        message, SQLITE_ERROR,
        sqlite3_mprintf("maph needs SQLite 3.40 or later, and this is %s", sqlite3_libversion()));
  }
#ifndef SQLITE_CORE
  return check_routines(api, message);
#else
  (void)api;
  return SQLITE_OK;
#endif
}

/* ---------------------------------------------------------------------------------- registering */

static const struct module {
  const char *name;
  const sqlite3_module *module;
} modules[] = {
  { "maph", (const sqlite3_module *)&vtab_module },
  { "maph_stat", &stat_module },
  { "maph_result", &stat_module },
  { "maph_changes", &form_module },
  { "maph_list", &form_module },
};
enum { MODULE_COUNT = sizeof(modules) / sizeof(modules[0]) };

/* Also by sqlite3_drop_modules(). */
static void module_gone(void *connection) {
  ((sql_connection *)connection)->modules--;
  connection_release(connection);
}

static int register_modules(sql_connection *connection) {
  int i, rc = SQLITE_OK;
  for (i = 0; i < MODULE_COUNT && rc == SQLITE_OK; i++) {
    connection->modules++;
    rc = sqlite3_create_module_v2(connection->db, modules[i].name, modules[i].module,
                                  connection_hold(connection),
                                  module_gone); /* which is called on failure too */
  }
  return rc;
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
  sql_connection *connection;
  int rc;
  SQLITE_EXTENSION_INIT2(api);
  rc = check_sqlite(api, message);
  if (rc == SQLITE_OK) rc = value_start(db);
  if (rc != SQLITE_OK) return rc;
  connection = connection_of(db);
  if (connection == NULL) connection = connection_new(db);
  if (connection == NULL) return SQLITE_NOMEM;
  if (connection->modules < MODULE_COUNT) rc = register_modules(connection);
  if (rc == SQLITE_OK && !connection->has_functions) rc = function_register(connection);
  connection_release(connection);
  return rc == SQLITE_OK ? LOADED : rc;
}

/* What SQLite looks for when the file has been given another name. */
int sqlite3_extension_init(sqlite3 *db, char **message, const sqlite3_api_routines *api) {
  return sqlite3_maph_init(db, message, api);
}
