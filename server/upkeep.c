/*
** upkeep.c - what is done each second: flushes, a look at the stores' files, compactions that are
** due, the log.  And by a thread of its own, since it waits for writers: the order of keys of
** stores whose keys are listed is tidied where it has come to be in many pieces.
*/
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "base/clock.h"
#include "http/access_log.h"
#include "routes/jobs.h"
#include "store/commit.h"
#include "store/stores.h"
#include "upkeep.h"

enum { UNTIDY = 8 }; /* so many pieces more than there were when it was tidied */

static pthread_t thread, tidier;
static bool started, tidier_started;
static atomic_bool stopping; /* set under upkeep_mutex */
static pthread_mutex_t upkeep_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake;

/* Until the server stops. */
static void each_second(void (*work)(void)) {
  pthread_mutex_lock(&upkeep_mutex);
  while (!stopping) {
    struct timespec until = clock_after(1);
    pthread_cond_timedwait(&wake, &upkeep_mutex, &until);
    pthread_mutex_unlock(&upkeep_mutex);
    work();
    pthread_mutex_lock(&upkeep_mutex);
  }
  pthread_mutex_unlock(&upkeep_mutex);
}

static void look_after_all(void) {
  commit_flush();
  stores_renew();
  jobs_upkeep();
  access_log_flush();
}

static void *run(void *unused) {
  (void)unused;
  each_second(look_after_all);
  return NULL;
}

static int stop_when_asked(void *arg, const char *phase, uint64_t done, uint64_t total) {
  (void)arg;
  (void)phase;
  (void)done;
  (void)total;
  return stopping;
}

/* Writers wait no longer than for one of its steps.  What fails is tried again once the keys are
** listed again. */
static void tidy_if_untidy(store *store) {
  uint64_t runs;
  if (store->read_only || !store->listed) return;
  runs = maph_order_runs(store->m);
  if (runs < store->tidied_runs) store->tidied_runs = runs;
  if (runs < store->tidied_runs + UNTIDY) return;
  store->listed = false;
  maph_tidy(store->m, stop_when_asked, NULL);
  store->tidied_runs = maph_order_runs(store->m);
}

static void tidy_all(void) {
  for (store *store = store_next(NULL); store; store = store_next(store))
    if (!stopping) tidy_if_untidy(store);
}

static void *tidy(void *unused) {
  (void)unused;
  each_second(tidy_all);
  return NULL;
}

int upkeep_start(void) {
  clock_condition(&wake);
  started = pthread_create(&thread, NULL, run, NULL) == 0;
  tidier_started = started && pthread_create(&tidier, NULL, tidy, NULL) == 0;
  return started ? 0 : 1;
}

void upkeep_stop(void) {
  if (!started) return;
  pthread_mutex_lock(&upkeep_mutex);
  stopping = true;
  pthread_cond_broadcast(&wake);
  pthread_mutex_unlock(&upkeep_mutex);
  pthread_join(thread, NULL);
  if (tidier_started) pthread_join(tidier, NULL);
  started = false;
}
