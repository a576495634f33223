/*
** run.c - loading and searching runs.
**
** The list that was loaded last is kept for all handles of the process, under order_mutex, and
** counted, because cursors read on from it.
*/
#include "order/run.h"
#include "file/header.h"
#include "file/record.h"
#include "file/size.h"
#include "file/store.h"
#include "order/node.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---------------------------------------------------------------------------------------- nodes */

static int unsound(const view *view, uint64_t offset) {
  return fail_corrupt(view->store->path, offset,
                      "no part of the order of keys is where one should be: compact the store, "
                      "which makes it anew");
}

/* Are there so many bytes at the payload of an extent?  The file may have grown since. */
static int reaches(const view *view, uint64_t payload, uint64_t size) {
  if (payload < LOG_START + RECORD_HEAD || payload % 8 || payload > OFFSET_MAX || size > OFFSET_MAX)
    return 0;
  if (payload <= view->size && size <= view->size - payload) return 1;
  if (store_see_size(view->store, payload + size) != MAPH_OK) return 0;
  ((struct view *)(uintptr_t)view)->size =
      atomic_load_explicit(&view->store->size, memory_order_acquire);
  ((struct view *)(uintptr_t)view)->base =
      atomic_load_explicit(&view->store->base, memory_order_acquire);
  return 1;
}

static uint64_t size_of(const node_head *head) {
  node_form form = form_of_head(head);
  return form_size(&form);
}

/* The head, copied once, and the node. */
static int read_head(const view *view, uint64_t payload, node_head *head, node *node) {
  if (!reaches(view, payload, sizeof *head)) return unsound(view, payload);
  memcpy(head, view->base + payload, sizeof *head);
  if (head->checksum
          != XXH3_64bits_withSeed((const uint8_t *)head + 8, sizeof *head - 8,
                                  view->store->salt ^ payload)
      || head->entries == 0 || head->shared > KEY_MAX || head->from < LOG_START
      || head->from >= head->to || head->to > OFFSET_MAX || head->keys < head->entries
      || head->keys > (head->to - head->from) / 8 || !reaches(view, payload, size_of(head))
      || !reaches(view, LOG_START + RECORD_HEAD, head->to - LOG_START - RECORD_HEAD)
      || !node_shape(node, head, view->base + payload + sizeof *head))
    return unsound(view, payload);
  return MAPH_OK;
}

int run_node(const view *view, uint64_t payload, node *node) {
  node_head head;
  return read_head(view, payload, &head, node);
}

int run_verify(const view *view, uint64_t payload) {
  node_head head;
  node node;
  int rc = read_head(view, payload, &head, &node);
  if (rc == MAPH_OK
      && head.sum
             != XXH3_64bits_withSeed(view->base + payload + sizeof head,
                                     size_of(&head) - sizeof head, view->store->salt ^ payload))
    rc = fail_corrupt(view->store->path, payload,
                      "the checksum of a part of the order of keys does not fit its bytes");
  return rc;
}

run run_in_memory(const node *node) {
  run run;
  memset(&run, 0, sizeof run);
  run.one = *node;
  run.like = form_of(node);
  run.leaves = 1;
  run.from = node->from;
  run.to = node->to;
  run.keys = node->entries;
  return run;
}

/* ----------------------------------------------------------------------------------------- runs */

static int load_run(const view *view, uint64_t payload, run *run) {
  node_head head;
  node node, leaf;
  int rc = read_head(view, payload, &head, &node);
  if (rc != MAPH_OK) return rc;
  memset(run, 0, sizeof *run);
  if (head.is_root)
    run->root = node;
  else
    run->one = node;
  if (head.is_root && run_node(view, node_offset(&run->root, 0), &leaf) == MAPH_OK) node = leaf;
  run->like = form_of(&node);
  run->leaves = head.is_root ? head.entries : 1;
  run->from = head.from;
  run->to = head.to;
  run->keys = head.keys;
  run->payload = payload;
  return MAPH_OK;
}

int run_leaf(const view *view, const run *run, uint64_t i, node *leaf) {
  const known_leaf *known;
  uint64_t payload;
  int rc;
  known = run->known ? atomic_load_explicit(&run->known[i], memory_order_acquire) : NULL;
  if (known) {
    *leaf = known->node;
    return MAPH_OK;
  }
  if (run->root.entries == 0) {
    *leaf = run->one;
    return MAPH_OK;
  }
  payload = node_offset(&run->root, i);
  rc = run_node(view, payload, leaf);
  if (rc == MAPH_OK && (leaf->from < run->from || leaf->to > run->to)) rc = unsound(view, payload);
  return rc;
}

