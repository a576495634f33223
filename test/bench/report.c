/*
** report.c - what a person reads: the table of medians, the ratios, the targets with what was
** reached, the table of the README.
*/
#include "bench.h"

#include <math.h>

/* Our figure over theirs must be at least, or at most, the limit; with nobody named as theirs, our
** figure itself. */
typedef struct target {
  const char *text;
  const char *set; /* where it counts; a set of the user's own meets them all */
  const char *ours;
  metric our_metric;
  const char *theirs;
  metric their_metric;
  int at_least;
  double limit;
} target;

#define HUGE_PAGES(m) ((metric)((m) + OPEN_HUGE))
/* the option makes the file come back into the page cache page by page */
#define SMALL_PAGES(m) ((metric)((m) + OPEN_RANDOM))
#define TWO(m) ((metric)((m) + 1))

static const target targets[] = {
  { "get, tight loop", "1M", "maph", GET, "lmdb", GET, 1, 9 },
  { "get, tight loop", "1M", "maph", GET, "tinycdb", GET, 1, 3 },
  { "get, tight loop", "1M", "maph", GET, "ram", GET, 1, 1 },
  { "get, first and last byte", "1M", "maph", GET_ENDS, "ram", GET_ENDS, 1, 0.6 },
  { "get p50", "1M", "maph", GET_P50, "tinycdb", GET_P50, 0, 1 },
  { "miss inside the key range", "1M", "maph", MISS, "lmdb", MISS, 1, 12 },
  { "miss inside the key range", "1M", "maph", MISS, "tinycdb", MISS, 1, 2.5 },
  { "get_many against single gets", "1M", "maph", MANY, "lmdb", GET, 1, 25 },
  { "second reading process", "1M", "maph", TWO(PROCESSES), "maph", PROCESSES, 1, 1.8 },
  { "bulk load, no flush", "1M", "maph", BULK_OFF, "lmdb", BULK_OFF, 1, 5 },
  { "bulk load, durable", "1M", "maph", BULK_FULL, "lmdb", BULK_FULL, 1, 5 },
  { "bulk load, no flush", "1M", "maph", BULK_OFF, "tinycdb", BULK_OFF, 1, 0.6 },
  { "put, no flush", "1M", "maph", PUT, "lmdb", PUT, 1, 4 },
  { "put into the full store", "1M", "maph", PUT_FULL, "lmdb", PUT_FULL, 1, 4 },
  { "put of an old key there", "1M", "maph", UPDATE, "lmdb", UPDATE, 1, 4 },
  { "put, durable", "1M", "maph", DURABLE_PUT, "lmdb", DURABLE_PUT, 1, 1.2 },
  { "put, durable batches of 1000", "1M", "maph", DURABLE_BATCH, "lmdb", DURABLE_BATCH, 1, 4 },
  { "the same into the full store", "1M", "maph", DURABLE_BATCH_FULL, "lmdb", DURABLE_BATCH_FULL, 1,
    4 },
  { "scan, entries", "1M", "maph", SCAN, "lmdb", SCAN, 1, 4 },
  { "ordered scan", "1M", "maph", ORDERED_SCAN, "lmdb", ORDERED_SCAN, 1, 1.5 },
  { "range of 10", "1M", "maph", RANGE_10, "lmdb", RANGE_10, 1, 2 },
  { "range of 100", "1M", "maph", RANGE_100, "lmdb", RANGE_100, 1, 2 },
  { "compacted: ordered scan", "1M", "maph-compact", ORDERED_SCAN, "lmdb", ORDERED_SCAN, 1, 1.5 },
  { "compacted: range of 10", "1M", "maph-compact", RANGE_10, "lmdb", RANGE_10, 1, 2 },
  { "compacted: range of 100", "1M", "maph-compact", RANGE_100, "lmdb", RANGE_100, 1, 2 },
  { "bytes used above key and value", "1M", "maph", OVERHEAD, NULL, OVERHEAD, 0, 40 },
  { "open for reading, first get", "1M", "maph", OPEN, NULL, OPEN, 0, 1e6 },
  { "open against a store of 1,000", "1M", "maph", OPEN, "maph", OPEN_SMALL, 0, 2 },
  { "put p99.999, no flush", "10M", "maph", TAIL_P99999, NULL, TAIL_P99999, 0, 1e6 },
  { "slowest put, no flush", "10M", "maph", TAIL_MAX, NULL, TAIL_MAX, 0, 50e6 },
  { "p99.999 of puts not interrupted", "10M", "maph", TAIL_KEPT_P99999, NULL, TAIL_KEPT_P99999, 0,
    1e6 },
  { "slowest put not interrupted", "10M", "maph", TAIL_KEPT_MAX, NULL, TAIL_KEPT_MAX, 0, 50e6 },
  { "optimized: dependent get", "1M", "maph-pilot", DEPENDENT, "maph", DEPENDENT, 0, 1 / 1.6 },
  { "optimized: get, tight loop", "1M", "maph-pilot", GET, "maph", GET, 1, 1.2 },
  { "optimized: get, tight loop", "1M", "maph-pilot", GET, "ram", GET, 1, 1 },
  { "optimized: first and last byte", "1M", "maph-pilot", GET_ENDS, "ram", GET_ENDS, 1, 1.1 },
  { "optimized: get p50", "1M", "maph-pilot", GET_P50, "tinycdb", GET_P50, 0, 0.7 },
  { "optimized: dependent, a cold line", "1M", "maph-pilot", DEPENDENT, "maph-pilot", COLD_LINE, 0,
    1.3 },
  { "optimized: miss", "1M", "maph-pilot", MISS, "tinycdb", MISS, 1, 1 },
  { "all kinds: get", "1M", "maph", KINDS_GET, "maph", GET, 1, 1 / 1.15 },
  { "all kinds: dependent get", "1M", "maph", KINDS_DEPENDENT, "maph", DEPENDENT, 0, 1.15 },
  { "all kinds: get_many", "1M", "maph", KINDS_MANY, "maph", MANY, 1, 1 / 1.15 },
  { "all kinds, optimized: get", "1M", "maph-pilot", KINDS_GET, "maph-pilot", GET, 1, 1 / 1.15 },
  { "all kinds, optimized: dependent", "1M", "maph-pilot", KINDS_DEPENDENT, "maph-pilot", DEPENDENT,
    0, 1.15 },
  { "all kinds, optimized: get_many", "1M", "maph-pilot", KINDS_MANY, "maph-pilot", MANY, 1,
    1 / 1.15 },
  { "made at once, durable", "1M", "maph", LOADED, "tinycdb", LOADED, 1, 1 },
  { "made at once, durable", "small", "maph", LOADED, "tinycdb", LOADED, 1, 1 },
  { "optimized: bytes above", "1M", "maph-pilot", OVERHEAD, NULL, OVERHEAD, 0, 12 },
  { "optimized: bytes above", "small", "maph-pilot", OVERHEAD, NULL, OVERHEAD, 0, 12 },
  { "optimized, large pages: get", "10M", "maph-pilot", GET, "maph-pilot", SMALL_PAGES(OPTION_GET),
    1, 1.3 },
  { "optimized, large pages: get_many", "10M", "maph-pilot", MANY, "maph-pilot",
    SMALL_PAGES(OPTION_MANY), 1, 1.3 },
  { "optimized: get_many", "1M", "maph-pilot", MANY, "maph", MANY, 1, 1 },
  { "optimized: index bytes a key", "1M", "maph-pilot", INDEX_BYTES, NULL, INDEX_BYTES, 0, 1 },
  { "optimized, mixed: dependent get", "mixed", "maph-pilot", DEPENDENT, "maph", DEPENDENT, 0, 1 },
  { "optimized, mixed: get_many", "mixed", "maph-pilot", MANY, "maph", MANY, 1, 1 },
  { "optimized, mixed: index B a key", "mixed", "maph-pilot", INDEX_BYTES, NULL, INDEX_BYTES, 0,
    6 },
  { "optimized, 10M: get_many", "10M", "maph-pilot", MANY, "maph", MANY, 1, 1 },
  { "the same, huge pages: dependent", "10M", "maph-pilot", HUGE_PAGES(OPTION_DEPENDENT), "maph",
    HUGE_PAGES(OPTION_DEPENDENT), 0, 1 / 1.15 },
  { "the same, huge pages: tight loop", "10M", "maph-pilot", HUGE_PAGES(OPTION_GET), "maph",
    HUGE_PAGES(OPTION_GET), 1, 1 },
  { "optimize of 10M keys", "10M", "maph-pilot", OPTIMIZE_TIME, NULL, OPTIMIZE_TIME, 0, 20e9 },
  { "optimize of 10M keys, memory", "10M", "maph-pilot", OPTIMIZE_MEMORY, NULL, OPTIMIZE_MEMORY, 0,
    537 },
  { "optimize, writers wait", "10M", "maph-pilot", OPTIMIZE_PAUSE, NULL, OPTIMIZE_PAUSE, 0, 50e6 },
  { "compact, writers wait", "10M", "maph", COMPACT_PAUSE, NULL, COMPACT_PAUSE, 0, 50e6 },
  { "SQL: SELECT by key", "1M", "maph", SQL_SELECT, "sqlite", SQL_SELECT, 1, 3 },
  { "SQL: key IN (1000)", "1M", "maph", SQL_IN, "sqlite", SQL_IN, 1, 5 },
  { "SQL: join on key", "1M", "maph", SQL_JOIN, "sqlite", SQL_JOIN, 1, 2.7 },
  { "SQL: key > ? ORDER BY key LIMIT 10", "1M", "maph", SQL_PAGE, "sqlite", SQL_PAGE, 1, 1 },
  { "SQL: sum of lengths", "1M", "maph", SQL_SUM, "sqlite", SQL_SUM, 1, 1 },
  { "SQL: INSERT, one transaction", "1M", "maph", SQL_INSERT, "sqlite", SQL_INSERT, 1, 7 },
};

