/*
** peer_tkrzw.c - Tkrzw's HashDBM, through its C interface; gets by a callback that copies the value
** once.  It has no transactions: a batch is so many puts.  LEVEL_FULL synchronizes the file after
** each put, or batch.
*/
#ifdef BENCH_TKRZW
#include "bench.h"

#include <stdlib.h>
#include <tkrzw_langc.h>

typedef struct tkrzw_store {
  TkrzwDBM *dbm;
  level level;
  value_buffer buffer;
  slice found;
} tkrzw_store;

static void must(bool ok, const char *what) {
  if (!ok) fail("tkrzw: %s: %s", what, tkrzw_get_last_status_message());
}

static const char *tkrzw_version(void) {
  static char version[32];
  snprintf(version, sizeof version, "Tkrzw %s", TKRZW_PACKAGE_VERSION);
  return version;
}

static tkrzw_store *open_store(const char *folder, level at, const char *how) {
  tkrzw_store *s = calloc(1, sizeof *s);
  char path[600], settings[128];
  if (!s) fail("out of memory");
  snprintf(path, sizeof path, "%s/data.tkh", folder);
  snprintf(settings, sizeof settings, "dbm=HashDBM,num_buckets=%llu%s",
           (unsigned long long)peer_hint.keys * 2, how);
  s->dbm = tkrzw_dbm_open(path, at != LEVEL_READ, settings);
  must(s->dbm != NULL, "open");
  s->level = at;
  return s;
}

static void *tkrzw_create(const char *folder, level at) {
  return open_store(folder, at, ",truncate=true");
}

static void *tkrzw_open(const char *folder, level at) {
  return open_store(folder, at, ",no_create=true");
}

static void *tkrzw_reader(void *store) {
  tkrzw_store *s = calloc(1, sizeof *s);
  if (!s) fail("out of memory");
  s->dbm = ((tkrzw_store *)store)->dbm;
  return s;
}

static void tkrzw_reader_close(void *reader) {
  tkrzw_store *s = reader;
  free(s->buffer.data);
  free(s);
}

static void tkrzw_close(void *store) {
  tkrzw_store *s = store;
  must(tkrzw_dbm_close(s->dbm), "close");
  tkrzw_reader_close(s);
}

static const char *take(void *arg, const char *key, int32_t key_size, const char *value,
                        int32_t value_size, int32_t *new_size) {
  tkrzw_store *s = arg;
  (void)key;
  (void)key_size;
  (void)new_size;
  if (value) {
    char *copy = value_buffer_room(&s->buffer, (size_t)value_size);
    memcpy(copy, value, (size_t)value_size);
    s->found = maph_bytes(copy, (size_t)value_size);
  }
  return TKRZW_REC_PROC_NOOP;
}

static int tkrzw_get(void *store, slice key, slice *value) {
  tkrzw_store *s = store;
  s->found = maph_bytes(NULL, 0);
  must(tkrzw_dbm_process(s->dbm, key.data, (int32_t)key.size, take, s, false), "process");
  *value = s->found;
  return value->data != NULL;
}

static void tkrzw_put_batch(void *store, size_t n, const slice *keys, const slice *values) {
  tkrzw_store *s = store;
  for (size_t i = 0; i < n; i++) {
    must(tkrzw_dbm_set(s->dbm, keys[i].data, (int32_t)keys[i].size, values[i].data,
                       (int32_t)values[i].size, true),
         "set");
  }
  if (s->level == LEVEL_FULL)
    must(tkrzw_dbm_synchronize(s->dbm, true, NULL, NULL, ""), "synchronize");
}

static void tkrzw_put(void *store, slice key, slice value) {
  tkrzw_put_batch(store, 1, &key, &value);
}

static const char *count(void *arg, const char *key, int32_t key_size, const char *value,
                         int32_t value_size, int32_t *new_size) {
  (void)new_size;
  if (value)
    scan_count(arg, maph_bytes(key, (size_t)key_size), maph_bytes(value, (size_t)value_size));
  return TKRZW_REC_PROC_NOOP;
}

static void tkrzw_scan(void *store, scan_total *total) {
  must(tkrzw_dbm_process_each(((tkrzw_store *)store)->dbm, count, total, false), "process_each");
}

const peer peer_tkrzw = { .name = "tkrzw",
                          .settings = "HashDBM, 2 buckets a key; no transactions: a batch is so "
                                      "many puts; durable: synchronize(hard) after each",
                          .version = tkrzw_version,
                          .create = tkrzw_create,
                          .open = tkrzw_open,
                          .close = tkrzw_close,
                          .get = tkrzw_get,
                          .put = tkrzw_put,
                          .put_batch = tkrzw_put_batch,
                          .scan = tkrzw_scan,
                          .reader = tkrzw_reader,
                          .reader_close = tkrzw_reader_close };
#endif
