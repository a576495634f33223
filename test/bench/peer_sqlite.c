/*
** peer_sqlite.c - SQLite: one table in WAL mode, prepared statements, reads inside one transaction,
** a page cache that holds everything (the default of 2 MiB halves its figures).  The table is
** WITHOUT ROWID where rows are short; SQLite's manual advises against it for long ones.  LEVEL_OFF
** is synchronous=off, LEVEL_FULL synchronous=full.
*/
#include "bench.h"

#include <sqlite3.h>
#include <stdlib.h>

enum { LONG_ROW = 400 };

typedef struct sqlite_store {
  sqlite3 *db;
  sqlite3_stmt *get, *put, *begin, *commit, *from;
  char folder[512];
} sqlite_store;

static void must(sqlite_store *store, int rc, const char *what) {
  if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW)
    fail("sqlite: %s: %s", what, sqlite3_errmsg(store->db));
}

static void run(sqlite_store *store, const char *sql) {
  must(store, sqlite3_exec(store->db, sql, NULL, NULL, NULL), sql);
}

static sqlite3_stmt *prepare(sqlite_store *store, const char *sql) {
  sqlite3_stmt *statement;
  must(store, sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL),
       sql);
  return statement;
}

static void step_once(sqlite_store *store, sqlite3_stmt *statement, const char *what) {
  must(store, sqlite3_step(statement), what);
  must(store, sqlite3_reset(statement), what);
}

static const char *sqlite_version(void) {
  static char version[32];
  snprintf(version, sizeof version, "SQLite %s", sqlite3_libversion());
  return version;
}

static void *sqlite_open(const char *folder, level at) {
  sqlite_store *store = must_alloc(sizeof *store);
  char path[600], cache[64];
  snprintf(store->folder, sizeof store->folder, "%s", folder);
  snprintf(path, sizeof path, "%s/data.sqlite", folder);
  must(store, sqlite3_open(path, &store->db), "open");
  run(store, "PRAGMA journal_mode=WAL");
  snprintf(cache, sizeof cache, "PRAGMA cache_size=-%llu",
           (unsigned long long)(peer_cache_bytes() >> 10));
  run(store, cache);
  run(store, at == LEVEL_OFF ? "PRAGMA synchronous=off" : "PRAGMA synchronous=full");
  run(store, peer_hint.bytes > LONG_ROW * peer_hint.keys
                 ? "CREATE TABLE IF NOT EXISTS kv(k BLOB PRIMARY KEY, v BLOB)"
                 : "CREATE TABLE IF NOT EXISTS kv(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID");
  store->get = prepare(store, "SELECT v FROM kv WHERE k=?1");
  store->put = prepare(store, "INSERT OR REPLACE INTO kv VALUES(?1, ?2)");
  store->begin = prepare(store, "BEGIN IMMEDIATE");
  store->commit = prepare(store, "COMMIT");
  store->from = prepare(store, "SELECT k, v FROM kv WHERE k>=?1 ORDER BY k LIMIT ?2");
  if (at == LEVEL_READ) run(store, "BEGIN");
  return store;
}

static void sqlite_close(void *store) {
  sqlite_store *s = store;
  sqlite3_finalize(s->get);
  sqlite3_finalize(s->put);
  sqlite3_finalize(s->begin);
  sqlite3_finalize(s->commit);
  sqlite3_finalize(s->from);
  must(s, sqlite3_close(s->db), "close");
  free(s);
}

/* Another thread's view: a connection of its own. */
static void *sqlite_reader(void *store) {
  return sqlite_open(((sqlite_store *)store)->folder, LEVEL_READ);
}

static int sqlite_get(void *store, slice key, slice *value) {
  sqlite_store *s = store;
  sqlite3_reset(s->get);
  sqlite3_bind_blob(s->get, 1, key.data, (int)key.size, SQLITE_STATIC);
  int rc = sqlite3_step(s->get);
  must(s, rc, "get");
  if (rc != SQLITE_ROW) return 0;
  const void *data = sqlite3_column_blob(s->get, 0);
  *value = maph_bytes(data, (size_t)sqlite3_column_bytes(s->get, 0));
  return 1;
}

static void sqlite_put(void *store, slice key, slice value) {
  sqlite_store *s = store;
  sqlite3_reset(s->get); /* its value may go now */
  sqlite3_bind_blob(s->put, 1, key.data, (int)key.size, SQLITE_STATIC);
  sqlite3_bind_blob(s->put, 2, value.data, (int)value.size, SQLITE_STATIC);
  step_once(s, s->put, "put");
}

static void sqlite_put_batch(void *store, size_t n, const slice *keys, const slice *values) {
  sqlite_store *s = store;
  sqlite3_reset(s->get);
  step_once(s, s->begin, "begin");
  for (size_t i = 0; i < n; i++) sqlite_put(s, keys[i], values[i]);
  step_once(s, s->commit, "commit");
}

static void count_rows(sqlite_store *store, sqlite3_stmt *rows, scan_total *total) {
  int rc;
  while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
    slice key = maph_bytes(sqlite3_column_blob(rows, 0), 0),
          value = maph_bytes(sqlite3_column_blob(rows, 1), 0);
    key.size = (size_t)sqlite3_column_bytes(rows, 0);
    value.size = (size_t)sqlite3_column_bytes(rows, 1);
    scan_count(total, key, value);
  }
  must(store, rc, "scan");
}

static void sqlite_scan(void *store, scan_total *total) {
  sqlite_store *s = store;
  sqlite3_reset(s->get);
  sqlite3_stmt *all = prepare(s, "SELECT k, v FROM kv");
  count_rows(s, all, total);
  sqlite3_finalize(all);
}

static void sqlite_scan_from(void *store, slice key, uint32_t n, scan_total *total) {
  sqlite_store *s = store;
  sqlite3_reset(s->get);
  sqlite3_bind_blob(s->from, 1, key.data, (int)key.size, SQLITE_STATIC);
  sqlite3_bind_int64(s->from, 2, n);
  count_rows(s, s->from, total);
  must(s, sqlite3_reset(s->from), "scan");
}

const peer peer_sqlite = {
  .name = "sqlite",
  .settings = "WITHOUT ROWID (values of 400 bytes and more: with), WAL, cache for everything, "
              "prepared; gets in one transaction; no flush: synchronous=off; durable: full",
  .version = sqlite_version,
  .create = sqlite_open,
  .open = sqlite_open,
  .close = sqlite_close,
  .get = sqlite_get,
  .put = sqlite_put,
  .put_batch = sqlite_put_batch,
  .scan = sqlite_scan,
  .scan_from = sqlite_scan_from,
  .reader = sqlite_reader,
  .reader_close = sqlite_close
};
