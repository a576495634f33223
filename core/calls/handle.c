/*
** handle.c - what a handle does with stores: finding the one to read or to write now, and following
** it to its next generation.
**
** In the child of a fork every handle is dead, as the stores are (registry.c).
*/
#include "calls/handle.h"
#include "calls/registry.h"
#include "file/grant.h"
#include "file/header.h"
#include "file/record.h"
#include "file/reserve.h"
#include "file/store.h"
#include "file/view.h"
#include "index/find.h"
#include "index/perfect.h"
#include "os/progress.h"
#include "writer/commit.h"
#include "writer/create.h"
#include "writer/session.h"
#include "writer/trust.h"

#include <stdlib.h>

enum { PENDING_MS = 20, LENT_POLL_US = 2000, SWITCHES_MOST = 100 };

unsigned handle_fork_count;
uint64_t handle_quick = HANDLE_MAGIC;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

enum { GRACE_MS = 1000 };

/* relaxed: the child has this thread alone; those that it starts come after. */
static void in_forked_child(void) {
  registry_in_child();
  __atomic_add_fetch(&handle_fork_count, 1, __ATOMIC_RELAXED);
  __atomic_add_fetch(&handle_quick, UINT64_C(1) << 32, __ATOMIC_RELAXED);
}

static void watch(void) { os_at_fork(in_forked_child); }

void handle_watch_forks(void) { pthread_once(&fork_once, watch); }

/* ----------------------------------------------------------------- the next generation, refresh */

/* relaxed: see handle_is_quick. */
void handle_set_quick(maph *m, uint64_t quick) {
  __atomic_store_n(&m->quick, quick, __ATOMIC_RELAXED);
}

void handle_release_retired(maph *m) {
  size_t i;
  for (i = 0; i < m->retired_count; i++) store_unpin(m->retired[i].store);
  os_free(m->retired);
  m->retired = NULL;
  m->retired_count = 0;
  atomic_store(&m->release_ms, 0);
}

/* A generation that this handle read no slice from outside snapshots is pinned by nothing but calls
** of other threads that were under way when it was left: they have GRACE_MS.  Under m->mutex. */
/* relaxed: m->mutex guards the list; release_ms only says when to take it and look. */
static void release_due(maph *m) {
  uint64_t now = os_clock_coarse_ms(), next = 0;
  size_t i, kept = 0;
  assert(is_locked(&m->mutex));
  for (i = 0; i < m->retired_count; i++) {
    retired *retired = &m->retired[i];
    if (!retired->lent && now - retired->left_ms >= GRACE_MS) {
      store_unpin(retired->store);
      continue;
    }
    if (!retired->lent && next == 0) next = retired->left_ms + GRACE_MS;
    m->retired[kept++] = *retired;
  }
  m->retired_count = kept;
  atomic_store_explicit(&m->release_ms, next, memory_order_relaxed);
}

/* relaxed: an old time releases one call later, or takes the mutex for nothing. */
static void release_if_due(maph *m) {
  uint64_t at = atomic_load_explicit(&m->release_ms, memory_order_relaxed);
  if (likely(at == 0) || os_clock_coarse_ms() < at) return;
  pthread_mutex_lock(&m->mutex);
  release_due(m);
  pthread_mutex_unlock(&m->mutex);
}

/* The handle's next calls go to store.  Under m->mutex. */
static int move_to(maph *m, store *store) {
  struct store *left = m->store;
  retired *more = os_realloc(m->retired, (m->retired_count + 1) * sizeof *more);
  assert(is_locked(&m->mutex));
  if (more == NULL) return MAPH_NOMEM;
  m->retired = more;
  more[m->retired_count++] = (retired){ left, os_clock_coarse_ms(), atomic_load(&m->lent) == left };
  handle_set_quick(m, 0);
  atomic_store(&m->lent, NULL);
  atomic_store(&m->store, store);
  handle_let_rest_go(m);
  release_due(m);
  if (handle_writes(m) && !left->in_memory) {
    uint64_t state = atomic_load(&header_of(atomic_load(&left->base))->state);
    if (state & (STATE_SUPERSEDED | STATE_SWITCHING))
      store_leave_replaced(left);
    else
      store_stop_writing(left);
  }
  return MAPH_OK;
}

/* Move the handle to the file that is at its path now. */
static int move_to_current(maph *m) {
  store *store = NULL;
  int rc = store_open(m->path, handle_writes(m), &m->options, &store);
  if (rc == MAPH_NOTFOUND) rc = fail(MAPH_CANTOPEN, "%s: the store is no longer there", m->path);
  if (rc != MAPH_OK) return rc;
  if (store != m->store)
    rc = move_to(m, store);
  else {
    store_let_go(store, handle_writes(m));
    return MAPH_OK;
  }
  if (rc != MAPH_OK) store_give_up(store, handle_writes(m));
  return rc;
}

