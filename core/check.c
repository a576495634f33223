/*
** check.c - maph_check: believe nothing, walk everything, report each contradiction with its place.
**
** As of one snapshot: what writers do meanwhile lies past it, or shows only in links and slots, which are judged by what lies below it.
** Pass 1 walks the log: every record's checksum, every transaction's chain and totals, every prev.  Pass 2 walks the live records again and
** looks each up through the index; pass 3 walks every slot and asks that it leads to a record of that hash.
*/
#include "store.h"

#include <stdio.h>

typedef struct checking {
  view v;
  maph_report_fn report;
  void *arg;
  int problems, stopped;
  uint64_t records, bytes;       /* live so far */
} checking;

static int problem(checking *c, uint64_t offset, const char *sentence){
  c->problems++;
  if( c->report && c->report(c->arg, offset, sentence) ) c->stopped = 1;
  return c->stopped ? MAPH_CORRUPT : MAPH_OK;
}

/* A core call failed: what it said is the problem. */
static int problem_said(checking *c, uint64_t offset){
  char copy[1024];
  snprintf(copy, sizeof copy, "%s", maph_errmsg(NULL));
  return problem(c, offset, copy);
}

static int check_data(checking *c, const item *it, uint64_t version){
  uint64_t link = atomic_load_explicit(word_at(c->v.base, it->offset), memory_order_acquire);
  item other;
  if( it->version!=version ) problem(c, it->offset, "a record's version is not its transaction's");
  if( it->prev!=0 ){
    if( record_item(&c->v, it->prev, it->offset, &other)!=MAPH_OK ) return problem_said(c, it->offset);
    if( other.key_size!=it->key_size || memcmp(other.key, it->key, it->key_size)!=0 ) return problem(c, it->offset, "a record's prev leads to another key");
    if( atomic_load_explicit(word_at(c->v.base, it->prev), memory_order_acquire)!=it->offset ){
      return problem(c, it->prev, "a superseded record's link does not lead to the record that names it as prev");
    }
    if( other.kind==KIND_PUT ){ c->records--; c->bytes -= other.size; }
  }
  if( link!=0 && link<c->v.snapshot ){
    if( record_item(&c->v, link, c->v.snapshot, &other)!=MAPH_OK || other.prev!=it->offset ) return problem(c, it->offset, "a record's link leads to no later version of its key");
  }
  if( it->kind==KIND_PUT ){ c->records++; c->bytes += it->size; }
  if( it->kind==KIND_DELETE && it->prev==0 ) return problem(c, it->offset, "a delete of a key that was never put");
  return MAPH_OK;
}

/* The transaction whose data records are [from, end record at `at`). */
static int check_transaction(checking *c, uint64_t from, uint64_t at, const end_record *e){
  uint64_t pos = from, size;
  int rc = MAPH_OK, kind;
  item it;
  while( rc==MAPH_OK && pos<at ){
    if( record_span(&c->v, pos, at, &kind, &size)!=MAPH_OK ) return problem_said(c, pos);
    if( kind==KIND_PUT || kind==KIND_DELETE ){
      if( record_item(&c->v, pos, at, &it)!=MAPH_OK ) return problem_said(c, pos);
      rc = check_data(c, &it, e->head.version_prev & VERSION_MAX);
    }
    pos += size;
  }
  if( rc==MAPH_OK && (e->records!=c->records || e->bytes!=c->bytes) ) rc = problem(c, at, "the totals of the store are wrong here");
  return rc;
}

