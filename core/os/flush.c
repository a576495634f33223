/*
** flush.c - to the disk: ranges of a mapping, files, directories.
**
** A range is flushed with msync(MS_SYNC): on Linux that is the file's fsync for that range, disk
** cache included; fdatasync would write every dirty page of the file, sync_file_range alone would
** leave the disk's cache.
*/
#include "os/error.h"
#include "os/fault.h"
#include "os/mapping.h"
#include "os/os.h"
#include "maph.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int os_flush(uint8_t *base, const char *path, uint64_t from, uint64_t to) {
  uint64_t first = os_page_down(from), last = os_page_up(to);
  int r;
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
  from = os_page_down(from);
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
