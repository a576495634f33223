/*
** vtab.c - the virtual table: what it is to its user, and connecting.  The user's manual is
** maph_sqlite.7.
**
** USAGE
**     .load ./maph
**     CREATE VIRTUAL TABLE products USING maph('products.maph');      options: option.c
**     CREATE VIRTUAL TABLE temp.p USING maph('products.maph', mode=ro);  leaves no trace in the
**     database SELECT * FROM maph('products.maph') WHERE key = 'WIDGET-123';  needs no table at
**     all; read-only
**
** EXAMPLE
**     INSERT INTO products VALUES('WIDGET-123', '{"price":29.99}');
**     INSERT OR REPLACE INTO products(key, value, expires_at) VALUES('session-7', 'ada',
**     unixepoch()+3600); SELECT o.id, p.value ->> '$.price' FROM orders o JOIN products p ON p.key
**     = o.sku; UPDATE products SET value = json_set(value, '$.price', 31) WHERE key = 'WIDGET-123'
**     AND version = 17; INSERT INTO products(products) VALUES('check');  commands: command.c
**
** COLUMNS   Declared ones (member.c) stand between key and value, and value is hidden then.
**     key          TEXT or BLOB, 1..65535 bytes, the primary key; the bytes alone make it: 'a' and
**                  x'61' are one key
**     value        anything; comes back as it went in
**     version      hidden, read-only: the transaction that put the row; grows for the life of the
**                  store, the ETag of HTTP
**     expires_at   hidden: seconds since 1970 when the row ends, or NULL
**     _rowid_, rowid, oid
**                  hidden, read-only: the key, for programs that edit rows
**     ttl          hidden, write-only: seconds that the row lives from now on, in place of
**                  expires_at
**
** PLANS     plan.c: key = and key IN are gets; ranges, LIKE 'x%', GLOB 'x*' and ORDER BY key read
**           the store's order of keys (range.c); everything else is one pass over the store.
**
** LOCKING   Reading takes no lock.  The writer lock of the store is held from the first write
**           statement of a transaction to its end (write.c).  All cursors of a statement read one
**           snapshot (store.c).  There is no snapshot from one SELECT to the next inside BEGIN ...
**           COMMIT until something was written: SQLite does not tell virtual tables when a read
**           transaction begins.  To change what was read before, name the version: UPDATE ... WHERE
**           key = ? AND version = ?.
**
** WHAT A VIRTUAL TABLE CANNOT DO in SQLite: UPSERT (use INSERT OR REPLACE, OR IGNORE), RETURNING on
** UPDATE and DELETE (and on INSERT OR IGNORE it also returns what was ignored), triggers and
** indexes on it, ADD COLUMN, and rows in .dump, VACUUM INTO and the backup API (they copy the
** database, not the store).
**
** A TABLE OPENS NOTHING UNTIL IT IS USED: listing the tables of a database from a stranger must be
** harmless (option.c, TRUST).  xCreate is the same function as xConnect, which is what makes the
** table-valued form exist.  The store itself is made by the first use in the transaction of CREATE
** VIRTUAL TABLE, at the latest by its xSync, so that a wrong path makes CREATE fail.  DROP TABLE
** forgets the table and leaves the store alone.
*/
#include "sql.h"
#include <stddef.h>

/* ----------------------------------------------------------------------------------- connecting */

/* The column named as the table takes commands.  _rowid_, rowid and oid are other names of the key:
** tools that edit rows ask for them, and without the columns SQLite would take "rowid" for a
** string, which is the same in every row. */
static int check_name(const sql_table *table, const char *name, char **message) {
  size_t i;
  int is_taken = table_has_column(name);
  for (i = 0; i < table->options.members.count; i++) {
    is_taken |= sqlite3_stricmp(name, table->options.members.list[i].name) == 0;
  }
  if (!is_taken) return SQLITE_OK;
  return fail(
      message, SQLITE_ERROR,
      sqlite3_mprintf("maph: a table cannot be called \"%s\": that is one of its columns", name));
}

