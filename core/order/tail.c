/*
** tail.c - what came since the last run: found by walking the log, sorted once, kept and extended.
**
** A store keeps one cover for all its handles in this process.  It is a row of pieces, each the
** sorted new keys of a stretch of the log, as in a log-structured merge tree: an extension sorts
** what is new into a piece of its own, and neighbours are made one while the later is at least half
** as large as the earlier.  So there are few pieces, and a key is moved a logarithm of times.
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

typedef struct piece {
  atomic_uint users;
  node n;
  uint64_t *words;
  uint8_t *places;
} piece;

/* --------------------------------------------------------------------------------------- pieces */

static void piece_let_go(piece *p) {
  if (p == NULL || atomic_fetch_sub(&p->users, 1) != 1) return;
  os_free(p->words);
  os_free(p->places);
  os_free(p);
}

/* Sorted entries with their words become a piece. */
static int piece_make(const order_entry *e, uint64_t n, uint32_t shared, uint64_t from, uint64_t to,
                      piece **out) {
  piece *p = os_alloc(sizeof *p);
  uint64_t i;
  *out = NULL;
  if (p == NULL) return MAPH_NOMEM;
  atomic_init(&p->users, 1);
  p->words = os_alloc(n * sizeof *p->words + 1);
  p->places = os_alloc(n * NODE_PLACE + sizeof(uint64_t));
  if (p->words == NULL || p->places == NULL) {
    piece_let_go(p);
    return MAPH_NOMEM;
  }
  for (i = 0; i < n; i++) {
    p->words[i] = e[i].word;
    node_set_place(p->places, i, e[i].offset);
  }
  p->n = (node){ p->words, p->places, n, from, to, shared };
  *out = p;
  return MAPH_OK;
}

/* The new keys of [from, the view's end), as the log has them. */
static int find_new(const view *v, uint64_t from, row *r) {
  walk w = walk_from(v, from, v->snapshot);
  int rc = MAPH_OK;
  while (walk_next(&w, &rc))
    if (w.it.kind == KIND_PUT && w.it.prev == 0)
      rc = row_add(r, w.it.offset, key_word(w.it.key, w.it.key_size, 0));
  return rc;
}

/* Sort the row into a piece. */
static int piece_sort(const view *v, row *r, uint64_t from, uint64_t to, piece **p) {
  uint32_t shared = 0;
  int rc = order_sort(v, r->e, r->count, 1);
  if (rc == MAPH_OK) rc = order_words_of_sorted(v, r->e, r->count, &shared);
  return rc == MAPH_OK ? piece_make(r->e, r->count, shared, from, to, p) : rc;
}

static int piece_find(const view *v, uint64_t from, piece **p) {
  row r = { NULL, 0, 0 };
  int rc = find_new(v, from, &r);
  *p = NULL;
  if (rc == MAPH_OK && r.count > 0) rc = piece_sort(v, &r, from, v->snapshot, p);
  os_free(r.e);
  return rc;
}

/* Is the key of entry i of a above that of entry j of b? */
static int is_above(const view *v, const node *a, uint64_t i, const node *b, uint64_t j, int *rc) {
  item of_a, of_b;
  if (a->shared == 0 && b->shared == 0 && a->word[i] != b->word[j]) return a->word[i] > b->word[j];
  *rc = node_item(v, a, i, &of_a);
  if (*rc == MAPH_OK) *rc = node_item(v, b, j, &of_b);
  if (*rc != MAPH_OK) return 0;
  return key_compare(of_a.key, of_a.key_size, of_b.key, of_b.key_size) > 0;
}

static void row_keep(row *r, const node *n, uint64_t i, uint64_t from) {
  uint64_t offset = node_offset(n, i);
  if (offset >= from) r->e[r->count++].offset = offset;
}

