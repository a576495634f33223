/*
** base.h - the base of a new generation: the live records of a snapshot.
*/
#ifndef MAPH_BASE_H
#define MAPH_BASE_H

#include "calls/rewriting.h"

/* Copy the snapshot's live records to rewriting->to as its base, in the order of their keys where
** that can be.  freeze_base does it in the order of a perfect hash. */
int base_copy(rewriting *rewriting);
/* After either of them every key is looked up, and the order of them is made. */
int base_verify(rewriting *rewriting);

#endif
