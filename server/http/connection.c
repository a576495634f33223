/*
** connection.c - the connections: who waits, who is served, whose time is over.
**
**   ARRIVING  accepted; it has not sent a whole head.  It costs a descriptor and this struct, and
**             no worker.  Ended after request-timeout, or when there are too many
**   READY     its head is there, and it waits for a worker; refused (503) after READY_MS
**   LEAVING   nothing more is wanted of it; what it still sends is read, so that the answer arrives
**             and no reset destroys it (arrivals.c)
**   KEPT      a loop's (loop.c): between two requests, or one is answered in no time.  It costs a
**             descriptor and this struct.  After idle-timeout, when there are too many, and at
**             drain its loop is told, and it leaves unless a request has come by then
**   SENDING   a loop's, whose client has not read its answer yet; shut past its deadline
**   IDLE      a worker's, between two requests, for a moment: then it is KEPT.  One of which a part
**             of the next head was read with the request before stays, and leaves at drain and when
**             its worker is needed
**   WORKING   a handler runs: never touched; a watcher (change feed, long poll) is one that lasts
**   READING   a handler reads the body; past its deadline it reads no more and answers 408
**   WRITING   a handler writes; past its deadline the socket is shut
**
** The first three are the arrivals' thread's (arrivals.c), the next two the loops', the others
** civetweb's workers'.  Whose it is frees it.
**
** No socket is shut for reading before its client has ended or is given up: once its sending side
** is shut too, the kernel would answer what still comes with a reset, which can destroy an answer
** that the client has not read.  So a connection ends by way of LEAVING.
**
** Invariants:
** (1) A connection is in exactly one queue until connection_end, which comes before its socket is
**     closed.  Sockets are shut only with the mutex: never one that has become somebody else's.
** (2) At most option.threads that do not watch are served, and at most option.watchers that do:
**     watchers take no worker from requests, and civetweb, which has as many workers as both
**     together, never has a connection without one.
** (3) The bell can be read exactly while a ready one may be served, the other one while there is
**     one that may not.
** (4) Deadlines of one phase are in the order of their queue, since each is a constant away; but
**     those of SENDING.  That of KEPT is when it is looked at next.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/options.h"
#include "http/connection.h"
#include "http/loop.h"

enum { MINIMUM_RATE = 16, IDLE_LEAST_MS = 250, SLOTS = 16384, HURRY_MS = 100 };
/* Those KEPT are looked at so often in an idle-timeout; of so many that are looked at next the one
** that is idle for longest ends when there are too many. */
enum { LOOKS = 8, CANDIDATES = 256 };
/* How long a drain waits for a client that was answered, or has sent more since, to end. */
enum { PAUSE_MS = 500 };

typedef struct queue {
  connection *first, *last;
  size_t count;
} queue;

pthread_mutex_t connections_mutex = PTHREAD_MUTEX_INITIALIZER;
int bell = -1, crowd_bell = -1;
/* With the mutex: */
static queue arriving, ready, leaving, kept, sending, served;
static bool ending;      /* those that wait for a request are ended */
static size_t kept_most; /* written before there is any thread */
static int stand_in = -1;
static connection *slots[SLOTS]; /* of those served; slot 0 is none's */
static unsigned last_slot;
static uint64_t watching;
static bool bell_rings, crowd_bell_rings;
/* Without it: */
static atomic_uint_fast64_t accepted, evicted, timed_out;
static atomic_bool crowded; /* somebody waits, and no worker is free */
static atomic_uint handed;  /* connections that are */

