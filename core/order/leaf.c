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

static int write_node(store *store, node_head *h, const order_entry *entry, uint64_t *payload) {
  uint64_t size = node_size(h->entries), i, *words;
  uint8_t *p, *place;
  int rc = extent(store, EXTENT_NODE, size, payload);
  if (rc != MAPH_OK) return rc;
  p = store->write_base + *payload;
  words = (uint64_t *)(void *)(p + sizeof *h);
  place = (uint8_t *)(words + h->entries);
  OS_TEST_STORE(store->write_base, *payload, size);
  for (i = 0; i < h->entries; i++) {
    words[i] = entry[i].word;
    node_set_place(place, i, entry[i].offset);
  }
  h->sum = XXH3_64bits_withSeed(p + sizeof *h, size - sizeof *h, store->salt ^ *payload);
  h->checksum = XXH3_64bits_withSeed((uint8_t *)h + 8, sizeof *h - 8, store->salt ^ *payload);
  memcpy(p, h, sizeof *h);
  return MAPH_OK;
}

static int add_leaf(run_making *r, uint64_t payload, uint64_t first, uint64_t first_word) {
  if (r->count == r->room) {
    uint64_t room = r->room ? 2 * r->room : 16;
    made_leaf *more = os_realloc(r->leaf, room * sizeof *more);
    if (more == NULL) return MAPH_NOMEM;
    r->leaf = more;
    r->room = room;
  }
  r->leaf[r->count++] = (made_leaf){ payload, first, first_word };
  return MAPH_OK;
}

int leaf_write(store *store, run_making *r, const order_entry *entry, uint64_t n, uint32_t shared,
               uint64_t first_word) {
  node_head h;
  uint64_t payload;
  int rc;
  memset(&h, 0, sizeof h);
  h.from = r->from;
  h.to = r->to;
  h.keys = n;
  h.entries = (uint32_t)n;
  h.shared = shared;
  rc = write_node(store, &h, entry, &payload);
  if (rc == MAPH_OK) rc = add_leaf(r, payload, entry[0].offset, first_word);
  if (rc != MAPH_OK) return rc;
  r->keys += n;
  r->last = entry[n - 1].offset;
  return MAPH_OK;
}

/* Words for the root where many of those known agree: the leaves' first keys are read. */
static int root_words(const view *view, run_making *r) {
  item first, it;
  uint64_t i, agree = 0;
  int rc;
  for (i = 1; i < r->count; i++) agree += r->leaf[i].word == r->leaf[i - 1].word;
  if (agree <= r->count / AGREE) return MAPH_OK;
  rc = record_item(view, r->leaf[0].first, view->snapshot, &first);
  if (rc == MAPH_OK) rc = record_item(view, r->last, view->snapshot, &it);
  if (rc == MAPH_OK) r->shared = (uint32_t)key_common(&first, &it);
  for (i = 0; rc == MAPH_OK && i < r->count; i++) {
    rc = record_item(view, r->leaf[i].first, view->snapshot, &it);
    if (rc == MAPH_OK) r->leaf[i].word = key_word(it.key, it.key_size, r->shared);
  }
  return rc;
}

static int write_root(store *store, const run_making *r, uint64_t *payload) {
  node_head h;
  uint64_t i;
  int rc;
  order_entry *entry = os_alloc(r->count * sizeof *entry);
  if (entry == NULL) return MAPH_NOMEM;
  memset(&h, 0, sizeof h);
  h.from = r->from;
  h.to = r->to;
  h.keys = r->keys;
  h.entries = (uint32_t)r->count;
  h.shared = r->shared;
  h.is_root = 1;
  for (i = 0; i < r->count; i++) entry[i] = (order_entry){ r->leaf[i].word, r->leaf[i].payload };
  rc = write_node(store, &h, entry, payload);
  os_free(entry);
  return rc;
}

int leaf_finish(store *store, const view *view, run_making *r, uint64_t *payload) {
  int rc = MAPH_OK;
  if (r->count == 1) {
    *payload = r->leaf[0].payload;
    return MAPH_OK;
  }
  rc = root_words(view, r);
  return rc == MAPH_OK ? write_root(store, r, payload) : rc;
}

void leaf_discard(run_making *r) {
  os_free(r->leaf);
  memset(r, 0, sizeof *r);
}

int leaf_write_all(store *store, const view *view, run_making *r, order_entry *entry, uint64_t n) {
  uint64_t most = leaf_most(), leaves = (n + most - 1) / most, i, from, to;
  int rc = MAPH_OK;
  for (i = 0; rc == MAPH_OK && i < leaves; i++) {
    uint32_t shared = r->shared;
    uint64_t first_word;
    from = n * i / leaves;
    to = n * (i + 1) / leaves;
    first_word = entry[from].word;
    rc = order_words_of_sorted(view, entry + from, to - from, &shared);
    if (rc == MAPH_OK) rc = leaf_write(store, r, entry + from, to - from, shared, first_word);
  }
  return rc;
}

int leaf_write_list(store *store, const uint64_t *payloads, size_t count, uint64_t to, int types,
                    uint64_t *payload) {
  run_list_head h;
  uint64_t size = sizeof h + count * sizeof *payloads;
  uint8_t *p;
  int rc = extent(store, EXTENT_RUN_LIST, size, payload);
  if (rc != MAPH_OK) return rc;
  memset(&h, 0, sizeof h);
  h.to = to;
  h.life = log_life(store, store->last.version);
  h.runs = count;
  h.types = (uint64_t)types;
  p = store->write_base + *payload;
  OS_TEST_STORE(store->write_base, *payload, size);
  memcpy(p, &h, sizeof h);
  memcpy(p + sizeof h, payloads, count * sizeof *payloads);
  h.checksum = XXH3_64bits_withSeed(p + 8, size - 8, store->salt ^ *payload);
  memcpy(p, &h.checksum, sizeof h.checksum);
  return MAPH_OK;
}
