/*
** maph.h - the public interface of libmaph, and its manual.
**
** maph is a key-value store in one memory-mapped file.  One writer at a time, in any process; any
** number of readers in any processes, which take no lock, write nothing and need nothing but read
** permission on the file.
**
**     maph *m;  maph_slice v;
**     if( maph_open("cache.maph", MAPH_RDWR|MAPH_CREATE, NULL, &m)==MAPH_OK ){
**       maph_put(m, maph_str("hot_key"), maph_str("value"));
**       if( maph_get(m, maph_str("hot_key"), &v)==MAPH_OK ) fwrite(v.data, 1, v.size, stdout);
**     }
**     maph_close(m);
**
** RESULTS.  Every call that can fail returns MAPH_OK (0) or a positive, stable code.
** maph_strerror(rc) names the code; maph_errmsg(m) is one sentence about the last failure of the
** calling thread: the file, the place, what to do.  A call that succeeds leaves it as it was.
**
** THREADS.  Unless a call says otherwise, any thread may use a handle at any time.  A transaction,
** a snapshot of a transaction and a cursor are for one thread at a time, but not bound to one.
** maph_refresh and maph_close need the handle to themselves.
**
** LIFETIME OF POINTERS.  A slice that a read hands out points into the mapped file.  It stays
** valid, and its bytes unchanged, until maph_refresh or maph_close of that handle (for a read
** through a snapshot or cursor: until that is closed too, at least).  The file grows, is rewritten
** and recovered without moving what was handed out.  What a transaction reads of its own writes
** stays so only until they are undone: by rollback_to, abort or a failed commit.
**
** So a handle keeps each file that it read a slice from outside snapshots, also after a rewrite put
** another in its place, until maph_refresh or maph_close.  A file that it only wrote to, or read
** through snapshots, cursors and feeds, is let go of a second after the last of these is closed.
**
** FORK.  A handle does not cross fork(): in the child every call on it, and on what was opened
** through it, returns MAPH_MISUSE, but those that close, which work.  The child may open the store
** anew.  It keeps no lock of its parent's, also when a progress callback forked it.
**
** SIGNALS.  The library catches none, unless it is asked to (maph_guard).  A full disk is
** MAPH_FULL and a failed one MAPH_IOERR, also where the file shares its blocks with a copy or was
** copied with holes.  Deletes and maph_compact then have room that puts leave them: core/limits.md
** says how much.  A stranger who truncates a file that is mapped makes reads of the lost pages
** raise SIGBUS, as for every mapping; no call of this library shortens a file that is in use below
** what is used.  Who makes it immutable in the middle of a commit makes the writer's next store
** raise SIGBUS; the file is then as after a kill.
**
** DURABILITY, per handle or per transaction, named as SQLite names it:
**   MAPH_SYNC_OFF     a commit survives the death of the process, not a power cut.
**   MAPH_SYNC_NORMAL  the same, and writing to disk is started every second or 8 MiB of commits.
**   MAPH_SYNC_FULL    a commit is on disk before the call returns and before anyone can see it.
** The file's time of modification tells of a commit at once, to the tick of the system's clock.
** Whatever the level, the file is consistent after a power cut: it holds every durable commit, and
** of the others a prefix.
** That rests on what the system promises of msync: on disk, or an error.  ext4 (seen on Linux 6.18)
** may answer that all is well for the last full commit before its own shutdown after an error.
**
** STRUCTS.  Options and ranges begin with their size: they may grow at the end, and what an older
** program does not know takes its default.  The others have none, and do not grow as long as the
** library is libmaph.so.0: it cannot know how much room an older program has for a maph_stats, say.
** What is new comes by a call of its own.
**
** LIMITS.  Keys 1..65535 bytes, values 0..4 GiB-1 bytes, any bytes; a store 8 TiB.
*/
#ifndef MAPH_H
#define MAPH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if UINTPTR_MAX != UINT64_MAX
#error "maph needs a machine of 64 bits: it maps files of up to 8 TiB"
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "maph needs a little-endian machine: so are the integers in its files"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MAPH_API __attribute__((visibility("default")))
#else
#define MAPH_API
#endif

#define MAPH_VERSION "0.1.0"

/* -------------------------------------------------------------------------------------- results */
enum {
  MAPH_OK = 0,
  MAPH_NOTFOUND = 1, /* no such key (or it expired); a cursor's end */
  MAPH_EXISTS = 2,   /* the key or file is there already, and that was not wanted */
  /* the key is not at the version asked for; a snapshot whose transaction was rolled back */
  MAPH_CONFLICT = 3,
  MAPH_BUSY = 4, /* another writer held the store for the whole busy timeout */
  /* a write through a handle that may only read; or without a version to a store whose versions are
  ** given (MAPH_VERSIONS_GIVEN) */
  MAPH_READONLY = 5,
  MAPH_FULL = 6,     /* no room: disk, quota, file-size limit, or the format's 8 TiB */
  MAPH_TOOBIG = 7,   /* key, value or media type longer than the format holds */
  MAPH_NOMEM = 8,    /* out of memory or address space */
  MAPH_IOERR = 9,    /* the operating system failed a read, write or flush */
  MAPH_CORRUPT = 10, /* the file contradicts itself at the place named */
  MAPH_FORMAT = 11,  /* not a maph file, or of a format this library does not know */
  /* the file was not closed cleanly before a power loss, or is a copy of a live one; open it for
  ** writing once */
  MAPH_RECOVER = 12,
  /* the call itself is wrong: NULL, empty key, ended transaction, handle of another process */
  MAPH_MISUSE = 13,
  /* cannot open: missing, permission, not a regular file, network file system, no lock file */
  MAPH_CANTOPEN = 14,
  /* the changes asked for are no longer in the file: read all of it, then go on from its version */
  MAPH_COMPACTED = 15,
  MAPH_CANCELLED = 16, /* a progress callback said stop, or maph_interrupt: nothing was changed */
  /* maph_increment: the value is no whole number of 64 bits, or the sum would be none */
  MAPH_MISMATCH = 17
};

