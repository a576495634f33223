/*
** reserve.c - granted room behind the log, and what of it is kept while the disk is nearly full.
**
** Nothing is stored into space that was not granted before (store_grow) and faulted in before
** (os_populate), so that a full disk is an error code here and never a signal later.
**
** THE RESERVE.  Deleting appends too, so a store that had filled its disk could never be emptied.
** Where the disk is nearly full (grant_scarce) the file therefore has granted space past `end` that
** puts do not use: an eighth of the log for transactions that only delete, and behind it as much as
** an empty store takes, which compaction gives back to the disk to begin its new file
** (rewrite.c).  Whoever trims the file so, with the lock, does it behind the back of other writing
** processes: each looks at the size again when it gets the lock (session.c).  Until the new file
** has the name, or the compaction failed, that process holds byte 3 of the lock file: others then
** neither count on what was given away nor take it from the disk, and wait for the end of it where
** what is left may not do (handle_begin).
*/
#include "file/reserve.h"
#include "file/grant.h"
#include "file/size.h"

/* No put should wait long for room: a step of 64 pages takes some tenths of a millisecond. */
enum {
  AHEAD_LEAST = 64 * 1024,
  POPULATE_MOST = 256 * 1024,
  BULK = 1024 * 1024,
  POPULATE_MOST_IN_BULK = 2 * 1024 * 1024,
  SPARED_LEAST = 128 * 1024,
  SPARED_MOST = 64 * 1024 * 1024,
  MEANWHILE_LEAST = 32 * 1024
};

/* What compaction counts on was given to one, here or in another process. */
static int is_lent(const store *store) {
  return store->lent || (store->lock.fd >= 0 && os_locked(&store->lock, LOCK_LENT));
}

/* How many bytes at the end of the file that is. */
static uint64_t spared(store *store, int spares) {
  uint64_t deletes = MIN(MAX(store->space_end / 8, (uint64_t)SPARED_LEAST), (uint64_t)SPARED_MOST);
  if (likely(spares == SPARES_NOTHING) || store->in_memory || !grant_scarce(store)) return 0;
  if (spares == SPARES_MEANWHILE) return MAX(deletes / 8, (uint64_t)MEANWHILE_LEAST);
  if (spares == SPARES_COMPACTION) return is_lent(store) ? 0 : SPARED_LEAST;
  return SPARED_LEAST + deletes;
}

/* Why there is room in the file and none for this. */
static int say_spared(const store *store) {
  if (store->spares == SPARES_DELETES)
    return fail(MAPH_FULL,
                "%s: the disk, or a quota on it, is full, and what the file has left is kept for "
                "deletes: delete keys and compact the store, or make room",
                store->path);
  return fail(MAPH_FULL,
              "%s: the disk, or a quota on it, is full, and the room that was kept for deletes is "
              "used: compact the store, or make room",
              store->path);
}

/* Granted space up to `to` and behind it, as much as anyone must leave; where the disk has no more,
** as much as this transaction must.  What was lent to a compaction nobody takes from it.  relaxed:
** the size is compared, and reserve_room loads it again before anything is touched. */
static int room_behind(store *store, uint64_t to, uint64_t most) {
  uint64_t left = spared(store, store->spares);
  sentence before;
  int rc;
  error_keep(&before);
  rc = most > 0 && is_lent(store) ? MAPH_FULL : store_grow(store, to + most);
  if (rc != MAPH_FULL || most == 0) return rc;
  if (to + left <= atomic_load_explicit(&store->size, memory_order_relaxed))
    rc = MAPH_OK;
  else if (left < most)
    rc = store_grow(store, to + left);
  return rc == MAPH_FULL ? say_spared(store) : error_done(rc, &before, store->path);
}

