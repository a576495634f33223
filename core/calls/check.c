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
#include "calls/registry.h"
#include "file/header.h"
#include "file/record.h"
#include "file/size.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/lookup.h"
#include "index/measure.h"
#include "index/perfect.h"
#include "index/slot.h"
#include "order/prove.h"
#include "order/run.h"
#include "order/types.h"
#include "os/progress.h"

#include <stdio.h>

typedef struct checking {
  view view;
  maph_report_fn report;
  void *arg;
  listener listener;
  int problems, stopped;
  uint64_t records, bytes; /* live so far */
  uint64_t slots;          /* visited so far */
  run_list *runs;          /* of the order of keys, taken before the log is walked */
  uint64_t firsts;         /* records of the log that the runs have to lead to, so far */
  int types;               /* of the keys put before the runs' end, so far */
} checking;

enum { TELL_EACH = 4096, LARGE = 65536 }; /* records or slots; bytes of one */

static int problem(checking *checking, uint64_t offset, const char *sentence) {
  checking->problems++;
  if (checking->report && checking->report(checking->arg, offset, sentence)) checking->stopped = 1;
  return checking->stopped ? MAPH_CORRUPT : MAPH_OK;
}

/* A core call failed: what it said is the problem. */
static int problem_said(checking *checking, uint64_t offset) {
  char copy[1024];
  snprintf(copy, sizeof copy, "%s", maph_errmsg(NULL));
  return problem(checking, offset, copy);
}

static int tell(checking *checking, const char *phase, uint64_t done, uint64_t total) {
  return progress_tell(&checking->listener, checking->view.store->path, phase, done, total);
}

/* Loaded after what is compared with it: writers raise it first. */
static uint64_t space_end(const checking *checking) {
  return atomic_load_explicit(&header_of(checking->view.base)->end, memory_order_acquire);
}

/* Is there a word of the header's live part that format.h describes? */
static int described(const header *header, uint64_t at) {
  if (at == offsetof(struct header, order)) return (header->optional & OPTIONAL_ORDER) != 0;
  if (at == offsetof(struct header, life)) return (header->required & REQUIRED_GIVEN) != 0;
  return (at >= 256 && at < 280) || (at >= 320 && at < 360) || (at >= 384 && at < 472)
         || (at >= 512 && at < 576) || (at >= 1024 && at < 1088);
}

static int checkpoint_sound(const checking *checking, const checkpoint *slot) {
  static const checkpoint none;
  checkpoint copy;
  memcpy(&copy, slot, sizeof copy);
  return memcmp(&copy, &none, sizeof none) == 0
         || header_checkpoint_fits(checking->view.store, &copy);
}

/* Are there pads and index pieces behind the log as far as a checkpoint says? */
static int spaces_hold(const checking *checking, const header *header) {
  store *store = checking->view.store;
  uint64_t end = checking->view.snapshot, spaces = header_tail_at(store, header, end).spaces;
  view view;
  if (spaces == end) return 1;
  return store_see_size(store, spaces) == MAPH_OK && view_at(store, end, &view) == MAPH_OK
         && walk_past_spaces(&view, end, spaces) == spaces;
}

