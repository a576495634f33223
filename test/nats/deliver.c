/*
** deliver.c - messages to consumers, as a server should, or twisted (fake.h).
**
** A twist of a message, by its sequence:
**     drop         counted, not sent: a gap
**     skip         neither counted nor sent: what nats-server 2.9.10 does at purges
**     twice        sent twice with one number
**     again        sent twice, the second time as the consumer's next
**     swap         behind the next one
**     back N       as that sequence of the stream
**     count N      as that number of the consumer
**     behind N     as if the server had so many more to deliver
**     reply TEXT   with that in the place of its place
**     subject TEXT under that subject
**     headers BYTES, value SIZE
**     status TEXT  with a status line, as if it were no message
**     heartbeat A B    before it, a heartbeat that says these last numbers
**     raw BYTES    before it, these bytes on the connection
**     end          the connection ends behind it
*/
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fake.h"

/* Sooner than it is asked for: what waits for it is tested faster. */
enum { HEARTBEAT_MS = 200, FLOW_EACH = 200 };

consumer *deliver_create(connection *c, const char *inbox, const char *filter, uint64_t from) {
  static unsigned serial;
  for (int i = 0; i < CONSUMERS; i++) {
    consumer *k = &c->consumers[i];
    if (k->used) continue;
    memset(k, 0, sizeof *k);
    k->used = true;
    k->next = from ? from : 1;
    snprintf(k->name, sizeof k->name, "fake%u", ++serial);
    snprintf(k->inbox, sizeof k->inbox, "%s", inbox);
    snprintf(k->filter, sizeof k->filter, "%s", filter);
    return k;
  }
  return NULL;
}

bool deliver_delete(const char *name) {
  for (int i = 0; i < the_connection_count; i++) {
    for (int k = 0; k < CONSUMERS; k++) {
      consumer *one = &the_connections[i].consumers[k];
      if (!one->used || strcmp(one->name, name) != 0) continue;
      one->used = false;
      return true;
    }
  }
  return false;
}

static void heartbeat_text(bytes *to, uint64_t consumer_last, uint64_t stream_last) {
  bytes_print(to,
              "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: %" PRIu64
              "\r\nNats-Last-Stream: %" PRIu64 "\r\n\r\n",
              consumer_last, stream_last);
}
void deliver_heartbeat(connection *c, consumer *k, uint64_t consumer_last, uint64_t stream_last) {
  bytes headers = { 0 }, nothing = { 0 };
  heartbeat_text(&headers, consumer_last, stream_last);
  speak_message(c, k->inbox, k->inbox, NULL, &headers, &nothing);
  free(headers.data);
}

/* There is more, and it waits for an answer, which changes nothing. */
static void deliver_stalled(connection *c, consumer *k) {
  bytes headers = { 0 }, nothing = { 0 };
  bytes_print(&headers,
              "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: %" PRIu64
              "\r\nNats-Last-Stream: %" PRIu64 "\r\nNats-Consumer-Stalled: $JS.FC.%s.%s.s\r\n\r\n",
              k->sent, k->next - 1, the_stream.name, k->name);
  speak_message(c, k->inbox, k->inbox, NULL, &headers, &nothing);
  free(headers.data);
}

static void flow(connection *c, consumer *k) {
  bytes headers = { 0 }, nothing = { 0 };
  char reply[512];
  bytes_print(&headers, "NATS/1.0 100 FlowControl Request\r\n\r\n");
  snprintf(reply, sizeof reply, "$JS.FC.%s.%s.x", the_stream.name, k->name);
  speak_message(c, k->inbox, k->inbox, reply, &headers, &nothing);
  free(headers.data);
}

/* A message as it goes out. */
typedef struct parcel {
  char subject[KEY_ROOM + 512], reply[KEY_ROOM];
  uint64_t sequence, count;
  bytes headers, data;
} parcel;

static void place_before(parcel *p, const consumer *k, uint64_t behind) {
  const message *m = &the_stream.messages[p->sequence];
  snprintf(p->reply, sizeof p->reply,
           "$JS.ACK.%s.%s.1.%" PRIu64 ".%" PRIu64 ".%" PRIu64 ".%" PRIu64, the_stream.name, k->name,
           p->sequence, p->count, m->time_ns, behind);
}
static void place(parcel *p, const consumer *k) { place_before(p, k, stream_behind(p->sequence)); }

