/*
** create.c - a store's files: made, locked for rewriting, removed.
**
** A store gets its name only when it is complete and on disk: it is built as PATH.new, under the
** lock on byte 2 of the lock file, so that a PATH.new found there is a dead creator's; then renamed
** without replacing, then the folder is flushed.  Until that is done the header says `unborn`: a
** writer that finds it, because the creator died, flushes the folder first.
**
** Who deletes a store marks it under the writer's lock first, so that its users find out; then the
** store's file goes, then its lock file.  One that is marked and still there belongs to a deleter
** that died: who opens it for writing removes it.
*/
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "index/find.h"
#include "index/index.h"
#include "writer/create.h"
#include "os/interrupt.h"

#include <stdio.h>

int create_may_write(const os_file *f, const char *path) {
  if (f->file_system == OS_NETWORK) {
    return fail(MAPH_CANTOPEN,
                "%s: on a network file system, where locks and mappings do not hold between "
                "machines: keep the store on a local "
                "disk and write to it through maph-server",
                path);
  }
  if (f->links > 1)
    return fail(MAPH_CANTOPEN,
                "%s: has %llu names (hard links), which would part at the next rewrite: keep one",
                path, (unsigned long long)f->links);
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

/* An empty log and index in an open, empty file.  base_version: up to which another file's records
** will be copied here. */
int create_format(store *s, const uint8_t uuid[16], uint64_t generation, uint64_t base_version,
                  uint64_t expected_keys) {
  header *h;
  end_record e;
  int rc;
  rc = os_grow(&s->file, s->path, 64 * 1024);
  if (rc == MAPH_OK) rc = store_see_size(s, 0);
  if (rc == MAPH_OK) rc = store_map_for_writing(s);
  if (rc == MAPH_OK) rc = os_populate(&s->file, s->path, s->write_base, 0, 64 * 1024);
  if (rc != MAPH_OK) return rc;
  h = header_of(s->write_base);
  OS_TEST_STORE(s->write_base, 0, 256);
  header_make(h, uuid, generation, base_version);
  s->salt = header_salt(h);
  s->hash_seed = h->hash_seed;
  s->generation = generation;
  s->base_version = base_version;
  memcpy(s->uuid, h->uuid, 16);
  record_fill_end(&e, KIND_EPOCH, base_version, 0);
  os_random(&e.start, sizeof e.start);
  e.chain = record_chain(s->salt, 0, &e, 0);
  rc = log_write_end(s, LOG_START, &e);
  s->last = record_tip(&e, LOG_START + END_SIZE);
  s->space_end = s->last.end;
  if (rc == MAPH_OK) rc = index_create(s, expected_keys);
  if (rc != MAPH_OK) return rc;
  h = header_of(s->write_base);
  store_word(s->write_base, &h->end, s->space_end);
  store_word(s->write_base, &h->prepared, s->last.end);
  store_word(s->write_base, &h->committed, s->last.end);
  store_word(s->write_base, &h->clean, CLEAN_YES);
  header_checkpoint(s, &s->last);
  return MAPH_OK;
}

int create_bare(const char *path, int mode, store **out) {
  os_file f;
  store *s;
  int rc = os_open(path, OS_WRITE | OS_NEW, (unsigned)mode, &f);
  *out = NULL;
  if (rc == MAPH_EXISTS) {
    os_remove(path); /* of a creator that died: the caller holds the lock for it */
    rc = os_open(path, OS_WRITE | OS_NEW, (unsigned)mode, &f);
  }
  if (rc == MAPH_EXISTS) return rc;
  if (rc == MAPH_OK) rc = create_may_write(&f, path);
  s = rc == MAPH_OK ? store_bare(path, &f) : NULL;
  if (s == NULL) {
    if (f.fd >= 0) os_remove(path);
    os_close(&f);
    return rc == MAPH_OK ? MAPH_NOMEM : rc;
  }
  header_place(s);
  *out = s;
  return MAPH_OK;
}

int create_empty(const char *path, const maph_options *o, const uint8_t uuid[16],
                 uint64_t generation, uint64_t base_version, store **out) {
  store *s;
  int rc = create_bare(path, o->mode, &s);
  *out = NULL;
  if (rc != MAPH_OK) return rc;
  rc = create_format(s, uuid, generation, base_version, o->expected_keys);
  if (rc != MAPH_OK) {
    store_free(s);
    os_remove(path);
    s = NULL;
  }
  *out = s;
  return rc;
}

/* Closing alone would leave it locked while a child of a fork has the descriptor too. */
void create_unlock_rewrite(os_file *lock) {
  if (lock->fd >= 0) os_unlock(lock, LOCK_REWRITE);
  os_close(lock);
}

int create_bare_in_memory(store **out) {
  store *s = store_new(":memory:");
  int rc;
  *out = NULL;
  if (s == NULL) return MAPH_NOMEM;
  s->in_memory = s->lockless = 1;
  rc = os_open_memory(&s->file);
  if (rc == MAPH_OK) {
    *out = s;
  } else {
    store_free(s);
  }
  return rc;
}

int create_in_memory(const uint8_t uuid[16], uint64_t generation, uint64_t base_version,
                     uint64_t expected_keys, store **out) {
  store *s;
  int rc = create_bare_in_memory(&s);
  *out = NULL;
  if (rc == MAPH_OK) rc = create_format(s, uuid, generation, base_version, expected_keys);
  if (rc != MAPH_OK) {
    store_free(s);
    s = NULL;
  }
  *out = s;
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
    if (rc == MAPH_OK && got == 0) rc = interrupt_check(path);
    os_close(lock);
    if (rc != MAPH_OK) break;
    os_sleep_us(500);
  }
  os_free(name);
  return rc;
}

