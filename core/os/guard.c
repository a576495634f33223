/*
** guard.c - pages of a store that the system gives no more, or takes no more.
**
** The kernel answers a load or store that it cannot serve with SIGBUS: the file was shortened, its
** disk fails, or it may not be written any more (chattr +i, a file system that became read-only, no
** room for a page's own block).  A program may have this library catch it (maph_guard).
**
** A STORE THAT CANNOT BE DONE.  From there on nothing more of that mapping may reach the file: a
** later store whose page can still be written would follow one that is missing.  So the handler
** puts a private mapping of the whole file in its place, in one system call.  The file is then as
** if the process had been killed at that store, of which every one is known to be harmless
** (test/crash/steps.c); and the calls under way end as they would, on pages of this process alone.
** What they did is not acknowledged: flushes and commits ask os_lost.
**
** A LOAD THAT CANNOT BE DONE reads zeros, which fail their checksum.
**
** MAPPINGS stand in a table, because a handler may neither lock nor allocate.  One that finds no
** place there is not guarded.  An entry changes only while nobody uses its mapping, or in the
** handler, so the thread that a signal interrupts finds its own as it is.
*/
#include "os/guard.h"
#include "maph.h"
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAPPINGS_MOST = 8192 };

typedef struct guarded {
  _Atomic(uint8_t *) base; /* NULL: free; CLAIMED: being filled in */
  uint64_t length;
  int fd;          /* of a writable one; else -1 */
  atomic_int lost; /* 1: not all of it is the file's */
} guarded;

static uint8_t claimed;
#define CLAIMED (&claimed)
static guarded mappings[MAPPINGS_MOST];
static atomic_uint mappings_end; /* none at or past it was ever used */
_Atomic uint64_t os_lost_count;
static struct sigaction before;
static uintptr_t page_mask;

void guard_add(uint8_t *base, uint64_t length, int fd) {
  unsigned i, end;
  for (i = 0; i < MAPPINGS_MOST; i++) {
    guarded *mapping = &mappings[i];
    uint8_t *none = NULL;
    if (!atomic_compare_exchange_strong(&mapping->base, &none, CLAIMED)) continue;
    mapping->length = length;
    mapping->fd = fd;
    atomic_store(&mapping->lost, 0);
    atomic_store(&mapping->base, base);
    end = atomic_load(&mappings_end);
    while (end <= i && !atomic_compare_exchange_weak(&mappings_end, &end, i + 1)) {}
    return;
  }
}

static guarded *mapping_of(const uint8_t *at) {
  unsigned i, end = atomic_load(&mappings_end);
  for (i = 0; i < end; i++) {
    uint8_t *base = atomic_load(&mappings[i].base);
    if (base != NULL && base != CLAIMED && at >= base && at < base + mappings[i].length)
      return &mappings[i];
  }
  return NULL;
}

void guard_drop(const uint8_t *base) {
  guarded *mapping = mapping_of(base);
  if (mapping) atomic_store(&mapping->base, NULL);
}

int os_is_lost(const uint8_t *base) {
  const guarded *mapping = base ? mapping_of(base) : NULL;
  return mapping != NULL && atomic_load(&mapping->lost);
}

/* A private mapping in the place of a shared one.  0: done */
static int make_private(guarded *mapping, uint8_t *base) {
  if (mmap(base, mapping->length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
           mapping->fd, 0)
      == MAP_FAILED)
    return -1;
#ifdef MADV_DONTDUMP
  madvise(base, mapping->length, MADV_DONTDUMP);
#endif
  return 0;
}

static int make_zeros(uint8_t *page) {
  return mmap(page, page_mask + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
              -1,
              0) == MAP_FAILED
             ? -1
             : 0;
}

/* A writable mapping that is private already meets what its file has no bytes for. */
static int serve(guarded *mapping, uint8_t *at) {
  uint8_t *base = atomic_load(&mapping->base);
  int done = -1;
  int first = !atomic_exchange(&mapping->lost, 1);
  if (mapping->fd >= 0 && first) done = make_private(mapping, base);
  if (done != 0) done = make_zeros((uint8_t *)((uintptr_t)at & ~page_mask));
  if (done == 0) atomic_fetch_add(&os_lost_count, 1);
  return done;
}

static void pass_on(int number, siginfo_t *info, void *context) {
  if ((before.sa_flags & SA_SIGINFO) && before.sa_sigaction)
    before.sa_sigaction(number, info, context);
  else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
    before.sa_handler(number);
  else
    signal(number, SIG_DFL); /* the same again ends the process */
}

static void on_sigbus(int number, siginfo_t *info, void *context) {
  int saved = errno;
  guarded *mapping = info->si_code == BUS_ADRERR ? mapping_of(info->si_addr) : NULL;
  if (mapping == NULL || serve(mapping, info->si_addr) != 0) pass_on(number, info, context);
  errno = saved;
}

static void install(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO;
  page_mask = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
  sigaction(SIGBUS, &action, &before);
}

void maph_guard(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, install);
}
