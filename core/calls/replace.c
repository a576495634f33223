/*
** replace.c - a prebuilt store takes the name of another one, under its users.
**
** Two stores are held, each by byte 2 of its lock file, so that neither is rewritten: first the one
** that comes (`to`), which nobody may have open for writing, then the one that goes (`from`), by a
** session, so that nobody is in the middle of a commit.  The steps:
**
**   settle   the file that comes is opened for writing and closed: what a dead writer or the power
**            left is mended, and it is marked clean
**   seal     its lock file is the one beside the new name; its versions are above those given out
**            under that name, but where they are those of a source; flush
**   switch   supersede.c; or, where nothing has the name, a rename that replaces nothing
**
** Until the switch the file that comes is a whole store under its old name, whoever dies.
**
** VERSIONS.  Where both files are copies of one store, one of which went on where the other ended,
** what they have in common has one version in both: the entries keep theirs, and the next one is
** above all by an epoch record.  Else a version of the one says nothing of the other, and all that
** the file that comes shows is shifted by one constant, in its header (format.h), so that its first
** is above the last one given out.  Nothing else in the file changes.  Either way who asks for what
** changed since a version that is not of this history is told to begin anew.
**
** A DAMAGED STORE, or one that a failed flush closed to writing, can be replaced too: that is how a
** copy that is made anew comes back.  It is asked for no more than its lock, so that whoever still
** writes to it is waited for, and users move as ever.  The versions that it gave out are told by
** what is sound in its log, and from there to the next multiple of 2^32, because what is not may
** have been of higher ones.
*/
#include "calls/handle.h"
#include "calls/open.h"
#include "calls/salvage.h"
#include "calls/supersede.h"
#include "file/header.h"
#include "file/record.h"
#include "file/size.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"
#include "order/write.h"
#include "os/interrupt.h"
#include "writer/create.h"
#include "writer/decided.h"
#include "writer/recover.h"
#include "writer/session.h"
#include "writer/trust.h"

#include <stdlib.h>

typedef struct replacing {
  char *path, *with; /* resolved */
  int busy_timeout_ms;
  store *to;
  os_file to_lock;
  uint64_t least; /* version in it */
  store *from;    /* the store that has the name; NULL: nothing has it */
  maph *handle;   /* of that; NULL: it cannot be opened */
  int damaged;    /* it can not be written to */
  int legible;    /* and its records can be told from noise */
  os_file lock;
} replacing;

/* ------------------------------------------------------------------------- the store that comes */

static int settle(const replacing *call) {
  maph_options options = MAPH_OPTIONS_INIT;
  store *store;
  maph *m;
  int rc, closed;
  options.busy_timeout_ms = call->busy_timeout_ms;
  rc = maph_open(call->with, MAPH_RDWR, &options, &m);
  if (rc != MAPH_OK) return rc;
  rc = handle_writer(m, &store);
  if (rc == MAPH_OK) rc = session_begin(store, call->busy_timeout_ms);
  if (rc == MAPH_OK) session_end(store);
  closed = maph_close(m);
  return rc == MAPH_OK ? closed : rc;
}

static int in_use(const replacing *call) {
  return fail(MAPH_BUSY, "%s: is open for writing: close it before it takes the name %s",
              call->with, call->path);
}

/* Nobody else writes to it or rewrites it, until its lock file is closed. */
static int lock_to(replacing *call) {
  int rc, got;
  rc = create_lock_rewrite(call->with, &call->to->file, call->busy_timeout_ms, &call->to_lock);
  if (rc != MAPH_OK) return rc;
  got = os_lock(&call->to_lock, LOCK_PRESENT, 1);
  if (got == 1) got = os_lock(&call->to_lock, LOCK_WRITER, 1);
  if (got < 0) return -got;
  return got == 0 || trust_living(call->to) ? in_use(call) : MAPH_OK;
}

/* What a writer knows of a store that it leaves. */
static int load_to(store *to) {
  const header *header = NULL;
  end_record end;
  view view;
  int rc = store_see_size(to, 0);
  if (rc == MAPH_OK) rc = store_map_for_writing(to);
  if (rc == MAPH_OK) rc = header_read(to, atomic_load(&to->base), atomic_load(&to->size));
  if (rc == MAPH_OK) rc = perfect_open(to, atomic_load(&to->base), atomic_load(&to->size));
  if (rc == MAPH_OK) rc = view_latest(to, &view);
  if (rc == MAPH_OK) rc = record_end(&view, view.snapshot, &end);
  if (rc != MAPH_OK) return rc;
  header = header_of(to->write_base);
  to->lockless = 1; /* lock_to sees to it that nobody else writes */
  to->last = record_tip(&end, view.snapshot);
  to->space_end = atomic_load(&header->end);
  return MAPH_OK;
}

