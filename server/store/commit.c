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
static bool as_condition(const write_request *w, maph_condition *c) {
  c->when = MAPH_ALWAYS;
  if (!w->if_match.present && !w->if_none_match.present) return true;
  if (w->if_match.present && w->if_none_match.present) return false;
  if (w->if_match.present && w->if_match.any) {
    c->when = MAPH_IF_PRESENT;
    return true;
  }
  if (w->if_match.present && w->if_match.count == 1) {
    c->when = MAPH_IF_VERSION;
    c->version = w->if_match.versions[0];
    return true;
  }
  if (w->if_none_match.present && w->if_none_match.any) {
    c->when = MAPH_IF_ABSENT;
    return true;
  }
  return false;
}

/* Preconditions that only we understand, judged inside the transaction. */
static int judge(maph_txn *t, const write_request *w, maph_outcome *outcome) {
  maph_entry e;
  int rc = maph_txn_get_entry(t, w->key, &e);
  bool exists = rc == MAPH_OK;
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  outcome->existed = exists;
  outcome->version = exists ? e.version : 0;
  if (w->if_match.present && !tags_match(&w->if_match, exists, e.version)) return MAPH_CONFLICT;
  if (w->if_none_match.present && tags_match(&w->if_none_match, exists, e.version))
    return MAPH_CONFLICT;
  return MAPH_OK;
}

static int in_transaction(store *s, const write_request *w, const maph_condition *c,
                          maph_outcome *outcome) {
  maph_txn *t = NULL;
  int rc = maph_txn_begin(s->m, w->durability, &t);
  if (rc != MAPH_OK) return rc;
  rc = judge(t, w, outcome);
  if (rc == MAPH_OK)
    rc = w->is_delete ? maph_txn_delete_if(t, w->key, c) : maph_txn_put_if(t, w->key, w->value, c);
  if (rc != MAPH_OK) {
    maph_txn_abort(t);
    return rc;
  }
  outcome->version = maph_txn_version(t);
  return maph_txn_commit(t);
}

static int change_in(maph_txn *t, write_request *w, commit_change change, void *arg,
                     maph_outcome *outcome) {
  maph_entry e;
  int rc = judge(t, w, outcome);
  if (rc != MAPH_OK) return rc;
  rc = maph_txn_get_entry(t, w->key, &e);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  if ((rc = change(arg, rc == MAPH_OK ? &e : NULL, w)) != MAPH_OK) return rc;
  rc = maph_txn_put_if(t, w->key, w->value, &w->entry);
  if (rc == MAPH_OK) outcome->version = maph_txn_version(t);
  return rc;
}

int commit_update(store *s, write_request *w, commit_change change, void *arg,
                  maph_outcome *outcome) {
  maph_txn *t = NULL;
  int rc;
  memset(outcome, 0, sizeof *outcome);
  if (!commit_enter(s)) return STORE_CROWDED;
  rc = maph_txn_begin(s->m, w->durability, &t);
  if (rc == MAPH_OK) {
    rc = change_in(t, w, change, arg, outcome);
    if (rc == MAPH_OK)
      rc = maph_txn_commit(t);
    else
      maph_txn_abort(t);
  }
  commit_leave(s);
  if (rc == MAPH_OK) commit_note(s, w->durability, 1);
  return rc;
}

void commit_note(store *s, int durability, uint64_t writes) {
  if (durability == MAPH_SYNC_DEFAULT)
    durability = durability_from_name(option.sync, strlen(option.sync));
  if (durability == MAPH_SYNC_FULL)
    atomic_fetch_add(&durable_made, writes);
  else
    atomic_store(&s->written, true);
  atomic_fetch_add(&writes_made, writes);
}

bool commit_enter(store *s) { return waits_enter(WAIT_WRITE, &s->waiting); }
void commit_leave(store *s) { waits_leave(WAIT_WRITE, &s->waiting); }

int commit_one(store *s, const write_request *w, maph_outcome *outcome) {
  maph_condition c = w->entry;
  bool simple = as_condition(w, &c);
  int rc;
  memset(outcome, 0, sizeof *outcome);
  c.outcome = outcome;
  if (!commit_enter(s)) return STORE_CROWDED;
  c.durability = w->durability;
  if (!simple)
    rc = in_transaction(s, w, &c, outcome);
  else
    rc = w->is_delete ? maph_delete_if(s->m, w->key, &c) : maph_put_if(s->m, w->key, w->value, &c);
  commit_leave(s);
  if (rc == MAPH_OK) commit_note(s, w->durability, 1);
  if (c.when == MAPH_IF_ABSENT && rc == MAPH_EXISTS) rc = MAPH_CONFLICT;
  if (c.when == MAPH_IF_PRESENT && rc == MAPH_NOTFOUND) rc = MAPH_CONFLICT;
  return rc;
}

/* --------------------------------------------------------------------------- background flushes */
void commit_flush(void) {
  for (store *s = store_next(NULL); s; s = store_next(s)) {
    int rc;
    if (!atomic_exchange(&s->written, false)) continue;
    rc = maph_sync(s->m);
    atomic_fetch_add(&flushes_made, 1);
    if (rc == MAPH_OK) continue;
    atomic_fetch_add(&flushes_failed, 1);
    if (!atomic_exchange(&s->sync_failed, true))
      log_line("store %s: %s", s->name, maph_errmsg(s->m));
  }
}

commit_counts commit_count(void) {
  commit_counts n = { atomic_load(&writes_made), atomic_load(&durable_made),
                      atomic_load(&flushes_made), atomic_load(&flushes_failed),
                      waits_count(WAIT_WRITE) };
  return n;
}
