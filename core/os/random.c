/*
** random.c - random bytes, from the system.
*/
#include "os/os.h"

#include <sys/random.h>

void os_random(void *data, size_t size) {
  uint8_t *p = data;
#ifdef MAPH_TEST
  for (; os_test.random && size > 0; size--) {
    os_test.random = os_test.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    *p++ = (uint8_t)(os_test.random >> 56);
  }
#endif
  while (size > 0) {
    ssize_t n = getrandom(p, size, 0);
    if (n > 0) {
      p += n;
      size -= (size_t)n;
    }
  }
}
