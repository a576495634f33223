/*
** freeze.c - the base of a new generation in the order of a perfect hash.
**
** One pass over the old file collects the hash and place of each record, 16 bytes a key; these are
** sorted, the function is built, and the records are gathered.  The perfect hash follows them.
** Memory: 32 bytes a key for the sort, then 28 and what the function's builder takes.
**
** THE SHORT FORM of the frozen records has fields that are as wide as the largest key, the largest
** value and the oldest version need.  Where all keys are of one size, or all values, or all have
** the same flags, the header has it.
**
** DIRECT PLACEMENT needs records of one size.  The stride is the smallest size that 99 of 100
** records do not exceed.  It is used if padding all to it costs about as much as the lines of
** groups, which are the other way, or a seventh of the records: a get waits for one line less.  So
** entries with an expiry or a media type lie among others of their size.  The groups' unit is the
** smallest that reaches over 16 of the largest records.  Records that fit neither (larger than the
** stride, than a group line can tell; two keys of one hash) go behind the frozen ones, into the
** index.
*/
#include "calls/freeze.h"
#include "calls/copying.h"
#include "file/layout.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "index/find.h"
#include "index/perfect.h"
#include "writer/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  FROZEN_MOST = 32 * 1024 - 8, /* 16 of these are as far as a group line reaches */
  PADDING_MOST = 7,            /* bytes for two records, on the average; or */
  PADDING_PART = 7,            /* one of so many bytes */
  SIZE_SHIFT = 40,             /* where: layout_short_body << 40 | offset / 8 */
  SORT_BITS = 10
};
/* They are in one transaction, and numbered. */
#define KEYS_MOST (UINT64_C(1) << 31)

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
  uint64_t key_least, key_most, value_least, value_most, newest, oldest;
  int flags_some, flags_all; /* that some of them have; that all do */
  short_form form;
  int direct;
  int algorithm;
  uint8_t *function;
  uint64_t function_size;
} frozen;

static uint64_t where_of(const item *it) {
  return layout_short_body(it) << SIZE_SHIFT | it->offset / 8;
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
  uint64_t body = layout_short_body(it);
  if (body > FROZEN_MOST) return leave_out(frozen, it->offset / 8);
  if (frozen->n == frozen->room)
    return fail_corrupt(frozen->rewriting->from->path, it->offset,
                        "there are more live records than the store's total says");
  frozen->key_least = frozen->n ? MIN(frozen->key_least, it->key_size) : it->key_size;
  frozen->value_least = frozen->n ? MIN(frozen->value_least, it->value_size) : it->value_size;
  frozen->flags_some |= it->flags;
  frozen->flags_all = frozen->n ? frozen->flags_all & it->flags : it->flags;
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
  return short_key_at(form) + form->key_size + form->value_size + form->distance + body_at(where);
}

/* The smallest unit in which a group line's last distance fits. */
static unsigned unit_for(uint64_t largest) {
  unsigned unit = 1;
  while (unit < SHORT_UNIT_MOST
         && (GROUP_KEYS - 1) * (largest + unit - 1) > UINT16_MAX * (uint64_t)unit)
    unit *= 2;
  return unit;
}

static int is_long_enough(const short_form *form) { return short_form_least(form) >= SHORT_LEAST; }

static void choose_fields(const frozen *frozen, short_form *form) {
  int one_key = frozen->key_least == frozen->key_most,
      one_value = frozen->value_least == frozen->value_most;
  form->no_flags = frozen->flags_some == frozen->flags_all
                   && (frozen->flags_some & ~(FLAG_TYPE | FLAG_KEY_TYPE)) == 0;
  form->one_flags = form->no_flags ? (uint32_t)frozen->flags_all : 0;
  form->one_key = one_key ? (uint32_t)frozen->key_most : 0;
  form->one_value = one_value ? (uint32_t)frozen->value_most : 0;
  form->key_size = (uint8_t)(one_key ? 0 : bytes_for(frozen->key_most, 1));
  form->value_size = (uint8_t)(one_value ? 0 : bytes_for(frozen->value_most, 1));
  if (is_long_enough(form)) return;
  form->one_flags = form->no_flags = 0;
  if (is_long_enough(form)) return;
  form->one_key = form->one_value = 0;
  form->key_size = (uint8_t)bytes_for(frozen->key_most, 1);
  form->value_size = (uint8_t)bytes_for(frozen->value_most, 1);
}

