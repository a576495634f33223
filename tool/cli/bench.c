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
  const arguments *args;
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
static uint64_t random_below(bench *bench, uint64_t n) {
  bench->random ^= bench->random >> 12;
  bench->random ^= bench->random << 25;
  bench->random ^= bench->random >> 27;
  return (bench->random * 0x2545F4914F6CDD1Du >> 11) % n;
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

static void histogram_add(histogram *histogram, uint64_t ns) {
  histogram->count[bucket_of(ns)]++;
  histogram->n++;
  if (ns > histogram->most) histogram->most = ns;
}

static uint64_t histogram_at(const histogram *histogram, double part) {
  uint64_t want = (uint64_t)(part * (double)histogram->n), seen = 0;
  for (size_t i = 0; i < BUCKETS; i++)
    if ((seen += histogram->count[i]) > want) return bucket_begin(i);
  return histogram->most;
}

/* ----------------------------------------------------------------------------------- the sample */
static bool draw_sample(bench *bench) {
  maph_cursor *cursor = NULL;
  maph_entry entry;
  maph_stats stats;
  uint64_t seen = 0;
  int rc = maph_stat(bench->checked, &stats);
  bench->keys = malloc(SAMPLE_MOST * sizeof *bench->keys);
  if (bench->keys == NULL) {
    complain("out of memory");
    return false;
  }
  if (rc == MAPH_OK) rc = maph_cursor_open(bench->checked, NULL, maph_str(""), &cursor);
  while (rc == MAPH_OK && !stop_asked() && (rc = maph_cursor_next(cursor, &entry)) == MAPH_OK) {
    uint64_t place = seen < SAMPLE_MOST ? seen : random_below(bench, seen + 1);
    if (place < SAMPLE_MOST) bench->keys[place] = entry.key;
    progress_show(++seen, stats.records, NUMBER);
  }
  maph_cursor_close(cursor);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) {
    store_failed(bench->args->operand[0], rc);
    return false;
  }
  bench->records = seen;
  bench->n = seen < SAMPLE_MOST ? (size_t)seen : SAMPLE_MOST;
  for (size_t i = bench->n; i > 1; i--) {
    size_t k = (size_t)random_below(bench, i);
    maph_slice kept = bench->keys[k];
    bench->keys[k] = bench->keys[i - 1];
    bench->keys[i - 1] = kept;
  }
  if (seen == 0) complain("%s has no keys to measure with", bench->args->operand[0]);
  return seen > 0 && !stop_asked();
}

/* Keys that are not there: those of the sample, with other bytes at their ends. */
static bool make_misses(bench *bench) {
  bench->misses = malloc(bench->n * sizeof *bench->misses);
  if (bench->misses == NULL) {
    complain("out of memory");
    return false;
  }
  for (size_t i = 0; i < bench->n; i++) {
    size_t kept = bench->keys[i].size < MISS_BYTES ? 0 : bench->keys[i].size - MISS_BYTES;
    char *key = arena_take(&bench->arena, kept + MISS_BYTES);
    if (key == NULL) {
      complain("out of memory");
      return false;
    }
    memcpy(key, bench->keys[i].data, kept);
    for (size_t k = kept; k < kept + MISS_BYTES; k++) key[k] = (char)random_below(bench, 256);
    bench->misses[bench->miss_count] = maph_bytes(key, kept + MISS_BYTES);
    if (maph_exists(bench->checked, bench->misses[bench->miss_count]) == MAPH_NOTFOUND)
      bench->miss_count++;
  }
  return true;
}

/* ------------------------------------------------------------------------------------ measuring */
static void read_value(bench *bench, maph_slice value) {
  const char *p = value.data;
  uint64_t word, sum = 0;
  size_t i = 0;
  for (; i + sizeof word <= value.size; i += sizeof word) {
    memcpy(&word, p + i, sizeof word);
    sum += word;
  }
  for (; i < value.size; i++) sum += (unsigned char)p[i];
  bench->sum += sum;
}

static void get_one(bench *bench, maph *m, maph_slice key) {
  maph_slice value;
  int rc = maph_get(m, key, &value);
  if (rc == MAPH_OK)
    read_value(bench, value);
  else if (rc != MAPH_NOTFOUND)
    bench->rc = rc; /* deleted or expired meanwhile is no fault */
}

