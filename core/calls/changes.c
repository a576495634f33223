/*
** changes.c - feeds: the puts and deletes since a version, in commit order, as the log has them.
**
** A feed is a place in the log.  It is found from the log's end, by the end records' links to those
** before, and has to be exactly the end of the transaction asked for: a version that is not there
** was lost with the power, dropped by a rewrite, or another store's, and then what came after it
** cannot be told.
**
** VERSIONS THAT ARE GIVEN are places in the source, whose numbers need not all be there, and a feed
** may begin at each: after the last transaction that is not above it.  Of that which follows the
** records up to it are left out.  The store may not have reached it yet, as where the reader comes
** from a copy that was ahead.
**
** REWRITES.  A feed keeps its file until it has read all of it, to the last commit before the
** switch, and then goes on in the new file after the same version, which is there: it is the new
** file's base version or later.  Where another store took the name (maph_replace), nothing of it
** follows from what was read; but where both are copies of one source, a version means the same in
** both.
**
** WAITING.  Readers cannot write to the file, so they wait in a futex on `committed` for a short
** while at a time and look again, less and less often, down to 100 times a second.  A handle that
** may write says in `watched` that it waits, and the next commit wakes all; then it needs to look
** only against the rare commit that did not see it.  Writers do nothing for either but load a word
** that is in their cache.
*/
#include "calls/handle.h"
#include "calls/registry.h"
#include "file/grant.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"

enum { WAIT_LEAST_US = 1000, WAIT_MOST_US = 10000, WAIT_WATCHED_US = 100000 };

struct maph_changes {
  uint32_t magic;
  maph *handle;
  unsigned fork_count; /* of the process that opened it */
  store *store;
  uint64_t at;      /* next record */
  uint64_t since;   /* nothing up to that version is told: where it began, or came to this file */
  uint64_t version; /* in the file, of the last transaction returned whole */
};

static int say_compacted(const store *store, uint64_t version) {
  return fail(MAPH_COMPACTED,
              "%s: what changed since version %llu is no longer in the file: read all of it, then "
              "follow from its version",
              store->path, (unsigned long long)version_shown(store, version));
}

/* Where the transaction of that version ends; where versions are given, the last up to it. */
static int find_version(store *store, uint64_t version, uint64_t *at) {
  end_record e;
  uint64_t end, back;
  view view;
  int rc = view_latest(store, &view);
  end = view.snapshot;
  while (rc == MAPH_OK && (rc = record_end(&view, end, &e)) == MAPH_OK) {
    if (record_version(&e.head) == version || (store->given && record_version(&e.head) < version)) {
      *at = end;
      return MAPH_OK;
    }
    back = record_back(&e);
    if (record_version(&e.head) < version || back == 0) break;
    if (back < LOG_START || back > end - 2 * END_SIZE)
      return fail_corrupt(store->path, end - END_SIZE,
                          "a transaction does not name the one before it");
    end = back + END_SIZE;
  }
  if (rc != MAPH_OK) return rc;
  return say_compacted(store, version);
}

/* The same of a version as its user knows it.  *version: in the file. */
static int find_shown(store *store, uint64_t shown, uint64_t *version, uint64_t *at) {
  *version = shown - store_shift(store);
  return shown < store_shift(store) ? say_compacted(store, *version)
                                    : find_version(store, *version, at);
}

/* Where a store begins whose versions need not begin at 0: no records stand before its first
** transaction, as those of the base of a rewritten file do. */
static int find_creation(store *store, uint64_t *version, uint64_t *at) {
  sentence before;
  int rc;
  error_keep(&before);
  rc = find_version(store, store->base_version, at);
  error_put_back(&before);
  if (rc != MAPH_OK || *at != LOG_START + END_SIZE) return find_version(store, 0, at);
  *version = store->base_version;
  return MAPH_OK;
}

