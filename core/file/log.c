/*
** log.c - room at the end of the file, and the records that are written there.
**
** Nothing is stored into space that was not granted before (os_grow) and faulted in before
** (os_populate), so that a full disk is an error code here and never a signal later.  The mapping
** reserves address space far past the end of the file: growth needs no new mapping until it is
** outgrown, and then the old one is kept, because slices point into it.
**
** On copy-on-write file systems a grant is no promise: there the bytes of records go through
** pwrite, which can fail politely.
**
** THE RESERVE.  Deleting appends too, so a store that had filled its disk could never be emptied.
** Where the disk is nearly full (grant_scarce) the file therefore has granted space past `end` that
** puts do not use: an eighth of the log for transactions that only delete, and behind it as much as
** an empty store takes, which compaction gives back to the disk to begin its new file
** (rewrite.c).  Whoever trims the file so, with the lock, does it behind the back of other writing
** processes: each looks at the size again when it gets the lock (session.c).  Until the new file
** has the name, or the compaction failed, that process holds byte 3 of the lock file: others then
** neither count on what was given away nor take it from the disk, and wait for the end of it where
** what is left may not do (handle_begin).
**
** All calls but store_see_size, store_map_opened and log_fill_* are for the holder of the turn.  A
** crash in the middle leaves bytes past `end`, which nobody reads, or past `committed`, which the
** next writer covers with a pad.
*/
#include "file/log.h"
#include "file/grant.h"
#include "file/record.h"
#include "file/store.h"

/* No put should wait long for room: a step of 64 pages takes some tenths of a millisecond. */
enum {
  GROW_LEAST = 64 * 1024,
  GROW_MOST = 64 * 1024 * 1024,
  GROW_MOST_IN_MEMORY = 16 * 1024 * 1024,
  POPULATE_MOST = 256 * 1024,
  BULK = 1024 * 1024,
  POPULATE_MOST_IN_BULK = 2 * 1024 * 1024,
  SPARED_LEAST = 128 * 1024,
  SPARED_MOST = 64 * 1024 * 1024,
  MEANWHILE_LEAST = 32 * 1024
};

/* ---------------------------------------------------------------------------- size and mappings */

static uint64_t reserve_for(uint64_t size) {
  uint64_t least = UINT64_C(64) << 30;
#ifdef MAPH_TEST
  if (os_test.reserve) least = os_test.reserve;
  if (os_test.reserve) return MAX(least, (size + 4095) & ~UINT64_C(4095));
#endif
  return MAX(least, (16 * size + 4095) & ~UINT64_C(4095));
}

/* The writable mapping does without read-ahead: for a page past the end of what was written it
** would be megabytes of zeroing at once, and large page-cache folios that make each small flush a
** large one.
**
** Map at least `size` bytes; halve the reserve while the address space does not allow it, and then
** leave some of it to others. */
static int map_reserving(store *store, uint64_t size, int writable, uint8_t **base,
                         uint64_t *length) {
  uint64_t want = reserve_for(size), least = MAX(size, (uint64_t)GROW_LEAST);
  int rc, scarce = 0;
  sentence before;
  error_keep(&before);
  while ((rc = os_map(&store->file, store->path, want, writable, base)) == MAPH_NOMEM
         && want / 2 >= least) {
    want /= 2;
    scarce = 1;
  }
  if (rc == MAPH_OK && scarce && want / 8 >= least) {
    os_unmap(*base, want);
    want /= 8;
    rc = os_map(&store->file, store->path, want, writable, base);
  }
  if (rc == MAPH_OK) {
    *length = want;
    os_advise(*base, want, writable && !ONE_MAPPING ? MAPH_ADVISE_RANDOM : store->advice,
              store->huge_pages);
  }
  return error_done(rc, &before, store->path);
}

/* Keep an outgrown mapping until the store is closed. */
static int keep_outgrown(store *store, uint8_t *base, uint64_t length) {
  mapping *old;
  if (base == NULL) return MAPH_OK;
  old = os_alloc(sizeof *old);
  if (old == NULL) return error_name(MAPH_NOMEM, store->path);
  old->base = base;
  old->length = length;
  old->next = store->outgrown;
  store->outgrown = old;
  return MAPH_OK;
}

