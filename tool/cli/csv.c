/*
** csv.c - records of comma-separated (RFC 4180) and of tab-separated text.
**
** CSV: fields are separated by commas, records end with CRLF or LF.  A field that begins with a
** quote goes to the next lone quote and may hold commas, line ends and doubled quotes, and any
** other byte.  A quote or a lone CR anywhere else is refused: it would be a guess. TSV: fields are
** separated by tabs, records by line ends; \t \n \r \0 \\ \xHH stand for what cannot be written as
** it is.
**
** A record is found whole in the input's buffer first; its fields are then decoded in place.
*/
#include <stdlib.h>
#include "cli.h"

static const char lone_cr[] = "a carriage return inside a line (lines end with LF or CR LF)",
                  after_quote[] = "something follows the closing quote of a field";

static bool add_field(record *record, const void *data, size_t size) {
  if (record->fields == record->room) {
    size_t room = record->room ? 2 * record->room : 16;
    maph_slice *more = realloc(record->field, room * sizeof *more);
    if (more == NULL) {
      complain("out of memory");
      return false;
    }
    record->field = more;
    record->room = room;
  }
  record->field[record->fields++] = maph_bytes(data, size);
  return true;
}

void record_free(record *record) {
  free(record->field);
  memset(record, 0, sizeof *record);
}

/* ------------------------------------------------------------------------------------------ CSV */
/* Where in a record it is: a quote opens a quoted field at a field's beginning alone, and behind
** the closing one the field ends.  BROKEN: it does not. */
enum place { FIELD_BEGINS, PLAIN, QUOTED, AFTER_QUOTE, AFTER_CR, BROKEN };

static enum place next_place(enum place place, char c) {
  if (place == QUOTED) return c == '"' ? AFTER_QUOTE : QUOTED;
  if (place >= AFTER_CR) return BROKEN;
  if (c == ',') return FIELD_BEGINS;
  if (place == AFTER_QUOTE && c == '\r') return AFTER_CR;
  if (place == AFTER_QUOTE && c != '"') return BROKEN;
  if (c == '"' && place != PLAIN) return QUOTED;
  return PLAIN;
}

/* Past [from, end) as long as the record goes on: the line end that ends it, or end. */
static size_t pass(const char *data, size_t from, size_t end, enum place *place, uint64_t *lines) {
  while (from < end) {
    const char *p = data + from, *line_end = memchr(p, '\n', end - from);
    size_t size = line_end ? (size_t)(line_end - p) : end - from;
    /* Most lines have no quote. */
    if (*place < QUOTED && memchr(p, '"', size) == NULL) {
      if (size) *place = p[size - 1] == ',' ? FIELD_BEGINS : PLAIN;
    } else {
      for (size_t i = 0; i < size; i++) *place = next_place(*place, p[i]);
    }
    from += size;
    if (line_end == NULL || *place != QUOTED) break; /* BROKEN: as far as this line */
    from++;
    ++*lines;
  }
  return from;
}

/* Find the end of the record that begins at in->at: the first line end outside quotes.  Lines
** inside are counted.  Of a record whose quotes are wrong only the first line is left out: the
** quote that opened the field was perhaps the wrong one. */
static enum taken find_record(input *in, size_t *size, uint64_t *lines) {
  enum place place = FIELD_BEGINS;
  size_t at = 0;
  *lines = 1;
  for (;;) {
    at = pass(in->data + in->at, at, in->end - in->at, &place, lines);
    *size = at;
    if (place == BROKEN) return input_wrong_here(in, after_quote);
    if (at < in->end - in->at) return TAKEN;
    if (input_fill(in)) continue;
    if (in->too_long) return input_too_long(in);
    if (!in->ended) return TAKE_FAILED;
    if (at == 0) return AT_END;
    if (place != QUOTED) return TAKEN;
    return input_wrong_here(in, "a quoted field of this record never ends");
  }
}

/* Decode the quoted field behind the quote at p; its bytes end at *out.  Where the field ends, or
** NULL. */
static char *unquote(char *p, const char *end, char **out) {
  char *to = p;
  while (p < end) {
    char *quote = memchr(p, '"', (size_t)(end - p));
    if (quote == NULL) return NULL;
    memmove(to, p, (size_t)(quote - p));
    to += quote - p;
    p = quote + 1;
    if (p == end || *p != '"') {
      *out = to;
      return p;
    }
    *to++ = '"';
    p++;
  }
  return NULL;
}

static const char *csv_split(record *record, char *p, const char *end) {
  for (;;) {
    char *start = p, *stop;
    if (p < end && *p == '"') {
      p = unquote(++start, end, &stop);
      if (p == NULL) return "a quoted field never ends";
      if (p < end && *p != ',') return after_quote;
    } else {
      for (; p < end && *p != ','; p++) {
        if (*p == '"') return "a quote inside a field that is not quoted";
        if (*p == '\r') return lone_cr;
      }
      stop = p;
    }
    if (!add_field(record, start, (size_t)(stop - start))) return "out of memory";
    if (p == end) return NULL;
    p++;
  }
}

enum taken csv_record(input *in, record *record) {
  uint64_t lines;
  size_t size, whole;
  const char *mistake;
  char *start;
  enum taken taken = find_record(in, &size, &lines);
  if (taken != TAKEN) return taken;
  start = in->data + in->at;
  whole = size + (in->at + size < in->end);
  record->line = in->line + 1;
  record->fields = 0;
  if (size && start[size - 1] == '\r') size--;
  mistake = csv_split(record, start, start + size);
  in->at += whole;
  in->taken += whole;
  in->line += lines;
  return mistake ? input_wrong(in, record->line, mistake) : TAKEN;
}

/* ------------------------------------------------------------------------------------------ TSV */
enum taken tsv_record(input *in, record *record) {
  maph_slice line;
  enum taken taken = input_line(in, '\n', &line);
  char *p, *end;
  if (taken != TAKEN) return taken;
  p = (char *)(uintptr_t)line.data;
  end = p + line.size;
  if (end > p && end[-1] == '\r') end--;
  record->line = in->line;
  record->fields = 0;
  if (end > p && memchr(p, '\r', (size_t)(end - p))) return input_wrong(in, record->line, lone_cr);
  for (;;) {
    char *tab = memchr(p, '\t', (size_t)(end - p)), *stop = tab ? tab : end;
    size_t size;
    const char *mistake = unescape(maph_bytes(p, (size_t)(stop - p)), p, &size);
    if (mistake) return input_wrong(in, record->line, mistake);
    if (!add_field(record, p, size)) return TAKE_FAILED;
    if (tab == NULL) return TAKEN;
    p = tab + 1;
  }
}
