/*
** arena.c - memory for what was read, given back all at once.
**
** Blocks double from 1 KiB to 256 KiB, so that a small request costs little and a large one few
** calls of malloc.  What does not fit into the rest of a block begins a new one.
*/
#include "entry/arena.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_LEAST = 1024, BLOCK_MOST = 256 * 1024, ALIGNMENT = 8 };

struct arena_block {
  struct arena_block *next;
  size_t used, room;
  _Alignas(8) char data[];
};
_Static_assert(offsetof(struct arena_block, data) % ALIGNMENT == 0, "what is taken is aligned");

static struct arena_block *add_block(arena *arena, size_t size) {
  size_t room = arena->first ? 2 * arena->first->room : BLOCK_LEAST;
  struct arena_block *block;
  if (room > BLOCK_MOST) room = BLOCK_MOST;
  if (room < size) room = size;
  block = room > SIZE_MAX / 2 ? NULL : malloc(sizeof *block + room);
  if (block == NULL) return NULL;
  block->next = arena->first;
  block->used = 0;
  block->room = room;
  arena->first = block;
  return block;
}

void *arena_take(arena *arena, size_t size) {
  struct arena_block *block = arena->first;
  size_t whole = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
  void *taken;
  if (size > SIZE_MAX / 2) return NULL;
  if (block == NULL || block->room - block->used < whole) block = add_block(arena, whole);
  if (block == NULL) return NULL;
  taken = block->data + block->used;
  block->used += whole;
  arena->bytes += size;
  return taken;
}

bool arena_copy(arena *arena, maph_slice from, maph_slice *to) {
  void *copy = arena_take(arena, from.size);
  if (copy == NULL) return false;
  if (from.size > 0) memcpy(copy, from.data, from.size);
  *to = maph_bytes(copy, from.size);
  return true;
}

void arena_free(arena *arena) {
  while (arena->first) {
    struct arena_block *next = arena->first->next;
    free(arena->first);
    arena->first = next;
  }
  arena->bytes = 0;
}
