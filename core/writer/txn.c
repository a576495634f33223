/*
** txn.c - transactions on a store: their records, what they see, savepoints.
**
** The records of an open transaction lie in the log past `end`, where nobody looks: position is
** where the next one goes.  Which keys it changed is in `changed`, one entry a key, found by a
** table of hashes once there are more than a few.  A lookup goes there first and then to the index.
** Records of one key are chained by prev also inside the transaction, so that a savepoint needs
** nothing but the position: rolling back walks the records that are cut off and sets each key's
** entry to the version before.  Abort is forgetting.
**
** The last records of a large transaction may not be in the log yet (late.c): whatever reads them
** there has them written first.
**
** A transaction that copies another one (txn_copy) repeats what was done once, whatever the time is
** now: an entry that has expired since is there for it.
**
** Locking: all calls are made in a session (session.c), which lasts as long as the transaction.
*/
#include "writer/txn.h"
#include "file/grant.h"
#include "file/header.h"
#include "file/layout.h"
#include "file/log.h"
#include "file/record.h"
#include "file/reserve.h"
#include "file/store.h"
#include "file/walk.h"
#include "index/changed.h"
#include "index/find.h"
#include "index/lookup.h"
#include "order/types.h"
#include "writer/decided.h"

void txn_start(txn *txn, store *store) {
  assert(store_has_turn(store) && store_has_lock(store));
  /* where pages of the log may need room again since they were had */
  if (grant_needed(store)) store->populated = MIN(store->populated, store->space_end);
  memset(txn, 0, offsetof(struct txn, few));
  txn->changed.key = txn->few;
  txn->changed_room = TXN_FEW;
  txn->state = TXN_OPEN;
  txn->store = store;
  txn->start = txn->position = store->space_end;
  txn->before = store->last;
  txn->version = likely(!store->given) ? store->last.version + 1 : 0;
  txn->records = store->last.records;
  txn->bytes = store->last.bytes;
}

void txn_clear(txn *txn) {
  if (txn->changed.key != txn->few) os_free(txn->changed.key);
  os_free(txn->table);
  os_free(txn->late.bytes);
  os_free(txn->savepoints);
}

/* --------------------------------------------------------------------------------- changed keys */

static void table_insert(txn *txn, size_t place) {
  size_t i = txn->changed.key[place].hash & (txn->table_room - 1);
  while (txn->table[i]) i = (i + 1) & (txn->table_room - 1);
  txn->table[i] = (txn->changed.key[place].hash & ~(uint64_t)UINT32_MAX) | (place + 1);
}

static int table_grow(txn *txn) {
  size_t room = txn->table_room ? txn->table_room * 2 : 64, i;
  uint64_t *table;
  while (room < 2 * (txn->changed.count + 1)) room *= 2;
  table = os_alloc_table(room * sizeof *table);
  if (table == NULL) return MAPH_NOMEM;
  os_free(txn->table);
  txn->table = table;
  txn->table_room = room;
  for (i = 0; i < txn->changed.count; i++) table_insert(txn, i);
  return MAPH_OK;
}

/* Twice the room for keys.  The first few need no memory of their own. */
static int keys_grow(txn *txn) {
  size_t room = 2 * txn->changed_room;
  int few = txn->changed.key == txn->few;
  pending *pending = os_realloc(few ? NULL : txn->changed.key, room * sizeof *pending);
  if (pending == NULL) return MAPH_NOMEM;
  if (few) memcpy(pending, txn->few, sizeof txn->few);
  txn->changed.key = pending;
  txn->changed_room = room;
  return MAPH_OK;
}

/* Make room for one more entry, so that noting a record that was written cannot fail. */
static inline int make_room(txn *txn) {
  if (txn->changed.count == txn->changed_room && keys_grow(txn) != MAPH_OK) return MAPH_NOMEM;
  if (txn->changed.count >= TXN_FEW && 2 * (txn->changed.count + 1) > txn->table_room)
    return table_grow(txn);
  return MAPH_OK;
}

