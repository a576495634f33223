/*
** salvage.c - maph_recover: a store made usable again.
**
** What a power loss left is repaired in place by opening it (recover.c).  When that will not do,
** because of damage or because a flush failed, the log is read as far as it can be: after a damaged
** stretch the next record is found by its checksum, which no other bytes have by accident.  Where
** the header can be trusted, nothing past `committed` is taken: a commit that failed stays failed.
** Every transaction that is whole by itself is written again, in order, with its version, to
** PATH.new.  The records that the file got from the generation before are whole each by itself: of
** them every good one is kept.  The old file gets the name PATH.damaged, the new one PATH.  Handles
** move over.
*/
#include "calls/handle.h"
#include "calls/supersede.h"
#include "file/grant.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
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
  view v;
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
  unsigned forks;             /* os_forks() when it began */
  uint64_t tried, told_tried; /* bytes summed in damaged stretches; when that was told last */
} salvage;

enum {
  DAMAGED_MOST = 1000,
  BASE_AT_ONCE = 65536,
  TELL_EACH = 256 * 1024,
  TELL_TRIED = 16 * 1024 * 1024,
  TRIED_TIMES = 8, /* the file's size */
  SMALL = 4096
};

static void tell(salvage *x, uint64_t offset, const char *format, uint64_t a, uint64_t b) {
  char line[512];
  snprintf(line, sizeof line, format, (unsigned long long)a, (unsigned long long)b);
  if (x->report) x->report(x->arg, offset, line);
}

static int begin(salvage *x, txn *t) {
  int rc = session_begin(x->to, 0);
  if (rc != MAPH_OK) return rc;
  txn_start(t, x->to);
  t->durability = MAPH_SYNC_OFF;
  return MAPH_OK;
}

static int end_base(salvage *x, int rc) {
  if (!x->in_base) return rc;
  x->in_base = 0;
  x->base.version = x->to->base_version;
  return session_finish(&x->base, rc);
}

static int copy_base_record(salvage *x, const item *it) {
  int rc = x->in_base ? MAPH_OK : begin(x, &x->base);
  item other;
  if (rc != MAPH_OK) return rc;
  x->in_base = 1;
  /* met before */
  if (txn_find(&x->base, UINT64_MAX, maph_bytes(it->key, it->key_size), &other) == MAPH_OK)
    return MAPH_OK;
  x->base.version = it->version;
  rc = txn_copy(&x->base, it);
  return rc != MAPH_OK || x->base.operations >= BASE_AT_ONCE ? end_base(x, rc) : MAPH_OK;
}

/* Write the transaction [from, at) again, with its version. */
static int copy_transaction(salvage *x, uint64_t from, uint64_t at, uint64_t version) {
  walk w = walk_from(&x->v, from, at);
  txn t;
  int rc, whole = MAPH_OK;
  /* met before: a copy of an old log page */
  if (version <= x->last_version && x->last_version != 0) return MAPH_OK;
  rc = end_base(x, MAPH_OK);
  if (rc == MAPH_OK) rc = begin(x, &t);
  if (rc != MAPH_OK) return rc;
  t.version = version;
  while (rc == MAPH_OK && walk_next(&w, &whole)) {
    if (!walk_is_data(&w)) continue;
    rc = txn_copy(&t, &w.it);
    if (rc == MAPH_NOTFOUND) rc = MAPH_OK; /* a delete of what was lost */
  }
  rc = session_finish(&t, rc);
  x->last_version = version;
  x->kept++;
  return rc;
}

/* A record from the generation before, with no transaction of its own?  They come before all
** others. */
static int is_base(const salvage *x, const item *it) {
  return it->kind == KIND_PUT && x->to->base_version > 0 && x->last_version <= x->to->base_version
         && it->version <= x->to->base_version && it->prev == 0;
}

/* The end of a transaction whose data records were met from `from` on.  whole: all of them. */
static int salvage_end(salvage *x, const item *it, uint64_t from, int whole) {
  if (x->in_base && it->version == x->to->base_version) return end_base(x, MAPH_OK);
  if (whole) return copy_transaction(x, from, it->offset, it->version);
  x->lost++;
  tell(x, it->offset, "transaction %llu is lost: its records are damaged", it->version, 0);
  return MAPH_OK;
}

/* Does another record, or space that was never used, follow? */
static int is_followed(const walk *w) {
  walk next = walk_from(w->v, w->at + w->it.size, w->limit);
  if (next.at > next.limit - RECORD_HEAD || record_blank(next.v->base, next.at)) return 1;
  return walk_look(&next);
}

