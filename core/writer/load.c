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
** whoever gives it one flushes it before.
*/
#include "writer/load.h"
#include "file/header.h"
#include "file/layout.h"
#include "file/size.h"
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
static int write_out(load *load, uint64_t to) {
  store *store = load->store;
  int rc = os_grow(&store->file, store->path, (to + 4095) & ~UINT64_C(4095));
  if (rc != MAPH_OK) return rc;
  OS_TEST_STORE(store->write_base, load->buffer_at, to - load->buffer_at);
  return os_write(&store->file, store->path, load->buffer_at, load->buffer, to - load->buffer_at);
}

/* CANCELLED: the caller says stop. */
static int tell(load *load) {
  const char *path = load->store->path;
  if (load->how.listener == NULL) return interrupt_check(path);
  return load->records_end ? progress_tell(load->how.listener, path, "index",
                                           load->at - load->records_end, load->index_size)
                           : progress_tell(load->how.listener, path, "load", load->records,
                                           MAX(load->how.keys, load->records + 1));
}

/* A whole block, and what goes past it begins the next one. */
static int write_block(load *load) {
  store *store = load->store;
  int rc = tell(load);
  if (rc == MAPH_OK) rc = write_out(load, load->buffer_at + BLOCK);
  if (rc != MAPH_OK) return rc;
  load->buffer_at += BLOCK;
  memmove(load->buffer, load->buffer + BLOCK, load->at - load->buffer_at);
  if (load->buffer_at - load->written_back >= WRITEBACK_EACH && !store->in_memory) {
    os_start_writeback(&store->file, load->written_back, load->buffer_at);
    load->written_back = load->buffer_at;
  }
  return MAPH_OK;
}

static inline uint8_t *next_byte(const load *load) {
  return load->buffer + (load->at - load->buffer_at);
}

/* n bytes more were put there. */
static inline int advance(load *load, uint64_t n) {
  load->at += n;
  return unlikely(load->at - load->buffer_at >= BLOCK) ? write_block(load) : MAPH_OK;
}

static int append(void *arg, const void *data, uint64_t size) {
  load *load = arg;
  const uint8_t *p = data;
  int rc = MAPH_OK;
  while (rc == MAPH_OK && size > 0) {
    uint64_t n = MIN(size, BLOCK - (load->at - load->buffer_at));
    memcpy(next_byte(load), p, n);
    p += n;
    size -= n;
    rc = advance(load, n);
  }
  return rc;
}

static int append_pad(load *load, uint64_t size) {
  static const uint8_t zeros[128];
  record record;
  int rc;
  if (size == 0) return MAPH_OK;
  layout_pad(load->store, load->at, size, &record);
  rc = append(load, &record, sizeof record);
  return rc == MAPH_OK ? append(load, zeros, size - sizeof record) : rc;
}

/* ---------------------------------------------------------------------------------- the records */

/* A transaction ends here.  Where versions are given, one without records may tell at which the
** store is. */
static int append_end(load *load) {
  store *store = load->store;
  end_record end;
  int rc;
  if (load->operations == 0) {
    if (!store->given || load->how.version <= store->last.version) return MAPH_OK;
    load->start = load->at;
  }
  record_fill_end(&end, KIND_END, load->how.version, store->last.end - END_SIZE);
  end.head.operations = (uint32_t)load->operations;
  end.start = load->start;
  end.records = load->records;
  end.bytes = load->bytes;
  end.chain = record_chain(store->salt, store->last.chain, &end, load->digest);
  end.head.checksum = record_checksum(store->salt, load->at, (const uint8_t *)&end, END_SIZE);
  rc = append(load, &end, sizeof end);
  store->last = record_tip(&end, load->at);
  load->operations = load->digest = 0;
  return rc;
}

/* A record of n bytes was put, at that offset or place. */
static inline void count(load *load, uint64_t offset, uint64_t n, uint64_t bytes_8_to_15) {
  load->digest = record_digest(load->digest, offset, bytes_8_to_15);
  if (load->operations++ == 0) load->start = offset;
  load->records++;
  load->bytes += n;
}

/* The record that was made in the buffer. */
static inline int seal_record(load *load, uint64_t n) {
  uint8_t *p = next_byte(load);
  ((record *)(void *)p)->checksum = record_checksum(load->store->salt, load->at, p, n);
  count(load, load->at, n, load64(p + 8));
  return advance(load, n);
}

/* One too large for that: a front, which holds its head, and two more parts. */
static int append_parts(load *load, const maph_slice parts[3], uint64_t n) {
  record *record = (struct record *)(uintptr_t)parts[0].data;
  int i, rc = MAPH_OK;
  record->checksum = record_checksum_of_parts(load->store->salt, load->at, parts, 3);
  count(load, load->at, n, load64((const uint8_t *)record + 8));
  for (i = 0; rc == MAPH_OK && i < 3; i++) rc = append(load, parts[i].data, parts[i].size);
  return rc;
}

