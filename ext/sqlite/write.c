/*
** write.c - INSERT, UPDATE and DELETE, and what SQLite tells a table of its transactions.
**
** ONE STATEMENT, CALL BY CALL
**     xBegin        before the statement reads anything: takes the writer lock (or waits
**                   busy_timeout, then SQLITE_BUSY), so that value = value + 1 reads what it
**                   changes under the lock
**     xSavepoint    if the statement may fail half way inside BEGIN ... COMMIT
**     xUpdate       for each row
**     xSync         at COMMIT: everything that can fail.  At sync=full the decision is on disk when
**                   it returns OK
**     xCommit       makes it visible; fails only where the file was replaced since xSync
**     xRollback     instead of both
** xSync of all tables comes before xCommit of any.  SQLite then commits its own file between the
** two; a kill there leaves the store committed at sync=full and not committed below that, whatever
** the database did: the two files are not one.
**
** CREATE VIRTUAL TABLE puts its table into the transaction without xBegin, and so do the statements
** after it in the same transaction: xUpdate begins if nobody has.
**
** CONFLICTS     A key that is there already, with sqlite3_vtab_on_conflict:
**     REPLACE                         the row is overwritten
**     IGNORE, FAIL, ABORT, ROLLBACK  SQLITE_CONSTRAINT before anything is changed; SQLite does the
**     rest
*/
#include "sql.h"

static int core_error(sql_table *t, int maph_rc) {
  return store_error(t->store->writer, maph_rc, &t->base.zErrMsg);
}

/* ----------------------------------------------------------------------------------------- rows */

typedef struct row {
  maph_slice key;
  value_bytes value;
  maph_condition put; /* type, expiry ... */
  char *json;         /* the value, where declared columns made it */
} row;

static int changed(sqlite3_value *v) { return !sqlite3_value_nochange(v); }

static int read_key(sql_table *t, sqlite3_value *v, row *r) {
  switch (sqlite3_value_type(v)) {
    case SQLITE_NULL:
      return fail(&t->base.zErrMsg, SQLITE_CONSTRAINT_NOTNULL,
                  sqlite3_mprintf("NOT NULL constraint failed: %s.key", t->name));
    case SQLITE_INTEGER:
    case SQLITE_FLOAT:
      return fail(
          &t->base.zErrMsg, SQLITE_MISMATCH,
          sqlite3_mprintf("datatype mismatch: %s.key is TEXT or BLOB, as in CAST(%s AS TEXT)",
                          t->name, sqlite3_value_text(v)));
    default: break;
  }
  r->put.key_type = sqlite3_value_type(v) == SQLITE_TEXT ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
  if (value_lookup_key(v, &r->key) != SQLITE_OK) return SQLITE_NOMEM;
  if (r->key.size == 0) {
    return fail(&t->base.zErrMsg, SQLITE_CONSTRAINT_CHECK,
                sqlite3_mprintf("CHECK constraint failed: %s.key is empty", t->name));
  }
  return SQLITE_OK;
}

static int read_value(sqlite3_value *v, row *r) {
  int rc = value_read(v, &r->value);
  r->put.type = r->value.type;
  return rc;
}

/* expires_at and ttl say the same thing; the table's own ttl counts where neither does. */
static int read_expiry(sql_table *t, sqlite3_value *v, sqlite3_value *ttl, row *r) {
  if (changed(ttl) && sqlite3_value_type(ttl) != SQLITE_NULL) {
    if (sqlite3_value_type(v) != SQLITE_NULL) {
      return fail(
          &t->base.zErrMsg, SQLITE_ERROR,
          sqlite3_mprintf("maph: %s.ttl and %s.expires_at both say when the row ends: give one",
                          t->name, t->name));
    }
    return value_read_ttl(ttl, &r->put.expires, &t->base.zErrMsg);
  }
  if (sqlite3_value_type(v) == SQLITE_NULL && t->options.ttl_ms) {
    r->put.expires = value_now_ms() + (uint64_t)t->options.ttl_ms;
    return SQLITE_OK;
  }
  return value_read_expiry(v, &r->put.expires, &t->base.zErrMsg);
}

