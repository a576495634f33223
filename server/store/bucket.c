/*
** bucket.c - how a write of a replica reaches the bucket that it is a replica of (bucket.h).
**
** Each question is a connection of its own to the relay, another process of this machine: nothing
** is kept that a new one would find broken.  One that was sent and not answered, since the relay
** was killed, is sent again under the same identity for as long as there is time: the bucket knows
** whether it was done.  What can still not be told is told so.
**
** A worker that asks waits, and is counted as one that waits for a writer is (commit.c): a bucket
** that cannot be reached never keeps more than those from reads.
*/
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/options.h"
#include "nats/sidecar.h"
#include "store/bucket.h"
#include "store/commit.h"

/* The relay's own last look at the key may take it a second after the deadline. */
enum { AFTER_MS = 2000, AGAIN_MS = 50, LOOK_MOST_MS = 10 };

static atomic_uint_fast64_t counts[FORWARD_OUTCOMES];

static void pause_ms(long ms) {
  struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
  nanosleep(&time, NULL);
}

bool bucket_takes(bool is_replica) {
  return is_replica && !option.read_only && option.replica_socket && option.replica_socket[0];
}

uint64_t bucket_count(forward_outcome outcome) { return atomic_load(&counts[outcome]); }

const char *bucket_outcome_name(forward_outcome outcome) {
  static const char *const names[FORWARD_OUTCOMES] = { [FORWARD_DONE] = "done",
                                                       [FORWARD_NOT_HELD] = "not_held",
                                                       [FORWARD_UNAVAILABLE] = "unavailable",
                                                       [FORWARD_BAD_KEY] = "bad_key",
                                                       [FORWARD_TOO_BIG] = "too_big",
                                                       [FORWARD_DENIED] = "denied",
                                                       [FORWARD_UNKNOWN] = "unknown" };
  return names[outcome];
}

__attribute__((format(printf, 3, 4))) static void
say(forward_answer *answer, forward_outcome outcome, const char *format, ...) {
  va_list ap;
  memset(answer, 0, sizeof *answer);
  answer->outcome = outcome;
  va_start(ap, format);
  vsnprintf(answer->sentence, sizeof answer->sentence, format, ap);
  va_end(ap);
}

/* ------------------------------------------------------------------------------------ the relay */
/* One connection.  False: it was not answered, and *answer says why. */
static bool ask_once(forward_question *question, uint64_t until, bool *sent,
                     forward_answer *answer) {
  int fd = forward_connect(option.replica_socket, until);
  const char *wrong;
  if (fd < 0) {
    say(answer, FORWARD_UNAVAILABLE, "maph-replica relay cannot be reached: %s", strerror(errno));
    return false;
  }
  wrong = forward_send_question(fd, question, until);
  if (wrong == NULL) *sent = true;
  /* One that turns us away answers before it has read all. */
  if (wrong == NULL || forward_ticks() < until)
    wrong = forward_receive_answer(fd, answer, until + AFTER_MS);
  close(fd);
  if (wrong == NULL) return true;
  free(answer->memory);
  say(answer, FORWARD_UNAVAILABLE, "maph-replica relay: %s", wrong);
  return false;
}

static void ask(forward_question *question, uint64_t until, forward_answer *answer) {
  uint64_t began = forward_ticks();
  bool sent = false;
  while (!ask_once(question, until, &sent, answer)) {
    if (!sent) return;
    if (forward_ticks() + AGAIN_MS >= until) {
      char why[sizeof answer->sentence];
      memcpy(why, answer->sentence, sizeof why);
      if (question->what != FORWARD_GET)
        say(answer, FORWARD_UNKNOWN, "whether it was written is unknown: %.900s", why);
      return;
    }
    question->sent_ms = began;
    pause_ms(AGAIN_MS);
  }
}

int bucket_ask(store *store, forward_question *question, uint64_t until, forward_answer *answer) {
  char path[4096];
  sidecar_header header;
  if (snprintf(path, sizeof path, "%s/%s.maph", option.data, store->name) >= (int)sizeof path
      || !sidecar_read_header(path, &header)) {
    say(answer, FORWARD_UNAVAILABLE,
        "of which bucket %s.maph is a replica is not known: its follower tells that in "
        "%s.maph.replica",
        store->name, store->name);
  } else if (!commit_enter(store)) {
    return STORE_CROWDED;
  } else {
    question->bucket = maph_str(header.bucket);
    question->filter = maph_str(header.filter);
    question->deadline_ms = until;
    question->sent_ms = 0;
    forward_identity(question->identity);
    ask(question, until, answer);
    commit_leave(store);
  }
  atomic_fetch_add(&counts[answer->outcome], 1);
  return MAPH_OK;
}

/* ---------------------------------------------------------------------------------- the replica */
static bool has(store *store, uint64_t revision) {
  maph_snapshot *now;
  bool reached;
  if (maph_snapshot_open(store->m, &now) != MAPH_OK) return false;
  reached = maph_snapshot_version(now) >= revision;
  maph_snapshot_close(now);
  return reached;
}

bool bucket_shown(store *store, uint64_t revision, uint64_t wait_ms) {
  uint64_t until = forward_ticks() + wait_ms;
  long pause = 1;
  bool reached = has(store, revision);
  if (reached || wait_ms == 0 || !commit_enter(store)) return reached;
  while (!reached && forward_ticks() < until) {
    pause_ms(pause);
    if (pause < LOOK_MOST_MS) pause++;
    reached = has(store, revision);
  }
  commit_leave(store);
  return reached;
}
