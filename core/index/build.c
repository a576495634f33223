/*
** build.c - an index for keys that are all known: made at once, in its final size.
**
** The keys come by ranges of their hash (hashes.h), and within a range are sorted by segment, and
** there by bucket.  So a segment is filled in the processor's cache and written when it is full;
** nothing is split.  Records of one key have one hash: they meet in a bucket, where all but the
** newest are dropped.
**
** The structure is in segment.h.  A key goes to the first bucket from its own on that has room, as
** publish.c has it.  Where a segment has no room left, what only keys that collide by intent can
** bring about, the rest goes to overflow segments, which follow when all segments are written.
*/
#include "index/build.h"
#include "file/log.h"
#include "index/find.h"
#include "index/segment.h"
#include "index/slot.h"

#include <stdlib.h>

enum {
  SEGMENT_KEYS = SEGMENT_BUCKETS * BUCKET_SLOTS,
  WORDS_AT_ONCE = 512,
  FEW = 24 /* keys of a bucket that are sorted by insertion */
};

/* A segment's extent as it will be in the file. */
typedef struct image {
  record head;
  uint64_t slot[SEGMENT_KEYS];
  uint8_t rest[RECORD_HEAD];
} image;
_Static_assert(sizeof(image) == RECORD_HEAD + SEGMENT_SIZE + RECORD_HEAD, "");

typedef struct building {
  store *s;
  const index_sink *sink;
  unsigned depth, bits; /* bits: of the ranges */
  uint64_t first;       /* where the first segment's extent begins */
  uint64_t made;        /* segments so far */
  image now;
  hashed *sorted; /* the keys of a range, then of a segment */
  uint64_t room;
  image *overflow;
  uint64_t overflows, overflow_room;
} building;

unsigned index_depth_for(uint64_t keys) {
  uint64_t most = SEGMENT_KEYS * 13 / 20;
  unsigned depth = 0;
  while (depth < HASH_BITS && (most << depth) < keys) depth++;
  return depth;
}

uint64_t index_size(unsigned depth) {
  return log_extent_size((uint64_t)8 << depth) + ((uint64_t)sizeof(image) << depth);
}

/* ------------------------------------------------------------------------------------- segments */

static uint64_t overflow_at(const building *x, uint64_t i) {
  return x->first + ((UINT64_C(1) << x->depth) + i) * sizeof(image);
}

static uint64_t *link_word(image *m) { return (uint64_t *)(void *)&m->head; }

static void begin_segment(building *x, image *m, uint64_t at, uint32_t prefix) {
  memset(m, 0, sizeof *m);
  log_fill_extent(x->s, at, EXTENT_SEGMENT, (int)x->depth, prefix, SEGMENT_SIZE, &m->head);
}

/* One more overflow segment, which `from` leads to.  NULL: no memory */
static image *add_overflow(building *x, image *from) {
  uint64_t at = overflow_at(x, x->overflows);
  size_t which = from == &x->now ? SIZE_MAX : (size_t)(from - x->overflow);
  if (x->overflows == x->overflow_room) {
    uint64_t room = x->overflow_room ? 2 * x->overflow_room : 4;
    image *more = os_realloc(x->overflow, room * sizeof *more);
    if (more == NULL) return NULL;
    x->overflow = more;
    x->overflow_room = room;
  }
  from = which == SIZE_MAX ? &x->now : &x->overflow[which];
  *link_word(from) = (at + RECORD_HEAD) | x->depth;
  begin_segment(x, &x->overflow[x->overflows], at, 0);
  return &x->overflow[x->overflows++];
}

/* Into the first bucket from its own on that has room; used: slots of each. */
static void place_key(image *m, uint8_t used[SEGMENT_BUCKETS], const hashed *k) {
  unsigned b = home_of(k->hash), home = b;
  while (used[b] == BUCKET_SLOTS) b = (b + 1) & (SEGMENT_BUCKETS - 1);
  m->slot[b * BUCKET_SLOTS + used[b]++] =
      make_slot(k->hash, k->offset) | (b == home ? 0 : SLOT_DISPLACED);
}

