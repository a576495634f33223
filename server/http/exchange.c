/*
** exchange.c - a request and its answer, whoever reads the one from the socket and waits for the
** next: a worker of civetweb (civetweb.c), or a loop (loop.c).
**
** Invariant: `running` is raised before `draining` is read, so drain never misses a request that
** will be served.  A request is counted up and down by one thread.
*/
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/shard.h"
#include "base/waits.h"
#include "http/body.h"
#include "http/exchange.h"
#include "http/reply.h"
#include "http/wire.h"

enum { KEPT_BUFFER = 256 * 1024, IDS_AT_ONCE = 1024 };

static http_callbacks callbacks;
static atomic_bool draining;
static struct { _Alignas(CACHE_LINE) atomic_uint_fast64_t count; } running[SHARDS];
static atomic_uint_fast64_t next_ids;
static uint64_t id_seed;
static int drain_bell = -1; /* can be read from the drain on: who sleeps wakes */

void exchange_setup(http_callbacks given) {
  callbacks = given;
  drain_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (getrandom(&id_seed, sizeof id_seed, GRND_NONBLOCK) < 0) id_seed = now_us();
}

bool workspace_make(workspace *work) {
  work->request = calloc(1, sizeof *work->request);
  work->decoded = malloc(REQUEST_ROOM + 64);
  return work->request && work->decoded;
}

void workspace_free(workspace *work) {
  buffer_free(&work->head);
  buffer_free(&work->body);
  buffer_free(&work->scratch);
  buffer_free(&work->answer);
  free(work->decoded);
  free(work->request);
  memset(work, 0, sizeof *work);
}

/* ------------------------------------------------------------------------------- a request */
request *exchange_begin(connection *connection, workspace *work) {
  request *request = work->request;
  memset(request, 0, offsetof(struct request, headers));
  memset(&request->truncated_headers, 0,
         offsetof(struct request, query) - offsetof(struct request, truncated_headers));
  request->started_us = now_us();
  request->connection = connection;
  request->remote = connection->remote;
  request->version = "1.1";
  request->method = METHOD_GET;
  request->reply.head = &work->head;
  request->reply.body = &work->body;
  request->upload.scratch = &work->scratch;
  request->reply.answer = &work->answer;
  request->decoded = work->decoded;
  return request;
}

static uint64_t next_id(void) {
  static _Thread_local uint64_t next, end;
  if (next == end) {
    next = atomic_fetch_add(&next_ids, IDS_AT_ONCE);
    end = next + IDS_AT_ONCE;
  }
  return id_seed + next++ * 0x9E3779B97F4A7C15u;
}

/* The eight digits of the lower 32 bits. */
static void put_hex(uint64_t x, char *out) {
  x = (x << 16 | x) & 0x0000FFFF0000FFFF;
  x = (x << 8 | x) & 0x00FF00FF00FF00FF;
  x = (x << 4 | x) & 0x0F0F0F0F0F0F0F0F; /* a digit's value in each byte */
  x += ((x + 0x0606060606060606) >> 4 & 0x0101010101010101) * ('a' - '0' - 10) + 0x3030303030303030;
  x = htobe64(x);
  memcpy(out, &x, sizeof x);
}

