/*
** buffer.c - bytes that grow.
*/
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buffer.h"

bool buffer_reserve(buffer *buffer, size_t more) {
  size_t want;
  char *data;
  if (buffer->failed) return false;
  if (more <= buffer->capacity - buffer->size) return true;
  if (more > SIZE_MAX / 4 - buffer->size) {
    buffer->failed = true;
    return false;
  }
  want = buffer->capacity ? buffer->capacity : 256;
  while (want - buffer->size < more) want *= 2;
  data = realloc(buffer->data, want);
  if (data == NULL) {
    buffer->failed = true;
    return false;
  }
  buffer->data = data;
  buffer->capacity = want;
  return true;
}

void buffer_number(buffer *buffer, uint64_t number) {
  static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233"
                              "34353637383940414243444546474849505152535455565758596061626364656667"
                              "6869707172737475767778798081828384858687888990919293949596979899";
  char digits[20];
  int n = 20;
  for (; number >= 10; number /= 100) memcpy(digits + (n -= 2), pairs + number % 100 * 2, 2);
  if (number || n == 20) digits[--n] = (char)('0' + number);
  buffer_append(buffer, digits + n, (size_t)(20 - n));
}

void buffer_printf(buffer *buffer, const char *format, ...) {
  va_list ap;
  int n;
  if (!buffer_reserve(buffer, 128)) return;
  va_start(ap, format);
  n = vsnprintf(buffer->data + buffer->size, buffer->capacity - buffer->size, format, ap);
  va_end(ap);
  if (n < 0) {
    buffer->failed = true;
    return;
  }
  if ((size_t)n >= buffer->capacity - buffer->size) {
    if (!buffer_reserve(buffer, (size_t)n + 1)) return;
    va_start(ap, format);
    vsnprintf(buffer->data + buffer->size, buffer->capacity - buffer->size, format, ap);
    va_end(ap);
  }
  buffer->size += (size_t)n;
}

void buffer_reset(buffer *buffer, size_t keep_at_most) {
  if (buffer->capacity > keep_at_most) buffer_free(buffer);
  buffer->size = 0;
  buffer->failed = false;
}

void buffer_free(buffer *buffer) {
  free(buffer->data);
  memset(buffer, 0, sizeof *buffer);
}
