/*
** compiled.h - maph._maph, the compiled part of the Python package: what its files share.
**
** The package is written in Python over ctypes (ext/python/maph).  Compiled are the calls that a
** program makes by the million: reads of keys, plain puts and deletes, and the steps of a cursor.
** Each is a method of a base class that stands before the Python class of the same methods.  What
** is not the plain case (a key that is no str or bytes, keyword arguments, a store that is closed
** or is being refreshed, a turn that another thread has) is left to the Python method: the next
** one in the order of the bases.  So errors are raised in one place.
**
** THE INTERPRETER LOCK.  A read holds it, so no other thread of Python runs meanwhile, and neither
** close() nor refresh() can begin.  Reads of many keys, puts and deletes let go of it; they are
** counted in the gate's `busy`, for which close() and refresh() wait (maph/gate.py).
**
** SIGNALS.  Handlers run in Python code alone, so that what is done here is done whole.
**
** Only Python's limited API of 3.11 is used: one file serves that version and all later ones.  The
** library's functions are looked up in the library that ctypes loaded, so both have the same.
*/
#ifndef MAPH_COMPILED_H
#define MAPH_COMPILED_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "maph.h"

/* ---------------------------------------------------------------------------------------- module.c
** The functions of the library that are called here. */
typedef struct compiled_library {
  int (*get)(void *from, maph_slice key, maph_slice *value);
  int (*get_entry)(void *from, maph_slice key, maph_entry *entry);
  int (*get_many)(void *from, size_t n, const maph_slice *keys, maph_slice *values);
  int (*put_if)(void *to, maph_slice key, maph_slice value, const maph_condition *condition);
  int (*delete_if)(void *to, maph_slice key, const maph_condition *condition);
} compiled_library;
enum { KIND_STORE, KIND_SNAPSHOT, KIND_TRANSACTION, KIND_COUNT };
extern compiled_library compiled_calls[KIND_COUNT];
extern int (*compiled_cursor_next)(maph_cursor *cursor, maph_entry *entry);
extern int (*compiled_range_next)(maph_range_cursor *range, maph_entry *entry);
extern int (*compiled_range_prev)(maph_range_cursor *range, maph_entry *entry);

/* What is of the package's Python: given to connect(). */
typedef struct compiled_python {
  PyObject *failure;   /* failure(rc, None): the exception for a code */
  PyObject *not_found; /* NotFoundError */
  PyObject *entry;     /* Entry */
  PyObject *written;   /* Written */
  PyObject *types;     /* the names of value types, a tuple */
  PyObject *value;     /* "value" */
} compiled_python;
extern compiled_python compiled_names;

/* Raise the exception for a code; returns NULL. */
PyObject *compiled_raise(int rc);
/* An instance of a class made with NamedTuple, of this tuple, which is let go of. */
PyObject *compiled_named(PyObject *class, PyObject *tuple);
/* super(type, self).name(*args, **keywords), where keywords are a vectorcall's: the Python
** method. */
PyObject *compiled_slowly(PyTypeObject *type, PyObject *self, const char *name,
                          PyObject *const *args, Py_ssize_t n, PyObject *keywords);

/* ------------------------------------------------------------------------------------------ gate.c
** The part of a gate (maph/gate.py) that is looked at here. */
typedef struct compiled_gate {
  PyObject_HEAD maph *handle; /* NULL: closed, of another process, or somebody has it to himself */
  Py_ssize_t busy;            /* calls that are under way without the interpreter lock */
  Py_ssize_t views;           /* of the file, that are alive */
} compiled_gate;
extern PyTypeObject *compiled_gate_type;
extern PyTypeObject *compiled_view_type;
PyObject *compiled_make_gate(void);
PyObject *compiled_make_view(void);

/* A read-only memoryview of the file's bytes, which keeps `store`. */
PyObject *compiled_window(compiled_gate *gate, PyObject *store, maph_slice bytes);

/* ------------------------------------------------------------------------------------------ part.c
** What a store, a snapshot, a transaction and a cursor have in common. */
typedef struct compiled_part {
  PyObject_HEAD compiled_gate *gate;
  PyObject *store;             /* NULL: this is it */
  PyObject *opened, *token;    /* where its pointer is (Gate.opened); NULL: the gate's handle */
  PyObject *acquire, *release; /* of the lock that its turns take; NULL: it takes none */
  int kind;                    /* KIND_ */
  int shared;                  /* threads may read at the same time */
  int values;                  /* VALUES_ */
  int gives;                   /* GIVES_, of a cursor */
} compiled_part;
enum { VALUES_COPIED, VALUES_VIEWED, VALUES_COPIED_VIEWED };
enum { GIVES_ENTRIES, GIVES_KEYS, GIVES_VALUES, GIVES_PAIRS };
extern PyTypeObject *compiled_part_type;
PyObject *compiled_make_part(void);

/* What the library's functions take, or NULL: not now, do it in Python.  Ends with part_leave.
** `releases`: the interpreter lock is let go of meanwhile. */
void *part_enter(compiled_part *part, int releases);
void part_leave(compiled_part *part, int releases);
/* The bytes of a str or bytes, which live as long as it; 0 if it is none. */
int part_bytes(PyObject *object, maph_slice *bytes);
PyObject *part_copy(maph_slice bytes);
/* A memoryview: of the file, or of a copy where what was read may be undone. */
PyObject *part_view(compiled_part *part, maph_slice bytes);
/* An Entry; `value` is let go of, and may be NULL after an error. */
PyObject *part_entry(const maph_entry *found, PyObject *value);

/* -------------------------------------------------------------------- reader.c, writer.c, cursor.c
** Types with a part as their base, or one another. */
extern PyTypeObject *compiled_reader_type, *compiled_many_type;
extern PyTypeObject *compiled_writer_type, *compiled_cursor_type, *compiled_range_type;
PyObject *compiled_make_reader(PyObject *bases);
PyObject *compiled_make_many(PyObject *bases);
PyObject *compiled_make_writer(PyObject *bases);
PyObject *compiled_make_cursor(PyObject *bases);
PyObject *compiled_make_range(PyObject *bases);
/* A row of PyMethodDef for a method that is called the fast way. */
#define COMPILED_CALL(function) \
  (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS
/* Those of a type whose instances the collector of garbage sees come from its base. */
enum { COMPILED_FLAGS = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE };

#endif
