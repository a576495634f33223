/*
** handle.c - open, close, refresh, options, statistics; the registry of stores; following a store
** to its next generation.
**
** REGISTRY.  Opens of one file in one process share a store, found by device and inode: one mapping
** for reads, one for writes, one lock file descriptor.  `references` counts handles and snapshots,
** under the registry's mutex, which nobody holds while anything is waited for.  `writers` counts the
** handles that may write, under the store's own door: loading the store, joining its writers and
** leaving them, which may take a flush, happen one at a time and hold up no other store.  The door
** comes before the registry.
**
** FORK.  In the child every store is dead: its lock descriptor is closed, never unlocked, because
** unlocking would release the parent's lock.
*/
#include "calls/handle.h"
#include "calls/rewrite.h"
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

#define AFTER_VERSION_MAX (VERSION_MAX - (UINT64_C(1) << 40))
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

static void watch_forks(void) { os_at_fork(in_forked_child); }

/* --------------------------------------------------------------------------------------- stores */

void store_pin(store *s) {
  pthread_mutex_lock(&registry_mutex);
  s->references++;
  pthread_mutex_unlock(&registry_mutex);
}

static void forget_store(store *s) {
  store **p = &registry;
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

/* Give a handle's hold on a store up. */
static int store_release(store *s, int writing) {
  int rc = writing ? stop_writing(s) : MAPH_OK;
  store_unpin(s);
  return rc;
}

/* Let a store be written to.  f: of the file, writable.  At the door. */
static int add_writer(store *s, os_file *f) {
  int rc = MAPH_OK;
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
  lock_patience patience = lock_patience_of(o->busy_timeout_ms);
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
  for (s = registry; s != NULL; s = s->next)
    if (s->file.device == f->device && s->file.inode == f->inode) return s;
  return NULL;
}

/* The store of an open file, with a reference: that which is registered, else a new one, which takes
** f over.  NULL: no memory. */
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
  while ((rc = open_registered(path, writing, o, &s)) == MAPH_BUSY && os_clock_ns() < deadline)
    os_sleep_us(1000);
  if (rc != MAPH_OK) return rc;
  rc = must_be_trusted(s, writing, o);
  if (rc == MAPH_OK && writing) create_remove_leftover(path, &s->file);
  if (rc != MAPH_OK)
    store_release(s, writing);
  else
    *out = s;
  return rc;
}

/* ------------------------------------------------------------------------------- open and close */

static int take_options(const maph_options *given, maph_options *o) {
  static const maph_options defaults = MAPH_OPTIONS_INIT;
  *o = defaults;
  if (given == NULL) return MAPH_OK;
  if (given->size < sizeof given->size || given->size > 4096)
    return fail(MAPH_MISUSE, "maph_options.size is %zu: initialise with MAPH_OPTIONS_INIT",
                given->size);
  memcpy(o, given, MIN(given->size, sizeof *o));
  o->size = sizeof *o;
  if (o->durability == MAPH_SYNC_DEFAULT) o->durability = MAPH_SYNC_NORMAL;
  if (o->durability < MAPH_SYNC_OFF || o->durability > MAPH_SYNC_FULL)
    return fail(MAPH_MISUSE, "option durability is %d: use one of MAPH_SYNC_*", o->durability);
  if (o->busy_timeout_ms < 0)
    return fail(MAPH_MISUSE, "option busy_timeout_ms is %d: use 0 or more", o->busy_timeout_ms);
  if (o->advice < MAPH_ADVISE_NORMAL || o->advice > MAPH_ADVISE_WILLNEED)
    return fail(MAPH_MISUSE, "option advice is %d: use one of MAPH_ADVISE_*", o->advice);
  if (o->perfect_hash < MAPH_PERFECT_DEFAULT || o->perfect_hash > MAPH_PERFECT_CMPH)
    return fail(MAPH_MISUSE, "option perfect_hash is %d: use one of MAPH_PERFECT_*",
                o->perfect_hash);
  if (o->auto_compact < 0 || o->auto_compact > 99)
    return fail(MAPH_MISUSE, "option auto_compact is %d: use a percentage from 0 to 99",
                o->auto_compact);
  if (o->after_version > AFTER_VERSION_MAX)
    return fail(MAPH_MISUSE, "option after_version is %llu: use at most %llu",
                (unsigned long long)o->after_version, (unsigned long long)AFTER_VERSION_MAX);
  if (o->mode <= 0 || o->mode > 07777)
    return fail(MAPH_MISUSE, "option mode is %o: use permission bits like 0644", (unsigned)o->mode);
  return MAPH_OK;
}

