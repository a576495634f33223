/*
** os_unix.c - os.h for Linux and, where cheap, other POSIX systems.
**
** Why these calls:
**  - Space is granted with fallocate, never left sparse: a store into a hole of a full disk would
**    be SIGBUS.  RLIMIT_FSIZE is looked at first, because running into it is a signal.
**  - A range is flushed with msync(MS_SYNC): on Linux that is the file's fsync for that range, disk
**    cache included; fdatasync would write every dirty page of the file, sync_file_range alone
**    would leave the disk's cache.
**  - Locks are open-file-description locks: a reader's descriptor cannot take the exclusive one,
**    closing another descriptor of the file does not drop them as it drops POSIX locks, and the
**    kernel releases them when the process dies.
**  - No descriptor is 0, 1 or 2: a program that closed those would print into the store.
*/
#include "os/os.h"
#include "os/error.h"
#include "os/fault.h"
#include "os/guard.h"
#include "maph.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

#ifdef MAPH_TEST
os_test_hooks os_test;
int os_faulted(const char *call) {
  int e = os_test.fault ? os_test.fault(call) : 0;
  if (e) errno = e;
  return e;
}
#endif

/* What mappings are advised, populated and flushed by: 4 KiB, on some arm64 machines 16 or 64.
** relaxed: each thread that finds 0 asks, and all are told the same. */
static uint64_t page_size(void) {
  static _Atomic uint64_t known;
  uint64_t size = atomic_load_explicit(&known, memory_order_relaxed);
#ifdef MAPH_TEST
  if (os_test.page_size) return os_test.page_size;
#endif
  if (size == 0) {
    long said = sysconf(_SC_PAGESIZE);
    size = said > 0 ? (uint64_t)said : 4096;
    atomic_store_explicit(&known, size, memory_order_relaxed);
  }
  return size;
}
static uint64_t page_down(uint64_t offset) { return offset & ~(page_size() - 1); }
static uint64_t page_up(uint64_t offset) { return page_down(offset + page_size() - 1); }


/* ---------------------------------------------------------------------------------------- files */

/* Which code an errno is, when a path is opened or renamed. */
int os_open_code(int e) {
  switch (e) {
    case ENOENT: return MAPH_NOTFOUND;
    case EEXIST: return MAPH_EXISTS;
    case ENOMEM: return MAPH_NOMEM;
    case ENOSPC:
    case EDQUOT: return MAPH_FULL;
    case EIO: return MAPH_IOERR;
    default: return MAPH_CANTOPEN;
  }
}

static int space_code(int e) {
  if (e == ENOSPC || e == EDQUOT || e == EFBIG) return MAPH_FULL;
  return e == ENOMEM ? MAPH_NOMEM : MAPH_IOERR;
}

static int kind_of_file_system(unsigned long magic) {
  switch (magic) {
    case 0x6969:
    case 0x517B:
    case 0xFF534D42:
    case 0xFE534D42:
    case 0x01021997:
    case 0x65735546:
    case 0x00C36400:
    case 0x73757245:
    case 0x5346414F:
    case 0x6B414653:
    case 0x0BD00BD0:
    case 0x786F4256:
    case 0x47504653:
    case 0x7461636F:
      /* NFS SMB CIFS SMB2 9p FUSE Ceph Coda AFS AFS Lustre vboxsf GPFS OCFS2 */
      return OS_NETWORK;
    case 0x9123683E:
    case 0x2FC12FC1:
    case 0xCA451A4E: return OS_COPY_ON_WRITE; /* btrfs ZFS bcachefs */
    case 0x01021994:
    case 0x858458F6:
    case 0x958458F6: return OS_MEMORY; /* tmpfs ramfs hugetlbfs */
    case 0xEF53: return OS_LOCAL;      /* ext2 ext3 ext4 */
    default: return OS_SHARING;        /* XFS, overlays of it, and what is not known */
  }
}

static void look_at_file_system(os_file *file) {
  struct statfs b;
  unsigned long magic = fstatfs(file->fd, &b) == 0 ? (unsigned long)b.f_type & 0xFFFFFFFFul : 0;
  file->file_system = magic ? kind_of_file_system(magic) : OS_LOCAL;
#ifdef MAPH_TEST
  if (os_test.file_system) file->file_system = os_test.file_system - 1;
#endif
  file->layered = magic == 0x794C7630; /* overlay */
}