/* The live words, as far as they can be judged while writers work: each is loaded before the one
** that bounds it. */
static int check_header(checking *checking) {
  const header *header = header_of(checking->view.base);
  uint64_t clean = atomic_load(&header->clean), state = atomic_load(&header->state),
           mark = state & ~(uint64_t)STATE_FLAGS, flushed = atomic_load(&header->flushed);
  uint64_t committed = atomic_load(&header->committed), prepared = atomic_load(&header->prepared),
           end = atomic_load(&header->end), at;
  int rc = MAPH_OK;
  if (clean < CLEAN_YES || clean > CLEAN_DIRTY)
    rc = problem(checking, offsetof(struct header, clean),
                 "the header's clean word is none that is known");
  if (rc == MAPH_OK && mark && clean == CLEAN_YES && atomic_load(&header->state) == state
      && atomic_load(&header->clean) == CLEAN_YES) {
    rc = problem(checking, offsetof(struct header, state),
                 "a split is said to be under way in a store that was closed cleanly");
  }
  if (rc == MAPH_OK && ((state & STATE_FLAGS) >> 4 || mark >= end || (mark && mark < LOG_START)))
    rc = problem(checking, offsetof(struct header, state),
                 "the header's state word is none that can be");
  if (rc == MAPH_OK
      && (checking->view.snapshot > prepared || prepared > end || prepared % 8 || end % 8))
    rc = problem(checking, offsetof(struct header, prepared),
                 "the live words contradict each other");
  if (rc == MAPH_OK && flushed > committed)
    rc = problem(checking, offsetof(struct header, flushed), "more is flushed than is committed");
  if (rc == MAPH_OK && end > checking->view.size
      && store_see_size(checking->view.store, end) != MAPH_OK)
    rc = problem_said(checking, offsetof(struct header, end));
  if (rc == MAPH_OK && clean == CLEAN_YES
      && !(checkpoint_sound(checking, &header->checkpoint_a)
           && checkpoint_sound(checking, &header->checkpoint_b))
      && atomic_load(&header->clean) == CLEAN_YES) {
    rc = problem(checking, offsetof(struct header, checkpoint_a),
                 "a checkpoint's checksum does not fit its bytes");
  }
  if (rc == MAPH_OK && !spaces_hold(checking, header))
    rc = problem(checking, offsetof(struct header, checkpoint_a),
                 "a checkpoint says that index pieces lie behind the log where others do");
  for (at = 256;
       rc == MAPH_OK && at < HEADER_SIZE && (header->optional & ~(uint64_t)OPTIONAL_ORDER) == 0;
       at += 8) {
    if (!described(header, at) && load64(checking->view.base + at) != 0)
      rc = problem(checking, at, "reserved bytes of the header are not zero");
  }
  return rc;
}

/* May a transaction of that version, after one of `before`, have this record? */
static int version_fits(const store *store, const item *it, uint64_t before, uint64_t version) {
  if (it->version == version) return 1;
  if (version == store->base_version && it->version < version && it->prev == 0) return 1;
  return store->given && it->version > before && it->version < version;
}

/* Does what is beside a superseded record say so? */
static int leads_to(const view *view, uint64_t prev, uint64_t successor) {
  return is_short(view->store, prev) ? !record_newest(view, prev)
                                     : record_link(view, prev) == successor;
}

static int check_data(checking *checking, const item *it, uint64_t before, uint64_t version) {
  uint64_t link =
      is_short(checking->view.store, it->offset) ? 0 : record_link(&checking->view, it->offset);
  item other;
  if (!version_fits(checking->view.store, it, before, version))
    problem(checking, it->offset, "a record's version is not its transaction's");
  if (it->prev != 0) {
    if (record_item(&checking->view, it->prev, it->offset, &other) != MAPH_OK)
      return problem_said(checking, it->offset);
    if (other.key_size != it->key_size || memcmp(other.key, it->key, it->key_size) != 0)
      return problem(checking, it->offset, "a record's prev leads to another key");
    if (!leads_to(&checking->view, it->prev, it->offset)) {
      return problem(
          checking, it->prev,
          "a superseded record's link does not lead to the record that names it as prev");
    }
    if (other.kind == KIND_PUT) {
      checking->records--;
      checking->bytes -= other.size;
    }
  }
  if (link != 0 && (link % 8 || link >= space_end(checking)))
    return problem(checking, it->offset, "a record's link leads past all space ever used");
  if (link != 0 && link < checking->view.snapshot) {
    if (record_item(&checking->view, link, checking->view.snapshot, &other) != MAPH_OK
        || other.prev != it->offset)
      return problem(checking, it->offset, "a record's link leads to no later version of its key");
  }
  if (it->kind == KIND_PUT && (it->flags & FLAG_TYPE) > MAPH_NULL)
    return problem(checking, it->offset, "a record's value type is none that is known");
  if (it->kind == KIND_PUT && it->offset < checking->runs->to) {
    checking->firsts += it->prev == 0;
    checking->types |= types_of_put(it);
  }
  if (it->kind == KIND_PUT) {
    checking->records++;
    checking->bytes += it->size;
  }
  if (it->kind == KIND_DELETE && it->prev == 0)
    return problem(checking, it->offset, "a delete of a key that was never put");
  return MAPH_OK;
}

