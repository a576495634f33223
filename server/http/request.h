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
enum { HEADER_MAX = 64, SEGMENT_MAX = 4 };

struct connection;
struct store;

typedef struct request {
  struct connection *connection;
  int route; /* its place in the table; its name there, NULL: none of it */
  const char *route_name;
  const char *method_name, *path, *query_text, *version, *remote;
  char client[48]; /* whom a named proxy says it asks for: `remote`, then */
  int method;
  int header_count;
  header headers[HEADER_MAX];
  bool truncated_headers; /* civetweb kept 64 and dropped the rest */
  bool malformed_head;    /* a line of it could not be read: those after it are not headers */
  char authority[264];    /* of a target that is a whole URL; else empty */
  /* Decoded; the last one of a key route holds all that follows keys/. */
  maph_slice segments[SEGMENT_MAX];
  int segment_count;
  int query_count;
  struct store *store; /* held for the request by the route, when it has one */

  int64_t content_length;       /* -1: chunked */
  uint64_t body_read;           /* bytes taken so far */
  bool waits_for_body, hurries; /* it has a place among those who wait; it has none, and a moment */
  const char *after_head;       /* bytes of the body that came with the head, as they came */
  bool has_trailers;            /* after its last chunk; they are ignored */
  bool body_done, body_failed, continue_sent, expects_continue;

  bool quick;    /* it is answered where nothing may wait (loop.c) */
  bool declined; /* not there, since it would: nothing was done, and a worker will answer it */
  bool counted;  /* by the rate limit already, when it was declined */

  char id[72];                  /* X-Request-Id, theirs when it is sane, else ours */
  uint64_t started_us, took_us; /* the latter once it was answered */
  int status;                   /* 0: nothing sent yet */
  uint64_t bytes_out;
  bool close;                    /* no keep-alive after this answer */
  bool chunked, broken;          /* streaming answer; the client is gone */
  bool may_be_kept;              /* by a browser, which asks whether it still holds */
  bool varies_by_accept;         /* another Accept may get another answer */
  bool varies_by_encoding;       /* another Accept-Encoding */
  bool gzip;                     /* the answer's body is compressed */
  bool chosen;                   /* that was decided before the answer was begun: it has a tag */
  void *compressor;              /* of a streaming answer */
  const char *origin;            /* of a page that may see the answer; NULL: none */
  char extra[512];               /* header lines that the answer will carry, whichever it is */
  char members[96];              /* members that a problem will carry: how far an import came */
  buffer *head, *body, *scratch; /* the connection's: answer head, answer body, request body */
  buffer *answer;                /* where quick: all of it */
  char *decoded;                 /* the connection's room for the decoded path and query */
  void *spool;                   /* a body that waits in a file, mapped */
  size_t spool_size;
  query_item
      query[QUERY_MAX]; /* as many as query_count says; the last member, which nobody clears */
} request;

/* The first of that name, or NULL. */
const char *request_header(const request *request, const char *name);
/* Whether a list of tokens, on one line or several, has that one. */
bool request_lists(const request *request, const char *name, const char *token);
/* What it calls this server: of the target, or Host. */
const char *request_host(const request *request);
/* False: it is not there, and the value empty. */
bool request_query(const request *request, const char *name, maph_slice *value);
int method_from_name(const char *name);

#endif
