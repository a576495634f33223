/*
** stream.c - JetStream's requests, and the consumer that a replica reads by (stream.h).
*/
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "entry/json.h"
#include "nats/answer.h"
#include "nats/connect.h"
#include "nats/option.h"
#include "nats/replica.h"
#include "nats/stream.h"

#define SEQUENCE_MOST ((UINT64_C(1) << 48) - 1) /* what a version of maph holds */
enum { SUBJECT_ROOM = CONNECT_SUBJECT };

/* ------------------------------------------------------------------------------------- messages */
maph_slice message_data(const message *message) {
  int size = natsMsg_GetDataLength(message);
  return maph_bytes(natsMsg_GetData(message), size > 0 ? (size_t)size : 0);
}
const char *message_subject(const message *message) { return natsMsg_GetSubject(message); }
const char *message_reply(const message *message) { return natsMsg_GetReply(message); }
const char *message_header(message *message, const char *name) {
  const char *value = NULL;
  return natsMsgHeader_Get(message, name, &value) == NATS_OK ? value : NULL;
}
void message_free(message *message) { natsMsg_Destroy(message); }

/* ------------------------------------------------------------------------------------- requests */
void connect_subject(const char *what, char room[CONNECT_SUBJECT]) {
  if (option.domain)
    snprintf(room, SUBJECT_ROOM, "$JS.%s.API.%s", option.domain, what);
  else
    snprintf(room, SUBJECT_ROOM, "$JS.API.%s", what);
}

static stream_rc not_believed(connection *connection, const char *what) {
  return stream_fail(STREAM_WRONG, "%s: what it answers to %s cannot be believed",
                     connection->server.url, what);
}

stream_rc connect_look_at(connection *connection, const char *what, message *answer) {
  maph_slice text = message_data(answer), error;
  char description[256];
  uint64_t code;
  json_reader in;
  if (!json_whole(text, &in)) return not_believed(connection, what);
  if (!answer_find(text, "error", &error)) return STREAM_OK;
  if (!answer_number(error, "err_code", UINT_MAX, 0, &code)
      || !answer_text(error, "description", description, sizeof description))
    return not_believed(connection, what);
  return connect_refused((unsigned)code, what, description);
}

/* nats.c keeps the beginning of the sentence, which ends with the subject. */
bool connect_was_denied(connection *connection, const char *subject) {
  char begins[128];
  const char *said = NULL;
  natsConnection_GetLastError(connection->nats, &said);
  snprintf(begins, sizeof begins, "\"%s", subject);
  return said && strcasestr(said, "permissions violation") && strstr(said, begins);
}

static stream_rc request(connection *connection, const char *what, natsMsg *question,
                         int timeout_ms, message **answer) {
  natsMsg *came = NULL;
  natsStatus status = natsConnection_RequestMsg(&came, connection->nats, question, timeout_ms);
  stream_rc rc = status == NATS_OK ? connect_look_at(connection, what, came)
                                   : connect_failed(status, what, connection->server.url);
  if (rc == STREAM_TIMEOUT && connect_was_denied(connection, natsMsg_GetSubject(question)))
    rc = stream_fail(STREAM_DENIED, "%s: %s: no permission", connection->server.url, what);
  if (rc == STREAM_OK)
    *answer = came;
  else
    natsMsg_Destroy(came);
  return rc;
}

stream_rc stream_ask(connection *connection, const char *what, maph_slice json, int timeout_ms,
                     message **answer) {
  char subject[SUBJECT_ROOM];
  natsMsg *question = NULL;
  natsStatus status;
  stream_rc rc;
  *answer = NULL;
  connect_subject(what, subject);
  status = natsMsg_Create(&question, subject, NULL, json.data, (int)json.size);
  if (status != NATS_OK) return connect_failed(status, what, connection->server.url);
  rc = request(connection, what, question, timeout_ms, answer);
  natsMsg_Destroy(question);
  return rc;
}

