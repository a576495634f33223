/*
** arrivals.c - the thread that accepts connections and keeps them until they have sent a head.
**
** A connection costs a worker only once its first request's head is there, whole: who connects and
** is silent, or sends a head byte by byte, keeps nobody from being served.  The bytes are looked at
** and left in the socket (MSG_PEEK), so that civetweb reads the request from its beginning.  One
** that a loop has begun to read has what was read with it (connection.h).
**
** Those without a head are at most a sixteenth of the descriptors that may be open.  One more, or
** a descriptor that cannot be had, ends the one of them that has been there longest.
**
** A connection that nothing more is wanted of, most often one that was refused before its body had
** come, is here until the client has ended it too.  A close with unread bytes would make the kernel
** send a reset, which can destroy the answer before the client has read it.  What comes is read
** and thrown away: LEAVING_BYTES at most, for LEAVING_MOST_MS, as long as no pause is longer than
** LEAVING_MS.  Whoever needs a descriptor ends the oldest of them first.
**
** The same thread looks each TICK_MS at the deadlines of all connections.
*/
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "http/arrivals.h"
#include "http/connection.h"
#include "http/head.h"
#include "http/http.h"
#include "http/loop.h"

/* What an event is of: a listener by its number, the alarm, or else a connection. */
enum { ALARM = LISTENERS_MAX, OTHERS };
enum { TURNS = 16, LEAVING_MOST_MS = 30000, LEAVING_BYTES = 256 << 20 };
enum { EVENTS = 64, ACCEPTS_AT_ONCE = 64, ARRIVING_LEAST = 64, ARRIVING_MOST = 16384 };

static int poller = -1, alarm_bell = -1;
static pthread_t thread;
static bool started, paused;
static atomic_bool ring_for_end, stopping;
static size_t arriving_most;
static char peeked[REQUEST_ROOM];

/* ---------------------------------------------------------------------------------- a head */
enum look { INCOMPLETE, WHOLE, CUT, TOO_LARGE, GONE };

static enum look look_at(connection *connection, bool ended) {
  const buffer *ahead = &connection->ahead;
  size_t from = connection->looked_at, size = ahead->size;
  ssize_t n;
  if (size > 0) memcpy(peeked, ahead->data, size);
  n = recv(connection->socket, peeked + size, sizeof peeked - size, MSG_PEEK | MSG_DONTWAIT);
  if (n == 0 && size == 0) return GONE;
  if (n < 0) return errno == EAGAIN || errno == EINTR ? INCOMPLETE : GONE;
  connection->looked_at = size += (size_t)n;
  if (head_ends(peeked, size, from)) return WHOLE;
  if (ended) return CUT;
  return size == sizeof peeked ? TOO_LARGE : INCOMPLETE;
}

static void watch(connection *connection, int operation) {
  struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = connection };
  if (epoll_ctl(poller, operation, connection->socket, &e) != 0) connection_end(connection, true);
}

static void forget(connection *connection) {
  epoll_ctl(poller, EPOLL_CTL_DEL, connection->socket, NULL);
  connection_end(connection, true);
}

/* Answer without a worker. */
static void refuse(connection *connection, int status, const char *code, const char *detail) {
  for (int i = 0; i < TURNS; i++)
    if (recv(connection->socket, peeked, sizeof peeked, MSG_DONTWAIT) <= 0) break;
  http_refuse(connection, status, code, detail);
  shutdown(connection->socket, SHUT_WR);
}

/* Throw away what one that leaves has sent, until its end. */
static void see_off(connection *connection) {
  uint64_t before = connection->left_bytes;
  ssize_t n = 1;
  for (int i = 0; i < TURNS && n > 0; i++) {
    n = recv(connection->socket, peeked, sizeof peeked, MSG_DONTWAIT);
    if (n > 0) connection->left_bytes += (uint64_t)n;
  }
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)
      || connection->left_bytes > LEAVING_BYTES
      || now_us() > connection->left_us + LEAVING_MOST_MS * 1000) {
    forget(connection);
    return;
  }
  if (connection->left_bytes > before) connection_still_leaves(connection);
  if (n > 0) watch(connection, EPOLL_CTL_MOD); /* the others' turn: it is told again */
}

