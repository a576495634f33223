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
#include "file/header.h"
#include "file/layout.h"
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
  store *store;
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

/* in a segment, on the average, of an index that is made at once */
#define KEYS_AT_ONCE ((uint64_t)SEGMENT_KEYS * 13 / 20)

unsigned index_depth_for(uint64_t keys) {
  unsigned depth = 0;
  while (depth < HASH_BITS && (KEYS_AT_ONCE << depth) < keys) depth++;
  return depth;
}

uint64_t index_keys(store *store) {
  const header *header = header_of(atomic_load(&store->base));
  return KEYS_AT_ONCE << MIN(word_depth(atomic_load(&header->root)), (uint64_t)HASH_BITS);
}

uint64_t index_size(unsigned depth) {
  return layout_extent_size((uint64_t)8 << depth) + ((uint64_t)sizeof(image) << depth);
}

/* ------------------------------------------------------------------------------------- segments */

static uint64_t overflow_at(const building *building, uint64_t i) {
  return building->first + ((UINT64_C(1) << building->depth) + i) * sizeof(image);
}

static uint64_t *link_word(image *image) { return (uint64_t *)(void *)&image->head; }

static void begin_segment(building *building, image *image, uint64_t at, uint32_t prefix) {
  memset(image, 0, sizeof *image);
  layout_extent(building->store, at, EXTENT_SEGMENT, (int)building->depth, prefix, SEGMENT_SIZE,
                &image->head);
}

/* One more overflow segment, which `from` leads to.  NULL: no memory */
static image *add_overflow(building *building, image *from) {
  uint64_t at = overflow_at(building, building->overflows);
  size_t which = from == &building->now ? SIZE_MAX : (size_t)(from - building->overflow);
  if (building->overflows == building->overflow_room) {
    uint64_t room = building->overflow_room ? 2 * building->overflow_room : 4;
    image *more = os_realloc(building->overflow, room * sizeof *more);
    if (more == NULL) return NULL;
    building->overflow = more;
    building->overflow_room = room;
  }
  from = which == SIZE_MAX ? &building->now : &building->overflow[which];
  *link_word(from) = (at + RECORD_HEAD) | building->depth;
  begin_segment(building, &building->overflow[building->overflows], at, 0);
  return &building->overflow[building->overflows++];
}

/* Into the first bucket from its own on that has room; used: slots of each. */
static void place_key(image *image, uint8_t used[SEGMENT_BUCKETS], const hashed *hashed) {
  unsigned b = home_of(hashed->hash), home = b;
  while (used[b] == BUCKET_SLOTS) b = (b + 1) & (SEGMENT_BUCKETS - 1);
  image->slot[b * BUCKET_SLOTS + used[b]++] =
      make_slot(hashed->hash, hashed->offset) | (b == home ? 0 : SLOT_DISPLACED);
}

/* A segment's keys, sorted by bucket and each once. */
static int fill_segment(building *building, const hashed *key, uint64_t n, uint32_t prefix) {
  uint8_t used[SEGMENT_BUCKETS];
  uint64_t i;
  image *image = &building->now;
  begin_segment(building, image, building->first + building->made * sizeof *image, prefix);
  memset(used, 0, sizeof used);
  for (i = 0; i < n; i++) {
    if (unlikely(i > 0 && i % SEGMENT_KEYS == 0)) {
      image = add_overflow(building, image);
      if (image == NULL) return MAPH_NOMEM;
      memset(used, 0, sizeof used);
    }
    place_key(image, used, &key[i]);
  }
  building->made++;
  return building->sink->append(building->sink->arg, &building->now, sizeof building->now);
}

/* ----------------------------------------------------------------------------------------- keys */

