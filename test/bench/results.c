/*
** results.c - the figures: one for each metric, peer and run; their medians; a CSV of them all.
*/
#include "bench.h"

#include <math.h>
#include <stdlib.h>

const metric_info metric_infos[METRICS] = {
  [BULK_OFF]      = { "bulk_load",         "bulk load, no flush",            PER_SECOND },
  [BULK_FULL]     = { "bulk_load_durable", "bulk load, durable",             PER_SECOND },
  [OVERHEAD]      = { "overhead",          "bytes used above key and value", BYTES },
  [ON_DISK]       = { "overhead_on_disk",  "blocks on disk above the same",  BYTES },
  [GET]           = { "get",               "get, tight loop",                PER_SECOND },
  [GET_P50]       = { "get_p50",           "get p50",                        NANOSECONDS },
  [GET_P99]       = { "get_p99",           "get p99",                        NANOSECONDS },
  [GET_P999]      = { "get_p999",          "get p99.9",                      NANOSECONDS },
  [DEPENDENT]     = { "get_dependent",     "dependent get",                  NANOSECONDS },
  [MISS]          = { "miss",              "miss inside the key range",      PER_SECOND },
  [MANY]          = { "get_many",          "get_many, keys",                 PER_SECOND },
  [ONE_READER]    = { "readers_1",         "get, 1 reading process",         PER_SECOND },
  [TWO_READERS]   = { "readers_2",         "get, 2 reading processes",       PER_SECOND },
  [SCAN]          = { "scan",              "scan, entries",                  PER_SECOND },
  [SCAN_BYTES]    = { "scan_bytes",        "scan, keys and values",          GIGABYTES_PER_SECOND },
  [PUT]           = { "put",               "put, no flush",                  PER_SECOND },
  [PUT_FULL]      = { "put_full",          "put into the full store",        PER_SECOND },
  [UPDATE]        = { "update",            "put of an old key there",        PER_SECOND },
  [DURABLE_PUT]   = { "put_durable",       "put, durable",                   PER_SECOND },
  [DURABLE_BATCH] = { "batch_durable",     "put, durable batches of 1000",   PER_SECOND },
  [DURABLE_BATCH_FULL] = { "batch_durable_full", "the same into the full store", PER_SECOND },
  [OPEN]          = { "open",              "open for reading and first get", NANOSECONDS },
  [OPEN_SMALL]    = { "open_1000",         "the same with 1,000 keys",       NANOSECONDS },
  [TAIL_P50]      = { "put_p50",           "put p50",                        NANOSECONDS },
  [TAIL_P99]      = { "put_p99",           "put p99",                        NANOSECONDS },
  [TAIL_P999]     = { "put_p999",          "put p99.9",                      NANOSECONDS },
  [TAIL_P99999]   = { "put_p99999",        "put p99.999",                    NANOSECONDS },
  [TAIL_MAX]      = { "put_max",           "put, slowest",                   NANOSECONDS },
  [TAIL_SWITCHES] = { "put_switches",      "lost the processor, times",      COUNT },
  [TAIL_KEPT_P99999] = { "put_kept_p99999", "put p99.999 but for those",    NANOSECONDS },
  [TAIL_KEPT_MAX] = { "put_kept_max",      "put, slowest but for those",     NANOSECONDS },
  [SQL_SELECT]    = { "sql_select",        "SQL: SELECT by key",             PER_SECOND },
  [SQL_IN]        = { "sql_in",            "SQL: key IN (1000), keys",       PER_SECOND },
  [SQL_JOIN]      = { "sql_join",          "SQL: join on key, rows",         PER_SECOND },
  [SQL_SUM]       = { "sql_sum",           "SQL: sum of lengths, rows",      PER_SECOND },
  [SQL_INSERT]    = { "sql_insert",        "SQL: INSERT, one transaction",   PER_SECOND },
};

results *results_new(void){
  results *r = must_alloc(sizeof *r);
  r->peers = r->runs = 0;
  for(int m = 0; m<METRICS; m++){
    for(int p = 0; p<MAX_PEERS; p++){
      for(int k = 0; k<MAX_RUNS; k++) r->value[m][p][k] = NAN;
    }
  }
  return r;
}

static int compare_values(const void *a, const void *b){
  double x = *(const double*)a, y = *(const double*)b;
  return (x>y) - (x<y);
}

double results_median(const results *r, metric m, int column){
  double sorted[MAX_RUNS];
  size_t n = 0;
  for(int k = 0; k<r->runs; k++){
    if( !isnan(r->value[m][column][k]) ) sorted[n++] = r->value[m][column][k];
  }
  if( n==0 ) return NAN;
  qsort(sorted, n, sizeof *sorted, compare_values);
  return (sorted[n/2] + sorted[(n-1)/2])/2;
}

static const char *unit_name(unit u){
  switch( u ){
    case PER_SECOND:           return "per second";
    case NANOSECONDS:          return "ns";
    case BYTES:                return "bytes per key";
    case GIGABYTES_PER_SECOND: return "GB per second";
    case COUNT:                return "count";
  }
  return "";
}

int results_write_csv(const results *r, const char *path){
  FILE *out = fopen(path, "w");
  if( !out ) return -1;
  fprintf(out, "metric,unit,peer,run,value\n");
  for(int m = 0; m<METRICS; m++){
    const metric_info *info = &metric_infos[m];
    for(int p = 0; p<r->peers; p++){
      double median = results_median(r, (metric)m, p);
      if( isnan(median) ) continue;
      for(int k = 0; k<r->runs; k++){
        if( isnan(r->value[m][p][k]) ) continue;
        fprintf(out, "%s,%s,%s,%d,%.10g\n", info->name, unit_name(info->unit), r->peer[p]->name, k+1, r->value[m][p][k]);
      }
      fprintf(out, "%s,%s,%s,median,%.10g\n", info->name, unit_name(info->unit), r->peer[p]->name, median);
    }
  }
  int bad = ferror(out);
  return fclose(out)!=0 || bad ? -1 : 0;
}
