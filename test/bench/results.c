/*
** results.c - the figures: one for each metric, peer and run; their medians; a CSV of them all.
*/
#include "bench.h"

#include <math.h>
#include <stdlib.h>

static const metric_info infos[METRICS] = {
  [BULK_OFF] = { "bulk_load", "bulk load, no flush", PER_SECOND },
  [BULK_FULL] = { "bulk_load_durable", "bulk load, durable", PER_SECOND },
  [LOADED] = { "load_at_once", "made at once, durable", PER_SECOND },
  [LOADED_CPU] = { "load_at_once_cpu", "processor time of it, a key", NANOSECONDS },
  [OVERHEAD] = { "overhead", "bytes used above key and value", BYTES },
  [ON_DISK] = { "overhead_on_disk", "blocks on disk above the same", BYTES },
  [INDEX_BYTES] = { "index_bytes", "of those, of the index", BYTES },
  [GET] = { "get", "get, tight loop", PER_SECOND },
  [GET_ENDS] = { "get_ends", "get, first and last byte read", PER_SECOND },
  [GET_P50] = { "get_p50", "get p50", NANOSECONDS },
  [GET_P99] = { "get_p99", "get p99", NANOSECONDS },
  [GET_P999] = { "get_p999", "get p99.9", NANOSECONDS },
  [DEPENDENT] = { "get_dependent", "dependent get", NANOSECONDS },
  [COLD_LINE] = { "cold_line", "one cold line of its file", NANOSECONDS },
  [MISS] = { "miss", "miss inside the key range", PER_SECOND },
  [MANY] = { "get_many", "get_many, keys", PER_SECOND },
  [SCAN] = { "scan", "scan, entries", PER_SECOND },
  [SCAN_BYTES] = { "scan_bytes", "scan, keys and values", GIGABYTES_PER_SECOND },
  [ORDERED_SCAN] = { "ordered_scan", "scan in key order, entries", PER_SECOND },
  [RANGE_10] = { "range_10", "range of 10 in key order", PER_SECOND },
  [RANGE_100] = { "range_100", "range of 100 in key order", PER_SECOND },
  [PUT] = { "put", "put, no flush", PER_SECOND },
  [PUT_FULL] = { "put_full", "put into the full store", PER_SECOND },
  [UPDATE] = { "update", "put of an old key there", PER_SECOND },
  [DURABLE_PUT] = { "put_durable", "put, durable", PER_SECOND },
  [DURABLE_BATCH] = { "batch_durable", "put, durable batches of 1000", PER_SECOND },
  [DURABLE_BATCH_FULL] = { "batch_durable_full", "the same into the full store", PER_SECOND },
  [DURABLE_BATCH_OLD] = { "batch_durable_update", "the same of old keys there", PER_SECOND },
  [YCSB_A] = { "ycsb_a", "YCSB A: half gets, half updates", PER_SECOND },
  [YCSB_B] = { "ycsb_b", "YCSB B: 95 % gets, 5 % updates", PER_SECOND },
  [YCSB_C] = { "ycsb_c", "YCSB C: gets", PER_SECOND },
  [YCSB_D] = { "ycsb_d", "YCSB D: 95 % gets of the latest", PER_SECOND },
  [YCSB_E] = { "ycsb_e", "YCSB E: 95 % short scans", PER_SECOND },
  [YCSB_F] = { "ycsb_f", "YCSB F: half read-modify-write", PER_SECOND },
  [OPTIMIZE_TIME] = { "optimize", "optimize", NANOSECONDS },
  [OPTIMIZE_CPU] = { "optimize_cpu", "optimize, processor time a key", NANOSECONDS },
  [OPTIMIZE_MEMORY] = { "optimize_memory", "optimize, memory", MEGABYTES },
  [OPTIMIZE_PAUSE] = { "optimize_pause", "optimize, writers wait", NANOSECONDS },
  [OPTIMIZE_BITS] = { "perfect_bits", "perfect hash alone", BITS },
  [CHANGED_GET] = { "changed_get", "get, 10 % changed and 10 % new", PER_SECOND },
  [CHANGED_DEPENDENT] = { "changed_dependent", "dependent get of the same", NANOSECONDS },
  [CHANGED_MANY] = { "changed_get_many", "get_many of the same, keys", PER_SECOND },
  [KINDS_GET] = { "kinds_get", "get, half with expiry, types", PER_SECOND },
  [KINDS_DEPENDENT] = { "kinds_dependent", "dependent get of the same", NANOSECONDS },
  [KINDS_MANY] = { "kinds_get_many", "get_many of the same, keys", PER_SECOND },
  [COMPACT_TIME] = { "compact", "compact beside a writer", NANOSECONDS },
  [COMPACT_CPU] = { "compact_cpu", "compact alone, processor time", NANOSECONDS },
  [COMPACT_PAUSE] = { "compact_pause", "writers wait for it", NANOSECONDS },
  [COMPACT_SLOWEST] = { "compact_put_max", "slowest put meanwhile", NANOSECONDS },
  [COMPACT_PUTS] = { "compact_puts", "puts meanwhile", PER_SECOND },
  [OPEN] = { "open", "open for reading and first get", NANOSECONDS },
  [OPEN_SMALL] = { "open_1000", "the same with 1,000 keys", NANOSECONDS },
  [TAIL_P50] = { "put_p50", "put p50", NANOSECONDS },
  [TAIL_P99] = { "put_p99", "put p99", NANOSECONDS },
  [TAIL_P999] = { "put_p999", "put p99.9", NANOSECONDS },
  [TAIL_P99999] = { "put_p99999", "put p99.999", NANOSECONDS },
  [TAIL_MAX] = { "put_max", "put, slowest", NANOSECONDS },
  [TAIL_SWITCHES] = { "put_switches", "lost the processor, times", COUNT },
  [TAIL_KEPT_P99999] = { "put_kept_p99999", "put p99.999 but for those", NANOSECONDS },
  [TAIL_KEPT_MAX] = { "put_kept_max", "put, slowest but for those", NANOSECONDS },
  [SQL_SELECT] = { "sql_select", "SQL: SELECT by key", PER_SECOND },
  [SQL_IN] = { "sql_in", "SQL: key IN (1000), keys", PER_SECOND },
  [SQL_JOIN] = { "sql_join", "SQL: join on key, rows", PER_SECOND },
  [SQL_PAGE] = { "sql_page", "SQL: pages of 10 rows by key", PER_SECOND },
  [SQL_SUM] = { "sql_sum", "SQL: sum of lengths, rows", PER_SECOND },
  [SQL_INSERT] = { "sql_insert", "SQL: INSERT, one transaction", PER_SECOND },
};

