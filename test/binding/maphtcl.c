/*
** maphtcl.c - the C API of maph.h as Tcl commands.
**
**   maph open PATH ?-flags {rdwr create}? ?-durability full? ?-busy_timeout MS? ?-verify 1? ...  ->
**      a handle, a command
**   maph recover PATH | destroy PATH ?MS? | replace PATH WITH ?MS? | strerror N | errmsg |
**      version | codes | fork SCRIPT | interrupt ?MS?
**
**   $m get KEY ?DEFAULT?   get_entry KEY   get_many KEYS   exists KEY   view KEY
**   $m put KEY VALUE   put_if KEY VALUE ?-when absent? ...   delete KEY   delete_if KEY ...
**   $m increment KEY BY ?-expires MS? ...
**   $m snapshot   cursor ?PREFIX? ?SNAPSHOT?   range ?-option value ...?   begin ?DURABILITY?
**      stat  sync  check  refresh  close
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
** Each object is a command; closing it, or deleting the command, closes it in C.  Objects of a
** handle hang on its list, so that deleting the handle's command closes them first.
*/
#include "maph.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <tcl.h>
#include <unistd.h>

int Maphtcl_Init(Tcl_Interp *interp);

enum { HANDLE, TXN, SNAPSHOT, CURSOR, FEED, VIEW, RANGE };
static const char *const kind_names[] = { "maph", "txn",  "snapshot", "cursor",
                                          "feed", "view", "range" };

typedef struct object {
  int kind;
  Tcl_Interp *interp;
  Tcl_Command command;
  struct object *handle; /* the handle it belongs to; itself for a handle */
  struct object *children, *next;
  maph *m;
  maph_txn *txn;
  maph_snapshot *snapshot;
  maph_cursor *cursor;
  maph_range_cursor *range;
  maph_changes *feed;
  maph_slice view;
} object;

/* -------------------------------------------------------------------------------------- results */
static const char *const code_names[] = { "OK",        "NOTFOUND", "EXISTS",   "CONFLICT",
                                          "BUSY",      "READONLY", "FULL",     "TOOBIG",
                                          "NOMEM",     "IOERR",    "CORRUPT",  "FORMAT",
                                          "RECOVER",   "MISUSE",   "CANTOPEN", "COMPACTED",
                                          "CANCELLED", "MISMATCH" };

static const char *code_name(int rc) {
  return rc >= 0 && rc < (int)(sizeof(code_names) / sizeof(code_names[0])) ? code_names[rc]
                                                                           : "UNKNOWN";
}

/* The Tcl result of a call that returned rc: nothing, or the error.  A key that is not there is no
** failure and has no sentence. */
static int answer(Tcl_Interp *interp, maph *m, int rc) {
  char number[16];
  if (rc == MAPH_OK) return TCL_OK;
  snprintf(number, sizeof(number), "%d", rc);
  Tcl_SetObjResult(interp,
                   Tcl_NewStringObj(rc == MAPH_NOTFOUND ? maph_strerror(rc) : maph_errmsg(m), -1));
  Tcl_SetErrorCode(interp, "MAPH", code_name(rc), number, (char *)NULL);
  return TCL_ERROR;
}

static int usage(Tcl_Interp *interp, Tcl_Obj *const *objv, int n, const char *rest) {
  Tcl_WrongNumArgs(interp, n, objv, rest);
  return TCL_ERROR;
}

static maph_slice slice_of(Tcl_Obj *obj) {
  int n;
  unsigned char *a = Tcl_GetByteArrayFromObj(obj, &n);
  return maph_bytes(a, (size_t)n);
}

static Tcl_Obj *obj_of(maph_slice s) { return Tcl_NewByteArrayObj(s.data, (int)s.size); }

static void dict_put(Tcl_Obj *dict, const char *name, Tcl_Obj *value) {
  Tcl_DictObjPut(NULL, dict, Tcl_NewStringObj(name, -1), value);
}

static const char *const type_names[] = { "blob", "text", "json", "integer", "real", "null", NULL };
static const char *const durability_names[] = { "default", "off", "normal", "full", NULL };
static const char *const key_type_names[] = { "bytes", "text", "blob", NULL };
static const char *const perfect_names[] = { "default", "pilot", "cmph", NULL };
static const char *const advice_names[] = { "normal", "random", "willneed", NULL };
static const char *const when_names[] = { "always", "absent", "present", "version", NULL };

