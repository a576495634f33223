/*
** layout.c - records in memory as they will be in the log.
**
** What is laid out lies where no reader is led yet: in a buffer, or past `end`.
*/
#include "file/layout.h"
#include "file/header.h"

/* relaxed: nobody is led to the record before `committed` is stored with release. */
static inline uint64_t fill_front(uint8_t *p, const put_parts *put) {
  record *record = (struct record *)(void *)p;
  uint64_t attributes = put->media_type.size ? 2 + put->media_type.size : 0, at = RECORD_HEAD;
  atomic_store_explicit(&record->link, 0, memory_order_relaxed);
  record->kind = (uint8_t)put->kind;
  record->flags = (uint8_t)put->flags;
  record->key_size = (uint16_t)put->key.size;
  record->value_size = (uint32_t)put->value.size;
  record_set_version(record, put->version, put->prev, 0);
  if (put->flags & FLAG_EXPIRY) {
    memcpy(p + at, &put->expires, 8);
    at += 8;
  }
  if (put->flags & FLAG_ATTRIBUTES) {
    memcpy(p + at, &attributes, 8);
    at += 8;
  }
  memcpy(p + at, put->key.data, put->key.size);
  return at + put->key.size;
}

uint64_t layout_front(uint8_t *p, const put_parts *put) { return fill_front(p, put); }

static inline uint64_t fill_attributes(uint8_t *p, const put_parts *put) {
  if (likely(put->media_type.size == 0)) return 0;
  p[0] = ATTRIBUTE_MEDIA_TYPE;
  p[1] = (uint8_t)put->media_type.size;
  memcpy(p + 2, put->media_type.data, put->media_type.size);
  return 2 + put->media_type.size;
}

uint64_t layout_back(uint8_t *p, const put_parts *put, uint64_t at) {
  uint64_t n = fill_attributes(p, put), zeros = -(at + n) & 7;
  memset(p + n, 0, zeros);
  return n + zeros;
}

/* The zeros at the end are stored first, as a whole word: the last one is past the head. */
void layout_put(uint8_t *p, const put_parts *put, uint64_t size) {
  uint64_t at;
  memset(p + size - sizeof(uint64_t), 0, sizeof(uint64_t));
  at = fill_front(p, put);
  if (put->value.size) memcpy(p + at, put->value.data, put->value.size);
  fill_attributes(p + at + put->value.size, put);
}

/* relaxed: as in fill_front. */
uint64_t layout_copy_front(uint8_t *p, const item *it) {
  record *record = (struct record *)(void *)p;
  uint64_t at = RECORD_HEAD;
  atomic_store_explicit(&record->link, 0, memory_order_relaxed);
  record->kind = (uint8_t)it->kind;
  record->flags = (uint8_t)it->flags;
  record->key_size = (uint16_t)it->key_size;
  record->value_size = it->value_size;
  record_set_version(record, it->version, 0, 0);
  if (it->flags & FLAG_EXPIRY) {
    memcpy(p + at, &it->expires, 8);
    at += 8;
  }
  if (it->flags & FLAG_ATTRIBUTES) {
    memcpy(p + at, &it->attributes_size, 8);
    at += 8;
  }
  return at;
}

uint64_t layout_copy_size(const item *it) {
  return record_size(it->flags, it->key_size, it->value_size, it->attributes_size);
}

static uint64_t body_size(const item *it) {
  return it->key_size + (uint64_t)it->value_size + it->attributes_size;
}

void layout_copy(uint8_t *p, const item *it) {
  uint64_t at = layout_copy_front(p, it), n = body_size(it);
  memcpy(p + at, it->key, n);
  memset(p + at + n, 0, layout_copy_size(it) - at - n);
}

uint64_t layout_short_body(const item *it) {
  return (it->flags & FLAG_EXPIRY ? 8 : 0) + (it->flags & FLAG_ATTRIBUTES ? 2 : 0) + body_size(it);
}

uint64_t layout_short(const store *store, uint8_t *p, uint64_t address, const item *it,
                      const short_form *form, uint64_t size, uint64_t *bytes_8_to_15) {
  uint64_t distance = form->newest - it->version, at = SHORT_KEY_SIZE;
  uint32_t sum;
  p[4] = (uint8_t)it->flags;
  memcpy(p + at, &it->key_size, form->key_size);
  at += form->key_size;
  memcpy(p + at, &it->value_size, form->value_size);
  at += form->value_size;
  memcpy(p + at, &distance, form->distance);
  at += form->distance;
  if (it->flags & FLAG_EXPIRY) {
    memcpy(p + at, &it->expires, 8);
    at += 8;
  }
  if (it->flags & FLAG_ATTRIBUTES) {
    memcpy(p + at, &it->attributes_size, 2);
    at += 2;
  }
  memcpy(p + at, it->key, body_size(it));
  at += body_size(it);
  sum = record_checksum_of_short(store->salt, address, p, at);
  memcpy(p, &sum, sizeof sum);
  memset(p + at, 0, size - at);
  *bytes_8_to_15 =
      sum | (uint64_t)KIND_PUT << 32 | (uint64_t)it->flags << 40 | (uint64_t)it->key_size << 48;
  return at;
}

static void seal_head(const store *store, uint64_t offset, record *record) {
  record->checksum = record_checksum(store->salt, offset, (const uint8_t *)record, RECORD_HEAD);
}

void layout_pad(const store *store, uint64_t offset, uint64_t size, record *record) {
  memset(record, 0, sizeof *record);
  record->kind = KIND_PAD;
  record->size = size;
  seal_head(store, offset, record);
}

/* relaxed: the head is a local one that put_bytes copies; the root, a directory word or a link,
** stored with release, leads readers to it later. */
void layout_extent(const store *store, uint64_t offset, int extent, int depth, uint32_t prefix,
                   uint64_t payload_size, record *record) {
  memset(record, 0, sizeof *record);
  record->kind = KIND_EXTENT;
  record->size = layout_extent_size(payload_size);
  record->extent = (uint8_t)extent;
  record->depth = (uint8_t)depth;
  record->prefix = prefix;
  record->life = (uint16_t)header_life(store, store->last.version);
  atomic_store_explicit(&record->link, extent == EXTENT_SEGMENT ? (uint64_t)depth : 0,
                        memory_order_relaxed);
  seal_head(store, offset, record);
}
