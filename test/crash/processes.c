/*
** processes.c - several processes write and read by turns: no lost update, no half transaction,
** nobody is held up by the dead or the idle.
*/
#include "calls/handle.h"
#include "crash.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WRITERS = 4, READERS = 2, COUNTERS = 10 };

static char *path;
static struct talk { atomic_int writers_left, reads, go, there; } * talk;

static maph *opened(int flags, int durability, int busy_timeout_ms) {
  maph_options options = MAPH_OPTIONS_INIT;
  maph *m;
  options.durability = durability;
  options.busy_timeout_ms = busy_timeout_ms;
  must(maph_open(path, flags, &options, &m) == MAPH_OK, "opening a store");
  return m;
}

static long number_of(maph_slice value) {
  char text[24];
  snprintf(text, sizeof text, "%.*s", (int)value.size, (const char *)value.data);
  return atol(text);
}

static int put_number(maph_txn *txn, maph_slice key, long number) {
  char text[24];
  snprintf(text, sizeof text, "%ld", number);
  return maph_txn_put(txn, key, maph_str(text));
}

static maph_slice counter(int i) {
  static char names[COUNTERS][16];
  snprintf(names[i], sizeof names[i], "counter-%d", i);
  return maph_str(names[i]);
}

static maph_slice account(int i) {
  static char names[ACCOUNTS][16];
  snprintf(names[i], sizeof names[i], "account-%d", i);
  return maph_str(names[i]);
}

/* -------------------------------------------------------------------------- read, modify, write */

typedef struct job {
  long count;
  int number;
} job;

static int add(maph *m, maph_slice from, maph_slice to, long amount) {
  maph_txn *txn;
  maph_slice value;
  int rc = maph_txn_begin(m, MAPH_SYNC_DEFAULT, &txn);
  if (rc != MAPH_OK) return rc;
  if (from.size) {
    rc = maph_txn_get(txn, from, &value);
    if (rc == MAPH_OK) rc = put_number(txn, from, number_of(value) - amount);
  }
  if (rc == MAPH_OK) rc = maph_txn_get(txn, to, &value);
  if (rc == MAPH_OK) rc = put_number(txn, to, number_of(value) + amount);
  if (rc == MAPH_OK) return maph_txn_commit(txn);
  maph_txn_abort(txn);
  return rc;
}

static void increment(void *arg) {
  const job *job = arg;
  maph *m = opened(MAPH_RDWR, job->number % 2 ? MAPH_SYNC_NORMAL : MAPH_SYNC_OFF, 600000);
  long i;
  for (i = 0; i < job->count && troubles == 0; i++) {
    int rc = add(m, maph_bytes(NULL, 0), counter((int)below(COUNTERS)), 1);
    if (rc != MAPH_OK) trouble("writer %d, increment %ld: %s", job->number, i, maph_errmsg(m));
    if (i % 1000 == 999) {
      maph_close(m);
      m = opened(MAPH_RDWR, MAPH_SYNC_OFF, 600000);
    }
  }
  maph_close(m);
}

static void no_lost_update(long count) {
  maph *m = opened(MAPH_RDWR | MAPH_CREATE, MAPH_SYNC_OFF, 600000);
  pid_t children[WRITERS];
  job jobs[WRITERS];
  maph_slice value;
  long sum = 0;
  int i;
  context("processes, increments");
  for (i = 0; i < COUNTERS; i++)
    must(maph_put(m, counter(i), maph_str("0")) == MAPH_OK, "making a counter");
  for (i = 0; i < WRITERS; i++) {
    jobs[i] = (job){ count, i };
    children[i] = spawn(increment, &jobs[i]);
  }
  for (i = 0; i < WRITERS; i++) reap(children[i]);
  for (i = 0; i < COUNTERS; i++)
    if (maph_get(m, counter(i), &value) == MAPH_OK) sum += number_of(value);
  if (sum != WRITERS * count)
    trouble("%d processes made %ld increments each, and %ld are there", WRITERS, count, sum);
  if (maph_check(m, NULL, NULL) != MAPH_OK) trouble("maph_check: %s", maph_errmsg(m));
  maph_close(m);
}

