/*
** stat.c - what a store holds and what it costs, as of the newest commit or of a snapshot.
*/
#include "calls/handle.h"
#include "calls/snapshot.h"
#include "file/header.h"
#include "file/record.h"
#include "file/size.h"
#include "file/store.h"
#include "file/view.h"
#include "index/measure.h"
#include "order/run.h"

/* maph.h, STRUCTS: a program that was built with an older header has so much of them. */
#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(maph_stats) == 192 && sizeof(maph_entry) == 72 && sizeof(maph_change) == 80
                   && sizeof(maph_outcome) == 16 && sizeof(maph_condition) == 56
                   && sizeof(maph_rewrite) == 248,
               "a struct without a size has grown: give what is new a call of its own");
#endif

static int count_slot(void *arg, uint64_t slot_offset, unsigned bucket, uint64_t slot) {
  (void)slot_offset;
  (void)bucket;
  (void)slot;
  ++*(uint64_t *)arg;
  return MAPH_OK;
}

/* What the perfect hash covers, and what it does not any more or not yet. */
static int stat_perfect(const view *view, maph_stats *st, uint64_t *slots) {
  const perfect *perfect = &view->store->perfect;
  int rc;
  if (perfect->keys == 0) return MAPH_OK;
  *slots = 0;
  rc = index_walk(view, count_slot, slots);
  st->perfect_hash = perfect->algorithm;
  st->direct = perfect->direct;
  st->frozen_keys = perfect->keys;
  st->moved_keys = atomic_load(&header_of(view->base)->moved);
  st->later_keys = *slots - MIN(*slots, st->moved_keys);
  st->frozen_bytes = perfect->size;
  st->perfect_bits = (double)perfect->function_size * 8 / (double)perfect->keys;
  st->index_bytes += perfect->size;
  return rc;
}

int maph_pending(maph *m) {
  store *store;
  view view;
  const header *header;
  if (handle_store(m, &store) != MAPH_OK || view_latest(store, &view) != MAPH_OK) return 0;
  header = header_of(view.base);
  return atomic_load(&header->prepared) > atomic_load(&header->committed);
}

/* The runs in use.  What there is in memory is nobody's but this process's. */
static int stat_order(const view *view, uint64_t version, maph_stats *st) {
  sentence before;
  run_list *list;
  int rc = runs_take(view, version, &list);
  if (rc != MAPH_OK) return rc;
  st->order_runs = list->count;
  error_keep(&before);
  st->order_bytes = runs_bytes(view, list); /* of the sound ones */
  error_put_back(&before);
  st->index_bytes += st->order_bytes;
  runs_let_go(list);
  return MAPH_OK;
}

uint64_t maph_order_runs(maph *m) {
  uint64_t runs;
  run_list *list;
  end_record end;
  store *store;
  view view;
  if (handle_store_now(m, &store) != MAPH_OK || view_latest(store, &view) != MAPH_OK
      || record_end(&view, view.snapshot, &end) != MAPH_OK
      || runs_take(&view, record_version(&end.head), &list) != MAPH_OK)
    return 0;
  runs = list->count;
  runs_let_go(list);
  return runs;
}

/* What is of one commit, the totals, was found before; the rest is as it is now. */
typedef struct totals {
  uint64_t version, records, bytes;
} totals;

static int stat_of(const view *view, const totals *of, maph_stats *st) {
  uint64_t slots = of->records;
  store *store = view->store;
  index_shape shape;
  const header *header;
  int rc = index_measure(view, &shape);
  if (rc == MAPH_OK) rc = store_see_size(store, 0);
  if (rc != MAPH_OK) return rc;
  header = header_of(view->base);
  memset(st, 0, sizeof *st);
  st->records = of->records;
  st->live_bytes = of->bytes;
  st->version = version_shown(store, of->version);
  st->index_bytes = shape.bytes;
  rc = stat_perfect(view, st, &slots);
  if (rc == MAPH_OK) rc = stat_order(view, of->version, st);
  st->oldest_version = version_shown(store, store->base_version);
  st->used_bytes = MAX(atomic_load(&header->end), view->snapshot);
  st->file_bytes = atomic_load(&store->size);
  st->dead_bytes = st->used_bytes - MIN(st->used_bytes, HEADER_SIZE + of->bytes + st->index_bytes);
  st->generation = store->generation;
  st->flushed_bytes = atomic_load(&header->flushed);
  st->segments = shape.segments;
  st->load_factor = (double)slots / ((double)shape.segments * SEGMENT_BUCKETS * BUCKET_SLOTS);
  st->versions = store->given ? MAPH_VERSIONS_GIVEN : MAPH_VERSIONS_OWN;
  memcpy(st->uuid, store->uuid, 16);
  st->poisoned = (atomic_load(&header->state) & STATE_POISONED) != 0;
  return rc;
}

int maph_stat(maph *m, maph_stats *st) {
  end_record end;
  totals of;
  store *store;
  view view;
  int rc = handle_store_now(m, &store);
  if (rc == MAPH_OK && st == NULL) rc = fail(MAPH_MISUSE, "maph_stat: no place for the statistics");
  if (rc == MAPH_OK) rc = view_latest(store, &view);
  if (rc == MAPH_OK) rc = record_end(&view, view.snapshot, &end);
  if (rc != MAPH_OK) return rc;
  of = (totals){ record_version(&end.head), end.records, end.bytes };
  return error_name(stat_of(&view, &of, st), store->path);
}

int maph_snapshot_stat(maph_snapshot *snapshot, maph_stats *st) {
  totals of;
  view view;
  int rc = snapshot_view(snapshot, &view);
  if (rc == MAPH_OK && st == NULL)
    rc = fail(MAPH_MISUSE, "maph_snapshot_stat: no place for the statistics");
  if (rc != MAPH_OK) return rc;
  of = (totals){ snapshot->version, snapshot->records, snapshot->bytes };
  return error_name(stat_of(&view, &of, st), snapshot->store->path);
}
