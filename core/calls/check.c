/*
** check.c - maph_check: believe nothing, walk everything, report each contradiction with its place.
**
** As of one snapshot: what writers do meanwhile lies past it, or shows only in links and slots,
** which are judged by what lies below it. First come the header's live words.  Pass 1 walks the
** log: every record's checksum, every transaction's chain and totals, every prev.  Pass 2 walks the
** live records again and looks each up through the index; pass 3 walks every slot and asks that it
** leads to a record of that hash.  Pass 4 walks the runs of the order of keys, which is asked to
** have each key once.  They are the phases "log", "lookup", "index", "order".
*/
#include "calls/handle.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/index.h"
#include "index/perfect.h"
#include "index/slot.h"
#include "order/prove.h"
#include "order/run.h"
#include "os/progress.h"

#include <stdio.h>

typedef struct checking {
  view v;
  maph_report_fn report;
  void *arg;
  listener listener;
  int problems, stopped;
  uint64_t records, bytes; /* live so far */
  uint64_t slots;          /* visited so far */
  run_list *runs;          /* of the order of keys, taken before the log is walked */
  uint64_t firsts;         /* records of the log that the runs have to lead to, so far */
} checking;

enum { TELL_EACH = 4096, LARGE = 65536 }; /* records or slots; bytes of one */

static int problem(checking *c, uint64_t offset, const char *sentence) {
  c->problems++;
  if (c->report && c->report(c->arg, offset, sentence)) c->stopped = 1;
  return c->stopped ? MAPH_CORRUPT : MAPH_OK;
}

/* A core call failed: what it said is the problem. */
static int problem_said(checking *c, uint64_t offset) {
  char copy[1024];
  snprintf(copy, sizeof copy, "%s", maph_errmsg(NULL));
  return problem(c, offset, copy);
}

static int tell(checking *c, const char *phase, uint64_t done, uint64_t total) {
  return progress_tell(&c->listener, c->v.s->path, phase, done, total);
}

/* Loaded after what is compared with it: writers raise it first. */
static uint64_t space_end(const checking *c) {
  return atomic_load_explicit(&header_of(c->v.base)->end, memory_order_acquire);
}

/* Is there a word of the header's live part that format.h describes? */
static int described(const header *h, uint64_t at) {
  if (at == offsetof(header, order)) return (h->optional & OPTIONAL_ORDER) != 0;
  return (at >= 256 && at < 280) || (at >= 320 && at < 360) || (at >= 384 && at < 472)
         || (at >= 512 && at < 576) || (at >= 1024 && at < 1088);
}

static int checkpoint_sound(const checking *c, const checkpoint *slot) {
  static const checkpoint none;
  checkpoint copy;
  memcpy(&copy, slot, sizeof copy);
  return memcmp(&copy, &none, sizeof none) == 0 || header_checkpoint_fits(c->v.s, &copy);
}

/* The live words, as far as they can be judged while writers work: each is loaded before the one
** that bounds it. */
static int check_header(checking *c) {
  const header *h = header_of(c->v.base);
  uint64_t clean = atomic_load(&h->clean), state = atomic_load(&h->state),
           mark = state & ~(uint64_t)STATE_FLAGS, flushed = atomic_load(&h->flushed);
  uint64_t committed = atomic_load(&h->committed), prepared = atomic_load(&h->prepared),
           end = atomic_load(&h->end), at;
  int rc = MAPH_OK;
  if (clean < CLEAN_YES || clean > CLEAN_DIRTY)
    rc = problem(c, offsetof(header, clean), "the header's clean word is none that is known");
  if (rc == MAPH_OK && mark && clean == CLEAN_YES && atomic_load(&h->state) == state
      && atomic_load(&h->clean) == CLEAN_YES) {
    rc = problem(c, offsetof(header, state),
                 "a split is said to be under way in a store that was closed cleanly");
  }
  if (rc == MAPH_OK && ((state & STATE_FLAGS) >> 4 || mark >= end || (mark && mark < LOG_START)))
    rc = problem(c, offsetof(header, state), "the header's state word is none that can be");
  if (rc == MAPH_OK && (c->v.snapshot > prepared || prepared > end || prepared % 8 || end % 8))
    rc = problem(c, offsetof(header, prepared), "the live words contradict each other");
  if (rc == MAPH_OK && flushed > committed)
    rc = problem(c, offsetof(header, flushed), "more is flushed than is committed");
  if (rc == MAPH_OK && end > c->v.size && store_see_size(c->v.s, end) != MAPH_OK)
    rc = problem_said(c, offsetof(header, end));
  if (rc == MAPH_OK && clean == CLEAN_YES
      && !(checkpoint_sound(c, &h->checkpoint_a) && checkpoint_sound(c, &h->checkpoint_b))
      && atomic_load(&h->clean) == CLEAN_YES) {
    rc = problem(c, offsetof(header, checkpoint_a),
                 "a checkpoint's checksum does not fit its bytes");
  }
  for (at = 256;
       rc == MAPH_OK && at < HEADER_SIZE && (h->optional & ~(uint64_t)OPTIONAL_ORDER) == 0;
       at += 8) {
    if (!described(h, at) && load64(c->v.base + at) != 0)
      rc = problem(c, at, "reserved bytes of the header are not zero");
  }
  return rc;
}

