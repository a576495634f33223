/*
** peer_kyoto.c - Kyoto Cabinet's HashDB, mapped whole; gets into a buffer.  Batches are puts
** without a transaction (its transactions are many times slower).  LEVEL_FULL synchronizes the file
** after each put, or batch.
*/
#ifdef BENCH_KYOTO
#include "bench.h"

#include <kclangc.h>
#include <stdlib.h>

typedef struct kyoto_store {
  KCDB *db;
  level level;
  value_buffer buffer;
} kyoto_store;

enum { FIRST_ROOM = 4096 };

static void must(kyoto_store *s, int ok, const char *what) {
  if (!ok) fail("kyoto: %s: %s", what, kcdbemsg(s->db));
}

static const char *kyoto_version(void) {
  static char version[48];
  snprintf(version, sizeof version, "Kyoto Cabinet %s", KCVERSION);
  return version;
}

static void *kyoto_open(const char *folder, level at) {
  kyoto_store *s = calloc(1, sizeof *s);
  char path[700];
  if (!s) fail("out of memory");
  s->db = kcdbnew();
  s->level = at;
  value_buffer_room(&s->buffer, FIRST_ROOM);
  snprintf(path, sizeof path, "%s/data.kch#bnum=%llu#msiz=%llu", folder,
           (unsigned long long)peer_hint.keys * 2,
           (unsigned long long)(2 * (peer_hint.bytes + 64 * peer_hint.keys) + (1u << 20)));
  must(s, kcdbopen(s->db, path, at == LEVEL_READ ? KCOREADER : KCOWRITER | KCOCREATE), "open");
  return s;
}

static void *kyoto_reader(void *store) {
  kyoto_store *s = calloc(1, sizeof *s);
  if (!s) fail("out of memory");
  s->db = ((kyoto_store *)store)->db;
  value_buffer_room(&s->buffer, FIRST_ROOM);
  return s;
}

static void kyoto_reader_close(void *reader) {
  kyoto_store *s = reader;
  free(s->buffer.data);
  free(s);
}

static void kyoto_close(void *store) {
  kyoto_store *s = store;
  must(s, kcdbclose(s->db), "close");
  kcdbdel(s->db);
  kyoto_reader_close(s);
}

/* kcdbgetbuf says the value's whole size, also when the buffer is too small for it. */
static int kyoto_get(void *store, slice key, slice *value) {
  kyoto_store *s = store;
  int32_t size = kcdbgetbuf(s->db, key.data, key.size, s->buffer.data, s->buffer.room);
  if (size < 0) {
    must(s, kcdbecode(s->db) == KCENOREC, "get");
    return 0;
  }
  if ((size_t)size > s->buffer.room) {
    value_buffer_room(&s->buffer, (size_t)size);
    return kyoto_get(store, key, value);
  }
  *value = maph_bytes(s->buffer.data, (size_t)size);
  return 1;
}

static void kyoto_put_batch(void *store, size_t n, const slice *keys, const slice *values) {
  kyoto_store *s = store;
  for (size_t i = 0; i < n; i++)
    must(s, kcdbset(s->db, keys[i].data, keys[i].size, values[i].data, values[i].size), "set");
  if (s->level == LEVEL_FULL) must(s, kcdbsync(s->db, 1, NULL, NULL), "sync");
}

static void kyoto_put(void *store, slice key, slice value) {
  kyoto_put_batch(store, 1, &key, &value);
}

static const char *count(const char *key, size_t key_size, const char *value, size_t value_size,
                         size_t *new_size, void *total) {
  (void)new_size;
  scan_count(total, maph_bytes(key, key_size), maph_bytes(value, value_size));
  return KCVISNOP;
}

static void kyoto_scan(void *store, scan_total *total) {
  kyoto_store *s = store;
  must(s, kcdbiterate(s->db, count, total, 0), "iterate");
}

const peer peer_kyoto = { .name = "kyoto",
                          .settings = "HashDB, 2 buckets a key, mapped whole; batches without its "
                                      "transactions; durable: sync(hard) after each",
                          .version = kyoto_version,
                          .create = kyoto_open,
                          .open = kyoto_open,
                          .close = kyoto_close,
                          .get = kyoto_get,
                          .put = kyoto_put,
                          .put_batch = kyoto_put_batch,
                          .scan = kyoto_scan,
                          .reader = kyoto_reader,
                          .reader_close = kyoto_reader_close };
#endif
