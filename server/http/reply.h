/*
** reply.h - answers.
*/
#ifndef MAPH_HTTP_REPLY_H
#define MAPH_HTTP_REPLY_H

#include "http/request.h"

/* A streamed answer is sent whenever so much of it is there; a value above LONG_VALUE is never in
** memory as a whole. */
enum { STREAM_AT = 128 * 1024, LONG_VALUE = 96 * 1024 };
/* reply_start, then headers (never with the client's bytes in them), then one of send, head_only or
** stream. */
void reply_start(request *request, int status);
/* In line: of most the name and the value are constants. */
static inline __attribute__((always_inline)) void reply_header(request *request, const char *name,
                                                               const char *value) {
  buffer_text(request->reply.head, name);
  buffer_append(request->reply.head, ": ", 2);
  buffer_text(request->reply.head, value);
  buffer_append(request->reply.head, "\r\n", 2);
}
void reply_header_number(request *request, const char *name, const char *before, uint64_t number,
                         const char *after);
/* A line for any answer to come. */
void reply_extra(request *request, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Before reply_start of an answer that has a tag: is its body, of that type and size, compressed?
** part: it is a part of a value.  Answers without a tag decide it themselves. */
bool reply_compressed(request *request, const char *content_type, uint64_t size, bool part);
/* Content type NULL: none. */
void reply_send(request *request, const char *content_type, const void *body, size_t size);
void reply_empty(request *request, int status);
void reply_json(request *request, int status, const buffer *json);
/* of a body that large */
void reply_head_only(request *request, const char *content_type, uint64_t size);
void reply_problem(request *request, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int maph_status(int rc); /* the core's code as HTTP's */
const char *maph_code(int rc);
const char *status_title(int status);
int status_at(int i); /* the i-th of the statuses that are answered; 0: there are fewer */
/* A body of unknown length, after reply_start: chunked for HTTP/1.1, until the end of the
** connection for 1.0. */
bool reply_stream(request *request, const char *content_type);
bool reply_stream_write(request *request, const void *data, size_t size);
void reply_stream_end(request *request);
void reply_release(request *request); /* what a stream that broke off left */
/* Send what request->reply.body holds when it is more than that, and empty it. */
bool reply_stream_body(request *request, size_t above);
/* An entry's members into the reply's body, its value in pieces that are sent on the way: whatever
** its size it costs no memory. */
bool reply_stream_entry(request *request, const maph_entry *entry);

#endif
