/*
** speak.c - NATS's protocol on one connection, and as much of JetStream's requests as a reader of a
** bucket needs (fake.h).
*/
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fake.h"

enum { LINE_ROOM = 16384, NAMES = 32 };
connection the_connections[CONNECTIONS];
int the_connection_count;

/* ------------------------------------------------------------------------------------- requests */
static struct {
  char name[64];
  int count;
} requests[NAMES];

static int count_request(const char *name) {
  for (int i = 0; i < NAMES; i++) {
    if (requests[i].name[0] && strcmp(requests[i].name, name) != 0) continue;
    snprintf(requests[i].name, sizeof requests[i].name, "%s", name);
    return ++requests[i].count;
  }
  return 0;
}
void speak_counts(bytes *to) {
  for (int i = 0; i < NAMES && requests[i].name[0]; i++)
    bytes_print(to, " %s=%d", requests[i].name, requests[i].count);
}

/* A member of flat JSON, as its text; false: it has none. */
static bool member(const char *json, const char *name, char *value, size_t room) {
  char pattern[64];
  const char *at;
  size_t size;
  snprintf(pattern, sizeof pattern, "\"%s\":", name);
  at = strstr(json, pattern);
  if (at == NULL) return false;
  at += strlen(pattern);
  at += strspn(at, " \"");
  size = strcspn(at, ",\"}");
  if (size >= room) return false;
  memcpy(value, at, size);
  value[size] = 0;
  return true;
}

/* -------------------------------------------------------------------------------------- sending */
static bool suits(const char *pattern, const char *subject) {
  size_t size = strlen(pattern);
  if (size > 0 && (pattern[size - 1] == '*' || pattern[size - 1] == '>'))
    return strncmp(pattern, subject, size - 1) == 0;
  return strcmp(pattern, subject) == 0;
}

static const char *id_of(const connection *c, const char *subject) {
  for (int i = 0; i < c->subscription_count; i++)
    if (suits(c->subscriptions[i].subject, subject)) return c->subscriptions[i].id;
  return NULL;
}

/* A message whose sizes are not its own; nothing behind it can be understood.  Over the largest
** libnats 3.4.1 itself reads from wild addresses, which ends the process: child.h. */
static void misframe(connection *c, const char *subject, const char *id, const bytes *headers,
                     const bytes *data) {
  static const char *const sizes[] = {
    "0 0", "5 2", "-1 -1", "12 x", "", "16 17 18 19", "2147483647", "2147483646 2147483647"
  };
  bytes_print(&c->out, "%s %s %s %s\r\n", wild_below(2) ? "HMSG" : "MSG", subject, id,
              sizes[wild_below(sizeof sizes / sizeof sizes[0])]);
  bytes_add(&c->out, headers->data, headers->size);
  bytes_add(&c->out, data->data, data->size ? wild_below(data->size) : 0);
  c->ended = true;
}

/* Sizes that were ordered. */
static void say_sizes(connection *c, const char *subject, const char *id, const bytes *data) {
  char *comma = strchr(the_trouble.sizes, ',');
  int headers = comma ? (int)(comma - the_trouble.sizes) : 0;
  bytes_print(&c->out, "%s %s %s %.*s %s\r\n", comma ? "HMSG" : "MSG", subject, id, headers,
              the_trouble.sizes, comma ? comma + 1 : the_trouble.sizes);
  bytes_add(&c->out, data->data, data->size);
}

void speak_message(connection *c, const char *subject, const char *inbox, const char *reply,
                   const bytes *headers, const bytes *data) {
  const char *id = id_of(c, inbox), *blank = reply && *reply ? " " : "";
  if (id == NULL) return;
  if (the_trouble.wild && wild_below(2000) < the_trouble.percent) {
    misframe(c, subject, id, headers, data);
    return;
  }
  if (the_trouble.sizes[0]) {
    say_sizes(c, subject, id, data);
    return;
  }
  if (headers->size == 0)
    bytes_print(&c->out, "MSG %s %s %s%s%zu\r\n", subject, id, reply ? reply : "", blank,
                data->size);
  else
    bytes_print(&c->out, "HMSG %s %s %s%s%zu %zu\r\n", subject, id, reply ? reply : "", blank,
                headers->size, headers->size + data->size);
  bytes_add(&c->out, headers->data, headers->size);
  bytes_add(&c->out, data->data, data->size);
  bytes_add(&c->out, "\r\n", 2);
}

