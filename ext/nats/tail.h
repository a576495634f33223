/*
** tail.h - what a bucket has behind the last message of a publisher that was acknowledged (pipe.h).
**
** Where every message is there, all is as it was sent.  But a bucket keeps the latest messages of a
** key, so that of keys that are written again and again most are gone.  Then it is known from the
** feed what each of these sequences was sent as, since the last one says which change it was and
** those before it went in order.  The last message of each of the keys has to be there, at its
** sequence: what became of those before it makes no difference to the bucket.  Another writer's
** message that took the place of one is found by that, too: it is there, or the one whose place it
** took is missed.
*/
#ifndef MAPH_NATS_TAIL_H
#define MAPH_NATS_TAIL_H

#include "nats/group.h"
#include "nats/outgoing.h"
#include "nats/stored.h"

#define TAIL_VERSION_MOST ((UINT64_C(1) << 48) - 1)

/* What a message says of itself. */
typedef struct mark {
  uint64_t store, publisher; /* store 0: it is of no store */
  txn_part part;
  uint64_t version, before, index; /* index 0: it does not say which part */
} mark;
void mark_read(const stored *message, mark *mark);

typedef struct tail_message {
  bool there;
  mark mark;
  uint64_t subject; /* tail_hash of it */
} tail_message;
uint64_t tail_hash(const char *subject);
/* Has the bucket, by the last `count` messages, what the store's feed behind `version` says up to
** the last one?  False too where that cannot be told. */
bool tail_holds(maph *store, const outgoing_rules *rules, uint64_t version,
                const tail_message *messages, size_t count);

#endif
