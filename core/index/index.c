/*
** index.c - extendible hashing in the file: find, reserve, publish, split.
**
** The structure is in format.h, section 3 (Fagin et al. 1979; buckets of one cache line, probed in
** line).  The invariants:
**
**  (1) A slot leads to the newest version of its key, a put or a delete, from the moment
**      `committed` covers that version.
**  (2) The slot of a segment's own key is never emptied or moved.  A bucket past which an own key
**      was probed keeps its last slot filled.  So "an empty last slot ends the probe" is true
**      whenever it is read.
**  (3) A key's slot lies in the segment that its directory word names, and every bucket between the
**      key's own and the slot's is full - or, for a reader that holds an older directory word, in
**      that word's segment as a slot left behind, which still leads to the right record for every
**      snapshot taken before the split.
**  (4) A left-behind slot is cleared or reused only after root and directory words were stored
**      (release) that lead past it.  So a reader whose miss might come from such reuse finds root
**      or its directory word changed when it looks again, and repeats.
**  (5) Readers take `committed` before root (view.c).
**
** A split copies the segment, keeps in each copy what is its own, and moves nothing: so it reads no
** record and needs no key's own bucket.  Only where (2) demands it a slot of the other half stays,
** as a stopper in the last place.  The `displaced` bit tells where.
**
** Writers split before their transaction is decided (index_reserve), so that publishing, after the
** decision, only stores into slots that are known to be free.  A crash inside a split leaves
** `state` naming the new segment, already filled; index_finish_split repeats the directory stores.
** Readers are right at every step of it, finished or not.
**
** Colliding keys, which who can read the seed can make, would double the directory for ever: it
** stays at most 16 times the number of segments, and a full segment that may not split is given an
** overflow segment instead.
*/
#include "file/grant.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "index/find.h"
#include "index/index.h"
#include "index/perfect.h"


enum { RETRY_MOST = 10000 };

/* -------------------------------------------------------------------------------------- reading */

/* Where a hash leads: the directory word and the segment it names. */
typedef struct place {
  uint64_t root, segment;
  const word *directory_word;
} place;

/* Make sure the view reaches `need`: the file may have grown since it was opened. */
static int view_reach(const view *v, uint64_t need) {
  int rc;
  if (likely(need <= v->size)) return MAPH_OK;
  rc = store_see_size(v->s, need);
  if (rc == MAPH_OK) {
    ((view *)(uintptr_t)v)->size = atomic_load_explicit(&v->s->size, memory_order_acquire);
    ((view *)(uintptr_t)v)->base = atomic_load_explicit(&v->s->base, memory_order_acquire);
  }
  return rc;
}

static inline int segment_sound(const view *v, uint64_t segment) {
  if (unlikely(segment < LOG_START + RECORD_HEAD || segment % 64 || segment > OFFSET_MAX)) {
    return fail_corrupt(v->s->path, segment, "the index names a segment that cannot be there");
  }
  return view_reach(v, segment + SEGMENT_SIZE);
}

static inline int place_of(const view *v, uint64_t root, uint64_t hash, place *p) {
  uint64_t directory = word_place(root), depth = word_depth(root);
  int rc;
  if (unlikely(depth > HASH_BITS || directory < LOG_START + RECORD_HEAD
               || directory > OFFSET_MAX)) {
    return fail_corrupt(v->s->path, offsetof(header, root), "the index's root is damaged");
  }
  rc = view_reach(v, directory + ((uint64_t)8 << depth));
  if (unlikely(rc != MAPH_OK)) return rc;
  p->root = root;
  p->directory_word = word_at(v->base, directory) + (tag_of(hash) >> (HASH_BITS - depth));
  p->segment = acquire(p->directory_word);
  return segment_sound(v, p->segment);
}

static inline int place_unchanged(const view *v, const place *p) {
  atomic_thread_fence(memory_order_acquire);
  return acquire(&header_of(v->base)->root) == p->root && acquire(p->directory_word) == p->segment;
}

/* The chains that slots lead to share no record, and those past the snapshot lie in the file: a
** search steps back over each once at most.  (A slot may be met in two places while it is moved.) */
static uint64_t steps_most(const view *v) {
  return 2 * (v->size - MIN(v->size, v->snapshot)) / RECORD_HEAD;
}

/* Step back from a slot's record to the version of the snapshot and compare the key.  1: found, 0:
** not this key's or nothing then. */
static inline int match_at_snapshot(const view *v, uint64_t offset, maph_slice key, item *it,
                                    uint64_t *steps, int *rc) {
  while (unlikely(offset >= v->snapshot)) {
    uint64_t before;
    *rc = view_reach(v, offset + RECORD_HEAD);
    if (*rc == MAPH_OK && ++*steps > steps_most(v))
      *rc = fail_corrupt(v->s->path, offset, "slots of several keys lead to the same records");
    if (*rc != MAPH_OK) return 0;
    *rc = record_prev(v, offset, &before);
    if (*rc != MAPH_OK || before == 0) return 0;
    offset = before;
  }
  *rc = record_item(v, offset, v->snapshot, it);
  return *rc == MAPH_OK && it->key_size == key.size && memcmp(it->key, key.data, key.size) == 0;
}

