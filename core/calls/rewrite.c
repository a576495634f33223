/*
** rewrite.c - compact, optimize, backup: a new generation of the file beside the old one, and the
** change from one to the other.
**
** The new file is PATH.new, made by whoever holds byte 2 of the lock file.  It grows in these
** steps; all but the last while writers go on:
**
**   sweep      expired entries are deleted, by transactions like any other: feeds see them go.
**              Where versions are given, this store has none to give: the base lacks them
**   base       a snapshot's live records are copied (base.c), each is looked up, and all is flushed
**   seal       the header gets its live words, dirty and unborn, and is flushed
**   catch up   the transactions committed since are copied, with their versions, again and again,
**              until few are left; what was copied is flushed. Where writers are faster than that,
**              they are held up for some milliseconds at a time until it is not so
**   switch     with the writer's lock: the last of them; old state = switching; flush of what is
**              owed; rename; flush of the folder; new unborn = 0; old state = superseded; the lock
**              goes
**   the rest   what was not owed is flushed, while writers write to the new file
**
** WHAT EACH FLUSH PROMISES.  A disk may take seconds for one, and who writes waits as long for the
** lock.  So each is done without the lock, but for what cannot be.
**
**   of the base    the log from its start on is whole, so that a recovery of the new file finds all
**                  of the base, and checkpoints may name its end
**   of the header  the disk says `dirty` before it has any transaction past the base: after a power
**                  loss the new file's live words are not believed.  `unborn` is of use to the next
**                  writer in this boot alone: after another boot the name is there or it is not
**   of the tail    what was promised to be on disk is so in the new file before it can have the
**                  name.  That is what the old file's `flushed` covers: commits at full, and what
**                  maph_sync returned for (supersede.c).  Of the rest of the tail a power loss may
**                  take any end, as it may in the old file; the log recovers to the transaction
**                  before.  With the lock it is flushed only as far as it is owed, once little is
**   of the folder  with the lock.  Until the name is on disk nobody may write to the new file: a
**                  power loss would bring the old one back, after versions of the new one, or of
**                  its recovery, were seen, and commits to it were acknowledged
**   of the rest    whoever asked for the rewrite finds all of the new file on disk
**
** Whoever dies before the rename leaves a PATH.new that the next opener for writing removes, and
** perhaps `switching`, which the next writer takes back.  Whoever dies after it leaves the new file
** in place, unborn: its next writer flushes the folder before it writes.  Nobody acknowledges a
** commit in the new file before its name is on disk.
**
** The switch takes byte 0 of the lock file itself, never the bias, because the bias is a matter of
** one generation.  Readers see `switching` and look which file the path names; each handle moves at
** its next call (handle.c).
**
** A FULL DISK has no room for a second file.  Then what the old one was granted and has not used
** goes back to the disk, with the lock, and the new file is tried once more: the log keeps that
** much (reserve.c) that a store without live records can always be compacted.
*/
#include "calls/handle.h"
#include "calls/registry.h"
#include "calls/base.h"
#include "calls/freeze.h"
#include "calls/rewrite.h"
#include "calls/rewriting.h"
#include "calls/supersede.h"
#include "file/grant.h"
#include "file/header.h"
#include "file/record.h"
#include "file/reserve.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/lookup.h"
#include "order/write.h"
#include "writer/commit.h"
#include "writer/create.h"
#include "writer/decided.h"
#include "writer/lock.h"
#include "writer/recover.h"
#include "writer/trust.h"
#include "writer/session.h"
#include "writer/txn.h"

#include <stdio.h>
#include <stdlib.h>

enum {
  SWEEP_AT_ONCE = 256,
  ROUNDS_MOST = 20,
  LITTLE = 64 * 1024,
  PATIENCE = 12,
  FLUSHES_MOST = 3,
  SLICE_NS = 8000000,
  SLICES_MOST = 10000,
  BETWEEN_SLICES_US = 2000,
  CHUNK_LEAST = 512 * 1024,
  CHUNK_MOST = 4 * 1024 * 1024,
  LOOK_EACH = 64 * 1024,
  LENT_MOST = 8,
  LEFT_MOST = 64,
  INDEX_A_KEY = 16
};

