/*
** room.h - whether the disk of the stores' folder is full.
*/
#ifndef MAPH_BASE_ROOM_H
#define MAPH_BASE_ROOM_H

#include <stdbool.h>
#include <stdint.h>

/* Of that disk, for this user; UINT64_MAX: it does not tell. */
uint64_t room_free(void);
/* A write was refused for want of room. */
void room_refused(void);
/* And it was a delete. */
void room_refused_delete(void);
/* There is none: a store cannot grow, or a write was refused and not much went since. */
bool room_is_full(void);
/* Of a full disk: may deletes go on?  Files have room for them, but not where each write goes to a
** new place, nor once that was used up. */
bool room_for_deletes(void);

#endif
