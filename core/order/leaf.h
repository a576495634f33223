/*
** leaf.h - nodes and lists, written to the log.
*/
#ifndef MAPH_LEAF_H
#define MAPH_LEAF_H

#include "file/store.h"
#include "order/sort.h"

/* Entries in a leaf: 4096.  With 512 the slowest puts, which end a merge, took three times as long,
** and ranges were hardly faster. */
uint64_t leaf_most(void);
uint64_t run_least(void); /* new keys that make a run due */

/* A leaf that was written: its payload, its first record, and that one's word in the root. */
typedef struct made_leaf {
  uint64_t payload, first, word;
} made_leaf;

/* A run while it is written: its leaves, in order. */
typedef struct run_making {
  made_leaf *leaf;
  uint64_t count, room;
  uint64_t keys, last; /* so far; the last one's record */
  uint64_t from, to;   /* the stretch of the log */
  uint32_t shared;     /* bytes that all its keys have in common, known before the first leaf */
  unsigned spare;      /* bytes of words more than its leaves need */
  int dense;           /* its leaves are dense */
} run_making;

/* The next leaf of it: sorted entries with their words past `shared` bytes that these have in
** common, of which `known` bytes are the keys'.  first_word: of the first of them, whole, past what
** the run's keys have.  FULL NOMEM IOERR */
int leaf_write(store *store, run_making *making, const order_entry *entry, uint64_t n,
               uint32_t shared, unsigned known, uint64_t first_word);
/* Its end: a root, where there are several leaves.  The run's payload.  view: of all its records */
int leaf_finish(store *store, const view *view, run_making *making, uint64_t *payload);
void leaf_discard(run_making *making);
/* All of its sorted entries with their words: as many leaves as it takes. */
int leaf_write_all(store *store, const view *view, run_making *making, order_entry *entry,
                   uint64_t n);
/* A list of runs, in order; it is not shown.  types: as in run_list */
int leaf_write_list(store *store, const uint64_t *payloads, size_t count, uint64_t to, int types,
                    uint64_t *payload);

#endif