/* Search one segment from the key's bucket on.  1 found, 0 ended or failed (*rc), -1 all its
** buckets are full. */
static inline int search_segment(const view *v, uint64_t segment, maph_slice key, uint64_t hash,
                                 item *it, uint64_t *steps, int *rc) {
  unsigned i, home = home_of(hash);
  uint32_t tag = tag_of(hash);
  for (i = 0; i < SEGMENT_BUCKETS; i++) {
    const word *bucket = bucket_at(v->base, segment, (home + i) & (SEGMENT_BUCKETS - 1));
    unsigned bits = bucket_matches(bucket, tag);
    for (; bits; bits &= bits - 1) {
      uint64_t slot = acquire(&bucket[__builtin_ctz(bits)]);
      if (slot == 0 || slot_tag(slot) != tag) continue;
      if (match_at_snapshot(v, slot_offset(slot), key, it, steps, rc)) return 1;
      if (*rc != MAPH_OK) return 0;
    }
    if (likely(acquire(&bucket[BUCKET_SLOTS - 1]) == 0)) return 0;
  }
  return -1;
}

static int search(const view *v, const place *p, maph_slice key, uint64_t hash, item *it, int *rc) {
  uint64_t segment = p->segment, steps = 0, next;
  int found = search_segment(v, segment, key, hash, it, &steps, rc);
  while (unlikely(found < 0)) {
    next = word_place(acquire(link_of(v->base, segment)));
    if (next == 0) return 0;
    if (next < segment + SEGMENT_SIZE) {
      *rc = fail_corrupt(v->s->path, segment,
                         "an overflow segment does not lie behind the one that names it");
      return 0;
    }
    *rc = segment_sound(v, next);
    if (*rc != MAPH_OK) return 0;
    segment = next;
    found = search_segment(v, segment, key, hash, it, &steps, rc);
  }
  return found;
}

/* By slots. */
static int find_indexed(const view *v, maph_slice key, uint64_t hash, item *it) {
  int rc = MAPH_OK, tries;
  place p;
  for (tries = 0; tries < RETRY_MOST; tries++) {
    rc = place_of(v, acquire(&header_of(v->base)->root), hash, &p);
    if (unlikely(rc != MAPH_OK)) return rc;
    if (likely(search(v, &p, key, hash, it, &rc))) return MAPH_OK;
    if (unlikely(rc != MAPH_OK)) return rc;
    if (likely(place_unchanged(v, &p))) return MAPH_NOTFOUND;
  }
  return fail_corrupt(v->s->path, offsetof(header, root), "the index changes without end");
}

int index_find(const view *v, maph_slice key, uint64_t hash, item *it) {
  int rc = perfect_find(v, key, hash, it), indexed;
  uint64_t link;
  item later;
  if (rc != MAPH_OK) return likely(rc == MAPH_NOTFOUND) ? find_indexed(v, key, hash, it) : rc;
  link = acquire(word_at(v->base, it->offset));
  if (likely(link == 0 || link >= v->snapshot)) return MAPH_OK;
  indexed = find_indexed(v, key, hash, &later);
  /* else its successor is lost, and recovery is about to find that out */
  if (indexed == MAPH_OK) *it = later;
  return indexed == MAPH_NOTFOUND ? MAPH_OK : indexed;
}

void index_prefetch(const view *v, uint64_t hash) {
  uint64_t root = acquire(&header_of(v->base)->root), directory = word_place(root),
           depth = word_depth(root), segment;
  if (depth > HASH_BITS || directory > v->size || v->size - directory < (uint64_t)8 << depth)
    return;
  segment = acquire(word_at(v->base, directory) + (tag_of(hash) >> (HASH_BITS - depth)));
  if (segment < v->size) __builtin_prefetch(v->base + segment + (uint64_t)home_of(hash) * 64);
}

/* By the perfect hash: those that it settles lose their bit in `left`. */
static uint32_t perfect_get_group(const view *v, size_t n, const maph_slice *keys,
                                  maph_slice *values) {
  const perfect *f = &v->s->perfect;
  uint64_t hash[INDEX_GROUP], at[INDEX_GROUP];
  uint32_t left = 0;
  size_t i;
  for (i = 0; i < n; i++) {
    hash[i] = index_hash(v->s, keys[i]);
    if (f->algorithm == MAPH_PERFECT_PILOT)
      __builtin_prefetch(v->base + f->function + pilot_bucket(hash[i], f->buckets));
  }
  if (!f->direct && f->algorithm == MAPH_PERFECT_PILOT) {
    for (i = 0; i < n; i++)
      __builtin_prefetch(v->base + f->groups
                         + pilot_number(f, v->base, hash[i]) / GROUP_KEYS * sizeof(group_line));
  }
  for (i = 0; i < n; i++) {
    at[i] = perfect_place(v->s, v->base, hash[i]);
    if (unlikely(at[i] < LOG_START || at[i] % 8 || at[i] > v->snapshot - RECORD_HEAD)) at[i] = 0;
    __builtin_prefetch(v->base + at[i]);
    __builtin_prefetch(v->base + at[i] + 64);
  }
  for (i = 0; i < n; i++) {
    uint64_t link = at[i] ? acquire(word_at(v->base, at[i])) : 0;
    values[i] = maph_bytes(NULL, 0);
    if (unlikely(at[i] == 0 || (link != 0 && link < v->snapshot)
                 || !record_plain(v->base, at[i], v->snapshot, keys[i], &values[i])))
      left |= UINT32_C(1) << i;
  }
  return left;
}

