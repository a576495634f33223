/*
** model.c - random transactions, run and foretold; is this store one of the states that it may be
** in?
**
** The history of states is on the board, in memory that outlives the process that writes.  A
** transaction is foretold in `maybe` before it runs; `flight` says what a crash at this moment may
** make of it:
**
**     NOTHING    nothing of it may be seen: no commit was asked for, or it was aborted
**     MAYBE      whole or not at all
**     PROMISED   whole: maph_txn_prepare at full said so
**
** Acknowledging is one store, of n.  Transfers between accounts keep their sum, so that half a
** transaction shows even where the model is wrong.
*/
#include "crash.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { VALUE_BYTES = 6200 };

/* ----------------------------------------------------------------------------------------- keys */

uint64_t store_hash_seed(const char *path) {
  size_t size;
  uint8_t *bytes = file_read(path, &size);
  uint64_t hash_seed;
  must(size >= HEADER_SIZE, path);
  memcpy(&hash_seed, bytes + offsetof(header, hash_seed), 8);
  free(bytes);
  return hash_seed;
}

static void name_key(universe *universe, const char *format, uint64_t hash_seed, uint64_t mask,
                     uint64_t want, unsigned *next) {
  char *name = universe->name[universe->keys];
  do snprintf(name, sizeof universe->name[0], format, (*next)++);
  while ((XXH3_64bits_withSeed(name, strlen(name), hash_seed) & mask) != want);
  universe->keys++;
}

void universe_make(universe *universe, uint64_t hash_seed, int plain, int crowded, int twins) {
  unsigned next = 0;
  int i;
  memset(universe, 0, sizeof *universe);
  universe->plain = plain;
  universe->crowded = crowded;
  universe->twins = twins;
  for (i = 0; i < plain; i++) name_key(universe, "plain-%u", hash_seed, 0, 0, &next);
  for (i = 0; i < crowded; i++) name_key(universe, "crowded-%u", hash_seed, 0xFF, 0x42, &next);
  for (i = 0; i < twins; i++)
    name_key(universe, "twin-%u", hash_seed, UINT64_C(0xFF000000000000FF),
             UINT64_C(0xA700000000000042), &next);
}

static maph_slice key_of(int key) { return maph_str(the->u.name[key]); }

/* --------------------------------------------------------------------------------------- values */

static size_t value_size(uint64_t h) {
  switch (h % 32) {
    case 0: return 0;
    case 1: return 4000 + h / 32 % 2000;
    case 2:
    case 3:
    case 4: return 200 + h / 32 % 500;
    default: return 1 + h / 32 % 60;
  }
}

static maph_slice value_make(int key, uint32_t stamp, uint8_t *bytes) {
  uint64_t h = mix((uint64_t)key + 1, stamp);
  size_t size = value_size(h), i;
  for (i = 0; i < size; i += 8) {
    uint64_t w = mix(h, i);
    memcpy(bytes + i, &w, 8);
  }
  return maph_bytes(bytes, size);
}

static maph_slice balance_make(int balance, uint8_t *bytes) {
  return maph_bytes(bytes, (size_t)snprintf((char *)bytes, 16, "%d", balance));
}

/* Inlined, gcc -O3 warns of sizes that no value has. */
__attribute__((noinline)) uint64_t value_digest(maph_slice value) {
  return XXH3_64bits(value.data, value.size) | 1;
}

uint64_t entry_digest(maph_slice value, uint64_t version) {
  return the->numbered ? mix(value_digest(value), version) | 1 : value_digest(value);
}

/* -------------------------------------------------------------------------------------- scripts */

static int random_key(int crowd) {
  const universe *universe = &the->u;
  if (crowd && universe->crowded && below(4) != 0)
    return universe->plain + (int)below((uint32_t)(universe->crowded + universe->twins));
  return ACCOUNTS + (int)below((uint32_t)(universe->keys - ACCOUNTS));
}

