/*
** peer_redis.c - Redis: a server that this program starts in the store's folder, spoken to over a
** Unix socket there, one command at a time; get_many is MGET, a batch is MSET (which is atomic).
** The append-only file is written without flushes at LEVEL_OFF and flushed before each answer at
** LEVEL_FULL.  Another process, or thread, that opens the same folder talks to the same server.
**
** The protocol (RESP) is spoken here: a command is "*N" and then "$SIZE" and bytes for each word;
** answers are "+text", "-error", ":number", "$SIZE" and bytes ("$-1": none), "*N" and as many
** answers; every line ends with CR LF.
*/
#ifdef BENCH_REDIS
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* SCAN is asked for 1,000 keys, and gives more where they collide */
enum { SCAN_ROOM = 100000, PATIENCE_MS = 120000 };

typedef struct redis_store {
  pid_t server; /* 0: another process, or another thread's store, started it */
  int fd;
  char folder[512];
  value_buffer out; /* the command under construction */
  size_t out_size;
  /* what was received and not dropped yet; slices handed out point into it */
  value_buffer in;
  size_t in_size, at;
} redis_store;

/* ------------------------------------------------------------------------------- the connection */
static void append(redis_store *s, const void *data, size_t size) {
  if (s->out_size + size > s->out.room) {
    size_t room = 2 * (s->out_size + size);
    s->out.data = realloc(s->out.data, room);
    if (!s->out.data) fail("out of memory");
    s->out.room = room;
  }
  memcpy(s->out.data + s->out_size, data, size);
  s->out_size += size;
}

static void append_number(redis_store *s, char kind, size_t number) {
  char text[32];
  append(s, text, (size_t)snprintf(text, sizeof text, "%c%zu\r\n", kind, number));
}

static void word(redis_store *s, slice w) {
  append_number(s, '$', w.size);
  append(s, w.data, w.size);
  append(s, "\r\n", 2);
}

/* Begin a command of so many words; what was handed out before is gone. */
static void command(redis_store *s, const char *name, size_t words) {
  s->out_size = s->in_size = s->at = 0;
  append_number(s, '*', words);
  word(s, maph_str(name));
}

static void send_all(redis_store *s) {
  for (size_t sent = 0; sent < s->out_size;) {
    ssize_t n = send(s->fd, s->out.data + sent, s->out_size - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("redis: cannot send: %s", strerror(errno));
    sent += (size_t)n;
  }
}

static void receive(redis_store *s) {
  if (s->in.room - s->in_size < 65536) {
    s->in.room = 2 * s->in.room + 65536;
    s->in.data = realloc(s->in.data, s->in.room);
    if (!s->in.data) fail("out of memory");
  }
  ssize_t n = recv(s->fd, s->in.data + s->in_size, s->in.room - s->in_size, 0);
  if (n <= 0 && errno != EINTR) fail("redis: the server went away");
  if (n > 0) s->in_size += (size_t)n;
}

/* The first line of an answer, received as far as needed: its kind, and the number in it. */
static char answer_head(redis_store *s, long *number) {
  char *end;
  while (!s->in_size || !(end = memchr(s->in.data + s->at, '\n', s->in_size - s->at))) receive(s);
  char *line = s->in.data + s->at;
  if (*line == '-') fail("redis: %.*s", (int)(end - line - 1), line);
  *number = strtol(line + 1, NULL, 10);
  s->at = (size_t)(end + 1 - s->in.data);
  return *line;
}

/* Bytes; data NULL: none.  Good until more is received. */
static slice answer_bytes(redis_store *s) {
  long size;
  if (answer_head(s, &size) != '$') fail("redis: an answer of another kind than bytes");
  if (size < 0) return maph_bytes(NULL, 0);
  while (s->in_size - s->at < (size_t)size + 2) receive(s);
  slice found = maph_bytes(s->in.data + s->at, (size_t)size);
  s->at += (size_t)size + 2;
  return found;
}

/* n of them: once to have received them all, then again, as the buffer no longer moves. */
static void answer_list(redis_store *s, size_t n, slice *list) {
  size_t start = s->at;
  for (size_t i = 0; i < n; i++) answer_bytes(s);
  s->at = start;
  for (size_t i = 0; i < n; i++) list[i] = answer_bytes(s);
}

/* ----------------------------------------------------------------------------------- the server */
static void start_server(redis_store *s, level at) {
  s->server = fork();
  if (s->server < 0) fail("redis: cannot fork: %s", strerror(errno));
  if (s->server > 0) return;
  int null = open("/dev/null", O_RDWR);
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* it does not outlive the benchmark */
  signal(SIGINT, SIG_IGN);
  dup2(null, 0);
  dup2(null, 1);
  execlp("redis-server", "redis-server", "--port", "0", "--dir", s->folder, "--unixsocket",
         "redis.sock", "--save", "", "--appendonly", "yes", "--auto-aof-rewrite-percentage", "0",
         "--appendfsync", at == LEVEL_FULL ? "always" : "no", "--daemonize", "no", (char *)NULL);
  _exit(127);
}

/* 0, or -1: nobody listens yet.  The folder's path may be longer than a socket's address may be: it
** is gone by its descriptor. */
static int try_connect(redis_store *s) {
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int folder = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) fail("redis: cannot open %s: %s", s->folder, strerror(errno));
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/redis.sock", folder);
  s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int rc = connect(s->fd, (struct sockaddr *)&address, sizeof address);
  close(folder);
  if (rc) close(s->fd);
  return rc;
}

