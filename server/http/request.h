/*
** request.h - one request, as the server's files know it.
**
** One request is one thread's from begin to end.  Worker threads have 100 KB of stack: whatever is
** larger than a few KB lies in the connection's buffers, which are kept from request to request.
*/
#ifndef MAPH_HTTP_REQUEST_H
#define MAPH_HTTP_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "base/buffer.h"
#include "base/uri.h"

enum method {
  METHOD_GET = 1,
  METHOD_HEAD = 2,
  METHOD_PUT = 4,
  METHOD_POST = 8,
  METHOD_DELETE = 16,
  METHOD_PATCH = 32,
  METHOD_OPTIONS = 64,
  METHOD_OTHER = 128
};
typedef struct header {
  const char *name, *value;
  unsigned name_size;
} header;
enum { HEADER_MAX = 64, AUTHORITY_ROOM = 264 };

struct connection;

/* The body, while it comes (body.c). */
typedef struct upload {
  int64_t length;      /* -1: chunked */
  uint64_t read;       /* bytes taken so far */
  bool waits, hurries; /* it has a place among those who wait; none: it must come at once */
  bool expects_continue, continue_sent;
  bool done, failed;
  buffer *scratch; /* the connection's; it holds what waits in memory */
  void *spool;     /* what waits in a file, mapped */
  size_t spool_size;
} upload;

/* The answer, while it is made and sent (reply.c). */
typedef struct reply {
  int status; /* 0: nothing sent yet */
  uint64_t bytes_out;
  bool close;              /* no keep-alive after this answer */
  bool chunked, broken;    /* it streams; the client is gone */
  bool may_be_kept;        /* by a browser, which asks whether it still holds */
  bool varies_by_accept;   /* another Accept may get another answer */
  bool varies_by_encoding; /* another Accept-Encoding */
  bool gzip;               /* its body is compressed */
  bool chosen;             /* that was decided before it was begun: it has a tag */
  void *compressor;        /* of one that streams */
  const char *origin;      /* of a page that may see it; NULL: none */
  buffer *head, *body;     /* the connection's */
  buffer *answer;          /* a loop's: all of it */
  char extra[512];         /* header lines that it will carry, whichever it is */
  char members[96];        /* further members that a problem will carry */
} reply;

typedef struct request {
  struct connection *connection;
  /* As it came: */
  const char *method_name, *path, *query_text, *version, *remote;
  int method;
  int header_count;
  uint64_t name_sizes; /* bit n: a header's name has n bytes, or 64 more, or ... */
  header headers[HEADER_MAX];
  bool truncated_headers; /* civetweb kept 64 and dropped the rest */
  bool malformed_head;    /* a line of it could not be read: those after it are not headers */
  char authority[AUTHORITY_ROOM]; /* of a target that is a whole URL; else empty */

  /* What was found out about it: */
  uint64_t started_us, took_us; /* the latter once it was answered */
  char id[72];                  /* X-Request-Id, theirs when it is sane, else ours */
  char client[48];              /* whom a named proxy says it asks for: `remote`, then */
  char *decoded;                /* the connection's room for the decoded path and query */
  bool quick;                   /* it is answered where nothing may wait (loop.c) */
  bool declined; /* not there, since it would: nothing was done, and a worker will answer it */

  /* Of the callback that answers it (http.h): */
  const char *route; /* what it is, in one word, for the log; NULL: nothing that is known */
  int route_number;  /* the same as a number, for counters */
  void *handling;    /* what the callback keeps of it while it runs */
  bool counted;      /* it was declined when the callback had counted it */

  upload upload;
  reply reply;
  int query_count;
  query_item query[QUERY_MAX]; /* so many; the last member, which nobody clears */
} request;

/* Say of a header that it is one of them. */
static inline void request_note(request *request, const header *header) {
  request->name_sizes |= (uint64_t)1 << header->name_size % 64;
}
/* Whether there may be one of that name: most that are looked for are not there. */
static inline bool request_may_have(const request *request, size_t name_size) {
  return request->name_sizes >> name_size % 64 & 1;
}
/* The first of that name, or NULL. */
const char *request_find(const request *request, const char *name, size_t name_size);
static inline const char *request_header(const request *request, const char *name) {
  size_t size = strlen(name);
  return request_may_have(request, size) ? request_find(request, name, size) : NULL;
}
/* Whether a list of tokens, on one line or several, has that one. */
bool request_lists(const request *request, const char *name, const char *token);
/* What it calls this server: of the target, or Host. */
const char *request_host(const request *request);
/* False: it is not there, and the value empty. */
bool request_query(const request *request, const char *name, maph_slice *value);
int method_from_name(const char *name);

#endif