static op random_op(const script *script, int i, int crowd, int *savepoints) {
  op o;
  memset(&o, 0, sizeof o);
  o.key = random_key(crowd);
  o.stamp = ++the->stamp;
  switch (script->ending == END_ALONE ? below(2) * 7 : below(10)) {
    case 0: o.what = crowd && below(4) ? OP_PUT : OP_DELETE; break;
    case 1:
      o.what = OP_SAVEPOINT;
      o.amount = (*savepoints)++;
      break;
    case 2:
      if (*savepoints == 0 || i == 0) break;
      o.what = OP_ROLLBACK;
      o.amount = (int)below((uint32_t)*savepoints);
      *savepoints = o.amount + 1;
      break;
    case 3:
    case 4:
      if (script->ending == END_ALONE) break;
      o.what = OP_TRANSFER;
      o.key = (int)below(ACCOUNTS);
      o.to = (int)below(ACCOUNTS);
      o.amount = (int)below(100);
      break;
    default: break;
  }
  return o;
}

void script_random(script *script, int crowd) {
  static const int endings[16] = { END_ALONE,          END_ALONE,          END_ALONE,
                                   END_ALONE,          END_ALONE,          END_COMMIT,
                                   END_COMMIT,         END_COMMIT,         END_COMMIT,
                                   END_COMMIT,         END_COMMIT,         END_ABORT,
                                   END_PREPARE_COMMIT, END_PREPARE_COMMIT, END_PREPARE_ABORT,
                                   END_PREPARE_ABORT };
  int savepoints = 0, i;
  memset(script, 0, sizeof *script);
  script->durability = MAPH_SYNC_OFF + (int)below(3);
  script->ending = endings[below(16)];
  script->n = script->ending == END_ALONE ? 1
              : crowd                     ? 8 + (int)below(OPS_MAX - 8)
                                          : 1 + (int)below(8);
  for (i = 0; i < script->n; i++) script->ops[i] = random_op(script, i, crowd, &savepoints);
}

/* Where versions are given: of operation i, and of the transaction.  They rise, with gaps, and the
** last may be above all the others. */
static uint64_t version_of_op(const script *script, uint64_t before, int i) {
  return before + 1 + 2 * (uint64_t)i + script->ops[i].stamp % 2;
}
static uint64_t version_of_end(const script *script, uint64_t before) {
  return before + 1 + 2 * (uint64_t)script->n + script->ops[0].stamp % 3;
}

void script_apply(const script *script, state *after) {
  static state saved[OPS_MAX];
  uint8_t bytes[VALUE_BYTES];
  uint64_t before = after->version, version;
  int i;
  for (i = 0; i < script->n; i++) {
    const op *o = &script->ops[i];
    version = version_of_op(script, before, i);
    if (o->what == OP_PUT)
      after->content[o->key] = entry_digest(value_make(o->key, o->stamp, bytes), version);
    if (o->what == OP_DELETE) after->content[o->key] = 0;
    if (o->what == OP_SAVEPOINT) saved[o->amount] = *after;
    if (o->what == OP_ROLLBACK) *after = saved[o->amount];
    if (o->what == OP_TRANSFER) {
      after->balance[o->key] -= o->amount;
      after->balance[o->to] += o->amount;
      after->content[o->key] = entry_digest(balance_make(after->balance[o->key], bytes), version);
      after->content[o->to] = entry_digest(balance_make(after->balance[o->to], bytes), version);
    }
  }
  if (the->numbered) after->version = version_of_end(script, before);
}

/* --------------------------------------------------------------------------------- running them */

int writer_open(writer *writer, const char *path, int flags) {
  maph_options options = MAPH_OPTIONS_INIT;
  int d, rc = MAPH_OK;
  memset(writer, 0, sizeof *writer);
  options.versions = the->numbered ? MAPH_VERSIONS_GIVEN : MAPH_VERSIONS_OWN;
  for (d = MAPH_SYNC_OFF; d <= MAPH_SYNC_FULL && rc == MAPH_OK; d++) {
    options.durability = d;
    rc = maph_open(path, flags, &options, &writer->m[d]);
  }
  return rc;
}

