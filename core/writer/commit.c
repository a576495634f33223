/*
** commit.c - from a transaction's records to one that everybody sees, or to nothing.
**
** A commit passes these states; the words are the header's:
**
**   reserved   every split and allocation that publishing will need is done, from the end of the
**              records on, into granted space
**   decided    end, then prepared are stored, then the end record.  From here on it is committed,
**              whatever dies
**   flushed    (full only) the log from min(flushed, its start) to its end is on disk
**   published  slots and links lead to its records; readers step back over them
**   visible    committed is stored (release); then flushed
**
** Invariants:
**  (1) Nothing below `end` is rewritten but mutable words and the heads of records that no
**      transaction owns.  A pad may cover index pieces.
**  (2) `flushed` is stored after `committed` and never above it; and the flush before a decision at
**      full covers everything from it on, also what others committed at off: a hole would cut
**      recovery's scan short.
**  (3) An end record that must not count is erased, and the erasure flushed, before the abort
**      returns.
**  (4) Publication is in order of decision.
**
** GROUP COMMIT.  At full, whoever has decided gives the turn to the next one and waits for a flush.
** One thread flushes for all that are decided by then, and publishes them (group.c).  Transactions
** decided but not visible stand in a list; a later transaction that touches a key of theirs waits
** until they are visible, and reserves room for their new keys as well as its own.  A failed flush
** poisons the store: all that wait fail.
*/
#include "file/grant.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/reserve.h"
#include "file/size.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/publish.h"
#include "index/split.h"
#include "order/write.h"
#include "writer/commit.h"
#include "writer/decided.h"
#include "writer/group.h"
#include "writer/txn.h"

enum { WRITEBACK_MS = 1000, WRITEBACK_BYTES = 8 * 1024 * 1024, GROUP_KEYS_MOST = 64 };

static header *live(const store *store) { return header_of(store->write_base); }
static uint64_t get(const word *word) { return atomic_load_explicit(word, memory_order_acquire); }
static void set(store *store, word *word, uint64_t value) {
  store_word(store->write_base, word, value);
}

/* --------------------------------------------------------------------- reserve, decide, publish */

/* Everything that deciding and publishing txn will store to. */
static int grant_for(txn *txn) {
  store *store = txn->store;
  int rc;
  if (likely(!grant_needed(store))) return MAPH_OK;
  rc = index_grant(store, txn->changed.key, txn->changed.count);
  if (rc != MAPH_OK || store->file.file_system == OS_COPY_ON_WRITE) return rc;
  return grant_pages(store, store->space_end, store->space_end + END_SIZE);
}

int commit_reserve(txn *txn) {
  store *store = txn->store;
  pending *scratch = NULL;
  int rc = MAPH_OK, large = txn->changed.count > GROUP_KEYS_MOST, locked;
  assert(store_has_turn(store) && store_has_lock(store));
  if (txn_is_empty(txn)) {
    txn->state = TXN_PREPARED;
    return MAPH_OK;
  }
  if (get(&live(store)->state) & STATE_POISONED) rc = header_say_poisoned(store);
  if (rc == MAPH_OK) rc = late_finish(&txn->late, store, txn->position);
  large |= decided_has_more_than(store, GROUP_KEYS_MOST);
  if (rc == MAPH_OK && large) rc = decided_wait(store);
  if (rc == MAPH_OK && txn->changed.count > 1
      && (scratch = os_alloc(txn->changed.count * sizeof *scratch)) == NULL)
    rc = MAPH_NOMEM;
  if (rc == MAPH_OK) {
    os_free(txn->table); /* it names places that sorting changes */
    txn->table = NULL;
    txn->table_room = 0;
    locked = decided_lock_index(store);
    store->space_end = txn->position;
    rc = index_reserve(store, txn->changed.key, txn->changed.count, scratch, store->decided_first);
    decided_unlock_index(store, locked);
  }
  if (rc == MAPH_OK) rc = reserve_room(store, store->space_end + END_SIZE);
  if (rc == MAPH_OK) rc = grant_for(txn);
  os_free(scratch);
  if (rc == MAPH_OK)
    txn->state = TXN_PREPARED;
  else
    txn->failed = 1;
  return rc;
}

