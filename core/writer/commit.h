/*
** commit.h - from a transaction's records to one that everybody sees, or to nothing.
**
** All of it is done in a session.  session_commit and session_abort call these in their order.
*/
#ifndef MAPH_COMMIT_H
#define MAPH_COMMIT_H

#include "file/store.h"
#include "writer/txn.h"

int commit_reserve(struct maph_txn *t);      /* all that can fail before the decision */
int commit_decide_early(struct maph_txn *t); /* two-phase, full: decided, on disk, not visible */
int commit_publish_now(struct maph_txn *t);  /* off, normal: decided and visible */
int commit_publish(struct maph_txn *t);      /* the same, but for what was decided early */
int commit_give_back(struct maph_txn *t);    /* nothing of t remains: what it used becomes a pad */

/* At full, where many commit at a time: one decides, gives the turn away, and waits for the disk. */
int commit_joins_group(const struct maph_txn *t);
int commit_decide_in_group(struct maph_txn *t);
int commit_publish_in_group(struct maph_txn *t); /* without the turn */
int commit_wait_visible(store *s);               /* until nothing decided is invisible */
/* is a decided, invisible transaction changing a key of that hash? */
int commit_conflicts(store *s, uint64_t hash);

/* What a dead writer left.  1: a whole, chained transaction is there; -1 no memory */
int commit_replay(struct maph_txn *t, uint64_t from, uint64_t limit, uint64_t chain, tip *after);
int commit_redo(struct maph_txn *t, const tip *after);  /* it is finished: on disk, visible */
int commit_erase(store *s, uint64_t end_record_at);     /* a decision that must not count */
int commit_cover(store *s, uint64_t from, uint64_t to); /* nobody's region becomes one pad */

int commit_sync(store *s);
void commit_raise_flushed(store *s, uint64_t to);
int commit_poisoned(const store *s); /* sets the sentence */
void commit_poison(store *s);

#endif
