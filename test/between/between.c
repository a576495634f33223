/*
** between.c - what another process does between two calls of a request, and what a request flushes:
** linked into a server of its own, $build/between/maph-server.
**
** While the file that MAPH_TEST_BETWEEN names is there, the next cursor that the server opens comes
** after a compaction of the store whose path stands in it; then that file is removed.  To the file
** that MAPH_TEST_FLUSHED names the path of each file and folder is appended that fsync succeeded
** for.  While the file is there that MAPH_TEST_CLOCK names, the wall clock is an hour ahead: who
** has computed a deadline by it waits an hour longer once the file is gone, as on a clock that is
** set back.
*/
#include "maph.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int __real_maph_cursor_open(maph *m, maph_snapshot *snapshot, maph_slice prefix,
                            maph_cursor **cursor);
int __wrap_maph_cursor_open(maph *m, maph_snapshot *snapshot, maph_slice prefix,
                            maph_cursor **cursor);
int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd) {
  const char *log = getenv("MAPH_TEST_FLUSHED");
  char link[40], line[4096];
  int rc = __real_fsync(fd), out;
  ssize_t n;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (rc != 0 || log == NULL || (n = readlink(link, line, sizeof line - 1)) < 0) return rc;
  line[n] = '\n';
  out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (out < 0 || write(out, line, (size_t)n + 1) != n + 1) abort();
  close(out);
  return rc;
}

enum { AHEAD_S = 3600 };
int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
time_t __wrap_time(time_t *seconds);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t) {
  const char *ahead = getenv("MAPH_TEST_CLOCK");
  int rc = __real_clock_gettime(clock, t);
  if (rc == 0 && clock == CLOCK_REALTIME && ahead && access(ahead, F_OK) == 0) t->tv_sec += AHEAD_S;
  return rc;
}

time_t __wrap_time(time_t *seconds) {
  struct timespec t;
  __wrap_clock_gettime(CLOCK_REALTIME, &t);
  if (seconds) *seconds = t.tv_sec;
  return t.tv_sec;
}

static void compact(const char *path) {
  maph *m;
  if (maph_open(path, MAPH_RDWR, NULL, &m) != MAPH_OK || maph_compact(m, NULL, NULL) != MAPH_OK)
    abort();
  maph_close(m);
}

int __wrap_maph_cursor_open(maph *m, maph_snapshot *snapshot, maph_slice prefix,
                            maph_cursor **cursor) {
  const char *order = getenv("MAPH_TEST_BETWEEN");
  FILE *f = order ? fopen(order, "re") : NULL;
  char path[4096];
  if (f) {
    if (fscanf(f, "%4095s", path) != 1 || unlink(order) != 0) abort();
    fclose(f);
    compact(path);
  }
  return __real_maph_cursor_open(m, snapshot, prefix, cursor);
}
