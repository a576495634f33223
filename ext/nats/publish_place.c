/*
** publish_place.c - what a bucket's last messages let a publisher go on with (publish_place.h).
*/
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nats/child.h"
#include "nats/publish_place.h"
#include "nats/replica.h"
#include "nats/tail.h"

enum {
  TAIL_MOST = 4096, /* messages */
  GRACE_MS = 10000  /* what the publisher before had on its way has come by then */
};

static publishing is_foreign(const place_question *question, uint64_t sequence, const char *whose) {
  return publish_says(question->publisher, PUBLISHING_FATAL,
                      "bucket %s is written by somebody else: its message %" PRIu64
                      " is of %s; --overwrite makes the bucket equal to %s",
                      question->publisher->bucket, sequence, whose, question->publisher->path);
}

/* MAPH_TEST_GRACE: what a test has time for. */
static bool in_grace(const publisher *publisher) {
  const char *said = getenv("MAPH_TEST_GRACE");
  return ticks_ms() - publisher->began <= (said ? strtoull(said, NULL, 10) : GRACE_MS);
}

/* The bucket is the one that this file was published to before. */
static bool is_same_bucket(const place_question *question) {
  return strcmp(question->publisher->notes.record.created, question->info->created) == 0;
}

/* Is it this file's? */
static publishing check_owner(const place_question *question, const mark *mark, uint64_t sequence) {
  const publisher *publisher = question->publisher;
  const sidecar_record *record = &publisher->notes.record;
  if (mark->store == 0) return is_foreign(question, sequence, "no store");
  if (mark->store != publisher->store_id
      && !(is_same_bucket(question) && mark->store == record->store_id))
    return is_foreign(question, sequence, "another store");
  if (mark->store == publisher->store_id && mark->publisher != publisher->me
      && record->publisher == publisher->me && !in_grace(publisher))
    return is_foreign(question, sequence, "another publisher of a store like this");
  return PUBLISHING_NOW;
}

/* Where the last message lets it go on. */
static publishing judge(const place_question *question, const mark *mark, bool whole, place *to) {
  const publisher *publisher = question->publisher;
  uint64_t version = publisher->notes.record.file_version;
  bool says = mark->store == publisher->store_id && mark->part != TXN_NONE;
  if (says && mark->version > version)
    return publish_says(question->publisher, PUBLISHING_FATAL,
                        "bucket %s has version %" PRIu64 " of the store, and %s is at %" PRIu64
                        ", as an older copy is: --overwrite makes the bucket equal to it",
                        publisher->bucket, mark->version, publisher->path, version);
  if (!says || !whole || (mark->part == TXN_PART && mark->index == 0)) return PUBLISHING_NOW;
  to->compare = false;
  to->version = mark->part == TXN_PART ? mark->before : mark->version;
  to->skip = mark->part == TXN_PART ? mark->index : 0;
  return PUBLISHING_NOW;
}

/* The message of that sequence.  *there: it is. */
static publishing get_mark(const place_question *question, uint64_t sequence, mark *mark,
                           char subject[PLACE_SUBJECT], bool *there) {
  stored found;
  stream_rc rc;
  child_stamp_long();
  rc = stored_get(question->connection, question->publisher->bucket, sequence, &found);
  *there = rc == STREAM_OK;
  if (rc == STREAM_NONE) return PUBLISHING_NOW;
  if (rc != STREAM_OK) return publish_lost(question->publisher, rc, REPLICA_DISCONNECTED);
  mark_read(&found, mark);
  snprintf(subject, PLACE_SUBJECT, "%.*s", (int)found.subject.size,
           (const char *)found.subject.data);
  stored_free(&found);
  return PUBLISHING_NOW;
}

/* A message of the bucket, as one of what is behind that which was acknowledged. */
static publishing get_tail_message(const place_question *question, uint64_t sequence,
                                   char subject[PLACE_SUBJECT], tail_message *message) {
  publishing end = get_mark(question, sequence, &message->mark, subject, &message->there);
  if (end != PUBLISHING_NOW || !message->there) return end;
  message->subject = tail_hash(subject);
  return check_owner(question, &message->mark, sequence);
}

/* Is all of it there, or what counts? */
static bool is_whole(const place_question *question, const tail_message *tail, size_t count) {
  const sidecar_record *record = &question->publisher->notes.record;
  size_t there = 0;
  while (there < count && tail[there].there) there++;
  if (there == count) return true;
  return record->store_id == question->publisher->store_id
         && tail_holds(question->publisher->store, question->rules, record->version, tail, count);
}

/* What is behind the last message that was acknowledged.  *whole: the bucket has it as it was sent;
** mark is the last's, zeros where that is gone; subject is of the last one that is there. */
static publishing look_at_tail(const place_question *question, mark *mark,
                               char subject[PLACE_SUBJECT], bool *whole) {
  uint64_t known = is_same_bucket(question) ? question->publisher->notes.record.position : 0,
           last = question->info->last;
  bool near = is_same_bucket(question) && known <= last && last - known <= TAIL_MOST;
  size_t count = near ? (size_t)(last - known) : 0;
  tail_message *tail;
  publishing end = PUBLISHING_NOW;
  if (count == 0) {
    end = get_mark(question, last, mark, subject, whole);
    if (end == PUBLISHING_NOW && *whole && last > known) end = check_owner(question, mark, last);
    *whole = *whole && near;
    return end;
  }
  if ((tail = calloc(count, sizeof *tail)) == NULL)
    return publish_says(question->publisher, PUBLISHING_AGAIN, "out of memory");
  for (size_t i = 0; i < count && end == PUBLISHING_NOW; i++)
    end = get_tail_message(question, known + 1 + i, subject, &tail[i]);
  *mark = tail[count - 1].mark;
  *whole = end == PUBLISHING_NOW && is_whole(question, tail, count);
  free(tail);
  return end;
}

publishing place_find(const place_question *question, place *to) {
  publisher *publisher = question->publisher;
  maph_stats stats;
  mark mark = { .store = 0 };
  bool whole = false, refused = publisher->refused;
  publishing end;
  memset(to, 0, sizeof *to);
  publisher->refused = false;
  if (maph_stat(publisher->store, &stats) != MAPH_OK) return publish_unread(question->publisher);
  publisher->notes.record.file_version = stats.version;
  to->compare = question->info->last > 0;
  if (question->info->messages == 0 || publisher->notes.record.overwrite) return PUBLISHING_NOW;
  end = look_at_tail(question, &mark, to->subject, &whole);
  if (end != PUBLISHING_NOW) return end;
  if (!whole && refused && !in_grace(publisher))
    return is_foreign(question, question->info->last, "somebody else");
  if (!whole && !is_same_bucket(question) && mark.store == 0)
    return is_foreign(question, question->info->last, "an unknown writer: it is gone");
  return judge(question, &mark, whole && !publisher->compare, to);
}
