/*
** group.h - those that commit at full: who flushes for all, and how the others sleep.
*/
#ifndef MAPH_GROUP_H
#define MAPH_GROUP_H

#include "file/store.h"
#include "writer/txn.h"

/* One flush, and those that wait for it. */
typedef struct group {
  uint64_t from, to; /* of the log, to be flushed */
  uint32_t generation;
} group;

/* Wait until txn, which is decided, is settled, or its thread is to lead.  1: it leads: it flushes,
** and calls the three below; 0: it is settled. */
int group_wait(txn *txn, group *group);
void group_flushed(store *store, const group *group, int rc); /* the next flush may begin */
/* Under index_mutex: txn is settled, and its thread may free it now. */
void group_settle(txn *txn, int settled);
void group_settle_rest(store *store, const group *group); /* what is not published will not be */
void group_wake(store *store, const group *group);

#endif