static Tcl_Obj *entry_obj(const maph_entry *entry) {
  Tcl_Obj *dict = Tcl_NewDictObj();
  dict_put(dict, "key", obj_of(entry->key));
  dict_put(dict, "value", obj_of(entry->value));
  dict_put(dict, "version", Tcl_NewWideIntObj((Tcl_WideInt)entry->version));
  dict_put(dict, "expires", Tcl_NewWideIntObj((Tcl_WideInt)entry->expires));
  dict_put(dict, "type",
           Tcl_NewStringObj(
               entry->type >= 0 && entry->type <= MAPH_NULL ? type_names[entry->type] : "?", -1));
  dict_put(dict, "key_is_text", Tcl_NewIntObj(entry->key_type == MAPH_KEY_TEXT));
  dict_put(dict, "key_type",
           Tcl_NewStringObj(entry->key_type >= 0 && entry->key_type <= MAPH_KEY_BLOB
                                ? key_type_names[entry->key_type]
                                : "?",
                            -1));
  dict_put(dict, "media_type", obj_of(entry->media_type));
  return dict;
}

/* A number below 2^64, also one with the top bit set. */
static int get_u64(Tcl_Interp *interp, Tcl_Obj *obj, uint64_t *u) {
  Tcl_WideInt w;
  char *end;
  if (Tcl_GetWideIntFromObj(NULL, obj, &w) == TCL_OK) {
    *u = (uint64_t)w;
    return TCL_OK;
  }
  *u = strtoull(Tcl_GetString(obj), &end, 0);
  if (*end) {
    Tcl_SetObjResult(interp, Tcl_ObjPrintf("expected a number: %s", Tcl_GetString(obj)));
    return TCL_ERROR;
  }
  return TCL_OK;
}

/* -------------------------------------------------------------------------------------- objects */
static int object_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);

static void unlink_child(object *object) {
  struct object **pp;
  if (object->handle == NULL || object->handle == object) return;
  for (pp = &object->handle->children; *pp; pp = &(*pp)->next) {
    if (*pp == object) {
      *pp = object->next;
      break;
    }
  }
  object->handle = NULL;
}

/* The command goes away: close what it still holds. */
static void object_deleted(ClientData data) {
  object *object = data;
  while (object->children) Tcl_DeleteCommandFromToken(object->interp, object->children->command);
  unlink_child(object);
  maph_txn_abort(object->txn);
  maph_snapshot_close(object->snapshot);
  maph_cursor_close(object->cursor);
  maph_range_close(object->range);
  maph_changes_close(object->feed);
  maph_close(object->m);
  ckfree((char *)object);
}

static object *object_new(Tcl_Interp *interp, int kind, object *handle) {
  static int serial;
  char name[40];
  object *object = (struct object *)ckalloc(sizeof(*object));
  memset(object, 0, sizeof(*object));
  object->kind = kind;
  object->interp = interp;
  object->handle = handle ? handle : object;
  if (handle) {
    object->next = handle->children;
    handle->children = object;
  }
  snprintf(name, sizeof(name), "%s%d", kind_names[kind], ++serial);
  object->command = Tcl_CreateObjCommand(interp, name, object_cmd, object, object_deleted);
  Tcl_SetObjResult(interp, Tcl_NewStringObj(name, -1));
  return object;
}

static int new_snapshot(Tcl_Interp *interp, object *handle, int rc, maph_snapshot *snapshot) {
  if (rc != MAPH_OK) return answer(interp, handle->m, rc);
  object_new(interp, SNAPSHOT, handle)->snapshot = snapshot;
  return TCL_OK;
}

static int new_cursor(Tcl_Interp *interp, object *handle, maph_snapshot *snapshot,
                      Tcl_Obj *prefix) {
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
static int range_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  maph_range range = MAPH_RANGE_INIT;
  maph_range_cursor *cursor;
  int rc;
  if (parse_range(interp, objc - 2, objv + 2, &range) != TCL_OK) return TCL_ERROR;
  rc = maph_range_open(object->handle->m, object->snapshot, &range, &cursor);
  if (rc != MAPH_OK) return answer(interp, object->handle->m, rc);
  object_new(interp, RANGE, object->handle)->range = cursor;
  return TCL_OK;
}

