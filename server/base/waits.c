/*
** waits.c - how many workers may wait at once, and for what.
**
** A worker that waits for somebody else, a client or another process that writes, serves nobody.
** So that health, metrics and reads always find one, at most three quarters of option.threads wait,
** of each kind fewer, and of the writers of one store at most half: who comes then is refused,
** instead of standing in the way of those whom nothing keeps.
**
** Most waits are over in no time, and a crowd of them is no trouble: who finds no room looks for a
** moment whether there will be some.
*/
#include <pthread.h>
#include "base/clock.h"
#include "base/options.h"
#include "base/waits.h"

enum { GRACE_MS = 100, LOOK_MS = 5 };

static atomic_uint all, of_kind[WAIT_KINDS];

static unsigned part(unsigned eighths) {
  unsigned n = (unsigned)(option.threads * eighths / 8);
  return n > 0 ? n : 1;
}

static bool take(atomic_uint *count, unsigned most) {
  if (atomic_fetch_add(count, 1) < most) return true;
  atomic_fetch_sub(count, 1);
  return false;
}

/* Of option.threads, in eighths; of all kinds together six. */
static const unsigned eighths[WAIT_KINDS] = { 4, 4, 5, 2 };

static bool try_enter(enum wait_kind kind, atomic_uint *of_store) {
  if (of_store && !take(of_store, part(4))) return false;
  if (take(&of_kind[kind], part(eighths[kind]))) {
    if (take(&all, part(6))) return true;
    atomic_fetch_sub(&of_kind[kind], 1);
  }
  if (of_store) atomic_fetch_sub(of_store, 1);
  return false;
}

bool waits_enter(enum wait_kind kind, atomic_uint *of_store) {
  struct timespec pause = { 0, LOOK_MS * 1000000L };
  for (int waited = 0; waited < GRACE_MS; waited += LOOK_MS) {
    if (try_enter(kind, of_store)) return true;
    nanosleep(&pause, NULL);
  }
  return try_enter(kind, of_store);
}

bool waits_try(enum wait_kind kind) { return try_enter(kind, NULL); }

void waits_leave(enum wait_kind kind, atomic_uint *of_store) {
  atomic_fetch_sub(&all, 1);
  atomic_fetch_sub(&of_kind[kind], 1);
  if (of_store) atomic_fetch_sub(of_store, 1);
}

bool waits_full(enum wait_kind kind) {
  return atomic_load(&of_kind[kind]) >= part(eighths[kind]) || atomic_load(&all) >= part(6);
}

unsigned waits_count(enum wait_kind kind) { return atomic_load(&of_kind[kind]); }
