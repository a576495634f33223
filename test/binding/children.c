/*
** children.c - the verbs of what belongs to a handle: transaction, snapshot, cursor, range, feed,
** view.
*/
#include "object.h"

int txn_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "get",       "get_entry",   "put",        "put_if",
                                       "increment", "delete",      "delete_if",  "savepoint",
                                       "release",   "rollback_to", "snapshot",   "prepare",
                                       "unprepare", "version",     "operations", "commit",
                                       "abort",     "at",          NULL };
  enum {
    GET,
    GET_ENTRY,
    PUT,
    PUT_IF,
    INCREMENT,
    DELETE,
    DELETE_IF,
    SAVEPOINT,
    RELEASE,
    ROLLBACK_TO,
    SNAPSHOT_,
    PREPARE,
    UNPREPARE,
    VERSION,
    OPERATIONS,
    COMMIT,
    ABORT,
    AT
  };
  maph *m = object->handle->m;
  maph_snapshot *snapshot = NULL;
  uint64_t version;
  int verb, n, rc;
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", TCL_EXACT, &verb) != TCL_OK)
    return TCL_ERROR;
  if (verb >= SNAPSHOT_ && objc != 2 + (verb == AT)) return usage(interp, objv, 2, NULL);
  switch (verb) {
    case GET: return get_verb(object, interp, objc, objv);
    case GET_ENTRY: return get_entry_verb(object, interp, objc, objv);
    case SAVEPOINT:
    case RELEASE:
    case ROLLBACK_TO:
      if (objc != 3) return usage(interp, objv, 2, "N");
      if (Tcl_GetIntFromObj(interp, objv[2], &n) != TCL_OK) return TCL_ERROR;
      return answer(interp, m,
                    verb == SAVEPOINT ? maph_txn_savepoint(object->txn, n)
                    : verb == RELEASE ? maph_txn_release(object->txn, n)
                                      : maph_txn_rollback_to(object->txn, n));
    case SNAPSHOT_:
      rc = maph_txn_snapshot(object->txn, &snapshot);
      return new_snapshot(interp, object->handle, rc, snapshot);
    case AT:
      if (get_u64(interp, objv[2], &version) != TCL_OK) return TCL_ERROR;
      return answer(interp, m, maph_txn_at(object->txn, version));
    case PREPARE: return answer(interp, m, maph_txn_prepare(object->txn));
    case UNPREPARE: return answer(interp, m, maph_txn_unprepare(object->txn));
    case VERSION:
      Tcl_SetObjResult(interp, Tcl_NewWideIntObj((Tcl_WideInt)maph_txn_version(object->txn)));
      return TCL_OK;
    case OPERATIONS:
      Tcl_SetObjResult(interp, Tcl_NewWideIntObj((Tcl_WideInt)maph_txn_operations(object->txn)));
      return TCL_OK;
    case COMMIT:
    case ABORT:
      rc = verb == COMMIT ? maph_txn_commit(object->txn) : maph_txn_abort(object->txn);
      object->txn = NULL;
      Tcl_DeleteCommandFromToken(interp, object->command);
      return answer(interp, m, rc);
    case INCREMENT: return increment_verb(object, interp, objc, objv);
    default: return write_verb(object, interp, verbs[verb], objc, objv);
  }
}

int snapshot_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "get",   "get_entry", "get_many", "cursor",
                                       "range", "version",   "records",  "stat",
                                       "renew", "types",     "close",    NULL };
  int verb;
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", TCL_EXACT, &verb) != TCL_OK)
    return TCL_ERROR;
  switch (verb) {
    case 0: return get_verb(object, interp, objc, objv);
    case 1: return get_entry_verb(object, interp, objc, objv);
    case 2: return get_many_verb(object, interp, objc, objv);
    case 3: return new_cursor(interp, object->handle, object->snapshot, objc > 2 ? objv[2] : NULL);
    case 4: return range_verb(object, interp, objc, objv);
    case 5:
      Tcl_SetObjResult(interp,
                       Tcl_NewWideIntObj((Tcl_WideInt)maph_snapshot_version(object->snapshot)));
      return TCL_OK;
    case 6:
      Tcl_SetObjResult(interp,
                       Tcl_NewWideIntObj((Tcl_WideInt)maph_snapshot_records(object->snapshot)));
      return TCL_OK;
    case 7: return stat_verb(object, interp);
    case 8: return answer(interp, object->handle->m, maph_snapshot_renew(object->snapshot));
    case 9:
      Tcl_SetObjResult(interp, Tcl_NewIntObj(maph_snapshot_key_types(object->snapshot)));
      return TCL_OK;
    default: Tcl_DeleteCommandFromToken(interp, object->command); return TCL_OK;
  }
}

