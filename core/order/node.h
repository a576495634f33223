/*
** node.h - keys in order: an array of places of records, sorted by the keys of these.
**
** AN ENTRY stands for a key, not for a version: it is the place of the first record that this
** generation has of the key, a put with no prev.  Overwriting and deleting change no entry.
**
** A NODE is an array of entries, in memory or in the file: for each the 8 bytes of its key that
** follow what all keys of the node have in common, as a number that compares as they do (zeros
** past the key's end), and the record's offset / 8 in 5 bytes.  What two words do not decide, the
** keys in the records do.
**
** NOTHING HERE IS BELIEVED before it was compared with the records.  An entry is read by
** node_item, which asks that it leads to a first record whose key has that word; a search asks
** that the keys on both sides of its answer are on the sides they should be; whoever reads on from
** there asks that each key is above the one before.  So a forged or damaged node gives an error.
** What nobody can see without a pass over the log is that an entry is missing: maph_check looks.
*/
#ifndef MAPH_NODE_H
#define MAPH_NODE_H

#include "file/record.h"
#include "file/store.h"

enum { NODE_WORD = 8, NODE_PLACE = 5 }; /* bytes of an entry's parts */
enum { NODE_FENCES = 63 };

typedef struct node {
  const uint64_t *word;
  const uint8_t *place;  /* 5 bytes each, and 3 more that may be read */
  const uint64_t *fence; /* the words that part the entries in 64 stretches, together; or NULL */
  uint64_t entries;
  uint64_t from, to; /* the entries' records lie in [from, to) of the log */
  uint32_t shared;   /* bytes that its keys have in common */
} node;

/* Bytes of a node in the file. */
static inline uint64_t node_size(uint64_t entries) {
  return sizeof(node_head) + entries * (NODE_WORD + NODE_PLACE) + NODE_WORD - NODE_PLACE;
}

/* A place between entries: before a key and all above it, or after the key and all below it. */
typedef struct gap {
  maph_slice key;
  int after;
} gap;

/* of a record or, in a root, of a node */
static inline uint64_t node_offset(const node *node, uint64_t i) {
  uint64_t low;
  memcpy(&low, node->place + i * NODE_PLACE, sizeof low);
  return (low & ((UINT64_C(1) << 40) - 1)) * 8;
}

/* In the order of i: it clears the 3 bytes that follow. */
static inline void node_set_place(uint8_t *place, uint64_t i, uint64_t offset) {
  uint64_t units = offset / 8;
  memcpy(place + i * NODE_PLACE, &units, sizeof units);
}

enum { BRING_GROUP = 32 }; /* records that are brought together */

static inline void bring(const uint8_t *p) {
  uint64_t w = *(const volatile uint8_t *)p;
  __asm__ volatile("" ::"r"(w));
}

/* Of frozen records in the short form: the group lines and the moved bits, which are read first. */
static inline void node_bring_table(const view *view, const node *node, uint64_t from,
                                    uint64_t to) {
  const store *store = view->store;
  uint64_t i;
  for (i = from; i < to; i++) {
    uint64_t offset = node_offset(node, i), number = short_number(store, offset);
    if (unlikely(!is_short(store, offset))) continue;
    bring(view->base + store->perfect.moved + number / 8);
    if (!store->perfect.direct)
      bring(view->base + store->perfect.table + number / GROUP_KEYS * sizeof(group_line));
  }
}

enum { BRING_MOST = 512, BRING_LINE = 64 }; /* bytes of a record, and of a line of memory */

/* Bytes [at, size) of a record, of which those before `at` were asked for. */
static inline void bring_bytes(const uint8_t *p, uint64_t at, uint64_t size) {
  for (; at < size; at += BRING_LINE) bring(p + at);
  bring(p + size - 1);
}

/* How far into a record is asked for before its size is known; 0: no guess is right often, or where
** it begins has to be waited for anyway.  relaxed: it only steers what is asked for. */
static inline uint64_t bring_at_once(const store *store) {
  uint64_t end = atomic_load_explicit(&store->usual_end, memory_order_relaxed);
  return store->perfect.places || end <= USUAL_LEAST ? 0 : MIN(end + 1, (uint64_t)BRING_MOST);
}

/* The records themselves, BRING_GROUP at most: first as far as one of usual size reaches, then what
** follows in longer ones. */
static inline void node_bring_group(const view *view, const node *node, uint64_t from,
                                    uint64_t to) {
  uint64_t usual = bring_at_once(view->store), i;
  const uint8_t *start[BRING_GROUP];
  for (i = from; i < to; i++) {
    uint64_t offset = node_offset(node, i), at;
    int inside = likely(offset >= node->from && offset < node->to);
    const uint8_t *p = inside ? record_start(view, offset) : view->base;
    bring(p);
    at = (uint64_t)(p - view->base);
    start[i - from] = likely(at && at + BRING_MOST <= view->size) ? p : NULL;
    if (likely(usual && start[i - from])) bring_bytes(p, BRING_LINE, usual);
  }
  for (i = from; i < to; i++) {
    const uint8_t *p = start[i - from];
    uint64_t size;
    if (unlikely(p == NULL)) continue;
    size = MIN(record_about(view, node_offset(node, i), p), (uint64_t)BRING_MOST);
    if (size > usual) bring_bytes(p, MAX(usual, (uint64_t)BRING_LINE), size);
  }
}

