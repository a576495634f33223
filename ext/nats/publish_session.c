/*
** publish_session.c - one connection to a server, and what is published through it (publish.h).
**
**     connect, ask where to go on (publish_place.h), in the feed or by a comparison; send, and take
**     acknowledgements
**
** Whatever is not as it should be ends the session, and the next one begins with that message.
*/
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "nats/child.h"
#include "nats/differ.h"
#include "nats/option.h"
#include "nats/publish.h"
#include "nats/publish_place.h"
#include "nats/replica.h"

enum {
  ANSWER_MS = 15000,
  LOOK_MS = 2000, /* so often a bucket at rest is looked at */
  WAIT_MS = 200,  /* for a change */
  DRAIN_MS = 5000 /* told to end: for acknowledgements */
};

typedef struct session {
  publisher *publisher;
  connection *connection;
  stream_info info;
  sending out;
  maph_changes *ahead; /* reads the feed too, to judge each transaction before it is sent */
  maph_changes *feed;
  uint64_t judged; /* changes of a transaction that were, and that `feed` has not brought */
  place from;      /* its `skip` counts down */
  uint64_t index;  /* of the change that was sent last, in its transaction */
  unsigned long long looked;
  /* The feed had nothing more then, and that was the last message. */
  uint64_t all_at, all_ms;
} session;

static publishing say(session *session, publishing end, const char *sentence) {
  return publish_says(session->publisher, end, "%s", sentence);
}

static void show(session *session, replica_state state) {
  session->publisher->notes.record.state = state;
  sidecar_write(&session->publisher->notes);
}

/* ---------------------------------------------------------------------------------------- store */
/* One that is open may show another store since, which took its name. */
static publishing open_store(session *session) {
  publisher *publisher = session->publisher;
  struct stat named;
  maph_stats stats;
  child_stamp_long();
  if (stat(publisher->path, &named) != 0)
    return publish_says(publisher, PUBLISHING_AGAIN, "%s: %s", publisher->path, strerror(errno));
  if (!S_ISREG(named.st_mode))
    return publish_says(publisher, PUBLISHING_FATAL, "%s: no regular file: name a store's file",
                        publisher->path);
  if (publisher->store == NULL
      && maph_open(publisher->path, MAPH_RDONLY, NULL, &publisher->store) != MAPH_OK)
    return publish_unread(session->publisher);
  if (maph_stat(publisher->store, &stats) != MAPH_OK) return publish_unread(session->publisher);
  if (stats.versions == MAPH_VERSIONS_GIVEN)
    return publish_reopens(session->publisher,
                           publish_says(publisher, PUBLISHING_FATAL,
                                        "%s: a replica is no source: publish a store that is "
                                        "written here",
                                        publisher->path));
  publisher->device = named.st_dev;
  publisher->inode = named.st_ino;
  publisher->store_id = 0;
  for (int i = 0; i < 8; i++) publisher->store_id = publisher->store_id << 8 | stats.uuid[i];
  publisher->notes.record.file_version = stats.version;
  if (publisher->target == 0) publisher->target = stats.version;
  return PUBLISHING_NOW;
}

/* Somebody may have put another store in its place; a compaction does too. */
static publishing look_at_file(session *session) {
  publisher *publisher = session->publisher;
  struct stat named;
  maph_stats stats;
  if (!sidecar_named(publisher->path, &publisher->notes)) {
    const char *wrong = sidecar_renew(publisher->path, 0644, &publisher->notes);
    if (wrong)
      return say(session,
                 sidecar_obstacle(publisher->path, SIDECAR_PUBLISHED) ? PUBLISHING_FATAL
                                                                      : PUBLISHING_AGAIN,
                 wrong);
  }
  if (stat(publisher->path, &named) != 0 && errno == ENOENT)
    return publish_reopens(session->publisher, say(session, PUBLISHING_AGAIN, "the file is gone"));
  if (named.st_dev != publisher->device || named.st_ino != publisher->inode)
    return publish_reopens(session->publisher, PUBLISHING_AGAIN);
  if (maph_stat(publisher->store, &stats) == MAPH_OK)
    publisher->notes.record.file_version = stats.version;
  return PUBLISHING_NOW;
}

/* --------------------------------------------------------------------------------- a comparison */
typedef struct telling {
  session *session;
  uint64_t version, count;
  publishing end;
} telling;

static bool tell_difference(void *arg, const maph_entry *entry, bool deleted, bool there) {
  telling *telling = arg;
  static outgoing form;
  if (!there && option.skip_too_large
      && outgoing_read(&telling->session->out.rules, entry, deleted, &form) == OUTGOING_VALUE) {
    telling->session->publisher->notes.record.left_out++;
    return true;
  }
  telling->count++;
  telling->end = sending_take(&telling->session->out, entry, deleted, 0);
  return telling->end == PUBLISHING_NOW && !child_told();
}

