/*
** python.c - what Python is told that imports maph.so as a module.
**
** At the top of a checkout maph.so lies beside the package's folder ext/python, and "import maph"
** of a Python started there finds this file first.  The interpreter's functions are those of the
** process; in any other process they are absent, and nobody calls this.
*/
#include <stddef.h>

struct _object;
extern struct _object *PyExc_ImportError __attribute__((weak));
extern void PyErr_SetString(struct _object *kind, const char *sentence) __attribute__((weak));

__attribute__((visibility("default"))) void *PyInit_maph(void);
__attribute__((visibility("default"))) void *PyInit_maph(void) {
  if (&PyExc_ImportError != NULL && PyErr_SetString != NULL)
    PyErr_SetString(
        PyExc_ImportError,
        "this maph.so is the SQLite extension, not the package maph for Python: set "
        "PYTHONPATH=build/python and run python3 -P, or start Python in another folder");
  return NULL;
}
