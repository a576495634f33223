/*
** bench.h - what every room of the benchmark shares: the clock, the entrants, the sections, the
** results.
**
** The benchmark runs one workload over several key-value stores ("peers", peer.h) in one process
** and by turns: for each run, for each section, for each peer.  So whatever else the machine does
** meanwhile falls on all of them, and the ratios hold where the absolute figures do not.
**
** A run goes through one or more sets (sets.c): so many keys, values of such sizes, and what is
** measured with them.  Where the stores of all peers do not fit into memory side by side, they take
** part in groups.
**
**   main.c            options
**   run.c             the run loop, the data folder
**   sets.c            the sets of keys and values
**   sections.c        the list of what is measured
**   workload.c        keys, values and the order of gets: all from one seed, all made before the
**                     clock starts
**   peers.c           the list of stores
**   peer_*.c          one store each, behind the functions of peer.h
**   section_read.c    gets, latencies, misses, get_many, scan
**   section_write.c   loads, puts, their slowest
**   section_reader.c  reading processes and threads
**   section_open.c    opening, bytes
**   section_sql.c     the same SQL over a maph table and an ordinary one
**   section_ycsb.c    YCSB's six workloads
**   section_maph.c    rewrites, ways to map the file
**   entrant.c         a peer's store: loaded, opened, checked
**   folder.c          data folders and the disk
**   results.c         figures, medians, CSV
**   report.c          tables, ratios and targets
**   chart.c           the SVG picture
**   machine.c         what machine this is
*/
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "peer.h"
#include "workload.h"

enum { MAX_PEERS = 16, MAX_RUNS = 99, READER_STEPS = 10 };

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The clock of loops that only read a warm store: now_ns, or with --cpu-time the processor time of
** this thread, which on a busy machine leaves out the waiting for a processor (but not the caches
** that others emptied). */
uint64_t loop_ns(void);
/* processor time of this thread */
uint64_t thread_ns(void);

/* Print one sentence and end the program with status 1; the data folder is removed on the way
** out. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void *must_alloc(size_t size);

/* -------------------------------------------------------------------------------------- figures */
typedef enum metric {
  BULK_OFF,
  BULK_FULL,
  LOADED,
  LOADED_CPU,
  OVERHEAD,
  ON_DISK,
  INDEX_BYTES,
  GET,
  GET_ENDS,
  GET_P50,
  GET_P99,
  GET_P999,
  DEPENDENT,
  COLD_LINE,
  MISS,
  MANY,
  SCAN,
  SCAN_BYTES,
  ORDERED_SCAN,
  RANGE_10,
  RANGE_100,
  /* of 1, 2, 4 ... readers: reader_count */
  PROCESSES,
  PROCESSES_LAST = PROCESSES + READER_STEPS - 1,
  THREADS,
  THREADS_LAST = THREADS + READER_STEPS - 1,
  PUT,
  PUT_FULL,
  UPDATE,
  DURABLE_PUT,
  DURABLE_BATCH,
  DURABLE_BATCH_FULL,
  DURABLE_BATCH_OLD,
  YCSB_A,
  YCSB_B,
  YCSB_C,
  YCSB_D,
  YCSB_E,
  YCSB_F,
  OPTIMIZE_TIME,
  OPTIMIZE_CPU,
  OPTIMIZE_MEMORY,
  OPTIMIZE_PAUSE,
  OPTIMIZE_BITS,
  CHANGED_GET,
  CHANGED_DEPENDENT,
  CHANGED_MANY,
  KINDS_GET,
  KINDS_DEPENDENT,
  KINDS_MANY,
  COMPACT_TIME,
  COMPACT_CPU,
  COMPACT_PAUSE,
  COMPACT_SLOWEST,
  COMPACT_PUTS,
  OPTION_FIRST,
  OPTION_FIRST_LAST = OPTION_FIRST + OPEN_OPTIONS - 1,
  OPTION_GET,
  OPTION_GET_LAST = OPTION_GET + OPEN_OPTIONS - 1,
  OPTION_DEPENDENT,
  OPTION_DEPENDENT_LAST = OPTION_DEPENDENT + OPEN_OPTIONS - 1,
  OPTION_MANY,
  OPTION_MANY_LAST = OPTION_MANY + OPEN_OPTIONS - 1,
  OPEN,
  OPEN_SMALL,
  TAIL_P50,
  TAIL_P99,
  TAIL_P999,
  TAIL_P99999,
  TAIL_MAX,
  TAIL_SWITCHES,
  TAIL_KEPT_P99999,
  TAIL_KEPT_MAX,
  SQL_SELECT,
  SQL_IN,
  SQL_JOIN,
  SQL_PAGE,
  SQL_SUM,
  SQL_INSERT,
  METRICS
} metric;