MAPH_API const char *maph_strerror(int rc); /* "no such key"; never NULL, also for unknown codes */
typedef struct maph maph;
/* Of the last call that failed in this thread, whatever succeeded since; "no error" before there
** was one.  A miss of maph_get or maph_exists, and the end of a cursor, are no failures.  m may be
** NULL; valid until the next failure. */
MAPH_API const char *maph_errmsg(maph *m);
/* of the library that runs; compare with MAPH_VERSION */
MAPH_API const char *maph_version(void);

/* --------------------------------------------------------------------------------------- slices */
typedef struct maph_slice {
  const void *data;
  size_t size;
} maph_slice;
static inline maph_slice maph_bytes(const void *data, size_t size) {
  maph_slice s;
  s.data = data;
  s.size = size;
  return s;
}
static inline maph_slice maph_str(const char *z) { return maph_bytes(z, strlen(z)); }

/* What SQL or HTTP said a value is.  C callers may ignore it: the bytes are what was put.  INTEGER
** and REAL values are kept as their decimal text, NULL as no bytes. */
enum {
  MAPH_BLOB = 0,
  MAPH_TEXT = 1,
  MAPH_JSON = 2,
  MAPH_INTEGER = 3,
  MAPH_REAL = 4,
  MAPH_NULL = 5
};

/* SQL knows TEXT and BLOB keys and gets back which it was; whoever writes through C or HTTP need
** not say. */
enum { MAPH_KEY_BYTES = 0, MAPH_KEY_TEXT = 1, MAPH_KEY_BLOB = 2 };

typedef struct maph_entry {
  maph_slice key, value;
  /* of the transaction that put it: monotonic for the life of the store, below 2^48; what
  ** maph_txn_at said, where versions are given */
  uint64_t version;
  uint64_t expires; /* milliseconds since 1970; 0: never */
  int type;         /* MAPH_BLOB ... MAPH_NULL */
  /* MAPH_KEY_*: what the writer said of the key; the bytes alone make the key */
  int key_type;
  maph_slice media_type; /* what HTTP's Content-Type said, at most 255 bytes; size 0: nothing */
} maph_entry;

/* ------------------------------------------------------------------------------- open and close */
enum {
  /* map for reading: no lock, and nothing in the file or beside it is changed */
  MAPH_RDONLY = 1,
  MAPH_RDWR = 2,   /* may write too; needs the lock file NAME.lock beside the store */
  MAPH_CREATE = 4, /* with RDWR: make the store if it is missing, or of an empty file */
  MAPH_EXCL = 8    /* with CREATE: MAPH_EXISTS if it is there */
};
enum { MAPH_SYNC_DEFAULT = 0, MAPH_SYNC_OFF = 1, MAPH_SYNC_NORMAL = 2, MAPH_SYNC_FULL = 3 };
enum { MAPH_ADVISE_NORMAL = 0, MAPH_ADVISE_RANDOM = 1, MAPH_ADVISE_WILLNEED = 2 };
enum { MAPH_PERFECT_DEFAULT = 0, MAPH_PERFECT_PILOT = 1, MAPH_PERFECT_CMPH = 2 };
/* Who says which versions a store has: it counts its own transactions, or who writes to it gives
** them, because it is a copy of a source that numbers its changes, as a replica is: see maph_txn_at
*/
enum { MAPH_VERSIONS_OWN = 0, MAPH_VERSIONS_GIVEN = 1 };

typedef struct maph_options {
  /* sizeof(maph_options); what a shorter, older struct lacks takes its default */
  size_t size;
  int durability; /* MAPH_SYNC_*; default NORMAL */
  /* how long a write waits for another writer; default 5000, 0: not at all */
  int busy_timeout_ms;
  /* at creation: index of that size at once, about 16 bytes a key; 0: grow as needed; at most 2^37.
  ** FULL or NOMEM where there is no room for it */
  uint64_t expected_keys;
  int verify;      /* reads verify the record's checksum: MAPH_CORRUPT, never wrong bytes */
  int prefault;    /* read the whole file in when opening */
  int lock_memory; /* mlock the file's pages; MAPH_NOMEM if the limit forbids it */
  int advice;      /* MAPH_ADVISE_* */
  /* ask for huge pages (useful from Linux 6.x on ext4, on tmpfs with huge=advise) */
  int huge_pages;
  int mode;         /* permission bits of a new store, before umask; default 0644 */
  int perfect_hash; /* what maph_optimize builds: MAPH_PERFECT_*; default PILOT */
  /* a commit through this handle that leaves more than so many percent of the file dead compacts it
  ** before it returns, or optimizes it if it has a perfect hash, which takes as long as that call;
  ** 0: never; at most 99.  With 8 files kept for slices (LIFETIME) it waits for maph_refresh: who
  ** reads through this handle and never refreshes it reads through snapshots */
  int auto_compact;
  /* at creation: versions begin above this one; default 0, at most 2^48-2^40.  Whoever makes stores
  ** anew under names that others know gives one that no earlier store of that name can have reached
  */
  uint64_t after_version;
  int versions; /* at creation: MAPH_VERSIONS_* */
  /* at creation, where versions are given: which source they are of.  Every copy of it has this
  ** one, also backups; zeros: a random one */
  uint8_t uuid[16];
} maph_options;
#define MAPH_OPTIONS_INIT                                                                  \
  {                                                                                        \
    sizeof(maph_options), MAPH_SYNC_NORMAL, 5000, 0, 0, 0, 0, MAPH_ADVISE_NORMAL, 0, 0644, \
        MAPH_PERFECT_DEFAULT, 0, 0, MAPH_VERSIONS_OWN, {                                   \
      0                                                                                    \
    }                                                                                      \
  }

