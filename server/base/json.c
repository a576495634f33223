/*
** json.c - writing JSON and base64; reading JSON where it lies.
**
** Keys and values are bytes; JSON holds only UTF-8.  Bytes that are not UTF-8 go out as base64 with
** a member beside them that says so.
**
** The reader makes no tree: it tells where a value begins and ends, once it has seen that
** everything in it is JSON (RFC 8259, valid UTF-8, no half of a surrogate pair, no number beyond a
** double).  So a text costs no memory, whatever it consists of, and a number stays the digits that
** it is.  It recurses once a level, and a worker has 100 KB of stack: a depth bounds it.
*/
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"

/* ---------------------------------------------------------------------------------------- UTF-8 */
/* Bytes of the sequence at p, 0 when it is not one (overlong, surrogate, above U+10FFFF, cut
** short). */
static size_t utf8_sequence(const unsigned char *p, const unsigned char *end) {
  size_t left = (size_t)(end - p);
  if (p[0] < 0xC2 || p[0] > 0xF4 || left < 2 || (p[1] & 0xC0) != 0x80) return 0;
  if (p[0] < 0xE0) return 2;
  if (left < 3 || (p[2] & 0xC0) != 0x80) return 0;
  if (p[0] < 0xF0) {
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F)) return 0;
    return 3;
  }
  if (left < 4 || (p[3] & 0xC0) != 0x80) return 0;
  if ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F)) return 0;
  return 4;
}

bool utf8_valid(const void *data, size_t size) {
  const unsigned char *p = data, *end = p + size;
  while (p < end) {
    uint64_t word;
    while (end - p >= 8) {
      memcpy(&word, p, 8);
      if (word & 0x8080808080808080u) break;
      p += 8;
    }
    if (p < end && *p < 0x80)
      p++;
    else if (p < end) {
      size_t n = utf8_sequence(p, end);
      if (n == 0) return false;
      p += n;
    }
  }
  return true;
}

/* ----------------------------------------------------------------------------------------- JSON */
static void emit_escape(buffer *b, unsigned char c) {
  switch (c) {
    case '"': buffer_append(b, "\\\"", 2); break;
    case '\\': buffer_append(b, "\\\\", 2); break;
    case '\n': buffer_append(b, "\\n", 2); break;
    case '\r': buffer_append(b, "\\r", 2); break;
    case '\t': buffer_append(b, "\\t", 2); break;
    default: buffer_printf(b, "\\u%04x", c); break;
  }
}

void emit_escaped(buffer *b, const void *utf8, size_t size) {
  const unsigned char *p = utf8, *end = p + size, *plain = p;
  for (; p < end; p++) {
    if (*p >= 0x20 && *p != '"' && *p != '\\' && *p != 0x7F) continue;
    buffer_append(b, plain, (size_t)(p - plain));
    emit_escape(b, *p);
    plain = p + 1;
  }
  buffer_append(b, plain, (size_t)(p - plain));
}

void emit_string(buffer *b, const void *utf8, size_t size) {
  buffer_append(b, "\"", 1);
  emit_escaped(b, utf8, size);
  buffer_append(b, "\"", 1);
}

void emit_bytes(buffer *b, const char *name, const char *encoding_name, maph_slice bytes) {
  buffer_append(b, "\"", 1);
  buffer_text(b, name);
  buffer_append(b, "\":", 2);
  if (utf8_valid(bytes.data, bytes.size)) {
    emit_string(b, bytes.data, bytes.size);
    return;
  }
  buffer_append(b, "\"", 1);
  emit_base64(b, bytes.data, bytes.size);
  buffer_append(b, "\",\"", 3);
  buffer_text(b, encoding_name);
  buffer_text(b, "\":\"base64\"");
}

static const char *const type_names[] = {
  [MAPH_BLOB] = "blob",       [MAPH_TEXT] = "text", [MAPH_JSON] = "json",
  [MAPH_INTEGER] = "integer", [MAPH_REAL] = "real", [MAPH_NULL] = "null"
};

const char *type_name(int type) {
  return type >= MAPH_BLOB && type <= MAPH_NULL ? type_names[type] : "blob";
}

int type_from_name(const char *name) {
  for (int i = MAPH_BLOB; i <= MAPH_NULL; i++)
    if (strcmp(name, type_names[i]) == 0) return i;
  return -1;
}

const char *perfect_name(int perfect_hash) {
  return perfect_hash == MAPH_PERFECT_PILOT  ? "pilot"
         : perfect_hash == MAPH_PERFECT_CMPH ? "cmph"
                                             : "none";
}

void emit_entry(buffer *b, const maph_entry *entry, bool with_value) {
  emit_bytes(b, "key", "key_encoding", entry->key);
  if (entry->key_type == MAPH_KEY_TEXT) buffer_text(b, ",\"key_is_text\":true");
  if (entry->key_type == MAPH_KEY_BLOB) buffer_text(b, ",\"key_is_text\":false");
  if (with_value) {
    buffer_append(b, ",", 1);
    emit_bytes(b, "value", "encoding", entry->value);
  }
  buffer_text(b, ",\"version\":");
  buffer_number(b, entry->version);
  buffer_text(b, ",\"size\":");
  buffer_number(b, entry->value.size);
  buffer_text(b, ",\"type\":\"");
  buffer_text(b, type_name(entry->type));
  buffer_append(b, "\"", 1);
  if (entry->media_type.size) {
    buffer_append(b, ",", 1);
    emit_bytes(b, "media_type", "media_type_encoding", entry->media_type);
  }
  if (entry->expires) {
    buffer_text(b, ",\"expires_at\":");
    buffer_number(b, entry->expires);
  }
}

