/*
** cursor.c - scans: the live entries of a snapshot, by walking the log.
**
** A put is live at snapshot S when nothing superseded it (its link) or what did lies at or past S.
** In an open transaction's snapshot a record of the store may be superseded by one of the
** transaction's, whose link is stored only at commit: there the keys that the transaction changed
** are looked at too.  Each entry is met once, in the order of the log.  That is read from start to
** end, so the hardware's prefetcher helps when it is given a head start.
**
** A cursor belongs to one thread at a time; it takes no lock, and writers go on.  It keeps its
** snapshot until it is closed itself.
*/
#include "calls/handle.h"
#include "calls/snapshot.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/lookup.h"

struct maph_cursor {
  uint32_t magic;
  maph_snapshot *snapshot;
  uint64_t at;      /* next record to look at */
  uint64_t address; /* of that, if it is known, and in the short form; else 0 */
  int plain;        /* all keys are wanted, as they lie in the log, and none is confirmed */
  size_t prefix_size;
  uint8_t prefix[];
};

static int check(const maph_cursor *cursor) {
  if (cursor == NULL || cursor->magic != CURSOR_MAGIC)
    return fail(MAPH_MISUSE, "this cursor is closed, or never was open");
  if (cursor->snapshot->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a cursor does not cross fork()", cursor->snapshot->store->path);
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
    rc = error_name(MAPH_NOMEM, snapshot->store->path);
    if (owned) maph_snapshot_close(snapshot);
    return rc;
  }
  c->magic = CURSOR_MAGIC;
  c->snapshot = snapshot;
  c->at = LOG_START;
  c->prefix_size = prefix.size;
  c->plain = prefix.size == 0 && snapshot->within == NULL && !snapshot->handle->options.verify;
  if (prefix.size) memcpy(c->prefix, prefix.data, prefix.size);
  handle_count_read(snapshot->handle, 1);
  snapshot_hold(snapshot);
  if (owned) maph_snapshot_close(snapshot);
  *cursor = c;
  return MAPH_OK;
}

void maph_cursor_close(maph_cursor *cursor) {
  if (cursor == NULL || cursor->magic != CURSOR_MAGIC) return;
  cursor->magic = 0;
  if (cursor->snapshot->fork_count != handle_forks()) return;
  handle_count_read(cursor->snapshot->handle, -1);
  snapshot_let_go(cursor->snapshot);
  os_free(cursor);
}

/* Did the snapshot's own open transaction supersede this record of the store? */
static int superseded_in_txn(maph_cursor *cursor, const item *it) {
  maph_snapshot *snapshot = cursor->snapshot;
  item newest;
  if (snapshot->within == NULL || it->offset >= snapshot->within->txn.start) return 0;
  return txn_find(&snapshot->within->txn, snapshot->snapshot, maph_bytes(it->key, it->key_size),
                  &newest)
             == MAPH_OK
         && newest.offset != it->offset;
}

static int wanted(maph_cursor *cursor, const item *it) {
  if (it->key_size < cursor->prefix_size
      || memcmp(it->key, cursor->prefix, cursor->prefix_size) != 0)
    return 0;
  return !item_expired(it, cursor->snapshot->now) && !superseded_in_txn(cursor, it);
}

/* With options.verify: the record is whole, and if its link says that it was superseded, what it
** leads to says so too. */
static int confirm(const view *view, const item *it) {
  uint64_t link = is_short(view->store, it->offset) ? 0 : record_link(view, it->offset);
  item later;
  if (link != 0 && link < view->snapshot
      && (record_item(view, link, view->snapshot, &later) != MAPH_OK || later.prev != it->offset)) {
    return fail_corrupt(view->store->path, it->offset,
                        "a record's link leads to no later version of its key");
  }
  return record_verify(view, it->offset, it->size);
}

/* The simplest of what a scan meets: a frozen record without expiry and attributes that was not
** superseded.  0: it is not that. */
static inline int next_plain(maph_cursor *cursor, const view *view, maph_entry *entry) {
  const perfect *perfect = &view->store->perfect;
  uint64_t place = cursor->at, address, number, next;
  if (!is_short(view->store, place) || !cursor->plain) return 0;
  number = short_number(view->store, place);
  address = cursor->address ? cursor->address : short_address(perfect, view->base, number);
  if (unlikely(!short_reaches(perfect, address)) || is_moved(perfect, view->base, number)
      || !short_plain_entry(view, address, entry))
    return 0;
  next = address + WALK_AHEAD;
  if (likely(next < perfect->past)) __builtin_prefetch(view->base + next);
  cursor->at = number + 1 < perfect->keys ? place + PLACE_STEP : perfect->past;
  cursor->address =
      short_next(perfect, address, perfect->least + entry->key.size + entry->value.size);
  return 1;
}

int maph_cursor_next(maph_cursor *cursor, maph_entry *entry) {
  maph_snapshot *snapshot;
  view view;
  walk walk;
  int rc = check(cursor);
  if (rc != MAPH_OK) return rc;
  if (entry == NULL) return fail(MAPH_MISUSE, "maph_cursor_next: no place for the entry");
  snapshot = cursor->snapshot;
  if (snapshot->rolled_back)
    return fail(MAPH_CONFLICT, "%s: the transaction that this cursor reads was rolled back",
                snapshot->store->path);
  rc = view_at(snapshot->store, snapshot->snapshot, &view);
  if (rc == MAPH_OK && next_plain(cursor, &view, entry)) return MAPH_OK;
  walk_begin(&walk, &view, cursor->at, view.snapshot);
  cursor->address = 0;
  while (walk_next(&walk, &rc)) {
    if (walk.it.kind != KIND_PUT) { /* a wrong size would lead the scan astray */
      if (snapshot->handle->options.verify) rc = record_verify(&view, walk.it.offset, walk.it.size);
      if (rc == MAPH_OK) cursor->at = walk.at;
      continue;
    }
    cursor->at = walk.at;
    if (unlikely(snapshot->handle->options.verify) && (rc = confirm(&view, &walk.it)) != MAPH_OK)
      break;
    if (!item_newest(&view, &walk.it, &rc) || !wanted(cursor, &walk.it)) continue;
    record_entry(snapshot->store, &walk.it, entry);
    return MAPH_OK;
  }
  if (rc == MAPH_OK) rc = MAPH_NOTFOUND;
  memset(entry, 0, sizeof *entry);
  return rc;
}

uint64_t maph_cursor_tell(maph_cursor *cursor) { return check(cursor) == MAPH_OK ? cursor->at : 0; }

/* A place is where a record begins: told apart from a made-up one by walking there, which a hostile
** caller pays for itself. */
int maph_cursor_seek(maph_cursor *cursor, uint64_t place) {
  view view;
  walk walk;
  int rc = check(cursor);
  if (rc == MAPH_OK) rc = view_at(cursor->snapshot->store, cursor->snapshot->snapshot, &view);
  if (rc != MAPH_OK) return rc;
  walk = walk_from(&view, place, view.snapshot);
  if (place != view.snapshot && !walk_sound(&walk))
    return fail(MAPH_MISUSE, "%s: %llu is not a place of a cursor", cursor->snapshot->store->path,
                (unsigned long long)place);
  cursor->at = place;
  cursor->address = 0;
  return MAPH_OK;
}
