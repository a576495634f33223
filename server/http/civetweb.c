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
** In the same way civetweb's poll() is the one below: so a connection leaves its worker again, and
** a wait for a body has an end without a word to the socket.
**
** Invariants:
** (1) `running` is raised before `draining` is read, so drain never misses a request that will be
**     served.
** (2) Civetweb closes no socket with an answer that its client may not have got: see_off.
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
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "http/arrivals.h"
#include "http/exchange.h"
#include "http/head.h"
#include "http/loop.h"
#include "http/wire.h"

enum { WAIT_MS = 200, READS = 3 };

static struct mg_context *context;
static int bell_copy = -1; /* what civetweb takes for its socket */
/* This worker's connection, once it has made a request; and the same while it waits for the next
** one, and civetweb has nothing of that; else NULL. */
static _Thread_local connection *served, *waits;
static connection given_back; /* whose civetweb's connection is that is a loop's again */

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

/* Wait for the next request of a worker's connection, for a moment, and only as long as nobody
** waits for a worker; not at all where it has read again and again, which a loop does for less.  As
** poll answers. */
static int wait_a_moment(const connection *connection) {
  struct pollfd both[] = { { .fd = connection->socket, .events = POLLIN },
                           { .fd = crowd_bell, .events = POLLIN } };
  uint64_t now = now_us(), until = connection->reads < READS ? now + WAIT_MS * 1000 : 0;
  int n = 0;
  for (; n == 0 && now < until; now = now_us()) {
    struct timespec wait = { 0, (long)(until - now) * 1000 };
    n = ppoll(both, 2, &wait, NULL);
    if (n <= 0) return n;
    n = both[0].revents != 0;
    if (n == 0 && connections_crowded()) break;
  }
  return n;
}

