/*
** peer_maph.c - maph, as a program that has only maph.h would use it; and the same store after
** maph_compact, and after maph_optimize with each of its perfect hashes, as peers of their own:
** their figures stand beside those of the plain store in one run.
*/
#include "bench.h"

#include <stdlib.h>

static void must(maph *m, int rc, const char *what) {
  if (rc != MAPH_OK) fail("maph: %s: %s: %s", what, maph_strerror(rc), maph_errmsg(m));
}

static maph *open_store(const char *folder, level at, int flags, int perfect_hash) {
  maph_options options = MAPH_OPTIONS_INIT;
  char path[600];
  maph *m;
  options.durability = at == LEVEL_FULL ? MAPH_SYNC_FULL : MAPH_SYNC_OFF;
  options.perfect_hash = perfect_hash;
  snprintf(path, sizeof path, "%s/data.maph", folder);
  must(NULL, maph_open(path, flags, &options, &m), "open");
  return m;
}

#define CREATE (MAPH_RDWR | MAPH_CREATE | MAPH_EXCL)
#define OPEN(level) ((level) == LEVEL_READ ? MAPH_RDONLY : MAPH_RDWR)

static void *maph_peer_create(const char *folder, level at) {
  return open_store(folder, at, CREATE, MAPH_PERFECT_DEFAULT);
}
static void *maph_peer_open(const char *folder, level at) {
  return open_store(folder, at, OPEN(at), MAPH_PERFECT_DEFAULT);
}

/* A limit on locked memory may forbid one of the options: then there is no store, and no figure. */
static void *maph_peer_open_with(const char *folder, int option) {
  maph_options options = MAPH_OPTIONS_INIT;
  char path[600];
  maph *m;
  options.prefault = option == OPEN_PREFAULT;
  options.lock_memory = option == OPEN_LOCKED;
  options.advice = option == OPEN_RANDOM ? MAPH_ADVISE_RANDOM : MAPH_ADVISE_NORMAL;
  options.huge_pages = option == OPEN_HUGE;
  snprintf(path, sizeof path, "%s/data.maph", folder);
  int rc = maph_open(path, MAPH_RDONLY, &options, &m);
  if (rc == MAPH_NOMEM && option == OPEN_LOCKED) return NULL;
  must(NULL, rc, "open");
  return m;
}

static void maph_peer_close(void *store) { must(store, maph_close(store), "close"); }

static int maph_peer_get(void *store, slice key, slice *value) {
  int rc = maph_get(store, key, value);
  if (rc == MAPH_NOTFOUND) return 0;
  must(store, rc, "get");
  return 1;
}

static void maph_peer_get_many(void *store, size_t n, const slice *keys, slice *values) {
  must(store, maph_get_many(store, n, keys, values), "get_many");
}

static void maph_peer_put(void *store, slice key, slice value) {
  must(store, maph_put(store, key, value), "put");
}

static void maph_peer_put_batch(void *store, size_t n, const slice *keys, const slice *values) {
  maph_txn *txn;
  must(store, maph_txn_begin(store, MAPH_SYNC_DEFAULT, &txn), "begin");
  for (size_t i = 0; i < n; i++) must(store, maph_txn_put(txn, keys[i], values[i]), "put");
  must(store, maph_txn_commit(txn), "commit");
}

/* A session, a JSON document as the server writes it, a text, and a page that expires. */
static void maph_peer_put_kinds(void *store, size_t n, const slice *keys, const slice *values) {
  static const uint64_t far = UINT64_C(4102444800000); /* the year 2100 */
  const maph_condition kinds[] = {
    { .expires = far },
    { .type = MAPH_JSON, .key_type = MAPH_KEY_TEXT, .media_type = maph_str("application/json") },
    { .type = MAPH_TEXT, .key_type = MAPH_KEY_TEXT },
    { .expires = far, .type = MAPH_TEXT, .media_type = maph_str("text/html; charset=utf-8") },
  };
  maph_txn *txn;
  must(store, maph_txn_begin(store, MAPH_SYNC_DEFAULT, &txn), "begin");
  for (size_t i = 0; i < n; i++)
    must(store, maph_txn_put_if(txn, keys[i], values[i], &kinds[i % 4]), "put_if");
  must(store, maph_txn_commit(txn), "commit");
}

