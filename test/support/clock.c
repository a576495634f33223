/*
** clock.c - a clock that can be set, for one process: LD_PRELOAD this, with MAPH_TEST_CLOCK the
** name of a file that has the seconds to add to the clock, in decimal digits.
*/
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead(void) {
  static const char *path;
  char text[32];
  ssize_t size;
  int fd;
  if (path == NULL && (path = getenv("MAPH_TEST_CLOCK")) == NULL) return 0;
  fd = open(path, O_RDONLY | O_CLOEXEC);
  size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[size > 0 ? size : 0] = 0;
  return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t id, struct timespec *now) {
  int rc = (int)syscall(SYS_clock_gettime, id, now);
  if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
  return rc;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec time;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &time);
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *to) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to) *to = now.tv_sec;
  return now.tv_sec;
}

/* Whoever waits until a time of that clock waits for a time of the real one. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
  static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  struct timespec then = *until;
  if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  then.tv_sec -= ahead();
  return real(cond, mutex, &then);
}
