/*
** builder.h - what builds the function of a perfect hash: pilot.c and bdz.c are two of them.
*/
#ifndef MAPH_BUILDER_H
#define MAPH_BUILDER_H

#include <stdint.h>

/* MAPH_OK, or the code to give up with */
typedef int (*perfect_progress_fn)(void *arg, uint64_t done, uint64_t total);

/* A builder turns n different hashes, in ascending order, into the function's data, which the
** caller os_frees, and sets number[i] for hash[i]. NOTFOUND: it cannot do this set, with a sentence
** that says why.  *memory: most that was allocated. */
typedef struct perfect_builder {
  const char *name;
  int (*build)(const uint64_t *hash, uint32_t n, uint32_t *number, uint8_t **data, uint64_t *size,
               uint64_t *memory, perfect_progress_fn progress, void *arg);
} perfect_builder;

#endif
