/*
** loop.c - the threads in which connections wait for their next request, and that answer what takes
** no time.
**
** A connection between two requests costs a descriptor and its struct, and no worker.  There is a
** loop for each CPU, up to LOOPS_MOST.  What has come is read, once, and
**
**     a plain head (head.c) whose route is quick (routes.c)   is answered here, by the same code
**     any other                                               goes to a worker
**     a part of one                                           goes back among the arrivals
**
** Whoever gets the connection gets what was read with it and of no request yet, as it came: a head
** is parsed in a copy.
**
** A worker gives the connection back when the next request is not there soon (civetweb.c).
**
** Nothing here waits.  A handler that would have to declines, before it has done anything, and a
** worker answers: where a store is not open yet, and for values too large to be sent at once.
** What a client does not take at once is kept (SENDING); where that is too much, workers answer,
** who wait for the client in one of few places (base/waits.h).  Where an answer had to wait for the
** disk, since a value was not in memory, workers answer for a while: they can wait side by side.
**
** An answer is made whole, counted and logged before any of it is sent: who has read it finds it in
** the log.
**
** A connection is freed by the one whose it is: an arrivals', a loop's or a worker's.  Others say
** that its time is over (timed_out).  Then it leaves, unless a request has come by now.
*/
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "http/arrivals.h"
#include "http/exchange.h"
#include "http/head.h"
#include "http/loop.h"

enum { LOOPS_MOST = 8, EVENTS = 64, TURNS = 64, SLOW_US = 1000, COLD_MS = 1000 };
enum { UNSENT_MOST = 16 << 20 }; /* of each loop */
enum { ANSWER_KEPT = 128 << 10, HEAD_EXPECTED = 1024 };

typedef struct loop {
  int poller, alarm_bell;
  pthread_t thread;
  workspace work;
  size_t unsent; /* bytes that are kept for clients */
  /* Read of the connection that is heard, PLAIN_MOST bytes at most, and behind them, for a look,
  ** what its socket has.  Those from `from` to `end` are of no request yet. */
  char bytes[REQUEST_ROOM];
  size_t from, end;
  char head[PLAIN_MOST + 1]; /* of the request that is answered: what points into it */
} loop;

static loop *loops;
static unsigned loop_count, running_count;
static atomic_uint next_loop;
static atomic_bool stopping, cold; /* the latter: values are not in memory */
static bool workers_answer;        /* all: a test compares the two ways */
static uint64_t cold_since_us;     /* seen by the arrivals' thread; 0: not cold */

/* ------------------------------------------------------------------------------ passing on */
static void let_go(loop *loop, connection *connection) {
  epoll_ctl(loop->poller, EPOLL_CTL_DEL, connection->socket, NULL);
}

/* What was read and is of no request yet goes with the connection.  False: no memory, it ended. */
static bool keep_rest(loop *loop, connection *connection) {
  buffer_append(&connection->ahead, loop->bytes + loop->from, loop->end - loop->from);
  loop->from = loop->end = 0;
  if (!connection->ahead.failed) return true;
  loop->unsent -= connection->unsent.size;
  connection_end(connection, true);
  return false;
}

static void pass_to_worker(loop *loop, connection *connection) {
  if (!keep_rest(loop, connection)) return;
  let_go(loop, connection);
  connection_is_ready(connection);
}

static bool head_is_whole(const loop *loop, const connection *connection) {
  const char *begin = loop->bytes + loop->from;
  size_t read = loop->end - loop->from;
  ssize_t n;
  if (head_ends(begin, read, 0)) return true;
  n = recv(connection->socket, (char *)begin + read, REQUEST_ROOM - loop->end,
           MSG_PEEK | MSG_DONTWAIT);
  return n > 0 && head_ends(begin, read + (size_t)n, read);
}

/* What is no plain head, or a part of one: a worker's when it is whole. */
static void pass_on(loop *loop, connection *connection) {
  if (head_is_whole(loop, connection)) {
    pass_to_worker(loop, connection);
  } else if (keep_rest(loop, connection)) {
    let_go(loop, connection);
    arrivals_take(connection);
  }
}

static void see_off(loop *loop, connection *connection) {
  let_go(loop, connection);
  shutdown(connection->socket, SHUT_WR);
  arrivals_see_off(connection);
}

/* Was that answer slow because the disk was waited for?  Then workers answer for a while. */
static void judge_time(const request *request) {
  static _Thread_local long waits_before;
  struct rusage usage;
  if (request->took_us < SLOW_US) return;
  getrusage(RUSAGE_THREAD, &usage);
  if (usage.ru_majflt > waits_before) atomic_store(&cold, true);
  waits_before = usage.ru_majflt;
}

