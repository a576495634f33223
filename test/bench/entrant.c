/*
** entrant.c - one peer's store through a benchmark: loaded, opened for reading or writing, checked.
**
** A section says what state it needs; what that takes is done here, outside of any timing.  A store
** opened for reading is asked for every key of the workload before anything is timed: that proves
** the answers, and brings every page of it into this process's page tables, so that no peer pays
** for page faults that another has already paid.
*/
#include "bench.h"

enum {
  LOAD_BATCH = 100000, /* keys a transaction */
  CHECK_BATCH = 256
};

void entrant_report(bench *bench, entrant *entrant, metric m, double value) {
  bench->results->value[m][entrant->index][bench->run] = value;
}

void entrant_close(entrant *entrant) {
  if (entrant->store) entrant->peer->close(entrant->store);
  entrant->store = NULL;
  entrant->checked = 0;
}

void entrant_open(entrant *entrant, level at) {
  entrant_close(entrant);
  entrant->store = entrant->peer->open(entrant->folder, at);
  entrant->level = at;
}

void entrant_drop(entrant *entrant) {
  entrant_close(entrant);
  if (entrant->peer->destroy) entrant->peer->destroy(entrant->folder);
  folder_remove(entrant->folder);
  entrant->loaded = 0;
}

double entrant_load(bench *bench, entrant *entrant, level at) {
  const workload *workload = &bench->work;
  uint64_t spent = 0;
  key_set batch;
  entrant_drop(entrant);
  folder_make(entrant->folder);
  folder_settle(bench->folder);
  memory_settle();
  key_set_init(&batch, LOAD_BATCH, 1);
  entrant->store = entrant->peer->create(entrant->folder, at);
  for (uint32_t done = 0; done < workload->keys; done += batch.n) {
    uint32_t left = workload->keys - done;
    key_set_fill(&batch, workload, workload->order + done, left < LOAD_BATCH ? left : LOAD_BATCH,
                 "", 0);
    uint64_t start = now_ns();
    entrant->peer->put_batch(entrant->store, batch.n, batch.keys, batch.values);
    spent += now_ns() - start;
  }
  key_set_free(&batch);
  uint64_t start = now_ns();
  if (entrant->peer->finish) entrant->peer->finish(entrant->store);
  spent += now_ns() - start;
  if (entrant->peer->settle) entrant->peer->settle(entrant->store);
  entrant_close(entrant);
  folder_settle(bench->folder);
  folder_sizes(entrant->folder, &entrant->file_bytes, &entrant->disk_bytes);
  entrant->loaded = 1;
  entrant->changed = 0;
  return (double)spent * 1e-9;
}

/* The values of keys from..from+n: by one get each, but from a server, which would take minutes,
** together. */
static void get_some(const peer *peer, void *store, const key_set *keys, uint32_t from, uint32_t n,
                     slice *values) {
  if (peer->traits & SERVER)
    peer->get_many(store, n, keys->keys + from, values);
  else if (!peer->get(store, keys->keys[from], values))
    values->data = NULL;
}

static uint32_t gets_at_once(const peer *peer, const key_set *keys, uint32_t from) {
  uint32_t left = keys->n - from;
  return !(peer->traits & SERVER) ? 1 : left < CHECK_BATCH ? left : CHECK_BATCH;
}

void check_hits(const peer *peer, void *store, const key_set *expected) {
  slice got[CHECK_BATCH];
  for (uint32_t from = 0, n; from < expected->n; from += n) {
    n = gets_at_once(peer, expected, from);
    get_some(peer, store, expected, from, n, got);
    for (uint32_t i = 0; i < n; i++) {
      slice key = expected->keys[from + i], want = expected->values[from + i];
      if (!got[i].data)
        fail("%s: %.*s is missing", peer->name, (int)key.size, (const char *)key.data);
      if (got[i].size != want.size || memcmp(got[i].data, want.data, want.size) != 0) {
        fail("%s: %.*s has another value than was put", peer->name, (int)key.size,
             (const char *)key.data);
      }
    }
  }
}

