/*
** build.c - a new file of all that a bucket has (build.h).
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "nats/build.h"
#include "nats/child.h"
#include "nats/commit.h"
#include "nats/decide.h"
#include "nats/option.h"
#include "nats/replica.h"

/* Telling the parent that a long call goes on; no call is stopped but by being told to end. */
static int progress(void *arg, const char *phase, uint64_t done, uint64_t total) {
  (void)arg;
  (void)phase;
  (void)done;
  (void)total;
  child_stamp_long();
  return child_told();
}

bool follower_remove_leftover(follower *follower) {
  struct stat st;
  char *lock = NULL;
  maph_destroy(follower->sync_path, 1000);
  unlink(follower->sync_path);
  if (asprintf(&lock, "%s.lock", follower->sync_path) >= 0) unlink(lock);
  free(lock);
  return lstat(follower->sync_path, &st) != 0;
}

void build_drop(follower *follower) {
  building *building = &follower->building;
  if (building->batch.load) maph_load_abort(building->batch.load);
  message_free(building->last.message);
  batch_end(&building->batch);
  memset(building, 0, sizeof *building);
}

ending build_begin(session *session) {
  follower *follower = session->follower;
  maph_load_options options = MAPH_LOAD_OPTIONS_INIT;
  bucket_rules rules = bucket_rules_of(&session->info);
  maph_load *load;
  build_drop(follower);
  if (!follower_remove_leftover(follower)) {
    follower_error(follower, "%s: it is in the way of the new file: move it away",
                   follower->sync_path);
    return ENDING_FATAL;
  }
  options.mode = (int)follower->mode;
  options.expected_keys = session->info.subjects;
  options.progress = progress;
  options.versions = MAPH_VERSIONS_GIVEN;
  memcpy(options.uuid, session->uuid, 16);
  if (maph_load_begin(follower->sync_path, &options, &load) != MAPH_OK) {
    follower_error(follower, "%s", maph_errmsg(NULL));
    return ENDING_AGAIN;
  }
  batch_begin_load(&follower->building.batch, load, &rules, session->checks);
  follower->building.target = session->info.last;
  follower->building.target_ms = now_ms();
  memcpy(follower->building.uuid, session->uuid, 16);
  follower->sidecar.record.rebuilds += follower->store != NULL;
  note("%s: building it from bucket %s, %llu messages up to %llu", follower->path, follower->bucket,
       (unsigned long long)session->info.messages, (unsigned long long)session->info.last);
  return ENDING_NOW;
}

/* The message that was taken last may be superseded by now.  Where an older one is as it was, that
** is believed until the file is whole, and then looked into. */
stream_rc build_resume(session *session, bool *goes_on) {
  building *building = &session->follower->building;
  anchors_seen seen;
  stream_rc rc;
  *goes_on = false;
  if (building->batch.load == NULL || memcmp(building->uuid, session->uuid, 16) != 0
      || session->info.last < building->batch.at
      || building->batch.rules.max_age_ms != bucket_rules_of(&session->info).max_age_ms)
    return STREAM_OK;
  rc = anchors_look(session->connection, session->follower->bucket, &building->batch.anchors,
                    UINT64_MAX, &seen);
  *goes_on = rc == STREAM_OK && seen.other == 0 && (seen.same > 0 || building->batch.at == 0);
  if (*goes_on && seen.same < seen.newest && seen.same < building->batch.at)
    building->unsure = true;
  return rc;
}

/* The file is whole but for the last message: what the load could not take, in a transaction; then
** it takes its name. */
static batch_rc finish_file(session *session, const delivery *last) {
  follower *follower = session->follower;
  building *building = &follower->building;
  maph_load *load = building->batch.load;
  maph *store = NULL;
  batch_rc rc;
  building->batch.load = NULL;
  child_stamp_long();
  building->batch.store_rc = maph_load_finish(load);
  if (building->batch.store_rc == MAPH_OK)
    building->batch.store_rc = maph_open(follower->sync_path, MAPH_RDWR, NULL, &store);
  building->batch.store = store;
  building->batch.durability = follower->durability;
  if (building->batch.store_rc != MAPH_OK) {
    if (last) message_free(last->message);
    return BATCH_STORE;
  }
  rc = last ? batch_take(&building->batch, last) : BATCH_OK;
  if (rc == BATCH_OK) rc = batch_after_load(&building->batch, store);
  child_stamp_long();
  if (rc == BATCH_OK) {
    building->batch.store_rc = maph_close(store);
    if (building->batch.store_rc != MAPH_OK) rc = BATCH_STORE;
  } else {
    batch_end(&building->batch);
    maph_close(store);
  }
  return rc;
}

/* A damaged file under the name cannot be followed by its readers anyway. */
static int take_name(follower *follower) {
  int rc = maph_replace(follower->path, follower->sync_path, 60000);
  if (rc == MAPH_OK || rc == MAPH_BUSY || rc == MAPH_FULL) return rc;
  note("%s: cannot be replaced, and is removed: %s", follower->path, maph_errmsg(NULL));
  rc = maph_destroy(follower->path, 5000);
  return rc == MAPH_OK ? maph_replace(follower->path, follower->sync_path, 60000) : rc;
}

