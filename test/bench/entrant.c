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

void entrant_report(bench *b, entrant *e, metric m, double value) {
  b->results->value[m][e->index][b->run] = value;
}

void entrant_close(entrant *e) {
  if (e->store) e->peer->close(e->store);
  e->store = NULL;
  e->checked = 0;
}

void entrant_open(entrant *e, level at) {
  entrant_close(e);
  e->store = e->peer->open(e->folder, at);
  e->level = at;
}

void entrant_drop(entrant *e) {
  entrant_close(e);
  if (e->peer->destroy) e->peer->destroy(e->folder);
  folder_remove(e->folder);
  e->loaded = 0;
}

double entrant_load(bench *b, entrant *e, level at) {
  const workload *w = &b->work;
  uint64_t spent = 0;
  key_set batch;
  entrant_drop(e);
  folder_make(e->folder);
  folder_settle(b->folder);
  key_set_init(&batch, LOAD_BATCH, 1);
  e->store = e->peer->create(e->folder, at);
  for (uint32_t done = 0; done < w->keys; done += batch.n) {
    uint32_t left = w->keys - done;
    key_set_fill(&batch, w, w->order + done, left < LOAD_BATCH ? left : LOAD_BATCH, "", 0);
    uint64_t start = now_ns();
    e->peer->put_batch(e->store, batch.n, batch.keys, batch.values);
    spent += now_ns() - start;
  }
  key_set_free(&batch);
  uint64_t start = now_ns();
  if (e->peer->finish) e->peer->finish(e->store);
  spent += now_ns() - start;
  if (e->peer->settle) e->peer->settle(e->store);
  entrant_close(e);
  folder_settle(b->folder);
  folder_sizes(e->folder, &e->file_bytes, &e->disk_bytes);
  e->loaded = 1;
  e->changed = 0;
  return (double)spent * 1e-9;
}

/* The values of keys from..from+n: by one get each, but from a server, which would take minutes,
** together. */
static void get_some(const peer *p, void *store, const key_set *s, uint32_t from, uint32_t n,
                     slice *values) {
  if (p->traits & SERVER)
    p->get_many(store, n, s->keys + from, values);
  else if (!p->get(store, s->keys[from], values))
    values->data = NULL;
}

static uint32_t gets_at_once(const peer *p, const key_set *s, uint32_t from) {
  uint32_t left = s->n - from;
  return !(p->traits & SERVER) ? 1 : left < CHECK_BATCH ? left : CHECK_BATCH;
}

void check_hits(const peer *p, void *store, const key_set *expected) {
  slice got[CHECK_BATCH];
  for (uint32_t from = 0, n; from < expected->n; from += n) {
    n = gets_at_once(p, expected, from);
    get_some(p, store, expected, from, n, got);
    for (uint32_t i = 0; i < n; i++) {
      slice key = expected->keys[from + i], want = expected->values[from + i];
      if (!got[i].data) fail("%s: %.*s is missing", p->name, (int)key.size, (const char *)key.data);
      if (got[i].size != want.size || memcmp(got[i].data, want.data, want.size) != 0) {
        fail("%s: %.*s has another value than was put", p->name, (int)key.size,
             (const char *)key.data);
      }
    }
  }
}

void check_misses(const peer *p, void *store, const key_set *missing) {
  slice got[CHECK_BATCH];
  for (uint32_t from = 0, n; from < missing->n; from += n) {
    n = gets_at_once(p, missing, from);
    get_some(p, store, missing, from, n, got);
    for (uint32_t i = 0; i < n; i++) {
      slice key = missing->keys[from + i];
      if (got[i].data)
        fail("%s: %.*s was never put", p->name, (int)key.size, (const char *)key.data);
    }
  }
}

static void check_value(const bench *b, const peer *p, uint32_t i, slice got) {
  slice want = workload_value(&b->work, b->work.asked[i], 0);
  if (got.data && got.size == want.size && memcmp(got.data, want.data, want.size) == 0) return;
  fail("%s: get_many or get of key:%u gave something else than was put", p->name, b->work.asked[i]);
}

/* get_many must know what is there and what is missing; and get, where the check of all keys was
** done by get_many. */
static void check_many(const bench *b, const peer *p, void *store) {
  enum { PAIRS = 100 };
  slice keys[2 * PAIRS] = { { NULL, 0 } }, values[2 * PAIRS], value;
  uint32_t n = b->hits.n < PAIRS ? b->hits.n : PAIRS;
  for (uint32_t i = 0; i < n; i++) {
    keys[2 * i] = b->hits.keys[i];
    keys[2 * i + 1] = b->misses.keys[i];
  }
  p->get_many(store, 2 * n, keys, values);
  for (uint32_t i = 0; i < n; i++) {
    check_value(b, p, i, values[2 * i]);
    if (values[2 * i + 1].data) fail("%s: get_many found a key that was never put", p->name);
  }
  for (uint32_t i = 0; i < n; i++) {
    check_value(b, p, i, p->get(store, keys[2 * i], &value) ? value : maph_bytes(NULL, 0));
    if (p->get(store, keys[2 * i + 1], &value))
      fail("%s: get found a key that was never put", p->name);
  }
}

static void check_scan(const workload *w, const peer *p, void *store) {
  scan_total seen = { 0, 0, 0 };
  p->scan(store, &seen);
  if (seen.entries != w->keys || seen.bytes != workload_bytes(w)
      || seen.sum != workload_value_sum(w)) {
    fail("%s: a scan saw %llu entries with %llu bytes, or their values differ from what was put",
         p->name, (unsigned long long)seen.entries, (unsigned long long)seen.bytes);
  }
}

static void check_all(const bench *b, entrant *e) {
  const workload *w = &b->work;
  key_set part;
  key_set_init(&part, LOAD_BATCH, 1);
  for (uint32_t done = 0; done < w->keys; done += part.n) {
    uint32_t left = w->keys - done;
    key_set_fill(&part, w, w->order + done, left < LOAD_BATCH ? left : LOAD_BATCH, "", 0);
    check_hits(e->peer, e->store, &part);
  }
  key_set_free(&part);
  check_misses(e->peer, e->store, &b->misses);
  if (e->peer->get_many) check_many(b, e->peer, e->store);
  check_scan(w, e->peer, e->store);
  e->checked = 1;
}

void entrant_need_reading(bench *b, entrant *e) {
  if (!e->loaded || e->changed) entrant_load(b, e, LEVEL_OFF);
  if (!e->store || e->level != LEVEL_READ) entrant_open(e, LEVEL_READ);
  if (!e->checked) check_all(b, e);
}

void entrant_need_writing(bench *b, entrant *e, level at) {
  if (!e->loaded) entrant_load(b, e, LEVEL_OFF);
  entrant_open(e, at);
  e->changed = 1;
  folder_settle(b->folder);
}
