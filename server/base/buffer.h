/*
** buffer.h - bytes that grow.
*/
#ifndef MAPH_BASE_BUFFER_H
#define MAPH_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* After an allocation failed `failed` stays set and appends do nothing: check it once, at the
** end. */
typedef struct buffer {
  char *data;
  size_t size, capacity;
  bool failed;
} buffer;

bool buffer_reserve(buffer *buffer, size_t more); /* room for that many more bytes */
/* Here, since an answer's head is made of some fifty pieces. */
static inline void buffer_append(buffer *buffer, const void *data, size_t size) {
  if (size == 0
      || ((buffer->failed || size > buffer->capacity - buffer->size)
          && !buffer_reserve(buffer, size)))
    return;
  memcpy(buffer->data + buffer->size, data, size);
  buffer->size += size;
}
static inline void buffer_text(buffer *buffer, const char *text) {
  buffer_append(buffer, text, strlen(text));
}
void buffer_number(buffer *buffer, uint64_t number);
void buffer_printf(buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* empty it; give memory above that size back */
void buffer_reset(buffer *buffer, size_t keep_at_most);
void buffer_free(buffer *buffer);

#endif
