/*
** stores.c - the stores that are open, and making and deleting them.
**
** A store is DIR/NAME.maph.  It is opened at its first use (folder.c asks for those that are there
** at start), once, for reading and writing with verified reads, and stays open; where it may only
** be read it is opened for reading, and for writing when what stood in the way is gone, which is
** tried each second by the requests for it.  The table holds one reference and each request one: a
** store that is deleted leaves the table at once, and its handle is closed by the last request
** that uses it.  A handle keeps what it mapped until it is closed, so a store whose file was
** rewritten is forgotten and opened anew; so is one whose name leads elsewhere, since rm, or mv of
** a backup, leaves no mark in the file: each request that writes looks, those that read each 20
** ms, and what nobody asks for is looked at each second.
**
** Nothing outside DIR is reachable: names hold no slash and begin with a letter or digit, and only
** regular files are opened, never what a link points to.
**
** Locking: table_lock for the table, never held during input or output, nor while a handle is
** opened or closed.  Whoever opens a store says so to openings.c.
*/
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sentence.h"
#include "base/uri.h"
#include "base/waits.h"
#include "store/follow.h"
#include "store/names.h"
#include "store/openings.h"
#include "store/stores.h"
#include "store/versions.h"

enum { BUCKETS = 256, RETRY_US = 1000000, LOOK_US = 20000 };
static store *table[BUCKETS];
static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;

static unsigned bucket_of(const char *name, size_t size) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < size; i++) h = (h ^ (unsigned char)name[i]) * 16777619u;
  return h % BUCKETS;
}

static store **find(const char *name, size_t size) {
  store **at = &table[bucket_of(name, size)];
  while (*at && (strlen((*at)->name) != size || memcmp((*at)->name, name, size) != 0))
    at = &(*at)->next;
  return at;
}

static bool path_of(char *out, size_t room, const char *name, size_t size) {
  return snprintf(out, room, "%s/%.*s.maph", option.data, (int)size, name) < (int)room;
}

/* A regular file, not a link to one. */
static bool look(const char *name, size_t size, struct stat *st) {
  char path[4096];
  return path_of(path, sizeof path, name, size) && lstat(path, st) == 0 && S_ISREG(st->st_mode);
}

bool store_file_exists(const char *name, size_t size) {
  struct stat st;
  return look(name, size, &st);
}

/* ------------------------------------------------------------------------------- open and close */
static void fill_options(maph_options *options) {
  maph_options standard = MAPH_OPTIONS_INIT;
  *options = standard;
  options->verify = 1;
  options->busy_timeout_ms = (int)option.busy_timeout_ms;
  options->durability = durability_from_name(option.sync, strlen(option.sync));
}

/* Open for writing; where that is not allowed, for reading: then `obstacle` says why. */
static int open_handle(const char *path, maph **m, char *obstacle, size_t room) {
  maph_options options;
  int rc;
  fill_options(&options);
  snprintf(obstacle, room, "%s", option.read_only ? "it was started with --read-only" : "");
  if (option.read_only) return maph_open(path, MAPH_RDONLY, &options, m);
  rc = maph_open(path, MAPH_RDWR, &options, m);
  if (rc != MAPH_CANTOPEN && rc != MAPH_READONLY) return rc;
  sentence_public(obstacle, room, maph_errmsg(NULL));
  return maph_open(path, MAPH_RDONLY, &options, m) == MAPH_OK ? MAPH_OK : rc;
}

static store *new_store(const char *name, size_t size, maph *m, const char *obstacle,
                        const struct stat *file) {
  store *store = calloc(1, sizeof *store);
  maph_stats stats;
  if (store == NULL) return NULL;
  memcpy(store->name, name, size);
  store->m = m;
  store->read_only = *obstacle != 0;
  store->replica = maph_stat(m, &stats) == MAPH_OK && stats.versions == MAPH_VERSIONS_GIVEN;
  strcpy(store->obstacle, obstacle);
  atomic_init(&store->tried_us, now_us());
  store->device = file->st_dev;
  store->inode = file->st_ino;
  atomic_init(&store->references, 1);
  return store;
}

static void insert(store *store) {
  struct store **at = &table[bucket_of(store->name, strlen(store->name))];
  pthread_rwlock_wrlock(&table_lock);
  store->next = *at;
  *at = store;
  pthread_rwlock_unlock(&table_lock);
}

/* Open it into the table; the name is in `openings`. */
static int open_store(const char *name, size_t size, store **result) {
  char path[4096], obstacle[sizeof(*result)->obstacle];
  maph *m = NULL;
  struct stat st;
  int rc;
  if (!path_of(path, sizeof path, name, size) || !look(name, size, &st)) return MAPH_NOTFOUND;
  if ((rc = open_handle(path, &m, obstacle, sizeof obstacle)) != MAPH_OK) return rc;
  *result = new_store(name, size, m, obstacle, &st);
  if (*result == NULL) {
    maph_close(m);
    return MAPH_NOMEM;
  }
  store_hold(*result);
  insert(*result);
  return MAPH_OK;
}

