/*
** store.h - the open store inside the library, and what each room of core/ offers the others.
**
** A `store` is one file as this process sees it: shared by all handles on that file (handle.c keeps the registry), its mappings, its
** writer's state.  A `view` is what one read needs of it, loaded once.  Calls go down only:
**
**     handle  create  cursor  check  salvage    open and close, files, scans, walks
**     rewrite  base  changes                new generations; feeds
**     txn  commit  lock  recover            one writer at a time
**     view                                  a key's record at a snapshot
**     index  perfect  log                   what the file holds
**     pilot  bdz                            perfect hash functions
**     record  header                        bytes to fields and back
**     os  error
*/
#ifndef MAPH_STORE_H
#define MAPH_STORE_H

#include "os/error.h"
#include "format.h"
#include "maph.h"
#include "os/os.h"
#include "index/perfect.h"

#include <pthread.h>

#if defined(__SANITIZE_THREAD__)
# define ONE_MAPPING 1           /* the race detector cannot see through two mappings of one page */
#else
# define ONE_MAPPING 0
#endif
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define MIN(a, b) ((a)<(b) ? (a) : (b))
#define MAX(a, b) ((a)>(b) ? (a) : (b))

typedef struct mapping { struct mapping *next; uint8_t *base; uint64_t length; } mapping;

/* The last transaction decided: what the next one continues. */
typedef struct tip {
  uint64_t end;                  /* of its end record */
  uint64_t version, chain, records, bytes;
} tip;

typedef struct store {
  struct store *next;            /* registry */
  unsigned references, writers;  /* handles and snapshots; handles that may write.  Under the registry's mutex */
  char    *path;                 /* resolved; of messages too */
  os_file  file, lock;
  int      in_memory, lockless, dead;   /* lockless: nobody else can know of it.  dead: this is the child of a fork */
  int      unsettled;            /* an append failed midway: look at the live words before the next */
  uint64_t generation, base_version, hash_seed, salt;
  uint8_t  uuid[16];
  perfect  perfect;              /* of this file; keys 0: none */
  uint64_t boot, mount, space;   /* where this process sees the file; compare the header's words */

  _Atomic(uint8_t *) base;       /* mapping for reads; set before size grows past an older one's length */
  _Atomic uint64_t   size;       /* file size last seen: nothing at or past it is touched */
  _Atomic uint64_t   good_root;  /* the directory that this root names was seen to lie within size */
  _Atomic(uint8_t *) write_base; /* mapping for stores; NULL while no handle writes */
  uint64_t mapped, write_mapped;
  mapping *outgrown;             /* smaller, older mappings: slices may point into them */
  pthread_mutex_t mapping_mutex; /* the four above, and file.size */
  int      advice, huge_pages;
  _Atomic int unbiased;          /* its lock is to be the byte, not the bias */
  int      bulk;                 /* so much will be written that throughput counts, not the longest wait */

  /* lock.c: whose turn it is in this process, and the lock between processes */
  pthread_mutex_t turn_mutex;
  pthread_cond_t  turn_free;
  unsigned turn_waiters;
  _Atomic int turn_taken;
  pthread_mutex_t held_mutex;
  pthread_cond_t  released;      /* held became 0 */
  unsigned held;                 /* reasons to hold the lock: the turn, and each transaction decided but not yet visible */
  int      locked;               /* byte 0 is locked */
  int      stayed;               /* a handle moved on whose other threads may still ask for the lock: its file stays open as long as the store */
  uint64_t identity;             /* of this store object as a writer; its byte of the lock file is locked */
  unsigned streak;               /* times the lock was taken in a row with nobody waiting */
  uint64_t streak_began;

  /* commit.c, by the holder of the turn */
  tip      last;                 /* decided last */
  uint64_t space_end;            /* next free offset: the open transaction's records and index pieces go here */
  uint64_t tail_checked;         /* `end` up to which a dead writer's leftovers are known to be covered */
  uint64_t populated;            /* pages below are faulted in for writing */
  uint64_t writeback_end, writeback_ms;
  uint64_t checkpoint_end;

  pthread_mutex_t index_mutex;   /* stores to the index: publishing against splitting */
  pthread_mutex_t flush_mutex;   /* the rest: group commit */
  pthread_cond_t  flush_done;
  int      flushing;
  _Atomic int      flush_failed;
  uint64_t flushed;              /* end of log this process knows to be on disk */
  uint64_t decided;              /* end of the last transaction decided */
  struct maph_txn *_Atomic decided_first;          /* decided at full, not yet visible, in order; stored under flush_mutex, */
  struct maph_txn *decided_last;                   /* taken off under index_mutex as well */
  struct maph_txn *spare;        /* kept for the next single put */
} store;

