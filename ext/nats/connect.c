/*
** connect.c - reaching a server.
**
** First a plain connection of our own reads the INFO line: libnats 3.4.1 may wait for ever for one
** that does not come, and does not tell the server's version.  Then nats.c connects to that server
** alone, so that what we know is known of the one we speak with.
*/
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include "entry/json.h"
#include "nats/answer.h"
#include "nats/child.h"
#include "nats/connect.h"
#include "nats/option.h"
#include "nats/replica.h"
#include "nats/watchdog.h"

enum { SERVERS_MOST = 64, INFO_MOST = 65536, CONNECT_MS = 5000 };

static __thread char sentence[1024];
static __thread unsigned server_code;

const char *stream_errmsg(void) { return sentence; }
unsigned stream_code(void) { return server_code; }

stream_rc stream_fail(stream_rc rc, const char *format, ...) {
  char text[sizeof sentence];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  memcpy(sentence, text, sizeof text);
  server_code = 0;
  return rc;
}

stream_rc connect_refused(unsigned code, const char *what, const char *description) {
  stream_rc rc = code == STREAM_CODE_NO_STREAM || code == STREAM_CODE_NO_MESSAGE ? STREAM_NONE
                                                                                 : STREAM_REFUSED;
  stream_fail(rc, "%s: %s", what, description);
  server_code = code;
  return rc;
}

/* What libnats noted of the handshake, without its place in the source: the certificate and what is
** wrong with it. */
static stream_rc fail_tls(const char *where) {
  natsStatus last = NATS_OK;
  const char *why = nats_GetLastError(&last), *place = why ? strstr(why, "): ") : NULL;
  if (place) why = place + strlen("): ");
  return stream_fail(STREAM_LOST,
                     "%s: no TLS with it: %.500s (--tls-ca names who signs its certificate, "
                     "--tls-cert ours)",
                     where, why && why[0] ? why : "it gives no reason");
}

stream_rc connect_failed(natsStatus status, const char *what, const char *where) {
  switch (status) {
    case NATS_OK: return STREAM_OK;
    case NATS_TIMEOUT: return stream_fail(STREAM_TIMEOUT, "%s: %s does not answer", where, what);
    case NATS_NO_RESPONDERS:
      stream_fail(STREAM_REFUSED, "%s: nobody answers %s: is JetStream on?", where, what);
      server_code = STREAM_CODE_NOBODY;
      return STREAM_REFUSED;
    case NATS_SSL_ERROR: return fail_tls(where);
    case NATS_CONNECTION_AUTH_FAILED:
      return stream_fail(STREAM_DENIED, "%s: authorization violation: it does not let us in",
                         where);
    case NATS_NOT_PERMITTED:
      return stream_fail(STREAM_DENIED, "%s: %s: no permission", where, what);
    case NATS_NO_MEMORY: return stream_fail(STREAM_MEMORY, "out of memory");
    case NATS_MAX_PAYLOAD:
      return stream_fail(STREAM_TOO_BIG, "%s: %s: larger than the server takes", where, what);
    default: return stream_fail(STREAM_LOST, "%s: %s: %s", where, what, natsStatus_GetText(status));
  }
}

/* -------------------------------------------------------------------------------------- servers */
typedef struct address {
  char host[256], port[8];
  bool tls;
} address;

static bool is_port(const char *at, const char *end) {
  unsigned long port = 0;
  if (at == end || end - at > 5) return false;
  for (; at < end; at++) {
    if (*at < '0' || *at > '9') return false;
    port = 10 * port + (unsigned long)(*at - '0');
  }
  return port > 0 && port <= 65535;
}

/* One of --server: [nats://|tls://]HOST[:PORT]. */
static stream_rc read_url(const char *url, size_t size, address *to) {
  const char *at = url, *end = url + size, *colon, *host;
  size_t length;
  memset(to, 0, sizeof *to);
  if (size > 7 && memcmp(at, "nats://", 7) == 0) at += 7;
  if (size > 6 && memcmp(at, "tls://", 6) == 0) {
    at += 6;
    to->tls = true;
  }
  if (memchr(at, '@', (size_t)(end - at)))
    return stream_fail(STREAM_MISUSE, "--server: names and passwords go into files: --user with "
                                      "--password-file, --token-file or --creds");
  host = at;
  if (at < end && *at == '[') {
    host = at + 1;
    at = memchr(host, ']', (size_t)(end - host));
    length = at ? (size_t)(at - host) : 0;
    colon = at && at + 1 < end && at[1] == ':' ? at + 1 : NULL;
  } else {
    colon = memchr(at, ':', (size_t)(end - at));
    length = (size_t)((colon ? colon : end) - host);
  }
  if (length == 0 || length >= sizeof to->host || (colon && !is_port(colon + 1, end))
      || memchr(host, '/', (size_t)(end - host)))
    return stream_fail(STREAM_MISUSE, "--server: \"%.*s\" is no nats://HOST:PORT", (int)size, url);
  memcpy(to->host, host, length);
  if (colon)
    snprintf(to->port, sizeof to->port, "%.*s", (int)(end - colon - 1), colon + 1);
  else
    strcpy(to->port, "4222");
  return STREAM_OK;
}

