/*
** room.c - room on the disk: asked for, granted and given back.
**
** Space is granted with fallocate, never left sparse: a store into a hole of a full disk would be
** SIGBUS.  For the same reason pages of a mapping are made writable before anything is stored
** there.  RLIMIT_FSIZE is looked at first, because running into it is a signal.
*/
#include "os/error.h"
#include "os/fault.h"
#include "os/mapping.h"
#include "os/os.h"
#include "maph.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

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

uint64_t os_size_limit(void) {
  struct rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX
                                                                                 : limit.rlim_cur;
}

int os_grow(os_file *file, const char *path, uint64_t to) {
  uint64_t limit = os_size_limit();
  int e = 0;
  if (to <= file->size) return MAPH_OK;
  if (to > limit)
    return fail(MAPH_FULL,
                "%s: cannot grow to %llu bytes: the limit on file size is %llu (ulimit -f)", path,
                (unsigned long long)to, (unsigned long long)limit);
  do
    e = SYS("fallocate", -1, fallocate(file->fd, 0, (off_t)file->size, (off_t)(to - file->size)))
                != 0
            ? errno
            : 0;
  while (e == EINTR);
  if (e == EOPNOTSUPP || e == ENOSYS) e = grow_by_writing(file, file->size, to);
  if (e)
    return fail(os_space_code(e), "%s: cannot grow to %llu bytes: %s: make room and try again",
                path, (unsigned long long)to, strerror(e));
  file->size = to;
  return MAPH_OK;
}

void os_trim(os_file *file, uint64_t to) {
  if (to < file->size && SYS("ftruncate", -1, ftruncate(file->fd, (off_t)to)) == 0) file->size = to;
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
  return fail(os_space_code(e),
              "%s: cannot fill the holes of this copy: %s: make room and try again", path,
              strerror(e));
}

/* Is a file that is open for writing closed to all writing by now?  Why; NULL: it is not. */
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
static int page_refused(const os_file *file, const char *path, uint64_t from, uint64_t to, int e) {
  const char *why = closed_to_stores(file);
  struct stat st;
  uint8_t byte;
  if (e == ENOMEM) return fail(MAPH_NOMEM, "%s: no memory for a page of it", path);
  if (fstat(file->fd, &st) == 0 && (uint64_t)st.st_size < to)
    return fail(MAPH_IOERR, "%s: the file ends at %llu: somebody shortened it", path,
                (unsigned long long)st.st_size);
  if (pread(file->fd, &byte, 1, (off_t)from) != 1)
    return fail(MAPH_IOERR, "%s: offset %llu: cannot read: %s: check the disk", path,
                (unsigned long long)from, strerror(errno));
  if (why) return fail(MAPH_IOERR, "%s: %s", path, why);
  return fail(
      MAPH_FULL,
      "%s: the disk, or a quota on it, has no room to write bytes %llu to %llu: make room and "
      "try again",
      path, (unsigned long long)from, (unsigned long long)to);
}

int os_populate(const os_file *file, const char *path, uint8_t *base, uint64_t from, uint64_t to) {
  uint64_t first = os_page_down(from), last = os_page_up(to);
#ifdef MAPH_TEST
  /* this machine's own pages are smaller: of the last one that a test asks for not all is there */
  if (os_test.page_size) last = (to + 4095) & ~UINT64_C(4095);
#endif
  if (SYS("madvise", -1, madvise(base + first, last - first, MADV_POPULATE_WRITE)) == 0
      || errno == EINVAL || errno == ENOSYS || errno == EINTR)
    return MAPH_OK;
  return page_refused(file, path, from, to, errno);
}

/* ----------------------------------------------------------------------------- how much is left */

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

/* How far a file may still grow: ulimit -f. */
static uint64_t room_below_limit(const os_file *file) {
  uint64_t limit = os_size_limit();
  struct stat st;
  if (limit == UINT64_MAX || fstat(file->fd, &st) != 0) return UINT64_MAX;
  return limit > (uint64_t)st.st_size ? limit - (uint64_t)st.st_size : 0;
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

/* What btrfs answers about itself: of linux/btrfs.h, which not every C library comes with. */
typedef struct btrfs_facts {
  uint64_t highest_device, devices;
  uint8_t id[16];
  uint8_t more[992];
} btrfs_facts;
#define BTRFS_FACTS _IOR(0x94, 31, btrfs_facts)
_Static_assert(sizeof(btrfs_facts) == 1024, "the kernel has the size in the call's number");

int os_hides_quota(const os_file *file) {
  char folder[80] = "/sys/fs/btrfs/";
  size_t i, n = strlen(folder);
  btrfs_facts facts = { 0 };
  if (ioctl(file->fd, BTRFS_FACTS, &facts) != 0) return 0;
  for (i = 0; i < sizeof facts.id; i++)
    n += (size_t)sprintf(folder + n, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
                         facts.id[i]);
  if (access(folder, F_OK) != 0) return 1; /* no /sys here */
  strcpy(folder + n, "/qgroups");
  return access(folder, F_OK) == 0;
}