/* ------------------------------------------------------------------------------------ questions */
/* What changes nothing is asked again where no answer comes: servers that have no leader just then
** never answer, and the one that was to answer may have been killed.  It is asked under the same
** subject for the answer, so that a server that is merely slow is heard too. */
enum { AGAIN_MS = 1000, AGAIN_MOST_MS = 2000, ANSWER_MS = 15000 };

static stream_rc listen_for_answers(connection *connection) {
  char all[300];
  natsStatus status;
  if (connection->answers) return STREAM_OK;
  connect_inbox(connection->inbox);
  snprintf(all, sizeof all, "%s.*", connection->inbox);
  status = natsConnection_SubscribeSync(&connection->answers, connection->nats, all);
  if (status == NATS_OK) status = natsSubscription_SetPendingLimits(connection->answers, -1, -1);
  return connect_failed(status, "subscribe", connection->server.url);
}

/* Many questions, all on their way at once, and which of them were answered. */
typedef struct questions {
  connection *connection;
  const char *what, *subject; /* of the API */
  size_t count, missing;
  unsigned long long first; /* the number of the first one */
  bool *answered;
  int silence_ms; /* so long without any answer is too long */
  stream_rc (*write)(void *arg, size_t which, char room[SUBJECT_ROOM], maph_slice *question);
  stream_rc (*take)(void *arg, size_t which, message **answer);
  void *arg;
} questions;

static stream_rc put_question(const questions *of, size_t which) {
  char room[SUBJECT_ROOM], reply[300];
  maph_slice question;
  natsStatus status;
  stream_rc rc = of->write(of->arg, which, room, &question);
  if (rc != STREAM_OK) return rc;
  snprintf(reply, sizeof reply, "%s.%llu", of->connection->inbox, of->first + which);
  status = natsConnection_PublishRequest(of->connection->nats, of->subject, reply, question.data,
                                         (int)question.size);
  return connect_failed(status, of->what, of->connection->server.url);
}

static stream_rc put_questions(const questions *of) {
  stream_rc rc = STREAM_OK;
  for (size_t i = 0; i < of->count && rc == STREAM_OK; i++)
    if (!of->answered[i]) rc = put_question(of, i);
  return rc;
}

static stream_rc take_answer(questions *of, message **answer) {
  const char *number = message_subject(*answer) + strlen(of->connection->inbox) + 1;
  uint64_t which;
  if (!json_whole_number(maph_str(number), UINT64_MAX, &which) || which < of->first
      || which - of->first >= of->count || of->answered[which - of->first])
    return STREAM_OK;
  of->answered[which - of->first] = true;
  of->missing--;
  return of->take(of->arg, (size_t)(which - of->first), answer);
}

/* The answers, in whatever order they come. */
static stream_rc gather(questions *of) {
  unsigned long long heard = ticks_ms();
  int again_ms = AGAIN_MS;
  size_t missing;
  stream_rc rc = STREAM_OK;
  while (of->missing > 0 && rc == STREAM_OK) {
    unsigned long long silent = ticks_ms() - heard;
    int left = silent < (unsigned)of->silence_ms ? of->silence_ms - (int)silent : 1;
    natsMsg *answer = NULL;
    natsStatus status = natsSubscription_NextMsg(&answer, of->connection->answers,
                                                 left < again_ms ? left : again_ms);
    if (status == NATS_TIMEOUT && connect_was_denied(of->connection, of->subject))
      return stream_fail(STREAM_DENIED, "%s: %s: no permission", of->connection->server.url,
                         of->what);
    if (status == NATS_TIMEOUT && left > again_ms) {
      again_ms = AGAIN_MOST_MS;
      rc = put_questions(of);
      continue;
    }
    if (status != NATS_OK) return connect_failed(status, of->what, of->connection->server.url);
    missing = of->missing;
    rc = take_answer(of, &answer);
    natsMsg_Destroy(answer);
    if (of->missing == missing) continue; /* of an earlier question, or for a second time */
    heard = ticks_ms();
    again_ms = AGAIN_MS;
  }
  return rc;
}

