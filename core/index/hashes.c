/*
** hashes.c - see hashes.h.
*/
#include "index/hashes.h"

#include <string.h>

enum { ROOM_LEAST = 1024 };

static void *allocate(hashes *h, uint64_t size) {
  void *p = os_alloc(size);
  if (p == NULL) return NULL;
  h->memory += size;
  h->peak = MAX(h->peak, h->memory);
  return p;
}

static void release(hashes *h, void *p, uint64_t size) {
  if (p == NULL) return;
  h->memory -= size;
  os_free(p);
}

int hashes_begin(hashes *h, const char *path, uint64_t expected, uint64_t memory) {
  memset(h, 0, sizeof *h);
  h->file.fd = -1;
  h->path = path;
  /* twice: sorting needs as much again */
  h->most = MAX(memory / (2 * sizeof *h->key), (uint64_t)ROOM_LEAST);
  h->room = MIN(MAX(expected, (uint64_t)ROOM_LEAST), h->most);
  h->key = allocate(h, h->room * sizeof *h->key);
  return h->key ? MAPH_OK : MAPH_NOMEM;
}

void hashes_clear(hashes *h) {
  if (h->path == NULL) return;
  release(h, h->key, h->room * sizeof *h->key);
  h->key = NULL;
  os_free(h->starts);
  h->starts = NULL;
  os_close(&h->file);
  h->path = NULL;
}

/* Into `to`, by ranges of the top bits.  start[i]: where range i begins, counted from 0.
** Not inlined: one array of places at a time on the stack. */
static __attribute__((noinline)) void sort_into_ranges(const hashes *h, unsigned bits, hashed *to,
                                                       uint64_t start[HASHES_PARTS + 1]) {
  uint64_t at[HASHES_PARTS], i, n = h->n, ranges = UINT64_C(1) << bits;
  memset(start, 0, (HASHES_PARTS + 1) * sizeof *start);
  if (bits == 0) {
    memcpy(to, h->key, n * sizeof *to);
    start[1] = n;
    return;
  }
  for (i = 0; i < n; i++) start[(h->key[i].hash >> (64 - bits)) + 1]++;
  for (i = 0; i < ranges; i++) {
    at[i] = start[i];
    start[i + 1] += start[i];
  }
  for (i = 0; i < n; i++) to[at[h->key[i].hash >> (64 - bits)]++] = h->key[i];
}

/* Write what is in memory. */
static int spill(hashes *h) {
  uint64_t size = h->n * sizeof *h->key, written = h->count - h->n, i, *starts;
  hashed *sorted;
  int rc = MAPH_OK;
  if (h->n == 0) return MAPH_OK;
  starts = os_realloc(h->starts, (h->runs + 1) * (HASHES_PARTS + 1) * sizeof *starts);
  if (starts == NULL) return MAPH_NOMEM;
  h->starts = starts;
  starts += h->runs * (HASHES_PARTS + 1);
  sorted = allocate(h, size);
  if (sorted == NULL) return MAPH_NOMEM;
  sort_into_ranges(h, HASHES_BITS, sorted, starts);
  if (h->file.fd < 0) rc = os_open_unnamed(h->path, &h->file);
  if (rc == MAPH_OK) rc = os_grow(&h->file, h->path, (written + h->n) * sizeof *sorted);
  if (rc == MAPH_OK) rc = os_write(&h->file, h->path, written * sizeof *sorted, sorted, size);
  release(h, sorted, size);
  if (rc != MAPH_OK) return rc;
  for (i = 0; i <= HASHES_PARTS; i++) starts[i] += written;
  h->runs++;
  h->n = 0;
  return MAPH_OK;
}

int hashes_make_room(hashes *h) {
  uint64_t room = MIN(2 * h->room, h->most);
  hashed *key;
  if (h->room == h->most) return spill(h);
  key = os_realloc(h->key, room * sizeof *key);
  if (key == NULL) return MAPH_NOMEM;
  h->memory += (room - h->room) * sizeof *key;
  h->peak = MAX(h->peak, h->memory);
  h->key = key;
  h->room = room;
  return MAPH_OK;
}

static int ranges_in_memory(hashes *h, unsigned bits, hashes_fn each, void *arg) {
  uint64_t start[HASHES_PARTS + 1], i, size = h->n * sizeof *h->key;
  hashed *sorted = allocate(h, size + 1);
  int rc = sorted ? MAPH_OK : MAPH_NOMEM;
  if (rc == MAPH_OK) sort_into_ranges(h, bits, sorted, start);
  release(h, h->key, h->room * sizeof *h->key);
  h->key = NULL;
  for (i = 0; rc == MAPH_OK && i >> bits == 0; i++)
    rc = each(arg, sorted + start[i], start[i + 1] - start[i]);
  release(h, sorted, size + 1);
  return rc;
}

/* Of each time that was written: the parts [from, to). */
static int gather(hashes *h, uint64_t from, uint64_t to, hashed **key, uint64_t *room,
                  uint64_t *n) {
  uint64_t total = 0;
  size_t run;
  int rc = MAPH_OK;
  for (run = 0; run < h->runs; run++) {
    const uint64_t *starts = h->starts + run * (HASHES_PARTS + 1);
    total += starts[to] - starts[from];
  }
  if (total > *room) {
    release(h, *key, *room * sizeof **key);
    *room = total + total / 8;
    *key = allocate(h, *room * sizeof **key);
    if (*key == NULL) {
      *room = 0;
      return MAPH_NOMEM;
    }
  }
  for (run = 0, *n = 0; rc == MAPH_OK && run < h->runs; run++) {
    const uint64_t *starts = h->starts + run * (HASHES_PARTS + 1);
    uint64_t keys = starts[to] - starts[from];
    rc = os_read(&h->file, h->path, starts[from] * sizeof **key, *key + *n, keys * sizeof **key);
    *n += keys;
  }
  return rc;
}

static int ranges_from_file(hashes *h, unsigned bits, hashes_fn each, void *arg) {
  uint64_t i, n, room = 0, parts = HASHES_PARTS >> bits;
  hashed *key = NULL;
  int rc = spill(h);
  release(h, h->key, h->room * sizeof *h->key);
  h->key = NULL;
  for (i = 0; rc == MAPH_OK && i >> bits == 0; i++) {
    rc = gather(h, i * parts, (i + 1) * parts, &key, &room, &n);
    if (rc == MAPH_OK) rc = each(arg, key, n);
  }
  release(h, key, room * sizeof *key);
  return rc;
}

int hashes_ranges(hashes *h, unsigned bits, hashes_fn each, void *arg) {
  assert(bits <= HASHES_BITS);
  return h->runs ? ranges_from_file(h, bits, each, arg) : ranges_in_memory(h, bits, each, arg);
}
