/*
** trust.c - may the live words and the index be believed, and who may recover?
**
** They describe memory: a page cache that survives the death of every process, but not a power
** loss, and that a copy of the file does not have.  What a living kernel proves:
**
**   A LIVING WRITER.  Who has the store open for writing holds a lock on a byte of the file itself,
**   far beyond its end (LIVING + a number of its own).  All who open the file see it, by whatever
**   path, in whatever container; the kernel drops it when the process dies.  Readers cannot take
**   such a lock.  It is taken only when the words are known to hold: it vouches for them.
**
**   THE SAME LIFE OF THE FILE IN THIS KERNEL.  The inode's hint (os/place.c), set when the file is
**   marked dirty: while it is there, no page was lost since.  Where it could not be set, because
**   the writer was not the owner, or by the file system: the same boot and the same mount.
**
**   THE FILE.  A dirty copy has another inode than the one that was marked.
**
**   THE CONTENT.  A copy that was made while a writer was at work holds words of one moment and a
**   log and index of a later one: a whole transaction that continues the log past `prepared`, an
**   index piece past `end`, or a directory that has been replaced, tells.  Such a copy may be
**   marked clean, or lie in the very inode.
**
** The table below is the decision, the only one.  test/model/trust.py searches it: with power
** losses, kills, second mounts, copies and evictions no reader gets a wrong answer, no acknowledged
** commit is lost, and no two writers have different lock files.
**
** THE OPENING.  Who judges for writing holds the byte OPENING of the file until it vouches, or has
** recovered: nobody recovers while another opens, or opens while another recovers.  So recovery
** never runs while any process has the store open for writing.  Readers do not need it: a recovery
** leaves them the old index or the new one, both whole (recover.c).  A reader, who may lock bytes
** for reading, could take OPENING or all of LIVING: then writers go on without, by their lock file.
*/
#include "writer/trust.h"
#include "file/grant.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/slot.h"

#define OPENING (UINT64_C(1) << 62)
#define LIVING (OPENING + (UINT64_C(1) << 32))
#define LIVING_BYTES (UINT64_C(1) << 32)

enum { POLL_US = 1000, LOOKS_MOST = 100, PLACES_MOST = 16 };
/* As far as a reader looks past the live words. */
enum { LOOK_PAST = 64 * 1024 * 1024 };

/* ------------------------------------------------------------------------------------ the table */

enum { NO, YES, ANY };
typedef struct row {
  int living, ours, fits, clean, here, other, hint, hinted, same;
  trust_verdict verdict;
} row;

/* The first row that fits decides. */
static const row rows[] = {
  /* living ours fits clean here other hint hinted same */
  { YES, NO, ANY, ANY, ANY, ANY, ANY, ANY, ANY, TRUST_REFUSE },
  { YES, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, TRUST_BELIEVE },
  { ANY, ANY, NO, ANY, ANY, ANY, ANY, ANY, ANY, TRUST_RECOVER },
  { ANY, ANY, ANY, YES, ANY, ANY, ANY, ANY, ANY, TRUST_BELIEVE },
  { ANY, ANY, ANY, ANY, NO, ANY, ANY, ANY, ANY, TRUST_RECOVER },
  { ANY, ANY, ANY, ANY, ANY, YES, ANY, ANY, ANY, TRUST_RECOVER },
  { ANY, ANY, ANY, ANY, ANY, ANY, YES, ANY, ANY, TRUST_FINISH },
  { ANY, ANY, ANY, ANY, ANY, ANY, ANY, NO, YES, TRUST_FINISH },
  { ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, TRUST_RECOVER },
};

static int agrees(int cell, int evidence) { return cell == ANY || cell == (evidence != 0); }

trust_verdict trust_judge(const trust_evidence *e) {
  const row *r = rows;
  while (!(agrees(r->living, e->living) && agrees(r->ours, e->ours) && agrees(r->fits, e->fits)
           && agrees(r->clean, e->clean) && agrees(r->here, e->here) && agrees(r->other, e->other)
           && agrees(r->hint, e->hint) && agrees(r->hinted, e->hinted) && agrees(r->same, e->same)))
    r++;
  return r->verdict;
}