/* Whether what has come is a whole head, as short as most are, or the end. */
static bool head_is_there(int socket) {
  char bytes[2048];
  ssize_t n = recv(socket, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
  return n == 0
         || (n > 0 && (memmem(bytes, (size_t)n, "\r\n\r\n", 4) || head_ends(bytes, (size_t)n, 0)));
}

/* Wait for more of a body, until its deadline; or for the rest of a head, as long as it may stay.
** As poll answers. */
static int wait_for_more(connection *connection, struct pollfd *fds, nfds_t count, int ms) {
  bool body = atomic_load(&connection->phase) == READING;
  uint64_t now = now_us(), until = ms < 0 ? UINT64_MAX : now + (uint64_t)ms * 1000;
  do {
    uint64_t deadline = body ? atomic_load(&connection->deadline_us) : now + TICK_MS * 1000;
    uint64_t end = deadline < until ? deadline : until, left = end > now ? end - now : 0;
    struct timespec wait = { (time_t)(left / 1000000), (long)(left % 1000000) * 1000 };
    int n = ppoll(fds, count, &wait, NULL);
    if (n != 0) return n;
    now = now_us();
    if (body && now >= deadline && !atomic_exchange(&connection->timed_out, true))
      connection_count_timeout();
    if (atomic_load(&connection->timed_out)) {
      errno = ETIMEDOUT;
      return -1;
    }
  } while (now < until);
  return 0;
}

/* Civetweb has it no more; from now on its connection is nobody's.  False: it could not be had. */
static bool take_back(connection *connection) {
  struct mg_connection *mg = connection->mg;
  mg_set_user_connection_data(mg, &given_back);
  served = waits = NULL;
  if (connection_give_back(connection)) return true;
  served = connection;
  atomic_store(&connection->returns, false);
  mg_set_user_connection_data(mg, connection);
  return false;
}

/* Civetweb's poll().  After a moment without a request its connection is a loop's again, and
** civetweb finds that its own has ended; so it is when a part of a head has come, for the rest of
** which no worker waits.  Where more has come already (wire.c) it keeps it.  What is not a wait for
** bytes is none of civetweb's, but a call of ours. */
int poll_for_civetweb(struct pollfd *fds, nfds_t count, int ms) __asm__("poll")
    __attribute__((visibility("default")));

int poll_for_civetweb(struct pollfd *fds, nfds_t count, int ms) {
  struct timespec wait = { ms / 1000, ms % 1000 * 1000000L };
  connection *connection = waits;
  int n;
  if (count == 0 || (fds[0].events & POLLIN) == 0)
    return ppoll(fds, count, ms < 0 ? NULL : &wait, NULL);
  if (wire_holds_some(fds[0].fd)) {
    for (nfds_t i = 1; i < count; i++) fds[i].revents = 0;
    fds[0].revents = POLLIN;
    return 1;
  }
  if (served && served != waits && fds[0].fd == served->socket)
    return wait_for_more(served, fds, count, ms);
  if (connection == NULL || fds[0].fd != connection->socket)
    return ppoll(fds, count, ms < 0 ? NULL : &wait, NULL);
  n = wait_a_moment(connection);
  waits = NULL;
  fds[0].revents = n == 0 ? 0 : POLLIN;
  if (n < 0 || (n > 0 && head_is_there(connection->socket))) return n;
  if (!take_back(connection)) return n;
  loop_take(connection);
  fds[0].revents = POLLIN;
  return 1;
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
/* What follows a header's text, or the version's, once civetweb has put NULs over the end of its
** line; NULL: that was not CR LF. */
static const char *line_after(const char *text) {
  const char *end = text + strlen(text);
  return end[1] == 0 ? end + 2 : NULL;
}

/* Whether the headers are all that was sent.  civetweb stops at the first line it cannot read (a
** folded one, a name with a byte above 126, none at all) and tells neither of it nor of the lines
** after it, which may hold the body's length, or a condition.  So each name must stand at the
** beginning of the line after the one before, be a token, end at its colon, and the last be
** followed by the empty line, whose LF civetweb has made a NUL.  Where that line is LF alone this
** looks at the byte behind the head, which is LF then (wire.c). */
static bool head_is_whole(const struct mg_request_info *info) {
  const char *at = line_after(info->http_version);
  for (int i = 0; i < info->num_headers && at; i++) {
    const char *name = info->http_headers[i].name, *value = info->http_headers[i].value;
    const char *colon = name + strlen(name);
    if (name != at || !head_is_name(name) || (colon[1] == 0 && value > colon + 1)) return false;
    at = line_after(value);
  }
  return at && at[0] == (info->num_headers ? '\r' : 0) && at[1] == 0;
}

static void read_headers(request *request, const struct mg_request_info *info) {
  request->truncated_headers = info->num_headers >= HEADER_MAX;
  request->malformed_head = !request->truncated_headers && !head_is_whole(info);
  request->header_count = info->num_headers < HEADER_MAX ? info->num_headers : HEADER_MAX;
  for (int i = 0; i < request->header_count; i++) {
    request->headers[i].name = info->http_headers[i].name;
    request->headers[i].name_size = (unsigned)strlen(info->http_headers[i].name);
    request->headers[i].value = info->http_headers[i].value;
    request_note(request, &request->headers[i]);
  }
}

/* The target: /path?query, *, or a whole URL, whose host then counts and not the header's. */
static void read_target(request *request, const struct mg_request_info *info) {
  char *target = (char *)(info->request_uri ? info->request_uri : "");
  char *mark = info->query_string ? NULL : strchr(target, '?');
  size_t scheme = head_scheme_size(target), size;
  request->query_text = info->query_string;
  if (mark) {
    *mark = 0;
    request->query_text = mark + 1;
  }
  request->path = target;
  strcpy(request->authority, wire_authority());
  if (scheme == 0) return;
  size = strcspn(target + scheme, "/");
  if (size == 0 || size >= sizeof request->authority)
    request->malformed_head = true;
  else
    memcpy(request->authority, target + scheme, size);
  request->path = target[scheme + size] ? target + scheme + size : "/";
}

/* HTTP/1.1 goes on unless the client says close; civetweb goes on only if it says keep-alive, or
** nothing: it is told so. */
static void read_persistence(request *request, const struct mg_request_info *info) {
  request->reply.close = head_closes(request);
  for (int i = 0; i < info->num_headers && !request->reply.close; i++)
    if (strcasecmp(info->http_headers[i].name, "Connection") == 0)
      ((struct mg_header *)&info->http_headers[i])->value = "keep-alive";
}

static request *request_read(connection *connection, const struct mg_request_info *info) {
  request *request = exchange_begin(connection, &connection->work);
  served = connection;
  waits = NULL;
  request->counted = connection->counted;
  connection->counted = false;
  request->method_name = info->request_method;
  request->method = method_from_name(info->request_method);
  request->version = info->http_version;
  read_headers(request, info);
  read_target(request, info);
  read_persistence(request, info);
  exchange_read(request);
  connection->read_us = 0;
  atomic_store(&connection->phase, WORKING);
  atomic_store(&connection->timed_out, false);
  wire_expect_body();
  return request;
}

/* It waits for its next request, or its end; invariant (2). */
static void wait_for_next(connection *connection, const request *request) {
  wire_expect_head();
  connection->reads = request->method & (METHOD_GET | METHOD_HEAD) ? connection->reads + 1 : 0;
  waits =
      request->reply.close || request->reply.broken || !wire_holds_nothing() ? NULL : connection;
  atomic_store(&connection->returns, waits != NULL);
  atomic_store(&connection->since_us, now_us());
  atomic_store(&connection->phase, IDLE);
}

/* It ends, and more may come: the rest of a body that was refused, or requests sent ahead. */
static void see_off(connection *connection) {
  mg_disable_connection_keep_alive(connection->mg);
  wire_begin();
  shutdown(connection->socket, SHUT_WR);
  if (take_back(connection)) arrivals_see_off(connection);
}

/* last: civetweb ends the connection after it, whatever the client wants. */
static int serve(connection *connection, const struct mg_request_info *info, bool last) {
  request *request = request_read(connection, info);
  int status;
  if (last) request->reply.close = true;
  exchange_serve(request);
  status = request->reply.status;
  wait_for_next(connection, request);
  if (request->reply.close && !request->reply.broken) see_off(connection);
  return status;
}

static int on_request(struct mg_connection *mg) {
  return serve(connection_of(mg), mg_get_request_info(mg), false);
}

bool http_crowded(const request *request) {
  return connections_crowded() && request->connection->mg && !wire_holds_nothing();
}

/* The rest of a head did not come: no other head is civetweb's to wait for so long. */
static bool head_is_late(const connection *connection) {
  return atomic_load(&connection->phase) == IDLE
         && now_us() >= atomic_load(&connection->since_us) + option.request_timeout_ms * 1000;
}

/* The first line is one, and its method is none of ours.  Civetweb has put a NUL behind each part
** that it read, and HTTP/ before the version away, before it looked at the method. */
static bool is_of_other_method(const struct mg_request_info *info) {
  return info->request_method && info->http_version && *info->http_version >= '0'
         && *info->http_version <= '9' && head_is_name(info->request_method)
         && method_from_name(info->request_method) == METHOD_OTHER;
}

/* What civetweb refuses before there is a request: its page becomes a problem. */
static int on_error(struct mg_connection *mg, int status, const char *message) {
  const struct mg_request_info *info = mg_get_request_info(mg);
  connection *connection = connection_of(mg);
  char detail[200];
  waits = NULL;
  if (connection == NULL || connection == &given_back) return 1;
  connection->refused = true;
  if (atomic_load(&connection->timed_out)) { /* its worker was needed, or the server stops */
    see_off(connection);
    return 0;
  }
  if (info->request_uri && strcmp(message, "Invalid URI") == 0
      && head_scheme_size(info->request_uri)) {
    serve(connection, info, true);
    return 0;
  }
  snprintf(detail, sizeof detail, "the request cannot be understood: %s", message);
  if (head_is_late(connection)) {
    connection_count_timeout();
    exchange_refuse(exchange_begin(connection, &connection->work), 408, "head_timeout",
                    "the head of the request did not come in time");
  } else if (status == 400 && is_of_other_method(info)) {
    exchange_refuse(exchange_begin(connection, &connection->work), 501, "method_unknown",
                    "the method is none that this server knows");
  } else {
    exchange_refuse(exchange_begin(connection, &connection->work), status == 413 ? 431 : status,
                    status == 411 ? "bad_length" : "malformed_request", detail);
  }
  see_off(connection);
  return 0;
}

/* Or is given up. */
static bool client_has_ended(const connection *connection) {
  char byte;
  ssize_t n = recv(connection->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN);
}

static void on_connection_close(const struct mg_connection *mg) {
  const struct mg_request_info *info = mg_get_request_info(mg);
  connection *connection = connection_of(mg);
  if (connection == NULL || connection == &given_back) {
    wire_begin();
    return;
  }
  if (!connection->refused && info->request_uri && info->local_uri_raw == NULL)
    serve(connection, info, true);
  if (mg_get_user_connection_data(mg) == connection && !client_has_ended(connection))
    see_off(connection);
  served = waits = NULL; /* also where it could not be given back */
  if (mg_get_user_connection_data(mg) == connection) connection_end(connection, false);
  wire_begin();
}

static int on_message(const struct mg_connection *mg, const char *message) {
  (void)mg;
  log_line("%s", message);
  return 1;
}

/* -------------------------------------------------------------------- reading and writing */
long http_read(request *request, void *data, size_t size) {
  connection *connection = request->connection;
  long n;
  if (atomic_load(&connection->timed_out)) return -1;
  connection_enter(connection, READING);
  if (request->upload.length < 0) wire_expect_chunks();
  n = mg_read(connection->mg, data, size);
  if (n > 0) connection->phase_bytes += (uint64_t)n;
  if (n == 0 && request->upload.length < 0 && !wire_chunks_ended())
    request->reply.close = true; /* trailers mean nothing here, and civetweb goes no further */
  connection->read_us = now_us();
  atomic_store(&connection->phase, WORKING);
  return n;
}

void http_disable_keep_alive(request *request) {
  if (request->connection->mg) mg_disable_connection_keep_alive(request->connection->mg);
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

int http_start(http_callbacks given, uint64_t waiting_most) {
  exchange_setup(given);
  connections_start(waiting_most);
  if (!listen_open() || start_civetweb() != 0) return 1;
  if (loops_start() && arrivals_start()) return 0;
  fprintf(stderr, "maph-server: cannot take connections: %s\n", strerror(errno));
  return 1;
}

void http_addresses(char *out, size_t room) { listen_addresses(out, room); }
/* Civetweb looks at its stop flag when somebody rings, which it does not until it is stopping. */
void http_stop(void) {
  arrivals_ring_for_end();
  connections_shut();
  mg_stop(context);
  loops_stop();
  arrivals_stop();
  context = NULL;
  mg_exit_library();
}