void connections_start(uint64_t most) {
  kept_most = (size_t)most;
  bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  crowd_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  stand_in = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* ----------------------------------------------------------------------------- the queues */
static queue *queue_of(const connection *connection) {
  switch (atomic_load(&connection->phase)) {
    case ARRIVING: return &arriving;
    case READY: return &ready;
    case LEAVING: return &leaving;
    case KEPT: return &kept;
    case SENDING: return &sending;
    default: return &served;
  }
}

static void append(queue *queue, connection *connection) {
  connection->next = NULL;
  connection->previous = queue->last;
  if (queue->last)
    queue->last->next = connection;
  else
    queue->first = connection;
  queue->last = connection;
  queue->count++;
}

static void take_out(queue *queue, connection *connection) {
  if (connection->next)
    connection->next->previous = connection->previous;
  else
    queue->last = connection->previous;
  if (connection->previous)
    connection->previous->next = connection->next;
  else
    queue->first = connection->next;
  queue->count--;
}

/* Into the queue of another phase; the mutex is held. */
static void move_to(connection *connection, enum phase phase, uint64_t time_ms) {
  uint64_t now = now_us();
  take_out(queue_of(connection), connection);
  atomic_store(&connection->phase, phase);
  atomic_store(&connection->timed_out, false);
  atomic_store(&connection->since_us, now);
  atomic_store(&connection->deadline_us, now + time_ms * 1000);
  append(queue_of(connection), connection);
}

/* ------------------------------------------------------------------------------- the bell */
static bool may_serve(void) { return ready.count > 0 && served.count < option.threads + watching; }

static void ring(int which, bool *rings, bool wanted) {
  uint64_t one = 1;
  if (wanted == *rings || which < 0) return;
  *rings = wanted;
  if (wanted)
    (void)!write(which, &one, sizeof one);
  else
    (void)!read(which, &one, sizeof one);
}

/* Invariant (3); the mutex is held. */
static void set_bell(void) {
  bool serves = may_serve(), crowd = ready.count > 0 && !serves;
  ring(bell, &bell_rings, serves);
  ring(crowd_bell, &crowd_bell_rings, crowd);
  atomic_store(&crowded, crowd);
}

void bell_ring(void) {
  uint64_t one = 1;
  if (bell >= 0) (void)!write(bell, &one, sizeof one);
}

/* ------------------------------------------------------------------------ come, go, served */
connection *connection_arrives(int socket, const struct sockaddr *peer) {
  connection *connection = calloc(1, sizeof *connection);
  uint64_t now = now_us();
  if (connection == NULL) {
    close(socket);
    return NULL;
  }
  connection->socket = socket;
  listen_peer(peer, connection->remote);
  atomic_store(&connection->phase, ARRIVING);
  atomic_store(&connection->since_us, now);
  atomic_store(&connection->deadline_us, now + option.request_timeout_ms * 1000);
  pthread_mutex_lock(&connections_mutex);
  append(&arriving, connection);
  pthread_mutex_unlock(&connections_mutex);
  atomic_fetch_add(&accepted, 1);
  return connection;
}

static void evict_one(void);

/* The mutex is held. */
static void set_handed(connection *connection, bool yes) {
  if (connection->handed == yes) return;
  connection->handed = yes;
  if (yes)
    atomic_fetch_add(&handed, 1);
  else
    atomic_fetch_sub(&handed, 1);
}

void connection_is_ready(connection *connection) {
  pthread_mutex_lock(&connections_mutex);
  set_handed(connection, connection->ahead.size > 0);
  move_to(connection, READY, READY_MS);
  if (!may_serve()) evict_one();
  set_bell();
  pthread_mutex_unlock(&connections_mutex);
}

static void evict_from(const queue *queue);

/* About a quarter as many leave as may be KEPT. */
static void leave(connection *connection) {
  set_handed(connection, false);
  move_to(connection, LEAVING, LEAVING_MS);
  if (leaving.count > 16 + kept_most / 4) evict_from(&leaving);
  connection->left_us = atomic_load(&connection->since_us);
  connection->left_bytes = 0;
}

void connection_still_leaves(connection *connection) {
  pthread_mutex_lock(&connections_mutex);
  move_to(connection, LEAVING, LEAVING_MS);
  pthread_mutex_unlock(&connections_mutex);
}

void connection_leaves(connection *connection) {
  pthread_mutex_lock(&connections_mutex);
  leave(connection);
  set_bell();
  pthread_mutex_unlock(&connections_mutex);
}

void connection_end(connection *connection, bool and_close) {
  pthread_mutex_lock(&connections_mutex);
  take_out(queue_of(connection), connection);
  set_handed(connection, false);
  if (connection->slot) slots[connection->slot] = NULL;
  set_bell();
  pthread_mutex_unlock(&connections_mutex);
  if (and_close) close(connection->socket);
  workspace_free(&connection->work);
  buffer_free(&connection->unsent);
  buffer_free(&connection->ahead);
  free(connection);
}

/* The mutex is held. */
static void keep(connection *connection) {
  move_to(connection, KEPT, option.idle_timeout_ms / LOOKS);
  if (kept.count > kept_most) evict_from(&kept);
  if (ending) atomic_store(&connection->timed_out, true);
}

void connection_keep(connection *connection) {
  pthread_mutex_lock(&connections_mutex);
  keep(connection);
  pthread_mutex_unlock(&connections_mutex);
}

bool connection_give_back(connection *connection) {
  int own;
  pthread_mutex_lock(&connections_mutex);
  own = fcntl(connection->socket, F_DUPFD_CLOEXEC, 0);
  if (own >= 0 && dup3(stand_in, connection->socket, O_CLOEXEC) < 0) {
    close(own);
    own = -1;
  }
  if (own >= 0) {
    connection->socket = own;
    connection->mg = NULL;
    slots[connection->slot] = NULL;
    connection->slot = 0;
    keep(connection);
    set_bell();
  }
  pthread_mutex_unlock(&connections_mutex);
  if (own >= 0) workspace_free(&connection->work);
  return own >= 0;
}

void connection_sends(connection *connection) {
  pthread_mutex_lock(&connections_mutex);
  move_to(connection, SENDING, option.body_timeout_ms + connection->unsent.size / MINIMUM_RATE);
  pthread_mutex_unlock(&connections_mutex);
}

/* One that cannot be watched ends at its deadline.  The mutex is held. */
static void watch_by(connection *connection, int poller) {
  struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = connection };
  connection->looked_at = connection->ahead.size;
  epoll_ctl(poller, EPOLL_CTL_ADD, connection->socket, &e);
}

