/*
** node.c - reading and searching a node.
*/
#include "order/node.h"
#include "file/record.h"
#include "file/store.h"

enum { LINE_WORDS = 8, LINES = 8 }; /* of a line of memory; that are asked for at once */
enum { GROUPS_ASKED = 8 };          /* at once, of a dense node */

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

static uint64_t low_mask(unsigned bits) { return bits ? UINT64_MAX >> (64 - bits) : 0; }

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
  node->place_bits = 8 * NODE_PLACE;
  node->word_mask = low_mask(8 * NODE_WORD);
  node->place_mask = low_mask(8 * NODE_PLACE);
}

/* 0: there is no such form */
static int is_narrow_form(const node_head *head) {
  if (head->word_size > NODE_WORD || head->is_root || head->dense > 1) return 0;
  return head->dense ? head->place_size <= 8 * NODE_PLACE
                     : head->place_size > 0 && head->place_size <= NODE_PLACE;
}

int node_shape(node *node, const node_head *head, const uint8_t *parts) {
  int wide = head->word_size == 0;
  node_form form = form_of_head(head);
  if (!wide && !is_narrow_form(head)) return 0;
  parts += form_front(&form) - sizeof *head;
  node_shape_wide(node, parts, parts + form_words(&form));
  node->entries = head->entries;
  node->from = head->from;
  node->to = head->to;
  node->shared = head->shared;
  if (wide) return head->place_size == 0 && head->dense == 0 && head->kept == 0 && head->first == 0;
  node->base = head->from;
  node->first = head->first;
  node->word_size = head->word_size;
  node->place_bits = (uint8_t)form.place_bits;
  node->word_mask = low_mask(8 * form.word_size);
  node->place_mask = low_mask(form.place_bits);
  node->dense = head->dense;
  if (node->dense) {
    node->base = load64(parts - sizeof(node_line) + offsetof(node_line, start));
    node->step = load64(parts - sizeof(node_line) + offsetof(node_line, step));
  }
  return shape_words(node, head);
}

/* Words that a search by words is over. */
static uint64_t whole_words(const node *node) {
  return node->dense ? groups_of(node->entries) : node->entries;
}

int node_has_fences(const node *node) { return whole_words(node) > NODE_FENCES; }

/* Where a stretch begins that fences part off.  Groups are few: the last is not to have what would
** be left over. */
static inline uint64_t stretch(const node *node, uint64_t i) {
  uint64_t n = whole_words(node);
  return node->dense ? n * i / (NODE_FENCES + 1) : n / (NODE_FENCES + 1) * i;
}

void node_make_fences(const node *node, uint64_t fence[NODE_FENCES]) {
  uint64_t i;
  for (i = 0; i < NODE_FENCES; i++)
    fence[i] = node->dense ? node_group_word(node, stretch(node, i + 1))
                           : node_word(node, stretch(node, i + 1));
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
    bring(node->place + i * node->place_bits / 8);
  }
  return low + count_less(node, low, high - low, w);
}

/* How many of n groups from `at` on begin with a word that is less than w. */
static inline uint64_t groups_less(const node *node, uint64_t at, uint64_t n, uint64_t w) {
  uint64_t from = at;
  if (n == 0) return 0;
  while (n > 1) {
    uint64_t half = n / 2;
    at += (node_group_word(node, at + half - 1) < w) * half;
    n -= half;
  }
  return at - from + (node_group_word(node, at) < w);
}

/* How many of a group's entries are below w, as far as that is said. */
static uint64_t less_in_group(const node *node, uint64_t group, uint64_t w) {
  const uint8_t *p = node_group(node, group), *others = p + node->word_size;
  uint64_t first = node_group_word(node, group), part, i, less,
           n = MIN(node->entries - group * GROUP_ENTRIES, (uint64_t)GROUP_ENTRIES);
  unsigned most;
  if (w <= first) return 0;
  part = group_part(node, p, w - first);
  if (part > PART_MOST) return n;
  most = (unsigned)part;
  for (less = i = 1; i < n; i++) less += others[i] < most;
  return less;
}

/* The same as first_from in a dense node, where [low, high) are groups: the first one that begins
** with w or more lies there, or what is past them does. */
static uint64_t dense_first_from(const node *node, uint64_t low, uint64_t high, uint64_t w) {
  low += groups_less(node, low, high - low, w);
  return low == 0 ? 0 : (low - 1) * GROUP_ENTRIES + less_in_group(node, low - 1, w);
}

/* Of a dense node that has no fences. */
static void near_groups(const node *node, uint64_t w, uint64_t *low, uint64_t *high) {
  enum { PARTS = 8 };
  uint64_t i;
  while (*high - *low > GROUPS_ASKED) {
    uint64_t part = (*high - *low) / PARTS, less = 0;
    for (i = 1; i < PARTS; i++) less += node_group_word(node, *low + i * part) < w;
    narrow(low, high, PARTS, less);
  }
}

/* Past the fences: the stretch where the first word lies that is at least w.  In a dense node, of
** groups. */
static void near(const node *node, uint64_t w, uint64_t *low, uint64_t *high) {
  uint64_t less;
  *low = 0;
  *high = whole_words(node);
  if (node->fence == NULL) return;
  less = fences_less(node->fence, NODE_FENCES, w);
  if (less > 0) *low = stretch(node, less) + 1;
  if (less < NODE_FENCES) *high = stretch(node, less + 1);
}

uint64_t node_first_from(const node *node, uint64_t w) {
  assert(!node->dense);
  return first_from(node, 0, node->entries, w);
}

/* How many entries have words that are w or below it, as far as that is said.  From i on. */
static uint64_t dense_ties_end(const node *node, uint64_t i, uint64_t w) {
  uint64_t low = i, high = node->entries;
  while (low < high && low - i < LINE_WORDS && node_compare_part(node, low, w) == 0) low++;
  if (low - i < LINE_WORDS) return low;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    if (node_compare_part(node, middle, w) <= 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

uint64_t node_ties_end(const node *node, uint64_t i, uint64_t w) {
  uint64_t end = i;
  if (node->dense) return dense_ties_end(node, i, w);
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

/* Groups [low, high), and the one before, where the entry may lie that is looked for. */
static void ask_for_groups(const node *node, uint64_t low, uint64_t high) {
  uint64_t size = node->word_size + GROUP_ENTRIES,
           places = MIN(high * GROUP_ENTRIES, node->entries) * node->place_bits / 8;
  low -= low > 0;
  ask_for_part(node->word, low * size, high * size);
  ask_for_part(node->place, low * GROUP_ENTRIES * node->place_bits / 8, places + 1);
}

void node_near(const node *node, const gap *gap, uint64_t *low, uint64_t *high) {
  uint64_t w = gap_word(node, gap);
  near(node, w, low, high);
  if (node->dense) {
    if (node->fence == NULL) near_groups(node, w, low, high);
    if (*high - *low <= GROUPS_ASKED) ask_for_groups(node, *low, *high);
    return;
  }
  if (*high - *low > LINES * LINE_WORDS) return;
  ask_for_part(node->word, *low * node->word_size, *high * node->word_size);
  ask_for_part(node->place, *low * node->place_bits / 8, *high * node->place_bits / 8);
}

void node_aim(const view *view, const node *node, const gap *gap, int ahead, uint64_t *low,
              uint64_t *high) {
  uint64_t w = gap_word(node, gap);
  if (node->entries == 0) return;
  if (node->dense)
    *low = dense_first_from(node, *low, *high, w);
  else if (node->fence)
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