typedef struct view {
  const uint8_t *base;
  uint64_t size;                 /* bytes that may be touched */
  uint64_t snapshot;             /* bytes that are believed */
  store   *s;
} view;

static inline header *header_of(const uint8_t *base){ return (header*)(uintptr_t)base; }
static inline uint64_t load64(const void *p){ return __atomic_load_n((const uint64_t*)p, __ATOMIC_RELAXED); }
static inline word *word_at(const uint8_t *base, uint64_t offset){ return (word*)(uintptr_t)(base+offset); }

/* Every store to a mutable word goes through here (and every other store to the file through log.c), so that a test build sees it. */
static inline void store_word(uint8_t *base, word *w, uint64_t value){
  OS_TEST_STORE(base, (uint64_t)((uint8_t*)w-base), sizeof *w);
  (void)base;
  atomic_store_explicit(w, value, memory_order_release);
}

/* ---------------------------------------------------------------------------------------------------------- record.c */
/* A put or delete, taken apart.  Pointers into the view's mapping. */
typedef struct item {
  uint64_t offset, size;         /* of the whole record */
  int      kind, flags;
  uint32_t key_size, value_size;
  uint64_t prev, version, expires, attributes_size;
  const uint8_t *key, *value;
} item;

uint64_t record_size(int flags, uint64_t key_size, uint64_t value_size, uint64_t attributes_size);
uint32_t record_checksum(uint64_t salt, uint64_t offset, const uint8_t *p, uint64_t size);
int  record_span(const view *v, uint64_t offset, uint64_t limit, int *kind, uint64_t *size);  /* of any kind; CORRUPT */
int  record_item(const view *v, uint64_t offset, uint64_t limit, item *it);                    /* of a put or delete; CORRUPT */
int  record_prev(const view *v, uint64_t offset, uint64_t *prev);                              /* of a put or delete whose head is in the file; the rest may lie past its size last seen */
int  record_verify(const view *v, uint64_t offset, uint64_t size);                             /* its checksum; CORRUPT */
int  record_end(const view *v, uint64_t end, end_record *e);                                   /* the end or epoch record before `end` */
void record_entry(const item *it, maph_entry *entry);
uint64_t record_needs(const uint8_t *from, const item *it);                                    /* its size without padding */
uint64_t record_digest(uint64_t digest, uint64_t offset, uint64_t bytes_8_to_15);
uint64_t record_chain(uint64_t salt, uint64_t chain, const end_record *e, uint64_t digest);

/* ---------------------------------------------------------------------------------------------------------- header.c */
int  header_read(store *s, const uint8_t *base, uint64_t size);      /* static part checked and taken over.  FORMAT CORRUPT */
void header_place(store *s);                                         /* where this process sees the file */
void header_make(header *h, const uint8_t uuid[16], uint64_t generation, uint64_t base_version);
void header_set_perfect(store *s, uint64_t offset, uint64_t size, int algorithm);       /* before the file has its name */
int  header_sound(const header *h);                                  /* does the static part's checksum fit? */
uint64_t header_salt(const header *h);
int  header_trusted(const store *s, const header *h);                /* may the live part and the index be believed here? */
void header_checkpoint(store *s, const tip *t);                      /* all before t->end is on disk */
int  header_checkpoint_fits(const store *s, const checkpoint *c);
int  header_best_checkpoint(const store *s, const header *h, checkpoint *best);   /* 1 found */

