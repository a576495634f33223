/*
** base.h - the base of a new generation: the live records of a snapshot.
*/
#ifndef MAPH_BASE_H
#define MAPH_BASE_H

#include "calls/rewriting.h"

/* Copy the snapshot's live records to rewriting->to as its base, in the order of their keys where
** that can be; or frozen: in the order of a perfect hash, where one can be had. */
int base_copy(rewriting *rewriting);
int base_freeze(rewriting *rewriting);
/* Then every key is looked up, and the order of them is made. */
int base_verify(rewriting *rewriting);

#endif
