/*
** http.c - the only file that knows civetweb: listening, connections, deadlines, drain.
**
** civetweb 1.15 serves a connection by one worker thread and has no deadline for a client that
** trickles bytes, so each connection is listed here with its socket, its phase and its deadline,
** and a watchdog thread shuts sockets down:
**
**   FRESH    no request yet              civetweb's request timeout ends it
**   IDLE     between two requests  shut when a worker is needed for a new connection, and at drain
**   WORKING  a handler runs  never touched; a watcher (change feed, long poll) is one that lasts
**   READING  a handler reads the body    deadline: stop receiving; the handler then answers 408
**   WRITING  a handler writes            deadline: shut
**
** civetweb does not tell the socket; it is found at a connection's first request, by its peer's
** address and our port.  Until then civetweb's own timeout for the head of a request holds.
**
** Invariants:
** (1) A connection is in the list from init_connection until connection_close, which comes before
**     its socket is closed.  Sockets are shut down only under the list's mutex: never a socket that
**     has become somebody else's.
** (2) A worker is kept free: from option.threads connections on, one that has been idle for a
**     moment is shut for each that comes, and while every worker has one the answers end theirs
**     (`Connection: close`), which costs no client a request.  Watchers count apart: there are
**     option.watchers workers more than option.threads, and never more watchers than that, so they
**     take none from requests.
** (3) `running` is raised before `draining` is read, so drain never misses a request that will be
**     served.
** (4) Nothing of civetweb that answers by itself is on: no files, no CORS preflights, no CGI, no
**     digest authentication; paths are not decoded (its decoder cuts at %00 and its cleaned path
**     folds `a.`, `a//b` and `..`: two keys would be one).
** (5) A connection becomes IDLE before it reads `draining`, and drain sets that before it looks for
**     IDLE ones: one of the two closes it.
*/
#include <arpa/inet.h>
#include <civetweb.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "server.h"

enum phase { FRESH, IDLE, WORKING, READING, WRITING };
enum { UNKNOWN = -1, GONE = -2, AMBIGUOUS = -3 }; /* in the place of a socket */
enum {
  MINIMUM_RATE = 16,
  REQUEST_ROOM = 65536,
  TICK_MS = 50,
  IDLE_LEAST_MS = 250,
  LINGER_MS = 8,
  KEPT_BUFFER = 256 * 1024
};

typedef struct connection {
  struct connection *next, *previous;
  struct mg_connection *mg;
  int socket; /* < 0: before the first request, or not found: no deadlines of ours */
  bool looked;
  atomic_int phase;
  atomic_uint_fast64_t since_us, deadline_us;
  atomic_bool timed_out; /* the watchdog has shut it */
  /* read_us: the last read's end; 0: none since the last write */
  uint64_t phase_started_us, phase_bytes, read_us;
  buffer head, body, scratch;
  char *decoded;
  request request;
} connection;

static struct mg_context *context;
static connection *connections; /* invariant (1) */
static pthread_mutex_t connections_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_t watchdog;
static atomic_bool watchdog_runs;
static atomic_bool draining, stopping;
static atomic_uint_fast64_t connection_count, watcher_count, running, accepted, evicted,
    timed_out_count, next_id;
static uint64_t id_seed;
static char first_address[64];
static struct mg_server_port ports[8];
static int port_count;
static char listening_ports[1024];

uint64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void clock_condition(pthread_cond_t *condition) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(condition, &attributes);
  pthread_condattr_destroy(&attributes);
}

struct timespec clock_after(uint64_t seconds) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_sec += (time_t)seconds;
  return t;
}

uint64_t wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---------------------------------------------------------------------------------- connections */
/* Is this descriptor a socket between that peer and our port? */
static bool is_socket_of(int fd, const struct in_addr *address, int remote_port, int server_port) {
  struct sockaddr_in peer, own;
  socklen_t size = sizeof peer;
  if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0 || peer.sin_family != AF_INET)
    return false;
  if (ntohs(peer.sin_port) != remote_port || peer.sin_addr.s_addr != address->s_addr) return false;
  size = sizeof own;
  return getsockname(fd, (struct sockaddr *)&own, &size) == 0 && ntohs(own.sin_port) == server_port;
}

