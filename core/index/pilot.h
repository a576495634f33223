/*
** pilot.h - the perfect hash of pilots, and the search in it.
*/
#ifndef MAPH_PILOT_H
#define MAPH_PILOT_H

#include "file/store.h"
#include "index/builder.h"

extern const perfect_builder pilot_builder;

/* Is the data of a function for n keys one that pilot_number cannot be led astray by?  What it says
** of itself is taken over, once. */
int pilot_sound(const uint8_t *data, uint64_t size, uint64_t n, pilot_head *head);

static inline uint64_t upper_product(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
  return (uint64_t)(((unsigned __int128)a * b) >> 64);
#else
  uint64_t al = a & 0xFFFFFFFFu, ah = a >> 32, bl = b & 0xFFFFFFFFu, bh = b >> 32,
           mid = ah * bl + (al * bl >> 32);
  return ah * bh + (mid >> 32) + ((al * bh + (mid & 0xFFFFFFFFu)) >> 32);
#endif
}

/* The halves of the product, one xor the other: by one multiplication. */
static inline uint64_t folded_product(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
  unsigned __int128 product = (unsigned __int128)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
  return a * b ^ upper_product(a, b);
#endif
}

static inline uint64_t pilot_bucket(uint64_t hash, uint64_t buckets) {
  return upper_product(hash, buckets);
}
static inline uint64_t pilot_slot(uint64_t hash, unsigned pilot, uint64_t multiplier,
                                  uint64_t slots) {
  return upper_product((hash ^ pilot * UINT64_C(0x9E3779B97F4A7C15)) * multiplier, slots);
}

static inline uint64_t pilot_remap_at(uint64_t buckets) {
  return (sizeof(pilot_head) + buckets + 3) & ~UINT64_C(3);
}

/* a number, or n or more */
static inline uint64_t pilot_number(const perfect *perfect, const uint8_t *base, uint64_t hash) {
  unsigned pilot = base[perfect->function + pilot_bucket(hash, perfect->buckets)];
  uint64_t n = pilot_slot(hash, pilot, perfect->multiplier, perfect->slots);
  return likely(n < perfect->keys)
             ? n
             : ((const uint32_t *)(const void *)(base + perfect->remap))[n - perfect->keys];
}

#endif
