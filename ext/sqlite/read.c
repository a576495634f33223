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
#include <stdlib.h>

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
  char *file;               /* the argument of the table-valued form */
  int plan;
  int at_end;
  sqlite3_int64 left; /* rows that may still be wanted; -1: no bound known */
  maph_entry entry;
  maph_cursor *scan;  /* SCAN, RANGE, NOCASE */
  bound lower, upper; /* RANGE, NOCASE: what the row's key must not be outside of */
  char *arena;        /* KEYS: their bytes, */
  maph_slice *keys;   /* and themselves, */
  maph_entry *found;  /* and what was found for the present batch */
  int key_count, key_next, batch_end;
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
  *cursor = &c->base;
  return SQLITE_OK;
}

/* Forget the rows, not the snapshot. */
static void cursor_reset(row_cursor *c) {
  maph_cursor_close(c->scan);
  sqlite3_free(c->arena);
  sqlite3_free(c->keys);
  sqlite3_free(c->found);
  sqlite3_free(c->lower.bytes);
  sqlite3_free(c->upper.bytes);
  memset(&c->lower, 0, sizeof(c->lower));
  memset(&c->upper, 0, sizeof(c->upper));
  c->scan = NULL;
  c->arena = NULL;
  c->keys = NULL;
  c->found = NULL;
  c->key_count = c->key_next = c->batch_end = 0;
  c->at_end = 1;
  c->left = -1;
}

