/*
** metrics.h - figures as a file for node_exporter's textfile collector, written anew each 5 s.
*/
#ifndef MAPH_NATS_METRICS_H
#define MAPH_NATS_METRICS_H

#include <stdbool.h>
#include <stdio.h>

/* One figure: prefix and name are what it is called. */
typedef struct metric {
  const char *prefix, *name, *help;
  bool counts; /* it only grows */
} metric;
void metrics_add(FILE *file, const metric *metric, const char *bucket, const char *path,
                 double value);

/* Writes the figures of the file at `path`.  False: there are none. */
typedef bool (*metrics_writer)(FILE *file, const char *path);

/* Called each second: where --metrics-file says one and it is time, it appears whole. */
void metrics_tick(metrics_writer writer, const char *path);

#endif
