/*
** recover.c - after a power loss, and after damage.
**
** IN PLACE (recover_in_place; the next writer's first act, alone and under the lock).  Pages reach the disk in any order, so of a file that was
** not closed cleanly only the log is believed: whole transactions whose checksums chain, from the start, up to the first that is not
** whole.  Up to the newest good checkpoint, which was on disk before it was written, records are walked but not summed.  Then:
**
**   1. an epoch record with a random nonce is appended and flushed with all before it: stale pages of the life before, even of the same
**      work done again, never chain to it
**   2. a new index is built behind it; links are set right
**   3. the live words, then the boot identity: from then on the file is trusted
**
** A kill or power cut anywhere repeats all of it, or finds it done.  Commits may have been lost, so versions go on at the next multiple of 2^32:
** an ETag that someone saw never names other bytes.
**
** INTO A NEW FILE (maph_recover, when in place will not do: damage, or a flush failed).  The log is read as far as it can be; after a damaged
** stretch the next record is found by its checksum, which no other bytes have by accident.  Every transaction that is whole by itself is
** written again, in order, with its version, to PATH.new; the old file gets the name PATH.damaged, the new one PATH.
*/
#include "find.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>

/* ---------------------------------------------------------------------------------------------------------- in place */

static void writer_view(store *s, uint64_t snapshot, view *v){
  v->s = s;
  v->size = atomic_load(&s->size);
  v->base = s->write_base;
  v->snapshot = snapshot;
}

/* An epoch record at `at` that continues chain. */
static int epoch_follows(const view *v, uint64_t at, uint64_t chain, tip *t){
  end_record e;
  memcpy(&e, v->base+at, sizeof e);
  if( record_verify(v, at, END_SIZE)!=MAPH_OK || e.chain!=record_chain(v->s->salt, chain, &e, 0) ) return 0;
  *t = (tip){ at+END_SIZE, e.head.version_prev & VERSION_MAX, e.chain, e.records, e.bytes };
  return 1;
}

/* Walk, without summing, to the newest checkpoint. */
static int walk_to_checkpoint(store *s, const view *v, tip *t){
  checkpoint c;
  uint64_t at = LOG_START, size;
  int kind;
  memset(t, 0, sizeof *t);
  t->end = LOG_START;
  if( !header_best_checkpoint(s, header_of(v->base), &c) || c.offset>v->size ) return MAPH_OK;
  while( at<c.offset ){
    int rc = record_span(v, at, c.offset, &kind, &size);
    if( rc!=MAPH_OK ) return rc;
    at += size;
  }
  *t = (tip){ c.offset, c.version, c.chain, c.records, c.bytes };
  return MAPH_OK;
}

/* From a tip on: as many whole transactions as follow in chain. */
static int walk_transactions(store *s, const view *v, tip *t){
  uint64_t at = t->end, size;
  struct maph_txn scratch;
  int kind;
  memset(&scratch, 0, sizeof scratch);
  scratch.s = s;
  scratch.state = TXN_PREPARED;           /* look, adopt nothing */
  while( at<v->size && record_span(v, at, v->size, &kind, &size)==MAPH_OK ){
    if( kind==KIND_EPOCH ){
      if( !epoch_follows(v, at, t->chain, t) ) break;
      at = t->end;
    }else if( kind==KIND_PAD || kind==KIND_EXTENT ){
      if( record_verify(v, at, size)!=MAPH_OK ) break;
      at += size;
    }else{
      if( commit_replay(&scratch, at, v->size, t->chain, t)!=1 ) break;
      at = t->end;
    }
  }
  if( t->end<LOG_START+END_SIZE ) return fail_corrupt(s->path, LOG_START, "the log does not begin with the record that opens it");
  return MAPH_OK;
}

