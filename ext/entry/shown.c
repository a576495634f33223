/*
** shown.c - see shown.h.
*/
#include "entry/shown.h"
#include <string.h>
#include "entry/utf8.h"

static size_t escape(unsigned char c, char room[4]) {
  static const char digits[] = "0123456789abcdef";
  room[0] = '\\';
  switch (c) {
    case '\t': room[1] = 't'; return 2;
    case '\n': room[1] = 'n'; return 2;
    case '\r': room[1] = 'r'; return 2;
    case '\\': room[1] = '\\'; return 2;
  }
  room[1] = 'x';
  room[2] = digits[c >> 4];
  room[3] = digits[c & 15];
  return 4;
}

/* How many bytes of the character at p stay as they are. */
static size_t stays(const unsigned char *p, const unsigned char *end, shown_form form) {
  size_t size = utf8_sequence(p, end);
  if (form == SHOWN_LINES && (*p == '\n' || *p == '\t')) return 1;
  if (form == SHOWN_EXACT && *p == '\\') return 0;
  return size && !utf8_is_control(p, size) ? size : 0;
}

bool shown_write(maph_slice bytes, shown_form form, shown_put put, void *to) {
  const unsigned char *p = bytes.data, *end = p + bytes.size, *plain = p,
                      *mark = form == SHOWN_EXACT && utf8_begins_with_mark(bytes)
                                  ? p + UTF8_MARK_SIZE
                                  : p;
  char room[4];
  while (p < end) {
    size_t size = p < mark ? 0 : stays(p, end, form);
    if (size) {
      p += size;
      continue;
    }
    if (p > plain && !put(to, plain, (size_t)(p - plain))) return false;
    if (!put(to, room, escape(*p++, room))) return false;
    plain = p;
  }
  return end == plain || put(to, plain, (size_t)(end - plain));
}

static bool append(void *to, const void *bytes, size_t size) {
  char **end = to;
  memcpy(*end, bytes, size);
  *end += size;
  return true;
}

size_t shown_text(maph_slice bytes, shown_form form, char *room) {
  char *end = room;
  shown_write(bytes, form, append, &end);
  return (size_t)(end - room);
}
