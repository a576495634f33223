/*
** base.c - the base of a new generation: the live records of a snapshot, copied as the file's first
** transactions.
**
** Each record is summed in the old file before it is copied, so that damage is reported and not
** sealed with a new checksum; and when all are there each key is looked up in the new file in the
** way that readers will.  writer/load.c makes the file.
**
** TWO ORDERS.  Plain: as they lie in the log, a pass over the old file.  Frozen: in the order of a
** perfect hash.  For that one pass collects the hash and place of each record, 16 bytes a key;
** these are sorted, the function is built, and the records are gathered from the old file in the
** new order, prefetched ahead.  The perfect hash follows them.  Memory: 32 bytes a key for the
** sort, then 28 and what the function's builder takes.
**
** DIRECT PLACEMENT needs records of one size.  The stride is the smallest size that 99 of 100
** records do not exceed, and is used if padding all to it costs an eighth at most; else there are
** groups.  Records that fit neither (larger than the stride, than a group line can tell; two keys
** of one hash) go behind the frozen ones, into the index.
*/
#include "calls/handle.h"
#include "calls/base.h"
#include "calls/rewriting.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/index.h"
#include "index/lookup.h"
#include "index/perfect.h"
#include "writer/load.h"

#include <stdlib.h>
#include <stdio.h>

enum {
  BATCH = 4096,                /* records between looks at the index and the clock */
  LARGE = 65536,               /* a record after which the clock is looked at too */
  AHEAD = 12,                  /* records prefetched */
  FROZEN_MOST = 32 * 1024 - 8, /* 16 of these are as far as a group line reaches */
  SIZE_SHIFT = 40,             /* where: size of the record in units of 8 << 40 | its offset / 8 */
  SORT_BITS = 10,
  PREFETCHED = 512 /* bytes of a record */
};

/* ---------------------------------------------------------------------------------- the new file
** */

typedef struct copying {
  rewriting *x;
  view v; /* of the old file */
  load load;
} copying;

static int begin(copying *c, rewriting *x) {
  int rc;
  memset(c, 0, sizeof *c);
  c->x = x;
  rc = view_at(x->from, x->snapshot->snapshot, &c->v);
  return rc == MAPH_OK ? load_begin(&c->load, x->to, &x->how) : rc;
}

static int end(copying *c, int rc) {
  rewriting *x = c->x;
  if (rc == MAPH_OK) rc = load_finish(&c->load);
  x->result.records = c->load.records;
  load_clear(&c->load);
  x->result.memory_bytes = MAX(x->result.memory_bytes, x->memory + c->load.peak);
  return rc;
}

static int copy_indexed(copying *c, const item *it) {
  uint64_t hash = index_hash(c->x->to, maph_bytes(it->key, it->key_size));
  int rc = record_verify(&c->v, it->offset, it->size);
  return rc == MAPH_OK ? load_copy(&c->load, c->v.base + it->offset, it, hash) : rc;
}

/* ----------------------------------------------------------------------- the old file's records */

typedef int (*live_fn)(void *arg, const item *it);

/* Each put that is live at the snapshot, in the order of the log. */
static int each_live(rewriting *x, const char *phase, live_fn each, void *arg) {
  uint64_t n = 0;
  view v;
  walk w;
  int rc = view_at(x->from, x->snapshot->snapshot, &v);
  w = walk_from(&v, LOG_START, v.snapshot);
  while (walk_next(&w, &rc)) {
    if (w.it.kind == KIND_PUT && record_newest(&v, w.it.offset)) rc = each(arg, &w.it);
    if (rc == MAPH_OK && (++n % BATCH == 0 || w.it.size > LARGE))
      rc = rewrite_tell(x, phase, w.at, v.snapshot);
  }
  return rc;
}

typedef struct plain {
  copying c;
  int keep_expired;
} plain;

static int copy_plain(void *arg, const item *it) {
  plain *p = arg;
  if (!p->keep_expired && item_expired(it, p->c.x->snapshot->now)) return MAPH_OK;
  return copy_indexed(&p->c, it);
}

int base_copy(rewriting *x, int keep_expired) {
  plain p;
  int rc = begin(&p.c, x);
  p.keep_expired = keep_expired;
  if (rc == MAPH_OK) rc = each_live(x, "write", copy_plain, &p);
  return end(&p.c, rc);
}

/* ------------------------------------------------------------------------------------- freezing */

