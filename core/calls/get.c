/*
** get.c - the public reads of keys: single gets and groups of them, in a snapshot too.
*/
#include "calls/handle.h"
#include "calls/snapshot.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "index/find.h"
#include "index/lookup.h"

/* --------------------------------------------------------------------------------- public reads */

static int missing(const store *store, int rc) {
  return rc == MAPH_NOTFOUND ? fail(rc, "%s: no such key", store->path) : rc;
}

static __attribute__((noinline, cold)) int get_slowly(maph *m, maph_slice key, maph_slice *value) {
  store *store;
  view view;
  item it;
  int rc;
  if (value == NULL) return fail(MAPH_MISUSE, "maph_get: no place for the value");
  *value = maph_bytes(NULL, 0);
  rc = handle_reader(m, &store);
  if (rc == MAPH_OK) rc = view_latest(store, &view);
  if (rc == MAPH_OK) rc = view_find(&view, key, 0, m->options.verify, &it);
  if (rc == MAPH_OK) *value = maph_bytes(it.value, it.value_size);
  return rc;
}

/* Found, if its expiry has not passed. */
static __attribute__((noinline)) int get_dated(maph_slice *value, uint64_t expires) {
  if (!record_expired(expires, 0)) return MAPH_OK;
  *value = maph_bytes(NULL, 0);
  return MAPH_NOTFOUND;
}

/* Keys and stores that need a call. */
static __attribute__((noinline, flatten)) int get_any(maph *m, maph_slice key, maph_slice *value);

/* The hot path: nothing unusual about the handle, the live words or the key.  A miss is too common
** to compose a sentence for.  What it calls it calls last: it has nothing to keep across a call.
**
** `state` is relaxed: who learned of a later write, in whatever way, did so after the flag was
** stored, and finds it.  Who finds an older `state` reads as it would have just before: what is
** committed in the old file stays, and the handle keeps it mapped. */
static inline __attribute__((always_inline)) int get(maph *m, maph_slice key, maph_slice *value,
                                                     int leaf) {
  const store *store = atomic_load_explicit(&m->store, memory_order_acquire);
  if (likely(handle_is_quick(m, store))) {
    uint64_t hash = index_hash(store, key), state, snapshot,
             size = atomic_load_explicit(&store->size, memory_order_acquire);
    const uint8_t *base = atomic_load_explicit(&store->base, memory_order_acquire);
    state = atomic_load_explicit(&header_of(base)->state, memory_order_relaxed);
    snapshot = atomic_load_explicit(&header_of(base)->committed, memory_order_acquire);
    OS_TEST_PAUSE("get");
    if (likely((state & (STATE_SWITCHING | STATE_SUPERSEDED | STATE_DELETED)) == 0
               && snapshot - (LOG_START + END_SIZE) <= size - (LOG_START + END_SIZE))) {
      uint64_t expires = 0;
      int rc = index_get(store, base, size, snapshot, key, hash, value, &expires, leaf);
      if (likely(rc == MAPH_OK)) return rc;
      if (rc == INDEX_DATED) return get_dated(value, expires);
      if (leaf && rc == INDEX_CALLS) return get_any(m, key, value);
      if (likely(rc == MAPH_NOTFOUND)) {
        *value = maph_bytes(NULL, 0);
        return rc;
      }
    }
  }
  return get_slowly(m, key, value);
}

static int get_any(maph *m, maph_slice key, maph_slice *value) {
  if (likely(m != NULL && value != NULL && key.size - 1 < KEY_MAX && key.data != NULL))
    return get(m, key, value, 0);
  return get_slowly(m, key, value);
}

__attribute__((flatten)) int maph_get(maph *m, maph_slice key, maph_slice *value) {
  if (likely(m != NULL && value != NULL && is_two_words(key) && key.data != NULL))
    return get(m, key, value, 1);
  return get_any(m, key, value);
}

int maph_exists(maph *m, maph_slice key) {
  maph_slice value;
  return maph_get(m, key, &value);
}

