/*
** record.c - log records: their size, checksum and fields.
**
** Nothing here trusts the file.  Every field is copied once (the file may change under a hostile
** hand) and each size is checked by subtraction from what is left before the limit, so that no sum
** can overflow.
*/
#include "file/record.h"
#include "file/store.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Of the words at 8, 16 and 24. */
static inline int kind_of(uint64_t w8) { return (int)(w8 >> 32 & 0xFF); }
static inline int flags_of(uint64_t w8) { return (int)(w8 >> 40 & 0xFF); }
static inline uint64_t prev_of(uint64_t w16, uint64_t w24) {
  return ((w16 >> 32) | ((w24 >> 48 & 0xFF) << 32)) * 8;
}
static inline uint64_t padding_of(uint64_t w24) { return (w24 >> 56) * 8; }

uint64_t record_size(int flags, uint64_t key_size, uint64_t value_size, uint64_t attributes_size) {
  uint64_t n = RECORD_HEAD + (flags & FLAG_EXPIRY ? 8 : 0) + (flags & FLAG_ATTRIBUTES ? 8 : 0)
               + key_size + value_size + attributes_size;
  return (n + 7) & ~UINT64_C(7);
}

uint32_t record_checksum(uint64_t salt, uint64_t offset, const uint8_t *p, uint64_t size) {
  return (uint32_t)XXH3_64bits_withSeed(p + 12, size - 12, salt ^ offset);
}

uint32_t record_checksum_of_short(uint64_t salt, uint64_t address, const uint8_t *p,
                                  uint64_t size) {
  return (uint32_t)XXH3_64bits_withSeed(p + 4, size - 4, salt ^ address);
}

int record_expired_by_now(uint64_t expires) { return expires <= os_time_ms(); }

uint32_t record_checksum_of_parts(uint64_t salt, uint64_t offset, const maph_slice *parts,
                                  size_t n) {
  XXH3_state_t state;
  size_t i;
  memset(&state, 0, sizeof state);
  XXH3_64bits_reset_withSeed(&state, salt ^ offset);
  XXH3_64bits_update(&state, (const uint8_t *)parts[0].data + 12, parts[0].size - 12);
  for (i = 1; i < n; i++) XXH3_64bits_update(&state, parts[i].data, parts[i].size);
  return (uint32_t)XXH3_64bits_digest(&state);
}

uint64_t record_digest(uint64_t digest, uint64_t offset, uint64_t bytes_8_to_15) {
  uint64_t d = (digest ^ offset) * UINT64_C(0x9E3779B97F4A7C15);
  return ((d << 29) | (d >> 35)) ^ bytes_8_to_15;
}

uint64_t record_chain(uint64_t salt, uint64_t chain, const end_record *end, uint64_t digest) {
  uint8_t in[8 + 44 + 8];
  memcpy(in, &chain, 8);
  memcpy(in + 8, (const uint8_t *)end + 12, 44);
  memcpy(in + 52, &digest, 8);
  return XXH3_64bits_withSeed(in, sizeof in, salt);
}

void record_fill_end(end_record *end, int kind, uint64_t version, uint64_t before) {
  memset(end, 0, sizeof *end);
  end->head.kind = (uint8_t)kind;
  record_set_version(&end->head, version, before, 0);
}

static int misplaced(const view *view, uint64_t offset) {
  return fail_corrupt(view->store->path, offset, "a record's place is outside the log");
}

static int no_data(const view *view, uint64_t offset) {
  return fail_corrupt(view->store->path, offset, "no put or delete is where one should be");
}

static int too_long(const view *view, uint64_t offset) {
  return fail_corrupt(view->store->path, offset, "a record reaches past the log's end");
}

static inline int has_place(uint64_t offset, uint64_t limit) {
  return offset >= LOG_START && limit >= RECORD_HEAD && offset <= limit - RECORD_HEAD
         && offset % 8 == 0;
}

static inline int is_data(int kind) { return kind == KIND_PUT || kind == KIND_DELETE; }

int record_prev(const view *view, uint64_t offset, uint64_t *prev) {
  const uint8_t *p = view->base + offset;
  *prev = 0;
  if (is_short(view->store, offset) && offset % 8 == 0) return MAPH_OK;
  if (unlikely(offset < LOG_START || offset % 8)) return misplaced(view, offset);
  *prev = prev_of(load64(p + 16), load64(p + 24));
  if (unlikely(!is_data(record_kind(view->base, offset)) || *prev >= offset))
    return no_data(view, offset);
  return MAPH_OK;
}

