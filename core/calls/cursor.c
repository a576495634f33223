/*
** cursor.c - scans: the live entries of a snapshot, by walking the log.
**
** A put is live at snapshot S when nothing superseded it (its link) or what did lies at or past S.
** In an open transaction's snapshot a record of the store may be superseded by one of the
** transaction's, whose link is stored only at commit: there pending is asked too.  Each entry is
** met once, in the order of the log: as last put, but frozen ones first and in no order.  The log
** is read from start to end, so the hardware's prefetcher helps when it is given a head start.
**
** A cursor belongs to one thread at a time; it takes no lock, and writers go on.  It keeps its
** snapshot until it is closed itself.
*/
#include "calls/handle.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/lookup.h"

struct maph_cursor {
  uint32_t magic;
  maph_snapshot *snapshot;
  uint64_t at; /* next record to look at */
  size_t prefix_size;
  uint8_t prefix[];
};

static int check(const maph_cursor *c) {
  if (c == NULL || c->magic != CURSOR_MAGIC)
    return fail(MAPH_MISUSE, "this cursor is closed, or never was open");
  if (c->snapshot->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a cursor does not cross fork()", c->snapshot->s->path);
  return MAPH_OK;
}

int maph_cursor_open(maph *m, maph_snapshot *snapshot, maph_slice prefix, maph_cursor **cursor) {
  maph_cursor *c = NULL;
  int rc = MAPH_OK, owned = snapshot == NULL;
  if (cursor == NULL || (prefix.size > 0 && prefix.data == NULL))
    return fail(MAPH_MISUSE, "maph_cursor_open: no place for the cursor, or a prefix at NULL");
  *cursor = NULL;
  if (prefix.size > KEY_MAX)
    return fail(MAPH_TOOBIG, "a prefix of %zu bytes: keys have at most %d", prefix.size, KEY_MAX);
  if (owned)
    rc = maph_snapshot_open(m, &snapshot);
  else
    rc = snapshot_readable(snapshot);
  if (rc != MAPH_OK) return rc;
  c = os_alloc(sizeof *c + prefix.size);
  if (c == NULL) {
    if (owned) maph_snapshot_close(snapshot);
    return MAPH_NOMEM;
  }
  c->magic = CURSOR_MAGIC;
  c->snapshot = snapshot;
  c->at = LOG_START;
  c->prefix_size = prefix.size;
  if (prefix.size) memcpy(c->prefix, prefix.data, prefix.size);
  handle_count_read(snapshot->handle, 1);
  snapshot_hold(snapshot);
  if (owned) maph_snapshot_close(snapshot);
  *cursor = c;
  return MAPH_OK;
}

void maph_cursor_close(maph_cursor *c) {
  if (c == NULL || c->magic != CURSOR_MAGIC) return;
  c->magic = 0;
  if (c->snapshot->fork_count != handle_forks()) return;
  handle_count_read(c->snapshot->handle, -1);
  snapshot_let_go(c->snapshot);
  os_free(c);
}

/* Did the snapshot's own open transaction supersede this record of the store? */
static int superseded_in_txn(maph_cursor *c, const item *it) {
  maph_snapshot *x = c->snapshot;
  item newest;
  if (x->within == NULL || it->offset >= x->within->txn.start) return 0;
  return txn_find(&x->within->txn, x->snapshot, maph_bytes(it->key, it->key_size), &newest)
             == MAPH_OK
         && newest.offset != it->offset;
}

static int wanted(maph_cursor *c, const item *it) {
  if (it->key_size < c->prefix_size || memcmp(it->key, c->prefix, c->prefix_size) != 0) return 0;
  return !item_expired(it, c->snapshot->now) && !superseded_in_txn(c, it);
}

/* With options.verify: the record is whole, and if its link says that it was superseded, what it
** leads to says so too. */
static int confirm(const view *v, const item *it) {
  uint64_t link = record_link(v, it->offset);
  item later;
  if (link != 0 && link < v->snapshot
      && (record_item(v, link, v->snapshot, &later) != MAPH_OK || later.prev != it->offset)) {
    return fail_corrupt(v->s->path, it->offset,
                        "a record's link leads to no later version of its key");
  }
  return record_verify(v, it->offset, it->size);
}

int maph_cursor_next(maph_cursor *c, maph_entry *entry) {
  maph_snapshot *x;
  view v;
  walk w;
  int rc = check(c);
  if (rc != MAPH_OK) return rc;
  if (entry == NULL) return fail(MAPH_MISUSE, "maph_cursor_next: no place for the entry");
  x = c->snapshot;
  if (x->rolled_back)
    return fail(MAPH_CONFLICT, "%s: the transaction that this cursor reads was rolled back",
                x->s->path);
  rc = view_at(x->s, x->snapshot, &v);
  walk_begin(&w, &v, c->at, v.snapshot);
  while (walk_next(&w, &rc)) {
    if (w.it.kind != KIND_PUT) { /* a wrong size would lead the scan astray */
      if (x->handle->options.verify) rc = record_verify(&v, w.it.offset, w.it.size);
      if (rc == MAPH_OK) c->at = w.at;
      continue;
    }
    c->at = w.at;
    if (unlikely(x->handle->options.verify) && (rc = confirm(&v, &w.it)) != MAPH_OK) break;
    if (!record_newest(&v, w.it.offset) || !wanted(c, &w.it)) continue;
    record_entry(&w.it, entry);
    return MAPH_OK;
  }
  if (rc == MAPH_OK) rc = MAPH_NOTFOUND;
  memset(entry, 0, sizeof *entry);
  return rc;
}

uint64_t maph_cursor_tell(maph_cursor *c) { return check(c) == MAPH_OK ? c->at : 0; }

/* A place is where a record begins: told apart from a made-up one by walking there, which a hostile
** caller pays for itself. */
int maph_cursor_seek(maph_cursor *c, uint64_t place) {
  view v;
  walk w;
  int rc = check(c);
  if (rc == MAPH_OK) rc = view_at(c->snapshot->s, c->snapshot->snapshot, &v);
  if (rc != MAPH_OK) return rc;
  w = walk_from(&v, place, v.snapshot);
  if (place != v.snapshot && !walk_sound(&w))
    return fail(MAPH_MISUSE, "%s: %llu is not a place of a cursor", c->snapshot->s->path,
                (unsigned long long)place);
  c->at = place;
  return MAPH_OK;
}
