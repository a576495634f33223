/*
** report.c - what a person reads: the table of medians, and the targets with what was reached.
*/
#include "bench.h"

#include <math.h>

/* maph's figure over the other's (or over 1 where there is none) must be at least, or at most, the limit. */
typedef struct target {
  const char *text;
  metric      ours;
  const peer *peer;          /* NULL: the limit is absolute, or on another figure of maph itself (theirs!=ours) */
  metric      theirs;
  int         at_least;
  double      limit;
} target;

static const target targets[] = {
  { "get, tight loop",                  GET,           &peer_lmdb,    GET,           1, 9 },
  { "get, tight loop",                  GET,           &peer_tinycdb, GET,           1, 3 },
  { "get p50",                          GET_P50,       &peer_tinycdb, GET_P50,       0, 0.7 },
  { "miss inside the key range",        MISS,          &peer_lmdb,    MISS,          1, 12 },
  { "miss inside the key range",        MISS,          &peer_tinycdb, MISS,          1, 2.5 },
  { "get_many against single gets",     MANY,          &peer_lmdb,    GET,           1, 25 },
  { "second reading process",           TWO_READERS,   NULL,          ONE_READER,    1, 1.8 },
  { "bulk load, no flush",              BULK_OFF,      &peer_lmdb,    BULK_OFF,      1, 5 },
  { "bulk load, durable",               BULK_FULL,     &peer_lmdb,    BULK_FULL,     1, 5 },
  { "bulk load, no flush",              BULK_OFF,      &peer_tinycdb, BULK_OFF,      1, 0.6 },
  { "put, no flush",                    PUT,           &peer_lmdb,    PUT,           1, 4 },
  { "put into the full store",          PUT_FULL,      &peer_lmdb,    PUT_FULL,      1, 4 },
  { "put of an old key there",          UPDATE,        &peer_lmdb,    UPDATE,        1, 4 },
  { "put, durable",                     DURABLE_PUT,   &peer_lmdb,    DURABLE_PUT,   1, 1.2 },
  { "put, durable batches of 1000",     DURABLE_BATCH, &peer_lmdb,    DURABLE_BATCH, 1, 4 },
  { "the same into the full store",     DURABLE_BATCH_FULL, &peer_lmdb, DURABLE_BATCH_FULL, 1, 4 },
  { "scan, entries",                    SCAN,          &peer_lmdb,    SCAN,          1, 4 },
  { "bytes used above key and value",   OVERHEAD,      NULL,          OVERHEAD,      0, 56 },
  { "open for reading, first get",      OPEN,          NULL,          OPEN,          0, 1e6 },
  { "open against a store of 1,000",    OPEN,          NULL,          OPEN_SMALL,    0, 2 },
  { "put p99.999, no flush",            TAIL_P99999,   NULL,          TAIL_P99999,   0, 1e6 },
  { "slowest put, no flush",            TAIL_MAX,      NULL,          TAIL_MAX,      0, 50e6 },
  { "p99.999 of puts not interrupted",  TAIL_KEPT_P99999, NULL,       TAIL_KEPT_P99999, 0, 1e6 },
  { "slowest put not interrupted",      TAIL_KEPT_MAX, NULL,          TAIL_KEPT_MAX, 0, 50e6 },
  { "SQL: SELECT by key",               SQL_SELECT,    &peer_sqlite,  SQL_SELECT,    1, 2.5 },
  { "SQL: key IN (1000)",               SQL_IN,        &peer_sqlite,  SQL_IN,        1, 4 },
  { "SQL: join on key",                 SQL_JOIN,      &peer_sqlite,  SQL_JOIN,      1, 2.7 },
  { "SQL: sum of lengths",              SQL_SUM,       &peer_sqlite,  SQL_SUM,       1, 1 },
  { "SQL: INSERT, one transaction",     SQL_INSERT,    &peer_sqlite,  SQL_INSERT,    1, 4 },
};

