/*
** load.c - the writer of fresh files: records as they come, then the index at once.
**
** A commit stores into mapped pages, page by page, each of which faults once, and into the index
** wherever a key's hash leads.  For a file that nobody sees yet neither is needed:
**
**   records    go into a buffer, which is written in blocks of BLOCK bytes.  A write of so many,
**              aligned, gets large pages in the page cache, which the kernel then maps at once
**   hashes     16 bytes a key are kept (index/hashes.h), in memory or beyond a bound in a file
**   index      all its segments, each filled once (index/build.h), follow the records
**   end        the end record, and the header's live words
**
** A KEY THAT CAME TWICE is found when the index is built: records of one hash meet in a bucket.
** Their keys are compared in the file, and all but the last become pads.  The transaction's digest
** folds its records in order, so then it is made anew, by a walk.
**
** Nothing is atomic on the way, and nothing flushed: the file has no name that anybody opens, and
** who gives it one flushes it before.
*/
#include "writer/load.h"
#include "file/header.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/build.h"
#include "index/find.h"
#include "index/perfect.h"
#include "os/interrupt.h"

enum {
  BLOCK = 4 * 1024 * 1024,    /* a multiple of 2 MiB, which is what large pages are on x86 */
  ROOM = BLOCK + 1024 * 1024, /* records of up to the difference are made in the buffer */
  WRITEBACK_EACH = 32 * 1024 * 1024
};
#define OPERATIONS_MOST (UINT32_C(1) << 31)

/* ------------------------------------------------------------------------------------ the bytes */

/* [from, to) of the buffer, at its place in the file.  Room for it is had before: a full disk is
** found here, and so is the limit on the size of files, which a write would meet with a signal. */
static int write_out(load *l, uint64_t to) {
  store *s = l->s;
  int rc = os_grow(&s->file, s->path, (to + 4095) & ~UINT64_C(4095));
  if (rc != MAPH_OK) return rc;
  OS_TEST_STORE(s->write_base, l->buffer_at, to - l->buffer_at);
  return os_write(&s->file, s->path, l->buffer_at, l->buffer, to - l->buffer_at);
}

/* CANCELLED: the caller says stop. */
static int tell(load *l) {
  const char *path = l->s->path;
  if (l->how.listener == NULL) return interrupt_check(path);
  return l->records_end
             ? progress_tell(l->how.listener, path, "index", l->at - l->records_end, l->index_size)
             : progress_tell(l->how.listener, path, "load", l->records,
                             MAX(l->how.keys, l->records + 1));
}

/* A whole block, and what goes past it begins the next one. */
static int write_block(load *l) {
  store *s = l->s;
  int rc = tell(l);
  if (rc == MAPH_OK) rc = write_out(l, l->buffer_at + BLOCK);
  if (rc != MAPH_OK) return rc;
  l->buffer_at += BLOCK;
  memmove(l->buffer, l->buffer + BLOCK, l->at - l->buffer_at);
  if (l->buffer_at - l->written_back >= WRITEBACK_EACH && !s->in_memory) {
    os_start_writeback(&s->file, l->written_back, l->buffer_at);
    l->written_back = l->buffer_at;
  }
  return MAPH_OK;
}

static inline uint8_t *next_byte(const load *l) { return l->buffer + (l->at - l->buffer_at); }

/* n bytes more were put there. */
static inline int advance(load *l, uint64_t n) {
  l->at += n;
  return unlikely(l->at - l->buffer_at >= BLOCK) ? write_block(l) : MAPH_OK;
}

static int append(void *arg, const void *data, uint64_t size) {
  load *l = arg;
  const uint8_t *p = data;
  int rc = MAPH_OK;
  while (rc == MAPH_OK && size > 0) {
    uint64_t n = MIN(size, BLOCK - (l->at - l->buffer_at));
    memcpy(next_byte(l), p, n);
    p += n;
    size -= n;
    rc = advance(l, n);
  }
  return rc;
}

