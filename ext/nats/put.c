/*
** put.c - one write to a bucket, to a certain end (put.h).
**
** A round: connect, look at the bucket and at whose it is, where that is still to be done: of a
** connection that is kept, once a second; look at the key where there is a condition or something
** was sent that nobody answered; send.  Rounds go on until one decides, or the time is over.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "entry/entry.h"
#include "nats/forward.h"
#include "nats/keys.h"
#include "nats/put.h"
#include "nats/replica.h"

enum { ANSWER_MS = 5000, LEAST_MS = 100, PAUSE_MOST_MS = 500, LOOK_AGAIN_MS = 1000 };
enum { STORE_DIGITS = 16, STORE_NAME = 25 }; /* Maph-Store: of the uuid, and all of it */

typedef struct writer {
  const put_request *request;
  put_result *result;
  put_session *session;
  bool looked;                /* at the bucket, on this connection */
  bool unanswered;            /* something was sent, and nobody said what became of it */
  unsigned long long sent_ms; /* when that was first */
  bool weak;                  /* both sequences are to be compared */
  bool existed;               /* the key, at the last look before it was sent */
  char subject[KEYS_LINE + 16], id[FORWARD_IDENTITY];
  uint64_t expected, expected_last; /* sequences; expected_last 0: whatever it is */
  unsigned long long deadline;
  int pause_ms;
} writer;

/* What a round came to: one of put_outcome, or */
enum { AGAIN = -1, AT_ONCE = -2 };

static void sleep_ms(int ms) {
  struct timespec time = { ms / 1000, ms % 1000 * 1000000L };
  nanosleep(&time, NULL);
}

static int left_ms(const writer *writer, int most) {
  unsigned long long now = ticks_ms();
  if (now + LEAST_MS >= writer->deadline) return LEAST_MS;
  return writer->deadline - now < (unsigned long long)most ? (int)(writer->deadline - now) : most;
}

/* Keep what went wrong as the sentence, should nothing better come. */
static int again(writer *writer, stream_rc rc) {
  snprintf(writer->result->sentence, sizeof writer->result->sentence, "%s", stream_errmsg());
  writer->result->reason = PUT_UNAVAILABLE;
  /* The bucket may have gone; another server of the cluster may answer where this one does not. */
  writer->looked = false;
  writer->session->bucket[0] = 0;
  if (rc == STREAM_LOST || rc == STREAM_WRONG || rc == STREAM_TIMEOUT)
    put_session_end(writer->session);
  return AGAIN;
}

void put_session_end(put_session *session) {
  connection_close(session->link);
  session->link = NULL;
  session->bucket[0] = 0;
}

static int refused(writer *writer, put_reason reason, const char *sentence) {
  char *room = writer->result->sentence;
  writer->result->reason = reason;
  if (!writer->unanswered) {
    snprintf(room, PUT_SENTENCE, "%s", sentence);
    return PUT_REFUSED;
  }
  snprintf(room, PUT_SENTENCE,
           "whether it was written is unknown: an answer was lost, then came: %s", sentence);
  return PUT_UNKNOWN;
}

/* ----------------------------------------------------------------------------------- the bucket */
/* Will it go on by itself?  A cluster that has no leader just now says so, or nothing. */
static bool is_passing(stream_rc rc) {
  if (rc == STREAM_TIMEOUT || rc == STREAM_LOST || rc == STREAM_WRONG) return true;
  return rc == STREAM_REFUSED
         && (stream_code() == STREAM_CODE_UNAVAILABLE || stream_code() == STREAM_CODE_NO_LEADER
             || stream_code() == STREAM_CODE_OFFLINE || stream_code() == STREAM_CODE_NOBODY);
}

/* A failure that does not pass. */
static int failed(writer *writer, stream_rc rc) {
  return refused(writer, rc == STREAM_DENIED ? PUT_DENIED : PUT_UNAVAILABLE, stream_errmsg());
}

static int form_the_key(writer *writer) {
  char form[KEYS_LINE], sentence[KEYS_BUCKET + 100];
  size_t size;
  const char *filter = writer->request->filter;
  const char *mistake =
      keys_encode(writer->session->info.escaped ? KEYS_ESCAPED : KEYS_PLAIN,
                  maph_str(writer->session->info.origin), writer->request->key, form, &size);
  if (mistake) return refused(writer, PUT_BAD_KEY, mistake);
  if (filter && !keys_among(filter, maph_bytes(form, size))) {
    snprintf(sentence, sizeof sentence, "the replica has the keys %.250s of the bucket alone",
             filter);
    return refused(writer, PUT_BAD_KEY, sentence);
  }
  snprintf(writer->subject, sizeof writer->subject, "$KV.%s.%.*s", writer->session->info.origin,
           (int)size, form);
  return AT_ONCE;
}