/* The least version in the file that comes.  Only records of a rewritten file's base may be of less
** than its first transaction's, and nothing says of which. */
static int find_least(replacing *call) {
  enum { LOOK_EACH = 65536 };
  store *to = call->to;
  unsigned n = 0;
  view view;
  walk walk;
  int rc = view_latest(to, &view);
  if (rc != MAPH_OK) return rc;
  call->least = to->base_version;
  walk = walk_from(&view, LOG_START, view.snapshot);
  while (walk_next(&walk, &rc)) {
    if (!walk_is_data(&walk)) continue;
    if (walk.it.version > to->base_version) break;
    call->least = MIN(call->least, walk.it.version);
    if (++n % LOOK_EACH == 0) rc = interrupt_check(call->path);
    if (rc != MAPH_OK) break;
  }
  return rc;
}

static int open_to(replacing *call) {
  os_file file;
  int rc = os_open(call->with, OS_WRITE, 0, &file);
  if (rc != MAPH_OK) return rc;
  call->to = store_bare(call->with, &file);
  if (call->to == NULL) {
    os_close(&file);
    return MAPH_NOMEM;
  }
  rc = lock_to(call);
  if (rc == MAPH_OK) rc = load_to(call->to);
  if (rc == MAPH_OK && atomic_load(&header_of(call->to->write_base)->clean) != CLEAN_YES)
    rc = in_use(call);
  return rc == MAPH_OK ? find_least(call) : rc;
}

/* ------------------------------------------------------------------------- the store that goes */

static int open_free_name(replacing *call) {
  int rc = create_may_be_named(call->path);
  return rc == MAPH_OK
             ? create_lock_rewrite(call->path, &call->to->file, call->busy_timeout_ms, &call->lock)
             : rc;
}

static int open_sound(replacing *call) {
  int rc = handle_writer(call->handle, &call->from);
  if (rc == MAPH_OK)
    rc = create_lock_rewrite(call->path, &call->from->file, call->busy_timeout_ms, &call->lock);
  /* a rewrite may have ended just now */
  return rc == MAPH_OK ? handle_writer(call->handle, &call->from) : rc;
}

/* reason: why it cannot be opened */
static int open_damaged(replacing *call, int reason) {
  store *from;
  int rc = salvage_open(call->path, &call->from, &call->legible);
  if (rc != MAPH_OK) return rc;
  from = call->from;
  call->damaged = 1;
  rc = open_look_if_store(&from->file, call->path, reason);
  if (rc == MAPH_OK) rc = create_may_write(&from->file, call->path);
  if (rc == MAPH_OK)
    rc = create_lock_rewrite(call->path, &from->file, call->busy_timeout_ms, &call->lock);
  if (rc != MAPH_OK) return rc;
  from->lockless = 0; /* others may have it open since before it was damaged */
  return session_join(from);
}

static int open_from(replacing *call) {
  maph_options options = MAPH_OPTIONS_INIT;
  int rc;
  options.busy_timeout_ms = call->busy_timeout_ms;
  if (os_missing(call->path)) return open_free_name(call);
  rc = maph_open(call->path, MAPH_RDWR, &options, &call->handle);
  if (rc == MAPH_CANTOPEN && os_missing(call->path)) return open_free_name(call);
  if (open_met_damage(rc, call->path)) return open_damaged(call, rc);
  return rc == MAPH_OK ? open_sound(call) : rc;
}

/* ------------------------------------------------------------------------------ seal and switch */

/* Was that once the end of this store? */
static int came_by(store *store, const tip *tip) {
  end_record end;
  view view;
  return view_latest(store, &view) == MAPH_OK && tip->end <= view.snapshot
         && record_end(&view, tip->end, &end) == MAPH_OK && end.chain == tip->chain;
}

/* Is one of both the other as it was once? */
static int one_history(store *from, store *to) {
  return memcmp(from->uuid, to->uuid, sizeof from->uuid) == 0 && from->generation == to->generation
         && store_shift(from) == store_shift(to)
         && (came_by(from, &to->last) || came_by(to, &from->last));
}

/* given: the last version in the file that goes */
static int jump(store *to, uint64_t given) {
  uint64_t before = header_life(to, to->last.version);
  int rc;
  if (to->last.version > given) return MAPH_OK;
  to->last.version = given;
  rc = recover_append_epoch(to, to->space_end);
  if (rc == MAPH_OK) header_show(to);
  return rc == MAPH_OK ? order_renew(to, before, to->last.end) : rc;
}

/* The header's static part is written at once: a process that dies leaves the old or the new one.
*/
static int shift(const replacing *call, uint64_t shown) {
  store *to = call->to;
  uint64_t shift = store_shift(to), first = call->least + shift;
  header copy;
  if (first > shown || shown == 0) return MAPH_OK;
  shift += shown + 1 - first;
  if (to->last.version + shift >= VERSION_MAX)
    return fail(MAPH_FULL, "%s: all 2^48 versions are used: export to a new store", call->path);
  memcpy(&copy, to->write_base, offsetof(header, committed));
  header_set_shift(&copy, shift);
  OS_TEST_STORE(to->write_base, 0, offsetof(header, committed));
  return os_write(&to->file, to->path, 0, &copy, offsetof(header, committed));
}

