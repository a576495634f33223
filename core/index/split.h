/*
** split.h - the index is made, and grows: room for the keys that a transaction adds.
*/
#ifndef MAPH_SPLIT_H
#define MAPH_SPLIT_H

#include "file/store.h"
#include "index/changed.h"

/* a new empty index; root is stored last */
int index_create(store *store, uint64_t expected_keys);
/* the same, and what is reserved and published from now on goes there, unseen until index_show */
int index_create_beside(store *store, uint64_t expected_keys);
void index_show(store *store);        /* readers find what was built beside, all at once */
void index_drop_beside(store *store); /* or that is given up */
/* sort pending; split until all that is new has room, after what is decided and not yet published.
** FULL */
int index_reserve(store *store, pending *pending, size_t n, struct pending *scratch,
                  const changed_keys *decided);
int index_finish_split(store *store); /* of a writer that died in it */

#endif
