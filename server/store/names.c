/*
** names.c - what lies under the name of a store and is none.
**
** Links are not followed: nothing outside the folder is reachable, neither read nor removed.
*/
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/names.h"

enum { PATH_ROOM = 4096 + 8 };

const char *name_occupant(const char *path) {
  struct stat st;
  if (lstat(path, &st) != 0 || S_ISREG(st.st_mode)) return NULL;
  switch (st.st_mode & S_IFMT) {
    case S_IFLNK: return "a symbolic link";
    case S_IFDIR: return "a folder";
    case S_IFIFO: return "a pipe";
    case S_IFSOCK: return "a socket";
    default: return "a device";
  }
}

int name_clear(const char *path) {
  struct stat st;
  if (lstat(path, &st) != 0) return errno;
  if (S_ISREG(st.st_mode)) return EEXIST;
  if (S_ISDIR(st.st_mode)) return rmdir(path) == 0 ? 0 : errno;
  return unlink(path) == 0 ? 0 : errno;
}

int name_remove_file(const char *path) {
  char lock[PATH_ROOM];
  struct stat st;
  if (lstat(path, &st) != 0) return errno;
  if (!S_ISREG(st.st_mode)) return EEXIST;
  if (unlink(path) != 0) return errno;
  snprintf(lock, sizeof lock, "%s.lock", path);
  if (lstat(lock, &st) == 0 && S_ISREG(st.st_mode)) unlink(lock);
  return 0;
}
