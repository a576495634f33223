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

/* Entries as they are found: a row that grows. */
typedef struct row {
  order_entry *e;
  uint64_t count, room;
} row;
int row_add(row *row, uint64_t offset);  /* NOMEM */
int row_make_room(row *row, uint64_t n); /* for so many more.  NOMEM */

/* Sort the entries, each the place of a put, below the view's end, by key.  *shared is how many
** bytes all keys are known to have in common, and the words are what follows these.  *types (NULL:
** not wanted): the types (types.h) of these puts are added.  CORRUPT NOMEM */
int order_sort(const view *view, order_entry *entry, uint64_t n, uint32_t *shared, int *types);
/* Words for sorted entries of which many agree in those: *shared is how much all keys have in
** common, and what follows it is each one's word.  Else these stay, and so does *shared.  agree:
** how many have the word of the one before.  *known (NULL: not wanted): so many bytes of the words
** are the keys'.  CORRUPT */
int order_words(const view *view, order_entry *entry, uint64_t n, uint64_t agree, uint32_t *shared,
                unsigned *known);
/* The same; it counts them. */
int order_words_of_sorted(const view *view, order_entry *entry, uint64_t n, uint32_t *shared);

#endif
