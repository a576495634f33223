/*
** size.h - how large the file is, and the mappings that reach all of it.
*/
#ifndef MAPH_SIZE_H
#define MAPH_SIZE_H

#include "file/store.h"

/* look at the file's size again; CORRUPT if need is past it */
int store_see_size(store *store, uint64_t need);
/* its first mapping: of the size that the file had when it was opened */
int store_map_opened(store *store);
int store_map_for_writing(store *store);
/* Let the file reach `to` at least, granted and mapped; for the holder of the turn.
** FULL NOMEM IOERR */
int store_grow(store *store, uint64_t to);

#endif