/* Names of a metric that there is once for each number of readers, or way to open. */
static const metric_info *name_of_family(metric m, const char *name, const char *title, unit u) {
  static metric_info made[METRICS];
  static char names[METRICS][32], titles[METRICS][48];
  snprintf(names[m], sizeof names[m], "%s", name);
  snprintf(titles[m], sizeof titles[m], "%s", title);
  made[m] = (metric_info){ names[m], titles[m], u };
  return &made[m];
}

static const metric_info *name_of_readers(metric m, int step, const char *kind) {
  char name[32], title[48];
  int n = reader_count(step);
  snprintf(name, sizeof name, "%s_%d", kind, n);
  snprintf(title, sizeof title, "get, %s: %d", kind, n);
  return name_of_family(m, name, title, PER_SECOND);
}

static const metric_info *name_of_option(metric m, int option, const char *what, const char *text,
                                         unit u) {
  static const char *const options[OPEN_OPTIONS] = { "default", "prefault", "locked", "random",
                                                     "huge" };
  char name[32], title[48];
  snprintf(name, sizeof name, "%s_%s", what, options[option]);
  snprintf(title, sizeof title, "%s: %s", text, options[option]);
  return name_of_family(m, name, title, u);
}

const metric_info *metric_about(metric m) {
  if (m >= PROCESSES && m <= PROCESSES_LAST)
    return name_of_readers(m, (int)(m - PROCESSES), "processes");
  if (m >= THREADS && m <= THREADS_LAST) return name_of_readers(m, (int)(m - THREADS), "threads");
  if (m >= OPTION_FIRST && m <= OPTION_FIRST_LAST)
    return name_of_option(m, (int)(m - OPTION_FIRST), "first_pass", "first pass", PER_SECOND);
  if (m >= OPTION_GET && m <= OPTION_GET_LAST)
    return name_of_option(m, (int)(m - OPTION_GET), "get", "get", PER_SECOND);
  if (m >= OPTION_DEPENDENT && m <= OPTION_DEPENDENT_LAST) {
    return name_of_option(m, (int)(m - OPTION_DEPENDENT), "dependent", "dependent get",
                          NANOSECONDS);
  }
  if (m >= OPTION_MANY && m <= OPTION_MANY_LAST)
    return name_of_option(m, (int)(m - OPTION_MANY), "get_many", "get_many, keys", PER_SECOND);
  return &infos[m];
}

