/*
** head.c - a request's head as bytes: where it ends, and what a plain one says.
**
** A PLAIN head is a GET or HEAD without a body, in the narrowest form that RFC 9112 has:
**
**     GET /stores/s/keys/k?entry=1 HTTP/1.1 CR LF
**     Host: localhost CR LF
**     CR LF
**
** one blank where one must be, no byte that is not printable ASCII, no blank at the end of a line,
** nothing that says how a body is framed or that the protocol changes, few headers, and short ones.
** Every HTTP parser reads it alike, civetweb too; so a plain head may be read here and any other by
** civetweb, and it is still one set of rules.  test/http_ways.test holds the two against each
** other.
*/
#include <string.h>
#include <strings.h>
#include "http/head.h"

enum { PLAIN_HEADERS_MOST = 48 };

/* What civetweb will make of these bytes: it ends a head at the first empty line, and refuses it
** at the first byte that is no text; both are its business. */
bool head_ends(const char *bytes, size_t size, size_t from) {
  for (size_t i = from; i < size; i++) {
    unsigned char c = (unsigned char)bytes[i];
    if (c == '\n' && i >= 1 && bytes[i - 1] == '\n') return true;
    if (c == '\n' && i >= 3 && memcmp(bytes + i - 3, "\r\n\r\n", 4) == 0) return true;
    if ((c < 32 && c != '\r' && c != '\n') || c == 127) return true;
  }
  return false;
}

bool head_may_be_plain(const char *bytes, size_t size) {
  return size > 5 && (memcmp(bytes, "GET /", 5) == 0 || memcmp(bytes, "HEAD ", 5) == 0);
}

/* ------------------------------------------------------------------------------ a plain head */
/* Bits of a byte: it may stand in a header's name, in a target, in a header's value. */
enum { NAME = 1, TARGET = 2, VALUE = 4 };
static const unsigned char kinds[256] = {
#define T (NAME | TARGET | VALUE)
#define N (NAME | VALUE)
#define U (TARGET | VALUE)
#define V VALUE
  [' '] = V, ['!'] = T, ['"'] = V, ['#'] = N, ['$'] = T,  ['%'] = T, ['&'] = T, ['\''] = T,
  ['('] = U, [')'] = U, ['*'] = T, ['+'] = T, [','] = U,  ['-'] = T, ['.'] = T, ['/'] = U,
  ['0'] = T, ['1'] = T, ['2'] = T, ['3'] = T, ['4'] = T,  ['5'] = T, ['6'] = T, ['7'] = T,
  ['8'] = T, ['9'] = T, [':'] = U, [';'] = U, ['<'] = V,  ['='] = U, ['>'] = V, ['?'] = U,
  ['@'] = U, ['A'] = T, ['B'] = T, ['C'] = T, ['D'] = T,  ['E'] = T, ['F'] = T, ['G'] = T,
  ['H'] = T, ['I'] = T, ['J'] = T, ['K'] = T, ['L'] = T,  ['M'] = T, ['N'] = T, ['O'] = T,
  ['P'] = T, ['Q'] = T, ['R'] = T, ['S'] = T, ['T'] = T,  ['U'] = T, ['V'] = T, ['W'] = T,
  ['X'] = T, ['Y'] = T, ['Z'] = T, ['['] = V, ['\\'] = V, [']'] = V, ['^'] = N, ['_'] = T,
  ['`'] = N, ['a'] = T, ['b'] = T, ['c'] = T, ['d'] = T,  ['e'] = T, ['f'] = T, ['g'] = T,
  ['h'] = T, ['i'] = T, ['j'] = T, ['k'] = T, ['l'] = T,  ['m'] = T, ['n'] = T, ['o'] = T,
  ['p'] = T, ['q'] = T, ['r'] = T, ['s'] = T, ['t'] = T,  ['u'] = T, ['v'] = T, ['w'] = T,
  ['x'] = T, ['y'] = T, ['z'] = T, ['{'] = V, ['|'] = N,  ['}'] = V, ['~'] = T,
#undef T
#undef N
#undef U
#undef V
};

/* The first byte at or after `at` that is none of a kind; what follows the head's bytes is a NUL,
** which is of none. */
static char *span(char *at, int kind) {
  while (kinds[(unsigned char)*at] & kind) at++;
  return at;
}

