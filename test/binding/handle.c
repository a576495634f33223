/*
** handle.c - the verbs of a handle.
*/
#include "object.h"
#include <string.h>

static int check_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  Tcl_Obj *list;
  listener listener = { interp, objc > 2 ? objv[2] : NULL, NULL };
  int n, rc;
  if (objc > 3) return usage(interp, objv, 2, "?CALLBACK?");
  list = Tcl_NewListObj(0, NULL);
  Tcl_IncrRefCount(list);
  rc = listener.script
           ? maph_check_progress(object->m, report_to_list, list, tell_script, &listener)
           : maph_check(object->m, report_to_list, list);
  Tcl_SetObjResult(interp, list);
  Tcl_DecrRefCount(list);
  Tcl_ListObjLength(NULL, list, &n);
  answer_was(rc);
  if (rc == MAPH_CORRUPT && n > 0) return TCL_OK;
  if (rc == MAPH_OK && n > 0) Tcl_Panic("maph_check answers OK and reports problems");
  return listened(interp, object->m, &listener, rc);
}

static int begin_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  int durability = MAPH_SYNC_DEFAULT, rc;
  maph_txn *txn;
  if (objc > 3) return usage(interp, objv, 2, "?DURABILITY?");
  if (objc == 3 && Tcl_GetIntFromObj(NULL, objv[2], &durability) != TCL_OK
      && Tcl_GetIndexFromObj(interp, objv[2], durability_names, "durability", 0, &durability)
             != TCL_OK)
    return TCL_ERROR;
  rc = maph_txn_begin(object->m, durability, &txn);
  if (rc != MAPH_OK) return answer(interp, object->m, rc);
  object_new(interp, TXN, object)->txn = txn;
  return TCL_OK;
}

static int view_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  maph_slice value;
  int rc;
  if (objc != 3) return usage(interp, objv, 2, "KEY");
  rc = maph_get(object->m, slice_of(objv[2]), &value);
  if (rc == MAPH_OK) object_new(interp, VIEW, object)->view = value;
  return answer(interp, object->m, rc);
}

static int cursor_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  Tcl_CmdInfo info;
  maph_snapshot *snapshot = NULL;
  if (objc > 4) return usage(interp, objv, 2, "?PREFIX? ?SNAPSHOT?");
  if (objc == 4) {
    if (!Tcl_GetCommandInfo(interp, Tcl_GetString(objv[3]), &info) || info.objProc != object_cmd)
      return usage(interp, objv, 2, "?PREFIX? ?SNAPSHOT?");
    snapshot = ((struct object *)info.objClientData)->snapshot;
  }
  return new_cursor(interp, object, snapshot, objc > 2 ? objv[2] : NULL);
}

/* compact, optimize, tidy and backup. */
static int rewrite_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  const char *verb = Tcl_GetString(objv[1]);
  int fixed = verb[0] == 'b' ? 3 : 2;
  Tcl_Obj *script = objc > fixed ? objv[fixed] : NULL;
  listener listener = { interp, script, NULL };
  maph_progress_fn tell = script ? tell_script : NULL;
  maph *m = object->m;
  int rc;
  if (objc < fixed || objc > fixed + 1)
    return usage(interp, objv, 2, fixed == 3 ? "PATH ?CALLBACK?" : "?CALLBACK?");
  rc = verb[0] == 'b'   ? maph_backup(m, Tcl_GetString(objv[2]), tell, &listener)
       : verb[0] == 't' ? maph_tidy(m, tell, &listener)
       : verb[0] == 'o' ? maph_optimize(m, tell, &listener)
                        : maph_compact(m, tell, &listener);
  return listened(interp, m, &listener, rc);
}

static int rewritten_verb(object *object, Tcl_Interp *interp) {
  maph_rewrite rewrite;
  Tcl_Obj *dict;
  int rc = maph_rewritten(object->m, &rewrite);
  if (rc != MAPH_OK) return answer(interp, object->m, rc);
  dict = Tcl_NewDictObj();
#define NUMBER(field) dict_put(dict, #field, Tcl_NewWideIntObj((Tcl_WideInt)rewrite.field))
  NUMBER(bytes_before);
  NUMBER(bytes_after);
  NUMBER(records);
  NUMBER(swept);
  NUMBER(caught_up);
  NUMBER(frozen_keys);
  NUMBER(direct);
  NUMBER(took_ns);
  NUMBER(pause_ns);
  NUMBER(memory_bytes);
#undef NUMBER
  dict_put(dict, "perfect_hash", perfect_obj(rewrite.perfect_hash));
  dict_put(dict, "perfect_bits", Tcl_NewDoubleObj(rewrite.perfect_bits));
  dict_put(dict, "note", Tcl_NewStringObj(rewrite.note, -1));
  Tcl_SetObjResult(interp, dict);
  return TCL_OK;
}

