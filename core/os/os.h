/*
** os.h - what the store asks of the operating system: files, mappings, flushes, locks, clocks,
** memory.
**
** It is one interface, and the files of os/ implement it for Linux and, where cheap, other POSIX
** systems: each section below names its file.  Only they include the system's headers for these.
** Calls that return int give MAPH_OK or a code whose sentence is set.  Every call and every
** allocation can be made to fail by a test build (os_test below).
*/
#ifndef MAPH_OS_H
#define MAPH_OS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* ---------------------------------------------------------------------------------------- files */

/* os_open: how.  OS_NEW: must not exist, no link followed */
enum { OS_READ = 1, OS_WRITE = 2, OS_NEW = 4 };
/* What kind of file system.  OS_SHARING: files may share blocks, or it is not known; until a page
** is written anew a store into it needs room. */
enum { OS_LOCAL, OS_MEMORY, OS_COPY_ON_WRITE, OS_NETWORK, OS_SHARING };

typedef struct os_file {
  int fd; /* -1: none.  Never 0, 1 or 2 */
  int writable;
  uint64_t device, inode, size, links;
  unsigned mode, owner, group;
  int file_system; /* OS_LOCAL ... */
  int layered;     /* the first who opens it for writing puts a copy in its place (overlayfs) */
  int is_lock;     /* a lock file's: a child of fork has it no more */
  unsigned forks;  /* os_forks() when it was opened */
} os_file;

/* -- file.c */
/* regular files only, never blocks.  NOTFOUND EXISTS CANTOPEN IOERR */
int os_open(const char *path, int how, unsigned mode, os_file *file);
void os_close(os_file *file);  /* releases its locks unless a fork shares them */
int os_above_standard(int fd); /* the same file by a descriptor above 2; -1 stays -1 */
int os_write(const os_file *file, const char *path, uint64_t offset, const void *data, size_t size);
int os_read(const os_file *file, const char *path, uint64_t offset, void *data, size_t size);
/* set its time of modification: that byte is there already */
void os_touch(const os_file *file, uint64_t offset, char byte);

/* -- unnamed.c */
int os_open_memory(os_file *file); /* an unnamed file in memory */
/* one in the folder of path; it goes when closed */
int os_open_unnamed(const char *path, os_file *file);

/* -- status.c */
/* size, links, mode and owner, as they are now */
int os_status(os_file *file, const char *path);
int os_identity(const char *path, uint64_t *device,
                uint64_t *inode);  /* of the file now at path.  NOTFOUND CANTOPEN */
int os_is_there(const char *path); /* as far as can be told */
/* another file than this one is at path, for certain; leaves maph_errmsg alone */
int os_is_another(const char *path, const os_file *file);
int os_size(const os_file *file, uint64_t *size);
/* names that it has now */
int os_links(const os_file *file, const char *path, uint64_t *links);

/* -- attributes.c */
/* Give `to`, the file at path, the owner, mode, access control list, labels, extended attributes
** and flags of `from`.  What decides about access is kept or the call fails: CANTOPEN FULL.  The
** rest is kept or said in note, unless there is one already. */
int os_keep_attributes(const char *path, os_file *to, const os_file *from, char *note,
                       size_t note_size);
/* its mode where an access control list does not apply: never wider than the list */
unsigned os_plain_mode(const os_file *file);
/* the mode of the lock file of such a store */
unsigned os_lock_mode(const os_file *store);
/* let those who may write the store, and nobody else, lock it.  store->fd -1: its mode alone
** counts */
void os_lock_like(const os_file *lock, const os_file *store);

/* ------------------------------------------------------------------------ directories and names */

/* -- path.c */
char *os_folder_of(const char *path); /* of its last part.  NULL: no memory.  Caller frees */
int os_absolute(const char *path, char **absolute); /* links as they are.  Caller frees */
/* absolute, links followed; the last part may be missing.  Caller frees */
int os_resolve(const char *path, char **resolved);

/* -- names.c */
int os_rename_new(const char *from, const char *to); /* EXISTS if `to` is there */
int os_rename(const char *from, const char *to);
int os_link(const char *path, const char *other); /* a second name.  EXISTS */
/* nothing is there, for certain; leaves maph_errmsg alone */
int os_missing(const char *path);
int os_remove(const char *path); /* OK when it is not there */
/* the same after a failure, or where none matters: leaves maph_errmsg alone */
void os_discard(const char *path);

