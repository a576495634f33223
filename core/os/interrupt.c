/*
** interrupt.c - see interrupt.h.
*/
#include "os/interrupt.h"
#include "maph.h"
#include "os/error.h"

interrupt_count interrupt_all;
static _Thread_local interruptible *innermost;

void interrupt_begin(interruptible *call, const interrupt_count *own) {
  call->outer = innermost;
  call->own = own;
  call->seen = interrupt_seen(own);
  call->listener = NULL;
  call->stopped = MAPH_OK;
  innermost = call;
}

void interrupt_end(const interruptible *call) { innermost = call->outer; }

int interrupted(void) {
  const interruptible *call;
  for (call = innermost; call != NULL; call = call->outer)
    if (call->stopped != MAPH_OK || interrupt_seen(call->own) != call->seen) return 1;
  return 0;
}

interruptible *interrupt_listening(void) {
  interruptible *call = innermost;
  while (call != NULL && call->listener == NULL) call = call->outer;
  return call;
}

int interrupt_forked(const char *path) {
  return fail(MAPH_MISUSE, "%s: this does not cross fork(): the parent goes on with it", path);
}

int interrupt_say(const char *path) {
  const interruptible *call;
  for (call = innermost; call != NULL; call = call->outer)
    if (call->stopped == MAPH_MISUSE) return interrupt_forked(path);
  return fail(MAPH_CANCELLED, "%s: stopped on request: nothing was changed", path);
}

int interrupt_check(const char *path) { return interrupted() ? interrupt_say(path) : MAPH_OK; }
