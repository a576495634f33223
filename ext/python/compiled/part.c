/*
** part.c - a store, or what is open of it, as compiled calls see it: the way in and out of a call,
** and the objects that calls take and make.
**
** A store and a snapshot of it are read by any threads at once.  A transaction, its snapshots and
** cursors are used by one thread at a time: their calls take a turn, which is the lock of the
** Python object.  It is only tried: while another thread has it, the Python method waits for it.
*/
#include "compiled.h"

PyTypeObject *compiled_part_type;

/* ---------------------------------------------------------------------- begin and end of a call */
static int take_turn(compiled_part *part) {
  PyObject *taken = PyObject_CallFunctionObjArgs(part->acquire, Py_False, NULL);
  int is_mine = taken == Py_True;
  if (taken == NULL) PyErr_Clear();
  Py_XDECREF(taken);
  return is_mine;
}

/* An exception that is being raised stays so. */
static void end_turn(compiled_part *part) {
  PyObject *type, *value, *trace, *none;
  PyErr_Fetch(&type, &value, &trace);
  none = PyObject_CallNoArgs(part->release);
  Py_XDECREF(none);
  PyErr_Restore(type, value, trace);
}

static int takes_turns(compiled_part *part, int releases) {
  return part->acquire != NULL && (releases || !part->shared);
}

/* The c_void_p that the gate has for a token, or NULL: it is closed. */
static void *pointer_of(compiled_part *part) {
  PyObject *cell = PyDict_GetItemWithError(part->opened, part->token);
  PyObject *number = cell != NULL ? PyObject_GetAttr(cell, compiled_names.value) : NULL;
  void *pointer = NULL;
  if (number != NULL && number != Py_None) pointer = PyLong_AsVoidPtr(number);
  Py_XDECREF(number);
  PyErr_Clear();
  return pointer;
}

void *part_enter(compiled_part *part, int releases) {
  void *pointer;
  if (part->gate == NULL || part->gate->handle == NULL) return NULL;
  if (takes_turns(part, releases) && !take_turn(part)) return NULL;
  pointer = part->token != NULL ? pointer_of(part) : part->gate->handle;
  if (pointer == NULL && takes_turns(part, releases)) end_turn(part);
  if (pointer != NULL && releases) part->gate->busy++;
  return pointer;
}

void part_leave(compiled_part *part, int releases) {
  if (releases) part->gate->busy--;
  if (takes_turns(part, releases)) end_turn(part);
}

/* -------------------------------------------------------------------------------------- objects */
int part_bytes(PyObject *object, maph_slice *bytes) {
  char *data;
  const char *text;
  Py_ssize_t size;
  if (PyBytes_Check(object)) {
    if (PyBytes_AsStringAndSize(object, &data, &size) < 0) return 0;
    *bytes = maph_bytes(data, (size_t)size);
    return 1;
  }
  if (!PyUnicode_Check(object)) return 0;
  text = PyUnicode_AsUTF8AndSize(object, &size);
  if (text == NULL) {
    PyErr_Clear(); /* half a surrogate pair: the Python method says it in its own words */
    return 0;
  }
  *bytes = maph_bytes(text, (size_t)size);
  return 1;
}

PyObject *part_copy(maph_slice bytes) {
  return PyBytes_FromStringAndSize(bytes.size ? bytes.data : NULL, (Py_ssize_t)bytes.size);
}

PyObject *part_view(compiled_part *part, maph_slice bytes) {
  PyObject *copy, *shown;
  if (part != NULL && bytes.size > 0 && part->values != VALUES_COPIED_VIEWED)
    return compiled_window(part->gate, part->store ? part->store : (PyObject *)part, bytes);
  copy = part_copy(bytes);
  if (copy == NULL) return NULL;
  shown = PyMemoryView_FromObject(copy);
  Py_DECREF(copy);
  return shown;
}

/* True, False or None: what SQL said of the key. */
static PyObject *key_is_text(int key_type) {
  if (key_type == 0) return Py_NewRef(Py_None);
  return PyBool_FromLong(key_type == 1);
}

static PyObject *media_type(maph_slice type) {
  if (type.size == 0) return PyUnicode_FromStringAndSize("", 0);
  return PyUnicode_DecodeLatin1(type.data, (Py_ssize_t)type.size, NULL);
}