void connection_waits_for_head(connection *connection, int poller) {
  pthread_mutex_lock(&connections_mutex);
  move_to(connection, ARRIVING, option.request_timeout_ms);
  watch_by(connection, poller);
  pthread_mutex_unlock(&connections_mutex);
}

void connection_is_seen_off(connection *connection, int poller) {
  pthread_mutex_lock(&connections_mutex);
  leave(connection);
  watch_by(connection, poller);
  pthread_mutex_unlock(&connections_mutex);
}

static unsigned free_slot(void) {
  do last_slot = last_slot % (SLOTS - 1) + 1;
  while (slots[last_slot]);
  return last_slot;
}

connection *connection_for_worker(void) {
  connection *connection = NULL;
  pthread_mutex_lock(&connections_mutex);
  if (may_serve()) {
    connection = ready.first;
    connection->slot = free_slot();
    slots[connection->slot] = connection;
    move_to(connection, WORKING, 0);
  }
  set_bell();
  pthread_mutex_unlock(&connections_mutex);
  if (connection == NULL) return NULL;
  if (workspace_make(&connection->work)) return connection;
  connection_end(connection, true);
  return NULL;
}

connection *connection_at(unsigned slot) {
  connection *connection;
  pthread_mutex_lock(&connections_mutex);
  connection = slot < SLOTS ? slots[slot] : NULL;
  pthread_mutex_unlock(&connections_mutex);
  return connection;
}

bool connection_take_ahead(int socket, buffer *ahead) {
  connection *connection;
  if (atomic_load_explicit(&handed, memory_order_acquire) == 0) return false;
  pthread_mutex_lock(&connections_mutex);
  connection = served.first;
  while (connection && !(connection->handed && connection->socket == socket))
    connection = connection->next;
  if (connection) {
    *ahead = connection->ahead;
    memset(&connection->ahead, 0, sizeof connection->ahead);
    set_handed(connection, false);
  }
  pthread_mutex_unlock(&connections_mutex);
  return connection != NULL;
}

connection *connection_oldest(enum phase phase, uint64_t now) {
  static const queue *const phases[] = { [ARRIVING] = &arriving,
                                         [READY] = &ready,
                                         [LEAVING] = &leaving,
                                         [KEPT] = &kept,
                                         [SENDING] = &sending };
  connection *connection;
  pthread_mutex_lock(&connections_mutex);
  connection = phases[phase]->first;
  if (connection && now && now < atomic_load(&connection->deadline_us)) connection = NULL;
  pthread_mutex_unlock(&connections_mutex);
  return connection;
}