/* ---------------------------------------------------------------------------------------- sweep */

static int delete_swept(rewriting *rewriting, uint64_t now, const maph_slice *keys, size_t n) {
  txn txn;
  uint64_t swept = 0;
  size_t i;
  int rc = handle_begin(rewriting->handle, MAPH_SYNC_DEFAULT, &txn);
  if (rc != MAPH_OK) return rc;
  for (i = 0; rc == MAPH_OK && i < n; i++) {
    rc = txn_sweep(&txn, keys[i], now);
    if (rc == MAPH_OK) swept++;
    if (rc == MAPH_NOTFOUND) rc = MAPH_OK; /* somebody put it anew */
  }
  rc = session_finish(&txn, rc);
  if (rc == MAPH_OK) rewriting->result.swept += swept;
  return rc;
}

static int sweep(rewriting *rewriting) {
  maph_slice keys[SWEEP_AT_ONCE];
  uint64_t n = 0, now = os_time_ms();
  size_t found = 0;
  store *store;
  view view;
  walk walk;
  int rc = handle_writer(rewriting->handle, &store);
  if (rc != MAPH_OK) return rc;
  store_pin(store); /* another process may replace it meanwhile */
  rc = view_latest(store, &view);
  walk = walk_from(&view, LOG_START, view.snapshot);
  while (walk_next(&walk, &rc)) {
    if (walk.it.kind == KIND_PUT && (walk.it.flags & FLAG_EXPIRY) && item_expired(&walk.it, now)
        && item_newest(&view, &walk.it, &rc))
      keys[found++] = maph_bytes(walk.it.key, walk.it.key_size);
    if (found == SWEEP_AT_ONCE) {
      rc = delete_swept(rewriting, now, keys, found);
      found = 0;
    }
    if (rc == MAPH_OK && ++n % 4096 == 0)
      rc = rewrite_tell(rewriting, "sweep", walk.at, view.snapshot);
  }
  if (rc == MAPH_OK && found) rc = delete_swept(rewriting, now, keys, found);
  store_unpin(store);
  return rc;
}

/* ------------------------------------------------------------------------------------- catch up */

/* One transaction of the old log again: its records are [from, end record at `at`). */
static int copy_transaction(rewriting *rewriting, const view *view, uint64_t from, uint64_t at,
                            uint64_t version) {
  walk walk = walk_from(view, from, at);
  txn txn;
  int rc = session_begin(rewriting->to, 0);
  if (rc != MAPH_OK) return rc;
  txn_start(&txn, rewriting->to);
  txn.durability = MAPH_SYNC_OFF;
  while (walk_next(&walk, &rc)) {
    if (!walk_is_data(&walk)) continue;
    rc = record_verify(view, walk.it.offset, walk.it.size);
    txn.version = rewriting->to->given ? walk.it.version : version;
    if (rc == MAPH_OK) rc = txn_copy(&txn, &walk.it);
    if (rc == MAPH_NOTFOUND && rewriting->dropped) rc = MAPH_OK; /* it is not in the base */
    if (rc == MAPH_NOTFOUND)
      rc = fail_corrupt(view->store->path, walk.it.offset, "a delete of a key that was never put");
  }
  txn.version = version;
  rc = session_finish(&txn, rc);
  rewriting->result.caught_up++;
  return rc;
}

/* Whatever was committed in the old file since it was last copied, as far as that can be done by
** `deadline`. */
static int copy_tail(rewriting *rewriting, uint64_t deadline) {
  uint64_t from = rewriting->copied;
  view view;
  walk walk;
  int rc = view_latest(rewriting->from, &view);
  walk = walk_from(&view, from, view.snapshot);
  while (walk_next(&walk, &rc)) {
    if (walk.it.kind == KIND_EPOCH)
      rc = fail(MAPH_BUSY, "%s: the store was recovered by another process meanwhile: try again",
                rewriting->from->path);
    if (walk.it.kind != KIND_END) continue;
    rc = copy_transaction(rewriting, &view, from, walk.it.offset, walk.it.version);
    from = walk.at;
    if (rc == MAPH_OK) rewriting->copied = from;
    if (os_clock_ns() >= deadline) break;
  }
  return rc;
}