static stream_rc read_urls(address *to, int *count) {
  *count = 0;
  for (const char *at = option.server; *at;) {
    size_t size = strcspn(at, ",");
    stream_rc rc;
    if (*count == SERVERS_MOST) break;
    if (size > 0 && (rc = read_url(at, size, &to[(*count)++])) != STREAM_OK) return rc;
    at += size + (at[size] == ',');
  }
  if (*count == 0) return stream_fail(STREAM_MISUSE, "--server names no server");
  return STREAM_OK;
}

/* So that a hundred replicas do not all ask the same one. */
static void shuffle(address *of, int count) {
  for (int i = count - 1; i > 0; i--) {
    unsigned random = 0;
    address other = of[i];
    int k;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random) return;
    k = (int)(random % (unsigned)(i + 1));
    of[i] = of[k];
    of[k] = other;
  }
}

/* ---------------------------------------------------------------------------------------- probe */
static int time_left(unsigned long long until) {
  unsigned long long now = ticks_ms();
  return now < until ? (int)(until - now) : 0;
}

static bool wait_for(int fd, short what, unsigned long long until) {
  struct pollfd one = { .fd = fd, .events = what };
  int n;
  do n = poll(&one, 1, time_left(until));
  while (n < 0 && errno == EINTR && !child_told());
  return n == 1;
}

static int reach_one(const struct addrinfo *at, unsigned long long until) {
  int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
  int error = 0;
  socklen_t size = sizeof error;
  if (fd < 0) return -1;
  if (connect(fd, at->ai_addr, at->ai_addrlen) == 0) return fd;
  if (errno == EINPROGRESS && wait_for(fd, POLLOUT, until)
      && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
    return fd;
  if (error == 0) error = ETIMEDOUT;
  close(fd);
  errno = error;
  return -1;
}

static stream_rc reach(const address *to, unsigned long long until, int *fd) {
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found, *at;
  int rc = getaddrinfo(to->host, to->port, &hints, &found);
  if (rc != 0) return stream_fail(STREAM_LOST, "%s:%s: %s", to->host, to->port, gai_strerror(rc));
  *fd = -1;
  for (at = found; at && *fd < 0; at = at->ai_next) *fd = reach_one(at, until);
  freeaddrinfo(found);
  if (*fd >= 0) return STREAM_OK;
  return stream_fail(STREAM_LOST, "%s:%s: no server can be reached: %s", to->host, to->port,
                     strerror(errno));
}

/* The line that a server begins with. */
static stream_rc read_line(const address *from, int fd, unsigned long long until, char *line,
                           size_t *size) {
  *size = 0;
  while (*size < INFO_MOST) {
    char *end;
    ssize_t n;
    if (!wait_for(fd, POLLIN, until))
      return stream_fail(STREAM_LOST, "%s:%s: the server says nothing", from->host, from->port);
    n = read(fd, line + *size, INFO_MOST - *size);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0)
      return stream_fail(STREAM_LOST, "%s:%s: the server hangs up", from->host, from->port);
    end = memchr(line + *size, '\n', (size_t)n);
    *size += (size_t)n;
    if (end == NULL) continue;
    *size = (size_t)(end - line);
    if (*size > 0 && line[*size - 1] == '\r') --*size;
    return STREAM_OK;
  }
  return stream_fail(STREAM_WRONG, "%s:%s: its first line has no end", from->host, from->port);
}

static stream_rc understand(const address *from, const char *line, size_t size, server_info *info) {
  maph_slice text;
  json_reader in;
  if (size < 5 || memcmp(line, "INFO ", 5) != 0)
    return stream_fail(STREAM_WRONG, "%s:%s: this is no NATS server", from->host, from->port);
  text = maph_bytes(line + 5, size - 5);
  if (!json_whole(text, &in) || !answer_text(text, "version", info->version, sizeof info->version)
      || !answer_number(text, "max_payload", INT_MAX, 1048576, &info->max_payload))
    return stream_fail(STREAM_WRONG, "%s:%s: its INFO cannot be read", from->host, from->port);
  info->tls = from->tls || answer_true(text, "tls_required");
  snprintf(info->url, sizeof info->url, "%s://%s%.255s%s:%.7s", info->tls ? "tls" : "nats",
           strchr(from->host, ':') ? "[" : "", from->host, strchr(from->host, ':') ? "]" : "",
           from->port);
  return STREAM_OK;
}

