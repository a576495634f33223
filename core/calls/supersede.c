/*
** supersede.c - a finished file takes the name of a store that is in use.
**
** The steps, with the writer's lock of the store that has the name: its state becomes `switching`;
** what was promised of it until then is flushed in the new file; rename; flush of the folder; the
** new file's `unborn` becomes 0; the old state becomes `superseded`.  Readers that see `switching`
** look which file the path names, and each handle moves at its next call (handle.c).
**
** Whoever dies before the rename leaves `switching`, which the next writer takes back.  Whoever
** dies after it leaves the new file in place, unborn: its next writer flushes the folder before it
** writes.  So nobody acknowledges a commit in the new file before its name is on disk.
**
** A PROMISE is made by whoever raises the old file's `flushed`: a commit at full, with the lock, or
** maph_sync, without it.  maph_sync raises it and then looks at the state; here the state is stored
** and then `flushed` is looked at (rewrite.c).  All four are seq_cst.  So either the flush here
** covers what maph_sync promises, or maph_sync sees the switch and flushes what replaced the file.
*/
#include "calls/supersede.h"
#include "file/grant.h"
#include "file/header.h"

void supersede_mark(store *store, uint64_t flag, int on) {
  word *state = &header_of(store->write_base)->state;
  OS_TEST_STORE(store->write_base, offsetof(header, state), 8);
  if (on)
    atomic_fetch_or(state, flag);
  else
    atomic_fetch_and(state, ~flag);
}

/* Somebody may have moved the store, or put another file, a backup perhaps, in its place: that is
** not ours to replace. */
static int still_there(const store *store) {
  uint64_t device, inode;
  int rc = os_identity(store->path, &device, &inode);
  if (rc == MAPH_NOTFOUND
      || (rc == MAPH_OK && (device != store->file.device || inode != store->file.inode))) {
    rc = fail(MAPH_CANTOPEN,
              "%s: the store was moved or removed, or another file is in its place: open it again",
              store->path);
  }
  return rc;
}

int supersede_status(store *store, os_file *file) {
  int rc;
  pthread_mutex_lock(&store->mapping_mutex);
  *file = store->file;
  rc = os_status(file, store->path);
  pthread_mutex_unlock(&store->mapping_mutex);
  return rc;
}

int supersede_attributes(store *from, store *to, const char *temporary, char *note) {
  os_file model;
  int rc = supersede_status(from, &model);
  if (rc != MAPH_OK) return rc;
  return os_keep_attributes(temporary, &to->file, &model, note, SUPERSEDE_NOTE);
}

void supersede_seal(store *to, const os_file *lock) {
  header *header = header_of(to->write_base);
  store_word(to->write_base, &header->lock_device, lock->device);
  store_word(to->write_base, &header->lock_inode, lock->inode);
  header_show(to);
  store_word(to->write_base, &header->flushed, to->last.end);
  store_word(to->write_base, &header->unborn, 1);
  header_checkpoint(to, &to->last);
  store_word(to->write_base, &header->clean, CLEAN_YES);
}

int supersede(store *from, store *to, const char *temporary, char *note, int (*last)(void *arg),
              void *arg) {
  int rc = still_there(from);
  assert(store_has_lock(from));
  /* they may have been changed meanwhile */
  if (rc == MAPH_OK) rc = supersede_attributes(from, to, temporary, note);
  if (rc == MAPH_OK) rc = grant_header(from);
  if (rc != MAPH_OK) return rc;
  supersede_mark(from, STATE_SWITCHING, 1);
  if (last) rc = last(arg);
  if (rc == MAPH_OK && grant_lost(from)) rc = grant_say_lost(from); /* its users see no mark */
  if (rc == MAPH_OK) rc = os_rename(temporary, from->path);
  if (rc != MAPH_OK) {
    supersede_mark(from, STATE_SWITCHING, 0);
    return rc;
  }
  rc = os_flush_directory(from->path, &to->file);
  if (rc == MAPH_OK) store_word(to->write_base, &header_of(to->write_base)->unborn, 0);
  supersede_mark(from, STATE_SUPERSEDED, 1);
  return rc;
}
