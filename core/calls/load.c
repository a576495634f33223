/*
** load.c - maph_load_*: a new store from entries that come one after the other.
**
** writer/load.c makes the file, which gets its name by writer/create.c or, with `into_empty`, by
** intake.c.  With `optimize` the entries first go to a file without a name beside the path.  From
** that freeze.c gathers the records in the order of a perfect hash, as it does from a store that is
** rewritten.
*/
#include "calls/freeze.h"
#include "calls/handle.h"
#include "calls/intake.h"
#include "calls/open.h"
#include "calls/rewriting.h"
#include "file/layout.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "index/build.h"
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
  uint64_t version; /* of what is put; 0: versions are given, and none was said yet */
  char *path;
  maph_load_options options;
  header_identity identity;
  creation creation;
  intake intake;
  listener listener;
  store *store; /* what the records go to */
  load load;
};

/* -------------------------------------------------------------------------------------- options */

static int take_options(const maph_load_options *given, maph_load_options *o) {
  static const maph_load_options defaults = MAPH_LOAD_OPTIONS_INIT;
  *o = defaults;
  if (given == NULL) return MAPH_OK;
  if (given->size < sizeof given->size || given->size > 4096)
    return fail(MAPH_MISUSE,
                "maph_load_options.size is %zu: initialise with MAPH_LOAD_OPTIONS_INIT",
                given->size);
  memcpy(o, given, MIN(given->size, sizeof *o));
  o->size = sizeof *o;
  if (o->memory_bytes == 0) o->memory_bytes = LOAD_MEMORY;
  return MAPH_OK;
}

