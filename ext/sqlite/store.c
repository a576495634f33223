/*
** store.c - the stores that a connection has open, and its transactions and snapshots on them.
**
** SQLite speaks to tables; a transaction belongs to a store.  Several tables of a connection may
** name one store, and two write transactions on one store would wait for each other, so everything
** that has to do with transactions lives here, once per (connection, store), and the tables only
** pass on what SQLite tells them.  SQLite tells each of them everything, so the second and later
** tables of a store find the work done: begin, prepare, commit and rollback are idempotent, and so
** are savepoints:
**
**   1. SQLite numbers savepoints for the whole connection.  Number n is open in the store iff n <
**      depth.
**   2. If savepoint n is opened while n < depth, another table of this store was told first (SQLite
**      would have released n before opening it anew), or this table joined late: in both cases the
**      first opening is the right one, and the call does nothing.
**
** HANDLES.  Reading uses a handle that may only read, so that a SELECT takes no lock, needs no lock
** file and leaves no trace; a write opens a second one.  Both open when first needed.  A store that
** needs recovery is recovered by a read too, through the writing handle, if the table may write: as
** SQLite plays back a hot journal.
**
** An idle store looks at its path again, at most ten times a second: if the file was replaced or
** removed there, the handles go with it, and so does what older reads kept alive of a file that was
** rewritten.
**
** SNAPSHOTS.  A cursor reads one snapshot from its first xFilter to its end.  Cursors that open
** while another is open, with nothing written by this connection in between, share it: so every
** cursor of a statement reads the same moment, and a statement that starts while another is half
** way reads what that one reads, as two readers of one SQLite connection do.
**
** A statement that looks up one key is short: what it would allocate and free each time (here a
** sql_view with its snapshot, in read.c a cursor) is kept for the next one, which has the snapshot
** renewed.
**
** LOCKING.  The writer lock of the store is held from store_begin to store_commit or
** store_rollback.  Reading holds none.
*/
#include "sql.h"
#include <time.h>

enum { SLICE_MS = 50 }; /* that core waits for another writer before we listen */

/* --------------------------------------------------------------------------------------- stores */

int store_hold(sql_connection *connection, const char *resolved, sql_store **store) {
  sql_store *s;
  size_t n = strlen(resolved) + 1;
  for (s = connection->stores; s && strcmp(s->path, resolved) != 0; s = s->next) {}
  if (s == NULL) {
    s = sqlite3_malloc64(sizeof(*s) + n);
    if (s == NULL) return SQLITE_NOMEM;
    memset(s, 0, sizeof(*s));
    s->path = memcpy(s + 1, resolved, n);
    s->connection = connection_hold(connection);
    s->busy_timeout_ms = -1;
    s->records = -1;
    s->next = connection->stores;
    connection->stores = s;
  }
  s->looked_ms = 0;
  s->holders++;
  *store = s;
  return SQLITE_OK;
}

/* Close the snapshot that was kept for the next statement. */
static void drop_spare(sql_store *store) {
  if (store->spare == NULL) return;
  maph_snapshot_close(store->spare->snapshot);
  store->spare->snapshot = NULL;
}

void store_release(sql_store *store) {
  sql_store **at;
  if (store == NULL || --store->holders > 0) return;
  for (at = &store->connection->stores; *at != store; at = &(*at)->next) {}
  *at = store->next;
  store_rollback(store);
  drop_spare(store);
  maph_close(store->reader);
  maph_close(store->writer);
  numbers_clear(&store->numbers);
  sqlite3_free(store->spare);
  connection_release(store->connection);
  sqlite3_free(store);
}

/* The file under an idle handle was removed or replaced: let go of it, so that the path is opened
** anew.  0: it is not idle. */
static int forget_handles(sql_store *store) {
  if (store->views > 0 || store->txn) return 0;
  drop_spare(store);
  maph_close(store->reader);
  maph_close(store->writer);
  store->reader = store->writer = NULL;
  return 1;
}

