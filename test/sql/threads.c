/*
** threads.c - threads with a connection each, on one store (for SAN=thread).
**
** Every writing thread moves one from the row of one account to another's in a transaction of
** several statements, now and then rolls back, and now and then opens its connection anew.  The sum
** of all accounts stays what it was: each statement of each thread must see it so, by a scan, by IN
** and by a join of the table with itself, while the first thread checks, compacts and optimizes the
** store now and then.  At the end the counters in the store are the commits that were made.
*/
#include "sqltest.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ACCOUNTS = 20, EACH = 100, MAX_THREADS = 16 };

typedef struct worker {
  int number, commits;
  pthread_t thread;
  unsigned random;
} worker;

static char folder[1000];

static unsigned draw(worker *w, unsigned n) {
  w->random = w->random * 1664525u + 1013904223u;
  return (w->random >> 8) % n;
}

static sqlite3 *connect(void) {
  sqlite3 *db = NULL;
  char *sql = sqlite3_mprintf("CREATE VIRTUAL TABLE temp.t USING maph('%q/threads.maph', mode=rwc, "
                              "sync=off, busy_timeout=600000)",
                              folder);
  if (sqlite3_open(":memory:", &db) != SQLITE_OK
      || sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
    bad("open: %s", sqlite3_errmsg(db));
  sqlite3_free(sql);
  return db;
}

static void run(sqlite3 *db, const char *sql) {
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) bad("%s: %s", sql, sqlite3_errmsg(db));
}

static sqlite3_int64 number(sqlite3 *db, const char *sql) {
  sqlite3_stmt *statement = NULL;
  sqlite3_int64 n = -1;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK
      || sqlite3_step(statement) != SQLITE_ROW)
    bad("%s: %s", sql, sqlite3_errmsg(db));
  else
    n = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  return n;
}

static void look(sqlite3 *db) {
  static const char *const sums[] = {
    "SELECT sum(value) FROM t WHERE key GLOB 'account*'",
    "SELECT sum(a.value+b.value)/2 FROM t a JOIN t b ON b.key=a.key WHERE a.key GLOB 'account*'",
    ("WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM c WHERE i<19) SELECT sum(value) "
     "FROM t WHERE key IN (SELECT 'account'||i FROM c)"),
  };
  for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
    sqlite3_int64 sum = number(db, sums[i]);
    if (sum != ACCOUNTS * EACH) bad("%lld in all: %s", (long long)sum, sums[i]);
  }
}

static void move(worker *w, sqlite3 *db) {
  unsigned from = draw(w, ACCOUNTS), to = (from + 1 + draw(w, ACCOUNTS - 1)) % ACCOUNTS;
  char sql[300];
  run(db, "BEGIN");
  snprintf(sql, sizeof sql,
           "UPDATE t SET value=value-1 WHERE key='account%u'; SAVEPOINT s; UPDATE t SET "
           "value=value+1 WHERE key IN ('account%u')",
           from, to);
  run(db, sql);
  if (draw(w, 4) == 0) {
    snprintf(sql, sizeof sql, "ROLLBACK TO s; UPDATE t SET value=value+1 WHERE key='account%u'",
             to);
    run(db, sql);
  }
  snprintf(sql, sizeof sql,
           "INSERT OR REPLACE INTO t SELECT 'commits%d', coalesce((SELECT value FROM t WHERE "
           "key='commits%d'), 0)+1",
           w->number, w->number);
  run(db, sql);
  look(db);
  if (draw(w, 5) == 0) {
    run(db, "ROLLBACK");
  } else {
    run(db, "COMMIT");
    w->commits--;
  }
}

static void *work(void *arg) {
  static const char *const commands[] = { "INSERT INTO t(t) VALUES('check')",
                                          "INSERT INTO t(t) VALUES('compact')",
                                          "INSERT INTO t(t) VALUES('optimize')" };
  worker *w = arg;
  sqlite3 *db = connect();
  while (w->commits > 0) {
    move(w, db);
    look(db);
    if (w->number == 0 && w->commits % 10 == 0) run(db, commands[w->commits / 10 % 3]);
    if (draw(w, 20) == 0) {
      sqlite3_close(db);
      db = connect();
    }
  }
  if (sqlite3_close(db) != SQLITE_OK) bad("cannot close");
  return NULL;
}

void threads_run(int threads, int commits) {
  worker workers[MAX_THREADS];
  sqlite3 *db;
  int i;
  if (threads < 1 || threads > MAX_THREADS || getcwd(folder, sizeof folder) == NULL
      || !sqlite3_threadsafe()) {
    bad("cannot run %d threads", threads);
    return;
  }
  sqlite3_auto_extension((void (*)(void))sqlite3_maph_init);
  db = connect();
  run(db, "WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM c WHERE i<19) INSERT INTO t "
          "SELECT 'account'||i, 100 FROM c");
  for (i = 0; i < threads; i++) {
    workers[i] = (worker){ .number = i, .commits = commits, .random = (unsigned)i * 7919u };
    pthread_create(&workers[i].thread, NULL, work, &workers[i]);
  }
  for (i = 0; i < threads; i++) pthread_join(workers[i].thread, NULL);
  look(db);
  if (number(db, "SELECT sum(value) FROM t WHERE key GLOB 'commits*'")
      != (sqlite3_int64)threads * commits)
    bad("commits were lost");
  run(db, "INSERT INTO t(t) VALUES('check')");
  sqlite3_close(db);
}
