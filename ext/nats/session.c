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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "nats/build.h"
#include "nats/child.h"
#include "nats/commit.h"
#include "nats/decide.h"
#include "nats/look.h"
#include "nats/option.h"
#include "nats/replica.h"

enum {
  SILENCE_MS = 7000, /* the server says something each 2 s */
  MISSED_MS = 3500,  /* after which a server that answers at once has no consumer of ours */
  PROMPT_MS = 1500,  /* "at once" */
  ANSWER_MS = 15000, /* a question that came while there was no leader is never answered */
  WAIT_MS = 200,     /* for a message, where no batch is open */
  CLOSE_MS = 20,     /* changes that follow each other so soon are committed together: */
  PACE_NS = 1000000, /* those of so long, */
  MANY = 16,         /* and where so many come in that, of so many times that, since a commit */
  MANY_PACES = 4     /* costs as much as some hundred changes */
};

/* MAPH_TEST_ANSWER: another time, for a test that has many of them to wait. */
static int answer_ms(void) {
  const char *said = getenv("MAPH_TEST_ANSWER");
  return said ? atoi(said) : ANSWER_MS;
}

ending session_say(session *session, const char *what) {
  follower_error(session->follower, "%s", what);
  return ENDING_AGAIN;
}

ending session_failed(session *session, batch_rc rc) {
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

ending session_follow(session *session, uint64_t at) {
  bucket_rules rules = bucket_rules_of(&session->info);
  if (session->follower->store == NULL) return ENDING_AGAIN;
  batch_begin(&session->own, session->follower->store, at, &rules, session->follower->durability);
  session->own.anchors = session->follower->sidecar.anchors;
  session->own.group.replicated = session->info.replicas > 1;
  session->batch = &session->own;
  dropped_told(&session->dropped, &session->info);
  follower_show(session->follower, REPLICA_FOLLOWING);
  return ENDING_NOW;
}

/* --------------------------------------------------------------------------------------- events */
/* The file has all there was. */
static ending caught_up(session *session) {
  ending end;
  if (session->follower->sidecar.record.unsure) return look_settle(session);
  if ((end = look_at_clock(session)) != ENDING_NOW) return end;
  session->follower->sidecar.record.caught_up_ms = session->follower->sidecar.record.heard_ms;
  session->follower->sidecar.record.error[0] = 0;
  sidecar_write(&session->follower->sidecar);
  return ENDING_NOW;
}

/* What is whole does not wait for the end of what begins. */
static bool begins_transaction(const session *session, const delivery *delivery) {
  return delivery->part == TXN_PART && session->batch->load == NULL && session->batch->count > 0
         && commit_is_whole(session);
}

static ending on_message(session *session, const delivery *delivery) {
  building *building = &session->follower->building;
  ending end = ENDING_NOW;
  if (delivery->delivered != session->delivered + 1 || delivery->sequence <= session->batch->at) {
    message_free(delivery->message);
    if (delivery->delivered != session->delivered + 1)
      return session_say(session, "messages were lost on the way");
    session->follower->doubt = true;
    return session_say(session, "the bucket went back while it was followed");
  }
  session->delivered++;
  if (session->batch->load && delivery->sequence >= building->target)
    return build_take(session, delivery);
  if (begins_transaction(session, delivery)) end = commit_whole(session);
  if (end == ENDING_NOW) {
    batch_rc rc = batch_take(session->batch, delivery);
    return rc == BATCH_OK ? ENDING_NOW : session_failed(session, rc);
  }
  message_free(delivery->message);
  return end;
}

static ending on_heartbeat(session *session, const delivery *delivery) {
  ending end;
  if (delivery->reply[0] && consumer_answer(session->consumer, delivery->reply) != STREAM_OK)
    return session_say(session, stream_errmsg());
  if (delivery->delivered != session->delivered)
    return session_say(session, "messages were lost on the way");
  if (delivery->reply[0] == 0) group_at_rest(&session->batch->group);
  if (session->batch->load) return build_heartbeat(session, delivery);
  if (batch_reach(session->batch, delivery->sequence, delivery->behind) != BATCH_OK)
    return ENDING_AGAIN;
  end = commit_whole(session);
  if (end != ENDING_NOW || !commit_is_whole(session)) return end;
  end = follower_keep_notes(session->follower);
  if (end == ENDING_NOW) end = look_at_name(session);
  return end == ENDING_NOW ? caught_up(session) : end;
}

/* While it waits for the rest of a transaction. */
static void show_heard(session *session) {
  sidecar_record *record = &session->follower->sidecar.record;
  if (record->last_seen < session->batch->at) record->last_seen = session->batch->at;
  if (record->heard_ms < now_ms() - (ticks_ms() - session->heard))
    record->heard_ms = now_ms() - (ticks_ms() - session->heard);
  sidecar_write(&session->follower->sidecar);
}

/* Where changes come one close upon another, a commit of each would cost more than all else: a
** moment is left for more to come.  One that comes alone is committed at once. */
static bool leave_time(session *session) {
  struct timespec moment = { .tv_nsec =
                                 PACE_NS * (session->batch->count >= MANY ? MANY_PACES : 1) };
  if (session->paced || session->batch->load || ticks_ms() - session->committed_ms > CLOSE_MS)
    return false;
  session->paced = true;
  nanosleep(&moment, NULL);
  return true;
}

/* A bucket that drops is asked before each commit, and not at each moment. */
static bool is_asked_too_soon(const session *session) {
  return session->info.drops && session->batch->load == NULL
         && ticks_ms() - session->dropped.asked_ms < DROPPED_ASK_MS;
}

static bool leave_bucket(const session *session) {
  struct timespec moment = { .tv_nsec = PACE_NS };
  if (!is_asked_too_soon(session)) return false;
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
  if (silent > SILENCE_MS) return session_say(session, "the server fell silent");
  if (session->info.replicas == 1 || option.filter || silent <= MISSED_MS) return ENDING_NOW;
  if (session->orphaned == session->heard)
    return session_say(session, "the server fell silent, and another one answers");
  return session->looked_for != session->heard ? look_for_consumer(session) : ENDING_NOW;
}

static ending on_nothing(session *session) {
  if (session->batch->count > 0 && (leave_time(session) || leave_bucket(session)))
    return ENDING_NOW;
  if (session->batch->count > 0) {
    ending end = commit_whole(session);
    if (end != ENDING_NOW || commit_is_whole(session)) return end;
    show_heard(session);
  }
  if (connection_lost(session->connection)) return session_say(session, "the connection is lost");
  return on_silence(session);
}

static ending on_flow(session *session, const delivery *delivery) {
  ending end = commit_whole(session);
  if (end == ENDING_NOW && consumer_answer(session->consumer, delivery->reply) != STREAM_OK)
    end = session_say(session, stream_errmsg());
  return end;
}

static ending of_stream(session *session, stream_rc rc, replica_state state) {
  if (!child_told()) follower_error(session->follower, "%s", stream_errmsg());
  session->follower->sidecar.record.state = state;
  return rc == STREAM_MISUSE ? ENDING_FATAL : ENDING_AGAIN;
}

static bool is_due(const session *session) {
  const batch *batch = session->batch;
  if (batch->load) return batch->held_count >= option.batch || batch->holes_count >= HOLES_MOST;
  return batch->count >= option.batch || batch->holes_count >= HOLES_MOST
         || (batch->count > 0 && batch->txn && !session->info.drops
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
  bool waits = session->batch->count == 0 || session->batch->load || !commit_is_whole(session);
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
    case EVENT_FOREIGN:
      return of_stream(session,
                       stream_foreign(session->follower->bucket, &session->info, delivery.reply),
                       REPLICA_DISCONNECTED);
    case EVENT_LOST:
    case EVENT_WRONG: return session_say(session, stream_errmsg());
  }
  return end == ENDING_NOW && is_due(session) ? commit_whole(session) : end;
}

/* -------------------------------------------------------------------------------------- session */
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
    build_drop(follower);
    if (maph_stat(follower->store, &stats) != MAPH_OK)
      return session_say(session, maph_errmsg(NULL));
    return session_follow(session, stats.version);
  }
  rc = build_resume(session, &goes_on);
  if (rc != STREAM_OK) return of_stream(session, rc, REPLICA_DISCONNECTED);
  end = goes_on ? ENDING_NOW : build_begin(session);
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
    return session_say(session, "the bucket was made anew");
  session->follower->sidecar.record.last_seen = again.last;
  session->heard = session->looked = ticks_ms();
  if (session->batch->load == NULL && again.last <= session->batch->at)
    session->follower->sidecar.record.caught_up_ms = session->follower->sidecar.record.heard_ms =
        now_ms();
  return ENDING_NOW;
}

