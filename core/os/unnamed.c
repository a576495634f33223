/*
** unnamed.c - files that have no name: in memory, and on disk for work that goes when it is done.
*/
#include "os/error.h"
#include "os/fault.h"
#include "os/os.h"
#include "maph.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int os_open_memory(os_file *file) {
  int rc;
  memset(file, 0, sizeof *file);
  file->fd = os_above_standard(SYS("memfd_create", -1, memfd_create("maph", MFD_CLOEXEC)));
  if (file->fd < 0)
    return fail(errno == ENOMEM ? MAPH_NOMEM : MAPH_CANTOPEN,
                ":memory:: cannot make a file in memory: %s", strerror(errno));
  file->writable = 1;
  rc = os_status(file, ":memory:");
  if (rc != MAPH_OK) os_close(file);
  file->file_system = OS_MEMORY;
  return rc;
}

/* Where the file system has no files without a name, one is taken from it at once. */
static int open_and_unlink(const char *path) {
  char name[PATH_MAX];
  int fd = -1;
  if (snprintf(name, sizeof name, "%s.spill", path) >= (int)sizeof name) {
    errno = ENAMETOOLONG;
    return -1;
  }
  fd = SYS("open", -1, open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (fd >= 0) unlink(name);
  return fd;
}

int os_open_unnamed(const char *path, os_file *file) {
  char *folder = os_folder_of(path);
  int rc;
  memset(file, 0, sizeof *file);
  file->fd = -1;
  if (folder == NULL) return fail_memory(strlen(path));
#ifdef O_TMPFILE
  file->fd = SYS("open", -1, open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
#endif
  if (file->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT))
    file->fd = open_and_unlink(path);
  file->fd = os_above_standard(file->fd);
  free(folder);
  if (file->fd < 0)
    return fail(os_open_code(errno), "%s: cannot make a file for its work beside it: %s", path,
                strerror(errno));
  file->writable = 1;
  rc = os_status(file, path);
  if (rc != MAPH_OK) os_close(file);
  return rc;
}
