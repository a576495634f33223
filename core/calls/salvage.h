/*
** salvage.h - what can be read of a damaged store.
*/
#ifndef MAPH_SALVAGE_H
#define MAPH_SALVAGE_H

#include "file/store.h"

/* The file at path, whatever state it is in, mapped for writing; lockless, not registered.  *store
** is to be freed, also where a caller fails then.  legible: its records can be told from noise. */
int salvage_open(const char *path, store **store, int *legible);
/* The highest version of what is sound in the log of a legible store; pads and index pieces have
** none.  Reads the whole file.  CANCELLED */
int salvage_highest(store *store, uint64_t *version);

#endif