/* Room in the transaction for one more.  Keys that may come twice must all be in one. */
static inline int begin_record(load *load) {
  if (likely(load->operations < OPERATIONS_MOST)) return MAPH_OK;
  if (load->how.unique) return append_end(load);
  return fail(MAPH_FULL, "%s: a load has at most 2^31 entries: put the others into the store",
              load->store->path);
}

static int put_large(load *load, const put_parts *put, uint64_t size) {
  uint8_t *front = os_alloc(LAYOUT_FRONT_MOST), back[LAYOUT_BACK_MOST];
  maph_slice parts[3];
  int rc;
  if (front == NULL) return MAPH_NOMEM;
  parts[0] = maph_bytes(front, layout_front(front, put));
  parts[1] = put->value;
  parts[2] = maph_bytes(back, layout_back(back, put, parts[0].size + put->value.size));
  rc = append_parts(load, parts, size);
  os_free(front);
  return rc;
}

int load_put(load *load, const put_parts *put) {
  uint64_t size = layout_put_size(put);
  int rc = begin_record(load);
  if (rc == MAPH_OK) rc = hashes_add(&load->hashes, index_hash(load->store, put->key), load->at);
  if (unlikely(rc != MAPH_OK)) return rc;
  if (unlikely(size > ROOM - BLOCK)) return put_large(load, put, size);
  layout_put(next_byte(load), put, size);
  return seal_record(load, size);
}

static int copy_large(load *load, const item *it, uint64_t size) {
  static const uint8_t zeros[8];
  _Alignas(8) uint8_t front[RECORD_HEAD + 16];
  maph_slice parts[3];
  parts[0] = maph_bytes(front, layout_copy_front(front, it));
  parts[1] = maph_bytes(it->key, it->key_size + (uint64_t)it->value_size + it->attributes_size);
  parts[2] = maph_bytes(zeros, size - parts[0].size - parts[1].size);
  return append_parts(load, parts, size);
}

int load_copy(load *load, const item *it, uint64_t hash) {
  uint64_t size = layout_copy_size(it);
  int rc = begin_record(load);
  if (rc == MAPH_OK) rc = hashes_add(&load->hashes, hash, load->at);
  if (rc != MAPH_OK) return rc;
  if (unlikely(size > ROOM - BLOCK)) return copy_large(load, it, size);
  layout_copy(next_byte(load), it);
  return seal_record(load, size);
}

int load_copy_frozen(load *load, const item *it, const short_form *form, uint64_t place,
                     uint64_t size) {
  uint64_t n, w8;
  int rc = begin_record(load);
  if (rc != MAPH_OK) return rc;
  n = layout_short(load->store, next_byte(load), load->at, it, form, size, &w8);
  count(load, place, n, w8);
  return advance(load, size);
}

int load_end_frozen(load *load, const short_form *form) {
  static const uint8_t zeros[8];
  load->form = *form;
  return append(load, zeros, form->past - load->at);
}

int load_align(load *load) { return append_pad(load, layout_gap(load->at, 0)); }

int load_perfect(load *load, uint8_t *payload, uint64_t size, int algorithm) {
  static const uint8_t zeros[RECORD_HEAD + 64];
  perfect_head *head = (perfect_head *)(void *)payload;
  record record;
  int rc = append_pad(load, layout_extent_gap(load->at));
  if (rc != MAPH_OK) return rc;
  head->checksum = perfect_checksum(load->store, payload, size - short_moved_size(head->keys));
  layout_extent(load->store, load->at, EXTENT_PERFECT, 0, 0, size, &record);
  rc = append(load, &record, sizeof record);
  load->perfect_at = load->at;
  load->perfect_size = size;
  load->perfect_algorithm = algorithm;
  if (rc == MAPH_OK) rc = append(load, payload, size);
  return rc == MAPH_OK ? append(load, zeros, layout_extent_size(size) - RECORD_HEAD - size) : rc;
}

/* ------------------------------------------------------------------------- keys that came twice */

/* Records are read through the mapping: what of them is in the buffer is written too, once. */
static int settle(load *load, view *view) {
  store *store = load->store;
  int rc = MAPH_OK;
  if (!load->settled) {
    if (load->buffer_at < load->records_end) rc = write_out(load, load->at);
    if (rc == MAPH_OK) rc = store_see_size(store, load->records_end);
    load->settled = 1;
  }
  view_for_writing(store, load->records_end, view);
  return rc;
}

static int compare(void *arg, uint64_t older, uint64_t newer, int *same) {
  load *load = arg;
  item item, b;
  view view;
  int rc = settle(load, &view);
  if (rc == MAPH_OK) rc = record_item(&view, older, view.snapshot, &item);
  if (rc == MAPH_OK) rc = record_item(&view, newer, view.snapshot, &b);
  *same =
      rc == MAPH_OK && item.key_size == b.key_size && memcmp(item.key, b.key, item.key_size) == 0;
  return rc;
}

