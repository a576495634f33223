/*
** ask.h - questions to a server, and their answers.
**
** Most are questions to JetStream's API, which are answered in JSON.  What changes nothing is asked
** again where no answer comes: servers that have no leader just then never answer, and the one that
** was to answer may have been killed.  The answer comes under the same subject each time, so that a
** server that is merely slow is heard too.
*/
#ifndef MAPH_NATS_ASK_H
#define MAPH_NATS_ASK_H

#include "nats/stream.h"

#define STREAM_SEQUENCE_MOST ((UINT64_C(1) << 48) - 1) /* what a version of maph holds */
enum { ASK_SUBJECT = 4608, ASK_SILENCE_MS = 15000 };

/* The subject of a request to JetStream's API, or of a message that is to reach a domain. */
void ask_subject(const char *what, char room[ASK_SUBJECT]);
/* Is an answer JSON, and what error does it tell? */
stream_rc ask_look_at(connection *connection, const char *what, message *answer);
stream_rc ask_not_believed(connection *connection, const char *what);
/* What this user may not send the server drops, and tells it beside: was it that subject? */
bool ask_was_denied(connection *connection, const char *subject);

/* Send it once; the answer tells no error.  *answer is set where that is OK. */
stream_rc ask_once(connection *connection, const char *what, message *question, int timeout_ms,
                   message **answer);
/* As stream_ask, of what changes nothing: until connection->patience_ms is over. */
stream_rc ask_again(connection *connection, const char *what, maph_slice json, message **answer);

/* Many questions under one subject, all on their way at once, and which of them were answered. */
typedef struct questions {
  connection *connection;
  const char *what; /* of the API */
  size_t count;
  int silence_ms;              /* so long without any answer is too long */
  int again_ms, again_most_ms; /* they are put again after that, then twice that, and so on; 0: as
                               ** other questions */
  /* One of them, to `room` or elsewhere, each time that it is put. */
  stream_rc (*write)(void *arg, size_t which, char room[ASK_SUBJECT], maph_slice *question);
  /* Its answer, once.  Whoever keeps it sets *answer to NULL. */
  stream_rc (*take)(void *arg, size_t which, message **answer);
  void *arg;
  /* ask_all's own. */
  char subject[ASK_SUBJECT];
  size_t missing;
  unsigned long long first; /* the number of the first one */
  bool *answered;
} questions;
stream_rc ask_all(questions *of);

/* A question that a json_writer writes (entry/json.h), which fails where the room is full. */
typedef struct ask_text {
  char *bytes;
  size_t size, room;
} ask_text;
bool ask_write(void *to, const void *bytes, size_t size);

#endif
