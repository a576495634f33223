/*
** fake.c - a NATS server with one bucket that does what a real one rarely does: fake-nats PORT
** BUCKET
**
** It listens at 127.0.0.1:PORT and takes orders on standard input, a line each, and answers each
** with a line: "ok ..." or "no ...".  HEX is hexadecimal digits, or - for nothing.
**
**     put KEY HEX ?HEX?        a message, with a block of headers; ok SEQUENCE
**     forget SEQUENCE          that message is gone
**     rollback SEQUENCE        all behind it are, as after a restart on an older copy
**     place SEQUENCE KEY HEX   that message is there, whatever was; no consumer is told, as where
**                              the leader was killed and came back with an older message
**     shorten SEQUENCE         all behind it are gone, and no consumer is told
**     replicas COUNT           the bucket is one of so many servers
**     drops 1                  the bucket says that it lets go of the oldest where it is full
**     recreate                 the bucket is deleted, its consumers with it, and made anew
**     close                    all connections end
**     mute info|all|api|delivery|heartbeat
**                              says nothing, nothing after INFO, nothing to requests, delivers
**                              nothing and sends no heartbeat, sends no heartbeat
**     ignore NAME ?COUNT?      requests of NAME (STREAM.INFO) get no answer; only so many
**     slow MS ?NAME?           answers to requests, of NAME alone, come so much later
**     sizes HEADERS,ALL        what all messages say of theirs; ALL alone: of those without headers
**     delay MS                 messages are delivered when they are that old
**     hold SEQUENCE            that message and those behind it are there and counted, and not
**                              delivered; 0: all are
**     lag COUNT                STREAM.INFO tells so many messages less, as a leader that is behind
**                              the server that delivers
**     info HEX                 instead of the INFO line
**     answer NAME COUNT HEX    to requests of NAME (STREAM.INFO), from the COUNT-th from now on
**     twist SEQUENCE KIND ?HEX? ?always?    see deliver.c
**     heartbeat HEX            to all consumers now: "A B", the last of the consumer and stream
**     raw HEX                  to all connections now
**     wild SEED PERCENT        all that at random, at so many of 100 occasions
**     well                     from now on all as it should be; connections stay
**     counts                   requests: ok NAME=COUNT ...
**     dump                     living messages: ok {SEQUENCE KEY HEX MARKER} ...
**
** It ends with its input.
*/
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "fake.h"

trouble the_trouble;

/* ---------------------------------------------------------------------------------------- bytes */
void bytes_add(bytes *to, const void *data, size_t size) {
  if (to->size + size > to->room) {
    to->room = (to->size + size) * 2 + 64;
    to->data = realloc(to->data, to->room);
    if (to->data == NULL) abort();
  }
  if (size) memcpy(to->data + to->size, data, size);
  to->size += size;
}
void bytes_print(bytes *to, const char *format, ...) {
  va_list ap;
  int size;
  char *text;
  va_start(ap, format);
  size = vasprintf(&text, format, ap);
  va_end(ap);
  if (size < 0) abort();
  bytes_add(to, text, (size_t)size);
  free(text);
}
static int digit(char c) {
  const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;
  return at ? (int)(at - digits) : -1;
}
bool bytes_hex(bytes *to, const char *digits) {
  to->size = 0;
  if (strcmp(digits, "-") == 0) return true;
  for (; digits[0] && digits[1]; digits += 2) {
    int high = digit(digits[0]), low = digit(digits[1]);
    char byte = (char)(high * 16 + low);
    if (high < 0 || low < 0) return false;
    bytes_add(to, &byte, 1);
  }
  return digits[0] == 0;
}
void bytes_cut(bytes *of, size_t size) {
  memmove(of->data, of->data + size, of->size - size);
  of->size -= size;
}

/* --------------------------------------------------------------------------------------- chance */
uint64_t wild_below(uint64_t n) {
  uint64_t x = the_trouble.wild;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  the_trouble.wild = x;
  return n ? (x >> 11) % n : 0;
}
bool wild_now(void) { return the_trouble.wild && wild_below(100) < the_trouble.percent; }

