/*
** dropped.c - keys that a bucket has no more, and no message told of (dropped.h).
*/
#include <stdlib.h>
#include <string.h>
#include "nats/child.h"
#include "nats/dropped.h"

enum { AHEAD = 4096 }; /* entries that are kept in memory, of which a look gathers twice as many */

/* A stream has its messages from the first sequence to the last one; where it has none, its first
** one is the next.  What says otherwise is not believed: all keys would be deleted. */
void dropped_told(dropped *dropped, const stream_info *info) {
  if (info->first > info->last + (info->messages == 0)
      || (info->messages > 0 && info->messages > info->last - info->first + 1))
    return;
  dropped->first = info->first;
  dropped->last = info->last;
}

bool dropped_is_due(const dropped *dropped, uint64_t at) {
  return dropped->first > dropped->done && at >= dropped->last;
}

static void forget(dropped *dropped) {
  for (size_t i = 0; i < dropped->count; i++) free(dropped->list[i].key);
  dropped->count = dropped->next = 0;
}

void dropped_free(dropped *dropped) {
  forget(dropped);
  free(dropped->list);
  memset(dropped, 0, sizeof *dropped);
}

static int keep(dropped *dropped, const maph_entry *entry) {
  dropped_entry *one = &dropped->list[dropped->count];
  one->version = entry->version;
  one->size = entry->key.size;
  one->key = malloc(entry->key.size + 1);
  if (one->key == NULL) return MAPH_NOMEM;
  if (one->size) memcpy(one->key, entry->key.data, one->size);
  dropped->count++;
  return MAPH_OK;
}

static int by_version(const void *a, const void *b) {
  const dropped_entry *x = a, *y = b;
  return (x->version > y->version) - (x->version < y->version);
}

/* Of those that were gathered the lowest. */
static void keep_lowest(dropped *dropped) {
  if (dropped->count > 0) qsort(dropped->list, dropped->count, sizeof *dropped->list, by_version);
  while (dropped->count > AHEAD) free(dropped->list[--dropped->count].key);
}

/* The next ones of the store; none: there are no more. */
static int look_ahead(dropped *dropped, maph *store, maph_txn *txn) {
  maph_snapshot *snapshot = NULL;
  maph_cursor *cursor;
  maph_entry entry;
  uint64_t highest = UINT64_MAX; /* that can still be among the lowest */
  int rc = MAPH_OK;
  forget(dropped);
  if (dropped->list == NULL) dropped->list = calloc(2 * AHEAD, sizeof *dropped->list);
  if (dropped->list == NULL) return MAPH_NOMEM;
  if (txn) rc = maph_txn_snapshot(txn, &snapshot);
  if (rc == MAPH_OK) rc = maph_cursor_open(store, snapshot, maph_bytes(NULL, 0), &cursor);
  if (rc != MAPH_OK) {
    maph_snapshot_close(snapshot);
    return rc;
  }
  child_stamp_long();
  while ((rc = maph_cursor_next(cursor, &entry)) == MAPH_OK) {
    if (entry.version <= dropped->reached || entry.version > highest) continue;
    if ((rc = keep(dropped, &entry)) != MAPH_OK) break;
    if (dropped->count < 2 * AHEAD) continue;
    keep_lowest(dropped);
    highest = dropped->list[AHEAD - 1].version;
  }
  keep_lowest(dropped);
  maph_cursor_close(cursor);
  maph_snapshot_close(snapshot);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  if (dropped->count > 0) dropped->reached = dropped->list[dropped->count - 1].version;
  return MAPH_OK;
}

int dropped_next(dropped *dropped, maph *store, maph_txn *txn, maph_slice *key, uint64_t *version) {
  const dropped_entry *one;
  int rc = MAPH_OK;
  if (dropped->next == dropped->count && dropped->reached + 1 < dropped->first)
    rc = look_ahead(dropped, store, txn);
  if (rc != MAPH_OK) return rc;
  one = dropped->next < dropped->count ? &dropped->list[dropped->next] : NULL;
  if (one == NULL || one->version >= dropped->first) {
    dropped->done = dropped->first;
    return MAPH_NOTFOUND;
  }
  dropped->next++;
  *key = maph_bytes(one->key, one->size);
  *version = one->version;
  return MAPH_OK;
}

int dropped_count(maph *store, uint64_t first, uint64_t *count) {
  maph_cursor *cursor;
  maph_entry entry;
  int rc = maph_cursor_open(store, NULL, maph_bytes(NULL, 0), &cursor);
  *count = 0;
  if (rc != MAPH_OK) return rc;
  child_stamp_long();
  while ((rc = maph_cursor_next(cursor, &entry)) == MAPH_OK)
    *count += entry.version < first && entry.expires == 0;
  maph_cursor_close(cursor);
  return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
}