static int newest_first(const void *a, const void *b) {
  const hashed *hashed = a, *y = b;
  if (hashed->hash != y->hash) return hashed->hash < y->hash ? -1 : 1;
  return hashed->offset > y->offset ? -1 : hashed->offset < y->offset;
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
static int is_superseded(const building *building, const hashed *kept, uint64_t n,
                         const hashed *hashed, int *superseded) {
  int rc = MAPH_OK;
  *superseded = 0;
  while (rc == MAPH_OK && n-- > 0 && kept[n].hash == hashed->hash && !*superseded)
    rc = building->sink->compare(building->sink->arg, hashed->offset, kept[n].offset, superseded);
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
static int drop_older(building *building, hashed *key, uint64_t n, hashed *to, uint64_t *kept) {
  uint64_t i;
  int rc = MAPH_OK, superseded;
  if (likely(!hash_is_twice(key, n))) {
    memmove(to, key, n * sizeof *to);
    *kept = n;
    return MAPH_OK;
  }
  sort_bucket(key, n);
  for (i = *kept = 0; rc == MAPH_OK && i < n; i++) {
    rc = is_superseded(building, to, *kept, &key[i], &superseded);
    if (rc != MAPH_OK) break;
    if (superseded)
      rc = building->sink->supersede(building->sink->arg, key[i].offset);
    else
      to[(*kept)++] = key[i];
  }
  return rc;
}

/* All keys of a segment.  They are sorted into building->sorted, and put together there. */
static int make_segment(building *building, const hashed *key, uint64_t n, uint32_t prefix) {
  uint64_t start[SEGMENT_BUCKETS + 1] = { 0 }, at[SEGMENT_BUCKETS], i, kept, total = 0;
  int rc = MAPH_OK;
  for (i = 0; i < n; i++) start[home_of(key[i].hash) + 1]++;
  for (i = 0; i < SEGMENT_BUCKETS; i++) {
    at[i] = start[i];
    start[i + 1] += start[i];
  }
  for (i = 0; i < n; i++) building->sorted[at[home_of(key[i].hash)]++] = key[i];
  for (i = 0; rc == MAPH_OK && i < SEGMENT_BUCKETS; i++) {
    rc = drop_older(building, building->sorted + start[i], start[i + 1] - start[i],
                    building->sorted + total, &kept);
    total += kept;
  }
  return rc == MAPH_OK ? fill_segment(building, building->sorted, total, prefix) : rc;
}

static int reserve(building *building, uint64_t n) {
  if (n <= building->room) return MAPH_OK;
  os_free(building->sorted);
  building->room = n + n / 8;
  building->sorted = os_alloc(building->room * sizeof *building->sorted);
  if (building->sorted == NULL) building->room = 0;
  return building->sorted ? MAPH_OK : MAPH_NOMEM;
}

/* A range's keys, sorted by segment in place: into building->sorted and back. start[i]: where those
** of its segment i begin. */
static void sort_by_segment(building *building, hashed *key, uint64_t n, uint64_t *start) {
  unsigned shift = 64 - building->depth;
  uint64_t segments = UINT64_C(1) << (building->depth - building->bits), i;
  memset(start, 0, (segments + 1) * sizeof *start);
  for (i = 0; i < n; i++) start[(key[i].hash >> shift & (segments - 1)) + 1]++;
  for (i = 0; i < segments; i++) start[i + 1] += start[i];
  for (i = 0; i < n; i++) building->sorted[start[key[i].hash >> shift & (segments - 1)]++] = key[i];
  for (i = segments; i > 0; i--) start[i] = start[i - 1];
  start[0] = 0;
  memcpy(key, building->sorted, n * sizeof *key);
}

static int make_range(void *arg, hashed *key, uint64_t n) {
  building *building = arg;
  uint64_t segments = UINT64_C(1) << (building->depth - building->bits), i, *start;
  int rc = reserve(building, n + 1);
  if (rc != MAPH_OK) return rc;
  start = os_alloc((segments + 1) * sizeof *start);
  if (start == NULL) return MAPH_NOMEM;
  if (segments > 1)
    sort_by_segment(building, key, n, start);
  else
    start[1] = n;
  for (i = 0; rc == MAPH_OK && i < segments; i++) {
    uint32_t prefix =
        building->depth ? (uint32_t)building->made << (HASH_BITS - building->depth) : 0;
    rc = make_segment(building, key + start[i], start[i + 1] - start[i], prefix);
  }
  os_free(start);
  return rc;
}

/* ---------------------------------------------------------------------------------- all of it */

static int make_directory(building *building, uint64_t at) {
  uint64_t words[WORDS_AT_ONCE], n = UINT64_C(1) << building->depth, i, j;
  uint64_t left = building->first - at - RECORD_HEAD;
  record head;
  int rc;
  layout_extent(building->store, at, EXTENT_DIRECTORY, (int)building->depth, 0, 8 * n, &head);
  rc = building->sink->append(building->sink->arg, &head, sizeof head);
  for (i = 0; rc == MAPH_OK && left > 0; left -= j * 8) {
    for (j = 0; j < WORDS_AT_ONCE && j * 8 < left; j++, i++)
      words[j] = i < n ? building->first + i * sizeof(image) + RECORD_HEAD : 0;
    rc = building->sink->append(building->sink->arg, words, j * 8);
  }
  return rc;
}

int index_build(store *store, hashes *hashes, unsigned depth, uint64_t at, const index_sink *sink,
                uint64_t *root) {
  building *building = os_alloc(sizeof *building);
  uint64_t i;
  int rc;
  if (building == NULL) return MAPH_NOMEM;
  assert(layout_extent_gap(at) == 0);
  building->store = store;
  building->sink = sink;
  building->depth = depth;
  building->bits = MIN(depth, (unsigned)HASHES_BITS);
  building->first = at + layout_extent_size((uint64_t)8 << depth);
  rc = make_directory(building, at);
  if (rc == MAPH_OK) rc = hashes_ranges(hashes, building->bits, make_range, building);
  for (i = 0; rc == MAPH_OK && i < building->overflows; i++)
    rc = sink->append(sink->arg, &building->overflow[i], sizeof building->overflow[i]);
  *root = (at + RECORD_HEAD) | depth;
  os_free(building->sorted);
  os_free(building->overflow);
  os_free(building);
  return rc;
}
