/*
** steps.c - kill -9 at every step.
**
** A step is a store to log, index or header, a flush that succeeded, or a system call.  Each
** scenario runs once for each step, killed there, on the same bytes of the same file.  Then, in
** every third run, one or two more writers are killed while they mend that; then a writer goes on
** with records of other sizes, and everything is checked before and after.
*/
#include "crash.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct scenario {
  const char *name;
  void (*act)(const struct scenario *);
  /* count operations or transactions; keys: 'p'lain, 'c'rowded, 't'wins */
  int durability, ending, count, keys;
  enum { PLAIN = 0, OTHER_BOOT = 1, CREATES = 2, OPEN_BEFORE = 4, POISONED = 8, CROSSED = 16 } how;
} scenario;

static char *path;
static uint8_t *base;
static size_t base_size;
static long runs, steps;

/* ---------------------------------------------------------------------------------- the actions */

static int key_in(int kind, int i) {
  const universe *universe = &the->u;
  if (kind == 'c') return universe->plain + i % universe->crowded;
  if (kind == 't') return universe->plain + universe->crowded + i % universe->twins;
  return ACCOUNTS + i % (universe->plain - ACCOUNTS);
}

static void script_of_puts(script *script, const scenario *scenario, int from, int n) {
  int i;
  memset(script, 0, sizeof *script);
  script->durability = scenario->durability;
  script->ending = scenario->ending;
  script->n = n;
  for (i = 0; i < n; i++) {
    script->ops[i].key = key_in(scenario->keys, from + i);
    script->ops[i].stamp = (uint32_t)(1000 + from + i);
  }
}

static void opened(writer *writer, int flags) {
  if (writer_open(writer, path, flags) != MAPH_OK) {
    trouble("it cannot be opened: %s", maph_errmsg(NULL));
    _exit(3);
  }
}

static void run(writer *writer, const script *script) {
  if (script_run(writer, script) != MAPH_OK) {
    trouble("it cannot be written: %s", maph_errmsg(NULL));
    _exit(3);
  }
}

/* One transaction of many puts, a transfer and a savepoint rolled back. */
static void act_transaction(const scenario *scenario) {
  writer writer;
  script script;
  opened(&writer, MAPH_RDWR);
  script_of_puts(&script, scenario, 0, scenario->count);
  if (scenario->count >= 6) {
    script.ops[1] = (op){ OP_TRANSFER, 0, 1, 7, 0 };
    script.ops[2] = (op){ OP_SAVEPOINT, 0, 0, 0, 0 };
    script.ops[3].what = OP_DELETE;
    script.ops[4] = (op){ OP_ROLLBACK, 0, 0, 0, 0 };
  }
  run(&writer, &script);
}

/* Single puts, replacing each other, and deletes. */
static void act_singles(const scenario *scenario) {
  writer writer;
  script script;
  int i;
  opened(&writer, MAPH_RDWR);
  for (i = 0; i < scenario->count; i++) {
    script_of_puts(&script, scenario, scenario->keys == 'p' ? i / 2 : i, 1);
    script.ops[0].stamp += (uint32_t)i;
    if (scenario->keys == 'p' && i % 4 == 3) script.ops[0].what = OP_DELETE;
    run(&writer, &script);
  }
}

/* Open, write, leave: dirty and clean marks. */
static void act_sessions(const scenario *scenario) {
  writer writer;
  script script;
  int i;
  for (i = 0; i < scenario->count; i++) {
    opened(&writer, MAPH_RDWR);
    script_of_puts(&script, scenario, i, 1);
    run(&writer, &script);
    if (writer_close(&writer) != MAPH_OK) trouble("it cannot be closed: %s", maph_errmsg(NULL));
  }
}

static void act_create(const scenario *scenario) {
  writer writer;
  script script;
  opened(&writer, MAPH_RDWR | MAPH_CREATE);
  script_of_puts(&script, scenario, 0, 1);
  run(&writer, &script);
  if (writer_close(&writer) != MAPH_OK) trouble("it cannot be closed: %s", maph_errmsg(NULL));
}

