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
** GROUP COMMIT.  At full, who has decided gives the turn to the next one and waits for a flush.
** One thread flushes for all that are decided by then.  Transactions decided but not visible stand
** in a list; a later transaction that touches a key of theirs waits until they are visible, and
** reserves room for their new keys as well as its own.  A failed flush poisons the store: all that
** wait fail.
*/
#include "file/grant.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/index.h"
#include "order/write.h"
#include "writer/commit.h"
#include "writer/decided.h"
#include "writer/txn.h"

enum { WRITEBACK_MS = 1000, WRITEBACK_BYTES = 8 * 1024 * 1024, GROUP_KEYS_MOST = 64 };

static header *live(const store *s) { return header_of(s->write_base); }
static uint64_t get(const word *w) { return atomic_load_explicit(w, memory_order_acquire); }
static void set(store *s, word *w, uint64_t value) { store_word(s->write_base, w, value); }

/* --------------------------------------------------------------------- reserve, decide, publish */

/* Everything that deciding and publishing t will store to. */
static int grant_for(txn *t) {
  store *s = t->s;
  int rc;
  if (likely(!grant_needed(s))) return MAPH_OK;
  rc = index_grant(s, t->changed.key, t->changed.count);
  if (rc != MAPH_OK || s->file.file_system == OS_COPY_ON_WRITE) return rc;
  return grant_pages(s, s->space_end, s->space_end + END_SIZE);
}

int commit_reserve(txn *t) {
  store *s = t->s;
  pending *scratch = NULL;
  int rc = MAPH_OK, large = t->changed.count > GROUP_KEYS_MOST;
  assert(store_has_turn(s) && store_has_lock(s));
  if (t->operations == 0) {
    t->state = TXN_PREPARED;
    return MAPH_OK;
  }
  if (get(&live(s)->state) & STATE_POISONED) rc = header_say_poisoned(s);
  large |= decided_has_more_than(s, GROUP_KEYS_MOST);
  if (rc == MAPH_OK && large) rc = decided_wait(s);
  if (rc == MAPH_OK && t->changed.count > 1
      && (scratch = os_alloc(t->changed.count * sizeof *scratch)) == NULL)
    rc = MAPH_NOMEM;
  if (rc == MAPH_OK) {
    os_free(t->table); /* it names places that sorting changes */
    t->table = NULL;
    t->table_room = 0;
    pthread_mutex_lock(&s->index_mutex);
    s->space_end = t->position;
    rc = index_reserve(s, t->changed.key, t->changed.count, scratch, s->decided_first);
    pthread_mutex_unlock(&s->index_mutex);
  }
  if (rc == MAPH_OK) rc = log_room(s, s->space_end + END_SIZE);
  if (rc == MAPH_OK) rc = grant_for(t);
  os_free(scratch);
  if (rc == MAPH_OK)
    t->state = TXN_PREPARED;
  else
    t->failed = 1;
  return rc;
}

/* A transaction was decided and could not be published, because the disk became full in between. */
static int group_full(const store *s) {
  return fail(MAPH_FULL,
              "%s: the disk became full while a commit was under way: make room and try again",
              s->path);
}

static int decide(txn *t) {
  store *s = t->s;
  uint64_t at = s->space_end;
  end_record e;
  int rc;
  assert(store_has_turn(s) && store_has_lock(s));
  assert(t->before.end == s->last.end); /* (4) */
  if (s->group_failed) return group_full(s);
  record_fill_end(&e, KIND_END, t->version, s->last.end - END_SIZE);
  e.head.operations = (uint32_t)t->operations;
  e.start = t->start;
  e.records = t->records;
  e.bytes = t->bytes;
  e.chain = record_chain(s->salt, s->last.chain, &e, t->digest);
  t->after = record_tip(&e, at + END_SIZE);
  set(s, &live(s)->end, t->after.end);
  set(s, &live(s)->prepared, t->after.end);
  rc = log_write_end(s, at, &e);
  if (rc != MAPH_OK) return rc;
  s->space_end = t->after.end;
  s->last = t->after;
  t->decided = 1;
  return MAPH_OK;
}

