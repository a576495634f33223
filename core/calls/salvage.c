/*
** salvage.c - maph_recover: a store made usable again.
**
** What a power loss left is repaired in place by opening it (recover.c).  When that will not do,
** because of damage or because a flush failed, the log is read as far as it can be: after a damaged
** stretch the next record is found by its checksum, which no other bytes have by accident.  Where
** the header can be trusted, nothing past `committed` is taken: a commit that failed stays failed.
** Every transaction that is whole by itself is written again, in order, with its version, to
** PATH.new.  The records that the file got from the generation before are whole each by itself: of
** them every good one is kept.  Frozen ones in the short form are looked for where the header says,
** one behind the other: neither the perfect hash nor its table is needed.  The old file gets the
** name PATH.damaged, the new one PATH.  Handles move over.
**
** Where versions are given, a version tells that all of the source up to it is there.  Of a store
** that lost something it would lie: that one gets a new uuid, by which who follows the source sees
** that it is to be copied anew.
*/
#include "calls/salvage.h"
#include "calls/handle.h"
#include "calls/supersede.h"
#include "file/grant.h"
#include "file/header.h"
#include "file/record.h"
#include "file/size.h"
#include "file/store.h"
#include "file/walk.h"
#include "index/find.h"
#include "order/write.h"
#include "os/progress.h"
#include "writer/create.h"
#include "writer/recover.h"
#include "writer/trust.h"
#include "writer/session.h"
#include "writer/txn.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct salvage {
  store *from, *to;
  view view;
  maph_report_fn report;
  void *arg;
  listener listener;
  txn base; /* copies of base records, not yet committed */
  int in_base;
  uint64_t kept, lost, last_version;
  /* version of the last transaction or epoch whose end record was met, and where that ends */
  uint64_t met, met_end;
  /* version ever seen, of what was lost too: none is given out again */
  uint64_t highest;
  int holes;                  /* were there any in the log? */
  unsigned forks;             /* os_forks() when it began */
  uint64_t tried, told_tried; /* bytes summed in damaged stretches; when that was told last */
} salvage;

enum {
  DAMAGED_MOST = 1000,
  BASE_AT_ONCE = 65536,
  TELL_EACH = 256 * 1024,
  TELL_TRIED = 16 * 1024 * 1024,
  TRIED_TIMES = 8, /* the file's size */
  SMALL = 4096,
  SHORT_FIELDS = 27 /* what is loaded of a record before its key lies in so many bytes */
};

static void tell(salvage *salvage, uint64_t offset, const char *format, uint64_t a, uint64_t b) {
  char line[512];
  snprintf(line, sizeof line, format, (unsigned long long)a, (unsigned long long)b);
  if (salvage->report) salvage->report(salvage->arg, offset, line);
}

static int begin(salvage *salvage, txn *txn) {
  int rc = session_begin(salvage->to, 0);
  if (rc != MAPH_OK) return rc;
  txn_start(txn, salvage->to);
  txn->durability = MAPH_SYNC_OFF;
  return MAPH_OK;
}

static int end_base(salvage *salvage, int rc) {
  if (!salvage->in_base) return rc;
  salvage->in_base = 0;
  salvage->base.version = salvage->to->base_version;
  return session_finish(&salvage->base, rc);
}

static int copy_base_record(salvage *salvage, const item *it) {
  int rc = salvage->in_base ? MAPH_OK : begin(salvage, &salvage->base);
  item other;
  if (rc != MAPH_OK) return rc;
  salvage->in_base = 1;
  /* met before */
  if (txn_find(&salvage->base, UINT64_MAX, maph_bytes(it->key, it->key_size), &other) == MAPH_OK)
    return MAPH_OK;
  salvage->base.version = it->version;
  rc = txn_copy(&salvage->base, it);
  return rc != MAPH_OK || salvage->base.operations >= BASE_AT_ONCE ? end_base(salvage, rc)
                                                                   : MAPH_OK;
}

/* ------------------------------------------------------------- frozen records in the short form
**
** They are met by their addresses, between which the walk then is. */

