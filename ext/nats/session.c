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
  LOOK_MS = 30000,   /* so often the stream is looked at */
  ANSWER_MS = 15000, /* a question that came while there was no leader is never answered */
  WAIT_MS = 200,     /* for a message, where no batch is open */
  CLOSE_MS = 20,     /* changes that follow each other so soon are committed together: */
  PACE_NS = 1000000, /* those of so long */
  HOLES_MOST = 4096  /* then they are asked back */
};

typedef struct session {
  follower *f;
  connection *c;
  consumer *k;
  stream_info info;
  uint8_t uuid[16];
  batch own; /* of a session that follows; that of one that builds is the follower's */
  batch *batch;
  uint64_t delivered; /* the consumer's count */
  unsigned long long heard, looked;
  unsigned behind; /* so many looks in a row the bucket ended before the file */
  bool checks;     /* holes are asked back */
  bool groups;     /* transactions are kept whole: no part of the bucket is left out */
  unsigned long long committed_ms;
  bool paced; /* what came since then was waited for */
} session;

void follower_error(follower *f, const char *format, ...) {
  char text[sizeof f->sidecar.record.error];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  if (strcmp(text, f->sidecar.record.error) != 0) note("%s", text);
  strcpy(f->sidecar.record.error, text);
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
static batch_rc delete_ghosts(session *s) {
  batch_rc rc = BATCH_OK;
  if (s->f->ghosts == NULL || s->batch->load || s->batch->at <= s->batch->committed) return rc;
  for (const ghost *one = s->f->ghosts; one && rc == BATCH_OK; one = one->next)
    rc = batch_delete(s->batch, maph_bytes(one->key, one->size), one->version);
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

void follower_remove_leftover(follower *f) {
  char *lock = NULL;
  maph_destroy(f->sync_path, 1000);
  unlink(f->sync_path);
  if (asprintf(&lock, "%s.lock", f->sync_path) >= 0) unlink(lock);
  free(lock);
}

static void drop_building(follower *f) {
  building *b = &f->building;
  if (b->batch.load) maph_load_abort(b->batch.load);
  message_free(b->last.message);
  batch_end(&b->batch);
  memset(b, 0, sizeof *b);
}

static ending begin_building(session *s) {
  follower *f = s->f;
  maph_load_options options = MAPH_LOAD_OPTIONS_INIT;
  bucket_rules rules = bucket_rules_of(&s->info);
  maph_load *load;
  drop_building(f);
  follower_remove_leftover(f);
  options.mode = (int)f->mode;
  options.expected_keys = s->info.subjects;
  options.progress = progress;
  options.versions = MAPH_VERSIONS_GIVEN;
  memcpy(options.uuid, s->uuid, 16);
  if (maph_load_begin(f->sync_path, &options, &load) != MAPH_OK) {
    follower_error(f, "%s", maph_errmsg(NULL));
    return ENDING_AGAIN;
  }
  batch_begin_load(&f->building.batch, load, &rules, s->checks);
  f->building.target = s->info.last;
  f->building.target_ms = now_ms();
  memcpy(f->building.uuid, s->uuid, 16);
  f->sidecar.record.rebuilds += f->store != NULL;
  note("%s: building it from bucket %s, %llu messages up to %llu", f->path, f->bucket,
       (unsigned long long)s->info.messages, (unsigned long long)s->info.last);
  return ENDING_NOW;
}

/* May what was built in an earlier session go on? */
static stream_rc resume_building(session *s, bool *goes_on) {
  building *b = &s->f->building;
  anchor anchor;
  stream_rc rc;
  *goes_on = false;
  if (b->batch.load == NULL || memcmp(b->uuid, s->uuid, 16) != 0 || s->info.last < b->batch.at
      || b->batch.rules.max_age_ms != bucket_rules_of(&s->info).max_age_ms)
    return STREAM_OK;
  rc = anchor_look(s->c, s->f->bucket, b->batch.at, b->batch.last_time_ns, &anchor);
  *goes_on = rc == STREAM_OK && anchor == ANCHOR_SAME;
  return rc;
}

/* The file is whole but for the last message: what the load could not take, in a transaction; then
** it takes its name. */
static batch_rc finish_file(session *s, const delivery *last) {
  follower *f = s->f;
  building *b = &f->building;
  maph_load *load = b->batch.load;
  maph *store = NULL;
  batch_rc rc;
  b->batch.load = NULL;
  child_stamp_long();
  b->batch.store_rc = maph_load_finish(load);
  if (b->batch.store_rc == MAPH_OK)
    b->batch.store_rc = maph_open(f->sync_path, MAPH_RDWR, NULL, &store);
  b->batch.store = store;
  b->batch.durability = f->durability;
  if (b->batch.store_rc != MAPH_OK) {
    if (last) message_free(last->message);
    return BATCH_STORE;
  }
  rc = last ? batch_take(&b->batch, last) : BATCH_OK;
  if (rc == BATCH_OK) rc = batch_after_load(&b->batch, store);
  child_stamp_long();
  if (rc == BATCH_OK) {
    b->batch.store_rc = maph_close(store);
    if (b->batch.store_rc != MAPH_OK) rc = BATCH_STORE;
  } else {
    batch_end(&b->batch);
    maph_close(store);
  }
  return rc;
}

/* A damaged file under the name cannot be followed by its readers anyway. */
static int take_name(follower *f) {
  int rc = maph_replace(f->path, f->sync_path, 60000);
  if (rc == MAPH_OK || rc == MAPH_BUSY || rc == MAPH_FULL) return rc;
  note("%s: cannot be replaced, and is removed: %s", f->path, maph_errmsg(NULL));
  rc = maph_destroy(f->path, 5000);
  return rc == MAPH_OK ? maph_replace(f->path, f->sync_path, 60000) : rc;
}

static ending failed(session *s, batch_rc rc);
static ending begin_following(session *s, uint64_t at);

static ending finish_building(session *s, const delivery *last) {
  follower *f = s->f;
  uint64_t at, time_ns, target_ms = f->building.target_ms;
  batch_rc rc = finish_file(s, last);
  ending end;
  if (rc != BATCH_OK) {
    end = failed(s, rc);
    drop_building(f);
    return end;
  }
  at = f->building.batch.at;
  time_ns = f->building.batch.last_time_ns;
  f->sidecar.record.left_out += f->building.batch.left_out;
  f->sidecar.anchors = f->building.batch.anchors;
  drop_building(f);
  if (f->store) maph_close(f->store);
  f->store = NULL;
  if (take_name(f) != MAPH_OK) {
    follower_error(f, "%s", maph_errmsg(NULL));
    return ENDING_AGAIN;
  }
  f->rebuild = f->doubt = false;
  strcpy(f->sidecar.record.created, s->info.created);
  f->sidecar.record.position = at;
  f->sidecar.record.position_time_ns = time_ns;
  f->sidecar.record.caught_up_ms = target_ms;
  f->sidecar.record.unsure = 0;
  end = follower_open(f);
  if (end != ENDING_NOW) return end;
  note("%s: complete at %llu", f->path, (unsigned long long)at);
  return begin_following(s, at);
}

/* --------------------------------------------------------------------------------------- follow */
static ending begin_following(session *s, uint64_t at) {
  bucket_rules rules = bucket_rules_of(&s->info);
  if (s->f->store == NULL) return ENDING_AGAIN;
  batch_begin(&s->own, s->f->store, at, &rules, s->f->durability);
  s->own.anchors = s->f->sidecar.anchors;
  s->batch = &s->own;
  follower_show(s->f, REPLICA_FOLLOWING);
  return ENDING_NOW;
}

static ending failed(session *s, batch_rc rc) {
  follower *f = s->f;
  /* A load that failed takes no more: the next session begins another one. */
  if (s->batch->load && (rc == BATCH_STORE || rc == BATCH_MEMORY))
    memset(f->building.uuid, 0, sizeof f->building.uuid);
  switch (rc) {
    case BATCH_OK: return ENDING_NOW;
    case BATCH_LOST:
      f->sidecar.record.losses++;
      note("bucket %s: nats-server %s left messages out of what it sent; they are asked for again",
           f->bucket, connection_server(s->c)->version);
      return ENDING_LOST;
    case BATCH_ASKING: follower_error(f, "%s", stream_errmsg()); return ENDING_AGAIN;
    case BATCH_STORE: follower_error(f, "%s", maph_errmsg(NULL)); break;
    case BATCH_MEMORY: follower_error(f, "out of memory"); return ENDING_AGAIN;
  }
  /* Building from the first message again each second would be too much for the server. */
  if (s->batch->store_rc == MAPH_BUSY || s->batch->store_rc == MAPH_FULL)
    return s->batch->load ? ENDING_AGAIN : ENDING_FULL;
  f->reopen = true;
  if (s->batch->store_rc == MAPH_CORRUPT || s->batch->store_rc == MAPH_IOERR) f->rebuild = true;
  return ENDING_AGAIN;
}

static ending say(session *s, const char *what) {
  follower_error(s->f, "%s", what);
  return ENDING_AGAIN;
}

/* Is it time to compare all keys: so long after the last time, or where the bucket has fewer keys
** than the file, which nothing told? */
static ending compare_in_time(session *s, const stream_info *info) {
  follower *f = s->f;
  unsigned long long since = ticks_ms() - f->listed;
  maph_stats stats;
  if (maph_stat(f->store, &stats) != MAPH_OK) return say(s, maph_errmsg(NULL));
  if (option.verify_every_ms && since >= option.verify_every_ms) f->doubt = true;
  if (since >= option.marker_age_ms && info->max_age_ns == 0 && option.filter == NULL
      && stats.records > info->subjects)
    f->doubt = true;
  return f->doubt ? say(s, "all keys are to be compared") : ENDING_NOW;
}

/* Somebody may have removed the file, or put another one in its place.  A compaction does so too,
** and leaves its content. */
static ending look_at_name(session *s) {
  follower *f = s->f;
  struct stat named;
  maph_stats stats;
  ending end;
  bool there = stat(f->path, &named) == 0;
  if (!there && errno != ENOENT) return ENDING_NOW;
  if (there && named.st_dev == f->device && named.st_ino == f->inode) return ENDING_NOW;
  maph_close(f->store);
  f->store = NULL;
  end = follower_open(f);
  if (end != ENDING_NOW) return end;
  if (f->store == NULL) return say(s, "the file is gone");
  if (maph_stat(f->store, &stats) != MAPH_OK || memcmp(stats.uuid, s->uuid, 16) != 0
      || stats.version != s->batch->committed)
    return say(s, "another file was put in place of the replica");
  s->batch->store = f->store;
  return ENDING_NOW;
}

/* Is what the leader has last what the file is made of?  One that is behind may be a new one that
** has yet to catch up, or an old one that does not know of a new one yet: that is not believed at
** once. */
static ending look_at_leader(session *s, const stream_info *info) {
  bool differs;
  if (info->last < s->batch->committed)
    return s->behind++ ? say(s, "the bucket ends before the file") : ENDING_NOW;
  s->behind = 0;
  if (info->replicas == 1) return ENDING_NOW;
  if (decide_again(s->f, s->c, info, s->batch->committed, &differs) != STREAM_OK)
    return say(s, stream_errmsg());
  return differs ? say(s, "all keys are to be compared") : ENDING_NOW;
}

/* Each half a minute: is it the same bucket, with the same rules? */
static ending look_again(session *s) {
  stream_info info;
  stream_rc rc;
  ending end;
  s->looked = ticks_ms();
  child_stamp_long();
  rc = stream_look(s->c, s->f->bucket, &info);
  if (rc != STREAM_OK) return say(s, stream_errmsg());
  if (strcmp(info.created, s->info.created) != 0 || info.escaped != s->info.escaped)
    return say(s, "the bucket was made anew");
  if (info.max_age_ns != s->info.max_age_ns) {
    s->f->rebuild = true;
    return say(s, "the bucket's time to live was changed");
  }
  if (s->f->sidecar.record.last_seen < info.last) s->f->sidecar.record.last_seen = info.last;
  end = look_at_leader(s, &info);
  s->heard = ticks_ms();
  return end == ENDING_NOW ? compare_in_time(s, &info) : end;
}

/* All there was when the session began is in the file: see decide.h. */
static ending settle(session *s) {
  follower *f = s->f;
  bool sure;
  child_stamp_long();
  if (decide_settle(f, &sure) != MAPH_OK) return say(s, maph_errmsg(NULL));
  if (sure) return ENDING_NOW;
  f->doubt = true;
  return say(s, "all keys are to be compared");
}

/* With a message of that time the file has all that the bucket had then. */
static void note_moment(sidecar_record *record, uint64_t time_ms) {
  if (time_ms > record->heard_ms) time_ms = record->heard_ms; /* the server's clock is ahead */
  if (time_ms > record->caught_up_ms) record->caught_up_ms = time_ms;
}

/* Commit, or what a load has for it; ENDING_NOW: go on. */
static ending commit_now(session *s) {
  batch *b = s->batch;
  sidecar_record *record = &s->f->sidecar.record;
  uint64_t count = b->count, before = b->committed;
  bool loads = b->load != NULL;
  batch_rc rc = BATCH_OK;
  child_stamp_long();
  if (s->checks) rc = batch_check_holes(b, s->c, s->f->bucket, s->info.direct);
  b->holes_count = 0;
  if (rc == BATCH_OK) rc = delete_ghosts(s);
  if (rc == BATCH_OK) rc = batch_commit(b);
  if (rc != BATCH_OK) return failed(s, rc);
  s->heard = s->committed_ms = ticks_ms();
  s->paced = false;
  record->applied += count;
  if (!loads && s->f->ghosts && b->at > before) {
    record->ghosts += s->f->ghosts_count;
    follower_drop_ghosts(s->f);
  }
  record->heard_ms = now_ms();
  record->torn += b->group.torn;
  b->group.torn = 0;
  if (!loads) {
    if (record->position != b->at || b->at != before) record->position_time_ns = b->last_time_ns;
    record->position = b->at;
    s->f->sidecar.anchors = b->anchors;
    record->left_out += b->left_out;
    b->left_out = 0;
  }
  if (record->last_seen < b->at) record->last_seen = b->at;
  if (!loads) {
    record->followed_ms = record->heard_ms;
    note_moment(record, b->last_time_ns / 1000000);
  }
  sidecar_write(&s->f->sidecar);
  if (!loads && record->unsure && b->at >= s->info.last) return settle(s);
  return !loads && s->heard - s->looked > look_ms() ? look_again(s) : ENDING_NOW;
}

/* -------------------------------------------------------------------------- transactions, whole */
static bool is_whole(const session *s) {
  return !s->groups || s->batch->load || group_is_whole(&s->batch->group, s->batch->at);
}

/* What a replica should not show, as it is up to `at`: more has to come.  Where that does not, it
** is taken as it is. */
static ending wait_for_more(session *s, group *g, uint64_t at) {
  stream_info info;
  if (group_asks(g, at)) {
    child_stamp_long();
    if (stream_look(s->c, s->f->bucket, &info) != STREAM_OK) return say(s, stream_errmsg());
    group_cover(g, info.last);
    if (group_is_whole(g, at)) return ENDING_NOW;
  }
  if (!group_is_overdue(g, ticks_ms(), option.txn_time_ms)) return ENDING_NOW;
  note("bucket %s: a transaction that does not end is taken as it is, at %llu", s->f->bucket,
       (unsigned long long)at);
  group_give_up(g);
  return ENDING_NOW;
}

static ending check_many_holes(session *s) {
  batch_rc rc;
  if (!s->checks || s->batch->holes_count < HOLES_MOST) return ENDING_NOW;
  rc = batch_check_holes(s->batch, s->c, s->f->bucket, s->info.direct);
  return rc == BATCH_OK ? ENDING_NOW : failed(s, rc);
}

/* Commit what readers may see. */
static ending commit(session *s) {
  ending end;
  if (is_whole(s)) return commit_now(s);
  end = check_many_holes(s);
  if (end == ENDING_NOW) end = wait_for_more(s, &s->batch->group, s->batch->at);
  return end == ENDING_NOW && is_whole(s) ? commit_now(s) : end;
}

/* ------------------------------------------------------------------------------- what came last */
static ending take_last(session *s) {
  building *b = &s->f->building;
  batch_rc rc = b->last.message ? batch_take(s->batch, &b->last) : BATCH_OK;
  b->last.message = NULL;
  return rc == BATCH_OK ? ENDING_NOW : failed(s, rc);
}

/* A load has all there was.  Its last message, where there is one, stays out of it. */
static ending end_load(session *s) {
  building *b = &s->f->building;
  group *g = &s->batch->group, after = *g;
  delivery last = b->last;
  uint64_t at = last.message ? last.sequence : s->batch->at;
  ending end;
  if (last.message)
    group_take(&after, (txn_part)last.part, message_data(last.message).size, g->came_ms);
  if (s->groups && !group_is_whole(&after, at)) {
    end = wait_for_more(s, &after, at);
    g->cover = after.cover;
    g->hole = after.hole;
    if (end != ENDING_NOW || !group_is_whole(&after, at)) return end;
  }
  s->f->sidecar.record.torn += after.torn;
  end = commit_now(s);
  if (end != ENDING_NOW) return end;
  b->last.message = NULL;
  return finish_building(s, last.message ? &last : NULL);
}

/* One that may be the last of a load: the hole before it is the load's to ask back. */
static ending keep_last(session *s, const delivery *d) {
  building *b = &s->f->building;
  ending end = take_last(s);
  b->last = *d;
  if (end == ENDING_NOW && batch_reach(s->batch, d->sequence - 1) != BATCH_OK) end = ENDING_AGAIN;
  s->batch->group.came_ms = ticks_ms();
  return end == ENDING_NOW ? end_load(s) : end;
}

/* The file has all there was. */
static ending caught_up(session *s) {
  if (s->f->sidecar.record.unsure) return settle(s);
  s->f->sidecar.record.caught_up_ms = s->f->sidecar.record.heard_ms = now_ms();
  s->f->sidecar.record.error[0] = 0;
  sidecar_write(&s->f->sidecar);
  return ENDING_NOW;
}

/* What is whole does not wait for the end of what begins. */
static bool begins_transaction(const session *s, const delivery *d) {
  return d->part == TXN_PART && s->batch->load == NULL && s->batch->count > 0 && is_whole(s);
}

static ending on_message(session *s, const delivery *d) {
  building *b = &s->f->building;
  ending end = ENDING_NOW;
  if (d->delivered != s->delivered + 1 || d->sequence <= s->batch->at) {
    message_free(d->message);
    if (d->delivered != s->delivered + 1) return say(s, "messages were lost on the way");
    s->f->doubt = true;
    return say(s, "the bucket went back while it was followed");
  }
  s->delivered++;
  if (s->batch->load && d->sequence >= b->target) return keep_last(s, d);
  if (begins_transaction(s, d)) end = commit(s);
  if (end == ENDING_NOW) {
    batch_rc rc = batch_take(s->batch, d);
    return rc == BATCH_OK ? ENDING_NOW : failed(s, rc);
  }
  message_free(d->message);
  return end;
}

/* A bucket whose last messages were deleted never delivers the last sequence: then its leader has
** nothing behind what was delivered. */
static ending look_behind(session *s) {
  uint64_t from = s->batch->at + 1, found;
  stream_rc rc;
  if (s->batch->at >= s->f->building.target) return ENDING_NOW;
  child_stamp_long();
  rc = stream_next_of(s->c, s->f->bucket, false, 1, &from, &found);
  if (rc != STREAM_OK) return say(s, stream_errmsg());
  if (found == 0 && batch_reach(s->batch, s->f->building.target) != BATCH_OK) return ENDING_AGAIN;
  return ENDING_NOW;
}

static ending on_heartbeat_of_load(session *s, const delivery *d) {
  building *b = &s->f->building;
  ending end = b->last.message && d->sequence > b->last.sequence ? take_last(s) : ENDING_NOW;
  if (end == ENDING_NOW && b->last.message == NULL) {
    if (batch_reach(s->batch, d->sequence) != BATCH_OK) return ENDING_AGAIN;
    end = look_behind(s);
  }
  if (end == ENDING_NOW) end = commit_now(s);
  if (end != ENDING_NOW) return end;
  if (b->last.message == NULL && s->batch->at < b->target) return ENDING_NOW;
  end = follower_keep_notes(s->f);
  return end == ENDING_NOW ? end_load(s) : end;
}

static ending on_heartbeat(session *s, const delivery *d) {
  ending end;
  if (d->reply[0] && consumer_answer(s->k, d->reply) != STREAM_OK) return say(s, stream_errmsg());
  if (d->delivered != s->delivered) return say(s, "messages were lost on the way");
  if (s->batch->load) return on_heartbeat_of_load(s, d);
  if (batch_reach(s->batch, d->sequence) != BATCH_OK) return ENDING_AGAIN;
  end = commit(s);
  if (end != ENDING_NOW || !is_whole(s)) return end;
  end = follower_keep_notes(s->f);
  if (end == ENDING_NOW) end = look_at_name(s);
  return end == ENDING_NOW ? caught_up(s) : end;
}

/* While it waits for the rest of a transaction. */
static void show_heard(session *s) {
  sidecar_record *record = &s->f->sidecar.record;
  if (record->last_seen < s->batch->at) record->last_seen = s->batch->at;
  record->heard_ms = now_ms() - (ticks_ms() - s->heard);
  sidecar_write(&s->f->sidecar);
}

/* Where changes come one close upon another, a commit of each would cost more than all else: a
** moment is left for more to come.  One that comes alone is committed at once. */
static bool leave_time(session *s) {
  struct timespec moment = { .tv_nsec = PACE_NS };
  if (s->paced || s->batch->load || ticks_ms() - s->committed_ms > CLOSE_MS) return false;
  s->paced = true;
  nanosleep(&moment, NULL);
  return true;
}

static ending on_nothing(session *s) {
  if (s->batch->count > 0 && leave_time(s)) return ENDING_NOW;
  if (s->batch->count > 0) {
    ending end = commit(s);
    if (end != ENDING_NOW || is_whole(s)) return end;
    show_heard(s);
  }
  if (connection_lost(s->c)) return say(s, "the connection is lost");
  if (ticks_ms() - s->heard > SILENCE_MS) return say(s, "the server fell silent");
  return ENDING_NOW;
}

static ending on_flow(session *s, const delivery *d) {
  ending end = commit(s);
  if (end == ENDING_NOW && consumer_answer(s->k, d->reply) != STREAM_OK)
    end = say(s, stream_errmsg());
  return end;
}

static bool is_due(const session *s) {
  const batch *b = s->batch;
  if (b->load) return b->held_count >= option.batch || b->holes_count >= HOLES_MOST;
  return b->count >= option.batch || b->holes_count >= HOLES_MOST
         || (b->count > 0 && b->txn && ticks_ms() - b->began_ms >= option.batch_time_ms);
}

static int part_of(const session *s, message *m) {
  const char *header = s->groups ? message_header(m, "Maph-Txn") : NULL;
  uint64_t version;
  return group_read(header ? maph_str(header) : maph_bytes(NULL, 0), &version);
}

static ending step(session *s) {
  delivery d;
  ending end = ENDING_NOW;
  bool waits = s->batch->count == 0 || s->batch->load || !is_whole(s);
  event event = consumer_next(s->k, waits ? WAIT_MS : 0, &d);
  child_stamp();
  if (event != EVENT_NOTHING) s->heard = ticks_ms();
  switch (event) {
    case EVENT_NOTHING: return on_nothing(s);
    case EVENT_MESSAGE:
      d.part = part_of(s, d.message);
      end = on_message(s, &d);
      break;
    case EVENT_FLOW: return on_flow(s, &d);
    case EVENT_HEARTBEAT: return on_heartbeat(s, &d);
    case EVENT_LOST:
    case EVENT_WRONG: return say(s, stream_errmsg());
  }
  return end == ENDING_NOW && is_due(s) ? commit(s) : end;
}

/* -------------------------------------------------------------------------------------- session */
static ending of_stream(session *s, stream_rc rc, replica_state state) {
  if (!child_told()) follower_error(s->f, "%s", stream_errmsg());
  s->f->sidecar.record.state = state;
  return rc == STREAM_MISUSE ? ENDING_FATAL : ENDING_AGAIN;
}

static ending begin(session *s) {
  follower *f = s->f;
  decision what;
  bool goes_on = false;
  stream_rc rc;
  ending end;
  bucket_identity(f->bucket, option.filter, &s->info, s->uuid);
  /* MAPH_TEST_NO_HOLE_CHECK: a test sees that it is needed. */
  s->checks = option.filter == NULL && connection_before(s->c, 2, 9, 12)
              && getenv("MAPH_TEST_NO_HOLE_CHECK") == NULL;
  s->groups = option.filter == NULL;
  rc = decide(f, s->c, &s->info, s->uuid, &what);
  if (rc != STREAM_OK) return of_stream(s, rc, REPLICA_DISCONNECTED);
  if (what == DECIDE_FOLLOW) {
    maph_stats stats;
    drop_building(f);
    if (maph_stat(f->store, &stats) != MAPH_OK) return say(s, maph_errmsg(NULL));
    return begin_following(s, stats.version);
  }
  rc = resume_building(s, &goes_on);
  if (rc != STREAM_OK) return of_stream(s, rc, REPLICA_DISCONNECTED);
  end = goes_on ? ENDING_NOW : begin_building(s);
  s->batch = &f->building.batch;
  follower_show(s->f, f->store ? REPLICA_REBUILDING : REPLICA_SYNCING);
  return end;
}

static ending listen(session *s) {
  char host[128] = "", description[512];
  stream_info again;
  stream_rc rc;
  gethostname(host, sizeof host - 1);
  snprintf(description, sizeof description, "maph-replica %s %.300s", host, s->f->path);
  child_stamp_long();
  rc = consumer_open(s->c, s->f->bucket, s->info.origin, option.filter, s->batch->at + 1,
                     description, &s->k);
  if (rc == STREAM_OK) rc = stream_look(s->c, s->f->bucket, &again);
  if (rc != STREAM_OK) return of_stream(s, rc, REPLICA_DISCONNECTED);
  if (strcmp(again.created, s->info.created) != 0) return say(s, "the bucket was made anew");
  s->f->sidecar.record.last_seen = again.last;
  s->heard = s->looked = ticks_ms();
  if (s->batch->load == NULL && again.last <= s->batch->at)
    s->f->sidecar.record.caught_up_ms = s->f->sidecar.record.heard_ms = now_ms();
  return ENDING_NOW;
}

static ending connect(session *s) {
  follower *f = s->f;
  stream_rc rc;
  ending end = follower_keep_notes(f);
  if (end == ENDING_NOW && f->store == NULL) end = follower_open(f);
  if (end != ENDING_NOW) return end;
  child_stamp();
  rc = connection_open(&s->c);
  if (rc != STREAM_OK) return of_stream(s, rc, REPLICA_DISCONNECTED);
  connection_patience(s->c, answer_ms());
  child_stamp_long();
  snprintf(f->sidecar.record.server, sizeof f->sidecar.record.server, "%.200s %s",
           connection_server(s->c)->url, connection_server(s->c)->version);
  rc = stream_look(s->c, f->bucket, &s->info);
  if (rc != STREAM_OK)
    return of_stream(s, rc == STREAM_REFUSED && stream_code() == 0 ? STREAM_MISUSE : rc,
                     rc == STREAM_NONE ? REPLICA_NO_BUCKET : REPLICA_DISCONNECTED);
  f->sidecar.record.heard_ms = now_ms();
  f->sidecar.record.sessions++;
  if (option.filter && connection_before(s->c, 2, 9, 12)) {
    follower_error(f, "--filter needs nats-server 2.9.12: %s is %s", connection_server(s->c)->url,
                   connection_server(s->c)->version);
    return ENDING_FATAL;
  }
  return ENDING_NOW;
}

ending session_run(follower *f) {
  session *s = calloc(1, sizeof *s);
  ending end;
  if (s == NULL) return ENDING_AGAIN;
  s->f = f;
  end = connect(s);
  if (end == ENDING_NOW) end = begin(s);
  if (end == ENDING_NOW) end = listen(s);
  while (end == ENDING_NOW && !child_told()) end = step(s);
  if (end == ENDING_NOW && s->batch->load == NULL && is_whole(s)) commit_now(s);
  message_free(f->building.last.message);
  f->building.last.message = NULL;
  batch_end(&s->own);
  if (f->reopen && f->store) {
    maph_close(f->store);
    f->store = NULL;
  }
  f->reopen = false;
  if (child_told()) end = ENDING_TOLD;
  if (end == ENDING_TOLD) drop_building(f);
  if (end != ENDING_TOLD && f->sidecar.record.state != REPLICA_NO_BUCKET)
    f->sidecar.record.state = REPLICA_DISCONNECTED;
  sidecar_write(&f->sidecar);
  if (s->c && !connection_lost(s->c)) consumer_close(s->k);
  connection_close(s->c);
  free(s);
  return end;
}
