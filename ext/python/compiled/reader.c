/*
** reader.c - reads of one key and of many, alike for a store, a snapshot and a transaction.
*/
#include "compiled.h"

PyTypeObject *compiled_reader_type, *compiled_many_type;

enum { MANY = 256 }; /* reads of so many keys let go of the interpreter lock */
/* Beside 0 for a success and -1 for an exception. */
enum { MISSING = 1, SLOWLY = 2 };

/* ----------------------------------------------------------------------------- reads of one key */
enum { AS_BYTES, AS_VIEW, AS_TRUTH };

/* 0 and *result, MISSING, SLOWLY, or -1 and an exception. */
static int read_key(compiled_part *reader, PyObject *key, int as, PyObject **result) {
  maph_slice name, value;
  void *from;
  int rc;
  if (!part_bytes(key, &name) || (from = part_enter(reader, 0)) == NULL) return SLOWLY;
  rc = compiled_calls[reader->kind].get(from, name, &value);
  *result = NULL;
  if (rc == MAPH_OK) {
    if (as == AS_BYTES)
      *result = part_copy(value);
    else
      *result = as == AS_VIEW ? part_view(reader, value) : Py_NewRef(Py_True);
  }
  part_leave(reader, 0);
  if (rc == MAPH_OK) return *result != NULL ? 0 : -1;
  if (rc == MAPH_NOTFOUND) return MISSING;
  compiled_raise(rc);
  return -1;
}

static PyObject *missing(PyObject *key) {
  PyErr_SetObject(compiled_names.not_found, key);
  return NULL;
}

static PyObject *slowly(PyObject *self, const char *name, PyObject *key) {
  return compiled_slowly(compiled_reader_type, self, name, &key, 1, NULL);
}

static PyObject *reader_getitem(PyObject *self, PyObject *key) {
  PyObject *value;
  switch (read_key((compiled_part *)self, key, AS_BYTES, &value)) {
    case 0: return value;
    case MISSING: return missing(key);
    case SLOWLY: return slowly(self, "__getitem__", key);
    default: return NULL;
  }
}

static int reader_contains(PyObject *self, PyObject *key) {
  PyObject *value;
  int truth = read_key((compiled_part *)self, key, AS_TRUTH, &value);
  if (truth == MISSING) return 0;
  if (truth == SLOWLY)
    value = slowly(self, "__contains__", key);
  else if (truth != 0)
    return -1;
  if (value == NULL) return -1;
  truth = PyObject_IsTrue(value);
  Py_DECREF(value);
  return truth;
}

static PyObject *reader_get(PyObject *self, PyObject *const *args, Py_ssize_t n,
                            PyObject *keywords) {
  PyObject *value;
  int rc = SLOWLY;
  if (keywords == NULL && (n == 1 || n == 2))
    rc = read_key((compiled_part *)self, args[0], AS_BYTES, &value);
  switch (rc) {
    case 0: return value;
    case MISSING: return Py_NewRef(n == 2 ? args[1] : Py_None);
    case SLOWLY: return compiled_slowly(compiled_reader_type, self, "get", args, n, keywords);
    default: return NULL;
  }
}

static PyObject *reader_view_of_key(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                    PyObject *keywords) {
  PyObject *value;
  int rc = SLOWLY;
  if (keywords == NULL && n == 1) rc = read_key((compiled_part *)self, args[0], AS_VIEW, &value);
  switch (rc) {
    case 0: return value;
    case MISSING: return missing(args[0]);
    case SLOWLY: return compiled_slowly(compiled_reader_type, self, "view", args, n, keywords);
    default: return NULL;
  }
}

static PyObject *reader_entry_of_key(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                     PyObject *keywords) {
  compiled_part *reader = (compiled_part *)self;
  maph_slice name;
  maph_entry found;
  PyObject *entry = NULL;
  void *from = NULL;
  int rc;
  if (keywords == NULL && n == 1 && part_bytes(args[0], &name)) from = part_enter(reader, 0);
  if (from == NULL) return compiled_slowly(compiled_reader_type, self, "entry", args, n, keywords);
  rc = compiled_calls[reader->kind].get_entry(from, name, &found);
  if (rc == MAPH_OK) entry = part_entry(&found, part_copy(found.value));
  part_leave(reader, 0);
  if (rc == MAPH_NOTFOUND) return missing(args[0]);
  return rc == MAPH_OK ? entry : compiled_raise(rc);
}

/* --------------------------------------------------------------------------- reads of many keys */
static PyObject *list_of(compiled_part *reader, const maph_slice *values, size_t n, int viewed) {
  PyObject *list = PyList_New((Py_ssize_t)n), *item;
  size_t i;
  for (i = 0; list != NULL && i < n; i++) {
    if (values[i].data == NULL)
      item = Py_NewRef(Py_None);
    else
      item = viewed ? part_view(reader, values[i]) : part_copy(values[i]);
    if (item == NULL)
      Py_CLEAR(list);
    else
      PyList_SetItem(list, (Py_ssize_t)i, item);
  }
  return list;
}

