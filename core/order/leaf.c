/*
** leaf.c - the bytes of nodes and lists.
**
** They are extents, index pieces as any other: `end` covers one before its bytes are written, and
** nobody looks at them before a list that leads to them is shown.  Whoever dies over it leaves
** extents that nobody needs.
*/
#include "order/leaf.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "order/node.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { LEAF_MOST = 4096, RUN_LEAST = 4096, AGREE = 16 };
enum { TIES = 32 }; /* of so many words one more may agree with the one before, to be narrower */

uint64_t leaf_most(void) {
#ifdef MAPH_TEST
  if (os_test.leaf) return os_test.leaf;
#endif
  return LEAF_MOST;
}

uint64_t run_least(void) {
#ifdef MAPH_TEST
  if (os_test.leaf) return os_test.leaf;
#endif
  return RUN_LEAST;
}

/* An extent whose head could not be written, behind `end` already, becomes a pad. */
static int extent(store *store, int kind, uint64_t size, uint64_t *payload) {
  uint64_t before = store->space_end;
  int rc = log_extent(store, kind, 0, 0, size, payload);
  if (rc != MAPH_OK && store->space_end != before
      && log_cover(store, before, store->space_end) != MAPH_OK)
    store->unsettled = 1;
  return rc;
}

/* How many of the entries differ from the one before in which byte of their words first, and in
** which bits any do. */
static uint64_t compare_words(const order_entry *entry, uint64_t n, uint64_t told[NODE_WORD + 1]) {
  uint64_t all = 0, i;
  memset(told, 0, (NODE_WORD + 1) * sizeof *told);
  for (i = 1; i < n; i++) {
    uint64_t differ = entry[i].word ^ entry[i - 1].word;
    told[differ ? __builtin_clzll(differ) / 8 : NODE_WORD]++;
    all |= differ;
  }
  return all;
}

static unsigned bits_of_byte(uint64_t differ, unsigned i) {
  unsigned byte = differ >> byte_shift(i) & 0xFF;
  return byte ? 32 - (unsigned)__builtin_clz(byte) : 0;
}

static unsigned bytes_for(unsigned bits) { return MAX((bits + 7) / 8, 1u); }

/* The bytes of words that tell nearly as many neighbours apart as all that are known do; and of
** the next ones as many as `spare` bytes in the file have room for, and what is left of the last.
*/
static void choose_words(node_head *head, const order_entry *entry, unsigned known,
                         unsigned spare) {
  uint64_t told[NODE_WORD + 1], differ = compare_words(entry, head->entries, told), need = 0;
  unsigned i, bits = 0, room;
  for (i = 0; i < known; i++) need += told[i];
  need -= MIN(need, head->entries / TIES);
  for (i = 0; i < known && (i == 0 || need > 0); i++) {
    need -= MIN(need, told[i]);
    bits += bits_of_byte(differ, i);
  }
  room = 8 * MIN(bytes_for(bits) + spare, (unsigned)NODE_WORD);
  for (; i < known && bits + bits_of_byte(differ, i) <= room; i++) bits += bits_of_byte(differ, i);
  head->word_size = (uint8_t)bytes_for(bits);
  head->first = entry->word & UINT64_MAX << byte_shift(i - 1);
  head->kept = i < NODE_WORD ? UINT32_MAX << NIBBLE * i : 0;
  while (i-- > 0) head->kept |= bits_of_byte(differ, i) << NIBBLE * i;
}

/* From the first of the places on, in as many bytes as it takes to the last. */
static void choose_places(node_head *head, const order_entry *entry) {
  uint64_t least = UINT64_MAX, most = 0, i;
  for (i = 0; i < head->entries; i++) {
    least = MIN(least, entry[i].offset);
    most = MAX(most, entry[i].offset);
  }
  head->from = least;
  head->place_size = 1;
  for (most = (most - least) / 8 >> 8; most; most >>= 8) head->place_size++;
}

static unsigned bits_for(uint64_t number) {
  return number ? 64 - (unsigned)__builtin_clzll(number) : 0;
}

/* In units of 8 bytes. */
static uint64_t place_on(const node_line *line, uint64_t i) { return i * line->step >> STEP_BITS; }

/* Counted from a line of that step: where it starts, and how many bits it takes then. */
static unsigned start_line(node_line *line, const order_entry *entry, uint64_t n) {
  int64_t least = INT64_MAX, most = INT64_MIN;
  uint64_t i;
  for (i = 0; i < n; i++) {
    int64_t above = (int64_t)(entry[i].offset / 8 - place_on(line, i));
    least = MIN(least, above);
    most = MAX(most, above);
  }
  line->start = (uint64_t)least * 8;
  return bits_for((uint64_t)(most - least));
}