static int check_flags(int flags) {
  int how = flags & (MAPH_RDONLY | MAPH_RDWR);
  if (how != MAPH_RDONLY && how != MAPH_RDWR)
    return fail(MAPH_MISUSE, "maph_open: say either MAPH_RDONLY or MAPH_RDWR");
  if (flags & ~(MAPH_RDONLY | MAPH_RDWR | MAPH_CREATE | MAPH_EXCL))
    return fail(MAPH_MISUSE, "maph_open: unknown flags %x", (unsigned)flags);
  if ((flags & MAPH_CREATE) && how != MAPH_RDWR)
    return fail(MAPH_MISUSE, "maph_open: MAPH_CREATE needs MAPH_RDWR");
  if ((flags & MAPH_EXCL) && !(flags & MAPH_CREATE))
    return fail(MAPH_MISUSE, "maph_open: MAPH_EXCL needs MAPH_CREATE");
  return MAPH_OK;
}

static int open_in_memory(const maph_options *o, store **out) {
  int rc = create_in_memory(NULL, 1, o->after_version, o->expected_keys, out);
  if (rc == MAPH_OK) (*out)->writers = 1;
  return rc;
}

static int open_or_create(const char *path, int flags, const maph_options *o, store **s) {
  int rc, tries;
  for (tries = 0;; tries++) {
    if (flags & MAPH_EXCL) {
      rc = create_store(path, o, 0);
      if (rc != MAPH_OK) return rc;
      return store_open(path, 1, o, s);
    }
    rc = store_open(path, (flags & MAPH_RDWR) != 0, o, s);
    if (!(flags & MAPH_CREATE) || tries > 10) break;
    if (rc != MAPH_NOTFOUND && (rc != MAPH_FORMAT || !create_is_empty(path))) break;
    rc = create_store(path, o, rc == MAPH_FORMAT);
    if (rc != MAPH_OK && rc != MAPH_EXISTS) return rc;
  }
  if (rc == MAPH_NOTFOUND)
    rc = fail(MAPH_CANTOPEN,
              "%s: no such store: check the name, or open it with MAPH_RDWR|MAPH_CREATE", path);
  return rc;
}

int maph_open(const char *path, int flags, const maph_options *options, maph **out) {
  maph *m = NULL;
  maph_options o;
  store *s = NULL;
  char *resolved = NULL;
  int rc;
  if (out == NULL) return fail(MAPH_MISUSE, "maph_open: no place for the handle");
  *out = NULL;
  if (path == NULL || path[0] == 0)
    return fail(MAPH_MISUSE, "maph_open: an empty path: name a file, or \":memory:\"");
  pthread_once(&fork_once, watch_forks);
  rc = check_flags(flags);
  if (rc == MAPH_OK) rc = take_options(options, &o);
  if (rc != MAPH_OK) return rc;
  if (strcmp(path, ":memory:") == 0) {
    rc = flags & MAPH_RDWR
             ? open_in_memory(&o, &s)
             : fail(MAPH_MISUSE, "maph_open: a store in memory is new, so it needs MAPH_RDWR");
  } else {
    rc = os_resolve(path, &resolved);
    if (rc == MAPH_OK) rc = open_or_create(resolved, flags, &o, &s);
  }
  if (rc == MAPH_OK && (m = os_alloc(sizeof *m)) == NULL) {
    store_release(s, (flags & MAPH_RDWR) != 0);
    rc = MAPH_NOMEM;
  }
  if (rc == MAPH_OK) {
    m->magic = HANDLE_MAGIC;
    m->fork_count = handle_forks();
    m->s = s;
    m->path = resolved;
    m->flags = flags;
    m->options = o;
    pthread_mutex_init(&m->mutex, NULL);
    *out = m;
    resolved = NULL;
  }
  free(resolved);
  return rc;
}

static void set_quick(maph *m, uint64_t quick) {
  __atomic_store_n(&m->quick, quick, __ATOMIC_RELAXED);
}