int os_above_standard(int fd) {
  int high;
  if (fd < 0 || fd > 2) return fd;
  high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  close(fd);
  return high;
}

/* What a path or, where that is empty, a descriptor leads to, by one call. */
typedef struct status {
  uint64_t device, inode, size, links, born; /* born: in ns, 0 where that is not known */
  unsigned mode, owner, group;
} status;

static int plain_status(int fd, const char *path, int flags, status *out) {
  struct stat st;
  if (fstatat(fd, path, &st, flags) != 0) return -1;
  *out = (status){ st.st_dev, st.st_ino, (uint64_t)st.st_size, st.st_nlink, 0, st.st_mode,
                   st.st_uid, st.st_gid };
  return 0;
}

static int status_of(int fd, const char *path, status *out) {
  int flags = path[0] ? 0 : AT_EMPTY_PATH;
#ifdef STATX_BTIME
  struct statx sx;
  if (statx(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &sx) == 0) {
    *out = (status){ makedev(sx.stx_dev_major, sx.stx_dev_minor),
                     sx.stx_ino,
                     sx.stx_size,
                     sx.stx_nlink,
                     0,
                     sx.stx_mode,
                     sx.stx_uid,
                     sx.stx_gid };
    if (sx.stx_mask & STATX_BTIME)
      out->born = (uint64_t)sx.stx_btime.tv_sec * 1000000000u + sx.stx_btime.tv_nsec;
    return 0;
  }
  if (errno == ENOENT) return -1;
#endif
  return plain_status(fd, path, flags, out); /* an old kernel, or one that forbids the other */
}

/* On overlayfs a file keeps device and inode when its first writer makes it a copy of its own; its
** time of birth is the copy's.  So that is a part of `device`, which is only ever compared. */
static uint64_t device_of(const status *status) {
  return status->device ^ status->born * UINT64_C(0x9E3779B97F4A7C15);
}

static int identify(int fd, const char *path, uint64_t *device, uint64_t *inode) {
  status status;
  if (SYS("stat", -1, status_of(fd, path, &status)) != 0) return errno;
  *device = device_of(&status);
  *inode = status.inode;
  return 0;
}

static int take_status(os_file *file, const char *path) {
  status status;
  if (SYS("fstat", -1, status_of(file->fd, "", &status)) != 0)
    return fail(MAPH_IOERR, "%s: cannot read its status: %s", path, strerror(errno));
  if (!S_ISREG(status.mode)) {
    return fail(MAPH_CANTOPEN,
                "%s: not a regular file (a directory, pipe or device): name a store's file", path);
  }
  file->device = device_of(&status);
  file->inode = status.inode;
  file->size = status.size;
  file->links = status.links;
  file->mode = status.mode & 07777;
  file->owner = status.owner;
  file->group = status.group;
  return MAPH_OK;
}

int os_status(os_file *file, const char *path) {
  int rc = take_status(file, path);
  if (rc == MAPH_OK) look_at_file_system(file);
  return rc;
}

/* A writer may make the file its own between open and status: then the descriptor leads to the file
** below, and the status is the copy's.  Twice that cannot happen. */
static int open_layered(const char *path, os_file *file) {
  uint64_t device = 0, inode = 0;
  int e = identify(AT_FDCWD, path, &device, &inode), fd;
  if (e == 0) {
    fd = SYS("open", -1, open(path, O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_RDONLY));
    fd = os_above_standard(fd);
    if (fd < 0) e = errno;
  }
  if (e) return fail(os_open_code(e), "%s: cannot open: %s", path, strerror(e));
  close(file->fd);
  file->fd = fd;
  e = os_status(file, path);
  if (e == MAPH_OK && (file->device != device || file->inode != inode))
    return open_layered(path, file);
  return e;
}