void txn_view(txn *txn, view *view) {
  view->store = txn->store;
  view->size = atomic_load_explicit(&txn->store->size, memory_order_acquire);
  view->base = atomic_load_explicit(&txn->store->base, memory_order_acquire);
  view->snapshot = txn->position;
}

static int is_entry_of(txn *txn, const view *view, const pending *pending, uint64_t hash,
                       maph_slice key, item *it) {
  return pending->hash == hash && pending->newest != 0
         && (likely(!late_has(&txn->late, pending->newest)) || late_show(&txn->late, txn->store))
         && record_item(view, pending->newest, view->snapshot, it) == MAPH_OK
         && it->key_size == key.size && memcmp(it->key, key.data, key.size) == 0;
}

/* The entry of this key, with its newest record in *it; NULL: the transaction has not changed
** it. */
static pending *find_pending(txn *txn, const view *view, uint64_t hash, maph_slice key, item *it) {
  size_t i;
  if (txn->table_room == 0) {
    for (i = 0; i < txn->changed.count; i++)
      if (is_entry_of(txn, view, &txn->changed.key[i], hash, key, it)) return &txn->changed.key[i];
    return NULL;
  }
  for (i = hash & (txn->table_room - 1); txn->table[i]; i = (i + 1) & (txn->table_room - 1)) {
    pending *pending = &txn->changed.key[(txn->table[i] & UINT32_MAX) - 1];
    if (((txn->table[i] ^ hash) >> 32) == 0 && is_entry_of(txn, view, pending, hash, key, it))
      return pending;
  }
  return NULL;
}

/* An entry of that hash whose key was rolled back: to be used again, or putting and rolling back
** one key again and again would leave ever more of them in one place of the table. */
static pending *find_unused(txn *txn, uint64_t hash) {
  size_t i;
  if (!txn->rolled_back) return NULL;
  if (txn->table_room == 0) {
    for (i = 0; i < txn->changed.count; i++)
      if (txn->changed.key[i].hash == hash && txn->changed.key[i].newest == 0)
        return &txn->changed.key[i];
    return NULL;
  }
  for (i = hash & (txn->table_room - 1); txn->table[i]; i = (i + 1) & (txn->table_room - 1)) {
    pending *pending = &txn->changed.key[(txn->table[i] & UINT32_MAX) - 1];
    if (pending->hash == hash && pending->newest == 0) return pending;
  }
  return NULL;
}

static inline void note_new(txn *txn, uint64_t hash, uint64_t offset, uint64_t base) {
  pending *unused = find_unused(txn, hash),
          *pending = unused ? unused : &txn->changed.key[txn->changed.count++];
  pending->hash = hash;
  pending->newest = pending->first = offset;
  pending->base = base;
  if (txn->table_room && pending != unused) table_insert(txn, txn->changed.count - 1);
}

static void link_within(txn *txn, uint64_t from, uint64_t to) {
  store_word(txn->store->write_base, word_at(txn->store->write_base, from), to);
}

int txn_adopt(txn *txn, const item *it) {
  maph_slice key = maph_bytes(it->key, it->key_size);
  uint64_t hash = index_hash(txn->store, key);
  pending *pending;
  item old;
  view view;
  int rc = make_room(txn);
  if (rc != MAPH_OK) return rc;
  if (it->kind == KIND_PUT) txn->changed.retyped |= types_of_put(it);
  txn->position = it->offset + it->size;
  txn_view(txn, &view);
  pending = find_pending(txn, &view, hash, key, &old);
  if (pending) {
    link_within(txn, pending->newest, it->offset);
    pending->newest = it->offset;
  } else {
    note_new(txn, hash, it->offset, it->prev);
  }
  return MAPH_OK;
}

/* -------------------------------------------------------------------------------------- reading */

