/*
** versions.c - where the versions of a new store begin.
**
** That is the time, in units of 2^-16 s: a store does not write faster than that for long.  But one
** that was restored from a backup or recovered is ahead of the time, by hours, and so may one be
** that a program in C fills; and the clock may be set back, or have lost the time with the power.
** So when a store is deleted, the version that it had is kept in the file .highest-version of the
** folder, which is on disk before the store goes: also after a restart, and by another server, its
** old ETags are not given out again.  The highest of all counts.  On a full disk the file is
** written once the store has gone.  Where it cannot be written this process knows at least.
*/
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "store/versions.h"

#define FILE_NAME ".highest-version"
enum { PATH_ROOM = 4096 };

static atomic_uint_fast64_t highest_here;
static pthread_mutex_t file_mutex = PTHREAD_MUTEX_INITIALIZER;

static void path_of(char *out, const char *ending) {
  snprintf(out, PATH_ROOM, "%s/" FILE_NAME "%s", option.data, ending);
}

static uint64_t now_version(void) { return wall_ms() * 65536 / 1000; }

static uint64_t read_file(void) {
  char path[PATH_ROOM], text[32];
  ssize_t n;
  int fd;
  path_of(path, "");
  if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) < 0) return 0;
  n = read(fd, text, sizeof text - 1);
  close(fd);
  text[n > 0 ? n : 0] = 0;
  return strtoull(text, NULL, 10);
}

static int flush_folder(void) {
  int fd = open(option.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC), failed;
  if (fd < 0) return 1;
  failed = fsync(fd) != 0;
  close(fd);
  return failed;
}

static int write_file(uint64_t version) {
  char path[PATH_ROOM], made[PATH_ROOM], text[32];
  int n = snprintf(text, sizeof text, "%llu\n", (unsigned long long)version), fd, failed;
  path_of(path, "");
  path_of(made, ".new");
  fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (fd < 0) return 1;
  failed = write(fd, text, (size_t)n) != n || fsync(fd) != 0;
  failed |= close(fd) != 0;
  if (!failed) failed = rename(made, path) != 0 || flush_folder();
  if (failed) unlink(made);
  return failed;
}

bool version_remember(uint64_t version) {
  uint64_t highest = atomic_load(&highest_here);
  bool kept;
  while (highest < version && !atomic_compare_exchange_weak(&highest_here, &highest, version)) {}
  pthread_mutex_lock(&file_mutex);
  kept = read_file() >= version || !write_file(version);
  pthread_mutex_unlock(&file_mutex);
  return kept;
}

void version_forgotten(const char *store) {
  log_line("%s/" FILE_NAME " cannot be written: after a restart a store %s may give out versions "
           "again that the deleted one had, if that was ahead of the time or the clock is set back",
           option.data, store);
}

uint64_t version_unused(void) {
  uint64_t now = now_version(), highest = atomic_load(&highest_here), kept;
  if (getenv("MAPH_TEST_FIRST_VERSION")) return 0; /* tests that count versions */
  pthread_mutex_lock(&file_mutex);
  kept = read_file();
  pthread_mutex_unlock(&file_mutex);
  if (kept > highest) highest = kept;
  return now > highest ? now : highest;
}