static stream_rc ask_all(questions *of) {
  stream_rc rc = listen_for_answers(of->connection);
  of->answered = calloc(of->count + 1, sizeof *of->answered);
  if (of->answered == NULL) return stream_fail(STREAM_MEMORY, "out of memory");
  of->missing = of->count;
  of->first = of->connection->asked + 1;
  of->connection->asked += of->count;
  if (rc == STREAM_OK) rc = put_questions(of);
  if (rc == STREAM_OK) rc = gather(of);
  free(of->answered);
  return rc;
}

/* One question. */
typedef struct asking {
  connection *connection;
  const char *what;
  maph_slice question;
  message **answer;
} asking;

static stream_rc write_one(void *arg, size_t which, char room[SUBJECT_ROOM], maph_slice *question) {
  const asking *asking = arg;
  (void)which;
  (void)room;
  *question = asking->question;
  return STREAM_OK;
}

/* Whoever is asked takes the answer out. */
static stream_rc take_one(void *arg, size_t which, message **answer) {
  asking *asking = arg;
  stream_rc rc = connect_look_at(asking->connection, asking->what, *answer);
  (void)which;
  if (rc != STREAM_OK) return rc;
  *asking->answer = *answer;
  *answer = NULL;
  return STREAM_OK;
}

/* As stream_ask, of what changes nothing: it is asked again where no answer comes. */
static stream_rc ask_patiently(connection *connection, const char *what, maph_slice json,
                               message **answer) {
  char subject[SUBJECT_ROOM];
  asking asking = { connection, what, json, answer };
  questions all = { .connection = connection,
                    .what = what,
                    .subject = subject,
                    .count = 1,
                    .silence_ms = connection->patience_ms,
                    .write = write_one,
                    .take = take_one,
                    .arg = &asking };
  *answer = NULL;
  connect_subject(what, subject);
  return ask_all(&all);
}

/* --------------------------------------------------------------------------------------- bucket */
/* Is there "$KV.BUCKET.>" in it?  A server writes > as \u003e. */
static bool names_bucket(maph_slice subjects, const char *bucket) {
  char wanted[STREAM_NAME + 16], room[6 * STREAM_NAME];
  json_reader in = json_begin(subjects);
  size_t size = (size_t)snprintf(wanted, sizeof wanted, "$KV.%s.>", bucket);
  if (!json_next(&in, '[')) return false;
  do {
    maph_slice one;
    if (!json_string(&in, &one)) return false;
    if (one.size > sizeof room) continue;
    one =
        maph_bytes(room, json_unescape(maph_bytes((const char *)one.data + 1, one.size - 2), room));
    if (one.size == size && memcmp(room, wanted, size) == 0) return true;
  } while (json_next(&in, ','));
  return false;
}

/* Also: of which bucket its subjects are.  A mirror has those of the bucket that it is one of. */
static bool is_of_bucket(maph_slice text, const char *bucket, stream_info *info) {
  maph_slice subjects;
  char stream[STREAM_NAME];
  snprintf(info->origin, sizeof info->origin, "%s", bucket);
  if (answer_text(text, "config.mirror.name", stream, sizeof stream)
      && strncmp(stream, "KV_", 3) == 0) {
    snprintf(info->origin, sizeof info->origin, "%s", stream + 3);
    return true;
  }
  return answer_find(text, "config.subjects", &subjects) && names_bucket(subjects, bucket);
}

static bool read_config(maph_slice text, stream_info *info) {
  char description[4096], storage[16];
  uint64_t replicas;
  if (!answer_number(text, "config.max_age", INT64_MAX, 0, &info->max_age_ns)
      || !answer_number(text, "config.duplicate_window", INT64_MAX, 0, &info->duplicates_ns)
      || !answer_signed(text, "config.max_msgs_per_subject", -1, &info->max_messages)
      || !answer_number(text, "config.num_replicas", 64, 1, &replicas)
      || !answer_text(text, "config.storage", storage, sizeof storage)
      || !answer_text(text, "config.description", description, sizeof description))
    return false;
  info->replicas = replicas ? replicas : 1;
  info->history = info->max_messages > 0 ? (uint64_t)info->max_messages : UINT64_MAX;
  info->memory = strcmp(storage, "memory") == 0;
  info->escaped = strstr(description, "maph keys=escaped") != NULL;
  info->direct = answer_true(text, "config.allow_direct");
  info->markers = answer_true(text, "config.allow_msg_ttl");
  return answer_signed(text, "config.max_msg_size", -1, &info->max_value)
         && answer_signed(text, "config.max_bytes", -1, &info->max_bytes)
         && answer_signed(text, "config.max_msgs", -1, &info->max_messages);
}