static int check_data(checking *c, const item *it, uint64_t version) {
  uint64_t link = record_link(&c->v, it->offset);
  item other;
  if (it->version != version
      && !(version == c->v.s->base_version && it->version < version && it->prev == 0))
    problem(c, it->offset, "a record's version is not its transaction's");
  if (it->prev != 0) {
    if (record_item(&c->v, it->prev, it->offset, &other) != MAPH_OK)
      return problem_said(c, it->offset);
    if (other.key_size != it->key_size || memcmp(other.key, it->key, it->key_size) != 0)
      return problem(c, it->offset, "a record's prev leads to another key");
    if (record_link(&c->v, it->prev) != it->offset) {
      return problem(
          c, it->prev,
          "a superseded record's link does not lead to the record that names it as prev");
    }
    if (other.kind == KIND_PUT) {
      c->records--;
      c->bytes -= other.size;
    }
  }
  if (link != 0 && (link % 8 || link >= space_end(c)))
    return problem(c, it->offset, "a record's link leads past all space ever used");
  if (link != 0 && link < c->v.snapshot) {
    if (record_item(&c->v, link, c->v.snapshot, &other) != MAPH_OK || other.prev != it->offset)
      return problem(c, it->offset, "a record's link leads to no later version of its key");
  }
  if (it->kind == KIND_PUT && (it->flags & FLAG_TYPE) > MAPH_NULL)
    return problem(c, it->offset, "a record's value type is none that is known");
  if (it->kind == KIND_PUT && it->prev == 0 && it->offset < c->runs->to) c->firsts++;
  if (it->kind == KIND_PUT) {
    c->records++;
    c->bytes += it->size;
  }
  if (it->kind == KIND_DELETE && it->prev == 0)
    return problem(c, it->offset, "a delete of a key that was never put");
  return MAPH_OK;
}

/* The transaction whose data records are [from, end record at `at`). */
static int check_transaction(checking *c, uint64_t from, uint64_t at, const end_record *e) {
  walk w = walk_from(&c->v, from, at);
  int rc = MAPH_OK, said = MAPH_OK;
  while (said == MAPH_OK && walk_next(&w, &rc))
    if (walk_is_data(&w)) said = check_data(c, &w.it, record_version(&e->head));
  if (rc != MAPH_OK) return problem_said(c, w.at);
  if (said == MAPH_OK && (e->records != c->records || e->bytes != c->bytes))
    said = problem(c, at, "the totals of the store are wrong here");
  return said;
}

/* Versions rise; but the base of a rewritten file may be several transactions of one version. */
static int may_follow(const checking *c, uint64_t before, uint64_t version) {
  return version > before || (version == before && version == c->v.s->base_version);
}

/* What the records of the log have to agree with as the walk goes on. */
typedef struct log_state {
  uint64_t from;                 /* the transaction under way begins here */
  uint64_t chain, version, back; /* of the end or epoch record before */
  uint64_t digest, operations;   /* of the transaction under way */
} log_state;

