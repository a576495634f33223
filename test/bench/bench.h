/*
** bench.h - what every room of the benchmark shares: the clock, the entrants, the sections, the results.
**
** The benchmark runs one workload over several key-value stores ("peers", peer.h) in one process and by turns: for each
** run, for each section, for each peer.  So whatever else the machine does meanwhile falls on all of them, and the ratios
** hold where the absolute figures do not.
**
**   main.c            options, the run loop, the data folder
**   workload.c        keys, values and the order of gets: all from one seed, all made before the clock starts
**   sections.c        the list of what is measured
**   peer_*.c          one store each, behind the functions of peer.h
**   section_read.c    gets, latencies, misses, get_many, scan       section_write.c   loads, puts, their slowest
**   section_reader.c  reading processes                             section_open.c    opening, bytes
**   section_sql.c     the same SQL over a maph table and an ordinary one
**   entrant.c         a peer's store: loaded, opened, checked       folder.c          data folders and the disk
**   results.c         figures, medians, CSV                         report.c          tables and targets
*/
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
# define _GNU_SOURCE 1
#endif

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "peer.h"
#include "workload.h"

enum { MAX_PEERS = 16, MAX_RUNS = 99 };

static inline uint64_t now_ns(void){
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec*1000000000u + (uint64_t)t.tv_nsec;
}

/* The clock of loops that only read a warm store: now_ns, or with --cpu-time the processor time of this thread, which on a busy
** machine leaves out the waiting for a processor (but not the caches that others emptied). */
uint64_t loop_ns(void);

/* Print one sentence and end the program with status 1; the data folder is removed on the way out. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void *must_alloc(size_t size);

/* --------------------------------------------------------------------------------------------------- figures */
typedef enum metric {
  BULK_OFF, BULK_FULL, OVERHEAD, ON_DISK,
  GET, GET_P50, GET_P99, GET_P999, DEPENDENT, MISS, MANY, ONE_READER, TWO_READERS, SCAN, SCAN_BYTES,
  PUT, PUT_FULL, UPDATE, DURABLE_PUT, DURABLE_BATCH, DURABLE_BATCH_FULL,
  OPEN, OPEN_SMALL, TAIL_P50, TAIL_P99, TAIL_P999, TAIL_P99999, TAIL_MAX, TAIL_SWITCHES, TAIL_KEPT_P99999, TAIL_KEPT_MAX,
  SQL_SELECT, SQL_IN, SQL_JOIN, SQL_SUM, SQL_INSERT,
  METRICS
} metric;

typedef struct results {
  int    peers, runs;
  const  peer *peer[MAX_PEERS];
  double value[METRICS][MAX_PEERS][MAX_RUNS];   /* NaN: not measured */
} results;

typedef enum unit { PER_SECOND, NANOSECONDS, BYTES, GIGABYTES_PER_SECOND, COUNT } unit;
typedef struct metric_info { const char *name, *title; unit unit; } metric_info;   /* name: in the CSV */
extern const metric_info metric_infos[METRICS];

results *results_new(void);
double results_median(const results *r, metric m, int column); /* NaN: never measured */
int results_write_csv(const results *r, const char *path);     /* every run and the medians; 0, or -1 and errno */
void report_medians(const results *r, FILE *out);
void report_targets(const results *r, FILE *out);              /* maph against each target that was measured */

/* ---------------------------------------------------------------------------------------------------- entrant */
/* One peer's store in this benchmark, and the state it is in. */
typedef struct entrant {
  const peer *peer;
  int   index;             /* column in the results */
  char  folder[512];       /* this peer's own */
  char  fresh[520];        /* of the stores that sections make for themselves */
  void *store;             /* open store or NULL */
  level level;             /* it is open at */
  int   loaded;            /* the folder holds the workload's keys */
  int   changed;           /* and others besides, or other values */
  int   checked;           /* since it was opened for reading every get was checked, and so every page touched */
  uint64_t file_bytes, disk_bytes;   /* of the folder after the load */
} entrant;

/* What a get's caller reads of the value. */
typedef enum touch { TOUCH_NONE, TOUCH_FIRST, TOUCH_ALL } touch;

typedef struct bench {
  workload work;
  results *results;
  entrant  entrants[MAX_PEERS];
  int      peers;
  int      runs;
  double   seconds;        /* a timed loop lasts so long, if it has enough to do */
  uint32_t batch;          /* keys a get_many */
  touch    touch;
  int      cpu_time;
  key_set  hits, misses;   /* what the gets ask for, in that order */
  char     folder[400];    /* all data, removed at the end */
  int      run;            /* the one under way, from 0 */
} bench;

void entrant_report(bench *b, entrant *e, metric m, double value);
void entrant_open(entrant *e, level at);
void entrant_close(entrant *e);
double entrant_load(bench *b, entrant *e, level at);       /* a new store with every key, closed; seconds spent in the peer */
void entrant_need_reading(bench *b, entrant *e);           /* loaded, unchanged, open for reading, checked, warm */
void entrant_need_writing(bench *b, entrant *e, level at); /* loaded, open for writing, the disk idle */
void check_hits(const peer *p, void *store, const key_set *expected);   /* these fail on a wrong answer */
void check_misses(const peer *p, void *store, const key_set *missing);

void folder_make(const char *folder);                      /* new and empty; what was there is removed */
void folder_remove(const char *folder);
void folder_sizes(const char *folder, uint64_t *bytes, uint64_t *on_disk);
void folder_settle(const char *folder);                    /* let the disk finish what was written before */
int folder_in_memory(const char *folder);                  /* on a file system without a disk: no flush means anything */

/* --------------------------------------------------------------------------------------------------- sections */
typedef struct section {
  const char *name;
  int         asked_only;  /* not part of a run unless --only names it */
  void      (*measure)(bench *b, entrant *e);
  const char *help;
} section;

void measure_bulk(bench *b, entrant *e);
void measure_size(bench *b, entrant *e);
void measure_get(bench *b, entrant *e);
void measure_latency(bench *b, entrant *e);
void measure_dependent(bench *b, entrant *e);
void measure_miss(bench *b, entrant *e);
void measure_many(bench *b, entrant *e);
void measure_readers(bench *b, entrant *e);
void measure_scan(bench *b, entrant *e);
void measure_put(bench *b, entrant *e);
void measure_update(bench *b, entrant *e);
void measure_durable(bench *b, entrant *e);
void measure_batch(bench *b, entrant *e);
void measure_put_full(bench *b, entrant *e);
void measure_batch_full(bench *b, entrant *e);
void measure_open(bench *b, entrant *e);
void measure_tail(bench *b, entrant *e);
void measure_sql(bench *b, entrant *e);

extern const section all_sections[];                       /* in the order they run; ends with a NULL name */

double rate_of_gets(const peer *p, void *store, const key_set *keys, touch how, double seconds);
void sort_samples(uint32_t *samples, size_t n);
uint32_t percentile(const uint32_t *sorted, size_t n, double part);   /* part 0..1 */
int reader_main(bench *b, const peer *p, const char *folder);         /* of a reading process: its exit status */

#endif
