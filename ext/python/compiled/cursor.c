/*
** cursor.c - the steps of a cursor, and of a range.
*/
#include "compiled.h"

PyTypeObject *compiled_cursor_type, *compiled_range_type;

static PyObject *value_of(compiled_part *cursor, maph_slice value) {
  switch (cursor->values) {
    case VALUES_NONE: return part_copy(maph_bytes(NULL, 0));
    case VALUES_COPIED: return part_copy(value);
    default: return part_view(cursor, value);
  }
}

/* The entry that the library gave at `rc`; at the end NULL without an exception. */
static PyObject *stepped(compiled_part *part, int rc, const maph_entry *found) {
  PyObject *entry = rc == MAPH_OK ? part_entry(found, value_of(part, found->value)) : NULL;
  part_leave(part, 0);
  return rc == MAPH_OK || rc == MAPH_NOTFOUND ? entry : compiled_raise(rc);
}

static PyObject *cursor_next(PyObject *self) {
  compiled_part *cursor = (compiled_part *)self;
  maph_entry found;
  void *from = part_enter(cursor, 0);
  if (from == NULL) return compiled_slowly(compiled_cursor_type, self, "__next__", NULL, 0, NULL);
  return stepped(cursor, compiled_cursor_next(from, &found), &found);
}

static PyObject *range_next(PyObject *self) {
  compiled_part *range = (compiled_part *)self;
  maph_entry found;
  void *from = part_enter(range, 0);
  if (from == NULL) return compiled_slowly(compiled_range_type, self, "__next__", NULL, 0, NULL);
  return stepped(range, compiled_range_next(from, &found), &found);
}

static PyObject *range_previous(PyObject *self, PyObject *unused) {
  compiled_part *range = (compiled_part *)self;
  PyObject *entry;
  maph_entry found;
  void *from = part_enter(range, 0);
  (void)unused;
  if (from == NULL) return compiled_slowly(compiled_range_type, self, "previous", NULL, 0, NULL);
  entry = stepped(range, compiled_range_prev(from, &found), &found);
  return entry == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None) : entry;
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

PyObject *compiled_make_range(PyObject *bases) {
  static PyMethodDef methods[] = {
    { "previous", range_previous, METH_NOARGS,
      "previous($self)\n--\n\n"
      "The entry before the one last returned, or None before the first; then next() gives the\n"
      "first." },
    { NULL, NULL, 0, NULL },
  };
  static PyType_Slot slots[] = {
    { Py_tp_doc, (char *)"The steps of a range." },
    { Py_tp_methods, methods },
    { Py_tp_iter, cursor_iter },
    { Py_tp_iternext, range_next },
    { 0, NULL },
  };
  static PyType_Spec spec = { "maph._maph.Range", 0, 0, COMPILED_FLAGS, slots };
  return PyType_FromSpecWithBases(&spec, bases);
}