int handle_replace(maph *m, store *store) {
  int rc;
  pthread_mutex_lock(&m->mutex);
  store->writers = 1;
  rc = move_to(m, store);
  pthread_mutex_unlock(&m->mutex);
  return rc;
}

void handle_pinned(maph *m, size_t *lent, size_t *others) {
  size_t i;
  pthread_mutex_lock(&m->mutex);
  for (*lent = i = 0; i < m->retired_count; i++) *lent += (size_t)m->retired[i].lent;
  *others = m->retired_count - *lent;
  pthread_mutex_unlock(&m->mutex);
}

int handle_claim_rewrite(maph *m) {
  int taken;
  pthread_mutex_lock(&m->mutex);
  taken = m->rewriting;
  m->rewriting = 1;
  pthread_mutex_unlock(&m->mutex);
  return taken;
}

void handle_end_rewrite(maph *m) {
  pthread_mutex_lock(&m->mutex);
  m->rewriting = 0;
  pthread_mutex_unlock(&m->mutex);
}

void handle_note_rewrite(maph *m, const maph_rewrite *rewrite) {
  pthread_mutex_lock(&m->mutex);
  m->rewrite = *rewrite;
  m->rewrote = 1;
  pthread_mutex_unlock(&m->mutex);
}

/* The store says that it was, or is being, replaced or deleted. */
static __attribute__((cold)) int follow(maph *m, store **store, int copied) {
  uint64_t state, device = 0, inode = 0;
  sentence before;
  int rc = MAPH_OK;
  error_keep(&before);
  pthread_mutex_lock(&m->mutex);
  *store = atomic_load(&m->store);
  state = atomic_load(&header_of(atomic_load(&(*store)->base))->state);
  if (state & STATE_DELETED) {
    rc = fail(MAPH_CANTOPEN, "%s: the store was deleted: open it again if it was made anew",
              m->path);
  } else if ((copied || (state & (STATE_SUPERSEDED | STATE_SWITCHING))) && !(*store)->in_memory) {
    rc = os_identity(m->path, &device, &inode);
    if (rc == MAPH_NOTFOUND)
      rc = fail(MAPH_CANTOPEN, "%s: the store was replaced, and what replaced it is not there",
                m->path);
    if (rc == MAPH_OK
        && (copied || device != (*store)->file.device || inode != (*store)->file.inode))
      rc = move_to_current(m);
    *store = atomic_load(&m->store);
  }
  pthread_mutex_unlock(&m->mutex);
  return error_done(rc, &before, m->path);
}

static int check_handle(const maph *m) {
  if (unlikely(m == NULL || m->magic != HANDLE_MAGIC))
    return fail(MAPH_MISUSE, "this handle is NULL or closed");
  if (unlikely(m->fork_count != handle_forks()))
    return fail(MAPH_MISUSE, "%s: a handle does not cross fork(): open the store in the child",
                handle_name(m));
  return MAPH_OK;
}

int handle_failed(const maph *m, int rc) {
  return m != NULL && m->magic == HANDLE_MAGIC ? error_name(rc, handle_name(m)) : rc;
}

int handle_last_rewrite(maph *m, maph_rewrite *rewrite) {
  int rc = check_handle(m);
  if (rc != MAPH_OK) return rc;
  pthread_mutex_lock(&m->mutex);
  *rewrite = m->rewrite;
  rc = m->rewrote ? MAPH_OK : fail(MAPH_NOTFOUND, "nothing was rewritten through this handle yet");
  pthread_mutex_unlock(&m->mutex);
  return rc;
}

static __attribute__((noinline)) int copied_up(const maph *m, const store *store) {
  sentence before;
  os_file file;
  int copied = 0;
  error_keep(&before);
  if (os_open(m->path, OS_READ, 0, &file) == MAPH_OK) {
    copied = !store_is_of(store, &file);
    os_close(&file);
  }
  error_put_back(&before);
  return copied;
}

/* relaxed: a time that lets one thread a millisecond look; nothing else is read by it. */
static int looked_lately(maph *m) {
  uint64_t now = os_clock_coarse_ms();
  if (atomic_load_explicit(&m->looked_ms, memory_order_relaxed) == now) return 1;
  atomic_store_explicit(&m->looked_ms, now, memory_order_relaxed);
  return 0;
}

