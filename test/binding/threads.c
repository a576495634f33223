/*
** threads.c - one handle used by many threads at once, as a Tcl command for the _thread tests.
**
**   maph_threads PATH WRITERS READERS COMMITS DURABILITY ?REWRITING AUTO_COMPACT?
**                                              -> {first violation or nothing, reads, commits,
**                                                rewrites, feeds fallen behind}
**
** Each writer commits COMMITS transactions: it counts up "sum", and puts its own value under "left"
** and "right" and a growing number of other keys.  Readers look at all times for what must not be:
** left differing from right in one get_many, in one snapshot or in one cursor; a sum that goes
** back; a slice whose bytes change while it is held. Where REWRITING is true, one more thread
** compacts and optimizes in turn, and one follows the changes.
**
**   maph_fork_close PATH N  -> how many of N children, forked while four threads write, did not get
**   OK from maph_close within seconds
*/
#include "maph.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <tcl.h>
#include <unistd.h>

int Maphthreads_Init(Tcl_Interp *interp);

enum { MAX_THREADS = 32 };

typedef struct run {
  maph *m;
  int durability, commits;
  atomic_int writers_left;
  atomic_long violations, reads, committed, rewrites, fell_behind;
  char first[256]; /* what the first violation was */
} run;

typedef struct worker {
  run *r;
  int number;
} worker;

static void violation(run *run, const char *what) {
  if (atomic_fetch_add(&run->violations, 1) == 0)
    snprintf(run->first, sizeof(run->first), "%s", what);
}

