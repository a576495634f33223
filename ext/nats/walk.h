/*
** walk.h - all that is in a bucket at one moment, and how it differs from a store.
*/
#ifndef MAPH_NATS_WALK_H
#define MAPH_NATS_WALK_H

#include "nats/apply.h"
#include "nats/consumer.h"

/* Every message that is there, from the first to the last one that the bucket had when this began,
** in order, through a consumer of its own.  nats-server before 2.9.12 may leave messages out while
** keys are purged: who misses one asks for it (stored_get_last).  *info is filled before the first
** call.  each: false ends it, with STREAM_OK. */
typedef bool (*walk_fn)(void *arg, const delivery *delivery);
stream_rc bucket_walk(connection *connection, const char *bucket, const char *filter,
                      stream_info *info, walk_fn each, void *arg);

typedef enum difference {
  DIFFERENCE_MISSING, /* the store lacks a key of the bucket */
  DIFFERENCE_GHOST,   /* the bucket lacks a key of the store */
  DIFFERENCE_OTHER    /* revision, value, type, media type or expiry are not the bucket's */
} difference;
const char *difference_name(difference what);

typedef struct comparison {
  stream_info info;
  uint64_t version;  /* of the store, as it was compared */
  uint64_t keys;     /* of the store */
  uint64_t found[3]; /* differences of each kind */
} comparison;
/* What was found: the version is that of the store's entry, 0 where it has none.  False ends it. */
typedef bool (*difference_fn)(void *arg, difference what, maph_slice key, uint64_t version);

/* Compare the store, as it is at a version, with what the bucket has up to that sequence.  Each
** difference is asked of the bucket's leader again before it is told: what was changed meanwhile
** is none.  WRONG: the store could not be read: maph_errmsg(NULL) is in stream_errmsg(). */
stream_rc bucket_compare(connection *connection, const char *bucket, const char *filter,
                         maph *store, comparison *result, difference_fn tell, void *arg);

#endif
