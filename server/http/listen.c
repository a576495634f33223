/*
** listen.c - the sockets that the server listens at: IPv4, IPv6, Unix, and those of systemd.
**
**     127.0.0.1:8080   [::1]:8080   localhost:8080   *:8080   8080   unix:/run/maph/socket
**
** localhost is both loopback addresses, at one port, since clients try either first; a machine
** without IPv6 has one.  * is every address of the machine.  A port of 0 is any free one.
**
** An address that other machines can reach is refused unless tokens are asked for, or the operator
** says that nobody shall be.  A Unix socket is for whom its file's permissions let in: 0660.
**
** Sockets that systemd listens at (LISTEN_FDS) are taken over, and then the standard address is
** not opened besides.
*/
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/options.h"
#include "http/listen.h"

enum { BACKLOG = 1024, FIRST_PASSED = 3, PORT_TRIES = 16 };

typedef union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  struct sockaddr_un local;
} address;

typedef struct listener {
  int descriptor;
  char name[sizeof(struct sockaddr_un) + 8];
  char path[sizeof(struct sockaddr_un)]; /* of a Unix socket that we made; else empty */
} listener;

static listener listeners[LISTENERS_MAX];
static int count;

int listen_count(void) { return count; }
int listen_descriptor(int i) { return listeners[i].descriptor; }

void listen_addresses(char *out, size_t room) {
  size_t n = 0;
  out[0] = 0;
  for (int i = 0; i < count && n < room; i++)
    n += (size_t)snprintf(out + n, room - n, "%s%s", i ? " and " : "", listeners[i].name);
}

void listen_close(void) {
  while (count > 0) {
    listener *last = &listeners[--count];
    close(last->descriptor);
    if (last->path[0]) unlink(last->path);
  }
}

void listen_peer(const struct sockaddr *peer, char out[PEER_ROOM]) {
  const address *address = (const union address *)peer;
  const char *text = "unix";
  if (peer->sa_family == AF_INET)
    text = inet_ntop(AF_INET, &address->v4.sin_addr, out, PEER_ROOM);
  else if (peer->sa_family == AF_INET6)
    text = inet_ntop(AF_INET6, &address->v6.sin6_addr, out, PEER_ROOM);
  if (text != out) strcpy(out, text ? text : "-");
}

/* ---------------------------------------------------------------------------- one socket */
static socklen_t size_of(const address *address) {
  if (address->any.sa_family == AF_UNIX) return sizeof address->local;
  return address->any.sa_family == AF_INET6 ? sizeof address->v6 : sizeof address->v4;
}

static unsigned port_of(const address *address) {
  return ntohs(address->any.sa_family == AF_INET6 ? address->v6.sin6_port : address->v4.sin_port);
}

static void set_port(address *address, unsigned port) {
  if (address->any.sa_family == AF_INET6)
    address->v6.sin6_port = htons((uint16_t)port);
  else
    address->v4.sin_port = htons((uint16_t)port);
}

/* What a URL of it begins with. */
static void name_of(const address *address, char *out, size_t room) {
  char host[PEER_ROOM];
  listen_peer(&address->any, host);
  if (address->any.sa_family == AF_UNIX)
    snprintf(out, room, "unix:%s", address->local.sun_path);
  else
    snprintf(out, room, address->any.sa_family == AF_INET6 ? "http://[%s]:%u" : "http://%s:%u",
             host, port_of(address));
}