static void send_parcel(connection *c, consumer *k, const parcel *p) {
  speak_message(c, p->subject, k->inbox, p->reply, &p->headers, &p->data);
  if (++k->flow == FLOW_EACH) {
    k->flow = 0;
    flow(c, k);
  }
}

static bool is(const char *kind, const char *name) { return strcmp(kind, name) == 0; }

static uint64_t number_of(const bytes *argument) {
  return argument->size ? strtoull(argument->data, NULL, 10) : 0;
}

static void renumber(parcel *p, const consumer *k, uint64_t sequence, uint64_t count) {
  uint64_t time_ns = the_stream.messages[p->sequence].time_ns;
  snprintf(p->reply, sizeof p->reply, "$JS.ACK.%s.%s.1.%" PRIu64 ".%" PRIu64 ".%" PRIu64 ".0",
           the_stream.name, k->name, sequence, count, time_ns);
}

static void replace(bytes *with, const void *data, size_t size) {
  with->size = 0;
  bytes_add(with, data, size);
}

/* What is said of the message is another thing. */
static void disguise(parcel *p, const consumer *k, const char *kind, const bytes *argument) {
  const char *text = argument->size ? argument->data : "";
  if (is(kind, "back")) renumber(p, k, number_of(argument), p->count);
  if (is(kind, "count")) renumber(p, k, p->sequence, number_of(argument));
  if (is(kind, "behind")) place_before(p, k, number_of(argument));
  if (is(kind, "reply")) snprintf(p->reply, sizeof p->reply, "%s", text);
  if (is(kind, "subject")) snprintf(p->subject, sizeof p->subject, "%s", text);
  if (is(kind, "headers")) replace(&p->headers, argument->data, argument->size);
  if (is(kind, "status")) {
    p->reply[0] = 0;
    p->headers.size = 0;
    bytes_print(&p->headers, "NATS/1.0 %s\r\n\r\n", text);
  }
  if (is(kind, "value")) {
    size_t size = number_of(argument);
    char *zeros = calloc(1, size + 1);
    if (zeros == NULL) abort();
    replace(&p->data, zeros, size);
    free(zeros);
  }
}

static void before(connection *c, consumer *k, const char *kind, const bytes *argument) {
  uint64_t a = 0, b = 0;
  if (is(kind, "raw")) bytes_add(&c->out, argument->data, argument->size);
  if (is(kind, "heartbeat") && argument->size
      && sscanf(argument->data, "%" SCNu64 " %" SCNu64, &a, &b) == 2)
    deliver_heartbeat(c, k, a, b);
}

static void load(parcel *p, const consumer *k) {
  const message *m = &the_stream.messages[p->sequence];
  snprintf(p->subject, sizeof p->subject, "$KV.%s.%s", the_stream.name + 3, m->key);
  place(p, k);
  replace(&p->headers, m->headers.data, m->headers.size);
  replace(&p->data, m->data.data, m->data.size);
}

static parcel parcels[2], *now = &parcels[0], *held = &parcels[1];
static bool is_held;

/* Behind the next one, not now. */
static void hold(void) {
  parcel *other = now;
  now = held;
  held = other;
  is_held = true;
}

static void send_twisted(connection *c, consumer *k, const char *kind, const bytes *argument) {
  now->sequence = k->next;
  if (is(kind, "skip")) return;
  now->count = ++k->sent;
  load(now, k);
  before(c, k, kind, argument);
  disguise(now, k, kind, argument);
  if (is(kind, "drop")) return;
  if (is(kind, "swap") && !is_held) {
    hold();
    return;
  }
  send_parcel(c, k, now);
  if (is(kind, "twice")) send_parcel(c, k, now);
  if (is(kind, "again")) {
    now->count = ++k->sent;
    place(now, k);
    send_parcel(c, k, now);
  }
  if (is_held) send_parcel(c, k, held);
  is_held = false;
  if (is(kind, "end")) c->ended = true;
}

/* A line of headers, as none, or as many as there are. */
static void wild_headers(bytes *argument) {
  static const char *const names[] = { "Maph-Expires", "Nats-TTL",
                                       "Maph-Type",    "Content-Type",
                                       "KV-Operation", "Nats-Marker-Reason",
                                       "Maph-Txn",     "" };
  static const char *const values[] = { "0",
                                        "-1",
                                        "18446744073709551616",
                                        "99999999999999999999h",
                                        "9223372036854775807ms",
                                        "1.0000000000000000001s",
                                        "never",
                                        "json",
                                        "PURGE",
                                        "5;last",
                                        "\xff\xfe",
                                        ":" };
  bytes_print(argument, "NATS/1.0\r\n");
  for (uint64_t i = wild_below(6); i > 0; i--)
    bytes_print(argument, "%s: %s\r\n", names[wild_below(sizeof names / sizeof names[0])],
                values[wild_below(sizeof values / sizeof values[0])]);
  if (wild_below(4)) bytes_print(argument, "\r\n");
}

