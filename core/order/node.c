/*
** node.c - reading and searching a node.
*/
#include "order/node.h"
#include "file/record.h"
#include "file/store.h"

uint64_t key_common(const item *item, const struct item *b) {
  uint64_t most = MIN(item->key_size, b->key_size), i = 0;
  while (i < most && item->key[i] == b->key[i]) i++;
  return i;
}

static int contradicted(const view *view, uint64_t offset) {
  return fail_corrupt(view->store->path, offset,
                      "the order of keys does not lead to the first record of a key: compact the "
                      "store, which makes it anew");
}

int node_item(const view *view, const node *node, uint64_t i, item *it) {
  uint64_t offset = node_offset(node, i);
  if (unlikely(offset < node->from || offset >= node->to)) return contradicted(view, offset);
  if (unlikely(record_item(view, offset, node->to, it) != MAPH_OK || it->kind != KIND_PUT
               || it->prev != 0 || it->key_size < node->shared
               || key_word(it->key, it->key_size, node->shared) != node->word[i]))
    return contradicted(view, offset);
  return MAPH_OK;
}

/* The first of [low, high) whose word is at least w. */
static uint64_t first_from(const node *node, uint64_t low, uint64_t high, uint64_t w) {
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    if (node->word[middle] < w)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Among entries whose words agree with the gap's key's. */
static int search_ties(const view *view, const node *node, const gap *gap, uint64_t low,
                       uint64_t high, uint64_t *at) {
  int rc = MAPH_OK;
  item it;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    rc = node_item(view, node, middle, &it);
    if (rc != MAPH_OK) return rc;
    if (gap_compare(it.key, it.key_size, gap) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  *at = low;
  return rc;
}

int node_settles(const node *node, const item *first, const gap *gap, uint64_t *at) {
  uint64_t size = MIN(gap->key.size, (uint64_t)node->shared);
  int c = size ? memcmp(first->key, gap->key.data, size) : 0;
  if (c == 0 && size == node->shared) return 0;
  *at = c < 0 ? node->entries : 0; /* a key shorter than that is before all of them */
  return 1;
}

/* The keys beside the answer are on the right sides: then it is right, whatever led there. */
static int confirm(const view *view, const node *node, const gap *gap, uint64_t at) {
  item it;
  int rc = MAPH_OK;
  if (at > 0) {
    rc = node_item(view, node, at - 1, &it);
    if (rc == MAPH_OK && gap_compare(it.key, it.key_size, gap) > 0)
      rc = contradicted(view, it.offset);
  }
  if (rc == MAPH_OK && at < node->entries) {
    rc = node_item(view, node, at, &it);
    if (rc == MAPH_OK && gap_compare(it.key, it.key_size, gap) < 0)
      rc = contradicted(view, it.offset);
  }
  return rc;
}

int node_search(const view *view, const node *node, const gap *gap, uint64_t *at) {
  uint64_t w, low, high;
  item first;
  int rc = MAPH_OK;
  *at = 0;
  if (node->entries == 0) return MAPH_OK;
  if (node->shared) {
    rc = node_item(view, node, 0, &first);
    if (rc != MAPH_OK) return rc;
    if (node_settles(node, &first, gap, at)) return confirm(view, node, gap, *at);
  }
  w = key_word(gap->key.data, gap->key.size, node->shared);
  low = first_from(node, 0, node->entries, w);
  high = low;
  while (high < node->entries && high - low < 8 && node->word[high] == w) high++;
  if (high - low == 8)
    high = w == UINT64_MAX ? node->entries : first_from(node, high, node->entries, w + 1);
  rc = search_ties(view, node, gap, low, high, at);
  return rc == MAPH_OK ? confirm(view, node, gap, *at) : rc;
}
