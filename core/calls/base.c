/*
** base.c - the base of a new generation: the live records of a snapshot, copied as the file's first
** transactions.
**
** By key, so that a range reads neighbours: one pass over the old file collects the records'
** places, 16 bytes a key, these are sorted, and the records are gathered from the old file in the
** new order, some of them brought into the cache at a time.  Memory: 32 bytes a key for the sort.
** Of a file larger than a part of the machine's memory one WINDOW after another is sorted.  So what
** is gathered was just read, and is mostly in memory.  Where it is not, as in a container that has
** less, each record would cost a read of the disk: samples are taken, and what is left of the
** window is copied as it lies in the log.
**
** As they lie in the log: where the kernel does not tell what is in memory.  A pass over the old
** file.
**
** In the order of a perfect hash: freeze.c.
**
** When all are there each key is looked up in the new file in the way that readers will.  On that
** walk the keys' places are gathered, 16 bytes each, of which the order is made.
*/
#include "calls/base.h"
#include "calls/copying.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/lookup.h"
#include "order/node.h"
#include "order/sort.h"
#include "order/types.h"
#include "order/write.h"

#include <stdlib.h>
#include <string.h>

enum {
  WINDOW_PART = 4, /* of the machine's memory */
  LOOKED_AT = 16,  /* records of which it is seen whether they are in memory */
  LOOK_EACH = 1024 /* records that are copied then */
};
#define WINDOW_LEAST (UINT64_C(64) << 20)

/* ------------------------------------------------------------------------- in the order of keys */

/* The live records of one stretch of the log. */
typedef struct window {
  copying *copying;
  row row;              /* their places */
  uint64_t bytes, most; /* what they take, and their places while they are sorted */
  uint64_t copied;      /* records, of all windows */
} window;

/* Most of the records of entries [from, to) are in memory, as a few of them show. */
static int are_in_memory(const window *window, uint64_t from, uint64_t to) {
  const view *view = &window->copying->view;
  uint64_t step = MAX((to - from) / LOOKED_AT, 1), missing = 0, i;
  for (i = from; i < to; i += step) {
    uint64_t at = (uint64_t)(record_start(view, window->row.e[i].offset) - view->base);
    missing += !os_is_resident(view->base, at);
  }
  return missing <= 1;
}

static int copy_entries(window *window, uint64_t from, uint64_t to) {
  rewriting *rewriting = window->copying->rewriting;
  const view *view = &window->copying->view;
  uint64_t offset[COPYING_BROUGHT], i, j, n;
  int rc = MAPH_OK;
  for (i = from; rc == MAPH_OK && i < to; i += n) {
    n = MIN(to - i, (uint64_t)COPYING_BROUGHT);
    for (j = 0; j < n; j++) offset[j] = window->row.e[i + j].offset;
    copying_bring(view, offset, n);
    for (j = 0; rc == MAPH_OK && j < n; j++) {
      item it;
      rc = record_item(view, offset[j], view->snapshot, &it);
      if (rc == MAPH_OK) rc = copying_indexed(window->copying, &it);
      if (rc == MAPH_OK && (++window->copied % COPYING_BATCH == 0 || it.size > COPYING_LARGE))
        rc = rewrite_tell(rewriting, "write", window->copied,
                          MAX(window->copied, rewriting->snapshot->records));
    }
  }
  return rc;
}

static int by_place(const void *a, const void *b) {
  uint64_t x = ((const order_entry *)a)->offset, y = ((const order_entry *)b)->offset;
  return x < y ? -1 : x > y;
}

static int copy_window(window *window) {
  uint64_t n = window->row.count, i, part;
  uint32_t shared;
  int sorted = are_in_memory(window, 0, n), rc = MAPH_OK;
  if (sorted) rc = order_sort(&window->copying->view, window->row.e, n, &shared, NULL);
  for (i = 0; rc == MAPH_OK && i < n; i += part) {
    part = MIN(n - i, (uint64_t)LOOK_EACH);
    if (sorted && i > 0 && !are_in_memory(window, i, i + part)) {
      qsort(window->row.e + i, n - i, sizeof *window->row.e, by_place);
      sorted = 0;
    }
    rc = copy_entries(window, i, i + part);
  }
  if (!sorted) window->most = MAX(window->most / 2, MIN(window->most, WINDOW_LEAST));
  window->row.count = window->bytes = 0;
  return rc;
}

static int add_to_window(void *arg, const item *it) {
  window *window = arg;
  int rc = window->bytes > window->most ? copy_window(window) : MAPH_OK;
  window->bytes += it->size + 2 * sizeof(order_entry);
  return rc == MAPH_OK ? row_add(&window->row, it->offset) : rc;
}

