/*
** lock.c - one writer at a time: among the threads and handles of this process (the turn), and
** among processes (the lock).
**
** THE TURN is a flag.  A transaction owns it, not a thread.  Threads that wait for it stand in
** line. While transactions are short, whoever comes first when the turn is given up takes it,
** because to wake another thread costs more than a write.  Once the first in line has waited for
** LINE_NS the turn is handed to it directly (as the mutexes of Go do), so that nobody starves
** behind threads that write without a pause.
**
** THE LOCK is byte 0 of the lock file NAME.lock, locked through an open file description: only who
** may write the store can take it, and the kernel releases it when the process dies.  Waiting for
** it cannot time out, so waiters poll, and stamp the time in the header's `waiter` word.  A writer
** that has had the lock for a while leaves it alone for a moment when the stamp is fresh, so that a
** bulk loader starves nobody.
**
** BIAS.  Taking and releasing the lock costs two system calls, several times a put.  A writer that
** took it some times in a row with nobody waiting makes the store biased to itself: it stores its
** identity in `bias`, releases the lock, and from then on writes by
**
**     if( bias==me && compare-and-swap busy 0 -> me ) { if( bias==me ) write;  busy = 0 }  else
**     take the lock
**
** Whoever takes the lock revokes the bias and waits for the write under way, if any:
**
**     bias = 0;  while( busy!=0 ) if the writer it names is dead, compare-and-swap busy -> 0, else
**     wait
**
** (Dekker's handshake, as in biased locking of monitors: Kawachiya et al. 2002; test/model/lock.pml
** is its model.)  Of two that store and then load, one sees the other's store, so either the biased
** writer sees the revocation or the revoker sees `busy`.  Both changes of `busy` are
** compare-and-swap, because a writer that was stopped between its load of `bias` and its claim may
** wake up late.  An idle biased writer holds up nobody and needs no thread.  A writer lives while
** its own byte of the lock file, LOCK_IDENTITY + identity, is locked: the kernel unlocks it when it
** dies.
**
** PRESENCE.  Every writer process holds a shared lock on byte 1; whoever can have it exclusively is
** alone.  The last one to leave marks the file clean.  A crash anywhere here leaves at most `bias`
** or `busy` naming a dead writer, which the next one finds out.
*/
#include "writer/lock.h"
#include "file/grant.h"
#include "file/store.h"
#include "writer/trust.h"

#include <errno.h>

enum {
  BIAS_AFTER = 3,
  STREAK_MOST_NS = 1000000,
  POLL_LEAST_US = 50,
  POLL_MOST_US = 1000,
  WAITER_FRESH_NS = 5000000,
  LOCK_FILES_MOST = 100,
  SPINS = 40,
  LOOK_NS = 20000000,
  LINE_NS = 1000000
};

/* -------------------------------------------------------------------------------- the lock file */

static int be_present(store *store) {
  int got = os_lock(&store->lock, LOCK_PRESENT, 0);
  if (got == 0)
    return fail(MAPH_BUSY, "%s.lock: locked by a process that has the store to itself: try again",
                store->path);
  return got < 0 ? -got : MAPH_OK;
}

/* It may have gone with a store that was deleted, after it was opened and before it was locked. */
static int still_named(const store *store, const char *name) {
  uint64_t device, inode;
  return os_identity(name, &device, &inode) == MAPH_OK && device == store->lock.device
         && inode == store->lock.inode;
}

static int open_present(store *store, const char *name) {
  int rc, tries;
  for (tries = 0;; tries++) {
    rc = os_open_lock(name, &store->file, &store->lock);
    if (rc != MAPH_OK) return rc;
    rc = be_present(store);
    if (rc == MAPH_OK && (still_named(store, name) || tries >= LOCK_FILES_MOST)) return MAPH_OK;
    os_close(&store->lock);
    if (rc != MAPH_OK) return rc;
  }
}

int lock_open(store *store) {
  size_t n = strlen(store->path);
  char *name;
  int rc, got;
  if (store->lockless) return MAPH_OK;
  if (store->lock.fd >= 0) return be_present(store);
  name = os_alloc(n + 6);
  if (name == NULL) return MAPH_NOMEM;
  memcpy(name, store->path, n);
  memcpy(name + n, ".lock", 6);
  rc = open_present(store, name);
  os_free(name);
  if (rc != MAPH_OK) return rc;
  /* a byte's offset: positive, never 0, and known by its highest bits */
  os_random(&store->identity, sizeof store->identity);
  store->identity = (store->identity >> 3) | UINT64_C(1) << 61;
  got = os_lock(&store->lock, LOCK_IDENTITY + store->identity, 1);
  if (got == 1) return MAPH_OK;
  os_close(&store->lock);
  return got < 0
             ? -got
             : fail(MAPH_BUSY, "%s.lock: another writer has the same mark: try again", store->path);
}