static uint64_t left_to_copy(const rewriting *rewriting) {
  return atomic_load_explicit(&header_of(atomic_load(&rewriting->from->base))->committed,
                              memory_order_acquire)
         - rewriting->copied;
}

/* All that was copied is on disk now, and the new file says so. */
static void note_flushed(rewriting *rewriting) {
  store *store = rewriting->to;
  rewriting->flushed = store->space_end;
  rewriting->safe = rewriting->copied;
  if (store->in_memory) return;
  store_word(store->write_base, &header_of(store->write_base)->flushed, store->last.end);
  header_checkpoint(store, &store->last);
}

static uint64_t unflushed(const rewriting *rewriting) {
  return rewriting->to->space_end - rewriting->flushed;
}

static int flush_new(rewriting *rewriting) {
  store *store = rewriting->to;
  int rc = store->in_memory || unflushed(rewriting) == 0
               ? MAPH_OK
               : os_flush(store->write_base, store->path, rewriting->flushed, store->space_end);
  if (rc == MAPH_OK) note_flushed(rewriting);
  return rc;
}

/* Is something on disk in the old file, and not in the new one?  The order of it and of the state:
** supersede.c. */
static int is_owed(const rewriting *rewriting) {
  const store *store = rewriting->from;
  return !store->in_memory
         && atomic_load(&header_of(atomic_load(&store->base))->flushed) > rewriting->safe;
}

/* Until little is left, or it does not get much less. */
static int catch_up(rewriting *rewriting) {
  store *store = rewriting->to;
  uint64_t left = left_to_copy(rewriting), before;
  int rc, rounds = 0;
  do {
    before = left;
    rc = rewrite_tell(rewriting, "catch up", 0, left);
    if (rc == MAPH_OK) rc = copy_tail(rewriting, UINT64_MAX);
    if (rc == MAPH_OK && !store->in_memory)
      os_start_writeback(&store->file, rewriting->flushed, store->space_end);
    left = left_to_copy(rewriting);
  } while (rc == MAPH_OK && left > LITTLE && left < before - before / 4 && ++rounds < ROUNDS_MOST);
  return rc;
}

/* Flush as much as takes about as long as writers may be made to wait. */
static int flush_some(rewriting *rewriting, uint64_t *chunk) {
  store *store = rewriting->to;
  uint64_t to = MIN(rewriting->flushed + *chunk, store->space_end), began = os_clock_ns(), took;
  int rc;
  if (to == store->space_end) return flush_new(rewriting);
  rc = os_flush(store->write_base, store->path, rewriting->flushed, to);
  if (rc == MAPH_OK) rewriting->flushed = to;
  took = os_clock_ns() - began;
  if (took < SLICE_NS) *chunk = MIN(*chunk * 2, (uint64_t)CHUNK_MOST);
  if (took > 2 * SLICE_NS) *chunk = MAX(*chunk / 2, (uint64_t)CHUNK_LEAST);
  return rc;
}