static void maph_peer_scan(void *store, scan_total *total) {
  maph_cursor *cursor;
  maph_entry entry;
  int rc;
  must(store, maph_cursor_open(store, NULL, maph_bytes(NULL, 0), &cursor), "cursor_open");
  while ((rc = maph_cursor_next(cursor, &entry)) == MAPH_OK)
    scan_count(total, entry.key, entry.value);
  if (rc != MAPH_NOTFOUND) must(store, rc, "cursor_next");
  maph_cursor_close(cursor);
}

static void maph_peer_scan_from(void *store, slice key, uint32_t n, scan_total *total) {
  maph_range range = MAPH_RANGE_INIT;
  maph_range_cursor *cursor;
  maph_entry entry;
  int rc;
  range.from = key;
  range.limit = n;
  must(store, maph_range_open(store, NULL, &range, &cursor), "range_open");
  while ((rc = maph_range_next(cursor, &entry)) == MAPH_OK)
    scan_count(total, entry.key, entry.value);
  if (rc != MAPH_NOTFOUND) must(store, rc, "range_next");
  maph_range_close(cursor);
}

/* The order of keys becomes one run, as the upkeep of a server makes it. */
static void maph_peer_settle(void *store) { must(store, maph_tidy(store, NULL, NULL), "tidy"); }

static uint64_t maph_peer_used(void *store) {
  maph_stats stats;
  must(store, maph_stat(store, &stats), "stat");
  return stats.used_bytes;
}

static double maph_peer_index_bytes(void *store) {
  maph_stats stats;
  must(store, maph_stat(store, &stats), "stat");
  return (double)stats.index_bytes / (double)stats.records;
}

static const char *maph_peer_version(void) {
  static char version[32];
  snprintf(version, sizeof version, "maph %s", maph_version());
  return version;
}

static double cpu_of_key(void *store, uint64_t ns) {
  maph_stats stats;
  must(store, maph_stat(store, &stats), "stat");
  return (double)ns / (double)stats.records;
}

static void cost_of_rewrite(void *store, uint64_t cpu_ns, rewrite_cost *cost) {
  maph_rewrite done;
  must(store, maph_rewritten(store, &done), "rewritten");
  if (done.note[0]) fail("maph: %s", done.note);
  *cost = (rewrite_cost){ .took_ns = done.took_ns,
                          .pause_ns = done.pause_ns,
                          .memory_bytes = done.memory_bytes,
                          .cpu_ns = cpu_of_key(store, cpu_ns),
                          .bits = done.perfect_bits };
}

static void maph_peer_compact(void *store, rewrite_cost *cost) {
  uint64_t start = thread_ns();
  must(store, maph_compact(store, NULL, NULL), "compact");
  cost_of_rewrite(store, thread_ns() - start, cost);
}

static void maph_peer_optimize(void *store, rewrite_cost *cost) {
  uint64_t start = thread_ns();
  must(store, maph_optimize(store, NULL, NULL), "optimize");
  cost_of_rewrite(store, thread_ns() - start, cost);
}

static void maph_peer_freeze(void *store) {
  must(store, maph_optimize(store, NULL, NULL), "optimize");
}

static void compact_all(void *store) { must(store, maph_compact(store, NULL, NULL), "compact"); }

static void *pilot_create(const char *folder, level at) {
  return open_store(folder, at, CREATE, MAPH_PERFECT_PILOT);
}
static void *pilot_open(const char *folder, level at) {
  return open_store(folder, at, OPEN(at), MAPH_PERFECT_PILOT);
}
static void *cmph_create(const char *folder, level at) {
  return open_store(folder, at, CREATE, MAPH_PERFECT_CMPH);
}
static void *cmph_open(const char *folder, level at) {
  return open_store(folder, at, OPEN(at), MAPH_PERFECT_CMPH);
}

