/*
** stat.c - what a store holds and what it costs, as of the newest commit or of a snapshot.
*/
#include "calls/handle.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "index/index.h"
#include "order/run.h"

static int count_slot(void *arg, uint64_t slot_offset, unsigned bucket, uint64_t slot) {
  (void)slot_offset;
  (void)bucket;
  (void)slot;
  ++*(uint64_t *)arg;
  return MAPH_OK;
}

/* What the perfect hash covers, and what it does not any more or not yet. */
static int stat_perfect(const view *v, maph_stats *st, uint64_t *slots) {
  const perfect *p = &v->s->perfect;
  int rc;
  if (p->keys == 0) return MAPH_OK;
  *slots = 0;
  rc = index_walk(v, count_slot, slots);
  st->perfect_hash = p->algorithm;
  st->direct = p->direct;
  st->frozen_keys = p->keys;
  st->moved_keys = atomic_load(&header_of(v->base)->moved);
  st->later_keys = *slots - MIN(*slots, st->moved_keys);
  st->frozen_bytes = p->size;
  st->perfect_bits = (double)p->function_size * 8 / (double)p->keys;
  st->index_bytes += p->size;
  return rc;
}

int maph_pending(maph *m) {
  store *s;
  view v;
  const header *h;
  if (handle_store(m, &s) != MAPH_OK || view_latest(s, &v) != MAPH_OK) return 0;
  h = header_of(v.base);
  return atomic_load(&h->prepared) > atomic_load(&h->committed);
}

/* The runs in use.  What there is in memory is nobody's but this process's. */
static int stat_order(const view *v, uint64_t version, maph_stats *st) {
  run_list *list;
  int rc = runs_take(v, version, &list);
  if (rc != MAPH_OK) return rc;
  st->order_runs = list->count;
  st->order_bytes = list->bytes;
  st->index_bytes += list->bytes;
  runs_let_go(list);
  return MAPH_OK;
}

/* What is of one commit, the totals, was found before; the rest is as it is now. */
typedef struct totals {
  uint64_t version, records, bytes;
} totals;

static int stat_of(const view *v, const totals *of, maph_stats *st) {
  uint64_t slots = of->records;
  store *s = v->s;
  index_shape shape;
  const header *h;
  int rc = index_measure(v, &shape);
  if (rc == MAPH_OK) rc = store_see_size(s, 0);
  if (rc != MAPH_OK) return rc;
  h = header_of(v->base);
  memset(st, 0, sizeof *st);
  st->records = of->records;
  st->live_bytes = of->bytes;
  st->version = of->version;
  st->index_bytes = shape.bytes;
  rc = stat_perfect(v, st, &slots);
  if (rc == MAPH_OK) rc = stat_order(v, of->version, st);
  st->oldest_version = s->base_version;
  st->used_bytes = MAX(atomic_load(&h->end), v->snapshot);
  st->file_bytes = atomic_load(&s->size);
  st->dead_bytes = st->used_bytes - MIN(st->used_bytes, HEADER_SIZE + of->bytes + st->index_bytes);
  st->generation = s->generation;
  st->flushed_bytes = atomic_load(&h->flushed);
  st->segments = shape.segments;
  st->load_factor = (double)slots / ((double)shape.segments * SEGMENT_BUCKETS * BUCKET_SLOTS);
  memcpy(st->uuid, s->uuid, 16);
  st->poisoned = (atomic_load(&h->state) & STATE_POISONED) != 0;
  return rc;
}

int maph_stat(maph *m, maph_stats *st) {
  end_record e;
  totals of;
  store *s;
  view v;
  int rc = handle_store_now(m, &s);
  if (rc == MAPH_OK && st == NULL) rc = fail(MAPH_MISUSE, "maph_stat: no place for the statistics");
  if (rc == MAPH_OK) rc = view_latest(s, &v);
  if (rc == MAPH_OK) rc = record_end(&v, v.snapshot, &e);
  if (rc != MAPH_OK) return rc;
  of = (totals){ record_version(&e.head), e.records, e.bytes };
  return stat_of(&v, &of, st);
}

int maph_snapshot_stat(maph_snapshot *x, maph_stats *st) {
  totals of;
  view v;
  int rc = snapshot_view(x, &v);
  if (rc == MAPH_OK && st == NULL)
    rc = fail(MAPH_MISUSE, "maph_snapshot_stat: no place for the statistics");
  if (rc != MAPH_OK) return rc;
  of = (totals){ x->version, x->records, x->bytes };
  return stat_of(&v, &of, st);
}
