/*
** session.c - the begin and the end of a writer.
**
** A SESSION is what a process does between taking the lock and giving it up.  To begin one, a
** writer
**
**   takes the turn, which is the writer mutex of this process, and then the lock (lock.c);
**   finds out whether the store is still the one at its path, and may be written to;
**   recovers it where its live part cannot be believed (trust.c), or marks the file dirty;
**   mends what a dead writer left.
**
** It skips all but the first step where no other process wrote since.  From then on `last`,
** `space_end` and `flushed` of the store are current, and nobody else appends.  The end is the
** reverse: the lock goes, then the turn.  Every way in is session_begin; the ways out are
** session_end, session_commit and session_abort.
**
** At full, a transaction that is decided gives the turn away before it is visible, and keeps the
** lock (GROUP COMMIT, commit.c).  So a session of this process may begin while the lock is held.
**
** A DEAD WRITER leaves: a split half done (`state` names it); `prepared` above `committed` (the end
** record tells whether that was decided; it is finished or erased); `end` above `committed` (what
** lies between becomes a pad).  They are mended in this order; who mends may itself die anywhere,
** and the next one repeats it.
**
** A PROCESS that may write joins the writers of the store, by its mark in the lock file, and leaves
** them.  The last one to leave flushes the file and marks it clean.
*/
#include "writer/session.h"
#include "file/grant.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/index.h"
#include "index/perfect.h"
#include "order/write.h"
#include "writer/commit.h"
#include "writer/decided.h"
#include "writer/lock.h"
#include "writer/recover.h"
#include "writer/trust.h"
#include "writer/txn.h"

enum { LEAVE_WAIT_MS = 1000, LOOK_MS = 100 };

static header *live(const store *s) { return header_of(s->write_base); }
static uint64_t get(const word *w) { return atomic_load_explicit(w, memory_order_acquire); }
static void set(store *s, word *w, uint64_t value) { store_word(s->write_base, w, value); }

/* -------------------------------------------------------------------------- after a dead writer */

/* Between committed and prepared: finish each whole transaction; the last one may have been killed
** before its decision. */
static int finish_or_erase(store *s) {
  uint64_t prepared = get(&live(s)->prepared);
  int rc = MAPH_OK, whole = 1;
  while (rc == MAPH_OK && whole > 0 && s->last.end < prepared) {
    txn t;
    tip after;
    txn_start(&t, s);
    whole = commit_replay(&t, s->last.end, prepared, s->last.chain, &after);
    if (whole < 0) rc = MAPH_NOMEM;
    if (whole > 0) rc = commit_redo(&t, &after);
    txn_clear(&t);
  }
  if (rc == MAPH_OK && s->last.end < prepared) {
    rc = commit_erase(s, prepared - END_SIZE);
    if (rc == MAPH_OK) set(s, &live(s)->prepared, s->last.end);
  }
  return rc;
}

/* From committed to end nothing is a transaction's: what is not yet a pad or an index piece becomes
** one pad.  Index pieces inside it stay what they are: the index leads to them, a walk of the log
** need not. */
static int cover_leftovers(store *s, uint64_t from, uint64_t end) {
  uint64_t at;
  view v;
  view_for_writing(s, end, &v);
  at = walk_past_spaces(&v, from, end);
  if (end - at > 0 && end - at < RECORD_HEAD)
    return fail_corrupt(s->path, at, "what a writer left when it died is too small to be anything");
  s->tail_checked = end;
  return log_cover(s, at, end);
}

/* Before the first store of a session the disk must say that the live part may be stale. */
static int mark_dirty(store *s) {
  header *h = live(s);
  int rc;
  if (get(&h->clean) == CLEAN_DIRTY) return MAPH_OK;
  rc = grant_file(s, MIN(get(&h->end), atomic_load(&s->size)));
  if (rc != MAPH_OK) return rc;
  trust_mark(s);
  set(s, &h->clean, CLEAN_OPENING);
  rc = os_flush(s->write_base, s->path, 0, HEADER_SIZE);
  if (rc != MAPH_OK) {
    header_poison(s);
    return rc;
  }
  set(s, &h->clean, CLEAN_DIRTY);
  return MAPH_OK;
}

