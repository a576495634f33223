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
** lies between becomes a pad).  They are mended in this order; whoever mends may itself die
** anywhere, and the next one repeats it.
**
** A PROCESS that may write joins the writers of the store, by its mark in the lock file, and leaves
** them.  The last one to leave flushes the file and marks it clean.
*/
#include "writer/session.h"
#include "file/grant.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/reserve.h"
#include "file/size.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/perfect.h"
#include "index/split.h"
#include "order/write.h"
#include "writer/commit.h"
#include "writer/decided.h"
#include "writer/lock.h"
#include "writer/recover.h"
#include "writer/trust.h"
#include "writer/txn.h"

enum { LEAVE_WAIT_MS = 1000, LOOK_MS = 100 };

static header *live(const store *store) { return header_of(store->write_base); }
static uint64_t get(const word *word) { return atomic_load_explicit(word, memory_order_acquire); }
static void set(store *store, word *word, uint64_t value) {
  store_word(store->write_base, word, value);
}

/* -------------------------------------------------------------------------- after a dead writer */

/* Between committed and prepared: finish each whole transaction; the last one may have been killed
** before its decision. */
static int finish_or_erase(store *store) {
  uint64_t prepared = get(&live(store)->prepared);
  int rc = MAPH_OK, whole = 1;
  while (rc == MAPH_OK && whole > 0 && store->last.end < prepared) {
    txn txn;
    tip after;
    txn_start(&txn, store);
    whole = commit_replay(&txn, store->last.end, prepared, store->last.chain, &after);
    if (whole < 0) rc = MAPH_NOMEM;
    if (whole > 0) rc = commit_redo(&txn, &after);
    txn_clear(&txn);
  }
  if (rc == MAPH_OK && store->last.end < prepared) {
    rc = commit_erase(store, prepared - END_SIZE);
    if (rc == MAPH_OK) set(store, &live(store)->prepared, store->last.end);
  }
  return rc;
}

/* From committed to end nothing is a transaction's: what is not yet a pad or an index piece becomes
** one pad.  Index pieces inside it stay what they are: the index leads to them, a walk of the log
** need not. */
static int cover_leftovers(store *store, uint64_t from, uint64_t end) {
  uint64_t at;
  view view;
  view_for_writing(store, end, &view);
  at = walk_past_spaces(&view, from, end);
  if (end - at > 0 && end - at < RECORD_HEAD)
    return fail_corrupt(store->path, at,
                        "what a writer left when it died is too small to be anything");
  store->tail_checked = end;
  return log_cover(store, at, end);
}

/* Before the first store of a session the disk must say that the live part may be stale. */
static int mark_dirty(store *store) {
  header *header = live(store);
  int rc;
  if (get(&header->clean) == CLEAN_DIRTY) return MAPH_OK;
  rc = grant_file(store, MIN(get(&header->end), atomic_load(&store->size)));
  if (rc != MAPH_OK) return rc;
  trust_mark(store);
  set(store, &header->clean, CLEAN_OPENING);
  rc = os_flush(store->write_base, store->path, 0, HEADER_SIZE);
  if (rc != MAPH_OK) {
    header_poison(store);
    return rc;
  }
  set(store, &header->clean, CLEAN_DIRTY);
  return MAPH_OK;
}

static int flush_name(store *store) {
  int rc = os_flush_directory(store->path, &store->file);
  if (rc == MAPH_OK) set(store, &live(store)->unborn, 0);
  return rc;
}

/* The live words must be in order before anything is built on them. */
static int check_live_words(store *store) {
  header *header = live(store);
  uint64_t committed = get(&header->committed), prepared = get(&header->prepared),
           end = get(&header->end), size = atomic_load(&store->size);
  int rc = MAPH_OK;
  if (end > size) rc = store_see_size(store, end);
  if (rc == MAPH_OK
      && (committed < LOG_START + END_SIZE || committed > prepared
          || (committed < prepared && prepared - committed < END_SIZE) || prepared > end
          || (committed | prepared | end) % 8)) {
    rc = fail_corrupt(store->path, offsetof(struct header, committed),
                      "the live words contradict each other");
  }
  return rc == MAPH_OK ? perfect_within(store, committed) : rc;
}

