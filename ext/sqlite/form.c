/*
** form.c - table-valued forms of many rows, read-only, with no DDL:
**
**     SELECT version, key, value, deleted FROM maph_changes('products.maph', 17);
**     SELECT name, records FROM maph_list('stores') AS l, maph_stat(l.file);
**
** maph_changes tells what was put and deleted after the transaction of that version, in the order
** of the commits; without it, since the store was made.  What was overwritten is told too, until a
** rewrite drops it: then an older version is an error that says so.  The statement sees one commit
** of the store (store.c), so the feed ends there; `last` marks a transaction's last change, whose
** version is where the next statement goes on.
**
** maph_list tells of the files in a folder whose names end in .maph, in the order of their names.
** `file` is what the other forms and functions take.  Nothing is opened.
**
** Both are for statements of the application alone (SQLITE_DIRECTONLY), and what those state is its
** own (option.c, TRUST).
*/
#include "sql.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef struct form_cursor {
  sqlite3_vtab_cursor base; /* first: SQLite's part */
  int at_end;
  char *argument; /* the first one, as it was given */
  sql_store *store;
  sql_view *view;
  sql_views views; /* of this row's store and of those before */
  maph_changes *feed;
  maph_change change;
  sqlite3_int64 since;
  char *folder; /* resolved */
  struct dirent **names;
  int name_count, row;
  struct stat file;
} form_cursor;

typedef struct form_table form_table;

static const struct form {
  const char *module;
  const char *columns;  /* as CREATE TABLE has them, the hidden arguments last */
  int first, arguments; /* the columns of the arguments */
  const char *example;
  int (*filter)(form_table *table, form_cursor *c, int plan, sqlite3_value **argv);
  int (*next)(form_table *table, form_cursor *c);
  void (*column)(form_cursor *c, sqlite3_context *ctx, int column);
} forms[2];

struct form_table {
  sqlite3_vtab base; /* first: SQLite's part */
  sql_connection *connection;
  const struct form *form;
  sql_views *heir; /* of the cursor that was opened last, until it is used */
};

/* -------------------------------------------------------------------------------- changes */

static int changes_next(form_table *table, form_cursor *cursor) {
  int rc = maph_changes_next(cursor->feed, 0, &cursor->change);
  cursor->at_end =
      rc == MAPH_NOTFOUND
      || (rc == MAPH_OK
          && cursor->change.entry.version > maph_snapshot_version(cursor->view->snapshot));
  return cursor->at_end ? SQLITE_OK : error_of(cursor->view->handle, rc, &table->base.zErrMsg);
}

static int changes_filter(form_table *table, form_cursor *cursor, int plan, sqlite3_value **argv) {
  char **message = &table->base.zErrMsg, *resolved = NULL;
  int rc;
  if (plan & 2) {
    if (sqlite3_value_type(argv[1]) != SQLITE_INTEGER || sqlite3_value_int64(argv[1]) < 0) {
      return fail(message, SQLITE_MISMATCH,
                  sqlite3_mprintf("maph_changes: the second argument is a version, as in "
                                  "maph_changes('cache.maph', 17)"));
    }
    cursor->since = sqlite3_value_int64(argv[1]);
  }
  rc = option_resolve(table->connection->db, "main", 1, cursor->argument, &resolved, message);
  if (rc == SQLITE_OK) rc = store_hold(table->connection, resolved, &cursor->store);
  sqlite3_free(resolved);
  if (rc == SQLITE_OK) rc = store_view(cursor->store, 0, &cursor->view, message);
  if (rc == SQLITE_OK) rc = views_keep(&cursor->views, cursor->view);
  if (rc != SQLITE_OK) return rc;
  rc = maph_changes_open(cursor->view->handle, (uint64_t)cursor->since, &cursor->feed);
  return rc == MAPH_OK ? changes_next(table, cursor) : error_of(cursor->view->handle, rc, message);
}

static void changes_column(form_cursor *cursor, sqlite3_context *ctx, int column) {
  const maph_entry *entry = &cursor->change.entry;
  switch (column) {
    case 0: sqlite3_result_int64(ctx, (sqlite3_int64)entry->version); break;
    case 1: value_result_key(ctx, entry->key, value_key_is_text(entry), NULL); break;
    case 2:
      if (!cursor->change.deleted) value_result(ctx, entry, NULL);
      break;
    case 3: sqlite3_result_int(ctx, cursor->change.deleted); break;
    case 4: value_result_expiry(ctx, entry->expires); break;
    case 5: sqlite3_result_int(ctx, cursor->change.last); break;
    case 6: sqlite3_result_text(ctx, cursor->argument, -1, SQLITE_TRANSIENT); break;
    default: sqlite3_result_int64(ctx, cursor->since); break;
  }
}

