/*
** log.h - records written into the log.
*/
#ifndef MAPH_LOG_H
#define MAPH_LOG_H

#include "file/layout.h"
#include "file/store.h"

/* after reserve_room */
int log_write_put(store *store, uint64_t offset, const put_parts *put, uint64_t *size,
                  uint64_t *bytes_8_to_15);
/* The same into memory, of what log_write_bytes will write at that offset. */
void log_lay_out(store *store, uint64_t offset, const put_parts *put, uint8_t *p, uint64_t *size,
                 uint64_t *bytes_8_to_15);
/* Records laid out so, by a call of the system: the pages need not be faulted in. */
int log_write_bytes(store *store, uint64_t offset, const void *data, uint64_t size);
int log_write_end(store *store, uint64_t offset, end_record *end); /* seals end's checksum */
int log_write_pad(store *store, uint64_t from, uint64_t to);
/* a region that no transaction owns becomes one pad */
int log_cover(store *store, uint64_t from, uint64_t to);
/* at space_end; moves `end` past it */
int log_extent(store *store, int extent, int depth, uint32_t prefix, uint64_t size,
               uint64_t *payload);
int log_erase_end(store *store, uint64_t offset); /* an end record that must not count */
int log_blank(store *store);                      /* no record's head is at space_end */

#endif
