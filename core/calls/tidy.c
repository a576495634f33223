/*
** tidy.c - maph_tidy: the order of keys in few runs.
**
** Each slice is a session of its own, short enough that a writer who waits for it hardly notices.
*/
#include "calls/handle.h"
#include "file/store.h"
#include "order/run.h"
#include "order/write.h"
#include "os/interrupt.h"
#include "os/progress.h"
#include "writer/lock.h"
#include "writer/session.h"

/* One slice, in the store that the handle writes to now. */
static int tidy_slice(maph *m, int *more) {
  store *s;
  txn t;
  int rc = handle_begin(m, MAPH_SYNC_OFF, &t);
  if (rc != MAPH_OK) return rc;
  s = t.s;
  rc = order_tidy(s, more);
  txn_clear(&t);
  session_end(s);
  return rc;
}

int maph_tidy(maph *m, maph_progress_fn progress, void *arg) {
  listener l = { .tell = progress, .arg = arg };
  interruptible call;
  uint64_t done = 0;
  store *s;
  int rc = handle_writer(m, &s), more = 1;
  if (rc == MAPH_OK && lock_turn_is_mine(s))
    rc = fail(MAPH_BUSY, "%s: a transaction of this thread is open: end it first", s->path);
  if (rc != MAPH_OK) return rc;
  interrupt_begin(&call, &m->interrupts);
  while (rc == MAPH_OK && more) {
    rc = tidy_slice(m, &more);
    if (rc == MAPH_OK) rc = progress_tell(&l, m->path ? m->path : ":memory:", "order", ++done, 0);
  }
  interrupt_end(&call);
  return rc;
}
