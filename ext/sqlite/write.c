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

static int core_error(sql_table *table, int maph_rc) {
  return error_of(table->store->writer, maph_rc, &table->base.zErrMsg);
}

/* ----------------------------------------------------------------------------------------- rows */

typedef struct row {
  maph_slice key;
  value_bytes value;
  maph_condition put; /* type, expiry ... */
  char *json;         /* the value, where declared columns made it */
} row;

static int changed(sqlite3_value *value) { return !sqlite3_value_nochange(value); }

/* What an UPDATE leaves as it is reads as NULL too, but for UPDATE ... FROM: it hands it in. */
static int is_given(sqlite3_value *value) {
  return sqlite3_value_type(value) != SQLITE_NULL && changed(value);
}

static int read_key(sql_table *table, sqlite3_value *value, row *row) {
  int type = sqlite3_value_type(value);
  switch (type) {
    case SQLITE_NULL:
      return fail(&table->base.zErrMsg, SQLITE_CONSTRAINT_NOTNULL,
                  sqlite3_mprintf("NOT NULL constraint failed: %s.key", table->name));
    case SQLITE_INTEGER:
    case SQLITE_FLOAT:
      return fail(
          &table->base.zErrMsg, SQLITE_MISMATCH,
          sqlite3_mprintf("datatype mismatch: %s.key is TEXT or BLOB, as in CAST(%s AS TEXT)",
                          table->name, sqlite3_value_text(value)));
    default: break;
  }
  row->put.key_type = type == SQLITE_TEXT ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
  if (value_lookup_key(value, &row->key) != SQLITE_OK) return SQLITE_NOMEM;
  if (row->key.size == 0) {
    return fail(&table->base.zErrMsg, SQLITE_CONSTRAINT_CHECK,
                sqlite3_mprintf("CHECK constraint failed: %s.key is empty", table->name));
  }
  return SQLITE_OK;
}

static int read_value(sqlite3_value *value, row *row) {
  int rc = value_read(value, &row->value);
  row->put.type = row->value.type;
  return rc;
}

/* expires_at and ttl say the same thing; the table's own ttl counts where neither does. */
static int read_expiry(sql_table *table, sqlite3_value *value, sqlite3_value *ttl, row *row) {
  if (is_given(ttl)) {
    if (sqlite3_value_type(value) != SQLITE_NULL) {
      return fail(
          &table->base.zErrMsg, SQLITE_ERROR,
          sqlite3_mprintf("maph: %s.ttl and %s.expires_at both say when the row ends: give one",
                          table->name, table->name));
    }
    return value_read_ttl(ttl, &row->put.expires, &table->base.zErrMsg);
  }
  if (sqlite3_value_type(value) == SQLITE_NULL && table->options.ttl_ms) {
    row->put.expires = value_now_ms() + (uint64_t)table->options.ttl_ms;
    return SQLITE_OK;
  }
  return value_read_expiry(value, &row->put.expires, &table->base.zErrMsg);
}

static int duplicate_key(sql_table *table) {
  return fail(&table->base.zErrMsg, SQLITE_CONSTRAINT_PRIMARYKEY,
              sqlite3_mprintf("UNIQUE constraint failed: %s.key", table->name));
}

/* Put the row; another one under its key gives way only if `replace`. */
static int put(sql_table *table, row *row, int replace) {
  int rc;
  row->put.when = replace ? MAPH_ALWAYS : MAPH_IF_ABSENT;
  if (numbers_note(table->store, row->key) != SQLITE_OK) return SQLITE_NOMEM;
  rc = maph_txn_put_if(table->store->txn, row->key, row->value.bytes, &row->put);
  if (rc == MAPH_EXISTS) return duplicate_key(table);
  return core_error(table, rc);
}

static int delete_key(sql_table *table, maph_slice key) {
  int rc = maph_txn_delete(table->store->txn, key);
  /* it may have expired since it was read */
  return rc == MAPH_NOTFOUND ? SQLITE_OK : core_error(table, rc);
}

/* ----------------------------------------------------------------------------------- statements */