typedef struct results {
  int peers, runs;
  const peer *peer[MAX_PEERS];
  uint32_t keys; /* of the set */
  size_t value_min, value_max;
  double value[METRICS][MAX_PEERS][MAX_RUNS]; /* NaN: not measured */
} results;

typedef enum unit {
  PER_SECOND,
  NANOSECONDS,
  BYTES,
  BITS,
  MEGABYTES,
  GIGABYTES_PER_SECOND,
  COUNT
} unit;
/* name: in the CSV */
typedef struct metric_info {
  const char *name, *title;
  unit unit;
} metric_info;
const metric_info *metric_about(metric m);
const char *unit_name(unit u); /* in the CSV */
int more_is_better(unit u);

results *results_new(void);
int results_column(const results *results, const char *name);        /* -1: it takes no part */
double results_median(const results *results, metric m, int column); /* NaN: never measured */
void results_csv_head(FILE *out);
/* every run and the medians */
void results_csv(const results *results, const char *set_name, FILE *out);
const char *format_value(double value, unit u,
                         char text[32]); /* "7.21M", "319k", "2987", "412 ns", "1.3 ms" */
void report_medians(const results *results, FILE *out);
/* how many times better maph is than each peer */
void report_ratios(const results *results, FILE *out);
/* maph against each target that was measured */
void report_targets(const results *results, const char *set_name, FILE *out);

/* The chart and the README's table are made of the medians of one or more sets, the usual case
** first. */
typedef struct set_results {
  const char *set;
  const results *results;
} set_results;
/* NULL: not among them */
const results *results_of_set(const set_results *sets, int n, const char *name);
void results_say_set(const results *results, FILE *out); /* "1000000 keys, values of 200 bytes" */
void chart_write(const set_results *sets, int n, FILE *out);
void report_markdown(const set_results *sets, int n, FILE *out);

/* Processor, processors, memory, kernel, page size, in one line. */
const char *machine_line(void);
uint64_t machine_memory(void); /* bytes that can be had now */
/* Before a store is filled.  A virtual machine's host takes back what lies free for some seconds,
** in blocks of 2 MiB, and to give a page again costs it up to tenths of a millisecond: that is
** paid here, so that it is in nobody's figure. */
void memory_settle(void);

/* ----------------------------------------------------------------------------------------- sets */
typedef struct set {
  const char *name;
  uint32_t keys;
  size_t value_min, value_max;
  const char *sections; /* a list with commas; NULL: all that are not asked_only */
  int runs;             /* 0: as --runs says */
  double seconds;       /* 0: as --seconds says */
  const char *help;
} set;
extern const set all_sets[]; /* ends with a NULL name */
/* is the name one of those in a list with commas? */
int list_has(const char *list, const char *name);

/* -------------------------------------------------------------------------------------- entrant */
/* One peer's store in this benchmark, and the state it is in. */
typedef struct entrant {
  const peer *peer;
  int index;        /* column in the results */
  char folder[512]; /* this peer's own */
  char fresh[520];  /* of the stores that sections make for themselves */
  void *store;      /* open store or NULL */
  level level;      /* it is open at */
  int loaded;       /* the folder holds the workload's keys */
  int changed;      /* and others besides, or other values */
  /* since it was opened for reading every get was checked, and so every page touched */
  int checked;
  uint64_t file_bytes, disk_bytes; /* of the folder after the load */
} entrant;

/* What a get's caller reads of the value. */
typedef enum touch { TOUCH_NONE, TOUCH_FIRST, TOUCH_ENDS, TOUCH_ALL } touch;

typedef struct bench {
  workload work;
  results *results;
  entrant entrants[MAX_PEERS];
  int peers;
  int runs;
  double seconds; /* a timed loop lasts so long, if it has enough to do */
  uint32_t batch; /* keys a get_many */
  touch touch;
  int cpu_time;
  key_set hits, misses; /* what the gets ask for, in that order */
  const char *wanted;   /* sections: a list; NULL: all that are not asked_only */
  const char *folder;   /* of all data */
  int run;              /* the one under way, from 0 */
} bench;

