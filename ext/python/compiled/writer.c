/*
** writer.c - plain puts and deletes, alike for a store and a transaction.
**
** They let go of the interpreter lock: a store's wait for other writers, and both may wait for the
** disk.  What has a condition, an expiry, a type or a media type is left to the Python method.
*/
#include "compiled.h"

PyTypeObject *compiled_writer_type;

/* 0, SLOWLY, or -1 and an exception. */
enum { SLOWLY = 2 };

/* Whose UTF-8 the str would keep beside itself for as long as it lives. */
static int is_long_text(PyObject *value) {
  return PyUnicode_Check(value) && PyUnicode_GetLength(value) > 65536;
}

/* `value` NULL: delete. */
static int write_key(compiled_part *writer, PyObject *key, PyObject *value, maph_outcome *outcome) {
  maph_condition plain = { 0 };
  maph_slice name, bytes = { NULL, 0 };
  PyThreadState *others;
  void *to;
  int rc;
  if (!part_bytes(key, &name)) return SLOWLY;
  if (value != NULL && (is_long_text(value) || !part_bytes(value, &bytes))) return SLOWLY;
  plain.type = value != NULL && PyUnicode_Check(value) ? MAPH_TEXT : MAPH_BLOB;
  plain.outcome = outcome;
  to = part_enter(writer, 1);
  if (to == NULL) return SLOWLY;
  others = PyEval_SaveThread();
  if (value != NULL)
    rc = compiled_calls[writer->kind].put_if(to, name, bytes, &plain);
  else
    rc = compiled_calls[writer->kind].delete_if(to, name, &plain);
  PyEval_RestoreThread(others);
  part_leave(writer, 1);
  if (rc == MAPH_OK) return 0;
  if (rc == MAPH_NOTFOUND && value == NULL)
    PyErr_SetObject(compiled_names.not_found, key);
  else
    compiled_raise(rc);
  return -1;
}

static int writer_setitem(PyObject *self, PyObject *key, PyObject *value) {
  maph_outcome outcome;
  PyObject *args[2] = { key, value }, *none;
  int rc = write_key((compiled_part *)self, key, value, &outcome);
  if (rc != SLOWLY) return rc;
  none = compiled_slowly(compiled_writer_type, self, value ? "__setitem__" : "__delitem__", args,
                         value ? 2 : 1, NULL);
  if (none == NULL) return -1;
  Py_DECREF(none);
  return 0;
}

static PyObject *written(const maph_outcome *outcome) {
  PyObject *tuple = PyTuple_New(2), *version = PyLong_FromUnsignedLongLong(outcome->version);
  if (tuple == NULL || version == NULL) {
    Py_XDECREF(tuple);
    Py_XDECREF(version);
    return NULL;
  }
  PyTuple_SetItem(tuple, 0, version);
  PyTuple_SetItem(tuple, 1, PyBool_FromLong(outcome->existed));
  return compiled_named(compiled_names.written, tuple);
}

static PyObject *writer_put(PyObject *self, PyObject *const *args, Py_ssize_t n,
                            PyObject *keywords) {
  maph_outcome outcome;
  int rc = SLOWLY;
  if (keywords == NULL && n == 2) rc = write_key((compiled_part *)self, args[0], args[1], &outcome);
  if (rc == SLOWLY) return compiled_slowly(compiled_writer_type, self, "put", args, n, keywords);
  return rc == 0 ? written(&outcome) : NULL;
}

static PyObject *writer_delete(PyObject *self, PyObject *const *args, Py_ssize_t n,
                               PyObject *keywords) {
  maph_outcome outcome;
  int rc = SLOWLY;
  if (keywords == NULL && n == 1) rc = write_key((compiled_part *)self, args[0], NULL, &outcome);
  if (rc == SLOWLY) return compiled_slowly(compiled_writer_type, self, "delete", args, n, keywords);
  return rc == 0 ? written(&outcome) : NULL;
}

PyObject *compiled_make_writer(PyObject *bases) {
  static PyMethodDef methods[] = {
    { "put", COMPILED_CALL(writer_put),
      "put($self, key, value, *, ttl=None, expires_at=None, type=None, content_type=None,\n"
      "    media_type=None, if_version=None, if_absent=False, if_present=False)\n--\n\n"
      "Store a value.  ttl: seconds to live, expires_at: milliseconds since 1970.  type: what\n"
      "SQL and HTTP shall take it for; text for a str, blob for bytes.  content_type: what HTTP\n"
      "answers as such; media_type is its other name.\n"
      "if_version: else ConflictError; if_absent: else ExistsError; if_present: else\n"
      "NotFoundError; `version` of the error is the one found." },
    { "delete", COMPILED_CALL(writer_delete),
      "delete($self, key, *, if_version=None)\n--\n\n"
      "Remove a key.  NotFoundError when there is none; if_version: else ConflictError." },
    { NULL, NULL, 0, NULL },
  };
  static PyType_Slot slots[] = {
    { Py_tp_doc, (char *)"Plain puts and deletes." },
    { Py_tp_methods, methods },
    { Py_mp_ass_subscript, writer_setitem },
    { 0, NULL },
  };
  static PyType_Spec spec = { "maph._maph.Writer", 0, 0, COMPILED_FLAGS, slots };
  return PyType_FromSpecWithBases(&spec, bases);
}
