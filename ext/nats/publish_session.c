/*
** publish_session.c - one connection to a server, and what is published through it (publish.h).
**
**     connect, look at the bucket's last message, decide where to go on: in the feed, or by a
**     comparison; send, and take acknowledgements
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
#include "nats/replica.h"
#include "nats/tail.h"

enum {
  ANSWER_MS = 15000,
  LOOK_MS = 2000,   /* so often a bucket at rest is looked at */
  WAIT_MS = 200,    /* for a change */
  TAIL_MOST = 4096, /* messages */
  GRACE_MS = 10000, /* what the publisher before had on its way has come by then */
  DRAIN_MS = 5000   /* told to end: for acknowledgements */
};

typedef struct session {
  publisher *p;
  connection *c;
  stream_info info;
  sending out;
  maph_changes *ahead; /* reads the feed too, to judge each transaction before it is sent */
  maph_changes *feed;
  uint64_t judged; /* changes of a transaction that were, and that `feed` has not brought */
  /* What of the next transaction the bucket has: so many changes, the last one of that subject. */
  uint64_t skip, index;
  char skip_subject[KEYS_LINE + 300];
  unsigned long long looked;
  /* The feed had nothing more then, and that was the last message. */
  uint64_t all_at, all_ms;
} session;

static publishing say(session *s, publishing end, const char *sentence) {
  return publish_says(s->p, end, "%s", sentence);
}

static void show(session *s, replica_state state) {
  s->p->notes.record.state = state;
  sidecar_write(&s->p->notes);
}

static publishing of_stream(session *s, stream_rc rc, replica_state state) {
  s->p->notes.record.state = state;
  if (child_told()) return PUBLISHING_AGAIN;
  return say(s, rc == STREAM_MISUSE ? PUBLISHING_FATAL : PUBLISHING_AGAIN, stream_errmsg());
}

/* ---------------------------------------------------------------------------------------- store */
/* What hangs on the handle is closed before, at the session's end. */
static publishing close_store(session *s, publishing end) {
  s->p->reopen = true;
  return end;
}

static publishing of_store(session *s) {
  return close_store(s, say(s, PUBLISHING_AGAIN, maph_errmsg(NULL)));
}

/* One that is open may show another store since, which took its name. */
static publishing open_store(session *s) {
  publisher *p = s->p;
  struct stat named;
  maph_stats stats;
  child_stamp_long();
  if (stat(p->path, &named) != 0)
    return publish_says(p, PUBLISHING_AGAIN, "%s: %s", p->path, strerror(errno));
  if (p->store == NULL && maph_open(p->path, MAPH_RDONLY, NULL, &p->store) != MAPH_OK)
    return of_store(s);
  if (maph_stat(p->store, &stats) != MAPH_OK) return of_store(s);
  if (stats.versions == MAPH_VERSIONS_GIVEN)
    return close_store(s, publish_says(p, PUBLISHING_FATAL,
                                       "%s: a replica is no source: publish a store that is "
                                       "written here",
                                       p->path));
  p->device = named.st_dev;
  p->inode = named.st_ino;
  p->store_id = 0;
  for (int i = 0; i < 8; i++) p->store_id = p->store_id << 8 | stats.uuid[i];
  p->notes.record.file_version = stats.version;
  if (p->target == 0) p->target = stats.version;
  return PUBLISHING_NOW;
}

/* Somebody may have put another store in its place; a compaction does too. */
static publishing look_at_file(session *s) {
  publisher *p = s->p;
  struct stat named;
  maph_stats stats;
  if (!sidecar_named(p->path, &p->notes)) {
    const char *wrong = sidecar_renew(p->path, 0644, &p->notes);
    if (wrong) return say(s, PUBLISHING_AGAIN, wrong);
  }
  if (stat(p->path, &named) != 0 && errno == ENOENT)
    return close_store(s, say(s, PUBLISHING_AGAIN, "the file is gone"));
  if (named.st_dev != p->device || named.st_ino != p->inode)
    return close_store(s, PUBLISHING_AGAIN);
  if (maph_stat(p->store, &stats) == MAPH_OK) p->notes.record.file_version = stats.version;
  return PUBLISHING_NOW;
}

