/*
** buffer.c - where the bytes of a result lie until SQLite has done with them.
**
** SQLite copies the bytes of a result into memory that it allocates, which costs the first result
** of each column some hundred instructions: Debian's SQLite has no lookaside, and counts its memory
** under a mutex.  A statement that looks up one key has no other result.  So the connection keeps
** some buffers: a result lies in one, with a destructor by which SQLite gives it back.  Later rows
** are better copied: SQLite then has memory for the column.
**
** A lent buffer holds its connection, so that it may come back last.
*/
#include "sql.h"
#include <stddef.h>

enum { SPARE_MOST = 8 };

typedef struct sql_buffer {
  sql_connection *connection;
  struct sql_buffer *next;
  char bytes[BUFFER_SIZE];
} sql_buffer;

char *buffer_lend(sql_connection *connection) {
  sql_buffer *buffer = connection->buffers;
  if (buffer) {
    connection->buffers = buffer->next;
    connection->buffer_count--;
  } else {
    buffer = sqlite3_malloc64(sizeof(*buffer));
    if (buffer == NULL) return NULL;
  }
  buffer->connection = connection_hold(connection);
  return buffer->bytes;
}

void buffer_back(void *bytes) {
  sql_buffer *buffer = (sql_buffer *)(void *)((char *)bytes - offsetof(sql_buffer, bytes));
  sql_connection *connection = buffer->connection;
  if (connection->buffer_count < SPARE_MOST) {
    buffer->next = connection->buffers;
    connection->buffers = buffer;
    connection->buffer_count++;
  } else {
    sqlite3_free(buffer);
  }
  connection_release(connection);
}

void buffer_forget(sql_connection *connection) {
  sql_buffer *buffer;
  while ((buffer = connection->buffers) != NULL) {
    connection->buffers = buffer->next;
    sqlite3_free(buffer);
  }
}