static int delete_row(sql_table *table, sqlite3_value *old) {
  maph_slice key;
  int rc = value_lookup_key(old, &key);
  return rc == SQLITE_OK ? delete_key(table, key) : rc;
}

static int refuse_version(sql_table *table) {
  return fail(&table->base.zErrMsg, SQLITE_ERROR,
              sqlite3_mprintf("%s.version is set by the store and cannot be written", table->name));
}

/* Is this another key than old?  UPDATE ... FROM hands in what it does not change. */
static int is_other_key(sqlite3_value *value, maph_slice old) {
  maph_slice key;
  if (!changed(value) || value_lookup_key(value, &key) != SQLITE_OK) return 0;
  return key.size != old.size || memcmp(key.data, old.data, old.size) != 0;
}

/* Does the statement write the key under one of its other names?  An INSERT has no `old`. */
static int check_rowids(sql_table *table, sqlite3_value **columns, const maph_slice *old) {
  static const char *const names[] = { "_rowid_", "rowid", "oid" };
  int i;
  for (i = 0; i <= COLUMN_OID - COLUMN_ROWID; i++) {
    sqlite3_value *value = table_value(table, columns, COLUMN_ROWID + i);
    if (old ? !is_other_key(value, *old) : sqlite3_value_type(value) == SQLITE_NULL) continue;
    return fail(&table->base.zErrMsg, SQLITE_ERROR,
                sqlite3_mprintf("%s.%s is another name of the key and cannot be written: write "
                                "%s.key",
                                table->name, names[i], table->name));
  }
  return SQLITE_OK;
}

/* Does the statement say anything of a declared column? */
static int says_members(sql_table *table, sqlite3_value **columns, int is_insert) {
  size_t i;
  for (i = 1; i <= table->options.members.count; i++) {
    if (is_insert ? sqlite3_value_type(columns[i]) != SQLITE_NULL : changed(columns[i])) return 1;
  }
  return 0;
}

/* Put the declared columns into the row's value, which is NULL or a JSON object.  old: what the row
** was, whose members an UPDATE ... FROM hands in again. */
static int read_members(sql_table *table, sqlite3_value **columns, maph_slice old, row *row) {
  size_t size;
  int rc = members_patch(&table->options.members, row->value.bytes, old, columns + 1, &row->json,
                         &size, &table->base.zErrMsg);
  if (rc != SQLITE_OK) return rc;
  if (size == old.size && memcmp(row->json, old.data, size) == 0) {
    row->value.bytes = old;
    return SQLITE_OK;
  }
  row->value.bytes = maph_bytes(row->json, size);
  row->put.type = MAPH_JSON;
  return SQLITE_OK;
}

static int insert_row(sql_table *table, sqlite3_value **columns) {
  int replace = sqlite3_vtab_on_conflict(table->connection->db) == SQLITE_REPLACE;
  row row;
  int rc;
  memset(&row, 0, sizeof(row));
  if (sqlite3_value_type(table_value(table, columns, COLUMN_VERSION)) != SQLITE_NULL)
    return refuse_version(table);
  rc = check_rowids(table, columns, NULL);
  if (rc == SQLITE_OK) rc = read_key(table, table_value(table, columns, COLUMN_KEY), &row);
  if (rc == SQLITE_OK) rc = read_value(table_value(table, columns, COLUMN_VALUE), &row);
  if (rc == SQLITE_OK && table->options.members.count > 0
      && (row.put.type == MAPH_NULL || says_members(table, columns, 1)))
    rc = read_members(table, columns, maph_bytes("", 0), &row);
  if (rc == SQLITE_OK)
    rc = read_expiry(table, table_value(table, columns, COLUMN_EXPIRES),
                     table_value(table, columns, COLUMN_TTL), &row);
  if (rc == SQLITE_OK) rc = put(table, &row, replace);
  sqlite3_free(row.json);
  return rc;
}

/* SQLite has no JSON of its own: what was read as text may be it. */
static int is_same_value(const maph_entry *old, const row *row) {
  return (row->put.type == old->type || (row->put.type == MAPH_TEXT && old->type == MAPH_JSON))
         && row->value.bytes.size == old->value.size
         && memcmp(row->value.bytes.data, old->value.data, old->value.size) == 0;
}

