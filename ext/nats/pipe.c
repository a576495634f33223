/*
** pipe.c - messages to a bucket, many on their way at once (pipe.h).
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nats/answer.h"
#include "nats/ask.h"
#include "nats/connect.h"
#include "nats/option.h"
#include "nats/pipe.h"
#include "nats/replica.h"

enum { WINDOW = 1024, WINDOW_BYTES = 8 << 20, ANSWER_MS = 15000 };

struct pipeline {
  connection *connection;
  natsMsg *prepared; /* NULL: none */
  size_t prepared_size;
  uint64_t sent, stored;       /* sequences: the last that was sent, and of those acknowledged */
  size_t bytes;                /* on their way */
  unsigned long long moved_ms; /* when the first went or the last was acknowledged */
  /* of those on their way, by sequence modulo WINDOW */
  uint64_t tags[WINDOW];
  size_t sizes[WINDOW];
};

stream_rc pipe_open(connection *connection, uint64_t last, pipeline **made) {
  char all[300];
  natsStatus status;
  pipeline *p = calloc(1, sizeof *p);
  *made = p;
  if (p == NULL) return stream_fail(STREAM_MEMORY, "out of memory");
  p->connection = connection;
  p->sent = p->stored = last;
  connection->pipe = p;
  connect_inbox(connection->pipe_inbox);
  snprintf(all, sizeof all, "%s.*", connection->pipe_inbox);
  status = natsConnection_SubscribeSync(&connection->stored, connection->nats, all);
  if (status == NATS_OK) status = natsSubscription_SetPendingLimits(connection->stored, -1, -1);
  return connect_failed(status, "subscribe", connection->server.url);
}

void connect_free_pipe(connection *connection) {
  if (connection->pipe) natsMsg_Destroy(connection->pipe->prepared);
  free(connection->pipe);
}

size_t pipe_size(const stream_header *headers, int count, maph_slice data) {
  size_t size = 14 + data.size;
  for (int i = 0; i < count; i++) size += strlen(headers[i].name) + strlen(headers[i].value) + 4;
  return size;
}

stream_rc pipe_prepare(pipeline *p, const char *subject, const stream_header *headers, int count,
                       maph_slice data) {
  char room[ASK_SUBJECT], reply[300];
  natsMsg *msg = NULL;
  natsStatus status;
  if (option.domain) ask_subject(subject, room);
  snprintf(reply, sizeof reply, "%s.%llu", p->connection->pipe_inbox,
           (unsigned long long)p->sent + 1);
  status = natsMsg_Create(&msg, option.domain ? room : subject, reply, data.data, (int)data.size);
  for (int i = 0; i < count && status == NATS_OK; i++)
    status = natsMsgHeader_Set(msg, headers[i].name, headers[i].value);
  p->prepared = msg;
  p->prepared_size = pipe_size(headers, count, data);
  return connect_failed(status, "publish", p->connection->server.url);
}

bool pipe_waits(const pipeline *p) { return p->prepared != NULL; }

stream_rc pipe_send(pipeline *p, const stream_header *headers, int count, uint64_t tag) {
  char expected[24];
  size_t at = (p->sent + 1) % WINDOW;
  natsStatus status;
  snprintf(expected, sizeof expected, "%llu", (unsigned long long)p->sent);
  status = natsMsgHeader_Set(p->prepared, "Nats-Expected-Last-Sequence", expected);
  for (int i = 0; i < count && status == NATS_OK; i++)
    status = natsMsgHeader_Set(p->prepared, headers[i].name, headers[i].value);
  if (status == NATS_OK) status = natsConnection_PublishMsg(p->connection->nats, p->prepared);
  natsMsg_Destroy(p->prepared);
  p->prepared = NULL;
  if (status != NATS_OK) return connect_failed(status, "publish", p->connection->server.url);
  if (p->sent == p->stored) p->moved_ms = ticks_ms();
  p->sent++;
  p->tags[at] = tag;
  p->sizes[at] = p->prepared_size;
  p->bytes += p->prepared_size;
  return STREAM_OK;
}

bool pipe_full(const pipeline *p) {
  return p->sent - p->stored >= WINDOW || p->bytes >= WINDOW_BYTES;
}
size_t pipe_on_its_way(const pipeline *p) { return (size_t)(p->sent - p->stored); }
uint64_t pipe_stored(const pipeline *p) { return p->stored; }

static stream_rc understand(pipeline *p, natsMsg *msg, uint64_t *tag) {
  const char *status = message_header(msg, "Status");
  uint64_t sequence;
  stream_rc rc;
  if (status && strcmp(status, "503") == 0)
    return connect_failed(NATS_NO_RESPONDERS, "publish", p->connection->server.url);
  rc = ask_look_at(p->connection, "publish", msg);
  if (rc != STREAM_OK) return rc;
  /* In the order in which they were stored, which is that in which they were sent. */
  if (p->stored == p->sent || !answer_number(message_data(msg), "seq", UINT64_MAX, 0, &sequence)
      || sequence != p->stored + 1)
    return stream_fail(STREAM_WRONG, "%s: an acknowledgement of no message that was sent",
                       p->connection->server.url);
  p->stored = sequence;
  p->bytes -= p->sizes[sequence % WINDOW];
  *tag = p->tags[sequence % WINDOW];
  p->moved_ms = ticks_ms();
  return STREAM_OK;
}

stream_rc pipe_listen(pipeline *p, int timeout_ms, uint64_t *tag) {
  stream_rc rc = STREAM_OK;
  while (rc == STREAM_OK && p->stored < p->sent) {
    natsMsg *msg = NULL;
    natsStatus status = natsSubscription_NextMsg(&msg, p->connection->stored, timeout_ms);
    if (status == NATS_TIMEOUT) break;
    if (status != NATS_OK) return connect_failed(status, "publish", p->connection->server.url);
    rc = understand(p, msg, tag);
    natsMsg_Destroy(msg);
    timeout_ms = 0;
  }
  if (rc != STREAM_OK || p->stored == p->sent || ticks_ms() - p->moved_ms < ANSWER_MS) return rc;
  if (ask_was_denied(p->connection, ""))
    return stream_fail(STREAM_DENIED, "%s: publish: no permission", p->connection->server.url);
  return connect_failed(NATS_TIMEOUT, "publish", p->connection->server.url);
}
