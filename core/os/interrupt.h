/*
** interrupt.h - how maph_interrupt reaches the calls that are under way.
**
** An interrupt is a count: one of each handle, and one of the process, which maph_interrupt(NULL)
** raises.  A call notes both counts when it begins; once one of them is another, it is interrupted.
** So nothing has to be cleared: an interrupt ends every call that began before it and none that
** begins later, however many threads there are.
**
** A call that may take long is an `interruptible` of its thread from its begin to its end.  What it
** does in between, through other calls too, asks interrupted().  A single write has none, because
** that would cost each put: what it waits with (writer/patience.h) notes the counts instead.
**
** A call that tells its progress is stopped by its listener too, which is asked while the call
** waits for another writer: progress_wait().
*/
#ifndef MAPH_INTERRUPT_H
#define MAPH_INTERRUPT_H

#include <stdatomic.h>
#include <stddef.h>

typedef _Atomic unsigned interrupt_count;

typedef struct interruptible {
  struct interruptible *outer; /* the call of this thread that makes this one; NULL: none */
  const interrupt_count *own;  /* of the handle; NULL: it has none */
  unsigned seen;
  struct listener *listener; /* asked while it waits; NULL: nobody */
  int stopped;               /* what its listener answered then: OK CANCELLED MISUSE */
} interruptible;

extern interrupt_count interrupt_all; /* of the process */

/* relaxed: the counts carry no other data, and who finds an old one looks again before long. */
static inline unsigned interrupt_seen(const interrupt_count *own) {
  return atomic_load_explicit(&interrupt_all, memory_order_relaxed)
         + (own ? atomic_load_explicit(own, memory_order_relaxed) : 0);
}

void interrupt_begin(interruptible *call, const interrupt_count *own);
void interrupt_end(const interruptible *call);

int interrupted(void);                  /* is a call of this thread interrupted? */
int interrupt_say(const char *path);    /* CANCELLED, or what interrupt_forked says, about path */
int interrupt_forked(const char *path); /* MISUSE: a listener forked, and this is the child */
/* the innermost call of this thread that has a listener; NULL: none */
interruptible *interrupt_listening(void);
int interrupt_check(const char *path); /* the same, if it is interrupted; else OK */

#endif
