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

static void must(sql *s, int rc, const char *what) {
  if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW)
    fail("sql %s: %s: %s", s->e->peer->name, what, sqlite3_errmsg(s->db));
}

static void run(sql *s, const char *statement) {
  must(s, sqlite3_exec(s->db, statement, NULL, NULL, NULL), statement);
}

static sqlite3_stmt *prepare(sql *s, const char *text) {
  sqlite3_stmt *statement;
  must(s, sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), text);
  return statement;
}

static void bind(sql *s, sqlite3_stmt *statement, int i, slice text) {
  must(s, sqlite3_bind_text(statement, i, text.data, (int)text.size, SQLITE_STATIC), "bind");
}

/* --------------------------------------------------------------------------------------- values */

static char *printable_pool(const workload *w) {
  static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
  size_t n = POOL + w->value_max;
  char *text = must_alloc(n);
  for (size_t i = 0; i < n; i++) text[i] = letters[w->pool[i] & 63];
  return text;
}

static slice text_value(const sql *s, uint32_t number) {
  slice value = workload_value(&s->b->work, number, 0);
  return maph_bytes(s->text + ((const uint8_t *)value.data - s->b->work.pool), value.size);
}

static uint64_t sum_of_sizes(const sql *s, const uint32_t *numbers, uint32_t n) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < n; i++) sum += text_value(s, numbers[i]).size;
  return sum;
}

/* ------------------------------------------------------------------------------------- database */

static int is_peer(const entrant *e, const char *name) { return strcmp(e->peer->name, name) == 0; }

static void load_extension(sql *s) {
  char program[500], path[520], *slash, *message = NULL;
  ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
  program[n > 0 ? n : 0] = 0;
  slash = strrchr(program, '/');
  snprintf(path, sizeof path, "%.*s/maph.so", slash ? (int)(slash - program) : 0, program);
  must(s, sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL),
       "allowing extensions");
  if (sqlite3_load_extension(s->db, path, NULL, &message) != SQLITE_OK) fail("sql: %s", message);
}

static void open_database(sql *s) {
  char path[600];
  folder_make(s->e->fresh);
  folder_settle(s->b->folder);
  snprintf(path, sizeof path, "%s/sql.sqlite", s->e->fresh);
  must(s, sqlite3_open(path, &s->db), "open");
  run(s, "PRAGMA journal_mode=WAL; PRAGMA cache_size=-262144; PRAGMA synchronous=off");
  if (is_peer(s->e, "maph")) {
    load_extension(s);
    run(s, "CREATE VIRTUAL TABLE t USING maph('sql.maph', sync=off)");
  } else {
    run(s, "CREATE TABLE t(key TEXT PRIMARY KEY NOT NULL, value TEXT) WITHOUT ROWID");
  }
}

static double insert_all(sql *s) {
  const workload *w = &s->b->work;
  sqlite3_stmt *insert = prepare(s, "INSERT INTO t(key, value) VALUES(?1, ?2)");
  char text[KEY_ROOM];
  uint64_t start = loop_ns();
  run(s, "BEGIN");
  for (uint32_t i = 0; i < w->keys; i++) {
    bind(s, insert, 1, workload_key(w->order[i], text));
    bind(s, insert, 2, text_value(s, w->order[i]));
    must(s, sqlite3_step(insert), "insert");
    must(s, sqlite3_reset(insert), "insert");
  }
  run(s, "COMMIT");
  double seconds = (double)(loop_ns() - start) * 1e-9;
  sqlite3_finalize(insert);
  return seconds;
}

/* An ordinary table, for the join, of the keys that the gets ask for, at most as many as the store
** has. */
static uint32_t make_asked(sql *s) {
  const bench *b = s->b;
  uint32_t n = b->hits.n < b->work.keys ? b->hits.n : b->work.keys;
  sqlite3_stmt *insert;
  run(s, "CREATE TABLE asked(key TEXT); BEGIN");
  insert = prepare(s, "INSERT INTO asked VALUES(?1)");
  for (uint32_t i = 0; i < n; i++) {
    bind(s, insert, 1, b->hits.keys[i]);
    must(s, sqlite3_step(insert), "insert");
    must(s, sqlite3_reset(insert), "insert");
  }
  sqlite3_finalize(insert);
  run(s, "COMMIT");
  return n;
}

/* -------------------------------------------------------------------------------------- reading */

