/*
** misuse.c - every call of maph.h with NULL where an object belongs, as a Tcl command: none may
** crash.
**
**   maph_null          -> a dict of call and the number of its code
*/
#include "maph.h"
#include <tcl.h>

int Maphmisuse_Init(Tcl_Interp *interp);

static Tcl_Obj *null_calls(void) {
  static const maph_slice key = { "k", 1 };
  Tcl_Obj *dict = Tcl_NewDictObj();
  maph_slice value;
  maph_entry entry;
  maph_snapshot *snapshot = NULL;
  maph_cursor *cursor = NULL;
  maph_range_cursor *ordered = NULL;
  static const maph_range no_size = { 0, { 0, 0 }, { 0, 0 }, { 0, 0 }, 0, 0 };
  static const maph_range at_null = { sizeof(maph_range), { 0, 1 }, { 0, 0 }, { 0, 0 }, 0, 0 };
  static const maph_range unknown = { sizeof(maph_range), { 0, 0 }, { 0, 0 }, { 0, 0 }, 0, 8 };
  maph_txn *txn = NULL;
  maph_stats stats;
  maph_rewrite rewrite;
  maph_changes *feed = NULL;
  maph_change change;
  maph_load *load = NULL;
  maph *m = NULL;
  /* Not known to a compiler that sees what becomes of it: gcc warns of a look that is not made. */
  maph *volatile none = NULL;
#define CALL(name, call) Tcl_DictObjPut(NULL, dict, Tcl_NewStringObj(name, -1), Tcl_NewIntObj(call))
  CALL("open path", maph_open(NULL, MAPH_RDONLY, NULL, &m));
  CALL("open handle", maph_open("x", MAPH_RDONLY, NULL, NULL));
  CALL("close", maph_close(NULL));
  CALL("refresh", maph_refresh(NULL));
  CALL("sync", maph_sync(NULL));
  CALL("destroy", maph_destroy(NULL, 0));
  CALL("replace", maph_replace(NULL, "x", 0));
  CALL("replace", maph_replace("x", NULL, 0));
  CALL("recover", maph_recover(NULL, NULL, NULL));
  CALL("stat", maph_stat(NULL, &stats));
  CALL("check", maph_check(NULL, NULL, NULL));
  CALL("check_progress", maph_check_progress(NULL, NULL, NULL, NULL, NULL));
  CALL("recover_progress", maph_recover_progress(NULL, NULL, NULL, NULL, NULL));
  CALL("get", maph_get(NULL, key, &value));
  CALL("get_entry", maph_get_entry(NULL, key, &entry));
  CALL("get_entry_upto", maph_get_entry_upto(NULL, key, 1, &entry));
  CALL("exists", maph_exists(NULL, key));
  CALL("get_many", maph_get_many(NULL, 1, &key, &value));
  CALL("put", maph_put(NULL, key, key));
  CALL("put_if", maph_put_if(NULL, key, key, NULL));
  CALL("delete", maph_delete(NULL, key));
  CALL("delete_if", maph_delete_if(NULL, key, NULL));
  CALL("snapshot_open", maph_snapshot_open(NULL, &snapshot));
  CALL("snapshot_get", maph_snapshot_get(NULL, key, &value));
  CALL("snapshot_get_entry", maph_snapshot_get_entry(NULL, key, &entry));
  CALL("snapshot_get_many", maph_snapshot_get_many(NULL, 1, &key, &value));
  CALL("snapshot_get_entries", maph_snapshot_get_entries(NULL, 1, &key, &entry));
  CALL("cursor_open", maph_cursor_open(NULL, NULL, key, &cursor));
  CALL("cursor_next", maph_cursor_next(NULL, &entry));
  CALL("cursor_seek", maph_cursor_seek(NULL, 0));
  CALL("range_open", maph_range_open(NULL, NULL, NULL, &ordered));
  CALL("range_open without a place", maph_range_open(m, NULL, NULL, NULL));
  CALL("range_open, a bound at NULL", maph_range_open(m, NULL, &at_null, &ordered));
  CALL("range_open, no size", maph_range_open(m, NULL, &no_size, &ordered));
  CALL("range_open, unknown flags", maph_range_open(m, NULL, &unknown, &ordered));
  CALL("range_next", maph_range_next(NULL, &entry));
  CALL("range_prev", maph_range_prev(NULL, &entry));
  CALL("range_seek", maph_range_seek(NULL, key));
  CALL("txn_begin", maph_txn_begin(NULL, 0, &txn));
  CALL("txn_put", maph_txn_put(NULL, key, key));
  CALL("txn_put_if", maph_txn_put_if(NULL, key, key, NULL));
  CALL("txn_delete", maph_txn_delete(NULL, key));
  CALL("txn_delete_if", maph_txn_delete_if(NULL, key, NULL));
  CALL("txn_get", maph_txn_get(NULL, key, &value));
  CALL("txn_get_entry", maph_txn_get_entry(NULL, key, &entry));
  maph_txn_prefetch(NULL, key);
  CALL("txn_savepoint", maph_txn_savepoint(NULL, 0));
  CALL("txn_release", maph_txn_release(NULL, 0));
  CALL("txn_rollback_to", maph_txn_rollback_to(NULL, 0));
  CALL("txn_snapshot", maph_txn_snapshot(NULL, &snapshot));
  CALL("txn_prepare", maph_txn_prepare(NULL));
  if (maph_pending(NULL)) printf("pending\n");
  if (maph_order_runs(none)) printf("order_runs\n");
  CALL("txn_unprepare", maph_txn_unprepare(NULL));
  CALL("txn_commit", maph_txn_commit(NULL));
  CALL("txn_abort", maph_txn_abort(NULL));
  CALL("compact", maph_compact(NULL, NULL, NULL));
  CALL("tidy", maph_tidy(NULL, NULL, NULL));
  CALL("optimize", maph_optimize(NULL, NULL, NULL));
  CALL("backup", maph_backup(NULL, "x", NULL, NULL));
  CALL("rewritten", maph_rewritten(NULL, &rewrite));
  CALL("changes_open", maph_changes_open(NULL, 0, &feed));
  CALL("changes_next", maph_changes_next(NULL, 0, &change));
  CALL("load_begin path", maph_load_begin(NULL, NULL, &load));
  CALL("load_begin load", maph_load_begin("x", NULL, NULL));
  CALL("load_put", maph_load_put(NULL, key, key, NULL));
  CALL("load_finish", maph_load_finish(NULL));
  CALL("load_abort", maph_load_abort(NULL));
#undef CALL
  maph_snapshot_close(NULL);
  maph_cursor_close(NULL);
  maph_range_close(NULL);
  if (maph_range_estimate(NULL) != 0) printf("an estimate\n");
  if (maph_snapshot_key_types(NULL) != 6) printf("types\n");
  maph_changes_close(NULL);
  if (maph_load_entries(NULL) != 0) printf("entries\n");
  return dict;
}

static int null_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  (void)data;
  if (objc != 1) {
    Tcl_WrongNumArgs(interp, 1, objv, NULL);
    return TCL_ERROR;
  }
  Tcl_SetObjResult(interp, null_calls());
  return TCL_OK;
}

int Maphmisuse_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph_null", null_cmd, NULL, NULL);
  return TCL_OK;
}
