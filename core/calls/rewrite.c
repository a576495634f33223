/*
** rewrite.c - compact, optimize, backup: a new generation of the file beside the old one, and the
** change from one to the other.
**
** The new file is PATH.new, made by who holds byte 2 of the lock file.  It grows in these steps;
** all but the last while writers go on:
**
**   sweep      expired entries are deleted, by transactions like any other: feeds see them go
**   base       a snapshot's live records are copied (base.c), each is looked up, and all is flushed
**   catch up   the transactions committed since are copied, with their versions, again and again,
**              until few are left; what was copied is flushed. Where writers are faster than that,
**              they are held up for some milliseconds at a time until it is not so
**   switch     with the writer's lock: the last of them; flush; old state = switching; rename;
**              flush of the folder; new unborn = 0; old state = superseded; the lock goes
**
** Whoever dies before the rename leaves a PATH.new that the next opener for writing removes, and
** perhaps `switching`, which the next writer takes back.  Who dies after it leaves the new file in
** place, unborn: its next writer flushes the folder before it writes.  Nobody acknowledges a commit
** in the new file before its name is on disk.
**
** The switch takes byte 0 of the lock file itself, never the bias, because the bias is a matter of
** one generation.  Readers see `switching` and look which file the path names; each handle moves at
** its next call (handle.c).
**
** A FULL DISK has no room for a second file.  Then what the old one was granted and has not used
** goes back to the disk, with the lock, and the new file is tried once more: the log keeps that
** much (log.c) that a store without live records can always be compacted.
*/
#include "calls/handle.h"
#include "calls/base.h"
#include "calls/rewrite.h"
#include "calls/rewriting.h"
#include "calls/supersede.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
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

static int delete_swept(rewriting *x, uint64_t now, const maph_slice *keys, size_t n) {
  txn t;
  uint64_t swept = 0;
  size_t i;
  int rc = handle_begin(x->handle, MAPH_SYNC_DEFAULT, &t);
  if (rc != MAPH_OK) return rc;
  for (i = 0; rc == MAPH_OK && i < n; i++) {
    rc = txn_sweep(&t, keys[i], now);
    if (rc == MAPH_OK) swept++;
    if (rc == MAPH_NOTFOUND) rc = MAPH_OK; /* somebody put it anew */
  }
  rc = session_finish(&t, rc);
  if (rc == MAPH_OK) x->result.swept += swept;
  return rc;
}

static int sweep(rewriting *x) {
  maph_slice keys[SWEEP_AT_ONCE];
  uint64_t n = 0, now = os_time_ms();
  size_t found = 0;
  store *s;
  view v;
  walk w;
  int rc = handle_writer(x->handle, &s);
  if (rc != MAPH_OK) return rc;
  store_pin(s); /* another process may replace it meanwhile */
  rc = view_latest(s, &v);
  w = walk_from(&v, LOG_START, v.snapshot);
  while (walk_next(&w, &rc)) {
    if (w.it.kind == KIND_PUT && (w.it.flags & FLAG_EXPIRY) && item_expired(&w.it, now)
        && record_link(&v, w.it.offset) == 0)
      keys[found++] = maph_bytes(w.it.key, w.it.key_size);
    if (found == SWEEP_AT_ONCE) {
      rc = delete_swept(x, now, keys, found);
      found = 0;
    }
    if (rc == MAPH_OK && ++n % 4096 == 0) rc = rewrite_tell(x, "sweep", w.at, v.snapshot);
  }
  if (rc == MAPH_OK && found) rc = delete_swept(x, now, keys, found);
  store_unpin(s);
  return rc;
}

/* ------------------------------------------------------------------------------------- catch up */

/* One transaction of the old log again: its records are [from, end record at `at`). */
static int copy_transaction(rewriting *x, const view *v, uint64_t from, uint64_t at,
                            uint64_t version) {
  walk w = walk_from(v, from, at);
  txn t;
  int rc = session_begin(x->to, 0);
  if (rc != MAPH_OK) return rc;
  txn_start(&t, x->to);
  t.durability = MAPH_SYNC_OFF;
  t.version = version;
  while (walk_next(&w, &rc)) {
    if (!walk_is_data(&w)) continue;
    rc = record_verify(v, w.it.offset, w.it.size);
    if (rc == MAPH_OK) rc = txn_copy(&t, &w.it);
    if (rc == MAPH_NOTFOUND)
      rc = fail_corrupt(v->s->path, w.it.offset, "a delete of a key that was never put");
  }
  rc = session_finish(&t, rc);
  x->result.caught_up++;
  return rc;
}

