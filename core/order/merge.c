/*
** merge.c - the merge of runs, mostly by words.
**
** All inputs' keys have some bytes in common.  Past these, or some of these, each entry's word is
** made of what its leaf left out and the word there, without a look at its record.  How many bytes
** of it are the key's is said by the leaf: words are compared as far as all of them are.  Only
** where two agree are records read.  So is each key of a leaf of the result whose words agree too
** often, to have words of bytes further on.  Where that is so of the inputs' words as they meet,
** these are made of the keys from there on, which are asked for ahead; so are those of a dense
** leaf, which has no whole words.  A leaf is summed before its entries are taken over: damage is
** not sealed with a new sum.
*/
#include "order/merge.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "order/leaf.h"
#include "order/node.h"

enum { AHEAD = 4 }; /* records asked for in advance, of each input */
enum {
  TIES_LEAST = 64,
  TIES_PART = 8
}; /* with more, and more than a part of the entries: by key */

typedef struct input {
  run run;
  node leaf;
  uint64_t number, at; /* of the leaf; the next entry of it */
  uint64_t left_out;   /* of the leaf's keys: the part of such a word that its own words lack */
  unsigned shift;      /* bits of those that are not in it */
  int by_key;          /* its words lack more, or are no whole ones: keys are read */
  unsigned known;      /* so many bytes of its word are the key's */
} input;

/* Who is next is found by a tournament: input i plays where node count + i of a binary tree would
** be, each node below count keeps who lost there, and node 0 who lost nowhere. */
struct merge {
  uint64_t common; /* bytes */
  uint64_t mask;   /* the bytes of words that are the keys' in all */
  int by_key;      /* the words of all are made of the keys */
  uint64_t ties;   /* so often two words agreed that are not known to the end */
  size_t count, left;
  uint64_t *word; /* of each input's next entry, past what all have in common */
  uint32_t *tree;
  run_making made;
  order_entry *out;
  uint64_t outs, agree; /* in out; how many have the word of the one before */
  unsigned known;       /* so many bytes of the words in out are the keys' */
  input input[];
};

/* --------------------------------------------------------------------------------------- inputs */

static inline int set_word(const view *view, merge *merge, input *in) {
  uint64_t *word = &merge->word[in - merge->input];
  maph_slice key = { NULL, 0 };
  int rc = MAPH_OK;
  if (unlikely(in->by_key)) {
    if (in->at + AHEAD < in->leaf.entries)
      __builtin_prefetch(record_start(view, node_offset(&in->leaf, in->at + AHEAD)));
    rc = node_key(view, &in->leaf, in->at, &key);
    if (rc == MAPH_OK) *word = key_word(key.data, key.size, merge->common);
  } else {
    uint64_t own = node_whole_word(&in->leaf, in->at);
    *word = in->left_out | (in->shift < 64 ? own >> in->shift : 0);
  }
  return rc;
}

static void set_mask(merge *merge) {
  unsigned known = NODE_WORD;
  size_t i;
  for (i = 0; i < merge->count; i++) known = MIN(known, merge->input[i].known);
  merge->mask = known ? UINT64_MAX << byte_shift(known - 1) : 0;
}

/* To the leaf of that number.  NOTFOUND: there are no more */
static int enter_leaf(const view *view, merge *merge, input *in, uint64_t number) {
  item first;
  uint64_t more;
  int rc;
  if (number == in->run.leaves) return MAPH_NOTFOUND;
  rc =
      run_verify(view, in->run.root.entries ? node_offset(&in->run.root, number) : in->run.payload);
  if (rc == MAPH_OK) rc = run_leaf(view, &in->run, number, &in->leaf);
  if (rc == MAPH_OK) rc = node_item(view, &in->leaf, 0, &first);
  if (rc != MAPH_OK) return rc;
  in->by_key = merge->by_key || in->leaf.dense || in->leaf.shared < merge->common;
  more = in->by_key ? 0 : in->leaf.shared - merge->common;
  in->left_out = key_word(first.key, in->leaf.shared, merge->common);
  in->shift = more < NODE_WORD ? (unsigned)more * 8 : 64;
  in->known =
      in->by_key ? NODE_WORD : (unsigned)MIN(more + node_known(&in->leaf), (uint64_t)NODE_WORD);
  in->number = number;
  in->at = 0;
  set_mask(merge);
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
    rc = ends_of_run(view, &merge->input[i].run, &first, &last);
    if (rc != MAPH_OK) break;
    if (i == 0) {
      one = first;
      merge->common = one.key_size;
    }
    merge->common = MIN(merge->common, key_common(&one, &first));
    merge->common = MIN(merge->common, key_common(&one, &last));
    rc = run_leaf(view, &merge->input[i].run, 0, &leaf);
    if (rc == MAPH_OK) merge->common = MIN(merge->common, (uint64_t)leaf.shared);
  }
  return rc;
}

