/*
** merge.c - the merge of runs, mostly by words.
**
** All inputs' keys have some bytes in common.  Past these, or some of these, each entry's word is
** made of what its leaf left out and the word there, without a look at its record.  Only where two
** words agree are records read.  So is each key of a leaf of the result whose words agree too
** often, to have words of bytes further on.  A leaf is summed before its entries are taken over:
** damage is not sealed with a new sum.
*/
#include "order/merge.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "order/leaf.h"
#include "order/node.h"

typedef struct input {
  run r;
  node leaf;
  uint64_t number, at; /* of the leaf; the next entry of it */
  uint64_t word;       /* of that entry, past what all inputs have in common */
  uint64_t left_out;   /* of the leaf's keys: the part of such a word that its own words lack */
  unsigned shift;      /* bits of those that are not in it */
  int by_key;          /* its words lack more: keys are read */
} input;

struct merge {
  uint64_t common; /* bytes */
  size_t count, heads;
  size_t *heap;
  run_making made;
  order_entry *out;
  uint64_t outs, agree; /* in out; how many have the word of the one before */
  input input[];
};

/* --------------------------------------------------------------------------------------- inputs */

static int set_word(const view *view, const merge *merge, input *in) {
  uint64_t own = in->leaf.word[in->at];
  item it;
  int rc = MAPH_OK;
  if (unlikely(in->by_key)) {
    rc = node_item(view, &in->leaf, in->at, &it);
    if (rc == MAPH_OK) in->word = key_word(it.key, it.key_size, merge->common);
  } else {
    in->word = in->left_out | (in->shift < 64 ? own >> in->shift : 0);
  }
  return rc;
}

/* To the leaf of that number.  NOTFOUND: there are no more */
static int enter_leaf(const view *view, const merge *merge, input *in, uint64_t number) {
  item first;
  uint64_t more;
  int rc;
  if (number == in->r.leaves) return MAPH_NOTFOUND;
  rc = run_verify(view, in->r.root.entries ? node_offset(&in->r.root, number) : in->r.payload);
  if (rc == MAPH_OK) rc = run_leaf(view, &in->r, number, &in->leaf);
  if (rc == MAPH_OK) rc = node_item(view, &in->leaf, 0, &first);
  if (rc != MAPH_OK) return rc;
  in->by_key = in->leaf.shared < merge->common;
  more = in->by_key ? 0 : in->leaf.shared - merge->common;
  in->left_out = key_word(first.key, in->leaf.shared, merge->common);
  in->shift = more < NODE_WORD ? (unsigned)more * 8 : 64;
  in->number = number;
  in->at = 0;
  return set_word(view, merge, in);
}

static int ends_of_run(const view *view, const run *run, item *first, item *last) {
  node leaf;
  int rc = run_leaf(view, run, 0, &leaf);
  if (rc == MAPH_OK) rc = node_item(view, &leaf, 0, first);
  if (rc == MAPH_OK) rc = run_leaf(view, run, run->leaves - 1, &leaf);
  if (rc == MAPH_OK) rc = node_item(view, &leaf, leaf.entries - 1, last);
  return rc;
}

/* What the keys of all inputs have in common, as far as their first leaves left it out. */
static int set_common(const view *view, merge *merge) {
  item one, first, last;
  node leaf;
  size_t i;
  int rc = MAPH_OK;
  for (i = 0; rc == MAPH_OK && i < merge->count; i++) {
    rc = ends_of_run(view, &merge->input[i].r, &first, &last);
    if (rc != MAPH_OK) break;
    if (i == 0) {
      one = first;
      merge->common = one.key_size;
    }
    merge->common = MIN(merge->common, key_common(&one, &first));
    merge->common = MIN(merge->common, key_common(&one, &last));
    rc = run_leaf(view, &merge->input[i].r, 0, &leaf);
    if (rc == MAPH_OK) merge->common = MIN(merge->common, (uint64_t)leaf.shared);
  }
  return rc;
}

static int is_before(const view *view, const merge *merge, size_t a, size_t b, int *rc) {
  const input *input = &merge->input[a], *y = &merge->input[b];
  item of_x, of_y;
  if (likely(input->word != y->word)) return input->word < y->word;
  *rc = node_item(view, &input->leaf, input->at, &of_x);
  if (*rc == MAPH_OK) *rc = node_item(view, &y->leaf, y->at, &of_y);
  if (*rc != MAPH_OK) return 0;
  return key_compare(of_x.key, of_x.key_size, of_y.key, of_y.key_size) < 0;
}

