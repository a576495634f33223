/*
** replica_bench.c - what make bench-replica measures maph-replica with: a publisher, a bare
** receiver, which is a NATS client that does nothing with what it gets, and a reader of the
** replica.
**
**     replica-bench publish URL BUCKET COUNT KEYS SIZE RATE
**         messages, RATE a second; 0: as they go
**     replica-bench receive URL BUCKET FROM LAST
**         all of the bucket's sequences FROM to LAST
**     replica-bench watch FILE LAST
**         what comes to the replica, up to that version
**
** A value begins with the time it was published at, of this machine's monotonic clock in 16
** hexadecimal digits, so that whoever gets it knows how long it took.
**
** Each prints one line: pairs of a name and a number.
*/
#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "maph.h"

enum { STAMP = 16, PATIENCE_MS = 60000, SIZE_MOST = 1 << 20 };

static uint64_t clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void die(const char *what, const char *why) {
  fprintf(stderr, "replica-bench: %s: %s\n", what, why);
  exit(2);
}
static void need(natsStatus s, const char *what) {
  if (s != NATS_OK) die(what, natsStatus_GetText(s));
}

static uint64_t number(const char *text) { return strtoull(text, NULL, 10); }

static void pause_ns(uint64_t ns) {
  struct timespec pause = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
  nanosleep(&pause, NULL);
}

/* ---------------------------------------------------------------------------------------- times */
/* How long each message took, in microseconds. */
typedef struct times {
  uint32_t *us;
  size_t count, room;
} times;

