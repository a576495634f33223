/*
** transaction.c - the public transactions: a transaction on a store (writer/txn.c), its handle, and
** the snapshots that show it while it is open.
*/
#include "calls/count.h"
#include "calls/handle.h"
#include "calls/registry.h"
#include "calls/rewrite.h"
#include "file/record.h"
#include "file/store.h"
#include "index/lookup.h"
#include "writer/commit.h"
#include "writer/decided.h"
#include "writer/session.h"
#include "writer/txn.h"

/* -------------------------------------------------------------------------------- begin and end */

/* Those that saw past `kept` are rolled back. */
static void detach_snapshots(struct maph_txn *txn, uint64_t kept) {
  struct maph_snapshot *snapshot;
  for (snapshot = txn->snapshots; snapshot != NULL; snapshot = snapshot->next)
    if (snapshot->snapshot > kept) snapshot->rolled_back = 1;
}

static void end_snapshots(struct maph_txn *txn, uint64_t kept) {
  struct maph_snapshot *snapshot, *next;
  detach_snapshots(txn, kept);
  for (snapshot = txn->snapshots; snapshot != NULL; snapshot = next) {
    next = snapshot->next;
    snapshot->within = NULL;
    snapshot->next = NULL;
  }
  txn->snapshots = NULL;
}

static void remember(maph *m, struct maph_txn *txn) {
  pthread_mutex_lock(&m->mutex);
  txn->next_open = m->open_txns;
  if (txn->next_open) txn->next_open->previous_open = txn;
  m->open_txns = txn;
  pthread_mutex_unlock(&m->mutex);
}

static void forget(struct maph_txn *txn) {
  maph *m = txn->handle;
  pthread_mutex_lock(&m->mutex);
  if (txn->previous_open)
    txn->previous_open->next_open = txn->next_open;
  else
    m->open_txns = txn->next_open;
  if (txn->next_open) txn->next_open->previous_open = txn->previous_open;
  pthread_mutex_unlock(&m->mutex);
}

