/*
** section_maph.c - what only maph is asked: rewrites of the store, and ways to map it.
*/
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { BATCH = 1000, CHANGED_SALT = 2000, WRITER_SALT, WRITER_KEYS = 1000000 };

/* ------------------------------------------------------------------------------------ rewriting */
static void measure_optimize(bench *bench, entrant *entrant) {
  rewrite_cost cost;
  entrant_need_writing(bench, entrant, LEVEL_OFF);
  entrant->peer->optimize(entrant->store, &cost);
  entrant_report(bench, entrant, OPTIMIZE_TIME, (double)cost.took_ns);
  entrant_report(bench, entrant, OPTIMIZE_CPU, cost.cpu_ns);
  entrant_report(bench, entrant, OPTIMIZE_PAUSE, (double)cost.pause_ns);
  entrant_report(bench, entrant, OPTIMIZE_MEMORY, (double)cost.memory_bytes * 1e-6);
  entrant_report(bench, entrant, OPTIMIZE_BITS, cost.bits);
}

static void put_all(const peer *peer, void *store, const key_set *keys) {
  for (uint32_t at = 0; at < keys->n; at += BATCH)
    peer->put_batch(store, keys->n - at < BATCH ? keys->n - at : BATCH, keys->keys + at,
                    keys->values + at);
}

/* Ask for every key of the list once, so that their pages are mapped. */
static void pass(const bench *bench, const peer *peer, void *store) {
  slice value;
  for (uint32_t i = 0; i < bench->hits.n; i++) {
    if (!peer->get(store, bench->hits.keys[i], &value)) fail("%s: a key is missing", peer->name);
  }
}

/* What gets of a changed store take: one by one, each after the other's value, many at once. */
static void report_gets(bench *bench, entrant *entrant, metric get, metric dependent, metric many) {
  pass(bench, entrant->peer, entrant->store);
  entrant_report(
      bench, entrant, get,
      rate_of_gets(entrant->peer, entrant->store, &bench->hits, 0, bench->touch, bench->seconds));
  entrant_report(bench, entrant, dependent,
                 time_of_dependent(bench, entrant->peer, entrant->store));
  entrant_report(bench, entrant, many, rate_of_many(bench, entrant->peer, entrant->store));
}

/* Gets of a store of which a tenth of the keys was overwritten since it was optimized (or loaded),
** and as many came. */
static void measure_changed(bench *bench, entrant *entrant) {
  uint32_t n = (bench->work.keys + 9) / 10;
  key_set changed, later;
  key_set_init(&changed, n, 1);
  key_set_init(&later, n, 1);
  key_set_fill(&changed, &bench->work, bench->work.order, n, "", CHANGED_SALT);
  key_set_fill(&later, &bench->work, bench->work.order, n, "+", CHANGED_SALT);
  entrant_need_writing(bench, entrant, LEVEL_OFF);
  put_all(entrant->peer, entrant->store, &changed);
  put_all(entrant->peer, entrant->store, &later);
  entrant_open(entrant, LEVEL_READ);
  check_hits(entrant->peer, entrant->store, &changed);
  check_hits(entrant->peer, entrant->store, &later);
  report_gets(bench, entrant, CHANGED_GET, CHANGED_DEPENDENT, CHANGED_MANY);
  key_set_free(&changed);
  key_set_free(&later);
}

/* Gets of a store of which half the keys, picked at random, were put again with their values, as
** entries of other kinds than the plain one. */
void measure_kinds(bench *bench, entrant *entrant) {
  uint32_t n = bench->work.keys / 2;
  key_set part;
  if (!entrant->peer->put_kinds) return;
  if (entrant->changed) entrant_load(bench, entrant, LEVEL_OFF);
  entrant_need_writing(bench, entrant, LEVEL_OFF);
  key_set_init(&part, BATCH, 1);
  for (uint32_t at = 0; at < n; at += part.n) {
    key_set_fill(&part, &bench->work, bench->work.order + at, n - at < BATCH ? n - at : BATCH, "",
                 0);
    entrant->peer->put_kinds(entrant->store, part.n, part.keys, part.values);
  }
  key_set_free(&part);
  if (entrant->peer->finish) entrant->peer->finish(entrant->store);
  entrant_open(entrant, LEVEL_READ);
  report_gets(bench, entrant, KINDS_GET, KINDS_DEPENDENT, KINDS_MANY);
}

