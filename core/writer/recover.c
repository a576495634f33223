/*
** recover.c - after a power loss: believe only the log.
**
** The next writer's first act, under the lock.  Pages reach the disk in any order, so of a file
** that was not closed cleanly only the log is believed: whole transactions whose checksums chain,
** from the start, up to the first that is not whole.  Up to the newest good checkpoint, which was
** on disk before it was written, records are walked but not summed.  Then:
**
**   1. an epoch record with a random nonce is appended and flushed with all before it: stale pages
**      of the life before, even of the same work done again, never chain to it
**   2. a new index is built behind it.  When it is whole, root leads there; links are set right
**   3. the live words, then the mark of this life (trust.c): from then on the file is trusted
**
** Readers may be at work all the while: with a living kernel nothing that they see is lost.  So the
** epoch and the new index lie behind all that was handed out, and `root` is stored last: a reader
** has the old index or the new one, both whole, and `committed` only ever rises for it.
**
** A perfect hash was flushed before the file got its name and never changes: it is summed, and its
** keys need no slots.
**
** The order of keys is kept if it was on disk, whole, and says nothing of what is lost.
**
** A kill or power cut anywhere repeats all of it, or finds it done.  Commits may have been lost, so
** versions go on at the next multiple of 2^32: an ETag that someone saw never names other bytes.
*/
#include "file/grant.h"
#include "file/header.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/index.h"
#include "index/perfect.h"
#include "order/write.h"
#include "writer/commit.h"
#include "writer/recover.h"
#include "writer/trust.h"
#include "writer/txn.h"


/* An epoch record at `at` that continues chain. */
static int epoch_follows(const view *v, uint64_t at, uint64_t chain, tip *t) {
  end_record e;
  memcpy(&e, v->base + at, sizeof e);
  if (record_verify(v, at, END_SIZE) != MAPH_OK
      || e.chain != record_chain(v->s->salt, chain, &e, 0))
    return 0;
  *t = record_tip(&e, at + END_SIZE);
  return 1;
}

/* Walk, without summing, to the newest checkpoint. */
static int walk_to_checkpoint(store *s, const view *v, tip *t) {
  checkpoint c;
  walk w;
  int rc = MAPH_OK;
  memset(t, 0, sizeof *t);
  t->end = LOG_START;
  if (!header_best_checkpoint(s, header_of(v->base), &c) || c.offset > v->size) return MAPH_OK;
  w = walk_from(v, LOG_START, c.offset);
  while (walk_next(&w, &rc)) {}
  if (rc == MAPH_OK) *t = (tip){ c.offset, c.version, c.chain, c.records, c.bytes };
  return rc;
}

/* From a tip on: as many whole transactions as follow in chain. */
static int walk_transactions(store *s, const view *v, tip *t) {
  walk w = walk_from(v, t->end, v->size);
  txn scratch;
  int rc = MAPH_OK;
  txn_start(&scratch, s);
  scratch.state = TXN_PREPARED; /* look, adopt nothing */
  while (walk_next(&w, &rc)) {
    uint64_t at = w.it.offset;
    if (w.it.kind == KIND_PAD || w.it.kind == KIND_EXTENT) {
      if (record_verify(v, at, w.it.size) != MAPH_OK) break;
    } else {
      if (w.it.kind == KIND_EPOCH ? !epoch_follows(v, at, t->chain, t)
                                  : commit_replay(&scratch, at, v->size, t->chain, t) != 1)
        break;
      w.at = t->end;
    }
  }
  if (t->end < LOG_START + END_SIZE)
    return fail_corrupt(s->path, LOG_START, "the log does not begin with the record that opens it");
  return MAPH_OK;
}

int recover_append_epoch(store *s, uint64_t at) {
  uint64_t version = (s->last.version | UINT32_MAX) + 1;
  end_record e;
  int rc;
  assert(store_has_turn(s) && store_has_lock(s));
  if (version > VERSION_MAX)
    return fail(MAPH_FULL, "%s: all 2^48 versions are used: export to a new store", s->path);
  record_fill_end(&e, KIND_EPOCH, version, s->last.end - END_SIZE);
  os_random(&e.start, sizeof e.start);
  e.records = s->last.records;
  e.bytes = s->last.bytes;
  e.chain = record_chain(s->salt, s->last.chain, &e, 0);
  s->space_end = at;
  s->populated = 0;
  rc = log_room(s, at + END_SIZE);
  if (rc == MAPH_OK) rc = log_write_end(s, at, &e);
  if (rc == MAPH_OK) rc = os_flush(s->write_base, s->path, LOG_START, at + END_SIZE);
  if (rc != MAPH_OK) return rc;
  s->last = record_tip(&e, at + END_SIZE);
  s->space_end = s->last.end;
  return MAPH_OK;
}

static int index_record(store *s, const item *it) {
  pending p = { index_hash(s, maph_bytes(it->key, it->key_size)), it->offset, it->offset,
                it->prev };
  int rc = index_reserve(s, &p, 1, NULL, NULL);
  if (rc == MAPH_OK) rc = index_grant(s, &p, 1);
  return rc == MAPH_OK ? index_publish(s, &p, 1, 0) : rc;
}