static int in_frozen(const salvage *salvage, const walk *walk) {
  const perfect *perfect = &salvage->from->perfect;
  return walk->at >= perfect->first && walk->at < perfect->past;
}

/* Where the walk goes on, behind a record that ends there or as many bytes that are none. */
static void pass_frozen(const salvage *salvage, walk *walk, uint64_t size) {
  const perfect *perfect = &salvage->from->perfect;
  uint64_t step = perfect->direct ? perfect->unit - (walk->at - perfect->first) % perfect->unit
                                  : short_next(perfect, walk->at, size) - walk->at;
  walk->at += step;
  if (!short_reaches(perfect, walk->at)) walk->at = perfect->past;
}

/* Is one there, as far as its fields can tell? */
static int look_frozen(const salvage *salvage, walk *walk) {
  return walk->at + SHORT_FIELDS <= walk->limit && short_reaches(&salvage->from->perfect, walk->at)
         && record_read_short_at(walk->view, walk->at, &walk->it) == MAPH_OK
         && walk->it.size <= walk->limit - walk->at;
}

static int worth_summing(salvage *salvage, const walk *walk);

/* And is it one?  Then it is walk->it, as after walk_next. */
static int frozen_here(salvage *salvage, walk *walk, int in_hole) {
  const uint8_t *p = walk->view->base + walk->at;
  if (!look_frozen(salvage, walk) || (in_hole && !worth_summing(salvage, walk))
      || loose_load32(p)
             != record_checksum_of_short(salvage->from->salt, walk->at, p, walk->it.size))
    return 0;
  pass_frozen(salvage, walk, walk->it.size);
  return 1;
}

/* As walk_next, over records that were met already. */
static int next_met(const salvage *salvage, walk *walk, int *rc) {
  if (!in_frozen(salvage, walk)) return walk_next(walk, rc);
  if (*rc != MAPH_OK || !look_frozen(salvage, walk)) return 0;
  pass_frozen(salvage, walk, walk->it.size);
  return 1;
}

/* --------------------------------------------------------------------------------- transactions */

/* Write the transaction [from, at) again, with its version. */
static int copy_transaction(salvage *salvage, uint64_t from, uint64_t at, uint64_t version) {
  walk walk = walk_from(&salvage->view, from, at);
  txn txn;
  int rc, whole = MAPH_OK;
  /* met before: a copy of an old log page */
  if (version <= salvage->last_version && salvage->last_version != 0) return MAPH_OK;
  rc = end_base(salvage, MAPH_OK);
  if (rc == MAPH_OK) rc = begin(salvage, &txn);
  if (rc != MAPH_OK) return rc;
  while (rc == MAPH_OK && walk.at < at && next_met(salvage, &walk, &whole)) {
    if (!walk_is_data(&walk)) continue;
    txn.version = salvage->to->given ? walk.it.version : version;
    rc = txn_copy(&txn, &walk.it);
    if (rc == MAPH_NOTFOUND) rc = MAPH_OK; /* a delete of what was lost */
  }
  txn.version = version;
  rc = session_finish(&txn, rc);
  salvage->last_version = version;
  salvage->kept++;
  return rc;
}

/* A record from the generation before, with no transaction of its own?  They come before all
** others. */
static int is_base(const salvage *salvage, const item *it) {
  return it->kind == KIND_PUT && salvage->to->base_version > 0
         && salvage->last_version <= salvage->to->base_version
         && it->version <= salvage->to->base_version && it->prev == 0;
}

/* The end of a transaction whose data records were met from `from` on.  whole: all of them. */
static int salvage_end(salvage *salvage, const item *it, uint64_t from, int whole) {
  if (salvage->in_base && it->version == salvage->to->base_version)
    return end_base(salvage, MAPH_OK);
  if (whole) return copy_transaction(salvage, from, it->offset, it->version);
  salvage->lost++;
  tell(salvage, it->offset, "transaction %llu is lost: its records are damaged",
       version_shown(salvage->from, it->version), 0);
  return MAPH_OK;
}

