/*
** group.c - those that commit at full: who flushes for all, and how the others sleep.
**
** A flush serves all that are decided (decided.c) when it begins.  They are one generation, and the
** thread that flushes leads it.  What is decided meanwhile is the next generation.  The first of it
** to come here is the heir, and leads it once the flush has ended.  The leader publishes its
** generation and wakes it with one call.
**
** So a commit sleeps once at most, and whoever wakes finds in its own transaction that it is
** settled, without a mutex.
**
** The words that threads sleep at are flush_ended, one for generations with an even number and one
** for those with an odd, and flush_led, where only the heir sleeps.  Two are enough: who is woken
** too early sleeps again.
**
** Invariants, of what is under flush_mutex:
**  (1) While `flushing`, there is a leader, or an heir that was told to lead.  Whoever leads calls
**      group_flushed, whatever has failed, so that the heir never waits in vain.
**  (2) What ends at or below `flush_aim` is settled by the generation that began last, or by one
**      before it.  That generation's word changes after that.
*/
#include "writer/group.h"
#include "writer/decided.h"

enum { LOOK_US = 1000000 }; /* nobody relies on it */

static uint32_t read_word(const _Atomic uint32_t *word) {
  return atomic_load_explicit(word, memory_order_acquire);
}

static void change_word(_Atomic uint32_t *word) {
  atomic_fetch_add_explicit(word, 1, memory_order_release);
}

static _Atomic uint32_t *word_of(store *store, uint32_t generation) {
  return &store->flush_ended[generation & 1];
}

static int settled(const txn *txn) {
  return atomic_load_explicit(&txn->settled, memory_order_acquire);
}

static void begin(store *store, uint64_t upto, group *group) {
  assert(is_locked(&store->flush_mutex));
  store->flushing = 1;
  store->flush_heir = 0;
  store->flush_aim = MAX(store->decided, upto);
  group->from = store->flushed;
  group->to = store->flush_aim;
  group->generation = ++store->flush_generation;
}

/* Until it is told to lead, invariant (1). */
static void wait_as_heir(store *store) {
  uint32_t seen = read_word(&store->flush_led);
  store->flush_heir = 1;
  pthread_mutex_unlock(&store->flush_mutex);
  while (read_word(&store->flush_led) == seen) os_wait(&store->flush_led, seen, LOOK_US);
  pthread_mutex_lock(&store->flush_mutex);
}

/* The word is read before what it tells of. */
static void wait_settled(const txn *txn, uint32_t generation) {
  const _Atomic uint32_t *word = word_of(txn->store, generation);
  for (;;) {
    uint32_t seen = read_word(word);
    if (settled(txn)) return;
    os_wait(word, seen, LOOK_US);
  }
}

int group_wait(txn *txn, group *group) {
  store *store = txn->store;
  uint64_t end = txn->after.end;
  uint32_t generation;
  int leads;
  pthread_mutex_lock(&store->flush_mutex);
  generation = store->flush_generation + (end > store->flush_aim); /* (2) */
  leads = end > store->flush_aim && (!store->flushing || !store->flush_heir);
  if (leads && store->flushing) wait_as_heir(store);
  if (leads) begin(store, end, group);
  pthread_mutex_unlock(&store->flush_mutex);
  if (!leads) wait_settled(txn, generation);
  return leads;
}

void group_flushed(store *store, const group *group, int rc) {
  int heir;
  pthread_mutex_lock(&store->flush_mutex);
  assert(store->flushing);
  if (rc == MAPH_OK) store->flushed = group->to;
  heir = store->flushing = store->flush_heir;
  if (heir) change_word(&store->flush_led);
  pthread_mutex_unlock(&store->flush_mutex);
  if (heir) os_wake(&store->flush_led);
}

void group_settle(txn *txn, int settled) {
  assert(is_locked(&txn->store->index_mutex));
  atomic_store_explicit(&txn->settled, settled, memory_order_release);
}

void group_settle_rest(store *store, const group *group) {
  changed_keys *changed;
  assert(is_locked(&store->index_mutex));
  pthread_mutex_lock(&store->flush_mutex);
  for (changed = store->decided_first; changed != NULL; changed = changed->next) {
    txn *txn = (struct txn *)changed;
    if (txn->after.end <= group->to) group_settle(txn, SETTLED_FAILED);
  }
  pthread_mutex_unlock(&store->flush_mutex);
}

void group_wake(store *store, const group *group) {
  _Atomic uint32_t *word = word_of(store, group->generation);
  change_word(word);
  os_wake(word);
}
