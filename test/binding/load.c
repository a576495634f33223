/*
** load.c - maph_load_* as Tcl commands.
**
**   maph_load PATH ?-mode 0644? ?-busy_timeout MS? ?-after_version N? ?-expected_keys N?
**                  ?-memory BYTES? ?-optimize 1? ?-perfect_hash pilot|cmph? ?-progress SCRIPT?
**                  ?-size N? ?-versions given? ?-uuid BYTES? ?-into_empty 1?
**                                                               -> a load, a command
**   $l at VERSION
**   $l put, put_if KEY VALUE ?-type json? ?-key_type text? ?-expires MS? ?-media_type M?
**                  ?-when absent?
**   $l many PREFIX FROM TO SIZE  puts PREFIX$i for each number from..to-1, values of SIZE bytes
**                                that begin with the number
**   $l entries   finish   abort
**
** A failure is a Tcl error as in maphtcl.c.  Deleting the command aborts the load.
*/
#include "answer.h"
#include <stdio.h>
#include <string.h>

int Maphload_Init(Tcl_Interp *interp);

typedef struct loading {
  Tcl_Interp *interp;
  Tcl_Command command;
  Tcl_Obj *progress;
  maph_load *l;
} loading;

static int tell(void *arg, const char *phase, uint64_t done, uint64_t total) {
  loading *loading = arg;
  Tcl_Obj *command = Tcl_DuplicateObj(loading->progress);
  int stop = 0;
  Tcl_IncrRefCount(command);
  Tcl_ListObjAppendElement(NULL, command, Tcl_NewStringObj(phase, -1));
  Tcl_ListObjAppendElement(NULL, command, Tcl_NewWideIntObj((Tcl_WideInt)done));
  Tcl_ListObjAppendElement(NULL, command, Tcl_NewWideIntObj((Tcl_WideInt)total));
  if (Tcl_EvalObjEx(loading->interp, command, TCL_EVAL_GLOBAL) != TCL_OK) stop = 1;
  if (!stop) Tcl_GetBooleanFromObj(NULL, Tcl_GetObjResult(loading->interp), &stop);
  Tcl_DecrRefCount(command);
  Tcl_ResetResult(loading->interp);
  return stop;
}

static int put(loading *loading, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  maph_condition condition;
  Tcl_Obj *outcome_name;
  if (objc < 4) return usage(interp, objv, 2, "KEY VALUE ?options?");
  if (parse_condition(interp, objc - 4, objv + 4, &condition, &outcome_name) != TCL_OK)
    return TCL_ERROR;
  return answer(interp, NULL,
                maph_load_put(loading->l, slice_of(objv[2]), slice_of(objv[3]),
                              objc > 4 ? &condition : NULL));
}

static int put_many(loading *loading, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  Tcl_WideInt from, to, size, i;
  char *value, key[200];
  int rc = MAPH_OK;
  if (objc != 6 || Tcl_GetWideIntFromObj(interp, objv[3], &from) != TCL_OK
      || Tcl_GetWideIntFromObj(interp, objv[4], &to) != TCL_OK
      || Tcl_GetWideIntFromObj(interp, objv[5], &size) != TCL_OK) {
    return usage(interp, objv, 2, "PREFIX FROM TO SIZE");
  }
  value = ckalloc((unsigned)size + 32);
  memset(value, '.', (size_t)size + 32);
  for (i = from; rc == MAPH_OK && i < to; i++) {
    int n = snprintf(key, sizeof key, "%s%lld", Tcl_GetString(objv[2]), (long long)i);
    value[snprintf(value, 30, "%lld", (long long)i)] = '.';
    rc = maph_load_put(loading->l, maph_bytes(key, (size_t)n), maph_bytes(value, (size_t)size),
                       NULL);
  }
  ckfree(value);
  return answer(interp, NULL, rc);
}

