/*
** grant.h - room for stores into pages that the file has had for long: header, index, links.
*/
#ifndef MAPH_GRANT_H
#define MAPH_GRANT_H

#include "file/store.h"

/* No holes below `to`: before the first store of a session.  FULL IOERR */
int grant_file(store *store, uint64_t to);
int grant_scarce(store *store); /* where a store may need room: is the disk nearly full? */
int grant_now(store *store, uint64_t from, uint64_t to);

/* May stores into old pages fail at all here, and is the disk nearly full? */
static inline int grant_needed(store *store) {
  int kind = store->file.file_system;
  return unlikely(kind != OS_LOCAL && kind != OS_MEMORY && !store->in_memory)
         && grant_scarce(store);
}

/* Stores into these bytes, made at once, cannot fail.  FULL IOERR */
static inline int grant_pages(store *store, uint64_t from, uint64_t to) {
  return likely(!grant_needed(store)) ? MAPH_OK : grant_now(store, from, to);
}

static inline int grant_header(store *store) { return grant_pages(store, 0, HEADER_SIZE); }

/* Did a word that was just stored reach the file?  A handler of SIGBUS may have put another page
** there.  relaxed: who stored the word saw mappings that reach it; an older one, kept until the
** store is closed, or a newer one shows the same page. */
static inline int grant_reached(const store *store, uint64_t offset) {
  const uint8_t *base = atomic_load_explicit(&store->base, memory_order_relaxed);
  const uint8_t *write_base = atomic_load_explicit(&store->write_base, memory_order_relaxed);
  return load64(base + offset) == load64(write_base + offset);
}

#endif
