/*
** open.h - the options that a store is opened or made with, and what an open says of a damaged one.
*/
#ifndef MAPH_OPEN_H
#define MAPH_OPEN_H

#include "file/store.h"
#include "maph.h"

/* checked, what is not given by its default; given may be NULL.  MISUSE */
int open_take_options(const maph_options *given, maph_options *options);
/* reason: what it gives where the file does not begin as a store does.  IOERR */
int open_look_if_store(const os_file *file, const char *path, int reason);
/* rc, of an open: is a store there that is damaged, or closed to writing? */
int open_met_damage(int rc, const char *path);

#endif
