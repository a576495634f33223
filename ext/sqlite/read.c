/*
** read.c - the cursors of the virtual table: xFilter carries out the plan that plan.c chose.
**
**     KEY              one get
**     KEYS             the list is copied, then looked up in batches, which overlaps the cache
**                      misses
**     RANGE, NOCASE  a core cursor, with the prefix if the range is one; what is out of range never
**     becomes a row
**     SCAN             a core cursor
** A cursor takes its snapshot at its first xFilter and keeps it for the later ones: in the inner
** loop of a join all of them read one moment.  Nothing of a row is copied until SQLite asks for the
** column, so count(*) and key-only queries touch no value beyond the checksum that core verifies.
*/
#include "sql.h"

#define BATCH 32 /* keys of an IN list looked up together: enough to overlap their cache misses */

typedef struct bound {
  int is_set, is_text;
  char *bytes; /* sqlite3_malloc */
  size_t size;
} bound;

typedef struct row_cursor {
  sqlite3_vtab_cursor base; /* first: SQLite's part */
  sql_store *store;         /* held */
  sql_view *view;           /* from the first xFilter on */
  sql_view *inherited;      /* of the cursor before (views.c), until the first xFilter */
  sql_views views;          /* of the table-valued form: of this file and of those before */
  char *file;               /* the argument of the table-valued form */
  int plan;
  int at_end;
  sqlite3_int64 left; /* rows that may still be wanted; -1: no bound known */
  maph_entry entry;
  maph_cursor *scan;  /* SCAN, RANGE, NOCASE */
  bound lower, upper; /* RANGE, NOCASE: what the row's key must not be outside of */
  int sought;         /* the type by which the row was sought; 0: the key shows its own */
  key_list list;      /* KEYS: what to look up, */
  maph_entry *found;  /* and what was found for the present batch */
  size_t key_next, batch_end;
  maph_slice *members;    /* of the row's value, as they are declared, */
  const void *members_of; /* and of which value */
} row_cursor;

/* -------------------------------------------------------------------------------------- cursors */

static sql_table *table_of(row_cursor *c) { return (sql_table *)c->base.pVtab; }

int read_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor) {
  sql_table *t = (sql_table *)vtab;
  row_cursor *c = t->spare ? t->spare : sqlite3_malloc64(sizeof(*c));
  if (c == NULL) return SQLITE_NOMEM;
  t->spare = NULL;
  memset(c, 0, sizeof(*c));
  c->at_end = 1;
  t->heir = c;
  *cursor = &c->base;
  return SQLITE_OK;
}

/* Forget the rows, not the snapshot. */
static void cursor_reset(row_cursor *c) {
  maph_cursor_close(c->scan);
  keys_clear(&c->list);
  sqlite3_free(c->members);
  c->members = NULL;
  sqlite3_free(c->found);
  sqlite3_free(c->lower.bytes);
  sqlite3_free(c->upper.bytes);
  memset(&c->lower, 0, sizeof(c->lower));
  memset(&c->upper, 0, sizeof(c->upper));
  c->scan = NULL;
  c->found = NULL;
  c->key_next = c->batch_end = 0;
  c->sought = 0;
  c->at_end = 1;
  c->left = -1;
}

/* What it read goes on being read if it is closed for the next run of its subquery. */
static void leave_views(row_cursor *c) {
  row_cursor *heir = table_of(c)->heir;
  if (heir == c) heir = table_of(c)->heir = NULL;
  views_leave(&c->views, heir ? &heir->views : NULL);
  if (c->view == NULL) c->view = c->inherited;
  if (heir && heir->inherited == NULL)
    heir->inherited = c->view;
  else
    store_view_release(c->view);
}

int read_close(sqlite3_vtab_cursor *cursor) {
  row_cursor *c = (row_cursor *)cursor;
  cursor_reset(c);
  leave_views(c);
  store_release(c->store);
  sqlite3_free(c->file);
  pulse_rest(table_of(c)->connection);
  read_forget(table_of(c));
  table_of(c)->spare = c;
  return SQLITE_OK;
}

void read_forget(sql_table *t) {
  sqlite3_free(t->spare);
  t->spare = NULL;
}

static int core_error(row_cursor *c, int maph_rc) {
  return store_error(c->view->handle, maph_rc, &table_of(c)->base.zErrMsg);
}

