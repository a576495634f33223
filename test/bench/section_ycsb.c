/*
** section_ycsb.c - the six workloads of the Yahoo! Cloud Serving Benchmark (Cooper et al., 2010),
** by one thread, each write a transaction without flush.
**
**   A  50 % gets, 50 % updates  D  95 % gets, 5 % new keys; the newest are asked for most B  95 %
**   gets, 5 % updates  E  95 % scans of 1 to 100 entries, 5 % new keys C  gets  F  50 % gets, 50 %
**   a get, then a put of the same key
**
** Keys are chosen by a Zipf distribution with theta 0.99, after Gray et al., "Quickly generating
** billion-record synthetic databases" (1994), as YCSB does; their ranks are scattered over the keys
** by a hash, but for D, where rank 0 is the newest key.  Keys and values are this benchmark's. The
** operations are made before the clock starts, the same for all peers; a tenth of them goes
** untimed.  Afterwards the store is opened again and asked for what was written.
*/
#include "bench.h"

#include <math.h>
#include <stdlib.h>

enum { LEAST = 100000, MOST = 4000000, LONGEST_SCAN = 100, SALT = 1000 };
#define THETA 0.99

typedef enum deed { GET_ONE, CHANGE, INSERT, SCAN_SOME, MODIFY } deed;

typedef struct operation {
  slice key, value;
  deed deed;
  uint8_t length; /* of a scan */
} operation;

typedef struct mix_of_deeds {
  metric metric;
  int get, change, insert, scan, modify; /* percent */
  char suffix[2];                        /* of the keys that it inserts */
  int latest;
} mix_of_deeds;

static const mix_of_deeds mixes[] = {
  { YCSB_A, 50, 50, 0, 0, 0, "", 0 }, { YCSB_B, 95, 5, 0, 0, 0, "", 0 },
  { YCSB_C, 100, 0, 0, 0, 0, "", 0 }, { YCSB_D, 95, 0, 5, 0, 0, "d", 1 },
  { YCSB_E, 0, 0, 5, 95, 0, "e", 0 }, { YCSB_F, 50, 0, 0, 0, 50, "", 0 },
};

/* -------------------------------------------------------------------------------- distributions */
typedef struct zipf {
  uint32_t n;
  double zeta, eta, alpha, second;
} zipf;

static zipf zipf_of(uint32_t n) {
  static zipf last;
  if (last.n == n) return last;
  zipf z = { n, 0, 0, 1 / (1 - THETA), 1 + pow(0.5, THETA) };
  for (uint32_t i = 1; i <= n; i++) z.zeta += pow(i, -THETA);
  z.eta = (1 - pow(2.0 / n, 1 - THETA)) / (1 - z.second / z.zeta);
  return last = z;
}

static double fraction(uint64_t *state) {
  *state += 0x9e3779b97f4a7c15u;
  return (double)(mix(*state) >> 11) * 0x1p-53;
}

static uint32_t zipf_rank(const zipf *z, uint64_t *state) {
  double u = fraction(state), x = u * z->zeta;
  if (x < 1) return 0;
  if (x < z->second) return z->n > 1;
  uint32_t rank = (uint32_t)(z->n * pow(z->eta * u - z->eta + 1, z->alpha));
  return rank < z->n ? rank : z->n - 1;
}

/* ----------------------------------------------------------------------------------- operations */
typedef struct plan {
  uint32_t n;
  operation *all;
  char (*text)[KEY_ROOM];
} plan;

static deed choose(const mix_of_deeds *m, uint64_t *state) {
  int percent = (int)(100 * fraction(state));
  if (percent < m->get) return GET_ONE;
  if (percent < m->get + m->change) return CHANGE;
  if (percent < m->get + m->change + m->insert) return INSERT;
  return percent < m->get + m->change + m->insert + m->scan ? SCAN_SOME : MODIFY;
}

/* The key of a number, with the suffix or without, where it stays. */
static slice lasting_key(char room[KEY_ROOM], uint32_t number, const char *suffix) {
  char text[KEY_ROOM];
  slice key = workload_key(number, text);
  memcpy(room, key.data, key.size);
  room[key.size] = suffix[0];
  return maph_bytes(room, key.size + (suffix[0] != 0));
}

