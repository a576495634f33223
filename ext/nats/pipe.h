/*
** pipe.h - messages to a bucket, many on their way at once, each under the condition that the one
** before it is the bucket's last.
**
** What each will become is known when it is sent: the sequence of the one before it, and one.  The
** server compares that (Nats-Expected-Last-Sequence) when the message is stored, also where several
** servers hold the bucket.  So nothing is stored twice or out of order, and where a server that
** dies loses one, all that follow are refused.
**
** Another writer's message is found too, but by its place: it takes the sequence of one that was on
** its way, which is refused; those behind it find what they expect, and are stored.  Up to the last
** sequence that was acknowledged the bucket is as it was sent.  What is behind that has to be
** looked at before it is believed.
**
** libnats waits for ever for an acknowledgement that a server has lost.  Here they are counted: of
** those that do not come in time, pipe_listen tells TIMEOUT, and the bucket's last message tells
** what was stored.
*/
#ifndef MAPH_NATS_PIPE_H
#define MAPH_NATS_PIPE_H

#include "nats/stream.h"

typedef struct pipeline pipeline;

/* The bucket's last sequence is `last` now.  It is freed with its connection. */
stream_rc pipe_open(connection *connection, uint64_t last, pipeline **made);

/* How many bytes a message has for the server's limits, so made. */
size_t pipe_size(const stream_header *headers, int count, maph_slice data);

/* Make the next message, which is copied.  It waits for pipe_send: one at a time. */
stream_rc pipe_prepare(pipeline *p, const char *subject, const stream_header *headers, int count,
                       maph_slice data);
bool pipe_waits(const pipeline *p);
/* Send it, with these headers too.  tag: what pipe_listen tells once it is stored. */
stream_rc pipe_send(pipeline *p, const stream_header *headers, int count, uint64_t tag);

/* Is so much on its way that nothing more should be sent before pipe_listen? */
bool pipe_full(const pipeline *p);
size_t pipe_on_its_way(const pipeline *p);
uint64_t pipe_stored(const pipeline *p); /* the last sequence that is known to be stored */

/* Take the acknowledgements that came; where none did, wait for one.  *tag is that of the last one
** taken, and stays where there is none.  REFUSED with STREAM_CODE_SEQUENCE: somebody else stored a
** message, or one was lost.  TIMEOUT: nothing was acknowledged for so long that something is
** wrong.  LOST WRONG DENIED */
stream_rc pipe_listen(pipeline *p, int timeout_ms, uint64_t *tag);

#endif
