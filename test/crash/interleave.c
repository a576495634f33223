/*
** interleave.c - a reader at every step of a writer, and at every instruction of its own.
**
** AT EACH STORE of a writer, a reader of the same process looks at everything: it must see the
** state before or the state after, whole, and never go back.
**
** AT EACH INSTRUCTION of a get, the reader, another process that is single-stepped, stands still
** while a writer commits; then it goes on, and what it answers must be what the key had at some
** time since it began.  The writer dies at each of its own steps in turn, so that every prefix of
** its work meets every prefix of the reader's: two switches of context, exhaustively (sampled for
** get_many).  It runs the compiled code, so that it also sees what the compiler made of it.  Needs
** ptrace and an x86-64.
*/
#include "crash.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static char *path;
static uint8_t *base;
static size_t base_size;
static long looks, meetings;

/* -------------------------------------------------------------------- at each store of a writer */

static maph *reader;
static maph_snapshot *held; /* opened at an earlier store: must not change */
static state held_state;
static int looking, seen_after;

static void read_all(maph *m, maph_snapshot *snapshot, state *got) {
  maph_slice keys[KEYS_MAX / 4], values[KEYS_MAX / 4];
  int i, n = the->u.keys, rc;
  memset(got, 0, sizeof *got);
  must(n <= KEYS_MAX / 4, "fewer keys");
  for (i = 0; i < n; i++) keys[i] = maph_str(the->u.name[i]);
  rc = snapshot ? maph_snapshot_get_many(snapshot, (size_t)n, keys, values)
                : maph_get_many(m, (size_t)n, keys, values);
  if (rc != MAPH_OK) trouble("a reader fails: %s", maph_errmsg(m));
  for (i = 0; i < n; i++) got->content[i] = values[i].data ? value_digest(values[i]) : 0;
}

static int same(const state *state, const struct state *b) {
  return memcmp(state->content, b->content, sizeof state->content) == 0;
}

static void look_by_get(const state *all) {
  maph_slice value;
  int i;
  for (i = 0; i < the->u.keys; i++) {
    int rc = maph_get(reader, maph_str(the->u.name[i]), &value);
    uint64_t got = rc == MAPH_OK ? value_digest(value) : 0;
    if (got != all->content[i])
      trouble("get and get_many differ about %s between two stores", the->u.name[i]);
  }
}

static void look(const uint8_t *at, uint64_t offset, size_t size) {
  static state got, again;
  maph_snapshot *snapshot;
  (void)at;
  (void)size;
  if (looking) return;
  looking = 1;
  atomic_fetch_add(&the->step, 1);
  read_all(reader, NULL, &got);
  if (same(&got, &the->maybe) && the->flight != NOTHING)
    seen_after = 1;
  else if (!same(&got, &the->history[the->n]))
    trouble("before a store to %llu a reader sees a state that never was",
            (unsigned long long)offset);
  else if (seen_after)
    trouble("before a store to %llu a reader goes back", (unsigned long long)offset);
  look_by_get(&got);
  if (maph_snapshot_open(reader, &snapshot) == MAPH_OK) {
    read_all(reader, snapshot, &again);
    if (!same(&again, &got)) trouble("a snapshot differs from get_many");
    if (held == NULL) {
      held = snapshot;
      held_state = got;
    } else
      maph_snapshot_close(snapshot);
  }
  read_all(reader, held, &again);
  if (!same(&again, &held_state))
    trouble("before a store to %llu a snapshot changed", (unsigned long long)offset);
  if (below(60) == 0) {
    maph_snapshot_close(held);
    held = NULL;
  }
  looking = 0;
}

