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

typedef struct node {
  const uint64_t *word;
  const uint8_t *place; /* 5 bytes each, and 3 more that may be read */
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

static inline void node_set_place(uint8_t *place, uint64_t i, uint64_t offset) {
  uint64_t units = offset / 8;
  memcpy(place + i * NODE_PLACE, &units, NODE_PLACE);
}

/* 8 bytes of a key, from `at` on, as a number that compares as they do. */
static inline uint64_t key_word(const uint8_t *key, uint64_t size, uint64_t at) {
  uint64_t w = 0;
  if (likely(at + NODE_WORD <= size))
    memcpy(&w, key + at, NODE_WORD);
  else if (at < size)
    memcpy(&w, key + at, size - at);
  return __builtin_bswap64(w);
}

static inline int key_compare(const uint8_t *a, uint64_t a_size, const uint8_t *b,
                              uint64_t b_size) {
  int c = memcmp(a, b, MIN(a_size, b_size));
  return c ? c : (a_size > b_size) - (a_size < b_size);
}

/* <0: the key lies before the gap, >0: after it.  Never 0 */
static inline int gap_compare(const uint8_t *key, uint64_t size, const gap *gap) {
  int c = key_compare(key, size, gap->key.data, gap->key.size);
  if (c != 0) return c;
  return gap->after ? -1 : 1;
}

uint64_t key_common(const item *item, const struct item *b); /* bytes at their beginning */
/* Entry i, taken apart.  view: its snapshot is node->to at least.  CORRUPT */
int node_item(const view *view, const node *node, uint64_t i, item *it);
/* Do all keys lie before the gap, or all after it, as what they have in common, first's first
** bytes, says?  Then *at is as many as there are, or 0. */
int node_settles(const node *node, const item *first, const gap *gap, uint64_t *at);
/* How many entries lie before the gap.  CORRUPT */
int node_search(const view *view, const node *node, const gap *gap, uint64_t *at);

#endif
