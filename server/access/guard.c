/*
** guard.c - what is refused before any handler runs, in one place.
**
** Against request smuggling and civetweb's leniency: exactly one decimal Content-Length, or exactly
** one `chunked`, never both; no more headers than civetweb kept, and no line that made it drop
** those after it; one Host.  Against a web page in somebody's browser: Host must be a name of this
** server (DNS rebinding ends here, for reads too), and a write that a browser marks as coming from
** elsewhere is refused. A browser marks every cross-site write with Origin or Sec-Fetch-Site; curl
** sends neither and needs no special header.  Nor may a stored value become a script, even of a
** page of this server: that is asked when its bytes are about to go out.
*/
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "access/guard.h"
#include "base/options.h"
#include "http/reply.h"

enum { NAMES = 64, HEAD_BYTES_MAX = 16384, PATH_BYTES_MAX = 49152 };
static char *names[NAMES], *origins[NAMES];
static int name_count, origin_count;
static bool any_name, any_address;

static bool add(char **list, int *count, const char *text, size_t size) {
  if (size == 0) return true;
  if (*count == NAMES || (list[*count] = strndup(text, size)) == NULL) return false;
  ++*count;
  return true;
}

static bool add_each(char **list, int *count, const char *text) {
  while (text && *text) {
    size_t size = strcspn(text, ",");
    if (!add(list, count, text, size)) return false;
    text += size + (text[size] == ',');
  }
  return true;
}

/* The host of one address to listen at is a name of this server, and * and the like are every
** address. */
static bool add_listen(const char *text, size_t size) {
  size_t host = 0;
  if (size >= 5 && memcmp(text, "unix:", 5) == 0) return true;
  for (size_t i = 0; i < size; i++)
    if (text[i] == ':') host = i;
  if ((host == 1 && *text == '*') || (host == 7 && memcmp(text, "0.0.0.0", 7) == 0)
      || (host == 4 && memcmp(text, "[::]", 4) == 0)) {
    any_address = true;
    return true;
  }
  return add(names, &name_count, text, host);
}

bool guard_setup(void) {
  const char *listen = option.listen;
  bool ok = add_each(names, &name_count, "localhost,127.0.0.1,[::1]")
            && add_each(names, &name_count, option.host)
            && add_each(origins, &origin_count, option.origin);
  while (ok && *listen) {
    size_t size = strcspn(listen, ",");
    ok = add_listen(listen, size);
    listen += size + (listen[size] == ',');
  }
  for (int i = 0; i < name_count; i++)
    if (strcmp(names[i], "*") == 0) any_name = true;
  if (!ok)
    fprintf(stderr, "maph-server: at most %d names fit into host, listen and origin\n", NAMES);
  return ok;
}

bool guard_origin_allowed(const char *origin) {
  for (int i = 0; i < origin_count; i++)
    if (strcmp(origins[i], origin) == 0) return true;
  return false;
}

static int count(const request *request, const char *name, size_t size) {
  int n = 0;
  for (int i = 0; i < request->header_count; i++)
    n += request->headers[i].name_size == size && strcasecmp(request->headers[i].name, name) == 0;
  return n;
}

static inline int occurrences(const request *request, const char *name) {
  size_t size = strlen(name);
  return request_may_have(request, size) ? count(request, name, size) : 0;
}

/* The end of the host in HOST or HOST:PORT, NULL when it is neither. */
static const char *host_end(const char *text) {
  const char *end = *text == '[' ? strchr(text, ']') : strchrnul(text, ':');
  size_t digits;
  if (end == NULL || end == text) return NULL;
  if (*end == ']') end++;
  if (*end == 0) return end;
  if (*end != ':') return NULL;
  digits = strspn(end + 1, "0123456789");
  return digits > 0 && digits <= 5 && end[1 + digits] == 0 ? end : NULL;
}

/* 192.0.2.1, or [2001:db8::1]. */
static bool is_address(const char *host, size_t size) {
  char copy[INET6_ADDRSTRLEN + 2];
  struct in6_addr address;
  bool v6 = size > 2 && host[0] == '[' && host[size - 1] == ']';
  if (size >= sizeof copy) return false;
  memcpy(copy, host + v6, size - 2 * (size_t)v6);
  copy[size - 2 * (size_t)v6] = 0;
  return inet_pton(v6 ? AF_INET6 : AF_INET, copy, &address) == 1;
}

static bool is_own_name(const char *host, size_t size) {
  if (any_name) return true;
  for (int i = 0; i < name_count; i++) {
    if (strlen(names[i]) == size && strncasecmp(names[i], host, size) == 0) return true;
  }
  return any_address && is_address(host, size);
}

static bool guard_host(request *request) {
  const char *host = request_host(request), *end;
  int n = occurrences(request, "Host");
  /* no browser speaks it */
  if (n == 0 && strcmp(request->version, "1.0") == 0 && request->authority[0] == 0) return true;
  if ((n != 1 && !(n == 0 && strcmp(request->version, "1.0") == 0))
      || (end = host_end(host)) == NULL || host[strcspn(host, " \t\"<>\\/@?#")] != 0) {
    request->reply.close = true;
    reply_problem(request, 400, "bad_host",
                  "a request names its host once: Host: NAME or Host: NAME:PORT");
    return false;
  }
  if (is_own_name(host, (size_t)(end - host))) return true;
  reply_problem(request, 421, "foreign_host",
                "this server does not go by that name; start it with --host NAME if it should");
  return false;
}