/* Seconds of one statement that answers a number of rows and a sum of bytes. */
static double time_total(sql *s, const char *text, uint64_t rows, uint64_t bytes) {
  sqlite3_stmt *statement = prepare(s, text);
  uint64_t start = loop_ns();
  must(s, sqlite3_step(statement), text);
  double seconds = (double)(loop_ns() - start) * 1e-9;
  if ((uint64_t)sqlite3_column_int64(statement, 0) != rows
      || (uint64_t)sqlite3_column_int64(statement, 1) != bytes) {
    fail("sql %s: %lld rows with %lld bytes: %s", s->e->peer->name,
         (long long)sqlite3_column_int64(statement, 0),
         (long long)sqlite3_column_int64(statement, 1), text);
  }
  sqlite3_finalize(statement);
  return seconds;
}

static double rate_of_selects(sql *s) {
  const bench *b = s->b;
  sqlite3_stmt *select = prepare(s, "SELECT value FROM t WHERE key = ?1");
  uint64_t done = 0, bytes = 0, wanted = 0, start = loop_ns(), elapsed;
  uint32_t at = 0;
  do {
    for (int i = 0; i < STEPS; i++) {
      bind(s, select, 1, b->hits.keys[at]);
      if (sqlite3_step(select) != SQLITE_ROW)
        fail("sql %s: a key is missing: %s", s->e->peer->name, sqlite3_errmsg(s->db));
      if (sqlite3_column_text(select, 0) == NULL) fail("sql %s: no value", s->e->peer->name);
      bytes += (uint64_t)sqlite3_column_bytes(select, 0);
      wanted += b->work.value_max;
      must(s, sqlite3_reset(select), "select");
      if (++at == b->hits.n) at = 0;
    }
    done += STEPS;
    elapsed = loop_ns() - start;
  } while ((double)elapsed < b->seconds * 1e9);
  sqlite3_finalize(select);
  if (b->work.value_min == b->work.value_max && bytes != wanted)
    fail("sql %s: values of the wrong size", s->e->peer->name);
  return (double)done / ((double)elapsed * 1e-9);
}

/* SELECT key, value FROM t WHERE key IN (?,?, ...): keys a second. */
static double rate_of_lists(sql *s) {
  const bench *b = s->b;
  uint32_t n = b->hits.n < IN_KEYS ? b->hits.n : IN_KEYS, at = 0;
  uint64_t done = 0, start, elapsed;
  char text[100 + 2 * IN_KEYS];
  int size = snprintf(text, sizeof text, "SELECT key, value FROM t WHERE key IN (?");
  for (uint32_t i = 1; i < n; i++) size += snprintf(text + size, sizeof text - (size_t)size, ",?");
  snprintf(text + size, sizeof text - (size_t)size, ")");
  sqlite3_stmt *select = prepare(s, text);
  start = loop_ns();
  do {
    uint32_t rows = 0;
    if (b->hits.n - at < n) at = 0;
    for (uint32_t i = 0; i < n; i++) bind(s, select, (int)i + 1, b->hits.keys[at++]);
    while (sqlite3_step(select) == SQLITE_ROW) {
      if (sqlite3_column_text(select, 0) == NULL || sqlite3_column_text(select, 1) == NULL)
        fail("sql %s: no value", s->e->peer->name);
      rows++;
    }
    must(s, sqlite3_reset(select), "IN");
    if (rows == 0 || rows > n)
      fail("sql %s: %u rows for a list of %u keys", s->e->peer->name, rows, n);
    done += n;
    elapsed = loop_ns() - start;
  } while ((double)elapsed < b->seconds * 1e9);
  sqlite3_finalize(select);
  return (double)done / ((double)elapsed * 1e-9);
}

void measure_sql(bench *b, entrant *e) {
  sql s = { b, e, NULL, NULL };
  if (!is_peer(e, "maph") && !is_peer(e, "sqlite")) return;
  s.text = printable_pool(&b->work);
  open_database(&s);
  entrant_report(b, e, SQL_INSERT, b->work.keys / insert_all(&s));
  uint32_t asked = make_asked(&s);
  folder_settle(b->folder);
  run(&s, "BEGIN");
  uint64_t all = sum_of_sizes(&s, b->work.order, b->work.keys),
           wanted = sum_of_sizes(&s, b->work.asked, asked);
  static const char sum[] = "SELECT count(*), sum(length(value)) FROM t";
  /* every page is in this process's tables now */
  time_total(&s, sum, b->work.keys, all);
  entrant_report(b, e, SQL_SUM, b->work.keys / time_total(&s, sum, b->work.keys, all));
  entrant_report(b, e, SQL_SELECT, rate_of_selects(&s));
  entrant_report(b, e, SQL_IN, rate_of_lists(&s));
  entrant_report(
      b, e, SQL_JOIN,
      asked
          / time_total(&s, "SELECT count(*), sum(length(value)) FROM asked JOIN t USING(key)",
                       asked, wanted));
  run(&s, "COMMIT");
  must(&s, sqlite3_close(s.db), "close");
  folder_remove(e->fresh);
  free(s.text);
}
