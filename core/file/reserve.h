/*
** reserve.h - granted room behind the log, and what of it is kept while the disk is nearly full.
**
** All calls are for the holder of the turn.
*/
#ifndef MAPH_RESERVE_H
#define MAPH_RESERVE_H

#include "file/store.h"

/* What a transaction leaves at the end of the file where the disk is nearly full: see reserve.c */
enum { SPARES_NOTHING, SPARES_COMPACTION, SPARES_DELETES, SPARES_MEANWHILE };
/* granted, mapped, faulted in, and store->spares is left behind it.  FULL NOMEM IOERR */
int reserve_room(store *store, uint64_t to);
/* The same, not faulted in: for what is written by calls of the system. */
int reserve_space(store *store, uint64_t to);
/* give granted space that is not used back, but `spares` (SPARES_*) */
void reserve_trim(store *store, int spares);
/* Granted room that a compaction can be given, if deletes keep some meanwhile. */
uint64_t reserve_lendable(store *store);
/* Lend it.  The loan ends when the new file has the name (over); or it was not enough, and deletes
** have their room again (take_again): with a session, unless none can be had. */
void reserve_lend(store *store);
void reserve_lending_over(store *store);
void reserve_take_again(store *store);
/* Was it given to a compaction of another process, or of another thread, and has the file less than
** `bytes` left?  With a session. */
int reserve_lent(store *store, uint64_t bytes);
enum { RESERVE_LENT_FEW = 16 * 1024 }; /* what single deletes may need */
/* As much behind what is written as deletes should have, if there is as much. */
void reserve_keep_for_deletes(store *store);

#endif