/* A transaction was decided and could not be published, because the disk became full in between. */
static int group_full(const store *store) {
  return fail(MAPH_FULL,
              "%s: the disk became full while a commit was under way: make room and try again",
              store->path);
}

static int decide(txn *txn) {
  store *store = txn->store;
  uint64_t at = store->space_end;
  end_record end;
  int rc;
  assert(store_has_turn(store) && store_has_lock(store));
  assert(txn->before.end == store->last.end); /* (4) */
  if (store->group_failed) return group_full(store);
  record_fill_end(&end, KIND_END, txn->version, store->last.end - END_SIZE);
  end.head.operations = (uint32_t)txn->operations;
  end.start = txn->start;
  end.records = txn->records;
  end.bytes = txn->bytes;
  end.chain = record_chain(store->salt, store->last.chain, &end, txn->digest);
  txn->after = record_tip(&end, at + END_SIZE);
  set(store, &live(store)->end, txn->after.end);
  set(store, &live(store)->prepared, txn->after.end);
  rc = log_write_end(store, at, &end);
  if (rc != MAPH_OK) return rc;
  store->space_end = txn->after.end;
  store->last = txn->after;
  txn->decided = 1;
  return MAPH_OK;
}

/* Whoever waits for the next commit said so in `watched`.  Not seeing it just then is no harm: they
** look again by themselves before long: so relaxed will do. */
static void wake_watchers(store *store) {
  header *header = live(store);
  if (likely(atomic_load_explicit(&header->watched, memory_order_relaxed) == 0)) return;
  set(store, &header->watched, 0);
  os_wake(&header->committed);
}

/* Stores into a mapping change the file's time of modification late, on tmpfs never, and backup
** programs go by that.  A write of a byte as it is there does, to the tick of the system's clock.
*/
static void tell_time(store *store) {
  uint64_t now;
  if (store->in_memory) return;
  now = store->published_ms = os_clock_coarse_ms();
  if (now == store->told_ms) return;
  store->told_ms = now;
  os_touch(&store->file, 0, FORMAT_MAGIC[0]);
}

/* Slots, links, committed.  With the index (decided_lock_index).  A slot that is not there means
** that someone else wrote the index: stop writing. */
static int publish(txn *txn) {
  store *store = txn->store;
  int rc;
  assert(store_has_index(store) && store_has_lock(store));
  assert(get(&live(store)->committed) == txn->before.end); /* (4) */
  rc = grant_for(txn);
  if (rc != MAPH_OK) return rc; /* nothing was stored */
  rc = index_publish(store, txn->changed.key, txn->changed.count, 0);
  if (rc == MAPH_OK) {
    set(store, &live(store)->committed, txn->after.end);
    if (!grant_reached(store, &live(store)->committed, offsetof(header, committed))
        || grant_lost(store))
      rc = header_say_poisoned(store);
    order_note(store, &txn->changed, txn->before.end, txn->after.end);
  }
  if (rc != MAPH_OK) {
    header_poison(store);
    return grant_lost(store) ? grant_say_lost(store) : rc;
  }
  wake_watchers(store);
  tell_time(store);
  return MAPH_OK;
}

/* Whichever process is ahead raises it. */
void commit_raise_flushed(store *store, uint64_t to) {
  word *word = &live(store)->flushed;
  uint64_t old = atomic_load(word);
  assert(to <= get(&live(store)->committed)); /* (2) */
  OS_TEST_STORE(store->write_base, offsetof(header, flushed), 8);
  while (old < to && !atomic_compare_exchange_weak(word, &old, to)) {}
}