typedef struct key_at {
  uint64_t hash, where;
} key_at;

typedef struct frozen {
  rewriting *x;
  key_at *found; /* first those to freeze */
  uint64_t n, room;
  uint64_t *rest; /* where the others are */
  uint64_t rests, rest_room;
  uint64_t count[FROZEN_MOST / 8 + 1]; /* of records of each size */
  uint64_t stride;                     /* 0: groups */
  int algorithm;
  uint8_t *function;
  uint64_t function_size;
} frozen;

static uint64_t where_of(const item *it, uint64_t needs) {
  return needs / 8 << SIZE_SHIFT | it->offset / 8;
}
static uint64_t size_at(uint64_t where) { return (where >> SIZE_SHIFT) * 8; }
static uint64_t offset_at(uint64_t where) {
  return (where & ((UINT64_C(1) << SIZE_SHIFT) - 1)) * 8;
}

static int leave_out(frozen *f, uint64_t where) {
  if (f->rests == f->rest_room) {
    uint64_t room = f->rest_room ? 2 * f->rest_room : 1024,
             *rest = rewrite_alloc(f->x, room * sizeof *rest);
    if (rest == NULL) return MAPH_NOMEM;
    if (f->rests) memcpy(rest, f->rest, f->rests * sizeof *rest);
    rewrite_free(f->x, f->rest, f->rest_room * sizeof *rest);
    f->rest = rest;
    f->rest_room = room;
  }
  f->rest[f->rests++] = where;
  return MAPH_OK;
}

static int collect(void *arg, const item *it) {
  frozen *f = arg;
  if (it->needs > FROZEN_MOST) return leave_out(f, it->offset / 8);
  if (f->n == f->room)
    return fail_corrupt(f->x->from->path, it->offset,
                        "there are more live records than the store's total says");
  f->found[f->n].hash = index_hash(f->x->to, maph_bytes(it->key, it->key_size));
  f->found[f->n++].where = where_of(it, it->needs);
  f->count[it->needs / 8]++;
  return MAPH_OK;
}

static int by_hash(const void *a, const void *b) {
  uint64_t x = ((const key_at *)a)->hash, y = ((const key_at *)b)->hash;
  return x < y ? -1 : x > y;
}

/* By SORT_BITS of the hash from `shift` on. */
static void distribute(const key_at *from, key_at *to, uint64_t n, int shift) {
  enum { MASK = (1 << SORT_BITS) - 1 };
  uint32_t count[MASK + 2] = { 0 };
  uint64_t i;
  for (i = 0; i < n; i++) count[(from[i].hash >> shift & MASK) + 1]++;
  for (i = 1; i <= MASK; i++) count[i] += count[i - 1];
  for (i = 0; i < n; i++) to[count[from[i].hash >> shift & MASK]++] = from[i];
}

/* The hashes are even: two rounds leave runs of a few, the second one within parts that the cache
** holds. */
static void sort_found(key_at *p, key_at *scratch, uint64_t n) {
  uint64_t i, j, end;
  distribute(p, scratch, n, 64 - SORT_BITS);
  for (i = 0; i < n; i = end) {
    for (end = i + 1;
         end < n && scratch[end].hash >> (64 - SORT_BITS) == scratch[i].hash >> (64 - SORT_BITS);)
      end++;
    distribute(scratch + i, p + i, end - i, 64 - 2 * SORT_BITS);
  }
  for (i = 0; i < n; i = end) {
    for (end = i + 1;
         end < n && p[end].hash >> (64 - 2 * SORT_BITS) == p[i].hash >> (64 - 2 * SORT_BITS);)
      end++;
    if (end - i > 32) {
      qsort(p + i, end - i, sizeof *p, by_hash);
      continue;
    }
    for (j = i + 1; j < end; j++) {
      key_at one = p[j];
      uint64_t k = j;
      for (; k > i && p[k - 1].hash > one.hash; k--) p[k] = p[k - 1];
      p[k] = one;
    }
  }
}

/* One size for all, if that does not cost too much; 0: it does. */
static uint64_t choose_stride(const frozen *f) {
  uint64_t below = 0, bytes = 0, units = 0, stride, lines;
  for (; units <= FROZEN_MOST / 8; units++) {
    below += f->count[units];
    bytes += f->count[units] * units * 8;
    if (below * 100 >= f->n * 99) break;
  }
  stride = units * 8;
  if (below == 0 || stride * below > bytes / 8 * 9) return 0;
  lines = (stride + 63) & ~UINT64_C(63);
  /* whole cache lines, where that is cheap */
  return (lines - stride) * 16 <= stride ? lines : stride;
}