static inline void prefetch(const txn *txn, const view *view, uint64_t hash) {
  index_prefetch(view, hash);
  if (txn->table_room) __builtin_prefetch(&txn->table[hash & (txn->table_room - 1)], 1);
}

void txn_prefetch(txn *txn, maph_slice key) {
  view view;
  txn_view(txn, &view);
  prefetch(txn, &view, index_hash(txn->store, key));
}

/* *pending: the key's entry, or NULL. */
static inline int find(txn *txn, uint64_t position, maph_slice key, uint64_t hash,
                       pending **pending, item *it) {
  view view;
  int rc;
  txn_view(txn, &view);
  *pending = find_pending(txn, &view, hash, key, it);
  if (*pending) {
    while (it->offset >= position) {
      if (it->prev == 0) return MAPH_NOTFOUND;
      rc = record_item(&view, it->prev, view.snapshot, it);
      if (rc != MAPH_OK) return rc;
    }
    return MAPH_OK;
  }
  if (unlikely(txn->late.failed)) {
    rc = txn->late.failed;
    txn->late.failed = MAPH_OK;
    return rc;
  }
  if (decided_changes(txn->store, hash)) {
    rc = decided_wait(txn->store);
    if (rc != MAPH_OK) return rc;
  }
  view.snapshot = txn->start;
  return index_find(&view, key, hash, it);
}

int txn_find(txn *txn, uint64_t position, maph_slice key, item *it) {
  pending *pending;
  return find(txn, position, key, index_hash(txn->store, key), &pending, it);
}

/* -------------------------------------------------------------------------------------- writing */

static __attribute__((noinline)) int say_value(maph_slice value) {
  return value.size > VALUE_MAX ? fail(MAPH_TOOBIG, "a value of %zu bytes: values have at most %u",
                                       value.size, VALUE_MAX)
                                : fail(MAPH_MISUSE, "a value of %zu bytes at NULL", value.size);
}

static __attribute__((noinline)) int check_said(const maph_condition *condition) {
  if (condition->media_type.size > 0 && condition->media_type.data == NULL)
    return fail(MAPH_MISUSE, "a media type of %zu bytes at NULL", condition->media_type.size);
  if (condition->media_type.size > MEDIA_TYPE_MAX)
    return fail(MAPH_TOOBIG, "a media type of %zu bytes: at most %d are kept",
                condition->media_type.size, MEDIA_TYPE_MAX);
  if (condition->key_type < MAPH_KEY_BYTES || condition->key_type > MAPH_KEY_BLOB)
    return fail(MAPH_MISUSE, "key type %d: use one of MAPH_KEY_*", condition->key_type);
  if (condition->type < MAPH_BLOB || condition->type > MAPH_NULL)
    return fail(MAPH_MISUSE, "value type %d: use one of MAPH_BLOB ... MAPH_NULL", condition->type);
  if (condition->when < MAPH_ALWAYS || condition->when > MAPH_IF_VERSION)
    return fail(MAPH_MISUSE, "condition %d: use one of MAPH_ALWAYS ... MAPH_IF_VERSION",
                condition->when);
  return MAPH_OK;
}

static inline int check_sizes(maph_slice key, maph_slice value, const maph_condition *condition) {
  int rc = view_check_key(key);
  if (unlikely(rc != MAPH_OK)) return rc;
  if (unlikely(value.size > VALUE_MAX || (value.size > 0 && value.data == NULL)))
    return say_value(value);
  return likely(condition == NULL) ? MAPH_OK : check_said(condition);
}

