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
** Who takes the lock revokes the bias and waits for the write under way, if any:
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
** PRESENCE.  Every writer process holds a shared lock on byte 1; who can have it exclusively is
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

static int be_present(store *s) {
  int got = os_lock(&s->lock, LOCK_PRESENT, 0);
  if (got == 0)
    return fail(MAPH_BUSY, "%s.lock: locked by a process that has the store to itself: try again",
                s->path);
  return got < 0 ? -got : MAPH_OK;
}

/* It may have gone with a store that was deleted, after it was opened and before it was locked. */
static int still_named(const store *s, const char *name) {
  uint64_t device, inode;
  return os_identity(name, &device, &inode) == MAPH_OK && device == s->lock.device
         && inode == s->lock.inode;
}

static int open_present(store *s, const char *name) {
  int rc, tries;
  for (tries = 0;; tries++) {
    rc = os_open_lock(name, &s->file, &s->lock);
    if (rc != MAPH_OK) return rc;
    rc = be_present(s);
    if (rc == MAPH_OK && (still_named(s, name) || tries >= LOCK_FILES_MOST)) return MAPH_OK;
    os_close(&s->lock);
    if (rc != MAPH_OK) return rc;
  }
}

int lock_open(store *s) {
  size_t n = strlen(s->path);
  char *name;
  int rc, got;
  if (s->lockless) return MAPH_OK;
  if (s->lock.fd >= 0) return be_present(s);
  name = os_alloc(n + 6);
  if (name == NULL) return MAPH_NOMEM;
  memcpy(name, s->path, n);
  memcpy(name + n, ".lock", 6);
  rc = open_present(s, name);
  os_free(name);
  if (rc != MAPH_OK) return rc;
  /* a byte's offset: positive, never 0 */
  do os_random(&s->identity, sizeof s->identity);
  while (s->identity >> 61 != 1);
  got = os_lock(&s->lock, LOCK_IDENTITY + s->identity, 1);
  if (got == 1) return MAPH_OK;
  os_close(&s->lock);
  return got < 0 ? -got
                 : fail(MAPH_BUSY, "%s.lock: another writer has the same mark: try again", s->path);
}

void lock_close(store *s) {
  header *h = s->write_base ? header_of(s->write_base) : NULL;
  if (s->lockless || s->lock.fd < 0) return;
  if (h && atomic_load(&h->bias) == s->identity && grant_header(s) == MAPH_OK) {
    uint64_t mine = s->identity;
    OS_TEST_STORE(s->write_base, offsetof(header, bias), 8);
    atomic_compare_exchange_strong(&h->bias, &mine, 0);
  }
  os_close(&s->lock);
}

int lock_alone(store *s) { return s->lockless || !os_locked(&s->lock, LOCK_PRESENT); }

void lock_leave(store *s) {
  if (!s->lockless) os_unlock(&s->lock, LOCK_PRESENT);
}

/* The header names the lock file, so that a writer with a new file of that name does not write
** beside one that holds the old, nor one that has a file of that name in another folder. */
static int check_lock_file(store *s) {
  header *h = header_of(s->write_base);
  uint64_t device = atomic_load(&h->lock_device), inode = atomic_load(&h->lock_inode);
  if (device == s->lock.device && inode == s->lock.inode) return MAPH_OK;
  if ((device | inode) == 0 || (!s->vouched && !trust_living(s))) return MAPH_OK; /* trust.c */
  return fail(MAPH_CANTOPEN,
              "%s.lock: this is not the lock file that the store's living writers use: it was "
              "removed or replaced, or the store's file alone is mounted here: stop those writers, "
              "or mount the folder that the store lies in",
              s->path);
}

/* ---------------------------------------------------------------------------- between processes */

static int waiting(store *s, uint64_t now) {
  uint64_t stamp = atomic_load_explicit(&header_of(s->write_base)->waiter, memory_order_relaxed);
  return stamp != 0 && now - stamp < WAITER_FRESH_NS;
}

static int say_busy(const store *s, const lock_patience *p) {
  return fail(
      MAPH_BUSY,
      "%s: another writer held the store for all of %d ms: try again, or raise the busy timeout",
      s->path, p->timeout_ms);
}

/* Say that somebody waits.  Where the disk has no room for that, who has the lock finds out
** late. */
static void stamp_waiter(store *s, uint64_t now) {
  if (grant_header(s) == MAPH_OK) store_word(s->write_base, &header_of(s->write_base)->waiter, now);
}