static int fits_stride(const frozen *f, uint64_t where) {
  uint64_t size = size_at(where);
  return f->stride == 0 || (size <= f->stride && f->stride - size <= 255 * 8);
}

/* Keep those that can be frozen, sorted by hash. */
static int choose(frozen *f) {
  key_at *scratch;
  uint64_t i, kept = 0;
  int rc = MAPH_OK;
  f->stride = choose_stride(f);
  for (i = 0; rc == MAPH_OK && i < f->n; i++) {
    if (fits_stride(f, f->found[i].where))
      f->found[kept++] = f->found[i];
    else
      rc = leave_out(f, f->found[i].where);
  }
  f->n = kept;
  scratch = rc == MAPH_OK ? rewrite_alloc(f->x, f->n * sizeof *scratch + 1) : NULL;
  if (scratch == NULL) return rc == MAPH_OK ? MAPH_NOMEM : rc;
  sort_found(f->found, scratch, f->n);
  rewrite_free(f->x, scratch, f->n * sizeof *scratch + 1);
  for (i = kept = 0; rc == MAPH_OK && i < f->n; i++) {
    if (kept > 0 && f->found[kept - 1].hash == f->found[i].hash)
      rc = leave_out(f, f->found[i].where);
    else
      f->found[kept++] = f->found[i];
  }
  f->n = kept;
  return rc;
}

static int tell_hash(void *arg, uint64_t done, uint64_t total) {
  return rewrite_tell(arg, "hash", done, total);
}

/* Build the function by one builder.  The places are put in the order of the numbers, in *order,
** room for which is had before the hashes go. */
static int build_with(frozen *f, const perfect_builder *b, int algorithm, uint64_t **order) {
  rewriting *x = f->x;
  uint64_t *hash = rewrite_alloc(x, f->n * 8), *places = NULL, builder = 0, i;
  uint32_t *number = rewrite_alloc(x, f->n * 4);
  int rc = hash && number ? MAPH_OK : MAPH_NOMEM;
  for (i = 0; rc == MAPH_OK && i < f->n; i++) hash[i] = f->found[i].hash;
  if (rc == MAPH_OK)
    rc = b->build(hash, (uint32_t)f->n, number, &f->function, &f->function_size, &builder,
                  tell_hash, x);
  x->result.memory_bytes = MAX(x->result.memory_bytes, x->memory + builder);
  rewrite_free(x, hash, f->n * 8);
  if (rc == MAPH_OK && (places = rewrite_alloc(x, f->n * 8)) == NULL) rc = MAPH_NOMEM;
  for (i = 0; rc == MAPH_OK && i < f->n; i++) places[number[i]] = f->found[i].where;
  if (rc == MAPH_OK) f->algorithm = algorithm;
  rewrite_free(x, number, f->n * 4);
  *order = places;
  return rc;
}

static void note(rewriting *x, const char *what) {
  snprintf(x->result.note, sizeof x->result.note, "%s%.*s", what,
           (int)(sizeof x->result.note - strlen(what) - 1), maph_errmsg(NULL));
}

/* The algorithm asked for; if it cannot do these keys the other one. */
static int build(frozen *f, uint64_t **order) {
  rewriting *x = f->x;
  int cmph = x->perfect_hash == MAPH_PERFECT_CMPH, rc;
  if (f->n > UINT32_MAX / 64 * 63)
    return fail(MAPH_NOTFOUND, "%llu keys are more than a perfect hash can number",
                (unsigned long long)f->n);
  rc = rewrite_tell(x, "hash", 0, f->n);
  if (rc != MAPH_OK) return rc;
  rc = cmph ? build_with(f, &bdz_builder, MAPH_PERFECT_CMPH, order)
            : build_with(f, &pilot_builder, MAPH_PERFECT_PILOT, order);
  if (rc != MAPH_NOTFOUND) return rc;
  note(x, cmph ? "used pilot: " : "used cmph: ");
  return cmph ? build_with(f, &pilot_builder, MAPH_PERFECT_PILOT, order)
              : build_with(f, &bdz_builder, MAPH_PERFECT_CMPH, order);
}