static int same(maph_slice a, maph_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static long number_of(maph_slice s) {
  char text[32];
  size_t n = s.size < sizeof(text) - 1 ? s.size : sizeof(text) - 1;
  if (s.data == NULL) return 0;
  memcpy(text, s.data, n);
  text[n] = 0;
  return atol(text);
}

static int write_once(run *run, int number, int i) {
  char text[64], key[64];
  maph_slice sum;
  maph_txn *txn;
  int rc = maph_txn_begin(run->m, run->durability, &txn);
  if (rc != MAPH_OK) return rc;
  rc = maph_txn_get(txn, maph_str("sum"), &sum);
  if (rc == MAPH_OK || rc == MAPH_NOTFOUND) {
    snprintf(text, sizeof(text), "%ld", number_of(sum) + 1);
    rc = maph_txn_put(txn, maph_str("sum"), maph_str(text));
  }
  snprintf(text, sizeof(text), "writer %d commit %d", number, i);
  snprintf(key, sizeof(key), "key-%d-%d", number, i);
  if (rc == MAPH_OK) rc = maph_txn_put(txn, maph_str("left"), maph_str(text));
  if (rc == MAPH_OK) rc = maph_txn_put(txn, maph_str(key), maph_str(text));
  if (rc == MAPH_OK) rc = maph_txn_put(txn, maph_str("right"), maph_str(text));
  if (rc != MAPH_OK || i % 16 == 15) {
    maph_txn_abort(txn);
    return rc;
  }
  rc = maph_txn_commit(txn);
  if (rc == MAPH_OK) atomic_fetch_add(&run->committed, 1);
  return rc;
}

static void *writer(void *arg) {
  worker *worker = arg;
  char key[64];
  maph_slice value;
  for (int i = 0; i < worker->r->commits; i++) {
    int rc = write_once(worker->r, worker->number, i);
    if (rc != MAPH_OK) {
      violation(worker->r, maph_errmsg(worker->r->m));
      break;
    }
    snprintf(key, sizeof(key), "key-%d-%d", worker->number, i);
    rc = maph_get(worker->r->m, maph_str(key), &value);
    if (rc != (i % 16 == 15 ? MAPH_NOTFOUND : MAPH_OK))
      violation(worker->r, "a commit is not seen when it returned, or an abort is");
    if (i % 8 == 0) maph_put(worker->r->m, maph_str(key), maph_str("single"));
  }
  atomic_fetch_sub(&worker->r->writers_left, 1);
  return NULL;
}

/* One round of everything a reader may do. */
static void read_once(run *run, long *last) {
  maph_slice keys[3] = { maph_str("left"), maph_str("sum"), maph_str("right") }, v[3], a, b;
  maph_snapshot *snapshot;
  maph_cursor *cursor;
  maph_entry entry;
  long sum;
  if (maph_get_many(run->m, 3, keys, v) != MAPH_OK) {
    violation(run, maph_errmsg(run->m));
    return;
  }
  if ((v[0].data == NULL) != (v[2].data == NULL) || (v[0].data && !same(v[0], v[2])))
    violation(run, "get_many tore a transaction");
  sum = number_of(v[1]);
  if (sum < *last) violation(run, "the sum went back");
  *last = sum;
  if (maph_snapshot_open(run->m, &snapshot) != MAPH_OK) {
    violation(run, maph_errmsg(run->m));
    return;
  }
  if (maph_snapshot_get(snapshot, keys[0], &a) == MAPH_OK
      && (maph_snapshot_get(snapshot, keys[2], &b) != MAPH_OK || !same(a, b)))
    violation(run, "a snapshot tore a transaction");
  if (maph_cursor_open(run->m, snapshot, maph_str("left"), &cursor) == MAPH_OK) {
    if (maph_cursor_next(cursor, &entry) == MAPH_OK && !same(entry.value, a))
      violation(run, "a cursor differs from its snapshot");
    maph_cursor_close(cursor);
  }
  maph_snapshot_close(snapshot);
  if (v[0].data && number_of(v[1]) != sum) violation(run, "a slice changed while held");
  atomic_fetch_add(&run->reads, 1);
}

static void *reader(void *arg) {
  worker *worker = arg;
  long last = 0;
  while (atomic_load(&worker->r->writers_left) > 0) read_once(worker->r, &last);
  read_once(worker->r, &last);
  return NULL;
}

/* Rewrites, as long as somebody writes. */
static void *rewriter(void *arg) {
  worker *worker = arg;
  int i;
  for (i = 0; atomic_load(&worker->r->writers_left) > 0; i++) {
    int rc =
        i % 2 ? maph_optimize(worker->r->m, NULL, NULL) : maph_compact(worker->r->m, NULL, NULL);
    if (rc != MAPH_OK) {
      violation(worker->r, maph_errmsg(worker->r->m));
      break;
    }
    atomic_fetch_add(&worker->r->rewrites, 1);
  }
  return NULL;
}

/* A feed tells each commit once, in order. */
static void *follower(void *arg) {
  worker *worker = arg;
  maph_changes *feed;
  maph_change change;
  uint64_t version = 0;
  long sum = 0;
  int rc = maph_changes_open(worker->r->m, 0, &feed), left = 1;
  if (rc == MAPH_COMPACTED) {
    atomic_fetch_add(&worker->r->fell_behind, 1);
    return NULL;
  }
  if (rc != MAPH_OK) {
    violation(worker->r, maph_errmsg(worker->r->m));
    return NULL;
  }
  while (left) {
    left = atomic_load(&worker->r->writers_left) > 0;
    while ((rc = maph_changes_next(feed, left ? 1 : 0, &change)) == MAPH_OK) {
      if (change.entry.version < version) violation(worker->r, "a feed goes back");
      version = change.entry.version;
      if (change.entry.key.size != 3 || memcmp(change.entry.key.data, "sum", 3) != 0) continue;
      if (number_of(change.entry.value) != ++sum) violation(worker->r, "a feed lacks a commit");
    }
    if (rc == MAPH_COMPACTED) {
      atomic_fetch_add(&worker->r->fell_behind, 1);
      break;
    }
    if (rc != MAPH_NOTFOUND) {
      violation(worker->r, maph_errmsg(worker->r->m));
      break;
    }
  }
  if (rc == MAPH_NOTFOUND && sum != atomic_load(&worker->r->committed))
    violation(worker->r, "a feed lacks the last commits");
  maph_changes_close(feed);
  return NULL;
}

static int threads_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  run run = { .m = NULL };
  maph_options options = MAPH_OPTIONS_INIT;
  pthread_t ids[MAX_THREADS];
  worker workers[MAX_THREADS];
  int writers, readers, rewriting = 0, all, i;
  (void)data;
  if (objc != 6 && objc != 8) {
    Tcl_WrongNumArgs(interp, 1, objv,
                     "PATH WRITERS READERS COMMITS DURABILITY ?REWRITING? ?AUTO_COMPACT?");
    return TCL_ERROR;
  }
  if (Tcl_GetIntFromObj(interp, objv[2], &writers) != TCL_OK
      || Tcl_GetIntFromObj(interp, objv[3], &readers) != TCL_OK
      || Tcl_GetIntFromObj(interp, objv[4], &run.commits) != TCL_OK
      || Tcl_GetIntFromObj(interp, objv[5], &run.durability) != TCL_OK)
    return TCL_ERROR;
  if (objc == 8
      && (Tcl_GetBooleanFromObj(interp, objv[6], &rewriting) != TCL_OK
          || Tcl_GetIntFromObj(interp, objv[7], &options.auto_compact) != TCL_OK))
    return TCL_ERROR;
  if (writers < 0 || readers < 0 || writers + readers + 2 > MAX_THREADS) {
    Tcl_SetResult(interp, (char *)"too many threads", TCL_STATIC);
    return TCL_ERROR;
  }
  options.busy_timeout_ms = 600000;
  if (maph_open(Tcl_GetString(objv[1]), MAPH_RDWR | MAPH_CREATE, &options, &run.m) != MAPH_OK) {
    Tcl_SetObjResult(interp, Tcl_NewStringObj(maph_errmsg(NULL), -1));
    return TCL_ERROR;
  }
  atomic_store(&run.writers_left, writers);
  all = writers + readers + (rewriting ? 2 : 0);
  for (i = 0; i < all; i++) {
    workers[i].r = &run;
    workers[i].number = i;
    if (pthread_create(&ids[i], NULL,
                       i < writers             ? writer
                       : i < writers + readers ? reader
                       : i < all - 1           ? rewriter
                                               : follower,
                       &workers[i])
        != 0)
      Tcl_Panic("no thread");
  }
  for (i = 0; i < all; i++) pthread_join(ids[i], NULL);
  if (maph_close(run.m) != MAPH_OK) violation(&run, maph_errmsg(NULL));
  Tcl_SetObjResult(interp,
                   Tcl_ObjPrintf("{%s} %ld %ld %ld %ld", run.first, (long)run.reads,
                                 (long)run.committed, (long)run.rewrites, (long)run.fell_behind));
  return TCL_OK;
}

