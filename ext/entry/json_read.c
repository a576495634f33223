/*
** json_read.c - reading JSON where it lies.
**
** One loop goes through a value: at each turn it takes what a value begins with, then the commas
** and brackets that follow.  Which of the lists that are open are objects is a bit of a word, so
** nothing recurses and a thread's stack does not matter.
**
** Most of a text is inside strings.  There eight bytes are looked at together until one of them is
** a quote, a backslash, a control character or the beginning of a longer character.
*/
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "entry/json.h"
#include "entry/utf8.h"

_Static_assert(JSON_DEPTH <= 64, "a word has a bit for each list that is open");

json_reader json_begin(maph_slice text) {
  json_reader in = { .start = text.data, .p = text.data };
  in.end = in.start + text.size;
  return in;
}

/* ------------------------------------------------------------------------------------ mistakes */
bool json_wrong(json_reader *in, const char *at, enum json_fault fault, const char *sentence) {
  if (in->mistake) return false;
  in->p = at;
  in->fault = fault;
  in->mistake = sentence;
  return false;
}

static bool not_json(json_reader *in, const char *sentence) {
  return json_wrong(in, in->p, JSON_GRAMMAR, sentence);
}

uint64_t json_column(const json_reader *in) {
  uint64_t column = 1;
  if (in->column) return in->column;
  for (const char *p = in->start; p < in->p; p++) {
    column += ((unsigned char)*p & 0xC0) != 0x80;
    if (*p == '\n') column = 1;
  }
  return column;
}

static uint64_t line_of(const json_reader *in) {
  uint64_t line = 1;
  for (const char *p = in->start; p < in->p; p++) line += *p == '\n';
  return line;
}

/* Of a name that may be long: what is shown of it, and what goes after that. */
static const char *shorten(maph_slice *quoted) {
  enum { MOST = 60 };
  const unsigned char *text = quoted->data;
  if (quoted->size <= MOST) return "";
  quoted->size = MOST;
  while ((text[quoted->size] & 0xC0) == 0x80) quoted->size--;
  return "...\"";
}

void json_sentence(const json_reader *in, char room[JSON_SENTENCE_ROOM]) {
  const size_t size = JSON_SENTENCE_ROOM;
  unsigned long long line = line_of(in), column = json_column(in);
  maph_slice quoted = in->quoted;
  const char *rest = shorten(&quoted);
  int n = snprintf(room, size, "%s", in->fault == JSON_GRAMMAR ? "not JSON: " : "");
  if (quoted.size > 0) {
    n += snprintf(room + n, size - (size_t)n, "there is a member %.*s%s ", (int)quoted.size,
                  (const char *)quoted.data, rest);
  }
  n += snprintf(room + n, size - (size_t)n, "%s, at ", in->mistake);
  if (line > 1) n += snprintf(room + n, size - (size_t)n, "line %llu, ", line);
  snprintf(room + n, size - (size_t)n, "column %llu", column);
}

/* -------------------------------------------------------------------------------------- tokens */
static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static void skip_blanks(json_reader *in) {
  while (in->p < in->end && is_space(*in->p)) in->p++;
}

bool json_next(json_reader *in, char c) {
  skip_blanks(in);
  if (in->mistake || in->p == in->end || *in->p != c) return false;
  in->p++;
  return true;
}

static const char ends_too_early[] =
    "it ends too early: was it cut short, or is a bracket not closed?";

bool json_expect(json_reader *in, char c) {
  if (json_next(in, c)) return true;
  if (in->mistake == NULL && in->p == in->end) return not_json(in, ends_too_early);
  switch (c) {
    case ',': return not_json(in, "a , is missing");
    case ':': return not_json(in, "a : is missing after the name of a member");
    case ']': return not_json(in, "a , or ] is missing");
    default: return not_json(in, "a , or } is missing");
  }
}

bool json_end(json_reader *in) {
  skip_blanks(in);
  if (in->mistake == NULL && in->p == in->end) return true;
  return not_json(in, "there is more behind its end: remove it, or begin a line with it");
}

bool json_whole(maph_slice text, json_reader *in) {
  maph_slice value;
  *in = json_begin(text);
  return json_value(in, &value) && json_end(in);
}

/* The four digits at p; -1: they are not there. */
static int unit_at(const char *p, const char *end) {
  int unit = 0;
  if (end - p < 4) return -1;
  for (int i = 0; i < 4; i++) {
    int letter = p[i] | 0x20, digit = -1;
    if (p[i] >= '0' && p[i] <= '9') digit = p[i] - '0';
    if (letter >= 'a' && letter <= 'f') digit = letter - 'a' + 10;
    if (digit < 0) return -1;
    unit = unit << 4 | digit;
  }
  return unit;
}

static bool is_low_half(int unit) { return unit >= 0xDC00 && unit <= 0xDFFF; }
static bool is_high_half(int unit) { return unit >= 0xD800 && unit <= 0xDBFF; }