/* The coarse clock costs a read nothing, but may be some ticks behind. */
static uint64_t uptime_ms(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int open_handle(sql_store *store, int flags, int timeout_ms, maph **m, char **message) {
  maph_options options = MAPH_OPTIONS_INIT;
  options.verify = 1;
  options.busy_timeout_ms = timeout_ms;
  return error_of(NULL, maph_open(store->path, flags, &options, m), message);
}

/* A commit may be decided and not visible because its writer was killed just then: an empty
** transaction shows it.  Whoever may not write, or finds the store locked, reads what is visible.
*/
static void show_pending(sql_store *store) {
  maph_txn *txn = NULL;
  maph *m = NULL;
  if (open_handle(store, MAPH_RDWR, 0, &m, NULL) == SQLITE_OK
      && maph_txn_begin(m, MAPH_SYNC_DEFAULT, &txn) == MAPH_OK)
    maph_txn_abort(txn);
  maph_close(m);
}

/* At its first look a reader shows what is pending; later only what was so at two looks, because a
** living writer's commit is pending for a moment. */
static void look_for_pending(sql_store *store, int may, int is_first) {
  int pending = store->reader && maph_pending(store->reader);
  if (pending && (may & STORE_MAY_WRITE) && (is_first || store->was_pending)) show_pending(store);
  store->was_pending = pending;
}

static void look_at_path(sql_store *store, int may) {
  uint64_t now;
  if (store->views > 0 || store->txn) return;
  now = uptime_ms(CLOCK_MONOTONIC_COARSE);
  if (now - store->looked_ms < 100) return;
  store->looked_ms = now;
  drop_spare(store);
  if ((store->reader && maph_refresh(store->reader) != MAPH_OK)
      || (store->writer && maph_refresh(store->writer) != MAPH_OK)) {
    forget_handles(store);
  }
  look_for_pending(store, may, 0);
}

/* -------------------------------------------------------------------------------------- waiting */

static int timeout_ms(sql_store *store) {
  return store->busy_timeout_ms >= 0 ? store->busy_timeout_ms : pulse_timeout_ms(store->connection);
}

/* Do what may have to wait for another writer until it does not answer BUSY, the time is up, or the
** application wants the statement to stop.  Core waits for a slice of the time, then we listen. */
static int patiently(sql_store *store, int (*attempt)(sql_store *, int may, char **), int may,
                     char **message) {
  uint64_t started = uptime_ms(CLOCK_MONOTONIC);
  int rc, timeout = -1;
  while ((rc = attempt(store, may, message)) == SQLITE_BUSY) {
    if (timeout < 0) timeout = timeout_ms(store);
    if (uptime_ms(CLOCK_MONOTONIC) - started >= (uint64_t)timeout) {
      rc = fail(message, SQLITE_BUSY,
                sqlite3_mprintf("%s: another writer held the store for all of %d ms: try again, or "
                                "raise busy_timeout",
                                store->path, timeout));
      break;
    }
    rc = pulse_tick(store->connection);
    if (rc == SQLITE_OK) continue;
    rc = fail(message, rc,
              sqlite3_mprintf("%s: interrupted while another writer held the store", store->path));
    break;
  }
  pulse_rest(store->connection);
  return rc;
}

static int try_open_writer(sql_store *store, int may, char **message) {
  int slice = store->busy_timeout_ms >= 0 && store->busy_timeout_ms < SLICE_MS
                  ? store->busy_timeout_ms
                  : SLICE_MS;
  return open_handle(store, MAPH_RDWR | (may & STORE_MAY_CREATE ? MAPH_CREATE : 0), slice,
                     &store->writer, message);
}

int store_open_writer(sql_store *store, int may, char **message) {
  look_at_path(store, may);
  return store->writer ? SQLITE_OK : patiently(store, try_open_writer, may, message);
}

int store_open_patient(sql_store *store, maph **m, char **message) {
  return open_handle(store, MAPH_RDWR, timeout_ms(store), m, message);
}

static int try_recover(sql_store *store, int may, char **message) {
  maph_txn *txn = NULL;
  int rc;
  (void)may;
  rc = error_of(store->writer, maph_txn_begin(store->writer, MAPH_SYNC_DEFAULT, &txn), message);
  maph_txn_abort(txn);
  return rc;
}

/* An empty write transaction: what a power loss left is put in order by its begin. */
static int recover_by_writing(sql_store *store, char **message) {
  int rc = store_open_writer(store, 0, message);
  return rc == SQLITE_OK ? patiently(store, try_recover, 0, message) : rc;
}

int store_open_reader(sql_store *store, int may, char **message) {
  int rc;
  look_at_path(store, may);
  if (store->reader) return SQLITE_OK;
  rc = open_handle(store, MAPH_RDONLY, 0, &store->reader, message);
  if (rc == SQLITE_READONLY_RECOVERY && (may & STORE_MAY_WRITE) && store->txn == NULL) {
    rc = recover_by_writing(store, message);
  } else if (rc == SQLITE_CANTOPEN && (may & STORE_MAY_CREATE)) {
    rc = store_open_writer(store, may, message);
  } else {
    if (rc == SQLITE_OK) look_for_pending(store, may, 1);
    return rc;
  }
  if (rc != SQLITE_OK) return rc;
  sqlite3_free(*message);
  *message = NULL;
  return open_handle(store, MAPH_RDONLY, 0, &store->reader, message);
}

/* ------------------------------------------------------------------------------------ snapshots */

static int open_snapshot(sql_store *store, int may, sql_view *view, char **message) {
  int rc = SQLITE_OK, tries;
  if (store->txn) {
    view->handle = store->writer;
    return error_of(store->writer, maph_txn_snapshot(store->txn, &view->snapshot), message);
  }
  for (tries = 0; tries < 2; tries++) {
    rc = store_open_reader(store, may, message);
    if (rc != SQLITE_OK) break;
    view->handle = store->reader;
    rc = error_of(store->reader, maph_snapshot_open(store->reader, &view->snapshot), message);
    if (rc != SQLITE_CANTOPEN || !forget_handles(store)) break;
  }
  return rc;
}

/* The snapshot that the last statement left, renewed; else a new one. */
static int fill_view(sql_store *store, int may, sql_view *view, char **message) {
  if (view->snapshot && store->txn == NULL && view->handle == store->reader) {
    look_at_path(store, may);
    if (view->snapshot && maph_snapshot_renew(view->snapshot) == MAPH_OK) return SQLITE_OK;
  }
  maph_snapshot_close(view->snapshot);
  view->snapshot = NULL;
  return open_snapshot(store, may, view, message);
}

static int new_view(sql_store *store, int may, char **message) {
  sql_view *view = store->spare;
  int rc;
  if (view == NULL) {
    view = sqlite3_malloc64(sizeof(*view));
    if (view == NULL) return SQLITE_NOMEM;
    memset(view, 0, sizeof(*view));
    store->spare = view;
  }
  rc = fill_view(store, may, view, message);
  if (rc != SQLITE_OK) return rc;
  store->spare = NULL;
  view->store = store;
  view->serial = ++store->serial;
  view->knows_numbers = 0;
  store->views++;
  store->holders++;
  store->view = view;
  store->records = (sqlite3_int64)maph_snapshot_records(view->snapshot);
  return SQLITE_OK;
}

int store_view(sql_store *store, int may, sql_view **view, char **message) {
  int rc;
  *view = NULL;
  if (store->view == NULL) {
    rc = new_view(store, may, message);
    if (rc != SQLITE_OK) return rc;
  }
  *view = store->view;
  store->view->holders++;
  return SQLITE_OK;
}

void store_view_release(sql_view *view) {
  sql_store *store;
  if (view == NULL || --view->holders > 0) return;
  store = view->store;
  if (store->view == view) store->view = NULL;
  store->views--;
  if (store->spare == NULL) {
    store->spare = view;
    if (view->handle != store->reader) drop_spare(store);
  } else {
    maph_snapshot_close(view->snapshot);
    sqlite3_free(view);
  }
  store_release(store);
}

void store_wrote(sql_store *store) { store->view = NULL; }

/* --------------------------------------------------------------------------------- transactions */

/* SQLite may refuse a COMMIT after all tables prepared for it, as when another connection reads the
** database: the transaction goes on then, and this is its next statement. */
static int reopen(sql_store *store, char **message) {
  int rc;
  if (!store->prepared) return SQLITE_OK;
  rc = error_of(store->writer, maph_txn_unprepare(store->txn), message);
  store->prepared = 0;
  return rc;
}

static int try_begin(sql_store *store, int may, char **message) {
  int rc = SQLITE_OK, tries;
  for (tries = 0; tries < 2 && store->txn == NULL; tries++) {
    rc = store_open_writer(store, may, message);
    if (rc != SQLITE_OK) break;
    rc = error_of(store->writer, maph_txn_begin(store->writer, store->sync, &store->txn), message);
    if (rc == SQLITE_OK) break;
    store->txn = NULL;
    if (rc != SQLITE_CANTOPEN || !forget_handles(store)) break;
  }
  return rc;
}

int store_begin(sql_store *store, int may, char **message) {
  int rc;
  if (store->txn) return reopen(store, message);
  rc = patiently(store, try_begin, may, message);
  if (rc == SQLITE_OK) store_wrote(store);
  return rc;
}

int store_prepare(sql_store *store, char **message) {
  int rc;
  if (store->txn == NULL || store->prepared) return SQLITE_OK;
  rc = error_of(store->writer, maph_txn_prepare(store->txn), message);
  store->prepared = rc == SQLITE_OK;
  return rc;
}

/* ---------------------------------------------------------------------------- one put or delete */

int store_write(sql_store *store, store_change change, void *arg, char **message) {
  int is_own = store->txn == NULL, rc = store_begin(store, STORE_MAY_WRITE, message);
  if (rc != SQLITE_OK) return rc;
  rc = change(store, arg, message);
  if (rc == SQLITE_OK && is_own) rc = store_prepare(store, message);
  if (is_own && rc == SQLITE_OK) store_commit(store);
  if (is_own && rc != SQLITE_OK) store_rollback(store);
  store_wrote(store);
  return rc;
}

typedef struct put {
  maph_slice key, value;
  const maph_condition *how;
} put;

static int put_in(sql_store *store, void *arg, char **message) {
  put *put = arg;
  return error_of(store->writer, maph_txn_put_if(store->txn, put->key, put->value, put->how),
                  message);
}

int store_put(sql_store *store, maph_slice key, maph_slice value, const maph_condition *how,
              char **message) {
  put put = { key, value, how };
  int rc = numbers_note(store, key);
  return rc == SQLITE_OK ? store_write(store, put_in, &put, message) : rc;
}

typedef struct delete {
  maph_slice key;
  int existed;
}
delete;

static int delete_in(sql_store *store, void *arg, char **message) {
  delete *delete = arg;
  int rc = maph_txn_delete(store->txn, delete->key);
  delete->existed = rc == MAPH_OK;
  return rc == MAPH_NOTFOUND ? SQLITE_OK : error_of(store->writer, rc, message);
}

int store_delete(sql_store *store, maph_slice key, int *existed, char **message) {
  delete delete = { key, 0 };
  int rc = store_write(store, delete_in, &delete, message);
  *existed = delete.existed;
  return rc;
}

static void transaction_ended(sql_store *store) {
  store->txn = NULL;
  store->prepared = 0;
  store->depth = 0;
  store_wrote(store);
}

void store_commit(sql_store *store) {
  if (store->txn == NULL) return;
  maph_txn_commit(store->txn);
  transaction_ended(store);
}

void store_rollback(sql_store *store) {
  if (store->txn == NULL) return;
  maph_txn_abort(store->txn);
  transaction_ended(store);
}

int store_savepoint(sql_store *store, int n) {
  int rc;
  if (store->txn == NULL || n < store->depth) return SQLITE_OK; /* rule 2 */
  rc = reopen(store, NULL);
  if (rc == SQLITE_OK) rc = error_of(store->writer, maph_txn_savepoint(store->txn, n), NULL);
  if (rc == SQLITE_OK) store->depth = n + 1;
  return rc;
}

int store_release_savepoint(sql_store *store, int n) {
  int rc;
  if (store->txn == NULL || n >= store->depth) return SQLITE_OK;
  rc = reopen(store, NULL);
  store->depth = n;
  return rc == SQLITE_OK ? error_of(store->writer, maph_txn_release(store->txn, n), NULL) : rc;
}

int store_rollback_to(sql_store *store, int n) {
  int rc;
  if (store->txn == NULL) return SQLITE_OK;
  store_wrote(store);
  rc = reopen(store, NULL);
  if (store->depth > n + 1) store->depth = n + 1;
  return rc == SQLITE_OK ? error_of(store->writer, maph_txn_rollback_to(store->txn, n), NULL) : rc;
}