/* The transaction whose data records are [from, end record at `at`). */
static int check_transaction(checking *checking, uint64_t from, uint64_t at, uint64_t before,
                             const end_record *end) {
  walk walk = walk_from(&checking->view, from, at);
  int rc = MAPH_OK, said = MAPH_OK;
  while (said == MAPH_OK && walk_next(&walk, &rc))
    if (walk_is_data(&walk))
      said = check_data(checking, &walk.it, before, record_version(&end->head));
  if (rc != MAPH_OK) return problem_said(checking, walk.at);
  if (said == MAPH_OK && (end->records != checking->records || end->bytes != checking->bytes))
    said = problem(checking, at, "the totals of the store are wrong here");
  return said;
}

/* Versions rise; but the base of a rewritten file may be several transactions of one version. */
static int may_follow(const checking *checking, uint64_t before, uint64_t version) {
  return version > before || (version == before && version == checking->view.store->base_version);
}

/* An epoch passes versions over, but not where they are given. */
static int may_open_life(const checking *checking, uint64_t before, uint64_t version) {
  return checking->view.store->given ? version == before : version > before;
}

/* What the records of the log have to agree with as the walk goes on. */
typedef struct log_state {
  uint64_t from;                 /* the transaction under way begins here */
  uint64_t chain, version, back; /* of the end or epoch record before */
  uint64_t digest, operations;   /* of the transaction under way */
  uint64_t epochs;               /* so far */
} log_state;

static int check_end(checking *checking, log_state *state, const item *it) {
  uint64_t at = it->offset;
  end_record end;
  int rc = MAPH_OK;
  memcpy(&end, checking->view.base + at, sizeof end);
  if (end.chain
      != record_chain(checking->view.store->salt, state->chain, &end,
                      it->kind == KIND_END ? state->digest : 0))
    rc = problem(checking, at, "a transaction's chained checksum does not fit");
  if (rc == MAPH_OK && record_back(&end) != state->back)
    rc = problem(checking, at, "a transaction does not name the one before it");
  if (rc == MAPH_OK && it->kind == KIND_END
      && (end.head.operations != state->operations || end.start != state->from
          || !may_follow(checking, state->version, it->version)))
    rc = problem(checking, at, "a transaction's count, version or start is wrong");
  if (rc == MAPH_OK && it->kind == KIND_EPOCH && at != LOG_START
      && !may_open_life(checking, state->version, it->version))
    rc = problem(checking, at, "an epoch's version is not above the one before");
  if (rc == MAPH_OK) rc = check_transaction(checking, state->from, at, state->version, &end);
  *state = (log_state){ .from = at + it->size,
                        .chain = end.chain,
                        .version = it->version,
                        .back = at,
                        .epochs = state->epochs + (it->kind == KIND_EPOCH) };
  return rc;
}

/* The word that says which lists of runs are of this life is raised before an epoch is seen. */
static int check_life(checking *checking, uint64_t epochs) {
  const header *header = header_of(checking->view.base);
  uint64_t life = atomic_load(&header->life);
  if (!checking->view.store->given || life + 1 == epochs
      || (life + 1 > epochs && atomic_load(&header->clean) != CLEAN_YES))
    return MAPH_OK;
  return problem(checking, offsetof(struct header, life),
                 "the word `life` is not how many epochs the log has after its first record");
}

static int check_log(checking *checking) {
  walk walk = walk_from(&checking->view, LOG_START, checking->view.snapshot);
  log_state state = { .from = LOG_START };
  uint64_t n = 0;
  int rc = MAPH_OK, said = MAPH_OK;
  while (said == MAPH_OK && walk_next(&walk, &rc)) {
    if (record_verify(&checking->view, walk.it.offset, walk.it.size) != MAPH_OK)
      said = problem_said(checking, walk.it.offset);
    if (said == MAPH_OK && walk_is_data(&walk)) {
      state.digest = record_digest(state.digest, walk.it.offset, walk.it.bytes_8_to_15);
      state.operations++;
    } else if (said == MAPH_OK && (walk.it.kind == KIND_END || walk.it.kind == KIND_EPOCH)) {
      said = check_end(checking, &state, &walk.it);
    } else if (said == MAPH_OK && state.operations == 0) {
      state.from = walk.at;
    }
    if (said == MAPH_OK && (++n % TELL_EACH == 0 || walk.it.size > LARGE))
      said = tell(checking, "log", walk.at, checking->view.snapshot);
  }
  if (rc == MAPH_OK) return said == MAPH_OK ? check_life(checking, state.epochs) : said;
  problem_said(checking, walk.at);
  return MAPH_CORRUPT;
}