static bool judge_difference(void *arg, const maph_entry *entry, bool deleted, bool there) {
  telling *telling = arg;
  (void)there;
  telling->end = sending_judge(&telling->session->out, entry, deleted);
  return telling->end == PUBLISHING_NOW && !child_told();
}

static publishing send_differences(session *session, const differences *found, uint64_t version) {
  telling telling = { .session = session, .version = version, .end = PUBLISHING_NOW };
  sidecar_record *record = &session->publisher->notes.record;
  session->out.version = version;
  session->out.before = UINT64_MAX;
  session->out.whole = record->version;
  if (differences_tell(found, session->publisher->store, judge_difference, &telling) != MAPH_OK)
    return publish_unread(session->publisher);
  if (telling.end != PUBLISHING_NOW) return telling.end;
  if (differences_tell(found, session->publisher->store, tell_difference, &telling) != MAPH_OK)
    return publish_unread(session->publisher);
  if (child_told()) return PUBLISHING_AGAIN;
  if (telling.end == PUBLISHING_NOW) telling.end = sending_end(&session->out);
  while (telling.end == PUBLISHING_NOW && pipe_on_its_way(session->out.pipe) && !child_told())
    telling.end = sending_listen(&session->out, 0, WAIT_MS);
  if (telling.end != PUBLISHING_NOW || child_told()) return telling.end;
  note("%s: compared with bucket %s at version %" PRIu64 ": %" PRIu64 " differences sent",
       session->publisher->path, session->publisher->bucket, version, telling.count);
  record->listings++;
  record->overwrite = 0;
  session->publisher->compare = false;
  return PUBLISHING_NOW;
}

static int open_feed(session *session, uint64_t since) {
  int rc = maph_changes_open(session->publisher->store, since, &session->feed);
  return rc == MAPH_OK ? maph_changes_open(session->publisher->store, since, &session->ahead) : rc;
}

static publishing compare(session *session) {
  maph_snapshot *snapshot;
  differences *found = NULL;
  uint64_t last, version;
  publishing end = PUBLISHING_NOW;
  stream_rc rc;
  show(session, REPLICA_COMPARING);
  if (maph_snapshot_open(session->publisher->store, &snapshot) != MAPH_OK)
    return publish_unread(session->publisher);
  version = maph_snapshot_version(snapshot);
  /* Before the long walk: what is written meanwhile stays within its reach. */
  if (open_feed(session, version) != MAPH_OK) end = publish_unread(session->publisher);
  if (end == PUBLISHING_NOW) {
    rc = differences_find(session->connection, &session->out.rules, snapshot, &last, &found);
    if (rc != STREAM_OK) end = publish_lost(session->publisher, rc, REPLICA_DISCONNECTED);
  }
  /* Whose is what came since? */
  if (end == PUBLISHING_NOW && last != session->info.last) end = PUBLISHING_AGAIN;
  if (end == PUBLISHING_NOW
      && pipe_open(session->connection, last, &session->out.pipe) != STREAM_OK)
    end = say(session, PUBLISHING_AGAIN, stream_errmsg());
  if (end == PUBLISHING_NOW) end = send_differences(session, found, version);
  differences_free(found);
  maph_snapshot_close(snapshot);
  return end;
}

/* ----------------------------------------------------------------------------------------- feed */
static publishing begin_feed(session *session) {
  int rc = open_feed(session, session->from.version);
  if (rc == MAPH_COMPACTED) {
    maph_changes_close(session->feed); /* which opened, where `ahead` came too late */
    session->feed = NULL;
    session->from.skip = 0;
    return compare(session);
  }
  if (rc != MAPH_OK) return publish_unread(session->publisher);
  session->out.whole = session->from.version;
  if (pipe_open(session->connection, session->info.last, &session->out.pipe) != STREAM_OK)
    return say(session, PUBLISHING_AGAIN, stream_errmsg());
  return PUBLISHING_NOW;
}

/* Of a transaction that the bucket has the first part of: is it the same one? */
static publishing skip_change(session *session, const maph_change *change) {
  place *from = &session->from;
  static outgoing form;
  from->skip--;
  outgoing_read(&session->out.rules, &change->entry, change->deleted, &form);
  if (!change->last && (from->skip > 0 || strcmp(form.subject, from->subject) == 0))
    return PUBLISHING_NOW;
  session->publisher->compare = true;
  return PUBLISHING_AGAIN;
}