static int append_pad(load *l, uint64_t size) {
  static const uint8_t zeros[128];
  record r;
  int rc;
  if (size == 0) return MAPH_OK;
  log_fill_pad(l->s, l->at, size, &r);
  rc = append(l, &r, sizeof r);
  return rc == MAPH_OK ? append(l, zeros, size - sizeof r) : rc;
}

/* ---------------------------------------------------------------------------------- the records */

/* A transaction ends here. */
static int append_end(load *l) {
  store *s = l->s;
  end_record e;
  int rc;
  if (l->operations == 0) return MAPH_OK;
  record_fill_end(&e, KIND_END, l->how.version, s->last.end - END_SIZE);
  e.head.operations = (uint32_t)l->operations;
  e.start = l->start;
  e.records = l->records;
  e.bytes = l->bytes;
  e.chain = record_chain(s->salt, s->last.chain, &e, l->digest);
  e.head.checksum = record_checksum(s->salt, l->at, (const uint8_t *)&e, END_SIZE);
  rc = append(l, &e, sizeof e);
  s->last = record_tip(&e, l->at);
  l->operations = l->digest = 0;
  return rc;
}

/* A record of n bytes was put at l->at. */
static inline void count(load *l, uint64_t n, uint64_t bytes_8_to_15) {
  l->digest = record_digest(l->digest, l->at, bytes_8_to_15);
  if (l->operations++ == 0) l->start = l->at;
  l->records++;
  l->bytes += n;
}

/* The record that was made in the buffer. */
static inline int seal_record(load *l, uint64_t n) {
  uint8_t *p = next_byte(l);
  ((record *)(void *)p)->checksum = record_checksum(l->s->salt, l->at, p, n);
  count(l, n, load64(p + 8));
  return advance(l, n);
}

/* One too large for that: a front, which holds its head, and two more parts. */
static int append_parts(load *l, const maph_slice parts[3], uint64_t n) {
  record *r = (record *)(uintptr_t)parts[0].data;
  int i, rc = MAPH_OK;
  r->checksum = record_checksum_of_parts(l->s->salt, l->at, parts, 3);
  count(l, n, load64((const uint8_t *)r + 8));
  for (i = 0; rc == MAPH_OK && i < 3; i++) rc = append(l, parts[i].data, parts[i].size);
  return rc;
}

/* Room in the transaction for one more.  Keys that may come twice must all be in one. */
static inline int begin_record(load *l) {
  if (likely(l->operations < OPERATIONS_MOST)) return MAPH_OK;
  if (l->how.unique) return append_end(l);
  return fail(MAPH_FULL, "%s: a load has at most 2^31 entries: put the others into the store",
              l->s->path);
}

static int put_large(load *l, const log_put *put, uint64_t size) {
  uint8_t *front = os_alloc(LOG_FRONT_MOST), back[LOG_BACK_MOST];
  maph_slice parts[3];
  int rc;
  if (front == NULL) return MAPH_NOMEM;
  parts[0] = maph_bytes(front, log_fill_front(front, put));
  parts[1] = put->value;
  parts[2] = maph_bytes(back, log_fill_back(back, put, parts[0].size + put->value.size));
  rc = append_parts(l, parts, size);
  os_free(front);
  return rc;
}

int load_put(load *l, const log_put *put) {
  uint64_t size = log_put_size(put);
  int rc = begin_record(l);
  if (rc == MAPH_OK) rc = hashes_add(&l->hashes, index_hash(l->s, put->key), l->at);
  if (unlikely(rc != MAPH_OK)) return rc;
  if (unlikely(size > ROOM - BLOCK)) return put_large(l, put, size);
  log_fill_put(next_byte(l), put);
  return seal_record(l, size);
}

static int copy_large(load *l, const uint8_t *from, const item *it, uint64_t size) {
  static const uint8_t zeros[256 * 8];
  _Alignas(8) uint8_t head[RECORD_HEAD];
  maph_slice parts[3];
  log_fill_copy_head(head, from, size - it->needs);
  parts[0] = maph_bytes(head, sizeof head);
  parts[1] = maph_bytes(from + RECORD_HEAD, it->needs - RECORD_HEAD);
  parts[2] = maph_bytes(zeros, size - it->needs);
  return append_parts(l, parts, size);
}