int more_is_better(unit u) { return u == PER_SECOND || u == GIGABYTES_PER_SECOND; }

results *results_new(void) {
  results *results = must_alloc(sizeof *results);
  results->peers = results->runs = 0;
  for (int m = 0; m < METRICS; m++) {
    for (int p = 0; p < MAX_PEERS; p++) {
      for (int k = 0; k < MAX_RUNS; k++) results->value[m][p][k] = NAN;
    }
  }
  return results;
}

static int compare_values(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double results_median(const results *results, metric m, int column) {
  double sorted[MAX_RUNS];
  size_t n = 0;
  for (int k = 0; k < results->runs; k++) {
    if (!isnan(results->value[m][column][k])) sorted[n++] = results->value[m][column][k];
  }
  if (n == 0) return NAN;
  qsort(sorted, n, sizeof *sorted, compare_values);
  return (sorted[n / 2] + sorted[(n - 1) / 2]) / 2;
}

const char *unit_name(unit u) {
  switch (u) {
    case PER_SECOND: return "per second";
    case NANOSECONDS: return "ns";
    case BYTES: return "bytes per key";
    case BITS: return "bits per key";
    case MEGABYTES: return "MB";
    case GIGABYTES_PER_SECOND: return "GB per second";
    case COUNT: return "count";
  }
  return "";
}

int results_column(const results *results, const char *name) {
  for (int p = 0; p < results->peers; p++) {
    if (strcmp(results->peer[p]->name, name) == 0) return p;
  }
  return -1;
}

/* "1M" is the usual case; in a run without it, whatever set came first. */
const results *results_of_set(const set_results *sets, int n, const char *name) {
  for (int i = 0; i < n; i++) {
    if (strcmp(sets[i].set, name) == 0) return sets[i].results;
  }
  return strcmp(name, "1M") == 0 ? sets[0].results : NULL;
}

void results_say_set(const results *results, FILE *out) {
  fprintf(out, "%u keys, values of %zu", results->keys, results->value_min);
  if (results->value_max != results->value_min) fprintf(out, "-%zu", results->value_max);
  fprintf(out, " bytes");
}

void results_csv_head(FILE *out) {
  fprintf(out, "# %s\nset,metric,unit,peer,run,value\n", machine_line());
}

void results_csv(const results *results, const char *set_name, FILE *out) {
  for (int m = 0; m < METRICS; m++) {
    const metric_info *info = metric_about((metric)m);
    for (int p = 0; p < results->peers; p++) {
      double median = results_median(results, (metric)m, p);
      if (isnan(median)) continue;
      for (int k = 0; k < results->runs; k++) {
        if (isnan(results->value[m][p][k])) continue;
        fprintf(out, "%s,%s,%s,%s,%d,%.10g\n", set_name, info->name, unit_name(info->unit),
                results->peer[p]->name, k + 1, results->value[m][p][k]);
      }
      fprintf(out, "%s,%s,%s,%s,median,%.10g\n", set_name, info->name, unit_name(info->unit),
              results->peer[p]->name, median);
    }
  }
}
