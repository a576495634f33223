/*
** create.c - a store's files: made, locked for rewriting, removed.
**
** A store gets its name only when it is complete and on disk: it is built as PATH.new, under the
** lock on byte 2 of the lock file, so that a PATH.new found there is a dead creator's; then renamed
** without replacing, then the folder is flushed.  Until that is done the header says `unborn`: a
** writer that finds it, because the creator died, flushes the folder first.
**
** Whoever deletes a store marks it under the writer's lock first, so that its users find out; then
** the store's file goes, then its lock file.  One that is marked and still there belongs to a
** deleter that died: whoever opens it for writing removes it.
*/
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/size.h"
#include "file/store.h"
#include "index/find.h"
#include "index/split.h"
#include "writer/create.h"
#include "os/interrupt.h"
#include "os/progress.h"

#include <stdio.h>

int create_may_write(const os_file *file, const char *path) {
  if (file->file_system == OS_NETWORK) {
    return fail(MAPH_CANTOPEN,
                "%s: on a network file system, where locks and mappings do not hold between "
                "machines: keep the store on a local "
                "disk and write to it through maph-server",
                path);
  }
  if (file->links > 1)
    return fail(MAPH_CANTOPEN,
                "%s: has %llu names (hard links), which would part at the next rewrite: keep one",
                path, (unsigned long long)file->links);
  return MAPH_OK;
}

/* A store by the name of another one's unfinished file or lock file would be taken for that, and
** removed. */
int create_may_be_named(const char *path) {
  static const char *const taken[] = { ".new", ".lock" };
  size_t n = strlen(path), i;
  for (i = 0; i < sizeof taken / sizeof *taken; i++) {
    size_t length = strlen(taken[i]);
    if (n > length && strcmp(path + n - length, taken[i]) == 0) {
      return fail(MAPH_CANTOPEN,
                  "%s: names that end in %s are those of files beside a store: choose another",
                  path, taken[i]);
    }
  }
  return MAPH_OK;
}

header_identity create_identity(const maph_options *options) {
  static const uint8_t none[sizeof options->uuid];
  int said = memcmp(options->uuid, none, sizeof none) != 0;
  return (header_identity){ .uuid = said ? options->uuid : NULL,
                            .generation = 1,
                            .base_version = options->after_version,
                            .given = options->versions == MAPH_VERSIONS_GIVEN };
}

/* An empty log and index in an open, empty file.  Up to the base version another file's records
** will be copied here. */
static int format(store *store, const header_identity *identity, uint64_t expected_keys) {
  header *header;
  end_record end;
  int rc;
  rc = os_grow(&store->file, store->path, 64 * 1024);
  if (rc == MAPH_OK) rc = store_see_size(store, 0);
  if (rc == MAPH_OK) rc = store_map_for_writing(store);
  if (rc == MAPH_OK) rc = os_populate(&store->file, store->path, store->write_base, 0, 64 * 1024);
  if (rc != MAPH_OK) return rc;
  header = header_of(store->write_base);
  OS_TEST_STORE(store->write_base, 0, 256);
  header_make(store, header, identity);
  record_fill_end(&end, KIND_EPOCH, identity->base_version, 0);
  os_random(&end.start, sizeof end.start);
  end.chain = record_chain(store->salt, 0, &end, 0);
  rc = log_write_end(store, LOG_START, &end);
  store->last = record_tip(&end, LOG_START + END_SIZE);
  store->space_end = store->last.end;
  if (rc == MAPH_OK) rc = index_create(store, expected_keys);
  if (rc != MAPH_OK) return rc;
  header = header_of(store->write_base);
  header_show(store);
  store_word(store->write_base, &header->clean, CLEAN_YES);
  header_checkpoint(store, &store->last);
  return MAPH_OK;
}

int create_bare(const char *path, int mode, store **out) {
  os_file file;
  store *store;
  int rc = os_open(path, OS_WRITE | OS_NEW, (unsigned)mode, &file);
  *out = NULL;
  if (rc == MAPH_EXISTS) {
    rc = os_remove(path); /* of a creator that died: the caller holds the lock for it */
    if (rc != MAPH_OK) return rc;
    rc = os_open(path, OS_WRITE | OS_NEW, (unsigned)mode, &file);
  }
  if (rc == MAPH_EXISTS) return rc;
  if (rc == MAPH_OK) rc = create_may_write(&file, path);
  store = rc == MAPH_OK ? store_bare(path, &file) : NULL;
  if (store == NULL) {
    if (file.fd >= 0) os_discard(path);
    os_close(&file);
    return rc == MAPH_OK ? MAPH_NOMEM : rc;
  }
  *out = store;
  return MAPH_OK;
}