static void note_flushed(store *store, const tip *tip) {
  commit_raise_flushed(store, tip->end);
  header_checkpoint_if_due(store, tip);
}

static void start_writeback(store *store) {
  uint64_t end = store->last.end, now;
  if (store->in_memory) return;
  if (end - store->writeback_end < WRITEBACK_BYTES) {
    now = store->published_ms;
    if (now - store->writeback_ms < WRITEBACK_MS) return;
    store->writeback_ms = now;
  }
  os_start_writeback(&store->file, store->writeback_end, end);
  store->writeback_end = end;
}

/* ------------------------------------------------------------------------------------- flushing */

/* A failure closes the store to writing. */
static int flush(store *store, uint64_t from, uint64_t to) {
  int rc = store->flush_failed ? header_say_poisoned(store)
                               : os_flush(store->write_base, store->path, from, to);
  if (rc != MAPH_OK) {
    store->flush_failed = 1;
    header_poison(store);
  }
  return rc;
}

/* With the turn, and nothing decided that waits for the disk: so nobody else flushes. */
static int flush_alone(store *store, uint64_t to) {
  int rc;
  assert(store_has_turn(store) && store->decided_first == NULL);
  if (store->in_memory) return MAPH_OK;
  rc = flush(store, store->flushed, to);
  if (rc == MAPH_OK) store->flushed = to;
  return rc;
}

/* -------------------------------------------------------------------------------------- the end */

/* After a failure, whose sentence stays. */
static void give_back(txn *txn) {
  sentence why;
  error_keep(&why);
  if (commit_give_back(txn) != MAPH_OK) error_put_back(&why);
}

int commit_publish_now(txn *txn) {
  store *store = txn->store;
  int rc = decided_wait(store); /* so the index is ours */
  if (rc == MAPH_OK) rc = decide(txn);
  if (rc != MAPH_OK) {
    give_back(txn);
    return rc;
  }
  rc = publish(txn);
  if (rc != MAPH_OK && !store->flush_failed) give_back(txn);
  if (rc == MAPH_OK && txn->durability == MAPH_SYNC_NORMAL) start_writeback(store);
  return rc;
}

int commit_decide_early(txn *txn) {
  store *store = txn->store;
  int rc;
  if (txn_is_empty(txn)) return MAPH_OK;
  rc = decided_wait(store);
  if (rc == MAPH_OK) rc = decide(txn);
  if (rc == MAPH_OK) rc = flush_alone(store, txn->after.end);
  if (rc != MAPH_OK) txn->failed = 1;
  return rc;
}

int commit_joins_group(const txn *txn) {
  return !txn_is_empty(txn) && txn->durability == MAPH_SYNC_FULL && !txn->decided
         && !txn->store->in_memory;
}

int commit_decide_in_group(txn *txn) {
  int rc = decide(txn);
  if (rc == MAPH_OK) decided_add(txn->store, &txn->changed, txn->after.end);
  return rc;
}

/* The next of the group becomes visible; 0: there is none that is on disk and not visible, or it
** could not. */
static int publish_next(store *store, const group *group, int *rc) {
  txn *first;
  pthread_mutex_lock(&store->index_mutex);
  first = (txn *)store->decided_first;
  if (first != NULL && first->after.end > group->to) first = NULL;
  if (first != NULL && (get(&live(store)->state) & STATE_POISONED))
    *rc = header_say_poisoned(store);
  if (first != NULL && *rc == MAPH_OK && store->group_failed) *rc = group_full(store);
  if (first != NULL && *rc == MAPH_OK && (*rc = publish(first)) != MAPH_OK)
    store->group_failed = 1; /* all that follow in the list build on it */
  if (first != NULL && *rc == MAPH_OK) {
    note_flushed(store, &first->after);
    decided_remove(store, &first->changed); /* last: where none is left, the turn is enough */
    group_settle(first, SETTLED_VISIBLE);
  }
  if (*rc != MAPH_OK) group_settle_rest(store, group);
  pthread_mutex_unlock(&store->index_mutex);
  return first != NULL && *rc == MAPH_OK;
}

