/*
** fuzz_answer.c - what maph-replica reads of a NATS server's answers (answer.c), headers (kv.c) and
** keys (keys.c), under libFuzzer.
**
** An input is taken for each of them.  What is read keeps its promises: a number is within its
** bounds, a text has its zero, a key has one form and a form one key.
*/
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "entry/entry.h"
#include "entry/json.h"
#include "nats/answer.h"
#include "nats/keys.h"
#include "nats/kv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_member(maph_slice text, const char *path) {
  char room[64];
  maph_slice value, bytes;
  uint64_t number;
  int64_t with_sign;
  void *memory;
  if (answer_find(text, path, &value)) {
    assert((const char *)value.data >= (const char *)text.data);
    assert((const char *)value.data + value.size <= (const char *)text.data + text.size);
  }
  if (answer_number(text, path, 1000, 7, &number)) assert(number <= 1000);
  answer_signed(text, path, -1, &with_sign);
  answer_true(text, path);
  if (answer_text(text, path, room, sizeof room)) {
    assert(strlen(room) < sizeof room);
    if (answer_time(room, &number)) assert(number < UINT64_MAX);
  }
  if (answer_base64(text, path, &memory, &bytes)) assert(memory || bytes.size == 0);
  free(memory);
}

static void read_answer(maph_slice text) {
  static const char *const paths[] = {
    "error",        "error.err_code", "config.subjects", "state.last_seq",
    "message.data", "message.time",   "created",         "a",
    "a.b.c"
  };
  json_reader in;
  if (!json_whole(text, &in)) return;
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) read_member(text, paths[i]);
}

/* A line is one header, in the order of these names. */
static const char *const names[] = { "KV-Operation", "Nats-Marker-Reason", "Content-Type",
                                     "Maph-Type",    "Maph-Expires",       "Nats-TTL" };
static maph_slice header(const void *message, const char *name) {
  const maph_slice *text = message;
  const char *at = text->data, *end = at + text->size;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const char *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    size_t size = (size_t)((stop ? stop : end) - at);
    if (strcmp(names[i], name) == 0 && at < end) return maph_bytes(at, size);
    at = stop ? stop + 1 : end;
  }
  return maph_bytes(NULL, 0);
}

static void read_headers(maph_slice text) {
  kv_entry entry;
  uint64_t ms;
  kv_read(header, &text, text, 1800000000000000000u, text.size % 3 * 1000000000, &entry);
  if (entry.deleted) return;
  assert(entry_check_media_type(entry.media_type) == NULL || entry.media_type.size == 0);
  assert(entry.type >= 0);
  kv_gone(&entry, 1800000000000u);
  if (text.size) kv_duration(text, &ms);
}

static void read_key(maph_slice text) {
  static char room[1 << 17];
  char form[KEYS_LINE];
  size_t size, form_size;
  maph_slice bucket = maph_str("b");
  if (text.size == 0 || text.size > sizeof room) return;
  if (keys_decode(KEYS_ESCAPED, text, room, &size) && size > 0) {
    const char *wrong = keys_encode(KEYS_ESCAPED, bucket, maph_bytes(room, size), form, &form_size);
    assert(wrong || (form_size == text.size && memcmp(form, text.data, form_size) == 0));
  }
  for (key_mode mode = KEYS_PLAIN; mode <= KEYS_ESCAPED; mode++) {
    if (keys_encode(mode, bucket, text, form, &form_size)) continue;
    assert(form_size <= keys_longest(bucket));
    assert(keys_decode(mode, maph_bytes(form, form_size), room, &size));
    assert(size == text.size && memcmp(room, text.data, size) == 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  /* In memory of its own size, so that a byte too many is noticed. */
  char *copy = malloc(size ? size : 1);
  maph_slice text = maph_bytes(copy, size);
  assert(copy);
  if (size) memcpy(copy, data, size);
  read_answer(text);
  read_headers(text);
  read_key(text);
  free(copy);
  return 0;
}
