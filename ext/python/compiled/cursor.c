/*
** cursor.c - the steps of a cursor.
*/
#include "compiled.h"

PyTypeObject *compiled_cursor_type;

static PyObject *value_of(compiled_part *cursor, maph_slice value) {
  switch (cursor->values) {
    case VALUES_NONE: return part_copy(maph_bytes(NULL, 0));
    case VALUES_COPIED: return part_copy(value);
    default: return part_view(cursor, value);
  }
}

/* At the end NULL without an exception. */
static PyObject *cursor_next(PyObject *self) {
  compiled_part *cursor = (compiled_part *)self;
  PyObject *entry = NULL;
  maph_entry found;
  int rc;
  void *from = part_enter(cursor, 0);
  if (from == NULL) return compiled_slowly(compiled_cursor_type, self, "__next__", NULL, 0, NULL);
  rc = compiled_cursor_next(from, &found);
  if (rc == MAPH_OK) entry = part_entry(&found, value_of(cursor, found.value));
  part_leave(cursor, 0);
  return rc == MAPH_OK || rc == MAPH_NOTFOUND ? entry : compiled_raise(rc);
}

static PyObject *cursor_iter(PyObject *self) { return Py_NewRef(self); }

/* _without_values(): the cursor itself, whose entries have none. */
static PyObject *cursor_without_values(PyObject *self, PyObject *unused) {
  (void)unused;
  ((compiled_part *)self)->values = VALUES_NONE;
  return compiled_slowly(compiled_cursor_type, self, "_without_values", NULL, 0, NULL);
}

PyObject *compiled_make_cursor(PyObject *bases) {
  static PyMethodDef methods[] = {
    { "_without_values", cursor_without_values, METH_NOARGS, NULL },
    { NULL, NULL, 0, NULL },
  };
  static PyType_Slot slots[] = {
    { Py_tp_doc, (char *)"The steps of a cursor." },
    { Py_tp_methods, methods },
    { Py_tp_iter, cursor_iter },
    { Py_tp_iternext, cursor_next },
    { 0, NULL },
  };
  static PyType_Spec spec = { "maph._maph.Cursor", 0, 0, COMPILED_FLAGS, slots };
  return PyType_FromSpecWithBases(&spec, bases);
}
