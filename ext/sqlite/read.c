/*
** read.c - the cursors of the virtual table: xFilter carries out the plan that plan.c chose.
**
**     KEY              one get
**     KEYS             the list is copied, then looked up in batches, which overlaps the cache
**                      misses
**     RANGE, NOCASE    the store's order of keys (range.c)
**     SCAN             the same where the rows are wanted in order, else a pass over the log
** A cursor takes its snapshot at its first xFilter and keeps it for the later ones: in the inner
** loop of a join all of them read one moment.  Nothing of a row is copied until SQLite asks for the
** column, so count(*) and key-only queries touch no value beyond the checksum that core verifies.
*/
#include "sql.h"
#include <stddef.h>

#define BATCH 32 /* keys of an IN list looked up together: enough to overlap their cache misses */

typedef struct row_cursor {
  sqlite3_vtab_cursor base; /* first: SQLite's part */
  sql_store *store;         /* held */
  sql_view *view;           /* from the first xFilter on */
  sql_view *inherited;      /* of the cursor before (views.c), until the first xFilter */
  sql_views views;          /* of the table-valued form: of this file and of those before */
  char *file;               /* the argument of the table-valued form */
  int plan;
  int is_used; /* xFilter was called since the cursor was as new */
  int is_lone; /* no row was asked for before, and but one is now */
  int at_end;
  sqlite3_int64 left; /* rows that may still be wanted; -1: no bound known */
  maph_entry entry;
  maph_cursor *scan; /* in no order; NULL: `range` */
  int sought;        /* the type by which the row was sought; 0: the key shows its own */
  key_list list;     /* KEYS: what to look up, */
  maph_entry *found; /* and what was found for the present batch */
  size_t key_next, batch_end;
  maph_slice *members;    /* of the row's value, as they are declared, */
  const void *members_of; /* and of which value */
  int has_range;          /* else it is all zero: */
  key_range range;        /* SCAN, RANGE, NOCASE; last, since it is large and not always used */
} row_cursor;

/* -------------------------------------------------------------------------------------- cursors */

static sql_table *table_of(row_cursor *cursor) { return (sql_table *)cursor->base.pVtab; }

int read_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor) {
  sql_table *table = (sql_table *)vtab;
  row_cursor *c = table->spare;
  size_t used = c && !c->has_range ? offsetof(row_cursor, range) : sizeof(*c);
  if (c == NULL) c = sqlite3_malloc64(sizeof(*c));
  if (c == NULL) return SQLITE_NOMEM;
  table->spare = NULL;
  memset(c, 0, used);
  c->at_end = 1;
  c->left = -1;
  table->heir = c;
  *cursor = &c->base;
  return SQLITE_OK;
}

/* What the rows needed. */
static void cursor_free(row_cursor *cursor) {
  maph_cursor_close(cursor->scan);
  if (cursor->list.arena) keys_clear(&cursor->list);
  if (cursor->members) sqlite3_free(cursor->members);
  if (cursor->found) sqlite3_free(cursor->found);
  if (range_is_used(&cursor->range)) range_close(&cursor->range);
}

/* Forget the rows, not the snapshot. */
static void cursor_reset(row_cursor *cursor) {
  cursor_free(cursor);
  memset(&cursor->list, 0, sizeof(cursor->list));
  if (cursor->has_range) memset(&cursor->range, 0, sizeof(cursor->range));
  cursor->has_range = 0;
  cursor->members = NULL;
  cursor->scan = NULL;
  cursor->found = NULL;
  cursor->key_next = cursor->batch_end = 0;
  cursor->sought = 0;
  cursor->at_end = 1;
  cursor->left = -1;
  cursor->is_used = 0;
}

/* What it read goes on being read if it is closed for the next run of its subquery. */
static void leave_views(row_cursor *cursor) {
  row_cursor *heir = table_of(cursor)->heir;
  if (heir == cursor) heir = table_of(cursor)->heir = NULL;
  views_leave(&cursor->views, heir ? &heir->views : NULL);
  if (cursor->view == NULL) cursor->view = cursor->inherited;
  if (heir && heir->inherited == NULL)
    heir->inherited = cursor->view;
  else
    store_view_release(cursor->view);
}

