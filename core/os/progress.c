/*
** progress.c - see progress.h.
*/
#include "os/progress.h"
#include "os/error.h"
#include "os/interrupt.h"
#include "os/os.h"

#include <string.h>

enum { TELL_EACH_NS = 100000000 };

int progress_tell(listener *listener, const char *path, const char *phase, uint64_t done,
                  uint64_t total) {
  uint64_t now;
  unsigned forks;
  int stopped;
  if (interrupted()) return interrupt_say(path);
  if (listener->tell == NULL) return MAPH_OK;
  now = os_clock_ns();
  if (now - listener->told_ns < TELL_EACH_NS && done < total && listener->phase
      && strcmp(phase, listener->phase) == 0)
    return MAPH_OK;
  listener->told_ns = now;
  listener->phase = phase;
  forks = os_forks();
  stopped = listener->tell(listener->arg, phase, done, total);
  if (os_forks() != forks)
    return fail(MAPH_MISUSE, "%s: this does not cross fork(): the parent goes on with it", path);
  return stopped ? interrupt_say(path) : MAPH_OK;
}