/* Three passes over a group, so that the cache misses of its keys overlap: index lines, then
** records, then the comparing.  What the hot path would settle is settled; the others keep data
** NULL and get their bit in the returned mask. */
static uint32_t indexed_get_group(const view *v, size_t n, const maph_slice *keys,
                                  maph_slice *values) {
  uint64_t hash[INDEX_GROUP], candidate[INDEX_GROUP], root = acquire(&header_of(v->base)->root),
                                                      directory = word_place(root),
                                                      depth = word_depth(root);
  const word *bucket[INDEX_GROUP];
  uint32_t unsettled = 0;
  size_t i;
  if (depth > HASH_BITS || directory > v->size || v->size - directory < (UINT64_C(8) << depth))
    return UINT32_MAX;
  for (i = 0; i < n; i++) {
    uint64_t segment;
    hash[i] = index_hash(v->s, keys[i]);
    segment = acquire(word_at(v->base, directory) + (tag_of(hash[i]) >> (HASH_BITS - depth)));
    bucket[i] = likely(segment % 64 == 0 && segment >= LOG_START && segment <= v->size
                       && v->size - segment >= SEGMENT_SIZE)
                    ? bucket_at(v->base, segment, home_of(hash[i]))
                    : NULL;
    __builtin_prefetch(bucket[i]);
  }
  for (i = 0; i < n; i++) {
    unsigned bits = likely(bucket[i] != NULL) ? bucket_matches(bucket[i], tag_of(hash[i])) : 0;
    uint64_t slot = bits ? acquire(&bucket[i][__builtin_ctz(bits)]) : 0, offset = slot_offset(slot);
    candidate[i] = slot_tag(slot) == tag_of(hash[i]) && offset >= LOG_START
                           && offset <= v->snapshot - RECORD_HEAD
                       ? offset
                       : 0;
    __builtin_prefetch(v->base + candidate[i]);
    __builtin_prefetch(v->base + candidate[i] + 64);
  }
  for (i = 0; i < n; i++) {
    values[i] = maph_bytes(NULL, 0);
    if (unlikely(candidate[i] == 0
                 || !record_plain(v->base, candidate[i], v->snapshot, keys[i], &values[i])))
      unsettled |= UINT32_C(1) << i;
  }
  return unsettled;
}

uint32_t index_get_group(const view *v, size_t n, const maph_slice *keys, maph_slice *values) {
  maph_slice rest_keys[INDEX_GROUP], rest_values[INDEX_GROUP];
  uint32_t left, unsettled;
  unsigned at[INDEX_GROUP];
  size_t i, rest = 0;
  if (v->s->perfect.keys == 0) return indexed_get_group(v, n, keys, values);
  left = perfect_get_group(v, n, keys, values);
  if (likely(left == 0)) return 0;
  for (i = 0; i < n; i++) {
    if ((left >> i & 1) == 0) continue;
    rest_keys[rest] = keys[i];
    at[rest++] = (unsigned)i;
  }
  unsettled = indexed_get_group(v, rest, rest_keys, rest_values);
  for (i = 0; i < rest; i++) {
    values[at[i]] = rest_values[i];
    if ((unsettled >> i & 1) == 0) left &= ~(UINT32_C(1) << at[i]);
  }
  return left;
}

/* -------------------------------------------------------------------------------------- writing */
/* From here on: the holder of the turn, or of index_mutex, in the writable mapping. */

/* The root that is written to: of the index that readers see, or of one that is built beside it. */
static uint64_t root_now(store *s) {
  return acquire(s->beside ? &s->beside_root : &header_of(s->write_base)->root);
}

static void set_root(store *s, uint64_t root) {
  if (s->beside)
    atomic_store(&s->beside_root, root);
  else
    store_word(s->write_base, &header_of(s->write_base)->root, root);
}

static inline uint64_t depth_of(const uint8_t *base, uint64_t segment) {
  return word_depth(atomic_load_explicit(link_of(base, segment), memory_order_relaxed));
}

static inline uint64_t overflow_of(const uint8_t *base, uint64_t segment) {
  return word_place(atomic_load_explicit(link_of(base, segment), memory_order_relaxed));
}

/* Is this slot empty, or left behind by a split of a segment of that depth, as seen by a hash that
** belongs there? */
static inline int slot_free(uint64_t slot, uint64_t hash, uint64_t depth) {
  return slot == 0 || (depth > 0 && ((slot_tag(slot) ^ tag_of(hash)) >> (HASH_BITS - depth)) != 0);
}

static unsigned bucket_room(const uint8_t *base, uint64_t segment, unsigned bucket, uint64_t hash,
                            uint64_t depth) {
  const word *w = bucket_at(base, segment, bucket);
  unsigned i, n = 0;
  for (i = 0; i < BUCKET_SLOTS; i++)
    n += (unsigned)slot_free(atomic_load_explicit(&w[i], memory_order_relaxed), hash, depth);
  return n;
}

static uint64_t directory_segments(const view *v, uint64_t root) {
  const word *d = word_at(v->base, word_place(root));
  uint64_t i, n = UINT64_C(1) << word_depth(root), distinct = 1;
  for (i = 1; i < n; i++)
    distinct += atomic_load_explicit(&d[i], memory_order_relaxed)
                != atomic_load_explicit(&d[i - 1], memory_order_relaxed);
  return distinct;
}

/* A directory twice as long: each word twice. */
static int double_directory(store *s) {
  uint64_t root = root_now(s), old = word_place(root), depth = word_depth(root),
           n = UINT64_C(1) << depth, i, fresh;
  int rc = log_extent(s, EXTENT_DIRECTORY, (int)depth + 1, 0, 16 * n, &fresh);
  if (rc != MAPH_OK) return rc;
  for (i = 0; i < n; i++) {
    uint64_t segment = atomic_load_explicit(word_at(s->write_base, old) + i, memory_order_relaxed);
    atomic_store_explicit(word_at(s->write_base, fresh) + 2 * i, segment, memory_order_relaxed);
    atomic_store_explicit(word_at(s->write_base, fresh) + 2 * i + 1, segment, memory_order_relaxed);
  }
  set_root(s, fresh | (depth + 1));
  store_word(s->write_base, link_of(s->write_base, old), fresh);
  return MAPH_OK;
}

