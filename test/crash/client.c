/*
** client.c - HTTP clients of a server that may die at any moment: many connections, one thread.
**
** Each connection has at most one request under way.  An answer counts when all of it has come,
** also when it was still on its way as the server died: what the server sent is sent.
*/
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct client {
  int fd;
  char *out, *in;
  size_t out_size, out_done, in_size, in_room;
  int waiting;
} client;
static client clients[CLIENTS_MAX];
static int client_count;

int clients_connect(int port, int n) {
  struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (client_count = 0; client_count < n; client_count++) {
    client *client = &clients[client_count];
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(client->fd >= 0, "socket");
    client->out_size = client->out_done = client->in_size = 0;
    client->waiting = 0;
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) != 0) {
      close(client->fd);
      return 0;
    }
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
  }
  return 1;
}

void clients_close(void) {
  int i;
  for (i = 0; i < client_count; i++)
    if (clients[i].fd >= 0) close(clients[i].fd);
  client_count = 0;
}

static void hang_up(client *client) {
  close(client->fd);
  client->fd = -1;
}

static void send_some(client *client) {
  while (client->fd >= 0 && client->out_done < client->out_size) {
    ssize_t n = send(client->fd, client->out + client->out_done,
                     client->out_size - client->out_done, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0 && errno == EINTR) continue;
    /* the server is gone; what it answered before is still to be read */
    if (n <= 0) return;
    client->out_done += (size_t)n;
  }
}

void client_send(int i, const char *head, const char *body, size_t body_size) {
  client *client = &clients[i];
  size_t head_size = strlen(head);
  client->out_size = head_size + body_size;
  client->out_done = 0;
  client->out = realloc(client->out, client->out_size);
  must(client->out != NULL, "memory");
  memcpy(client->out, head, head_size);
  memcpy(client->out + head_size, body, body_size);
  client->waiting = 1;
  send_some(client);
}

int client_is_free(int i) { return clients[i].fd >= 0 && !clients[i].waiting; }

/* -------------------------------------------------------------------------------------- answers */

/* The value of a header, or NULL.  The head ends with a zero. */
static const char *header_value(const char *head, const char *name) {
  const char *at = strcasestr(head, name);
  return at ? at + strlen(name) : NULL;
}

/* Chunks become one body, in place.  -1: not all is there. */
static ssize_t unchunk(char *body, size_t size) {
  size_t at = 0, to = 0;
  for (;;) {
    char *line_end = memmem(body + at, size - at, "\r\n", 2);
    size_t chunk;
    if (line_end == NULL) return -1;
    chunk = strtoul(body + at, NULL, 16);
    at = (size_t)(line_end - body) + 2;
    if (size - at < chunk + 2) return -1;
    if (chunk == 0) return (ssize_t)to;
    memmove(body + to, body + at, chunk);
    to += chunk;
    at += chunk + 2;
  }
}

static const char *find_version(const char *head, const char *body) {
  const char *at = header_value(head, "\r\nETag: \"");
  if (at == NULL && (at = strstr(body, "{\"success\":true,\"version\":")) != NULL) at += 26;
  if (at == NULL && (at = strstr(body, "\"version\":")) != NULL) at += 10;
  return at;
}

/* Is the answer whole?  It is taken apart in a copy. */
static int answer_whole(const client *client, answer *answer, char **copy) {
  char *end = memmem(client->in, client->in_size, "\r\n\r\n", 4), *body;
  const char *length, *version;
  ssize_t size;
  if (end == NULL) return 0;
  *copy = malloc(client->in_size + 1);
  must(*copy != NULL, "memory");
  memcpy(*copy, client->in, client->in_size);
  (*copy)[client->in_size] = 0;
  end = *copy + (end - client->in);
  end[2] = 0;
  body = end + 4;
  size = (ssize_t)(client->in_size - (size_t)(body - *copy));
  answer->status = atoi(*copy + 9);
  length = header_value(*copy, "\r\nContent-Length: ");
  if (header_value(*copy, "\r\nTransfer-Encoding: chunked"))
    size = unchunk(body, (size_t)size);
  else if (answer->status == 204 || answer->status == 304)
    size = 0;
  else if (length == NULL || (size_t)size < strtoul(length, NULL, 10))
    size = -1;
  if (size < 0) {
    free(*copy);
    return 0;
  }
  body[size] = 0;
  answer->body = body;
  answer->body_size = (size_t)size;
  version = find_version(*copy, body);
  answer->version = version ? strtoull(version, NULL, 10) : 0;
  return 1;
}

static void receive(int i, void (*answered)(int, const answer *)) {
  client *client = &clients[i];
  char *copy;
  answer answer;
  for (;;) {
    ssize_t n;
    if (client->in_room - client->in_size < 65536
        && (client->in = realloc(client->in, client->in_room = client->in_size + 131072)) == NULL)
      must(0, "memory");
    n = recv(client->fd, client->in + client->in_size, client->in_room - client->in_size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      hang_up(client);
      return;
    }
    client->in_size += (size_t)n;
    if (!client->waiting || !answer_whole(client, &answer, &copy)) continue;
    client->in_size = 0;
    client->waiting = 0;
    answered(i, &answer);
    free(copy);
    /* the next request is out; its answer comes with the next poll */
    if (client->fd >= 0 && client->waiting) return;
  }
}

int clients_poll(int timeout_ms, void (*answered)(int, const answer *)) {
  struct pollfd p[CLIENTS_MAX];
  int who[CLIENTS_MAX], n = 0, i;
  for (i = 0; i < client_count; i++) {
    if (clients[i].fd < 0) continue;
    p[n].fd = clients[i].fd;
    p[n].events = (short)(POLLIN | (clients[i].out_done < clients[i].out_size ? POLLOUT : 0));
    who[n++] = i;
  }
  if (n == 0 || poll(p, (nfds_t)n, timeout_ms) <= 0) return n;
  for (i = 0; i < n; i++) {
    if (p[i].revents & POLLOUT) send_some(&clients[who[i]]);
    if (p[i].revents & ~POLLOUT) receive(who[i], answered);
  }
  return n;
}