/* A segment's keys, sorted by bucket and each once. */
static int fill_segment(building *x, const hashed *key, uint64_t n, uint32_t prefix) {
  uint8_t used[SEGMENT_BUCKETS];
  uint64_t i;
  image *m = &x->now;
  begin_segment(x, m, x->first + x->made * sizeof *m, prefix);
  memset(used, 0, sizeof used);
  for (i = 0; i < n; i++) {
    if (unlikely(i > 0 && i % SEGMENT_KEYS == 0)) {
      m = add_overflow(x, m);
      if (m == NULL) return MAPH_NOMEM;
      memset(used, 0, sizeof used);
    }
    place_key(m, used, &key[i]);
  }
  x->made++;
  return x->sink->append(x->sink->arg, &x->now, sizeof x->now);
}

/* ----------------------------------------------------------------------------------------- keys */

static int newest_first(const void *a, const void *b) {
  const hashed *x = a, *y = b;
  if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
  return x->offset > y->offset ? -1 : x->offset < y->offset;
}

static void sort_bucket(hashed *key, uint64_t n) {
  uint64_t i, j;
  if (n > FEW) {
    qsort(key, n, sizeof *key, newest_first);
    return;
  }
  for (i = 1; i < n; i++) {
    hashed one = key[i];
    for (j = i; j > 0 && newest_first(&key[j - 1], &one) > 0; j--) key[j] = key[j - 1];
    key[j] = one;
  }
}

/* Is one of kept[0..n), of the same hash, a newer record of this key? */
static int is_superseded(const building *x, const hashed *kept, uint64_t n, const hashed *k,
                         int *superseded) {
  int rc = MAPH_OK;
  *superseded = 0;
  while (rc == MAPH_OK && n-- > 0 && kept[n].hash == k->hash && !*superseded)
    rc = x->sink->compare(x->sink->arg, k->offset, kept[n].offset, superseded);
  return rc;
}

static int hash_is_twice(const hashed *key, uint64_t n) {
  uint64_t i, j;
  if (n > FEW) return 1;
  for (i = 1; i < n; i++)
    for (j = 0; j < i; j++)
      if (key[i].hash == key[j].hash) return 1;
  return 0;
}

/* Of a bucket's n keys those that count go to `to`, *kept of them. */
static int drop_older(building *x, hashed *key, uint64_t n, hashed *to, uint64_t *kept) {
  uint64_t i;
  int rc = MAPH_OK, superseded;
  if (likely(!hash_is_twice(key, n))) {
    memmove(to, key, n * sizeof *to);
    *kept = n;
    return MAPH_OK;
  }
  sort_bucket(key, n);
  for (i = *kept = 0; rc == MAPH_OK && i < n; i++) {
    rc = is_superseded(x, to, *kept, &key[i], &superseded);
    if (rc != MAPH_OK) break;
    if (superseded)
      rc = x->sink->supersede(x->sink->arg, key[i].offset);
    else
      to[(*kept)++] = key[i];
  }
  return rc;
}

/* All keys of a segment.  They are sorted into x->sorted, and put together there. */
static int make_segment(building *x, const hashed *key, uint64_t n, uint32_t prefix) {
  uint64_t start[SEGMENT_BUCKETS + 1] = { 0 }, at[SEGMENT_BUCKETS], i, kept, total = 0;
  int rc = MAPH_OK;
  for (i = 0; i < n; i++) start[home_of(key[i].hash) + 1]++;
  for (i = 0; i < SEGMENT_BUCKETS; i++) {
    at[i] = start[i];
    start[i + 1] += start[i];
  }
  for (i = 0; i < n; i++) x->sorted[at[home_of(key[i].hash)]++] = key[i];
  for (i = 0; rc == MAPH_OK && i < SEGMENT_BUCKETS; i++) {
    rc = drop_older(x, x->sorted + start[i], start[i + 1] - start[i], x->sorted + total, &kept);
    total += kept;
  }
  return rc == MAPH_OK ? fill_segment(x, x->sorted, total, prefix) : rc;
}