/* Some keys twice; at full it is optimized.  Then a writer goes on. */
static void load_as(const scenario *scenario, int into_empty) {
  maph_load_options o = MAPH_LOAD_OPTIONS_INIT;
  maph_load *load;
  writer writer;
  script script;
  int i, rc;
  o.optimize = scenario->durability == MAPH_SYNC_FULL;
  o.into_empty = into_empty;
  o.versions = the->numbered ? MAPH_VERSIONS_GIVEN : MAPH_VERSIONS_OWN;
  rc = maph_load_begin(path, &o, &load);
  the->maybe = the->history[the->n];
  for (i = 0; i < scenario->count && rc == MAPH_OK; i++) {
    int key = key_in(scenario->keys, i % (scenario->count - 2));
    char value[24];
    snprintf(value, sizeof value, "loaded %d", i);
    if (the->numbered) rc = maph_load_at(load, the->maybe.version = 10 + 2 * (uint64_t)i);
    if (rc == MAPH_OK) rc = maph_load_put(load, maph_str(the->u.name[key]), maph_str(value), NULL);
    the->maybe.content[key] = entry_digest(maph_str(value), the->maybe.version);
  }
  if (the->numbered && rc == MAPH_OK) rc = maph_load_at(load, the->maybe.version += 5);
  the->flight = MAYBE;
  if (rc == MAPH_OK) rc = maph_load_finish(load);
  if (rc != MAPH_OK) {
    trouble("it cannot be loaded: %s", maph_errmsg(NULL));
    return;
  }
  the->history[++the->n] = the->maybe;
  the->flight = NOTHING;
  opened(&writer, MAPH_RDWR);
  script_of_puts(&script, scenario, 1, 1);
  run(&writer, &script);
  if (writer_close(&writer) != MAPH_OK) trouble("it cannot be closed: %s", maph_errmsg(NULL));
}

static void act_load(const scenario *scenario) { load_as(scenario, 0); }

/* One whose versions are given is loaded anew alone. */
static void act_load_into_empty(const scenario *scenario) {
  writer writer;
  if (the->numbered) {
    act_load(scenario);
    return;
  }
  opened(&writer, MAPH_RDWR | MAPH_CREATE);
  if (writer_close(&writer) != MAPH_OK) trouble("it cannot be closed: %s", maph_errmsg(NULL));
  load_as(scenario, 1);
}

/* Entries that have expired, outside of the universe of keys: a rewrite sweeps them. */
static void put_expired(maph *m, int durability, int n) {
  maph_condition expired;
  char key[24];
  int i;
  memset(&expired, 0, sizeof expired);
  expired.expires = 1000;
  for (i = 0; i < n; i++) {
    snprintf(key, sizeof key, "expired-%d", i);
    the->expired++;
    if (put_unknown(m, durability, maph_str(key), maph_str("x"), &expired) != MAPH_OK)
      trouble("it cannot be written: %s", maph_errmsg(m));
  }
}

/* Somebody writes at each phase of a rewrite. */
typedef struct meanwhile {
  writer *w;
  const scenario *c;
  int n;
  char phase[24];
} meanwhile;

static int write_meanwhile(void *arg, const char *phase, uint64_t done, uint64_t total) {
  meanwhile *meanwhile = arg;
  script script;
  (void)done;
  (void)total;
  if (strcmp(phase, meanwhile->phase) == 0 || meanwhile->n >= 6) return 0;
  snprintf(meanwhile->phase, sizeof meanwhile->phase, "%s", phase);
  script_of_puts(&script, meanwhile->c, 2 * meanwhile->n++, 2);
  script.ending = END_COMMIT;
  if (meanwhile->n % 3 == 0) script.ops[1].what = OP_DELETE;
  run(meanwhile->w, &script);
  return 0;
}

static void rewritten(int rc) {
  if (rc != MAPH_OK) trouble("it cannot be rewritten: %s", maph_errmsg(NULL));
}

/* Sweep, compact, and go on in the new file. */
static void act_compact(const scenario *scenario) {
  meanwhile meanwhile = { NULL, scenario, 0, "" };
  writer writer;
  script script;
  opened(&writer, MAPH_RDWR);
  meanwhile.w = &writer;
  put_expired(writer.m[scenario->durability], scenario->durability, scenario->count);
  rewritten(maph_compact(writer.m[scenario->durability], write_meanwhile, &meanwhile));
  script_of_puts(&script, scenario, 3, 1);
  run(&writer, &script);
  if (writer_close(&writer) != MAPH_OK) trouble("it cannot be closed: %s", maph_errmsg(NULL));
}

