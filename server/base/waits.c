/*
** waits.c - how many workers may wait at once, and for what.
**
** A worker that waits for somebody else, a client or another process that writes, serves nobody.
** So that health, metrics and reads always find one, at most three quarters of option.threads wait,
** of each kind fewer, and of the writers of one store at most half: whoever comes then is refused,
** instead of standing in the way of those whom nothing keeps.
**
** Most waits are over in no time, and a crowd of them is no trouble.  Whoever finds no room waits
** for some as long as others leave; where none has left for a while the place is stuck, and whoever
** comes is refused at once.
*/
#include <time.h>
#include "base/clock.h"
#include "base/options.h"
#include "base/waits.h"

enum { STUCK_MS = 300, MOST_MS = 2000, LOOK_MS = 5 };

static wait_place all, of_kind[WAIT_KINDS];
/* Of option.threads, in eighths; of all kinds together six. */
static const unsigned eighths[WAIT_KINDS] = { 4, 4, 5, 2 };

static unsigned part(unsigned n) {
  unsigned share = (unsigned)(option.threads * n / 8);
  return share > 0 ? share : 1;
}

static bool take(wait_place *place, unsigned most) {
  unsigned before = atomic_fetch_add(&place->count, 1);
  if (before == 0) atomic_store(&place->moved_us, now_us());
  if (before < most) return true;
  atomic_fetch_sub(&place->count, 1);
  return false;
}

static void give_back(wait_place *place) { atomic_fetch_sub(&place->count, 1); }

/* Which place is full; NULL: none, and one of each is taken. */
static wait_place *try_enter(enum wait_kind kind, wait_place *of_store) {
  wait_place *full = &all;
  if (of_store && !take(of_store, part(4))) return of_store;
  if (!take(&of_kind[kind], part(eighths[kind]))) {
    full = &of_kind[kind];
  } else {
    if (take(&all, part(6))) return NULL;
    give_back(&of_kind[kind]);
  }
  if (of_store) give_back(of_store);
  return full;
}

bool waits_enter(enum wait_kind kind, wait_place *of_store) {
  struct timespec pause = { 0, LOOK_MS * 1000000L };
  uint64_t end = now_us() + MOST_MS * 1000;
  wait_place *full;
  while ((full = try_enter(kind, of_store)) != NULL) {
    uint64_t moved = atomic_load(&full->moved_us), now = now_us();
    if (now >= end || now > moved + STUCK_MS * 1000) return false;
    nanosleep(&pause, NULL);
  }
  return true;
}

bool waits_try(enum wait_kind kind) { return try_enter(kind, NULL) == NULL; }

void waits_leave(enum wait_kind kind, wait_place *of_store) {
  uint64_t now = now_us();
  wait_place *places[] = { &all, &of_kind[kind], of_store };
  for (int i = 0; i < 3 && places[i]; i++) {
    atomic_store(&places[i]->moved_us, now);
    atomic_fetch_sub(&places[i]->count, 1);
  }
}

bool waits_full(enum wait_kind kind) {
  return atomic_load(&of_kind[kind].count) >= part(eighths[kind])
         || atomic_load(&all.count) >= part(6);
}

unsigned waits_count(enum wait_kind kind) { return atomic_load(&of_kind[kind].count); }
