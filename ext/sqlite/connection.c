/*
** connection.c - one sql_connection for each connection of SQLite that loaded the extension.
**
** Modules, functions, tables and stores hold it, each in its own name: sqlite3_drop_modules() takes
** the modules away and leaves the functions, closing takes them in any order.  It is found again
** when the extension is loaded into the connection once more.
*/
#include "sql.h"
#include <pthread.h>

static sql_connection *connections;                       /* of the process; with mutex */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* SQLite's own may be omitted */

sql_connection *connection_of(sqlite3 *db) {
  sql_connection *connection;
  pthread_mutex_lock(&mutex);
  for (connection = connections; connection && connection->db != db;
       connection = connection->next) {}
  if (connection) connection->holders++;
  pthread_mutex_unlock(&mutex);
  return connection;
}

sql_connection *connection_new(sqlite3 *db) {
  sql_connection *connection = sqlite3_malloc64(sizeof(*connection));
  if (connection == NULL) return NULL;
  memset(connection, 0, sizeof(*connection));
  connection->db = db;
  connection->holders = 1;
  pthread_mutex_lock(&mutex);
  connection->next = connections;
  connections = connection;
  pthread_mutex_unlock(&mutex);
  return connection;
}

sql_connection *connection_hold(sql_connection *connection) {
  connection->holders++;
  return connection;
}

void connection_release(void *connection) {
  sql_connection **at, *c = connection;
  if (c == NULL || --c->holders > 0) return;
  pthread_mutex_lock(&mutex);
  for (at = &connections; *at && *at != c; at = &(*at)->next) {}
  if (*at) *at = c->next;
  pthread_mutex_unlock(&mutex);
  pulse_rest(c);
  buffer_forget(c);
  sqlite3_free(c);
}