/* at_once: look at the path now, whoever looked at it in this millisecond. */
static inline int find_store(maph *m, store **store, int at_once) {
  uint64_t state;
  int rc = check_handle(m);
  if (unlikely(rc != MAPH_OK)) return rc;
  release_if_due(m);
  *store = atomic_load_explicit(&m->store, memory_order_acquire);
  state = atomic_load_explicit(
      &header_of(atomic_load_explicit(&(*store)->base, memory_order_acquire))->state,
      memory_order_acquire);
  if (likely((state & (STATE_SWITCHING | STATE_SUPERSEDED | STATE_DELETED)) == 0)) {
    if (likely(!store_is_layered(*store)) || (!at_once && looked_lately(m))) return MAPH_OK;
    return copied_up(m, *store) ? follow(m, store, 1) : MAPH_OK;
  }
  return follow(m, store, 0);
}

int handle_store(maph *m, store **store) { return find_store(m, store, 0); }

/* Somebody else will, if this cannot. */
static __attribute__((noinline)) void finish_now(store *store) {
  sentence before;
  error_keep(&before);
  if (session_begin(store, 0) == MAPH_OK)
    session_end(store);
  else
    error_put_back(&before);
}

/* A writer that died between decision and visibility left `prepared` above `committed`.  So do
** those at work; of them one keeps the turn or the list of this process busy, or lives. */
static void finish_decided(store *store) {
  const header *header = header_of(atomic_load(&store->base));
  uint64_t prepared = atomic_load(&header->prepared), now;
  if (likely(prepared == atomic_load(&header->committed)) || store->in_memory) return;
  now = os_clock_coarse_ms();
  if (atomic_exchange(&store->pending, prepared) != prepared) atomic_store(&store->pending_ms, now);
  if (now - atomic_load(&store->pending_ms) < PENDING_MS && trust_living(store)) return;
  if (store->decided_first != NULL || atomic_load(&store->turn_taken)) return;
  finish_now(store);
}

int handle_store_now(maph *m, store **store) {
  int rc = find_store(m, store, 1);
  if (rc == MAPH_OK && handle_writes(m)) finish_decided(*store);
  return rc;
}

void handle_lend(maph *m, const store *store) {
  if (likely(atomic_load(&m->lent) == store)) return;
  pthread_mutex_lock(&m->mutex);
  if (m->store == store) {
    atomic_store(&m->lent, store);
    if (!m->options.verify && !store_is_layered(store))
      handle_set_quick(m, handle_quick ^ (uint64_t)(uintptr_t)store);
  }
  pthread_mutex_unlock(&m->mutex);
}

/* Another thread may move the handle between the two: then what it moved to is lent. */
int handle_reader(maph *m, store **store) {
  int rc;
  while ((rc = handle_store(m, store)) == MAPH_OK && atomic_load(&m->lent) != *store)
    handle_lend(m, *store);
  return rc;
}

int handle_writer(maph *m, store **store) {
  int rc = handle_store(m, store);
  if (rc == MAPH_OK && !handle_writes(m))
    rc = (*store)->given
             ? header_say_given(*store)
             : fail(MAPH_READONLY, "%s: opened for reading only: open it with MAPH_RDWR",
                    (*store)->path);
  return rc;
}

static int was_replaced(const store *store) {
  return (atomic_load(&header_of(atomic_load(&store->base))->state)
          & (STATE_SWITCHING | STATE_SUPERSEDED | STATE_DELETED))
         != 0;
}

/* A session on the store, in which a transaction of some `bytes` has the room that is kept for
** deletes: unless a compaction is given that for longer than the handle is patient.  Answers, and
** keeps in *before, what session_begin_write does. */
static int begin_session(maph *m, store *store, uint64_t bytes, sentence *before) {
  int rc = session_begin_write(store, m->options.busy_timeout_ms, &m->interrupts, before);
  lock_patience patience;
  if (likely(rc != MAPH_OK || !reserve_lent(store, bytes))) return rc;
  patience = lock_patience_of(m->options.busy_timeout_ms, &m->interrupts);
  while (rc == MAPH_OK && reserve_lent(store, bytes) && os_clock_ns() < patience.deadline_ns) {
    session_end(store);
    if (lock_interrupted(&patience)) return interrupt_say(store->path);
    os_sleep_us(LENT_POLL_US);
    rc = session_begin_write(store, m->options.busy_timeout_ms, &m->interrupts, before);
  }
  return rc;
}