/* May the segment for this hash split, or must it overflow? */
static int may_split(store *s, uint64_t segment) {
  uint64_t root = root_now(s), depth = depth_of(s->write_base, segment);
  view v;
  if (overflow_of(s->write_base, segment) != 0 || depth >= HASH_BITS) return 0;
  if (depth < word_depth(root)) return 1;
  view_for_writing(s, 0, &v);
  return (UINT64_C(2) << depth) <= 16 * directory_segments(&v, root);
}

/* Directory words of all keys that share `depth` leading bits with prefix. */
static void point_directory(store *s, uint32_t prefix, uint64_t depth, uint64_t segment) {
  uint64_t root = root_now(s), bits = word_depth(root);
  word *d = word_at(s->write_base, word_place(root));
  uint64_t first = bits ? (uint64_t)prefix >> (HASH_BITS - bits) : 0,
           n = UINT64_C(1) << (bits - depth), i;
  for (i = 0; i < n; i++) store_word(s->write_base, &d[first + i], segment);
}

/* A segment, and the words of the directory that lead to it: all that a split stores to. */
static int grant_segment(store *s, uint64_t segment, uint64_t hash, uint64_t depth) {
  uint64_t root, bits, words, first;
  int rc;
  if (!grant_needed(s)) return MAPH_OK;
  root = root_now(s);
  bits = word_depth(root);
  words = UINT64_C(1) << (bits - depth);
  first = (bits ? (uint64_t)tag_of(hash) >> (HASH_BITS - bits) : 0) & ~(words - 1);
  first = (word_place(root)) + first * sizeof(word);
  rc = grant_header(s);
  if (rc == MAPH_OK) rc = grant_pages(s, first, first + words * sizeof(word));
  return rc == MAPH_OK ? grant_pages(s, segment - RECORD_HEAD, segment + SEGMENT_SIZE) : rc;
}

static void set_depth(store *s, uint64_t segment, uint64_t depth) {
  word *link = link_of(s->write_base, segment);
  store_word(s->write_base, link,
             word_place(atomic_load_explicit(link, memory_order_relaxed)) | depth);
}

static void set_mark(store *s, uint64_t segment) {
  word *state = &header_of(s->write_base)->state;
  uint64_t old = atomic_load_explicit(state, memory_order_relaxed);
  if (s->beside) return; /* who dies now leaves an index that nobody was shown */
  OS_TEST_STORE(s->write_base, offsetof(header, state), 8);
  /* a failed flush may poison meanwhile */
  while (!atomic_compare_exchange_weak(state, &old, (old & STATE_FLAGS) | segment)) {}
}


/* Which buckets of a segment must stay full for the half that `hash` belongs to at `depth`: those
** past which one of its own keys was probed. */
static void find_stoppers(const uint8_t *base, uint64_t segment, uint64_t hash, uint64_t depth,
                          uint8_t stopper[SEGMENT_BUCKETS]) {
  unsigned b, i, back;
  memset(stopper, 0, SEGMENT_BUCKETS);
  for (b = 0; b < SEGMENT_BUCKETS; b++) {
    const word *w = bucket_at(base, segment, b);
    for (i = 0; i < BUCKET_SLOTS; i++) {
      uint64_t slot = atomic_load_explicit(&w[i], memory_order_relaxed);
      if ((slot & SLOT_DISPLACED) == 0 || slot_free(slot, hash, depth)) continue;
      for (back = 1; back < SEGMENT_BUCKETS; back++) { /* as far back as it can have come from */
        unsigned at = (b - back) & (SEGMENT_BUCKETS - 1);
        if (atomic_load_explicit(&bucket_at(base, segment, at)[BUCKET_SLOTS - 1],
                                 memory_order_relaxed)
            == 0)
          break;
        stopper[at] = 1;
      }
    }
  }
}

/* Copy one half of a segment to one that nobody sees yet. */
static void copy_half(uint8_t *base, uint64_t from, uint64_t to, uint64_t hash, uint64_t depth) {
  uint8_t stopper[SEGMENT_BUCKETS];
  unsigned b, i, n;
  find_stoppers(base, from, hash, depth, stopper);
  for (b = 0; b < SEGMENT_BUCKETS; b++) {
    const word *old = bucket_at(base, from, b);
    word *fresh = bucket_at(base, to, b);
    for (i = n = 0; i < BUCKET_SLOTS; i++) {
      uint64_t slot = atomic_load_explicit(&old[i], memory_order_relaxed);
      if (!slot_free(slot, hash, depth))
        atomic_store_explicit(&fresh[n++], slot, memory_order_relaxed);
    }
    if (stopper[b] && n < BUCKET_SLOTS) {
      atomic_store_explicit(&fresh[BUCKET_SLOTS - 1],
                            atomic_load_explicit(&old[BUCKET_SLOTS - 1], memory_order_relaxed),
                            memory_order_relaxed);
    }
  }
}

