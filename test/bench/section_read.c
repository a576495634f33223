/*
** section_read.c - gets and scans by one thread of a warm store that is open for reading.
**
** The keys' texts lie ready in the order they are asked for.  Every byte of each value is read, as
** a caller would (--touch first: only its first byte, ends: that and the last; this leaves the
** store's own part of the time; what is said of a store by one does not hold for the other, so each
** run names its choice).  Loops run by the clock, which is read once every BLOCK gets, and start
** the list of keys over when it ends.
*/
#include "bench.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  BLOCK = 2000, /* gets between two looks at the clock */
  LINE = 64     /* bytes of a line of the processor's cache */
};

/* what the values add up to; keeps the reads from being left out */
static _Thread_local volatile uint64_t sink;

static inline uint64_t read_value(slice value, touch how) {
  if (how == TOUCH_NONE) return 0;
  if (how == TOUCH_ALL) return read_bytes(value);
  const uint8_t *p = value.data;
  return how == TOUCH_FIRST ? p[0] : (uint64_t)p[0] + p[value.size - 1];
}

double rate_of_gets(const peer *peer, void *store, const key_set *keys, uint32_t from, touch how,
                    double seconds) {
  uint64_t done = 0, found = 0, sum = 0, start = loop_ns(), elapsed;
  slice value = { "", 1 };
  uint32_t at = from;
  do {
    for (int i = 0; i < BLOCK; i++) {
      found += (uint64_t)peer->get(store, keys->keys[at], &value);
      sum += read_value(value, how);
      if (++at == keys->n) at = 0;
    }
    done += BLOCK;
    elapsed = loop_ns() - start;
  } while ((double)elapsed < seconds * 1e9);
  if (found != (how == TOUCH_NONE ? 0 : done))
    fail("%s: %llu of %llu gets found their key", peer->name, (unsigned long long)found,
         (unsigned long long)done);
  sink = sum;
  return (double)done / ((double)elapsed * 1e-9);
}

void measure_get(bench *bench, entrant *entrant) {
  entrant_need_reading(bench, entrant);
  entrant_report(
      bench, entrant, GET,
      rate_of_gets(entrant->peer, entrant->store, &bench->hits, 0, bench->touch, bench->seconds));
}

void measure_ends(bench *bench, entrant *entrant) {
  entrant_need_reading(bench, entrant);
  entrant_report(
      bench, entrant, GET_ENDS,
      rate_of_gets(entrant->peer, entrant->store, &bench->hits, 0, TOUCH_ENDS, bench->seconds));
}

void measure_miss(bench *bench, entrant *entrant) {
  entrant_need_reading(bench, entrant);
  entrant_report(
      bench, entrant, MISS,
      rate_of_gets(entrant->peer, entrant->store, &bench->misses, 0, TOUCH_NONE, bench->seconds));
}

static int compare_samples(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

void sort_samples(uint32_t *samples, size_t n) {
  qsort(samples, n, sizeof *samples, compare_samples);
}

uint32_t percentile(const uint32_t *sorted, size_t n, double part) {
  size_t rank = (size_t)ceil(part * (double)n);
  return sorted[rank > 0 ? rank - 1 : 0];
}

/* The cost of reading the clock is in every sample, for every peer. */
void measure_latency(bench *bench, entrant *entrant) {
  entrant_need_reading(bench, entrant);
  uint32_t *sample = must_alloc(sizeof *sample * bench->hits.n), n = 0;
  uint64_t sum = 0, deadline = now_ns() + (uint64_t)(2e9 * bench->seconds), before, after = 0;
  slice value = { "", 1 };
  for (; n < bench->hits.n && after < deadline; n++) {
    before = now_ns();
    entrant->peer->get(entrant->store, bench->hits.keys[n], &value);
    sum += read_value(value, bench->touch);
    after = now_ns();
    sample[n] = (uint32_t)(after - before);
  }
  sink = sum;
  sort_samples(sample, n);
  entrant_report(bench, entrant, GET_P50, percentile(sample, n, 0.5));
  entrant_report(bench, entrant, GET_P99, percentile(sample, n, 0.99));
  entrant_report(bench, entrant, GET_P999, percentile(sample, n, 0.999));
  free(sample);
}

/* Nanoseconds a get when the processor cannot start one before the last one's value has arrived:
** its first eight bytes, mixed with the count of gets (so that the walk cannot close into a short
** circle), are the next key's number. */
double time_of_dependent(const bench *bench, const peer *peer, void *store) {
  uint64_t done = 0, word = bench->work.seed, start = loop_ns(), elapsed;
  slice value = { "", 1 };
  char text[KEY_ROOM];
  do {
    for (int i = 0; i < BLOCK; i++) {
      word = (word ^ (done + (uint64_t)i)) * 0x9e3779b97f4a7c15u;
      uint32_t number = (uint32_t)(((word >> 32) * bench->work.keys) >> 32);
      if (!peer->get(store, workload_key(number, text), &value))
        fail("%s: key:%u is missing", peer->name, number);
      memcpy(&word, value.data, 8);
    }
    done += BLOCK;
    elapsed = loop_ns() - start;
  } while ((double)elapsed < bench->seconds * 1e9);
  return (double)elapsed / (double)done;
}

/* Nanoseconds a load whose place depends on the load before, at random in a file, by way of a key's
** text: what no store can be faster than whose records are not in the processor's cache. */
static double time_of_line(const bench *bench, const uint8_t *file, uint64_t lines) {
  uint64_t done = 0, word = bench->work.seed, start = loop_ns(), elapsed;
  char text[KEY_ROOM] = "";
  do {
    for (int i = 0; i < BLOCK; i++) {
      word = (word ^ (done + (uint64_t)i)) * 0x9e3779b97f4a7c15u;
      workload_key((uint32_t)(((word >> 32) * bench->work.keys) >> 32), text);
      word = mix(word_of(text + KEY_ROOM - 8));
      memcpy(&word, file + ((word >> 32) * lines >> 32) * LINE, 8);
    }
    done += BLOCK;
    elapsed = loop_ns() - start;
  } while ((double)elapsed < bench->seconds * 1e9);
  sink = word;
  return (double)elapsed / (double)done;
}

static void measure_line(bench *bench, entrant *entrant) {
  char path[600];
  struct stat st;
  uint64_t lines, sum = 0;
  snprintf(path, sizeof path, "%s/%s", entrant->folder, entrant->peer->file);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st)) fail("%s: cannot read %s", entrant->peer->name, path);
  const uint8_t *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (file == MAP_FAILED) fail("%s: cannot map %s", entrant->peer->name, path);
  lines = (uint64_t)st.st_size / LINE;
  for (uint64_t i = 0; i < lines; i++) sum += file[i * LINE]; /* every page is mapped then */
  sink = sum;
  entrant_report(bench, entrant, COLD_LINE, time_of_line(bench, file, lines));
  munmap((void *)file, (size_t)st.st_size);
  close(fd);
}

