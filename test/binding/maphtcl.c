/*
** maphtcl.c - the C API of maph.h as Tcl commands.
**
**   maph open PATH ?-flags {rdwr create}? ?-durability full? ?-busy_timeout MS? ?-verify 1? ...  ->
**      a handle, a command
**   maph recover PATH | destroy PATH ?MS? | replace PATH WITH ?MS? | strerror N | errmsg |
**      version | codes | fork SCRIPT | interrupt ?MS? | guard
**
**   $m get KEY ?DEFAULT?   get_entry KEY   get_many KEYS   exists KEY   view KEY
**   $m put KEY VALUE   put_if KEY VALUE ?-when absent? ...   delete KEY   delete_if KEY ...
**   $m increment KEY BY ?-expires MS? ...
**   $m snapshot   cursor ?PREFIX? ?SNAPSHOT?   range ?-option value ...?   begin ?DURABILITY?
**      stat  sync  check  guarded  refresh  close
**   $m compact ?CALLBACK?  optimize ?CALLBACK?  tidy ?CALLBACK?  backup PATH ?CALLBACK?  rewritten
**      changes SINCE
**   $m interrupt ?MS?     now, or each MS by a signal handler until 0 takes that back
**   $t  (transaction)  put put_if increment delete delete_if get get_entry savepoint release
**                      rollback_to snapshot prepare version operations commit abort
**   $s  (snapshot)     get get_entry get_many cursor range version records stat renew types close
**   $c  (cursor)       next tell seek close
**   $r  (range)        next prev seek estimate close
**   $f  (feed)         next ?TIMEOUT_MS? version close
**   $v  (view)         read address close: a slice that a get handed out, read again later
**
** Keys and values are byte arrays.  A failure is a Tcl error: the sentence of maph_errmsg, and
** errorCode {MAPH NAME CODE}. get_many answers a list: {} for a missing key, {VALUE} for a found
** one.  check and recover answer a list of {OFFSET SENTENCE}. A CALLBACK is evaluated with phase,
** done and total; where it answers true, or fails, the rewrite stops.
**
** This file has the command `maph`; object.h has the objects, handle.c and children.c their verbs.
*/
#include "object.h"
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int Maphtcl_Init(Tcl_Interp *interp);

static int parse_flags(Tcl_Interp *interp, Tcl_Obj *obj, int *flags) {
  static const char *const names[] = { "rdonly", "rdwr", "create", "excl", NULL };
  Tcl_Obj **elements;
  int i, n, bit;
  if (Tcl_GetIntFromObj(NULL, obj, flags) == TCL_OK) return TCL_OK;
  if (Tcl_ListObjGetElements(interp, obj, &n, &elements) != TCL_OK) return TCL_ERROR;
  for (*flags = 0, i = 0; i < n; i++) {
    if (Tcl_GetIndexFromObj(interp, elements[i], names, "flag", 0, &bit) != TCL_OK)
      return TCL_ERROR;
    *flags |= 1 << bit;
  }
  return TCL_OK;
}

static int open_verb(Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const names[] = {
    "-flags",        "-durability",   "-busy_timeout",  "-expected_keys", "-verify", "-prefault",
    "-lock_memory",  "-advice",       "-huge_pages",    "-mode",          "-size",   "-options",
    "-perfect_hash", "-auto_compact", "-after_version", "-versions",      "-uuid",   NULL
  };
  maph_options options = MAPH_OPTIONS_INIT, *given = &options;
  maph *m = NULL;
  int flags = MAPH_RDWR | MAPH_CREATE, i, name, rc, n;
  if (objc < 3 || objc % 2 == 0) return usage(interp, objv, 2, "PATH ?-option value ...?");
  for (i = 3; i < objc; i += 2) {
    Tcl_Obj *value = objv[i + 1];
    uint64_t size;
    rc = TCL_OK;
    if (Tcl_GetIndexFromObj(interp, objv[i], names, "option", 0, &name) != TCL_OK) return TCL_ERROR;
    switch (name) {
      case 0: rc = parse_flags(interp, value, &flags); break;
      case 1:
        if (Tcl_GetIntFromObj(NULL, value, &options.durability) != TCL_OK)
          rc = Tcl_GetIndexFromObj(interp, value, durability_names, "durability", 0,
                                   &options.durability);
        break;
      case 2: rc = Tcl_GetIntFromObj(interp, value, &options.busy_timeout_ms); break;
      case 3: rc = get_u64(interp, value, &options.expected_keys); break;
      case 4: rc = Tcl_GetBooleanFromObj(interp, value, &options.verify); break;
      case 5: rc = Tcl_GetBooleanFromObj(interp, value, &options.prefault); break;
      case 6: rc = Tcl_GetBooleanFromObj(interp, value, &options.lock_memory); break;
      case 7:
        if (Tcl_GetIntFromObj(NULL, value, &options.advice) != TCL_OK)
          rc = Tcl_GetIndexFromObj(interp, value, advice_names, "advice", 0, &options.advice);
        break;
      case 8: rc = Tcl_GetBooleanFromObj(interp, value, &options.huge_pages); break;
      case 9: rc = Tcl_GetIntFromObj(interp, value, &options.mode); break;
      case 10:
        rc = get_u64(interp, value, &size);
        options.size = (size_t)size;
        break;
      case 11: given = NULL; break;
      case 12:
        if (Tcl_GetIntFromObj(NULL, value, &options.perfect_hash) != TCL_OK)
          rc = Tcl_GetIndexFromObj(interp, value, perfect_names, "algorithm", 0,
                                   &options.perfect_hash);
        break;
      case 13: rc = Tcl_GetIntFromObj(interp, value, &options.auto_compact); break;
      case 14:
        rc = Tcl_GetWideIntFromObj(interp, value, (Tcl_WideInt *)&options.after_version);
        break;
      case 15:
        if (Tcl_GetIntFromObj(NULL, value, &options.versions) != TCL_OK)
          rc = Tcl_GetIndexFromObj(interp, value, versions_names, "versions", 0, &options.versions);
        break;
      case 16: rc = get_uuid(interp, value, options.uuid); break;
    }
    if (rc != TCL_OK) return rc;
  }
  rc = maph_open(Tcl_GetStringFromObj(objv[2], &n), flags, given, &m);
  if (rc != MAPH_OK) {
    if (m != NULL) Tcl_Panic("maph_open failed and left a handle");
    return answer(interp, NULL, rc);
  }
  object_new(interp, HANDLE, NULL)->m = m;
  return TCL_OK;
}

