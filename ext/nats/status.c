/*
** status.c - maph-replica status, and the same figures for node_exporter.
*/
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "nats/figures.h"
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
/* A label's value: as the format of Prometheus has it. */
void metrics_label(FILE *file, const char *text) {
  for (; *text; text++) {
    if (*text == '\n')
      fputs("\\n", file);
    else {
      if (*text == '"' || *text == '\\') fputc('\\', file);
      fputc(*text, file);
    }
  }
}

static void write_metrics(FILE *file, const char *path, const replica_view *view) {
  for (int i = 0; i < REPLICA_FIGURES; i++) {
    const replica_figure *figure = &replica_figures[i];
    double value;
    if (!replica_figure_value(view, i, now_ms(), &value)) continue;
    fprintf(file, "# HELP maph_replica_%s %s\n# TYPE maph_replica_%s %s\n", figure->metric,
            figure->help, figure->metric, figure->counts ? "counter" : "gauge");
    fprintf(file, "maph_replica_%s{bucket=\"", figure->metric);
    metrics_label(file, view->header.bucket);
    fputs("\",file=\"", file);
    metrics_label(file, path);
    fprintf(file, "\"} %.15g\n", value);
  }
}

bool metrics_write(const char *to, const char *path) {
  replica_view view;
  char *other = NULL;
  FILE *file;
  bool ok;
  if (!replica_look(path, &view) || asprintf(&other, "%s.%d", to, (int)getpid()) < 0) return false;
  file = fopen(other, "we");
  ok = file != NULL;
  if (file) {
    write_metrics(file, path, &view);
    ok = fclose(file) == 0 && rename(other, to) == 0;
    if (!ok) unlink(other);
  }
  free(other);
  return ok;
}