/* In the place of the number or the string that begins there: what a careless reader takes. */
static void exchange_token(bytes *text, size_t at) {
  static const char *const tokens[] = { "-1",
                                        "0",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "281474976710655",
                                        "281474976710656",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "1e400",
                                        "0x10",
                                        "00",
                                        "\"\"",
                                        "\"\\u0000\"",
                                        "\"\\ud800\"",
                                        "\"====\"",
                                        "null",
                                        "[]",
                                        "{}",
                                        "true",
                                        "\"9999-99-99T99:99:99.999999999999Z\"",
                                        "\"1969-12-31T23:59:59Z\"" };
  const char *token = tokens[wild_below(sizeof tokens / sizeof tokens[0])];
  bytes rest = { 0 };
  size_t end = at;
  while (end < text->size && !memchr(",}]", text->data[end], 3)) end++;
  bytes_add(&rest, text->data + end, text->size - end);
  text->size = at;
  bytes_add(text, token, strlen(token));
  bytes_add(text, rest.data, rest.size);
  free(rest.data);
}

/* A member's value, of those behind a random place. */
static void spoil_member(bytes *text, size_t at) {
  const char *colon = at < text->size ? memchr(text->data + at, ':', text->size - at) : NULL;
  if (colon) exchange_token(text, (size_t)(colon - text->data) + 1);
}

static void spoil(bytes *text) {
  char byte = (char)wild_below(256);
  size_t at = text->size ? wild_below(text->size) : 0;
  switch (wild_below(8)) {
    case 0: text->size = at; break;
    case 1:
      if (text->size) text->data[at] = byte;
      break;
    case 2: text->size = 0; break;
    case 3:
      for (size_t i = wild_below(3000); i > 0; i--) bytes_add(text, &byte, 1);
      break;
    default: spoil_member(text, at);
  }
}

static void say(connection *c, const char *name, int count, const char *reply, bytes *json) {
  static const bytes nothing;
  for (int i = 0; i < the_trouble.answer_count; i++) {
    const answer *a = &the_trouble.answers[i];
    if (strcmp(a->name, name) != 0 || count < a->from) continue;
    json->size = 0;
    bytes_add(json, a->text.data, a->text.size);
  }
  if (wild_now()) spoil(json);
  speak_message(c, reply, reply, NULL, &nothing, json);
}

/* -------------------------------------------------------------------------------------- answers */
static void failure(bytes *json, int code, int number, const char *sentence) {
  bytes_print(json, "{\"error\":{\"code\":%d,\"err_code\":%d,\"description\":\"%s\"}}", code,
              number, sentence);
}

static void stream_info(bytes *json) {
  bytes_print(
      json,
      "{\"type\":\"io.nats.jetstream.api.v1.stream_info_response\",\"config\":{"
      "\"name\":\"%s\",\"subjects\":[\"$KV.%s.\\u003e\"],\"retention\":\"limits\","
      "\"max_consumers\":-1,\"max_msgs\":1000000,\"max_bytes\":-1,\"max_age\":0,"
      "\"max_msgs_per_subject\":1,\"max_msg_size\":-1,\"discard\":\"%s\",\"storage\":"
      "\"file\",\"num_replicas\":%d,\"duplicate_window\":120000000000,\"allow_direct\":true,"
      "\"allow_rollup_hdrs\":true,\"deny_delete\":true},\"created\":\"%s\",",
      the_stream.name, the_stream.name + 3, the_stream.drops ? "old" : "new", the_stream.replicas,
      the_stream.created);
  bytes_print(json,
              "\"state\":{\"messages\":%" PRIu64 ",\"bytes\":1,\"first_seq\":%" PRIu64
              ",\"last_seq\":%" PRIu64 ",\"num_subjects\":%" PRIu64 ",\"consumer_count\":1}}",
              stream_count(), stream_first(), the_stream.last - the_trouble.lag, stream_count());
}

