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

static const char lone_cr[] = "a carriage return inside a line (lines end with LF or CR LF)";

static bool add_field(record *r, const void *data, size_t size) {
  if (r->fields == r->room) {
    size_t room = r->room ? 2 * r->room : 16;
    maph_slice *more = realloc(r->field, room * sizeof *more);
    if (more == NULL) {
      complain("out of memory");
      return false;
    }
    r->field = more;
    r->room = room;
  }
  r->field[r->fields++] = maph_bytes(data, size);
  return true;
}

void record_free(record *r) {
  free(r->field);
  memset(r, 0, sizeof *r);
}

/* ------------------------------------------------------------------------------------------ CSV */
/* Find the end of the record that begins at in->at: the first line end outside quotes.  Lines
** inside are counted. */
static enum taken find_record(input *in, size_t *size, uint64_t *lines) {
  bool quoted = false;
  size_t at = 0;
  *lines = 1;
  for (;;) {
    for (; at < in->end - in->at; at++) {
      char c = in->data[in->at + at];
      if (c == '"') quoted = !quoted;
      if (c != '\n') continue;
      if (!quoted) {
        *size = at;
        return TAKEN;
      }
      ++*lines;
    }
    if (input_fill(in)) continue;
    if (!in->ended) return TAKE_FAILED;
    *size = at;
    if (at == 0) return AT_END;
    if (!quoted) return TAKEN;
    complain("%s line %llu: a quoted field of this record never ends", in->name,
             (unsigned long long)in->line + 1);
    return TAKE_FAILED;
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

static const char *csv_split(record *r, char *p, const char *end) {
  for (;;) {
    char *start = p, *stop;
    if (p < end && *p == '"') {
      p = unquote(++start, end, &stop);
      if (p == NULL) return "a quoted field never ends";
      if (p < end && *p != ',') return "something follows the closing quote of a field";
    } else {
      for (; p < end && *p != ','; p++) {
        if (*p == '"') return "a quote inside a field that is not quoted";
        if (*p == '\r') return lone_cr;
      }
      stop = p;
    }
    if (!add_field(r, start, (size_t)(stop - start))) return "out of memory";
    if (p == end) return NULL;
    p++;
  }
}

static enum taken mistaken(const input *in, const record *r, const char *mistake) {
  complain("%s line %llu: %s", in->name, (unsigned long long)r->line, mistake);
  return TAKE_FAILED;
}

enum taken csv_record(input *in, record *r) {
  uint64_t lines;
  size_t size, whole;
  const char *mistake;
  char *start;
  enum taken taken = find_record(in, &size, &lines);
  if (taken != TAKEN) return taken;
  start = in->data + in->at;
  whole = size + (in->at + size < in->end);
  r->line = in->line + 1;
  r->fields = 0;
  if (size && start[size - 1] == '\r') size--;
  mistake = csv_split(r, start, start + size);
  in->at += whole;
  in->taken += whole;
  in->line += lines;
  return mistake ? mistaken(in, r, mistake) : TAKEN;
}

/* ------------------------------------------------------------------------------------------ TSV */
enum taken tsv_record(input *in, record *r) {
  maph_slice line;
  enum taken taken = input_line(in, '\n', &line);
  char *p, *end;
  if (taken != TAKEN) return taken;
  p = (char *)(uintptr_t)line.data;
  end = p + line.size;
  if (end > p && end[-1] == '\r') end--;
  r->line = in->line;
  r->fields = 0;
  if (end > p && memchr(p, '\r', (size_t)(end - p))) return mistaken(in, r, lone_cr);
  for (;;) {
    char *tab = memchr(p, '\t', (size_t)(end - p)), *stop = tab ? tab : end;
    size_t size;
    const char *mistake = unescape(maph_bytes(p, (size_t)(stop - p)), p, &size);
    if (mistake) return mistaken(in, r, mistake);
    if (!add_field(r, p, size)) return TAKE_FAILED;
    if (tab == NULL) return TAKEN;
    p = tab + 1;
  }
}