/* ----------------------------------------------------------------------------- the shared verbs */
/* The condition of put_if and delete_if: objv[0..objc) are its options. */
static int parse_condition(Tcl_Interp *interp, int objc, Tcl_Obj *const *objv,
                           maph_condition *condition, Tcl_Obj **outcome_name) {
  static const char *const options[] = { "-when",        "-version",    "-expires", "-type",
                                         "-key_is_text", "-media_type", "-outcome", "-key_type",
                                         "-durability",  NULL };
  int i, option;
  memset(condition, 0, sizeof(*condition));
  *outcome_name = NULL;
  if (objc % 2) {
    Tcl_SetResult(interp, (char *)"an option lacks its value", TCL_STATIC);
    return TCL_ERROR;
  }
  for (i = 0; i < objc; i += 2) {
    Tcl_Obj *value = objv[i + 1];
    int rc = TCL_OK;
    if (Tcl_GetIndexFromObj(interp, objv[i], options, "option", 0, &option) != TCL_OK)
      return TCL_ERROR;
    switch (option) {
      case 0:
        if (Tcl_GetIntFromObj(NULL, value, &condition->when) != TCL_OK)
          rc = Tcl_GetIndexFromObj(interp, value, when_names, "when", 0, &condition->when);
        break;
      case 1: rc = get_u64(interp, value, &condition->version); break;
      case 2: rc = get_u64(interp, value, &condition->expires); break;
      case 3:
        if (Tcl_GetIntFromObj(NULL, value, &condition->type) != TCL_OK)
          rc = Tcl_GetIndexFromObj(interp, value, type_names, "type", 0, &condition->type);
        break;
      case 4: rc = Tcl_GetBooleanFromObj(interp, value, &condition->key_type); break;
      case 5: condition->media_type = slice_of(value); break;
      case 6: *outcome_name = value; break;
      case 7:
        rc =
            Tcl_GetIndexFromObj(interp, value, key_type_names, "key type", 0, &condition->key_type);
        break;
      case 8:
        if (Tcl_GetIntFromObj(NULL, value, &condition->durability) != TCL_OK)
          rc = Tcl_GetIndexFromObj(interp, value, durability_names, "durability", 0,
                                   &condition->durability);
        break;
    }
    if (rc != TCL_OK) return rc;
  }
  return TCL_OK;
}

static void store_outcome(Tcl_Interp *interp, Tcl_Obj *name, const maph_outcome *outcome) {
  Tcl_Obj *dict = Tcl_NewDictObj();
  dict_put(dict, "version", Tcl_NewWideIntObj((Tcl_WideInt)outcome->version));
  dict_put(dict, "existed", Tcl_NewIntObj(outcome->existed));
  Tcl_ObjSetVar2(interp, name, NULL, dict, 0);
}

/* increment of a handle or a transaction: the sum. */
static int increment_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
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

/* put, put_if, delete, delete_if of a handle or a transaction. */
static int write_verb(object *object, Tcl_Interp *interp, const char *verb, int objc,
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

static int get_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  maph_slice key, value = { NULL, 0 };
  int rc;
  if (objc != 3 && objc != 4) return usage(interp, objv, 2, "KEY ?DEFAULT?");
  key = slice_of(objv[2]);
  rc = object->kind == TXN        ? maph_txn_get(object->txn, key, &value)
       : object->kind == SNAPSHOT ? maph_snapshot_get(object->snapshot, key, &value)
                                  : maph_get(object->m, key, &value);
  if (rc == MAPH_NOTFOUND && value.data != NULL) Tcl_Panic("a value beside NOTFOUND");
  if (rc == MAPH_NOTFOUND && objc == 4) {
    Tcl_SetObjResult(interp, objv[3]);
    return TCL_OK;
  }
  if (rc == MAPH_OK) Tcl_SetObjResult(interp, obj_of(value));
  return answer(interp, object->handle->m, rc);
}

static int get_entry_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  maph_slice key;
  maph_entry entry;
  int rc;
  if (objc != 3) return usage(interp, objv, 2, "KEY");
  key = slice_of(objv[2]);
  rc = object->kind == TXN        ? maph_txn_get_entry(object->txn, key, &entry)
       : object->kind == SNAPSHOT ? maph_snapshot_get_entry(object->snapshot, key, &entry)
                                  : maph_get_entry(object->m, key, &entry);
  if (rc == MAPH_OK) Tcl_SetObjResult(interp, entry_obj(&entry));
  return answer(interp, object->handle->m, rc);
}

