/*
** put.h - one write to a bucket: a value or a delete, with a condition, to a certain end.
**
** The bucket decides.  Each write has an identity (Nats-Msg-Id), which the server stores once: what
** is not answered is looked for, and sent again under the same identity.  So a write that is DONE
** was done once, and one that is REFUSED never; of the third, UNKNOWN, nothing is said.
**
** A CONDITION holds when the key's last message is the one that it names.  The server compares it
** with the key's last sequence.  One older than 2.9.21, of a bucket that several servers hold, does
** that before they have agreed on an order, and lets two writers win; the last sequence of the
** whole bucket is compared afterwards.  There both are sent, and whoever is beaten by another key's
** writer tries again.
*/
#ifndef MAPH_NATS_PUT_H
#define MAPH_NATS_PUT_H

#include <stdbool.h>
#include <stdint.h>
#include "nats/kv.h"
#include "nats/stream.h"

typedef enum put_when {
  PUT_ALWAYS,
  PUT_IF_ABSENT,
  PUT_IF_PRESENT, /* for a delete: it is there */
  PUT_IF_REVISION
} put_when;

typedef struct put_request {
  const char *bucket;
  maph_slice key, value;
  bool deletes; /* the key; value is empty */
  put_when when;
  uint64_t revision;            /* of PUT_IF_REVISION */
  const char *type, *media_type; /* as entry_type_name; NULL: not said */
  uint64_t expires;             /* ms since 1970; 0: never */
  uint64_t timeout_ms;
} put_request;

typedef enum put_outcome {
  PUT_DONE,
  PUT_NOT_HELD, /* the condition; nothing was written */
  PUT_REFUSED,  /* nothing was written */
  PUT_UNKNOWN   /* nobody answered: perhaps it was, or will be */
} put_outcome;

enum { PUT_SENTENCE = 640 };
typedef struct put_result {
  uint64_t revision; /* DONE: of what was written.  NOT_HELD: that the key is at; 0: not there */
  char sentence[PUT_SENTENCE]; /* of the last two, and of NOT_HELD */
} put_result;

put_outcome put_write(const put_request *request, put_result *result);

/* What the leader has of a key.  STREAM_NONE: it is not there, or its time is over.  Tries again as
** put_write does.  found is to be freed with stored_free, and entry lies in it.  sentence: of the
** failure. */
stream_rc put_read(const char *bucket, maph_slice key, uint64_t timeout_ms, stored *found,
                   kv_entry *entry, char sentence[PUT_SENTENCE]);

/* A number for each write, that no other has. */
enum { PUT_IDENTITY = 40 };
void put_identity(char room[PUT_IDENTITY]);

#endif