static int append_epoch(store *s, uint64_t at){
  uint64_t back = (s->last.end-END_SIZE)/8, version = (s->last.version|UINT32_MAX)+1;
  end_record e;
  int rc;
  if( version>VERSION_MAX ) return fail(MAPH_FULL, "%s: all 2^48 versions are used: export to a new store", s->path);
  memset(&e, 0, sizeof e);
  e.head.kind = KIND_EPOCH;
  e.head.back_low = (uint32_t)back;
  e.head.version_prev = version | (back>>32)<<48;
  os_random(&e.start, sizeof e.start);
  e.records = s->last.records;
  e.bytes = s->last.bytes;
  e.chain = record_chain(s->salt, s->last.chain, &e, 0);
  s->space_end = at;
  s->populated = 0;
  rc = log_room(s, at+END_SIZE);
  if( rc==MAPH_OK ) rc = log_write_end(s, at, &e);
  if( rc==MAPH_OK ) rc = os_flush(s->write_base, s->path, LOG_START, at+END_SIZE);
  if( rc!=MAPH_OK ) return rc;
  s->last = (tip){ at+END_SIZE, version, e.chain, e.records, e.bytes };
  s->space_end = s->last.end;
  return MAPH_OK;
}

static int index_record(store *s, const item *it){
  pending p = { index_hash(s, maph_bytes(it->key, it->key_size)), it->offset, it->offset, it->prev };
  int rc = index_reserve(s, &p, 1, NULL);
  return rc==MAPH_OK ? index_publish(s, &p, 1, 0) : rc;
}

/* A link that no record below limit answers to was stored for a transaction that is lost. */
static void mend_link(store *s, const view *v, const item *it, uint64_t limit){
  word *w = word_at(v->base, it->offset);
  uint64_t link = atomic_load(w);
  item next;
  if( link==0 ) return;
  if( link>it->offset && link<limit && link%8==0 && record_item(v, link, limit, &next)==MAPH_OK && next.prev==it->offset
   && record_verify(v, link, next.size)==MAPH_OK ) return;
  store_word(s->write_base, word_at(s->write_base, it->offset), 0);
}

/* Each put and delete below limit: into the index (pass 0), then its link (pass 1). */
static int each_record(store *s, uint64_t limit, int pass){
  uint64_t at = LOG_START, size;
  int rc = MAPH_OK, kind;
  view v;
  item it;
  while( rc==MAPH_OK && at<limit ){
    writer_view(s, limit, &v);
    rc = record_span(&v, at, limit, &kind, &size);
    if( rc==MAPH_OK && (kind==KIND_PUT || kind==KIND_DELETE) ){
      rc = record_item(&v, at, limit, &it);
      if( rc==MAPH_OK && pass==0 ) rc = index_record(s, &it);
      if( rc==MAPH_OK && pass==1 ) mend_link(s, &v, &it, limit);
    }
    at += size;
  }
  return rc;
}

int recover_in_place(store *s){
  header *h;
  uint64_t limit;
  view v;
  int rc = store_see_size(s, LOG_START+END_SIZE);
  if( rc!=MAPH_OK ) return rc;
  writer_view(s, 0, &v);
  rc = walk_to_checkpoint(s, &v, &s->last);
  if( rc==MAPH_OK ) rc = walk_transactions(s, &v, &s->last);
  if( rc!=MAPH_OK ) return rc;
  limit = s->last.end;
  store_word(s->write_base, &header_of(s->write_base)->end, limit);
  rc = append_epoch(s, limit);
  if( rc!=MAPH_OK ) return rc;
  store_word(s->write_base, &header_of(s->write_base)->end, s->space_end);
  store_word(s->write_base, &header_of(s->write_base)->state, atomic_load(&header_of(s->write_base)->state) & STATE_FLAGS);
  rc = index_create(s, MIN(s->last.records, (limit-LOG_START)/RECORD_HEAD));
  if( rc==MAPH_OK ) rc = each_record(s, limit, 0);
  if( rc==MAPH_OK ) rc = each_record(s, limit, 1);
  if( rc!=MAPH_OK ) return rc;
  h = header_of(s->write_base);
  store_word(s->write_base, &h->flushed, 0);
  store_word(s->write_base, &h->committed, s->last.end);
  store_word(s->write_base, &h->prepared, s->last.end);
  store_word(s->write_base, &h->flushed, s->last.end);
  store_word(s->write_base, &h->bias, 0);
  store_word(s->write_base, &h->busy, 0);
  header_checkpoint(s, &s->last);
  store_word(s->write_base, &h->mount, s->mount);
  store_word(s->write_base, &h->space, s->space);
  store_word(s->write_base, &h->clean, CLEAN_DIRTY);
  store_word(s->write_base, &h->boot, s->boot);
  s->tail_checked = 0;
  return MAPH_OK;
}

