/*
** trust.c - may the live words and the index be believed, and who may recover?
**
** They describe memory: a page cache that survives the death of every process, but not a power
** loss, and that a copy of the file does not have.  What a living kernel proves:
**
**   A LIVING WRITER.  Whoever has the store open for writing holds a lock on a byte of the file
**   itself, far beyond its end (LIVING + a number of its own).  All who open the file see it, by
**   whatever path, in whatever container; the kernel drops it when the process dies.  Readers
**   cannot take such a lock.  It is taken only when the words are known to hold: it vouches for
**   them.
**
**   THE SAME LIFE OF THE FILE IN THIS KERNEL.  The inode's hint (os/place.c), set when the file is
**   marked dirty: while it is there, no page was lost since.  Where it could not be set, because
**   the writer was not the owner, or by the file system: the same boot and the same mount.
**
**   THE FILE.  A dirty copy has another inode than the one that was marked.
**
**   THE CONTENT.  A copy that was made while a writer was at work holds words of one moment and a
**   log and index of a later one: a whole transaction that continues the log past `prepared`, an
**   index piece past `end`, any record there if the file is clean, or a directory that has been
**   replaced, tells.  Such a copy may be marked clean, or lie in the very inode.
**
** The table below is the decision, the only one.  test/model/trust.py searches it: with power
** losses, kills, second mounts, copies and evictions no reader gets a wrong answer, no acknowledged
** commit is lost, and no two writers have different lock files.
**
** THE OPENING.  Whoever judges for writing holds the byte OPENING of the file until it vouches, or
** has recovered: nobody recovers while another opens, or opens while another recovers.  So recovery
** never runs while any process has the store open for writing.  Readers do not need it: a recovery
** leaves them the old index or the new one, both whole (recover.c).  A reader, who may lock bytes
** for reading, could take OPENING or all of LIVING: then writers go on without, by their lock file.
*/
#include "writer/trust.h"
#include "file/grant.h"
#include "file/header.h"
#include "file/record.h"
#include "file/size.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/slot.h"
#include "os/progress.h"

#define OPENING (UINT64_C(1) << 62)
#define LIVING (OPENING + (UINT64_C(1) << 32))
#define LIVING_BYTES (UINT64_C(1) << 32)

enum { POLL_US = 1000, LOOKS_MOST = 100, PLACES_MOST = 16 };
/* As far as a reader looks past the live words. */
enum { LOOK_PAST = 64 * 1024 * 1024, HEADS_MOST = 4096 };

/* ------------------------------------------------------------------------------------ the table */

/* FINISH: believe the words, and finish what a dead writer left. */
typedef enum verdict { TRUST_BELIEVE, TRUST_FINISH, TRUST_RECOVER, TRUST_REFUSE } verdict;

enum { NO, YES, ANY, QUESTIONS = 9 };

/* The first row that fits decides. */
static const struct row {
  int answers[QUESTIONS];
  verdict verdict;
} rows[] = {
  /* living ours fits clean here other hint hinted same */
  { { YES, NO, ANY, ANY, ANY, ANY, ANY, ANY, ANY }, TRUST_REFUSE },
  { { YES, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY }, TRUST_BELIEVE },
  { { ANY, ANY, NO, ANY, ANY, ANY, ANY, ANY, ANY }, TRUST_RECOVER },
  { { ANY, ANY, ANY, YES, ANY, ANY, ANY, ANY, ANY }, TRUST_BELIEVE },
  { { ANY, ANY, ANY, ANY, NO, ANY, ANY, ANY, ANY }, TRUST_RECOVER },
  { { ANY, ANY, ANY, ANY, ANY, YES, ANY, ANY, ANY }, TRUST_RECOVER },
  { { ANY, ANY, ANY, ANY, ANY, ANY, YES, ANY, ANY }, TRUST_FINISH },
  { { ANY, ANY, ANY, ANY, ANY, ANY, ANY, NO, YES }, TRUST_FINISH },
  { { ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY }, TRUST_RECOVER },
};

/* ---------------------------------------------------------------------------------- the content */

/* Does this record end a transaction that continues the chain, or open a life that does? */
static int continues(const view *view, const end_record *end, uint64_t chain, uint64_t digest,
                     uint64_t operations) {
  if (end->head.kind == KIND_EPOCH) digest = operations = 0;
  return end->head.operations == operations
         && end->chain == record_chain(view->store->salt, chain, end, digest);
}