/* Whatever was committed in the old file since it was last copied, as far as that can be done by
** `deadline`. */
static int copy_tail(rewriting *x, uint64_t deadline) {
  uint64_t from = x->copied;
  view v;
  walk w;
  int rc = view_latest(x->from, &v);
  w = walk_from(&v, from, v.snapshot);
  while (walk_next(&w, &rc)) {
    if (w.it.kind == KIND_EPOCH)
      rc = fail(MAPH_BUSY, "%s: the store was recovered by another process meanwhile: try again",
                x->from->path);
    if (w.it.kind != KIND_END) continue;
    rc = copy_transaction(x, &v, from, w.it.offset, w.it.version);
    from = w.at;
    if (rc == MAPH_OK) x->copied = from;
    if (os_clock_ns() >= deadline) break;
  }
  return rc;
}

static uint64_t left_to_copy(const rewriting *x) {
  return atomic_load_explicit(&header_of(atomic_load(&x->from->base))->committed,
                              memory_order_acquire)
         - x->copied;
}

static int flush_new(rewriting *x) {
  store *s = x->to;
  int rc = s->in_memory ? MAPH_OK : os_flush(s->write_base, s->path, x->flushed, s->space_end);
  if (rc == MAPH_OK) x->flushed = s->space_end;
  return rc;
}

/* Until little is left, or it does not get much less. */
static int catch_up(rewriting *x) {
  store *s = x->to;
  uint64_t left = left_to_copy(x), before;
  int rc, rounds = 0;
  do {
    before = left;
    rc = rewrite_tell(x, "catch up", 0, left);
    if (rc == MAPH_OK) rc = copy_tail(x, UINT64_MAX);
    if (rc == MAPH_OK && !s->in_memory) os_start_writeback(&s->file, x->flushed, s->space_end);
    left = left_to_copy(x);
  } while (rc == MAPH_OK && left > LITTLE && left < before - before / 4 && ++rounds < ROUNDS_MOST);
  return rc == MAPH_OK ? flush_new(x) : rc;
}

/* Flush as much as takes about as long as writers may be made to wait. */
static int flush_some(rewriting *x, uint64_t *chunk) {
  store *s = x->to;
  uint64_t to = MIN(x->flushed + *chunk, s->space_end), began = os_clock_ns(), took;
  int rc = s->in_memory ? MAPH_OK : os_flush(s->write_base, s->path, x->flushed, to);
  if (rc == MAPH_OK) x->flushed = to;
  took = os_clock_ns() - began;
  if (took < SLICE_NS) *chunk = MIN(*chunk * 2, (uint64_t)CHUNK_MOST);
  if (took > 2 * SLICE_NS) *chunk = MAX(*chunk / 2, (uint64_t)CHUNK_LEAST);
  return rc;
}

/* Lock writers out, copy and flush what is left.  Where that would take long it is done by slices,
** between which they may write, for less time than they have to wait: so they cannot write more
** than a slice takes away.  The lock is held when this succeeds. */
static int catch_up_locked(rewriting *x, uint64_t *locked_ns) {
  store *s = x->from;
  uint64_t chunk = CHUNK_LEAST;
  int rc, tries = 0, slices = 0, last;
  for (;;) {
    rc = session_begin(s, x->handle->options.busy_timeout_ms);
    /* a long transaction: it has to end some time */
    if (rc == MAPH_BUSY && tries++ < PATIENCE) {
      rc = catch_up(x);
      if (rc == MAPH_OK) continue;
    }
    if (rc != MAPH_OK) return rc;
    *locked_ns = os_clock_ns();
    last = ++slices == SLICES_MOST;
    rc = decided_wait(s);
    if (rc == MAPH_OK) rc = copy_tail(x, last ? UINT64_MAX : *locked_ns + SLICE_NS);
    if (rc == MAPH_OK && (last || (left_to_copy(x) == 0 && x->to->space_end - x->flushed <= chunk)))
      return rc;
    if (rc == MAPH_OK) rc = flush_some(x, &chunk);
    session_end(s);
    x->result.pause_ns = MAX(x->result.pause_ns, os_clock_ns() - *locked_ns);
    if (rc == MAPH_OK) rc = rewrite_tell(x, "catch up", 0, left_to_copy(x));
    if (rc != MAPH_OK) return rc;
    os_sleep_us(BETWEEN_SLICES_US);
  }
}

