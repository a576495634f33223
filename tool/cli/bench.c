/*
** bench.c - bench: how fast this store answers here.
**
** A sample of its keys, drawn evenly in one pass (reservoir sampling) and shuffled, is asked for
** again and again for a fixed time, and every byte of each value is read.  Rates come from loops
** that only look at the clock once a round; percentiles from loops that look after every get, in a
** histogram whose buckets are 3 % wide, and so include one reading of the clock, which is measured
** and told.
*/
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "cli.h"

enum {
  SAMPLE_MOST = 100000,
  MANY = 256,
  ROUND = 4096,
  SUB = 32,
  BUCKETS = 64 * SUB,
  MISS_BYTES = 16
};

typedef struct histogram {
  uint64_t count[BUCKETS], n, most;
} histogram;

typedef struct bench {
  const arguments *a;
  maph *checked, *unchecked;
  maph_slice *keys, *misses;
  size_t n, miss_count;
  arena arena;
  /* steps: measurements, each as long as --time */
  uint64_t records, random, sum, steps, step;
  double share; /* of the time measured in which this thread ran */
  int rc;       /* of a get that failed */
} bench;

typedef struct result {
  const char *name, *label; /* in JSON, and for people */
  double rate, bytes_rate;
  uint64_t p50, p99, p999, most; /* ns; 0: not measured */
} result;

static uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* xorshift64*: the sample need not be unpredictable. */
static uint64_t random_below(bench *b, uint64_t n) {
  b->random ^= b->random >> 12;
  b->random ^= b->random << 25;
  b->random ^= b->random >> 27;
  return (b->random * 0x2545F4914F6CDD1Du >> 11) % n;
}

/* ------------------------------------------------------------------------------------ histogram */
static size_t bucket_of(uint64_t ns) {
  int power;
  if (ns < SUB) return (size_t)ns;
  power = 63 - __builtin_clzll(ns);
  return (size_t)(power - 4) * SUB + (size_t)(ns >> (power - 5) & (SUB - 1));
}

static uint64_t bucket_begin(size_t bucket) {
  size_t power = bucket / SUB + 4;
  return bucket < SUB ? bucket : (uint64_t)(SUB + bucket % SUB) << (power - 5);
}

static void histogram_add(histogram *h, uint64_t ns) {
  h->count[bucket_of(ns)]++;
  h->n++;
  if (ns > h->most) h->most = ns;
}

static uint64_t histogram_at(const histogram *h, double part) {
  uint64_t want = (uint64_t)(part * (double)h->n), seen = 0;
  for (size_t i = 0; i < BUCKETS; i++)
    if ((seen += h->count[i]) > want) return bucket_begin(i);
  return h->most;
}

/* ----------------------------------------------------------------------------------- the sample */
static bool draw_sample(bench *b) {
  maph_cursor *c = NULL;
  maph_entry e;
  maph_stats s;
  uint64_t seen = 0;
  int rc = maph_stat(b->checked, &s);
  b->keys = malloc(SAMPLE_MOST * sizeof *b->keys);
  if (b->keys == NULL) {
    complain("out of memory");
    return false;
  }
  if (rc == MAPH_OK) rc = maph_cursor_open(b->checked, NULL, maph_str(""), &c);
  while (rc == MAPH_OK && !stop_asked() && (rc = maph_cursor_next(c, &e)) == MAPH_OK) {
    uint64_t place = seen < SAMPLE_MOST ? seen : random_below(b, seen + 1);
    if (place < SAMPLE_MOST) b->keys[place] = e.key;
    progress_show(++seen, s.records, NUMBER);
  }
  maph_cursor_close(c);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) {
    store_failed(b->a->operand[0], rc);
    return false;
  }
  b->records = seen;
  b->n = seen < SAMPLE_MOST ? (size_t)seen : SAMPLE_MOST;
  for (size_t i = b->n; i > 1; i--) {
    size_t k = (size_t)random_below(b, i);
    maph_slice kept = b->keys[k];
    b->keys[k] = b->keys[i - 1];
    b->keys[i - 1] = kept;
  }
  if (seen == 0) complain("%s has no keys to measure with", b->a->operand[0]);
  return seen > 0 && !stop_asked();
}

