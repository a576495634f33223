/*
** trust.h - may the live words and the index be believed, and who may recover?
*/
#ifndef MAPH_TRUST_H
#define MAPH_TRUST_H

#include "file/store.h"
#include "writer/patience.h"

/* For reading.  RECOVER: not before a writer has recovered it.  CANCELLED CORRUPT */
int trust_reader(store *store, int timeout_ms);
/* For writing, before anything is written.  *begin 1: the caller must begin a session first, which
** finishes what a dead writer left, or recovers the store.  0: this process vouches for the words
** from now on.  BUSY CANCELLED CANTOPEN CORRUPT */
int trust_writer(store *store, const lock_patience *patience, int *begin);
/* The same, in that session: believed or recovered, and vouched for.  recover: recover_in_place */
int trust_begin(store *store, const lock_patience *patience, int (*recover)(struct store *store));
/* The process writes no more. */
void trust_leave(store *store);
int trust_living(const store *store); /* does another process vouch for the words? */
int trust_words(store *store);        /* may they be believed just now? */
/* Store where the file is (boot, place, mount) and set its hint, for later openers: before `clean`
** becomes dirty. */
void trust_mark(store *store);
void trust_unmark(store *store); /* it is marked clean */

#endif