static int all_zero(const uint8_t *p, const uint8_t *end) {
  while (p < end && *p == 0) p++;
  return p == end;
}

/* What no checksum is over: zeros behind frozen records, and moved bits that are no record's. */
static int check_zeros(checking *checking) {
  const perfect *perfect = &checking->view.store->perfect;
  walk walk = walk_from(&checking->view, perfect->first, perfect->past);
  unsigned in_use = perfect->keys % MOVED_BITS;
  int rc = MAPH_OK, said = MAPH_OK;
  if (perfect->places == 0) return MAPH_OK;
  while (said == MAPH_OK && walk_next(&walk, &rc)) {
    uint64_t to = walk.at < perfect->past ? walk.address : perfect->past;
    if (!all_zero(walk.it.value + walk.it.value_size + walk.it.attributes_size,
                  checking->view.base + to))
      said = problem(checking, walk.it.offset, "there are no zeros behind a frozen record");
  }
  if (rc != MAPH_OK) return problem_said(checking, walk.at);
  if (said == MAPH_OK && in_use
      && atomic_load(moved_word(perfect, checking->view.base, perfect->keys - 1)) >> in_use)
    said = problem(checking, perfect->moved, "there are moved bits of no record");
  return said;
}

/* A moved bit that is set before the slots are, or was when a writer died, does no harm. */
static int check_moved(checking *checking, const item *it) {
  const header *header = header_of(checking->view.base);
  if (atomic_load(&header->clean) != CLEAN_YES
      || atomic_load(&header->committed) != checking->view.snapshot
      || atomic_load(&header->clean) != CLEAN_YES)
    return MAPH_OK;
  return problem(checking, it->offset,
                 "a frozen record is said to have been superseded, but it was not");
}

/* Every key's newest version must be found by looking it up. */
static int check_lookup(checking *checking, const item *it) {
  maph_slice key = maph_bytes(it->key, it->key_size);
  item found;
  int got = index_find(&checking->view, key, index_hash(checking->view.store, key), &found);
  if (got != MAPH_OK && got != MAPH_NOTFOUND) return problem_said(checking, it->offset);
  if (got == MAPH_OK && found.offset == it->offset)
    return record_newest(&checking->view, it->offset) ? MAPH_OK : check_moved(checking, it);
  return problem(checking, it->offset,
                 "the index does not lead to this record, which is its key's newest");
}

static int check_lookups(checking *checking) {
  walk walk = walk_from(&checking->view, LOG_START, checking->view.snapshot);
  uint64_t live = 0, n = 0;
  int rc = MAPH_OK;
  while (walk_next(&walk, &rc)) {
    if (walk_is_data(&walk) && item_newest(&checking->view, &walk.it, &rc)) {
      rc = check_lookup(checking, &walk.it);
      live += walk.it.kind == KIND_PUT;
    } else if (rc != MAPH_OK) {
      rc = problem_said(checking, walk.it.offset);
    }
    if (rc == MAPH_OK && ++n % TELL_EACH == 0)
      rc = tell(checking, "lookup", walk.at, checking->view.snapshot);
  }
  if (rc == MAPH_OK && checking->problems == 0 && live != checking->records)
    rc = problem(checking, checking->view.snapshot - END_SIZE,
                 "links say of some records that they were superseded, but they were not");
  return rc;
}

static int check_slot(void *arg, uint64_t slot_at, unsigned bucket, uint64_t slot) {
  checking *checking = arg;
  uint64_t offset = slot_offset(slot), hash;
  item it;
  if (++checking->slots % TELL_EACH == 0
      && tell(checking, "index", MIN(checking->slots, checking->records), checking->records)
             != MAPH_OK)
    return MAPH_CANCELLED;
  if (offset >= checking->view.snapshot && offset < space_end(checking)) return MAPH_OK;
  if (offset >= checking->view.snapshot)
    return problem(checking, slot_at, "an index slot leads past all space ever used");
  if (record_item(&checking->view, offset, checking->view.snapshot, &it) != MAPH_OK)
    return problem(checking, slot_at, "an index slot leads to no put or delete");
  hash = index_hash(checking->view.store, maph_bytes(it.key, it.key_size));
  if (tag_of(hash) != slot_tag(slot))
    return problem(checking, slot_at, "an index slot leads to a record of another hash");
  if ((home_of(hash) != bucket) != slot_displaced(slot))
    return problem(checking, slot_at, "an index slot is wrong about being in its key's own bucket");
  return MAPH_OK;
}

