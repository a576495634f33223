/*
** stat.c - maph_stat('file') and maph_result('file'): figures as one row.  Table-valued functions,
** read-only, with no DDL:
**
**     SELECT records, file_bytes, dead_bytes*100/used_bytes AS percent_dead
**       FROM maph_stat('products.maph');
**     SELECT command, records, bytes_before - bytes_after AS given_back
**       FROM maph_result('products.maph');
**
** maph_stat tells of a store: its columns are the fields of maph_stats in maph.h, and maph_pending.
** Its records, live_bytes and version are those of the commit that the statement reads the rows of
** (store.c), in a transaction with what that wrote; the other figures are of now.
** maph_result tells what this connection's last command on the store did (command.c), or has no
** row: its columns are the command's name and the fields of maph_rewrite.
**
** It is also the smallest complete eponymous virtual table: no xCreate, one plan, one row.
*/
#include "sql.h"
#include <stddef.h>

/* TEXT: a char[]; NAME: a char* */
enum kind { KIND_U64, KIND_INT, KIND_DOUBLE, KIND_UUID, KIND_TEXT, KIND_NAME };

typedef struct figure {
  const char *name;
  size_t offset;
  enum kind kind;
} figure;

/* What a row of maph_stat is made from. */
typedef struct store_facts {
  maph_stats stats; /* first: the figures' offsets are its */
  int pending;
} store_facts;

