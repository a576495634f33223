/*
** json_text.c - what a JSON text that was read means: strings, whole numbers, blanks, marks.
**
** All of it is given text that json_read.c has found right.
*/
#include <string.h>
#include "entry/json.h"
#include "entry/utf8.h"

static unsigned digit_of(char c) {
  if (c >= '0' && c <= '9') return (unsigned)(c - '0');
  return (unsigned)((c | 0x20) - 'a' + 10);
}

/* The four digits at p. */
static unsigned unit_of(const char *p) {
  return digit_of(p[0]) << 12 | digit_of(p[1]) << 8 | digit_of(p[2]) << 4 | digit_of(p[3]);
}

/* The character of the \u at p; its end into *next. */
static unsigned code_at(const char *p, const char **next) {
  unsigned unit = unit_of(p + 2);
  *next = p + 6;
  if (unit < 0xD800 || unit > 0xDBFF) return unit;
  *next = p + 12;
  return 0x10000 + ((unit - 0xD800) << 10) + (unit_of(p + 8) - 0xDC00);
}

size_t json_unescape(maph_slice inner, char *out) {
  static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
  const char *p = inner.data, *end = p + inner.size;
  char *to = out;
  while (p < end) {
    const char *backslash = memchr(p, '\\', (size_t)(end - p)), *found;
    size_t plain = (size_t)((backslash ? backslash : end) - p);
    memmove(to, p, plain);
    to += plain;
    p += plain;
    if (p == end) break;
    if (p[1] == 'u') {
      to += utf8_write(to, code_at(p, &p));
      continue;
    }
    found = strchr(letters, p[1]);
    *to++ = found ? meanings[found - letters] : p[1];
    p += 2;
  }
  return (size_t)(to - out);
}

size_t json_squeeze(maph_slice text, char *out) {
  const char *p = text.data, *end = p + text.size;
  bool quoted = false;
  char *to = out;
  for (; p < end; p++) {
    if (!quoted && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) continue;
    if (*p == '"') quoted = !quoted;
    if (*p == '\\') *to++ = *p++;
    *to++ = *p;
  }
  return (size_t)(to - out);
}

bool json_whole_number(maph_slice text, uint64_t most, uint64_t *number) {
  const char *p = text.data, *end = p + text.size;
  uint64_t value = 0;
  if (p == end) return false;
  for (; p < end; p++) {
    uint64_t digit = (uint64_t)(unsigned char)*p - '0';
    if (digit > 9 || value > (UINT64_MAX - digit) / 10) return false;
    value = 10 * value + digit;
  }
  if (value > most) return false;
  *number = value;
  return true;
}

bool json_is_blank(maph_slice line) {
  const char *p = line.data, *end = p + line.size;
  while (p < end && (*p == ' ' || *p == '\t' || *p == '\r')) p++;
  return p == end;
}

maph_slice json_skip_mark(maph_slice text) {
  if (!utf8_begins_with_mark(text)) return text;
  return maph_bytes((const char *)text.data + UTF8_MARK_SIZE, text.size - UTF8_MARK_SIZE);
}