/* Lock writers out, copy what is left, and flush what is owed.  Where that would take long it is
** done by slices, between which they may write, for less time than they have to wait: so they
** cannot write more than a slice takes away.  Where much is owed it is flushed without the lock
** first, some times; after that by slices too.  The lock is held when this succeeds. */
static int catch_up_locked(rewriting *rewriting, uint64_t *locked_ns) {
  store *store = rewriting->from;
  uint64_t chunk = CHUNK_LEAST;
  int rc, tries = 0, slices = 0, flushes = 0, last, all, much;
  for (;;) {
    rc = session_begin(store, rewriting->handle->options.busy_timeout_ms);
    /* a long transaction: it has to end some time */
    if (rc == MAPH_BUSY && tries++ < PATIENCE) {
      rc = catch_up(rewriting);
      if (rc == MAPH_OK) continue;
    }
    if (rc != MAPH_OK) return rc;
    *locked_ns = os_clock_ns();
    last = ++slices == SLICES_MOST;
    rc = decided_wait(store);
    if (rc == MAPH_OK) rc = copy_tail(rewriting, last ? UINT64_MAX : *locked_ns + SLICE_NS);
    all = rc == MAPH_OK && (last || left_to_copy(rewriting) == 0);
    much = is_owed(rewriting) && unflushed(rewriting) > chunk;
    if (all && (last || !much)) return is_owed(rewriting) ? flush_new(rewriting) : MAPH_OK;
    if (all && flushes >= FLUSHES_MOST) rc = flush_some(rewriting, &chunk);
    session_end(store);
    rewriting->result.pause_ns = MAX(rewriting->result.pause_ns, os_clock_ns() - *locked_ns);
    if (all && flushes++ < FLUSHES_MOST) rc = flush_new(rewriting);
    if (rc == MAPH_OK) rc = rewrite_tell(rewriting, "catch up", 0, left_to_copy(rewriting));
    if (rc != MAPH_OK) return rc;
    os_sleep_us(BETWEEN_SLICES_US);
  }
}

/* --------------------------------------------------------------------------------------- switch */

static void set(store *store, word *word, uint64_t value) {
  store_word(store->write_base, word, value);
}

/* The new file's live words, as a writer in this boot would have left them, and all of it on
** disk.  From here on catching up needs not mark it. */
static int seal(rewriting *rewriting, const os_file *lock) {
  store *store = rewriting->to;
  header *header = header_of(store->write_base);
  int rc;
  if (lock) {
    set(store, &header->lock_device, lock->device);
    set(store, &header->lock_inode, lock->inode);
  }
  trust_mark(store);
  set(store, &header->unborn, 1);
  set(store, &header->clean, CLEAN_DIRTY);
  rc = flush_new(rewriting);
  if (rc != MAPH_OK || store->in_memory) return rc;
  return os_flush(store->write_base, store->path, 0, HEADER_SIZE);
}

/* In memory there are no names: the handle, the only one there can be, takes the new store. */
static int take_handle(rewriting *rewriting) {
  int rc = handle_replace(rewriting->handle, rewriting->to);
  if (rc != MAPH_OK) return rc;
  supersede_mark(rewriting->from, STATE_SUPERSEDED, 1);
  rewriting->to = NULL;
  return MAPH_OK;
}

/* The old file's room is gone until its last reader is.  Nobody writes to it any more. */
static void make_room_for_deletes(rewriting *rewriting) {
  if (rewriting->from->in_memory) return;
  if (rewriting->from->lent) reserve_trim(rewriting->from, SPARES_NOTHING);
  reserve_keep_for_deletes(rewriting->to);
}

/* Nobody is promised more of the old file. */
static int flush_owed(void *arg) { return is_owed(arg) ? flush_new(arg) : MAPH_OK; }

/* The rest of the new file, to which others write by now. */
static int flush_rest(rewriting *rewriting) {
  store *store = rewriting->to;
  int rc;
  if (store == NULL || unflushed(rewriting) == 0) return MAPH_OK;
  rc = os_flush(store->write_base, store->path, rewriting->flushed, store->space_end);
  if (rc != MAPH_OK)
    header_poison(store);
  else if (grant_header(store) == MAPH_OK)
    commit_raise_flushed(store, store->last.end);
  return rc;
}

