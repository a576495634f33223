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
** A transaction that copies another one (txn_copy) repeats what was done once, whatever the time is
** now: an entry that has expired since is there for it.
**
** Locking: all calls are made in a session (session.c), which lasts as long as the transaction.
*/
#include "writer/txn.h"
#include "file/grant.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "file/walk.h"
#include "index/find.h"
#include "index/index.h"
#include "index/lookup.h"
#include "writer/decided.h"

void txn_start(txn *t, store *s) {
  assert(store_has_turn(s) && store_has_lock(s));
  /* where pages of the log may need room again since they were had */
  if (grant_needed(s)) s->populated = MIN(s->populated, s->space_end);
  memset(t, 0, offsetof(txn, few));
  t->changed.key = t->few;
  t->changed_room = TXN_FEW;
  t->state = TXN_OPEN;
  t->s = s;
  t->start = t->position = s->space_end;
  t->before = s->last;
  t->version = s->last.version + 1;
  t->records = s->last.records;
  t->bytes = s->last.bytes;
}

void txn_clear(txn *t) {
  if (t->changed.key != t->few) os_free(t->changed.key);
  os_free(t->table);
  os_free(t->savepoints);
}

/* --------------------------------------------------------------------------------- changed keys */

static void table_insert(txn *t, size_t place) {
  size_t i = t->changed.key[place].hash & (t->table_room - 1);
  while (t->table[i]) i = (i + 1) & (t->table_room - 1);
  t->table[i] = (t->changed.key[place].hash & ~(uint64_t)UINT32_MAX) | (place + 1);
}

static int table_grow(txn *t) {
  size_t room = t->table_room ? t->table_room * 2 : 64, i;
  uint64_t *table;
  while (room < 2 * (t->changed.count + 1)) room *= 2;
  table = os_alloc(room * sizeof *table);
  if (table == NULL) return MAPH_NOMEM;
  os_free(t->table);
  t->table = table;
  t->table_room = room;
  for (i = 0; i < t->changed.count; i++) table_insert(t, i);
  return MAPH_OK;
}

/* Twice the room for keys.  The first few need no memory of their own. */
static int keys_grow(txn *t) {
  size_t room = 2 * t->changed_room;
  int few = t->changed.key == t->few;
  pending *p = os_realloc(few ? NULL : t->changed.key, room * sizeof *p);
  if (p == NULL) return MAPH_NOMEM;
  if (few) memcpy(p, t->few, sizeof t->few);
  t->changed.key = p;
  t->changed_room = room;
  return MAPH_OK;
}

/* Make room for one more entry, so that noting a record that was written cannot fail. */
static int make_room(txn *t) {
  if (t->changed.count == t->changed_room && keys_grow(t) != MAPH_OK) return MAPH_NOMEM;
  if (t->changed.count >= TXN_FEW && 2 * (t->changed.count + 1) > t->table_room)
    return table_grow(t);
  return MAPH_OK;
}

void txn_view(txn *t, view *v) {
  v->s = t->s;
  v->size = atomic_load_explicit(&t->s->size, memory_order_acquire);
  v->base = atomic_load_explicit(&t->s->base, memory_order_acquire);
  v->snapshot = t->position;
}

static int is_entry_of(const view *v, const pending *p, uint64_t hash, maph_slice key, item *it) {
  return p->hash == hash && p->newest != 0 && record_item(v, p->newest, v->snapshot, it) == MAPH_OK
         && it->key_size == key.size && memcmp(it->key, key.data, key.size) == 0;
}

/* The entry of this key, with its newest record in *it; NULL: the transaction has not changed
** it. */
static pending *find_pending(txn *t, uint64_t hash, maph_slice key, item *it) {
  view v;
  size_t i;
  if (t->changed.count == 0) return NULL;
  txn_view(t, &v);
  if (t->table_room == 0) {
    for (i = 0; i < t->changed.count; i++)
      if (is_entry_of(&v, &t->changed.key[i], hash, key, it)) return &t->changed.key[i];
    return NULL;
  }
  for (i = hash & (t->table_room - 1); t->table[i]; i = (i + 1) & (t->table_room - 1)) {
    pending *p = &t->changed.key[(t->table[i] & UINT32_MAX) - 1];
    if (((t->table[i] ^ hash) >> 32) == 0 && is_entry_of(&v, p, hash, key, it)) return p;
  }
  return NULL;
}