static void write_watched(void *arg) {
  writer writer;
  script script;
  int i;
  (void)arg;
  must(writer_open(&writer, path, MAPH_RDWR) == MAPH_OK
           && maph_open(path, MAPH_RDONLY, NULL, &reader) == MAPH_OK,
       "opening");
  os_test.store = look;
  for (i = 0; i < 25 && troubles == 0; i++) {
    seen_after = 0;
    script_random(&script, i % 3 == 0);
    if (script_run(&writer, &script) != MAPH_OK) trouble("the writer fails: %s", maph_errmsg(NULL));
  }
  os_test.store = NULL;
}

static void look_at_each_store(long round) {
  static board start;
  start = *the;
  context("interleave, a reader at each store, round %ld", round);
  file_restore(path, base, base_size);
  atomic_store(&the->step, 0);
  reap(spawn(write_watched, NULL));
  looks += atomic_load(&the->step);
  *the = start;
}

/* -------------------------------------------------------------- at each instruction of a reader */

enum { MANY = 6 };
static struct request {
  int keys, key[MANY];
  uint64_t got[MANY];
  int rc;
} * request;

/* Stops before and after each answer. */
static void answer(void *arg) {
  maph *m;
  (void)arg;
  must(maph_open(path, MAPH_RDONLY, NULL, &m) == MAPH_OK, "opening for the reader");
  must(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0, "ptrace");
  for (;;) {
    maph_slice keys[MANY], values[MANY];
    int i, n = request->keys;
    for (i = 0; i < n; i++) keys[i] = maph_str(the->u.name[request->key[i]]);
    raise(SIGSTOP);
    if (n == 1)
      request->rc = maph_get(m, keys[0], values);
    else
      request->rc = maph_get_many(m, (size_t)n, keys, values);
    for (i = 0; i < n; i++) request->got[i] = values[i].data ? value_digest(values[i]) : 0;
    raise(SIGSTOP);
  }
}

static script plan[6];
static int planned;

static void carry_out(void *arg) {
  writer writer;
  int i;
  (void)arg;
  hooks_count();
  must(writer_open(&writer, path, MAPH_RDWR) == MAPH_OK, "opening for the writer");
  for (i = 0; i < planned; i++)
    if (script_run(&writer, &plan[i]) != MAPH_OK)
      trouble("the writer fails: %s", maph_errmsg(NULL));
  hooks_none();
  the->done = 1;
}

/* 1: the reader stands at its next stop. */
static int stopped(pid_t pid) {
  int status;
  must(waitpid(pid, &status, 0) == pid, "waiting for the reader");
  if (!WIFSTOPPED(status)) {
    trouble("the reader died: status %x", (unsigned)status);
    return 1;
  }
  if (WSTOPSIG(status) != SIGSTOP && WSTOPSIG(status) != SIGTRAP)
    trouble("the reader got signal %d", WSTOPSIG(status));
  return WSTOPSIG(status) == SIGSTOP;
}

static void check_answer(long k, long n) {
  int i, at;
  if (request->rc != MAPH_OK && request->rc != MAPH_NOTFOUND) {
    trouble("instruction %ld, writer's step %ld: the reader's code is %d", k, n, request->rc);
    return;
  }
  for (at = 0; at <= the->n + (the->flight != NOTHING); at++) {
    const state *state = at <= the->n ? &the->history[at] : &the->maybe;
    for (i = 0; i < request->keys && request->got[i] == state->content[request->key[i]]; i++) {}
    if (i == request->keys) return;
  }
  trouble("instruction %ld, writer's step %ld: %s of %s%s answers what no state had", k, n,
          request->keys > 1 ? "get_many" : "get", the->u.name[request->key[0]],
          request->got[0] == 0 ? " (missing)" : "");
}

/* ---- The reader's instructions: traced once by single steps, then each reached by a breakpoint */
enum { TRACE_MOST = 20000 };
static unsigned long trace[TRACE_MOST];
static long traced;

#if defined(__x86_64__)
static unsigned long place_of_reader(pid_t pid) {
  struct user_regs_struct regs;
  must(ptrace(PTRACE_GETREGS, pid, NULL, &regs) == 0, "the reader's registers");
  return regs.rip;
}

