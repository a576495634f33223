/*
** civetweb.c - the only file that knows civetweb: requests are read, bodies too, answers written.
**
** Civetweb serves a connection by one worker thread from its first byte to its end, and has no
** deadline for a client that trickles.  So it does not listen: it is given connections that have
** sent a head (arrivals.c), and none that has to wait for a worker (connection.c).
**
** This is how.  Civetweb opens one socket of its own, on a free port of loopback.  Before it looks
** at it the first time the bell (connection.h) is put in its place, and the socket is gone.  When
** the bell rings, civetweb calls accept() on it, and that is the one below: the library's calls are
** bound to the program's own symbols first.  What it returns as the peer's address is the place
** that the connection has in our table, and so each callback knows whose it is; the real address
** is there too.  Civetweb 1.15 and 1.16 do the same here.
**
** Invariants:
** (1) `running` is raised before `draining` is read, so drain never misses a request that will be
**     served.
** (2) A connection becomes IDLE before it reads `draining`, and drain sets that before it looks
**     for IDLE ones: one of the two closes it.
** (3) Nothing of civetweb that answers by itself is on: no files, no CORS preflights, no CGI, no
**     digest authentication; paths are not decoded (its decoder cuts at %00 and its cleaned path
**     folds `a.`, `a//b` and `..`: two keys would be one).
** (4) What civetweb drops without a callback, * and URLs that it takes for another server's, is
**     answered when it says that it closes the connection.
*/
#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/waits.h"
#include "http/arrivals.h"
#include "http/body.h"
#include "http/connection.h"
#include "http/reply.h"
#include "http/wire.h"

enum { LINGER_MS = 8, KEPT_BUFFER = 256 * 1024 };

static struct mg_context *context;
static http_callbacks callbacks;
static int bell_copy = -1; /* what civetweb takes for its socket */
static atomic_bool draining;
static atomic_uint_fast64_t running, next_id;
static uint64_t id_seed;

/* ------------------------------------------------------------------------------ connections */
/* Civetweb's accept(): see above.  Any other is the system's. */
int accept_for_civetweb(int listener, struct sockaddr *peer, socklen_t *size) __asm__("accept")
    __attribute__((visibility("default")));

int accept_for_civetweb(int listener, struct sockaddr *peer, socklen_t *size) {
  struct sockaddr_in place = { .sin_family = AF_INET };
  connection *connection;
  if (listener != bell_copy) return accept4(listener, peer, size, 0);
  connection = connection_for_worker();
  if (connection == NULL) {
    errno = EAGAIN;
    return -1;
  }
  place.sin_port = htons((uint16_t)connection->slot);
  memcpy(peer, &place, sizeof place);
  *size = sizeof place;
  return connection->socket;
}

/* Whose civetweb's connection is. */
static connection *connection_of(const struct mg_connection *mg) {
  const struct mg_request_info *info = mg_get_request_info(mg);
  connection *connection = mg_get_user_connection_data(mg);
  if (connection || info == NULL
      || (connection = connection_at((unsigned)info->remote_port)) == NULL)
    return connection;
  connection->mg = (struct mg_connection *)mg;
  mg_set_user_connection_data(connection->mg, connection);
  return connection;
}

/* The socket that civetweb listens at: one of few descriptors. */
static int civetwebs_socket(unsigned port) {
  for (int fd = 0; fd < 65536; fd++) {
    struct sockaddr_in own;
    int listens = 0;
    socklen_t size = sizeof own, flag_size = sizeof listens;
    if (getsockname(fd, (struct sockaddr *)&own, &size) != 0 || own.sin_family != AF_INET) continue;
    if (ntohs(own.sin_port) != port || own.sin_addr.s_addr != htonl(INADDR_LOOPBACK)) continue;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &flag_size) == 0 && listens) return fd;
  }
  return -1;
}

/* Called when civetweb has its socket and no thread yet. */
static void on_context(const struct mg_context *made) {
  struct mg_server_port port;
  int fd = mg_get_server_ports(made, 1, &port) == 1 ? civetwebs_socket((unsigned)port.port) : -1;
  if (fd >= 0 && dup3(bell, fd, O_CLOEXEC) == fd) bell_copy = fd;
}