/* acquire: another thread may have mapped the file anew for this size; write_base is read next */
static int granted(store *store, uint64_t to, uint64_t *size) {
  uint64_t most = store->spares ? spared(store, SPARES_DELETES) : 0;
  int rc;
  *size = atomic_load_explicit(&store->size, memory_order_acquire);
  if (to + most <= *size) return MAPH_OK;
  rc = room_behind(store, to, most);
  *size = atomic_load_explicit(&store->size, memory_order_acquire);
  return rc;
}

int reserve_space(store *store, uint64_t to) {
  uint64_t size;
  assert(store_has_turn(store));
  return granted(store, to, &size);
}

int reserve_room(store *store, uint64_t to) {
  uint64_t size, ahead;
  assert(store_has_turn(store));
  /* a large transaction trades waits for throughput */
  int rc, bulk = store->bulk || to - store->space_end > BULK;
  if (likely(to <= store->populated)) return MAPH_OK;
  rc = granted(store, to, &size);
  if (rc != MAPH_OK) return rc;
  ahead = MIN(to
                  + MIN(MAX(size / 16, (uint64_t)AHEAD_LEAST),
                        (uint64_t)(bulk ? POPULATE_MOST_IN_BULK : POPULATE_MOST)),
              size);
  /* what is spared is asked for each time */
  if (!store->bulk) ahead = MIN(ahead, MAX(to, size - MIN(size, spared(store, SPARES_DELETES))));
  if (store->populated < store->space_end) store->populated = store->space_end;
  if (bulk) os_read_ahead(store->base, MIN(store->populated, to), ahead);
  rc = os_populate(&store->file, store->path, store->write_base, MIN(store->populated, to), ahead);
  if (rc == MAPH_OK) store->populated = ahead;
  return rc;
}

void reserve_trim(store *store, int spares) {
  sentence before;
  assert(store_has_turn(store));
  error_keep(&before);
  os_trim(&store->file, (store->space_end + spared(store, spares) + 4095) & ~UINT64_C(4095));
  store->populated = 0;
  if (store_see_size(store, 0) != MAPH_OK) error_put_back(&before);
}

/* relaxed: the size is a number to compare here; what lies below it is not touched. */
uint64_t reserve_lendable(store *store) {
  uint64_t size = atomic_load_explicit(&store->size, memory_order_relaxed),
           taken = store->space_end + spared(store, SPARES_MEANWHILE);
  return size > taken ? size - taken : 0;
}

void reserve_lend(store *store) {
  sentence before;
  assert(store_has_turn(store));
  reserve_trim(store, SPARES_MEANWHILE);
  store->lender = pthread_self();
  store->lent = 1;
  error_keep(&before);
  if (os_lock(&store->lock, LOCK_LENT, 1) < 0) error_put_back(&before);
}

void reserve_lending_over(store *store) {
  store->lent = 0;
  if (store->lock.fd >= 0) os_unlock(&store->lock, LOCK_LENT);
}

void reserve_take_again(store *store) {
  reserve_lending_over(store);
  reserve_keep_for_deletes(store);
}

/* relaxed: as in reserve_lendable. */
int reserve_lent(store *store, uint64_t bytes) {
  uint64_t size = atomic_load_explicit(&store->size, memory_order_relaxed);
  assert(store_has_turn(store));
  if (likely(size - store->space_end >= bytes) || store->in_memory || !grant_scarce(store))
    return 0;
  return store->lent ? !pthread_equal(store->lender, pthread_self()) : is_lent(store);
}

/* What the disk does not grant, whoever needs it finds out. */
void reserve_keep_for_deletes(store *store) {
  uint64_t end = store->space_end + END_SIZE;
  sentence before;
  assert(store_has_turn(store));
  error_keep(&before);
  if (!store->in_memory && store_grow(store, end + spared(store, SPARES_DELETES)) == MAPH_FULL)
    (void)!store_grow(store,
                      end + spared(store, SPARES_COMPACTION) + spared(store, SPARES_MEANWHILE));
  error_put_back(&before);
}