static int duplicate_key(sql_table *t) {
  return fail(&t->base.zErrMsg, SQLITE_CONSTRAINT_PRIMARYKEY,
              sqlite3_mprintf("UNIQUE constraint failed: %s.key", t->name));
}

/* Put the row; another one under its key gives way only if `replace`. */
static int put(sql_table *t, row *r, int replace) {
  int rc;
  r->put.when = replace ? MAPH_ALWAYS : MAPH_IF_ABSENT;
  if (numbers_note(t->store, r->key) != SQLITE_OK) return SQLITE_NOMEM;
  rc = maph_txn_put_if(t->store->txn, r->key, r->value.bytes, &r->put);
  if (rc == MAPH_EXISTS) return duplicate_key(t);
  return core_error(t, rc);
}

static int delete_key(sql_table *t, maph_slice key) {
  int rc = maph_txn_delete(t->store->txn, key);
  /* it may have expired since it was read */
  return rc == MAPH_NOTFOUND ? SQLITE_OK : core_error(t, rc);
}

/* ----------------------------------------------------------------------------------- statements */

static int delete_row(sql_table *t, sqlite3_value *old) {
  maph_slice key;
  int rc = value_lookup_key(old, &key);
  return rc == SQLITE_OK ? delete_key(t, key) : rc;
}

static int refuse_version(sql_table *t) {
  return fail(&t->base.zErrMsg, SQLITE_ERROR,
              sqlite3_mprintf("%s.version is set by the store and cannot be written", t->name));
}

static int refuse_rowid(sql_table *t) {
  return fail(
      &t->base.zErrMsg, SQLITE_ERROR,
      sqlite3_mprintf("%s._rowid_ is another name of the key and cannot be written: write %s.key",
                      t->name, t->name));
}

/* Is this another key than old?  UPDATE ... FROM hands in what it does not change. */
static int is_other_key(sqlite3_value *v, maph_slice old) {
  maph_slice key;
  if (!changed(v) || value_lookup_key(v, &key) != SQLITE_OK) return 0;
  return key.size != old.size || memcmp(key.data, old.data, old.size) != 0;
}

/* Does the statement say anything of a declared column? */
static int says_members(sql_table *t, sqlite3_value **columns, int is_insert) {
  size_t i;
  for (i = 1; i <= t->options.members.count; i++) {
    if (is_insert ? sqlite3_value_type(columns[i]) != SQLITE_NULL : changed(columns[i])) return 1;
  }
  return 0;
}

/* Put the declared columns into the row's value, which is NULL or a JSON object.  old: what the row
** was, whose members an UPDATE ... FROM hands in again. */
static int read_members(sql_table *t, sqlite3_value **columns, maph_slice old, row *r) {
  size_t size;
  int rc = members_patch(&t->options.members, r->value.bytes, old, columns + 1, &r->json, &size,
                         &t->base.zErrMsg);
  if (rc != SQLITE_OK) return rc;
  if (size == old.size && memcmp(r->json, old.data, size) == 0) {
    r->value.bytes = old;
    return SQLITE_OK;
  }
  r->value.bytes = maph_bytes(r->json, size);
  r->put.type = MAPH_JSON;
  return SQLITE_OK;
}

static int insert_row(sql_table *t, sqlite3_value **columns) {
  int replace = sqlite3_vtab_on_conflict(t->connection->db) == SQLITE_REPLACE;
  row r;
  int rc;
  memset(&r, 0, sizeof(r));
  if (sqlite3_value_type(table_value(t, columns, COLUMN_VERSION)) != SQLITE_NULL)
    return refuse_version(t);
  if (sqlite3_value_type(table_value(t, columns, COLUMN_ROWID)) != SQLITE_NULL)
    return refuse_rowid(t);
  rc = read_key(t, table_value(t, columns, COLUMN_KEY), &r);
  if (rc == SQLITE_OK) rc = read_value(table_value(t, columns, COLUMN_VALUE), &r);
  if (rc == SQLITE_OK && t->options.members.count > 0
      && (r.put.type == MAPH_NULL || says_members(t, columns, 1)))
    rc = read_members(t, columns, maph_bytes("", 0), &r);
  if (rc == SQLITE_OK)
    rc = read_expiry(t, table_value(t, columns, COLUMN_EXPIRES),
                     table_value(t, columns, COLUMN_TTL), &r);
  if (rc == SQLITE_OK) rc = put(t, &r, replace);
  sqlite3_free(r.json);
  return rc;
}

