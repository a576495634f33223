/*
** commit.h - how a write reaches a store.
*/
#ifndef MAPH_STORE_COMMIT_H
#define MAPH_STORE_COMMIT_H

#include "store/stores.h"

enum { TAG_MAX = 32 };
/* If-Match, If-None-Match. */
typedef struct tag_list {
  bool present, any;
  int count;
  uint64_t versions[TAG_MAX];
} tag_list;
typedef struct write_request {
  maph_slice key, value;
  bool is_delete;
  int durability; /* MAPH_SYNC_* */
  tag_list if_match, if_none_match;
  maph_condition entry; /* expires, type, media type; outcome is ours */
} write_request;

bool tags_match(const tag_list *tags, bool exists, uint64_t version);
/* Do one write under its preconditions, as one transaction.  MAPH_CONFLICT: one of them failed. */
int commit_one(store *store, const write_request *write, maph_outcome *outcome);
/* Do one write whose value depends on what is there. `change` is called in the transaction, with
** the entry or NULL; it fills write->value and write->entry, or answers why not, a code or a
** negative number. */
typedef int (*commit_change)(void *arg, const maph_entry *old, write_request *write);
int commit_update(store *store, write_request *write, commit_change change, void *arg,
                  maph_outcome *outcome);
void commit_flush(void); /* what was written since the last time */
typedef struct commit_counts {
  uint64_t writes, durable_writes, flushes, flush_failures, waiting;
} commit_counts;
commit_counts commit_count(void);
/* Around a transaction made elsewhere.  False: so many writers wait that this one may not. */
bool commit_enter(store *store);
void commit_leave(store *store);
/* A transaction made elsewhere has committed. */
void commit_note(store *store, int durability, uint64_t writes);

#endif