/* Freeze, change some of what is frozen, freeze that, and thaw it. */
static void act_optimize(const scenario *scenario) {
  meanwhile meanwhile = { NULL, scenario, 0, "" };
  writer writer;
  script script;
  int i;
  opened(&writer, MAPH_RDWR);
  meanwhile.w = &writer;
  rewritten(maph_optimize(writer.m[scenario->durability], write_meanwhile, &meanwhile));
  for (i = 0; i < scenario->count; i++) {
    script_of_puts(&script, scenario, i, 3);
    script.ending = i % 2 ? END_COMMIT : END_ABORT;
    if (i % 3 == 1) script.ops[0].what = OP_DELETE;
    run(&writer, &script);
  }
  rewritten(maph_optimize(writer.m[scenario->durability], NULL, NULL));
  script_of_puts(&script, scenario, 1, 1);
  run(&writer, &script);
  rewritten(maph_compact(writer.m[scenario->durability], NULL, NULL));
}

static char *copy_path;

static void act_backup(const scenario *scenario) {
  writer writer;
  opened(&writer, MAPH_RDWR);
  put_expired(writer.m[scenario->durability], scenario->durability, 2);
  rewritten(maph_backup(writer.m[scenario->durability], copy_path, NULL, NULL));
}

/* A backup is there as a whole, or not at all, and then it can be made. */
static void check_backup(writer *writer) {
  int there = access(copy_path, F_OK) == 0;
  state got;
  maph *m;
  if (!there && maph_backup(writer->m[MAPH_SYNC_OFF], copy_path, NULL, NULL) != MAPH_OK) {
    trouble("after a kill a backup cannot be made: %s", maph_errmsg(NULL));
    return;
  }
  if (maph_open(copy_path, MAPH_RDONLY, NULL, &m) != MAPH_OK) {
    trouble("a backup cannot be opened: %s", maph_errmsg(NULL));
    return;
  }
  if (content_read(m, &got) == 0 && content_match(&got, 0, 0) < 0)
    trouble("a backup holds none of the states");
  maph_close(m);
}

/* A backup takes the place of the store that it was made of: the same content. */
static void act_replace(const scenario *scenario) {
  writer writer;
  script script;
  maph_stats st;
  opened(&writer, MAPH_RDWR);
  rewritten(maph_backup(writer.m[scenario->durability], copy_path, NULL, NULL));
  if (maph_stat(writer.m[MAPH_SYNC_OFF], &st) != MAPH_OK) trouble("stat: %s", maph_errmsg(NULL));
  the->given = st.version;
  memcpy(the->replaced, st.uuid, sizeof the->replaced);
  if (maph_replace(path, copy_path, 5000) != MAPH_OK)
    trouble("it cannot be replaced: %s", maph_errmsg(NULL));
  script_of_puts(&script, scenario, 1, 1);
  run(&writer, &script);
}

/* Of what took the place no entry has a version that the store replaced gave out. */
static void check_replaced(maph *m) {
  maph_snapshot *now;
  maph_cursor *cursor;
  maph_entry entry;
  maph_stats st;
  if (the->given == 0) return;
  if (maph_snapshot_open(m, &now) != MAPH_OK || maph_snapshot_stat(now, &st) != MAPH_OK
      || maph_cursor_open(m, now, maph_bytes(NULL, 0), &cursor) != MAPH_OK) {
    trouble("it cannot be read: %s", maph_errmsg(m));
    return;
  }
  while (memcmp(the->replaced, st.uuid, sizeof st.uuid) != 0
         && maph_cursor_next(cursor, &entry) == MAPH_OK)
    if (entry.version <= the->given)
      trouble("version %llu is shown, and the store replaced had come to %llu",
              (unsigned long long)entry.version, (unsigned long long)the->given);
  maph_cursor_close(cursor);
  maph_snapshot_close(now);
}

static void act_rebuild(const scenario *scenario) {
  (void)scenario;
  if (maph_recover(path, NULL, NULL) != MAPH_OK) trouble("maph_recover: %s", maph_errmsg(NULL));
}

