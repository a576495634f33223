/*
** merge.h - several runs become one, some entries at a time.
*/
#ifndef MAPH_MERGE_H
#define MAPH_MERGE_H

#include "file/store.h"
#include "order/run.h"
#include "order/sort.h"

typedef struct merge merge;

/* Of runs that follow each other in the log.  Nothing is written.  spare: as in run_making.
** CORRUPT NOMEM */
int merge_begin(const view *view, const run *runs, size_t count, unsigned spare, merge **merge);
/* Write leaves until about so many entries more are in them.  *payload: 0, or that of the run,
** which is finished.  CORRUPT FULL NOMEM IOERR */
int merge_some(store *store, merge *merge, uint64_t entries, uint64_t *payload);
/* Where its first run stands in the list, if all are there.  -1: they are not */
int merge_place(const merge *merge, const run_list *list);
size_t merge_count(const merge *merge);
void merge_end(merge *merge); /* NULL: no-op */

#endif
