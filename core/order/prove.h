/*
** prove.h - is the order of keys what the log says?
*/
#ifndef MAPH_PROVE_H
#define MAPH_PROVE_H

#include "order/run.h"

/* Check that each node's checksum fits, that each entry leads to a whole first record of its key in
** its run's stretch of the log, and that each key is above the one before.  *entries: how many lead
** below the view's end.  If the log has as many new keys there, each key has its one entry.  tell
** may stop it.  CORRUPT, or what tell says */
int order_prove(const view *view, const run_list *list, int (*tell)(void *arg, uint64_t done),
                void *arg, uint64_t *entries);

#endif
