/*
** versions.h - where the versions of a new store begin: past all that an earlier one of its name
** can have given out.
*/
#ifndef MAPH_STORE_VERSIONS_H
#define MAPH_STORE_VERSIONS_H

#include <stdbool.h>
#include <stdint.h>

/* A version that no store of any name can have reached. */
uint64_t version_unused(void);
/* A store that is to be deleted has reached that version.  False: only this process knows. */
bool version_remember(uint64_t version);
void version_forgotten(const char *store); /* log that */

#endif