static int changes_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  maph_changes *feed;
  uint64_t since;
  int rc;
  if (objc != 3) return usage(interp, objv, 2, "SINCE");
  if (get_u64(interp, objv[2], &since) != TCL_OK) return TCL_ERROR;
  rc = maph_changes_open(object->m, since, &feed);
  if (rc != MAPH_OK) return answer(interp, object->m, rc);
  object_new(interp, FEED, object)->feed = feed;
  return TCL_OK;
}

/* Close: the transactions are aborted by maph_close, so their commands go without touching them. */
static int close_handle(object *object, Tcl_Interp *interp) {
  maph *m = object->m;
  struct object *child, *next;
  int rc = maph_close(m);
  if (rc == MAPH_MISUSE) return answer(interp, NULL, rc);
  object->m = NULL;
  for (child = object->children; child; child = next) {
    next = child->next;
    child->txn = NULL;
    Tcl_DeleteCommandFromToken(interp, child->command);
  }
  Tcl_DeleteCommandFromToken(interp, object->command);
  return answer(interp, NULL, rc);
}

int handle_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = {
    "get",     "get_entry", "get_many", "exists",  "view",      "put",       "put_if",  "increment",
    "delete",  "delete_if", "snapshot", "cursor",  "range",     "begin",     "compact", "optimize",
    "tidy",    "backup",    "changes",  "check",   "interrupt", "rewritten", "stat",    "sync",
    "refresh", "close",     "errmsg",   "guarded", NULL
  };
  enum {
    GET,
    GET_ENTRY,
    GET_MANY,
    EXISTS,
    VIEW_,
    PUT,
    PUT_IF,
    INCREMENT,
    DELETE,
    DELETE_IF,
    SNAPSHOT_,
    CURSOR_,
    RANGE_,
    BEGIN,
    COMPACT,
    OPTIMIZE,
    TIDY,
    BACKUP,
    CHANGES,
    CHECK,
    INTERRUPT,
    REWRITTEN,
    STAT,
    SYNC,
    REFRESH,
    CLOSE,
    ERRMSG,
    GUARDED
  };
  maph_snapshot *snapshot = NULL;
  int verb, rc;
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", TCL_EXACT, &verb) != TCL_OK)
    return TCL_ERROR;
  if (verb >= REWRITTEN && objc != 2) return usage(interp, objv, 2, NULL);
  switch (verb) {
    case GET: return get_verb(object, interp, objc, objv);
    case GET_ENTRY: return get_entry_verb(object, interp, objc, objv);
    case GET_MANY: return get_many_verb(object, interp, objc, objv);
    case VIEW_: return view_verb(object, interp, objc, objv);
    case EXISTS:
      if (objc != 3) return usage(interp, objv, 2, "KEY");
      rc = maph_exists(object->m, slice_of(objv[2]));
      if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return answer(interp, object->m, rc);
      Tcl_SetObjResult(interp, Tcl_NewIntObj(rc == MAPH_OK));
      return TCL_OK;
    case SNAPSHOT_:
      rc = maph_snapshot_open(object->m, &snapshot);
      return new_snapshot(interp, object, rc, snapshot);
    case CURSOR_: return cursor_verb(object, interp, objc, objv);
    case RANGE_: return range_verb(object, interp, objc, objv);
    case BEGIN: return begin_verb(object, interp, objc, objv);
    case COMPACT:
    case OPTIMIZE:
    case TIDY:
    case BACKUP: return rewrite_verb(object, interp, objc, objv);
    case CHANGES: return changes_verb(object, interp, objc, objv);
    case REWRITTEN: return rewritten_verb(object, interp);
    case STAT: return stat_verb(object, interp);
    case SYNC: return answer(interp, object->m, maph_sync(object->m));
    case CHECK: return check_verb(object, interp, objc, objv);
    case INTERRUPT: return interrupt_verb(object->m, interp, objc, objv);
    case REFRESH: return answer(interp, object->m, maph_refresh(object->m));
    case CLOSE: return close_handle(object, interp);
    case ERRMSG:
      Tcl_SetObjResult(interp, Tcl_NewStringObj(maph_errmsg(object->m), -1));
      return TCL_OK;
    case GUARDED: Tcl_SetObjResult(interp, Tcl_NewIntObj(maph_guarded(object->m))); return TCL_OK;
    case INCREMENT: return increment_verb(object, interp, objc, objv);
    default: return write_verb(object, interp, verbs[verb], objc, objv);
  }
}