/* ----------------------------------------------------------------------------------- list */

static int is_store_name(const struct dirent *entry) {
  size_t n = strlen(entry->d_name);
  return n > 5 && strcmp(entry->d_name + n - 5, ".maph") == 0;
}

static char *path_of(const char *folder, const char *name) {
  size_t n = strlen(folder);
  return sqlite3_mprintf("%s%s%s", folder, n > 0 && folder[n - 1] == '/' ? "" : "/", name);
}

/* The next name that a file has; links are followed. */
static int list_next(form_table *table, form_cursor *cursor) {
  (void)table;
  while (++cursor->row < cursor->name_count) {
    char *path = path_of(cursor->folder, cursor->names[cursor->row]->d_name);
    int failed = path ? stat(path, &cursor->file) : 0;
    sqlite3_free(path);
    if (path == NULL) return SQLITE_NOMEM;
    if (failed == 0 && S_ISREG(cursor->file.st_mode)) return SQLITE_OK;
  }
  cursor->at_end = 1;
  return SQLITE_OK;
}

static int list_filter(form_table *table, form_cursor *cursor, int plan, sqlite3_value **argv) {
  int rc = option_resolve(table->connection->db, "main", 1, cursor->argument, &cursor->folder,
                          &table->base.zErrMsg);
  (void)plan;
  (void)argv;
  if (rc != SQLITE_OK) return rc;
  cursor->name_count = scandir(cursor->folder, &cursor->names, is_store_name, alphasort);
  if (cursor->name_count < 0) {
    cursor->name_count = 0;
    return fail(&table->base.zErrMsg, errno == ENOMEM ? SQLITE_NOMEM : SQLITE_CANTOPEN,
                sqlite3_mprintf("maph_list: cannot read the folder \"%s\": %s", cursor->folder,
                                strerror(errno)));
  }
  cursor->row = -1;
  return list_next(table, cursor);
}

static void list_column(form_cursor *cursor, sqlite3_context *ctx, int column) {
  const char *name = cursor->names[cursor->row]->d_name;
  char *path;
  switch (column) {
    case 0: sqlite3_result_text(ctx, name, (int)strlen(name) - 5, SQLITE_TRANSIENT); break;
    case 1:
      path = path_of(cursor->argument, name);
      sqlite3_result_text(ctx, path, -1, sqlite3_free);
      break;
    case 2: sqlite3_result_int64(ctx, cursor->file.st_size); break;
    case 3: sqlite3_result_int64(ctx, cursor->file.st_mtime); break;
    default: sqlite3_result_text(ctx, cursor->argument, -1, SQLITE_TRANSIENT); break;
  }
}

/* --------------------------------------------------------------------------------- both */

static const struct form forms[2] = {
  { "maph_changes",
    "version INTEGER, key TEXT, value ANY BLOB, deleted INTEGER, expires_at REAL, last INTEGER, "
    "file TEXT HIDDEN, since INTEGER HIDDEN",
    6, 2, "maph_changes('cache.maph', 17)", changes_filter, changes_next, changes_column },
  { "maph_list", "name TEXT, file TEXT, bytes INTEGER, modified_at INTEGER, folder TEXT HIDDEN", 4,
    1, "maph_list('stores')", list_filter, list_next, list_column },
};

/* argv[0] is the module as a schema spells it, which a stranger may have written. */
static const struct form *find_form(const char *module) {
  return &forms[sqlite3_stricmp(module, forms[0].module) == 0 ? 0 : 1];
}

static int form_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                        sqlite3_vtab **vtab, char **message) {
  form_table *table = sqlite3_malloc64(sizeof(*table));
  char *sql;
  int rc;
  (void)argc;
  (void)message;
  if (table == NULL) return SQLITE_NOMEM;
  memset(table, 0, sizeof(*table));
  table->form = find_form(argv[0]);
  sql = sqlite3_mprintf("CREATE TABLE x(%s)", table->form->columns);
  rc = sql ? sqlite3_declare_vtab(db, sql) : SQLITE_NOMEM;
  sqlite3_free(sql);
  if (rc == SQLITE_OK) rc = sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
  if (rc != SQLITE_OK) {
    sqlite3_free(table);
    return rc;
  }
  table->connection = connection_hold(aux);
  *vtab = &table->base;
  return SQLITE_OK;
}

static int form_disconnect(sqlite3_vtab *vtab) {
  connection_release(((form_table *)vtab)->connection);
  sqlite3_free(vtab);
  return SQLITE_OK;
}