#define STATS(field, kind) \
  { #field, offsetof(maph_stats, field), kind }
static const figure stats_figures[] = {
  STATS(records, KIND_U64),
  STATS(live_bytes, KIND_U64),
  STATS(dead_bytes, KIND_U64),
  STATS(index_bytes, KIND_U64),
  STATS(used_bytes, KIND_U64),
  STATS(file_bytes, KIND_U64),
  STATS(version, KIND_U64),
  STATS(generation, KIND_U64),
  STATS(flushed_bytes, KIND_U64),
  STATS(segments, KIND_U64),
  STATS(load_factor, KIND_DOUBLE),
  STATS(uuid, KIND_UUID),
  STATS(poisoned, KIND_INT),
  STATS(oldest_version, KIND_U64),
  STATS(perfect_hash, KIND_INT),
  STATS(direct, KIND_INT),
  STATS(frozen_keys, KIND_U64),
  STATS(moved_keys, KIND_U64),
  STATS(later_keys, KIND_U64),
  STATS(frozen_bytes, KIND_U64),
  STATS(perfect_bits, KIND_DOUBLE),
  STATS(order_bytes, KIND_U64),
  STATS(order_runs, KIND_U64),
  STATS(versions, KIND_INT),
  { "pending", offsetof(store_facts, pending), KIND_INT },
};

#define RESULT(field, kind) \
  { #field, offsetof(sql_result, figures) + offsetof(maph_rewrite, field), kind }
static const figure result_figures[] = {
  { "command", offsetof(sql_result, command), KIND_NAME },
  RESULT(bytes_before, KIND_U64),
  RESULT(bytes_after, KIND_U64),
  RESULT(records, KIND_U64),
  RESULT(swept, KIND_U64),
  RESULT(caught_up, KIND_U64),
  RESULT(frozen_keys, KIND_U64),
  RESULT(perfect_hash, KIND_INT),
  RESULT(direct, KIND_INT),
  RESULT(perfect_bits, KIND_DOUBLE),
  RESULT(took_ns, KIND_U64),
  RESULT(pause_ns, KIND_U64),
  RESULT(memory_bytes, KIND_U64),
  RESULT(note, KIND_TEXT),
};

/* What a row is made from. */
typedef union facts {
  store_facts store;
  sql_result result;
} facts;

static int get_stats(sql_store *store, sql_views *views, facts *facts, int *has_row,
                     char **message) {
  sql_view *view = NULL;
  int rc = store_view(store, 0, &view, message);
  *has_row = 1;
  if (rc == SQLITE_OK) rc = views_keep(views, view);
  if (rc == SQLITE_OK) {
    facts->store.pending = maph_pending(view->handle);
    rc = error_of(view->handle, maph_snapshot_stat(view->snapshot, &facts->store.stats), message);
  }
  store_view_release(view);
  return rc;
}

static int get_result(sql_store *store, sql_views *views, facts *facts, int *has_row,
                      char **message) {
  (void)views;
  (void)message;
  facts->result = store->result;
  *has_row = store->result.command != NULL;
  return SQLITE_OK;
}

#define COUNT(list) ((int)(sizeof(list) / sizeof((list)[0])))
static const struct subject {
  const char *module;
  const figure *figures;
  int count; /* columns 0 .. count-1; the one after them is the argument */
  int (*get)(sql_store *store, sql_views *views, facts *facts, int *has_row, char **message);
} subjects[] = {
  { "maph_stat", stats_figures, COUNT(stats_figures), get_stats },
  { "maph_result", result_figures, COUNT(result_figures), get_result },
};

typedef struct stat_table {
  sqlite3_vtab base; /* first: SQLite's part */
  sql_connection *connection;
  const struct subject *subject;
  sql_views *heir; /* of the cursor that was opened last, until it is used */
} stat_table;

typedef struct stat_cursor {
  sqlite3_vtab_cursor base; /* first: SQLite's part */
  int at_end;
  char *file;
  sql_views views; /* of the stores that it told of */
  facts facts;
} stat_cursor;

/* argv[0] of xConnect is the module as a schema spells it, which a stranger may have written. */
static const struct subject *find_subject(const char *module) {
  int i;
  for (i = 0; i < COUNT(subjects); i++) {
    if (sqlite3_stricmp(module, subjects[i].module) == 0) return &subjects[i];
  }
  return NULL;
}

static const struct subject *subject_of(const sqlite3_vtab_cursor *cursor) {
  return ((const stat_table *)cursor->pVtab)->subject;
}

/* ----------------------------------------------------------------------------------- connecting */

static int declare(sqlite3 *db, const struct subject *subject) {
  char *sql = sqlite3_mprintf("CREATE TABLE x(");
  int i, rc;
  /* %z frees what it was given */
  for (i = 0; i < subject->count && sql; i++)
    sql = sqlite3_mprintf("%z%s, ", sql, subject->figures[i].name);
  if (sql) sql = sqlite3_mprintf("%zfile HIDDEN)", sql);
  if (sql == NULL) return SQLITE_NOMEM;
  rc = sqlite3_declare_vtab(db, sql);
  sqlite3_free(sql);
  return rc == SQLITE_OK ? sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY) : rc;
}

static int stat_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                        sqlite3_vtab **vtab, char **message) {
  stat_table *table;
  const struct subject *subject = find_subject(argv[0]);
  int rc = subject ? declare(db, subject) : SQLITE_ERROR;
  (void)argc;
  (void)message;
  if (rc != SQLITE_OK) return rc;
  table = sqlite3_malloc64(sizeof(*table));
  if (table == NULL) return SQLITE_NOMEM;
  memset(table, 0, sizeof(*table));
  table->connection = connection_hold(aux);
  table->subject = subject;
  *vtab = &table->base;
  return SQLITE_OK;
}

static int stat_disconnect(sqlite3_vtab *vtab) {
  connection_release(((stat_table *)vtab)->connection);
  sqlite3_free(vtab);
  return SQLITE_OK;
}

static int stat_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info) {
  return form_best_index(info, ((stat_table *)vtab)->subject->count, 1);
}

/* -------------------------------------------------------------------------------------- the row */

static int stat_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor) {
  stat_cursor *c = sqlite3_malloc64(sizeof(*c));
  if (c == NULL) return SQLITE_NOMEM;
  memset(c, 0, sizeof(*c));
  c->at_end = 1;
  ((stat_table *)vtab)->heir = &c->views;
  *cursor = &c->base;
  return SQLITE_OK;
}

