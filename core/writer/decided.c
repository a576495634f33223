/*
** decided.c - the transactions of this process that are decided and not yet visible, in order.
**
** They are those that commit at full and wait for the disk (GROUP COMMIT, commit.c).  The list is
** that of their changed keys: the index reserves room for these before it reserves more.
**
** Locking: one is added with the turn, under flush_mutex.  One is taken off under index_mutex and
** flush_mutex.  So whoever holds index_mutex, or the turn and flush_mutex, may walk the list.
*/
#include "writer/decided.h"
#include "file/header.h"
#include "file/store.h"

void decided_add(store *store, changed_keys *keys, uint64_t end) {
  assert(store_has_turn(store));
  pthread_mutex_lock(&store->flush_mutex);
  keys->next = NULL;
  if (store->decided_first)
    store->decided_last->next = keys;
  else
    store->decided_first = keys;
  store->decided_last = keys;
  store->decided = end;
  pthread_mutex_unlock(&store->flush_mutex);
}

void decided_remove(store *store, changed_keys *keys) {
  changed_keys *before = NULL, *changed;
  assert(is_locked(&store->index_mutex));
  pthread_mutex_lock(&store->flush_mutex);
  for (changed = store->decided_first; changed != NULL && changed != keys; changed = changed->next)
    before = changed;
  if (changed != NULL) {
    if (before)
      before->next = keys->next;
    else
      store->decided_first = keys->next;
    if (store->decided_last == keys) store->decided_last = before;
  }
  if (store->decided_first == NULL) pthread_cond_broadcast(&store->none_decided);
  pthread_mutex_unlock(&store->flush_mutex);
}

int decided_wait_all(store *store) {
  assert(store_has_turn(store));
  pthread_mutex_lock(&store->flush_mutex);
  while (store->decided_first) pthread_cond_wait(&store->none_decided, &store->flush_mutex);
  pthread_mutex_unlock(&store->flush_mutex);
  return store->flush_failed ? header_say_poisoned(store) : MAPH_OK;
}

int decided_change(store *store, uint64_t hash) {
  changed_keys *changed;
  int found = 0;
  size_t i;
  assert(store_has_turn(store));
  pthread_mutex_lock(&store->flush_mutex);
  for (changed = store->decided_first; changed != NULL && !found; changed = changed->next) {
    for (i = 0; i < changed->count && !found; i++) found = changed->key[i].hash == hash;
  }
  pthread_mutex_unlock(&store->flush_mutex);
  return found;
}

int decided_exceed(store *store, size_t keys) {
  changed_keys *changed;
  int found = 0;
  assert(store_has_turn(store));
  pthread_mutex_lock(&store->flush_mutex);
  for (changed = store->decided_first; changed != NULL; changed = changed->next)
    found |= changed->count > keys;
  pthread_mutex_unlock(&store->flush_mutex);
  return found;
}