static inline int copy(load *l, const uint8_t *from, const item *it, uint64_t size) {
  if (unlikely(size > ROOM - BLOCK)) return copy_large(l, from, it, size);
  log_fill_copy(next_byte(l), from, it->needs, size);
  return seal_record(l, size);
}

int load_copy(load *l, const uint8_t *from, const item *it, uint64_t hash) {
  int rc = begin_record(l);
  if (rc == MAPH_OK) rc = hashes_add(&l->hashes, hash, l->at);
  return rc == MAPH_OK ? copy(l, from, it, it->needs) : rc;
}

int load_copy_frozen(load *l, const uint8_t *from, const item *it, uint64_t size) {
  int rc = begin_record(l);
  return rc == MAPH_OK ? copy(l, from, it, size) : rc;
}

int load_align(load *l) { return append_pad(l, log_gap(l->at, 0)); }

int load_perfect(load *l, uint8_t *payload, uint64_t size, int algorithm) {
  static const uint8_t zeros[RECORD_HEAD + 64];
  perfect_head *h = (perfect_head *)(void *)payload;
  record r;
  int rc = append_pad(l, log_extent_gap(l->at));
  if (rc != MAPH_OK) return rc;
  h->checksum = perfect_checksum(l->s, payload, size);
  log_fill_extent(l->s, l->at, EXTENT_PERFECT, 0, 0, size, &r);
  rc = append(l, &r, sizeof r);
  l->perfect_at = l->at;
  l->perfect_size = size;
  l->perfect_algorithm = algorithm;
  if (rc == MAPH_OK) rc = append(l, payload, size);
  return rc == MAPH_OK ? append(l, zeros, log_extent_size(size) - RECORD_HEAD - size) : rc;
}

/* -------------------------------------------------------------------------- keys that came twice */

/* Records are read through the mapping: what of them is in the buffer is written too, once. */
static int settle(load *l, view *v) {
  store *s = l->s;
  int rc = MAPH_OK;
  if (!l->settled) {
    if (l->buffer_at < l->records_end) rc = write_out(l, l->at);
    if (rc == MAPH_OK) rc = store_see_size(s, l->records_end);
    l->settled = 1;
  }
  view_for_writing(s, l->records_end, v);
  return rc;
}

static int compare(void *arg, uint64_t older, uint64_t newer, int *same) {
  load *l = arg;
  item a, b;
  view v;
  int rc = settle(l, &v);
  if (rc == MAPH_OK) rc = record_item(&v, older, v.snapshot, &a);
  if (rc == MAPH_OK) rc = record_item(&v, newer, v.snapshot, &b);
  *same = rc == MAPH_OK && a.key_size == b.key_size && memcmp(a.key, b.key, a.key_size) == 0;
  return rc;
}

/* Bytes that were put already are to be others, in the file and, as far as they are there, in the
** buffer, from which the file gets them again. */
static int patch(load *l, uint64_t offset, const void *data, uint64_t size) {
  const uint8_t *p = data;
  uint64_t i;
  OS_TEST_STORE(l->s->write_base, offset, size);
  for (i = 0; i < size; i++)
    if (offset + i >= l->buffer_at) l->buffer[offset + i - l->buffer_at] = p[i];
  return os_write(&l->s->file, l->s->path, offset, data, size);
}

static int supersede(void *arg, uint64_t older) {
  load *l = arg;
  record r;
  item it;
  view v;
  int rc = settle(l, &v);
  if (rc == MAPH_OK) rc = record_item(&v, older, v.snapshot, &it);
  if (rc == MAPH_OK && l->how.unique)
    rc = fail_corrupt(l->s->path, older, "two records of one key are live");
  if (rc != MAPH_OK) return rc;
  log_fill_pad(l->s, older, it.size, &r);
  l->superseded++;
  l->records--;
  l->operations--;
  l->bytes -= it.size;
  return patch(l, older, &r, sizeof r);
}