/* Does what is there allow it?  there: the live entry, or NULL. */
static int check_condition(const store *store, const maph_condition *condition, const item *there) {
  uint64_t version = 0;
  if (condition == NULL) return MAPH_OK;
  if (there) version = version_shown(store, there->version);
  if (condition->outcome) {
    condition->outcome->existed = there != NULL;
    condition->outcome->version = version;
  }
  switch (condition->when) {
    case MAPH_IF_ABSENT:
      return there ? fail(MAPH_EXISTS, "%s: the key is there already", store->path) : MAPH_OK;
    case MAPH_IF_PRESENT:
      return there ? MAPH_OK : fail(MAPH_NOTFOUND, "%s: no such key", store->path);
    case MAPH_IF_VERSION:
      if (there && version == condition->version) return MAPH_OK;
      return fail(MAPH_CONFLICT, "%s: the key is %s %llu, not at %llu", store->path,
                  there ? "at version" : "missing: version", (unsigned long long)version,
                  (unsigned long long)condition->version);
    default: return MAPH_OK;
  }
}

static void fill_put(put_parts *put, int kind, maph_slice key, maph_slice value,
                     const maph_condition *condition, uint64_t version, int again) {
  put->kind = kind;
  put->flags = 0;
  put->key = key;
  put->value = kind == KIND_PUT ? value : maph_bytes(NULL, 0);
  put->media_type = maph_bytes(NULL, 0);
  put->expires = put->prev = 0;
  put->version = version;
  if (condition == NULL) return;
  put->flags |= condition->key_type * FLAG_TEXT_KEY;
  if (condition->expires && (kind == KIND_PUT || again)) {
    put->flags |= FLAG_EXPIRY;
    put->expires = condition->expires;
  }
  if (kind != KIND_PUT) return;
  put->flags |= condition->type;
  if (condition->media_type.size) {
    put->flags |= FLAG_ATTRIBUTES;
    put->media_type = condition->media_type;
  }
}

int txn_check_sizes(maph_slice key, maph_slice value, const maph_condition *condition) {
  return check_sizes(key, value, condition);
}

void txn_fill_put(put_parts *put, maph_slice key, maph_slice value, const maph_condition *condition,
                  uint64_t version) {
  fill_put(put, KIND_PUT, key, value, condition, version, 0);
}

/* The totals of the store after this record.  old: the version before, of any kind, or NULL. */
static void count(txn *txn, const item *old, int kind, uint64_t size) {
  if (old && old->kind == KIND_PUT) {
    txn->records--;
    txn->bytes -= old->size;
  }
  if (kind == KIND_PUT) {
    txn->records++;
    txn->bytes += size;
  }
  txn->operations++;
}

/* A key that was put before may be of another type now. */
static void note_type(txn *txn, const item *old, const put_parts *put) {
  if (likely(old->kind == KIND_PUT && ((old->flags ^ put->flags) & FLAG_KEY_TYPE) == 0)) return;
  txn->changed.retyped |= types_of_key(put->flags, put->key);
}