void lock_close(store *store) {
  header *header = store->write_base ? header_of(store->write_base) : NULL;
  if (store->lockless || store->lock.fd < 0) return;
  if (header && atomic_load(&header->bias) == store->identity && grant_header(store) == MAPH_OK) {
    uint64_t mine = store->identity;
    OS_TEST_STORE(store->write_base, offsetof(struct header, bias), 8);
    atomic_compare_exchange_strong(&header->bias, &mine, 0);
  }
  os_close(&store->lock);
}

int lock_alone(store *store) {
  assert(store_has_lock(store));
  return store->lockless || !os_locked(&store->lock, LOCK_PRESENT);
}

void lock_leave(store *store) {
  if (!store->lockless) os_unlock(&store->lock, LOCK_PRESENT);
}

/* The header names the lock file, so that a writer with a new file of that name does not write
** beside one that holds the old, nor one that has a file of that name in another folder. */
static int check_lock_file(store *store, const lock_patience *patience) {
  header *header = header_of(store->write_base);
  uint64_t device = atomic_load(&header->lock_device), inode = atomic_load(&header->lock_inode);
  if (device == store->lock.device && inode == store->lock.inode) return MAPH_OK;
  if ((device | inode) == 0 || (!store->vouched && !trust_living(store)))
    return MAPH_OK; /* trust.c */
  if (patience->before) error_keep(patience->before);
  return fail(MAPH_CANTOPEN,
              "%s.lock: this is not the lock file that the store's living writers use: it was "
              "removed or replaced, or the store's file alone is mounted here: stop those writers, "
              "or mount the folder that the store lies in",
              store->path);
}

/* ---------------------------------------------------------------------------- between processes */

/* relaxed: a time that carries no other data.  An old one keeps the lock with us a little longer,
** and who waits stamps it again at each look. */
static int waiting(store *store, uint64_t now) {
  uint64_t stamp =
      atomic_load_explicit(&header_of(store->write_base)->waiter, memory_order_relaxed);
  return stamp != 0 && now - stamp < WAITER_FRESH_NS;
}

static int say_busy(const store *store, const lock_patience *patience) {
  return fail(
      MAPH_BUSY,
      "%s: another writer held the store for all of %d ms: try again, or raise the busy timeout",
      store->path, patience->timeout_ms);
}

/* Say that somebody waits.  Where the disk has no room for that, whoever has the lock finds out
** late. */
static void stamp_waiter(store *store, uint64_t now) {
  sentence before;
  error_keep(&before);
  if (grant_header(store) == MAPH_OK)
    store_word(store->write_base, &header_of(store->write_base)->waiter, now);
  else
    error_put_back(&before);
}

/* With byte 0: nobody may go on writing by bias. */
static int revoke_bias(store *store, const lock_patience *patience) {
  header *header = header_of(store->write_base);
  uint64_t busy, dead;
  unsigned pause = 0;
  if (atomic_load(&header->bias) != 0) {
    OS_TEST_STORE(store->write_base, offsetof(struct header, bias), 8);
    atomic_store(&header->bias, 0);
  }
  atomic_thread_fence(memory_order_seq_cst);
  while ((busy = atomic_load(&header->busy)) != 0 && busy != store->identity) {
    if (busy >> 61 != 1 || !os_locked(&store->lock, LOCK_IDENTITY + busy)) {
      OS_TEST_STORE(store->write_base, offsetof(struct header, busy), 8);
      dead = busy;
      atomic_compare_exchange_strong(&header->busy, &dead, 0);
      continue;
    }
    if (lock_interrupted(patience)) return interrupt_say(store->path);
    if (os_clock_ns() >= patience->deadline_ns) return say_busy(store, patience);
    stamp_waiter(store, os_clock_ns());
    if (pause) os_sleep_us(pause);
    pause = pause ? MIN(pause * 2, (unsigned)POLL_MOST_US) : 1;
  }
  return MAPH_OK;
}

static int take_byte(store *store, const lock_patience *patience) {
  uint64_t now = os_clock_ns();
  unsigned pause = POLL_LEAST_US;
  int got;
  if (store->streak > 0 && now - store->streak_began > STREAK_MOST_NS && waiting(store, now)
      && patience->timeout_ms > 0) {
    os_sleep_us(POLL_MOST_US); /* others had no chance for a while */
    store->streak = 0;
    now = os_clock_ns();
  }
  while ((got = os_lock(&store->lock, LOCK_WRITER, 1)) == 0) {
    store->streak = 0;
    stamp_waiter(store, now);
    if (lock_interrupted(patience)) return interrupt_say(store->path);
    if (now >= patience->deadline_ns) return say_busy(store, patience);
    os_sleep_us(pause);
    pause = MIN(pause + pause / 2, (unsigned)POLL_MOST_US);
    now = os_clock_ns();
  }
  if (got < 0) return -got;
  got = grant_header(store);
  if (got != MAPH_OK) {
    os_unlock(&store->lock, LOCK_WRITER);
    return got;
  }
  if (store->streak++ == 0) store->streak_began = now;
  /* first: another file would say that every writer is dead */
  got = check_lock_file(store, patience);
  if (got == MAPH_OK) got = revoke_bias(store, patience);
  if (got != MAPH_OK) os_unlock(&store->lock, LOCK_WRITER);
  return got;
}

