/*
** nearest.h - which name somebody meant.
*/
#ifndef MAPH_OPTION_NEAREST_H
#define MAPH_OPTION_NEAREST_H

#include "maph.h"

/* Which of the names (blanks between them) takes the fewest changes to become that one. */
const char *name_nearest(const char *names, maph_slice name);

#endif
