/*
** wire.h - what civetweb reads from its sockets, seen on the way.
*/
#ifndef MAPH_HTTP_WIRE_H
#define MAPH_HTTP_WIRE_H

#include <stdbool.h>
#include <stddef.h>

/* What this thread's civetweb reads from now on: a connection's first head; the body of the request
** that runs; the next head, after a request of so many bytes. */
void wire_begin(void);
void wire_expect_head(size_t request_size);
void wire_expect_body(void);
/* It has read nothing of what comes after the requests until now. */
bool wire_has_all(void);
bool wire_would_have_all(size_t request_size); /* after one more of that size */
/* After the end of a chunked body, whose first bytes may lie at `begin`, as civetweb got them with
** the head: whether no trailers follow the last chunk. */
bool wire_chunks_ended(const char *begin);
/* Then: how many bytes the request has, whose head has so many. */
size_t wire_request_size(size_t head, const char *begin);

#endif
