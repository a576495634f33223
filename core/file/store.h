/*
** store.h - the open store inside the library: one file as this process sees it.
**
** A `store` is shared by all handles on that file (calls/registry.c keeps them).  It holds
** the mappings of the file and the state of this process as a writer.  A `view` is what one read
** needs of a store, loaded once.
**
** The floors of core are os, file, index, order, writer and calls, from the lowest up.  A floor
** includes its own headers and those of the floors below it.
*/
#ifndef MAPH_STORE_H
#define MAPH_STORE_H

#include "file/frozen.h"
#include "format.h"
#include "maph.h"
#include "os/error.h"
#include "os/os.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>

#if defined(__SANITIZE_THREAD__)
#define ONE_MAPPING 1 /* the race detector cannot see through two mappings of one page */
#else
#define ONE_MAPPING 0
#endif
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

typedef struct mapping {
  struct mapping *next;
  uint8_t *base;
  uint64_t length;
} mapping;

/* Something of a higher floor that goes with the store. */
typedef struct attached {
  void *p;
  void (*let_go)(void *p);
} attached;

/* The last transaction decided: what the next one continues. */
typedef struct tip {
  uint64_t end; /* of its end record */
  uint64_t version, chain, records, bytes;
} tip;

typedef struct store {
  struct store *next;   /* registry */
  unsigned references;  /* handles and snapshots, under the registry's mutex */
  pthread_mutex_t door; /* loading, and joining and leaving the writers: calls/registry.c */
  int loaded;           /* mapped, its header read */
  unsigned writers;     /* handles that may write */
  char *path;           /* resolved; of messages too; behind the store */
  os_file file, lock;
  /* lockless: nobody else can know of it.  dead: this is the child of a fork */
  int in_memory, lockless, dead;
  /* look at the live words before the next append: none was made yet, or one failed midway */
  int unsettled;
  int given; /* its versions are given by who writes: format.h, section 10 */
  uint64_t generation, base_version, hash_seed, salt;
  _Atomic uint64_t usual_end; /* size.c: how far into a record of usual size its last byte lies */
  uint8_t uuid[16];
  perfect perfect;      /* of this file; keys 0: none */
  uint64_t boot, mount; /* trust.c: where a writer of this process is */
  int place_known;

  /* mapping for reads; set before size grows past an older one's length */
  _Atomic(uint8_t *) base;
  _Atomic uint64_t size;         /* file size last seen: nothing at or past it is touched */
  _Atomic(uint8_t *) write_base; /* mapping for stores; NULL while no handle writes */
  uint64_t mapped, write_mapped;
  mapping *outgrown;             /* smaller, older mappings: slices may point into them */
  pthread_mutex_t mapping_mutex; /* guards base to outgrown, and file.size */
  int advice, huge_pages;
  _Atomic int unbiased; /* its lock is to be the byte, not the bias */
  /* grant.c: the disk is nearly full; a quota may be, untold; when that was looked at */
  _Atomic int scarce, hides_quota;
  _Atomic uint64_t room_looked_ms;
  _Atomic uint64_t allowed_ms; /* when the file was last seen to take stores */
  int bulk;         /* so much will be written that throughput counts, not the longest wait */
  int spares;       /* SPARES_*: what the open transaction leaves at the end of the file */
  int lent;         /* 1: the reserve was given to a compaction; of the holder of the turn */
  pthread_t lender; /* the thread that runs that compaction */

  /* lock.c: whose turn it is in this process, and the lock between processes */
  pthread_mutex_t turn_mutex;
  pthread_t turn_thread;                      /* that took it */
  struct turn_waiter *turn_first, *turn_last; /* in line */
  _Atomic int turn_taken;
  pthread_mutex_t held_mutex;
  pthread_cond_t released; /* held became 0 */
  /* reasons to hold the lock: the turn, and each transaction decided but not yet visible */
  _Atomic unsigned held;
  int locked; /* byte 0 is locked */
  /* a handle moved on whose other threads may still ask for the lock: its file stays open as long
  ** as the store */
  int stayed;
  /* of this store object as a writer; its byte of the lock file is locked */
  uint64_t identity;
  unsigned streak; /* times the lock was taken in a row with nobody waiting */
  uint64_t streak_began;

  /* commit.c, by the holder of the turn */
  tip last; /* decided last */
  /* next free offset: the open transaction's records and index pieces go here */
  uint64_t space_end;
  /* `end` up to which a dead writer's leftovers are known to be covered */
  uint64_t tail_checked;
  uint64_t populated; /* pages below are faulted in for writing */
  uint64_t writeback_end, writeback_ms;
  uint64_t published_ms; /* when a transaction became visible last */
  uint64_t told_ms;      /* when the file's time of modification was set */
  uint64_t checkpoint_end;
  _Atomic uint64_t reached_ms; /* when it was last seen to be the file at its path */

  /* trust.c */
  pthread_mutex_t trust_mutex;
  _Atomic int vouched; /* this process holds the byte `living` of the file: its words hold */
  uint64_t living;
  _Atomic uint64_t pending, pending_ms; /* a `prepared` that is not visible yet, and since when */

  /* order/: what this process knows of the order of keys */
  pthread_mutex_t order_mutex;
  attached order_tail, order_runs, order_types; /* under order_mutex */
  attached order_writer;       /* by the holder of the turn; what is noted under index_mutex */
  _Atomic uint64_t order_lost; /* what readers lost to many runs (order/run.h) */

  int beside; /* an index is being built that nobody is shown yet, at beside_root */
  word beside_root;
  pthread_mutex_t index_mutex; /* stores to the index: publishing against splitting */
  pthread_mutex_t flush_mutex; /* the rest: group commit */
  pthread_cond_t none_decided; /* decided_first became NULL */
  /* group.c: somebody flushes, or was told to; somebody waits to be told; up to where that flush,
  ** or the last one, goes, and how many have begun */
  int flushing, flush_heir;
  uint64_t flush_aim;
  uint32_t flush_generation;
  _Atomic uint32_t flush_ended[2], flush_led; /* words to sleep at */
  _Atomic int flush_failed;
  _Atomic int
      group_failed; /* what is decided and not visible must not become so; nor what follows */
  uint64_t flushed; /* end of log this process knows to be on disk */
  uint64_t decided; /* end of the last transaction decided */
  /* decided at full, not yet visible, in order: see decided.c */
  struct changed_keys *_Atomic decided_first;
  struct changed_keys *decided_last;
} store;