/* An index piece of this life. */
static int is_piece(const view *view, const item *it, uint64_t version) {
  record record;
  if (it->kind != KIND_EXTENT || record_verify(view, it->offset, it->size) != MAPH_OK) return 0;
  memcpy(&record, view->base + it->offset, sizeof record);
  return record.life == (uint16_t)header_life(view->store, version);
}

/* Where the index pieces and pads end that `end` tells of.  After a large commit these are many,
** each in pages of its own: whoever closed the file cleanly says where they end.  Else their heads
** are read without mapping those.  Past HEADS_MOST of them, which a forged file may hold, mapping
** is cheaper. */
static uint64_t past_pieces(const view *view, uint64_t at, uint64_t limit) {
  record head;
  int heads;
  if (at > limit) at = view->snapshot; /* what is past `end` tells: see below */
  for (heads = 0; heads < HEADS_MOST && at < limit && limit - at >= RECORD_HEAD; heads++) {
    if (os_read(&view->store->file, view->store->path, at, &head, sizeof head) != MAPH_OK
        || (head.kind != KIND_EXTENT && head.kind != KIND_PAD) || head.size < RECORD_HEAD
        || head.size % 8 || head.size > limit - at)
      break;
    at += head.size;
  }
  return at;
}

/* In a file that was closed nothing begins at `end`: whoever appends there marks it first. */
static int begun_past(const view *view, const header_tail *tail, uint64_t handed_out) {
  return tail->blank && acquire(&header_of(view->base)->clean) == CLEAN_YES
         && view->size >= handed_out + RECORD_HEAD && !record_blank(view->base, handed_out);
}

/* Is there a whole transaction of this log past `prepared`, or an index piece past `end`?  Their
** writer stored those words first.  *ended: where the log was seen to end with a transaction. */
static int newer_past(const view *view, uint64_t prepared, uint64_t handed_out, uint64_t *ended) {
  header_tail tail = header_tail_at(view->store, header_of(view->base), view->snapshot);
  uint64_t from = past_pieces(view, tail.spaces, MIN(view->size, handed_out)),
           limit = MIN(view->size, from + LOOK_PAST);
  walk walk = walk_from(view, from, limit);
  uint64_t digest = 0, operations = 0, chain;
  int rc = MAPH_OK;
  end_record end;
  if (record_end(view, view->snapshot, &end) != MAPH_OK) return 0;
  *ended = view->snapshot;
  if (from == handed_out && begun_past(view, &tail, handed_out)) return 1;
  chain = end.chain;
  /* most often nothing is there, which is not worth a sentence */
  while (walk.at + RECORD_HEAD <= walk.limit && !record_blank(view->base, walk.at)
         && walk_next(&walk, &rc)) {
    if (walk_is_data(&walk)) {
      digest = record_digest(digest, walk.it.offset, walk.it.bytes_8_to_15);
      operations++;
    } else if (walk.it.offset >= handed_out
               && is_piece(view, &walk.it, record_version(&end.head))) {
      return 1;
    } else if (walk.it.kind == KIND_END || walk.it.kind == KIND_EPOCH) {
      memcpy(&end, view->base + walk.it.offset, sizeof end);
      if (!continues(view, &end, chain, digest, operations)) return 0;
      if (walk.at > prepared) return 1;
      chain = end.chain;
      digest = operations = 0;
    }
  }
  return 0;
}

/* Has another directory taken the place of the one that root names? */
static int directory_replaced(const view *view) {
  const word *root = &header_of(view->base)->root;
  uint64_t was = acquire(root), directory = word_place(was);
  if (directory < LOG_START + RECORD_HEAD || directory > view->size) return 0;
  return acquire(link_of(view->base, directory)) != 0 && acquire(root) == was;
}

/* A reader may look while a writer works, and sees it then in `prepared`. */
static int content_fits(store *store, uint64_t *ended) {
  const header *header = header_of(atomic_load(&store->base));
  uint64_t prepared = acquire(&header->prepared), handed_out = acquire(&header->end);
  view view;
  if (store_see_size(store, 0) != MAPH_OK || view_latest(store, &view) != MAPH_OK) return 1;
  if (view.snapshot > prepared)
    return 1; /* the words contradict each other: whoever uses them sees it */
  return !newer_past(&view, prepared, handed_out, ended) && !directory_replaced(&view);
}