static int check(const maph_changes *changes) {
  if (changes == NULL || changes->magic != CHANGES_MAGIC)
    return fail(MAPH_MISUSE, "this feed is closed, or never was open");
  if (changes->handle->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a feed does not cross fork()", changes->store->path);
  return MAPH_OK;
}

int maph_changes_open(maph *m, uint64_t since, maph_changes **changes) {
  maph_changes *c;
  store *store;
  uint64_t at, version = 0;
  int rc;
  if (changes == NULL) return fail(MAPH_MISUSE, "maph_changes_open: no place for the feed");
  *changes = NULL;
  rc = handle_store(m, &store);
  if (rc == MAPH_OK && since == 0)
    rc = find_creation(store, &version, &at);
  else if (rc == MAPH_OK)
    rc = find_shown(store, since, &version, &at);
  if (rc != MAPH_OK) return handle_failed(m, rc);
  c = os_alloc(sizeof *c);
  if (c == NULL) return handle_failed(m, MAPH_NOMEM);
  c->magic = CHANGES_MAGIC;
  c->handle = m;
  c->fork_count = handle_forks();
  c->store = store;
  c->at = at;
  c->since = c->version = version;
  store_pin(store);
  handle_count_read(m, 1);
  *changes = c;
  return MAPH_OK;
}

void maph_changes_close(maph_changes *changes) {
  if (changes == NULL || changes->magic != CHANGES_MAGIC) return;
  changes->magic = 0;
  if (changes->fork_count != handle_forks()) return;
  handle_count_read(changes->handle, -1);
  store_unpin(changes->store);
  os_free(changes);
}

uint64_t maph_changes_version(maph_changes *changes) {
  return check(changes) == MAPH_OK ? version_shown(changes->store, changes->version) : 0;
}

/* To the next put or delete, past what else there is.  NOTFOUND: there is none below the view's
** end.  *ended: version of the last transaction that ended on the way, or 0. */
static int next_data(const maph_changes *changes, walk *walk, uint64_t *ended) {
  int rc = MAPH_OK;
  *ended = 0;
  while (walk_next(walk, &rc)) {
    if (walk_is_data(walk) && (!changes->store->given || walk->it.version > changes->since))
      return MAPH_OK;
    if (walk->it.kind == KIND_END) *ended = walk->it.version;
  }
  return rc == MAPH_OK ? MAPH_NOTFOUND : rc;
}

static int next_in_file(maph_changes *changes, const view *view, maph_change *change) {
  walk walk = walk_from(view, changes->at, view->snapshot);
  uint64_t ended;
  item it;
  int rc = next_data(changes, &walk, &ended);
  changes->at = rc == MAPH_OK ? walk.it.offset : walk.at;
  changes->version = MAX(changes->version, ended); /* of one without changes */
  if (rc == MAPH_OK && changes->handle->options.verify)
    rc = record_verify(view, walk.it.offset, walk.it.size);
  if (rc != MAPH_OK) return rc;
  it = walk.it;
  rc = next_data(changes, &walk, &ended);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) {
    changes->at = walk.at;
    return rc;
  }
  changes->at = rc == MAPH_OK ? walk.it.offset : walk.at;
  record_entry(view->store, &it, &change->entry);
  change->deleted = it.kind == KIND_DELETE;
  change->last = ended > 0;
  changes->version = MAX(changes->version, ended);
  return MAPH_OK;
}

/* Does what a store has up to `at`, the end of a transaction, continue what another one had to its
** end?  A rewritten one's does; so does that of a copy that took its place, if both were one store
** then. */
static int has_history(store *store, uint64_t at, const struct store *before,
                       const end_record *last) {
  end_record end;
  view view;
  if (memcmp(store->uuid, before->uuid, sizeof store->uuid) != 0
      || store_shift(store) != store_shift(before))
    return 0;
  if (store->generation > before->generation) return 1;
  return view_latest(store, &view) == MAPH_OK && record_end(&view, at, &end) == MAPH_OK
         && end.chain == last->chain;
}

