/*
** table.c - what reading, planning and writing know of a table: its columns, what it may do, and
** its store.
*/
#include "sql.h"

/* -------------------------------------------------------------------------------------- columns */

int table_has_column(const char *name) {
  static const char *const columns[] = {
    "key", "value", "version", "expires_at", "_rowid_", "ttl"
  };
  size_t i;
  for (i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
    if (sqlite3_stricmp(name, columns[i]) == 0) return 1;
  }
  return 0;
}

int table_column(const sql_table *t, int place) {
  int declared = (int)t->options.members.count;
  if (place <= COLUMN_KEY) return place;
  return place <= declared ? COLUMN_MEMBER : place - declared;
}

sqlite3_value *table_value(const sql_table *t, sqlite3_value **columns, int column) {
  return columns[column == COLUMN_KEY ? 0 : column + (int)t->options.members.count];
}

/* ------------------------------------------------------------------------------------ the store */

int table_may(const sql_table *t) {
  int mode = t->options.mode;
  if (t->is_function || mode == OPTION_RO) return 0;
  if (mode == OPTION_RWC && t->is_fresh
      && sqlite3_txn_state(t->connection->db, t->schema) == SQLITE_TXN_WRITE) {
    return STORE_MAY_WRITE | STORE_MAY_CREATE;
  }
  return STORE_MAY_WRITE;
}

int table_use(sql_table *t) {
  char *resolved = NULL;
  int sync, rc;
  if (t->store) return SQLITE_OK;
  rc = option_resolve(t->connection->db, t->schema, t->is_own, t->options.path, &resolved,
                      &t->base.zErrMsg);
  if (rc == SQLITE_OK) rc = store_hold(t->connection, resolved, &t->store);
  sqlite3_free(resolved);
  if (rc != SQLITE_OK) return rc;
  sync = t->options.sync ? t->options.sync : MAPH_SYNC_NORMAL;
  if (t->options.mode != OPTION_RO && sync > t->store->sync) t->store->sync = sync;
  if (t->options.busy_timeout_ms >= 0) t->store->busy_timeout_ms = t->options.busy_timeout_ms;
  return SQLITE_OK;
}