static bool read_state(maph_slice text, stream_info *info) {
  return answer_number(text, "state.messages", INT64_MAX, 0, &info->messages)
         && answer_number(text, "state.first_seq", SEQUENCE_MOST + 1, 0, &info->first)
         && answer_number(text, "state.last_seq", SEQUENCE_MOST, 0, &info->last)
         && answer_number(text, "state.num_subjects", INT64_MAX, 0, &info->subjects)
         && answer_text(text, "cluster.leader", info->leader, sizeof info->leader)
         && answer_text(text, "created", info->created, sizeof info->created)
         && info->created[0] != 0;
}

stream_rc stream_look(connection *connection, const char *bucket, stream_info *info) {
  char what[STREAM_NAME + 32];
  message *answer;
  maph_slice text;
  stream_rc rc;
  memset(info, 0, sizeof *info);
  snprintf(what, sizeof what, "STREAM.INFO.KV_%s", bucket);
  rc = ask_patiently(connection, what, maph_bytes("", 0), &answer);
  if (rc == STREAM_NONE) return stream_fail(rc, "%s: no bucket %s", connection->server.url, bucket);
  if (rc != STREAM_OK) return rc;
  text = message_data(answer);
  if (!read_config(text, info) || !read_state(text, info))
    rc = not_believed(connection, what);
  else if (!is_of_bucket(text, bucket, info))
    rc = stream_fail(STREAM_REFUSED, "%s: the stream KV_%s is no key-value bucket",
                     connection->server.url, bucket);
  message_free(answer);
  return rc;
}

/* ------------------------------------------------------------------------------ stored messages */
void stored_free(stored *stored) {
  free(stored->memory);
  memset(stored, 0, sizeof *stored);
}

/* Subject, headers and data of an answer, one behind the other in memory of their own. */
static bool read_stored(maph_slice text, stored *found) {
  char time[64], subject[SUBJECT_ROOM];
  void *headers = NULL, *data = NULL;
  bool ok = answer_number(text, "message.seq", SEQUENCE_MOST, 0, &found->sequence)
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
  rc = ask_patiently(connection, what, question, &answer);
  if (rc != STREAM_OK) return rc;
  if (!read_stored(message_data(answer), found)) {
    stored_free(found);
    rc = not_believed(connection, what);
  }
  message_free(answer);
  return rc;
}

static maph_slice sequence_question(uint64_t sequence, char room[SUBJECT_ROOM]) {
  return maph_bytes(
      room, (size_t)snprintf(room, SUBJECT_ROOM, "{\"seq\":%llu}", (unsigned long long)sequence));
}

stream_rc stream_get(connection *connection, const char *bucket, uint64_t sequence, stored *found) {
  char room[SUBJECT_ROOM];
  return get(connection, bucket, sequence_question(sequence, room), found);
}

typedef struct text {
  char *bytes;
  size_t size, room;
} text;
static bool take_text(void *to, const void *bytes, size_t size) {
  text *text = to;
  if (size > text->room - text->size) return false;
  memcpy(text->bytes + text->size, bytes, size);
  text->size += size;
  return true;
}

static stream_rc last_question(const char *subject, char room[SUBJECT_ROOM], maph_slice *question) {
  text written = { .bytes = room, .room = SUBJECT_ROOM };
  json_writer out;
  json_write_begin(&out, take_text, &written);
  json_write_text(&out, "{\"last_by_subj\":");
  json_write_string(&out, maph_str(subject));
  json_write_text(&out, "}");
  if (!json_write_end(&out)) return stream_fail(STREAM_TOO_BIG, "the key is too long for NATS");
  *question = maph_bytes(room, written.size);
  return STREAM_OK;
}