int create_empty(const char *path, const maph_options *options, const header_identity *identity,
                 store **out) {
  store *store;
  int rc = create_bare(path, options->mode, &store);
  *out = NULL;
  if (rc != MAPH_OK) return rc;
  rc = format(store, identity, options->expected_keys);
  if (rc != MAPH_OK) {
    store_free(store);
    os_discard(path);
    store = NULL;
  }
  *out = store;
  return rc;
}

/* Closing alone would leave it locked while a child of a fork has the descriptor too. */
void create_unlock_rewrite(os_file *lock) {
  if (lock->fd >= 0) os_unlock(lock, LOCK_REWRITE);
  os_close(lock);
}

int create_bare_in_memory(store **out) {
  store *store = store_new(":memory:");
  int rc;
  *out = NULL;
  if (store == NULL) return MAPH_NOMEM;
  store->in_memory = store->lockless = store->unsettled = 1;
  rc = os_open_memory(&store->file);
  if (rc == MAPH_OK) {
    *out = store;
  } else {
    store_free(store);
  }
  return rc;
}

int create_in_memory(const maph_options *options, store **out) {
  header_identity identity = create_identity(options);
  store *store;
  int rc = create_bare_in_memory(&store);
  *out = NULL;
  if (rc == MAPH_OK) rc = format(store, &identity, options->expected_keys);
  if (rc != MAPH_OK) {
    store_free(store);
    store = NULL;
  }
  *out = store;
  return rc;
}

char *create_beside(const char *path, const char *suffix) {
  char *name = os_alloc(strlen(path) + strlen(suffix) + 1);
  if (name) sprintf(name, "%s%s", path, suffix);
  return name;
}

/* Lock byte 2 of the lock file that is at its path now (a deleted store's lock file may go while we
** wait). */
int create_lock_rewrite(const char *path, const os_file *model, int timeout_ms, os_file *lock) {
  char *name = create_beside(path, ".lock");
  uint64_t until = os_clock_ns() + (uint64_t)timeout_ms * 1000000u, device = 0, inode = 0;
  int rc, got = 0;
  if (name == NULL) return MAPH_NOMEM;
  for (;;) {
    rc = os_open_lock(name, model, lock);
    if (rc != MAPH_OK) break;
    got = os_lock(lock, LOCK_REWRITE, 1);
    if (got < 0) rc = -got;
    if (got == 1 && os_identity(name, &device, &inode) == MAPH_OK && device == lock->device
        && inode == lock->inode)
      break;
    if (got == 0 && os_clock_ns() >= until)
      rc = fail(MAPH_BUSY, "%s: another process is creating or rewriting this store: try again",
                path);
    if (rc == MAPH_OK && got == 0 && progress_wait()) rc = interrupt_say(path);
    os_close(lock);
    if (rc != MAPH_OK) break;
    os_sleep_us(500);
  }
  os_free(name);
  return rc;
}

void create_remove_lock(const char *path) {
  sentence before;
  char *name;
  error_keep(&before);
  name = create_beside(path, ".lock");
  if (name && os_missing(path)) os_discard(name);
  os_free(name);
  error_put_back(&before);
}

/* Who opened it since and does not hold it yet finds out that it went (lock.c). */
void create_remove_unused_lock(const char *path, const os_file *lock) {
  char *name = create_beside(path, ".lock");
  if (name && os_lock(lock, LOCK_PRESENT, 1) == 1) os_discard(name);
  os_free(name);
}

void create_remove_leftover(const char *path, const os_file *model) {
  char *temporary = create_beside(path, ".new");
  os_file lock;
  if (temporary && os_is_there(temporary)
      && create_lock_rewrite(path, model, 0, &lock) == MAPH_OK) {
    os_discard(temporary);
    create_unlock_rewrite(&lock);
  }
  os_free(temporary);
}

int create_is_empty(const char *path) {
  sentence before;
  os_file file;
  int rc, empty;
  error_keep(&before);
  rc = os_open(path, OS_READ, 0, &file);
  empty = rc == MAPH_OK && file.size == 0;
  if (rc == MAPH_OK) os_close(&file);
  error_put_back(&before);
  return empty;
}

/* Is nothing at path, or, if that may be replaced, an empty file?  Then empty->fd is that file's,
** else -1.   EXISTS */
static int must_be_free(const char *path, int over_empty, os_file *empty) {
  int rc = over_empty ? os_open(path, OS_WRITE, 0, empty) : MAPH_NOTFOUND;
  uint64_t device, inode;
  if (rc == MAPH_NOTFOUND) {
    empty->fd = -1;
    return os_identity(path, &device, &inode) == MAPH_OK
               ? fail(MAPH_EXISTS, "%s: exists already", path)
               : MAPH_OK;
  }
  if (rc == MAPH_OK) rc = create_may_write(empty, path);
  if (rc == MAPH_OK && empty->size > 0) rc = fail(MAPH_EXISTS, "%s: exists already", path);
  if (rc != MAPH_OK) os_close(empty);
  return rc;
}