static int writes(const maph *m) { return (m->flags & MAPH_RDWR) != 0; }

static void release_retired(maph *m) {
  size_t i;
  for (i = 0; i < m->retired_count; i++) store_unpin(m->retired[i].s);
  os_free(m->retired);
  m->retired = NULL;
  m->retired_count = 0;
  atomic_store(&m->release_ms, 0);
}

int maph_close(maph *m) {
  store *now;
  int rc;
  if (m == NULL) return MAPH_OK;
  if (m->magic != HANDLE_MAGIC)
    return fail(MAPH_MISUSE, "maph_close: this handle is closed already");
  if (m->open_reads && m->fork_count == handle_forks())
    return fail(MAPH_MISUSE, "%s: %u snapshots or cursors are open: close them first",
                atomic_load(&m->s)->path, m->open_reads);
  while (m->open_txns && m->fork_count == handle_forks()) maph_txn_abort(m->open_txns);
  /* if it was replaced: this may be the last writer of what replaced it */
  if (writes(m)) handle_store(m, &now);
  m->magic = 0;
  set_quick(m, 0);
  release_retired(m);
  rc = store_release(m->s, writes(m));
  pthread_mutex_destroy(&m->mutex);
  free(m->path);
  os_free(m);
  return rc;
}

/* ----------------------------------------------------------------- the next generation, refresh */

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
  if (more == NULL) return MAPH_NOMEM;
  m->retired = more;
  more[m->retired_count++] = (retired){ left, os_clock_coarse_ms(), atomic_load(&m->lent) == left };
  set_quick(m, 0);
  atomic_store(&m->lent, NULL);
  atomic_store_explicit(&m->s, s, memory_order_release);
  release_due(m);
  if (writes(m) && !left->in_memory) {
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
  int rc = store_open(m->path, writes(m), &m->options, &s);
  if (rc == MAPH_NOTFOUND) rc = fail(MAPH_CANTOPEN, "%s: the store is no longer there", m->path);
  if (rc != MAPH_OK) return rc;
  if (s != m->s)
    rc = move_to(m, s);
  else {
    store_release(s, writes(m));
    return MAPH_OK;
  }
  if (rc != MAPH_OK) store_release(s, writes(m));
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

/* A writer that died between decision and visibility left `prepared` above `committed`.  So do those
** at work; of them one keeps the turn or the list of this process busy, or lives. */
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
  if (rc == MAPH_OK && writes(m)) finish_decided(*s);
  return rc;
}

void handle_lend(maph *m, const store *s) {
  if (likely(atomic_load(&m->lent) == s)) return;
  pthread_mutex_lock(&m->mutex);
  if (m->s == s) {
    atomic_store(&m->lent, s);
    if (!m->options.verify && !is_layered(s)) set_quick(m, handle_quick ^ (uint64_t)(uintptr_t)s);
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
  if (rc == MAPH_OK && !writes(m))
    rc = fail(MAPH_READONLY, "%s: opened for reading only: open it with MAPH_RDWR", (*s)->path);
  return rc;
}

void handle_count_read(maph *m, int by) {
  pthread_mutex_lock(&m->mutex);
  m->open_reads += (unsigned)by;
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
    rc = os_identity(m->path, &device, &inode);
    if (rc == MAPH_NOTFOUND)
      return fail(MAPH_CANTOPEN, "%s: the store is no longer there", m->path);
    pthread_mutex_lock(&m->mutex);
    if (rc == MAPH_OK && (device != s->file.device || inode != s->file.inode))
      rc = move_to_current(m);
    pthread_mutex_unlock(&m->mutex);
  }
  if (rc == MAPH_OK) release_retired(m);
  return rc;
}

int maph_sync(maph *m) {
  store *s;
  int rc = handle_writer(m, &s);
  if (rc == MAPH_OK) rc = session_reached(s);
  return rc == MAPH_OK ? commit_sync(s) : rc;
}

/* With byte 2 of the lock file and the lock: no rewrite is under way, and nobody writes. */
static int destroy(store *s) {
  word *state = &header_of(s->write_base)->state;
  int rc;
  OS_TEST_STORE(s->write_base, offsetof(header, state), 8);
  atomic_fetch_or(state, STATE_DELETED);
  rc = create_remove_files(s->path, &s->file);
  if (rc != MAPH_OK) atomic_fetch_and(state, ~(uint64_t)STATE_DELETED);
  return rc;
}