/* ---------------------------------------------------------------------- stores made at once */
/* freed by finish; nothing is left for close */
static void *begin_load(const char *folder, int optimize, int perfect_hash) {
  maph_load_options options = MAPH_LOAD_OPTIONS_INIT;
  char path[600];
  maph_load *load;
  options.optimize = optimize;
  options.perfect_hash = perfect_hash;
  snprintf(path, sizeof path, "%s/data.maph", folder);
  must(NULL, maph_load_begin(path, &options, &load), "load_begin");
  return load;
}

static void *plain_load(const char *folder, level at) {
  (void)at;
  return begin_load(folder, 0, MAPH_PERFECT_DEFAULT);
}
static void *pilot_load(const char *folder, level at) {
  (void)at;
  return begin_load(folder, 1, MAPH_PERFECT_PILOT);
}
static void *cmph_load(const char *folder, level at) {
  (void)at;
  return begin_load(folder, 1, MAPH_PERFECT_CMPH);
}

static void load_put_batch(void *load, size_t n, const slice *keys, const slice *values) {
  for (size_t i = 0; i < n; i++)
    must(NULL, maph_load_put(load, keys[i], values[i], NULL), "load_put");
}

static void load_finish(void *load) { must(NULL, maph_load_finish(load), "load_finish"); }
static void load_close(void *load) { (void)load; }

#define LOADING .put_batch = load_put_batch, .finish = load_finish, .close = load_close
static const peer plain_loader = { .create = plain_load, LOADING },
                  pilot_loader = { .create = pilot_load, LOADING },
                  cmph_loader = { .create = cmph_load, LOADING };

#define READING_AND_WRITING                                                                       \
  .version = maph_peer_version, .close = maph_peer_close, .get = maph_peer_get,                   \
  .get_many = maph_peer_get_many, .put = maph_peer_put, .put_batch = maph_peer_put_batch,         \
  .put_kinds = maph_peer_put_kinds, .settle = maph_peer_settle, .scan = maph_peer_scan,           \
  .scan_from = maph_peer_scan_from, .used = maph_peer_used, .index_bytes = maph_peer_index_bytes, \
  .compact = maph_peer_compact, .open_with = maph_peer_open_with, .file = "data.maph"

const peer peer_maph = { .name = "maph",
                         .settings =
                             "default options; no flush: MAPH_SYNC_OFF; durable: MAPH_SYNC_FULL",
                         .create = maph_peer_create,
                         .loader = &plain_loader,
                         .open = maph_peer_open,
                         READING_AND_WRITING };

const peer peer_maph_compact = { .name = "maph-compact",
                                 .variant_of = &peer_maph,
                                 .settings = "after maph_compact: records in the order of the keys",
                                 .create = maph_peer_create,
                                 .open = maph_peer_open,
                                 .finish = compact_all,
                                 READING_AND_WRITING };

const peer peer_maph_pilot = { .name = "maph-pilot",
                               .variant_of = &peer_maph,
                               .settings = "after maph_optimize with MAPH_PERFECT_PILOT",
                               .create = pilot_create,
                               .loader = &pilot_loader,
                               .open = pilot_open,
                               .finish = maph_peer_freeze,
                               .optimize = maph_peer_optimize,
                               READING_AND_WRITING };

const peer peer_maph_cmph = { .name = "maph-cmph",
                              .variant_of = &peer_maph,
                              .settings = "after maph_optimize with MAPH_PERFECT_CMPH",
                              .create = cmph_create,
                              .loader = &cmph_loader,
                              .open = cmph_open,
                              .finish = maph_peer_freeze,
                              .optimize = maph_peer_optimize,
                              READING_AND_WRITING };
