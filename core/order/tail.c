/*
** tail.c - what came since the last run: found by walking the log, sorted once, kept and extended.
**
** A store keeps one cover for all its handles in this process.  It is a row of pieces, each the
** sorted new keys of a stretch of the log, as in a log-structured merge tree: an extension sorts
** what is new into a piece of its own, and neighbours are made one while the later is at least a
** quarter as large as the earlier.  So there are few pieces, as each is searched for a range, and a
** key is moved some logarithms of times.
** Covers and pieces never change and are counted, because cursors of other threads read them.
**
** A run may since have come to cover the first part of a cover.  Pieces that lie wholly in it are
** dropped; in the one that does not, entries from before are left to the reader to pass over, and
** go when it is sorted anew.
**
** Locking: order_mutex of the store, while the log is walked and sorted.
*/
#include "order/tail.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"

/* A piece that is at least one of so many parts of the one before is made one with it. */
enum { NEIGHBOURS = 4 };

typedef struct piece {
  atomic_uint users;
  node node;
  uint8_t *words, *places;
} piece;

/* --------------------------------------------------------------------------------------- pieces */

static void piece_let_go(piece *piece) {
  if (piece == NULL || atomic_fetch_sub(&piece->users, 1) != 1) return;
  os_free(piece->words);
  os_free(piece->places);
  os_free(piece);
}

/* Sorted entries with their words become a piece. */
static int piece_make(const order_entry *entry, uint64_t n, uint32_t shared, uint64_t from,
                      uint64_t to, piece **out) {
  piece *piece = os_alloc(sizeof *piece);
  uint64_t i;
  *out = NULL;
  if (piece == NULL) return MAPH_NOMEM;
  atomic_init(&piece->users, 1);
  piece->words = os_alloc(n * NODE_WORD + 1);
  piece->places = os_alloc(n * NODE_PLACE + sizeof(uint64_t));
  if (piece->words == NULL || piece->places == NULL) {
    piece_let_go(piece);
    return MAPH_NOMEM;
  }
  for (i = 0; i < n; i++) {
    node_set_word(piece->words, NODE_WORD, i, entry[i].word);
    node_set_word(piece->places, NODE_PLACE, i, entry[i].offset / 8);
  }
  node_shape_wide(&piece->node, piece->words, piece->places);
  piece->node.entries = n;
  piece->node.from = from;
  piece->node.to = to;
  piece->node.shared = shared;
  *out = piece;
  return MAPH_OK;
}

/* The new keys of [from, the view's end), as the log has them. */
static int find_new(const view *view, uint64_t from, row *row) {
  walk walk = walk_from(view, from, view->snapshot);
  int rc = MAPH_OK;
  while (walk_next(&walk, &rc))
    if (walk.it.kind == KIND_PUT && walk.it.prev == 0) rc = row_add(row, walk.it.offset);
  return rc;
}

/* Sort the row into a piece. */
static int piece_sort(const view *view, row *row, uint64_t from, uint64_t to, piece **piece) {
  uint32_t shared = 0;
  int rc = order_sort(view, row->e, row->count, &shared, NULL);
  if (rc == MAPH_OK) rc = order_words_of_sorted(view, row->e, row->count, &shared);
  return rc == MAPH_OK ? piece_make(row->e, row->count, shared, from, to, piece) : rc;
}

static int piece_find(const view *view, uint64_t from, piece **piece) {
  row row = { NULL, 0, 0 };
  int rc = find_new(view, from, &row);
  *piece = NULL;
  if (rc == MAPH_OK && row.count > 0) rc = piece_sort(view, &row, from, view->snapshot, piece);
  os_free(row.e);
  return rc;
}

/* Is the key of entry i of a above that of entry j of b? */
static int is_above(const view *view, const node *node, uint64_t i, const struct node *b,
                    uint64_t j, int *rc) {
  item of_a, of_b;
  if (node->shared == 0 && b->shared == 0 && node_word(node, i) != node_word(b, j))
    return node_word(node, i) > node_word(b, j);
  *rc = node_item(view, node, i, &of_a);
  if (*rc == MAPH_OK) *rc = node_item(view, b, j, &of_b);
  if (*rc != MAPH_OK) return 0;
  return key_compare(of_a.key, of_a.key_size, of_b.key, of_b.key_size) > 0;
}

static void row_keep(row *row, const node *node, uint64_t i, uint64_t from) {
  uint64_t offset = node_offset(node, i);
  if (offset >= from) row->e[row->count++].offset = offset;
}

