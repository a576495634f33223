/*
** rewriting.c - what each step of a rewrite needs: progress, and memory that is counted.
*/
#include "calls/rewriting.h"
#include "os/os.h"
#include "os/progress.h"

int rewrite_tell(rewriting *rewriting, const char *phase, uint64_t done, uint64_t total) {
  return progress_tell(&rewriting->listener, rewriting->from->path, phase, done, total);
}

void *rewrite_alloc(rewriting *rewriting, uint64_t size) {
  void *p = os_alloc_table(size);
  if (p == NULL) return NULL;
  rewriting->memory += size;
  rewriting->result.memory_bytes = MAX(rewriting->result.memory_bytes, rewriting->memory);
  return p;
}

void rewrite_free(rewriting *rewriting, void *p, uint64_t size) {
  if (p == NULL) return;
  rewriting->memory -= size;
  os_free(p);
}
