/*
** figures.h - what a replica's sidecar tells, as figures: the same in `status --json`, in
** --metrics-file, and in maph-server's stats and metrics.
*/
#ifndef MAPH_NATS_FIGURES_H
#define MAPH_NATS_FIGURES_H

#include "entry/json.h"
#include "nats/sidecar.h"

typedef struct replica_view {
  sidecar_header header;
  sidecar_record record;
  bool followed; /* a follower holds it now */
} replica_view;

/* What stands beside the replica at `path`.  False: nothing that can be believed. */
bool replica_look(const char *path, replica_view *view);
/* "stopped" where nobody follows, whatever was written last. */
const char *replica_state_of(const replica_view *view);

/* Members of JSON, without braces: bucket, state, and each of the figures. */
void replica_write(json_writer *out, const replica_view *view, uint64_t now_ms);

/* A figure for Prometheus; seconds are the only ones that are not whole. */
typedef struct replica_figure {
  const char *member, *metric, *help; /* metric: without maph_replica_ */
  bool counts;                        /* only upwards: a counter */
} replica_figure;
enum { REPLICA_FIGURES = 14 };
extern const replica_figure replica_figures[REPLICA_FIGURES];
/* False: it has no value, as the lag of one that was never complete. */
bool replica_figure_value(const replica_view *view, int figure, uint64_t now_ms, double *value);

#endif