/* Open the store at path; options may be NULL.  ":memory:" is a new private store with no file.  *m
** is NULL on failure. PATH.new and PATH.lock belong to the store at PATH: none is made whose name
** ends so. Cost for reading: under a millisecond whatever the size.  Opening for writing a file
** that a power loss or a copy left unclean recovers it, which reads the whole file; never while
** another process has it open for writing.  One that has another lock file beside its path, as
** where the file alone is mounted, answers CANTOPEN to the second.
** EXISTS CANTOPEN FORMAT CORRUPT RECOVER NOMEM IOERR FULL MISUSE BUSY CANCELLED */
MAPH_API int maph_open(const char *path, int flags, const maph_options *options, maph **m);

/* Close; NULL is a harmless no-op.  Closing with open transactions aborts them; open snapshots,
** cursors and feeds must be closed first (MISUSE, and nothing is closed).  The last writer flushes
** everything and marks the file clean. */
MAPH_API int maph_close(maph *m);

/* Let go of the files that older reads keep and look at the path again, its links too: if another
** file is there now, move to it. Invalidates every slice read through this handle outside a
** snapshot. */
MAPH_API int maph_refresh(maph *m);

/* Everything committed so far is on disk when this returns.  BUSY: a rewrite was about to end, and
** did not in time.  IOERR READONLY CANTOPEN CANCELLED FULL */
MAPH_API int maph_sync(maph *m);

/* Remove the store at path: its users find it deleted at their next call (CANTOPEN).  The lock file
** goes too.  A damaged one goes too, and one that a failed flush has closed to writing; where it
** cannot be opened nobody else may have it open for writing.  FORMAT: it is no store, and stays.
** BUSY ... */
MAPH_API int maph_destroy(const char *path, int busy_timeout_ms);

/* End the calls under way that wait or take long, as sqlite3_interrupt does: each returns
** CANCELLED, has changed nothing, and has removed the files that it was making.  m NULL: those
** through every handle of this process, and those that have none: open, destroy and recover.
** Waits end within a tenth of a second: of put, delete, txn_begin, compact, optimize, open, destroy
** and recover for another writer; of who creates, rewrites, opens, copies or recovers a store for
** another who does; and of changes_next for a change.  check, compact, optimize, backup and recover
** end at their next step, and the making of a store before it gets its name; to sort, to flush, and
** to repair what a power loss left is one step each.
** An interrupt ends calls that began before it.  No flag is left to clear: a call that begins later
** is not interrupted, and with none under way nothing happens.  A call that waits for nothing, or
** is past its last step, succeeds.  Expired entries that were swept, and a repair in place, stay.
** Threads: any, and every signal handler: it is one atomic addition to memory.  m must stay open
** until this returns. */
MAPH_API void maph_interrupt(maph *m);

/* For programs that go on where a store fails: from here on the library catches SIGBUS of its own
** mappings, and passes any other on to the handler that was there.  A page that cannot be read, of
** a file that was shortened or on a disk that fails, is zeros: what lies there is CORRUPT or not
** found.  Where the file takes no more stores, because it was made immutable or its file system
** read-only or full, nothing stored from there on reaches it, as if the process had been killed.
** Either way what was acknowledged is in the file, writes to that store answer IOERR until each of
** its handles was closed and it is opened anew, and reads and other stores go on.
** Threads: any; once is enough.  Install your own handlers before. */
MAPH_API void maph_guard(void);
/* 1: that happened to the store that m uses now; NULL: to any since the program began. */
MAPH_API int maph_guarded(maph *m);

typedef struct maph_stats {
  uint64_t records;    /* live keys (expired ones count until something overwrites them) */
  uint64_t live_bytes; /* their records, headers included */
  /* of overwritten and deleted records, transaction marks, replaced index pieces: what a rewrite
  ** frees */
  uint64_t dead_bytes;
  uint64_t index_bytes;    /* of the index in use */
  uint64_t used_bytes;     /* of the file, header and index included */
  uint64_t file_bytes;     /* size of the file, room to grow included */
  uint64_t version;        /* of the last visible transaction */
  uint64_t generation;     /* how often the file was rewritten, from 1 */
  uint64_t flushed_bytes;  /* log known to be on disk */
  uint64_t segments;       /* pieces of the index */
  double load_factor;      /* keys / index slots */
  uint8_t uuid[16];        /* of the store */
  int poisoned;            /* a flush failed: no more writing until maph_recover */
  uint64_t oldest_version; /* changes since this one, and later, can be read */
  int perfect_hash;        /* MAPH_PERFECT_* that the last maph_optimize built; 0: none */
  int direct;              /* the perfect hash leads to records without a table */
  uint64_t frozen_keys;    /* keys it covers */
  /* of those, changed since, so that the ordinary index leads to them; after a writer's death
  ** perhaps off by one */
  uint64_t moved_keys;
  /* keys that came later, deleted ones included, and those too large for it: only the ordinary
  ** index knows them */
  uint64_t later_keys;
  uint64_t frozen_bytes; /* of the perfect hash and its table; also in index_bytes */
  double perfect_bits;   /* of the function alone, a key */
  uint64_t order_bytes;  /* of the order of keys in use; also in index_bytes */
  uint64_t order_runs;   /* pieces that it is in: one where it is tidy */
  int versions;          /* MAPH_VERSIONS_* */
} maph_stats;
/* as of the last commit.  Cost: one pass over the index directory */
MAPH_API int maph_stat(maph *m, maph_stats *stats);
/* 1: a commit at full is decided, on disk, and not visible.  Its writer is about to show it, or was
** killed before it could: then the next who writes shows it, an empty transaction too, or who opens
** the store, a snapshot or an entry with a handle that may write.  0: there is none, or the handle
** cannot tell.  Cost: two loads */
MAPH_API int maph_pending(maph *m);
/* The pieces that the order of keys is in, as maph_stats says: is maph_tidy worth its while?  0
** where the handle cannot tell.  Cost: a look */
MAPH_API uint64_t maph_order_runs(maph *m);