int read_close(sqlite3_vtab_cursor *cursor) {
  row_cursor *c = (row_cursor *)cursor;
  cursor_free(c);
  leave_views(c);
  store_release(c->store);
  sqlite3_free(c->file);
  pulse_rest(table_of(c)->connection);
  read_forget(table_of(c));
  table_of(c)->spare = c;
  return SQLITE_OK;
}

void read_forget(sql_table *table) {
  sqlite3_free(table->spare);
  table->spare = NULL;
}

static int core_error(row_cursor *cursor, int maph_rc) {
  return error_of(cursor->view->handle, maph_rc, &table_of(cursor)->base.zErrMsg);
}

/* The table-valued form: hold the store that the argument names, in place of the one before. */
static int use_file(row_cursor *cursor, sqlite3_value *value) {
  sql_table *table = table_of(cursor);
  const char *file = option_file(value);
  char *resolved = NULL;
  int rc;
  if (file == NULL) {
    return fail(
        &table->base.zErrMsg, SQLITE_ERROR,
        sqlite3_mprintf("maph: the argument is the name of a file, as in maph('cache.maph')"));
  }
  if (cursor->file && strcmp(cursor->file, file) == 0) return SQLITE_OK;
  store_view_release(cursor->view);
  store_release(cursor->store);
  sqlite3_free(cursor->file);
  cursor->view = NULL;
  cursor->store = NULL;
  cursor->file = NULL;
  rc = option_resolve(table->connection->db, "main", 1, file, &resolved, &table->base.zErrMsg);
  if (rc == SQLITE_OK) rc = store_hold(table->connection, resolved, &cursor->store);
  if (rc == SQLITE_OK && (cursor->file = sqlite3_mprintf("%s", file)) == NULL) rc = SQLITE_NOMEM;
  sqlite3_free(resolved);
  return rc;
}

/* The table keeps holding the last store that its cursors used, so that the next statement finds it
** open. */
static int cursor_begin(row_cursor *cursor) {
  sql_table *table = table_of(cursor);
  int rc = SQLITE_OK;
  if (!table->is_function && cursor->store == NULL) {
    rc = table_use(table);
    if (rc == SQLITE_OK) {
      cursor->store = table->store;
      cursor->store->holders++;
    }
  }
  if (rc == SQLITE_OK && cursor->view == NULL)
    rc = store_view(cursor->store, table_may(table), &cursor->view, &table->base.zErrMsg);
  store_view_release(cursor->inherited);
  cursor->inherited = NULL;
  if (rc == SQLITE_OK && table->is_function) rc = views_keep(&cursor->views, cursor->view);
  if (rc == SQLITE_OK && table->is_function && table->store != cursor->store) {
    store_release(table->store);
    table->store = cursor->store;
    table->store->holders++;
  }
  return rc;
}

/* ----------------------------------------------------------------------------- key = and key IN */

static int find_key(row_cursor *cursor, maph_slice key) {
  int rc;
  if (!keys_possible(key)) return SQLITE_OK;
  rc = maph_snapshot_get_entry(cursor->view->snapshot, key, &cursor->entry);
  if (rc == MAPH_NOTFOUND) return SQLITE_OK;
  cursor->at_end = 0;
  return core_error(cursor, rc);
}

/* The next key of the list that is in the store, batch by batch. */
static int next_key(row_cursor *cursor) {
  size_t n;
  int rc;
  for (;;) {
    for (; cursor->key_next < cursor->batch_end; cursor->key_next++) {
      rc = pulse_beat(cursor->store->connection);
      if (rc != SQLITE_OK) return rc;
      if (cursor->found[cursor->key_next % BATCH].key.data) {
        cursor->sought = keys_sought(cursor->list.keys[cursor->key_next]);
        cursor->entry = cursor->found[cursor->key_next++ % BATCH];
        cursor->at_end = 0;
        return SQLITE_OK;
      }
    }
    n = cursor->list.count - cursor->batch_end;
    if (n == 0) break;
    if (n > BATCH) n = BATCH;
    rc = maph_snapshot_get_entries(cursor->view->snapshot, n, cursor->list.keys + cursor->batch_end,
                                   cursor->found);
    if (rc != MAPH_OK) return core_error(cursor, rc);
    cursor->batch_end += n;
  }
  cursor->at_end = 1;
  return SQLITE_OK;
}