/* A server that reads its file in answers LOADING until it is done. */
static int is_ready(redis_store *s) {
  s->out_size = s->in_size = s->at = 0;
  append(s, "PING\r\n", 6);
  send_all(s);
  while (!s->in_size || s->in.data[s->in_size - 1] != '\n') receive(s);
  return s->in.data[0] == '+';
}

static redis_store *new_store(const char *folder) {
  redis_store *s = calloc(1, sizeof *s);
  if (!s) fail("out of memory");
  snprintf(s->folder, sizeof s->folder, "%s", folder);
  return s;
}

static void *redis_open(const char *folder, level at) {
  redis_store *s = new_store(folder);
  int waited = 0;
  if (try_connect(s)) {
    start_server(s, at);
    while (try_connect(s)) {
      if (waitpid(s->server, NULL, WNOHANG) == s->server) fail("redis: the server did not start");
      if (++waited > PATIENCE_MS) fail("redis: the server did not listen");
      usleep(1000);
    }
  }
  while (!is_ready(s)) {
    if (++waited > PATIENCE_MS) fail("redis: the server did not finish loading");
    usleep(1000);
  }
  return s;
}

static void *redis_reader(void *store) {
  redis_store *s = new_store(((redis_store *)store)->folder);
  if (try_connect(s)) fail("redis: cannot connect a second time");
  return s;
}

static void redis_close(void *store) {
  redis_store *s = store;
  close(s->fd);
  if (s->server) {
    kill(s->server, SIGTERM);
    while (waitpid(s->server, NULL, 0) < 0 && errno == EINTR)
      ;
    char path[600];
    snprintf(path, sizeof path, "%s/redis.sock", s->folder);
    unlink(path);
  }
  free(s->out.data);
  free(s->in.data);
  free(s);
}

static const char *redis_version(void) {
  static char version[64];
  char line[128] = "", number[32] = "?";
  FILE *f = popen("redis-server --version", "r");
  if (f && fgets(line, sizeof line, f)) sscanf(line, "Redis server v=%31s", number);
  if (f) pclose(f);
  snprintf(version, sizeof version, "Redis %s", number);
  return version;
}

/* -------------------------------------------------------------------------------- gets and puts */
static int redis_get(void *store, slice key, slice *value) {
  redis_store *s = store;
  command(s, "GET", 2);
  word(s, key);
  send_all(s);
  *value = answer_bytes(s);
  return value->data != NULL;
}

static void redis_get_many(void *store, size_t n, const slice *keys, slice *values) {
  redis_store *s = store;
  long count;
  command(s, "MGET", n + 1);
  for (size_t i = 0; i < n; i++) word(s, keys[i]);
  send_all(s);
  if (answer_head(s, &count) != '*' || (size_t)count != n)
    fail("redis: MGET answered something else");
  answer_list(s, n, values);
}

static void redis_put_batch(void *store, size_t n, const slice *keys, const slice *values) {
  redis_store *s = store;
  long number;
  command(s, "MSET", 2 * n + 1);
  for (size_t i = 0; i < n; i++) {
    word(s, keys[i]);
    word(s, values[i]);
  }
  send_all(s);
  answer_head(s, &number);
}

static void redis_put(void *store, slice key, slice value) {
  redis_put_batch(store, 1, &key, &value);
}

/* One SCAN: the keys of a stretch of the table, as many as it gives; the cursor moves on, to "0" at
** the end. */
static size_t scan_keys(redis_store *s, char cursor[32], slice keys[SCAN_ROOM]) {
  long n;
  command(s, "SCAN", 4);
  word(s, maph_str(cursor));
  word(s, maph_str("COUNT"));
  word(s, maph_str("1000"));
  send_all(s);
  answer_head(s, &n);
  slice next = answer_bytes(s);
  if (next.size < 1 || next.size > 31) fail("redis: SCAN answered something else");
  memcpy(cursor, next.data, next.size);
  cursor[next.size] = 0;
  answer_head(s, &n);
  if (n < 0 || n > SCAN_ROOM) fail("redis: SCAN gave more keys at once than it was asked for");
  answer_list(s, (size_t)n, keys);
  return (size_t)n;
}

/* SCAN gives keys; their values are then asked for together. */
static void redis_scan(void *store, scan_total *total) {
  /* buffers of its own: the keys stay while the values come */
  redis_store *s = store, walk = { .fd = s->fd };
  slice *keys = must_alloc(2 * SCAN_ROOM * sizeof *keys), *values = keys + SCAN_ROOM;
  char cursor[32] = "0";
  do {
    size_t n = scan_keys(&walk, cursor, keys);
    if (n) redis_get_many(s, n, keys, values);
    for (size_t i = 0; i < n; i++) scan_count(total, keys[i], values[i]);
  } while (strcmp(cursor, "0") != 0);
  free(keys);
  free(walk.in.data);
  free(walk.out.data);
}

const peer peer_redis = { .name = "redis",
                          .traits = SERVER,
                          .settings =
                              "a server over a Unix socket, one command at a time; get_many: MGET, "
                              "batch: MSET; no flush: appendfsync no; durable: always",
                          .version = redis_version,
                          .create = redis_open,
                          .open = redis_open,
                          .close = redis_close,
                          .get = redis_get,
                          .get_many = redis_get_many,
                          .put = redis_put,
                          .put_batch = redis_put_batch,
                          .scan = redis_scan,
                          .reader = redis_reader,
                          .reader_close = redis_close };
#endif