/* --------------------------------------------------------------------------------------------------------- perfect.c */
int  perfect_open(store *s, const uint8_t *base, uint64_t size);     /* the header's static part was read.  CORRUPT */
int  perfect_verify(const store *s, const uint8_t *base);            /* its checksum; reads all of it.  CORRUPT */
int  perfect_within(const store *s, uint64_t log_end);               /* does a log of that length hold all of it?  CORRUPT */
uint64_t perfect_checksum(const store *s, const uint8_t *payload, uint64_t size);
int  perfect_find(const view *v, maph_slice key, uint64_t hash, item *it);       /* the frozen record of this key, superseded or not.  NOTFOUND CORRUPT */

/* ------------------------------------------------------------------------------------------------------------- log.c */
int  store_see_size(store *s, uint64_t need);                        /* look at the file's size again; CORRUPT if need is past it */
int  store_map_for_writing(store *s);
int  log_room(store *s, uint64_t to);                                /* granted, mapped, faulted in.  FULL NOMEM IOERR */
void log_trim(store *s);                                             /* give granted space that is not used back */
typedef struct log_put { int kind, flags; maph_slice key, value, media_type; uint64_t expires, version, prev; } log_put;
int  log_write_put(store *s, uint64_t offset, const log_put *put, uint64_t *size, uint64_t *bytes_8_to_15);  /* after log_room */
int  log_copy_put(store *s, uint64_t offset, const uint8_t *from, const item *it, uint64_t size, uint64_t *bytes_8_to_15);   /* after log_room; size: padding included */
int  log_write_end(store *s, uint64_t offset, end_record *e);        /* seals e's checksum */
int  log_write_pad(store *s, uint64_t from, uint64_t to);
int  log_extent(store *s, int extent, int depth, uint32_t prefix, uint64_t size, uint64_t *payload);  /* at space_end; moves `end` past it */
int  log_erase_end(store *s, uint64_t offset);                       /* an end record that must not count */

/* ----------------------------------------------------------------------------------------------------------- index.c */
/* One key that a transaction changes. */
typedef struct pending {
  uint64_t hash;
  uint64_t newest;               /* its last record in the transaction; 0: rolled back, nothing */
  uint64_t first;                /* its first */
  uint64_t base;                 /* the record its slot leads to before; 0: it has no slot */
} pending;

void index_prefetch(const view *v, uint64_t hash);
int  index_find(const view *v, maph_slice key, uint64_t hash, item *it);      /* at the snapshot, put or delete; NOTFOUND CORRUPT */
enum { INDEX_UNSETTLED = -1, INDEX_GROUP = 32 };                              /* index_get and index_hash are in find.h */
uint32_t index_get_group(const view *v, size_t n, const maph_slice *keys, maph_slice *values);  /* n <= INDEX_GROUP; mask of the unsettled */
int  index_create(store *s, uint64_t expected_keys);                          /* a new empty index; root is stored last */
int  index_reserve(store *s, pending *p, size_t n, pending *scratch);         /* sort p; split until all that is new has room.  FULL */
int  index_publish(store *s, const pending *p, size_t n, int again);          /* slots lead to the new records; again: some may already */
int  index_finish_split(store *s);                                            /* of a writer that died in it */
typedef struct index_shape { uint64_t depth, segments, bytes; } index_shape;
int  index_measure(const view *v, index_shape *shape);
/* Each slot in use, where it lies, and in which bucket of its segment. */
typedef int (*index_visit_fn)(void *arg, uint64_t slot_offset, unsigned bucket, uint64_t slot);
int  index_walk(const view *v, index_visit_fn visit, void *arg);

/* ------------------------------------------------------------------------------------------------------------ view.c */
int  view_latest(store *s, view *v);
int  view_at(store *s, uint64_t snapshot, view *v);
void snapshot_hold(maph_snapshot *x);                                /* as long as a cursor needs it */
void snapshot_let_go(maph_snapshot *x);
int  view_find(const view *v, maph_slice key, uint64_t now, int verify, item *it);     /* live at the snapshot; now 0: ask the clock if need be */
void view_for_writing(store *s, uint64_t snapshot, view *v);         /* what a writer reads; nothing is checked */
int  view_check_key(maph_slice key);
int  item_expired(const item *it, uint64_t now);

