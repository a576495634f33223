/*
** find.c - from a key to its record, where the hot path of find.h does not settle it; and groups of
** keys.  The structure and its invariants are in segment.h.
*/
#include "index/find.h"
#include "file/record.h"
#include "file/store.h"
#include "index/perfect.h"
#include "index/segment.h"
#include "index/slot.h"

enum { RETRY_MOST = 10000 };

static inline int place_unchanged(const view *view, const place *place) {
  atomic_thread_fence(memory_order_acquire);
  return acquire(&header_of(view->base)->root) == place->root
         && acquire(place->directory_word) == place->segment;
}

/* The chains that slots lead to share no record, and those past the snapshot lie in the file: a
** search steps back over each once at most.  (A slot may be met in two places while it is moved.)
*/
static uint64_t steps_most(const view *view) {
  return 2 * (view->size - MIN(view->size, view->snapshot)) / RECORD_HEAD;
}

/* Step back from a slot's record to the version of the snapshot and compare the key.  1: found, 0:
** not this key's or nothing then. */
static inline int match_at_snapshot(const view *view, uint64_t offset, maph_slice key, item *it,
                                    uint64_t *steps, int *rc) {
  while (unlikely(offset >= view->snapshot)) {
    uint64_t before;
    *rc = view_reach(view, offset + RECORD_HEAD);
    if (*rc == MAPH_OK && ++*steps > steps_most(view))
      *rc =
          fail_corrupt(view->store->path, offset, "slots of several keys lead to the same records");
    if (*rc != MAPH_OK) return 0;
    *rc = record_prev(view, offset, &before);
    if (*rc != MAPH_OK || before == 0) return 0;
    offset = before;
  }
  *rc = record_item(view, offset, view->snapshot, it);
  return *rc == MAPH_OK && it->key_size == key.size && memcmp(it->key, key.data, key.size) == 0;
}

/* Search one segment from the key's bucket on.  1 found, 0 ended or failed (*rc), -1 all its
** buckets are full. */
static inline int search_segment(const view *view, uint64_t segment, maph_slice key, uint64_t hash,
                                 item *it, uint64_t *steps, int *rc) {
  unsigned i, home = home_of(hash);
  uint32_t tag = tag_of(hash);
  for (i = 0; i < SEGMENT_BUCKETS; i++) {
    const word *bucket = bucket_at(view->base, segment, (home + i) & (SEGMENT_BUCKETS - 1));
    unsigned bits = bucket_matches(bucket, tag);
    for (; bits; bits &= bits - 1) {
      uint64_t slot = acquire(&bucket[__builtin_ctz(bits)]);
      if (slot == 0 || slot_tag(slot) != tag) continue;
      if (match_at_snapshot(view, slot_offset(slot), key, it, steps, rc)) return 1;
      if (*rc != MAPH_OK) return 0;
    }
    if (likely(acquire(&bucket[BUCKET_SLOTS - 1]) == 0)) return 0;
  }
  return -1;
}

static int search(const view *view, const place *place, maph_slice key, uint64_t hash, item *it,
                  int *rc) {
  uint64_t segment = place->segment, steps = 0, next;
  int found = search_segment(view, segment, key, hash, it, &steps, rc);
  while (unlikely(found < 0)) {
    next = word_place(acquire(link_of(view->base, segment)));
    if (next == 0) return 0;
    if (next < segment + SEGMENT_SIZE) {
      *rc = fail_corrupt(view->store->path, segment,
                         "an overflow segment does not lie behind the one that names it");
      return 0;
    }
    *rc = segment_sound(view, next);
    if (*rc != MAPH_OK) return 0;
    segment = next;
    found = search_segment(view, segment, key, hash, it, &steps, rc);
  }
  return found;
}

/* By slots. */
static int find_indexed(const view *view, maph_slice key, uint64_t hash, item *it) {
  int rc = MAPH_OK, tries;
  place place;
  for (tries = 0; tries < RETRY_MOST; tries++) {
    rc = place_of(view, acquire(&header_of(view->base)->root), hash, &place);
    if (unlikely(rc != MAPH_OK)) return rc;
    if (likely(search(view, &place, key, hash, it, &rc))) return MAPH_OK;
    if (unlikely(rc != MAPH_OK)) return rc;
    if (likely(place_unchanged(view, &place))) return MAPH_NOTFOUND;
  }
  return fail_corrupt(view->store->path, offsetof(header, root), "the index changes without end");
}

int index_find(const view *view, maph_slice key, uint64_t hash, item *it) {
  int rc = perfect_find(view, key, hash, it), indexed;
  item later;
  if (rc != MAPH_OK) return likely(rc == MAPH_NOTFOUND) ? find_indexed(view, key, hash, it) : rc;
  if (likely(record_newest(view, it->offset))) return MAPH_OK;
  indexed = find_indexed(view, key, hash, &later);
  /* else its successor is not in the index yet, or lost, which recovery is about to find out */
  if (indexed == MAPH_OK) *it = later;
  return indexed == MAPH_NOTFOUND ? MAPH_OK : indexed;
}

void index_prefetch(const view *view, uint64_t hash) {
  uint64_t root = acquire(&header_of(view->base)->root), directory = word_place(root),
           depth = word_depth(root), segment;
  if (depth > HASH_BITS || directory > view->size || view->size - directory < (uint64_t)8 << depth)
    return;
  segment = acquire(word_at(view->base, directory) + (tag_of(hash) >> (HASH_BITS - depth)));
  if (segment < view->size) __builtin_prefetch(view->base + segment + (uint64_t)home_of(hash) * 64);
}