void loops_tend(void) {
  uint64_t now = now_us();
  if (!atomic_load(&cold)) return;
  if (cold_since_us == 0) cold_since_us = now;
  if (now < cold_since_us + COLD_MS * 1000) return;
  cold_since_us = 0;
  atomic_store(&cold, false);
}

/* ------------------------------------------------------------------------------- answering */
/* Send what is left.  False: it waits for the client, or is not this loop's any more. */
static bool send_rest(loop *loop, connection *connection) {
  buffer *buffer = &connection->unsent;
  while (connection->sent < buffer->size) {
    ssize_t n = send(connection->socket, buffer->data + connection->sent,
                     buffer->size - connection->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0) {
      loop->unsent -= buffer->size;
      connection_end(connection, true);
      return false;
    }
    connection->sent += (size_t)n;
  }
  loop->unsent -= buffer->size;
  buffer_free(buffer);
  connection->sent = 0;
  if (connection->leaves) {
    see_off(loop, connection);
    return false;
  }
  connection_keep(connection);
  return true;
}

/* What the socket takes at once; the rest waits for the client.  False: the client is gone. */
static bool send_answer(loop *loop, connection *connection) {
  buffer *answer = &loop->work.answer;
  ssize_t n = send(connection->socket, answer->data, answer->size, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
  if (n < 0) n = 0;
  if ((size_t)n == answer->size) return true;
  buffer_append(&connection->unsent, answer->data + n, answer->size - (size_t)n);
  if (connection->unsent.failed) return false;
  loop->unsent += connection->unsent.size;
  connection_sends(connection);
  return true;
}

/* The answer has been made.  False: the connection is not this loop's any more, or waits for the
** client to read. */
static bool conclude(loop *loop, connection *connection, const request *request) {
  bool sent = !request->reply.broken && send_answer(loop, connection);
  buffer_reset(&loop->work.answer, ANSWER_KEPT);
  exchange_sent();
  connection->leaves = request->reply.close;
  if (!sent) {
    connection_end(connection, true);
    return false;
  }
  if (connection->unsent.size > 0) {
    keep_rest(loop, connection);
    return false;
  }
  if (!request->reply.close) return true;
  see_off(loop, connection);
  return false;
}

/* As head_read, of a copy: few have more than HEAD_EXPECTED bytes, and many more may have come. */
static size_t read_head(loop *loop, request *request) {
  const char *begin = loop->bytes + loop->from;
  size_t all = loop->end - loop->from, most = all < HEAD_EXPECTED ? all : HEAD_EXPECTED, size;
  memcpy(loop->head, begin, most);
  size = head_read(loop->head, most, request);
  if (size > 0 || most == all) return size;
  memcpy(loop->head, begin, all);
  return head_read(loop->head, all, request);
}

/* Answer the request that comes next.  False: the connection is not this loop's any more, or waits
** for the client to read. */
static bool answer(loop *loop, connection *connection) {
  request *request = exchange_begin(connection, &loop->work);
  bool here = !workers_answer && !atomic_load_explicit(&cold, memory_order_relaxed)
              && loop->unsent < UNSENT_MOST;
  size_t size = here ? read_head(loop, request) : 0;
  if (size == 0) {
    pass_on(loop, connection);
    return false;
  }
  atomic_store_explicit(&connection->timed_out, false, memory_order_relaxed);
  request->quick = true;
  request->reply.close = head_closes(request);
  exchange_read(request);
  if (!exchange_serve(request)) {
    connection->counted = request->counted;
    pass_to_worker(loop, connection);
    return false;
  }
  loop->from += size;
  judge_time(request);
  atomic_store_explicit(&connection->since_us, request->started_us + request->took_us,
                        memory_order_relaxed);
  return conclude(loop, connection, request);
}

static bool ask_for_events(const connection *connection, int operation) {
  struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                           .data.ptr = (void *)connection };
  return epoll_ctl(connection->poller, operation, connection->socket, &e) == 0;
}

static void watch(connection *connection, int operation) {
  if (!ask_for_events(connection, operation)) connection_end(connection, true);
}

/* Whoever asks for events anew is told that the socket can be written to.  Where it cannot, since
** the client has not read its last answers, the end of ours is what the loop is told of. */
void loop_look_at(connection *connection) {
  struct pollfd room = { .fd = connection->socket, .events = POLLOUT };
  struct timespec at_once = { 0, 0 };
  if (ppoll(&room, 1, &at_once, NULL) == 0)
    shutdown(connection->socket, SHUT_WR);
  else
    (void)ask_for_events(connection, EPOLL_CTL_MOD);
}