int writer_close(writer *writer) {
  int d, rc = MAPH_OK;
  for (d = MAPH_SYNC_OFF; d <= MAPH_SYNC_FULL; d++) {
    int closed = maph_close(writer->m[d]);
    if (rc == MAPH_OK) rc = closed;
  }
  return rc;
}

static int transfer(maph_txn *txn, const op *o) {
  uint8_t from_bytes[16], to_bytes[16];
  maph_slice from, to;
  char text[16];
  int rc = maph_txn_get(txn, key_of(o->key), &from), balance;
  if (rc == MAPH_OK) {
    snprintf(text, sizeof text, "%.*s", (int)from.size, (const char *)from.data);
    balance = atoi(text) - o->amount;
    rc = maph_txn_put(txn, key_of(o->key), balance_make(balance, from_bytes));
  }
  if (rc == MAPH_OK) rc = maph_txn_get(txn, key_of(o->to), &to);
  if (rc == MAPH_OK) {
    snprintf(text, sizeof text, "%.*s", (int)to.size, (const char *)to.data);
    balance = atoi(text) + o->amount;
    rc = maph_txn_put(txn, key_of(o->to), balance_make(balance, to_bytes));
  }
  return rc;
}

static int run_op(maph_txn *txn, const op *o) {
  uint8_t bytes[VALUE_BYTES];
  int rc;
  switch (o->what) {
    case OP_PUT: return maph_txn_put(txn, key_of(o->key), value_make(o->key, o->stamp, bytes));
    case OP_SAVEPOINT: return maph_txn_savepoint(txn, o->amount);
    case OP_ROLLBACK: return maph_txn_rollback_to(txn, o->amount);
    case OP_TRANSFER: return transfer(txn, o);
    default: rc = maph_txn_delete(txn, key_of(o->key)); return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
  }
}

static void told(uint64_t version) {
  if (version > the->top_version) the->top_version = version;
}

/* It returned: what is under way is history now, or never was. */
static void acknowledge(int committed, int durable) {
  must(the->n + 1 < HISTORY_MAX, "more transactions than the board holds");
  the->history[the->n + 1] = committed ? the->maybe : the->history[the->n];
  atomic_signal_fence(memory_order_seq_cst);
  the->n++;
  atomic_signal_fence(memory_order_seq_cst);
  the->flight = NOTHING;
  the->flight_survives_power = 0;
  if (durable) the->durable = the->n;
}

static void under_way(int flight, int survives_power) {
  the->flight_survives_power = survives_power;
  the->flight = flight;
  atomic_signal_fence(memory_order_seq_cst);
}

static int run_alone(writer *writer, const script *script) {
  const op *o = &script->ops[0];
  uint8_t bytes[VALUE_BYTES];
  maph_outcome outcome = { 0, 0 };
  maph_condition condition;
  int rc;
  memset(&condition, 0, sizeof condition);
  condition.outcome = &outcome;
  under_way(MAYBE, 0);
  if (o->what == OP_DELETE)
    rc = maph_delete_if(writer->m[script->durability], key_of(o->key), &condition);
  else
    rc = maph_put_if(writer->m[script->durability], key_of(o->key),
                     value_make(o->key, o->stamp, bytes), &condition);
  if (rc == MAPH_OK) told(outcome.version);
  if (rc == MAPH_OK || rc == MAPH_NOTFOUND)
    acknowledge(1, rc == MAPH_OK && script->durability == MAPH_SYNC_FULL);
  return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
}

static int end_txn(maph_txn *txn, const script *script) {
  int full = script->durability == MAPH_SYNC_FULL,
      prepares = script->ending == END_PREPARE_COMMIT || script->ending == END_PREPARE_ABORT,
      rc = MAPH_OK;
  uint64_t version = maph_txn_version(txn),
           written = maph_txn_operations(txn) + (uint64_t)the->numbered;
  if (prepares) {
    if (full) under_way(MAYBE, 0);
    rc = maph_txn_prepare(txn);
    if (rc == MAPH_OK && full) under_way(PROMISED, written > 0);
  }
  if (rc != MAPH_OK) {
    maph_txn_abort(txn);
    return rc;
  }
  if (script->ending == END_ABORT || script->ending == END_PREPARE_ABORT) {
    under_way(prepares && full ? MAYBE : NOTHING, 0);
    rc = maph_txn_abort(txn);
    if (rc == MAPH_OK) acknowledge(0, 0);
    return rc;
  }
  if (!(prepares && full)) under_way(MAYBE, 0);
  rc = maph_txn_commit(txn);
  if (rc == MAPH_OK && written > 0) told(version);
  if (rc == MAPH_OK) acknowledge(1, full && written > 0);
  return rc;
}