/* Who waits for the next commit said so in `watched`.  Not seeing it just then is no harm: they
** look again by themselves before long. */
static void wake_watchers(store *s) {
  header *h = live(s);
  if (likely(atomic_load_explicit(&h->watched, memory_order_relaxed) == 0)) return;
  set(s, &h->watched, 0);
  os_wake(&h->committed);
}

/* Stores into a mapping change the file's time of modification late, on tmpfs never, and backup
** programs go by that.  A write of a byte as it is there does, to the tick of the system's clock.
*/
static void tell_time(store *s) {
  uint64_t now;
  if (s->in_memory) return;
  now = s->published_ms = os_clock_coarse_ms();
  if (now == s->told_ms) return;
  s->told_ms = now;
  os_touch(&s->file, 0, FORMAT_MAGIC[0]);
}

/* Slots, links, committed.  Under index_mutex.  A slot that is not there means that someone else
** wrote the index: stop writing. */
static int publish(txn *t) {
  store *s = t->s;
  int rc;
  assert(is_locked(&s->index_mutex) && store_has_lock(s));
  assert(get(&live(s)->committed) == t->before.end); /* (4) */
  rc = grant_for(t);
  if (rc != MAPH_OK) return rc; /* nothing was stored */
  rc = index_publish(s, t->changed.key, t->changed.count, 0);
  if (rc == MAPH_OK) {
    set(s, &live(s)->committed, t->after.end);
    if (!grant_reached(s, offsetof(header, committed))) rc = header_say_poisoned(s);
    order_note(s, &t->changed, t->before.end, t->after.end);
  }
  if (rc != MAPH_OK) {
    header_poison(s);
    return rc;
  }
  wake_watchers(s);
  tell_time(s);
  t->visible = 1;
  return MAPH_OK;
}

/* Whichever process is ahead raises it. */
void commit_raise_flushed(store *s, uint64_t to) {
  word *w = &live(s)->flushed;
  uint64_t old = get(w);
  assert(to <= get(&live(s)->committed)); /* (2) */
  OS_TEST_STORE(s->write_base, offsetof(header, flushed), 8);
  while (old < to && !atomic_compare_exchange_weak(w, &old, to)) {}
}

static void note_flushed(store *s, const tip *t) {
  commit_raise_flushed(s, t->end);
  header_checkpoint_if_due(s, t);
}

static void start_writeback(store *s) {
  uint64_t end = s->last.end, now;
  if (s->in_memory) return;
  if (end - s->writeback_end < WRITEBACK_BYTES) {
    now = s->published_ms;
    if (now - s->writeback_ms < WRITEBACK_MS) return;
    s->writeback_ms = now;
  }
  os_start_writeback(&s->file, s->writeback_end, end);
  s->writeback_end = end;
}

/* ------------------------------------------------------------------------------------- flushing */

/* Wait until the log is on disk up to `upto`, flushing for everyone when nobody else is. */
static int flush_to(store *s, uint64_t upto) {
  int rc = MAPH_OK;
  if (s->in_memory) return MAPH_OK;
  pthread_mutex_lock(&s->flush_mutex);
  while (s->flushed < upto && !s->flush_failed) {
    uint64_t from = s->flushed, to = MAX(s->decided, upto);
    if (s->flushing) {
      pthread_cond_wait(&s->flush_done, &s->flush_mutex);
      continue;
    }
    s->flushing = 1;
    pthread_mutex_unlock(&s->flush_mutex);
    rc = os_flush(s->write_base, s->path, from, to);
    pthread_mutex_lock(&s->flush_mutex);
    s->flushing = 0;
    if (rc != MAPH_OK) {
      s->flush_failed = 1;
      header_poison(s);
    } else
      s->flushed = to;
    pthread_cond_broadcast(&s->flush_done);
  }
  if (rc == MAPH_OK && s->flushed < upto) rc = header_say_poisoned(s);
  pthread_mutex_unlock(&s->flush_mutex);
  return rc;
}