/* The row as it is, with what the statement changes of it.  UPDATE ... FROM hands in every column,
** changed or not. */
static int read_update(sql_table *table, const maph_entry *old, sqlite3_value **columns, row *row) {
  int rc = SQLITE_OK;
  memset(row, 0, sizeof(*row));
  row->key = old->key;
  row->value.bytes = old->value;
  row->put.type = old->type;
  row->put.key_type = old->key_type;
  row->put.expires = old->expires;
  row->put.media_type = old->media_type;
  if (changed(table_value(table, columns, COLUMN_VERSION))
      && sqlite3_value_int64(table_value(table, columns, COLUMN_VERSION))
             != (sqlite3_int64)old->version) {
    return refuse_version(table);
  }
  rc = check_rowids(table, columns, &old->key);
  if (rc == SQLITE_OK && changed(table_value(table, columns, COLUMN_KEY)))
    rc = read_key(table, table_value(table, columns, COLUMN_KEY), row);
  if (rc == SQLITE_OK && changed(table_value(table, columns, COLUMN_VALUE))) {
    rc = read_value(table_value(table, columns, COLUMN_VALUE), row);
    if (rc == SQLITE_OK && is_same_value(old, row))
      row->put.type = old->type;
    else
      row->put.media_type = maph_bytes(NULL, 0);
  }
  if (rc == SQLITE_OK && says_members(table, columns, 0))
    rc = read_members(table, columns, old->value, row);
  if (rc == SQLITE_OK && changed(table_value(table, columns, COLUMN_EXPIRES))) {
    rc = value_read_expiry(table_value(table, columns, COLUMN_EXPIRES), &row->put.expires,
                           &table->base.zErrMsg);
  }
  if (rc == SQLITE_OK && is_given(table_value(table, columns, COLUMN_TTL))) {
    rc = value_read_ttl(table_value(table, columns, COLUMN_TTL), &row->put.expires,
                        &table->base.zErrMsg);
  }
  return rc;
}

/* A new key is two operations, which fail together. */
static int move_row(sql_table *table, maph_slice old_key, row *row) {
  int replace = sqlite3_vtab_on_conflict(table->connection->db) == SQLITE_REPLACE;
  int n = table->store->depth;
  int rc = store_savepoint(table->store, n);
  if (rc != SQLITE_OK) return rc;
  rc = put(table, row, replace);
  if (rc == SQLITE_OK) rc = delete_key(table, old_key);
  if (rc != SQLITE_OK) store_rollback_to(table->store, n);
  store_release_savepoint(table->store, n);
  return rc;
}

static int update_row(sql_table *table, sqlite3_value *old_key, sqlite3_value **columns) {
  maph_entry old;
  maph_slice key;
  row row;
  int rc = value_lookup_key(old_key, &key);
  if (rc != SQLITE_OK) return rc;
  rc = maph_txn_get_entry(table->store->txn, key, &old);
  if (rc == MAPH_NOTFOUND) return SQLITE_OK;
  rc = core_error(table, rc);
  if (rc != SQLITE_OK) return rc;
  rc = read_update(table, &old, columns, &row);
  if (rc == SQLITE_OK) {
    int stays = row.key.size == key.size && memcmp(row.key.data, key.data, key.size) == 0;
    rc = stays ? put(table, &row, 1) : move_row(table, key, &row);
  }
  sqlite3_free(row.json);
  return rc;
}

/* -------------------------------------------------------------------------------------- xUpdate */

static int refuse_write(sql_table *table) {
  if (table->is_function) {
    return fail(
        &table->base.zErrMsg, SQLITE_READONLY,
        sqlite3_mprintf(
            "maph(...) is read-only; to write: CREATE VIRTUAL TABLE t USING maph('cache.maph')"));
  }
  return fail(
      &table->base.zErrMsg, SQLITE_READONLY,
      sqlite3_mprintf("attempt to write a read-only table: %s was made with mode=ro", table->name));
}

