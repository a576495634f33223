/*
** node.c - reading and searching a node.
*/
#include "order/node.h"
#include "file/record.h"
#include "file/store.h"

enum { LINE_WORDS = 8, LINES = 8 }; /* of a line of memory; that are asked for at once */

uint64_t key_common(const item *item, const struct item *b) {
  uint64_t most = MIN(item->key_size, b->key_size), i = 0;
  while (i < most && item->key[i] == b->key[i]) i++;
  return i;
}

int node_contradicted(const view *view, uint64_t offset) {
  return fail_corrupt(view->store->path, offset,
                      "the order of keys does not lead to the first record of a key: compact the "
                      "store, which makes it anew");
}

int node_item(const view *view, const node *node, uint64_t i, item *it) {
  uint64_t offset = node_offset(node, i);
  if (unlikely(offset < node->from || offset >= node->to)) return node_contradicted(view, offset);
  if (unlikely(record_item(view, offset, node->to, it) != MAPH_OK || it->kind != KIND_PUT
               || it->prev != 0 || it->key_size < node->shared
               || key_word(it->key, it->key_size, node->shared) != node->word[i]))
    return node_contradicted(view, offset);
  return MAPH_OK;
}

void node_make_fences(const node *node, uint64_t fence[NODE_FENCES]) {
  uint64_t part = node->entries / (NODE_FENCES + 1), i;
  for (i = 0; i < NODE_FENCES; i++) fence[i] = node->word[(i + 1) * part];
}

/* How many of n sorted words are less than w.  Without branches: half of them would be foreseen
** wrongly. */
static inline uint64_t count_less(const uint64_t *word, uint64_t n, uint64_t w) {
  const uint64_t *at = word;
  if (n == 0) return 0;
  while (n > 1) {
    uint64_t half = n / 2;
    at += (at[half - 1] < w) * half;
    n -= half;
  }
  return (uint64_t)(at - word) + (*at < w);
}

/* [low, high) becomes that of its parts, which are as long but for the last, where the first word
** lies that is at least w: of the words at which parts begin, save the first, `less` are less. */
static inline void narrow(uint64_t *low, uint64_t *high, uint64_t parts, uint64_t less) {
  uint64_t part = (*high - *low) / parts, from = *low;
  if (less) *low = from + less * part + 1;
  if (less + 1 < parts) *high = from + (less + 1) * part;
}

/* The first of [low, high) whose word is at least w.  The words that part it in eight are looked at
** together; of what is left then all are brought, with the places. */
static uint64_t first_from(const node *node, uint64_t low, uint64_t high, uint64_t w) {
  enum { PARTS = 8 };
  uint64_t i;
  while (high - low > LINES * LINE_WORDS) {
    uint64_t part = (high - low) / PARTS, less = 0;
    for (i = 1; i < PARTS; i++) less += node->word[low + i * part] < w;
    narrow(&low, &high, PARTS, less);
  }
  for (i = low; i < high; i += LINE_WORDS) {
    bring((const uint8_t *)&node->word[i]);
    bring(node->place + i * NODE_PLACE / 8 * 8);
  }
  return low + count_less(node->word + low, high - low, w);
}

/* Past the fences: the stretch where the first word lies that is at least w. */
static void near(const node *node, uint64_t w, uint64_t *low, uint64_t *high) {
  *low = 0;
  *high = node->entries;
  if (node->fence) narrow(low, high, NODE_FENCES + 1, count_less(node->fence, NODE_FENCES, w));
}

uint64_t node_first_from(const node *node, uint64_t w) {
  uint64_t low, high;
  near(node, w, &low, &high);
  return first_from(node, low, high, w);
}

uint64_t node_ties_end(const node *node, uint64_t i, uint64_t w) {
  uint64_t end = i;
  while (end < node->entries && end - i < LINE_WORDS && node->word[end] == w) end++;
  if (end - i < LINE_WORDS) return end;
  return w == UINT64_MAX ? node->entries : first_from(node, end, node->entries, w + 1);
}