/* Under mapping_mutex: make the mappings reach `size`. */
static int map_to(store *store, uint64_t size) {
  uint8_t *base;
  uint64_t length;
  int rc;
  assert(is_locked(&store->mapping_mutex));
  if (size > store->mapped || atomic_load(&store->base) == NULL) {
    rc = map_reserving(store, size, ONE_MAPPING && store->file.writable, &base, &length);
    if (rc != MAPH_OK) return rc;
    rc = keep_outgrown(store, atomic_load(&store->base), store->mapped);
    if (rc != MAPH_OK) {
      os_unmap(base, length);
      return rc;
    }
    atomic_store_explicit(&store->base, base, memory_order_release);
    store->mapped = length;
    if (ONE_MAPPING && store->file.writable) {
      store->write_base = base;
      store->write_mapped = length;
    }
  }
  if (!ONE_MAPPING && store->write_base != NULL && size > store->write_mapped) {
    rc = map_reserving(store, size, 1, &base, &length);
    if (rc != MAPH_OK) return rc;
    rc = keep_outgrown(store, store->write_base, store->write_mapped);
    if (rc != MAPH_OK) {
      os_unmap(base, length);
      return rc;
    }
    store->write_base = base;
    store->write_mapped = length;
  }
  return MAPH_OK;
}

/* What a get asks memory for before it knows the record's size: a guess, by the last end record. It
** is made anew whenever the file has grown.  relaxed: it only steers a prefetch, so any value is
** right. */
static void learn_usual_end(store *store) {
  uint64_t size = store->file.size, committed, mean = 0;
  const uint8_t *base = atomic_load(&store->base);
  if (size < LOG_START + END_SIZE) return;
  committed = atomic_load_explicit(&header_of(base)->committed, memory_order_acquire);
  if (committed - (LOG_START + END_SIZE) <= size - (LOG_START + END_SIZE) && committed % 8 == 0) {
    const end_record *end = (const end_record *)(const void *)(base + committed - END_SIZE);
    uint64_t records = load64(&end->records), bytes = load64(&end->bytes);
    if (records > 0) mean = bytes / records;
  }
  atomic_store_explicit(&store->usual_end, usual_end(mean), memory_order_relaxed);
}

/* Under mapping_mutex: the file has that size. */
static int take_size(store *store, uint64_t size) {
  int rc;
  size = MIN(size, OFFSET_MAX);
  rc = map_to(store, size);
  if (rc != MAPH_OK) return rc;
  store->file.size = size;
  atomic_store_explicit(&store->size, size, memory_order_release);
  learn_usual_end(store);
  return MAPH_OK;
}

int store_map_opened(store *store) {
  int rc;
  pthread_mutex_lock(&store->mapping_mutex);
  rc = take_size(store, store->file.size);
  pthread_mutex_unlock(&store->mapping_mutex);
  return rc;
}

int store_see_size(store *store, uint64_t need) {
  uint64_t size;
  int rc;
  pthread_mutex_lock(&store->mapping_mutex);
  rc = os_size(&store->file, &size);
  if (rc == MAPH_OK) rc = take_size(store, size);
  if (rc == MAPH_OK && need > store->file.size)
    rc = fail_corrupt(store->path, need, "the file ends before a place that it names");
  pthread_mutex_unlock(&store->mapping_mutex);
  return rc;
}

int store_map_for_writing(store *store) {
  uint64_t length = 0;
  uint8_t *base = NULL;
  int rc = MAPH_OK;
  pthread_mutex_lock(&store->mapping_mutex);
  if (atomic_load(&store->write_base) == NULL) {
    rc = map_reserving(store, atomic_load(&store->size), 1, &base, &length);
    store->write_base = base;
    store->write_mapped = length;
  }
  pthread_mutex_unlock(&store->mapping_mutex);
  return rc;
}

