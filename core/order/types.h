/*
** types.h - of which types the keys of a store are: text, or not.
*/
#ifndef MAPH_ORDER_TYPES_H
#define MAPH_ORDER_TYPES_H

#include "file/store.h"

enum { TYPES_TEXT = 1 << MAPH_KEY_TEXT, TYPES_BLOB = 1 << MAPH_KEY_BLOB };
enum { TYPES_ALL = TYPES_TEXT | TYPES_BLOB };

/* TYPES_* of the keys that were put in the log before the view's end, and perhaps of later ones. */
int types_take(const view *view);
/* The same of [from, the view's end), of which nothing is kept. */
int types_take_alone(const view *view, uint64_t from);

#endif
