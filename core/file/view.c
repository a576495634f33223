/*
** view.c - what one read believes.
**
** A read takes `committed` once (acquire), before it looks at root or a directory word, and
** believes nothing at or past it.  That alone makes a transaction of many keys appear whole or not
** at all. It takes no lock and stores nothing.
*/
#include "file/log.h"
#include "file/store.h"
#include "file/view.h"

/* The live words are hostile until checked: `committed` must lie in the file, at a record's end. */
static int view_make(store *s, uint64_t snapshot, view *v) {
  if (unlikely(snapshot > v->size)) {
    int rc = store_see_size(s, snapshot);
    if (rc != MAPH_OK) return rc;
    v->size = atomic_load_explicit(&s->size, memory_order_acquire);
    v->base = atomic_load_explicit(&s->base, memory_order_acquire);
  }
  if (unlikely(snapshot < LOG_START + END_SIZE || snapshot % 8)) {
    return fail_corrupt(s->path, offsetof(header, committed),
                        "the end of the visible log cannot be where this says");
  }
  v->snapshot = snapshot;
  return MAPH_OK;
}

int view_latest(store *s, view *v) {
  v->s = s;
  v->size = atomic_load_explicit(&s->size, memory_order_acquire);
  v->base = atomic_load_explicit(&s->base, memory_order_acquire);
  return view_make(s, atomic_load_explicit(&header_of(v->base)->committed, memory_order_acquire),
                   v);
}

int view_at(store *s, uint64_t snapshot, view *v) {
  v->s = s;
  v->size = atomic_load_explicit(&s->size, memory_order_acquire);
  v->base = atomic_load_explicit(&s->base, memory_order_acquire);
  return view_make(s, snapshot, v);
}

void view_for_writing(store *s, uint64_t snapshot, view *v) {
  v->s = s;
  v->size = atomic_load_explicit(&s->size, memory_order_acquire);
  v->base = s->base;
  v->snapshot = snapshot;
}