static uint64_t window_size(void) {
#ifdef MAPH_TEST
  if (os_test.leaf) return os_test.leaf * LOOK_EACH;
#endif
  return MAX(os_memory() / WINDOW_PART, WINDOW_LEAST);
}

static int copy_by_key(copying *copying) {
  rewriting *rewriting = copying->rewriting;
  window window = { .copying = copying, .most = window_size() };
  uint64_t keys = MIN(rewriting->snapshot->records,
                      (rewriting->snapshot->snapshot - LOG_START) / SHORT_LEAST),
           memory;
  int rc = row_make_room(&window.row,
                         MIN(keys, window.most / (2 * sizeof(order_entry) + SHORT_LEAST) + 1));
  if (rc == MAPH_OK) rc = copying_each_live(rewriting, "read", add_to_window, &window);
  if (rc == MAPH_OK) rc = copy_window(&window);
  memory = rewriting->memory + 2 * window.row.room * sizeof(order_entry);
  rewriting->result.memory_bytes =
      MAX(rewriting->result.memory_bytes, memory + copying->load.hashes.peak);
  os_free(window.row.e);
  return rc;
}

static int copy_plain(void *arg, const item *it) { return copying_indexed(arg, it); }

int base_copy(rewriting *rewriting) {
  copying copying;
  int rc = copying_begin(&copying, rewriting);
  if (rc == MAPH_OK)
    rc = os_sees_residency(&rewriting->from->file)
             ? copy_by_key(&copying)
             : copying_each_live(rewriting, "write", copy_plain, &copying);
  return copying_end(&copying, rc);
}

/* ------------------------------------------------------------------------------------ verifying */

/* Do these keys lead to these records?  Also those that a backup keeps although they expired. */
static int verify_group(const view *view, const item *it, const maph_slice *keys, size_t n) {
  enum { NEVER_EXPIRED = 1 };
  maph_slice values[INDEX_GROUP];
  uint32_t unsettled = index_get_group(view, NEVER_EXPIRED, n, keys, values);
  size_t i;
  for (i = 0; i < n; i++) {
    item found;
    if ((unsettled >> i & 1) == 0 && values[i].data == it[i].value
        && values[i].size == it[i].value_size)
      continue;
    if (index_find(view, keys[i], index_hash(view->store, keys[i]), &found) != MAPH_OK
        || found.offset != it[i].offset) {
      return fail_corrupt(view->store->path, it[i].offset,
                          "a key that was copied here is not found in the new file");
    }
  }
  return MAPH_OK;
}

/* What is gathered of the keys on the way. */
typedef struct verifying {
  row row;
  int types;
} verifying;

static int note_key(verifying *verifying, const item *it) {
  if ((verifying->types & TYPES_ALL) != TYPES_ALL) verifying->types |= types_of_put(it);
  return row_add(&verifying->row, it->offset);
}

static int verify_all(rewriting *rewriting, verifying *verifying) {
  item it[INDEX_GROUP];
  maph_slice keys[INDEX_GROUP];
  size_t n = 0;
  int rc = row_make_room(&verifying->row, rewriting->to->last.records);
  view view;
  walk walk;
  view_for_writing(rewriting->to, rewriting->to->last.end, &view);
  view.base = rewriting->to->write_base;
  walk = walk_from(&view, LOG_START, view.snapshot);
  while (rc == MAPH_OK && walk_next(&walk, &rc)) {
    if (walk.it.kind != KIND_PUT) continue;
    rc = note_key(verifying, &walk.it);
    it[n] = walk.it;
    keys[n] = maph_bytes(walk.it.key, walk.it.key_size);
    if (++n < INDEX_GROUP) continue;
    if (rc == MAPH_OK) rc = verify_group(&view, it, keys, n);
    n = 0;
    if (rc == MAPH_OK) rc = rewrite_tell(rewriting, "verify", walk.it.offset, view.snapshot);
  }
  return rc == MAPH_OK && n > 0 ? verify_group(&view, it, keys, n) : rc;
}

int base_verify(rewriting *rewriting) {
  verifying verifying;
  int rc;
  memset(&verifying, 0, sizeof verifying);
  rc = verify_all(rewriting, &verifying);
  if (rc == MAPH_OK && order_is_kept(rewriting->to)) {
    rc = rewrite_tell(rewriting, "order", 0, 1);
    if (rc == MAPH_OK) rc = order_make_all(rewriting->to, &verifying.row, verifying.types);
  }
  os_free(verifying.row.e);
  return rc;
}
