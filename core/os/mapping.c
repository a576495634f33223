/*
** mapping.c - files mapped into memory, and which of their pages are there.
*/
#include "os/mapping.h"
#include "os/error.h"
#include "os/fault.h"
#include "os/os.h"
#include "maph.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* relaxed: each thread that finds 0 asks, and all are told the same. */
static uint64_t page_size(void) {
  static _Atomic uint64_t known;
  uint64_t size = atomic_load_explicit(&known, memory_order_relaxed);
#ifdef MAPH_TEST
  if (os_test.page_size) return os_test.page_size;
#endif
  if (size == 0) {
    long said = sysconf(_SC_PAGESIZE);
    size = said > 0 ? (uint64_t)said : 4096;
    atomic_store_explicit(&known, size, memory_order_relaxed);
  }
  return size;
}

uint64_t os_page_down(uint64_t offset) { return offset & ~(page_size() - 1); }

uint64_t os_page_up(uint64_t offset) { return os_page_down(offset + page_size() - 1); }

int os_map(const os_file *file, const char *path, uint64_t length, int writable, uint8_t **base) {
  void *p = SYS("mmap", MAP_FAILED,
                mmap(NULL, length, PROT_READ | (writable ? PROT_WRITE : 0),
                     MAP_SHARED | MAP_NORESERVE, file->fd, 0));
  *base = NULL;
  if (p == MAP_FAILED) {
    if (errno == ENODEV)
      return fail(MAPH_CANTOPEN,
                  "%s: this kind of file cannot be mapped into memory: name a store's file", path);
    return fail(errno == ENOMEM || errno == EINVAL || errno == EAGAIN ? MAPH_NOMEM : MAPH_IOERR,
                "%s: cannot map %llu bytes: %s", path, (unsigned long long)length, strerror(errno));
  }
#ifdef MADV_DONTDUMP
  madvise(p, length, MADV_DONTDUMP);
#endif
  *base = p;
  return MAPH_OK;
}

void os_unmap(uint8_t *base, uint64_t length) {
  if (base != NULL) munmap(base, length);
}

int os_advise(uint8_t *base, uint64_t length, int advice, int huge) {
  if (advice == MAPH_ADVISE_RANDOM) madvise(base, length, MADV_RANDOM);
  if (advice == MAPH_ADVISE_WILLNEED) madvise(base, length, MADV_WILLNEED);
  if (huge) madvise(base, length, MADV_HUGEPAGE);
  return MAPH_OK;
}

int os_lock_memory(uint8_t *base, uint64_t length) {
  if (SYS("mlock", -1, mlock(base, length)) == 0) return MAPH_OK;
  return fail(MAPH_NOMEM, "cannot lock %llu bytes in memory: %s: raise the limit (ulimit -l)",
              (unsigned long long)length, strerror(errno));
}

void os_prefault(const uint8_t *base, uint64_t length) {
  madvise((void *)(uintptr_t)base, length, MADV_WILLNEED);
#ifdef MADV_POPULATE_READ
  madvise((void *)(uintptr_t)base, length, MADV_POPULATE_READ);
#endif
}

void os_read_ahead(const uint8_t *base, uint64_t from, uint64_t to) {
#ifdef MADV_POPULATE_READ
  from = os_page_down(from);
  madvise((void *)(uintptr_t)(base + from), to - from, MADV_POPULATE_READ);
#else
  (void)base;
  (void)from;
  (void)to;
#endif
}

int os_is_resident(const uint8_t *base, uint64_t offset) {
  unsigned char in = 0;
  void *page = (void *)(uintptr_t)(base + os_page_down(offset));
  return SYS("mincore", -1, mincore(page, 1, &in)) == 0 && (in & 1);
}

/* To others the kernel says of each page that it is. */
int os_sees_residency(const os_file *file) { return file->writable || file->owner == geteuid(); }