/* ----------------------------------------------------------------------------- disk and memory */

/* -- room.c */
/* has the disk what it takes to grow to `to` bytes?  FULL */
int os_room(const os_file *file, const char *path, uint64_t to);
/* grant real space up to `to` bytes.  FULL IOERR */
int os_grow(os_file *file, const char *path, uint64_t to);
/* how large a file may be: ulimit -f.  UINT64_MAX: no limit.  To write past it is a signal */
uint64_t os_size_limit(void);
/* give unused space back; failing is harmless */
void os_trim(os_file *file, uint64_t to);
/* May the file be written at all, as far as it can be told?  IOERR */
int os_takes_stores(const os_file *file, const char *path);
/* fault pages of the file, mapped at base, in for writing, beforehand.  FULL NOMEM IOERR */
int os_populate(const os_file *file, const char *path, uint8_t *base, uint64_t from, uint64_t to);
/* below `to`.  FULL IOERR */
int os_fill_holes(const os_file *file, const char *path, uint64_t to);
/* of its disk, or below the limit on the file's size, in bytes; 0 if that cannot be read;
** UINT64_MAX: it does not tell */
uint64_t os_free_room(const os_file *file);
/* May a quota leave less than that, and statvfs not tell?  On btrfs, if quotas are on (qgroups), or
** if /sys, which says so, is not there. */
int os_hides_quota(const os_file *file);

/* -- mapping.c */
int os_map(const os_file *file, const char *path, uint64_t length, int writable, uint8_t **base);
void os_unmap(uint8_t *base, uint64_t length);
int os_advise(uint8_t *base, uint64_t length, int advice, int huge);
int os_lock_memory(uint8_t *base, uint64_t length);
void os_prefault(const uint8_t *base, uint64_t length);
/* into the page cache, with all the kernel reads ahead */
void os_read_ahead(const uint8_t *base, uint64_t from, uint64_t to);
/* Is that byte of a file mapped there in memory?  0 also where the kernel cannot tell. */
int os_is_resident(const uint8_t *base, uint64_t offset);
/* may this process see that of the file? */
int os_sees_residency(const os_file *file);

/* -- guard.c */
extern __attribute__((visibility("hidden"))) _Atomic uint64_t os_lost_count;
int os_is_lost(const uint8_t *base);
/* Is the mapping that begins there no longer the file's, because that had no page to read, or took
** no more stores?  relaxed: the thread that lost it counted it; others may see it later, when they
** commit. */
static inline int os_lost(const uint8_t *base) {
  return __builtin_expect(atomic_load_explicit(&os_lost_count, memory_order_relaxed) != 0, 0)
         && os_is_lost(base);
}

/* -- flush.c */
/* that range, to the disk, before returning */
int os_flush(uint8_t *base, const char *path, uint64_t from, uint64_t to);
int os_flush_file(const os_file *file, const char *path);
void os_start_writeback(const os_file *file, uint64_t from, uint64_t to);
/* Of the file at path; `file` is open, and on the same file system. */
int os_flush_directory(const char *path, const os_file *file);

/* -- memory.c */
void *os_alloc(size_t size);       /* zeroed; NULL with MAPH_NOMEM's sentence set */
void *os_alloc_spare(size_t size); /* the same for what can be done without: no sentence */
/* the same, for a table that is used all over: in large pages where it is long */
void *os_alloc_table(size_t size);
void *os_realloc(void *p, size_t size);
void os_free(void *p);
uint64_t os_memory(void); /* bytes of it that the machine has, or 0 */

/* -------------------------------------------------------------------------- locks and processes */

/* -- locks.c */
/* the lock file at path: made if missing, for those who may write store */
int os_open_lock(const char *path, const os_file *store, os_file *file);
/* Locks on bytes of the lock file, owned by its descriptor.  os_lock: 1 got it, 0 another has it,
** <0 failed (sentence set). */
enum {
  LOCK_WRITER = 0,
  LOCK_PRESENT = 1,
  LOCK_REWRITE = 2,
  LOCK_LENT = 3, /* file/reserve.c */
  LOCK_IDENTITY = 16
};
int os_lock(const os_file *file, uint64_t byte, int exclusive);
void os_unlock(const os_file *file, uint64_t byte);
int os_locked(const os_file *file, uint64_t byte); /* does another descriptor hold it? */
/* Does another descriptor, which must then be one for writing, hold one of those exclusively? */
int os_write_locked(const os_file *file, uint64_t from, uint64_t length);

