/*
** longline.c - a line of an import that is too long for memory: its value goes to a file without a
** name while the line comes in.
**
** {"key":"k","value":"AAEC...","encoding":"base64","type":"blob"}
**
** The line is read byte by byte, once.  What stands in the string that is the top-level member
** "value" is unescaped and written to the file; everything else is kept, with an empty string in
** its place: a JSON text of ordinary length, which the ordinary parser then judges, so whatever is
** not an object with such a member is refused by it.  At the end the file is mapped, decoded in
** place if the line says base64, and handed on as the value.
**
** A mistake in the line is kept until its end, and the rest of it read past.
*/
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "http/body.h"
#include "routes/longline.h"

/* where in the line: between strings, or in one */
enum { PIECE = 64 * 1024, BETWEEN = 0, NAME, TEXT, VALUE };

struct long_line {
  buffer rest;                    /* the line without its value */
  buffer out;                     /* of the value, not in the file yet */
  int fd;                         /* the file; -1: none yet */
  uint64_t value_size;            /* of what is in out and in the file */
  uint64_t value_most, rest_most; /* bytes of the value itself, and of the line without it */
  int where, level, digits;       /* digits: of a \u that are still to come */
  bool escaped, expects_name, names_value, after_colon;
  /* of the \u; a high surrogate that waits for its low one, else 0 */
  unsigned unit, high;
  size_t name_at; /* where in rest the name began */
  const char *mistake;
  bool too_long, disk_failed;
  void *map;
};

long_line *long_line_begin(uint64_t value_most, uint64_t rest_most) {
  long_line *l = calloc(1, sizeof *l);
  if (l == NULL) return NULL;
  l->fd = -1;
  l->value_most = value_most;
  l->rest_most = rest_most;
  l->expects_name = true;
  return l;
}

void long_line_free(long_line *l) {
  if (l == NULL) return;
  if (l->map) munmap(l->map, l->value_size);
  if (l->fd >= 0) close(l->fd);
  buffer_free(&l->rest);
  buffer_free(&l->out);
  free(l);
}

static uint64_t base64_size(uint64_t size) { return size / 3 * 4 + 4; }

static void mistaken(long_line *l, const char *sentence) {
  if (l->mistake == NULL) l->mistake = sentence;
}

static const char *too_long(long_line *l) {
  l->too_long = true;
  mistaken(l, "the line is too long");
  return l->mistake;
}

/* ------------------------------------------------------------------------------------ the value */
static void write_out(long_line *l) {
  if (l->out.size == 0 || l->disk_failed) return;
  if (l->fd < 0) l->fd = spool_open();
  if (l->fd < 0 || !spool_write(l->fd, l->out.data, l->out.size)) l->disk_failed = true;
  l->out.size = 0;
}

static void put_bytes(long_line *l, const char *bytes, size_t size) {
  if (l->mistake || l->disk_failed) return;
  l->value_size += size;
  if (l->value_size > base64_size(l->value_most)) {
    too_long(l);
    return;
  }
  buffer_append(&l->out, bytes, size);
  if (l->out.failed) mistaken(l, "out of memory");
  if (l->out.size >= PIECE) write_out(l);
}

static void put_character(long_line *l, unsigned c) {
  char utf8[4];
  size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (size_t i = n; i-- > 1; c >>= 6) utf8[i] = (char)(0x80 | (c & 0x3F));
  utf8[0] = (char)(n == 1 ? c : n == 2 ? 0xC0 | c : n == 3 ? 0xE0 | c : 0xF0 | c);
  put_bytes(l, utf8, n);
}

/* A \u has its four digits. */
static void end_unit(long_line *l) {
  unsigned unit = l->unit, high = l->high;
  bool is_high = unit >= 0xD800 && unit <= 0xDBFF, is_low = unit >= 0xDC00 && unit <= 0xDFFF;
  l->high = 0;
  if (is_low != (high != 0))
    mistaken(l, "half of a surrogate pair");
  else if (is_high)
    l->high = unit;
  else
    put_character(l, is_low ? 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00) : unit);
}

static void take_digit(long_line *l, char c) {
  unsigned digit = c >= '0' && c <= '9'                     ? (unsigned)(c - '0')
                   : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (unsigned)((c | 0x20) - 'a' + 10)
                                                            : 16;
  if (digit == 16) mistaken(l, "\\u is followed by four hex digits");
  l->unit = l->unit << 4 | (digit & 15);
  if (--l->digits == 0) end_unit(l);
}

static void take_escape(long_line *l, char c) {
  static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
  const char *found = c ? strchr(letters, c) : NULL;
  l->escaped = false;
  if (c == 'u') {
    l->digits = 4;
    l->unit = 0;
    return;
  }
  if (found == NULL || l->high)
    mistaken(l, found ? "half of a surrogate pair" : "there is no such escape");
  else
    put_bytes(l, &meanings[found - letters], 1);
}