/* Clear what a segment's split left behind, now that the directory leads past it (4). */
static void clear_other_half(store *s, uint64_t segment, uint64_t hash, uint64_t depth) {
  uint8_t stopper[SEGMENT_BUCKETS];
  unsigned b, i;
  find_stoppers(s->write_base, segment, hash, depth, stopper);
  for (b = 0; b < SEGMENT_BUCKETS; b++) {
    word *w = bucket_at(s->write_base, segment, b);
    for (i = 0; i < BUCKET_SLOTS; i++) {
      uint64_t slot = atomic_load_explicit(&w[i], memory_order_relaxed);
      if (slot != 0 && slot_free(slot, hash, depth) && !(stopper[b] && i == BUCKET_SLOTS - 1))
        store_word(s->write_base, &w[i], 0);
    }
  }
}

static int split(store *s, uint64_t segment, uint64_t hash) {
  uint64_t depth = depth_of(s->write_base, segment), shift = HASH_BITS - 1 - depth, fresh;
  /* the upper half moves */
  uint32_t upper = ((tag_of(hash) >> shift) | 1) << shift, lower = upper ^ (UINT32_C(1) << shift);
  int rc = MAPH_OK;
  if (depth == word_depth(root_now(s))) rc = double_directory(s);
  if (rc == MAPH_OK) rc = grant_segment(s, segment, hash, depth);
  if (rc == MAPH_OK)
    rc = log_extent(s, EXTENT_SEGMENT, (int)depth + 1, upper, SEGMENT_SIZE, &fresh);
  if (rc != MAPH_OK) return rc;
  copy_half(s->write_base, segment, fresh, (uint64_t)upper << (64 - HASH_BITS), depth + 1);
  set_mark(s, fresh);
  point_directory(s, upper, depth + 1, fresh);
  set_depth(s, segment, depth + 1);
  clear_other_half(s, segment, (uint64_t)lower << (64 - HASH_BITS), depth + 1);
  set_mark(s, 0);
  return MAPH_OK;
}

int index_finish_split(store *s) {
  uint64_t state = acquire(&header_of(s->write_base)->state),
           fresh = state & ~(uint64_t)STATE_FLAGS, root, bits, sibling, hash;
  record head;
  place p;
  view v;
  int rc;
  if (fresh == 0) return MAPH_OK;
  view_for_writing(s, 0, &v);
  if ((rc = segment_sound(&v, fresh)) != MAPH_OK
      || (rc = record_verify(&v, fresh - RECORD_HEAD, RECORD_HEAD)) != MAPH_OK)
    return rc;
  memcpy(&head, v.base + fresh - RECORD_HEAD, sizeof head);
  root = root_now(s);
  bits = word_depth(root);
  if (head.kind != KIND_EXTENT || head.extent != EXTENT_SEGMENT || head.depth == 0
      || head.depth > bits || bits > HASH_BITS || head.prefix >> HASH_BITS
      || head.prefix << (32 - HASH_BITS) << head.depth != 0
      || (head.prefix >> (HASH_BITS - head.depth) & 1) == 0) {
    return fail_corrupt(s->path, fresh, "a split was under way, but its segment is not there");
  }
  hash = (uint64_t)(head.prefix ^ (UINT32_C(1) << (HASH_BITS - head.depth))) << (64 - HASH_BITS);
  rc = place_of(&v, root, hash, &p);
  if (rc != MAPH_OK) return rc;
  sibling = p.segment;
  rc = grant_segment(s, sibling, (uint64_t)head.prefix << (64 - HASH_BITS), head.depth);
  if (rc != MAPH_OK) return rc;
  point_directory(s, head.prefix, head.depth, fresh);
  if (sibling != fresh) set_depth(s, sibling, head.depth);
  set_mark(s, 0);
  return MAPH_OK;
}

static int add_overflow(store *s, uint64_t segment) {
  uint64_t depth = depth_of(s->write_base, segment), fresh, next;
  word *link;
  int rc = log_extent(s, EXTENT_SEGMENT, (int)depth, 0, SEGMENT_SIZE, &fresh);
  if (rc != MAPH_OK) return rc;
  while ((next = overflow_of(s->write_base, segment)) != 0) segment = next;
  rc = grant_pages(s, segment - RECORD_HEAD, segment);
  if (rc != MAPH_OK) return rc;
  link = link_of(s->write_base, segment);
  store_word(s->write_base, link,
             fresh | word_depth(atomic_load_explicit(link, memory_order_relaxed)));
  return MAPH_OK;
}

/* --------------------------------------------------------------------- room before the decision */

/* By the top 24 bits of the hash, which are more than tell segments apart: three passes of a
** byte. */
static void sort_by_segment(pending *p, size_t n, pending *scratch) {
  size_t count[256], i, sum;
  int shift;
  pending *from = p, *to = scratch, *swap;
  if (n <= 16) {
    for (i = 1; i < n; i++) {
      pending x = p[i];
      size_t j = i;
      for (; j > 0 && p[j - 1].hash >> 40 > x.hash >> 40; j--) p[j] = p[j - 1];
      p[j] = x;
    }
    return;
  }
  for (shift = 40; shift < 64; shift += 8) {
    memset(count, 0, sizeof count);
    for (i = 0; i < n; i++) count[from[i].hash >> shift & 255]++;
    for (i = sum = 0; i < 256; i++) {
      size_t c = count[i];
      count[i] = sum;
      sum += c;
    }
    for (i = 0; i < n; i++) to[count[from[i].hash >> shift & 255]++] = from[i];
    swap = from;
    from = to;
    to = swap;
  }
  memcpy(p, from, n * sizeof *p);
}

