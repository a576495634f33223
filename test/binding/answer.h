/*
** answer.h - what every Tcl command of the C API does alike: the answer of a call, slices and
** entries as Tcl objects, names of codes and kinds, options, a script that hears of progress.
*/
#ifndef MAPH_TEST_ANSWER_H
#define MAPH_TEST_ANSWER_H

#include "maph.h"
#include "os/error.h"
#include <tcl.h>

/* Ended by NULL, as Tcl_GetIndexFromObj wants them; the place of a name is its number in maph.h. */
extern const char *const type_names[],
    *const durability_names[], *const key_type_names[], *const perfect_names[],
                                                            *const advice_names[],
                                                                *const when_names[],
                                                                    *const versions_names[];
/* of all MAPH_* codes, by number */
enum { CODE_COUNT = MAPH_MISMATCH + 1 };
extern const char *const code_names[CODE_COUNT];

/* The Tcl result of a call that returned rc: nothing, or the error.  m: whose sentence it is; NULL:
** the thread's.  A key that is not there is no failure and has no sentence. */
int answer(Tcl_Interp *interp, maph *m, int rc);
/* maph_errmsg is of the last call that failed.  Between these two is one command, which makes one
** call; a script that the call runs may make others.  What maph.h says of the sentence holds, or
** the program ends. */
typedef struct spoken {
  sentence before;
  int answered, failures;
} spoken;
void speak_begin(spoken *spoken);
void speak_end(const spoken *spoken, const char *verb);

/* What a call returned whose command makes no error of it. */
void answer_was(int rc);

/* The error of a command with the wrong arguments; the first n are those that it had. */
int usage(Tcl_Interp *interp, Tcl_Obj *const *objv, int n, const char *rest);

/* Valid as long as the object. */
maph_slice slice_of(Tcl_Obj *obj);
Tcl_Obj *obj_of(maph_slice slice);
void dict_put(Tcl_Obj *dict, const char *name, Tcl_Obj *value);
Tcl_Obj *entry_obj(const maph_entry *entry);

/* A number below 2^64, also one with the top bit set. */
int get_u64(Tcl_Interp *interp, Tcl_Obj *obj, uint64_t *number);
/* 16 bytes. */
int get_uuid(Tcl_Interp *interp, Tcl_Obj *obj, uint8_t uuid[16]);
/* The condition of put_if and delete_if: objv[0..objc) are its options.  outcome_name: the variable
** that -outcome names, or NULL. */
int parse_condition(Tcl_Interp *interp, int objc, Tcl_Obj *const *objv, maph_condition *condition,
                    Tcl_Obj **outcome_name);

/* A maph_report_fn; arg is a Tcl list. */
int report_to_list(void *arg, uint64_t offset, const char *sentence);

/* Long work tells a script how far it is.  A script that fails stops it too, and its error is the
** answer. */
typedef struct listener {
  Tcl_Interp *interp;
  Tcl_Obj *script, *error;
} listener;
/* A maph_progress_fn; arg is a listener. */
int tell_script(void *arg, const char *phase, uint64_t done, uint64_t total);
/* What was said of progress came to this: the script's own failure goes before the call's. */
int listened(Tcl_Interp *interp, maph *m, const listener *listener, int rc);

#endif