/* -------------------------------------------------------------------------------------- reading */
static bool wrong(json_reader *r, const char *mistake) {
  if (r->mistake == NULL) r->mistake = mistake;
  return false;
}

static void skip_blanks(json_reader *r) {
  while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r')) r->p++;
}

bool reader_next(json_reader *r, char c) {
  skip_blanks(r);
  if (r->mistake || r->p == r->end || *r->p != c) return false;
  r->p++;
  return true;
}

bool reader_expect(json_reader *r, char c) {
  static const char *const sentences[] = { "a , is missing", "a : is missing", "a ] is missing",
                                           "a } is missing" };
  return reader_next(r, c) || wrong(r, sentences[c == ',' ? 0 : c == ':' ? 1 : c == ']' ? 2 : 3]);
}

bool reader_end(json_reader *r) {
  skip_blanks(r);
  return r->mistake == NULL && (r->p == r->end || wrong(r, "there is more behind its end"));
}

/* The four digits at p; -1: they are not there. */
static int unit_at(const char *p, const char *end) {
  int unit = 0;
  if (end - p < 4) return -1;
  for (int i = 0; i < 4; i++) {
    int c = p[i] | 0x20, digit = p[i] >= '0' && p[i] <= '9' ? p[i] - '0'
                                 : c >= 'a' && c <= 'f'     ? c - 'a' + 10
                                                            : -1;
    if (digit < 0) return -1;
    unit = unit << 4 | digit;
  }
  return unit;
}

/* What follows a backslash. */
static bool skip_escape(json_reader *r) {
  int unit;
  if (r->p == r->end || *r->p == 0 || strchr("\"\\/bfnrtu", *r->p) == NULL)
    return wrong(r, "there is no such escape");
  if (*r->p++ != 'u') return true;
  if ((unit = unit_at(r->p, r->end)) < 0) return wrong(r, "\\u is followed by four hex digits");
  r->p += 4;
  if (unit < 0xD800 || unit > 0xDFFF) return true;
  if (unit > 0xDBFF || r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u'
      || (unit_at(r->p + 2, r->end) & ~0x3FF) != 0xDC00)
    return wrong(r, "half of a surrogate pair");
  r->p += 6;
  return true;
}

static bool skip_string(json_reader *r) {
  for (r->p++; r->p < r->end;) {
    unsigned char c = (unsigned char)*r->p;
    size_t n = 1;
    if (c == '"') {
      r->p++;
      return true;
    }
    if (c < 0x20) return wrong(r, "a control character in a string");
    if (c >= 0x80
        && (n = utf8_sequence((const unsigned char *)r->p, (const unsigned char *)r->end)) == 0)
      return wrong(r, "a string is not UTF-8");
    r->p += n;
    if (c == '\\' && !skip_escape(r)) return false;
  }
  return wrong(r, "a string has no end");
}

static bool skip_digits(json_reader *r) {
  const char *first = r->p;
  while (r->p < r->end && *r->p >= '0' && *r->p <= '9') r->p++;
  return r->p > first || wrong(r, "a digit is missing");
}

static bool skip_number(json_reader *r) {
  const char *first = r->p;
  if (*r->p == '-') r->p++;
  if (r->p < r->end && *r->p == '0')
    r->p++;
  else if (!skip_digits(r))
    return false;
  if (r->p < r->end && *r->p == '.') {
    r->p++;
    if (!skip_digits(r)) return false;
  }
  if (r->p < r->end && (*r->p | 0x20) == 'e') {
    r->p++;
    if (r->p < r->end && (*r->p == '+' || *r->p == '-')) r->p++;
    if (!skip_digits(r)) return false;
  } else if (r->p - first < 300)
    return true;
  return r->p == r->end || isfinite(strtod(first, NULL)) || wrong(r, "a number is too large");
}

static bool skip_word(json_reader *r) {
  static const char *const words[] = { "true", "false", "null" };
  for (int i = 0; i < 3; i++) {
    size_t size = strlen(words[i]);
    if ((size_t)(r->end - r->p) < size || memcmp(r->p, words[i], size) != 0) continue;
    r->p += size;
    return true;
  }
  return wrong(r, "a value is missing");
}

static bool skip_value(json_reader *r, int depth);

static bool skip_list(json_reader *r, int depth) {
  bool object = *r->p++ == '{';
  if (depth == 0) return wrong(r, "it is nested too deeply");
  if (reader_next(r, object ? '}' : ']')) return true;
  do {
    maph_slice name;
    if (object && (!reader_string(r, &name) || !reader_expect(r, ':'))) return false;
    if (!skip_value(r, depth - 1)) return false;
  } while (reader_next(r, ','));
  return reader_expect(r, object ? '}' : ']');
}

