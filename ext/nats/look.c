/*
** look.c - are bucket and file still those that a session began with (look.h)?
*/
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "nats/child.h"
#include "nats/decide.h"
#include "nats/look.h"
#include "nats/option.h"
#include "nats/replica.h"

enum {
  LOOK_MS = 30000,
  CLOCK_MS = 10000 /* so much is no harm: a key is missing for as long at most */
};

/* MAPH_TEST_LOOK: another time, for a test that waits for a look. */
static unsigned long long look_ms(void) {
  const char *said = getenv("MAPH_TEST_LOOK");
  return said ? strtoull(said, NULL, 10) : LOOK_MS;
}

/* What the bucket let go of goes with the next messages.  Where none came since the last look, the
** file is built anew. */
static ending look_at_dropped(session *session, const stream_info *info) {
  const batch *batch = session->batch;
  uint64_t count = 0;
  session->info.drops = info->drops;
  dropped_told(&session->dropped, info);
  if (batch->load || info->last != batch->committed || info->max_age_ns
      || !dropped_is_due(&session->dropped, batch->committed)) {
    session->stranded = false;
    return ENDING_NOW;
  }
  if (dropped_count(session->follower->store, info->first, &count) != MAPH_OK)
    return session_say(session, maph_errmsg(NULL));
  if (count > 0 && session->stranded) {
    session->follower->rebuild = true;
    return session_say(session, "the bucket let go of keys, and no message came since");
  }
  session->stranded = count > 0;
  return ENDING_NOW;
}

/* Is it time to compare all keys: so long after the last time, or where the bucket has fewer keys
** than the file, which nothing told? */
static ending compare_in_time(session *session, const stream_info *info) {
  follower *follower = session->follower;
  unsigned long long since = ticks_ms() - follower->listed;
  maph_stats stats;
  /* Those that it let go of meanwhile are still in the file. */
  if (info->drops && info->last != session->batch->committed) return ENDING_NOW;
  if (maph_stat(follower->store, &stats) != MAPH_OK) return session_say(session, maph_errmsg(NULL));
  if (option.verify_every_ms && since >= option.verify_every_ms) follower->doubt = true;
  if (since >= option.marker_age_ms && info->max_age_ns == 0 && option.filter == NULL
      && stats.records > info->subjects)
    follower->doubt = true;
  return follower->doubt ? session_say(session, "all keys are to be compared") : ENDING_NOW;
}

/* Somebody may have removed the file, or put another one in its place.  A compaction does so too,
** and leaves its content. */
ending look_at_name(session *session) {
  follower *follower = session->follower;
  struct stat named;
  maph_stats stats;
  ending end;
  bool there = stat(follower->path, &named) == 0;
  if (!there && errno != ENOENT) return ENDING_NOW;
  if (there && named.st_dev == follower->device && named.st_ino == follower->inode)
    return ENDING_NOW;
  maph_close(follower->store);
  follower->store = NULL;
  end = follower_open(follower);
  if (end != ENDING_NOW) return end;
  if (follower->store == NULL) return session_say(session, "the file is gone");
  if (maph_stat(follower->store, &stats) != MAPH_OK || memcmp(stats.uuid, session->uuid, 16) != 0
      || stats.version != session->batch->committed)
    return session_say(session, "another file was put in place of the replica");
  session->batch->store = follower->store;
  return ENDING_NOW;
}

/* Is what the leader has last what the file is made of?  One that is behind may be a new one that
** has yet to catch up, or an old one that does not know of a new one yet: that is not believed at
** once. */
static ending look_at_leader(session *session, const stream_info *info) {
  bool differs;
  if (info->last < session->batch->committed)
    return session->behind++ ? session_say(session, "the bucket ends before the file") : ENDING_NOW;
  session->behind = 0;
  if (info->replicas == 1) return ENDING_NOW;
  if (decide_again(session->follower, session->connection, info, session->batch->committed,
                   &differs)
      != STREAM_OK)
    return session_say(session, stream_errmsg());
  return differs ? session_say(session, "all keys are to be compared") : ENDING_NOW;
}

static ending look_at_stream(session *session) {
  stream_info info;
  stream_rc rc;
  ending end;
  session->looked = ticks_ms();
  child_stamp_long();
  rc = stream_look(session->connection, session->follower->bucket, &info);
  if (rc != STREAM_OK) return session_say(session, stream_errmsg());
  if (strcmp(info.created, session->info.created) != 0 || info.escaped != session->info.escaped)
    return session_say(session, "the bucket was made anew");
  if (info.max_age_ns != session->info.max_age_ns) {
    session->follower->rebuild = true;
    return session_say(session, "the bucket's time to live was changed");
  }
  if (session->follower->sidecar.record.last_seen < info.last)
    session->follower->sidecar.record.last_seen = info.last;
  end = look_at_leader(session, &info);
  session->heard = ticks_ms();
  if (end == ENDING_NOW) end = look_at_dropped(session, &info);
  return end == ENDING_NOW ? compare_in_time(session, &info) : end;
}

ending look_at_clock(session *session) {
  follower *follower = session->follower;
  sidecar_record *record = &follower->sidecar.record;
  uint64_t now = now_ms(), heard = record->heard_ms;
  record->heard_ms = now;
  if (now + CLOCK_MS >= heard) return ENDING_NOW;
  record->caught_up_ms = 0;
  follower->doubt = follower->building.unsure = true;
  return session_say(session, "this machine's clock was set back: all keys are to be compared");
}

ending look_settle(session *session) {
  follower *follower = session->follower;
  bool sure;
  child_stamp_long();
  if (decide_settle(follower, &sure) != MAPH_OK) return session_say(session, maph_errmsg(NULL));
  if (sure) return ENDING_NOW;
  follower->doubt = true;
  return session_say(session, "all keys are to be compared");
}

ending look_in_time(session *session) {
  return session->heard - session->looked > look_ms() ? look_at_stream(session) : ENDING_NOW;
}
