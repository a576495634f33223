/*
** follow.c - whoever waits for a store's next commit sleeps until there is one.
**
** A store that is followed has one thread, which waits for commits of any process and rings the
** bells of all its followers.  The core looks ten times a second for a commit that did not wake it:
** once a store, however many follow.  The thread ends a moment after its last follower has gone.
**
** Invariants:
** (1) A feed is opened before the bells ring for what came until then, so that no commit between
**     two waits is missed.
** (2) A thread holds its store, and a `followed` is in the list exactly as long as its thread runs.
*/
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/clock.h"
#include "store/follow.h"

enum { STACK_BYTES = 256 * 1024 };

typedef struct followed {
  store *store;
  follower *first;
  struct followed *next;
} followed;

/* With the mutex: */
static pthread_mutex_t follow_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t one_ended = PTHREAD_COND_INITIALIZER;
static followed *all;
static unsigned threads;
static bool stopping;

static void ring(const followed *of) {
  uint64_t one = 1;
  for (const follower *follower = of->first; follower; follower = follower->next)
    (void)!write(follower->bell, &one, sizeof one);
}

void follow_ring_all(void) {
  pthread_mutex_lock(&follow_mutex);
  for (const followed *of = all; of; of = of->next) ring(of);
  pthread_mutex_unlock(&follow_mutex);
}

/* ----------------------------------------------------------------------------------- the thread */
/* Ring, unless it is time to end: then it is out of the list, and false. */
static bool ring_or_end(followed *of, bool rings) {
  followed **at = &all;
  bool ends;
  pthread_mutex_lock(&follow_mutex);
  ends = of->first == NULL || stopping;
  if (rings) ring(of);
  while (ends && *at != of) at = &(*at)->next;
  if (ends) *at = of->next;
  pthread_mutex_unlock(&follow_mutex);
  return !ends;
}

/* A feed from now on. */
static int open_feed(maph *m, maph_changes **feed) {
  maph_snapshot *now = NULL;
  uint64_t version;
  int rc = maph_snapshot_open(m, &now);
  if (rc != MAPH_OK) return rc;
  version = maph_snapshot_version(now);
  maph_snapshot_close(now);
  return maph_changes_open(m, version, feed);
}

/* Wait for the next commit, or a slice.  True: there was one, or the store cannot be followed: then
** all look at it themselves now and then, and find why. */
static bool wait_for_commit(maph_changes *feed) {
  struct timespec pause = { 0, FOLLOW_SLICE_MS * 1000000L };
  maph_change change;
  int rc = feed ? maph_changes_next(feed, FOLLOW_SLICE_MS, &change) : MAPH_CANTOPEN;
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) nanosleep(&pause, NULL);
  return rc != MAPH_NOTFOUND;
}

static void *run(void *argument) {
  followed *of = argument;
  maph_changes *feed = NULL;
  bool anew = true;
  for (;;) {
    if (anew) {
      maph_changes_close(feed);
      feed = NULL;
      (void)open_feed(of->store->m, &feed);
    }
    if (!ring_or_end(of, anew)) break;
    anew = wait_for_commit(feed);
  }
  maph_changes_close(feed);
  store_release(of->store);
  free(of);
  pthread_mutex_lock(&follow_mutex);
  threads--;
  pthread_cond_broadcast(&one_ended);
  pthread_mutex_unlock(&follow_mutex);
  return NULL;
}

/* With the mutex: the store's thread, begun if need be; NULL: it cannot be. */
static followed *thread_of(store *store) {
  followed *of = all;
  pthread_attr_t attributes;
  pthread_t thread;
  bool runs;
  while (of && of->store != store) of = of->next;
  if (of || stopping || (of = calloc(1, sizeof *of)) == NULL) return of;
  of->store = store;
  store_hold(store);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  runs = pthread_create(&thread, &attributes, run, of) == 0;
  pthread_attr_destroy(&attributes);
  if (!runs) {
    store_release(store); /* the caller holds it too */
    free(of);
    return NULL;
  }
  threads++;
  of->next = all;
  all = of;
  return of;
}

/* -------------------------------------------------------------------------------- the followers */
void follower_make(follower *follower) {
  struct follower none = { .bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
  *follower = none;
}

void follower_free(follower *follower) {
  follow_end(follower);
  if (follower->bell >= 0) close(follower->bell);
  follower->bell = -1;
}

bool follow_begin(follower *follower, store *store) {
  if (follower->bell < 0) return false;
  follow_end(follower);
  pthread_mutex_lock(&follow_mutex);
  follower->of = thread_of(store);
  if (follower->of) {
    follower->next = follower->of->first;
    follower->of->first = follower;
  }
  pthread_mutex_unlock(&follow_mutex);
  return follower->of != NULL;
}

void follow_end(follower *follower) {
  struct follower **at;
  if (follower->of == NULL) return;
  pthread_mutex_lock(&follow_mutex);
  at = &follower->of->first;
  while (*at != follower) at = &(*at)->next;
  *at = follower->next;
  follower->of = NULL;
  pthread_mutex_unlock(&follow_mutex);
}

void follow_quiet(follower *follower) {
  uint64_t rung;
  if (follower->bell >= 0) (void)!read(follower->bell, &rung, sizeof rung);
}

void follow_stop(void) {
  pthread_mutex_lock(&follow_mutex);
  stopping = true;
  while (threads > 0) pthread_cond_wait(&one_ended, &follow_mutex);
  pthread_mutex_unlock(&follow_mutex);
}
