/*
** txn.c - transactions: their records, what they see, savepoints.
**
** The records of an open transaction lie in the log past `end`, where nobody looks: position is
** where the next one goes.  Which keys it changed is in `pending`, one entry a key, found by a
** table of hashes once there are more than a few.  A lookup goes to pending first and then to the
** index.  Records of one key are chained by prev also inside the transaction, so that a savepoint
** needs nothing but the position: rolling back walks the records that are cut off and sets each
** key's entry to the version before.  Abort is forgetting.
**
** A transaction that copies another one (txn_copy) repeats what was done once, whatever the time is
** now: an entry that has expired since is there for it.
**
** A single put or delete is a transaction of one operation.
**
** Locking: from begin to commit or abort the transaction owns the turn and the lock (lock.c).
*/
#include "calls/handle.h"
#include "calls/rewrite.h"
#include "file/log.h"
#include "file/record.h"
#include "file/store.h"
#include "index/find.h"
#include "index/index.h"
#include "index/lookup.h"
#include "writer/commit.h"
#include "writer/session.h"
#include "writer/txn.h"

enum { TABLE_FROM = 8 };

/* --------------------------------------------------------------------------------- pending keys */

static void table_insert(struct maph_txn *t, size_t place) {
  size_t i = t->pending[place].hash & (t->table_room - 1);
  while (t->table[i]) i = (i + 1) & (t->table_room - 1);
  t->table[i] = (t->pending[place].hash & ~(uint64_t)UINT32_MAX) | (place + 1);
}

static int table_grow(struct maph_txn *t) {
  size_t room = t->table_room ? t->table_room * 2 : 64, i;
  uint64_t *table;
  while (room < 2 * (t->pendings + 1)) room *= 2;
  table = os_alloc(room * sizeof *table);
  if (table == NULL) return MAPH_NOMEM;
  os_free(t->table);
  t->table = table;
  t->table_room = room;
  for (i = 0; i < t->pendings; i++) table_insert(t, i);
  return MAPH_OK;
}

/* Make room for one more entry, so that noting a record that was written cannot fail. */
static int pending_room(struct maph_txn *t) {
  if (t->pendings == t->pending_room) {
    size_t room = t->pending_room ? t->pending_room * 2 : TABLE_FROM;
    pending *p = os_realloc(t->pending, room * sizeof *p);
    if (p == NULL) return MAPH_NOMEM;
    t->pending = p;
    t->pending_room = room;
  }
  if (t->pendings >= TABLE_FROM && 2 * (t->pendings + 1) > t->table_room) return table_grow(t);
  return MAPH_OK;
}