/* --------------------------------------------------------------------------------------- decide */
/* Where it goes on: behind a version, and so many changes of the next one. */
typedef struct place {
  bool compare;
  uint64_t version, skip;
} place;

static publishing is_foreign(session *s, uint64_t sequence, const char *whose) {
  return publish_says(s->p, PUBLISHING_FATAL,
                      "bucket %s is written by somebody else: its message %" PRIu64
                      " is of %s; --overwrite makes the bucket equal to %s",
                      s->p->bucket, sequence, whose, s->p->path);
}

/* MAPH_TEST_GRACE: what a test has time for. */
static bool in_grace(const publisher *p) {
  const char *said = getenv("MAPH_TEST_GRACE");
  return ticks_ms() - p->began <= (said ? strtoull(said, NULL, 10) : GRACE_MS);
}

/* The bucket is the one that this file was published to before. */
static bool is_same_bucket(const session *s) {
  return strcmp(s->p->notes.record.created, s->info.created) == 0;
}

/* Is it this file's? */
static publishing check_owner(session *s, const mark *m, uint64_t sequence) {
  const publisher *p = s->p;
  const sidecar_record *record = &p->notes.record;
  if (m->store == 0) return is_foreign(s, sequence, "no store");
  if (m->store != p->store_id && !(is_same_bucket(s) && m->store == record->store_id))
    return is_foreign(s, sequence, "another store");
  if (m->store == p->store_id && m->publisher != p->me && record->publisher == p->me
      && !in_grace(p))
    return is_foreign(s, sequence, "another publisher of a store like this");
  return PUBLISHING_NOW;
}

/* Where the last message lets it go on. */
static publishing judge(session *s, const mark *m, bool whole, place *to) {
  const publisher *p = s->p;
  uint64_t version = p->notes.record.file_version;
  bool says = m->store == p->store_id && m->part != TXN_NONE;
  if (says && m->version > version)
    return publish_says(s->p, PUBLISHING_FATAL,
                        "bucket %s has version %" PRIu64 " of the store, and %s is at %" PRIu64
                        ", as an older copy is: --overwrite makes the bucket equal to it",
                        p->bucket, m->version, p->path, version);
  if (!says || !whole || (m->part == TXN_PART && m->index == 0)) return PUBLISHING_NOW;
  to->compare = false;
  to->version = m->part == TXN_PART ? m->before : m->version;
  to->skip = m->part == TXN_PART ? m->index : 0;
  return PUBLISHING_NOW;
}

/* The message of that sequence.  *there: it is. */
static publishing get_mark(session *s, uint64_t sequence, mark *m, bool *there) {
  stored found;
  stream_rc rc;
  child_stamp_long();
  rc = stream_get(s->c, s->p->bucket, sequence, &found);
  *there = rc == STREAM_OK;
  if (rc == STREAM_NONE) return PUBLISHING_NOW;
  if (rc != STREAM_OK) return of_stream(s, rc, REPLICA_DISCONNECTED);
  mark_read(&found, m);
  snprintf(s->skip_subject, sizeof s->skip_subject, "%.*s", (int)found.subject.size,
           (const char *)found.subject.data);
  stored_free(&found);
  return PUBLISHING_NOW;
}

/* A message of the bucket, as one of what is behind that which was acknowledged. */
static publishing get_tail_message(session *s, uint64_t sequence, tail_message *message) {
  publishing end = get_mark(s, sequence, &message->mark, &message->there);
  if (end != PUBLISHING_NOW || !message->there) return end;
  message->subject = tail_hash(s->skip_subject);
  return check_owner(s, &message->mark, sequence);
}

/* Is all of it there, or what counts? */
static bool is_whole(const session *s, const tail_message *tail, size_t count) {
  const sidecar_record *record = &s->p->notes.record;
  size_t there = 0;
  while (there < count && tail[there].there) there++;
  if (there == count) return true;
  return record->store_id == s->p->store_id
         && tail_holds(s->p->store, &s->out.rules, record->version, tail, count);
}

