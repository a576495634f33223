/*
** decide.c - what a session does with the replica that is there (decide.h).
*/
#include <stdlib.h>
#include <string.h>
#include "nats/child.h"
#include "nats/decide.h"
#include "nats/dropped.h"
#include "nats/option.h"
#include "nats/recent.h"
#include "nats/replica.h"
#include "nats/walk.h"

enum {
  LEADER_MS = 10000,   /* a new leader may lag for so long */
  GHOSTS_MOST = 20000, /* more of them are not worth deleting one by one */
  ANEW_LEAST = 50000, /* so many messages make a new file in half the time that they are followed */
  DISPUTES_MOST = 2,  /* so often one and the same difference is looked into, in: */
  DISPUTE_MS = 600000
};

/* ------------------------------------------------------------------------------------- all keys */
static bool take_ghost(void *arg, difference what, maph_slice key, uint64_t version) {
  follower *follower = arg;
  ghost *one;
  if (what != DIFFERENCE_GHOST) return false;
  if (follower->ghosts_count++ >= GHOSTS_MOST || (one = malloc(sizeof *one + key.size)) == NULL)
    return false;
  one->next = follower->ghosts;
  one->version = version;
  one->size = key.size;
  memcpy(one->key, key.data, key.size);
  follower->ghosts = one;
  return true;
}

void follower_drop_ghosts(follower *follower) {
  while (follower->ghosts) {
    ghost *next = follower->ghosts->next;
    free(follower->ghosts);
    follower->ghosts = next;
  }
  follower->ghosts_count = 0;
}

/* Compare all keys: those that the bucket has no more are deleted with what comes next.  Where
** anything else differs, or nothing comes to carry the deletes, a new file is built. */
static stream_rc compare_all(follower *follower, connection *connection, decision *what) {
  comparison seen;
  stream_rc rc;
  follower_drop_ghosts(follower);
  follower_show(follower, REPLICA_COMPARING);
  rc = bucket_compare(connection, follower->bucket, option.filter, follower->store, &seen,
                      take_ghost, follower);
  if (rc != STREAM_OK) return rc;
  follower->sidecar.record.listings++;
  follower->listed = ticks_ms();
  *what = seen.found[DIFFERENCE_MISSING] || seen.found[DIFFERENCE_OTHER]
                  || follower->ghosts_count > GHOSTS_MOST
                  || (follower->ghosts_count > 0 && seen.info.last <= seen.version)
              ? DECIDE_BUILD
              : DECIDE_FOLLOW;
  note("%s: compared with bucket %s at %llu: %llu keys, %llu no more in the bucket; %s",
       follower->path, follower->bucket, (unsigned long long)seen.version,
       (unsigned long long)seen.keys, (unsigned long long)follower->ghosts_count,
       *what == DECIDE_FOLLOW ? "it goes on" : "a new file is built");
  if (*what == DECIDE_BUILD) follower_drop_ghosts(follower);
  if (*what == DECIDE_FOLLOW) {
    follower->doubt = false;
    follower->sidecar.record.unsure = 0;
  }
  return STREAM_OK;
}

/* ------------------------------------------------------------------------------- the last ones */
/* Keys that wait to be deleted, or that it is unsure of, are known to be none of the bucket's. */
static stream_rc compare_last(follower *follower, connection *connection, const stream_info *info,
                              uint64_t at, uint64_t since, bool *differs, uint64_t *reached) {
  recent what = { .connection = connection,
                  .bucket = follower->bucket,
                  .info = info,
                  .rules = bucket_rules_of(info),
                  .filter = option.filter,
                  .store = follower->store,
                  .at = at,
                  .since = at > RECENT_MESSAGES ? at - RECENT_MESSAGES : 0 };
  uint64_t where = 0;
  stream_rc rc = STREAM_OK;
  *differs = false;
  *reached = at;
  if (since < what.since) what.since = since;
  if (follower->ghosts == NULL && follower->sidecar.record.unsure == 0)
    rc = recent_compare(&what, &where, reached);
  if (rc != STREAM_OK || where == 0) return rc;
  *reached = at;
  if (where != follower->disputed || ticks_ms() - follower->disputed_at >= DISPUTE_MS) {
    follower->disputed = where;
    follower->disputed_at = ticks_ms();
    follower->disputes = 0;
  }
  if (++follower->disputes > DISPUTES_MOST) return STREAM_OK;
  *differs = follower->doubt = true;
  note("bucket %s: its leader's messages are not those that the file was made of, at %llu",
       follower->bucket, (unsigned long long)where);
  return STREAM_OK;
}

