/*
** fault.c - which code the failure of a system call is; and calls that fail because a test says so.
*/
#include "os/fault.h"
#include "os/os.h"
#include "maph.h"

#include <errno.h>

#ifdef MAPH_TEST
os_test_hooks os_test;
int os_faulted(const char *call) {
  int e = os_test.fault ? os_test.fault(call) : 0;
  if (e) errno = e;
  return e;
}
#endif

int os_open_code(int e) {
  switch (e) {
    case ENOENT: return MAPH_NOTFOUND;
    case EEXIST: return MAPH_EXISTS;
    case ENOMEM: return MAPH_NOMEM;
    case ENOSPC:
    case EDQUOT: return MAPH_FULL;
    case EIO: return MAPH_IOERR;
    default: return MAPH_CANTOPEN;
  }
}

int os_space_code(int e) {
  if (e == ENOSPC || e == EDQUOT || e == EFBIG) return MAPH_FULL;
  return e == ENOMEM ? MAPH_NOMEM : MAPH_IOERR;
}