int os_open(const char *path, int how, unsigned mode, os_file *file) {
  int rc, flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (how & OS_WRITE ? O_RDWR : O_RDONLY)
                  | (how & OS_NEW ? O_CREAT | O_EXCL | O_NOFOLLOW : 0);
  memset(file, 0, sizeof *file);
  file->fd = SYS("open", -1, open(path, flags, mode));
  file->fd = os_above_standard(file->fd);
  file->writable = (how & OS_WRITE) != 0;
  if (file->fd < 0) {
    int e = errno;
    if (e == EISDIR || e == ENXIO)
      return fail(MAPH_CANTOPEN, "%s: not a regular file: name a store's file", path);
    if (e == EACCES || e == EPERM || e == EROFS) {
      return fail(MAPH_CANTOPEN,
                  "%s: no permission to open it for %s (%s): change its mode or owner%s", path,
                  how & OS_WRITE ? "writing" : "reading", strerror(e),
                  how & OS_WRITE ? ", or open it read-only" : "");
    }
    return fail(os_open_code(e), "%s: cannot open: %s", path, strerror(e));
  }
  rc = os_status(file, path);
  if (rc == MAPH_OK && file->layered && !file->writable) rc = open_layered(path, file);
  if (rc != MAPH_OK) {
    os_close(file);
    if (how & OS_NEW) unlink(path);
  }
  return rc;
}

/* Descriptors that hold locks, a bit each.  A child of fork would hold the locks too, for as long
** as it lives: they are closed there, whoever opened them. */
enum { LOCKING_MOST = 65536 };
static _Atomic uint64_t locking[LOCKING_MOST / 64];
static _Atomic unsigned forks;

/* relaxed: it is raised while the child has one thread. */
unsigned os_forks(void) { return atomic_load_explicit(&forks, memory_order_relaxed); }

/* relaxed: the bit of a descriptor changes by who has it; from one thread to another it goes
** through the kernel, which orders both.  Bits beside it change at once, so all stores are fetch_or
** and fetch_and. */
static void hold_lock(int fd) {
  uint64_t bit = UINT64_C(1) << (fd & 63);
  if (fd < 0 || fd >= LOCKING_MOST) return;
  if ((atomic_load_explicit(&locking[fd / 64], memory_order_relaxed) & bit) == 0)
    atomic_fetch_or(&locking[fd / 64], bit);
}

/* relaxed: as hold_lock. */
static void hold_no_lock(int fd) {
  uint64_t bit = UINT64_C(1) << (fd & 63);
  if (fd < LOCKING_MOST && (atomic_load_explicit(&locking[fd / 64], memory_order_relaxed) & bit))
    atomic_fetch_and(&locking[fd / 64], ~bit);
}

static void close_locks_in_child(void) {
  int i, bit;
  for (i = 0; i < LOCKING_MOST / 64; i++) {
    uint64_t word = atomic_exchange(&locking[i], 0);
    for (bit = 0; word != 0; bit++, word >>= 1)
      if (word & 1) close(i * 64 + bit);
  }
  atomic_fetch_add(&forks, 1);
}

enum { LOCK_TRIES = 100 };

static int make_lock(const char *path, const os_file *store) {
  unsigned mode = os_lock_mode(store);
  os_file made = { .fd = -1 };
  made.fd = SYS("open", -1,
                open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, mode));
  if (made.fd < 0) return -1;
  if (fchown(made.fd, store->owner, store->group) != 0
      || fchmod(made.fd, mode) != 0) { /* not the store's owner: what umask gave will do */
  }
  os_lock_like(&made, store);
  return made.fd;
}