/* ------------------------------------------------------------------------------- fork and close */
typedef struct busy {
  maph *m;
  atomic_int stop;
} busy;

static void *keep_busy(void *arg) {
  busy *busy = arg;
  maph_snapshot *snapshot;
  while (!atomic_load(&busy->stop)) {
    if (maph_snapshot_open(busy->m, &snapshot) == MAPH_OK) maph_snapshot_close(snapshot);
    maph_put(busy->m, maph_str("counter"), maph_str("x"));
  }
  return NULL;
}

static int close_in_child(maph *m) {
  int status = 1;
  pid_t pid = fork();
  if (pid == 0) {
    alarm(300);
    _exit(maph_close(m));
  }
  return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int fork_close_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  int n, i, failed = 0;
  busy busy;
  (void)data;
  if (objc != 3 || Tcl_GetIntFromObj(interp, objv[2], &n) != TCL_OK) {
    Tcl_WrongNumArgs(interp, 1, objv, "PATH N");
    return TCL_ERROR;
  }
  atomic_init(&busy.stop, 0);
  if (maph_open(Tcl_GetString(objv[1]), MAPH_RDWR | MAPH_CREATE, NULL, &busy.m) != MAPH_OK) {
    Tcl_SetObjResult(interp, Tcl_NewStringObj(maph_errmsg(NULL), -1));
    return TCL_ERROR;
  }
  for (i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, keep_busy, &busy) != 0) Tcl_Panic("no thread");
  for (i = 0; i < n && failed < 2; i++) failed += !close_in_child(busy.m);
  atomic_store(&busy.stop, 1);
  for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  maph_close(busy.m);
  Tcl_SetObjResult(interp, Tcl_NewIntObj(failed));
  return TCL_OK;
}

int Maphthreads_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_fork_close", fork_close_cmd, NULL, NULL);
  Tcl_CreateObjCommand(interp, "maph_threads", threads_cmd, NULL, NULL);
  return TCL_OK;
}
