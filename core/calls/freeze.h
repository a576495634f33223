/*
** freeze.h - the base of a new generation, frozen.
*/
#ifndef MAPH_FREEZE_H
#define MAPH_FREEZE_H

#include "calls/rewriting.h"

/* Copy the snapshot's live records to rewriting->to as its base, in the order of a perfect hash
** where one can be had, else as they lie. */
int freeze_base(rewriting *rewriting);

#endif