/* The table-valued form: hold the store that the argument names, in place of the one before. */
static int use_file(row_cursor *c, sqlite3_value *v) {
  sql_table *t = table_of(c);
  const char *file = option_file(v);
  char *resolved = NULL;
  int rc;
  if (file == NULL) {
    return fail(
        &t->base.zErrMsg, SQLITE_ERROR,
        sqlite3_mprintf("maph: the argument is the name of a file, as in maph('cache.maph')"));
  }
  if (c->file && strcmp(c->file, file) == 0) return SQLITE_OK;
  store_view_release(c->view);
  store_release(c->store);
  sqlite3_free(c->file);
  c->view = NULL;
  c->store = NULL;
  c->file = NULL;
  rc = option_resolve(t->connection->db, "main", 1, file, &resolved, &t->base.zErrMsg);
  if (rc == SQLITE_OK) rc = store_hold(t->connection, resolved, &c->store);
  if (rc == SQLITE_OK && (c->file = sqlite3_mprintf("%s", file)) == NULL) rc = SQLITE_NOMEM;
  sqlite3_free(resolved);
  return rc;
}

/* The table keeps holding the last store that its cursors used, so that the next statement finds it
** open. */
static int cursor_begin(row_cursor *c) {
  sql_table *t = table_of(c);
  int rc = SQLITE_OK;
  if (!t->is_function && c->store == NULL) {
    rc = table_use(t);
    if (rc == SQLITE_OK) {
      c->store = t->store;
      c->store->holders++;
    }
  }
  if (rc == SQLITE_OK && c->view == NULL)
    rc = store_view(c->store, table_may(t), &c->view, &t->base.zErrMsg);
  store_view_release(c->inherited);
  c->inherited = NULL;
  if (rc == SQLITE_OK && t->is_function) rc = views_keep(&c->views, c->view);
  if (rc == SQLITE_OK && t->is_function && t->store != c->store) {
    store_release(t->store);
    t->store = c->store;
    t->store->holders++;
  }
  return rc;
}

/* ----------------------------------------------------------------------------- key = and key IN */

static int find_key(row_cursor *c, maph_slice key) {
  int rc;
  if (!keys_possible(key)) return SQLITE_OK;
  rc = maph_snapshot_get_entry(c->view->snapshot, key, &c->entry);
  if (rc == MAPH_NOTFOUND) return SQLITE_OK;
  c->at_end = 0;
  return core_error(c, rc);
}

/* The next key of the list that is in the store, batch by batch. */
static int next_key(row_cursor *c) {
  size_t n;
  int rc;
  for (;;) {
    for (; c->key_next < c->batch_end; c->key_next++) {
      rc = pulse_beat(c->store->connection);
      if (rc != SQLITE_OK) return rc;
      if (c->found[c->key_next % BATCH].key.data) {
        c->sought = keys_sought(c->list.keys[c->key_next]);
        c->entry = c->found[c->key_next++ % BATCH];
        c->at_end = 0;
        return SQLITE_OK;
      }
    }
    n = c->list.count - c->batch_end;
    if (n == 0) break;
    if (n > BATCH) n = BATCH;
    rc = maph_snapshot_get_entries(c->view->snapshot, n, c->list.keys + c->batch_end, c->found);
    if (rc != MAPH_OK) return core_error(c, rc);
    c->batch_end += n;
  }
  c->at_end = 1;
  return SQLITE_OK;
}

/* Each row but one key's is asked for by its number, and there are more rows than LIMIT counts. */
static int start_keys(row_cursor *c) {
  c->found = sqlite3_malloc64(BATCH * sizeof(c->found[0]));
  if (c->found == NULL) return SQLITE_NOMEM;
  keys_finish(&c->list);
  if (c->list.sought & 1) c->left = -1;
  return next_key(c);
}

/* key IN (...) */
static int find_keys(row_cursor *c, sqlite3_value *list) {
  char **message = &table_of(c)->base.zErrMsg;
  sqlite3_value *v = NULL;
  int rc;
  for (rc = sqlite3_vtab_in_first(list, &v); rc == SQLITE_OK && v;
       rc = sqlite3_vtab_in_next(list, &v)) {
    rc = keys_add(&c->list, c->view, v, message);
    if (rc != SQLITE_OK) return rc;
  }
  return rc == SQLITE_OK || rc == SQLITE_DONE ? start_keys(c) : rc;
}