/* --------------------------------------------------------------------------------------- orders */
static bytes answer_line;

static void well(void) {
  for (int i = 0; i < the_trouble.answer_count; i++) free(the_trouble.answers[i].text.data);
  for (int i = 0; i < the_trouble.twist_count; i++) free(the_trouble.twists[i].argument.data);
  free(the_trouble.info.data);
  memset(&the_trouble, 0, sizeof the_trouble);
}

static bool order_answer(int count, char **word) {
  answer *a = &the_trouble.answers[the_trouble.answer_count];
  bytes counts = { 0 };
  char pattern[80];
  const char *found;
  if (count != 4 || the_trouble.answer_count == ANSWERS) return false;
  snprintf(a->name, sizeof a->name, "%s", word[1]);
  snprintf(pattern, sizeof pattern, " %s=", word[1]);
  speak_counts(&counts);
  bytes_add(&counts, "", 1);
  found = strstr(counts.data, pattern);
  a->from = (found ? atoi(found + strlen(pattern)) : 0) + atoi(word[2]);
  free(counts.data);
  the_trouble.answer_count++;
  return bytes_hex(&a->text, word[3]);
}

static bool order_twist(int count, char **word) {
  twist *t = &the_trouble.twists[the_trouble.twist_count];
  if (count < 3 || count > 5 || the_trouble.twist_count == TWISTS) return false;
  t->sequence = strtoull(word[1], NULL, 10);
  t->always = count == 5;
  snprintf(t->kind, sizeof t->kind, "%s", word[2]);
  the_trouble.twist_count++;
  if (!bytes_hex(&t->argument, count > 3 ? word[3] : "-")) return false;
  bytes_add(&t->argument, "", 1);
  t->argument.size--;
  return true;
}

static bool order_put(int count, char **word) {
  bytes data = { 0 }, headers = { 0 };
  bool good =
      count >= 3 && bytes_hex(&data, word[2]) && bytes_hex(&headers, count > 3 ? word[3] : "-");
  if (good) bytes_print(&answer_line, " %" PRIu64, stream_put(word[1], &headers, &data));
  free(data.data);
  free(headers.data);
  return good;
}

static bool order_place(int count, char **word) {
  bytes data = { 0 };
  bool good = count == 4 && bytes_hex(&data, word[3])
              && stream_place(strtoull(word[1], NULL, 10), word[2], &data);
  free(data.data);
  return good;
}

static bool order_mute(const char *what) {
  static const char *const names[] = { "nothing", "info", "all", "api", "delivery", "heartbeat" };
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(names[i], what) != 0) continue;
    the_trouble.mute = (mute)i;
    return true;
  }
  return false;
}

static void hexadecimal(bytes *to, const bytes *from) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < from->size; i++) {
    unsigned char byte = (unsigned char)from->data[i];
    char two[2] = { digits[byte >> 4], digits[byte & 15] };
    bytes_add(to, two, 2);
  }
  if (from->size == 0) bytes_add(to, "-", 1);
}

/* {SEQUENCE KEY HEX 1 where it is a marker of a delete} ... */
static void order_dump(void) {
  for (uint64_t i = stream_next(1); i != 0; i = stream_next(i + 1)) {
    const message *m = &the_stream.messages[i];
    bool marker = m->headers.size && memmem(m->headers.data, m->headers.size, "KV-Operation", 12);
    bytes_print(&answer_line, " {%" PRIu64 " %s ", i, m->key);
    hexadecimal(&answer_line, &m->data);
    bytes_print(&answer_line, " %d}", marker);
  }
}

static bool order_heartbeat(const char *digits) {
  bytes text = { 0 };
  uint64_t a = 0, b = 0;
  bool good = bytes_hex(&text, digits);
  bytes_add(&text, "", 1);
  good = good && sscanf(text.data, "%" SCNu64 " %" SCNu64, &a, &b) == 2;
  for (int i = 0; i < the_connection_count && good; i++) {
    for (int k = 0; k < CONSUMERS; k++) {
      connection *c = &the_connections[i];
      if (c->consumers[k].used) deliver_heartbeat(c, &c->consumers[k], a, b);
    }
  }
  free(text.data);
  return good;
}

