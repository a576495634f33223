/*
** section_write.c - loads and puts.
**
** Puts go to a new store, in the shuffled order of a load, or into the full one: there new keys
** are "key:N+" and the like, as many as there are old ones, each between two old ones, so that an
** ordered store meets its usual case and not its best.  Before every timing the disk has finished
** what was written before, there is memory at hand, and a tenth of the puts goes untimed.
** Afterwards the store is opened again and asked for what was put.
*/
#include "bench.h"

#include <stdlib.h>
#include <sys/resource.h>

enum { PUTS = 1000000, TAIL_PUTS = 5000000, BATCH = 1000, LOAD_BATCH = 100000 };

void measure_bulk(bench *bench, entrant *entrant) {
  if (!(entrant->peer->traits & IN_MEMORY))
    entrant_report(bench, entrant, BULK_FULL,
                   bench->work.keys / entrant_load(bench, entrant, LEVEL_FULL));
  entrant_report(bench, entrant, BULK_OFF,
                 bench->work.keys / entrant_load(bench, entrant, LEVEL_OFF));
}

/* A store of all keys made at once, on disk at the end: the time spent in the store. */
void measure_load(bench *bench, entrant *entrant) {
  const workload *workload = &bench->work;
  const peer *loader = entrant->peer->loader;
  uint64_t spent = 0, cpu = 0, start, start_cpu;
  key_set batch;
  if (!loader) return;
  folder_make(entrant->fresh);
  folder_settle(bench->folder);
  memory_settle();
  key_set_init(&batch, LOAD_BATCH, 1);
  void *load = loader->create(entrant->fresh, LEVEL_FULL);
  for (uint32_t done = 0; done < workload->keys; done += batch.n) {
    uint32_t left = workload->keys - done;
    key_set_fill(&batch, workload, workload->order + done, left < LOAD_BATCH ? left : LOAD_BATCH,
                 "", 0);
    start = now_ns();
    start_cpu = thread_ns();
    loader->put_batch(load, batch.n, batch.keys, batch.values);
    cpu += thread_ns() - start_cpu;
    spent += now_ns() - start;
  }
  key_set_free(&batch);
  start = now_ns();
  start_cpu = thread_ns();
  loader->finish(load);
  cpu += thread_ns() - start_cpu;
  spent += now_ns() - start;
  loader->close(load);
  entrant_report(bench, entrant, LOADED, workload->keys / ((double)spent * 1e-9));
  entrant_report(bench, entrant, LOADED_CPU, (double)cpu / workload->keys);
  void *store = entrant->peer->open(entrant->fresh, LEVEL_READ);
  check_keys(workload, entrant->peer, store);
  entrant->peer->close(store);
  folder_remove(entrant->fresh);
}

static uint32_t at_most(uint32_t a, uint32_t b) { return a < b ? a : b; }

static void check_puts(const peer *peer, const char *folder, key_set *keys, uint32_t done) {
  void *store = peer->open(folder, LEVEL_READ);
  keys->n = done;
  check_hits(peer, store, keys);
  peer->close(store);
}

/* Put keys from *at on, `size` a transaction, until `end` or the time is up; seconds it took.  The
** clock is read after each transaction of some length, else after every 64. */
static double put_for(const peer *peer, void *store, const key_set *keys, uint32_t *at,
                      uint32_t end, uint32_t size, level at_level, double seconds) {
  uint64_t start = now_ns(), elapsed = 0;
  uint32_t look = 0;
  while (*at + size <= end && (double)elapsed < seconds * 1e9) {
    if (size == 1)
      peer->put(store, keys->keys[*at], keys->values[*at]);
    else
      peer->put_batch(store, size, keys->keys + *at, keys->values + *at);
    *at += size;
    if (size > 1 || at_level == LEVEL_FULL || (++look & 63) == 0) elapsed = now_ns() - start;
  }
  return (double)(now_ns() - start) * 1e-9;
}

/* Puts a second into an open store, which is closed and checked then. */
static void measure_puts(bench *bench, entrant *entrant, metric m, void *store, const char *folder,
                         level at, uint32_t size, const char *suffix) {
  uint32_t n = at_most(bench->work.keys, PUTS), done = 0, warm;
  key_set keys;
  key_set_init(&keys, n, 1);
  key_set_fill(&keys, &bench->work, bench->work.order, n, suffix, 1 + (uint64_t)bench->run);
  put_for(entrant->peer, store, &keys, &done, n < 10 * size ? 0 : n / 10, size, at,
          bench->seconds / 4);
  warm = done;
  double seconds = put_for(entrant->peer, store, &keys, &done, n, size, at, bench->seconds);
  if (done > warm) entrant_report(bench, entrant, m, (done - warm) / seconds);
  entrant->peer->close(store);
  check_puts(entrant->peer, folder, &keys, done);
  key_set_free(&keys);
}

static int can_put(const peer *peer, level at) {
  return peer->put && !(at == LEVEL_FULL && peer->traits & IN_MEMORY);
}

