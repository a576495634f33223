/*
** time.c - clocks, sleeping, and waiting until a word of a mapped file changes.
*/
#include "os/os.h"
#include "os/fault.h"

#include <errno.h>
#include <limits.h>
#if defined(__linux__)
#include <linux/futex.h>
#endif
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_of(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t os_time_ns(void) {
#ifdef MAPH_TEST
  if (os_test.now_ns) return os_test.now_ns;
#endif
  return clock_of(CLOCK_REALTIME);
}
uint64_t os_clock_ns(void) { return clock_of(CLOCK_MONOTONIC); }
uint64_t os_clock_coarse_ms(void) {
  uint64_t now = clock_of(CLOCK_MONOTONIC_COARSE) / 1000000u;
#ifdef MAPH_TEST
  now += os_test.coarse_ms;
#endif
  return now;
}

uint64_t os_time_ms(void) {
  uint64_t now = os_time_ns() / 1000000u;
#ifdef MAPH_TEST
  now += (uint64_t)os_test.time_ms;
#endif
  return now;
}

/* A futex is found by file and place, so that waiting needs no more than a mapping for reads. */
void os_wait(const void *at, uint32_t seen, uint64_t timeout_us) {
#if defined(__linux__)
  struct timespec t = { (time_t)(timeout_us / 1000000), (long)(timeout_us % 1000000) * 1000 };
  if (SYS("futex", -1, syscall(SYS_futex, at, FUTEX_WAIT, seen, &t, NULL, 0)) != 0
      && errno != EAGAIN && errno != ETIMEDOUT && errno != EINTR)
    os_sleep_us((unsigned)timeout_us);
#else
  (void)at;
  (void)seen;
  os_sleep_us((unsigned)timeout_us);
#endif
}

void os_wake(const void *at) {
#if defined(__linux__)
  syscall(SYS_futex, at, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
#else
  (void)at;
#endif
}

void os_sleep_us(unsigned us) {
  struct timespec t = { us / 1000000u, (long)(us % 1000000u) * 1000 };
  nanosleep(&t, NULL);
}