static int flush_name(store *s) {
  int rc = os_flush_directory(s->path);
  if (rc == MAPH_OK) set(s, &live(s)->unborn, 0);
  return rc;
}

/* The live words must be in order before anything is built on them. */
static int check_live_words(store *s) {
  header *h = live(s);
  uint64_t committed = get(&h->committed), prepared = get(&h->prepared), end = get(&h->end),
           size = atomic_load(&s->size);
  int rc = MAPH_OK;
  if (end > size) rc = store_see_size(s, end);
  if (rc == MAPH_OK
      && (committed < LOG_START + END_SIZE || committed > prepared
          || (committed < prepared && prepared - committed < END_SIZE) || prepared > end
          || (committed | prepared | end) % 8)) {
    rc = fail_corrupt(s->path, offsetof(header, committed), "the live words contradict each other");
  }
  return rc == MAPH_OK ? perfect_within(s, committed) : rc;
}

static int take_tip(store *s, uint64_t end) {
  end_record e;
  view v;
  int rc;
  if (s->last.end == end) return MAPH_OK;
  view_for_writing(s, end, &v);
  rc = record_end(&v, end, &e);
  if (rc == MAPH_OK) s->last = record_tip(&e, end);
  return rc;
}

/* Another process that had the lock may have given granted space back to the disk. */
static int look_at_size(store *s) {
  header *h = live(s);
  uint64_t size, known = atomic_load_explicit(&s->size, memory_order_relaxed);
  int rc;
  if (s->last.end != 0 && (s->in_memory || get(&h->clean) == CLEAN_DIRTY)) {
    rc = os_size(&s->file, &size);
    if (rc != MAPH_OK) return rc;
    if (size >= known) return get(&h->end) > known ? store_see_size(s, 0) : MAPH_OK;
  }
  s->populated = 0;
  return store_see_size(s, 0);
}

/* All that another process may have changed since this one wrote last. */
static int look_again(store *s, const lock_patience *p) {
  header *h = live(s);
  uint64_t end;
  int rc = MAPH_OK;
  assert(store_has_turn(s) && store_has_lock(s));
  s->unsettled = 1; /* until all of this has passed */
  s->group_failed = 0;
  rc = look_at_size(s);
  if (rc == MAPH_OK) rc = trust_begin(s, p, recover_in_place);
  if (rc == MAPH_OK && !s->in_memory && get(&h->clean) != CLEAN_DIRTY) rc = mark_dirty(s);
  if (rc == MAPH_OK && get(&h->unborn)) rc = flush_name(s);
  h = live(s);
  if (rc == MAPH_OK) rc = check_live_words(s);
  if (rc == MAPH_OK && (get(&h->state) & ~(uint64_t)STATE_FLAGS)) rc = index_finish_split(s);
  if (rc == MAPH_OK) rc = take_tip(s, get(&h->committed));
  if (rc != MAPH_OK) return rc;
  s->flushed = MIN(get(&h->flushed), s->last.end);
  s->space_end = get(&h->end);
  if (get(&h->prepared) != s->last.end) rc = finish_or_erase(s);
  end = get(&h->end);
  if (rc == MAPH_OK && end != s->last.end && end != s->tail_checked)
    rc = cover_leftovers(s, s->last.end, end);
  s->space_end = end;
  s->decided = s->last.end;
  s->unsettled = rc != MAPH_OK;
  if (rc == MAPH_OK && s->writeback_end == 0) s->writeback_end = s->last.end;
  if (rc == MAPH_OK && s->flushed == s->last.end) header_checkpoint_if_due(s, &s->last);
  return rc;
}

/* ------------------------------------------------------------------------------- begin and end */