/* The escape at the backslash. */
static bool skip_escape(json_reader *in) {
  const char *p = in->p + 1;
  int unit;
  if (p == in->end || *p == 0 || strchr("\"\\/bfnrtu", *p) == NULL) {
    return not_json(in, JSON_NO_SUCH_ESCAPE);
  }
  if (*p++ != 'u') {
    in->p = p;
    return true;
  }
  if ((unit = unit_at(p, in->end)) < 0) return not_json(in, JSON_NO_HEX);
  p += 4;
  if (is_high_half(unit)) {
    if (in->end - p < 6 || p[0] != '\\' || p[1] != 'u' || !is_low_half(unit_at(p + 2, in->end))) {
      unit = 0xDC00;
    }
    p += 6;
  }
  if (is_low_half(unit)) {
    return not_json(in, JSON_HALF_PAIR);
  }
  in->p = p;
  return true;
}

/* Is one of the eight bytes a quote, a backslash, below 0x20 or above 0x7F? */
static bool is_special(uint64_t word) {
  const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
  uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
  uint64_t found = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash);
  return ((found | ((word - ones * 0x20) & ~word) | word) & tops) != 0;
}

const char *json_skip_letters(const char *p, const char *end) {
  uint64_t word;
  while (end - p >= 8) {
    memcpy(&word, p, 8);
    if (is_special(word)) break;
    p += 8;
  }
  while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20 && (signed char)*p > 0) {
    p++;
  }
  return p;
}

static bool skip_string(json_reader *in) {
  const char *first = in->p++;
  while ((in->p = json_skip_letters(in->p, in->end)) < in->end) {
    unsigned char c = (unsigned char)*in->p;
    size_t size = 1;
    if (c == '"') {
      in->p++;
      return true;
    }
    if (c == '\\') {
      if (!skip_escape(in)) return false;
      continue;
    }
    if (c < 0x20) return not_json(in, JSON_CONTROL);
    size = utf8_sequence((const unsigned char *)in->p, (const unsigned char *)in->end);
    if (size == 0) return not_json(in, JSON_NOT_UTF8);
    in->p += size;
  }
  return json_wrong(in, first, JSON_GRAMMAR, JSON_NO_END);
}

/* ------------------------------------------------------------------------------------- numbers */
static const char *skip_digits(const char *p, const char *end) {
  while (p < end && *p >= '0' && *p <= '9') p++;
  return p;
}

/* A number's parts: [whole, point) [fraction, fraction_end) and an exponent. */
typedef struct decimal {
  const char *whole, *whole_end, *fraction, *fraction_end;
  long exponent;
} decimal;

enum { EXPONENT_MOST = 100000000, DIGITS_OF_MOST = 309 };

/* Does a double hold it?  The largest one has 309 digits before its point, so only a number with as
** many needs a look at its digits: those are made a text without point and exponent, which strtod
** reads alike in every locale. */
static bool fits_double(const decimal *number) {
  char text[DIGITS_OF_MOST + 1];
  const char *whole = number->whole, *fraction = number->fraction;
  long places;
  while (whole < number->whole_end && *whole == '0') whole++;
  places = (long)(number->whole_end - whole);
  if (places == 0) {
    while (fraction < number->fraction_end && *fraction == '0') {
      fraction++;
      places--;
    }
    if (fraction == number->fraction_end) return true;
  }
  places += number->exponent;
  if (places != DIGITS_OF_MOST) return places < DIGITS_OF_MOST;
  for (int i = 0; i < DIGITS_OF_MOST; i++) {
    text[i] = '0';
    if (whole < number->whole_end)
      text[i] = *whole++;
    else if (fraction < number->fraction_end)
      text[i] = *fraction++;
  }
  text[DIGITS_OF_MOST] = 0;
  return isfinite(strtod(text, NULL));
}

static long read_exponent(const char *p, const char *end) {
  bool negative = *p == '-';
  long exponent = 0;
  if (*p == '-' || *p == '+') p++;
  for (; p < end && exponent < EXPONENT_MOST; p++) exponent = 10 * exponent + (*p - '0');
  return negative ? -exponent : exponent;
}

/* Digits from p on; NULL: there is none. */
static const char *need_digits(json_reader *in, const char *p) {
  const char *end = skip_digits(p, in->end);
  if (end > p) return end;
  json_wrong(in, p, JSON_GRAMMAR, "a digit is missing: a number looks like -12.5e3");
  return NULL;
}

