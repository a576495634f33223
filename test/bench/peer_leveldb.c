/*
** peer_leveldb.c - LevelDB through its C interface: a block cache that holds everything, Bloom
** filters of 10 bits a key, no compression (the values are random).  A load is compacted before it
** is read, outside the timing.  LEVEL_FULL writes with sync.
*/
#ifdef BENCH_LEVELDB
#include "bench.h"

#include <leveldb/c.h>
#include <stdlib.h>

typedef struct leveldb_store {
  leveldb_t *db;
  leveldb_options_t *options;
  leveldb_cache_t *cache;
  leveldb_filterpolicy_t *filter;
  leveldb_readoptions_t *reading;
  leveldb_writeoptions_t *writing;
  char *value; /* the last one handed out */
} leveldb_store;

static void must(char *error, const char *what) {
  if (error) fail("leveldb: %s: %s", what, error);
}

static const char *leveldb_version(void) {
  static char version[32];
  snprintf(version, sizeof version, "LevelDB %d.%d", leveldb_major_version(),
           leveldb_minor_version());
  return version;
}

static void *leveldb_peer_open(const char *folder, level at) {
  leveldb_store *s = must_alloc(sizeof *s);
  char path[600], *error = NULL;
  s->options = leveldb_options_create();
  s->cache = leveldb_cache_create_lru(peer_cache_bytes());
  s->filter = leveldb_filterpolicy_create_bloom(10);
  s->reading = leveldb_readoptions_create();
  s->writing = leveldb_writeoptions_create();
  s->value = NULL;
  leveldb_options_set_create_if_missing(s->options, 1);
  leveldb_options_set_cache(s->options, s->cache);
  leveldb_options_set_filter_policy(s->options, s->filter);
  leveldb_options_set_compression(s->options, leveldb_no_compression);
  leveldb_options_set_write_buffer_size(s->options, 64u << 20);
  leveldb_writeoptions_set_sync(s->writing, at == LEVEL_FULL);
  snprintf(path, sizeof path, "%s/data.leveldb", folder);
  s->db = leveldb_open(s->options, path, &error);
  must(error, "open");
  return s;
}

static void *leveldb_reader(void *store) {
  leveldb_store *s = must_alloc(sizeof *s);
  *s = *(leveldb_store *)store;
  s->value = NULL;
  return s;
}

static void leveldb_reader_close(void *reader) {
  leveldb_store *s = reader;
  if (s->value) leveldb_free(s->value);
  free(s);
}

static void leveldb_peer_close(void *store) {
  leveldb_store *s = store;
  leveldb_close(s->db);
  leveldb_options_destroy(s->options);
  leveldb_cache_destroy(s->cache);
  leveldb_filterpolicy_destroy(s->filter);
  leveldb_readoptions_destroy(s->reading);
  leveldb_writeoptions_destroy(s->writing);
  leveldb_reader_close(s);
}

static int leveldb_peer_get(void *store, slice key, slice *value) {
  leveldb_store *s = store;
  char *error = NULL;
  size_t size;
  if (s->value) leveldb_free(s->value);
  s->value = leveldb_get(s->db, s->reading, key.data, key.size, &size, &error);
  must(error, "get");
  if (!s->value) return 0;
  *value = maph_bytes(s->value, size);
  return 1;
}

static void leveldb_peer_put(void *store, slice key, slice value) {
  leveldb_store *s = store;
  char *error = NULL;
  leveldb_put(s->db, s->writing, key.data, key.size, value.data, value.size, &error);
  must(error, "put");
}

static void leveldb_peer_put_batch(void *store, size_t n, const slice *keys, const slice *values) {
  leveldb_store *s = store;
  leveldb_writebatch_t *batch = leveldb_writebatch_create();
  char *error = NULL;
  for (size_t i = 0; i < n; i++)
    leveldb_writebatch_put(batch, keys[i].data, keys[i].size, values[i].data, values[i].size);
  leveldb_write(s->db, s->writing, batch, &error);
  must(error, "write");
  leveldb_writebatch_destroy(batch);
}

static void leveldb_settle(void *store) {
  leveldb_compact_range(((leveldb_store *)store)->db, NULL, 0, NULL, 0);
}

static void count(leveldb_iterator_t *i, uint32_t n, scan_total *total) {
  char *error = NULL;
  for (; n && leveldb_iter_valid(i); n--) {
    slice key, value;
    key.data = leveldb_iter_key(i, &key.size);
    value.data = leveldb_iter_value(i, &value.size);
    scan_count(total, key, value);
    leveldb_iter_next(i);
  }
  leveldb_iter_get_error(i, &error);
  must(error, "iterate");
  leveldb_iter_destroy(i);
}

static void leveldb_scan(void *store, scan_total *total) {
  leveldb_store *s = store;
  leveldb_iterator_t *i = leveldb_create_iterator(s->db, s->reading);
  leveldb_iter_seek_to_first(i);
  count(i, UINT32_MAX, total);
}

static void leveldb_scan_from(void *store, slice key, uint32_t n, scan_total *total) {
  leveldb_store *s = store;
  leveldb_iterator_t *i = leveldb_create_iterator(s->db, s->reading);
  leveldb_iter_seek(i, key.data, key.size);
  count(i, n, total);
}

const peer peer_leveldb = { .name = "leveldb",
                            .traits = ONE_PROCESS,
                            .settings = "cache for everything, Bloom filters, no compression, 64 "
                                        "MiB buffer; compacted before reading; durable: sync",
                            .version = leveldb_version,
                            .create = leveldb_peer_open,
                            .open = leveldb_peer_open,
                            .close = leveldb_peer_close,
                            .get = leveldb_peer_get,
                            .put = leveldb_peer_put,
                            .put_batch = leveldb_peer_put_batch,
                            .settle = leveldb_settle,
                            .scan = leveldb_scan,
                            .scan_from = leveldb_scan_from,
                            .reader = leveldb_reader,
                            .reader_close = leveldb_reader_close };
#endif
