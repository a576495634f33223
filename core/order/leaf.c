/*
** leaf.c - the bytes of nodes and lists.
**
** They are extents, index pieces as any other: `end` covers one before its bytes are written, and
** nobody looks at them before a list that leads to them is shown.  Whoever dies over it leaves
** extents that nobody needs.
*/
#include "order/leaf.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "order/node.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { LEAF_MOST = 4096, RUN_LEAST = 4096, AGREE = 16 };

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

static int write_node(store *store, node_head *head, const order_entry *entry, uint64_t *payload) {
  uint64_t size = node_size(head->entries), i, *words;
  uint8_t *p, *place;
  int rc = extent(store, EXTENT_NODE, size, payload);
  if (rc != MAPH_OK) return rc;
  p = store->write_base + *payload;
  words = (uint64_t *)(void *)(p + sizeof *head);
  place = (uint8_t *)(words + head->entries);
  OS_TEST_STORE(store->write_base, *payload, size);
  for (i = 0; i < head->entries; i++) {
    words[i] = entry[i].word;
    node_set_place(place, i, entry[i].offset);
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
               uint32_t shared, uint64_t first_word) {
  node_head head;
  uint64_t payload;
  int rc;
  memset(&head, 0, sizeof head);
  head.from = making->from;
  head.to = making->to;
  head.keys = n;
  head.entries = (uint32_t)n;
  head.shared = shared;
  rc = write_node(store, &head, entry, &payload);
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
  rc = write_node(store, &head, entry, payload);
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
    if (rc == MAPH_OK) rc = leaf_write(store, making, entry + from, to - from, shared, first_word);
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
  head.life = log_life(store, store->last.version);
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
