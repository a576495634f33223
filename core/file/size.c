/*
** size.c - how large the file is, and the mappings that reach all of it.
**
** A mapping reserves address space far past the end of the file: growth needs no new mapping until
** it is outgrown, and then the old one is kept, because slices point into it.  The file itself
** grows in steps, so that few puts wait for it.
*/
#include "file/size.h"
#include "file/header.h"
#include "file/record.h"

enum {
  GROW_LEAST = 64 * 1024,
  GROW_MOST = 64 * 1024 * 1024,
  GROW_MOST_IN_MEMORY = 16 * 1024 * 1024
};

static uint64_t address_space_for(uint64_t size) {
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
  uint64_t want = address_space_for(size), least = MAX(size, (uint64_t)GROW_LEAST);
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

int store_grow(store *store, uint64_t to) {
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
