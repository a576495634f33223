/*
** stream.c - a bucket's stream: what it is like, and messages to it (stream.h).
*/
#include <stdio.h>
#include <string.h>
#include "entry/json.h"
#include "nats/answer.h"
#include "nats/ask.h"
#include "nats/connect.h"
#include "nats/keys.h"
#include "nats/option.h"

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

/* The bucket of $KV.BUCKET.KEY. */
static bool bucket_of(const char *subject, char bucket[STREAM_NAME]) {
  const char *name = subject + strlen("$KV."), *end;
  if (strncmp(subject, "$KV.", strlen("$KV.")) != 0 || (end = strchr(name, '.')) == NULL)
    return false;
  if (!keys_bucket_valid(maph_bytes(name, (size_t)(end - name)))) return false;
  snprintf(bucket, STREAM_NAME, "%.*s", (int)(end - name), name);
  return true;
}

/* A mirror has the subjects of what it mirrors, which may be a mirror too, or as a transform makes
** them: its first message tells.  An empty one has those of the stream that it names. */
static stream_rc look_at_mirror(connection *connection, const char *bucket, const char *mirrored,
                                stream_info *info) {
  char what[STREAM_NAME + 32], question[64], subject[ASK_SUBJECT];
  message *first = NULL;
  stream_rc rc = STREAM_NONE;
  snprintf(info->origin, sizeof info->origin, "%s",
           strncmp(mirrored, "KV_", 3) == 0 ? mirrored + 3 : "");
  snprintf(what, sizeof what, "STREAM.MSG.GET.KV_%s", bucket);
  snprintf(question, sizeof question, "{\"seq\":%llu}", (unsigned long long)info->first);
  if (info->messages) rc = ask_again(connection, what, maph_str(question), &first);
  if (rc != STREAM_OK && rc != STREAM_NONE) return rc;
  if (rc == STREAM_OK
      && answer_text(message_data(first), "message.subject", subject, sizeof subject))
    bucket_of(subject, info->origin);
  message_free(first);
  return STREAM_OK;
}

/* Also: of which bucket its subjects are. */
static stream_rc look_at_subjects(connection *connection, const char *bucket, maph_slice text,
                                  stream_info *info) {
  maph_slice subjects;
  char mirrored[STREAM_NAME];
  stream_rc rc = STREAM_OK;
  snprintf(info->origin, sizeof info->origin, "%s", bucket);
  if (answer_text(text, "config.mirror.name", mirrored, sizeof mirrored) && mirrored[0])
    rc = look_at_mirror(connection, bucket, mirrored, info);
  else if (!answer_find(text, "config.subjects", &subjects) || !names_bucket(subjects, bucket))
    info->origin[0] = 0;
  if (rc == STREAM_OK && info->origin[0] == 0)
    rc = stream_fail(STREAM_REFUSED, "%s: the stream KV_%s is no key-value bucket",
                     connection->server.url, bucket);
  return rc;
}

/* What makes it another thing than a bucket that one writes to and deletes from. */
static bool read_manners(maph_slice text, stream_info *info) {
  char discard[16];
  maph_slice other;
  info->mixes = answer_find(text, "config.sources", &other)
                || answer_find(text, "config.subject_transform", &other);
  if (!answer_text(text, "config.discard", discard, sizeof discard)) return false;
  info->drops = strcmp(discard, "old") == 0 && (info->max_bytes > 0 || info->max_messages > 0);
  return true;
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
         && answer_signed(text, "config.max_msgs", -1, &info->max_messages)
         && read_manners(text, info);
}

static bool read_state(maph_slice text, stream_info *info) {
  return answer_number(text, "state.messages", INT64_MAX, 0, &info->messages)
         && answer_number(text, "state.first_seq", STREAM_SEQUENCE_MOST + 1, 0, &info->first)
         && answer_number(text, "state.last_seq", STREAM_SEQUENCE_MOST, 0, &info->last)
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
  rc = ask_again(connection, what, maph_bytes("", 0), &answer);
  if (rc == STREAM_NONE) return stream_fail(rc, "%s: no bucket %s", connection->server.url, bucket);
  if (rc != STREAM_OK) return rc;
  text = message_data(answer);
  if (!read_config(text, info) || !read_state(text, info))
    rc = ask_not_believed(connection, what);
  else
    rc = look_at_subjects(connection, bucket, text, info);
  message_free(answer);
  return rc;
}

/* What a source brings under its own subject is a key of the bucket for no client of NATS, and
** stays. */
stream_rc stream_foreign(const char *bucket, const stream_info *info, const char *subject) {
  if (!info->mixes)
    return stream_fail(STREAM_WRONG,
                       "bucket %.100s: a message under another subject was sent: "
                       "%.200s",
                       bucket, subject);
  return stream_fail(STREAM_MISUSE,
                     "bucket %.64s takes messages from a source that are no keys of it, such as "
                     "%.100s: give its source a subject transform to $KV.%.64s.> (nats-server "
                     "2.10), or follow the source",
                     bucket, subject, bucket);
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
  char room[ASK_SUBJECT]; /* behind a leaf node: the subject in the domain */
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
  if (option.domain) ask_subject(subject, room);
  status = natsMsg_Create(&msg, option.domain ? room : subject, NULL, data.data, (int)data.size);
  for (int i = 0; i < headers_count && status == NATS_OK; i++)
    status = natsMsgHeader_Set(msg, headers[i].name, headers[i].value);
  rc = connect_failed(status, "publish", connection->server.url);
  if (rc == STREAM_OK) rc = ask_once(connection, "publish", msg, timeout_ms, &answer);
  natsMsg_Destroy(msg);
  if (rc != STREAM_OK) return rc;
  if (!answer_number(message_data(answer), "seq", STREAM_SEQUENCE_MOST, 0, sequence)
      || *sequence == 0)
    rc = ask_not_believed(connection, "publish");
  if (duplicate) *duplicate = answer_true(message_data(answer), "duplicate");
  message_free(answer);
  return rc;
}
