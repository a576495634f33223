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
  const view *view;
  uint64_t at, limit; /* the next record; the end */
  uint64_t address;   /* of `at`, where that is known and no offset: of the short form; else 0 */
  item it;            /* the record that walk_next found */
} walk;

enum { WALK_AHEAD = 1024 };

static inline void walk_begin(walk *walk, const view *view, uint64_t at, uint64_t limit) {
  walk->view = view;
  walk->at = at;
  walk->limit = limit;
  walk->address = 0;
}

/* The same where a copy more does not matter. */
static inline walk walk_from(const view *view, uint64_t at, uint64_t limit) {
  walk walk;
  walk_begin(&walk, view, at, limit);
  return walk;
}

/* Past walk->it. */
static inline uint64_t walk_past(const walk *walk) {
  const perfect *perfect = &walk->view->store->perfect;
  uint64_t at = walk->at + PLACE_STEP;
  if (likely(!is_short(walk->view->store, walk->at))) return walk->at + walk->it.size;
  return at - perfect->first < perfect->places ? at : perfect->past;
}

/* Frozen records lie end to end: one leads to the next. */
static inline int walk_next_short(walk *walk, int *rc) {
  *rc = record_read_short(walk->view, walk->at, &walk->address, &walk->it);
  if (unlikely(*rc != MAPH_OK)) return 0;
  walk->at = walk_past(walk);
  if (likely(walk->address + WALK_AHEAD < walk->view->store->perfect.past))
    __builtin_prefetch(walk->view->base + walk->address + WALK_AHEAD);
  return 1;
}

static inline int walk_next(walk *walk, int *rc) {
  if (*rc != MAPH_OK || walk->at >= walk->limit) return 0;
  if (is_short(walk->view->store, walk->at)) return walk_next_short(walk, rc);
  *rc = record_read(walk->view, walk->at, walk->limit, &walk->it);
  if (unlikely(*rc != MAPH_OK)) return 0;
  walk->at += walk->it.size;
  if (likely(walk->at + WALK_AHEAD < walk->limit))
    __builtin_prefetch(walk->view->base + walk->at + WALK_AHEAD);
  return 1;
}

/* In a damaged log: may a record be here?  It is walk->it, and walk->at stays. */
static inline int walk_look(walk *walk) {
  return record_read(walk->view, walk->at, walk->limit, &walk->it) == MAPH_OK;
}

/* And is it one, with a checksum that fits?  Then it is walk->it, as after walk_next. Else walk->at
** stays, and the caller moves it on. */
static inline int walk_sound(walk *walk) {
  if (!walk_look(walk)) return 0;
  if (record_verify(walk->view, walk->at, walk->it.size) != MAPH_OK) return 0;
  walk->at = walk_past(walk);
  return 1;
}

static inline int walk_is_data(const walk *walk) {
  return walk->it.kind == KIND_PUT || walk->it.kind == KIND_DELETE;
}

/* Where the pads and index pieces end, each with a fitting checksum, that lie from `at` on. */
static inline uint64_t walk_past_spaces(const view *view, uint64_t at, uint64_t limit) {
  walk walk = walk_from(view, at, limit);
  int rc = MAPH_OK;
  while (walk_next(&walk, &rc) && (walk.it.kind == KIND_PAD || walk.it.kind == KIND_EXTENT)
         && record_verify(view, walk.it.offset, walk.it.size) == MAPH_OK)
    at = walk.at;
  return at;
}

#endif
