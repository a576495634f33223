/*
** range.c - the live entries of a range of keys, in the order of the keys, both ways.
**
** The order of keys (order/node.h) lies in sorted arrays: runs in the file, pieces in memory, and,
** of an open transaction, one of its own keys.  They are the sources of a cursor.  Together they
** have each key that was ever put in this generation, once.  A cursor is a GAP between keys: in
** each source it is known how many entries lie before it.  So both directions are the same merge,
** of the entries after the gap in each source, or of those before it.
**
** AT A SNAPSHOT.  What a source has of a key is the place of its first record.  One at or past the
** snapshot did not exist then and is passed over.  For the others the record that is the newest at
** the snapshot is looked for as a get does it: it is the first one itself where nothing superseded
** that, else the index leads to it.  The runs are taken after the snapshot; that they may cover
** more of the log is no harm.
**
** ENTRIES ON.  After next or prev the cursor stands on an entry, which lies beside the gap on the
** side that it came from: who turns round has to pass over it first.
**
** WHAT WAITS FOR MEMORY.  Records lie anywhere, so those of the entries ahead are asked for some
** time before they are read.
*/
#include "calls/handle.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "index/find.h"
#include "index/lookup.h"
#include "order/node.h"
#include "order/run.h"
#include "order/tail.h"

enum { AHEAD = 16 };
enum { UP = 1, DOWN = -1 };

typedef struct source {
  run r;
  node n;          /* the leaf that the gap is in */
  run_place place; /* of the gap */
  uint64_t least;  /* entries before this place in the log are in another source too */
  item it;         /* the entry beside the gap, in the direction of the heap */
} source;

struct maph_range_cursor {
  uint32_t magic;
  maph_snapshot *snapshot;
  gap low, high;         /* data NULL: none */
  uint8_t *keys;         /* of the two */
  uint64_t limit, place; /* entries up to and with the one that the cursor stands on */
  int forward;           /* the direction of the range */
  int on;                /* the direction in which the entry was found that it stands on; 0: none */
  run_list *runs;
  cover *tail, *own;
  int heading;     /* which heads the heap has; 0: none */
  size_t heads;    /* in the heap */
  size_t *heap;    /* numbers of sources, the next key first */
  maph_slice last; /* key passed last in the direction of the heap */
  size_t count;
  source source[];
};

/* --------------------------------------------------------------------------------------- bounds */

static int gap_is_above(const gap *a, const gap *b) {
  int c = key_compare(a->key.data, a->key.size, b->key.data, b->key.size);
  return c ? c > 0 : a->after > b->after;
}

static void raise_low(maph_range_cursor *c, gap g) {
  if (c->low.key.data == NULL || gap_is_above(&g, &c->low)) c->low = g;
}

static void lower_high(maph_range_cursor *c, gap g) {
  if (c->high.key.data == NULL || gap_is_above(&c->high, &g)) c->high = g;
}

static maph_slice copy_key(uint8_t **at, maph_slice key) {
  maph_slice copy = maph_bytes(*at, key.size);
  if (key.size) memcpy(*at, key.data, key.size);
  *at += key.size;
  return copy;
}

/* The keys that begin with it: from itself to before the first that is above all of them. */
static void set_prefix(maph_range_cursor *c, uint8_t **at, maph_slice prefix) {
  maph_slice past;
  uint8_t *last;
  raise_low(c, (gap){ copy_key(at, prefix), 0 });
  past = copy_key(at, prefix);
  while (past.size > 0 && ((const uint8_t *)past.data)[past.size - 1] == 0xFF) past.size--;
  if (past.size == 0) return;
  last = (uint8_t *)(uintptr_t)past.data + past.size - 1;
  ++*last;
  lower_high(c, (gap){ past, 0 });
}

static int set_bounds(maph_range_cursor *c, const maph_range *r) {
  uint8_t *at;
  c->keys = at = os_alloc(r->from.size + r->to.size + 2 * r->prefix.size + 1);
  if (at == NULL) return MAPH_NOMEM;
  if (r->from.data)
    raise_low(c, (gap){ copy_key(&at, r->from), (r->flags & MAPH_RANGE_AFTER_FROM) != 0 });
  if (r->to.data) lower_high(c, (gap){ copy_key(&at, r->to), (r->flags & MAPH_RANGE_UP_TO) != 0 });
  if (r->prefix.size) set_prefix(c, &at, r->prefix);
  c->limit = r->limit;
  c->forward = r->flags & MAPH_RANGE_REVERSE ? DOWN : UP;
  return MAPH_OK;
}