static bool is_loopback(const address *address) {
  if (address->any.sa_family == AF_UNIX) return true;
  if (address->any.sa_family == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
  return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
}

/* Nobody is asked for a token where others can come: not by accident. */
static bool may_listen(const address *address) {
  char name[sizeof listeners[0].name];
  if (is_loopback(address) || option.open_to_network || (option.tokens && option.tokens[0]))
    return true;
  name_of(address, name, sizeof name);
  fprintf(stderr,
          "maph-server: %s can be reached from other machines, and anybody could read and write "
          "every store there. Ask for tokens (--tokens FILE), or put a proxy that asks for "
          "credentials in front of a loopback address, or add --open-to-network\n",
          name);
  return false;
}

static bool add(int descriptor, const address *address, bool ours) {
  listener *listener = &listeners[count];
  if (count == LISTENERS_MAX) {
    fprintf(stderr, "maph-server: at most %d addresses to listen at\n", LISTENERS_MAX);
    close(descriptor);
    return false;
  }
  listener->descriptor = descriptor;
  name_of(address, listener->name, sizeof listener->name);
  listener->path[0] = 0;
  if (ours && address->any.sa_family == AF_UNIX) strcpy(listener->path, address->local.sun_path);
  count++;
  return true;
}

/* A socket file that nobody listens at is of a process that died. */
static void remove_stale(const address *address) {
  struct stat st;
  int fd;
  if (lstat(address->local.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) return;
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  if (connect(fd, &address->any, size_of(address)) != 0 && errno == ECONNREFUSED)
    unlink(address->local.sun_path);
  close(fd);
}

/* Bind and listen; the port that was chosen, where it was 0, is in a.  -1: errno says why not. */
static int open_socket(address *address) {
  int on = 1, error;
  socklen_t size = size_of(address);
  int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (address->any.sa_family == AF_UNIX)
    remove_stale(address);
  else
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address->any.sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind(fd, &address->any, size) == 0 && listen(fd, BACKLOG) == 0) {
    if (address->any.sa_family == AF_UNIX)
      chmod(address->local.sun_path, 0660);
    else
      getsockname(fd, &address->any, &size);
    return fd;
  }
  error = errno;
  close(fd);
  errno = error;
  return -1;
}

static bool cannot_listen(const address *address, int error) {
  char name[sizeof listeners[0].name];
  name_of(address, name, sizeof name);
  fprintf(stderr, "maph-server: cannot listen on %s: %s\n", name, strerror(error));
  return false;
}

static bool open_one(address *address) {
  int fd;
  if (!may_listen(address)) return false;
  fd = open_socket(address);
  return fd >= 0 ? add(fd, address, true) : cannot_listen(address, errno);
}

/* Both loopback addresses, or both that mean all, at one port.  Where there is no IPv6, one. */
static bool open_pair(address *v4, address *v6) {
  bool any_port = port_of(v4) == 0;
  if (!may_listen(v4)) return false;
  for (int i = 0; i < PORT_TRIES; i++) {
    int fd = open_socket(v4), other;
    if (fd < 0) return cannot_listen(v4, errno);
    set_port(v6, port_of(v4));
    other = open_socket(v6);
    if (other >= 0) return add(fd, v4, true) && add(other, v6, true);
    if (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) return add(fd, v4, true);
    close(fd);
    if (!any_port || errno != EADDRINUSE) break;
    set_port(v4, 0);
  }
  return cannot_listen(v6, errno);
}

/* --------------------------------------------------------------------------- the option */
static bool bad_address(const char *text, size_t size) {
  if (size > 1 && text[size - 1] == 's' && strchr("0123456789", text[size - 2])) {
    fprintf(stderr,
            "maph-server: cannot listen on \"%.*s\": this server does not speak TLS; put a proxy "
            "that does in front of it, as maph-server(8) shows\n",
            (int)size, text);
    return false;
  }
  fprintf(stderr,
          "maph-server: cannot listen on \"%.*s\": say an address and a port, such as "
          "127.0.0.1:8080, [::1]:8080 or localhost:8080, or unix:PATH\n",
          (int)size, text);
  return false;
}

static bool open_local(const char *path, size_t size) {
  address address = { .local = { .sun_family = AF_UNIX } };
  if (size == 0 || size >= sizeof address.local.sun_path) return bad_address(path, size);
  memcpy(address.local.sun_path, path, size);
  return open_one(&address);
}

static bool equals(const char *text, size_t size, const char *word) {
  return strlen(word) == size && strncasecmp(text, word, size) == 0;
}

/* HOST:PORT, or PORT, which is on localhost. */
static bool open_text(const char *text, size_t size) {
  const char *colon = memrchr(text, ':', size), *port = colon ? colon + 1 : text;
  size_t host_size = colon ? (size_t)(colon - text) : 0, port_size = size - (size_t)(port - text);
  address v4 = { .v4 = { .sin_family = AF_INET } }, v6 = { .v6 = { .sin6_family = AF_INET6 } };
  char host[PEER_ROOM] = "";
  unsigned long number;
  if (size > 5 && memcmp(text, "unix:", 5) == 0) return open_local(text + 5, size - 5);
  if (port_size == 0 || port_size > 5 || strspn(port, "0123456789") < port_size
      || (number = strtoul(port, NULL, 10)) > 65535 || host_size >= sizeof host)
    return bad_address(text, size);
  memcpy(host, text, host_size);
  set_port(&v4, (unsigned)number);
  set_port(&v6, (unsigned)number);
  if (host_size == 0 || equals(host, host_size, "localhost")) {
    v4.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.v6.sin6_addr = in6addr_loopback;
    return open_pair(&v4, &v6);
  }
  if (equals(host, host_size, "*")) return open_pair(&v4, &v6);
  if (host[0] == '[' && host[host_size - 1] == ']') {
    host[host_size - 1] = 0;
    return inet_pton(AF_INET6, host + 1, &v6.v6.sin6_addr) == 1 ? open_one(&v6)
                                                                : bad_address(text, size);
  }
  return inet_pton(AF_INET, host, &v4.v4.sin_addr) == 1 ? open_one(&v4) : bad_address(text, size);
}

/* ------------------------------------------------------------------------------ systemd */
static bool take_passed(int fd) {
  int listening = 0;
  address address = { .any = { .sa_family = AF_UNSPEC } };
  socklen_t size = sizeof listening, name_size = sizeof address;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || !listening
      || getsockname(fd, &address.any, &name_size) != 0) {
    fprintf(stderr, "maph-server: what was passed as descriptor %d is no socket to listen at\n",
            fd);
    return false;
  }
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return may_listen(&address) && add(fd, &address, false);
}

/* How many sockets systemd has passed to this process. */
static int passed(void) {
  const char *pid = getenv("LISTEN_PID"), *number = getenv("LISTEN_FDS");
  int n = pid && number && strtol(pid, NULL, 10) == (long)getpid() ? atoi(number) : 0;
  unsetenv("LISTEN_PID");
  unsetenv("LISTEN_FDS");
  unsetenv("LISTEN_FDNAMES");
  return n > LISTENERS_MAX ? LISTENERS_MAX : n;
}

static int passed_count;

int listen_passed(void) { return passed_count; }

static bool open_all(void) {
  const char *text = option.listen;
  passed_count = passed();
  for (int i = 0; i < passed_count; i++)
    if (!take_passed(FIRST_PASSED + i)) return false;
  if (passed_count > 0 && !option_given(&option.listen)) return true;
  while (*text) {
    size_t size = strcspn(text, ",");
    if (!open_text(text, size)) return false;
    text += size + (text[size] == ',');
  }
  return count > 0 || open_text("8080", 4);
}

bool listen_open(void) {
  if (open_all()) return true;
  listen_close();
  return false;
}
