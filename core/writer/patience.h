/*
** patience.h - how long a writer waits for its turn, for locks, and for whoever opens or recovers;
** and whether it was interrupted meanwhile.
*/
#ifndef MAPH_PATIENCE_H
#define MAPH_PATIENCE_H

#include "os/error.h"
#include "os/interrupt.h"
#include "os/os.h"
#include "os/progress.h"

typedef struct lock_patience {
  uint64_t deadline_ns;       /* of os_clock_ns */
  int timeout_ms;             /* the time given, for messages; 0: do not wait */
  const interrupt_count *own; /* of the handle that waits; NULL: of none */
  unsigned seen;              /* interrupt_seen, when it began */
  sentence *before;           /* NULL, or: what was said before, kept before CANTOPEN is said */
} lock_patience;

static inline lock_patience lock_patience_of(int timeout_ms, const interrupt_count *own) {
  return (lock_patience){ os_clock_ns() + (uint64_t)timeout_ms * 1000000u, timeout_ms, own,
                          interrupt_seen(own), NULL };
}

/* Asked before each wait, never where nothing is waited for, and without a mutex that the listener
** of the call may need (core/maph.h: it reads the store, and does not write to it). */
static inline int lock_interrupted(const lock_patience *patience) {
  return interrupt_seen(patience->own) != patience->seen || progress_wait();
}

#endif
