/*
** measure.h - walks over the whole index.
*/
#ifndef MAPH_MEASURE_H
#define MAPH_MEASURE_H

#include "file/store.h"

typedef struct index_shape {
  uint64_t depth, segments, bytes;
} index_shape;
int index_measure(const view *view, index_shape *shape);
/* Each slot in use, where it lies, and in which bucket of its segment. */
typedef int (*index_visit_fn)(void *arg, uint64_t slot_offset, unsigned bucket, uint64_t slot);
int index_walk(const view *view, index_visit_fn visit, void *arg);

#endif
