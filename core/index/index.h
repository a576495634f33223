/*
** index.h - the hash index: from a key to its newest record, and its growth.
*/
#ifndef MAPH_INDEX_H
#define MAPH_INDEX_H

#include "file/record.h"
#include "file/store.h"

/* One key that a transaction changes. */
typedef struct pending {
  uint64_t hash;
  uint64_t newest; /* its last record in the transaction; 0: rolled back, nothing */
  uint64_t first;  /* its first */
  uint64_t base;   /* the record its slot leads to before; 0: it has no slot */
} pending;

/* The keys that one transaction changes, and those of the transaction decided after it. */
typedef struct changed_keys {
  struct changed_keys *next;
  pending *key; /* each once, in order of first use until index_reserve sorts them */
  size_t count;
  int retyped; /* TYPES_* (order/types.h) that keys have now which were put before */
} changed_keys;

/* a new empty index; root is stored last */
int index_create(store *store, uint64_t expected_keys);
/* the same, and what is reserved and published from now on goes there, unseen until index_show */
int index_create_beside(store *store, uint64_t expected_keys);
void index_show(store *store);        /* readers find what was built beside, all at once */
void index_drop_beside(store *store); /* or that is given up */
/* sort pending; split until all that is new has room, after what is decided and not yet published.
** FULL */
int index_reserve(store *store, pending *pending, size_t n, struct pending *scratch,
                  const changed_keys *decided);
/* let index_publish store into what is there already.  FULL IOERR */
int index_grant(store *store, const pending *pending, size_t n);
/* the same for what says that this record was superseded */
int index_grant_mark(store *store, uint64_t record);
/* the record was not superseded after all; its page was granted by index_grant_mark */
void index_unmark(store *store, uint64_t record);
/* slots lead to the new records; again: some may already */
int index_publish(store *store, const pending *pending, size_t n, int again);
int index_finish_split(store *store); /* of a writer that died in it */
typedef struct index_shape {
  uint64_t depth, segments, bytes;
} index_shape;
int index_measure(const view *view, index_shape *shape);
/* Each slot in use, where it lies, and in which bucket of its segment. */
typedef int (*index_visit_fn)(void *arg, uint64_t slot_offset, unsigned bucket, uint64_t slot);
int index_walk(const view *view, index_visit_fn visit, void *arg);

#endif
