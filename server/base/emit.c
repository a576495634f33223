/*
** emit.c - JSON and base64 into a buffer; ext/entry writes them.
*/
#include "base/emit.h"
#include "entry/base64.h"

/* A json_put. */
static bool put(void *to, const void *bytes, size_t size) {
  buffer *buffer = to;
  buffer_append(buffer, bytes, size);
  return !buffer->failed;
}

void emit_bytes(buffer *buffer, const char *name, const char *encoding_name, maph_slice bytes) {
  json_writer out;
  json_write_begin(&out, put, buffer);
  json_write_bytes(&out, name, encoding_name, bytes);
  json_write_end(&out);
}

void emit_entry(buffer *buffer, const maph_entry *entry, bool with_value) {
  json_writer out;
  json_write_begin(&out, put, buffer);
  entry_write(&out, entry, with_value);
  json_write_end(&out);
}

void emit_change(buffer *buffer, const maph_change *change, bool with_value) {
  json_writer out;
  json_write_begin(&out, put, buffer);
  entry_write_change(&out, change, with_value);
  json_write_end(&out);
}

void emit_stats(buffer *buffer, const maph_stats *stats) {
  json_writer out;
  json_write_begin(&out, put, buffer);
  entry_write_stats(&out, stats);
  json_write_end(&out);
}

void emit_rewrite(buffer *buffer, const maph_rewrite *rewrite) {
  json_writer out;
  json_write_begin(&out, put, buffer);
  entry_write_rewrite(&out, rewrite);
  json_write_end(&out);
}

static void encode(buffer *buffer, const void *data, size_t size,
                   size_t (*letters)(char *, const void *, size_t)) {
  if (size > SIZE_MAX / 8 || !buffer_reserve(buffer, base64_size(size))) {
    buffer->failed = true;
    return;
  }
  buffer->size += letters(buffer->data + buffer->size, data, size);
}

void emit_base64(buffer *buffer, const void *data, size_t size) {
  encode(buffer, data, size, base64_encode);
}

void emit_base64url(buffer *buffer, const void *data, size_t size) {
  encode(buffer, data, size, base64_encode_url);
}
