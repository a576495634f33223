/*
** pipe.c - messages to a bucket, many on their way at once (pipe.h).
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nats/answer.h"
#include "nats/connect.h"
#include "nats/option.h"
#include "nats/pipe.h"
#include "nats/replica.h"

enum { WINDOW = 1024, WINDOW_BYTES = 8 << 20, ANSWER_MS = 15000 };

struct pipeline {
  connection *c;
  natsMsg *prepared; /* NULL: none */
  size_t prepared_size;
  uint64_t sent, stored;       /* sequences: the last that was sent, and of those acknowledged */
  size_t bytes;                /* on their way */
  unsigned long long moved_ms; /* when the first went or the last was acknowledged */
  /* of those on their way, by sequence modulo WINDOW */
  uint64_t tags[WINDOW];
  size_t sizes[WINDOW];
};

stream_rc pipe_open(connection *c, uint64_t last, pipeline **made) {
  char all[300];
  natsStatus s;
  pipeline *p = calloc(1, sizeof *p);
  *made = p;
  if (p == NULL) return stream_fail(STREAM_MEMORY, "out of memory");
  p->c = c;
  p->sent = p->stored = last;
  c->pipe = p;
  connect_inbox(c->pipe_inbox);
  snprintf(all, sizeof all, "%s.*", c->pipe_inbox);
  s = natsConnection_SubscribeSync(&c->stored, c->nats, all);
  if (s == NATS_OK) s = natsSubscription_SetPendingLimits(c->stored, -1, -1);
  return connect_failed(s, "subscribe", c->server.url);
}

void connect_free_pipe(connection *c) {
  if (c->pipe) natsMsg_Destroy(c->pipe->prepared);
  free(c->pipe);
}

size_t pipe_size(const stream_header *headers, int count, maph_slice data) {
  size_t size = 14 + data.size;
  for (int i = 0; i < count; i++) size += strlen(headers[i].name) + strlen(headers[i].value) + 4;
  return size;
}

stream_rc pipe_prepare(pipeline *p, const char *subject, const stream_header *headers, int count,
                       maph_slice data) {
  char room[CONNECT_SUBJECT], reply[300];
  natsMsg *m = NULL;
  natsStatus s;
  if (option.domain) connect_subject(subject, room);
  snprintf(reply, sizeof reply, "%s.%llu", p->c->pipe_inbox, (unsigned long long)p->sent + 1);
  s = natsMsg_Create(&m, option.domain ? room : subject, reply, data.data, (int)data.size);
  for (int i = 0; i < count && s == NATS_OK; i++)
    s = natsMsgHeader_Set(m, headers[i].name, headers[i].value);
  p->prepared = m;
  p->prepared_size = pipe_size(headers, count, data);
  return connect_failed(s, "publish", p->c->server.url);
}

bool pipe_waits(const pipeline *p) { return p->prepared != NULL; }

stream_rc pipe_send(pipeline *p, const stream_header *headers, int count, uint64_t tag) {
  char expected[24];
  size_t at = (p->sent + 1) % WINDOW;
  natsStatus s;
  snprintf(expected, sizeof expected, "%llu", (unsigned long long)p->sent);
  s = natsMsgHeader_Set(p->prepared, "Nats-Expected-Last-Sequence", expected);
  for (int i = 0; i < count && s == NATS_OK; i++)
    s = natsMsgHeader_Set(p->prepared, headers[i].name, headers[i].value);
  if (s == NATS_OK) s = natsConnection_PublishMsg(p->c->nats, p->prepared);
  natsMsg_Destroy(p->prepared);
  p->prepared = NULL;
  if (s != NATS_OK) return connect_failed(s, "publish", p->c->server.url);
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

static stream_rc understand(pipeline *p, natsMsg *m, uint64_t *tag) {
  const char *status = message_header(m, "Status");
  uint64_t sequence;
  stream_rc rc;
  if (status && strcmp(status, "503") == 0)
    return connect_failed(NATS_NO_RESPONDERS, "publish", p->c->server.url);
  rc = connect_look_at(p->c, "publish", m);
  if (rc != STREAM_OK) return rc;
  /* In the order in which they were stored, which is that in which they were sent. */
  if (p->stored == p->sent || !answer_number(message_data(m), "seq", UINT64_MAX, 0, &sequence)
      || sequence != p->stored + 1)
    return stream_fail(STREAM_WRONG, "%s: an acknowledgement of no message that was sent",
                       p->c->server.url);
  p->stored = sequence;
  p->bytes -= p->sizes[sequence % WINDOW];
  *tag = p->tags[sequence % WINDOW];
  p->moved_ms = ticks_ms();
  return STREAM_OK;
}

stream_rc pipe_listen(pipeline *p, int timeout_ms, uint64_t *tag) {
  stream_rc rc = STREAM_OK;
  while (rc == STREAM_OK && p->stored < p->sent) {
    natsMsg *m = NULL;
    natsStatus s = natsSubscription_NextMsg(&m, p->c->stored, timeout_ms);
    if (s == NATS_TIMEOUT) break;
    if (s != NATS_OK) return connect_failed(s, "publish", p->c->server.url);
    rc = understand(p, m, tag);
    natsMsg_Destroy(m);
    timeout_ms = 0;
  }
  if (rc != STREAM_OK || p->stored == p->sent || ticks_ms() - p->moved_ms < ANSWER_MS) return rc;
  if (connect_was_denied(p->c))
    return stream_fail(STREAM_DENIED, "%s: publish: no permission", p->c->server.url);
  return connect_failed(NATS_TIMEOUT, "publish", p->c->server.url);
}