stream_rc decide_again(follower *follower, connection *connection, const stream_info *info,
                       uint64_t at, bool *differs) {
  uint64_t reached;
  return compare_last(follower, connection, info, at, at, differs, &reached);
}

/* -------------------------------------------------------------------------------------- anchors */
typedef struct asking_anchors {
  const sidecar_anchor *asked[SIDECAR_ANCHORS];
  stored_question questions[SIDECAR_ANCHORS];
  size_t count;
  anchors_seen *seen;
} asking_anchors;

static void take_anchor(void *arg, size_t which, stored *found) {
  const asking_anchors *asking = arg;
  const sidecar_anchor *one = asking->asked[which];
  uint64_t *newest;
  if (found == NULL) return;
  newest = found->sequence == one->sequence && found->time_ns == one->time_ns
               ? &asking->seen->same
               : &asking->seen->other;
  if (*newest < one->sequence) *newest = one->sequence;
}

stream_rc anchors_look(connection *connection, const char *bucket, const sidecar_anchors *anchors,
                       uint64_t below, anchors_seen *seen) {
  asking_anchors asking = { .seen = seen };
  memset(seen, 0, sizeof *seen);
  for (size_t i = 0; i < SIDECAR_ANCHORS; i++) {
    const sidecar_anchor *one = &anchors->list[i];
    if (one->sequence == 0 || one->sequence >= below) continue;
    if (seen->newest < one->sequence) seen->newest = one->sequence;
    asking.questions[asking.count].sequence = one->sequence;
    asking.asked[asking.count++] = one;
  }
  if (asking.count == 0) return STREAM_OK;
  child_stamp_long();
  return stored_get_each(connection, bucket, asking.count, asking.questions, take_anchor, &asking);
}

/* ------------------------------------------------------------------------------------- decision */
/* Is the bucket's last sequence not below ours?  Where several servers have the bucket, a new
** leader may have to catch up first. */
static stream_rc wait_for_last(connection *connection, const char *bucket, stream_info *info,
                               uint64_t position, bool *reached) {
  unsigned long long until = ticks_ms() + (info->replicas > 1 ? LEADER_MS : 0);
  stream_rc rc = STREAM_OK;
  while (info->last < position && !child_told() && ticks_ms() < until) {
    child_sleep(500);
    rc = stream_look(connection, bucket, info);
    if (rc != STREAM_OK) return rc;
  }
  *reached = info->last >= position;
  return rc;
}

/* Is the message at `position` the one of that time?  A time of 0 is unknown. */
typedef enum anchor { ANCHOR_SAME, ANCHOR_OTHER, ANCHOR_GONE } anchor;
static stream_rc anchor_look(connection *connection, const char *bucket, uint64_t position,
                             uint64_t time_ns, anchor *found) {
  stored at;
  stream_rc rc;
  *found = ANCHOR_GONE;
  if (position == 0) *found = ANCHOR_SAME;
  if (position == 0 || time_ns == 0) return STREAM_OK;
  child_stamp_long();
  rc = stored_get(connection, bucket, position, &at);
  if (rc == STREAM_NONE) return STREAM_OK;
  if (rc != STREAM_OK) return rc;
  *found = at.time_ns == time_ns ? ANCHOR_SAME : ANCHOR_OTHER;
  stored_free(&at);
  return STREAM_OK;
}

/* Are all keys to be compared, whatever the last messages are? */
static bool compares_all(follower *follower, const stream_info *info, const maph_stats *stats) {
  sidecar_record *record = &follower->sidecar.record;
  uint64_t dropped = 0;
  /* What it let go of goes with the messages that come. */
  if (info->drops && dropped_count(follower->store, info->first, &dropped) != MAPH_OK) dropped = 0;
  /* A key less than the file has, and nothing told of it. */
  if (info->max_age_ns == 0 && option.filter == NULL && stats->records > info->subjects + dropped)
    follower->doubt = true;
  if (follower->doubt) return true;
  if (info->first > stats->version) {
    if (record->unsure < stats->version) record->unsure = stats->version;
    return false;
  }
  return now_ms() - record->followed_ms >= option.marker_age_ms;
}

