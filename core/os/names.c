/*
** names.c - the names of files in their directories: given, changed, removed.
*/
#include "os/error.h"
#include "os/fault.h"
#include "os/os.h"
#include "maph.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

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

void os_discard(const char *path) { (void)SYS("unlink", -1, unlink(path)); }