/* again: it was done before, so no entry has expired, and a delete keeps its expiry. */
static int write_one(txn *txn, int kind, maph_slice key, maph_slice value,
                     const maph_condition *condition, int again) {
  store *store = txn->store;
  uint64_t hash, size, w8, need = key.size + value.size + 1024;
  item old;
  pending *pending;
  put_parts put;
  int rc = check_sizes(key, value, condition), found, is_live;
  view view;
  if (unlikely(txn->version == 0) && !again) return header_say_given(store);
  if (rc != MAPH_OK) return rc;
  if (txn->operations >= UINT32_MAX)
    return fail(MAPH_FULL, "%s: a transaction has at most 2^32-1 operations", store->path);
  hash = index_hash(store, key);
  txn_view(txn, &view);
  prefetch(txn, &view, hash);
  rc = make_room(txn);
  if (likely(kind == KIND_PUT || txn->puts) && !again)
    store->spares = SPARES_DELETES;
  else if (!again)
    store->spares = SPARES_COMPACTION;
  if (rc == MAPH_OK && unlikely(txn->late.bytes != NULL || txn->position + need > store->populated))
    rc = late_room(&txn->late, store, txn->position, need);
  if (rc != MAPH_OK) return rc;
  rc = find(txn, UINT64_MAX, key, hash, &pending, &old);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  found = rc == MAPH_OK;
  is_live = found && old.kind == KIND_PUT
            && (again || likely((old.flags & FLAG_EXPIRY) == 0) || !item_expired(&old, 0));
  rc = check_condition(store, condition, is_live ? &old : NULL);
  if (rc == MAPH_OK && kind == KIND_DELETE && !is_live)
    rc = fail(MAPH_NOTFOUND, "%s: no such key", store->path);
  if (rc != MAPH_OK) return rc;
  fill_put(&put, kind, key, value, condition, txn->version, again);
  put.prev = found ? old.offset : 0;
  if (unlikely(txn->late.bytes != NULL))
    late_put(&txn->late, store, txn->position, &put, &size, &w8);
  else
    rc = log_write_put(store, txn->position, &put, &size, &w8);
  if (rc != MAPH_OK) return rc;
  count(txn, found ? &old : NULL, kind, size);
  txn->puts |= kind == KIND_PUT;
  txn->digest = record_digest(txn->digest, txn->position, w8);
  if (found && kind == KIND_PUT) note_type(txn, &old, &put);
  if (pending) {
    link_within(txn, pending->newest, txn->position);
    pending->newest = txn->position;
  } else {
    note_new(txn, hash, txn->position, put.prev);
  }
  txn->position += size;
  if (condition && condition->outcome)
    condition->outcome->version = version_shown(store, txn->version);
  return MAPH_OK;
}

int txn_at(txn *txn, uint64_t version) {
  const store *store = txn->store;
  uint64_t least = MAX(txn->version, txn->before.version + 1);
  if (!store->given)
    return fail(MAPH_MISUSE,
                "%s: this store counts its own versions: make one with MAPH_VERSIONS_GIVEN",
                store->path);
  if (version > VERSION_MAX)
    return fail(MAPH_MISUSE, "%s: version %llu: they are at most %llu", store->path,
                (unsigned long long)version, (unsigned long long)VERSION_MAX);
  if (version < least)
    return fail(MAPH_CONFLICT, "%s: version %llu: %llu was %s already: say one %s it", store->path,
                (unsigned long long)version,
                (unsigned long long)(txn->version ? txn->version : txn->before.version),
                txn->version ? "said" : "committed", txn->version ? "not below" : "above");
  txn->version = version;
  return MAPH_OK;
}

int txn_write(txn *txn, int kind, maph_slice key, maph_slice value,
              const maph_condition *condition) {
  assert(store_has_turn(txn->store) && txn->state == TXN_OPEN);
  return write_one(txn, kind, key, value, condition, 0);
}

int txn_copy(txn *txn, const item *it) {
  maph_entry entry;
  maph_condition condition;
  record_entry(txn->store, it, &entry);
  memset(&condition, 0, sizeof condition);
  condition.expires = entry.expires;
  condition.type = entry.type <= MAPH_NULL ? entry.type : MAPH_BLOB;
  condition.key_type = entry.key_type <= MAPH_KEY_BLOB ? entry.key_type : MAPH_KEY_BYTES;
  condition.media_type = entry.media_type;
  return write_one(txn, it->kind, entry.key, entry.value, &condition, 1);
}

int txn_sweep(txn *txn, maph_slice key, uint64_t now) {
  maph_condition condition;
  item it;
  int rc = txn_find(txn, UINT64_MAX, key, &it);
  if (rc == MAPH_OK && (it.kind != KIND_PUT || !item_expired(&it, now))) rc = MAPH_NOTFOUND;
  if (rc != MAPH_OK) return rc;
  memset(&condition, 0, sizeof condition);
  condition.expires = it.expires;
  condition.key_type = (it.flags & FLAG_KEY_TYPE) / FLAG_TEXT_KEY;
  txn->store->spares = SPARES_COMPACTION;
  return write_one(txn, KIND_DELETE, key, maph_bytes(NULL, 0), &condition, 1);
}