/* --------------------------------------------------------------------------------- the evidence */

int trust_living(const store *store) { return os_write_locked(&store->file, LIVING, LIVING_BYTES); }

typedef struct evidence {
  store *store;
  os_place place;
  int placed;             /* place is known */
  uint64_t ended;         /* by a transaction, the log ends there; 0: nobody looked */
  int answers[QUESTIONS]; /* ANY: not asked yet */
} evidence;

static const header *read_header(const evidence *evidence) {
  return header_of(atomic_load(&evidence->store->base));
}

static const os_place *place_of(evidence *evidence) {
  if (!evidence->placed) os_place_of(&evidence->store->file, &evidence->place);
  evidence->placed = 1;
  return &evidence->place;
}

static uint64_t boot_word(const os_place *place) {
  return place->boot[0] ? XXH3_64bits(place->boot, sizeof place->boot) | 1 : 0;
}

static uint64_t place_word(const store *store) {
  uint64_t file[2] = { store->file.device, store->file.inode };
  return XXH3_64bits(file, sizeof file) | 1;
}

/* Another process has it open for writing, and vouches for the words. */
static int living(evidence *evidence) { return trust_living(evidence->store); }

/* The lock file that the header names is the one beside our path. */
static int lock_file_ours(const store *store) {
  const header *header = header_of(atomic_load(&store->base));
  uint64_t device = atomic_load(&header->lock_device), inode = atomic_load(&header->lock_inode);
  if (store->lock.fd < 0 || (device | inode) == 0) return 1;
  return device == store->lock.device && inode == store->lock.inode;
}
static int ours(evidence *evidence) { return lock_file_ours(evidence->store); }

/* Nothing in the file is newer than the live words. */
static int fits(evidence *evidence) { return content_fits(evidence->store, &evidence->ended); }

/* Marked so: the last writer flushed all of it. */
static int clean(evidence *evidence) { return acquire(&read_header(evidence)->clean) == CLEAN_YES; }

/* It was marked dirty in this very file: it is no copy of that. */
static int here(evidence *evidence) {
  return acquire(&read_header(evidence)->place) == place_word(evidence->store);
}

/* Of the boot in which it was marked dirty and this one: both are known. */
static int boots_known(evidence *evidence, uint64_t *then, uint64_t *now) {
  *then = acquire(&read_header(evidence)->boot);
  *now = boot_word(place_of(evidence));
  return *then != 0 && *now != 0;
}

/* And in another boot, for certain. */
static int other(evidence *evidence) {
  uint64_t then, now;
  return boots_known(evidence, &then, &now) && then != now;
}

/* The inode has been in the kernel's memory ever since. */
static int hint(evidence *evidence) { return os_hint(&evidence->store->file); }

/* Who marked it dirty could set the hint. */
static int hinted(evidence *evidence) { return acquire(&read_header(evidence)->hinted) != 0; }

/* It was marked dirty in this boot, on this mount. */
static int same(evidence *evidence) {
  uint64_t then, now;
  return boots_known(evidence, &then, &now) && then == now
         && acquire(&read_header(evidence)->mount) == place_of(evidence)->mount;
}

/* The table's columns.  A question is asked when a row needs its answer, and once: most are system
** calls, and for a store that is clean or in use the first rows decide. */
static int (*const questions[QUESTIONS])(evidence *evidence) = {
  living, ours, fits, clean, here, other, hint, hinted, same,
};

static int row_fits(const struct row *row, evidence *evidence) {
  int i;
  for (i = 0; i < QUESTIONS; i++) {
    if (row->answers[i] == ANY) continue;
    if (evidence->answers[i] == ANY) evidence->answers[i] = questions[i](evidence) ? YES : NO;
    if (evidence->answers[i] != row->answers[i]) return 0;
  }
  return 1;
}

static verdict judge(store *store, uint64_t *ended) {
  evidence evidence = { .store = store };
  const struct row *row = rows;
  int i;
  for (i = 0; i < QUESTIONS; i++) evidence.answers[i] = ANY;
  while (!row_fits(row, &evidence)) row++;
  *ended = evidence.ended;
  return row->verdict;
}

