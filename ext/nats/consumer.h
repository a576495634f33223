/*
** consumer.h - what a replica reads a bucket by.
*/
#ifndef MAPH_NATS_CONSUMER_H
#define MAPH_NATS_CONSUMER_H

#include "nats/stream.h"

/* All messages of a bucket from a sequence on, in order, and then those that come.  The server
** sends as much as its window holds, asks then (FLOW), and sends on once that is answered: who
** answers after a commit is never drowned. */
typedef struct consumer consumer;

typedef enum event {
  EVENT_NOTHING,   /* nothing came */
  EVENT_MESSAGE,   /* message, key, sequence, delivered, time_ns, behind */
  EVENT_FLOW,      /* answer `reply` once all before it is done */
  EVENT_HEARTBEAT, /* delivered and sequence are the last that the server has sent; behind; reply:
                   ** stalled, answer it */
  EVENT_LOST,      /* the connection, or messages, are gone */
  EVENT_FOREIGN,   /* a message that is no key of the bucket: its subject is in `reply` */
  EVENT_WRONG      /* what no server sends: stream_errmsg() */
} event;
typedef struct delivery {
  message *message; /* of EVENT_MESSAGE: to be freed */
  maph_slice key;   /* the subject behind $KV.BUCKET. */
  uint64_t sequence, delivered, time_ns;
  uint64_t behind; /* so many more the server has to deliver now; UINT64_MAX: it did not tell */
  int part;        /* of a transaction: TXN_NONE, or what group_read said (group.h) */
  char reply[256]; /* "": nothing to answer */
} delivery;

/* It is asked for again where nobody answers.  `filter`: keys that match that, such as user.> , and
** it waits STREAM_PATIENCE_MS; NULL: all. */
stream_rc consumer_open(connection *connection, const char *bucket, const char *origin,
                        const char *filter, uint64_t from, const char *description,
                        consumer **made);
/* timeout_ms 0: what is here already. */
event consumer_next(consumer *consumer, int timeout_ms, delivery *delivery);
stream_rc consumer_answer(consumer *consumer, const char *reply);
/* No more of it is wanted.  It is freed with its connection.  NULL: no-op. */
void consumer_close(consumer *consumer);

#endif