/* Has the file keys that the bucket let go of, and comes no message that they could go with? */
static bool is_stranded(follower *follower, const stream_info *info, uint64_t version) {
  uint64_t count = 0;
  return info->drops && info->last <= version
         && dropped_count(follower->store, info->first, &count) == MAPH_OK && count > 0;
}

/* Where is the newest message that the file and the bucket are known to have in common?  0: that is
** not known.  *is_other: the bucket has another one than the file is made of. */
static stream_rc find_common(follower *follower, connection *connection, uint64_t version,
                             uint64_t *common, bool *is_other) {
  const sidecar_record *known = &follower->sidecar.record;
  bool noted = known->position == version;
  uint64_t where = version;
  anchors_seen seen;
  anchor found;
  stream_rc rc = anchor_look(connection, follower->bucket, version,
                             noted ? known->position_time_ns : 0, &found);
  *common = rc == STREAM_OK && found == ANCHOR_SAME ? version : 0;
  *is_other = rc == STREAM_OK && found == ANCHOR_OTHER;
  if (rc == STREAM_OK && found == ANCHOR_GONE && noted) {
    rc = anchors_look(connection, follower->bucket, &follower->sidecar.anchors, version, &seen);
    *common = seen.same;
    *is_other = rc == STREAM_OK && seen.other != 0;
    where = seen.other;
  }
  if (*is_other)
    note("bucket %s has another message at %llu: it was rolled back; a new file is built",
         follower->bucket, (unsigned long long)where);
  return rc;
}

/* The history is the same up to `common`.  Where that is not the file's last message, what is above
** decides. */
static stream_rc look_at_rest(follower *follower, connection *connection, const stream_info *info,
                              uint64_t version, uint64_t common, bool *doubt) {
  uint64_t reached;
  stream_rc rc;
  if (common == version || info->first > version)
    return decide_again(follower, connection, info, version, doubt);
  *doubt = true;
  if (common == 0 || version - common > RECENT_MOST) return STREAM_OK;
  rc = compare_last(follower, connection, info, version, common, doubt, &reached);
  if (reached > common) *doubt = true;
  return rc;
}

stream_rc decide(follower *follower, connection *connection, stream_info *info,
                 const uint8_t uuid[16], decision *what) {
  bool reached = true, is_other = false, doubt = true;
  uint64_t common;
  maph_stats stats;
  stream_rc rc;
  *what = DECIDE_BUILD;
  if (follower->store == NULL || follower->rebuild || maph_stat(follower->store, &stats) != MAPH_OK)
    return STREAM_OK;
  if (memcmp(stats.uuid, uuid, 16) != 0) {
    note("bucket %s was made anew, or is another one: a new file is built", follower->bucket);
    return STREAM_OK;
  }
  rc = wait_for_last(connection, follower->bucket, info, stats.version, &reached);
  if (rc != STREAM_OK) return rc;
  if (!reached) {
    note("bucket %s ends at %llu, and the file is at %llu: it was rolled back; a new file is built",
         follower->bucket, (unsigned long long)info->last, (unsigned long long)stats.version);
    return STREAM_OK;
  }
  if (info->first > stats.version && info->messages >= ANEW_LEAST) {
    note("bucket %s has %llu messages, and none that %s is made of: a new file is built",
         follower->bucket, (unsigned long long)info->messages, follower->path);
    return STREAM_OK;
  }
  if (is_stranded(follower, info, stats.version)) {
    note("bucket %s let go of keys, and no message came since: a new file is built",
         follower->bucket);
    return STREAM_OK;
  }
  rc = find_common(follower, connection, stats.version, &common, &is_other);
  if (rc != STREAM_OK || is_other) return rc;
  if (!compares_all(follower, info, &stats))
    rc = look_at_rest(follower, connection, info, stats.version, common, &doubt);
  if (rc != STREAM_OK) return rc;
  *what = DECIDE_FOLLOW;
  return doubt ? compare_all(follower, connection, what) : STREAM_OK;
}

int decide_settle(follower *follower, bool *sure) {
  sidecar_record *record = &follower->sidecar.record;
  maph_cursor *cursor;
  maph_entry entry;
  uint64_t count = 0;
  int rc = maph_cursor_open(follower->store, NULL, maph_bytes(NULL, 0), &cursor);
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
