/*
** record.h - records of the log as fields: sizes, checksums, what a put or delete says.
**
** Fields of the long form are taken apart here and in record.c alone, those of the short form in
** short.h.
*/
#ifndef MAPH_RECORD_H
#define MAPH_RECORD_H

#include "file/short.h"
#include "file/store.h"

#include <string.h>

/* A record, taken apart.  Pointers into the view's mapping. */
typedef struct item {
  uint64_t offset, size; /* of the whole record; in the short form its place, and without zeros */
  int kind;
  uint32_t operations;    /* end, epoch: of the transaction that it closes */
  uint64_t version;       /* pad, extent: 0 */
  uint64_t bytes_8_to_15; /* of the record: what the digest folds */
  /* Of a put or delete alone: */
  int flags;
  uint32_t key_size, value_size;
  uint64_t needs; /* its size without padding */
  uint64_t prev, expires, attributes_size;
  const uint8_t *key, *value;
} item;

uint64_t record_size(int flags, uint64_t key_size, uint64_t value_size, uint64_t attributes_size);
uint32_t record_checksum(uint64_t salt, uint64_t offset, const uint8_t *p, uint64_t size);
/* the same where its bytes lie apart; the first part holds the head */
uint32_t record_checksum_of_parts(uint64_t salt, uint64_t offset, const maph_slice *parts,
                                  size_t n);
/* the same of a record in the short form, at its address */
uint32_t record_checksum_of_short(uint64_t salt, uint64_t address, const uint8_t *p, uint64_t size);
/* of any kind; CORRUPT */
int record_read(const view *view, uint64_t offset, uint64_t limit, item *it);
/* of a put or delete; CORRUPT */
int record_item(const view *view, uint64_t offset, uint64_t limit, item *it);
/* The frozen record in the short form at `place`.  *address: where it lies, 0 if that is unknown;
** then where the next one lies.  CORRUPT */
int record_read_short(const view *view, uint64_t place, uint64_t *address, item *it);
/* the same where the place is not known and no table: only what store->perfect says of the form */
int record_read_short_at(const view *view, uint64_t address, item *it);
/* of a put or delete whose head is in the file; the rest may lie past its size last seen */
int record_prev(const view *view, uint64_t offset, uint64_t *prev);
/* its checksum; CORRUPT */
int record_verify(const view *view, uint64_t offset, uint64_t size);
/* the end or epoch record before `end` */
int record_end(const view *view, uint64_t end, end_record *e);
/* as its user sees it */
void record_entry(const store *store, const item *it, maph_entry *entry);
int record_expired_by_now(uint64_t expires); /* by the exact clock */
uint64_t record_digest(uint64_t digest, uint64_t offset, uint64_t bytes_8_to_15);
uint64_t record_chain(uint64_t salt, uint64_t chain, const end_record *end, uint64_t digest);
/* zeros, but for its kind, its version and where the end or epoch record before it lies */
void record_fill_end(end_record *end, int kind, uint64_t version, uint64_t before);

/* Has an expiry passed at `now`; 0: by the clock?  The cheap clock is behind by less than LATE_MOST
** seconds: it settles what is further off. */
static inline int record_expired(uint64_t expires, uint64_t now) {
  enum { LATE_MOST = 2 };
  if (now) return expires <= now;
  if (likely(expires >= (os_time_cheap_s() + LATE_MOST) * 1000)) return 0;
  return record_expired_by_now(expires);
}

/* ------------------------------------------------------------------------------ fields in words */

static inline int record_kind(const uint8_t *base, uint64_t offset) {
  return (int)(load64(base + offset + 8) >> 32 & 0xFF);
}
static inline int record_flags(const uint8_t *base, uint64_t offset) {
  return (int)(load64(base + offset + 8) >> 40 & 0xFF);
}
/* Do bytes lie there that no record begins with, as in space that was never used? */
static inline int record_blank(const uint8_t *base, uint64_t offset) {
  return load64(base + offset + 8) == 0;
}

