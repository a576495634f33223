/*
** buffer.c - bytes that grow.
*/
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buffer.h"

bool buffer_reserve(buffer *b, size_t more) {
  size_t want;
  char *data;
  if (b->failed) return false;
  if (more <= b->capacity - b->size) return true;
  if (more > SIZE_MAX / 4 - b->size) {
    b->failed = true;
    return false;
  }
  want = b->capacity ? b->capacity : 256;
  while (want - b->size < more) want *= 2;
  data = realloc(b->data, want);
  if (data == NULL) {
    b->failed = true;
    return false;
  }
  b->data = data;
  b->capacity = want;
  return true;
}

void buffer_append(buffer *b, const void *data, size_t size) {
  if (size == 0 || !buffer_reserve(b, size)) return;
  memcpy(b->data + b->size, data, size);
  b->size += size;
}

void buffer_text(buffer *b, const char *text) { buffer_append(b, text, strlen(text)); }

void buffer_number(buffer *b, uint64_t number) {
  char digits[20];
  int n = 20;
  do {
    digits[--n] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  buffer_append(b, digits + n, (size_t)(20 - n));
}

void buffer_printf(buffer *b, const char *format, ...) {
  va_list ap;
  int n;
  if (!buffer_reserve(b, 128)) return;
  va_start(ap, format);
  n = vsnprintf(b->data + b->size, b->capacity - b->size, format, ap);
  va_end(ap);
  if (n < 0) {
    b->failed = true;
    return;
  }
  if ((size_t)n >= b->capacity - b->size) {
    if (!buffer_reserve(b, (size_t)n + 1)) return;
    va_start(ap, format);
    vsnprintf(b->data + b->size, b->capacity - b->size, format, ap);
    va_end(ap);
  }
  b->size += (size_t)n;
}

void buffer_reset(buffer *b, size_t keep_at_most) {
  if (b->capacity > keep_at_most) buffer_free(b);
  b->size = 0;
  b->failed = false;
}

void buffer_free(buffer *b) {
  free(b->data);
  memset(b, 0, sizeof *b);
}
