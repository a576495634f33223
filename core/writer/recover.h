/*
** recover.h - a store made whole from its log alone.
*/
#ifndef MAPH_RECOVER_H
#define MAPH_RECOVER_H

#include "file/store.h"

int recover_in_place(store *store); /* with the lock: believe only the log */
/* after store->last, at that offset; everything before it is flushed */
int recover_append_epoch(store *store, uint64_t at);

#endif