static int grow(store *store, uint64_t to) {
  uint64_t most = store->file.file_system == OS_MEMORY ? GROW_MOST_IN_MEMORY : GROW_MOST, size,
           step, want;
  sentence before;
  int rc;
  error_keep(&before);
  pthread_mutex_lock(&store->mapping_mutex);
  rc = os_size(&store->file, &size);
  if (rc != MAPH_OK) goto done;
  store->file.size = size;
  step = MIN(MAX(size / 8, (uint64_t)GROW_LEAST), most);
  to = (to + 4095) & ~UINT64_C(4095);
  if (to > OFFSET_MAX) {
    rc = fail(MAPH_FULL, "%s: the format's limit of 8 TiB is reached: compact the store",
              store->path);
    goto done;
  }
  /* to whole steps, so to whole pages of every machine */
  want = (MAX(to, size + step) + GROW_LEAST - 1) & ~(uint64_t)(GROW_LEAST - 1);
  /* else another process let it grow */
  if (size < to) rc = os_grow(&store->file, store->path, MIN(want, OFFSET_MAX));
  if (rc == MAPH_FULL && size + step > to) rc = os_grow(&store->file, store->path, to);
  if (rc == MAPH_OK) rc = map_to(store, store->file.size);
  if (rc == MAPH_OK) {
    atomic_store_explicit(&store->size, store->file.size, memory_order_release);
    learn_usual_end(store);
  }
done:
  pthread_mutex_unlock(&store->mapping_mutex);
  return error_done(rc, &before, store->path);
}

/* What compaction counts on was given to one, here or in another process. */
static int is_lent(const store *store) {
  return store->lent || (store->lock.fd >= 0 && os_locked(&store->lock, LOCK_LENT));
}

/* How many bytes at the end of the file that is. */
static uint64_t spared(store *store, int spares) {
  uint64_t deletes = MIN(MAX(store->space_end / 8, (uint64_t)SPARED_LEAST), (uint64_t)SPARED_MOST);
  if (likely(spares == LOG_SPARES_NOTHING) || store->in_memory || !grant_scarce(store)) return 0;
  if (spares == LOG_SPARES_MEANWHILE) return MAX(deletes / 8, (uint64_t)MEANWHILE_LEAST);
  if (spares == LOG_SPARES_COMPACTION) return is_lent(store) ? 0 : SPARED_LEAST;
  return SPARED_LEAST + deletes;
}

/* Why there is room in the file and none for this. */
static int say_spared(const store *store) {
  if (store->spares == LOG_SPARES_DELETES)
    return fail(MAPH_FULL,
                "%s: the disk is full, and what the file has left is kept for deletes: delete "
                "keys and compact the store, or make room",
                store->path);
  return fail(MAPH_FULL,
              "%s: the disk is full, and the room that was kept for deletes is used: compact the "
              "store, or make room",
              store->path);
}

/* Granted space up to `to` and behind it, as much as anyone must leave; where the disk has no more,
** as much as this transaction must.  What was lent to a compaction nobody takes from it.  relaxed:
** the size is compared, and log_room loads it again before anything is touched. */
static int room_behind(store *store, uint64_t to, uint64_t most) {
  uint64_t left = spared(store, store->spares);
  sentence before;
  int rc;
  error_keep(&before);
  rc = most > 0 && is_lent(store) ? MAPH_FULL : grow(store, to + most);
  if (rc != MAPH_FULL || most == 0) return rc;
  if (to + left <= atomic_load_explicit(&store->size, memory_order_relaxed))
    rc = MAPH_OK;
  else if (left < most)
    rc = grow(store, to + left);
  return rc == MAPH_FULL ? say_spared(store) : error_done(rc, &before, store->path);
}

