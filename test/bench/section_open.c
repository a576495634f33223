/*
** section_open.c - bytes, and the time it takes until a store can be read.
*/
#include "bench.h"

#include <stdlib.h>

enum { OPENS = 101, SMALL = 1000 };

void measure_size(bench *bench, entrant *entrant) {
  double payload = (double)workload_bytes(&bench->work), keys = bench->work.keys;
  uint64_t used;
  entrant_need_reading(bench, entrant);
  used = entrant->peer->used ? entrant->peer->used(entrant->store) : entrant->file_bytes;
  entrant_report(bench, entrant, OVERHEAD, ((double)used - payload) / keys);
  if (!(entrant->peer->traits & IN_MEMORY))
    entrant_report(bench, entrant, ON_DISK, ((double)entrant->disk_bytes - payload) / keys);
  if (entrant->peer->index_bytes)
    entrant_report(bench, entrant, INDEX_BYTES, entrant->peer->index_bytes(entrant->store));
}

/* Median nanoseconds of an open and one get: a store that puts the work of opening off would pay
** for it there. */
static double time_opens(const peer *peer, const char *folder, const key_set *keys) {
  uint32_t sample[OPENS];
  slice value;
  for (uint32_t i = 0; i < OPENS; i++) {
    uint64_t start = now_ns();
    void *store = peer->open(folder, LEVEL_READ);
    if (!peer->get(store, keys->keys[i % keys->n], &value))
      fail("%s: a key is missing after opening", peer->name);
    sample[i] = (uint32_t)(now_ns() - start);
    peer->close(store);
  }
  sort_samples(sample, OPENS);
  return percentile(sample, OPENS, 0.5);
}

/* The same of a store with few keys: the two should not differ. */
static double time_small_opens(bench *bench, entrant *entrant) {
  uint32_t n = bench->work.keys < SMALL ? bench->work.keys : SMALL;
  key_set keys;
  folder_make(entrant->fresh);
  key_set_init(&keys, n, 1);
  key_set_fill(&keys, &bench->work, bench->work.order, n, "", 0);
  void *store = entrant->peer->create(entrant->fresh, LEVEL_OFF);
  entrant->peer->put_batch(store, n, keys.keys, keys.values);
  if (entrant->peer->finish) entrant->peer->finish(store);
  entrant->peer->close(store);
  double median = time_opens(entrant->peer, entrant->fresh, &keys);
  key_set_free(&keys);
  folder_remove(entrant->fresh);
  return median;
}

void measure_open(bench *bench, entrant *entrant) {
  if (entrant->peer->traits & (IN_MEMORY | SERVER)) return;
  if (!entrant->loaded || entrant->changed) entrant_load(bench, entrant, LEVEL_OFF);
  entrant_close(entrant);
  entrant_report(bench, entrant, OPEN, time_opens(entrant->peer, entrant->folder, &bench->hits));
  entrant_report(bench, entrant, OPEN_SMALL, time_small_opens(bench, entrant));
}
