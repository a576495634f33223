/*
** transaction.c - the public transactions: a transaction on a store (writer/txn.c), its handle, and
** the snapshots that show it while it is open.
*/
#include "calls/count.h"
#include "calls/handle.h"
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
static void detach_snapshots(struct maph_txn *t, uint64_t kept) {
  struct maph_snapshot *x;
  for (x = t->snapshots; x != NULL; x = x->next)
    if (x->snapshot > kept) x->rolled_back = 1;
}

static void end_snapshots(struct maph_txn *t, uint64_t kept) {
  struct maph_snapshot *x, *next;
  detach_snapshots(t, kept);
  for (x = t->snapshots; x != NULL; x = next) {
    next = x->next;
    x->within = NULL;
    x->next = NULL;
  }
  t->snapshots = NULL;
}

static void remember(maph *m, struct maph_txn *t) {
  pthread_mutex_lock(&m->mutex);
  t->next_open = m->open_txns;
  if (t->next_open) t->next_open->previous_open = t;
  m->open_txns = t;
  pthread_mutex_unlock(&m->mutex);
}

static void forget(struct maph_txn *t) {
  maph *m = t->handle;
  pthread_mutex_lock(&m->mutex);
  if (t->previous_open)
    t->previous_open->next_open = t->next_open;
  else
    m->open_txns = t->next_open;
  if (t->next_open) t->next_open->previous_open = t->previous_open;
  pthread_mutex_unlock(&m->mutex);
}