int log_room(store *store, uint64_t to) {
  uint64_t size, ahead, most;
  assert(store_has_turn(store));
  /* a large transaction trades waits for throughput */
  int rc, bulk = store->bulk || to - store->space_end > BULK;
  if (likely(to <= store->populated)) return MAPH_OK;
  most = store->spares ? spared(store, LOG_SPARES_DELETES) : 0;
  /* acquire: another thread may have mapped the file anew for this size; write_base is read next */
  size = atomic_load_explicit(&store->size, memory_order_acquire);
  if (to + most > size) {
    rc = room_behind(store, to, most);
    if (rc != MAPH_OK) return rc;
    size = atomic_load_explicit(&store->size, memory_order_acquire);
  }
  ahead = MIN(to
                  + MIN(MAX(size / 16, (uint64_t)GROW_LEAST),
                        (uint64_t)(bulk ? POPULATE_MOST_IN_BULK : POPULATE_MOST)),
              size);
  /* what is spared is asked for each time */
  if (!store->bulk)
    ahead = MIN(ahead, MAX(to, size - MIN(size, spared(store, LOG_SPARES_DELETES))));
  if (store->populated < store->space_end) store->populated = store->space_end;
  if (bulk) os_read_ahead(store->base, MIN(store->populated, to), ahead);
  rc = os_populate(&store->file, store->path, store->write_base, MIN(store->populated, to), ahead);
  if (rc == MAPH_OK) store->populated = ahead;
  return rc;
}

void log_trim(store *store, int spares) {
  sentence before;
  assert(store_has_turn(store));
  error_keep(&before);
  os_trim(&store->file, (store->space_end + spared(store, spares) + 4095) & ~UINT64_C(4095));
  store->populated = 0;
  if (store_see_size(store, 0) != MAPH_OK) error_put_back(&before);
}

/* relaxed: the size is a number to compare here; what lies below it is not touched. */
uint64_t log_lendable(store *store) {
  uint64_t size = atomic_load_explicit(&store->size, memory_order_relaxed),
           taken = store->space_end + spared(store, LOG_SPARES_MEANWHILE);
  return size > taken ? size - taken : 0;
}

void log_lend(store *store) {
  sentence before;
  assert(store_has_turn(store));
  log_trim(store, LOG_SPARES_MEANWHILE);
  store->lender = pthread_self();
  store->lent = 1;
  error_keep(&before);
  if (os_lock(&store->lock, LOCK_LENT, 1) < 0) error_put_back(&before);
}

void log_lending_over(store *store) {
  store->lent = 0;
  if (store->lock.fd >= 0) os_unlock(&store->lock, LOCK_LENT);
}

void log_take_again(store *store) {
  log_lending_over(store);
  log_keep_for_deletes(store);
}

/* relaxed: as in log_lendable. */
int log_lent(store *store, uint64_t bytes) {
  uint64_t size = atomic_load_explicit(&store->size, memory_order_relaxed);
  assert(store_has_turn(store));
  if (likely(size - store->space_end >= bytes) || store->in_memory || !grant_scarce(store))
    return 0;
  return store->lent ? !pthread_equal(store->lender, pthread_self()) : is_lent(store);
}

/* What the disk does not grant, whoever needs it finds out. */
void log_keep_for_deletes(store *store) {
  uint64_t end = store->space_end + END_SIZE;
  sentence before;
  assert(store_has_turn(store));
  error_keep(&before);
  if (!store->in_memory && grow(store, end + spared(store, LOG_SPARES_DELETES)) == MAPH_FULL)
    (void)!grow(store,
                end + spared(store, LOG_SPARES_COMPACTION) + spared(store, LOG_SPARES_MEANWHILE));
  error_put_back(&before);
}

/* -------------------------------------------------------------------------------------- records */

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

/* relaxed: nobody is led to the record before `committed` is stored with release. */
static inline uint64_t fill_front(uint8_t *p, const log_put *put) {
  record *record = (struct record *)(void *)p;
  uint64_t attributes = put->media_type.size ? 2 + put->media_type.size : 0, at = RECORD_HEAD;
  atomic_store_explicit(&record->link, 0, memory_order_relaxed);
  record->kind = (uint8_t)put->kind;
  record->flags = (uint8_t)put->flags;
  record->key_size = (uint16_t)put->key.size;
  record->value_size = (uint32_t)put->value.size;
  record_set_version(record, put->version, put->prev, 0);
  if (put->flags & FLAG_EXPIRY) {
    memcpy(p + at, &put->expires, 8);
    at += 8;
  }
  if (put->flags & FLAG_ATTRIBUTES) {
    memcpy(p + at, &attributes, 8);
    at += 8;
  }
  memcpy(p + at, put->key.data, put->key.size);
  return at + put->key.size;
}

