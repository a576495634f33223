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

/* How many wait in one place, and when one of them went last, or the first came.  All zero:
** none. */
typedef struct wait_place {
  atomic_uint count;
  atomic_uint_fast64_t moved_us;
} wait_place;

/* Begin to wait, of one store too if `of_store` is given.  False: so many wait already, and it does
** not get better, that no more may. */
bool waits_enter(enum wait_kind kind, wait_place *of_store);
/* The same without waiting for room. */
bool waits_try(enum wait_kind kind);
void waits_leave(enum wait_kind kind, wait_place *of_store);
/* No more of that kind may now. */
bool waits_full(enum wait_kind kind);
unsigned waits_count(enum wait_kind kind);

#endif