static bool order_raw(const char *digits) {
  bytes raw = { 0 };
  bool good = bytes_hex(&raw, digits);
  for (int i = 0; i < the_connection_count && good; i++)
    bytes_add(&the_connections[i].out, raw.data, raw.size);
  free(raw.data);
  return good;
}

static void end_consumers(void) {
  for (int i = 0; i < the_connection_count; i++)
    for (int k = 0; k < CONSUMERS; k++) the_connections[i].consumers[k].used = false;
}

/* As after a restart on an older copy. */
static void roll_back(uint64_t sequence) {
  stream_roll_back(sequence);
  for (int i = 0; i < the_connection_count; i++) the_connections[i].ended = true;
}

static bool order_of_stream(int count, char **word) {
  if (strcmp(word[0], "put") == 0) return order_put(count, word);
  if (strcmp(word[0], "recreate") == 0) {
    stream_begin(the_stream.name);
    end_consumers();
    return true;
  }
  if (strcmp(word[0], "place") == 0) return order_place(count, word);
  if (count != 2) return false;
  if (strcmp(word[0], "replicas") == 0)
    the_stream.replicas = atoi(word[1]);
  else if (strcmp(word[0], "drops") == 0)
    the_stream.drops = atoi(word[1]) != 0;
  else if (strcmp(word[0], "shorten") == 0)
    stream_roll_back(strtoull(word[1], NULL, 10));
  else if (strcmp(word[0], "forget") == 0)
    stream_forget(strtoull(word[1], NULL, 10));
  else if (strcmp(word[0], "rollback") == 0)
    roll_back(strtoull(word[1], NULL, 10));
  else
    return false;
  return true;
}

static bool order_of_trouble(int count, char **word) {
  if (strcmp(word[0], "answer") == 0) return order_answer(count, word);
  if (strcmp(word[0], "twist") == 0) return order_twist(count, word);
  if (strcmp(word[0], "well") == 0) {
    well();
    return true;
  }
  if (strcmp(word[0], "close") == 0) {
    for (int i = 0; i < the_connection_count; i++) the_connections[i].ended = true;
    return true;
  }
  if (count == 3 && strcmp(word[0], "wild") == 0) {
    the_trouble.wild = strtoull(word[1], NULL, 10) * 2654435761u + 1;
    the_trouble.percent = (unsigned)atoi(word[2]);
    return true;
  }
  if (strcmp(word[0], "ignore") == 0) {
    if (count < 2) return false;
    snprintf(the_trouble.ignored, sizeof the_trouble.ignored, "%s", word[1]);
    the_trouble.ignored_count = count > 2 ? atoi(word[2]) : INT_MAX;
    return true;
  }
  if (strcmp(word[0], "slow") == 0) {
    if (count < 2) return false;
    the_trouble.slow_ms = (unsigned)atoi(word[1]);
    snprintf(the_trouble.slow, sizeof the_trouble.slow, "%s", count > 2 ? word[2] : "");
    return true;
  }
  if (count != 2) return false;
  if (strcmp(word[0], "mute") == 0) return order_mute(word[1]);
  if (strcmp(word[0], "delay") == 0) {
    the_trouble.delay_ms = (unsigned)atoi(word[1]);
    return true;
  }
  if (strcmp(word[0], "hold") == 0) {
    the_trouble.held = strtoull(word[1], NULL, 10);
    return true;
  }
  if (strcmp(word[0], "lag") == 0) {
    the_trouble.lag = strtoull(word[1], NULL, 10);
    return true;
  }
  if (strcmp(word[0], "sizes") == 0) {
    snprintf(the_trouble.sizes, sizeof the_trouble.sizes, "%s", word[1]);
    return true;
  }
  if (strcmp(word[0], "info") == 0) return bytes_hex(&the_trouble.info, word[1]);
  if (strcmp(word[0], "heartbeat") == 0) return order_heartbeat(word[1]);
  if (strcmp(word[0], "raw") == 0) return order_raw(word[1]);
  return false;
}