int script_run(writer *writer, const script *script) {
  maph_txn *txn;
  int rc, i;
  the->maybe = the->history[the->n];
  script_apply(script, &the->maybe);
  if (script->ending == END_ALONE && !the->numbered) return run_alone(writer, script);
  rc = maph_txn_begin(writer->m[script->durability], script->durability, &txn);
  if (rc != MAPH_OK) return rc;
  for (i = 0; i < script->n && rc == MAPH_OK; i++) {
    if (the->numbered)
      rc = maph_txn_at(txn, version_of_op(script, the->history[the->n].version, i));
    if (rc == MAPH_OK) rc = run_op(txn, &script->ops[i]);
  }
  if (rc == MAPH_OK && the->numbered) rc = maph_txn_at(txn, the->maybe.version);
  if (rc != MAPH_OK) {
    maph_txn_abort(txn);
    return rc;
  }
  return end_txn(txn, script);
}

int put_unknown(maph *m, int durability, maph_slice key, maph_slice value,
                const maph_condition *condition) {
  maph_txn *txn;
  int rc;
  if (!the->numbered) return maph_put_if(m, key, value, condition);
  the->maybe = the->history[the->n];
  the->maybe.version++;
  rc = maph_txn_begin(m, durability, &txn);
  if (rc != MAPH_OK) return rc;
  rc = maph_txn_at(txn, the->maybe.version);
  if (rc == MAPH_OK) rc = maph_txn_put_if(txn, key, value, condition);
  if (rc != MAPH_OK) {
    maph_txn_abort(txn);
    return rc;
  }
  under_way(MAYBE, 0);
  rc = maph_txn_commit(txn);
  if (rc == MAPH_OK) acknowledge(1, durability == MAPH_SYNC_FULL);
  return rc;
}

/* ------------------------------------------------------------------------------------ the board */

void board_start(void) {
  state now = the->history[the->n];
  the->history[0] = now;
  the->n = the->durable = 0;
  the->flight = NOTHING;
  the->flight_survives_power = 0;
  the->done = 0;
}

void board_accounts(writer *writer) {
  uint8_t bytes[16];
  maph_txn *txn;
  int i, rc = maph_txn_begin(writer->m[MAPH_SYNC_FULL], MAPH_SYNC_FULL, &txn);
  memset(&the->history[0], 0, sizeof the->history[0]);
  the->n = 0;
  the->history[0].version = the->numbered;
  if (rc == MAPH_OK && the->numbered) rc = maph_txn_at(txn, 1);
  for (i = 0; i < ACCOUNTS && rc == MAPH_OK; i++) {
    the->history[0].balance[i] = OPENING_BALANCE;
    the->history[0].content[i] = entry_digest(balance_make(OPENING_BALANCE, bytes), 1);
    rc = maph_txn_put(txn, key_of(i), balance_make(OPENING_BALANCE, bytes));
  }
  if (rc == MAPH_OK) told(maph_txn_version(txn));
  if (rc == MAPH_OK) rc = maph_txn_commit(txn);
  must(rc == MAPH_OK, "opening the accounts");
  board_start();
}

/* -------------------------------------------------------------------------------------- reading */

static int tell_problem(void *arg, uint64_t offset, const char *sentence) {
  (void)arg;
  trouble("maph_check: offset %llu: %s", (unsigned long long)offset, sentence);
  return 1;
}