/* ------------------------------------------------------------------------------------ each step */

static void act(void *arg) {
  const scenario *scenario = arg;
  hooks_count();
  scenario->act(scenario);
  hooks_none();
  the->done = 1;
}

static void mend(void *arg) {
  writer writer;
  maph_txn *txn;
  (void)arg;
  hooks_count();
  opened(&writer, MAPH_RDWR);
  if (maph_txn_begin(writer.m[MAPH_SYNC_OFF], MAPH_SYNC_OFF, &txn) != MAPH_OK)
    trouble("a mending writer cannot begin: %s", maph_errmsg(NULL));
  else
    maph_txn_abort(txn);
  hooks_none();
}

static void die_mending(long n) {
  int i;
  for (i = 0; i < 2; i++) {
    atomic_store(&the->step, 0);
    atomic_store(&the->kill_at, 1 + (n * 7 + i * 13) % 60);
    reap(spawn(mend, NULL));
  }
}

/* A writer with records of other sizes, as small and as large as the dead one's and not. */
static void write_on(writer *writer, int accounts) {
  scenario puts = { "puts", NULL, MAPH_SYNC_OFF, END_COMMIT, 3, 'p', PLAIN };
  script script;
  int i;
  for (i = 0; i < 4 && troubles == 0; i++) {
    if (accounts)
      script_random(&script, i == 2);
    else
      script_of_puts(&script, &puts, 3 * i, 3);
    if (script_run(writer, &script) != MAPH_OK)
      trouble("the next writer fails: %s", maph_errmsg(NULL));
  }
}

/* Keys that split again what the dead one may have been splitting: a segment whose split was not
** finished would lose what came to the new half since. */
static void split_on(writer *writer) {
  scenario puts = { "puts", NULL, MAPH_SYNC_OFF, END_COMMIT, 12, 'c', PLAIN };
  script script;
  int i;
  for (i = 0; i < 5 && troubles == 0; i++) {
    script_of_puts(&script, &puts, 12 * i, 12);
    if (script_run(writer, &script) != MAPH_OK)
      trouble("the next writer fails: %s", maph_errmsg(NULL));
  }
}

static void clear_folder(void) {
  char name[500];
  static const char *const suffixes[] = { ".new",  ".damaged",  ".damaged.1", ".damaged.2",
                                          ".copy", ".copy.new", ".copy.lock" };
  size_t i;
  for (i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
    snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
    unlink(name);
  }
}

/* Whoever opens the store for writing removes what a rewrite left. */
static void check_folder(void) {
  char name[500];
  snprintf(name, sizeof name, "%s.new", path);
  if (access(name, F_OK) == 0) trouble("a file that a dead process began is left beside the store");
}

/* Whoever was there before and whoever opens the store now see the same. */
static void check_by_path(void) {
  state got;
  maph *m;
  if (troubles) return;
  if (maph_open(path, MAPH_RDONLY, NULL, &m) != MAPH_OK) {
    trouble("a reader cannot open it: %s", maph_errmsg(NULL));
    return;
  }
  if (content_read(m, &got) == 0 && !state_same(&got, &the->history[the->n]))
    trouble("whoever opens it now does not see the last state");
  maph_close(m);
}

/* After the next writer nothing says that the store is being replaced. */
static void check_state(void) {
  size_t size;
  uint8_t *bytes = file_read(path, &size);
  uint64_t flags;
  memcpy(&flags, bytes + offsetof(header, state), 8);
  if (flags & (STATE_SWITCHING | STATE_SUPERSEDED))
    trouble("the store says that it is being replaced (%d), and is not",
            (int)(flags & STATE_FLAGS));
  free(bytes);
}

static void poison(void) {
  uint64_t poisoned = STATE_POISONED;
  uint8_t *bytes = malloc(base_size);
  must(bytes != NULL, "memory");
  memcpy(bytes, base, base_size);
  memcpy(bytes + offsetof(header, state), &poisoned, 8);
  file_restore(path, bytes, base_size);
  free(bytes);
}