static int sift_down(const view *view, merge *merge, size_t i) {
  size_t one = merge->heap[i];
  int rc = MAPH_OK;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= merge->heads) break;
    if (child + 1 < merge->heads
        && is_before(view, merge, merge->heap[child + 1], merge->heap[child], &rc))
      child++;
    if (rc != MAPH_OK || !is_before(view, merge, merge->heap[child], one, &rc)) break;
    merge->heap[i] = merge->heap[child];
    i = child;
  }
  merge->heap[i] = one;
  return rc;
}

/* ------------------------------------------------------------------------------------ the merge */

size_t merge_count(const merge *merge) { return merge->count; }

void merge_end(merge *merge) {
  if (merge == NULL) return;
  leaf_discard(&merge->made);
  os_free(merge->heap);
  os_free(merge->out);
  os_free(merge);
}

int merge_begin(const view *view, const run *runs, size_t count, merge **out) {
  merge *merge = os_alloc(sizeof *merge + count * sizeof *merge->input);
  size_t i;
  int rc = MAPH_OK;
  *out = NULL;
  if (merge == NULL) return MAPH_NOMEM;
  merge->count = count;
  merge->heap = os_alloc(count * sizeof *merge->heap);
  merge->out = os_alloc(leaf_most() * sizeof *merge->out);
  if (merge->heap == NULL || merge->out == NULL) rc = MAPH_NOMEM;
  for (i = 0; i < count; i++) merge->input[i].r = runs[i];
  merge->made.from = runs[0].from;
  merge->made.to = runs[count - 1].to;
  if (rc == MAPH_OK) rc = set_common(view, merge);
  for (i = 0; rc == MAPH_OK && i < count; i++) {
    rc = enter_leaf(view, merge, &merge->input[i], 0);
    merge->heap[merge->heads++] = i;
  }
  for (i = merge->heads / 2; rc == MAPH_OK && i-- > 0;) rc = sift_down(view, merge, i);
  if (rc != MAPH_OK) {
    merge_end(merge);
    merge = NULL;
  }
  *out = merge;
  return rc;
}

int merge_place(const merge *merge, const run_list *list) {
  size_t i, j;
  for (i = 0; i + merge->count <= list->count; i++) {
    for (j = 0; j < merge->count && list->run[i + j].payload == merge->input[j].r.payload;) j++;
    if (j == merge->count) return (int)i;
  }
  return -1;
}

static int write_out(store *store, const view *view, merge *merge) {
  uint32_t shared = (uint32_t)merge->common;
  int rc = order_words(view, merge->out, merge->outs, merge->agree, &shared);
  if (rc == MAPH_OK) rc = leaf_write(store, &merge->made, merge->out, merge->outs, shared);
  merge->outs = merge->agree = 0;
  return rc;
}

/* The next entry of all. */
static int take_one(const view *view, merge *merge) {
  input *in = &merge->input[merge->heap[0]];
  order_entry *entry = &merge->out[merge->outs];
  int rc = MAPH_OK;
  entry->word = in->word;
  entry->offset = node_offset(&in->leaf, in->at);
  if (merge->outs > 0 && entry->word == entry[-1].word) merge->agree++;
  merge->outs++;
  if (likely(++in->at < in->leaf.entries))
    rc = set_word(view, merge, in);
  else
    rc = enter_leaf(view, merge, in, in->number + 1);
  if (rc == MAPH_NOTFOUND) {
    merge->heap[0] = merge->heap[--merge->heads];
    rc = MAPH_OK;
  }
  return rc == MAPH_OK && merge->heads > 1 ? sift_down(view, merge, 0) : rc;
}

int merge_some(store *store, merge *merge, uint64_t entries, uint64_t *payload) {
  uint64_t done = 0;
  int rc = MAPH_OK;
  view view;
  *payload = 0;
  view_for_writing(store, merge->made.to, &view);
  while (rc == MAPH_OK && merge->heads > 0 && done < entries) {
    while (rc == MAPH_OK && merge->heads > 0 && merge->outs < leaf_most()) {
      rc = take_one(&view, merge);
      done++;
    }
    if (rc == MAPH_OK) rc = write_out(store, &view, merge);
    view_for_writing(store, merge->made.to, &view); /* the file may have outgrown its mapping */
  }
  if (rc == MAPH_OK && merge->heads == 0) rc = leaf_finish(store, &view, &merge->made, payload);
  return rc;
}