static int take_tip(store *store, uint64_t end) {
  end_record e;
  view view;
  int rc;
  if (store->last.end == end) return MAPH_OK;
  view_for_writing(store, end, &view);
  rc = record_end(&view, end, &e);
  if (rc == MAPH_OK) store->last = record_tip(&e, end);
  return rc;
}

/* Another process that had the lock may have given granted space back to the disk. */
static int look_at_size(store *store) {
  header *header = live(store);
  /* acquire: as in reserve_room */
  uint64_t size, known = atomic_load_explicit(&store->size, memory_order_acquire);
  int rc;
  if (store->last.end != 0 && (store->in_memory || get(&header->clean) == CLEAN_DIRTY)) {
    rc = os_size(&store->file, &size);
    if (rc != MAPH_OK) return rc;
    if (size >= known) return get(&header->end) > known ? store_see_size(store, 0) : MAPH_OK;
  }
  store->populated = 0;
  return store_see_size(store, 0);
}

/* All that another process may have changed since this one wrote last. */
static int look_again(store *store, const lock_patience *patience) {
  header *header = live(store);
  uint64_t end;
  int rc = MAPH_OK;
  assert(store_has_turn(store) && store_has_lock(store));
  store->unsettled = 1; /* until all of this has passed */
  store->group_failed = 0;
  rc = look_at_size(store);
  if (rc == MAPH_OK) rc = trust_begin(store, patience, recover_in_place);
  if (rc == MAPH_OK && !store->in_memory && get(&header->clean) != CLEAN_DIRTY)
    rc = mark_dirty(store);
  if (rc == MAPH_OK && get(&header->unborn) && !store->lockless) rc = flush_name(store);
  header = live(store);
  if (rc == MAPH_OK) rc = check_live_words(store);
  if (rc == MAPH_OK && (get(&header->state) & ~(uint64_t)STATE_FLAGS))
    rc = index_finish_split(store);
  if (rc == MAPH_OK) rc = take_tip(store, get(&header->committed));
  if (rc != MAPH_OK) return rc;
  store->flushed = MIN(get(&header->flushed), store->last.end);
  store->flush_aim = 0;
  store->space_end = get(&header->end);
  if (get(&header->prepared) != store->last.end) rc = finish_or_erase(store);
  end = get(&header->end);
  if (rc == MAPH_OK && end != store->last.end && end != store->tail_checked)
    rc = cover_leftovers(store, store->last.end, end);
  store->space_end = end;
  store->decided = store->last.end;
  store->unsettled = rc != MAPH_OK;
  if (rc == MAPH_OK && store->writeback_end == 0) store->writeback_end = store->last.end;
  if (rc == MAPH_OK && store->flushed == store->last.end)
    header_checkpoint_if_due(store, &store->last);
  return rc;
}

/* ------------------------------------------------------------------------------- begin and end */

/* A process that had the lock marked the store as being replaced, or as replaced, and has the lock
** no more: does the new file have the name?  Not if that process died before it renamed it; nor if
** the power failed before the folder was flushed, though this file's page was written.  A file
** without a name was replaced, though a mount of that file alone still leads to it. */
static int finish_switch(store *store) {
  word *state = &live(store)->state;
  uint64_t device = 0, inode = 0, links;
  int rc = os_identity(store->path, &device, &inode), there = rc == MAPH_OK;
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  rc = os_links(&store->file, store->path, &links);
  if (rc != MAPH_OK) return rc;
  OS_TEST_STORE(store->write_base, offsetof(header, state), 8);
  if (there && links > 0 && device == store->file.device && inode == store->file.inode)
    atomic_fetch_and(state, ~(uint64_t)(STATE_SWITCHING | STATE_SUPERSEDED));
  else
    atomic_fetch_or(state, STATE_SUPERSEDED);
  return MAPH_OK;
}

int session_reached(store *store) {
  uint64_t links;
  int rc;
  store->reached_ms = os_clock_coarse_ms();
  if (store->lockless) return MAPH_OK;
  rc = os_links(&store->file, store->path, &links);
  if (rc != MAPH_OK) return rc;
  if (links > 0 && !os_is_another(store->path, &store->file))
    return MAPH_OK;      /* or it was moved, or is out of sight for this process */
  store->reached_ms = 0; /* and not before it was looked for again */
  return fail(MAPH_CANTOPEN,
              "%s: the store's file was removed, or another was put in its place: what is written "
              "to it would be lost; open it again",
              store->path);
}

