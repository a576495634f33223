/*
** row.c - an entry that is to be put, where its bytes are until then, and the names of types.
*/
#include <stdlib.h>
#include <time.h>
#include "cli.h"

enum { KEY_MOST = 65535, MEDIA_TYPE_MOST = 255 };
#define VALUE_MOST UINT32_MAX
#define TTL_MOST 100000000000u /* seconds: three thousand years, and no overflow */

/* ---------------------------------------------------------------------------------------- arena */
enum { BLOCK = 256 * 1024 };
struct arena_block {
  struct arena_block *next;
  size_t used, room;
  char data[];
};

void *arena_take(arena *a, size_t size) {
  struct arena_block *b = a->first;
  void *taken;
  if (b == NULL || b->room - b->used < size) {
    size_t room = size > BLOCK ? size : BLOCK;
    b = room > SIZE_MAX / 2 ? NULL : malloc(sizeof *b + room);
    if (b == NULL) return NULL;
    *b = (struct arena_block){ .next = a->first, .room = room };
    a->first = b;
  }
  taken = b->data + b->used;
  b->used += size;
  a->bytes += size;
  return taken;
}

bool arena_copy(arena *a, maph_slice from, maph_slice *to) {
  void *copy = arena_take(a, from.size);
  if (copy == NULL) return false;
  if (from.size) memcpy(copy, from.data, from.size);
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

/* ------------------------------------------------------------------------------------------ row */
const char *row_check(const row *r) {
  if (r->key.size == 0) return "a key has at least one byte";
  if (r->key.size > KEY_MOST) return "a key has at most 65535 bytes";
  if (r->value.size > VALUE_MOST) return "a value has less than 4 GiB";
  if (r->media_type.size > MEDIA_TYPE_MOST) return "a media type has at most 255 bytes";
  return NULL;
}

const char *row_ttl(uint64_t seconds, row *r) {
  if (seconds < 1 || seconds > TTL_MOST) return "ttl is a whole number of seconds from 1 up";
  r->expires = wall_ms() + seconds * 1000;
  return NULL;
}

uint64_t wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---------------------------------------------------------------------------------------- types */
static const char *const type_names[] = {
  [MAPH_BLOB] = "blob",       [MAPH_TEXT] = "text", [MAPH_JSON] = "json",
  [MAPH_INTEGER] = "integer", [MAPH_REAL] = "real", [MAPH_NULL] = "null"
};
static const char *const key_type_names[] = {
  [MAPH_KEY_BYTES] = "bytes", [MAPH_KEY_TEXT] = "text", [MAPH_KEY_BLOB] = "blob"
};

static int place_of(const char *name, const char *const *names, int n) {
  for (int i = 0; i < n; i++)
    if (strcmp(name, names[i]) == 0) return i;
  return -1;
}

int type_from_name(const char *name) { return place_of(name, type_names, MAPH_NULL + 1); }
int key_type_from_name(const char *name) {
  return place_of(name, key_type_names, MAPH_KEY_BLOB + 1);
}
const char *type_name(int type) {
  return type >= MAPH_BLOB && type <= MAPH_NULL ? type_names[type] : "blob";
}
const char *key_type_name(int type) {
  return type >= MAPH_KEY_BYTES && type <= MAPH_KEY_BLOB ? key_type_names[type] : "bytes";
}

int type_of_bytes(maph_slice value) {
  return utf8_valid(value) && (value.size == 0 || memchr(value.data, 0, value.size) == NULL)
             ? MAPH_TEXT
             : MAPH_BLOB;
}
