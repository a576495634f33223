/*
** snapshot.c - snapshots: taken, renewed, held by their cursors, and closed.  get.c, cursor.c and
** range.c read in them.
*/
#include "calls/snapshot.h"
#include "calls/registry.h"
#include "file/record.h"
#include "file/store.h"
#include "file/view.h"

int snapshot_take(maph *m, maph_snapshot *x) {
  end_record end;
  store *store;
  view view;
  int rc = handle_store_now(m, &store);
  if (rc == MAPH_OK) rc = view_latest(store, &view);
  if (rc == MAPH_OK) rc = record_end(&view, view.snapshot, &end);
  if (rc != MAPH_OK) return rc;
  memset(x, 0, sizeof *x);
  x->magic = SNAPSHOT_MAGIC;
  x->handle = m;
  x->fork_count = handle_forks();
  x->store = store;
  x->snapshot = view.snapshot;
  x->version = record_version(&end.head);
  x->records = end.records;
  x->bytes = end.bytes;
  x->now = os_time_ms();
  atomic_init(&x->users, 1);
  return MAPH_OK;
}

int maph_snapshot_open(maph *m, maph_snapshot **snapshot) {
  maph_snapshot *x;
  int rc;
  if (snapshot == NULL) return fail(MAPH_MISUSE, "maph_snapshot_open: no place for the snapshot");
  *snapshot = NULL;
  x = os_alloc(sizeof *x);
  if (x == NULL) return handle_failed(m, MAPH_NOMEM);
  rc = snapshot_take(m, x);
  if (rc != MAPH_OK) {
    os_free(x);
    return handle_failed(m, rc);
  }
  store_pin(x->store);
  handle_count_read(m, 1);
  *snapshot = x;
  return MAPH_OK;
}

int snapshot_readable(const maph_snapshot *snapshot) {
  if (snapshot->magic != SNAPSHOT_MAGIC) return fail(MAPH_MISUSE, "this snapshot is closed");
  if (snapshot->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a snapshot does not cross fork()", snapshot->store->path);
  return MAPH_OK;
}

int maph_snapshot_renew(maph_snapshot *snapshot) {
  end_record end;
  store *store;
  view view;
  int rc = snapshot_view(snapshot, &view);
  if (rc == MAPH_OK && (snapshot->within || atomic_load(&snapshot->users) != 1))
    rc = fail(MAPH_MISUSE, "%s: a cursor or a transaction needs this snapshot",
              snapshot->store->path);
  if (rc == MAPH_OK) rc = handle_store_now(snapshot->handle, &store);
  if (rc == MAPH_OK) rc = view_latest(store, &view);
  if (rc != MAPH_OK) return rc;
  if (store != snapshot->store || view.snapshot != snapshot->snapshot) {
    rc = record_end(&view, view.snapshot, &end);
    if (rc != MAPH_OK) return rc;
    store_pin(store);
    store_unpin(snapshot->store);
    snapshot->store = store;
    snapshot->snapshot = view.snapshot;
    snapshot->version = record_version(&end.head);
    snapshot->records = end.records;
    snapshot->bytes = end.bytes;
  }
  snapshot->now = os_time_ms();
  return MAPH_OK;
}

void snapshot_hold(maph_snapshot *snapshot) { atomic_fetch_add(&snapshot->users, 1); }

void snapshot_let_go(maph_snapshot *x) {
  if (atomic_fetch_sub(&x->users, 1) != 1) return;
  if (x->within) {
    struct maph_snapshot **snapshot = &x->within->snapshots;
    while (*snapshot && *snapshot != x) snapshot = &(*snapshot)->next;
    if (*snapshot) *snapshot = x->next;
  }
  store_unpin(x->store);
  os_free(x);
}

/* Nothing more is asked of it but by its cursors, which keep it. */
void maph_snapshot_close(maph_snapshot *snapshot) {
  if (snapshot == NULL || snapshot->magic != SNAPSHOT_MAGIC) return;
  snapshot->magic = 0;
  /* locks that another thread held are held for ever */
  if (snapshot->fork_count != handle_forks()) return;
  handle_count_read(snapshot->handle, -1);
  snapshot_let_go(snapshot);
}

int snapshot_view(maph_snapshot *snapshot, view *view) {
  if (snapshot == NULL || snapshot->magic != SNAPSHOT_MAGIC)
    return fail(MAPH_MISUSE, "this snapshot is closed, or never was open");
  if (snapshot->handle->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a snapshot does not cross fork()", snapshot->store->path);
  if (snapshot->rolled_back)
    return fail(MAPH_CONFLICT, "%s: the transaction that this snapshot shows was rolled back",
                snapshot->store->path);
  return view_at(snapshot->store, snapshot->snapshot, view);
}

uint64_t maph_snapshot_version(maph_snapshot *snapshot) {
  if (snapshot == NULL || snapshot->magic != SNAPSHOT_MAGIC) return 0;
  return version_shown(snapshot->store, snapshot->version);
}

uint64_t maph_snapshot_records(maph_snapshot *snapshot) {
  return snapshot && snapshot->magic == SNAPSHOT_MAGIC ? snapshot->records : 0;
}