static bool is_taken(int fd) {
  bool taken = false;
  pthread_mutex_lock(&connections_mutex);
  for (connection *c = connections; c && !taken; c = c->next) taken = c->socket == fd;
  pthread_mutex_unlock(&connections_mutex);
  return taken;
}

/* The socket of a connection from that peer, which no other connection has: a peer may use one port
** of its own for connections to several of our addresses, and civetweb tells the port alone.  GONE:
** it is a socket no more, its peer has reset it. */
static int find_socket(const struct mg_request_info *info) {
  struct in_addr address;
  struct dirent *e;
  int found = GONE;
  DIR *dir;
  if (inet_pton(AF_INET, info->remote_addr, &address) != 1
      || (dir = opendir("/proc/self/fd")) == NULL)
    return UNKNOWN;
  while (found != AMBIGUOUS && (e = readdir(dir)) != NULL) {
    int fd = atoi(e->d_name);
    if (e->d_name[0] == '.' || !is_socket_of(fd, &address, info->remote_port, info->server_port)
        || is_taken(fd))
      continue;
    found = found == GONE ? fd : AMBIGUOUS;
  }
  closedir(dir);
  return found;
}

/* Shut the connection that has waited longest for its next request; the mutex is held.  Who asks
** again and again is let be: its next request may be on the way. */
static void evict_one(void) {
  uint64_t until = now_us() - IDLE_LEAST_MS * 1000;
  connection *oldest = NULL;
  for (connection *c = connections; c; c = c->next) {
    uint64_t since = atomic_load(&c->since_us);
    int phase = atomic_load(&c->phase);
    if (phase != IDLE || c->socket < 0 || since > until || atomic_load(&c->timed_out)) continue;
    if (oldest == NULL || since < atomic_load(&oldest->since_us)) oldest = c;
  }
  if (oldest == NULL) return;
  atomic_store(&oldest->timed_out, true);
  shutdown(oldest->socket, SHUT_RDWR);
  atomic_fetch_add(&evicted, 1);
}

/* Whether connections that are not watched hold all their workers but one. */
static bool workers_are_short(void) {
  uint64_t connected = atomic_load(&connection_count), watching = atomic_load(&watcher_count);
  return connected >= option.threads + watching;
}

bool http_crowded(void) {
  return atomic_load(&connection_count) >= option.threads + option.watchers;
}

static int on_connection(const struct mg_connection *mg, void **data) {
  connection *c = calloc(1, sizeof *c);
  if (c == NULL || (c->decoded = malloc(REQUEST_ROOM + 64)) == NULL) {
    free(c);
    *data = NULL;
    return 0;
  }
  c->mg = (struct mg_connection *)mg;
  c->socket = UNKNOWN;
  atomic_store(&c->phase, FRESH);
  atomic_store(&c->since_us, now_us());
  pthread_mutex_lock(&connections_mutex);
  c->next = connections;
  if (c->next) c->next->previous = c;
  connections = c;
  atomic_fetch_add(&connection_count, 1);
  if (workers_are_short()) evict_one();
  pthread_mutex_unlock(&connections_mutex);
  atomic_fetch_add(&accepted, 1);
  *data = c;
  return 0;
}

static void on_connection_close(const struct mg_connection *mg) {
  connection *c = mg_get_user_connection_data(mg);
  if (c == NULL) return;
  pthread_mutex_lock(&connections_mutex);
  if (c->next) c->next->previous = c->previous;
  if (c->previous)
    c->previous->next = c->next;
  else
    connections = c->next;
  atomic_fetch_sub(&connection_count, 1);
  pthread_mutex_unlock(&connections_mutex);
  buffer_free(&c->head);
  buffer_free(&c->body);
  buffer_free(&c->scratch);
  free(c->decoded);
  free(c);
}

/* --------------------------------------------------------------------------------- the watchdog */
static void check_deadlines(void) {
  uint64_t now = now_us();
  pthread_mutex_lock(&connections_mutex);
  for (connection *c = connections; c; c = c->next) {
    int phase = atomic_load(&c->phase);
    if ((phase != READING && phase != WRITING) || c->socket < 0
        || now < atomic_load(&c->deadline_us))
      continue;
    if (atomic_exchange(&c->timed_out, true)) continue;
    shutdown(c->socket, phase == READING ? SHUT_RD : SHUT_RDWR);
    atomic_fetch_add(&timed_out_count, 1);
  }
  if (workers_are_short()) evict_one();
  pthread_mutex_unlock(&connections_mutex);
}