/* Does another record, or space that was never used, follow? */
static int is_followed(const salvage *salvage, const walk *walk) {
  struct walk next = walk_from(walk->view, walk->at + walk->it.size, walk->limit);
  if (in_frozen(salvage, walk)) {
    next.at = walk->at;
    pass_frozen(salvage, &next, walk->it.size);
    return !in_frozen(salvage, &next) || look_frozen(salvage, &next);
  }
  if (next.at > next.limit - RECORD_HEAD || record_blank(next.view->base, next.at)) return 1;
  return walk_look(&next);
}

/* In a damaged stretch every eighth byte may look like the head of a record, and only a checksum
** tells.  Bytes can be made, or be by chance, so that each costs a pass over the file: once that
** was a few times the file's size, a large record has to be followed by another, and later none is
** looked for there. */
static int worth_summing(salvage *salvage, const walk *walk) {
  uint64_t most = TRIED_TIMES * salvage->view.size;
  if (walk->it.size > SMALL && salvage->tried > most
      && (salvage->tried > 2 * most || !is_followed(salvage, walk)))
    return 0;
  salvage->tried += walk->it.size;
  return 1;
}

/* As walk_sound, at a place where the log may be damaged. */
static int sound_here(salvage *salvage, walk *walk, int in_hole) {
  int kind;
  if (in_frozen(salvage, walk)) return frozen_here(salvage, walk, in_hole);
  kind = record_kind(walk->view->base, walk->at);
  if (kind < KIND_PUT || kind > KIND_EXTENT) return 0;
  if (!in_hole) return walk_sound(walk);
  return walk_look(walk) && worth_summing(salvage, walk) && walk_sound(walk);
}

static void pass_damaged(const salvage *salvage, walk *walk) {
  if (in_frozen(salvage, walk))
    pass_frozen(salvage, walk, 1);
  else
    walk->at += 8;
}

static int tell_place(salvage *salvage, uint64_t at, uint64_t *look) {
  if (at < *look && salvage->tried - salvage->told_tried < TELL_TRIED) return MAPH_OK;
  *look = at + TELL_EACH;
  salvage->told_tried = salvage->tried;
  return progress_tell(&salvage->listener, salvage->from->path, "salvage", at, salvage->view.size);
}

/* Versions count transactions, where they are not given: those between that one and the next are in
** what is damaged. */
static void tell_gap(salvage *salvage, const item *it, int damaged) {
  if (damaged && !salvage->from->given && it->version > salvage->met + 1
      && it->version >> 32 == salvage->met >> 32 && it->kind == KIND_END) {
    salvage->lost += it->version - salvage->met - 1;
    tell(salvage, it->offset,
         "transactions %llu to %llu are lost: their place in the log is damaged",
         version_shown(salvage->from, salvage->met + 1),
         version_shown(salvage->from, it->version - 1));
  }
  salvage->met = MAX(salvage->met, it->version);
  salvage->met_end = it->offset + END_SIZE;
}

/* Nothing was met up to where the log ends, as the header says it, or `checkpoint`. */
static void tell_end(salvage *salvage, const checkpoint *checkpoint) {
  uint64_t size = atomic_load(&salvage->from->size), n = 1,
           to = atomic_load(&header_of(salvage->view.base)->committed);
  if (to % 8 || to > OFFSET_MAX) to = 0;
  to = MAX(to, checkpoint->offset);
  if (to <= salvage->met_end) return;
  if (checkpoint->version > salvage->met && !salvage->from->given
      && checkpoint->version >> 32 == salvage->met >> 32)
    n = checkpoint->version - salvage->met;
  salvage->lost += n;
  tell(salvage, MIN(size, salvage->met_end),
       to > size ? "the log went on to %llu, and the file ends before; transactions lost: %llu at "
                   "least"
                 : "from here on to %llu the log is damaged; transactions lost: %llu at least",
       to, n);
}

