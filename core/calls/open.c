/*
** open.c - the life of a handle: open, with its options, close; and the end of a store.
*/
#include "calls/handle.h"
#include "calls/registry.h"
#include "calls/open.h"
#include "file/grant.h"
#include "file/store.h"
#include "writer/create.h"
#include "writer/session.h"
#include "writer/trust.h"

#include <stdlib.h>
#include <string.h>

#define AFTER_VERSION_MAX (VERSION_MAX - (UINT64_C(1) << 40))
/* No more have room, with their slots, below the last offset that a record can name. */
#define EXPECTED_KEYS_MAX (UINT64_C(1) << 37)

int open_take_options(const maph_options *given, maph_options *options) {
  static const maph_options defaults = MAPH_OPTIONS_INIT;
  *options = defaults;
  if (given == NULL) return MAPH_OK;
  if (given->size < sizeof given->size || given->size > 4096)
    return fail(MAPH_MISUSE, "maph_options.size is %zu: initialise with MAPH_OPTIONS_INIT",
                given->size);
  memcpy(options, given, MIN(given->size, sizeof *options));
  options->size = sizeof *options;
  if (options->durability == MAPH_SYNC_DEFAULT) options->durability = MAPH_SYNC_NORMAL;
  if (options->durability < MAPH_SYNC_OFF || options->durability > MAPH_SYNC_FULL)
    return fail(MAPH_MISUSE, "option durability is %d: use one of MAPH_SYNC_*",
                options->durability);
  if (options->busy_timeout_ms < 0)
    return fail(MAPH_MISUSE, "option busy_timeout_ms is %d: use 0 or more",
                options->busy_timeout_ms);
  if (options->advice < MAPH_ADVISE_NORMAL || options->advice > MAPH_ADVISE_WILLNEED)
    return fail(MAPH_MISUSE, "option advice is %d: use one of MAPH_ADVISE_*", options->advice);
  if (options->perfect_hash < MAPH_PERFECT_DEFAULT || options->perfect_hash > MAPH_PERFECT_CMPH)
    return fail(MAPH_MISUSE, "option perfect_hash is %d: use one of MAPH_PERFECT_*",
                options->perfect_hash);
  if (options->auto_compact < 0 || options->auto_compact > 99)
    return fail(MAPH_MISUSE, "option auto_compact is %d: use a percentage from 0 to 99",
                options->auto_compact);
  if (options->after_version > AFTER_VERSION_MAX)
    return fail(MAPH_MISUSE, "option after_version is %llu: use at most %llu",
                (unsigned long long)options->after_version, (unsigned long long)AFTER_VERSION_MAX);
  if (options->versions != MAPH_VERSIONS_OWN && options->versions != MAPH_VERSIONS_GIVEN)
    return fail(MAPH_MISUSE, "option versions is %d: use one of MAPH_VERSIONS_*",
                options->versions);
  if (options->versions == MAPH_VERSIONS_OWN
      && memcmp(options->uuid, defaults.uuid, sizeof options->uuid) != 0)
    return fail(MAPH_MISUSE, "option uuid is said: only with MAPH_VERSIONS_GIVEN");
  if (options->expected_keys > EXPECTED_KEYS_MAX)
    return fail(MAPH_MISUSE, "option expected_keys is %llu: a store holds at most %llu",
                (unsigned long long)options->expected_keys, (unsigned long long)EXPECTED_KEYS_MAX);
  if (options->mode <= 0 || options->mode > 07777)
    return fail(MAPH_MISUSE, "option mode is %o: use permission bits like 0644",
                (unsigned)options->mode);
  return MAPH_OK;
}

static int check_flags(int flags) {
  int how = flags & (MAPH_RDONLY | MAPH_RDWR);
  if (how != MAPH_RDONLY && how != MAPH_RDWR)
    return fail(MAPH_MISUSE, "maph_open: say either MAPH_RDONLY or MAPH_RDWR");
  if (flags & ~(MAPH_RDONLY | MAPH_RDWR | MAPH_CREATE | MAPH_EXCL))
    return fail(MAPH_MISUSE, "maph_open: unknown flags %x", (unsigned)flags);
  if ((flags & MAPH_CREATE) && how != MAPH_RDWR)
    return fail(MAPH_MISUSE, "maph_open: MAPH_CREATE needs MAPH_RDWR");
  if ((flags & MAPH_EXCL) && !(flags & MAPH_CREATE))
    return fail(MAPH_MISUSE, "maph_open: MAPH_EXCL needs MAPH_CREATE");
  return MAPH_OK;
}

static int open_in_memory(const maph_options *options, store **out) {
  int rc = create_in_memory(options, out);
  if (rc == MAPH_OK) (*out)->writers = 1;
  return rc;
}