/* civetweb's master looks at its stop flag every two seconds, or when somebody knocks. */
static void knock(void) {
  for (int i = 0; i < port_count; i++) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)ports[i].port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0) {
      (void)!connect(fd, (struct sockaddr *)&to, sizeof to);
      close(fd);
    }
  }
}

static void *watchdog_run(void *unused) {
  struct timespec tick = { 0, TICK_MS * 1000000L };
  bool knocked = false;
  (void)unused;
  while (watchdog_runs) {
    nanosleep(&tick, NULL);
    check_deadlines();
    if (atomic_load(&stopping) && !knocked) {
      knock();
      knocked = true;
    }
  }
  return NULL;
}

/* ------------------------------------------------------------------------------------ a request */
static int method_of(const char *name) {
  static const char *const names[] = { "GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS" };
  for (int i = 0; i < 6; i++)
    if (strcmp(name, names[i]) == 0) return 1 << i;
  return METHOD_OTHER;
}

const char *request_header(const request *r, const char *name) {
  for (int i = 0; i < r->header_count; i++)
    if (strcasecmp(r->headers[i].name, name) == 0) return r->headers[i].value;
  return NULL;
}

bool request_query(const request *r, const char *name, maph_slice *value) {
  size_t size = strlen(name);
  for (int i = 0; i < r->query_count; i++) {
    if (r->query[i].name.size == size && memcmp(r->query[i].name.data, name, size) == 0) {
      *value = r->query[i].value;
      return true;
    }
  }
  *value = maph_bytes("", 0);
  return false;
}