static int verb(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "put",    "put_if", "many", "entries",
                                       "finish", "abort",  "at",   NULL };
  loading *loading = data;
  maph_load *load = loading->l;
  uint64_t version;
  int which, rc;
  if (objc < 2) return usage(interp, objv, 1, "VERB ?args?");
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", 0, &which) != TCL_OK) return TCL_ERROR;
  switch (which) {
    case 0:
    case 1: return put(loading, interp, objc, objv);
    case 2: return put_many(loading, interp, objc, objv);
    case 3:
      Tcl_SetObjResult(interp, Tcl_NewWideIntObj((Tcl_WideInt)maph_load_entries(load)));
      return TCL_OK;
    case 6:
      if (objc != 3) return usage(interp, objv, 2, "VERSION");
      if (get_u64(interp, objv[2], &version) != TCL_OK) return TCL_ERROR;
      return answer(interp, NULL, maph_load_at(load, version));
    default:
      rc = which == 4 ? maph_load_finish(load) : maph_load_abort(load);
      loading->l = NULL;
      rc = answer(interp, NULL, rc);
      Tcl_DeleteCommandFromToken(interp, loading->command);
      return rc;
  }
}

static void deleted(ClientData data) {
  loading *loading = data;
  maph_load_abort(loading->l);
  if (loading->progress) Tcl_DecrRefCount(loading->progress);
  ckfree((char *)loading);
}

static int parse_options(Tcl_Interp *interp, int n, Tcl_Obj *const *objv, maph_load_options *o,
                         loading *loading) {
  static const char *const options[] = {
    "-mode",   "-busy_timeout", "-after_version", "-expected_keys",
    "-memory", "-optimize",     "-perfect_hash",  "-progress",
    "-size",   "-versions",     "-uuid",          "-into_empty",
    NULL
  };
  int i, option, rc = TCL_OK;
  for (i = 0; rc == TCL_OK && i + 1 < n; i += 2) {
    Tcl_Obj *value = objv[i + 1];
    Tcl_WideInt w = 0;
    rc = Tcl_GetIndexFromObj(interp, objv[i], options, "option", 0, &option);
    if (rc == TCL_OK && option < 9 && option != 6 && option != 7)
      rc = Tcl_GetWideIntFromObj(interp, value, &w);
    if (rc != TCL_OK) return rc;
    switch (option) {
      case 0: o->mode = (int)w; break;
      case 1: o->busy_timeout_ms = (int)w; break;
      case 2: o->after_version = (uint64_t)w; break;
      case 3: o->expected_keys = (uint64_t)w; break;
      case 4: o->memory_bytes = (uint64_t)w; break;
      case 5: o->optimize = (int)w; break;
      case 6:
        if (Tcl_GetIntFromObj(NULL, value, &o->perfect_hash) != TCL_OK)
          rc = Tcl_GetIndexFromObj(interp, value, perfect_names, "algorithm", 0, &o->perfect_hash);
        break;
      case 7:
        loading->progress = value;
        Tcl_IncrRefCount(value);
        o->progress = tell;
        o->progress_arg = loading;
        break;
      case 8: o->size = (size_t)w; break;
      case 9:
        rc = Tcl_GetIndexFromObj(interp, value, versions_names, "versions", 0, &o->versions);
        break;
      case 10: rc = get_uuid(interp, value, o->uuid); break;
      default: rc = Tcl_GetIntFromObj(interp, value, &o->into_empty);
    }
  }
  return rc;
}

static int load_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static int serial;
  maph_load_options o = MAPH_LOAD_OPTIONS_INIT;
  loading *loading;
  char name[40];
  int rc;
  (void)data;
  if (objc < 2 || objc % 2) return usage(interp, objv, 1, "PATH ?options?");
  loading = (struct loading *)ckalloc(sizeof *loading);
  memset(loading, 0, sizeof *loading);
  loading->interp = interp;
  rc = parse_options(interp, objc - 2, objv + 2, &o, loading);
  if (rc == TCL_OK)
    rc = answer(interp, NULL,
                maph_load_begin(Tcl_GetString(objv[1]), objc > 2 ? &o : NULL, &loading->l));
  if (rc != TCL_OK) {
    if (loading->l) Tcl_Panic("maph_load_begin failed and left a load");
    if (loading->progress) Tcl_DecrRefCount(loading->progress);
    ckfree((char *)loading);
    return rc;
  }
  snprintf(name, sizeof name, "load%d", ++serial);
  loading->command = Tcl_CreateObjCommand(interp, name, verb, loading, deleted);
  Tcl_SetObjResult(interp, Tcl_NewStringObj(name, -1));
  return TCL_OK;
}

int Maphload_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_load", load_cmd, NULL, NULL);
  return TCL_OK;
}