/* The keys of a tuple as slices, with as many for their values after them; NULL: not all are str or
** bytes, or there is no memory. */
static maph_slice *slices_of(PyObject *keys, size_t n) {
  maph_slice *slices = PyMem_Calloc(2 * n + 1, sizeof(*slices));
  size_t i;
  for (i = 0; slices != NULL && i < n; i++) {
    if (part_bytes(PyTuple_GetItem(keys, (Py_ssize_t)i), &slices[i])) continue;
    PyMem_Free(slices);
    slices = NULL;
  }
  return slices;
}

/* `keys` is a tuple, which holds them while the interpreter lock is let go of. */
static PyObject *read_many(compiled_part *reader, PyObject *keys, int viewed, int *is_slow) {
  size_t n = (size_t)PyTuple_Size(keys);
  maph_slice *slices = slices_of(keys, n);
  int releases = n >= MANY, rc;
  void *from = slices != NULL ? part_enter(reader, releases) : NULL;
  PyObject *list = NULL;
  *is_slow = from == NULL;
  if (from != NULL) {
    PyThreadState *others = releases ? PyEval_SaveThread() : NULL;
    rc = compiled_calls[reader->kind].get_many(from, n, slices, slices + n);
    if (others != NULL) PyEval_RestoreThread(others);
    list = rc == MAPH_OK ? list_of(reader, slices + n, n, viewed) : compiled_raise(rc);
    part_leave(reader, releases);
  }
  PyMem_Free(slices);
  return list;
}

static PyObject *many(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords,
                      int viewed) {
  const char *name = viewed ? "view_many" : "get_many";
  PyObject *keys, *list;
  int is_slow;
  if (keywords != NULL || n != 1)
    return compiled_slowly(compiled_many_type, self, name, args, n, keywords);
  keys = PySequence_Tuple(args[0]);
  if (keys == NULL) return NULL;
  list = read_many((compiled_part *)self, keys, viewed, &is_slow);
  if (is_slow) list = compiled_slowly(compiled_many_type, self, name, &keys, 1, NULL);
  Py_DECREF(keys);
  return list;
}

static PyObject *many_get(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *keywords) {
  return many(self, args, n, keywords, 0);
}

static PyObject *many_view(PyObject *self, PyObject *const *args, Py_ssize_t n,
                           PyObject *keywords) {
  return many(self, args, n, keywords, 1);
}

/* ---------------------------------------------------------------------------------------- types */
PyObject *compiled_make_reader(PyObject *bases) {
  static PyMethodDef methods[] = {
    { "get", COMPILED_CALL(reader_get),
      "get($self, key, default=None)\n--\n\nThe bytes stored under key, or default." },
    { "view", COMPILED_CALL(reader_view_of_key),
      "view($self, key)\n--\n\n"
      "The same bytes without a copy: a read-only memoryview of the mapped file.  While it, or a\n"
      "slice of it, is alive, the store can be neither refreshed nor closed: BufferError.  Of a\n"
      "transaction, it is a copy.  NotFoundError." },
    { "entry", COMPILED_CALL(reader_entry_of_key),
      "entry($self, key)\n--\n\nThe value with its version, type and expiry.  NotFoundError." },
    { NULL, NULL, 0, NULL },
  };
  static PyType_Slot slots[] = {
    { Py_tp_doc, (char *)"Reads of one key." },
    { Py_tp_methods, methods },
    { Py_mp_subscript, reader_getitem },
    { Py_sq_contains, reader_contains },
    { 0, NULL },
  };
  static PyType_Spec spec = { "maph._maph.Reader", 0, 0, COMPILED_FLAGS, slots };
  return PyType_FromSpecWithBases(&spec, bases);
}

PyObject *compiled_make_many(PyObject *bases) {
  static PyMethodDef methods[] = {
    { "get_many", COMPILED_CALL(many_get),
      "get_many($self, keys)\n--\n\n"
      "The values of those keys, None for a missing one: one snapshot, and cache misses\n"
      "overlapped." },
    { "view_many", COMPILED_CALL(many_view),
      "view_many($self, keys)\n--\n\nThe same without a copy; see view." },
    { NULL, NULL, 0, NULL },
  };
  static PyType_Slot slots[] = {
    { Py_tp_doc, (char *)"Reads of many keys." },
    { Py_tp_methods, methods },
    { 0, NULL },
  };
  static PyType_Spec spec = { "maph._maph.ManyReader", 0, 0, COMPILED_FLAGS, slots };
  return PyType_FromSpecWithBases(&spec, bases);
}