int session_still_reached(const txn *txn) {
  store *store = txn->store;
  if (txn_is_empty(txn)) return MAPH_OK;
  if (txn->durability != MAPH_SYNC_FULL && os_clock_coarse_ms() - store->reached_ms <= LOOK_MS)
    return MAPH_OK;
  return session_reached(store);
}

int session_say_gone(const store *store) {
  return fail(MAPH_CANTOPEN, "%s: the store was %s meanwhile: open it again", store->path,
              get(&live(store)->state) & STATE_DELETED ? "deleted" : "replaced");
}

/* Another file may have taken the name, or nothing has it any more.  SESSION_GONE */
static int still_named(store *store) {
  uint64_t state = get(&live(store)->state);
  int rc;
  if ((state & (STATE_SWITCHING | STATE_SUPERSEDED)) && !(state & STATE_DELETED)) {
    rc = finish_switch(store);
    if (rc != MAPH_OK) return rc;
    state = get(&live(store)->state);
  }
  if (state & (STATE_SWITCHING | STATE_SUPERSEDED | STATE_DELETED)) return SESSION_GONE;
  return session_reached(store);
}

/* The store may have been moved away, closed to writing, or left in the middle of something since
** this process last had the lock. */
static int between_writers(store *store, const lock_patience *patience) {
  int rc;
  error_keep(patience->before);
  rc = still_named(store);
  if (rc == MAPH_OK && get(&live(store)->state) & STATE_POISONED) rc = header_say_poisoned(store);
  if (rc == MAPH_OK) rc = look_again(store, patience);
  if (rc == SESSION_GONE) error_put_back(patience->before);
  return error_done(rc, patience->before, store->path);
}

/* May the store be as this process left it?  found: by lock_take.  relaxed: who moves or deletes
** the store takes the lock, which lock_take ordered; a commit asks again whether it is poisoned. */
static int is_as_left(store *store, int found) {
  if (found == LOCK_WAS_HELD) return 1;
  if (found == LOCK_WAS_FREE || store->unsettled || store->group_failed) return 0;
  return (atomic_load_explicit(&live(store)->state, memory_order_relaxed) & STATE_FLAGS) == 0;
}

/* With group commit one thread after another would keep the lock for ever.  When another process
** waits, or the live words must be looked at before the next append, let it run out: nobody decides
** more while we have the turn. */
static void let_lock_go(store *store) {
  if (!store->unbiased && !store->group_failed && !store->unsettled
      && (store->decided_first == NULL || !lock_wanted(store)))
    return;
  decided_wait(store);
  lock_wait_released(store);
}

int session_begin(store *store, int timeout_ms) {
  sentence before;
  int rc = session_begin_write(store, timeout_ms, NULL, &before);
  return rc == SESSION_GONE ? session_say_gone(store) : rc;
}

int session_begin_write(store *store, int timeout_ms, const interrupt_count *own,
                        sentence *before) {
  lock_patience patience = lock_patience_of(timeout_ms, own);
  int rc = lock_take_turn(store, &patience), found;
  uint64_t now;
  patience.before = before;
  if (rc != MAPH_OK) return rc;
  store->spares = SPARES_NOTHING;
  let_lock_go(store);
  now = os_clock_coarse_ms();
  rc = grant_allowed(store, now);
  if (rc == MAPH_OK) rc = lock_take(store, &patience, &found);
  if (rc == MAPH_OK && unlikely(!is_as_left(store, found))) {
    rc = between_writers(store, &patience);
    if (rc != MAPH_OK) lock_release(store);
  } else if (rc == MAPH_OK && unlikely(now - store->reached_ms > LOOK_MS)) {
    error_keep(before);
    rc = session_reached(store); /* of a lock that was waited for it was asked just now */
    if (rc != MAPH_OK) lock_release(store);
  }
  if (rc == MAPH_OK && (rc = order_keep_up(store)) != MAPH_OK) lock_release(store);
  if (rc != MAPH_OK) lock_give_turn(store);
  assert(rc != MAPH_OK || (!store->unsettled && store->last.end <= store->space_end));
  return rc;
}