/* --------------------------------------------------------------------------------------- switch */

static void set(store *s, word *w, uint64_t value) { store_word(s->write_base, w, value); }

/* The new file's live words, as a writer in this boot would have left them, and all of it on
** disk. */
static int seal(rewriting *x, const os_file *lock) {
  store *s = x->to;
  header *h = header_of(s->write_base);
  int rc;
  if (lock) {
    set(s, &h->lock_device, lock->device);
    set(s, &h->lock_inode, lock->inode);
  }
  trust_mark(s);
  set(s, &h->unborn, 1);
  set(s, &h->clean, CLEAN_DIRTY);
  rc = flush_new(x);
  if (rc != MAPH_OK || s->in_memory) return rc;
  set(s, &h->flushed, s->last.end);
  header_checkpoint(s, &s->last);
  return os_flush(s->write_base, s->path, 0, HEADER_SIZE);
}

/* In memory there are no names: the handle, the only one there can be, takes the new store. */
static int take_handle(rewriting *x) {
  int rc = handle_replace(x->handle, x->to);
  if (rc != MAPH_OK) return rc;
  supersede_mark(x->from, STATE_SUPERSEDED, 1);
  x->to = NULL;
  return MAPH_OK;
}

static int switch_over(rewriting *x, const os_file *lock, const char *temporary) {
  store *s = x->from;
  uint64_t locked_ns;
  int rc = catch_up(x);
  if (rc != MAPH_OK) return rc;
  s->unbiased = 1;
  rc = catch_up_locked(x, &locked_ns);
  if (rc != MAPH_OK) {
    s->unbiased = 0;
    return rc;
  }
  if (rc == MAPH_OK && (atomic_load(&header_of(s->write_base)->state) & STATE_POISONED))
    rc = header_say_poisoned(s);
  if (rc == MAPH_OK) rc = seal(x, lock);
  x->result.bytes_after = atomic_load(&x->to->size);
  if (rc == MAPH_OK)
    rc = s->in_memory ? take_handle(x) : supersede(s, x->to, temporary, x->result.note);
  os_wake(&header_of(s->write_base)->committed);
  session_end(s);
  x->result.pause_ns = MAX(x->result.pause_ns, os_clock_ns() - locked_ns);
  s->unbiased = 0;
  return rc;
}

/* ------------------------------------------------------------------------------------ the calls */

/* uuid: of the store that is rewritten; NULL: a backup, which belongs to who makes it. */
static int make_store(rewriting *x, const char *temporary, const uint8_t uuid[16],
                      uint64_t generation, uint64_t expected_keys) {
  os_file model;
  int rc = supersede_status(x->from, &model);
  if (rc != MAPH_OK) return rc;
  x->how = (load_how){ .uuid = uuid,
                       .generation = generation,
                       .base_version = x->snapshot->version,
                       .version = x->snapshot->version,
                       .keys = expected_keys,
                       .memory = LOAD_MEMORY,
                       .unique = 1 };
  if (temporary == NULL) {
    rc = create_bare_in_memory(&x->to);
  } else {
    rc = create_bare(temporary, uuid ? 0600 : (int)os_plain_mode(&model), &x->to);
    if (rc == MAPH_OK && uuid) rc = supersede_attributes(x->from, x->to, temporary, x->result.note);
  }
  if (rc != MAPH_OK) return rc;
  x->to->advice = x->from->advice;
  x->to->huge_pages = x->from->huge_pages;
  x->to->bulk = 1;
  return MAPH_OK;
}

