/*
** follow.h - whoever waits for a store's next commit sleeps until there is one.
*/
#ifndef MAPH_STORE_FOLLOW_H
#define MAPH_STORE_FOLLOW_H

#include "store/stores.h"

struct followed;
typedef struct follower {
  int bell; /* can be read once there was a commit, or another reason to look; -1: it has none */
  struct followed *of; /* the store that it follows; NULL: none */
  struct follower *next;
} follower;

enum { FOLLOW_SLICE_MS = 200 }; /* whoever has no bell, or follows nothing, sleeps no longer */

void follower_make(follower *follower);
void follower_free(follower *follower);
/* From now on the bell rings for that store; the caller holds it, and looks once more before it
** sleeps.  False: no thread or memory. */
bool follow_begin(follower *follower, store *store);
void follow_end(follower *follower);
/* The bell is still until the next ring; then look. */
void follow_quiet(follower *follower);
/* Let all look, whatever they follow: stores were retired, or tokens changed. */
void follow_ring_all(void);
/* End the threads; nobody follows any more. */
void follow_stop(void);

#endif
