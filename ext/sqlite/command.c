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
** no rollback takes them back.  check and backup only read: they run on a table with mode=ro too.
**
** EXAMPLE
**     INSERT INTO products(products) VALUES('compact');
**     SELECT bytes_before - bytes_after AS given_back, records, took_ns/1e9 AS seconds
**       FROM maph_result('products.maph');
**
** What a command did is kept with the store of its connection (sql_store.result), until the next
** one or until no table or statement of the connection holds the store any more.
**
** LOCKING.  xBegin came first and took the writer lock; a command gives it back.  compact and
** optimize let readers and writers go on, in this and in other processes, and take it themselves
** for a moment; cursors that are open keep the file they began with.
**
** STOPPING.  sqlite3_interrupt() and the progress handler stop what takes long (pulse.c).  This is
** not done by maph_interrupt: SQLite tells nobody that it was interrupted, so somebody has to look,
** and only the thread that is in the call may.  It does so in the progress callback, which is
** called while compact or optimize waits for another process, too.
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
  finding *finding = arg;
  if (finding->count++ == 0) {
    finding->offset = offset;
    finding->sentence = sqlite3_mprintf("%s", sentence);
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
static int check_all(sql_table *table) {
  finding finding = { 0, 0, NULL };
  sql_store *store = table->store;
  int rc =
      maph_check_progress(store->reader, note_problem, &finding, should_stop, table->connection);
  pulse_rest(table->connection);
  rc = error_of(store->reader, rc, &table->base.zErrMsg);
  if (rc == SQLITE_CORRUPT_VTAB && finding.sentence) {
    rc = fail(&table->base.zErrMsg, rc,
              strstr(finding.sentence, store->path)
                  ? sqlite3_mprintf("%s (problems in all: %lld)", finding.sentence,
                                    (long long)finding.count)
                  : sqlite3_mprintf("%s: offset %lld: %s (problems in all: %lld)", store->path,
                                    (long long)finding.offset, finding.sentence,
                                    (long long)finding.count));
  }
  sqlite3_free(finding.sentence);
  return rc;
}

/* ------------------------------------------------------------------------------------- commands */

/* Of a command that rewrites nothing: what it looked at. */
static int note_size(sql_store *store, maph *m, maph_rewrite *figures, char **message) {
  maph_stats stats;
  int rc = error_of(m, maph_stat(m, &stats), message);
  if (rc != SQLITE_OK) return rc;
  figures->records = stats.records;
  figures->bytes_before = figures->bytes_after = stats.file_bytes;
  store->records = (sqlite3_int64)stats.records;
  return rc;
}

static int command_check(sql_table *table, const char *operand, maph_rewrite *figures) {
  int rc;
  (void)operand;
  rc = store_open_reader(table->store, table_may(table), &table->base.zErrMsg);
  if (rc == SQLITE_OK)
    rc = note_size(table->store, table->store->reader, figures, &table->base.zErrMsg);
  return rc == SQLITE_OK ? check_all(table) : rc;
}

static int command_sync(sql_table *table, const char *operand, maph_rewrite *figures) {
  maph *m = table->store->writer;
  int rc;
  (void)operand;
  rc = error_of(m, maph_sync(m), &table->base.zErrMsg);
  return rc == SQLITE_OK ? note_size(table->store, m, figures, &table->base.zErrMsg) : rc;
}

/* Through a handle of its own, which waits for the lock as long as the store's options say. */
static int rewrite(sql_table *table, int (*how)(maph *, maph_progress_fn, void *),
                   maph_rewrite *figures) {
  maph *m = NULL;
  int rc = store_open_patient(table->store, &m, &table->base.zErrMsg);
  if (rc != SQLITE_OK) return rc;
  rc = error_of(m, how(m, should_stop, table->connection), &table->base.zErrMsg);
  if (rc == SQLITE_OK) rc = error_of(m, maph_rewritten(m, figures), &table->base.zErrMsg);
  maph_close(m);
  pulse_rest(table->connection);
  return rc;
}

static int command_compact(sql_table *table, const char *operand, maph_rewrite *figures) {
  (void)operand;
  return rewrite(table, maph_compact, figures);
}

static int command_optimize(sql_table *table, const char *operand, maph_rewrite *figures) {
  (void)operand;
  return rewrite(table, maph_optimize, figures);
}

/* The path means what it means in CREATE VIRTUAL TABLE, and the application says it now. */
static int command_backup(sql_table *table, const char *operand, maph_rewrite *figures) {
  char *path = NULL;
  maph *m;
  int rc = store_open_reader(table->store, table_may(table), &table->base.zErrMsg);
  if (rc == SQLITE_OK)
    rc = option_resolve(table->connection->db, table->schema, 1, operand, &path,
                        &table->base.zErrMsg);
  if (rc != SQLITE_OK) return rc;
  m = table->store->reader;
  rc = error_of(m, maph_backup(m, path, should_stop, table->connection), &table->base.zErrMsg);
  if (rc == SQLITE_OK) rc = error_of(m, maph_rewritten(m, figures), &table->base.zErrMsg);
  sqlite3_free(path);
  pulse_rest(table->connection);
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

static int run(sql_table *table, const struct command *command, const char *operand) {
  sql_result result = { command->name, { 0 } };
  uint64_t started = clock_ns();
  int rc = SQLITE_OK;
  if (command->writes && !(table_may(table) & STORE_MAY_WRITE)) {
    return fail(&table->base.zErrMsg, SQLITE_READONLY,
                sqlite3_mprintf("%s is read-only: %s writes", table->name, command->name));
  }
  if (command->writes) rc = store_open_writer(table->store, table_may(table), &table->base.zErrMsg);
  if (rc == SQLITE_OK) rc = command->run(table, operand, &result.figures);
  if (rc != SQLITE_OK) return rc;
  if (result.figures.took_ns == 0) result.figures.took_ns = clock_ns() - started;
  table->store->result = result;
  return SQLITE_OK;
}

/* The words of a command: its name, and its operand where it needs one. */
static int find_words(sql_table *table, sqlite3_value *word, sqlite3_value *value,
                      const struct command **command, const char **operand) {
  const char *name = (const char *)sqlite3_value_text(word);
  const struct command *c = name ? find_command(name) : NULL;
  char **message = &table->base.zErrMsg;
  if (name == NULL) return SQLITE_NOMEM;
  if (c == NULL) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("maph: no command \"%.100s\": there are check, sync, compact, "
                                "optimize and backup, as in INSERT INTO %s(%s) VALUES('check')",
                                name, table->name, table->name));
  }
  *command = c;
  *operand = option_file(value);
  if (c->operand && *operand == NULL) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("maph: '%s' needs %s as the value, as in INSERT INTO %s(%s, value) "
                                "VALUES('%s', 'copy.maph')",
                                c->name, c->operand, table->name, table->name, c->name));
  }
  if (c->operand == NULL && sqlite3_value_type(value) != SQLITE_NULL) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("maph: '%s' takes no value, as in INSERT INTO %s(%s) VALUES('%s')",
                                c->name, table->name, table->name, c->name));
  }
  return SQLITE_OK;
}

