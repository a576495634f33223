/*
** fork.c - what the child of a fork must not keep.
**
** An open-file-description lock belongs to parent and child alike, and would last as long as the
** child lives.  So the descriptors that hold locks are closed there, whoever opened them.
*/
#include "os/fork.h"
#include "os/os.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* Descriptors that hold locks, a bit each. */
enum { LOCKING_MOST = 65536 };
static _Atomic uint64_t locking[LOCKING_MOST / 64];
static _Atomic unsigned forks;

/* relaxed: it is raised while the child has one thread. */
unsigned os_forks(void) { return atomic_load_explicit(&forks, memory_order_relaxed); }

/* relaxed: the bit of a descriptor changes by who has it; from one thread to another it goes
** through the kernel, which orders both.  Bits beside it change at once, so all stores are fetch_or
** and fetch_and. */
void os_fork_closes(int fd) {
  uint64_t bit = UINT64_C(1) << (fd & 63);
  if (fd < 0 || fd >= LOCKING_MOST) return;
  if ((atomic_load_explicit(&locking[fd / 64], memory_order_relaxed) & bit) == 0)
    atomic_fetch_or(&locking[fd / 64], bit);
}

/* relaxed: as os_fork_closes. */
void os_fork_spares(int fd) {
  uint64_t bit = UINT64_C(1) << (fd & 63);
  if (fd < LOCKING_MOST && (atomic_load_explicit(&locking[fd / 64], memory_order_relaxed) & bit))
    atomic_fetch_and(&locking[fd / 64], ~bit);
}

static void close_locks_in_child(void) {
  int i, bit;
  for (i = 0; i < LOCKING_MOST / 64; i++) {
    uint64_t word = atomic_exchange(&locking[i], 0);
    for (bit = 0; word != 0; bit++, word >>= 1)
      if (word & 1) close(i * 64 + bit);
  }
  atomic_fetch_add(&forks, 1);
}

/* The child's own comes first: what it closes is not closed again. */
void os_at_fork(void (*child)(void)) {
  pthread_atfork(NULL, NULL, child);
  pthread_atfork(NULL, NULL, close_locks_in_child);
}