/* before: the record before, of the key or of the transactions; 0: none.  padding: in bytes. */
static inline void record_set_version(record *record, uint64_t version, uint64_t before,
                                      uint64_t padding) {
  record->prev_low = (uint32_t)(before / 8);
  record->version_prev = version | (before / 8 >> 32) << 48 | padding / 8 << 56;
}
static inline uint64_t record_version(const record *record) {
  return record->version_prev & VERSION_MAX;
}

/* Where the end or epoch record before this one lies; 0: none does. */
static inline uint64_t record_back(const end_record *end) {
  return ((end->head.version_prev >> 48 & 0xFF) << 32 | end->head.back_low) * 8;
}
/* What the transaction after this one continues.  end: of the record. */
static inline tip record_tip(const end_record *e, uint64_t end) {
  return (tip){ end, record_version(&e->head), e->chain, e->records, e->bytes };
}

/* The word that only later records change: where the record lies that superseded this one, which
** has the long form. */
static inline uint64_t record_link(const view *view, uint64_t offset) {
  return atomic_load_explicit(word_at(view->base, offset), memory_order_acquire);
}
/* Is the record of a key the newest one at the snapshot?  0: it is not, or, in the short form, only
** the index can tell (lookup.h). */
static inline int record_newest(const view *view, uint64_t offset) {
  uint64_t link;
  if (is_short(view->store, offset))
    return !is_moved(&view->store->perfect, view->base, short_number(view->store, offset));
  link = record_link(view, offset);
  return link == 0 || link >= view->snapshot;
}

/* Where a record's bytes begin, for asking for them; it may be damaged. */
static inline const uint8_t *record_start(const view *view, uint64_t offset) {
  return view->base + (is_short(view->store, offset) ? short_address_of(view, offset) : offset);
}

/* About how long a record is, or less: without expiry and attributes. */
static inline uint64_t record_about_long(const uint8_t *p) {
  return RECORD_HEAD + (load64(p + 8) >> 48) + load32(p + 16);
}
/* The same, of either form, at its address; 1 at least. */
static inline uint64_t record_about(const view *view, uint64_t offset, const uint8_t *p) {
  const perfect *perfect = &view->store->perfect;
  uint64_t size;
  if (!is_short(view->store, offset)) return record_about_long(p);
  if (perfect->direct) return perfect->unit;
  size = perfect->least + short_key_size(perfect, p) + short_value_size(perfect, p);
  return MIN(size, (uint64_t)(view->base + perfect->past - p));
}

/* --------------------------------------------------------------------------------- the hot path */

/* The key of a record in the short form.  0: it does not lie below the end of the frozen ones. */
static inline int short_first_key(const view *view, uint64_t place, maph_slice *key, int *flags) {
  const perfect *perfect = &view->store->perfect;
  uint64_t address = short_address_of(view, place), at;
  const uint8_t *p = view->base + address;
  if (unlikely(address == 0)) return 0;
  *flags = short_flags(perfect, p);
  at = short_front(perfect, *flags);
  key->data = p + at;
  key->size = short_key_size(perfect, p);
  return key->size > 0 && at + key->size <= perfect->past - address;
}

/* The key of a put; first: of one that no record of that key is before.  0: it is no such record,
** or the key does not lie below the limit. */
static inline __attribute__((always_inline)) int record_put_key(const view *view, uint64_t offset,
                                                                uint64_t limit, int first,
                                                                maph_slice *key, int *flags) {
  const uint8_t *p = view->base + offset;
  uint64_t w8, at = RECORD_HEAD, left = limit - offset;
  if (is_short(view->store, offset))
    return likely(offset < limit) && short_first_key(view, offset, key, flags);
  if (unlikely(left < RECORD_HEAD)) return 0;
  w8 = load64(p + 8);
  at += (w8 >> 40 & FLAG_EXPIRY) + (w8 >> 40 & FLAG_ATTRIBUTES) / 2; /* 8 bytes each */
  key->data = p + at;
  key->size = w8 >> 48;
  *flags = (int)(w8 >> 40 & 0xFF);
  return (w8 >> 32 & 0xFF) == KIND_PUT
         && (!first || (load64(p + 16) >> 32 | (load64(p + 24) >> 48 & 0xFF)) == 0) && key->size > 0
         && at + key->size <= left;
}
static inline __attribute__((always_inline)) int
record_first_key(const view *view, uint64_t offset, uint64_t limit, maph_slice *key, int *flags) {
  return record_put_key(view, offset, limit, 1, key, flags);
}

