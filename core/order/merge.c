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

static int set_word(const view *v, const merge *m, input *in) {
  uint64_t own = in->leaf.word[in->at];
  item it;
  int rc = MAPH_OK;
  if (unlikely(in->by_key)) {
    rc = node_item(v, &in->leaf, in->at, &it);
    if (rc == MAPH_OK) in->word = key_word(it.key, it.key_size, m->common);
  } else {
    in->word = in->left_out | (in->shift < 64 ? own >> in->shift : 0);
  }
  return rc;
}

/* To the leaf of that number.  NOTFOUND: there are no more */
static int enter_leaf(const view *v, const merge *m, input *in, uint64_t number) {
  item first;
  uint64_t more;
  int rc;
  if (number == in->r.leaves) return MAPH_NOTFOUND;
  rc = run_verify(v, in->r.root.entries ? node_offset(&in->r.root, number) : in->r.payload);
  if (rc == MAPH_OK) rc = run_leaf(v, &in->r, number, &in->leaf);
  if (rc == MAPH_OK) rc = node_item(v, &in->leaf, 0, &first);
  if (rc != MAPH_OK) return rc;
  in->by_key = in->leaf.shared < m->common;
  more = in->by_key ? 0 : in->leaf.shared - m->common;
  in->left_out = key_word(first.key, in->leaf.shared, m->common);
  in->shift = more < NODE_WORD ? (unsigned)more * 8 : 64;
  in->number = number;
  in->at = 0;
  return set_word(v, m, in);
}

static int ends_of_run(const view *v, const run *r, item *first, item *last) {
  node leaf;
  int rc = run_leaf(v, r, 0, &leaf);
  if (rc == MAPH_OK) rc = node_item(v, &leaf, 0, first);
  if (rc == MAPH_OK) rc = run_leaf(v, r, r->leaves - 1, &leaf);
  if (rc == MAPH_OK) rc = node_item(v, &leaf, leaf.entries - 1, last);
  return rc;
}

/* What the keys of all inputs have in common, as far as their first leaves left it out. */
static int set_common(const view *v, merge *m) {
  item one, first, last;
  node leaf;
  size_t i;
  int rc = MAPH_OK;
  for (i = 0; rc == MAPH_OK && i < m->count; i++) {
    rc = ends_of_run(v, &m->input[i].r, &first, &last);
    if (rc != MAPH_OK) break;
    if (i == 0) {
      one = first;
      m->common = one.key_size;
    }
    m->common = MIN(m->common, key_common(&one, &first));
    m->common = MIN(m->common, key_common(&one, &last));
    rc = run_leaf(v, &m->input[i].r, 0, &leaf);
    if (rc == MAPH_OK) m->common = MIN(m->common, (uint64_t)leaf.shared);
  }
  return rc;
}

static int is_before(const view *v, const merge *m, size_t a, size_t b, int *rc) {
  const input *x = &m->input[a], *y = &m->input[b];
  item of_x, of_y;
  if (likely(x->word != y->word)) return x->word < y->word;
  *rc = node_item(v, &x->leaf, x->at, &of_x);
  if (*rc == MAPH_OK) *rc = node_item(v, &y->leaf, y->at, &of_y);
  if (*rc != MAPH_OK) return 0;
  return key_compare(of_x.key, of_x.key_size, of_y.key, of_y.key_size) < 0;
}

static int sift_down(const view *v, merge *m, size_t i) {
  size_t one = m->heap[i];
  int rc = MAPH_OK;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= m->heads) break;
    if (child + 1 < m->heads && is_before(v, m, m->heap[child + 1], m->heap[child], &rc)) child++;
    if (rc != MAPH_OK || !is_before(v, m, m->heap[child], one, &rc)) break;
    m->heap[i] = m->heap[child];
    i = child;
  }
  m->heap[i] = one;
  return rc;
}

/* ------------------------------------------------------------------------------------ the merge */

size_t merge_count(const merge *m) { return m->count; }

void merge_end(merge *m) {
  if (m == NULL) return;
  leaf_discard(&m->made);
  os_free(m->heap);
  os_free(m->out);
  os_free(m);
}

int merge_begin(const view *v, const run *runs, size_t count, merge **out) {
  merge *m = os_alloc(sizeof *m + count * sizeof *m->input);
  size_t i;
  int rc = MAPH_OK;
  *out = NULL;
  if (m == NULL) return MAPH_NOMEM;
  m->count = count;
  m->heap = os_alloc(count * sizeof *m->heap);
  m->out = os_alloc(leaf_most() * sizeof *m->out);
  if (m->heap == NULL || m->out == NULL) rc = MAPH_NOMEM;
  for (i = 0; i < count; i++) m->input[i].r = runs[i];
  m->made.from = runs[0].from;
  m->made.to = runs[count - 1].to;
  if (rc == MAPH_OK) rc = set_common(v, m);
  for (i = 0; rc == MAPH_OK && i < count; i++) {
    rc = enter_leaf(v, m, &m->input[i], 0);
    m->heap[m->heads++] = i;
  }
  for (i = m->heads / 2; rc == MAPH_OK && i-- > 0;) rc = sift_down(v, m, i);
  if (rc != MAPH_OK) {
    merge_end(m);
    m = NULL;
  }
  *out = m;
  return rc;
}

int merge_place(const merge *m, const run_list *list) {
  size_t i, j;
  for (i = 0; i + m->count <= list->count; i++) {
    for (j = 0; j < m->count && list->run[i + j].payload == m->input[j].r.payload;) j++;
    if (j == m->count) return (int)i;
  }
  return -1;
}

static int write_out(store *s, const view *v, merge *m) {
  uint32_t shared = (uint32_t)m->common;
  int rc = order_words(v, m->out, m->outs, m->agree, &shared);
  if (rc == MAPH_OK) rc = leaf_write(s, &m->made, m->out, m->outs, shared);
  m->outs = m->agree = 0;
  return rc;
}

/* The next entry of all. */
static int take_one(const view *v, merge *m) {
  input *in = &m->input[m->heap[0]];
  order_entry *e = &m->out[m->outs];
  int rc = MAPH_OK;
  e->word = in->word;
  e->offset = node_offset(&in->leaf, in->at);
  if (m->outs > 0 && e->word == e[-1].word) m->agree++;
  m->outs++;
  if (likely(++in->at < in->leaf.entries))
    rc = set_word(v, m, in);
  else
    rc = enter_leaf(v, m, in, in->number + 1);
  if (rc == MAPH_NOTFOUND) {
    m->heap[0] = m->heap[--m->heads];
    rc = MAPH_OK;
  }
  return rc == MAPH_OK && m->heads > 1 ? sift_down(v, m, 0) : rc;
}

int merge_some(store *s, merge *m, uint64_t entries, uint64_t *payload) {
  uint64_t done = 0;
  int rc = MAPH_OK;
  view v;
  *payload = 0;
  view_for_writing(s, m->made.to, &v);
  while (rc == MAPH_OK && m->heads > 0 && done < entries) {
    while (rc == MAPH_OK && m->heads > 0 && m->outs < leaf_most()) {
      rc = take_one(&v, m);
      done++;
    }
    if (rc == MAPH_OK) rc = write_out(s, &v, m);
    view_for_writing(s, m->made.to, &v); /* the file may have outgrown its mapping */
  }
  if (rc == MAPH_OK && m->heads == 0) rc = leaf_finish(s, &v, &m->made, payload);
  return rc;
}
