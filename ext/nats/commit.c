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

/* With a message of that time the file has all that the bucket had then. */
static void note_moment(sidecar_record *record, uint64_t time_ms) {
  if (time_ms > record->heard_ms) time_ms = record->heard_ms; /* the server's clock is ahead */
  if (time_ms > record->caught_up_ms) record->caught_up_ms = time_ms;
}

ending commit_now(session *session) {
  batch *batch = session->batch;
  sidecar_record *record = &session->follower->sidecar.record;
  uint64_t count = batch->count, before = batch->committed;
  bool loads = batch->load != NULL;
  batch_rc rc = BATCH_OK;
  ending end;
  child_stamp_long();
  if (session->checks)
    rc = batch_check_holes(batch, session->connection, session->follower->bucket,
                           session->info.direct);
  else
    batch->holes_count = 0;
  if (rc == BATCH_OK) rc = delete_ghosts(session);
  if (rc == BATCH_OK) rc = batch_commit(batch);
  if (rc != BATCH_OK) return session_failed(session, rc);
  session->heard = session->committed_ms = ticks_ms();
  session->paced = false;
  record->applied += count;
  if (!loads && session->follower->ghosts && batch->at > before) {
    record->ghosts += session->follower->ghosts_count;
    follower_drop_ghosts(session->follower);
  }
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
