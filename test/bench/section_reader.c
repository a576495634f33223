/*
** section_reader.c - readers side by side, of a store that nobody writes: 1, 2, 4 and so on up to
** as many as there are processors, as processes and as threads.
**
** A reading process is this program started again.  It makes its workload (the same store, another
** order of gets), opens the store, asks for each of its keys once and checks the answers, writes
** one byte to say that it is ready, waits for one byte to start, reads for the given time and
** writes its gets a second.  A reading thread uses the store that is open, or its own view of it
** where the store asks for that, and begins at its own place of the list.  As all start together
** and run equally long, the sum is their throughput side by side.
*/
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int most_readers;

int reader_count(int step) {
  int before = step ? 1 << (step - 1) : 0, n = 1 << step;
  return before >= most_readers ? 0 : n < most_readers ? n : most_readers;
}

typedef struct reader {
  pid_t pid;
  int to, from;
} reader;

static void read_all(int fd, void *data, size_t size, const char *what) {
  for (size_t got = 0; got < size;) {
    ssize_t n = read(fd, (char *)data + got, size - got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("a reading process ended before %s", what);
    got += (size_t)n;
  }
}

static void write_all(int fd, const void *data, size_t size) {
  if (write(fd, data, size) != (ssize_t)size)
    fail("cannot write to another process: %s", strerror(errno));
}

int reader_main(bench *b, const peer *p, const char *folder) {
  key_set expected;
  char go;
  key_set_init(&expected, b->work.gets, 1);
  key_set_fill(&expected, &b->work, b->work.asked, b->work.gets, "", 0);
  void *store = p->open(folder, LEVEL_READ);
  check_hits(p, store, &expected);
  write_all(1, "r", 1);
  read_all(0, &go, 1, "the start");
  double rate = rate_of_gets(p, store, &expected, 0, b->touch, b->seconds);
  write_all(1, &rate, sizeof rate);
  p->close(store);
  key_set_free(&expected);
  return 0;
}

static reader reader_start(const bench *b, const entrant *e, int number) {
  char keys[16], value[48], seed[24], seconds[32], gets[16], order[16];
  const workload *w = &b->work;
  snprintf(keys, sizeof keys, "%u", w->keys);
  snprintf(value, sizeof value, "%zu-%zu", w->value_min, w->value_max);
  snprintf(seed, sizeof seed, "%llu", (unsigned long long)w->seed);
  snprintf(seconds, sizeof seconds, "%.6f", b->seconds);
  snprintf(gets, sizeof gets, "%u", w->gets);
  snprintf(order, sizeof order, "%d", number);
  const char *arguments[] = { "bench",
                              "--reader",
                              e->peer->name,
                              "--dir",
                              e->folder,
                              "--keys",
                              keys,
                              "--value",
                              value,
                              "--seed",
                              seed,
                              "--seconds",
                              seconds,
                              "--gets",
                              gets,
                              "--reader-order",
                              order,
                              "--touch",
                              b->touch == TOUCH_FIRST ? "first" : "all",
                              NULL };
  int down[2], up[2];
  reader r;
  posix_spawn_file_actions_t actions;
  if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC))
    fail("cannot make a pipe: %s", strerror(errno));
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, down[0], 0);
  posix_spawn_file_actions_adddup2(&actions, up[1], 1);
  int rc = posix_spawn(&r.pid, "/proc/self/exe", &actions, NULL, (char **)arguments, environ);
  if (rc) fail("cannot start a reading process: %s", strerror(rc));
  posix_spawn_file_actions_destroy(&actions);
  close(down[0]);
  close(up[1]);
  r.to = down[1];
  r.from = up[0];
  return r;
}

static double reader_finish(reader *r) {
  double rate;
  int status;
  read_all(r->from, &rate, sizeof rate, "it told its figure");
  close(r->to);
  close(r->from);
  if (waitpid(r->pid, &status, 0) != r->pid || status != 0) fail("a reading process failed");
  return rate;
}

/* Gets a second of n reading processes together. */
static double rate_of_processes(const bench *b, const entrant *e, int n) {
  reader *readers = must_alloc(sizeof *readers * (size_t)n);
  double total = 0;
  char ready;
  for (int i = 0; i < n; i++) readers[i] = reader_start(b, e, 1 + i);
  for (int i = 0; i < n; i++) read_all(readers[i].from, &ready, 1, "it was ready");
  for (int i = 0; i < n; i++) write_all(readers[i].to, "g", 1);
  for (int i = 0; i < n; i++) total += reader_finish(&readers[i]);
  free(readers);
  return total;
}

typedef struct reading_thread {
  pthread_t thread;
  const bench *b;
  const entrant *e;
  pthread_barrier_t *start;
  uint32_t from; /* place in the list of keys */
  double rate;
} reading_thread;

static void *read_in_thread(void *arg) {
  reading_thread *t = arg;
  const peer *p = t->e->peer;
  void *view = p->reader ? p->reader(t->e->store) : t->e->store;
  rate_of_gets(p, view, &t->b->hits, t->from, t->b->touch, 0);
  pthread_barrier_wait(t->start);
  t->rate = rate_of_gets(p, view, &t->b->hits, t->from, t->b->touch, t->b->seconds);
  if (p->reader) p->reader_close(view);
  return NULL;
}

static double rate_of_threads(const bench *b, const entrant *e, int n) {
  reading_thread *threads = must_alloc(sizeof *threads * (size_t)n);
  pthread_barrier_t start;
  double total = 0;
  pthread_barrier_init(&start, NULL, (unsigned)n);
  for (int i = 0; i < n; i++) {
    reading_thread *t = &threads[i];
    *t = (reading_thread){ .b = b,
                           .e = e,
                           .start = &start,
                           .from = (uint32_t)((uint64_t)b->hits.n * (unsigned)i / (unsigned)n) };
    if (pthread_create(&t->thread, NULL, read_in_thread, t)) fail("cannot start a thread");
  }
  for (int i = 0; i < n; i++) {
    pthread_join(threads[i].thread, NULL);
    total += threads[i].rate;
  }
  pthread_barrier_destroy(&start);
  free(threads);
  return total;
}

void measure_readers(bench *b, entrant *e) {
  entrant_need_reading(b, e);
  signal(SIGPIPE, SIG_IGN);
  for (int step = 0; step < READER_STEPS && reader_count(step); step++) {
    int n = reader_count(step);
    entrant_report(b, e, THREADS + (unsigned)step, rate_of_threads(b, e, n));
    if (!(e->peer->traits & (IN_MEMORY | ONE_PROCESS)))
      entrant_report(b, e, PROCESSES + (unsigned)step, rate_of_processes(b, e, n));
  }
}
