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
  request->reply.close = true;
  http_disable_keep_alive(request);
  reply_problem(request, 413, "body_too_large", "at most %llu bytes are taken here",
                (unsigned long long)limit);
  return false;
}

static void end_wait(request *request) {
  if (request->upload.waits) waits_leave(WAIT_BODY, NULL);
  request->upload.waits = false;
}

/* Who waits for a body has one of the places for it until the body has come.  Where all are taken
** the client has a moment, or what it takes at the least rate: most bodies are there already. */
static long read_more(request *request, void *data, size_t size) {
  if (!request->upload.waits) request->upload.waits = waits_try(WAIT_BODY);
  request->upload.hurries = !request->upload.waits;
  return http_read(request, data, size);
}

/* The client is slow, gone, or does not speak HTTP. */
static long fail(request *request, long n) {
  request->reply.close = request->upload.failed = true;
  http_disable_keep_alive(request);
  if (request->upload.hurries && (http_timed_out(request) || n == 0)) {
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
  if (request->upload.length > 0 && (uint64_t)request->upload.length > limit)
    return refuse_size(request, limit);
  if (request->upload.expects_continue && !request->upload.continue_sent) {
    request->upload.continue_sent = true;
    if (!http_write(request, go_on, sizeof go_on - 1)) {
      request->upload.failed = true;
      return false;
    }
    request->reply.bytes_out = 0;
  }
  return true;
}

long body_some(request *request, void *data, size_t size, uint64_t limit) {
  long n;
  if (request->upload.failed) return -1;
  if (request->upload.done) return 0;
  if (request->upload.read == 0 && !body_begin(request, limit)) return -1;
  if (size > PIECE) size = PIECE;
  if (request->upload.length >= 0 && size > (uint64_t)request->upload.length - request->upload.read)
    size = (size_t)((uint64_t)request->upload.length - request->upload.read);
  n = read_more(request, data, size);
  if (n < 0 || (n == 0 && request->upload.length >= 0)) return fail(request, n);
  request->upload.read += (uint64_t)n;
  if (n == 0
      || (request->upload.length >= 0 && request->upload.read == (uint64_t)request->upload.length))
    request->upload.done = true;
  if (request->upload.done) end_wait(request);
  if (request->upload.read > limit) {
    request->upload.failed = true;
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
  request->reply.close = true;
  http_disable_keep_alive(request);
  if (full) room_refused();
  reply_problem(request, full ? 507 : 500, full ? "full" : "io_error",
                "the upload cannot be kept: %s", strerror(error));
  return false;
}

/* What scratch holds already, and all that follows, into a file; then map it. */
static bool body_spool(request *request, uint64_t limit, maph_slice *body) {
  buffer *buffer = request->upload.scratch;
  int fd = spool_open();
  if (fd < 0 || !spool_write(fd, buffer->data, buffer->size)) return spool_failed(request, fd);
  while (!request->upload.done) {
    long n = body_some(request, buffer->data, buffer->capacity, limit);
    if (n < 0) {
      close(fd);
      return false;
    }
    if (!spool_write(fd, buffer->data, (size_t)n)) return spool_failed(request, fd);
  }
  request->upload.spool_size = (size_t)request->upload.read;
  request->upload.spool = mmap(NULL, request->upload.spool_size, PROT_READ, MAP_SHARED, fd, 0);
  if (request->upload.spool == MAP_FAILED) {
    request->upload.spool = NULL;
    return spool_failed(request, fd);
  }
  close(fd);
  *body = maph_bytes(request->upload.spool, request->upload.spool_size);
  return true;
}

static bool no_memory(request *request) {
  request->reply.close = true;
  http_disable_keep_alive(request);
  reply_problem(request, 503, "no_memory", "out of memory for the body");
  return false;
}

bool body_all(request *request, uint64_t limit, maph_slice *body) {
  buffer *buffer = request->upload.scratch;
  bool large = request->upload.length > 0 && (uint64_t)request->upload.length > option.spool_above;
  buffer->size = 0;
  if (request->upload.length > 0 && (uint64_t)request->upload.length > limit)
    return refuse_size(request, limit);
  if (!buffer_reserve(buffer, request->upload.length >= 0 && !large ? (size_t)request->upload.length
                                                                    : PIECE))
    return no_memory(request);
  while (!request->upload.done && !large) {
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
  if (request->upload.done) return true;
  if (request->reply.close || request->upload.failed || request->upload.length < 0
      || request->upload.length > SKIPPED_AT_MOST || request->upload.expects_continue)
    return false;
  while (!request->upload.done) {
    size_t left = (size_t)((uint64_t)request->upload.length - request->upload.read);
    long n = read_more(request, waste, left < sizeof waste ? left : sizeof waste);
    if (n <= 0) {
      request->upload.failed = true;
      return false;
    }
    request->upload.read += (uint64_t)n;
    request->upload.done = request->upload.read == (uint64_t)request->upload.length;
  }
  return true;
}

void body_release(request *request) {
  end_wait(request);
  if (request->upload.spool) munmap(request->upload.spool, request->upload.spool_size);
  request->upload.spool = NULL;
}