/* ----------------------------------------------------------------------------------- savepoints */

/* The highest savepoint numbered n or less; its place, or -1. */
static int savepoint_at(const txn *txn, int n) {
  int i = (int)txn->savepoint_count - 1;
  while (i >= 0 && txn->savepoints[i].n > n) i--;
  return i;
}

int txn_savepoint(txn *txn, int n) {
  int at;
  savepoint *savepoint;
  if (n < 0) return fail(MAPH_MISUSE, "savepoint %d: number them from 0", n);
  at = savepoint_at(txn, n - 1) + 1;
  if ((size_t)at == txn->savepoint_room) {
    size_t room = txn->savepoint_room ? 2 * txn->savepoint_room : 8;
    savepoint = os_realloc(txn->savepoints, room * sizeof *savepoint);
    if (savepoint == NULL) return MAPH_NOMEM;
    txn->savepoints = savepoint;
    txn->savepoint_room = room;
  }
  savepoint = &txn->savepoints[at];
  savepoint->n = n;
  savepoint->position = txn->position;
  savepoint->version = txn->version;
  savepoint->operations = txn->operations;
  savepoint->records = txn->records;
  savepoint->bytes = txn->bytes;
  savepoint->digest = txn->digest;
  txn->savepoint_count = (size_t)at + 1;
  return MAPH_OK;
}

void txn_release(txn *txn, int n) {
  txn->savepoint_count = n > 0 ? (size_t)(savepoint_at(txn, n - 1) + 1) : 0;
}

/* Each key changed past `position` goes back to its version before. */
static int cut_pending(txn *txn, uint64_t position) {
  int rc = MAPH_OK;
  view view;
  walk walk;
  txn_view(txn, &view);
  walk_begin(&walk, &view, position, txn->position);
  while (walk_next(&walk, &rc)) {
    maph_slice key = maph_bytes(walk.it.key, walk.it.key_size);
    item newest;
    pending *pending;
    /* what a prepare that was taken back left is no data */
    if (!walk_is_data(&walk) || walk.it.prev >= position) continue;
    pending = find_pending(txn, &view, index_hash(txn->store, key), key, &newest);
    if (pending) pending->newest = walk.it.prev >= txn->start ? walk.it.prev : 0;
    txn->rolled_back = 1;
    if (walk.it.prev >= txn->start) link_within(txn, walk.it.prev, 0);
  }
  return rc;
}

int txn_rollback_to(txn *txn, int n, uint64_t *kept) {
  savepoint whole;
  const savepoint *savepoint = &whole;
  int rc, at = savepoint_at(txn, n);
  if (at >= 0) {
    savepoint = &txn->savepoints[at];
  } else {
    memset(&whole, 0, sizeof whole);
    whole.position = txn->start;
    whole.version = txn->store->given ? 0 : txn->version;
    whole.records = txn->before.records;
    whole.bytes = txn->before.bytes;
  }
  rc = late_write(&txn->late, txn->store);
  if (rc == MAPH_OK) rc = cut_pending(txn, savepoint->position);
  if (rc == MAPH_OK && savepoint->position < txn->floor)
    rc = log_cover(txn->store, savepoint->position, txn->floor);
  if (rc != MAPH_OK) return rc;
  /* pads belong to nobody */
  if (savepoint->position <= txn->start) txn->start = MAX(txn->start, txn->floor);
  txn->position = MAX(savepoint->position, txn->floor);
  *kept = savepoint->position;
  txn->version = savepoint->version;
  txn->operations = savepoint->operations;
  txn->records = savepoint->records;
  txn->bytes = savepoint->bytes;
  txn->digest = savepoint->digest;
  txn->savepoint_count = (size_t)(at + 1);
  return MAPH_OK;
}
