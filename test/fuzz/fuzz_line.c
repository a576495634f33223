/*
** fuzz_line.c - the reader of an entry whole (entry_read.c) and in pieces (pieces.c), under
** libFuzzer.
**
** An input is a line; it is read in pieces whose size its first byte chooses.  Both readers must
** say the same of it: refused, in the same words, or the same key, value, type and condition.  What
** is taken is written, and read again the same.
*/
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "entry/pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct text {
  char *data;
  size_t size;
} text;

/* A json_put. */
static bool append(void *to, const void *bytes, size_t size) {
  text *text = to;
  text->data = realloc(text->data, text->size + size);
  assert(text->data);
  memcpy(text->data + text->size, bytes, size);
  text->size += size;
  return true;
}

static uint64_t clock_ms(void) { return 1800000000000u; }
static const entry_rules rules = { ENTRY_PUT, clock_ms };

static bool equal(maph_slice a, maph_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void check_same(const entry_operation *operation, const entry_operation *b) {
  assert(equal(operation->key, b->key) && equal(operation->value, b->value));
  assert(equal(operation->condition.media_type, b->condition.media_type));
  assert(operation->condition.type == b->condition.type
         && operation->condition.key_type == b->condition.key_type);
  assert(operation->condition.expires == b->condition.expires);
}

static void check_pieces(maph_slice line, size_t piece, const json_reader *in,
                         const entry_operation *whole) {
  const pieces_limits limits = { 1 << 20, 1 << 20 };
  const char *bytes = line.data;
  char sentence[JSON_SENTENCE_ROOM], other[JSON_SENTENCE_ROOM];
  text value = { NULL, 0 };
  entry_operation operation;
  json_reader again;
  arena arena = { 0 };
  pieces *pieces = pieces_begin(&limits, &rules, append, &value);
  for (size_t done = 0; done < line.size; done += piece) {
    assert(pieces_take(pieces, bytes + done, line.size - done < piece ? line.size - done : piece));
  }
  assert(pieces_end(pieces) && !pieces_is_blank(pieces) && pieces_value_size(pieces) == value.size);
  assert(pieces_read(pieces, value.data, &arena, &operation, &again) == (in->mistake == NULL));
  if (in->mistake) {
    json_sentence(in, sentence);
    json_sentence(&again, other);
    assert(strcmp(sentence, other) == 0 && in->fault == again.fault);
  } else {
    check_same(whole, &operation);
    assert(whole->condition.when == operation.condition.when);
  }
  pieces_free(pieces);
  arena_free(&arena);
  free(value.data);
}

static void check_written(const entry_operation *operation) {
  maph_entry entry = { .key = operation->key,
                       .value = operation->value,
                       .expires = operation->condition.expires };
  text line = { NULL, 0 };
  entry_operation again;
  json_writer out;
  json_reader in;
  arena arena = { 0 };
  entry.type = operation->condition.type;
  entry.key_type = operation->condition.key_type;
  entry.media_type = operation->condition.media_type;
  json_write_begin(&out, append, &line);
  json_write_text(&out, "{");
  entry_write(&out, &entry, true);
  json_write_text(&out, "}");
  assert(json_write_end(&out));
  in = json_begin(maph_bytes(line.data, line.size));
  assert(entry_read_line(&in, &rules, &arena, &again));
  check_same(operation, &again);
  arena_free(&arena);
  free(line.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  maph_slice line = maph_bytes(data + 1, size - 1);
  entry_operation operation;
  arena arena = { 0 };
  json_reader in;
  if (size < 2 || memchr(line.data, '\n', line.size) || json_is_blank(line)) return 0;
  in = json_begin(line);
  if (entry_read_line(&in, &rules, &arena, &operation)) check_written(&operation);
  check_pieces(line, 1 + data[0] % 64, &in, &operation);
  arena_free(&arena);
  return 0;
}