static int is_inside(const maph_range_cursor *c, const item *it) {
  if (c->low.key.data && gap_compare(it->key, it->key_size, &c->low) < 0) return 0;
  return c->high.key.data == NULL || gap_compare(it->key, it->key_size, &c->high) < 0;
}

/* ------------------------------------------------------------------------------------ the merge */

/* Ask for the records of the entries that follow. */
static void ask_for(const view *v, const source *s, int direction, uint64_t first, uint64_t last) {
  uint64_t i, left = direction == UP ? s->n.entries - s->place.at : s->place.at;
  for (i = first; i < last && i < left; i++) {
    uint64_t at = direction == UP ? s->place.at + i : s->place.at - 1 - i;
    const uint8_t *p = v->base + node_offset(&s->n, at);
    __builtin_prefetch(p);
    __builtin_prefetch(p + 64);
  }
}

/* The gap is at the end of a leaf: on to the next one.  NOTFOUND: there is none */
static int next_leaf(const view *v, source *s, int direction) {
  int rc;
  if (direction == UP ? s->place.leaf + 1 >= s->r.leaves : s->place.leaf == 0) return MAPH_NOTFOUND;
  rc = run_leaf(v, &s->r, s->place.leaf + (uint64_t)(int64_t)direction, &s->n);
  if (rc != MAPH_OK) return rc;
  s->place.leaf += (uint64_t)(int64_t)direction;
  s->place.at = direction == UP ? 0 : s->n.entries;
  ask_for(v, s, direction, 0, AHEAD);
  return MAPH_OK;
}

/* The entry beside the gap, past those that the snapshot does not have: it is s->it.  NOTFOUND */
static int load_head(maph_range_cursor *c, const view *v, source *s) {
  int rc = MAPH_OK;
  while (rc == MAPH_OK) {
    uint64_t i, offset;
    if (c->heading == UP ? s->place.at == s->n.entries : s->place.at == 0) {
      rc = next_leaf(v, s, c->heading);
      continue;
    }
    i = c->heading == UP ? s->place.at : s->place.at - 1;
    offset = node_offset(&s->n, i);
    if (likely(offset >= s->least && offset < v->snapshot)) return node_item(v, &s->n, i, &s->it);
    if (s->r.payload) rc = node_item(v, &s->n, i, &s->it); /* it may be newer, but not anything */
    s->place.at += (uint64_t)(int64_t)c->heading;
  }
  return rc;
}

/* Does the key of source a come before that of b, in the direction of the heap? */
static int comes_first(const maph_range_cursor *c, size_t a, size_t b) {
  const item *x = &c->source[a].it, *y = &c->source[b].it;
  return key_compare(x->key, x->key_size, y->key, y->key_size) * c->heading < 0;
}

static void sift_down(maph_range_cursor *c, size_t i) {
  size_t one = c->heap[i];
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= c->heads) break;
    if (child + 1 < c->heads && comes_first(c, c->heap[child + 1], c->heap[child])) child++;
    if (!comes_first(c, c->heap[child], one)) break;
    c->heap[i] = c->heap[child];
    i = child;
  }
  c->heap[i] = one;
}

/* Heads in this direction. */
static int turn(maph_range_cursor *c, const view *v, int direction) {
  size_t i;
  c->heading = direction;
  c->heads = 0;
  c->last = maph_bytes(NULL, 0);
  for (i = 0; i < c->count; i++) {
    int rc;
    ask_for(v, &c->source[i], direction, 0, c->limit ? MIN(c->limit, (uint64_t)AHEAD) : AHEAD);
    rc = load_head(c, v, &c->source[i]);
    if (rc == MAPH_NOTFOUND) continue;
    if (rc != MAPH_OK) return rc;
    c->heap[c->heads++] = i;
  }
  for (i = c->heads / 2; i-- > 0;) sift_down(c, i);
  return MAPH_OK;
}