/* All of this file was read, and it was replaced or is about to be: who died between the rename and
** its last word leaves it so. */
static int move_on(maph_changes *changes, const view *view) {
  end_record end;
  store *store;
  uint64_t at;
  int rc = record_end(view, view->snapshot, &end);
  if (rc == MAPH_OK) rc = handle_store(changes->handle, &store);
  if (rc == MAPH_OK && store == changes->store) return MAPH_OK; /* the name is changing right now */
  /* a switch was taken back, and another one made */
  if (rc == MAPH_OK && atomic_load(&header_of(view->base)->committed) != view->snapshot)
    return MAPH_OK;
  if (rc == MAPH_OK) rc = find_version(store, record_version(&end.head), &at);
  if (rc == MAPH_OK && !has_history(store, at, changes->store, &end))
    rc = say_compacted(store, changes->version);
  if (rc != MAPH_OK) return rc;
  store_pin(store);
  store_unpin(changes->store);
  changes->store = store;
  changes->at = at;
  /* the new file may have put what was told into a transaction with more */
  if (store->given) changes->since = MAX(changes->since, record_version(&end.head));
  return MAPH_OK;
}

static void wait(maph_changes *changes, uint64_t seen, uint64_t *pause_us, uint64_t left_us) {
  header *header = header_of(atomic_load(&changes->store->base));
  uint8_t *write_base = atomic_load(&changes->store->write_base);
  uint64_t us = *pause_us;
  sentence before;
  error_keep(&before);
  if (write_base && grant_header(changes->store) == MAPH_OK) {
    store_word(write_base, &header_of(write_base)->watched, 1);
    us = WAIT_WATCHED_US;
  }
  error_put_back(&before);
  if (atomic_load(&header->committed) != seen) return;
  os_wait(&header->committed, (uint32_t)seen, MIN(us, left_us));
  *pause_us = MIN(*pause_us * 2, (uint64_t)WAIT_MOST_US);
}

static int next(maph_changes *changes, int timeout_ms, maph_change *change, unsigned seen) {
  uint64_t began = 0, pause = WAIT_LEAST_US, left = UINT64_MAX, now;
  int rc = MAPH_OK, replaced;
  view view;
  while (rc == MAPH_OK) {
    uint64_t state = atomic_load_explicit(&header_of(atomic_load(&changes->store->base))->state,
                                          memory_order_acquire);
    /* loaded before committed: then that is the last one */
    replaced = (state & (STATE_SWITCHING | STATE_SUPERSEDED | STATE_DELETED)) != 0;
    memset(change, 0, sizeof *change);
    rc = view_latest(changes->store, &view);
    if (rc == MAPH_OK) rc = next_in_file(changes, &view, change);
    if (rc != MAPH_NOTFOUND) return rc;
    rc = MAPH_OK;
    if (replaced) {
      store *before = changes->store;
      rc = move_on(changes, &view);
      if (rc != MAPH_OK || changes->store != before) continue;
    }
    if (timeout_ms >= 0) {
      now = os_clock_ns() / 1000;
      if (began == 0) began = now;
      if (now - began >= (uint64_t)timeout_ms * 1000)
        return fail(MAPH_NOTFOUND, "%s: nothing changed", changes->store->path);
      left = (uint64_t)timeout_ms * 1000 - (now - began);
    }
    if (interrupt_seen(&changes->handle->interrupts) != seen) {
      rc = fail(MAPH_CANCELLED, "%s: the wait for a change was stopped on request",
                changes->store->path);
      break;
    }
    wait(changes, view.snapshot, &pause, left);
  }
  return rc;
}

int maph_changes_next(maph_changes *changes, int timeout_ms, maph_change *change) {
  int rc = check(changes);
  if (rc == MAPH_OK && change == NULL)
    rc = fail(MAPH_MISUSE, "maph_changes_next: no place for the change");
  return rc == MAPH_OK
             ? next(changes, timeout_ms, change, interrupt_seen(&changes->handle->interrupts))
             : rc;
}