/* In a damaged stretch every eighth byte may look like the head of a record, and only a checksum
** tells.  Bytes can be made, or be by chance, so that each costs a pass over the file: once that
** was a few times the file's size, a large record has to be followed by another, and later none is
** looked for there. */
static int worth_summing(salvage *x, const walk *w) {
  uint64_t most = TRIED_TIMES * x->v.size;
  if (w->it.size > SMALL && x->tried > most && (x->tried > 2 * most || !is_followed(w))) return 0;
  x->tried += w->it.size;
  return 1;
}

/* As walk_sound, at a place where the log may be damaged. */
static int sound_here(salvage *x, walk *w, int in_hole) {
  int kind = record_kind(w->v->base, w->at);
  if (kind < KIND_PUT || kind > KIND_EXTENT) return 0;
  if (!in_hole) return walk_sound(w);
  return walk_look(w) && worth_summing(x, w) && walk_sound(w);
}

static int tell_place(salvage *x, uint64_t at, uint64_t *look) {
  if (at < *look && x->tried - x->told_tried < TELL_TRIED) return MAPH_OK;
  *look = at + TELL_EACH;
  x->told_tried = x->tried;
  return progress_tell(&x->listener, x->from->path, "salvage", at, x->v.size);
}

/* Versions count transactions: those between that one and the next are in what is damaged. */
static void tell_gap(salvage *x, const item *it, int damaged) {
  if (damaged && it->version > x->met + 1 && it->version >> 32 == x->met >> 32
      && it->kind == KIND_END) {
    x->lost += it->version - x->met - 1;
    tell(x, it->offset, "transactions %llu to %llu are lost: their place in the log is damaged",
         x->met + 1, it->version - 1);
  }
  x->met = MAX(x->met, it->version);
  x->met_end = it->offset + END_SIZE;
}

/* Nothing was met up to where the log ends, as the header says it, or the checkpoint, c. */
static void tell_end(salvage *x, const checkpoint *c) {
  uint64_t size = atomic_load(&x->from->size), n = 1,
           to = atomic_load(&header_of(x->v.base)->committed);
  if (to % 8 || to > OFFSET_MAX) to = 0;
  to = MAX(to, c->offset);
  if (to <= x->met_end) return;
  if (c->version > x->met && c->version >> 32 == x->met >> 32) n = c->version - x->met;
  x->lost += n;
  tell(x, MIN(size, x->met_end),
       to > size ? "the log went on to %llu, and the file ends before; transactions lost: %llu at "
                   "least"
                 : "from here on to %llu the log is damaged; transactions lost: %llu at least",
       to, n);
}

static int salvage_log(salvage *x) {
  walk w = walk_from(&x->v, LOG_START, x->v.size);
  uint64_t from = LOG_START, operations = 0, hole = 0, look = LOG_START;
  int rc = MAPH_OK, damaged = 0;
  while (rc == MAPH_OK && w.at <= w.limit - RECORD_HEAD) {
    rc = tell_place(x, w.at, &look);
    if (rc != MAPH_OK) break;
    if (!sound_here(x, &w, hole != 0)) {
      if (!hole) hole = w.at;
      damaged = 1;
      w.at += 8;
      continue;
    }
    if (hole) {
      tell(x, hole, "%llu bytes are damaged or were never part of the log", w.it.offset - hole, 0);
      hole = 0;
    }
    x->highest = MAX(x->highest, w.it.version);
    if (is_base(x, &w.it)) {
      rc = copy_base_record(x, &w.it);
      damaged = 0;
    } else if (walk_is_data(&w)) {
      operations++;
    } else if (w.it.kind == KIND_END || w.it.kind == KIND_EPOCH) {
      tell_gap(x, &w.it, damaged);
      if (w.it.kind == KIND_END)
        rc = salvage_end(x, &w.it, from, !damaged && operations == w.it.operations);
      else
        x->last_version = MAX(x->last_version, w.it.version);
      operations = 0;
      damaged = 0;
    }
    if (operations == 0) from = w.at;
  }
  return x->forks == os_forks() ? end_base(x, rc) : rc;
}