/* How much room each bucket of a segment has left, as keys are placed on paper. */
typedef struct paper {
  uint64_t segment, depth;
  uint8_t room[SEGMENT_BUCKETS];
} paper;
enum { ROOM_UNKNOWN = 255 };

static int place_on_paper(store *s, paper *x, uint64_t hash, unsigned buckets) {
  unsigned i;
  for (i = 0; i < buckets; i++) {
    unsigned b = (home_of(hash) + i) & (SEGMENT_BUCKETS - 1);
    if (x->room[b] == ROOM_UNKNOWN)
      x->room[b] = (uint8_t)bucket_room(s->write_base, x->segment, b, hash, x->depth);
    if (x->room[b] > 0) {
      x->room[b]--;
      return 1;
    }
  }
  return 0;
}

static inline int same_segment(uint64_t a, uint64_t b, uint64_t depth) {
  return depth == 0 || ((a ^ b) >> (64 - depth)) == 0;
}

/* Will it need a slot?  The first successor of a frozen record does. */
static inline int is_new(const store *s, const pending *p) {
  return p->newest != 0 && (p->base == 0 || is_frozen(s, p->base));
}

/* Would the new keys of p[0..n), all of one segment, find room near home after those already
** decided but not yet published? */
static int fits(store *s, uint64_t segment, const pending *p, size_t n,
                const changed_keys *decided) {
  const changed_keys *c;
  size_t i;
  paper x;
  x.segment = segment;
  x.depth = depth_of(s->write_base, segment);
  memset(x.room, ROOM_UNKNOWN, sizeof x.room);
  for (c = decided; c != NULL; c = c->next) {
    for (i = 0; i < c->count; i++) {
      if (is_new(s, &c->key[i]) && same_segment(c->key[i].hash, p->hash, x.depth))
        place_on_paper(s, &x, c->key[i].hash, SEGMENT_BUCKETS);
    }
  }
  for (i = 0; i < n; i++) {
    if (i + 6 < n) __builtin_prefetch(bucket_at(s->write_base, segment, home_of(p[i + 6].hash)));
    if (is_new(s, &p[i]) && !place_on_paper(s, &x, p[i].hash, PROBE_BUCKETS)) return 0;
  }
  return 1;
}

/* A segment that may not split: overflow segments until all its new keys have room anywhere in the
** chain. */
static int fit_by_overflow(store *s, uint64_t segment, const pending *p, size_t n,
                           const changed_keys *decided) {
  uint64_t depth = depth_of(s->write_base, segment), room = 0, need = 0, at;
  const changed_keys *c;
  size_t i;
  unsigned b;
  int rc = MAPH_OK;
  for (i = 0; i < n; i++) need += (uint64_t)is_new(s, &p[i]);
  for (c = decided; c != NULL; c = c->next) {
    for (i = 0; i < c->count; i++)
      need += (uint64_t)(is_new(s, &c->key[i]) && same_segment(c->key[i].hash, p->hash, depth));
  }
  for (at = segment; at != 0; at = overflow_of(s->write_base, at)) {
    for (b = 0; b < SEGMENT_BUCKETS; b++) room += bucket_room(s->write_base, at, b, p->hash, depth);
  }
  for (; rc == MAPH_OK && room < need; room += SEGMENT_BUCKETS * BUCKET_SLOTS)
    rc = add_overflow(s, segment);
  return rc;
}

/* A segment is written to by its depth and its chain of overflow segments: they must be
** possible. */
static int chain_sound(const view *v, uint64_t segment, uint64_t directory_depth) {
  uint64_t depth = depth_of(v->base, segment), next;
  int rc = MAPH_OK;
  if (unlikely(depth > directory_depth))
    return fail_corrupt(v->s->path, segment, "a segment's depth is impossible");
  while (rc == MAPH_OK && unlikely((next = overflow_of(v->base, segment)) != 0)) {
    if (next < segment + SEGMENT_SIZE)
      return fail_corrupt(v->s->path, segment,
                          "an overflow segment does not lie behind the one that names it");
    rc = segment_sound(v, next);
    if (rc == MAPH_OK && depth_of(v->base, next) != depth)
      rc = fail_corrupt(v->s->path, next,
                        "an overflow segment's depth is not that of the one that names it");
    segment = next;
  }
  return rc;
}

static int segment_now(store *s, uint64_t hash, uint64_t *segment) {
  place p;
  view v;
  int rc;
  view_for_writing(s, 0, &v);
  rc = place_of(&v, root_now(s), hash, &p);
  *segment = rc == MAPH_OK ? p.segment : 0;
  return likely(rc == MAPH_OK) ? chain_sound(&v, p.segment, word_depth(p.root)) : rc;
}

/* The keys of p from i on that share p[i]'s segment end where? */
static int group_at(store *s, const pending *p, size_t n, size_t i, uint64_t *segment,
                    size_t *end) {
  int rc = segment_now(s, p[i].hash, segment);
  uint64_t depth;
  size_t j = i + 1;
  if (rc != MAPH_OK) return rc;
  depth = depth_of(s->write_base, *segment);
  while (j < n && same_segment(p[i].hash, p[j].hash, depth)) j++;
  *end = j;
  return MAPH_OK;
}

