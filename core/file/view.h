/*
** view.h - what one read believes: the bytes below `committed`, within the size last seen.
*/
#ifndef MAPH_VIEW_H
#define MAPH_VIEW_H

#include "file/store.h"

int view_latest(store *store, view *view);
int view_at(store *store, uint64_t snapshot, view *view);
/* what a writer reads; nothing is checked */
void view_for_writing(store *store, uint64_t snapshot, view *view);

#endif