/* A put or delete, where a record's head has place.  w8: its bytes 8..15, copied once. */
static inline __attribute__((always_inline)) int read_data(const view *view, uint64_t offset,
                                                           uint64_t limit, uint64_t w8, item *it) {
  const uint8_t *p = view->base + offset;
  uint64_t w16 = load64(p + 16), w24 = load64(p + 24);
  uint64_t at = RECORD_HEAD, left = limit - offset, attributes = 0;
  it->offset = offset;
  it->bytes_8_to_15 = w8;
  it->kind = kind_of(w8);
  it->flags = flags_of(w8);
  it->key_size = (uint32_t)(w8 >> 48);
  it->value_size = (uint32_t)w16;
  it->prev = prev_of(w16, w24);
  it->version = w24 & VERSION_MAX;
  it->expires = 0;
  if (unlikely(it->key_size == 0 || it->prev >= offset)) return no_data(view, offset);
  if (it->flags & (FLAG_EXPIRY | FLAG_ATTRIBUTES)) {
    if (left < RECORD_HEAD + 16) return too_long(view, offset);
    if (it->flags & FLAG_EXPIRY) {
      it->expires = load64(p + at);
      at += 8;
    }
    if (it->flags & FLAG_ATTRIBUTES) {
      attributes = load64(p + at);
      at += 8;
    }
  }
  left -= at;
  if (unlikely(it->key_size > left || it->value_size > left - it->key_size
               || attributes > left - it->key_size - it->value_size))
    return too_long(view, offset);
  it->key = p + at;
  it->value = it->key + it->key_size;
  it->attributes_size = attributes;
  it->needs = (at + it->key_size + it->value_size + attributes + 7) & ~UINT64_C(7);
  it->size = it->needs + padding_of(w24);
  return likely(it->size <= limit - offset) ? MAPH_OK : too_long(view, offset);
}

/* Of a kind that holds no key. */
static int read_other(const view *view, uint64_t offset, uint64_t limit, uint64_t w8, item *it) {
  const uint8_t *p = view->base + offset;
  it->offset = offset;
  it->bytes_8_to_15 = w8;
  it->kind = kind_of(w8);
  it->version = 0;
  switch (it->kind) {
    case KIND_END:
    case KIND_EPOCH:
      it->size = END_SIZE;
      it->operations = (uint32_t)load64(p + 16);
      it->version = load64(p + 24) & VERSION_MAX;
      break;
    case KIND_PAD:
    case KIND_EXTENT: it->size = load64(p + 16); break;
    default:
      return fail_corrupt(view->store->path, offset,
                          "no record of a known kind is where one should be");
  }
  if (it->size < RECORD_HEAD || it->size % 8 || it->size > limit - offset)
    return too_long(view, offset);
  return MAPH_OK;
}

/* ------------------------------------------------------------------------------- the short form */

int record_read_short_at(const view *view, uint64_t address, item *it) {
  const perfect *perfect = &view->store->perfect;
  const uint8_t *p = view->base + address;
  uint64_t left = perfect->past - address, at = perfect->least, attributes = 0, distance;
  it->kind = KIND_PUT;
  it->flags = short_flags(perfect, p);
  it->key_size = short_key_size(perfect, p);
  it->value_size = short_value_size(perfect, p);
  it->bytes_8_to_15 = loose_load32(p) | (uint64_t)KIND_PUT << 32 | (uint64_t)it->flags << 40
                      | (uint64_t)it->key_size << 48;
  it->prev = it->expires = 0;
  distance = short_distance(perfect, p);
  if (unlikely(it->key_size == 0)) return no_data(view, address);
  if (unlikely(distance > perfect->newest))
    return fail_corrupt(view->store->path, address, "a record's version is below all that can be");
  it->version = perfect->newest - distance;
  if (it->flags & FLAG_EXPIRY) {
    it->expires = loose_load64(p + at);
    at += 8;
  }
  if (it->flags & FLAG_ATTRIBUTES) {
    attributes = loose_load16(p + at);
    at += 2;
  }
  if (unlikely(at + it->key_size + it->value_size + attributes > left))
    return too_long(view, address);
  it->key = p + at;
  it->value = it->key + it->key_size;
  it->attributes_size = attributes;
  it->size = it->needs = at + it->key_size + it->value_size + attributes;
  it->offset = address;
  return MAPH_OK;
}

