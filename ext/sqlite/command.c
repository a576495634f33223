/*
** command.c - work on the whole store, as FTS5 has it: INSERT INTO t(t) VALUES('compact').
**
** COMMANDS
**     check       walk the whole store; the first problem is the error
**     sync        everything committed is on disk when the statement ends, whatever sync= says
**     compact     give the room of overwritten and deleted rows back
**     optimize    the same, and freeze a perfect hash over all keys: faster to read, still writable
**     backup      a compact, verified copy at the path that `value` names, where nothing may be yet
** They work on what is committed, so they are refused in a transaction that wrote to the store, and
** no rollback takes them back.  check and backup read only, and so
** run on a table with mode=ro too.
**
** EXAMPLE
**     INSERT INTO products(products) VALUES('compact');
**     SELECT bytes_before - bytes_after AS given_back, records, took_ns/1e9 AS seconds FROM
**     maph_result('products.maph');
**
** What a command did is kept with the store of its connection (sql_store.result), until the next
** one or until no table or statement of the connection holds the store any more.
**
** LOCKING.  xBegin came first and took the writer lock; a command gives it back.  compact and
** optimize let readers and writers go on, in this and in other processes, and take it themselves
** for a moment; cursors that are open keep the file they began with.
**
** STOPPING.  sqlite3_interrupt() and the progress handler stop what takes long (pulse.c).
**
** PRAGMA integrity_check asks virtual tables from SQLite 3.44 on: it runs what check runs, and
** quick_check no more than opens the store.
*/
#include "sql.h"
#include <time.h>

/* ---------------------------------------------------------------------------------------- check */

typedef struct finding {
  uint64_t offset, count;
  char *sentence;
} finding;

static int note_problem(void *arg, uint64_t offset, const char *sentence) {
  finding *p = arg;
  if (p->count++ == 0) {
    p->offset = offset;
    p->sentence = sqlite3_mprintf("%s", sentence);
  }
  return 0;
}

/* sqlite3_interrupt() and the progress handler stop what takes long. */
static int should_stop(void *connection, const char *phase, uint64_t done, uint64_t total) {
  (void)phase;
  (void)done;
  (void)total;
  return pulse_tick(connection) != SQLITE_OK;
}

/* Walk the store that `reader` has open; the sentence tells of the first problem. */
static int check_all(sql_table *t) {
  finding p = { 0, 0, NULL };
  sql_store *s = t->store;
  int rc = maph_check_progress(s->reader, note_problem, &p, should_stop, t->connection);
  pulse_rest(t->connection);
  rc = store_error(s->reader, rc, &t->base.zErrMsg);
  if (rc == SQLITE_CORRUPT_VTAB && p.sentence) {
    rc = fail(&t->base.zErrMsg, rc,
              strstr(p.sentence, s->path)
                  ? sqlite3_mprintf("%s (problems in all: %lld)", p.sentence, (long long)p.count)
                  : sqlite3_mprintf("%s: offset %lld: %s (problems in all: %lld)", s->path,
                                    (long long)p.offset, p.sentence, (long long)p.count));
  }
  sqlite3_free(p.sentence);
  return rc;
}

/* ------------------------------------------------------------------------------------- commands */

/* Of a command that rewrites nothing: what it looked at. */
static int note_size(sql_store *s, maph *m, maph_rewrite *figures, char **message) {
  maph_stats stats;
  int rc = store_error(m, maph_stat(m, &stats), message);
  if (rc != SQLITE_OK) return rc;
  figures->records = stats.records;
  figures->bytes_before = figures->bytes_after = stats.file_bytes;
  s->records = (sqlite3_int64)stats.records;
  return rc;
}

static int command_check(sql_table *t, const char *operand, maph_rewrite *figures) {
  int rc;
  (void)operand;
  rc = store_open_reader(t->store, table_may(t), &t->base.zErrMsg);
  if (rc == SQLITE_OK) rc = note_size(t->store, t->store->reader, figures, &t->base.zErrMsg);
  return rc == SQLITE_OK ? check_all(t) : rc;
}

static int command_sync(sql_table *t, const char *operand, maph_rewrite *figures) {
  maph *m = t->store->writer;
  int rc;
  (void)operand;
  rc = store_error(m, maph_sync(m), &t->base.zErrMsg);
  return rc == SQLITE_OK ? note_size(t->store, m, figures, &t->base.zErrMsg) : rc;
}

/* Through a handle of its own, which waits for the lock as long as the store's options say. */
static int rewrite(sql_table *t, int (*how)(maph *, maph_progress_fn, void *),
                   maph_rewrite *figures) {
  maph *m = NULL;
  int rc = store_open_patient(t->store, &m, &t->base.zErrMsg);
  if (rc != SQLITE_OK) return rc;
  rc = store_error(m, how(m, should_stop, t->connection), &t->base.zErrMsg);
  if (rc == SQLITE_OK) rc = store_error(m, maph_rewritten(m, figures), &t->base.zErrMsg);
  maph_close(m);
  pulse_rest(t->connection);
  return rc;
}

static int command_compact(sql_table *t, const char *operand, maph_rewrite *figures) {
  (void)operand;
  return rewrite(t, maph_compact, figures);
}

static int command_optimize(sql_table *t, const char *operand, maph_rewrite *figures) {
  (void)operand;
  return rewrite(t, maph_optimize, figures);
}

