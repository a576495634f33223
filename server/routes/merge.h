/*
** merge.h - JSON merge patches (RFC 7396).
*/
#ifndef MAPH_ROUTES_MERGE_H
#define MAPH_ROUTES_MERGE_H

#include "base/buffer.h"
#include "entry/arena.h"
#include "maph.h"

/* What a patch makes of a target, appended to out; target empty: there is none.  Both are JSON that
** was read (json_value) and has no blanks between its tokens.  False: no memory. */
bool merge_patch(maph_slice target, maph_slice patch, arena *a, buffer *out);

#endif