/* A request id of theirs is kept when it can be logged and echoed as it is. */
static void choose_id(request *r) {
  const char *theirs = request_header(r, "X-Request-Id");
  size_t size = theirs ? strlen(theirs) : 0;
  if (size > 0 && size <= 64
      && strspn(theirs, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
             == size) {
    memcpy(r->id, theirs, size + 1);
  } else {
    uint64_t id = id_seed + atomic_fetch_add(&next_id, 1) * 0x9E3779B97F4A7C15u;
    for (int i = 15; i >= 0; i--, id >>= 4) r->id[i] = "0123456789abcdef"[id & 15];
    r->id[16] = 0;
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
** empty line, whose LF civetweb has made a NUL. */
static bool head_is_whole(const struct mg_request_info *info) {
  const char *at = line_after(info->http_version);
  for (int i = 0; i < info->num_headers && at; i++) {
    const char *name = info->http_headers[i].name, *value = info->http_headers[i].value,
               *colon = name + strlen(name);
    if (name != at || (colon[1] == 0 && value > colon + 1)) return false;
    at = line_after(value);
  }
  return at && at[0] == (info->num_headers ? '\r' : 0) && at[1] == 0;
}

static void request_begin(connection *c) {
  const struct mg_request_info *info = mg_get_request_info(c->mg);
  request *r = &c->request;
  if (!c->looked) {
    int found = find_socket(info);
    pthread_mutex_lock(&connections_mutex);
    c->socket = found;
    pthread_mutex_unlock(&connections_mutex);
    c->looked = true;
  }
  memset(r, 0, sizeof *r);
  r->started_us = now_us();
  r->connection = c;
  r->method_name = info->request_method;
  r->method = method_of(info->request_method);
  r->path = info->local_uri_raw ? info->local_uri_raw : "";
  r->query_text = info->query_string;
  r->version = info->http_version;
  r->remote = info->remote_addr;
  r->truncated_headers = info->num_headers >= HEADER_MAX;
  r->malformed_head = !r->truncated_headers && !head_is_whole(info);
  r->header_count = info->num_headers < HEADER_MAX ? info->num_headers : HEADER_MAX;
  for (int i = 0; i < r->header_count; i++) {
    r->headers[i].name = info->http_headers[i].name;
    r->headers[i].value = info->http_headers[i].value;
  }
  r->head = &c->head;
  r->body = &c->body;
  r->scratch = &c->scratch;
  r->decoded = c->decoded;
  choose_id(r);
  atomic_store(&c->timed_out, false);
  c->read_us = 0;
  atomic_store(&c->phase, WORKING);
}

/* A close with unread bytes makes the kernel send a reset, which can destroy the answer on its way:
** send the end first, and take what is coming for a moment. */
static void linger(connection *c) {
  char waste[4096];
  uint64_t end = now_us() + LINGER_MS * 1000;
  shutdown(c->socket, SHUT_WR);
  for (;;) {
    struct pollfd p = { .fd = c->socket, .events = POLLIN };
    uint64_t now = now_us();
    if (now >= end || poll(&p, 1, (int)((end - now) / 1000) + 1) <= 0) break;
    if (recv(c->socket, waste, sizeof waste, MSG_DONTWAIT) <= 0) break;
  }
}

static void request_end(request *r) {
  connection *c = r->connection;
  uint64_t duration;
  if (r->close && !r->body_done && !r->broken && c->socket >= 0) linger(c);
  if (r->close || r->broken) mg_disable_connection_keep_alive(c->mg);
  body_release(r);
  buffer_reset(r->head, KEPT_BUFFER);
  buffer_reset(r->body, KEPT_BUFFER);
  buffer_reset(r->scratch, KEPT_BUFFER);
  duration = now_us() - r->started_us;
  metrics_count(r, duration);
  log_request(r, duration);
  atomic_store(&c->since_us, now_us());
  atomic_store(&c->phase, IDLE);
  if (atomic_load(&draining)) mg_disable_connection_keep_alive(c->mg); /* invariant (5) */
}

static int on_request(struct mg_connection *mg) {
  connection *c = mg_get_user_connection_data(mg);
  request *r;
  if (c == NULL) {
    mg_disable_connection_keep_alive(mg);
    mg_printf(mg, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: "
                  "close\r\nRetry-After: 1\r\n\r\n");
    return 503;
  }
  r = &c->request;
  atomic_fetch_add(&running, 1); /* invariant (3) */
  request_begin(c);
  if (atomic_load(&draining)) {
    r->close = true;
    reply_problem(r, 503, "draining", "the server is being stopped");
  } else if (c->socket == AMBIGUOUS) {
    r->close = true;
    reply_problem(
        r, 503, "connection_unknown",
        "another connection from the same port has not sent its first request: connect again");
  } else if (guard_request(r)) {
    routes_dispatch(r);
  }
  if (r->status == 0) reply_problem(r, 500, "internal", "no answer was made");
  request_end(r);
  atomic_fetch_sub(&running, 1);
  return r->status;
}

/* What civetweb refuses before there is a request: its page becomes a problem. */
static int on_error(struct mg_connection *mg, int status, const char *message) {
  connection *c = mg_get_user_connection_data(mg);
  request *r;
  if (c == NULL) return 1;
  r = &c->request;
  memset(r, 0, sizeof *r);
  r->connection = c;
  r->head = &c->head;
  r->body = &c->body;
  r->scratch = &c->scratch;
  r->version = "1.1";
  r->method = METHOD_GET;
  r->started_us = now_us();
  r->close = true;
  choose_id(r);
  reply_problem(r, status == 413 ? 431 : status, status == 411 ? "bad_length" : "malformed_request",
                "the request cannot be understood: %s", message);
  request_end(r);
  return 0;
}

static int on_message(const struct mg_connection *mg, const char *message) {
  (void)mg;
  log_line("%s", message);
  return 1;
}

/* -------------------------------------------------------------------------- reading and writing */
static void enter(connection *c, enum phase phase) {
  uint64_t now = now_us();
  /* what we took ourselves is not the client's */
  if (phase == READING && c->read_us)
    c->phase_started_us += now - c->read_us;
  else if (atomic_load(&c->phase) != (int)phase) {
    c->phase_started_us = now;
    c->phase_bytes = 0;
  }
  atomic_store(&c->deadline_us, c->phase_started_us + option.body_timeout_ms * 1000
                                    + c->phase_bytes * 1000 / MINIMUM_RATE);
  atomic_store(&c->phase, phase);
}

long http_read(request *r, void *data, size_t size) {
  connection *c = r->connection;
  long n;
  enter(c, READING);
  n = mg_read(c->mg, data, size);
  if (n > 0) c->phase_bytes += (uint64_t)n;
  c->read_us = now_us();
  atomic_store(&c->phase, WORKING);
  return n;
}

bool http_write(request *r, const void *data, size_t size) {
  connection *c = r->connection;
  const char *p = data;
  c->read_us = 0;
  while (size > 0 && !r->broken) {
    size_t part = size < 1024 * 1024 ? size : 1024 * 1024;
    int n;
    enter(c, WRITING);
    n = mg_write(c->mg, p, part);
    if (n > 0) {
      r->bytes_out += (uint64_t)n;
      c->phase_bytes += (uint64_t)n;
    }
    if (n < (int)part) r->broken = true;
    p += part;
    size -= part;
  }
  if (!r->broken) atomic_store(&c->phase, WORKING);
  return !r->broken;
}

bool http_timed_out(const request *r) {
  const connection *c = r->connection;
  return atomic_load(&c->timed_out) || now_us() >= atomic_load(&c->deadline_us);
}

void http_disable_keep_alive(request *r) { mg_disable_connection_keep_alive(r->connection->mg); }

/* ------------------------------------------------------------------------------------- watchers */
bool http_watch_begin(void) {
  if (atomic_fetch_add(&watcher_count, 1) < option.watchers) return true;
  atomic_fetch_sub(&watcher_count, 1);
  return false;
}
void http_watch_end(void) { atomic_fetch_sub(&watcher_count, 1); }

bool http_client_there(const request *r) {
  const connection *c = r->connection;
  struct pollfd p = { .fd = c->socket, .events = POLLRDHUP };
  return !r->broken && c->socket != GONE && (c->socket < 0 || poll(&p, 1, 0) <= 0);
}

long http_receive(request *r, void *data, size_t size) {
  const connection *c = r->connection;
  ssize_t n = c->socket < 0 ? 0 : recv(c->socket, data, size, MSG_DONTWAIT);
  if (c->socket == GONE) return -1;
  if (n > 0 || c->socket < 0) return n;
  return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* ------------------------------------------------------------------------------- start and stop */
/* Check one ADDRESS:PORT and append it for civetweb, whose own syntax allows more (TLS, redirects)
** than is wanted. */
static bool add_listener(const char *text, size_t size) {
  char host[64] = "127.0.0.1", one[96];
  const char *colon = memrchr(text, ':', size), *port = colon ? colon + 1 : text;
  size_t host_size = colon ? (size_t)(colon - text) : 0, port_size = size - (size_t)(port - text);
  struct in_addr address;
  if (host_size >= sizeof host || port_size == 0 || port_size > 5
      || strspn(port, "0123456789") < port_size)
    goto bad;
  if (host_size == 1 && *text == '*')
    strcpy(host, "0.0.0.0");
  else if (host_size > 0) {
    memcpy(host, text, host_size);
    host[host_size] = 0;
  }
  if (strcmp(host, "localhost") == 0) strcpy(host, "127.0.0.1");
  if (inet_pton(AF_INET, host, &address) != 1) goto bad;
  if ((ntohl(address.s_addr) >> 24) != 127 && !option.open_to_network && !auth_on()) {
    fprintf(stderr,
            "maph-server: %s can be reached from other machines, and anybody could read and write "
            "every store there. "
            "Ask for tokens (--tokens FILE), or put a proxy that asks for credentials in front of "
            "a loopback address, or add "
            "--open-to-network\n",
            host);
    return false;
  }
  snprintf(one, sizeof one, "%s%s:%.*s", listening_ports[0] ? "," : "", host, (int)port_size, port);
  if (strlen(listening_ports) + strlen(one) >= sizeof listening_ports) goto bad;
  strcat(listening_ports, one);
  if (first_address[0] == 0) snprintf(first_address, sizeof first_address, "%s", host);
  return true;
bad:
  if (port_size > 1 && port[port_size - 1] == 's' && strspn(port, "0123456789") == port_size - 1) {
    fprintf(stderr,
            "maph-server: cannot listen on \"%.*s\": this server does not speak TLS; put a proxy "
            "that does in front of it, as maph-server(8) shows\n",
            (int)size, text);
    return false;
  }
  fprintf(stderr,
          "maph-server: cannot listen on \"%.*s\": say an IPv4 address and a port, such as "
          "127.0.0.1:8080\n",
          (int)size, text);
  return false;
}

static int listen_and_serve(void) {
  char threads[24], request_timeout[24], idle_timeout[24], room[24], error[256] = "";
  const char *settings[] = { "listening_ports",
                             listening_ports,
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
                             "tcp_nodelay",
                             "1",
                             "decode_url",
                             "no",
                             "listen_backlog",
                             "1024",
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
  struct mg_callbacks callbacks = { .begin_request = on_request,
                                    .http_error = on_error,
                                    .log_message = on_message,
                                    .init_connection = on_connection,
                                    .connection_close = on_connection_close };
  struct mg_error_data mistake = { .text = error, .text_buffer_size = sizeof error };
  struct mg_init_data start = { .callbacks = &callbacks, .configuration_options = settings };
  snprintf(threads, sizeof threads, "%llu", (unsigned long long)(option.threads + option.watchers));
  snprintf(request_timeout, sizeof request_timeout, "%llu",
           (unsigned long long)option.request_timeout_ms);
  snprintf(idle_timeout, sizeof idle_timeout, "%llu", (unsigned long long)option.idle_timeout_ms);
  snprintf(room, sizeof room, "%d", REQUEST_ROOM);
  mg_init_library(0);
  context = mg_start2(&start, &mistake);
  if (context == NULL) {
    fprintf(stderr, "maph-server: cannot listen on %s: %s\n", listening_ports,
            error[0] ? error : strerror(errno));
    return 1;
  }
  port_count = mg_get_server_ports(context, 8, ports);
  if (port_count > 0) {
    size_t size = strlen(first_address);
    snprintf(first_address + size, sizeof first_address - size, ":%d", ports[0].port);
  }
  return 0;
}

int http_start(void) {
  const char *text = option.listen;
  while (*text) {
    size_t size = strcspn(text, ",");
    if (!add_listener(text, size)) return 1;
    text += size + (text[size] == ',');
  }
  if (listening_ports[0] == 0 && !add_listener("", 0)) return 1;
  if (getrandom(&id_seed, sizeof id_seed, GRND_NONBLOCK) < 0) id_seed = now_us();
  if (!guard_setup() || listen_and_serve() != 0) return 1;
  watchdog_runs = true;
  if (pthread_create(&watchdog, NULL, watchdog_run, NULL) != 0) watchdog_runs = false;
  return 0;
}

const char *http_address(void) { return first_address; }
bool http_draining(void) { return atomic_load(&draining); }

/* Shut the idle connections, or all of them. */
static void shut(bool all) {
  pthread_mutex_lock(&connections_mutex);
  for (connection *c = connections; c; c = c->next) {
    if (c->socket >= 0 && (all || atomic_load(&c->phase) == IDLE))
      shutdown(c->socket, all ? SHUT_RDWR : SHUT_RD);
  }
  pthread_mutex_unlock(&connections_mutex);
}

void http_drain(void) {
  struct timespec pause = { 0, 2000000 };
  uint64_t end = now_us() + option.drain_timeout_ms * 1000;
  atomic_store(&draining, true);
  shut(false);
  while (atomic_load(&running) > 0 && now_us() < end) nanosleep(&pause, NULL);
  if (atomic_load(&running) > 0)
    log_line("%llu requests were still running after the drain timeout",
             (unsigned long long)atomic_load(&running));
}

void http_stop(void) {
  atomic_store(&stopping, true);
  shut(true);
  mg_stop(context);
  if (watchdog_runs) {
    watchdog_runs = false;
    pthread_join(watchdog, NULL);
  }
  context = NULL;
  mg_exit_library();
}

http_counts http_count(void) {
  http_counts n = { atomic_load(&connection_count), atomic_load(&running),
                    atomic_load(&accepted),         atomic_load(&evicted),
                    atomic_load(&timed_out_count),  option.threads,
                    atomic_load(&watcher_count) };
  return n;
}