/* SQLite has no JSON of its own: what was read as text may be it. */
static int is_same_value(const maph_entry *old, const row *r) {
  return (r->put.type == old->type || (r->put.type == MAPH_TEXT && old->type == MAPH_JSON))
         && r->value.bytes.size == old->value.size
         && memcmp(r->value.bytes.data, old->value.data, old->value.size) == 0;
}

/* The row as it is, with what the statement changes of it.  UPDATE ... FROM hands in every column,
** changed or not. */
static int read_update(sql_table *t, const maph_entry *old, sqlite3_value **columns, row *r) {
  int rc = SQLITE_OK;
  memset(r, 0, sizeof(*r));
  r->key = old->key;
  r->value.bytes = old->value;
  r->put.type = old->type;
  r->put.key_type = old->key_type;
  r->put.expires = old->expires;
  r->put.media_type = old->media_type;
  if (changed(table_value(t, columns, COLUMN_VERSION))
      && sqlite3_value_int64(table_value(t, columns, COLUMN_VERSION))
             != (sqlite3_int64)old->version) {
    return refuse_version(t);
  }
  if (is_other_key(table_value(t, columns, COLUMN_ROWID), old->key)) return refuse_rowid(t);
  if (changed(table_value(t, columns, COLUMN_KEY)))
    rc = read_key(t, table_value(t, columns, COLUMN_KEY), r);
  if (rc == SQLITE_OK && changed(table_value(t, columns, COLUMN_VALUE))) {
    rc = read_value(table_value(t, columns, COLUMN_VALUE), r);
    if (rc == SQLITE_OK && is_same_value(old, r))
      r->put.type = old->type;
    else
      r->put.media_type = maph_bytes(NULL, 0);
  }
  if (rc == SQLITE_OK && says_members(t, columns, 0)) rc = read_members(t, columns, old->value, r);
  if (rc == SQLITE_OK && changed(table_value(t, columns, COLUMN_EXPIRES))) {
    rc = value_read_expiry(table_value(t, columns, COLUMN_EXPIRES), &r->put.expires,
                           &t->base.zErrMsg);
  }
  if (rc == SQLITE_OK && changed(table_value(t, columns, COLUMN_TTL))
      && sqlite3_value_type(table_value(t, columns, COLUMN_TTL)) != SQLITE_NULL) {
    rc = value_read_ttl(table_value(t, columns, COLUMN_TTL), &r->put.expires, &t->base.zErrMsg);
  }
  return rc;
}

/* A new key is two operations, which fail together. */
static int move_row(sql_table *t, maph_slice old_key, row *r) {
  int replace = sqlite3_vtab_on_conflict(t->connection->db) == SQLITE_REPLACE;
  int n = t->store->depth;
  int rc = store_savepoint(t->store, n);
  if (rc != SQLITE_OK) return rc;
  rc = put(t, r, replace);
  if (rc == SQLITE_OK) rc = delete_key(t, old_key);
  if (rc != SQLITE_OK) store_rollback_to(t->store, n);
  store_release_savepoint(t->store, n);
  return rc;
}

static int update_row(sql_table *t, sqlite3_value *old_key, sqlite3_value **columns) {
  maph_entry old;
  maph_slice key;
  row r;
  int rc = value_lookup_key(old_key, &key);
  if (rc != SQLITE_OK) return rc;
  rc = maph_txn_get_entry(t->store->txn, key, &old);
  if (rc == MAPH_NOTFOUND) return SQLITE_OK;
  rc = core_error(t, rc);
  if (rc != SQLITE_OK) return rc;
  rc = read_update(t, &old, columns, &r);
  if (rc == SQLITE_OK) {
    int stays = r.key.size == key.size && memcmp(r.key.data, key.data, key.size) == 0;
    rc = stays ? put(t, &r, 1) : move_row(t, key, &r);
  }
  sqlite3_free(r.json);
  return rc;
}

/* -------------------------------------------------------------------------------------- xUpdate */