typedef struct view {
  const uint8_t *base;
  uint64_t size;     /* bytes that may be touched */
  uint64_t snapshot; /* bytes that are believed */
  store *store;
} view;

/* Records of other sizes are not asked for at their end before that is known. */
enum { USUAL_LEAST = 64, USUAL_MOST = 1024 };
static inline uint64_t usual_end(uint64_t size) {
  return size > USUAL_LEAST && size <= USUAL_MOST ? size - 1 : USUAL_LEAST;
}

static inline header *header_of(const uint8_t *base) { return (header *)(uintptr_t)base; }
/* relaxed: for bytes below a `committed` that was loaded with acquire, which change no more, and
** for fields that a hostile hand may change: each is loaded once, whole. */
static inline uint64_t load64(const void *p) {
  return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
}
/* relaxed: as load64. */
static inline uint32_t load32(const void *p) {
  return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
}
static inline word *word_at(const uint8_t *base, uint64_t offset) {
  return (word *)(uintptr_t)(base + offset);
}

/* Asserted where a comment says "with the turn", "with the lock" or "under x_mutex".  A store that
** nobody else knows of needs neither turn nor lock.  relaxed: whoever asserts it stored the word
** itself, or took a mutex after the thread that did. */
static inline int store_has_turn(const store *store) {
  return store->lockless || atomic_load_explicit(&store->turn_taken, memory_order_relaxed);
}
/* relaxed: as store_has_turn; lock.c decides by acquire. */
static inline int store_has_lock(const store *store) {
  return store->lockless || atomic_load_explicit(&store->held, memory_order_relaxed) > 0;
}
static inline int is_locked(pthread_mutex_t *mutex) {
  if (pthread_mutex_trylock(mutex) == EBUSY) return 1;
  pthread_mutex_unlock(mutex);
  return 0;
}
static inline int store_has_index(store *store) {
  return is_locked(&store->index_mutex) || (store_has_turn(store) && store->decided_first == NULL);
}

/* Versions inside are those in the file; what users give and are shown is shifted (format.h).  The
** shift is in the header: a file that takes a name gets it while others read it. */
static inline uint64_t store_shift(const store *store) {
  const uint8_t *base = atomic_load_explicit(&store->base, memory_order_acquire);
  return load64(&header_of(base)->version_shift) & VERSION_MAX;
}
static inline uint64_t version_shown(const store *store, uint64_t version) {
  return version + store_shift(store);
}

store *store_new(const char *path); /* nothing is open yet.  NULL: no memory */
/* Takes file over; nothing is read, and nobody else can know of it.  NULL: no memory */
store *store_bare(const char *path, os_file *file);
void store_free(store *store); /* of which nobody else knows any more; NULL: no-op */

static inline void attach(attached *attached, void *p, void (*let_go)(void *p)) {
  if (attached->p) attached->let_go(attached->p);
  *attached = (struct attached){ p, let_go };
}

/* Stores a mutable word, where a test build sees it.  Other stores to the file name themselves by
** OS_TEST_STORE. */
static inline void store_word(uint8_t *base, word *w, uint64_t value) {
  OS_TEST_STORE(base, (uint64_t)((uint8_t *)w - base), sizeof *w);
  (void)base;
  atomic_store_explicit(w, value, memory_order_release);
}

#endif
