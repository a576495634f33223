/*
** registry.c - the stores that are open in this process.
**
** Opens of one file in one process share a store, found by device and inode: one mapping for reads,
** one for writes, one lock file descriptor.  `references` counts handles and snapshots, under the
** registry's mutex, which nobody holds while anything is waited for.  `writers` counts the handles
** that may write, under the store's own door: loading the store, joining its writers and leaving
** them, which may take a flush, happen one at a time and hold up no other store.  The door comes
** before the registry.
**
** FORK.  In the child every store is dead: its lock descriptor is closed, never unlocked, because
** unlocking would release the parent's lock.
*/
#include "calls/registry.h"
#include "file/header.h"
#include "file/record.h"
#include "file/size.h"
#include "index/perfect.h"
#include "os/error.h"
#include "os/os.h"
#include "os/progress.h"
#include "writer/create.h"
#include "writer/session.h"
#include "writer/trust.h"

#include <assert.h>
#include <pthread.h>

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static store *registry;

void registry_in_child(void) {
  store *store;
  static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
  registry_mutex = fresh;
  for (store = registry; store != NULL; store = store->next) {
    store->dead = 1;
    os_close(&store->lock);
    os_close(&store->file); /* its locks say that a writer lives */
  }
  registry = NULL;
}

void store_pin(store *store) {
  pthread_mutex_lock(&registry_mutex);
  store->references++;
  pthread_mutex_unlock(&registry_mutex);
}

static void forget_store(store *s) {
  store **store = &registry;
  assert(is_locked(&registry_mutex));
  while (*store && *store != s) store = &(*store)->next;
  if (*store) *store = s->next;
}

void store_unpin(store *store) {
  int last;
  pthread_mutex_lock(&registry_mutex);
  last = --store->references == 0;
  if (last) forget_store(store);
  pthread_mutex_unlock(&registry_mutex);
  if (last) store_free(store);
}

int store_stop_writing(store *store) {
  int rc = MAPH_OK;
  if (store->dead) return MAPH_OK;
  pthread_mutex_lock(&store->door);
  if (--store->writers == 0) rc = session_leave(store);
  pthread_mutex_unlock(&store->door);
  return rc;
}

/* Other threads of the handle may be about to lock the old one, and have to find out by themselves:
** the lock file stays open as long as the store, whoever else closes it, but nobody counts us as a
** writer of it any more. */
void store_leave_replaced(store *store) {
  if (store->dead) return;
  pthread_mutex_lock(&store->door);
  store->stayed = 1;
  if (--store->writers == 0) session_withdraw(store);
  pthread_mutex_unlock(&store->door);
}

int store_let_go(store *store, int writing) {
  int rc = writing ? store_stop_writing(store) : MAPH_OK;
  store_unpin(store);
  return rc;
}

void store_give_up(store *store, int writing) {
  sentence why;
  error_keep(&why);
  store_let_go(store, writing);
  error_put_back(&why);
}

/* Let a store be written to.  file: of the file, writable.  At the door. */
static int add_writer(store *store, os_file *file) {
  int rc = MAPH_OK;
  assert(is_locked(&store->door));
  if (store->writers == 0) {
    if (!store->file.writable) {
      os_file old = store->file;
      pthread_mutex_lock(&registry_mutex);
      pthread_mutex_lock(&store->mapping_mutex);
      store->file = *file;
      *file = old;
      pthread_mutex_unlock(&store->mapping_mutex);
      pthread_mutex_unlock(&registry_mutex);
    }
    rc = session_join(store);
  }
  if (rc == MAPH_OK) store->writers++;
  return rc;
}

/* Map an open file and read its header.  At the door. */
static int load_store(store *store, const maph_options *options) {
  int rc;
  assert(is_locked(&store->door));
  store->advice = options->advice;
  store->huge_pages = options->huge_pages;
  rc = store_map_opened(store);
  if (rc == MAPH_OK) rc = header_read(store, atomic_load(&store->base), atomic_load(&store->size));
  if (rc == MAPH_OK) rc = perfect_open(store, atomic_load(&store->base), atomic_load(&store->size));
  if (rc == MAPH_OK && options->prefault)
    os_prefault(atomic_load(&store->base), atomic_load(&store->size));
  if (rc == MAPH_OK && options->lock_memory)
    rc = os_lock_memory(atomic_load(&store->base), atomic_load(&store->size));
  store->loaded = rc == MAPH_OK;
  return rc;
}