/* ------------------------------------------------------------------------------- a request */
/* A request id of theirs is kept when it can be logged and echoed as it is. */
static void choose_id(request *request) {
  static const char sane[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  const char *theirs = request_header(request, "X-Request-Id");
  size_t size = theirs ? strlen(theirs) : 0;
  if (size > 0 && size <= 64 && strspn(theirs, sane) == size) {
    memcpy(request->id, theirs, size + 1);
  } else {
    uint64_t id = id_seed + atomic_fetch_add(&next_id, 1) * 0x9E3779B97F4A7C15u;
    for (int i = 15; i >= 0; i--, id >>= 4) request->id[i] = "0123456789abcdef"[id & 15];
    request->id[16] = 0;
  }
}

/* What follows a header's text, or the version's, once civetweb has put NULs over the end of its
** line; NULL: that was not CR LF. */
static const char *line_after(const char *text) {
  const char *end = text + strlen(text);
  return end[1] == 0 ? end + 2 : NULL;
}

/* Whether the headers are all that was sent.  civetweb stops at the first line it cannot read (a
** folded one, a name with a byte above 126, none at all) and tells neither of it nor of the lines
** after it, which may hold the body's length, or a condition.  So each name must stand at the
** beginning of the line after the one before, end at its colon, and the last be followed by the
** empty line, whose LF civetweb has made a NUL.  *end: what came behind it. */
static bool head_is_whole(const struct mg_request_info *info, const char **end) {
  const char *at = line_after(info->http_version);
  for (int i = 0; i < info->num_headers && at; i++) {
    const char *name = info->http_headers[i].name, *value = info->http_headers[i].value;
    const char *colon = name + strlen(name);
    if (name != at || (colon[1] == 0 && value > colon + 1)) return false;
    at = line_after(value);
  }
  *end = at ? at + 2 : NULL;
  return at && at[0] == (info->num_headers ? '\r' : 0) && at[1] == 0;
}

static void read_headers(request *request, const struct mg_request_info *info) {
  request->truncated_headers = info->num_headers >= HEADER_MAX;
  request->malformed_head =
      !request->truncated_headers && !head_is_whole(info, &request->after_head);
  request->header_count = info->num_headers < HEADER_MAX ? info->num_headers : HEADER_MAX;
  for (int i = 0; i < request->header_count; i++) {
    request->headers[i].name = info->http_headers[i].name;
    request->headers[i].value = info->http_headers[i].value;
  }
}

static size_t scheme_size(const char *target) {
  if (strncasecmp(target, "http://", 7) == 0) return 7;
  return strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
}

/* The target: /path?query, *, or a whole URL, whose host then counts and not the header's. */
static void read_target(request *request, const struct mg_request_info *info) {
  char *target = (char *)(info->request_uri ? info->request_uri : "");
  char *mark = info->query_string ? NULL : strchr(target, '?');
  size_t scheme = scheme_size(target), size;
  request->query_text = info->query_string;
  if (mark) {
    *mark = 0;
    request->query_text = mark + 1;
  }
  request->path = target;
  if (scheme == 0) return;
  size = strcspn(target + scheme, "/");
  if (size == 0 || size >= sizeof request->authority)
    request->malformed_head = true;
  else
    memcpy(request->authority, target + scheme, size);
  request->path = target[scheme + size] ? target + scheme + size : "/";
}

/* Civetweb ends a connection that asks for another protocol, but for HTTP/2. */
static bool ends_for_upgrade(const request *request) {
  const char *wishes = request_header(request, "Connection"),
             *to = request_header(request, "Upgrade");
  if (wishes == NULL || strcasestr(wishes, "upgrade") == NULL) return false;
  return to == NULL || strcasestr(to, "websocket") || strcasestr(to, "h2") == NULL;
}

/* HTTP/1.1 goes on unless the client says close; civetweb goes on only if it says keep-alive, or
** nothing: it is told so. */
static void read_persistence(request *request, const struct mg_request_info *info) {
  bool newer = strcmp(request->version, "1.1") == 0,
       closes = request_lists(request, "Connection", "close");
  request->close = closes || ends_for_upgrade(request)
                   || (!newer && !request_lists(request, "Connection", "keep-alive"));
  for (int i = 0; i < info->num_headers && !request->close; i++)
    if (strcasecmp(info->http_headers[i].name, "Connection") == 0)
      ((struct mg_header *)&info->http_headers[i])->value = "keep-alive";
}

static request *request_begin(connection *connection) {
  request *request = connection->request;
  memset(request, 0, offsetof(struct request, query));
  request->started_us = now_us();
  request->connection = connection;
  request->remote = connection->remote;
  request->version = "1.1";
  request->method = METHOD_GET;
  request->head = &connection->head;
  request->body = &connection->body;
  request->scratch = &connection->scratch;
  request->decoded = connection->decoded;
  return request;
}

static request *request_read(connection *connection, const struct mg_request_info *info) {
  request *request = request_begin(connection);
  request->method_name = info->request_method;
  request->method = method_from_name(info->request_method);
  request->version = info->http_version;
  read_headers(request, info);
  read_target(request, info);
  read_persistence(request, info);
  choose_id(request);
  atomic_store(&connection->timed_out, false);
  connection->read_us = 0;
  atomic_store(&connection->phase, WORKING);
  wire_expect_body();
  return request;
}

/* A close with unread bytes makes the kernel send a reset, which can destroy the answer on its way:
** send the end first, and take what is coming for a moment. */
static void linger(connection *connection) {
  char waste[4096];
  uint64_t end = now_us() + LINGER_MS * 1000;
  shutdown(connection->socket, SHUT_WR);
  for (;;) {
    struct pollfd p = { .fd = connection->socket, .events = POLLIN };
    uint64_t now = now_us();
    if (now >= end || poll(&p, 1, (int)((end - now) / 1000) + 1) <= 0) break;
    if (recv(connection->socket, waste, sizeof waste, MSG_DONTWAIT) <= 0) break;
  }
}

static void request_end(request *request) {
  connection *connection = request->connection;
  if (request->close && (!request->body_done || request->has_trailers) && !request->broken)
    linger(connection);
  if (request->close || request->broken) http_disable_keep_alive(request);
  body_release(request);
  reply_release(request);
  buffer_reset(request->head, KEPT_BUFFER);
  buffer_reset(request->body, KEPT_BUFFER);
  buffer_reset(request->scratch, KEPT_BUFFER);
  callbacks.answered(request, now_us() - request->started_us);
  wire_expect_head();
  atomic_store(&connection->since_us, now_us());
  atomic_store(&connection->phase, IDLE);
  if (atomic_load(&draining)) http_disable_keep_alive(request); /* invariant (2) */
}

/* last: civetweb ends the connection after it, whatever the client wants. */
static int serve(connection *connection, const struct mg_request_info *info, bool last) {
  request *request;
  atomic_fetch_add(&running, 1); /* invariant (1) */
  request = request_read(connection, info);
  if (last) request->close = true;
  if (atomic_load(&draining)) {
    request->close = true;
    reply_problem(request, 503, "draining", "the server is being stopped");
  } else {
    callbacks.answer(request);
  }
  if (request->status == 0) reply_problem(request, 500, "internal", "no answer was made");
  request_end(request);
  atomic_fetch_sub(&running, 1);
  return request->status;
}

static int on_request(struct mg_connection *mg) {
  return serve(connection_of(mg), mg_get_request_info(mg), false);
}

/* What civetweb refuses before there is a request: its page becomes a problem. */
static int on_error(struct mg_connection *mg, int status, const char *message) {
  const struct mg_request_info *info = mg_get_request_info(mg);
  connection *connection = connection_of(mg);
  request *request;
  if (connection == NULL) return 1;
  connection->refused = true;
  if (info->request_uri && strcmp(message, "Invalid URI") == 0 && scheme_size(info->request_uri)) {
    serve(connection, info, true);
    return 0;
  }
  request = request_begin(connection);
  request->close = true;
  choose_id(request);
  reply_problem(request, status == 413 ? 431 : status,
                status == 411 ? "bad_length" : "malformed_request",
                "the request cannot be understood: %s", message);
  request_end(request);
  return 0;
}

static void on_connection_close(const struct mg_connection *mg) {
  const struct mg_request_info *info = mg_get_request_info(mg);
  connection *connection = connection_of(mg);
  if (connection == NULL) return;
  if (!connection->refused && info->request_uri && info->local_uri_raw == NULL)
    serve(connection, info, true);
  connection_end(connection, false);
  wire_expect_head();
}

static int on_message(const struct mg_connection *mg, const char *message) {
  (void)mg;
  log_line("%s", message);
  return 1;
}

void http_refuse(connection *connection, int status, const char *code, const char *detail) {
  request request = { 0 };
  connection->request = &request;
  request_begin(connection);
  connection->request = NULL;
  request.close = request.body_done = true;
  choose_id(&request);
  reply_problem(&request, status, code, "%s", detail);
  callbacks.answered(&request, now_us() - request.started_us);
}

/* -------------------------------------------------------------------- reading and writing */
long http_read(request *request, void *data, size_t size) {
  connection *connection = request->connection;
  long n;
  connection_enter(connection, READING);
  n = mg_read(connection->mg, data, size);
  if (n > 0) connection->phase_bytes += (uint64_t)n;
  if (n == 0 && request->content_length < 0 && !wire_chunks_ended(request->after_head))
    request->close = request->has_trailers =
        true; /* they mean nothing here, and civetweb goes no further */
  connection->read_us = now_us();
  atomic_store(&connection->phase, WORKING);
  return n;
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
  if (connection->mg == NULL) { /* no worker has it: as much as the socket takes at once */
    request->broken =
        send(connection->socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size;
    return !request->broken;
  }
  connection->read_us = 0;
  while (size > 0 && !request->broken) {
    ssize_t n;
    connection_enter(connection, WRITING);
    n = send(connection->socket, p, size, MSG_NOSIGNAL);
    if (n > 0) {
      request->bytes_out += (uint64_t)n;
      connection->phase_bytes += (uint64_t)n;
      p += n;
      size -= (size_t)n;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR) || !room_comes(connection, &waits)) {
      request->broken = true;
    }
  }
  if (waits) waits_leave(WAIT_ANSWER, NULL);
  if (!request->broken) atomic_store(&connection->phase, WORKING);
  return !request->broken;
}

bool http_timed_out(const request *request) {
  const connection *connection = request->connection;
  return atomic_load(&connection->timed_out) || now_us() >= atomic_load(&connection->deadline_us);
}

void http_disable_keep_alive(request *request) {
  if (request->connection->mg) mg_disable_connection_keep_alive(request->connection->mg);
}

bool http_client_there(const request *request) {
  struct pollfd p = { .fd = request->connection->socket, .events = POLLRDHUP };
  return !request->broken && poll(&p, 1, 0) <= 0;
}

void http_sleep(const request *request, int descriptor, bool input, uint64_t most_us) {
  struct pollfd p[2] = { { .fd = request->connection->socket, .events = POLLRDHUP },
                         { .fd = descriptor, .events = POLLIN } };
  struct timespec most = { (time_t)(most_us / 1000000), (long)(most_us % 1000000) * 1000 };
  if (input) p[0].events |= POLLIN;
  ppoll(p, 2, &most, NULL);
}

long http_receive(request *request, void *data, size_t size) {
  ssize_t n = recv(request->connection->socket, data, size, MSG_DONTWAIT);
  if (n > 0) return n;
  return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* --------------------------------------------------------------------------- start and stop */
static int start_civetweb(void) {
  char threads[24], request_timeout[24], idle_timeout[24], room[24], error[256] = "";
  const char *settings[] = { "listening_ports",
                             "127.0.0.1:0",
                             "num_threads",
                             threads,
                             "request_timeout_ms",
                             request_timeout,
                             "keep_alive_timeout_ms",
                             idle_timeout,
                             "max_request_size",
                             room,
                             "enable_keep_alive",
                             "yes",
                             "decode_url",
                             "no",
                             "enable_directory_listing",
                             "no",
                             "enable_auth_domain_check",
                             "no",
                             "access_control_allow_origin",
                             "",
                             "access_control_allow_methods",
                             "",
                             "access_control_allow_headers",
                             "",
                             "cgi_pattern",
                             "",
                             "ssi_pattern",
                             "",
                             NULL };
  struct mg_callbacks civetwebs = { .begin_request = on_request,
                                    .http_error = on_error,
                                    .log_message = on_message,
                                    .init_context = on_context,
                                    .connection_close = on_connection_close };
  struct mg_error_data mistake = { .text = error, .text_buffer_size = sizeof error };
  struct mg_init_data start = { .callbacks = &civetwebs, .configuration_options = settings };
  snprintf(threads, sizeof threads, "%llu", (unsigned long long)(option.threads + option.watchers));
  snprintf(request_timeout, sizeof request_timeout, "%llu",
           (unsigned long long)option.request_timeout_ms);
  snprintf(idle_timeout, sizeof idle_timeout, "%llu", (unsigned long long)option.idle_timeout_ms);
  snprintf(room, sizeof room, "%d", REQUEST_ROOM);
  mg_init_library(0);
  context = mg_start2(&start, &mistake);
  if (context && bell_copy >= 0) return 0;
  fprintf(stderr, "maph-server: cannot serve: %s\n", error[0] ? error : strerror(errno));
  return 1;
}

int http_start(http_callbacks given) {
  callbacks = given;
  if (getrandom(&id_seed, sizeof id_seed, GRND_NONBLOCK) < 0) id_seed = now_us();
  connections_start();
  if (!listen_open() || start_civetweb() != 0) return 1;
  if (arrivals_start()) return 0;
  fprintf(stderr, "maph-server: cannot take connections: %s\n", strerror(errno));
  return 1;
}

void http_addresses(char *out, size_t room) { listen_addresses(out, room); }
bool http_draining(void) { return atomic_load(&draining); }
uint64_t http_running(void) { return atomic_load(&running); }

void http_drain(void) {
  struct timespec pause = { 0, 2000000 };
  uint64_t end = now_us() + option.drain_timeout_ms * 1000;
  atomic_store(&draining, true);
  connections_shut(false);
  while (atomic_load(&running) > 0 && now_us() < end) nanosleep(&pause, NULL);
  if (atomic_load(&running) > 0)
    log_line("%llu requests were still running after the drain timeout",
             (unsigned long long)atomic_load(&running));
}

/* Civetweb looks at its stop flag when somebody rings, which it does not until it is stopping. */
void http_stop(void) {
  arrivals_ring_for_end();
  connections_shut(true);
  mg_stop(context);
  arrivals_stop();
  context = NULL;
  mg_exit_library();
}
