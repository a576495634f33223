/*
** memory.c - memory for tables and objects, and how much of it the machine has.
*/
#include "os/error.h"
#include "os/fault.h"
#include "os/os.h"
#include "maph.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of small pieces malloc keeps some for each thread, and its calloc looks past these. */
void *os_alloc_spare(size_t size) {
  enum { SMALL = 1024 };
  void *p = SYS("malloc", NULL, size <= SMALL ? malloc(size) : calloc(1, size));
  if (p && size <= SMALL) memset(p, 0, size);
  return p;
}

void *os_alloc(size_t size) {
  void *p = os_alloc_spare(size);
  if (p == NULL) fail_memory(size);
  return p;
}

void *os_alloc_table(size_t size) {
  const size_t large = (size_t)2 << 20;
  uint8_t *p = os_alloc(size), *first;
  if (p == NULL || size < 2 * large) return p;
  first = p + (large - (uintptr_t)p % large) % large;
  madvise(first, (size - (size_t)(first - p)) / large * large, MADV_HUGEPAGE);
  return p;
}

void *os_realloc(void *old, size_t size) {
  void *p = SYS("malloc", NULL, realloc(old, size));
  if (p == NULL) fail_memory(size);
  return p;
}

void os_free(void *p) { free(p); }

uint64_t os_memory(void) {
  long pages = sysconf(_SC_PHYS_PAGES);
  return pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}
