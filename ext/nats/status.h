/*
** status.h - the figures of a replica for node_exporter's textfile collector.
*/
#ifndef MAPH_NATS_STATUS_H
#define MAPH_NATS_STATUS_H

#include <stdbool.h>

/* Write what the sidecar of the replica at `path` tells to the file `to`, which appears whole.
** False: errno says why. */
bool metrics_write(const char *to, const char *path);

#endif
