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

static bool refuse_size(request *r, uint64_t limit) {
  r->close = true;
  http_disable_keep_alive(r);
  reply_problem(r, 413, "body_too_large", "at most %llu bytes are taken here",
                (unsigned long long)limit);
  return false;
}

static void end_wait(request *r) {
  if (r->waits_for_body) waits_leave(WAIT_BODY, NULL);
  r->waits_for_body = false;
}

/* Who waits for a body has one of the places for it until the body has come.  Where all are taken
** the client has a moment, or what it takes at the least rate: most bodies are there already. */
static long read_more(request *r, void *data, size_t size) {
  if (!r->waits_for_body) r->waits_for_body = waits_try(WAIT_BODY);
  r->hurries = !r->waits_for_body;
  return http_read(r, data, size);
}

/* The client is slow, gone, or does not speak HTTP. */
static long fail(request *r, long n) {
  r->close = r->body_failed = true;
  http_disable_keep_alive(r);
  if (r->hurries && (http_timed_out(r) || n == 0)) {
    reply_problem(r, 503, "busy", "too many bodies are on their way already: come again");
  } else if (http_timed_out(r) || n == 0) {
    reply_problem(r, 408, "body_timeout", "the body did not come in time");
  } else {
    reply_problem(r, 400, "body_incomplete", "the body ended early or its chunks are malformed");
  }
  return -1;
}

static bool body_begin(request *r, uint64_t limit) {
  static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
  if (r->content_length > 0 && (uint64_t)r->content_length > limit) return refuse_size(r, limit);
  if (r->expects_continue && !r->continue_sent) {
    r->continue_sent = true;
    if (!http_write(r, go_on, sizeof go_on - 1)) {
      r->body_failed = true;
      return false;
    }
    r->bytes_out = 0;
  }
  return true;
}

long body_some(request *r, void *data, size_t size, uint64_t limit) {
  long n;
  if (r->body_failed) return -1;
  if (r->body_done) return 0;
  if (r->body_read == 0 && !body_begin(r, limit)) return -1;
  if (size > PIECE) size = PIECE;
  if (r->content_length >= 0 && size > (uint64_t)r->content_length - r->body_read)
    size = (size_t)((uint64_t)r->content_length - r->body_read);
  n = read_more(r, data, size);
  if (n < 0 || (n == 0 && r->content_length >= 0)) return fail(r, n);
  r->body_read += (uint64_t)n;
  if (n == 0 || (r->content_length >= 0 && r->body_read == (uint64_t)r->content_length))
    r->body_done = true;
  if (r->body_done) end_wait(r);
  if (r->body_read > limit) {
    r->body_failed = true;
    refuse_size(r, limit);
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

bool spool_failed(request *r, int fd) {
  int error = errno;
  bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  if (fd >= 0) close(fd);
  r->close = true;
  http_disable_keep_alive(r);
  if (full) room_refused();
  reply_problem(r, full ? 507 : 500, full ? "full" : "io_error", "the upload cannot be kept: %s",
                strerror(error));
  return false;
}

/* What scratch holds already, and all that follows, into a file; then map it. */
static bool body_spool(request *r, uint64_t limit, maph_slice *body) {
  buffer *b = r->scratch;
  int fd = spool_open();
  if (fd < 0 || !spool_write(fd, b->data, b->size)) return spool_failed(r, fd);
  while (!r->body_done) {
    long n = body_some(r, b->data, b->capacity, limit);
    if (n < 0) {
      close(fd);
      return false;
    }
    if (!spool_write(fd, b->data, (size_t)n)) return spool_failed(r, fd);
  }
  r->spool_size = (size_t)r->body_read;
  r->spool = mmap(NULL, r->spool_size, PROT_READ, MAP_SHARED, fd, 0);
  if (r->spool == MAP_FAILED) {
    r->spool = NULL;
    return spool_failed(r, fd);
  }
  close(fd);
  *body = maph_bytes(r->spool, r->spool_size);
  return true;
}

static bool no_memory(request *r) {
  r->close = true;
  http_disable_keep_alive(r);
  reply_problem(r, 503, "no_memory", "out of memory for the body");
  return false;
}

bool body_all(request *r, uint64_t limit, maph_slice *body) {
  buffer *b = r->scratch;
  bool large = r->content_length > 0 && (uint64_t)r->content_length > option.spool_above;
  b->size = 0;
  if (r->content_length > 0 && (uint64_t)r->content_length > limit) return refuse_size(r, limit);
  if (!buffer_reserve(b, r->content_length >= 0 && !large ? (size_t)r->content_length : PIECE))
    return no_memory(r);
  while (!r->body_done && !large) {
    long n;
    if (b->size == b->capacity && b->size >= option.spool_above) {
      large = true;
      break;
    }
    if (b->size == b->capacity && !buffer_reserve(b, PIECE)) return no_memory(r);
    n = body_some(r, b->data + b->size, b->capacity - b->size, limit);
    if (n < 0) return false;
    b->size += (size_t)n;
  }
  if (large) return body_spool(r, limit, body);
  *body = maph_bytes(b->data ? b->data : "", b->size);
  return true;
}

bool body_skip(request *r) {
  char waste[2048];
  if (r->body_done) return true;
  if (r->close || r->body_failed || r->content_length < 0 || r->content_length > SKIPPED_AT_MOST
      || r->expects_continue)
    return false;
  while (!r->body_done) {
    size_t left = (size_t)((uint64_t)r->content_length - r->body_read);
    long n = read_more(r, waste, left < sizeof waste ? left : sizeof waste);
    if (n <= 0) {
      r->body_failed = true;
      return false;
    }
    r->body_read += (uint64_t)n;
    r->body_done = r->body_read == (uint64_t)r->content_length;
  }
  return true;
}

void body_release(request *r) {
  end_wait(r);
  if (r->spool) munmap(r->spool, r->spool_size);
  r->spool = NULL;
}
