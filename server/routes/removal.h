/*
** removal.h - the entries of a range of keys are deleted, by batches.
*/
#ifndef MAPH_ROUTES_REMOVAL_H
#define MAPH_ROUTES_REMOVAL_H

#include "http/request.h"
#include "store/stores.h"

/* Which keys a DELETE names: ?prefix=, ?from=, ?to=, or ?all=1.  False: none, or too much, and that
** was answered. */
bool removal_read(request *request, maph_range *range);
/* Called before the first batch and after each: so many are deleted of about `total`, and `last` is
** the last key looked at (size 0: none yet).  Not 0: stop. */
typedef int (*removal_told)(void *arg, uint64_t deleted, uint64_t total, maph_slice last);
/* A code of the core's; CANCELLED: told said so. */
int removal_run(store *store, const maph_range *range, int durability, removal_told told,
                void *arg);

#endif