static void get_round(bench *bench, maph *m, const maph_slice *keys, size_t n, bool many) {
  maph_slice values[MANY];
  for (size_t i = 0; i < n && bench->rc == MAPH_OK && !stop_asked(); i += MANY) {
    size_t some = n - i < MANY ? n - i : MANY;
    if (!many) {
      for (size_t k = 0; k < some; k++) get_one(bench, m, keys[i + k]);
      continue;
    }
    bench->rc = maph_get_many(m, some, keys + i, values);
    for (size_t k = 0; k < some && bench->rc == MAPH_OK; k++)
      if (values[k].data) read_value(bench, values[k]);
  }
}

/* How far it is, spent_ns into this step. */
static void tell(bench *bench, uint64_t spent_ns) {
  uint64_t limit = bench->args->time_ms * 1000000;
  progress_show(bench->step * limit + (spent_ns < limit ? spent_ns : limit), bench->steps * limit,
                NO_AMOUNT);
}

static double rate(bench *bench, maph *m, const maph_slice *keys, size_t n, bool many) {
  uint64_t begin, end = 0, limit = bench->args->time_ms * 1000000, gets = 0;
  size_t from = 0;
  get_round(bench, m, keys, n, many); /* brings the pages in */
  begin = now_ns();
  do {
    size_t some = n - from < ROUND ? n - from : ROUND;
    get_round(bench, m, keys + from, some, many);
    gets += some;
    from = from + some < n ? from + some : 0;
    end = now_ns();
    tell(bench, end - begin);
  } while (end - begin < limit && bench->rc == MAPH_OK && !stop_asked());
  bench->step++;
  return (double)gets * 1e9 / (double)(end - begin + 1);
}

static void percentiles(bench *bench, maph *m, const maph_slice *keys, size_t n, result *result) {
  static histogram histogram;
  uint64_t begin = now_ns(), before = begin, limit = bench->args->time_ms * 1000000;
  memset(&histogram, 0, sizeof histogram);
  for (size_t i = 0; before - begin < limit && bench->rc == MAPH_OK && !stop_asked();
       i = i + 1 < n ? i + 1 : 0) {
    uint64_t after;
    get_one(bench, m, keys[i]);
    after = now_ns();
    histogram_add(&histogram, after - before);
    before = after;
    if (histogram.n % ROUND) continue;
    tell(bench, after - begin);
    before = now_ns(); /* telling is no part of the next get */
  }
  bench->step++;
  result->p50 = histogram_at(&histogram, 0.5);
  result->p99 = histogram_at(&histogram, 0.99);
  result->p999 = histogram_at(&histogram, 0.999);
  result->most = histogram.most;
}

static uint64_t clock_cost(void) {
  enum { READINGS = 10000 };
  uint64_t begin = now_ns();
  for (int i = 0; i < READINGS; i++) now_ns();
  return (now_ns() - begin) / READINGS;
}

