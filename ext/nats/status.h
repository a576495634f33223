/*
** status.h - the figures of a replica, or of a store that is published, for node_exporter's
** textfile collector; and what status says of the second.
*/
#ifndef MAPH_NATS_STATUS_H
#define MAPH_NATS_STATUS_H

#include <stdbool.h>
#include <stdio.h>

/* metrics_writers: what the notes of the replica, or of the publisher of the store, at `path` tell.
** False: errno says why. */
bool replica_metrics(FILE *file, const char *path);
bool published_metrics(FILE *file, const char *path);

/* Say what the publisher of the store at `path` noted.  False: there is none, and never was. */
bool published_show(const char *path, bool *well);

#endif
