/*
** longline.c - a line of an import that is too long for memory: its value goes to a file without a
** name while the line comes in (ext/entry/pieces.c).  At the end the file is mapped, decoded in
** place if the line says base64, and handed on as the value.
*/
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "http/body.h"
#include "routes/longline.h"

struct long_line {
  pieces *pieces;
  int fd;    /* the file; -1: none yet */
  void *map; /* it, once the line is complete */
};

/* A json_put. */
static bool spool(void *to, const void *bytes, size_t size) {
  long_line *line = to;
  if (line->fd < 0) line->fd = spool_open();
  return line->fd >= 0 && spool_write(line->fd, bytes, size);
}

long_line *long_line_begin(const pieces_limits *limits, const entry_rules *rules) {
  long_line *line = calloc(1, sizeof *line);
  if (line == NULL) return NULL;
  line->fd = -1;
  line->pieces = pieces_begin(limits, rules, spool, line);
  if (line->pieces) return line;
  free(line);
  return NULL;
}

void long_line_free(long_line *line) {
  if (line == NULL) return;
  if (line->map) munmap(line->map, pieces_value_size(line->pieces));
  if (line->fd >= 0) close(line->fd);
  pieces_free(line->pieces);
  free(line);
}

bool long_line_take(long_line *line, const char *bytes, size_t size) {
  return pieces_take(line->pieces, bytes, size);
}

bool long_line_too_long(const long_line *line) { return pieces_too_long(line->pieces); }
size_t long_line_memory(const long_line *line) { return pieces_memory(line->pieces); }
bool long_line_is_blank(const long_line *line) { return pieces_is_blank(line->pieces); }

bool long_line_end(long_line *line) {
  size_t size;
  if (!pieces_end(line->pieces)) return false;
  size = pieces_value_size(line->pieces);
  if (size == 0 || pieces_too_long(line->pieces)) return true;
  line->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, line->fd, 0);
  if (line->map != MAP_FAILED) return true;
  line->map = NULL;
  return false;
}

bool long_line_read(long_line *line, arena *arena, entry_operation *operation, json_reader *in) {
  return pieces_read(line->pieces, line->map, arena, operation, in);
}
