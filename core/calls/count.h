/*
** count.h - counters: what maph_increment and maph_txn_increment have in common.
*/
#ifndef MAPH_COUNT_H
#define MAPH_COUNT_H

#include "writer/txn.h"

/* As maph_increment, in an open transaction. */
int count_up(txn *txn, int verify, maph_slice key, int64_t by, const maph_condition *condition,
             int64_t *sum);

#endif
