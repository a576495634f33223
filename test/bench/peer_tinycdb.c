/*
** peer_tinycdb.c - tinycdb: built once with cdb_make, then read through its mapping with cdb_find.
** It cannot be written after that.  A build at LEVEL_FULL ends with fsync; the library itself never
** flushes.
*/
#ifdef BENCH_TINYCDB
#include "bench.h"

#include <cdb.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct cdb_store {
  struct cdb read;
  struct cdb_make make;
  int fd;
  level level;
  int finished;
} cdb_store;

static int open_data(const char *folder, int flags) {
  char path[600];
  snprintf(path, sizeof path, "%s/data.cdb", folder);
  int fd = open(path, flags, 0644);
  if (fd < 0) fail("tinycdb: cannot open %s", path);
  return fd;
}

static const char *tinycdb_version(void) {
  static char version[32];
  snprintf(version, sizeof version, "tinycdb %.2f", TINYCDB_VERSION);
  return version;
}

static void *tinycdb_create(const char *folder, level at) {
  cdb_store *s = must_alloc(sizeof *s);
  s->fd = open_data(folder, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC);
  s->level = at;
  s->finished = 0;
  if (cdb_make_start(&s->make, s->fd)) fail("tinycdb: make_start failed");
  return s;
}

static void *tinycdb_open(const char *folder, level at) {
  if (at != LEVEL_READ) fail("tinycdb: a finished file cannot be written");
  cdb_store *s = must_alloc(sizeof *s);
  s->fd = open_data(folder, O_RDONLY | O_CLOEXEC);
  s->level = at;
  if (cdb_init(&s->read, s->fd)) fail("tinycdb: init failed");
  return s;
}

static void tinycdb_put_batch(void *store, size_t n, const slice *keys, const slice *values) {
  cdb_store *s = store;
  for (size_t i = 0; i < n; i++) {
    if (cdb_make_add(&s->make, keys[i].data, (unsigned)keys[i].size, values[i].data,
                     (unsigned)values[i].size)) {
      fail("tinycdb: make_add failed");
    }
  }
}

static void tinycdb_finish(void *store) {
  cdb_store *s = store;
  if (s->finished) return;
  if (cdb_make_finish(&s->make)) fail("tinycdb: make_finish failed");
  if (s->level == LEVEL_FULL && fsync(s->fd)) fail("tinycdb: fsync failed");
  s->finished = 1;
}

static void tinycdb_close(void *store) {
  cdb_store *s = store;
  if (s->level == LEVEL_READ)
    cdb_free(&s->read);
  else
    tinycdb_finish(s);
  close(s->fd);
  free(s);
}

static int tinycdb_get(void *store, slice key, slice *value) {
  struct cdb *c = &((cdb_store *)store)->read;
  int rc = cdb_find(c, key.data, (unsigned)key.size);
  if (rc < 0) fail("tinycdb: find failed");
  if (rc == 0) return 0;
  *value = maph_bytes(cdb_getdata(c), cdb_datalen(c));
  return 1;
}

static void tinycdb_scan(void *store, scan_total *total) {
  struct cdb *c = &((cdb_store *)store)->read;
  unsigned place;
  int rc;
  cdb_seqinit(&place, c);
  while ((rc = cdb_seqnext(&place, c)) > 0) {
    scan_count(total, maph_bytes(cdb_getkey(c), cdb_keylen(c)),
               maph_bytes(cdb_getdata(c), cdb_datalen(c)));
  }
  if (rc < 0) fail("tinycdb: seqnext failed");
}

/* cdb_find keeps its place in the struct; the mapping under it may be shared. */
static void *tinycdb_reader(void *store) {
  cdb_store *s = must_alloc(sizeof *s);
  *s = *(cdb_store *)store;
  return s;
}

extern const peer peer_tinycdb;
const peer peer_tinycdb = {
  .name = "tinycdb",
  .settings = "cdb_make, then cdb_find in its mapping; durable load: one fsync at the end",
  .version = tinycdb_version,
  .loader = &peer_tinycdb,
  .file = "data.cdb",
  .create = tinycdb_create,
  .open = tinycdb_open,
  .close = tinycdb_close,
  .get = tinycdb_get,
  .put_batch = tinycdb_put_batch,
  .finish = tinycdb_finish,
  .scan = tinycdb_scan,
  .reader = tinycdb_reader,
  .reader_close = free
};
#endif
