/*
** node.h - keys in order: an array of places of records, sorted by the keys of these.
**
** AN ENTRY stands for a key, not for a version: it is the place of the first record that this
** generation has of the key, a put with no prev.  Overwriting and deleting change no entry.
**
** A NODE is an array of entries, in memory or in the file: for each a word, made of the 8 bytes of
** its key that follow what all keys of the node have in common, and a place, of the record.  What
** two words do not decide, the keys in the records do.
**
** WIDE, as in memory and in roots: the word is these bytes as a number that compares as they do
** (zeros past the key's end), and the place is the record's offset / 8 in 5 bytes.
**
** NARROW, as the leaves in the file: a word has of each of these bytes only its lowest bits, those
** that are not the same in all keys, and nothing of the last bytes, where the others tell nearly
** all neighbours apart.  Any word is PACKED in the same way: one whose other bits are not those of
** the node's keys becomes the least or the largest of those that agree with it up to there.  So
** words that are packed are in the order of the words, but for words that become equal.  Places
** are counted from the first record of the leaf, in as few bytes as reach the last.
**
** DENSE, as the leaves of a run that was made of all keys at once: 16 entries are a group, which
** has the whole word of its first one alone, and of the others a byte: how far their words are
** above it, with as many of the lowest bits cut off as it takes.  A word that is compared with it
** is treated alike.  Places are counted from a line, in bits: where the records lie in the order of
** the keys, as a compaction leaves them, few or none are needed.  A merge, which lives on words,
** reads the keys of such a leaf.
**
** NOTHING HERE IS BELIEVED before it was compared with the records.  An entry is read by
** node_item, which asks that it leads to a first record whose key has what is kept of a word; a
** search asks that the keys on both sides of its answer are on the sides they should be; whoever
** reads on from there asks that each key is above the one before.  So a forged or damaged node
** gives an error.  What nobody can see without a pass over the log is that an entry is missing:
** maph_check looks.
*/
#ifndef MAPH_NODE_H
#define MAPH_NODE_H

#include "file/record.h"
#include "file/store.h"

enum { NODE_WORD = 8, NODE_PLACE = 5 }; /* bytes of an entry's parts, where it is wide; else less */
enum { NODE_FENCES = 63 };
enum { NIBBLE = 4, NOT_KEPT = 15 };                           /* of node_head.kept */
enum { GROUP_ENTRIES = 16, STEP_BITS = 16, PART_MOST = 255 }; /* of a dense node */

typedef struct node {
  const uint8_t *word;
  const uint8_t *place;  /* 8 bytes may be read of each of these and those */
  const uint64_t *fence; /* the words that part the entries in 64 stretches, together; or NULL */
  uint64_t entries;
  uint64_t from, to;              /* the entries' records lie in [from, to) of the log */
  uint64_t base;                  /* places are counted from there */
  uint64_t step;                  /* dense: and for each entry before from so much further */
  uint64_t word_mask, place_mask; /* of the 8 bytes that are read */
  uint64_t first, alike;          /* narrow: bits that all keys' words have, and which these are */
  uint32_t shared;                /* bytes that its keys have in common */
  uint8_t word_size;              /* bytes; dense: of the first of a group */
  uint8_t place_bits;
  uint8_t dense;
  uint8_t kept;            /* bytes of which words have bits; 0: it is wide */
  uint8_t quick;           /* by the processor's instructions for it */
  uint8_t bits[NODE_WORD]; /* of each */
  uint64_t bit;            /* which of a word's bits these are */
} node;

/* What the size of a node depends on. */
typedef struct node_form {
  uint64_t entries;
  unsigned word_size, place_bits, dense;
} node_form;

static inline uint64_t groups_of(uint64_t entries) {
  return (entries + GROUP_ENTRIES - 1) / GROUP_ENTRIES;
}

/* Bytes between its head, with the line, and its places. */
static inline uint64_t form_words(const node_form *form) {
  if (form->dense) return groups_of(form->entries) * (form->word_size + GROUP_ENTRIES);
  return form->entries * form->word_size;
}
/* Bytes before the words. */
static inline uint64_t form_front(const node_form *form) {
  return sizeof(node_head) + (form->dense ? sizeof(node_line) : 0);
}
/* Bytes of a node in the file. */
static inline uint64_t form_size(const node_form *form) {
  return form_front(form) + form_words(form) + (form->entries * form->place_bits + 7) / 8
         + NODE_WORD - (form->dense ? 0 : form->place_bits / 8);
}
static inline node_form form_of_head(const node_head *head) {
  if (head->word_size == 0) return (node_form){ head->entries, NODE_WORD, 8 * NODE_PLACE, 0 };
  return (node_form){ head->entries, head->word_size,
                      head->dense ? head->place_size : 8u * head->place_size, head->dense };
}
static inline node_form form_of(const node *node) {
  return (node_form){ node->entries, node->word_size, node->place_bits, node->dense };
}
static inline uint64_t node_bytes(const node *node) {
  node_form form = form_of(node);
  return form_size(&form);
}