stream_rc stream_get_last(connection *connection, const char *bucket, const char *subject,
                          stored *found) {
  char room[SUBJECT_ROOM];
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
  if (status) return stream_fail(STREAM_LOST, "%s: status %.40s", connection->server.url, status);
  if (direct && number) {
    if (json_whole_number(maph_str(number), SEQUENCE_MOST, found) && *found > 0) return STREAM_OK;
    return not_believed(connection, "DIRECT.GET");
  }
  rc = connect_look_at(connection, "STREAM.MSG.GET", message);
  if (rc == STREAM_NONE) return STREAM_OK;
  if (rc != STREAM_OK) return rc;
  if (!answer_number(message_data(message), "message.seq", SEQUENCE_MOST, 0, found) || *found == 0)
    return not_believed(connection, "STREAM.MSG.GET");
  return STREAM_OK;
}

typedef struct asking_next {
  connection *connection;
  bool direct;
  const uint64_t *from;
  uint64_t *found;
} asking_next;

static stream_rc write_next(void *arg, size_t which, char room[SUBJECT_ROOM],
                            maph_slice *question) {
  const asking_next *asking = arg;
  int size = snprintf(room, SUBJECT_ROOM, "{\"seq\":%llu,\"next_by_subj\":\">\"}",
                      (unsigned long long)asking->from[which]);
  *question = maph_bytes(room, (size_t)size);
  return STREAM_OK;
}

static stream_rc take_next(void *arg, size_t which, message **answer) {
  const asking_next *asking = arg;
  return understand_next(asking->connection, *answer, asking->direct, &asking->found[which]);
}