void create_remove_lock(const char *path) {
  char *name = create_beside(path, ".lock");
  if (name && os_missing(path)) os_remove(name);
  os_free(name);
}

/* Who opened it since and does not hold it yet finds out that it went (lock.c). */
void create_remove_unused_lock(const char *path, const os_file *lock) {
  char *name = create_beside(path, ".lock");
  if (name && os_lock(lock, LOCK_PRESENT, 1) == 1) os_remove(name);
  os_free(name);
}

void create_remove_leftover(const char *path, const os_file *model) {
  char *temporary = create_beside(path, ".new");
  uint64_t device, inode;
  os_file lock;
  if (temporary && os_identity(temporary, &device, &inode) == MAPH_OK
      && create_lock_rewrite(path, model, 0, &lock) == MAPH_OK) {
    os_remove(temporary);
    create_unlock_rewrite(&lock);
  }
  os_free(temporary);
}

int create_is_empty(const char *path) {
  os_file f;
  int rc = os_open(path, OS_READ, 0, &f), empty = rc == MAPH_OK && f.size == 0;
  if (rc == MAPH_OK) os_close(&f);
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
static int rename_to(const creation *c, os_file *empty) {
  uint64_t device, inode;
  int rc;
  if (empty->fd < 0) return os_rename_new(c->temporary, c->path);
  rc = os_identity(c->path, &device, &inode);
  if (rc == MAPH_OK && (device != empty->device || inode != empty->inode))
    rc = fail(MAPH_EXISTS, "%s: exists already", c->path);
  if (rc == MAPH_OK) rc = os_status(empty, c->path);
  if (rc == MAPH_OK && empty->size > 0) rc = fail(MAPH_EXISTS, "%s: exists already", c->path);
  return rc == MAPH_OK ? os_rename(c->temporary, c->path) : rc;
}

int create_claim(creation *c, const char *path, const maph_options *o, int over_empty) {
  os_file model;
  int rc = create_may_be_named(path);
  memset(c, 0, sizeof *c);
  c->path = path;
  c->mode = o->mode;
  c->lock.fd = c->empty.fd = -1;
  c->temporary = create_beside(path, ".new");
  if (c->temporary == NULL) return MAPH_NOMEM;
  /* before a lock file is made */
  if (rc == MAPH_OK) rc = must_be_free(path, over_empty, &c->empty);
  os_close(&c->empty);
  memset(&model, 0, sizeof model);
  model.mode = (unsigned)o->mode;
  model.owner = model.group = (unsigned)-1;
  model.fd = -1;
  if (rc == MAPH_OK) rc = create_lock_rewrite(path, &model, o->busy_timeout_ms, &c->lock);
  if (rc == MAPH_OK) rc = must_be_free(path, over_empty, &c->empty);
  if (c->empty.fd >= 0) c->mode = 0600;
  return rc;
}

int create_take_name(creation *c, store *s) {
  header *h = header_of(s->write_base);
  char note[160] = "";
  int rc = MAPH_OK;
  if (c->empty.fd >= 0)
    rc = os_keep_attributes(c->temporary, &s->file, &c->empty, note, sizeof note);
  os_lock_like(&c->lock, &s->file);
  store_word(s->write_base, &h->lock_device, c->lock.device);
  store_word(s->write_base, &h->lock_inode, c->lock.inode);
  store_word(s->write_base, &h->flushed, s->last.end);
  store_word(s->write_base, &h->unborn, 1);
  if (rc == MAPH_OK) rc = interrupt_check(c->path);
  if (rc == MAPH_OK) rc = os_flush_file(&s->file, s->path);
  if (rc == MAPH_OK) rc = interrupt_check(c->path);
  if (rc == MAPH_OK) rc = rename_to(c, &c->empty);
  if (rc != MAPH_OK)
    os_remove(c->temporary);
  else
    rc = os_flush_directory(c->path);
  if (rc == MAPH_OK) store_word(s->write_base, &h->unborn, 0);
  return rc;
}

void create_release(creation *c, int rc) {
  os_close(&c->empty);
  if (rc != MAPH_OK && c->lock.fd >= 0) create_remove_lock(c->path);
  create_unlock_rewrite(&c->lock);
  os_free(c->temporary);
  c->temporary = NULL;
}

int create_store(const char *path, const maph_options *options, int over_empty) {
  maph_options o = *options;
  creation c;
  store *s = NULL;
  int rc = create_claim(&c, path, options, over_empty);
  o.mode = c.mode;
  if (rc == MAPH_OK) rc = create_empty(c.temporary, &o, NULL, 1, o.after_version, &s);
  if (rc == MAPH_OK) rc = create_take_name(&c, s);
  store_free(s);
  create_release(&c, rc);
  return rc;
}

/* Remove a store's two files, the store first: its lock file may be made anew at any time.  Not
** those of another store that has the name by now. */
int create_remove_files(const char *path, const os_file *model) {
  char *lock_name = create_beside(path, ".lock");
  uint64_t device = 0, inode = 0;
  int rc = lock_name ? os_identity(path, &device, &inode) : MAPH_NOMEM;
  if (rc == MAPH_OK && (device != model->device || inode != model->inode)) {
    os_free(lock_name);
    return MAPH_OK;
  }
  if (rc == MAPH_OK) rc = os_remove(path);
  if (rc == MAPH_OK || rc == MAPH_NOTFOUND) rc = os_remove(lock_name);
  if (rc == MAPH_OK) rc = os_flush_directory(path);
  os_free(lock_name);
  return rc;
}
