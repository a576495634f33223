/*
** head.h - a request's head as bytes: where it ends, and what a plain one says.
*/
#ifndef MAPH_HTTP_HEAD_H
#define MAPH_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include "http/request.h"

enum { PLAIN_MOST = 8192 }; /* bytes of a plain head */

/* Whether there is one in these bytes, or what can never be one; those before `from` were looked at
** already. */
bool head_ends(const char *bytes, size_t size, size_t from);
/* A head of size bytes that may be a plain one. */
bool head_may_be_plain(const char *bytes, size_t size);
/* Read a plain head into request, whose method, target, version and headers then point into the
** bytes: PLAIN_MOST at most, and room for one more.  How many bytes it has; 0: it is none that is
** plain, or not whole, and request means nothing. */
size_t head_read(char *bytes, size_t size, request *request);
/* Whether a header may be called so: it is a token of RFC 9110. */
bool head_is_name(const char *name);
/* How long http:// or https:// is, with which a target begins that is a whole URL; else 0. */
size_t head_scheme_size(const char *target);
/* Whether the connection ends after the request, by its version and Connection lines. */
bool head_closes(const request *request);

#endif
