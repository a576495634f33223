/*
** replica.h - what the follower of a replica, another process, tells of it beside its file.
*/
#ifndef MAPH_ROUTES_REPLICA_H
#define MAPH_ROUTES_REPLICA_H

#include "http/request.h"

/* ,"replica":{...} where the store of that name is one and its follower tells of it. */
void replica_emit(buffer *buffer, const char *name, const maph_stats *stats);
/* Who writes the replica of that name, as the library says it; how to write to it instead. */
void replica_sentence(const char *name, char *out, size_t room);
/* Is the store of that name a replica, or about to be one, so that no request may make or delete
** it?  False: answered 403. */
bool replica_spares(request *request, maph_slice name);
/* The same figures for Prometheus. */
void replica_metrics(buffer *buffer);

#endif
