/*
** json_write.c - writing JSON, piece by piece.
**
** Short texts are collected; a long run that needs no escape is handed on from where it lies.
*/
#include <stdio.h>
#include <string.h>
#include "entry/base64.h"
#include "entry/json.h"
#include "entry/utf8.h"

void json_write_begin(json_writer *out, json_put put, void *to) {
  out->put = put;
  out->to = to;
  out->for_terminal = out->failed = false;
  out->size = 0;
}

static void hand_on(json_writer *out, const void *bytes, size_t size) {
  if (!out->failed && size > 0 && !out->put(out->to, bytes, size)) out->failed = true;
}

static void hand_on_room(json_writer *out) {
  hand_on(out, out->room, out->size);
  out->size = 0;
}

bool json_write_end(json_writer *out) {
  hand_on_room(out);
  return !out->failed;
}

void json_write_raw(json_writer *out, const void *bytes, size_t size) {
  const char *p = bytes;
  if (size <= sizeof out->room - out->size) {
    if (size > 0) memcpy(out->room + out->size, p, size);
    out->size += size;
    return;
  }
  hand_on_room(out);
  while (size > JSON_PIECE && !out->failed) {
    hand_on(out, p, JSON_PIECE);
    p += JSON_PIECE;
    size -= JSON_PIECE;
  }
  if (size > sizeof out->room) {
    hand_on(out, p, size);
    return;
  }
  memcpy(out->room, p, size);
  out->size = size;
}

void json_write_text(json_writer *out, const char *text) {
  json_write_raw(out, text, strlen(text));
}

void json_write_number(json_writer *out, uint64_t number) {
  char digits[20];
  size_t n = sizeof digits;
  do {
    digits[--n] = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  json_write_raw(out, digits + n, sizeof digits - n);
}

void json_write_decimals(json_writer *out, double number, int decimals) {
  char text[64];
  int n = snprintf(text, sizeof text, "%.*f", decimals, number);
  if (n > 0 && (size_t)n < sizeof text)
    json_write_raw(out, text, (size_t)n);
  else
    json_write_text(out, "0");
}

/* ------------------------------------------------------------------------------------- strings */
static void write_unit(json_writer *out, unsigned code) {
  static const char digits[] = "0123456789abcdef";
  char text[6] = {
    '\\', 'u', digits[code >> 12], digits[code >> 8 & 15], digits[code >> 4 & 15], digits[code & 15]
  };
  json_write_raw(out, text, sizeof text);
}

static void write_escape(json_writer *out, unsigned char c) {
  switch (c) {
    case '"': json_write_raw(out, "\\\"", 2); break;
    case '\\': json_write_raw(out, "\\\\", 2); break;
    case '\n': json_write_raw(out, "\\n", 2); break;
    case '\r': json_write_raw(out, "\\r", 2); break;
    case '\t': json_write_raw(out, "\\t", 2); break;
    default: write_unit(out, c); break;
  }
}

static unsigned code_of(const unsigned char *p, size_t size) {
  if (size == 2) return (unsigned)(p[0] & 31) << 6 | (p[1] & 63);
  return (unsigned)(p[0] & 15) << 12 | (unsigned)(p[1] & 63) << 6 | (p[2] & 63);
}

static bool needs_escape(unsigned char c) { return c < 0x20 || c == '"' || c == '\\' || c == 0x7F; }

/* Does one of the eight bytes need an escape? */
static bool is_special(uint64_t word) {
  const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
  uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\', del = word ^ ones * 0x7F;
  uint64_t found = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash);
  return ((found | ((del - ones) & ~del) | ((word - ones * 0x20) & ~word)) & tops) != 0;
}

static const unsigned char *skip_plain(const unsigned char *p, const unsigned char *end) {
  uint64_t word;
  while (end - p >= 8) {
    memcpy(&word, p, 8);
    if (is_special(word)) break;
    p += 8;
  }
  while (p < end && !needs_escape(*p)) p++;
  return p;
}

static void write_for_terminal(json_writer *out, const unsigned char *p, const unsigned char *end) {
  while (p < end && !out->failed) {
    size_t size = utf8_sequence(p, end);
    if (size == 0) size = 1;
    if (needs_escape(*p))
      write_escape(out, *p);
    else if (size > 1 && utf8_is_control(p, size))
      write_unit(out, code_of(p, size));
    else
      json_write_raw(out, p, size);
    p += size;
  }
}

void json_write_escaped(json_writer *out, maph_slice utf8) {
  const unsigned char *p = utf8.data, *end = p + utf8.size, *plain = p;
  if (out->for_terminal) {
    write_for_terminal(out, p, end);
    return;
  }
  while ((p = skip_plain(p, end)) < end && !out->failed) {
    json_write_raw(out, plain, (size_t)(p - plain));
    write_escape(out, *p);
    plain = ++p;
  }
  json_write_raw(out, plain, (size_t)(p - plain));
}

void json_write_string(json_writer *out, maph_slice utf8) {
  json_write_raw(out, "\"", 1);
  json_write_escaped(out, utf8);
  json_write_raw(out, "\"", 1);
}

static void write_base64(json_writer *out, maph_slice bytes) {
  enum { BYTES = 750 };
  const unsigned char *p = bytes.data;
  size_t left = bytes.size;
  char letters[BYTES / 3 * 4 + 4];
  while (left > 0 && !out->failed) {
    size_t size = left < BYTES ? left : BYTES;
    json_write_raw(out, letters, base64_encode(letters, p, size));
    p += size;
    left -= size;
  }
}

void json_write_bytes(json_writer *out, const char *name, const char *encoding_name,
                      maph_slice bytes) {
  json_write_raw(out, "\"", 1);
  json_write_text(out, name);
  json_write_raw(out, "\":", 2);
  if (utf8_valid(bytes)) {
    json_write_string(out, bytes);
    return;
  }
  json_write_raw(out, "\"", 1);
  write_base64(out, bytes);
  json_write_raw(out, "\",\"", 3);
  json_write_text(out, encoding_name);
  json_write_text(out, "\":\"base64\"");
}