/* A lenient look at the header: only what the checksums of records need. */
static int open_damaged(const char *path, store **out) {
  os_file f;
  store *s;
  view v;
  header copy;
  end_record first;
  int rc = os_open(path, OS_WRITE, 0, &f);
  *out = NULL;
  if (rc != MAPH_OK) return rc;
  s = store_bare(path, &f);
  if (s == NULL) {
    os_close(&f);
    return MAPH_NOMEM;
  }
  rc = store_see_size(s, 0);
  if (rc == MAPH_OK) rc = store_map_for_writing(s);
  if (rc == MAPH_OK && atomic_load(&s->size) < LOG_START + END_SIZE)
    rc = fail(MAPH_FORMAT, "%s: too short to hold anything", path);
  if (rc == MAPH_OK) {
    memcpy(&copy, atomic_load(&s->base), 256);
    memcpy(s->uuid, copy.uuid, 16);
    s->generation = copy.generation;
    s->salt = header_salt(&copy);
    header_place(s);
    v = (view){ atomic_load(&s->base), atomic_load(&s->size), 0, s };
    if (record_end(&v, LOG_START + END_SIZE, &first) != MAPH_OK)
      rc = fail(MAPH_CORRUPT,
                "%s: the header's identity and the log's first record do not fit each other: "
                "nothing in the file can be told from noise; "
                "restore a backup",
                path);
    /* they should be one */
    s->base_version =
        header_sound(&copy) ? copy.base_version & VERSION_MAX : record_version(&first.head);
  }
  if (rc != MAPH_OK) {
    store_free(s);
    s = NULL;
  }
  *out = s;
  return rc;
}