static int must_be_trusted(store *store, int writing, const maph_options *options) {
  const header *header = header_of(atomic_load(&store->base));
  lock_patience patience;
  os_file lock;
  int rc, begin;
  /* and still here: who deleted it died over it */
  if (atomic_load(&header->state) & STATE_DELETED) {
    if (!writing) return fail(MAPH_CANTOPEN, "%s: the store was deleted", store->path);
    rc = create_lock_rewrite(store->path, &store->file, options->busy_timeout_ms, &lock);
    if (rc != MAPH_OK) return rc;
    rc = create_remove_files(store->path, &store->file);
    create_unlock_rewrite(&lock);
    return rc == MAPH_OK ? fail(MAPH_NOTFOUND, "%s: the store was deleted", store->path) : rc;
  }
  if (!writing) return trust_reader(store, options->busy_timeout_ms);
  patience = lock_patience_of(options->busy_timeout_ms, NULL);
  rc = trust_writer(store, &patience, &begin);
  if (rc != MAPH_OK || !begin) return rc;
  rc = session_begin(store, store->vouched ? 0 : options->busy_timeout_ms);
  if (rc == MAPH_OK) session_end(store);
  return rc == MAPH_BUSY && store->vouched ? MAPH_OK : rc; /* a living writer is at it */
}

/* Has an open file, of the same identity, the bytes that are mapped?  An overlay that copies the
** attributes of a file before its bytes (metacopy) gives both one identity.  As long as nothing was
** committed in the one that the other has not, either will do. */
static int maps_bytes_of(const store *store, const os_file *file) {
  const uint8_t *base = atomic_load(&store->base);
  uint64_t before, there;
  if (base == NULL || atomic_load(&store->size) < HEADER_SIZE) return 1;
  before = atomic_load(&header_of(base)->committed);
  return os_read(file, store->path, offsetof(header, committed), &there, sizeof there) == MAPH_OK
         && there >= before && there <= atomic_load(&header_of(base)->committed);
}

int store_is_of(const store *store, const os_file *file) {
  if (store->file.device != file->device || store->file.inode != file->inode) return 0;
  return !store_is_layered(store) || (!file->writable && maps_bytes_of(store, file));
}

static store *registered(const os_file *file) {
  store *store;
  assert(is_locked(&registry_mutex));
  for (store = registry; store != NULL; store = store->next)
    if (store_is_of(store, file)) return store;
  return NULL;
}

/* The store of an open file, with a reference: that which is registered, else a new one, which
** takes file over.  NULL: no memory. */
static store *find_or_register(const char *path, os_file *file) {
  store *store;
  pthread_mutex_lock(&registry_mutex);
  store = registered(file);
  if (store != NULL) {
    store->references++;
  } else if ((store = store_new(path)) != NULL) {
    store->file = *file;
    file->fd = -1;
    store->next = registry;
    registry = store;
  }
  pthread_mutex_unlock(&registry_mutex);
  return store;
}

/* The store of the file that is at path now, with a reference, and counted as a writer's. */
static int open_registered(const char *path, int writing, const maph_options *options,
                           store **out) {
  os_file file;
  store *store;
  int rc;
  *out = NULL;
  rc = os_open(path, writing || ONE_MAPPING ? OS_WRITE : OS_READ, 0, &file);
  if (rc == MAPH_CANTOPEN && ONE_MAPPING && !writing) rc = os_open(path, OS_READ, 0, &file);
  if (rc != MAPH_OK) return rc;
  if (writing && (rc = create_may_write(&file, path)) != MAPH_OK) {
    os_close(&file);
    return rc;
  }
  store = find_or_register(path, &file);
  if (store == NULL) {
    os_close(&file);
    return MAPH_NOMEM;
  }
  pthread_mutex_lock(&store->door);
  if (!store->loaded) rc = load_store(store, options);
  if (rc == MAPH_OK && writing) rc = add_writer(store, &file);
  pthread_mutex_unlock(&store->door);
  os_close(&file);
  if (rc != MAPH_OK)
    store_unpin(store);
  else
    *out = store;
  return rc;
}

int store_open(const char *path, int writing, const maph_options *options, store **out) {
  uint64_t deadline = os_clock_ns() + (uint64_t)options->busy_timeout_ms * 1000000u;
  store *store;
  int rc;
  *out = NULL;
  /* maph_recover has it to itself */
  while ((rc = open_registered(path, writing, options, &store)) == MAPH_BUSY
         && os_clock_ns() < deadline) {
    if (progress_wait()) return interrupt_say(path);
    os_sleep_us(1000);
  }
  if (rc != MAPH_OK) return rc;
  rc = must_be_trusted(store, writing, options);
  if (rc == MAPH_OK && writing) create_remove_leftover(path, &store->file);
  if (rc != MAPH_OK)
    store_give_up(store, writing);
  else
    *out = store;
  return rc;
}