static int check(maph_txn *t, int writing) {
  if (t == NULL || t->magic != TXN_MAGIC)
    return fail(MAPH_MISUSE, "this transaction has ended, or never began");
  if (t->handle->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a transaction does not cross fork()", t->txn.s->path);
  if (writing && (t->txn.state != TXN_OPEN || t->txn.failed))
    return fail(
        MAPH_MISUSE,
        "%s: the transaction is prepared, or failed to prepare: commit, unprepare or abort it",
        t->txn.s->path);
  return MAPH_OK;
}

int maph_txn_begin(maph *m, int durability, maph_txn **transaction) {
  maph_txn *t;
  int rc;
  if (transaction == NULL) return fail(MAPH_MISUSE, "maph_txn_begin: no place for the transaction");
  *transaction = NULL;
  t = os_alloc(sizeof *t);
  if (t == NULL) return MAPH_NOMEM;
  rc = handle_begin(m, durability, &t->txn);
  if (rc != MAPH_OK) {
    os_free(t);
    return rc;
  }
  t->magic = TXN_MAGIC;
  t->handle = m;
  remember(m, t);
  *transaction = t;
  return MAPH_OK;
}

static void free_ended(maph_txn *t) {
  t->magic = 0;
  txn_clear(&t->txn);
  os_free(t);
}

int maph_txn_prepare(maph_txn *t) {
  int rc = check(t, 1);
  if (rc != MAPH_OK) return rc;
  rc = session_still_reached(&t->txn);
  if (rc == MAPH_OK) rc = commit_reserve(&t->txn);
  if (rc == MAPH_OK && t->txn.durability == MAPH_SYNC_FULL) rc = commit_decide_early(&t->txn);
  if (rc != MAPH_OK) t->txn.failed = 1;
  return rc;
}

int maph_txn_unprepare(maph_txn *t) {
  int rc = check(t, 0);
  if (rc != MAPH_OK || (t->txn.state == TXN_OPEN && !t->txn.failed)) return rc;
  if (t->txn.failed)
    return fail(MAPH_MISUSE, "%s: the transaction failed to prepare and can only be aborted",
                t->txn.s->path);
  return commit_reopen(&t->txn);
}

int maph_txn_commit(maph_txn *t) {
  int rc = check(t, 0);
  maph *m;
  if (rc != MAPH_OK) return rc;
  m = t->handle;
  if (!t->txn.failed && !commit_joins_group(&t->txn)) rc = session_still_reached(&t->txn);
  if (rc == MAPH_OK && t->txn.state == TXN_OPEN) rc = commit_reserve(&t->txn);
  forget(t);
  if (rc == MAPH_OK && !t->txn.failed) {
    rc = session_commit(&t->txn);
    end_snapshots(t, rc == MAPH_OK ? UINT64_MAX : t->txn.start);
  } else {
    if (rc == MAPH_OK)
      rc = fail(MAPH_MISUSE, "%s: the transaction failed to prepare and can only be aborted",
                t->txn.s->path);
    end_snapshots(t, t->txn.start);
    session_abort(&t->txn);
  }
  free_ended(t);
  if (rc == MAPH_OK) rewrite_if_due(m);
  return rc;
}

int maph_txn_abort(maph_txn *t) {
  int rc;
  if (t == NULL) return MAPH_OK;
  rc = check(t, 0);
  if (rc != MAPH_OK) return rc;
  forget(t);
  end_snapshots(t, t->txn.start);
  rc = session_abort(&t->txn);
  free_ended(t);
  return rc;
}

uint64_t maph_txn_version(maph_txn *t) { return check(t, 0) == MAPH_OK ? t->txn.version : 0; }
uint64_t maph_txn_operations(maph_txn *t) { return check(t, 0) == MAPH_OK ? t->txn.operations : 0; }

/* -------------------------------------------------------------------------------------- reading */

static int live(struct maph_txn *t, maph_slice key, item *it) {
  int rc = view_check_key(key);
  view v;
  if (rc == MAPH_OK) rc = txn_find(&t->txn, UINT64_MAX, key, it);
  if (rc != MAPH_OK) return rc;
  if (it->kind != KIND_PUT || item_expired(it, 0)) return MAPH_NOTFOUND;
  if (!t->handle->options.verify) return MAPH_OK;
  txn_view(&t->txn, &v);
  return record_verify(&v, it->offset, it->size);
}

int maph_txn_get(maph_txn *t, maph_slice key, maph_slice *value) {
  maph_entry e;
  int rc;
  if (value == NULL) return fail(MAPH_MISUSE, "maph_txn_get: no place for the value");
  rc = maph_txn_get_entry(t, key, &e);
  *value = e.value;
  return rc;
}

int maph_txn_get_entry(maph_txn *t, maph_slice key, maph_entry *entry) {
  item it;
  int rc;
  if (entry == NULL) return fail(MAPH_MISUSE, "maph_txn_get_entry: no place for the entry");
  memset(entry, 0, sizeof *entry);
  rc = check(t, 0);
  if (rc == MAPH_OK) rc = live(t, key, &it);
  if (rc == MAPH_OK) handle_lend(t->handle, t->txn.s);
  if (rc == MAPH_OK) record_entry(&it, entry);
  return rc == MAPH_NOTFOUND ? fail(rc, "%s: no such key", t->txn.s->path) : rc;
}

int maph_txn_snapshot(maph_txn *t, maph_snapshot **snapshot) {
  maph_snapshot *x;
  int rc;
  if (snapshot == NULL) return fail(MAPH_MISUSE, "maph_txn_snapshot: no place for the snapshot");
  *snapshot = NULL;
  rc = check(t, 0);
  if (rc == MAPH_OK) rc = decided_wait(t->txn.s);
  if (rc != MAPH_OK) return rc;
  x = os_alloc(sizeof *x);
  if (x == NULL) return MAPH_NOMEM;
  x->magic = SNAPSHOT_MAGIC;
  x->handle = t->handle;
  x->fork_count = handle_forks();
  x->s = t->txn.s;
  x->snapshot = t->txn.position;
  x->version = t->txn.before.version;
  x->records = t->txn.records;
  x->bytes = t->txn.bytes;
  x->now = os_time_ms();
  x->within = t;
  atomic_init(&x->users, 1);
  x->next = t->snapshots;
  t->snapshots = x;
  store_pin(t->txn.s);
  handle_count_read(t->handle, 1);
  *snapshot = x;
  return MAPH_OK;
}

/* -------------------------------------------------------------------------------------- writing */

static int write_checked(maph_txn *t, int kind, maph_slice key, maph_slice value,
                         const maph_condition *c) {
  int rc = check(t, 1);
  return rc == MAPH_OK ? txn_write(&t->txn, kind, key, value, c) : rc;
}

int maph_txn_put(maph_txn *t, maph_slice key, maph_slice value) {
  return write_checked(t, KIND_PUT, key, value, NULL);
}
int maph_txn_delete(maph_txn *t, maph_slice key) {
  return write_checked(t, KIND_DELETE, key, maph_bytes(NULL, 0), NULL);
}
int maph_txn_put_if(maph_txn *t, maph_slice key, maph_slice value, const maph_condition *c) {
  return write_checked(t, KIND_PUT, key, value, c);
}
int maph_txn_delete_if(maph_txn *t, maph_slice key, const maph_condition *c) {
  return write_checked(t, KIND_DELETE, key, maph_bytes(NULL, 0), c);
}

int maph_txn_increment(maph_txn *t, maph_slice key, int64_t by, const maph_condition *c,
                       int64_t *sum) {
  int rc = check(t, 1);
  return rc == MAPH_OK ? count_up(&t->txn, t->handle->options.verify, key, by, c, sum) : rc;
}

int maph_txn_savepoint(maph_txn *t, int n) {
  int rc = check(t, 1);
  return rc == MAPH_OK ? txn_savepoint(&t->txn, n) : rc;
}

int maph_txn_release(maph_txn *t, int n) {
  int rc = check(t, 1);
  if (rc == MAPH_OK) txn_release(&t->txn, n);
  return rc;
}

int maph_txn_rollback_to(maph_txn *t, int n) {
  int rc = check(t, 1);
  uint64_t kept;
  if (rc == MAPH_OK) rc = txn_rollback_to(&t->txn, n, &kept);
  if (rc == MAPH_OK) detach_snapshots(t, kept);
  return rc;
}