/* -------------------------------------------------------------------------------------- reading */
/* Point *value at the bytes stored under key, as of the last commit.  Threads: any, no lock.
** NOTFOUND with value->data NULL; CORRUPT.   Cost: two cache misses. */
MAPH_API int maph_get(maph *m, maph_slice key, maph_slice *value);
/* the same, with version, type, expiry */
MAPH_API int maph_get_entry(maph *m, maph_slice key, maph_entry *entry);
/* The same for a thread that may not wait: TOOBIG where the value has more than `most` bytes, of
** which none was read, not even to verify them; entry->value is then empty. */
MAPH_API int maph_get_entry_upto(maph *m, maph_slice key, uint64_t most, maph_entry *entry);
MAPH_API int maph_exists(maph *m, maph_slice key); /* MAPH_OK or NOTFOUND */

/* n gets at one snapshot, their cache misses overlapped: about three times as fast as one by one,
** nearly twice where the store is optimized.  values[i].data is NULL for a missing key and never
** NULL for a found one.  OK also when some or all are missing. */
MAPH_API int maph_get_many(maph *m, size_t n, const maph_slice *keys, maph_slice *values);

/* A snapshot is the store as of one commit, for as long as it is open.  It costs an allocation,
** holds up nobody, and reads of a key walk back over the versions put since.  Expiry is judged by
** the time the snapshot was opened. */
typedef struct maph_snapshot maph_snapshot;
MAPH_API int maph_snapshot_open(maph *m, maph_snapshot **snapshot);
MAPH_API int maph_snapshot_get(maph_snapshot *snapshot, maph_slice key, maph_slice *value);
MAPH_API int maph_snapshot_get_entry(maph_snapshot *snapshot, maph_slice key, maph_entry *entry);
MAPH_API int maph_snapshot_get_many(maph_snapshot *snapshot, size_t n, const maph_slice *keys,
                                    maph_slice *values);
/* The same with version, type and expiry: entries[i].key.data is NULL for a missing key. */
MAPH_API int maph_snapshot_get_entries(maph_snapshot *snapshot, size_t n, const maph_slice *keys,
                                       maph_entry *entries);
/* The store as of the last commit again, as if snapshot were closed and opened now, for a caller
** that does that often: a few loads where nothing was committed since. Nobody else may use snapshot
** meanwhile. MISUSE where a cursor is open on it, or it is of a transaction. After an error
** snapshot is as it was. */
MAPH_API int maph_snapshot_renew(maph_snapshot *snapshot);
MAPH_API uint64_t maph_snapshot_version(maph_snapshot *snapshot);
/* live keys, expired ones included */
MAPH_API uint64_t maph_snapshot_records(maph_snapshot *snapshot);
/* As maph_stat, of the file that the snapshot reads: records, live_bytes and version are the
** snapshot's, the rest is as it is now. */
MAPH_API int maph_snapshot_stat(maph_snapshot *snapshot, maph_stats *stats);
/* NULL: no-op.  Its cursors read on */
MAPH_API void maph_snapshot_close(maph_snapshot *snapshot);

/* Every live entry whose key begins with prefix, each once, as they lie in the file: first those
** that the last rewrite copied, then the others, in the order they were last put.  snapshot may be
** NULL: the cursor opens one and closes it.  A prefix (at most 65535 bytes: TOOBIG) narrows what is
** returned, not what is read: the cost is a pass over the log. */
typedef struct maph_cursor maph_cursor;
MAPH_API int maph_cursor_open(maph *m, maph_snapshot *snapshot, maph_slice prefix,
                              maph_cursor **cursor);
/* OK; NOTFOUND at the end; CORRUPT CONFLICT */
MAPH_API int maph_cursor_next(maph_cursor *cursor, maph_entry *entry);
/* A place to go on from later: cursor_seek on a new cursor of the same generation resumes after the
** entry last returned. */
MAPH_API uint64_t maph_cursor_tell(maph_cursor *cursor);
/* MISUSE if place cannot be one */
MAPH_API int maph_cursor_seek(maph_cursor *cursor, uint64_t place);
MAPH_API void maph_cursor_close(maph_cursor *cursor);

/* The live entries of a range of keys in the order of their bytes (as memcmp and then the length
** say), both ways.  Zeros but `size` mean all keys: begin with MAPH_RANGE_INIT. */
enum {
  MAPH_RANGE_AFTER_FROM = 1, /* without `from` itself */
  MAPH_RANGE_UP_TO = 2,      /* with `to` itself */
  MAPH_RANGE_REVERSE = 4     /* from the last key to the first */
};
typedef struct maph_range {
  /* sizeof(maph_range); what a shorter, older struct lacks is zero */
  size_t size;
  maph_slice from;   /* the first key; data NULL: from the store's first */
  maph_slice to;     /* the end, itself left out; data NULL: to the store's last */
  maph_slice prefix; /* of these, keys that begin so */
  uint64_t limit;    /* so many at most; 0: all */
  int flags;         /* MAPH_RANGE_* */
} maph_range;
#define MAPH_RANGE_INIT \
  { sizeof(maph_range), { 0, 0 }, { 0, 0 }, { 0, 0 }, 0, 0 }