/* A leaf was reached: let the next search find it known.  No memory: then not. */
static void know_leaf(const run *run, uint64_t i, const node *leaf) {
  known_leaf *known, *none = NULL;
  if (run->known == NULL || leaf->fence || !node_has_fences(leaf)) return;
  known = os_alloc_spare(sizeof *known);
  if (known == NULL) return;
  node_make_fences(leaf, known->fence);
  known->node = *leaf;
  known->node.fence = known->fence;
  if (!atomic_compare_exchange_strong(&run->known[i], &none, known)) os_free(known);
}

static int first_of_leaf(const view *view, const run *run, uint64_t i, item *first) {
  node leaf;
  int rc = run_leaf(view, run, i, &leaf);
  return rc == MAPH_OK ? node_item(view, &leaf, 0, first) : rc;
}

/* Does what the keys have in common say where the gap is?  Then *found is as for search_root. */
static int root_settles(const view *view, const run *run, const gap *gap, uint64_t *found,
                        int *settled) {
  item first;
  int rc = first_of_leaf(view, run, 0, &first);
  if (rc == MAPH_OK && first.key_size < run->root.shared) rc = unsound(view, run->payload);
  *settled = rc == MAPH_OK && node_settles(&run->root, &first, gap, found);
  return rc;
}

/* How many leaves begin before the gap: by words and, where these agree, keys.  careful: as for
** node_search. */
static int search_root(const view *view, const run *run, const gap *gap, int careful,
                       uint64_t *found) {
  const node *root = &run->root;
  uint64_t w = node_pack(root, key_word(gap->key.data, gap->key.size, root->shared)), low, high;
  item first;
  int rc = MAPH_OK, settled = 0;
  if (careful && root->shared) rc = root_settles(view, run, gap, found, &settled);
  if (rc != MAPH_OK || settled) return rc;
  low = node_first_from(root, w);
  high = node_ties_end(root, low, w);
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    rc = first_of_leaf(view, run, middle, &first);
    if (rc != MAPH_OK) return rc;
    if (gap_compare(first.key, first.key_size, gap) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  *found = low;
  return MAPH_OK;
}

/* Are the entries beside the place that lie in other leaves on the right sides of the gap? */
static int confirm(const view *view, const run *run, const gap *gap, const run_place *p,
                   const node *leaf, int *right) {
  node other;
  item it;
  int rc = MAPH_OK;
  if (p->at == 0 && p->leaf > 0) {
    rc = run_leaf(view, run, p->leaf - 1, &other);
    if (rc == MAPH_OK) rc = node_item(view, &other, other.entries - 1, &it);
    if (rc == MAPH_OK && gap_compare(it.key, it.key_size, gap) > 0) *right = 0;
  }
  if (rc == MAPH_OK && p->at == leaf->entries && p->leaf + 1 < run->leaves) {
    rc = run_leaf(view, run, p->leaf + 1, &other);
    if (rc == MAPH_OK) rc = node_item(view, &other, 0, &it);
    if (rc == MAPH_OK && gap_compare(it.key, it.key_size, gap) < 0) *right = 0;
  }
  return rc;
}

/* relaxed: it asks whether the leaf is known, and does not look at it, as run_leaf does. */
void run_bring_leaf(const view *view, const run *run, uint64_t i) {
  node_form form = run->like;
  uint64_t payload, part, size, words;
  if (run->root.entries == 0) return;
  form.entries = (run->keys - 1) / run->leaves + 1;
  size = form_size(&form);
  words = form_words(&form);
  if (run->known && atomic_load_explicit(&run->known[i], memory_order_relaxed)) return;
  payload = node_offset(&run->root, i);
  if (payload > view->size || size > view->size - payload) return;
  bring(view->base + payload);
  for (part = 1; part <= 8; part++)
    bring(view->base + payload + form_front(&form) + words * part / 8);
  bring(view->base + payload + (size - 1) / 8 * 8);
}

/* The leaf that the gap is in. */
static int find_leaf(const view *view, const run *run, const gap *gap, int careful, run_place *p,
                     node *leaf) {
  uint64_t after = 1;
  int rc = MAPH_OK;
  if (run->root.entries) rc = search_root(view, run, gap, careful, &after);
  if (rc != MAPH_OK) return rc;
  p->leaf = after ? after - 1 : 0;
  run_bring_leaf(view, run, p->leaf);
  rc = run_leaf(view, run, p->leaf, leaf);
  if (rc == MAPH_OK) know_leaf(run, p->leaf, leaf);
  return rc;
}

int run_near(const view *view, const run *run, const gap *gap, run_place *p, node *leaf) {
  int rc = find_leaf(view, run, gap, 0, p, leaf);
  if (rc == MAPH_OK) node_near(leaf, gap, &p->at, &p->past);
  return rc;
}

void run_aim(const view *view, const gap *gap, int ahead, run_place *p, const node *leaf) {
  node_aim(view, leaf, gap, ahead, &p->at, &p->past);
}

static int search_carefully(const view *view, const run *run, const gap *gap, int ahead,
                            run_place *p, node *leaf, int *right) {
  int rc = find_leaf(view, run, gap, 1, p, leaf);
  if (rc == MAPH_OK) rc = node_search(view, leaf, gap, ahead, &p->at, right);
  return rc == MAPH_OK && *right && run->leaves > 1 ? confirm(view, run, gap, p, leaf, right) : rc;
}

/* Mostly the gap's key begins as all keys do, and what it costs to see that is saved. */
int run_settle(const view *view, const run *run, const gap *gap, int ahead, run_place *p,
               node *leaf) {
  int right = 0, rc = node_settle(view, leaf, gap, p->at, p->past, &p->at, &right);
  if (rc == MAPH_OK && right && run->leaves > 1) rc = confirm(view, run, gap, p, leaf, &right);
  if (rc == MAPH_OK && !right) rc = search_carefully(view, run, gap, ahead, p, leaf, &right);
  return rc == MAPH_OK && !right ? unsound(view, run->payload) : rc;
}

uint64_t run_before(const run *run, const run_place *p) {
  return run->leaves > 1 ? run->keys / run->leaves * p->leaf + p->at : p->at;
}

/* ---------------------------------------------------------------------------------------- lists */

static void forget_leaves(run_list *list) {
  uint64_t i;
  for (i = 0; list->known && i < list->leaves; i++) os_free(atomic_load(&list->known[i]));
  os_free(list->known);
}

void runs_let_go(run_list *list) {
  if (list == NULL || atomic_fetch_sub(&list->users, 1) != 1) return;
  forget_leaves(list);
  os_free(list);
}

/* What is known of leaves will be kept in the list. */
static int keep_leaves(run_list *list) {
  uint64_t leaves = 0;
  size_t i;
  for (i = 0; i < list->count; i++) leaves += list->run[i].leaves;
  if (leaves == 0) return MAPH_OK;
  list->known = os_alloc(leaves * sizeof *list->known);
  if (list->known == NULL) return MAPH_NOMEM;
  list->leaves = leaves;
  for (leaves = i = 0; i < list->count; leaves += list->run[i++].leaves)
    list->run[i].known = list->known + leaves;
  return MAPH_OK;
}

static run_list *new_list(size_t room) {
  run_list *list = os_alloc(sizeof *list + room * sizeof *list->run);
  if (list == NULL) return NULL;
  atomic_init(&list->users, 1);
  list->to = LOG_START;
  return list;
}

/* Its head, copied once; NOTFOUND: none that can be believed is there. */
static int read_list(const view *view, uint64_t payload, run_list_head *head) {
  uint64_t size;
  if (!reaches(view, payload, sizeof *head)) return MAPH_NOTFOUND;
  memcpy(head, view->base + payload, sizeof *head);
  if (head->runs > RUNS_MOST) return MAPH_NOTFOUND;
  size = sizeof *head + head->runs * sizeof(uint64_t);
  if (!reaches(view, payload, size) || head->to < LOG_START || head->to % 8 || head->to > OFFSET_MAX
      || !reaches(view, LOG_START + RECORD_HEAD, head->to - LOG_START)
      || head->checksum
             != XXH3_64bits_withSeed(view->base + payload + 8, size - 8,
                                     view->store->salt ^ payload))
    return MAPH_NOTFOUND;
  return MAPH_OK;
}

static int load_runs(const view *view, uint64_t payload, const run_list_head *head,
                     run_list *list) {
  uint64_t from = LOG_START, i;
  for (i = 0; i < head->runs; i++) {
    uint64_t at = load64(view->base + payload + sizeof *head + i * sizeof(uint64_t));
    run *run = &list->run[list->count];
    if (load_run(view, at, run) != MAPH_OK || run->from < from || run->to > head->to)
      return MAPH_NOTFOUND;
    from = run->to;
    list->count++;
  }
  return MAPH_OK;
}

static uint64_t count_bytes(const view *view, const run_list *list) {
  uint64_t bytes = list->count ? sizeof(run_list_head) : 0, leaf;
  node node;
  size_t i;
  for (i = 0; i < list->count; i++) {
    const run *run = &list->run[i];
    bytes += sizeof run->payload;
    if (run->root.entries) bytes += node_bytes(&run->root);
    for (leaf = 0; leaf < run->leaves; leaf++)
      if (run_leaf(view, run, leaf, &node) == MAPH_OK) bytes += node_bytes(&node);
  }
  return bytes;
}

/* relaxed: a number that is the same for all who count. */
uint64_t runs_bytes(const view *view, run_list *list) {
  uint64_t bytes = atomic_load_explicit(&list->bytes, memory_order_relaxed);
  if (bytes) return bytes;
  bytes = count_bytes(view, list);
  atomic_store_explicit(&list->bytes, bytes, memory_order_relaxed);
  return bytes;
}

/* Where the list or a run of it cannot be believed the log is read instead, and nothing is said. */
int runs_load(const view *view, uint64_t payload, run_list **out) {
  sentence before;
  run_list_head head;
  run_list *list;
  int rc;
  error_keep(&before);
  rc = payload ? read_list(view, payload, &head) : MAPH_NOTFOUND;
  list = new_list(rc == MAPH_OK ? head.runs : 0);
  *out = list;
  if (list == NULL) return MAPH_NOMEM;
  list->word = payload;
  if (rc == MAPH_OK) rc = load_runs(view, payload, &head, list);
  error_put_back(&before);
  if (rc == MAPH_OK && keep_leaves(list) != MAPH_OK) {
    runs_let_go(list);
    *out = NULL;
    return MAPH_NOMEM;
  }
  if (rc == MAPH_OK) {
    list->to = head.to;
    list->life = head.life;
    list->types = head.types < 8 && head.types & 1 ? (int)head.types : 0;
  } else {
    list->count = 0;
  }
  return MAPH_OK;
}

static void let_go(void *list) { runs_let_go(list); }

/* What the header says of the newest list. */
static uint64_t list_word(const store *store) {
  const header *header = header_of(atomic_load_explicit(&store->base, memory_order_acquire));
  uint64_t at = atomic_load_explicit(&header->order, memory_order_acquire);
  return header->optional & OPTIONAL_ORDER ? at : 0;
}

/* Was an epoch begun since, by a library that does not know of runs? */
static int is_outlived(const store *store, uint64_t version, const run_list *list) {
  return list->to > LOG_START && header_life(store, version) > list->life;
}

int runs_are_current(const store *store, uint64_t version, const run_list *list) {
  return list_word(store) == list->word && !is_outlived(store, version, list);
}

uint64_t runs_reach(const view *view, uint64_t version) {
  uint64_t at = list_word(view->store);
  run_list_head head;
  if (at == 0 || read_list(view, at, &head) != MAPH_OK) return LOG_START;
  return header_life(view->store, version) > head.life ? LOG_START : head.to;
}

int runs_take(const view *view, uint64_t version, run_list **out) {
  store *store = view->store;
  uint64_t at = list_word(store);
  run_list *list;
  int rc = MAPH_OK;
  *out = NULL;
  pthread_mutex_lock(&store->order_mutex);
  list = store->order_runs.p;
  if (list == NULL || list->word != at) {
    rc = runs_load(view, at, &list);
    if (rc == MAPH_OK) attach(&store->order_runs, list, let_go);
  }
  if (rc == MAPH_OK && is_outlived(store, version, list)) {
    list = new_list(0);
    if (list == NULL) rc = MAPH_NOMEM;
  } else if (rc == MAPH_OK) {
    atomic_fetch_add(&list->users, 1);
  }
  pthread_mutex_unlock(&store->order_mutex);
  if (rc == MAPH_OK) *out = list;
  return rc;
}
