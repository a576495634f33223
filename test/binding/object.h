/*
** object.h - the Tcl commands that stand for objects of the C API, and the verbs that several kinds
** of them have.
**
** Each object is a command; closing it, or deleting the command, closes it in C.  Objects of a
** handle hang on its list, so that deleting the handle's command closes them first.
*/
#ifndef MAPH_TEST_OBJECT_H
#define MAPH_TEST_OBJECT_H

#include "answer.h"

enum { HANDLE, TXN, SNAPSHOT, CURSOR, FEED, VIEW, RANGE };
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

/* Makes the command, whose name is the Tcl result; the caller sets what it stands for.
** handle: whose it is; NULL: it is a handle. */
object *object_new(Tcl_Interp *interp, int kind, object *handle);
/* The command itself, by which another command knows an object of ours. */
int object_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);

/* One for each kind; a verb is objv[1]. */
int handle_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);
int txn_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);
int snapshot_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);
int cursor_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);
int range_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);
int feed_cmd(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);
int view_cmd(object *object, Tcl_Interp *interp, Tcl_Obj *const *objv);

/* ------------------------------------------------------- verbs of more kinds than one (verbs.c) */
/* rc and snapshot: what the call answered that opened it. */
int new_snapshot(Tcl_Interp *interp, object *handle, int rc, maph_snapshot *snapshot);
/* prefix may be NULL */
int new_cursor(Tcl_Interp *interp, object *handle, maph_snapshot *snapshot, Tcl_Obj *prefix);
int range_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);
int get_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);
int get_entry_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);
int get_many_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);
/* put, put_if, delete, delete_if of a handle or a transaction. */
int write_verb(object *object, Tcl_Interp *interp, const char *verb, int objc,
               Tcl_Obj *const *objv);
/* increment of a handle or a transaction: the sum. */
int increment_verb(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);
int stat_verb(object *object, Tcl_Interp *interp);
Tcl_Obj *perfect_obj(int algorithm);
/* maph_interrupt of m (NULL: of the thread's call), now, or each so many milliseconds by a signal
** handler: the first time the call that it is for may not have begun. */
int interrupt_verb(maph *m, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv);

#endif