/* ---------------------------------------------------------------------------------- the content */

/* Does this record end a transaction that continues the chain, or open a life that does? */
static int continues(const view *v, const end_record *e, uint64_t chain, uint64_t digest,
                     uint64_t operations) {
  if (e->head.kind == KIND_EPOCH) digest = operations = 0;
  return e->head.operations == operations && e->chain == record_chain(v->s->salt, chain, e, digest);
}

/* An index piece of this life. */
static int is_piece(const view *v, const item *it, uint64_t version) {
  record r;
  if (it->kind != KIND_EXTENT || record_verify(v, it->offset, it->size) != MAPH_OK) return 0;
  memcpy(&r, v->base + it->offset, sizeof r);
  return r.life == log_life(version);
}

/* Is there a whole transaction of this log past `prepared`, or an index piece past `end`?  Their
** writer stored those words first. */
static int newer_past(const view *v, uint64_t prepared, uint64_t handed_out) {
  walk w = walk_from(v, v->snapshot, MIN(v->size, v->snapshot + LOOK_PAST));
  uint64_t digest = 0, operations = 0, chain;
  int rc = MAPH_OK;
  end_record e;
  if (record_end(v, v->snapshot, &e) != MAPH_OK) return 0;
  chain = e.chain;
  /* most often nothing is there, which is not worth a sentence */
  while (w.at + RECORD_HEAD <= w.limit && !record_blank(v->base, w.at) && walk_next(&w, &rc)) {
    if (walk_is_data(&w)) {
      digest = record_digest(digest, w.it.offset, w.it.bytes_8_to_15);
      operations++;
    } else if (w.it.offset >= handed_out && is_piece(v, &w.it, record_version(&e.head))) {
      return 1;
    } else if (w.it.kind == KIND_END || w.it.kind == KIND_EPOCH) {
      memcpy(&e, v->base + w.it.offset, sizeof e);
      if (!continues(v, &e, chain, digest, operations)) return 0;
      if (w.at > prepared) return 1;
      chain = e.chain;
      digest = operations = 0;
    }
  }
  return 0;
}

/* Has another directory taken the place of the one that root names? */
static int directory_replaced(const view *v) {
  const word *root = &header_of(v->base)->root;
  uint64_t was = acquire(root), directory = word_place(was);
  if (directory < LOG_START + RECORD_HEAD || directory > v->size) return 0;
  return acquire(link_of(v->base, directory)) != 0 && acquire(root) == was;
}

/* A reader may look while a writer works, and sees it then in `prepared`. */
static int content_fits(store *s) {
  const header *h = header_of(atomic_load(&s->base));
  uint64_t prepared = acquire(&h->prepared), handed_out = acquire(&h->end);
  view v;
  if (store_see_size(s, 0) != MAPH_OK || view_latest(s, &v) != MAPH_OK) return 1;
  if (v.snapshot > prepared) return 1; /* the words contradict each other: who uses them sees it */
  return !newer_past(&v, prepared, handed_out) && !directory_replaced(&v);
}

/* --------------------------------------------------------------------------------- the evidence */

int trust_living(const store *s) { return os_write_locked(&s->file, LIVING, LIVING_BYTES); }

static int lock_file_ours(const store *s) {
  const header *h = header_of(atomic_load(&s->base));
  uint64_t device = atomic_load(&h->lock_device), inode = atomic_load(&h->lock_inode);
  if (s->lock.fd < 0 || (device | inode) == 0) return 1;
  return device == s->lock.device && inode == s->lock.inode;
}

static void gather(store *s, trust_evidence *e) {
  const header *h = header_of(atomic_load(&s->base));
  uint64_t boot, known;
  e->clean = acquire(&h->clean) == CLEAN_YES;
  boot = acquire(&h->boot);
  known = boot != 0 && s->boot != 0;
  e->here = acquire(&h->place) == s->place;
  e->other = known && boot != s->boot;
  e->hint = os_hint(&s->file);
  e->hinted = acquire(&h->hinted) != 0;
  e->same = known && boot == s->boot && acquire(&h->mount) == s->mount;
  e->ours = lock_file_ours(s);
  e->living = trust_living(s);
  e->fits = e->living || content_fits(s);
}