static int check_end(checking *c, log_state *s, const item *it) {
  uint64_t at = it->offset;
  end_record e;
  int rc = MAPH_OK;
  memcpy(&e, c->v.base + at, sizeof e);
  if (e.chain != record_chain(c->v.s->salt, s->chain, &e, it->kind == KIND_END ? s->digest : 0))
    rc = problem(c, at, "a transaction's chained checksum does not fit");
  if (rc == MAPH_OK && record_back(&e) != s->back)
    rc = problem(c, at, "a transaction does not name the one before it");
  if (rc == MAPH_OK && it->kind == KIND_END
      && (e.head.operations != s->operations || e.start != s->from
          || !may_follow(c, s->version, it->version)))
    rc = problem(c, at, "a transaction's count, version or start is wrong");
  if (rc == MAPH_OK && it->kind == KIND_EPOCH && at != LOG_START && it->version <= s->version)
    rc = problem(c, at, "an epoch's version is not above the one before");
  if (rc == MAPH_OK) rc = check_transaction(c, s->from, at, &e);
  *s = (log_state){ at + it->size, e.chain, it->version, at, 0, 0 };
  return rc;
}

static int check_log(checking *c) {
  walk w = walk_from(&c->v, LOG_START, c->v.snapshot);
  log_state s = { LOG_START, 0, 0, 0, 0, 0 };
  uint64_t n = 0;
  int rc = MAPH_OK, said = MAPH_OK;
  while (said == MAPH_OK && walk_next(&w, &rc)) {
    if (record_verify(&c->v, w.it.offset, w.it.size) != MAPH_OK)
      said = problem_said(c, w.it.offset);
    if (said == MAPH_OK && walk_is_data(&w)) {
      s.digest = record_digest(s.digest, w.it.offset, w.it.bytes_8_to_15);
      s.operations++;
    } else if (said == MAPH_OK && (w.it.kind == KIND_END || w.it.kind == KIND_EPOCH)) {
      said = check_end(c, &s, &w.it);
    } else if (said == MAPH_OK && s.operations == 0) {
      s.from = w.at;
    }
    if (said == MAPH_OK && (++n % TELL_EACH == 0 || w.it.size > LARGE))
      said = tell(c, "log", w.at, c->v.snapshot);
  }
  if (rc == MAPH_OK) return said;
  problem_said(c, w.at);
  return MAPH_CORRUPT;
}

/* Every key's newest version must be found by looking it up. */
static int check_lookup(checking *c, const item *it) {
  maph_slice key = maph_bytes(it->key, it->key_size);
  item found;
  int got = index_find(&c->v, key, index_hash(c->v.s, key), &found);
  if (got != MAPH_OK && got != MAPH_NOTFOUND) return problem_said(c, it->offset);
  if (got == MAPH_OK && found.offset == it->offset) return MAPH_OK;
  return problem(c, it->offset,
                 "the index does not lead to this record, which is its key's newest");
}

static int check_lookups(checking *c) {
  walk w = walk_from(&c->v, LOG_START, c->v.snapshot);
  uint64_t live = 0, n = 0;
  int rc = MAPH_OK;
  while (walk_next(&w, &rc)) {
    if (walk_is_data(&w) && record_newest(&c->v, w.it.offset)) {
      rc = check_lookup(c, &w.it);
      live += w.it.kind == KIND_PUT;
    }
    if (rc == MAPH_OK && ++n % TELL_EACH == 0) rc = tell(c, "lookup", w.at, c->v.snapshot);
  }
  if (rc == MAPH_OK && c->problems == 0 && live != c->records)
    rc = problem(c, c->v.snapshot - END_SIZE,
                 "links say of some records that they were superseded, but they were not");
  return rc;
}

static int check_slot(void *arg, uint64_t slot_at, unsigned bucket, uint64_t slot) {
  checking *c = arg;
  uint64_t offset = slot_offset(slot), hash;
  item it;
  if (++c->slots % TELL_EACH == 0
      && tell(c, "index", MIN(c->slots, c->records), c->records) != MAPH_OK)
    return MAPH_CANCELLED;
  if (offset >= c->v.snapshot && offset < space_end(c)) return MAPH_OK;
  if (offset >= c->v.snapshot)
    return problem(c, slot_at, "an index slot leads past all space ever used");
  if (record_item(&c->v, offset, c->v.snapshot, &it) != MAPH_OK)
    return problem(c, slot_at, "an index slot leads to no put or delete");
  hash = index_hash(c->v.s, maph_bytes(it.key, it.key_size));
  if (tag_of(hash) != slot_tag(slot))
    return problem(c, slot_at, "an index slot leads to a record of another hash");
  if ((home_of(hash) != bucket) != slot_displaced(slot))
    return problem(c, slot_at, "an index slot is wrong about being in its key's own bucket");
  return MAPH_OK;
}

