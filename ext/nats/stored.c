/*
** stored.c - messages that a bucket holds (stored.h).
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "entry/json.h"
#include "nats/answer.h"
#include "nats/ask.h"
#include "nats/stored.h"

/* ------------------------------------------------------------------------------ stored messages */
void stored_free(stored *stored) {
  free(stored->memory);
  memset(stored, 0, sizeof *stored);
}

/* Subject, headers and data of an answer, one behind the other in memory of their own. */
static bool read_stored(maph_slice text, stored *found) {
  char time[64], subject[ASK_SUBJECT];
  void *headers = NULL, *data = NULL;
  bool ok = answer_number(text, "message.seq", STREAM_SEQUENCE_MOST, 0, &found->sequence)
            && found->sequence > 0 && answer_text(text, "message.time", time, sizeof time)
            && answer_time(time, &found->time_ns)
            && answer_text(text, "message.subject", subject, sizeof subject)
            && answer_base64(text, "message.hdrs", &headers, &found->headers)
            && answer_base64(text, "message.data", &data, &found->data);
  char *memory = ok ? malloc(strlen(subject) + found->headers.size + found->data.size + 1) : NULL;
  if (memory) {
    char *at = memory;
    found->memory = memory;
    found->subject = maph_bytes(memcpy(at, subject, strlen(subject)), strlen(subject));
    at += strlen(subject);
    if (found->headers.size) memcpy(at, found->headers.data, found->headers.size);
    found->headers.data = at;
    at += found->headers.size;
    if (found->data.size) memcpy(at, found->data.data, found->data.size);
    found->data.data = at;
  }
  free(headers);
  free(data);
  return memory != NULL;
}

static stream_rc get(connection *connection, const char *bucket, maph_slice question,
                     stored *found) {
  char what[STREAM_NAME + 32];
  message *answer;
  stream_rc rc;
  memset(found, 0, sizeof *found);
  snprintf(what, sizeof what, "STREAM.MSG.GET.KV_%s", bucket);
  rc = ask_again(connection, what, question, &answer);
  if (rc != STREAM_OK) return rc;
  if (!read_stored(message_data(answer), found)) {
    stored_free(found);
    rc = ask_not_believed(connection, what);
  }
  message_free(answer);
  return rc;
}

static maph_slice sequence_question(uint64_t sequence, char room[ASK_SUBJECT]) {
  return maph_bytes(
      room, (size_t)snprintf(room, ASK_SUBJECT, "{\"seq\":%llu}", (unsigned long long)sequence));
}

stream_rc stored_get(connection *connection, const char *bucket, uint64_t sequence, stored *found) {
  char room[ASK_SUBJECT];
  return get(connection, bucket, sequence_question(sequence, room), found);
}

static stream_rc last_question(const char *subject, char room[ASK_SUBJECT], maph_slice *question) {
  ask_text written = { .bytes = room, .room = ASK_SUBJECT };
  json_writer out;
  json_write_begin(&out, ask_write, &written);
  json_write_text(&out, "{\"last_by_subj\":");
  json_write_string(&out, maph_str(subject));
  json_write_text(&out, "}");
  if (!json_write_end(&out)) return stream_fail(STREAM_TOO_BIG, "the key is too long for NATS");
  *question = maph_bytes(room, written.size);
  return STREAM_OK;
}

stream_rc stored_get_last(connection *connection, const char *bucket, const char *subject,
                          stored *found) {
  char room[ASK_SUBJECT];
  maph_slice question = { NULL, 0 };
  stream_rc rc = last_question(subject, room, &question);
  return rc == STREAM_OK ? get(connection, bucket, question, found) : rc;
}

maph_slice stored_header(const stored *stored, const char *name) {
  const char *at = stored->headers.data, *end = at + stored->headers.size;
  size_t size = strlen(name);
  while (at < end) {
    const char *line_end = memchr(at, '\n', (size_t)(end - at)), *value;
    if (line_end == NULL) line_end = end;
    if ((size_t)(line_end - at) > size && memcmp(at, name, size) == 0 && at[size] == ':') {
      value = at + size + 1;
      while (value < line_end && *value == ' ') value++;
      while (line_end > value && (line_end[-1] == '\r' || line_end[-1] == ' ')) line_end--;
      return maph_bytes(value, (size_t)(line_end - value));
    }
    at = line_end + (line_end < end);
  }
  return maph_bytes(NULL, 0);
}

/* --------------------------------------------------------------------- which message comes next */
enum { QUESTIONS_AT_ONCE = 512 };

