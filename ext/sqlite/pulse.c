/*
** pulse.c - how a long call hears that it should stop.
**
** SQLite looks for sqlite3_interrupt() and calls the progress handler between the instructions of a
** statement.  A scan that lets no row through, or a wait for another writer, runs none.  So every
** now and then a statement of our own runs for a while, the ticker, within the one that waits:
** SQLite stops it with SQLITE_INTERRUPT where it would stop the other.  The ticker's instructions
** count towards the handler's next call, as those for the rows would have; so it stays prepared
** until the long call ends.  This works with every version; sqlite3_is_interrupted() would need
** 3.41 and knows no progress handler.
**
** An authorizer that forbids the ticker makes the call deaf, not wrong.
*/
#include "sql.h"

/* About a thousand instructions. */
static const char ticker[] =
    "WITH RECURSIVE maph_tick(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM maph_tick WHERE i<70) "
    "SELECT max(i) FROM maph_tick";

int pulse_tick(sql_connection *connection) {
  int rc = SQLITE_OK;
  if (connection->ticker == NULL)
    rc = sqlite3_prepare_v2(connection->db, ticker, -1, &connection->ticker, NULL);
  if (rc == SQLITE_OK) {
    sqlite3_step(connection->ticker);
    rc = sqlite3_reset(connection->ticker);
  }
  return rc == SQLITE_INTERRUPT ? rc : SQLITE_OK;
}

void pulse_rest(sql_connection *connection) {
  sqlite3_finalize(connection->ticker);
  connection->ticker = NULL;
}

/* 500: long enough for a commit of another program, and not for a long transaction of one. */
int pulse_timeout_ms(sql_connection *connection) {
  sqlite3_stmt *statement = NULL;
  int ms = 0;
  if (sqlite3_prepare_v2(connection->db, "PRAGMA busy_timeout", -1, &statement, NULL) == SQLITE_OK
      && sqlite3_step(statement) == SQLITE_ROW) {
    ms = sqlite3_column_int(statement, 0);
  }
  sqlite3_finalize(statement);
  return ms > 0 ? ms : 500;
}
