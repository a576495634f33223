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
** A TARGET THAT IS A WHOLE URL becomes its path, and its host is kept (wire_authority): civetweb
** would answer and end the connection.  A first line that came in two reads stays as it is, and so
** does one without a host: that is answered, and the connection ends.
**
** BEHIND A HEAD lies in civetweb's buffer what an older one left there.  Whether a head ends in
** CR LF CR LF is looked for at its last two bytes (civetweb.c); where it ends in LF LF these are
** the last one and the one behind it, or that and the next.  That byte becomes one that is no such
** end.
**
** BLANKS BEHIND A VALUE are no part of it, and civetweb keeps them.  They go before it, where
** civetweb skips them: so the head stays as long as it is.  A value that came in two reads keeps
** its blanks.
**
** READING AHEAD.  Civetweb takes as much as is there while it reads a head.  It gets what belongs
** to the head, by the rule by which it finds its end (head.c), and what came behind it when it asks
** for that.  So a body is read from here, and what is held after it is of the next request.  What a
** loop had read of the connection before it became a worker's is held in the same way.
**
** CHUNKS.  The lines between them are made plain (chunks.c).  What is left of such a line may be
** nothing: then the next bytes are waited for, until the body's deadline (civetweb.c's poll).
**
** TRAILERS.  Civetweb 1.15 takes the last chunk and two bytes after it.  Unless these are CR LF it
** ends the connection later and tells nobody, so it is found out here: they are the last that it
** read.  Civetweb 1.16 reads on to the end of the trailers, and the connection goes on.
*/
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "http/chunks.h"
#include "http/connection.h"
#include "http/head.h"
#include "http/wire.h"

enum place { BEGIN, FIRST_LINE, LINE_BEGIN, NAME, VALUE, BEYOND };

/* What was read of this worker's connection and civetweb has not been given. */
struct held {
  char *bytes;
  size_t from, end;
  int socket;
};

static _Thread_local enum place place;
static _Thread_local enum { HEAD, BODY, CHUNKED_BODY } part;
static _Thread_local char last;
static _Thread_local uint32_t last_four; /* bytes of the head */
static _Thread_local struct held held;
static _Thread_local bool ahead; /* civetweb may have more than the requests until now */
static _Thread_local struct chunks chunks;
static _Thread_local char authority[AUTHORITY_ROOM]; /* of the head's target; else empty */

static void drop_held(void) {
  free(held.bytes);
  memset(&held, 0, sizeof held);
}

void wire_begin(void) {
  drop_held();
  ahead = false;
  wire_expect_head();
}

void wire_expect_head(void) {
  authority[0] = 0;
  part = HEAD;
  place = BEGIN;
  last_four = 0;
}

void wire_expect_body(void) {
  part = BODY;
  last = 0;
  memset(&chunks, 0, sizeof chunks);
}

void wire_expect_chunks(void) {
  if (!ahead) part = CHUNKED_BODY;
}

/* A loop may have read the beginning of what this socket's client sent. */
static bool takes_ahead(int socket) {
  buffer read;
  if (!connection_take_ahead(socket, &read)) return false;
  held.bytes = read.data;
  held.from = 0;
  held.end = read.size;
  held.socket = socket;
  return true;
}

const char *wire_authority(void) { return authority; }

bool wire_holds_nothing(void) { return held.bytes == NULL && !ahead; }
bool wire_holds_some(int socket) {
  return held.bytes ? held.socket == socket : takes_ahead(socket);
}

