/*
** bucket.h - how a write of a replica reaches the bucket that it is a replica of: by maph-replica
** relay, at the socket of --replica-socket.
*/
#ifndef MAPH_STORE_BUCKET_H
#define MAPH_STORE_BUCKET_H

#include "nats/forward.h"
#include "store/stores.h"

/* Are writes of that store, a replica or not, sent to its bucket? */
bool bucket_takes(bool is_replica);
/* Ask the bucket of that store, until then (forward_ticks) and a moment longer; bucket, filter,
** identity and times of the question are filled in.  MAPH_OK: *answer says what came of it, its
** memory is to be freed.  STORE_CROWDED: so many wait that this one was not begun. */
int bucket_ask(store *store, forward_question *question, uint64_t until, forward_answer *answer);
/* Wait so long until the replica has that revision; whether it has. */
bool bucket_shown(store *store, uint64_t revision, uint64_t wait_ms);
/* How many questions came to that since the start; 0 for no outcome. */
uint64_t bucket_count(forward_outcome outcome);
const char *bucket_outcome_name(forward_outcome outcome); /* "done" */

#endif