/* The finished store gets its name: over the empty file, if that is still there and empty. */
static int rename_to(const creation *creation, os_file *empty) {
  uint64_t device, inode;
  int rc;
  if (empty->fd < 0) return os_rename_new(creation->temporary, creation->path);
  rc = os_identity(creation->path, &device, &inode);
  if (rc == MAPH_OK && (device != empty->device || inode != empty->inode))
    rc = fail(MAPH_EXISTS, "%s: exists already", creation->path);
  if (rc == MAPH_OK) rc = os_status(empty, creation->path);
  if (rc == MAPH_OK && empty->size > 0)
    rc = fail(MAPH_EXISTS, "%s: exists already", creation->path);
  return rc == MAPH_OK ? os_rename(creation->temporary, creation->path) : rc;
}

int create_claim(creation *creation, const char *path, const maph_options *options,
                 int over_empty) {
  os_file model;
  int rc = create_may_be_named(path);
  memset(creation, 0, sizeof *creation);
  creation->path = path;
  creation->mode = options->mode;
  creation->lock.fd = creation->empty.fd = -1;
  creation->temporary = create_beside(path, ".new");
  if (creation->temporary == NULL) return MAPH_NOMEM;
  /* before a lock file is made */
  if (rc == MAPH_OK) rc = must_be_free(path, over_empty, &creation->empty);
  os_close(&creation->empty);
  memset(&model, 0, sizeof model);
  model.mode = (unsigned)options->mode;
  model.owner = model.group = (unsigned)-1;
  model.fd = -1;
  if (rc == MAPH_OK)
    rc = create_lock_rewrite(path, &model, options->busy_timeout_ms, &creation->lock);
  if (rc == MAPH_OK) rc = must_be_free(path, over_empty, &creation->empty);
  if (creation->empty.fd >= 0) creation->mode = 0600;
  return rc;
}

int create_take_name(creation *creation, store *store) {
  header *header = header_of(store->write_base);
  char note[160] = "";
  int rc = MAPH_OK;
  if (creation->empty.fd >= 0)
    rc = os_keep_attributes(creation->temporary, &store->file, &creation->empty, note, sizeof note);
  os_lock_like(&creation->lock, &store->file);
  store_word(store->write_base, &header->lock_device, creation->lock.device);
  store_word(store->write_base, &header->lock_inode, creation->lock.inode);
  store_word(store->write_base, &header->flushed, store->last.end);
  store_word(store->write_base, &header->unborn, 1);
  if (rc == MAPH_OK) rc = interrupt_check(creation->path);
  if (rc == MAPH_OK) rc = os_flush_file(&store->file, store->path);
  if (rc == MAPH_OK) rc = interrupt_check(creation->path);
  if (rc == MAPH_OK) rc = rename_to(creation, &creation->empty);
  if (rc != MAPH_OK)
    os_discard(creation->temporary);
  else
    rc = os_flush_directory(creation->path, &store->file);
  if (rc == MAPH_OK) store_word(store->write_base, &header->unborn, 0);
  return rc;
}

void create_release(creation *creation, int rc) {
  os_close(&creation->empty);
  if (rc != MAPH_OK && creation->lock.fd >= 0) create_remove_lock(creation->path);
  create_unlock_rewrite(&creation->lock);
  os_free(creation->temporary);
  creation->temporary = NULL;
}

int create_store(const char *path, const maph_options *options, int over_empty) {
  maph_options o = *options;
  header_identity identity = create_identity(options);
  creation creation;
  store *store = NULL;
  int rc = create_claim(&creation, path, options, over_empty);
  o.mode = creation.mode;
  if (rc == MAPH_OK) rc = create_empty(creation.temporary, &o, &identity, &store);
  if (rc == MAPH_OK) rc = create_take_name(&creation, store);
  store_free(store);
  create_release(&creation, rc);
  return rc;
}

/* Remove a store's two files, the store first: its lock file may be made anew at any time.  Not
** those of another store that has the name by now. */
int create_remove_files(const char *path, const os_file *file) {
  char *lock_name = create_beside(path, ".lock");
  uint64_t device = 0, inode = 0;
  int rc = lock_name ? os_identity(path, &device, &inode) : MAPH_NOMEM;
  if (rc == MAPH_OK && (device != file->device || inode != file->inode)) {
    os_free(lock_name);
    return MAPH_OK;
  }
  if (rc == MAPH_OK) rc = os_remove(path);
  if (rc == MAPH_OK || rc == MAPH_NOTFOUND) rc = os_remove(lock_name);
  if (rc == MAPH_OK) rc = os_flush_directory(path, file);
  os_free(lock_name);
  return rc;
}
