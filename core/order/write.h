/*
** write.h - runs are written: by whoever writes to the store, as new keys come.
**
** Nothing here fails a transaction.  Where a run cannot be written, as on a full disk, the tail is
** longer, and it is tried again later.
*/
#ifndef MAPH_ORDER_WRITE_H
#define MAPH_ORDER_WRITE_H

#include "file/store.h"
#include "index/changed.h"
#include "order/sort.h"

/* The transaction [from, to) became visible, which changed these keys.  With the index. */
void order_note(store *store, const changed_keys *changed, uint64_t from, uint64_t to);
/* With the turn and the lock, and no records past space_end: a run of what is due, and some
** merging.  Fails only where what it left in the log could not be covered: then `unsettled` says
** so. */
int order_keep_up(store *store);
/* The same after a commit, which stands whatever fails: nothing is said of that. */
void order_follow(store *store);
/* The same until the order is in few runs, a slice at a time; *more: there is more to do.  What
** fails is told.  FULL NOMEM IOERR CORRUPT */
int order_tidy(store *store, int *more);
/* Is there an order of the keys in that file? */
int order_is_kept(const store *store);
/* A run of all keys, where there is no list: the row is the places of their first puts, which are
** all the puts that there are, and is sorted.  types: of all keys.  The same errors */
int order_make_all(store *store, row *row, int types);
/* After an epoch: the list becomes one of this life, if it is of the life `life`, the one before,
** covers nothing at or past `limit`, and all of it is whole; else there is none.  Fails as
** order_keep_up does. */
int order_renew(store *store, uint64_t life, uint64_t limit);

#endif