/* "7.21M", "319k", "2987", "412 ns", "1.3 ms" */
static const char *format_value(double value, unit u, char text[32]){
  if( isnan(value) )                       snprintf(text, 32, "-");
  else if( u==GIGABYTES_PER_SECOND )       snprintf(text, 32, "%.1f", value);
  else if( u==BYTES )                      snprintf(text, 32, "%.1f", value);
  else if( u==COUNT )                      snprintf(text, 32, "%.0f", value);
  else if( u==NANOSECONDS && value>=1e6 )  snprintf(text, 32, "%.2f ms", value*1e-6);
  else if( u==NANOSECONDS && value>=1e4 )  snprintf(text, 32, "%.1f us", value*1e-3);
  else if( u==NANOSECONDS )                snprintf(text, 32, "%.0f ns", value);
  else if( value>=1e6 )                    snprintf(text, 32, "%.2fM", value*1e-6);
  else if( value>=1e4 )                    snprintf(text, 32, "%.0fk", value*1e-3);
  else                                     snprintf(text, 32, "%.0f", value);
  return text;
}

static const char *unit_title(unit u){
  switch( u ){
    case PER_SECOND:           return "/s";
    case NANOSECONDS:          return "";
    case BYTES:                return "B/key";
    case GIGABYTES_PER_SECOND: return "GB/s";
    case COUNT:                return "";
  }
  return "";
}

void report_medians(const results *r, FILE *out){
  char text[32];
  fprintf(out, "%-32s %-5s", "", "");
  for(int p = 0; p<r->peers; p++) fprintf(out, " %10s", r->peer[p]->name);
  fprintf(out, "\n");
  for(int m = 0; m<METRICS; m++){
    const metric_info *info = &metric_infos[m];
    int measured = 0;
    for(int p = 0; p<r->peers; p++) measured += !isnan(results_median(r, (metric)m, p));
    if( !measured ) continue;
    fprintf(out, "%-32s %-5s", info->title, unit_title(info->unit));
    for(int p = 0; p<r->peers; p++){
      fprintf(out, " %10s", format_value(results_median(r, (metric)m, p), info->unit, text));
    }
    fprintf(out, "\n");
  }
}

static int column_of(const results *r, const peer *wanted){
  for(int p = 0; p<r->peers; p++){
    if( r->peer[p]==wanted ) return p;
  }
  return -1;
}

/* The other figure of a target: a peer's, another of maph's, or none (1). */
static double other_side(const results *r, const target *t, int maph_column){
  int column = t->peer ? column_of(r, t->peer) : maph_column;
  if( t->peer==NULL && t->theirs==t->ours ) return 1;
  return column<0 ? NAN : results_median(r, t->theirs, column);
}

static void report_target(const target *t, double ours, double theirs, FILE *out){
  int absolute = t->peer==NULL && t->theirs==t->ours;
  double reached = ours/theirs;
  int pass = t->at_least ? reached>=t->limit : reached<=t->limit;
  unit u = metric_infos[t->ours].unit;
  char a[32], b[32], c[32], d[32];
  if( absolute ){
    format_value(reached, u, c);
    format_value(t->limit, u, d);
  }else{
    snprintf(c, sizeof c, "%.2fx", reached);
    snprintf(d, sizeof d, "%gx", t->limit);
  }
  fprintf(out, "%-32s %10s %-8s %10s %10s   %s %-9s %s\n", t->text, format_value(ours, u, a),
          t->peer ? t->peer->name : absolute ? "" : "itself", absolute ? "" : format_value(theirs, metric_infos[t->theirs].unit, b),
          c, t->at_least ? ">=" : "<=", d, pass ? "pass" : "FAIL");
}

void report_targets(const results *r, FILE *out){
  int maph_column = column_of(r, &peer_maph), headed = 0;
  if( maph_column<0 ) return;
  for(size_t i = 0; i<sizeof targets/sizeof *targets; i++){
    const target *t = &targets[i];
    double ours = results_median(r, t->ours, maph_column), theirs = other_side(r, t, maph_column);
    if( isnan(ours) || isnan(theirs) ) continue;
    if( !headed++ ) fprintf(out, "\n%-32s %10s %-8s %10s %10s   %s\n", "target", "maph", "against", "", "reached", "wanted");
    report_target(t, ours, theirs, out);
  }
}