/* ------------------------------------------------------------------------------------------------------ into a new file */

typedef struct salvage {
  store   *from, *to;
  view     v;
  maph_report_fn report;
  void    *arg;
  uint64_t kept, lost, last_version;
} salvage;

static void tell(salvage *x, uint64_t offset, const char *format, uint64_t a, uint64_t b){
  char line[512];
  snprintf(line, sizeof line, format, (unsigned long long)a, (unsigned long long)b);
  if( x->report ) x->report(x->arg, offset, line);
}

static int copy_operation(struct maph_txn *t, const item *it){
  maph_entry e;
  maph_condition c;
  record_entry(it, &e);
  memset(&c, 0, sizeof c);
  c.expires = e.expires;
  c.type = e.type<=MAPH_NULL ? e.type : MAPH_BLOB;
  c.key_is_text = e.key_is_text;
  c.media_type = e.media_type;
  if( it->kind==KIND_PUT ) return maph_txn_put_if(t, e.key, e.value, &c);
  return maph_txn_delete_if(t, e.key, &c);
}

/* Write the transaction [from, at) again, with its version. */
static int copy_transaction(salvage *x, uint64_t from, uint64_t at, const end_record *e){
  uint64_t pos = from, size, version = e->head.version_prev & VERSION_MAX;
  struct maph_txn *t;
  int rc, kind;
  if( version<=x->last_version && x->last_version!=0 ) return MAPH_OK;   /* met before: a copy of an old log page */
  rc = lock_take(x->to, 0);
  if( rc!=MAPH_OK ) return rc;
  t = txn_new(x->to);
  if( t==NULL ){ lock_release(x->to); lock_give_turn(x->to); return MAPH_NOMEM; }
  t->durability = MAPH_SYNC_OFF;
  t->version = version;
  while( rc==MAPH_OK && pos<at && record_span(&x->v, pos, at, &kind, &size)==MAPH_OK ){
    item it;
    if( (kind==KIND_PUT || kind==KIND_DELETE) && record_item(&x->v, pos, at, &it)==MAPH_OK ){
      rc = copy_operation(t, &it);
      if( rc==MAPH_NOTFOUND ) rc = MAPH_OK;          /* a delete of what was lost */
    }
    pos += size;
  }
  if( rc==MAPH_OK ) rc = commit_reserve(t);
  if( rc==MAPH_OK ) rc = commit_finish(t); else commit_abort(t);
  txn_free(t);
  x->last_version = version;
  x->kept++;
  return rc;
}

/* Is a record with a fitting checksum here? */
static int record_here(const view *v, uint64_t at, int *kind, uint64_t *size){
  return record_span(v, at, v->size, kind, size)==MAPH_OK && record_verify(v, at, *size)==MAPH_OK;
}

