/*
** published.c - what the publisher of a store noted, for status and metrics.
*/
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "entry/json.h"
#include "nats/metrics.h"
#include "nats/option.h"
#include "nats/replica.h"
#include "nats/sidecar.h"
#include "nats/status.h"

typedef struct view {
  sidecar_header header;
  sidecar_record record;
  bool held; /* a publisher is there now */
} view;

enum { HEARD_MS = 5000 };
enum {
  PUBLISHING,
  VERSION,
  FILE_VERSION,
  POSITION,
  LAG_SECONDS,
  HEARD_SECONDS,
  SENT,
  SESSIONS,
  COMPARISONS,
  LEFT_OUT,
  FIGURES
};

typedef struct figure {
  const char *member, *metric, *help; /* metric: behind maph_publish_ */
  bool counts;
} figure;
static const figure figures[FIGURES] = {
  [PUBLISHING] = { "publishing", "publishing", "1: it has a session with the bucket.", false },
  [VERSION] = { "version", "version", "Of the store: up to there the bucket has it.", false },
  [FILE_VERSION] = { "file_version", "file_version", "That the file was at, when looked at last.",
                     false },
  [POSITION] = { "position", "position", "The bucket's sequence that it is at.", false },
  [LAG_SECONDS] = { "lag_seconds", "lag_seconds",
                    "Since the bucket was last known to have all; 0: it has.", false },
  [HEARD_SECONDS] = { "heard_seconds", "heard_seconds", "Since the server was last heard.", false },
  [SENT] = { "sent", "sent_total", "Messages that the bucket took.", true },
  [SESSIONS] = { "sessions", "sessions_total", "Connections that were begun.", true },
  [COMPARISONS] = { "comparisons", "comparisons_total", "Comparisons of all keys.", true },
  [LEFT_OUT] = { "left_out", "left_out_total", "Changes that were too large for NATS.", true },
};

static bool look(const char *path, view *view) {
  if (!sidecar_read_as(path, SIDECAR_PUBLISHED, &view->header, &view->record)) return false;
  view->held = sidecar_held_as(path, SIDECAR_PUBLISHED);
  return true;
}

static bool is_publishing(const view *view) {
  return view->held && view->record.state == REPLICA_PUBLISHING;
}

static double seconds_since(uint64_t then_ms) {
  uint64_t now = now_ms();
  return now > then_ms ? (double)(now - then_ms) / 1000 : 0;
}

static bool value_of(const view *view, int figure, double *value) {
  const sidecar_record *record = &view->record;
  switch (figure) {
    case PUBLISHING: *value = is_publishing(view); return true;
    case VERSION: *value = (double)record->version; return true;
    case FILE_VERSION: *value = (double)record->file_version; return true;
    case POSITION: *value = (double)record->position; return true;
    case SENT: *value = (double)record->applied; return true;
    case SESSIONS: *value = (double)record->sessions; return true;
    case COMPARISONS: *value = (double)record->listings; return true;
    case LEFT_OUT: *value = (double)record->left_out; return true;
    case HEARD_SECONDS: *value = seconds_since(record->heard_ms); return record->heard_ms != 0;
    case LAG_SECONDS: break;
  }
  *value = seconds_since(record->caught_up_ms);
  if (is_publishing(view) && *value * 1000 <= HEARD_MS) *value = 0;
  return record->caught_up_ms != 0;
}

static const char *state_of(const view *view) {
  return replica_state_name(view->held ? view->record.state : REPLICA_STOPPED);
}

/* --------------------------------------------------------------------------------------- status */
static bool to_standard_output(void *to, const void *bytes, size_t size) {
  return fwrite(bytes, 1, size, to) == size;
}

static void write_member(json_writer *out, const view *view, int i) {
  double value;
  bool has = value_of(view, i, &value);
  json_write_text(out, ",\"");
  json_write_text(out, figures[i].member);
  json_write_text(out, "\":");
  if (i == PUBLISHING)
    json_write_text(out, value != 0 ? "true" : "false");
  else if (!has)
    json_write_text(out, "null");
  else if (i == LAG_SECONDS || i == HEARD_SECONDS)
    json_write_decimals(out, value, 3);
  else
    json_write_number(out, (uint64_t)value);
}

static void show_json(const char *path, const view *view) {
  json_writer out;
  json_write_begin(&out, to_standard_output, stdout);
  json_write_text(&out, "{");
  json_write_bytes(&out, "file", "file_encoding", maph_str(path));
  json_write_text(&out, ",");
  json_write_bytes(&out, "bucket", "bucket_encoding", maph_str(view->header.bucket));
  json_write_text(&out, ",\"state\":\"");
  json_write_text(&out, state_of(view));
  json_write_text(&out, "\"");
  for (int i = 0; i < FIGURES; i++) write_member(&out, view, i);
  json_write_text(&out, ",");
  json_write_bytes(&out, "last_error", "last_error_encoding", maph_str(view->record.error));
  json_write_text(&out, "}\n");
  json_write_end(&out);
}

bool published_show(const char *path, bool *well) {
  view view;
  double lag;
  bool has;
  if (!look(path, &view)) return false;
  has = value_of(&view, LAG_SECONDS, &lag);
  *well = is_publishing(&view) && has && lag * 1000 <= (double)option.max_lag_ms;
  if (option.json) {
    show_json(path, &view);
    return true;
  }
  printf("%s: to bucket %s: %s, version %" PRIu64 " of %" PRIu64, path, view.header.bucket,
         state_of(&view), view.record.version, view.record.file_version);
  if (has)
    printf(", %.1f s behind\n", lag);
  else
    printf(", not complete yet\n");
  if (view.record.error[0] && !*well) printf("    %s\n", view.record.error);
  return true;
}

/* -------------------------------------------------------------------------------------- metrics */
bool published_metrics(FILE *file, const char *path) {
  view view;
  if (!look(path, &view)) return false;
  for (int i = 0; i < FIGURES; i++) {
    const figure *figure = &figures[i];
    metric metric = { "maph_publish_", figure->metric, figure->help, figure->counts };
    double value;
    if (value_of(&view, i, &value)) metrics_add(file, &metric, view.header.bucket, path, value);
  }
  return true;
}