/* A handle that moved on to a rewritten file still holds the old one, so that no other can have its
** inode. */
static bool outdated(const store *store) {
  struct stat st;
  return !look(store->name, strlen(store->name), &st) || st.st_dev != store->device
         || st.st_ino != store->inode;
}

/* A read may be of the file that had the name a moment ago, as it is for every process that maps
** it; a look costs as much as a get. */
static bool found_outdated(store *store, bool to_read) {
  uint64_t now = to_read ? now_us() : 0;
  if (to_read && now - atomic_load_explicit(&store->looked_us, memory_order_relaxed) < LOOK_US)
    return false;
  if (to_read) atomic_store_explicit(&store->looked_us, now, memory_order_relaxed);
  return outdated(store);
}

/* Put `better` where store is in the table.  False: it is not there any more. */
static bool replace(store *store, struct store *better) {
  struct store **at;
  bool found;
  pthread_rwlock_wrlock(&table_lock);
  at = find(store->name, strlen(store->name));
  found = *at == store;
  if (found) {
    better->next = store->next;
    *at = better;
  }
  pthread_rwlock_unlock(&table_lock);
  return found;
}

void store_obstacle(const store *store, char *out, size_t room) {
  pthread_rwlock_rdlock(&table_lock);
  snprintf(out, room, "%s", store->obstacle);
  pthread_rwlock_unlock(&table_lock);
}

/* A store that could only be opened for reading, for writing: that, or store itself, with why not.
*/
static store *open_for_writing(store *store) {
  char path[4096];
  maph_options options;
  maph *m = NULL;
  struct stat st;
  struct store *better;
  fill_options(&options);
  if (!path_of(path, sizeof path, store->name, strlen(store->name))
      || !look(store->name, strlen(store->name), &st))
    return store;
  if (maph_open(path, MAPH_RDWR, &options, &m) != MAPH_OK) {
    pthread_rwlock_wrlock(&table_lock);
    sentence_public(store->obstacle, sizeof store->obstacle, maph_errmsg(NULL));
    pthread_rwlock_unlock(&table_lock);
    return store;
  }
  better = new_store(store->name, strlen(store->name), m, "", &st);
  if (better == NULL) {
    maph_close(m);
    return store;
  }
  store_hold(better);
  if (!replace(store, better)) {
    store_release(better);
    store_release(better);
    return store;
  }
  atomic_store(&store->retired, true);
  follow_ring_all();
  store_release(store);
  store_release(store);
  return better;
}

/* Whether it is time to try that; and this request's turn. */
static bool is_due(store *store, uint64_t *tried) {
  *tried = atomic_load(&store->tried_us);
  return store->read_only && !option.read_only && now_us() - *tried >= RETRY_US;
}

static bool may_try(store *store) {
  uint64_t tried;
  return is_due(store, &tried)
         && atomic_compare_exchange_strong(&store->tried_us, &tried, now_us());
}

/* The store as it is in the table, if its name still leads to its file: what a request writes goes
** where the next one reads. */
static store *in_table(const char *name, size_t size, bool to_read) {
  store *store;
  pthread_rwlock_rdlock(&table_lock);
  store = *find(name, size);
  if (store) store_hold(store);
  pthread_rwlock_unlock(&table_lock);
  if (store == NULL || !found_outdated(store, to_read)) return store;
  store_forget(store);
  store_release(store);
  return NULL;
}

store *store_acquire(const char *name, size_t size, bool to_read, int *rc) {
  opening mine = { name, size, NULL };
  store *store;
  *rc = MAPH_OK;
  if (!store_name_valid(name, size)) {
    *rc = MAPH_MISUSE;
    return NULL;
  }
  if ((store = in_table(name, size, to_read)) != NULL)
    return may_try(store) ? open_for_writing(store) : store;
  if (!opening_begin(&mine)) {
    *rc = STORE_OPENING;
    return NULL;
  }
  store = in_table(name, size, false);
  if (store == NULL) *rc = open_store(name, size, &store);
  opening_note(name, size, *rc != MAPH_OK && *rc != MAPH_NOTFOUND);
  opening_end(&mine);
  return store;
}

store *store_again(store *store, int *rc) {
  struct store *now;
  *rc = MAPH_OK;
  if (!outdated(store)) return store;
  now = store_acquire(store->name, strlen(store->name), false, rc);
  store_release(store);
  return now;
}

store *store_at_once(const char *name, size_t size) {
  uint64_t tried;
  store *store;
  bool old;
  pthread_rwlock_rdlock(&table_lock);
  store = *find(name, size);
  if (store) store_hold(store);
  pthread_rwlock_unlock(&table_lock);
  if (store == NULL) return NULL;
  old = found_outdated(store, true);
  if (old) atomic_store(&store->looked_us, 0); /* the next one looks again */
  if (!old && !is_due(store, &tried)) return store;
  store_release_at_once(store);
  return NULL;
}

