/*
** wait.c - waiting until a replica has what somebody wrote (wait.h).
**
** A replica may appear, be replaced by a new one, and go backwards then: its version is looked at
** again and again, each time in the file that has the name.
*/
#include <stdio.h>
#include <time.h>
#include "maph.h"
#include "nats/figures.h"
#include "nats/option.h"
#include "nats/replica.h"
#include "nats/wait.h"

enum { PAUSE_MOST_MS = 20 };

typedef struct seen {
  maph *store;
  bool there;
  uint64_t version;
} seen;

static void pause_ms(int ms) {
  struct timespec time = { 0, ms * 1000000L };
  nanosleep(&time, NULL);
}

/* One look.  MAPH_CANTOPEN: it is not there yet. */
static int look(const char *path, seen *seen) {
  maph_snapshot *snapshot;
  maph_stats stats;
  int rc = MAPH_OK;
  if (seen->store == NULL) {
    rc = maph_open(path, MAPH_RDONLY, NULL, &seen->store);
    if (rc != MAPH_OK) return rc;
    rc = maph_stat(seen->store, &stats);
    if (rc == MAPH_OK && stats.versions != MAPH_VERSIONS_GIVEN) {
      complain("%s: a store of its own, and no replica of a bucket", path);
      return MAPH_MISUSE;
    }
  }
  if (rc == MAPH_OK) rc = maph_snapshot_open(seen->store, &snapshot);
  if (rc != MAPH_OK) return rc;
  seen->there = true;
  seen->version = maph_snapshot_version(snapshot);
  maph_snapshot_close(snapshot);
  return rc;
}

static int not_in_time(const char *path, const seen *seen, uint64_t revision) {
  if (!seen->there)
    return complain("%s: it was not there in time; a follower makes it when it is complete", path);
  if (revision == WAIT_COMPLETE)
    return complain("%s: it is at revision %llu, and was not complete in time: see maph-replica "
                    "status",
                    path, (unsigned long long)seen->version);
  return complain("%s: it did not come to revision %llu in time, and is at %llu: is it followed?",
                  path, (unsigned long long)revision, (unsigned long long)seen->version);
}

/* Is it followed, and equal to all that its follower knows of? */
static bool is_complete(const char *path, const seen *seen) {
  replica_view view;
  return replica_look(path, &view) && view.followed && view.record.state == REPLICA_FOLLOWING
         && view.record.caught_up_ms != 0 && seen->version >= view.record.last_seen;
}

static bool is_reached(const char *path, const seen *seen, uint64_t revision) {
  return revision == WAIT_COMPLETE ? is_complete(path, seen) : seen->version >= revision;
}

int wait_for_revision(const char *path, uint64_t revision, uint64_t timeout_ms) {
  unsigned long long now = ticks_ms();
  unsigned long long deadline = timeout_ms < UINT64_MAX - now ? now + timeout_ms : UINT64_MAX;
  seen seen = { .store = NULL };
  int pause = 1, rc, status = -1;
  while (status < 0) {
    rc = look(path, &seen);
    if (rc == MAPH_OK && is_reached(path, &seen, revision)) {
      status = DONE;
    } else if (rc == MAPH_MISUSE) {
      status = FAILED;
    } else if (rc != MAPH_OK && rc != MAPH_CANTOPEN) {
      status = complain("%s", maph_errmsg(seen.store));
    } else if (ticks_ms() >= deadline) {
      status = not_in_time(path, &seen, revision);
    } else {
      pause_ms(pause);
      if (pause < PAUSE_MOST_MS) pause *= 2;
    }
  }
  maph_close(seen.store);
  return status;
}

int command_wait(const char *const *words, int count) {
  bool to_revision = option_given(&option.revision);
  uint64_t timeout = option_given(&option.timeout_ms) ? option.timeout_ms : UINT64_MAX;
  int status = wait_for_revision(words[0], to_revision ? option.revision : WAIT_COMPLETE, timeout);
  (void)count;
  if (option.json && status == DONE) printf("{\"success\":true}\n");
  return status;
}
