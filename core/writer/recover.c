/*
** recover.c - after a power loss: believe only the log.
**
** The next writer's first act, under the lock.  Pages reach the disk in any order, so of a file
** that was not closed cleanly only the log is believed: whole transactions whose checksums chain,
** from the start, up to the first that is not whole.  Up to the newest good checkpoint, which was
** on disk before it was written, records are walked but not summed.  Then:
**
**   1. an epoch record with a random nonce is appended and flushed with all before it: stale pages
**      of the life before, even of the same work done again, never chain to it.  Where a pad leads
**      to it, that comes after it: a transaction that this recovery leaves out may lie there whole
**   2. a new index is built behind it.  When it is whole, root leads there; links are set right
**   3. the live words, then the mark of this life (trust.c): from then on the file is trusted
**
** Readers may be at work all the while: with a living kernel nothing that they see is lost.  So the
** epoch and the new index lie behind all that was handed out, and `root` is stored last: a reader
** has the old index or the new one, both whole, and `committed` only ever rises for it.
**
** A perfect hash was flushed before the file got its name and never changes, but for its moved
** bits, which are set right as links are: it is summed, and its keys need no slots.
**
** The order of keys is kept if it was on disk, whole, and says nothing of what is lost.
**
** A kill or power cut anywhere repeats all of it, or finds it done.  Commits may have been lost, so
** versions go on at the next multiple of 2^32: an ETag that someone saw never names other bytes.
** Where versions are given they go on where they are: what is lost comes from the source again,
** under the same ones.
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
#include "index/find.h"
#include "index/perfect.h"
#include "index/publish.h"
#include "index/split.h"
#include "order/write.h"
#include "writer/commit.h"
#include "writer/recover.h"
#include "writer/trust.h"
#include "writer/txn.h"


/* An epoch record at `at` that continues chain. */
static int epoch_follows(const view *view, uint64_t at, uint64_t chain, tip *tip) {
  end_record end;
  memcpy(&end, view->base + at, sizeof end);
  if (record_verify(view, at, END_SIZE) != MAPH_OK
      || end.chain != record_chain(view->store->salt, chain, &end, 0))
    return 0;
  *tip = record_tip(&end, at + END_SIZE);
  return 1;
}

/* Walk, without summing, to the newest checkpoint.  The epochs are counted. */
static int walk_to_checkpoint(store *store, const view *view, tip *tip, uint64_t *epochs) {
  checkpoint checkpoint;
  walk walk;
  int rc = MAPH_OK;
  memset(tip, 0, sizeof *tip);
  tip->end = LOG_START;
  if (!header_best_checkpoint(store, header_of(view->base), &checkpoint)
      || checkpoint.offset > view->size)
    return MAPH_OK;
  walk = walk_from(view, LOG_START, checkpoint.offset);
  while (walk_next(&walk, &rc)) *epochs += walk.it.kind == KIND_EPOCH;
  if (rc == MAPH_OK)
    *tip = (struct tip){ checkpoint.offset, checkpoint.version, checkpoint.chain,
                         checkpoint.records, checkpoint.bytes };
  return rc;
}

/* From a tip on: as many whole transactions as follow in chain. */
static int walk_transactions(store *store, const view *view, tip *tip, uint64_t *epochs) {
  walk walk = walk_from(view, tip->end, view->size);
  txn scratch;
  int rc = MAPH_OK;
  txn_start(&scratch, store);
  scratch.state = TXN_PREPARED; /* look, adopt nothing */
  while (walk_next(&walk, &rc)) {
    uint64_t at = walk.it.offset;
    if (walk.it.kind == KIND_PAD || walk.it.kind == KIND_EXTENT) {
      if (record_verify(view, at, walk.it.size) != MAPH_OK) break;
    } else {
      if (walk.it.kind == KIND_EPOCH
              ? !epoch_follows(view, at, tip->chain, tip)
              : commit_replay(&scratch, at, view->size, tip->chain, tip) != 1)
        break;
      *epochs += walk.it.kind == KIND_EPOCH;
      walk.at = tip->end;
    }
  }
  if (tip->end < LOG_START + END_SIZE)
    return fail_corrupt(store->path, LOG_START,
                        "the log does not begin with the record that opens it");
  return MAPH_OK;
}

