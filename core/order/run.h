/*
** run.h - runs: the order of keys as it lies in the file.
**
** A RUN has the new keys of one stretch of the log, sorted.  It is a tree of two levels that is
** written once: LEAVES, nodes whose entries lead to records, and, where there is more than one, a
** ROOT, a node with an entry for each leaf: the word of its first key, and its place.  A RUN LIST
** names the runs in the order of the log; the header's word `order` names the list.
**
** Sorted pieces of the tail (tail.h) are runs in memory, of one leaf.
**
** The list and the heads of the runs are checked when they are loaded.  A list that contradicts
** itself is ignored, and the log is walked instead.  A leaf is checked when it is first reached:
** what its head says is kept, with some of its words, in memory.  Entries are checked when they are
** read.
*/
#ifndef MAPH_ORDER_RUN_H
#define MAPH_ORDER_RUN_H

#include "file/store.h"
#include "order/node.h"

enum { RUNS_MOST = 1024 };

/* A leaf that was searched.  Its list keeps what its head says, which was judged, and its fences,
** half a kilobyte, for the next search. */
typedef struct known_leaf {
  node node;
  uint64_t fence[NODE_FENCES];
} known_leaf;

typedef struct run {
  node root; /* of its leaves; entries 0: there is one leaf, the next */
  node one;
  uint64_t leaves;
  uint64_t from, to; /* the stretch of the log */
  uint64_t keys;
  node_form like;               /* of its first leaf: most are like it */
  uint64_t payload;             /* where its root or its one leaf lies; 0: in memory */
  _Atomic(known_leaf *) *known; /* for each leaf, of its list; NULL: they are not kept */
} run;

typedef struct run_list {
  atomic_uint users;
  uint64_t word; /* the header's `order` that led here */
  uint64_t to;   /* the runs have all new keys of the log before it */
  uint64_t life; /* it was written in: header_life */
  int types;     /* of the keys put before `to`, with TYPES_KNOWN; or 0: not known (types.h) */
  _Atomic(known_leaf *) *known; /* of all runs' leaves */
  uint64_t leaves;
  _Atomic uint64_t bytes; /* that all of it takes in the file; 0: not counted yet */
  size_t count;
  run run[];
} run_list;

/* A place in a run: the leaf, and how many of its entries lie before.  During a search, `at` and
** `past` are what node_near and node_aim make of `low` and `high`. */
typedef struct run_place {
  uint64_t leaf, at, past;
} run_place;

/* The newest list, for a reader of whose snapshot the last transaction has that version.  Where
** none is believed, one without runs.  To be let go.  NOMEM */
int runs_take(const view *view, uint64_t version, run_list **list);
/* How far that list says it goes.  Its runs are not looked at: so it only tells whether to take it.
*/
uint64_t runs_reach(const view *view, uint64_t version);
/* The list there; where that is nothing that holds together, a list without runs. */
int runs_load(const view *view, uint64_t payload, run_list **list);
/* Would runs_take give this one too, which it gave before? */
int runs_are_current(const store *store, uint64_t version, const run_list *list);
enum { ENTRIES_A_SEARCH = 16 };
/* The runs were searched for a range: what it costs that they are not one is counted, in entries
** that a merge takes over in the same time.  relaxed, and not one addition: threads may lose some
** of a count that only tells whether a merge pays (write.c). */
static inline void runs_count_search(const run_list *list, store *store) {
  uint64_t lost;
  if (list->count < 2) return;
  lost = atomic_load_explicit(&store->order_lost, memory_order_relaxed);
  atomic_store_explicit(&store->order_lost, lost + (list->count - 1) * ENTRIES_A_SEARCH,
                        memory_order_relaxed);
}
void runs_let_go(run_list *list); /* NULL: no-op */
/* That it and its runs take in the file, as far as they can be read: the head of each leaf is, once
** for a list. */
uint64_t runs_bytes(const view *view, run_list *list);
/* A node in the file, its head judged.  CORRUPT */
int run_node(const view *view, uint64_t payload, node *node);
/* Do its bytes have the sum that its head says?  CORRUPT */
int run_verify(const view *view, uint64_t payload);
/* A leaf will be read: bring what a search or a walk from either end reads first, all at once.
** What it says of itself is not known yet; most leaves of a run are as large. */
void run_bring_leaf(const view *view, const run *run, uint64_t i);
int run_leaf(const view *view, const run *run, uint64_t i, node *leaf);
/* The gap's place, and the leaf there, in three parts as in a node.  ahead: as for node_aim.
** CORRUPT */
int run_near(const view *view, const run *run, const gap *gap, run_place *p, node *leaf);
void run_aim(const view *view, const gap *gap, int ahead, run_place *p, const node *leaf);
int run_settle(const view *view, const run *run, const gap *gap, int ahead, run_place *p,
               node *leaf);
uint64_t run_before(const run *run, const run_place *p); /* about how many entries lie before it */
run run_in_memory(const node *node);

#endif