static int has_ended(const input *input) { return input->number == input->run.leaves; }

/* The same for inputs with the same word.  One that has ended is behind all others. */
static __attribute__((noinline)) int is_before_by_key(const view *view, const input *input,
                                                      const struct input *other, int *rc) {
  maph_slice key = { NULL, 0 }, other_key = { NULL, 0 };
  if (has_ended(input) || has_ended(other)) return has_ended(other);
  *rc = node_key(view, &input->leaf, input->at, &key);
  if (*rc == MAPH_OK) *rc = node_key(view, &other->leaf, other->at, &other_key);
  if (*rc != MAPH_OK) return 0;
  return key_compare(key.data, key.size, other_key.data, other_key.size) < 0;
}

static inline int is_before(const view *view, merge *merge, uint32_t a, uint32_t b, int *rc) {
  uint64_t word = merge->word[a], other = merge->word[b];
  if (likely(((word ^ other) & merge->mask) != 0)) return word < other;
  merge->ties += merge->mask != UINT64_MAX;
  return is_before_by_key(view, &merge->input[a], &merge->input[b], rc);
}

/* An input that won has another entry: it plays again, from its place up. */
static inline int play_again(const view *view, merge *merge, uint32_t winner) {
  size_t at = (merge->count + winner) / 2;
  int rc = MAPH_OK;
  for (; at > 0; at /= 2) {
    uint32_t other = merge->tree[at];
    uint32_t change = (winner ^ other) & -(uint32_t)is_before(view, merge, other, winner, &rc);
    merge->tree[at] =
        other ^ change; /* by arithmetic: a branch would be guessed wrong half the time */
    winner ^= change;
  }
  merge->tree[0] = winner;
  return rc;
}

/* All play, from node `at` down.  Its winner. */
static uint32_t play(const view *view, merge *merge, size_t at, int *rc) {
  uint32_t a, b;
  int before;
  if (at >= merge->count) return (uint32_t)(at - merge->count);
  a = play(view, merge, 2 * at, rc);
  b = play(view, merge, 2 * at + 1, rc);
  before = is_before(view, merge, a, b, rc);
  merge->tree[at] = before ? b : a;
  return before ? a : b;
}

/* ------------------------------------------------------------------------------------ the merge */

size_t merge_count(const merge *merge) { return merge->count; }

void merge_end(merge *merge) {
  if (merge == NULL) return;
  leaf_discard(&merge->made);
  os_free(merge->word);
  os_free(merge->tree);
  os_free(merge->out);
  os_free(merge);
}

int merge_begin(const view *view, const run *runs, size_t count, unsigned spare, merge **out) {
  merge *merge = os_alloc(sizeof *merge + count * sizeof *merge->input);
  size_t i;
  int rc = MAPH_OK;
  *out = NULL;
  if (merge == NULL) return MAPH_NOMEM;
  merge->count = merge->left = count;
  merge->word = os_alloc(count * sizeof *merge->word);
  merge->tree = os_alloc(count * sizeof *merge->tree);
  merge->out = os_alloc(leaf_most() * sizeof *merge->out);
  if (merge->word == NULL || merge->tree == NULL || merge->out == NULL) rc = MAPH_NOMEM;
  for (i = 0; i < count; i++) {
    merge->input[i].run = runs[i];
    merge->input[i].run.known = NULL; /* of a list that may go before */
    merge->input[i].known = NODE_WORD;
  }
  merge->known = NODE_WORD;
  merge->made.spare = spare;
  merge->made.from = runs[0].from;
  merge->made.to = runs[count - 1].to;
  if (rc == MAPH_OK) rc = set_common(view, merge);
  merge->made.shared = (uint32_t)merge->common;
  for (i = 0; rc == MAPH_OK && i < count; i++) rc = enter_leaf(view, merge, &merge->input[i], 0);
  if (rc == MAPH_OK) merge->tree[0] = play(view, merge, 1, &rc);
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
    for (j = 0; j < merge->count && list->run[i + j].payload == merge->input[j].run.payload;) j++;
    if (j == merge->count) return (int)i;
  }
  return -1;
}

