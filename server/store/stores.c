/*
** stores.c - the stores that are open, and making and deleting them.
**
** A store is DIR/NAME.maph.  It is opened at its first use (those there at start by a thread of
** their own, so that one which must be recovered, or which another process has to itself, keeps
** nobody from the others; at most half of the files that may be open go to them), once, for reading
** and writing with verified reads, and stays open; where it may only be read it is opened for
** reading, and for writing when what stood in the way is gone, which is tried each second by the
** requests for it.  The table holds one reference and each request one: a store that is deleted
** leaves the table at once, and its handle is closed by the last request that uses it.  A handle
** keeps what it mapped until it is closed, so a store whose file was rewritten is forgotten and
** opened anew; so is one whose name leads elsewhere, since rm, or mv of a backup, leaves no mark in
** the file: each request that writes looks, those that read each 20 ms, and what nobody asks for is
** looked at each second.
**
** Nothing outside DIR is reachable: names hold no slash and begin with a letter or digit, and only
** regular files are opened, never what a link points to.
**
** Locking: table_lock for the table, never held during input or output, nor while a handle is
** opened or closed.  Who opens a store says so in `openings`, and only who wants that very store
** waits for it.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sentence.h"
#include "base/uri.h"
#include "base/waits.h"
#include "store/follow.h"
#include "store/names.h"
#include "store/stores.h"
#include "store/versions.h"

enum {
  BUCKETS = 256,
  NAMES_MAX = 100000,
  OPENING_LEAST_MS = 1000,
  RETRY_US = 1000000,
  LOOK_US = 20000
};
static store *table[BUCKETS];
static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;

/* A store that somebody opens just now; it lies on that thread's stack. */
typedef struct opening {
  const char *name;
  size_t size;
  struct opening *next;
} opening;
static opening *openings;
static pthread_mutex_t openings_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opening_ended;

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
static void fill_options(maph_options *o) {
  maph_options standard = MAPH_OPTIONS_INIT;
  *o = standard;
  o->verify = 1;
  o->busy_timeout_ms = (int)option.busy_timeout_ms;
  o->durability = durability_from_name(option.sync, strlen(option.sync));
}

/* Open for writing; where that is not allowed, for reading: then `obstacle` says why. */
static int open_handle(const char *path, maph **m, char *obstacle, size_t room) {
  maph_options o;
  int rc;
  fill_options(&o);
  snprintf(obstacle, room, "%s", option.read_only ? "it was started with --read-only" : "");
  if (option.read_only) return maph_open(path, MAPH_RDONLY, &o, m);
  rc = maph_open(path, MAPH_RDWR, &o, m);
  if (rc != MAPH_CANTOPEN && rc != MAPH_READONLY) return rc;
  sentence_public(obstacle, room, maph_errmsg(NULL));
  return maph_open(path, MAPH_RDONLY, &o, m) == MAPH_OK ? MAPH_OK : rc;
}

static store *new_store(const char *name, size_t size, maph *m, const char *obstacle,
                        const struct stat *file) {
  store *s = calloc(1, sizeof *s);
  if (s == NULL) return NULL;
  memcpy(s->name, name, size);
  s->m = m;
  s->read_only = *obstacle != 0;
  strcpy(s->obstacle, obstacle);
  atomic_init(&s->tried_us, now_us());
  s->device = file->st_dev;
  s->inode = file->st_ino;
  atomic_init(&s->references, 1);
  return s;
}

static void insert(store *s) {
  store **at = &table[bucket_of(s->name, strlen(s->name))];
  pthread_rwlock_wrlock(&table_lock);
  s->next = *at;
  *at = s;
  pthread_rwlock_unlock(&table_lock);
}

/* Names whose files could not be opened; openings_mutex. */
typedef struct failure {
  char name[72];
  struct failure *next;
} failure;
static failure *failures;