int form_best_index(sqlite3_index_info *info, int first, int count) {
  int i, a, asked = 0, used = 0;
  for (a = 0; a < count; a++) {
    for (i = 0; i < info->nConstraint; i++) {
      if (info->aConstraint[i].iColumn != first + a
          || info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
        continue;
      asked |= 1 << a;
      if (!info->aConstraint[i].usable || (info->idxNum & 1 << a)) continue;
      info->idxNum |= 1 << a;
      info->aConstraintUsage[i].argvIndex = ++used;
      info->aConstraintUsage[i].omit = 1;
    }
  }
  if (asked != info->idxNum) return SQLITE_CONSTRAINT; /* not in this order of tables */
  info->estimatedCost = info->idxNum & 1 ? 10 : 1e50;
  info->estimatedRows = info->idxNum & 1 ? 1 : 1000000;
  return SQLITE_OK;
}

static int form_plan(sqlite3_vtab *vtab, sqlite3_index_info *info) {
  const struct form *form = ((form_table *)vtab)->form;
  int rc = form_best_index(info, form->first, form->arguments);
  if (rc == SQLITE_OK && info->idxNum & 1) {
    info->estimatedCost = 1000;
    info->estimatedRows = 1000;
  }
  return rc;
}

static int form_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor) {
  form_cursor *c = sqlite3_malloc64(sizeof(*c));
  if (c == NULL) return SQLITE_NOMEM;
  memset(c, 0, sizeof(*c));
  c->at_end = 1;
  ((form_table *)vtab)->heir = &c->views;
  *cursor = &c->base;
  return SQLITE_OK;
}

/* Forget the rows, not the views. */
static void cursor_clear(form_cursor *cursor) {
  sqlite3_vtab_cursor base = cursor->base;
  sql_views views = cursor->views;
  maph_changes_close(cursor->feed);
  store_view_release(cursor->view);
  store_release(cursor->store);
  while (cursor->name_count > 0) free(cursor->names[--cursor->name_count]);
  free(cursor->names);
  sqlite3_free(cursor->argument);
  sqlite3_free(cursor->folder);
  memset(cursor, 0, sizeof(*cursor));
  cursor->base = base;
  cursor->views = views;
  cursor->at_end = 1;
}

static int form_close(sqlite3_vtab_cursor *cursor) {
  form_cursor *c = (form_cursor *)cursor;
  form_table *table = (form_table *)cursor->pVtab;
  cursor_clear(c);
  views_leave(&c->views, table->heir);
  if (table->heir == &c->views) table->heir = NULL;
  sqlite3_free(c);
  return SQLITE_OK;
}

static int form_filter(sqlite3_vtab_cursor *cursor, int plan, const char *letters, int argc,
                       sqlite3_value **argv) {
  form_cursor *c = (form_cursor *)cursor;
  form_table *table = (form_table *)cursor->pVtab;
  int rc;
  (void)letters;
  (void)argc;
  cursor_clear(c);
  table->heir = NULL;
  if (!(plan & 1) || option_file(argv[0]) == NULL) {
    return fail(&table->base.zErrMsg, SQLITE_ERROR,
                sqlite3_mprintf("%s: name the %s, as in SELECT * FROM %s", table->form->module,
                                table->form == forms ? "file" : "folder", table->form->example));
  }
  c->argument = sqlite3_mprintf("%s", option_file(argv[0]));
  if (c->argument == NULL) return SQLITE_NOMEM;
  c->at_end = 0;
  rc = table->form->filter(table, c, plan, argv);
  if (rc != SQLITE_OK) c->at_end = 1;
  return rc;
}

static int form_next(sqlite3_vtab_cursor *cursor) {
  form_table *table = (form_table *)cursor->pVtab;
  return table->form->next(table, (form_cursor *)cursor);
}

static int form_eof(sqlite3_vtab_cursor *cursor) { return ((form_cursor *)cursor)->at_end; }

static int form_column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int column) {
  ((form_table *)cursor->pVtab)->form->column((form_cursor *)cursor, ctx, column);
  return SQLITE_OK;
}

static int form_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid) {
  *rowid = ((form_cursor *)cursor)->row;
  return SQLITE_OK;
}

const sqlite3_module form_module = {
  .xConnect = form_connect,
  .xBestIndex = form_plan,
  .xDisconnect = form_disconnect,
  .xOpen = form_open,
  .xClose = form_close,
  .xFilter = form_filter,
  .xNext = form_next,
  .xEof = form_eof,
  .xColumn = form_column,
  .xRowid = form_rowid,
};
