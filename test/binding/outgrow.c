/*
** outgrow.c - threads on several handles of one file that grows past its mappings, as a Tcl command
** for the _thread tests.
**
**   maph_outgrow PATH HANDLES WRITERS READERS COMMITS RESERVE  -> {first violation or nothing,
**   reads, bytes of the file}
**
** RESERVE is the address space mapped at first (os_test.reserve): the file outgrows it while
** readers hold slices, a snapshot and a cursor. Every third commit is a single put, every third a
** group commit at FULL, the others at OFF; each carries some KiB.
**
**   maph_outgrow_get PATH PUTS RESERVE  -> {code of the puts, code of a get, its value}
**
** One thread is stopped in maph_get between its loads of the visible end and of the index's root,
** until the file has outgrown its mapping, the directory has moved, and others have read by it.
*/
#include "maph.h"
#include "os/os.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <tcl.h>

int Maphoutgrow_Init(Tcl_Interp *interp);

enum { MAX_HANDLES = 4, MAX_WORKERS = 24, VALUE_SIZE = 3000, HELD = 20, GUARD_SIZE = 1 << 30 };

typedef struct crowd {
  maph *handles[MAX_HANDLES];
  int handle_count, commits;
  atomic_int writers_left;
  atomic_long violations, reads;
  char first[300];
} crowd;

typedef struct member {
  crowd *c;
  int number;
} member;

static void violation(crowd *crowd, const char *what) {
  if (atomic_fetch_add(&crowd->violations, 1) == 0)
    snprintf(crowd->first, sizeof crowd->first, "%s", what);
}

static maph_slice value_of(int writer, int i, char *buffer) {
  memset(buffer, 'a' + (writer * 7 + i) % 26, VALUE_SIZE);
  snprintf(buffer, 40, "writer %d commit %d", writer, i);
  return maph_bytes(buffer, VALUE_SIZE);
}

static int commit_one(maph *m, int writer, int i) {
  char key[40], buffer[VALUE_SIZE];
  maph_slice value = value_of(writer, i, buffer);
  maph_txn *txn;
  int rc;
  snprintf(key, sizeof key, "w%d-%d", writer, i);
  if (i % 3 == 0) return maph_put(m, maph_str(key), value);
  rc = maph_txn_begin(m, i % 3 == 1 ? MAPH_SYNC_FULL : MAPH_SYNC_OFF, &txn);
  if (rc != MAPH_OK) return rc;
  rc = maph_txn_put(txn, maph_str(key), value);
  if (rc == MAPH_OK) rc = maph_txn_put(txn, maph_str("shared"), value);
  if (rc == MAPH_OK) return maph_txn_commit(txn);
  maph_txn_abort(txn);
  return rc;
}

static void *writer(void *arg) {
  member *member = arg;
  maph *m = member->c->handles[member->number % member->c->handle_count];
  int i;
  for (i = 0; i < member->c->commits; i++) {
    if (commit_one(m, member->number, i) != MAPH_OK) {
      violation(member->c, maph_errmsg(m));
      break;
    }
  }
  atomic_fetch_sub(&member->c->writers_left, 1);
  return NULL;
}

/* What a reader holds on to from its beginning: it must stay as it was. */
typedef struct hold {
  maph_slice slice;
  char copy[64];
} hold;

static void keep(hold *hold, maph_slice s) {
  hold->slice = s;
  memcpy(hold->copy, s.data, sizeof hold->copy);
}

static void count_scan(crowd *crowd, maph *m, maph_snapshot *snapshot) {
  uint64_t seen = 0;
  maph_cursor *cursor;
  maph_entry entry;
  int rc = maph_cursor_open(m, snapshot, maph_bytes(NULL, 0), &cursor);
  if (rc != MAPH_OK) {
    violation(crowd, maph_errmsg(m));
    return;
  }
  while ((rc = maph_cursor_next(cursor, &entry)) == MAPH_OK) seen++;
  maph_cursor_close(cursor);
  if (rc != MAPH_NOTFOUND) violation(crowd, maph_errmsg(m));
  if (seen != maph_snapshot_records(snapshot)) violation(crowd, "a scan and its snapshot differ");
}

static void *reader(void *arg) {
  member *member = arg;
  maph *m = member->c->handles[member->number % member->c->handle_count];
  maph_snapshot *snapshot;
  maph_slice v;
  hold held[HELD];
  int n = 0, i, round;
  if (maph_snapshot_open(m, &snapshot) != MAPH_OK) {
    violation(member->c, maph_errmsg(m));
    return NULL;
  }
  for (round = 0; atomic_load(&member->c->writers_left) > 0 || round == 0; round++) {
    if (maph_get(m, maph_str("shared"), &v) == MAPH_OK && n < HELD && round % 7 == 0)
      keep(&held[n++], v);
    for (i = 0; i < n; i++)
      if (memcmp(held[i].copy, held[i].slice.data, sizeof held[i].copy) != 0)
        violation(member->c, "a slice changed while it was held");
    if (maph_snapshot_get(snapshot, maph_str("before"), &v) != MAPH_OK || v.size != 6)
      violation(member->c, "a snapshot lost what it showed");
    if (round % 16 == 0) count_scan(member->c, m, snapshot);
    atomic_fetch_add(&member->c->reads, 1);
  }
  maph_snapshot_close(snapshot);
  return NULL;
}

static int run(crowd *crowd, int writers, int readers) {
  pthread_t ids[MAX_WORKERS];
  member members[MAX_WORKERS];
  int i;
  atomic_store(&crowd->writers_left, writers);
  for (i = 0; i < writers + readers; i++) {
    members[i].c = crowd;
    members[i].number = i;
    if (pthread_create(&ids[i], NULL, i < writers ? writer : reader, &members[i]) != 0) return 0;
  }
  for (i = 0; i < writers + readers; i++) pthread_join(ids[i], NULL);
  return 1;
}

