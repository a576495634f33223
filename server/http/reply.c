/*
** reply.c - answers.
**
** An answer is one write, head and body together, up to 64 KB; larger bodies follow in pieces from
** where they lie.  Errors are RFC 9457 problems with a code that does not change; the table says
** which, for each code of the core.
*/
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/emit.h"
#include "base/waits.h"
#include "http/body.h"
#include "http/compress.h"
#include "http/http.h"
#include "http/reply.h"

enum { ONE_WRITE = 65536, AT_ONCE = 256 * 1024 };

/* Every code of maph.h has its row: the test compares them. */
static const struct {
  int status;
  const char *code;
} core_codes[] = {
  [MAPH_OK] = { 200, "ok" },
  [MAPH_NOTFOUND] = { 404, "key_not_found" },
  [MAPH_EXISTS] = { 409, "exists" },
  [MAPH_CONFLICT] = { 412, "precondition_failed" },
  [MAPH_BUSY] = { 503, "busy" },
  [MAPH_READONLY] = { 403, "read_only" },
  [MAPH_FULL] = { 507, "full" },
  [MAPH_TOOBIG] = { 413, "too_big" },
  [MAPH_NOMEM] = { 503, "no_memory" },
  [MAPH_IOERR] = { 500, "io_error" },
  [MAPH_CORRUPT] = { 500, "corrupt" },
  [MAPH_FORMAT] = { 500, "bad_format" },
  [MAPH_RECOVER] = { 503, "needs_recovery" },
  [MAPH_MISUSE] = { 400, "misuse" },
  [MAPH_CANTOPEN] = { 503, "cannot_open" },
  [MAPH_COMPACTED] = { 410, "compacted" },
  [MAPH_CANCELLED] = { 409, "cancelled" },
  [MAPH_MISMATCH] = { 409, "not_a_number" },
};
enum { CORE_CODES = sizeof core_codes / sizeof core_codes[0] };

int maph_status(int rc) { return rc >= 0 && rc < CORE_CODES ? core_codes[rc].status : 500; }

const char *maph_code(int rc) {
  return rc >= 0 && rc < CORE_CODES ? core_codes[rc].code : "internal";
}

static const struct {
  int status;
  const char *title;
} titles[] = {
  { 101, "Switching Protocols" },
  { 200, "OK" },
  { 201, "Created" },
  { 202, "Accepted" },
  { 204, "No Content" },
  { 206, "Partial Content" },
  { 304, "Not Modified" },
  { 400, "Bad Request" },
  { 401, "Unauthorized" },
  { 403, "Forbidden" },
  { 404, "Not Found" },
  { 405, "Method Not Allowed" },
  { 408, "Request Timeout" },
  { 409, "Conflict" },
  { 410, "Gone" },
  { 411, "Length Required" },
  { 412, "Precondition Failed" },
  { 413, "Content Too Large" },
  { 414, "URI Too Long" },
  { 415, "Unsupported Media Type" },
  { 416, "Range Not Satisfiable" },
  { 417, "Expectation Failed" },
  { 421, "Misdirected Request" },
  { 426, "Upgrade Required" },
  { 428, "Precondition Required" },
  { 429, "Too Many Requests" },
  { 431, "Request Header Fields Too Large" },
  { 500, "Internal Server Error" },
  { 501, "Not Implemented" },
  { 503, "Service Unavailable" },
  { 505, "HTTP Version Not Supported" },
  { 507, "Insufficient Storage" },
};

const char *status_title(int status) {
  for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
    if (titles[i].status == status) return titles[i].title;
  return "Unknown";
}

int status_at(int i) {
  return i >= 0 && (size_t)i < sizeof titles / sizeof titles[0] ? titles[i].status : 0;
}

/* ------------------------------------------------------------------------------------- the head */
/* The Date header's value, made once a second in each thread. */
static const char *date_text(void) {
  static _Thread_local time_t made;
  static _Thread_local char text[40];
  time_t now = time(NULL);
  if (now != made) {
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    made = now;
  }
  return text;
}

void reply_extra(request *r, const char *format, ...) {
  size_t used = strlen(r->extra);
  va_list ap;
  int n;
  va_start(ap, format);
  n = vsnprintf(r->extra + used, sizeof r->extra - used, format, ap);
  va_end(ap);
  if (n < 0 || (size_t)n + 3 > sizeof r->extra - used)
    r->extra[used] = 0;
  else
    strcat(r->extra, "\r\n");
}

/* The page of an origin that --origin names may see the answer. */
static void allow_origin(request *r) {
  reply_header(r, "Access-Control-Allow-Origin", r->origin);
  reply_header(
      r, "Access-Control-Expose-Headers",
      "ETag, Link, Location, Maph-Expires-At, Maph-Failed-Operation, Maph-Role, Maph-Type, "
      "Retry-After, X-Request-Id");
}

