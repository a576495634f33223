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

void decided_add(store *s, changed_keys *keys, uint64_t end) {
  assert(store_has_turn(s));
  pthread_mutex_lock(&s->flush_mutex);
  keys->next = NULL;
  if (s->decided_first)
    s->decided_last->next = keys;
  else
    s->decided_first = keys;
  s->decided_last = keys;
  s->decided = end;
  pthread_mutex_unlock(&s->flush_mutex);
}

void decided_remove(store *s, changed_keys *keys) {
  changed_keys *before = NULL, *x;
  assert(is_locked(&s->index_mutex));
  pthread_mutex_lock(&s->flush_mutex);
  for (x = s->decided_first; x != NULL && x != keys; x = x->next) before = x;
  if (x != NULL) {
    if (before)
      before->next = keys->next;
    else
      s->decided_first = keys->next;
    if (s->decided_last == keys) s->decided_last = before;
  }
  pthread_cond_broadcast(&s->flush_done);
  pthread_mutex_unlock(&s->flush_mutex);
}

int decided_wait_all(store *s) {
  assert(store_has_turn(s));
  pthread_mutex_lock(&s->flush_mutex);
  while (s->decided_first) pthread_cond_wait(&s->flush_done, &s->flush_mutex);
  pthread_mutex_unlock(&s->flush_mutex);
  return s->flush_failed ? header_say_poisoned(s) : MAPH_OK;
}

int decided_change(store *s, uint64_t hash) {
  changed_keys *x;
  int found = 0;
  size_t i;
  assert(store_has_turn(s));
  pthread_mutex_lock(&s->flush_mutex);
  for (x = s->decided_first; x != NULL && !found; x = x->next) {
    for (i = 0; i < x->count && !found; i++) found = x->key[i].hash == hash;
  }
  pthread_mutex_unlock(&s->flush_mutex);
  return found;
}

int decided_exceed(store *s, size_t keys) {
  changed_keys *x;
  int found = 0;
  assert(store_has_turn(s));
  pthread_mutex_lock(&s->flush_mutex);
  for (x = s->decided_first; x != NULL; x = x->next) found |= x->count > keys;
  pthread_mutex_unlock(&s->flush_mutex);
  return found;
}