/* A mirror takes no writes but those of the bucket that it has the keys of. */
static int check_mirror(writer *writer) {
  char sentence[2 * STREAM_NAME + 60];
  const char *bucket = writer->request->bucket, *origin = writer->session->info.origin;
  if (strcmp(origin, bucket) == 0) return AT_ONCE;
  snprintf(sentence, sizeof sentence, "bucket %.250s is a mirror: write to bucket %.250s", bucket,
           origin);
  return refused(writer, PUT_DENIED, sentence);
}

/* What the bucket is like, as it was a moment ago. */
static stream_rc look_at_stream(writer *writer, bool anew) {
  put_session *session = writer->session;
  unsigned long long now = ticks_ms();
  char created[sizeof session->info.created];
  stream_rc rc;
  if (!anew && strcmp(session->bucket, writer->request->bucket) == 0
      && now - session->looked_ms < LOOK_AGAIN_MS)
    return STREAM_OK;
  strcpy(created, session->info.created);
  if (strcmp(session->bucket, writer->request->bucket) != 0) created[0] = 0;
  rc = stream_look(session->link, writer->request->bucket, &session->info);
  session->bucket[0] = 0;
  if (rc != STREAM_OK) return rc;
  if (strcmp(session->info.created, created) != 0) session->unpublished = 0;
  strcpy(session->bucket, writer->request->bucket);
  session->looked_ms = now;
  return STREAM_OK;
}

/* A connection, and what the bucket is like. */
static int look_at_bucket(writer *writer) {
  put_session *session = writer->session;
  stream_rc rc;
  if (session->link == NULL) {
    session->bucket[0] = 0;
    rc = connection_open(&session->link);
    if (is_passing(rc)) return again(writer, rc);
    if (rc != STREAM_OK) return failed(writer, rc);
    writer->looked = false;
  }
  connection_patience(session->link, left_ms(writer, ANSWER_MS));
  if (writer->looked) return AT_ONCE;
  rc = look_at_stream(writer, false);
  if (is_passing(rc)) return again(writer, rc);
  if (rc != STREAM_OK) return failed(writer, rc);
  writer->weak = session->info.replicas > 1 && connection_before(session->link, 2, 9, 21);
  writer->looked = true;
  return form_the_key(writer);
}

/* ---------------------------------------------------------------------------------- whose it is */
/* As a publisher names it: sending.c. */
static bool is_store(maph_slice named) {
  const char *text = named.data;
  if (named.size != STORE_NAME || text[STORE_DIGITS] != '-') return false;
  for (int i = 0; i < STORE_NAME; i++)
    if (i != STORE_DIGITS && (text[i] == 0 || !strchr("0123456789abcdef", text[i]))) return false;
  return true;
}

/* A bucket that a store is published to has that one writer, which ends where it finds another's
** message.  Its last message names the store. */
static int check_writer(writer *writer, const stored *last) {
  char sentence[KEYS_BUCKET + 160];
  maph_slice store = stored_header(last, "Maph-Store");
  if (!is_store(store)) return AT_ONCE;
  snprintf(sentence, sizeof sentence,
           "bucket %s is published from a store, whose uuid begins with %.*s: write to that store",
           writer->request->bucket, STORE_DIGITS, (const char *)store.data);
  return refused(writer, PUT_DENIED, sentence);
}

/* Once a look at the bucket.  A last message that this session wrote, or asked for, is known. */
static int look_at_writer(writer *writer) {
  const stream_info *info = &writer->session->info;
  stored last;
  stream_rc rc;
  int outcome;
  if (info->messages == 0 || info->last <= writer->session->unpublished) return AT_ONCE;
  rc = stored_get(writer->session->link, writer->request->bucket, info->last, &last);
  if (is_passing(rc)) return again(writer, rc);
  if (rc != STREAM_OK && rc != STREAM_NONE) return failed(writer, rc);
  outcome = rc == STREAM_OK ? check_writer(writer, &last) : AT_ONCE;
  if (rc == STREAM_OK) stored_free(&last);
  if (outcome == AT_ONCE) writer->session->unpublished = info->last;
  return outcome;
}