void reply_start(request *r, int status) {
  buffer *b = r->head;
  r->status = status;
  b->size = 0;
  buffer_text(b, "HTTP/1.1 ");
  buffer_number(b, (uint64_t)status);
  buffer_append(b, " ", 1);
  buffer_text(b, status_title(status));
  buffer_text(b, "\r\nDate: ");
  buffer_text(b, date_text());
  buffer_text(b, "\r\nX-Request-Id: ");
  buffer_text(b, r->id);
  buffer_text(b, "\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: "
                 "same-origin\r\nCache-Control: ");
  buffer_text(b, r->may_be_kept ? "private, no-cache\r\n" : "no-store\r\n");
  if (r->origin) allow_origin(r);
  buffer_text(b, r->extra);
}

static void vary(request *r) {
  const char *names[] = { r->varies_by_accept ? "Accept" : NULL,
                          r->varies_by_encoding ? "Accept-Encoding" : NULL,
                          r->origin ? "Origin" : NULL };
  const char *before = "Vary: ";
  for (int i = 0; i < 3; i++) {
    if (names[i] == NULL) continue;
    buffer_text(r->head, before);
    buffer_text(r->head, names[i]);
    before = ", ";
  }
  if (*before == ',') buffer_text(r->head, "\r\n");
}

bool reply_compressed(request *r, const char *content_type, uint64_t size, bool part) {
  compress_choose(r, content_type, size, part);
  r->chosen = true;
  return r->gzip;
}

void reply_header(request *r, const char *name, const char *value) {
  buffer_text(r->head, name);
  buffer_append(r->head, ": ", 2);
  buffer_text(r->head, value);
  buffer_append(r->head, "\r\n", 2);
}

void reply_header_number(request *r, const char *name, const char *before, uint64_t number,
                         const char *after) {
  buffer_text(r->head, name);
  buffer_append(r->head, ": ", 2);
  buffer_text(r->head, before);
  buffer_number(r->head, number);
  buffer_text(r->head, after);
  buffer_append(r->head, "\r\n", 2);
}

static void end_head(request *r, const char *content_type) {
  if (http_draining() || http_crowded()) r->close = true;
  if (!body_skip(r)) {
    r->close = true;
    http_disable_keep_alive(r);
  }
  if (content_type) reply_header(r, "Content-Type", content_type);
  if (r->gzip && content_type) reply_header(r, "Content-Encoding", "gzip");
  vary(r);
  if (r->close)
    reply_header(r, "Connection", "close");
  else if (strcmp(r->version, "1.1") != 0)
    reply_header(r, "Connection", "keep-alive");
}

/* Send the head and the body; a head that could not be built (no memory) ends the connection
** instead. */
static void send_all(request *r, const void *body, size_t size) {
  size_t first = size < ONE_WRITE ? size : ONE_WRITE;
  buffer_append(r->head, "\r\n", 2);
  buffer_append(r->head, body, first);
  if (r->head->failed) {
    r->broken = true;
    return;
  }
  if (http_write(r, r->head->data, r->head->size) && size > first) {
    http_write(r, (const char *)body + first, size - first);
  }
}

static bool append(void *to, const void *bytes, size_t size) {
  buffer_append(to, bytes, size);
  return true;
}

/* A body that is compressed as a whole; a large one is sent as it is compressed.  Of HEAD nobody
** knows its length. */
static void send_compressed(request *r, const char *content_type, const void *body, size_t size) {
  buffer packed = { 0 };
  compressor *c;
  if (r->method == METHOD_HEAD) {
    end_head(r, content_type);
    send_all(r, NULL, 0);
    return;
  }
  if (size > AT_ONCE) {
    if (reply_stream(r, content_type) && reply_stream_write(r, body, size)) reply_stream_end(r);
    return;
  }
  c = compress_begin(size);
  if (c == NULL || !compress_some(c, body, size, append, &packed)
      || !compress_end(c, append, &packed) || packed.failed) {
    r->broken = true; /* the tag is said already */
  } else {
    end_head(r, content_type);
    reply_header_number(r, "Content-Length", "", packed.size, "");
    send_all(r, packed.data, packed.size);
  }
  compress_free(c);
  buffer_free(&packed);
}

/* Answers without a tag. */
static void choose(request *r, const char *content_type, uint64_t size) {
  if (!r->chosen) compress_choose(r, content_type, size, false);
}

