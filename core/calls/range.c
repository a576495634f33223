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
** side that it came from: whoever turns round has to pass over it first.
**
** CLOSED CURSORS.  One of a handle's rests, with the sources that it had and a snapshot of its own,
** until the next is opened.  Where nothing was committed and no list written since, that one has
** nothing to look up, to count or to allocate.
**
** WHAT WAITS FOR MEMORY.  All sources are searched together, in three parts (node.h).  Records lie
** anywhere, so those of the entries ahead are asked for before they are read, many at a time
** (node_bring), of each source its share.  And the entry after one that is returned is read by the
** next call, if there is one.
*/
#include "calls/handle.h"
#include "calls/registry.h"
#include "calls/snapshot.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "index/find.h"
#include "index/lookup.h"
#include "order/node.h"
#include "order/run.h"
#include "order/tail.h"
#include "order/types.h"

/* records asked for together: at first, and later */
enum { AHEAD_FIRST = 16, AHEAD = 32 };
enum { UP = 1, DOWN = -1 };
enum { NEAR = 64 }; /* bytes of bounds that need no allocation */

typedef struct source {
  run run;
  node node;       /* the leaf that the gap is in */
  run_place place; /* of the gap */
  uint64_t least;  /* entries before this place in the log are in another source too */
  uint64_t asked;  /* so many entries after the gap, in the direction of the heap, are asked for */
  double share;    /* of all sources' keys */
  uint64_t offset; /* of the entry beside the gap, in the direction of the heap: its record */
  maph_slice key;  /* its key */
} source;

struct maph_range_cursor {
  resting resting;      /* its store is pinned */
  maph_snapshot itself; /* where none was given */
  uint32_t magic;
  maph_snapshot *snapshot;
  gap low, high; /* data NULL: none */
  uint8_t *keys; /* of the two: `near`, or allocated */
  uint8_t near[NEAR];
  uint64_t limit, place; /* entries up to and with the one that the cursor stands on */
  int forward;           /* the direction of the range */
  int on;                /* the direction in which the entry was found that it stands on; 0: none */
  run_list *runs;
  cover *tail, *own;
  view view;       /* of the snapshot */
  int plain;       /* it shows no transaction's records, and checksums are not asked for */
  int heading;     /* which heads the heap has; 0: none */
  int asking;      /* the direction in which the sources asked for records */
  int passed;      /* the gap moved past the first head, and the one after it is not loaded */
  size_t heads;    /* in the heap */
  size_t *heap;    /* numbers of sources, the next key first */
  maph_slice last; /* key passed last in the direction of the heap */
  size_t count;
  source source[];
};

/* --------------------------------------------------------------------------------------- bounds */

static int gap_is_above(const gap *gap, const struct gap *b) {
  int c = key_compare(gap->key.data, gap->key.size, b->key.data, b->key.size);
  return c ? c > 0 : gap->after > b->after;
}

static void raise_low(maph_range_cursor *cursor, gap gap) {
  if (cursor->low.key.data == NULL || gap_is_above(&gap, &cursor->low)) cursor->low = gap;
}

static void lower_high(maph_range_cursor *cursor, gap gap) {
  if (cursor->high.key.data == NULL || gap_is_above(&cursor->high, &gap)) cursor->high = gap;
}

static maph_slice copy_key(uint8_t **at, maph_slice key) {
  maph_slice copy = maph_bytes(*at, key.size);
  if (key.size) memcpy(*at, key.data, key.size);
  *at += key.size;
  return copy;
}

/* The keys that begin with it: from itself to before the first that is above all of them. */
static void set_prefix(maph_range_cursor *cursor, uint8_t **at, maph_slice prefix) {
  maph_slice past;
  uint8_t *last;
  raise_low(cursor, (gap){ copy_key(at, prefix), 0 });
  past = copy_key(at, prefix);
  while (past.size > 0 && ((const uint8_t *)past.data)[past.size - 1] == 0xFF) past.size--;
  if (past.size == 0) return;
  last = (uint8_t *)(uintptr_t)past.data + past.size - 1;
  ++*last;
  lower_high(cursor, (gap){ past, 0 });
}

