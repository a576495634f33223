/*
** arena.h - memory for what was read, given back all at once.
*/
#ifndef MAPH_ENTRY_ARENA_H
#define MAPH_ENTRY_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include "maph.h"

/* All zero: an empty one. */
typedef struct arena {
  struct arena_block *first;
  size_t bytes; /* that were taken */
} arena;

/* Aligned for pointers and 64-bit numbers.  NULL: no memory. */
void *arena_take(arena *arena, size_t size);
bool arena_copy(arena *arena, maph_slice from, maph_slice *to);
void arena_free(arena *arena);

#endif