static int refuse_write(sql_table *t) {
  if (t->is_function) {
    return fail(
        &t->base.zErrMsg, SQLITE_READONLY,
        sqlite3_mprintf(
            "maph(...) is read-only; to write: CREATE VIRTUAL TABLE t USING maph('cache.maph')"));
  }
  return fail(
      &t->base.zErrMsg, SQLITE_READONLY,
      sqlite3_mprintf("attempt to write a read-only table: %s was made with mode=ro", t->name));
}

/* argv: the old key or NULL; the new key; then the columns.  DELETE has the old key only. */
int write_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid) {
  sql_table *t = (sql_table *)vtab;
  sqlite3_value **columns = argv + 2;
  int is_insert = argc > 1 && sqlite3_value_type(argv[0]) == SQLITE_NULL;
  int is_command = argc > 1 && changed(table_value(t, columns, COLUMN_COMMAND))
                   && sqlite3_value_type(table_value(t, columns, COLUMN_COMMAND)) != SQLITE_NULL;
  int rc;
  (void)rowid;
  if (t->is_function) return refuse_write(t);
  rc = table_use(t);
  if (rc != SQLITE_OK) return rc;
  if (is_command && is_insert)
    return command_run(t, table_value(t, columns, COLUMN_COMMAND),
                       table_value(t, columns, COLUMN_VALUE));
  if (is_command)
    return fail(
        &t->base.zErrMsg, SQLITE_ERROR,
        sqlite3_mprintf("maph: a command is an INSERT, as in INSERT INTO %s(%s) VALUES('check')",
                        t->name, t->name));
  if (!(table_may(t) & STORE_MAY_WRITE)) return refuse_write(t);
  rc = store_begin(t->store, table_may(t), &t->base.zErrMsg);
  if (rc != SQLITE_OK) return rc;
  store_wrote(t->store);
  if (argc == 1) return delete_row(t, argv[0]);
  return is_insert ? insert_row(t, columns) : update_row(t, argv[0], columns);
}

/* --------------------------------------------------------------------------------- transactions */

int write_begin(sqlite3_vtab *vtab) {
  sql_table *t = (sql_table *)vtab;
  int rc;
  /* xUpdate refuses, unless it is a command that reads */
  if (!(table_may(t) & STORE_MAY_WRITE)) return SQLITE_OK;
  rc = table_use(t);
  return rc == SQLITE_OK ? store_begin(t->store, table_may(t), &t->base.zErrMsg) : rc;
}

/* Also the end of CREATE VIRTUAL TABLE: the store must be there and be one. */
static int finish_create(sql_table *t) {
  int rc = table_use(t), may = table_may(t);
  if (rc != SQLITE_OK) return rc;
  if (may & STORE_MAY_WRITE) return store_open_writer(t->store, may, &t->base.zErrMsg);
  return store_open_reader(t->store, may, &t->base.zErrMsg);
}

int write_sync(sqlite3_vtab *vtab) {
  sql_table *t = (sql_table *)vtab;
  int rc = SQLITE_OK;
  if (t->is_fresh && !t->is_function) rc = finish_create(t);
  if (rc == SQLITE_OK && t->store) rc = store_prepare(t->store, &t->base.zErrMsg);
  return rc;
}

int write_commit(sqlite3_vtab *vtab) {
  sql_table *t = (sql_table *)vtab;
  t->is_fresh = 0;
  if (t->store) store_commit(t->store);
  return SQLITE_OK;
}

int write_rollback(sqlite3_vtab *vtab) {
  sql_table *t = (sql_table *)vtab;
  t->is_fresh = 0;
  if (t->store) store_rollback(t->store);
  return SQLITE_OK;
}

int write_savepoint(sqlite3_vtab *vtab, int n) {
  sql_table *t = (sql_table *)vtab;
  return t->store ? store_savepoint(t->store, n) : SQLITE_OK;
}

int write_release(sqlite3_vtab *vtab, int n) {
  sql_table *t = (sql_table *)vtab;
  return t->store ? store_release_savepoint(t->store, n) : SQLITE_OK;
}

int write_rollback_to(sqlite3_vtab *vtab, int n) {
  sql_table *t = (sql_table *)vtab;
  return t->store ? store_rollback_to(t->store, n) : SQLITE_OK;
}