/* The payload, all of it filled in but the table (fingerprints or group lines) and the checksum. */
static uint8_t *make_payload(frozen *f, const copying *c, uint64_t *size) {
  uint64_t table = (sizeof(perfect_head) + f->function_size + 63) & ~UINT64_C(63), bytes = 0, i;
  perfect_head *h;
  *size = table + (f->stride ? f->n : (f->n + GROUP_KEYS - 1) / GROUP_KEYS * sizeof(group_line));
  h = rewrite_alloc(f->x, *size);
  if (h == NULL) return NULL;
  for (i = 0; i < f->n; i++) bytes += f->stride ? f->stride : size_at(f->found[i].where);
  h->algorithm = (uint32_t)f->algorithm;
  h->placement = f->stride ? PLACED_DIRECT : PLACED_IN_GROUPS;
  h->keys = f->n;
  h->first = c->load.at;
  h->past = c->load.at + bytes;
  h->stride = f->stride;
  h->function_size = f->function_size;
  h->table = table;
  memcpy(h + 1, f->function, f->function_size);
  return (uint8_t *)h;
}

/* The record at `at` of the new file gets its fingerprint, or a place in its group's line. */
static void note_in_table(const frozen *f, uint8_t *table, uint64_t i, uint64_t at, uint64_t hash) {
  group_line *line = (group_line *)(void *)table + i / GROUP_KEYS;
  if (f->stride) {
    table[i] = (uint8_t)hash;
    return;
  }
  if (i % GROUP_KEYS == 0) line->first = at;
  line->distance[i % GROUP_KEYS] = (uint16_t)((at - line->first) / 8);
  line->fingerprint[i % GROUP_KEYS] = (uint8_t)hash;
}

static void prefetch_record(const copying *c, uint64_t where) {
  const uint8_t *next = c->v.base + offset_at(where);
  uint64_t i;
  for (i = 0; i < MIN(size_at(where), (uint64_t)PREFETCHED); i += 64) __builtin_prefetch(next + i);
}

/* The frozen records, gathered in the order of their numbers. */
static int gather(frozen *f, copying *c, const uint64_t *order, uint8_t *table) {
  uint64_t i;
  int rc = MAPH_OK;
  for (i = 0; rc == MAPH_OK && i < f->n; i++) {
    item it;
    if (i + AHEAD < f->n) prefetch_record(c, order[i + AHEAD]);
    rc = record_item(&c->v, offset_at(order[i]), c->v.snapshot, &it);
    if (rc == MAPH_OK) rc = record_verify(&c->v, it.offset, it.size);
    if (rc != MAPH_OK) return rc;
    note_in_table(f, table, i, c->load.at, index_hash(f->x->to, maph_bytes(it.key, it.key_size)));
    rc = load_copy_frozen(&c->load, c->v.base + it.offset, &it,
                          f->stride ? f->stride : size_at(order[i]));
    if (rc == MAPH_OK && (i + 1) % BATCH == 0)
      rc = rewrite_tell(f->x, "write", i + 1, f->n + f->rests);
  }
  return rc;
}

/* The records, and then the perfect hash that leads to them. */
static int write_frozen(frozen *f, copying *c, const uint64_t *order) {
  uint64_t size;
  int rc = load_align(&c->load);
  uint8_t *payload = rc == MAPH_OK ? make_payload(f, c, &size) : NULL;
  const perfect_head *h = (const perfect_head *)(const void *)payload;
  if (payload == NULL) return rc == MAPH_OK ? MAPH_NOMEM : rc;
  rc = gather(f, c, order, payload + h->table);
  if (rc == MAPH_OK && c->load.at != h->past)
    rc = fail_corrupt(f->x->from->path, c->load.at,
                      "records changed their size while they were copied");
  if (rc == MAPH_OK) rc = load_perfect(&c->load, payload, size, f->algorithm);
  rewrite_free(f->x, payload, size);
  return rc;
}

static int write_rest(frozen *f, copying *c) {
  uint64_t i;
  int rc = MAPH_OK;
  item it;
  for (i = 0; rc == MAPH_OK && i < f->rests; i++) {
    rc = record_item(&c->v, offset_at(f->rest[i]), c->v.snapshot, &it);
    if (rc == MAPH_OK) rc = copy_indexed(c, &it);
    if (rc == MAPH_OK && ((i + 1) % BATCH == 0 || it.size > LARGE))
      rc = rewrite_tell(f->x, "write", f->n + i + 1, f->n + f->rests);
  }
  return rc;
}

