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

uint64_t record_size(int flags, uint64_t key_size, uint64_t value_size, uint64_t attributes_size) {
  uint64_t n = RECORD_HEAD + (flags & FLAG_EXPIRY ? 8 : 0) + (flags & FLAG_ATTRIBUTES ? 8 : 0)
               + key_size + value_size + attributes_size;
  return (n + 7) & ~UINT64_C(7);
}

uint64_t record_needs(const uint8_t *from, const item *it) {
  return ((uint64_t)(it->value - from) + it->value_size + it->attributes_size + 7) & ~UINT64_C(7);
}

uint32_t record_checksum(uint64_t salt, uint64_t offset, const uint8_t *p, uint64_t size) {
  return (uint32_t)XXH3_64bits_withSeed(p + 12, size - 12, salt ^ offset);
}

uint64_t record_digest(uint64_t digest, uint64_t offset, uint64_t bytes_8_to_15) {
  uint64_t d = (digest ^ offset) * UINT64_C(0x9E3779B97F4A7C15);
  return ((d << 29) | (d >> 35)) ^ bytes_8_to_15;
}

uint64_t record_chain(uint64_t salt, uint64_t chain, const end_record *e, uint64_t digest) {
  uint8_t in[8 + 44 + 8];
  memcpy(in, &chain, 8);
  memcpy(in + 8, (const uint8_t *)e + 12, 44);
  memcpy(in + 52, &digest, 8);
  return XXH3_64bits_withSeed(in, sizeof in, salt);
}

static uint64_t prev_of(uint64_t w16, uint64_t w24) {
  return ((w16 >> 32) | ((w24 >> 48 & 0xFF) << 32)) * 8;
}

int record_prev(const view *v, uint64_t offset, uint64_t *prev) {
  const uint8_t *p = v->base + offset;
  int kind;
  if (unlikely(offset < LOG_START || offset % 8))
    return fail_corrupt(v->s->path, offset, "a record's place is outside the log");
  kind = (int)(load64(p + 8) >> 32 & 0xFF);
  *prev = prev_of(load64(p + 16), load64(p + 24));
  if (unlikely((kind != KIND_PUT && kind != KIND_DELETE) || *prev >= offset)) {
    return fail_corrupt(v->s->path, offset, "no put or delete is where one should be");
  }
  return MAPH_OK;
}

int record_item(const view *v, uint64_t offset, uint64_t limit, item *it) {
  const uint8_t *p = v->base + offset;
  uint64_t w8, w16, w24, at = RECORD_HEAD, left, attributes = 0;
  if (unlikely(offset < LOG_START || limit < RECORD_HEAD || offset > limit - RECORD_HEAD
               || offset % 8)) {
    return fail_corrupt(v->s->path, offset, "a record's place is outside the log");
  }
  w8 = load64(p + 8);
  w16 = load64(p + 16);
  w24 = load64(p + 24);
  it->offset = offset;
  it->kind = (int)(w8 >> 32 & 0xFF);
  it->flags = (int)(w8 >> 40 & 0xFF);
  it->key_size = (uint32_t)(w8 >> 48);
  it->value_size = (uint32_t)w16;
  it->prev = prev_of(w16, w24);
  it->version = w24 & VERSION_MAX;
  it->expires = 0;
  left = limit - offset;
  if (unlikely((it->kind != KIND_PUT && it->kind != KIND_DELETE) || it->key_size == 0
               || it->prev >= offset)) {
    return fail_corrupt(v->s->path, offset, "no put or delete is where one should be");
  }
  if (it->flags & (FLAG_EXPIRY | FLAG_ATTRIBUTES)) {
    if (left < RECORD_HEAD + 16)
      return fail_corrupt(v->s->path, offset, "a record reaches past the log's end");
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
               || attributes > left - it->key_size - it->value_size)) {
    return fail_corrupt(v->s->path, offset, "a record reaches past the log's end");
  }
  it->key = p + at;
  it->value = it->key + it->key_size;
  it->attributes_size = attributes;
  it->size =
      ((at + it->key_size + it->value_size + attributes + 7) & ~UINT64_C(7)) + (w24 >> 56) * 8;
  if (unlikely(it->size > limit - offset))
    return fail_corrupt(v->s->path, offset, "a record reaches past the log's end");
  return MAPH_OK;
}

int record_span(const view *v, uint64_t offset, uint64_t limit, int *kind, uint64_t *size) {
  item it;
  if (offset < LOG_START || limit < RECORD_HEAD || offset > limit - RECORD_HEAD || offset % 8) {
    return fail_corrupt(v->s->path, offset, "a record's place is outside the log");
  }
  *kind = (int)(load64(v->base + offset + 8) >> 32 & 0xFF);
  switch (*kind) {
    case KIND_PUT:
    case KIND_DELETE: {
      int rc = record_item(v, offset, limit, &it);
      *size = it.size;
      return rc;
    }
    case KIND_END:
    case KIND_EPOCH: *size = END_SIZE; break;
    case KIND_PAD:
    case KIND_EXTENT: *size = load64(v->base + offset + 16); break;
    default:
      return fail_corrupt(v->s->path, offset, "no record of a known kind is where one should be");
  }
  if (*size < RECORD_HEAD || *size % 8 || *size > limit - offset) {
    return fail_corrupt(v->s->path, offset, "a record reaches past the log's end");
  }
  return MAPH_OK;
}

int record_verify(const view *v, uint64_t offset, uint64_t size) {
  const uint8_t *p = v->base + offset;
  uint64_t w8 = load64(p + 8);
  int kind = (int)(w8 >> 32 & 0xFF);
  uint64_t summed = kind == KIND_PAD || kind == KIND_EXTENT ? RECORD_HEAD : size;
  if ((uint32_t)w8 != record_checksum(v->s->salt, offset, p, summed)) {
    return fail_corrupt(v->s->path, offset, "a record's checksum does not fit its bytes");
  }
  return MAPH_OK;
}

int record_end(const view *v, uint64_t end, end_record *e) {
  uint64_t offset = end - END_SIZE;
  if (end < LOG_START + END_SIZE || end > v->size || end % 8)
    return fail_corrupt(v->s->path, end, "the log's end is outside the file");
  memcpy(e, v->base + offset, sizeof *e);
  if ((e->head.kind != KIND_END && e->head.kind != KIND_EPOCH)
      || e->head.checksum != record_checksum(v->s->salt, offset, (const uint8_t *)e, END_SIZE)) {
    return fail_corrupt(v->s->path, offset, "the log does not end with the end of a transaction");
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

void record_entry(const item *it, maph_entry *entry) {
  entry->key = maph_bytes(it->key, it->key_size);
  entry->value = maph_bytes(it->value, it->value_size);
  entry->version = it->version;
  entry->expires = it->expires;
  entry->type = it->flags & FLAG_TYPE;
  entry->key_type = (it->flags & FLAG_KEY_TYPE) / FLAG_TEXT_KEY;
  entry->media_type = it->flags & FLAG_ATTRIBUTES ? media_type_of(it) : maph_bytes(NULL, 0);
}
