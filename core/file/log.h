/*
** log.h - space in the file, and records written into it.
*/
#ifndef MAPH_LOG_H
#define MAPH_LOG_H

#include "file/record.h"
#include "file/store.h"

/* look at the file's size again; CORRUPT if need is past it */
int store_see_size(store *store, uint64_t need);
/* its first mapping: of the size that the file had when it was opened */
int store_map_opened(store *store);
int store_map_for_writing(store *store);
/* What a transaction leaves at the end of the file where the disk is nearly full: see log.c */
enum { LOG_SPARES_NOTHING, LOG_SPARES_COMPACTION, LOG_SPARES_DELETES, LOG_SPARES_MEANWHILE };
/* granted, mapped, faulted in, and store->spares is left behind it.  FULL NOMEM IOERR */
int log_room(store *store, uint64_t to);
/* The life, between recoveries, in which the last transaction has that version. */
uint64_t log_life(const store *store, uint64_t version);
/* give granted space that is not used back, but `spares` (LOG_SPARES_*) */
void log_trim(store *store, int spares);
/* Granted room that a compaction can be given, if deletes keep some meanwhile. */
uint64_t log_lendable(store *store);
/* Lend it.  The loan ends when the new file has the name (over); or it was not enough, and deletes
** have their room again (take_again): with a session, unless none can be had. */
void log_lend(store *store);
void log_lending_over(store *store);
void log_take_again(store *store);
/* Was it given to a compaction of another process, or of another thread, and has the file less than
** `bytes` left?  With a session. */
int log_lent(store *store, uint64_t bytes);
enum { LOG_LENT_FEW = 16 * 1024 }; /* what single deletes may need */
/* As much behind what is written as deletes should have, if there is as much. */
void log_keep_for_deletes(store *store);
typedef struct log_put {
  int kind, flags;
  maph_slice key, value, media_type;
  uint64_t expires, version, prev;
} log_put;
/* after log_room */
int log_write_put(store *store, uint64_t offset, const log_put *put, uint64_t *size,
                  uint64_t *bytes_8_to_15);
int log_write_end(store *store, uint64_t offset, end_record *end); /* seals end's checksum */
int log_write_pad(store *store, uint64_t from, uint64_t to);
/* a region that no transaction owns becomes one pad */
int log_cover(store *store, uint64_t from, uint64_t to);
/* at space_end; moves `end` past it */
int log_extent(store *store, int extent, int depth, uint32_t prefix, uint64_t size,
               uint64_t *payload);
int log_erase_end(store *store, uint64_t offset); /* an end record that must not count */
int log_blank(store *store);                      /* no record's head is at space_end */

/* ----------------------------------------------------- records in memory that will be in the log
** */

/* A put or delete in its parts: head to key; then the value; then, from that place of the record
** on, what follows it.  Each gives its size.  The checksum is left open. */
enum { LOG_FRONT_MOST = RECORD_HEAD + 16 + KEY_MAX, LOG_BACK_MOST = 2 + MEDIA_TYPE_MAX + 7 };
uint64_t log_fill_front(uint8_t *p, const log_put *put);
uint64_t log_fill_back(uint8_t *p, const log_put *put, uint64_t at);
void log_fill_put(uint8_t *p, const log_put *put); /* all of it */
uint64_t log_put_size(const log_put *put);

/* A put again, as the first version of its key: what is before its key, all of it, and its size.
** The checksum is left open. */
uint64_t log_fill_copy_front(uint8_t *p, const item *it);
void log_fill_copy(uint8_t *p, const item *it);
uint64_t log_copy_size(const item *it);
/* The same as a frozen record in the short form, sealed, with zeros behind it up to `size`.  It
** gives its own size; log_short_body is that without the fields that all have. */
uint64_t log_fill_short(const store *store, uint8_t *p, uint64_t address, const item *it,
                        const short_form *form, uint64_t size, uint64_t *bytes_8_to_15);
uint64_t log_short_body(const item *it);

/* The head of a pad or extent, with its checksum. */
void log_fill_pad(const store *store, uint64_t offset, uint64_t size, record *record);
void log_fill_extent(const store *store, uint64_t offset, int extent, int depth, uint32_t prefix,
                     uint64_t payload_size, record *record);

/* The bytes of a pad, 0 or 32 or more, that end `past` past a multiple of 64. */
static inline uint64_t log_gap(uint64_t at, uint64_t past) {
  uint64_t gap = (past - at) & 63;
  return gap && gap < RECORD_HEAD ? gap + 64 : gap;
}
/* An extent's payload must start at a multiple of 64: it may need a pad before it.  It ends 32 past
** a multiple of 64, so that the next one needs none. */
static inline uint64_t log_extent_gap(uint64_t at) { return log_gap(at, RECORD_HEAD); }
static inline uint64_t log_extent_size(uint64_t payload_size) {
  return RECORD_HEAD + ((payload_size + 63) & ~UINT64_C(63)) + RECORD_HEAD;
}

#endif