/* A place between entries: before a key and all above it, or after the key and all below it. */
typedef struct gap {
  maph_slice key;
  int after;
} gap;

/* of a record or, in a root, of a node */
static inline uint64_t node_offset(const node *node, uint64_t i) {
  uint64_t units, bit = i * node->place_bits;
  memcpy(&units, node->place + bit / 8, sizeof units);
  units = (units >> bit % 8 & node->place_mask) + (i * node->step >> STEP_BITS);
  return node->base + units * 8;
}

/* As it is stored, in a node that is not dense. */
static inline uint64_t node_word(const node *node, uint64_t i) {
  uint64_t w;
  memcpy(&w, node->word + i * node->word_size, sizeof w);
  return w & node->word_mask;
}

/* Of a dense node: the word of a group's first entry, behind which its shift and the others lie. */
static inline const uint8_t *node_group(const node *node, uint64_t group) {
  return node->word + group * (node->word_size + GROUP_ENTRIES);
}
static inline uint64_t node_group_word(const node *node, uint64_t group) {
  uint64_t w;
  memcpy(&w, node_group(node, group), sizeof w);
  return w & node->word_mask;
}
/* A packed word that is that of its group's first entry at least, as the others' are stored. */
static inline uint64_t group_part(const node *node, const uint8_t *group, uint64_t above) {
  return above >> (group[node->word_size] & 63);
}
/* <0: entry i's word is below w, which is packed, >0: above it, 0: that is not said. */
static inline int node_compare_part(const node *node, uint64_t i, uint64_t w) {
  const uint8_t *group = node_group(node, i / GROUP_ENTRIES);
  uint64_t first = node_group_word(node, i / GROUP_ENTRIES), part, own;
  if (w < first) return 1;
  if (i % GROUP_ENTRIES == 0) return w > first ? -1 : 0;
  part = group_part(node, group, w - first);
  own = group[node->word_size + i % GROUP_ENTRIES];
  return (own > part) - (own < part);
}

static inline unsigned low_bits(unsigned n) { return (1u << n) - 1; }
/* Of byte i of those of a word. */
static inline unsigned byte_shift(unsigned i) { return 8 * (NODE_WORD - 1 - i); }

/* Of a word that has the bits that all keys' words have. */
static inline uint64_t node_pack_alike(const node *node, uint64_t w) {
  uint64_t packed = 0;
  unsigned i;
#ifdef __x86_64__
  if (likely(node->quick)) {
    __asm__("pextq %2, %1, %0" : "=r"(packed) : "r"(w), "r"(node->bit));
    return packed;
  }
#endif
  for (i = 0; i < node->kept; i++)
    packed = packed << node->bits[i] | (w >> byte_shift(i) & low_bits(node->bits[i]));
  return packed;
}

/* Of a word that differs from all keys' in these bits: the least or the largest word that has the
** bytes before the first of them, as it is below or above all that have these. */
uint64_t node_clamp(uint64_t w, uint64_t differ);
/* Any word as this node would store it. */
static inline uint64_t node_pack(const node *node, uint64_t w) {
  uint64_t differ;
  if (node->kept == 0) return w;
  differ = (w ^ node->first) & node->alike;
  return node_pack_alike(node, unlikely(differ != 0) ? node_clamp(w, differ) : w);
}

/* The word of entry i of which this was made, with zeros for the bytes of which nothing is kept.
** Not of a dense node. */
static inline uint64_t node_whole_word(const node *node, uint64_t i) {
  uint64_t packed = node_word(node, i), w = node->first & node->alike;
  unsigned at = node->kept;
  if (at == 0) return packed;
#ifdef __x86_64__
  if (likely(node->quick)) {
    uint64_t bits;
    __asm__("pdepq %2, %1, %0" : "=r"(bits) : "r"(packed), "r"(node->bit));
    return w | bits;
  }
#endif
  while (at-- > 0) {
    w |= (packed & low_bits(node->bits[at])) << byte_shift(at);
    packed >>= node->bits[at];
  }
  return w;
}