const char *store_errmsg(int rc, maph *m) {
  if (rc == STORE_OPENING)
    return "the store is still being opened: it is recovered, or another process has it to itself";
  if (rc == STORE_CROWDED)
    return "so many writers wait for this store that no more may: come again";
  return maph_errmsg(m);
}

int store_core_code(int rc) { return rc == STORE_OPENING || rc == STORE_CROWDED ? MAPH_BUSY : rc; }

void store_hold(store *store) { atomic_fetch_add(&store->references, 1); }

void store_release(store *store) {
  if (store == NULL || atomic_fetch_sub(&store->references, 1) != 1) return;
  if (maph_close(store->m) != MAPH_OK) log_line("closing %s: %s", store->name, maph_errmsg(NULL));
  free(store);
}

/* Without a reference, and to be closed. */
static _Atomic(store *) left;

void store_release_at_once(store *store) {
  if (store == NULL || atomic_fetch_sub(&store->references, 1) != 1) return;
  store->next = atomic_load(&left);
  while (!atomic_compare_exchange_weak(&left, &store->next, store)) {}
}

static void close_left(void) {
  store *next, *store = atomic_exchange(&left, NULL);
  for (; store; store = next) {
    next = store->next;
    store_hold(store);
    store_release(store);
  }
}

void store_forget(store *store) {
  struct store **at;
  bool found;
  pthread_rwlock_wrlock(&table_lock);
  at = find(store->name, strlen(store->name));
  found = *at == store;
  if (found) *at = store->next;
  pthread_rwlock_unlock(&table_lock);
  if (found) {
    atomic_store(&store->retired, true);
    follow_ring_all();
    store_release(store);
  }
}

void stores_renew(void) {
  for (store *store = store_next(NULL); store; store = store_next(store))
    if (outdated(store)) store_forget(store);
  close_left();
}

store *store_next(store *after) {
  store *store = NULL;
  unsigned b = 0;
  pthread_rwlock_rdlock(&table_lock);
  if (after) {
    b = bucket_of(after->name, strlen(after->name));
    store = *find(after->name, strlen(after->name)) == after ? after->next : NULL;
    if (store == NULL) b++;
  }
  while (store == NULL && b < BUCKETS) store = table[b++];
  if (store) atomic_fetch_add(&store->references, 1);
  pthread_rwlock_unlock(&table_lock);
  store_release(after);
  return store;
}

void stores_close_all(void) {
  for (unsigned b = 0; b < BUCKETS; b++) {
    while (table[b]) store_forget(table[b]);
  }
  close_left();
}

/* -------------------------------------------------------------------------- making and deleting */
/* The file system decides who makes it; then it is opened as any other is. */
int store_make(const char *name, size_t size, uint64_t expected_keys) {
  char path[4096];
  maph_options options;
  maph *m = NULL;
  int opened, rc;
  if (!path_of(path, sizeof path, name, size)) return MAPH_MISUSE;
  if (name_occupant(path)) return MAPH_EXISTS; /* a link would be followed, out of the folder */
  fill_options(&options);
  options.expected_keys = expected_keys;
  options.after_version = version_unused();
  rc = maph_open(path, MAPH_RDWR | MAPH_CREATE | MAPH_EXCL, &options, &m);
  if (rc != MAPH_OK) return rc;
  store_release(store_acquire(name, size, false, &opened));
  maph_close(m);
  return MAPH_OK;
}

const char *store_occupant(const char *name, size_t size) {
  char path[4096];
  return path_of(path, sizeof path, name, size) ? name_occupant(path) : NULL;
}

/* Is it one that nobody here could open anyway?  A file of several names stays under the others.
** On a full disk that writes each page to a new place even the mark of a deleted store has no room:
** it goes as by rm, which all who have it open find out too. */
static bool no_store(const char *path, int rc) {
  struct stat st;
  if (rc == MAPH_CANTOPEN && stat(path, &st) == 0 && st.st_nlink > 1) return true;
  return rc == MAPH_FORMAT || rc == MAPH_CORRUPT || rc == MAPH_FULL
         || (rc == MAPH_CANTOPEN && faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) != 0);
}

int store_delete(const char *name, size_t size, int *trouble) {
  char path[4096];
  maph_stats stats = { 0 };
  store *store;
  int rc;
  *trouble = 0;
  if (!path_of(path, sizeof path, name, size)) return MAPH_MISUSE;
  store = in_table(name, size, false);
  if (store) {
    (void)!maph_stat(store->m, &stats);
    store_forget(store);
  }
  store_release(store);
  if (name_occupant(path)) {
    *trouble = name_clear(path);
    rc = *trouble ? MAPH_CANTOPEN : MAPH_OK;
  } else if (!store_file_exists(name, size)) {
    return MAPH_NOTFOUND;
  } else {
    version_remember(stats.version);
    rc = maph_destroy(path, (int)option.busy_timeout_ms);
    if (no_store(path, rc) && (*trouble = name_remove_file(path)) == 0) rc = MAPH_OK;
  }
  if (rc == MAPH_OK) opening_note(name, size, false);
  return rc;
}