/* "7.21M", "319k", "2987", "412 ns", "1.3 ms" */
const char *format_value(double value, unit u, char text[32]) {
  if (isnan(value))
    snprintf(text, 32, "-");
  else if (u == GIGABYTES_PER_SECOND)
    snprintf(text, 32, "%.1f", value);
  else if (u == BYTES)
    snprintf(text, 32, "%.1f", value);
  else if (u == BITS)
    snprintf(text, 32, "%.2f", value);
  else if (u == MEGABYTES)
    snprintf(text, 32, "%.0f", value);
  else if (u == COUNT)
    snprintf(text, 32, "%.0f", value);
  else if (u == NANOSECONDS && value >= 1e9)
    snprintf(text, 32, "%.2f s", value * 1e-9);
  else if (u == NANOSECONDS && value >= 1e6)
    snprintf(text, 32, "%.2f ms", value * 1e-6);
  else if (u == NANOSECONDS && value >= 1e4)
    snprintf(text, 32, "%.1f us", value * 1e-3);
  else if (u == NANOSECONDS)
    snprintf(text, 32, "%.0f ns", value);
  else if (value >= 1e6)
    snprintf(text, 32, "%.2fM", value * 1e-6);
  else if (value >= 1e4)
    snprintf(text, 32, "%.0fk", value * 1e-3);
  else
    snprintf(text, 32, "%.0f", value);
  return text;
}