connection *connection_given_up(uint64_t now) {
  connection *connection;
  pthread_mutex_lock(&connections_mutex);
  connection = ready.first;
  if (connection && now < atomic_load(&connection->deadline_us)) connection = NULL;
  if (connection) leave(connection);
  set_bell();
  pthread_mutex_unlock(&connections_mutex);
  return connection;
}

bool connections_exist(void) {
  bool exist;
  pthread_mutex_lock(&connections_mutex);
  exist =
      arriving.count + ready.count + leaving.count + kept.count + sending.count + served.count > 0;
  pthread_mutex_unlock(&connections_mutex);
  return exist;
}

size_t connections_sending(void) {
  size_t n;
  pthread_mutex_lock(&connections_mutex);
  n = sending.count;
  pthread_mutex_unlock(&connections_mutex);
  return n;
}

size_t connections_arriving(void) {
  size_t n;
  pthread_mutex_lock(&connections_mutex);
  n = arriving.count;
  pthread_mutex_unlock(&connections_mutex);
  return n;
}

/* ------------------------------------------------------------------------------- shutting */
static void shut(connection *connection) {
  atomic_store(&connection->timed_out, true);
  shutdown(connection->socket, SHUT_RDWR);
}

/* A KEPT one leaves, unless its loop finds that it has asked again. */
static void dismiss(connection *connection) {
  atomic_store(&connection->timed_out, true);
  loop_look_at(connection);
}

/* Of those that wait there, one that has waited long; the mutex is held. */
static void evict_from(const queue *queue) {
  connection *oldest = NULL, *connection = queue->first;
  for (int i = 0; i < CANDIDATES && connection; i++, connection = connection->next)
    if (!atomic_load(&connection->timed_out)
        && (oldest == NULL || atomic_load(&connection->since_us) < atomic_load(&oldest->since_us)))
      oldest = connection;
  if (oldest == NULL) return;
  if (queue == &kept)
    dismiss(oldest);
  else
    shut(oldest);
  atomic_fetch_add(&evicted, 1);
}

/* An IDLE one leaves, unless its worker has begun with its next request. */
static void dismiss_idle(connection *connection) {
  atomic_store(&connection->timed_out, true);
  if (atomic_load(&connection->phase) != IDLE) atomic_store(&connection->timed_out, false);
}

/* Those KEPT that it is time to look at. */
static void tend_kept(uint64_t now) {
  connection *connection;
  while ((connection = kept.first) != NULL && now >= atomic_load(&connection->deadline_us)) {
    if (now >= atomic_load(&connection->since_us) + option.idle_timeout_ms * 1000)
      dismiss(connection);
    take_out(&kept, connection);
    atomic_store(&connection->deadline_us, now + option.idle_timeout_ms * 1000 / LOOKS);
    append(&kept, connection);
  }
}

static void tend_sending(uint64_t now) {
  for (connection *connection = sending.first; connection; connection = connection->next) {
    if (now < atomic_load(&connection->deadline_us) || atomic_load(&connection->timed_out))
      continue;
    shut(connection);
    atomic_fetch_add(&timed_out, 1);
  }
}

/* Of the workers' connections the one leaves that has waited longest for its next request; the
** mutex is held.  Who asks again and again is let be: its next request may be on the way. */
static void evict_one(void) {
  uint64_t until = now_us() - IDLE_LEAST_MS * 1000;
  connection *oldest = NULL;
  for (connection *connection = served.first; connection; connection = connection->next) {
    uint64_t since = atomic_load(&connection->since_us);
    if (atomic_load(&connection->phase) != IDLE || since > until
        || atomic_load(&connection->timed_out) || atomic_load(&connection->returns))
      continue;
    if (oldest == NULL || since < atomic_load(&oldest->since_us)) oldest = connection;
  }
  if (oldest == NULL) return;
  dismiss_idle(oldest);
  atomic_fetch_add(&evicted, 1);
}

static void check_deadline(connection *connection, uint64_t now) {
  if (atomic_load(&connection->phase) != WRITING || now < atomic_load(&connection->deadline_us)
      || atomic_load(&connection->timed_out))
    return;
  shut(connection);
  atomic_fetch_add(&timed_out, 1);
}