/* -------------------------------------------------------------------------------------- the end */

int commit_publish_now(txn *t) {
  store *s = t->s;
  int rc = decided_wait(s);
  if (rc == MAPH_OK) rc = decide(t);
  if (rc != MAPH_OK) {
    commit_give_back(t);
    return rc;
  }
  pthread_mutex_lock(&s->index_mutex);
  rc = publish(t);
  pthread_mutex_unlock(&s->index_mutex);
  if (rc != MAPH_OK && !s->flush_failed) commit_give_back(t);
  if (rc == MAPH_OK && t->durability == MAPH_SYNC_NORMAL) start_writeback(s);
  return rc;
}

int commit_decide_early(txn *t) {
  store *s = t->s;
  int rc;
  if (t->operations == 0) return MAPH_OK;
  rc = decided_wait(s);
  if (rc == MAPH_OK) rc = decide(t);
  if (rc == MAPH_OK) rc = flush_to(s, t->after.end);
  if (rc != MAPH_OK) t->failed = 1;
  return rc;
}

int commit_joins_group(const txn *t) {
  return t->operations > 0 && t->durability == MAPH_SYNC_FULL && !t->decided && !t->s->in_memory;
}

int commit_decide_in_group(txn *t) {
  int rc = decide(t);
  if (rc == MAPH_OK) decided_add(t->s, &t->changed, t->after.end);
  return rc;
}

int commit_publish_in_group(txn *t) {
  store *s = t->s;
  int rc = flush_to(s, t->after.end);
  pthread_mutex_lock(&s->index_mutex);
  while (rc == MAPH_OK && !t->visible) {
    txn *first = (txn *)s->decided_first;
    if (first == NULL || (get(&live(s)->state) & STATE_POISONED)) {
      rc = header_say_poisoned(s);
      break;
    }
    if (s->group_failed) {
      rc = group_full(s);
      break;
    }
    rc = publish(first);
    if (rc != MAPH_OK) s->group_failed = 1; /* all that follow in the list build on it */
    decided_remove(s, &first->changed);
    if (rc == MAPH_OK) note_flushed(s, &first->after);
  }
  if (!t->visible) {
    decided_remove(s, &t->changed);
    /* nobody builds on it, and whoever recovers the store must not find it */
    if (s->flush_failed)
      log_erase_end(s, t->after.end - END_SIZE);
    else if (commit_erase(s, t->after.end - END_SIZE) != MAPH_OK)
      header_poison(s);
  }
  pthread_mutex_unlock(&s->index_mutex);
  return rc;
}

int commit_publish(txn *t) {
  store *s = t->s;
  int rc;
  if (t->operations == 0) return MAPH_OK;
  if (!t->decided) return commit_publish_now(t);
  pthread_mutex_lock(&s->index_mutex);
  rc = publish(t);
  if (rc == MAPH_OK) note_flushed(s, &t->after);
  pthread_mutex_unlock(&s->index_mutex);
  if (rc != MAPH_OK && !s->flush_failed) commit_give_back(t);
  return rc;
}

int commit_erase(store *s, uint64_t end_record_at) {
  int rc = grant_pages(s, end_record_at, end_record_at + END_SIZE);
  if (rc == MAPH_OK) rc = log_erase_end(s, end_record_at);
  if (rc == MAPH_OK && !s->in_memory) {
    rc = os_flush(s->write_base, s->path, end_record_at, end_record_at + END_SIZE);
    if (rc != MAPH_OK) {
      s->flush_failed = 1;
      header_poison(s);
    }
  }
  return rc;
}

/* If t is decided: not any more. */
static int undecide(txn *t) {
  store *s = t->s;
  uint64_t prepared = get(&live(s)->prepared);
  int rc;
  if (prepared == t->before.end) return MAPH_OK;
  rc = commit_erase(s, prepared - END_SIZE);
  if (rc == MAPH_OK) set(s, &live(s)->prepared, t->before.end);
  s->last = t->before;
  s->decided = t->before.end;
  return rc;
}