/* Every slot leads to a record of its hash. */
static int check_slots(checking *c) {
  int rc = index_walk(&c->v, check_slot, c);
  if (rc == MAPH_OK || rc == MAPH_CANCELLED || c->stopped)
    return rc == MAPH_CANCELLED ? rc : MAPH_OK;
  problem_said(c, 0);
  return MAPH_OK;
}

/* The runs that the header names, as what they say of themselves holds together. */
static int take_runs(checking *c) {
  const header *h = header_of(c->v.base);
  uint64_t named = h->optional & OPTIONAL_ORDER ? atomic_load(&h->order) : 0;
  end_record e;
  int rc = runs_load(&c->v, named, &c->runs);
  if (rc == MAPH_OK) rc = record_end(&c->v, c->v.snapshot, &e);
  if (rc != MAPH_OK) return rc;
  if (named && c->runs->to == LOG_START)
    return problem(c, offsetof(header, order), "the word `order` leads to no list of runs");
  if (log_life(record_version(&e.head)) <= c->runs->life) return MAPH_OK;
  runs_let_go(c->runs); /* of a life that has ended: nobody believes it */
  return runs_load(&c->v, 0, &c->runs);
}

static int tell_order(void *arg, uint64_t done) {
  checking *c = arg;
  return tell(c, "order", MIN(done, c->firsts), c->firsts);
}

/* Each key that the log has below the end of the list, once. */
static int check_order(checking *c) {
  uint64_t entries;
  int rc = order_prove(&c->v, c->runs, tell_order, c, &entries);
  if (rc == MAPH_CORRUPT) return problem_said(c, offsetof(header, order));
  if (rc == MAPH_OK && entries != c->firsts)
    rc = problem(c, offsetof(header, order), "the order of keys lacks a key that the log has");
  return rc;
}

int maph_check_progress(maph *m, maph_report_fn report, void *arg, maph_progress_fn progress,
                        void *progress_arg) {
  interruptible call;
  checking c;
  store *s;
  int rc;
  memset(&c, 0, sizeof c);
  c.report = report;
  c.arg = arg;
  c.listener.tell = progress;
  c.listener.arg = progress_arg;
  rc = handle_store(m, &s);
  if (rc != MAPH_OK) return rc;
  store_pin(s);
  interrupt_begin(&call, &m->interrupts);
  rc = view_latest(s, &c.v);
  if (rc == MAPH_OK) rc = check_header(&c);
  if (rc == MAPH_OK && !c.stopped) rc = take_runs(&c);
  if (rc == MAPH_OK && !c.stopped && perfect_verify(s, c.v.base) != MAPH_OK)
    rc = problem_said(&c, s->perfect.payload);
  if (rc == MAPH_OK && !c.stopped) rc = check_log(&c);
  if (rc == MAPH_OK && !c.stopped) rc = check_lookups(&c);
  if (rc == MAPH_OK && !c.stopped) rc = check_slots(&c);
  if (rc == MAPH_OK && !c.stopped) rc = tell(&c, "index", c.records, c.records);
  if (rc == MAPH_OK && !c.stopped) rc = check_order(&c);
  if ((rc == MAPH_OK || rc == MAPH_CORRUPT) && (c.problems || rc != MAPH_OK)) {
    if (c.problems == 0) problem_said(&c, 0);
    rc = fail(MAPH_CORRUPT, "%s: %d problem%s found; restore a backup, or run `maph recover` on it",
              s->path, c.problems, c.problems == 1 ? " was" : "s were");
  }
  runs_let_go(c.runs);
  interrupt_end(&call);
  store_unpin(s);
  return rc;
}

int maph_check(maph *m, maph_report_fn report, void *arg) {
  return maph_check_progress(m, report, arg, NULL, NULL);
}
