/*
** types.h - of which types the keys of a store are: text, or not.
*/
#ifndef MAPH_ORDER_TYPES_H
#define MAPH_ORDER_TYPES_H

#include "file/record.h"
#include "file/store.h"

enum { TYPES_TEXT = 1 << MAPH_KEY_TEXT, TYPES_BLOB = 1 << MAPH_KEY_BLOB };
enum { TYPES_ALL = TYPES_TEXT | TYPES_BLOB };
enum { TYPES_KNOWN = 1 }; /* beside those of a run list; else these tell nothing */

int types_of_put(const item *put);
int types_of_key(int flags, maph_slice key); /* of its put */
/* TYPES_* of the keys that were put in the log before the view's end, and perhaps of later ones.
** version: of the last transaction there */
int types_take(const view *view, uint64_t version);
/* With TYPES_KNOWN, if this process knows of all puts before `to`; else 0. */
int types_known(store *store, uint64_t to);
/* The same of [from, the view's end), of which nothing is kept. */
int types_take_alone(const view *view, uint64_t from);

#endif