/* Split, once each, the segments from *from on whose new keys do not fit; *from moves to the first
** of them.  Once each, because a directory that only one of its segments makes long looks like an
** attack to may_split. */
static int split_pass(store *s, const pending *p, size_t n, const changed_keys *decided,
                      size_t *from, int *splits) {
  size_t i = *from, end, first = n;
  uint64_t segment;
  int rc = MAPH_OK;
  *splits = 0;
  while (i < n && (rc = group_at(s, p, n, i, &segment, &end)) == MAPH_OK) {
    if (!fits(s, segment, p + i, end - i, decided)) {
      if (first == n) first = i;
      if (may_split(s, segment)) {
        rc = split(s, segment, p[i].hash);
        ++*splits;
      }
      if (rc != MAPH_OK) return rc;
    }
    i = end;
  }
  *from = first;
  return rc;
}

int index_reserve(store *s, pending *p, size_t n, pending *scratch, const changed_keys *decided) {
  size_t i = 0, end;
  uint64_t segment;
  int rc, splits;
  sort_by_segment(p, n, scratch);
  do rc = split_pass(s, p, n, decided, &i, &splits);
  while (rc == MAPH_OK && i < n && splits > 0);
  while (rc == MAPH_OK && i < n && (rc = group_at(s, p, n, i, &segment, &end)) == MAPH_OK) {
    if (!fits(s, segment, p + i, end - i, decided))
      rc = fit_by_overflow(s, segment, p + i, end - i, decided);
    i = end;
  }
  return rc;
}

/* ----------------------------------------------------------------------------------- publishing */

/* The slot of that hash that leads to offset, or NULL. */
static word *slot_leading_to(store *s, uint64_t segment, uint64_t hash, uint64_t offset) {
  uint64_t want = make_slot(hash, offset);
  unsigned b, i;
  for (; segment != 0; segment = overflow_of(s->write_base, segment)) {
    for (b = 0; b < SEGMENT_BUCKETS; b++) {
      word *w = bucket_at(s->write_base, segment, (home_of(hash) + b) & (SEGMENT_BUCKETS - 1));
      for (i = 0; i < BUCKET_SLOTS; i++)
        if ((atomic_load_explicit(&w[i], memory_order_relaxed) & ~SLOT_DISPLACED) == want)
          return &w[i];
      if (atomic_load_explicit(&w[BUCKET_SLOTS - 1], memory_order_relaxed) == 0) return NULL;
    }
  }
  return NULL;
}

static word *first_free_slot(store *s, uint64_t segment, uint64_t hash, uint64_t *displaced) {
  unsigned b, i;
  for (; segment != 0; segment = overflow_of(s->write_base, segment)) {
    uint64_t depth = depth_of(s->write_base, segment);
    for (b = 0; b < SEGMENT_BUCKETS; b++) {
      word *w = bucket_at(s->write_base, segment, (home_of(hash) + b) & (SEGMENT_BUCKETS - 1));
      *displaced = b ? SLOT_DISPLACED : 0;
      for (i = 0; i < BUCKET_SLOTS; i++)
        if (slot_free(atomic_load_explicit(&w[i], memory_order_relaxed), hash, depth)) return &w[i];
    }
  }
  return NULL;
}

static void count_moved(store *s) {
  word *moved = &header_of(s->write_base)->moved;
  store_word(s->write_base, moved, atomic_load_explicit(moved, memory_order_relaxed) + 1);
}

static int publish_one(store *s, const pending *p, int again) {
  uint64_t segment, displaced = 0;
  word *slot = NULL;
  int rc = segment_now(s, p->hash, &segment);
  if (rc != MAPH_OK) return rc;
  if (again) slot = slot_leading_to(s, segment, p->hash, p->newest);
  if (slot == NULL && is_new(s, p)) {
    slot = first_free_slot(s, segment, p->hash, &displaced);
    if (p->base) count_moved(s);
  } else {
    if (slot == NULL) slot = slot_leading_to(s, segment, p->hash, p->base);
    if (slot != NULL) displaced = atomic_load_explicit(slot, memory_order_relaxed) & SLOT_DISPLACED;
  }
  if (slot == NULL)
    return fail_corrupt(s->path, segment, "the index has no slot for a key that was to be changed");
  if (p->base) store_word(s->write_base, word_at(s->write_base, p->base), p->first);
  store_word(s->write_base, slot, make_slot(p->hash, p->newest) | displaced);
  return likely(grant_reached(s, (uint64_t)((uint8_t *)slot - s->write_base)))
             ? MAPH_OK
             : fail(MAPH_IOERR, "%s: offset %llu: what is stored does not reach the file", s->path,
                    (unsigned long long)segment);
}

/* A key's segment, with those that it overflows to, and the link of the record before. */
static int grant_one(store *s, const pending *p, uint64_t *granted) {
  uint64_t segment, at;
  int rc = segment_now(s, p->hash, &segment);
  for (at = segment; rc == MAPH_OK && at != 0 && segment != *granted;
       at = overflow_of(s->write_base, at))
    rc = grant_pages(s, at, at + SEGMENT_SIZE);
  *granted = segment;
  return rc == MAPH_OK && p->base ? grant_pages(s, p->base, p->base + sizeof(word)) : rc;
}

int index_grant(store *s, const pending *p, size_t n) {
  uint64_t granted = 0;
  size_t i;
  int rc;
  if (likely(!grant_needed(s))) return MAPH_OK;
  rc = grant_header(s);
  for (i = 0; rc == MAPH_OK && i < n; i++)
    if (p[i].newest) rc = grant_one(s, &p[i], &granted);
  return rc;
}

int index_publish(store *s, const pending *p, size_t n, int again) {
  size_t i;
  int rc = MAPH_OK;
  for (i = 0; rc == MAPH_OK && i < n; i++) {
    if (i + 8 < n && p[i + 8].base) __builtin_prefetch(s->write_base + p[i + 8].base, 1);
    if (p[i].newest) rc = publish_one(s, &p[i], again);
  }
  return rc;
}