/* How much of the log to read: up to `committed`, if the header can be trusted and says something
** possible; else all of it. */
static uint64_t believed(store *s) {
  const header *h = header_of(atomic_load(&s->base));
  uint64_t size = atomic_load(&s->size), committed = atomic_load(&h->committed);
  view v = { atomic_load(&s->base), size, 0, s };
  end_record e;
  return trust_words(s) && record_end(&v, committed, &e) == MAPH_OK ? committed : size;
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
static int take_place(const char *path, const char *temporary, salvage *x) {
  char *kept = NULL;
  int rc = MAPH_EXISTS, n;
  for (n = 0; rc == MAPH_EXISTS && n < DAMAGED_MOST; n++) {
    os_free(kept);
    kept = damaged_name(path, n);
    if (kept == NULL) return MAPH_NOMEM;
    rc = os_link(path, kept);
  }
  if (rc == MAPH_OK && (rc = grant_header(x->from)) != MAPH_OK) os_remove(kept);
  if (rc == MAPH_OK) {
    /* readers look at the path from now on */
    atomic_fetch_or(&header_of(x->from->write_base)->state, STATE_SWITCHING);
    rc = os_rename(temporary, path);
    if (rc != MAPH_OK) { /* all as it was */
      atomic_fetch_and(&header_of(x->from->write_base)->state, ~(uint64_t)STATE_SWITCHING);
      os_remove(kept);
    }
  }
  if (rc == MAPH_OK) rc = os_flush_directory(path);
  if (rc == MAPH_OK) store_word(x->to->write_base, &header_of(x->to->write_base)->unborn, 0);
  /* readers move over */
  if (rc == MAPH_OK) atomic_fetch_or(&header_of(x->from->write_base)->state, STATE_SUPERSEDED);
  if (rc == MAPH_OK && x->report) {
    char line[700];
    snprintf(line, sizeof line, "%llu transactions kept, %llu lost; the damaged file is %.600s",
             (unsigned long long)x->kept, (unsigned long long)x->lost, kept);
    x->report(x->arg, 0, line);
  }
  os_free(kept);
  return rc;
}

/* Who died between the two names that take_place gives left the damaged file with both: it begins
** anew.  A second name that is not of its making would part from the store. */
static int must_have_one_name(const char *path, store *s) {
  char *kept;
  int rc = MAPH_OK, n;
  uint64_t device, inode;
  for (n = 0; rc == MAPH_OK && s->file.links > 1 && n < DAMAGED_MOST; n++) {
    kept = damaged_name(path, n);
    if (kept == NULL) return MAPH_NOMEM;
    if (os_identity(kept, &device, &inode) == MAPH_OK && device == s->file.device
        && inode == s->file.inode)
      rc = os_remove(kept);
    os_free(kept);
    if (rc == MAPH_OK) rc = os_status(&s->file, path);
  }
  return rc == MAPH_OK ? create_may_write(&s->file, path) : rc;
}

/* Owner, mode, access control list and the rest of the damaged file, as they are now. */
static int keep_attributes(salvage *x, const char *temporary, int last) {
  char note[160] = "";
  int rc = os_status(&x->from->file, x->from->path);
  if (rc == MAPH_OK)
    rc = os_keep_attributes(temporary, &x->to->file, &x->from->file, note, sizeof note);
  if (rc == MAPH_OK && note[0] && last && x->report) x->report(x->arg, 0, note);
  return rc;
}

/* Not in a child that a callback forked: the parent goes on with it. */
static void discard(const salvage *x, const char *temporary) {
  if (x->forks == os_forks()) os_remove(temporary);
}

/* Everything that can be read, into a new file.  The writer's lock is held throughout. */
static int rebuild(const char *path, maph_report_fn report, void *arg, const listener *p) {
  maph_options o = MAPH_OPTIONS_INIT;
  char *temporary = create_beside(path, ".new");
  salvage x;
  os_file lock;
  checkpoint c;
  int rc, got;
  memset(&x, 0, sizeof x);
  x.report = report;
  x.arg = arg;
  x.listener = *p;
  x.forks = os_forks();
  lock.fd = -1;
  rc = temporary ? open_damaged(path, &x.from) : MAPH_NOMEM;
  if (rc == MAPH_OK) rc = create_lock_rewrite(path, &x.from->file, o.busy_timeout_ms, &lock);
  if (rc == MAPH_OK) {
    got = os_lock(&lock, LOCK_PRESENT, 1);
    if (got == 1) got = os_lock(&lock, LOCK_WRITER, 1);
    if (got < 0) rc = -got;
    if (got == 0 || (got == 1 && trust_living(x.from)))
      rc = fail(MAPH_BUSY, "%s: another process has it open for writing: stop it first", path);
    if (rc == MAPH_OK) rc = os_status(&x.from->file, path);
    if (rc == MAPH_OK) rc = must_have_one_name(path, x.from);
  }
  o.mode = 0600;
  if (rc == MAPH_OK)
    rc = create_empty(temporary, &o, x.from->uuid, x.from->generation + 1, x.from->base_version,
                      &x.to);
  if (rc == MAPH_OK) rc = keep_attributes(&x, temporary, 0);
  if (rc == MAPH_OK) {
    x.v = (view){ atomic_load(&x.from->base), believed(x.from), 0, x.from };
    x.last_version = x.to->base_version;
    if (!header_best_checkpoint(x.from, header_of(x.v.base), &c)) memset(&c, 0, sizeof c);
    x.highest = c.version;
    x.met = x.to->base_version;
    rc = salvage_log(&x);
    if (rc == MAPH_OK) tell_end(&x, &c);
  }
  if (rc == MAPH_OK) {
    x.to->last.version = MAX(x.to->last.version, x.highest);
    rc = recover_append_epoch(x.to, x.to->space_end);
    if (rc == MAPH_OK) rc = order_renew(x.to, x.to->last.end);
  }
  if (rc == MAPH_OK) {
    supersede_seal(x.to, &lock);
    rc = keep_attributes(&x, temporary, 1);
  }
  if (rc == MAPH_OK) rc = os_flush_file(&x.to->file, temporary);
  if (rc == MAPH_OK)
    rc = take_place(path, temporary, &x);
  else if (x.to)
    discard(&x, temporary);
  store_free(x.to);
  store_free(x.from);
  create_unlock_rewrite(&lock);
  os_free(temporary);
  return rc;
}

/* Can a writer begin?  While another one is at work it can. */
static int writable(maph *m) {
  store *s;
  int rc = handle_writer(m, &s);
  if (rc == MAPH_OK) rc = session_begin(s, m->options.busy_timeout_ms);
  if (rc == MAPH_OK) session_end(s);
  return rc == MAPH_OK || rc == MAPH_BUSY;
}

/* Opening it repairs what a power loss left.  Is it whole then, and does it take writes?
** CANCELLED */
static int open_and_look(const char *path, listener *p, int *sound) {
  maph_options o = MAPH_OPTIONS_INIT;
  maph_stats st;
  maph *m;
  int rc = maph_open(path, MAPH_RDWR, &o, &m), checked = MAPH_CORRUPT;
  *sound = 0;
  if (rc != MAPH_OK) return rc;
  if (writable(m) && maph_stat(m, &st) == MAPH_OK && !st.poisoned)
    checked = maph_check_progress(m, NULL, NULL, p->tell, p->arg);
  *sound = checked == MAPH_OK;
  rc = maph_close(m);
  return checked == MAPH_CANCELLED ? checked : rc;
}

int maph_recover(const char *path, maph_report_fn report, void *arg) {
  return maph_recover_progress(path, report, arg, NULL, NULL);
}

int maph_recover_progress(const char *path, maph_report_fn report, void *arg,
                          maph_progress_fn progress, void *progress_arg) {
  listener p = { progress, progress_arg, 0, NULL };
  interruptible call;
  char *resolved;
  int rc, sound;
  if (path == NULL || path[0] == 0)
    return fail(MAPH_MISUSE, "maph_recover: an empty path: name a store's file");
  rc = os_resolve(path, &resolved);
  if (rc != MAPH_OK) return rc;
  interrupt_begin(&call, NULL);
  rc = open_and_look(resolved, &p, &sound);
  if ((rc == MAPH_OK && !sound) || rc == MAPH_CORRUPT || rc == MAPH_IOERR || rc == MAPH_CANTOPEN)
    rc = rebuild(resolved, report, arg, &p);
  interrupt_end(&call);
  free(resolved);
  return rc;
}
