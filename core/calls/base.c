/*
** base.c - the base of a new generation: the live records of a snapshot, copied as the file's first
** transactions.
**
** The checksum of each record is verified in the old file before the record is copied, so that
** damage is reported and does not get a new checksum.  When all are there each key is looked up in
** the new file in the way that readers will.  On that walk the keys' places are gathered, 16 bytes
** each, of which the order is made.  writer/load.c makes the file.
**
** THREE ORDERS.  By key, so that a range reads neighbours: one pass over the old file collects the
** records' places, 16 bytes a key, these are sorted, and the records are gathered from the old file
** in the new order, some of them brought into the cache at a time.  Memory: 32 bytes a key for the
** sort.  Of a file larger than a part of the machine's memory one WINDOW after another is sorted.
** So what is gathered was just read, and is mostly in memory.  Where it is not, as in a container
** that has less, each record would cost a read of the disk: samples are taken, and what is left of
** the window is copied as it lies in the log.
**
** As they lie in the log: where the kernel does not tell what is in memory.  A pass over the old
** file.
**
** Frozen: in the order of a perfect hash.  For that one pass collects the hash and place of each
** record, 16 bytes a key; these are sorted, the function is built, and the records are gathered.
** The perfect hash follows them.  Memory: 32 bytes a key for the sort, then 28 and what the
** function's builder takes.
**
** THE SHORT FORM of the frozen records has fields that are as wide as the largest key, the largest
** value and the oldest version need.
**
** DIRECT PLACEMENT needs records of one size.  The stride is the smallest size that 99 of 100
** records do not exceed.  It is used if padding all to it costs about as much as the lines of
** groups, which are the other way, or a seventh of the records: a get waits for one line less.  So
** entries with an expiry or a media type lie among others of their size.  The groups' unit is the
** smallest that reaches over 16 of the largest records.  Records that fit neither (larger than the
** stride, than a group line can tell; two keys of one hash) go behind the frozen ones, into the
** index.
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
#include "index/lookup.h"
#include "index/perfect.h"
#include "order/node.h"
#include "order/sort.h"
#include "order/types.h"
#include "order/write.h"
#include "writer/load.h"

#include <stdlib.h>
#include <stdio.h>

enum {
  BATCH = 4096,        /* records between looks at the index and the clock */
  LARGE = 65536,       /* a record after which the clock is looked at too */
  BROUGHT = 32,        /* records brought into the cache together */
  BROUGHT_BYTES = 512, /* of each */
  LINE = 64,
  FROZEN_MOST = 32 * 1024 - 8, /* 16 of these are as far as a group line reaches */
  PADDING_MOST = 7,            /* bytes for two records, on the average; or */
  PADDING_PART = 7,            /* one of so many bytes */
  WINDOW_PART = 4,             /* of the machine's memory */
  LOOKED_AT = 16,              /* records of which it is seen whether they are in memory */
  LOOK_EACH = 1024,            /* records that are copied then */
  SIZE_SHIFT = 40,             /* where: log_short_body << 40 | offset / 8 */
  SORT_BITS = 10
};
#define WINDOW_LEAST (UINT64_C(64) << 20)
/* They are in one transaction, and numbered. */
#define KEYS_MOST (UINT64_C(1) << 31)

/* ---------------------------------------------------------------------------------- the new file
** */

typedef struct copying {
  rewriting *rewriting;
  view view; /* of the old file */
  load load;
} copying;

static int begin(copying *copying, rewriting *rewriting) {
  int rc;
  memset(copying, 0, sizeof *copying);
  copying->rewriting = rewriting;
  rc = view_at(rewriting->from, rewriting->snapshot->snapshot, &copying->view);
  return rc == MAPH_OK ? load_begin(&copying->load, rewriting->to, &rewriting->how) : rc;
}

static int end(copying *copying, int rc) {
  rewriting *rewriting = copying->rewriting;
  if (rc == MAPH_OK) rc = load_finish(&copying->load);
  rewriting->result.records = copying->load.records;
  load_clear(&copying->load);
  rewriting->result.memory_bytes =
      MAX(rewriting->result.memory_bytes, rewriting->memory + copying->load.peak);
  return rc;
}

static int copy_indexed(copying *copying, const item *it) {
  uint64_t hash = index_hash(copying->rewriting->to, maph_bytes(it->key, it->key_size));
  int rc = record_verify(&copying->view, it->offset, it->size);
  return rc == MAPH_OK ? load_copy(&copying->load, it, hash) : rc;
}

