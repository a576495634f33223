/*
** perfect.c - the perfect hash of a file: read from its header when the file is opened, and summed
** when it is checked.
**
** What a find relies on is looked at once, in perfect_open: after that no bytes of the payload can
** lead it outside the payload, and whatever number or offset it yields is bounded where it is used.
*/
#include "file/record.h"
#include "file/store.h"
#include "index/perfect.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static int damaged(const store *s, uint64_t offset) {
  return fail_corrupt(s->path, offset, "the perfect hash is not one that can be");
}

/* Is there room for a table of so many bytes where it should begin? */
static int has_table(const perfect_head *h, uint64_t payload_size, uint64_t bytes) {
  return h->table % 64 == 0 && h->table >= sizeof *h + h->function_size && h->table <= payload_size
         && bytes <= payload_size - h->table;
}

/* Does the function's data fit, and do the records and group lines lie where they can? */
static int sound(const perfect_head *h, const uint8_t *payload, uint64_t payload_at,
                 uint64_t payload_size, uint64_t size, pilot_head *pilot, bdz *cmph) {
  uint64_t left = payload_size - sizeof *h, span = h->past - h->first;
  if (h->keys == 0 || h->keys > UINT32_MAX || h->function_size > left) return 0;
  if (h->first < LOG_START || h->first % 64 || h->past < h->first || h->past > size
      || span / RECORD_HEAD < h->keys)
    return 0;
  if (h->first < payload_at && h->past > payload_at) return 0;
  switch (h->algorithm) {
    case MAPH_PERFECT_PILOT:
      if (!pilot_sound(payload + sizeof *h, h->function_size, h->keys, pilot)) return 0;
      break;
    case MAPH_PERFECT_CMPH:
      if (!bdz_sound(payload + sizeof *h, h->function_size, h->keys, cmph)) return 0;
      break;
    default: return 0;
  }
  if (h->placement == PLACED_DIRECT)
    return (h->table == 0 || has_table(h, payload_size, h->keys)) && h->stride % 8 == 0
           && h->stride >= RECORD_HEAD && h->stride <= span && span / h->stride == h->keys
           && span % h->stride == 0;
  return h->placement == PLACED_IN_GROUPS
         && has_table(h, payload_size,
                      (h->keys + GROUP_KEYS - 1) / GROUP_KEYS * sizeof(group_line));
}

int perfect_open(store *s, const uint8_t *base, uint64_t size) {
  const header *live = header_of(base);
  uint64_t at = live->perfect_offset, n = live->perfect_size;
  perfect *p = &s->perfect;
  perfect_head h;
  pilot_head f;
  bdz cmph;
  memset(p, 0, sizeof *p);
  if (at == 0) return MAPH_OK;
  if (at < LOG_START || at % 64 || at > size || n > size - at || n < sizeof h)
    return damaged(s, offsetof(header, perfect_offset));
  memcpy(&h, base + at, sizeof h);
  if (h.algorithm != live->perfect_algorithm || !sound(&h, base + at, at, n, size, &f, &cmph))
    return damaged(s, at);
  p->algorithm = (int)h.algorithm;
  p->direct = h.placement == PLACED_DIRECT;
  p->first = h.first;
  p->past = h.past;
  p->stride = h.stride;
  p->payload = at;
  p->size = n;
  p->function = at + sizeof h;
  p->function_size = h.function_size;
  p->table = h.table ? at + h.table : 0;
  if (h.algorithm == MAPH_PERFECT_PILOT) {
    p->buckets = f.buckets;
    p->slots = f.slots;
    p->multiplier = f.multiplier;
    p->remap = p->function + pilot_remap_at(f.buckets);
    p->function += sizeof f;
  } else {
    p->bdz = cmph;
  }
  p->keys = h.keys;
  return MAPH_OK;
}

/* A log that ends below would be continued over the perfect hash or its records. */
int perfect_within(const store *s, uint64_t log_end) {
  const perfect *p = &s->perfect;
  if (p->keys == 0 || (log_end >= p->past && log_end >= p->payload + p->size)) return MAPH_OK;
  return fail_corrupt(s->path, log_end, "the log ends before what the perfect hash covers");
}

uint64_t perfect_checksum(const store *s, const uint8_t *payload, uint64_t size) {
  uint64_t head = XXH3_64bits_withSeed(payload, offsetof(perfect_head, checksum), s->salt);
  return XXH3_64bits_withSeed(payload + sizeof(perfect_head), size - sizeof(perfect_head), head);
}

int perfect_verify(const store *s, const uint8_t *base) {
  const perfect *p = &s->perfect;
  perfect_head h;
  if (p->keys == 0) return MAPH_OK;
  memcpy(&h, base + p->payload, sizeof h);
  if (h.checksum == perfect_checksum(s, base + p->payload, p->size)) return MAPH_OK;
  return fail_corrupt(s->path, p->payload, "the perfect hash's checksum does not fit its bytes");
}

int perfect_find(const view *v, maph_slice key, uint64_t hash, item *it) {
  uint64_t offset;
  int rc;
  if (v->s->perfect.keys == 0) return MAPH_NOTFOUND;
  offset = perfect_place(v->s, v->base, hash);
  if (offset == 0 || offset % 8 || offset < LOG_START || offset >= v->snapshot)
    return MAPH_NOTFOUND;
  rc = record_item(v, offset, v->snapshot, it);
  if (rc != MAPH_OK) return rc;
  return it->kind == KIND_PUT && it->key_size == key.size
                 && memcmp(it->key, key.data, key.size) == 0
             ? MAPH_OK
             : MAPH_NOTFOUND;
}
