/*
** lookup.c - the live record of a key in a view: where the index leads, whether it expired, and
** whether its bytes are those that were written.
*/
#include "file/record.h"
#include "file/store.h"
#include "index/find.h"
#include "index/lookup.h"

int view_check_key(maph_slice key) {
  if (unlikely(key.size == 0 || key.data == NULL))
    return fail(MAPH_MISUSE, "an empty key: keys have 1 to %d bytes", KEY_MAX);
  if (unlikely(key.size > KEY_MAX))
    return fail(MAPH_TOOBIG, "a key of %zu bytes: keys have 1 to %d", key.size, KEY_MAX);
  return MAPH_OK;
}

int item_expired(const item *it, uint64_t now) {
  return (it->flags & FLAG_EXPIRY) && record_expired(it->expires, now);
}

int item_verify(const view *view, const item *it) {
  if (!is_short(view->store, it->offset) && !record_newest(view, it->offset))
    return fail_corrupt(view->store->path, it->offset,
                        "the index leads to a record that a later one superseded");
  return record_verify(view, it->offset, it->size);
}

int item_newest(const view *view, const item *it, int *rc) {
  maph_slice key = maph_bytes(it->key, it->key_size);
  item newest;
  if (likely(record_newest(view, it->offset))) return 1;
  if (!is_short(view->store, it->offset)) return 0;
  *rc = index_find(view, key, index_hash(view->store, key), &newest);
  return *rc == MAPH_OK && newest.offset == it->offset;
}

int view_find(const view *view, maph_slice key, uint64_t now, int verify, item *it) {
  int rc = view_check_key(key);
  if (unlikely(rc != MAPH_OK)) return rc;
  rc = index_find(view, key, index_hash(view->store, key), it);
  if (rc == MAPH_OK && verify) rc = item_verify(view, it);
  if (rc != MAPH_OK) return rc;
  return it->kind != KIND_PUT || item_expired(it, now) ? MAPH_NOTFOUND : MAPH_OK;
}
