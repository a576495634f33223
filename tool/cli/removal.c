/*
** removal.c - del of a range: the entries of --prefix, --from and --to go, or with --all every one.
**
** Those go that were there when the command began, in the order of their keys, by transactions of
** --batch; what others put meanwhile stays.  Told to stop, what was committed until then is gone,
** and the same command deletes the rest.
*/
#include "cli.h"

typedef struct removal {
  const arguments *args;
  maph *m;
  maph_range_cursor *cursor;
  uint64_t deleted, total;
} removal;

/* An empty bound is a variable of a script that was not set, and must not mean every key. */
static bool names_what(const arguments *args) {
  const char *const bounds[][2] = { { "prefix", args->prefix },
                                    { "from", args->from },
                                    { "to", args->to } };
  for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
    if (bounds[i][1] == NULL || bounds[i][1][0] != 0) continue;
    complain("--%s is empty; leave it out, or say --all to delete every key", bounds[i][0]);
    return false;
  }
  if (args->all && source_bounded(args))
    complain("--all means every key: it goes without --prefix, --from and --to");
  else if (args->operands > 1)
    complain("keys are given, or a range of them, not both");
  else if (args->if_version != NOT_GIVEN)
    complain("--if-version goes with keys, not with a range of them");
  else
    return true;
  return false;
}

/* Up to --batch of them; NOTFOUND: there are no more.  One that was put again is passed over. */
static int delete_some(removal *removal, maph_txn *txn, uint64_t *deleted) {
  maph_condition condition = { .when = MAPH_IF_VERSION };
  uint64_t most = removal->args->atomic ? UINT64_MAX : removal->args->batch;
  maph_entry entry;
  int rc = MAPH_OK;
  for (uint64_t n = 0; rc == MAPH_OK && n < most; n++) {
    if (stop_asked()) return MAPH_CANCELLED;
    rc = maph_range_next(removal->cursor, &entry);
    if (rc != MAPH_OK) break;
    condition.version = entry.version;
    rc = maph_txn_delete_if(txn, entry.key, &condition);
    if (rc == MAPH_OK) progress_show(removal->deleted + ++*deleted, removal->total, NUMBER);
    if (rc == MAPH_NOTFOUND || rc == MAPH_CONFLICT) rc = MAPH_OK;
  }
  return rc;
}

/* One transaction; *more: there may be another. */
static int delete_batch(removal *removal, bool *more) {
  maph_txn *txn = store_begin(removal->args, removal->m, removal->args->operand[0]);
  uint64_t deleted = 0;
  int rc;
  *more = false;
  if (txn == NULL) return FAILED;
  rc = delete_some(removal, txn, &deleted);
  *more = rc == MAPH_OK;
  if (rc == MAPH_OK || rc == MAPH_NOTFOUND)
    rc = store_commit(txn);
  else
    maph_txn_abort(txn);
  if (rc == MAPH_OK) removal->deleted += deleted;
  return rc == MAPH_OK ? DONE : store_failed(removal->args->operand[0], rc);
}

static int answer(const removal *removal) {
  char keys[40];
  if (removal->args->json)
    output_format(&standard_output, "{\"deleted\":%llu}\n", (unsigned long long)removal->deleted);
  else if (!removal->args->quiet)
    output_format(&standard_output, "deleted %s\n", count_of(removal->deleted, "key", keys));
  return output_end(&standard_output) ? DONE : FAILED;
}

static int delete_all(removal *removal) {
  bool more = true;
  int status = DONE;
  char keys[40];
  removal->total = maph_range_estimate(removal->cursor);
  progress_start(removal->args, "delete");
  while (status == DONE && more) status = delete_batch(removal, &more);
  progress_end();
  if (status == DONE) return answer(removal);
  if (removal->deleted)
    note(removal->args, "%s were deleted until then; the same command deletes the rest",
         count_of(removal->deleted, "key", keys));
  return status;
}

int delete_range(arguments *args) {
  const char *path = args->operand[0];
  removal removal = { .args = args };
  maph_range range;
  int rc, status;
  if (!names_what(args) || !source_range(args, &range)
      || (removal.m = store_open(args, path, MAPH_RDWR)) == NULL)
    return FAILED;
  rc = maph_range_open(removal.m, NULL, &range, &removal.cursor);
  status = rc == MAPH_OK ? delete_all(&removal) : store_failed(path, rc);
  maph_range_close(removal.cursor);
  return store_close(removal.m, path, status);
}