static void consumer_create(connection *c, const char *question, bytes *json) {
  char inbox[512] = "", from[32] = "1", filter[KEY_ROOM + 512] = "";
  size_t prefix = strlen("$KV.") + strlen(the_stream.name + 3) + 1;
  consumer *k;
  member(question, "deliver_subject", inbox, sizeof inbox);
  member(question, "opt_start_seq", from, sizeof from);
  member(question, "filter_subject", filter, sizeof filter);
  k = deliver_create(c, inbox, strlen(filter) > prefix ? filter + prefix : "",
                     strtoull(from, NULL, 10));
  if (k == NULL) {
    failure(json, 400, 10026, "maximum consumers limit reached");
    return;
  }
  bytes_print(json,
              "{\"type\":\"io.nats.jetstream.api.v1.consumer_create_response\",\"stream_name\":"
              "\"%s\",\"name\":\"%s\",\"created\":\"%s\",\"config\":{\"deliver_subject\":\"%s\"},"
              "\"delivered\":{\"consumer_seq\":0,\"stream_seq\":0},\"num_pending\":%" PRIu64 "}",
              the_stream.name, k->name, the_stream.created, inbox, stream_count());
}

/* Whoever asks: consumers are the stream's. */
static void consumer_delete(const char *name, bytes *json) {
  if (!deliver_delete(name)) {
    failure(json, 404, 10014, "consumer not found");
    return;
  }
  bytes_print(json, "{\"success\":true}");
}

static uint64_t wanted(const char *question) {
  static char text[KEY_ROOM], subject[KEY_ROOM + 512];
  if (member(question, "last_by_subj", text, sizeof text)) {
    for (uint64_t i = the_stream.last; i > 0; i--) {
      if (!the_stream.messages[i].alive) continue;
      snprintf(subject, sizeof subject, "$KV.%s.%s", the_stream.name + 3,
               the_stream.messages[i].key);
      if (strcmp(subject, text) == 0) return i;
    }
    return 0;
  }
  if (!member(question, "seq", text, sizeof text)) return 0;
  if (strstr(question, "next_by_subj")) return stream_next(strtoull(text, NULL, 10));
  for (uint64_t i = strtoull(text, NULL, 10); i > 0 && i <= the_stream.last; i = 0)
    if (the_stream.messages[i].alive) return i;
  return 0;
}

static void direct_get(connection *c, const char *question, const char *reply) {
  uint64_t sequence = wanted(question);
  bytes headers = { 0 }, nothing = { 0 };
  const message *m = &the_stream.messages[sequence];
  char time[64];
  if (wild_now()) {
    static const char *const numbers[] = {
      "0", "-1", "+", "1x", "", "281474976710656", "18446744073709551616"
    };
    bytes_print(&headers, "NATS/1.0\r\nNats-Sequence: %s\r\n\r\n",
                numbers[wild_below(sizeof numbers / sizeof numbers[0])]);
    speak_message(c, reply, reply, NULL, &headers, &nothing);
  } else if (sequence == 0) {
    bytes_print(&headers, "NATS/1.0 404 Message Not Found\r\n\r\n");
    speak_message(c, reply, reply, NULL, &headers, &nothing);
  } else {
    stream_time(m->time_ns, time);
    if (m->headers.size)
      bytes_add(&headers, m->headers.data, m->headers.size - 2);
    else
      bytes_print(&headers, "NATS/1.0\r\n");
    bytes_print(&headers,
                "Nats-Stream: %s\r\nNats-Subject: $KV.%s.%s\r\nNats-Sequence: %" PRIu64
                "\r\nNats-Time-Stamp: %s\r\n\r\n",
                the_stream.name, the_stream.name + 3, m->key, sequence, time);
    speak_message(c, reply, reply, NULL, &headers, &m->data);
  }
  free(headers.data);
}