/* Note whether a name could be opened, or is not there any more. */
static void note_opening(const char *name, size_t size, bool failed) {
  failure **at = &failures, *f;
  pthread_mutex_lock(&openings_mutex);
  while (*at && (strlen((*at)->name) != size || memcmp((*at)->name, name, size) != 0))
    at = &(*at)->next;
  f = *at;
  if (f && !failed) {
    *at = f->next;
    free(f);
  } else if (f == NULL && failed && (f = calloc(1, sizeof *f)) != NULL) {
    memcpy(f->name, name, size);
    f->next = failures;
    failures = f;
  }
  pthread_mutex_unlock(&openings_mutex);
}

uint64_t stores_unopenable(void) {
  uint64_t n = 0;
  pthread_mutex_lock(&openings_mutex);
  for (const failure *f = failures; f; f = f->next) n++;
  pthread_mutex_unlock(&openings_mutex);
  return n;
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

static bool is_being_opened(const char *name, size_t size) {
  const opening *o = openings;
  while (o && (o->size != size || memcmp(o->name, name, size) != 0)) o = o->next;
  return o != NULL;
}

/* When nobody else opens that store any more, we do.  False: that lasts longer than one may
** wait. */
static bool opening_begin(opening *mine) {
  uint64_t wait_ms =
      option.busy_timeout_ms > OPENING_LEAST_MS ? option.busy_timeout_ms : OPENING_LEAST_MS;
  struct timespec until = clock_after(wait_ms / 1000);
  bool waits, may_wait = waits_enter(WAIT_OPEN, NULL);
  pthread_mutex_lock(&openings_mutex);
  while ((waits = is_being_opened(mine->name, mine->size)) && may_wait
         && pthread_cond_timedwait(&opening_ended, &openings_mutex, &until) == 0)
    ;
  if (!waits) {
    mine->next = openings;
    openings = mine;
  }
  pthread_mutex_unlock(&openings_mutex);
  if (may_wait) waits_leave(WAIT_OPEN, NULL);
  return !waits;
}

static void opening_end(const opening *mine) {
  opening **at = &openings;
  pthread_mutex_lock(&openings_mutex);
  while (*at != mine) at = &(*at)->next;
  *at = mine->next;
  pthread_cond_broadcast(&opening_ended);
  pthread_mutex_unlock(&openings_mutex);
}

/* A handle that moved on to a rewritten file still holds the old one, so that no other can have its
** inode. */
static bool outdated(const store *s) {
  struct stat st;
  return !look(s->name, strlen(s->name), &st) || st.st_dev != s->device || st.st_ino != s->inode;
}

/* A read may be of the file that had the name a moment ago, as it is for every process that maps
** it; a look costs as much as a get. */
static bool found_outdated(store *s, bool to_read) {
  uint64_t now = to_read ? now_us() : 0;
  if (to_read && now - atomic_load_explicit(&s->looked_us, memory_order_relaxed) < LOOK_US)
    return false;
  if (to_read) atomic_store_explicit(&s->looked_us, now, memory_order_relaxed);
  return outdated(s);
}

/* Put `better` where s is in the table.  False: it is not there any more. */
static bool replace(store *s, store *better) {
  store **at;
  bool found;
  pthread_rwlock_wrlock(&table_lock);
  at = find(s->name, strlen(s->name));
  found = *at == s;
  if (found) {
    better->next = s->next;
    *at = better;
  }
  pthread_rwlock_unlock(&table_lock);
  return found;
}

void store_obstacle(const store *s, char *out, size_t room) {
  pthread_rwlock_rdlock(&table_lock);
  snprintf(out, room, "%s", s->obstacle);
  pthread_rwlock_unlock(&table_lock);
}

/* A store that could only be opened for reading, for writing: that, or s itself, with why not. */
static store *open_for_writing(store *s) {
  char path[4096];
  maph_options o;
  maph *m = NULL;
  struct stat st;
  store *better;
  fill_options(&o);
  if (!path_of(path, sizeof path, s->name, strlen(s->name)) || !look(s->name, strlen(s->name), &st))
    return s;
  if (maph_open(path, MAPH_RDWR, &o, &m) != MAPH_OK) {
    pthread_rwlock_wrlock(&table_lock);
    sentence_public(s->obstacle, sizeof s->obstacle, maph_errmsg(NULL));
    pthread_rwlock_unlock(&table_lock);
    return s;
  }
  better = new_store(s->name, strlen(s->name), m, "", &st);
  if (better == NULL) {
    maph_close(m);
    return s;
  }
  store_hold(better);
  if (!replace(s, better)) {
    store_release(better);
    store_release(better);
    return s;
  }
  atomic_store(&s->retired, true);
  follow_ring_all();
  store_release(s);
  store_release(s);
  return better;
}

/* Whether it is time, and this request's turn, to try that. */
static bool may_try(store *s) {
  uint64_t tried = atomic_load(&s->tried_us), now = now_us();
  return s->read_only && !option.read_only && now - tried >= RETRY_US
         && atomic_compare_exchange_strong(&s->tried_us, &tried, now);
}

/* The store as it is in the table, if its name still leads to its file: what a request writes goes
** where the next one reads. */
static store *in_table(const char *name, size_t size, bool to_read) {
  store *s;
  pthread_rwlock_rdlock(&table_lock);
  s = *find(name, size);
  if (s) store_hold(s);
  pthread_rwlock_unlock(&table_lock);
  if (s == NULL || !found_outdated(s, to_read)) return s;
  store_forget(s);
  store_release(s);
  return NULL;
}

store *store_acquire(const char *name, size_t size, bool to_read, int *rc) {
  opening mine = { name, size, NULL };
  store *s;
  *rc = MAPH_OK;
  if (!store_name_valid(name, size)) {
    *rc = MAPH_MISUSE;
    return NULL;
  }
  if ((s = in_table(name, size, to_read)) != NULL) return may_try(s) ? open_for_writing(s) : s;
  if (!opening_begin(&mine)) {
    *rc = STORE_OPENING;
    return NULL;
  }
  s = in_table(name, size, false);
  if (s == NULL) *rc = open_store(name, size, &s);
  note_opening(name, size, *rc != MAPH_OK && *rc != MAPH_NOTFOUND);
  opening_end(&mine);
  return s;
}

const char *store_errmsg(int rc, maph *m) {
  if (rc == STORE_OPENING)
    return "the store is still being opened: it is recovered, or another process has it to itself";
  if (rc == STORE_CROWDED)
    return "so many writers wait for this store that no more may: come again";
  return maph_errmsg(m);
}

int store_core_code(int rc) { return rc == STORE_OPENING || rc == STORE_CROWDED ? MAPH_BUSY : rc; }

void store_hold(store *s) { atomic_fetch_add(&s->references, 1); }

void store_release(store *s) {
  if (s == NULL || atomic_fetch_sub(&s->references, 1) != 1) return;
  if (maph_close(s->m) != MAPH_OK) log_line("closing %s: %s", s->name, maph_errmsg(NULL));
  free(s);
}

void store_forget(store *s) {
  store **at;
  bool found;
  pthread_rwlock_wrlock(&table_lock);
  at = find(s->name, strlen(s->name));
  found = *at == s;
  if (found) *at = s->next;
  pthread_rwlock_unlock(&table_lock);
  if (found) {
    atomic_store(&s->retired, true);
    follow_ring_all();
    store_release(s);
  }
}

void stores_renew(void) {
  for (store *s = store_next(NULL); s; s = store_next(s))
    if (outdated(s)) store_forget(s);
}

store *store_next(store *after) {
  store *s = NULL;
  unsigned b = 0;
  pthread_rwlock_rdlock(&table_lock);
  if (after) {
    b = bucket_of(after->name, strlen(after->name));
    s = *find(after->name, strlen(after->name)) == after ? after->next : NULL;
    if (s == NULL) b++;
  }
  while (s == NULL && b < BUCKETS) s = table[b++];
  if (s) atomic_fetch_add(&s->references, 1);
  pthread_rwlock_unlock(&table_lock);
  store_release(after);
  return s;
}

/* ----------------------------------------------------------------------------------- the folder */
static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

char **stores_names(size_t *count) {
  DIR *dir = opendir(option.data);
  struct dirent *e;
  char **names = NULL;
  *count = 0;
  if (dir == NULL) return NULL;
  names = calloc(NAMES_MAX, sizeof *names);
  while (names && *count < NAMES_MAX && (e = readdir(dir)) != NULL) {
    size_t size = strlen(e->d_name);
    if (size <= 5 || strcmp(e->d_name + size - 5, ".maph") != 0
        || !store_name_valid(e->d_name, size - 5))
      continue;
    names[*count] = strndup(e->d_name, size - 5);
    if (names[*count]) ++*count;
  }
  closedir(dir);
  if (names) qsort(names, *count, sizeof *names, by_text);
  return names;
}

int stores_folder_trouble(bool to_write) {
  return faccessat(AT_FDCWD, option.data, to_write ? R_OK | W_OK | X_OK : R_OK | X_OK, AT_EACCESS)
                 == 0
             ? 0
             : errno;
}

static char **names_at_start;
static size_t names_count, names_to_open;
static pthread_t opener;
static bool opener_started;
static atomic_bool opener_stop;

static void *open_all(void *unused) {
  (void)unused;
  for (size_t i = 0; i < names_count; i++) {
    int rc = MAPH_NOTFOUND;
    store *s = i >= names_to_open || atomic_load(&opener_stop)
                   ? NULL
                   : store_acquire(names_at_start[i], strlen(names_at_start[i]), false, &rc);
    if (s == NULL && rc != MAPH_NOTFOUND)
      log_line("store %s cannot be opened: %s", names_at_start[i], store_errmsg(rc, NULL));
    store_release(s);
    free(names_at_start[i]);
  }
  free(names_at_start);
  return NULL;
}

bool stores_find(void) {
  clock_condition(&opening_ended);
  names_at_start = stores_names(&names_count);
  if (names_at_start == NULL)
    fprintf(stderr, "maph-server: cannot read the folder %s: %s\n", option.data, strerror(errno));
  return names_at_start != NULL;
}

size_t stores_found(void) { return names_count; }

int stores_start(uint64_t files) {
  names_to_open = files / 2 < names_count ? (size_t)files / 2 : names_count;
  opener_started = pthread_create(&opener, NULL, open_all, NULL) == 0;
  return opener_started ? 0 : 1;
}

void stores_close_all(void) {
  atomic_store(&opener_stop, true);
  if (opener_started) pthread_join(opener, NULL);
  opener_started = false;
  for (unsigned b = 0; b < BUCKETS; b++) {
    while (table[b]) store_forget(table[b]);
  }
}

/* -------------------------------------------------------------------------- making and deleting */
/* The file system decides who makes it; then it is opened as any other is. */
int store_make(const char *name, size_t size, uint64_t expected_keys) {
  char path[4096];
  maph_options o;
  maph *m = NULL;
  int opened, rc;
  if (!path_of(path, sizeof path, name, size)) return MAPH_MISUSE;
  fill_options(&o);
  o.expected_keys = expected_keys;
  o.after_version = version_unused();
  rc = maph_open(path, MAPH_RDWR | MAPH_CREATE | MAPH_EXCL, &o, &m);
  if (rc != MAPH_OK) return rc;
  store_release(store_acquire(name, size, false, &opened));
  maph_close(m);
  return MAPH_OK;
}

const char *store_occupant(const char *name, size_t size) {
  char path[4096];
  return path_of(path, sizeof path, name, size) ? name_occupant(path) : NULL;
}

/* Is it one that nobody here could open anyway? */
static bool no_store(const char *path, int rc) {
  return rc == MAPH_FORMAT || rc == MAPH_CORRUPT
         || (rc == MAPH_CANTOPEN && faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) != 0);
}

int store_delete(const char *name, size_t size, int *trouble) {
  char path[4096];
  maph_stats stats = { 0 };
  store *s;
  int rc;
  *trouble = 0;
  if (!path_of(path, sizeof path, name, size)) return MAPH_MISUSE;
  s = in_table(name, size, false);
  if (s) {
    (void)!maph_stat(s->m, &stats);
    store_forget(s);
  }
  store_release(s);
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
  if (rc == MAPH_OK) note_opening(name, size, false);
  return rc;
}
