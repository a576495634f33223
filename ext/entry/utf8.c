/*
** utf8.c - UTF-8 (RFC 3629): which bytes are text.
**
** Most text is ASCII, so eight bytes are looked at together until one of them is above 0x7F.
*/
#include "entry/utf8.h"
#include <stdint.h>
#include <string.h>

size_t utf8_sequence(const unsigned char *p, const unsigned char *end) {
  size_t left = (size_t)(end - p);
  if (p[0] < 0x80) return 1;
  if (p[0] < 0xC2 || p[0] > 0xF4 || left < 2 || (p[1] & 0xC0) != 0x80) return 0;
  if (p[0] < 0xE0) return 2;
  if (left < 3 || (p[2] & 0xC0) != 0x80) return 0;
  if (p[0] < 0xF0) return (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ? 0 : 3;
  if (left < 4 || (p[3] & 0xC0) != 0x80) return 0;
  return (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F) ? 0 : 4;
}

bool utf8_valid(maph_slice bytes) {
  const unsigned char *p = bytes.data, *end = p + bytes.size;
  while (p < end) {
    size_t size;
    uint64_t word;
    while (end - p >= 8) {
      memcpy(&word, p, 8);
      if (word & 0x8080808080808080u) break;
      p += 8;
    }
    if (p == end) break;
    size = utf8_sequence(p, end);
    if (size == 0) return false;
    p += size;
  }
  return true;
}

bool utf8_is_text(maph_slice bytes) {
  return utf8_valid(bytes) && (bytes.size == 0 || memchr(bytes.data, 0, bytes.size) == NULL);
}

bool utf8_take(utf8_state *state, unsigned char byte) {
  if (state->left > 0) {
    if (byte < state->least || byte > state->most) return false;
    *state = (utf8_state){ (unsigned char)(state->left - 1), 0x80, 0xBF };
    return true;
  }
  if (byte < 0x80) return true;
  if (byte < 0xC2 || byte > 0xF4) return false;
  *state = (utf8_state){ byte < 0xE0 ? 1 : 2, 0x80, 0xBF };
  if (byte >= 0xF0) state->left = 3;
  if (byte == 0xE0) state->least = 0xA0;
  if (byte == 0xED) state->most = 0x9F;
  if (byte == 0xF0) state->least = 0x90;
  if (byte == 0xF4) state->most = 0x8F;
  return true;
}

size_t utf8_write(char *to, unsigned code) {
  if (code < 0x80) {
    to[0] = (char)code;
    return 1;
  }
  if (code < 0x800) {
    to[0] = (char)(0xC0 | code >> 6);
    to[1] = (char)(0x80 | (code & 0x3F));
    return 2;
  }
  if (code < 0x10000) {
    to[0] = (char)(0xE0 | code >> 12);
    to[1] = (char)(0x80 | (code >> 6 & 0x3F));
    to[2] = (char)(0x80 | (code & 0x3F));
    return 3;
  }
  to[0] = (char)(0xF0 | code >> 18);
  to[1] = (char)(0x80 | (code >> 12 & 0x3F));
  to[2] = (char)(0x80 | (code >> 6 & 0x3F));
  to[3] = (char)(0x80 | (code & 0x3F));
  return 4;
}

bool utf8_is_control(const unsigned char *p, size_t sequence) {
  if (sequence == 1) return p[0] < 0x20 || p[0] == 0x7F;
  if (sequence == 2) return p[0] == 0xC2 && p[1] < 0xA0;
  if (sequence != 3 || p[0] != 0xE2) return false;
  if (p[1] == 0x80) return p[2] >= 0xAA && p[2] <= 0xAE;
  return p[1] == 0x81 && p[2] >= 0xA6 && p[2] <= 0xA9;
}

bool utf8_begins_with_mark(maph_slice bytes) {
  return bytes.size >= UTF8_MARK_SIZE && memcmp(bytes.data, UTF8_MARK, UTF8_MARK_SIZE) == 0;
}