static enum place next_place(char c) {
  bool ends_head = c == '\r' || c == '\n';
  switch (place) {
    case BEGIN: return ends_head ? BEYOND : FIRST_LINE;
    case LINE_BEGIN:
      if (ends_head) return BEYOND;
      return c == ':' ? VALUE : NAME;
    case NAME:
      if (c == ':') return VALUE;
      return c == '\n' ? LINE_BEGIN : NAME;
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

/* Of the beginning of a head: GET http://HOST/PATH becomes GET /PATH.  How many bytes are left. */
static size_t take_authority(char *bytes, size_t size) {
  char *end = memchr(bytes, '\n', size), *host, *path,
       *target = end ? memchr(bytes, ' ', (size_t)(end - bytes)) : NULL;
  size_t scheme = target ? head_scheme_size(++target) : 0, host_size;
  if (scheme == 0) return size;
  for (host = path = target + scheme; (unsigned char)*path > ' ' && *path != '/' && *path != '?';
       path++) {}
  host_size = (size_t)(path - host);
  if (host_size == 0 || host_size >= sizeof authority) return size;
  memcpy(authority, host, host_size);
  authority[host_size] = 0;
  if (*path != '/') *target++ = '/';
  memmove(target, path, size - (size_t)(path - bytes));
  return size - (size_t)(path - target);
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

/* Of the first n bytes those that are of the head: all, or up to its end.  Where white space comes
** before it, civetweb looks behind the first empty line: it gets all. */
static size_t part_of_head(const char *bytes, size_t n) {
  if (last_four == 0 && isspace((unsigned char)bytes[0])) ahead = true;
  if (ahead) return n;
  for (size_t i = 0; i < n; i++) {
    last_four = last_four << 8 | (unsigned char)bytes[i];
    if ((last_four & 0xffff) != 0x0a0a && last_four != 0x0d0a0d0a) continue;
    last_four = 0;
    return i + 1;
  }
  return n;
}

/* False: there is no memory. */
static bool hold(int socket, const char *bytes, size_t n) {
  held.bytes = malloc(n);
  if (held.bytes == NULL) return false;
  memcpy(held.bytes, bytes, n);
  held.from = 0;
  held.end = n;
  held.socket = socket;
  return true;
}

static ssize_t read_head(int socket, char *bytes, size_t size) {
  ssize_t n;
  size_t taken;
  if (wire_holds_some(socket)) {
    size_t most = held.end - held.from < size ? held.end - held.from : size;
    taken = part_of_head(held.bytes + held.from, most);
    memcpy(bytes, held.bytes + held.from, taken);
    held.from += taken;
    if (held.from == held.end) drop_held();
  } else {
    n = recvfrom(socket, bytes, size, 0, NULL, NULL);
    if (n <= 0) return n;
    taken = part_of_head(bytes, (size_t)n);
    if (taken < (size_t)n && !hold(socket, bytes + taken, (size_t)n - taken)) {
      errno = ENOMEM;
      return -1;
    }
  }
  if (place == BEGIN && !ahead) taken = take_authority(bytes, taken);
  take_head(bytes, taken);
  if (taken < size) bytes[taken] = '\n';
  return (ssize_t)taken;
}

static ssize_t read_on(int socket, char *bytes, size_t size) {
  size_t n = held.end - held.from;
  if (!wire_holds_some(socket)) return recvfrom(socket, bytes, size, 0, NULL, NULL);
  if (n > size) n = size;
  memcpy(bytes, held.bytes + held.from, n);
  held.from += n;
  if (held.from == held.end) drop_held();
  return (ssize_t)n;
}

size_t wire_take(int socket, void *bytes, size_t size) {
  return wire_holds_some(socket) ? (size_t)read_on(socket, bytes, size) : 0;
}

static bool more_comes(int socket) {
  struct pollfd one = { .fd = socket, .events = POLLIN };
  return poll(&one, 1, -1) > 0;
}

/* Some of a body, without the extensions of its chunks. */
static ssize_t read_chunks(int socket, char *bytes, size_t size) {
  for (;;) {
    ssize_t n = read_on(socket, bytes, size);
    size_t kept = n > 0 ? chunks_pass(&chunks, bytes, (size_t)n) : 0;
    if (kept > 0) return (ssize_t)kept;
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return n;
    if (!more_comes(socket)) return -1;
  }
}

ssize_t recv_for_civetweb(int socket, void *bytes, size_t size, int flags) __asm__("recv")
    __attribute__((visibility("default")));

/* Civetweb's has no flags, and each of ours has some. */
ssize_t recv_for_civetweb(int socket, void *bytes, size_t size, int flags) {
  ssize_t n;
  if (flags != 0) return recvfrom(socket, bytes, size, flags, NULL, NULL);
  if (part == HEAD) return read_head(socket, bytes, size);
  n = part == CHUNKED_BODY ? read_chunks(socket, bytes, size) : read_on(socket, bytes, size);
  last = n > 0 ? ((char *)bytes)[n - 1] : 0;
  return n;
}

bool wire_chunks_ended(void) { return last == '\n'; }