static int salvage_log(salvage *salvage) {
  walk walk = walk_from(&salvage->view, LOG_START, salvage->view.size);
  uint64_t from = LOG_START, operations = 0, hole = 0, look = LOG_START;
  int rc = MAPH_OK, damaged = 0;
  while (rc == MAPH_OK && walk.at <= walk.limit - RECORD_HEAD) {
    rc = tell_place(salvage, walk.at, &look);
    if (rc != MAPH_OK) break;
    if (!sound_here(salvage, &walk, hole != 0)) {
      if (!hole) hole = walk.at;
      damaged = 1;
      pass_damaged(salvage, &walk);
      continue;
    }
    if (hole) {
      tell(salvage, hole, "%llu bytes are damaged or were never part of the log",
           walk.it.offset - hole, 0);
      salvage->holes = 1;
      hole = 0;
    }
    salvage->highest = MAX(salvage->highest, walk.it.version);
    if (is_base(salvage, &walk.it)) {
      rc = copy_base_record(salvage, &walk.it);
      damaged = 0;
    } else if (walk_is_data(&walk)) {
      operations++;
    } else if (walk.it.kind == KIND_END || walk.it.kind == KIND_EPOCH) {
      tell_gap(salvage, &walk.it, damaged);
      if (walk.it.kind == KIND_END)
        rc = salvage_end(salvage, &walk.it, from, !damaged && operations == walk.it.operations);
      else
        salvage->last_version = MAX(salvage->last_version, walk.it.version);
      operations = 0;
      damaged = 0;
    }
    if (operations == 0) from = walk.at;
  }
  return salvage->forks == os_forks() ? end_base(salvage, rc) : rc;
}

/* Where the frozen records lie, as far as the file goes. */
static void identify_short(store *store, const header *header, uint64_t size) {
  short_form form = header->short_form;
  if (!(header->required & REQUIRED_SHORT) || form.past < form.first) return;
  form.past = MIN(form.past, size & ~UINT64_C(7));
  if (!short_form_sound(&form, form.past + SHORT_BEHIND)) return;
  short_form_take(&store->perfect, &form);
  /* at a stride of the largest unit records lie as in groups */
  store->perfect.direct = form.unit > SHORT_UNIT_MOST;
}

/* A lenient look at the header: only what the checksums of records need.  legible: they fit. */
static int identify(store *store) {
  view view = { atomic_load(&store->base), atomic_load(&store->size), 0, store };
  header copy;
  end_record first;
  if (view.size < LOG_START + END_SIZE) return 0;
  memcpy(&copy, view.base, 256);
  memcpy(store->uuid, copy.uuid, 16);
  store->generation = copy.generation;
  store->given = (copy.required & REQUIRED_GIVEN) != 0;
  store->salt = header_salt(&copy);
  identify_short(store, &copy, view.size);
  if (record_end(&view, LOG_START + END_SIZE, &first) != MAPH_OK) return 0;
  /* they should be one */
  store->base_version =
      header_sound(&copy) ? copy.base_version & VERSION_MAX : record_version(&first.head);
  return 1;
}

int salvage_open(const char *path, store **out, int *legible) {
  sentence before;
  os_file file;
  store *store;
  int rc = os_open(path, OS_WRITE, 0, &file);
  *out = NULL;
  *legible = 0;
  if (rc != MAPH_OK) return rc;
  store = store_bare(path, &file);
  if (store == NULL) {
    os_close(&file);
    return MAPH_NOMEM;
  }
  rc = store_see_size(store, 0);
  if (rc == MAPH_OK) rc = store_map_for_writing(store);
  if (rc != MAPH_OK) {
    store_free(store);
    return rc;
  }
  error_keep(&before);
  *legible = identify(store);
  error_put_back(&before);
  *out = store;
  return MAPH_OK;
}

static int open_damaged(const char *path, store **store) {
  int legible, rc = salvage_open(path, store, &legible);
  if (rc != MAPH_OK || legible) return rc;
  if (atomic_load(&(*store)->size) < LOG_START + END_SIZE)
    return fail(MAPH_FORMAT, "%s: too short to hold anything", path);
  return fail(MAPH_CORRUPT,
              "%s: the header's identity and the log's first record do not fit each other: "
              "nothing in the file can be told from noise; "
              "restore a backup",
              path);
}

