/*
** pieces.c - a line of an import that is too long for memory, read in pieces.
**
**     {"key":"k","value":"AAEC...","encoding":"base64","type":"blob"}
**
** The line is looked at byte by byte, once.  What the string says that is the member "value" of the
** outermost object goes out piece by piece.  Everything else is kept, with an empty string in its
** place: a text of ordinary length.  The ordinary reader (entry_read.c) judges that at the end,
** with the value from where it went, so both readers say the same of the same line, in the same
** words.
**
** This file knows no more of JSON than where strings begin and end, and what the value's own string
** may hold.  A mistake in that string is kept until the end of the line, and the rest of the line
** is read past: a mistake that stands before it in the line is told first.
*/
#include <stdlib.h>
#include <string.h>
#include "entry/base64.h"
#include "entry/pieces.h"
#include "entry/utf8.h"

enum { PIECE = 64 * 1024 };

/* Where in the line: between strings, in the name of a member of the outermost object, in the
** value, or in any other string. */
enum where { BETWEEN, NAME, VALUE, OTHER };

struct pieces {
  pieces_limits limits;
  entry_rules rules;
  json_put put;
  void *to;
  char *rest; /* the line without its value */
  size_t rest_size, rest_room;
  size_t value_at;     /* where in the rest its value's last quote stands; 0: none was met */
  uint64_t value_size; /* bytes of it that went out, or are in `out` */
  uint64_t columns;    /* characters of it, as they stand in the line */
  enum where where;
  int level, digits; /* lists that are open; digits of a \u that are still to come */
  bool escaped, expects_name, names_value, after_colon;
  unsigned unit, high;    /* of the \u; a high surrogate that waits for its low one, or 0 */
  uint64_t escape_column; /* in the value, where the escape or the pair began */
  utf8_state utf8;
  size_t name_at; /* where in the rest the name began */
  const char *mistake;
  enum json_fault fault;
  uint64_t mistake_column; /* in the value, from 0 */
  bool too_long, put_failed;
  size_t out_size;
  char out[PIECE];
};

pieces *pieces_begin(const pieces_limits *limits, const entry_rules *rules, json_put put,
                     void *to) {
  pieces *line = calloc(1, sizeof *line);
  if (line == NULL) return NULL;
  line->limits = *limits;
  line->rules = *rules;
  line->put = put;
  line->to = to;
  line->expects_name = true;
  return line;
}

void pieces_free(pieces *line) {
  if (line == NULL) return;
  free(line->rest);
  free(line);
}

bool pieces_too_long(const pieces *line) { return line->too_long; }
size_t pieces_memory(const pieces *line) { return line->rest_size; }
uint64_t pieces_value_size(const pieces *line) { return line->value_size; }

/* The value may not go on so, from that column of it on. */
static void wrong(pieces *line, uint64_t column, const char *sentence) {
  if (line->mistake) return;
  line->mistake = sentence;
  line->fault = JSON_GRAMMAR;
  line->mistake_column = column;
}

static void no_memory(pieces *line) {
  wrong(line, line->columns, "out of memory");
  line->fault = JSON_NO_MEMORY;
}

/* ----------------------------------------------------------------------------------- the value */
static void put_out(pieces *line) {
  if (line->out_size == 0 || line->put_failed) return;
  if (!line->put(line->to, line->out, line->out_size)) line->put_failed = true;
  line->out_size = 0;
}

/* Some bytes of what the value says; size <= PIECE. */
static void take_meaning(pieces *line, const char *bytes, size_t size) {
  line->value_size += size;
  if (line->value_size > base64_size(line->limits.value)) {
    line->too_long = true;
    return;
  }
  if (size > PIECE - line->out_size) put_out(line);
  memcpy(line->out + line->out_size, bytes, size);
  line->out_size += size;
}

static void take_character(pieces *line, unsigned code) {
  char utf8[4];
  take_meaning(line, utf8, utf8_write(utf8, code));
}