/* Flush for all that are decided, publish them in order, and wake them. */
static int lead(store *store, const group *group) {
  int rc = flush(store, group->from, group->to);
  group_flushed(store, group, rc);
  while (publish_next(store, group, &rc)) {}
  group_wake(store, group);
  return rc;
}

/* Nobody builds on it, and whoever recovers the store must not find it.  Why it failed was said. */
static void forget_decided(txn *txn) {
  store *store = txn->store;
  sentence why;
  error_keep(&why);
  pthread_mutex_lock(&store->index_mutex);
  if (store->flush_failed)
    log_erase_end(store, txn->after.end - END_SIZE);
  else if (commit_erase(store, txn->after.end - END_SIZE) != MAPH_OK)
    header_poison(store);
  decided_remove(store, &txn->changed);
  pthread_mutex_unlock(&store->index_mutex);
  error_put_back(&why);
}

/* Whoever leads may publish its own transaction and fail with a later one: that is for the others
** to tell. */
int commit_publish_in_group(txn *txn) {
  store *store = txn->store;
  sentence before;
  group group;
  int rc;
  error_keep(&before);
  rc = group_wait(txn, &group) ? lead(store, &group) : MAPH_OK;
  if (txn->settled == SETTLED_VISIBLE) return error_done(MAPH_OK, &before, store->path);
  if (rc == MAPH_OK) rc = store->flush_failed ? header_say_poisoned(store) : group_full(store);
  forget_decided(txn);
  return rc;
}

int commit_publish(txn *txn) {
  store *store = txn->store;
  int rc;
  if (txn_is_empty(txn)) return MAPH_OK;
  if (!txn->decided) return commit_publish_now(txn);
  pthread_mutex_lock(&store->index_mutex);
  rc = publish(txn);
  if (rc == MAPH_OK) note_flushed(store, &txn->after);
  pthread_mutex_unlock(&store->index_mutex);
  if (rc != MAPH_OK && !store->flush_failed) give_back(txn);
  return rc;
}

int commit_erase(store *store, uint64_t end_record_at) {
  int rc = grant_pages(store, end_record_at, end_record_at + END_SIZE);
  if (rc == MAPH_OK) rc = log_erase_end(store, end_record_at);
  if (rc == MAPH_OK && !store->in_memory) {
    rc = os_flush(store->write_base, store->path, end_record_at, end_record_at + END_SIZE);
    if (rc != MAPH_OK) {
      store->flush_failed = 1;
      header_poison(store);
    }
  }
  return rc;
}

/* If txn is decided: not any more. */
static int undecide(txn *txn) {
  store *store = txn->store;
  uint64_t prepared = get(&live(store)->prepared);
  int rc;
  if (prepared == txn->before.end) return MAPH_OK;
  rc = commit_erase(store, prepared - END_SIZE);
  if (rc == MAPH_OK) set(store, &live(store)->prepared, txn->before.end);
  store->last = txn->before;
  store->decided = txn->before.end;
  return rc;
}

int commit_give_back(txn *txn) {
  store *store = txn->store;
  uint64_t end = get(&live(store)->end);
  int rc = undecide(txn);
  if (rc == MAPH_OK && end > txn->start) rc = log_cover(store, txn->start, end);
  store->space_end = end;
  if (rc != MAPH_OK) store->unsettled = 1;
  assert(rc != MAPH_OK || get(&live(store)->prepared) == txn->before.end); /* (3) */
  return rc;
}

