/*
** short.h - the short form of frozen records: where one lies, and its fields.
**
** format.h, section 11, is the layout.  A record of that form is named by its place, which is no
** address; it is found by its number through the table of the perfect hash.  What perfect_open
** found to be possible bounds all that is read here: an address that is used lies SHORT_LEAST bytes
** before the end of the frozen records, and SHORT_BEHIND bytes of the file lie behind them.
*/
#ifndef MAPH_SHORT_H
#define MAPH_SHORT_H

#include "file/store.h"

enum {
  SHORT_LEAST = PLACE_STEP, /* bytes of a record */
  SHORT_BEHIND = 64,        /* the fields before a key fit in as many */
  SHORT_UNIT_MOST = 8,
  SHORT_FLAGS = 4 /* offset */
};

/* Numbers that begin anywhere, each loaded once: a hostile hand may change the file meanwhile.  The
** assembler's empty line has it in a register, so that no use of it can load it again. */
typedef uint16_t __attribute__((aligned(1), may_alias)) loose16;
typedef uint32_t __attribute__((aligned(1), may_alias)) loose32;
typedef uint64_t __attribute__((aligned(1), may_alias)) loose64;
static inline uint16_t loose_load16(const uint8_t *p) {
  uint16_t x = *(const loose16 *)(const void *)p;
  __asm__("" : "+r"(x));
  return x;
}
static inline uint32_t loose_load32(const uint8_t *p) {
  uint32_t x = *(const loose32 *)(const void *)p;
  __asm__("" : "+r"(x));
  return x;
}
static inline uint64_t loose_load64(const uint8_t *p) {
  uint64_t x = *(const loose64 *)(const void *)p;
  __asm__("" : "+r"(x));
  return x;
}

/* Where the key's size lies, behind the flags. */
static inline unsigned short_key_at(const short_form *form) {
  return SHORT_FLAGS + !form->no_flags;
}

/* Is in the header what all have: the size of keys, or of values, or the flags? */
static inline int has_alike(const short_form *form) {
  return form->key_size == 0 || form->value_size == 0 || form->no_flags;
}

/* Is this the place of a record in the short form? */
static inline int is_short(const store *store, uint64_t place) {
  return place - store->perfect.first < store->perfect.places;
}
static inline uint64_t short_number(const store *store, uint64_t place) {
  return (place - store->perfect.first) / PLACE_STEP;
}
static inline uint64_t short_place(const perfect *perfect, uint64_t number) {
  return perfect->first + number * PLACE_STEP;
}

/* May a record begin at this address? */
static inline int short_reaches(const perfect *perfect, uint64_t address) {
  return address - perfect->first <= perfect->past - SHORT_LEAST - perfect->first;
}

/* Where the record of that number, which is below perfect->keys, begins; 0: the table is wrong. */
static inline uint64_t short_address(const perfect *perfect, const uint8_t *base, uint64_t number) {
  const group_line *line;
  uint64_t at;
  if (likely(perfect->direct)) return perfect->first + number * perfect->unit;
  line = (const group_line *)(const void *)(base + perfect->table) + number / GROUP_KEYS;
  at = load64(&line->first) + line->distance[number % GROUP_KEYS] * perfect->unit;
  return likely(short_reaches(perfect, at)) ? at : 0;
}

static inline uint64_t short_address_of(const view *view, uint64_t place) {
  return short_address(&view->store->perfect, view->base, short_number(view->store, place));
}

/* Where the next one begins, behind one that ends there. */
static inline uint64_t short_next(const perfect *perfect, uint64_t address, uint64_t size) {
  if (perfect->direct) return address + perfect->unit;
  return perfect->first
         + ((address + size - perfect->first + perfect->unit - 1) & ~(perfect->unit - 1));
}

/* The word that has the moved bit of a number. */
static inline word *moved_word(const perfect *perfect, const uint8_t *base, uint64_t number) {
  return word_at(base, perfect->moved) + number / MOVED_BITS;
}
static inline int is_moved(const perfect *perfect, const uint8_t *base, uint64_t number) {
  return atomic_load_explicit(moved_word(perfect, base, number), memory_order_acquire)
             >> number % MOVED_BITS
         & 1;
}
/* By the one writer: see publish.c.  relaxed: so the word is as the holder of the lock before left
** it. */
static inline void set_moved(store *store, uint64_t place, int moved) {
  uint64_t number = short_number(store, place), bit = UINT64_C(1) << number % MOVED_BITS;
  word *w = moved_word(&store->perfect, store->write_base, number);
  uint64_t now = atomic_load_explicit(w, memory_order_relaxed),
           then = moved ? now | bit : now & ~bit;
  if (then != now) store_word(store->write_base, w, then);
}

/* The fields of a record whose address is possible.  Flags, and above them the key's size, where
** that has a field: */
static inline uint32_t short_kind(const perfect *perfect, const uint8_t *p) {
  return (loose_load32(p + perfect->kind_at) & perfect->kind_mask) | perfect->one_flags;
}
static inline int short_flags(const perfect *perfect, const uint8_t *p) {
  return (int)(short_kind(perfect, p) & 0xFF);
}
static inline uint32_t short_key_size(const perfect *perfect, const uint8_t *p) {
  return (short_kind(perfect, p) >> 8) | perfect->one_key;
}
static inline uint32_t short_value_size(const perfect *perfect, const uint8_t *p) {
  return (loose_load32(p + perfect->value_at) & perfect->value_mask) | perfect->one_value;
}
static inline uint64_t short_distance(const perfect *perfect, const uint8_t *p) {
  return loose_load64(p + perfect->distance_at) & perfect->distance_mask;
}
/* Bytes of the fields before the key. */
static inline uint64_t short_front(const perfect *perfect, int flags) {
  return perfect->least + (flags & FLAG_EXPIRY) + (flags & FLAG_ATTRIBUTES) / 8;
}

#endif
