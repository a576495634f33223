/*
** put.c - one write to a bucket, to a certain end (put.h).
**
** A round: connect and look at the bucket where that is still to be done; look at the key where
** there is a condition or something was sent that nobody answered; send.  Rounds go on until one
** decides, or the time is over.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "entry/entry.h"
#include "nats/keys.h"
#include "nats/put.h"
#include "nats/replica.h"

enum { ANSWER_MS = 5000, LEAST_MS = 100, PAUSE_MOST_MS = 500 };

typedef struct writer {
  const put_request *request;
  put_result *result;
  connection *link; /* NULL: none yet, or it was lost */
  stream_info bucket;
  bool looked;                /* at the bucket, on this connection */
  bool unanswered;            /* something was sent, and nobody said what became of it */
  unsigned long long sent_ms; /* when that was first */
  bool weak;                  /* both sequences are to be compared */
  char subject[KEYS_LINE + 16], id[PUT_IDENTITY];
  uint64_t expected, expected_last; /* sequences; expected_last 0: whatever it is */
  unsigned long long deadline;
  int pause_ms;
} writer;

/* What a round came to: one of put_outcome, or */
enum { AGAIN = -1, AT_ONCE = -2 };

void put_identity(char room[PUT_IDENTITY]) {
  unsigned char bytes[16];
  int n;
  if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) abort();
  n = snprintf(room, PUT_IDENTITY, "maph-");
  for (size_t i = 0; i < sizeof bytes; i++) n += snprintf(room + n, 3, "%02x", bytes[i]);
}

static void sleep_ms(int ms) {
  struct timespec time = { ms / 1000, ms % 1000 * 1000000L };
  nanosleep(&time, NULL);
}

static int left_ms(const writer *w, int most) {
  unsigned long long now = ticks_ms();
  if (now + LEAST_MS >= w->deadline) return LEAST_MS;
  return w->deadline - now < (unsigned long long)most ? (int)(w->deadline - now) : most;
}

/* Keep what went wrong as the sentence, should nothing better come. */
static int again(writer *w, stream_rc rc) {
  snprintf(w->result->sentence, sizeof w->result->sentence, "%s", stream_errmsg());
  if (rc == STREAM_LOST || rc == STREAM_WRONG) {
    connection_close(w->link);
    w->link = NULL;
  }
  return AGAIN;
}