static void own_view(struct maph_txn *t, view *v) {
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
static pending *find_pending(struct maph_txn *t, uint64_t hash, maph_slice key, item *it) {
  view v;
  size_t i;
  if (t->pendings == 0) return NULL;
  own_view(t, &v);
  if (t->table_room == 0) {
    for (i = 0; i < t->pendings; i++)
      if (is_entry_of(&v, &t->pending[i], hash, key, it)) return &t->pending[i];
    return NULL;
  }
  for (i = hash & (t->table_room - 1); t->table[i]; i = (i + 1) & (t->table_room - 1)) {
    pending *p = &t->pending[(t->table[i] & UINT32_MAX) - 1];
    if (((t->table[i] ^ hash) >> 32) == 0 && is_entry_of(&v, p, hash, key, it)) return p;
  }
  return NULL;
}

static void note_new(struct maph_txn *t, uint64_t hash, uint64_t offset, uint64_t base) {
  pending *p = &t->pending[t->pendings++];
  p->hash = hash;
  p->newest = p->first = offset;
  p->base = base;
  if (t->table_room) table_insert(t, t->pendings - 1);
}

static void link_within(struct maph_txn *t, uint64_t from, uint64_t to) {
  store_word(t->s->write_base, word_at(t->s->write_base, from), to);
}

int txn_adopt(struct maph_txn *t, const item *it) {
  maph_slice key = maph_bytes(it->key, it->key_size);
  uint64_t hash = index_hash(t->s, key);
  pending *p;
  item old;
  int rc = pending_room(t);
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

/* -------------------------------------------------------------------------------- begin and end */

struct maph_txn *txn_new(store *s) {
  struct maph_txn *t = s->spare;
  s->spare = NULL;
  if (t == NULL) {
    t = os_alloc(sizeof *t);
    if (t == NULL) return NULL;
  }
  t->magic = TXN_MAGIC;
  t->state = TXN_OPEN;
  t->s = s;
  t->start = t->position = s->space_end;
  t->before = s->last;
  t->version = s->last.version + 1;
  t->records = s->last.records;
  t->bytes = s->last.bytes;
  return t;
}

/* Keep one small transaction's memory for the next single put.  With the turn. */
static void keep_spare(struct maph_txn *t) {
  store *s = t->s;
  pending *p = t->pending;
  size_t room = t->pending_room;
  if (s->spare != NULL || room > TABLE_FROM || t->table != NULL || t->savepoints != NULL) {
    txn_free(t);
    return;
  }
  memset(t, 0, sizeof *t);
  t->pending = p;
  t->pending_room = room;
  s->spare = t;
}

void txn_drop_spare(store *s) {
  txn_free(s->spare);
  s->spare = NULL;
}

void txn_free(struct maph_txn *t) {
  if (t == NULL) return;
  t->magic = 0;
  os_free(t->pending);
  os_free(t->table);
  os_free(t->savepoints);
  os_free(t);
}

void txn_detach_snapshots(struct maph_txn *t, uint64_t kept) {
  struct maph_snapshot *x;
  for (x = t->snapshots; x != NULL; x = x->next)
    if (x->snapshot > kept) x->rolled_back = 1;
}

static void end_snapshots(struct maph_txn *t, uint64_t kept) {
  struct maph_snapshot *x, *next;
  txn_detach_snapshots(t, kept);
  for (x = t->snapshots; x != NULL; x = next) {
    next = x->next;
    x->txn = NULL;
    x->next = NULL;
  }
  t->snapshots = NULL;
}

/* Take the store's lock for a transaction of this handle; if the store was replaced meanwhile, of
** the one that is there now. */
static int begin(maph *m, int durability, struct maph_txn **out) {
  store *s;
  int rc, tries;
  *out = NULL;
  if (durability < MAPH_SYNC_DEFAULT || durability > MAPH_SYNC_FULL)
    return fail(MAPH_MISUSE, "durability %d: use one of MAPH_SYNC_*", durability);
  for (tries = 0;; tries++) {
    rc = handle_writer(m, &s);
    if (rc != MAPH_OK) return rc;
    rc = session_begin(s, m->options.busy_timeout_ms);
    if (rc == MAPH_OK) break;
    if (rc != MAPH_CANTOPEN || tries >= 3) return rc;
  }
  if (s->last.version >= VERSION_MAX)
    rc = fail(MAPH_FULL, "%s: all 2^48 versions are used: export to a new store", s->path);
  if (rc == MAPH_OK && (*out = txn_new(s)) == NULL) rc = MAPH_NOMEM;
  if (rc != MAPH_OK) {
    session_end(s);
    return rc;
  }
  (*out)->handle = m;
  (*out)->durability = durability == MAPH_SYNC_DEFAULT ? m->options.durability : durability;
  return MAPH_OK;
}

static void remember(maph *m, struct maph_txn *t) {
  pthread_mutex_lock(&m->mutex);
  t->next_open = m->open_txns;
  if (t->next_open) t->next_open->previous_open = t;
  m->open_txns = t;
  pthread_mutex_unlock(&m->mutex);
}

static void forget(struct maph_txn *t) {
  maph *m = t->handle;
  pthread_mutex_lock(&m->mutex);
  if (t->previous_open)
    t->previous_open->next_open = t->next_open;
  else
    m->open_txns = t->next_open;
  if (t->next_open) t->next_open->previous_open = t->previous_open;
  pthread_mutex_unlock(&m->mutex);
}

static int check(maph_txn *t, int writing) {
  if (t == NULL || t->magic != TXN_MAGIC)
    return fail(MAPH_MISUSE, "this transaction has ended, or never began");
  if (t->handle && t->handle->fork_count != handle_forks())
    return fail(MAPH_MISUSE, "%s: a transaction does not cross fork()", t->s->path);
  if (writing && (t->state != TXN_OPEN || t->failed))
    return fail(MAPH_MISUSE,
                "%s: the transaction is prepared, or failed to prepare: commit or abort it",
                t->s->path);
  return MAPH_OK;
}

int maph_txn_begin(maph *m, int durability, maph_txn **txn) {
  int rc;
  if (txn == NULL) return fail(MAPH_MISUSE, "maph_txn_begin: no place for the transaction");
  *txn = NULL;
  rc = begin(m, durability, txn);
  if (rc == MAPH_OK) remember(m, *txn);
  return rc;
}

int maph_txn_prepare(maph_txn *t) {
  int rc = check(t, 1);
  if (rc != MAPH_OK) return rc;
  rc = commit_reserve(t);
  if (rc == MAPH_OK && t->durability == MAPH_SYNC_FULL) rc = commit_decide_early(t);
  return rc;
}

int maph_txn_commit(maph_txn *t) {
  int rc = check(t, 0), sweeping;
  maph *m;
  if (rc != MAPH_OK) return rc;
  m = t->handle;
  if (t->state == TXN_OPEN) rc = commit_reserve(t);
  forget(t);
  if (rc == MAPH_OK && !t->failed) {
    rc = session_commit(t);
    end_snapshots(t, rc == MAPH_OK ? UINT64_MAX : t->start);
  } else {
    if (rc == MAPH_OK)
      rc = fail(MAPH_MISUSE, "%s: the transaction failed to prepare and can only be aborted",
                t->s->path);
    end_snapshots(t, t->start);
    session_abort(t);
  }
  sweeping = t->copying; /* part of a rewrite: none begins inside another */
  txn_free(t);
  if (rc == MAPH_OK && !sweeping) rewrite_if_due(m);
  return rc;
}

int maph_txn_abort(maph_txn *t) {
  int rc;
  if (t == NULL) return MAPH_OK;
  rc = check(t, 0);
  if (rc != MAPH_OK) return rc;
  forget(t);
  end_snapshots(t, t->start);
  rc = session_abort(t);
  txn_free(t);
  return rc;
}

uint64_t maph_txn_version(maph_txn *t) { return check(t, 0) == MAPH_OK ? t->version : 0; }
uint64_t maph_txn_operations(maph_txn *t) { return check(t, 0) == MAPH_OK ? t->operations : 0; }

/* -------------------------------------------------------------------------------------- reading */

int txn_find(struct maph_txn *t, uint64_t position, maph_slice key, item *it) {
  uint64_t hash = index_hash(t->s, key);
  view v;
  int rc;
  own_view(t, &v);
  if (find_pending(t, hash, key, it)) {
    while (it->offset >= position) {
      if (it->prev == 0) return MAPH_NOTFOUND;
      rc = record_item(&v, it->prev, v.snapshot, it);
      if (rc != MAPH_OK) return rc;
    }
    return MAPH_OK;
  }
  if (commit_conflicts(t->s, hash)) {
    rc = commit_wait_visible(t->s);
    if (rc != MAPH_OK) return rc;
  }
  v.snapshot = t->start;
  return index_find(&v, key, hash, it);
}

static int live(struct maph_txn *t, maph_slice key, item *it) {
  int rc = view_check_key(key);
  view v;
  if (rc == MAPH_OK) rc = txn_find(t, UINT64_MAX, key, it);
  if (rc != MAPH_OK) return rc;
  if (it->kind != KIND_PUT || item_expired(it, 0)) return MAPH_NOTFOUND;
  if (t->handle == NULL || !t->handle->options.verify) return MAPH_OK;
  own_view(t, &v);
  return record_verify(&v, it->offset, it->size);
}

int maph_txn_get(maph_txn *t, maph_slice key, maph_slice *value) {
  maph_entry e;
  int rc;
  if (value == NULL) return fail(MAPH_MISUSE, "maph_txn_get: no place for the value");
  rc = maph_txn_get_entry(t, key, &e);
  *value = e.value;
  return rc;
}

int maph_txn_get_entry(maph_txn *t, maph_slice key, maph_entry *entry) {
  item it;
  int rc;
  if (entry == NULL) return fail(MAPH_MISUSE, "maph_txn_get_entry: no place for the entry");
  memset(entry, 0, sizeof *entry);
  rc = check(t, 0);
  if (rc == MAPH_OK) rc = live(t, key, &it);
  if (rc == MAPH_OK) record_entry(&it, entry);
  return rc == MAPH_NOTFOUND ? fail(rc, "%s: no such key", t->s->path) : rc;
}

int maph_txn_snapshot(maph_txn *t, maph_snapshot **snapshot) {
  maph_snapshot *x;
  int rc;
  if (snapshot == NULL) return fail(MAPH_MISUSE, "maph_txn_snapshot: no place for the snapshot");
  *snapshot = NULL;
  rc = check(t, 0);
  if (rc == MAPH_OK) rc = commit_wait_visible(t->s);
  if (rc != MAPH_OK) return rc;
  x = os_alloc(sizeof *x);
  if (x == NULL) return MAPH_NOMEM;
  x->magic = SNAPSHOT_MAGIC;
  x->handle = t->handle;
  x->fork_count = handle_forks();
  x->s = t->s;
  x->snapshot = t->position;
  x->version = t->before.version;
  x->records = t->records;
  x->now = os_time_ms();
  x->txn = t;
  atomic_init(&x->users, 1);
  x->next = t->snapshots;
  t->snapshots = x;
  store_pin(t->s);
  handle_count_read(t->handle, 1);
  *snapshot = x;
  return MAPH_OK;
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
                     const maph_condition *c, uint64_t version, int copying) {
  memset(put, 0, sizeof *put);
  put->kind = kind;
  put->key = key;
  put->version = version;
  if (kind == KIND_PUT) put->value = value;
  if (c == NULL) return;
  put->flags |= c->key_type * FLAG_TEXT_KEY;
  if (c->expires && (kind == KIND_PUT || copying)) {
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

/* The totals of the store after this record.  old: the version before, of any kind, or NULL. */
static void count(struct maph_txn *t, const item *old, int kind, uint64_t size) {
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

static int write_one(struct maph_txn *t, int kind, maph_slice key, maph_slice value,
                     const maph_condition *c) {
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
  own_view(t, &v);
  index_prefetch(&v, hash);
  rc = pending_room(t);
  if (rc == MAPH_OK) rc = log_room(s, t->position + key.size + value.size + 1024);
  if (rc != MAPH_OK) return rc;
  rc = txn_find(t, UINT64_MAX, key, &old);
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) return rc;
  found = rc == MAPH_OK;
  is_live = found && old.kind == KIND_PUT && (t->copying || !item_expired(&old, 0));
  rc = check_condition(s, c, is_live ? &old : NULL);
  if (rc == MAPH_OK && kind == KIND_DELETE && !is_live)
    rc = fail(MAPH_NOTFOUND, "%s: no such key", s->path);
  if (rc != MAPH_OK) return rc;
  fill_put(&put, kind, key, value, c, t->version, t->copying);
  put.prev = found ? old.offset : 0;
  rc = log_write_put(s, t->position, &put, &size, &w8);
  if (rc != MAPH_OK) return rc;
  count(t, found ? &old : NULL, kind, size);
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

static int txn_write(maph_txn *t, int kind, maph_slice key, maph_slice value,
                     const maph_condition *c) {
  int rc = check(t, 1);
  return rc == MAPH_OK ? write_one(t, kind, key, value, c) : rc;
}

int maph_txn_put(maph_txn *t, maph_slice key, maph_slice value) {
  return txn_write(t, KIND_PUT, key, value, NULL);
}
int maph_txn_delete(maph_txn *t, maph_slice key) {
  return txn_write(t, KIND_DELETE, key, maph_bytes(NULL, 0), NULL);
}
int maph_txn_put_if(maph_txn *t, maph_slice key, maph_slice value, const maph_condition *c) {
  return txn_write(t, KIND_PUT, key, value, c);
}
int maph_txn_delete_if(maph_txn *t, maph_slice key, const maph_condition *c) {
  return txn_write(t, KIND_DELETE, key, maph_bytes(NULL, 0), c);
}

int txn_copy(struct maph_txn *t, const item *it) {
  maph_entry e;
  maph_condition c;
  record_entry(it, &e);
  memset(&c, 0, sizeof c);
  c.expires = e.expires;
  c.type = e.type <= MAPH_NULL ? e.type : MAPH_BLOB;
  c.key_type = e.key_type <= MAPH_KEY_BLOB ? e.key_type : MAPH_KEY_BYTES;
  c.media_type = e.media_type;
  t->copying = 1;
  return write_one(t, it->kind, e.key, e.value, &c);
}

int txn_sweep(struct maph_txn *t, maph_slice key, uint64_t now) {
  maph_condition c;
  item it;
  int rc = txn_find(t, UINT64_MAX, key, &it);
  if (rc == MAPH_OK && (it.kind != KIND_PUT || !item_expired(&it, now))) rc = MAPH_NOTFOUND;
  if (rc != MAPH_OK) return rc;
  memset(&c, 0, sizeof c);
  c.expires = it.expires;
  c.key_type = (it.flags & FLAG_KEY_TYPE) / FLAG_TEXT_KEY;
  t->copying = 1;
  return write_one(t, KIND_DELETE, key, maph_bytes(NULL, 0), &c);
}

/* One operation, one transaction. */
static int write_alone(maph *m, int kind, maph_slice key, maph_slice value,
                       const maph_condition *c) {
  struct maph_txn *t;
  int rc = begin(m, c ? c->durability : MAPH_SYNC_DEFAULT, &t);
  if (rc != MAPH_OK) return rc;
  rc = write_one(t, kind, key, value, c);
  if (rc == MAPH_OK) rc = commit_reserve(t);
  if (rc == MAPH_OK && t->durability != MAPH_SYNC_FULL) {
    store *s = t->s;
    rc = commit_publish_now(t);
    keep_spare(t);
    session_end(s);
    if (rc == MAPH_OK) rewrite_if_due(m);
    return rc;
  }
  if (rc == MAPH_OK)
    rc = session_commit(t);
  else
    session_abort(t);
  txn_free(t);
  if (rc == MAPH_OK) rewrite_if_due(m);
  return rc;
}

int maph_put(maph *m, maph_slice key, maph_slice value) {
  return write_alone(m, KIND_PUT, key, value, NULL);
}
int maph_delete(maph *m, maph_slice key) {
  return write_alone(m, KIND_DELETE, key, maph_bytes(NULL, 0), NULL);
}
int maph_put_if(maph *m, maph_slice key, maph_slice value, const maph_condition *c) {
  return write_alone(m, KIND_PUT, key, value, c);
}
int maph_delete_if(maph *m, maph_slice key, const maph_condition *c) {
  return write_alone(m, KIND_DELETE, key, maph_bytes(NULL, 0), c);
}

/* ----------------------------------------------------------------------------------- savepoints */

/* The highest savepoint numbered n or less; its place, or -1. */
static int savepoint_at(const struct maph_txn *t, int n) {
  int i = (int)t->savepoint_count - 1;
  while (i >= 0 && t->savepoints[i].n > n) i--;
  return i;
}

int maph_txn_savepoint(maph_txn *t, int n) {
  int rc = check(t, 1), at;
  savepoint *p;
  if (rc != MAPH_OK) return rc;
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

int maph_txn_release(maph_txn *t, int n) {
  int rc = check(t, 1);
  if (rc == MAPH_OK) t->savepoint_count = (size_t)(savepoint_at(t, n - 1) + 1);
  return rc;
}

/* Each key changed past `position` goes back to its version before. */
static int cut_pending(struct maph_txn *t, uint64_t position) {
  uint64_t at = position;
  view v;
  item it, newest;
  own_view(t, &v);
  while (at < t->position) {
    int rc = record_item(&v, at, t->position, &it);
    if (rc != MAPH_OK) return rc;
    if (it.prev < position) {
      maph_slice key = maph_bytes(it.key, it.key_size);
      pending *p = find_pending(t, index_hash(t->s, key), key, &newest);
      if (p) p->newest = it.prev >= t->start ? it.prev : 0;
      if (it.prev >= t->start) link_within(t, it.prev, 0);
    }
    at += it.size;
  }
  return MAPH_OK;
}

int maph_txn_rollback_to(maph_txn *t, int n) {
  savepoint whole;
  const savepoint *p = &whole;
  int rc = check(t, 1), at;
  if (rc != MAPH_OK) return rc;
  at = savepoint_at(t, n);
  if (at >= 0) {
    p = &t->savepoints[at];
  } else {
    memset(&whole, 0, sizeof whole);
    whole.position = t->start;
    whole.records = t->before.records;
    whole.bytes = t->before.bytes;
  }
  rc = cut_pending(t, p->position);
  if (rc != MAPH_OK) return rc;
  t->position = p->position;
  t->operations = p->operations;
  t->records = p->records;
  t->bytes = p->bytes;
  t->digest = p->digest;
  t->savepoint_count = (size_t)(at + 1);
  txn_detach_snapshots(t, t->position);
  return MAPH_OK;
}