static int reserve(building *x, uint64_t n) {
  if (n <= x->room) return MAPH_OK;
  os_free(x->sorted);
  x->room = n + n / 8;
  x->sorted = os_alloc(x->room * sizeof *x->sorted);
  if (x->sorted == NULL) x->room = 0;
  return x->sorted ? MAPH_OK : MAPH_NOMEM;
}

/* A range's keys, sorted by segment in place: into x->sorted and back.  start[i]: where those of
** its segment i begin. */
static void sort_by_segment(building *x, hashed *key, uint64_t n, uint64_t *start) {
  unsigned shift = 64 - x->depth;
  uint64_t segments = UINT64_C(1) << (x->depth - x->bits), i;
  memset(start, 0, (segments + 1) * sizeof *start);
  for (i = 0; i < n; i++) start[(key[i].hash >> shift & (segments - 1)) + 1]++;
  for (i = 0; i < segments; i++) start[i + 1] += start[i];
  for (i = 0; i < n; i++) x->sorted[start[key[i].hash >> shift & (segments - 1)]++] = key[i];
  for (i = segments; i > 0; i--) start[i] = start[i - 1];
  start[0] = 0;
  memcpy(key, x->sorted, n * sizeof *key);
}

static int make_range(void *arg, hashed *key, uint64_t n) {
  building *x = arg;
  uint64_t segments = UINT64_C(1) << (x->depth - x->bits), i, *start;
  int rc = reserve(x, n + 1);
  if (rc != MAPH_OK) return rc;
  start = os_alloc((segments + 1) * sizeof *start);
  if (start == NULL) return MAPH_NOMEM;
  if (segments > 1)
    sort_by_segment(x, key, n, start);
  else
    start[1] = n;
  for (i = 0; rc == MAPH_OK && i < segments; i++) {
    uint32_t prefix = x->depth ? (uint32_t)x->made << (HASH_BITS - x->depth) : 0;
    rc = make_segment(x, key + start[i], start[i + 1] - start[i], prefix);
  }
  os_free(start);
  return rc;
}

/* ---------------------------------------------------------------------------------- all of it */

static int make_directory(building *x, uint64_t at) {
  uint64_t words[WORDS_AT_ONCE], n = UINT64_C(1) << x->depth, i, j;
  uint64_t left = x->first - at - RECORD_HEAD;
  record head;
  int rc;
  log_fill_extent(x->s, at, EXTENT_DIRECTORY, (int)x->depth, 0, 8 * n, &head);
  rc = x->sink->append(x->sink->arg, &head, sizeof head);
  for (i = 0; rc == MAPH_OK && left > 0; left -= j * 8) {
    for (j = 0; j < WORDS_AT_ONCE && j * 8 < left; j++, i++)
      words[j] = i < n ? x->first + i * sizeof(image) + RECORD_HEAD : 0;
    rc = x->sink->append(x->sink->arg, words, j * 8);
  }
  return rc;
}

int index_build(store *s, hashes *h, unsigned depth, uint64_t at, const index_sink *sink,
                uint64_t *root) {
  building *x = os_alloc(sizeof *x);
  uint64_t i;
  int rc;
  if (x == NULL) return MAPH_NOMEM;
  assert(log_extent_gap(at) == 0);
  x->s = s;
  x->sink = sink;
  x->depth = depth;
  x->bits = MIN(depth, (unsigned)HASHES_BITS);
  x->first = at + log_extent_size((uint64_t)8 << depth);
  rc = make_directory(x, at);
  if (rc == MAPH_OK) rc = hashes_ranges(h, x->bits, make_range, x);
  for (i = 0; rc == MAPH_OK && i < x->overflows; i++)
    rc = sink->append(sink->arg, &x->overflow[i], sizeof x->overflow[i]);
  *root = (at + RECORD_HEAD) | depth;
  os_free(x->sorted);
  os_free(x->overflow);
  os_free(x);
  return rc;
}
