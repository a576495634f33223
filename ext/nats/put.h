/*
** put.h - one write to a bucket: a value or a delete, with a condition, to a certain end.
**
** The bucket decides.  Each write has an identity (Nats-Msg-Id), which the server stores once: what
** is not answered is looked for, and sent again under the same identity.  So a write that is DONE
** was done once, and one that is REFUSED never; one that is UNKNOWN may or may not be done.
**
** A CONDITION holds when the key's last message is the one that it names.  The server compares it
** with the key's last sequence.  One older than 2.9.21, of a bucket that several servers hold, does
** that before they have agreed on an order, and lets two writers win; the last sequence of the
** whole bucket is compared afterwards.  There both are sent, and whoever is beaten by another key's
** writer tries again.
**
** A bucket that a store is published to (publish.h) takes no other writes, which would end its
** publisher: the bucket's last message says whose it is.
*/
#ifndef MAPH_NATS_PUT_H
#define MAPH_NATS_PUT_H

#include <stdbool.h>
#include <stdint.h>
#include "nats/keys.h"
#include "nats/kv.h"
#include "nats/stored.h"

typedef enum put_when {
  PUT_ALWAYS,
  PUT_IF_ABSENT,
  PUT_IF_PRESENT, /* for a delete: it is there */
  PUT_IF_REVISION,
  PUT_IF_HELD /* by `holds` */
} put_when;

/* Does the condition hold of a key that is there at that revision, or is not there (0)? */
typedef bool (*put_condition)(const void *arg, bool there, uint64_t revision);

typedef struct put_request {
  const char *bucket;
  maph_slice key, value;
  bool deletes; /* the key; value is empty */
  put_when when;
  uint64_t revision;   /* of PUT_IF_REVISION */
  put_condition holds; /* of PUT_IF_HELD */
  const void *arg;
  bool tells_existed;            /* result->existed is wanted, which takes a look at the key */
  const char *type, *media_type; /* as entry_type_name; NULL: not said */
  uint64_t expires;              /* ms since 1970; 0: never */
  uint64_t timeout_ms;
  /* Whoever asks again brings the identity that it had first, and when that was (ticks_ms). */
  const char *identity; /* NULL: a new one */
  unsigned long long sent_ms;
  const char *filter; /* the key is of those that match this, such as user.>; NULL: of all */
} put_request;

/* A connection that is kept from one write to the next, by one thread; zeros: none yet. */
typedef struct put_session {
  connection *link;
  char bucket[KEYS_BUCKET + 1]; /* that is known, since looked_ms */
  stream_info info;
  unsigned long long looked_ms;
  uint64_t unpublished; /* the last sequence that is known to be of no store; 0: none is */
} put_session;
void put_session_end(put_session *session);

typedef enum put_outcome {
  PUT_DONE,
  PUT_NOT_HELD, /* the condition; nothing was written */
  PUT_REFUSED,  /* nothing was written */
  PUT_UNKNOWN   /* nobody answered: perhaps it was, or will be */
} put_outcome;

/* Why it was refused. */
typedef enum put_reason {
  PUT_UNAVAILABLE, /* no server, no bucket, no answer, no room: that may pass */
  PUT_BAD_KEY,
  PUT_TOO_LARGE,
  PUT_DENIED
} put_reason;

enum { PUT_SENTENCE = 640 };
typedef struct put_result {
  put_reason reason; /* of REFUSED */
  bool existed;      /* of DONE, where that is wanted */
  uint64_t revision; /* DONE: of what was written.  NOT_HELD: that the key is at; 0: not there */
  char sentence[PUT_SENTENCE]; /* of the last two, and of NOT_HELD */
} put_result;

/* session NULL: a connection for this write alone. */
put_outcome put_write(put_session *session, const put_request *request, put_result *result);

/* What the leader has of the request's key.  STREAM_NONE: it is not there, or its time is over.
** Tries again as put_write does.  found is to be freed with stored_free, and entry lies in it.
** *result: the reason and the sentence of a failure. */
stream_rc put_read(put_session *session, const put_request *request, stored *found, kv_entry *entry,
                   put_result *result);

#endif