/* A process that had the lock marked the store as being replaced, or as replaced, and has the lock
** no more: does the new file have the name?  Not if that process died before it renamed it; nor if
** the power failed before the folder was flushed, though this file's page was written.  A file
** without a name was replaced, though a mount of that file alone still leads to it. */
static int finish_switch(store *s) {
  word *state = &live(s)->state;
  uint64_t device = 0, inode = 0, links;
  int rc = os_identity(s->path, &device, &inode), there = rc == MAPH_OK;
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  rc = os_links(&s->file, s->path, &links);
  if (rc != MAPH_OK) return rc;
  OS_TEST_STORE(s->write_base, offsetof(header, state), 8);
  if (there && links > 0 && device == s->file.device && inode == s->file.inode)
    atomic_fetch_and(state, ~(uint64_t)(STATE_SWITCHING | STATE_SUPERSEDED));
  else
    atomic_fetch_or(state, STATE_SUPERSEDED);
  return MAPH_OK;
}

int session_reached(store *s) {
  uint64_t links, device, inode;
  int rc, there;
  s->reached_ms = os_clock_coarse_ms();
  if (s->lockless) return MAPH_OK;
  rc = os_links(&s->file, s->path, &links);
  if (rc != MAPH_OK) return rc;
  there = os_identity(s->path, &device, &inode) == MAPH_OK;
  if (links > 0 && (!there || (device == s->file.device && inode == s->file.inode)))
    return MAPH_OK;  /* or it was moved, or is out of sight for this process */
  s->reached_ms = 0; /* and not before it was looked for again */
  return fail(MAPH_CANTOPEN,
              "%s: the store's file was removed, or another was put in its place: what is written "
              "to it would be lost; open it again",
              s->path);
}

int session_still_reached(const txn *t) {
  store *s = t->s;
  if (t->operations == 0) return MAPH_OK;
  if (t->durability != MAPH_SYNC_FULL && os_clock_coarse_ms() - s->reached_ms <= LOOK_MS)
    return MAPH_OK;
  return session_reached(s);
}

/* The store may have been moved away, closed to writing, or left in the middle of something since
** this process last had the lock. */
static int between_writers(store *s, const lock_patience *p) {
  uint64_t state = get(&live(s)->state);
  int rc;
  if ((state & (STATE_SWITCHING | STATE_SUPERSEDED)) && !(state & STATE_DELETED)) {
    rc = finish_switch(s);
    if (rc != MAPH_OK) return rc;
    state = get(&live(s)->state);
  }
  if (state & (STATE_SWITCHING | STATE_SUPERSEDED | STATE_DELETED)) {
    return fail(MAPH_CANTOPEN, "%s: the store was %s meanwhile: open it again", s->path,
                state & STATE_DELETED ? "deleted" : "replaced");
  }
  if (state & STATE_POISONED) return header_say_poisoned(s);
  rc = session_reached(s);
  return rc == MAPH_OK ? look_again(s, p) : rc;
}

/* May the store be as this process left it?  found: by lock_take. */
static int is_as_left(store *s, int found) {
  if (found == LOCK_WAS_HELD) return 1;
  if (found == LOCK_WAS_FREE || s->unsettled || s->group_failed) return 0;
  return (atomic_load_explicit(&live(s)->state, memory_order_relaxed) & STATE_FLAGS) == 0;
}

/* With group commit one thread after another would keep the lock for ever.  When another process
** waits, or the live words must be looked at before the next append, let it run out: nobody decides
** more while we have the turn. */
static void let_lock_go(store *s) {
  if (!s->unbiased && !s->group_failed && !s->unsettled
      && (s->decided_first == NULL || !lock_wanted(s)))
    return;
  decided_wait(s);
  lock_wait_released(s);
}

int session_begin(store *s, int timeout_ms) { return session_begin_write(s, timeout_ms, NULL); }