/* Bytes that were put already are to be others, in the file and, as far as they are there, in the
** buffer, from which the file gets them again. */
static int patch(load *load, uint64_t offset, const void *data, uint64_t size) {
  const uint8_t *p = data;
  uint64_t i;
  OS_TEST_STORE(load->store->write_base, offset, size);
  for (i = 0; i < size; i++)
    if (offset + i >= load->buffer_at) load->buffer[offset + i - load->buffer_at] = p[i];
  return os_write(&load->store->file, load->store->path, offset, data, size);
}

static int supersede(void *arg, uint64_t older) {
  load *load = arg;
  record record;
  item it;
  view view;
  int rc = settle(load, &view);
  if (rc == MAPH_OK) rc = record_item(&view, older, view.snapshot, &it);
  if (rc == MAPH_OK && load->how.unique)
    rc = fail_corrupt(load->store->path, older, "two records of one key are live");
  if (rc != MAPH_OK) return rc;
  layout_pad(load->store, older, it.size, &record);
  load->superseded++;
  load->records--;
  load->operations--;
  load->bytes -= it.size;
  return patch(load, older, &record, sizeof record);
}

/* Start and digest of the transaction's records, those that became pads left out. */
static int fold_again(load *load) {
  int rc;
  view view;
  walk walk;
  rc = settle(load, &view);
  walk = walk_from(&view, load->start, load->records_end);
  load->start = load->digest = 0;
  while (walk_next(&walk, &rc)) {
    if (!walk_is_data(&walk)) continue;
    if (load->start == 0) load->start = walk.it.offset;
    load->digest = record_digest(load->digest, walk.it.offset, walk.it.bytes_8_to_15);
  }
  return rc;
}

/* ----------------------------------------------------------------------------- begin and finish */

/* The header page, and the epoch that opens the log. */
static int begin_file(load *load) {
  store *store = load->store;
  header *header = header_of(load->buffer);
  end_record end;
  header_make(store, header, &load->how.identity);
  load->at = LOG_START;
  record_fill_end(&end, KIND_EPOCH, load->how.identity.base_version, 0);
  os_random(&end.start, sizeof end.start);
  end.chain = record_chain(store->salt, 0, &end, 0);
  end.head.checksum = record_checksum(store->salt, LOG_START, (const uint8_t *)&end, END_SIZE);
  store->last = record_tip(&end, LOG_START + END_SIZE);
  return append(load, &end, sizeof end);
}

int load_begin(load *load, store *store, const load_how *how) {
  int rc;
  assert(store->lockless);
  memset(load, 0, sizeof *load);
  load->store = store;
  load->how = *how;
  rc = hashes_begin(&load->hashes, store->path, how->keys, how->memory ? how->memory : UINT64_MAX);
  load->buffer = os_alloc(ROOM);
  if (load->buffer == NULL) rc = MAPH_NOMEM;
  if (rc == MAPH_OK) rc = store_see_size(store, 0);
  if (rc == MAPH_OK) rc = store_map_for_writing(store);
  return rc == MAPH_OK ? begin_file(load) : rc;
}

void load_clear(load *load) {
  load->peak = MAX(load->peak, ROOM + load->hashes.peak);
  hashes_clear(&load->hashes);
  os_free(load->buffer);
  load->buffer = NULL;
}

static int append_index(load *load) {
  const index_sink sink = { load, append, compare, supersede };
  unsigned depth = index_depth_for(MAX(load->hashes.count, load->how.keys));
  int rc;
  load->records_end = load->at;
  load->index_size = index_size(depth);
  rc = tell(load);
  if (rc == MAPH_OK) rc = append_pad(load, layout_extent_gap(load->at));
  if (rc == MAPH_OK)
    rc = index_build(load->store, &load->hashes, depth, load->at, &sink, &load->root);
  return rc == MAPH_OK && load->superseded ? fold_again(load) : rc;
}

/* The file is whole but for its header: that is mapped from here on. */
static int map_file(load *load) {
  store *store = load->store;
  int rc = write_out(load, load->at);
  if (rc == MAPH_OK) rc = store_see_size(store, load->at);
  store->space_end = load->at;
  store->populated = 0;
  if (rc == MAPH_OK && load->perfect_at) {
    header_set_perfect(store, load->perfect_at, load->perfect_size, load->perfect_algorithm,
                       &load->form);
    rc = perfect_open(store, store->write_base, atomic_load(&store->size));
  }
  return rc;
}

int load_finish(load *load) {
  store *store = load->store;
  header *header;
  int rc = append_index(load);
  if (rc == MAPH_OK) rc = append_end(load);
  if (rc == MAPH_OK) rc = map_file(load);
  if (rc != MAPH_OK) return rc;
  header = header_of(store->write_base);
  store_word(store->write_base, &header->root, load->root);
  header_show(store);
  store_word(store->write_base, &header->clean, CLEAN_YES);
  header_checkpoint(store, &store->last);
  return MAPH_OK;
}
