/*
** body.h - request bodies.
*/
#ifndef MAPH_HTTP_BODY_H
#define MAPH_HTTP_BODY_H

#include "http/request.h"

/* The whole body as one slice, in memory or, above option.spool_above, mapped from a file without a
** name; at most limit bytes; lasts until the request ends.  False: the problem has been answered.
*/
bool body_all(request *request, uint64_t limit, maph_slice *body);
/* The next bytes; 0: the end; -1: failed and answered. */
long body_some(request *request, void *data, size_t size, uint64_t limit);
/* Before an answer: read a small body nobody asked for; false: too much, close instead. */
bool body_skip(request *request);
void body_release(request *request);
int spool_open(void); /* a file without a name; -1: errno */
bool spool_write(int fd, const char *data, size_t size);
bool spool_failed(request *request, int fd); /* answers why, by errno, and closes; false */

#endif