/* -------------------------------------------------------------------------- whole or not at all */

static void transfer(void *arg) {
  const job *job = arg;
  maph *m = opened(MAPH_RDWR, MAPH_SYNC_OFF + job->number % 3, 600000);
  char key[32];
  long i;
  for (i = 0; i < job->count && troubles == 0; i++) {
    int from = (int)below(ACCOUNTS), to = (from + 1 + (int)below(ACCOUNTS - 1)) % ACCOUNTS,
        rc = add(m, account(from), account(to), (long)below(100));
    if (rc != MAPH_OK) trouble("writer %d, transfer %ld: %s", job->number, i, maph_errmsg(m));
    snprintf(key, sizeof key, "filler-%d-%ld", job->number, i); /* splits go on */
    if (i % 2 && maph_put(m, maph_str(key), maph_str("x")) != MAPH_OK)
      trouble("writer %d: %s", job->number, maph_errmsg(m));
  }
  maph_close(m);
  atomic_fetch_sub(&talk->writers_left, 1);
}

static void expect_sum(long sum, const char *how) {
  if (sum != ACCOUNTS * OPENING_BALANCE) trouble("%s sees accounts that sum up to %ld", how, sum);
}

static void look_once(maph *m, int by_cursor) {
  maph_slice keys[ACCOUNTS], values[ACCOUNTS];
  maph_snapshot *snapshot;
  maph_cursor *cursor;
  maph_entry entry;
  long sum;
  int i, rc;
  for (i = 0; i < ACCOUNTS; i++) keys[i] = account(i);
  rc = maph_get_many(m, ACCOUNTS, keys, values);
  for (sum = i = 0; rc == MAPH_OK && i < ACCOUNTS; i++) sum += number_of(values[i]);
  expect_sum(sum, "get_many");
  if (maph_snapshot_open(m, &snapshot) != MAPH_OK) {
    trouble("snapshot: %s", maph_errmsg(m));
    return;
  }
  for (sum = i = 0; i < ACCOUNTS; i++)
    if (maph_snapshot_get(snapshot, keys[i], &values[0]) == MAPH_OK) sum += number_of(values[0]);
  expect_sum(sum, "a snapshot");
  if (by_cursor && maph_cursor_open(m, snapshot, maph_str("account-"), &cursor) == MAPH_OK) {
    for (sum = 0; maph_cursor_next(cursor, &entry) == MAPH_OK;) sum += number_of(entry.value);
    expect_sum(sum, "a cursor");
    maph_cursor_close(cursor);
  }
  maph_snapshot_close(snapshot);
}

static void watch(void *arg) {
  maph *m = opened(MAPH_RDONLY, MAPH_SYNC_OFF, 0);
  long i;
  (void)arg;
  for (i = 0; atomic_load(&talk->writers_left) > 0 && troubles == 0; i++) look_once(m, i % 50 == 0);
  look_once(m, 1);
  atomic_fetch_add(&talk->reads, (int)i);
  maph_close(m);
}

static void never_half(long count) {
  maph *m = opened(MAPH_RDWR | MAPH_CREATE, MAPH_SYNC_OFF, 600000);
  pid_t children[WRITERS + READERS];
  job jobs[WRITERS];
  maph_txn *txn;
  int i;
  context("processes, transfers");
  must(maph_txn_begin(m, MAPH_SYNC_OFF, &txn) == MAPH_OK, "opening accounts");
  for (i = 0; i < ACCOUNTS; i++)
    must(put_number(txn, account(i), OPENING_BALANCE) == MAPH_OK, "opening an account");
  must(maph_txn_commit(txn) == MAPH_OK, "opening accounts");
  atomic_store(&talk->writers_left, WRITERS);
  for (i = 0; i < WRITERS; i++) {
    jobs[i] = (job){ count, i };
    children[i] = spawn(transfer, &jobs[i]);
  }
  for (; i < WRITERS + READERS; i++) children[i] = spawn(watch, NULL);
  for (i = 0; i < WRITERS + READERS; i++) reap(children[i]);
  if (maph_check(m, NULL, NULL) != MAPH_OK) trouble("maph_check: %s", maph_errmsg(m));
  maph_close(m);
}