/* What is behind the last message that was acknowledged.  *whole: the bucket has it as it was sent;
** m is the last. */
static publishing look_at_tail(session *s, mark *m, bool *whole) {
  uint64_t known = is_same_bucket(s) ? s->p->notes.record.position : 0, last = s->info.last;
  bool near = is_same_bucket(s) && known <= last && last - known <= TAIL_MOST;
  size_t count = near ? (size_t)(last - known) : 0;
  tail_message *tail;
  publishing end = PUBLISHING_NOW;
  if (count == 0) {
    end = get_mark(s, last, m, whole);
    if (end == PUBLISHING_NOW && *whole && last > known) end = check_owner(s, m, last);
    *whole = *whole && near;
    return end;
  }
  if ((tail = calloc(count, sizeof *tail)) == NULL)
    return say(s, PUBLISHING_AGAIN, "out of memory");
  for (size_t i = 0; i < count && end == PUBLISHING_NOW; i++)
    end = get_tail_message(s, known + 1 + i, &tail[i]);
  *m = tail[count - 1].mark;
  *whole = end == PUBLISHING_NOW && is_whole(s, tail, count);
  free(tail);
  return end;
}

static publishing decide(session *s, place *to) {
  publisher *p = s->p;
  maph_stats stats;
  mark m = { .store = 0 };
  bool whole, refused = p->refused;
  publishing end;
  memset(to, 0, sizeof *to);
  p->refused = false;
  if (maph_stat(p->store, &stats) != MAPH_OK) return of_store(s);
  p->notes.record.file_version = stats.version;
  to->compare = s->info.last > 0;
  if (s->info.messages == 0 || p->notes.record.overwrite) return PUBLISHING_NOW;
  end = look_at_tail(s, &m, &whole);
  if (end != PUBLISHING_NOW) return end;
  if (!whole && refused && !in_grace(p)) return is_foreign(s, s->info.last, "somebody else");
  if (!whole && !is_same_bucket(s) && m.store == 0)
    return is_foreign(s, s->info.last, "an unknown writer: it is gone");
  return judge(s, &m, whole && !p->compare, to);
}

/* --------------------------------------------------------------------------------- a comparison */
typedef struct telling {
  session *s;
  uint64_t version, count;
  publishing end;
} telling;

static bool tell_difference(void *arg, const maph_entry *entry, bool deleted, bool there) {
  telling *t = arg;
  static outgoing form;
  if (!there && option.skip_too_large
      && outgoing_read(&t->s->out.rules, entry, deleted, &form) == OUTGOING_VALUE) {
    t->s->p->notes.record.left_out++;
    return true;
  }
  t->count++;
  t->end = sending_take(&t->s->out, entry, deleted, 0);
  return t->end == PUBLISHING_NOW && !child_told();
}

static bool judge_difference(void *arg, const maph_entry *entry, bool deleted, bool there) {
  telling *t = arg;
  (void)there;
  t->end = sending_judge(&t->s->out, entry, deleted);
  return t->end == PUBLISHING_NOW && !child_told();
}

static publishing send_differences(session *s, const differences *found, uint64_t version) {
  telling t = { .s = s, .version = version, .end = PUBLISHING_NOW };
  sidecar_record *record = &s->p->notes.record;
  s->out.version = version;
  s->out.before = UINT64_MAX;
  s->out.whole = record->version;
  if (differences_tell(found, s->p->store, judge_difference, &t) != MAPH_OK) return of_store(s);
  if (t.end != PUBLISHING_NOW) return t.end;
  if (differences_tell(found, s->p->store, tell_difference, &t) != MAPH_OK) return of_store(s);
  if (child_told()) return PUBLISHING_AGAIN;
  if (t.end == PUBLISHING_NOW) t.end = sending_end(&s->out);
  while (t.end == PUBLISHING_NOW && pipe_on_its_way(s->out.pipe) && !child_told())
    t.end = sending_listen(&s->out, 0, WAIT_MS);
  if (t.end != PUBLISHING_NOW || child_told()) return t.end;
  note("%s: compared with bucket %s at version %" PRIu64 ": %" PRIu64 " differences sent",
       s->p->path, s->p->bucket, version, t.count);
  record->listings++;
  record->overwrite = 0;
  s->p->compare = false;
  return PUBLISHING_NOW;
}