/* With byte 0: nobody may go on writing by bias. */
static int revoke_bias(store *s, const lock_patience *p) {
  header *h = header_of(s->write_base);
  uint64_t busy, dead;
  unsigned pause = 0;
  if (atomic_load(&h->bias) != 0) {
    OS_TEST_STORE(s->write_base, offsetof(header, bias), 8);
    atomic_store(&h->bias, 0);
  }
  atomic_thread_fence(memory_order_seq_cst);
  while ((busy = atomic_load(&h->busy)) != 0 && busy != s->identity) {
    if (busy >> 61 != 1 || !os_locked(&s->lock, LOCK_IDENTITY + busy)) {
      OS_TEST_STORE(s->write_base, offsetof(header, busy), 8);
      dead = busy;
      atomic_compare_exchange_strong(&h->busy, &dead, 0);
      continue;
    }
    if (lock_interrupted(p)) return interrupt_say(s->path);
    if (os_clock_ns() >= p->deadline_ns) return say_busy(s, p);
    stamp_waiter(s, os_clock_ns());
    if (pause) os_sleep_us(pause);
    pause = pause ? MIN(pause * 2, (unsigned)POLL_MOST_US) : 1;
  }
  return MAPH_OK;
}

static int take_byte(store *s, const lock_patience *p) {
  uint64_t now = os_clock_ns();
  unsigned pause = POLL_LEAST_US;
  int got;
  if (s->streak > 0 && now - s->streak_began > STREAK_MOST_NS && waiting(s, now)
      && p->timeout_ms > 0) {
    os_sleep_us(POLL_MOST_US); /* others had no chance for a while */
    s->streak = 0;
    now = os_clock_ns();
  }
  while ((got = os_lock(&s->lock, LOCK_WRITER, 1)) == 0) {
    s->streak = 0;
    stamp_waiter(s, now);
    if (lock_interrupted(p)) return interrupt_say(s->path);
    if (now >= p->deadline_ns) return say_busy(s, p);
    os_sleep_us(pause);
    pause = MIN(pause + pause / 2, (unsigned)POLL_MOST_US);
    now = os_clock_ns();
  }
  if (got < 0) return -got;
  got = grant_header(s);
  if (got != MAPH_OK) {
    os_unlock(&s->lock, LOCK_WRITER);
    return got;
  }
  if (s->streak++ == 0) s->streak_began = now;
  /* first: another file would say that every writer is dead */
  got = check_lock_file(s);
  if (got == MAPH_OK) got = revoke_bias(s, p);
  if (got != MAPH_OK) os_unlock(&s->lock, LOCK_WRITER);
  return got;
}

/* Write by bias, if it is ours and nobody revoked it.  1: locked so. */
static int enter_biased(store *s) {
  header *h = header_of(s->write_base);
  uint64_t nobody = 0;
  if (atomic_load_explicit(&h->bias, memory_order_relaxed) != s->identity || s->unbiased
      || grant_needed(s))
    return 0;
  OS_TEST_STORE(s->write_base, offsetof(header, busy), 8);
  if (atomic_compare_exchange_strong(&h->busy, &nobody, s->identity)) {
    if (atomic_load(&h->bias) == s->identity) return 1;
    atomic_store_explicit(&h->busy, 0, memory_order_release);
  }
  s->streak = 0;
  return 0;
}

enum { LOCKED_BYTE = 1, LOCKED_BIASED = 2 };

/* Under held_mutex, held was 0. */
static int lock_process(store *s, const lock_patience *p) {
  int rc;
  assert(is_locked(&s->held_mutex) && s->held == 0);
  if (s->lockless) {
    s->locked = LOCKED_BYTE;
  } else if (enter_biased(s)) {
    s->locked = LOCKED_BIASED;
  } else {
    rc = take_byte(s, p);
    if (rc != MAPH_OK) return rc;
    s->locked = LOCKED_BYTE;
  }
  return MAPH_OK;
}

static void unlock_process(store *s) {
  header *h = header_of(s->write_base);
  assert(is_locked(&s->held_mutex));
  if (s->locked == LOCKED_BIASED) {
    OS_TEST_STORE(s->write_base, offsetof(header, busy), 8);
    atomic_store_explicit(&h->busy, 0, memory_order_release);
  } else if (s->locked == LOCKED_BYTE && !s->lockless) {
    if (s->streak >= BIAS_AFTER && !s->unsettled && !s->unbiased && !grant_needed(s)
        && atomic_load(&h->busy) == 0 && !waiting(s, os_clock_ns())) {
      store_word(s->write_base, &h->bias, s->identity);
    }
    os_unlock(&s->lock, LOCK_WRITER);
  }
  s->locked = 0;
}

/* Under held_mutex; others only look at it. */
static unsigned add_held(store *s, unsigned by) {
  unsigned held = atomic_load_explicit(&s->held, memory_order_relaxed) + by;
  atomic_store_explicit(&s->held, held, memory_order_relaxed);
  return held;
}