/* A put's entry without expiry and attributes. */
static inline void fill_plain_entry(const store *store, maph_slice key, const uint8_t *value,
                                    uint64_t value_size, uint64_t version, int flags,
                                    maph_entry *entry) {
  entry->key = key;
  entry->value.data = value;
  entry->value.size = value_size;
  entry->version = version_shown(store, version);
  entry->expires = 0;
  entry->type = flags & FLAG_TYPE;
  entry->key_type = (flags & FLAG_KEY_TYPE) / FLAG_TEXT_KEY;
  entry->media_type.data = NULL;
  entry->media_type.size = 0;
}

/* Its entry, at an address that is possible.  0: it has an expiry or attributes, or cannot be. */
static inline int short_plain_entry(const view *view, uint64_t address, maph_entry *entry) {
  const perfect *perfect = &view->store->perfect;
  const uint8_t *p = view->base + address;
  uint32_t kind = short_kind(perfect, p);
  uint64_t distance = short_distance(perfect, p), value_size = short_value_size(perfect, p),
           key_size = kind >> 8 | perfect->one_key, least = perfect->least;
  if (unlikely(kind & (FLAG_EXPIRY | FLAG_ATTRIBUTES)) || unlikely(key_size == 0)
      || unlikely(least + key_size + value_size > perfect->past - address)
      || unlikely(distance > perfect->newest))
    return 0;
  fill_plain_entry(view->store, maph_bytes(p + least, key_size), p + least + key_size, value_size,
                   perfect->newest - distance, (int)(kind & 0xFF), entry);
  return 1;
}

/* The entry of a put that is the newest of its key, which is known to lie below the snapshot.  0:
** it is not known to be the newest, has an expiry or attributes, or does not lie below the
** snapshot */
static inline int record_plain_entry(const view *view, uint64_t offset, maph_slice key,
                                     maph_entry *entry) {
  const uint8_t *p = view->base + offset;
  uint64_t flags, value_size;
  if (is_short(view->store, offset)) {
    const perfect *perfect = &view->store->perfect;
    uint64_t number = short_number(view->store, offset),
             address = short_address(perfect, view->base, number);
    return likely(address != 0) && !is_moved(perfect, view->base, number)
           && short_plain_entry(view, address, entry);
  }
  if (unlikely(!record_newest(view, offset))) return 0;
  flags = load64(p + 8) >> 40 & 0xFF;
  value_size = load32(p + 16);
  if (unlikely(flags & (FLAG_EXPIRY | FLAG_ATTRIBUTES))
      || unlikely(RECORD_HEAD + key.size + value_size > view->snapshot - offset))
    return 0;
  fill_plain_entry(view->store, key, p + RECORD_HEAD + key.size, value_size,
                   load64(p + 24) & VERSION_MAX, (int)flags, entry);
  return 1;
}

static __attribute__((noinline, unused)) int same_long_bytes(const uint8_t *a, const uint8_t *b,
                                                             size_t n) {
  return memcmp(a, b, n) == 0;
}

/* Do n bytes agree?  Keys are short: two overlapping words settle most, without a call. */
static inline int same_bytes(const uint8_t *a, const uint8_t *b, size_t n) {
  uint64_t x, y, u, w;
  if (unlikely(n < 8 || n > 16)) return same_long_bytes(a, b, n);
  memcpy(&x, a, 8);
  memcpy(&y, b, 8);
  memcpy(&u, a + n - 8, 8);
  memcpy(&w, b + n - 8, 8);
  return ((x ^ y) | (u ^ w)) == 0;
}

/* What a record says to a get: the key's value, which may have expired (DATED); that the key was
** deleted; or nothing, because it is another key's, or not wholly below the snapshot. */
enum { RECORD_OTHER, RECORD_VALUE, RECORD_DATED, RECORD_DELETED };

/* A constant that is only used where control comes by: no arithmetic on the condition instead. */
static inline uint64_t by_branch(uint64_t constant) {
  __asm__ volatile("" : "+r"(constant));
  return constant;
}

