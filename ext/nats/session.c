/*
** session.c - one connection to a server, and what is done in it.
**
**     connect, look at the stream, decide: follow from the store's version, or build a new file
**     from the first message on; create a consumer; take its messages in batches
**
** Whatever is not as it should be ends the session: nothing of the open batch stays, and the next
** session begins where the store is.  So there is one way to go on, after a lost message, a lost
** connection or a kill.
**
** The server sends as much as its window holds and then waits for an answer, which is given after
** what came before it is committed: a store that cannot take more holds the server up, not memory.
*/
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "entry/entry.h"
#include "nats/child.h"
#include "nats/decide.h"
#include "nats/follow.h"
#include "nats/option.h"
#include "nats/replica.h"

enum {
  SILENCE_MS = 7000, /* the server says something each 2 s */
  MISSED_MS = 3500,  /* after which a server that answers at once has no consumer of ours */
  PROMPT_MS = 1500,  /* "at once" */
  LOOK_MS = 30000,   /* so often the stream is looked at */
  ANSWER_MS = 15000, /* a question that came while there was no leader is never answered */
  WAIT_MS = 200,     /* for a message, where no batch is open */
  CLOSE_MS = 20,     /* changes that follow each other so soon are committed together: */
  PACE_NS = 1000000, /* those of so long */
  HOLES_MOST = 4096  /* then they are asked back */
};

typedef struct session {
  follower *follower;
  connection *connection;
  consumer *consumer;
  stream_info info;
  uint8_t uuid[16];
  batch own; /* of a session that follows; that of one that builds is the follower's */
  batch *batch;
  uint64_t delivered; /* the consumer's count */
  unsigned long long heard, looked;
  /* `heard`, when it was so silent that the leader was asked; and that answered. */
  unsigned long long looked_for, orphaned;
  unsigned behind; /* so many looks in a row the bucket ended before the file */
  bool checks;     /* holes are asked back */
  bool groups;     /* transactions are kept whole: no part of the bucket is left out */
  unsigned long long committed_ms;
  bool paced; /* what came since then was waited for */
} session;

void follower_error(follower *follower, const char *format, ...) {
  char text[sizeof follower->sidecar.record.error];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  if (strcmp(text, follower->sidecar.record.error) != 0) note("%s", text);
  strcpy(follower->sidecar.record.error, text);
}

/* MAPH_TEST_ANSWER: another time, for a test that has many of them to wait. */
static int answer_ms(void) {
  const char *said = getenv("MAPH_TEST_ANSWER");
  return said ? atoi(said) : ANSWER_MS;
}

/* MAPH_TEST_LOOK: another time, for a test that waits for a look. */
static unsigned long long look_ms(void) {
  const char *said = getenv("MAPH_TEST_LOOK");
  return said ? strtoull(said, NULL, 10) : LOOK_MS;
}

/* ---------------------------------------------------------------------------------------- build */
/* Keys that the bucket lost without a message go with the next that comes. */
static batch_rc delete_ghosts(session *session) {
  batch_rc rc = BATCH_OK;
  if (session->follower->ghosts == NULL || session->batch->load
      || session->batch->at <= session->batch->committed)
    return rc;
  for (const ghost *one = session->follower->ghosts; one && rc == BATCH_OK; one = one->next)
    rc = batch_delete(session->batch, maph_bytes(one->key, one->size), one->version);
  return rc;
}

/* Telling the parent that a long call goes on; no call is stopped but by being told to end. */
static int progress(void *arg, const char *phase, uint64_t done, uint64_t total) {
  (void)arg;
  (void)phase;
  (void)done;
  (void)total;
  child_stamp_long();
  return child_told();
}

void follower_remove_leftover(follower *follower) {
  char *lock = NULL;
  maph_destroy(follower->sync_path, 1000);
  unlink(follower->sync_path);
  if (asprintf(&lock, "%s.lock", follower->sync_path) >= 0) unlink(lock);
  free(lock);
}

static void drop_building(follower *follower) {
  building *building = &follower->building;
  if (building->batch.load) maph_load_abort(building->batch.load);
  message_free(building->last.message);
  batch_end(&building->batch);
  memset(building, 0, sizeof *building);
}