static int set_bounds(maph_range_cursor *cursor, const maph_range *range) {
  uint64_t size = range->from.size + range->to.size + 2 * range->prefix.size;
  uint8_t *at;
  cursor->low.key.data = cursor->high.key.data = NULL;
  cursor->keys = at = size <= NEAR ? cursor->near : os_alloc(size);
  if (at == NULL) return MAPH_NOMEM;
  if (range->from.data)
    raise_low(cursor,
              (gap){ copy_key(&at, range->from), (range->flags & MAPH_RANGE_AFTER_FROM) != 0 });
  if (range->to.data)
    lower_high(cursor, (gap){ copy_key(&at, range->to), (range->flags & MAPH_RANGE_UP_TO) != 0 });
  if (range->prefix.size) set_prefix(cursor, &at, range->prefix);
  cursor->limit = range->limit;
  cursor->forward = range->flags & MAPH_RANGE_REVERSE ? DOWN : UP;
  return MAPH_OK;
}

static inline int is_above_low(const maph_range_cursor *cursor, maph_slice key) {
  return cursor->low.key.data == NULL || gap_compare(key.data, key.size, &cursor->low) > 0;
}

static inline int is_below_high(const maph_range_cursor *cursor, maph_slice key) {
  return cursor->high.key.data == NULL || gap_compare(key.data, key.size, &cursor->high) < 0;
}

/* A key that comes after one that is inside can only be past the bound ahead. */
static inline __attribute__((always_inline)) int is_inside(const maph_range_cursor *cursor,
                                                           maph_slice key) {
  if (likely(cursor->last.data != NULL))
    return cursor->heading == UP ? is_below_high(cursor, key) : is_above_low(cursor, key);
  return is_above_low(cursor, key) && is_below_high(cursor, key);
}

/* ------------------------------------------------------------------------------------ the merge */

static uint64_t entries_ahead(const source *source, int direction) {
  return direction == UP ? source->node.entries - source->place.at : source->place.at;
}

/* How many of the next n entries of the range will come from this source, about, and the one after
** these, which is compared with others. */
static uint64_t share_of(const maph_range_cursor *cursor, const source *source, uint64_t n) {
  return cursor->count == 1 ? n : (uint64_t)((double)n * source->share) + 1;
}

/* Ask for the records of the next so many entries of this leaf, if the range may have them. */
static void ask_for(const maph_range_cursor *cursor, source *source, int direction,
                    uint64_t until) {
  uint64_t at = source->place.at, asked = source->asked;
  if (cursor->limit)
    until = MIN(until, share_of(cursor, source, cursor->limit - MIN(cursor->place, cursor->limit)));
  until = MIN(until, entries_ahead(source, direction));
  if (until <= asked) return;
  if (direction == UP)
    node_bring(&cursor->view, &source->node, at + asked, at + until);
  else
    node_bring(&cursor->view, &source->node, at - until, at - asked);
  source->asked = until;
}

/* The gap is at the end of a leaf: on to the next one.  NOTFOUND: there is none */
static int next_leaf(const maph_range_cursor *cursor, source *source, int direction) {
  uint64_t next = source->place.leaf + (uint64_t)(int64_t)direction;
  int rc;
  if (direction == UP ? source->place.leaf + 1 >= source->run.leaves : source->place.leaf == 0)
    return MAPH_NOTFOUND;
  run_bring_leaf(&cursor->view, &source->run, next);
  rc = run_leaf(&cursor->view, &source->run, next, &source->node);
  if (rc != MAPH_OK) return rc;
  source->place.leaf = next;
  source->place.at = direction == UP ? 0 : source->node.entries;
  source->asked = 0;
  return MAPH_OK;
}

/* The gap moves past the entry beside it. */
static inline void move_gap(source *source, int direction) {
  source->place.at += (uint64_t)(int64_t)direction;
  source->asked -= source->asked > 0;
}

/* The entry beside the gap, past those that the snapshot does not have.  NOTFOUND */
static inline __attribute__((always_inline)) int load_head(maph_range_cursor *cursor,
                                                           source *source) {
  const view *view = &cursor->view;
  int rc = MAPH_OK, direction = cursor->heading;
  while (rc == MAPH_OK) {
    uint64_t i;
    if (entries_ahead(source, direction) == 0) {
      rc = next_leaf(cursor, source, direction);
      continue;
    }
    if (source->asked == 0) ask_for(cursor, source, direction, AHEAD);
    i = direction == UP ? source->place.at : source->place.at - 1;
    source->offset = node_offset(&source->node, i);
    if (likely(source->offset >= source->least && source->offset < view->snapshot))
      return node_key(view, &source->node, i, &source->key);
    if (source->run.payload)
      rc = node_key(view, &source->node, i, &source->key); /* it may be newer, but not anything */
    move_gap(source, direction);
  }
  return rc;
}