/* maph_snapshot_get_entries has to say of each key what one get and get_many say. */
static void compare_entries(object *object, int n, const maph_slice *keys,
                            const maph_slice *values) {
  maph_entry *entries = (maph_entry *)ckalloc(sizeof(*entries) * (size_t)(n + 1)), one;
  int i;
  if (maph_snapshot_get_entries(object->snapshot, (size_t)n, keys, entries) != MAPH_OK)
    Tcl_Panic("get_entries: %s", maph_errmsg(NULL));
  for (i = 0; i < n; i++) {
    int rc = maph_snapshot_get_entry(object->snapshot, keys[i], &one);
    if (memcmp(&one, &entries[i], sizeof one) != 0
        || (rc == MAPH_OK) != (entries[i].key.data != NULL) || values[i].data != one.value.data) {
      Tcl_Panic("get_entries, get_entry and get_many differ about key %d", i);
    }
  }
  ckfree((char *)entries);
}

static int get_many_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
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

/* ----------------------------------------------------------------------------------- the handle */
static int report_to_list(void *arg, uint64_t offset, const char *sentence) {
  Tcl_Obj *pair = Tcl_NewListObj(0, NULL);
  Tcl_ListObjAppendElement(NULL, pair, Tcl_NewWideIntObj((Tcl_WideInt)offset));
  Tcl_ListObjAppendElement(NULL, pair, Tcl_NewStringObj(sentence, -1));
  Tcl_ListObjAppendElement(NULL, arg, pair);
  return 0;
}

/* Long work tells a script how far it is.  A script that fails stops it too, and its error is the
** answer. */
typedef struct listener {
  Tcl_Interp *interp;
  Tcl_Obj *script, *error;
} listener;

static int tell_script(void *arg, const char *phase, uint64_t done, uint64_t total) {
  listener *listener = arg;
  Tcl_Obj *command = Tcl_DuplicateObj(listener->script);
  int rc, stop = 0;
  Tcl_IncrRefCount(command);
  rc = Tcl_ListObjAppendElement(listener->interp, command, Tcl_NewStringObj(phase, -1));
  if (rc == TCL_OK)
    rc = Tcl_ListObjAppendElement(listener->interp, command, Tcl_NewWideIntObj((Tcl_WideInt)done));
  if (rc == TCL_OK)
    rc = Tcl_ListObjAppendElement(listener->interp, command, Tcl_NewWideIntObj((Tcl_WideInt)total));
  if (rc == TCL_OK) rc = Tcl_EvalObjEx(listener->interp, command, TCL_EVAL_GLOBAL);
  if (rc == TCL_OK)
    rc = Tcl_GetBooleanFromObj(listener->interp, Tcl_GetObjResult(listener->interp), &stop);
  Tcl_DecrRefCount(command);
  if (rc == TCL_OK) {
    Tcl_ResetResult(listener->interp);
    return stop;
  }
  listener->error = Tcl_GetObjResult(listener->interp);
  Tcl_IncrRefCount(listener->error);
  return 1;
}

/* What was said of progress came to this: the script's own failure goes before the call's. */
static int listened(Tcl_Interp *interp, maph *m, const listener *listener, int rc) {
  if (listener->error == NULL) return answer(interp, m, rc);
  Tcl_SetObjResult(interp, listener->error);
  Tcl_DecrRefCount(listener->error);
  return TCL_ERROR;
}

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
  if (rc == MAPH_CORRUPT && n > 0) return TCL_OK;
  if (rc == MAPH_OK && n > 0) Tcl_Panic("maph_check answers OK and reports problems");
  return listened(interp, object->m, &listener, rc);
}

static Tcl_Obj *perfect_obj(int algorithm) {
  return Tcl_NewStringObj(algorithm == 0 ? "none"
                          : algorithm > 0 && algorithm <= MAPH_PERFECT_CMPH
                              ? perfect_names[algorithm]
                              : "?",
                          -1);
}