int commit_give_back(txn *t) {
  store *s = t->s;
  uint64_t end = get(&live(s)->end);
  int rc = undecide(t);
  if (rc == MAPH_OK && end > t->start) rc = log_cover(s, t->start, end);
  s->space_end = end;
  if (rc != MAPH_OK) s->unsettled = 1;
  assert(rc != MAPH_OK || get(&live(s)->prepared) == t->before.end); /* (3) */
  return rc;
}

/* The index pieces that commit_reserve made are in use and stay, and so does all before them. */
int commit_reopen(txn *t) {
  store *s = t->s;
  uint64_t records_end = t->position, erased = t->decided ? END_SIZE : 0;
  int rc = t->operations ? undecide(t) : MAPH_OK;
  if (rc == MAPH_OK && erased) rc = log_cover(s, s->space_end - erased, s->space_end);
  if (rc != MAPH_OK) {
    t->failed = 1;
    s->unsettled = 1;
    return rc;
  }
  if (t->operations && s->space_end > records_end)
    t->floor = t->position = s->space_end;
  else
    s->space_end = MAX(t->start, t->floor);
  t->decided = 0;
  t->state = TXN_OPEN;
  return MAPH_OK;
}

/* -------------------------------------------------------------------------- after a dead writer */

int commit_replay(txn *t, uint64_t from, uint64_t limit, uint64_t chain, tip *after) {
  store *s = t->s;
  uint64_t digest = 0, operations = 0;
  view v;
  walk w;
  int rc = MAPH_OK;
  view_for_writing(s, limit, &v);
  t->start = t->position = from;
  w = walk_from(&v, from, limit);
  while (walk_next(&w, &rc)) {
    if (w.it.kind == KIND_EPOCH || record_verify(&v, w.it.offset, w.it.size) != MAPH_OK) return 0;
    if (w.it.kind == KIND_END) {
      end_record e;
      memcpy(&e, v.base + w.it.offset, sizeof e);
      if (e.head.operations != operations || e.chain != record_chain(s->salt, chain, &e, digest))
        return 0;
      *after = record_tip(&e, w.at);
      t->operations = operations;
      t->position = w.it.offset;
      return 1;
    }
    if (!walk_is_data(&w)) continue;
    digest = record_digest(digest, w.it.offset, w.it.bytes_8_to_15);
    operations++;
    if (t->state == TXN_OPEN && txn_adopt(t, &w.it) != MAPH_OK) return -1;
  }
  return 0;
}

int commit_redo(txn *t, const tip *after) {
  store *s = t->s;
  header *h = live(s);
  int rc = MAPH_OK;
  if (!s->in_memory)
    rc = os_flush(s->write_base, s->path, MIN(get(&h->flushed), s->last.end), after->end);
  if (rc != MAPH_OK) header_poison(s);
  if (rc == MAPH_OK) rc = index_grant(s, t->changed.key, t->changed.count);
  if (rc == MAPH_OK) rc = index_publish(s, t->changed.key, t->changed.count, 1);
  if (rc != MAPH_OK) return rc;
  set(s, &h->committed, after->end);
  wake_watchers(s);
  commit_raise_flushed(s, after->end);
  s->last = *after;
  return MAPH_OK;
}

/* ----------------------------------------------------------------------------------------- sync */

int commit_sync(store *s) {
  uint64_t committed, flushed;
  int rc;
  if (s->in_memory) return MAPH_OK;
  if (get(&live(s)->state) & STATE_POISONED) return header_say_poisoned(s);
  committed = get(&live(s)->committed);
  flushed = get(&live(s)->flushed);
  if (flushed >= committed) return MAPH_OK;
  if (committed > atomic_load(&s->size) && (rc = store_see_size(s, committed)) != MAPH_OK)
    return rc;
  rc = os_flush(s->write_base, s->path, flushed, committed);
  if (rc != MAPH_OK) {
    s->flush_failed = 1;
    header_poison(s);
    return rc;
  }
  /* the flush holds without it */
  if (grant_header(s) == MAPH_OK) commit_raise_flushed(s, committed);
  return MAPH_OK;
}
