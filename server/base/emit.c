/*
** emit.c - JSON and base64 into a buffer; ext/entry writes them.
*/
#include "base/emit.h"
#include "entry/base64.h"

/* A json_put. */
static bool put(void *to, const void *bytes, size_t size) {
  buffer *b = to;
  buffer_append(b, bytes, size);
  return !b->failed;
}

void emit_bytes(buffer *b, const char *name, const char *encoding_name, maph_slice bytes) {
  json_writer out;
  json_write_begin(&out, put, b);
  json_write_bytes(&out, name, encoding_name, bytes);
  json_write_end(&out);
}

void emit_entry(buffer *b, const maph_entry *entry, bool with_value) {
  json_writer out;
  json_write_begin(&out, put, b);
  entry_write(&out, entry, with_value);
  json_write_end(&out);
}

void emit_change(buffer *b, const maph_change *change, bool with_value) {
  json_writer out;
  json_write_begin(&out, put, b);
  entry_write_change(&out, change, with_value);
  json_write_end(&out);
}

void emit_stats(buffer *b, const maph_stats *stats) {
  json_writer out;
  json_write_begin(&out, put, b);
  entry_write_stats(&out, stats);
  json_write_end(&out);
}

void emit_rewrite(buffer *b, const maph_rewrite *rewrite) {
  json_writer out;
  json_write_begin(&out, put, b);
  entry_write_rewrite(&out, rewrite);
  json_write_end(&out);
}

static void encode(buffer *b, const void *data, size_t size,
                   size_t (*letters)(char *, const void *, size_t)) {
  if (size > SIZE_MAX / 8 || !buffer_reserve(b, base64_size(size))) {
    b->failed = true;
    return;
  }
  b->size += letters(b->data + b->size, data, size);
}

void emit_base64(buffer *b, const void *data, size_t size) { encode(b, data, size, base64_encode); }

void emit_base64url(buffer *b, const void *data, size_t size) {
  encode(b, data, size, base64_encode_url);
}
