/*
** module.c - the module maph._maph: its types, and its connection with the library and with the
** package.
**
** maph/fast.py calls find(), before any other type of the module is used, and the package connect()
** when it has its classes.
*/
#include "compiled.h"
#include <dlfcn.h>

compiled_library compiled_calls[KIND_COUNT];
int (*compiled_cursor_next)(maph_cursor *cursor, maph_entry *entry);
int (*compiled_range_next)(maph_range_cursor *range, maph_entry *entry);
int (*compiled_range_prev)(maph_range_cursor *range, maph_entry *entry);
compiled_python compiled_names;

PyObject *compiled_raise(int rc) {
  PyObject *code = PyLong_FromLong(rc);
  PyObject *error = code == NULL
                        ? NULL
                        : PyObject_CallFunctionObjArgs(compiled_names.failure, code, Py_None, NULL);
  Py_XDECREF(code);
  if (error == NULL) return NULL;
  PyErr_SetObject((PyObject *)Py_TYPE(error), error);
  Py_DECREF(error);
  return NULL;
}

/* As the class's _make does it, without its Python function. */
PyObject *compiled_named(PyObject *class, PyObject *tuple) {
  newfunc make = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
  PyObject *args = PyTuple_Pack(1, tuple);
  PyObject *named = args != NULL ? make((PyTypeObject *)class, args, NULL) : NULL;
  Py_XDECREF(args);
  Py_DECREF(tuple);
  return named;
}

/* --------------------------------------------------------------------------- the Python method */
static PyObject *tuple_of(PyObject *const *args, Py_ssize_t n) {
  PyObject *tuple = PyTuple_New(n);
  Py_ssize_t i;
  for (i = 0; tuple != NULL && i < n; i++) PyTuple_SetItem(tuple, i, Py_NewRef(args[i]));
  return tuple;
}

static PyObject *dict_of(PyObject *keywords, PyObject *const *values) {
  PyObject *dict = PyDict_New();
  Py_ssize_t i, n = keywords != NULL ? PyTuple_Size(keywords) : 0;
  for (i = 0; dict != NULL && i < n; i++)
    if (PyDict_SetItem(dict, PyTuple_GetItem(keywords, i), values[i]) < 0) Py_CLEAR(dict);
  return dict;
}

PyObject *compiled_slowly(PyTypeObject *type, PyObject *self, const char *name,
                          PyObject *const *args, Py_ssize_t n, PyObject *keywords) {
  PyObject *super = PyObject_CallFunctionObjArgs((PyObject *)&PySuper_Type, type, self, NULL);
  PyObject *method = super != NULL ? PyObject_GetAttrString(super, name) : NULL;
  PyObject *tuple = method != NULL ? tuple_of(args, n) : NULL;
  PyObject *dict = tuple != NULL ? dict_of(keywords, args + n) : NULL;
  PyObject *result = dict != NULL ? PyObject_Call(method, tuple, dict) : NULL;
  Py_XDECREF(super);
  Py_XDECREF(method);
  Py_XDECREF(tuple);
  Py_XDECREF(dict);
  return result;
}

/* ----------------------------------------------------------------------------------- connecting */
/* 0, or -1 and ImportError: the library is older than this file. */
static int find(void *library, const char *name, void *function) {
  void *found = dlsym(library, name);
  memcpy(function, &found, sizeof(found));
  if (found != NULL) return 0;
  PyErr_Format(PyExc_ImportError, "the library has no %s", name);
  return -1;
}

static int find_all(void *library) {
  compiled_library *store = &compiled_calls[KIND_STORE];
  compiled_library *snapshot = &compiled_calls[KIND_SNAPSHOT];
  compiled_library *transaction = &compiled_calls[KIND_TRANSACTION];
  const struct {
    const char *name;
    void *function;
  } functions[] = {
    { "maph_get", &store->get },
    { "maph_get_entry", &store->get_entry },
    { "maph_get_many", &store->get_many },
    { "maph_put_if", &store->put_if },
    { "maph_delete_if", &store->delete_if },
    { "maph_snapshot_get", &snapshot->get },
    { "maph_snapshot_get_entry", &snapshot->get_entry },
    { "maph_snapshot_get_many", &snapshot->get_many },
    { "maph_txn_get", &transaction->get },
    { "maph_txn_get_entry", &transaction->get_entry },
    { "maph_txn_put_if", &transaction->put_if },
    { "maph_txn_delete_if", &transaction->delete_if },
    { "maph_cursor_next", &compiled_cursor_next },
    { "maph_range_next", &compiled_range_next },
    { "maph_range_prev", &compiled_range_prev },
  };
  size_t i;
  for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
    if (find(library, functions[i].name, functions[i].function) < 0) return -1;
  return 0;
}