static void order(char *line) {
  char *word[8], *at;
  int count = 0;
  bool good;
  for (char *token = strtok_r(line, " ", &at); token && count < 8; token = strtok_r(NULL, " ", &at))
    word[count++] = token;
  if (count == 0) return;
  answer_line.size = 0;
  if (strcmp(word[0], "counts") == 0) {
    speak_counts(&answer_line);
    good = true;
  } else if (strcmp(word[0], "dump") == 0) {
    order_dump();
    good = true;
  } else {
    good = order_of_stream(count, word) || order_of_trouble(count, word);
  }
  printf("%s%.*s\n", good ? "ok" : "no", (int)answer_line.size,
         answer_line.size ? answer_line.data : "");
  fflush(stdout);
}

static bytes orders;

/* False: the input has ended. */
static bool take_orders(void) {
  static char room[65536];
  ssize_t size = read(STDIN_FILENO, room, sizeof room);
  char *end;
  if (size <= 0) return false;
  bytes_add(&orders, room, (size_t)size);
  while ((end = orders.size ? memchr(orders.data, '\n', orders.size) : NULL) != NULL) {
    *end = 0;
    order(orders.data);
    bytes_cut(&orders, (size_t)(end - orders.data) + 1);
  }
  return true;
}

/* ---------------------------------------------------------------------------------- connections */
uint64_t ticks_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void accept_one(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  connection *c = &the_connections[the_connection_count];
  if (fd < 0) return;
  if (the_connection_count == CONNECTIONS) {
    close(fd);
    return;
  }
  memset(c, 0, sizeof *c);
  c->fd = fd;
  the_connection_count++;
  speak_begin(c);
}

static void end_connection(int i) {
  connection *c = &the_connections[i];
  close(c->fd);
  free(c->in.data);
  free(c->out.data);
  free(c->late.data);
  *c = the_connections[--the_connection_count];
}

/* False: the connection is gone. */
static bool serve(connection *c, short events) {
  static char room[65536];
  if (events & (POLLIN | POLLHUP | POLLERR)) {
    ssize_t size = read(c->fd, room, sizeof room);
    if (size == 0 || (size < 0 && errno != EAGAIN)) return false;
    if (size > 0) bytes_add(&c->in, room, (size_t)size);
    speak(c);
  }
  deliver(c, ticks_ms());
  if (c->late.size && ticks_ms() >= c->late_ms) {
    bytes_add(&c->out, c->late.data, c->late.size);
    c->late.size = 0;
  }
  if (c->out.size) {
    ssize_t size = send(c->fd, c->out.data, c->out.size, MSG_NOSIGNAL);
    if (size < 0 && errno != EAGAIN) return false;
    if (size > 0) bytes_cut(&c->out, (size_t)size);
  }
  return !(c->ended && c->out.size == 0);
}

static int listen_at(int port) {
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
      || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0) {
    perror("fake-nats");
    exit(2);
  }
  return fd;
}

int main(int argc, char **argv) {
  static struct pollfd polled[CONNECTIONS + 2];
  char name[256];
  int listener;
  if (argc != 3) {
    fprintf(stderr, "fake-nats PORT BUCKET\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  snprintf(name, sizeof name, "KV_%s", argv[2]);
  stream_begin(name);
  listener = listen_at(atoi(argv[1]));
  printf("ready\n");
  fflush(stdout);
  while (1) {
    int count = the_connection_count;
    polled[0] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
    polled[1] = (struct pollfd){ .fd = listener, .events = POLLIN };
    for (int i = 0; i < count; i++) {
      short more = the_connections[i].out.size ? POLLOUT : 0;
      polled[i + 2] = (struct pollfd){ .fd = the_connections[i].fd, .events = POLLIN | more };
    }
    poll(polled, (nfds_t)count + 2, 50);
    if (polled[0].revents && !take_orders()) return 0;
    for (int i = count - 1; i >= 0; i--)
      if (!serve(&the_connections[i], polled[i + 2].revents)) end_connection(i);
    if (polled[1].revents) accept_one(listener);
  }
}