static int open_feed(session *s, uint64_t since) {
  int rc = maph_changes_open(s->p->store, since, &s->feed);
  return rc == MAPH_OK ? maph_changes_open(s->p->store, since, &s->ahead) : rc;
}

static publishing compare(session *s) {
  maph_snapshot *snapshot;
  differences *found = NULL;
  uint64_t last, version;
  publishing end = PUBLISHING_NOW;
  stream_rc rc;
  show(s, REPLICA_COMPARING);
  if (maph_snapshot_open(s->p->store, &snapshot) != MAPH_OK) return of_store(s);
  version = maph_snapshot_version(snapshot);
  /* Before the long walk: what is written meanwhile stays within its reach. */
  if (open_feed(s, version) != MAPH_OK) end = of_store(s);
  if (end == PUBLISHING_NOW) {
    rc = differences_find(s->c, &s->out.rules, snapshot, &last, &found);
    if (rc != STREAM_OK) end = of_stream(s, rc, REPLICA_DISCONNECTED);
  }
  /* Whose is what came since? */
  if (end == PUBLISHING_NOW && last != s->info.last) end = PUBLISHING_AGAIN;
  if (end == PUBLISHING_NOW && pipe_open(s->c, last, &s->out.pipe) != STREAM_OK)
    end = say(s, PUBLISHING_AGAIN, stream_errmsg());
  if (end == PUBLISHING_NOW) end = send_differences(s, found, version);
  differences_free(found);
  maph_snapshot_close(snapshot);
  return end;
}

/* ----------------------------------------------------------------------------------------- feed */
static publishing begin_feed(session *s, const place *from) {
  int rc = open_feed(s, from->version);
  if (rc == MAPH_COMPACTED) return compare(s);
  if (rc != MAPH_OK) return of_store(s);
  s->out.whole = from->version;
  s->skip = from->skip;
  if (pipe_open(s->c, s->info.last, &s->out.pipe) != STREAM_OK)
    return say(s, PUBLISHING_AGAIN, stream_errmsg());
  return PUBLISHING_NOW;
}

/* Of a transaction that the bucket has the first part of: is it the same one? */
static publishing skip_change(session *s, const maph_change *change) {
  static outgoing form;
  s->skip--;
  outgoing_read(&s->out.rules, &change->entry, change->deleted, &form);
  if (!change->last && (s->skip > 0 || strcmp(form.subject, s->skip_subject) == 0))
    return PUBLISHING_NOW;
  s->p->compare = true;
  return PUBLISHING_AGAIN;
}

/* The next transaction, read to its end.  One change alone is judged when it is sent. */
static int judge_transaction(session *s, int timeout_ms, publishing *end) {
  maph_change change;
  int rc = maph_changes_next(s->ahead, timeout_ms, &change);
  *end = PUBLISHING_NOW;
  if (rc != MAPH_OK) return rc;
  s->judged = 1;
  if (change.last) return rc;
  for (;;) {
    if (s->judged % 1024 == 0) child_stamp();
    if (s->judged > s->skip) *end = sending_judge(&s->out, &change.entry, change.deleted);
    if (*end != PUBLISHING_NOW || change.last) return rc;
    rc = maph_changes_next(s->ahead, 0, &change);
    if (rc != MAPH_OK) return rc;
    s->judged++;
  }
}

static publishing send_change(session *s, const maph_change *change, bool *open) {
  sending *out = &s->out;
  publishing end;
  if (!*open) {
    out->version = change->entry.version;
    out->before = out->whole;
    s->index = 0;
    *open = true;
  }
  s->index++;
  if (s->skip) return skip_change(s, change);
  end = sending_take(out, &change->entry, change->deleted, s->index);
  if (!change->last || end != PUBLISHING_NOW) return end;
  *open = false;
  return sending_end(out);
}

