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
  char digits[20];
  int n = 20;
  do {
    digits[--n] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
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
