/*
** prove.c - see prove.h.
*/
#include "order/prove.h"
#include "file/record.h"
#include "file/store.h"
#include "order/node.h"
#include "order/run.h"

enum { AHEAD = 16 };

typedef struct proving {
  const view *v;
  uint64_t entries, keys; /* below the view's end; of the run so far */
  maph_slice last;        /* key */
} proving;

static int says(const view *v, uint64_t offset, const char *sentence) {
  return fail_corrupt(v->s->path, offset, sentence);
}

static int prove_entry(proving *p, const run *r, const node *leaf, uint64_t i) {
  const view *v = p->v;
  item it;
  int rc;
  if (i + AHEAD < leaf->entries) __builtin_prefetch(v->base + node_offset(leaf, i + AHEAD));
  rc = node_item(v, leaf, i, &it);
  if (rc == MAPH_OK) rc = record_verify(v, it.offset, it.size);
  if (rc != MAPH_OK) return rc;
  if (it.offset < r->from || it.offset >= r->to)
    return says(v, it.offset, "the order of keys has a record in a run of another part of the log");
  if (p->last.data && key_compare(it.key, it.key_size, p->last.data, p->last.size) <= 0)
    return says(v, it.offset, "the order of keys is none: this key is not above the one before");
  p->last = maph_bytes(it.key, it.key_size);
  p->entries += it.offset < v->snapshot;
  p->keys++;
  return MAPH_OK;
}

static int prove_leaf(proving *p, const run *r, uint64_t number) {
  uint64_t payload = r->root.entries ? node_offset(&r->root, number) : r->payload, i;
  node leaf;
  int rc = run_leaf(p->v, r, number, &leaf);
  if (rc == MAPH_OK) rc = run_verify(p->v, payload);
  for (i = 0; rc == MAPH_OK && i < leaf.entries; i++) {
    rc = prove_entry(p, r, &leaf, i);
    if (rc == MAPH_OK && i == 0 && r->root.entries
        && key_word(p->last.data, p->last.size, r->root.shared) != r->root.word[number])
      rc = says(p->v, r->payload, "a root in the order of keys has another word than its leaf");
  }
  return rc;
}

int order_prove(const view *v, const run_list *list, int (*tell)(void *arg, uint64_t done),
                void *arg, uint64_t *entries) {
  proving p = { v, 0, 0, { NULL, 0 } };
  int rc = MAPH_OK;
  size_t i;
  for (i = 0; rc == MAPH_OK && i < list->count; i++) {
    const run *r = &list->run[i];
    uint64_t leaf;
    p.last = maph_bytes(NULL, 0);
    p.keys = 0;
    rc = run_verify(v, r->payload);
    for (leaf = 0; rc == MAPH_OK && leaf < r->leaves; leaf++) {
      rc = prove_leaf(&p, r, leaf);
      if (rc == MAPH_OK) rc = tell(arg, p.entries);
    }
    if (rc == MAPH_OK && p.keys != r->keys)
      rc = says(v, r->payload, "a run has another number of keys than it says");
  }
  *entries = p.entries;
  return rc;
}