static void go_to(pid_t pid, unsigned long place) {
  struct user_regs_struct regs;
  must(ptrace(PTRACE_GETREGS, pid, NULL, &regs) == 0, "the reader's registers");
  regs.rip = place;
  must(ptrace(PTRACE_SETREGS, pid, NULL, &regs) == 0, "the reader's registers");
}

/* Run until the instruction at `place`.  0: it came; 1: the reader ended before. */
static int run_to(pid_t pid, unsigned long place) {
  long old = ptrace(PTRACE_PEEKTEXT, pid, (void *)place, NULL);
  int ended;
  must(ptrace(PTRACE_POKETEXT, pid, (void *)place, (void *)((old & ~0xFFL) | 0xCC)) == 0,
       "a breakpoint");
  must(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0, "letting the reader go on");
  ended = stopped(pid);
  must(ptrace(PTRACE_POKETEXT, pid, (void *)place, (void *)old) == 0, "a breakpoint");
  if (!ended) go_to(pid, place);
  return ended;
}
#else
static unsigned long place_of_reader(pid_t pid) {
  (void)pid;
  return 0;
}
static int run_to(pid_t pid, unsigned long place) {
  (void)pid;
  (void)place;
  return 1;
}
#endif

static void step_once(pid_t pid, int *ended) {
  must(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0, "stepping the reader");
  *ended = stopped(pid);
}

static void begin_answer(pid_t pid) {
  must(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0, "letting the reader go on");
  must(stopped(pid), "the reader's first stop");
}

static void trace_answer(pid_t pid) {
  int ended = 0;
  begin_answer(pid);
  for (traced = 0; !ended && traced < TRACE_MOST; traced++) {
    trace[traced] = place_of_reader(pid);
    step_once(pid, &ended);
  }
  must(ended, "an answer takes more instructions than the test thought");
}

/* Before its instruction k.  1: it ended before. */
static int run_to_instruction(pid_t pid, long k) {
  long i, passes = 0;
  int ended = 0;
  for (i = 0; i < k; i++) passes += trace[i] == trace[k];
  for (i = 0; i <= passes && !ended; i++) {
    ended = run_to(pid, trace[k]);
    if (i < passes && !ended) step_once(pid, &ended);
  }
  return ended;
}

/* The reader stands before its instruction k, a writer works up to its step n (0: to its end), the
** reader goes on. */
static void meet(pid_t pid, long k, long n, const board *start) {
  *the = *start;
  file_restore_mapped(path, base, base_size);
  begin_answer(pid);
  if (run_to_instruction(pid, k)) return;
  atomic_store(&the->step, 0);
  atomic_store(&the->kill_at, n);
  reap(spawn(carry_out, NULL));
  must(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0, "letting the reader go on");
  must(stopped(pid), "the reader's last stop");
  check_answer(k, n);
  meetings++;
}

static void end_reader(pid_t pid) {
  kill(pid, SIGKILL);
  ptrace(PTRACE_CONT, pid, NULL, NULL);
  waitpid(pid, NULL, 0);
}

/* The writer splits the segment and reuses what the split left behind. */
static void plan_splits(int first_key, int transactions, int puts) {
  int i, j, key = first_key;
  planned = transactions;
  for (i = 0; i < transactions; i++) {
    memset(&plan[i], 0, sizeof plan[i]);
    plan[i].durability = MAPH_SYNC_OFF;
    plan[i].ending = END_COMMIT;
    plan[i].n = puts;
    for (j = 0; j < puts; j++)
      plan[i].ops[j] = (op){ OP_PUT, the->u.plain + key++ % the->u.crowded, 0, 0, ++the->stamp };
  }
}

static int can_trace(void) {
#if !defined(__x86_64__)
  return 0;
#endif
  int status;
  pid_t pid = fork();
  if (pid == 0) _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : 1);
  return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status)
         && WEXITSTATUS(status) == 0;
}

