/*
** decide.c - what a session does with the replica that is there (decide.h).
*/
#include <string.h>
#include "nats/child.h"
#include "nats/decide.h"
#include "nats/option.h"
#include "nats/replica.h"

enum { LEADER_MS = 10000 }; /* a new leader may lag for so long */

/* Is the bucket's last sequence not below ours?  Where several servers have the bucket, a new
** leader may have to catch up first. */
static stream_rc wait_for_last(connection *c, const char *bucket, stream_info *info,
                               uint64_t position, bool *reached) {
  unsigned long long until = ticks_ms() + (info->replicas > 1 ? LEADER_MS : 0);
  stream_rc rc = STREAM_OK;
  while (info->last < position && !child_told() && ticks_ms() < until) {
    child_sleep(500);
    rc = stream_look(c, bucket, info);
    if (rc != STREAM_OK) return rc;
  }
  *reached = info->last >= position;
  return rc;
}

stream_rc anchor_look(connection *c, const char *bucket, uint64_t position, uint64_t time_ns,
                      anchor *found) {
  stored at;
  stream_rc rc;
  *found = ANCHOR_GONE;
  if (position == 0) *found = ANCHOR_SAME;
  if (position == 0 || time_ns == 0) return STREAM_OK;
  child_stamp_long();
  rc = stream_get(c, bucket, position, &at);
  if (rc == STREAM_NONE) return STREAM_OK;
  if (rc != STREAM_OK) return rc;
  *found = at.time_ns == time_ns ? ANCHOR_SAME : ANCHOR_OTHER;
  stored_free(&at);
  return STREAM_OK;
}

/* The file's history is the bucket's up to `position`, as far as can be said. */
static decision go_on(follower *f, const stream_info *info, const maph_stats *stats, anchor found) {
  sidecar_record *record = &f->sidecar.record;
  uint64_t away = now_ms() - record->followed_ms;
  /* A key less than the file has, and nothing told of it. */
  if (info->max_age_ns == 0 && option.filter == NULL && stats->records > info->subjects)
    f->doubt = true;
  if (f->doubt) return DECIDE_LIST;
  if (info->first > stats->version) {
    if (record->unsure < stats->version) record->unsure = stats->version;
    return DECIDE_FOLLOW;
  }
  return found == ANCHOR_SAME && away < option.marker_age_ms ? DECIDE_FOLLOW : DECIDE_LIST;
}

stream_rc decide(follower *f, connection *c, stream_info *info, const uint8_t uuid[16],
                 decision *what) {
  const sidecar_record *known = &f->sidecar.record;
  bool reached = true;
  anchor anchor;
  maph_stats stats;
  stream_rc rc;
  *what = DECIDE_BUILD;
  if (f->store == NULL || f->rebuild || maph_stat(f->store, &stats) != MAPH_OK) return STREAM_OK;
  if (memcmp(stats.uuid, uuid, 16) != 0) {
    note("bucket %s was made anew, or is another one: a new file is built", f->bucket);
    return STREAM_OK;
  }
  rc = wait_for_last(c, f->bucket, info, stats.version, &reached);
  if (rc != STREAM_OK) return rc;
  if (!reached) {
    note("bucket %s ends at %llu, and the file is at %llu: it was rolled back; a new file is built",
         f->bucket, (unsigned long long)info->last, (unsigned long long)stats.version);
    return STREAM_OK;
  }
  rc = anchor_look(c, f->bucket, stats.version,
                   known->position == stats.version ? known->position_time_ns : 0, &anchor);
  if (rc != STREAM_OK) return rc;
  if (anchor == ANCHOR_OTHER) {
    note("bucket %s has another message at %llu: it was rolled back; a new file is built",
         f->bucket, (unsigned long long)stats.version);
    return STREAM_OK;
  }
  *what = go_on(f, info, &stats, anchor);
  return STREAM_OK;
}

int decide_settle(follower *f, bool *sure) {
  sidecar_record *record = &f->sidecar.record;
  maph_cursor *cursor;
  maph_entry entry;
  uint64_t count = 0;
  int rc = maph_cursor_open(f->store, NULL, maph_bytes(NULL, 0), &cursor);
  *sure = true;
  if (rc != MAPH_OK) return rc;
  while (*sure && (rc = maph_cursor_next(cursor, &entry)) == MAPH_OK) {
    *sure = entry.version > record->unsure;
    if (++count % 1024 == 0) child_stamp();
  }
  maph_cursor_close(cursor);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  if (*sure) record->unsure = 0;
  return MAPH_OK;
}
