/*
** peer_lmdb.c - LMDB, in its default mode (no WRITEMAP): reads through one read transaction that
** stays open, or, in a store that is open for writing, is renewed for each get.  Each write
** transaction is flushed at LEVEL_FULL, MDB_NOSYNC at LEVEL_OFF.
*/
#ifdef BENCH_LMDB
#include "bench.h"

#include <lmdb.h>
#include <stdlib.h>

typedef struct lmdb_store {
  MDB_env *env;
  MDB_txn *reading;
  MDB_dbi dbi;
  int writes;  /* it may be written: the read transaction is renewed for each get */
  int at_rest; /* the read transaction is reset */
} lmdb_store;

static void must(int rc, const char *what) {
  if (rc != MDB_SUCCESS) fail("lmdb: %s: %s", what, mdb_strerror(rc));
}

static const char *lmdb_version(void) {
  static char version[32];
  int major, minor, patch;
  mdb_version(&major, &minor, &patch);
  snprintf(version, sizeof version, "LMDB %d.%d.%d", major, minor, patch);
  return version;
}

static void *lmdb_open(const char *folder, level at) {
  lmdb_store *s = must_alloc(sizeof *s);
  unsigned flags = at == LEVEL_READ ? MDB_RDONLY : at == LEVEL_OFF ? MDB_NOSYNC : 0;
  must(mdb_env_create(&s->env), "create");
  must(mdb_env_set_mapsize(s->env, (size_t)64 << 30), "set_mapsize");
  must(mdb_env_open(s->env, folder, flags, 0644), "open");
  MDB_txn *txn;
  must(mdb_txn_begin(s->env, NULL, at == LEVEL_READ ? MDB_RDONLY : 0, &txn), "begin");
  must(mdb_dbi_open(txn, NULL, 0, &s->dbi), "dbi_open");
  s->reading = txn;
  s->writes = at != LEVEL_READ;
  s->at_rest = 0;
  if (s->writes) {
    must(mdb_txn_commit(txn), "commit");
    must(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reading), "begin");
  }
  return s;
}

static void lmdb_close(void *store) {
  lmdb_store *s = store;
  mdb_txn_abort(s->reading);
  mdb_env_close(s->env);
  free(s);
}

/* Another thread's view: a read transaction of its own. */
static void *lmdb_reader(void *store) {
  lmdb_store *s = must_alloc(sizeof *s);
  *s = *(lmdb_store *)store;
  must(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reading), "begin");
  return s;
}

static void lmdb_reader_close(void *reader) {
  lmdb_store *s = reader;
  mdb_txn_abort(s->reading);
  free(s);
}

/* An open read transaction keeps the pages it may see from being used again. */
static void rest(lmdb_store *s) {
  if (!s->at_rest) mdb_txn_reset(s->reading);
  s->at_rest = 1;
}

static void look_again(lmdb_store *s) {
  rest(s);
  must(mdb_txn_renew(s->reading), "renew");
  s->at_rest = 0;
}

static int lmdb_get(void *store, slice key, slice *value) {
  lmdb_store *s = store;
  if (s->writes) look_again(s);
  MDB_val k = { key.size, (void *)key.data }, v;
  int rc = mdb_get(s->reading, s->dbi, &k, &v);
  if (rc == MDB_NOTFOUND) return 0;
  must(rc, "get");
  *value = maph_bytes(v.mv_data, v.mv_size);
  return 1;
}

static void lmdb_put_batch(void *store, size_t n, const slice *keys, const slice *values) {
  lmdb_store *s = store;
  MDB_txn *txn;
  rest(s);
  must(mdb_txn_begin(s->env, NULL, 0, &txn), "begin");
  for (size_t i = 0; i < n; i++) {
    MDB_val k = { keys[i].size, (void *)keys[i].data },
            v = { values[i].size, (void *)values[i].data };
    must(mdb_put(txn, s->dbi, &k, &v, 0), "put");
  }
  must(mdb_txn_commit(txn), "commit");
}

static void lmdb_put(void *store, slice key, slice value) {
  lmdb_put_batch(store, 1, &key, &value);
}

static void lmdb_scan(void *store, scan_total *total) {
  lmdb_store *s = store;
  MDB_cursor *cursor;
  MDB_val k, v;
  int rc;
  must(mdb_cursor_open(s->reading, s->dbi, &cursor), "cursor_open");
  while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == MDB_SUCCESS) {
    scan_count(total, maph_bytes(k.mv_data, k.mv_size), maph_bytes(v.mv_data, v.mv_size));
  }
  if (rc != MDB_NOTFOUND) must(rc, "cursor_get");
  mdb_cursor_close(cursor);
}

static void lmdb_scan_from(void *store, slice key, uint32_t n, scan_total *total) {
  lmdb_store *s = store;
  MDB_cursor *cursor;
  MDB_val k = { key.size, (void *)key.data }, v;
  if (s->writes) look_again(s);
  must(mdb_cursor_open(s->reading, s->dbi, &cursor), "cursor_open");
  int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
  for (; n && rc == MDB_SUCCESS; n--) {
    scan_count(total, maph_bytes(k.mv_data, k.mv_size), maph_bytes(v.mv_data, v.mv_size));
    rc = n > 1 ? mdb_cursor_get(cursor, &k, &v, MDB_NEXT) : rc;
  }
  if (rc != MDB_NOTFOUND) must(rc, "cursor_get");
  mdb_cursor_close(cursor);
}

const peer peer_lmdb = { .name = "lmdb",
                         .settings = "one read txn for all gets, renewed for each in a store that "
                                     "is written; no flush: MDB_NOSYNC; durable: default",
                         .version = lmdb_version,
                         .create = lmdb_open,
                         .open = lmdb_open,
                         .close = lmdb_close,
                         .get = lmdb_get,
                         .put = lmdb_put,
                         .put_batch = lmdb_put_batch,
                         .scan = lmdb_scan,
                         .scan_from = lmdb_scan_from,
                         .reader = lmdb_reader,
                         .reader_close = lmdb_reader_close };
#endif