uint64_t log_fill_front(uint8_t *p, const log_put *put) { return fill_front(p, put); }

static inline uint64_t fill_attributes(uint8_t *p, const log_put *put) {
  if (likely(put->media_type.size == 0)) return 0;
  p[0] = ATTRIBUTE_MEDIA_TYPE;
  p[1] = (uint8_t)put->media_type.size;
  memcpy(p + 2, put->media_type.data, put->media_type.size);
  return 2 + put->media_type.size;
}

uint64_t log_fill_back(uint8_t *p, const log_put *put, uint64_t at) {
  uint64_t n = fill_attributes(p, put), zeros = -(at + n) & 7;
  memset(p + n, 0, zeros);
  return n + zeros;
}

/* The zeros at the end are stored first, as a whole word: the last one is past the head. */
static inline void fill_put(uint8_t *p, const log_put *put, uint64_t size) {
  uint64_t at;
  memset(p + size - sizeof(uint64_t), 0, sizeof(uint64_t));
  at = fill_front(p, put);
  if (put->value.size) memcpy(p + at, put->value.data, put->value.size);
  fill_attributes(p + at + put->value.size, put);
}

void log_fill_put(uint8_t *p, const log_put *put) { fill_put(p, put, log_put_size(put)); }

static inline uint64_t put_size(const log_put *put) {
  return record_size(put->flags, put->key.size, put->value.size,
                     put->media_type.size ? 2 + put->media_type.size : 0);
}

uint64_t log_put_size(const log_put *put) { return put_size(put); }

int log_write_put(store *store, uint64_t offset, const log_put *put, uint64_t *size,
                  uint64_t *bytes_8_to_15) {
  uint64_t n = put_size(put);
  uint8_t *p = store->write_base + offset, *copy = NULL;
  int rc;
  assert(store_has_turn(store));
  assert(offset >= store->space_end); /* commit.c (1) */
  if (unlikely(store->file.file_system == OS_COPY_ON_WRITE)) {
    p = copy = os_alloc(n);
    if (copy == NULL) return MAPH_NOMEM;
  } else {
    OS_TEST_STORE(store->write_base, offset, n);
  }
  fill_put(p, put, n);
  ((record *)(void *)p)->checksum = record_checksum(store->salt, offset, p, n);
  *size = n;
  *bytes_8_to_15 = load64(p + 8);
  if (likely(copy == NULL)) return MAPH_OK;
  rc = put_bytes(store, offset, copy, n);
  os_free(copy);
  return rc;
}

/* relaxed: as in fill_front. */
uint64_t log_fill_copy_front(uint8_t *p, const item *it) {
  record *record = (struct record *)(void *)p;
  uint64_t at = RECORD_HEAD;
  atomic_store_explicit(&record->link, 0, memory_order_relaxed);
  record->kind = (uint8_t)it->kind;
  record->flags = (uint8_t)it->flags;
  record->key_size = (uint16_t)it->key_size;
  record->value_size = it->value_size;
  record_set_version(record, it->version, 0, 0);
  if (it->flags & FLAG_EXPIRY) {
    memcpy(p + at, &it->expires, 8);
    at += 8;
  }
  if (it->flags & FLAG_ATTRIBUTES) {
    memcpy(p + at, &it->attributes_size, 8);
    at += 8;
  }
  return at;
}

uint64_t log_copy_size(const item *it) {
  return record_size(it->flags, it->key_size, it->value_size, it->attributes_size);
}

static uint64_t body_size(const item *it) {
  return it->key_size + (uint64_t)it->value_size + it->attributes_size;
}

void log_fill_copy(uint8_t *p, const item *it) {
  uint64_t at = log_fill_copy_front(p, it), n = body_size(it);
  memcpy(p + at, it->key, n);
  memset(p + at + n, 0, log_copy_size(it) - at - n);
}

uint64_t log_short_body(const item *it) {
  return (it->flags & FLAG_EXPIRY ? 8 : 0) + (it->flags & FLAG_ATTRIBUTES ? 2 : 0) + body_size(it);
}

