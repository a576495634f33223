/*
** wire.h - what civetweb reads from its sockets, seen on the way.
*/
#ifndef MAPH_HTTP_WIRE_H
#define MAPH_HTTP_WIRE_H

#include <stdbool.h>
#include <stddef.h>

/* What this thread's civetweb reads from now on: a connection's first head; the next head; the body
** of the request that runs. */
void wire_begin(void);
void wire_expect_head(void);
void wire_expect_body(void);
void wire_expect_chunks(void); /* that body is chunked */
/* The host in the target of the head that was read, which civetweb was given without it; else
** empty. */
const char *wire_authority(void);
/* What came after the request that runs: nothing, of this thread's connection; some of this
** socket's, which civetweb has not been given, so that nothing is to be waited for. */
bool wire_holds_nothing(void);
bool wire_holds_some(int socket);
/* Some of that, which is no request and no body: how many bytes; 0: there is none. */
size_t wire_take(int socket, void *bytes, size_t size);
/* After the end of a chunked body: whether no trailers follow the last chunk. */
bool wire_chunks_ended(void);

#endif
