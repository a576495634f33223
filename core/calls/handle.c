/*
** handle.c - the registry of open stores, and what a handle does with them: finding the store to
** read or to write now, and following it to its next generation.
**
** REGISTRY.  Opens of one file in one process share a store, found by device and inode: one mapping
** for reads, one for writes, one lock file descriptor.  `references` counts handles and snapshots,
** under the registry's mutex, which nobody holds while anything is waited for.  `writers` counts
** the handles that may write, under the store's own door: loading the store, joining its writers
** and leaving them, which may take a flush, happen one at a time and hold up no other store.  The
** door comes before the registry.
**
** FORK.  In the child every store is dead: its lock descriptor is closed, never unlocked, because
** unlocking would release the parent's lock.
*/
#include "calls/handle.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "index/find.h"
#include "index/index.h"
#include "index/perfect.h"
#include "writer/commit.h"
#include "writer/create.h"
#include "writer/session.h"
#include "writer/trust.h"

#include <stdlib.h>

enum { PENDING_MS = 20 };

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static store *registry;
unsigned handle_fork_count;
uint64_t handle_quick = HANDLE_MAGIC;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

enum { GRACE_MS = 1000 };

static void in_forked_child(void) {
  store *s;
  static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
  registry_mutex = fresh;
  for (s = registry; s != NULL; s = s->next) {
    s->dead = 1;
    os_close(&s->lock);
    os_close(&s->file); /* its locks say that a writer lives */
  }
  registry = NULL;
  __atomic_add_fetch(&handle_fork_count, 1, __ATOMIC_RELAXED);
  __atomic_add_fetch(&handle_quick, UINT64_C(1) << 32, __ATOMIC_RELAXED);
}

static void watch(void) { os_at_fork(in_forked_child); }

void handle_watch_forks(void) { pthread_once(&fork_once, watch); }

/* --------------------------------------------------------------------------------------- stores */

void store_pin(store *s) {
  pthread_mutex_lock(&registry_mutex);
  s->references++;
  pthread_mutex_unlock(&registry_mutex);
}

static void forget_store(store *s) {
  store **p = &registry;
  assert(is_locked(&registry_mutex));
  while (*p && *p != s) p = &(*p)->next;
  if (*p) *p = s->next;
}

void store_unpin(store *s) {
  int last;
  pthread_mutex_lock(&registry_mutex);
  last = --s->references == 0;
  if (last) forget_store(s);
  pthread_mutex_unlock(&registry_mutex);
  if (last) store_free(s);
}

/* A handle writes to this store no more; the last writer leaves the file clean. */
static int stop_writing(store *s) {
  int rc = MAPH_OK;
  if (s->dead) return MAPH_OK;
  pthread_mutex_lock(&s->door);
  if (--s->writers == 0) rc = session_leave(s);
  pthread_mutex_unlock(&s->door);
  return rc;
}

int store_let_go(store *s, int writing) {
  int rc = writing ? stop_writing(s) : MAPH_OK;
  store_unpin(s);
  return rc;
}

/* Let a store be written to.  f: of the file, writable.  At the door. */
static int add_writer(store *s, os_file *f) {
  int rc = MAPH_OK;
  assert(is_locked(&s->door));
  if (s->writers == 0) {
    if (!s->file.writable) {
      os_file old = s->file;
      pthread_mutex_lock(&registry_mutex);
      pthread_mutex_lock(&s->mapping_mutex);
      s->file = *f;
      *f = old;
      pthread_mutex_unlock(&s->mapping_mutex);
      pthread_mutex_unlock(&registry_mutex);
    }
    rc = session_join(s);
  }
  if (rc == MAPH_OK) s->writers++;
  return rc;
}

/* Map an open file and read its header.  At the door. */
static int load_store(store *s, const maph_options *o) {
  int rc;
  assert(is_locked(&s->door));
  s->advice = o->advice;
  s->huge_pages = o->huge_pages;
  rc = store_see_size(s, 0);
  if (rc == MAPH_OK) rc = header_read(s, atomic_load(&s->base), atomic_load(&s->size));
  if (rc == MAPH_OK) rc = perfect_open(s, atomic_load(&s->base), atomic_load(&s->size));
  if (rc == MAPH_OK && o->prefault) os_prefault(atomic_load(&s->base), atomic_load(&s->size));
  if (rc == MAPH_OK && o->lock_memory)
    rc = os_lock_memory(atomic_load(&s->base), atomic_load(&s->size));
  s->loaded = rc == MAPH_OK;
  return rc;
}

