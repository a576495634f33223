/*
** connection.c - the connections: who waits, who is served, whose time is over.
**
**   ARRIVING  accepted; it has not sent a whole head.  It costs a descriptor and this struct, and
**             no worker.  Ended after request-timeout, or when there are too many
**   READY     its head is there, and it waits for a worker; refused (503) after READY_MS
**   LEAVING   refused before any worker had it; what it still sends is read, so that the answer
**             arrives and no reset destroys it
**   IDLE      served, between two requests: shut when a worker is needed for one that is ready,
**             and at drain
**   WORKING   a handler runs: never touched; a watcher (change feed, long poll) is one that lasts
**   READING   a handler reads the body; past its deadline the socket is shut for reading, and the
**             handler answers 408
**   WRITING   a handler writes; past its deadline the socket is shut
**
** The first three are the arrivals' thread's (arrivals.c), the others civetweb's workers'.
**
** Invariants:
** (1) A connection is in exactly one queue until connection_end, which comes before its socket is
**     closed.  Sockets are shut only with the mutex: never one that has become somebody else's.
** (2) At most option.threads that do not watch are served, and at most option.watchers that do:
**     watchers take no worker from requests, and civetweb, which has as many workers as both
**     together, never has a connection without one.
** (3) The bell can be read exactly while a ready one may be served.
** (4) Deadlines of one phase are in the order of their queue, since each is a constant away.
*/
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/options.h"
#include "http/connection.h"

enum { MINIMUM_RATE = 16, IDLE_LEAST_MS = 250, SLOTS = 16384, HURRY_MS = 100 };

typedef struct queue {
  connection *first, *last;
  size_t count;
} queue;

pthread_mutex_t connections_mutex = PTHREAD_MUTEX_INITIALIZER;
int bell = -1;
/* With the mutex: */
static queue arriving, ready, leaving, served;
static connection *slots[SLOTS]; /* of those served; slot 0 is none's */
static unsigned last_slot;
static uint64_t watching;
static bool bell_rings;
/* Without it: */
static atomic_uint_fast64_t accepted, evicted, timed_out;
static atomic_bool crowded; /* somebody waits, and no worker is free */