static int begin(maph *m, int durability, uint64_t bytes, txn *txn) {
  uint64_t deadline = 0;
  store *store = NULL, *left;
  sentence before;
  int rc, tries;
  if (durability < MAPH_SYNC_DEFAULT || durability > MAPH_SYNC_FULL)
    return fail(MAPH_MISUSE, "durability %d: use one of MAPH_SYNC_*", durability);
  for (tries = 0;; tries++) {
    left = store;
    rc = handle_writer(m, &store);
    if (rc != MAPH_OK) return rc;
    rc = begin_session(m, store, bytes, &before);
    if (rc == MAPH_OK) break;
    /* else the store was replaced after we looked, perhaps several times in a row */
    if (rc != SESSION_GONE && (rc != MAPH_CANTOPEN || !was_replaced(store))) return rc;
    if (rc == MAPH_CANTOPEN) error_put_back(&before);
    if (deadline == 0) deadline = os_clock_ns() + (uint64_t)m->options.busy_timeout_ms * 1000000u;
    /* the same again: a mount of the file alone leads to none but the one that was replaced */
    if (tries >= 3 && (store == left || os_clock_ns() >= deadline)) return session_say_gone(store);
  }
  if (!store->given && version_shown(store, store->last.version) >= VERSION_MAX) {
    session_end(store);
    return fail(MAPH_FULL, "%s: all 2^48 versions are used: export to a new store", store->path);
  }
  txn_start(txn, store);
  txn->durability = durability == MAPH_SYNC_DEFAULT ? m->options.durability : durability;
  return MAPH_OK;
}

void handle_let_rest_go(maph *m) {
  resting *resting = handle_wake(m);
  if (resting) resting->let_go(resting);
}

/* Another thread may move the handle just now: it looks at what rests after it moved, as is looked
** here at where the handle is after that was put there. */
void handle_rest(maph *m, resting *resting) {
  store *store = resting->store;
  struct resting *old = atomic_exchange(&m->resting, resting);
  if (old) old->let_go(old);
  if (unlikely(store != atomic_load(&m->store))) handle_let_rest_go(m);
}

int handle_begin(maph *m, int durability, txn *txn) {
  return begin(m, durability, RESERVE_LENT_FEW, txn);
}

int handle_begin_many(maph *m, int durability, txn *txn) {
  return begin(m, durability, UINT64_MAX, txn);
}

/* A link in the path may lead elsewhere by now.  If it leads nowhere, that is found out next. */
static void follow_links(maph *m) {
  char *now = NULL;
  if (os_resolve(m->given ? m->given : m->path, &now) != MAPH_OK) return;
  pthread_mutex_lock(&m->mutex);
  if (m->given == NULL && strcmp(now, m->path) != 0)
    m->given = m->path;
  else
    free(m->path);
  m->path = now;
  pthread_mutex_unlock(&m->mutex);
}

int maph_refresh(maph *m) {
  uint64_t device, inode;
  sentence before;
  store *store;
  int rc = check_handle(m);
  if (rc != MAPH_OK) return rc;
  store = m->store;
  if (m->open_txns)
    return fail(MAPH_MISUSE, "%s: a transaction is open: end it before maph_refresh", store->path);
  error_keep(&before);
  if (!store->in_memory) {
    follow_links(m);
    rc = os_identity(m->path, &device, &inode);
    if (rc == MAPH_NOTFOUND)
      return fail(MAPH_CANTOPEN, "%s: the store is no longer there", m->path);
    pthread_mutex_lock(&m->mutex);
    if (rc == MAPH_OK
        && (store_is_layered(store) || device != store->file.device || inode != store->file.inode))
      rc = move_to_current(m);
    pthread_mutex_unlock(&m->mutex);
  }
  if (rc == MAPH_OK) handle_release_retired(m);
  return error_done(rc, &before, m->path);
}

int maph_guarded(maph *m) {
  if (m == NULL) return atomic_load(&os_lost_count) != 0;
  return check_handle(m) == MAPH_OK && grant_lost(atomic_load(&m->store));
}

/* The store is being replaced, or that began and was not ended.  Wait for whoever does it: then the
** store has its name still, or SESSION_GONE. */
static int wait_for_switch(maph *m, store *store) {
  sentence before;
  int rc = session_begin_write(store, m->options.busy_timeout_ms, &m->interrupts, &before);
  if (rc == MAPH_OK) session_end(store);
  return rc;
}

/* What a file that is being replaced has on disk, its successor may not have: supersede.c. */
static int sync_named(maph *m) {
  store *store;
  int rc, tries;
  for (tries = 0;; tries++) {
    rc = handle_writer(m, &store);
    if (rc != MAPH_OK || store->in_memory) return rc;
    rc = session_reached(store);
    if (rc == MAPH_OK) rc = commit_sync(store);
    if ((rc != MAPH_OK && rc != MAPH_CANTOPEN) || !was_replaced(store)) return rc;
    rc = wait_for_switch(m, store);
    if ((rc != MAPH_CANTOPEN && rc != SESSION_GONE) || tries >= SWITCHES_MOST)
      return rc == SESSION_GONE ? session_say_gone(store) : rc;
  }
}

int maph_sync(maph *m) {
  sentence before;
  int rc;
  error_keep(&before);
  rc = sync_named(m);
  return rc == MAPH_OK ? error_done(rc, &before, NULL) : handle_failed(m, rc);
}