/* What was read before, when another had the connection or the client had to read first. */
static void take_ahead(loop *loop, connection *connection) {
  buffer *ahead = &connection->ahead;
  loop->from = 0;
  loop->end = ahead->size;
  if (ahead->size == 0) return;
  memcpy(loop->bytes, ahead->data, ahead->size);
  buffer_free(ahead);
}

/* Read on behind what is there.  False: nothing is there; or the connection has ended. */
static bool read_more(loop *loop, connection *connection, bool *more) {
  size_t size = loop->end - loop->from, room = PLAIN_MOST - size;
  ssize_t n;
  if (loop->from > 0) memmove(loop->bytes, loop->bytes + loop->from, size);
  loop->from = 0;
  loop->end = size;
  if (room == 0) return true;
  n = recv(connection->socket, loop->bytes + size, room, MSG_DONTWAIT);
  if (n > 0) {
    loop->end += (size_t)n;
    *more = (size_t)n == room || connection->ended;
    return true;
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) *more = false;
  if (size > 0) return true;
  if (*more) {
    connection_end(connection, true);
  } else if (atomic_load_explicit(&connection->timed_out, memory_order_relaxed)) {
    connection->dismissed = true;
    see_off(loop, connection);
  }
  return false;
}

/* Have the next request there, or as much of it as there is.  *more: the socket may have more, and
** nobody will tell.  False: nothing is there; or the connection has ended. */
static bool have_some(loop *loop, connection *connection, bool *more) {
  size_t size;
  if (loop->from == loop->end) take_ahead(loop, connection);
  size = loop->end - loop->from;
  if (size > 0 && (!*more || memmem(loop->bytes + loop->from, size, "\r\n\r\n", 4))) return true;
  return *more && read_more(loop, connection, more);
}

static void hear(loop *loop, connection *connection) {
  bool more = true;
  loop->from = loop->end = 0;
  for (int i = 0; i < TURNS; i++) {
    if (connection->unsent.size > 0 && !send_rest(loop, connection)) return;
    if (!have_some(loop, connection, &more) || !answer(loop, connection)) return;
    if (loop->from == loop->end && !more) return;
  }
  /* The others' turn: it is told again that there is more. */
  if (keep_rest(loop, connection)) watch(connection, EPOLL_CTL_MOD);
}

static void *run(void *given) {
  loop *loop = given;
  struct epoll_event events[EVENTS];
  while (!atomic_load(&stopping)) {
    int n = epoll_wait(loop->poller, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      connection *connection = events[i].data.ptr;
      if (connection == NULL) continue; /* the alarm */
      if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) connection->ended = true;
      hear(loop, connection);
    }
  }
  return NULL;
}

/* --------------------------------------------------------------------------- start and stop */
/* It is KEPT already, so the arrivals' thread may look at it meanwhile.  What that tells it before
** it is watched is found at the first event, which comes at once: it can be written to. */
void loop_take(connection *connection) {
  unsigned i = atomic_fetch_add(&next_loop, 1) % loop_count;
  pthread_mutex_lock(&connections_mutex);
  connection->poller = loops[i].poller;
  pthread_mutex_unlock(&connections_mutex);
  watch(connection, EPOLL_CTL_ADD);
}

static bool start(loop *loop) {
  struct epoll_event alarm = { .events = EPOLLIN };
  loop->poller = epoll_create1(EPOLL_CLOEXEC);
  loop->alarm_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return loop->poller >= 0 && loop->alarm_bell >= 0 && workspace_make(&loop->work)
         && epoll_ctl(loop->poller, EPOLL_CTL_ADD, loop->alarm_bell, &alarm) == 0
         && pthread_create(&loop->thread, NULL, run, loop) == 0;
}

bool loops_start(void) {
  cpu_set_t set;
  int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  loop_count = cpus < LOOPS_MOST ? (unsigned)cpus : LOOPS_MOST;
  loops = calloc(loop_count, sizeof *loops);
  workers_answer = getenv("MAPH_TEST_WORKERS") != NULL;
  while (loops && running_count < loop_count && start(&loops[running_count])) running_count++;
  return running_count == loop_count;
}

void loops_stop(void) {
  uint64_t one = 1;
  atomic_store(&stopping, true);
  for (unsigned i = 0; i < running_count; i++) (void)!write(loops[i].alarm_bell, &one, sizeof one);
  for (unsigned i = 0; i < running_count; i++) {
    pthread_join(loops[i].thread, NULL);
    workspace_free(&loops[i].work);
    close(loops[i].poller);
    close(loops[i].alarm_bell);
  }
  running_count = 0;
}
