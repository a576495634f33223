/*
** section_sql.c - the same SQL over a maph table and over an ordinary WITHOUT ROWID table of
** SQLite.
**
** The peers maph and sqlite stand for the two tables here; the others sit this out.  Each has a
** database of its own, in WAL mode with a page cache of 256 MiB and synchronous=off, and a table of
** all keys, that one transaction inserts in the shuffled order.  Keys and values are TEXT, as most
** of what SQL meets; the statements are prepared once, everything is read inside BEGIN, and every
** answer is checked against the workload.  The extension is the maph.so beside this program, loaded
** as a user would.
*/
#include "bench.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

/* keys of an IN list; selects between two looks at the clock */
enum { IN_KEYS = 1000, STEPS = 500 };

typedef struct sql {
  bench *b;
  entrant *e;
  sqlite3 *db;
  char *text; /* the workload's pool, made printable */
} sql;

static void must(sql *sql, int rc, const char *what) {
  if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW)
    fail("sql %s: %s: %s", sql->e->peer->name, what, sqlite3_errmsg(sql->db));
}

static void run(sql *sql, const char *statement) {
  must(sql, sqlite3_exec(sql->db, statement, NULL, NULL, NULL), statement);
}

static sqlite3_stmt *prepare(sql *sql, const char *text) {
  sqlite3_stmt *statement;
  must(sql, sqlite3_prepare_v3(sql->db, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL),
       text);
  return statement;
}

static void bind(sql *sql, sqlite3_stmt *statement, int i, slice text) {
  must(sql, sqlite3_bind_text(statement, i, text.data, (int)text.size, SQLITE_STATIC), "bind");
}

/* --------------------------------------------------------------------------------------- values */

static char *printable_pool(const workload *workload) {
  static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
  size_t n = POOL + workload->value_max;
  char *text = must_alloc(n);
  for (size_t i = 0; i < n; i++) text[i] = letters[workload->pool[i] & 63];
  return text;
}

static slice text_value(const sql *sql, uint32_t number) {
  slice value = workload_value(&sql->b->work, number, 0);
  return maph_bytes(sql->text + ((const uint8_t *)value.data - sql->b->work.pool), value.size);
}

static uint64_t sum_of_sizes(const sql *sql, const uint32_t *numbers, uint32_t n) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < n; i++) sum += text_value(sql, numbers[i]).size;
  return sum;
}

/* ------------------------------------------------------------------------------------- database */

static int is_peer(const entrant *entrant, const char *name) {
  return strcmp(entrant->peer->name, name) == 0;
}

static void load_extension(sql *sql) {
  char program[500], path[520], *slash, *message = NULL;
  ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
  program[n > 0 ? n : 0] = 0;
  slash = strrchr(program, '/');
  snprintf(path, sizeof path, "%.*s/maph.so", slash ? (int)(slash - program) : 0, program);
  must(sql, sqlite3_db_config(sql->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL),
       "allowing extensions");
  if (sqlite3_load_extension(sql->db, path, NULL, &message) != SQLITE_OK) fail("sql: %s", message);
}

static void open_database(sql *sql) {
  char path[600];
  folder_make(sql->e->fresh);
  folder_settle(sql->b->folder);
  memory_settle();
  snprintf(path, sizeof path, "%s/sql.sqlite", sql->e->fresh);
  must(sql, sqlite3_open(path, &sql->db), "open");
  run(sql, "PRAGMA journal_mode=WAL; PRAGMA cache_size=-262144; PRAGMA synchronous=off");
  if (is_peer(sql->e, "maph")) {
    load_extension(sql);
    run(sql, "CREATE VIRTUAL TABLE t USING maph('sql.maph', sync=off)");
  } else {
    run(sql, "CREATE TABLE t(key TEXT PRIMARY KEY NOT NULL, value TEXT) WITHOUT ROWID");
  }
}

