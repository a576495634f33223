/*
** lookup.h - the live record of a key in a view: index, versions, expiry, checksum.
*/
#ifndef MAPH_LOOKUP_H
#define MAPH_LOOKUP_H

#include "file/record.h"
#include "file/store.h"

/* live at the snapshot; now 0: ask the clock if need be */
int view_find(const view *view, maph_slice key, uint64_t now, int verify, item *it);
int view_check_key(maph_slice key);
/* Is this record of the log the newest of its key at the snapshot?  *rc, MAPH_OK before: CORRUPT */
int item_newest(const view *view, const item *it, int *rc);
int item_expired(const item *it, uint64_t now);
/* Is this record, which the index led to, whole, and the newest of its key?  CORRUPT */
int item_verify(const view *view, const item *it);

#endif