/* Keys that are not there: those of the sample, with other bytes at their ends. */
static bool make_misses(bench *b) {
  b->misses = malloc(b->n * sizeof *b->misses);
  if (b->misses == NULL) {
    complain("out of memory");
    return false;
  }
  for (size_t i = 0; i < b->n; i++) {
    size_t kept = b->keys[i].size < MISS_BYTES ? 0 : b->keys[i].size - MISS_BYTES;
    char *key = arena_take(&b->arena, kept + MISS_BYTES);
    if (key == NULL) {
      complain("out of memory");
      return false;
    }
    memcpy(key, b->keys[i].data, kept);
    for (size_t k = kept; k < kept + MISS_BYTES; k++) key[k] = (char)random_below(b, 256);
    b->misses[b->miss_count] = maph_bytes(key, kept + MISS_BYTES);
    if (maph_exists(b->checked, b->misses[b->miss_count]) == MAPH_NOTFOUND) b->miss_count++;
  }
  return true;
}

/* ------------------------------------------------------------------------------------ measuring */
static void read_value(bench *b, maph_slice value) {
  const char *p = value.data;
  uint64_t word, sum = 0;
  size_t i = 0;
  for (; i + sizeof word <= value.size; i += sizeof word) {
    memcpy(&word, p + i, sizeof word);
    sum += word;
  }
  for (; i < value.size; i++) sum += (unsigned char)p[i];
  b->sum += sum;
}

static void get_one(bench *b, maph *m, maph_slice key) {
  maph_slice value;
  int rc = maph_get(m, key, &value);
  if (rc == MAPH_OK)
    read_value(b, value);
  else if (rc != MAPH_NOTFOUND)
    b->rc = rc; /* deleted or expired meanwhile is no fault */
}

static void get_round(bench *b, maph *m, const maph_slice *keys, size_t n, bool many) {
  maph_slice values[MANY];
  for (size_t i = 0; i < n && b->rc == MAPH_OK && !stop_asked(); i += MANY) {
    size_t some = n - i < MANY ? n - i : MANY;
    if (!many) {
      for (size_t k = 0; k < some; k++) get_one(b, m, keys[i + k]);
      continue;
    }
    b->rc = maph_get_many(m, some, keys + i, values);
    for (size_t k = 0; k < some && b->rc == MAPH_OK; k++)
      if (values[k].data) read_value(b, values[k]);
  }
}

/* How far it is, spent_ns into this step. */
static void tell(bench *b, uint64_t spent_ns) {
  uint64_t limit = b->a->time_ms * 1000000;
  progress_show(b->step * limit + (spent_ns < limit ? spent_ns : limit), b->steps * limit,
                NO_AMOUNT);
}

static double rate(bench *b, maph *m, const maph_slice *keys, size_t n, bool many) {
  uint64_t begin, end = 0, limit = b->a->time_ms * 1000000, gets = 0;
  size_t from = 0;
  get_round(b, m, keys, n, many); /* brings the pages in */
  begin = now_ns();
  do {
    size_t some = n - from < ROUND ? n - from : ROUND;
    get_round(b, m, keys + from, some, many);
    gets += some;
    from = from + some < n ? from + some : 0;
    end = now_ns();
    tell(b, end - begin);
  } while (end - begin < limit && b->rc == MAPH_OK && !stop_asked());
  b->step++;
  return (double)gets * 1e9 / (double)(end - begin + 1);
}

