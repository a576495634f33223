/*
** hooks.c - what a test puts between the store and the operating system (os_test in core/os.h), as
** Tcl commands.
**
**   maph_hook time_ms|boot|reserve|now_ns|random|file_system|page_size|free_room|coarse_ms|hint|
**      leaf N
**   set one; the answer is what it was
**   maph_fault arm N ?ERRNO? ?PATTERN? ?PERSISTENT?  let the Nth call from now on whose
**   name matches PATTERN fail; then all, if persistent
**   maph_fault disarm                                -> {calls seen, calls failed}
**   maph_before PATTERN SCRIPT
**   before each call of this thread whose name matches, the script runs, with the name as its last
**   word; calls that the script makes go by.  An empty pattern ends it
*/
#include "maph.h"
#include "os/os.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <tcl.h>

int Maphhooks_Init(Tcl_Interp *interp);

static struct {
  atomic_long seen, failed;
  long at;
  int error, persistent;
  char pattern[64];
} fault;

static int fault_hook(const char *call) {
  long n;
  if (fault.pattern[0] && !Tcl_StringMatch(call, fault.pattern)) return 0;
  n = atomic_fetch_add(&fault.seen, 1) + 1;
  if (n < fault.at || (n > fault.at && !fault.persistent)) return 0;
  atomic_fetch_add(&fault.failed, 1);
  return fault.error;
}

static struct {
  Tcl_Interp *interp;
  Tcl_Obj *script;
  pthread_t thread;
  int inside;
  char pattern[64];
} before;

static int before_hook(const char *call) {
  Tcl_InterpState state;
  Tcl_Obj *command;
  int code;
  if (!pthread_equal(before.thread, pthread_self()) || before.inside
      || !Tcl_StringMatch(call, before.pattern))
    return 0;
  before.inside = 1;
  state = Tcl_SaveInterpState(before.interp, TCL_OK);
  command = Tcl_DuplicateObj(before.script);
  Tcl_IncrRefCount(command);
  Tcl_ListObjAppendElement(before.interp, command, Tcl_NewStringObj(call, -1));
  code = Tcl_EvalObjEx(before.interp, command, TCL_EVAL_GLOBAL);
  Tcl_DecrRefCount(command);
  if (code != TCL_OK) Tcl_Panic("%s: %s", call, Tcl_GetStringResult(before.interp));
  Tcl_RestoreInterpState(before.interp, state);
  before.inside = 0;
  return 0;
}

static int before_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  (void)data;
  if (objc != 3) {
    Tcl_WrongNumArgs(interp, 1, objv, "PATTERN SCRIPT");
    return TCL_ERROR;
  }
  os_test.fault = NULL;
  if (before.script) Tcl_DecrRefCount(before.script);
  before.script = NULL;
  snprintf(before.pattern, sizeof before.pattern, "%s", Tcl_GetString(objv[1]));
  if (before.pattern[0] == 0) return TCL_OK;
  before.script = objv[2];
  Tcl_IncrRefCount(before.script);
  before.interp = interp;
  before.thread = pthread_self();
  os_test.fault = before_hook;
  return TCL_OK;
}

static int error_number(Tcl_Interp *interp, Tcl_Obj *name, int *number) {
  static const char *const names[] = { "ENOSPC", "EIO",   "ENOMEM", "EMFILE", "EACCES", "EDQUOT",
                                       "EFBIG",  "EINTR", "ENOLCK", "EROFS",  NULL };
  static const int numbers[] = { ENOSPC, EIO,   ENOMEM, EMFILE, EACCES,
                                 EDQUOT, EFBIG, EINTR,  ENOLCK, EROFS };
  int i;
  if (Tcl_GetIndexFromObj(interp, name, names, "errno", 0, &i) != TCL_OK) return TCL_ERROR;
  *number = numbers[i];
  return TCL_OK;
}