/* Does the key of source a come before that of b, in the direction of the heap? */
static int comes_first(const maph_range_cursor *cursor, size_t a, size_t b) {
  maph_slice key = cursor->source[a].key, other = cursor->source[b].key;
  return key_compare(key.data, key.size, other.data, other.size) * cursor->heading < 0;
}

static void sift_down(maph_range_cursor *cursor, size_t i) {
  size_t one = cursor->heap[i];
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= cursor->heads) break;
    if (child + 1 < cursor->heads
        && comes_first(cursor, cursor->heap[child + 1], cursor->heap[child]))
      child++;
    if (!comes_first(cursor, cursor->heap[child], one)) break;
    cursor->heap[i] = cursor->heap[child];
    i = child;
  }
  cursor->heap[i] = one;
}

/* Heads in this direction. */
static int turn(maph_range_cursor *cursor, int direction) {
  size_t i;
  cursor->heading = direction;
  cursor->passed = 0;
  cursor->heads = 0;
  cursor->last = maph_bytes(NULL, 0);
  for (i = 0; i < cursor->count; i++) {
    if (cursor->asking != direction) cursor->source[i].asked = 0;
    ask_for(cursor, &cursor->source[i], direction,
            share_of(cursor, &cursor->source[i], AHEAD_FIRST));
  }
  cursor->asking = direction;
  for (i = 0; i < cursor->count; i++) {
    int rc = load_head(cursor, &cursor->source[i]);
    if (rc == MAPH_NOTFOUND) continue;
    if (rc != MAPH_OK) return rc;
    cursor->heap[cursor->heads++] = i;
  }
  for (i = cursor->heads / 2; i-- > 0;) sift_down(cursor, i);
  return MAPH_OK;
}

/* The next head of the source whose head was passed. */
static inline int replace_head(maph_range_cursor *cursor) {
  int rc = load_head(cursor, &cursor->source[cursor->heap[0]]);
  cursor->passed = 0;
  if (rc == MAPH_NOTFOUND) {
    cursor->heap[0] = cursor->heap[--cursor->heads];
    rc = MAPH_OK;
  }
  if (rc == MAPH_OK && cursor->heads > 1) sift_down(cursor, 0);
  return rc;
}

/* Each key is beyond the one before: else what said so was no order. */
static inline int is_beyond_last(const maph_range_cursor *cursor, maph_slice key) {
  if (cursor->last.data == NULL) return 1;
  return key_compare(key.data, key.size, cursor->last.data, cursor->last.size) * cursor->heading
         > 0;
}

static int no_order(const maph_range_cursor *cursor, uint64_t offset) {
  return fail_corrupt(cursor->view.store->path, offset,
                      "the order of keys is none here: compact the store, which makes it anew");
}

/* The gap moves past the entry beside it: its first record lies at *offset, and its key is the
** last one.  NOTFOUND: there is none in the range. */
static inline __attribute__((always_inline)) int step(maph_range_cursor *cursor, int direction,
                                                      uint64_t *offset) {
  source *source;
  int rc = MAPH_OK;
  if (unlikely(cursor->heading != direction))
    rc = turn(cursor, direction);
  else if (likely(cursor->passed))
    rc = replace_head(cursor);
  if (unlikely(rc != MAPH_OK)) {
    cursor->heading = 0;
    return rc;
  }
  if (cursor->heads == 0) return MAPH_NOTFOUND;
  source = &cursor->source[cursor->heap[0]];
  if (!is_inside(cursor, source->key)) return MAPH_NOTFOUND;
  if (unlikely(!is_beyond_last(cursor, source->key))) return no_order(cursor, source->offset);
  *offset = source->offset;
  cursor->last = source->key;
  move_gap(source, direction);
  cursor->passed = 1;
  return MAPH_OK;
}