static void base64(bytes *to, const bytes *from) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < from->size; i += 3) {
    size_t left = from->size - i;
    const unsigned char *at = (const unsigned char *)from->data + i;
    unsigned three = at[0] * 65536u + (left > 1 ? at[1] : 0) * 256u + (left > 2 ? at[2] : 0);
    bytes_print(to, "%c%c%c%c", letters[three >> 18], letters[three >> 12 & 63],
                left > 1 ? letters[three >> 6 & 63] : '=', left > 2 ? letters[three & 63] : '=');
  }
}

static void message_get(const char *question, bytes *json) {
  uint64_t sequence = wanted(question);
  const message *m = &the_stream.messages[sequence];
  char time[64];
  if (sequence == 0) {
    failure(json, 404, 10037, "no message found");
    return;
  }
  stream_time(m->time_ns, time);
  bytes_print(json, "{\"message\":{\"subject\":\"$KV.%s.%s\",\"seq\":%" PRIu64 ",\"hdrs\":\"",
              the_stream.name + 3, m->key, sequence);
  base64(json, &m->headers);
  bytes_print(json, "\",\"data\":\"");
  base64(json, &m->data);
  bytes_print(json, "\",\"time\":\"%s\"}}", time);
}

/* Where the name of a request has an end: its stream begins. */
static bool asks(const char *subject, const char *name) {
  size_t size = strlen(name);
  return strncmp(subject, name, size) == 0 && subject[size] == '.';
}

/* What was just answered waits: all of it until the first one has waited enough. */
static void put_off(connection *c, const char *name, size_t from) {
  if (the_trouble.slow_ms == 0 || c->out.size == from) return;
  if (the_trouble.slow[0] && strcmp(the_trouble.slow, name) != 0) return;
  if (c->late.size == 0) c->late_ms = ticks_ms() + the_trouble.slow_ms;
  bytes_add(&c->late, c->out.data + from, c->out.size - from);
  c->out.size = from;
}

static void request(connection *c, const char *subject, const char *reply, const char *question) {
  static const char *const names[] = { "STREAM.INFO", "CONSUMER.CREATE", "CONSUMER.DELETE",
                                       "STREAM.MSG.GET", "DIRECT.GET" };
  enum { COUNT = sizeof names / sizeof names[0] };
  bytes json = { 0 };
  int which = 0, count;
  size_t size = strlen(the_stream.name), from = c->out.size;
  const char *stream;
  while (which < COUNT && !asks(subject, names[which])) which++;
  if (which == COUNT) return;
  stream = subject + strlen(names[which]) + 1;
  count = count_request(names[which]);
  if (strcmp(names[which], the_trouble.ignored) == 0 && the_trouble.ignored_count-- > 0) return;
  if (strncmp(stream, the_stream.name, size) != 0 || (stream[size] && stream[size] != '.'))
    failure(&json, 404, 10059, "stream not found");
  else if (which == 0)
    stream_info(&json);
  else if (which == 1)
    consumer_create(c, question, &json);
  else if (which == 2)
    consumer_delete(stream[size] ? stream + size + 1 : "", &json);
  else if (which == 3)
    message_get(question, &json);
  else
    direct_get(c, question, reply);
  if (json.size) say(c, names[which], count, reply, &json);
  free(json.data);
  put_off(c, names[which], from);
}

static void published(connection *c, const char *subject, const char *reply, const bytes *headers,
                      const bytes *data) {
  char prefix[400];
  bytes json = { 0 };
  snprintf(prefix, sizeof prefix, "$KV.%s.", the_stream.name + 3);
  if (the_trouble.mute == MUTE_API) return;
  if (strncmp(subject, "$JS.API.", 8) == 0) {
    request(c, subject + 8, reply, data->data ? data->data : "");
  } else if (strncmp(subject, prefix, strlen(prefix)) == 0) {
    uint64_t sequence = stream_put(subject + strlen(prefix), headers, data);
    bytes_print(&json, "{\"stream\":\"%s\",\"seq\":%" PRIu64 "}", the_stream.name, sequence);
    if (*reply) say(c, "PUB", 1, reply, &json);
  }
  free(json.data);
}

