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

static struct arena_block *add_block(arena *a, size_t size) {
  size_t room = a->first ? 2 * a->first->room : BLOCK_LEAST;
  struct arena_block *block;
  if (room > BLOCK_MOST) room = BLOCK_MOST;
  if (room < size) room = size;
  block = room > SIZE_MAX / 2 ? NULL : malloc(sizeof *block + room);
  if (block == NULL) return NULL;
  block->next = a->first;
  block->used = 0;
  block->room = room;
  a->first = block;
  return block;
}

void *arena_take(arena *a, size_t size) {
  struct arena_block *block = a->first;
  size_t whole = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
  void *taken;
  if (size > SIZE_MAX / 2) return NULL;
  if (block == NULL || block->room - block->used < whole) block = add_block(a, whole);
  if (block == NULL) return NULL;
  taken = block->data + block->used;
  block->used += whole;
  a->bytes += size;
  return taken;
}

bool arena_copy(arena *a, maph_slice from, maph_slice *to) {
  void *copy = arena_take(a, from.size);
  if (copy == NULL) return false;
  if (from.size > 0) memcpy(copy, from.data, from.size);
  *to = maph_bytes(copy, from.size);
  return true;
}

void arena_free(arena *a) {
  while (a->first) {
    struct arena_block *next = a->first->next;
    free(a->first);
    a->first = next;
  }
  a->bytes = 0;
}
