/*
** status.c - maph-replica status, and the same figures for node_exporter.
*/
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "nats/figures.h"
#include "nats/metrics.h"
#include "nats/option.h"
#include "nats/replica.h"
#include "nats/status.h"

static bool to_standard_output(void *to, const void *bytes, size_t size) {
  return fwrite(bytes, 1, size, to) == size;
}

static void show_json(const char *path, const replica_view *view) {
  json_writer out;
  json_write_begin(&out, to_standard_output, stdout);
  json_write_text(&out, "{");
  json_write_bytes(&out, "file", "file_encoding", maph_str(path));
  json_write_text(&out, ",");
  replica_write(&out, view, now_ms());
  json_write_text(&out, "}\n");
  json_write_end(&out);
}

/* Whether it follows, and is not too far behind. */
static bool is_well(const replica_view *view) {
  return view->followed && view->record.state == REPLICA_FOLLOWING
         && sidecar_lag_ms(&view->record, now_ms()) <= option.max_lag_ms;
}

static void show(const char *path, const replica_view *view) {
  const sidecar_record *record = &view->record;
  uint64_t lag = sidecar_lag_ms(record, now_ms());
  printf("%s: bucket %s: %s at %" PRIu64 " of %" PRIu64, path, view->header.bucket,
         replica_state_of(view), record->position, record->last_seen);
  if (lag == UINT64_MAX)
    printf(", not complete yet\n");
  else
    printf(", %.1f s behind\n", (double)lag / 1000);
  if (record->error[0] && !is_well(view)) printf("    %s\n", record->error);
}

int command_status(const char *const *words, int count) {
  int rc = DONE;
  for (int i = 0; i < count; i++) {
    replica_view view;
    bool well;
    if (!replica_look(words[i], &view)) {
      if (!published_show(words[i], &well))
        rc = complain("%s.replica: there are no notes of a follower: is %s a replica?", words[i],
                      words[i]);
      else if (!well && rc == DONE)
        rc = UNMET;
      continue;
    }
    if (option.json)
      show_json(words[i], &view);
    else
      show(words[i], &view);
    if (!is_well(&view) && rc == DONE) rc = UNMET;
  }
  return rc;
}

/* -------------------------------------------------------------------------------------- metrics */
bool replica_metrics(FILE *file, const char *path) {
  replica_view view;
  if (!replica_look(path, &view)) return false;
  for (int i = 0; i < REPLICA_FIGURES; i++) {
    const replica_figure *figure = &replica_figures[i];
    metric metric = { "maph_replica_", figure->metric, figure->help, figure->counts };
    double value;
    if (replica_figure_value(&view, i, now_ms(), &value))
      metrics_add(file, &metric, view.header.bucket, path, value);
  }
  return true;
}
