/* error.h - codes are born here, with the sentence that maph_errmsg gives. */
#ifndef MAPH_ERROR_H
#define MAPH_ERROR_H

#include "maph.h"

#include <stdint.h>

/* Set this thread's sentence and return rc, so that a failure reads `return fail(MAPH_FULL, "%s:
** ...", path)`. */
int fail(int rc, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "no memory for N bytes" */
int fail_memory(uint64_t size);

/* The same for a place in a file that contradicts itself: "PATH: offset N: WHAT; the file is
** damaged: ...". */
void say_corrupt(const char *path, uint64_t offset, const char *what) __attribute__((cold));
static inline int fail_corrupt(const char *path, uint64_t offset, const char *what) {
  say_corrupt(path, offset, what);
  /* a constant the compiler sees, where it follows the hot paths */
  return MAPH_CORRUPT;
}

#endif