/* ------------------------------------------------------------------------------------------------------------ lock.c */
int  lock_open(store *s);                                            /* the lock file, and this process's mark in it: again, if it stayed open.  BUSY at once */
void lock_close(store *s);
int  lock_take(store *s, int timeout_ms);                            /* the turn and the lock; then the store is whole and `last` current */
void lock_give_turn(store *s);
void lock_release(store *s);                                         /* one reason less to keep the lock */
int  lock_alone(store *s);                                           /* no other process has the store open for writing; only with the lock */
void lock_leave(store *s);                                           /* count as one of them no longer; with the lock */

/* ---------------------------------------------------------------------------------------------------------- commit.c */
int  commit_begin_session(store *s);                                 /* with the lock: finish or discard what a dead writer left */
int  commit_end_sessions(store *s);                                  /* leaving: if nobody else writes, everything to disk and marked clean */
int  commit_reserve(struct maph_txn *t);                             /* all that can fail before the decision */
int  commit_decide_early(struct maph_txn *t);                        /* two-phase, full: decided and on disk, not visible */
int  commit_publish_now(struct maph_txn *t);                         /* off, normal: decided and visible; turn and lock are kept */
int  commit_finish(struct maph_txn *t);                              /* gives the turn and the lock up; visible when OK */
int  commit_abort(struct maph_txn *t);                               /* the same, and nothing of it remains */
int  commit_replay(struct maph_txn *t, uint64_t from, uint64_t limit, uint64_t chain, tip *after);   /* 1: a whole, chained transaction is there */
int  commit_wait_visible(store *s);                                  /* until nothing decided is invisible */
int  commit_conflicts(store *s, uint64_t hash);                      /* is a decided, invisible transaction changing a key of that hash? */
int  commit_sync(store *s);
int  commit_poisoned(const store *s);                                /* sets the sentence */
void commit_poison(store *s);

/* ------------------------------------------------------------------------------------------------------------- txn.c */
typedef struct savepoint { int n; uint64_t position, operations, records, bytes, digest; } savepoint;
enum { TXN_OPEN = 1, TXN_PREPARED = 2 };
struct maph_txn {
  uint32_t magic;
  int      state, durability, decided, visible, failed, copying;
  maph    *handle;
  store   *s;
  uint64_t start, position;      /* its records: [start, position) */
  uint64_t version, operations, records, bytes, digest;
  tip      before, after;        /* what it continues, and what it is once decided */
  pending *pending;              /* one a key, in order of first use until index_reserve sorts them */
  uint64_t *table;               /* upper half of the hash, 1 + place in pending; NULL while they are few */
  size_t   pendings, pending_room, table_room;
  savepoint *savepoints;
  size_t   savepoint_count, savepoint_room;
  struct maph_snapshot *snapshots;
  struct maph_txn *next;         /* decided, not yet visible */
  struct maph_txn *next_open, *previous_open;   /* of the handle */
};
struct maph_txn *txn_new(store *s);                                  /* empty, to start at s->space_end; with the turn */
void txn_free(struct maph_txn *t);
int  txn_adopt(struct maph_txn *t, const item *it);                  /* redo: note a record that is in the log already */
int  txn_copy(struct maph_txn *t, const item *it);                   /* the same operation; NOTFOUND: a delete of what is not there */
int  txn_sweep(struct maph_txn *t, maph_slice key, uint64_t now);    /* delete an expired entry; NOTFOUND: it is not (any more) */
int  txn_find(struct maph_txn *t, uint64_t position, maph_slice key, item *it);   /* as it stood at that position; put or delete */
void txn_detach_snapshots(struct maph_txn *t, uint64_t kept);        /* those that saw past `kept` are rolled back */

/* --------------------------------------------------------------------------------------------------------- recover.c */
int  recover_in_place(store *s);                                     /* with the lock: believe only the log */
int  recover_append_epoch(store *s, uint64_t at);                    /* after s->last, at that offset; everything before it is flushed */