void entrant_report(bench *bench, entrant *entrant, metric m, double value);
void entrant_open(entrant *entrant, level at);
void entrant_close(entrant *entrant);
void entrant_drop(entrant *entrant); /* closed, its folder removed */
/* a new store with every key, closed; seconds spent in the peer */
double entrant_load(bench *bench, entrant *entrant, level at);
/* loaded, unchanged, open for reading, checked, warm */
void entrant_need_reading(bench *bench, entrant *entrant);
/* loaded, open for writing, the disk idle */
void entrant_need_writing(bench *bench, entrant *entrant, level at);
/* these fail on a wrong answer */
void check_hits(const peer *peer, void *store, const key_set *expected);
/* every key of the workload */
void check_keys(const workload *workload, const peer *peer, void *store);
void check_misses(const peer *peer, void *store, const key_set *missing);

/* every section, every run; peers: a list, NULL: all */
void run_set(bench *bench, const char *peers);
void stop_runs(int signal); /* a signal handler: the run ends with a sentence */

void folder_make(const char *folder); /* new and empty; what was there is removed */
void folder_remove(const char *folder);
void folder_sizes(const char *folder, uint64_t *bytes, uint64_t *on_disk);
/* let the disk finish what was written before */
void folder_settle(const char *folder);
void folder_evict(const char *folder); /* out of the page cache */
/* on a file system without a disk: no flush means anything */
int folder_in_memory(const char *folder);

/* ------------------------------------------------------------------------------------- sections */
typedef struct section {
  const char *name;
  int asked_only; /* not part of a run unless --only names it */
  void (*measure)(bench *b, entrant *e);
  const char *help;
} section;

void measure_bulk(bench *bench, entrant *entrant);
void measure_size(bench *bench, entrant *entrant);
void measure_load(bench *bench, entrant *entrant);
void measure_get(bench *bench, entrant *entrant);
void measure_ends(bench *bench, entrant *entrant);
void measure_latency(bench *bench, entrant *entrant);
void measure_dependent(bench *bench, entrant *entrant);
void measure_miss(bench *bench, entrant *entrant);
void measure_many(bench *bench, entrant *entrant);
void measure_readers(bench *bench, entrant *entrant);
void measure_scan(bench *bench, entrant *entrant);
void measure_ordered(bench *bench, entrant *entrant);
void measure_put(bench *bench, entrant *entrant);
void measure_update(bench *bench, entrant *entrant);
void measure_durable(bench *bench, entrant *entrant);
void measure_batch(bench *bench, entrant *entrant);
void measure_put_full(bench *bench, entrant *entrant);
void measure_batch_full(bench *bench, entrant *entrant);
void measure_batch_old(bench *bench, entrant *entrant);
void measure_ycsb_a(bench *bench, entrant *entrant);
void measure_ycsb_b(bench *bench, entrant *entrant);
void measure_ycsb_c(bench *bench, entrant *entrant);
void measure_ycsb_d(bench *bench, entrant *entrant);
void measure_ycsb_e(bench *bench, entrant *entrant);
void measure_ycsb_f(bench *bench, entrant *entrant);
void measure_kinds(bench *bench, entrant *entrant);
void measure_rewrite(bench *bench, entrant *entrant);
void measure_options(bench *bench, entrant *entrant);
void measure_open(bench *bench, entrant *entrant);
void measure_tail(bench *bench, entrant *entrant);
void measure_sql(bench *bench, entrant *entrant);

extern const section all_sections[]; /* in the order they run; ends with a NULL name */

/* Gets a second, the list begun at place `from` of it.  TOUCH_NONE: every key must be missing; else
** every key must be found. */
double rate_of_gets(const peer *peer, void *store, const key_set *keys, uint32_t from, touch how,
                    double seconds);
/* keys a second, in batches */
double rate_of_many(const bench *bench, const peer *peer, void *store);
/* nanoseconds a get */
double time_of_dependent(const bench *bench, const peer *peer, void *store);
void sort_samples(uint32_t *samples, size_t n);
uint32_t percentile(const uint32_t *sorted, size_t n, double part); /* part 0..1 */
extern int most_readers; /* at one time: the processors, or what --readers says */
/* of the steps 1, 2, 4 ... most_readers; 0: none any more */
int reader_count(int step);
/* of a reading process: its exit status */
int reader_main(bench *bench, const peer *peer, const char *folder);

#endif