/* Two neighbours as one piece, without what lies before `from`. */
static int piece_merge(const view *v, const node *a, const node *b, uint64_t from, piece **p) {
  uint64_t i = 0, j = 0;
  uint32_t shared = 0;
  row r = { NULL, 0, 0 };
  int rc = MAPH_OK;
  r.e = os_alloc((a->entries + b->entries) * sizeof *r.e);
  if (r.e == NULL) return MAPH_NOMEM;
  while (i < a->entries && j < b->entries && rc == MAPH_OK) {
    if (is_above(v, a, i, b, j, &rc))
      row_keep(&r, b, j++, from);
    else
      row_keep(&r, a, i++, from);
  }
  while (i < a->entries) row_keep(&r, a, i++, from);
  while (j < b->entries) row_keep(&r, b, j++, from);
  if (rc == MAPH_OK && r.count) rc = order_words(v, r.e, r.count, r.count, &shared);
  if (rc == MAPH_OK) rc = piece_make(r.e, r.count, shared, MAX(a->from, from), b->to, p);
  os_free(r.e);
  return rc;
}

/* --------------------------------------------------------------------------------------- covers */

const node *tail_node(const cover *c, size_t i) { return &c->piece[i]->n; }

void tail_let_go(cover *c) {
  size_t i;
  if (c == NULL || atomic_fetch_sub(&c->users, 1) != 1) return;
  for (i = 0; i < c->count; i++) piece_let_go(c->piece[i]);
  os_free(c);
}

static cover *cover_new(uint64_t from, uint64_t to, size_t room) {
  cover *c = os_alloc(sizeof *c + room * sizeof *c->piece);
  if (c == NULL) return NULL;
  atomic_init(&c->users, 1);
  c->from = from;
  c->to = to;
  return c;
}

/* Neighbours at the end of the row that are due to become one, do. */
static int settle(const view *v, cover *c) {
  while (c->count >= 2) {
    piece *a = c->piece[c->count - 2], *b = c->piece[c->count - 1], *both;
    int rc;
    if (b->n.entries * 2 < a->n.entries) break;
    rc = piece_merge(v, &a->n, &b->n, c->from, &both);
    if (rc != MAPH_OK) return rc;
    piece_let_go(a);
    piece_let_go(b);
    c->piece[--c->count - 1] = both;
  }
  return MAPH_OK;
}

/* What `old` has of [from, the view's end), and the rest of it. */
static int extend(const view *v, cover *old, uint64_t from, cover **out) {
  uint64_t have = old && old->from <= from && old->to > from ? old->to : from;
  cover *c = cover_new(from, MAX(have, v->snapshot), (old ? old->count : 0) + 1);
  piece *p = NULL;
  size_t i;
  int rc = MAPH_OK;
  if (c == NULL) return MAPH_NOMEM;
  for (i = 0; have > from && i < old->count; i++) {
    if (old->piece[i]->n.to <= from) continue;
    atomic_fetch_add(&old->piece[i]->users, 1);
    c->piece[c->count++] = old->piece[i];
  }
  if (have < v->snapshot) rc = piece_find(v, have, &p);
  if (p) c->piece[c->count++] = p;
  if (rc == MAPH_OK) rc = settle(v, c);
  if (rc != MAPH_OK) {
    tail_let_go(c);
    c = NULL;
  }
  *out = c;
  return rc;
}

static void let_go(void *c) { tail_let_go(c); }

int tail_take(const view *v, uint64_t from, cover **out) {
  store *s = v->s;
  cover *c, *old;
  view all;
  int rc = MAPH_OK;
  *out = NULL;
  pthread_mutex_lock(&s->order_mutex);
  c = old = s->order_tail.p;
  if (old == NULL || old->from != from || old->to < v->snapshot) {
    rc = view_at(s, old ? MAX(old->to, v->snapshot) : v->snapshot, &all);
    if (rc == MAPH_OK) rc = extend(&all, old, from, &c);
    if (rc == MAPH_OK) attach(&s->order_tail, c, let_go);
  }
  if (rc == MAPH_OK) {
    atomic_fetch_add(&c->users, 1);
    *out = c;
  }
  pthread_mutex_unlock(&s->order_mutex);
  return rc;
}

int tail_take_alone(const view *v, uint64_t from, cover **out) {
  return extend(v, NULL, from, out);
}