/* -------------------------------------------------------------------------------------- at rest */
static publishing look(session *s) {
  stream_info info;
  stream_rc rc;
  publishing end = look_at_file(s);
  s->looked = ticks_ms();
  if (end != PUBLISHING_NOW) return end;
  child_stamp_long();
  rc = stream_look(s->c, s->p->bucket, &info);
  if (rc != STREAM_OK)
    return of_stream(s, rc, rc == STREAM_NONE ? REPLICA_NO_BUCKET : REPLICA_DISCONNECTED);
  if (strcmp(info.created, s->info.created) != 0)
    return say(s, PUBLISHING_AGAIN, "the bucket was made anew");
  if (info.last != pipe_stored(s->out.pipe)) return PUBLISHING_AGAIN;
  s->p->notes.record.heard_ms = now_ms();
  return PUBLISHING_NOW;
}

/* The bucket has all. */
static publishing rest(session *s) {
  sidecar_record *record = &s->p->notes.record;
  record->version = s->out.whole;
  record->caught_up_ms = now_ms();
  record->error[0] = 0;
  if (record->file_version < record->version) record->file_version = record->version;
  if (option.once) return PUBLISHING_DONE;
  if (connection_lost(s->c)) return say(s, PUBLISHING_AGAIN, "the connection is lost");
  if (ticks_ms() - s->looked >= LOOK_MS) {
    publishing end = look(s);
    if (end != PUBLISHING_NOW) return end;
  }
  sidecar_write(&s->p->notes);
  return PUBLISHING_NOW;
}

/* Nothing more is sent: told to end, or what comes cannot be. */
static void drain(session *s) {
  sidecar_record *record = &s->p->notes.record;
  unsigned long long until = ticks_ms() + (child_told() ? DRAIN_MS : ANSWER_MS);
  publishing end = PUBLISHING_NOW;
  char error[sizeof record->error];
  strcpy(error, record->error);
  while (end == PUBLISHING_NOW && pipe_on_its_way(s->out.pipe) && ticks_ms() < until)
    end = sending_listen(&s->out, 0, WAIT_MS);
  strcpy(record->error, error);
}

/* Nothing more to send, and not all is acknowledged. */
static publishing wait_for_some(session *s, size_t on_its_way) {
  publishing end;
  if (s->all_ms == 0) {
    s->all_at = pipe_stored(s->out.pipe) + on_its_way;
    s->all_ms = now_ms();
  }
  end = sending_listen(&s->out, on_its_way - 1, 20);
  if (pipe_stored(s->out.pipe) < s->all_at) return end;
  s->p->notes.record.caught_up_ms = s->all_ms;
  s->all_ms = 0;
  return end;
}

static publishing step(session *s, bool *open) {
  maph_change change;
  size_t on_its_way = pipe_on_its_way(s->out.pipe);
  bool enough = option.once && !*open && s->out.whole >= s->p->target;
  int rc = MAPH_NOTFOUND;
  publishing end = PUBLISHING_NOW;
  if (s->judged)
    rc = MAPH_OK;
  else if (!enough)
    rc = judge_transaction(s, on_its_way || option.once ? 0 : WAIT_MS, &end);
  child_stamp();
  if (end != PUBLISHING_NOW) return end;
  if (rc == MAPH_OK) rc = maph_changes_next(s->feed, 0, &change);
  if (rc == MAPH_OK) {
    s->judged--;
    end = send_change(s, &change, open);
    return end == PUBLISHING_NOW ? sending_listen(&s->out, SIZE_MAX, 0) : end;
  }
  if (rc == MAPH_COMPACTED) {
    s->p->compare = true;
    return PUBLISHING_AGAIN;
  }
  if (rc != MAPH_NOTFOUND) return of_store(s);
  return on_its_way ? wait_for_some(s, on_its_way) : rest(s);
}