/* Write by bias, if it is ours and nobody revoked it.  1: locked so.  relaxed: a first look, to
** spare the exchange; what decides is the load after it, in the order of all seq_cst accesses. */
static int enter_biased(store *store) {
  header *header = header_of(store->write_base);
  uint64_t nobody = 0;
  if (atomic_load_explicit(&header->bias, memory_order_relaxed) != store->identity
      || store->unbiased || grant_needed(store))
    return 0;
  OS_TEST_STORE(store->write_base, offsetof(struct header, busy), 8);
  if (atomic_compare_exchange_strong(&header->busy, &nobody, store->identity)) {
    if (atomic_load(&header->bias) == store->identity) return 1;
    atomic_store_explicit(&header->busy, 0, memory_order_release);
  }
  store->streak = 0;
  return 0;
}

enum { LOCKED_BYTE = 1, LOCKED_BIASED = 2 };

/* With the turn, held is 0. */
static int lock_process(store *store, const lock_patience *patience) {
  int rc;
  assert(store->turn_taken && store->held == 0);
  if (store->lockless) {
    store->locked = LOCKED_BYTE;
  } else if (enter_biased(store)) {
    store->locked = LOCKED_BIASED;
  } else {
    rc = take_byte(store, patience);
    if (rc != MAPH_OK) return rc;
    store->locked = LOCKED_BYTE;
  }
  return MAPH_OK;
}

/* For the last reason to hold it. */
static void unlock_process(store *store) {
  header *header = header_of(store->write_base);
  assert(store->held == 1);
  if (store->locked == LOCKED_BIASED) {
    OS_TEST_STORE(store->write_base, offsetof(struct header, busy), 8);
    atomic_store_explicit(&header->busy, 0, memory_order_release);
  } else if (store->locked == LOCKED_BYTE && !store->lockless) {
    if (store->streak >= BIAS_AFTER && !store->unsettled && !store->unbiased && !grant_needed(store)
        && atomic_load(&header->busy) == 0 && !waiting(store, os_clock_ns())) {
      store_word(store->write_base, &header->bias, store->identity);
    }
    os_unlock(&store->lock, LOCK_WRITER);
  }
  store->locked = 0;
}

/* `held` is raised with the turn and lowered by whoever has a reason less.  So who has the turn
** needs no mutex where it is 0, and none where the one reason is its own; all others change it
** under held_mutex.  It becomes 0 last, and tells that what stands before it is done. */
static unsigned held(const store *store) {
  return atomic_load_explicit(&store->held, memory_order_acquire);
}

static void set_held(store *store, unsigned reasons) {
  atomic_store_explicit(&store->held, reasons, memory_order_release);
}

static int take_first(store *store, const lock_patience *patience, int *found) {
  int rc = lock_process(store, patience);
  *found = store->locked == LOCKED_BIASED || store->lockless ? LOCK_WAS_OURS : LOCK_WAS_FREE;
  if (rc == MAPH_OK) set_held(store, 1);
  return rc;
}

int lock_take(store *store, const lock_patience *patience, int *found) {
  int rc = MAPH_OK;
  assert(store->turn_taken);
  if (likely(held(store) == 0)) return take_first(store, patience, found);
  pthread_mutex_lock(&store->held_mutex);
  if (held(store) == 0) {
    rc = take_first(store, patience, found);
  } else {
    *found = LOCK_WAS_HELD;
    set_held(store, held(store) + 1);
  }
  pthread_mutex_unlock(&store->held_mutex);
  return rc;
}

void lock_release(store *store) {
  pthread_mutex_lock(&store->held_mutex);
  if (held(store) == 1) unlock_process(store);
  set_held(store, held(store) - 1);
  if (held(store) == 0) pthread_cond_broadcast(&store->released);
  pthread_mutex_unlock(&store->held_mutex);
}

void lock_release_in_turn(store *store) {
  assert(store->turn_taken);
  if (unlikely(held(store) != 1)) {
    lock_release(store);
    return;
  }
  unlock_process(store); /* who waits for the release needs the turn */
  set_held(store, 0);
}

