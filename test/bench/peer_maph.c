/*
** peer_maph.c - maph, as a program that has only maph.h would use it.
*/
#include "bench.h"

#include <stdlib.h>

static void must(maph *m, int rc, const char *what){
  if( rc!=MAPH_OK ) fail("maph: %s: %s: %s", what, maph_strerror(rc), maph_errmsg(m));
}

static maph *open_store(const char *folder, level at, int flags){
  maph_options options = MAPH_OPTIONS_INIT;
  char path[600];
  maph *m;
  options.durability = at==LEVEL_FULL ? MAPH_SYNC_FULL : MAPH_SYNC_OFF;
  snprintf(path, sizeof path, "%s/data.maph", folder);
  must(NULL, maph_open(path, flags, &options, &m), "open");
  return m;
}

static void *maph_peer_create(const char *folder, level at){
  return open_store(folder, at, MAPH_RDWR|MAPH_CREATE|MAPH_EXCL);
}

static void *maph_peer_open(const char *folder, level at){
  return open_store(folder, at, at==LEVEL_READ ? MAPH_RDONLY : MAPH_RDWR);
}

static void maph_peer_close(void *store){
  must(store, maph_close(store), "close");
}

static int maph_peer_get(void *store, slice key, slice *value){
  int rc = maph_get(store, key, value);
  if( rc==MAPH_NOTFOUND ) return 0;
  must(store, rc, "get");
  return 1;
}

static void maph_peer_get_many(void *store, size_t n, const slice *keys, slice *values){
  must(store, maph_get_many(store, n, keys, values), "get_many");
}

static void maph_peer_put(void *store, slice key, slice value){
  must(store, maph_put(store, key, value), "put");
}

static void maph_peer_put_batch(void *store, size_t n, const slice *keys, const slice *values){
  maph_txn *txn;
  must(store, maph_txn_begin(store, MAPH_SYNC_DEFAULT, &txn), "begin");
  for(size_t i = 0; i<n; i++) must(store, maph_txn_put(txn, keys[i], values[i]), "put");
  must(store, maph_txn_commit(txn), "commit");
}

static void maph_peer_scan(void *store, scan_total *total){
  maph_cursor *cursor;
  maph_entry entry;
  int rc;
  must(store, maph_cursor_open(store, NULL, maph_bytes(NULL, 0), &cursor), "cursor_open");
  while( (rc = maph_cursor_next(cursor, &entry))==MAPH_OK ) scan_count(total, entry.key, entry.value);
  if( rc!=MAPH_NOTFOUND ) must(store, rc, "cursor_next");
  maph_cursor_close(cursor);
}

static uint64_t maph_peer_used(void *store){
  maph_stats stats;
  must(store, maph_stat(store, &stats), "stat");
  return stats.used_bytes;
}

static const char *maph_peer_version(void){
  static char version[32];
  snprintf(version, sizeof version, "maph %s", maph_version());
  return version;
}

const peer peer_maph = {
  .name = "maph",
  .settings = "default options; no flush: MAPH_SYNC_OFF; durable: MAPH_SYNC_FULL",
  .version = maph_peer_version,
  .create = maph_peer_create, .open = maph_peer_open, .close = maph_peer_close,
  .get = maph_peer_get, .get_many = maph_peer_get_many, .put = maph_peer_put, .put_batch = maph_peer_put_batch,
  .scan = maph_peer_scan, .used = maph_peer_used
};