/* The index pieces that commit_reserve made are in use and stay, and so does all before them. */
int commit_reopen(txn *txn) {
  store *store = txn->store;
  uint64_t records_end = txn->position, erased = txn->decided ? END_SIZE : 0;
  int rc = txn_is_empty(txn) ? MAPH_OK : undecide(txn);
  if (rc == MAPH_OK && erased) rc = log_cover(store, store->space_end - erased, store->space_end);
  if (rc != MAPH_OK) {
    txn->failed = 1;
    store->unsettled = 1;
    return rc;
  }
  if (!txn_is_empty(txn) && store->space_end > records_end)
    txn->floor = txn->position = store->space_end;
  else
    store->space_end = MAX(txn->start, txn->floor);
  if (txn->operations == 0) txn->start = txn->position; /* pads belong to nobody */
  txn->decided = 0;
  txn->state = TXN_OPEN;
  return MAPH_OK;
}

/* -------------------------------------------------------------------------- after a dead writer */

int commit_replay(txn *txn, uint64_t from, uint64_t limit, uint64_t chain, tip *after) {
  store *store = txn->store;
  uint64_t digest = 0, operations = 0;
  view view;
  walk walk;
  int rc = MAPH_OK;
  view_for_writing(store, limit, &view);
  txn->start = txn->position = from;
  walk = walk_from(&view, from, limit);
  while (walk_next(&walk, &rc)) {
    if (walk.it.kind == KIND_EPOCH || record_verify(&view, walk.it.offset, walk.it.size) != MAPH_OK)
      return 0;
    if (walk.it.kind == KIND_END) {
      end_record end;
      memcpy(&end, view.base + walk.it.offset, sizeof end);
      if (end.head.operations != operations
          || end.chain != record_chain(store->salt, chain, &end, digest))
        return 0;
      *after = record_tip(&end, walk.at);
      txn->operations = operations;
      txn->position = walk.it.offset;
      return 1;
    }
    if (!walk_is_data(&walk)) continue;
    digest = record_digest(digest, walk.it.offset, walk.it.bytes_8_to_15);
    operations++;
    if (txn->state == TXN_OPEN && txn_adopt(txn, &walk.it) != MAPH_OK) return -1;
  }
  return 0;
}

int commit_redo(txn *txn, const tip *after) {
  store *store = txn->store;
  header *header = live(store);
  int rc = MAPH_OK;
  if (!store->in_memory)
    rc = os_flush(store->write_base, store->path, MIN(get(&header->flushed), store->last.end),
                  after->end);
  if (rc != MAPH_OK) header_poison(store);
  if (rc == MAPH_OK) rc = index_grant(store, txn->changed.key, txn->changed.count);
  if (rc == MAPH_OK) rc = index_publish(store, txn->changed.key, txn->changed.count, 1);
  if (rc != MAPH_OK) return rc;
  set(store, &header->committed, after->end);
  wake_watchers(store);
  commit_raise_flushed(store, after->end);
  store->last = *after;
  return MAPH_OK;
}

/* ----------------------------------------------------------------------------------------- sync */

int commit_sync(store *store) {
  uint64_t committed, flushed;
  int rc;
  if (store->in_memory) return MAPH_OK;
  if (get(&live(store)->state) & STATE_POISONED) return header_say_poisoned(store);
  committed = get(&live(store)->committed);
  flushed = atomic_load(&live(store)->flushed); /* before the state is looked at: supersede.c */
  if (flushed >= committed) return MAPH_OK;
  if (committed > atomic_load(&store->size) && (rc = store_see_size(store, committed)) != MAPH_OK)
    return rc;
  rc = os_flush(store->write_base, store->path, flushed, committed);
  if (rc != MAPH_OK) {
    store->flush_failed = 1;
    header_poison(store);
    return rc;
  }
  /* the flush holds without the word, unless a rewrite is under way, to which it tells what has to
  ** be on disk; one that begins now copies all of it into its base */
  rc = grant_header(store);
  if (rc == MAPH_OK) commit_raise_flushed(store, committed);
  return rc == MAPH_OK || !os_locked(&store->lock, LOCK_REWRITE) ? MAPH_OK : rc;
}