/* Nobody else writes: what it takes is of the keys alone. */
static void measure_compact_alone(bench *bench, entrant *entrant) {
  rewrite_cost cost;
  entrant_need_writing(bench, entrant, LEVEL_OFF);
  entrant->peer->compact(entrant->store, &cost);
  entrant_report(bench, entrant, COMPACT_CPU, cost.cpu_ns);
}

typedef struct writer {
  pthread_t thread;
  const peer *peer;
  void *store;
  key_set keys;
  atomic_int stop;
  uint64_t puts, slowest_ns;
} writer;

static void *write_on(void *arg) {
  writer *writer = arg;
  for (uint32_t at = 0; !atomic_load(&writer->stop); writer->puts++) {
    uint64_t start = now_ns(), took;
    writer->peer->put(writer->store, writer->keys.keys[at], writer->keys.values[at]);
    took = now_ns() - start;
    if (took > writer->slowest_ns) writer->slowest_ns = took;
    if (++at == writer->keys.n) at = 0;
  }
  return NULL;
}

/* compact, while a thread overwrites one key after the other; each put of it must be found
** afterwards. */
static void measure_compact(bench *bench, entrant *entrant) {
  uint32_t n = bench->work.keys < WRITER_KEYS ? bench->work.keys : WRITER_KEYS;
  rewrite_cost cost;
  entrant_need_writing(bench, entrant, LEVEL_OFF);
  writer writer = { .peer = entrant->peer, .store = entrant->store };
  key_set_init(&writer.keys, n, 1);
  key_set_fill(&writer.keys, &bench->work, bench->work.order + (bench->work.keys - n), n, "",
               WRITER_SALT);
  if (pthread_create(&writer.thread, NULL, write_on, &writer)) fail("cannot start a thread");
  entrant->peer->compact(entrant->store, &cost);
  atomic_store(&writer.stop, 1);
  pthread_join(writer.thread, NULL);
  entrant_report(bench, entrant, COMPACT_TIME, (double)cost.took_ns);
  entrant_report(bench, entrant, COMPACT_PAUSE, (double)cost.pause_ns);
  entrant_report(bench, entrant, COMPACT_SLOWEST, (double)writer.slowest_ns);
  entrant_report(bench, entrant, COMPACT_PUTS, (double)writer.puts / ((double)cost.took_ns * 1e-9));
  if (writer.puts < writer.keys.n) writer.keys.n = (uint32_t)writer.puts;
  entrant_open(entrant, LEVEL_READ);
  check_hits(entrant->peer, entrant->store, &writer.keys);
  entrant_close(entrant);
  key_set_free(&writer.keys);
}

void measure_rewrite(bench *bench, entrant *entrant) {
  if (!entrant->peer->compact) return;
  if (entrant->changed) entrant_load(bench, entrant, LEVEL_OFF);
  if (entrant->peer->optimize) measure_optimize(bench, entrant);
  measure_changed(bench, entrant);
  measure_compact_alone(bench, entrant);
  measure_compact(bench, entrant);
}

/* --------------------------------------------------------------------------------- ways to open */
/* The file is thrown out of the page cache first: which pages, of what size, it comes back in is
** the option's doing.  The first pass is that over a file in the cache, from the open on, as the
** first reader of a process's life pays it. */
static void measure_option(bench *bench, entrant *entrant, int option) {
  const peer *peer = entrant->peer;
  folder_evict(entrant->folder);
  void *store = peer->open_with(entrant->folder, option);
  if (!store) return;
  pass(bench, peer, store);
  peer->close(store);
  uint64_t start = now_ns();
  store = peer->open_with(entrant->folder, option);
  pass(bench, peer, store);
  entrant_report(bench, entrant, OPTION_FIRST + (unsigned)option,
                 bench->hits.n / ((double)(now_ns() - start) * 1e-9));
  entrant_report(bench, entrant, OPTION_GET + (unsigned)option,
                 rate_of_gets(peer, store, &bench->hits, 0, bench->touch, bench->seconds));
  entrant_report(bench, entrant, OPTION_DEPENDENT + (unsigned)option,
                 time_of_dependent(bench, peer, store));
  entrant_report(bench, entrant, OPTION_MANY + (unsigned)option, rate_of_many(bench, peer, store));
  peer->close(store);
}

void measure_options(bench *bench, entrant *entrant) {
  if (!entrant->peer->open_with) return;
  if (!entrant->loaded || entrant->changed) entrant_load(bench, entrant, LEVEL_OFF);
  entrant_close(entrant);
  for (int option = 0; option < OPEN_OPTIONS; option++) measure_option(bench, entrant, option);
}