/* 1: the scenario ended before step n came. */
static int kill_at(const scenario *scenario, long n, const board *start, uint64_t boot) {
  writer own;
  pid_t child;
  memset(&own, 0, sizeof own);
  *the = *start;
  context("steps, scenario %s%s, step %ld", scenario->name, the->numbered ? ", versions given" : "",
          n);
  os_test.boot = boot + (scenario->how & OTHER_BOOT ? 1 : 0);
  if (scenario->how & CREATES)
    unlink(path);
  else
    file_restore(path, base, base_size);
  if (scenario->how & POISONED) poison();
  /* biased, most likely */
  if (scenario->how & OPEN_BEFORE) {
    opened(&own, MAPH_RDWR);
    write_on(&own, 1);
  }
  atomic_store(&the->step, 0);
  atomic_store(&the->kill_at, n);
  child = spawn(act, (void *)(uintptr_t)scenario);
  reap(child);
  runs++;
  if (n % 3 == 0 && !(scenario->how & (CREATES | POISONED))) die_mending(n);
  if (scenario->how & POISONED && maph_recover(path, NULL, NULL) != MAPH_OK)
    trouble("maph_recover: %s", maph_errmsg(NULL));
  if (own.m[MAPH_SYNC_OFF] == NULL) {
    opened(&own, MAPH_RDWR | (scenario->how & CREATES ? MAPH_CREATE : 0));
    check_folder();
  }
  if (board_settle(&own, "before anybody wrote") >= 0) {
    write_on(&own, !(scenario->how & CREATES));
    if (scenario->keys == 'c') split_on(&own);
    if (troubles == 0) board_settle(&own, "after the next writer");
    check_state();
    check_by_path();
    if ((scenario->act == act_backup || scenario->act == act_replace) && troubles == 0)
      check_backup(&own);
    check_replaced(own.m[MAPH_SYNC_OFF]);
  }
  if (writer_close(&own) != MAPH_OK) trouble("it cannot be closed: %s", maph_errmsg(NULL));
  clear_folder();
  return the->done;
}

static void every_step(const scenario *scenario, long stride, const board *start, uint64_t boot) {
  static board empty;
  long n = 1 + (long)below((uint32_t)stride);
  empty = *start;
  if (scenario->how & CREATES) {
    memset(empty.history, 0, sizeof empty.history[0]);
    empty.stamp = 1;
  }
  while (troubles == 0 && !kill_at(scenario, n, scenario->how & CREATES ? &empty : start, boot))
    n += stride;
  steps += n;
}

static void make_base(void) {
  scenario fill = { "fill", NULL, MAPH_SYNC_OFF, END_COMMIT, 24, 'c', PLAIN };
  writer writer;
  script script;
  unlink(path);
  opened(&writer, MAPH_RDWR | MAPH_CREATE);
  universe_make(&the->u, store_hash_seed(path), 30, 60, 40);
  board_accounts(&writer);
  script_of_puts(&script, &fill, 36, 24);
  run(&writer, &script);
  fill.keys = 'p';
  script_of_puts(&script, &fill, 0, 8);
  run(&writer, &script);
  board_start();
  must(writer_close(&writer) == MAPH_OK, "closing a store");
  free(base);
  base = file_read(path, &base_size);
}

/* -------------------------------------------------------------------------- threads, one handle */

enum { THREADS = 4, GROUP_COMMITS = 6 };
static struct group { atomic_int begun[THREADS], acknowledged[THREADS]; } * group;
static maph *group_handle;

static maph_slice group_key(int thread, int copy) {
  return maph_str(the->u.name[ACCOUNTS + 2 * thread + copy]);
}

static void *group_writer(void *arg) {
  int me = (int)(intptr_t)arg, i;
  for (i = 1; i <= GROUP_COMMITS; i++) {
    char text[16];
    maph_txn *txn;
    int rc;
    snprintf(text, sizeof text, "%d", i);
    atomic_store(&group->begun[me], i);
    rc = maph_txn_begin(group_handle, MAPH_SYNC_FULL, &txn);
    if (rc == MAPH_OK) rc = maph_txn_put(txn, group_key(me, 0), maph_str(text));
    if (rc == MAPH_OK) rc = maph_txn_put(txn, group_key(me, 1), maph_str(text));
    if (rc == MAPH_OK) rc = maph_txn_commit(txn);
    if (rc != MAPH_OK) {
      trouble("a thread cannot commit: %s", maph_errmsg(NULL));
      return NULL;
    }
    atomic_store(&group->acknowledged[me], i);
  }
  return NULL;
}

