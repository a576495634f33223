/*
** node.c - reading and searching a node.
*/
#include "order/node.h"
#include "file/record.h"
#include "file/store.h"

uint64_t key_common(const item *a, const item *b) {
  uint64_t most = MIN(a->key_size, b->key_size), i = 0;
  while (i < most && a->key[i] == b->key[i]) i++;
  return i;
}

static int contradicted(const view *v, uint64_t offset) {
  return fail_corrupt(v->s->path, offset,
                      "the order of keys does not lead to the first record of a key: compact the "
                      "store, which makes it anew");
}

int node_item(const view *v, const node *n, uint64_t i, item *it) {
  uint64_t offset = node_offset(n, i);
  if (unlikely(offset < n->from || offset >= n->to)) return contradicted(v, offset);
  if (unlikely(record_item(v, offset, n->to, it) != MAPH_OK || it->kind != KIND_PUT || it->prev != 0
               || it->key_size < n->shared
               || key_word(it->key, it->key_size, n->shared) != n->word[i]))
    return contradicted(v, offset);
  return MAPH_OK;
}

/* The first of [low, high) whose word is at least w. */
static uint64_t first_from(const node *n, uint64_t low, uint64_t high, uint64_t w) {
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    if (n->word[middle] < w)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Among entries whose words agree with the gap's key's. */
static int search_ties(const view *v, const node *n, const gap *g, uint64_t low, uint64_t high,
                       uint64_t *at) {
  int rc = MAPH_OK;
  item it;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    rc = node_item(v, n, middle, &it);
    if (rc != MAPH_OK) return rc;
    if (gap_compare(it.key, it.key_size, g) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  *at = low;
  return rc;
}

int node_settles(const node *n, const item *first, const gap *g, uint64_t *at) {
  uint64_t size = MIN(g->key.size, (uint64_t)n->shared);
  int c = size ? memcmp(first->key, g->key.data, size) : 0;
  if (c == 0 && size == n->shared) return 0;
  *at = c < 0 ? n->entries : 0; /* a key shorter than that is before all of them */
  return 1;
}

/* The keys beside the answer are on the right sides: then it is right, whatever led there. */
static int confirm(const view *v, const node *n, const gap *g, uint64_t at) {
  item it;
  int rc = MAPH_OK;
  if (at > 0) {
    rc = node_item(v, n, at - 1, &it);
    if (rc == MAPH_OK && gap_compare(it.key, it.key_size, g) > 0) rc = contradicted(v, it.offset);
  }
  if (rc == MAPH_OK && at < n->entries) {
    rc = node_item(v, n, at, &it);
    if (rc == MAPH_OK && gap_compare(it.key, it.key_size, g) < 0) rc = contradicted(v, it.offset);
  }
  return rc;
}

int node_search(const view *v, const node *n, const gap *g, uint64_t *at) {
  uint64_t w, low, high;
  item first;
  int rc = MAPH_OK;
  *at = 0;
  if (n->entries == 0) return MAPH_OK;
  if (n->shared) {
    rc = node_item(v, n, 0, &first);
    if (rc != MAPH_OK) return rc;
    if (node_settles(n, &first, g, at)) return confirm(v, n, g, *at);
  }
  w = key_word(g->key.data, g->key.size, n->shared);
  low = first_from(n, 0, n->entries, w);
  high = low;
  while (high < n->entries && high - low < 8 && n->word[high] == w) high++;
  if (high - low == 8) high = w == UINT64_MAX ? n->entries : first_from(n, high, n->entries, w + 1);
  rc = search_ties(v, n, g, low, high, at);
  return rc == MAPH_OK ? confirm(v, n, g, *at) : rc;
}
