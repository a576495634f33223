/*
** section_reader.c - reading processes: this program started again, once or twice, on a store that nobody writes.
**
** A reader makes its workload (the same store, another order of gets), opens the store, asks for each of its keys once and
** checks the answers, writes one byte to say that it is ready, waits for one byte to start, reads for the given time and
** writes its gets a second.  As all start together and run equally long, the sum is their throughput side by side.
*/
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { READERS = 2 };

typedef struct reader { pid_t pid; int to, from; } reader;

static void read_all(int fd, void *data, size_t size, const char *what){
  for(size_t got = 0; got<size; ){
    ssize_t n = read(fd, (char*)data + got, size - got);
    if( n<0 && errno==EINTR ) continue;
    if( n<=0 ) fail("a reading process ended before %s", what);
    got += (size_t)n;
  }
}

static void write_all(int fd, const void *data, size_t size){
  if( write(fd, data, size)!=(ssize_t)size ) fail("cannot write to another process: %s", strerror(errno));
}

int reader_main(bench *b, const peer *p, const char *folder){
  key_set expected;
  char go;
  key_set_init(&expected, b->work.gets, 1);
  key_set_fill(&expected, &b->work, b->work.asked, b->work.gets, "", 0);
  void *store = p->open(folder, LEVEL_READ);
  check_hits(p, store, &expected);
  write_all(1, "r", 1);
  read_all(0, &go, 1, "the start");
  double rate = rate_of_gets(p, store, &expected, b->touch, b->seconds);
  write_all(1, &rate, sizeof rate);
  p->close(store);
  key_set_free(&expected);
  return 0;
}

static reader reader_start(const bench *b, const entrant *e, int number){
  char keys[16], value[48], seed[24], seconds[32], gets[16], order[16];
  const workload *w = &b->work;
  snprintf(keys, sizeof keys, "%u", w->keys);
  snprintf(value, sizeof value, "%zu-%zu", w->value_min, w->value_max);
  snprintf(seed, sizeof seed, "%llu", (unsigned long long)w->seed);
  snprintf(seconds, sizeof seconds, "%.6f", b->seconds);
  snprintf(gets, sizeof gets, "%u", w->gets);
  snprintf(order, sizeof order, "%d", number);
  const char *arguments[] = { "bench", "--reader", e->peer->name, "--dir", e->folder, "--keys", keys, "--value", value,
    "--seed", seed, "--seconds", seconds, "--gets", gets, "--reader-order", order,
    "--touch", b->touch==TOUCH_FIRST ? "first" : "all", NULL };
  int down[2], up[2];
  reader r;
  posix_spawn_file_actions_t actions;
  if( pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC) ) fail("cannot make a pipe: %s", strerror(errno));
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, down[0], 0);
  posix_spawn_file_actions_adddup2(&actions, up[1], 1);
  int rc = posix_spawn(&r.pid, "/proc/self/exe", &actions, NULL, (char**)arguments, environ);
  if( rc ) fail("cannot start a reading process: %s", strerror(rc));
  posix_spawn_file_actions_destroy(&actions);
  close(down[0]);
  close(up[1]);
  r.to = down[1];
  r.from = up[0];
  return r;
}

static double reader_finish(reader *r){
  double rate;
  int status;
  read_all(r->from, &rate, sizeof rate, "it told its figure");
  close(r->to);
  close(r->from);
  if( waitpid(r->pid, &status, 0)!=r->pid || status!=0 ) fail("a reading process failed");
  return rate;
}

/* Gets a second of n readers together. */
static double rate_of_readers(const bench *b, const entrant *e, int n){
  reader readers[READERS];
  double total = 0;
  char ready;
  for(int i = 0; i<n; i++) readers[i] = reader_start(b, e, 1 + i);
  for(int i = 0; i<n; i++) read_all(readers[i].from, &ready, 1, "it was ready");
  for(int i = 0; i<n; i++) write_all(readers[i].to, "g", 1);
  for(int i = 0; i<n; i++) total += reader_finish(&readers[i]);
  return total;
}

void measure_readers(bench *b, entrant *e){
  entrant_need_reading(b, e);
  signal(SIGPIPE, SIG_IGN);
  entrant_report(b, e, ONE_READER, rate_of_readers(b, e, 1));
  entrant_report(b, e, TWO_READERS, rate_of_readers(b, e, READERS));
}