/* A cursor over a range, at the snapshot (of a transaction too: with its own writes), or, where
** that is NULL, at one that it opens and closes itself.  range NULL: all keys.  from may be above
** to: then there is nothing.  Whoever may read may do this; nothing is stored in the file.
** Cost: some cache misses, and the keys that are new since this process last opened one are sorted
** once: 0.1 us each.  NOMEM CORRUPT MISUSE */
typedef struct maph_range_cursor maph_range_cursor;
MAPH_API int maph_range_open(maph *m, maph_snapshot *snapshot, const maph_range *range,
                             maph_range_cursor **cursor);
/* The entry after the one last returned, in the direction of the range; first the first.
** OK; NOTFOUND at the end, or after `limit` entries; then prev gives the last one.
** CORRUPT CONFLICT.  Cost: a cache miss, several overlapped */
MAPH_API int maph_range_next(maph_range_cursor *cursor, maph_entry *entry);
/* The entry before the one last returned.  NOTFOUND before the first; then next gives the first. */
MAPH_API int maph_range_prev(maph_range_cursor *cursor, maph_entry *entry);
/* Go to a key, there or not: next gives it or the first after it, prev the one before it, in the
** direction of the range and never outside it.  The limit counts from here. */
MAPH_API int maph_range_seek(maph_range_cursor *cursor, maph_slice key);
/* About how many entries the range has, without its limit: deleted and expired ones count until a
** rewrite.  Cost: that of two seeks */
MAPH_API uint64_t maph_range_estimate(maph_range_cursor *cursor);
MAPH_API void maph_range_close(maph_range_cursor *cursor); /* NULL: no-op */
/* Of which types the keys of a snapshot may be: 1 << MAPH_KEY_TEXT | 1 << MAPH_KEY_BLOB, or one of
** them.  A key of MAPH_KEY_BYTES is text if it is UTF-8 without a zero byte.  Keys that were
** deleted, or put again as the other type, count until a rewrite.  So who wants the keys of one
** type first, as SQL does, knows whether it has to look for the other.
** Cost: a look, and a pass over the log since the last run of keys in order, of some thousand keys;
** and nothing once both types were met.  In a file of an older library, until that is
** rewritten: a pass over the heads of the log, once in a process; then over what is new */
MAPH_API int maph_snapshot_key_types(maph_snapshot *snapshot);

/* -------------------------------------------------------------------------------------- writing */
/* Each of these is a transaction of its own, at the handle's durability.  When it returns MAPH_OK
** everyone sees it. READONLY BUSY CANCELLED FULL TOOBIG NOMEM IOERR CORRUPT MISUSE */
MAPH_API int maph_put(maph *m, maph_slice key, maph_slice value);
MAPH_API int maph_delete(maph *m, maph_slice key); /* NOTFOUND: nothing was written */

enum {
  MAPH_ALWAYS = 0,
  MAPH_IF_ABSENT = 1,  /* else MAPH_EXISTS; an expired key is absent */
  MAPH_IF_PRESENT = 2, /* else MAPH_NOTFOUND */
  MAPH_IF_VERSION = 3  /* else MAPH_CONFLICT (also when the key is missing) */
};
typedef struct maph_outcome {
  /* the version written, or, when a condition failed, the one found (0: none) */
  uint64_t version;
  int existed; /* the key was there before */
} maph_outcome;
typedef struct maph_condition {
  int when; /* MAPH_ALWAYS ... */
  /* MAPH_SYNC_*; DEFAULT: the handle's.  In a transaction the transaction's counts */
  int durability;
  uint64_t version; /* for MAPH_IF_VERSION */
  /* milliseconds since 1970; 0: never.  In the past: the entry is never seen */
  uint64_t expires;
  int type;     /* MAPH_BLOB ... */
  int key_type; /* MAPH_KEY_* */
  maph_slice media_type;
  maph_outcome *outcome; /* filled when not NULL */
} maph_condition;        /* all zero: a plain put */
MAPH_API int maph_put_if(maph *m, maph_slice key, maph_slice value,
                         const maph_condition *condition);
MAPH_API int maph_delete_if(maph *m, maph_slice key, const maph_condition *condition);

/* A counter: add to the number that the value spells in decimal, in one transaction, so that of any
** number of callers that count at once none is lost.  It is a whole number of 64 bits with a sign;
** a key that is missing, or expired, counts from 0 and becomes a MAPH_INTEGER.  What an entry that
** is there has besides, its types, media type and expiry, stays; condition (NULL: none) may set
** another expiry, and gives a new entry its media type and key type.  *sum (NULL: not wanted) is
** what the value is now.  MISMATCH, and what maph_put_if answers: nothing was changed. */
MAPH_API int maph_increment(maph *m, maph_slice key, int64_t by, const maph_condition *condition,
                            int64_t *sum);

/* A transaction of many operations: seen by others whole, at its commit, or not at all.  It holds
** the store's writer lock from begin to commit or abort (BUSY after the busy timeout), also against
** other transactions of the same thread.  It sees its own writes.  A failed operation leaves the
** transaction as it was before that operation. */
typedef struct maph_txn maph_txn;
/* MAPH_SYNC_*; DEFAULT: the handle's.  READONLY BUSY CANCELLED ... */
MAPH_API int maph_txn_begin(maph *m, int durability, maph_txn **txn);
MAPH_API int maph_txn_put(maph_txn *txn, maph_slice key, maph_slice value);
MAPH_API int maph_txn_put_if(maph_txn *txn, maph_slice key, maph_slice value,
                             const maph_condition *condition);
MAPH_API int maph_txn_increment(maph_txn *txn, maph_slice key, int64_t by,
                                const maph_condition *condition, int64_t *sum);