/* Let the key come while the rest of the statement is looked at.  What a smaller transaction knows
** of its keys is in the processor's cache. */
static void prefetch(sql_table *table, sqlite3_value *value) {
  enum { LARGE = 50000 };
  maph_slice key;
  if (table->store == NULL || table->store->txn == NULL) return;
  if (maph_txn_operations(table->store->txn) < LARGE) return;
  if (sqlite3_value_type(value) == SQLITE_TEXT && value_lookup_key(value, &key) == SQLITE_OK)
    maph_txn_prefetch(table->store->txn, key);
}

/* argv: the old key or NULL; the new key; then the columns.  DELETE has the old key only. */
int write_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid) {
  sql_table *table = (sql_table *)vtab;
  sqlite3_value **columns = argv + 2;
  int is_insert = argc > 1 && sqlite3_value_type(argv[0]) == SQLITE_NULL;
  int is_command = argc > 1 && is_given(table_value(table, columns, COLUMN_COMMAND));
  int rc;
  (void)rowid;
  if (is_insert) prefetch(table, table_value(table, columns, COLUMN_KEY));
  if (table->is_function) return refuse_write(table);
  rc = table_use(table);
  if (rc != SQLITE_OK) return rc;
  if (is_command && is_insert)
    return command_run(table, table_value(table, columns, COLUMN_COMMAND),
                       table_value(table, columns, COLUMN_VALUE));
  if (is_command)
    return fail(
        &table->base.zErrMsg, SQLITE_ERROR,
        sqlite3_mprintf("maph: a command is an INSERT, as in INSERT INTO %s(%s) VALUES('check')",
                        table->name, table->name));
  if (!(table_may(table) & STORE_MAY_WRITE)) return refuse_write(table);
  rc = store_begin(table->store, table_may(table), &table->base.zErrMsg);
  if (rc != SQLITE_OK) return rc;
  store_wrote(table->store);
  if (argc == 1) return delete_row(table, argv[0]);
  return is_insert ? insert_row(table, columns) : update_row(table, argv[0], columns);
}

/* --------------------------------------------------------------------------------- transactions */

int write_begin(sqlite3_vtab *vtab) {
  sql_table *table = (sql_table *)vtab;
  int rc;
  /* xUpdate refuses, unless it is a command that reads */
  if (!(table_may(table) & STORE_MAY_WRITE)) return SQLITE_OK;
  rc = table_use(table);
  return rc == SQLITE_OK ? store_begin(table->store, table_may(table), &table->base.zErrMsg) : rc;
}

/* Also the end of CREATE VIRTUAL TABLE: the store must be there and be one. */
static int finish_create(sql_table *table) {
  int rc = table_use(table), may = table_may(table);
  if (rc != SQLITE_OK) return rc;
  if (may & STORE_MAY_WRITE) return store_open_writer(table->store, may, &table->base.zErrMsg);
  return store_open_reader(table->store, may, &table->base.zErrMsg);
}

int write_sync(sqlite3_vtab *vtab) {
  sql_table *table = (sql_table *)vtab;
  int rc = SQLITE_OK;
  if (table->is_fresh && !table->is_function) rc = finish_create(table);
  if (rc == SQLITE_OK && table->store) rc = store_prepare(table->store, &table->base.zErrMsg);
  return rc;
}

int write_commit(sqlite3_vtab *vtab) {
  sql_table *table = (sql_table *)vtab;
  table->is_fresh = 0;
  if (table->store) store_commit(table->store);
  return SQLITE_OK;
}

int write_rollback(sqlite3_vtab *vtab) {
  sql_table *table = (sql_table *)vtab;
  table->is_fresh = 0;
  if (table->store) store_rollback(table->store);
  return SQLITE_OK;
}

int write_savepoint(sqlite3_vtab *vtab, int n) {
  sql_table *table = (sql_table *)vtab;
  return table->store ? store_savepoint(table->store, n) : SQLITE_OK;
}

int write_release(sqlite3_vtab *vtab, int n) {
  sql_table *table = (sql_table *)vtab;
  return table->store ? store_release_savepoint(table->store, n) : SQLITE_OK;
}

int write_rollback_to(sqlite3_vtab *vtab, int n) {
  sql_table *table = (sql_table *)vtab;
  return table->store ? store_rollback_to(table->store, n) : SQLITE_OK;
}