int cursor_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "next", "tell", "seek", "close", NULL };
  maph_entry entry;
  uint64_t place;
  int verb, rc;
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", TCL_EXACT, &verb) != TCL_OK)
    return TCL_ERROR;
  switch (verb) {
    case 0:
      rc = maph_cursor_next(object->cursor, &entry);
      if (rc == MAPH_OK) Tcl_SetObjResult(interp, entry_obj(&entry));
      return answer(interp, object->handle->m, rc);
    case 1:
      Tcl_SetObjResult(interp, Tcl_NewWideIntObj((Tcl_WideInt)maph_cursor_tell(object->cursor)));
      return TCL_OK;
    case 2:
      if (objc != 3) return usage(interp, objv, 2, "PLACE");
      if (get_u64(interp, objv[2], &place) != TCL_OK) return TCL_ERROR;
      return answer(interp, object->handle->m, maph_cursor_seek(object->cursor, place));
    default: Tcl_DeleteCommandFromToken(interp, object->command); return TCL_OK;
  }
}

int range_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "next", "prev", "seek", "estimate", "close", NULL };
  maph_entry entry;
  int verb, rc;
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", TCL_EXACT, &verb) != TCL_OK)
    return TCL_ERROR;
  switch (verb) {
    case 0:
    case 1:
      rc = verb ? maph_range_prev(object->range, &entry) : maph_range_next(object->range, &entry);
      if (rc == MAPH_OK) Tcl_SetObjResult(interp, entry_obj(&entry));
      return answer(interp, object->handle->m, rc);
    case 2:
      if (objc != 3) return usage(interp, objv, 2, "KEY");
      return answer(interp, object->handle->m, maph_range_seek(object->range, slice_of(objv[2])));
    case 3:
      Tcl_SetObjResult(interp, Tcl_NewWideIntObj((Tcl_WideInt)maph_range_estimate(object->range)));
      return TCL_OK;
    default: Tcl_DeleteCommandFromToken(interp, object->command); return TCL_OK;
  }
}

static Tcl_Obj *change_obj(const maph_change *change) {
  Tcl_Obj *dict = entry_obj(&change->entry);
  dict_put(dict, "deleted", Tcl_NewIntObj(change->deleted));
  dict_put(dict, "last", Tcl_NewIntObj(change->last));
  return dict;
}

int feed_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "next", "version", "close", NULL };
  maph_change change;
  int verb, rc, timeout_ms = 0;
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", TCL_EXACT, &verb) != TCL_OK)
    return TCL_ERROR;
  switch (verb) {
    case 0:
      if (objc > 3) return usage(interp, objv, 2, "?TIMEOUT_MS?");
      if (objc == 3 && Tcl_GetIntFromObj(interp, objv[2], &timeout_ms) != TCL_OK) return TCL_ERROR;
      rc = maph_changes_next(object->feed, timeout_ms, &change);
      if (rc == MAPH_OK) Tcl_SetObjResult(interp, change_obj(&change));
      return answer(interp, object->handle->m, rc);
    case 1:
      Tcl_SetObjResult(interp, Tcl_NewWideIntObj((Tcl_WideInt)maph_changes_version(object->feed)));
      return TCL_OK;
    default: Tcl_DeleteCommandFromToken(interp, object->command); return TCL_OK;
  }
}

int view_cmd(object *object, Tcl_Interp *interp, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "read", "address", "close", NULL };
  int verb;
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", TCL_EXACT, &verb) != TCL_OK)
    return TCL_ERROR;
  switch (verb) {
    case 0: Tcl_SetObjResult(interp, obj_of(object->view)); return TCL_OK;
    case 1:
      Tcl_SetObjResult(interp, Tcl_NewWideIntObj((Tcl_WideInt)(intptr_t)object->view.data));
      return TCL_OK;
    default: Tcl_DeleteCommandFromToken(interp, object->command); return TCL_OK;
  }
}