int recover_append_epoch(store *store, uint64_t at) {
  uint64_t version = store->given ? store->last.version : (store->last.version | UINT32_MAX) + 1;
  end_record end;
  int rc;
  assert(store_has_turn(store) && store_has_lock(store));
  if (version_shown(store, version) > VERSION_MAX)
    return fail(MAPH_FULL, "%s: all 2^48 versions are used: export to a new store", store->path);
  record_fill_end(&end, KIND_EPOCH, version, store->last.end - END_SIZE);
  os_random(&end.start, sizeof end.start);
  end.records = store->last.records;
  end.bytes = store->last.bytes;
  end.chain = record_chain(store->salt, store->last.chain, &end, 0);
  store->space_end = at;
  store->populated = 0;
  rc = reserve_room(store, at + END_SIZE);
  if (rc == MAPH_OK) rc = log_write_end(store, at, &end);
  if (rc == MAPH_OK) rc = os_flush(store->write_base, store->path, LOG_START, at + END_SIZE);
  if (rc != MAPH_OK) return rc;
  store->last = record_tip(&end, at + END_SIZE);
  store->space_end = store->last.end;
  return MAPH_OK;
}

static int index_record(store *store, const item *it) {
  pending pending = { index_hash(store, maph_bytes(it->key, it->key_size)), it->offset, it->offset,
                      it->prev };
  int rc = index_reserve(store, &pending, 1, NULL, NULL);
  if (rc == MAPH_OK) rc = index_grant(store, &pending, 1);
  return rc == MAPH_OK ? index_publish(store, &pending, 1, 0) : rc;
}

/* The newest record of a key has no successor: a link or moved bit of it was stored for a
** transaction that is lost, whose bytes may still lie there, whole, under a pad or an index piece.
** All others' links were stored when their successors went into the index. */
static int mend_link(store *store, const view *view, const item *it) {
  maph_slice key = maph_bytes(it->key, it->key_size);
  item newest;
  int rc;
  if (is_short(store, it->offset) ? record_newest(view, it->offset)
                                  : record_link(view, it->offset) == 0)
    return MAPH_OK;
  rc = index_find(view, key, index_hash(store, key), &newest);
  if (rc != MAPH_OK || newest.offset != it->offset) return rc;
  rc = index_grant_mark(store, it->offset);
  if (rc == MAPH_OK) index_unmark(store, it->offset);
  return rc;
}

/* Each put and delete below limit: into the index (pass 0), then its link (pass 1). */
static int each_record(store *store, uint64_t limit, int pass) {
  int rc = MAPH_OK;
  view view;
  walk walk;
  view_for_writing(store, limit, &view);
  walk = walk_from(&view, LOG_START, limit);
  while (walk_next(&walk, &rc)) {
    if (!walk_is_data(&walk)) continue;
    if (pass == 0 && !is_frozen(store, walk.it.offset)) rc = index_record(store, &walk.it);
    if (pass == 1) rc = mend_link(store, &view, &walk.it);
    view_for_writing(store, limit, &view); /* the index may have outgrown the mapping */
  }
  return rc;
}

/* Where the new epoch goes.  A reader may be at work with the old index, whose pieces lie as far as
** `end`: they stay, and what is not one of them, from *pad on, becomes a pad.  Nor does it go where
** a checkpoint says that there are pieces, though `end` was lost. */
static int pass_over_old_index(store *store, uint64_t limit, uint64_t *pad, uint64_t *at) {
  header *header = header_of(store->write_base);
  uint64_t end = MAX(atomic_load(&header->end), header_tail_at(store, header, limit).spaces);
  view view;
  *pad = *at = limit;
  if (end % 8 || end <= limit || end > atomic_load(&store->size)) return MAPH_OK;
  view_for_writing(store, end, &view);
  *pad = *at = walk_past_spaces(&view, limit, end);
  if (*pad == end) return MAPH_OK;
  *at = MAX(end, *pad + RECORD_HEAD);
  store->space_end = store->populated = 0;
  return reserve_room(store, *at);
}

