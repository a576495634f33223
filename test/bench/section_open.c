/*
** section_open.c - bytes, and the time it takes until a store can be read.
*/
#include "bench.h"

#include <stdlib.h>

enum { OPENS = 101, SMALL = 1000 };

void measure_size(bench *b, entrant *e) {
  double payload = (double)workload_bytes(&b->work), keys = b->work.keys;
  uint64_t used;
  entrant_need_reading(b, e);
  used = e->peer->used ? e->peer->used(e->store) : e->file_bytes;
  entrant_report(b, e, OVERHEAD, ((double)used - payload) / keys);
  if (!(e->peer->traits & IN_MEMORY))
    entrant_report(b, e, ON_DISK, ((double)e->disk_bytes - payload) / keys);
  if (e->peer->index_bytes) entrant_report(b, e, INDEX_BYTES, e->peer->index_bytes(e->store));
}

/* Median nanoseconds of an open and one get: a store that puts the work of opening off would pay
** for it there. */
static double time_opens(const peer *p, const char *folder, const key_set *keys) {
  uint32_t sample[OPENS];
  slice value;
  for (uint32_t i = 0; i < OPENS; i++) {
    uint64_t start = now_ns();
    void *store = p->open(folder, LEVEL_READ);
    if (!p->get(store, keys->keys[i % keys->n], &value))
      fail("%s: a key is missing after opening", p->name);
    sample[i] = (uint32_t)(now_ns() - start);
    p->close(store);
  }
  sort_samples(sample, OPENS);
  return percentile(sample, OPENS, 0.5);
}

/* The same of a store with few keys: the two should not differ. */
static double time_small_opens(bench *b, entrant *e) {
  uint32_t n = b->work.keys < SMALL ? b->work.keys : SMALL;
  key_set keys;
  folder_make(e->fresh);
  key_set_init(&keys, n, 1);
  key_set_fill(&keys, &b->work, b->work.order, n, "", 0);
  void *store = e->peer->create(e->fresh, LEVEL_OFF);
  e->peer->put_batch(store, n, keys.keys, keys.values);
  if (e->peer->finish) e->peer->finish(store);
  e->peer->close(store);
  double median = time_opens(e->peer, e->fresh, &keys);
  key_set_free(&keys);
  folder_remove(e->fresh);
  return median;
}

void measure_open(bench *b, entrant *e) {
  if (e->peer->traits & (IN_MEMORY | SERVER)) return;
  if (!e->loaded || e->changed) entrant_load(b, e, LEVEL_OFF);
  entrant_close(e);
  entrant_report(b, e, OPEN, time_opens(e->peer, e->folder, &b->hits));
  entrant_report(b, e, OPEN_SMALL, time_small_opens(b, e));
}
