/*
** room.c - whether the disk of the stores' folder is full.
**
** A store grows by STEP at least.  A larger write can be refused although there is that much: then
** the disk counts as full until it has a STEP more than it had at the refusal.  Where it has MUCH,
** it was that one write that was too large.
*/
#include <stdatomic.h>
#include <sys/statvfs.h>
#include "base/options.h"
#include "base/room.h"

enum { STEP = 64 * 1024, MUCH = 16 * 1024 * 1024 };
static atomic_uint_fast64_t enough; /* after a refusal: from so many free bytes on; 0: none */

uint64_t room_free(void) {
  struct statvfs disk;
  if (statvfs(option.data, &disk) != 0 || disk.f_blocks == 0) return UINT64_MAX;
  return (uint64_t)disk.f_bavail * disk.f_frsize;
}

void room_refused(void) {
  uint64_t room = room_free();
  atomic_store(&enough, room < MUCH ? room + STEP : 0);
}

bool room_is_full(void) {
  uint64_t room = room_free(), least = atomic_load(&enough);
  if (room >= least) atomic_store(&enough, 0);
  return room < STEP || room < least;
}
