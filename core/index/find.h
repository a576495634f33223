/*
** find.h - the words of the index, and the hot path of a get, inlined into its caller.
**
** The structure is in format.h, section 3, the rules for readers in segment.h.
*/
#ifndef MAPH_FIND_H
#define MAPH_FIND_H

#include "file/store.h"
#include "index/perfect.h"
#include "index/slot.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#if defined(__SSE2__) && !ONE_MAPPING
#include <emmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON) && !ONE_MAPPING
#include <arm_neon.h>
#endif

void index_prefetch(const view *view, uint64_t hash);
/* at the snapshot, put or delete; NOTFOUND CORRUPT */
int index_find(const view *view, maph_slice key, uint64_t hash, item *it);
enum {
  INDEX_UNSETTLED = -1, /* index_find says it */
  INDEX_DATED = -2,     /* found, if its expiry has not passed */
  INDEX_CALLS = -3,     /* a leaf leaves it to others */
  INDEX_MOVED = -4,     /* within a get */
  INDEX_GROUP = 32      /* keys in a group */
};
/* n <= INDEX_GROUP; now: of expiry, 0: the clock says; mask of the unsettled */
uint32_t index_get_group(const view *view, uint64_t now, size_t n, const maph_slice *keys,
                         maph_slice *values);
/* a key that finds no room in so many buckets makes its segment split */
enum { PROBE_BUCKETS = 3 };

/* Keys of these sizes are hashed, and compared, as two words that may overlap. */
enum { WORDS_LEAST = 9, WORDS_MOST = 16 };

static inline int is_two_words(maph_slice key) {
  return key.size - WORDS_LEAST <= WORDS_MOST - WORDS_LEAST;
}

/* XXH3_64bits_withSeed of such a key: without the way of its product through memory, which
** compilers make of a struct. */
static inline uint64_t two_words_hash(uint64_t seed, maph_slice key) {
  const uint8_t *p = key.data;
  uint64_t low = XXH_readLE64(p) ^ (UINT64_C(0x6782737bea4239b9) + seed),
           high = XXH_readLE64(p + key.size - 8) ^ (UINT64_C(0xaf56bc3b0996523a) - seed);
  return XXH3_avalanche(key.size + __builtin_bswap64(low) + high + folded_product(low, high));
}

static inline uint64_t index_hash(const store *store, maph_slice key) {
  if (likely(is_two_words(key))) return two_words_hash(store->hash_seed, key);
  return XXH3_64bits_withSeed(key.data, key.size, store->hash_seed);
}

/* Bit i: slot i of the bucket may have this tag.  A hint: the slot is loaded again as an atomic.
** relaxed: with acquire, that is; and a miss is final only where root and directory word are the
** same behind an acquire fence. */
static inline unsigned bucket_matches(const word *bucket, uint32_t tag) {
#if defined(__SSE2__) && !ONE_MAPPING
  const __m128i *p = (const __m128i *)(const void *)bucket;
  __m128i want = _mm_set1_epi32((int)tag);
  __m128 a = _mm_castsi128_ps(_mm_load_si128(p)), b = _mm_castsi128_ps(_mm_load_si128(p + 1));
  __m128 c = _mm_castsi128_ps(_mm_load_si128(p + 2)), d = _mm_castsi128_ps(_mm_load_si128(p + 3));
  __m128i lo = _mm_castps_si128(_mm_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
  __m128i hi = _mm_castps_si128(_mm_shuffle_ps(c, d, _MM_SHUFFLE(3, 1, 3, 1)));
  lo = _mm_cmpeq_epi32(_mm_srli_epi32(lo, 32 - HASH_BITS), want);
  hi = _mm_cmpeq_epi32(_mm_srli_epi32(hi, 32 - HASH_BITS), want);
  return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(lo, hi), _mm_setzero_si128()));
#elif defined(__aarch64__) && defined(__ARM_NEON) && !ONE_MAPPING
  static const uint16_t weights[BUCKET_SLOTS] = { 1, 2, 4, 8, 16, 32, 64, 128 };
  const uint32_t *p = (const uint32_t *)(const void *)bucket;
  uint32x4_t want = vdupq_n_u32(tag);
  uint32x4_t lo = vceqq_u32(vshrq_n_u32(vld2q_u32(p).val[1], 32 - HASH_BITS), want);
  uint32x4_t hi = vceqq_u32(vshrq_n_u32(vld2q_u32(p + BUCKET_SLOTS).val[1], 32 - HASH_BITS), want);
  uint16x8_t match = vcombine_u16(vmovn_u32(lo), vmovn_u32(hi));
  return vaddvq_u16(vandq_u16(match, vld1q_u16(weights)));
#else
  unsigned i, bits = 0;
  for (i = 0; i < BUCKET_SLOTS; i++)
    bits |= (unsigned)(slot_tag(atomic_load_explicit(&bucket[i], memory_order_relaxed)) == tag)
            << i;
  return bits;
#endif
}

/* What the record of the newest version says. */
static inline int answer_of_newest(int answer) {
  switch (answer) {
    case RECORD_VALUE: return MAPH_OK;
    case RECORD_DATED: return INDEX_DATED;
    case RECORD_DELETED: return MAPH_NOTFOUND;
    default: return INDEX_UNSETTLED;
  }
}