int salvage_highest(store *store, uint64_t *version) {
  salvage salvage;
  checkpoint checkpoint;
  uint64_t look = LOG_START;
  int rc = MAPH_OK, in_hole = 0;
  walk walk;
  memset(&salvage, 0, sizeof salvage);
  salvage.from = store;
  salvage.view = (view){ atomic_load(&store->base), atomic_load(&store->size), 0, store };
  if (header_best_checkpoint(store, header_of(salvage.view.base), &checkpoint))
    salvage.highest = checkpoint.version;
  walk = walk_from(&salvage.view, LOG_START, salvage.view.size);
  while (rc == MAPH_OK && walk.at <= walk.limit - RECORD_HEAD) {
    rc = tell_place(&salvage, walk.at, &look);
    in_hole = !sound_here(&salvage, &walk, in_hole);
    if (in_hole)
      pass_damaged(&salvage, &walk);
    else
      salvage.highest = MAX(salvage.highest, walk.it.version);
  }
  *version = salvage.highest;
  return rc;
}

/* How much of the log to read: up to `committed`, if the header can be trusted and says something
** possible; else all of it. */
static uint64_t believed(store *store) {
  const header *header = header_of(atomic_load(&store->base));
  uint64_t size = atomic_load(&store->size), committed = atomic_load(&header->committed);
  view view = { atomic_load(&store->base), size, 0, store };
  end_record end;
  return trust_words(store) && record_end(&view, committed, &end) == MAPH_OK ? committed : size;
}

static char *damaged_name(const char *path, int n) {
  char suffix[32];
  if (n == 0)
    snprintf(suffix, sizeof suffix, ".damaged");
  else
    snprintf(suffix, sizeof suffix, ".damaged.%d", n);
  return create_beside(path, suffix);
}

/* Keep the damaged file beside, under the first free name, and give the new one its place. */
static int take_place(const char *path, const char *temporary, salvage *salvage) {
  char *kept = NULL;
  int rc = MAPH_EXISTS, n;
  for (n = 0; rc == MAPH_EXISTS && n < DAMAGED_MOST; n++) {
    os_free(kept);
    kept = damaged_name(path, n);
    if (kept == NULL) return MAPH_NOMEM;
    rc = os_link(path, kept);
  }
  if (rc == MAPH_OK && (rc = grant_header(salvage->from)) != MAPH_OK) os_discard(kept);
  if (rc == MAPH_OK) {
    /* readers look at the path from now on */
    atomic_fetch_or(&header_of(salvage->from->write_base)->state, STATE_SWITCHING);
    rc = os_rename(temporary, path);
    if (rc != MAPH_OK) { /* all as it was */
      atomic_fetch_and(&header_of(salvage->from->write_base)->state, ~(uint64_t)STATE_SWITCHING);
      os_discard(kept);
    }
  }
  if (rc == MAPH_OK) rc = os_flush_directory(path, &salvage->to->file);
  if (rc == MAPH_OK)
    store_word(salvage->to->write_base, &header_of(salvage->to->write_base)->unborn, 0);
  /* readers move over */
  if (rc == MAPH_OK)
    atomic_fetch_or(&header_of(salvage->from->write_base)->state, STATE_SUPERSEDED);
  if (rc == MAPH_OK && salvage->report) {
    char line[700];
    snprintf(line, sizeof line, "%llu transactions kept, %llu lost; the damaged file is %.600s",
             (unsigned long long)salvage->kept, (unsigned long long)salvage->lost, kept);
    salvage->report(salvage->arg, 0, line);
  }
  os_free(kept);
  return rc;
}