static double insert_all(sql *sql) {
  const workload *workload = &sql->b->work;
  sqlite3_stmt *insert = prepare(sql, "INSERT INTO t(key, value) VALUES(?1, ?2)");
  char text[KEY_ROOM];
  uint64_t start = loop_ns();
  run(sql, "BEGIN");
  for (uint32_t i = 0; i < workload->keys; i++) {
    bind(sql, insert, 1, workload_key(workload->order[i], text));
    bind(sql, insert, 2, text_value(sql, workload->order[i]));
    must(sql, sqlite3_step(insert), "insert");
    must(sql, sqlite3_reset(insert), "insert");
  }
  run(sql, "COMMIT");
  double seconds = (double)(loop_ns() - start) * 1e-9;
  sqlite3_finalize(insert);
  return seconds;
}

/* An ordinary table, for the join, of the keys that the gets ask for, at most as many as the store
** has. */
static uint32_t make_asked(sql *sql) {
  const bench *bench = sql->b;
  uint32_t n = bench->hits.n < bench->work.keys ? bench->hits.n : bench->work.keys;
  sqlite3_stmt *insert;
  run(sql, "CREATE TABLE asked(key TEXT); BEGIN");
  insert = prepare(sql, "INSERT INTO asked VALUES(?1)");
  for (uint32_t i = 0; i < n; i++) {
    bind(sql, insert, 1, bench->hits.keys[i]);
    must(sql, sqlite3_step(insert), "insert");
    must(sql, sqlite3_reset(insert), "insert");
  }
  sqlite3_finalize(insert);
  run(sql, "COMMIT");
  return n;
}

/* -------------------------------------------------------------------------------------- reading */

/* Seconds of one statement that answers a number of rows and a sum of bytes. */
static double time_total(sql *sql, const char *text, uint64_t rows, uint64_t bytes) {
  sqlite3_stmt *statement = prepare(sql, text);
  uint64_t start = loop_ns();
  must(sql, sqlite3_step(statement), text);
  double seconds = (double)(loop_ns() - start) * 1e-9;
  if ((uint64_t)sqlite3_column_int64(statement, 0) != rows
      || (uint64_t)sqlite3_column_int64(statement, 1) != bytes) {
    fail("sql %s: %lld rows with %lld bytes: %s", sql->e->peer->name,
         (long long)sqlite3_column_int64(statement, 0),
         (long long)sqlite3_column_int64(statement, 1), text);
  }
  sqlite3_finalize(statement);
  return seconds;
}

static double rate_of_selects(sql *sql) {
  const bench *bench = sql->b;
  sqlite3_stmt *select = prepare(sql, "SELECT value FROM t WHERE key = ?1");
  uint64_t done = 0, bytes = 0, wanted = 0, start = loop_ns(), elapsed;
  uint32_t at = 0;
  do {
    for (int i = 0; i < STEPS; i++) {
      bind(sql, select, 1, bench->hits.keys[at]);
      if (sqlite3_step(select) != SQLITE_ROW)
        fail("sql %s: a key is missing: %s", sql->e->peer->name, sqlite3_errmsg(sql->db));
      if (sqlite3_column_text(select, 0) == NULL) fail("sql %s: no value", sql->e->peer->name);
      bytes += (uint64_t)sqlite3_column_bytes(select, 0);
      wanted += bench->work.value_max;
      must(sql, sqlite3_reset(select), "select");
      if (++at == bench->hits.n) at = 0;
    }
    done += STEPS;
    elapsed = loop_ns() - start;
  } while ((double)elapsed < bench->seconds * 1e9);
  sqlite3_finalize(select);
  if (bench->work.value_min == bench->work.value_max && bytes != wanted)
    fail("sql %s: values of the wrong size", sql->e->peer->name);
  return (double)done / ((double)elapsed * 1e-9);
}

