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
  const view *view;
  uint64_t entries, keys; /* below the view's end; of the run so far */
  maph_slice last;        /* key */
} proving;

static int says(const view *view, uint64_t offset, const char *sentence) {
  return fail_corrupt(view->store->path, offset, sentence);
}

static int prove_entry(proving *proving, const run *run, const node *leaf, uint64_t i) {
  const view *view = proving->view;
  item it;
  int rc;
  if (i + AHEAD < leaf->entries)
    __builtin_prefetch(record_start(view, node_offset(leaf, i + AHEAD)));
  rc = node_item(view, leaf, i, &it);
  if (rc == MAPH_OK) rc = record_verify(view, it.offset, it.size);
  if (rc != MAPH_OK) return rc;
  if (it.offset < run->from || it.offset >= run->to)
    return says(view, it.offset,
                "the order of keys has a record in a run of another part of the log");
  if (proving->last.data
      && key_compare(it.key, it.key_size, proving->last.data, proving->last.size) <= 0)
    return says(view, it.offset, "the order of keys is none: this key is not above the one before");
  proving->last = maph_bytes(it.key, it.key_size);
  proving->entries += it.offset < view->snapshot;
  proving->keys++;
  return MAPH_OK;
}

static int prove_leaf(proving *proving, const run *run, uint64_t number) {
  uint64_t payload = run->root.entries ? node_offset(&run->root, number) : run->payload, i;
  node leaf;
  int rc = run_leaf(proving->view, run, number, &leaf);
  if (rc == MAPH_OK) rc = run_verify(proving->view, payload);
  for (i = 0; rc == MAPH_OK && i < leaf.entries; i++) {
    rc = prove_entry(proving, run, &leaf, i);
    if (rc == MAPH_OK && i == 0 && run->root.entries
        && key_word(proving->last.data, proving->last.size, run->root.shared)
               != node_word(&run->root, number))
      rc = says(proving->view, run->payload,
                "a root in the order of keys has another word than its leaf");
  }
  return rc;
}

int order_prove(const view *view, const run_list *list, int (*tell)(void *arg, uint64_t done),
                void *arg, uint64_t *entries) {
  proving proving = { view, 0, 0, { NULL, 0 } };
  int rc = MAPH_OK;
  size_t i;
  for (i = 0; rc == MAPH_OK && i < list->count; i++) {
    const run *run = &list->run[i];
    uint64_t leaf;
    proving.last = maph_bytes(NULL, 0);
    proving.keys = 0;
    rc = run_verify(view, run->payload);
    for (leaf = 0; rc == MAPH_OK && leaf < run->leaves; leaf++) {
      rc = prove_leaf(&proving, run, leaf);
      if (rc == MAPH_OK) rc = tell(arg, proving.entries);
    }
    if (rc == MAPH_OK && proving.keys != run->keys)
      rc = says(view, run->payload, "a run has another number of keys than it says");
  }
  *entries = proving.entries;
  return rc;
}