static int words_are_ours(const store *store) {
  return store->in_memory || store->lockless || store->vouched;
}

static int words_fit(store *store, uint64_t *ended) {
  *ended = 0;
  return store->in_memory || store->vouched || judge(store, ended) != TRUST_RECOVER;
}

int trust_words(store *store) {
  uint64_t ended;
  return words_fit(store, &ended);
}

/* ---------------------------------------------------------------------------------- for reading */

/* A transaction ends where the header says that the log does, and in a clean file none is under
** way.  ended: where one was seen to end just now. */
static int live_words_hold(store *store, uint64_t ended) {
  const header *header = header_of(atomic_load(&store->base));
  end_record end;
  view view;
  int rc = view_latest(store, &view), tries;
  if (rc == MAPH_OK && view.snapshot != ended) rc = record_end(&view, view.snapshot, &end);
  for (tries = 0; rc == MAPH_OK && tries < 3; tries++) { /* a writer may come and go meanwhile */
    uint64_t clean = atomic_load(&header->clean), committed = atomic_load(&header->committed);
    if (atomic_load(&header->prepared) == committed || clean != CLEAN_YES
        || atomic_load(&header->clean) != CLEAN_YES)
      return MAPH_OK;
  }
  return rc == MAPH_OK
             ? fail_corrupt(store->path, offsetof(struct header, prepared),
                            "the store was closed cleanly, yet a transaction is under way")
             : rc;
}

/* Whether the power was lost since cannot be told, for a reason that has to do with neither. */
static int boot_unknown(const store *store, const os_place *place) {
  if (place->failed)
    return fail(MAPH_CANTOPEN, "%s: cannot find out which boot this is: %s: try again", store->path,
                strerror(place->failed));
  return fail(MAPH_CANTOPEN,
              "%s: the system does not tell which boot this is (/proc/sys/kernel/random/boot_id), "
              "so whether the store is whole cannot be told: mount /proc, or open it once for "
              "writing",
              store->path);
}

int trust_reader(store *store, int timeout_ms) {
  const header *header = header_of(atomic_load(&store->base));
  uint64_t deadline = 0, ended;
  os_place place;
  int looks;
  for (looks = 0; !words_fit(store, &ended); looks++) {
    uint64_t prepared = acquire(&header->prepared), clean = acquire(&header->clean);
    if (deadline == 0) deadline = os_clock_ns() + (uint64_t)timeout_ms * 1000000u;
    if (os_write_locked(&store->file, OPENING, 1)
        && os_clock_ns() < deadline) { /* or recovers it */
      if (progress_wait()) return interrupt_say(store->path);
      os_sleep_us(POLL_US);
      continue;
    }
    if (looks < LOOKS_MOST && words_fit(store, &ended)) break;
    if (looks < LOOKS_MOST
        && (acquire(&header->prepared) != prepared || acquire(&header->clean) != clean))
      continue;
    os_place_of(&store->file, &place);
    if (boot_word(&place) == 0) return boot_unknown(store, &place);
    return fail(MAPH_RECOVER,
                "%s: was not closed cleanly before a power loss, or is a copy of a store in use: "
                "run `maph recover` on it, or open it once for writing",
                store->path);
  }
  return live_words_hold(store, ended);
}

/* ---------------------------------------------------------------------------------- for writing */

/* The threads of this process, then all processes. */
static int take_opening(store *store, const lock_patience *patience) {
  int got = 0;
  while (pthread_mutex_trylock(&store->trust_mutex) != 0) {
    if (lock_interrupted(patience)) return interrupt_say(store->path);
    if (os_clock_ns() >= patience->deadline_ns) goto busy;
    os_sleep_us(POLL_US);
  }
  while ((got = os_lock(&store->file, OPENING, 1)) == 0) {
    if (!os_write_locked(&store->file, OPENING, 1)) return MAPH_OK; /* a reader's doing */
    if (lock_interrupted(patience) || os_clock_ns() >= patience->deadline_ns) break;
    os_sleep_us(POLL_US);
  }
  if (got == 1) return MAPH_OK;
  pthread_mutex_unlock(&store->trust_mutex);
  if (got == 0 && lock_interrupted(patience)) return interrupt_say(store->path);
  if (got < 0) return -got;
busy:
  return fail(MAPH_BUSY,
              "%s: another process is opening or recovering it for all of %d ms: try again, or "
              "raise the busy timeout",
              store->path, patience->timeout_ms);
}