/* Start and digest of the transaction's records, those that became pads left out. */
static int fold_again(load *l) {
  int rc;
  view v;
  walk w;
  rc = settle(l, &v);
  w = walk_from(&v, l->start, l->records_end);
  l->start = l->digest = 0;
  while (walk_next(&w, &rc)) {
    if (!walk_is_data(&w)) continue;
    if (l->start == 0) l->start = w.it.offset;
    l->digest = record_digest(l->digest, w.it.offset, w.it.bytes_8_to_15);
  }
  return rc;
}

/* ------------------------------------------------------------------------------ begin and finish */

/* The header page, and the epoch that opens the log. */
static int begin_file(load *l) {
  store *s = l->s;
  header *h = header_of(l->buffer);
  end_record e;
  header_make(h, l->how.uuid, l->how.generation, l->how.base_version);
  s->salt = header_salt(h);
  s->hash_seed = h->hash_seed;
  s->generation = l->how.generation;
  s->base_version = l->how.base_version;
  memcpy(s->uuid, h->uuid, 16);
  l->at = LOG_START;
  record_fill_end(&e, KIND_EPOCH, l->how.base_version, 0);
  os_random(&e.start, sizeof e.start);
  e.chain = record_chain(s->salt, 0, &e, 0);
  e.head.checksum = record_checksum(s->salt, LOG_START, (const uint8_t *)&e, END_SIZE);
  s->last = record_tip(&e, LOG_START + END_SIZE);
  return append(l, &e, sizeof e);
}

int load_begin(load *l, store *s, const load_how *how) {
  int rc;
  assert(s->lockless);
  memset(l, 0, sizeof *l);
  l->s = s;
  l->how = *how;
  rc = hashes_begin(&l->hashes, s->path, how->keys, how->memory ? how->memory : UINT64_MAX);
  l->buffer = os_alloc(ROOM);
  if (l->buffer == NULL) rc = MAPH_NOMEM;
  if (rc == MAPH_OK) rc = store_see_size(s, 0);
  if (rc == MAPH_OK) rc = store_map_for_writing(s);
  return rc == MAPH_OK ? begin_file(l) : rc;
}

void load_clear(load *l) {
  l->peak = MAX(l->peak, ROOM + l->hashes.peak);
  hashes_clear(&l->hashes);
  os_free(l->buffer);
  l->buffer = NULL;
}

static int append_index(load *l) {
  const index_sink sink = { l, append, compare, supersede };
  unsigned depth = index_depth_for(MAX(l->hashes.count, l->how.keys));
  int rc;
  l->records_end = l->at;
  l->index_size = index_size(depth);
  rc = tell(l);
  if (rc == MAPH_OK) rc = append_pad(l, log_extent_gap(l->at));
  if (rc == MAPH_OK)
    rc = index_build(l->s, &l->hashes, depth, l->at, &sink, &l->root);
  return rc == MAPH_OK && l->superseded ? fold_again(l) : rc;
}

/* The file is whole but for its header: that is mapped from here on. */
static int map_file(load *l) {
  store *s = l->s;
  int rc = write_out(l, l->at);
  if (rc == MAPH_OK) rc = store_see_size(s, l->at);
  s->space_end = l->at;
  s->populated = 0;
  if (rc == MAPH_OK && l->perfect_at) {
    header_set_perfect(s, l->perfect_at, l->perfect_size, l->perfect_algorithm);
    rc = perfect_open(s, s->write_base, atomic_load(&s->size));
  }
  return rc;
}

int load_finish(load *l) {
  store *s = l->s;
  header *h;
  int rc = append_index(l);
  if (rc == MAPH_OK) rc = append_end(l);
  if (rc == MAPH_OK) rc = map_file(l);
  if (rc != MAPH_OK) return rc;
  h = header_of(s->write_base);
  store_word(s->write_base, &h->root, l->root);
  store_word(s->write_base, &h->end, s->space_end);
  store_word(s->write_base, &h->prepared, s->last.end);
  store_word(s->write_base, &h->committed, s->last.end);
  store_word(s->write_base, &h->clean, CLEAN_YES);
  header_checkpoint(s, &s->last);
  return MAPH_OK;
}