MAPH_API int maph_txn_delete(maph_txn *txn, maph_slice key);
MAPH_API int maph_txn_delete_if(maph_txn *txn, maph_slice key, const maph_condition *condition);
MAPH_API int maph_txn_get(maph_txn *txn, maph_slice key, maph_slice *value);
MAPH_API int maph_txn_get_entry(maph_txn *txn, maph_slice key, maph_entry *entry);
/* A hint that key is about to be put, deleted or got in the transaction: memory is asked for what
** that reads first, so that it comes while other work is done.  It changes nothing and cannot fail,
** and any key is allowed.  Worth it in large transactions where some hundred instructions lie
** between the hint and the call: SQL's INSERT of a million rows takes 7 to 10 % less
** processor time. */
MAPH_API void maph_txn_prefetch(maph_txn *txn, maph_slice key);

/* Savepoints are numbered by the caller from 0 up, as SQLite's xSavepoint does: opening number n
** forgets those >= n; rolling back to n undoes everything since and keeps n; releasing n forgets it
** and those above.  Rolling back to a number never opened undoes what came after the highest opened
** one below it, or everything. */
MAPH_API int maph_txn_savepoint(maph_txn *txn, int n);
MAPH_API int maph_txn_release(maph_txn *txn, int n);
MAPH_API int maph_txn_rollback_to(maph_txn *txn, int n);

/* The store as this transaction sees it now, its own writes so far included.  Stays readable after
** commit.  After a rollback that takes back something it saw, reading it gives MAPH_CONFLICT.
** Serialised with the transaction. */
MAPH_API int maph_txn_snapshot(maph_txn *txn, maph_snapshot **snapshot);

/* Do everything of a commit that can fail: space, index room and, at FULL, the decision and its
** flush.  After OK only commit, abort or unprepare may follow.  Commit then fails only where the
** store's file was removed or replaced since.  After an error the transaction can only be aborted.
** For two-phase commit; optional.  CANTOPEN FULL NOMEM IOERR CORRUPT MISUSE */
MAPH_API int maph_txn_prepare(maph_txn *txn);

/* Take prepare back, as when another party of a two-phase commit has to wait: the transaction goes
** on, with its savepoints.  At FULL the decision is erased, and that is on disk, before this
** returns. OK where nothing was prepared.  After an error the transaction can only be aborted.
** IOERR MISUSE */
MAPH_API int maph_txn_unprepare(maph_txn *txn);

/* Both end the transaction and free it, also when they fail.  After a failed commit nothing of it
** is visible.  Commit: CANTOPEN, the store's file was removed, or another put in its place, since
** begin; FULL NOMEM IOERR CORRUPT.  Version: what its entries have once committed; where versions
** are given, what maph_txn_at said, or 0. */
MAPH_API int maph_txn_commit(maph_txn *txn);
MAPH_API int maph_txn_abort(maph_txn *txn); /* NULL: no-op */
MAPH_API uint64_t maph_txn_version(maph_txn *txn);
/* puts and deletes so far, not rolled back */
MAPH_API uint64_t maph_txn_operations(maph_txn *txn);

/* VERSIONS GIVEN BY THE WRITER.  A store made with MAPH_VERSIONS_GIVEN is a copy of something that
** numbers its changes, such as a bucket of a message server, and its versions are those numbers:
** what a reader sees as an entry's version, in an ETag or as a place to follow changes from means
** the same in every copy, and maph_stat's version tells how far the source was read.
**
** What is put and deleted from now on, and the commit, carry this version: above that of the store,
** not below the one said before (CONFLICT), at most 2^48-1.  A rollback takes it back too.  A
** transaction that only says a version is written as well: the store is at it then.
** MISUSE: the store counts its own versions; the version is too high; prepared.
**
** What else is different there.  Every write without this call, through SQL, HTTP and the command
** line too, is answered READONLY: only who follows the source writes.  The sentence names the
** source where a file PATH.replica does, as maph-replica keeps it.  No version is passed over: a
** recovery goes on with what the disk has, and what is lost comes from the source again.  A rewrite
** leaves entries out that expired, and writes no deletes for them.  Changes can be followed since
** any version: since one that the store has not reached, they come once they are above it.  Where
** maph_recover had to leave something out, the uuid is a new one: copy the source anew. */
MAPH_API int maph_txn_at(maph_txn *txn, uint64_t version);

/* ------------------------------------------------------------------------------------ rewriting */
/* compact, optimize and backup write a new file beside the old one.  Readers and writers, in any
** process, go on meanwhile; they are moved to the new file at their next call, and what they hold
** of the old one (slices, snapshots, cursors) stays valid as LIFETIME says: its space comes back
** when the last handle that used it is refreshed or closed.  Writers wait only for the last step:
** what was committed since the step before, and the change of names. One rewrite of a store at a
** time: BUSY after the busy timeout.
**
** The new file has the old one's owner, mode, access control list, labels, extended attributes and
** flags, as they are when it takes its place.  Where one that decides about access cannot be kept
** the call fails with CANTOPEN and nothing is replaced; the loss of another is told in
** maph_rewrite.note.  A backup belongs to whoever makes it, has the store's mode, and grants
** nothing that the store's access control list does not.
**
** progress, when not NULL, is called some times a second, in the calling thread, outside every
** lock; nonzero stops the rewrite: CANCELLED, and everything is as it was.  phase is "sweep" "read"
** "hash" "write" "verify" "order" "catch up" "flush"; done and total count what the phase works on.
** "wait", with zeros: another writer, or another rewrite, has been in the way for a tenth of a
** second.  In that phase progress may read the store and not write to it; so it is in maph_tidy,
** maph_recover and maph_load_*, where they wait. */
typedef int (*maph_progress_fn)(void *arg, const char *phase, uint64_t done, uint64_t total);