/* -------------------------------------------------------------------------------------- reading */
void speak_begin(connection *c) {
  bytes info = { 0 };
  if (the_trouble.mute == MUTE_INFO) return;
  bytes_print(&info, "{\"server_id\":\"FAKE\",\"server_name\":\"fake\",\"version\":"
                     "\"2.9.10\",\"proto\":1,\"headers\":true,\"max_payload\":1048576,"
                     "\"jetstream\":true} ");
  if (wild_now()) spoil(&info);
  if (the_trouble.info.size)
    bytes_add(&c->out, the_trouble.info.data, the_trouble.info.size);
  else
    bytes_print(&c->out, "INFO %.*s\r\n", (int)info.size, info.data);
  free(info.data);
}

/* PUB SUBJECT [REPLY] SIZE, HPUB SUBJECT [REPLY] HEADERS SIZE; false: not all of it came yet. */
static bool take_publish(connection *c, const char *line, size_t line_size) {
  static char subject[LINE_ROOM], reply[LINE_ROOM];
  size_t heads = 0, size = 0;
  bytes headers = { 0 }, data = { 0 };
  const char *payload = c->in.data + line_size;
  reply[0] = 0;
  if (line[0] == 'P' && sscanf(line, "PUB %s %s %zu", subject, reply, &size) != 3) {
    reply[0] = 0;
    if (sscanf(line, "PUB %s %zu", subject, &size) != 2) c->ended = true;
  }
  if (line[0] == 'H' && sscanf(line, "HPUB %s %s %zu %zu", subject, reply, &heads, &size) != 4) {
    reply[0] = 0;
    if (sscanf(line, "HPUB %s %zu %zu", subject, &heads, &size) != 3) c->ended = true;
  }
  if (c->ended || heads > size || c->in.size - line_size < size + 2) return c->ended;
  bytes_add(&headers, payload, heads);
  bytes_add(&data, payload + heads, size - heads);
  bytes_add(&data, "", 1);
  data.size--;
  if (the_trouble.mute != MUTE_ALL) published(c, subject, reply, &headers, &data);
  free(headers.data);
  free(data.data);
  bytes_cut(&c->in, line_size + size + 2);
  return true;
}

static void subscribe(connection *c, const char *line) {
  subscription *s = &c->subscriptions[c->subscription_count];
  char queue[64];
  if (c->subscription_count == SUBSCRIPTIONS) return;
  if (sscanf(line, "SUB %511s %63s %31s", s->subject, queue, s->id) == 3
      || sscanf(line, "SUB %511s %31s", s->subject, s->id) == 2)
    c->subscription_count++;
}

static void take_line(connection *c, const char *line) {
  if (strncmp(line, "PING", 4) == 0 && the_trouble.mute != MUTE_ALL)
    bytes_print(&c->out, "PONG\r\n");
  else if (strncmp(line, "SUB ", 4) == 0)
    subscribe(c, line);
}

void speak(connection *c) {
  static char line[LINE_ROOM];
  while (c->in.size > 0 && !c->ended) {
    const char *end = memchr(c->in.data, '\n', c->in.size);
    size_t size = end ? (size_t)(end - c->in.data) + 1 : 0;
    if (size == 0 || size >= LINE_ROOM) {
      c->ended = size != 0 || c->in.size >= LINE_ROOM;
      return;
    }
    memcpy(line, c->in.data, size);
    line[size] = 0;
    if (strncmp(line, "PUB ", 4) == 0 || strncmp(line, "HPUB ", 5) == 0) {
      if (!take_publish(c, line, size)) return;
      continue;
    }
    take_line(c, line);
    bytes_cut(&c->in, size);
  }
}
