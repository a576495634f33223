/*
** handling.h - what the table of routes found out about a request, for its handler.
*/
#ifndef MAPH_ROUTES_HANDLING_H
#define MAPH_ROUTES_HANDLING_H

#include "http/request.h"
#include "store/stores.h"

enum { SEGMENT_MAX = 4 };

/* It lives in routes_dispatch, as long as the handler runs. */
typedef struct handling {
  /* What stands for NAME, ID and KEY of the route's pattern, decoded; KEY is all of the rest. */
  maph_slice segments[SEGMENT_MAX];
  int segment_count;
  store *store; /* held for the request, when its route needs one */
} handling;

static inline handling *handling_of(const request *request) { return request->handling; }
static inline store *store_of(const request *request) { return handling_of(request)->store; }
static inline maph_slice segment_of(const request *request, int i) {
  return handling_of(request)->segments[i];
}

#endif