uint64_t log_fill_short(const store *store, uint8_t *p, uint64_t address, const item *it,
                        const short_form *form, uint64_t size, uint64_t *bytes_8_to_15) {
  uint64_t distance = form->newest - it->version, at = SHORT_KEY_SIZE;
  uint32_t sum;
  p[4] = (uint8_t)it->flags;
  memcpy(p + at, &it->key_size, form->key_size);
  at += form->key_size;
  memcpy(p + at, &it->value_size, form->value_size);
  at += form->value_size;
  memcpy(p + at, &distance, form->distance);
  at += form->distance;
  if (it->flags & FLAG_EXPIRY) {
    memcpy(p + at, &it->expires, 8);
    at += 8;
  }
  if (it->flags & FLAG_ATTRIBUTES) {
    memcpy(p + at, &it->attributes_size, 2);
    at += 2;
  }
  memcpy(p + at, it->key, body_size(it));
  at += body_size(it);
  sum = record_checksum_of_short(store->salt, address, p, at);
  memcpy(p, &sum, sizeof sum);
  memset(p + at, 0, size - at);
  *bytes_8_to_15 =
      sum | (uint64_t)KIND_PUT << 32 | (uint64_t)it->flags << 40 | (uint64_t)it->key_size << 48;
  return at;
}

uint64_t log_life(const store *store, uint64_t version) {
  if (!store->given) return version >> 32;
  /* a file that is being made is not mapped yet, and begins its first */
  return atomic_load(&store->size) < HEADER_SIZE
             ? 0
             : atomic_load(&header_of(atomic_load(&store->base))->life);
}

int log_write_end(store *store, uint64_t offset, end_record *end) {
  assert(store_has_turn(store));
  end->head.checksum = record_checksum(store->salt, offset, (const uint8_t *)end, END_SIZE);
  return put_bytes(store, offset, end, END_SIZE);
}

static void seal_head(const store *store, uint64_t offset, record *record) {
  record->checksum = record_checksum(store->salt, offset, (const uint8_t *)record, RECORD_HEAD);
}

void log_fill_pad(const store *store, uint64_t offset, uint64_t size, record *record) {
  memset(record, 0, sizeof *record);
  record->kind = KIND_PAD;
  record->size = size;
  seal_head(store, offset, record);
}

/* relaxed: the head is a local one that put_bytes copies; the root, a directory word or a link,
** stored with release, leads readers to it later. */
void log_fill_extent(const store *store, uint64_t offset, int extent, int depth, uint32_t prefix,
                     uint64_t payload_size, record *record) {
  memset(record, 0, sizeof *record);
  record->kind = KIND_EXTENT;
  record->size = log_extent_size(payload_size);
  record->extent = (uint8_t)extent;
  record->depth = (uint8_t)depth;
  record->prefix = prefix;
  record->life = (uint16_t)log_life(store, store->last.version);
  atomic_store_explicit(&record->link, extent == EXTENT_SEGMENT ? (uint64_t)depth : 0,
                        memory_order_relaxed);
  seal_head(store, offset, record);
}

int log_write_pad(store *store, uint64_t from, uint64_t to) {
  record record;
  assert(store_has_turn(store));
  log_fill_pad(store, from, to - from, &record);
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
  uint64_t at = store->space_end, gap = log_extent_gap(at), total = log_extent_size(size);
  record record;
  int rc;
  assert(store_has_turn(store));
  rc = log_room(store, at + gap + total + END_SIZE);
  if (rc == MAPH_OK && gap) rc = log_write_pad(store, at, at + gap);
  if (rc != MAPH_OK) return rc;
  at += gap;
  log_fill_extent(store, at, extent, depth, prefix, size, &record);
  store->space_end = at + total; /* `end` first: a head past it tells of a copy in two moments */
  store_word(store->write_base, &header_of(store->write_base)->end, store->space_end);
  rc = put_bytes(store, at, &record, sizeof record);
  if (rc != MAPH_OK) return rc;
  OS_TEST_STORE(store->write_base, at + RECORD_HEAD, total - RECORD_HEAD);
  memset(store->write_base + at + RECORD_HEAD, 0, total - RECORD_HEAD);
  *payload = at + RECORD_HEAD;
  return MAPH_OK;
}