/* The key, if its value has at most so many bytes: a checksum reads no more of it.  TOOBIG NOTFOUND
*/
static int find_upto(const view *view, maph_slice key, uint64_t most, int verify, item *it) {
  int rc = view_find(view, key, 0, 0, it);
  if (rc != MAPH_OK) return rc;
  if (it->value_size <= most) return verify ? item_verify(view, it) : MAPH_OK;
  return fail(MAPH_TOOBIG, "%s: the value has %llu bytes, and at most %llu were asked for",
              view->store->path, (unsigned long long)it->value_size, (unsigned long long)most);
}

int maph_get_entry_upto(maph *m, maph_slice key, uint64_t most, maph_entry *entry) {
  store *store;
  view view;
  item it;
  int rc;
  if (entry == NULL) return fail(MAPH_MISUSE, "maph_get_entry: no place for the entry");
  memset(entry, 0, sizeof *entry);
  rc = handle_store_now(m, &store);
  if (rc == MAPH_OK) rc = handle_reader(m, &store);
  if (rc == MAPH_OK) rc = view_latest(store, &view);
  if (rc != MAPH_OK) return rc;
  if (most < VALUE_MAX)
    rc = missing(store, find_upto(&view, key, most, m->options.verify, &it));
  else
    rc = missing(store, view_find(&view, key, 0, m->options.verify, &it));
  if (rc == MAPH_OK) record_entry(store, &it, entry);
  return rc;
}

int maph_get_entry(maph *m, maph_slice key, maph_entry *entry) {
  return maph_get_entry_upto(m, key, UINT64_MAX, entry);
}

/* For gets that verify: the misses of a group overlap in the index, in the records, and in what of
** the values a checksum reads first.  The values of unsettled keys are not set. */
static void warm_group(const view *view, uint64_t now, size_t n, const maph_slice *keys,
                       maph_slice *values) {
  enum { SOON = 256 };
  uint32_t unsettled = index_get_group(view, now, n, keys, values);
  size_t i, at;
  for (i = 0; i < n; i++) {
    if (unsettled >> i & 1) continue;
    for (at = 64; values[i].data && at < values[i].size && at < SOON; at += 64)
      __builtin_prefetch((const uint8_t *)values[i].data + at);
  }
}

static int get_many(const view *view, uint64_t now, int verify, size_t n, const maph_slice *keys,
                    maph_slice *values) {
  size_t done, i, group;
  int rc = MAPH_OK;
  for (i = 0; i < n && rc == MAPH_OK; i++) rc = view_check_key(keys[i]);
  for (done = 0; done < n && rc == MAPH_OK; done += group) {
    uint32_t left = UINT32_MAX;
    group = MIN(n - done, (size_t)INDEX_GROUP);
    if (verify)
      warm_group(view, now, group, keys + done, values + done);
    else
      left = index_get_group(view, now, group, keys + done, values + done);
    for (i = 0; left != 0 && i < group && rc == MAPH_OK; i++, left >>= 1) {
      item it;
      if ((left & 1) == 0) continue;
      rc = view_find(view, keys[done + i], now, verify, &it);
      values[done + i] = rc == MAPH_OK ? maph_bytes(it.value, it.value_size) : maph_bytes(NULL, 0);
      if (rc == MAPH_NOTFOUND) rc = MAPH_OK;
    }
  }
  if (rc != MAPH_OK)
    for (i = 0; i < n; i++) values[i] = maph_bytes(NULL, 0);
  return rc;
}

int maph_get_many(maph *m, size_t n, const maph_slice *keys, maph_slice *values) {
  store *store;
  view view;
  int rc = handle_reader(m, &store);
  if (rc == MAPH_OK && n > 0 && (keys == NULL || values == NULL))
    rc = fail(MAPH_MISUSE, "maph_get_many: no keys or no place for the values");
  if (rc == MAPH_OK) rc = view_latest(store, &view);
  return rc == MAPH_OK ? get_many(&view, 0, m->options.verify, n, keys, values) : rc;
}

/* -------------------------------------------------------------------------------- in a snapshot */