/* key = x */
static int find_equal(row_cursor *c, sqlite3_value *v, int shows_sought) {
  int type = sqlite3_value_type(v), rc;
  maph_slice key;
  if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) {
    c->plan = PLAN_KEYS;
    rc = keys_add(&c->list, c->view, v, &table_of(c)->base.zErrMsg);
    return rc == SQLITE_OK ? start_keys(c) : rc;
  }
  rc = value_lookup_key(v, &key);
  if (shows_sought) c->sought = type;
  return rc == SQLITE_OK ? find_key(c, key) : rc;
}

/* ----------------------------------------------------------------------------- scans and ranges */

static int lower_case(unsigned char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

/* As SQLite's NOCASE does it, which stops at a zero byte. */
static int compare_no_case(const maph_slice *x, const maph_slice *y) {
  const unsigned char *a = x->data, *b = y->data;
  size_t n = x->size < y->size ? x->size : y->size;
  for (; n > 0; n--, a++, b++) {
    if (*a == 0 || lower_case(*a) != lower_case(*b)) {
      if (lower_case(*a) != lower_case(*b)) return lower_case(*a) - lower_case(*b);
      break;
    }
  }
  return (x->size > y->size) - (x->size < y->size);
}

static int compare_bound(const row_cursor *c, maph_slice key, const bound *b) {
  maph_slice other = maph_bytes(b->bytes, b->size);
  return c->plan == PLAN_NOCASE && b->is_text ? compare_no_case(&key, &other)
                                              : keys_compare(&key, &other);
}

/* May SQLite want this key?  TEXT sorts before BLOB.  But bounds made from LIKE and GLOB hold for
** BLOB keys by their bytes, and cannot be told from others: where in doubt the row goes to SQLite,
** which looks again. */
static int is_within(const row_cursor *c, const maph_entry *e) {
  const bound *lower = &c->lower, *upper = &c->upper;
  if (value_key_is_text(e)) {
    if (lower->is_set && (!lower->is_text || compare_bound(c, e->key, lower) < 0)) return 0;
    return !upper->is_set || !upper->is_text || compare_bound(c, e->key, upper) <= 0;
  }
  if (upper->is_set && compare_bound(c, e->key, upper) > 0) return 0;
  if (!lower->is_set) return 1;
  if (lower->is_text) return 1; /* any BLOB is above any TEXT */
  return compare_bound(c, e->key, lower) >= 0;
}

/* Against a column of numbers that holds TEXT, a key that spells a number is one, and below any
** TEXT: above no lower bound, and below every upper one.  The other bound may compare bytes. */
static int in_range(const row_cursor *c, const maph_entry *e) {
  const bound *lower = &c->lower;
  if (is_within(c, e)) return 1;
  if (!c->upper.is_set || !numbers_spelled(e->key)) return 0;
  return !lower->is_set || (lower->is_text && compare_bound(c, e->key, lower) >= 0);
}

/* Numbers bound nothing: any TEXT or BLOB is above them, unless an affinity turns it into a number,
** which SQLite will see to.  Nor does UTF-16 text, whose order is another. */
static int set_bound(bound *b, sqlite3_value *v, int *impossible) {
  int type = sqlite3_value_type(v);
  maph_slice bytes;
  int rc;
  if (type == SQLITE_NULL) *impossible = 1;
  if (type != SQLITE_TEXT && type != SQLITE_BLOB) return SQLITE_OK;
  if (type == SQLITE_TEXT && sqlite3_value_encoding(v) != SQLITE_UTF8) return SQLITE_OK;
  rc = value_lookup_key(v, &bytes);
  if (rc != SQLITE_OK) return rc;
  b->bytes = sqlite3_malloc64(bytes.size + 1);
  if (b->bytes == NULL) return SQLITE_NOMEM;
  memcpy(b->bytes, bytes.data, bytes.size);
  b->size = bytes.size;
  b->is_set = 1;
  b->is_text = type == SQLITE_TEXT;
  return SQLITE_OK;
}

static int next_entry(row_cursor *c) {
  int rc;
  for (;;) {
    rc = maph_cursor_next(c->scan, &c->entry);
    if (rc != MAPH_OK || c->plan == PLAN_SCAN || in_range(c, &c->entry)) break;
    rc = pulse_beat(c->store->connection);
    if (rc != SQLITE_OK) return rc;
  }
  if (rc == MAPH_NOTFOUND) {
    c->at_end = 1;
    return SQLITE_OK;
  }
  return core_error(c, rc);
}

/* The store would look for a prefix by the same pass, and meanwhile hear nobody who wants it to
** stop. */
static int start_scan(row_cursor *c) {
  int rc = maph_cursor_open(c->view->handle, c->view->snapshot, maph_bytes("", 0), &c->scan);
  if (rc != MAPH_OK) return core_error(c, rc);
  c->at_end = 0;
  return next_entry(c);
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
static void set_limit(row_cursor *c, const char *letters, sqlite3_value **argv) {
  const char *limit = strchr(letters, TERM_LIMIT), *offset = strchr(letters, TERM_OFFSET);
  sqlite3_int64 skip;
  if (limit == NULL) return;
  c->left = sqlite3_value_int64(argv[limit - letters]);
  skip = offset ? sqlite3_value_int64(argv[offset - letters]) : 0;
  if (skip > 0 && c->left >= 0) c->left = c->left < 0x7fffffffffffffff - skip ? c->left + skip : -1;
}

/* Take in the arguments that plan.c listed in `letters`, all but the keys themselves. */
static int read_arguments(row_cursor *c, const char *letters, sqlite3_value **argv,
                          int *impossible) {
  int i, rc = SQLITE_OK;
  for (i = 0; letters[i] && rc == SQLITE_OK; i++) {
    switch (letters[i]) {
      case TERM_FILE: rc = use_file(c, argv[i]); break;
      case TERM_ABOVE:
      case TERM_FROM: rc = set_bound(&c->lower, argv[i], impossible); break;
      case TERM_BELOW:
      case TERM_UPTO: rc = set_bound(&c->upper, argv[i], impossible); break;
      default: break;
    }
  }
  set_limit(c, letters, argv);
  if (c->left == 0) *impossible = 1;
  return rc;
}

int read_filter(sqlite3_vtab_cursor *cursor, int plan, const char *letters, int argc,
                sqlite3_value **argv) {
  row_cursor *c = (row_cursor *)cursor;
  sql_table *t = table_of(c);
  sqlite3_value *key;
  int rc, impossible = 0;
  (void)argc;
  cursor_reset(c);
  t->heir = NULL;
  c->plan = plan;
  if (plan == PLAN_NOTHING) {
    return fail(&t->base.zErrMsg, SQLITE_ERROR,
                sqlite3_mprintf("maph: name the file, as in SELECT * FROM maph('cache.maph')"));
  }
  rc = read_arguments(c, letters, argv, &impossible);
  if (rc == SQLITE_OK) rc = cursor_begin(c);
  if (rc != SQLITE_OK || impossible) return rc;
  key = argc > 0 ? argv[t->is_function ? argc > 1 : 0] : NULL;
  switch (plan) {
    case PLAN_KEY: return find_equal(c, key, strchr(letters, TERM_EQUAL) != NULL);
    case PLAN_KEYS: return find_keys(c, key);
    default: return start_scan(c);
  }
}

int read_eof(sqlite3_vtab_cursor *cursor) { return ((row_cursor *)cursor)->at_end; }

static int shows_text(const row_cursor *c) {
  if (c->sought == SQLITE_TEXT || c->sought == SQLITE_BLOB) return c->sought == SQLITE_TEXT;
  return value_key_is_text(&c->entry);
}

/* The members of the row's value are looked for once, at the first that is asked for. */
static int read_member(row_cursor *c, sqlite3_context *ctx, size_t i) {
  const sql_members *members = &table_of(c)->options.members;
  int rc;
  if (c->members == NULL) {
    c->members = sqlite3_malloc64(members->count * sizeof(c->members[0]));
    c->members_of = NULL;
    if (c->members == NULL) return SQLITE_NOMEM;
  }
  if (c->members_of == NULL || c->members_of != c->entry.value.data) {
    rc = members_find(members, c->entry.value, c->members);
    if (rc != SQLITE_OK) return rc;
    c->members_of = c->entry.value.data;
  }
  member_result(ctx, &members->list[i], c->members[i]);
  return SQLITE_OK;
}

int read_column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int place) {
  row_cursor *c = (row_cursor *)cursor;
  int column = table_column(table_of(c), place);
  if (sqlite3_vtab_nochange(ctx)) return SQLITE_OK;
  switch (column) {
    case COLUMN_MEMBER: return read_member(c, ctx, (size_t)place - 1);
    case COLUMN_KEY:
    case COLUMN_ROWID: value_result_key(ctx, c->entry.key, shows_text(c)); break;
    case COLUMN_VALUE: value_result(ctx, &c->entry); break;
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
