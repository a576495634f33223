/*
** keys.h - what PUT, PATCH and the other writes of one key have in common.
*/
#ifndef MAPH_ROUTES_KEYS_H
#define MAPH_ROUTES_KEYS_H

#include "routes/answer.h"

/* The key, ?sync= and the preconditions of a write.  False: answered. */
bool read_write(request *request, write_request *write);
/* ?ttl= as a time; 0: none is given.  False: answered. */
bool query_expiry(request *request, uint64_t *expires);
/* Answer a write that was done; number: the value of a counter, or size 0. */
void write_done(request *request, const maph_outcome *outcome, maph_slice number);
/* Answer a write that did not happen. */
void write_failed(request *request, int rc, const write_request *write,
                  const maph_outcome *outcome);

#endif