static ending begin_building(session *session) {
  follower *follower = session->follower;
  maph_load_options options = MAPH_LOAD_OPTIONS_INIT;
  bucket_rules rules = bucket_rules_of(&session->info);
  maph_load *load;
  drop_building(follower);
  follower_remove_leftover(follower);
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

/* May what was built in an earlier session go on? */
static stream_rc resume_building(session *session, bool *goes_on) {
  building *building = &session->follower->building;
  anchor anchor;
  stream_rc rc;
  *goes_on = false;
  if (building->batch.load == NULL || memcmp(building->uuid, session->uuid, 16) != 0
      || session->info.last < building->batch.at
      || building->batch.rules.max_age_ms != bucket_rules_of(&session->info).max_age_ms)
    return STREAM_OK;
  rc = anchor_look(session->connection, session->follower->bucket, building->batch.at,
                   building->batch.last_time_ns, &anchor);
  *goes_on = rc == STREAM_OK && anchor == ANCHOR_SAME;
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

static ending failed(session *session, batch_rc rc);
static ending begin_following(session *session, uint64_t at);

static ending finish_building(session *session, const delivery *last) {
  follower *follower = session->follower;
  uint64_t at, time_ns, target_ms = follower->building.target_ms;
  batch_rc rc = finish_file(session, last);
  ending end;
  if (rc != BATCH_OK) {
    end = failed(session, rc);
    drop_building(follower);
    return end;
  }
  at = follower->building.batch.at;
  time_ns = follower->building.batch.last_time_ns;
  follower->sidecar.record.left_out += follower->building.batch.left_out;
  follower->sidecar.anchors = follower->building.batch.anchors;
  drop_building(follower);
  if (follower->store) maph_close(follower->store);
  follower->store = NULL;
  if (take_name(follower) != MAPH_OK) {
    follower_error(follower, "%s", maph_errmsg(NULL));
    return ENDING_AGAIN;
  }
  follower->rebuild = follower->doubt = false;
  strcpy(follower->sidecar.record.created, session->info.created);
  follower->sidecar.record.position = at;
  follower->sidecar.record.position_time_ns = time_ns;
  follower->sidecar.record.caught_up_ms = target_ms;
  follower->sidecar.record.unsure = 0;
  end = follower_open(follower);
  if (end != ENDING_NOW) return end;
  note("%s: complete at %llu", follower->path, (unsigned long long)at);
  return begin_following(session, at);
}

/* --------------------------------------------------------------------------------------- follow */
static ending begin_following(session *session, uint64_t at) {
  bucket_rules rules = bucket_rules_of(&session->info);
  if (session->follower->store == NULL) return ENDING_AGAIN;
  batch_begin(&session->own, session->follower->store, at, &rules, session->follower->durability);
  session->own.anchors = session->follower->sidecar.anchors;
  session->own.group.replicated = session->info.replicas > 1;
  session->batch = &session->own;
  follower_show(session->follower, REPLICA_FOLLOWING);
  return ENDING_NOW;
}

static ending failed(session *session, batch_rc rc) {
  follower *follower = session->follower;
  /* A load that failed takes no more: the next session begins another one. */
  if (session->batch->load && (rc == BATCH_STORE || rc == BATCH_MEMORY))
    memset(follower->building.uuid, 0, sizeof follower->building.uuid);
  switch (rc) {
    case BATCH_OK: return ENDING_NOW;
    case BATCH_LOST:
      follower->sidecar.record.losses++;
      note("bucket %s: nats-server %s left messages out of what it sent; they are asked for again",
           follower->bucket, connection_server(session->connection)->version);
      return ENDING_LOST;
    case BATCH_ASKING: follower_error(follower, "%s", stream_errmsg()); return ENDING_AGAIN;
    case BATCH_STORE: follower_error(follower, "%s", maph_errmsg(NULL)); break;
    case BATCH_MEMORY: follower_error(follower, "out of memory"); return ENDING_AGAIN;
  }
  /* Building from the first message again each second would be too much for the server. */
  if (session->batch->store_rc == MAPH_BUSY || session->batch->store_rc == MAPH_FULL)
    return session->batch->load ? ENDING_AGAIN : ENDING_FULL;
  follower->reopen = true;
  if (session->batch->store_rc == MAPH_CORRUPT || session->batch->store_rc == MAPH_IOERR)
    follower->rebuild = true;
  return ENDING_AGAIN;
}

static ending say(session *session, const char *what) {
  follower_error(session->follower, "%s", what);
  return ENDING_AGAIN;
}

/* Is it time to compare all keys: so long after the last time, or where the bucket has fewer keys
** than the file, which nothing told? */
static ending compare_in_time(session *session, const stream_info *info) {
  follower *follower = session->follower;
  unsigned long long since = ticks_ms() - follower->listed;
  maph_stats stats;
  if (maph_stat(follower->store, &stats) != MAPH_OK) return say(session, maph_errmsg(NULL));
  if (option.verify_every_ms && since >= option.verify_every_ms) follower->doubt = true;
  if (since >= option.marker_age_ms && info->max_age_ns == 0 && option.filter == NULL
      && stats.records > info->subjects)
    follower->doubt = true;
  return follower->doubt ? say(session, "all keys are to be compared") : ENDING_NOW;
}

/* Somebody may have removed the file, or put another one in its place.  A compaction does so too,
** and leaves its content. */
static ending look_at_name(session *session) {
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
  if (follower->store == NULL) return say(session, "the file is gone");
  if (maph_stat(follower->store, &stats) != MAPH_OK || memcmp(stats.uuid, session->uuid, 16) != 0
      || stats.version != session->batch->committed)
    return say(session, "another file was put in place of the replica");
  session->batch->store = follower->store;
  return ENDING_NOW;
}

/* Is what the leader has last what the file is made of?  One that is behind may be a new one that
** has yet to catch up, or an old one that does not know of a new one yet: that is not believed at
** once. */
static ending look_at_leader(session *session, const stream_info *info) {
  bool differs;
  if (info->last < session->batch->committed)
    return session->behind++ ? say(session, "the bucket ends before the file") : ENDING_NOW;
  session->behind = 0;
  if (info->replicas == 1) return ENDING_NOW;
  if (decide_again(session->follower, session->connection, info, session->batch->committed,
                   &differs)
      != STREAM_OK)
    return say(session, stream_errmsg());
  return differs ? say(session, "all keys are to be compared") : ENDING_NOW;
}

/* Each half a minute: is it the same bucket, with the same rules? */
static ending look_again(session *session) {
  stream_info info;
  stream_rc rc;
  ending end;
  session->looked = ticks_ms();
  child_stamp_long();
  rc = stream_look(session->connection, session->follower->bucket, &info);
  if (rc != STREAM_OK) return say(session, stream_errmsg());
  if (strcmp(info.created, session->info.created) != 0 || info.escaped != session->info.escaped)
    return say(session, "the bucket was made anew");
  if (info.max_age_ns != session->info.max_age_ns) {
    session->follower->rebuild = true;
    return say(session, "the bucket's time to live was changed");
  }
  if (session->follower->sidecar.record.last_seen < info.last)
    session->follower->sidecar.record.last_seen = info.last;
  end = look_at_leader(session, &info);
  session->heard = ticks_ms();
  return end == ENDING_NOW ? compare_in_time(session, &info) : end;
}

/* All there was when the session began is in the file: see decide.h. */
static ending settle(session *session) {
  follower *follower = session->follower;
  bool sure;
  child_stamp_long();
  if (decide_settle(follower, &sure) != MAPH_OK) return say(session, maph_errmsg(NULL));
  if (sure) return ENDING_NOW;
  follower->doubt = true;
  return say(session, "all keys are to be compared");
}

/* With a message of that time the file has all that the bucket had then. */
static void note_moment(sidecar_record *record, uint64_t time_ms) {
  if (time_ms > record->heard_ms) time_ms = record->heard_ms; /* the server's clock is ahead */
  if (time_ms > record->caught_up_ms) record->caught_up_ms = time_ms;
}

/* Commit, or what a load has for it; ENDING_NOW: go on. */
static ending commit_now(session *session) {
  batch *batch = session->batch;
  sidecar_record *record = &session->follower->sidecar.record;
  uint64_t count = batch->count, before = batch->committed;
  bool loads = batch->load != NULL;
  batch_rc rc = BATCH_OK;
  child_stamp_long();
  if (session->checks)
    rc = batch_check_holes(batch, session->connection, session->follower->bucket,
                           session->info.direct);
  batch->holes_count = 0;
  if (rc == BATCH_OK) rc = delete_ghosts(session);
  if (rc == BATCH_OK) rc = batch_commit(batch);
  if (rc != BATCH_OK) return failed(session, rc);
  session->heard = session->committed_ms = ticks_ms();
  session->paced = false;
  record->applied += count;
  if (!loads && session->follower->ghosts && batch->at > before) {
    record->ghosts += session->follower->ghosts_count;
    follower_drop_ghosts(session->follower);
  }
  record->heard_ms = now_ms();
  record->torn += batch->group.torn;
  batch->group.torn = 0;
  if (!loads) {
    if (record->position != batch->at || batch->at != before)
      record->position_time_ns = batch->last_time_ns;
    record->position = batch->at;
    session->follower->sidecar.anchors = batch->anchors;
    record->left_out += batch->left_out;
    batch->left_out = 0;
  }
  if (record->last_seen < batch->at) record->last_seen = batch->at;
  if (!loads) {
    record->followed_ms = record->heard_ms;
    note_moment(record, batch->last_time_ns / 1000000);
  }
  sidecar_write(&session->follower->sidecar);
  if (!loads && record->unsure && batch->at >= session->info.last) return settle(session);
  return !loads && session->heard - session->looked > look_ms() ? look_again(session) : ENDING_NOW;
}

/* -------------------------------------------------------------------------- transactions, whole */
static bool is_whole(const session *session) {
  return !session->groups || session->batch->load
         || group_is_whole(&session->batch->group, session->batch->at);
}

/* What a replica should not show, as it is up to `at`: more has to come.  Where that does not, it
** is taken as it is. */
static ending wait_for_more(session *session, group *group, uint64_t at) {
  stream_info info;
  if (group_asks(group, at, ticks_ms())) {
    child_stamp_long();
    if (stream_look(session->connection, session->follower->bucket, &info) != STREAM_OK)
      return say(session, stream_errmsg());
    group->replicated = info.replicas > 1; /* servers may have joined */
    if (group_asks(group, at, ticks_ms())) group_cover(group, at, info.last, ticks_ms());
    if (group_is_whole(group, at)) return ENDING_NOW;
  }
  if (!group_is_overdue(group, ticks_ms(), option.txn_time_ms)) return ENDING_NOW;
  note("bucket %s: a transaction that does not end is taken as it is, at %llu",
       session->follower->bucket, (unsigned long long)at);
  group_give_up(group);
  return ENDING_NOW;
}

static ending check_many_holes(session *session) {
  batch_rc rc;
  if (!session->checks || session->batch->holes_count < HOLES_MOST) return ENDING_NOW;
  rc = batch_check_holes(session->batch, session->connection, session->follower->bucket,
                         session->info.direct);
  return rc == BATCH_OK ? ENDING_NOW : failed(session, rc);
}

/* Commit what readers may see. */
static ending commit(session *session) {
  ending end;
  if (is_whole(session)) return commit_now(session);
  end = check_many_holes(session);
  if (end == ENDING_NOW) end = wait_for_more(session, &session->batch->group, session->batch->at);
  return end == ENDING_NOW && is_whole(session) ? commit_now(session) : end;
}

/* ------------------------------------------------------------------------------- what came last */
static ending take_last(session *session) {
  building *building = &session->follower->building;
  batch_rc rc = building->last.message ? batch_take(session->batch, &building->last) : BATCH_OK;
  building->last.message = NULL;
  return rc == BATCH_OK ? ENDING_NOW : failed(session, rc);
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
    end = wait_for_more(session, &after, at);
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
static ending keep_last(session *session, const delivery *delivery) {
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

/* The file has all there was. */
static ending caught_up(session *session) {
  if (session->follower->sidecar.record.unsure) return settle(session);
  session->follower->sidecar.record.caught_up_ms = session->follower->sidecar.record.heard_ms =
      now_ms();
  session->follower->sidecar.record.error[0] = 0;
  sidecar_write(&session->follower->sidecar);
  return ENDING_NOW;
}

/* What is whole does not wait for the end of what begins. */
static bool begins_transaction(const session *session, const delivery *delivery) {
  return delivery->part == TXN_PART && session->batch->load == NULL && session->batch->count > 0
         && is_whole(session);
}

static ending on_message(session *session, const delivery *delivery) {
  building *building = &session->follower->building;
  ending end = ENDING_NOW;
  if (delivery->delivered != session->delivered + 1 || delivery->sequence <= session->batch->at) {
    message_free(delivery->message);
    if (delivery->delivered != session->delivered + 1)
      return say(session, "messages were lost on the way");
    session->follower->doubt = true;
    return say(session, "the bucket went back while it was followed");
  }
  session->delivered++;
  if (session->batch->load && delivery->sequence >= building->target)
    return keep_last(session, delivery);
  if (begins_transaction(session, delivery)) end = commit(session);
  if (end == ENDING_NOW) {
    batch_rc rc = batch_take(session->batch, delivery);
    return rc == BATCH_OK ? ENDING_NOW : failed(session, rc);
  }
  message_free(delivery->message);
  return end;
}

/* A bucket whose last messages were deleted never delivers the last sequence: then its leader has
** nothing behind what was delivered. */
static ending look_behind(session *session) {
  uint64_t from = session->batch->at + 1, found;
  stream_rc rc;
  if (session->batch->at >= session->follower->building.target) return ENDING_NOW;
  child_stamp_long();
  rc = stream_next_of(session->connection, session->follower->bucket, false, 1, &from, &found);
  if (rc != STREAM_OK) return say(session, stream_errmsg());
  if (found == 0 && batch_reach(session->batch, session->follower->building.target, 0) != BATCH_OK)
    return ENDING_AGAIN;
  return ENDING_NOW;
}

/* A heartbeat that wants no answer is of a server that has nothing more. */
static uint64_t behind(const delivery *heartbeat) { return heartbeat->reply[0] ? UINT64_MAX : 0; }

static ending on_heartbeat_of_load(session *session, const delivery *delivery) {
  building *building = &session->follower->building;
  ending end = building->last.message && delivery->sequence > building->last.sequence
                   ? take_last(session)
                   : ENDING_NOW;
  if (end == ENDING_NOW && building->last.message == NULL) {
    if (batch_reach(session->batch, delivery->sequence, behind(delivery)) != BATCH_OK)
      return ENDING_AGAIN;
    end = look_behind(session);
  }
  if (end == ENDING_NOW) end = commit_now(session);
  if (end != ENDING_NOW) return end;
  if (building->last.message == NULL && session->batch->at < building->target) return ENDING_NOW;
  end = follower_keep_notes(session->follower);
  return end == ENDING_NOW ? end_load(session) : end;
}

static ending on_heartbeat(session *session, const delivery *delivery) {
  ending end;
  if (delivery->reply[0] && consumer_answer(session->consumer, delivery->reply) != STREAM_OK)
    return say(session, stream_errmsg());
  if (delivery->delivered != session->delivered)
    return say(session, "messages were lost on the way");
  if (delivery->reply[0] == 0) group_at_rest(&session->batch->group);
  if (session->batch->load) return on_heartbeat_of_load(session, delivery);
  if (batch_reach(session->batch, delivery->sequence, behind(delivery)) != BATCH_OK)
    return ENDING_AGAIN;
  end = commit(session);
  if (end != ENDING_NOW || !is_whole(session)) return end;
  end = follower_keep_notes(session->follower);
  if (end == ENDING_NOW) end = look_at_name(session);
  return end == ENDING_NOW ? caught_up(session) : end;
}

/* While it waits for the rest of a transaction. */
static void show_heard(session *session) {
  sidecar_record *record = &session->follower->sidecar.record;
  if (record->last_seen < session->batch->at) record->last_seen = session->batch->at;
  record->heard_ms = now_ms() - (ticks_ms() - session->heard);
  sidecar_write(&session->follower->sidecar);
}

/* Where changes come one close upon another, a commit of each would cost more than all else: a
** moment is left for more to come.  One that comes alone is committed at once. */
static bool leave_time(session *session) {
  struct timespec moment = { .tv_nsec = PACE_NS };
  if (session->paced || session->batch->load || ticks_ms() - session->committed_ms > CLOSE_MS)
    return false;
  session->paced = true;
  nanosleep(&moment, NULL);
  return true;
}

/* A consumer is one server's, and gone where that one was killed.  Does the bucket's leader answer,
** while nothing comes?  One that is slow answers neither soon, and is waited for. */
static ending look_for_consumer(session *session) {
  stream_info info;
  stream_rc rc;
  session->looked_for = session->heard;
  child_stamp_long();
  connection_patience(session->connection, PROMPT_MS);
  rc = stream_look(session->connection, session->follower->bucket, &info);
  connection_patience(session->connection, answer_ms());
  if (rc == STREAM_OK) session->orphaned = session->heard;
  return ENDING_NOW;
}

static ending on_silence(session *session) {
  unsigned long long silent = ticks_ms() - session->heard;
  if (silent > SILENCE_MS) return say(session, "the server fell silent");
  if (session->info.replicas == 1 || option.filter || silent <= MISSED_MS) return ENDING_NOW;
  if (session->orphaned == session->heard)
    return say(session, "the server fell silent, and another one answers");
  return session->looked_for != session->heard ? look_for_consumer(session) : ENDING_NOW;
}

static ending on_nothing(session *session) {
  if (session->batch->count > 0 && leave_time(session)) return ENDING_NOW;
  if (session->batch->count > 0) {
    ending end = commit(session);
    if (end != ENDING_NOW || is_whole(session)) return end;
    show_heard(session);
  }
  if (connection_lost(session->connection)) return say(session, "the connection is lost");
  return on_silence(session);
}

static ending on_flow(session *session, const delivery *delivery) {
  ending end = commit(session);
  if (end == ENDING_NOW && consumer_answer(session->consumer, delivery->reply) != STREAM_OK)
    end = say(session, stream_errmsg());
  return end;
}

static bool is_due(const session *session) {
  const batch *batch = session->batch;
  if (batch->load) return batch->held_count >= option.batch || batch->holes_count >= HOLES_MOST;
  return batch->count >= option.batch || batch->holes_count >= HOLES_MOST
         || (batch->count > 0 && batch->txn
             && ticks_ms() - batch->began_ms >= option.batch_time_ms);
}

static int part_of(const session *session, message *message) {
  const char *header = session->groups ? message_header(message, "Maph-Txn") : NULL;
  uint64_t version;
  return group_read(header ? maph_str(header) : maph_bytes(NULL, 0), &version);
}

static ending step(session *session) {
  delivery delivery;
  ending end = ENDING_NOW;
  bool waits = session->batch->count == 0 || session->batch->load || !is_whole(session);
  event event = consumer_next(session->consumer, waits ? WAIT_MS : 0, &delivery);
  child_stamp();
  if (event != EVENT_NOTHING) session->heard = ticks_ms();
  switch (event) {
    case EVENT_NOTHING: return on_nothing(session);
    case EVENT_MESSAGE:
      delivery.part = part_of(session, delivery.message);
      end = on_message(session, &delivery);
      break;
    case EVENT_FLOW: return on_flow(session, &delivery);
    case EVENT_HEARTBEAT: return on_heartbeat(session, &delivery);
    case EVENT_LOST:
    case EVENT_WRONG: return say(session, stream_errmsg());
  }
  return end == ENDING_NOW && is_due(session) ? commit(session) : end;
}

/* -------------------------------------------------------------------------------------- session */
static ending of_stream(session *session, stream_rc rc, replica_state state) {
  if (!child_told()) follower_error(session->follower, "%s", stream_errmsg());
  session->follower->sidecar.record.state = state;
  return rc == STREAM_MISUSE ? ENDING_FATAL : ENDING_AGAIN;
}

static ending begin(session *session) {
  follower *follower = session->follower;
  decision what;
  bool goes_on = false;
  stream_rc rc;
  ending end;
  bucket_identity(follower->bucket, option.filter, &session->info, session->uuid);
  /* MAPH_TEST_NO_HOLE_CHECK: a test sees that it is needed. */
  session->checks = option.filter == NULL && connection_before(session->connection, 2, 9, 12)
                    && getenv("MAPH_TEST_NO_HOLE_CHECK") == NULL;
  session->groups = option.filter == NULL;
  rc = decide(follower, session->connection, &session->info, session->uuid, &what);
  if (rc != STREAM_OK) return of_stream(session, rc, REPLICA_DISCONNECTED);
  if (what == DECIDE_FOLLOW) {
    maph_stats stats;
    drop_building(follower);
    if (maph_stat(follower->store, &stats) != MAPH_OK) return say(session, maph_errmsg(NULL));
    return begin_following(session, stats.version);
  }
  rc = resume_building(session, &goes_on);
  if (rc != STREAM_OK) return of_stream(session, rc, REPLICA_DISCONNECTED);
  end = goes_on ? ENDING_NOW : begin_building(session);
  session->batch = &follower->building.batch;
  session->batch->group.replicated = session->info.replicas > 1;
  follower_show(session->follower, follower->store ? REPLICA_REBUILDING : REPLICA_SYNCING);
  return end;
}

static ending listen(session *session) {
  char host[128] = "", description[512];
  stream_info again;
  stream_rc rc;
  gethostname(host, sizeof host - 1);
  snprintf(description, sizeof description, "maph-replica %s %.300s", host,
           session->follower->path);
  child_stamp_long();
  rc = consumer_open(session->connection, session->follower->bucket, session->info.origin,
                     option.filter, session->batch->at + 1, description, &session->consumer);
  if (rc == STREAM_OK) rc = stream_look(session->connection, session->follower->bucket, &again);
  if (rc != STREAM_OK) return of_stream(session, rc, REPLICA_DISCONNECTED);
  if (strcmp(again.created, session->info.created) != 0)
    return say(session, "the bucket was made anew");
  session->follower->sidecar.record.last_seen = again.last;
  session->heard = session->looked = ticks_ms();
  if (session->batch->load == NULL && again.last <= session->batch->at)
    session->follower->sidecar.record.caught_up_ms = session->follower->sidecar.record.heard_ms =
        now_ms();
  return ENDING_NOW;
}

static ending connect(session *session) {
  follower *follower = session->follower;
  stream_rc rc;
  ending end = follower_keep_notes(follower);
  if (end == ENDING_NOW && follower->store == NULL) end = follower_open(follower);
  if (end != ENDING_NOW) return end;
  child_stamp();
  rc = connection_open(&session->connection);
  if (rc != STREAM_OK) return of_stream(session, rc, REPLICA_DISCONNECTED);
  connection_patience(session->connection, answer_ms());
  child_stamp_long();
  snprintf(follower->sidecar.record.server, sizeof follower->sidecar.record.server, "%.200s %s",
           connection_server(session->connection)->url,
           connection_server(session->connection)->version);
  rc = stream_look(session->connection, follower->bucket, &session->info);
  if (rc != STREAM_OK)
    return of_stream(session, rc == STREAM_REFUSED && stream_code() == 0 ? STREAM_MISUSE : rc,
                     rc == STREAM_NONE ? REPLICA_NO_BUCKET : REPLICA_DISCONNECTED);
  follower->sidecar.record.heard_ms = now_ms();
  follower->sidecar.record.sessions++;
  if (option.filter && connection_before(session->connection, 2, 9, 12)) {
    follower_error(follower, "--filter needs nats-server 2.9.12: %s is %s",
                   connection_server(session->connection)->url,
                   connection_server(session->connection)->version);
    return ENDING_FATAL;
  }
  return ENDING_NOW;
}

ending session_run(follower *follower) {
  session *session = calloc(1, sizeof *session);
  ending end;
  if (session == NULL) return ENDING_AGAIN;
  session->follower = follower;
  end = connect(session);
  if (end == ENDING_NOW) end = begin(session);
  if (end == ENDING_NOW) end = listen(session);
  while (end == ENDING_NOW && !child_told()) end = step(session);
  if (end == ENDING_NOW && session->batch->load == NULL && is_whole(session)) commit_now(session);
  message_free(follower->building.last.message);
  follower->building.last.message = NULL;
  batch_end(&session->own);
  if (follower->reopen && follower->store) {
    maph_close(follower->store);
    follower->store = NULL;
  }
  follower->reopen = false;
  if (child_told()) end = ENDING_TOLD;
  if (end == ENDING_TOLD) drop_building(follower);
  if (end != ENDING_TOLD && follower->sidecar.record.state != REPLICA_NO_BUCKET)
    follower->sidecar.record.state = REPLICA_DISCONNECTED;
  sidecar_write(&follower->sidecar);
  if (session->connection && !connection_lost(session->connection))
    consumer_close(session->consumer);
  connection_close(session->connection);
  free(session);
  return end;
}
