/*
** open.h - the options that a store is opened or made with, and what an open says of a damaged one.
*/
#ifndef MAPH_OPEN_H
#define MAPH_OPEN_H

#include "file/store.h"
#include "maph.h"

/* checked, what is not given by its default; given may be NULL.  MISUSE */
int open_take_options(const maph_options *given, maph_options *options);
/* does it begin as a store does? */
int open_is_store(const os_file *file, const char *path);
/* rc, of an open: is a store there that is damaged, or closed to writing? */
int open_met_damage(int rc, const char *path);

#endif