static void choose_form(frozen *frozen) {
  short_form *form = &frozen->form;
  uint64_t below = 0, bytes = 0, body = 0, padding, largest = FROZEN_MOST;
  form->distance = (uint8_t)bytes_for(frozen->newest - frozen->oldest, 0);
  choose_fields(frozen, form);
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
  return it->kind == KIND_PUT && layout_short_body(it) == body_at(where)
         && it->key_size >= frozen->key_least && it->key_size <= frozen->key_most
         && it->value_size >= frozen->value_least && it->value_size <= frozen->value_most
         && (it->flags & frozen->flags_all) == frozen->flags_all
         && (it->flags & ~frozen->flags_some) == 0 && it->version >= frozen->oldest
         && it->version <= frozen->newest;
}

static void bring_next(const copying *copying, const uint64_t *where, uint64_t n) {
  uint64_t offset[COPYING_BROUGHT], i;
  for (i = 0; i < n; i++) offset[i] = offset_at(where[i]);
  copying_bring(&copying->view, offset, n);
}

/* The frozen records, gathered in the order of their numbers. */
static int gather(frozen *frozen, copying *copying, const uint64_t *order, uint8_t *table) {
  uint64_t i;
  int rc = MAPH_OK;
  for (i = 0; rc == MAPH_OK && i < frozen->n; i++) {
    item it;
    if (i % COPYING_BROUGHT == 0)
      bring_next(copying, order + i, MIN(frozen->n - i, (uint64_t)COPYING_BROUGHT));
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
    if (rc == MAPH_OK && (i + 1) % COPYING_BATCH == 0)
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
    if (rc == MAPH_OK) rc = copying_indexed(copying, &it);
    if (rc == MAPH_OK && ((i + 1) % COPYING_BATCH == 0 || it.size > COPYING_LARGE))
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

int freeze_base(rewriting *rewriting) {
  frozen *frozen = rewrite_alloc(rewriting, sizeof *frozen);
  uint64_t *order = NULL;
  copying copying;
  int rc = frozen ? copying_begin(&copying, rewriting) : MAPH_NOMEM;
  if (frozen == NULL) return rc;
  frozen->rewriting = rewriting;
  frozen->room =
      MIN(rewriting->snapshot->records, (rewriting->snapshot->snapshot - LOG_START) / SHORT_LEAST);
  if (rc == MAPH_OK
      && (frozen->found = rewrite_alloc(rewriting, frozen->room * sizeof(key_at) + 1)) == NULL)
    rc = MAPH_NOMEM;
  if (rc == MAPH_OK) rc = copying_each_live(rewriting, "read", collect, frozen);
  if (rc == MAPH_OK) rc = choose(frozen);
  if (rc == MAPH_OK && frozen->n > 0) rc = build(frozen, &order);
  if (rc == MAPH_OK && frozen->n > 0) rc = write_frozen(frozen, &copying, order);
  if (rc == MAPH_NOTFOUND) {
    note(rewriting, "not frozen: ");
    rc = leave_plain(frozen, &copying);
  } else if (rc == MAPH_OK) {
    rc = write_rest(frozen, &copying);
  }
  rc = copying_end(&copying, rc);
  describe(frozen);
  rewrite_free(rewriting, order, frozen->n * 8);
  rewrite_free(rewriting, frozen->found, frozen->room * sizeof(key_at) + 1);
  rewrite_free(rewriting, frozen->rest, frozen->rest_room * 8);
  os_free(frozen->function);
  rewrite_free(rewriting, frozen, sizeof *frozen);
  return rc;
}
