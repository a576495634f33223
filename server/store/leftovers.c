/*
** leftovers.c - what a process that was killed left behind, half made.
**
** A store, also one that is a backup, is made as NAME.maph.new by whoever holds byte 2 of
** NAME.maph.lock (core/format.h, 7).  Who makes NAME.maph again removes what is left of that, and
** so does who opens it for writing.  But the name of a backup has the time in it and never comes
** again: so when the server starts it removes what nobody makes any more.
*/
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "base/uri.h"
#include "store/leftovers.h"

enum { LOCK_REWRITE = 2 };

static const char store_ending[] = ".maph", new_ending[] = ".maph.new";
enum { NEW_ENDING = sizeof new_ending - 1 };

static bool is_new(const char *file) {
  size_t size = strlen(file);
  return size > NEW_ENDING && strcmp(file + size - NEW_ENDING, new_ending) == 0
         && store_name_valid(file, size - NEW_ENDING);
}

static bool is_there(int folder, const char *file) {
  struct stat st;
  return fstatat(folder, file, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Nobody makes a store with it, and it is the file that has the name. */
static bool take(int folder, const char *lock, int fd) {
  struct flock rewrite = { .l_type = F_WRLCK, .l_start = LOCK_REWRITE, .l_len = 1 };
  struct stat ours, named;
  return fcntl(fd, F_OFD_SETLK, &rewrite) == 0 && fstat(fd, &ours) == 0
         && fstatat(folder, lock, &named, AT_SYMLINK_NOFOLLOW) == 0 && ours.st_dev == named.st_dev
         && ours.st_ino == named.st_ino;
}

static void remove_one(int folder, const char *file) {
  char store[NAME_MAX + 1], lock[NAME_MAX + 1];
  int name = (int)(strlen(file) - NEW_ENDING), fd;
  snprintf(store, sizeof store, "%.*s%s", name, file, store_ending);
  snprintf(lock, sizeof lock, "%.*s%s.lock", name, file, store_ending);
  if (is_there(folder, store)) return;
  fd = openat(folder, lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (fd < 0) return;
  if (take(folder, lock, fd) && !is_there(folder, store)) {
    if (unlinkat(folder, file, 0) == 0) log_line("removed %s, which was never finished", file);
    unlinkat(folder, lock, 0);
  }
  close(fd);
}

void leftovers_remove(const char *folder) {
  DIR *dir = opendir(folder);
  const struct dirent *e;
  if (dir == NULL) return;
  while ((e = readdir(dir)) != NULL)
    if (is_new(e->d_name)) remove_one(dirfd(dir), e->d_name);
  closedir(dir);
}