/* -- fork.c */
/* Call this in the child of each fork; there, descriptors that hold locks are closed. */
void os_at_fork(void (*child)(void));
unsigned os_forks(void); /* how often this process is the child of such a fork */

/* -- place.c */
/* Where this process runs.  boot: zeros when the system does not tell. */
typedef struct os_place {
  uint8_t boot[64];
  uint64_t mount;
  int failed; /* errno why the boot is not known, where that may pass; else 0 */
} os_place;
void os_place_of(const os_file *file, os_place *place);
/* A mark in the kernel's own inode, which no power loss, umount or eviction leaves.  1: it is
** there.  os_set_hint: 1 done, 0 not allowed, or not known here. */
int os_hint(const os_file *file);
int os_set_hint(const os_file *file, int on);

/* --------------------------------------------------------------------------------- time, chance */

/* -- time.c */
uint64_t os_time_ms(void); /* since 1970 */
uint64_t os_time_ns(void); /* since 1970 */
/* Since 1970, in seconds; cheap, some milliseconds behind. */
static inline uint64_t os_time_cheap_s(void) {
#ifdef MAPH_TEST
  return (os_time_ms() - 10) / 1000;
#else
  return (uint64_t)time(NULL);
#endif
}
uint64_t os_clock_ns(void);        /* monotonic, the same for all processes */
uint64_t os_clock_coarse_ms(void); /* monotonic, cheap, some milliseconds behind */
void os_sleep_us(unsigned us);
static inline void os_relax(void) { /* in a loop that waits for another core */
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
/* until those 4 bytes, in a shared mapping, are not `seen`, or woken, or late */
void os_wait(const void *at, uint32_t seen, uint64_t timeout_us);
void os_wake(const void *at); /* all who wait there */

/* -- random.c */
void os_random(void *data, size_t size);

/* ---------------------------------------------------------------------------------- test builds */

#ifdef MAPH_TEST
/* What a test build may put in the way.  All zero: nothing. */
typedef struct os_test_hooks {
  /* before a store to log, index or header */
  void (*store)(const uint8_t *base, uint64_t offset, size_t size);
  /* after a flush that succeeded; base NULL: whole file, of `fd` in from */
  void (*flush)(const uint8_t *base, uint64_t from, uint64_t to);
  int (*fault)(const char *call); /* errno to fail this call with, or 0 */
  uint64_t boot;                  /* changes the identity of this boot */
  int hint;                       /* 1: the kernel knows no hints, 2: every file has one */
  int64_t time_ms;                /* added to the clock */
  uint64_t now_ns;                /* the time instead of the clock's */
  uint64_t random;                /* state of the random numbers instead of the system's */
  uint64_t reserve;               /* address space to map for a file, instead of 64 GiB */
  int file_system;                /* OS_* + 1: pretend */
  uint64_t page_size;             /* instead of the system's */
  uint64_t coarse_ms;             /* added to os_clock_coarse_ms */
  uint64_t free_room;             /* of the disk, instead of what it says */
  /* at a place of that name, where another thread may come first */
  void (*pause)(const char *where);
  uint64_t leaf; /* entries in a leaf of the order of keys; 0: as many as in a shipped build */
} os_test_hooks;
enum { OS_TEST_NO_BOOT = 0xFFFF };
extern os_test_hooks os_test;
#define OS_TEST_STORE(base, offset, size)                       \
  do {                                                          \
    if (os_test.store) os_test.store((base), (offset), (size)); \
  } while (0)
#define OS_TEST_PAUSE(where)                 \
  do {                                       \
    if (os_test.pause) os_test.pause(where); \
  } while (0)
#else
#define OS_TEST_STORE(base, offset, size) ((void)0)
#define OS_TEST_PAUSE(where) ((void)0)
#endif

#endif