void measure_dependent(bench *bench, entrant *entrant) {
  entrant_need_reading(bench, entrant);
  entrant_report(bench, entrant, DEPENDENT,
                 time_of_dependent(bench, entrant->peer, entrant->store));
  if (entrant->peer->file) measure_line(bench, entrant);
}

double rate_of_many(const bench *bench, const peer *peer, void *store) {
  uint32_t size = bench->batch < bench->hits.n ? bench->batch : bench->hits.n, at = 0;
  slice *values = must_alloc(sizeof *values * size);
  uint64_t done = 0, sum = 0, start = loop_ns(), elapsed;
  do {
    for (uint32_t block = 0; block < BLOCK; block += size) {
      if (at > bench->hits.n - size) at = 0;
      peer->get_many(store, size, bench->hits.keys + at, values);
      for (uint32_t i = 0; i < size; i++) sum += read_value(values[i], bench->touch);
      at += size;
      done += size;
    }
    elapsed = loop_ns() - start;
  } while ((double)elapsed < bench->seconds * 1e9);
  sink = sum;
  free(values);
  return (double)done / ((double)elapsed * 1e-9);
}

void measure_many(bench *bench, entrant *entrant) {
  if (!entrant->peer->get_many) return;
  entrant_need_reading(bench, entrant);
  entrant_report(bench, entrant, MANY, rate_of_many(bench, entrant->peer, entrant->store));
}

void measure_scan(bench *bench, entrant *entrant) {
  entrant_need_reading(bench, entrant);
  scan_total total = { 0, 0, 0 };
  uint64_t start = loop_ns(), elapsed;
  do {
    entrant->peer->scan(entrant->store, &total);
    elapsed = loop_ns() - start;
  } while ((double)elapsed < bench->seconds * 1e9);
  sink = total.sum;
  entrant_report(bench, entrant, SCAN, (double)total.entries / ((double)elapsed * 1e-9));
  entrant_report(bench, entrant, SCAN_BYTES, (double)total.bytes / (double)elapsed);
}

/* Ranges of n entries from one key after another, a second: all entries from the least key, or from
** the keys that gets ask for. */
static double rate_of_ranges(const bench *bench, const entrant *entrant, uint32_t n,
                             uint64_t *entries) {
  scan_total total = { 0, 0, 0 };
  uint64_t done = 0, start = loop_ns(), elapsed;
  uint32_t at = 0;
  do {
    slice from = n < bench->work.keys ? bench->hits.keys[at] : maph_bytes("key:0", 5);
    entrant->peer->scan_from(entrant->store, from, n, &total);
    if (++at == bench->hits.n) at = 0;
    done++;
    elapsed = loop_ns() - start;
  } while ((double)elapsed < bench->seconds * 1e9);
  sink = total.sum;
  *entries = total.entries;
  return (double)done / ((double)elapsed * 1e-9);
}

void measure_ordered(bench *bench, entrant *entrant) {
  uint64_t entries;
  double rate;
  if (!entrant->peer->scan_from) return;
  entrant_need_reading(bench, entrant);
  rate = rate_of_ranges(bench, entrant, bench->work.keys, &entries);
  if (entries % bench->work.keys) fail("%s: a scan in key order missed keys", entrant->peer->name);
  entrant_report(bench, entrant, ORDERED_SCAN, rate * bench->work.keys);
  entrant_report(bench, entrant, RANGE_10, rate_of_ranges(bench, entrant, 10, &entries));
  entrant_report(bench, entrant, RANGE_100, rate_of_ranges(bench, entrant, 100, &entries));
}
