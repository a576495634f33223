/*
** lock.h - who may write: the turn among the threads of this process, and the lock among processes.
*/
#ifndef MAPH_LOCK_H
#define MAPH_LOCK_H

#include "file/store.h"

/* the lock file, and this process's mark in it: again, if it stayed open.  BUSY at once */
int lock_open(store *s);
void lock_close(store *s);
/* the turn and the lock; then the store is whole and `last` current */
int lock_take(store *s, int timeout_ms);
void lock_give_turn(store *s);
void lock_release(store *s); /* one reason less to keep the lock */
/* no other process has the store open for writing; only with the lock */
int lock_alone(store *s);
void lock_leave(store *s); /* count as one of them no longer; with the lock */

#endif
