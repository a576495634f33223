/*
** layout.h - records in memory as they will be in the log.
*/
#ifndef MAPH_LAYOUT_H
#define MAPH_LAYOUT_H

#include "file/record.h"
#include "file/store.h"

typedef struct put_parts {
  int kind, flags;
  maph_slice key, value, media_type;
  uint64_t expires, version, prev;
} put_parts;

/* A put or delete in its parts: head to key; then the value; then, from that place of the record
** on, what follows it.  Each gives its size.  The checksum is left open. */
enum { LAYOUT_FRONT_MOST = RECORD_HEAD + 16 + KEY_MAX, LAYOUT_BACK_MOST = 2 + MEDIA_TYPE_MAX + 7 };
uint64_t layout_front(uint8_t *p, const put_parts *put);
uint64_t layout_back(uint8_t *p, const put_parts *put, uint64_t at);
static inline uint64_t layout_put_size(const put_parts *put) {
  return record_size(put->flags, put->key.size, put->value.size,
                     put->media_type.size ? 2 + put->media_type.size : 0);
}
void layout_put(uint8_t *p, const put_parts *put, uint64_t size); /* all of it, of that size */

/* A put again, as the first version of its key: what is before its key, all of it, and its size.
** The checksum is left open. */
uint64_t layout_copy_front(uint8_t *p, const item *it);
void layout_copy(uint8_t *p, const item *it);
uint64_t layout_copy_size(const item *it);
/* The same as a frozen record in the short form, sealed, with zeros behind it up to `size`.  It
** gives its own size; layout_short_body is that without the fields that all have. */
uint64_t layout_short(const store *store, uint8_t *p, uint64_t address, const item *it,
                      const short_form *form, uint64_t size, uint64_t *bytes_8_to_15);
uint64_t layout_short_body(const item *it);

/* The head of a pad or extent, with its checksum. */
void layout_pad(const store *store, uint64_t offset, uint64_t size, record *record);
void layout_extent(const store *store, uint64_t offset, int extent, int depth, uint32_t prefix,
                   uint64_t payload_size, record *record);

/* The bytes of a pad, 0 or 32 or more, that end `past` past a multiple of 64. */
static inline uint64_t layout_gap(uint64_t at, uint64_t past) {
  uint64_t gap = (past - at) & 63;
  return gap && gap < RECORD_HEAD ? gap + 64 : gap;
}
/* An extent's payload must start at a multiple of 64: it may need a pad before it.  It ends 32 past
** a multiple of 64, so that the next one needs none. */
static inline uint64_t layout_extent_gap(uint64_t at) { return layout_gap(at, RECORD_HEAD); }
static inline uint64_t layout_extent_size(uint64_t payload_size) {
  return RECORD_HEAD + ((payload_size + 63) & ~UINT64_C(63)) + RECORD_HEAD;
}

#endif