/* SELECT key, value FROM t WHERE key IN (?,?, ...): keys a second. */
static double rate_of_lists(sql *sql) {
  const bench *bench = sql->b;
  uint32_t n = bench->hits.n < IN_KEYS ? bench->hits.n : IN_KEYS, at = 0;
  uint64_t done = 0, start, elapsed;
  char text[100 + 2 * IN_KEYS];
  int size = snprintf(text, sizeof text, "SELECT key, value FROM t WHERE key IN (?");
  for (uint32_t i = 1; i < n; i++) size += snprintf(text + size, sizeof text - (size_t)size, ",?");
  snprintf(text + size, sizeof text - (size_t)size, ")");
  sqlite3_stmt *select = prepare(sql, text);
  start = loop_ns();
  do {
    uint32_t rows = 0;
    if (bench->hits.n - at < n) at = 0;
    for (uint32_t i = 0; i < n; i++) bind(sql, select, (int)i + 1, bench->hits.keys[at++]);
    while (sqlite3_step(select) == SQLITE_ROW) {
      if (sqlite3_column_text(select, 0) == NULL || sqlite3_column_text(select, 1) == NULL)
        fail("sql %s: no value", sql->e->peer->name);
      rows++;
    }
    must(sql, sqlite3_reset(select), "IN");
    if (rows == 0 || rows > n)
      fail("sql %s: %u rows for a list of %u keys", sql->e->peer->name, rows, n);
    done += n;
    elapsed = loop_ns() - start;
  } while ((double)elapsed < bench->seconds * 1e9);
  sqlite3_finalize(select);
  return (double)done / ((double)elapsed * 1e-9);
}

static int is_above(slice a, slice b) {
  int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
  return order ? order > 0 : a.size > b.size;
}

/* Ten rows in the order of their keys, from above that key on. */
static void read_page(sql *sql, sqlite3_stmt *select, slice from) {
  bind(sql, select, 1, from);
  while (sqlite3_step(select) == SQLITE_ROW) {
    slice key = maph_bytes(sqlite3_column_text(select, 0), 0);
    key.size = (size_t)sqlite3_column_bytes(select, 0);
    if (key.data == NULL || sqlite3_column_text(select, 1) == NULL)
      fail("sql %s: no value", sql->e->peer->name);
    if (!is_above(key, from)) fail("sql %s: a page begins too early", sql->e->peer->name);
  }
  must(sql, sqlite3_reset(select), "page");
}

/* Pages a second. */
static double rate_of_pages(sql *sql) {
  static const char page[] = "SELECT key, value FROM t WHERE key > ?1 ORDER BY key LIMIT 10";
  const bench *bench = sql->b;
  sqlite3_stmt *select = prepare(sql, page);
  uint64_t done = 0, start = loop_ns(), elapsed;
  uint32_t at = 0;
  do {
    for (int i = 0; i < STEPS; i++) {
      read_page(sql, select, bench->hits.keys[at]);
      if (++at == bench->hits.n) at = 0;
    }
    done += STEPS;
    elapsed = loop_ns() - start;
  } while ((double)elapsed < bench->seconds * 1e9);
  sqlite3_finalize(select);
  return (double)done / ((double)elapsed * 1e-9);
}

void measure_sql(bench *bench, entrant *entrant) {
  sql sql = { bench, entrant, NULL, NULL };
  if (!is_peer(entrant, "maph") && !is_peer(entrant, "sqlite")) return;
  sql.text = printable_pool(&bench->work);
  open_database(&sql);
  entrant_report(bench, entrant, SQL_INSERT, bench->work.keys / insert_all(&sql));
  uint32_t asked = make_asked(&sql);
  folder_settle(bench->folder);
  run(&sql, "BEGIN");
  uint64_t all = sum_of_sizes(&sql, bench->work.order, bench->work.keys),
           wanted = sum_of_sizes(&sql, bench->work.asked, asked);
  static const char sum[] = "SELECT count(*), sum(length(value)) FROM t";
  /* every page is in this process's tables now */
  time_total(&sql, sum, bench->work.keys, all);
  entrant_report(bench, entrant, SQL_SUM,
                 bench->work.keys / time_total(&sql, sum, bench->work.keys, all));
  entrant_report(bench, entrant, SQL_SELECT, rate_of_selects(&sql));
  entrant_report(bench, entrant, SQL_IN, rate_of_lists(&sql));
  entrant_report(
      bench, entrant, SQL_JOIN,
      asked
          / time_total(&sql, "SELECT count(*), sum(length(value)) FROM asked JOIN t USING(key)",
                       asked, wanted));
  entrant_report(bench, entrant, SQL_PAGE, rate_of_pages(&sql));
  run(&sql, "COMMIT");
  must(&sql, sqlite3_close(sql.db), "close");
  folder_remove(entrant->fresh);
  free(sql.text);
}