static void percentiles(bench *b, maph *m, const maph_slice *keys, size_t n, result *r) {
  static histogram h;
  uint64_t begin = now_ns(), before = begin, limit = b->a->time_ms * 1000000;
  memset(&h, 0, sizeof h);
  for (size_t i = 0; before - begin < limit && b->rc == MAPH_OK && !stop_asked();
       i = i + 1 < n ? i + 1 : 0) {
    uint64_t after;
    get_one(b, m, keys[i]);
    after = now_ns();
    histogram_add(&h, after - before);
    before = after;
    if (h.n % ROUND) continue;
    tell(b, after - begin);
    before = now_ns(); /* telling is no part of the next get */
  }
  b->step++;
  r->p50 = histogram_at(&h, 0.5);
  r->p99 = histogram_at(&h, 0.99);
  r->p999 = histogram_at(&h, 0.999);
  r->most = h.most;
}

static uint64_t clock_cost(void) {
  enum { READINGS = 10000 };
  uint64_t begin = now_ns();
  for (int i = 0; i < READINGS; i++) now_ns();
  return (now_ns() - begin) / READINGS;
}

static void measure_scan(bench *b, result *r) {
  maph_cursor *c = NULL;
  maph_entry e;
  uint64_t begin = now_ns(), end = begin, limit = b->a->time_ms * 1000000, entries = 0, bytes = 0;
  do {
    int rc = maph_cursor_open(b->checked, NULL, maph_str(""), &c);
    while (rc == MAPH_OK && (rc = maph_cursor_next(c, &e)) == MAPH_OK) {
      entries++;
      bytes += e.key.size + e.value.size;
      read_value(b, e.value);
      if (entries % 1024) continue;
      tell(b, (end = now_ns()) - begin);
      if (end - begin >= limit || stop_asked()) break;
    }
    maph_cursor_close(c);
    if (rc != MAPH_OK && rc != MAPH_NOTFOUND) b->rc = rc;
    end = now_ns();
  } while (end - begin < limit && b->rc == MAPH_OK && !stop_asked());
  *r = (result){ .name = "scan",
                 .label = "scan",
                 .rate = (double)entries * 1e9 / (double)(end - begin + 1),
                 .bytes_rate = (double)bytes * 1e9 / (double)(end - begin + 1) };
}

/* --------------------------------------------------------------------------------------- report */
static const char *rate_for_people(double each, char room[32]) {
  if (each >= 1e6)
    snprintf(room, 32, "%.2f M/s", each / 1e6);
  else if (each >= 1e3)
    snprintf(room, 32, "%.0f k/s", each / 1e3);
  else
    snprintf(room, 32, "%.0f /s", each);
  return room;
}

static const char *time_for_people(uint64_t ns, char room[32]) {
  if (ns < 10000)
    snprintf(room, 32, "%llu ns", (unsigned long long)ns);
  else if (ns < 10000000)
    snprintf(room, 32, "%.1f us", (double)ns / 1e3);
  else
    snprintf(room, 32, "%.1f ms", (double)ns / 1e6);
  return room;
}

static void show_result(const result *r) {
  output *o = &standard_output;
  char room[4][32];
  output_format(o, "  %-20s %11s", r->label, rate_for_people(r->rate, room[0]));
  if (r->p50)
    output_format(o, "   p50 %8s   p99 %8s   p99.9 %8s   most %8s",
                  time_for_people(r->p50, room[0]), time_for_people(r->p99, room[1]),
                  time_for_people(r->p999, room[2]), time_for_people(r->most, room[3]));
  if (r->bytes_rate > 0)
    output_format(o, "   %s/s", bytes_for_people((uint64_t)r->bytes_rate, room[0]));
  output_text(o, "\n");
}

static void show(const bench *b, const result *results, int n) {
  output *o = &standard_output;
  char keys[40], sample[32];
  output_shown(o, maph_str(b->a->operand[0]));
  output_format(o,
                ": %s; a sample of %s in random order, one thread, after one round to bring them "
                "into memory\n\n",
                count_of(b->records, "key", keys), count_for_people(b->n, sample));
  for (int i = 0; i < n; i++) show_result(&results[i]);
  output_format(o,
                "\n  checked: the checksum of each value is verified, as this program always does "
                "it; a C program may leave it.\n"
                "  The percentiles include about %llu ns for reading the clock. Whatever else this "
                "machine does counts in:\n"
                "  repeat it, and compare only figures of one machine.\n",
                (unsigned long long)clock_cost());
  if (b->share < 0.9)
    output_format(
        o, "  It ran for only %.0f %% of the time: other programs were at work, or the disk was.\n",
        100 * b->share);
}

