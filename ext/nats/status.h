/*
** status.h - the figures of a replica, or of a store that is published, for node_exporter's
** textfile collector; and what status says of the second.
*/
#ifndef MAPH_NATS_STATUS_H
#define MAPH_NATS_STATUS_H

#include <stdbool.h>
#include <stdio.h>

/* Write what the sidecar of the replica at `path` tells to the file `to`, which appears whole.
** False: errno says why. */
bool metrics_write(const char *to, const char *path);
bool published_metrics_write(const char *to, const char *path);

/* A text as the value of a label of Prometheus. */
void metrics_label(FILE *file, const char *text);

/* Say what the publisher of the store at `path` noted.  False: there is none, and never was. */
bool published_show(const char *path, bool *well);

#endif
