/*
** removal.c - DELETE /stores/NAME/keys: the entries of a range go, as a job (jobs.c).
**
** Those go that were there when the job began, which one snapshot tells; what is put meanwhile
** stays, so that the job ends however fast others write.  They go in the order of their keys, by
** transactions of BATCH, and between two of these others write.  A transaction is seen whole or not
** at all.  Whatever stops the job, the entries behind the last key that it told of are there, and
** the same request deletes them.
*/
#include <stdlib.h>
#include <unistd.h>
#include "routes/answer.h"
#include "routes/removal.h"

enum { BATCH = 1000, CROWDED_US = 10000 };

/* -------------------------------------------------------------------------------- the question */
static bool no_bound(request *request, const char *sentence) {
  reply_problem(request, 400, "no_bound", "%s", sentence);
  return false;
}

/* In a script an empty bound is a variable that was not set, and must not mean every key. */
static bool has_empty_bound(request *request) {
  static const char *const names[] = { "prefix", "from", "to" };
  maph_slice bound;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (request_query(request, names[i], &bound) && bound.size == 0) return true;
  return false;
}

bool removal_read(request *request, maph_range *range) {
  bool all = false, bounded;
  if (!query_range(request, range) || !query_flag(request, "all", &all)) return false;
  bounded = range->prefix.data || range->from.data || range->to.data;
  if (has_empty_bound(request))
    return no_bound(request, "a bound is empty; leave it out, or say all=1 to delete every key");
  if (!bounded && !all)
    return no_bound(request, "say which keys go: prefix, from or to, or all=1 for every key");
  if (bounded && all) {
    reply_problem(request, 400, "bad_all", "all=1 means every key: it goes without bounds");
    return false;
  }
  return true;
}

/* ------------------------------------------------------------------------------------ the work */
typedef struct removal {
  store *store;
  maph_range_cursor *cursor;
  int durability;
  removal_told told;
  void *arg;
  uint64_t deleted, total;
  maph_slice last;
  size_t count; /* of those found */
  struct {
    maph_slice key;
    uint64_t version;
  } found[BATCH];
} removal;

/* The next BATCH of them, before any lock is taken.  NOTFOUND: there are none. */
static int find_batch(removal *removal) {
  maph_entry entry;
  int rc = MAPH_OK;
  removal->count = 0;
  while (removal->count < BATCH && (rc = maph_range_next(removal->cursor, &entry)) == MAPH_OK) {
    removal->found[removal->count].key = entry.key;
    removal->found[removal->count++].version = entry.version;
  }
  return rc == MAPH_NOTFOUND && removal->count > 0 ? MAPH_OK : rc;
}

/* One that was put again, or is gone, is passed over. */
static int delete_found(removal *removal, maph_txn *txn, uint64_t *deleted) {
  maph_condition condition = { .when = MAPH_IF_VERSION };
  int rc = MAPH_OK;
  for (size_t i = 0; rc == MAPH_OK && i < removal->count; i++) {
    condition.version = removal->found[i].version;
    rc = maph_txn_delete_if(txn, removal->found[i].key, &condition);
    if (rc == MAPH_OK)
      (*deleted)++;
    else if (rc == MAPH_NOTFOUND || rc == MAPH_CONFLICT)
      rc = MAPH_OK;
  }
  return rc;
}

static int delete_batch(removal *removal) {
  maph_txn *txn = NULL;
  uint64_t deleted = 0;
  int rc = maph_txn_begin(removal->store->m, removal->durability, &txn);
  if (rc != MAPH_OK) return rc;
  rc = delete_found(removal, txn, &deleted);
  if (rc == MAPH_OK)
    rc = maph_txn_commit(txn);
  else
    maph_txn_abort(txn);
  if (rc != MAPH_OK) return rc;
  removal->deleted += deleted;
  removal->last = removal->found[removal->count - 1].key;
  commit_note(removal->store, removal->durability, deleted);
  return MAPH_OK;
}

static bool is_stopped(removal *removal) {
  return removal->told(removal->arg, removal->deleted, removal->total, removal->last) != 0;
}

/* A job can wait where a request is refused: until fewer write. */
static int take_turn(removal *removal) {
  while (!commit_enter(removal->store)) {
    if (is_stopped(removal)) return MAPH_CANCELLED;
    usleep(CROWDED_US);
  }
  return MAPH_OK;
}

static int delete_all(removal *removal) {
  int rc = MAPH_OK;
  while (rc == MAPH_OK) {
    if (is_stopped(removal)) return MAPH_CANCELLED;
    rc = find_batch(removal);
    if (rc == MAPH_OK) rc = take_turn(removal);
    if (rc != MAPH_OK) break;
    rc = delete_batch(removal);
    commit_leave(removal->store);
  }
  return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
}

int removal_run(store *store, const maph_range *range, int durability, removal_told told,
                void *arg) {
  removal *removal = calloc(1, sizeof *removal);
  int rc;
  if (removal == NULL) return MAPH_NOMEM;
  removal->store = store;
  removal->durability = durability;
  removal->told = told;
  removal->arg = arg;
  rc = maph_range_open(store->m, NULL, range, &removal->cursor);
  if (rc == MAPH_OK) {
    removal->total = maph_range_estimate(removal->cursor);
    rc = delete_all(removal);
  }
  maph_range_close(removal->cursor);
  free(removal);
  return rc;
}
