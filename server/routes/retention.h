/*
** retention.h - how many backups of a store are kept.
*/
#ifndef MAPH_ROUTES_RETENTION_H
#define MAPH_ROUTES_RETENTION_H

#include <stdint.h>

/* Of the backups of a store that are named by their time, remove all but the newest `keep`.  An
** errno; 0: done. */
int retention_prune(const char *folder, const char *store, uint64_t keep);

#endif