/* A \u has its four digits. */
static void end_unit(pieces *line) {
  unsigned unit = line->unit, high = line->high;
  bool is_high = unit >= 0xD800 && unit <= 0xDBFF, is_low = unit >= 0xDC00 && unit <= 0xDFFF;
  line->high = 0;
  if (is_low != (high != 0))
    wrong(line, line->escape_column, JSON_HALF_PAIR);
  else if (is_high)
    line->high = unit;
  else if (is_low)
    take_character(line, 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00));
  else
    take_character(line, unit);
}

static void take_digit(pieces *line, char c) {
  unsigned letter = (unsigned)(c | 0x20), digit = 16;
  if (c >= '0' && c <= '9')
    digit = (unsigned)(c - '0');
  else if (letter >= 'a' && letter <= 'f')
    digit = letter - 'a' + 10;
  if (digit == 16) {
    wrong(line, line->escape_column, line->high ? JSON_HALF_PAIR : JSON_NO_HEX);
  }
  line->unit = line->unit << 4 | digit;
  if (--line->digits == 0) end_unit(line);
}

static void take_escape(pieces *line, char c) {
  static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
  const char *found = c ? strchr(letters, c) : NULL;
  line->escaped = false;
  if (c == 'u') {
    line->digits = 4;
    line->unit = 0;
  } else if (line->high) {
    wrong(line, line->escape_column, JSON_HALF_PAIR);
  } else if (found == NULL) {
    wrong(line, line->escape_column, JSON_NO_SUCH_ESCAPE);
  } else {
    take_meaning(line, &meanings[found - letters], 1);
  }
}

/* One byte of the string, outside escapes. */
static void take_plain(pieces *line, char c) {
  uint64_t before = line->columns;
  bool middle = line->utf8.left > 0;
  if (line->high && c != '\\') wrong(line, line->escape_column, JSON_HALF_PAIR);
  if (!utf8_take(&line->utf8, (unsigned char)c)) {
    wrong(line, before - middle, JSON_NOT_UTF8);
  } else if (c == '\\') {
    if (line->high == 0) line->escape_column = before;
    line->escaped = true;
  } else if ((unsigned char)c < 0x20) {
    wrong(line, before, JSON_CONTROL);
  } else {
    take_meaning(line, &c, 1);
  }
}

/* The characters at p that need no look: how many bytes and, into *columns, characters. */
static size_t count_letters(const pieces *line, const char *p, size_t size, uint64_t *columns) {
  const char *at = p, *end = p + (size < PIECE ? size : PIECE);
  size_t sequence = 1;
  *columns = 0;
  if (line->utf8.left > 0 || line->high || line->digits || line->escaped) return 0;
  while (at < end && sequence > 0) {
    const char *letters = at;
    at = json_skip_letters(at, end);
    *columns += (uint64_t)(at - letters);
    if (at == end || (unsigned char)*at < 0x80) break;
    sequence = utf8_sequence((const unsigned char *)at, (const unsigned char *)end);
    at += sequence;
    *columns += sequence > 0;
  }
  return (size_t)(at - p);
}

static void append_rest(pieces *line, char c) {
  if (line->rest_size == line->rest_room) {
    size_t room = line->rest_room ? 2 * line->rest_room : 1024;
    char *rest = realloc(line->rest, room);
    if (rest == NULL) {
      no_memory(line);
      return;
    }
    line->rest = rest;
    line->rest_room = room;
  }
  line->rest[line->rest_size++] = c;
}

/* Some bytes of the value's string; how many were taken. */
static size_t take_value(pieces *line, const char *p, size_t size) {
  uint64_t columns;
  size_t letters = count_letters(line, p, size, &columns);
  if (letters > 0) {
    take_meaning(line, p, letters);
    line->columns += columns;
    return letters;
  }
  if (line->digits) {
    take_digit(line, *p);
  } else if (line->escaped) {
    take_escape(line, *p);
  } else if (*p == '"' && line->utf8.left == 0 && line->high == 0) {
    line->where = BETWEEN;
    line->value_at = line->rest_size;
    append_rest(line, '"');
    return 1;
  } else {
    take_plain(line, *p);
  }
  line->columns += ((unsigned char)*p & 0xC0) != 0x80;
  return 1;
}

/* ---------------------------------------------------------------------------- what is around it */
static void end_name(pieces *line) {
  size_t size = line->rest_size - line->name_at;
  line->names_value = size == 7 && memcmp(line->rest + line->name_at, "\"value\"", 7) == 0;
  line->expects_name = false;
  line->where = BETWEEN;
}