/* Each stride-th instruction against the whole of the writer's work, and against samples of its
** steps. */
static void step_through(int keys, const int *key, long stride, long writer_steps, int samples) {
  static board start;
  long k;
  int j;
  pid_t pid;
  request->keys = keys;
  memcpy(request->key, key, (size_t)keys * sizeof *key);
  start = *the;
  file_restore_mapped(path, base, base_size);
  pid = spawn(answer, NULL);
  must(stopped(pid), "the reader's start");
  must(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0 && stopped(pid), "the reader's first answer");
  trace_answer(pid);
  for (k = (long)below((uint32_t)stride); k < traced && troubles == 0; k += stride) {
    for (j = 0; j <= samples && troubles == 0; j++)
      meet(pid, k, j == 0 ? 0 : 1 + (long)below((uint32_t)writer_steps), &start);
  }
  end_reader(pid);
  *the = start;
}

static long steps_of_plan(void) {
  static board start;
  long n;
  start = *the;
  file_restore_mapped(path, base, base_size);
  atomic_store(&the->step, 0);
  atomic_store(&the->kill_at, 0);
  reap(spawn(carry_out, NULL));
  n = atomic_load(&the->step);
  *the = start;
  return n;
}

static void make_base(void) {
  writer writer;
  script script;
  int i;
  unlink(path);
  must(writer_open(&writer, path, MAPH_RDWR | MAPH_CREATE) == MAPH_OK, "creating a store");
  universe_make(&the->u, store_hash_seed(path), 20, 60, 20);
  board_accounts(&writer);
  memset(&script, 0, sizeof script);
  script.durability = MAPH_SYNC_OFF;
  script.ending = END_COMMIT;
  /* the next crowded ones split */
  for (i = 0; i < 23; i++)
    script.ops[script.n++] = (op){ OP_PUT, the->u.plain + i, 0, 0, ++the->stamp };
  must(script_run(&writer, &script) == MAPH_OK, "filling a store");
  board_start();
  free(base);
  must(maph_sync(writer.m[MAPH_SYNC_OFF]) == MAPH_OK, "flushing a store");
  base = file_read(path, &base_size);
  must(writer_close(&writer) == MAPH_OK, "closing a store");
}

int interleave_main(long count) {
  long round;
  path = file_named("interleave.maph");
  request = shared(sizeof *request);
  for (round = 0; round < count && troubles == 0; round++) {
    long writer_steps;
    int i, many[MANY];
    make_base();
    for (i = 0; i < 4 && troubles == 0; i++) look_at_each_store(round);
    if (!can_trace()) continue;
    plan_splits(20, 3, 12);
    writer_steps = steps_of_plan();
    context("interleave, get stepped, round %ld", round);
    for (i = 0; i < 3 && troubles == 0; i++) {
      /* 50: missing before, put meanwhile */
      int key = the->u.plain + (i == 2 ? 50 : (int)below(23));
      step_through(1, &key, count > 1 ? 1 : 2, writer_steps, count > 1 ? 8 : 2);
    }
    /* split, fill, then update: keys 7 and 15 lie where a split leaves stoppers */
    plan_splits(20, 3, 20);
    for (i = 0; i < MANY; i++) many[i] = the->u.plain + (i == 0 ? 7 : i == 1 ? 15 : (int)below(20));
    writer_steps = steps_of_plan();
    context("interleave, get_many stepped, round %ld", round);
    step_through(MANY, many, count > 1 ? 3 : 19, writer_steps, count > 1 ? 6 : 2);
    context("interleave, round %ld", round);
  }
  printf("%ld looks at each store, %ld meetings of a stopped reader with a writer%s\n", looks,
         meetings, meetings ? "" : " (this machine cannot trace)");
  free(path);
  free(base);
  return 0;
}