/* To a gap, between the bounds.  The entries on the range's side of it will be read. */
static int go_to(maph_range_cursor *cursor, const gap *gap) {
  uint64_t first = AHEAD_FIRST;
  size_t i;
  int rc = MAPH_OK;
  if (cursor->low.key.data && gap_is_above(&cursor->low, gap)) gap = &cursor->low;
  if (cursor->high.key.data && gap_is_above(gap, &cursor->high)) gap = &cursor->high;
  if (cursor->limit) first = MIN(first, cursor->limit);
  for (i = 0; rc == MAPH_OK && i < cursor->count; i++) {
    source *source = &cursor->source[i];
    rc = run_near(&cursor->view, &source->run, gap, &source->place, &source->node);
  }
  for (i = 0; rc == MAPH_OK && i < cursor->count; i++) {
    source *source = &cursor->source[i];
    source->asked = share_of(cursor, source, first);
    run_aim(&cursor->view, gap, (int)source->asked * cursor->forward, &source->place,
            &source->node);
  }
  for (i = 0; rc == MAPH_OK && i < cursor->count; i++) {
    source *source = &cursor->source[i];
    rc = run_settle(&cursor->view, &source->run, gap, (int)source->asked * cursor->forward,
                    &source->place, &source->node);
    source->asked = MIN(source->asked, entries_ahead(source, cursor->forward));
  }
  runs_count_search(cursor->runs, cursor->view.store);
  cursor->heading = cursor->on = 0;
  cursor->asking = cursor->forward;
  cursor->place = 0;
  return rc;
}

static int go_to_start(maph_range_cursor *cursor) {
  const gap *gap = cursor->forward == UP ? &cursor->low : &cursor->high;
  size_t i;
  int rc = MAPH_OK;
  if (gap->key.data) return go_to(cursor, gap);
  cursor->heading = cursor->on = cursor->asking = 0;
  cursor->place = 0;
  for (i = 0; rc == MAPH_OK && i < cursor->count; i++) {
    source *source = &cursor->source[i];
    source->place.leaf = cursor->forward == UP ? 0 : source->run.leaves - 1;
    rc = run_leaf(&cursor->view, &source->run, source->place.leaf, &source->node);
    source->place.at = cursor->forward == UP ? 0 : source->node.entries;
  }
  return rc;
}

/* -------------------------------------------------------------------------------------- opening */

static void add_source(maph_range_cursor *cursor, run run, uint64_t least) {
  cursor->source[cursor->count].run = run;
  cursor->source[cursor->count++].least = least;
}

/* The new keys of the log as the snapshot has it, and of the transaction that it shows. */
static int take_sources(maph_snapshot *snapshot, maph_range_cursor *has) {
  struct maph_txn *txn = snapshot->within;
  int within = txn != NULL && snapshot->snapshot > txn->txn.start;
  view view;
  int rc = view_at(snapshot->store, within ? txn->txn.start : snapshot->snapshot, &view);
  if (rc == MAPH_OK) rc = runs_take(&view, snapshot->version, &has->runs);
  if (rc == MAPH_OK) rc = tail_take(&view, MIN(has->runs->to, view.snapshot), &has->tail);
  if (rc != MAPH_OK || !within) return rc;
  view.snapshot = snapshot->snapshot;
  return tail_take_alone(&view, txn->txn.start, &has->own);
}

static void let_sources_go(maph_range_cursor *cursor) {
  runs_let_go(cursor->runs);
  tail_let_go(cursor->tail);
  tail_let_go(cursor->own);
}

static void add_sources(maph_range_cursor *cursor) {
  uint64_t keys = 0;
  size_t i;
  for (i = 0; i < cursor->runs->count; i++) add_source(cursor, cursor->runs->run[i], LOG_START);
  for (i = 0; i < cursor->tail->count; i++)
    add_source(cursor, run_in_memory(tail_node(cursor->tail, i)), cursor->runs->to);
  for (i = 0; cursor->own && i < cursor->own->count; i++)
    add_source(cursor, run_in_memory(tail_node(cursor->own, i)), LOG_START);
  for (i = 0; i < cursor->count; i++) keys += cursor->source[i].run.keys;
  for (i = 0; i < cursor->count; i++)
    cursor->source[i].share = (double)cursor->source[i].run.keys / (double)MAX(keys, UINT64_C(1));
}

static void let_rest_go(resting *resting) {
  maph_range_cursor *cursor = (maph_range_cursor *)resting;
  let_sources_go(cursor);
  store_unpin(resting->store);
  os_free(cursor);
}