PyObject *part_entry(const maph_entry *found, PyObject *value) {
  Py_ssize_t type = found->type, i, count = PyTuple_Size(compiled_names.types);
  PyObject *tuple = value != NULL ? PyTuple_New(7) : NULL, *item;
  if (tuple == NULL) {
    Py_XDECREF(value);
    return NULL;
  }
  PyTuple_SetItem(tuple, 1, value);
  for (i = 0; i < 7; i++) {
    switch (i) {
      case 0: item = part_copy(found->key); break;
      case 1: continue;
      case 2: item = PyLong_FromUnsignedLongLong(found->version); break;
      case 3:
        item = found->expires ? PyLong_FromUnsignedLongLong(found->expires) : Py_NewRef(Py_None);
        break;
      case 4:
        item = PyTuple_GetItem(compiled_names.types, type >= 0 && type < count ? type : 0);
        Py_XINCREF(item);
        break;
      case 5: item = media_type(found->media_type); break;
      default: item = key_is_text(found->key_type); break;
    }
    if (item == NULL) {
      Py_DECREF(tuple);
      return NULL;
    }
    PyTuple_SetItem(tuple, i, item);
  }
  return compiled_named(compiled_names.entry, tuple);
}

/* _connect(gate, kind, store, token, lock, shared, values): what the Python object's calls need.
** token, store and lock may be None. */
static PyObject *part_connect(PyObject *self, PyObject *args) {
  compiled_part *part = (compiled_part *)self;
  PyObject *gate, *store, *token, *lock;
  if (!PyArg_ParseTuple(args, "O!iOOOii:_connect", compiled_gate_type, &gate, &part->kind, &store,
                        &token, &lock, &part->shared, &part->values))
    return NULL;
  if (part->gate != NULL || part->kind < 0 || part->kind >= KIND_COUNT) {
    PyErr_SetString(PyExc_ValueError, "_connect is called once, with a kind");
    return NULL;
  }
  if (lock != Py_None) {
    part->acquire = PyObject_GetAttrString(lock, "acquire");
    part->release = PyObject_GetAttrString(lock, "release");
    if (part->acquire == NULL || part->release == NULL) return NULL;
  }
  if (token != Py_None) {
    part->opened = PyObject_GetAttrString(gate, "opened");
    if (part->opened == NULL) return NULL;
    part->token = Py_NewRef(token);
  }
  if (store != Py_None) part->store = Py_NewRef(store);
  part->gate = (compiled_gate *)Py_NewRef(gate);
  Py_RETURN_NONE;
}

static int part_traverse(PyObject *self, visitproc visit, void *arg) {
  compiled_part *part = (compiled_part *)self;
  Py_VISIT(Py_TYPE(self));
  Py_VISIT((PyObject *)part->gate);
  Py_VISIT(part->store);
  Py_VISIT(part->opened);
  Py_VISIT(part->token);
  Py_VISIT(part->acquire);
  Py_VISIT(part->release);
  return 0;
}

static int part_clear(PyObject *self) {
  compiled_part *part = (compiled_part *)self;
  Py_CLEAR(part->gate);
  Py_CLEAR(part->store);
  Py_CLEAR(part->opened);
  Py_CLEAR(part->token);
  Py_CLEAR(part->acquire);
  Py_CLEAR(part->release);
  return 0;
}

static void part_free(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
  PyObject_GC_UnTrack(self);
  part_clear(self);
  release(self);
  Py_DECREF(type);
}

PyObject *compiled_make_part(void) {
  static PyMethodDef methods[] = {
    { "_connect", part_connect, METH_VARARGS, NULL },
    { NULL, NULL, 0, NULL },
  };
  static PyType_Slot slots[] = {
    { Py_tp_doc, (char *)"What compiled calls know of a store, or of what is open of it." },
    { Py_tp_dealloc, part_free },
    { Py_tp_traverse, part_traverse },
    { Py_tp_clear, part_clear },
    { Py_tp_methods, methods },
    { 0, NULL },
  };
  static PyType_Spec spec = { "maph._maph.Part", sizeof(compiled_part), 0,
                              COMPILED_FLAGS | Py_TPFLAGS_HAVE_GC, slots };
  return PyType_FromSpec(&spec);
}