static int recover_verb(Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  Tcl_Obj *list;
  listener listener = { interp, objc > 3 ? objv[3] : NULL, NULL };
  const char *path;
  int rc;
  if (objc < 3 || objc > 4) return usage(interp, objv, 2, "PATH ?CALLBACK?");
  path = Tcl_GetString(objv[2]);
  list = Tcl_NewListObj(0, NULL);
  Tcl_IncrRefCount(list);
  rc = listener.script ? maph_recover_progress(path, report_to_list, list, tell_script, &listener)
                       : maph_recover(path, report_to_list, list);
  Tcl_SetObjResult(interp, list);
  Tcl_DecrRefCount(list);
  return listened(interp, NULL, &listener, rc);
}

/* Evaluate the script in a forked child and answer what it answered. */
static int fork_verb(Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  Tcl_Obj *result;
  char buffer[4096];
  ssize_t n;
  pid_t pid;
  int fds[2], status;
  if (objc != 3) return usage(interp, objv, 2, "SCRIPT");
  if (pipe(fds) || (pid = fork()) < 0) {
    Tcl_SetObjResult(interp, Tcl_ObjPrintf("fork: %s", Tcl_PosixError(interp)));
    return TCL_ERROR;
  }
  if (pid == 0) {
    int rc = Tcl_EvalObjEx(interp, objv[2], TCL_EVAL_GLOBAL), length;
    const char *z = Tcl_GetStringFromObj(Tcl_GetObjResult(interp), &length);
    n = write(fds[1], z, (size_t)length);
    _exit(n != length || rc != TCL_OK);
  }
  close(fds[1]);
  result = Tcl_NewObj();
  while ((n = read(fds[0], buffer, sizeof(buffer))) > 0) Tcl_AppendToObj(result, buffer, (int)n);
  close(fds[0]);
  waitpid(pid, &status, 0);
  Tcl_SetObjResult(interp, result);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? TCL_OK : TCL_ERROR;
}

static int maph_verb(int verb, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  int n = 5000;
  switch (verb) {
    case 0: return open_verb(interp, objc, objv);
    case 1: return recover_verb(interp, objc, objv);
    case 2:
      if (objc != 3 && objc != 4) return usage(interp, objv, 2, "PATH ?MS?");
      if (objc == 4 && Tcl_GetIntFromObj(interp, objv[3], &n) != TCL_OK) return TCL_ERROR;
      return answer(interp, NULL, maph_destroy(Tcl_GetString(objv[2]), n));
    case 3:
      if (objc != 3 || Tcl_GetIntFromObj(interp, objv[2], &n) != TCL_OK)
        return usage(interp, objv, 2, "CODE");
      Tcl_SetObjResult(interp, Tcl_NewStringObj(maph_strerror(n), -1));
      return TCL_OK;
    case 4: Tcl_SetObjResult(interp, Tcl_NewStringObj(maph_errmsg(NULL), -1)); return TCL_OK;
    case 5: Tcl_SetObjResult(interp, Tcl_NewStringObj(maph_version(), -1)); return TCL_OK;
    case 6:
      for (n = 0; n < CODE_COUNT; n++) Tcl_AppendElement(interp, code_names[n]);
      return TCL_OK;
    case 7: return fork_verb(interp, objc, objv);
    case 8: return interrupt_verb(NULL, interp, objc, objv);
    case 10: maph_guard(); return TCL_OK;
    default:
      if (objc != 4 && objc != 5) return usage(interp, objv, 2, "PATH WITH ?MS?");
      if (objc == 5 && Tcl_GetIntFromObj(interp, objv[4], &n) != TCL_OK) return TCL_ERROR;
      return answer(interp, NULL, maph_replace(Tcl_GetString(objv[2]), Tcl_GetString(objv[3]), n));
  }
}

static int maph_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "open",      "recover", "destroy", "strerror",
                                       "errmsg",    "version", "codes",   "fork",
                                       "interrupt", "replace", "guard",   NULL };
  spoken spoken;
  int verb, rc;
  (void)data;
  if (objc < 2) return usage(interp, objv, 1, "VERB ?args?");
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", TCL_EXACT, &verb) != TCL_OK)
    return TCL_ERROR;
  if (strcmp(verbs[verb], "errmsg") == 0 || strcmp(verbs[verb], "fork") == 0)
    return maph_verb(verb, interp, objc, objv);
  speak_begin(&spoken);
  rc = maph_verb(verb, interp, objc, objv);
  speak_end(&spoken, verbs[verb]);
  return rc;
}

int Maphtcl_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph", maph_cmd, NULL, NULL);
  return TCL_OK;
}
