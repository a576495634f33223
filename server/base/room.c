/*
** room.c - whether the disk of the stores' folder is full.
**
** A store grows by STEP at least.  A larger write can be refused although there is that much: then
** the disk counts as full until it has a STEP more than it had at the refusal.  Where it has MUCH,
** it was that one write that was too large.
*/
#include <stdatomic.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include "base/options.h"
#include "base/room.h"

enum { STEP = 64 * 1024, MUCH = 16 * 1024 * 1024 };
enum { BTRFS = 0x9123683E, ZFS = 0x2FC12FC1, BCACHEFS = 0xCA451A4E };
static atomic_uint_fast64_t enough; /* after a refusal: from so many free bytes on; 0: none */
static atomic_bool refused_delete;  /* since it became full */

uint64_t room_free(void) {
  struct statvfs disk;
  if (statvfs(option.data, &disk) != 0 || disk.f_blocks == 0) return UINT64_MAX;
  return (uint64_t)disk.f_bavail * disk.f_frsize;
}

void room_refused(void) {
  uint64_t room = room_free();
  atomic_store(&enough, room < MUCH ? room + STEP : 0);
}

void room_refused_delete(void) { atomic_store(&refused_delete, true); }

bool room_is_full(void) {
  uint64_t room = room_free(), least = atomic_load(&enough);
  bool full = room < STEP || room < least;
  if (room >= least) atomic_store(&enough, 0);
  if (!full) atomic_store(&refused_delete, false);
  return full;
}

bool room_for_deletes(void) {
  struct statfs disk;
  uint32_t kind = statfs(option.data, &disk) == 0 ? (uint32_t)disk.f_type : 0;
  return kind != BTRFS && kind != ZFS && kind != BCACHEFS && !atomic_load(&refused_delete);
}