/* The newest record of a key has no successor: a link in it was stored for a transaction that is
** lost, whose bytes may still lie there, whole, under a pad or an index piece.  All others' links
** were stored when their successors went into the index. */
static int mend_link(store *s, const view *v, const item *it) {
  maph_slice key = maph_bytes(it->key, it->key_size);
  item newest;
  int rc;
  if (atomic_load(word_at(v->base, it->offset)) == 0) return MAPH_OK;
  rc = index_find(v, key, index_hash(s, key), &newest);
  if (rc != MAPH_OK || newest.offset != it->offset) return rc;
  rc = grant_pages(s, it->offset, it->offset + sizeof(word));
  if (rc == MAPH_OK) store_word(s->write_base, word_at(s->write_base, it->offset), 0);
  return rc;
}

/* Each put and delete below limit: into the index (pass 0), then its link (pass 1). */
static int each_record(store *s, uint64_t limit, int pass) {
  int rc = MAPH_OK;
  view v;
  walk w;
  view_for_writing(s, limit, &v);
  w = walk_from(&v, LOG_START, limit);
  while (walk_next(&w, &rc)) {
    if (!walk_is_data(&w)) continue;
    if (pass == 0 && !is_frozen(s, w.it.offset)) rc = index_record(s, &w.it);
    if (pass == 1) rc = mend_link(s, &v, &w.it);
    view_for_writing(s, limit, &v); /* the index may have outgrown the mapping */
  }
  return rc;
}

/* Where the new epoch goes.  A reader may be at work with the old index, whose pieces lie as far as
** `end`: they stay, and what is not one of them becomes a pad. */
static int pass_over_old_index(store *s, uint64_t limit, uint64_t *at) {
  uint64_t end = atomic_load(&header_of(s->write_base)->end);
  view v;
  int rc;
  *at = limit;
  if (end % 8 || end <= limit || end > atomic_load(&s->size)) return MAPH_OK;
  view_for_writing(s, end, &v);
  *at = walk_past_spaces(&v, limit, end);
  if (*at == end) return MAPH_OK;
  end = MAX(end, *at + RECORD_HEAD);
  s->space_end = s->populated = 0;
  rc = log_room(s, end);
  if (rc == MAPH_OK) rc = log_write_pad(s, *at, end);
  *at = end;
  return rc;
}

/* A new index of all that lies below limit, and links that lead nowhere past it.  Readers find the
** old one until the new one is whole. */
static int rebuild_index(store *s, uint64_t limit) {
  uint64_t keys = s->last.records - MIN(s->last.records, s->perfect.keys);
  int rc = index_create_beside(s, MIN(keys, (limit - LOG_START) / RECORD_HEAD));
  if (rc == MAPH_OK) rc = each_record(s, limit, 0);
  if (rc != MAPH_OK) {
    index_drop_beside(s);
    return rc;
  }
  index_show(s);
  store_word(s->write_base, &header_of(s->write_base)->state,
             atomic_load(&header_of(s->write_base)->state) & STATE_FLAGS);
  return each_record(s, limit, 1);
}

/* Nobody trusts what a recovery leaves that dies: neither in memory nor, where the disk says that
** the file is clean, there. */
static int begin_untrusted(store *s) {
  header *h = header_of(s->write_base);
  int was_clean = atomic_load(&h->clean) == CLEAN_YES;
  store_word(s->write_base, &h->place, 0);
  store_word(s->write_base, &h->clean, CLEAN_DIRTY);
  return was_clean ? os_flush(s->write_base, s->path, 0, HEADER_SIZE) : MAPH_OK;
}

static void show_log(store *s) {
  header *h = header_of(s->write_base);
  store_word(s->write_base, &h->flushed, 0);
  if (s->last.end >= atomic_load(&h->prepared))
    store_word(s->write_base, &h->prepared, s->last.end);
  store_word(s->write_base, &h->committed, s->last.end);
  store_word(s->write_base, &h->prepared, s->last.end);
  store_word(s->write_base, &h->flushed, s->last.end);
  store_word(s->write_base, &h->bias, 0);
  store_word(s->write_base, &h->busy, 0);
}

int recover_in_place(store *s) {
  uint64_t limit, at;
  view v;
  int rc = store_see_size(s, LOG_START + END_SIZE);
  if (rc != MAPH_OK) return rc;
  view_for_writing(s, 0, &v);
  rc = perfect_verify(s, v.base);
  if (rc == MAPH_OK) rc = walk_to_checkpoint(s, &v, &s->last);
  if (rc == MAPH_OK) rc = walk_transactions(s, &v, &s->last);
  if (rc == MAPH_OK) rc = perfect_within(s, s->last.end);
  if (rc == MAPH_OK) rc = begin_untrusted(s);
  if (rc != MAPH_OK) return rc;
  limit = s->last.end;
  rc = pass_over_old_index(s, limit, &at);
  if (rc == MAPH_OK) rc = recover_append_epoch(s, at);
  if (rc != MAPH_OK) return rc;
  store_word(s->write_base, &header_of(s->write_base)->end, s->space_end);
  store_word(s->write_base, &header_of(s->write_base)->moved, 0);
  rc = rebuild_index(s, limit);
  if (rc == MAPH_OK) rc = order_renew(s, limit);
  if (rc != MAPH_OK) return rc;
  show_log(s);
  header_checkpoint(s, &s->last);
  trust_mark(s);
  s->tail_checked = 0;
  return MAPH_OK;
}