/* --------------------------------------------------------------------------- creation and walks */

int index_create(store *s, uint64_t expected_keys) {
  uint64_t depth = 0, i, directory, segment, most = SEGMENT_BUCKETS * BUCKET_SLOTS * 13 / 20;
  int rc;
  while (depth < HASH_BITS && (most << depth) < expected_keys) depth++;
  rc = depth > 0 ? os_room(&s->file, s->path,
                           s->space_end + ((uint64_t)(SEGMENT_SIZE + RECORD_HEAD + 8) << depth))
                 : MAPH_OK;
  if (rc == MAPH_OK)
    rc = log_extent(s, EXTENT_DIRECTORY, (int)depth, 0, (uint64_t)8 << depth, &directory);
  for (i = 0; rc == MAPH_OK && i >> depth == 0; i++) {
    uint32_t prefix = (uint32_t)(depth ? i << (HASH_BITS - depth) : 0);
    rc = log_extent(s, EXTENT_SEGMENT, (int)depth, prefix, SEGMENT_SIZE, &segment);
    if (rc == MAPH_OK) store_word(s->write_base, word_at(s->write_base, directory) + i, segment);
  }
  if (rc == MAPH_OK) set_root(s, directory | depth);
  return rc;
}

int index_create_beside(store *s, uint64_t expected_keys) {
  s->beside = 1;
  return index_create(s, expected_keys);
}

void index_show(store *s) {
  header *h = header_of(s->write_base);
  s->beside = 0;
  store_word(s->write_base, &h->root, atomic_load(&s->beside_root));
}

void index_drop_beside(store *s) { s->beside = 0; }

/* The distinct segments of the directory, overflow included, each once. */
typedef int (*segment_fn)(void *arg, const view *v, uint64_t segment, uint64_t hash,
                          uint64_t depth);
static int each_segment(const view *v, uint64_t *depth_of_directory, segment_fn each, void *arg) {
  uint64_t root = acquire(&header_of(v->base)->root), directory = word_place(root),
           depth = word_depth(root), i, last = 0, seen = 0;
  int rc = MAPH_OK;
  if (depth > HASH_BITS || directory < LOG_START + RECORD_HEAD || directory > OFFSET_MAX) {
    return fail_corrupt(v->s->path, offsetof(header, root), "the index's root is damaged");
  }
  rc = view_reach(v, directory + ((uint64_t)8 << depth));
  *depth_of_directory = depth;
  for (i = 0; rc == MAPH_OK && i >> depth == 0; i++) {
    uint64_t segment = acquire(word_at(v->base, directory) + i),
             hash = depth ? i << (64 - depth) : 0;
    if (segment == last) continue;
    last = segment;
    while (rc == MAPH_OK && segment != 0) {
      uint64_t next;
      rc = segment_sound(v, segment);
      if (rc != MAPH_OK) break;
      if (segment != last && depth_of(v->base, segment) != depth_of(v->base, last)) {
        return fail_corrupt(v->s->path, segment,
                            "an overflow segment's depth is not that of the one that names it");
      }
      if (++seen > v->size / SEGMENT_SIZE)
        return fail_corrupt(v->s->path, directory + 8 * i,
                            "the directory names more segments than the file has room for");
      rc = each(arg, v, segment, hash, depth_of(v->base, segment));
      next = overflow_of(v->base, segment);
      if (rc == MAPH_OK && next != 0 && next < segment + SEGMENT_SIZE)
        rc = fail_corrupt(v->s->path, segment,
                          "an overflow segment does not lie behind the one that names it");
      segment = next;
    }
  }
  return rc;
}

typedef struct measuring {
  index_shape *shape;
  index_visit_fn visit;
  void *arg;
} measuring;

static int measure_segment(void *arg, const view *v, uint64_t segment, uint64_t hash,
                           uint64_t depth) {
  measuring *m = arg;
  uint64_t i;
  int rc = MAPH_OK;
  /* root is stored before depth when the directory grows */
  atomic_thread_fence(memory_order_acquire);
  if (depth > HASH_BITS || depth > word_depth(acquire(&header_of(v->base)->root)))
    return fail_corrupt(v->s->path, segment, "a segment's depth is impossible");
  m->shape->segments++;
  m->shape->bytes += RECORD_HEAD + SEGMENT_SIZE + RECORD_HEAD;
  if (!m->visit) return MAPH_OK;
  for (i = 0; rc == MAPH_OK && i < SEGMENT_BUCKETS * BUCKET_SLOTS; i++) {
    uint64_t slot = acquire(word_at(v->base, segment) + i);
    if (slot_free(slot, hash, depth)) continue;
    rc = m->visit(m->arg, segment + i * 8, (unsigned)(i / BUCKET_SLOTS), slot);
  }
  return rc;
}

int index_measure(const view *v, index_shape *shape) {
  measuring m = { shape, NULL, NULL };
  int rc;
  memset(shape, 0, sizeof *shape);
  rc = each_segment(v, &shape->depth, measure_segment, &m);
  shape->bytes += RECORD_HEAD + ((uint64_t)8 << shape->depth);
  return rc;
}

int index_walk(const view *v, index_visit_fn visit, void *arg) {
  index_shape shape;
  measuring m = { &shape, visit, arg };
  memset(&shape, 0, sizeof shape);
  return each_segment(v, &shape.depth, measure_segment, &m);
}