static void describe(frozen *f) {
  maph_rewrite *r = &f->x->result;
  r->frozen_keys = f->n;
  r->perfect_hash = f->algorithm;
  r->direct = f->stride != 0;
  r->perfect_bits = f->n ? (double)f->function_size * 8 / (double)f->n : 0;
  if (r->note[0] == 0 && f->rests)
    snprintf(r->note, sizeof r->note, "%llu keys are not frozen: their records are of unusual size",
             (unsigned long long)f->rests);
}

/* No function for these keys: leave the file as compaction does. */
static int leave_plain(frozen *f, copying *c) {
  int rc = MAPH_OK;
  uint64_t i;
  for (i = 0; rc == MAPH_OK && i < f->n; i++) rc = leave_out(f, f->found[i].where);
  f->n = 0;
  return rc == MAPH_OK ? write_rest(f, c) : rc;
}

int base_freeze(rewriting *x) {
  frozen *f = rewrite_alloc(x, sizeof *f);
  uint64_t *order = NULL;
  copying c;
  int rc = f ? begin(&c, x) : MAPH_NOMEM;
  if (f == NULL) return rc;
  f->x = x;
  f->room = MIN(x->snapshot->records, (x->snapshot->snapshot - LOG_START) / RECORD_HEAD);
  if (rc == MAPH_OK && (f->found = rewrite_alloc(x, f->room * sizeof(key_at) + 1)) == NULL)
    rc = MAPH_NOMEM;
  if (rc == MAPH_OK) rc = each_live(x, "read", collect, f);
  if (rc == MAPH_OK) rc = choose(f);
  if (rc == MAPH_OK && f->n > 0) rc = build(f, &order);
  if (rc == MAPH_OK && f->n > 0) rc = write_frozen(f, &c, order);
  if (rc == MAPH_NOTFOUND) {
    note(x, "not frozen: ");
    rc = leave_plain(f, &c);
  } else if (rc == MAPH_OK) {
    rc = write_rest(f, &c);
  }
  rc = end(&c, rc);
  describe(f);
  rewrite_free(x, order, f->n * 8);
  rewrite_free(x, f->found, f->room * sizeof(key_at) + 1);
  rewrite_free(x, f->rest, f->rest_room * 8);
  os_free(f->function);
  rewrite_free(x, f, sizeof *f);
  return rc;
}

/* ------------------------------------------------------------------------------------ verifying */

/* Do these keys lead to these records?  Also those that a backup keeps although they expired. */
static int verify_group(const view *v, const item *it, const maph_slice *keys, size_t n) {
  enum { NEVER_EXPIRED = 1 };
  maph_slice values[INDEX_GROUP];
  uint32_t unsettled = index_get_group(v, NEVER_EXPIRED, n, keys, values);
  size_t i;
  for (i = 0; i < n; i++) {
    item found;
    if ((unsettled >> i & 1) == 0 && values[i].data == it[i].value
        && values[i].size == it[i].value_size)
      continue;
    if (index_find(v, keys[i], index_hash(v->s, keys[i]), &found) != MAPH_OK
        || found.offset != it[i].offset) {
      return fail_corrupt(v->s->path, it[i].offset,
                          "a key that was copied here is not found in the new file");
    }
  }
  return MAPH_OK;
}

int base_verify(rewriting *x) {
  item it[INDEX_GROUP];
  maph_slice keys[INDEX_GROUP];
  size_t n = 0;
  int rc = MAPH_OK;
  view v;
  walk w;
  view_for_writing(x->to, x->to->last.end, &v);
  v.base = x->to->write_base;
  w = walk_from(&v, LOG_START, v.snapshot);
  while (walk_next(&w, &rc)) {
    if (w.it.kind != KIND_PUT) continue;
    it[n] = w.it;
    keys[n] = maph_bytes(w.it.key, w.it.key_size);
    if (++n < INDEX_GROUP) continue;
    rc = verify_group(&v, it, keys, n);
    n = 0;
    if (rc == MAPH_OK) rc = rewrite_tell(x, "verify", w.it.offset, v.snapshot);
  }
  return rc == MAPH_OK && n > 0 ? verify_group(&v, it, keys, n) : rc;
}