static int open_or_create(const char *path, int flags, const maph_options *options, store **store) {
  int rc, tries;
  for (tries = 0;; tries++) {
    if (flags & MAPH_EXCL) {
      rc = create_store(path, options, 0);
      if (rc != MAPH_OK) return rc;
      return store_open(path, 1, options, store);
    }
    rc = store_open(path, (flags & MAPH_RDWR) != 0, options, store);
    if (!(flags & MAPH_CREATE) || tries > 10) break;
    if (rc != MAPH_NOTFOUND && (rc != MAPH_FORMAT || !create_is_empty(path))) break;
    rc = create_store(path, options, rc == MAPH_FORMAT);
    if (rc != MAPH_OK && rc != MAPH_EXISTS) return rc;
  }
  if (rc == MAPH_NOTFOUND)
    rc = fail(MAPH_CANTOPEN,
              "%s: no such store: check the name, or open it with MAPH_RDWR|MAPH_CREATE", path);
  return rc;
}

static int open_handle(const char *path, int flags, const maph_options *options, maph **out) {
  maph *m = NULL;
  maph_options o;
  store *store = NULL;
  char *resolved = NULL, *given = NULL;
  int rc;
  if (out == NULL) return fail(MAPH_MISUSE, "maph_open: no place for the handle");
  *out = NULL;
  if (path == NULL || path[0] == 0)
    return fail(MAPH_MISUSE, "maph_open: an empty path: name a file, or \":memory:\"");
  handle_watch_forks();
  rc = check_flags(flags);
  if (rc == MAPH_OK) rc = open_take_options(options, &o);
  if (rc != MAPH_OK) return rc;
  if (strcmp(path, ":memory:") == 0) {
    rc = flags & MAPH_RDWR
             ? open_in_memory(&o, &store)
             : fail(MAPH_MISUSE, "maph_open: a store in memory is new, so it needs MAPH_RDWR");
  } else {
    rc = os_resolve(path, &resolved);
    if (rc == MAPH_OK && strcmp(path, resolved) != 0) rc = os_absolute(path, &given);
    if (rc == MAPH_OK) rc = open_or_create(resolved, flags, &o, &store);
  }
  if (rc == MAPH_OK && (m = os_alloc(sizeof *m)) == NULL) {
    store_give_up(store, (flags & MAPH_RDWR) != 0);
    rc = MAPH_NOMEM;
  }
  if (rc == MAPH_OK) {
    m->magic = HANDLE_MAGIC;
    m->fork_count = handle_forks();
    m->store = store;
    m->given = given;
    m->path = resolved;
    m->flags = flags;
    m->options = o;
    m->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    *out = m;
    resolved = given = NULL;
  }
  free(resolved);
  free(given);
  return rc;
}

int maph_open(const char *path, int flags, const maph_options *options, maph **out) {
  interruptible call;
  sentence before;
  int rc;
  error_keep(&before);
  interrupt_begin(&call, NULL);
  rc = open_handle(path, flags, options, out);
  interrupt_end(&call);
  return error_done(rc, &before, path);
}

/* relaxed: a count that carries no other data (os/interrupt.h). */
void maph_interrupt(maph *m) {
  atomic_fetch_add_explicit(m ? &m->interrupts : &interrupt_all, 1, memory_order_relaxed);
}

/* Where the store was replaced, or is while this waits to be its last writer, it may be the last
** writer of what replaced it. */
static int stop_using(maph *m) {
  store *left = atomic_load(&m->store), *store;
  int writes = handle_writes(m), rc;
  store_pin(left);
  rc = store_let_go(left, writes);
  if (rc == MAPH_OK && writes && !left->dead && !left->in_memory
      && (atomic_load(&header_of(atomic_load(&left->base))->state)
          & (STATE_SUPERSEDED | STATE_DELETED))
             == STATE_SUPERSEDED
      && store_open(m->path, 1, &m->options, &store) == MAPH_OK)
    rc = store_let_go(store, 1);
  store_unpin(left);
  return rc;
}

int maph_close(maph *m) {
  sentence before;
  unsigned reads;
  int rc;
  if (m == NULL) return MAPH_OK;
  if (m->magic != HANDLE_MAGIC)
    return fail(MAPH_MISUSE, "maph_close: this handle is closed already");
  reads = atomic_load(&m->open_reads);
  if (reads && m->fork_count == handle_forks())
    return fail(MAPH_MISUSE, "%s: %u snapshots, cursors or feeds are open: close them first",
                atomic_load(&m->store)->path, reads);
  error_keep(&before);
  while (m->open_txns && m->fork_count == handle_forks()) maph_txn_abort(m->open_txns);
  m->magic = 0;
  handle_set_quick(m, 0);
  handle_let_rest_go(m);
  handle_release_retired(m);
  rc = error_done(stop_using(m), &before, m->path);
  pthread_mutex_destroy(&m->mutex);
  free(m->path);
  free(m->given);
  os_free(m);
  return rc;
}