/* A request id of theirs is kept when it can be logged and echoed as it is. */
void exchange_read(request *request) {
  static const char sane[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  const char *theirs = request_header(request, "X-Request-Id");
  size_t size = theirs ? strlen(theirs) : 0;
  if (size > 0 && size <= 64 && strspn(theirs, sane) == size) {
    memcpy(request->id, theirs, size + 1);
  } else {
    uint64_t id = next_id();
    put_hex(id >> 32, request->id);
    put_hex(id & UINT32_MAX, request->id + 8);
    request->id[16] = 0;
  }
}

static void end(request *request) {
  if (request->reply.close || request->reply.broken) http_disable_keep_alive(request);
  body_release(request);
  reply_release(request);
  buffer_reset(request->reply.head, KEPT_BUFFER);
  buffer_reset(request->reply.body, KEPT_BUFFER);
  buffer_reset(request->upload.scratch, KEPT_BUFFER);
  request->took_us = now_us() - request->started_us;
  callbacks.answered(request, request->took_us);
}

bool exchange_serve(request *request) {
  atomic_fetch_add(&running[shard_of_thread()].count, 1); /* the invariant */
  if (atomic_load(&draining)) {
    request->reply.close = true;
    reply_problem(request, 503, "draining", "the server is being stopped");
  } else {
    callbacks.answer(request);
  }
  if (!request->declined) {
    if (request->reply.status == 0) reply_problem(request, 500, "internal", "no answer was made");
    end(request);
  }
  if (!request->quick || request->declined) exchange_sent();
  return !request->declined;
}

void exchange_sent(void) { atomic_fetch_sub(&running[shard_of_thread()].count, 1); }

void exchange_refuse(request *request, int status, const char *code, const char *detail) {
  request->reply.close = true;
  exchange_read(request);
  reply_problem(request, status, code, "%s", detail);
  end(request);
}

void http_refuse(connection *connection, int status, const char *code, const char *detail) {
  request request;
  char decoded[1] = "";
  workspace work = { .request = &request, .decoded = decoded };
  exchange_begin(connection, &work);
  request.header_count = 0;
  request.upload.done = true;
  exchange_refuse(&request, status, code, detail);
  buffer_free(&work.head);
  buffer_free(&work.body);
  buffer_free(&work.scratch);
}

/* ---------------------------------------------------------------------------------- writing */
static void swap(buffer *one, buffer *other) {
  buffer kept = *one;
  *one = *other;
  *other = kept;
}

/* For the loop, which sends it.  Most answers are made in one piece, which need not be copied. */
static bool keep_answer(request *request, const void *data, size_t size) {
  buffer *answer = request->reply.answer, *head = request->reply.head;
  if (answer->size == 0 && data == head->data && size == head->size)
    swap(answer, head);
  else
    buffer_append(answer, data, size);
  request->reply.bytes_out += size;
  if (request->reply.answer->failed) request->reply.broken = true;
  return !request->reply.broken;
}

/* What the socket takes at once, or nothing more. */
static bool write_at_once(request *request, const void *data, size_t size) {
  ssize_t n = send(request->connection->socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n > 0) request->reply.bytes_out += (uint64_t)n;
  if (n < 0 || (size_t)n < size) request->reply.broken = true;
  return !request->reply.broken;
}

/* Wait until the client has read something.  False: it is gone, too slow, or one of too many that
** do not read.  A watcher waits in a place of its own. */
static bool room_comes(connection *connection, bool *waits) {
  struct pollfd p = { .fd = connection->socket, .events = POLLOUT };
  if (!*waits && !connection->watches && !(*waits = waits_enter(WAIT_ANSWER, NULL))) return false;
  if (poll(&p, 1, (int)option.request_timeout_ms) != 0) return true;
  connection_count_timeout();
  return false;
}

bool http_write(request *request, const void *data, size_t size) {
  connection *connection = request->connection;
  const char *p = data;
  bool waits = false;
  if (request->quick) return keep_answer(request, data, size);
  if (connection->mg == NULL) return write_at_once(request, data, size);
  connection->read_us = 0;
  while (size > 0 && !request->reply.broken) {
    ssize_t n;
    connection_enter(connection, WRITING);
    n = send(connection->socket, p, size, MSG_NOSIGNAL);
    if (n > 0) {
      request->reply.bytes_out += (uint64_t)n;
      connection->phase_bytes += (uint64_t)n;
      p += n;
      size -= (size_t)n;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR) || !room_comes(connection, &waits)) {
      request->reply.broken = true;
    }
  }
  if (waits) waits_leave(WAIT_ANSWER, NULL);
  if (!request->reply.broken) atomic_store(&connection->phase, WORKING);
  return !request->reply.broken;
}

/* ------------------------------------------------------------------------- the other side */
bool http_timed_out(const request *request) {
  const connection *connection = request->connection;
  return atomic_load(&connection->timed_out) || now_us() >= atomic_load(&connection->deadline_us);
}

bool http_client_there(const request *request) {
  struct pollfd p = { .fd = request->connection->socket, .events = POLLRDHUP };
  return !request->reply.broken && poll(&p, 1, 0) <= 0;
}

void http_sleep(const request *request, int descriptor, bool input, uint64_t most_us) {
  struct pollfd p[3] = { { .fd = request->connection->socket, .events = POLLRDHUP },
                         { .fd = descriptor, .events = POLLIN },
                         { .fd = drain_bell, .events = POLLIN } };
  struct timespec most = { (time_t)(most_us / 1000000), (long)(most_us % 1000000) * 1000 };
  if (input && wire_holds_some(p[0].fd)) return;
  if (input) p[0].events |= POLLIN;
  ppoll(p, 3, &most, NULL);
}

long http_receive(request *request, void *data, size_t size) {
  int socket = request->connection->socket;
  ssize_t n = (ssize_t)wire_take(socket, data, size);
  if (n == 0) n = recv(socket, data, size, MSG_DONTWAIT);
  if (n > 0) return n;
  return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* --------------------------------------------------------------------------------- the drain */
bool http_draining(void) { return atomic_load(&draining); }
uint64_t http_running(void) {
  uint64_t sum = 0;
  for (int i = 0; i < SHARDS; i++) sum += atomic_load(&running[i].count);
  return sum;
}

/* Those whose answer is being made, or not sent whole. */
static uint64_t unfinished(void) { return http_running() + connections_sending(); }

void http_drain(void) {
  struct timespec pause = { 0, 2000000 };
  uint64_t until = now_us() + option.drain_timeout_ms * 1000, left, one = 1;
  atomic_store(&draining, true);
  (void)!write(drain_bell, &one, sizeof one);
  connections_end_idle();
  while (((left = unfinished()) > 0 || connections_last()) && now_us() < until)
    nanosleep(&pause, NULL);
  if (left > 0)
    log_line("%llu requests were still running after the drain timeout", (unsigned long long)left);
}