static trust_verdict verdict_now(store *s) {
  trust_evidence e;
  gather(s, &e);
  return trust_judge(&e);
}

static int words_are_ours(const store *s) { return s->in_memory || s->lockless || s->vouched; }

int trust_words(store *s) { return s->in_memory || s->vouched || verdict_now(s) != TRUST_RECOVER; }

/* ---------------------------------------------------------------------------------- for reading */

/* A transaction ends where the header says that the log does, and in a clean file none is under
** way. */
static int live_words_hold(store *s) {
  const header *h = header_of(atomic_load(&s->base));
  end_record e;
  view v;
  int rc = view_latest(s, &v), tries;
  if (rc == MAPH_OK) rc = record_end(&v, v.snapshot, &e);
  for (tries = 0; rc == MAPH_OK && tries < 3; tries++) { /* a writer may come and go meanwhile */
    uint64_t clean = atomic_load(&h->clean), committed = atomic_load(&h->committed);
    if (atomic_load(&h->prepared) == committed || clean != CLEAN_YES
        || atomic_load(&h->clean) != CLEAN_YES)
      return MAPH_OK;
  }
  return rc == MAPH_OK
             ? fail_corrupt(s->path, offsetof(header, prepared),
                            "the store was closed cleanly, yet a transaction is under way")
             : rc;
}

/* Whether the power was lost since cannot be told, for a reason that has to do with neither. */
static int boot_unknown(const store *s) {
  if (s->place_failed)
    return fail(MAPH_CANTOPEN, "%s: cannot find out which boot this is: %s: try again", s->path,
                strerror(s->place_failed));
  return fail(MAPH_CANTOPEN,
              "%s: the system does not tell which boot this is (/proc/sys/kernel/random/boot_id), "
              "so whether the store is whole cannot be told: mount /proc, or open it once for "
              "writing",
              s->path);
}

int trust_reader(store *s, int timeout_ms) {
  const header *h = header_of(atomic_load(&s->base));
  uint64_t deadline = os_clock_ns() + (uint64_t)timeout_ms * 1000000u;
  int looks;
  for (looks = 0; !trust_words(s); looks++) {
    uint64_t prepared = acquire(&h->prepared), clean = acquire(&h->clean);
    if (os_write_locked(&s->file, OPENING, 1) && os_clock_ns() < deadline) { /* or recovers it */
      if (interrupted()) return interrupt_say(s->path);
      os_sleep_us(POLL_US);
      continue;
    }
    if (looks < LOOKS_MOST && trust_words(s)) break;
    if (looks < LOOKS_MOST && (acquire(&h->prepared) != prepared || acquire(&h->clean) != clean))
      continue;
    if (s->boot == 0) return boot_unknown(s);
    return fail(MAPH_RECOVER,
                "%s: was not closed cleanly before a power loss, or is a copy of a store in use: "
                "run `maph recover` on it, or open it once for writing",
                s->path);
  }
  return live_words_hold(s);
}

/* ---------------------------------------------------------------------------------- for writing */

/* The threads of this process, then all processes. */
static int take_opening(store *s, const lock_patience *p) {
  int got = 0;
  while (pthread_mutex_trylock(&s->trust_mutex) != 0) {
    if (lock_interrupted(p)) return interrupt_say(s->path);
    if (os_clock_ns() >= p->deadline_ns) goto busy;
    os_sleep_us(POLL_US);
  }
  while ((got = os_lock(&s->file, OPENING, 1)) == 0) {
    if (!os_write_locked(&s->file, OPENING, 1)) return MAPH_OK; /* a reader's doing */
    if (lock_interrupted(p) || os_clock_ns() >= p->deadline_ns) break;
    os_sleep_us(POLL_US);
  }
  if (got == 1) return MAPH_OK;
  pthread_mutex_unlock(&s->trust_mutex);
  if (got == 0 && lock_interrupted(p)) return interrupt_say(s->path);
  if (got < 0) return -got;
busy:
  return fail(MAPH_BUSY,
              "%s: another process is opening or recovering it for all of %d ms: try again, or "
              "raise the busy timeout",
              s->path, p->timeout_ms);
}

