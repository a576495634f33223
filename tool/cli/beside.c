/*
** beside.c - a file written beside the name that it is to have, so that it appears whole or not at
** all.
**
** The file being written for TARGET is TARGET.maph-part, and whoever writes it holds a lock (flock)
** on it.  The lock goes with its process: a TARGET.maph-part that nobody holds is what a killed
** export left, and the next one removes it.  Whoever has locked the file looks whether the name
** still leads to it, since another may have removed it in between.  The lock covers a store of the
** name TARGET.maph-part.store too.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "cli.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

static bool leads_to(const char *path, int fd) {
  struct stat a, b;
  return lstat(path, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Remove what a dead one left.  False: said why it stays. */
static bool remove_leftover(const char *path, const char *target) {
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  bool gone = fd < 0 && errno == ENOENT;
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) gone = !leads_to(path, fd) || unlink(path) == 0;
  if (!gone && fd >= 0 && errno == EWOULDBLOCK)
    complain("%s: another export is writing it", target);
  else if (!gone)
    complain("cannot remove %s, where %s is to be written: %s", path, target, strerror(errno));
  if (fd >= 0) close(fd);
  return gone;
}

/* The descriptor of a new file that is locked; -1: said why. */
static int make(const char *path, const char *target) {
  for (;;) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && leads_to(path, fd)) return fd;
    if (fd >= 0)
      close(fd); /* another took it for a leftover before it was locked */
    else if (errno != EEXIST) {
      complain("cannot make a file beside %s: %s", target, strerror(errno));
      return -1;
    } else if (!remove_leftover(path, target))
      return -1;
    if (stop_asked()) return -1;
  }
}

static char *with_ending(const char *target, const char *ending) {
  char *name = malloc(strlen(target) + strlen(ending) + 1);
  if (name) stpcpy(stpcpy(name, target), ending);
  return name;
}

static void remove_store(const char *store) {
  static const char *const endings[] = { "", ".lock", ".new" };
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
    char *name = with_ending(store, endings[i]);
    if (name) unlink(name);
    free(name);
  }
}

bool beside_open(beside *beside, const char *target) {
  beside->target = strdup(target);
  beside->path = with_ending(target, ".maph-part");
  beside->store = with_ending(target, ".maph-part.store");
  beside->fd = -1;
  if (beside->target == NULL || beside->path == NULL || beside->store == NULL)
    complain("out of memory");
  else
    beside->fd = make(beside->path, target);
  if (beside->fd >= 0) {
    stop_removes(beside->path);
    remove_store(beside->store);
    return true;
  }
  free(beside->path);
  beside->path = NULL;
  beside_drop(beside);
  return false;
}

/* Not every C library has renameat2. */
static int rename_to_nothing(const char *from, const char *to) {
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

bool beside_take_name(beside *beside, bool replace) {
  int rc = replace ? rename(beside->path, beside->target)
                   : rename_to_nothing(beside->path, beside->target);
  /* a file system without it */
  if (rc != 0 && !replace && errno == EINVAL && (rc = link(beside->path, beside->target)) == 0)
    unlink(beside->path);
  if (rc != 0) {
    complain("cannot give %s its name: %s", beside->target, strerror(errno));
    return false;
  }
  stop_removes(NULL);
  free(beside->path);
  beside->path = NULL;
  return true;
}

void beside_drop(beside *beside) {
  stop_removes(NULL);
  if (beside->path) remove_store(beside->store);
  if (beside->path) unlink(beside->path);
  if (beside->fd >= 0) close(beside->fd);
  free(beside->target);
  free(beside->path);
  free(beside->store);
  memset(beside, 0, sizeof *beside);
}
