/*
** stream.h - a connection to a server of NATS, what a bucket's stream is like, and messages to it.
** What the stream holds is read by stored.h and consumer.h; many messages go through pipe.h.
**
** nats.h is known in ask.c, connect.c, consumer.c, pipe.c and stream.c alone.  They and stored.c
** know how JetStream spells its requests.
**
** A bucket is the stream KV_BUCKET; a key is the subject $KV.BUCKET.KEY.  What a server says is
** believed only after its form was looked at: numbers are numbers within their bounds, times are
** times, texts fit.  What does not is STREAM_WRONG, and the caller ends its session.
**
** RESULTS.  A stream_rc; stream_errmsg() is then a sentence about the last failure of this thread,
** stream_code() what the server called it.
**
** ASKED AGAIN.  A cluster that has no leader answers nothing, and what was asked of a server that
** was killed is lost.  So a question that changes nothing is sent again each one or two seconds
** until it is answered, or its time is over; an answer that comes late counts as well (ask.h).
**
** THREADS.  A connection and what hangs on it are for one thread.  nats.c has threads of its own,
** but calls none of ours.
**
** libnats 3.4.1 may never come back from natsConnection_Connect, and lets go of a subscription
** while messages arrive only at a risk.  So a connection is made where a parent watches (child.h),
** it never reconnects by itself, and it is closed before what hangs on it is freed.
*/
#ifndef MAPH_NATS_STREAM_H
#define MAPH_NATS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "maph.h"

typedef enum stream_rc {
  STREAM_OK = 0,
  STREAM_NONE,    /* no such bucket, key or message */
  STREAM_TIMEOUT, /* no answer in time; what was asked for may have been done */
  STREAM_LOST,    /* no server could be reached, or the connection is gone */
  STREAM_DENIED,  /* the server does not let this user do it */
  STREAM_REFUSED, /* the server answered an error: stream_code() */
  STREAM_WRONG,   /* an answer that cannot be believed */
  STREAM_TOO_BIG, /* more than this connection, or the stream, takes */
  STREAM_MISUSE,  /* what the options say cannot be done: a file that cannot be read, ... */
  STREAM_MEMORY
} stream_rc;

const char *stream_errmsg(void);
/* JetStream's own number of an error it answered, such as STREAM_CODE_SEQUENCE; 0: none. */
unsigned stream_code(void);
enum {
  STREAM_CODE_NO_STREAM = 10059,
  STREAM_CODE_NO_MESSAGE = 10037,
  STREAM_CODE_SEQUENCE = 10071,    /* an expected last sequence was another one */
  STREAM_CODE_EXISTS = 10058,      /* a stream of that name, made otherwise */
  STREAM_CODE_UNAVAILABLE = 10008, /* a cluster has no leader just now */
  STREAM_CODE_NO_LEADER = 10009,
  STREAM_CODE_OFFLINE = 10118,
  STREAM_CODE_NOBODY = 503 /* nobody takes requests: JetStream is off, or not on yet */
};
/* Note a failure; returns rc. */
__attribute__((format(printf, 2, 3))) stream_rc stream_fail(stream_rc rc, const char *format, ...);

/* JetStream's requests may wait for the disk, and creating a consumer with a filter for a look
** through all keys. */
enum { STREAM_PATIENCE_MS = 60000 };

/* ----------------------------------------------------------------------------------- connection */
typedef struct connection connection;

/* What a server says of itself to whoever comes. */
typedef struct server_info {
  char url[512]; /* without names and passwords */
  char version[32];
  uint64_t max_payload;
  bool tls; /* it is spoken with through TLS */
} server_info;

/* Ask the servers of the options, in a random order, for their INFO, and sign in at the first that
** lets us.  LOST DENIED MISUSE MEMORY */
stream_rc connection_open(connection **made);
/* The same, in a process that nobody watches: it ends where libnats does not come back. */
stream_rc connection_open_alone(connection **made);
/* Close it, then free it and what hangs on it.  NULL: no-op. */
void connection_close(connection *connection);
const server_info *connection_server(const connection *connection);
/* Is the server older than that, or did it not tell? */
bool connection_before(const connection *connection, unsigned major, unsigned minor,
                       unsigned patch);
/* How long requests of this connection are waited for; STREAM_PATIENCE_MS. */
void connection_patience(connection *connection, int ms);
/* For a while nothing was heard of it, or it said that it is gone. */
bool connection_lost(connection *connection);

/* ------------------------------------------------------------------------------------- messages */
typedef struct __natsMsg message;
maph_slice message_data(const message *message);
const char *message_subject(const message *message);
const char *message_reply(const message *message); /* NULL: it wants none */
/* The value of a header, or NULL.  It lies in the message. */
const char *message_header(message *message, const char *name);
void message_free(message *message); /* NULL: no-op */

/* A request to the API of JetStream, such as STREAM.INFO.KV_b, and its answer, which is JSON that
** tells no error.  NONE: it tells that there is no such stream or message.
** NONE TIMEOUT LOST REFUSED WRONG MEMORY; *answer is NULL then. */
stream_rc stream_ask(connection *connection, const char *what, maph_slice json, int timeout_ms,
                     message **answer);

/* --------------------------------------------------------------------------------------- bucket */
enum { STREAM_NAME = 256 };
typedef struct stream_info {
  char created[64]; /* as the server writes it: with the stream's name it names this incarnation */
  uint64_t messages, first, last, subjects; /* sequences: 0 where the stream is empty */
  uint64_t max_age_ns;                      /* 0: for ever */
  uint64_t duplicates_ns;                   /* how long a message's identity is remembered */
  uint64_t history;                         /* messages kept of a key */
  int64_t max_value;                        /* bytes; -1: as the server */
  int64_t max_bytes, max_messages;          /* of all; -1: no limit */
  uint64_t replicas;
  bool direct;  /* DIRECT.GET may be asked */
  bool markers; /* deletes leave markers by themselves, and messages may have a time to live */
  bool escaped; /* its keys are =XX: said in the description */
  bool memory;  /* it lives in memory */
  bool mixes;   /* it has sources or transforms, so that subjects of other buckets may be in it */
  bool drops;   /* where it is full it lets go of what is oldest, and no message tells so */
  char origin[STREAM_NAME]; /* the bucket that its subjects are of: a mirror has another one's */
  char leader[128];         /* of a cluster; "" */
} stream_info;
/* NONE: there is no such bucket.  REFUSED: a stream of that name that is no bucket. */
stream_rc stream_look(connection *connection, const char *bucket, stream_info *info);
/* A message of that subject was read, which is no key of the bucket: what stream_errmsg() says, for
** ever (MISUSE) where the stream is made so that it may have such, or for now (WRONG). */
stream_rc stream_foreign(const char *bucket, const stream_info *info, const char *subject);

/* -------------------------------------------------------------------------------------- publish */
typedef struct stream_header {
  const char *name, *value;
} stream_header;
/* Store a message, and wait for the acknowledgement.  *sequence: what it became.  TOO_BIG: nothing
** was sent.  REFUSED: it was not stored.  TIMEOUT LOST: perhaps it was: look for its Nats-Msg-Id.
** `duplicate` (may be NULL): it had been stored before. */
stream_rc stream_publish(connection *connection, const char *subject, const stream_header *headers,
                         int headers_count, maph_slice data, int timeout_ms, uint64_t *sequence,
                         bool *duplicate);

#endif