/* -------------------------------------------------------------------------------------- the key */
static maph_slice header_of(const void *message, const char *name) {
  return stored_header(message, name);
}

static void read_entry(const stored *found, uint64_t max_age_ns, kv_entry *entry) {
  kv_read(header_of, found, found->data, found->time_ns, max_age_ns, entry);
}

static bool is_there(const writer *writer, const stored *last) {
  kv_entry entry;
  read_entry(last, writer->session->info.max_age_ns, &entry);
  return !kv_gone(&entry, now_ms());
}

static bool is_ours(const writer *writer, const stored *last) {
  maph_slice id = stored_header(last, "Nats-Msg-Id");
  return id.size == strlen(writer->id) && memcmp(id.data, writer->id, id.size) == 0;
}

/* A sentence of where the key is, and the outcome that goes with it. */
static int not_held(writer *writer, uint64_t revision) {
  char *room = writer->result->sentence;
  if (writer->unanswered)
    snprintf(room, PUT_SENTENCE,
             revision ? "whether it was written is unknown: the server did not answer; the key is "
                        "at revision %llu"
                      : "whether it was written is unknown: the server did not answer; the key is "
                        "not there",
             (unsigned long long)revision);
  else if (revision == 0)
    snprintf(room, PUT_SENTENCE, "no such key");
  else if (writer->request->when == PUT_IF_ABSENT)
    snprintf(room, PUT_SENTENCE, "the key is there already, at revision %llu",
             (unsigned long long)revision);
  else
    snprintf(room, PUT_SENTENCE, "the key is at revision %llu", (unsigned long long)revision);
  writer->result->revision = revision;
  return writer->unanswered ? PUT_UNKNOWN : PUT_NOT_HELD;
}

/* Does the condition hold of the key's last message?  NULL: it has none. */
static int judge(writer *writer, const stored *last) {
  bool there = last && is_there(writer, last);
  uint64_t revision = there ? last->sequence : 0;
  if (last && is_ours(writer, last)) {
    writer->result->revision = last->sequence;
    return PUT_DONE;
  }
  writer->expected = last ? last->sequence : 0;
  writer->existed = there;
  switch (writer->request->when) {
    case PUT_ALWAYS: return AT_ONCE;
    case PUT_IF_ABSENT: return there ? not_held(writer, revision) : AT_ONCE;
    case PUT_IF_PRESENT: return there ? AT_ONCE : not_held(writer, 0);
    case PUT_IF_REVISION:
      return revision == writer->request->revision ? AT_ONCE : not_held(writer, revision);
    case PUT_IF_HELD:
      return writer->request->holds(writer->request->arg, there, revision)
                 ? AT_ONCE
                 : not_held(writer, revision);
  }
  return AT_ONCE;
}

/* The bucket's last sequence before the key's: whatever comes to the key after that look comes
** after that sequence. */
static int look_at_key(writer *writer) {
  stored last;
  stream_rc rc = STREAM_OK;
  int outcome;
  if (writer->weak && writer->request->when != PUT_ALWAYS) rc = look_at_stream(writer, true);
  if (rc == STREAM_OK) {
    writer->expected_last = writer->weak ? writer->session->info.last : 0;
    rc = stored_get_last(writer->session->link, writer->request->bucket, writer->subject, &last);
  }
  if (rc == STREAM_NONE) return judge(writer, NULL);
  if (is_passing(rc)) return again(writer, rc);
  if (rc != STREAM_OK) return failed(writer, rc);
  outcome = judge(writer, &last);
  stored_free(&last);
  return outcome;
}

/* ----------------------------------------------------------------------------------------- send */
typedef struct header_list {
  stream_header header[8];
  int count;
  char expected[24], expected_last[24], expires[24];
} header_list;

static void add_header(header_list *list, const char *name, const char *value) {
  list->header[list->count++] = (stream_header){ name, value };
}
static void add_number(header_list *list, const char *name, char room[24], uint64_t number) {
  snprintf(room, 24, "%llu", (unsigned long long)number);
  add_header(list, name, room);
}

/* Does the server compare the key's last sequence?  A delete of what is there needs no condition: a
** second marker does no harm. */
static bool is_expected(const writer *writer) {
  return writer->request->when != PUT_ALWAYS
         && !(writer->request->when == PUT_IF_PRESENT && writer->request->deletes);
}