int lock_take(store *s, const lock_patience *p, int *found) {
  int rc = MAPH_OK;
  assert(s->turn_taken);
  pthread_mutex_lock(&s->held_mutex);
  *found = LOCK_WAS_HELD;
  if (s->held == 0) {
    rc = lock_process(s, p);
    *found = s->locked == LOCKED_BIASED ? LOCK_WAS_OURS : LOCK_WAS_FREE;
  }
  if (rc == MAPH_OK) add_held(s, 1);
  pthread_mutex_unlock(&s->held_mutex);
  return rc;
}

void lock_release(store *s) {
  pthread_mutex_lock(&s->held_mutex);
  assert(s->held > 0);
  if (add_held(s, (unsigned)-1) == 0) {
    unlock_process(s);
    pthread_cond_broadcast(&s->released);
  }
  pthread_mutex_unlock(&s->held_mutex);
}

void lock_wait_released(store *s) {
  assert(s->turn_taken);
  pthread_mutex_lock(&s->held_mutex);
  while (s->held > 0) pthread_cond_wait(&s->released, &s->held_mutex);
  pthread_mutex_unlock(&s->held_mutex);
}

int lock_wanted(store *s) { return !s->lockless && waiting(s, os_clock_ns()); }

/* ------------------------------------------------------------------------------ in this process */

/* A write takes about a microsecond; to sleep and be woken costs ten times that. */
static void wait_awake(const store *s) {
  int i;
  for (i = 0; i < SPINS && atomic_load_explicit(&s->turn_taken, memory_order_relaxed); i++)
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

static void stand_in_line(store *s, struct turn_waiter *w) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&w->woken, &monotonic);
  pthread_condattr_destroy(&monotonic);
  w->thread = pthread_self();
  w->next = NULL;
  w->since_ns = os_clock_ns();
  w->handed = 0;
  if (s->turn_first)
    s->turn_last->next = w;
  else
    s->turn_first = w;
  s->turn_last = w;
}

static void leave_line(store *s, struct turn_waiter *w) {
  struct turn_waiter *before = NULL, *x;
  for (x = s->turn_first; x != NULL && x != w; x = x->next) before = x;
  if (x == NULL) return; /* the turn was handed to it */
  if (before)
    before->next = w->next;
  else
    s->turn_first = w->next;
  if (s->turn_last == w) s->turn_last = before;
}

/* Under turn_mutex; the turn is taken.  An interrupt is one store to memory, which wakes nobody: so
** each LOOK_NS is a wait of its own. */
static int wait_in_line(store *s, const lock_patience *p) {
  struct turn_waiter w;
  int rc = MAPH_OK;
  stand_in_line(s, &w);
  while (s->turn_taken && !w.handed && rc == MAPH_OK) {
    uint64_t ns = MIN(p->deadline_ns, os_clock_ns() + LOOK_NS);
    struct timespec until = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
    if (pthread_cond_timedwait(&w.woken, &s->turn_mutex, &until) != ETIMEDOUT) continue;
    if (lock_interrupted(p))
      rc = MAPH_CANCELLED;
    else if (ns == p->deadline_ns)
      rc = MAPH_BUSY;
  }
  leave_line(s, &w);
  pthread_cond_destroy(&w.woken);
  return w.handed || !s->turn_taken ? MAPH_OK : rc;
}

int lock_take_turn(store *s, const lock_patience *p) {
  int rc = MAPH_OK;
  wait_awake(s);
  pthread_mutex_lock(&s->turn_mutex);
  if (s->turn_taken) rc = p->timeout_ms == 0 ? MAPH_BUSY : wait_in_line(s, p);
  if (rc == MAPH_OK) {
    s->turn_taken = 1;
    s->turn_thread = pthread_self();
  }
  pthread_mutex_unlock(&s->turn_mutex);
  if (rc == MAPH_CANCELLED) return interrupt_say(s->path);
  return rc == MAPH_OK ? rc
                       : fail(MAPH_BUSY,
                              "%s: another transaction of this process held the store for all of "
                              "%d ms: end it, or raise the busy timeout",
                              s->path, p->timeout_ms);
}

int lock_turn_is_mine(store *s) {
  int mine;
  pthread_mutex_lock(&s->turn_mutex);
  mine = s->turn_taken && pthread_equal(s->turn_thread, pthread_self());
  pthread_mutex_unlock(&s->turn_mutex);
  return mine;
}

void lock_give_turn(store *s) {
  struct turn_waiter *first;
  assert(s->turn_taken);
  pthread_mutex_lock(&s->turn_mutex);
  first = s->turn_first;
  if (first != NULL && os_clock_ns() - first->since_ns >= LINE_NS) {
    s->turn_first = first->next; /* turn_taken stays */
    if (s->turn_first == NULL) s->turn_last = NULL;
    first->handed = 1;
    s->turn_thread = first->thread;
  } else {
    s->turn_taken = 0;
  }
  if (first != NULL) pthread_cond_signal(&first->woken);
  pthread_mutex_unlock(&s->turn_mutex);
}