/* Twists by themselves. */
static const char *wild_twist(bytes *argument) {
  static const char *const kinds[] = { "drop",      "skip",    "twice", "again",   "swap",
                                       "back",      "count",   "reply", "subject", "status",
                                       "heartbeat", "headers", "raw",   "end",     "none" };
  const char *kind = kinds[wild_below(sizeof kinds / sizeof kinds[0])];
  argument->size = 0;
  if (is(kind, "back")) {
    bytes_print(argument, "%" PRIu64,
                wild_below(2) ? wild_below(the_stream.last + 1)
                              : UINT64_MAX - wild_below(UINT64_MAX / 2));
  } else if (is(kind, "count")) {
    bytes_print(argument, "%" PRIu64, wild_below(1000));
  } else if (is(kind, "heartbeat")) {
    bytes_print(argument, "%" PRIu64 " %" PRIu64, wild_below(1000), wild_below(1000));
  } else if (is(kind, "headers")) {
    wild_headers(argument);
    return kind;
  } else if (is(kind, "status")) {
    bytes_print(argument, "%" PRIu64 " %s", wild_below(1000), wild_below(2) ? "No" : "");
  } else {
    size_t size = wild_below(is(kind, "raw") ? 4000 : 400) + 1;
    for (size_t i = 0; i < size; i++) {
      char byte = (char)(is(kind, "raw") ? wild_below(256) : '!' + wild_below(94));
      bytes_add(argument, &byte, 1);
    }
  }
  bytes_add(argument, "", 1);
  return kind;
}

static void deliver_next(connection *c, consumer *k) {
  static bytes random_argument, none;
  const char *kind = "none";
  bytes *argument = &none;
  static twist kept;
  for (int i = 0; i < the_trouble.twist_count; i++) {
    twist *t = &the_trouble.twists[i];
    if (t->sequence != k->next || t->kind[0] == 0) continue;
    kept = *t;
    kind = kept.kind;
    argument = &kept.argument;
    if (!t->always) t->kind[0] = 0;
    break;
  }
  if (wild_now()) {
    kind = wild_twist(&random_argument);
    argument = &random_argument;
  }
  send_twisted(c, k, kind, argument);
}

static bool is_held_back(uint64_t sequence) {
  return the_trouble.held && sequence >= the_trouble.held;
}

/* The next message of those that the consumer is for; 0: there is none. */
static uint64_t next_of(const consumer *k) {
  size_t size = strlen(k->filter);
  uint64_t next = stream_next(k->next);
  if (size && k->filter[size - 1] == '>') size--;
  while (next && strncmp(the_stream.messages[next].key, k->filter, size) != 0)
    next = stream_next(next + 1);
  return next;
}

/* The next message that is old enough; 0: there is none. */
static uint64_t due(const consumer *k) {
  uint64_t next = next_of(k), delay_ns = the_trouble.delay_ms * UINT64_C(1000000);
  if (is_held_back(next)) return 0;
  return next && the_stream.messages[next].time_ns + delay_ns <= stream_now_ns() ? next : 0;
}

void deliver(connection *c, uint64_t now_ms) {
  for (int i = 0; i < CONSUMERS; i++) {
    consumer *k = &c->consumers[i];
    uint64_t next;
    if (!k->used || the_trouble.mute == MUTE_DELIVERY) continue;
    while (!c->ended && c->out.size < 1 << 20 && (next = due(k)) != 0) {
      k->next = next;
      deliver_next(c, k);
      k->next++;
      k->heard_ms = now_ms;
    }
    if (!c->ended && next_of(k) == 0 && k->next <= the_stream.last) k->next = the_stream.last + 1;
    if (!c->ended && the_trouble.mute != MUTE_HEARTBEAT && now_ms - k->heard_ms >= HEARTBEAT_MS) {
      if (is_held_back(next_of(k)))
        deliver_stalled(c, k);
      else
        deliver_heartbeat(c, k, k->sent, k->next - 1);
      k->heard_ms = now_ms;
    }
  }
}
