/*
** decided.h - the transactions of this process that are decided and not yet visible, in order.
*/
#ifndef MAPH_DECIDED_H
#define MAPH_DECIDED_H

#include "file/store.h"
#include "index/changed.h"

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

/* The index is changed under index_mutex; with the turn, while nothing decided is invisible,
** without it: whoever made the last one visible was done with the index before.  1: it was
** locked. */
static inline int decided_lock_index(store *store) {
  if (likely(store->decided_first == NULL)) return 0;
  pthread_mutex_lock(&store->index_mutex);
  return 1;
}
static inline void decided_unlock_index(store *store, int locked) {
  if (unlikely(locked)) pthread_mutex_unlock(&store->index_mutex);
}

#endif
