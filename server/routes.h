/*
** routes.h - which handler answers which path and method.
*/
#ifndef MAPH_ROUTES_H
#define MAPH_ROUTES_H

#include "http/request.h"

typedef struct route {
  const char *name; /* for logs and metrics */
  int methods;
  char pattern[32]; /* segments; NAME a store, ID one segment, KEY all the rest */
  void (*handler)(request *request);
  int role;          /* that a token needs, for the store NAME or for all */
  bool needs_store;  /* store_of(request) is held while the handler runs */
  const char *query; /* names it takes, blanks between; NULL: any */
} route;
void routes_dispatch(request *request);

#endif