static const char *unit_title(unit u) {
  switch (u) {
    case PER_SECOND: return "/s";
    case NANOSECONDS: return "";
    case BYTES: return "B/key";
    case BITS: return "b/key";
    case MEGABYTES: return "MB";
    case GIGABYTES_PER_SECOND: return "GB/s";
    case COUNT: return "";
  }
  return "";
}

static int is_measured(const results *results, metric m) {
  for (int p = 0; p < results->peers; p++) {
    if (!isnan(results_median(results, m, p))) return 1;
  }
  return 0;
}

static void print_names(const results *results, FILE *out) {
  for (int p = 0; p < results->peers; p++) fprintf(out, " %10s", results->peer[p]->name);
  fprintf(out, "\n");
}

void report_medians(const results *results, FILE *out) {
  char text[32];
  fprintf(out, "%-32s %-5s", "", "");
  print_names(results, out);
  for (int m = 0; m < METRICS; m++) {
    if (!is_measured(results, (metric)m)) continue;
    const metric_info *info = metric_about((metric)m);
    fprintf(out, "%-32s %-5s", info->title, unit_title(info->unit));
    for (int p = 0; p < results->peers; p++) {
      fprintf(out, " %10s", format_value(results_median(results, (metric)m, p), info->unit, text));
    }
    fprintf(out, "\n");
  }
}