void lock_wait_released(store *store) {
  assert(store->turn_taken);
  pthread_mutex_lock(&store->held_mutex);
  while (held(store) > 0) pthread_cond_wait(&store->released, &store->held_mutex);
  pthread_mutex_unlock(&store->held_mutex);
}

int lock_wanted(store *store) { return !store->lockless && waiting(store, os_clock_ns()); }

/* ------------------------------------------------------------------------------ in this process */

/* A write takes about a microsecond; to sleep and be woken costs ten times that.  relaxed:
** turn_mutex, taken next, decides. */
static void wait_awake(const store *store) {
  int i;
  for (i = 0; i < SPINS && atomic_load_explicit(&store->turn_taken, memory_order_relaxed); i++)
    os_relax();
}

/* A thread that waits for the turn. */
struct turn_waiter {
  pthread_t thread;
  struct turn_waiter *next;
  pthread_cond_t woken;
  uint64_t since_ns;
  int handed; /* the turn is its own */
};

static void stand_in_line(store *store, struct turn_waiter *waiter) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&waiter->woken, &monotonic);
  pthread_condattr_destroy(&monotonic);
  waiter->thread = pthread_self();
  waiter->next = NULL;
  waiter->since_ns = os_clock_ns();
  waiter->handed = 0;
  if (store->turn_first)
    store->turn_last->next = waiter;
  else
    store->turn_first = waiter;
  store->turn_last = waiter;
}

static void leave_line(store *store, struct turn_waiter *waiter) {
  struct turn_waiter *before = NULL, *x;
  for (x = store->turn_first; x != NULL && x != waiter; x = x->next) before = x;
  if (x == NULL) return; /* the turn was handed to it */
  if (before)
    before->next = waiter->next;
  else
    store->turn_first = waiter->next;
  if (store->turn_last == waiter) store->turn_last = before;
}

/* Meanwhile the turn may be handed over. */
static int interrupted_in_line(store *store, const lock_patience *patience) {
  int stop;
  pthread_mutex_unlock(&store->turn_mutex);
  stop = lock_interrupted(patience);
  pthread_mutex_lock(&store->turn_mutex);
  return stop;
}

/* Under turn_mutex; the turn is taken.  An interrupt is one store to memory, which wakes nobody: so
** each LOOK_NS is a wait of its own. */
static int wait_in_line(store *store, const lock_patience *patience) {
  struct turn_waiter waiter;
  int rc = MAPH_OK;
  stand_in_line(store, &waiter);
  while (store->turn_taken && !waiter.handed && rc == MAPH_OK) {
    uint64_t ns = MIN(patience->deadline_ns, os_clock_ns() + LOOK_NS);
    struct timespec until = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
    if (pthread_cond_timedwait(&waiter.woken, &store->turn_mutex, &until) != ETIMEDOUT) continue;
    if (interrupted_in_line(store, patience))
      rc = MAPH_CANCELLED;
    else if (ns == patience->deadline_ns)
      rc = MAPH_BUSY;
  }
  leave_line(store, &waiter);
  pthread_cond_destroy(&waiter.woken);
  return waiter.handed || !store->turn_taken ? MAPH_OK : rc;
}

int lock_take_turn(store *store, const lock_patience *patience) {
  int rc = MAPH_OK;
  wait_awake(store);
  pthread_mutex_lock(&store->turn_mutex);
  if (store->turn_taken) rc = patience->timeout_ms == 0 ? MAPH_BUSY : wait_in_line(store, patience);
  if (rc == MAPH_OK) {
    store->turn_taken = 1;
    store->turn_thread = pthread_self();
  }
  pthread_mutex_unlock(&store->turn_mutex);
  if (rc == MAPH_CANCELLED) return interrupt_say(store->path);
  return rc == MAPH_OK ? rc
                       : fail(MAPH_BUSY,
                              "%s: another transaction of this process held the store for all of "
                              "%d ms: end it, or raise the busy timeout",
                              store->path, patience->timeout_ms);
}

int lock_turn_is_mine(store *store) {
  int mine;
  pthread_mutex_lock(&store->turn_mutex);
  mine = store->turn_taken && pthread_equal(store->turn_thread, pthread_self());
  pthread_mutex_unlock(&store->turn_mutex);
  return mine;
}

void lock_give_turn(store *store) {
  struct turn_waiter *first;
  assert(store->turn_taken);
  pthread_mutex_lock(&store->turn_mutex);
  first = store->turn_first;
  if (first != NULL && os_clock_ns() - first->since_ns >= LINE_NS) {
    store->turn_first = first->next; /* turn_taken stays */
    if (store->turn_first == NULL) store->turn_last = NULL;
    first->handed = 1;
    store->turn_thread = first->thread;
  } else {
    store->turn_taken = 0;
  }
  if (first != NULL) pthread_cond_signal(&first->woken);
  pthread_mutex_unlock(&store->turn_mutex);
}