static bool skip_value(json_reader *r, int depth) {
  skip_blanks(r);
  if (r->mistake) return false;
  if (r->p == r->end) return wrong(r, "it ends too early");
  switch (*r->p) {
    case '"': return skip_string(r);
    case '{':
    case '[': return skip_list(r, depth);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return skip_number(r);
    default: return skip_word(r);
  }
}

bool reader_value(json_reader *r, int depth, maph_slice *text) {
  const char *first;
  skip_blanks(r);
  first = r->p;
  if (!skip_value(r, depth)) return false;
  *text = maph_bytes(first, (size_t)(r->p - first));
  return true;
}

bool reader_string(json_reader *r, maph_slice *text) {
  skip_blanks(r);
  if (r->p == r->end || *r->p != '"') return wrong(r, "a string is missing");
  return reader_value(r, 0, text);
}

static size_t put_character(char *to, unsigned c) {
  size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (size_t i = n; i-- > 1; c >>= 6) to[i] = (char)(0x80 | (c & 0x3F));
  to[0] = (char)(n == 1 ? c : n == 2 ? 0xC0 | c : n == 3 ? 0xE0 | c : 0xF0 | c);
  return n;
}

size_t reader_unescape(maph_slice inner, char *out) {
  static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
  const char *p = inner.data, *end = p + inner.size, *found;
  char *to = out;
  while (p < end) {
    if (*p != '\\') {
      *to++ = *p++;
      continue;
    }
    if (p[1] == 'u') {
      unsigned unit = (unsigned)unit_at(p + 2, end);
      bool pair = unit >= 0xD800 && unit <= 0xDBFF;
      to += put_character(to, pair ? 0x10000 + ((unit - 0xD800) << 10)
                                         + ((unsigned)unit_at(p + 8, end) - 0xDC00)
                                   : unit);
      p += pair ? 12 : 6;
    } else {
      found = strchr(letters, p[1]);
      *to++ = found ? meanings[found - letters] : p[1];
      p += 2;
    }
  }
  return (size_t)(to - out);
}

size_t reader_squeeze(maph_slice text, char *out) {
  const char *p = text.data, *end = p + text.size;
  bool quoted = false;
  char *to = out;
  for (; p < end; p++) {
    if (!quoted && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) continue;
    if (*p == '"') quoted = !quoted;
    if (*p == '\\') *to++ = *p++;
    *to++ = *p;
  }
  return (size_t)(to - out);
}

bool json_depth_within(const char *text, size_t size, int depth) {
  int level = 0;
  bool in_string = false;
  for (size_t i = 0; i < size; i++) {
    char c = text[i];
    if (in_string) {
      if (c == '\\')
        i++;
      else if (c == '"')
        in_string = false;
    } else if (c == '"')
      in_string = true;
    else if (c == '{' || c == '[') {
      if (++level > depth) return false;
    } else if (c == '}' || c == ']')
      level--;
  }
  return true;
}

/* --------------------------------------------------------------------------------------- base64 */
static const char base64_standard[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(buffer *b, const unsigned char *p, size_t size, const char *alphabet,
                   bool padded) {
  char *out;
  if (size > SIZE_MAX / 8 || !buffer_reserve(b, (size + 2) / 3 * 4)) {
    b->failed = true;
    return;
  }
  out = b->data + b->size;
  for (; size >= 3; size -= 3, p += 3) {
    uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
    *out++ = alphabet[v >> 18];
    *out++ = alphabet[v >> 12 & 63];
    *out++ = alphabet[v >> 6 & 63];
    *out++ = alphabet[v & 63];
  }
  if (size) {
    uint32_t v = (uint32_t)p[0] << 16 | (size == 2 ? (uint32_t)p[1] << 8 : 0);
    *out++ = alphabet[v >> 18];
    *out++ = alphabet[v >> 12 & 63];
    if (size == 2)
      *out++ = alphabet[v >> 6 & 63];
    else if (padded)
      *out++ = '=';
    if (padded) *out++ = '=';
  }
  b->size = (size_t)(out - b->data);
}

void emit_base64(buffer *b, const void *data, size_t size) {
  encode(b, data, size, base64_standard, true);
}
void emit_base64url(buffer *b, const void *data, size_t size) {
  encode(b, data, size, base64_url, false);
}

static int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

size_t base64_decode(const char *text, size_t size, void *out) {
  unsigned char *o = out;
  uint32_t v = 0;
  int bits = 0;
  if (size && text[size - 1] == '=') size--;
  if (size && text[size - 1] == '=') size--;
  if (size % 4 == 1) return SIZE_MAX;
  for (size_t i = 0; i < size; i++) {
    int digit = base64_digit(text[i]);
    if (digit < 0) return SIZE_MAX;
    v = v << 6 | (uint32_t)digit;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      *o++ = (unsigned char)(v >> bits);
      v &= (1u << bits) - 1;
    }
  }
  return v == 0 ? (size_t)(o - (unsigned char *)out) : SIZE_MAX;
}