static int write_out(store *store, const view *view, merge *merge) {
  uint32_t shared = (uint32_t)merge->common;
  unsigned known = merge->known;
  item first;
  int rc = record_item(view, merge->out[0].offset, view->snapshot, &first);
  if (rc == MAPH_OK) rc = order_words(view, merge->out, merge->outs, merge->agree, &shared, &known);
  if (rc == MAPH_OK)
    rc = leaf_write(store, &merge->made, merge->out, merge->outs, shared, known,
                    key_word(first.key, first.key_size, merge->common));
  merge->outs = merge->agree = 0;
  merge->known = NODE_WORD;
  return rc;
}

static int end_input(merge *merge, input *in) {
  in->number = in->run.leaves;
  in->known = NODE_WORD;
  set_mask(merge);
  merge->word[in - merge->input] = UINT64_MAX;
  merge->left--;
  return MAPH_OK;
}

static int agree_too_often(const merge *merge) {
  return merge->ties > TIES_LEAST && merge->ties > (merge->made.keys + merge->outs) / TIES_PART;
}

/* From here on words are made of the keys.  Who is before whom stays: that was known before. */
static int go_by_key(const view *view, merge *merge) {
  int rc = MAPH_OK;
  size_t i;
  merge->by_key = 1;
  merge->ties = 0;
  for (i = 0; rc == MAPH_OK && i < merge->count; i++) {
    input *in = &merge->input[i];
    if (has_ended(in)) continue;
    in->by_key = 1;
    in->known = NODE_WORD;
    rc = set_word(view, merge, in);
  }
  set_mask(merge);
  return rc;
}

/* The next entry of all. */
static inline int take_one(const view *view, merge *merge) {
  uint32_t winner = merge->tree[0];
  input *in = &merge->input[winner];
  order_entry *entry = &merge->out[merge->outs];
  int rc;
  entry->word = merge->word[winner];
  entry->offset = node_offset(&in->leaf, in->at);
  merge->known = MIN(merge->known, in->known);
  if (merge->outs > 0) merge->agree += ((entry->word ^ entry[-1].word) & merge->mask) == 0;
  merge->outs++;
  if (likely(++in->at < in->leaf.entries))
    rc = set_word(view, merge, in);
  else
    rc = enter_leaf(view, merge, in, in->number + 1);
  if (unlikely(rc == MAPH_NOTFOUND)) rc = end_input(merge, in);
  return rc == MAPH_OK ? play_again(view, merge, winner) : rc;
}

int merge_some(store *store, merge *merge, uint64_t entries, uint64_t *payload) {
  uint64_t done, most = leaf_most();
  int rc = MAPH_OK;
  view view;
  *payload = 0;
  view_for_writing(store, merge->made.to, &view);
  for (done = 0; rc == MAPH_OK && merge->left > 0 && done < entries; done++) {
    rc = take_one(&view, merge);
    if (unlikely(rc == MAPH_OK && agree_too_often(merge))) rc = go_by_key(&view, merge);
    if (rc != MAPH_OK || (merge->outs < most && merge->left > 0)) continue;
    rc = write_out(store, &view, merge);
    view_for_writing(store, merge->made.to, &view); /* the file may have outgrown its mapping */
  }
  if (rc == MAPH_OK && merge->left == 0) rc = leaf_finish(store, &view, &merge->made, payload);
  return rc;
}
