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
** sql_view, in read.c a cursor) is kept for the next one.
**
** LOCKING.  The writer lock of the store is held from store_begin to store_commit or
** store_rollback.  Reading holds none.
*/
#include "sql.h"
#include <time.h>

/* --------------------------------------------------------------------------------------- errors */

static const int codes[] = {
  [MAPH_OK] = SQLITE_OK,
  /* answered where it occurs; never reaches SQLite */
  [MAPH_NOTFOUND] = SQLITE_NOTFOUND,
  [MAPH_EXISTS] = SQLITE_CONSTRAINT_PRIMARYKEY,
  [MAPH_CONFLICT] = SQLITE_ABORT_ROLLBACK, /* a cursor whose rows were rolled back */
  [MAPH_BUSY] = SQLITE_BUSY,
  [MAPH_READONLY] = SQLITE_READONLY,
  [MAPH_FULL] = SQLITE_FULL,
  [MAPH_TOOBIG] = SQLITE_TOOBIG,
  [MAPH_NOMEM] = SQLITE_NOMEM,
  [MAPH_IOERR] = SQLITE_IOERR,
  [MAPH_CORRUPT] = SQLITE_CORRUPT_VTAB,
  [MAPH_FORMAT] = SQLITE_NOTADB,
  /* it must be written to once, and this table may only read */
  [MAPH_RECOVER] = SQLITE_READONLY_RECOVERY,
  [MAPH_MISUSE] = SQLITE_MISUSE,
  [MAPH_CANTOPEN] = SQLITE_CANTOPEN,
  /* only of feeds of changes, which SQL does not read */
  [MAPH_COMPACTED] = SQLITE_ERROR,
  [MAPH_CANCELLED] = SQLITE_INTERRUPT,
};
#define CODE_COUNT ((int)(sizeof(codes) / sizeof(codes[0])))
_Static_assert(CODE_COUNT == MAPH_CANCELLED + 1, "every code of maph.h has its SQLite code");

int store_error(maph *m, int maph_rc, char **message) {
  const char *sentence;
  if (maph_rc == MAPH_OK) return SQLITE_OK;
  if (message) {
    sentence = maph_errmsg(m);
    sqlite3_free(*message);
    *message = sqlite3_mprintf("%s", sentence && sentence[0] ? sentence : maph_strerror(maph_rc));
  }
  return maph_rc > 0 && maph_rc < CODE_COUNT ? codes[maph_rc] : SQLITE_ERROR;
}

/* --------------------------------------------------------------------------------------- stores */

int store_hold(sql_connection *c, const char *resolved, sql_store **store) {
  sql_store *s;
  size_t n = strlen(resolved) + 1;
  for (s = c->stores; s && strcmp(s->path, resolved) != 0; s = s->next) {}
  if (s == NULL) {
    s = sqlite3_malloc64(sizeof(*s) + n);
    if (s == NULL) return SQLITE_NOMEM;
    memset(s, 0, sizeof(*s));
    s->path = memcpy(s + 1, resolved, n);
    s->connection = c;
    s->busy_timeout_ms = -1;
    s->records = -1;
    s->next = c->stores;
    c->stores = s;
  }
  s->looked_ms = 0;
  s->holders++;
  *store = s;
  return SQLITE_OK;
}

void store_release(sql_store *store) {
  sql_store **at;
  if (store == NULL || --store->holders > 0) return;
  for (at = &store->connection->stores; *at != store; at = &(*at)->next) {}
  *at = store->next;
  store_rollback(store);
  maph_close(store->reader);
  maph_close(store->writer);
  sqlite3_free(store->spare);
  sqlite3_free(store);
}

/* The file under an idle handle was removed or replaced: let go of it, so that the path is opened
** anew.  0: it is not idle. */
static int forget_handles(sql_store *store) {
  if (store->views > 0 || store->txn) return 0;
  maph_close(store->reader);
  maph_close(store->writer);
  store->reader = store->writer = NULL;
  return 1;
}

/* Some milliseconds behind, and cheap: each statement asks. */
static uint64_t uptime_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void look_at_path(sql_store *store) {
  uint64_t now;
  if (store->views > 0 || store->txn) return;
  now = uptime_ms();
  if (now - store->looked_ms < 100) return;
  store->looked_ms = now;
  if ((store->reader && maph_refresh(store->reader) != MAPH_OK)
      || (store->writer && maph_refresh(store->writer) != MAPH_OK)) {
    forget_handles(store);
  }
}

static int open_handle(sql_store *store, int flags, maph **m, char **message) {
  maph_options options = MAPH_OPTIONS_INIT;
  options.verify = 1;
  if (store->busy_timeout_ms >= 0) options.busy_timeout_ms = store->busy_timeout_ms;
  return store_error(NULL, maph_open(store->path, flags, &options, m), message);
}