int read_close(sqlite3_vtab_cursor *cursor) {
  row_cursor *c = (row_cursor *)cursor;
  cursor_reset(c);
  store_view_release(c->view);
  store_release(c->store);
  sqlite3_free(c->file);
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
  const char *file = (const char *)sqlite3_value_text(v);
  char *resolved = NULL;
  int rc;
  if (file == NULL || strlen(file) != (size_t)sqlite3_value_bytes(v)) {
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
  if (rc == SQLITE_OK && t->is_function && t->store != c->store) {
    store_release(t->store);
    t->store = c->store;
    t->store->holders++;
  }
  return rc;
}

/* ----------------------------------------------------------------------------- key = and key IN */

static int can_be_key(maph_slice key) { return key.size > 0 && key.size <= 65535; }

static int find_key(row_cursor *c, sqlite3_value *v) {
  maph_slice key;
  int rc = value_lookup_key(v, &key);
  if (rc != SQLITE_OK || !can_be_key(key)) return rc;
  rc = maph_snapshot_get_entry(c->view->snapshot, key, &c->entry);
  if (rc == MAPH_NOTFOUND) return SQLITE_OK;
  c->at_end = 0;
  return core_error(c, rc);
}

/* Grow a buffer to at least `need` bytes, doubling.  The buffer stays as it was on failure. */
static int grow(void *buffer, size_t *have, size_t need) {
  void *old, *larger;
  size_t size = *have ? *have : 1024;
  if (need <= *have) return SQLITE_OK;
  while (size < need) size *= 2;
  memcpy(&old, buffer, sizeof(old));
  larger = sqlite3_realloc64(old, size);
  if (larger == NULL) return SQLITE_NOMEM;
  memcpy(buffer, &larger, sizeof(larger));
  *have = size;
  return SQLITE_OK;
}

static int compare_keys(const void *a, const void *b) {
  const maph_slice *x = a, *y = b;
  int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);
  return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* SQLite lists each value once, but 'a' and x'61' are two values and one key. */
static void drop_twins(row_cursor *c) {
  int i, n = 0;
  qsort(c->keys, (size_t)c->key_count, sizeof(c->keys[0]), compare_keys);
  for (i = 0; i < c->key_count; i++) {
    if (n == 0 || compare_keys(&c->keys[n - 1], &c->keys[i]) != 0) c->keys[n++] = c->keys[i];
  }
  c->key_count = n;
}

/* Copy the keys of an IN list.  Their bytes move while the arena grows, so they become pointers at
** the end. */
static int gather_keys(row_cursor *c, sqlite3_value *list) {
  size_t arena_size = 0, used = 0, keys_size = 0;
  sqlite3_value *v = NULL;
  int rc, i, types = 0;
  c->found = sqlite3_malloc64(BATCH * sizeof(c->found[0]));
  if (c->found == NULL) return SQLITE_NOMEM;
  for (rc = sqlite3_vtab_in_first(list, &v); rc == SQLITE_OK && v;
       rc = sqlite3_vtab_in_next(list, &v)) {
    maph_slice key;
    rc = value_lookup_key(v, &key);
    if (rc == SQLITE_OK && can_be_key(key)) {
      rc = grow(&c->arena, &arena_size, used + key.size);
      if (rc == SQLITE_OK)
        rc = grow(&c->keys, &keys_size, (size_t)(c->key_count + 1) * sizeof(c->keys[0]));
      if (rc == SQLITE_OK) {
        memcpy(c->arena + used, key.data, key.size);
        c->keys[c->key_count++] = maph_bytes(NULL, key.size);
        used += key.size;
        types |= 1 << sqlite3_value_type(v);
      }
    }
    if (rc != SQLITE_OK) return rc;
  }
  for (i = 0, used = 0; i < c->key_count; used += c->keys[i++].size)
    c->keys[i].data = c->arena + used;
  if (types & (types - 1)) drop_twins(c);
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The next key of the list that is in the store, batch by batch. */
static int next_key(row_cursor *c) {
  int n, rc;
  for (;;) {
    for (; c->key_next < c->batch_end; c->key_next++) {
      if (c->found[c->key_next % BATCH].key.data) {
        c->entry = c->found[c->key_next++ % BATCH];
        c->at_end = 0;
        return SQLITE_OK;
      }
    }
    n = c->key_count - c->batch_end;
    if (n <= 0) break;
    if (n > BATCH) n = BATCH;
    rc = maph_snapshot_get_entries(c->view->snapshot, (size_t)n, c->keys + c->batch_end, c->found);
    if (rc != MAPH_OK) return core_error(c, rc);
    c->batch_end += n;
  }
  c->at_end = 1;
  return SQLITE_OK;
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
                                              : compare_keys(&key, &other);
}

/* May SQLite want this key?  TEXT sorts before BLOB.  But bounds made from LIKE and GLOB hold for
** BLOB keys by their bytes, and cannot be told from others: where in doubt the row goes to SQLite,
** which looks again. */
static int in_range(const row_cursor *c, const maph_entry *e) {
  const bound *lower = &c->lower, *upper = &c->upper;
  if (value_key_is_text(e)) {
    if (lower->is_set && (!lower->is_text || compare_bound(c, e->key, lower) < 0)) return 0;
    return !upper->is_set || !upper->is_text || compare_bound(c, e->key, upper) <= 0;
  }
  if (upper->is_set && compare_bound(c, e->key, upper) > 0) return 0;
  if (!lower->is_set) return 1;
  if (lower->is_text && !(upper->is_set && upper->is_text)) return 1;
  return compare_bound(c, e->key, lower) >= 0;
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

/* key >= 'user:' AND key < 'user;' is the prefix 'user:'. */
static maph_slice prefix_of(const row_cursor *c, const char *letters) {
  const bound *lower = &c->lower, *upper = &c->upper;
  size_t n = lower->size;
  if (c->plan == PLAN_RANGE && strchr(letters, TERM_FROM) && strchr(letters, TERM_BELOW)
      && lower->is_text && upper->is_text && n > 0 && n == upper->size
      && memcmp(lower->bytes, upper->bytes, n - 1) == 0
      && (unsigned char)lower->bytes[n - 1] + 1 == (unsigned char)upper->bytes[n - 1]) {
    return maph_bytes(lower->bytes, n);
  }
  return maph_bytes("", 0);
}

static int next_entry(row_cursor *c) {
  int rc;
  do {
    rc = maph_cursor_next(c->scan, &c->entry);
  } while (rc == MAPH_OK && c->plan != PLAN_SCAN && !in_range(c, &c->entry));
  if (rc == MAPH_NOTFOUND) {
    c->at_end = 1;
    return SQLITE_OK;
  }
  return core_error(c, rc);
}

static int start_scan(row_cursor *c, const char *letters) {
  int rc = maph_cursor_open(c->view->handle, c->view->snapshot, prefix_of(c, letters), &c->scan);
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
    case PLAN_KEY: return find_key(c, key);
    case PLAN_KEYS: rc = gather_keys(c, key); return rc == SQLITE_OK ? next_key(c) : rc;
    default: return start_scan(c, letters);
  }
}

int read_eof(sqlite3_vtab_cursor *cursor) { return ((row_cursor *)cursor)->at_end; }

int read_column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int column) {
  row_cursor *c = (row_cursor *)cursor;
  if (sqlite3_vtab_nochange(ctx)) return SQLITE_OK;
  switch (column) {
    case COLUMN_KEY:
    case COLUMN_ROWID: value_result_key(ctx, c->entry.key, value_key_is_text(&c->entry)); break;
    case COLUMN_VALUE: value_result(ctx, &c->entry); break;
    case COLUMN_VERSION: sqlite3_result_int64(ctx, (sqlite3_int64)c->entry.version); break;
    case COLUMN_EXPIRES: value_result_expiry(ctx, c->entry.expires); break;
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
