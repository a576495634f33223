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

int reader_main(bench *bench, const peer *peer, const char *folder) {
  key_set expected;
  char go;
  key_set_init(&expected, bench->work.gets, 1);
  key_set_fill(&expected, &bench->work, bench->work.asked, bench->work.gets, "", 0);
  void *store = peer->open(folder, LEVEL_READ);
  check_hits(peer, store, &expected);
  write_all(1, "r", 1);
  read_all(0, &go, 1, "the start");
  double rate = rate_of_gets(peer, store, &expected, 0, bench->touch, bench->seconds);
  write_all(1, &rate, sizeof rate);
  peer->close(store);
  key_set_free(&expected);
  return 0;
}

static reader reader_start(const bench *bench, const entrant *entrant, int number) {
  char keys[16], value[48], seed[24], seconds[32], gets[16], order[16];
  const workload *workload = &bench->work;
  snprintf(keys, sizeof keys, "%u", workload->keys);
  snprintf(value, sizeof value, "%zu-%zu", workload->value_min, workload->value_max);
  snprintf(seed, sizeof seed, "%llu", (unsigned long long)workload->seed);
  snprintf(seconds, sizeof seconds, "%.6f", bench->seconds);
  snprintf(gets, sizeof gets, "%u", workload->gets);
  snprintf(order, sizeof order, "%d", number);
  const char *arguments[] = { "bench",
                              "--reader",
                              entrant->peer->name,
                              "--dir",
                              entrant->folder,
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
                              bench->touch == TOUCH_FIRST ? "first" : "all",
                              NULL };
  int down[2], up[2];
  reader reader;
  posix_spawn_file_actions_t actions;
  if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC))
    fail("cannot make a pipe: %s", strerror(errno));
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, down[0], 0);
  posix_spawn_file_actions_adddup2(&actions, up[1], 1);
  int rc = posix_spawn(&reader.pid, "/proc/self/exe", &actions, NULL, (char **)arguments, environ);
  if (rc) fail("cannot start a reading process: %s", strerror(rc));
  posix_spawn_file_actions_destroy(&actions);
  close(down[0]);
  close(up[1]);
  reader.to = down[1];
  reader.from = up[0];
  return reader;
}

static double reader_finish(reader *reader) {
  double rate;
  int status;
  read_all(reader->from, &rate, sizeof rate, "it told its figure");
  close(reader->to);
  close(reader->from);
  if (waitpid(reader->pid, &status, 0) != reader->pid || status != 0)
    fail("a reading process failed");
  return rate;
}

/* Gets a second of n reading processes together. */
static double rate_of_processes(const bench *bench, const entrant *entrant, int n) {
  reader *readers = must_alloc(sizeof *readers * (size_t)n);
  double total = 0;
  char ready;
  for (int i = 0; i < n; i++) readers[i] = reader_start(bench, entrant, 1 + i);
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
  const peer *peer = t->e->peer;
  void *view = peer->reader ? peer->reader(t->e->store) : t->e->store;
  rate_of_gets(peer, view, &t->b->hits, t->from, t->b->touch, 0);
  pthread_barrier_wait(t->start);
  t->rate = rate_of_gets(peer, view, &t->b->hits, t->from, t->b->touch, t->b->seconds);
  if (peer->reader) peer->reader_close(view);
  return NULL;
}

static double rate_of_threads(const bench *bench, const entrant *entrant, int n) {
  reading_thread *threads = must_alloc(sizeof *threads * (size_t)n);
  pthread_barrier_t start;
  double total = 0;
  pthread_barrier_init(&start, NULL, (unsigned)n);
  for (int i = 0; i < n; i++) {
    reading_thread *t = &threads[i];
    *t =
        (reading_thread){ .b = bench,
                          .e = entrant,
                          .start = &start,
                          .from = (uint32_t)((uint64_t)bench->hits.n * (unsigned)i / (unsigned)n) };
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

void measure_readers(bench *bench, entrant *entrant) {
  entrant_need_reading(bench, entrant);
  signal(SIGPIPE, SIG_IGN);
  for (int step = 0; step < READER_STEPS && reader_count(step); step++) {
    int n = reader_count(step);
    entrant_report(bench, entrant, THREADS + (unsigned)step, rate_of_threads(bench, entrant, n));
    if (!(entrant->peer->traits & (IN_MEMORY | ONE_PROCESS)))
      entrant_report(bench, entrant, PROCESSES + (unsigned)step,
                     rate_of_processes(bench, entrant, n));
  }
}
