/*
** answer.c - the manual is answer.h.
*/
#include "answer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const code_names[CODE_COUNT] = { "OK",        "NOTFOUND", "EXISTS",   "CONFLICT",
                                             "BUSY",      "READONLY", "FULL",     "TOOBIG",
                                             "NOMEM",     "IOERR",    "CORRUPT",  "FORMAT",
                                             "RECOVER",   "MISUSE",   "CANTOPEN", "COMPACTED",
                                             "CANCELLED", "MISMATCH" };

static const char *code_name(int rc) {
  return rc >= 0 && rc < CODE_COUNT ? code_names[rc] : "UNKNOWN";
}

/* Of the call under way in this thread; calls that failed in this thread so far. */
static _Thread_local int answered, failures;

void answer_was(int rc) { answered = rc; }

int answer(Tcl_Interp *interp, maph *m, int rc) {
  char number[16];
  answer_was(rc);
  if (rc == MAPH_OK) return TCL_OK;
  snprintf(number, sizeof(number), "%d", rc);
  Tcl_SetObjResult(interp,
                   Tcl_NewStringObj(rc == MAPH_NOTFOUND ? maph_strerror(rc) : maph_errmsg(m), -1));
  Tcl_SetErrorCode(interp, "MAPH", code_name(rc), number, (char *)NULL);
  return TCL_ERROR;
}

#define UNTOUCHED "what was said before"

void speak_begin(spoken *spoken) {
  error_keep(&spoken->before);
  spoken->answered = answered;
  spoken->failures = failures;
  fail(-1, UNTOUCHED);
  answered = MAPH_OK;
}

static int is_one_of(const char *verb, const char *const *verbs) {
  while (*verbs && strcmp(verb, *verbs) != 0) verbs++;
  return *verbs != NULL;
}

static const char *wrong_with(const char *verb, const char *said, int untouched) {
  /* whose NOTFOUND is no failure; and that answer a number, and say why it is 0 */
  static const char *const misses[] = { "get", "exists", "view", "next", "prev", NULL };
  static const char *const numbers[] = { "version", "operations", "records",
                                         "tell",    "estimate",   NULL };
  sentence sentence;
  if (answered == MAPH_OK)
    return untouched || is_one_of(verb, numbers) ? NULL : "succeeds and leaves a sentence";
  if (untouched)
    return answered == MAPH_NOTFOUND && is_one_of(verb, misses) ? NULL : "fails without a sentence";
  error_keep(&sentence);
  if (sentence.rc != answered) return "fails with the sentence of another failure";
  if (answered == MAPH_NOMEM && strchr(said, '/') == NULL && strstr(said, ":memory:") == NULL)
    return "fails without naming a file";
  return NULL;
}

void speak_end(const spoken *spoken, const char *verb) {
  const char *said = maph_errmsg(NULL), *wrong;
  int untouched = strcmp(said, UNTOUCHED) == 0;
  wrong = failures == spoken->failures ? wrong_with(verb, said, untouched) : NULL;
  if (wrong) Tcl_Panic("%s %s: %s: %s", verb, wrong, code_name(answered), said);
  failures += answered != MAPH_OK;
  if (untouched) error_put_back(&spoken->before);
  answered = spoken->answered;
}

int usage(Tcl_Interp *interp, Tcl_Obj *const *objv, int n, const char *rest) {
  Tcl_WrongNumArgs(interp, n, objv, rest);
  return TCL_ERROR;
}

maph_slice slice_of(Tcl_Obj *obj) {
  int n;
  unsigned char *a = Tcl_GetByteArrayFromObj(obj, &n);
  return maph_bytes(a, (size_t)n);
}

Tcl_Obj *obj_of(maph_slice s) { return Tcl_NewByteArrayObj(s.data, (int)s.size); }

void dict_put(Tcl_Obj *dict, const char *name, Tcl_Obj *value) {
  Tcl_DictObjPut(NULL, dict, Tcl_NewStringObj(name, -1), value);
}

const char *const type_names[] = { "blob", "text", "json", "integer", "real", "null", NULL };
const char *const durability_names[] = { "default", "off", "normal", "full", NULL };
const char *const key_type_names[] = { "bytes", "text", "blob", NULL };
const char *const perfect_names[] = { "default", "pilot", "cmph", NULL };
const char *const advice_names[] = { "normal", "random", "willneed", NULL };
const char *const when_names[] = { "always", "absent", "present", "version", NULL };
const char *const versions_names[] = { "own", "given", NULL };

Tcl_Obj *entry_obj(const maph_entry *entry) {
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

int get_u64(Tcl_Interp *interp, Tcl_Obj *obj, uint64_t *u) {
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

int get_uuid(Tcl_Interp *interp, Tcl_Obj *obj, uint8_t uuid[16]) {
  maph_slice bytes = slice_of(obj);
  if (bytes.size != 16) {
    Tcl_SetObjResult(interp, Tcl_NewStringObj("a uuid has 16 bytes", -1));
    return TCL_ERROR;
  }
  memcpy(uuid, bytes.data, 16);
  return TCL_OK;
}

int parse_condition(Tcl_Interp *interp, int objc, Tcl_Obj *const *objv, maph_condition *condition,
                    Tcl_Obj **outcome_name) {
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

int report_to_list(void *arg, uint64_t offset, const char *sentence) {
  Tcl_Obj *pair = Tcl_NewListObj(0, NULL);
  Tcl_ListObjAppendElement(NULL, pair, Tcl_NewWideIntObj((Tcl_WideInt)offset));
  Tcl_ListObjAppendElement(NULL, pair, Tcl_NewStringObj(sentence, -1));
  Tcl_ListObjAppendElement(NULL, arg, pair);
  return 0;
}

int tell_script(void *arg, const char *phase, uint64_t done, uint64_t total) {
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

int listened(Tcl_Interp *interp, maph *m, const listener *listener, int rc) {
  if (listener->error == NULL) return answer(interp, m, rc);
  answer_was(rc);
  Tcl_SetObjResult(interp, listener->error);
  Tcl_DecrRefCount(listener->error);
  return TCL_ERROR;
}
