/*
** keys.c - a bucket's keys and maph's.
*/
#include <stdint.h>
#include <string.h>
#include "nats/keys.h"

static bool is_letter_or_digit(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool keys_bucket_valid(maph_slice name) {
  const unsigned char *p = name.data;
  if (name.size == 0 || name.size > KEYS_BUCKET) return false;
  for (size_t i = 0; i < name.size; i++) {
    if (!is_letter_or_digit(p[i]) && p[i] != '-' && p[i] != '_') return false;
  }
  return true;
}

size_t keys_longest(maph_slice bucket) { return KEYS_LINE - bucket.size; }

/* May the byte at `at` stand there as it is?  `=` may in a plain key alone. */
static bool stands(maph_slice key, size_t at) {
  const unsigned char *p = key.data;
  if (p[at] == '.') return at > 0 && at + 1 < key.size && p[at - 1] != '.';
  return is_letter_or_digit(p[at]) || p[at] == '-' || p[at] == '_' || p[at] == '/';
}

static bool fits_plain(maph_slice key) {
  for (size_t i = 0; i < key.size; i++) {
    if (!stands(key, i) && ((const char *)key.data)[i] != '=') return false;
  }
  return true;
}

/* The form of the byte at `at`: how many bytes it has. */
static size_t escape(maph_slice key, size_t at, char room[3]) {
  static const char digits[] = "0123456789ABCDEF";
  unsigned char c = ((const unsigned char *)key.data)[at];
  room[0] = (char)c;
  if (stands(key, at)) return 1;
  room[0] = '=';
  room[1] = digits[c >> 4];
  room[2] = digits[c & 15];
  return 3;
}

const char *keys_encode(key_mode mode, maph_slice bucket, maph_slice key, char form[KEYS_LINE],
                        size_t *size) {
  size_t most = keys_longest(bucket), used = 0;
  if (key.size == 0) return "a key has at least one byte";
  if (mode == KEYS_PLAIN && key.size <= most && !fits_plain(key))
    return "the bucket's keys are letters, digits, - _ / = and ., with no . at either end and no "
           "two in a row: use a bucket made with --keys escaped";
  for (size_t i = 0; i < key.size; i++) {
    char room[3];
    size_t n = mode == KEYS_PLAIN ? 1 : escape(key, i, room);
    if (used + n > most) return "the key is too long for NATS";
    memcpy(form + used, mode == KEYS_PLAIN ? (const char *)key.data + i : room, n);
    used += n;
  }
  *size = used;
  return NULL;
}

static int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The bytes that a form stands for, whether it is the one form of them or not. */
static bool unescape(maph_slice form, char *key, size_t *size) {
  const char *p = form.data, *end = p + form.size;
  size_t used = 0;
  while (p < end) {
    int high, low;
    if (*p != '=') {
      key[used++] = *p++;
      continue;
    }
    if (end - p < 3) return false;
    high = digit_value(p[1]);
    low = digit_value(p[2]);
    if (high < 0 || low < 0) return false;
    key[used++] = (char)(high << 4 | low);
    p += 3;
  }
  *size = used;
  return true;
}

/* Is `form` what `key` is written as? */
static bool is_form_of(maph_slice form, maph_slice key) {
  const char *p = form.data;
  size_t at = 0;
  for (size_t i = 0; i < key.size; i++) {
    char room[3];
    size_t n = escape(key, i, room);
    if (form.size - at < n || memcmp(p + at, room, n) != 0) return false;
    at += n;
  }
  return at == form.size;
}

bool keys_decode(key_mode mode, maph_slice form, char *key, size_t *size) {
  char kept[KEYS_LINE];
  if (form.size == 0) return false;
  if (mode == KEYS_PLAIN) {
    memmove(key, form.data, form.size);
    *size = form.size;
    return true;
  }
  if (form.size > sizeof kept) return false;
  memcpy(kept, form.data, form.size);
  form.data = kept;
  return unescape(form, key, size) && is_form_of(form, maph_bytes(key, *size));
}

bool keys_among(const char *filter, maph_slice form) {
  const char *at = form.data, *end = at + form.size;
  for (;;) {
    const char *dot = memchr(at, '.', (size_t)(end - at));
    size_t want = strcspn(filter, "."), have = (size_t)((dot ? dot : end) - at);
    if (want == 1 && *filter == '>') return have > 0;
    if (!(want == 1 && *filter == '*') && (want != have || memcmp(filter, at, want) != 0))
      return false;
    filter += want;
    at += have;
    if (*filter == 0 || at == end) return *filter == 0 && at == end;
    filter++;
    at++;
  }
}