/* The store replaced cannot say what versions it gave out. */
static int shift_above_damaged(const replacing *call) {
  uint64_t highest = 0, shown;
  int rc = call->legible ? salvage_highest(call->from, &highest) : MAPH_OK;
  if (rc != MAPH_OK || highest == 0) return rc;
  shown = version_shown(call->from, highest);
  if (shown > VERSION_MAX) shown = highest; /* it is the shift that is damaged */
  return shift(call, shown | UINT32_MAX);
}

/* All versions of the file that comes fit those that were given out under its new name; but those
** of a source stay. */
static int raise_versions(const replacing *call) {
  store *from = call->from;
  if (from == NULL || call->to->given) return MAPH_OK;
  if (call->damaged) return shift_above_damaged(call);
  return one_history(from, call->to) ? jump(call->to, from->last.version)
                                     : shift(call, version_shown(from, from->last.version));
}

/* Complete and on disk, as its last writer leaves it, with the lock file beside its new name. */
static int seal(replacing *call) {
  store *to = call->to;
  int rc;
  trust_mark(to);
  store_word(to->write_base, &header_of(to->write_base)->clean, CLEAN_DIRTY);
  rc = raise_versions(call);
  if (rc == MAPH_OK) {
    supersede_seal(to, &call->lock);
    rc = os_flush_file(&to->file, to->path);
  }
  if (rc == MAPH_OK) trust_unmark(to);
  return rc;
}

/* A session of the store that goes; of a damaged one no more than its lock. */
static int begin_from(replacing *call) {
  int rc = call->damaged ? MAPH_OK : session_begin(call->from, call->busy_timeout_ms);
  if (open_met_damage(rc, call->path)) call->damaged = call->legible = 1;
  return call->damaged ? session_begin_last(call->from, call->busy_timeout_ms) : rc;
}

static int take_over(replacing *call) {
  char note[SUPERSEDE_NOTE] = "";
  store *from = call->from;
  int rc;
  from->unbiased = 1;
  rc = begin_from(call);
  if (rc == MAPH_OK) {
    rc = decided_wait(from);
    if (rc == MAPH_OK) rc = seal(call);
    if (rc == MAPH_OK) rc = supersede(from, call->to, call->with, note, NULL, NULL);
    os_wake(&header_of(from->write_base)->committed);
    session_end(from);
  }
  from->unbiased = 0;
  return rc;
}

static int take_free_name(replacing *call) {
  int rc;
  os_lock_like(&call->lock, &call->to->file);
  rc = seal(call);
  if (rc == MAPH_OK) rc = os_rename_new(call->with, call->path);
  if (rc == MAPH_OK) rc = os_flush_directory(call->path, &call->to->file);
  if (rc == MAPH_OK) store_word(call->to->write_base, &header_of(call->to->write_base)->unborn, 0);
  return rc;
}

/* ------------------------------------------------------------------------------------- the call */

static int name_both(replacing *call, const char *path, const char *with) {
  uint64_t device, inode, other_device, other_inode;
  int rc = os_resolve(path, &call->path);
  if (rc == MAPH_OK) rc = os_resolve(with, &call->with);
  if (rc == MAPH_OK && os_identity(call->path, &device, &inode) == MAPH_OK
      && os_identity(call->with, &other_device, &other_inode) == MAPH_OK && device == other_device
      && inode == other_inode)
    rc = fail(MAPH_MISUSE, "%s: is the store that it would replace", call->with);
  return rc;
}

static void finish(replacing *call) {
  maph_close(call->handle);
  if (call->handle == NULL && call->from) session_leave(call->from);
  if (call->lock.fd >= 0) create_remove_lock(call->path);
  create_unlock_rewrite(&call->lock);
  if (call->to_lock.fd >= 0) create_remove_lock(call->with);
  create_unlock_rewrite(&call->to_lock);
  if (call->handle == NULL) store_free(call->from);
  store_free(call->to);
  free(call->path);
  free(call->with);
}

int maph_replace(const char *path, const char *with, int busy_timeout_ms) {
  replacing call;
  interruptible interruption;
  sentence before, why;
  int rc;
  if (path == NULL || path[0] == 0 || with == NULL || with[0] == 0)
    return fail(MAPH_MISUSE, "maph_replace: an empty path: name two files");
  if (strcmp(path, ":memory:") == 0 || strcmp(with, ":memory:") == 0)
    return fail(MAPH_MISUSE, "maph_replace: a store in memory has no name: name two files");
  memset(&call, 0, sizeof call);
  call.busy_timeout_ms = MAX(busy_timeout_ms, 0);
  call.lock.fd = call.to_lock.fd = -1;
  error_keep(&before);
  interrupt_begin(&interruption, NULL);
  rc = name_both(&call, path, with);
  if (rc == MAPH_OK) rc = settle(&call);
  if (rc == MAPH_OK) rc = open_to(&call);
  if (rc == MAPH_OK) rc = open_from(&call);
  if (rc == MAPH_OK) rc = call.from ? take_over(&call) : take_free_name(&call);
  error_keep(&why);
  finish(&call);
  error_put_back(&why);
  interrupt_end(&interruption);
  return error_done(rc, &before, path);
}