static bool skip_number(json_reader *in) {
  const char *p = in->p, *exponent = NULL;
  decimal number = { 0 };
  if (*p == '-') p++;
  number.whole = p;
  if (p < in->end && *p == '0')
    p++;
  else if ((p = need_digits(in, p)) == NULL)
    return false;
  number.whole_end = number.fraction = number.fraction_end = p;
  if (p < in->end && *p == '.') {
    number.fraction = p + 1;
    if ((p = need_digits(in, p + 1)) == NULL) return false;
    number.fraction_end = p;
  }
  if (p < in->end && (*p | 0x20) == 'e') {
    exponent = p + 1;
    p += p + 1 < in->end && (p[1] == '+' || p[1] == '-') ? 2 : 1;
    if ((p = need_digits(in, p)) == NULL) return false;
    number.exponent = read_exponent(exponent, p);
  }
  if ((exponent || p - in->p >= DIGITS_OF_MOST) && !fits_double(&number)) {
    return json_wrong(in, in->p, JSON_LIMIT,
                      "a number beyond 1.8e308, which only a string can hold");
  }
  in->p = p;
  return true;
}

/* -------------------------------------------------------------------------------------- values */
/* What stands where a value should. */
static bool no_value(json_reader *in) {
  maph_slice rest = maph_bytes(in->p, (size_t)(in->end - in->p));
  const unsigned char *p = rest.data;
  if (utf8_begins_with_mark(rest)) {
    return not_json(in, "a byte order mark stands only at the beginning of a text: remove it");
  }
  if (rest.size >= 2 && ((p[0] == 0xFF && p[1] == 0xFE) || (p[0] == 0xFE && p[1] == 0xFF))) {
    return not_json(in, "it is UTF-16: convert it to UTF-8");
  }
  return not_json(in, "a value is missing: a string, a number, true, false, null, [ or {");
}

static bool skip_word(json_reader *in) {
  static const char *const words[] = { "true", "false", "null" };
  for (int i = 0; i < 3; i++) {
    size_t size = strlen(words[i]);
    if ((size_t)(in->end - in->p) < size || memcmp(in->p, words[i], size) != 0) continue;
    in->p += size;
    return true;
  }
  return no_value(in);
}

static bool skip_scalar(json_reader *in) {
  if (*in->p == '"') return skip_string(in);
  if (*in->p == '-' || (*in->p >= '0' && *in->p <= '9')) return skip_number(in);
  return skip_word(in);
}

static bool skip_name(json_reader *in) {
  skip_blanks(in);
  if (in->p == in->end) return not_json(in, ends_too_early);
  if (*in->p != '"') return not_json(in, "the name of a member is missing: a string");
  return skip_string(in) && json_expect(in, ':');
}

/* The lists that are open: a bit for each, the innermost lowest; 1: an object. */
typedef struct lists {
  uint64_t objects;
  int depth;
} lists;

/* What follows a value: the ends of lists that it ends, then a comma, or the end of all. */
static bool leave_lists(json_reader *in, lists *open) {
  while (open->depth > 0) {
    bool object = open->objects & 1;
    if (json_next(in, ',')) return !object || skip_name(in);
    if (!json_expect(in, object ? '}' : ']')) return false;
    open->objects >>= 1;
    open->depth--;
  }
  return true;
}

/* Past the bracket at p.  *empty: and past the one that closes it. */
static bool enter_list(json_reader *in, lists *open, bool *empty) {
  bool object = *in->p == '{';
  if (open->depth == JSON_DEPTH) {
    return json_wrong(in, in->p, JSON_LIMIT,
                      "lists and objects are more than 32 deep: write the value as a string, with "
                      "\"type\":\"json\"");
  }
  in->p++;
  *empty = json_next(in, object ? '}' : ']');
  if (*empty) return true;
  open->objects = open->objects << 1 | object;
  open->depth++;
  return !object || skip_name(in);
}

static bool skip_value(json_reader *in) {
  lists open = { 0, 0 };
  do {
    bool empty = true;
    skip_blanks(in);
    if (in->mistake) return false;
    if (in->p == in->end) return not_json(in, ends_too_early);
    if (*in->p == '{' || *in->p == '[') {
      if (!enter_list(in, &open, &empty)) return false;
    } else if (!skip_scalar(in)) {
      return false;
    }
    if (empty && !leave_lists(in, &open)) return false;
  } while (open.depth > 0);
  return true;
}

bool json_value(json_reader *in, maph_slice *text) {
  const char *first;
  skip_blanks(in);
  first = in->p;
  if (!skip_value(in)) return false;
  *text = maph_bytes(first, (size_t)(in->p - first));
  return true;
}

bool json_string(json_reader *in, maph_slice *text) {
  skip_blanks(in);
  if (in->mistake == NULL && (in->p == in->end || *in->p != '"')) {
    return not_json(in, "a string in quotes is missing");
  }
  return json_value(in, text);
}

bool json_member(json_reader *in, bool *first, maph_slice *name, maph_slice *value) {
  bool more = *first ? !json_next(in, '}') : json_next(in, ',');
  if (more) {
    *first = false;
    return json_string(in, name) && json_expect(in, ':') && json_value(in, value);
  }
  if (!*first) json_expect(in, '}');
  return false;
}
