/*
** grant.h - room for stores into pages that the file has had for long: header, index, links.
*/
#ifndef MAPH_GRANT_H
#define MAPH_GRANT_H

#include "file/store.h"

enum { GRANT_LOOK_MS = 10 };

/* No holes below `to`: before the first store of a session.  FULL IOERR */
int grant_file(store *store, uint64_t to);
int grant_scarce(store *store); /* is the disk nearly full? */
int grant_now(store *store, uint64_t from, uint64_t to);

/* Is what this process sees of the file, or stores to it, no longer the file's?  (os/guard.c)
** relaxed: where another thread maps it anew just now, the older mapping is the one to ask. */
static inline int grant_lost(const store *store) {
  return os_lost(atomic_load_explicit(&store->write_base, memory_order_relaxed))
         || os_lost(atomic_load_explicit(&store->base, memory_order_relaxed));
}
int grant_say_lost(const store *store); /* IOERR */
int grant_look(store *store, uint64_t now);
/* Before the first store of a session: may the file be written?  What can be told beforehand is
** looked at each hundredth of a second.  relaxed: as in grant_scarce.  IOERR */
static inline int grant_allowed(store *store, uint64_t now) {
  uint64_t looked = atomic_load_explicit(&store->allowed_ms, memory_order_relaxed);
  if (likely(now - looked < GRANT_LOOK_MS && !grant_lost(store))) return MAPH_OK;
  return grant_look(store, now);
}

/* May stores into old pages fail at all here, and is the disk nearly full, or may a quota be?
** relaxed: as in grant_scarce, which looked just now. */
static inline int grant_needed(store *store) {
  int kind = store->file.file_system;
  return unlikely(kind != OS_LOCAL && kind != OS_MEMORY && !store->in_memory)
         && (grant_scarce(store)
             || atomic_load_explicit(&store->hides_quota, memory_order_relaxed));
}

/* Stores into these bytes, made at once, cannot fail.  FULL IOERR */
static inline int grant_pages(store *store, uint64_t from, uint64_t to) {
  return likely(!grant_needed(store)) ? MAPH_OK : grant_now(store, from, to);
}

/* The same of the header, also outside sessions. */
static inline int grant_header(store *store) {
  int rc = grant_allowed(store, os_clock_coarse_ms());
  return rc == MAPH_OK ? grant_pages(store, 0, HEADER_SIZE) : rc;
}

/* Did a word that was just stored, at that offset of the file, reach it?  A handler of SIGBUS may
** have put another page there.  relaxed: who stored the word saw mappings that reach it; an older
** one, kept until the store is closed, or a newer one shows the same page. */
static inline int grant_reached(const store *store, const word *stored, uint64_t offset) {
  const uint8_t *base = atomic_load_explicit(&store->base, memory_order_relaxed);
  return load64(base + offset) == load64(stored);
}

#endif
