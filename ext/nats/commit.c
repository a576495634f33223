/*
** commit.c - what a session has taken goes into the store, transactions whole (commit.h).
*/
#include "nats/child.h"
#include "nats/commit.h"
#include "nats/decide.h"
#include "nats/look.h"
#include "nats/option.h"
#include "nats/replica.h"

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

/* Of a bucket that drops, what it has at the moment: what came last may have taken the place of
** others, and nothing later need come.  Whether it does a server cannot say: what it tells with a
** message of those behind it counts some that are gone. */
static ending ask_for_first(session *session) {
  stream_info info;
  if (!session->info.drops || session->batch->load
      || session->batch->at <= session->batch->committed)
    return ENDING_NOW;
  child_stamp_long();
  session->dropped.asked_ms = ticks_ms();
  if (stream_look(session->connection, session->follower->bucket, &info) != STREAM_OK)
    return session_say(session, stream_errmsg());
  dropped_told(&session->dropped, &info);
  return ENDING_NOW;
}

/* Keys whose messages it let go of. */
static batch_rc delete_dropped(session *session) {
  batch *batch = session->batch;
  maph_slice key;
  uint64_t version;
  batch_rc rc = BATCH_OK;
  if (batch->load || batch->at <= batch->committed || !dropped_is_due(&session->dropped, batch->at))
    return rc;
  while (rc == BATCH_OK) {
    int next = dropped_next(&session->dropped, batch->store, batch->txn, &key, &version);
    if (next == MAPH_NOTFOUND) return BATCH_OK;
    if (next != MAPH_OK) {
      batch->store_rc = next;
      return next == MAPH_NOMEM ? BATCH_MEMORY : BATCH_STORE;
    }
    rc = batch_delete(batch, key, version);
  }
  return rc;
}

/* With a message of that time the file has all that the bucket had then. */
static void note_moment(sidecar_record *record, uint64_t time_ms) {
  if (time_ms > record->heard_ms) time_ms = record->heard_ms; /* the server's clock is ahead */
  if (time_ms > record->caught_up_ms) record->caught_up_ms = time_ms;
}

ending commit_now(session *session) {
  batch *batch = session->batch;
  sidecar_record *record = &session->follower->sidecar.record;
  uint64_t count = batch->count, before = batch->committed, removed = 0;
  bool loads = batch->load != NULL;
  batch_rc rc = BATCH_OK;
  ending end = ask_for_first(session);
  if (end != ENDING_NOW) return end;
  child_stamp_long();
  if (session->checks)
    rc = batch_check_holes(batch, session->connection, session->follower->bucket,
                           session->info.direct);
  else
    batch->holes_count = 0;
  if (rc == BATCH_OK) rc = delete_ghosts(session);
  if (rc == BATCH_OK) rc = delete_dropped(session);
  if (!loads) removed = batch->removed;
  if (rc == BATCH_OK) rc = batch_commit(batch);
  if (rc != BATCH_OK) return session_failed(session, rc);
  session->heard = session->committed_ms = ticks_ms();
  session->paced = false;
  record->applied += count;
  record->ghosts += removed;
  if (!loads && batch->at > before) follower_drop_ghosts(session->follower);
  end = look_at_clock(session);
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
  if (end != ENDING_NOW) return end;
  if (!loads && record->unsure && batch->at >= session->info.last) return look_settle(session);
  return loads ? ENDING_NOW : look_in_time(session);
}

/* -------------------------------------------------------------------------- transactions, whole */
bool commit_is_whole(const session *session) {
  return !session->groups || session->batch->load
         || group_is_whole(&session->batch->group, session->batch->at);
}

ending commit_wait(session *session, group *group, uint64_t at) {
  stream_info info;
  if (group_asks(group, at, ticks_ms())) {
    child_stamp_long();
    if (stream_look(session->connection, session->follower->bucket, &info) != STREAM_OK)
      return session_say(session, stream_errmsg());
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
  return rc == BATCH_OK ? ENDING_NOW : session_failed(session, rc);
}

ending commit_whole(session *session) {
  ending end;
  if (commit_is_whole(session)) return commit_now(session);
  end = check_many_holes(session);
  if (end == ENDING_NOW) end = commit_wait(session, &session->batch->group, session->batch->at);
  return end == ENDING_NOW && commit_is_whole(session) ? commit_now(session) : end;
}
