/*
** shard.c - counters that several threads raise at once.
*/
#include <stdatomic.h>
#include "base/shard.h"

unsigned shard_of_thread(void) {
  static atomic_uint next;
  static _Thread_local unsigned mine; /* and one; 0: not given yet */
  if (mine == 0) mine = atomic_fetch_add(&next, 1) % SHARDS + 1;
  return mine - 1;
}