static void act_group(const scenario *scenario) {
  pthread_t ids[THREADS];
  int i;
  (void)scenario;
  if (maph_open(path, MAPH_RDWR, NULL, &group_handle) != MAPH_OK) {
    trouble("it cannot be opened: %s", maph_errmsg(NULL));
    return;
  }
  for (i = 0; i < THREADS; i++)
    must(pthread_create(&ids[i], NULL, group_writer, (void *)(intptr_t)i) == 0, "a thread");
  for (i = 0; i < THREADS; i++) pthread_join(ids[i], NULL);
}

static void check_group(maph *m) {
  int i, copy, got[2];
  for (i = 0; i < THREADS; i++) {
    for (copy = 0; copy < 2; copy++) {
      maph_slice value;
      char text[16];
      got[copy] = 0;
      if (maph_get(m, group_key(i, copy), &value) != MAPH_OK) continue;
      snprintf(text, sizeof text, "%.*s", (int)value.size, (const char *)value.data);
      got[copy] = atoi(text);
    }
    if (got[0] != got[1] || got[0] < group->acknowledged[i] || got[0] > group->begun[i]) {
      trouble("thread %d began %d, was acknowledged %d, and %d and %d are there", i,
              group->begun[i], group->acknowledged[i], got[0], got[1]);
    }
  }
  if (maph_check(m, NULL, NULL) != MAPH_OK) trouble("maph_check: %s", maph_errmsg(m));
}

static void every_step_of_group(long stride, const board *start) {
  static const scenario scenario = {
    "group", act_group, MAPH_SYNC_FULL, END_COMMIT, 0, 'p', PLAIN
  };
  long n = 1;
  group = shared(sizeof *group);
  for (*the = *start; troubles == 0 && !the->done; n += stride) {
    maph *m;
    *the = *start;
    memset(group, 0, sizeof *group);
    context("steps, scenario group, step %ld", n);
    file_restore(path, base, base_size);
    atomic_store(&the->step, 0);
    atomic_store(&the->kill_at, n);
    reap(spawn(act, (void *)(uintptr_t)&scenario));
    runs++;
    if (maph_open(path, MAPH_RDWR, NULL, &m) != MAPH_OK) {
      trouble("it cannot be opened: %s", maph_errmsg(NULL));
      return;
    }
    check_group(m);
    if (maph_put(m, maph_str("after"), maph_str("the group")) != MAPH_OK)
      trouble("the next writer fails: %s", maph_errmsg(m));
    check_group(m);
    if (maph_close(m) != MAPH_OK) trouble("it cannot be closed: %s", maph_errmsg(NULL));
  }
  steps += n;
}

/* -------------------------------------------------------------------------------- the scenarios */

