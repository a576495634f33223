/* error.h - codes are born here, with the sentence that maph_errmsg gives. */
#ifndef MAPH_ERROR_H
#define MAPH_ERROR_H

#include "maph.h"

#include <stdint.h>

/* Set this thread's sentence and return rc, so that a failure reads `return fail(MAPH_FULL, "%s:
** ...", path)`. */
int fail(int rc, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "no memory for N bytes"; error_name says of which file. */
int fail_memory(uint64_t size);
/* Where a public call fails: rc.  If there was no memory, the sentence names the file. */
int error_name(int rc, const char *path) __attribute__((cold));

/* What maph_errmsg says is of the last public call that failed.  Who tries what may fail, and goes
** on without it, keeps the sentence of before and puts it back. */
typedef struct sentence {
  int rc; /* what it was said with */
  /* Bytes that there was no memory for, and nobody said yet of which file; or 0. */
  uint64_t nameless;
  char text[1024];
} sentence;
void error_keep(sentence *kept);
void error_put_back(const sentence *kept);
/* At the end of such a call: rc.  The same if that is OK; else as error_name. */
int error_done(int rc, const sentence *kept, const char *path);

/* The same for a place in a file that contradicts itself: "PATH: offset N: WHAT; the file is
** damaged: ...". */
void say_corrupt(const char *path, uint64_t offset, const char *what) __attribute__((cold));
static inline int fail_corrupt(const char *path, uint64_t offset, const char *what) {
  say_corrupt(path, offset, what);
  /* a constant the compiler sees, where it follows the hot paths */
  return MAPH_CORRUPT;
}

#endif
