/*
** intake.c - a load into a store that is there and empty.
**
** To all who use the store the load is one transaction, the first one after its creation or its
** last rewrite.  The file that the load fills is the store's next generation, whose log begins with
** that transaction.  It takes the store's name as a rewritten file does (supersede.c), and its
** users follow.  So that nothing is lost for them, not even the change that a feed would tell, the
** store must be as it was made: without entries, and at its first version.
**
** Meanwhile the store is not locked for writers, only for rewrites (byte 2 of the lock file).
** Where somebody wrote to it before the end, what was loaded is copied into it instead, in one
** transaction: last, as it is the last to be committed.
*/
#include "calls/intake.h"
#include "calls/supersede.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/build.h"
#include "os/interrupt.h"
#include "writer/commit.h"
#include "writer/decided.h"
#include "writer/lock.h"
#include "writer/session.h"
#include "writer/trust.h"

enum { LOOK_EACH = 4096 };

/* Nothing was put since it was made or rewritten: who follows it loses nothing. */
static int as_made(const store *store, uint64_t version, uint64_t records) {
  return records == 0 && version == store->base_version && !store->given;
}

static int must_be_as_made(intake *intake) {
  maph_snapshot *snapshot;
  int rc = maph_snapshot_open(intake->handle, &snapshot);
  if (rc != MAPH_OK) return rc;
  intake->store = snapshot->store;
  if (!as_made(snapshot->store, snapshot->version, snapshot->records))
    rc = fail(MAPH_EXISTS, "%s: was written to already: put entries in transactions",
              intake->store->path);
  intake->keys = index_keys(intake->store);
  maph_snapshot_close(snapshot);
  return rc;
}

int intake_begin(intake *intake, const char *path, int busy_timeout_ms, creation *creation,
                 header_identity *identity) {
  maph_options options = MAPH_OPTIONS_INIT;
  store *store;
  int rc;
  options.busy_timeout_ms = busy_timeout_ms;
  memset(creation, 0, sizeof *creation);
  creation->path = path;
  creation->mode = 0600;
  creation->lock.fd = creation->empty.fd = -1;
  rc = maph_open(path, MAPH_RDWR, &options, &intake->handle);
  if (rc == MAPH_OK) rc = handle_writer(intake->handle, &store);
  if (rc == MAPH_OK) rc = must_be_as_made(intake); /* before a wait for the lock */
  if (rc == MAPH_OK) rc = create_lock_rewrite(path, &store->file, busy_timeout_ms, &creation->lock);
  /* another one may have rewritten it while we waited */
  if (rc == MAPH_OK) rc = must_be_as_made(intake);
  creation->temporary = create_beside(path, ".new");
  if (rc == MAPH_OK && creation->temporary == NULL) rc = MAPH_NOMEM;
  if (rc != MAPH_OK) return rc;
  *identity = (header_identity){ .uuid = intake->store->uuid,
                                 .generation = intake->store->generation + 1,
                                 .base_version = intake->store->base_version,
                                 .shift = store_shift(intake->store) };
  return MAPH_OK;
}

void intake_end(intake *intake) { maph_close(intake->handle); }

/* -------------------------------------------------------------------------------------- the end */

/* Complete and on disk, as its last writer leaves it. */
static int seal(store *from, const os_file *lock) {
  int rc;
  trust_mark(from);
  store_word(from->write_base, &header_of(from->write_base)->clean, CLEAN_DIRTY);
  supersede_seal(from, lock);
  rc = os_flush_file(&from->file, from->path);
  if (rc == MAPH_OK) trust_unmark(from);
  return rc;
}

static int take_place(store *store, const creation *creation, struct store *from) {
  char note[SUPERSEDE_NOTE] = "";
  int rc = MAPH_OK;
  if (atomic_load(&header_of(store->write_base)->state) & STATE_POISONED)
    rc = header_say_poisoned(store);
  if (rc == MAPH_OK) rc = seal(from, &creation->lock);
  if (rc == MAPH_OK) rc = supersede(store, from, creation->temporary, note, NULL, NULL);
  os_wake(&header_of(store->write_base)->committed);
  return rc;
}

/* In one transaction, which is the store's own. */
static int copy(intake *intake, const creation *creation, store *from) {
  uint64_t n = 0;
  txn txn;
  view view;
  walk walk;
  int rc = handle_begin(intake->handle, MAPH_SYNC_FULL, &txn);
  if (rc != MAPH_OK) return rc;
  rc = view_latest(from, &view);
  walk = walk_from(&view, LOG_START, view.snapshot);
  while (walk_next(&walk, &rc)) {
    if (walk_is_data(&walk)) rc = txn_copy(&txn, &walk.it);
    if (rc == MAPH_OK && ++n % LOOK_EACH == 0) rc = interrupt_check(creation->path);
  }
  rc = session_finish(&txn, rc);
  if (rc == MAPH_OK) os_discard(creation->temporary);
  return rc;
}

/* With the writer's lock: takes its place, if nobody wrote to it. *written: somebody did. */
static int take_place_of_unwritten(intake *intake, const creation *creation, store *from,
                                   int *written) {
  store *store = intake->store;
  int rc;
  *written = 0;
  store->unbiased = 1;
  rc = session_begin(store, intake->handle->options.busy_timeout_ms);
  if (rc == MAPH_OK) {
    rc = decided_wait(store);
    *written = rc == MAPH_OK && !as_made(store, store->last.version, store->last.records);
    if (rc == MAPH_OK && !*written) rc = take_place(store, creation, from);
    session_end(store);
  }
  store->unbiased = 0;
  return rc;
}

int intake_finish(intake *intake, const creation *creation, store *from) {
  store *store;
  int written, rc = handle_writer(intake->handle, &store);
  if (rc == MAPH_OK && lock_turn_is_mine(store))
    rc = fail(MAPH_BUSY, "%s: a transaction of this thread is open: end it first", store->path);
  /* nearly all of it, while writers go on */
  if (rc == MAPH_OK) rc = os_flush_file(&from->file, from->path);
  if (rc == MAPH_OK) rc = interrupt_check(creation->path);
  if (rc == MAPH_OK) rc = take_place_of_unwritten(intake, creation, from, &written);
  return rc == MAPH_OK && written ? copy(intake, creation, from) : rc;
}
