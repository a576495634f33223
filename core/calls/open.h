/*
** open.h - the options that a store is opened or made with.
*/
#ifndef MAPH_OPEN_H
#define MAPH_OPEN_H

#include "maph.h"

/* checked, what is not given by its default; given may be NULL.  MISUSE */
int open_take_options(const maph_options *given, maph_options *options);

#endif