/* Each key is beyond the one before: else what said so was no order. */
static int is_beyond_last(const maph_range_cursor *c, const item *it) {
  if (c->last.data == NULL) return 1;
  return key_compare(it->key, it->key_size, c->last.data, c->last.size) * c->heading > 0;
}

/* The gap moves past the entry beside it, which is *it.  NOTFOUND: there is none in the range. */
static int step(maph_range_cursor *c, const view *v, int direction, item *it) {
  source *s;
  int rc = c->heading == direction ? MAPH_OK : turn(c, v, direction);
  if (rc != MAPH_OK) {
    c->heading = 0;
    return rc;
  }
  if (c->heads == 0) return MAPH_NOTFOUND;
  s = &c->source[c->heap[0]];
  if (!is_inside(c, &s->it)) return MAPH_NOTFOUND;
  *it = s->it;
  if (unlikely(!is_beyond_last(c, it)))
    return fail_corrupt(v->s->path, it->offset,
                        "the order of keys is none here: compact the store, which makes it anew");
  c->last = maph_bytes(it->key, it->key_size);
  s->place.at += (uint64_t)(int64_t)direction;
  ask_for(v, s, direction, AHEAD - 1, AHEAD);
  rc = load_head(c, v, s);
  if (rc == MAPH_NOTFOUND) {
    c->heap[0] = c->heap[--c->heads];
    rc = MAPH_OK;
  }
  if (rc != MAPH_OK)
    c->heading = 0;
  else if (c->heads > 1)
    sift_down(c, 0);
  return rc;
}

/* To a gap, between the bounds. */
static int go_to(maph_range_cursor *c, const view *v, const gap *g) {
  size_t i;
  int rc = MAPH_OK;
  if (c->low.key.data && gap_is_above(&c->low, g)) g = &c->low;
  if (c->high.key.data && gap_is_above(g, &c->high)) g = &c->high;
  for (i = 0; rc == MAPH_OK && i < c->count; i++)
    rc = run_search(v, &c->source[i].r, g, &c->source[i].place, &c->source[i].n);
  c->heading = c->on = 0;
  c->place = 0;
  return rc;
}

static int go_to_start(maph_range_cursor *c, const view *v) {
  const gap *g = c->forward == UP ? &c->low : &c->high;
  size_t i;
  int rc = MAPH_OK;
  if (g->key.data) return go_to(c, v, g);
  for (i = 0; rc == MAPH_OK && i < c->count; i++) {
    source *s = &c->source[i];
    s->place.leaf = c->forward == UP ? 0 : s->r.leaves - 1;
    rc = run_leaf(v, &s->r, s->place.leaf, &s->n);
    s->place.at = c->forward == UP ? 0 : s->n.entries;
  }
  return rc;
}

/* -------------------------------------------------------------------------------------- opening */

static void add_source(maph_range_cursor *c, run r, uint64_t least) {
  c->source[c->count].r = r;
  c->source[c->count++].least = least;
}

/* The new keys of the log as the snapshot has it, and of the transaction that it shows. */
static int take_sources(maph_snapshot *x, maph_range_cursor *has) {
  struct maph_txn *t = x->within;
  int within = t != NULL && x->snapshot > t->txn.start;
  view v;
  int rc = view_at(x->s, within ? t->txn.start : x->snapshot, &v);
  if (rc == MAPH_OK) rc = runs_take(&v, x->version, &has->runs);
  if (rc == MAPH_OK) rc = tail_take(&v, MIN(has->runs->to, v.snapshot), &has->tail);
  if (rc != MAPH_OK || !within) return rc;
  v.snapshot = x->snapshot;
  return tail_take_alone(&v, t->txn.start, &has->own);
}

static void let_sources_go(maph_range_cursor *c) {
  runs_let_go(c->runs);
  tail_let_go(c->tail);
  tail_let_go(c->own);
}

static void add_sources(maph_range_cursor *c) {
  size_t i;
  for (i = 0; i < c->runs->count; i++) add_source(c, c->runs->run[i], LOG_START);
  for (i = 0; i < c->tail->count; i++)
    add_source(c, run_in_memory(tail_node(c->tail, i)), c->runs->to);
  for (i = 0; c->own && i < c->own->count; i++)
    add_source(c, run_in_memory(tail_node(c->own, i)), LOG_START);
}

