/*
** sections.c - what is measured, in the order it is done: loads, then all reading of what was
** loaded, then puts, which change the store.
*/
#include "bench.h"

const section all_sections[] = {
  { "bulk", 0, measure_bulk,
    "load of all keys in transactions of 100,000, without flush and durable" },
  { "load", 0, measure_load,
    "a store of all keys made at once, on disk at the end (maph_load; tinycdb's build)" },
  { "size", 0, measure_size, "bytes above keys and values" },
  { "get", 0, measure_get, "gets that find their key, tight loop" },
  { "ends", 0, measure_ends, "the same, of each value only the first and the last byte read" },
  { "latency", 0, measure_latency,
    "gets one by one, with the clock read around each: percentiles" },
  { "dependent", 0, measure_dependent,
    "gets whose key depends on the value before; loads of one line of the same file so" },
  { "miss", 0, measure_miss, "gets of missing keys that sort among the others" },
  { "many", 0, measure_many, "gets in batches" },
  { "scan", 0, measure_scan, "all entries, every byte of the values" },
  { "ordered", 0, measure_ordered,
    "all entries in key order; ranges of 10 and 100 entries from keys at random" },
  { "readers", 0, measure_readers, "gets in 1, 2, 4 ... reading threads, and processes" },
  { "put", 0, measure_put, "one key a transaction into a new store, without flush" },
  { "durable", 0, measure_durable, "the same, flushed" },
  { "batch", 0, measure_batch, "1,000 keys a transaction into a new store, flushed" },
  { "put-full", 0, measure_put_full,
    "one new key a transaction into the full store, without flush" },
  { "update", 0, measure_update, "one key that is there a transaction, without flush" },
  { "batch-full", 0, measure_batch_full,
    "1,000 new keys a transaction into the full store, flushed" },
  { "batch-old", 0, measure_batch_old, "1,000 old keys a transaction there, flushed" },
  { "sql", 0, measure_sql,
    "SQL over a maph table and over an ordinary one WITHOUT ROWID (the peers maph and sqlite)" },
  { "ycsb-a", 0, measure_ycsb_a,
    "YCSB's workload A: half gets, half updates; all six: keys zipfian, one a transaction, no "
    "flush" },
  { "ycsb-b", 0, measure_ycsb_b, "95 % gets, 5 % updates" },
  { "ycsb-c", 0, measure_ycsb_c, "gets" },
  { "ycsb-d", 0, measure_ycsb_d, "95 % gets of what came last, 5 % new keys" },
  { "ycsb-e", 0, measure_ycsb_e, "95 % scans of 1 to 100 entries in key order, 5 % new keys" },
  { "ycsb-f", 0, measure_ycsb_f, "half gets, half a get and then a put of its key" },
  { "kinds", 0, measure_kinds,
    "maph: gets where half the entries are as sessions and HTTP write them, with expiry, media "
    "type "
    "or type" },
  { "rewrite", 0, measure_rewrite,
    "maph: optimize; gets after a tenth of the keys changed and as many came; compact beside a "
    "writer" },
  { "options", 0, measure_options, "maph: prefault, lock_memory, MAPH_ADVISE_RANDOM, huge_pages" },
  { "open", 1, measure_open,
    "opening for reading with a first get, this store and one of 1,000 keys" },
  { "tail", 1, measure_tail, "the slowest of many puts without flush (meant for --keys 10000000)" },
  { NULL, 0, NULL, NULL }
};