/* One of the sources that the snapshot has. */
static int cursor_new(maph_snapshot *snapshot, maph_range_cursor **cursor) {
  maph_range_cursor has = { 0 }, *c = NULL;
  size_t count;
  int rc = take_sources(snapshot, &has);
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
  c->heap = (size_t *)(void *)&c->source[count];
  add_sources(c);
  c->resting = (resting){ let_rest_go, snapshot->store };
  store_pin(snapshot->store);
  *cursor = c;
  return MAPH_OK;
}

/* Has it what the snapshot would be given now? */
static int is_current(const maph_range_cursor *cursor, const maph_snapshot *snapshot) {
  return cursor->resting.store == snapshot->store && snapshot->within == NULL
         && cursor->tail->from <= MIN(cursor->runs->to, snapshot->snapshot)
         && cursor->tail->to >= snapshot->snapshot
         && runs_are_current(snapshot->store, snapshot->version, cursor->runs);
}

/* The cursor that rests, if the snapshot can use it; else a new one. */
static int cursor_take(maph_snapshot *snapshot, maph_range_cursor **cursor) {
  resting *resting = snapshot->within ? NULL : handle_wake(snapshot->handle);
  *cursor = (maph_range_cursor *)resting;
  if (resting && is_current(*cursor, snapshot)) return MAPH_OK;
  if (resting) let_rest_go(resting);
  *cursor = NULL;
  return cursor_new(snapshot, cursor);
}

static int open_at(maph_snapshot *snapshot, int owned, const maph_range *range,
                   maph_range_cursor **cursor) {
  maph_range_cursor *c;
  int rc = cursor_take(snapshot, &c);
  if (rc != MAPH_OK) return rc;
  c->magic = RANGE_MAGIC;
  c->snapshot = snapshot;
  if (owned) {
    c->itself = *snapshot;
    c->snapshot = &c->itself;
  } else {
    snapshot_hold(snapshot);
  }
  c->plain = snapshot->within == NULL && !snapshot->handle->options.verify;
  handle_count_read(snapshot->handle, 1);
  rc = set_bounds(c, range);
  if (rc == MAPH_OK) rc = view_at(snapshot->store, snapshot->snapshot, &c->view);
  if (rc == MAPH_OK) rc = go_to_start(c);
  if (rc != MAPH_OK) {
    maph_range_close(c);
    c = NULL;
  }
  *cursor = c;
  return rc;
}

static int rolled_back(const maph_snapshot *snapshot) {
  return fail(MAPH_CONFLICT, "%s: the transaction that this snapshot shows was rolled back",
              snapshot->store->path);
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
  maph_snapshot now;
  maph_range range;
  if (cursor == NULL) return fail(MAPH_MISUSE, "maph_range_open: no place for the cursor");
  *cursor = NULL;
  rc = check_range(given, &range);
  if (rc != MAPH_OK) return rc;
  if (owned)
    rc = snapshot_take(m, snapshot = &now);
  else
    rc = snapshot_readable(snapshot);
  if (rc == MAPH_OK && snapshot->rolled_back) rc = rolled_back(snapshot);
  if (rc != MAPH_OK) return rc;
  rc = open_at(snapshot, owned, &range, cursor);
  return likely(rc == MAPH_OK) ? rc : error_name(rc, snapshot->store->path);
}

/* Of those before the transaction that it shows, and of that one's own. */
static int key_types(maph_snapshot *snapshot) {
  struct maph_txn *txn;
  int within, types = TYPES_ALL;
  view view;
  if (snapshot == NULL || snapshot_readable(snapshot) != MAPH_OK || snapshot->rolled_back)
    return types;
  txn = snapshot->within;
  within = txn != NULL && snapshot->snapshot > txn->txn.start;
  if (view_at(snapshot->store, within ? txn->txn.start : snapshot->snapshot, &view) != MAPH_OK)
    return types;
  types = types_take(&view, snapshot->version);
  if (!within || types == TYPES_ALL) return types;
  view.snapshot = snapshot->snapshot;
  return types | types_take_alone(&view, txn->txn.start);
}

int maph_snapshot_key_types(maph_snapshot *snapshot) {
  sentence before;
  int types;
  error_keep(&before);
  types = key_types(snapshot);
  error_put_back(&before);
  return types;
}

