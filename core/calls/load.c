/*
** load.c - maph_load_*: a new store from entries that come one after the other.
**
** writer/load.c makes the file.  With `optimize` it is a file without a name beside the path first,
** from which base.c gathers the records in the order of a perfect hash, as it does from a store
** that is rewritten.
*/
#include "calls/base.h"
#include "calls/handle.h"
#include "calls/open.h"
#include "calls/rewriting.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "index/lookup.h"
#include "writer/create.h"
#include "writer/load.h"
#include "writer/txn.h"

#include <stdlib.h>

enum { LOAD_MAGIC = 0x6c6f };

struct maph_load {
  uint32_t magic;
  unsigned fork_count;
  unsigned forks; /* os_forks(): in a child of the progress callback nothing is cleaned up */
  int failed;
  char *path;
  maph_load_options options;
  creation creation;
  listener listener;
  store *s; /* what the records go to */
  load load;
};

/* -------------------------------------------------------------------------------------- options */

static int take_options(const maph_load_options *given, maph_load_options *o) {
  static const maph_load_options defaults = MAPH_LOAD_OPTIONS_INIT;
  *o = defaults;
  if (given == NULL) return MAPH_OK;
  if (given->size < sizeof *o || given->size > 4096)
    return fail(MAPH_MISUSE,
                "maph_load_options.size is %zu: initialise with MAPH_LOAD_OPTIONS_INIT",
                given->size);
  memcpy(o, given, sizeof *o);
  if (o->memory_bytes == 0) o->memory_bytes = LOAD_MEMORY;
  return MAPH_OK;
}

