/*
** folder.c - the folders that stores live in: making, removing, weighing them, and waiting for the
** disk.
*/
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
  (void)st;
  (void)kind;
  (void)where;
  return remove(path);
}

void folder_remove(const char *folder) {
  nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void folder_make(const char *folder) {
  folder_remove(folder);
  if (mkdir(folder, 0755)) fail("cannot make the folder %s: %s", folder, strerror(errno));
}

static uint64_t weighed_bytes, weighed_blocks; /* nftw hands its callback no argument */

static int weigh_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
  (void)path;
  (void)where;
  if (kind == FTW_F) {
    weighed_bytes += (uint64_t)st->st_size;
    weighed_blocks += (uint64_t)st->st_blocks;
  }
  return 0;
}

void folder_sizes(const char *folder, uint64_t *bytes, uint64_t *on_disk) {
  weighed_bytes = weighed_blocks = 0;
  nftw(folder, weigh_one, 16, FTW_PHYS | FTW_MOUNT);
  *bytes = weighed_bytes;
  *on_disk = weighed_blocks * 512;
}

void folder_settle(const char *folder) {
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || syncfs(fd)) fail("cannot flush %s: %s", folder, strerror(errno));
  close(fd);
}

static int evict_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
  (void)st;
  (void)where;
  int fd = kind == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return 0;
  if (fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
    fail("cannot evict %s: %s", path, strerror(errno));
  close(fd);
  return 0;
}

void folder_evict(const char *folder) { nftw(folder, evict_one, 16, FTW_PHYS | FTW_MOUNT); }

int folder_in_memory(const char *folder) {
  enum { TMPFS = 0x01021994, RAMFS = 0x858458f6 };
  struct statfs fs;
  return statfs(folder, &fs) == 0
         && ((unsigned)fs.f_type == TMPFS || (unsigned)fs.f_type == (unsigned)RAMFS);
}