static stream_rc understand_next(connection *connection, message *message, bool direct,
                                 uint64_t *found) {
  const char *status = message_header(message, "Status"),
             *number = message_header(message, "Nats-Sequence");
  stream_rc rc;
  *found = 0;
  if (status && strcmp(status, "404") == 0) return STREAM_OK;
  if (status)
    return stream_fail(STREAM_LOST, "%s: status %.40s", connection_server(connection)->url, status);
  if (direct && number) {
    if (json_whole_number(maph_str(number), STREAM_SEQUENCE_MOST, found) && *found > 0)
      return STREAM_OK;
    return ask_not_believed(connection, "DIRECT.GET");
  }
  rc = ask_look_at(connection, "STREAM.MSG.GET", message);
  if (rc == STREAM_NONE) return STREAM_OK;
  if (rc != STREAM_OK) return rc;
  if (!answer_number(message_data(message), "message.seq", STREAM_SEQUENCE_MOST, 0, found)
      || *found == 0)
    return ask_not_believed(connection, "STREAM.MSG.GET");
  return STREAM_OK;
}

typedef struct asking_next {
  connection *connection;
  bool direct;
  const uint64_t *from;
  uint64_t *found;
} asking_next;

static stream_rc write_next(void *arg, size_t which, char room[ASK_SUBJECT], maph_slice *question) {
  const asking_next *asking = arg;
  int size = snprintf(room, ASK_SUBJECT, "{\"seq\":%llu,\"next_by_subj\":\">\"}",
                      (unsigned long long)asking->from[which]);
  *question = maph_bytes(room, (size_t)size);
  return STREAM_OK;
}

static stream_rc take_next(void *arg, size_t which, message **answer) {
  const asking_next *asking = arg;
  return understand_next(asking->connection, *answer, asking->direct, &asking->found[which]);
}

stream_rc stored_next_of(connection *connection, const char *bucket, bool direct, size_t n,
                         const uint64_t *from, uint64_t *found) {
  char what[STREAM_NAME + 32];
  stream_rc rc = STREAM_OK;
  snprintf(what, sizeof what, "%s.KV_%s", direct ? "DIRECT.GET" : "STREAM.MSG.GET", bucket);
  for (size_t done = 0; done < n && rc == STREAM_OK;) {
    size_t now = n - done < QUESTIONS_AT_ONCE ? n - done : QUESTIONS_AT_ONCE;
    asking_next asking = { connection, direct, from + done, found + done };
    questions all = { .connection = connection,
                      .what = what,
                      .count = now,
                      .silence_ms = ASK_SILENCE_MS,
                      .write = write_next,
                      .take = take_next,
                      .arg = &asking };
    rc = ask_all(&all);
    done += now;
  }
  return rc;
}

/* ------------------------------------------------------------------------- many stored messages */
typedef struct asking_each {
  connection *connection;
  const stored_question *questions;
  stored_fn each;
  void *arg;
} asking_each;

static stream_rc write_each(void *arg, size_t which, char room[ASK_SUBJECT], maph_slice *question) {
  const stored_question *one = &((const asking_each *)arg)->questions[which];
  if (one->subject) return last_question(one->subject, room, question);
  *question = sequence_question(one->sequence, room);
  return STREAM_OK;
}

static stream_rc take_each(void *arg, size_t which, message **answer) {
  asking_each *asking = arg;
  stored found = { 0 };
  stream_rc rc = ask_look_at(asking->connection, "STREAM.MSG.GET", *answer);
  if (rc == STREAM_OK && !read_stored(message_data(*answer), &found))
    rc = ask_not_believed(asking->connection, "STREAM.MSG.GET");
  if (rc == STREAM_OK) asking->each(asking->arg, which, &found);
  if (rc == STREAM_NONE) {
    asking->each(asking->arg, which, NULL);
    rc = STREAM_OK;
  }
  stored_free(&found);
  return rc;
}

stream_rc stored_get_each(connection *connection, const char *bucket, size_t n,
                          const stored_question *list, stored_fn each, void *arg) {
  char what[STREAM_NAME + 32];
  asking_each asking = { connection, list, each, arg };
  questions all = { .connection = connection,
                    .what = what,
                    .count = n,
                    .silence_ms = ASK_SILENCE_MS,
                    .write = write_each,
                    .take = take_each,
                    .arg = &asking };
  snprintf(what, sizeof what, "STREAM.MSG.GET.KV_%s", bucket);
  return ask_all(&all);
}