static int stat_verb(object *object, Tcl_Interp *interp) {
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
  dict_put(dict, "uuid", Tcl_NewByteArrayObj(stats.uuid, 16));
  Tcl_SetObjResult(interp, dict);
  return TCL_OK;
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

/* maph_interrupt, now, or each so many milliseconds by a signal handler: the first time the call
** that it is for may not have begun. */
static maph *interrupted_by_alarm;
static void on_alarm(int number) {
  (void)number;
  maph_interrupt(interrupted_by_alarm);
}
static int interrupt_verb(maph *m, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
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

static int handle_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = {
    "get",       "get_entry", "get_many",  "exists",   "view",    "put",    "put_if",
    "increment", "delete",    "delete_if", "snapshot", "cursor",  "range",  "begin",
    "compact",   "optimize",  "tidy",      "backup",   "changes", "check",  "interrupt",
    "rewritten", "stat",      "sync",      "refresh",  "close",   "errmsg", NULL
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
    ERRMSG
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
    case INCREMENT: return increment_verb(object, interp, objc, objv);
    default: return write_verb(object, interp, verbs[verb], objc, objv);
  }
}

/* ---------------------------------------------------- transaction, snapshot, cursor, feed, view */
static int txn_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "get",       "get_entry",   "put",        "put_if",
                                       "increment", "delete",      "delete_if",  "savepoint",
                                       "release",   "rollback_to", "snapshot",   "prepare",
                                       "unprepare", "version",     "operations", "commit",
                                       "abort",     NULL };
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
    ABORT
  };
  maph *m = object->handle->m;
  maph_snapshot *snapshot = NULL;
  int verb, n, rc;
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", TCL_EXACT, &verb) != TCL_OK)
    return TCL_ERROR;
  if (verb >= SNAPSHOT_ && objc != 2) return usage(interp, objv, 2, NULL);
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

static int snapshot_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
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

static int cursor_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
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

static int range_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
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

static int feed_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
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

static int view_cmd(object *object, Tcl_Interp *interp, Tcl_Obj *const *objv) {
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

static int object_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  object *object = data;
  if (objc < 2) return usage(interp, objv, 1, "VERB ?args?");
  switch (object->kind) {
    case HANDLE: return handle_cmd(object, interp, objc, objv);
    case TXN: return txn_cmd(object, interp, objc, objv);
    case SNAPSHOT: return snapshot_cmd(object, interp, objc, objv);
    case CURSOR: return cursor_cmd(object, interp, objc, objv);
    case RANGE: return range_cmd(object, interp, objc, objv);
    case FEED: return feed_cmd(object, interp, objc, objv);
    default: return view_cmd(object, interp, objv);
  }
}

/* ----------------------------------------------------------------------------- the maph command */
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
    "-flags",        "-durability",   "-busy_timeout",  "-expected_keys",
    "-verify",       "-prefault",     "-lock_memory",   "-advice",
    "-huge_pages",   "-mode",         "-size",          "-options",
    "-perfect_hash", "-auto_compact", "-after_version", NULL
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

static int maph_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  static const char *const verbs[] = { "open",      "recover", "destroy", "strerror",
                                       "errmsg",    "version", "codes",   "fork",
                                       "interrupt", "replace", NULL };
  int verb, n = 5000;
  (void)data;
  if (objc < 2) return usage(interp, objv, 1, "VERB ?args?");
  if (Tcl_GetIndexFromObj(interp, objv[1], verbs, "verb", TCL_EXACT, &verb) != TCL_OK)
    return TCL_ERROR;
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
      for (n = 0; n < (int)(sizeof(code_names) / sizeof(code_names[0])); n++)
        Tcl_AppendElement(interp, code_names[n]);
      return TCL_OK;
    case 7: return fork_verb(interp, objc, objv);
    case 8: return interrupt_verb(NULL, interp, objc, objv);
    default:
      if (objc != 4 && objc != 5) return usage(interp, objv, 2, "PATH WITH ?MS?");
      if (objc == 5 && Tcl_GetIntFromObj(interp, objv[4], &n) != TCL_OK) return TCL_ERROR;
      return answer(interp, NULL, maph_replace(Tcl_GetString(objv[2]), Tcl_GetString(objv[3]), n));
  }
}

int Maphtcl_Init(Tcl_Interp *interp) {
  Tcl_CreateObjCommand(interp, "maph", maph_cmd, NULL, NULL);
  return TCL_OK;
}