static void times_add(times *t, const char *value, size_t size, uint64_t now_ns) {
  char digits[STAMP + 1];
  uint64_t then, us;
  if (size < STAMP) return;
  memcpy(digits, value, STAMP);
  digits[STAMP] = 0;
  then = strtoull(digits, NULL, 16);
  us = now_ns > then ? (now_ns - then) / 1000 : 0;
  if (t->count == t->room) {
    t->room = t->room ? 2 * t->room : 65536;
    t->us = realloc(t->us, t->room * sizeof *t->us);
    if (t->us == NULL) die("times", "out of memory");
  }
  t->us[t->count++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static int compare_times(const void *a, const void *b) {
  uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
  return (one > other) - (one < other);
}

static void times_print(times *t) {
  if (t->count == 0) return;
  qsort(t->us, t->count, sizeof *t->us, compare_times);
  printf(" p50 %.3f p99 %.3f most %.3f", t->us[t->count / 2] / 1e6,
         t->us[t->count - 1 - t->count / 100] / 1e6, t->us[t->count - 1] / 1e6);
}

/* -------------------------------------------------------------------------------------- publish */
static natsConnection *connect_to(const char *url) {
  natsOptions *options;
  natsConnection *nc;
  need(natsOptions_Create(&options), "options");
  need(natsOptions_SetURL(options, url), "options");
  need(natsOptions_SetAllowReconnect(options, false), "options");
  need(natsOptions_SetMaxPendingMsgs(options, 2000000), "options");
  need(natsOptions_SetIOBufSize(options, 128 * 1024), "options");
  need(natsConnection_Connect(&nc, options), "connect");
  natsOptions_Destroy(options);
  return nc;
}

/* Before message i: not before its time. */
static void keep_pace(natsConnection *nc, uint64_t began_ns, uint64_t i, uint64_t rate) {
  uint64_t due = began_ns + i * 1000000000 / rate, now = clock_ns();
  if (now >= due || due - now < 1000000) return;
  need(natsConnection_Flush(nc), "flush");
  now = clock_ns();
  if (due > now) pause_ns(due - now);
}

static int publish(char **arg) {
  natsConnection *nc = connect_to(arg[0]);
  uint64_t count = number(arg[2]), keys = number(arg[3]), rate = number(arg[5]);
  size_t size = number(arg[4]);
  uint64_t began = clock_ns();
  char subject[512], digits[STAMP + 1], *value;
  if (keys == 0 || size < STAMP || size > SIZE_MOST || strlen(arg[1]) > 250)
    die("publish", "arguments");
  value = malloc(size);
  if (value == NULL) die("publish", "out of memory");
  memset(value, 'x', size);
  for (uint64_t i = 0; i < count; i++) {
    if (rate && i % 16 == 0) keep_pace(nc, began, i, rate);
    snprintf(subject, sizeof subject, "$KV.%s.k%09" PRIu64, arg[1], i * 7919 % keys);
    snprintf(digits, sizeof digits, "%016" PRIx64, clock_ns());
    memcpy(value, digits, STAMP);
    need(natsConnection_Publish(nc, subject, value, (int)size), "publish");
  }
  need(natsConnection_FlushTimeout(nc, PATIENCE_MS), "flush");
  printf("messages %" PRIu64 " seconds %.3f\n", count, (double)(clock_ns() - began) / 1e9);
  natsConnection_Close(nc);
  return 0;
}

/* -------------------------------------------------------------------------------------- receive */
static natsSubscription *consume(natsConnection *nc, const char *bucket, uint64_t from) {
  char question[1024], subject[512];
  natsInbox *inbox;
  natsSubscription *subscription;
  natsMsg *answer;
  need(natsInbox_Create(&inbox), "inbox");
  need(natsConnection_SubscribeSync(&subscription, nc, inbox), "subscribe");
  need(natsSubscription_SetPendingLimits(subscription, -1, -1), "subscribe");
  snprintf(question, sizeof question,
           "{\"stream_name\":\"KV_%s\",\"config\":{\"deliver_subject\":\"%s\","
           "\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":%" PRIu64
           ",\"ack_policy\":\"none\",\"replay_policy\":\"instant\",\"flow_control\":true,"
           "\"idle_heartbeat\":2000000000,\"inactive_threshold\":10000000000,\"mem_storage\":true,"
           "\"num_replicas\":1}}",
           bucket, inbox, from);
  snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.KV_%s", bucket);
  need(natsConnection_RequestString(&answer, nc, subject, question, PATIENCE_MS), "consumer");
  if (strstr(natsMsg_GetData(answer), "\"error\"")) die("consumer", natsMsg_GetData(answer));
  natsMsg_Destroy(answer);
  natsInbox_Destroy(inbox);
  return subscription;
}

/* $JS.ACK.STREAM.CONSUMER.TRIES.SEQUENCE...; 0: it is no message of the stream, and is answered
** where it wants to be. */
static uint64_t sequence_of(natsConnection *nc, natsMsg *m) {
  const char *reply = natsMsg_GetReply(m);
  if (reply && strncmp(reply, "$JS.FC.", 7) == 0)
    need(natsConnection_PublishString(nc, reply, ""), "answer");
  if (reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0) return 0;
  for (int dots = 0; *reply && dots < 5; reply++) dots += *reply == '.';
  return number(reply);
}

static double cpu_us(void) {
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6
         + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static int receive(char **arg) {
  uint64_t began = clock_ns(), last = number(arg[3]), at = 0, count = 0;
  natsConnection *nc = connect_to(arg[0]);
  natsSubscription *subscription = consume(nc, arg[1], number(arg[2]));
  times times = { 0 };
  while (at < last) {
    natsMsg *m;
    uint64_t sequence;
    need(natsSubscription_NextMsg(&m, subscription, PATIENCE_MS), "receive");
    sequence = sequence_of(nc, m);
    if (sequence) {
      at = sequence;
      count++;
      times_add(&times, natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m), clock_ns());
    }
    natsMsg_Destroy(m);
  }
  printf("messages %" PRIu64 " seconds %.3f cpu_us %.2f", count, (double)(clock_ns() - began) / 1e9,
         cpu_us() / (double)(count ? count : 1));
  times_print(&times);
  printf("\n");
  natsConnection_Close(nc);
  return 0;
}

/* ---------------------------------------------------------------------------------------- watch */
static void need_maph(int rc) {
  if (rc != MAPH_OK) die("watch", maph_errmsg(NULL));
}

/* Each millisecond, what is new since the last look. */
static int watch(char **arg) {
  uint64_t last = number(arg[1]), at = 0;
  times times = { 0 };
  maph_changes *changes;
  maph_change change;
  maph_stats stats;
  maph *store;
  need_maph(maph_open(arg[0], MAPH_RDONLY, NULL, &store));
  need_maph(maph_stat(store, &stats));
  need_maph(maph_changes_open(store, stats.version, &changes));
  printf("ready\n");
  fflush(stdout);
  while (at < last) {
    uint64_t now = clock_ns();
    int rc;
    while ((rc = maph_changes_next(changes, 0, &change)) == MAPH_OK) {
      at = change.entry.version;
      times_add(&times, change.entry.value.data, change.entry.value.size, now);
    }
    if (rc != MAPH_NOTFOUND) need_maph(rc);
    pause_ns(1000000);
  }
  printf("messages %zu", times.count);
  times_print(&times);
  printf("\n");
  maph_changes_close(changes);
  maph_close(store);
  return 0;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "publish") == 0 && argc == 8) return publish(argv + 2);
  if (strcmp(what, "receive") == 0 && argc == 6) return receive(argv + 2);
  if (strcmp(what, "watch") == 0 && argc == 4) return watch(argv + 2);
  fprintf(stderr, "replica-bench publish URL BUCKET COUNT KEYS SIZE RATE | receive URL BUCKET FROM "
                  "LAST | watch FILE LAST\n");
  return 2;
}