/* -------------------------------------------------------------------------------------- session */
static publishing check_bucket(session *s) {
  const publisher *p = s->p;
  if (strcmp(s->info.origin, p->bucket) != 0)
    return publish_says(s->p, PUBLISHING_FATAL, "bucket %s is a mirror: publish to bucket %s",
                        p->bucket, s->info.origin);
  if (s->info.max_age_ns)
    return publish_says(s->p, PUBLISHING_FATAL,
                        "bucket %s lets go of each entry after a time, which %s does not: publish "
                        "to a bucket made without --ttl",
                        p->bucket, p->path);
  return PUBLISHING_NOW;
}

static publishing connect(session *s) {
  publisher *p = s->p;
  stream_rc rc;
  publishing end = open_store(s);
  if (end != PUBLISHING_NOW) return end;
  child_stamp();
  rc = connection_open(&s->c);
  if (rc != STREAM_OK) return of_stream(s, rc, REPLICA_DISCONNECTED);
  connection_patience(s->c, ANSWER_MS);
  snprintf(p->notes.record.server, sizeof p->notes.record.server, "%.200s %s",
           connection_server(s->c)->url, connection_server(s->c)->version);
  child_stamp_long();
  rc = stream_look(s->c, p->bucket, &s->info);
  if (rc == STREAM_NONE) return of_stream(s, option.once ? STREAM_MISUSE : rc, REPLICA_NO_BUCKET);
  if (rc != STREAM_OK)
    return of_stream(s, rc == STREAM_REFUSED && stream_code() == 0 ? STREAM_MISUSE : rc,
                     REPLICA_DISCONNECTED);
  p->notes.record.heard_ms = now_ms();
  p->notes.record.sessions++;
  return check_bucket(s);
}

/* What the bucket has is known, and it is this file's. */
static void take_over(session *s) {
  sidecar_record *record = &s->p->notes.record;
  strcpy(record->created, s->info.created);
  record->position = s->info.last;
  record->version = s->out.whole;
  record->store_id = s->p->store_id;
  record->publisher = s->p->me;
  record->state = REPLICA_PUBLISHING;
  sidecar_write(&s->p->notes);
}

static publishing begin(session *s) {
  place from;
  publishing end;
  outgoing_rules_of(s->p->bucket, s->c, &s->info, &s->out.rules);
  s->out.p = s->p;
  end = decide(s, &from);
  if (end != PUBLISHING_NOW) return end;
  end = from.compare ? compare(s) : begin_feed(s, &from);
  if (end != PUBLISHING_NOW || child_told()) return end;
  s->info.last = pipe_stored(s->out.pipe);
  take_over(s);
  s->looked = ticks_ms();
  note("%s: publishing to bucket %s behind version %" PRIu64 ", %" PRIu64 " there", s->p->path,
       s->p->bucket, s->out.whole, s->info.last);
  return PUBLISHING_NOW;
}

static publishing run(session *s) {
  bool open = false; /* a transaction is not whole: it is, in the file */
  publishing end = connect(s);
  if (end == PUBLISHING_NOW) end = begin(s);
  while (end == PUBLISHING_NOW && (open || !child_told())) end = step(s, &open);
  if (s->out.pipe && (end == PUBLISHING_NOW || end == PUBLISHING_FATAL)) drain(s);
  return end == PUBLISHING_NOW ? PUBLISHING_DONE : end;
}

publishing publish_session(publisher *p) {
  session *s = calloc(1, sizeof *s);
  publishing end;
  if (s == NULL) return PUBLISHING_AGAIN;
  s->p = p;
  end = run(s);
  maph_changes_close(s->feed);
  maph_changes_close(s->ahead);
  if (p->reopen && p->store) {
    maph_close(p->store);
    p->store = NULL;
  }
  p->reopen = false;
  if (end == PUBLISHING_AGAIN && p->notes.record.state != REPLICA_NO_BUCKET)
    p->notes.record.state = REPLICA_DISCONNECTED;
  sidecar_write(&p->notes);
  connection_close(s->c);
  free(s);
  return end;
}