void connections_start(void) { bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

/* ----------------------------------------------------------------------------- the queues */
static queue *queue_of(const connection *connection) {
  switch (atomic_load(&connection->phase)) {
    case ARRIVING: return &arriving;
    case READY: return &ready;
    case LEAVING: return &leaving;
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
  atomic_store(&connection->since_us, now);
  atomic_store(&connection->deadline_us, now + time_ms * 1000);
  append(queue_of(connection), connection);
}

/* ------------------------------------------------------------------------------- the bell */
static bool may_serve(void) { return ready.count > 0 && served.count < option.threads + watching; }

/* Invariant (3); the mutex is held. */
static void set_bell(void) {
  uint64_t one = 1;
  bool wanted = may_serve();
  atomic_store(&crowded, ready.count > 0 && !wanted);
  if (wanted == bell_rings || bell < 0) return;
  bell_rings = wanted;
  if (wanted)
    (void)!write(bell, &one, sizeof one);
  else
    (void)!read(bell, &one, sizeof one);
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

void connection_is_ready(connection *connection) {
  pthread_mutex_lock(&connections_mutex);
  move_to(connection, READY, READY_MS);
  if (!may_serve()) evict_one();
  set_bell();
  pthread_mutex_unlock(&connections_mutex);
}

void connection_leaves(connection *connection) {
  pthread_mutex_lock(&connections_mutex);
  move_to(connection, LEAVING, LEAVING_MS);
  set_bell();
  pthread_mutex_unlock(&connections_mutex);
}

void connection_end(connection *connection, bool and_close) {
  pthread_mutex_lock(&connections_mutex);
  take_out(queue_of(connection), connection);
  if (connection->slot) slots[connection->slot] = NULL;
  set_bell();
  pthread_mutex_unlock(&connections_mutex);
  if (and_close) close(connection->socket);
  buffer_free(&connection->head);
  buffer_free(&connection->body);
  buffer_free(&connection->scratch);
  free(connection->decoded);
  free(connection->request);
  free(connection);
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
  connection->request = calloc(1, sizeof *connection->request);
  connection->decoded = malloc(REQUEST_ROOM + 64);
  if (connection->request && connection->decoded) return connection;
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

connection *connection_oldest(enum phase phase, uint64_t now) {
  connection *connection;
  pthread_mutex_lock(&connections_mutex);
  connection = phase == ARRIVING ? arriving.first : phase == READY ? ready.first : leaving.first;
  if (connection && now && now < atomic_load(&connection->deadline_us)) connection = NULL;
  pthread_mutex_unlock(&connections_mutex);
  return connection;
}

connection *connection_given_up(uint64_t now) {
  connection *connection;
  pthread_mutex_lock(&connections_mutex);
  connection = ready.first;
  if (connection && now < atomic_load(&connection->deadline_us)) connection = NULL;
  if (connection) move_to(connection, LEAVING, LEAVING_MS);
  set_bell();
  pthread_mutex_unlock(&connections_mutex);
  return connection;
}

bool connections_exist(void) {
  bool exist;
  pthread_mutex_lock(&connections_mutex);
  exist = arriving.count + ready.count + leaving.count + served.count > 0;
  pthread_mutex_unlock(&connections_mutex);
  return exist;
}

size_t connections_arriving(void) {
  size_t n;
  pthread_mutex_lock(&connections_mutex);
  n = arriving.count;
  pthread_mutex_unlock(&connections_mutex);
  return n;
}

/* ------------------------------------------------------------------------------- shutting */
/* Shut the connection that has waited longest for its next request; the mutex is held.  Who asks
** again and again is let be: its next request may be on the way. */
static void evict_one(void) {
  uint64_t until = now_us() - IDLE_LEAST_MS * 1000;
  connection *oldest = NULL;
  for (connection *connection = served.first; connection; connection = connection->next) {
    uint64_t since = atomic_load(&connection->since_us);
    if (atomic_load(&connection->phase) != IDLE || since > until
        || atomic_load(&connection->timed_out))
      continue;
    if (oldest == NULL || since < atomic_load(&oldest->since_us)) oldest = connection;
  }
  if (oldest == NULL) return;
  atomic_store(&oldest->timed_out, true);
  shutdown(oldest->socket, SHUT_RDWR);
  atomic_fetch_add(&evicted, 1);
}

static void check_deadline(connection *connection, uint64_t now) {
  int phase = atomic_load(&connection->phase);
  if ((phase != READING && phase != WRITING) || now < atomic_load(&connection->deadline_us)) return;
  if (atomic_exchange(&connection->timed_out, true)) return;
  shutdown(connection->socket, phase == READING ? SHUT_RD : SHUT_RDWR);
  atomic_fetch_add(&timed_out, 1);
}

void connections_tend(void) {
  uint64_t now = now_us();
  pthread_mutex_lock(&connections_mutex);
  for (connection *connection = served.first; connection; connection = connection->next)
    check_deadline(connection, now);
  for (size_t n = ready.count; n > 0 && !may_serve(); n--) evict_one();
  pthread_mutex_unlock(&connections_mutex);
}

void connections_make_room(void) {
  pthread_mutex_lock(&connections_mutex);
  evict_one();
  pthread_mutex_unlock(&connections_mutex);
}

void connections_shut(bool all) {
  pthread_mutex_lock(&connections_mutex);
  for (connection *connection = served.first; connection; connection = connection->next)
    if (all || connection->watches || atomic_load(&connection->phase) == IDLE)
      shutdown(connection->socket, all ? SHUT_RDWR : SHUT_RD);
  pthread_mutex_unlock(&connections_mutex);
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

bool http_crowded(void) { return atomic_load(&crowded); }

http_counts http_count(void) {
  http_counts counts = { 0 };
  pthread_mutex_lock(&connections_mutex);
  counts.connections = arriving.count + ready.count + leaving.count + served.count;
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
  bool hurries = phase == READING && connection->request->hurries;
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