/* One way for all kinds of entries.  Where the key begins is guessed, by branches, before the
** record's line arrives: the fewer instructions wait for that, the more gets overlap.
**
** At once memory is asked for the record's second line, where the value begins more often than not,
** and for the one where a record of usual size ends: whoever reads the whole value would wait once
** more.  usual_end, a constant 0: that was done. */
static inline int record_answer(const uint8_t *base, uint64_t offset, uint64_t snapshot,
                                uint64_t usual_end, maph_slice key, maph_slice *value,
                                uint64_t *expires) {
  const uint32_t care = UINT32_C(0xFFFF) << 16 | (FLAG_EXPIRY | FLAG_ATTRIBUTES) << 8 | 0xFF;
  const uint8_t *p = base + offset;
  uint64_t at = RECORD_HEAD, value_size;
  uint32_t kind; /* and, above it, flags and key size */
  if (!(__builtin_constant_p(usual_end) && usual_end == 0)) {
    __builtin_prefetch(p + 64);
    __builtin_prefetch(p + usual_end);
  }
  kind = load32(p + 12);
  value_size = load32(p + 16);
  if (unlikely((kind & care) != ((uint32_t)key.size << 16 | KIND_PUT))) {
    if (kind >> 16 != key.size) return RECORD_OTHER;
    if ((~kind & (FLAG_EXPIRY | FLAG_ATTRIBUTES) << 8) == 0)
      at = by_branch(RECORD_HEAD + 16);
    else if (kind & (FLAG_EXPIRY | FLAG_ATTRIBUTES) << 8)
      at = by_branch(RECORD_HEAD + 8);
  }
  if (unlikely(at + key.size + value_size > snapshot - offset
               || !same_bytes(p + at, key.data, key.size)))
    return RECORD_OTHER;
  value->data = p + at + key.size;
  value->size = value_size;
  if (likely((kind & (FLAG_EXPIRY << 8 | 0xFF)) == KIND_PUT)) return RECORD_VALUE;
  if ((uint8_t)kind == KIND_PUT) {
    *expires = load64(p + RECORD_HEAD);
    return RECORD_DATED;
  }
  *value = maph_bytes(NULL, 0);
  return (uint8_t)kind == KIND_DELETE ? RECORD_DELETED : RECORD_OTHER;
}

/* Is the key there, and does the value behind it end before `end`?  Then it is *value.  An address
** is far from 2^64, so no sum of it and a size is past that. */
static inline int value_behind(const uint8_t *p, maph_slice key, uint64_t value_size,
                               const uint8_t *end, maph_slice *value) {
  const uint8_t *v = p + key.size;
  if (unlikely((uintptr_t)v + value_size > (uintptr_t)end || !same_bytes(p, key.data, key.size)))
    return 0;
  value->data = v;
  value->size = value_size;
  return 1;
}

/* The same of a frozen record in the short form, at an address that is possible. */
static inline int record_answer_short(const perfect *perfect, const uint8_t *base, uint64_t address,
                                      uint64_t usual_end, maph_slice key, maph_slice *value,
                                      uint64_t *expires) {
  const uint8_t *p = base + address;
  uint64_t at;
  uint32_t kind; /* flags, and above them the key's size */
  if (!(__builtin_constant_p(usual_end) && usual_end == 0)) {
    __builtin_prefetch(p + 64);
    __builtin_prefetch(p + usual_end);
  }
  if (likely(((loose_load32(p + perfect->kind_at) & perfect->plain_mask) | perfect->one_key_above)
             == (uint32_t)key.size << 8))
    return value_behind(p + perfect->least, key, short_value_size(perfect, p), base + perfect->past,
                        value)
               ? RECORD_VALUE
               : RECORD_OTHER;
  kind = short_kind(perfect, p); /* what it says from here on */
  if ((kind >> 8 | perfect->one_key) != key.size) return RECORD_OTHER;
  at = by_branch(short_front(perfect, (int)kind));
  if (!value_behind(p + at, key, short_value_size(perfect, p), base + perfect->past, value))
    return RECORD_OTHER;
  if ((kind & FLAG_EXPIRY) == 0) return RECORD_VALUE;
  *expires = loose_load64(p + perfect->least);
  return RECORD_DATED;
}

#endif
