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
  const char *line;
} lines[] = {
  { 101, "HTTP/1.1 101 Switching Protocols" },
  { 200, "HTTP/1.1 200 OK" },
  { 201, "HTTP/1.1 201 Created" },
  { 202, "HTTP/1.1 202 Accepted" },
  { 204, "HTTP/1.1 204 No Content" },
  { 206, "HTTP/1.1 206 Partial Content" },
  { 304, "HTTP/1.1 304 Not Modified" },
  { 400, "HTTP/1.1 400 Bad Request" },
  { 401, "HTTP/1.1 401 Unauthorized" },
  { 403, "HTTP/1.1 403 Forbidden" },
  { 404, "HTTP/1.1 404 Not Found" },
  { 405, "HTTP/1.1 405 Method Not Allowed" },
  { 408, "HTTP/1.1 408 Request Timeout" },
  { 409, "HTTP/1.1 409 Conflict" },
  { 410, "HTTP/1.1 410 Gone" },
  { 411, "HTTP/1.1 411 Length Required" },
  { 412, "HTTP/1.1 412 Precondition Failed" },
  { 413, "HTTP/1.1 413 Content Too Large" },
  { 414, "HTTP/1.1 414 URI Too Long" },
  { 415, "HTTP/1.1 415 Unsupported Media Type" },
  { 416, "HTTP/1.1 416 Range Not Satisfiable" },
  { 417, "HTTP/1.1 417 Expectation Failed" },
  { 421, "HTTP/1.1 421 Misdirected Request" },
  { 426, "HTTP/1.1 426 Upgrade Required" },
  { 428, "HTTP/1.1 428 Precondition Required" },
  { 429, "HTTP/1.1 429 Too Many Requests" },
  { 431, "HTTP/1.1 431 Request Header Fields Too Large" },
  { 500, "HTTP/1.1 500 Internal Server Error" },
  { 501, "HTTP/1.1 501 Not Implemented" },
  { 503, "HTTP/1.1 503 Service Unavailable" },
  { 504, "HTTP/1.1 504 Gateway Timeout" },
  { 505, "HTTP/1.1 505 HTTP Version Not Supported" },
  { 507, "HTTP/1.1 507 Insufficient Storage" },
};

enum { BEFORE_TITLE = sizeof "HTTP/1.1 200 " - 1 };

static const char *status_line(int status) {
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
    if (lines[i].status == status) return lines[i].line;
  return NULL;
}

const char *status_title(int status) {
  const char *line = status_line(status);
  return line ? line + BEFORE_TITLE : "Unknown";
}

int status_at(int i) {
  return i >= 0 && (size_t)i < sizeof lines / sizeof lines[0] ? lines[i].status : 0;
}

/* ------------------------------------------------------------------------------------- the head */
/* The Date header, made once a second in each thread, and what stands around its value. */
static void add_date(buffer *buffer) {
  static _Thread_local time_t made;
  static _Thread_local char text[64];
  static _Thread_local size_t size;
  time_t now = time(NULL);
  if (now != made) {
    struct tm tm;
    gmtime_r(&now, &tm);
    size =
        strftime(text, sizeof text, "\r\nDate: %a, %d %b %Y %H:%M:%S GMT\r\nX-Request-Id: ", &tm);
    made = now;
  }
  buffer_append(buffer, text, size);
}

void reply_extra(request *request, const char *format, ...) {
  size_t used = strlen(request->reply.extra);
  va_list ap;
  int n;
  va_start(ap, format);
  n = vsnprintf(request->reply.extra + used, sizeof request->reply.extra - used, format, ap);
  va_end(ap);
  if (n < 0 || (size_t)n + 3 > sizeof request->reply.extra - used)
    request->reply.extra[used] = 0;
  else
    strcat(request->reply.extra, "\r\n");
}

/* The page of an origin that --origin names may see the answer. */
static void allow_origin(request *request) {
  reply_header(request, "Access-Control-Allow-Origin", request->reply.origin);
  reply_header(
      request, "Access-Control-Expose-Headers",
      "ETag, Link, Location, Maph-Expires-At, Maph-Failed-Operation, Maph-Role, Maph-Type, "
      "Maph-Visible, Retry-After, X-Request-Id");
}

void reply_start(request *request, int status) {
  buffer *buffer = request->reply.head;
  const char *line = status_line(status);
  request->reply.status = status;
  buffer->size = 0;
  if (line)
    buffer_text(buffer, line);
  else
    buffer_printf(buffer, "HTTP/1.1 %d Unknown", status);
  add_date(buffer);
  buffer_text(buffer, request->id);
  buffer_text(buffer, "\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: "
                      "same-origin\r\nCache-Control: ");
  buffer_text(buffer, request->reply.may_be_kept ? "private, no-cache\r\n" : "no-store\r\n");
  if (request->reply.origin) allow_origin(request);
  buffer_text(buffer, request->reply.extra);
}