static stream_rc probe(const address *to, server_info *info) {
  unsigned long long until = ticks_ms() + CONNECT_MS;
  char *line = malloc(INFO_MOST);
  size_t size;
  int fd = -1;
  stream_rc rc = line ? reach(to, until, &fd) : stream_fail(STREAM_MEMORY, "out of memory");
  memset(info, 0, sizeof *info);
  if (rc == STREAM_OK) rc = read_line(to, fd, until, line, &size);
  if (rc == STREAM_OK) rc = understand(to, line, size, info);
  if (fd >= 0) close(fd);
  free(line);
  return rc;
}

/* -------------------------------------------------------------------------------------- sign in */
static stream_rc read_secret(const char *path, char *room, size_t size) {
  FILE *file = fopen(path, "re");
  if (file == NULL || fgets(room, (int)size, file) == NULL) {
    if (file) fclose(file);
    return stream_fail(STREAM_MISUSE, "%s: no secret can be read from it: %s", path,
                       file ? "it is empty" : strerror(errno));
  }
  fclose(file);
  room[strcspn(room, "\r\n")] = 0;
  return STREAM_OK;
}

/* libnats does not say which file it could not read. */
static stream_rc look_at_files(void) {
  const char *const paths[] = { option.creds, option.nkey, option.tls_ca, option.tls_cert,
                                option.tls_key };
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
    if (paths[i] && access(paths[i], R_OK) != 0)
      return stream_fail(STREAM_MISUSE, "%s: it cannot be read: %s", paths[i], strerror(errno));
  }
  return STREAM_OK;
}

static stream_rc look_at_pairs(void) {
  if (option.user && option.password_file == NULL)
    return stream_fail(STREAM_MISUSE, "--user needs --password-file");
  if (option.password_file && option.user == NULL)
    return stream_fail(STREAM_MISUSE, "--password-file needs --user");
  if (option.nkey && option.nkey_public == NULL)
    return stream_fail(STREAM_MISUSE, "--nkey needs --nkey-public, the key that begins with U");
  if (option.tls_key && option.tls_cert == NULL)
    return stream_fail(STREAM_MISUSE, "--tls-key needs --tls-cert");
  return STREAM_OK;
}

static bool is_loopback(const char *host) {
  return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0
         || strcmp(host, "::1") == 0;
}

static stream_rc sign(natsOptions *options, const address *to, const server_info *info) {
  char secret[4096];
  natsStatus status = NATS_OK;
  stream_rc rc = STREAM_OK;
  if ((option.password_file || option.token_file) && !info->tls && !option.plaintext
      && !is_loopback(to->host))
    return stream_fail(STREAM_MISUSE,
                       "%s: the secret would cross the network in plain text: use tls://, or say "
                       "--plaintext",
                       info->url);
  if (option.creds) status = natsOptions_SetUserCredentialsFromFiles(options, option.creds, NULL);
  if (status == NATS_OK && option.nkey)
    status = natsOptions_SetNKeyFromSeed(options, option.nkey_public, option.nkey);
  if (status == NATS_OK && option.user) {
    rc = read_secret(option.password_file, secret, sizeof secret);
    if (rc == STREAM_OK) status = natsOptions_SetUserInfo(options, option.user, secret);
  }
  if (status == NATS_OK && rc == STREAM_OK && option.token_file) {
    rc = read_secret(option.token_file, secret, sizeof secret);
    if (rc == STREAM_OK) status = natsOptions_SetToken(options, secret);
  }
  explicit_bzero(secret, sizeof secret);
  return rc == STREAM_OK ? connect_failed(status, "signing in", info->url) : rc;
}

static stream_rc secure(natsOptions *options, const address *to, const server_info *info) {
  natsStatus status = NATS_OK;
  if (!info->tls && (option.tls_ca || option.tls_cert))
    return stream_fail(STREAM_MISUSE, "%s: the server offers no TLS, and a certificate was given",
                       info->url);
  if (!info->tls) return STREAM_OK;
  status = natsOptions_SetSecure(options, true);
  if (status == NATS_OK) status = natsOptions_SetExpectedHostname(options, to->host);
  if (status == NATS_OK && option.tls_ca)
    status = natsOptions_LoadCATrustedCertificates(options, option.tls_ca);
  if (status == NATS_OK && option.tls_cert)
    status = natsOptions_LoadCertificatesChain(options, option.tls_cert,
                                               option.tls_key ? option.tls_key : option.tls_cert);
  if (status == NATS_OK) return STREAM_OK;
  return stream_fail(STREAM_MISUSE, "%s: the certificates cannot be used: %s", info->url,
                     natsStatus_GetText(status));
}

