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
  sql_connection *c;
  pthread_mutex_lock(&mutex);
  for (c = connections; c && c->db != db; c = c->next) {}
  if (c) c->holders++;
  pthread_mutex_unlock(&mutex);
  return c;
}

sql_connection *connection_new(sqlite3 *db) {
  sql_connection *c = sqlite3_malloc64(sizeof(*c));
  if (c == NULL) return NULL;
  memset(c, 0, sizeof(*c));
  c->db = db;
  c->holders = 1;
  pthread_mutex_lock(&mutex);
  c->next = connections;
  connections = c;
  pthread_mutex_unlock(&mutex);
  return c;
}

sql_connection *connection_hold(sql_connection *c) {
  c->holders++;
  return c;
}

void connection_release(void *connection) {
  sql_connection **at, *c = connection;
  if (c == NULL || --c->holders > 0) return;
  pthread_mutex_lock(&mutex);
  for (at = &connections; *at && *at != c; at = &(*at)->next) {}
  if (*at) *at = c->next;
  pthread_mutex_unlock(&mutex);
  pulse_rest(c);
  sqlite3_free(c);
}
