/*
** session.h - one connection to a server, and what is done in it, as the files of a session share
** it: session.c connects and takes what comes, build.c makes a new file of it, commit.c brings it
** into the store, look.c looks whether bucket and file are still those that they were.
**
** Each function that returns an ending: NOW is to go on; anything else ends the session, and why is
** noted.
*/
#ifndef MAPH_NATS_SESSION_H
#define MAPH_NATS_SESSION_H

#include "nats/consumer.h"
#include "nats/dropped.h"
#include "nats/follow.h"

enum { HOLES_MOST = 4096 }; /* then they are asked back */

typedef struct session {
  follower *follower;
  connection *connection;
  consumer *consumer;
  stream_info info;
  uint8_t uuid[16];
  batch own; /* of a session that follows; that of one that builds is the follower's */
  batch *batch;
  uint64_t delivered; /* the consumer's count */
  dropped dropped;    /* what the bucket let go of */
  bool stranded;      /* at the last look some of that waited for a message to go with */
  unsigned long long heard, looked;
  /* `heard`, when it was so silent that the leader was asked; and that answered. */
  unsigned long long looked_for, orphaned;
  unsigned behind; /* so many looks in a row the bucket ended before the file */
  bool checks;     /* holes are asked back */
  bool groups;     /* transactions are kept whole: no part of the bucket is left out */
  unsigned long long committed_ms;
  bool paced; /* what came since then was waited for */
} session;

/* What ends it, in words; AGAIN. */
ending session_say(session *session, const char *what);
/* What of a batch ends it. */
ending session_failed(session *session, batch_rc rc);
/* From now on what comes goes into the store, which is at that version. */
ending session_follow(session *session, uint64_t at);

#endif