/* The path means what it means in CREATE VIRTUAL TABLE, and the application says it now. */
static int command_backup(sql_table *t, const char *operand, maph_rewrite *figures) {
  char *path = NULL;
  maph *m;
  int rc = store_open_reader(t->store, table_may(t), &t->base.zErrMsg);
  if (rc == SQLITE_OK)
    rc = option_resolve(t->connection->db, t->schema, 1, operand, &path, &t->base.zErrMsg);
  if (rc != SQLITE_OK) return rc;
  m = t->store->reader;
  rc = store_error(m, maph_backup(m, path, should_stop, t->connection), &t->base.zErrMsg);
  if (rc == SQLITE_OK) rc = store_error(m, maph_rewritten(m, figures), &t->base.zErrMsg);
  sqlite3_free(path);
  pulse_rest(t->connection);
  return rc;
}

static const struct command {
  const char *name;
  int writes;          /* store->writer is open when it runs */
  const char *operand; /* what it needs as the value, or NULL */
  int (*run)(sql_table *, const char *operand, maph_rewrite *figures);
} commands[] = {
  { "check", 0, NULL, command_check },
  { "sync", 1, NULL, command_sync },
  { "compact", 1, NULL, command_compact },
  { "optimize", 1, NULL, command_optimize },
  { "backup", 0, "the file to make", command_backup },
};

static const struct command *find_command(const char *name) {
  size_t i;
  for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
    if (sqlite3_stricmp(name, commands[i].name) == 0) return &commands[i];
  }
  return NULL;
}

static uint64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int run(sql_table *t, const struct command *c, const char *operand) {
  sql_result result = { c->name, { 0 } };
  uint64_t started = clock_ns();
  int rc = SQLITE_OK;
  if (c->writes && !(table_may(t) & STORE_MAY_WRITE)) {
    return fail(&t->base.zErrMsg, SQLITE_READONLY,
                sqlite3_mprintf("%s is read-only: %s writes", t->name, c->name));
  }
  if (c->writes) rc = store_open_writer(t->store, table_may(t), &t->base.zErrMsg);
  if (rc == SQLITE_OK) rc = c->run(t, operand, &result.figures);
  if (rc != SQLITE_OK) return rc;
  if (result.figures.took_ns == 0) result.figures.took_ns = clock_ns() - started;
  t->store->result = result;
  return SQLITE_OK;
}

/* The words of a command: its name, and its operand where it needs one. */
static int find_words(sql_table *t, sqlite3_value *word, sqlite3_value *value,
                      const struct command **command, const char **operand) {
  const char *name = (const char *)sqlite3_value_text(word);
  const struct command *c = name ? find_command(name) : NULL;
  char **message = &t->base.zErrMsg;
  if (name == NULL) return SQLITE_NOMEM;
  if (c == NULL) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("maph: no command \"%.100s\": there are check, sync, compact, "
                                "optimize and backup, as in INSERT INTO %s(%s) VALUES('check')",
                                name, t->name, t->name));
  }
  *command = c;
  *operand = option_file(value);
  if (c->operand && *operand == NULL) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("maph: '%s' needs %s as the value, as in INSERT INTO %s(%s, value) "
                                "VALUES('%s', 'copy.maph')",
                                c->name, c->operand, t->name, t->name, c->name));
  }
  if (c->operand == NULL && sqlite3_value_type(value) != SQLITE_NULL) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("maph: '%s' takes no value, as in INSERT INTO %s(%s) VALUES('%s')",
                                c->name, t->name, t->name, c->name));
  }
  return SQLITE_OK;
}

int command_run(sql_table *t, sqlite3_value *word, sqlite3_value *value) {
  const struct command *c;
  const char *operand;
  sql_store *s = t->store;
  int rc = find_words(t, word, value, &c, &operand);
  if (rc != SQLITE_OK) return rc;
  if (s->txn && maph_txn_operations(s->txn) > 0) {
    return fail(
        &t->base.zErrMsg, SQLITE_ERROR,
        sqlite3_mprintf("maph: '%s' works on what is committed, and this transaction wrote to "
                        "the store: COMMIT first",
                        c->name));
  }
  store_rollback(s);
  return run(t, c, operand);
}

/* ----------------------------------------------------------------------- PRAGMA integrity_check */

/* What is wrong with the store is a row of the pragma's answer, in *problem; only a lack of memory
** and an interrupt are errors.  A store that this connection may not open has nothing to say. */
int command_integrity(sqlite3_vtab *vtab, const char *schema, const char *name, int flags,
                      char **problem) {
  sql_table *t = (sql_table *)vtab;
  int quick = flags & 1, rc;
  if (t->is_function) return SQLITE_OK;
  rc = table_use(t);
  if (rc == SQLITE_OK) rc = store_open_reader(t->store, 0, &vtab->zErrMsg);
  if (rc == SQLITE_OK && !quick) rc = check_all(t);
  if (rc == SQLITE_AUTH) rc = SQLITE_OK; /* it may be healthy */
  if (rc != SQLITE_OK && rc != SQLITE_NOMEM && rc != SQLITE_INTERRUPT) {
    *problem = sqlite3_mprintf("maph table %s.%s: %s", schema, name,
                               vtab->zErrMsg ? vtab->zErrMsg : sqlite3_errstr(rc));
    rc = *problem ? SQLITE_OK : SQLITE_NOMEM;
  }
  sqlite3_free(vtab->zErrMsg);
  vtab->zErrMsg = NULL;
  return rc;
}