bool head_is_name(const char *name) {
  size_t size = strlen(name), i = 0;
  while (i < size && kinds[(unsigned char)name[i]] & NAME) i++;
  return size > 0 && i == size;
}

static bool is(const char *text, size_t size, const char *word, size_t word_size) {
  return size == word_size && strncasecmp(text, word, size) == 0;
}
#define IS(text, size, word) is(text, size, word, sizeof(word) - 1)

/* Not what frames a body, waits for a word to go on, or changes the protocol or the connection. */
static bool is_plain(const header *header, size_t value_size) {
  switch (header->name_size) {
    case 6: return !IS(header->name, 6, "Expect");
    case 7: return !IS(header->name, 7, "Upgrade") && !IS(header->name, 7, "Trailer");
    case 10:
      return !IS(header->name, 10, "Connection") || IS(header->value, value_size, "keep-alive")
             || IS(header->value, value_size, "close");
    case 14: return !IS(header->name, 14, "Content-Length");
    case 17: return !IS(header->name, 17, "Transfer-Encoding");
    default: return true;
  }
}

/* NAME: VALUE CR LF.  What follows it; NULL: it is none, or not plain. */
static char *read_header(char *at, header *header) {
  char *end = span(at, NAME);
  header->name = at;
  header->name_size = (unsigned)(end - at);
  if (end == at || *end != ':') return NULL;
  *end++ = 0;
  while (*end == ' ') end++;
  header->value = end;
  end = span(end, VALUE);
  if (end[0] != '\r' || end[1] != '\n' || (end > header->value && end[-1] == ' ')) return NULL;
  if (!is_plain(header, (size_t)(end - header->value))) return NULL;
  *end = 0;
  return end + 2;
}

/* GET /path?query HTTP/1.1 CR LF.  What follows it; NULL: it is none that is plain. */
static char *read_line(char *at, request *request) {
  size_t method_size = at[0] == 'G' ? 3 : 4;
  char *end, *mark;
  request->method_name = at;
  request->method = method_size == 3 ? METHOD_GET : METHOD_HEAD;
  if (memcmp(at, method_size == 3 ? "GET /" : "HEAD /", method_size + 2) != 0) return NULL;
  at[method_size] = 0;
  request->path = at + method_size + 1;
  end = span(at + method_size + 1, TARGET);
  if (strncmp(end, " HTTP/1.1\r\n", 11) != 0) return NULL;
  *end = 0;
  request->version = end + 6;
  end[9] = 0;
  mark = strchr(at + method_size + 1, '?');
  request->query_text = NULL;
  if (mark) {
    *mark = 0;
    request->query_text = mark + 1;
  }
  return end + 11;
}

size_t head_read(char *bytes, size_t size, request *request) {
  char *at = bytes;
  if (!head_may_be_plain(bytes, size)) return 0;
  bytes[size] = 0;
  at = read_line(at, request);
  request->header_count = 0;
  request->name_sizes = 0;
  while (at && *at != '\r') {
    header *header = &request->headers[request->header_count++];
    if (request->header_count > PLAIN_HEADERS_MOST) return 0;
    at = read_header(at, header);
    request_note(request, header);
  }
  return at && at[1] == '\n' ? (size_t)(at + 2 - bytes) : 0;
}

size_t head_scheme_size(const char *target) {
  if (strncasecmp(target, "http://", 7) == 0) return 7;
  return strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
}

/* ------------------------------------------------------------------------------ persistence */
/* Civetweb ends a connection that asks for another protocol, but for HTTP/2. */
static bool ends_for_upgrade(const request *request) {
  const char *wishes = request_header(request, "Connection"),
             *to = request_header(request, "Upgrade");
  if (wishes == NULL || strcasestr(wishes, "upgrade") == NULL) return false;
  return to == NULL || strcasestr(to, "websocket") || strcasestr(to, "h2") == NULL;
}

bool head_closes(const request *request) {
  bool newer = strcmp(request->version, "1.1") == 0;
  return request_lists(request, "Connection", "close") || ends_for_upgrade(request)
         || (!newer && !request_lists(request, "Connection", "keep-alive"));
}
