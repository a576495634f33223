/*
** commit.h - from a transaction's records to one that everybody sees, or to nothing.
**
** All of it is done in a session.  session_commit and session_abort call these in their order.
*/
#ifndef MAPH_COMMIT_H
#define MAPH_COMMIT_H

#include "file/store.h"
#include "writer/txn.h"

int commit_reserve(txn *txn);      /* all that can fail before the decision */
int commit_decide_early(txn *txn); /* two-phase, full: decided, on disk, not visible */
int commit_publish_now(txn *txn);  /* off, normal: decided and visible */
int commit_publish(txn *txn);      /* the same, but for what was decided early */
int commit_give_back(txn *txn);    /* nothing of txn remains: what it used becomes a pad */
int commit_reopen(txn *txn);       /* take reserving and deciding early back */

/* At full, where many commit at a time: one decides, gives the turn away, and waits for the
** disk. */
int commit_joins_group(const txn *txn);
int commit_decide_in_group(txn *txn);
int commit_publish_in_group(txn *txn); /* without the turn */

/* What a dead writer left.  1: a whole, chained transaction is there; -1 no memory */
int commit_replay(txn *txn, uint64_t from, uint64_t limit, uint64_t chain, tip *after);
int commit_redo(txn *txn, const tip *after);            /* it is finished: on disk, visible */
int commit_erase(store *store, uint64_t end_record_at); /* a decision that must not count */

int commit_sync(store *store);
void commit_raise_flushed(store *store, uint64_t to);

#endif
