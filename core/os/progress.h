/*
** progress.h - telling the caller how far long work is, often enough for a person and seldom enough
** for the work.
*/
#ifndef MAPH_PROGRESS_H
#define MAPH_PROGRESS_H

#include "maph.h"

typedef struct listener {
  maph_progress_fn tell; /* NULL: nobody listens */
  void *arg;
  uint64_t told_ns;  /* when it was called last, */
  const char *phase; /* and of what */
} listener;

/* At most some times a second, but of each phase.  CANCELLED when the caller says stop, or the call
** was interrupted: path is what the work was about.  MISUSE in a child that the callback forked:
** the parent goes on with the work, and the child must touch no file of it. */
int progress_tell(listener *listener, const char *path, const char *phase, uint64_t done,
                  uint64_t total);
/* The call under way waits for another writer: is it interrupted, or does its listener, who is told
** of a phase "wait", say stop?  interrupt_say has the sentence */
int progress_wait(void);

#endif
