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
  zipf zipf = { n, 0, 0, 1 / (1 - THETA), 1 + pow(0.5, THETA) };
  for (uint32_t i = 1; i <= n; i++) zipf.zeta += pow(i, -THETA);
  zipf.eta = (1 - pow(2.0 / n, 1 - THETA)) / (1 - zipf.second / zipf.zeta);
  return last = zipf;
}

static double fraction(uint64_t *state) {
  *state += 0x9e3779b97f4a7c15u;
  return (double)(mix(*state) >> 11) * 0x1p-53;
}

static uint32_t zipf_rank(const zipf *zipf, uint64_t *state) {
  double u = fraction(state), x = u * zipf->zeta;
  if (x < 1) return 0;
  if (x < zipf->second) return zipf->n > 1;
  uint32_t rank = (uint32_t)(zipf->n * pow(zipf->eta * u - zipf->eta + 1, zipf->alpha));
  return rank < zipf->n ? rank : zipf->n - 1;
}

/* ----------------------------------------------------------------------------------- operations */
typedef struct plan {
  uint32_t n;
  operation *all;
  char (*text)[KEY_ROOM];
} plan;

static deed choose(const mix_of_deeds *mix, uint64_t *state) {
  int percent = (int)(100 * fraction(state));
  if (percent < mix->get) return GET_ONE;
  if (percent < mix->get + mix->change) return CHANGE;
  if (percent < mix->get + mix->change + mix->insert) return INSERT;
  return percent < mix->get + mix->change + mix->insert + mix->scan ? SCAN_SOME : MODIFY;
}

/* The key of a number, with the suffix or without, where it stays. */
static slice lasting_key(char room[KEY_ROOM], uint32_t number, const char *suffix) {
  char text[KEY_ROOM];
  slice key = workload_key(number, text);
  memcpy(room, key.data, key.size);
  room[key.size] = suffix[0];
  return maph_bytes(room, key.size + (suffix[0] != 0));
}

static plan make_plan(const bench *bench, const mix_of_deeds *m) {
  const workload *workload = &bench->work;
  double wanted = bench->seconds * 1e6;
  uint32_t n = wanted < LEAST ? LEAST : wanted > MOST ? MOST : (uint32_t)wanted, inserted = 0;
  uint64_t state = mix(workload->seed + (uint64_t)m->metric * 1000 + (uint64_t)bench->run),
           salt = SALT + (uint64_t)bench->run;
  zipf zipf = zipf_of(workload->keys);
  plan plan = { n, must_alloc(sizeof *plan.all * n), must_alloc(sizeof *plan.text * n) };
  for (uint32_t i = 0; i < n; i++) {
    operation *operation = &plan.all[i];
    uint32_t rank = zipf_rank(&zipf, &state), number = (uint32_t)(mix(rank) % workload->keys);
    const char *suffix = "";
    *operation = (struct operation){ .deed = choose(m, &state),
                                     .length = (uint8_t)(1 + LONGEST_SCAN * fraction(&state)) };
    if (operation->deed == INSERT && inserted == workload->keys)
      operation->deed = m->get ? GET_ONE : SCAN_SOME;
    if (operation->deed == INSERT) {
      number = workload->order[inserted++];
      suffix = m->suffix;
    } else if (m->latest) {
      /* of all in the order they came, this store's load first */
      uint64_t place = (uint64_t)workload->keys + inserted - 1 - rank;
      number = workload->order[place < workload->keys ? place : place - workload->keys];
      suffix = place < workload->keys ? "" : m->suffix;
    }
    operation->key = lasting_key(plan.text[i], number, suffix);
    operation->value = workload_value(workload, number, salt);
  }
  return plan;
}

static void free_plan(plan *plan) {
  free(plan->all);
  free(plan->text);
}

/* -------------------------------------------------------------------------------------- running */
static volatile uint64_t sink;

static void must_get(const bench *bench, const peer *peer, void *store, slice key) {
  slice value;
  if (!peer->get(store, key, &value))
    fail("%s: %.*s is missing", peer->name, (int)key.size, (const char *)key.data);
  sink += bench->touch == TOUCH_ALL ? read_bytes(value) : *(const uint8_t *)value.data;
}

static void perform(const bench *bench, const peer *peer, void *store, const operation *operation) {
  scan_total total = { 0, 0, 0 };
  switch (operation->deed) {
    case GET_ONE: must_get(bench, peer, store, operation->key); break;
    case CHANGE:
    case INSERT: peer->put(store, operation->key, operation->value); break;
    case MODIFY:
      must_get(bench, peer, store, operation->key);
      peer->put(store, operation->key, operation->value);
      break;
    case SCAN_SOME:
      peer->scan_from(store, operation->key, operation->length, &total);
      if (total.entries == 0) fail("%s: a scan from a key that is there found nothing", peer->name);
      sink += total.sum;
      break;
  }
}

/* Perform operations from *at on until `end` or the time is up; seconds it took. */
static double perform_for(const bench *bench, const entrant *entrant, const plan *plan,
                          uint32_t *at, uint32_t end, double seconds) {
  uint64_t start = now_ns(), elapsed = 0;
  for (; *at < end && (double)elapsed < seconds * 1e9; ++*at) {
    perform(bench, entrant->peer, entrant->store, &plan->all[*at]);
    if ((*at & 15) == 0) elapsed = now_ns() - start;
  }
  return (double)(now_ns() - start) * 1e-9;
}

static void check_written(entrant *entrant, const plan *plan, uint32_t done) {
  key_set written = { 0, NULL, must_alloc(sizeof(slice) * (done + 1)),
                      must_alloc(sizeof(slice) * (done + 1)) };
  for (uint32_t i = 0; i < done; i++) {
    const operation *operation = &plan->all[i];
    if (operation->deed == GET_ONE || operation->deed == SCAN_SOME) continue;
    written.keys[written.n] = operation->key;
    written.values[written.n++] = operation->value;
  }
  if (written.n) {
    entrant_open(entrant, LEVEL_READ);
    check_hits(entrant->peer, entrant->store, &written);
  }
  entrant_close(entrant);
  key_set_free(&written);
}

static void run_mix(bench *bench, entrant *entrant, const mix_of_deeds *mix) {
  uint32_t done = 0, warm;
  if ((mix->get < 100 && !entrant->peer->put) || (mix->scan && !entrant->peer->scan_from)) return;
  if (entrant->peer->put)
    entrant_need_writing(bench, entrant, LEVEL_OFF);
  else
    entrant_need_reading(bench, entrant);
  plan plan = make_plan(bench, mix);
  perform_for(bench, entrant, &plan, &done, plan.n / 10, bench->seconds);
  warm = done;
  double seconds = perform_for(bench, entrant, &plan, &done, plan.n, bench->seconds);
  if (done > warm) entrant_report(bench, entrant, mix->metric, (done - warm) / seconds);
  check_written(entrant, &plan, done);
  free_plan(&plan);
}

void measure_ycsb_a(bench *bench, entrant *entrant) { run_mix(bench, entrant, &mixes[0]); }
void measure_ycsb_b(bench *bench, entrant *entrant) { run_mix(bench, entrant, &mixes[1]); }
void measure_ycsb_c(bench *bench, entrant *entrant) { run_mix(bench, entrant, &mixes[2]); }
void measure_ycsb_d(bench *bench, entrant *entrant) { run_mix(bench, entrant, &mixes[3]); }
void measure_ycsb_e(bench *bench, entrant *entrant) { run_mix(bench, entrant, &mixes[4]); }
void measure_ycsb_f(bench *bench, entrant *entrant) { run_mix(bench, entrant, &mixes[5]); }
