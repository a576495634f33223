/*
** auth.h - bearer tokens: who may do what with which store.
*/
#ifndef MAPH_ACCESS_AUTH_H
#define MAPH_ACCESS_AUTH_H

#include "http/request.h"

/* Each may do what those before it may.  METRICS: nothing of any store but its numbers.  ANY: a
** good token, for anything at all. */
enum {
  ROLE_NONE = 0,
  ROLE_METRICS = 1,
  ROLE_READ = 2,
  ROLE_WRITE = 3,
  ROLE_ADMIN = 4,
  ROLE_ANY = -1
};
bool auth_on(void); /* tokens are asked for */
/* read the tokens, again at SIGHUP; false: a mistake, and nothing changed */
bool auth_load(void);
/* Store empty: all stores.  False: 401 or 403 answered. */
bool auth_allows(request *request, int role, maph_slice store);
bool auth_holds(const request *request, int role, const char *store); /* the same, unanswered */
bool auth_knows(const request *request);                              /* it has a good token */
const char *auth_token(const request *request); /* what it gives as one; NULL: nothing */
/* The most it may do there; NULL: anywhere. */
const char *auth_role_name(const request *request, const char *name);

#endif