void reply_send(request *r, const char *content_type, const void *body, size_t size) {
  if (size > ONE_WRITE && r->method == METHOD_GET && waits_full(WAIT_ANSWER)) {
    reply_problem(r, 503, "busy", "too many clients read their answers slowly: come again");
    return;
  }
  choose(r, content_type, size);
  if (r->gzip) {
    send_compressed(r, content_type, body, size);
    return;
  }
  end_head(r, content_type);
  reply_header_number(r, "Content-Length", "", size, "");
  send_all(r, body, r->method == METHOD_HEAD ? 0 : size);
}

void reply_head_only(request *r, const char *content_type, uint64_t size) {
  choose(r, content_type, size);
  end_head(r, content_type);
  if (!r->gzip) reply_header_number(r, "Content-Length", "", size, "");
  send_all(r, NULL, 0);
}

void reply_empty(request *r, int status) {
  if (r->head->size == 0 || r->status != status) reply_start(r, status);
  end_head(r, NULL);
  send_all(r, NULL, 0);
}

void reply_json(request *r, int status, const buffer *json) {
  if (json->failed) {
    reply_problem(r, 503, "no_memory", "out of memory for the answer");
    return;
  }
  if (r->head->size == 0 || r->status != status) reply_start(r, status);
  reply_send(r, "application/json", json->data, json->size);
}

/* ------------------------------------------------------------------------------------- problems */
void reply_problem(request *r, int status, const char *code, const char *format, ...) {
  char detail[1024];
  buffer *b = r->body;
  va_list ap;
  if (r->status != 0 && r->bytes_out > 0) return; /* an answer is under way already */
  va_start(ap, format);
  vsnprintf(detail, sizeof detail, format, ap);
  va_end(ap);
  b->size = 0;
  b->failed = false;
  r->may_be_kept = r->chosen = r->gzip = r->varies_by_encoding = false;
  buffer_printf(b, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"code\":\"%s\",",
                status_title(status), status, code);
  emit_bytes(b, "detail", "detail_encoding", maph_str(detail));
  buffer_printf(b, "%s,\"request_id\":\"%s\"}\n", r->members, r->id);
  reply_start(r, status);
  if (status == 503 || status == 429) reply_header(r, "Retry-After", "1");
  if (b->failed)
    reply_send(r, NULL, NULL, 0);
  else
    reply_send(r, "application/problem+json", b->data, b->size);
}

/* ------------------------------------------------------------------------------------ streaming */
bool reply_stream(request *r, const char *content_type) {
  r->chunked = strcmp(r->version, "1.1") == 0;
  if (!r->chunked) r->close = true;
  choose(r, content_type, UINT64_MAX);
  if (r->gzip && r->method != METHOD_HEAD && (r->compressor = compress_begin(UINT64_MAX)) == NULL) {
    r->broken = true;
    return false;
  }
  end_head(r, content_type);
  if (r->chunked) reply_header(r, "Transfer-Encoding", "chunked");
  send_all(r, NULL, 0);
  return !r->broken;
}

static bool write_piece(void *to, const void *data, size_t size) {
  request *r = to;
  buffer *b = r->head;
  if (!r->chunked) return http_write(r, data, size);
  b->size = 0;
  buffer_printf(b, "%zx\r\n", size);
  buffer_append(b, data, size);
  buffer_append(b, "\r\n", 2);
  if (b->failed) r->broken = true;
  return !r->broken && http_write(r, b->data, b->size);
}

bool reply_stream_write(request *r, const void *data, size_t size) {
  if (size == 0 || r->method == METHOD_HEAD || r->broken) return !r->broken;
  if (r->compressor == NULL) return write_piece(r, data, size);
  if (!compress_some(r->compressor, data, size, write_piece, r)) r->broken = true;
  return !r->broken;
}

void reply_release(request *r) {
  compress_free(r->compressor);
  r->compressor = NULL;
}

bool reply_stream_body(request *r, size_t above) {
  if (r->body->failed) r->broken = true;
  if (r->body->size > above) {
    reply_stream_write(r, r->body->data, r->body->size);
    r->body->size = 0;
  }
  return !r->broken;
}

/* A json_put. */
static bool put_entry(void *to, const void *bytes, size_t size) {
  request *r = to;
  buffer_append(r->body, bytes, size);
  return reply_stream_body(r, STREAM_AT);
}

bool reply_stream_entry(request *r, const maph_entry *e) {
  json_writer out;
  json_write_begin(&out, put_entry, r);
  entry_write(&out, e, true);
  return json_write_end(&out);
}

/* Only a complete body gets its last chunk: a client of a broken one sees that it is. */
void reply_stream_end(request *r) {
  if (r->compressor && !r->broken && !compress_end(r->compressor, write_piece, r)) r->broken = true;
  reply_release(r);
  if (r->chunked && r->method != METHOD_HEAD && !r->broken) http_write(r, "0\r\n\r\n", 5);
}