/* ------------------------------------------------------------------------ the dead and the idle */

/* Write until the store is biased to this writer: soon, when nobody waited for a while. */
static void become_biased(maph *m) {
  const header *header = header_of(atomic_load(&m->store->base));
  while (atomic_load(&header->bias) != m->store->identity)
    must(maph_put(m, maph_str("k"), maph_str("v")) == MAPH_OK, "a put");
}

/* A child does something and then waits for the signal that ends it. */
static void hold_transaction(void *arg) {
  maph *m = opened(MAPH_RDWR, MAPH_SYNC_OFF, 5000);
  maph_txn *txn;
  if (*(const int *)arg) become_biased(m);
  must(maph_txn_begin(m, MAPH_SYNC_OFF, &txn) == MAPH_OK
           && maph_txn_put(txn, maph_str("held"), maph_str("half")) == MAPH_OK,
       "a transaction");
  atomic_store(&talk->there, 1);
  for (;;) pause();
}

static void idle_with_bias(void *arg) {
  (void)arg;
  become_biased(opened(MAPH_RDWR, MAPH_SYNC_OFF, 5000));
  atomic_store(&talk->there, 1);
  for (;;) pause();
}

static pid_t start_and_wait(void (*body)(void *), void *arg) {
  pid_t pid;
  atomic_store(&talk->there, 0);
  pid = spawn(body, arg);
  while (atomic_load(&talk->there) == 0) {
    must(waitpid(pid, NULL, WNOHANG) == 0, "a child that should have waited");
    sched_yield();
  }
  return pid;
}

static void end(pid_t pid) {
  kill(pid, SIGKILL);
  reap(pid);
}

static void busy_timeout_is_honoured(int biased) {
  pid_t holder = start_and_wait(hold_transaction, &biased);
  static const int timeouts[] = { 0, 150 };
  size_t i;
  context("processes, busy timeout, biased %d", biased);
  for (i = 0; i < 2; i++) {
    maph *m = opened(MAPH_RDWR, MAPH_SYNC_OFF, timeouts[i]);
    double began = seconds();
    int rc = maph_put(m, maph_str("k"), maph_str("w"));
    if (rc != MAPH_BUSY) trouble("a put beside a held transaction gives %d", rc);
    if ((seconds() - began) * 1000 < timeouts[i])
      trouble("BUSY after %.1f ms, the timeout is %d", (seconds() - began) * 1000, timeouts[i]);
    maph_close(m);
  }
  end(holder);
}

static void the_dead_block_nobody(int biased) {
  pid_t holder = start_and_wait(hold_transaction, &biased);
  maph *m = opened(MAPH_RDWR, MAPH_SYNC_OFF, 0);
  maph_slice value;
  context("processes, a killed holder, biased %d", biased);
  end(holder);
  if (maph_put(m, maph_str("k"), maph_str("w")) != MAPH_OK)
    trouble("after the holder's death a put without waiting fails: %s", maph_errmsg(m));
  if (maph_get(m, maph_str("held"), &value) != MAPH_NOTFOUND)
    trouble("a dead writer's open transaction is seen");
  maph_close(m);
}