static int switch_over(rewriting *rewriting, const os_file *lock, const char *temporary) {
  store *store = rewriting->from;
  uint64_t locked_ns;
  int rc = seal(rewriting, lock);
  if (rc == MAPH_OK) rc = catch_up(rewriting);
  if (rc == MAPH_OK) rc = flush_new(rewriting);
  if (rc == MAPH_OK) rc = catch_up(rewriting); /* what came during the flush */
  if (rc != MAPH_OK) return rc;
  store->unbiased = 1;
  rc = catch_up_locked(rewriting, &locked_ns);
  if (rc != MAPH_OK) {
    store->unbiased = 0;
    return rc;
  }
  if (rc == MAPH_OK && (atomic_load(&header_of(store->write_base)->state) & STATE_POISONED))
    rc = header_say_poisoned(store);
  if (rc == MAPH_OK) make_room_for_deletes(rewriting);
  rewriting->result.bytes_after = atomic_load(&rewriting->to->size);
  if (rc == MAPH_OK)
    rc = store->in_memory ? take_handle(rewriting)
                          : supersede(store, rewriting->to, temporary, rewriting->result.note,
                                      flush_owed, rewriting);
  if (rc == MAPH_OK && store->lent) reserve_lending_over(store);
  os_wake(&header_of(store->write_base)->committed);
  session_end(store);
  rewriting->result.pause_ns = MAX(rewriting->result.pause_ns, os_clock_ns() - locked_ns);
  store->unbiased = 0;
  return rc == MAPH_OK ? flush_rest(rewriting) : rc;
}

/* ------------------------------------------------------------------------------------ the calls */

/* uuid: of the store that is rewritten; NULL: a backup, which belongs to whoever makes it. */
static int make_store(rewriting *rewriting, const char *temporary, const uint8_t uuid[16],
                      uint64_t generation, uint64_t expected_keys) {
  os_file model;
  int rc = supersede_status(rewriting->from, &model);
  if (rc != MAPH_OK) return rc;
  rewriting->how = (load_how){ .identity = { .uuid = uuid,
                                             .generation = generation,
                                             .base_version = rewriting->snapshot->version,
                                             .shift = store_shift(rewriting->from),
                                             .given = rewriting->from->given },
                               .version = rewriting->snapshot->version,
                               .keys = expected_keys,
                               .memory = LOAD_MEMORY,
                               .unique = 1 };
  if (rewriting->from->given) rewriting->how.identity.uuid = rewriting->from->uuid;
  if (temporary == NULL) {
    rc = create_bare_in_memory(&rewriting->to);
  } else {
    rc = create_bare(temporary, uuid ? 0600 : (int)os_plain_mode(&model), &rewriting->to);
    if (rc == MAPH_OK && uuid)
      rc = supersede_attributes(rewriting->from, rewriting->to, temporary, rewriting->result.note);
  }
  if (rc != MAPH_OK) return rc;
  rewriting->to->advice = rewriting->from->advice;
  rewriting->to->huge_pages = rewriting->from->huge_pages;
  rewriting->to->bulk = 1;
  return MAPH_OK;
}

/* The base, looked up and on disk. */
static int write_base(rewriting *rewriting, int freeze) {
  int rc = freeze ? freeze_base(rewriting) : base_copy(rewriting);
  if (rewriting->from->given) rewriting->result.swept = rewriting->dropped;
  rewriting->copied = rewriting->snapshot->snapshot;
  if (rc == MAPH_OK) rc = base_verify(rewriting);
  if (rc == MAPH_OK) rc = rewrite_tell(rewriting, "flush", 0, 1);
  if (rc == MAPH_OK && !rewriting->to->in_memory) {
    reserve_trim(rewriting->to, SPARES_NOTHING);
    rc = os_flush_file(&rewriting->to->file, rewriting->to->path);
  }
  if (rc == MAPH_OK) note_flushed(rewriting);
  return rc;
}

static void begin(rewriting *rewriting, maph *m, maph_progress_fn progress, void *arg) {
  memset(rewriting, 0, sizeof *rewriting);
  rewriting->handle = m;
  rewriting->perfect_hash = m->options.perfect_hash;
  rewriting->listener.tell = progress;
  rewriting->listener.arg = arg;
  interrupt_begin(&rewriting->call, &m->interrupts);
  rewriting->listener.told_ns = os_clock_ns();
  rewriting->call.listener = &rewriting->listener;
  rewriting->forks = os_forks();
}

static int take_snapshot(rewriting *rewriting) {
  int rc = maph_snapshot_open(rewriting->handle, &rewriting->snapshot);
  if (rc != MAPH_OK) return rc;
  rewriting->from = rewriting->snapshot->store;
  rewriting->result.bytes_before = atomic_load(&rewriting->from->size);
  return MAPH_OK;
}

