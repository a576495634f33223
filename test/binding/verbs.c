/*
** verbs.c - the verbs that more than one kind of object has.
*/
#include "object.h"
#include <signal.h>
#include <string.h>
#include <sys/time.h>

int new_snapshot(Tcl_Interp *interp, object *handle, int rc, maph_snapshot *snapshot) {
  if (rc != MAPH_OK) return answer(interp, handle->m, rc);
  object_new(interp, SNAPSHOT, handle)->snapshot = snapshot;
  return TCL_OK;
}

int new_cursor(Tcl_Interp *interp, object *handle, maph_snapshot *snapshot, Tcl_Obj *prefix) {
  maph_cursor *cursor;
  int rc =
      maph_cursor_open(handle->m, snapshot, prefix ? slice_of(prefix) : maph_bytes("", 0), &cursor);
  if (rc != MAPH_OK) return answer(interp, handle->m, rc);
  object_new(interp, CURSOR, handle)->cursor = cursor;
  return TCL_OK;
}

/* ?-from K? ?-to K? ?-prefix K? ?-limit N? ?-after_from 1? ?-up_to 1? ?-reverse 1? */
static int parse_range(Tcl_Interp *interp, int objc, Tcl_Obj *const *objv, maph_range *range) {
  static const char *const options[] = { "-after_from", "-up_to",  "-reverse", "-from",
                                         "-to",         "-prefix", "-limit",   NULL };
  int i, option, on;
  if (objc % 2) return usage(interp, objv, 0, "-option value ...");
  for (i = 0; i < objc; i += 2) {
    Tcl_Obj *value = objv[i + 1];
    if (Tcl_GetIndexFromObj(interp, objv[i], options, "option", 0, &option) != TCL_OK)
      return TCL_ERROR;
    switch (option) {
      case 3: range->from = slice_of(value); break;
      case 4: range->to = slice_of(value); break;
      case 5: range->prefix = slice_of(value); break;
      case 6:
        if (get_u64(interp, value, &range->limit) != TCL_OK) return TCL_ERROR;
        break;
      default: /* a flag */
        if (Tcl_GetBooleanFromObj(interp, value, &on) != TCL_OK) return TCL_ERROR;
        if (on) range->flags |= 1 << option;
    }
  }
  return TCL_OK;
}

/* range of a handle or a snapshot. */
int range_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  maph_range range = MAPH_RANGE_INIT;
  maph_range_cursor *cursor;
  int rc;
  if (parse_range(interp, objc - 2, objv + 2, &range) != TCL_OK) return TCL_ERROR;
  rc = maph_range_open(object->handle->m, object->snapshot, &range, &cursor);
  if (rc != MAPH_OK) return answer(interp, object->handle->m, rc);
  object_new(interp, RANGE, object->handle)->range = cursor;
  return TCL_OK;
}

static void store_outcome(Tcl_Interp *interp, Tcl_Obj *name, const maph_outcome *outcome) {
  Tcl_Obj *dict = Tcl_NewDictObj();
  dict_put(dict, "version", Tcl_NewWideIntObj((Tcl_WideInt)outcome->version));
  dict_put(dict, "existed", Tcl_NewIntObj(outcome->existed));
  Tcl_ObjSetVar2(interp, name, NULL, dict, 0);
}

int increment_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  maph_condition condition;
  maph_outcome outcome = { 0, 0 };
  Tcl_Obj *outcome_name;
  Tcl_WideInt by;
  int64_t sum = 0;
  int rc;
  if (objc < 4) return usage(interp, objv, 2, "KEY BY ?options?");
  if (Tcl_GetWideIntFromObj(interp, objv[3], &by) != TCL_OK
      || parse_condition(interp, objc - 4, objv + 4, &condition, &outcome_name) != TCL_OK)
    return TCL_ERROR;
  condition.outcome = outcome_name ? &outcome : NULL;
  rc = object->txn ? maph_txn_increment(object->txn, slice_of(objv[2]), by, &condition, &sum)
                   : maph_increment(object->handle->m, slice_of(objv[2]), by, &condition, &sum);
  if (outcome_name) store_outcome(interp, outcome_name, &outcome);
  if (rc == MAPH_OK) Tcl_SetObjResult(interp, Tcl_NewWideIntObj(sum));
  return answer(interp, object->handle->m, rc);
}

