/*
** fuzz_line.c - the parser for long lines of an import against the ordinary one, under libFuzzer.
**
** An input is a line; it goes to longline.c in pieces whose size its first byte chooses.  Both
** parsers must say the same of it: refused, or the same key, value, type and condition.
*/
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "routes/longline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ------------------------------------------------------------ in the place of http.c and body.c */
const char *request_header(const request *r, const char *name) {
  (void)r;
  (void)name;
  return NULL;
}
void reply_problem(request *r, int status, const char *code, const char *format, ...) {
  (void)r;
  (void)status;
  (void)code;
  (void)format;
}
uint64_t wall_ms(void) { return 1800000000000u; }
int spool_open(void) {
  char path[] = "/dev/shm/maph-fuzz-XXXXXX";
  int fd = mkstemp(path);
  assert(fd >= 0);
  unlink(path);
  return fd;
}
bool spool_write(int fd, const char *bytes, size_t size) {
  return write(fd, bytes, size) == (ssize_t)size;
}

static bool equal(maph_slice a, maph_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static bool blank(const char *line, size_t size) {
  while (size > 0 && (line[size - 1] == '\r' || line[size - 1] == ' ')) size--;
  return size == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char room[200];
  const char *text = (const char *)data + 1, *mistake = NULL, *long_mistake = NULL;
  arena a = { NULL }, b = { NULL };
  operation o, p;
  bool json, is_blank;
  size_t piece, done = 0;
  long_line *l;
  if (size < 2 || memchr(text, '\n', size - 1) || blank(text, size - 1)) return 0;
  piece = 1 + data[0] % 64;
  size--;
  mistake =
      operation_parse(maph_bytes(text, size), OPERATION_PUT, &a, &o, &json, room, sizeof room);
  l = long_line_begin(1 << 20, 1 << 20);
  for (; done < size; done += piece)
    assert(long_line_take(l, text + done, size - done < piece ? size - done : piece));
  assert(long_line_end(l, &b, &p, &is_blank, &long_mistake, room, sizeof room));
  assert(!is_blank && (mistake == NULL) == (long_mistake == NULL));
  if (mistake == NULL) {
    assert(equal(o.key, p.key) && equal(o.value, p.value)
           && equal(o.condition.media_type, p.condition.media_type));
    assert(o.condition.type == p.condition.type && o.condition.when == p.condition.when
           && o.condition.expires == p.condition.expires
           && o.condition.key_type == p.condition.key_type);
  }
  long_line_free(l);
  arena_free(&a);
  arena_free(&b);
  return 0;
}