static void refuse_size(connection *connection) {
  connection_leaves(connection);
  if (memchr(peeked, '\n', sizeof peeked))
    refuse(connection, 431, "headers_too_large",
           "a head of at most 65536 bytes, and 16384 of headers");
  else
    refuse(connection, 414, "uri_too_long",
           "a path and query of at most 49152 bytes; a batch takes longer keys");
  watch(connection, EPOLL_CTL_MOD);
}

/* To a loop, or to a worker. */
static void pass_on(connection *connection, bool plain) {
  epoll_ctl(poller, EPOLL_CTL_DEL, connection->socket, NULL);
  if (plain) {
    connection_keep(connection);
    loop_take(connection);
  } else {
    connection_is_ready(connection);
  }
}

static void heard_from(connection *connection, uint32_t events) {
  if (atomic_load(&connection->phase) == LEAVING) {
    see_off(connection);
    return;
  }
  if (atomic_load(&connection->phase) != ARRIVING) return;
  switch (look_at(connection, (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)) {
    case GONE: forget(connection); break;
    case TOO_LARGE: refuse_size(connection); break;
    case WHOLE: pass_on(connection, head_may_be_plain(peeked, connection->looked_at)); break;
    case CUT: pass_on(connection, false); break;
    default: break;
  }
}

/* ------------------------------------------------------------------------------- accepting */
/* Of those without a head, or those that leave, the one that has been there longest ends.  False:
** there is none. */
static bool end_oldest(enum phase phase) {
  connection *oldest = connection_oldest(phase, 0);
  if (oldest == NULL) return false;
  connection_count_eviction();
  forget(oldest);
  return true;
}

static void pause_accepting(bool yes) {
  for (int i = 0; i < listen_count(); i++) {
    struct epoll_event e = { .events = yes ? 0 : EPOLLIN, .data.u64 = (uint64_t)i };
    epoll_ctl(poller, EPOLL_CTL_MOD, listen_descriptor(i), &e);
  }
  paused = yes;
}

static void welcome(int fd, const struct sockaddr *peer) {
  struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET };
  int on = 1;
  connection *connection = connection_arrives(fd, peer);
  if (connection == NULL) return;
  if (peer->sa_family != AF_UNIX) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  e.data.ptr = connection;
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) != 0)
    connection_end(connection, true);
  else
    heard_from(connection, 0);
}

/* The system looks for a descriptor first, and says that there is none also where nobody waits. */
static bool somebody_waits(int listener) {
  struct pollfd p = { .fd = listener, .events = POLLIN };
  struct timespec at_once = { 0, 0 };
  return ppoll(&p, 1, &at_once, NULL) > 0;
}

static void accept_from(int listener) {
  for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
    struct sockaddr_storage peer = { .ss_family = AF_UNIX };
    socklen_t size = sizeof peer;
    int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
      if (!somebody_waits(listener)) return;
      if (end_oldest(LEAVING) || end_oldest(ARRIVING)) continue;
      connections_make_room();
      pause_accepting(true);
      return;
    }
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (fd < 0) return;
    if (connections_arriving() >= arriving_most) end_oldest(ARRIVING);
    welcome(fd, (struct sockaddr *)&peer);
  }
}

/* A socket that systemd keeps open: from the drain on, who comes waits there for the server that is
** started next.  True: it is one. */
static bool is_left_to_the_next(int i) {
  if (i >= listen_passed() || !http_draining()) return false;
  epoll_ctl(poller, EPOLL_CTL_DEL, listen_descriptor(i), NULL);
  return true;
}