/* With byte 2 of the lock file and the lock: no rewrite is under way, and nobody writes. */
static int destroy(store *store) {
  word *state = &header_of(store->write_base)->state;
  int rc, marked = grant_header(store) == MAPH_OK; /* a full disk is made room on by this */
  assert(store_has_lock(store));
  OS_TEST_STORE(store->write_base, offsetof(header, state), 8);
  if (marked) atomic_fetch_or(state, STATE_DELETED);
  rc = create_remove_files(store->path, &store->file);
  if (rc != MAPH_OK && marked) atomic_fetch_and(state, ~(uint64_t)STATE_DELETED);
  return rc;
}

/* Of a store that can be opened. */
static int destroy_open(maph *m, int busy_timeout_ms) {
  store *store = m->store;
  os_file rewrite;
  int rc;
  if (store->in_memory)
    return fail(MAPH_MISUSE, "maph_destroy: a store in memory goes when it is closed");
  rc = create_lock_rewrite(m->path, &store->file, busy_timeout_ms, &rewrite);
  if (rc != MAPH_OK) return rc;
  rc = handle_writer(m, &store); /* a rewrite may have ended just now */
  if (rc == MAPH_OK) rc = session_begin_last(store, busy_timeout_ms);
  if (rc == MAPH_OK) {
    rc = destroy(store);
    session_end(store);
  }
  create_unlock_rewrite(&rewrite);
  return rc;
}

int open_look_if_store(const os_file *file, const char *path, int reason) {
  uint8_t magic[8];
  int rc;
  if (file->size < sizeof magic) return reason;
  rc = os_read(file, path, 0, magic, sizeof magic);
  return rc == MAPH_OK && memcmp(magic, FORMAT_MAGIC, sizeof magic) != 0 ? reason : rc;
}

/* Nobody has it open for writing.  Who reads it finds out as far as the disk lets us say so. */
static int destroy_alone(store *store, const os_file *lock) {
  uint64_t state, at = offsetof(header, state);
  int got = os_lock(lock, LOCK_PRESENT, 1);
  if (got == 1) got = os_lock(lock, LOCK_WRITER, 1);
  if (got < 0) return -got;
  if (got == 0 || trust_living(store))
    return fail(MAPH_BUSY, "%s: another process has it open for writing: stop it first",
                store->path);
  if (store->file.size >= HEADER_SIZE
      && os_read(&store->file, store->path, at, &state, sizeof state) == MAPH_OK) {
    state |= STATE_DELETED;
    os_write(&store->file, store->path, at, &state, sizeof state);
  }
  return create_remove_files(store->path, &store->file);
}

/* Of one that cannot be opened, for that reason. */
static int destroy_damaged(const char *given, int busy_timeout_ms, int reason) {
  char *path = NULL;
  os_file file, lock;
  store *store;
  int rc = os_resolve(given, &path);
  if (rc == MAPH_OK) rc = os_open(path, OS_WRITE, 0, &file);
  if (rc != MAPH_OK) {
    free(path);
    return rc;
  }
  store = store_bare(path, &file);
  if (store == NULL) {
    os_close(&file);
    rc = MAPH_NOMEM;
  } else {
    rc = open_look_if_store(&store->file, path, reason);
    if (rc == MAPH_OK) rc = create_may_write(&store->file, path);
    if (rc == MAPH_OK) rc = create_lock_rewrite(path, &store->file, busy_timeout_ms, &lock);
    if (rc == MAPH_OK) {
      rc = destroy_alone(store, &lock);
      create_unlock_rewrite(&lock);
    }
  }
  store_free(store);
  free(path);
  return rc;
}

/* Is less than a header left of it? */
static int is_cut_off(int rc, const char *path) {
  sentence why;
  os_file file;
  int cut = 0;
  if (rc != MAPH_FORMAT) return 0;
  error_keep(&why);
  if (os_open(path, OS_READ, 0, &file) == MAPH_OK) {
    cut = file.size < HEADER_SIZE && open_look_if_store(&file, path, rc) == MAPH_OK;
    os_close(&file);
  }
  error_put_back(&why);
  return cut;
}

int open_met_damage(int rc, const char *path) {
  return rc == MAPH_CORRUPT || rc == MAPH_IOERR || rc == MAPH_FULL || is_cut_off(rc, path);
}

static int destroy_at(const char *path, int busy_timeout_ms) {
  maph_options options = MAPH_OPTIONS_INIT;
  sentence why;
  maph *m;
  int rc;
  options.busy_timeout_ms = MAX(busy_timeout_ms, 0);
  rc = maph_open(path, MAPH_RDWR, &options, &m);
  if (open_met_damage(rc, path)) return destroy_damaged(path, options.busy_timeout_ms, rc);
  if (rc != MAPH_OK) return rc;
  rc = destroy_open(m, options.busy_timeout_ms);
  error_keep(&why);
  if (maph_close(m) != MAPH_OK) error_put_back(&why);
  return rc;
}

int maph_destroy(const char *path, int busy_timeout_ms) {
  interruptible call;
  sentence before;
  int rc;
  error_keep(&before);
  interrupt_begin(&call, NULL);
  rc = destroy_at(path, busy_timeout_ms);
  interrupt_end(&call);
  return error_done(rc, &before, path);
}