static plan make_plan(const bench *b, const mix_of_deeds *m) {
  const workload *w = &b->work;
  double wanted = b->seconds * 1e6;
  uint32_t n = wanted < LEAST ? LEAST : wanted > MOST ? MOST : (uint32_t)wanted, inserted = 0;
  uint64_t state = mix(w->seed + (uint64_t)m->metric * 1000 + (uint64_t)b->run),
           salt = SALT + (uint64_t)b->run;
  zipf z = zipf_of(w->keys);
  plan p = { n, must_alloc(sizeof *p.all * n), must_alloc(sizeof *p.text * n) };
  for (uint32_t i = 0; i < n; i++) {
    operation *o = &p.all[i];
    uint32_t rank = zipf_rank(&z, &state), number = (uint32_t)(mix(rank) % w->keys);
    const char *suffix = "";
    *o = (operation){ .deed = choose(m, &state),
                      .length = (uint8_t)(1 + LONGEST_SCAN * fraction(&state)) };
    if (o->deed == INSERT && inserted == w->keys) o->deed = m->get ? GET_ONE : SCAN_SOME;
    if (o->deed == INSERT) {
      number = w->order[inserted++];
      suffix = m->suffix;
    } else if (m->latest) {
      /* of all in the order they came, this store's load first */
      uint64_t place = (uint64_t)w->keys + inserted - 1 - rank;
      number = w->order[place < w->keys ? place : place - w->keys];
      suffix = place < w->keys ? "" : m->suffix;
    }
    o->key = lasting_key(p.text[i], number, suffix);
    o->value = workload_value(w, number, salt);
  }
  return p;
}

static void free_plan(plan *p) {
  free(p->all);
  free(p->text);
}

/* -------------------------------------------------------------------------------------- running */
static volatile uint64_t sink;

static void must_get(const bench *b, const peer *p, void *store, slice key) {
  slice value;
  if (!p->get(store, key, &value))
    fail("%s: %.*s is missing", p->name, (int)key.size, (const char *)key.data);
  sink += b->touch == TOUCH_ALL ? read_bytes(value) : *(const uint8_t *)value.data;
}

static void perform(const bench *b, const peer *p, void *store, const operation *o) {
  scan_total total = { 0, 0, 0 };
  switch (o->deed) {
    case GET_ONE: must_get(b, p, store, o->key); break;
    case CHANGE:
    case INSERT: p->put(store, o->key, o->value); break;
    case MODIFY:
      must_get(b, p, store, o->key);
      p->put(store, o->key, o->value);
      break;
    case SCAN_SOME:
      p->scan_from(store, o->key, o->length, &total);
      if (total.entries == 0) fail("%s: a scan from a key that is there found nothing", p->name);
      sink += total.sum;
      break;
  }
}

/* Perform operations from *at on until `end` or the time is up; seconds it took. */
static double perform_for(const bench *b, const entrant *e, const plan *p, uint32_t *at,
                          uint32_t end, double seconds) {
  uint64_t start = now_ns(), elapsed = 0;
  for (; *at < end && (double)elapsed < seconds * 1e9; ++*at) {
    perform(b, e->peer, e->store, &p->all[*at]);
    if ((*at & 15) == 0) elapsed = now_ns() - start;
  }
  return (double)(now_ns() - start) * 1e-9;
}

static void check_written(entrant *e, const plan *p, uint32_t done) {
  key_set written = { 0, NULL, must_alloc(sizeof(slice) * (done + 1)),
                      must_alloc(sizeof(slice) * (done + 1)) };
  for (uint32_t i = 0; i < done; i++) {
    const operation *o = &p->all[i];
    if (o->deed == GET_ONE || o->deed == SCAN_SOME) continue;
    written.keys[written.n] = o->key;
    written.values[written.n++] = o->value;
  }
  if (written.n) {
    entrant_open(e, LEVEL_READ);
    check_hits(e->peer, e->store, &written);
  }
  entrant_close(e);
  key_set_free(&written);
}

static void run_mix(bench *b, entrant *e, const mix_of_deeds *m) {
  uint32_t done = 0, warm;
  if ((m->get < 100 && !e->peer->put) || (m->scan && !e->peer->scan_from)) return;
  if (e->peer->put)
    entrant_need_writing(b, e, LEVEL_OFF);
  else
    entrant_need_reading(b, e);
  plan p = make_plan(b, m);
  perform_for(b, e, &p, &done, p.n / 10, b->seconds);
  warm = done;
  double seconds = perform_for(b, e, &p, &done, p.n, b->seconds);
  if (done > warm) entrant_report(b, e, m->metric, (done - warm) / seconds);
  check_written(e, &p, done);
  free_plan(&p);
}

void measure_ycsb_a(bench *b, entrant *e) { run_mix(b, e, &mixes[0]); }
void measure_ycsb_b(bench *b, entrant *e) { run_mix(b, e, &mixes[1]); }
void measure_ycsb_c(bench *b, entrant *e) { run_mix(b, e, &mixes[2]); }
void measure_ycsb_d(bench *b, entrant *e) { run_mix(b, e, &mixes[3]); }
void measure_ycsb_e(bench *b, entrant *e) { run_mix(b, e, &mixes[4]); }
void measure_ycsb_f(bench *b, entrant *e) { run_mix(b, e, &mixes[5]); }
