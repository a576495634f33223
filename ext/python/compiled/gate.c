/*
** gate.c - the compiled base of a gate, and views of the file.
**
** maph/gate.py has the rules.  close() and refresh() take `handle` away, wait until `busy` is 0,
** and refuse while `views` is not.  A view holds its store; the store does not hold its views.
*/
#include "compiled.h"
#include <structmember.h>

PyTypeObject *compiled_gate_type, *compiled_view_type;

static void free_object(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
  release(self);
  Py_DECREF(type);
}

/* ----------------------------------------------------------------------------------------- gate */
static PyObject *gate_handle(PyObject *self, void *unused) {
  maph *handle = ((compiled_gate *)self)->handle;
  (void)unused;
  if (handle == NULL) Py_RETURN_NONE;
  return PyLong_FromVoidPtr(handle);
}

static int gate_set_handle(PyObject *self, PyObject *value, void *unused) {
  void *handle = NULL;
  (void)unused;
  if (value != NULL && value != Py_None) {
    handle = PyLong_AsVoidPtr(value);
    if (handle == NULL && PyErr_Occurred()) return -1;
  }
  ((compiled_gate *)self)->handle = handle;
  return 0;
}

PyObject *compiled_make_gate(void) {
  static PyGetSetDef computed[] = {
    { "_handle", gate_handle, gate_set_handle, "The library's handle, or None.", NULL },
    { NULL, NULL, NULL, NULL, NULL },
  };
  static PyMemberDef members[] = {
    { "_busy", T_PYSSIZET, offsetof(compiled_gate, busy), 0,
      "Compiled calls that are under way without the interpreter lock." },
    { "_views", T_PYSSIZET, offsetof(compiled_gate, views), READONLY,
      "Compiled views of the file that are alive." },
    { NULL, 0, 0, 0, NULL },
  };
  static PyType_Slot slots[] = {
    { Py_tp_doc, (char *)"The part of a gate that compiled calls look at." },
    { Py_tp_dealloc, free_object },
    { Py_tp_getset, computed },
    { Py_tp_members, members },
    { 0, NULL },
  };
  static PyType_Spec spec = { "maph._maph.Gate", sizeof(compiled_gate), 0,
                              Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots };
  return PyType_FromSpec(&spec);
}

/* ---------------------------------------------------------------------------------------- views */
typedef struct view {
  PyObject_HEAD compiled_gate *gate;
  PyObject *store;
  maph_slice bytes;
} view;

static int view_buffer(PyObject *self, Py_buffer *buffer, int flags) {
  maph_slice bytes = ((view *)self)->bytes;
  return PyBuffer_FillInfo(buffer, self, (void *)(uintptr_t)bytes.data, (Py_ssize_t)bytes.size, 1,
                           flags);
}

static int view_traverse(PyObject *self, visitproc visit, void *arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(((view *)self)->store);
  Py_VISIT((PyObject *)((view *)self)->gate);
  return 0;
}

/* Those who break a circle find it whole: a view is a part of one only through what it holds, so
** that others let go of it. */
static void view_free(PyObject *self) {
  view *mine = (view *)self;
  PyObject_GC_UnTrack(self);
  mine->gate->views--;
  Py_CLEAR(mine->store);
  Py_CLEAR(mine->gate);
  free_object(self);
}

PyObject *compiled_make_view(void) {
  static PyType_Slot slots[] = {
    { Py_tp_doc, (char *)"Bytes of the file, which a memoryview shows." },
    { Py_tp_dealloc, view_free },
    { Py_tp_traverse, view_traverse },
    { Py_bf_getbuffer, view_buffer },
    { 0, NULL },
  };
  static PyType_Spec spec = { "maph._maph.View", sizeof(view), 0,
                              Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
                                  | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                              slots };
  return PyType_FromSpec(&spec);
}

PyObject *compiled_window(compiled_gate *gate, PyObject *store, maph_slice bytes) {
  PyObject *shown;
  view *made;
  if (bytes.size == 0) return part_view(NULL, bytes);
  made = PyObject_GC_New(view, compiled_view_type);
  if (made == NULL) return NULL;
  made->gate = (compiled_gate *)Py_NewRef((PyObject *)gate);
  made->store = Py_NewRef(store);
  made->bytes = bytes;
  gate->views++;
  PyObject_GC_Track((PyObject *)made);
  shown = PyMemoryView_FromObject((PyObject *)made);
  Py_DECREF(made);
  return shown;
}
