/*
** log.c - records written into the log, where there is room (reserve.c).
**
** On copy-on-write file systems a grant is no promise: there the bytes of records go through
** pwrite, which can fail politely.
**
** All calls are for the holder of the turn.  A crash in the middle leaves bytes past `end`, which
** nobody reads, or past `committed`, which the next writer covers with a pad.
*/
#include "file/log.h"
#include "file/grant.h"
#include "file/header.h"
#include "file/record.h"
#include "file/reserve.h"

/* Store bytes where no reader looks yet. */
static int put_bytes(store *store, uint64_t offset, const void *data, uint64_t size) {
  OS_TEST_STORE(store->write_base, offset, size);
  if (unlikely(store->file.file_system == OS_COPY_ON_WRITE)) {
    if (grant_lost(store)) return grant_say_lost(store); /* nothing more may reach the file */
    return os_write(&store->file, store->path, offset, data, size);
  }
  memcpy(store->write_base + offset, data, size);
  return MAPH_OK;
}

void log_lay_out(store *store, uint64_t offset, const put_parts *put, uint8_t *p, uint64_t *size,
                 uint64_t *bytes_8_to_15) {
  uint64_t n = layout_put_size(put);
  layout_put(p, put, n);
  ((record *)(void *)p)->checksum = record_checksum(store->salt, offset, p, n);
  *size = n;
  *bytes_8_to_15 = load64(p + 8);
}

int log_write_bytes(store *store, uint64_t offset, const void *data, uint64_t size) {
  assert(store_has_turn(store));
  assert(offset >= store->space_end); /* commit.c (1) */
  OS_TEST_STORE(store->write_base, offset, size);
  if (grant_lost(store)) return grant_say_lost(store); /* nothing more may reach the file */
  return os_write(&store->file, store->path, offset, data, size);
}

int log_write_put(store *store, uint64_t offset, const put_parts *put, uint64_t *size,
                  uint64_t *bytes_8_to_15) {
  uint8_t *p = store->write_base + offset, *copy = NULL;
  int rc;
  assert(store_has_turn(store));
  assert(offset >= store->space_end); /* commit.c (1) */
  if (unlikely(store->file.file_system == OS_COPY_ON_WRITE)) {
    p = copy = os_alloc(layout_put_size(put));
    if (copy == NULL) return MAPH_NOMEM;
  } else {
    OS_TEST_STORE(store->write_base, offset, layout_put_size(put));
  }
  log_lay_out(store, offset, put, p, size, bytes_8_to_15);
  if (likely(copy == NULL)) return MAPH_OK;
  rc = put_bytes(store, offset, copy, *size);
  os_free(copy);
  return rc;
}

int log_write_end(store *store, uint64_t offset, end_record *end) {
  assert(store_has_turn(store));
  end->head.checksum = record_checksum(store->salt, offset, (const uint8_t *)end, END_SIZE);
  return put_bytes(store, offset, end, END_SIZE);
}

int log_write_pad(store *store, uint64_t from, uint64_t to) {
  record record;
  assert(store_has_turn(store));
  layout_pad(store, from, to - from, &record);
  return put_bytes(store, from, &record, sizeof record);
}

/* What was flushed of the region says otherwise until the pad is on disk too. */
int log_cover(store *store, uint64_t from, uint64_t to) {
  int rc;
  pthread_mutex_lock(&store->flush_mutex);
  if (store->flushed > from) store->flushed = from;
  pthread_mutex_unlock(&store->flush_mutex);
  if (from >= to) return MAPH_OK;
  rc = grant_pages(store, from, from + RECORD_HEAD);
  return rc == MAPH_OK ? log_write_pad(store, from, to) : rc;
}

int log_erase_end(store *store, uint64_t offset) {
  static const uint8_t zeros[END_SIZE];
  return put_bytes(store, offset, zeros, END_SIZE);
}

int log_blank(store *store) {
  static const uint8_t zeros[RECORD_HEAD];
  uint64_t at = store->space_end;
  int rc;
  if (atomic_load(&store->size) < at + RECORD_HEAD || record_blank(store->write_base, at))
    return MAPH_OK;
  rc = grant_pages(store, at, at + RECORD_HEAD);
  return rc == MAPH_OK ? put_bytes(store, at, zeros, sizeof zeros) : rc;
}

/* `end` covers the extent before anybody can point to it. */
int log_extent(store *store, int extent, int depth, uint32_t prefix, uint64_t size,
               uint64_t *payload) {
  uint64_t at = store->space_end, gap = layout_extent_gap(at), total = layout_extent_size(size);
  record record;
  int rc;
  assert(store_has_turn(store));
  rc = reserve_room(store, at + gap + total + END_SIZE);
  if (rc == MAPH_OK && gap) rc = log_write_pad(store, at, at + gap);
  if (rc != MAPH_OK) return rc;
  at += gap;
  layout_extent(store, at, extent, depth, prefix, size, &record);
  store->space_end = at + total; /* `end` first: a head past it tells of a copy in two moments */
  store_word(store->write_base, &header_of(store->write_base)->end, store->space_end);
  rc = put_bytes(store, at, &record, sizeof record);
  if (rc != MAPH_OK) return rc;
  OS_TEST_STORE(store->write_base, at + RECORD_HEAD, total - RECORD_HEAD);
  memset(store->write_base + at + RECORD_HEAD, 0, total - RECORD_HEAD);
  *payload = at + RECORD_HEAD;
  return MAPH_OK;
}