/* Declared columns come in place of the value, which is hidden then. */
static char *declared_columns(const sql_table *table) {
  const sql_members *members = &table->options.members;
  char *sql = sqlite3_mprintf("%s", ""), *old;
  size_t i;
  for (i = 0; i < members->count && sql; i++) {
    const sql_member *member = &members->list[i];
    old = sql;
    sql = sqlite3_mprintf("%s\"%w\" %s, ", old, member->name,
                          member->type[0] ? member->type : "ANY BLOB");
    sqlite3_free(old);
  }
  return sql;
}

static int declare(const sql_table *table, sqlite3 *db, char **message) {
  char *declared, *sql = NULL;
  int rc = check_name(table, table->name, message);
  if (rc != SQLITE_OK) return rc;
  declared = declared_columns(table);
  if (declared)
    sql = sqlite3_mprintf(
        "CREATE TABLE x(key TEXT PRIMARY KEY NOT NULL, %svalue ANY BLOB%s, \"%w\" TEXT HIDDEN, "
        "version INTEGER HIDDEN, expires_at REAL HIDDEN, _rowid_ TEXT HIDDEN%s) "
        "WITHOUT ROWID",
        declared, declared[0] ? " HIDDEN" : "", table->is_function ? "file" : table->name,
        table->is_function ? "" : ", rowid TEXT HIDDEN, oid TEXT HIDDEN, ttl REAL HIDDEN");
  sqlite3_free(declared);
  if (sql == NULL) return SQLITE_NOMEM;
  rc = sqlite3_declare_vtab(db, sql);
  sqlite3_free(sql);
  if (rc == SQLITE_ERROR && table->options.members.count > 0) {
    return fail(message, rc,
                sqlite3_mprintf("maph: option columns has a type that SQLite does not read: %s",
                                sqlite3_errmsg(db)));
  }
  if (rc == SQLITE_OK) rc = sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
  if (rc == SQLITE_OK) rc = sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
  return rc;
}

/* How the database keeps its text.  It decides about the order of TEXT. */
static int keeps_utf8(sqlite3 *db) {
  sqlite3_stmt *statement = NULL;
  sqlite3_value *text = NULL;
  int encoding = 0;
  if (sqlite3_prepare_v2(db, "SELECT 'x'", -1, &statement, NULL) == SQLITE_OK
      && sqlite3_step(statement) == SQLITE_ROW) {
    text = sqlite3_value_dup(sqlite3_column_value(statement, 0));
    if (text) encoding = sqlite3_value_encoding(text);
  }
  sqlite3_value_free(text);
  sqlite3_finalize(statement);
  return encoding == SQLITE_UTF8;
}

static void table_free(sql_table *table) {
  sql_table **at = &table->connection->tables;
  while (*at && *at != table) at = &(*at)->next;
  if (*at) *at = table->next;
  store_release(table->store);
  read_forget(table);
  option_clear(&table->options);
  sqlite3_free(table->name);
  sqlite3_free(table->schema);
  connection_release(table->connection);
  sqlite3_free(table);
}

/* Behind white space, comments, and the mark that some editors put before a script. */
static int first_word_is_create(const char *sql) {
  static const char byte_order_mark[] = "\xef\xbb\xbf";
  const char *end;
  while (sql && *sql) {
    if (strchr(" \t\n\f\r;", *sql))
      sql++;
    else if (strncmp(sql, byte_order_mark, 3) == 0)
      sql += 3;
    else if (strncmp(sql, "--", 2) == 0)
      sql += strcspn(sql, "\n");
    else if (strncmp(sql, "/*", 2) == 0)
      sql = (end = strstr(sql + 2, "*/")) != NULL ? end + 2 : "";
    else
      return sqlite3_strnicmp(sql, "CREATE", 6) == 0;
  }
  return 0;
}

