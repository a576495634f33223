/*
** exercise.h - a small store of which everything is known, every public call on it, and what the
** answers may be when it is damaged.
**
** Shared by the damage tests (damage.c) and the fuzzer (fuzz/fuzz_store.c).  The values are a
** function of {key, revision}, so that any answer can be judged without a copy of the truth.
*/
#ifndef MAPH_EXERCISE_H
#define MAPH_EXERCISE_H

#include "maph.h"

enum { TRUTH_KEYS = 120, TRUTH_KEY_MAX = 64, TRUTH_VALUE_MAX = 1200 };

/* What truth_build put: key i has had revisions 0 .. revisions-1, and holds the last one if
** live. */
typedef struct truth {
  int revisions[TRUTH_KEYS], live[TRUTH_KEYS];
} truth;

maph_slice truth_key(int i, char *buffer);
maph_slice truth_value(int i, int revision, unsigned char *buffer);
/* What kind of store: an ordinary one; optimized with records of many sizes, by either algorithm;
** optimized with records of one size.  The optimized ones were written to since. */
enum { TRUTH_PLAIN, TRUTH_PILOT, TRUTH_CMPH, TRUTH_DIRECT };
/* 64 KiB, every kind of record; MAPH_* */
int truth_build(const char *path, int kind, truth *truth);

/* What was found.  complaint: the first answer that must not be, or empty. */
typedef struct exercise {
  const truth *t; /* NULL: nothing is known of the values */
  char complaint[600];
  int opened;   /* code of the first open */
  int problems; /* what maph_check said: number of problems, or -1: it could not run */
  /* verified answers that are not the current value; live keys that were not found */
  int wrong, missing;
} exercise;

/* open for reading and ask everything */
void exercise_read(const char *path, exercise *exercise);
/* open for writing, put, delete, commit, close, recover; then it must be sound */
void exercise_write(const char *path, exercise *exercise);
void exercise_complain(exercise *exercise, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
