/*
** commit.h - from a transaction's records to one that everybody sees, or to nothing.
*/
#ifndef MAPH_COMMIT_H
#define MAPH_COMMIT_H

#include "file/store.h"
#include "writer/txn.h"

/* with the lock: finish or discard what a dead writer left */
int commit_begin_session(store *s);
/* leaving: if nobody else writes, everything to disk and marked clean */
int commit_end_sessions(store *s);
int commit_reserve(struct maph_txn *t); /* all that can fail before the decision */
/* two-phase, full: decided and on disk, not visible */
int commit_decide_early(struct maph_txn *t);
/* off, normal: decided and visible; turn and lock are kept */
int commit_publish_now(struct maph_txn *t);
/* gives the turn and the lock up; visible when OK */
int commit_finish(struct maph_txn *t);
int commit_abort(struct maph_txn *t); /* the same, and nothing of it remains */
/* take commit_reserve and commit_decide_early back */
int commit_reopen(struct maph_txn *t);
/* 1: a whole, chained transaction is there */
int commit_replay(struct maph_txn *t, uint64_t from, uint64_t limit, uint64_t chain, tip *after);
int commit_wait_visible(store *s); /* until nothing decided is invisible */
/* is a decided, invisible transaction changing a key of that hash? */
int commit_conflicts(store *s, uint64_t hash);
int commit_sync(store *s);
int commit_poisoned(const store *s); /* sets the sentence */
void commit_poison(store *s);

#endif