/* The base, looked up and on disk. */
static int write_base(rewriting *x, int freeze, int keep_expired) {
  int rc = freeze ? base_freeze(x) : base_copy(x, keep_expired);
  x->copied = x->snapshot->snapshot;
  if (rc == MAPH_OK) rc = base_verify(x);
  if (rc == MAPH_OK) rc = rewrite_tell(x, "order", 0, 1);
  if (rc == MAPH_OK) rc = order_make_all(x->to);
  if (rc == MAPH_OK) rc = rewrite_tell(x, "flush", 0, 1);
  if (rc == MAPH_OK && !x->to->in_memory) {
    log_trim(x->to, LOG_SPARES_NOTHING);
    rc = os_flush_file(&x->to->file, x->to->path);
  }
  x->flushed = x->to->space_end;
  return rc;
}

static void begin(rewriting *x, maph *m, maph_progress_fn progress, void *arg) {
  memset(x, 0, sizeof *x);
  x->handle = m;
  x->perfect_hash = m->options.perfect_hash;
  x->listener.tell = progress;
  x->listener.arg = arg;
  interrupt_begin(&x->call, &m->interrupts);
  x->forks = os_forks();
}

static int take_snapshot(rewriting *x) {
  int rc = maph_snapshot_open(x->handle, &x->snapshot);
  if (rc != MAPH_OK) return rc;
  x->from = x->snapshot->s;
  x->result.bytes_before = atomic_load(&x->from->size);
  return MAPH_OK;
}

static void finish(rewriting *x, int rc, uint64_t began) {
  x->result.took_ns = os_clock_ns() - began;
  maph_snapshot_close(x->snapshot);
  store_free(x->to);
  interrupt_end(&x->call);
  if (rc == MAPH_OK) handle_note_rewrite(x->handle, &x->result);
}

/* From the new file to the switch. */
static int try_rewrite(rewriting *x, int freeze, const os_file *lock, const char *temporary) {
  int rc = make_store(x, temporary, x->from->uuid, x->from->generation + 1,
                      freeze ? 0 : x->snapshot->records);
  if (rc == MAPH_OK) rc = write_base(x, freeze, 1);
  return rc == MAPH_OK ? switch_over(x, lock, temporary) : rc;
}

/* What the new file takes, about. */
static uint64_t rewritten_size(const rewriting *x, uint64_t live_bytes) {
  return live_bytes + x->snapshot->records * INDEX_A_KEY + LITTLE;
}

/* Granted space of the old file goes back to the disk, if that may do. */
static int give_room_back(rewriting *x, uint64_t live_bytes) {
  store *s = x->from;
  int rc = session_begin(s, x->handle->options.busy_timeout_ms);
  if (rc != MAPH_OK) return rc;
  if (live_bytes > os_free_room(&s->file) + atomic_load(&s->size) - s->space_end)
    rc = MAPH_FULL;
  else
    log_trim(s, LOG_SPARES_NOTHING);
  session_end(s);
  return rc;
}

/* It did not do: deletes have their room again. */
static void take_room_again(rewriting *x) {
  store *s = x->from;
  if (session_begin(s, x->handle->options.busy_timeout_ms) != MAPH_OK) return;
  s->spares = LOG_SPARES_DELETES;
  log_room(s, s->space_end + END_SIZE);
  session_end(s);
}

static void drop_new(rewriting *x, const char *temporary) {
  store_free(x->to);
  x->to = NULL;
  if (x->forks == os_forks()) os_remove(temporary);
}