int session_begin_write(store *s, int timeout_ms, const interrupt_count *own) {
  lock_patience patience = lock_patience_of(timeout_ms, own);
  int rc = lock_take_turn(s, &patience), found;
  if (rc != MAPH_OK) return rc;
  s->spares = LOG_SPARES_NOTHING;
  let_lock_go(s);
  rc = lock_take(s, &patience, &found);
  if (rc == MAPH_OK && unlikely(!is_as_left(s, found))) {
    rc = between_writers(s, &patience);
    if (rc != MAPH_OK) lock_release(s);
  } else if (rc == MAPH_OK && unlikely(os_clock_coarse_ms() - s->reached_ms > LOOK_MS)) {
    rc = session_reached(s);
    if (rc != MAPH_OK) lock_release(s);
  }
  if (rc == MAPH_OK && (rc = order_keep_up(s)) != MAPH_OK) lock_release(s);
  if (rc != MAPH_OK) lock_give_turn(s);
  assert(rc != MAPH_OK || (!s->unsettled && s->last.end <= s->space_end));
  return rc;
}

void session_end(store *s) {
  assert(store_has_turn(s) && store_has_lock(s));
  lock_release(s);
  lock_give_turn(s);
}

int session_commit(txn *t) {
  store *s = t->s;
  int rc;
  if (!commit_joins_group(t)) {
    rc = commit_publish(t);
    if (rc == MAPH_OK) order_keep_up(s);
    session_end(s);
    return rc;
  }
  rc = session_reached(s);
  if (rc == MAPH_OK) rc = commit_decide_in_group(t);
  if (rc != MAPH_OK) {
    session_abort(t);
    return rc;
  }
  /* the next session may begin; the lock stays ours until this is visible */
  lock_give_turn(s);
  rc = commit_publish_in_group(t);
  lock_release(s);
  return rc;
}

int session_finish(txn *t, int rc) {
  if (rc == MAPH_OK) rc = commit_reserve(t);
  if (rc == MAPH_OK)
    rc = session_commit(t);
  else
    session_abort(t);
  txn_clear(t);
  return rc;
}

int session_abort(txn *t) {
  store *s = t->s;
  int rc = commit_give_back(t);
  session_end(s);
  return rc;
}

/* ------------------------------------------------------------------------ the writing processes */

int session_join(store *s) {
  int rc = store_map_for_writing(s);
  if (rc == MAPH_OK) rc = lock_open(s);
  s->last.end = s->tail_checked = s->populated = s->writeback_end = s->checkpoint_end = 0;
  s->streak = 0;
  s->unsettled = 1;
  return rc;
}

/* With a session of a process that is alone: all of the store to disk, and marked clean. */
static int mark_clean(store *s) {
  header *h = live(s);
  int rc = os_flush_file(&s->file, s->path);
  if (rc == MAPH_OK) {
    commit_raise_flushed(s, s->last.end);
    header_checkpoint(s, &s->last);
    set(s, &h->bias, 0);
    set(s, &h->clean, CLEAN_YES);
    rc = os_flush(s->write_base, s->path, 0, HEADER_SIZE);
  }
  if (rc != MAPH_OK)
    header_poison(s);
  else
    trust_unmark(s);
  if (rc == MAPH_OK && s->space_end + 4096 < atomic_load(&s->size)) log_trim(s, LOG_SPARES_DELETES);
  return rc;
}

/* Is there anything that the last writer could mark as clean? */
static int may_be_marked(const store *s) {
  const header *h = live(s);
  return !s->in_memory && s->lock.fd >= 0 && get(&h->clean) != CLEAN_YES && s->vouched
         && (get(&h->state) & STATE_FLAGS & ~STATE_SWITCHING) == 0;
}

int session_leave(store *s) {
  int rc = MAPH_OK;
  /* where a writer is at work all the time, it will mark the file when it leaves */
  if (may_be_marked(s) && session_begin(s, LEAVE_WAIT_MS) == MAPH_OK) {
    if (lock_alone(s)) rc = mark_clean(s);
    lock_leave(s);
    session_end(s);
  }
  trust_leave(s);
  if (s->stayed)
    lock_leave(s);
  else
    lock_close(s);
  return rc;
}

void session_withdraw(store *s) {
  trust_leave(s);
  lock_leave(s);
}