static int must_be_trusted(store *s, int writing, const maph_options *o) {
  const header *h = header_of(atomic_load(&s->base));
  lock_patience patience = lock_patience_of(o->busy_timeout_ms, NULL);
  os_file lock;
  int rc, begin;
  /* and still here: who deleted it died over it */
  if (atomic_load(&h->state) & STATE_DELETED) {
    if (!writing) return fail(MAPH_CANTOPEN, "%s: the store was deleted", s->path);
    rc = create_lock_rewrite(s->path, &s->file, o->busy_timeout_ms, &lock);
    if (rc != MAPH_OK) return rc;
    rc = create_remove_files(s->path, &s->file);
    create_unlock_rewrite(&lock);
    return rc == MAPH_OK ? fail(MAPH_NOTFOUND, "%s: the store was deleted", s->path) : rc;
  }
  if (!writing) return trust_reader(s, o->busy_timeout_ms);
  rc = trust_writer(s, &patience, &begin);
  if (rc != MAPH_OK || !begin) return rc;
  rc = session_begin(s, s->vouched ? 0 : o->busy_timeout_ms);
  if (rc == MAPH_OK) session_end(s);
  return rc == MAPH_BUSY && s->vouched ? MAPH_OK : rc; /* a living writer is at it */
}

static store *registered(const os_file *f) {
  store *s;
  assert(is_locked(&registry_mutex));
  for (s = registry; s != NULL; s = s->next)
    if (s->file.device == f->device && s->file.inode == f->inode) return s;
  return NULL;
}

/* The store of an open file, with a reference: that which is registered, else a new one, which
** takes f over.  NULL: no memory. */
static store *find_or_register(const char *path, os_file *f) {
  store *s;
  pthread_mutex_lock(&registry_mutex);
  s = registered(f);
  if (s != NULL) {
    s->references++;
  } else if ((s = store_new(path)) != NULL) {
    s->file = *f;
    f->fd = -1;
    s->next = registry;
    registry = s;
  }
  pthread_mutex_unlock(&registry_mutex);
  return s;
}

/* The store of the file that is at path now, with a reference, and counted as a writer's. */
static int open_registered(const char *path, int writing, const maph_options *o, store **out) {
  os_file f;
  store *s;
  int rc;
  *out = NULL;
  rc = os_open(path, writing || ONE_MAPPING ? OS_WRITE : OS_READ, 0, &f);
  if (rc == MAPH_CANTOPEN && ONE_MAPPING && !writing) rc = os_open(path, OS_READ, 0, &f);
  if (rc != MAPH_OK) return rc;
  if (writing && (rc = create_may_write(&f, path)) != MAPH_OK) {
    os_close(&f);
    return rc;
  }
  s = find_or_register(path, &f);
  if (s == NULL) {
    os_close(&f);
    return MAPH_NOMEM;
  }
  pthread_mutex_lock(&s->door);
  if (!s->loaded) rc = load_store(s, o);
  if (rc == MAPH_OK && writing) rc = add_writer(s, &f);
  pthread_mutex_unlock(&s->door);
  os_close(&f);
  if (rc != MAPH_OK)
    store_unpin(s);
  else
    *out = s;
  return rc;
}

int store_open(const char *path, int writing, const maph_options *o, store **out) {
  uint64_t deadline = os_clock_ns() + (uint64_t)o->busy_timeout_ms * 1000000u;
  store *s;
  int rc;
  *out = NULL;
  /* maph_recover has it to itself */
  while ((rc = open_registered(path, writing, o, &s)) == MAPH_BUSY && os_clock_ns() < deadline) {
    if (interrupted()) return interrupt_say(path);
    os_sleep_us(1000);
  }
  if (rc != MAPH_OK) return rc;
  rc = must_be_trusted(s, writing, o);
  if (rc == MAPH_OK && writing) create_remove_leftover(path, &s->file);
  if (rc != MAPH_OK)
    store_let_go(s, writing);
  else
    *out = s;
  return rc;
}

/* ----------------------------------------------------------------- the next generation, refresh */