static int read_by_cursor(maph *m, const state *got) {
  maph_cursor *cursor;
  maph_entry entry;
  int rc = maph_cursor_open(m, NULL, maph_bytes("", 0), &cursor), seen = 0, i, present = 0;
  if (rc != MAPH_OK) {
    trouble("cursor: %s", maph_errmsg(m));
    return 1;
  }
  while ((rc = maph_cursor_next(cursor, &entry)) == MAPH_OK) {
    for (i = 0; i < the->u.keys
                && (entry.key.size != strlen(the->u.name[i])
                    || memcmp(entry.key.data, the->u.name[i], entry.key.size) != 0);
         i++) {}
    if (i == the->u.keys || got->content[i] != entry_digest(entry.value, entry.version)) {
      trouble("the cursor meets %.*s, which get %s", (int)entry.key.size,
              (const char *)entry.key.data,
              i < the->u.keys ? "sees differently" : "should not know");
    }
    seen++;
  }
  if (rc != MAPH_NOTFOUND) trouble("cursor: %s", maph_errmsg(m));
  maph_cursor_close(cursor);
  for (i = 0; i < the->u.keys; i++) present += got->content[i] != 0;
  if (seen != present) trouble("the cursor meets %d entries, get finds %d", seen, present);
  return rc != MAPH_NOTFOUND || seen != present;
}

/* Every key that a get finds, in order, and there and back again. */
static void read_in_order(maph *m, const state *got) {
  maph_range_cursor *cursor;
  maph_entry entry;
  maph_slice last = { NULL, 0 };
  int rc = maph_range_open(m, NULL, NULL, &cursor), seen = 0, back = 0, i, present = 0;
  if (rc != MAPH_OK) {
    trouble("range: %s", maph_errmsg(m));
    return;
  }
  for (i = 0; i < the->u.keys; i++) present += got->content[i] != 0;
  for (; (rc = maph_range_next(cursor, &entry)) == MAPH_OK; seen++) {
    size_t n = entry.key.size < last.size ? entry.key.size : last.size;
    int order = last.size ? memcmp(last.data, entry.key.data, n) : -1;
    if (order > 0 || (order == 0 && last.size >= entry.key.size))
      trouble("range: %.*s is not above the key before", (int)entry.key.size,
              (const char *)entry.key.data);
    last = entry.key;
  }
  if (rc != MAPH_NOTFOUND) trouble("range: %s", maph_errmsg(m));
  while ((rc = maph_range_prev(cursor, &entry)) == MAPH_OK) back++;
  if (rc != MAPH_NOTFOUND) trouble("range: %s", maph_errmsg(m));
  maph_range_close(cursor);
  if (seen != present || back != present)
    trouble("in order there are %d entries, %d on the way back, get finds %d", seen, back, present);
}

int content_read(maph *m, state *got) {
  static maph_slice keys[KEYS_MAX], values[KEYS_MAX];
  maph_snapshot *now;
  maph_slice value;
  maph_entry entry;
  maph_stats st;
  int i, rc, sum = 0, before = troubles;
  uint64_t present = 0;
  memset(got, 0, sizeof *got);
  for (i = 0; i < the->u.keys; i++) keys[i] = key_of(i);
  /* a handle that may write finishes here what a dead writer decided */
  if (maph_snapshot_open(m, &now) == MAPH_OK) maph_snapshot_close(now);
  rc = maph_get_many(m, (size_t)the->u.keys, keys, values);
  if (rc != MAPH_OK) {
    trouble("get_many: %s", maph_errmsg(m));
    return 1;
  }
  for (i = 0; i < the->u.keys; i++) {
    entry.version = 0;
    if (values[i].data && the->numbered && maph_get_entry(m, keys[i], &entry) != MAPH_OK)
      trouble("get_entry and get_many differ about %s", the->u.name[i]);
    got->content[i] = values[i].data ? entry_digest(values[i], entry.version) : 0;
    present += values[i].data != NULL;
    rc = maph_get(m, keys[i], &value);
    if (rc != (values[i].data ? MAPH_OK : MAPH_NOTFOUND) || value.data != values[i].data
        || value.size != values[i].size)
      trouble("get and get_many differ about %s", the->u.name[i]);
    if (i < ACCOUNTS && values[i].data) {
      char text[16];
      snprintf(text, sizeof text, "%.*s", (int)values[i].size, (const char *)values[i].data);
      sum += got->balance[i] = atoi(text);
    }
  }
  if (sum != 0 && sum != ACCOUNTS * OPENING_BALANCE) trouble("the accounts sum up to %d", sum);
  if (maph_check(m, tell_problem, NULL) != MAPH_OK && troubles == before)
    trouble("maph_check: %s", maph_errmsg(m));
  read_by_cursor(m, got);
  read_in_order(m, got);
  if (maph_stat(m, &st) != MAPH_OK || st.records < present
      || st.records > present + (uint64_t)the->expired)
    trouble("stat says %llu records, there are %llu", (unsigned long long)st.records,
            (unsigned long long)present);
  if (the->numbered) got->version = st.version;
  return troubles != before;
}