/* ------------------------------------------------------------------------------ each moment */
static void end_those_too_late(void) {
  uint64_t now = now_us();
  connection *connection;
  while ((connection = connection_oldest(LEAVING, now)) != NULL) forget(connection);
  while ((connection = connection_oldest(ARRIVING, now)) != NULL) {
    connection_count_timeout();
    connection_leaves(connection);
    if (connection->looked_at == 0)
      shutdown(connection->socket, SHUT_WR);
    else
      refuse(connection, 408, "head_timeout", "the head of the request did not come in time");
    watch(connection, EPOLL_CTL_MOD);
  }
  while ((connection = connection_given_up(now)) != NULL) {
    refuse(connection, 503, "busy", "every worker is busy: come again");
    watch(connection, EPOLL_CTL_ADD);
  }
}

void arrivals_take(connection *connection) { connection_waits_for_head(connection, poller); }
void arrivals_see_off(connection *connection) { connection_is_seen_off(connection, poller); }

static void *run(void *unused) {
  struct epoll_event events[EVENTS];
  uint64_t looked_us = now_us(), rung;
  (void)unused;
  while (!atomic_load(&stopping)) {
    bool tick = paused || connections_exist() || atomic_load(&ring_for_end);
    int n = epoll_wait(poller, events, EVENTS, tick ? TICK_MS : -1);
    /* Those that have come before are heard first: what accepting ends is then none of these. */
    for (int i = 0; i < n; i++)
      if (events[i].data.u64 >= OTHERS) heard_from(events[i].data.ptr, events[i].events);
    for (int i = 0; i < n; i++) {
      if (events[i].data.u64 == ALARM) (void)!read(alarm_bell, &rung, sizeof rung);
      if (events[i].data.u64 < ALARM && !is_left_to_the_next((int)events[i].data.u64))
        accept_from(listen_descriptor((int)events[i].data.u64));
    }
    if (now_us() - looked_us < TICK_MS * 1000) continue;
    looked_us = now_us();
    end_those_too_late();
    connections_tend();
    loops_tend();
    if (paused) pause_accepting(false);
    if (atomic_load(&ring_for_end)) {
      connections_shut();
      bell_ring();
    }
  }
  return NULL;
}

bool arrivals_start(void) {
  struct rlimit files = { 1024, 1024 };
  struct epoll_event alarm = { .events = EPOLLIN, .data.u64 = ALARM };
  getrlimit(RLIMIT_NOFILE, &files);
  arriving_most = files.rlim_cur / 16 > ARRIVING_MOST ? ARRIVING_MOST : files.rlim_cur / 16;
  if (arriving_most < ARRIVING_LEAST) arriving_most = ARRIVING_LEAST;
  poller = epoll_create1(EPOLL_CLOEXEC);
  alarm_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, alarm_bell, &alarm) != 0) return false;
  for (int i = 0; i < listen_count(); i++) {
    struct epoll_event e = { .events = EPOLLIN, .data.u64 = (uint64_t)i };
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listen_descriptor(i), &e) != 0) return false;
  }
  started = pthread_create(&thread, NULL, run, NULL) == 0;
  return started;
}

/* From now on the thread looks up at each tick. */
static void wake(void) {
  uint64_t one = 1;
  (void)!write(alarm_bell, &one, sizeof one);
}

void arrivals_ring_for_end(void) {
  atomic_store(&ring_for_end, true);
  wake();
}

void arrivals_stop(void) {
  connection *connection;
  if (!started) return;
  atomic_store(&stopping, true);
  wake();
  pthread_join(thread, NULL);
  started = false;
  while ((connection = connection_oldest(ARRIVING, 0)) != NULL) connection_end(connection, true);
  while ((connection = connection_oldest(READY, 0)) != NULL) connection_end(connection, true);
  while ((connection = connection_oldest(LEAVING, 0)) != NULL) connection_end(connection, true);
  while ((connection = connection_oldest(KEPT, 0)) != NULL) connection_end(connection, true);
  while ((connection = connection_oldest(SENDING, 0)) != NULL) connection_end(connection, true);
  listen_close();
  close(poller);
  close(alarm_bell);
}