void handle_set_quick(maph *m, uint64_t quick) {
  __atomic_store_n(&m->quick, quick, __ATOMIC_RELAXED);
}

void handle_release_retired(maph *m) {
  size_t i;
  for (i = 0; i < m->retired_count; i++) store_unpin(m->retired[i].s);
  os_free(m->retired);
  m->retired = NULL;
  m->retired_count = 0;
  atomic_store(&m->release_ms, 0);
}

/* The handle writes to what replaced this store.  Other threads of it may be about to lock the old
** one, and have to find out by themselves: the lock file stays open as long as the store, whoever
** else closes it, but nobody counts us as a writer of it any more. */
static void leave_replaced(store *s) {
  if (s->dead) return;
  pthread_mutex_lock(&s->door);
  s->stayed = 1;
  if (--s->writers == 0) session_withdraw(s);
  pthread_mutex_unlock(&s->door);
}

/* A generation that this handle read no slice from outside snapshots is pinned by nothing but calls
** of other threads that were under way when it was left: they have GRACE_MS.  Under m->mutex. */
static void release_due(maph *m) {
  uint64_t now = os_clock_coarse_ms(), next = 0;
  size_t i, kept = 0;
  assert(is_locked(&m->mutex));
  for (i = 0; i < m->retired_count; i++) {
    retired *r = &m->retired[i];
    if (!r->lent && now - r->left_ms >= GRACE_MS) {
      store_unpin(r->s);
      continue;
    }
    if (!r->lent && next == 0) next = r->left_ms + GRACE_MS;
    m->retired[kept++] = *r;
  }
  m->retired_count = kept;
  atomic_store_explicit(&m->release_ms, next, memory_order_relaxed);
}

static void release_if_due(maph *m) {
  uint64_t at = atomic_load_explicit(&m->release_ms, memory_order_relaxed);
  if (likely(at == 0) || os_clock_coarse_ms() < at) return;
  pthread_mutex_lock(&m->mutex);
  release_due(m);
  pthread_mutex_unlock(&m->mutex);
}

/* The handle's next calls go to s.  Under m->mutex. */
static int move_to(maph *m, store *s) {
  store *left = m->s;
  retired *more = os_realloc(m->retired, (m->retired_count + 1) * sizeof *more);
  assert(is_locked(&m->mutex));
  if (more == NULL) return MAPH_NOMEM;
  m->retired = more;
  more[m->retired_count++] = (retired){ left, os_clock_coarse_ms(), atomic_load(&m->lent) == left };
  handle_set_quick(m, 0);
  atomic_store(&m->lent, NULL);
  atomic_store_explicit(&m->s, s, memory_order_release);
  release_due(m);
  if (handle_writes(m) && !left->in_memory) {
    uint64_t state = atomic_load(&header_of(atomic_load(&left->base))->state);
    if (state & (STATE_SUPERSEDED | STATE_SWITCHING))
      leave_replaced(left);
    else
      stop_writing(left);
  }
  return MAPH_OK;
}

/* Move the handle to the file that is at its path now. */
static int move_to_current(maph *m) {
  store *s = NULL;
  int rc = store_open(m->path, handle_writes(m), &m->options, &s);
  if (rc == MAPH_NOTFOUND) rc = fail(MAPH_CANTOPEN, "%s: the store is no longer there", m->path);
  if (rc != MAPH_OK) return rc;
  if (s != m->s)
    rc = move_to(m, s);
  else {
    store_let_go(s, handle_writes(m));
    return MAPH_OK;
  }
  if (rc != MAPH_OK) store_let_go(s, handle_writes(m));
  return rc;
}

