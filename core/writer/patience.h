/*
** patience.h - how long a writer waits for its turn, for locks, and for who opens or recovers.
*/
#ifndef MAPH_PATIENCE_H
#define MAPH_PATIENCE_H

#include "os/os.h"

typedef struct lock_patience {
  uint64_t deadline_ns; /* of os_clock_ns */
  int timeout_ms;       /* the time given, for messages; 0: do not wait */
} lock_patience;

static inline lock_patience lock_patience_of(int timeout_ms) {
  return (lock_patience){ os_clock_ns() + (uint64_t)timeout_ms * 1000000u, timeout_ms };
}

#endif