int write_verb(object *object, Tcl_Interp *interp, const char *verb, int objc,
               Tcl_Obj *const *objv) {
  maph *m = object->handle->m;
  int is_put = verb[0] == 'p', is_if = strchr(verb, '_') != NULL, fixed = is_put ? 4 : 3, rc;
  maph_condition condition;
  maph_outcome outcome = { 0, 0 };
  Tcl_Obj *outcome_name = NULL;
  maph_slice key, value = { NULL, 0 };

  if (is_if ? objc < fixed : objc != fixed)
    return usage(interp, objv, 2, is_put ? "KEY VALUE ?options?" : "KEY ?options?");
  if (is_if
      && parse_condition(interp, objc - fixed, objv + fixed, &condition, &outcome_name) != TCL_OK)
    return TCL_ERROR;
  if (is_if) condition.outcome = outcome_name ? &outcome : NULL;
  key = slice_of(objv[2]);
  if (is_put) value = slice_of(objv[3]);
  if (object->kind == TXN) {
    maph_txn_prefetch(object->txn, key); /* a hint, which changes nothing */
    rc = is_put ? (is_if ? maph_txn_put_if(object->txn, key, value, &condition)
                         : maph_txn_put(object->txn, key, value))
                : (is_if ? maph_txn_delete_if(object->txn, key, &condition)
                         : maph_txn_delete(object->txn, key));
  } else {
    rc = is_put ? (is_if ? maph_put_if(m, key, value, &condition) : maph_put(m, key, value))
                : (is_if ? maph_delete_if(m, key, &condition) : maph_delete(m, key));
  }
  if (outcome_name) store_outcome(interp, outcome_name, &outcome);
  return answer(interp, m, rc);
}

int get_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  maph_slice key, value = { NULL, 0 };
  int rc;
  if (objc != 3 && objc != 4) return usage(interp, objv, 2, "KEY ?DEFAULT?");
  key = slice_of(objv[2]);
  rc = object->kind == TXN        ? maph_txn_get(object->txn, key, &value)
       : object->kind == SNAPSHOT ? maph_snapshot_get(object->snapshot, key, &value)
                                  : maph_get(object->m, key, &value);
  if (rc == MAPH_NOTFOUND && value.data != NULL) Tcl_Panic("a value beside NOTFOUND");
  answer_was(rc);
  if (rc == MAPH_NOTFOUND && objc == 4) {
    Tcl_SetObjResult(interp, objv[3]);
    return TCL_OK;
  }
  if (rc == MAPH_OK) Tcl_SetObjResult(interp, obj_of(value));
  return answer(interp, object->handle->m, rc);
}

int get_entry_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  maph_slice key;
  maph_entry entry;
  int rc;
  Tcl_WideInt most = 0;
  if (objc != 3 && objc != 4) return usage(interp, objv, 2, "KEY ?MOST?");
  if (objc == 4 && Tcl_GetWideIntFromObj(interp, objv[3], &most) != TCL_OK) return TCL_ERROR;
  key = slice_of(objv[2]);
  rc = objc == 4             ? maph_get_entry_upto(object->handle->m, key, (uint64_t)most, &entry)
       : object->kind == TXN ? maph_txn_get_entry(object->txn, key, &entry)
       : object->kind == SNAPSHOT ? maph_snapshot_get_entry(object->snapshot, key, &entry)
                                  : maph_get_entry(object->m, key, &entry);
  if (rc == MAPH_OK) Tcl_SetObjResult(interp, entry_obj(&entry));
  return answer(interp, object->handle->m, rc);
}

/* maph_snapshot_get_entries has to say of each key what one get and get_many say. */
static void compare_entries(object *object, int n, const maph_slice *keys,
                            const maph_slice *values) {
  maph_entry *entries = (maph_entry *)ckalloc(sizeof(*entries) * (size_t)(n + 1)), one;
  sentence before;
  int i;
  if (maph_snapshot_get_entries(object->snapshot, (size_t)n, keys, entries) != MAPH_OK)
    Tcl_Panic("get_entries: %s", maph_errmsg(NULL));
  error_keep(&before);
  for (i = 0; i < n; i++) {
    int rc = maph_snapshot_get_entry(object->snapshot, keys[i], &one);
    if (memcmp(&one, &entries[i], sizeof one) != 0
        || (rc == MAPH_OK) != (entries[i].key.data != NULL) || values[i].data != one.value.data) {
      Tcl_Panic("get_entries, get_entry and get_many differ about key %d", i);
    }
  }
  error_put_back(&before);
  ckfree((char *)entries);
}