static int rewrite_or_make_room(rewriting *x, int freeze, const os_file *lock,
                                const char *temporary) {
  char why[200];
  end_record e;
  view v;
  int rc = try_rewrite(x, freeze, lock, temporary);
  if (rc != MAPH_FULL || temporary == NULL) return rc;
  snprintf(why, sizeof why, "%s", maph_errmsg(NULL));
  drop_new(x, temporary);
  rc = view_at(x->from, x->snapshot->snapshot, &v);
  if (rc == MAPH_OK) rc = record_end(&v, v.snapshot, &e);
  if (rc == MAPH_OK) rc = give_room_back(x, e.bytes);
  if (rc == MAPH_OK) {
    rc = try_rewrite(x, freeze, lock, temporary);
    if (rc == MAPH_OK) return rc;
    drop_new(x, temporary);
    take_room_again(x);
  }
  if (rc != MAPH_FULL) return rc;
  return fail(
      MAPH_FULL,
      "%s: a compacted file takes some %llu bytes beside this one: delete more keys, or make "
      "room, and compact again (%s)",
      x->from->path, (unsigned long long)rewritten_size(x, e.bytes), why);
}

static int rewrite_in_place(maph *m, int freeze, int patient, maph_progress_fn progress,
                            void *arg) {
  uint64_t began = os_clock_ns();
  char *temporary = NULL;
  rewriting x;
  os_file lock;
  store *s;
  int rc = handle_writer(m, &s);
  if (rc == MAPH_OK && lock_turn_is_mine(s))
    rc = fail(MAPH_BUSY, "%s: a transaction of this thread is open: end it first", s->path);
  if (rc != MAPH_OK) return rc;
  begin(&x, m, progress, arg);
  x.from = s;
  lock.fd = -1;
  if (s->in_memory) {
    if (handle_claim_rewrite(m)) {
      interrupt_end(&x.call);
      return fail(MAPH_BUSY, "%s: another thread is rewriting this store: try again", s->path);
    }
  } else {
    temporary = create_beside(m->path, ".new");
    rc = temporary ? create_lock_rewrite(m->path, &s->file,
                                         patient ? m->options.busy_timeout_ms : 0, &lock)
                   : MAPH_NOMEM;
  }
  /* another one may have rewritten it while we waited */
  if (rc == MAPH_OK) rc = handle_writer(m, &s);
  if (rc == MAPH_OK) rc = sweep(&x);
  if (rc == MAPH_FULL) rc = MAPH_OK; /* they are copied, and go another time */
  if (rc == MAPH_OK) rc = take_snapshot(&x);
  if (rc == MAPH_OK && (atomic_load(&header_of(x.from->write_base)->state) & STATE_POISONED))
    rc = header_say_poisoned(x.from);
  if (rc == MAPH_OK) rc = rewrite_or_make_room(&x, freeze, temporary ? &lock : NULL, temporary);
  if (rc != MAPH_OK && x.to && temporary && x.forks == os_forks()) os_remove(temporary);
  finish(&x, rc, began);
  if (s->in_memory) handle_end_rewrite(m);
  create_unlock_rewrite(&lock);
  os_free(temporary);
  return rc;
}

int maph_compact(maph *m, maph_progress_fn progress, void *arg) {
  return rewrite_in_place(m, 0, 1, progress, arg);
}
int maph_optimize(maph *m, maph_progress_fn progress, void *arg) {
  return rewrite_in_place(m, 1, 1, progress, arg);
}

/* The store it is a copy of goes on giving versions out.  Should the copy take its place one day,
** no ETag that somebody saw since may name other bytes, and no feed go on where it left off: as
** after a recovery. */
static int leave_versions(rewriting *x) {
  store *s = x->to;
  int rc = recover_append_epoch(s, s->space_end);
  if (rc != MAPH_OK) return rc;
  set(s, &header_of(s->write_base)->end, s->space_end);
  set(s, &header_of(s->write_base)->prepared, s->last.end);
  set(s, &header_of(s->write_base)->committed, s->last.end);
  return order_renew(s, s->last.end);
}

/* A backup becomes a store of its own: clean, and without a lock file until somebody writes. */
static int name_backup(rewriting *x, const char *temporary, const char *path) {
  store *s = x->to;
  header *h;
  int rc = leave_versions(x);
  h = header_of(s->write_base);
  if (rc == MAPH_OK) rc = seal(x, NULL);
  if (rc != MAPH_OK) return rc;
  x->result.bytes_after = atomic_load(&s->size);
  set(s, &h->clean, CLEAN_YES);
  trust_unmark(s);
  rc = os_flush_file(&s->file, s->path);
  if (rc == MAPH_OK) rc = os_rename_new(temporary, path);
  if (rc == MAPH_OK) rc = os_flush_directory(path);
  if (rc == MAPH_OK) set(s, &h->unborn, 0);
  return rc;
}

