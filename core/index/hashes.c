/*
** hashes.c - see hashes.h.
*/
#include "index/hashes.h"

#include <string.h>

enum { ROOM_LEAST = 1024 };

static void *allocate(hashes *hashes, uint64_t size) {
  void *p = os_alloc_table(size);
  if (p == NULL) return NULL;
  hashes->memory += size;
  hashes->peak = MAX(hashes->peak, hashes->memory);
  return p;
}

static void release(hashes *hashes, void *p, uint64_t size) {
  if (p == NULL) return;
  hashes->memory -= size;
  os_free(p);
}

int hashes_begin(hashes *hashes, const char *path, uint64_t expected, uint64_t memory) {
  memset(hashes, 0, sizeof *hashes);
  hashes->file.fd = -1;
  hashes->path = path;
  /* twice: sorting needs as much again */
  hashes->most = MAX(memory / (2 * sizeof *hashes->key), (uint64_t)ROOM_LEAST);
  hashes->room = MIN(MAX(expected, (uint64_t)ROOM_LEAST), hashes->most);
  hashes->key = allocate(hashes, hashes->room * sizeof *hashes->key);
  return hashes->key ? MAPH_OK : MAPH_NOMEM;
}

void hashes_clear(hashes *hashes) {
  if (hashes->path == NULL) return;
  release(hashes, hashes->key, hashes->room * sizeof *hashes->key);
  hashes->key = NULL;
  os_free(hashes->starts);
  hashes->starts = NULL;
  os_close(&hashes->file);
  hashes->path = NULL;
}

/* Into `to`, by ranges of the top bits.  start[i]: where range i begins, counted from 0.
** Not inlined: one array of places at a time on the stack. */
static __attribute__((noinline)) void sort_into_ranges(const hashes *hashes, unsigned bits,
                                                       hashed *to,
                                                       uint64_t start[HASHES_PARTS + 1]) {
  uint64_t at[HASHES_PARTS], i, n = hashes->n, ranges = UINT64_C(1) << bits;
  memset(start, 0, (HASHES_PARTS + 1) * sizeof *start);
  if (bits == 0) {
    memcpy(to, hashes->key, n * sizeof *to);
    start[1] = n;
    return;
  }
  for (i = 0; i < n; i++) start[(hashes->key[i].hash >> (64 - bits)) + 1]++;
  for (i = 0; i < ranges; i++) {
    at[i] = start[i];
    start[i + 1] += start[i];
  }
  for (i = 0; i < n; i++) to[at[hashes->key[i].hash >> (64 - bits)]++] = hashes->key[i];
}

/* Write what is in memory. */
static int spill(hashes *hashes) {
  uint64_t size = hashes->n * sizeof *hashes->key, written = hashes->count - hashes->n, i, *starts;
  hashed *sorted;
  int rc = MAPH_OK;
  if (hashes->n == 0) return MAPH_OK;
  starts = os_realloc(hashes->starts, (hashes->runs + 1) * (HASHES_PARTS + 1) * sizeof *starts);
  if (starts == NULL) return MAPH_NOMEM;
  hashes->starts = starts;
  starts += hashes->runs * (HASHES_PARTS + 1);
  sorted = allocate(hashes, size);
  if (sorted == NULL) return MAPH_NOMEM;
  sort_into_ranges(hashes, HASHES_BITS, sorted, starts);
  if (hashes->file.fd < 0) rc = os_open_unnamed(hashes->path, &hashes->file);
  if (rc == MAPH_OK)
    rc = os_grow(&hashes->file, hashes->path, (written + hashes->n) * sizeof *sorted);
  if (rc == MAPH_OK)
    rc = os_write(&hashes->file, hashes->path, written * sizeof *sorted, sorted, size);
  release(hashes, sorted, size);
  if (rc != MAPH_OK) return rc;
  for (i = 0; i <= HASHES_PARTS; i++) starts[i] += written;
  hashes->runs++;
  hashes->n = 0;
  return MAPH_OK;
}

int hashes_make_room(hashes *hashes) {
  uint64_t room = MIN(2 * hashes->room, hashes->most);
  hashed *key;
  if (hashes->room == hashes->most) return spill(hashes);
  key = os_realloc(hashes->key, room * sizeof *key);
  if (key == NULL) return MAPH_NOMEM;
  hashes->memory += (room - hashes->room) * sizeof *key;
  hashes->peak = MAX(hashes->peak, hashes->memory);
  hashes->key = key;
  hashes->room = room;
  return MAPH_OK;
}

static int ranges_in_memory(hashes *hashes, unsigned bits, hashes_fn each, void *arg) {
  uint64_t start[HASHES_PARTS + 1], i, size = hashes->n * sizeof *hashes->key;
  hashed *sorted = allocate(hashes, size + 1);
  int rc = sorted ? MAPH_OK : MAPH_NOMEM;
  if (rc == MAPH_OK) sort_into_ranges(hashes, bits, sorted, start);
  release(hashes, hashes->key, hashes->room * sizeof *hashes->key);
  hashes->key = NULL;
  for (i = 0; rc == MAPH_OK && i >> bits == 0; i++)
    rc = each(arg, sorted + start[i], start[i + 1] - start[i]);
  release(hashes, sorted, size + 1);
  return rc;
}

/* Of each time that was written: the parts [from, to). */
static int gather(hashes *hashes, uint64_t from, uint64_t to, hashed **key, uint64_t *room,
                  uint64_t *n) {
  uint64_t total = 0;
  size_t run;
  int rc = MAPH_OK;
  for (run = 0; run < hashes->runs; run++) {
    const uint64_t *starts = hashes->starts + run * (HASHES_PARTS + 1);
    total += starts[to] - starts[from];
  }
  if (total > *room) {
    release(hashes, *key, *room * sizeof **key);
    *room = total + total / 8;
    *key = allocate(hashes, *room * sizeof **key);
    if (*key == NULL) {
      *room = 0;
      return MAPH_NOMEM;
    }
  }
  for (run = 0, *n = 0; rc == MAPH_OK && run < hashes->runs; run++) {
    const uint64_t *starts = hashes->starts + run * (HASHES_PARTS + 1);
    uint64_t keys = starts[to] - starts[from];
    rc = os_read(&hashes->file, hashes->path, starts[from] * sizeof **key, *key + *n,
                 keys * sizeof **key);
    *n += keys;
  }
  return rc;
}

static int ranges_from_file(hashes *hashes, unsigned bits, hashes_fn each, void *arg) {
  uint64_t i, n, room = 0, parts = HASHES_PARTS >> bits;
  hashed *key = NULL;
  int rc = spill(hashes);
  release(hashes, hashes->key, hashes->room * sizeof *hashes->key);
  hashes->key = NULL;
  for (i = 0; rc == MAPH_OK && i >> bits == 0; i++) {
    rc = gather(hashes, i * parts, (i + 1) * parts, &key, &room, &n);
    if (rc == MAPH_OK) rc = each(arg, key, n);
  }
  release(hashes, key, room * sizeof *key);
  return rc;
}

int hashes_ranges(hashes *hashes, unsigned bits, hashes_fn each, void *arg) {
  assert(bits <= HASHES_BITS);
  return hashes->runs ? ranges_from_file(hashes, bits, each, arg)
                      : ranges_in_memory(hashes, bits, each, arg);
}