static ending finish_building(session *session, const delivery *last) {
  follower *follower = session->follower;
  uint64_t at, time_ns, target_ms = follower->building.target_ms;
  bool unsure = follower->building.unsure;
  batch_rc rc = finish_file(session, last);
  ending end;
  if (rc != BATCH_OK) {
    end = session_failed(session, rc);
    build_drop(follower);
    return end;
  }
  at = follower->building.batch.at;
  time_ns = follower->building.batch.last_time_ns;
  follower->sidecar.record.left_out += follower->building.batch.left_out;
  follower->sidecar.anchors = follower->building.batch.anchors;
  build_drop(follower);
  if (follower->store) maph_close(follower->store);
  follower->store = NULL;
  if (take_name(follower) != MAPH_OK) {
    follower_error(follower, "%s", maph_errmsg(NULL));
    return ENDING_AGAIN;
  }
  follower->rebuild = false;
  follower->doubt = unsure;
  strcpy(follower->sidecar.record.created, session->info.created);
  follower->sidecar.record.position = at;
  follower->sidecar.record.position_time_ns = time_ns;
  follower->sidecar.record.caught_up_ms = target_ms;
  follower->sidecar.record.unsure = 0;
  end = follower_open(follower);
  if (end != ENDING_NOW) return end;
  note("%s: complete at %llu", follower->path, (unsigned long long)at);
  return unsure ? session_say(session, "all keys are to be compared") : session_follow(session, at);
}

/* ------------------------------------------------------------------------------- what came last */
static ending take_last(session *session) {
  building *building = &session->follower->building;
  batch_rc rc = building->last.message ? batch_take(session->batch, &building->last) : BATCH_OK;
  building->last.message = NULL;
  return rc == BATCH_OK ? ENDING_NOW : session_failed(session, rc);
}

/* A load has all there was.  Its last message, where there is one, stays out of it. */
static ending end_load(session *session) {
  building *building = &session->follower->building;
  group *group = &session->batch->group, after = *group;
  delivery last = building->last;
  uint64_t at = last.message ? last.sequence : session->batch->at;
  ending end;
  if (last.message)
    group_take(&after, (txn_part)last.part, message_data(last.message).size, last.behind,
               group->came_ms);
  if (session->groups && !group_is_whole(&after, at)) {
    end = commit_wait(session, &after, at);
    group->cover = after.cover;
    group->hole = after.hole;
    group->again_ms = after.again_ms;
    if (end != ENDING_NOW || !group_is_whole(&after, at)) return end;
  }
  session->follower->sidecar.record.torn += after.torn;
  end = commit_now(session);
  if (end != ENDING_NOW) return end;
  building->last.message = NULL;
  return finish_building(session, last.message ? &last : NULL);
}

/* One that may be the last of a load: the hole before it is the load's to ask back. */
ending build_take(session *session, const delivery *delivery) {
  building *building = &session->follower->building;
  ending end = take_last(session);
  building->last = *delivery;
  /* The last one itself is taken later. */
  if (end == ENDING_NOW
      && batch_reach(session->batch, delivery->sequence - 1, delivery->behind + 1) != BATCH_OK)
    end = ENDING_AGAIN;
  session->batch->group.came_ms = ticks_ms();
  return end == ENDING_NOW ? end_load(session) : end;
}

/* A bucket whose last messages were deleted never delivers the last sequence: then its leader has
** nothing behind what was delivered. */
static ending look_behind(session *session) {
  uint64_t from = session->batch->at + 1, found;
  stream_rc rc;
  if (session->batch->at >= session->follower->building.target) return ENDING_NOW;
  child_stamp_long();
  rc = stored_next_of(session->connection, session->follower->bucket, false, 1, &from, &found);
  if (rc != STREAM_OK) return session_say(session, stream_errmsg());
  if (found == 0 && batch_reach(session->batch, session->follower->building.target, 0) != BATCH_OK)
    return ENDING_AGAIN;
  return ENDING_NOW;
}

ending build_heartbeat(session *session, const delivery *delivery) {
  building *building = &session->follower->building;
  ending end = building->last.message && delivery->sequence > building->last.sequence
                   ? take_last(session)
                   : ENDING_NOW;
  if (end == ENDING_NOW && building->last.message == NULL) {
    if (batch_reach(session->batch, delivery->sequence, delivery->behind) != BATCH_OK)
      return ENDING_AGAIN;
    end = look_behind(session);
  }
  if (end == ENDING_NOW) end = commit_now(session);
  if (end != ENDING_NOW) return end;
  if (building->last.message == NULL && session->batch->at < building->target) return ENDING_NOW;
  end = follower_keep_notes(session->follower);
  return end == ENDING_NOW ? end_load(session) : end;
}