static int check(maph_txn *txn, int writing) {
  if (txn == NULL || txn->magic != TXN_MAGIC)
    return fail(MAPH_MISUSE, "this transaction has ended, or never began");
  if (txn->handle->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a transaction does not cross fork()", txn->txn.store->path);
  if (writing && (txn->txn.state != TXN_OPEN || txn->txn.failed))
    return fail(
        MAPH_MISUSE,
        "%s: the transaction is prepared, or failed to prepare: commit, unprepare or abort it",
        txn->txn.store->path);
  return MAPH_OK;
}

int maph_txn_begin(maph *m, int durability, maph_txn **transaction) {
  maph_txn *txn;
  int rc;
  if (transaction == NULL) return fail(MAPH_MISUSE, "maph_txn_begin: no place for the transaction");
  *transaction = NULL;
  txn = os_alloc(sizeof *txn);
  if (txn == NULL) return handle_failed(m, MAPH_NOMEM);
  rc = handle_begin_many(m, durability, &txn->txn);
  if (rc != MAPH_OK) {
    os_free(txn);
    return handle_failed(m, rc);
  }
  txn->magic = TXN_MAGIC;
  txn->handle = m;
  remember(m, txn);
  *transaction = txn;
  return MAPH_OK;
}

static void free_ended(maph_txn *txn) {
  txn->magic = 0;
  txn_clear(&txn->txn);
  os_free(txn);
}

int maph_txn_prepare(maph_txn *txn) {
  int rc = check(txn, 1);
  if (rc != MAPH_OK) return rc;
  rc = session_still_reached(&txn->txn);
  if (rc == MAPH_OK) rc = commit_reserve(&txn->txn);
  if (rc == MAPH_OK && txn->txn.durability == MAPH_SYNC_FULL) rc = commit_decide_early(&txn->txn);
  if (rc == MAPH_OK) return rc;
  txn->txn.failed = 1;
  return handle_failed(txn->handle, rc);
}

int maph_txn_unprepare(maph_txn *txn) {
  int rc = check(txn, 0);
  if (rc != MAPH_OK || (txn->txn.state == TXN_OPEN && !txn->txn.failed)) return rc;
  if (txn->txn.failed)
    return fail(MAPH_MISUSE, "%s: the transaction failed to prepare and can only be aborted",
                txn->txn.store->path);
  return commit_reopen(&txn->txn);
}

/* What was prepared at full is decided, on the disk, and SQL has said so.  Only another file that
** is seen in the store's place takes that back: a look that fails says nothing. */
static int is_reached(const struct txn *txn) {
  sentence before;
  int rc;
  if (txn->state == TXN_OPEN) return session_still_reached(txn);
  error_keep(&before);
  rc = session_still_reached(txn);
  return error_done(rc == MAPH_CANTOPEN ? rc : MAPH_OK, &before, txn->store->path);
}

int maph_txn_commit(maph_txn *txn) {
  int rc = check(txn, 0);
  maph *m;
  if (rc != MAPH_OK) return rc;
  m = txn->handle;
  if (!txn->txn.failed && !commit_joins_group(&txn->txn)) rc = is_reached(&txn->txn);
  if (rc == MAPH_OK && txn->txn.state == TXN_OPEN) rc = commit_reserve(&txn->txn);
  forget(txn);
  if (rc == MAPH_OK && !txn->txn.failed) {
    rc = session_commit(&txn->txn);
    end_snapshots(txn, rc == MAPH_OK ? UINT64_MAX : txn->txn.start);
  } else {
    if (rc == MAPH_OK)
      rc = fail(MAPH_MISUSE, "%s: the transaction failed to prepare and can only be aborted",
                txn->txn.store->path);
    end_snapshots(txn, txn->txn.start);
    session_give_up(&txn->txn);
  }
  free_ended(txn);
  if (rc != MAPH_OK) return handle_failed(m, rc);
  rewrite_if_due(m);
  return rc;
}

int maph_txn_abort(maph_txn *txn) {
  int rc;
  if (txn == NULL) return MAPH_OK;
  rc = check(txn, 0);
  if (rc != MAPH_OK) return rc;
  forget(txn);
  end_snapshots(txn, txn->txn.start);
  rc = session_abort(&txn->txn);
  free_ended(txn);
  return rc;
}

int maph_txn_at(maph_txn *txn, uint64_t version) {
  int rc = check(txn, 1);
  return rc == MAPH_OK ? txn_at(&txn->txn, version) : rc;
}

uint64_t maph_txn_version(maph_txn *txn) {
  return check(txn, 0) == MAPH_OK ? version_shown(txn->txn.store, txn->txn.version) : 0;
}
uint64_t maph_txn_operations(maph_txn *txn) {
  return check(txn, 0) == MAPH_OK ? txn->txn.operations : 0;
}

/* -------------------------------------------------------------------------------------- reading */

static int live(struct maph_txn *txn, maph_slice key, item *it) {
  int rc = view_check_key(key);
  view view;
  if (rc == MAPH_OK) rc = txn_find(&txn->txn, UINT64_MAX, key, it);
  if (rc != MAPH_OK) return rc;
  if (it->kind != KIND_PUT || item_expired(it, 0)) return MAPH_NOTFOUND;
  if (!txn->handle->options.verify) return MAPH_OK;
  txn_view(&txn->txn, &view);
  return record_verify(&view, it->offset, it->size);
}

int maph_txn_get(maph_txn *txn, maph_slice key, maph_slice *value) {
  maph_entry entry;
  int rc;
  if (value == NULL) return fail(MAPH_MISUSE, "maph_txn_get: no place for the value");
  rc = maph_txn_get_entry(txn, key, &entry);
  *value = entry.value;
  return rc;
}

int maph_txn_get_entry(maph_txn *txn, maph_slice key, maph_entry *entry) {
  item it;
  int rc;
  if (entry == NULL) return fail(MAPH_MISUSE, "maph_txn_get_entry: no place for the entry");
  memset(entry, 0, sizeof *entry);
  rc = check(txn, 0);
  if (rc == MAPH_OK) rc = live(txn, key, &it);
  if (rc == MAPH_OK) handle_lend(txn->handle, txn->txn.store);
  if (rc == MAPH_OK) record_entry(txn->txn.store, &it, entry);
  return rc == MAPH_NOTFOUND ? fail(rc, "%s: no such key", txn->txn.store->path) : rc;
}

int maph_txn_snapshot(maph_txn *txn, maph_snapshot **snapshot) {
  maph_snapshot *x;
  int rc;
  if (snapshot == NULL) return fail(MAPH_MISUSE, "maph_txn_snapshot: no place for the snapshot");
  *snapshot = NULL;
  rc = check(txn, 0);
  if (rc == MAPH_OK) rc = decided_wait(txn->txn.store);
  if (rc == MAPH_OK) rc = late_write(&txn->txn.late, txn->txn.store);
  if (rc != MAPH_OK) return rc;
  x = os_alloc(sizeof *x);
  if (x == NULL) return handle_failed(txn->handle, MAPH_NOMEM);
  x->magic = SNAPSHOT_MAGIC;
  x->handle = txn->handle;
  x->fork_count = handle_forks();
  x->store = txn->txn.store;
  x->snapshot = txn->txn.position;
  x->version = txn->txn.before.version;
  x->records = txn->txn.records;
  x->bytes = txn->txn.bytes;
  x->now = os_time_ms();
  x->within = txn;
  atomic_init(&x->users, 1);
  x->next = txn->snapshots;
  txn->snapshots = x;
  store_pin(txn->txn.store);
  handle_count_read(txn->handle, 1);
  *snapshot = x;
  return MAPH_OK;
}

void maph_txn_prefetch(maph_txn *txn, maph_slice key) {
  if (txn == NULL || txn->magic != TXN_MAGIC || txn->handle->fork_count != handle_forks()) return;
  if (key.size > 0 && key.size <= KEY_MAX && key.data != NULL) txn_prefetch(&txn->txn, key);
}

/* -------------------------------------------------------------------------------------- writing */

static int write_checked(maph_txn *txn, int kind, maph_slice key, maph_slice value,
                         const maph_condition *condition) {
  int rc = check(txn, 1);
  if (unlikely(rc != MAPH_OK)) return rc;
  rc = txn_write(&txn->txn, kind, key, value, condition);
  return likely(rc == MAPH_OK) ? rc : handle_failed(txn->handle, rc);
}

int maph_txn_put(maph_txn *txn, maph_slice key, maph_slice value) {
  return write_checked(txn, KIND_PUT, key, value, NULL);
}
int maph_txn_delete(maph_txn *txn, maph_slice key) {
  return write_checked(txn, KIND_DELETE, key, maph_bytes(NULL, 0), NULL);
}
int maph_txn_put_if(maph_txn *txn, maph_slice key, maph_slice value,
                    const maph_condition *condition) {
  return write_checked(txn, KIND_PUT, key, value, condition);
}
int maph_txn_delete_if(maph_txn *txn, maph_slice key, const maph_condition *condition) {
  return write_checked(txn, KIND_DELETE, key, maph_bytes(NULL, 0), condition);
}

int maph_txn_increment(maph_txn *txn, maph_slice key, int64_t by, const maph_condition *condition,
                       int64_t *sum) {
  int rc = check(txn, 1);
  if (rc != MAPH_OK) return rc;
  rc = count_up(&txn->txn, txn->handle->options.verify, key, by, condition, sum);
  return rc == MAPH_OK ? rc : handle_failed(txn->handle, rc);
}

int maph_txn_savepoint(maph_txn *txn, int n) {
  int rc = check(txn, 1);
  if (rc != MAPH_OK) return rc;
  rc = txn_savepoint(&txn->txn, n);
  return rc == MAPH_OK ? rc : handle_failed(txn->handle, rc);
}

int maph_txn_release(maph_txn *txn, int n) {
  int rc = check(txn, 1);
  if (rc == MAPH_OK) txn_release(&txn->txn, n);
  return rc;
}

int maph_txn_rollback_to(maph_txn *txn, int n) {
  int rc = check(txn, 1);
  uint64_t kept;
  if (rc == MAPH_OK) rc = txn_rollback_to(&txn->txn, n, &kept);
  if (rc == MAPH_OK) detach_snapshots(txn, kept);
  return rc;
}
