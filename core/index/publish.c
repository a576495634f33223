/*
** publish.c - slots lead to the records of a decided transaction.  index_reserve made room for
** them, so nothing here can fail but what is damaged.
**
** Locking: under index_mutex, or with the turn while nothing decided is invisible.  So there is one
** writer of slots and of `moved`, which reads them relaxed: a mutex of this process, or the lock
** between processes, ordered the stores of the writer before.  All stores are release.
**
** Who has the turn meanwhile may map a file anew that has outgrown its mapping.  An outgrown one
** stays and shows the same file: so each slot is found, stored and asked for through one mapping.
*/
#include "file/grant.h"
#include "file/store.h"
#include "index/find.h"
#include "index/publish.h"
#include "index/segment.h"
#include "index/slot.h"

/* The slot of that hash that leads to offset, or NULL.  relaxed: of the one writer, as above. */
static word *slot_leading_to(uint8_t *base, uint64_t segment, uint64_t hash, uint64_t offset) {
  uint64_t want = make_slot(hash, offset);
  unsigned b, i;
  for (; segment != 0; segment = overflow_of(base, segment)) {
    for (b = 0; b < SEGMENT_BUCKETS; b++) {
      word *word = bucket_at(base, segment, (home_of(hash) + b) & (SEGMENT_BUCKETS - 1));
      for (i = 0; i < BUCKET_SLOTS; i++)
        if ((atomic_load_explicit(&word[i], memory_order_relaxed) & ~SLOT_DISPLACED) == want)
          return &word[i];
      if (atomic_load_explicit(&word[BUCKET_SLOTS - 1], memory_order_relaxed) == 0) return NULL;
    }
  }
  return NULL;
}

/* relaxed: of the one writer. */
static word *first_free_slot(uint8_t *base, uint64_t segment, uint64_t hash, uint64_t *displaced) {
  unsigned b, i;
  for (; segment != 0; segment = overflow_of(base, segment)) {
    uint64_t depth = depth_of(base, segment);
    for (b = 0; b < SEGMENT_BUCKETS; b++) {
      word *word = bucket_at(base, segment, (home_of(hash) + b) & (SEGMENT_BUCKETS - 1));
      *displaced = b ? SLOT_DISPLACED : 0;
      for (i = 0; i < BUCKET_SLOTS; i++)
        if (slot_free(atomic_load_explicit(&word[i], memory_order_relaxed), hash, depth))
          return &word[i];
      assert(word[BUCKET_SLOTS - 1] != 0); /* (2): a key is probed past it from now on */
    }
  }
  return NULL;
}

/* relaxed: of the one writer. */
static void count_moved(store *store) {
  uint8_t *base = store->write_base;
  word *moved = &header_of(base)->moved;
  store_word(base, moved, atomic_load_explicit(moved, memory_order_relaxed) + 1);
}

/* That record learns what supersedes it. */
static void supersede(store *store, uint64_t base, uint64_t first) {
  uint8_t *mapped = store->write_base;
  if (is_short(store, base))
    set_moved(store, base, 1);
  else
    store_word(mapped, word_at(mapped, base), first);
}

/* relaxed: of the one writer. */
static int publish_one(store *store, const pending *pending, int again) {
  uint64_t segment, displaced = 0;
  uint8_t *base;
  word *slot = NULL;
  int rc = segment_now(store, pending->hash, &segment);
  if (rc != MAPH_OK) return rc;
  base = store->write_base;
  if (again) slot = slot_leading_to(base, segment, pending->hash, pending->newest);
  if (slot == NULL && is_new(store, pending)) {
    slot = first_free_slot(base, segment, pending->hash, &displaced);
    if (pending->base) count_moved(store);
  } else {
    if (slot == NULL) slot = slot_leading_to(base, segment, pending->hash, pending->base);
    if (slot != NULL) displaced = atomic_load_explicit(slot, memory_order_relaxed) & SLOT_DISPLACED;
  }
  if (slot == NULL)
    return fail_corrupt(store->path, segment,
                        "the index has no slot for a key that was to be changed");
  assert(pending->base < pending->first && pending->first <= pending->newest); /* (1) */
  if (pending->base) supersede(store, pending->base, pending->first);
  store_word(base, slot, make_slot(pending->hash, pending->newest) | displaced);
  return likely(grant_reached(store, slot, (uint64_t)((uint8_t *)slot - base)))
             ? MAPH_OK
             : fail(MAPH_IOERR, "%s: offset %llu: what is stored does not reach the file",
                    store->path, (unsigned long long)segment);
}

/* Where it is stored that this record was superseded. */
static uint64_t mark_of(const store *store, uint64_t base) {
  const perfect *perfect = &store->perfect;
  return is_short(store, base)
             ? perfect->moved + short_number(store, base) / MOVED_BITS * sizeof(word)
             : base;
}

int index_grant_mark(store *store, uint64_t record) {
  uint64_t mark = mark_of(store, record);
  return grant_pages(store, mark, mark + sizeof(word));
}

void index_unmark(store *store, uint64_t record) {
  if (is_short(store, record))
    set_moved(store, record, 0);
  else
    store_word(store->write_base, word_at(store->write_base, record), 0);
}

/* A key's segment, with those that it overflows to, and the link of the record before. */
static int grant_one(store *store, const pending *pending, uint64_t *granted) {
  uint64_t segment, at;
  int rc = segment_now(store, pending->hash, &segment);
  for (at = segment; rc == MAPH_OK && at != 0 && segment != *granted;
       at = overflow_of(store->write_base, at))
    rc = grant_pages(store, at, at + SEGMENT_SIZE);
  *granted = segment;
  return rc == MAPH_OK && pending->base ? index_grant_mark(store, pending->base) : rc;
}

int index_grant(store *store, const pending *pending, size_t n) {
  uint64_t granted = 0;
  size_t i;
  int rc;
  if (likely(!grant_needed(store))) return MAPH_OK;
  rc = grant_header(store);
  for (i = 0; rc == MAPH_OK && i < n; i++)
    if (pending[i].newest) rc = grant_one(store, &pending[i], &granted);
  return rc;
}

int index_publish(store *store, const pending *pending, size_t n, int again) {
  size_t i;
  int rc = MAPH_OK;
  assert(store_has_index(store));
  for (i = 0; rc == MAPH_OK && i < n; i++) {
    if (i + 8 < n && pending[i + 8].base)
      __builtin_prefetch(store->write_base + mark_of(store, pending[i + 8].base), 1);
    if (pending[i].newest) rc = publish_one(store, &pending[i], again);
  }
  return rc;
}