static void finish(rewriting *rewriting, int rc, uint64_t began) {
  rewriting->result.took_ns = os_clock_ns() - began;
  maph_snapshot_close(rewriting->snapshot);
  store_free(rewriting->to);
  interrupt_end(&rewriting->call);
  if (rc == MAPH_OK) handle_note_rewrite(rewriting->handle, &rewriting->result);
}

/* From the new file to the switch. */
static int try_rewrite(rewriting *rewriting, int freeze, const os_file *lock,
                       const char *temporary) {
  int rc = make_store(rewriting, temporary, rewriting->from->uuid, rewriting->from->generation + 1,
                      freeze ? 0 : rewriting->snapshot->records);
  rewriting->drop_expired = rewriting->from->given;
  if (rc == MAPH_OK) rc = write_base(rewriting, freeze);
  return rc == MAPH_OK ? switch_over(rewriting, lock, temporary) : rc;
}

/* What the new file takes, about. */
static uint64_t rewritten_size(const rewriting *rewriting, uint64_t live_bytes) {
  return live_bytes + rewriting->snapshot->records * INDEX_A_KEY + LITTLE;
}

/* Granted space of the old file goes back to the disk, if that may do. */
static int give_room_back(rewriting *rewriting, uint64_t live_bytes) {
  store *store = rewriting->from;
  int rc = session_begin(store, rewriting->handle->options.busy_timeout_ms);
  if (rc != MAPH_OK) return rc;
  if (live_bytes > os_free_room(&store->file) + reserve_lendable(store))
    rc = MAPH_FULL;
  else
    reserve_lend(store);
  session_end(store);
  return rc;
}

/* It did not do, as was said: deletes have their room again. */
static void take_room_again(rewriting *rewriting) {
  store *store = rewriting->from;
  sentence why;
  error_keep(&why);
  if (session_begin(store, rewriting->handle->options.busy_timeout_ms) == MAPH_OK) {
    reserve_take_again(store);
    session_end(store);
  } else {
    reserve_lending_over(store);
  }
  error_put_back(&why);
}

static void drop_new(rewriting *rewriting, const char *temporary) {
  store_free(rewriting->to);
  rewriting->to = NULL;
  if (rewriting->forks == os_forks()) os_discard(temporary);
}

static int rewrite_or_make_room(rewriting *rewriting, int freeze, const os_file *lock,
                                const char *temporary) {
  char why[200];
  end_record end;
  view view;
  int rc = try_rewrite(rewriting, freeze, lock, temporary);
  if (rc != MAPH_FULL || temporary == NULL) return rc;
  snprintf(why, sizeof why, "%s", maph_errmsg(NULL));
  drop_new(rewriting, temporary);
  rc = view_at(rewriting->from, rewriting->snapshot->snapshot, &view);
  if (rc == MAPH_OK) rc = record_end(&view, view.snapshot, &end);
  if (rc == MAPH_OK) rc = give_room_back(rewriting, end.bytes);
  if (rc == MAPH_OK) {
    rc = try_rewrite(rewriting, freeze, lock, temporary);
    if (rc == MAPH_OK) return rc;
    drop_new(rewriting, temporary);
    take_room_again(rewriting);
  }
  if (rc != MAPH_FULL) return rc;
  return fail(
      MAPH_FULL,
      "%s: a compacted file takes some %llu bytes beside this one: delete more keys, or make "
      "room, and compact again (%s)",
      rewriting->from->path, (unsigned long long)rewritten_size(rewriting, end.bytes), why);
}