void connections_tend(void) {
  uint64_t now = now_us();
  pthread_mutex_lock(&connections_mutex);
  for (connection *connection = served.first; connection; connection = connection->next)
    check_deadline(connection, now);
  tend_kept(now);
  tend_sending(now);
  for (size_t n = ready.count; n > 0 && !may_serve(); n--) evict_one();
  pthread_mutex_unlock(&connections_mutex);
}

void connections_make_room(void) {
  pthread_mutex_lock(&connections_mutex);
  if (kept.count > 0)
    evict_from(&kept);
  else
    evict_one();
  pthread_mutex_unlock(&connections_mutex);
}

void connections_end_idle(void) {
  pthread_mutex_lock(&connections_mutex);
  ending = true;
  for (connection *connection = kept.first; connection; connection = connection->next)
    dismiss(connection);
  for (connection *connection = served.first; connection; connection = connection->next)
    if (atomic_load(&connection->phase) == IDLE) dismiss_idle(connection);
  pthread_mutex_unlock(&connections_mutex);
}

void connections_shut(void) {
  pthread_mutex_lock(&connections_mutex);
  for (connection *connection = kept.first; connection; connection = connection->next)
    shutdown(connection->socket, SHUT_RDWR);
  for (connection *connection = served.first; connection; connection = connection->next)
    shutdown(connection->socket, SHUT_RDWR);
  pthread_mutex_unlock(&connections_mutex);
}

bool connections_last(void) {
  uint64_t now = now_us();
  bool last;
  pthread_mutex_lock(&connections_mutex);
  last = ready.count + served.count + kept.count > 0;
  for (connection *connection = leaving.last; connection && !last;
       connection = connection->previous) {
    if (now >= atomic_load(&connection->since_us) + PAUSE_MS * 1000) break;
    last = !connection->dismissed || connection->left_bytes > 0;
  }
  pthread_mutex_unlock(&connections_mutex);
  return last;
}

void connection_count_eviction(void) { atomic_fetch_add(&evicted, 1); }
void connection_count_timeout(void) { atomic_fetch_add(&timed_out, 1); }

/* ------------------------------------------------------------------------------- watchers */
bool http_watch_begin(request *request) {
  bool room;
  pthread_mutex_lock(&connections_mutex);
  room = watching < option.watchers;
  if (room) watching++;
  request->connection->watches = room;
  set_bell();
  pthread_mutex_unlock(&connections_mutex);
  return room;
}

void http_watch_end(request *request) {
  pthread_mutex_lock(&connections_mutex);
  watching--;
  request->connection->watches = false;
  set_bell();
  pthread_mutex_unlock(&connections_mutex);
}

bool connections_crowded(void) { return atomic_load_explicit(&crowded, memory_order_relaxed); }

http_counts http_count(void) {
  http_counts counts = { 0 };
  pthread_mutex_lock(&connections_mutex);
  counts.connections =
      arriving.count + ready.count + leaving.count + kept.count + sending.count + served.count;
  counts.waiting = arriving.count + ready.count;
  counts.watchers = watching;
  pthread_mutex_unlock(&connections_mutex);
  counts.accepted = atomic_load(&accepted);
  counts.evicted = atomic_load(&evicted);
  counts.timed_out = atomic_load(&timed_out);
  counts.workers = option.threads;
  counts.requests_running = http_running();
  return counts;
}

/* ------------------------------------------------------------------------------ deadlines */
void connection_enter(connection *connection, enum phase phase) {
  bool hurries = phase == READING && connection->work.request->upload.hurries;
  uint64_t now = now_us(), time_ms = hurries ? HURRY_MS : option.body_timeout_ms;
  /* What we took ourselves between two reads is not the client's time. */
  if (phase == READING && connection->read_us)
    connection->phase_started_us += now - connection->read_us;
  else if (atomic_load(&connection->phase) != (int)phase) {
    connection->phase_started_us = now;
    connection->phase_bytes = 0;
  }
  atomic_store(&connection->deadline_us, connection->phase_started_us + time_ms * 1000
                                             + connection->phase_bytes * 1000 / MINIMUM_RATE);
  atomic_store(&connection->phase, phase);
}
