/*
** openings.c - which stores are being opened just now, and which could not be opened.
**
** A store may take long to be opened: it is recovered, or another process has it to itself.  Only
** whoever wants that very store waits for it, and not for ever.
*/
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/options.h"
#include "base/waits.h"
#include "store/openings.h"

enum { OPENING_LEAST_MS = 1000 };
static opening *openings;
static pthread_mutex_t openings_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opening_ended;

void openings_setup(void) { clock_condition(&opening_ended); }

static bool is_being_opened(const char *name, size_t size) {
  const opening *opening = openings;
  while (opening && (opening->size != size || memcmp(opening->name, name, size) != 0))
    opening = opening->next;
  return opening != NULL;
}

bool opening_begin(opening *mine) {
  uint64_t wait_ms =
      option.busy_timeout_ms > OPENING_LEAST_MS ? option.busy_timeout_ms : OPENING_LEAST_MS;
  struct timespec until = clock_after(wait_ms / 1000);
  bool waits, may_wait = waits_enter(WAIT_OPEN, NULL);
  pthread_mutex_lock(&openings_mutex);
  while ((waits = is_being_opened(mine->name, mine->size)) && may_wait
         && pthread_cond_timedwait(&opening_ended, &openings_mutex, &until) == 0)
    ;
  if (!waits) {
    mine->next = openings;
    openings = mine;
  }
  pthread_mutex_unlock(&openings_mutex);
  if (may_wait) waits_leave(WAIT_OPEN, NULL);
  return !waits;
}

void opening_end(const opening *mine) {
  opening **at = &openings;
  pthread_mutex_lock(&openings_mutex);
  while (*at != mine) at = &(*at)->next;
  *at = mine->next;
  pthread_cond_broadcast(&opening_ended);
  pthread_mutex_unlock(&openings_mutex);
}

/* Names whose files could not be opened; openings_mutex. */
typedef struct failure {
  char name[72];
  struct failure *next;
} failure;
static failure *failures;

void opening_note(const char *name, size_t size, bool failed) {
  failure **at = &failures, *failure;
  pthread_mutex_lock(&openings_mutex);
  while (*at && (strlen((*at)->name) != size || memcmp((*at)->name, name, size) != 0))
    at = &(*at)->next;
  failure = *at;
  if (failure && !failed) {
    *at = failure->next;
    free(failure);
  } else if (failure == NULL && failed && (failure = calloc(1, sizeof *failure)) != NULL) {
    memcpy(failure->name, name, size);
    failure->next = failures;
    failures = failure;
  }
  pthread_mutex_unlock(&openings_mutex);
}

uint64_t openings_failed(void) {
  uint64_t n = 0;
  pthread_mutex_lock(&openings_mutex);
  for (const failure *failure = failures; failure; failure = failure->next) n++;
  pthread_mutex_unlock(&openings_mutex);
  return n;
}