/* The line from the first place to the last, or a level one, if that takes fewer bits. */
static void choose_line(node_head *head, node_line *line, const order_entry *entry) {
  uint64_t n = head->entries, first = entry[0].offset, last = entry[n - 1].offset;
  node_line level = { 0, 0 };
  unsigned bits = start_line(&level, entry, n), steep;
  head->from = level.start;
  *line = level;
  if (last > first && n > 1) {
    level.step = (((last - first) / 8) << STEP_BITS) / (n - 1);
    steep = start_line(&level, entry, n);
    if (steep < bits) {
      bits = steep;
      *line = level;
    }
  }
  head->place_size = (uint8_t)bits;
}

/* The words of a dense node, over zeros. */
static void write_groups(const node *node, uint8_t *words, const order_entry *entry) {
  uint64_t i, last, j;
  for (i = 0; i < node->entries; i += GROUP_ENTRIES, words += node->word_size + GROUP_ENTRIES) {
    uint64_t first = node_pack(node, entry[i].word);
    uint8_t shift = 0;
    last = MIN(i + GROUP_ENTRIES, node->entries) - 1;
    while ((node_pack(node, entry[last].word) - first) >> shift > PART_MOST) shift++;
    memcpy(words, &first, node->word_size);
    words[node->word_size] = shift;
    for (j = i + 1; j <= last; j++)
      words[node->word_size + (j - i)] =
          (uint8_t)((node_pack(node, entry[j].word) - first) >> shift);
  }
}

/* Its places, over zeros. */
static void write_bits(const node *node, uint8_t *places, const order_entry *entry) {
  uint64_t i, units, word;
  for (i = 0; i < node->entries; i++) {
    uint64_t bit = i * node->place_bits;
    units = (entry[i].offset - node->base) / 8 - (i * node->step >> STEP_BITS);
    memcpy(&word, places + bit / 8, sizeof word);
    word |= units << bit % 8;
    memcpy(places + bit / 8, &word, sizeof word);
  }
}

static void write_entries(const node *node, uint8_t *words, const order_entry *entry) {
  uint8_t *places = words + (node->place - node->word);
  uint64_t i;
  for (i = 0; i < node->entries; i++)
    node_set_word(words, node->word_size, i, node_pack(node, entry[i].word));
  for (i = 0; i < node->entries; i++)
    node_set_word(places, node->place_bits / 8, i, (entry[i].offset - node->base) / 8);
}

/* line: of a dense one; NULL: it is not. */
static int write_node(store *store, node_head *head, const node_line *line,
                      const order_entry *entry, uint64_t *payload) {
  node_form form = form_of_head(head);
  uint64_t size = form_size(&form);
  uint8_t *p, *words;
  node node;
  int rc = extent(store, EXTENT_NODE, size, payload);
  if (rc != MAPH_OK) return rc;
  p = store->write_base + *payload;
  words = p + form_front(&form);
  OS_TEST_STORE(store->write_base, *payload, size);
  if (line) {
    memset(p + sizeof *head, 0, size - sizeof *head);
    memcpy(p + sizeof *head, line, sizeof *line);
  }
  node_shape(&node, head, p + sizeof *head);
  if (line) {
    write_groups(&node, words, entry);
    write_bits(&node, words + form_words(&form), entry);
  } else {
    write_entries(&node, words, entry);
  }
  head->sum = XXH3_64bits_withSeed(p + sizeof *head, size - sizeof *head, store->salt ^ *payload);
  head->checksum =
      XXH3_64bits_withSeed((uint8_t *)head + 8, sizeof *head - 8, store->salt ^ *payload);
  memcpy(p, head, sizeof *head);
  return MAPH_OK;
}

static int add_leaf(run_making *making, uint64_t payload, uint64_t first, uint64_t first_word) {
  if (making->count == making->room) {
    uint64_t room = making->room ? 2 * making->room : 16;
    made_leaf *more = os_realloc(making->leaf, room * sizeof *more);
    if (more == NULL) return MAPH_NOMEM;
    making->leaf = more;
    making->room = room;
  }
  making->leaf[making->count++] = (made_leaf){ payload, first, first_word };
  return MAPH_OK;
}

