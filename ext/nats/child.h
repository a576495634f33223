/*
** child.h - a process that follows, and its parent, which sees that it lives; and one that runs a
** command that ends by itself.
**
** The child stamps a page that they share, also while it waits for nothing.  One that has
** not stamped for CHILD_PATIENCE_MS is killed, and a new one goes on from the file: libnats 3.4.1
** may loop for ever in a connect, and nothing that a dead follower leaves needs mending.
*/
#ifndef MAPH_NATS_CHILD_H
#define MAPH_NATS_CHILD_H

#include <stdbool.h>
#include <stdint.h>

enum { CHILD_ENDED = 0, CHILD_FATAL = 2 };
/* How long a child may be silent: between stamps, and in a call of maph or a request. */
enum { CHILD_PATIENCE_MS = 20000, CHILD_LONG_PATIENCE_MS = 75000 };

/* Run `child`, again where it dies of something else than SIGTERM or CHILD_FATAL, until the parent
** is told to end; `tick` is called each second, in the parent, with how often a child was replaced.
** The exit status. */
int child_supervise(int (*child)(void *arg), void (*tick)(void *arg, uint64_t replaced), void *arg);

/* Go on in a process of its own, which is this one, should fork fail.  Returns false there; true in
** its parent once it has ended: *status is what it ended with.  A signal of libnats's mistakes, as
** 3.4.1 gets over the size of a frame, is told after `words`, and is status 2. */
bool child_guard(const char *words, int *status);

/* In the child: it is alive, and what comes takes no time. */
void child_stamp(void);
/* It is alive, and what comes may take long. */
void child_stamp_long(void);
/* It was told to end. */
bool child_told(void);
/* Sleep so long, but not beyond being told; stamps. */
void child_sleep(unsigned ms);

#endif
