/*
** decided.h - the transactions of this process that are decided and not yet visible, in order.
*/
#ifndef MAPH_DECIDED_H
#define MAPH_DECIDED_H

#include "file/store.h"
#include "index/index.h"

void decided_add(store *store, changed_keys *keys, uint64_t end); /* end: of its end record */
void decided_remove(store *store, changed_keys *keys);

/* The questions below are asked with the turn: so none is added meanwhile, and mostly there is
** none, which needs no mutex. */
int decided_wait_all(store *store);
int decided_change(store *store, uint64_t hash);
int decided_exceed(store *store, size_t keys);

/* Wait until there is none.  IOERR */
static inline int decided_wait(store *store) {
  return likely(store->decided_first == NULL) ? MAPH_OK : decided_wait_all(store);
}
/* Does one of them change a key of that hash? */
static inline int decided_changes(store *store, uint64_t hash) {
  return store->decided_first != NULL && decided_change(store, hash);
}
/* Does one of them change more keys than so many? */
static inline int decided_has_more_than(store *store, size_t keys) {
  return store->decided_first != NULL && decided_exceed(store, keys);
}

#endif
