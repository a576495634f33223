/*
** build.h - an index for keys that are all known: made at once, in its final size.
*/
#ifndef MAPH_BUILD_H
#define MAPH_BUILD_H

#include "file/store.h"
#include "index/hashes.h"

/* What the maker of the file does for it. */
typedef struct index_sink {
  void *arg;
  /* these bytes are the next ones of the file */
  int (*append)(void *arg, const void *data, uint64_t size);
  /* Two records of one hash: *same is 1 where they have one key. */
  int (*compare)(void *arg, uint64_t older, uint64_t newer, int *same);
  /* that record was superseded by a newer one of its key: it gets no slot */
  int (*supersede)(void *arg, uint64_t older);
} index_sink;

unsigned index_depth_for(uint64_t keys); /* of the directory: what index_create makes */
uint64_t index_keys(store *store);       /* that the index is made for, without a split */
uint64_t index_size(unsigned depth);     /* in bytes, with no overflow segments */
/* Its extents, one after the other, from `at` on, where one may begin: directory, segments, and
** those that they overflow to.  Of several records of one key the one with the highest offset
** counts.  *root: the header's word.  The hashes are consumed. */
int index_build(store *store, hashes *hashes, unsigned depth, uint64_t at, const index_sink *sink,
                uint64_t *root);

#endif