static void vary(request *request) {
  const char *names[] = { request->reply.varies_by_accept ? "Accept" : NULL,
                          request->reply.varies_by_encoding ? "Accept-Encoding" : NULL,
                          request->reply.origin ? "Origin" : NULL };
  const char *before = "Vary: ";
  for (int i = 0; i < 3; i++) {
    if (names[i] == NULL) continue;
    buffer_text(request->reply.head, before);
    buffer_text(request->reply.head, names[i]);
    before = ", ";
  }
  if (*before == ',') buffer_text(request->reply.head, "\r\n");
}

bool reply_compressed(request *request, const char *content_type, uint64_t size, bool part) {
  compress_choose(request, content_type, size, part);
  request->reply.chosen = true;
  return request->reply.gzip;
}

void reply_header_number(request *request, const char *name, const char *before, uint64_t number,
                         const char *after) {
  buffer_text(request->reply.head, name);
  buffer_append(request->reply.head, ": ", 2);
  buffer_text(request->reply.head, before);
  buffer_number(request->reply.head, number);
  buffer_text(request->reply.head, after);
  buffer_append(request->reply.head, "\r\n", 2);
}

static void end_head(request *request, const char *content_type) {
  if (http_draining()) request->reply.close = true;
  if (!body_skip(request)) {
    request->reply.close = true;
    http_disable_keep_alive(request);
  }
  if (http_crowded(request)) request->reply.close = true;
  if (content_type) reply_header(request, "Content-Type", content_type);
  if (request->reply.gzip && content_type) reply_header(request, "Content-Encoding", "gzip");
  vary(request);
  if (request->reply.close)
    reply_header(request, "Connection", "close");
  else if (strcmp(request->version, "1.1") != 0)
    reply_header(request, "Connection", "keep-alive");
}

/* Send the head and the body; a head that could not be built (no memory) ends the connection
** instead. */
static void send_all(request *request, const void *body, size_t size) {
  size_t first = size < ONE_WRITE ? size : ONE_WRITE;
  buffer_append(request->reply.head, "\r\n", 2);
  buffer_append(request->reply.head, body, first);
  if (request->reply.head->failed) {
    request->reply.broken = true;
    return;
  }
  if (http_write(request, request->reply.head->data, request->reply.head->size) && size > first) {
    http_write(request, (const char *)body + first, size - first);
  }
}

static bool append(void *to, const void *bytes, size_t size) {
  buffer_append(to, bytes, size);
  return true;
}

/* A body that is compressed as a whole; a large one is sent as it is compressed.  Of HEAD nobody
** knows its length. */
static void send_compressed(request *request, const char *content_type, const void *body,
                            size_t size) {
  buffer packed = { 0 };
  compressor *compressor;
  if (request->method == METHOD_HEAD) {
    end_head(request, content_type);
    send_all(request, NULL, 0);
    return;
  }
  if (size > AT_ONCE) {
    if (reply_stream(request, content_type) && reply_stream_write(request, body, size))
      reply_stream_end(request);
    return;
  }
  compressor = compress_begin(size);
  if (compressor == NULL || !compress_some(compressor, body, size, append, &packed)
      || !compress_end(compressor, append, &packed) || packed.failed) {
    request->reply.broken = true; /* the tag is said already */
  } else {
    end_head(request, content_type);
    reply_header_number(request, "Content-Length", "", packed.size, "");
    send_all(request, packed.data, packed.size);
  }
  compress_free(compressor);
  buffer_free(&packed);
}

/* Answers without a tag. */
static void choose(request *request, const char *content_type, uint64_t size) {
  if (!request->reply.chosen) compress_choose(request, content_type, size, false);
}

void reply_send(request *request, const char *content_type, const void *body, size_t size) {
  if (size > ONE_WRITE && request->method == METHOD_GET && waits_full(WAIT_ANSWER)) {
    reply_problem(request, 503, "busy", "too many clients read their answers slowly: come again");
    return;
  }
  choose(request, content_type, size);
  if (request->reply.gzip) {
    send_compressed(request, content_type, body, size);
    return;
  }
  end_head(request, content_type);
  reply_header_number(request, "Content-Length", "", size, "");
  send_all(request, body, request->method == METHOD_HEAD ? 0 : size);
}

void reply_head_only(request *request, const char *content_type, uint64_t size) {
  choose(request, content_type, size);
  end_head(request, content_type);
  if (!request->reply.gzip) reply_header_number(request, "Content-Length", "", size, "");
  send_all(request, NULL, 0);
}

