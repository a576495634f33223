/*
** changed.h - what the index is told of a transaction: the keys that it changes.
*/
#ifndef MAPH_CHANGED_H
#define MAPH_CHANGED_H

#include <stddef.h>
#include <stdint.h>

/* One key that a transaction changes. */
typedef struct pending {
  uint64_t hash;
  uint64_t newest; /* its last record in the transaction; 0: rolled back, nothing */
  uint64_t first;  /* its first */
  uint64_t base;   /* the record its slot leads to before; 0: it has no slot */
} pending;

/* The keys that one transaction changes, and those of the transaction decided after it. */
typedef struct changed_keys {
  struct changed_keys *next;
  pending *key; /* each once, in order of first use until index_reserve sorts them */
  size_t count;
  int retyped; /* TYPES_* (order/types.h) that keys have now which were put before */
} changed_keys;

#endif