int handle_replace(maph *m, store *s) {
  int rc;
  pthread_mutex_lock(&m->mutex);
  s->writers = 1;
  rc = move_to(m, s);
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

void handle_note_rewrite(maph *m, const maph_rewrite *r) {
  pthread_mutex_lock(&m->mutex);
  m->rewrite = *r;
  m->rewrote = 1;
  pthread_mutex_unlock(&m->mutex);
}

int handle_last_rewrite(maph *m, maph_rewrite *r) {
  int rc;
  pthread_mutex_lock(&m->mutex);
  *r = m->rewrite;
  rc = m->rewrote ? MAPH_OK : fail(MAPH_NOTFOUND, "nothing was rewritten through this handle yet");
  pthread_mutex_unlock(&m->mutex);
  return rc;
}

/* The store says that it was, or is being, replaced or deleted. */
static int follow(maph *m, store **s, int copied) {
  uint64_t state, device = 0, inode = 0;
  int rc = MAPH_OK;
  pthread_mutex_lock(&m->mutex);
  *s = atomic_load(&m->s);
  state = atomic_load(&header_of(atomic_load(&(*s)->base))->state);
  if (state & STATE_DELETED) {
    rc = fail(MAPH_CANTOPEN, "%s: the store was deleted: open it again if it was made anew",
              m->path);
  } else if ((copied || (state & (STATE_SUPERSEDED | STATE_SWITCHING))) && !(*s)->in_memory) {
    rc = os_identity(m->path, &device, &inode);
    if (rc == MAPH_NOTFOUND)
      rc = fail(MAPH_CANTOPEN, "%s: the store was replaced, and what replaced it is not there",
                m->path);
    if (rc == MAPH_OK && (device != (*s)->file.device || inode != (*s)->file.inode))
      rc = move_to_current(m);
    *s = atomic_load(&m->s);
  }
  pthread_mutex_unlock(&m->mutex);
  return rc;
}

static int check_handle(const maph *m) {
  if (unlikely(m == NULL || m->magic != HANDLE_MAGIC))
    return fail(MAPH_MISUSE, "this handle is NULL or closed");
  if (unlikely(m->fork_count != handle_forks()))
    return fail(MAPH_MISUSE, "%s: a handle does not cross fork(): open the store in the child",
                m->path ? m->path : ":memory:");
  return MAPH_OK;
}

/* In a layered file system the file that a reader has open is no longer that of its path once a
** writer made a copy of it, and nothing in it tells. */
static int is_layered(const store *s) { return s->file.layered && !s->file.writable; }

static int copied_up(maph *m, const store *s) {
  uint64_t device, inode, now = os_clock_coarse_ms();
  if (atomic_load_explicit(&m->looked_ms, memory_order_relaxed) == now) return 0;
  atomic_store_explicit(&m->looked_ms, now, memory_order_relaxed);
  return os_identity(m->path, &device, &inode) == MAPH_OK
         && (device != s->file.device || inode != s->file.inode);
}

int handle_store(maph *m, store **s) {
  uint64_t state;
  int rc = check_handle(m);
  if (unlikely(rc != MAPH_OK)) return rc;
  release_if_due(m);
  *s = atomic_load_explicit(&m->s, memory_order_acquire);
  state = atomic_load_explicit(
      &header_of(atomic_load_explicit(&(*s)->base, memory_order_acquire))->state,
      memory_order_acquire);
  if (likely((state & (STATE_SWITCHING | STATE_SUPERSEDED | STATE_DELETED)) == 0)) {
    if (likely(!is_layered(*s)) || !copied_up(m, *s)) return MAPH_OK;
    return follow(m, s, 1);
  }
  return follow(m, s, 0);
}

/* A writer that died between decision and visibility left `prepared` above `committed`.  So do
** those at work; of them one keeps the turn or the list of this process busy, or lives. */
static void finish_decided(store *s) {
  const header *h = header_of(atomic_load(&s->base));
  uint64_t prepared = atomic_load(&h->prepared), now;
  if (likely(prepared == atomic_load(&h->committed)) || s->in_memory) return;
  now = os_clock_coarse_ms();
  if (atomic_exchange(&s->pending, prepared) != prepared) atomic_store(&s->pending_ms, now);
  if (now - atomic_load(&s->pending_ms) < PENDING_MS && trust_living(s)) return;
  if (s->decided_first != NULL || atomic_load(&s->turn_taken)) return;
  if (session_begin(s, 0) == MAPH_OK) session_end(s);
}

int handle_store_now(maph *m, store **s) {
  int rc = check_handle(m);
  if (rc != MAPH_OK) return rc;
  atomic_store_explicit(&m->looked_ms, 0, memory_order_relaxed);
  rc = handle_store(m, s);
  if (rc == MAPH_OK && handle_writes(m)) finish_decided(*s);
  return rc;
}

void handle_lend(maph *m, const store *s) {
  if (likely(atomic_load(&m->lent) == s)) return;
  pthread_mutex_lock(&m->mutex);
  if (m->s == s) {
    atomic_store(&m->lent, s);
    if (!m->options.verify && !is_layered(s))
      handle_set_quick(m, handle_quick ^ (uint64_t)(uintptr_t)s);
  }
  pthread_mutex_unlock(&m->mutex);
}

/* Another thread may move the handle between the two: then what it moved to is lent. */
int handle_reader(maph *m, store **s) {
  int rc;
  while ((rc = handle_store(m, s)) == MAPH_OK && atomic_load(&m->lent) != *s) handle_lend(m, *s);
  return rc;
}

int handle_writer(maph *m, store **s) {
  int rc = handle_store(m, s);
  if (rc == MAPH_OK && !handle_writes(m))
    rc = fail(MAPH_READONLY, "%s: opened for reading only: open it with MAPH_RDWR", (*s)->path);
  return rc;
}

static int was_replaced(const store *s) {
  return (atomic_load(&header_of(atomic_load(&s->base))->state)
          & (STATE_SWITCHING | STATE_SUPERSEDED | STATE_DELETED))
         != 0;
}

int handle_begin(maph *m, int durability, txn *t) {
  uint64_t deadline = 0;
  store *s = NULL, *before;
  int rc, tries;
  if (durability < MAPH_SYNC_DEFAULT || durability > MAPH_SYNC_FULL)
    return fail(MAPH_MISUSE, "durability %d: use one of MAPH_SYNC_*", durability);
  for (tries = 0;; tries++) {
    before = s;
    rc = handle_writer(m, &s);
    if (rc != MAPH_OK) return rc;
    rc = session_begin_write(s, m->options.busy_timeout_ms, &m->interrupts);
    if (rc == MAPH_OK) break;
    /* else the store was replaced after we looked, perhaps several times in a row */
    if (rc != MAPH_CANTOPEN || !was_replaced(s)) return rc;
    if (deadline == 0) deadline = os_clock_ns() + (uint64_t)m->options.busy_timeout_ms * 1000000u;
    /* the same again: a mount of the file alone leads to none but the one that was replaced */
    if (tries >= 3 && (s == before || os_clock_ns() >= deadline)) return rc;
  }
  if (s->last.version >= VERSION_MAX) {
    session_end(s);
    return fail(MAPH_FULL, "%s: all 2^48 versions are used: export to a new store", s->path);
  }
  txn_start(t, s);
  t->durability = durability == MAPH_SYNC_DEFAULT ? m->options.durability : durability;
  return MAPH_OK;
}

void handle_count_read(maph *m, int by) {
  pthread_mutex_lock(&m->mutex);
  m->open_reads += (unsigned)by;
  pthread_mutex_unlock(&m->mutex);
}

/* A link in the path may lead elsewhere by now.  If it leads nowhere, that is found out next. */
static void follow_links(maph *m) {
  char *now = NULL;
  if (os_resolve(m->given, &now) != MAPH_OK) return;
  pthread_mutex_lock(&m->mutex);
  free(m->path);
  m->path = now;
  pthread_mutex_unlock(&m->mutex);
}

int maph_refresh(maph *m) {
  uint64_t device, inode;
  store *s;
  int rc = check_handle(m);
  if (rc != MAPH_OK) return rc;
  s = m->s;
  if (m->open_txns)
    return fail(MAPH_MISUSE, "%s: a transaction is open: end it before maph_refresh", s->path);
  if (!s->in_memory) {
    follow_links(m);
    rc = os_identity(m->path, &device, &inode);
    if (rc == MAPH_NOTFOUND)
      return fail(MAPH_CANTOPEN, "%s: the store is no longer there", m->path);
    pthread_mutex_lock(&m->mutex);
    if (rc == MAPH_OK && (device != s->file.device || inode != s->file.inode))
      rc = move_to_current(m);
    pthread_mutex_unlock(&m->mutex);
  }
  if (rc == MAPH_OK) handle_release_retired(m);
  return rc;
}

int maph_sync(maph *m) {
  store *s;
  int rc = handle_writer(m, &s);
  if (rc == MAPH_OK) rc = session_reached(s);
  return rc == MAPH_OK ? commit_sync(s) : rc;
}
