/*
** txn.h - a transaction: its records in the log past `end`, and the keys that they change.
*/
#ifndef MAPH_TXN_H
#define MAPH_TXN_H

#include "file/record.h"
#include "file/store.h"
#include "index/index.h"

typedef struct savepoint {
  int n;
  uint64_t position, operations, records, bytes, digest;
} savepoint;
enum { TXN_OPEN = 1, TXN_PREPARED = 2 };
struct maph_txn {
  uint32_t magic;
  int state, durability, decided, visible, failed, copying;
  maph *handle;
  store *s;
  uint64_t start, position; /* its records: [start, position) */
  uint64_t version, operations, records, bytes, digest;
  tip before, after; /* what it continues, and what it is once decided */
  /* one a key, in order of first use until index_reserve sorts them */
  pending *pending;
  /* upper half of the hash, 1 + place in pending; NULL while they are few */
  uint64_t *table;
  size_t pendings, pending_room, table_room;
  savepoint *savepoints;
  size_t savepoint_count, savepoint_room;
  struct maph_snapshot *snapshots;
  struct maph_txn *next;                      /* decided, not yet visible */
  struct maph_txn *next_open, *previous_open; /* of the handle */
};
/* empty, to start at s->space_end; with the turn */
struct maph_txn *txn_new(store *s);
void txn_free(struct maph_txn *t);
void txn_drop_spare(store *s); /* before the store is freed */
/* redo: note a record that is in the log already */
int txn_adopt(struct maph_txn *t, const item *it);
/* the same operation; NOTFOUND: a delete of what is not there */
int txn_copy(struct maph_txn *t, const item *it);
/* delete an expired entry; NOTFOUND: it is not (any more) */
int txn_sweep(struct maph_txn *t, maph_slice key, uint64_t now);
/* as it stood at that position; put or delete */
int txn_find(struct maph_txn *t, uint64_t position, maph_slice key, item *it);
/* those that saw past `kept` are rolled back */
void txn_detach_snapshots(struct maph_txn *t, uint64_t kept);

#endif