/* An entry of that hash whose key was rolled back: to be used again, or putting and rolling back
** one key again and again would leave ever more of them in one place of the table. */
static pending *find_unused(txn *t, uint64_t hash) {
  size_t i;
  if (!t->rolled_back) return NULL;
  if (t->table_room == 0) {
    for (i = 0; i < t->changed.count; i++)
      if (t->changed.key[i].hash == hash && t->changed.key[i].newest == 0)
        return &t->changed.key[i];
    return NULL;
  }
  for (i = hash & (t->table_room - 1); t->table[i]; i = (i + 1) & (t->table_room - 1)) {
    pending *p = &t->changed.key[(t->table[i] & UINT32_MAX) - 1];
    if (p->hash == hash && p->newest == 0) return p;
  }
  return NULL;
}

static void note_new(txn *t, uint64_t hash, uint64_t offset, uint64_t base) {
  pending *unused = find_unused(t, hash),
          *p = unused ? unused : &t->changed.key[t->changed.count++];
  p->hash = hash;
  p->newest = p->first = offset;
  p->base = base;
  if (t->table_room && p != unused) table_insert(t, t->changed.count - 1);
}

static void link_within(txn *t, uint64_t from, uint64_t to) {
  store_word(t->s->write_base, word_at(t->s->write_base, from), to);
}

int txn_adopt(txn *t, const item *it) {
  maph_slice key = maph_bytes(it->key, it->key_size);
  uint64_t hash = index_hash(t->s, key);
  pending *p;
  item old;
  int rc = make_room(t);
  if (rc != MAPH_OK) return rc;
  t->position = it->offset + it->size;
  p = find_pending(t, hash, key, &old);
  if (p) {
    link_within(t, p->newest, it->offset);
    p->newest = it->offset;
  } else {
    note_new(t, hash, it->offset, it->prev);
  }
  return MAPH_OK;
}

/* -------------------------------------------------------------------------------------- reading */

int txn_find(txn *t, uint64_t position, maph_slice key, item *it) {
  uint64_t hash = index_hash(t->s, key);
  view v;
  int rc;
  txn_view(t, &v);
  if (find_pending(t, hash, key, it)) {
    while (it->offset >= position) {
      if (it->prev == 0) return MAPH_NOTFOUND;
      rc = record_item(&v, it->prev, v.snapshot, it);
      if (rc != MAPH_OK) return rc;
    }
    return MAPH_OK;
  }
  if (decided_changes(t->s, hash)) {
    rc = decided_wait(t->s);
    if (rc != MAPH_OK) return rc;
  }
  v.snapshot = t->start;
  return index_find(&v, key, hash, it);
}

/* -------------------------------------------------------------------------------------- writing */

static int check_sizes(maph_slice key, maph_slice value, const maph_condition *c) {
  int rc = view_check_key(key);
  if (rc != MAPH_OK) return rc;
  if (value.size > VALUE_MAX)
    return fail(MAPH_TOOBIG, "a value of %zu bytes: values have at most %u", value.size, VALUE_MAX);
  if (value.size > 0 && value.data == NULL)
    return fail(MAPH_MISUSE, "a value of %zu bytes at NULL", value.size);
  if (c == NULL) return MAPH_OK;
  if (c->media_type.size > 0 && c->media_type.data == NULL)
    return fail(MAPH_MISUSE, "a media type of %zu bytes at NULL", c->media_type.size);
  if (c->media_type.size > MEDIA_TYPE_MAX)
    return fail(MAPH_TOOBIG, "a media type of %zu bytes: at most %d are kept", c->media_type.size,
                MEDIA_TYPE_MAX);
  if (c->key_type < MAPH_KEY_BYTES || c->key_type > MAPH_KEY_BLOB)
    return fail(MAPH_MISUSE, "key type %d: use one of MAPH_KEY_*", c->key_type);
  if (c->type < MAPH_BLOB || c->type > MAPH_NULL)
    return fail(MAPH_MISUSE, "value type %d: use one of MAPH_BLOB ... MAPH_NULL", c->type);
  if (c->when < MAPH_ALWAYS || c->when > MAPH_IF_VERSION)
    return fail(MAPH_MISUSE, "condition %d: use one of MAPH_ALWAYS ... MAPH_IF_VERSION", c->when);
  return MAPH_OK;
}