static int stat_close(sqlite3_vtab_cursor *cursor) {
  stat_cursor *c = (stat_cursor *)cursor;
  stat_table *table = (stat_table *)cursor->pVtab;
  views_leave(&c->views, table->heir);
  if (table->heir == &c->views) table->heir = NULL;
  sqlite3_free(c->file);
  sqlite3_free(c);
  return SQLITE_OK;
}

static int stat_filter(sqlite3_vtab_cursor *cursor, int plan, const char *letters, int argc,
                       sqlite3_value **argv) {
  stat_cursor *c = (stat_cursor *)cursor;
  stat_table *table = (stat_table *)cursor->pVtab;
  char **message = &table->base.zErrMsg, *resolved = NULL;
  sql_store *store = NULL;
  int rc, has_row = 0;
  (void)letters;
  (void)argc;
  c->at_end = 1;
  table->heir = NULL;
  sqlite3_free(c->file);
  c->file = NULL;
  if (plan == 0 || option_file(argv[0]) == NULL) {
    return fail(message, SQLITE_ERROR,
                sqlite3_mprintf("%s: name the file, as in SELECT * FROM %s('cache.maph')",
                                table->subject->module, table->subject->module));
  }
  c->file = sqlite3_mprintf("%s", option_file(argv[0]));
  if (c->file == NULL) return SQLITE_NOMEM;
  rc = option_resolve(table->connection->db, "main", 1, c->file, &resolved, message);
  if (rc == SQLITE_OK) rc = store_hold(table->connection, resolved, &store);
  if (rc == SQLITE_OK) rc = table->subject->get(store, &c->views, &c->facts, &has_row, message);
  c->at_end = rc != SQLITE_OK || !has_row;
  store_release(store);
  sqlite3_free(resolved);
  return rc;
}

static int stat_next(sqlite3_vtab_cursor *cursor) {
  ((stat_cursor *)cursor)->at_end = 1;
  return SQLITE_OK;
}

static int stat_eof(sqlite3_vtab_cursor *cursor) { return ((stat_cursor *)cursor)->at_end; }

static void uuid_result(sqlite3_context *ctx, const uint8_t *uuid) {
  static const char digits[] = "0123456789abcdef";
  char text[36];
  int i, n = 0;
  for (i = 0; i < 16; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text[n++] = '-';
    text[n++] = digits[uuid[i] >> 4];
    text[n++] = digits[uuid[i] & 15];
  }
  sqlite3_result_text(ctx, text, n, SQLITE_TRANSIENT);
}

static int stat_column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int column) {
  stat_cursor *c = (stat_cursor *)cursor;
  const struct subject *subject = subject_of(cursor);
  const void *field;
  if (column >= subject->count) {
    sqlite3_result_text(ctx, c->file, -1, SQLITE_TRANSIENT);
    return SQLITE_OK;
  }
  field = (const char *)&c->facts + subject->figures[column].offset;
  switch (subject->figures[column].kind) {
    case KIND_U64: sqlite3_result_int64(ctx, (sqlite3_int64) * (const uint64_t *)field); break;
    case KIND_INT: sqlite3_result_int(ctx, *(const int *)field); break;
    case KIND_DOUBLE: sqlite3_result_double(ctx, *(const double *)field); break;
    case KIND_UUID: uuid_result(ctx, field); break;
    case KIND_TEXT: sqlite3_result_text(ctx, field, -1, SQLITE_TRANSIENT); break;
    case KIND_NAME:
      sqlite3_result_text(ctx, *(const char *const *)field, -1, SQLITE_TRANSIENT);
      break;
  }
  return SQLITE_OK;
}

static int stat_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid) {
  (void)cursor;
  *rowid = 1;
  return SQLITE_OK;
}

const sqlite3_module stat_module = {
  .xConnect = stat_connect,
  .xBestIndex = stat_best_index,
  .xDisconnect = stat_disconnect,
  .xOpen = stat_open,
  .xClose = stat_close,
  .xFilter = stat_filter,
  .xNext = stat_next,
  .xEof = stat_eof,
  .xColumn = stat_column,
  .xRowid = stat_rowid,
};
