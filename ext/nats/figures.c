/*
** figures.c - what a replica's sidecar tells, as figures (figures.h).
*/
#include "nats/figures.h"

enum {
  FOLLOWING,
  POSITION,
  LAST_SEQ,
  LAG_MESSAGES,
  LAG_SECONDS,
  HEARD_SECONDS,
  APPLIED,
  SESSIONS,
  LOSSES,
  REBUILDS,
  GHOSTS,
  LEFT_OUT,
  LISTINGS,
  TORN
};

const replica_figure replica_figures[REPLICA_FIGURES] = {
  [FOLLOWING] = { "following", "following", "1: it has a session with the bucket.", false },
  [POSITION] = { "position", "position", "The bucket's sequence that it is at.", false },
  [LAST_SEQ] = { "last_seq", "last_seq", "The bucket's last sequence, as far as known.", false },
  [LAG_MESSAGES] = { "lag_messages", "lag_messages", "Sequences between the two.", false },
  [LAG_SECONDS] = { "lag_seconds", "lag_seconds",
                    "How old what it shows may be; 0: it has all there is.", false },
  [HEARD_SECONDS] = { "heard_seconds", "heard_seconds", "Since the server was last heard.", false },
  [APPLIED] = { "applied", "applied_total", "Messages put or deleted.", true },
  [SESSIONS] = { "sessions", "sessions_total", "Connections that were begun.", true },
  [LOSSES] = { "losses_repaired", "losses_repaired_total",
               "Messages that the server left out, and that were fetched.", true },
  [REBUILDS] = { "rebuilds", "rebuilds_total", "New files, as for another history.", true },
  [GHOSTS] = { "ghosts_removed", "ghosts_removed_total",
               "Keys that the bucket had deleted without telling.", true },
  [LEFT_OUT] = { "keys_left_out", "keys_left_out_total", "Messages whose key stands for none.",
                 true },
  [LISTINGS] = { "listings", "listings_total", "Comparisons of all keys.", true },
  [TORN] = { "transactions_torn", "transactions_torn_total",
             "Transactions of a published store that readers may have seen a part of.", true },
};

bool replica_look(const char *path, replica_view *view) {
  if (!sidecar_read(path, &view->header, &view->record)) return false;
  view->followed = sidecar_followed(path);
  return true;
}

const char *replica_state_of(const replica_view *view) {
  return replica_state_name(view->followed ? view->record.state : REPLICA_STOPPED);
}

static double seconds_since(uint64_t then_ms, uint64_t now_ms) {
  return now_ms > then_ms ? (double)(now_ms - then_ms) / 1000 : 0;
}

/* One that nobody follows falls behind from when it had all. */
static bool lag_of(const replica_view *view, uint64_t now_ms, double *value) {
  const sidecar_record *record = &view->record;
  uint64_t ms = sidecar_lag_ms(record, now_ms);
  *value = ms == UINT64_MAX ? 0 : (double)ms / 1000;
  if (ms != UINT64_MAX && !view->followed) *value = seconds_since(record->caught_up_ms, now_ms);
  return ms != UINT64_MAX;
}

bool replica_figure_value(const replica_view *view, int figure, uint64_t now_ms, double *value) {
  const sidecar_record *record = &view->record;
  uint64_t whole = 0;
  switch (figure) {
    case FOLLOWING: whole = view->followed && record->state == REPLICA_FOLLOWING; break;
    case POSITION: whole = record->position; break;
    case LAST_SEQ: whole = record->last_seen; break;
    case LAG_MESSAGES:
      whole = record->last_seen > record->position ? record->last_seen - record->position : 0;
      break;
    case LAG_SECONDS: return lag_of(view, now_ms, value);
    case HEARD_SECONDS:
      *value = seconds_since(record->heard_ms, now_ms);
      return record->heard_ms != 0;
    case APPLIED: whole = record->applied; break;
    case SESSIONS: whole = record->sessions; break;
    case LOSSES: whole = record->losses; break;
    case REBUILDS: whole = record->rebuilds; break;
    case GHOSTS: whole = record->ghosts; break;
    case LEFT_OUT: whole = record->left_out; break;
    case LISTINGS: whole = record->listings; break;
    case TORN: whole = record->torn; break;
  }
  *value = (double)whole;
  return true;
}

static void write_figure(json_writer *out, const replica_view *view, int figure, uint64_t now_ms) {
  double value;
  bool has = replica_figure_value(view, figure, now_ms, &value);
  json_write_text(out, ",\"");
  json_write_text(out, replica_figures[figure].member);
  json_write_text(out, "\":");
  if (figure == FOLLOWING)
    json_write_text(out, value != 0 ? "true" : "false");
  else if (!has)
    json_write_text(out, "null");
  else if (figure == LAG_SECONDS || figure == HEARD_SECONDS)
    json_write_decimals(out, value, 3);
  else
    json_write_number(out, (uint64_t)value);
}

void replica_write(json_writer *out, const replica_view *view, uint64_t now_ms) {
  json_write_bytes(out, "bucket", "bucket_encoding", maph_str(view->header.bucket));
  json_write_text(out, ",\"state\":\"");
  json_write_text(out, replica_state_of(view));
  json_write_text(out, "\"");
  for (int i = 0; i < REPLICA_FIGURES; i++) write_figure(out, view, i, now_ms);
  json_write_text(out, ",");
  json_write_bytes(out, "last_error", "last_error_encoding", maph_str(view->record.error));
}
