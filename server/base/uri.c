/*
** uri.c - the bytes that a request's path and query name.
**
** Each part is decoded once, by length, from what the client sent: %2F is not a separator, %00 is a
** byte, dots mean nothing.  What is not valid percent-encoding is refused, so that no two clients
** can mean one key by it and get two.
*/
#include <string.h>
#include "base/uri.h"

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

size_t percent_decode(const char *text, size_t size, char *out, bool plus_is_space) {
  size_t n = 0;
  for (size_t i = 0; i < size; i++) {
    if (text[i] == '%') {
      int high, low;
      if (size - i < 3) return SIZE_MAX;
      high = hex_digit(text[i + 1]);
      low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return SIZE_MAX;
      out[n++] = (char)(high << 4 | low);
      i += 2;
    } else {
      out[n++] = plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  return n;
}

static bool alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool store_name_valid(const char *name, size_t size) {
  if (size == 0 || size > 64 || !alphanumeric(name[0])) return false;
  for (size_t i = 1; i < size; i++) {
    if (!alphanumeric(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-') return false;
  }
  return true;
}

int query_parse(const char *query, char *out, query_item *items) {
  int count = 0;
  while (query && *query) {
    size_t size = strcspn(query, "&");
    if (size > 0) {
      const char *equals = memchr(query, '=', size);
      size_t name_size = equals ? (size_t)(equals - query) : size, n;
      if (count == QUERY_MAX) return -2;
      if ((n = percent_decode(query, name_size, out, true)) == SIZE_MAX) return -1;
      items[count].name = maph_bytes(out, n);
      out += n;
      n = 0;
      if (equals && (n = percent_decode(equals + 1, size - name_size - 1, out, true)) == SIZE_MAX)
        return -1;
      items[count].value = maph_bytes(out, n);
      out += n;
      count++;
    }
    query += size + (query[size] == '&');
  }
  return count;
}
