/*
** decide.h - what a session does with the replica that is there: it goes on at the file's version,
** after all keys were compared with the bucket's where there is a doubt, or builds a new file.
**
** A bucket may have been rolled back and gone on since, so that a sequence does not say what its
** message was.  Anchors say it: the times of the message that the file's version is of and of the
** last ones of some other keys.  Where the bucket has such a message at another time, it was rolled
** back.  Where it has it at the same time, the history is the same up to there: the messages above
** the newest such one are compared with the file (recent.h); where none is near, all keys are.
**
** Keys that a bucket lets go of where it is full are no doubt: they go by its first sequence
** (dropped.h).
**
** A server that was killed may have lost messages before that one, or have others there: so
** the last ones are looked at in any case, and again while it follows.  What differs there is a
** doubt.
**
** Where the bucket has no message up to that version any more, all its messages are still to come,
** and nothing is compared first.  Where they are many a new file is built of them, since a load
** takes half the time of as many changes.  Else the follower goes on; the keys that it has from
** before are in doubt until all messages have come, and none of them may be left then.
*/
#ifndef MAPH_NATS_DECIDE_H
#define MAPH_NATS_DECIDE_H

#include "nats/follow.h"
#include "nats/stream.h"

typedef enum decision { DECIDE_FOLLOW, DECIDE_BUILD } decision;

/* DECIDE_FOLLOW: keys that the bucket has no more may wait in the follower's `ghosts` for the next
** message.  *info is brought up to date where the bucket had to be waited for. */
stream_rc decide(follower *follower, connection *connection, stream_info *info,
                 const uint8_t uuid[16], decision *what);

/* While it follows, and the store is at that version: has the leader the same last messages?
** *differs: the follower's `doubt` is set, and said why.  What differs in the same place for a
** third time within ten minutes does not: all was compared or built anew twice, in vain. */
stream_rc decide_again(follower *follower, connection *connection, const stream_info *info,
                       uint64_t at, bool *differs);
void follower_drop_ghosts(follower *follower);

/* Which of the messages that anchors tell of has the bucket still, of those below a sequence?
** Sequences; 0: none. */
typedef struct anchors_seen {
  uint64_t newest;      /* that an anchor tells of */
  uint64_t same, other; /* the newest that is as it was, and that is not */
} anchors_seen;
stream_rc anchors_look(connection *connection, const char *bucket, const sidecar_anchors *anchors,
                       uint64_t below, anchors_seen *seen);

/* All that the bucket had when it was decided has come: *sure, and it is noted, where nothing is
** left that it was unsure of.  A code of maph. */
int decide_settle(follower *follower, bool *sure);

#endif