/* Most often it is there. */
static int open_or_make_lock(const char *path, const os_file *store) {
  int fd = SYS("open", -1, open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  return fd < 0 && errno == ENOENT ? make_lock(path, store) : fd;
}

static int no_lock_file(const char *path, int e) {
  int rc = os_open_code(e);
  if (rc == MAPH_FULL || rc == MAPH_NOMEM || rc == MAPH_IOERR || e == EMFILE || e == ENFILE)
    return fail(rc, "%s: cannot make or open the lock file, which every writer needs: %s", path,
                strerror(e));
  return fail(MAPH_CANTOPEN,
              "%s: cannot open the lock file, which every writer needs (%s): give this user write "
              "permission on it and its folder, or open the store read-only",
              path, strerror(e));
}

int os_open_lock(const char *path, const os_file *store, os_file *file) {
  int rc, tries = 0;
  memset(file, 0, sizeof *file);
  do /* somebody makes it between the two */
    file->fd = os_above_standard(open_or_make_lock(path, store));
  while (file->fd < 0 && errno == EEXIST && ++tries < LOCK_TRIES);
  if (file->fd < 0) return no_lock_file(path, errno);
  file->writable = file->is_lock = 1;
  file->forks = os_forks();
  rc = take_status(file, path);
  if (rc == MAPH_OK
      && (file->links > 1
          || (file->owner != store->owner && file->owner != geteuid() && file->owner != 0))) {
    rc = fail(MAPH_CANTOPEN,
              "%s: this lock file belongs to a stranger or has a second name: remove it while no "
              "writer runs",
              path);
  }
  if (rc != MAPH_OK) os_close(file);
  return rc;
}

void os_close(os_file *file) {
  if (file->fd >= 0 && !(file->is_lock && file->forks != os_forks())) {
    hold_no_lock(file->fd);
    close(file->fd);
  }
  file->fd = -1;
}

int os_identity(const char *path, uint64_t *device, uint64_t *inode) {
  int e = identify(AT_FDCWD, path, device, inode);
  return e ? fail(os_open_code(e), "%s: %s", path, strerror(e)) : MAPH_OK;
}

int os_is_there(const char *path) {
  uint64_t device, inode;
  return identify(AT_FDCWD, path, &device, &inode) == 0;
}

int os_links(const os_file *file, const char *path, uint64_t *links) {
  struct stat st;
  if (SYS("fstat", -1, fstat(file->fd, &st)) != 0)
    return fail(MAPH_IOERR, "%s: cannot read its status: %s", path, strerror(errno));
  *links = st.st_nlink;
  return MAPH_OK;
}

int os_size(const os_file *file, uint64_t *size) {
  struct stat st;
  if (SYS("fstat", -1, fstat(file->fd, &st)) != 0)
    return fail(MAPH_IOERR, "cannot read a store's size: %s", strerror(errno));
  *size = (uint64_t)st.st_size;
  return MAPH_OK;
}

/* --------------------------------------------------------------------------- space and mappings */

/* For file systems without fallocate: write the zeros. */
static int grow_by_writing(os_file *file, uint64_t from, uint64_t to) {
  static const uint8_t zeros[16384];
  while (from < to) {
    size_t n = to - from < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
    ssize_t w = SYS("pwrite", -1, pwrite(file->fd, zeros, n, (off_t)from));
    if (w < 0 && errno == EINTR) continue;
    if (w <= 0) return w < 0 ? errno : ENOSPC;
    from += (uint64_t)w;
  }
  return 0;
}

int os_grow(os_file *file, const char *path, uint64_t to) {
  struct rlimit limit;
  int e = 0;
  if (to <= file->size) return MAPH_OK;
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY
      && to > limit.rlim_cur) {
    return fail(MAPH_FULL,
                "%s: cannot grow to %llu bytes: the limit on file size is %llu (ulimit -f)", path,
                (unsigned long long)to, (unsigned long long)limit.rlim_cur);
  }
  do
    e = SYS("fallocate", -1, fallocate(file->fd, 0, (off_t)file->size, (off_t)(to - file->size)))
                != 0
            ? errno
            : 0;
  while (e == EINTR);
  if (e == EOPNOTSUPP || e == ENOSYS) e = grow_by_writing(file, file->size, to);
  if (e)
    return fail(space_code(e), "%s: cannot grow to %llu bytes: %s: make room and try again", path,
                (unsigned long long)to, strerror(e));
  file->size = to;
  return MAPH_OK;
}

/* Of a file in memory, which is on no disk: growing it would end in processes that are killed. */
static int memory_has_room(const char *path, uint64_t to) {
  struct sysinfo machine;
  uint64_t memory;
  if (sysinfo(&machine) != 0) return MAPH_OK;
  memory = ((uint64_t)machine.totalram + machine.totalswap) * machine.mem_unit;
  if (to <= memory) return MAPH_OK;
  return fail(MAPH_NOMEM, "%s: cannot grow to %llu bytes: this machine has %llu bytes of memory",
              path, (unsigned long long)to, (unsigned long long)memory);
}

