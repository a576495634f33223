/*
** base64.c - bytes as letters (RFC 4648).
*/
#include "entry/base64.h"
#include <stdint.h>

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* What a letter stands for, and one more; 0: it stands for nothing. */
static const unsigned char digits[256] = {
  ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
  ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
  ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
  ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
  ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
  ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
  ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
  ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['-'] = 63,
  ['/'] = 64, ['_'] = 64,
};

static size_t encode(char *out, const unsigned char *p, size_t size, const char *alphabet,
                     bool padded) {
  char *start = out;
  for (; size >= 3; size -= 3, p += 3) {
    uint32_t three = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
    *out++ = alphabet[three >> 18];
    *out++ = alphabet[three >> 12 & 63];
    *out++ = alphabet[three >> 6 & 63];
    *out++ = alphabet[three & 63];
  }
  if (size > 0) {
    uint32_t rest = (uint32_t)p[0] << 16 | (size == 2 ? (uint32_t)p[1] << 8 : 0);
    *out++ = alphabet[rest >> 18];
    *out++ = alphabet[rest >> 12 & 63];
    if (size == 2) *out++ = alphabet[rest >> 6 & 63];
    if (padded && size == 1) *out++ = '=';
    if (padded) *out++ = '=';
  }
  return (size_t)(out - start);
}

size_t base64_encode(char *out, const void *data, size_t size) {
  return encode(out, data, size, standard, true);
}

size_t base64_encode_url(char *out, const void *data, size_t size) {
  return encode(out, data, size, url, false);
}

size_t base64_decode(const char *text, size_t size, void *out) {
  const unsigned char *p = (const unsigned char *)text;
  unsigned char *to = out;
  uint32_t bits = 0;
  size_t whole, rest;
  if (size >= 4 && size % 4 == 0 && text[size - 1] == '=') size -= text[size - 2] == '=' ? 2 : 1;
  whole = size / 4;
  rest = size % 4;
  if (rest == 1) return SIZE_MAX;
  for (; whole > 0; whole--, p += 4) {
    unsigned a = digits[p[0]], b = digits[p[1]], c = digits[p[2]], d = digits[p[3]];
    if (a == 0 || b == 0 || c == 0 || d == 0) return SIZE_MAX;
    bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
    *to++ = (unsigned char)(bits >> 16);
    *to++ = (unsigned char)(bits >> 8);
    *to++ = (unsigned char)bits;
  }
  if (rest > 0) {
    unsigned a = digits[p[0]], b = digits[p[1]], c = rest == 3 ? digits[p[2]] : 1;
    if (a == 0 || b == 0 || c == 0) return SIZE_MAX;
    bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6;
    if (bits & (rest == 2 ? 0xFFFFu : 0xFFu)) return SIZE_MAX;
    *to++ = (unsigned char)(bits >> 16);
    if (rest == 3) *to++ = (unsigned char)(bits >> 8);
  }
  return (size_t)(to - (unsigned char *)out);
}