static void measure_scan(bench *bench, result *result) {
  maph_cursor *cursor = NULL;
  maph_entry entry;
  uint64_t begin = now_ns(), end = begin, limit = bench->args->time_ms * 1000000, entries = 0,
           bytes = 0;
  do {
    int rc = maph_cursor_open(bench->checked, NULL, maph_str(""), &cursor);
    while (rc == MAPH_OK && (rc = maph_cursor_next(cursor, &entry)) == MAPH_OK) {
      entries++;
      bytes += entry.key.size + entry.value.size;
      read_value(bench, entry.value);
      if (entries % 1024) continue;
      tell(bench, (end = now_ns()) - begin);
      if (end - begin >= limit || stop_asked()) break;
    }
    maph_cursor_close(cursor);
    if (rc != MAPH_OK && rc != MAPH_NOTFOUND) bench->rc = rc;
    end = now_ns();
  } while (end - begin < limit && bench->rc == MAPH_OK && !stop_asked());
  *result = (struct result){ .name = "scan",
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

static void show_result(const result *result) {
  output *out = &standard_output;
  char room[4][32];
  output_format(out, "  %-20s %11s", result->label, rate_for_people(result->rate, room[0]));
  if (result->p50)
    output_format(out, "   p50 %8s   p99 %8s   p99.9 %8s   most %8s",
                  time_for_people(result->p50, room[0]), time_for_people(result->p99, room[1]),
                  time_for_people(result->p999, room[2]), time_for_people(result->most, room[3]));
  if (result->bytes_rate > 0)
    output_format(out, "   %s/s", bytes_for_people((uint64_t)result->bytes_rate, room[0]));
  output_text(out, "\n");
}

static void show(const bench *bench, const result *results, int n) {
  output *out = &standard_output;
  char keys[40], sample[32];
  output_shown(out, maph_str(bench->args->operand[0]));
  output_format(out,
                ": %s; a sample of %s in random order, one thread, after one round to bring them "
                "into memory\n\n",
                count_of(bench->records, "key", keys), count_for_people(bench->n, sample));
  for (int i = 0; i < n; i++) show_result(&results[i]);
  output_format(out,
                "\n  checked: the checksum of each value is verified, as this program always does "
                "it; a C program may leave it.\n"
                "  The percentiles include about %llu ns for reading the clock. Whatever else this "
                "machine does counts in:\n"
                "  repeat it, and compare only figures of one machine.\n",
                (unsigned long long)clock_cost());
  if (bench->share < 0.9)
    output_format(
        out,
        "  It ran for only %.0f %% of the time: other programs were at work, or the disk was.\n",
        100 * bench->share);
}

static void show_json(const bench *bench, const result *results, int n) {
  output *out = &standard_output;
  output_format(out, "{\"keys\":%llu,\"sample\":%zu,\"clock_ns\":%llu,\"cpu_share\":%.3f",
                (unsigned long long)bench->records, bench->n, (unsigned long long)clock_cost(),
                bench->share);
  for (int i = 0; i < n; i++) {
    const result *result = &results[i];
    output_format(out, ",\"%s\":{\"per_second\":%.0f", result->name, result->rate);
    if (result->p50)
      output_format(out, ",\"p50_ns\":%llu,\"p99_ns\":%llu,\"p999_ns\":%llu,\"most_ns\":%llu",
                    (unsigned long long)result->p50, (unsigned long long)result->p99,
                    (unsigned long long)result->p999, (unsigned long long)result->most);
    if (result->bytes_rate > 0)
      output_format(out, ",\"bytes_per_second\":%.0f", result->bytes_rate);
    output_text(out, "}");
  }
  output_text(out, "}\n");
}

static int measure(bench *bench) {
  result results[6];
  uint64_t began, ran;
  int n = 0;
  progress_start(bench->args, "bench: reading the keys");
  if (!draw_sample(bench) || !make_misses(bench)) return FAILED;
  bench->steps = bench->miss_count ? 9 : 7;
  progress_start(bench->args, "bench: measuring");
  began = now_ns();
  ran = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  results[n] = (result){ .name = "get",
                         .label = "get, checked",
                         .rate = rate(bench, bench->checked, bench->keys, bench->n, false) };
  percentiles(bench, bench->checked, bench->keys, bench->n, &results[n++]);
  results[n] = (result){ .name = "get_unchecked",
                         .label = "get, unchecked",
                         .rate = rate(bench, bench->unchecked, bench->keys, bench->n, false) };
  percentiles(bench, bench->unchecked, bench->keys, bench->n, &results[n++]);
  results[n++] = (result){ .name = "get_many",
                           .label = "get_many, checked",
                           .rate = rate(bench, bench->checked, bench->keys, bench->n, true) };
  results[n++] = (result){ .name = "get_many_unchecked",
                           .label = "get_many, unchecked",
                           .rate = rate(bench, bench->unchecked, bench->keys, bench->n, true) };
  if (bench->miss_count) {
    results[n] =
        (result){ .name = "miss",
                  .label = "miss",
                  .rate = rate(bench, bench->checked, bench->misses, bench->miss_count, false) };
    percentiles(bench, bench->checked, bench->misses, bench->miss_count, &results[n++]);
  }
  measure_scan(bench, &results[n++]);
  bench->share = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - ran) / (double)(now_ns() - began + 1);
  progress_end();
  if (bench->rc != MAPH_OK || stop_asked() || file_cut_short())
    return store_failed(bench->args->operand[0], bench->rc);
  if (bench->args->json)
    show_json(bench, results, n);
  else
    show(bench, results, n);
  return output_end(&standard_output) ? DONE : FAILED;
}

int command_bench(arguments *args) {
  const char *path = args->operand[0];
  bench bench = { .args = args, .random = now_ns() | 1 };
  int rc, status = FAILED;
  bench.checked = store_open(args, path, MAPH_RDONLY);
  if (bench.checked == NULL) return FAILED;
  rc = maph_open(path, MAPH_RDONLY, NULL, &bench.unchecked);
  if (rc != MAPH_OK)
    status = store_failed(path, rc);
  else
    status = measure(&bench);
  maph_close(bench.unchecked);
  status = store_close(bench.checked, path, status);
  arena_free(&bench.arena);
  free(bench.keys);
  free(bench.misses);
  return status;
}
