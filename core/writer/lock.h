/*
** lock.h - the locks of writers: the turn, which is the writer mutex of this process, and the lock
** among processes.  What a writer has to do once it holds them is session.c's.
*/
#ifndef MAPH_LOCK_H
#define MAPH_LOCK_H

#include "file/store.h"
#include "writer/patience.h"

/* Open the lock file and lock this process's byte in it; the byte alone if it is open.  BUSY at
** once. */
int lock_open(store *store);
void lock_close(store *store);
/* Does no other process have the store open for writing?  With the lock. */
int lock_alone(store *store);
void lock_leave(store *store); /* count as one of them no longer */

int lock_take_turn(store *store, const lock_patience *patience); /* BUSY CANCELLED */
void lock_give_turn(store *store);
int lock_turn_is_mine(store *store); /* this thread took it, and it was not given up since */

/* What lock_take found: a reason of this process to hold the lock; a bias to this process, so that
** no other wrote since; or neither. */
enum { LOCK_WAS_HELD, LOCK_WAS_OURS, LOCK_WAS_FREE };

/* With the turn: one reason more to hold the lock.  BUSY CANCELLED CANTOPEN IOERR */
int lock_take(store *store, const lock_patience *patience, int *found);
void lock_release(store *store);         /* one reason less; the last one unlocks */
void lock_release_in_turn(store *store); /* the same, with the turn */
void lock_wait_released(store *store);   /* with the turn, so that no reason is added */
int lock_wanted(store *store);           /* does another process wait for it? */

#endif