int get_many_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  Tcl_Obj **elements, *list;
  maph_slice *slices;
  int i, n, rc;
  if (objc != 3) return usage(interp, objv, 2, "KEYS");
  if (Tcl_ListObjGetElements(interp, objv[2], &n, &elements) != TCL_OK) return TCL_ERROR;
  slices = (maph_slice *)ckalloc(sizeof(*slices) * 2 * (size_t)(n + 1));
  for (i = 0; i < n; i++) slices[i] = slice_of(elements[i]);
  rc = object->kind == SNAPSHOT
           ? maph_snapshot_get_many(object->snapshot, (size_t)n, slices, slices + n)
           : maph_get_many(object->m, (size_t)n, slices, slices + n);
  if (rc == MAPH_OK && object->kind == SNAPSHOT) compare_entries(object, n, slices, slices + n);
  if (rc == MAPH_OK) {
    list = Tcl_NewListObj(0, NULL);
    for (i = 0; i < n; i++) {
      Tcl_Obj *one = Tcl_NewListObj(0, NULL);
      if (slices[n + i].data) Tcl_ListObjAppendElement(NULL, one, obj_of(slices[n + i]));
      Tcl_ListObjAppendElement(NULL, list, one);
    }
    Tcl_SetObjResult(interp, list);
  }
  ckfree((char *)slices);
  return answer(interp, object->handle->m, rc);
}

Tcl_Obj *perfect_obj(int algorithm) {
  return Tcl_NewStringObj(algorithm == 0 ? "none"
                          : algorithm > 0 && algorithm <= MAPH_PERFECT_CMPH
                              ? perfect_names[algorithm]
                              : "?",
                          -1);
}

int stat_verb(object *object, Tcl_Interp *interp) {
  maph_stats stats;
  Tcl_Obj *dict;
  int rc = object->kind == SNAPSHOT ? maph_snapshot_stat(object->snapshot, &stats)
                                    : maph_stat(object->m, &stats);
  if (rc != MAPH_OK) return answer(interp, object->handle->m, rc);
  dict = Tcl_NewDictObj();
#define NUMBER(field) dict_put(dict, #field, Tcl_NewWideIntObj((Tcl_WideInt)stats.field))
  NUMBER(records);
  NUMBER(live_bytes);
  NUMBER(dead_bytes);
  NUMBER(index_bytes);
  NUMBER(used_bytes);
  NUMBER(file_bytes);
  NUMBER(version);
  NUMBER(generation);
  NUMBER(flushed_bytes);
  NUMBER(segments);
  NUMBER(poisoned);
  NUMBER(oldest_version);
  NUMBER(direct);
  NUMBER(frozen_keys);
  NUMBER(moved_keys);
  NUMBER(later_keys);
  NUMBER(frozen_bytes);
#undef NUMBER
  dict_put(dict, "perfect_hash", perfect_obj(stats.perfect_hash));
  dict_put(dict, "perfect_bits", Tcl_NewDoubleObj(stats.perfect_bits));
  dict_put(dict, "order_bytes", Tcl_NewWideIntObj((Tcl_WideInt)stats.order_bytes));
  dict_put(dict, "order_runs", Tcl_NewWideIntObj((Tcl_WideInt)stats.order_runs));
  dict_put(dict, "load_factor", Tcl_NewDoubleObj(stats.load_factor));
  dict_put(dict, "versions", Tcl_NewStringObj(versions_names[stats.versions], -1));
  dict_put(dict, "uuid", Tcl_NewByteArrayObj(stats.uuid, 16));
  Tcl_SetObjResult(interp, dict);
  return TCL_OK;
}

static maph *interrupted_by_alarm;
static void on_alarm(int number) {
  (void)number;
  maph_interrupt(interrupted_by_alarm);
}
int interrupt_verb(maph *m, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
  struct itimerval when;
  int ms;
  if (objc > 3) return usage(interp, objv, 2, "?MS?");
  if (objc == 2) {
    maph_interrupt(m);
    return TCL_OK;
  }
  if (Tcl_GetIntFromObj(interp, objv[2], &ms) != TCL_OK) return TCL_ERROR;
  interrupted_by_alarm = m;
  when.it_value.tv_sec = ms / 1000;
  when.it_value.tv_usec = ms % 1000 * 1000;
  when.it_interval = when.it_value;
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &when, NULL);
  return TCL_OK;
}
