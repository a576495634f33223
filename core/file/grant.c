/*
** grant.c - room for stores into pages that the file has had for long: header, index, links.
**
** A store into a mapped page can need new blocks although the file was granted its space:
**
**   - in a copy that left holes (cp --sparse): everywhere
**   - in a file whose blocks are shared with a copy (cp on XFS and btrfs, snapshots): once a page
**   - where each write goes to a new place (btrfs, ZFS, bcachefs): again and again
**
** Where the disk is full such a store is SIGBUS.  So holes are filled when a session begins.  On
** file systems of the other two kinds the pages that a commit is going to store to are made
** writable before it is decided (madvise, which fails politely), and once more when a flush came
** between the decision and the stores.  While the disk has plenty of room this is skipped: one look
** each hundredth of a second costs nothing, and no disk fills that much faster.  A disk that cannot
** be read any more, because its file system was shut down, counts as full: then the error is found.
** On a btrfs with quotas, which do not tell how near they are, it is never skipped.
**
** A file may also be closed to stores as a whole while it is open: made immutable (chattr +i), or
** on a file system that became read-only.  That is looked at when a session begins, each hundredth
** of a second.
**
** What remains: a page that is written back in the microseconds between grant and store, a file
** that is closed in the middle of a commit.  A handler of SIGBUS that goes on, as that of
** maph_guard does on pages of the process alone, must not make a commit of it: grant_reached asks
** the other mapping, and no session begins on what is lost.
*/
#include "file/grant.h"

#define PLENTY (UINT64_C(1) << 30)
#define PLENTY_DELAYED (UINT64_C(8) << 30) /* where free room is told late, as on btrfs */

/* relaxed: the words are a guess of some milliseconds ago, of this process alone.  Threads that
** look at once ask the system once more; an old answer is one that they might have had before. */
int grant_scarce(store *store) {
  uint64_t now = os_clock_coarse_ms();
  if (now - atomic_load_explicit(&store->room_looked_ms, memory_order_relaxed) >= GRANT_LOOK_MS) {
    uint64_t plenty = store->file.file_system == OS_COPY_ON_WRITE ? PLENTY_DELAYED : PLENTY;
    atomic_store_explicit(&store->scarce, os_free_room(&store->file) < plenty,
                          memory_order_relaxed);
    if (store->file.file_system == OS_COPY_ON_WRITE)
      atomic_store_explicit(&store->hides_quota, os_hides_quota(&store->file),
                            memory_order_relaxed);
    atomic_store_explicit(&store->room_looked_ms, now, memory_order_relaxed);
  }
  return atomic_load_explicit(&store->scarce, memory_order_relaxed);
}

int grant_now(store *store, uint64_t from, uint64_t to) {
  return os_populate(&store->file, store->path, store->write_base, from, to);
}

int grant_file(store *store, uint64_t to) {
  if (store->in_memory) return MAPH_OK;
  return os_fill_holes(&store->file, store->path, to);
}

/* What was acknowledged is in the file; the rest is as if the process had been killed. */
int grant_say_lost(const store *store) {
  int rc = os_takes_stores(&store->file, store->path);
  if (rc != MAPH_OK) return rc;
  return fail(MAPH_IOERR,
              "%s: a page of it could not be read or written: somebody shortened the file, or its "
              "disk is full or fails: open it again",
              store->path);
}

/* relaxed: as in grant_scarce. */
int grant_look(store *store, uint64_t now) {
  int rc;
  if (grant_lost(store)) return grant_say_lost(store);
  rc = store->in_memory ? MAPH_OK : os_takes_stores(&store->file, store->path);
  if (rc == MAPH_OK) atomic_store_explicit(&store->allowed_ms, now, memory_order_relaxed);
  return rc;
}