int maph_destroy(const char *path, int busy_timeout_ms) {
  maph_options o = MAPH_OPTIONS_INIT;
  os_file rewrite;
  store *s;
  maph *m;
  int rc;
  o.busy_timeout_ms = MAX(busy_timeout_ms, 0);
  rc = maph_open(path, MAPH_RDWR, &o, &m);
  if (rc != MAPH_OK) return rc;
  s = m->s;
  if (s->in_memory) {
    maph_close(m);
    return fail(MAPH_MISUSE, "maph_destroy: a store in memory goes when it is closed");
  }
  rc = create_lock_rewrite(m->path, &s->file, o.busy_timeout_ms, &rewrite);
  if (rc == MAPH_OK) {
    rc = handle_writer(m, &s); /* a rewrite may have ended just now */
    if (rc == MAPH_OK) rc = session_begin(s, o.busy_timeout_ms);
    if (rc == MAPH_OK) {
      rc = destroy(s);
      session_end(s);
    }
    create_unlock_rewrite(&rewrite);
  }
  maph_close(m);
  return rc;
}

/* ----------------------------------------------------------------------------------- statistics */

static int count_slot(void *arg, uint64_t slot_offset, unsigned bucket, uint64_t slot) {
  (void)slot_offset;
  (void)bucket;
  (void)slot;
  ++*(uint64_t *)arg;
  return MAPH_OK;
}

/* What the perfect hash covers, and what it does not any more or not yet. */
static int stat_perfect(const view *v, maph_stats *st, uint64_t *slots) {
  const perfect *p = &v->s->perfect;
  int rc;
  if (p->keys == 0) return MAPH_OK;
  *slots = 0;
  rc = index_walk(v, count_slot, slots);
  st->perfect_hash = p->algorithm;
  st->direct = p->direct;
  st->frozen_keys = p->keys;
  st->moved_keys = atomic_load(&header_of(v->base)->moved);
  st->later_keys = *slots - MIN(*slots, st->moved_keys);
  st->frozen_bytes = p->size;
  st->perfect_bits = (double)p->function_size * 8 / (double)p->keys;
  st->index_bytes += p->size;
  return rc;
}

int maph_pending(maph *m) {
  store *s;
  view v;
  const header *h;
  if (handle_store(m, &s) != MAPH_OK || view_latest(s, &v) != MAPH_OK) return 0;
  h = header_of(v.base);
  return atomic_load(&h->prepared) > atomic_load(&h->committed);
}

int maph_stat(maph *m, maph_stats *st) {
  index_shape shape;
  uint64_t slots;
  end_record e;
  store *s;
  view v;
  const header *h;
  int rc = handle_store_now(m, &s);
  if (rc == MAPH_OK && st == NULL) rc = fail(MAPH_MISUSE, "maph_stat: no place for the statistics");
  if (rc == MAPH_OK) rc = view_latest(s, &v);
  if (rc == MAPH_OK) rc = record_end(&v, v.snapshot, &e);
  if (rc == MAPH_OK) rc = index_measure(&v, &shape);
  if (rc == MAPH_OK) rc = store_see_size(s, 0);
  if (rc != MAPH_OK) return rc;
  h = header_of(v.base);
  memset(st, 0, sizeof *st);
  st->records = e.records;
  st->live_bytes = e.bytes;
  st->index_bytes = shape.bytes;
  slots = e.records;
  rc = stat_perfect(&v, st, &slots);
  st->oldest_version = s->base_version;
  st->used_bytes = MAX(atomic_load(&h->end), v.snapshot);
  st->file_bytes = atomic_load(&s->size);
  st->dead_bytes = st->used_bytes - MIN(st->used_bytes, HEADER_SIZE + e.bytes + st->index_bytes);
  st->version = record_version(&e.head);
  st->generation = s->generation;
  st->flushed_bytes = atomic_load(&h->flushed);
  st->segments = shape.segments;
  st->load_factor = (double)slots / ((double)shape.segments * SEGMENT_BUCKETS * BUCKET_SLOTS);
  memcpy(st->uuid, s->uuid, 16);
  st->poisoned = (atomic_load(&h->state) & STATE_POISONED) != 0;
  return rc;
}
