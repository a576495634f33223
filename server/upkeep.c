/*
** upkeep.c - what is done each second: flushes, a look at the stores' files, compactions that are
** due, the log.
*/
#include <pthread.h>
#include <stdbool.h>
#include "base/clock.h"
#include "http/access_log.h"
#include "routes/jobs.h"
#include "store/commit.h"
#include "upkeep.h"

static pthread_t thread;
static bool started, stopping; /* upkeep_mutex, but for started */
static pthread_mutex_t upkeep_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake;

static void *run(void *unused) {
  (void)unused;
  pthread_mutex_lock(&upkeep_mutex);
  while (!stopping) {
    struct timespec until = clock_after(1);
    pthread_cond_timedwait(&wake, &upkeep_mutex, &until);
    pthread_mutex_unlock(&upkeep_mutex);
    commit_flush();
    stores_renew();
    jobs_upkeep();
    access_log_flush();
    pthread_mutex_lock(&upkeep_mutex);
  }
  pthread_mutex_unlock(&upkeep_mutex);
  return NULL;
}

int upkeep_start(void) {
  clock_condition(&wake);
  started = pthread_create(&thread, NULL, run, NULL) == 0;
  return started ? 0 : 1;
}

void upkeep_stop(void) {
  if (!started) return;
  pthread_mutex_lock(&upkeep_mutex);
  stopping = true;
  pthread_cond_signal(&wake);
  pthread_mutex_unlock(&upkeep_mutex);
  pthread_join(thread, NULL);
  started = false;
}
