/*
** waits.c - who waits for whom among the threads of a process, as Tcl commands for _thread tests.
**
**   maph_waits_close PATH OTHER THIRD
**
** One thread closes the store at PATH and is stopped in the flush of that.  Meanwhile this thread
** opens and closes snapshots of the store at OTHER, and opens, writes and closes the one at THIRD.
** The answer is "free", or what kept it waiting.
**
**   maph_waits_turn PATH HOGS HOLD_MS TURNS  -> {failures, turns of others in a wait, what
**   a failure said}
**
** HOGS threads commit transactions of HOLD_MS back to back; one more puts a key TURNS times.  How
** many of their transactions end while it waits for one put?  The median of TURNS: others have
** turns as well while this thread has no processor just before its wait or after it.
*/
#include "maph.h"
#include "os/os.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tcl.h>

int Maphwaits_Init(Tcl_Interp *interp);

enum { PATIENCE_MS = 60000, HOGS_MOST = 16, TURNS_MOST = 100 };

/* ---------------------------------------------------------------------- a close that takes long */

typedef struct closing {
  maph *m;
  atomic_int inside, go, gave_up;
} closing;

static closing *now_closing;
static _Thread_local int is_closer;

static uint64_t now_ms(void) { return os_clock_ns() / 1000000; }

static void stop_in_flush(const uint8_t *base, uint64_t from, uint64_t to) {
  uint64_t began = now_ms();
  (void)base;
  (void)from;
  (void)to;
  if (!is_closer || atomic_exchange(&now_closing->inside, 1)) return;
  while (!atomic_load(&now_closing->go)) {
    if (now_ms() - began > PATIENCE_MS) {
      atomic_store(&now_closing->gave_up, 1);
      return;
    }
    os_sleep_us(100);
  }
}

static void *close_it(void *arg) {
  closing *closing = arg;
  is_closer = 1;
  maph_close(closing->m);
  return NULL;
}

static const char *go_on(closing *closing, maph *other, const char *third) {
  maph_snapshot *snapshot;
  maph *m;
  if (maph_snapshot_open(other, &snapshot) != MAPH_OK) return "a snapshot failed";
  maph_snapshot_close(snapshot);
  if (atomic_load(&closing->gave_up)) return "a snapshot waited";
  if (maph_open(third, MAPH_RDWR | MAPH_CREATE, NULL, &m) != MAPH_OK) return "an open failed";
  if (atomic_load(&closing->gave_up)) return "an open waited";
  if (maph_put(m, maph_str("k"), maph_str("v")) != MAPH_OK) return "a put failed";
  if (maph_close(m) != MAPH_OK) return "a close failed";
  return atomic_load(&closing->gave_up) ? "a close waited" : "free";
}

static int close_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  closing closing = { .m = NULL };
  const char *answer = "no store";
  maph *other = NULL;
  pthread_t id;
  (void)data;
  if (objc != 4) {
    Tcl_WrongNumArgs(interp, 1, objv, "PATH OTHER THIRD");
    return TCL_ERROR;
  }
  if (maph_open(Tcl_GetString(objv[1]), MAPH_RDWR | MAPH_CREATE, NULL, &closing.m) == MAPH_OK
      && maph_open(Tcl_GetString(objv[2]), MAPH_RDWR | MAPH_CREATE, NULL, &other) == MAPH_OK
      && maph_put(closing.m, maph_str("k"), maph_str("v")) == MAPH_OK) {
    now_closing = &closing;
    os_test.flush = stop_in_flush;
    if (pthread_create(&id, NULL, close_it, &closing) != 0) Tcl_Panic("no thread");
    while (!atomic_load(&closing.inside)) os_sleep_us(100);
    answer = go_on(&closing, other, Tcl_GetString(objv[3]));
    atomic_store(&closing.go, 1);
    pthread_join(id, NULL);
    os_test.flush = NULL;
  }
  maph_close(other);
  Tcl_SetObjResult(interp, Tcl_NewStringObj(answer, -1));
  return TCL_OK;
}

/* --------------------------------------------------------------------------- threads in line */

typedef struct line {
  maph *m;
  int hold_ms;
  atomic_int stop;
  atomic_long turns, busy;
  char said[300];
} line;

static void *hog(void *arg) {
  line *line = arg;
  while (!atomic_load(&line->stop)) {
    uint64_t began;
    maph_txn *txn;
    if (maph_txn_begin(line->m, MAPH_SYNC_OFF, &txn) != MAPH_OK) {
      atomic_fetch_add(&line->busy, 1);
      snprintf(line->said, sizeof line->said, "%s", maph_errmsg(NULL));
      continue;
    }
    began = now_ms();
    maph_txn_put(txn, maph_str("hog"), maph_str("x"));
    while (now_ms() - began < (uint64_t)line->hold_ms) os_sleep_us(200);
    maph_txn_commit(txn);
    atomic_fetch_add(&line->turns, 1);
  }
  return NULL;
}

static int by_size(const void *a, const void *b) {
  long x = *(const long *)a, y = *(const long *)b;
  return (x > y) - (x < y);
}

/* How many turns of others end while this thread waits for a put, each time. */
static void wait_in_line(line *line, int turns, long *waited) {
  for (int i = 0; i < turns; i++) {
    long before = atomic_load(&line->turns);
    if (maph_put(line->m, maph_str("one"), maph_str("y")) != MAPH_OK)
      atomic_fetch_add(&line->busy, 1);
    waited[i] = atomic_load(&line->turns) - before;
  }
  qsort(waited, (size_t)turns, sizeof *waited, by_size);
}

static int turn_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  line line = { .m = NULL };
  pthread_t ids[HOGS_MOST];
  long waited[TURNS_MOST];
  int hogs, turns, i;
  (void)data;
  if (objc != 5) {
    Tcl_WrongNumArgs(interp, 1, objv, "PATH HOGS HOLD_MS TURNS");
    return TCL_ERROR;
  }
  if (Tcl_GetIntFromObj(interp, objv[2], &hogs) != TCL_OK
      || Tcl_GetIntFromObj(interp, objv[3], &line.hold_ms) != TCL_OK
      || Tcl_GetIntFromObj(interp, objv[4], &turns) != TCL_OK || hogs > HOGS_MOST || turns < 1
      || turns > TURNS_MOST)
    return TCL_ERROR;
  if (maph_open(Tcl_GetString(objv[1]), MAPH_RDWR | MAPH_CREATE, NULL, &line.m) != MAPH_OK)
    Tcl_Panic("no store");
  for (i = 0; i < hogs; i++)
    if (pthread_create(&ids[i], NULL, hog, &line) != 0) Tcl_Panic("no thread");
  while (atomic_load(&line.turns) < hogs) os_sleep_us(1000);
  wait_in_line(&line, turns, waited);
  atomic_store(&line.stop, 1);
  for (i = 0; i < hogs; i++) pthread_join(ids[i], NULL);
  maph_close(line.m);
  Tcl_SetObjResult(interp,
                   Tcl_ObjPrintf("%ld %ld {%s}", (long)line.busy, waited[turns / 2], line.said));
  return TCL_OK;
}

int Maphwaits_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_waits_close", close_cmd, NULL, NULL);
  Tcl_CreateObjCommand(interp, "maph_waits_turn", turn_cmd, NULL, NULL);
  return TCL_OK;
}
