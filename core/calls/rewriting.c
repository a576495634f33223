/*
** rewriting.c - what each step of a rewrite needs: progress, and memory that is counted.
*/
#include "calls/rewriting.h"
#include "os/os.h"
#include "os/progress.h"

int rewrite_tell(rewriting *x, const char *phase, uint64_t done, uint64_t total) {
  return progress_tell(&x->listener, x->from->path, phase, done, total);
}

void *rewrite_alloc(rewriting *x, uint64_t size) {
  void *p = os_alloc(size);
  if (p == NULL) return NULL;
  x->memory += size;
  x->result.memory_bytes = MAX(x->result.memory_bytes, x->memory);
  return p;
}

void rewrite_free(rewriting *x, void *p, uint64_t size) {
  if (p == NULL) return;
  x->memory -= size;
  os_free(p);
}