/* A get by the perfect hash.  NOTFOUND: the index has to say, because the key is not a frozen one.
** MOVED: it changed since; where the index has nothing it did not. */
static inline int perfect_get(const store *store, const uint8_t *base, uint64_t snapshot,
                              maph_slice key, uint64_t hash, maph_slice *value, uint64_t *expires,
                              int leaf) {
  uint64_t number, address = perfect_address(store, base, hash, &number, leaf);
  int answer;
  if (address == 0) return MAPH_NOTFOUND;
  if (unlikely(store->perfect.past > snapshot)) return INDEX_UNSETTLED;
  answer = perfect_answer(store, base, snapshot, address, store->perfect.usual_end, key, value,
                          expires, leaf);
  if (unlikely(answer != RECORD_VALUE && answer != RECORD_DATED)) return MAPH_NOTFOUND;
  if (unlikely(perfect_superseded(store, base, snapshot, number, address, leaf)))
    return INDEX_MOVED;
  return answer == RECORD_VALUE ? MAPH_OK : INDEX_DATED;
}

/* The hot path.  Independent gets overlap in the processor as far as its window of a few hundred
** instructions reaches, so that between two cold lines stand as few as possible: a bucket or the
** next, one candidate, one plain record; a miss that these settle.  Whatever is not that, or not
** sound, is left to index_find.
**
** Another thread may let the file grow, and map it anew, at any moment.  base is a mapping of size
** bytes at least: whatever is touched is bounded by that size, never by one that is loaded later.
**
** What a get touches, in a store too large for the processor's cache (shares measured at 1M keys of
** 200 bytes):
**   the header's first live line, the store's own fields
**       every get's: in the first-level cache
**   the directory word
**       8 bytes a segment of some 1,300 keys: in the second-level cache
**   the bucket's line
**       64 bytes for some 5 keys: memory, 37 % of the time; a neighbour's in 1 of 100
**   the record's first line, and the value's
**       memory, 58 %
** with a perfect hash:
**   the pilot
**       2.7 bits a key: in the second-level cache, up to 10M keys in the third
**   the fingerprint, which settles nearly all misses; or the group's line, where sizes differ
**       1 byte a key, or 4: in the third-level cache at 10M keys, or at 1M
**   the record's first line, and the value's
**       memory
**   the moved bit
**       1 bit a key: in the second-level cache; then, for a key that changed or came later, all of
**       the above
**
** usual_end is relaxed: it only steers a prefetch.
**
** leaf, a constant: the caller calls nothing, and so has few registers to save; its key is of two
** words, and what lies beyond the key's own bucket is left to others, as is a perfect hash that is
** none of those that are made by default (perfect_is_simple).
*/
static inline int index_get(const store *store, const uint8_t *base, uint64_t size,
                            uint64_t snapshot, maph_slice key, uint64_t hash, maph_slice *value,
                            uint64_t *expires, int leaf) {
  const header *header = header_of(base);
  uint64_t root, at, depth, segment, slot, offset, usual_end;
  const word *directory_word, *bucket;
  unsigned bits, i;
  int missing = MAPH_NOTFOUND;
  if (store->perfect.keys) {
    int rc;
    if (leaf && unlikely(!perfect_is_simple(&store->perfect))) return INDEX_CALLS;
    rc = perfect_get(store, base, snapshot, key, hash, value, expires, leaf);
    if (likely(rc != MAPH_NOTFOUND && rc != INDEX_MOVED)) return rc;
    if (rc == INDEX_MOVED) missing = INDEX_UNSETTLED;
  }
  root = acquire(&header->root);
  depth = word_depth(root);
  if (unlikely(depth > HASH_BITS)) return INDEX_UNSETTLED;
  at = word_place(root) + (uint64_t)(tag_of(hash) >> (HASH_BITS - depth)) * sizeof(word);
  if (unlikely(at - LOG_START > size - sizeof(word) - LOG_START)) return INDEX_UNSETTLED;
  directory_word = word_at(base, at);
  segment = word_place(acquire(directory_word));
  if (unlikely(segment > size - SEGMENT_SIZE)) return INDEX_UNSETTLED;
  for (i = 0; i < PROBE_BUCKETS; i++) {
    bucket = bucket_at(base, segment, (home_of(hash) + i) & (SEGMENT_BUCKETS - 1));
    bits = bucket_matches(bucket, tag_of(hash));
    if (likely(bits)) {
      slot = acquire(&bucket[__builtin_ctz(bits)]);
      offset = slot_offset(slot);
      if (unlikely(slot_tag(slot) != tag_of(hash)
                   || offset - LOG_START > snapshot - RECORD_HEAD - LOG_START))
        return INDEX_UNSETTLED;
      usual_end = atomic_load_explicit(&store->usual_end, memory_order_relaxed);
      return answer_of_newest(
          record_answer(base, offset, snapshot, usual_end, key, value, expires));
    }
    if (likely(acquire(&bucket[BUCKET_SLOTS - 1]) == 0)) break;
    if (leaf) return INDEX_CALLS;
  }
  if (unlikely(i == PROBE_BUCKETS)) return INDEX_UNSETTLED;
  atomic_thread_fence(memory_order_acquire);
  return likely(acquire(&header->root) == root && acquire(directory_word) == segment)
             ? missing
             : INDEX_UNSETTLED;
}

#endif
