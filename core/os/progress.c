/*
** progress.c - see progress.h.
*/
#include "os/progress.h"
#include "os/error.h"
#include "os/interrupt.h"
#include "os/os.h"

#include <string.h>

enum { TELL_EACH_NS = 100000000 };

static int tell(listener *listener, uint64_t now, const char *phase, uint64_t done,
                uint64_t total) {
  unsigned forks = os_forks();
  int stop;
  listener->told_ns = now;
  listener->phase = phase;
  stop = listener->tell(listener->arg, phase, done, total);
  if (os_forks() != forks) return MAPH_MISUSE;
  return stop ? MAPH_CANCELLED : MAPH_OK;
}

int progress_tell(listener *listener, const char *path, const char *phase, uint64_t done,
                  uint64_t total) {
  uint64_t now;
  int rc;
  if (interrupted()) return interrupt_say(path);
  if (listener->tell == NULL) return MAPH_OK;
  now = os_clock_ns();
  if (now - listener->told_ns < TELL_EACH_NS && done < total && listener->phase
      && strcmp(phase, listener->phase) == 0)
    return MAPH_OK;
  rc = tell(listener, now, phase, done, total);
  if (rc == MAPH_MISUSE) return interrupt_forked(path);
  return rc == MAPH_CANCELLED ? interrupt_say(path) : MAPH_OK;
}

int progress_wait(void) {
  interruptible *call;
  uint64_t now;
  if (interrupted()) return 1;
  call = interrupt_listening();
  if (call == NULL || call->listener->tell == NULL) return 0;
  now = os_clock_ns();
  if (now - call->listener->told_ns >= TELL_EACH_NS)
    call->stopped = tell(call->listener, now, "wait", 0, 0);
  return call->stopped != MAPH_OK;
}