stream_rc stream_next_of(connection *connection, const char *bucket, bool direct, size_t n,
                         const uint64_t *from, uint64_t *found) {
  char what[STREAM_NAME + 32], subject[SUBJECT_ROOM];
  stream_rc rc = STREAM_OK;
  snprintf(what, sizeof what, "%s.KV_%s", direct ? "DIRECT.GET" : "STREAM.MSG.GET", bucket);
  connect_subject(what, subject);
  for (size_t done = 0; done < n && rc == STREAM_OK;) {
    size_t now = n - done < QUESTIONS_AT_ONCE ? n - done : QUESTIONS_AT_ONCE;
    asking_next asking = { connection, direct, from + done, found + done };
    questions all = { .connection = connection,
                      .what = what,
                      .subject = subject,
                      .count = now,
                      .silence_ms = ANSWER_MS,
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
  const stream_question *questions;
  stored_fn each;
  void *arg;
} asking_each;

static stream_rc write_each(void *arg, size_t which, char room[SUBJECT_ROOM],
                            maph_slice *question) {
  const stream_question *one = &((const asking_each *)arg)->questions[which];
  if (one->subject) return last_question(one->subject, room, question);
  *question = sequence_question(one->sequence, room);
  return STREAM_OK;
}

static stream_rc take_each(void *arg, size_t which, message **answer) {
  asking_each *asking = arg;
  stored found = { 0 };
  stream_rc rc = connect_look_at(asking->connection, "STREAM.MSG.GET", *answer);
  if (rc == STREAM_OK && !read_stored(message_data(*answer), &found))
    rc = not_believed(asking->connection, "STREAM.MSG.GET");
  if (rc == STREAM_OK) asking->each(asking->arg, which, &found);
  if (rc == STREAM_NONE) {
    asking->each(asking->arg, which, NULL);
    rc = STREAM_OK;
  }
  stored_free(&found);
  return rc;
}

stream_rc stream_get_each(connection *connection, const char *bucket, size_t n,
                          const stream_question *list, stored_fn each, void *arg) {
  char what[STREAM_NAME + 32], api[SUBJECT_ROOM];
  asking_each asking = { connection, list, each, arg };
  questions all = { .connection = connection,
                    .what = what,
                    .subject = api,
                    .count = n,
                    .silence_ms = ANSWER_MS,
                    .write = write_each,
                    .take = take_each,
                    .arg = &asking };
  snprintf(what, sizeof what, "STREAM.MSG.GET.KV_%s", bucket);
  connect_subject(what, api);
  return ask_all(&all);
}

/* -------------------------------------------------------------------------------------- publish */
static size_t header_bytes(const stream_header *headers, int count) {
  size_t size = count ? 14 : 0;
  for (int i = 0; i < count; i++) size += strlen(headers[i].name) + strlen(headers[i].value) + 4;
  return size;
}

stream_rc stream_publish(connection *connection, const char *subject, const stream_header *headers,
                         int headers_count, maph_slice data, int timeout_ms, uint64_t *sequence,
                         bool *duplicate) {
  char room[SUBJECT_ROOM]; /* behind a leaf node: the subject in the domain */
  message *answer = NULL;
  natsMsg *msg = NULL;
  natsStatus status;
  stream_rc rc;
  *sequence = 0;
  if (data.size > connection->server.max_payload
      || data.size + header_bytes(headers, headers_count) > connection->server.max_payload)
    return stream_fail(STREAM_TOO_BIG,
                       "the value has %zu bytes, and the server takes %llu: raise its max_payload, "
                       "or keep it elsewhere and a reference here",
                       data.size, (unsigned long long)connection->server.max_payload);
  if (option.domain) connect_subject(subject, room);
  status = natsMsg_Create(&msg, option.domain ? room : subject, NULL, data.data, (int)data.size);
  for (int i = 0; i < headers_count && status == NATS_OK; i++)
    status = natsMsgHeader_Set(msg, headers[i].name, headers[i].value);
  rc = connect_failed(status, "publish", connection->server.url);
  if (rc == STREAM_OK) rc = request(connection, "publish", msg, timeout_ms, &answer);
  natsMsg_Destroy(msg);
  if (rc != STREAM_OK) return rc;
  if (!answer_number(message_data(answer), "seq", SEQUENCE_MOST, 0, sequence) || *sequence == 0)
    rc = not_believed(connection, "publish");
  if (duplicate) *duplicate = answer_true(message_data(answer), "duplicate");
  message_free(answer);
  return rc;
}

/* ------------------------------------------------------------------------------------- consumer */
struct consumer {
  connection *connection;
  consumer *next; /* of that connection */
  char inbox[256], name[64];
  natsSubscription *subscription;
  char bucket[STREAM_NAME], prefix[STREAM_NAME + 8];
  size_t prefix_size;
};

/* What is to be created: without a filter for a whole bucket, and never from the last of each key,
** both of which nats-server looks through all keys for. */
static bool consumer_question(text *to, const char *bucket, const char *origin, const char *filter,
                              uint64_t from, const char *inbox, const char *description) {
  json_writer out;
  json_write_begin(&out, take_text, to);
  json_write_text(&out, "{\"stream_name\":\"KV_");
  json_write_escaped(&out, maph_str(bucket));
  json_write_text(&out, "\",\"config\":{\"description\":");
  json_write_string(&out, maph_str(description));
  json_write_text(&out, ",\"deliver_subject\":");
  json_write_string(&out, maph_str(inbox));
  json_write_text(&out, ",\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":");
  json_write_number(&out, from);
  if (filter) {
    json_write_text(&out, ",\"filter_subject\":\"$KV.");
    json_write_escaped(&out, maph_str(origin));
    json_write_text(&out, ".");
    json_write_escaped(&out, maph_str(filter));
    json_write_text(&out, "\"");
  }
  json_write_text(&out, ",\"ack_policy\":\"none\",\"replay_policy\":\"instant\","
                        "\"flow_control\":true,\"idle_heartbeat\":2000000000,"
                        "\"inactive_threshold\":10000000000,\"mem_storage\":true,"
                        "\"num_replicas\":1}}");
  return json_write_end(&out);
}

/* Each time under a subject of its own: what an earlier one may have made delivers to nobody, and
** ends by itself. */
static stream_rc create_consumer(consumer *consumer, const char *bucket, const char *origin,
                                 const char *filter, uint64_t from, const char *description,
                                 int timeout_ms) {
  char room[SUBJECT_ROOM], what[STREAM_NAME + 32];
  text question = { .bytes = room, .room = sizeof room };
  message *answer;
  natsStatus status;
  stream_rc rc;
  connect_inbox(consumer->inbox);
  if (!consumer_question(&question, bucket, origin, filter, from, consumer->inbox, description))
    return stream_fail(STREAM_TOO_BIG, "--filter: too long for NATS");
  status = natsConnection_SubscribeSync(&consumer->subscription, consumer->connection->nats,
                                        consumer->inbox);
  if (status == NATS_OK) status = natsSubscription_SetPendingLimits(consumer->subscription, -1, -1);
  if (status != NATS_OK)
    return connect_failed(status, "subscribe", consumer->connection->server.url);
  snprintf(what, sizeof what, "CONSUMER.CREATE.KV_%s", bucket);
  rc = stream_ask(consumer->connection, what, maph_bytes(room, question.size), timeout_ms, &answer);
  if (rc != STREAM_OK) return rc;
  if (!answer_text(message_data(answer), "name", consumer->name, sizeof consumer->name))
    rc = not_believed(consumer->connection, what);
  message_free(answer);
  return rc;
}

static consumer *begin_consumer(connection *connection, const char *bucket, const char *origin) {
  consumer *consumer = calloc(1, sizeof *consumer);
  if (consumer == NULL) return NULL;
  consumer->connection = connection;
  consumer->next = connection->consumers;
  connection->consumers = consumer;
  snprintf(consumer->bucket, sizeof consumer->bucket, "%s", bucket);
  consumer->prefix_size =
      (size_t)snprintf(consumer->prefix, sizeof consumer->prefix, "$KV.%s.", origin);
  return consumer;
}

/* One without a filter is made at once, or never: a leader of the cluster is not there yet, or
** chose a server for it that was just killed.  Looking through all keys for a filter takes long,
** and goes on where nobody waits any more: that is asked for once. */
stream_rc consumer_open(connection *connection, const char *bucket, const char *origin,
                        const char *filter, uint64_t from, const char *description,
                        consumer **made) {
  static const int soon_ms[] = { 1000, 1000, 1000, 2000, 2000, 2000, 3000, 3000 };
  int patience_ms = filter ? STREAM_PATIENCE_MS : connection->patience_ms;
  size_t tries = filter ? 0 : sizeof soon_ms / sizeof soon_ms[0];
  stream_rc rc = STREAM_TIMEOUT;
  for (size_t i = 0; i <= tries && rc == STREAM_TIMEOUT; i++) {
    int timeout_ms = i < tries && soon_ms[i] < patience_ms ? soon_ms[i] : patience_ms;
    if ((*made = begin_consumer(connection, bucket, origin)) == NULL)
      return stream_fail(STREAM_MEMORY, "out of memory");
    rc = create_consumer(*made, bucket, origin, filter, from, description, timeout_ms);
    if (rc == STREAM_TIMEOUT) natsSubscription_Unsubscribe((*made)->subscription);
  }
  return rc;
}

/* The server forgets it 10 s after nobody listens any more; told, at once. */
void consumer_close(consumer *consumer) {
  char what[STREAM_NAME + 128], subject[SUBJECT_ROOM];
  if (consumer == NULL || consumer->name[0] == 0) return;
  snprintf(what, sizeof what, "CONSUMER.DELETE.KV_%s.%s", consumer->bucket, consumer->name);
  connect_subject(what, subject);
  natsConnection_PublishString(consumer->connection->nats, subject, "");
  natsSubscription_Unsubscribe(consumer->subscription);
  consumer->name[0] = 0;
}

void connect_free_consumers(connection *connection) {
  while (connection->consumers) {
    consumer *next = connection->consumers->next;
    natsSubscription_Destroy(connection->consumers->subscription);
    free(connection->consumers);
    connection->consumers = next;
  }
}

/* $JS.ACK.STREAM.CONSUMER.TRIES.SEQUENCE.DELIVERED.TIME.PENDING, with DOMAIN.ACCOUNT before STREAM
** and perhaps more behind it from later servers. */
static bool read_place(const char *reply, delivery *delivery) {
  const char *token[13];
  size_t size[13];
  int count = 0, at;
  while (count < 13) {
    token[count] = reply;
    size[count] = strcspn(reply, ".");
    reply += size[count++];
    if (*reply++ == 0) break;
  }
  if (count != 9 && count != 11 && count != 12) return false;
  at = count == 9 ? 5 : 7;
  return json_whole_number(maph_bytes(token[at], size[at]), SEQUENCE_MOST, &delivery->sequence)
         && json_whole_number(maph_bytes(token[at + 1], size[at + 1]), INT64_MAX,
                              &delivery->delivered)
         && json_whole_number(maph_bytes(token[at + 2], size[at + 2]), INT64_MAX,
                              &delivery->time_ns)
         && json_whole_number(maph_bytes(token[at + 3], size[at + 3]), INT64_MAX, &delivery->behind)
         && delivery->sequence > 0 && delivery->delivered > 0;
}

static event wrong(consumer *consumer, natsMsg *msg, const char *what) {
  stream_fail(STREAM_WRONG, "%s: it sent %s: %.200s", consumer->connection->server.url, what,
              message_reply(msg) ? message_reply(msg) : "");
  return EVENT_WRONG;
}

static bool header_number(natsMsg *msg, const char *name, uint64_t *number) {
  const char *value = message_header(msg, name);
  return value && json_whole_number(maph_str(value), SEQUENCE_MOST, number);
}

/* A message with a status is of the consumer, not of the bucket. */
static event control(consumer *consumer, natsMsg *msg, const char *status, delivery *delivery) {
  const char *reply = message_reply(msg), *stalled;
  if (strcmp(status, "100") != 0) {
    stream_fail(STREAM_LOST, "%s: the consumer ends: status %.40s",
                consumer->connection->server.url, status);
    return EVENT_LOST;
  }
  if (reply && strncmp(reply, "$JS.FC.", 7) == 0 && strlen(reply) < sizeof delivery->reply) {
    strcpy(delivery->reply, reply);
    return EVENT_FLOW;
  }
  if (!header_number(msg, "Nats-Last-Consumer", &delivery->delivered)
      || !header_number(msg, "Nats-Last-Stream", &delivery->sequence))
    return wrong(consumer, msg, "a heartbeat without its numbers");
  stalled = message_header(msg, "Nats-Consumer-Stalled");
  if (stalled && strncmp(stalled, "$JS.FC.", 7) == 0 && strlen(stalled) < sizeof delivery->reply)
    strcpy(delivery->reply, stalled);
  return EVENT_HEARTBEAT;
}

static event take(consumer *consumer, natsMsg *msg, delivery *delivery) {
  const char *reply = message_reply(msg), *subject = message_subject(msg), *status;
  if (reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0) {
    status = message_header(msg, "Status");
    return status ? control(consumer, msg, status, delivery)
                  : wrong(consumer, msg, "a message that is not of the bucket");
  }
  if (!read_place(reply, delivery)) return wrong(consumer, msg, "a message without its place");
  if (strncmp(subject, consumer->prefix, consumer->prefix_size) != 0)
    return wrong(consumer, msg, "a message under another subject");
  delivery->message = msg;
  delivery->key = maph_str(subject + consumer->prefix_size);
  return EVENT_MESSAGE;
}

event consumer_next(consumer *consumer, int timeout_ms, delivery *taken) {
  natsMsg *msg = NULL;
  natsStatus status;
  event event;
  memset(taken, 0, offsetof(delivery, reply) + 1);
  status = natsSubscription_NextMsg(&msg, consumer->subscription, timeout_ms);
  if (status == NATS_TIMEOUT) return EVENT_NOTHING;
  if (status != NATS_OK) {
    connect_failed(status, "reading", consumer->connection->server.url);
    return EVENT_LOST;
  }
  event = take(consumer, msg, taken);
  if (event != EVENT_MESSAGE) natsMsg_Destroy(msg);
  return event;
}

stream_rc consumer_answer(consumer *consumer, const char *reply) {
  natsStatus status = natsConnection_PublishString(consumer->connection->nats, reply, "");
  return connect_failed(status, "answering", consumer->connection->server.url);
}
