/*
** uri.h - the bytes that a request's path and query name.
*/
#ifndef MAPH_BASE_URI_H
#define MAPH_BASE_URI_H

#include <stdbool.h>
#include <stddef.h>
#include "maph.h"

enum { QUERY_MAX = 200 };
typedef struct query_item {
  maph_slice name, value;
} query_item;

/* Decode %XX in text into out (which has room for size bytes).  SIZE_MAX when a % is not followed
** by two hex digits. */
size_t percent_decode(const char *text, size_t size, char *out, bool plus_is_space);
bool store_name_valid(const char *name, size_t size);
/* Decode a query string into at most QUERY_MAX items, their bytes in out (room: strlen(query)).
** -1: malformed; -2: too many. */
int query_parse(const char *query, char *out, query_item *items);

#endif