int session_begin_last(store *store, int timeout_ms) {
  lock_patience patience = lock_patience_of(timeout_ms, NULL);
  int rc = lock_take_turn(store, &patience), found;
  if (rc != MAPH_OK) return rc;
  let_lock_go(store);
  rc = grant_allowed(store, os_clock_coarse_ms());
  if (rc == MAPH_OK) rc = lock_take(store, &patience, &found);
  if (rc == MAPH_OK && (rc = still_named(store)) != MAPH_OK) lock_release(store);
  if (rc != MAPH_OK) lock_give_turn(store);
  return rc == SESSION_GONE ? session_say_gone(store) : rc;
}

void session_end(store *store) {
  assert(store_has_turn(store) && store_has_lock(store));
  lock_release_in_turn(store);
  lock_give_turn(store);
}

int session_commit(txn *txn) {
  store *store = txn->store;
  int rc;
  if (!commit_joins_group(txn)) {
    rc = commit_publish(txn);
    if (rc == MAPH_OK) order_follow(store);
    session_end(store);
    return rc;
  }
  rc = session_reached(store);
  if (rc == MAPH_OK) rc = commit_decide_in_group(txn);
  if (rc != MAPH_OK) {
    session_give_up(txn);
    return rc;
  }
  /* the next session may begin; the lock stays ours until this is visible */
  lock_give_turn(store);
  rc = commit_publish_in_group(txn);
  lock_release(store);
  return rc;
}

int session_finish(txn *txn, int rc) {
  if (rc == MAPH_OK) rc = commit_reserve(txn);
  if (rc == MAPH_OK)
    rc = session_commit(txn);
  else
    session_give_up(txn);
  txn_clear(txn);
  return rc;
}

int session_abort(txn *txn) {
  store *store = txn->store;
  int rc = commit_give_back(txn);
  session_end(store);
  return rc;
}

void session_give_up(txn *txn) {
  sentence why;
  error_keep(&why);
  if (session_abort(txn) != MAPH_OK) error_put_back(&why);
}

/* ------------------------------------------------------------------------ the writing processes */

int session_join(store *store) {
  int rc = store_map_for_writing(store);
  if (rc == MAPH_OK) rc = lock_open(store);
  store->last.end = store->tail_checked = store->populated = store->writeback_end =
      store->checkpoint_end = 0;
  store->streak = 0;
  store->unsettled = 1;
  return rc;
}

/* What whoever opens the file need not look through. */
static uint64_t spaces_behind(store *store) {
  view view;
  view_for_writing(store, store->space_end, &view);
  return walk_past_spaces(&view, store->last.end, store->space_end);
}

/* With a session of a process that is alone: all of the store to disk, and marked clean. */
static int mark_clean(store *store) {
  header *header = live(store);
  /* of a transaction that was aborted something may be there */
  int blank = log_blank(store) == MAPH_OK, rc = os_flush_file(&store->file, store->path);
  if (rc == MAPH_OK) {
    commit_raise_flushed(store, store->last.end);
    header_checkpoint_last(store, &store->last, blank ? spaces_behind(store) : 0);
    set(store, &header->bias, 0);
    set(store, &header->clean, CLEAN_YES);
    rc = os_flush(store->write_base, store->path, 0, HEADER_SIZE);
  }
  if (rc != MAPH_OK)
    header_poison(store);
  else
    trust_unmark(store);
  if (rc == MAPH_OK && store->space_end + 4096 < atomic_load(&store->size))
    reserve_trim(store, SPARES_DELETES);
  return rc;
}

/* Is there anything that the last writer could mark as clean? */
static int may_be_marked(const store *store) {
  const header *header = live(store);
  return !store->in_memory && store->lock.fd >= 0 && get(&header->clean) != CLEAN_YES
         && store->vouched && (get(&header->state) & STATE_FLAGS & ~STATE_SWITCHING) == 0;
}

int session_leave(store *store) {
  int rc = MAPH_OK;
  /* where a writer is at work all the time, it will mark the file when it leaves */
  if (may_be_marked(store) && session_begin(store, LEAVE_WAIT_MS) == MAPH_OK) {
    if (lock_alone(store)) rc = mark_clean(store);
    lock_leave(store);
    session_end(store);
  }
  trust_leave(store);
  if (store->stayed)
    lock_leave(store);
  else
    lock_close(store);
  return rc;
}

void session_withdraw(store *store) {
  trust_leave(store);
  lock_leave(store);
}
