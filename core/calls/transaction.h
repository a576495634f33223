/*
** transaction.h - what `maph_txn` is: a transaction on a store, begun through a handle.
*/
#ifndef MAPH_TRANSACTION_H
#define MAPH_TRANSACTION_H

#include "calls/handle.h"
#include "writer/txn.h"

struct maph_txn {
  uint32_t magic;
  maph *handle;
  txn txn;
  struct maph_snapshot *snapshots;            /* those that show it */
  struct maph_txn *next_open, *previous_open; /* of the handle */
};

/* A session in the store that the handle writes to now, and an empty transaction in it.  If the
** store was replaced meanwhile, it is the one that is there now.  MISUSE READONLY BUSY FULL ... */
int transaction_start(maph *m, int durability, txn *t);

#endif
