/*
** publish.c - maph-replica publish: sessions, one after the other, that bring a store's changes to
** a bucket (publish.h).
*/
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "nats/child.h"
#include "nats/metrics.h"
#include "nats/notes.h"
#include "nats/option.h"
#include "nats/others.h"
#include "nats/publish.h"
#include "nats/replica.h"
#include "nats/status.h"

enum { BACK_OFF_MS = 100, BACK_OFF_MOST_MS = 30000, STEADY_MS = 10000, CLOCK_MS = 10000 };

publishing publish_says(publisher *publisher, publishing end, const char *format, ...) {
  char text[sizeof publisher->notes.record.error];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  if (end != PUBLISHING_FATAL && strcmp(text, publisher->notes.record.error) != 0) note("%s", text);
  strcpy(publisher->notes.record.error, text);
  return end;
}

publishing publish_lost(publisher *publisher, stream_rc rc, replica_state state) {
  publisher->notes.record.state = state;
  if (child_told()) return PUBLISHING_AGAIN;
  return publish_says(publisher, rc == STREAM_MISUSE ? PUBLISHING_FATAL : PUBLISHING_AGAIN, "%s",
                      stream_errmsg());
}

publishing publish_reopens(publisher *publisher, publishing end) {
  publisher->reopen = true;
  return end;
}

publishing publish_unread(publisher *publisher) {
  return publish_reopens(publisher,
                         publish_says(publisher, PUBLISHING_AGAIN, "%s", maph_errmsg(NULL)));
}

void publisher_heard(publisher *publisher) {
  sidecar_record *record = &publisher->notes.record;
  uint64_t now = now_ms();
  if (now + CLOCK_MS < record->heard_ms) {
    publisher->compare = true;
    note("%s: this machine's clock was set back: all keys are compared", publisher->path);
  }
  record->heard_ms = now;
}

/* ------------------------------------------------------------------------------------ the child */
/* Anything from none to all of it, so that those who were beaten together do not come together. */
static unsigned jitter(unsigned ms) {
  unsigned random = 0;
  if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random) return ms;
  return random % (ms + 1);
}

/* MAPH_TEST_BACK_OFF: the most that a test has time for. */
static unsigned back_off_most(void) {
  const char *said = getenv("MAPH_TEST_BACK_OFF");
  return said ? (unsigned)strtoul(said, NULL, 10) : BACK_OFF_MOST_MS;
}

static void tell_done(const publisher *publisher) {
  const sidecar_record *record = &publisher->notes.record;
  if (option.json)
    printf("{\"version\":%" PRIu64 ",\"position\":%" PRIu64 "}\n", record->version,
           record->position);
  else if (!option.quiet)
    printf("%s: bucket %s has all up to version %" PRIu64 ", at %" PRIu64 "\n", publisher->path,
           publisher->bucket, record->version, record->position);
  fflush(stdout);
}

/* --once, in a child that took another one's place: nothing goes on, as where each dies of what the
** server sends. */
static bool is_over(publisher *publisher, bool replaced) {
  uint64_t heard = publisher->notes.record.heard_ms, now = now_ms();
  if (!option.once || !replaced || ticks_ms() - publisher->began <= option.timeout_ms) return false;
  if (now < heard + option.timeout_ms) return false;
  publish_says(publisher, PUBLISHING_FATAL,
               "%s: the process that publishes ends again and again: the "
               "server may send what libnats cannot read",
               publisher->path);
  return true;
}

static int publish(void *arg) {
  publisher *publisher = arg;
  sidecar_record *record = &publisher->notes.record;
  unsigned wait_ms = BACK_OFF_MS, most_ms = back_off_most();
  publishing end = PUBLISHING_NOW;
  bool replaced;
  sidecar_reload(&publisher->notes);
  replaced = record->pid != 0;
  if (replaced) record->restarts++;
  record->pid = (uint64_t)getpid();
  sidecar_write(&publisher->notes); /* however it ends */
  if (is_over(publisher, replaced)) end = PUBLISHING_FATAL;
  while (end == PUBLISHING_AGAIN || end == PUBLISHING_NOW) {
    unsigned long long began = ticks_ms();
    uint64_t applied = record->applied;
    end = publish_session(publisher);
    if (ticks_ms() - began > STEADY_MS || record->applied > applied) wait_ms = BACK_OFF_MS;
    if (option.once && end == PUBLISHING_AGAIN && record->applied == applied
        && ticks_ms() - publisher->began > option.timeout_ms)
      end = PUBLISHING_FATAL;
    if (end == PUBLISHING_AGAIN) {
      child_sleep(jitter(wait_ms));
      wait_ms = wait_ms * 2 < most_ms ? wait_ms * 2 : most_ms;
    }
    if (child_told() && end != PUBLISHING_FATAL) end = PUBLISHING_DONE;
  }
  if (publisher->store) maph_close(publisher->store);
  record->state = REPLICA_STOPPED;
  record->pid = 0;
  sidecar_write(&publisher->notes);
  if (end == PUBLISHING_FATAL) complain("%s", record->error);
  if (end == PUBLISHING_DONE && option.once && !child_told()) tell_done(publisher);
  return end == PUBLISHING_FATAL ? CHILD_FATAL : CHILD_ENDED;
}

/* ----------------------------------------------------------------------------------- the parent */
/* In the parent, each second. */
static void tick(void *arg, uint64_t replaced) {
  const publisher *publisher = arg;
  (void)replaced;
  metrics_tick(published_metrics, publisher->path);
}

static bool is_published(const char *path) {
  char other[1024];
  if (!others_hold(path, SIDECAR_PUBLISHED, other, sizeof other)) return false;
  return complain("%s: the same file as %s, which is published by another process: publish it by "
                  "that name",
                  path, other)
         != DONE;
}

static bool is_source(const char *path) {
  maph_stats stats;
  maph *store;
  if (maph_open(path, MAPH_RDONLY, NULL, &store) != MAPH_OK)
    return complain("%s", maph_errmsg(NULL)) == DONE;
  if (maph_stat(store, &stats) != MAPH_OK) stats.versions = 0;
  maph_close(store);
  if (stats.versions != MAPH_VERSIONS_GIVEN) return true;
  return complain("%s: a replica is no source: publish a store that is written here", path) == DONE;
}

int command_publish(const char *const *words, int count) {
  static publisher publisher;
  sidecar_header header = { .escaped = false };
  const char *wrong;
  (void)count;
  publisher.path = words[0];
  publisher.bucket = words[1];
  if (!keys_bucket_valid(maph_str(publisher.bucket)))
    return complain("%s: a bucket's name is letters, digits, - and _", publisher.bucket);
  if (!is_source(publisher.path) || is_published(publisher.path)) return FAILED;
  if ((wrong = notes_open(publisher.path, SIDECAR_PUBLISHED, 0644, &publisher.notes)) != NULL)
    return complain("%s", wrong);
  if (strcmp(publisher.notes.header.bucket, publisher.bucket) != 0) sidecar_begin(&publisher.notes);
  snprintf(header.bucket, sizeof header.bucket, "%s", publisher.bucket);
  snprintf(header.servers, sizeof header.servers, "%s", option.server);
  sidecar_name(&publisher.notes, &header);
  if (getrandom(&publisher.me, sizeof publisher.me, 0) != sizeof publisher.me)
    return complain("no random number");
  publisher.notes.record.overwrite = option.overwrite;
  publisher.notes.record.error[0] = 0;
  sidecar_write(&publisher.notes);
  publisher.began = ticks_ms();
  publisher.compare = option.compare;
  return child_supervise(publish, tick, &publisher);
}
