/*
** split.c - room in the index, before a transaction is decided; and a new index.  The structure and
** its invariants are in segment.h.
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
** Colliding keys, which whoever can read the seed can make, would double the directory for ever: it
** stays at most 16 times the number of segments, and a full segment that may not split is given an
** overflow segment instead.
**
** Locking: the holder of the turn, or of index_mutex, in the writable mapping.  So it reads words
** of the index relaxed: it stored them, or took a mutex or the lock between processes after whoever
** did.  What it stores relaxed lies where nobody is led yet; what leads there is stored with
** release.
*/
#include "file/grant.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "index/build.h"
#include "index/find.h"
#include "index/segment.h"
#include "index/slot.h"
#include "index/split.h"

/* relaxed: of the one writer, as above. */
static unsigned bucket_room(const uint8_t *base, uint64_t segment, unsigned bucket, uint64_t hash,
                            uint64_t depth) {
  const word *word = bucket_at(base, segment, bucket);
  unsigned i, n = 0;
  for (i = 0; i < BUCKET_SLOTS; i++)
    n += (unsigned)slot_free(atomic_load_explicit(&word[i], memory_order_relaxed), hash, depth);
  return n;
}

/* relaxed: of the one writer. */
static uint64_t directory_segments(const view *view, uint64_t root) {
  const word *d = word_at(view->base, word_place(root));
  uint64_t i, n = UINT64_C(1) << word_depth(root), distinct = 1;
  for (i = 1; i < n; i++)
    distinct += atomic_load_explicit(&d[i], memory_order_relaxed)
                != atomic_load_explicit(&d[i - 1], memory_order_relaxed);
  return distinct;
}

/* A directory twice as long: each word twice.  relaxed: set_root shows it, with release. */
static int double_directory(store *store) {
  uint64_t root = root_now(store), old = word_place(root), depth = word_depth(root),
           n = UINT64_C(1) << depth, i, fresh;
  int rc = log_extent(store, EXTENT_DIRECTORY, (int)depth + 1, 0, 16 * n, &fresh);
  if (rc != MAPH_OK) return rc;
  for (i = 0; i < n; i++) {
    uint64_t segment =
        atomic_load_explicit(word_at(store->write_base, old) + i, memory_order_relaxed);
    atomic_store_explicit(word_at(store->write_base, fresh) + 2 * i, segment, memory_order_relaxed);
    atomic_store_explicit(word_at(store->write_base, fresh) + 2 * i + 1, segment,
                          memory_order_relaxed);
  }
  set_root(store, fresh | (depth + 1));
  store_word(store->write_base, link_of(store->write_base, old), fresh);
  return MAPH_OK;
}

/* May the segment for this hash split, or must it overflow? */
static int may_split(store *store, uint64_t segment) {
  uint64_t root = root_now(store), depth = depth_of(store->write_base, segment);
  view view;
  if (overflow_of(store->write_base, segment) != 0 || depth >= HASH_BITS) return 0;
  if (depth < word_depth(root)) return 1;
  view_for_writing(store, 0, &view);
  return (UINT64_C(2) << depth) <= 16 * directory_segments(&view, root);
}

/* Directory words of all keys that share `depth` leading bits with prefix. */
static void point_directory(store *store, uint32_t prefix, uint64_t depth, uint64_t segment) {
  uint64_t root = root_now(store), bits = word_depth(root);
  word *d = word_at(store->write_base, word_place(root));
  uint64_t first = bits ? (uint64_t)prefix >> (HASH_BITS - bits) : 0,
           n = UINT64_C(1) << (bits - depth), i;
  for (i = 0; i < n; i++) store_word(store->write_base, &d[first + i], segment);
}

/* A segment, and the words of the directory that lead to it: all that a split stores to. */
static int grant_segment(store *store, uint64_t segment, uint64_t hash, uint64_t depth) {
  uint64_t root, bits, words, first;
  int rc;
  if (!grant_needed(store)) return MAPH_OK;
  root = root_now(store);
  bits = word_depth(root);
  words = UINT64_C(1) << (bits - depth);
  first = (bits ? (uint64_t)tag_of(hash) >> (HASH_BITS - bits) : 0) & ~(words - 1);
  first = (word_place(root)) + first * sizeof(word);
  rc = grant_header(store);
  if (rc == MAPH_OK) rc = grant_pages(store, first, first + words * sizeof(word));
  return rc == MAPH_OK ? grant_pages(store, segment - RECORD_HEAD, segment + SEGMENT_SIZE) : rc;
}