/* Some bytes of the value's string; how many were taken. */
static size_t take_value(long_line *l, const char *p, size_t size) {
  size_t n = 0;
  if (l->digits) {
    take_digit(l, *p);
    return 1;
  }
  if (l->escaped) {
    take_escape(l, *p);
    return 1;
  }
  while (n < size && p[n] != '"' && p[n] != '\\' && (unsigned char)p[n] >= 0x20) n++;
  if (l->high && (n > 0 || *p == '"')) mistaken(l, "half of a surrogate pair");
  if (n > 0) {
    put_bytes(l, p, n);
    return n;
  }
  if (*p == '\\')
    l->escaped = true;
  else if (*p == '"') {
    l->where = BETWEEN;
    buffer_append(&l->rest, "\"", 1);
  } else
    mistaken(l, "a control character in a string");
  return 1;
}

/* ---------------------------------------------------------------------------- what is around it */
static void end_name(long_line *l) {
  size_t size = l->rest.size - l->name_at;
  l->names_value =
      size == 7 && !l->rest.failed && memcmp(l->rest.data + l->name_at, "\"value\"", 7) == 0;
  l->expects_name = false;
  l->where = BETWEEN;
}

static void take_between(long_line *l, char c) {
  switch (c) {
    case '"':
      l->where = l->level == 1 && l->expects_name                    ? NAME
                 : l->level == 1 && l->names_value && l->after_colon ? VALUE
                                                                     : TEXT;
      l->name_at = l->rest.size - 1;
      break;
    case '{':
    case '[': l->level++; break;
    case '}':
    case ']': l->level--; break;
    case ',':
      if (l->level == 1) {
        l->expects_name = true;
        l->names_value = l->after_colon = false;
      }
      break;
    case ':':
      if (l->level == 1) l->after_colon = true;
      break;
    default: break;
  }
}

static void take_rest(long_line *l, char c) {
  if (l->rest.size >= l->rest_most || l->rest.failed) {
    too_long(l);
    return;
  }
  buffer_append(&l->rest, &c, 1);
  if (l->where == BETWEEN)
    take_between(l, c);
  else if (l->escaped)
    l->escaped = false;
  else if (c == '\\')
    l->escaped = true;
  else if (c == '"' && l->where == NAME)
    end_name(l);
  else if (c == '"')
    l->where = BETWEEN;
}

bool long_line_take(long_line *l, const char *bytes, size_t size) {
  size_t n = 0;
  while (n < size && l->mistake == NULL && !l->disk_failed) {
    if (l->where == VALUE)
      n += take_value(l, bytes + n, size - n);
    else
      take_rest(l, bytes[n++]);
  }
  return !l->disk_failed;
}

size_t long_line_memory(const long_line *l) { return l->rest.size; }
bool long_line_too_long(const long_line *l) { return l->too_long; }

/* -------------------------------------------------------------------------------------- its end */
static const char *map_value(long_line *l) {
  write_out(l);
  if (l->disk_failed || l->value_size == 0) return NULL;
  l->map = mmap(NULL, l->value_size, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0);
  if (l->map == MAP_FAILED) {
    l->map = NULL;
    l->disk_failed = true;
  }
  return l->map && !utf8_valid(l->map, l->value_size) ? "not JSON: the value is not UTF-8" : NULL;
}

/* The value in place of the empty one that the ordinary parser has seen. */
static const char *put_value(long_line *l, operation *o) {
  size_t size = l->value_size;
  if (l->map == NULL) return NULL;
  if (o->binary && (size = base64_decode(l->map, l->value_size, l->map)) == SIZE_MAX)
    return "that is not base64";
  if (size > l->value_most) return too_long(l);
  o->value = maph_bytes(l->map, size);
  if (!o->binary && !o->typed && memchr(l->map, 0, size)) o->condition.type = MAPH_BLOB;
  return NULL;
}

static bool is_blank(const long_line *l) {
  size_t n = 0;
  while (n < l->rest.size && (l->rest.data[n] == ' ' || l->rest.data[n] == '\r')) n++;
  return n == l->rest.size && l->mistake == NULL;
}

bool long_line_end(long_line *l, arena *a, operation *o, bool *blank, const char **mistake,
                   char *room, size_t room_size) {
  bool json;
  *mistake = NULL;
  if (l->mistake == NULL && l->where == VALUE) mistaken(l, "not JSON: the line ends in its value");
  if ((*blank = is_blank(l))) return true;
  if ((*mistake = l->mistake) != NULL || (*mistake = map_value(l)) != NULL || l->disk_failed)
    return !l->disk_failed;
  *mistake = operation_parse(maph_bytes(l->rest.data, l->rest.size), OPERATION_PUT, a, o, &json,
                             room, room_size);
  if (*mistake == NULL) *mistake = put_value(l, o);
  return true;
}