/* The next transaction, read to its end.  One change alone is judged when it is sent. */
static int judge_transaction(session *session, int timeout_ms, publishing *end) {
  maph_change change;
  int rc = maph_changes_next(session->ahead, timeout_ms, &change);
  *end = PUBLISHING_NOW;
  if (rc != MAPH_OK) return rc;
  session->judged = 1;
  if (change.last) return rc;
  for (;;) {
    if (session->judged % 1024 == 0) child_stamp();
    if (session->judged > session->from.skip)
      *end = sending_judge(&session->out, &change.entry, change.deleted);
    if (*end != PUBLISHING_NOW || change.last) return rc;
    rc = maph_changes_next(session->ahead, 0, &change);
    if (rc != MAPH_OK) return rc;
    session->judged++;
  }
}

static publishing send_change(session *session, const maph_change *change, bool *open) {
  sending *out = &session->out;
  publishing end;
  if (!*open) {
    out->version = change->entry.version;
    out->before = out->whole;
    session->index = 0;
    *open = true;
  }
  session->index++;
  if (session->from.skip) return skip_change(session, change);
  end = sending_take(out, &change->entry, change->deleted, session->index);
  if (!change->last || end != PUBLISHING_NOW) return end;
  *open = false;
  return sending_end(out);
}

/* -------------------------------------------------------------------------------------- at rest */
static publishing look(session *session) {
  stream_info info;
  stream_rc rc;
  publishing end = look_at_file(session);
  session->looked = ticks_ms();
  if (end != PUBLISHING_NOW) return end;
  child_stamp_long();
  rc = stream_look(session->connection, session->publisher->bucket, &info);
  if (rc != STREAM_OK)
    return publish_lost(session->publisher, rc,
                        rc == STREAM_NONE ? REPLICA_NO_BUCKET : REPLICA_DISCONNECTED);
  if (strcmp(info.created, session->info.created) != 0)
    return say(session, PUBLISHING_AGAIN, "the bucket was made anew");
  if (info.last != pipe_stored(session->out.pipe)) return PUBLISHING_AGAIN;
  publisher_heard(session->publisher);
  return PUBLISHING_NOW;
}

/* The bucket has all. */
static publishing rest(session *session) {
  sidecar_record *record = &session->publisher->notes.record;
  record->version = session->out.whole;
  record->caught_up_ms = now_ms();
  record->error[0] = 0;
  if (record->file_version < record->version) record->file_version = record->version;
  if (option.once) return PUBLISHING_DONE;
  if (connection_lost(session->connection))
    return say(session, PUBLISHING_AGAIN, "the connection is lost");
  if (ticks_ms() - session->looked >= LOOK_MS) {
    publishing end = look(session);
    if (end != PUBLISHING_NOW) return end;
  }
  if (session->publisher->compare) return PUBLISHING_AGAIN;
  sidecar_write(&session->publisher->notes);
  return PUBLISHING_NOW;
}

/* Nothing more is sent: told to end, or what comes cannot be. */
static void drain(session *session) {
  sidecar_record *record = &session->publisher->notes.record;
  unsigned long long until = ticks_ms() + (child_told() ? DRAIN_MS : ANSWER_MS);
  publishing end = PUBLISHING_NOW;
  char error[sizeof record->error];
  strcpy(error, record->error);
  while (end == PUBLISHING_NOW && pipe_on_its_way(session->out.pipe) && ticks_ms() < until)
    end = sending_listen(&session->out, 0, WAIT_MS);
  strcpy(record->error, error);
}

/* Nothing more to send, and not all is acknowledged. */
static publishing wait_for_some(session *session, size_t on_its_way) {
  publishing end;
  if (session->all_ms == 0) {
    session->all_at = pipe_stored(session->out.pipe) + on_its_way;
    session->all_ms = now_ms();
  }
  end = sending_listen(&session->out, on_its_way - 1, 20);
  if (pipe_stored(session->out.pipe) < session->all_at) return end;
  session->publisher->notes.record.caught_up_ms = session->all_ms;
  session->all_ms = 0;
  return end;
}

static publishing step(session *session, bool *open) {
  maph_change change;
  size_t on_its_way = pipe_on_its_way(session->out.pipe);
  bool enough = option.once && !*open && session->out.whole >= session->publisher->target;
  int rc = MAPH_NOTFOUND;
  publishing end = PUBLISHING_NOW;
  if (session->judged)
    rc = MAPH_OK;
  else if (!enough)
    rc = judge_transaction(session, on_its_way || option.once ? 0 : WAIT_MS, &end);
  child_stamp();
  if (end != PUBLISHING_NOW) return end;
  if (rc == MAPH_OK) rc = maph_changes_next(session->feed, 0, &change);
  if (rc == MAPH_OK) {
    session->judged--;
    end = send_change(session, &change, open);
    return end == PUBLISHING_NOW ? sending_listen(&session->out, SIZE_MAX, 0) : end;
  }
  if (rc == MAPH_COMPACTED) {
    session->publisher->compare = true;
    return PUBLISHING_AGAIN;
  }
  if (rc != MAPH_NOTFOUND) return publish_unread(session->publisher);
  return on_its_way ? wait_for_some(session, on_its_way) : rest(session);
}