static int open_at(maph_snapshot *x, const maph_range *range, maph_range_cursor **cursor) {
  maph_range_cursor has = { 0 }, *c = NULL;
  size_t count;
  view v;
  int rc = take_sources(x, &has);
  if (rc == MAPH_OK) {
    count = has.runs->count + has.tail->count + (has.own ? has.own->count : 0);
    c = os_alloc(sizeof *c + count * (sizeof *c->source + sizeof *c->heap));
    if (c == NULL) rc = MAPH_NOMEM;
  }
  if (rc != MAPH_OK) {
    let_sources_go(&has);
    return rc;
  }
  *c = has;
  c->magic = RANGE_MAGIC;
  c->heap = (size_t *)(void *)&c->source[count];
  add_sources(c);
  c->snapshot = x;
  handle_count_read(x->handle, 1);
  snapshot_hold(x);
  rc = set_bounds(c, range);
  if (rc == MAPH_OK) rc = view_at(x->s, x->snapshot, &v);
  if (rc == MAPH_OK) rc = go_to_start(c, &v);
  if (rc != MAPH_OK) {
    maph_range_close(c);
    c = NULL;
  }
  *cursor = c;
  return rc;
}

static int rolled_back(const maph_snapshot *x) {
  return fail(MAPH_CONFLICT, "%s: the transaction that this snapshot shows was rolled back",
              x->s->path);
}

static int check_range(const maph_range *given, maph_range *range) {
  *range = (maph_range)MAPH_RANGE_INIT;
  if (given == NULL) return MAPH_OK;
  if (given->size < offsetof(maph_range, to) || given->size > sizeof *range)
    return fail(MAPH_MISUSE, "maph_range.size is %zu: begin with MAPH_RANGE_INIT", given->size);
  memcpy(range, given, given->size);
  if ((range->from.size && !range->from.data) || (range->to.size && !range->to.data)
      || (range->prefix.size && !range->prefix.data))
    return fail(MAPH_MISUSE, "maph_range_open: a bound or a prefix of some bytes at NULL");
  if (range->flags & ~(MAPH_RANGE_AFTER_FROM | MAPH_RANGE_UP_TO | MAPH_RANGE_REVERSE))
    return fail(MAPH_MISUSE, "maph_range.flags is %d: use MAPH_RANGE_*", range->flags);
  return MAPH_OK;
}

int maph_range_open(maph *m, maph_snapshot *snapshot, const maph_range *given,
                    maph_range_cursor **cursor) {
  int rc, owned = snapshot == NULL;
  maph_range range;
  if (cursor == NULL) return fail(MAPH_MISUSE, "maph_range_open: no place for the cursor");
  *cursor = NULL;
  rc = check_range(given, &range);
  if (rc != MAPH_OK) return rc;
  if (owned)
    rc = maph_snapshot_open(m, &snapshot);
  else
    rc = snapshot_readable(snapshot);
  if (rc == MAPH_OK && snapshot->rolled_back) rc = rolled_back(snapshot);
  if (rc != MAPH_OK) return rc;
  rc = open_at(snapshot, &range, cursor);
  if (owned) maph_snapshot_close(snapshot);
  return rc;
}

void maph_range_close(maph_range_cursor *c) {
  if (c == NULL || c->magic != RANGE_MAGIC) return;
  c->magic = 0;
  if (c->snapshot->fork_count != handle_forks()) return;
  handle_count_read(c->snapshot->handle, -1);
  snapshot_let_go(c->snapshot);
  let_sources_go(c);
  os_free(c->keys);
  os_free(c);
}

/* -------------------------------------------------------------------------------------- reading */

