/*
** view.c - what one read believes.
**
** A read takes `committed` once (acquire), before it looks at root or a directory word, and
** believes nothing at or past it.  That alone makes a transaction of many keys appear whole or not
** at all. It takes no lock and stores nothing.
*/
#include "file/header.h"
#include "file/size.h"
#include "file/store.h"
#include "file/view.h"

/* The live words are hostile until checked: `committed` must lie in the file, at a record's end. */
static int view_make(store *store, uint64_t snapshot, view *view) {
  if (unlikely(snapshot > view->size)) {
    int rc = store_see_size(store, snapshot);
    if (rc != MAPH_OK) return rc;
    view->size = atomic_load_explicit(&store->size, memory_order_acquire);
    view->base = atomic_load_explicit(&store->base, memory_order_acquire);
  }
  if (unlikely(snapshot < LOG_START + END_SIZE || snapshot % 8)) {
    return fail_corrupt(store->path, offsetof(header, committed),
                        "the end of the visible log cannot be where this says");
  }
  view->snapshot = snapshot;
  return MAPH_OK;
}

int view_latest(store *store, view *view) {
  view->store = store;
  view->size = atomic_load_explicit(&store->size, memory_order_acquire);
  view->base = atomic_load_explicit(&store->base, memory_order_acquire);
  return view_make(
      store, atomic_load_explicit(&header_of(view->base)->committed, memory_order_acquire), view);
}

int view_at(store *store, uint64_t snapshot, view *view) {
  view->store = store;
  view->size = atomic_load_explicit(&store->size, memory_order_acquire);
  view->base = atomic_load_explicit(&store->base, memory_order_acquire);
  return view_make(store, snapshot, view);
}

void view_for_writing(store *store, uint64_t snapshot, view *view) {
  view->store = store;
  view->size = atomic_load_explicit(&store->size, memory_order_acquire);
  view->base = store->base;
  view->snapshot = snapshot;
}