int leaf_write(store *store, run_making *making, const order_entry *entry, uint64_t n,
               uint32_t shared, unsigned known, uint64_t first_word) {
  node_head head;
  node_line line;
  uint64_t payload;
  int rc;
  memset(&head, 0, sizeof head);
  head.to = making->to;
  head.keys = n;
  head.entries = (uint32_t)n;
  head.shared = shared;
  choose_words(&head, entry, known, making->spare);
  head.dense = making->dense != 0;
  if (making->dense)
    choose_line(&head, &line, entry);
  else
    choose_places(&head, entry);
  rc = write_node(store, &head, making->dense ? &line : NULL, entry, &payload);
  if (rc == MAPH_OK) rc = add_leaf(making, payload, entry[0].offset, first_word);
  if (rc != MAPH_OK) return rc;
  making->keys += n;
  making->last = entry[n - 1].offset;
  return MAPH_OK;
}

/* Words for the root where many of those known agree: the leaves' first keys are read. */
static int root_words(const view *view, run_making *making) {
  item first, it;
  uint64_t i, agree = 0;
  int rc;
  for (i = 1; i < making->count; i++) agree += making->leaf[i].word == making->leaf[i - 1].word;
  if (agree <= making->count / AGREE) return MAPH_OK;
  rc = record_item(view, making->leaf[0].first, view->snapshot, &first);
  if (rc == MAPH_OK) rc = record_item(view, making->last, view->snapshot, &it);
  if (rc == MAPH_OK) making->shared = (uint32_t)key_common(&first, &it);
  for (i = 0; rc == MAPH_OK && i < making->count; i++) {
    rc = record_item(view, making->leaf[i].first, view->snapshot, &it);
    if (rc == MAPH_OK) making->leaf[i].word = key_word(it.key, it.key_size, making->shared);
  }
  return rc;
}

static int write_root(store *store, const run_making *making, uint64_t *payload) {
  node_head head;
  uint64_t i;
  int rc;
  order_entry *entry = os_alloc(making->count * sizeof *entry);
  if (entry == NULL) return MAPH_NOMEM;
  memset(&head, 0, sizeof head);
  head.from = making->from;
  head.to = making->to;
  head.keys = making->keys;
  head.entries = (uint32_t)making->count;
  head.shared = making->shared;
  head.is_root = 1;
  for (i = 0; i < making->count; i++)
    entry[i] = (order_entry){ making->leaf[i].word, making->leaf[i].payload };
  rc = write_node(store, &head, NULL, entry, payload);
  os_free(entry);
  return rc;
}

int leaf_finish(store *store, const view *view, run_making *making, uint64_t *payload) {
  int rc = MAPH_OK;
  if (making->count == 1) {
    *payload = making->leaf[0].payload;
    return MAPH_OK;
  }
  rc = root_words(view, making);
  return rc == MAPH_OK ? write_root(store, making, payload) : rc;
}

void leaf_discard(run_making *making) {
  os_free(making->leaf);
  memset(making, 0, sizeof *making);
}

int leaf_write_all(store *store, const view *view, run_making *making, order_entry *entry,
                   uint64_t n) {
  uint64_t most = leaf_most(), leaves = (n + most - 1) / most, i, from, to;
  int rc = MAPH_OK;
  for (i = 0; rc == MAPH_OK && i < leaves; i++) {
    uint32_t shared = making->shared;
    uint64_t first_word;
    from = n * i / leaves;
    to = n * (i + 1) / leaves;
    first_word = entry[from].word;
    rc = order_words_of_sorted(view, entry + from, to - from, &shared);
    if (rc == MAPH_OK)
      rc = leaf_write(store, making, entry + from, to - from, shared, NODE_WORD, first_word);
  }
  return rc;
}

int leaf_write_list(store *store, const uint64_t *payloads, size_t count, uint64_t to, int types,
                    uint64_t *payload) {
  run_list_head head;
  uint64_t size = sizeof head + count * sizeof *payloads;
  uint8_t *p;
  int rc = extent(store, EXTENT_RUN_LIST, size, payload);
  if (rc != MAPH_OK) return rc;
  memset(&head, 0, sizeof head);
  head.to = to;
  head.life = header_life(store, store->last.version);
  head.runs = count;
  head.types = (uint64_t)types;
  p = store->write_base + *payload;
  OS_TEST_STORE(store->write_base, *payload, size);
  memcpy(p, &head, sizeof head);
  memcpy(p + sizeof head, payloads, count * sizeof *payloads);
  head.checksum = XXH3_64bits_withSeed(p + 8, size - 8, store->salt ^ *payload);
  memcpy(p, &head.checksum, sizeof head.checksum);
  return MAPH_OK;
}