/* xCreate and xConnect are one function, as they must be for the table-valued form to exist.  What
** tells them apart: xCreate is called while a CREATE runs, xConnect while a statement is prepared.
*/
static int is_created_now(sqlite3 *db) {
  sqlite3_stmt *statement = NULL;
  while ((statement = sqlite3_next_stmt(db, statement)) != NULL) {
    if (sqlite3_stmt_busy(statement) && first_word_is_create(sqlite3_sql(statement))) return 1;
  }
  return 0;
}

/* xCreate and xConnect.  argv: module, schema, table, then the words between the parentheses. */
static int table_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                         sqlite3_vtab **vtab, char **message) {
  sql_table *table = sqlite3_malloc64(sizeof(*table));
  size_t i;
  int rc = SQLITE_NOMEM;
  if (table == NULL) return SQLITE_NOMEM;
  memset(table, 0, sizeof(*table));
  table->connection = connection_hold(aux);
  table->is_function = argc == 3 && sqlite3_stricmp(argv[0], argv[2]) == 0;
  table->is_own = table->is_fresh = is_created_now(db);
  table->schema = sqlite3_mprintf("%s", argv[1]);
  table->name = sqlite3_mprintf("%s", argv[2]);
  if (table->name == NULL || table->schema == NULL) goto done;
  rc = table->is_function ? SQLITE_OK : option_parse(&table->options, argc - 3, argv + 3, message);
  table->is_utf8 = keeps_utf8(db);
  if (rc == SQLITE_OK) rc = declare(table, db, message);
  for (i = 0; i < table->options.members.count; i++)
    table->options.members.list[i].digits = value_digits(db);
done:
  if (rc != SQLITE_OK) {
    table_free(table);
    return rc;
  }
  if (!table->is_function) {
    table->is_own |= table_is_fresh(table);
    table->next = table->connection->tables;
    table->connection->tables = table;
  }
  *vtab = &table->base;
  return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *vtab) {
  table_free((sql_table *)vtab);
  return SQLITE_OK;
}

/* DROP TABLE.  SQLite tells a dropped table nothing of the end of the transaction, so what it wrote
** must be committed first. */
static int table_destroy(sqlite3_vtab *vtab) {
  sql_table *table = (sql_table *)vtab;
  if (table->store && table->store->txn && maph_txn_operations(table->store->txn) > 0)
    return SQLITE_LOCKED;
  return table_disconnect(vtab);
}

static int table_rename(sqlite3_vtab *vtab, const char *name) {
  /* SQLite connects anew under the new name */
  return check_name((sql_table *)vtab, name, &vtab->zErrMsg);
}

/* A later SQLite reads xIntegrity behind the others, an earlier one not so far. */
_Static_assert(SQLITE_VERSION_NUMBER >= 3044000
                   || offsetof(sql_module, module.xShadowName) + sizeof(void *)
                          == sizeof(sqlite3_module),
               "xIntegrity comes behind xShadowName");

const sql_module vtab_module = {
  .module.iVersion = 4,
#if SQLITE_VERSION_NUMBER >= 3044000
  .module.xIntegrity = command_integrity,
#else
  .xIntegrity = command_integrity,
#endif
  .module.xCreate = table_connect,
  .module.xConnect = table_connect,
  .module.xBestIndex = plan_best_index,
  .module.xDisconnect = table_disconnect,
  .module.xDestroy = table_destroy,
  .module.xOpen = read_open,
  .module.xClose = read_close,
  .module.xFilter = read_filter,
  .module.xNext = read_next,
  .module.xEof = read_eof,
  .module.xColumn = read_column,
  .module.xRowid = read_rowid,
  .module.xUpdate = write_update,
  .module.xBegin = write_begin,
  .module.xSync = write_sync,
  .module.xCommit = write_commit,
  .module.xRollback = write_rollback,
  .module.xRename = table_rename,
  .module.xSavepoint = write_savepoint,
  .module.xRelease = write_release,
  .module.xRollbackTo = write_rollback_to,
};