int state_same(const state *a, const state *b) {
  return a->version == b->version && memcmp(a->content, b->content, sizeof a->content) == 0;
}

int content_match(const state *got, int from, int promised) {
  int i;
  if (the->flight != NOTHING && state_same(got, &the->maybe)) return the->n + 1;
  if (promised) return -1;
  for (i = the->n; i >= from; i--)
    if (state_same(got, &the->history[i])) return i;
  return -1;
}

static void tell_difference(const state *got, const char *when) {
  const state *last = &the->history[the->n];
  int i, n = 0, first = -1;
  for (i = 0; i < the->u.keys; i++)
    if (got->content[i] != last->content[i]) {
      n++;
      if (first < 0) first = i;
    }
  trouble("%s: the store is in none of the states it may be in (%d acknowledged, flight %d); at "
          "version %llu, of %llu; %d keys differ from the last, first %s %s",
          when, the->n, (int)the->flight, (unsigned long long)got->version,
          (unsigned long long)last->version, n, first >= 0 ? the->u.name[first] : "-",
          first < 0                   ? ""
          : got->content[first] == 0  ? "is missing"
          : last->content[first] == 0 ? "is extra"
                                      : "has another value");
}

/* Readers may see the state before until the next writer finishes what was decided. */
int board_settle(writer *writer, const char *when) {
  maph *m = writer->m[MAPH_SYNC_OFF];
  state got;
  maph_txn *txn;
  int at;
  if (content_read(m, &got) != 0) return -1;
  at = content_match(&got, the->n, 0);
  if (at < 0) {
    tell_difference(&got, when);
    return -1;
  }
  if (maph_txn_begin(m, MAPH_SYNC_OFF, &txn) != MAPH_OK) {
    trouble("%s: the next writer cannot begin: %s", when, maph_errmsg(m));
    return -1;
  }
  maph_txn_abort(txn);
  if (content_read(m, &got) != 0) return -1;
  at = content_match(&got, the->n, the->flight == PROMISED);
  if (at < 0) {
    tell_difference(&got, when);
    return -1;
  }
  if (at == the->n + 1) {
    must(the->n + 1 < HISTORY_MAX, "more transactions than the board holds");
    the->history[++the->n] = the->maybe;
  }
  the->flight = NOTHING;
  the->flight_survives_power = 0;
  return at;
}

/* ---------------------------------------------------------------------------------------- hooks */

static void step(void) {
  if (atomic_fetch_add(&the->step, 1) + 1 == atomic_load(&the->kill_at)) kill(getpid(), SIGKILL);
}
static void step_at_store(const uint8_t *base, uint64_t offset, size_t size) {
  (void)base;
  (void)offset;
  (void)size;
  step();
}
static void step_at_flush(const uint8_t *base, uint64_t from, uint64_t to) {
  (void)base;
  (void)from;
  (void)to;
  step();
}
static int step_at_call(const char *call) {
  if (strcmp(call, "malloc") != 0) step();
  return 0;
}

void hooks_count(void) {
  os_test.store = step_at_store;
  os_test.flush = step_at_flush;
  os_test.fault = step_at_call;
}

void hooks_none(void) {
  os_test.store = NULL;
  os_test.flush = NULL;
  os_test.fault = NULL;
}