int os_room(const os_file *file, const char *path, uint64_t to) {
  struct statvfs disk;
  uint64_t room;
  /* growing it will tell */
  if (to <= file->size || SYS("fstatvfs", -1, fstatvfs(file->fd, &disk)) != 0) return MAPH_OK;
  if (disk.f_blocks == 0) return memory_has_room(path, to);
  room = (uint64_t)disk.f_bavail * disk.f_frsize;
  if (room >= to - file->size) return MAPH_OK;
  return fail(
      MAPH_FULL,
      "%s: cannot grow to %llu bytes: the disk has room for %llu more: make room and try again",
      path, (unsigned long long)to, (unsigned long long)room);
}

void os_trim(os_file *file, uint64_t to) {
  if (to < file->size && SYS("ftruncate", -1, ftruncate(file->fd, (off_t)to)) == 0) file->size = to;
}

int os_map(const os_file *file, const char *path, uint64_t length, int writable, uint8_t **base) {
  void *p = SYS("mmap", MAP_FAILED,
                mmap(NULL, length, PROT_READ | (writable ? PROT_WRITE : 0),
                     MAP_SHARED | MAP_NORESERVE, file->fd, 0));
  *base = NULL;
  if (p == MAP_FAILED) {
    if (errno == ENODEV)
      return fail(MAPH_CANTOPEN,
                  "%s: this kind of file cannot be mapped into memory: name a store's file", path);
    return fail(errno == ENOMEM || errno == EINVAL || errno == EAGAIN ? MAPH_NOMEM : MAPH_IOERR,
                "%s: cannot map %llu bytes: %s", path, (unsigned long long)length, strerror(errno));
  }
#ifdef MADV_DONTDUMP
  madvise(p, length, MADV_DONTDUMP);
#endif
  guard_add(p, length, writable ? file->fd : -1);
  *base = p;
  return MAPH_OK;
}

void os_unmap(uint8_t *base, uint64_t length) {
  if (base == NULL) return;
  guard_drop(base);
  munmap(base, length);
}

/* Whoever may write a file to which nobody may write now: the kernel says so.  NULL: nothing. */
static const char *closed_to_stores(const os_file *file) {
  struct statvfs disk;
#ifdef STATX_ATTR_IMMUTABLE
  struct statx sx;
  if (statx(file->fd, "", AT_EMPTY_PATH, 0, &sx) == 0 && (sx.stx_attributes & STATX_ATTR_IMMUTABLE))
    return "it was made immutable while it was open: take that back (chattr -i)";
#endif
  if (fstatvfs(file->fd, &disk) == 0 && (disk.f_flag & ST_RDONLY))
    return "its file system became read-only: check the disk";
  return NULL;
}

int os_takes_stores(const os_file *file, const char *path) {
  const char *why = closed_to_stores(file);
  return why ? fail(MAPH_IOERR, "%s: %s", path, why) : MAPH_OK;
}

/* The disk is full, or gone: a page of the file cannot be made writable. */
static int page_refused(const os_file *file, const char *path, uint64_t from, uint64_t to) {
  const char *why = closed_to_stores(file);
  struct stat st;
  uint8_t byte;
  if (fstat(file->fd, &st) == 0 && (uint64_t)st.st_size < to)
    return fail(MAPH_IOERR, "%s: the file ends at %llu: somebody shortened it", path,
                (unsigned long long)st.st_size);
  if (pread(file->fd, &byte, 1, (off_t)from) != 1)
    return fail(MAPH_IOERR, "%s: offset %llu: cannot read: %s: check the disk", path,
                (unsigned long long)from, strerror(errno));
  if (why) return fail(MAPH_IOERR, "%s: %s", path, why);
  return fail(MAPH_FULL,
              "%s: the disk has no room to write bytes %llu to %llu: make room and try again", path,
              (unsigned long long)from, (unsigned long long)to);
}

int os_populate(const os_file *file, const char *path, uint8_t *base, uint64_t from, uint64_t to) {
  uint64_t first = page_down(from), last = page_up(to);
  if (SYS("madvise", -1, madvise(base + first, last - first, MADV_POPULATE_WRITE)) == 0
      || errno == EINVAL || errno == ENOSYS || errno == EINTR)
    return MAPH_OK;
  return errno == ENOMEM ? fail_memory(last - first) : page_refused(file, path, from, to);
}