/* Who died between the two names that take_place gives left the damaged file with both: it begins
** anew.  A second name that is not of its making would part from the store. */
static int must_have_one_name(const char *path, store *store) {
  char *kept;
  int rc = MAPH_OK, n;
  uint64_t device, inode;
  for (n = 0; rc == MAPH_OK && store->file.links > 1 && n < DAMAGED_MOST; n++) {
    kept = damaged_name(path, n);
    if (kept == NULL) return MAPH_NOMEM;
    if (os_identity(kept, &device, &inode) == MAPH_OK && device == store->file.device
        && inode == store->file.inode)
      rc = os_remove(kept);
    os_free(kept);
    if (rc == MAPH_OK) rc = os_status(&store->file, path);
  }
  return rc == MAPH_OK ? create_may_write(&store->file, path) : rc;
}

/* Owner, mode, access control list and the rest of the damaged file, as they are now. */
static int keep_attributes(salvage *salvage, const char *temporary, int last) {
  char note[160] = "";
  int rc = os_status(&salvage->from->file, salvage->from->path);
  if (rc == MAPH_OK)
    rc = os_keep_attributes(temporary, &salvage->to->file, &salvage->from->file, note, sizeof note);
  if (rc == MAPH_OK && note[0] && last && salvage->report) salvage->report(salvage->arg, 0, note);
  return rc;
}

/* Not in a child that a callback forked: the parent goes on with it. */
static void discard(const salvage *salvage, const char *temporary) {
  if (salvage->forks == os_forks()) os_discard(temporary);
}

/* What can be read, into the new file at `temporary`.  uuid: of that one; NULL: a new one. */
static int fill(salvage *salvage, const char *temporary, const uint8_t *uuid) {
  maph_options options = MAPH_OPTIONS_INIT;
  store *from = salvage->from;
  /* Versions that are given are as their users know them, whatever a damaged header says. */
  header_identity identity = { uuid, from->generation + 1, from->base_version,
                               from->given ? 0 : store_shift(from), from->given };
  checkpoint checkpoint;
  uint64_t before;
  int rc;
  options.mode = 0600;
  rc = create_empty(temporary, &options, &identity, &salvage->to);
  if (rc == MAPH_OK) rc = keep_attributes(salvage, temporary, 0);
  if (rc != MAPH_OK) return rc;
  salvage->view = (view){ atomic_load(&from->base), believed(from), 0, from };
  salvage->last_version = salvage->met = salvage->to->base_version;
  if (!header_best_checkpoint(from, header_of(salvage->view.base), &checkpoint))
    memset(&checkpoint, 0, sizeof checkpoint);
  salvage->highest = checkpoint.version;
  rc = salvage_log(salvage);
  if (rc != MAPH_OK) return rc;
  tell_end(salvage, &checkpoint);
  if (from->given) return MAPH_OK;
  before = header_life(salvage->to, salvage->to->last.version);
  salvage->to->last.version = MAX(salvage->to->last.version, salvage->highest);
  rc = recover_append_epoch(salvage->to, salvage->to->space_end);
  return rc == MAPH_OK ? order_renew(salvage->to, before, salvage->to->last.end) : rc;
}

/* The same again, as another store, and told once. */
static int fill_as_another(salvage *salvage, const char *temporary) {
  struct salvage again = *salvage;
  int rc;
  again.report = NULL;
  again.to = NULL;
  again.kept = again.lost = again.met_end = again.tried = again.told_tried = 0;
  store_free(salvage->to);
  salvage->to = NULL;
  rc = fill(&again, temporary, NULL);
  salvage->to = again.to;
  tell(salvage, 0,
       "what is lost is not missed by the versions, which are given: the store has "
       "another uuid, so that it is copied anew",
       0, 0);
  return rc;
}

