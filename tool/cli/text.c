/*
** text.c - escapes, and numbers as people write them.
**
** Keys and values are any bytes.  Where a line must hold one, bytes that would break the line or
** command a terminal are written as \t \n \r \\ or \xHH, so that what is shown can be typed back,
** and read back, exactly.
*/
#include <ctype.h>
#include <stdlib.h>
#include "cli.h"

/* -------------------------------------------------------------------------------------- escapes */
static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

const char *unescape(maph_slice from, char *to, size_t *size) {
  const char *p = from.data, *end = p + from.size;
  char *out = to;
  while (p < end) {
    const char *backslash = memchr(p, '\\', (size_t)(end - p));
    size_t plain = (size_t)((backslash ? backslash : end) - p);
    memmove(out, p, plain);
    out += plain;
    p += plain;
    if (p == end) break;
    if (++p == end) return "a backslash at its end escapes nothing";
    switch (*p++) {
      case 't': *out++ = '\t'; break;
      case 'n': *out++ = '\n'; break;
      case 'r': *out++ = '\r'; break;
      case '0': *out++ = 0; break;
      case '\\': *out++ = '\\'; break;
      case 'x':
        if (end - p < 2 || hex_digit(p[0]) < 0 || hex_digit(p[1]) < 0)
          return "two hexadecimal digits follow \\x";
        *out++ = (char)(hex_digit(p[0]) << 4 | hex_digit(p[1]));
        p += 2;
        break;
      default: return "the escapes are \\t \\n \\r \\0 \\\\ and \\xHH";
    }
  }
  *size = (size_t)(out - to);
  return NULL;
}

/* -------------------------------------------------------------------------------------- numbers */
/* What one of the unit is worth; 0: there is no such unit. */
static uint64_t unit_worth(const char *unit, enum kind kind) {
  static const struct {
    const char *name;
    enum kind kind;
    uint64_t worth;
  } units[] = {
    { "", COUNT, 1 },        { "", SIZE, 1 },         { "K", SIZE, 1u << 10 },
    { "M", SIZE, 1u << 20 }, { "G", SIZE, 1u << 30 }, { "T", SIZE, (uint64_t)1 << 40 },
    { "", TIME, 1000 },      { "ms", TIME, 1 },       { "s", TIME, 1000 },
    { "m", TIME, 60000 },    { "h", TIME, 3600000 },  { "d", TIME, 86400000 },
  };
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (units[i].kind == kind && strcmp(units[i].name, unit) == 0) return units[i].worth;
  }
  return 0;
}

/* Decimal digits and a unit (octal digits, for a mode): no sign, no exponent, no other base,
** nothing that overflows. */
bool number_parse(const char *text, enum kind kind, uint64_t *number) {
  uint64_t base = kind == OCTAL ? 8 : 10, value = 0, worth;
  if (!isdigit((unsigned char)*text)) return false;
  for (; isdigit((unsigned char)*text); text++) {
    uint64_t digit = (uint64_t)(*text - '0');
    if (digit >= base || value > (UINT64_MAX - digit) / base) return false;
    value = value * base + digit;
  }
  worth = kind == OCTAL ? *text == 0 : unit_worth(text, kind);
  if (worth == 0 || value > UINT64_MAX / worth) return false;
  *number = value * worth;
  return true;
}
