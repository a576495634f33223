/*
** count.c - counters: values that are whole numbers of 64 bits, in decimal.
*/
#include "calls/count.h"
#include "file/header.h"
#include "file/record.h"
#include "file/view.h"
#include "index/lookup.h"

#include <inttypes.h>
#include <stdio.h>

/* The number that the bytes spell, all of them: digits with a - before them or none.  0: they do
** not. */
static int read_number(const void *bytes, size_t size, int64_t *number) {
  const char *p = bytes, *end = p + size;
  int negative = size > 0 && *p == '-', fits = 1;
  int64_t n = 0;
  p += negative;
  if (p == end) return 0;
  for (; p < end && fits; p++) {
    if (*p < '0' || *p > '9') return 0;
    fits = !__builtin_mul_overflow(n, (int64_t)10, &n)
           && !__builtin_sub_overflow(n, (int64_t)(*p - '0'), &n);
  }
  if (!fits || (!negative && __builtin_sub_overflow((int64_t)0, n, &n))) return 0;
  *number = n;
  return 1;
}

static int find_live(txn *txn, int verify, maph_slice key, item *it) {
  view view;
  int rc = view_check_key(key);
  if (rc == MAPH_OK) rc = txn_find(txn, UINT64_MAX, key, it);
  if (rc == MAPH_OK && (it->kind != KIND_PUT || item_expired(it, 0))) rc = MAPH_NOTFOUND;
  if (rc != MAPH_OK || !verify) return rc;
  txn_view(txn, &view);
  return record_verify(&view, it->offset, it->size);
}

int count_up(txn *txn, int verify, maph_slice key, int64_t by, const maph_condition *condition,
             int64_t *sum) {
  maph_condition put;
  maph_entry old;
  char text[32];
  int64_t number = 0;
  item it;
  int rc = txn->version ? find_live(txn, verify, key, &it) : header_say_given(txn->store);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  memset(&put, 0, sizeof put);
  if (condition) put = *condition;
  put.type = MAPH_INTEGER;
  if (rc == MAPH_OK) {
    record_entry(txn->store, &it, &old);
    if (!read_number(it.value, it.value_size, &number))
      return fail(MAPH_MISMATCH, "%s: the value is no whole number of 64 bits to count with",
                  txn->store->path);
    put.type = old.type;
    put.key_type = old.key_type;
    put.media_type = old.media_type;
    if (put.expires == 0) put.expires = old.expires;
  }
  if (__builtin_add_overflow(number, by, &number))
    return fail(MAPH_MISMATCH, "%s: the sum is no whole number of 64 bits: it was left as it was",
                txn->store->path);
  rc = txn_write(txn, KIND_PUT, key,
                 maph_bytes(text, (size_t)snprintf(text, sizeof text, "%" PRId64, number)), &put);
  if (rc == MAPH_OK && sum) *sum = number;
  return rc;
}
