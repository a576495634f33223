/*
** txn.h - a transaction on a store: its records in the log past `end`, and the keys that they
** change.  All calls are made in a session.
*/
#ifndef MAPH_TXN_H
#define MAPH_TXN_H

#include "file/layout.h"
#include "file/record.h"
#include "file/store.h"
#include "index/changed.h"
#include "writer/late.h"

typedef struct savepoint {
  int n;
  uint64_t position, version, operations, records, bytes, digest;
} savepoint;
enum { TXN_OPEN = 1, TXN_PREPARED = 2 };
enum { SETTLED_VISIBLE = 1, SETTLED_FAILED = 2 };
enum { TXN_FEW = 8 }; /* keys that need no memory of their own, and no table */

typedef struct txn {
  changed_keys changed; /* first: a list of decided transactions is a list of these */
  store *store;
  int state, durability, decided, failed;
  _Atomic int settled;      /* SETTLED_*, by whoever led its group: group.c */
  int puts;                 /* something was put, so it is not for making room */
  int rolled_back;          /* some changed keys may be none any more */
  uint64_t start, position; /* its records: [start, position) */
  /* what lies before stays: a prepare that was taken back left index pieces there */
  uint64_t floor;
  /* of what is written next, and of the commit; 0: versions are given, and none was said yet */
  uint64_t version;
  uint64_t operations, records, bytes, digest;
  tip before, after; /* what it continues, and what it is once decided */
  /* upper half of the hash, 1 + place among the changed keys; NULL while they are few */
  uint64_t *table;
  size_t changed_room, table_room;
  late late; /* its last records, if they are not in the log yet */
  savepoint *savepoints;
  size_t savepoint_count, savepoint_room;
  pending few[TXN_FEW];
} txn;

/* empty, to begin at store->space_end.  It may not be moved */
void txn_start(txn *txn, store *store);
void txn_clear(txn *txn); /* frees what it allocated; the session is ended apart */

/* What is written from now on, and the commit, have that version; as maph_txn_at.  CONFLICT MISUSE
*/
int txn_at(txn *txn, uint64_t version);
/* Nothing is to be written for it. */
static inline int txn_is_empty(const txn *txn) {
  return txn->operations == 0 && (!txn->store->given || txn->version == 0);
}

/* condition: NULL, or as in maph_put_if. NOTFOUND: a delete of what is not there. EXISTS CONFLICT
** TOOBIG MISUSE READONLY FULL NOMEM IOERR CORRUPT */
int txn_write(txn *txn, int kind, maph_slice key, maph_slice value,
              const maph_condition *condition);
/* the same operation as that record; NOTFOUND: a delete of what is not there */
int txn_copy(txn *txn, const item *it);
/* delete an expired entry; NOTFOUND: it is not (any more) */
int txn_sweep(txn *txn, maph_slice key, uint64_t now);
/* redo: note a record that is in the log already */
int txn_adopt(txn *txn, const item *it);

/* as it stood at that position; put or delete */
int txn_find(txn *txn, uint64_t position, maph_slice key, item *it);
void txn_view(txn *txn, view *view);         /* of its own records too */
void txn_prefetch(txn *txn, maph_slice key); /* what a lookup of it touches first */

/* Of what is to be put, without a transaction: MISUSE TOOBIG; and as the log takes it. */
int txn_check_sizes(maph_slice key, maph_slice value, const maph_condition *condition);
void txn_fill_put(put_parts *put, maph_slice key, maph_slice value, const maph_condition *condition,
                  uint64_t version);

int txn_savepoint(txn *txn, int n); /* as maph_txn_savepoint */
void txn_release(txn *txn, int n);  /* as maph_txn_release */
/* as maph_txn_rollback_to; what saw the log past *kept saw what is undone */
int txn_rollback_to(txn *txn, int n, uint64_t *kept);

#endif
