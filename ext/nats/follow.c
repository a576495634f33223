/*
** follow.c - maph-replica follow: sessions, one after the other, and the file that they keep.
*/
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "nats/child.h"
#include "nats/follow.h"
#include "nats/metrics.h"
#include "nats/notes.h"
#include "nats/option.h"
#include "nats/others.h"
#include "nats/replica.h"
#include "nats/status.h"

enum {
  BACK_OFF_MS = 100,
  BACK_OFF_MOST_MS = 30000,
  STEADY_MS = 10000,
  FULL_MS = 1000,
  COMPACT_SECONDS = 5,
  COMPACT_ABOVE = 16 << 20,
  KEEP_BYTES = 64 << 20, /* twice what the server sends before it waits for an answer */
  LARGE_BYTES = 4 << 20
};

void follower_error(follower *follower, const char *format, ...) {
  char text[sizeof follower->sidecar.record.error];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  if (strcmp(text, follower->sidecar.record.error) != 0) note("%s", text);
  strcpy(follower->sidecar.record.error, text);
}

/* After a power loss, or in a copy of a store in use, there is nothing for readers until a writer
** has mended it; and the next message may be long in coming. */
static int make_legible(maph *store) {
  maph_txn *txn;
  int rc = maph_txn_begin(store, MAPH_SYNC_OFF, &txn);
  if (rc == MAPH_OK) maph_txn_abort(txn);
  return rc == MAPH_BUSY || rc == MAPH_FULL ? MAPH_OK : rc;
}

ending follower_open(follower *follower) {
  maph_stats stats;
  struct stat named;
  int rc;
  if (stat(follower->path, &named) != 0 && errno == ENOENT) return ENDING_NOW;

  if (!S_ISREG(named.st_mode)) {
    follower_error(follower, "%s: no regular file: name a store's file", follower->path);
    return ENDING_FATAL;
  }
  follower->device = named.st_dev;
  follower->inode = named.st_ino;
  child_stamp_long();
  rc = maph_open(follower->path, MAPH_RDWR, NULL, &follower->store);
  if (rc == MAPH_OK && maph_stat(follower->store, &stats) == MAPH_OK
      && stats.versions != MAPH_VERSIONS_GIVEN) {
    maph_close(follower->store);
    follower->store = NULL;
    follower_error(follower, "%s: a store that is no replica: name another file", follower->path);
    return ENDING_FATAL;
  }
  if (rc == MAPH_OK) rc = make_legible(follower->store);
  if (rc == MAPH_OK) return ENDING_NOW;
  follower_error(follower, "%s", maph_errmsg(NULL));
  if (follower->store) maph_close(follower->store);
  follower->store = NULL;
  if (rc == MAPH_FORMAT) return ENDING_FATAL;
  /* A damaged replica is made anew; another reason may go away. */
  if (rc == MAPH_CORRUPT || rc == MAPH_RECOVER) follower->rebuild = true;
  return rc == MAPH_CORRUPT || rc == MAPH_RECOVER ? ENDING_NOW : ENDING_AGAIN;
}

/* Whoever removes them would let a second follower in, and blind all that look at them. */
ending follower_keep_notes(follower *follower) {
  const char *wrong;
  if (sidecar_named(follower->path, &follower->sidecar)) return ENDING_NOW;
  note("%s.replica is gone, and is made anew", follower->path);
  if ((wrong = sidecar_renew(follower->path, follower->mode, &follower->sidecar)) == NULL)
    return ENDING_NOW;
  follower_error(follower, "%s", wrong);
  return sidecar_obstacle(follower->path, SIDECAR_REPLICA) ? ENDING_FATAL : ENDING_AGAIN;
}

void follower_show(follower *follower, replica_state state) {
  follower->sidecar.record.state = state;
  sidecar_write(&follower->sidecar);
}

/* Between half of it and all of it, so that replicas do not all come back at one moment. */
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

static void start_compacting(const char *path);

/* Messages are allocated by one thread of libnats and freed by another.  What they leave is kept
** for those that come: given back to the system, its pages are all touched anew. */
static void keep_memory(void) {
  mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
  mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
}

static int follow(void *arg) {
  follower *follower = arg;
  unsigned wait_ms = BACK_OFF_MS, most_ms = back_off_most();
  ending end;
  keep_memory();
  /* One before may have been killed after the parent read the notes. */
  sidecar_reload(&follower->sidecar);
  follower_keep_notes(follower);
  if (follower->sidecar.record.pid != 0) follower->sidecar.record.restarts++;
  follower->sidecar.record.pid = (uint64_t)getpid();
  follower->listed = ticks_ms();
  follower_remove_leftover(follower);
  start_compacting(follower->path);
  do {
    unsigned long long began = ticks_ms();
    end = session_run(follower);
    if (ticks_ms() - began > STEADY_MS || end == ENDING_LOST) wait_ms = BACK_OFF_MS;
    if (end == ENDING_NOW || end == ENDING_AGAIN || end == ENDING_LOST)
      child_sleep(jitter(wait_ms));
    if (end == ENDING_FULL) child_sleep(FULL_MS);
    if (end == ENDING_AGAIN) wait_ms = wait_ms * 2 < most_ms ? wait_ms * 2 : most_ms;
    if (child_told()) end = ENDING_TOLD;
  } while (end != ENDING_TOLD && end != ENDING_FATAL);
  if (follower->store) maph_close(follower->store);
  follower->sidecar.record.state = REPLICA_STOPPED;
  follower->sidecar.record.pid = 0;
  sidecar_write(&follower->sidecar);
  if (end == ENDING_FATAL) complain("%s", follower->sidecar.record.error);
  return end == ENDING_FATAL ? CHILD_FATAL : CHILD_ENDED;
}