static int check(maph_load *l, const char *call) {
  if (l == NULL || l->magic != LOAD_MAGIC)
    return fail(MAPH_MISUSE, "%s: this load has ended, or never began", call);
  if (l->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a load does not cross fork()", l->path);
  return MAPH_OK;
}

/* ---------------------------------------------------------------------------------- begin and end
** */

/* The file that the records go to: of the name to come, or of none. */
static int make_file(maph_load *l) {
  const char *temporary = l->creation.temporary;
  os_file f;
  int rc;
  if (!l->options.optimize) return create_bare(temporary, l->creation.mode, &l->s);
  rc = os_open_unnamed(temporary, &f);
  if (rc != MAPH_OK) return rc;
  l->s = store_bare(temporary, &f);
  if (l->s == NULL) os_close(&f);
  return l->s ? MAPH_OK : MAPH_NOMEM;
}

static load_how how_of(maph_load *l) {
  return (load_how){ .generation = 1,
                     .base_version = l->options.after_version,
                     .version = l->options.after_version + 1,
                     .keys = l->options.expected_keys,
                     .memory = l->options.memory_bytes,
                     .listener = &l->listener };
}

/* What is left is freed; rc: is the store there? */
static void end(maph_load *l, int rc) {
  int mine = l->fork_count == handle_forks() && l->forks == os_forks();
  l->magic = 0;
  load_clear(&l->load);
  if (rc != MAPH_OK && mine && l->creation.lock.fd >= 0) os_remove(l->creation.temporary);
  store_free(l->s);
  create_release(&l->creation, mine ? rc : MAPH_OK);
  free(l->path);
  os_free(l);
}

static int begin(const char *path, const maph_load_options *options, maph_load *l) {
  maph_options given = MAPH_OPTIONS_INIT, store_options;
  load_how how;
  int rc = take_options(options, &l->options);
  given.mode = l->options.mode;
  given.busy_timeout_ms = l->options.busy_timeout_ms;
  given.after_version = l->options.after_version;
  given.perfect_hash = l->options.perfect_hash;
  if (rc == MAPH_OK) rc = open_take_options(&given, &store_options);
  if (rc == MAPH_OK) rc = os_resolve(path, &l->path);
  if (rc != MAPH_OK) return rc;
  l->listener.tell = l->options.progress;
  l->listener.arg = l->options.progress_arg;
  rc = create_claim(&l->creation, l->path, &store_options, 1);
  if (rc == MAPH_OK) rc = make_file(l);
  how = how_of(l);
  return rc == MAPH_OK ? load_begin(&l->load, l->s, &how) : rc;
}

int maph_load_begin(const char *path, const maph_load_options *options, maph_load **out) {
  interruptible call;
  maph_load *l;
  int rc;
  if (out == NULL) return fail(MAPH_MISUSE, "maph_load_begin: no place for the load");
  *out = NULL;
  if (path == NULL || path[0] == 0 || strcmp(path, ":memory:") == 0)
    return fail(MAPH_MISUSE, "maph_load_begin: name the file that is to be made");
  handle_watch_forks();
  l = os_alloc(sizeof *l);
  if (l == NULL) return MAPH_NOMEM;
  l->magic = LOAD_MAGIC;
  l->fork_count = handle_forks();
  l->forks = os_forks();
  l->creation.lock.fd = l->creation.empty.fd = -1;
  interrupt_begin(&call, NULL);
  rc = begin(path, options, l);
  interrupt_end(&call);
  if (rc == MAPH_OK)
    *out = l;
  else
    end(l, rc);
  return rc;
}

int maph_load_abort(maph_load *l) {
  int rc;
  if (l == NULL) return MAPH_OK;
  if (l->magic != LOAD_MAGIC) return check(l, "maph_load_abort");
  rc = l->fork_count == handle_forks() ? MAPH_OK : check(l, "maph_load_abort");
  end(l, MAPH_CANCELLED);
  return rc;
}

/* ------------------------------------------------------------------------------------------ put */

int maph_load_put(maph_load *l, maph_slice key, maph_slice value, const maph_condition *c) {
  log_put put;
  int rc = check(l, "maph_load_put");
  if (rc != MAPH_OK) return rc;
  if (unlikely(l->failed))
    return fail(MAPH_MISUSE, "%s: an entry could not be put: the load can only be aborted",
                l->path);
  rc = txn_check_sizes(key, value, c);
  if (rc == MAPH_OK && c && c->when != MAPH_ALWAYS)
    rc = fail(MAPH_MISUSE, "%s: a load puts always: use MAPH_ALWAYS", l->path);
  if (unlikely(rc != MAPH_OK)) return rc;
  txn_fill_put(&put, key, value, c, l->options.after_version + 1);
  rc = load_put(&l->load, &put);
  if (unlikely(rc != MAPH_OK)) l->failed = 1;
  return rc;
}

uint64_t maph_load_entries(maph_load *l) {
  return check(l, "maph_load_entries") == MAPH_OK ? l->load.records : 0;
}

/* --------------------------------------------------------------------------------------- finish */

/* From the file that was filled, which goes, to one in the order of a perfect hash. */
static int freeze(maph_load *l) {
  rewriting x;
  maph_snapshot all;
  int rc;
  memset(&x, 0, sizeof x);
  memset(&all, 0, sizeof all);
  all.s = x.from = l->s;
  all.snapshot = l->s->last.end;
  all.version = l->s->last.version;
  all.records = l->s->last.records;
  x.snapshot = &all;
  x.listener = l->listener;
  x.perfect_hash = l->options.perfect_hash;
  x.how = how_of(l);
  x.how.keys = 0;
  x.how.unique = 1;
  x.how.listener = NULL;
  rc = create_bare(l->creation.temporary, l->creation.mode, &x.to);
  if (rc == MAPH_OK) rc = base_freeze(&x);
  l->listener = x.listener;
  store_free(l->s);
  l->s = x.to;
  return rc;
}

static int finish(maph_load *l) {
  int rc = load_finish(&l->load);
  load_clear(&l->load);
  if (rc == MAPH_OK && l->options.optimize) rc = freeze(l);
  if (rc == MAPH_OK) rc = progress_tell(&l->listener, l->path, "flush", 0, 1);
  return rc == MAPH_OK ? create_take_name(&l->creation, l->s) : rc;
}

int maph_load_finish(maph_load *l) {
  interruptible call;
  int rc = check(l, "maph_load_finish");
  if (rc != MAPH_OK) return rc;
  interrupt_begin(&call, NULL);
  if (l->failed)
    rc = fail(MAPH_MISUSE, "%s: an entry could not be put: the load can only be aborted", l->path);
  if (rc == MAPH_OK) rc = finish(l);
  interrupt_end(&call);
  end(l, rc);
  return rc;
}