/* How many bytes of that word are the key's. */
static inline unsigned node_known(const node *node) { return node->kept ? node->kept : NODE_WORD; }

/* The form that its head says, and where its parts lie.  0: there is no such form */
int node_shape(node *node, const node_head *head, const uint8_t *parts);
/* A wide one.  Where the entries lie, and what else is known of it, is to be set. */
void node_shape_wide(node *node, const uint8_t *word, const uint8_t *place);

/* In the order of i: it clears the bytes that follow. */
static inline void node_set_word(uint8_t *word, unsigned size, uint64_t i, uint64_t w) {
  memcpy(word + i * size, &w, sizeof w);
}

enum { BRING_GROUP = 32 }; /* records that are brought together */

static inline void bring(const uint8_t *p) {
  uint64_t w = *(const volatile uint8_t *)p;
  __asm__ volatile("" ::"r"(w));
}

/* Of frozen records in the short form: the group lines and the moved bits, which are read first. */
static inline void node_bring_table(const view *view, const uint64_t *offset, uint64_t n) {
  const store *store = view->store;
  uint64_t i;
  for (i = 0; i < n; i++) {
    uint64_t number = short_number(store, offset[i]);
    if (unlikely(!is_short(store, offset[i]))) continue;
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
static inline void node_bring_group(const view *view, const node *node, const uint64_t *offset,
                                    uint64_t n) {
  uint64_t usual = bring_at_once(view->store), i;
  const uint8_t *start[BRING_GROUP];
  for (i = 0; i < n; i++) {
    int inside = likely(offset[i] >= node->from && offset[i] < node->to);
    const uint8_t *p = inside ? record_start(view, offset[i]) : view->base;
    uint64_t at = (uint64_t)(p - view->base);
    bring(p);
    start[i] = likely(at && at + BRING_MOST <= view->size) ? p : NULL;
    if (likely(usual && start[i])) bring_bytes(p, BRING_LINE, usual);
  }
  for (i = 0; i < n; i++) {
    const uint8_t *p = start[i];
    uint64_t size;
    if (unlikely(p == NULL)) continue;
    size = MIN(record_about(view, offset[i], p), (uint64_t)BRING_MOST);
    if (size > usual) bring_bytes(p, MAX(usual, (uint64_t)BRING_LINE), size);
  }
}

/* The records of entries [from, to) will be read: bring them into the cache, as far as they are
** not long.  By loads: these overlap, their walks over the page tables too, where nothing between
** them waits for others: so what does has a loop of its own.  Askings (prefetches) for pages that
** are not in the TLB were slow or in vain. */
static inline void node_bring(const view *view, const node *node, uint64_t from, uint64_t to) {
  uint64_t offset[BRING_GROUP], n, i;
  for (; from < to; from += n) {
    n = MIN(to - from, (uint64_t)BRING_GROUP);
    for (i = 0; i < n; i++) offset[i] = node_offset(node, from + i);
    if (view->store->perfect.places) node_bring_table(view, offset, n);
    node_bring_group(view, node, offset, n);
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
static inline __attribute__((always_inline)) int node_agrees(const node *node, uint64_t i,
                                                             maph_slice key) {
  uint64_t w;
  if (key.size < node->shared) return 0;
  w = key_word(key.data, key.size, node->shared);
  if (node->kept == 0) return w == node_word(node, i);
  if (((w ^ node->first) & node->alike) != 0) return 0;
  w = node_pack_alike(node, w);
  return node->dense ? node_compare_part(node, i, w) == 0 : w == node_word(node, i);
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
/* The fences of a node that has entries enough. */
int node_has_fences(const node *node);
void node_make_fences(const node *node, uint64_t fence[NODE_FENCES]);
/* How many words are less than w, which is packed.  Not of a dense node. */
uint64_t node_first_from(const node *node, uint64_t w);
/* Past those that are w, of which entry i would be the first. */
uint64_t node_ties_end(const node *node, uint64_t i, uint64_t w);
/* A SEARCH IN THREE PARTS, each for all nodes before the next begins: so what waits for memory in
** several nodes overlaps.  It is asked for by prefetches, as no load behind these waits for them:
** in 25 runs a search took half as long as with one node after the other.
** First: the words that the fences leave are asked for, [*low, *high), with their places.  Of a
** dense node these are numbers of groups. */
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
