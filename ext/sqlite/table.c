/*
** table.c - what reading, planning and writing know of a table: its columns, what it may do, and
** its store.
*/
#include "sql.h"

/* -------------------------------------------------------------------------------------- columns */

int table_has_column(const char *name) {
  static const char *const columns[] = { "key",     "value", "version", "expires_at",
                                         "_rowid_", "rowid", "oid",     "ttl" };
  size_t i;
  for (i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
    if (sqlite3_stricmp(name, columns[i]) == 0) return 1;
  }
  return 0;
}

int table_column(const sql_table *table, int place) {
  int declared = (int)table->options.members.count;
  if (place <= COLUMN_KEY) return place;
  return place <= declared ? COLUMN_MEMBER : place - declared;
}

/* ------------------------------------------------------------------------------------ the store */

/* In the transaction of its CREATE, SQLite connects a table anew under another name (ALTER TABLE),
** and where a ROLLBACK TO takes other changes of the schema back.  The one that was created lives
** until the transaction ends. */
int table_is_fresh(const sql_table *table) {
  const sql_table *other;
  if (table->is_fresh) return 1;
  for (other = table->connection->tables; other; other = other->next) {
    if (other->is_fresh && sqlite3_stricmp(other->schema, table->schema) == 0
        && strcmp(other->options.path, table->options.path) == 0)
      return 1;
  }
  return 0;
}

int table_may(const sql_table *table) {
  int mode = table->options.mode;
  if (table->is_function || mode == OPTION_RO) return 0;
  if (mode == OPTION_RWC && table_is_fresh(table)
      && sqlite3_txn_state(table->connection->db, table->schema) == SQLITE_TXN_WRITE) {
    return STORE_MAY_WRITE | STORE_MAY_CREATE;
  }
  return STORE_MAY_WRITE;
}

int table_use(sql_table *table) {
  char *resolved = NULL;
  int sync, rc;
  if (table->store) return SQLITE_OK;
  rc = option_resolve(table->connection->db, table->schema, table->is_own, table->options.path,
                      &resolved, &table->base.zErrMsg);
  if (rc == SQLITE_OK) rc = store_hold(table->connection, resolved, &table->store);
  sqlite3_free(resolved);
  if (rc != SQLITE_OK) return rc;
  sync = table->options.sync ? table->options.sync : MAPH_SYNC_NORMAL;
  if (table->options.mode != OPTION_RO && sync > table->store->sync) table->store->sync = sync;
  if (table->options.busy_timeout_ms >= 0)
    table->store->busy_timeout_ms = table->options.busy_timeout_ms;
  return SQLITE_OK;
}