static int rewrite_in_place(maph *m, int freeze, int patient, maph_progress_fn progress,
                            void *arg) {
  uint64_t began = os_clock_ns();
  char *temporary = NULL;
  rewriting rewriting;
  os_file lock;
  store *store;
  int rc = handle_writer(m, &store);
  if (rc == MAPH_OK && lock_turn_is_mine(store))
    rc = fail(MAPH_BUSY, "%s: a transaction of this thread is open: end it first", store->path);
  if (rc != MAPH_OK) return rc;
  begin(&rewriting, m, progress, arg);
  rewriting.from = store;
  lock.fd = -1;
  if (store->in_memory) {
    if (handle_claim_rewrite(m)) {
      interrupt_end(&rewriting.call);
      return fail(MAPH_BUSY, "%s: another thread is rewriting this store: try again", store->path);
    }
  } else {
    temporary = create_beside(m->path, ".new");
    rc = temporary ? create_lock_rewrite(m->path, &store->file,
                                         patient ? m->options.busy_timeout_ms : 0, &lock)
                   : MAPH_NOMEM;
  }
  /* another one may have rewritten it while we waited */
  if (rc == MAPH_OK) rc = handle_writer(m, &store);
  if (rc == MAPH_OK && !store->given) rc = sweep(&rewriting);
  if (rc == MAPH_FULL) rc = MAPH_OK; /* they are copied, and go another time */
  if (rc == MAPH_OK) rc = take_snapshot(&rewriting);
  if (rc == MAPH_OK
      && (atomic_load(&header_of(rewriting.from->write_base)->state) & STATE_POISONED))
    rc = header_say_poisoned(rewriting.from);
  if (rc == MAPH_OK)
    rc = rewrite_or_make_room(&rewriting, freeze, temporary ? &lock : NULL, temporary);
  if (rc != MAPH_OK && rewriting.to && temporary && rewriting.forks == os_forks())
    os_discard(temporary);
  finish(&rewriting, rc, began);
  if (store->in_memory) handle_end_rewrite(m);
  create_unlock_rewrite(&lock);
  os_free(temporary);
  return rc;
}

int maph_compact(maph *m, maph_progress_fn progress, void *arg) {
  sentence before;
  int rc;
  error_keep(&before);
  rc = rewrite_in_place(m, 0, 1, progress, arg);
  return rc == MAPH_OK ? error_done(rc, &before, NULL) : handle_failed(m, rc);
}
int maph_optimize(maph *m, maph_progress_fn progress, void *arg) {
  sentence before;
  int rc;
  error_keep(&before);
  rc = rewrite_in_place(m, 1, 1, progress, arg);
  return rc == MAPH_OK ? error_done(rc, &before, NULL) : handle_failed(m, rc);
}

/* The store it is a copy of goes on giving versions out.  Should the copy take its place one day,
** no ETag that somebody saw since may name other bytes, and no feed go on where it left off: as
** after a recovery. */
static int leave_versions(rewriting *rewriting) {
  store *store = rewriting->to;
  uint64_t before = header_life(store, store->last.version);
  int rc;
  if (store->given) return MAPH_OK;
  rc = recover_append_epoch(store, store->space_end);
  if (rc != MAPH_OK) return rc;
  header_show(store);
  return order_renew(store, before, store->last.end);
}

/* A backup becomes a store of its own: clean, and without a lock file until somebody writes. */
static int name_backup(rewriting *rewriting, const char *temporary, const char *path) {
  store *store = rewriting->to;
  header *header;
  int rc = leave_versions(rewriting);
  header = header_of(store->write_base);
  if (rc == MAPH_OK) rc = seal(rewriting, NULL);
  if (rc != MAPH_OK) return rc;
  rewriting->result.bytes_after = atomic_load(&store->size);
  set(store, &header->clean, CLEAN_YES);
  trust_unmark(store);
  rc = os_flush_file(&store->file, store->path);
  if (rc == MAPH_OK) rc = os_rename_new(temporary, path);
  if (rc == MAPH_OK) rc = os_flush_directory(path, &store->file);
  if (rc == MAPH_OK) set(store, &header->unborn, 0);
  return rc;
}

static int must_be_free(const char *path) {
  uint64_t device, inode;
  return os_identity(path, &device, &inode) == MAPH_OK
             ? fail(MAPH_EXISTS, "%s: exists already: name a new file for the backup", path)
             : MAPH_OK;
}