void maph_range_close(maph_range_cursor *cursor) {
  maph_snapshot *snapshot;
  maph *handle;
  int rests;
  if (cursor == NULL || cursor->magic != RANGE_MAGIC) return;
  snapshot = cursor->snapshot;
  cursor->magic = 0;
  if (snapshot->fork_count != handle_forks()) return;
  handle = snapshot->handle;
  rests = cursor->own == NULL;
  if (snapshot != &cursor->itself) snapshot_let_go(snapshot);
  if (cursor->keys != cursor->near) os_free(cursor->keys);
  if (rests)
    handle_rest(handle, &cursor->resting);
  else
    let_rest_go(&cursor->resting);
  handle_count_read(handle, -1);
}

/* -------------------------------------------------------------------------------------- reading */

static inline int check(const maph_range_cursor *cursor) {
  if (cursor == NULL || cursor->magic != RANGE_MAGIC)
    return fail(MAPH_MISUSE, "this cursor over a range is closed, or never was open");
  if (cursor->snapshot->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a cursor does not cross fork()", cursor->snapshot->store->path);
  return unlikely(cursor->snapshot->rolled_back) ? rolled_back(cursor->snapshot) : MAPH_OK;
}

/* The entry of the last key, whose first record lies there, at the snapshot.  NOTFOUND: it is
** deleted or expired there. */
static __attribute__((noinline)) int resolve(const maph_range_cursor *cursor, uint64_t first,
                                             maph_entry *entry) {
  maph_snapshot *snapshot = cursor->snapshot;
  const view *view = &cursor->view;
  item it;
  int rc, verify = snapshot->handle->options.verify;
  if (snapshot->within) {
    rc = txn_find(&snapshot->within->txn, snapshot->snapshot, cursor->last, &it);
  } else if (record_newest(view, first)) {
    rc = record_item(view, first, view->snapshot, &it);
  } else {
    rc = view_find(view, cursor->last, snapshot->now, verify, &it);
    verify = 0;
  }
  if (rc == MAPH_OK && (it.kind != KIND_PUT || item_expired(&it, snapshot->now)))
    rc = MAPH_NOTFOUND;
  if (rc == MAPH_OK && verify) rc = record_verify(view, it.offset, it.size);
  if (rc == MAPH_OK) record_entry(view->store, &it, entry);
  return rc;
}

/* The same where it is most simple: 0 where it is not. */
static inline int resolve_plain(const maph_range_cursor *cursor, uint64_t first, maph_slice key,
                                maph_entry *entry) {
  const view *view = &cursor->view;
  return cursor->plain && record_plain_entry(view, first, key, entry);
}

/* Entry i of a node, judged, where it is most simple: 0 where it is not.  Where a frozen record in
** the short form begins is looked up once. */
static inline int plain_entry(const maph_range_cursor *cursor, const node *node, uint64_t i,
                              uint64_t offset, maph_entry *entry) {
  const view *view = &cursor->view;
  maph_slice key = { 0 };
  if (is_short(view->store, offset))
    return likely(offset >= node->from && offset < node->to)
           && resolve_plain(cursor, offset, key, entry) && likely(node_agrees(node, i, entry->key));
  return likely(node_has_key(view, node, i, &key)) && resolve_plain(cursor, offset, key, entry);
}

static __attribute__((noinline)) int step_back_over(maph_range_cursor *cursor, int direction) {
  uint64_t passed;
  return step(cursor, direction, &passed);
}

/* To the next live entry in that direction. */
static inline int advance(maph_range_cursor *cursor, int direction, maph_entry *entry) {
  uint64_t first;
  int rc = MAPH_OK;
  if (unlikely(cursor->on == -direction)) rc = step_back_over(cursor, direction);
  cursor->on = 0;
  while (rc == MAPH_OK) {
    rc = step(cursor, direction, &first);
    if (rc != MAPH_OK) break;
    if (unlikely(!resolve_plain(cursor, first, cursor->last, entry)))
      rc = resolve(cursor, first, entry);
    if (likely(rc == MAPH_OK)) {
      cursor->on = direction;
      return MAPH_OK;
    }
    if (rc == MAPH_NOTFOUND) rc = MAPH_OK;
  }
  return rc;
}

/* The end that the limit makes: past the entry that the cursor stands on. */
static int leave_last(maph_range_cursor *cursor) {
  int rc = cursor->on == -cursor->forward ? step_back_over(cursor, cursor->forward) : MAPH_OK;
  cursor->on = 0;
  return rc == MAPH_OK ? MAPH_NOTFOUND : rc;
}

/* The same in the direction of the range, where one source alone has entries left, and the next of
** them is asked for and most simple: 0 where it is not so, and nothing was done. */
static inline int next_quickly(maph_range_cursor *cursor, maph_entry *entry) {
  const view *view = &cursor->view;
  source *source;
  uint64_t i, offset;
  if (cursor->on != cursor->forward || cursor->heads != 1) return 0;
  source = &cursor->source[cursor->heap[0]];
  if (source->asked == 0) return 0;
  i = cursor->forward == UP ? source->place.at : source->place.at - 1;
  offset = node_offset(&source->node, i);
  if (unlikely(offset < source->least || offset >= view->snapshot)
      || unlikely(!plain_entry(cursor, &source->node, i, offset, entry))
      || unlikely(!is_beyond_last(cursor, entry->key)) || unlikely(!is_inside(cursor, entry->key)))
    return 0;
  cursor->last = entry->key;
  move_gap(source, cursor->forward);
  return 1;
}

int maph_range_next(maph_range_cursor *cursor, maph_entry *entry) {
  int rc = check(cursor);
  if (rc == MAPH_OK && entry == NULL)
    rc = fail(MAPH_MISUSE, "maph_range_next: no place for the entry");
  if (rc != MAPH_OK) return rc;
  if (likely(cursor->limit == 0 || cursor->place < cursor->limit) && next_quickly(cursor, entry)) {
    cursor->place++;
    return MAPH_OK;
  }
  rc = cursor->limit && cursor->place >= cursor->limit ? leave_last(cursor)
                                                       : advance(cursor, cursor->forward, entry);
  if (rc == MAPH_OK) cursor->place++;
  if (rc != MAPH_OK) memset(entry, 0, sizeof *entry);
  return rc;
}

int maph_range_prev(maph_range_cursor *cursor, maph_entry *entry) {
  int rc = check(cursor);
  if (rc == MAPH_OK && entry == NULL)
    rc = fail(MAPH_MISUSE, "maph_range_prev: no place for the entry");
  if (rc != MAPH_OK) return rc;
  if (cursor->on && cursor->place > 0) cursor->place--;
  rc = advance(cursor, -cursor->forward, entry);
  if (rc == MAPH_NOTFOUND) cursor->place = 0;
  if (rc != MAPH_OK) memset(entry, 0, sizeof *entry);
  return rc;
}

int maph_range_seek(maph_range_cursor *cursor, maph_slice key) {
  gap gap;
  int rc = check(cursor);
  if (rc == MAPH_OK && key.size > 0 && key.data == NULL)
    rc = fail(MAPH_MISUSE, "maph_range_seek: a key of some bytes at NULL");
  if (rc != MAPH_OK) return rc;
  gap.key = maph_bytes(key.data ? key.data : "", key.size);
  gap.after = cursor->forward == DOWN;
  return go_to(cursor, &gap);
}

/* Entries of one source before that bound. */
static int before_bound(const view *view, const run *run, const gap *gap, uint64_t none,
                        uint64_t *n) {
  run_place p;
  node leaf;
  int rc;
  *n = none;
  if (gap->key.data == NULL) return MAPH_OK;
  rc = run_near(view, run, gap, &p, &leaf);
  if (rc != MAPH_OK) return rc;
  run_aim(view, gap, 0, &p, &leaf);
  rc = run_settle(view, run, gap, 0, &p, &leaf);
  if (rc == MAPH_OK) *n = run_before(run, &p);
  return rc;
}

uint64_t maph_range_estimate(maph_range_cursor *cursor) {
  uint64_t n = 0, low, high;
  size_t i;
  if (check(cursor) != MAPH_OK) return 0;
  for (i = 0; i < cursor->count; i++) {
    const run *run = &cursor->source[i].run;
    if (before_bound(&cursor->view, run, &cursor->low, 0, &low) != MAPH_OK
        || before_bound(&cursor->view, run, &cursor->high, run->keys, &high) != MAPH_OK)
      return 0;
    if (high > low) n += high - low;
  }
  return n;
}