/* ------------------------------------------------------------------- a get that is interrupted */

typedef struct interrupted {
  maph *m;
  atomic_int inside, go;
  int rc;
  char value[16];
} interrupted;

static interrupted *stopped;
static _Thread_local int slow;

static void stop_here(const char *where) {
  if (!slow || strcmp(where, "get") != 0) return;
  slow = 0;
  atomic_store(&stopped->inside, 1);
  while (!atomic_load(&stopped->go)) sched_yield();
}

static void *get_slowly(void *arg) {
  interrupted *call = arg;
  maph_slice v;
  slow = 1;
  call->rc = maph_get(call->m, maph_str("first"), &v);
  if (call->rc == MAPH_OK)
    snprintf(call->value, sizeof call->value, "%.*s", (int)v.size, (char *)v.data);
  return NULL;
}

static int outgrow_meanwhile(interrupted *call, int puts) {
  char key[40], buffer[VALUE_SIZE];
  maph_slice v;
  int i, rc = MAPH_OK;
  for (i = 0; rc == MAPH_OK && i < puts; i++) {
    snprintf(key, sizeof key, "key%d", i);
    rc = maph_put(call->m, maph_str(key), value_of(0, i, buffer));
    if (rc == MAPH_OK) rc = maph_get(call->m, maph_str(key), &v);
  }
  return rc;
}

static int outgrow_get_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  interrupted call = { .rc = -1 };
  pthread_t id;
  void *guard;
  int puts, reserve, rc;
  (void)data;
  if (objc != 4) {
    Tcl_WrongNumArgs(interp, 1, objv, "PATH PUTS RESERVE");
    return TCL_ERROR;
  }
  if (Tcl_GetIntFromObj(interp, objv[2], &puts) != TCL_OK
      || Tcl_GetIntFromObj(interp, objv[3], &reserve) != TCL_OK)
    return TCL_ERROR;
  os_test.reserve = (uint64_t)reserve;
  /* the next mapping comes below this, so that whatever is read past its end is a signal */
  guard = mmap(NULL, GUARD_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  rc = maph_open(Tcl_GetString(objv[1]), MAPH_RDWR | MAPH_CREATE, NULL, &call.m);
  if (rc == MAPH_OK) rc = maph_put(call.m, maph_str("first"), maph_str("value"));
  /* the first read goes another way */
  if (rc == MAPH_OK) rc = maph_exists(call.m, maph_str("first"));
  if (rc == MAPH_OK) {
    stopped = &call;
    os_test.pause = stop_here;
    if (pthread_create(&id, NULL, get_slowly, &call) != 0) Tcl_Panic("no thread");
    while (!atomic_load(&call.inside)) sched_yield();
    rc = outgrow_meanwhile(&call, puts);
    atomic_store(&call.go, 1);
    pthread_join(id, NULL);
    os_test.pause = NULL;
  }
  os_test.reserve = 0;
  maph_close(call.m);
  munmap(guard, GUARD_SIZE);
  Tcl_SetObjResult(interp, Tcl_ObjPrintf("%d %d %s", rc, call.rc, call.value));
  return TCL_OK;
}

static int outgrow_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  crowd crowd = { .handle_count = 0 };
  maph_options options = MAPH_OPTIONS_INIT;
  maph_stats st;
  int n[5], i;
  (void)data;
  if (objc != 7) {
    Tcl_WrongNumArgs(interp, 1, objv, "PATH HANDLES WRITERS READERS COMMITS RESERVE");
    return TCL_ERROR;
  }
  for (i = 0; i < 5; i++)
    if (Tcl_GetIntFromObj(interp, objv[2 + i], &n[i]) != TCL_OK) return TCL_ERROR;
  if (n[0] < 1 || n[0] > MAX_HANDLES || n[1] + n[2] > MAX_WORKERS) return TCL_ERROR;
  memset(&st, 0, sizeof st);
  options.busy_timeout_ms = 600000;
  os_test.reserve = (uint64_t)n[4];
  for (; crowd.handle_count < n[0]; crowd.handle_count++) {
    if (maph_open(Tcl_GetString(objv[1]), MAPH_RDWR | MAPH_CREATE, &options,
                  &crowd.handles[crowd.handle_count])
        != MAPH_OK)
      break;
  }
  if (crowd.handle_count < n[0]
      || maph_put(crowd.handles[0], maph_str("before"), maph_str("before")) != MAPH_OK)
    violation(&crowd, maph_errmsg(NULL));
  else {
    crowd.commits = n[3];
    if (!run(&crowd, n[1], n[2])) violation(&crowd, "no thread");
    if (maph_check(crowd.handles[0], NULL, NULL) != MAPH_OK
        || maph_stat(crowd.handles[0], &st) != MAPH_OK)
      violation(&crowd, maph_errmsg(NULL));
  }
  for (i = 0; i < crowd.handle_count; i++)
    if (maph_close(crowd.handles[i]) != MAPH_OK) violation(&crowd, maph_errmsg(NULL));
  os_test.reserve = 0;
  Tcl_SetObjResult(
      interp, Tcl_ObjPrintf("{%s} %ld %ld", crowd.first, (long)crowd.reads, (long)st.used_bytes));
  return TCL_OK;
}

int Maphoutgrow_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_outgrow", outgrow_cmd, NULL, NULL);
  Tcl_CreateObjCommand(interp, "maph_outgrow_get", outgrow_get_cmd, NULL, NULL);
  return TCL_OK;
}
