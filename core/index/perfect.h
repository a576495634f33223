/*
** perfect.h - a perfect hash over the keys of a rewritten file: what it is made of, and how a
** number is looked up.
**
** A function maps each of n frozen keys to a number below n of its own, and any other key to some
** number.  There are two, behind one interface: build (rarely, at leisure) and find (at every get).
** The frozen records lie in the order of the numbers, so that the number leads to the record: by
** multiplication where all are of one size (direct), else through one line of offsets for each 16
** numbers (groups).  format.h, section 4, is the layout.
**
** Both functions are over the 64-bit hash of the key that the index uses too: a get hashes once.
*/
#ifndef MAPH_PERFECT_H
#define MAPH_PERFECT_H

#include "file/record.h"
#include "file/store.h"
#include "index/bdz.h"
#include "index/pilot.h"

static inline uint64_t perfect_number(const perfect *perfect, const uint8_t *base, uint64_t hash) {
  return likely(perfect->algorithm == MAPH_PERFECT_PILOT)
             ? pilot_number(perfect, base, hash)
             : bdz_find(&perfect->bdz, base + perfect->function, hash);
}

/* Is it as all are that are made by default: a pilot, over records of the short form? */
static inline int perfect_is_simple(const perfect *perfect) { return perfect->simple; }

/* Where the record of a frozen key with this hash begins, among the frozen ones; 0 where no frozen
** key has it.  Whoever uses it looks at the key.  *number: of that key, where it is not 0.
** leaf, a constant, here and below: it is simple. */
static inline uint64_t perfect_address(const store *store, const uint8_t *base, uint64_t hash,
                                       uint64_t *number, int leaf) {
  const perfect *perfect = &store->perfect;
  const group_line *line;
  uint64_t n = leaf ? pilot_number(perfect, base, hash) : perfect_number(perfect, base, hash), at;
  *number = n;
  if (unlikely(n >= perfect->keys)) return 0;
  if (likely(perfect->marks)) {
    if (base[perfect->marks + n] != (uint8_t)hash) return 0;
    at = perfect->first + n * perfect->unit;
    if (at == 0) __builtin_unreachable();
    return at;
  }
  if (!leaf && perfect->direct) return perfect->first + n * perfect->unit;
  line = (const group_line *)(const void *)(base + perfect->table) + n / GROUP_KEYS;
  if (line->fingerprint[n % GROUP_KEYS] != (uint8_t)hash) return 0;
  at = load64(&line->first) + line->distance[n % GROUP_KEYS] * perfect->unit;
  if (leaf || perfect->places) return likely(short_reaches(perfect, at)) ? at : 0;
  return likely(at - perfect->first <= perfect->past - RECORD_HEAD - perfect->first && at % 8 == 0)
             ? at
             : 0;
}

/* Was the frozen record with that number, which begins there, superseded at the snapshot? */
static inline int perfect_superseded(const store *store, const uint8_t *base, uint64_t snapshot,
                                     uint64_t number, uint64_t address, int leaf) {
  const perfect *perfect = &store->perfect;
  uint64_t link;
  if (likely(leaf || perfect->places)) return is_moved(perfect, base, number);
  link = atomic_load_explicit(word_at(base, address), memory_order_acquire);
  return link != 0 && link < snapshot;
}

/* Its answer, at an address that perfect_address gave, below the snapshot. */
static inline int perfect_answer(const store *store, const uint8_t *base, uint64_t snapshot,
                                 uint64_t address, uint64_t usual_end, maph_slice key,
                                 maph_slice *value, uint64_t *expires, int leaf) {
  return likely(leaf || store->perfect.places)
             ? record_answer_short(&store->perfect, base, address, usual_end, key, value, expires)
             : record_answer(base, address, snapshot, usual_end, key, value, expires);
}

static inline int is_frozen(const store *store, uint64_t offset) {
  return store->perfect.keys != 0 && offset >= store->perfect.first && offset < store->perfect.past;
}

/* the header's static part was read.  CORRUPT */
int perfect_open(store *store, const uint8_t *base, uint64_t size);
/* its checksum; reads all of it.  CORRUPT */
int perfect_verify(const store *store, const uint8_t *base);
/* does a log of that length hold all of it?  CORRUPT */
int perfect_within(const store *store, uint64_t log_end);
uint64_t perfect_checksum(const store *store, const uint8_t *payload, uint64_t size);
/* Bytes of the shortest record that the sizes, of the fields or in the header, allow. */
uint64_t short_form_least(const short_form *form);
/* Can a header of a file of that size say this of the short form?  And what it says, taken over. */
int short_form_sound(const short_form *form, uint64_t size);
void short_form_take(perfect *perfect, const short_form *form);
/* Bytes of so many moved bits. */
static inline uint64_t short_moved_size(uint64_t keys) {
  return (keys + MOVED_BITS - 1) / MOVED_BITS * sizeof(word);
}
/* the frozen record of this key, superseded or not.  NOTFOUND CORRUPT */
int perfect_find(const view *view, maph_slice key, uint64_t hash, item *it);

#endif
