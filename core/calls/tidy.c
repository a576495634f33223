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
  store *store;
  txn txn;
  int rc = handle_begin(m, MAPH_SYNC_OFF, &txn);
  if (rc != MAPH_OK) return rc;
  store = txn.store;
  rc = order_tidy(store, more);
  txn_clear(&txn);
  session_end(store);
  return rc;
}

int maph_tidy(maph *m, maph_progress_fn progress, void *arg) {
  listener listener = { .tell = progress, .arg = arg, .told_ns = os_clock_ns() };
  interruptible call;
  uint64_t done = 0;
  store *store;
  int rc = handle_writer(m, &store), more = 1;
  if (rc == MAPH_OK && lock_turn_is_mine(store))
    rc = fail(MAPH_BUSY, "%s: a transaction of this thread is open: end it first", store->path);
  if (rc != MAPH_OK) return rc;
  interrupt_begin(&call, &m->interrupts);
  call.listener = &listener;
  while (rc == MAPH_OK && more) {
    rc = tidy_slice(m, &more);
    if (rc == MAPH_OK) rc = progress_tell(&listener, handle_name(m), "order", ++done, 0);
  }
  interrupt_end(&call);
  return handle_failed(m, rc);
}
