/*
** run.c - loading and searching runs.
**
** The list that was loaded last is kept for all handles of the process, under order_mutex, and
** counted, because cursors read on from it.
*/
#include "order/run.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "order/node.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---------------------------------------------------------------------------------------- nodes */

static int unsound(const view *v, uint64_t offset) {
  return fail_corrupt(v->s->path, offset,
                      "no part of the order of keys is where one should be: compact the store, "
                      "which makes it anew");
}

/* Are there so many bytes at the payload of an extent?  The file may have grown since. */
static int reaches(const view *v, uint64_t payload, uint64_t size) {
  if (payload < LOG_START + RECORD_HEAD || payload % 8 || payload > OFFSET_MAX || size > OFFSET_MAX)
    return 0;
  if (payload <= v->size && size <= v->size - payload) return 1;
  if (store_see_size(v->s, payload + size) != MAPH_OK) return 0;
  ((view *)(uintptr_t)v)->size = atomic_load_explicit(&v->s->size, memory_order_acquire);
  ((view *)(uintptr_t)v)->base = atomic_load_explicit(&v->s->base, memory_order_acquire);
  return 1;
}

/* The head, copied once. */
static int read_head(const view *v, uint64_t payload, node_head *h) {
  if (!reaches(v, payload, sizeof *h)) return unsound(v, payload);
  memcpy(h, v->base + payload, sizeof *h);
  if (h->checksum
          != XXH3_64bits_withSeed((const uint8_t *)h + 8, sizeof *h - 8, v->s->salt ^ payload)
      || h->entries == 0 || h->shared > KEY_MAX || h->from < LOG_START || h->from >= h->to
      || h->to > OFFSET_MAX || h->keys < h->entries || !reaches(v, payload, node_size(h->entries))
      || !reaches(v, LOG_START + RECORD_HEAD, h->to - LOG_START - RECORD_HEAD))
    return unsound(v, payload);
  return MAPH_OK;
}

static void set_node(const view *v, uint64_t payload, const node_head *h, node *n) {
  n->word = (const uint64_t *)(const void *)(v->base + payload + sizeof *h);
  n->place = (const uint8_t *)(n->word + h->entries);
  n->entries = h->entries;
  n->from = h->from;
  n->to = h->to;
  n->shared = h->shared;
}

int run_node(const view *v, uint64_t payload, node *n) {
  node_head h;
  int rc = read_head(v, payload, &h);
  if (rc == MAPH_OK) set_node(v, payload, &h, n);
  return rc;
}

int run_verify(const view *v, uint64_t payload) {
  node_head h;
  int rc = read_head(v, payload, &h);
  if (rc == MAPH_OK
      && h.sum
             != XXH3_64bits_withSeed(v->base + payload + sizeof h, node_size(h.entries) - sizeof h,
                                     v->s->salt ^ payload))
    rc = fail_corrupt(v->s->path, payload,
                      "the checksum of a part of the order of keys does not fit its bytes");
  return rc;
}

run run_in_memory(const node *n) {
  run r;
  memset(&r, 0, sizeof r);
  r.one = *n;
  r.leaves = 1;
  r.from = n->from;
  r.to = n->to;
  r.keys = n->entries;
  return r;
}

/* ----------------------------------------------------------------------------------------- runs */

static int load_run(const view *v, uint64_t payload, run *r) {
  node_head h;
  int rc = read_head(v, payload, &h);
  if (rc != MAPH_OK) return rc;
  memset(r, 0, sizeof *r);
  set_node(v, payload, &h, h.is_root ? &r->root : &r->one);
  r->leaves = h.is_root ? h.entries : 1;
  r->from = h.from;
  r->to = h.to;
  r->keys = h.keys;
  r->payload = payload;
  return MAPH_OK;
}

int run_leaf(const view *v, const run *r, uint64_t i, node *leaf) {
  uint64_t payload;
  int rc;
  if (r->root.entries == 0) {
    *leaf = r->one;
    return MAPH_OK;
  }
  payload = node_offset(&r->root, i);
  rc = run_node(v, payload, leaf);
  if (rc == MAPH_OK && (leaf->from < r->from || leaf->to > r->to)) rc = unsound(v, payload);
  return rc;
}

static int first_of_leaf(const view *v, const run *r, uint64_t i, item *first) {
  node leaf;
  int rc = run_leaf(v, r, i, &leaf);
  return rc == MAPH_OK ? node_item(v, &leaf, 0, first) : rc;
}

/* How many leaves begin before the gap: by words and, where these agree, keys. */
static int search_root(const view *v, const run *r, const gap *g, uint64_t *found) {
  uint64_t low = 0, high = r->root.entries, w;
  item first;
  int rc = r->root.shared ? first_of_leaf(v, r, 0, &first) : MAPH_OK;
  if (rc == MAPH_OK && r->root.shared && first.key_size < r->root.shared)
    rc = unsound(v, r->payload);
  if (rc != MAPH_OK || node_settles(&r->root, &first, g, found)) return rc;
  w = key_word(g->key.data, g->key.size, r->root.shared);
  while (rc == MAPH_OK && low < high) {
    uint64_t middle = low + (high - low) / 2;
    int before = r->root.word[middle] < w;
    if (r->root.word[middle] == w) {
      rc = first_of_leaf(v, r, middle, &first);
      if (rc == MAPH_OK) before = gap_compare(first.key, first.key_size, g) < 0;
    }
    if (before)
      low = middle + 1;
    else
      high = middle;
  }
  *found = low;
  return rc;
}