/* Does what is there allow it?  there: the live entry, or NULL. */
static int check_condition(const store *s, const maph_condition *c, const item *there) {
  if (c == NULL) return MAPH_OK;
  if (c->outcome) {
    c->outcome->existed = there != NULL;
    c->outcome->version = there ? there->version : 0;
  }
  switch (c->when) {
    case MAPH_IF_ABSENT:
      return there ? fail(MAPH_EXISTS, "%s: the key is there already", s->path) : MAPH_OK;
    case MAPH_IF_PRESENT: return there ? MAPH_OK : fail(MAPH_NOTFOUND, "%s: no such key", s->path);
    case MAPH_IF_VERSION:
      if (there && there->version == c->version) return MAPH_OK;
      return fail(MAPH_CONFLICT, "%s: the key is %s %llu, not at %llu", s->path,
                  there ? "at version" : "missing: version",
                  (unsigned long long)(there ? there->version : 0), (unsigned long long)c->version);
    default: return MAPH_OK;
  }
}

static void fill_put(log_put *put, int kind, maph_slice key, maph_slice value,
                     const maph_condition *c, uint64_t version, int again) {
  memset(put, 0, sizeof *put);
  put->kind = kind;
  put->key = key;
  put->version = version;
  if (kind == KIND_PUT) put->value = value;
  if (c == NULL) return;
  put->flags |= c->key_type * FLAG_TEXT_KEY;
  if (c->expires && (kind == KIND_PUT || again)) {
    put->flags |= FLAG_EXPIRY;
    put->expires = c->expires;
  }
  if (kind != KIND_PUT) return;
  put->flags |= c->type;
  if (c->media_type.size) {
    put->flags |= FLAG_ATTRIBUTES;
    put->media_type = c->media_type;
  }
}

int txn_check_sizes(maph_slice key, maph_slice value, const maph_condition *c) {
  return check_sizes(key, value, c);
}

void txn_fill_put(log_put *put, maph_slice key, maph_slice value, const maph_condition *c,
                  uint64_t version) {
  fill_put(put, KIND_PUT, key, value, c, version, 0);
}

/* The totals of the store after this record.  old: the version before, of any kind, or NULL. */
static void count(txn *t, const item *old, int kind, uint64_t size) {
  if (old && old->kind == KIND_PUT) {
    t->records--;
    t->bytes -= old->size;
  }
  if (kind == KIND_PUT) {
    t->records++;
    t->bytes += size;
  }
  t->operations++;
}

/* again: it was done before, so no entry has expired, and a delete keeps its expiry. */
static int write_one(txn *t, int kind, maph_slice key, maph_slice value, const maph_condition *c,
                     int again) {
  store *s = t->s;
  uint64_t hash, size, w8;
  item old;
  pending *p;
  log_put put;
  int rc = check_sizes(key, value, c), found, is_live;
  view v;
  if (rc != MAPH_OK) return rc;
  if (t->operations >= UINT32_MAX)
    return fail(MAPH_FULL, "%s: a transaction has at most 2^32-1 operations", s->path);
  hash = index_hash(s, key);
  txn_view(t, &v);
  index_prefetch(&v, hash);
  rc = make_room(t);
  if (!again) s->spares = t->puts || kind == KIND_PUT ? LOG_SPARES_DELETES : LOG_SPARES_COMPACTION;
  if (rc == MAPH_OK) rc = log_room(s, t->position + key.size + value.size + 1024);
  if (rc != MAPH_OK) return rc;
  rc = txn_find(t, UINT64_MAX, key, &old);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  found = rc == MAPH_OK;
  is_live = found && old.kind == KIND_PUT && (again || !item_expired(&old, 0));
  rc = check_condition(s, c, is_live ? &old : NULL);
  if (rc == MAPH_OK && kind == KIND_DELETE && !is_live)
    rc = fail(MAPH_NOTFOUND, "%s: no such key", s->path);
  if (rc != MAPH_OK) return rc;
  fill_put(&put, kind, key, value, c, t->version, again);
  put.prev = found ? old.offset : 0;
  rc = log_write_put(s, t->position, &put, &size, &w8);
  if (rc != MAPH_OK) return rc;
  count(t, found ? &old : NULL, kind, size);
  t->puts |= kind == KIND_PUT;
  t->digest = record_digest(t->digest, t->position, w8);
  p = found && old.offset >= t->start ? find_pending(t, hash, key, &old) : NULL;
  if (p) {
    link_within(t, p->newest, t->position);
    p->newest = t->position;
  } else {
    note_new(t, hash, t->position, put.prev);
  }
  t->position += size;
  if (c && c->outcome) c->outcome->version = t->version;
  return MAPH_OK;
}

