/*
** send_requests.c - requests with bytes changed, cut out and doubled, over sockets: send_requests
** PORT COUNT SEED FOLDER
**
** FOLDER holds requests to begin with, a file each: a byte that is skipped, then the request with
** \n for line ends in its head.  Eight threads send COUNT requests in all, some after one another
** on a connection, and read until the server closes.  Each thread's random numbers come from SEED
** and its own number, so a run can be made again, but for how the threads' requests mix.
**
** Prints how many were sent and how many connections brought an answer.  Exit status 1: the server
** took no connection any more, or kept one open that it should have closed.
*/
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
  THREADS = 8,
  SEEDS_MAX = 64,
  ROOM = 1 << 16,
  EACH_AT_MOST = 8,
  SILENCE_S = 30,
  ATTEMPTS = 200
};
typedef struct text {
  char data[ROOM];
  size_t size;
} text;
static text seeds[SEEDS_MAX];
static int seed_count, port;
static uint64_t seed;
static char filler[5000];
static atomic_llong left;
static atomic_ullong sent, answered;
static atomic_bool failed;

/* ------------------------------------------------------------------------------------ mutations */
static uint64_t next(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}
static size_t below(uint64_t *state, size_t n) { return n ? (size_t)(next(state) >> 11) % n : 0; }

static void insert(text *text, size_t at, const char *bytes, size_t size) {
  if (text->size + size > ROOM) return;
  memmove(text->data + at + size, text->data + at, text->size - at);
  memcpy(text->data + at, bytes, size);
  text->size += size;
}

static void take_out(text *text, size_t at, size_t size) {
  if (size > text->size - at) size = text->size - at;
  memmove(text->data + at, text->data + at + size, text->size - at - size);
  text->size -= size;
}

static void double_from(text *text, size_t at) {
  size_t size = text->size - at;
  if (size > ROOM - text->size) return;
  memcpy(text->data + text->size, text->data + at, size);
  text->size += size;
}

static void mutate(text *text, uint64_t *state) {
  static const char *const pieces[] = { "%",
                                        "%00",
                                        "%2f",
                                        "\"",
                                        "\\",
                                        "\r\n",
                                        "\xff",
                                        "[",
                                        "{",
                                        ":",
                                        ",",
                                        "/",
                                        "..",
                                        "0",
                                        "-1",
                                        "99999999999999999999",
                                        "chunked",
                                        "100-continue",
                                        "Content-Length: 3\r\n",
                                        "Host: x\r\n",
                                        "Transfer-Encoding: chunked\r\n",
                                        "\r\n\r\n",
                                        "?since=0",
                                        "&wait=0",
                                        "keep-alive",
                                        "Upgrade" };
  size_t at = below(state, text->size);
  const char *piece = pieces[below(state, sizeof pieces / sizeof pieces[0])];
  switch (below(state, 5)) {
    case 0:
      if (text->size) text->data[at] = (char)next(state);
      break;
    case 1: take_out(text, at, 1 + below(state, 20)); break;
    case 2: insert(text, at, piece, strlen(piece)); break;
    case 3: double_from(text, at); break;
    default: insert(text, at, filler, below(state, sizeof filler)); break;
  }
}

/* ---------------------------------------------------------------------------------- connections */
/* A connected socket, from one of many loopback addresses, so that ports do not run out. */
static int connect_to_server(uint64_t *state) {
  struct sockaddr_in from = { .sin_family = AF_INET },
                     to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
  struct timeval silence = { .tv_sec = SILENCE_S };
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < ATTEMPTS; i++) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    from.sin_addr.s_addr = htonl(0x7F000000u | (uint32_t)(1 + below(state, 0xFFFFF0)));
    if (fd >= 0 && bind(fd, (struct sockaddr *)&from, sizeof from) == 0
        && connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence);
      return fd;
    }
    if (fd >= 0) close(fd);
    usleep(10000);
  }
  return -1;
}

static void send_all(int fd, const char *data, size_t size) {
  while (size > 0) {
    ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
    if (n <= 0) return; /* the server may close in the middle of nonsense */
    data += n;
    size -= (size_t)n;
  }
}

/* Read to the end.  False: the server neither answers nor closes. */
static bool read_all(int fd, bool *got) {
  char waste[4096];
  for (;;) {
    ssize_t n = recv(fd, waste, sizeof waste, 0);
    if (n > 0)
      *got = true;
    else
      return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
  }
}

static bool one_connection(uint64_t *state, text *text) {
  size_t requests = 1 + below(state, EACH_AT_MOST);
  int fd = connect_to_server(state);
  struct linger at_once = { 1, 0 };
  bool got = false, ended;
  if (fd < 0) return false;
  for (size_t i = 0; i < requests; i++) {
    memcpy(text, &seeds[below(state, (size_t)seed_count)], sizeof *text);
    for (size_t k = below(state, 5); k > 0; k--) mutate(text, state);
    send_all(fd, text->data, text->size);
  }
  shutdown(fd, SHUT_WR);
  ended = read_all(fd, &got);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(fd);
  atomic_fetch_add(&sent, requests);
  atomic_fetch_sub(&left, (long long)requests);
  if (got) atomic_fetch_add(&answered, 1);
  return ended;
}

static void *run(void *number) {
  uint64_t state =
      (seed + 1) * 0x9E3779B97F4A7C15u + (uint64_t)(uintptr_t)number * 0xBF58476D1CE4E5B9u;
  text *text = malloc(sizeof *text);
  if (state == 0) state = 1;
  while (text && atomic_load(&left) > 0 && !atomic_load(&failed))
    if (!one_connection(&state, text)) atomic_store(&failed, true);
  free(text);
  return NULL;
}

/* ---------------------------------------------------------------------------------------- start */
/* The head's \n become \r\n; Host is what the server goes by. */
static void read_seed(const char *path, text *text) {
  FILE *f = fopen(path, "rb");
  int c, last = 0;
  bool in_head = true;
  if (f == NULL) return;
  fgetc(f);
  while ((c = fgetc(f)) != EOF && text->size < ROOM / 2) {
    if (in_head && c == '\n') text->data[text->size++] = '\r';
    if (c == '\n' && last == '\n') in_head = false;
    text->data[text->size++] = (char)c;
    last = c;
  }
  fclose(f);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static void read_seeds(const char *folder) {
  struct dirent **entries;
  int n = scandir(folder, &entries, NULL, by_name);
  for (int i = 0; i < n; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
    if (entries[i]->d_name[0] != '.' && seed_count < SEEDS_MAX)
      read_seed(path, &seeds[seed_count++]);
    free(entries[i]);
  }
  if (n >= 0) free(entries);
}

int main(int argc, char **argv) {
  pthread_t threads[THREADS];
  if (argc != 5) {
    fprintf(stderr, "send_requests PORT COUNT SEED FOLDER\n");
    return 2;
  }
  port = atoi(argv[1]);
  atomic_store(&left, atoll(argv[2]));
  seed = strtoull(argv[3], NULL, 10);
  memset(filler, 'a', sizeof filler);
  read_seeds(argv[4]);
  if (seed_count == 0) {
    fprintf(stderr, "no requests in %s\n", argv[4]);
    return 2;
  }
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)(i + 1)) != 0) return 2;
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  printf("%llu requests, %llu connections answered\n", (unsigned long long)atomic_load(&sent),
         (unsigned long long)atomic_load(&answered));
  return atomic_load(&failed);
}
