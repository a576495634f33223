/*
** log.h - space in the file, and records written into it.
*/
#ifndef MAPH_LOG_H
#define MAPH_LOG_H

#include "file/record.h"
#include "file/store.h"

/* look at the file's size again; CORRUPT if need is past it */
int store_see_size(store *s, uint64_t need);
int store_map_for_writing(store *s);
/* What a transaction leaves at the end of the file where the disk is nearly full: see log.c */
enum { LOG_SPARES_NOTHING, LOG_SPARES_COMPACTION, LOG_SPARES_DELETES };
/* granted, mapped, faulted in, and s->spares is left behind it.  FULL NOMEM IOERR */
int log_room(store *s, uint64_t to);
/* How index pieces call the life, between recoveries, that they were made in. */
static inline uint16_t log_life(uint64_t version) { return (uint16_t)(version >> 32); }
/* give granted space that is not used back, but `spares` (LOG_SPARES_*) */
void log_trim(store *s, int spares);
typedef struct log_put {
  int kind, flags;
  maph_slice key, value, media_type;
  uint64_t expires, version, prev;
} log_put;
/* after log_room */
int log_write_put(store *s, uint64_t offset, const log_put *put, uint64_t *size,
                  uint64_t *bytes_8_to_15);
/* after log_room; size: padding included */
int log_copy_put(store *s, uint64_t offset, const uint8_t *from, const item *it, uint64_t size,
                 uint64_t *bytes_8_to_15);
int log_write_end(store *s, uint64_t offset, end_record *e); /* seals e's checksum */
int log_write_pad(store *s, uint64_t from, uint64_t to);
/* a region that no transaction owns becomes one pad */
int log_cover(store *s, uint64_t from, uint64_t to);
/* at space_end; moves `end` past it */
int log_extent(store *s, int extent, int depth, uint32_t prefix, uint64_t size, uint64_t *payload);
int log_erase_end(store *s, uint64_t offset); /* an end record that must not count */

#endif