int txn_write(txn *t, int kind, maph_slice key, maph_slice value, const maph_condition *c) {
  assert(store_has_turn(t->s) && t->state == TXN_OPEN);
  return write_one(t, kind, key, value, c, 0);
}

int txn_copy(txn *t, const item *it) {
  maph_entry e;
  maph_condition c;
  record_entry(it, &e);
  memset(&c, 0, sizeof c);
  c.expires = e.expires;
  c.type = e.type <= MAPH_NULL ? e.type : MAPH_BLOB;
  c.key_type = e.key_type <= MAPH_KEY_BLOB ? e.key_type : MAPH_KEY_BYTES;
  c.media_type = e.media_type;
  return write_one(t, it->kind, e.key, e.value, &c, 1);
}

int txn_sweep(txn *t, maph_slice key, uint64_t now) {
  maph_condition c;
  item it;
  int rc = txn_find(t, UINT64_MAX, key, &it);
  if (rc == MAPH_OK && (it.kind != KIND_PUT || !item_expired(&it, now))) rc = MAPH_NOTFOUND;
  if (rc != MAPH_OK) return rc;
  memset(&c, 0, sizeof c);
  c.expires = it.expires;
  c.key_type = (it.flags & FLAG_KEY_TYPE) / FLAG_TEXT_KEY;
  t->s->spares = LOG_SPARES_COMPACTION;
  return write_one(t, KIND_DELETE, key, maph_bytes(NULL, 0), &c, 1);
}

/* ----------------------------------------------------------------------------------- savepoints */

/* The highest savepoint numbered n or less; its place, or -1. */
static int savepoint_at(const txn *t, int n) {
  int i = (int)t->savepoint_count - 1;
  while (i >= 0 && t->savepoints[i].n > n) i--;
  return i;
}

int txn_savepoint(txn *t, int n) {
  int at;
  savepoint *p;
  if (n < 0) return fail(MAPH_MISUSE, "savepoint %d: number them from 0", n);
  at = savepoint_at(t, n - 1) + 1;
  if ((size_t)at == t->savepoint_room) {
    size_t room = t->savepoint_room ? 2 * t->savepoint_room : 8;
    p = os_realloc(t->savepoints, room * sizeof *p);
    if (p == NULL) return MAPH_NOMEM;
    t->savepoints = p;
    t->savepoint_room = room;
  }
  p = &t->savepoints[at];
  p->n = n;
  p->position = t->position;
  p->operations = t->operations;
  p->records = t->records;
  p->bytes = t->bytes;
  p->digest = t->digest;
  t->savepoint_count = (size_t)at + 1;
  return MAPH_OK;
}

void txn_release(txn *t, int n) { t->savepoint_count = (size_t)(savepoint_at(t, n - 1) + 1); }

/* Each key changed past `position` goes back to its version before. */
static int cut_pending(txn *t, uint64_t position) {
  int rc = MAPH_OK;
  view v;
  walk w;
  txn_view(t, &v);
  w = walk_from(&v, position, t->position);
  while (walk_next(&w, &rc)) {
    maph_slice key = maph_bytes(w.it.key, w.it.key_size);
    item newest;
    pending *p;
    /* what a prepare that was taken back left is no data */
    if (!walk_is_data(&w) || w.it.prev >= position) continue;
    p = find_pending(t, index_hash(t->s, key), key, &newest);
    if (p) p->newest = w.it.prev >= t->start ? w.it.prev : 0;
    t->rolled_back = 1;
    if (w.it.prev >= t->start) link_within(t, w.it.prev, 0);
  }
  return rc;
}

int txn_rollback_to(txn *t, int n, uint64_t *kept) {
  savepoint whole;
  const savepoint *p = &whole;
  int rc, at = savepoint_at(t, n);
  if (at >= 0) {
    p = &t->savepoints[at];
  } else {
    memset(&whole, 0, sizeof whole);
    whole.position = t->start;
    whole.records = t->before.records;
    whole.bytes = t->before.bytes;
  }
  rc = cut_pending(t, p->position);
  if (rc == MAPH_OK && p->position < t->floor) rc = log_cover(t->s, p->position, t->floor);
  if (rc != MAPH_OK) return rc;
  /* pads belong to nobody */
  if (p->position <= t->start) t->start = MAX(t->start, t->floor);
  t->position = MAX(p->position, t->floor);
  *kept = p->position;
  t->operations = p->operations;
  t->records = p->records;
  t->bytes = p->bytes;
  t->digest = p->digest;
  t->savepoint_count = (size_t)(at + 1);
  return MAPH_OK;
}
