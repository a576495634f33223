/*
** host.c - what a program may do to the extension: load it into a SQLite that lacks a routine, load
** it twice, and drop its modules while its tables, statements and functions are in use.
*/
#include "sqltest.h"

#define SQLITE_CORE 1 /* the routines themselves, not through a pointer */
#include <dlfcn.h>
#include <sqlite3ext.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*entry)(sqlite3 *db, char **message, const sqlite3_api_routines *api);

static const sqlite3_api_routines *routines;

static int note_routines(sqlite3 *db, char **message, const sqlite3_api_routines *api) {
  (void)db;
  (void)message;
  routines = api;
  return SQLITE_OK;
}

static sqlite3 *open_connection(void) {
  sqlite3 *db = NULL;
  if (sqlite3_open(":memory:", &db) != SQLITE_OK) bad("cannot open a database");
  return db;
}

static int run(sqlite3 *db, const char *sql) {
  char *message = NULL;
  int rc = sqlite3_exec(db, sql, NULL, NULL, &message);
  if (rc != SQLITE_OK) printf("%s: %s\n", sql, message ? message : "?");
  sqlite3_free(message);
  return rc;
}

static void expect(sqlite3 *db, const char *sql, int code) {
  int rc = run(db, sql);
  if (rc != code) bad("%s: %d, not %d", sql, rc, code);
}

/* ------------------------------------------------------------------------- a routine is missing */

/* The first sizeof(*routines) bytes are pointers.  Without any one of them the extension loads and
** works, or refuses with a sentence that names it; nothing else. */
static void lack_each(entry init) {
  size_t count = sizeof(sqlite3_api_routines) / sizeof(void *), i, refused = 0;
  void **copy = malloc(sizeof(sqlite3_api_routines));
  sqlite3 *db;
  for (i = 0; i < count; i++) {
    char *message = NULL;
    int rc;
    db = open_connection();
    memcpy(copy, routines, sizeof(sqlite3_api_routines));
    if (copy[i] == (void *)sqlite3_mprintf || copy[i] == (void *)sqlite3_libversion
        || copy[i] == (void *)sqlite3_libversion_number || copy[i] == (void *)sqlite3_free) {
      sqlite3_close(db);
      continue; /* no SQLite lacks them, and without them there is no sentence */
    }
    copy[i] = NULL;
    rc = init(db, &message, (const sqlite3_api_routines *)copy);
    if (rc == SQLITE_ERROR) {
      refused++;
      if (message == NULL || !strstr(message, "was built without it")) bad("%zu: no sentence", i);
    } else {
      expect(db,
             "CREATE VIRTUAL TABLE t USING maph('host.maph');"
             "INSERT OR REPLACE INTO t VALUES('a', 1.5);"
             "SELECT * FROM t WHERE key IN ('a', 7) OR key = 7.0; SELECT key FROM t WHERE key GLOB "
             "'a*';"
             "SELECT maph_get('host.maph', 'a'), maph_put('host.maph', 'b', 2), maph_version();"
             "SELECT records FROM maph_stat('host.maph'); INSERT INTO t(t) VALUES('check');"
             "BEGIN; SAVEPOINT s; UPDATE t SET key='c' WHERE key='b'; ROLLBACK TO s; COMMIT;"
             "DELETE FROM t WHERE key='b'; DROP TABLE t",
             SQLITE_OK);
    }
    sqlite3_free(message);
    sqlite3_close(db);
  }
  free(copy);
  if (refused < 40) bad("%zu routines are checked", refused);
  db = open_connection();
  init(db, NULL, routines); /* so that the pointer to the copy does not stay */
  sqlite3_close(db);
}

/* --------------------------------------------------------------------- dropped and loaded again */

static void drop_in_use(entry init, const char *keep) {
  const char *kept[] = { keep, NULL };
  sqlite3 *db = open_connection();
  sqlite3_stmt *scan = NULL, *get = NULL, *form = NULL;
  if (init(db, NULL, routines) != SQLITE_OK_LOAD_PERMANENTLY) bad("does not load");
  if (init(db, NULL, routines) != SQLITE_OK_LOAD_PERMANENTLY) bad("does not load twice");
  expect(db,
         "CREATE VIRTUAL TABLE t USING maph('host.maph'); DELETE FROM t;"
         "INSERT INTO t VALUES('a', 1), ('b', 2), ('c', 3)",
         SQLITE_OK);
  sqlite3_prepare_v2(db, "SELECT key, maph_get('host.maph', key) FROM t", -1, &scan, NULL);
  sqlite3_prepare_v2(db, "SELECT maph_get('host.maph', 'b')", -1, &get, NULL);
  sqlite3_prepare_v2(db, "SELECT records FROM maph_stat('host.maph'), maph('host.maph')", -1, &form,
                     NULL);
  if (sqlite3_step(scan) != SQLITE_ROW || sqlite3_step(form) != SQLITE_ROW) bad("no row");
  sqlite3_drop_modules(db, keep ? kept : NULL);
  if (sqlite3_step(scan) != SQLITE_ROW || sqlite3_column_int(scan, 1) != 2) bad("the scan ended");
  if (sqlite3_step(get) != SQLITE_ROW || sqlite3_column_int(get, 0) != 2) bad("maph_get ended");
  if (sqlite3_step(form) != SQLITE_ROW) bad("the table-valued form ended");
  expect(db, "SELECT maph_put('host.maph', 'd', 4), maph_delete('host.maph', 'd')", SQLITE_OK);
  sqlite3_finalize(scan);
  sqlite3_finalize(get);
  sqlite3_finalize(form);
  expect(db, "SELECT maph_get('host.maph', 'a')", SQLITE_OK);
  if (keep == NULL) expect(db, "SELECT * FROM maph('host.maph')", SQLITE_ERROR);
  if (init(db, NULL, routines) != SQLITE_OK_LOAD_PERMANENTLY) bad("does not load again");
  expect(db,
         "SELECT * FROM maph('host.maph'), maph_stat('host.maph'); INSERT INTO t VALUES('e', 5)",
         SQLITE_OK);
  sqlite3_drop_modules(db, NULL);
  if (sqlite3_close(db) != SQLITE_OK) bad("does not close");
}

void host_run(const char *extension) {
  void *library = dlopen(extension, RTLD_NOW);
  void *symbol = library ? dlsym(library, "sqlite3_maph_init") : NULL;
  entry init;
  if (symbol == NULL) {
    bad("%s: %s", extension, dlerror());
    return;
  }
  memcpy(&init, &symbol, sizeof(init));
  sqlite3_auto_extension((void (*)(void))note_routines);
  sqlite3_close(open_connection());
  sqlite3_cancel_auto_extension((void (*)(void))note_routines);
  lack_each(init);
  drop_in_use(init, NULL);
  drop_in_use(init, "maph");
  drop_in_use(init, "maph_stat");
}
