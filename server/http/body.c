/*
** body.c - request bodies: whole in memory, whole in a file without a name, or in pieces.
**
** A large upload waits in a file until it is complete, and only then a transaction begins: the
** writer's lock is never held for the sake of a slow client.  `Expect: 100-continue` is answered
** here, before the first byte is read, and not at all when the body is refused: curl then sends
** none of it.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/options.h"
#include "base/room.h"
#include "base/waits.h"
#include "http/body.h"
#include "http/http.h"
#include "http/reply.h"

enum { PIECE = 65536, SKIPPED_AT_MOST = 65536 };

static bool refuse_size(request *request, uint64_t limit) {
  request->close = true;
  http_disable_keep_alive(request);
  reply_problem(request, 413, "body_too_large", "at most %llu bytes are taken here",
                (unsigned long long)limit);
  return false;
}

static void end_wait(request *request) {
  if (request->waits_for_body) waits_leave(WAIT_BODY, NULL);
  request->waits_for_body = false;
}

/* Who waits for a body has one of the places for it until the body has come.  Where all are taken
** the client has a moment, or what it takes at the least rate: most bodies are there already. */
static long read_more(request *request, void *data, size_t size) {
  if (!request->waits_for_body) request->waits_for_body = waits_try(WAIT_BODY);
  request->hurries = !request->waits_for_body;
  return http_read(request, data, size);
}

/* The client is slow, gone, or does not speak HTTP. */
static long fail(request *request, long n) {
  request->close = request->body_failed = true;
  http_disable_keep_alive(request);
  if (request->hurries && (http_timed_out(request) || n == 0)) {
    reply_problem(request, 503, "busy", "too many bodies are on their way already: come again");
  } else if (http_timed_out(request) || n == 0) {
    reply_problem(request, 408, "body_timeout", "the body did not come in time");
  } else {
    reply_problem(request, 400, "body_incomplete",
                  "the body ended early or its chunks are malformed");
  }
  return -1;
}

static bool body_begin(request *request, uint64_t limit) {
  static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
  if (request->content_length > 0 && (uint64_t)request->content_length > limit)
    return refuse_size(request, limit);
  if (request->expects_continue && !request->continue_sent) {
    request->continue_sent = true;
    if (!http_write(request, go_on, sizeof go_on - 1)) {
      request->body_failed = true;
      return false;
    }
    request->bytes_out = 0;
  }
  return true;
}

long body_some(request *request, void *data, size_t size, uint64_t limit) {
  long n;
  if (request->body_failed) return -1;
  if (request->body_done) return 0;
  if (request->body_read == 0 && !body_begin(request, limit)) return -1;
  if (size > PIECE) size = PIECE;
  if (request->content_length >= 0 && size > (uint64_t)request->content_length - request->body_read)
    size = (size_t)((uint64_t)request->content_length - request->body_read);
  n = read_more(request, data, size);
  if (n < 0 || (n == 0 && request->content_length >= 0)) return fail(request, n);
  request->body_read += (uint64_t)n;
  if (n == 0
      || (request->content_length >= 0 && request->body_read == (uint64_t)request->content_length))
    request->body_done = true;
  if (request->body_done) end_wait(request);
  if (request->body_read > limit) {
    request->body_failed = true;
    refuse_size(request, limit);
    return -1;
  }
  return n;
}

/* A file that nobody can open and that is gone with its descriptor. */
int spool_open(void) {
  const char *folder = option.spool && option.spool[0] ? option.spool : option.data;
  char path[4096];
  int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
  if (fd >= 0 || snprintf(path, sizeof path, "%s/.upload-XXXXXX", folder) >= (int)sizeof path)
    return fd;
  fd = mkostemp(path, O_CLOEXEC);
  if (fd >= 0) unlink(path);
  return fd;
}

bool spool_write(int fd, const char *data, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= (size_t)n;
  }
  return true;
}

bool spool_failed(request *request, int fd) {
  int error = errno;
  bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  if (fd >= 0) close(fd);
  request->close = true;
  http_disable_keep_alive(request);
  if (full) room_refused();
  reply_problem(request, full ? 507 : 500, full ? "full" : "io_error",
                "the upload cannot be kept: %s", strerror(error));
  return false;
}

/* What scratch holds already, and all that follows, into a file; then map it. */
static bool body_spool(request *request, uint64_t limit, maph_slice *body) {
  buffer *buffer = request->scratch;
  int fd = spool_open();
  if (fd < 0 || !spool_write(fd, buffer->data, buffer->size)) return spool_failed(request, fd);
  while (!request->body_done) {
    long n = body_some(request, buffer->data, buffer->capacity, limit);
    if (n < 0) {
      close(fd);
      return false;
    }
    if (!spool_write(fd, buffer->data, (size_t)n)) return spool_failed(request, fd);
  }
  request->spool_size = (size_t)request->body_read;
  request->spool = mmap(NULL, request->spool_size, PROT_READ, MAP_SHARED, fd, 0);
  if (request->spool == MAP_FAILED) {
    request->spool = NULL;
    return spool_failed(request, fd);
  }
  close(fd);
  *body = maph_bytes(request->spool, request->spool_size);
  return true;
}

static bool no_memory(request *request) {
  request->close = true;
  http_disable_keep_alive(request);
  reply_problem(request, 503, "no_memory", "out of memory for the body");
  return false;
}

bool body_all(request *request, uint64_t limit, maph_slice *body) {
  buffer *buffer = request->scratch;
  bool large =
      request->content_length > 0 && (uint64_t)request->content_length > option.spool_above;
  buffer->size = 0;
  if (request->content_length > 0 && (uint64_t)request->content_length > limit)
    return refuse_size(request, limit);
  if (!buffer_reserve(
          buffer, request->content_length >= 0 && !large ? (size_t)request->content_length : PIECE))
    return no_memory(request);
  while (!request->body_done && !large) {
    long n;
    if (buffer->size == buffer->capacity && buffer->size >= option.spool_above) {
      large = true;
      break;
    }
    if (buffer->size == buffer->capacity && !buffer_reserve(buffer, PIECE))
      return no_memory(request);
    n = body_some(request, buffer->data + buffer->size, buffer->capacity - buffer->size, limit);
    if (n < 0) return false;
    buffer->size += (size_t)n;
  }
  if (large) return body_spool(request, limit, body);
  *body = maph_bytes(buffer->data ? buffer->data : "", buffer->size);
  return true;
}

bool body_skip(request *request) {
  char waste[2048];
  if (request->body_done) return true;
  if (request->close || request->body_failed || request->content_length < 0
      || request->content_length > SKIPPED_AT_MOST || request->expects_continue)
    return false;
  while (!request->body_done) {
    size_t left = (size_t)((uint64_t)request->content_length - request->body_read);
    long n = read_more(request, waste, left < sizeof waste ? left : sizeof waste);
    if (n <= 0) {
      request->body_failed = true;
      return false;
    }
    request->body_read += (uint64_t)n;
    request->body_done = request->body_read == (uint64_t)request->content_length;
  }
  return true;
}

void body_release(request *request) {
  end_wait(request);
  if (request->spool) munmap(request->spool, request->spool_size);
  request->spool = NULL;
}