static int check_log(checking *c){
  uint64_t at = LOG_START, from = LOG_START, chain = 0, digest = 0, operations = 0, version = 0, back = 0, size;
  int rc = MAPH_OK, kind;
  while( rc==MAPH_OK && at<c->v.snapshot ){
    if( record_span(&c->v, at, c->v.snapshot, &kind, &size)!=MAPH_OK ) return problem_said(c, at), MAPH_CORRUPT;
    if( record_verify(&c->v, at, size)!=MAPH_OK ) rc = problem_said(c, at);
    if( rc==MAPH_OK && (kind==KIND_PUT || kind==KIND_DELETE) ){
      digest = record_digest(digest, at, load64(c->v.base+at+8));
      operations++;
    }
    if( rc==MAPH_OK && (kind==KIND_END || kind==KIND_EPOCH) ){
      end_record e;
      uint64_t e_version, e_back;
      memcpy(&e, c->v.base+at, sizeof e);
      e_version = e.head.version_prev & VERSION_MAX;
      e_back = ((e.head.version_prev>>48 & 0xFF)<<32 | e.head.back_low)*8;
      if( e.chain!=record_chain(c->v.s->salt, chain, &e, kind==KIND_END ? digest : 0) ) rc = problem(c, at, "a transaction's chained checksum does not fit");
      if( rc==MAPH_OK && e_back!=back ) rc = problem(c, at, "a transaction does not name the one before it");
      if( rc==MAPH_OK && kind==KIND_END && (e.head.operations!=operations || e_version!=version+1 || e.start!=from) ) rc = problem(c, at, "a transaction's count, version or start is wrong");
      if( rc==MAPH_OK && kind==KIND_EPOCH && at!=LOG_START && e_version<=version ) rc = problem(c, at, "an epoch's version is not above the one before");
      if( rc==MAPH_OK ) rc = check_transaction(c, from, at, &e);
      chain = e.chain;  version = e_version;  back = at;  digest = operations = 0;
      from = at+size;
    }else if( rc==MAPH_OK && (kind==KIND_PAD || kind==KIND_EXTENT) && operations==0 ){
      from = at+size;
    }
    at += size;
  }
  return rc;
}

/* Every key's newest version must be found by looking it up. */
static int check_lookups(checking *c){
  uint64_t at = LOG_START, size;
  int rc = MAPH_OK, kind;
  item it, found;
  while( rc==MAPH_OK && at<c->v.snapshot ){
    uint64_t link;
    if( record_span(&c->v, at, c->v.snapshot, &kind, &size)!=MAPH_OK ) return MAPH_CORRUPT;
    if( kind==KIND_PUT || kind==KIND_DELETE ){
      link = atomic_load_explicit(word_at(c->v.base, at), memory_order_acquire);
      if( (link==0 || link>=c->v.snapshot) && record_item(&c->v, at, c->v.snapshot, &it)==MAPH_OK ){
        maph_slice key = maph_bytes(it.key, it.key_size);
        int got = index_find(&c->v, key, index_hash(c->v.s, key), &found);
        if( got!=MAPH_OK && got!=MAPH_NOTFOUND ) rc = problem_said(c, at);
        else if( got==MAPH_NOTFOUND || found.offset!=at ) rc = problem(c, at, "the index does not lead to this record, which is its key's newest");
      }
    }
    at += size;
  }
  return rc;
}

static int check_slot(void *arg, uint64_t slot_offset, uint64_t slot){
  checking *c = arg;
  uint64_t offset = (slot & ((UINT64_C(1)<<40)-1))*8;
  item it;
  if( offset>=c->v.snapshot ) return MAPH_OK;
  if( record_item(&c->v, offset, c->v.snapshot, &it)!=MAPH_OK ) return problem(c, slot_offset, "an index slot leads to no put or delete");
  if( index_hash(c->v.s, maph_bytes(it.key, it.key_size))>>(64-HASH_BITS) != slot>>(64-HASH_BITS) ) return problem(c, slot_offset, "an index slot leads to a record of another hash");
  return MAPH_OK;
}

int maph_check(maph *m, maph_report_fn report, void *arg){
  checking c;
  store *s;
  int rc;
  memset(&c, 0, sizeof c);
  c.report = report;
  c.arg = arg;
  rc = handle_store(m, &s);
  if( rc!=MAPH_OK ) return rc;
  store_pin(s);
  rc = view_latest(s, &c.v);
  if( rc==MAPH_OK ) rc = check_log(&c);
  if( rc==MAPH_OK && !c.stopped ) rc = check_lookups(&c);
  if( rc==MAPH_OK && !c.stopped && index_walk(&c.v, check_slot, &c)!=MAPH_OK && !c.stopped ) problem_said(&c, 0);
  if( (rc==MAPH_OK || rc==MAPH_CORRUPT) && (c.problems || rc!=MAPH_OK) ){
    if( c.problems==0 ) problem_said(&c, 0);
    rc = fail(MAPH_CORRUPT, "%s: %d problem%s found; restore a backup, or run `maph recover` on it", s->path, c.problems, c.problems==1 ? " was" : "s were");
  }
  store_unpin(s);
  return rc;
}
