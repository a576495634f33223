/*
** wire.h - what civetweb reads from its sockets, seen on the way.
*/
#ifndef MAPH_HTTP_WIRE_H
#define MAPH_HTTP_WIRE_H

#include <stdbool.h>

/* What this thread's civetweb reads from now on: a head, or the body of the request that runs. */
void wire_expect_head(void);
void wire_expect_body(void);
/* After the end of a chunked body, whose first bytes may lie at `begin`, as civetweb got them with
** the head: whether no trailers follow the last chunk. */
bool wire_chunks_ended(const char *begin);

#endif