static int refused(writer *w, const char *sentence) {
  char *room = w->result->sentence;
  if (!w->unanswered) {
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

static int form_the_key(writer *w) {
  char form[KEYS_LINE];
  size_t size;
  const char *mistake = keys_encode(w->bucket.escaped ? KEYS_ESCAPED : KEYS_PLAIN,
                                    maph_str(w->request->bucket), w->request->key, form, &size);
  if (mistake) return refused(w, mistake);
  snprintf(w->subject, sizeof w->subject, "$KV.%s.%.*s", w->request->bucket, (int)size, form);
  return AT_ONCE;
}

/* A connection, and what the bucket is like. */
static int look_at_bucket(writer *w) {
  stream_rc rc;
  if (w->link == NULL) {
    rc = connection_open(&w->link);
    if (is_passing(rc)) return again(w, rc);
    if (rc != STREAM_OK) return refused(w, stream_errmsg());
    w->looked = false;
  }
  connection_patience(w->link, left_ms(w, ANSWER_MS));
  if (w->looked) return AT_ONCE;
  rc = stream_look(w->link, w->request->bucket, &w->bucket);
  if (is_passing(rc)) return again(w, rc);
  if (rc != STREAM_OK) return refused(w, stream_errmsg());
  w->weak = w->bucket.replicas > 1 && connection_before(w->link, 2, 9, 21);
  w->looked = true;
  return form_the_key(w);
}

/* -------------------------------------------------------------------------------------- the key */
static maph_slice header_of(const void *message, const char *name) {
  return stored_header(message, name);
}

static void read_entry(const stored *found, uint64_t max_age_ns, kv_entry *entry) {
  kv_read(header_of, found, found->data, found->time_ns, max_age_ns, entry);
}

static bool is_there(const writer *w, const stored *last) {
  kv_entry entry;
  read_entry(last, w->bucket.max_age_ns, &entry);
  return !kv_gone(&entry, now_ms());
}

static bool is_ours(const writer *w, const stored *last) {
  maph_slice id = stored_header(last, "Nats-Msg-Id");
  return id.size == strlen(w->id) && memcmp(id.data, w->id, id.size) == 0;
}

/* A sentence of where the key is, and the outcome that goes with it. */
static int not_held(writer *w, uint64_t revision) {
  char *room = w->result->sentence;
  if (w->unanswered)
    snprintf(room, PUT_SENTENCE,
             revision ? "whether it was written is unknown: the server did not answer; the key is "
                        "at revision %llu"
                      : "whether it was written is unknown: the server did not answer; the key is "
                        "not there",
             (unsigned long long)revision);
  else if (revision == 0)
    snprintf(room, PUT_SENTENCE, "no such key");
  else if (w->request->when == PUT_IF_ABSENT)
    snprintf(room, PUT_SENTENCE, "the key is there already, at revision %llu",
             (unsigned long long)revision);
  else
    snprintf(room, PUT_SENTENCE, "the key is at revision %llu", (unsigned long long)revision);
  w->result->revision = revision;
  return w->unanswered ? PUT_UNKNOWN : PUT_NOT_HELD;
}

/* Does the condition hold of the key's last message?  NULL: it has none. */
static int judge(writer *w, const stored *last) {
  bool there = last && is_there(w, last);
  uint64_t revision = there ? last->sequence : 0;
  if (last && is_ours(w, last)) {
    w->result->revision = last->sequence;
    return PUT_DONE;
  }
  w->expected = last ? last->sequence : 0;
  switch (w->request->when) {
    case PUT_ALWAYS: return AT_ONCE;
    case PUT_IF_ABSENT: return there ? not_held(w, revision) : AT_ONCE;
    case PUT_IF_PRESENT: return there ? AT_ONCE : not_held(w, 0);
    case PUT_IF_REVISION: return revision == w->request->revision ? AT_ONCE : not_held(w, revision);
  }
  return AT_ONCE;
}

/* The bucket's last sequence before the key's: whatever comes to the key after that look comes
** after that sequence. */
static int look_at_key(writer *w) {
  stored last;
  stream_rc rc = STREAM_OK;
  int outcome;
  if (w->weak && w->request->when != PUT_ALWAYS)
    rc = stream_look(w->link, w->request->bucket, &w->bucket);
  if (rc == STREAM_OK) {
    w->expected_last = w->weak ? w->bucket.last : 0;
    rc = stream_get_last(w->link, w->request->bucket, w->subject, &last);
  }
  if (rc == STREAM_NONE) return judge(w, NULL);
  if (is_passing(rc)) return again(w, rc);
  if (rc != STREAM_OK) return refused(w, stream_errmsg());
  outcome = judge(w, &last);
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

/* A delete of what is there has no condition of the server's: a second marker does no harm. */
static void collect_headers(const writer *w, header_list *list) {
  const put_request *request = w->request;
  list->count = 0;
  add_header(list, "Nats-Msg-Id", w->id);
  if (request->deletes) add_header(list, "KV-Operation", "DEL");
  if (request->media_type) add_header(list, "Content-Type", request->media_type);
  if (request->type) add_header(list, "Maph-Type", request->type);
  if (request->expires) add_number(list, "Maph-Expires", list->expires, request->expires);
  if (request->when == PUT_ALWAYS || request->when == PUT_IF_PRESENT) return;
  add_number(list, "Nats-Expected-Last-Subject-Sequence", list->expected, w->expected);
  if (w->weak && w->expected != 0)
    add_number(list, "Nats-Expected-Last-Sequence", list->expected_last, w->expected_last);
}

static size_t headers_size(const header_list *list) {
  size_t size = strlen("NATS/1.0\r\n\r\n");
  for (int i = 0; i < list->count; i++)
    size += strlen(list->header[i].name) + strlen(list->header[i].value) + strlen(": \r\n");
  return size;
}

/* A server refuses a message that is longer than its max_payload, or than the stream's. */
static int too_large(writer *w, const header_list *list) {
  uint64_t size = headers_size(list) + w->request->value.size;
  uint64_t most = connection_server(w->link)->max_payload;
  const char *whose = "max_payload of the server";
  char sentence[320];
  if (w->bucket.max_value >= 0 && (most == 0 || (uint64_t)w->bucket.max_value < most)) {
    most = (uint64_t)w->bucket.max_value;
    whose = "largest value of the bucket";
  }
  if (most == 0 || size <= most) return AT_ONCE;
  snprintf(sentence, sizeof sentence,
           "the value is too large: with its headers it has %llu bytes, and the %s is %llu: raise "
           "that, or keep the value elsewhere and its place here",
           (unsigned long long)size, whose, (unsigned long long)most);
  return refused(w, sentence);
}

static int send_once(writer *w) {
  header_list list;
  stream_rc rc;
  uint64_t sequence;
  unsigned long long before = ticks_ms();
  collect_headers(w, &list);
  if (too_large(w, &list) != AT_ONCE) return too_large(w, &list);
  rc = stream_publish(w->link, w->subject, list.header, list.count, w->request->value,
                      left_ms(w, ANSWER_MS), &sequence, NULL);
  if (rc == STREAM_OK) {
    w->result->revision = sequence;
    return PUT_DONE;
  }
  /* What the key is at now says whether the condition holds. */
  if (rc == STREAM_REFUSED && stream_code() == STREAM_CODE_SEQUENCE) {
    snprintf(w->result->sentence, PUT_SENTENCE,
             "other writers of the bucket were first each time, and nothing was written");
    return AGAIN;
  }
  if ((rc == STREAM_TIMEOUT || rc == STREAM_LOST || rc == STREAM_WRONG) && !w->unanswered) {
    w->unanswered = true;
    w->sent_ms = before;
  }
  if (is_passing(rc)) return again(w, rc);
  return refused(w, stream_errmsg());
}

/* --------------------------------------------------------------------------------------- rounds */
/* The same identity again is the same write for as long as the bucket remembers it: may it be sent,
** and be there in time? */
static bool may_repeat(const writer *w) {
  unsigned long long age_ms = ticks_ms() - w->sent_ms + 2 * ANSWER_MS;
  return w->request->when == PUT_IF_ABSENT || w->request->when == PUT_IF_REVISION
         || age_ms < w->bucket.duplicates_ns / 1000000;
}

static int write_once(writer *w) {
  int outcome = look_at_bucket(w);
  if (outcome == AT_ONCE && (w->request->when != PUT_ALWAYS || w->unanswered))
    outcome = look_at_key(w);
  if (outcome == AT_ONCE && w->unanswered && !may_repeat(w)) return AGAIN;
  return outcome == AT_ONCE ? send_once(w) : outcome;
}

/* The time is over.  What the key is at was tried to be told in the last round. */
static int give_up(writer *w) {
  char why[PUT_SENTENCE];
  int outcome = AGAIN;
  if (!w->unanswered) return PUT_REFUSED;
  snprintf(why, sizeof why, "%s", w->result->sentence);
  w->deadline = ticks_ms() + 1000;
  if (look_at_bucket(w) == AT_ONCE) {
    stored last;
    stream_rc rc = stream_get_last(w->link, w->request->bucket, w->subject, &last);
    if (rc == STREAM_OK && is_ours(w, &last)) {
      w->result->revision = last.sequence;
      outcome = PUT_DONE;
    } else if (rc == STREAM_OK || rc == STREAM_NONE) {
      bool there = rc == STREAM_OK && is_there(w, &last);
      outcome = not_held(w, there ? last.sequence : 0);
    }
    if (rc == STREAM_OK) stored_free(&last);
  }
  if (outcome != AGAIN) return outcome;
  snprintf(w->result->sentence, PUT_SENTENCE, "whether it was written is unknown: %.500s", why);
  return PUT_UNKNOWN;
}

/* Longer each time, and never the same for two that were beaten together. */
static void pause_before_next(writer *w) {
  unsigned short random = 0;
  if (getrandom(&random, sizeof random, 0) < 0) random = 0;
  w->pause_ms = w->pause_ms == 0 ? 4 : w->pause_ms * 2;
  if (w->pause_ms > PAUSE_MOST_MS) w->pause_ms = PAUSE_MOST_MS;
  sleep_ms(1 + random % w->pause_ms);
}

put_outcome put_write(const put_request *request, put_result *result) {
  writer w = { .request = request, .result = result };
  int outcome;
  *result = (put_result){ .revision = 0 };
  put_identity(w.id);
  w.deadline = ticks_ms() + request->timeout_ms;
  while ((outcome = write_once(&w)) < 0) {
    if (ticks_ms() >= w.deadline) {
      outcome = give_up(&w);
      break;
    }
    pause_before_next(&w);
  }
  connection_close(w.link);
  return (put_outcome)outcome;
}

/* ----------------------------------------------------------------------------------------- read */
static stream_rc read_once(writer *w, stored *found) {
  int outcome = look_at_bucket(w);
  stream_rc rc;
  if (outcome == AGAIN) return STREAM_TIMEOUT;
  if (outcome != AT_ONCE) return STREAM_MISUSE;
  rc = stream_get_last(w->link, w->request->bucket, w->subject, found);
  if (is_passing(rc)) {
    again(w, rc);
    return STREAM_TIMEOUT;
  }
  if (rc != STREAM_OK && rc != STREAM_NONE) refused(w, stream_errmsg());
  if (rc != STREAM_OK || is_there(w, found)) return rc;
  stored_free(found);
  return STREAM_NONE;
}

stream_rc put_read(const char *bucket, maph_slice key, uint64_t timeout_ms, stored *found,
                   kv_entry *entry, char sentence[PUT_SENTENCE]) {
  put_request request = { .bucket = bucket, .key = key, .timeout_ms = timeout_ms };
  put_result result = { .revision = 0 };
  writer w = { .request = &request, .result = &result };
  stream_rc rc;
  w.deadline = ticks_ms() + timeout_ms;
  while ((rc = read_once(&w, found)) == STREAM_TIMEOUT && ticks_ms() < w.deadline)
    pause_before_next(&w);
  if (rc == STREAM_OK) read_entry(found, w.bucket.max_age_ns, entry);
  connection_close(w.link);
  memcpy(sentence, result.sentence, PUT_SENTENCE);
  return rc;
}
