/*
** batch.h - messages on their way into a store: one transaction, or a load of a new file.
**
** The position `at` is the last sequence of which all before is known to be in the batch or the
** store.  A sequence that was not delivered is a hole.  In an unfiltered consumer that is one of a
** message that was deleted or superseded; nats-server before 2.9.12 may also have left it out, so
** there the holes are asked back before anything is believed.
*/
#ifndef MAPH_NATS_BATCH_H
#define MAPH_NATS_BATCH_H

#include "nats/apply.h"
#include "nats/group.h"
#include "nats/sidecar.h"
#include "nats/consumer.h"

/* What of a batch stands in the way. */
typedef enum batch_rc {
  BATCH_OK = 0,
  BATCH_LOST,   /* messages were lost: begin anew at the store's version */
  BATCH_ASKING, /* the holes could not be asked back: stream_errmsg() */
  BATCH_STORE,  /* the store: batch_store_rc, maph_errmsg(NULL) */
  BATCH_MEMORY
} batch_rc;

typedef struct hole {
  uint64_t after, to; /* not delivered: those above `after` and not above `to` */
} hole;

typedef struct batch {
  bucket_rules rules;
  int durability; /* MAPH_SYNC_* */
  /* One of the two takes what comes. */
  maph *store;
  maph_load *load;
  maph_txn *txn;            /* open; NULL: nothing is in the batch */
  uint64_t at, committed;   /* of the bucket; of the store */
  uint64_t count, left_out; /* messages in the batch; whose key stands for none, ever */
  uint64_t removed;         /* keys in the batch that batch_delete was told of */
  uint64_t last_time_ns;    /* of the last message; 0: `at` is not of a message */
  sidecar_anchors anchors;  /* of all that was taken */
  unsigned long long began_ms;
  group group; /* where it may be committed */
  hole *holes;
  size_t holes_count, holes_room;
  struct markers *markers; /* of a load: keys that were deleted after they may have been put */
  /* Of a load whose holes are checked: messages that wait for that, since nothing is taken back. */
  bool holds;
  delivery *held;
  size_t held_count, held_room;
  uint64_t held_after; /* `at` before the first of them */
  int store_rc;
} batch;

void batch_begin(batch *batch, maph *store, uint64_t at, const bucket_rules *rules, int durability);
void batch_begin_load(batch *batch, maph_load *load, const bucket_rules *rules, bool holds);
/* The next message, whose sequence is above batch->at.  It goes into the batch, which frees it. */
batch_rc batch_take(batch *batch, const delivery *delivery);
/* All up to that sequence was delivered; where it is above `at`, that is a hole, behind which the
** server has so many messages (group.h). */
batch_rc batch_reach(batch *batch, uint64_t sequence, uint64_t behind);
/* Ask the holes back.  direct: by DIRECT.GET; a suspicion is asked again of the leader.  LOST,
** ASKING: of a load `at` is back at the last message that is sure. */
batch_rc batch_check_holes(batch *batch, connection *connection, const char *bucket, bool direct);
/* A key is deleted too, if it is still at that version. */
batch_rc batch_delete(batch *batch, maph_slice key, uint64_t version);
/* Of a load: what waited goes in.  Else commit: the store's version is `at` then. */
batch_rc batch_commit(batch *batch);
/* After batch_begin_load: what the load could not take is done in a transaction on the store that
** it has become. */
batch_rc batch_after_load(batch *batch, maph *store);
/* Nothing of it stays. */
void batch_end(batch *batch);

#endif