/* ---------------------------------------------------------------------------------------------------------- create.c */
int  create_store(const char *path, const maph_options *o);          /* EXISTS */
int  create_empty(const char *path, const maph_options *o, const uint8_t uuid[16], uint64_t generation, uint64_t base_version, store **s);  /* empty, lockless, not registered */
int  create_in_memory(const uint8_t uuid[16], uint64_t generation, uint64_t base_version, uint64_t expected_keys, store **s);
void create_remove_leftover(const char *path, const os_file *model); /* of a rewrite that died */
void create_remove_lock(const char *path);                           /* no store came to that path: nor shall its lock file stay.  Under byte 2 */
char *create_beside(const char *path, const char *suffix);           /* a name; NULL no memory; os_free it */
int  create_lock_rewrite(const char *path, const os_file *model, int timeout_ms, os_file *lock);   /* byte 2 of its lock file */
void create_unlock_rewrite(os_file *lock);                            /* and close it */
int  create_format(store *s, const uint8_t uuid[16], uint64_t generation, uint64_t base_version, uint64_t expected_keys);   /* an open, empty file becomes an empty store */
int  create_may_be_named(const char *path);                          /* not as a file beside another store is */
int  create_may_write(const os_file *f, const char *path);           /* no network file system, no second name */
int  create_remove_files(const char *path, const os_file *model);    /* the store, if it is still that file, and its lock file; with byte 2 */

/* ---------------------------------------------------------------------------------------------------------- handle.c */
struct maph {
  uint64_t quick;                /* handle_quick: the hot path may be taken.  0: never (closed, or reads verify) */
  _Atomic(store *) s;
  uint32_t magic;
  unsigned fork_count;
  char    *path;                 /* as it was opened, made absolute */
  int      flags;
  maph_options options;
  pthread_mutex_t mutex;
  store  **retired;              /* generations this handle has left, pinned for the slices read from them */
  size_t   retired_count;
  struct maph_txn *open_txns;
  unsigned open_reads;           /* snapshots, cursors and feeds */
  int      rewriting;            /* a store in memory */
  int      rewrote;              /* `rewrite` tells what */
  maph_rewrite rewrite;
  _Atomic(const store *) looked_at;      /* auto_compact: not to be looked at again before committed is at look_again */
  _Atomic uint64_t look_again;
};
struct maph_snapshot {
  uint32_t magic;
  maph    *handle;
  store   *s;
  uint64_t snapshot, now, version, records;
  struct maph_txn *txn;          /* while it is open */
  int      rolled_back;
  struct maph_snapshot *next;    /* of the transaction */
  atomic_uint users;             /* its owner, until it is closed, and cursors */
};
enum { HANDLE_MAGIC = 0x6d617068, TXN_MAGIC = 0x7478, SNAPSHOT_MAGIC = 0x736e, CURSOR_MAGIC = 0x6375, CHANGES_MAGIC = 0x6368 };

extern unsigned handle_fork_count;
extern uint64_t handle_quick;                                        /* what a handle of this process says in `quick` */
static inline unsigned handle_forks(void){ return __atomic_load_n(&handle_fork_count, __ATOMIC_RELAXED); }                                          /* how often this process is the child of a fork */
int  handle_store(maph *m, store **s);                               /* the generation to use now.  MISUSE CANTOPEN */
int  handle_writer(maph *m, store **s);                              /* the same, and it may write.  READONLY */
void handle_count_read(maph *m, int by);
size_t handle_pinned(maph *m);                                       /* generations it has left and still pins */
int  handle_claim_rewrite(maph *m);                                  /* of a store in memory, which has no lock file.  1: somebody else has it */
void handle_end_rewrite(maph *m);
int  handle_replace(maph *m, store *s);                              /* of a store in memory: by a rewritten one */
void handle_note_rewrite(maph *m, const maph_rewrite *r);
int  handle_last_rewrite(maph *m, maph_rewrite *r);                  /* NOTFOUND */
void rewrite_if_due(maph *m);                                        /* after a commit: options.auto_compact */
void store_pin(store *s);
void store_unpin(store *s);
int  store_open(const char *path, int writing, const maph_options *o, store **s);
store *store_bare(const char *path, os_file *f);                       /* takes f over; nothing read, lockless, not registered.  NULL no memory */
store *store_new(const char *path);                                  /* nothing open yet.  NULL no memory */
void store_free(store *s);                                           /* one that is not registered */

#endif