static void show_json(const bench *b, const result *results, int n) {
  output *o = &standard_output;
  output_format(o, "{\"keys\":%llu,\"sample\":%zu,\"clock_ns\":%llu,\"cpu_share\":%.3f",
                (unsigned long long)b->records, b->n, (unsigned long long)clock_cost(), b->share);
  for (int i = 0; i < n; i++) {
    const result *r = &results[i];
    output_format(o, ",\"%s\":{\"per_second\":%.0f", r->name, r->rate);
    if (r->p50)
      output_format(o, ",\"p50_ns\":%llu,\"p99_ns\":%llu,\"p999_ns\":%llu,\"most_ns\":%llu",
                    (unsigned long long)r->p50, (unsigned long long)r->p99,
                    (unsigned long long)r->p999, (unsigned long long)r->most);
    if (r->bytes_rate > 0) output_format(o, ",\"bytes_per_second\":%.0f", r->bytes_rate);
    output_text(o, "}");
  }
  output_text(o, "}\n");
}

static int measure(bench *b) {
  result results[6];
  uint64_t began, ran;
  int n = 0;
  progress_start(b->a, "bench: reading the keys");
  if (!draw_sample(b) || !make_misses(b)) return FAILED;
  b->steps = b->miss_count ? 9 : 7;
  progress_start(b->a, "bench: measuring");
  began = now_ns();
  ran = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  results[n] = (result){ .name = "get",
                         .label = "get, checked",
                         .rate = rate(b, b->checked, b->keys, b->n, false) };
  percentiles(b, b->checked, b->keys, b->n, &results[n++]);
  results[n] = (result){ .name = "get_unchecked",
                         .label = "get, unchecked",
                         .rate = rate(b, b->unchecked, b->keys, b->n, false) };
  percentiles(b, b->unchecked, b->keys, b->n, &results[n++]);
  results[n++] = (result){ .name = "get_many",
                           .label = "get_many, checked",
                           .rate = rate(b, b->checked, b->keys, b->n, true) };
  results[n++] = (result){ .name = "get_many_unchecked",
                           .label = "get_many, unchecked",
                           .rate = rate(b, b->unchecked, b->keys, b->n, true) };
  if (b->miss_count) {
    results[n] = (result){ .name = "miss",
                           .label = "miss",
                           .rate = rate(b, b->checked, b->misses, b->miss_count, false) };
    percentiles(b, b->checked, b->misses, b->miss_count, &results[n++]);
  }
  measure_scan(b, &results[n++]);
  b->share = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - ran) / (double)(now_ns() - began + 1);
  progress_end();
  if (b->rc != MAPH_OK || stop_asked() || file_cut_short())
    return store_failed(b->a->operand[0], b->rc);
  if (b->a->json)
    show_json(b, results, n);
  else
    show(b, results, n);
  return output_end(&standard_output) ? DONE : FAILED;
}

int command_bench(arguments *a) {
  const char *path = a->operand[0];
  bench b = { .a = a, .random = now_ns() | 1 };
  int rc, status = FAILED;
  b.checked = store_open(a, path, MAPH_RDONLY);
  if (b.checked == NULL) return FAILED;
  rc = maph_open(path, MAPH_RDONLY, NULL, &b.unchecked);
  if (rc != MAPH_OK)
    status = store_failed(path, rc);
  else
    status = measure(&b);
  maph_close(b.unchecked);
  status = store_close(b.checked, path, status);
  arena_free(&b.arena);
  free(b.keys);
  free(b.misses);
  return status;
}