/* The records of entries [from, to) will be read: bring them into the cache, as far as they are
** not long.  By loads: these overlap, their walks over the page tables too, where nothing between
** them waits for others: so what does has a loop of its own.  Askings (prefetches) for pages that
** are not in the TLB were slow or in vain. */
static inline void node_bring(const view *view, const node *node, uint64_t from, uint64_t to) {
  while (from < to) {
    uint64_t end = MIN(to, from + BRING_GROUP);
    if (view->store->perfect.places) node_bring_table(view, node, from, end);
    node_bring_group(view, node, from, end);
    from = end;
  }
}

static inline uint64_t load_big(const uint8_t *p) {
  uint64_t w;
  memcpy(&w, p, sizeof w);
  return __builtin_bswap64(w);
}

/* 8 bytes of a key, from `at` on, as a number that compares as they do. */
static inline uint64_t key_word(const uint8_t *key, uint64_t size, uint64_t at) {
  uint64_t w = 0;
  if (likely(at + NODE_WORD <= size)) {
    memcpy(&w, key + at, NODE_WORD);
    return __builtin_bswap64(w);
  }
  if (at >= size) return 0;
  if (likely(size >= NODE_WORD)) { /* its last 8, without those before `at` */
    memcpy(&w, key + size - NODE_WORD, NODE_WORD);
    return __builtin_bswap64(w) << (NODE_WORD - (size - at)) * 8;
  }
  memcpy(&w, key + at, size - at);
  return __builtin_bswap64(w);
}

/* As memcmp, of which most keys need no call. */
static inline __attribute__((always_inline)) int key_compare(const uint8_t *a, uint64_t a_size,
                                                             const uint8_t *b, uint64_t b_size) {
  uint64_t n = MIN(a_size, b_size), i, x, y;
  int c;
  for (i = 0; i + NODE_WORD <= n; i += NODE_WORD) {
    x = load_big(a + i);
    y = load_big(b + i);
    if (x != y) return x < y ? -1 : 1;
  }
  if (likely(n >= NODE_WORD)) { /* the last 8: those of them that were compared agree */
    x = load_big(a + n - NODE_WORD);
    y = load_big(b + n - NODE_WORD);
  } else {
    x = key_word(a, n, 0);
    y = key_word(b, n, 0);
  }
  c = (x > y) - (x < y);
  return c ? c : (a_size > b_size) - (a_size < b_size);
}

/* <0: the key lies before the gap, >0: after it.  Never 0 */
static inline int gap_compare(const uint8_t *key, uint64_t size, const gap *gap) {
  int c = key_compare(key, size, gap->key.data, gap->key.size);
  if (c != 0) return c;
  return gap->after ? -1 : 1;
}

uint64_t key_common(const item *item, const struct item *b); /* bytes at their beginning */
int node_contradicted(const view *view, uint64_t offset);    /* its error: CORRUPT */
/* Is it the key of entry i, as far as the entry says? */
static inline int node_agrees(const node *node, uint64_t i, maph_slice key) {
  return key.size >= node->shared && key_word(key.data, key.size, node->shared) == node->word[i];
}
/* The key of entry i, judged.  view: its snapshot is node->to at least.  0: it leads to none */
static inline __attribute__((always_inline)) int node_has_key(const view *view, const node *node,
                                                              uint64_t i, maph_slice *key) {
  uint64_t offset = node_offset(node, i);
  int flags;
  return likely(offset >= node->from && offset < node->to
                && record_first_key(view, offset, node->to, key, &flags)
                && node_agrees(node, i, *key));
}
/* The same.  CORRUPT */
static inline int node_key(const view *view, const node *node, uint64_t i, maph_slice *key) {
  if (likely(node_has_key(view, node, i, key))) return MAPH_OK;
  return node_contradicted(view, node_offset(node, i));
}
/* Entry i, taken apart.  view: its snapshot is node->to at least.  CORRUPT */
int node_item(const view *view, const node *node, uint64_t i, item *it);
/* Do all keys lie before the gap, or all after it, as what they have in common, first's first
** bytes, says?  Then *at is as many as there are, or 0. */
int node_settles(const node *node, const item *first, const gap *gap, uint64_t *at);
/* The fences of a node. */
void node_make_fences(const node *node, uint64_t fence[NODE_FENCES]);
/* How many words are less than w. */
uint64_t node_first_from(const node *node, uint64_t w);
/* Past those that are w, of which entry i would be the first. */
uint64_t node_ties_end(const node *node, uint64_t i, uint64_t w);
/* A SEARCH IN THREE PARTS, each for all nodes before the next begins: so what waits for memory in
** several nodes overlaps.  It is asked for by prefetches, as no load behind these waits for them:
** in 25 runs a search took half as long as with one node after the other.
** First: the words that the fences leave are asked for, [*low, *high), with their places. */
void node_near(const node *node, const gap *gap, uint64_t *low, uint64_t *high);
/* Then where the gap lies among these, by words, as if it had the bytes that the keys have in
** common: at *low, or before *high, where words agree.  The records there are asked for.  ahead:
** that many entries after the gap will be read, or, negative, before it. */
void node_aim(const view *view, const node *node, const gap *gap, int ahead, uint64_t *low,
              uint64_t *high);
/* Then how many entries lie before the gap.  *right: the keys beside the answer are on the right
** sides of the gap, and so it is right.  CORRUPT */
int node_settle(const view *view, const node *node, const gap *gap, uint64_t low, uint64_t high,
                uint64_t *at, int *right);
/* All parts; what the keys have in common is looked at first. */
int node_search(const view *view, const node *node, const gap *gap, int ahead, uint64_t *at,
                int *right);

#endif