static void into_new(bench *bench, entrant *entrant, metric m, level at, uint32_t size) {
  if (!can_put(entrant->peer, at) || entrant->peer->variant_of) return;
  folder_make(entrant->fresh);
  folder_settle(bench->folder);
  memory_settle();
  measure_puts(bench, entrant, m, entrant->peer->create(entrant->fresh, at), entrant->fresh, at,
               size, "");
  if (entrant->peer->destroy) entrant->peer->destroy(entrant->fresh);
  folder_remove(entrant->fresh);
}

static void into_full(bench *bench, entrant *entrant, metric m, level at, uint32_t size,
                      const char *suffix) {
  if (!can_put(entrant->peer, at)) return;
  entrant_need_writing(bench, entrant, at);
  void *store = entrant->store;
  entrant->store = NULL;
  measure_puts(bench, entrant, m, store, entrant->folder, at, size, suffix);
}

void measure_put(bench *bench, entrant *entrant) { into_new(bench, entrant, PUT, LEVEL_OFF, 1); }
void measure_durable(bench *bench, entrant *entrant) {
  into_new(bench, entrant, DURABLE_PUT, LEVEL_FULL, 1);
}
void measure_batch(bench *bench, entrant *entrant) {
  into_new(bench, entrant, DURABLE_BATCH, LEVEL_FULL, BATCH);
}
void measure_put_full(bench *bench, entrant *entrant) {
  into_full(bench, entrant, PUT_FULL, LEVEL_OFF, 1, "+");
}
void measure_update(bench *bench, entrant *entrant) {
  into_full(bench, entrant, UPDATE, LEVEL_OFF, 1, "");
}
void measure_batch_full(bench *bench, entrant *entrant) {
  into_full(bench, entrant, DURABLE_BATCH_FULL, LEVEL_FULL, BATCH, "*");
}
void measure_batch_old(bench *bench, entrant *entrant) {
  into_full(bench, entrant, DURABLE_BATCH_OLD, LEVEL_FULL, BATCH, "");
}

/* How often the kernel has taken the processor away from this thread. */
static long switches(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

/* Latencies of puts: of all, and of those during which the thread kept its processor.  On a machine
** that does nothing else both are the same; on a busy one the others' slices are the slowest puts,
** and the store knows nothing of them. */
typedef struct tail {
  uint32_t *all, *kept;
  uint32_t n, n_kept;
  long switches;
} tail;

static void time_puts(const peer *peer, void *store, const key_set *keys, tail *tail) {
  enum { SUSPECT_NS = 50000 }; /* nobody is away for less */
  uint64_t deadline = now_ns() + 60000000000u, before, after = 0;
  long first = switches(), seen = first;
  for (; tail->n < keys->n && after < deadline; tail->n++) {
    before = now_ns();
    peer->put(store, keys->keys[tail->n], keys->values[tail->n]);
    after = now_ns();
    uint32_t took = after - before < UINT32_MAX ? (uint32_t)(after - before) : UINT32_MAX;
    long now = took < SUSPECT_NS ? seen : switches();
    tail->all[tail->n] = took;
    if (now == seen) tail->kept[tail->n_kept++] = took;
    seen = now;
  }
  tail->switches = seen - first;
}

void measure_tail(bench *bench, entrant *entrant) {
  if (!entrant->peer->put) return;
  uint32_t n = at_most(bench->work.keys, TAIL_PUTS);
  tail tail = { must_alloc(sizeof(uint32_t) * n), must_alloc(sizeof(uint32_t) * n), 0, 0, 0 };
  key_set keys;
  entrant_load(bench, entrant, LEVEL_OFF);
  entrant_need_writing(bench, entrant, LEVEL_OFF);
  key_set_init(&keys, n, 1);
  key_set_fill(&keys, &bench->work, bench->work.order, n, "+", 1);
  time_puts(entrant->peer, entrant->store, &keys, &tail);
  entrant_close(entrant);
  check_puts(entrant->peer, entrant->folder, &keys, tail.n);
  sort_samples(tail.all, tail.n);
  sort_samples(tail.kept, tail.n_kept);
  entrant_report(bench, entrant, TAIL_P50, percentile(tail.all, tail.n, 0.5));
  entrant_report(bench, entrant, TAIL_P99, percentile(tail.all, tail.n, 0.99));
  entrant_report(bench, entrant, TAIL_P999, percentile(tail.all, tail.n, 0.999));
  entrant_report(bench, entrant, TAIL_P99999, percentile(tail.all, tail.n, 0.99999));
  entrant_report(bench, entrant, TAIL_MAX, percentile(tail.all, tail.n, 1));
  entrant_report(bench, entrant, TAIL_SWITCHES, (double)tail.switches);
  if (tail.n_kept)
    entrant_report(bench, entrant, TAIL_KEPT_P99999, percentile(tail.kept, tail.n_kept, 0.99999));
  if (tail.n_kept)
    entrant_report(bench, entrant, TAIL_KEPT_MAX, percentile(tail.kept, tail.n_kept, 1));
  key_set_free(&keys);
  free(tail.all);
  free(tail.kept);
}
