/*
** dropped.h - keys that a bucket has no more, and no message told of: those below its first one.
**
** A bucket with max_msgs or max_bytes and `discard old` lets go of its oldest messages where it is
** full; somebody may purge all messages up to a sequence, or lower a limit.  The bucket's first
** sequence tells it.
**
** RULE.  STREAM.INFO tells the first and the last sequence of one moment.  A replica that has all
** up to that last one has each key at the sequence of the key's last message up to there.  An
** entry below that first one is of a message that was gone at that moment, and its key had no
** later one: the bucket did not have the key.  So the key is deleted.  A message that came since
** would have given the entry a higher version.
**
** Before the replica is at that last sequence nothing is deleted: a later message of the key may be
** on its way, and readers would miss a key that the bucket had all the time.  In a bucket with a
** history only a key's last message counts: its sequence is the entry's version.
**
** CARRIED.  A delete needs a version above the file's.  So the keys go in one transaction with the
** messages that came last, and a follower that dies before that has neither.  A bucket that drops
** is asked before each commit, at most each 50 ms: then none of the keys outlives the last message.
** Where nothing comes, as after a purge, the file is built anew.
**
** A look for them is a pass over the whole store: a compaction lays the entries in the order of
** their keys.  It keeps those of the lowest versions in memory, so that the next pass comes only
** when the bucket has let go of as many.
*/
#ifndef MAPH_NATS_DROPPED_H
#define MAPH_NATS_DROPPED_H

#include "nats/stream.h"

enum { DROPPED_ASK_MS = 50 }; /* the bucket is not asked more often than in that time, but must */

typedef struct dropped_entry {
  uint64_t version;
  size_t size;
  char *key;
} dropped_entry;

typedef struct dropped {
  uint64_t first, last;        /* of the bucket, at one moment */
  uint64_t done;               /* below that all were told */
  unsigned long long asked_ms; /* when the bucket was asked for it before a commit */
  dropped_entry *list;         /* that come next in the store, */
  size_t count, next;
  uint64_t reached; /* up to that version */
} dropped;

/* What STREAM.INFO told. */
void dropped_told(dropped *dropped, const stream_info *info);
/* Are there entries to be told, where the store has all up to `at`? */
bool dropped_is_due(const dropped *dropped, uint64_t at);
/* The next entry below the first sequence, of the store and what the open transaction (NULL: there
** is none) has put: a message may come, and be gone before it is committed.  A code of maph;
** NOTFOUND: there is no more, and all are told.  The key is valid until the next call. */
int dropped_next(dropped *dropped, maph *store, maph_txn *txn, maph_slice *key, uint64_t *version);
void dropped_free(dropped *dropped);

/* How many entries the store has below that sequence, of those that do not end by themselves? */
int dropped_count(maph *store, uint64_t first, uint64_t *count);

#endif