void reply_empty(request *request, int status) {
  if (request->reply.head->size == 0 || request->reply.status != status)
    reply_start(request, status);
  end_head(request, NULL);
  send_all(request, NULL, 0);
}

void reply_json(request *request, int status, const buffer *json) {
  if (json->failed) {
    reply_problem(request, 503, "no_memory", "out of memory for the answer");
    return;
  }
  if (request->reply.head->size == 0 || request->reply.status != status)
    reply_start(request, status);
  reply_send(request, "application/json", json->data, json->size);
}

/* ------------------------------------------------------------------------------------- problems */
void reply_problem(request *request, int status, const char *code, const char *format, ...) {
  char detail[1024];
  buffer *buffer = request->reply.body;
  va_list ap;
  if (request->reply.status != 0 && request->reply.bytes_out > 0)
    return; /* an answer is under way already */
  va_start(ap, format);
  vsnprintf(detail, sizeof detail, format, ap);
  va_end(ap);
  buffer->size = 0;
  buffer->failed = false;
  request->reply.may_be_kept = request->reply.chosen = request->reply.gzip =
      request->reply.varies_by_encoding = false;
  buffer_printf(buffer, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"code\":\"%s\",",
                status_title(status), status, code);
  emit_bytes(buffer, "detail", "detail_encoding", maph_str(detail));
  buffer_printf(buffer, "%s,\"request_id\":\"%s\"}\n", request->reply.members, request->id);
  reply_start(request, status);
  if (status == 503 || status == 429) reply_header(request, "Retry-After", "1");
  if (buffer->failed)
    reply_send(request, NULL, NULL, 0);
  else
    reply_send(request, "application/problem+json", buffer->data, buffer->size);
}

/* ------------------------------------------------------------------------------------ streaming */
bool reply_stream(request *request, const char *content_type) {
  request->reply.chunked = strcmp(request->version, "1.1") == 0;
  if (!request->reply.chunked) request->reply.close = true;
  choose(request, content_type, UINT64_MAX);
  if (request->reply.gzip && request->method != METHOD_HEAD
      && (request->reply.compressor = compress_begin(UINT64_MAX)) == NULL) {
    request->reply.broken = true;
    return false;
  }
  end_head(request, content_type);
  if (request->reply.chunked) reply_header(request, "Transfer-Encoding", "chunked");
  send_all(request, NULL, 0);
  return !request->reply.broken;
}

static bool write_piece(void *to, const void *data, size_t size) {
  request *request = to;
  buffer *buffer = request->reply.head;
  if (!request->reply.chunked) return http_write(request, data, size);
  buffer->size = 0;
  buffer_printf(buffer, "%zx\r\n", size);
  buffer_append(buffer, data, size);
  buffer_append(buffer, "\r\n", 2);
  if (buffer->failed) request->reply.broken = true;
  return !request->reply.broken && http_write(request, buffer->data, buffer->size);
}

bool reply_stream_write(request *request, const void *data, size_t size) {
  if (size == 0 || request->method == METHOD_HEAD || request->reply.broken)
    return !request->reply.broken;
  if (request->reply.compressor == NULL) return write_piece(request, data, size);
  if (!compress_some(request->reply.compressor, data, size, write_piece, request))
    request->reply.broken = true;
  return !request->reply.broken;
}

void reply_release(request *request) {
  compress_free(request->reply.compressor);
  request->reply.compressor = NULL;
}

bool reply_stream_body(request *request, size_t above) {
  if (request->reply.body->failed) request->reply.broken = true;
  if (request->reply.body->size > above) {
    reply_stream_write(request, request->reply.body->data, request->reply.body->size);
    request->reply.body->size = 0;
  }
  return !request->reply.broken;
}

/* A json_put. */
static bool put_entry(void *to, const void *bytes, size_t size) {
  request *request = to;
  buffer_append(request->reply.body, bytes, size);
  return reply_stream_body(request, STREAM_AT);
}

bool reply_stream_entry(request *request, const maph_entry *entry) {
  json_writer out;
  json_write_begin(&out, put_entry, request);
  entry_write(&out, entry, true);
  return json_write_end(&out);
}

/* Only a complete body gets its last chunk: a client of a broken one sees that it is. */
void reply_stream_end(request *request) {
  if (request->reply.compressor && !request->reply.broken
      && !compress_end(request->reply.compressor, write_piece, request))
    request->reply.broken = true;
  reply_release(request);
  if (request->reply.chunked && request->method != METHOD_HEAD && !request->reply.broken)
    http_write(request, "0\r\n\r\n", 5);
}
