/*
** file.c - files: opened, read, written and closed.
**
** No descriptor is 0, 1 or 2: a program that closed those would print into the store.
*/
#include "os/error.h"
#include "os/fault.h"
#include "os/fork.h"
#include "os/os.h"
#include "os/status.h"
#include "maph.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int os_above_standard(int fd) {
  int high;
  if (fd < 0 || fd > 2) return fd;
  high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  close(fd);
  return high;
}

/* A writer may make the file its own between open and status: then the descriptor leads to the file
** below, and the status is the copy's.  Twice that cannot happen. */
static int open_layered(const char *path, os_file *file) {
  uint64_t device = 0, inode = 0;
  int e = os_look(path, &device, &inode), fd;
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

void os_close(os_file *file) {
  if (file->fd >= 0 && !(file->is_lock && file->forks != os_forks())) {
    os_fork_spares(file->fd);
    close(file->fd);
  }
  file->fd = -1;
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
      return fail(os_space_code(w < 0 ? errno : ENOSPC), "%s: offset %llu: cannot write: %s", path,
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
