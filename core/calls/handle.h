/*
** handle.h - what `maph`, `maph_txn` and `maph_snapshot` are, and the store that a handle is on.
*/
#ifndef MAPH_HANDLE_H
#define MAPH_HANDLE_H

#include "file/store.h"
#include "os/interrupt.h"
#include "writer/txn.h"

/* A read that was closed, at the beginning of what the next of its kind is made of.  It pins the
** store, which is the one that the handle reads. */
typedef struct resting {
  void (*let_go)(struct resting *resting);
  store *store;
} resting;

/* A generation that a handle has left. */
typedef struct retired {
  store *store;
  uint64_t left_ms;
  int lent; /* slices were read from it outside snapshots: it stays until refresh or close */
} retired;

struct maph {
  /* handle_quick ^ the address of `store`: the hot path may be taken, and slices of that store
  ** handed out.  0: not (closed, or reads verify, or this generation was not read from yet) */
  uint64_t quick;
  _Atomic(store *) store;
  uint32_t magic;
  unsigned fork_count;
  char *given; /* the path as it was opened, made absolute; NULL: as `path`, or in memory */
  char *path;  /* where that led, links followed */
  int flags;
  maph_options options;
  pthread_mutex_t mutex;
  _Atomic(const store *) lent; /* `store`, once a slice was read of it outside snapshots */
  retired *retired;            /* oldest first */
  size_t retired_count;
  _Atomic uint64_t release_ms; /* when to look at those again; 0: there are none to release */
  struct maph_txn *open_txns;
  atomic_uint open_reads; /* snapshots, cursors and feeds */
  _Atomic(resting *) resting;
  int rewriting; /* 1: a rewrite of this store in memory is under way */
  int rewrote;   /* `rewrite` tells what */
  maph_rewrite rewrite;
  _Atomic uint64_t looked_ms; /* when, in a layered file system, the path was last looked at */
  _Atomic(const store *) looked_at;
  _Atomic uint64_t look_again; /* auto_compact looks again when `committed` is there */
  interrupt_count interrupts;  /* maph_interrupt */
};
/* A transaction on a store, begun through a handle. */
struct maph_txn {
  uint32_t magic;
  maph *handle;
  txn txn;
  struct maph_snapshot *snapshots;            /* those that show it */
  struct maph_txn *next_open, *previous_open; /* of the handle */
};

struct maph_snapshot {
  uint32_t magic;
  maph *handle;
  store *store;
  uint64_t snapshot, now, version, records, bytes;
  struct maph_txn *within; /* the transaction that it shows, while that is open */
  int rolled_back;
  unsigned fork_count;        /* of the process that opened it */
  struct maph_snapshot *next; /* of the transaction */
  atomic_uint users;          /* its owner, until it is closed, and cursors */
};
enum {
  HANDLE_MAGIC = 0x6d617068,
  TXN_MAGIC = 0x7478,
  SNAPSHOT_MAGIC = 0x736e,
  CURSOR_MAGIC = 0x6375,
  CHANGES_MAGIC = 0x6368,
  RANGE_MAGIC = 0x7261
};

extern unsigned handle_fork_count;
/* What a handle of this process says in `quick`.  hidden: or its address would be loaded first. */
extern __attribute__((visibility("hidden"))) uint64_t handle_quick;
/* relaxed: `quick` names the store that it was set for, so one that is older than the store, which
** was loaded with acquire, does not match. */
static inline int handle_is_quick(const maph *m, const store *store) {
  return (__atomic_load_n(&m->quick, __ATOMIC_RELAXED)
          ^ __atomic_load_n(&handle_quick, __ATOMIC_RELAXED))
         == (uint64_t)(uintptr_t)store;
}
/* how often this process is the child of a fork; relaxed: it is raised while the child has one
** thread */
static inline unsigned handle_forks(void) {
  return __atomic_load_n(&handle_fork_count, __ATOMIC_RELAXED);
}
void handle_watch_forks(void); /* before the first handle is made */
void handle_set_quick(maph *m, uint64_t quick);
void handle_release_retired(maph *m); /* all generations that it has left */
static inline const char *handle_name(const maph *m) { return m->path ? m->path : ":memory:"; }
/* Where a public call of the handle, which may be none, fails: rc.  If there was no memory, the
** sentence names the file. */
int handle_failed(const maph *m, int rc) __attribute__((cold));
static inline int handle_writes(const maph *m) { return (m->flags & MAPH_RDWR) != 0; }
int handle_store(maph *m, store **store); /* the generation to use now.  MISUSE CANTOPEN */
/* The same for a read that many more will not follow within the millisecond: what only a look at
** the path can tell is looked at, and a handle that may write finishes what a dead writer decided.
*/
int handle_store_now(maph *m, store **store);
/* the same, to hand out slices of it outside snapshots */
int handle_reader(maph *m, store **store);
int handle_writer(maph *m, store **store); /* the same, and it may write.  READONLY */
/* A session in the store that the handle writes to now, and an empty transaction in it.  If the
** store was replaced meanwhile, it is the one that is there now.  MISUSE READONLY BUSY FULL ... */
int handle_begin(maph *m, int durability, txn *txn);
/* The same of a transaction of many operations. */
int handle_begin_many(maph *m, int durability, txn *txn);
void handle_lend(maph *m, const store *store); /* a slice of it is handed out */
static inline void handle_count_read(maph *m, int by) {
  atomic_fetch_add_explicit(&m->open_reads, (unsigned)by, memory_order_acq_rel);
}
/* What rests is the caller's now; NULL: nothing does.  relaxed: only a look, which spares the
** exchange; what is used comes from that. */
static inline resting *handle_wake(maph *m) {
  return atomic_load_explicit(&m->resting, memory_order_relaxed)
             ? atomic_exchange(&m->resting, NULL)
             : NULL;
}
void handle_rest(maph *m, resting *resting); /* in the place of what rests */
void handle_let_rest_go(maph *m);
/* How many of the generations that it has left it still pins, until refresh and for a while. */
void handle_pinned(maph *m, size_t *lent, size_t *others);
/* of a store in memory, which has no lock file.  1: somebody else has it */
int handle_claim_rewrite(maph *m);
void handle_end_rewrite(maph *m);
int handle_replace(maph *m, store *store); /* of a store in memory: by a rewritten one */
void handle_note_rewrite(maph *m, const maph_rewrite *rewrite);
int handle_last_rewrite(maph *m, maph_rewrite *rewrite); /* NOTFOUND */

#endif
