/*
** web_catalogue.c - a web back end that reads its catalogue straight from a maph store, while
** maph-server, another user's process, writes it.
**
** usage: web_catalogue STORE PORT
** GET /products/SKU answers the JSON under that key.  PORT 0 means any free one, which is printed.
**
** Each thread has a handle of its own and refreshes it between requests, and each second without
** one: a value goes from the mapped file to the socket without a copy, and after a compaction
** nobody holds on to the old file.
*/
#include <maph.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

enum { THREADS = 4, REQUEST_MAX = 4096 };

typedef struct worker {
  pthread_t thread;
  maph *m;
  int listener;
} worker;

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* "%2F" in a path is a slash of the key.  The key's size; 0 when it is empty or not well formed. */
static size_t decode(char *text) {
  char *from = text, *to = text;
  for (; *from; from++, to++) {
    *to = *from;
    if (*from != '%') continue;
    if (hex(from[1]) < 0 || hex(from[2]) < 0) return 0;
    *to = (char)(hex(from[1]) * 16 + hex(from[2]));
    from += 2;
  }
  return (size_t)(to - text);
}

/* All of both pieces, whatever the kernel takes at a time. */
static void send_both(int s, struct iovec piece[2]) {
  while (piece[0].iov_len + piece[1].iov_len > 0) {
    ssize_t n = writev(s, piece, 2);
    if (n <= 0) return;
    for (int i = 0; i < 2; i++) {
      size_t part = (size_t)n < piece[i].iov_len ? (size_t)n : piece[i].iov_len;
      piece[i].iov_base = (char *)piece[i].iov_base + part;
      piece[i].iov_len -= part;
      n -= (ssize_t)part;
    }
  }
}

static void answer(int s, const char *status, maph_slice body) {
  char head[200];
  int size = snprintf(head, sizeof head,
                      "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: "
                      "%zu\r\nConnection: close\r\n\r\n",
                      status, body.size);
  struct iovec piece[2] = { { head, (size_t)size }, { (void *)body.data, body.size } };
  send_both(s, piece);
}

static void answer_product(int s, maph *m, maph_slice sku) {
  maph_slice product;
  int rc = maph_get(m, sku, &product);
  if (rc == MAPH_OK)
    answer(s, "200 OK", product);
  else if (rc == MAPH_NOTFOUND)
    answer(s, "404 Not Found", maph_str("{\"error\":\"no such product\"}"));
  else {
    fprintf(stderr, "web_catalogue: %s\n", maph_errmsg(m));
    answer(s, "500 Internal Server Error",
           maph_str("{\"error\":\"the catalogue cannot be read\"}"));
  }
}

/* The head of one request, up to its empty line. */
static void serve(int s, maph *m) {
  static const char prefix[] = "GET /products/";
  char request[REQUEST_MAX + 1], *end;
  size_t have = 0, size;
  ssize_t n;
  do {
    n = read(s, request + have, REQUEST_MAX - have);
    if (n <= 0) return;
    have += (size_t)n;
    request[have] = 0;
  } while (strstr(request, "\r\n\r\n") == NULL);
  end = strstr(request, " HTTP/1.");
  if (strncmp(request, prefix, strlen(prefix)) == 0 && end) {
    char *sku = request + strlen(prefix);
    *end = 0;
    size = decode(sku);
    if (size > 0) {
      answer_product(s, m, maph_bytes(sku, size));
      return;
    }
  }
  answer(s, "400 Bad Request", maph_str("{\"error\":\"GET /products/SKU\"}"));
}

static void *work(void *arg) {
  worker *worker = arg;
  for (;;) {
    int s = accept(worker->listener, NULL, NULL);
    maph_refresh(worker->m);
    if (s < 0) continue; /* nobody came for a second */
    serve(s, worker->m);
    close(s);
  }
  return NULL;
}

static int listen_on(long port) {
  struct sockaddr_in address = { .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  struct timeval wait = { .tv_sec = 1 };
  socklen_t size = sizeof address;
  int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
      || bind(s, (struct sockaddr *)&address, size) != 0 || listen(s, 64) != 0
      || setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0
      || getsockname(s, (struct sockaddr *)&address, &size) != 0) {
    fprintf(stderr, "web_catalogue: port %ld of 127.0.0.1: %s\n", port, strerror(errno));
    exit(1);
  }
  printf("http://127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return s;
}

int main(int argc, char **argv) {
  worker worker[THREADS];
  char *end = NULL;
  long port = argc == 3 ? strtol(argv[2], &end, 10) : -1;
  int listener;
  if (port < 0 || port > 65535 || end == argv[2] || *end) {
    fprintf(stderr, "usage: web_catalogue STORE PORT     (0 to 65535)\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < THREADS; i++) {
    if (maph_open(argv[1], MAPH_RDONLY, NULL, &worker[i].m) != MAPH_OK) {
      fprintf(stderr, "web_catalogue: %s\n", maph_errmsg(NULL));
      return 1;
    }
  }
  listener = listen_on(port);
  for (int i = 0; i < THREADS; i++) {
    worker[i].listener = listener;
    if (pthread_create(&worker[i].thread, NULL, work, &worker[i]) != 0) return 1;
  }
  pthread_join(worker[0].thread, NULL);
  return 0;
}