/* Among entries whose words agree with the gap's key's. */
static int search_ties(const view *view, const node *node, const gap *gap, uint64_t low,
                       uint64_t high, uint64_t *at) {
  maph_slice key = { NULL, 0 };
  int rc = MAPH_OK;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    rc = node_key(view, node, middle, &key);
    if (rc != MAPH_OK) return rc;
    if (gap_compare(key.data, key.size, gap) < 0)
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

/* Are the keys beside the answer on the right sides?  Then it is right, whatever led there. */
static int confirm(const view *view, const node *node, const gap *gap, uint64_t at, int *right) {
  maph_slice key = { NULL, 0 };
  int rc = MAPH_OK;
  *right = 1;
  if (at > 0) {
    rc = node_key(view, node, at - 1, &key);
    if (rc == MAPH_OK) *right = gap_compare(key.data, key.size, gap) < 0;
  }
  if (rc == MAPH_OK && at < node->entries) {
    rc = node_key(view, node, at, &key);
    if (rc == MAPH_OK && gap_compare(key.data, key.size, gap) < 0) *right = 0;
  }
  return rc;
}

static void ask_for_key(const view *view, const node *node, uint64_t i) {
  uint64_t offset;
  if (i >= node->entries) return;
  offset = node_offset(node, i);
  if (likely(offset >= node->from && offset < node->to))
    __builtin_prefetch(record_start(view, offset));
}

/* The key of the record beside the answer on the one side, and on the other the records ahead. */
static void ask_around(const view *view, const node *node, uint64_t at, int ahead) {
  ask_for_key(view, node, ahead < 0 ? at : at - 1);
  if (ahead >= -1 && ahead <= 1)
    ask_for_key(view, node, ahead < 0 ? at - 1 : at);
  else if (ahead < 0)
    node_bring(view, node, at - MIN(at, (uint64_t)-ahead), at);
  else
    node_bring(view, node, at, MIN(at + (uint64_t)ahead, node->entries));
}

void node_near(const node *node, const gap *gap, uint64_t *low, uint64_t *high) {
  uint64_t i;
  near(node, key_word(gap->key.data, gap->key.size, node->shared), low, high);
  if (*high - *low > LINES * LINE_WORDS) return;
  for (i = *low; i < *high; i += LINE_WORDS) {
    __builtin_prefetch(&node->word[i]);
    __builtin_prefetch(node->place + i * NODE_PLACE);
  }
}

void node_aim(const view *view, const node *node, const gap *gap, int ahead, uint64_t *low,
              uint64_t *high) {
  uint64_t w = key_word(gap->key.data, gap->key.size, node->shared);
  if (node->entries == 0) return;
  if (node->fence)
    *low += count_less(node->word + *low, *high - *low, w); /* they are on their way */
  else
    *low = first_from(node, *low, *high, w);
  *high = node_ties_end(node, *low, w);
  ask_around(view, node, *low, ahead);
}

int node_settle(const view *view, const node *node, const gap *gap, uint64_t low, uint64_t high,
                uint64_t *at, int *right) {
  int rc = search_ties(view, node, gap, low, high, at);
  return rc == MAPH_OK ? confirm(view, node, gap, *at, right) : rc;
}

int node_search(const view *view, const node *node, const gap *gap, int ahead, uint64_t *at,
                int *right) {
  uint64_t low, high;
  item first;
  int rc;
  *at = 0;
  *right = 1;
  if (node->entries > 0 && node->shared) {
    rc = node_item(view, node, 0, &first);
    if (rc != MAPH_OK) return rc;
    if (node_settles(node, &first, gap, at)) return confirm(view, node, gap, *at, right);
  }
  node_near(node, gap, &low, &high);
  node_aim(view, node, gap, ahead, &low, &high);
  return node_settle(view, node, gap, low, high, at, right);
}
