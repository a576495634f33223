/*
** snapshot.h - a snapshot, for the cursors over it and for what looks at one.
*/
#ifndef MAPH_SNAPSHOT_H
#define MAPH_SNAPSHOT_H

#include "calls/handle.h"

int snapshot_take(maph *m, maph_snapshot *snapshot); /* as open, but nothing is pinned or counted */
int snapshot_view(maph_snapshot *snapshot, view *view); /* MISUSE CONFLICT */
int snapshot_readable(const maph_snapshot *snapshot);   /* may a cursor be opened at it?  MISUSE */
void snapshot_hold(maph_snapshot *snapshot);            /* as long as a cursor needs it */
void snapshot_let_go(maph_snapshot *snapshot);

#endif