static int check(maph_load *load, const char *call) {
  if (load == NULL || load->magic != LOAD_MAGIC)
    return fail(MAPH_MISUSE, "%s: this load has ended, or never began", call);
  if (load->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a load does not cross fork()", load->path);
  return MAPH_OK;
}

/* ---------------------------------------------------------------------------------- begin and end
** */

/* The file that the records go to: of the name to come, or of none. */
static int make_file(maph_load *load) {
  const char *temporary = load->creation.temporary;
  os_file file;
  int rc;
  if (!load->options.optimize) return create_bare(temporary, load->creation.mode, &load->store);
  rc = os_open_unnamed(temporary, &file);
  if (rc != MAPH_OK) return rc;
  load->store = store_bare(temporary, &file);
  if (load->store == NULL) os_close(&file);
  return load->store ? MAPH_OK : MAPH_NOMEM;
}

/* It is made last, when all else was done. */
static int index_has_room(const maph_load *load) {
  unsigned depth = index_depth_for(load->options.expected_keys);
  return os_room(&load->store->file, load->path, LOG_START + index_size(depth));
}

static load_how how_of(maph_load *load) {
  return (load_how){ .identity = load->identity,
                     .version = load->version,
                     .keys = load->options.expected_keys,
                     .memory = load->options.memory_bytes,
                     .listener = &load->listener };
}

/* What is left is freed; rc: is the store there?  If not, that was said. */
static void end(maph_load *load, int rc) {
  int mine = load->fork_count == handle_forks() && load->forks == os_forks();
  sentence why;
  error_keep(&why);
  load->magic = 0;
  load_clear(&load->load);
  if (rc != MAPH_OK && mine && load->creation.lock.fd >= 0 && load->creation.temporary)
    os_discard(load->creation.temporary);
  store_free(load->store);
  create_release(&load->creation, mine ? rc : MAPH_OK);
  intake_end(&load->intake);
  free(load->path);
  os_free(load);
  error_put_back(&why);
}

/* The name that the file will have, or the store that it is for. */
static int claim(maph_load *load, const maph_options *options) {
  int rc;
  if (!load->options.into_empty) return create_claim(&load->creation, load->path, options, 1);
  if (options->versions != MAPH_VERSIONS_OWN || options->after_version)
    return fail(MAPH_MISUSE, "%s: a load into a store that is there counts that store's versions",
                load->path);
  rc = intake_begin(&load->intake, load->path, options->busy_timeout_ms, &load->creation,
                    &load->identity);
  load->options.expected_keys = MAX(load->options.expected_keys, load->intake.keys);
  return rc;
}

static int begin(const char *path, const maph_load_options *options, maph_load *load) {
  maph_options given = MAPH_OPTIONS_INIT, store_options;
  load_how how;
  int rc = take_options(options, &load->options);
  given.mode = load->options.mode;
  given.busy_timeout_ms = load->options.busy_timeout_ms;
  given.after_version = load->options.after_version;
  given.expected_keys = load->options.expected_keys;
  given.perfect_hash = load->options.perfect_hash;
  given.versions = load->options.versions;
  memcpy(given.uuid, load->options.uuid, sizeof given.uuid);
  if (rc == MAPH_OK) rc = open_take_options(&given, &store_options);
  if (rc == MAPH_OK) rc = os_resolve(path, &load->path);
  if (rc != MAPH_OK) return rc;
  load->options.versions = store_options.versions;
  load->identity = create_identity(&store_options);
  if (load->identity.uuid) load->identity.uuid = load->options.uuid;
  load->listener.tell = load->options.progress;
  load->listener.arg = load->options.progress_arg;
  rc = claim(load, &store_options);
  if (rc == MAPH_OK) rc = make_file(load);
  load->version = load->identity.given ? 0 : load->identity.base_version + 1;
  if (rc == MAPH_OK && load->options.expected_keys) rc = index_has_room(load);
  how = how_of(load);
  return rc == MAPH_OK ? load_begin(&load->load, load->store, &how) : rc;
}

int maph_load_begin(const char *path, const maph_load_options *options, maph_load **out) {
  interruptible call;
  sentence before;
  maph_load *load;
  int rc;
  if (out == NULL) return fail(MAPH_MISUSE, "maph_load_begin: no place for the load");
  *out = NULL;
  if (path == NULL || path[0] == 0 || strcmp(path, ":memory:") == 0)
    return fail(MAPH_MISUSE, "maph_load_begin: name the file that is to be made");
  handle_watch_forks();
  load = os_alloc(sizeof *load);
  if (load == NULL) return error_name(MAPH_NOMEM, path);
  load->magic = LOAD_MAGIC;
  load->fork_count = handle_forks();
  load->forks = os_forks();
  load->creation.lock.fd = load->creation.empty.fd = -1;
  error_keep(&before);
  interrupt_begin(&call, NULL);
  call.listener = &load->listener;
  rc = error_done(begin(path, options, load), &before, path);
  interrupt_end(&call);
  if (rc == MAPH_OK)
    *out = load;
  else
    end(load, rc);
  return rc;
}

int maph_load_abort(maph_load *load) {
  int rc;
  if (load == NULL) return MAPH_OK;
  if (load->magic != LOAD_MAGIC) return check(load, "maph_load_abort");
  rc = load->fork_count == handle_forks() ? MAPH_OK : check(load, "maph_load_abort");
  end(load, MAPH_CANCELLED);
  return rc;
}

/* ------------------------------------------------------------------------------------------ put */

int maph_load_put(maph_load *load, maph_slice key, maph_slice value,
                  const maph_condition *condition) {
  put_parts put;
  int rc = check(load, "maph_load_put");
  if (rc != MAPH_OK) return rc;
  if (unlikely(load->failed))
    return fail(MAPH_MISUSE, "%s: an entry could not be put: the load can only be aborted",
                load->path);
  rc = txn_check_sizes(key, value, condition);
  if (rc == MAPH_OK && condition && condition->when != MAPH_ALWAYS)
    rc = fail(MAPH_MISUSE, "%s: a load puts always: use MAPH_ALWAYS", load->path);
  if (rc == MAPH_OK && load->version == 0)
    rc = fail(MAPH_READONLY, "%s: its versions are given: say one with maph_load_at", load->path);
  if (unlikely(rc != MAPH_OK)) return rc;
  txn_fill_put(&put, key, value, condition, load->version);
  rc = load_put(&load->load, &put);
  if (likely(rc == MAPH_OK)) return rc;
  load->failed = 1;
  return error_name(rc, load->path);
}

int maph_load_at(maph_load *load, uint64_t version) {
  int rc = check(load, "maph_load_at");
  if (rc != MAPH_OK) return rc;
  if (!load->identity.given)
    return fail(MAPH_MISUSE,
                "%s: it is to count its own versions: load it with "
                "MAPH_VERSIONS_GIVEN",
                load->path);
  if (version > VERSION_MAX)
    return fail(MAPH_MISUSE, "%s: version %llu: they are at most %llu", load->path,
                (unsigned long long)version, (unsigned long long)VERSION_MAX);
  if (version < load->version || version <= load->identity.base_version)
    return fail(MAPH_CONFLICT, "%s: version %llu is %s", load->path, (unsigned long long)version,
                version < load->version ? "below one that was said before"
                                        : "not above after_version");
  load->version = version;
  return MAPH_OK;
}

uint64_t maph_load_entries(maph_load *load) {
  return check(load, "maph_load_entries") == MAPH_OK ? load->load.records : 0;
}

/* --------------------------------------------------------------------------------------- finish */

/* From the file that was filled, which goes, to one in the order of a perfect hash. */
static int freeze(maph_load *load) {
  rewriting rewriting;
  maph_snapshot all;
  int rc;
  memset(&rewriting, 0, sizeof rewriting);
  memset(&all, 0, sizeof all);
  all.store = rewriting.from = load->store;
  all.snapshot = load->store->last.end;
  all.version = load->store->last.version;
  all.records = load->store->last.records;
  rewriting.snapshot = &all;
  rewriting.listener = load->listener;
  rewriting.perfect_hash = load->options.perfect_hash;
  rewriting.how = how_of(load);
  rewriting.how.keys = 0;
  rewriting.how.unique = 1;
  rewriting.how.listener = NULL;
  rc = create_bare(load->creation.temporary, load->creation.mode, &rewriting.to);
  if (rc == MAPH_OK) rc = freeze_base(&rewriting);
  load->listener = rewriting.listener;
  store_free(load->store);
  load->store = rewriting.to;
  return rc;
}

static int finish(maph_load *load) {
  int rc;
  load->load.how.version = load->version;
  rc = load_finish(&load->load);
  load_clear(&load->load);
  if (rc == MAPH_OK && load->options.optimize) rc = freeze(load);
  if (rc == MAPH_OK) rc = progress_tell(&load->listener, load->path, "flush", 0, 1);
  if (rc != MAPH_OK) return rc;
  return load->intake.handle ? intake_finish(&load->intake, &load->creation, load->store)
                             : create_take_name(&load->creation, load->store);
}

int maph_load_finish(maph_load *load) {
  interruptible call;
  sentence before;
  int rc = check(load, "maph_load_finish");
  if (rc != MAPH_OK) return rc;
  error_keep(&before);
  interrupt_begin(&call, NULL);
  call.listener = &load->listener;
  if (load->failed)
    rc = fail(MAPH_MISUSE, "%s: an entry could not be put: the load can only be aborted",
              load->path);
  if (rc == MAPH_OK) rc = error_done(finish(load), &before, load->path);
  interrupt_end(&call);
  end(load, rc);
  return rc;
}