/* Two neighbours as one piece, without what lies before `from`. */
static int piece_merge(const view *view, const node *node, const struct node *b, uint64_t from,
                       piece **piece) {
  uint64_t i = 0, j = 0;
  uint32_t shared = 0;
  row row = { NULL, 0, 0 };
  int rc = MAPH_OK;
  row.e = os_alloc((node->entries + b->entries) * sizeof *row.e);
  if (row.e == NULL) return MAPH_NOMEM;
  while (i < node->entries && j < b->entries && rc == MAPH_OK) {
    if (is_above(view, node, i, b, j, &rc))
      row_keep(&row, b, j++, from);
    else
      row_keep(&row, node, i++, from);
  }
  while (i < node->entries) row_keep(&row, node, i++, from);
  while (j < b->entries) row_keep(&row, b, j++, from);
  if (rc == MAPH_OK && row.count)
    rc = order_words(view, row.e, row.count, row.count, &shared, NULL);
  if (rc == MAPH_OK) rc = piece_make(row.e, row.count, shared, MAX(node->from, from), b->to, piece);
  os_free(row.e);
  return rc;
}

/* --------------------------------------------------------------------------------------- covers */

const node *tail_node(const cover *cover, size_t i) { return &cover->piece[i]->node; }

void tail_let_go(cover *cover) {
  size_t i;
  if (cover == NULL || atomic_fetch_sub(&cover->users, 1) != 1) return;
  for (i = 0; i < cover->count; i++) piece_let_go(cover->piece[i]);
  os_free(cover);
}

static cover *cover_new(uint64_t from, uint64_t to, size_t room) {
  cover *cover = os_alloc(sizeof *cover + room * sizeof *cover->piece);
  if (cover == NULL) return NULL;
  atomic_init(&cover->users, 1);
  cover->from = from;
  cover->to = to;
  return cover;
}

/* Neighbours at the end of the row that are due to become one, do. */
static int settle(const view *view, cover *cover) {
  while (cover->count >= 2) {
    piece *piece = cover->piece[cover->count - 2], *b = cover->piece[cover->count - 1], *both;
    int rc;
    if (b->node.entries * NEIGHBOURS < piece->node.entries) break;
    rc = piece_merge(view, &piece->node, &b->node, cover->from, &both);
    if (rc != MAPH_OK) return rc;
    piece_let_go(piece);
    piece_let_go(b);
    cover->piece[--cover->count - 1] = both;
  }
  return MAPH_OK;
}

/* What `old` has of [from, the view's end), and the rest of it. */
static int extend(const view *view, cover *old, uint64_t from, cover **out) {
  uint64_t have = old && old->from <= from && old->to > from ? old->to : from;
  cover *cover = cover_new(from, MAX(have, view->snapshot), (old ? old->count : 0) + 1);
  piece *piece = NULL;
  size_t i;
  int rc = MAPH_OK;
  if (cover == NULL) return MAPH_NOMEM;
  for (i = 0; have > from && i < old->count; i++) {
    if (old->piece[i]->node.to <= from) continue;
    atomic_fetch_add(&old->piece[i]->users, 1);
    cover->piece[cover->count++] = old->piece[i];
  }
  if (have < view->snapshot) rc = piece_find(view, have, &piece);
  if (piece) cover->piece[cover->count++] = piece;
  if (rc == MAPH_OK) rc = settle(view, cover);
  if (rc != MAPH_OK) {
    tail_let_go(cover);
    cover = NULL;
  }
  *out = cover;
  return rc;
}

static void let_go(void *c) { tail_let_go(c); }

int tail_take(const view *view, uint64_t from, cover **out) {
  store *store = view->store;
  cover *cover, *old;
  struct view all;
  int rc = MAPH_OK;
  *out = NULL;
  pthread_mutex_lock(&store->order_mutex);
  cover = old = store->order_tail.p;
  if (old == NULL || old->from != from || old->to < view->snapshot) {
    rc = view_at(store, old ? MAX(old->to, view->snapshot) : view->snapshot, &all);
    if (rc == MAPH_OK) rc = extend(&all, old, from, &cover);
    if (rc == MAPH_OK) attach(&store->order_tail, cover, let_go);
  }
  if (rc == MAPH_OK) {
    atomic_fetch_add(&cover->users, 1);
    *out = cover;
  }
  pthread_mutex_unlock(&store->order_mutex);
  return rc;
}

int tail_take_alone(const view *view, uint64_t from, cover **out) {
  return extend(view, NULL, from, out);
}
