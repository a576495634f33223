/*
** publish.h - the index leads to what a transaction wrote.
*/
#ifndef MAPH_PUBLISH_H
#define MAPH_PUBLISH_H

#include "file/store.h"
#include "index/changed.h"

/* let index_publish store into what is there already.  FULL IOERR */
int index_grant(store *store, const pending *pending, size_t n);
/* the same for what says that this record was superseded */
int index_grant_mark(store *store, uint64_t record);
/* the record was not superseded after all; its page was granted by index_grant_mark */
void index_unmark(store *store, uint64_t record);
/* slots lead to the new records; again: some may already */
int index_publish(store *store, const pending *pending, size_t n, int again);

#endif