int store_open_writer(sql_store *store, int may, char **message) {
  look_at_path(store);
  if (store->writer) return SQLITE_OK;
  return open_handle(store, MAPH_RDWR | (may & STORE_MAY_CREATE ? MAPH_CREATE : 0), &store->writer,
                     message);
}

/* An empty write transaction: what a power loss left is put in order by its begin. */
static int recover_by_writing(sql_store *store, char **message) {
  maph_txn *txn = NULL;
  int rc = store_open_writer(store, 0, message);
  if (rc == SQLITE_OK)
    rc =
        store_error(store->writer, maph_txn_begin(store->writer, MAPH_SYNC_DEFAULT, &txn), message);
  maph_txn_abort(txn);
  return rc;
}

int store_open_reader(sql_store *store, int may, char **message) {
  int rc;
  look_at_path(store);
  if (store->reader) return SQLITE_OK;
  rc = open_handle(store, MAPH_RDONLY, &store->reader, message);
  if (rc == SQLITE_READONLY_RECOVERY && (may & STORE_MAY_WRITE) && store->txn == NULL) {
    rc = recover_by_writing(store, message);
  } else if (rc == SQLITE_CANTOPEN && (may & STORE_MAY_CREATE)) {
    rc = store_open_writer(store, may, message);
  } else {
    return rc;
  }
  if (rc != SQLITE_OK) return rc;
  sqlite3_free(*message);
  *message = NULL;
  return open_handle(store, MAPH_RDONLY, &store->reader, message);
}

/* ------------------------------------------------------------------------------------ snapshots */

static int open_snapshot(sql_store *store, int may, sql_view *view, char **message) {
  int rc = SQLITE_OK, tries;
  if (store->txn) {
    view->handle = store->writer;
    return store_error(store->writer, maph_txn_snapshot(store->txn, &view->snapshot), message);
  }
  for (tries = 0; tries < 2; tries++) {
    rc = store_open_reader(store, may, message);
    if (rc != SQLITE_OK) break;
    view->handle = store->reader;
    rc = store_error(store->reader, maph_snapshot_open(store->reader, &view->snapshot), message);
    if (rc != SQLITE_CANTOPEN || !forget_handles(store)) break;
  }
  return rc;
}

int store_view(sql_store *store, int may, sql_view **view, char **message) {
  sql_view *v = store->view;
  int rc;
  *view = NULL;
  if (v == NULL) {
    v = store->spare ? store->spare : sqlite3_malloc64(sizeof(*v));
    if (v == NULL) return SQLITE_NOMEM;
    memset(v, 0, sizeof(*v));
    store->spare = v;
    rc = open_snapshot(store, may, v, message);
    if (rc != SQLITE_OK) return rc;
    store->spare = NULL;
    v->store = store;
    store->views++;
    store->holders++;
    store->view = v;
    store->records = (sqlite3_int64)maph_snapshot_records(v->snapshot);
  }
  v->holders++;
  *view = v;
  return SQLITE_OK;
}

void store_view_release(sql_view *view) {
  sql_store *store;
  if (view == NULL || --view->holders > 0) return;
  store = view->store;
  if (store->view == view) store->view = NULL;
  maph_snapshot_close(view->snapshot);
  store->views--;
  if (store->spare == NULL)
    store->spare = view;
  else
    sqlite3_free(view);
  store_release(store);
}

void store_wrote(sql_store *store) { store->view = NULL; }

/* --------------------------------------------------------------------------------- transactions */

int store_begin(sql_store *store, int may, char **message) {
  int rc = SQLITE_OK, tries;
  for (tries = 0; tries < 2 && store->txn == NULL; tries++) {
    rc = store_open_writer(store, may, message);
    if (rc != SQLITE_OK) break;
    rc = store_error(store->writer, maph_txn_begin(store->writer, store->sync, &store->txn),
                     message);
    if (rc == SQLITE_OK) break;
    store->txn = NULL;
    if (rc != SQLITE_CANTOPEN || !forget_handles(store)) break;
  }
  if (rc == SQLITE_OK) store_wrote(store);
  return rc;
}

int store_prepare(sql_store *store, char **message) {
  int rc;
  if (store->txn == NULL || store->prepared) return SQLITE_OK;
  rc = store_error(store->writer, maph_txn_prepare(store->txn), message);
  store->prepared = rc == SQLITE_OK;
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
  rc = store_error(store->writer, maph_txn_savepoint(store->txn, n), NULL);
  if (rc == SQLITE_OK) store->depth = n + 1;
  return rc;
}

int store_release_savepoint(sql_store *store, int n) {
  if (store->txn == NULL || n >= store->depth) return SQLITE_OK;
  store->depth = n;
  return store_error(store->writer, maph_txn_release(store->txn, n), NULL);
}

int store_rollback_to(sql_store *store, int n) {
  if (store->txn == NULL) return SQLITE_OK;
  store_wrote(store);
  if (store->depth > n + 1) store->depth = n + 1;
  return store_error(store->writer, maph_txn_rollback_to(store->txn, n), NULL);
}