/* Live at the snapshot: through the open transaction it shows, if any.  NOTFOUND is not said. */
static int snapshot_find(maph_snapshot *snapshot, maph_slice key, item *it) {
  view view;
  int rc = snapshot_view(snapshot, &view);
  if (rc != MAPH_OK) return rc;
  if (snapshot->within == NULL)
    return view_find(&view, key, snapshot->now, snapshot->handle->options.verify, it);
  rc = view_check_key(key);
  if (rc == MAPH_OK) rc = txn_find(&snapshot->within->txn, snapshot->snapshot, key, it);
  if (rc == MAPH_OK && (it->kind != KIND_PUT || item_expired(it, snapshot->now)))
    rc = MAPH_NOTFOUND;
  if (rc == MAPH_OK && snapshot->handle->options.verify)
    rc = record_verify(&view, it->offset, it->size);
  return rc;
}

int maph_snapshot_get(maph_snapshot *snapshot, maph_slice key, maph_slice *value) {
  item it;
  int rc;
  if (value == NULL) return fail(MAPH_MISUSE, "maph_snapshot_get: no place for the value");
  *value = maph_bytes(NULL, 0);
  rc = snapshot_find(snapshot, key, &it);
  if (rc == MAPH_OK) *value = maph_bytes(it.value, it.value_size);
  return rc == MAPH_NOTFOUND ? missing(snapshot->store, rc) : rc;
}

int maph_snapshot_get_entry(maph_snapshot *snapshot, maph_slice key, maph_entry *entry) {
  item it;
  int rc;
  if (entry == NULL) return fail(MAPH_MISUSE, "maph_snapshot_get_entry: no place for the entry");
  memset(entry, 0, sizeof *entry);
  rc = snapshot_find(snapshot, key, &it);
  if (rc == MAPH_OK) record_entry(snapshot->store, &it, entry);
  return rc == MAPH_NOTFOUND ? missing(snapshot->store, rc) : rc;
}

int maph_snapshot_get_many(maph_snapshot *snapshot, size_t n, const maph_slice *keys,
                           maph_slice *values) {
  view view;
  size_t i;
  int rc = snapshot_view(snapshot, &view);
  if (rc == MAPH_OK && n > 0 && (keys == NULL || values == NULL))
    rc = fail(MAPH_MISUSE, "maph_snapshot_get_many: no keys or no place for the values");
  if (rc != MAPH_OK) return rc;
  if (snapshot->within == NULL)
    return get_many(&view, snapshot->now, snapshot->handle->options.verify, n, keys, values);
  for (i = 0; i < n && rc == MAPH_OK; i++) {
    item it;
    rc = snapshot_find(snapshot, keys[i], &it);
    values[i] = rc == MAPH_OK ? maph_bytes(it.value, it.value_size) : maph_bytes(NULL, 0);
    if (rc == MAPH_NOTFOUND) rc = MAPH_OK;
  }
  return rc;
}

/* One by one, as a single get does it, but with warm lines. */
int maph_snapshot_get_entries(maph_snapshot *snapshot, size_t n, const maph_slice *keys,
                              maph_entry *entries) {
  maph_slice values[INDEX_GROUP];
  view view;
  size_t done, group, i;
  int rc = snapshot_view(snapshot, &view);
  if (rc == MAPH_OK && n > 0 && (keys == NULL || entries == NULL))
    rc = fail(MAPH_MISUSE, "maph_snapshot_get_entries: no keys or no place for the entries");
  if (rc != MAPH_OK) return rc;
  memset(entries, 0, n * sizeof *entries);
  for (i = 0; i < n && rc == MAPH_OK; i++) rc = view_check_key(keys[i]);
  for (done = 0; done < n && rc == MAPH_OK; done += group) {
    group = MIN(n - done, (size_t)INDEX_GROUP);
    if (snapshot->within == NULL) warm_group(&view, snapshot->now, group, keys + done, values);
    for (i = 0; i < group && rc == MAPH_OK; i++) {
      item it;
      rc = snapshot_find(snapshot, keys[done + i], &it);
      if (rc == MAPH_OK) record_entry(snapshot->store, &it, &entries[done + i]);
      if (rc == MAPH_NOTFOUND) rc = MAPH_OK;
    }
  }
  return rc;
}