/* Does the record say whether the key is there?  Where it is not, the value stays NULL. */
static inline int answer_at(const view *view, uint64_t now, uint64_t offset, maph_slice key,
                            maph_slice *value) {
  uint64_t expires;
  int answer = record_answer(view->base, offset, view->snapshot, 0, key, value, &expires);
  if (answer == RECORD_DATED && record_expired(expires, now)) *value = maph_bytes(NULL, 0);
  return answer != RECORD_OTHER;
}

/* The same of a frozen record, if it has the key and has not expired. */
static inline int frozen_answer_at(const view *view, uint64_t now, uint64_t address, maph_slice key,
                                   maph_slice *value) {
  uint64_t expires;
  int answer =
      perfect_answer(view->store, view->base, view->snapshot, address, 0, key, value, &expires, 0);
  return answer == RECORD_VALUE || (answer == RECORD_DATED && !record_expired(expires, now));
}

/* By the perfect hash: those that it settles lose their bit in `left`. */
static uint32_t perfect_get_group(const view *view, uint64_t now, size_t n, const maph_slice *keys,
                                  maph_slice *values) {
  const perfect *perfect = &view->store->perfect;
  uint64_t hash[INDEX_GROUP], at[INDEX_GROUP], number[INDEX_GROUP];
  uint32_t left = 0;
  size_t i;
  for (i = 0; i < n; i++) {
    hash[i] = index_hash(view->store, keys[i]);
    if (perfect->algorithm == MAPH_PERFECT_PILOT)
      __builtin_prefetch(view->base + perfect->function + pilot_bucket(hash[i], perfect->buckets));
  }
  if (!perfect->direct && perfect->algorithm == MAPH_PERFECT_PILOT) {
    for (i = 0; i < n; i++)
      __builtin_prefetch(view->base + perfect->table
                         + pilot_number(perfect, view->base, hash[i]) / GROUP_KEYS
                               * sizeof(group_line));
  }
  for (i = 0; i < n; i++) {
    at[i] = perfect_address(view->store, view->base, hash[i], &number[i], 0);
    if (unlikely(perfect->past > view->snapshot)) at[i] = 0;
    __builtin_prefetch(view->base + at[i]);
    __builtin_prefetch(view->base + at[i] + 64);
  }
  for (i = 0; i < n; i++) {
    if (unlikely(
            at[i] == 0 || !frozen_answer_at(view, now, at[i], keys[i], &values[i])
            || perfect_superseded(view->store, view->base, view->snapshot, number[i], at[i], 0))) {
      values[i] = maph_bytes(NULL, 0);
      left |= UINT32_C(1) << i;
    }
  }
  return left;
}

/* Three passes over a group, so that the cache misses of its keys overlap: index lines, then
** records, then the comparing.  What the hot path would settle is settled; the others keep data
** NULL and get their bit in the returned mask. */
static uint32_t indexed_get_group(const view *view, uint64_t now, size_t n, const maph_slice *keys,
                                  maph_slice *values) {
  uint64_t hash[INDEX_GROUP], candidate[INDEX_GROUP], root = acquire(&header_of(view->base)->root),
                                                      directory = word_place(root),
                                                      depth = word_depth(root);
  const word *bucket[INDEX_GROUP];
  uint32_t unsettled = 0;
  size_t i;
  if (depth > HASH_BITS || directory > view->size
      || view->size - directory < (UINT64_C(8) << depth))
    return UINT32_MAX;
  for (i = 0; i < n; i++) {
    uint64_t segment;
    hash[i] = index_hash(view->store, keys[i]);
    segment = acquire(word_at(view->base, directory) + (tag_of(hash[i]) >> (HASH_BITS - depth)));
    bucket[i] = likely(segment % 64 == 0 && segment >= LOG_START && segment <= view->size
                       && view->size - segment >= SEGMENT_SIZE)
                    ? bucket_at(view->base, segment, home_of(hash[i]))
                    : NULL;
    __builtin_prefetch(bucket[i]);
  }
  for (i = 0; i < n; i++) {
    unsigned bits = likely(bucket[i] != NULL) ? bucket_matches(bucket[i], tag_of(hash[i])) : 0;
    uint64_t slot = bits ? acquire(&bucket[i][__builtin_ctz(bits)]) : 0, offset = slot_offset(slot);
    candidate[i] = slot_tag(slot) == tag_of(hash[i]) && offset >= LOG_START
                           && offset <= view->snapshot - RECORD_HEAD
                       ? offset
                       : 0;
    __builtin_prefetch(view->base + candidate[i]);
    __builtin_prefetch(view->base + candidate[i] + 64);
  }
  for (i = 0; i < n; i++) {
    values[i] = maph_bytes(NULL, 0);
    if (unlikely(candidate[i] == 0 || !answer_at(view, now, candidate[i], keys[i], &values[i])))
      unsettled |= UINT32_C(1) << i;
  }
  return unsettled;
}

uint32_t index_get_group(const view *view, uint64_t now, size_t n, const maph_slice *keys,
                         maph_slice *values) {
  maph_slice rest_keys[INDEX_GROUP], rest_values[INDEX_GROUP];
  uint32_t left, unsettled;
  unsigned at[INDEX_GROUP];
  size_t i, rest = 0;
  if (view->store->perfect.keys == 0) return indexed_get_group(view, now, n, keys, values);
  left = perfect_get_group(view, now, n, keys, values);
  if (likely(left == 0)) return 0;
  for (i = 0; i < n; i++) {
    if ((left >> i & 1) == 0) continue;
    rest_keys[rest] = keys[i];
    at[rest++] = (unsigned)i;
  }
  unsettled = indexed_get_group(view, now, rest, rest_keys, rest_values);
  for (i = 0; i < rest; i++) {
    values[at[i]] = rest_values[i];
    if ((unsettled >> i & 1) == 0) left &= ~(UINT32_C(1) << at[i]);
  }
  return left;
}