static int fault_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "arm", "disarm", NULL };
  int verb;
  (void)data;
  if (objc < 2) {
    Tcl_WrongNumArgs(interp, 1, objv, "VERB ?args?");
    return TCL_ERROR;
  }
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", 0, &verb) != TCL_OK) return TCL_ERROR;
  if (verb == 1) {
    os_test.fault = NULL;
    Tcl_SetObjResult(interp, Tcl_ObjPrintf("%ld %ld", (long)fault.seen, (long)fault.failed));
    return TCL_OK;
  }
  if (objc < 3 || objc > 6) {
    Tcl_WrongNumArgs(interp, 2, objv, "N ?ERRNO? ?PATTERN? ?PERSISTENT?");
    return TCL_ERROR;
  }
  fault.seen = fault.failed = 0;
  fault.error = ENOSPC;
  fault.persistent = 0;
  fault.pattern[0] = 0;
  if (Tcl_GetLongFromObj(interp, objv[2], &fault.at) != TCL_OK) return TCL_ERROR;
  if (objc > 3 && error_number(interp, objv[3], &fault.error) != TCL_OK) return TCL_ERROR;
  if (objc > 4) strncpy(fault.pattern, Tcl_GetString(objv[4]), sizeof(fault.pattern) - 1);
  if (objc > 5 && Tcl_GetBooleanFromObj(interp, objv[5], &fault.persistent) != TCL_OK)
    return TCL_ERROR;
  os_test.fault = fault_hook;
  return TCL_OK;
}

static int hook_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const names[] = { "time_ms",   "boot",        "reserve",   "now_ns",
                                       "random",    "file_system", "page_size", "free_room",
                                       "coarse_ms", "hint",        "leaf",      NULL };
  Tcl_WideInt value, old;
  int name;
  (void)data;
  if (objc != 3) {
    Tcl_WrongNumArgs(interp, 1, objv, "NAME N");
    return TCL_ERROR;
  }
  if (Tcl_GetIndexFromObj(interp, objv[1], names, "hook", 0, &name) != TCL_OK) return TCL_ERROR;
  if (Tcl_GetWideIntFromObj(interp, objv[2], &value) != TCL_OK) return TCL_ERROR;
  switch (name) {
    case 0:
      old = os_test.time_ms;
      os_test.time_ms = value;
      break;
    case 1:
      old = (Tcl_WideInt)os_test.boot;
      os_test.boot = (uint64_t)value;
      break;
    case 2:
      old = (Tcl_WideInt)os_test.reserve;
      os_test.reserve = (uint64_t)value;
      break;
    case 3:
      old = (Tcl_WideInt)os_test.now_ns;
      os_test.now_ns = (uint64_t)value;
      break;
    case 4:
      old = (Tcl_WideInt)os_test.random;
      os_test.random = (uint64_t)value;
      break;
    case 5:
      old = os_test.file_system;
      os_test.file_system = (int)value;
      break;
    case 7:
      old = (Tcl_WideInt)os_test.free_room;
      os_test.free_room = (uint64_t)value;
      break;
    case 8:
      old = (Tcl_WideInt)os_test.coarse_ms;
      os_test.coarse_ms = (uint64_t)value;
      break;
    case 9:
      old = os_test.hint;
      os_test.hint = (int)value;
      break;
    case 10:
      old = (Tcl_WideInt)os_test.leaf;
      os_test.leaf = (uint64_t)value;
      break;
    default:
      old = (Tcl_WideInt)os_test.page_size;
      os_test.page_size = (uint64_t)value;
      break;
  }
  Tcl_SetObjResult(interp, Tcl_NewWideIntObj(old));
  return TCL_OK;
}

int Maphhooks_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_hook", hook_cmd, NULL, NULL);
  Tcl_CreateObjCommand(interp, "maph_fault", fault_cmd, NULL, NULL);
  Tcl_CreateObjCommand(interp, "maph_before", before_cmd, NULL, NULL);
  return TCL_OK;
}