/* Give the room of overwritten and deleted records back.  What is live is written in the order of
** its keys, as far as the old file is in memory, so that ranges of keys read neighbours (a backup's
** entries too).  Entries whose expiry has passed are deleted first, by transactions like any other;
** where versions are given they are left out.
** READONLY BUSY FULL NOMEM IOERR CANTOPEN CORRUPT CANCELLED */
MAPH_API int maph_compact(maph *m, maph_progress_fn progress, void *arg);

/* The same, and freeze a perfect hash over all keys, which makes reading faster and the index
** smaller.  The store stays writable: later keys, and frozen ones once they are changed, are found
** through the ordinary index, until the next optimize.  The frozen entries lie in no order. */
MAPH_API int maph_optimize(maph *m, maph_progress_fn progress, void *arg);

/* Bring the order of keys up to date and into few pieces, so that range cursors open and read
** faster: in steps of some thousand keys, between which others write.  Commits do a part of it all
** the time, and the other rewrites do all of it: this is for a time with nothing else to do.  The
** space of pieces that were put together comes back with the next rewrite.  OK where there is
** nothing to do.  progress: phase "order", done counts the steps.  READONLY BUSY FULL NOMEM IOERR
** CANTOPEN CORRUPT CANCELLED */
MAPH_API int maph_tidy(maph *m, maph_progress_fn progress, void *arg);

/* A compact, verified copy of the store as it is now, as a store of its own (with its own uuid) at
** path, where nothing may be yet: EXISTS. Entries keep their versions; the copy's own begin at the
** next multiple of 2^32, so that one put in the store's place gives none out again.  Where versions
** are given, uuid and version are the store's: the copy can follow the source on from there.  m may
** be open for reading only. */
MAPH_API int maph_backup(maph *m, const char *path, maph_progress_fn progress, void *arg);

typedef struct maph_rewrite {
  uint64_t bytes_before, bytes_after; /* size of the file */
  uint64_t records;                   /* live entries copied */
  uint64_t swept;                     /* expired entries deleted first, or left out */
  /* transactions that others committed meanwhile and that were copied too */
  uint64_t caught_up;
  uint64_t frozen_keys;
  int perfect_hash;    /* MAPH_PERFECT_*; 0: none, see note */
  int direct;          /* 1: the perfect hash leads to records without a table */
  double perfect_bits; /* a key, of the function alone */
  /* in all; and the longest that writers were locked out at one time */
  uint64_t took_ns, pause_ns;
  /* most that was allocated at one time, files and their mappings apart */
  uint64_t memory_bytes;
  char note[160]; /* what did not go as asked, as when keys were too large to freeze; "": nothing */
} maph_rewrite;
/* What the last compact, optimize or backup through this handle did.  NOTFOUND: none succeeded
** yet. */
MAPH_API int maph_rewritten(maph *m, maph_rewrite *result);

/* The store at `with` takes the name `path`, whole or not at all, under the users of the store that
** has it: every handle there, of any process, moves to it at its next call; snapshots and slices
** stay as they are.  So is a prebuilt file shipped: build it under another name in the same file
** system, then replace.  It gets mode, owner and access list of the file it replaces.  Where
** nothing is at path, it is renamed.  Nobody may have `with` open for writing.  What was written to
** the store replaced is gone with it, and feeds of it that are open end with COMPACTED.
** VERSIONS: one that somebody remembers of the store replaced, in a condition, an ETag or as a
** place to follow changes from, fits nothing else.  All versions that come are raised by one
** constant, so that they lie above those given out under that name; what was made with a higher
** `after_version` keeps them.  Where one file is a copy by cp of the other, which only went on
** since, what they have in common keeps its versions.  A feed from before is COMPACTED, or sees all
** that changed.  A file whose versions are given (MAPH_VERSIONS_GIVEN) keeps them: they are its
** source's.
** A store at path that is damaged, or that a failed flush has closed to writing, is replaced like a
** sound one.  What can be read of it tells above which versions the others lie; where nothing can,
** they stay as they are.
** BUSY: a writer of `with`, or within the time a writer or a rewrite of path.  CANTOPEN: no store
** at `with`, or another file system.  FULL: versions would pass 2^48.  FORMAT: what is at path is
** no store.  MISUSE: one file.  Else as maph_open, and IOERR FULL.  Durable when it returns. */
MAPH_API int maph_replace(const char *path, const char *with, int busy_timeout_ms);

/* -------------------------------------------------------------------------------------- loading */
/* A new store made at the speed of write(): records go into the file as they are put, the index is
** made at once when all are there.  Nobody sees it before maph_load_finish, which gives it its
** name, whole and on disk; whoever dies before leaves nothing that anybody opens.
**
** Where a key is put twice the last one counts, and the bytes of the others come back with the next
** compact.  All entries are of one version, the first after after_version (but see maph_load_at),
** and a feed from 0 tells them.  A load is for one thread at a time, and does not cross fork(). */
typedef struct maph_load maph_load;
typedef struct maph_load_options {
  size_t size;         /* sizeof(maph_load_options) */
  int mode;            /* as in maph_options */
  int busy_timeout_ms; /* for another process that makes a store of that name */
  uint64_t after_version;
  /* the index is made for as many at least: as in maph_options.  FULL from begin */
  uint64_t expected_keys;
  /* memory for 32 bytes a key; beyond it they go to a file without a name beside the store.
  ** Default and 0: 512 MiB */
  uint64_t memory_bytes;
  /* 1: as maph_optimize leaves a store.  It takes another 28 bytes a key whatever memory_bytes
  ** says, and, until it is done, room for the file twice */
  int optimize;
  int perfect_hash; /* for that: MAPH_PERFECT_* */
  /* NULL, or called from put and finish, some times a second; nonzero stops: CANCELLED.  phase is
  ** "load" "index" "read" "hash" "write" "flush" */
  maph_progress_fn progress;
  void *progress_arg;
  int versions; /* as in maph_options; given: see maph_load_at */
  uint8_t uuid[16];
  /* 1: into the store that is there, which nobody wrote to since it was made or compacted: EXISTS.
  ** It keeps its mode, its identity and its users, to whom all of the load is one transaction, its
  ** next.  Others may write to it meanwhile: then the load is committed after them, and that takes
  ** as long as a transaction of so many puts.  CANTOPEN: no store is there.  BUSY, also from
  ** finish: a writer held it for all of busy_timeout_ms.  after_version and versions are the
  ** store's own */
  int into_empty;
} maph_load_options;
#define MAPH_LOAD_OPTIONS_INIT                                                     \
  {                                                                                \
    sizeof(maph_load_options), 0644, 5000, 0, 0, 0, 0, MAPH_PERFECT_DEFAULT, 0, 0, \
        MAPH_VERSIONS_OWN, { 0 }, 0                                                \
  }