static int must_be_free(const char *path) {
  uint64_t device, inode;
  return os_identity(path, &device, &inode) == MAPH_OK
             ? fail(MAPH_EXISTS, "%s: exists already: name a new file for the backup", path)
             : MAPH_OK;
}

int maph_backup(maph *m, const char *path, maph_progress_fn progress, void *arg) {
  uint64_t began = os_clock_ns();
  char *resolved = NULL, *temporary = NULL;
  rewriting x;
  os_file lock, model;
  store *s;
  int rc = handle_store(m, &s);
  if (rc == MAPH_OK && (path == NULL || path[0] == 0 || strcmp(path, ":memory:") == 0))
    rc = fail(MAPH_MISUSE, "maph_backup: name the file that is to be made");
  if (rc == MAPH_OK) rc = os_resolve(path, &resolved);
  if (rc != MAPH_OK) return rc;
  begin(&x, m, progress, arg);
  lock.fd = -1;
  temporary = create_beside(resolved, ".new");
  rc = temporary ? create_may_be_named(resolved) : MAPH_NOMEM;
  if (rc == MAPH_OK) rc = take_snapshot(&x);
  if (rc == MAPH_OK) {
    model = x.from->file;
    model.mode = os_plain_mode(&model);
    model.fd = -1;
    model.owner = model.group = (unsigned)-1;
  }
  if (rc == MAPH_OK) rc = must_be_free(resolved);
  if (rc == MAPH_OK) rc = create_lock_rewrite(resolved, &model, m->options.busy_timeout_ms, &lock);
  /* another backup may have come there while we waited */
  if (rc == MAPH_OK) rc = must_be_free(resolved);
  if (rc == MAPH_OK) rc = make_store(&x, temporary, NULL, 1, x.snapshot->records);
  if (rc == MAPH_OK) rc = write_base(&x, 0, 0);
  if (rc == MAPH_OK) rc = name_backup(&x, temporary, resolved);
  if (rc != MAPH_OK && x.to && x.forks == os_forks()) os_remove(temporary);
  if (rc != MAPH_OK && lock.fd >= 0 && x.forks == os_forks()) create_remove_lock(resolved);
  if (rc == MAPH_OK) create_remove_unused_lock(resolved, &lock);
  finish(&x, rc, began);
  create_unlock_rewrite(&lock);
  os_free(temporary);
  free(resolved);
  return rc;
}

int maph_rewritten(maph *m, maph_rewrite *result) {
  store *s;
  int rc = handle_store(m, &s);
  if (rc == MAPH_OK && result == NULL)
    rc = fail(MAPH_MISUSE, "maph_rewritten: no place for the result");
  return rc == MAPH_OK ? handle_last_rewrite(m, result) : rc;
}

/* ---------------------------------------------------------------------- compaction by threshold */

void rewrite_if_due(maph *m) {
  maph_stats st;
  store *s = atomic_load(&m->s);
  size_t lent, others;
  uint64_t committed =
      atomic_load_explicit(&header_of(atomic_load(&s->base))->committed, memory_order_relaxed);
  if (m->options.auto_compact == 0
      || (atomic_load(&m->looked_at) == s && committed < atomic_load(&m->look_again)))
    return;
  atomic_store(&m->look_again, committed + MAX(committed / 16, (uint64_t)LOOK_EACH));
  atomic_store(&m->looked_at, s);
  handle_pinned(m, &lent, &others); /* each holds a file and its space */
  if (lent >= LENT_MOST || others >= LEFT_MOST) return;
  if (maph_stat(m, &st) != MAPH_OK || st.dead_bytes < LOOK_EACH
      || st.dead_bytes * 100 <= st.used_bytes * (uint64_t)m->options.auto_compact)
    return;
  /* unless somebody is at it; and the commit stands whether it succeeds or not */
  rewrite_in_place(m, st.frozen_keys > 0, 0, NULL, NULL);
}