/* The epoch is on disk first.  What was lost could lie at its place, and the pad lead to it. */
static int append_epoch_past(store *store, uint64_t pad, uint64_t at) {
  int rc = recover_append_epoch(store, at);
  if (rc != MAPH_OK || pad == at) return rc;
  rc = log_write_pad(store, pad, at);
  return rc == MAPH_OK ? os_flush(store->write_base, store->path, pad, pad + RECORD_HEAD) : rc;
}

/* A new index of all that lies below limit, and links that lead nowhere past it.  Readers find the
** old one until the new one is whole. */
static int rebuild_index(store *store, uint64_t limit) {
  uint64_t keys = store->last.records - MIN(store->last.records, store->perfect.keys);
  int rc = index_create_beside(store, MIN(keys, (limit - LOG_START) / RECORD_HEAD));
  if (rc == MAPH_OK) rc = each_record(store, limit, 0);
  if (rc != MAPH_OK) {
    index_drop_beside(store);
    return rc;
  }
  index_show(store);
  store_word(store->write_base, &header_of(store->write_base)->state,
             atomic_load(&header_of(store->write_base)->state) & STATE_FLAGS);
  return each_record(store, limit, 1);
}

/* Nobody trusts what a recovery leaves that dies: neither in memory nor, where the disk says that
** the file is clean, there. */
static int begin_untrusted(store *store) {
  header *header = header_of(store->write_base);
  int was_clean = atomic_load(&header->clean) == CLEAN_YES;
  store_word(store->write_base, &header->place, 0);
  store_word(store->write_base, &header->clean, CLEAN_DIRTY);
  return was_clean ? os_flush(store->write_base, store->path, 0, HEADER_SIZE) : MAPH_OK;
}

static void show_log(store *store) {
  header *header = header_of(store->write_base);
  store_word(store->write_base, &header->flushed, 0);
  if (store->last.end >= atomic_load(&header->prepared))
    store_word(store->write_base, &header->prepared, store->last.end);
  store_word(store->write_base, &header->committed, store->last.end);
  store_word(store->write_base, &header->prepared, store->last.end);
  store_word(store->write_base, &header->flushed, store->last.end);
  store_word(store->write_base, &header->bias, 0);
  store_word(store->write_base, &header->busy, 0);
}

int recover_in_place(store *store) {
  uint64_t limit, life, pad, at, epochs = 0;
  view view;
  int rc = store_see_size(store, LOG_START + END_SIZE);
  if (rc != MAPH_OK) return rc;
  view_for_writing(store, 0, &view);
  rc = perfect_verify(store, view.base);
  if (rc == MAPH_OK) rc = walk_to_checkpoint(store, &view, &store->last, &epochs);
  if (rc == MAPH_OK) rc = walk_transactions(store, &view, &store->last, &epochs);
  if (rc == MAPH_OK) rc = perfect_within(store, store->last.end);
  if (rc == MAPH_OK) rc = begin_untrusted(store);
  if (rc != MAPH_OK) return rc;
  limit = store->last.end;
  life = store->given ? epochs - 1 : header_life(store, store->last.version);
  rc = pass_over_old_index(store, limit, &pad, &at);
  if (rc == MAPH_OK) rc = append_epoch_past(store, pad, at);
  if (rc != MAPH_OK) return rc;
  store_word(store->write_base, &header_of(store->write_base)->end, store->space_end);
  store_word(store->write_base, &header_of(store->write_base)->moved, 0);
  if (store->given) store_word(store->write_base, &header_of(store->write_base)->life, epochs);
  rc = rebuild_index(store, limit);
  if (rc == MAPH_OK) rc = order_renew(store, life, limit);
  if (rc != MAPH_OK) return rc;
  show_log(store);
  header_checkpoint(store, &store->last);
  trust_mark(store);
  store->tail_checked = 0;
  return MAPH_OK;
}
