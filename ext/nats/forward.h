/*
** forward.h - a write that maph-server hands to maph-replica relay, which speaks with the bucket.
**
** maph-server knows nothing of NATS, and holds no credentials of it.  It connects to a Unix socket,
** sends a question and reads an answer; then the connection is closed.  Both begin with a head of a
** fixed form, whose first bytes name the protocol and its version; behind it are the texts that it
** gives the sizes of.  Both ends are on one machine: numbers are in its byte order, times are ticks
** of CLOCK_MONOTONIC in milliseconds.  What a head says is compared with the limits here before
** anything of it is believed.
**
** A write has an IDENTITY, made by whoever asks first.  When an answer does not come, since the
** relay was killed for instance, the same question is asked again with `sent_ms`, and the bucket is
** searched for the identity: it is done once.
**
** This includes nothing of NATS.
*/
#ifndef MAPH_NATS_FORWARD_H
#define MAPH_NATS_FORWARD_H

#include <stdbool.h>
#include <stdint.h>
#include "maph.h"

enum {
  FORWARD_TAGS = 32,
  FORWARD_IDENTITY = 40,
  FORWARD_BUCKET = 252,
  FORWARD_FILTER = 255,
  FORWARD_KEY = 65536,
  FORWARD_MEDIA_TYPE = 255,
  FORWARD_SENTENCE = 1024,
  FORWARD_VALUE = 64 << 20 /* a server of NATS takes no larger message, whatever it is told */
};

typedef enum forward_what { FORWARD_PUT = 1, FORWARD_DELETE, FORWARD_GET } forward_what;

/* If-Match or If-None-Match: any, or the revisions in it. */
typedef struct forward_tags {
  uint32_t present, any, count, unused;
  uint64_t revisions[FORWARD_TAGS];
} forward_tags;

typedef struct forward_question {
  forward_what what;
  int type;             /* of the value, MAPH_TEXT ... */
  uint64_t deadline_ms; /* nothing is begun later */
  uint64_t sent_ms;     /* when it was asked first, of a write asked again; else 0 */
  uint64_t expires;     /* ms since 1970; 0: never */
  char identity[FORWARD_IDENTITY];
  forward_tags match, none_match;
  maph_slice bucket, filter, key, media_type, value; /* filter, media_type: size 0 for none */
  void *memory; /* of one that was received, in which these lie: to be freed */
} forward_question;

typedef enum forward_outcome {
  FORWARD_DONE = 1, /* once */
  FORWARD_NOT_HELD, /* a condition; or there is no such key to delete or get.  Nothing is written */
  FORWARD_UNAVAILABLE, /* nothing is written, and that may pass */
  FORWARD_BAD_KEY,     /* it has no form in the bucket.  This and the next: nothing is written */
  FORWARD_TOO_BIG,
  FORWARD_DENIED,  /* the relay, or the server, does not let us */
  FORWARD_UNKNOWN, /* perhaps it is written, or will be */
  FORWARD_OUTCOMES
} forward_outcome;

typedef struct forward_answer {
  forward_outcome outcome;
  /* Of DONE: the write's, or the entry's.  Of NOT_HELD and UNKNOWN: that the key is at; 0: it is
  ** not there, or not known. */
  uint64_t revision, expires;
  bool existed; /* of a write that is DONE: the key was there before */
  int type;
  char sentence[FORWARD_SENTENCE]; /* of what is not DONE */
  maph_slice media_type, value;    /* of a GET that is DONE */
  void *memory;
} forward_answer;

/* Of sending and receiving: NULL, or what went wrong, in memory of the thread.  They end at
** `until`, in ticks. */
const char *forward_send_question(int fd, const forward_question *question, uint64_t until);
const char *forward_receive_question(int fd, forward_question *question, uint64_t until);
const char *forward_send_answer(int fd, const forward_answer *answer, uint64_t until);
const char *forward_receive_answer(int fd, forward_answer *answer, uint64_t until);

/* Connect to the relay.  -1: errno says why; EAGAIN: so many others wait to, until then. */
int forward_connect(const char *path, uint64_t until);
uint64_t forward_ticks(void);
void forward_identity(char room[FORWARD_IDENTITY]);

#endif