int command_run(sql_table *table, sqlite3_value *word, sqlite3_value *value) {
  const struct command *command;
  const char *operand;
  sql_store *store = table->store;
  int rc = find_words(table, word, value, &command, &operand);
  if (rc != SQLITE_OK) return rc;
  if (store->txn && maph_txn_operations(store->txn) > 0) {
    return fail(
        &table->base.zErrMsg, SQLITE_ERROR,
        sqlite3_mprintf("maph: '%s' works on what is committed, and this transaction wrote to "
                        "the store: COMMIT first",
                        command->name));
  }
  store_rollback(store);
  return run(table, command, operand);
}

/* ----------------------------------------------------------------------- PRAGMA integrity_check */

/* What is wrong with the store is a row of the pragma's answer, in *problem; only a lack of memory
** and an interrupt are errors.  A store that this connection may not open has nothing to say. */
int command_integrity(sqlite3_vtab *vtab, const char *schema, const char *name, int flags,
                      char **problem) {
  sql_table *table = (sql_table *)vtab;
  int quick = flags & 1, rc;
  if (table->is_function) return SQLITE_OK;
  rc = table_use(table);
  if (rc == SQLITE_OK) rc = store_open_reader(table->store, 0, &vtab->zErrMsg);
  if (rc == SQLITE_OK && !quick) rc = check_all(table);
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