static void collect_headers(const writer *writer, header_list *list) {
  const put_request *request = writer->request;
  list->count = 0;
  add_header(list, "Nats-Msg-Id", writer->id);
  if (request->deletes) add_header(list, "KV-Operation", "DEL");
  if (request->media_type) add_header(list, "Content-Type", request->media_type);
  if (request->type) add_header(list, "Maph-Type", request->type);
  if (request->expires) add_number(list, "Maph-Expires", list->expires, request->expires);
  if (!is_expected(writer)) return;
  add_number(list, "Nats-Expected-Last-Subject-Sequence", list->expected, writer->expected);
  if (writer->weak && writer->expected != 0)
    add_number(list, "Nats-Expected-Last-Sequence", list->expected_last, writer->expected_last);
}

static size_t headers_size(const header_list *list) {
  size_t size = strlen("NATS/1.0\r\n\r\n");
  for (int i = 0; i < list->count; i++)
    size += strlen(list->header[i].name) + strlen(list->header[i].value) + strlen(": \r\n");
  return size;
}

/* A server refuses a message that is longer than its max_payload, or than the stream's. */
static int too_large(writer *writer, const header_list *list) {
  uint64_t size = headers_size(list) + writer->request->value.size;
  uint64_t most = connection_server(writer->session->link)->max_payload;
  const char *whose = "max_payload of the server";
  int64_t bucket_most = writer->session->info.max_value;
  char sentence[320];
  if (bucket_most >= 0 && (most == 0 || (uint64_t)bucket_most < most)) {
    most = (uint64_t)bucket_most;
    whose = "largest value of the bucket";
  }
  if (most == 0 || size <= most) return AT_ONCE;
  snprintf(sentence, sizeof sentence,
           "the value is too large: with its headers it has %llu bytes, and the %s is %llu: raise "
           "that, or keep the value elsewhere and its place here",
           (unsigned long long)size, whose, (unsigned long long)most);
  return refused(writer, PUT_TOO_LARGE, sentence);
}

static int send_once(writer *writer) {
  header_list list;
  stream_rc rc;
  uint64_t sequence;
  unsigned long long before = ticks_ms();
  collect_headers(writer, &list);
  if (too_large(writer, &list) != AT_ONCE) return too_large(writer, &list);
  rc = stream_publish(writer->session->link, writer->subject, list.header, list.count,
                      writer->request->value, left_ms(writer, ANSWER_MS), &sequence, NULL);
  if (rc == STREAM_OK) {
    writer->result->revision = writer->session->unpublished = sequence;
    return PUT_DONE;
  }
  /* What the key is at now says whether the condition holds. */
  if (rc == STREAM_REFUSED && stream_code() == STREAM_CODE_SEQUENCE) {
    snprintf(writer->result->sentence, PUT_SENTENCE,
             "other writers of the bucket were first each time, and nothing was written");
    writer->result->reason = PUT_UNAVAILABLE;
    return AGAIN;
  }
  if ((rc == STREAM_TIMEOUT || rc == STREAM_LOST || rc == STREAM_WRONG) && !writer->unanswered) {
    writer->unanswered = true;
    writer->sent_ms = before;
  }
  if (is_passing(rc)) return again(writer, rc);
  return rc == STREAM_TOO_BIG ? refused(writer, PUT_TOO_LARGE, stream_errmsg())
                              : failed(writer, rc);
}

/* --------------------------------------------------------------------------------------- rounds */
/* The same identity again is the same write for as long as the bucket remembers it: may it be sent,
** and be there in time? */
static bool may_repeat(const writer *writer) {
  unsigned long long age_ms = ticks_ms() - writer->sent_ms + 2 * ANSWER_MS;
  return is_expected(writer) || age_ms < writer->session->info.duplicates_ns / 1000000;
}

static int write_once(writer *writer) {
  const put_request *request = writer->request;
  int outcome = look_at_bucket(writer);
  bool lost = writer->unanswered; /* then the key is asked first: it may have been written */
  if (outcome == AT_ONCE) outcome = check_mirror(writer);
  if (outcome == AT_ONCE && !lost) outcome = look_at_writer(writer);
  if (outcome == AT_ONCE
      && (request->when != PUT_ALWAYS || request->tells_existed || writer->unanswered))
    outcome = look_at_key(writer);
  if (outcome == AT_ONCE && lost) outcome = look_at_writer(writer);
  if (outcome == AT_ONCE && writer->unanswered && !may_repeat(writer)) return AGAIN;
  return outcome == AT_ONCE ? send_once(writer) : outcome;
}

