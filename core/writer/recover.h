/*
** recover.h - a store made whole from its log alone.
*/
#ifndef MAPH_RECOVER_H
#define MAPH_RECOVER_H

#include "file/store.h"

int recover_in_place(store *s); /* with the lock: believe only the log */
/* after s->last, at that offset; everything before it is flushed */
int recover_append_epoch(store *s, uint64_t at);

#endif
