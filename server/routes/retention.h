/*
** retention.h - how many backups of a store are kept.
*/
#ifndef MAPH_ROUTES_RETENTION_H
#define MAPH_ROUTES_RETENTION_H

#include <stdint.h>

/* The time as backups have it in their names. */
enum { RETENTION_STAMP_ROOM = 17 };
void retention_stamp(char *stamp);

/* Of the backups of a store that are named by their time, remove all but the newest `keep`; the
** one just made is the newest, whatever the clock was set to.  An errno; 0: done. */
int retention_prune(const char *folder, const char *store, uint64_t keep, const char *made);

#endif