static int salvage_log(salvage *x){
  uint64_t at = LOG_START, from = LOG_START, operations = 0, size = 0, hole = 0;
  int rc = MAPH_OK, kind, damaged = 0;
  while( rc==MAPH_OK && at<=x->v.size-RECORD_HEAD ){
    if( !record_here(&x->v, at, &kind, &size) ){
      if( !hole ) hole = at;
      damaged = 1;
      at += 8;
      continue;
    }
    if( hole ){ tell(x, hole, "%llu bytes are damaged or were never part of the log", at-hole, 0); hole = 0; }
    if( kind==KIND_PUT || kind==KIND_DELETE ){
      operations++;
    }else if( kind==KIND_END || kind==KIND_EPOCH ){
      end_record e;
      memcpy(&e, x->v.base+at, sizeof e);
      if( kind==KIND_END && (damaged || operations!=e.head.operations) ){
        x->lost++;
        tell(x, at, "transaction %llu is lost: its records are damaged", e.head.version_prev & VERSION_MAX, 0);
      }else if( kind==KIND_END ){
        rc = copy_transaction(x, from, at, &e);
      }
      operations = 0;
      damaged = 0;
    }
    at += size;
    if( operations==0 ) from = at;
  }
  return rc;
}

/* A lenient look at the header: only what the checksums of records need. */
static int open_damaged(const char *path, store **out){
  os_file f;
  store *s;
  view v;
  header copy;
  int rc = os_open(path, OS_WRITE, 0, &f);
  *out = NULL;
  if( rc!=MAPH_OK ) return rc;
  s = store_bare(path, &f);
  if( s==NULL ){ os_close(&f); return MAPH_NOMEM; }
  rc = store_see_size(s, 0);
  if( rc==MAPH_OK ) rc = store_map_for_writing(s);
  if( rc==MAPH_OK && atomic_load(&s->size)<LOG_START+END_SIZE ) rc = fail(MAPH_FORMAT, "%s: too short to hold anything", path);
  if( rc==MAPH_OK ){
    memcpy(&copy, atomic_load(&s->base), 256);
    memcpy(s->uuid, copy.uuid, 16);
    s->generation = copy.generation;
    s->salt = header_salt(&copy);
    v = (view){ atomic_load(&s->base), atomic_load(&s->size), 0, s };
    if( record_verify(&v, LOG_START, END_SIZE)!=MAPH_OK ){
      rc = fail(MAPH_CORRUPT, "%s: the header's identity and the log's first record do not fit each other: nothing in the file can be told from noise; "
                "restore a backup", path);
    }
  }
  if( rc!=MAPH_OK ){ store_free(s); s = NULL; }
  *out = s;
  return rc;
}

/* Keep the damaged file beside, under the first free name, and give the new one its place. */
static int take_place(const char *path, const char *temporary, salvage *x){
  char *kept = NULL, suffix[32];
  int rc = MAPH_EXISTS, n;
  for(n=0; rc==MAPH_EXISTS && n<1000; n++){
    os_free(kept);
    if( n==0 ) snprintf(suffix, sizeof suffix, ".damaged"); else snprintf(suffix, sizeof suffix, ".damaged.%d", n);
    kept = handle_beside(path, suffix);
    if( kept==NULL ) return MAPH_NOMEM;
    rc = os_link(path, kept);
  }
  if( rc==MAPH_OK ) rc = os_rename(temporary, path);
  if( rc==MAPH_OK ) rc = os_flush_directory(path);
  if( rc==MAPH_OK ) store_word(x->to->write_base, &header_of(x->to->write_base)->unborn, 0);
  if( rc==MAPH_OK ) atomic_fetch_or(&header_of(x->from->write_base)->state, STATE_SUPERSEDED);   /* readers move over */
  if( rc==MAPH_OK && x->report ){
    char line[700];
    snprintf(line, sizeof line, "%llu transactions kept, %llu lost; the damaged file is %.600s", (unsigned long long)x->kept, (unsigned long long)x->lost, kept);
    x->report(x->arg, 0, line);
  }
  os_free(kept);
  return rc;
}

