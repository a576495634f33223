/*
** stored.h - messages that a bucket holds, asked for one by one or many at once.
*/
#ifndef MAPH_NATS_STORED_H
#define MAPH_NATS_STORED_H

#include "nats/stream.h"

/* A message that is stored, as the leader has it. */
typedef struct stored {
  uint64_t sequence, time_ns;
  maph_slice subject, headers, data;
  void *memory; /* that these lie in */
} stored;
/* The message of that sequence; the last one of that subject.  NONE: there is none. */
stream_rc stored_get(connection *connection, const char *bucket, uint64_t sequence, stored *found);
stream_rc stored_get_last(connection *connection, const char *bucket, const char *subject,
                          stored *found);
void stored_free(stored *stored);
/* The value of a header; size 0: it has none. */
maph_slice stored_header(const stored *stored, const char *name);

/* The same of many, all on their way at once: each is told once, in any order; NULL: there is none.
** Whoever keeps one sets its memory to NULL.  TIMEOUT LOST WRONG ...: not all were told. */
typedef struct stored_question {
  const char *subject; /* the last message of it; NULL: the one of that sequence */
  uint64_t sequence;
} stored_question;
typedef void (*stored_fn)(void *arg, size_t which, stored *found);
stream_rc stored_get_each(connection *connection, const char *bucket, size_t n,
                          const stored_question *questions, stored_fn each, void *arg);

/* For each of n sequences: which is the first message, from it on, that is there now.  direct: any
** server that has the stream answers, where it may be asked so, and may lag behind; else its
** leader.  found[i] 0: there is none.  TIMEOUT LOST WRONG ... */
stream_rc stored_next_of(connection *connection, const char *bucket, bool direct, size_t n,
                         const uint64_t *from, uint64_t *found);

#endif