static int backup(maph *m, const char *path, maph_progress_fn progress, void *arg) {
  uint64_t began = os_clock_ns();
  char *resolved = NULL, *temporary = NULL;
  rewriting rewriting;
  os_file lock, model;
  store *store;
  int rc = handle_store(m, &store);
  if (rc == MAPH_OK && (path == NULL || path[0] == 0 || strcmp(path, ":memory:") == 0))
    rc = fail(MAPH_MISUSE, "maph_backup: name the file that is to be made");
  if (rc == MAPH_OK) rc = os_resolve(path, &resolved);
  if (rc != MAPH_OK) return rc;
  begin(&rewriting, m, progress, arg);
  lock.fd = -1;
  temporary = create_beside(resolved, ".new");
  rc = temporary ? create_may_be_named(resolved) : MAPH_NOMEM;
  if (rc == MAPH_OK) rc = take_snapshot(&rewriting);
  if (rc == MAPH_OK) {
    model = rewriting.from->file;
    model.mode = os_plain_mode(&model);
    model.fd = -1;
    model.owner = model.group = (unsigned)-1;
  }
  if (rc == MAPH_OK) rc = must_be_free(resolved);
  if (rc == MAPH_OK) rc = create_lock_rewrite(resolved, &model, m->options.busy_timeout_ms, &lock);
  /* another backup may have come there while we waited */
  if (rc == MAPH_OK) rc = must_be_free(resolved);
  if (rc == MAPH_OK) rc = make_store(&rewriting, temporary, NULL, 1, rewriting.snapshot->records);
  rewriting.drop_expired = 1;
  if (rc == MAPH_OK) rc = write_base(&rewriting, 0);
  if (rc == MAPH_OK) rc = name_backup(&rewriting, temporary, resolved);
  if (rc != MAPH_OK && rewriting.to && rewriting.forks == os_forks()) os_discard(temporary);
  if (rc != MAPH_OK && lock.fd >= 0 && rewriting.forks == os_forks()) create_remove_lock(resolved);
  if (rc == MAPH_OK) create_remove_unused_lock(resolved, &lock);
  finish(&rewriting, rc, began);
  create_unlock_rewrite(&lock);
  os_free(temporary);
  free(resolved);
  return rc;
}

int maph_backup(maph *m, const char *path, maph_progress_fn progress, void *arg) {
  sentence before;
  error_keep(&before);
  return error_done(backup(m, path, progress, arg), &before, path);
}

int maph_rewritten(maph *m, maph_rewrite *result) {
  if (result == NULL) return fail(MAPH_MISUSE, "maph_rewritten: no place for the result");
  return handle_last_rewrite(m, result);
}

/* ---------------------------------------------------------------------- compaction by threshold */

/* The commit stands whether this succeeds or not; and unless somebody is at it. */
static __attribute__((noinline)) void rewrite_if_worth(maph *m) {
  sentence before;
  maph_stats st;
  size_t lent, others;
  handle_pinned(m, &lent, &others); /* each holds a file and its space */
  if (lent >= LENT_MOST || others >= LEFT_MOST) return;
  error_keep(&before);
  if (maph_stat(m, &st) == MAPH_OK && st.dead_bytes >= LOOK_EACH
      && st.dead_bytes * 100 > st.used_bytes * (uint64_t)m->options.auto_compact)
    rewrite_in_place(m, st.frozen_keys > 0, 0, NULL, NULL);
  error_put_back(&before);
}

/* relaxed: `committed` is a number to compare with a threshold here, no byte below it is read. */
void rewrite_if_due(maph *m) {
  store *store = atomic_load(&m->store);
  uint64_t committed =
      atomic_load_explicit(&header_of(atomic_load(&store->base))->committed, memory_order_relaxed);
  if (m->options.auto_compact == 0
      || (atomic_load(&m->looked_at) == store && committed < atomic_load(&m->look_again)))
    return;
  atomic_store(&m->look_again, committed + MAX(committed / 16, (uint64_t)LOOK_EACH));
  atomic_store(&m->looked_at, store);
  rewrite_if_worth(m);
}