static bool decimal(const char *text) {
  size_t n = strspn(text, "0123456789");
  return n > 0 && n <= 18 && text[n] == 0;
}

/* How long the body is must be beyond doubt, or the next request would begin in the middle of
** it. */
static bool guard_framing(request *request) {
  int lengths = occurrences(request, "Content-Length"),
      encodings = occurrences(request, "Transfer-Encoding");
  const char *length = request_header(request, "Content-Length"),
             *encoding = request_header(request, "Transfer-Encoding");
  const char *expect = request_header(request, "Expect");
  bool closes = request->reply.close;
  request->reply.close = true;
  if (lengths + encodings > 1) {
    reply_problem(request, 400, "ambiguous_length",
                  "a body has one Content-Length or is chunked, not both, and neither twice");
  } else if (length && !decimal(length)) {
    reply_problem(request, 400, "bad_length", "Content-Length is a decimal number");
  } else if (encoding
             && (strcasecmp(encoding, "chunked") != 0 || strcmp(request->version, "1.0") == 0)) {
    reply_problem(request, 400, "bad_transfer_encoding",
                  "the only transfer encoding is chunked, in HTTP/1.1");
  } else if (expect && strcasecmp(expect, "100-continue") != 0) {
    reply_problem(request, 417, "bad_expectation", "the only expectation is 100-continue");
  } else {
    request->reply.close = closes;
    request->upload.length = length ? strtoll(length, NULL, 10) : 0;
    if (encoding) request->upload.length = -1;
    request->upload.done = request->upload.length == 0;
    request->upload.expects_continue =
        expect && !request->upload.done && strcmp(request->version, "1.0") != 0;
    return true;
  }
  return false;
}

/* After a line that was not understood there may be others, which would have said how the request
** is to be taken. */
static bool guard_lines(request *request) {
  if (!request->malformed_head) return true;
  request->reply.close = true;
  reply_problem(request, 400, "malformed_request",
                "a header is one line, NAME: VALUE, which ends in CR LF");
  return false;
}

static bool guard_size(request *request) {
  size_t bytes = 0;
  for (int i = 0; i < request->header_count; i++)
    bytes += request->headers[i].name_size + strlen(request->headers[i].value) + 4;
  if (request->truncated_headers || bytes > HEAD_BYTES_MAX) {
    request->reply.close = true;
    reply_problem(request, 431, "headers_too_large", "at most %d headers and %d bytes of them",
                  HEADER_MAX - 1, HEAD_BYTES_MAX);
    return false;
  }
  if (strlen(request->path) + (request->query_text ? strlen(request->query_text) : 0)
      > PATH_BYTES_MAX) {
    request->reply.close = true;
    reply_problem(request, 414, "uri_too_long",
                  "a path and query of at most %d bytes; longer keys fit into a batch",
                  PATH_BYTES_MAX);
    return false;
  }
  return true;
}

static bool same_origin(const char *origin, const char *host) {
  return host && strncasecmp(origin, "http", 4) == 0
         && ((strncasecmp(origin + 4, "://", 3) == 0 && strcasecmp(origin + 7, host) == 0)
             || (strncasecmp(origin + 4, "s://", 4) == 0 && strcasecmp(origin + 8, host) == 0));
}

bool guard_foreign(const request *request) {
  const char *origin = request_header(request, "Origin"),
             *site = request_header(request, "Sec-Fetch-Site");
  if (origin) return !same_origin(origin, request_host(request)) && !guard_origin_allowed(origin);
  return site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
}

/* A write that a browser makes for another site's page. */
static bool guard_origin(request *request) {
  if (request->method & (METHOD_GET | METHOD_HEAD | METHOD_OPTIONS) || !guard_foreign(request))
    return true;
  reply_problem(request, 403, "foreign_origin",
                "a page of another site may not write here; --origin URL allows one");
  return false;
}

/* What stored bytes may become in a browser: data for a page's own code, a document of its own
** (keys.c sandboxes it), or a picture or sound.  A browser that would make a script, a style, a
** worker or a part of a page of them says so in Sec-Fetch-Dest. */
bool guard_destination(request *request) {
  static const char *const harmless[] = { "empty", "document", "image", "audio", "video" };
  const char *destination = request_header(request, "Sec-Fetch-Dest");
  if (destination == NULL) return true;
  for (int i = 0; i < 5; i++)
    if (strcmp(destination, harmless[i]) == 0) return true;
  reply_problem(request, 403, "unsafe_destination",
                "a stored value is data: a browser may show or fetch it, and never run it or build "
                "a page of it");
  return false;
}

/* A compressed body would be kept, or parsed, as it is. */
static bool guard_encoding(request *request) {
  const char *encoding = request_header(request, "Content-Encoding");
  if (encoding == NULL || strcasecmp(encoding, "identity") == 0) return true;
  reply_problem(request, 415, "bad_content_encoding",
                "bodies are taken as they are, without Content-Encoding");
  return false;
}

bool guard_request(request *request) {
  return guard_lines(request) && guard_size(request) && guard_framing(request)
         && guard_host(request) && guard_origin(request) && guard_encoding(request);
}