/* The entries beside the place that lie in other leaves are on the right sides of the gap. */
static int confirm(const view *v, const run *r, const gap *g, const run_place *p,
                   const node *leaf) {
  node other;
  item it;
  int rc = MAPH_OK, wrong = 0;
  if (p->at == 0 && p->leaf > 0) {
    rc = run_leaf(v, r, p->leaf - 1, &other);
    if (rc == MAPH_OK) rc = node_item(v, &other, other.entries - 1, &it);
    if (rc == MAPH_OK) wrong = gap_compare(it.key, it.key_size, g) > 0;
  }
  if (rc == MAPH_OK && p->at == leaf->entries && p->leaf + 1 < r->leaves) {
    rc = run_leaf(v, r, p->leaf + 1, &other);
    if (rc == MAPH_OK) rc = node_item(v, &other, 0, &it);
    if (rc == MAPH_OK) wrong = gap_compare(it.key, it.key_size, g) < 0;
  }
  return rc == MAPH_OK && wrong ? unsound(v, r->payload) : rc;
}

int run_search(const view *v, const run *r, const gap *g, run_place *p, node *leaf) {
  uint64_t after = 1;
  int rc = MAPH_OK;
  if (r->root.entries) rc = search_root(v, r, g, &after);
  if (rc != MAPH_OK) return rc;
  p->leaf = after ? after - 1 : 0;
  rc = run_leaf(v, r, p->leaf, leaf);
  if (rc == MAPH_OK) rc = node_search(v, leaf, g, &p->at);
  return rc == MAPH_OK && r->leaves > 1 ? confirm(v, r, g, p, leaf) : rc;
}

uint64_t run_before(const run *r, const run_place *p) {
  return r->leaves > 1 ? r->keys / r->leaves * p->leaf + p->at : p->at;
}

/* ---------------------------------------------------------------------------------------- lists */

void runs_let_go(run_list *list) {
  if (list && atomic_fetch_sub(&list->users, 1) == 1) os_free(list);
}

run_list *runs_new(size_t room) {
  run_list *list = os_alloc(sizeof *list + room * sizeof *list->run);
  if (list == NULL) return NULL;
  atomic_init(&list->users, 1);
  list->to = LOG_START;
  return list;
}

/* Its head, copied once; NOTFOUND: none that can be believed is there. */
static int read_list(const view *v, uint64_t payload, run_list_head *h) {
  uint64_t size;
  if (!reaches(v, payload, sizeof *h)) return MAPH_NOTFOUND;
  memcpy(h, v->base + payload, sizeof *h);
  if (h->runs > RUNS_MOST) return MAPH_NOTFOUND;
  size = sizeof *h + h->runs * sizeof(uint64_t);
  if (!reaches(v, payload, size) || h->to < LOG_START || h->to % 8 || h->to > OFFSET_MAX
      || !reaches(v, LOG_START + RECORD_HEAD, h->to - LOG_START)
      || h->checksum != XXH3_64bits_withSeed(v->base + payload + 8, size - 8, v->s->salt ^ payload))
    return MAPH_NOTFOUND;
  return MAPH_OK;
}

static int load_runs(const view *v, uint64_t payload, const run_list_head *h, run_list *list) {
  uint64_t from = LOG_START, i;
  for (i = 0; i < h->runs; i++) {
    uint64_t at = load64(v->base + payload + sizeof *h + i * sizeof(uint64_t));
    run *r = &list->run[list->count];
    if (load_run(v, at, r) != MAPH_OK || r->from < from || r->to > h->to) return MAPH_NOTFOUND;
    from = r->to;
    list->bytes += node_size(r->keys) + (r->leaves > 1 ? node_size(r->leaves) : 0);
    list->count++;
  }
  list->bytes += sizeof *h + h->runs * sizeof(uint64_t);
  return MAPH_OK;
}

int runs_load(const view *v, uint64_t payload, run_list **out) {
  run_list_head h;
  int rc = payload ? read_list(v, payload, &h) : MAPH_NOTFOUND;
  run_list *list = runs_new(rc == MAPH_OK ? h.runs : 0);
  *out = list;
  if (list == NULL) return MAPH_NOMEM;
  list->word = payload;
  if (rc == MAPH_OK) rc = load_runs(v, payload, &h, list);
  if (rc == MAPH_OK) {
    list->to = h.to;
    list->life = h.life;
  } else {
    list->count = 0;
    list->bytes = 0;
  }
  return MAPH_OK;
}

static void let_go(void *list) { runs_let_go(list); }

int runs_take(const view *v, uint64_t version, run_list **out) {
  store *s = v->s;
  const header *h = header_of(v->base);
  uint64_t at = atomic_load_explicit(&h->order, memory_order_acquire);
  run_list *list;
  int rc = MAPH_OK;
  *out = NULL;
  if (!(h->optional & OPTIONAL_ORDER)) at = 0;
  pthread_mutex_lock(&s->order_mutex);
  list = s->order_runs.p;
  if (list == NULL || list->word != at) {
    rc = runs_load(v, at, &list);
    if (rc == MAPH_OK) attach(&s->order_runs, list, let_go);
  }
  if (rc == MAPH_OK && list->to > LOG_START && log_life(version) > list->life) {
    list = runs_new(0); /* an epoch came since, of a library that does not know of runs */
    if (list == NULL) rc = MAPH_NOMEM;
  } else if (rc == MAPH_OK) {
    atomic_fetch_add(&list->users, 1);
  }
  pthread_mutex_unlock(&s->order_mutex);
  if (rc == MAPH_OK) *out = list;
  return rc;
}