/* Each row but one key's is asked for by its number, and there are more rows than LIMIT counts. */
static int start_keys(row_cursor *cursor) {
  cursor->found = sqlite3_malloc64(BATCH * sizeof(cursor->found[0]));
  if (cursor->found == NULL) return SQLITE_NOMEM;
  keys_finish(&cursor->list);
  if (cursor->list.sought & 1) cursor->left = -1;
  return next_key(cursor);
}

/* key IN (...) */
static int find_keys(row_cursor *cursor, sqlite3_value *list) {
  char **message = &table_of(cursor)->base.zErrMsg;
  sqlite3_value *value = NULL;
  int rc;
  for (rc = sqlite3_vtab_in_first(list, &value); rc == SQLITE_OK && value;
       rc = sqlite3_vtab_in_next(list, &value)) {
    rc = keys_add(&cursor->list, cursor->view, value, message);
    if (rc != SQLITE_OK) return rc;
  }
  return rc == SQLITE_OK || rc == SQLITE_DONE ? start_keys(cursor) : rc;
}

/* key = x */
static int find_equal(row_cursor *cursor, sqlite3_value *value, int letter) {
  int type = sqlite3_value_type(value), rc;
  maph_slice key;
  if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) {
    cursor->plan = PLAN_KEYS;
    cursor->is_lone = 0;
    rc = keys_add(&cursor->list, cursor->view, value, &table_of(cursor)->base.zErrMsg);
    return rc == SQLITE_OK ? start_keys(cursor) : rc;
  }
  rc = value_lookup_key(value, &key);
  if (letter == TERM_EQUAL) cursor->sought = type;
  return rc == SQLITE_OK ? find_key(cursor, key) : rc;
}

/* ----------------------------------------------------------------------------- scans and ranges */

static int next_entry(row_cursor *cursor) {
  int rc;
  if (cursor->scan == NULL) {
    rc = range_next(&cursor->range, &cursor->entry, &table_of(cursor)->base.zErrMsg);
    cursor->at_end = rc == SQLITE_DONE;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
  }
  rc = maph_cursor_next(cursor->scan, &cursor->entry);
  if (rc == MAPH_NOTFOUND) {
    cursor->at_end = 1;
    return SQLITE_OK;
  }
  return core_error(cursor, rc);
}

static int start_scan(row_cursor *cursor) {
  int rc = range_start(&cursor->range, cursor->view);
  if (rc != SQLITE_OK) return rc;
  if (range_is_all(&cursor->range)) {
    rc = core_error(cursor, maph_cursor_open(cursor->view->handle, cursor->view->snapshot,
                                             maph_bytes("", 0), &cursor->scan));
    if (rc != SQLITE_OK) return rc;
  }
  cursor->at_end = 0;
  return next_entry(cursor);
}

/* --------------------------------------------------------------------------- xFilter to xColumn */

int read_next(sqlite3_vtab_cursor *cursor) {
  row_cursor *c = (row_cursor *)cursor;
  if (c->left > 0 && --c->left == 0) c->at_end = 1;
  if (c->at_end) return SQLITE_OK;
  switch (c->plan) {
    case PLAN_KEYS: return next_key(c);
    case PLAN_SCAN:
    case PLAN_RANGE:
    case PLAN_NOCASE: return next_entry(c);
    default: c->at_end = 1; return SQLITE_OK;
  }
}

/* LIMIT and OFFSET together bound the rows that can be wanted. */
static void set_limit(row_cursor *cursor, const char *letters, sqlite3_value **argv) {
  const char *limit = strchr(letters, TERM_LIMIT), *offset = strchr(letters, TERM_OFFSET);
  sqlite3_int64 skip;
  if (limit == NULL) return;
  cursor->left = sqlite3_value_int64(argv[limit - letters]);
  skip = offset ? sqlite3_value_int64(argv[offset - letters]) : 0;
  if (skip > 0 && cursor->left >= 0)
    cursor->left = cursor->left < 0x7fffffffffffffff - skip ? cursor->left + skip : -1;
}

static int is_bound(int letter) { return strchr(">g<lAGBL", letter) != NULL; }

