/*
** section_write.c - loads and puts.
**
** Puts go to a new store, in the shuffled order of a load, or into the full one: there new keys are
** "key:N+" and the like, as many as there are old ones, each between two old ones, so that an
** ordered store meets its usual case and not its best. Before every timing the disk has finished
** what was written before, and a tenth of the puts goes untimed.  Afterwards the store is opened
** again and asked for what was put.
*/
#include "bench.h"

#include <stdlib.h>
#include <sys/resource.h>

enum { PUTS = 1000000, TAIL_PUTS = 5000000, BATCH = 1000 };

void measure_bulk(bench *b, entrant *e) {
  if (!(e->peer->traits & IN_MEMORY))
    entrant_report(b, e, BULK_FULL, b->work.keys / entrant_load(b, e, LEVEL_FULL));
  entrant_report(b, e, BULK_OFF, b->work.keys / entrant_load(b, e, LEVEL_OFF));
}

static uint32_t at_most(uint32_t a, uint32_t b) { return a < b ? a : b; }

static void check_puts(const peer *p, const char *folder, key_set *s, uint32_t done) {
  void *store = p->open(folder, LEVEL_READ);
  s->n = done;
  check_hits(p, store, s);
  p->close(store);
}

/* Put keys from *at on, `size` a transaction, until `end` or the time is up; seconds it took.  The
** clock is read after each transaction of some length, else after every 64. */
static double put_for(const peer *p, void *store, const key_set *s, uint32_t *at, uint32_t end,
                      uint32_t size, level at_level, double seconds) {
  uint64_t start = now_ns(), elapsed = 0;
  uint32_t look = 0;
  while (*at + size <= end && (double)elapsed < seconds * 1e9) {
    if (size == 1)
      p->put(store, s->keys[*at], s->values[*at]);
    else
      p->put_batch(store, size, s->keys + *at, s->values + *at);
    *at += size;
    if (size > 1 || at_level == LEVEL_FULL || (++look & 63) == 0) elapsed = now_ns() - start;
  }
  return (double)(now_ns() - start) * 1e-9;
}

/* Puts a second into an open store, which is closed and checked then. */
static void measure_puts(bench *b, entrant *e, metric m, void *store, const char *folder, level at,
                         uint32_t size, const char *suffix) {
  uint32_t n = at_most(b->work.keys, PUTS), done = 0, warm;
  key_set s;
  key_set_init(&s, n, 1);
  key_set_fill(&s, &b->work, b->work.order, n, suffix, 1 + (uint64_t)b->run);
  put_for(e->peer, store, &s, &done, n < 10 * size ? 0 : n / 10, size, at, b->seconds / 4);
  warm = done;
  double seconds = put_for(e->peer, store, &s, &done, n, size, at, b->seconds);
  if (done > warm) entrant_report(b, e, m, (done - warm) / seconds);
  e->peer->close(store);
  check_puts(e->peer, folder, &s, done);
  key_set_free(&s);
}

static int can_put(const peer *p, level at) {
  return p->put && !(at == LEVEL_FULL && p->traits & IN_MEMORY);
}

static void into_new(bench *b, entrant *e, metric m, level at, uint32_t size) {
  if (!can_put(e->peer, at) || e->peer->variant_of) return;
  folder_make(e->fresh);
  folder_settle(b->folder);
  measure_puts(b, e, m, e->peer->create(e->fresh, at), e->fresh, at, size, "");
  if (e->peer->destroy) e->peer->destroy(e->fresh);
  folder_remove(e->fresh);
}

static void into_full(bench *b, entrant *e, metric m, level at, uint32_t size, const char *suffix) {
  if (!can_put(e->peer, at)) return;
  entrant_need_writing(b, e, at);
  void *store = e->store;
  e->store = NULL;
  measure_puts(b, e, m, store, e->folder, at, size, suffix);
}

void measure_put(bench *b, entrant *e) { into_new(b, e, PUT, LEVEL_OFF, 1); }
void measure_durable(bench *b, entrant *e) { into_new(b, e, DURABLE_PUT, LEVEL_FULL, 1); }
void measure_batch(bench *b, entrant *e) { into_new(b, e, DURABLE_BATCH, LEVEL_FULL, BATCH); }
void measure_put_full(bench *b, entrant *e) { into_full(b, e, PUT_FULL, LEVEL_OFF, 1, "+"); }
void measure_update(bench *b, entrant *e) { into_full(b, e, UPDATE, LEVEL_OFF, 1, ""); }
void measure_batch_full(bench *b, entrant *e) {
  into_full(b, e, DURABLE_BATCH_FULL, LEVEL_FULL, BATCH, "*");
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

static void time_puts(const peer *p, void *store, const key_set *s, tail *t) {
  enum { SUSPECT_NS = 50000 }; /* nobody is away for less */
  uint64_t deadline = now_ns() + 60000000000u, before, after = 0;
  long first = switches(), seen = first;
  for (; t->n < s->n && after < deadline; t->n++) {
    before = now_ns();
    p->put(store, s->keys[t->n], s->values[t->n]);
    after = now_ns();
    uint32_t took = after - before < UINT32_MAX ? (uint32_t)(after - before) : UINT32_MAX;
    long now = took < SUSPECT_NS ? seen : switches();
    t->all[t->n] = took;
    if (now == seen) t->kept[t->n_kept++] = took;
    seen = now;
  }
  t->switches = seen - first;
}

void measure_tail(bench *b, entrant *e) {
  if (!e->peer->put) return;
  uint32_t n = at_most(b->work.keys, TAIL_PUTS);
  tail t = { must_alloc(sizeof(uint32_t) * n), must_alloc(sizeof(uint32_t) * n), 0, 0, 0 };
  key_set s;
  entrant_load(b, e, LEVEL_OFF);
  entrant_need_writing(b, e, LEVEL_OFF);
  key_set_init(&s, n, 1);
  key_set_fill(&s, &b->work, b->work.order, n, "+", 1);
  time_puts(e->peer, e->store, &s, &t);
  entrant_close(e);
  check_puts(e->peer, e->folder, &s, t.n);
  sort_samples(t.all, t.n);
  sort_samples(t.kept, t.n_kept);
  entrant_report(b, e, TAIL_P50, percentile(t.all, t.n, 0.5));
  entrant_report(b, e, TAIL_P99, percentile(t.all, t.n, 0.99));
  entrant_report(b, e, TAIL_P999, percentile(t.all, t.n, 0.999));
  entrant_report(b, e, TAIL_P99999, percentile(t.all, t.n, 0.99999));
  entrant_report(b, e, TAIL_MAX, percentile(t.all, t.n, 1));
  entrant_report(b, e, TAIL_SWITCHES, (double)t.switches);
  if (t.n_kept) entrant_report(b, e, TAIL_KEPT_P99999, percentile(t.kept, t.n_kept, 0.99999));
  if (t.n_kept) entrant_report(b, e, TAIL_KEPT_MAX, percentile(t.kept, t.n_kept, 1));
  key_set_free(&s);
  free(t.all);
  free(t.kept);
}