/* Once. */
static void warn_of_drops(session *session) {
  follower *follower = session->follower;
  if (session->info.drops && !follower->warned)
    note("bucket %s lets go of its oldest keys where it is full (max_msgs or max_bytes, discard "
         "old), and so does %s",
         follower->bucket, follower->path);
  follower->warned = session->info.drops;
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
  look_at_clock(session); /* what it says is done by this session */
  follower->sidecar.record.sessions++;
  warn_of_drops(session);
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
  if (end == ENDING_NOW && session->batch->load == NULL && commit_is_whole(session))
    commit_now(session);
  message_free(follower->building.last.message);
  follower->building.last.message = NULL;
  batch_end(&session->own);
  dropped_free(&session->dropped);
  if (follower->reopen && follower->store) {
    maph_close(follower->store);
    follower->store = NULL;
  }
  follower->reopen = false;
  if (child_told()) end = ENDING_TOLD;
  if (end == ENDING_TOLD) build_drop(follower);
  if (end != ENDING_TOLD && follower->sidecar.record.state != REPLICA_NO_BUCKET)
    follower->sidecar.record.state = REPLICA_DISCONNECTED;
  sidecar_write(&follower->sidecar);
  if (session->connection && !connection_lost(session->connection))
    consumer_close(session->consumer);
  connection_close(session->connection);
  free(session);
  return end;
}
