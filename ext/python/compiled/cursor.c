/*
** cursor.c - the steps of a cursor, and of a range.
*/
#include "compiled.h"

PyTypeObject *compiled_cursor_type, *compiled_range_type;

static PyObject *value_of(compiled_part *cursor, maph_slice value) {
  return cursor->values == VALUES_COPIED ? part_copy(value) : part_view(cursor, value);
}

/* (key, value); both are let go of, and may be NULL after an error. */
static PyObject *pair_of(PyObject *key, PyObject *value) {
  PyObject *pair = key != NULL && value != NULL ? PyTuple_New(2) : NULL;
  if (pair == NULL) {
    Py_XDECREF(key);
    Py_XDECREF(value);
    return NULL;
  }
  PyTuple_SetItem(pair, 0, key);
  PyTuple_SetItem(pair, 1, value);
  return pair;
}

static PyObject *given(compiled_part *part, const maph_entry *found) {
  switch (part->gives) {
    case GIVES_KEYS: return part_copy(found->key);
    case GIVES_VALUES: return value_of(part, found->value);
    case GIVES_PAIRS: return pair_of(part_copy(found->key), value_of(part, found->value));
    default: return part_entry(found, value_of(part, found->value));
  }
}

/* The same of an Entry, which is let go of, and may be NULL. */
static PyObject *given_slowly(compiled_part *part, PyObject *entry) {
  PyObject *less = NULL;
  if (entry == NULL || part->gives == GIVES_ENTRIES) return entry;
  if (part->gives == GIVES_PAIRS)
    less = PyTuple_GetSlice(entry, 0, 2);
  else
    less = Py_XNewRef(PyTuple_GetItem(entry, part->gives == GIVES_KEYS ? 0 : 1));
  Py_DECREF(entry);
  return less;
}

/* What is given of the entry that the library found at `rc`; at the end NULL without an
** exception. */
static PyObject *stepped(compiled_part *part, int rc, const maph_entry *found) {
  PyObject *entry = rc == MAPH_OK ? given(part, found) : NULL;
  part_leave(part, 0);
  return rc == MAPH_OK || rc == MAPH_NOTFOUND ? entry : compiled_raise(rc);
}

static PyObject *cursor_next(PyObject *self) {
  compiled_part *cursor = (compiled_part *)self;
  maph_entry found;
  void *from = part_enter(cursor, 0);
  if (from == NULL)
    return given_slowly(cursor,
                        compiled_slowly(compiled_cursor_type, self, "__next__", NULL, 0, NULL));
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

/* _give(what): the cursor itself, which gives GIVES_ of each entry from now on. */
static PyObject *cursor_give(PyObject *self, PyObject *what) {
  long gives = PyLong_AsLong(what);
  if (gives == -1 && PyErr_Occurred()) return NULL;
  ((compiled_part *)self)->gives = (int)gives;
  return Py_NewRef(self);
}

PyObject *compiled_make_cursor(PyObject *bases) {
  static PyMethodDef methods[] = {
    { "_give", cursor_give, METH_O, NULL },
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