/* ----------------------------------------------------------------------- the old file's records */

typedef int (*live_fn)(void *arg, const item *it);

static int is_wanted(rewriting *rewriting, const view *view, const item *it, int *rc) {
  if (it->kind != KIND_PUT || !item_newest(view, it, rc)) return 0;
  if (!rewriting->drop_expired || !item_expired(it, rewriting->snapshot->now)) return 1;
  rewriting->dropped++;
  return 0;
}

/* Each put that is live at the snapshot, in the order of the log. */
static int each_live(rewriting *rewriting, const char *phase, live_fn each, void *arg) {
  uint64_t n = 0;
  view view;
  walk walk;
  int rc = view_at(rewriting->from, rewriting->snapshot->snapshot, &view);
  walk = walk_from(&view, LOG_START, view.snapshot);
  rewriting->dropped = 0;
  while (walk_next(&walk, &rc)) {
    if (is_wanted(rewriting, &view, &walk.it, &rc)) rc = each(arg, &walk.it);
    if (rc == MAPH_OK && (++n % BATCH == 0 || walk.it.size > LARGE))
      rc = rewrite_tell(rewriting, phase, walk.at, view.snapshot);
  }
  return rc;
}

/* These records will be read, n at most BROUGHT: bring them into the cache, by loads (see
** node_bring). */
static void bring_records(const view *view, const uint64_t *offset, uint64_t n) {
  const uint8_t *start[BROUGHT];
  uint64_t i, at;
  for (i = 0; i < n; i++) bring(start[i] = record_start(view, offset[i]));
  for (i = 0; i < n; i++) {
    uint64_t size = MIN(record_about(view, offset[i], start[i]), (uint64_t)BROUGHT_BYTES);
    if (offset[i] + BROUGHT_BYTES > view->snapshot) continue;
    for (at = LINE; at < size; at += LINE) bring(start[i] + at);
    bring(start[i] + size - 1);
  }
}