void check_misses(const peer *peer, void *store, const key_set *missing) {
  slice got[CHECK_BATCH];
  for (uint32_t from = 0, n; from < missing->n; from += n) {
    n = gets_at_once(peer, missing, from);
    get_some(peer, store, missing, from, n, got);
    for (uint32_t i = 0; i < n; i++) {
      slice key = missing->keys[from + i];
      if (got[i].data)
        fail("%s: %.*s was never put", peer->name, (int)key.size, (const char *)key.data);
    }
  }
}

static void check_value(const bench *bench, const peer *peer, uint32_t i, slice got) {
  slice want = workload_value(&bench->work, bench->work.asked[i], 0);
  if (got.data && got.size == want.size && memcmp(got.data, want.data, want.size) == 0) return;
  fail("%s: get_many or get of key:%u gave something else than was put", peer->name,
       bench->work.asked[i]);
}

/* get_many must know what is there and what is missing; and get, where the check of all keys was
** done by get_many. */
static void check_many(const bench *bench, const peer *peer, void *store) {
  enum { PAIRS = 100 };
  slice keys[2 * PAIRS] = { { NULL, 0 } }, values[2 * PAIRS], value;
  uint32_t n = bench->hits.n < PAIRS ? bench->hits.n : PAIRS;
  for (uint32_t i = 0; i < n; i++) {
    keys[2 * i] = bench->hits.keys[i];
    keys[2 * i + 1] = bench->misses.keys[i];
  }
  peer->get_many(store, 2 * n, keys, values);
  for (uint32_t i = 0; i < n; i++) {
    check_value(bench, peer, i, values[2 * i]);
    if (values[2 * i + 1].data) fail("%s: get_many found a key that was never put", peer->name);
  }
  for (uint32_t i = 0; i < n; i++) {
    check_value(bench, peer, i,
                peer->get(store, keys[2 * i], &value) ? value : maph_bytes(NULL, 0));
    if (peer->get(store, keys[2 * i + 1], &value))
      fail("%s: get found a key that was never put", peer->name);
  }
}

static void check_scan(const workload *workload, const peer *peer, void *store) {
  scan_total seen = { 0, 0, 0 };
  peer->scan(store, &seen);
  if (seen.entries != workload->keys || seen.bytes != workload_bytes(workload)
      || seen.sum != workload_value_sum(workload)) {
    fail("%s: a scan saw %llu entries with %llu bytes, or their values differ from what was put",
         peer->name, (unsigned long long)seen.entries, (unsigned long long)seen.bytes);
  }
}

void check_keys(const workload *workload, const peer *peer, void *store) {
  key_set part;
  key_set_init(&part, LOAD_BATCH, 1);
  for (uint32_t done = 0; done < workload->keys; done += part.n) {
    uint32_t left = workload->keys - done;
    key_set_fill(&part, workload, workload->order + done, left < LOAD_BATCH ? left : LOAD_BATCH, "",
                 0);
    check_hits(peer, store, &part);
  }
  key_set_free(&part);
}

static void check_all(const bench *bench, entrant *entrant) {
  const workload *workload = &bench->work;
  check_keys(workload, entrant->peer, entrant->store);
  check_misses(entrant->peer, entrant->store, &bench->misses);
  if (entrant->peer->get_many) check_many(bench, entrant->peer, entrant->store);
  check_scan(workload, entrant->peer, entrant->store);
  entrant->checked = 1;
}

void entrant_need_reading(bench *bench, entrant *entrant) {
  if (!entrant->loaded || entrant->changed) entrant_load(bench, entrant, LEVEL_OFF);
  if (!entrant->store || entrant->level != LEVEL_READ) entrant_open(entrant, LEVEL_READ);
  if (!entrant->checked) check_all(bench, entrant);
}

void entrant_need_writing(bench *bench, entrant *entrant, level at) {
  if (!entrant->loaded) entrant_load(bench, entrant, LEVEL_OFF);
  entrant_open(entrant, at);
  entrant->changed = 1;
  folder_settle(bench->folder);
}