static void give_opening(store *store) {
  os_unlock(&store->file, OPENING);
  pthread_mutex_unlock(&store->trust_mutex);
}

/* What a mark is going to say of this process.  Early: when the file is marked, the system may be
** out of what it takes to find out. */
static void learn_place(store *store) {
  os_place place;
  if (store->place_known) return;
  os_place_of(&store->file, &place);
  store->boot = boot_word(&place);
  store->mount = place.mount;
  store->place_known = 1;
}

/* With OPENING: the words are known to hold, and no other lock file is in use. */
static int vouch(store *store) {
  header *header = header_of(store->write_base);
  uint32_t number;
  int i;
  assert(is_locked(&store->trust_mutex));
  learn_place(store);
  if (!lock_file_ours(store) || atomic_load(&header->lock_inode) == 0) {
    int rc = grant_header(store);
    if (rc != MAPH_OK) return rc;
    store_word(store->write_base, &header->lock_device, store->lock.device);
    store_word(store->write_base, &header->lock_inode, store->lock.inode);
  }
  for (i = 0; i < PLACES_MOST; i++) {
    os_random(&number, sizeof number);
    store->living = LIVING + number;
    if (os_lock(&store->file, store->living, 1) == 1) break;
  }
  store->vouched = 1;
  return MAPH_OK;
}

static int refuse(const store *store) {
  return fail(MAPH_CANTOPEN,
              "%s.lock: this is not the lock file that the store's living writers use: it was "
              "removed or replaced, or the store's file alone is mounted here: stop those writers, "
              "or mount the folder that the store lies in",
              store->path);
}

/* Is there a transaction that is not visible yet, or was never decided? */
static int undecided(const store *store) {
  const header *header = header_of(atomic_load(&store->base));
  return acquire(&header->prepared) != acquire(&header->committed);
}

int trust_writer(store *store, const lock_patience *patience, int *begin) {
  int rc;
  *begin = 0;
  if (words_are_ours(store)) return MAPH_OK;
  rc = take_opening(store, patience);
  if (rc != MAPH_OK) return rc;
  if (!store->vouched) { /* by another thread, meanwhile */
    uint64_t ended;
    verdict verdict = judge(store, &ended);
    if (verdict == TRUST_REFUSE) rc = refuse(store);
    *begin = verdict == TRUST_RECOVER || (verdict == TRUST_FINISH && undecided(store));
    if (verdict == TRUST_BELIEVE || verdict == TRUST_FINISH) rc = live_words_hold(store, ended);
    if (rc == MAPH_OK && verdict != TRUST_RECOVER) rc = vouch(store);
  }
  give_opening(store);
  return rc;
}

int trust_begin(store *store, const lock_patience *patience, int (*recover)(struct store *store)) {
  verdict verdict;
  uint64_t ended;
  int rc;
  assert(store_has_turn(store) && store_has_lock(store));
  if (words_are_ours(store)) return MAPH_OK;
  rc = take_opening(store, patience);
  if (rc != MAPH_OK) return rc;
  verdict = judge(store, &ended);
  if (verdict == TRUST_REFUSE) rc = refuse(store);
  if (verdict == TRUST_RECOVER) rc = grant_file(store, atomic_load(&store->size));
  if (rc == MAPH_OK && verdict == TRUST_RECOVER) rc = recover(store);
  if (rc == MAPH_OK) rc = vouch(store);
  give_opening(store);
  return rc;
}

void trust_leave(store *store) {
  if (!store->vouched) return;
  store->vouched = 0;
  os_unlock(&store->file, store->living);
}

/* ------------------------------------------------------------------------------------- the mark */

void trust_mark(store *store) {
  header *header = header_of(store->write_base);
  int set = os_set_hint(&store->file, 1);
  learn_place(store); /* of a file that is being made */
  store_word(store->write_base, &header->boot, store->boot);
  store_word(store->write_base, &header->mount, store->mount);
  store_word(store->write_base, &header->hinted, (uint64_t)set);
  store_word(store->write_base, &header->place, place_word(store));
}

void trust_unmark(store *store) { os_set_hint(&store->file, 0); }
