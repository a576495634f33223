/*
** consumer.c - what a replica reads a bucket by (consumer.h).
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "entry/json.h"
#include "nats/answer.h"
#include "nats/ask.h"
#include "nats/connect.h"
#include "nats/consumer.h"

enum { FILTER_AGAIN_MS = 4000 };

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
static bool consumer_question(ask_text *to, const char *bucket, const char *origin,
                              const char *filter, uint64_t from, const char *inbox,
                              const char *description) {
  json_writer out;
  json_write_begin(&out, ask_write, to);
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

static consumer *begin_consumer(connection *connection, const char *bucket, const char *origin) {
  consumer *consumer = calloc(1, sizeof *consumer);
  if (consumer == NULL) return NULL;
  consumer->connection = connection;
  consumer->next = connection->consumers;
  connection->consumers = consumer;
  connect_inbox(consumer->inbox);
  snprintf(consumer->bucket, sizeof consumer->bucket, "%s", bucket);
  consumer->prefix_size =
      (size_t)snprintf(consumer->prefix, sizeof consumer->prefix, "$KV.%s.", origin);
  return consumer;
}

static stream_rc listen(consumer *consumer) {
  natsStatus status = natsConnection_SubscribeSync(&consumer->subscription,
                                                   consumer->connection->nats, consumer->inbox);
  if (status == NATS_OK) status = natsSubscription_SetPendingLimits(consumer->subscription, -1, -1);
  return connect_failed(status, "subscribe", consumer->connection->server.url);
}

/* A consumer that is asked for, each time under a subject of its own: the answer says which it is.
** What is made besides delivers to nobody, and ends by itself. */
typedef struct creating {
  connection *connection;
  const char *what, *bucket, *origin, *filter, *description;
  uint64_t from;
  consumer *before; /* of the connection, before the first of these */
  consumer *made;
} creating;

static stream_rc write_create(void *arg, size_t which, char room[ASK_SUBJECT],
                              maph_slice *question) {
  const creating *creating = arg;
  consumer *one = begin_consumer(creating->connection, creating->bucket, creating->origin);
  ask_text text = { .bytes = room, .room = ASK_SUBJECT };
  (void)which;
  if (one == NULL) return stream_fail(STREAM_MEMORY, "out of memory");
  if (!consumer_question(&text, creating->bucket, creating->origin, creating->filter,
                         creating->from, one->inbox, creating->description))
    return stream_fail(STREAM_TOO_BIG, "--filter: too long for NATS");
  *question = maph_bytes(room, text.size);
  return listen(one);
}

static stream_rc take_created(void *arg, size_t which, message **answer) {
  creating *creating = arg;
  maph_slice text = message_data(*answer);
  char inbox[256];
  stream_rc rc = ask_look_at(creating->connection, creating->what, *answer);
  (void)which;
  if (rc != STREAM_OK) return rc;
  if (!answer_text(text, "config.deliver_subject", inbox, sizeof inbox))
    return ask_not_believed(creating->connection, creating->what);
  for (consumer *one = creating->connection->consumers; one != creating->before; one = one->next)
    if (strcmp(one->inbox, inbox) == 0) creating->made = one;
  if (creating->made == NULL
      || !answer_text(text, "name", creating->made->name, sizeof creating->made->name))
    return ask_not_believed(creating->connection, creating->what);
  return STREAM_OK;
}

/* One without a filter is made at once, or never: a leader of the cluster is not there yet, or
** chose a server for it that was just killed.  Looking through all keys for a filter takes long,
** and goes on where nobody waits any more: that is not asked for often. */
stream_rc consumer_open(connection *connection, const char *bucket, const char *origin,
                        const char *filter, uint64_t from, const char *description,
                        consumer **made) {
  char what[STREAM_NAME + 32];
  creating creating = { .connection = connection,
                        .what = what,
                        .bucket = bucket,
                        .origin = origin,
                        .filter = filter,
                        .description = description,
                        .from = from,
                        .before = connection->consumers };
  questions all = { .connection = connection,
                    .what = what,
                    .count = 1,
                    .silence_ms = filter ? STREAM_PATIENCE_MS : connection->patience_ms,
                    .again_ms = filter ? FILTER_AGAIN_MS : 0,
                    .again_most_ms = filter ? STREAM_PATIENCE_MS : 0,
                    .write = write_create,
                    .take = take_created,
                    .arg = &creating };
  stream_rc rc;
  snprintf(what, sizeof what, "CONSUMER.CREATE.KV_%s", bucket);
  rc = ask_all(&all);
  for (consumer *one = connection->consumers; one != creating.before; one = one->next)
    if (one != creating.made && one->subscription) natsSubscription_Unsubscribe(one->subscription);
  *made = creating.made;
  return rc;
}

/* The server forgets it 10 s after nobody listens any more; told, at once. */
void consumer_close(consumer *consumer) {
  char what[STREAM_NAME + 128], subject[ASK_SUBJECT];
  if (consumer == NULL || consumer->name[0] == 0) return;
  snprintf(what, sizeof what, "CONSUMER.DELETE.KV_%s.%s", consumer->bucket, consumer->name);
  ask_subject(what, subject);
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
  return json_whole_number(maph_bytes(token[at], size[at]), STREAM_SEQUENCE_MOST,
                           &delivery->sequence)
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
  return value && json_whole_number(maph_str(value), STREAM_SEQUENCE_MOST, number);
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
  /* One that wants no answer is of a server that has nothing more. */
  delivery->behind = delivery->reply[0] ? UINT64_MAX : 0;
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
  if (strncmp(subject, consumer->prefix, consumer->prefix_size) != 0) {
    snprintf(delivery->reply, sizeof delivery->reply, "%.200s", subject);
    return EVENT_FOREIGN;
  }
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