/* In the parent, each second. */
static void tick(void *arg, uint64_t replaced) {
  const follower *follower = arg;
  (void)replaced;
  metrics_tick(replica_metrics, follower->path);
}

/* -------------------------------------------------------------------------------------- compact */
/* A thread with a handle of its own, so that following goes on meanwhile. */
static bool is_due(const char *path) {
  maph_stats stats;
  maph *store;
  int rc = maph_open(path, MAPH_RDONLY, NULL, &store);
  if (rc != MAPH_OK) return false;
  rc = maph_stat(store, &stats);
  maph_close(store);
  return rc == MAPH_OK && stats.dead_bytes >= COMPACT_ABOVE
         && stats.dead_bytes / 100 * 100 >= stats.used_bytes / 100 * option.auto_compact;
}

static void *compact(void *arg) {
  const char *path = arg;
  struct timespec pause = { .tv_sec = COMPACT_SECONDS };
  maph *store;
  for (;;) {
    nanosleep(&pause, NULL);
    if (!is_due(path) || maph_open(path, MAPH_RDWR, NULL, &store) != MAPH_OK) continue;
    if (maph_compact(store, NULL, NULL) != MAPH_OK) note("%s", maph_errmsg(NULL));
    maph_close(store);
  }
  return NULL;
}

static void start_compacting(const char *path) {
  pthread_t thread;
  if (option.auto_compact == 0) return;
  if (pthread_create(&thread, NULL, compact, (void *)path) == 0) pthread_detach(thread);
}

/* Permission bits as chmod takes them. */
static bool read_mode(unsigned *mode) {
  char *end;
  unsigned long bits = strtoul(option.mode, &end, 8);
  *mode = (unsigned)bits;
  return *end == 0 && end != option.mode && bits <= 0777 && (bits & 0600) == 0600;
}

static void name_sidecar(follower *follower) {
  sidecar_header header = { .escaped = follower->sidecar.header.escaped };
  snprintf(header.bucket, sizeof header.bucket, "%s", follower->bucket);
  snprintf(header.filter, sizeof header.filter, "%s", option.filter ? option.filter : "");
  snprintf(header.servers, sizeof header.servers, "%s", option.server);
  sidecar_name(&follower->sidecar, &header);
}

static bool is_made(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0 || errno != ENOENT;
}

/* Notes of a file that never came to be, as of a bucket whose name was mistyped, or of a store that
** is no replica, are nobody's. */
static void leave(follower *follower, int status) {
  sidecar_reload(&follower->sidecar);
  if (!is_made(follower->path) || (status != 0 && follower->sidecar.record.created[0] == 0))
    sidecar_remove(follower->path, &follower->sidecar);
}

static bool may_follow(const char *path) {
  const char *wrong = others_may_be_named(path);
  char other[1024];
  if (wrong) return complain("%s", wrong) == DONE;
  if (!others_hold(path, ".replica", other, sizeof other)) return true;
  return complain(
             "%s: the same file as %s, which is followed by another process: follow it by that "
             "name",
             path, other)
         == DONE;
}

int command_follow(const char *const *words, int count) {
  static follower follower;
  const char *wrong;
  int status;
  (void)count;
  follower.bucket = words[0];
  follower.path = words[1];
  if (!keys_bucket_valid(maph_str(follower.bucket)))
    return complain("%s: a bucket's name is letters, digits, - and _", follower.bucket);
  if (!read_mode(&follower.mode))
    return complain("--mode: \"%s\" is no mode such as 0644 that lets its owner write",
                    option.mode);
  if (strcmp(option.sync, "off") != 0 && strcmp(option.sync, "normal") != 0)
    return complain("--sync is off or normal, not \"%s\"", option.sync);
  follower.durability = strcmp(option.sync, "off") == 0 ? MAPH_SYNC_OFF : MAPH_SYNC_NORMAL;
  if (!may_follow(follower.path)) return FAILED;
  if (asprintf(&follower.sync_path, "%s.sync", follower.path) < 0) return complain("out of memory");
  if ((wrong = notes_open(follower.path, SIDECAR_REPLICA, follower.mode, &follower.sidecar))
      != NULL)
    return complain("%s", wrong);
  if (strcmp(follower.sidecar.header.bucket, follower.bucket) != 0 && !is_made(follower.path))
    sidecar_begin(&follower.sidecar);
  if (follower.sidecar.header.bucket[0]
      && strcmp(follower.sidecar.header.bucket, follower.bucket) != 0)
    return complain("%s: it is a replica of bucket %s: name another file, or remove this one and "
                    "%s.replica",
                    follower.path, follower.sidecar.header.bucket, follower.path);
  name_sidecar(&follower);
  status = child_supervise(follow, tick, &follower);
  leave(&follower, status);
  return status;
}
