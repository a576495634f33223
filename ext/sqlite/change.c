/*
** change.c - writes that depend on what is there, each at one time: nobody writes between.
**
**     increment     a counter, 0 where there is no such key
**     merge         a JSON merge patch (RFC 7396) of a value that is JSON
**
** They answer as the server's POST .../increment and PATCH do.
*/
#include "sql.h"
#include "entry/json.h"

/* ------------------------------------------------------------------------------------- counters */

typedef struct increment {
  maph_slice key;
  int64_t by, sum;
  const maph_condition *how;
} increment;

static int increment_in(sql_store *store, void *arg, char **message) {
  increment *increment = arg;
  return error_of(store->writer,
                  maph_txn_increment(store->txn, increment->key, increment->by, increment->how,
                                     &increment->sum),
                  message);
}

int change_increment(sql_store *store, maph_slice key, sqlite3_int64 by, const maph_condition *how,
                     sqlite3_int64 *sum, char **message) {
  increment increment = { key, by, 0, how };
  int rc = numbers_note(store, key);
  if (rc == SQLITE_OK) rc = store_write(store, increment_in, &increment, message);
  *sum = increment.sum;
  return rc;
}

/* -------------------------------------------------------------------------------- merge patches */

typedef struct merge {
  maph_slice key, patch;
  const maph_condition *how;
  char *json;
  size_t size, room;
} merge;

static bool add(void *to, const void *bytes, size_t size) {
  merge *merge = to;
  if (bytes_grow(&merge->json, &merge->room, merge->size + size) != SQLITE_OK) return false;
  memcpy(merge->json + merge->size, bytes, size);
  merge->size += size;
  return true;
}

/* The sentence about what is no JSON. */
static int refuse(const json_reader *in, const char *what, char **message) {
  char sentence[JSON_SENTENCE_ROOM];
  json_sentence(in, sentence);
  return fail(message, SQLITE_MISMATCH, sqlite3_mprintf("maph_merge: the %s: %s", what, sentence));
}

static int merge_in(sql_store *store, void *arg, char **message) {
  merge *merge = arg;
  maph_condition put = *merge->how;
  maph_slice target = { "", 0 };
  maph_entry old;
  json_reader in;
  int rc = maph_txn_get_entry(store->txn, merge->key, &old);
  if (rc == MAPH_OK) {
    if (!json_whole(old.value, &in)) return refuse(&in, "value is no JSON", message);
    target = old.value;
    put.key_type = old.key_type;
    put.media_type = old.media_type;
    if (put.expires == 0) put.expires = old.expires;
  } else if (rc != MAPH_NOTFOUND) {
    return error_of(store->writer, rc, message);
  }
  if (!json_merge(target, merge->patch, add, merge)) return SQLITE_NOMEM;
  put.type = MAPH_JSON;
  return error_of(
      store->writer,
      maph_txn_put_if(store->txn, merge->key, maph_bytes(merge->json, merge->size), &put), message);
}

int change_merge(sql_store *store, maph_slice key, maph_slice patch, const maph_condition *how,
                 char **json, size_t *size, char **message) {
  merge merge = { key, patch, how, NULL, 0, 0 };
  json_reader in;
  int rc;
  if (!json_whole(patch, &in)) return refuse(&in, "patch is no JSON", message);
  rc = numbers_note(store, key);
  if (rc == SQLITE_OK) rc = store_write(store, merge_in, &merge, message);
  if (rc != SQLITE_OK) {
    sqlite3_free(merge.json);
    return rc;
  }
  *json = merge.json;
  *size = merge.size;
  return SQLITE_OK;
}