/* relaxed: only the one writer changes a link. */
static void set_depth(store *store, uint64_t segment, uint64_t depth) {
  word *link = link_of(store->write_base, segment);
  store_word(store->write_base, link,
             word_place(atomic_load_explicit(link, memory_order_relaxed)) | depth);
}

/* relaxed: a first guess; the exchange finds what is there. */
static void set_mark(store *store, uint64_t segment) {
  word *state = &header_of(store->write_base)->state;
  uint64_t old = atomic_load_explicit(state, memory_order_relaxed);
  if (store->beside) return; /* whoever dies now leaves an index that nobody was shown */
  OS_TEST_STORE(store->write_base, offsetof(header, state), 8);
  /* a failed flush may poison meanwhile */
  while (!atomic_compare_exchange_weak(state, &old, (old & STATE_FLAGS) | segment)) {}
}


/* Which buckets of a segment must stay full for the half that `hash` belongs to at `depth`: those
** past which one of its own keys was probed.  relaxed: of the one writer. */
static void find_stoppers(const uint8_t *base, uint64_t segment, uint64_t hash, uint64_t depth,
                          uint8_t stopper[SEGMENT_BUCKETS]) {
  unsigned b, i, back;
  memset(stopper, 0, SEGMENT_BUCKETS);
  for (b = 0; b < SEGMENT_BUCKETS; b++) {
    const word *word = bucket_at(base, segment, b);
    for (i = 0; i < BUCKET_SLOTS; i++) {
      uint64_t slot = atomic_load_explicit(&word[i], memory_order_relaxed);
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

/* Copy one half of a segment to one that nobody sees yet.  relaxed: point_directory shows it, with
** release. */
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

/* Clear what a segment's split left behind, now that the directory leads past it (4).  relaxed: the
** loads are of the one writer; the stores are release, for place_unchanged. */
static void clear_other_half(store *store, uint64_t segment, uint64_t hash, uint64_t depth) {
  uint8_t stopper[SEGMENT_BUCKETS];
  unsigned b, i;
  find_stoppers(store->write_base, segment, hash, depth, stopper);
  for (b = 0; b < SEGMENT_BUCKETS; b++) {
    word *word = bucket_at(store->write_base, segment, b);
    for (i = 0; i < BUCKET_SLOTS; i++) {
      uint64_t slot = atomic_load_explicit(&word[i], memory_order_relaxed);
      if (slot != 0 && slot_free(slot, hash, depth) && !(stopper[b] && i == BUCKET_SLOTS - 1))
        store_word(store->write_base, &word[i], 0);
    }
  }
}

static int split(store *store, uint64_t segment, uint64_t hash) {
  uint64_t depth = depth_of(store->write_base, segment), shift = HASH_BITS - 1 - depth, fresh;
  /* the upper half moves */
  uint32_t upper = ((tag_of(hash) >> shift) | 1) << shift, lower = upper ^ (UINT32_C(1) << shift);
  int rc = MAPH_OK;
  if (depth == word_depth(root_now(store))) rc = double_directory(store);
  if (rc == MAPH_OK) rc = grant_segment(store, segment, hash, depth);
  if (rc == MAPH_OK)
    rc = log_extent(store, EXTENT_SEGMENT, (int)depth + 1, upper, SEGMENT_SIZE, &fresh);
  if (rc != MAPH_OK) return rc;
  copy_half(store->write_base, segment, fresh, (uint64_t)upper << (64 - HASH_BITS), depth + 1);
  set_mark(store, fresh);
  point_directory(store, upper, depth + 1, fresh);
  set_depth(store, segment, depth + 1);
  clear_other_half(store, segment, (uint64_t)lower << (64 - HASH_BITS), depth + 1);
  set_mark(store, 0);
  return MAPH_OK;
}

int index_finish_split(store *store) {
  uint64_t state = acquire(&header_of(store->write_base)->state),
           fresh = state & ~(uint64_t)STATE_FLAGS, root, bits, sibling, hash;
  record head;
  place place;
  view view;
  int rc;
  assert(store_has_turn(store) || is_locked(&store->index_mutex));
  if (fresh == 0) return MAPH_OK;
  view_for_writing(store, 0, &view);
  if ((rc = segment_sound(&view, fresh)) != MAPH_OK
      || (rc = record_verify(&view, fresh - RECORD_HEAD, RECORD_HEAD)) != MAPH_OK)
    return rc;
  memcpy(&head, view.base + fresh - RECORD_HEAD, sizeof head);
  root = root_now(store);
  bits = word_depth(root);
  if (head.kind != KIND_EXTENT || head.extent != EXTENT_SEGMENT || head.depth == 0
      || head.depth > bits || bits > HASH_BITS || head.prefix >> HASH_BITS
      || head.prefix << (32 - HASH_BITS) << head.depth != 0
      || (head.prefix >> (HASH_BITS - head.depth) & 1) == 0) {
    return fail_corrupt(store->path, fresh, "a split was under way, but its segment is not there");
  }
  hash = (uint64_t)(head.prefix ^ (UINT32_C(1) << (HASH_BITS - head.depth))) << (64 - HASH_BITS);
  rc = place_of(&view, root, hash, &place);
  if (rc != MAPH_OK) return rc;
  sibling = place.segment;
  rc = grant_segment(store, sibling, (uint64_t)head.prefix << (64 - HASH_BITS), head.depth);
  if (rc != MAPH_OK) return rc;
  point_directory(store, head.prefix, head.depth, fresh);
  if (sibling != fresh) set_depth(store, sibling, head.depth);
  set_mark(store, 0);
  return MAPH_OK;
}

/* relaxed: only the one writer changes a link; it is stored with release, behind the zeros. */
static int add_overflow(store *store, uint64_t segment) {
  uint64_t depth = depth_of(store->write_base, segment), fresh, next;
  word *link;
  int rc = log_extent(store, EXTENT_SEGMENT, (int)depth, 0, SEGMENT_SIZE, &fresh);
  if (rc != MAPH_OK) return rc;
  while ((next = overflow_of(store->write_base, segment)) != 0) segment = next;
  rc = grant_pages(store, segment - RECORD_HEAD, segment);
  if (rc != MAPH_OK) return rc;
  link = link_of(store->write_base, segment);
  store_word(store->write_base, link,
             fresh | word_depth(atomic_load_explicit(link, memory_order_relaxed)));
  return MAPH_OK;
}

/* --------------------------------------------------------------------- room before the decision */

/* By the top 24 bits of the hash, which are more than tell segments apart: three passes of a
** byte. */
static void sort_by_segment(pending *pending, size_t n, struct pending *scratch) {
  size_t count[256], i, sum;
  int shift;
  struct pending *from = pending, *to = scratch, *swap;
  if (n <= 16) {
    for (i = 1; i < n; i++) {
      struct pending x = pending[i];
      size_t j = i;
      for (; j > 0 && pending[j - 1].hash >> 40 > x.hash >> 40; j--) pending[j] = pending[j - 1];
      pending[j] = x;
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
  memcpy(pending, from, n * sizeof *pending);
}

/* How much room each bucket of a segment has left, as keys are placed on paper. */
typedef struct paper {
  uint64_t segment, depth;
  uint8_t room[SEGMENT_BUCKETS];
} paper;
enum { ROOM_UNKNOWN = 255 };

static int place_on_paper(store *store, paper *paper, uint64_t hash, unsigned buckets) {
  unsigned i;
  for (i = 0; i < buckets; i++) {
    unsigned b = (home_of(hash) + i) & (SEGMENT_BUCKETS - 1);
    if (paper->room[b] == ROOM_UNKNOWN)
      paper->room[b] =
          (uint8_t)bucket_room(store->write_base, paper->segment, b, hash, paper->depth);
    if (paper->room[b] > 0) {
      paper->room[b]--;
      return 1;
    }
  }
  return 0;
}

/* Would the new keys of p[0..n), all of one segment, find room near home after those already
** decided but not yet published? */
static int fits(store *store, uint64_t segment, const pending *pending, size_t n,
                const changed_keys *decided) {
  const changed_keys *changed;
  size_t i;
  paper paper;
  paper.segment = segment;
  paper.depth = depth_of(store->write_base, segment);
  memset(paper.room, ROOM_UNKNOWN, sizeof paper.room);
  for (changed = decided; changed != NULL; changed = changed->next) {
    for (i = 0; i < changed->count; i++) {
      if (is_new(store, &changed->key[i])
          && same_segment(changed->key[i].hash, pending->hash, paper.depth))
        place_on_paper(store, &paper, changed->key[i].hash, SEGMENT_BUCKETS);
    }
  }
  for (i = 0; i < n; i++) {
    if (i + 6 < n)
      __builtin_prefetch(bucket_at(store->write_base, segment, home_of(pending[i + 6].hash)));
    if (is_new(store, &pending[i])
        && !place_on_paper(store, &paper, pending[i].hash, PROBE_BUCKETS))
      return 0;
  }
  return 1;
}

/* A segment that may not split: overflow segments until all its new keys have room anywhere in the
** chain. */
static int fit_by_overflow(store *store, uint64_t segment, const pending *pending, size_t n,
                           const changed_keys *decided) {
  uint64_t depth = depth_of(store->write_base, segment), room = 0, need = 0, at;
  const changed_keys *changed;
  size_t i;
  unsigned b;
  int rc = MAPH_OK;
  for (i = 0; i < n; i++) need += (uint64_t)is_new(store, &pending[i]);
  for (changed = decided; changed != NULL; changed = changed->next) {
    for (i = 0; i < changed->count; i++)
      need += (uint64_t)(is_new(store, &changed->key[i])
                         && same_segment(changed->key[i].hash, pending->hash, depth));
  }
  for (at = segment; at != 0; at = overflow_of(store->write_base, at)) {
    for (b = 0; b < SEGMENT_BUCKETS; b++)
      room += bucket_room(store->write_base, at, b, pending->hash, depth);
  }
  for (; rc == MAPH_OK && room < need; room += SEGMENT_BUCKETS * BUCKET_SLOTS)
    rc = add_overflow(store, segment);
  return rc;
}

/* The keys of pending from i on that share p[i]'s segment end where? */
static int group_at(store *store, const pending *pending, size_t n, size_t i, uint64_t *segment,
                    size_t *end) {
  int rc = segment_now(store, pending[i].hash, segment);
  uint64_t depth;
  size_t j = i + 1;
  if (rc != MAPH_OK) return rc;
  depth = depth_of(store->write_base, *segment);
  while (j < n && same_segment(pending[i].hash, pending[j].hash, depth)) j++;
  *end = j;
  return MAPH_OK;
}

/* Split, once each, the segments from *from on whose new keys do not fit; *from moves to the first
** of them.  Once each, because a directory that only one of its segments makes long looks like an
** attack to may_split. */
static int split_pass(store *store, const pending *pending, size_t n, const changed_keys *decided,
                      size_t *from, int *splits) {
  size_t i = *from, end, first = n;
  uint64_t segment;
  int rc = MAPH_OK;
  *splits = 0;
  while (i < n && (rc = group_at(store, pending, n, i, &segment, &end)) == MAPH_OK) {
    if (!fits(store, segment, pending + i, end - i, decided)) {
      if (first == n) first = i;
      if (may_split(store, segment)) {
        rc = split(store, segment, pending[i].hash);
        ++*splits;
      }
      if (rc != MAPH_OK) return rc;
    }
    i = end;
  }
  *from = first;
  return rc;
}

int index_reserve(store *store, pending *pending, size_t n, struct pending *scratch,
                  const changed_keys *decided) {
  size_t i = 0, end;
  uint64_t segment;
  int rc, splits;
  assert(store_has_turn(store) || is_locked(&store->index_mutex));
  sort_by_segment(pending, n, scratch);
  do rc = split_pass(store, pending, n, decided, &i, &splits);
  while (rc == MAPH_OK && i < n && splits > 0);
  while (rc == MAPH_OK && i < n
         && (rc = group_at(store, pending, n, i, &segment, &end)) == MAPH_OK) {
    if (!fits(store, segment, pending + i, end - i, decided))
      rc = fit_by_overflow(store, segment, pending + i, end - i, decided);
    i = end;
  }
  return rc;
}

/* --------------------------------------------------------------------------------- a new index */

int index_create(store *store, uint64_t expected_keys) {
  uint64_t depth = index_depth_for(expected_keys), i, directory, segment;
  int rc;
  assert(store_has_turn(store) || is_locked(&store->index_mutex));
  rc = depth > 0 ? os_room(&store->file, store->path,
                           store->space_end + ((uint64_t)(SEGMENT_SIZE + RECORD_HEAD + 8) << depth))
                 : MAPH_OK;
  if (rc == MAPH_OK)
    rc = log_extent(store, EXTENT_DIRECTORY, (int)depth, 0, (uint64_t)8 << depth, &directory);
  for (i = 0; rc == MAPH_OK && i >> depth == 0; i++) {
    uint32_t prefix = (uint32_t)(depth ? i << (HASH_BITS - depth) : 0);
    rc = log_extent(store, EXTENT_SEGMENT, (int)depth, prefix, SEGMENT_SIZE, &segment);
    if (rc == MAPH_OK)
      store_word(store->write_base, word_at(store->write_base, directory) + i, segment);
  }
  if (rc == MAPH_OK) set_root(store, directory | depth);
  return rc;
}

int index_create_beside(store *store, uint64_t expected_keys) {
  store->beside = 1;
  return index_create(store, expected_keys);
}

void index_show(store *store) {
  header *header = header_of(store->write_base);
  store->beside = 0;
  store_word(store->write_base, &header->root, atomic_load(&store->beside_root));
}

void index_drop_beside(store *store) { store->beside = 0; }
