/*
** commit.c - how a write reaches a store, and how what was written reaches the disk.
**
** A write is one transaction.  Preconditions that the core knows (absent, present, at one version)
** are judged by it; others (several tags, or both headers) by reading inside a transaction: in both
** cases under the writer's lock, so of two clients that race with the same If-Match exactly one
** wins.
**
** At full durability the core lets the next transaction in while one is being flushed, and one
** flush serves all that wait: many workers that commit at once share flushes with no queue of our
** own.
**
** Durability normal means on disk within about a second: upkeep.c has each store flushed that was
** written since it last looked.  A failed flush poisons the store for writing (the core sees to
** that); it is logged once.
*/
#include <stdatomic.h>
#include <string.h>
#include "base/log.h"
#include "base/options.h"
#include "base/waits.h"
#include "store/commit.h"

static atomic_uint_fast64_t writes_made, durable_made, flushes_made, flushes_failed;

bool tags_match(const tag_list *tags, bool exists, uint64_t version) {
  if (!exists) return false;
  if (tags->any) return true;
  for (int i = 0; i < tags->count; i++)
    if (tags->versions[i] == version) return true;
  return false;
}

/* The core's condition that says the same as the headers; false: it has none. */
static bool as_condition(const write_request *write, maph_condition *condition) {
  condition->when = MAPH_ALWAYS;
  if (!write->if_match.present && !write->if_none_match.present) return true;
  if (write->if_match.present && write->if_none_match.present) return false;
  if (write->if_match.present && write->if_match.any) {
    condition->when = MAPH_IF_PRESENT;
    return true;
  }
  if (write->if_match.present && write->if_match.count == 1) {
    condition->when = MAPH_IF_VERSION;
    condition->version = write->if_match.versions[0];
    return true;
  }
  if (write->if_none_match.present && write->if_none_match.any) {
    condition->when = MAPH_IF_ABSENT;
    return true;
  }
  return false;
}

/* Preconditions that only we understand, judged inside the transaction. */
static int judge(maph_txn *txn, const write_request *write, maph_outcome *outcome) {
  maph_entry entry;
  int rc = maph_txn_get_entry(txn, write->key, &entry);
  bool exists = rc == MAPH_OK;
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  outcome->existed = exists;
  outcome->version = exists ? entry.version : 0;
  if (write->if_match.present && !tags_match(&write->if_match, exists, entry.version))
    return MAPH_CONFLICT;
  if (write->if_none_match.present && tags_match(&write->if_none_match, exists, entry.version))
    return MAPH_CONFLICT;
  return MAPH_OK;
}

static int in_transaction(store *store, const write_request *write, const maph_condition *condition,
                          maph_outcome *outcome) {
  maph_txn *txn = NULL;
  int rc = maph_txn_begin(store->m, write->durability, &txn);
  if (rc != MAPH_OK) return rc;
  rc = judge(txn, write, outcome);
  if (rc == MAPH_OK)
    rc = write->is_delete ? maph_txn_delete_if(txn, write->key, condition)
                          : maph_txn_put_if(txn, write->key, write->value, condition);
  if (rc != MAPH_OK) {
    maph_txn_abort(txn);
    return rc;
  }
  outcome->version = maph_txn_version(txn);
  return maph_txn_commit(txn);
}

static int change_in(maph_txn *txn, write_request *write, commit_change change, void *arg,
                     maph_outcome *outcome) {
  maph_entry entry;
  int rc = judge(txn, write, outcome);
  if (rc != MAPH_OK) return rc;
  rc = maph_txn_get_entry(txn, write->key, &entry);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  if ((rc = change(arg, rc == MAPH_OK ? &entry : NULL, write)) != MAPH_OK) return rc;
  rc = maph_txn_put_if(txn, write->key, write->value, &write->entry);
  if (rc == MAPH_OK) outcome->version = maph_txn_version(txn);
  return rc;
}

int commit_update(store *store, write_request *write, commit_change change, void *arg,
                  maph_outcome *outcome) {
  maph_txn *txn = NULL;
  int rc;
  memset(outcome, 0, sizeof *outcome);
  if (!commit_enter(store)) return STORE_CROWDED;
  rc = maph_txn_begin(store->m, write->durability, &txn);
  if (rc == MAPH_OK) {
    rc = change_in(txn, write, change, arg, outcome);
    if (rc == MAPH_OK)
      rc = maph_txn_commit(txn);
    else
      maph_txn_abort(txn);
  }
  commit_leave(store);
  if (rc == MAPH_OK) commit_note(store, write->durability, 1);
  return rc;
}

void commit_note(store *store, int durability, uint64_t writes) {
  if (durability == MAPH_SYNC_DEFAULT)
    durability = durability_from_name(option.sync, strlen(option.sync));
  if (durability == MAPH_SYNC_FULL)
    atomic_fetch_add(&durable_made, writes);
  else
    atomic_store(&store->written, true);
  atomic_fetch_add(&writes_made, writes);
}

bool commit_enter(store *store) { return waits_enter(WAIT_WRITE, &store->waiting); }
void commit_leave(store *store) { waits_leave(WAIT_WRITE, &store->waiting); }

int commit_one(store *store, const write_request *write, maph_outcome *outcome) {
  maph_condition condition = write->entry;
  bool simple = as_condition(write, &condition);
  int rc;
  memset(outcome, 0, sizeof *outcome);
  condition.outcome = outcome;
  if (!commit_enter(store)) return STORE_CROWDED;
  condition.durability = write->durability;
  if (!simple)
    rc = in_transaction(store, write, &condition, outcome);
  else
    rc = write->is_delete ? maph_delete_if(store->m, write->key, &condition)
                          : maph_put_if(store->m, write->key, write->value, &condition);
  commit_leave(store);
  if (rc == MAPH_OK) commit_note(store, write->durability, 1);
  if (condition.when == MAPH_IF_ABSENT && rc == MAPH_EXISTS) rc = MAPH_CONFLICT;
  if (condition.when == MAPH_IF_PRESENT && rc == MAPH_NOTFOUND) rc = MAPH_CONFLICT;
  return rc;
}

/* --------------------------------------------------------------------------- background flushes */
void commit_flush(void) {
  for (store *store = store_next(NULL); store; store = store_next(store)) {
    int rc;
    if (!atomic_exchange(&store->written, false)) continue;
    rc = maph_sync(store->m);
    atomic_fetch_add(&flushes_made, 1);
    if (rc == MAPH_OK) continue;
    atomic_fetch_add(&flushes_failed, 1);
    if (!atomic_exchange(&store->sync_failed, true))
      log_line("store %s: %s", store->name, maph_errmsg(store->m));
  }
}

commit_counts commit_count(void) {
  commit_counts counts = { atomic_load(&writes_made), atomic_load(&durable_made),
                           atomic_load(&flushes_made), atomic_load(&flushes_failed),
                           waits_count(WAIT_WRITE) };
  return counts;
}
