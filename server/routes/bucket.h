/*
** bucket.h - writes of replicas, which their buckets take: what bucket.c of store/ does, over HTTP.
*/
#ifndef MAPH_ROUTES_BUCKET_H
#define MAPH_ROUTES_BUCKET_H

#include "routes/answer.h"

/* ?wait=; false: answered 400.  Of a store that is no replica it says nothing. */
bool bucket_read_wait(request *request);
/* As commit_one and commit_update, to the bucket.  BUCKET_ANSWERED: it failed, and that was
** answered; what else is not MAPH_OK is as theirs. */
enum { BUCKET_ANSWERED = -40 };
int bucket_write(request *request, const write_request *write, maph_outcome *outcome);
int bucket_update(request *request, write_request *write, commit_change change, void *arg,
                  maph_outcome *outcome);
/* After a write: wait as ?wait= says until the replica shows it, and tell in a header whether it
** does. */
bool bucket_settle(request *request, uint64_t revision);
void bucket_metrics(buffer *buffer);

#endif
