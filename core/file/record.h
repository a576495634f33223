/*
** record.h - records of the log as fields: sizes, checksums, what a put or delete says.
*/
#ifndef MAPH_RECORD_H
#define MAPH_RECORD_H

#include "file/store.h"

/* A put or delete, taken apart.  Pointers into the view's mapping. */
typedef struct item {
  uint64_t offset, size; /* of the whole record */
  int kind, flags;
  uint32_t key_size, value_size;
  uint64_t prev, version, expires, attributes_size;
  const uint8_t *key, *value;
} item;

uint64_t record_size(int flags, uint64_t key_size, uint64_t value_size, uint64_t attributes_size);
uint32_t record_checksum(uint64_t salt, uint64_t offset, const uint8_t *p, uint64_t size);
/* of any kind; CORRUPT */
int record_span(const view *v, uint64_t offset, uint64_t limit, int *kind, uint64_t *size);
/* of a put or delete; CORRUPT */
int record_item(const view *v, uint64_t offset, uint64_t limit, item *it);
/* of a put or delete whose head is in the file; the rest may lie past its size last seen */
int record_prev(const view *v, uint64_t offset, uint64_t *prev);
/* its checksum; CORRUPT */
int record_verify(const view *v, uint64_t offset, uint64_t size);
/* the end or epoch record before `end` */
int record_end(const view *v, uint64_t end, end_record *e);
void record_entry(const item *it, maph_entry *entry);
/* its size without padding */
uint64_t record_needs(const uint8_t *from, const item *it);
uint64_t record_digest(uint64_t digest, uint64_t offset, uint64_t bytes_8_to_15);
uint64_t record_chain(uint64_t salt, uint64_t chain, const end_record *e, uint64_t digest);

#endif
