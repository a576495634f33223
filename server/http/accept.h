/*
** accept.h - which of two representations a client would rather have (RFC 9110, 12.5.1).
*/
#ifndef MAPH_HTTP_ACCEPT_H
#define MAPH_HTTP_ACCEPT_H

#include "http/request.h"

/* How much Accept wants a media type, 0 to 1000: by its most specific range, 1000 without Accept.
** *named: that range is the type itself, no wildcard. */
int accept_quality(const request *request, const char *media_type, bool *named);
/* The same of Accept-Encoding; identity is 1000 unless it is refused. */
int accept_encoding_quality(const request *request, const char *encoding);

#endif
