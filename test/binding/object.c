/*
** object.c - the life of a command that stands for an object; object.h says what it is.
*/
#include "object.h"
#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = { "maph", "txn",  "snapshot", "cursor",
                                          "feed", "view", "range" };

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

static int verb_of(object *object, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
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

int object_cmd(ClientData data, Tcl_Interp *interp, int objc, Tcl_Obj *const *objv) {
  spoken spoken;
  int rc;
  if (objc < 2) return usage(interp, objv, 1, "VERB ?args?");
  if (strcmp(Tcl_GetString(objv[1]), "errmsg") == 0) return verb_of(data, interp, objc, objv);
  speak_begin(&spoken);
  rc = verb_of(data, interp, objc, objv);
  speak_end(&spoken, Tcl_GetString(objv[1]));
  return rc;
}

object *object_new(Tcl_Interp *interp, int kind, object *handle) {
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
