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
               || it->prev != 0 || !node_agrees(node, i, maph_bytes(it->key, it->key_size))))
    return node_contradicted(view, offset);
  return MAPH_OK;
}

uint64_t node_clamp(uint64_t w, uint64_t differ) {
  unsigned top = 63 - (unsigned)__builtin_clzll(differ);
  uint64_t rest = UINT64_MAX >> byte_shift(top / 8);
  return w >> top & 1 ? w | rest : w & ~rest;
}

static uint64_t low_bytes(unsigned n) { return UINT64_MAX >> 8 * (NODE_WORD - n); }

/* Has the processor instructions that take bits out of a word, and are they quick?  The first AMD
** ones that have them take longer than a loop. */
static uint8_t has_quick_bits(const node_head *head) {
#ifdef MAPH_TEST
  if (head->entries % 2) return 0; /* both ways are tested */
#endif
  (void)head;
#ifdef __x86_64__
  return __builtin_cpu_supports("bmi2") && !__builtin_cpu_is("znver1")
         && !__builtin_cpu_is("znver2");
#else
  return 0;
#endif
}

/* How many bits of each byte are kept.  0: that cannot be */
static int shape_words(node *node, const node_head *head) {
  unsigned i, all = 0;
  node->kept = 0;
  node->alike = 0;
  for (i = 0; i < NODE_WORD; i++) {
    unsigned bits = head->kept >> NIBBLE * i & low_bits(NIBBLE);
    if (bits == NOT_KEPT) continue;
    if (bits > 8 || node->kept != i) return 0;
    node->bits[node->kept++] = (uint8_t)bits;
    node->alike |= (uint64_t)(0xFF & ~low_bits(bits)) << byte_shift(i);
    node->bit |= (uint64_t)low_bits(bits) << byte_shift(i);
    all += bits;
  }
  if (node->kept == 0 || all > 8u * head->word_size) return 0;
  node->quick = has_quick_bits(head);
  return node->kept == NODE_WORD || head->first << 8 * node->kept == 0;
}

void node_shape_wide(node *node, const uint8_t *word, const uint8_t *place) {
  memset(node, 0, sizeof *node);
  node->word = word;
  node->place = place;
  node->word_size = NODE_WORD;
  node->place_size = NODE_PLACE;
  node->word_mask = low_bytes(NODE_WORD);
  node->place_mask = low_bytes(NODE_PLACE);
}

int node_shape(node *node, const node_head *head, const uint8_t *parts) {
  int wide = head->word_size == 0;
  node_shape_wide(node, parts,
                  parts + head->entries * (uint64_t)(wide ? NODE_WORD : head->word_size));
  node->entries = head->entries;
  node->from = head->from;
  node->to = head->to;
  node->shared = head->shared;
  if (wide) return head->place_size == 0 && head->zero == 0 && head->kept == 0 && head->first == 0;
  if (head->word_size > NODE_WORD || head->place_size == 0 || head->place_size > NODE_PLACE
      || head->zero || head->is_root)
    return 0;
  node->base = head->from;
  node->first = head->first;
  node->word_size = head->word_size;
  node->place_size = head->place_size;
  node->word_mask = low_bytes(head->word_size);
  node->place_mask = low_bytes(head->place_size);
  return shape_words(node, head);
}

void node_make_fences(const node *node, uint64_t fence[NODE_FENCES]) {
  uint64_t part = node->entries / (NODE_FENCES + 1), i;
  for (i = 0; i < NODE_FENCES; i++) fence[i] = node_word(node, (i + 1) * part);
}

/* How many of n sorted fences are less than w.  Without branches: half of them would be foreseen
** wrongly. */
static inline uint64_t fences_less(const uint64_t *word, uint64_t n, uint64_t w) {
  const uint64_t *at = word;
  if (n == 0) return 0;
  while (n > 1) {
    uint64_t half = n / 2;
    at += (at[half - 1] < w) * half;
    n -= half;
  }
  return (uint64_t)(at - word) + (*at < w);
}

/* The same of the n words from entry `at` on. */
static inline uint64_t count_less(const node *node, uint64_t at, uint64_t n, uint64_t w) {
  uint64_t from = at;
  if (n == 0) return 0;
  while (n > 1) {
    uint64_t half = n / 2;
    at += (node_word(node, at + half - 1) < w) * half;
    n -= half;
  }
  return at - from + (node_word(node, at) < w);
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
    for (i = 1; i < PARTS; i++) less += node_word(node, low + i * part) < w;
    narrow(&low, &high, PARTS, less);
  }
  for (i = low; i < high; i += LINE_WORDS) {
    bring(node->word + i * node->word_size);
    bring(node->place + i * node->place_size);
  }
  return low + count_less(node, low, high - low, w);
}

/* Past the fences: the stretch where the first word lies that is at least w. */
static void near(const node *node, uint64_t w, uint64_t *low, uint64_t *high) {
  *low = 0;
  *high = node->entries;
  if (node->fence) narrow(low, high, NODE_FENCES + 1, fences_less(node->fence, NODE_FENCES, w));
}

uint64_t node_first_from(const node *node, uint64_t w) {
  uint64_t low, high;
  near(node, w, &low, &high);
  return first_from(node, low, high, w);
}

uint64_t node_ties_end(const node *node, uint64_t i, uint64_t w) {
  uint64_t end = i;
  while (end < node->entries && end - i < LINE_WORDS && node_word(node, end) == w) end++;
  if (end - i < LINE_WORDS) return end;
  return w == node->word_mask ? node->entries : first_from(node, end, node->entries, w + 1);
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

static inline uint64_t gap_word(const node *node, const gap *gap) {
  return node_pack(node, key_word(gap->key.data, gap->key.size, node->shared));
}

static inline void ask_for_part(const uint8_t *p, uint64_t from, uint64_t to) {
  for (; from < to; from += BRING_LINE) __builtin_prefetch(p + from);
  __builtin_prefetch(p + to - 1);
}

void node_near(const node *node, const gap *gap, uint64_t *low, uint64_t *high) {
  near(node, gap_word(node, gap), low, high);
  if (*high - *low > LINES * LINE_WORDS) return;
  ask_for_part(node->word, *low * node->word_size, *high * node->word_size);
  ask_for_part(node->place, *low * node->place_size, *high * node->place_size);
}

void node_aim(const view *view, const node *node, const gap *gap, int ahead, uint64_t *low,
              uint64_t *high) {
  uint64_t w = gap_word(node, gap);
  if (node->entries == 0) return;
  if (node->fence)
    *low += count_less(node, *low, *high - *low, w); /* they are on their way */
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
