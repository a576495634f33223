/*
** waits.h - how many workers may wait at once, and for what.
*/
#ifndef MAPH_BASE_WAITS_H
#define MAPH_BASE_WAITS_H

#include <stdatomic.h>
#include <stdbool.h>

/* For a client's body, for a client that reads an answer, for a store's writer, for a store that is
** being opened. */
enum wait_kind { WAIT_BODY, WAIT_ANSWER, WAIT_WRITE, WAIT_OPEN, WAIT_KINDS };

/* Begin to wait, of one store too if `of_store` is given.  False: so many wait already, for a
** while, that no more may. */
bool waits_enter(enum wait_kind kind, atomic_uint *of_store);
void waits_leave(enum wait_kind kind, atomic_uint *of_store);
unsigned waits_count(enum wait_kind kind);

#endif