/* The finished file's live words: its last epoch is visible, it is on disk, and this is its lock file. */
static void seal(store *s, const os_file *lock){
  header *h = header_of(s->write_base);
  store_word(s->write_base, &h->lock_device, lock->device);
  store_word(s->write_base, &h->lock_inode, lock->inode);
  store_word(s->write_base, &h->end, s->space_end);
  store_word(s->write_base, &h->prepared, s->last.end);
  store_word(s->write_base, &h->committed, s->last.end);
  store_word(s->write_base, &h->flushed, s->last.end);
  store_word(s->write_base, &h->unborn, 1);
  header_checkpoint(s, &s->last);
  store_word(s->write_base, &h->clean, CLEAN_YES);
}

/* Everything that can be read, into a new file.  The writer's lock is held throughout. */
static int rebuild(const char *path, maph_report_fn report, void *arg){
  maph_options o = MAPH_OPTIONS_INIT;
  char *temporary = handle_beside(path, ".new");
  salvage x;
  os_file lock;
  int rc, got;
  memset(&x, 0, sizeof x);
  x.report = report;
  x.arg = arg;
  lock.fd = -1;
  rc = temporary ? open_damaged(path, &x.from) : MAPH_NOMEM;
  if( rc==MAPH_OK ) rc = handle_lock_rewrite(path, &x.from->file, o.busy_timeout_ms, &lock);
  if( rc==MAPH_OK ){
    got = os_lock(&lock, LOCK_PRESENT, 1);
    if( got==1 ) got = os_lock(&lock, LOCK_WRITER, 1);
    if( got<0 ) rc = -got;
    if( got==0 ) rc = fail(MAPH_BUSY, "%s: another process has it open for writing: stop it first", path);
  }
  o.mode = rc==MAPH_OK ? (int)x.from->file.mode : 0600;
  if( rc==MAPH_OK ) rc = store_build(temporary, &o, x.from->uuid, x.from->generation+1, 0, &x.to);
  if( rc==MAPH_OK ){
    x.v = (view){ atomic_load(&x.from->base), atomic_load(&x.from->size), 0, x.from };
    rc = salvage_log(&x);
  }
  if( rc==MAPH_OK ) rc = append_epoch(x.to, x.to->space_end);
  if( rc==MAPH_OK ){
    seal(x.to, &lock);
    rc = os_take_owner(temporary, &x.to->file, &x.from->file);
  }
  if( rc==MAPH_OK ) rc = os_flush_file(&x.to->file, temporary);
  if( rc==MAPH_OK ) rc = take_place(path, temporary, &x);
  else if( x.to ) os_remove(temporary);
  store_free(x.to);
  store_free(x.from);
  os_close(&lock);
  os_free(temporary);
  return rc;
}

/* Can a writer begin?  While another one is at work it can. */
static int writable(maph *m){
  store *s;
  int rc = handle_writer(m, &s);
  if( rc==MAPH_OK ) rc = lock_take(s, m->options.busy_timeout_ms);
  if( rc==MAPH_OK ){
    lock_release(s);
    lock_give_turn(s);
  }
  return rc==MAPH_OK || rc==MAPH_BUSY;
}

int maph_recover(const char *path, maph_report_fn report, void *arg){
  maph_options o = MAPH_OPTIONS_INIT;
  maph_stats st;
  char *resolved;
  maph *m = NULL;
  int rc, sound = 0;
  if( path==NULL || path[0]==0 ) return fail(MAPH_MISUSE, "maph_recover: an empty path: name a store's file");
  rc = os_resolve(path, &resolved);
  if( rc!=MAPH_OK ) return rc;
  rc = maph_open(resolved, MAPH_RDWR, &o, &m);
  if( rc==MAPH_OK ){
    sound = writable(m) && maph_stat(m, &st)==MAPH_OK && !st.poisoned && maph_check(m, NULL, NULL)==MAPH_OK;
    rc = maph_close(m);
  }
  if( rc==MAPH_OK && sound ){ free(resolved); return MAPH_OK; }
  if( rc==MAPH_OK || rc==MAPH_CORRUPT || rc==MAPH_IOERR || rc==MAPH_CANTOPEN ) rc = rebuild(resolved, report, arg);
  free(resolved);
  return rc;
}
