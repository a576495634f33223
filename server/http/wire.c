/*
** wire.c - what civetweb reads from its sockets, seen on the way: its recv() is the one below, as
** its accept() is civetweb.c's.
**
** A TAB IN A VALUE.  Civetweb refuses a head that has one, which RFC 9110 allows and some clients
** send.  It becomes the blank that it may always be replaced by: in a value, and nowhere else, so
** that what a tab makes malformed stays so (a name before its colon, a folded line, the request
** line).  Where a head begins in the middle of what was read for the request before (pipelining),
** nothing is changed in what came then.
**
** BLANKS BEHIND A VALUE are no part of it, and civetweb keeps them.  They go before it, where
** civetweb skips them: so the head stays as long as it is.  A value that came in two reads keeps
** its blanks.
**
** TRAILERS.  Civetweb takes the last chunk and two bytes after it.  Unless these are CR LF it ends
** the connection later and tells nobody, so it is found out here: they are the last that it read,
** or, where it read nothing for the body, they lie behind the head.
**
** READING AHEAD.  Civetweb takes as much as is there while it reads a head, and of a body no byte
** too many.  Whether some of it is of the next request is seen by the sums.  The body of a chunked
** request is longer than what a handler reads of it: where some of it was read on its own it ends
** with what was taken, else it lies behind the head and is measured there.
*/
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "http/wire.h"

enum place { BEGIN, FIRST_LINE, LINE_BEGIN, NAME, VALUE, BEYOND };

static _Thread_local enum place place;
static _Thread_local bool body; /* else a head */
static _Thread_local unsigned reads;
static _Thread_local char last;
static _Thread_local uint64_t taken, used; /* bytes of this connection; by requests */

void wire_begin(void) {
  taken = used = 0;
  wire_expect_head(0);
}

void wire_expect_head(size_t request_size) {
  body = false;
  place = BEGIN;
  used += request_size;
}

bool wire_has_all(void) { return taken == used; }
bool wire_would_have_all(size_t request_size) { return taken == used + request_size; }

void wire_expect_body(void) {
  body = true;
  reads = 0;
  last = 0;
}

static enum place next_place(char c) {
  switch (place) {
    case BEGIN: return c == '\r' || c == '\n' ? BEYOND : FIRST_LINE;
    case LINE_BEGIN: return c == '\r' || c == '\n' ? BEYOND : c == ':' ? VALUE : NAME;
    case NAME: return c == ':' ? VALUE : c == '\n' ? LINE_BEGIN : NAME;
    case FIRST_LINE:
    case VALUE: return c == '\n' ? LINE_BEGIN : place;
    default: return BEYOND;
  }
}

/* From [begin, end) the blanks at its end to its beginning. */
static void move_blanks(char *begin, char *end) {
  char *last_one = end;
  while (last_one > begin && last_one[-1] == ' ') last_one--;
  memmove(begin + (end - last_one), begin, (size_t)(last_one - begin));
  memset(begin, ' ', (size_t)(end - last_one));
}

static void take_head(char *bytes, size_t size) {
  char *value = NULL; /* begins in these bytes */
  for (size_t i = 0; i < size && place != BEYOND; i++) {
    enum place before = place;
    if (place == VALUE && bytes[i] == '\t') bytes[i] = ' ';
    if (place == VALUE && bytes[i] == '\r' && value) {
      move_blanks(value, bytes + i);
      value = NULL;
    }
    place = next_place(bytes[i]);
    if (before != VALUE && place == VALUE) value = bytes + i + 1;
  }
}

ssize_t recv_for_civetweb(int socket, void *bytes, size_t size, int flags) __asm__("recv")
    __attribute__((visibility("default")));

/* Civetweb's has no flags, and each of ours has some. */
ssize_t recv_for_civetweb(int socket, void *bytes, size_t size, int flags) {
  ssize_t n = recvfrom(socket, bytes, size, flags, NULL, NULL);
  if (flags != 0) return n;
  if (n > 0) taken += (uint64_t)n;
  if (!body && n > 0) take_head(bytes, (size_t)n);
  if (body) {
    reads++;
    last = n > 0 ? ((char *)bytes)[n - 1] : 0;
  }
  return n;
}

/* Chunks that lie behind a head, whole: up to the last one and two bytes. */
static const char *chunks_end(const char *begin) {
  size_t size;
  do {
    size = strtoul(begin, NULL, 16);
    begin = strchr(begin, '\n') + 1;
    if (size > 0) begin += size + 2;
  } while (size > 0);
  return begin + 2;
}

bool wire_chunks_ended(const char *begin) {
  if (reads > 0) return last == '\n';
  return memcmp(chunks_end(begin) - 2, "\r\n", 2) == 0;
}

size_t wire_request_size(size_t head, const char *begin) {
  return reads > 0 ? (size_t)(taken - used) : head + (size_t)(chunks_end(begin) - begin);
}