/* -------------------------------------------------------------------------------------- session */
static publishing check_bucket(session *session) {
  const publisher *publisher = session->publisher;
  if (strcmp(session->info.origin, publisher->bucket) != 0)
    return publish_says(session->publisher, PUBLISHING_FATAL,
                        "bucket %s is a mirror: publish to bucket %s", publisher->bucket,
                        session->info.origin);
  if (session->info.max_age_ns)
    return publish_says(session->publisher, PUBLISHING_FATAL,
                        "bucket %s lets go of each entry after a time, which %s does not: publish "
                        "to a bucket made without --ttl",
                        publisher->bucket, publisher->path);
  if (session->info.drops)
    return publish_says(session->publisher, PUBLISHING_FATAL,
                        "bucket %s lets go of its oldest keys where it is full, which %s does not: "
                        "publish to a bucket without max_msgs and max_bytes, or with discard new",
                        publisher->bucket, publisher->path);
  return PUBLISHING_NOW;
}

static publishing connect(session *session) {
  publisher *publisher = session->publisher;
  stream_rc rc;
  publishing end = open_store(session);
  if (end != PUBLISHING_NOW) return end;
  child_stamp();
  rc = connection_open(&session->connection);
  if (rc != STREAM_OK) return publish_lost(session->publisher, rc, REPLICA_DISCONNECTED);
  connection_patience(session->connection, ANSWER_MS);
  snprintf(publisher->notes.record.server, sizeof publisher->notes.record.server, "%.200s %s",
           connection_server(session->connection)->url,
           connection_server(session->connection)->version);
  child_stamp_long();
  rc = stream_look(session->connection, publisher->bucket, &session->info);
  if (rc == STREAM_NONE)
    return publish_lost(session->publisher, option.once ? STREAM_MISUSE : rc, REPLICA_NO_BUCKET);
  if (rc != STREAM_OK)
    return publish_lost(session->publisher,
                        rc == STREAM_REFUSED && stream_code() == 0 ? STREAM_MISUSE : rc,
                        REPLICA_DISCONNECTED);
  publisher_heard(publisher);
  publisher->notes.record.sessions++;
  return check_bucket(session);
}

/* What the bucket has is known, and it is this file's. */
static void take_over(session *session) {
  sidecar_record *record = &session->publisher->notes.record;
  strcpy(record->created, session->info.created);
  record->position = session->info.last;
  record->version = session->out.whole;
  record->store_id = session->publisher->store_id;
  record->publisher = session->publisher->me;
  record->state = REPLICA_PUBLISHING;
  sidecar_write(&session->publisher->notes);
}

static publishing begin(session *session) {
  place_question question = { session->publisher, session->connection, &session->info,
                              &session->out.rules };
  publishing end;
  outgoing_rules_of(session->publisher->bucket, session->connection, &session->info,
                    &session->out.rules);
  session->out.publisher = session->publisher;
  end = place_find(&question, &session->from);
  if (end != PUBLISHING_NOW) return end;
  end = session->from.compare ? compare(session) : begin_feed(session);
  if (end != PUBLISHING_NOW || child_told()) return end;
  session->info.last = pipe_stored(session->out.pipe);
  take_over(session);
  session->looked = ticks_ms();
  note("%s: publishing to bucket %s behind version %" PRIu64 ", %" PRIu64 " there",
       session->publisher->path, session->publisher->bucket, session->out.whole,
       session->info.last);
  return PUBLISHING_NOW;
}

static publishing run(session *session) {
  bool open = false; /* a transaction is not whole: it is, in the file */
  publishing end = connect(session);
  if (end == PUBLISHING_NOW) end = begin(session);
  while (end == PUBLISHING_NOW && (open || !child_told())) end = step(session, &open);
  if (session->out.pipe && (end == PUBLISHING_NOW || end == PUBLISHING_FATAL)) drain(session);
  return end == PUBLISHING_NOW ? PUBLISHING_DONE : end;
}

publishing publish_session(publisher *publisher) {
  session *session = calloc(1, sizeof *session);
  publishing end;
  if (session == NULL) return PUBLISHING_AGAIN;
  session->publisher = publisher;
  end = run(session);
  maph_changes_close(session->feed);
  maph_changes_close(session->ahead);
  if (publisher->reopen && publisher->store) {
    maph_close(publisher->store);
    publisher->store = NULL;
  }
  publisher->reopen = false;
  if (end == PUBLISHING_AGAIN && publisher->notes.record.state != REPLICA_NO_BUCKET)
    publisher->notes.record.state = REPLICA_DISCONNECTED;
  sidecar_write(&publisher->notes);
  connection_close(session->connection);
  free(session);
  return end;
}