static void give_opening(store *s) {
  os_unlock(&s->file, OPENING);
  pthread_mutex_unlock(&s->trust_mutex);
}

/* With OPENING: the words are known to hold, and no other lock file is in use. */
static int vouch(store *s) {
  header *h = header_of(s->write_base);
  uint32_t number;
  int i;
  assert(is_locked(&s->trust_mutex));
  if (!lock_file_ours(s) || atomic_load(&h->lock_inode) == 0) {
    int rc = grant_header(s);
    if (rc != MAPH_OK) return rc;
    store_word(s->write_base, &h->lock_device, s->lock.device);
    store_word(s->write_base, &h->lock_inode, s->lock.inode);
  }
  for (i = 0; i < PLACES_MOST; i++) {
    os_random(&number, sizeof number);
    s->living = LIVING + number;
    if (os_lock(&s->file, s->living, 1) == 1) break;
  }
  s->vouched = 1;
  return MAPH_OK;
}

static int refuse(const store *s) {
  return fail(MAPH_CANTOPEN,
              "%s.lock: this is not the lock file that the store's living writers use: it was "
              "removed or replaced, or the store's file alone is mounted here: stop those writers, "
              "or mount the folder that the store lies in",
              s->path);
}

/* Is there a transaction that is not visible yet, or was never decided? */
static int undecided(const store *s) {
  const header *h = header_of(atomic_load(&s->base));
  return acquire(&h->prepared) != acquire(&h->committed);
}

int trust_writer(store *s, const lock_patience *p, int *begin) {
  int rc;
  *begin = 0;
  if (words_are_ours(s)) return MAPH_OK;
  rc = take_opening(s, p);
  if (rc != MAPH_OK) return rc;
  if (!s->vouched) { /* by another thread, meanwhile */
    trust_verdict verdict = verdict_now(s);
    if (verdict == TRUST_REFUSE) rc = refuse(s);
    *begin = verdict == TRUST_RECOVER || (verdict == TRUST_FINISH && undecided(s));
    if (verdict == TRUST_BELIEVE || verdict == TRUST_FINISH) rc = live_words_hold(s);
    if (rc == MAPH_OK && verdict != TRUST_RECOVER) rc = vouch(s);
  }
  give_opening(s);
  return rc;
}

int trust_begin(store *s, const lock_patience *p, int (*recover)(store *s)) {
  trust_verdict verdict;
  int rc;
  if (words_are_ours(s)) return MAPH_OK;
  rc = take_opening(s, p);
  if (rc != MAPH_OK) return rc;
  verdict = verdict_now(s);
  if (verdict == TRUST_REFUSE) rc = refuse(s);
  if (verdict == TRUST_RECOVER) rc = grant_file(s, atomic_load(&s->size));
  if (rc == MAPH_OK && verdict == TRUST_RECOVER) rc = recover(s);
  if (rc == MAPH_OK) rc = vouch(s);
  give_opening(s);
  return rc;
}

void trust_leave(store *s) {
  if (!s->vouched) return;
  s->vouched = 0;
  os_unlock(&s->file, s->living);
}

/* ------------------------------------------------------------------------------------- the mark */

void trust_mark(store *s) {
  header *h = header_of(s->write_base);
  int hinted = os_set_hint(&s->file, 1);
  store_word(s->write_base, &h->boot, s->boot);
  store_word(s->write_base, &h->mount, s->mount);
  store_word(s->write_base, &h->hinted, (uint64_t)hinted);
  store_word(s->write_base, &h->place, s->place);
}

void trust_unmark(store *s) { os_set_hint(&s->file, 0); }