void connect_inbox(char room[256]) {
  static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
  unsigned char random[22];
  int at = snprintf(room, 200, "%.150s.", option.inbox_prefix ? option.inbox_prefix : "_INBOX");
  if (getrandom(random, sizeof random, 0) != sizeof random) memset(random, getpid(), sizeof random);
  for (size_t i = 0; i < sizeof random; i++) room[at++] = letters[random[i] & 63];
  room[at] = 0;
}

static natsStatus set_up(natsOptions *options, const server_info *info) {
  natsStatus status = natsOptions_SetURL(options, info->url);
  if (status == NATS_OK) status = natsOptions_SetAllowReconnect(options, false);
  if (status == NATS_OK) status = natsOptions_SetTimeout(options, CONNECT_MS);
  if (status == NATS_OK) status = natsOptions_SetName(options, "maph-replica");
  /* Beyond 2,097,151 libnats 3.4.1 computes a limit of bytes below zero. */
  if (status == NATS_OK) status = natsOptions_SetMaxPendingMsgs(options, 2000000);
  if (status == NATS_OK) status = natsOptions_SetPingInterval(options, 20000);
  if (status == NATS_OK) status = natsOptions_SetIOBufSize(options, 128 * 1024);
  if (status == NATS_OK && option.inbox_prefix)
    status = natsOptions_SetCustomInboxPrefix(options, option.inbox_prefix);
  return status;
}

static stream_rc sign_in(const address *to, const server_info *info, connection **made) {
  natsOptions *options = NULL;
  connection *connection = calloc(1, sizeof *connection);
  natsStatus status = natsOptions_Create(&options);
  stream_rc rc = connection ? STREAM_OK : stream_fail(STREAM_MEMORY, "out of memory");
  if (status == NATS_OK) status = set_up(options, info);
  if (rc == STREAM_OK) rc = connect_failed(status, "setting up", info->url);
  if (rc == STREAM_OK) rc = secure(options, to, info);
  if (rc == STREAM_OK) rc = sign(options, to, info);
  if (rc == STREAM_OK)
    rc = connect_failed(natsConnection_Connect(&connection->nats, options), "connect", info->url);
  natsOptions_Destroy(options);
  if (rc != STREAM_OK) {
    free(connection);
    return rc;
  }
  connection->server = *info;
  connection->patience_ms = STREAM_PATIENCE_MS;
  *made = connection;
  return STREAM_OK;
}

stream_rc connection_open(connection **made) {
  static __thread address to[SERVERS_MOST];
  server_info info;
  int count;
  stream_rc rc = read_urls(to, &count);
  *made = NULL;
  if (rc == STREAM_OK) rc = look_at_pairs();
  if (rc == STREAM_OK) rc = look_at_files();
  if (rc != STREAM_OK) return rc;
  shuffle(to, count);
  for (int i = 0; i < count; i++) {
    rc = probe(&to[i], &info);
    if (rc == STREAM_OK) rc = sign_in(&to[i], &info, made);
    if (rc == STREAM_OK || rc == STREAM_MISUSE || rc == STREAM_MEMORY) break;
  }
  return rc;
}

stream_rc connection_open_alone(connection **made) {
  uint64_t servers = 1;
  stream_rc rc;
  for (const char *at = option.server; *at; at++) servers += *at == ',';
  watchdog_begin(servers * (2 * CONNECT_MS + 1000), "the server fell silent");
  rc = connection_open(made);
  watchdog_end();
  return rc;
}

void connection_patience(connection *connection, int ms) { connection->patience_ms = ms; }

void connection_close(connection *connection) {
  if (connection == NULL) return;
  natsConnection_Close(connection->nats);
  natsConnection_Destroy(connection->nats);
  connect_free_consumers(connection);
  connect_free_pipe(connection);
  natsSubscription_Destroy(connection->stored);
  natsSubscription_Destroy(connection->answers);
  free(connection);
}

const server_info *connection_server(const connection *connection) { return &connection->server; }

bool connection_before(const connection *connection, unsigned major, unsigned minor,
                       unsigned patch) {
  unsigned is[3] = { 0, 0, 0 }, asked[3] = { major, minor, patch };
  if (sscanf(connection->server.version, "%u.%u.%u", &is[0], &is[1], &is[2]) != 3) return true;
  for (int i = 0; i < 3; i++)
    if (is[i] != asked[i]) return is[i] < asked[i];
  return false;
}

bool connection_lost(connection *connection) { return natsConnection_IsClosed(connection->nats); }
