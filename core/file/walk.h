/*
** walk.h - the loop over the log: every record from one place to another, in order.
**
**     walk w = walk_from(&v, LOG_START, v.snapshot);
**     while (walk_next(&w, &rc)) {
**       ... w.it is the record; rc = what its use gives
**     }
**
** The loop ends at the limit, at the first record that cannot be one (rc says so), and when its
** body sets rc.  A record is taken apart once.  Memory behind it is asked for in advance, because
** what walks a log of which little is cached waits for memory and for nothing else.
*/
#ifndef MAPH_WALK_H
#define MAPH_WALK_H

#include "file/record.h"
#include "file/store.h"

typedef struct walk {
  const view *v;
  uint64_t at, limit; /* the next record; the end */
  item it;            /* the record that walk_next found */
} walk;

enum { WALK_AHEAD = 1024 };

static inline void walk_begin(walk *w, const view *v, uint64_t at, uint64_t limit) {
  w->v = v;
  w->at = at;
  w->limit = limit;
}

/* The same where a copy more does not matter. */
static inline walk walk_from(const view *v, uint64_t at, uint64_t limit) {
  walk w;
  walk_begin(&w, v, at, limit);
  return w;
}

static inline int walk_next(walk *w, int *rc) {
  if (*rc != MAPH_OK || w->at >= w->limit) return 0;
  *rc = record_read(w->v, w->at, w->limit, &w->it);
  if (unlikely(*rc != MAPH_OK)) return 0;
  w->at += w->it.size;
  if (likely(w->at + WALK_AHEAD < w->limit)) __builtin_prefetch(w->v->base + w->at + WALK_AHEAD);
  return 1;
}

/* In a damaged log: may a record be here?  It is w->it, and w->at stays. */
static inline int walk_look(walk *w) {
  return record_read(w->v, w->at, w->limit, &w->it) == MAPH_OK;
}

/* And is it one, with a checksum that fits?  Then it is w->it, as after walk_next.  Else w->at
** stays, and the caller moves it on. */
static inline int walk_sound(walk *w) {
  if (!walk_look(w)) return 0;
  if (record_verify(w->v, w->at, w->it.size) != MAPH_OK) return 0;
  w->at += w->it.size;
  return 1;
}

static inline int walk_is_data(const walk *w) {
  return w->it.kind == KIND_PUT || w->it.kind == KIND_DELETE;
}

/* Where the pads and index pieces end, each with a fitting checksum, that lie from `at` on. */
static inline uint64_t walk_past_spaces(const view *v, uint64_t at, uint64_t limit) {
  walk w = walk_from(v, at, limit);
  int rc = MAPH_OK;
  while (walk_next(&w, &rc) && (w.it.kind == KIND_PAD || w.it.kind == KIND_EXTENT)
         && record_verify(v, w.it.offset, w.it.size) == MAPH_OK)
    at = w.at;
  return at;
}

#endif
