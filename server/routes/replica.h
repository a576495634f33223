/*
** replica.h - what the follower of a replica, another process, tells of it beside its file.
*/
#ifndef MAPH_ROUTES_REPLICA_H
#define MAPH_ROUTES_REPLICA_H

#include "base/buffer.h"
#include "maph.h"

/* ,"replica":{...} where the store of that name is one and its follower tells of it. */
void replica_emit(buffer *buffer, const char *name, const maph_stats *stats);
/* The same figures for Prometheus. */
void replica_metrics(buffer *buffer);

#endif