/* How many times better the first figure is; NaN where one is missing or the question makes no
** sense. */
static double times_better(double ours, double theirs, unit u) {
  if (isnan(ours) || isnan(theirs) || ours <= 0 || theirs <= 0 || u == COUNT) return NAN;
  return more_is_better(u) ? ours / theirs : theirs / ours;
}

static void print_ratios(const results *results, metric m, int ours, FILE *out) {
  const metric_info *info = metric_about(m);
  fprintf(out, "%-38s", info->title);
  for (int p = 0; p < results->peers; p++) {
    double ratio = p == ours ? NAN
                             : times_better(results_median(results, m, ours),
                                            results_median(results, m, p), info->unit);
    if (isnan(ratio))
      fprintf(out, " %10s", "-");
    else
      fprintf(out, " %9.*fx", ratio < 100 ? 2 : 0, ratio);
  }
  fprintf(out, "\n");
}

void report_ratios(const results *results, FILE *out) {
  int ours = results_column(results, "maph");
  if (ours < 0 || results->peers < 2) return;
  fprintf(out, "\n%-38s", "maph is so many times better than");
  print_names(results, out);
  for (int m = 0; m < METRICS; m++) {
    unit u = metric_about((metric)m)->unit;
    int rows = 0;
    for (int p = 0; p < results->peers; p++) {
      rows += p != ours
              && !isnan(times_better(results_median(results, (metric)m, ours),
                                     results_median(results, (metric)m, p), u));
    }
    if (rows) print_ratios(results, (metric)m, ours, out);
  }
}

/* NaN: not measured, or nobody of that name took part. */
static double figure(const results *results, const char *name, metric m) {
  int column = results_column(results, name);
  return column < 0 ? NAN : results_median(results, m, column);
}

static void report_target(const target *target, double ours, double theirs, FILE *out) {
  int absolute = target->theirs == NULL;
  double reached = ours / theirs;
  int pass = target->at_least ? reached >= target->limit : reached <= target->limit;
  unit u = metric_about(target->our_metric)->unit;
  char a[32], b[32], c[32], d[32];
  if (absolute) {
    format_value(reached, u, c);
    format_value(target->limit, u, d);
  } else {
    snprintf(c, sizeof c, "%.2fx", reached);
    snprintf(d, sizeof d, "%.3gx", target->limit);
  }
  fprintf(out, "%-33s %10s %-8s %10s %10s   %s %-9s %s\n", target->text, format_value(ours, u, a),
          absolute                                    ? ""
          : strcmp(target->theirs, target->ours) == 0 ? "itself"
                                                      : target->theirs,
          absolute ? "" : format_value(theirs, metric_about(target->their_metric)->unit, b), c,
          target->at_least ? ">=" : "<=", d, pass ? "pass" : "FAIL");
}

void report_targets(const results *results, const char *set_name, FILE *out) {
  int headed = 0, own = strcmp(set_name, "own") == 0;
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
    const target *target = &targets[i];
    double ours = figure(results, target->ours, target->our_metric),
           theirs = target->theirs ? figure(results, target->theirs, target->their_metric) : 1;
    if (isnan(ours) || isnan(theirs) || !(own || strcmp(set_name, target->set) == 0)) continue;
    if (!headed++)
      fprintf(out, "\n%-33s %10s %-8s %10s %10s   %s\n", "target", "ours", "against", "", "reached",
              "wanted");
    report_target(target, ours, theirs, out);
  }
}

/* --------------------------------------------------------------------------- the README's table */
/* A row of the set's figures, the second one behind a slash where there is one. */
typedef struct markdown_row {
  const char *set, *title;
  metric first, second; /* METRICS: none */
} markdown_row;