/* Every slot leads to a record of its hash. */
static int check_slots(checking *checking) {
  int rc = index_walk(&checking->view, check_slot, checking);
  if (rc == MAPH_OK || rc == MAPH_CANCELLED || checking->stopped)
    return rc == MAPH_CANCELLED ? rc : MAPH_OK;
  problem_said(checking, 0);
  return MAPH_OK;
}

/* The runs that the header names, as what they say of themselves holds together. */
static int take_runs(checking *checking) {
  const header *header = header_of(checking->view.base);
  uint64_t named = header->optional & OPTIONAL_ORDER ? atomic_load(&header->order) : 0;
  end_record end;
  int rc = runs_load(&checking->view, named, &checking->runs);
  if (rc == MAPH_OK) rc = record_end(&checking->view, checking->view.snapshot, &end);
  if (rc != MAPH_OK) return rc;
  if (named && checking->runs->to == LOG_START)
    return problem(checking, offsetof(struct header, order),
                   "the word `order` leads to no list of runs");
  if (header_life(checking->view.store, record_version(&end.head)) <= checking->runs->life)
    return MAPH_OK;
  runs_let_go(checking->runs); /* of a life that has ended: nobody believes it */
  return runs_load(&checking->view, 0, &checking->runs);
}

static int tell_order(void *arg, uint64_t done) {
  checking *checking = arg;
  return tell(checking, "order", MIN(done, checking->firsts), checking->firsts);
}

/* Each key that the log has below the end of the list, once. */
static int check_order(checking *checking) {
  uint64_t entries;
  int rc = order_prove(&checking->view, checking->runs, tell_order, checking, &entries);
  if (rc == MAPH_CORRUPT) return problem_said(checking, offsetof(header, order));
  if (rc == MAPH_OK && entries != checking->firsts)
    rc = problem(checking, offsetof(header, order),
                 "the order of keys lacks a key that the log has");
  if (rc == MAPH_OK && checking->runs->types && checking->types & ~checking->runs->types)
    rc = problem(checking, offsetof(header, order),
                 "the order of keys says of a type of keys that the log has that there is none");
  return rc;
}

int maph_check_progress(maph *m, maph_report_fn report, void *arg, maph_progress_fn progress,
                        void *progress_arg) {
  interruptible call;
  checking checking;
  store *store;
  int rc;
  memset(&checking, 0, sizeof checking);
  checking.report = report;
  checking.arg = arg;
  checking.listener.tell = progress;
  checking.listener.arg = progress_arg;
  rc = handle_store(m, &store);
  if (rc != MAPH_OK) return rc;
  store_pin(store);
  interrupt_begin(&call, &m->interrupts);
  rc = view_latest(store, &checking.view);
  if (rc == MAPH_OK) rc = check_header(&checking);
  if (rc == MAPH_OK && !checking.stopped) rc = take_runs(&checking);
  if (rc == MAPH_OK && !checking.stopped && perfect_verify(store, checking.view.base) != MAPH_OK)
    rc = problem_said(&checking, store->perfect.payload);
  if (rc == MAPH_OK && !checking.stopped) rc = check_log(&checking);
  if (rc == MAPH_OK && !checking.stopped) rc = check_zeros(&checking);
  if (rc == MAPH_OK && !checking.stopped) rc = check_lookups(&checking);
  if (rc == MAPH_OK && !checking.stopped) rc = check_slots(&checking);
  if (rc == MAPH_OK && !checking.stopped)
    rc = tell(&checking, "index", checking.records, checking.records);
  if (rc == MAPH_OK && !checking.stopped) rc = check_order(&checking);
  if ((rc == MAPH_OK || rc == MAPH_CORRUPT) && (checking.problems || rc != MAPH_OK)) {
    if (checking.problems == 0) problem_said(&checking, 0);
    rc = fail(MAPH_CORRUPT, "%s: %d problem%s found; restore a backup, or run `maph recover` on it",
              store->path, checking.problems, checking.problems == 1 ? " was" : "s were");
  }
  runs_let_go(checking.runs);
  interrupt_end(&call);
  store_unpin(store);
  return handle_failed(m, rc);
}

int maph_check(maph *m, maph_report_fn report, void *arg) {
  return maph_check_progress(m, report, arg, NULL, NULL);
}