static const scenario scenarios[] = {
  { "one put at off", act_transaction, MAPH_SYNC_OFF, END_ALONE, 1, 'p', PLAIN },
  { "one put at full", act_transaction, MAPH_SYNC_FULL, END_ALONE, 1, 'p', PLAIN },
  { "puts and deletes at off, by bias", act_singles, MAPH_SYNC_OFF, END_ALONE, 12, 'p', PLAIN },
  { "puts and deletes at normal", act_singles, MAPH_SYNC_NORMAL, END_ALONE, 8, 'p', PLAIN },
  { "puts and deletes at full", act_singles, MAPH_SYNC_FULL, END_ALONE, 8, 'p', PLAIN },
  { "a transaction at off", act_transaction, MAPH_SYNC_OFF, END_COMMIT, 10, 'p', PLAIN },
  { "a transaction at full", act_transaction, MAPH_SYNC_FULL, END_COMMIT, 10, 'p', PLAIN },
  { "single puts that split", act_singles, MAPH_SYNC_OFF, END_ALONE, 10, 'c', PLAIN },
  { "a transaction that splits", act_transaction, MAPH_SYNC_FULL, END_COMMIT, 36, 'c', PLAIN },
  { "a transaction that overflows", act_transaction, MAPH_SYNC_OFF, END_COMMIT, 40, 't', PLAIN },
  { "abort after splits", act_transaction, MAPH_SYNC_OFF, END_ABORT, 20, 'c', PLAIN },
  { "prepare and commit at off", act_transaction, MAPH_SYNC_OFF, END_PREPARE_COMMIT, 8, 'p',
    PLAIN },
  { "prepare and commit at full", act_transaction, MAPH_SYNC_FULL, END_PREPARE_COMMIT, 20, 'c',
    PLAIN },
  { "prepare and abort at off", act_transaction, MAPH_SYNC_OFF, END_PREPARE_ABORT, 8, 'p', PLAIN },
  { "prepare and abort at full", act_transaction, MAPH_SYNC_FULL, END_PREPARE_ABORT, 20, 'c',
    PLAIN },
  { "sessions", act_sessions, MAPH_SYNC_NORMAL, END_ALONE, 3, 'p', PLAIN },
  { "recovery after a power loss", act_singles, MAPH_SYNC_NORMAL, END_ALONE, 2, 'p', OTHER_BOOT },
  { "bias handed over", act_singles, MAPH_SYNC_OFF, END_ALONE, 10, 'p', OPEN_BEFORE },
  { "creation", act_create, MAPH_SYNC_NORMAL, END_ALONE, 1, 'p', CREATES },
  { "load", act_load, MAPH_SYNC_OFF, END_ALONE, 12, 'p', CREATES },
  { "load, optimized", act_load, MAPH_SYNC_FULL, END_ALONE, 12, 'p', CREATES },
  { "load into an empty store", act_load_into_empty, MAPH_SYNC_OFF, END_ALONE, 12, 'p', CREATES },
  { "compact", act_compact, MAPH_SYNC_OFF, END_ALONE, 3, 'p', PLAIN },
  { "compact at full", act_compact, MAPH_SYNC_FULL, END_ALONE, 2, 'c', PLAIN },
  { "compact beside a biased writer", act_compact, MAPH_SYNC_NORMAL, END_ALONE, 2, 'p',
    OPEN_BEFORE },
  { "optimize", act_optimize, MAPH_SYNC_OFF, END_COMMIT, 6, 'p', PLAIN },
  { "optimize at full beside a biased writer", act_optimize, MAPH_SYNC_FULL, END_COMMIT, 3, 'c',
    OPEN_BEFORE },
  { "replace", act_replace, MAPH_SYNC_NORMAL, END_COMMIT, 2, 'p', PLAIN },
  { "backup", act_backup, MAPH_SYNC_NORMAL, END_ALONE, 0, 'p', PLAIN },
  { "recovery into a new file", act_rebuild, MAPH_SYNC_NORMAL, END_ALONE, 1, 'p', POISONED },
};

/* The base of the recovery scenario was left open. */
static void dirty_base(void) {
  uint64_t dirty = CLEAN_DIRTY;
  memcpy(base + offsetof(header, clean), &dirty, 8);
}

enum { BOOT = 1 };

static void every_scenario(long stride, int numbered, board *start) {
  uint64_t clean = CLEAN_YES;
  size_t i;
  os_test.boot = BOOT;
  memset(the, 0, sizeof *the);
  the->numbered = numbered;
  make_base();
  *start = *the;
  for (i = 0; i < sizeof scenarios / sizeof scenarios[0] && troubles == 0; i++) {
    if (scenarios[i].how & OTHER_BOOT) dirty_base();
    every_step(&scenarios[i], stride, start, BOOT);
    memcpy(base + offsetof(header, clean), &clean, 8);
  }
}

/* The scenarios of stores whose versions are given pass the same places: there fewer will do. */
int steps_main(long stride) {
  static board start;
  enum { FEWER = 4 };
  if (stride < 1) stride = 1;
  path = file_named("steps.maph");
  copy_path = file_named("steps.maph.copy");
  every_scenario(stride, 0, &start);
  if (troubles == 0) {
    os_test.boot = BOOT;
    every_step_of_group(stride, &start);
  }
  if (troubles == 0) every_scenario(FEWER * stride - 1, 1, &start);
  printf("%zu scenarios, %ld steps, %ld kills\n", 2 * sizeof scenarios / sizeof scenarios[0] + 1,
         steps, runs);
  free(path);
  free(copy_path);
  free(base);
  return 0;
}