int os_fill_holes(const os_file *file, const char *path, uint64_t to) {
  int e;
#ifdef SEEK_HOLE
  off_t hole = lseek(file->fd, 0, SEEK_HOLE);
  if (hole >= 0 && (uint64_t)hole >= to) return MAPH_OK;
#endif
  do e = SYS("fallocate", -1, fallocate(file->fd, 0, 0, (off_t)to)) != 0 ? errno : 0;
  while (e == EINTR);
  if (e == 0 || e == EOPNOTSUPP || e == ENOSYS) return MAPH_OK;
  return fail(space_code(e), "%s: cannot fill the holes of this copy: %s: make room and try again",
              path, strerror(e));
}

/* How far a file may still grow: ulimit -f. */
static uint64_t room_below_limit(const os_file *file) {
  struct rlimit limit;
  struct stat st;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY
      || fstat(file->fd, &st) != 0)
    return UINT64_MAX;
  return limit.rlim_cur > (uint64_t)st.st_size ? limit.rlim_cur - (uint64_t)st.st_size : 0;
}

uint64_t os_free_room(const os_file *file) {
  struct statvfs disk;
  uint64_t limit, room;
  uint8_t byte;
#ifdef MAPH_TEST
  if (os_test.free_room) return os_test.free_room;
#endif
  if (pread(file->fd, &byte, 1, 0) < 0) return 0;
  limit = room_below_limit(file);
  if (fstatvfs(file->fd, &disk) != 0 || disk.f_blocks == 0) return limit;
  room = (uint64_t)disk.f_bavail * disk.f_frsize;
  return room < limit ? room : limit;
}

int os_advise(uint8_t *base, uint64_t length, int advice, int huge) {
  if (advice == MAPH_ADVISE_RANDOM) madvise(base, length, MADV_RANDOM);
  if (advice == MAPH_ADVISE_WILLNEED) madvise(base, length, MADV_WILLNEED);
  if (huge) madvise(base, length, MADV_HUGEPAGE);
  return MAPH_OK;
}

int os_lock_memory(uint8_t *base, uint64_t length) {
  if (SYS("mlock", -1, mlock(base, length)) == 0) return MAPH_OK;
  return fail(MAPH_NOMEM, "cannot lock %llu bytes in memory: %s: raise the limit (ulimit -l)",
              (unsigned long long)length, strerror(errno));
}

void os_prefault(const uint8_t *base, uint64_t length) {
  madvise((void *)(uintptr_t)base, length, MADV_WILLNEED);
#ifdef MADV_POPULATE_READ
  madvise((void *)(uintptr_t)base, length, MADV_POPULATE_READ);
#endif
}

void os_read_ahead(const uint8_t *base, uint64_t from, uint64_t to) {
#ifdef MADV_POPULATE_READ
  from = page_down(from);
  madvise((void *)(uintptr_t)(base + from), to - from, MADV_POPULATE_READ);
#else
  (void)base;
  (void)from;
  (void)to;
#endif
}

int os_is_resident(const uint8_t *base, uint64_t offset) {
  unsigned char in = 0;
  void *page = (void *)(uintptr_t)(base + page_down(offset));
  return SYS("mincore", -1, mincore(page, 1, &in)) == 0 && (in & 1);
}

/* To others the kernel says of each page that it is. */
int os_sees_residency(const os_file *file) { return file->writable || file->owner == geteuid(); }