/* What is known of the package belongs to one interpreter of the process: in others it goes by
** ctypes. */
static int is_first_interpreter(void) {
  static int64_t first = -1;
  int64_t mine = PyInterpreterState_GetID(PyInterpreterState_Get());
  if (first < 0) first = mine;
  return mine >= 0 && mine == first;
}

/* find(library): a handle of dlopen's */
static PyObject *find_library(PyObject *module, PyObject *library) {
  void *handle = PyLong_AsVoidPtr(library);
  (void)module;
  if (PyErr_Occurred()) return NULL;
  if (!is_first_interpreter()) {
    PyErr_SetString(PyExc_ImportError, "another interpreter of this process has it");
    return NULL;
  }
  if (find_all(handle) < 0) return NULL;
  Py_RETURN_NONE;
}

/* connect(failure, not_found, entry, written, types) */
static PyObject *connect_package(PyObject *module, PyObject *args) {
  compiled_python names;
  (void)module;
  if (!PyArg_ParseTuple(args, "OOO!O!O!:connect", &names.failure, &names.not_found, &PyType_Type,
                        &names.entry, &PyType_Type, &names.written, &PyTuple_Type, &names.types))
    return NULL;
  names.value = PyUnicode_InternFromString("value");
  if (names.value == NULL) return NULL;
  Py_INCREF(names.failure);
  Py_INCREF(names.not_found);
  Py_INCREF(names.entry);
  Py_INCREF(names.written);
  Py_INCREF(names.types);
  compiled_names = names; /* for the life of the process: the module is never unloaded */
  Py_RETURN_NONE;
}

/* ----------------------------------------------------------------------------------- the module */
/* Under its name in the module, and here; NULL: an exception. */
static PyObject *add_type(PyObject *module, const char *name, PyObject *type, PyTypeObject **here) {
  if (type == NULL || PyModule_AddObjectRef(module, name, type) < 0) return NULL;
  *here = (PyTypeObject *)type;
  return PyTuple_Pack(1, type);
}

static int add_types(PyObject *module) {
  PyObject *gate = add_type(module, "Gate", compiled_make_gate(), &compiled_gate_type);
  PyObject *view = add_type(module, "View", compiled_make_view(), &compiled_view_type);
  PyObject *part = add_type(module, "Part", compiled_make_part(), &compiled_part_type);
  PyObject *reader = NULL, *many = NULL, *writer = NULL, *cursor = NULL, *range = NULL;
  int rc;
  if (part != NULL)
    reader = add_type(module, "Reader", compiled_make_reader(part), &compiled_reader_type);
  if (reader != NULL) {
    many = add_type(module, "ManyReader", compiled_make_many(reader), &compiled_many_type);
    writer = add_type(module, "Writer", compiled_make_writer(reader), &compiled_writer_type);
    cursor = add_type(module, "Cursor", compiled_make_cursor(part), &compiled_cursor_type);
    range = add_type(module, "Range", compiled_make_range(part), &compiled_range_type);
  }
  rc = gate && view && many && writer && cursor && range ? 0 : -1;
  Py_XDECREF(gate);
  Py_XDECREF(view);
  Py_XDECREF(part);
  Py_XDECREF(reader);
  Py_XDECREF(many);
  Py_XDECREF(writer);
  Py_XDECREF(cursor);
  Py_XDECREF(range);
  return rc;
}

PyMODINIT_FUNC PyInit__maph(void);
PyMODINIT_FUNC PyInit__maph(void) {
  static PyMethodDef methods[] = {
    { "find", find_library, METH_O,
      "find($module, library, /)\n--\n\nThe functions of a library that is loaded." },
    { "connect", connect_package, METH_VARARGS,
      "connect($module, failure, not_found, entry, written, types, /)\n--\n\n"
      "What calls make and raise." },
    { NULL, NULL, 0, NULL },
  };
  static PyModuleDef definition = { PyModuleDef_HEAD_INIT,
                                    "maph._maph",
                                    "The compiled part of maph: the calls that are made often.",
                                    -1,
                                    methods,
                                    NULL,
                                    NULL,
                                    NULL,
                                    NULL };
  PyObject *module = PyModule_Create(&definition);
  if (module != NULL && add_types(module) < 0) Py_CLEAR(module);
  return module;
}