/* Take in the arguments that plan.c listed in `letters`, all but the keys themselves. */
static int read_arguments(row_cursor *cursor, const char *letters, int argc, sqlite3_value **argv) {
  key_range *range = &cursor->range;
  int i, rc = SQLITE_OK;
  cursor->has_range = 1;
  range->no_case = cursor->plan == PLAN_NOCASE;
  range->is_utf8 = table_of(cursor)->is_utf8;
  if (letters[argc]) range->order = letters[argc] == ORDER_UP ? 1 : -1;
  for (i = 0; i < argc && rc == SQLITE_OK; i++) {
    if (letters[i] == TERM_FILE)
      rc = use_file(cursor, argv[i]);
    else if (is_bound(letters[i]))
      rc = range_bound(range, letters[i], argv[i]);
  }
  set_limit(cursor, letters, argv);
  return rc;
}

int read_filter(sqlite3_vtab_cursor *cursor, int plan, const char *letters, int argc,
                sqlite3_value **argv) {
  row_cursor *c = (row_cursor *)cursor;
  sql_table *table = table_of(c);
  int is_function = table->is_function, rc;
  c->is_lone = plan == PLAN_KEY && !c->is_used;
  if (c->is_used) cursor_reset(c);
  c->is_used = 1;
  table->heir = NULL;
  c->plan = plan;
  if (plan == PLAN_NOTHING) {
    return fail(&table->base.zErrMsg, SQLITE_ERROR,
                sqlite3_mprintf("maph: name the file, as in SELECT * FROM maph('cache.maph')"));
  }
  rc = plan == PLAN_KEY && argc == 1 ? SQLITE_OK : read_arguments(c, letters, argc, argv);
  if (rc == SQLITE_OK) rc = cursor_begin(c);
  if (rc != SQLITE_OK || c->range.is_nothing || c->left == 0) return rc;
  switch (plan) { /* a key is the first argument, but for a file */
    case PLAN_KEY: return find_equal(c, argv[is_function], letters[is_function]);
    case PLAN_KEYS: return find_keys(c, argv[is_function]);
    default: return start_scan(c);
  }
}

int read_eof(sqlite3_vtab_cursor *cursor) { return ((row_cursor *)cursor)->at_end; }

static int shows_text(const row_cursor *cursor) {
  if (cursor->sought == SQLITE_TEXT || cursor->sought == SQLITE_BLOB)
    return cursor->sought == SQLITE_TEXT;
  return value_key_is_text(&cursor->entry);
}

/* The members of the row's value are looked for once, at the first that is asked for. */
static int read_member(row_cursor *cursor, sqlite3_context *ctx, size_t i) {
  const sql_members *members = &table_of(cursor)->options.members;
  int rc;
  if (cursor->members == NULL) {
    cursor->members = sqlite3_malloc64(members->count * sizeof(cursor->members[0]));
    cursor->members_of = NULL;
    if (cursor->members == NULL) return SQLITE_NOMEM;
  }
  if (cursor->members_of == NULL || cursor->members_of != cursor->entry.value.data) {
    rc = members_find(members, cursor->entry.value, cursor->members);
    if (rc != SQLITE_OK) return rc;
    cursor->members_of = cursor->entry.value.data;
  }
  member_result(ctx, &members->list[i], cursor->members[i]);
  return SQLITE_OK;
}

/* Who has buffers for its row: SQLite has no memory yet for the columns of a first one. */
static sql_connection *lender_of(const row_cursor *cursor) {
  return cursor->is_lone ? cursor->store->connection : NULL;
}

int read_column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int place) {
  row_cursor *c = (row_cursor *)cursor;
  int column = table_column(table_of(c), place);
  if (sqlite3_vtab_nochange(ctx)) return SQLITE_OK;
  switch (column) {
    case COLUMN_MEMBER: return read_member(c, ctx, (size_t)place - 1);
    case COLUMN_KEY:
    case COLUMN_ROWID:
    case COLUMN_ROWID + 1:
    case COLUMN_OID: value_result_key(ctx, c->entry.key, shows_text(c), lender_of(c)); break;
    case COLUMN_VALUE: value_result(ctx, &c->entry, lender_of(c)); break;
    case COLUMN_VERSION: sqlite3_result_int64(ctx, (sqlite3_int64)c->entry.version); break;
    case COLUMN_EXPIRES: value_result_expiry(ctx, c->entry.expires); break;
    case COLUMN_TTL: break; /* it was turned into expires_at */
    default:
      if (c->file) sqlite3_result_text(ctx, c->file, -1, SQLITE_TRANSIENT);
  }
  return SQLITE_OK;
}

int read_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid) {
  (void)cursor; /* WITHOUT ROWID: never asked for */
  *rowid = 0;
  return SQLITE_OK;
}