uint64_t os_memory(void) {
  long pages = sysconf(_SC_PHYS_PAGES);
  return pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

void os_touch(const os_file *file, uint64_t offset, char byte) {
  if (pwrite(file->fd, &byte, 1, (off_t)offset) != 1) return; /* it stays as it was */
}

int os_write(const os_file *file, const char *path, uint64_t offset, const void *data,
             size_t size) {
  const uint8_t *p = data;
  while (size > 0) {
    ssize_t w = SYS("pwrite", -1, pwrite(file->fd, p, size, (off_t)offset));
    if (w < 0 && errno == EINTR) continue;
    if (w <= 0)
      return fail(space_code(w < 0 ? errno : ENOSPC), "%s: offset %llu: cannot write: %s", path,
                  (unsigned long long)offset, strerror(w < 0 ? errno : ENOSPC));
    p += w;
    offset += (uint64_t)w;
    size -= (size_t)w;
  }
  return MAPH_OK;
}

int os_read(const os_file *file, const char *path, uint64_t offset, void *data, size_t size) {
  uint8_t *p = data;
  while (size > 0) {
    ssize_t n = SYS("pread", -1, pread(file->fd, p, size, (off_t)offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return fail(MAPH_IOERR, "%s: offset %llu: cannot read: %s", path, (unsigned long long)offset,
                  n < 0 ? strerror(errno) : "the file ends there");
    p += n;
    offset += (uint64_t)n;
    size -= (size_t)n;
  }
  return MAPH_OK;
}

/* ---------------------------------------------------------------------------------- to the disk */

int os_flush(uint8_t *base, const char *path, uint64_t from, uint64_t to) {
  uint64_t first = page_down(from), last = page_up(to);
  int r;
  if (os_lost(base))
    return fail(MAPH_IOERR, "%s: stores to it did not reach the file: open it again", path);
  do r = SYS("msync", -1, msync(base + first, last - first, MS_SYNC));
  while (r != 0 && errno == EINTR);
  if (r != 0) {
    return fail(
        MAPH_IOERR,
        "%s: bytes %llu to %llu could not be flushed to disk (%s): the store is closed to writing; "
        "when the disk is sound again, run `maph recover`",
        path, (unsigned long long)from, (unsigned long long)to, strerror(errno));
  }
#ifdef MAPH_TEST
  if (os_test.flush) os_test.flush(base, first, last);
#endif
  return MAPH_OK;
}

int os_flush_file(const os_file *file, const char *path) {
  int r;
  do r = SYS("fdatasync", -1, fdatasync(file->fd));
  while (r != 0 && errno == EINTR);
  if (r != 0) {
    return fail(MAPH_IOERR,
                "%s: could not be flushed to disk (%s): the store is closed to writing; "
                "when the disk is sound again, run `maph recover`",
                path, strerror(errno));
  }
#ifdef MAPH_TEST
  if (os_test.flush) os_test.flush(NULL, (uint64_t)file->fd, 0);
#endif
  return MAPH_OK;
}

void os_start_writeback(const os_file *file, uint64_t from, uint64_t to) {
  from = page_down(from);
  sync_file_range(file->fd, (off_t)from, (off_t)(to - from), SYNC_FILE_RANGE_WRITE);
}

/* Who may write a folder need not be allowed to read it, and descriptors may be used up: then the
** whole file system is flushed, which the file is on. */
int os_flush_directory(const char *path, const os_file *file) {
  char *folder = os_folder_of(path);
  int fd, failed, rc = MAPH_OK;
  if (folder == NULL) return fail_memory(strlen(path));
  fd = SYS("open", -1, open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  failed = fd < 0 ? SYS("syncfs", -1, syncfs(file->fd)) : SYS("fsync", -1, fsync(fd));
  if (failed != 0) {
    rc = fail(MAPH_IOERR, "%s: the folder could not be flushed to disk: %s", folder,
              strerror(errno));
  }
  if (fd >= 0) close(fd);
  free(folder);
  return rc;
}

static int on_another(const char *from, const char *to) {
  return fail(MAPH_CANTOPEN, "%s: is on another file system than %s: copy it beside that first",
              from, to);
}

int os_rename_new(const char *from, const char *to) {
  long r =
      SYS("rename", -1, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE));
  if (r != 0 && (errno == EINVAL || errno == ENOSYS)) {
    r = link(from, to);
    if (r == 0) unlink(from);
  }
  if (r != 0 && errno == EXDEV) return on_another(from, to);
  if (r != 0)
    return fail(os_open_code(errno), "%s: cannot give the new store its name: %s", to,
                strerror(errno));
  return MAPH_OK;
}

int os_rename(const char *from, const char *to) {
  if (SYS("rename", -1, rename(from, to)) == 0) return MAPH_OK;
  if (errno == EBUSY)
    return fail(MAPH_CANTOPEN,
                "%s: this file is mounted by itself, so that no new one can take its place: mount "
                "its folder",
                to);
  if (errno == EXDEV) return on_another(from, to);
  return fail(os_open_code(errno), "%s: cannot be renamed to %s: %s", from, to, strerror(errno));
}

int os_link(const char *path, const char *other) {
  if (SYS("link", -1, link(path, other)) != 0)
    return fail(os_open_code(errno), "%s: cannot be kept as %s: %s", path, other, strerror(errno));
  return MAPH_OK;
}

int os_missing(const char *path) {
  struct stat st;
  return SYS("stat", -1, stat(path, &st)) != 0 && errno == ENOENT;
}

int os_remove(const char *path) {
  if (SYS("unlink", -1, unlink(path)) != 0 && errno != ENOENT)
    return fail(os_open_code(errno), "%s: cannot be removed: %s", path, strerror(errno));
  return MAPH_OK;
}

/* ---------------------------------------------------------------------------------------- locks */

static struct flock byte_lock(short type, uint64_t byte, uint64_t length) {
  struct flock l;
  memset(&l, 0, sizeof l);
  l.l_type = type;
  l.l_whence = SEEK_SET;
  l.l_start = (off_t)byte;
  l.l_len = (off_t)length;
  return l;
}

int os_lock(const os_file *file, uint64_t byte, int exclusive) {
  struct flock l = byte_lock(exclusive ? F_WRLCK : F_RDLCK, byte, 1);
  int r;
  do r = SYS("fcntl", -1, fcntl(file->fd, F_OFD_SETLK, &l));
  while (r != 0 && errno == EINTR);
  if (r == 0) hold_lock(file->fd);
  if (r == 0) return 1;
  if (errno == EAGAIN || errno == EACCES) return 0;
  return -fail(MAPH_IOERR, "a lock on byte %llu cannot be had: %s", (unsigned long long)byte,
               strerror(errno));
}

void os_unlock(const os_file *file, uint64_t byte) {
  struct flock l = byte_lock(F_UNLCK, byte, 1);
  if (file->is_lock && file->forks != os_forks()) return;
  fcntl(file->fd, F_OFD_SETLK, &l);
}

int os_locked(const os_file *file, uint64_t byte) {
  struct flock l = byte_lock(F_WRLCK, byte, 1);
  return fcntl(file->fd, F_OFD_GETLK, &l) != 0 || l.l_type != F_UNLCK;
}

/* Asked as if for a shared lock: only an exclusive one stands in its way. */
int os_write_locked(const os_file *file, uint64_t from, uint64_t length) {
  struct flock l = byte_lock(F_RDLCK, from, length);
  return fcntl(file->fd, F_OFD_GETLK, &l) == 0 && l.l_type == F_WRLCK;
}

/* ------------------------------------------------------------------- random bytes, fork, memory */

void os_random(void *data, size_t size) {
  uint8_t *p = data;
#ifdef MAPH_TEST
  for (; os_test.random && size > 0; size--) {
    os_test.random = os_test.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    *p++ = (uint8_t)(os_test.random >> 56);
  }
#endif
  while (size > 0) {
    ssize_t n = getrandom(p, size, 0);
    if (n > 0) {
      p += n;
      size -= (size_t)n;
    }
  }
}

/* The child's own comes first: what it closes is not closed again. */
void os_at_fork(void (*child)(void)) {
  pthread_atfork(NULL, NULL, child);
  pthread_atfork(NULL, NULL, close_locks_in_child);
}

/* Of small pieces malloc keeps some for each thread, and its calloc looks past these. */
void *os_alloc(size_t size) {
  enum { SMALL = 1024 };
  void *p = SYS("malloc", NULL, size <= SMALL ? malloc(size) : calloc(1, size));
  if (p == NULL) fail_memory(size);
  if (p && size <= SMALL) memset(p, 0, size);
  return p;
}

void *os_alloc_table(size_t size) {
  const size_t large = (size_t)2 << 20;
  uint8_t *p = os_alloc(size), *first;
  if (p == NULL || size < 2 * large) return p;
  first = p + (large - (uintptr_t)p % large) % large;
  madvise(first, (size - (size_t)(first - p)) / large * large, MADV_HUGEPAGE);
  return p;
}

void *os_realloc(void *old, size_t size) {
  void *p = SYS("malloc", NULL, realloc(old, size));
  if (p == NULL) fail_memory(size);
  return p;
}

void os_free(void *p) { free(p); }