static int copy_plain(void *arg, const item *it) { return copy_indexed(arg, it); }

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
  uint64_t offset[BROUGHT], i, j, n;
  int rc = MAPH_OK;
  for (i = from; rc == MAPH_OK && i < to; i += n) {
    n = MIN(to - i, (uint64_t)BROUGHT);
    for (j = 0; j < n; j++) offset[j] = window->row.e[i + j].offset;
    bring_records(view, offset, n);
    for (j = 0; rc == MAPH_OK && j < n; j++) {
      item it;
      rc = record_item(view, offset[j], view->snapshot, &it);
      if (rc == MAPH_OK) rc = copy_indexed(window->copying, &it);
      if (rc == MAPH_OK && (++window->copied % BATCH == 0 || it.size > LARGE))
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
  if (rc == MAPH_OK) rc = each_live(rewriting, "read", add_to_window, &window);
  if (rc == MAPH_OK) rc = copy_window(&window);
  memory = rewriting->memory + 2 * window.row.room * sizeof(order_entry);
  rewriting->result.memory_bytes =
      MAX(rewriting->result.memory_bytes, memory + copying->load.hashes.peak);
  os_free(window.row.e);
  return rc;
}

int base_copy(rewriting *rewriting) {
  copying copying;
  int rc = begin(&copying, rewriting);
  if (rc == MAPH_OK)
    rc = os_sees_residency(&rewriting->from->file)
             ? copy_by_key(&copying)
             : each_live(rewriting, "write", copy_plain, &copying);
  return end(&copying, rc);
}

/* ------------------------------------------------------------------------------------- freezing */

typedef struct key_at {
  uint64_t hash, where;
} key_at;

typedef struct frozen {
  rewriting *rewriting;
  key_at *found; /* first those to freeze */
  uint64_t n, room;
  uint64_t *rest; /* where the others are */
  uint64_t rests, rest_room;
  uint64_t count[FROZEN_MOST + 1]; /* of records of each size, without the fields that all have */
  uint64_t key_most, value_most, newest, oldest;
  short_form form;
  int direct;
  int algorithm;
  uint8_t *function;
  uint64_t function_size;
} frozen;

static uint64_t where_of(const item *it) {
  return log_short_body(it) << SIZE_SHIFT | it->offset / 8;
}
static uint64_t body_at(uint64_t where) { return where >> SIZE_SHIFT; }
static uint64_t offset_at(uint64_t where) {
  return (where & ((UINT64_C(1) << SIZE_SHIFT) - 1)) * 8;
}

static int leave_out(frozen *frozen, uint64_t where) {
  if (frozen->rests == frozen->rest_room) {
    uint64_t room = frozen->rest_room ? 2 * frozen->rest_room : 1024,
             *rest = rewrite_alloc(frozen->rewriting, room * sizeof *rest);
    if (rest == NULL) return MAPH_NOMEM;
    if (frozen->rests) memcpy(rest, frozen->rest, frozen->rests * sizeof *rest);
    rewrite_free(frozen->rewriting, frozen->rest, frozen->rest_room * sizeof *rest);
    frozen->rest = rest;
    frozen->rest_room = room;
  }
  frozen->rest[frozen->rests++] = where;
  return MAPH_OK;
}

static int collect(void *arg, const item *it) {
  frozen *frozen = arg;
  uint64_t body = log_short_body(it);
  if (body > FROZEN_MOST) return leave_out(frozen, it->offset / 8);
  if (frozen->n == frozen->room)
    return fail_corrupt(frozen->rewriting->from->path, it->offset,
                        "there are more live records than the store's total says");
  frozen->key_most = MAX(frozen->key_most, it->key_size);
  frozen->value_most = MAX(frozen->value_most, it->value_size);
  frozen->oldest = frozen->n ? MIN(frozen->oldest, it->version) : it->version;
  frozen->newest = MAX(frozen->newest, it->version);
  frozen->found[frozen->n].hash =
      index_hash(frozen->rewriting->to, maph_bytes(it->key, it->key_size));
  frozen->found[frozen->n++].where = where_of(it);
  frozen->count[body]++;
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
static void sort_found(key_at *at, key_at *scratch, uint64_t n) {
  uint64_t i, j, end;
  distribute(at, scratch, n, 64 - SORT_BITS);
  for (i = 0; i < n; i = end) {
    for (end = i + 1;
         end < n && scratch[end].hash >> (64 - SORT_BITS) == scratch[i].hash >> (64 - SORT_BITS);)
      end++;
    distribute(scratch + i, at + i, end - i, 64 - 2 * SORT_BITS);
  }
  for (i = 0; i < n; i = end) {
    for (end = i + 1;
         end < n && at[end].hash >> (64 - 2 * SORT_BITS) == at[i].hash >> (64 - 2 * SORT_BITS);)
      end++;
    if (end - i > 32) {
      qsort(at + i, end - i, sizeof *at, by_hash);
      continue;
    }
    for (j = i + 1; j < end; j++) {
      key_at one = at[j];
      uint64_t k = j;
      for (; k > i && at[k - 1].hash > one.hash; k--) at[k] = at[k - 1];
      at[k] = one;
    }
  }
}

static unsigned bytes_for(uint64_t number, unsigned least) {
  unsigned n = least;
  while (n < sizeof number && number >> 8 * n) n++;
  return n;
}

/* Of a record, with the fields that all have. */
static uint64_t size_of(const frozen *frozen, uint64_t where) {
  const short_form *form = &frozen->form;
  return SHORT_KEY_SIZE + form->key_size + form->value_size + form->distance + body_at(where);
}

/* The smallest unit in which a group line's last distance fits. */
static unsigned unit_for(uint64_t largest) {
  unsigned unit = 1;
  while (unit < SHORT_UNIT_MOST
         && (GROUP_KEYS - 1) * (largest + unit - 1) > UINT16_MAX * (uint64_t)unit)
    unit *= 2;
  return unit;
}

static void choose_form(frozen *frozen) {
  short_form *form = &frozen->form;
  uint64_t below = 0, bytes = 0, body = 0, padding, largest = FROZEN_MOST;
  form->key_size = (uint8_t)bytes_for(frozen->key_most, 1);
  form->value_size = (uint8_t)bytes_for(frozen->value_most, 1);
  form->distance = (uint8_t)bytes_for(frozen->newest - frozen->oldest, 0);
  form->newest = frozen->newest;
  for (; body <= FROZEN_MOST; body++) {
    below += frozen->count[body];
    bytes += frozen->count[body] * body;
    if (below * 100 >= frozen->n * 99) break;
  }
  padding = body * below - bytes;
  frozen->direct =
      below > 0 && (padding * 2 <= PADDING_MOST * below || padding * PADDING_PART <= bytes);
  while (largest > 0 && frozen->count[largest] == 0) largest--;
  form->unit = (uint32_t)(frozen->direct ? size_of(frozen, body << SIZE_SHIFT)
                                         : unit_for(size_of(frozen, largest << SIZE_SHIFT)));
}

static int fits_stride(const frozen *frozen, uint64_t where) {
  return !frozen->direct || size_of(frozen, where) <= frozen->form.unit;
}

/* With the zeros behind it. */
static uint64_t size_with_zeros(const frozen *frozen, uint64_t where) {
  uint64_t unit = frozen->form.unit;
  return frozen->direct ? unit : (size_of(frozen, where) + unit - 1) & ~(unit - 1);
}

/* Keep those that can be frozen, sorted by hash. */
static int choose(frozen *frozen) {
  key_at *scratch;
  uint64_t i, kept = 0;
  int rc = MAPH_OK;
  choose_form(frozen);
  for (i = 0; rc == MAPH_OK && i < frozen->n; i++) {
    if (fits_stride(frozen, frozen->found[i].where))
      frozen->found[kept++] = frozen->found[i];
    else
      rc = leave_out(frozen, frozen->found[i].where);
  }
  frozen->n = kept;
  scratch =
      rc == MAPH_OK ? rewrite_alloc(frozen->rewriting, frozen->n * sizeof *scratch + 1) : NULL;
  if (scratch == NULL) return rc == MAPH_OK ? MAPH_NOMEM : rc;
  sort_found(frozen->found, scratch, frozen->n);
  rewrite_free(frozen->rewriting, scratch, frozen->n * sizeof *scratch + 1);
  for (i = kept = 0; rc == MAPH_OK && i < frozen->n; i++) {
    if (kept > 0 && frozen->found[kept - 1].hash == frozen->found[i].hash)
      rc = leave_out(frozen, frozen->found[i].where);
    else
      frozen->found[kept++] = frozen->found[i];
  }
  frozen->n = kept;
  return rc;
}

static int tell_hash(void *arg, uint64_t done, uint64_t total) {
  return rewrite_tell(arg, "hash", done, total);
}

/* Build the function by one builder.  The places are put in the order of the numbers, in *order,
** room for which is had before the hashes go. */
static int build_with(frozen *frozen, const perfect_builder *b, int algorithm, uint64_t **order) {
  rewriting *rewriting = frozen->rewriting;
  uint64_t *hash = rewrite_alloc(rewriting, frozen->n * 8), *places = NULL, builder = 0, i;
  uint32_t *number = rewrite_alloc(rewriting, frozen->n * 4);
  int rc = hash && number ? MAPH_OK : MAPH_NOMEM;
  for (i = 0; rc == MAPH_OK && i < frozen->n; i++) hash[i] = frozen->found[i].hash;
  if (rc == MAPH_OK)
    rc = b->build(hash, (uint32_t)frozen->n, number, &frozen->function, &frozen->function_size,
                  &builder, tell_hash, rewriting);
  rewriting->result.memory_bytes = MAX(rewriting->result.memory_bytes, rewriting->memory + builder);
  rewrite_free(rewriting, hash, frozen->n * 8);
  if (rc == MAPH_OK && (places = rewrite_alloc(rewriting, frozen->n * 8)) == NULL) rc = MAPH_NOMEM;
  for (i = 0; rc == MAPH_OK && i < frozen->n; i++) places[number[i]] = frozen->found[i].where;
  if (rc == MAPH_OK) frozen->algorithm = algorithm;
  rewrite_free(rewriting, number, frozen->n * 4);
  *order = places;
  return rc;
}

static void note(rewriting *rewriting, const char *what) {
  snprintf(rewriting->result.note, sizeof rewriting->result.note, "%s%.*s", what,
           (int)(sizeof rewriting->result.note - strlen(what) - 1), maph_errmsg(NULL));
}

/* The algorithm asked for; if it cannot do these keys the other one. */
static int build(frozen *frozen, uint64_t **order) {
  rewriting *rewriting = frozen->rewriting;
  int cmph = rewriting->perfect_hash == MAPH_PERFECT_CMPH, rc;
  if (frozen->n > KEYS_MOST)
    return fail(MAPH_NOTFOUND, "%llu keys are more than a perfect hash can number",
                (unsigned long long)frozen->n);
  rc = rewrite_tell(rewriting, "hash", 0, frozen->n);
  if (rc != MAPH_OK) return rc;
  rc = cmph ? build_with(frozen, &bdz_builder, MAPH_PERFECT_CMPH, order)
            : build_with(frozen, &pilot_builder, MAPH_PERFECT_PILOT, order);
  if (rc != MAPH_NOTFOUND) return rc;
  note(rewriting, cmph ? "used pilot: " : "used cmph: ");
  return cmph ? build_with(frozen, &pilot_builder, MAPH_PERFECT_PILOT, order)
              : build_with(frozen, &bdz_builder, MAPH_PERFECT_CMPH, order);
}

/* The payload, all of it filled in but the table (fingerprints or group lines) and the checksum. */
static uint8_t *make_payload(frozen *frozen, const copying *copying, uint64_t *size) {
  uint64_t table = (sizeof(perfect_head) + frozen->function_size + 63) & ~UINT64_C(63), bytes = 0,
           entries = frozen->direct
                         ? frozen->n
                         : (frozen->n + GROUP_KEYS - 1) / GROUP_KEYS * sizeof(group_line),
           i;
  short_form *form = &frozen->form;
  perfect_head *head;
  *size = ((table + entries + 63) & ~UINT64_C(63)) + short_moved_size(frozen->n);
  head = rewrite_alloc(frozen->rewriting, *size);
  if (head == NULL) return NULL;
  for (i = 0; i < frozen->n; i++) bytes += size_with_zeros(frozen, frozen->found[i].where);
  form->first = copying->load.at;
  form->past = (copying->load.at + bytes + 7) & ~UINT64_C(7);
  head->algorithm = (uint32_t)frozen->algorithm;
  head->placement = frozen->direct ? PLACED_DIRECT : PLACED_IN_GROUPS;
  head->keys = frozen->n;
  head->first = form->first;
  head->past = form->past;
  head->stride = form->unit;
  head->function_size = frozen->function_size;
  head->table = table;
  memcpy(head + 1, frozen->function, frozen->function_size);
  return (uint8_t *)head;
}

/* The record at that address of the new file gets its fingerprint, or a place in its group's
** line. */
static void note_in_table(const frozen *frozen, uint8_t *table, uint64_t i, uint64_t address,
                          uint64_t hash) {
  group_line *line = (group_line *)(void *)table + i / GROUP_KEYS;
  if (frozen->direct) {
    table[i] = (uint8_t)hash;
    return;
  }
  if (i % GROUP_KEYS == 0) line->first = address;
  line->distance[i % GROUP_KEYS] = (uint16_t)((address - line->first) / frozen->form.unit);
  line->fingerprint[i % GROUP_KEYS] = (uint8_t)hash;
}

/* Is it as it was when its size was taken? */
static int is_as_it_was(const frozen *frozen, const item *it, uint64_t where) {
  return it->kind == KIND_PUT && log_short_body(it) == body_at(where)
         && it->key_size <= frozen->key_most && it->value_size <= frozen->value_most
         && it->version >= frozen->oldest && it->version <= frozen->newest;
}

static void bring_next(const copying *copying, const uint64_t *where, uint64_t n) {
  uint64_t offset[BROUGHT], i;
  for (i = 0; i < n; i++) offset[i] = offset_at(where[i]);
  bring_records(&copying->view, offset, n);
}

/* The frozen records, gathered in the order of their numbers. */
static int gather(frozen *frozen, copying *copying, const uint64_t *order, uint8_t *table) {
  uint64_t i;
  int rc = MAPH_OK;
  for (i = 0; rc == MAPH_OK && i < frozen->n; i++) {
    item it;
    if (i % BROUGHT == 0) bring_next(copying, order + i, MIN(frozen->n - i, (uint64_t)BROUGHT));
    rc = record_item(&copying->view, offset_at(order[i]), copying->view.snapshot, &it);
    if (rc == MAPH_OK) rc = record_verify(&copying->view, it.offset, it.size);
    if (rc == MAPH_OK && !is_as_it_was(frozen, &it, order[i]))
      rc = fail_corrupt(frozen->rewriting->from->path, it.offset,
                        "a record changed while it was copied");
    if (rc != MAPH_OK) return rc;
    note_in_table(frozen, table, i, copying->load.at,
                  index_hash(frozen->rewriting->to, maph_bytes(it.key, it.key_size)));
    rc = load_copy_frozen(&copying->load, &it, &frozen->form, frozen->form.first + i * PLACE_STEP,
                          size_with_zeros(frozen, order[i]));
    if (rc == MAPH_OK && (i + 1) % BATCH == 0)
      rc = rewrite_tell(frozen->rewriting, "write", i + 1, frozen->n + frozen->rests);
  }
  return rc;
}

/* The records, and then the perfect hash that leads to them. */
static int write_frozen(frozen *frozen, copying *copying, const uint64_t *order) {
  uint64_t size;
  int rc = load_align(&copying->load);
  uint8_t *payload = rc == MAPH_OK ? make_payload(frozen, copying, &size) : NULL;
  const perfect_head *head = (const perfect_head *)(const void *)payload;
  if (payload == NULL) return rc == MAPH_OK ? MAPH_NOMEM : rc;
  rc = gather(frozen, copying, order, payload + head->table);
  if (rc == MAPH_OK) rc = load_end_frozen(&copying->load, &frozen->form);
  if (rc == MAPH_OK) rc = load_perfect(&copying->load, payload, size, frozen->algorithm);
  rewrite_free(frozen->rewriting, payload, size);
  return rc;
}

static int write_rest(frozen *frozen, copying *copying) {
  uint64_t i;
  int rc = MAPH_OK;
  item it;
  for (i = 0; rc == MAPH_OK && i < frozen->rests; i++) {
    rc = record_item(&copying->view, offset_at(frozen->rest[i]), copying->view.snapshot, &it);
    if (rc == MAPH_OK) rc = copy_indexed(copying, &it);
    if (rc == MAPH_OK && ((i + 1) % BATCH == 0 || it.size > LARGE))
      rc = rewrite_tell(frozen->rewriting, "write", frozen->n + i + 1, frozen->n + frozen->rests);
  }
  return rc;
}

static void describe(frozen *frozen) {
  maph_rewrite *rewrite = &frozen->rewriting->result;
  rewrite->frozen_keys = frozen->n;
  rewrite->perfect_hash = frozen->algorithm;
  rewrite->direct = frozen->direct;
  rewrite->perfect_bits = frozen->n ? (double)frozen->function_size * 8 / (double)frozen->n : 0;
  if (rewrite->note[0] == 0 && frozen->rests)
    snprintf(rewrite->note, sizeof rewrite->note,
             "%llu keys are not frozen: their records are of unusual size",
             (unsigned long long)frozen->rests);
}

/* No function for these keys: leave the file as compaction does. */
static int leave_plain(frozen *frozen, copying *copying) {
  int rc = MAPH_OK;
  uint64_t i;
  for (i = 0; rc == MAPH_OK && i < frozen->n; i++) rc = leave_out(frozen, frozen->found[i].where);
  frozen->n = 0;
  return rc == MAPH_OK ? write_rest(frozen, copying) : rc;
}

int base_freeze(rewriting *rewriting) {
  frozen *frozen = rewrite_alloc(rewriting, sizeof *frozen);
  uint64_t *order = NULL;
  copying copying;
  int rc = frozen ? begin(&copying, rewriting) : MAPH_NOMEM;
  if (frozen == NULL) return rc;
  frozen->rewriting = rewriting;
  frozen->room =
      MIN(rewriting->snapshot->records, (rewriting->snapshot->snapshot - LOG_START) / SHORT_LEAST);
  if (rc == MAPH_OK
      && (frozen->found = rewrite_alloc(rewriting, frozen->room * sizeof(key_at) + 1)) == NULL)
    rc = MAPH_NOMEM;
  if (rc == MAPH_OK) rc = each_live(rewriting, "read", collect, frozen);
  if (rc == MAPH_OK) rc = choose(frozen);
  if (rc == MAPH_OK && frozen->n > 0) rc = build(frozen, &order);
  if (rc == MAPH_OK && frozen->n > 0) rc = write_frozen(frozen, &copying, order);
  if (rc == MAPH_NOTFOUND) {
    note(rewriting, "not frozen: ");
    rc = leave_plain(frozen, &copying);
  } else if (rc == MAPH_OK) {
    rc = write_rest(frozen, &copying);
  }
  rc = end(&copying, rc);
  describe(frozen);
  rewrite_free(rewriting, order, frozen->n * 8);
  rewrite_free(rewriting, frozen->found, frozen->room * sizeof(key_at) + 1);
  rewrite_free(rewriting, frozen->rest, frozen->rest_room * 8);
  os_free(frozen->function);
  rewrite_free(rewriting, frozen, sizeof *frozen);
  return rc;
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