int record_read_short(const view *view, uint64_t place, uint64_t *address, item *it) {
  const perfect *perfect = &view->store->perfect;
  int rc;
  if (unlikely(place % PLACE_STEP)) return misplaced(view, place);
  if (*address == 0) *address = short_address_of(view, place);
  if (unlikely(!short_reaches(perfect, *address)))
    return fail_corrupt(view->store->path, place,
                        "the perfect hash does not lead to a frozen record");
  rc = record_read_short_at(view, *address, it);
  it->offset = place;
  if (likely(rc == MAPH_OK)) *address = short_next(perfect, *address, it->size);
  return rc;
}

static int read_frozen(const view *view, uint64_t place, uint64_t limit, item *it) {
  uint64_t address = 0;
  return likely(place < limit) ? record_read_short(view, place, &address, it)
                               : too_long(view, place);
}

static int verify_short(const view *view, uint64_t place, uint64_t size) {
  uint64_t address = short_address_of(view, place);
  const uint8_t *p = view->base + address;
  if (unlikely(address == 0 || size > view->store->perfect.past - address))
    return too_long(view, place);
  if (loose_load32(p) == record_checksum_of_short(view->store->salt, address, p, size))
    return MAPH_OK;
  return fail_corrupt(view->store->path, address, "a record's checksum does not fit its bytes");
}

/* ------------------------------------------------------------------------------------- any form */

int record_item(const view *view, uint64_t offset, uint64_t limit, item *it) {
  uint64_t w8;
  if (is_short(view->store, offset)) return read_frozen(view, offset, limit, it);
  if (unlikely(!has_place(offset, limit))) return misplaced(view, offset);
  w8 = load64(view->base + offset + 8);
  return likely(is_data(kind_of(w8))) ? read_data(view, offset, limit, w8, it)
                                      : no_data(view, offset);
}

int record_read(const view *view, uint64_t offset, uint64_t limit, item *it) {
  uint64_t w8;
  if (is_short(view->store, offset)) return read_frozen(view, offset, limit, it);
  if (unlikely(!has_place(offset, limit))) return misplaced(view, offset);
  w8 = load64(view->base + offset + 8);
  return likely(is_data(kind_of(w8))) ? read_data(view, offset, limit, w8, it)
                                      : read_other(view, offset, limit, w8, it);
}

int record_verify(const view *view, uint64_t offset, uint64_t size) {
  const uint8_t *p = view->base + offset;
  uint64_t w8, summed;
  int kind;
  if (is_short(view->store, offset)) return verify_short(view, offset, size);
  w8 = load64(p + 8);
  kind = kind_of(w8);
  summed = kind == KIND_PAD || kind == KIND_EXTENT ? RECORD_HEAD : size;
  if ((uint32_t)w8 != record_checksum(view->store->salt, offset, p, summed)) {
    return fail_corrupt(view->store->path, offset, "a record's checksum does not fit its bytes");
  }
  return MAPH_OK;
}

int record_end(const view *view, uint64_t end, end_record *e) {
  uint64_t offset = end - END_SIZE;
  if (end < LOG_START + END_SIZE || end > view->size || end % 8)
    return fail_corrupt(view->store->path, end, "the log's end is outside the file");
  memcpy(e, view->base + offset, sizeof *e);
  if ((e->head.kind != KIND_END && e->head.kind != KIND_EPOCH)
      || e->head.checksum
             != record_checksum(view->store->salt, offset, (const uint8_t *)e, END_SIZE)) {
    return fail_corrupt(view->store->path, offset,
                        "the log does not end with the end of a transaction");
  }
  return MAPH_OK;
}

/* The media type among the attributes, if they hold one that fits. */
static maph_slice media_type_of(const item *it) {
  const uint8_t *p = it->value + it->value_size, *end = p + it->attributes_size;
  while (end - p >= 2) {
    uint8_t tag = p[0], size = p[1];
    if (size > end - p - 2) break;
    if (tag == ATTRIBUTE_MEDIA_TYPE) return maph_bytes(p + 2, size);
    p += 2 + size;
  }
  return maph_bytes(NULL, 0);
}

void record_entry(const store *store, const item *it, maph_entry *entry) {
  entry->key = maph_bytes(it->key, it->key_size);
  entry->value = maph_bytes(it->value, it->value_size);
  entry->version = version_shown(store, it->version);
  entry->expires = it->expires;
  entry->type = it->flags & FLAG_TYPE;
  entry->key_type = (it->flags & FLAG_KEY_TYPE) / FLAG_TEXT_KEY;
  entry->media_type = it->flags & FLAG_ATTRIBUTES ? media_type_of(it) : maph_bytes(NULL, 0);
}