static const markdown_row rows[] = {
  { "1M", "get, tight loop", GET, METRICS },
  { "1M", "get, first and last byte read", GET_ENDS, METRICS },
  { "1M", "get, p50 / p99.9", GET_P50, GET_P999 },
  { "1M", "dependent get / one cold line of the file", DEPENDENT, COLD_LINE },
  { "1M", "half with expiry, types: get / dependent", KINDS_GET, KINDS_DEPENDENT },
  { "1M", "get_many, keys", MANY, METRICS },
  { "1M", "miss inside the key range", MISS, METRICS },
  { "1M", "two reading threads / processes", TWO(THREADS), TWO(PROCESSES) },
  { "1M", "scan, entries", SCAN, METRICS },
  { "1M", "ordered scan, entries", ORDERED_SCAN, METRICS },
  { "1M", "range of 10 / 100 entries", RANGE_10, RANGE_100 },
  { "1M", "bulk load", BULK_OFF, METRICS },
  { "1M", "made at once, on disk / CPU a key", LOADED, LOADED_CPU },
  { "small", "the same, values of 16 bytes", LOADED, LOADED_CPU },
  { "30M", "the same, 30M keys", LOADED, LOADED_CPU },
  { "1M", "CPU a key: optimize / compact", OPTIMIZE_CPU, COMPACT_CPU },
  { "1M", "one put a transaction, no flush", PUT, METRICS },
  { "1M", "one put a transaction, on disk", DURABLE_PUT, METRICS },
  { "1M", "1000 puts a transaction, on disk", DURABLE_BATCH, METRICS },
  { "1M", "YCSB A / B", YCSB_A, YCSB_B },
  { "1M", "YCSB C / D", YCSB_C, YCSB_D },
  { "1M", "YCSB E / F", YCSB_E, YCSB_F },
  { "1M", "bytes a key above key and value", OVERHEAD, METRICS },
  { "small", "the same, values of 16 bytes", OVERHEAD, METRICS },
  { "mixed", "values of 20-2000 bytes: get / dependent", GET, DEPENDENT },
  { "10M", "10M keys: get / dependent", GET, DEPENDENT },
  { "10M", "10M keys: ordered scan / range of 100", ORDERED_SCAN, RANGE_100 },
};

static void markdown_cell(const results *results, metric m, int column, char text[40]) {
  unit u = m == METRICS ? COUNT : metric_about(m)->unit;
  char value[32];
  double median = m == METRICS ? NAN : results_median(results, m, column);
  snprintf(text, 40, "%s%s", format_value(median, u, value),
           isnan(median) || u != PER_SECOND ? "" : "/s");
}

static void markdown_line(const results *results, const markdown_row *row,
                          const struct results *columns, FILE *out) {
  fprintf(out, "| %s |", row->title);
  for (int p = 0; p < columns->peers; p++) {
    int column = results_column(results, columns->peer[p]->name);
    char first[40] = "-", second[40] = "-";
    if (column >= 0) markdown_cell(results, row->first, column, first);
    if (column >= 0) markdown_cell(results, row->second, column, second);
    if (strcmp(first, "-") == 0 && strcmp(second, "-") == 0)
      fprintf(out, " - |");
    else if (row->second == METRICS)
      fprintf(out, " %s |", first);
    else
      fprintf(out, " %s / %s |", first, second);
  }
  fprintf(out, "\n");
}

void report_markdown(const set_results *sets, int n, FILE *out) {
  const results *columns = sets[0].results;
  fprintf(out, "%s; ", machine_line());
  results_say_set(columns, out);
  fprintf(out, "; medians of %d run%s.\n\n| |", columns->runs, columns->runs == 1 ? "" : "s");
  for (int p = 0; p < columns->peers; p++) {
    const peer *who = columns->peer[p];
    fprintf(out, " %s |",
            who->variant_of || strcmp(who->name, "maph") == 0 ? who->name : who->version());
  }
  fprintf(out, "\n|---|");
  for (int p = 0; p < columns->peers; p++) fprintf(out, "---|");
  fprintf(out, "\n");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const results *results = results_of_set(sets, n, rows[i].set);
    if (results && is_measured(results, rows[i].first))
      markdown_line(results, &rows[i], columns, out);
  }
}
