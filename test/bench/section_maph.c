/*
** section_maph.c - what only maph is asked: rewrites of the store, and ways to map it.
*/
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { BATCH = 1000, CHANGED_SALT = 2000, WRITER_SALT, WRITER_KEYS = 1000000 };

/* ------------------------------------------------------------------------------------ rewriting */
static void measure_optimize(bench *b, entrant *e) {
  rewrite_cost cost;
  entrant_need_writing(b, e, LEVEL_OFF);
  e->peer->optimize(e->store, &cost);
  entrant_report(b, e, OPTIMIZE_TIME, (double)cost.took_ns);
  entrant_report(b, e, OPTIMIZE_PAUSE, (double)cost.pause_ns);
  entrant_report(b, e, OPTIMIZE_MEMORY, (double)cost.memory_bytes * 1e-6);
  entrant_report(b, e, OPTIMIZE_BITS, cost.bits);
}

static void put_all(const peer *p, void *store, const key_set *s) {
  for (uint32_t at = 0; at < s->n; at += BATCH)
    p->put_batch(store, s->n - at < BATCH ? s->n - at : BATCH, s->keys + at, s->values + at);
}

/* Ask for every key of the list once, so that their pages are mapped. */
static void pass(const bench *b, const peer *p, void *store) {
  slice value;
  for (uint32_t i = 0; i < b->hits.n; i++) {
    if (!p->get(store, b->hits.keys[i], &value)) fail("%s: a key is missing", p->name);
  }
}

/* Gets of a store of which a tenth of the keys was overwritten since it was optimized (or loaded),
** and as many came. */
static void measure_changed(bench *b, entrant *e) {
  uint32_t n = (b->work.keys + 9) / 10;
  key_set changed, later;
  key_set_init(&changed, n, 1);
  key_set_init(&later, n, 1);
  key_set_fill(&changed, &b->work, b->work.order, n, "", CHANGED_SALT);
  key_set_fill(&later, &b->work, b->work.order, n, "+", CHANGED_SALT);
  entrant_need_writing(b, e, LEVEL_OFF);
  put_all(e->peer, e->store, &changed);
  put_all(e->peer, e->store, &later);
  entrant_open(e, LEVEL_READ);
  check_hits(e->peer, e->store, &changed);
  check_hits(e->peer, e->store, &later);
  pass(b, e->peer, e->store);
  entrant_report(b, e, CHANGED_GET,
                 rate_of_gets(e->peer, e->store, &b->hits, 0, b->touch, b->seconds));
  entrant_report(b, e, CHANGED_DEPENDENT, time_of_dependent(b, e->peer, e->store));
  entrant_report(b, e, CHANGED_MANY, rate_of_many(b, e->peer, e->store));
  key_set_free(&changed);
  key_set_free(&later);
}

/* Gets of a store of which half the keys, picked at random, were put again with their values, as
** entries of other kinds than the plain one. */
void measure_kinds(bench *b, entrant *e) {
  uint32_t n = b->work.keys / 2;
  key_set part;
  if (!e->peer->put_kinds) return;
  if (e->changed) entrant_load(b, e, LEVEL_OFF);
  entrant_need_writing(b, e, LEVEL_OFF);
  key_set_init(&part, BATCH, 1);
  for (uint32_t at = 0; at < n; at += part.n) {
    key_set_fill(&part, &b->work, b->work.order + at, n - at < BATCH ? n - at : BATCH, "", 0);
    e->peer->put_kinds(e->store, part.n, part.keys, part.values);
  }
  key_set_free(&part);
  if (e->peer->finish) e->peer->finish(e->store);
  entrant_open(e, LEVEL_READ);
  pass(b, e->peer, e->store);
  entrant_report(b, e, KINDS_GET,
                 rate_of_gets(e->peer, e->store, &b->hits, 0, b->touch, b->seconds));
  entrant_report(b, e, KINDS_DEPENDENT, time_of_dependent(b, e->peer, e->store));
  entrant_report(b, e, KINDS_MANY, rate_of_many(b, e->peer, e->store));
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
  writer *w = arg;
  for (uint32_t at = 0; !atomic_load(&w->stop); w->puts++) {
    uint64_t start = now_ns(), took;
    w->peer->put(w->store, w->keys.keys[at], w->keys.values[at]);
    took = now_ns() - start;
    if (took > w->slowest_ns) w->slowest_ns = took;
    if (++at == w->keys.n) at = 0;
  }
  return NULL;
}

/* compact, while a thread overwrites one key after the other; each put of it must be found
** afterwards. */
static void measure_compact(bench *b, entrant *e) {
  uint32_t n = b->work.keys < WRITER_KEYS ? b->work.keys : WRITER_KEYS;
  rewrite_cost cost;
  entrant_need_writing(b, e, LEVEL_OFF);
  writer w = { .peer = e->peer, .store = e->store };
  key_set_init(&w.keys, n, 1);
  key_set_fill(&w.keys, &b->work, b->work.order + (b->work.keys - n), n, "", WRITER_SALT);
  if (pthread_create(&w.thread, NULL, write_on, &w)) fail("cannot start a thread");
  e->peer->compact(e->store, &cost);
  atomic_store(&w.stop, 1);
  pthread_join(w.thread, NULL);
  entrant_report(b, e, COMPACT_TIME, (double)cost.took_ns);
  entrant_report(b, e, COMPACT_PAUSE, (double)cost.pause_ns);
  entrant_report(b, e, COMPACT_SLOWEST, (double)w.slowest_ns);
  entrant_report(b, e, COMPACT_PUTS, (double)w.puts / ((double)cost.took_ns * 1e-9));
  if (w.puts < w.keys.n) w.keys.n = (uint32_t)w.puts;
  entrant_open(e, LEVEL_READ);
  check_hits(e->peer, e->store, &w.keys);
  entrant_close(e);
  key_set_free(&w.keys);
}

void measure_rewrite(bench *b, entrant *e) {
  if (!e->peer->compact) return;
  if (e->changed) entrant_load(b, e, LEVEL_OFF);
  if (e->peer->optimize) measure_optimize(b, e);
  measure_changed(b, e);
  measure_compact(b, e);
}

/* --------------------------------------------------------------------------------- ways to open */
/* The file is thrown out of the page cache first: which pages, of what size, it comes back in is
** the option's doing.  The first pass is that over a file in the cache, from the open on, as the
** first reader of a process's life pays it. */
static void measure_option(bench *b, entrant *e, int option) {
  const peer *p = e->peer;
  folder_evict(e->folder);
  void *store = p->open_with(e->folder, option);
  if (!store) return;
  pass(b, p, store);
  p->close(store);
  uint64_t start = now_ns();
  store = p->open_with(e->folder, option);
  pass(b, p, store);
  entrant_report(b, e, OPTION_FIRST + (unsigned)option,
                 b->hits.n / ((double)(now_ns() - start) * 1e-9));
  entrant_report(b, e, OPTION_GET + (unsigned)option,
                 rate_of_gets(p, store, &b->hits, 0, b->touch, b->seconds));
  entrant_report(b, e, OPTION_DEPENDENT + (unsigned)option, time_of_dependent(b, p, store));
  p->close(store);
}

void measure_options(bench *b, entrant *e) {
  if (!e->peer->open_with) return;
  if (!e->loaded || e->changed) entrant_load(b, e, LEVEL_OFF);
  entrant_close(e);
  for (int option = 0; option < OPEN_OPTIONS; option++) measure_option(b, e, option);
}
