/*
** sort.h - places of records, put into the order of the records' keys.
*/
#ifndef MAPH_ORDER_SORT_H
#define MAPH_ORDER_SORT_H

#include "file/store.h"

typedef struct order_entry {
  uint64_t word; /* of the key: scratch while sorting */
  uint64_t offset;
} order_entry;

/* Sort the entries, each the place of a put below the view's end, by key.  Their words are then
** anything.  CORRUPT NOMEM */
int order_sort(const view *v, order_entry *p, uint64_t n);
/* The words of sorted entries: *shared is how much all keys have in common, and what follows it is
** each one's word.  CORRUPT */
int order_words(const view *v, order_entry *p, uint64_t n, uint32_t *shared);

#endif