/* The time is over.  What the key is at was tried to be told in the last round. */
static int give_up(writer *writer) {
  char why[PUT_SENTENCE];
  int outcome = AGAIN;
  if (!writer->unanswered) return PUT_REFUSED;
  snprintf(why, sizeof why, "%s", writer->result->sentence);
  writer->deadline = ticks_ms() + 1000;
  if (look_at_bucket(writer) == AT_ONCE) {
    stored last;
    stream_rc rc =
        stored_get_last(writer->session->link, writer->request->bucket, writer->subject, &last);
    if (rc == STREAM_OK && is_ours(writer, &last)) {
      writer->result->revision = last.sequence;
      outcome = PUT_DONE;
    } else if (rc == STREAM_OK || rc == STREAM_NONE) {
      bool there = rc == STREAM_OK && is_there(writer, &last);
      outcome = not_held(writer, there ? last.sequence : 0);
    }
    if (rc == STREAM_OK) stored_free(&last);
  }
  if (outcome != AGAIN) return outcome;
  snprintf(writer->result->sentence, PUT_SENTENCE, "whether it was written is unknown: %.500s",
           why);
  return PUT_UNKNOWN;
}

/* Longer each time, and never the same for two that were beaten together. */
static void pause_before_next(writer *writer) {
  unsigned short random = 0;
  if (getrandom(&random, sizeof random, 0) < 0) random = 0;
  writer->pause_ms = writer->pause_ms == 0 ? 4 : writer->pause_ms * 2;
  if (writer->pause_ms > PAUSE_MOST_MS) writer->pause_ms = PAUSE_MOST_MS;
  sleep_ms(1 + random % writer->pause_ms);
}

/* One that was kept may have been lost since. */
static void begin(writer *writer, put_session *session, put_session *own) {
  writer->session = session ? session : own;
  if (writer->session->link && connection_lost(writer->session->link))
    put_session_end(writer->session);
  *writer->result = (put_result){ .existed = true };
  writer->existed = true;
  writer->deadline = ticks_ms() + writer->request->timeout_ms;
}

put_outcome put_write(put_session *session, const put_request *request, put_result *result) {
  put_session own = { .link = NULL };
  writer writer = { .request = request, .result = result };
  int outcome;
  begin(&writer, session, &own);
  forward_identity(writer.id);
  if (request->identity) snprintf(writer.id, sizeof writer.id, "%s", request->identity);
  writer.unanswered = request->sent_ms != 0;
  writer.sent_ms = request->sent_ms;
  while ((outcome = write_once(&writer)) < 0) {
    if (ticks_ms() >= writer.deadline) {
      outcome = give_up(&writer);
      break;
    }
    pause_before_next(&writer);
  }
  result->existed = writer.existed;
  put_session_end(&own);
  return (put_outcome)outcome;
}

/* ----------------------------------------------------------------------------------------- read */
static stream_rc read_once(writer *writer, stored *found) {
  int outcome = look_at_bucket(writer);
  stream_rc rc;
  if (outcome == AGAIN) return STREAM_TIMEOUT;
  if (outcome != AT_ONCE) return STREAM_MISUSE;
  rc = stored_get_last(writer->session->link, writer->request->bucket, writer->subject, found);
  if (is_passing(rc)) {
    again(writer, rc);
    return STREAM_TIMEOUT;
  }
  if (rc != STREAM_OK && rc != STREAM_NONE) failed(writer, rc);
  if (rc != STREAM_OK || is_there(writer, found)) return rc;
  stored_free(found);
  return STREAM_NONE;
}

stream_rc put_read(put_session *session, const put_request *request, stored *found, kv_entry *entry,
                   put_result *result) {
  put_session own = { .link = NULL };
  writer writer = { .request = request, .result = result };
  stream_rc rc;
  begin(&writer, session, &own);
  while ((rc = read_once(&writer, found)) == STREAM_TIMEOUT && ticks_ms() < writer.deadline)
    pause_before_next(&writer);
  if (rc == STREAM_OK) read_entry(found, writer.session->info.max_age_ns, entry);
  put_session_end(&own);
  return rc;
}