/* Everything that can be read, into a new file.  The writer's lock is held throughout. */
static int rebuild(const char *path, maph_report_fn report, void *arg, const listener *listener) {
  maph_options options = MAPH_OPTIONS_INIT;
  char *temporary = create_beside(path, ".new");
  salvage salvage;
  os_file lock;
  int rc, got;
  memset(&salvage, 0, sizeof salvage);
  salvage.report = report;
  salvage.arg = arg;
  salvage.listener = *listener;
  salvage.forks = os_forks();
  lock.fd = -1;
  rc = temporary ? open_damaged(path, &salvage.from) : MAPH_NOMEM;
  if (rc == MAPH_OK)
    rc = create_lock_rewrite(path, &salvage.from->file, options.busy_timeout_ms, &lock);
  if (rc == MAPH_OK) {
    got = os_lock(&lock, LOCK_PRESENT, 1);
    if (got == 1) got = os_lock(&lock, LOCK_WRITER, 1);
    if (got < 0) rc = -got;
    if (got == 0 || (got == 1 && trust_living(salvage.from)))
      rc = fail(MAPH_BUSY, "%s: another process has it open for writing: stop it first", path);
    if (rc == MAPH_OK) rc = os_status(&salvage.from->file, path);
    if (rc == MAPH_OK) rc = must_have_one_name(path, salvage.from);
  }
  if (rc == MAPH_OK) rc = fill(&salvage, temporary, salvage.from->uuid);
  if (rc == MAPH_OK && salvage.from->given && (salvage.lost || salvage.holes))
    rc = fill_as_another(&salvage, temporary);
  if (rc == MAPH_OK) {
    supersede_seal(salvage.to, &lock);
    rc = keep_attributes(&salvage, temporary, 1);
  }
  if (rc == MAPH_OK) rc = os_flush_file(&salvage.to->file, temporary);
  if (rc == MAPH_OK)
    rc = take_place(path, temporary, &salvage);
  else if (salvage.to)
    discard(&salvage, temporary);
  store_free(salvage.to);
  store_free(salvage.from);
  create_unlock_rewrite(&lock);
  os_free(temporary);
  return rc;
}

/* Can a writer begin?  While another one is at work it can. */
static int writable(maph *m) {
  store *store;
  int rc = handle_writer(m, &store);
  if (rc == MAPH_OK) rc = session_begin(store, m->options.busy_timeout_ms);
  if (rc == MAPH_OK) session_end(store);
  return rc == MAPH_OK || rc == MAPH_BUSY;
}

/* Opening it repairs what a power loss left.  Is it whole then, and does it take writes?
** CANCELLED */
static int open_and_look(const char *path, listener *listener, int *sound) {
  maph_options options = MAPH_OPTIONS_INIT;
  maph_stats st;
  maph *m;
  int rc = maph_open(path, MAPH_RDWR, &options, &m), checked = MAPH_CORRUPT;
  *sound = 0;
  if (rc != MAPH_OK) return rc;
  if (writable(m) && maph_stat(m, &st) == MAPH_OK && !st.poisoned)
    checked = maph_check_progress(m, NULL, NULL, listener->tell, listener->arg);
  *sound = checked == MAPH_OK;
  rc = maph_close(m);
  return checked == MAPH_CANCELLED ? checked : rc;
}

int maph_recover(const char *path, maph_report_fn report, void *arg) {
  return maph_recover_progress(path, report, arg, NULL, NULL);
}

int maph_recover_progress(const char *path, maph_report_fn report, void *arg,
                          maph_progress_fn progress, void *progress_arg) {
  listener listener = { progress, progress_arg, os_clock_ns(), NULL };
  interruptible call;
  sentence before;
  char *resolved;
  int rc, sound;
  if (path == NULL || path[0] == 0)
    return fail(MAPH_MISUSE, "maph_recover: an empty path: name a store's file");
  rc = os_resolve(path, &resolved);
  if (rc != MAPH_OK) return error_name(rc, path);
  error_keep(&before);
  interrupt_begin(&call, NULL);
  call.listener = &listener;
  rc = open_and_look(resolved, &listener, &sound);
  if ((rc == MAPH_OK && !sound) || rc == MAPH_CORRUPT || rc == MAPH_IOERR || rc == MAPH_CANTOPEN)
    rc = rebuild(resolved, report, arg, &listener);
  interrupt_end(&call);
  free(resolved);
  return error_done(rc, &before, path);
}
