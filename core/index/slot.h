/*
** slot.h - the words of the index: slots, and those that hold a place and a depth.  format.h,
** section 3, has their bits; only this header takes them apart.
*/
#ifndef MAPH_SLOT_H
#define MAPH_SLOT_H

#include "file/store.h"

#define SLOT_DISPLACED (UINT64_C(1) << 40)
#define SLOT_OFFSET_MASK (SLOT_DISPLACED - 1)

static inline uint64_t acquire(const word *word) {
  return atomic_load_explicit(word, memory_order_acquire);
}

/* Of a hash: the bits that a slot keeps, and the bucket that is the key's own. */
static inline uint32_t tag_of(uint64_t hash) { return (uint32_t)(hash >> (64 - HASH_BITS)); }
static inline unsigned home_of(uint64_t hash) { return (unsigned)(hash & (SEGMENT_BUCKETS - 1)); }

static inline uint64_t slot_tag(uint64_t slot) { return slot >> (64 - HASH_BITS); }
static inline uint64_t slot_offset(uint64_t slot) { return (slot & SLOT_OFFSET_MASK) * 8; }
static inline int slot_displaced(uint64_t slot) { return (slot & SLOT_DISPLACED) != 0; }
static inline uint64_t make_slot(uint64_t hash, uint64_t offset) {
  return (uint64_t)tag_of(hash) << (64 - HASH_BITS) | offset / 8;
}

/* Of root: where the directory's words lie, and its depth.  Of a segment's link: its overflow
** segment, and its depth. */
static inline uint64_t word_place(uint64_t w) { return w & ~UINT64_C(63); }
static inline uint64_t word_depth(uint64_t w) { return w & 63; }

static inline word *bucket_at(const uint8_t *base, uint64_t segment, unsigned bucket) {
  return word_at(base, segment + (uint64_t)bucket * 64);
}
static inline word *link_of(const uint8_t *base, uint64_t segment) {
  return word_at(base, segment - RECORD_HEAD);
}

#endif