static void the_idle_block_nobody(void) {
  pid_t idle = start_and_wait(idle_with_bias, NULL);
  maph *m = opened(MAPH_RDWR, MAPH_SYNC_OFF, 0);
  int i;
  context("processes, an idle biased writer");
  for (i = 0; i < 5; i++)
    if (maph_put(m, maph_str("k"), maph_str("w")) != MAPH_OK)
      trouble("beside an idle biased writer a put without waiting fails: %s", maph_errmsg(m));
  end(idle);
  maph_close(m);
}

/* ------------------------------------------------------ a biased writer that stops at one store */

static struct pause {
  uint64_t offset;
  int armed, timeout_ms, rc;
} * pausing;

static void stop_there(const uint8_t *at, uint64_t offset, size_t size) {
  (void)at;
  (void)size;
  if (!pausing->armed || offset != pausing->offset) return;
  pausing->armed = 0;
  raise(SIGSTOP);
}

static void write_and_stop(void *arg) {
  maph *m = opened(MAPH_RDWR, MAPH_SYNC_OFF, 0);
  (void)arg;
  become_biased(m);
  pausing->armed = 1;
  os_test.store = stop_there;
  pausing->rc = maph_put(m, maph_str("k"), maph_str("late"));
  hooks_none();
}

static pid_t stopped_at(uint64_t offset) {
  int status;
  pid_t pid;
  pausing->offset = offset;
  pid = spawn(write_and_stop, NULL);
  must(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "a writer that stops");
  return pid;
}

/* It stands between having seen its bias and saying that it writes; meanwhile the lock is taken: it
** must look again. */
static void who_comes_late_looks_again(void) {
  pid_t late = stopped_at(offsetof(header, busy));
  maph *m = opened(MAPH_RDWR, MAPH_SYNC_OFF, 0);
  maph_txn *txn;
  context("processes, a biased writer stopped before it says that it writes");
  if (maph_txn_begin(m, MAPH_SYNC_OFF, &txn) != MAPH_OK)
    trouble("it holds others up: %s", maph_errmsg(m));
  kill(late, SIGCONT);
  reap(late);
  if (pausing->rc != MAPH_BUSY) trouble("it writes beside one who has the lock (%d)", pausing->rc);
  maph_txn_abort(txn);
  maph_close(m);
}

/* It stands in the middle of its write: others must wait, and go on as soon as it is done or
** dead. */
static void who_writes_is_waited_for(int dies) {
  pid_t writing = stopped_at(offsetof(header, committed));
  maph *m = opened(MAPH_RDWR, MAPH_SYNC_OFF, 0);
  maph_slice value;
  context("processes, a biased writer stopped in its write");
  if (maph_put(m, maph_str("other"), maph_str("w")) != MAPH_BUSY)
    trouble("another writes beside it");
  kill(writing, dies ? SIGKILL : SIGCONT);
  reap(writing);
  if (maph_put(m, maph_str("other"), maph_str("w")) != MAPH_OK)
    trouble("it holds others up though it is gone: %s", maph_errmsg(m));
  if (maph_get(m, maph_str("k"), &value) != MAPH_OK || value.size != 4)
    trouble("what it had decided is not there");
  if (maph_check(m, NULL, NULL) != MAPH_OK) trouble("maph_check: %s", maph_errmsg(m));
  maph_close(m);
}

int processes_main(long count) {
  int i;
  path = file_named("processes.maph");
  talk = shared(sizeof *talk);
  pausing = shared(sizeof *pausing);
  no_lost_update(count);
  never_half(count / 2 + 1);
  for (i = 0; i < 2 && troubles == 0; i++) {
    busy_timeout_is_honoured(i % 2);
    the_dead_block_nobody(i % 2);
    the_idle_block_nobody();
    who_comes_late_looks_again();
    who_writes_is_waited_for(i % 2);
  }
  printf("%d processes with %ld increments and %ld transfers each, %d looks by %d readers\n",
         WRITERS, count, count / 2 + 1, atomic_load(&talk->reads), READERS);
  free(path);
  return 0;
}
