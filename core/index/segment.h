/*
** segment.h - extendible hashing in the file: what build.c, find.c, split.c, publish.c and
** measure.c share.
**
** The structure is in format.h, section 3 (Fagin et al. 1979; buckets of one cache line, probed in
** line).  The invariants:
**
**  (1) A slot leads to the newest version of its key, a put or a delete, from the moment
**      `committed` covers that version.
**  (2) The slot of a segment's own key is never emptied or moved.  A bucket past which an own key
**      was probed keeps its last slot filled.  So "an empty last slot ends the probe" is true
**      whenever it is read.
**  (3) A key's slot lies in the segment that its directory word names, and every bucket between the
**      key's own and the slot's is full - or, for a reader that holds an older directory word, in
**      that word's segment as a slot left behind, which still leads to the right record for every
**      snapshot taken before the split.
**  (4) A left-behind slot is cleared or reused only after root and directory words were stored
**      (release) that lead past it.  So a reader whose miss might come from such reuse finds root
**      or its directory word changed when it looks again, and repeats.
**  (5) Readers take `committed` before root (file/view.c, calls/get.c).
*/
#ifndef MAPH_SEGMENT_H
#define MAPH_SEGMENT_H

#include "file/header.h"
#include "file/size.h"
#include "file/store.h"
#include "file/view.h"
#include "index/changed.h"
#include "index/perfect.h"
#include "index/slot.h"

/* Where a hash leads: the directory word and the segment it names. */
typedef struct place {
  uint64_t root, segment;
  const word *directory_word;
} place;

/* Make sure the view reaches `need`: the file may have grown since it was opened. */
static inline int view_reach(const view *view, uint64_t need) {
  int rc;
  if (likely(need <= view->size)) return MAPH_OK;
  rc = store_see_size(view->store, need);
  if (rc == MAPH_OK) {
    ((struct view *)(uintptr_t)view)->size =
        atomic_load_explicit(&view->store->size, memory_order_acquire);
    ((struct view *)(uintptr_t)view)->base =
        atomic_load_explicit(&view->store->base, memory_order_acquire);
  }
  return rc;
}

static inline int segment_sound(const view *view, uint64_t segment) {
  if (unlikely(segment < LOG_START + RECORD_HEAD || segment % 64 || segment > OFFSET_MAX)) {
    return fail_corrupt(view->store->path, segment,
                        "the index names a segment that cannot be there");
  }
  return view_reach(view, segment + SEGMENT_SIZE);
}

static inline int place_of(const view *view, uint64_t root, uint64_t hash, place *place) {
  uint64_t directory = word_place(root), depth = word_depth(root);
  int rc;
  if (unlikely(depth > HASH_BITS || directory < LOG_START + RECORD_HEAD
               || directory > OFFSET_MAX)) {
    return fail_corrupt(view->store->path, offsetof(header, root), "the index's root is damaged");
  }
  rc = view_reach(view, directory + ((uint64_t)8 << depth));
  if (unlikely(rc != MAPH_OK)) return rc;
  place->root = root;
  place->directory_word = word_at(view->base, directory) + (tag_of(hash) >> (HASH_BITS - depth));
  place->segment = acquire(place->directory_word);
  return segment_sound(view, place->segment);
}

/* relaxed: of a link only the depth is used here, and no byte is read by it.  Who has the turn or
** index_mutex stored it, or took it over with the lock; others only compare it. */
static inline uint64_t depth_of(const uint8_t *base, uint64_t segment) {
  return word_depth(atomic_load_explicit(link_of(base, segment), memory_order_relaxed));
}

/* relaxed: for the one writer, which stored the link or took it over with the lock.  Readers
** (find.c, measure.c) go on into that segment, and load it with acquire. */
static inline uint64_t overflow_of(const uint8_t *base, uint64_t segment) {
  return word_place(atomic_load_explicit(link_of(base, segment), memory_order_relaxed));
}

/* Is this slot empty, or left behind by a split of a segment of that depth, as seen by a hash that
** belongs there? */
static inline int slot_free(uint64_t slot, uint64_t hash, uint64_t depth) {
  return slot == 0 || (depth > 0 && ((slot_tag(slot) ^ tag_of(hash)) >> (HASH_BITS - depth)) != 0);
}

/* ---------------------------------------------------------------------------- of the one writer */

/* The root that is written to: of the index that readers see, or of one that is built beside it. */
static inline uint64_t root_now(store *store) {
  return acquire(store->beside ? &store->beside_root : &header_of(store->write_base)->root);
}

static inline void set_root(store *store, uint64_t root) {
  if (store->beside)
    atomic_store(&store->beside_root, root);
  else
    store_word(store->write_base, &header_of(store->write_base)->root, root);
}

static inline int same_segment(uint64_t a, uint64_t b, uint64_t depth) {
  return depth == 0 || ((a ^ b) >> (64 - depth)) == 0;
}

/* Will it need a slot?  The first successor of a frozen record does. */
static inline int is_new(const store *store, const pending *pending) {
  return pending->newest != 0 && (pending->base == 0 || is_frozen(store, pending->base));
}

/* A segment is written to by its depth and its chain of overflow segments: they must be
** possible. */
static inline int chain_sound(const view *view, uint64_t segment, uint64_t directory_depth) {
  uint64_t depth = depth_of(view->base, segment), next;
  int rc = MAPH_OK;
  if (unlikely(depth > directory_depth))
    return fail_corrupt(view->store->path, segment, "a segment's depth is impossible");
  while (rc == MAPH_OK && unlikely((next = overflow_of(view->base, segment)) != 0)) {
    if (next < segment + SEGMENT_SIZE)
      return fail_corrupt(view->store->path, segment,
                          "an overflow segment does not lie behind the one that names it");
    rc = segment_sound(view, next);
    if (rc == MAPH_OK && depth_of(view->base, next) != depth)
      rc = fail_corrupt(view->store->path, next,
                        "an overflow segment's depth is not that of the one that names it");
    segment = next;
  }
  return rc;
}

/* The segment that a hash leads to.  CORRUPT */
static inline int segment_now(store *store, uint64_t hash, uint64_t *segment) {
  place place;
  view view;
  int rc;
  view_for_writing(store, 0, &view);
  rc = place_of(&view, root_now(store), hash, &place);
  *segment = rc == MAPH_OK ? place.segment : 0;
  return likely(rc == MAPH_OK) ? chain_sound(&view, place.segment, word_depth(place.root)) : rc;
}

#endif