static int check(const maph_range_cursor *c, view *v) {
  if (c == NULL || c->magic != RANGE_MAGIC)
    return fail(MAPH_MISUSE, "this cursor over a range is closed, or never was open");
  if (c->snapshot->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a cursor does not cross fork()", c->snapshot->s->path);
  if (c->snapshot->rolled_back) return rolled_back(c->snapshot);
  return view_at(c->snapshot->s, c->snapshot->snapshot, v);
}

/* From a key's first record to the one that is the newest at the snapshot.  NOTFOUND: the key is
** deleted or expired there. */
static int resolve(const maph_range_cursor *c, const view *v, const item *first, item *it) {
  maph_snapshot *x = c->snapshot;
  maph_slice key = maph_bytes(first->key, first->key_size);
  int rc = MAPH_OK, verify = x->handle->options.verify;
  if (x->within) {
    rc = txn_find(&x->within->txn, x->snapshot, key, it);
  } else if (likely(record_newest(v, first->offset))) {
    *it = *first;
  } else {
    return view_find(v, key, x->now, verify, it);
  }
  if (rc == MAPH_OK && (it->kind != KIND_PUT || item_expired(it, x->now))) rc = MAPH_NOTFOUND;
  return rc == MAPH_OK && verify ? record_verify(v, it->offset, it->size) : rc;
}

/* To the next live entry in that direction. */
static int advance(maph_range_cursor *c, const view *v, int direction, maph_entry *entry) {
  item first, it;
  int rc = MAPH_OK;
  if (c->on == -direction) rc = step(c, v, direction, &first);
  c->on = 0;
  while (rc == MAPH_OK) {
    rc = step(c, v, direction, &first);
    if (rc != MAPH_OK) break;
    rc = resolve(c, v, &first, &it);
    if (rc == MAPH_OK) {
      c->on = direction;
      record_entry(&it, entry);
      return MAPH_OK;
    }
    if (rc == MAPH_NOTFOUND) rc = MAPH_OK;
  }
  return rc;
}

/* The end that the limit makes: past the entry that the cursor stands on. */
static int leave_last(maph_range_cursor *c, const view *v) {
  item passed;
  int rc = c->on == -c->forward ? step(c, v, c->forward, &passed) : MAPH_OK;
  c->on = 0;
  return rc == MAPH_OK ? MAPH_NOTFOUND : rc;
}

int maph_range_next(maph_range_cursor *c, maph_entry *entry) {
  view v;
  int rc = check(c, &v);
  if (rc == MAPH_OK && entry == NULL)
    rc = fail(MAPH_MISUSE, "maph_range_next: no place for the entry");
  if (rc != MAPH_OK) return rc;
  rc = c->limit && c->place >= c->limit ? leave_last(c, &v) : advance(c, &v, c->forward, entry);
  if (rc == MAPH_OK) c->place++;
  if (rc != MAPH_OK) memset(entry, 0, sizeof *entry);
  return rc;
}

int maph_range_prev(maph_range_cursor *c, maph_entry *entry) {
  view v;
  int rc = check(c, &v);
  if (rc == MAPH_OK && entry == NULL)
    rc = fail(MAPH_MISUSE, "maph_range_prev: no place for the entry");
  if (rc != MAPH_OK) return rc;
  if (c->on && c->place > 0) c->place--;
  rc = advance(c, &v, -c->forward, entry);
  if (rc == MAPH_NOTFOUND) c->place = 0;
  if (rc != MAPH_OK) memset(entry, 0, sizeof *entry);
  return rc;
}

int maph_range_seek(maph_range_cursor *c, maph_slice key) {
  view v;
  gap g;
  int rc = check(c, &v);
  if (rc == MAPH_OK && key.size > 0 && key.data == NULL)
    rc = fail(MAPH_MISUSE, "maph_range_seek: a key of some bytes at NULL");
  if (rc != MAPH_OK) return rc;
  g.key = maph_bytes(key.data ? key.data : "", key.size);
  g.after = c->forward == DOWN;
  return go_to(c, &v, &g);
}

/* Entries of one source before that bound. */
static int before_bound(const view *v, const run *r, const gap *g, uint64_t none, uint64_t *n) {
  run_place p;
  node leaf;
  int rc;
  *n = none;
  if (g->key.data == NULL) return MAPH_OK;
  rc = run_search(v, r, g, &p, &leaf);
  if (rc == MAPH_OK) *n = run_before(r, &p);
  return rc;
}

uint64_t maph_range_estimate(maph_range_cursor *c) {
  uint64_t n = 0, low, high;
  size_t i;
  view v;
  if (check(c, &v) != MAPH_OK) return 0;
  for (i = 0; i < c->count; i++) {
    const run *r = &c->source[i].r;
    if (before_bound(&v, r, &c->low, 0, &low) != MAPH_OK
        || before_bound(&v, r, &c->high, r->keys, &high) != MAPH_OK)
      return 0;
    if (high > low) n += high - low;
  }
  return n;
}