/* Begin a store at path, where nothing may be yet but an empty file: EXISTS (but see into_empty).
** options may be NULL.  *load is NULL on failure.  Until the end others who make or rewrite a store
** of that name wait: BUSY.
** CANTOPEN EXISTS BUSY CANCELLED NOMEM FULL IOERR MISUSE */
MAPH_API int maph_load_begin(const char *path, const maph_load_options *options, maph_load **load);
/* One entry; NULL, or a condition that says its expiry, types and media type (`when` is
** MAPH_ALWAYS). After TOOBIG and MISUSE the load goes on without it; after another error it can
** only be aborted. Cost: a copy, and a hash. */
MAPH_API int maph_load_put(maph_load *load, maph_slice key, maph_slice value,
                           const maph_condition *condition);
/* Where versions are given: what is put from now on, and the store when it is finished, are at this
** version; as maph_txn_at.  CONFLICT MISUSE */
MAPH_API int maph_load_at(maph_load *load, uint64_t version);
/* entries put so far */
MAPH_API uint64_t maph_load_entries(maph_load *load);
/* Both end the load and free it, also when they fail.  After a failed finish there is no store, or
** the one that was there, as it was; but where the folder's flush alone failed (IOERR) it is there,
** loaded, and its next writer flushes it again.
** EXISTS CANCELLED NOMEM FULL IOERR CANTOPEN MISUSE */
MAPH_API int maph_load_finish(maph_load *load);
MAPH_API int maph_load_abort(maph_load *load); /* NULL: no-op */

/* -------------------------------------------------------------------------------------- changes */
/* The puts and deletes since a version, in commit order, by any process that may read.  Feeds go on
** across rewrites.  A feed is for one thread at a time; several may be open. */
typedef struct maph_changes maph_changes;
typedef struct maph_change {
  /* of a delete: the key, the version; expires when the entry had expired and was swept */
  maph_entry entry;
  int deleted;
  int last; /* the transaction's last one: a place to resume from */
} maph_change;

/* Everything after the transaction of that version, whose number came from an entry, maph_stat,
** maph_snapshot_version or a change; 0: from the store's creation.  COMPACTED: a rewrite dropped
** part of it, or this store never had that version.  Where versions are given it may be any. */
MAPH_API int maph_changes_open(maph *m, uint64_t since, maph_changes **changes);

/* The next change.  Waits up to timeout_ms for one (0: not at all; negative: without end), costing
** writers nothing: NOTFOUND when none came. The slices are valid until the next call on this feed.
** COMPACTED: it fell behind by two rewrites.  CORRUPT CANTOPEN CANCELLED */
MAPH_API int maph_changes_next(maph_changes *changes, int timeout_ms, maph_change *change);
/* resume with this: the last transaction that was returned whole */
MAPH_API uint64_t maph_changes_version(maph_changes *changes);
MAPH_API void maph_changes_close(maph_changes *changes); /* NULL: no-op */

/* ------------------------------------------------------------------------------------- checking */
/* Called for each problem with its place in the file and a sentence; return nonzero to stop. */
typedef int (*maph_report_fn)(void *arg, uint64_t offset, const char *sentence);

/* Walk everything: header, every record and checksum, the chain of transactions, totals, every
** index slot both ways. As of one snapshot; writers go on.  report may be NULL.  OK: no problem;
** CORRUPT: some.  CANCELLED.  Cost: reads the whole file. */
MAPH_API int maph_check(maph *m, maph_report_fn report, void *arg);

/* The same, telling how far it is; phase is "log" "lookup" "index" "order".   CANCELLED */
MAPH_API int maph_check_progress(maph *m, maph_report_fn report, void *arg,
                                 maph_progress_fn progress, void *progress_arg);

/* Make the store at path usable again.  A file left by a power loss is repaired in place, as the
** first write would.  A poisoned or damaged one is read as far as it can be, every whole
** transaction kept in order, into a new file that takes its place; the damaged one stays beside it
** as PATH.damaged (report tells, with what was lost).  A sound store: nothing to do, OK. */
MAPH_API int maph_recover(const char *path, maph_report_fn report, void *arg);

/* The same, telling how far it is; phase is one of check's, then "salvage" while a new file is
** written: here progress is called under the store's locks, so it must not touch the store.
** CANCELLED: nothing was changed, except that a repair in place stays done. */
MAPH_API int maph_recover_progress(const char *path, maph_report_fn report, void *arg,
                                   maph_progress_fn progress, void *progress_arg);

#ifdef __cplusplus
}
#endif
#endif
