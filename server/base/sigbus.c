/*
** sigbus.c - what happens when a stranger shortens a file that is mapped.
**
** Touching a page that the file no longer has raises SIGBUS, which would end the server and with it
** every other store.  The handler maps a page of zeros there instead: a read then finds a record
** that fails its checksum and answers corrupt.  A write into such a page would be lost in silence,
** so from then on no write is acknowledged, to any store, until a restart: which file it was cannot
** be told from an address.
**
** The handler makes one system call and one atomic store.  It touches only what the kernel said has
** no file behind it (BUS_ADRERR); any other SIGBUS is a fault of ours and ends the process as ever.
*/
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/sigbus.h"

static atomic_bool happened;
static uintptr_t page_mask;

static void on_sigbus(int number, siginfo_t *info, void *context) {
  int saved = errno;
  void *page = (void *)((uintptr_t)info->si_addr & ~page_mask);
  (void)context;
  if (info->si_code != BUS_ADRERR
      || mmap(page, page_mask + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
              -1, 0)
             == MAP_FAILED) {
    signal(number, SIG_DFL);
  }
  atomic_store(&happened, true);
  errno = saved;
}

bool sigbus_guard(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO;
  page_mask = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
  return sigaction(SIGBUS, &action, NULL) == 0;
}

bool sigbus_happened(void) { return atomic_load(&happened); }