static void begin_string(pieces *line) {
  line->where = OTHER;
  line->name_at = line->rest_size - 1;
  if (line->level != 1) return;
  if (line->expects_name)
    line->where = NAME;
  else if (line->names_value && line->after_colon && line->value_at == 0)
    line->where = VALUE;
}

static void take_between(pieces *line, char c) {
  switch (c) {
    case '"': begin_string(line); break;
    case '{':
    case '[': line->level++; break;
    case '}':
    case ']': line->level--; break;
    case ',':
      if (line->level != 1) break;
      line->expects_name = true;
      line->names_value = line->after_colon = false;
      break;
    case ':':
      if (line->level == 1) line->after_colon = true;
      break;
    default: break;
  }
}

static void take_rest(pieces *line, char c) {
  if (line->rest_size >= line->limits.rest) {
    line->too_long = true;
    return;
  }
  append_rest(line, c);
  if (line->mistake) return;
  if (line->where == BETWEEN)
    take_between(line, c);
  else if (line->escaped)
    line->escaped = false;
  else if (c == '\\')
    line->escaped = true;
  else if (c == '"' && line->where == NAME)
    end_name(line);
  else if (c == '"')
    line->where = BETWEEN;
}

bool pieces_take(pieces *line, const char *bytes, size_t size) {
  size_t n = 0;
  while (n < size && line->mistake == NULL && !line->too_long && !line->put_failed) {
    if (line->where == VALUE)
      n += take_value(line, bytes + n, size - n);
    else
      take_rest(line, bytes[n++]);
  }
  return !line->put_failed;
}

/* ------------------------------------------------------------------------------------- its end */
bool pieces_end(pieces *line) {
  if (line->where == VALUE && line->mistake == NULL) {
    if (line->high)
      wrong(line, line->escape_column, JSON_HALF_PAIR);
    else if (line->utf8.left > 0)
      wrong(line, line->columns - 1, JSON_NOT_UTF8);
    else if (line->digits)
      wrong(line, line->escape_column, JSON_NO_HEX);
    else if (line->escaped)
      wrong(line, line->escape_column, JSON_NO_SUCH_ESCAPE);
    else
      wrong(line, UINT64_MAX, JSON_NO_END);
  }
  put_out(line);
  return !line->put_failed;
}

bool pieces_is_blank(const pieces *line) {
  return line->mistake == NULL && json_is_blank(maph_bytes(line->rest, line->rest_size));
}

/* The mistake in the value, unless the rest has one before it.  The rest ends with the value's
** first quote, so what it lacks is that string's end. */
static bool tell_mistake(pieces *line, arena *arena, entry_operation *operation, json_reader *in) {
  size_t quote = line->rest_size > 0 ? line->rest_size - 1 : 0;
  entry_read_line(in, &line->rules, arena, operation);
  if (line->fault != JSON_NO_MEMORY && in->mistake && strcmp(in->mistake, JSON_NO_END) != 0) {
    return false;
  }
  *in = json_begin(maph_bytes(line->rest, line->rest_size));
  json_wrong(in, in->start + quote, line->fault, line->mistake);
  in->column = json_column(in);
  if (line->mistake_column != UINT64_MAX) in->column += 1 + line->mistake_column;
  return false;
}

bool pieces_read(pieces *line, char *text, arena *arena, entry_operation *operation,
                 json_reader *in) {
  entry_elsewhere elsewhere = { NULL, text, line->value_size };
  *in = json_begin(maph_bytes(line->rest, line->rest_size));
  if (line->mistake) return tell_mistake(line, arena, operation, in);
  if (line->value_at > 0 && line->value_size > 0) {
    elsewhere.at = in->start + line->value_at - 1;
  }
  if (!entry_read_elsewhere(in, &line->rules, arena, &elsewhere, operation)) {
    bool behind = line->value_at > 0 && in->p - in->start >= (ptrdiff_t)line->value_at;
    in->column = json_column(in) + (behind ? line->columns : 0);
    return false;
  }
  if (operation->value.size > line->limits.value) line->too_long = true;
  return true;
}
