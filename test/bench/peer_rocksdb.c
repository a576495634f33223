/*
** peer_rocksdb.c - RocksDB through its C interface: a block cache that holds everything, Bloom
** filters of 10 bits a key, no compression (the values are random), values pinned in the cache
** instead of copied.  A load is compacted before it is read, outside the timing.  LEVEL_FULL writes
** with sync.
*/
#ifdef BENCH_ROCKSDB
#include "bench.h"

#include <rocksdb/c.h>
#include <stdlib.h>

typedef struct rocksdb_store {
  rocksdb_t *db;
  rocksdb_options_t *options;
  rocksdb_readoptions_t *reading;
  rocksdb_writeoptions_t *writing;
  rocksdb_pinnableslice_t *value; /* the last one handed out */
} rocksdb_store;

static void must(char *error, const char *what) {
  if (error) fail("rocksdb: %s: %s", what, error);
}

/* The C interface does not tell its version; ./configure has read it from the C++ one. */
#define TEXT(x) #x
#define TEXT_OF(x) TEXT(x)
static const char *rocksdb_version(void) { return "RocksDB " TEXT_OF(BENCH_ROCKSDB); }

static rocksdb_options_t *new_options(void) {
  rocksdb_options_t *options = rocksdb_options_create();
  rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
  rocksdb_cache_t *cache = rocksdb_cache_create_lru(peer_cache_bytes());
  rocksdb_block_based_options_set_block_cache(table, cache);
  rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
  rocksdb_options_set_block_based_table_factory(options, table);
  rocksdb_options_set_create_if_missing(options, 1);
  rocksdb_options_set_compression(options, rocksdb_no_compression);
  rocksdb_cache_destroy(cache); /* the options hold on to it */
  rocksdb_block_based_options_destroy(table);
  return options;
}

static void *rocksdb_peer_open(const char *folder, level at) {
  rocksdb_store *s = must_alloc(sizeof *s);
  char path[600], *error = NULL;
  *s = (rocksdb_store){ .options = new_options(),
                        .reading = rocksdb_readoptions_create(),
                        .writing = rocksdb_writeoptions_create() };
  rocksdb_writeoptions_set_sync(s->writing, at == LEVEL_FULL);
  snprintf(path, sizeof path, "%s/data.rocksdb", folder);
  s->db = at == LEVEL_READ ? rocksdb_open_for_read_only(s->options, path, 0, &error)
                           : rocksdb_open(s->options, path, &error);
  must(error, "open");
  return s;
}

static void let_go(rocksdb_store *s) {
  if (s->value) rocksdb_pinnableslice_destroy(s->value);
  s->value = NULL;
}

static void *rocksdb_reader(void *store) {
  rocksdb_store *s = must_alloc(sizeof *s), *shared = store;
  *s = (rocksdb_store){ .db = shared->db, .reading = shared->reading };
  return s;
}

static void rocksdb_reader_close(void *reader) {
  rocksdb_store *s = reader;
  let_go(s);
  free(s);
}

static void rocksdb_peer_close(void *store) {
  rocksdb_store *s = store;
  let_go(s);
  rocksdb_close(s->db);
  rocksdb_options_destroy(s->options);
  rocksdb_readoptions_destroy(s->reading);
  rocksdb_writeoptions_destroy(s->writing);
  rocksdb_reader_close(s);
}

static int rocksdb_peer_get(void *store, slice key, slice *value) {
  rocksdb_store *s = store;
  char *error = NULL;
  let_go(s);
  s->value = rocksdb_get_pinned(s->db, s->reading, key.data, key.size, &error);
  must(error, "get");
  value->data = rocksdb_pinnableslice_value(s->value, &value->size);
  return value->data != NULL;
}

static void rocksdb_peer_put(void *store, slice key, slice value) {
  rocksdb_store *s = store;
  char *error = NULL;
  rocksdb_put(s->db, s->writing, key.data, key.size, value.data, value.size, &error);
  must(error, "put");
}

static void rocksdb_peer_put_batch(void *store, size_t n, const slice *keys, const slice *values) {
  rocksdb_store *s = store;
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  char *error = NULL;
  for (size_t i = 0; i < n; i++)
    rocksdb_writebatch_put(batch, keys[i].data, keys[i].size, values[i].data, values[i].size);
  rocksdb_write(s->db, s->writing, batch, &error);
  must(error, "write");
  rocksdb_writebatch_destroy(batch);
}

static void rocksdb_settle(void *store) {
  rocksdb_compact_range(((rocksdb_store *)store)->db, NULL, 0, NULL, 0);
}

static void count(rocksdb_iterator_t *i, uint32_t n, scan_total *total) {
  char *error = NULL;
  for (; n && rocksdb_iter_valid(i); n--) {
    slice key, value;
    key.data = rocksdb_iter_key(i, &key.size);
    value.data = rocksdb_iter_value(i, &value.size);
    scan_count(total, key, value);
    rocksdb_iter_next(i);
  }
  rocksdb_iter_get_error(i, &error);
  must(error, "iterate");
  rocksdb_iter_destroy(i);
}

static void rocksdb_scan(void *store, scan_total *total) {
  rocksdb_store *s = store;
  rocksdb_iterator_t *i = rocksdb_create_iterator(s->db, s->reading);
  rocksdb_iter_seek_to_first(i);
  count(i, UINT32_MAX, total);
}

static void rocksdb_scan_from(void *store, slice key, uint32_t n, scan_total *total) {
  rocksdb_store *s = store;
  rocksdb_iterator_t *i = rocksdb_create_iterator(s->db, s->reading);
  rocksdb_iter_seek(i, key.data, key.size);
  count(i, n, total);
}

const peer peer_rocksdb = { .name = "rocksdb",
                            .settings = "cache for everything, Bloom filters, no compression, "
                                        "values pinned; compacted before reading; durable: sync",
                            .version = rocksdb_version,
                            .create = rocksdb_peer_open,
                            .open = rocksdb_peer_open,
                            .close = rocksdb_peer_close,
                            .get = rocksdb_peer_get,
                            .put = rocksdb_peer_put,
                            .put_batch = rocksdb_peer_put_batch,
                            .settle = rocksdb_settle,
                            .scan = rocksdb_scan,
                            .scan_from = rocksdb_scan_from,
                            .reader = rocksdb_reader,
                            .reader_close = rocksdb_reader_close };
#endif
