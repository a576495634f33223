/*
** json.c - a line of NDJSON, as the server's export and import and `maph export` write it.
**
**     {"key":"k", "value":"text"}                          the bytes of the text; type text
**     {"key":"k", "value":{"price":29.99}}                 any other JSON: its text; type json
**     {"key":"k", "value":"/w==", "encoding":"base64"}     bytes; type blob
**     "key_encoding":"base64"  "key_is_text"  "type"  "media_type"  "ttl": seconds  "expires_at":
**                              ms since 1970
**     "if_absent": true  "if_present": true
**
** version and size mean nothing to a put.  A member that is not known is refused: an expiry with a
** slip of the pen must not become none.
**
** jansson says whether the line is JSON, and what its strings are.  Its numbers are doubles, so a
** value that is no string, and every number, is taken from the line as it stands there: 29.99 stays
** 29.99, and an identifier of 30 digits keeps them all.
*/
#include <stdio.h>
#include <jansson.h>
#include "cli.h"

typedef struct member {
  const json_t *json; /* NULL: it is not there */
  maph_slice text;    /* as it stands in the line, perhaps with blanks around it */
} member;

typedef struct members {
  member key, key_encoding, key_is_text, value, encoding, type, media_type, media_type_encoding,
      ttl, expires_at, if_absent, if_present, ignored;
} members;

static const struct {
  const char *name;
  size_t offset;
} names[] = {
  { "key", offsetof(members, key) },
  { "key_encoding", offsetof(members, key_encoding) },
  { "key_is_text", offsetof(members, key_is_text) },
  { "value", offsetof(members, value) },
  { "encoding", offsetof(members, encoding) },
  { "type", offsetof(members, type) },
  { "media_type", offsetof(members, media_type) },
  { "media_type_encoding", offsetof(members, media_type_encoding) },
  { "ttl", offsetof(members, ttl) },
  { "expires_at", offsetof(members, expires_at) },
  { "if_absent", offsetof(members, if_absent) },
  { "if_present", offsetof(members, if_present) },
  { "version", offsetof(members, ignored) },
  { "size", offsetof(members, ignored) },
};

/* Where the name or value that begins at p ends, in text that is known to be JSON. */
static const char *token_end(const char *p, const char *end) {
  size_t depth = 0;
  bool quoted = false;
  for (; p < end; p++) {
    if (quoted) {
      if (*p == '\\')
        p++;
      else if (*p == '"')
        quoted = false;
      continue;
    }
    if (depth == 0 && (*p == ':' || *p == ',' || *p == '}')) break;
    if (*p == '"') quoted = true;
    if (*p == '{' || *p == '[') depth++;
    if (*p == '}' || *p == ']') depth--;
  }
  return p;
}

/* jansson hands members out in the order of the line, so the text is walked along with them. */
static const char *sort_members(json_t *json, maph_slice line, members *m, char *room,
                                size_t room_size) {
  const char *p = (const char *)memchr(line.data, '{', line.size) + 1,
             *end = (const char *)line.data + line.size, *name;
  json_t *value;
  memset(m, 0, sizeof *m);
  json_object_foreach(json, name, value) {
    member found = { value, { token_end(p, end) + 1, 0 } };
    size_t i = 0;
    p = token_end(found.text.data, end);
    found.text.size = (size_t)(p++ - (const char *)found.text.data);
    while (i < sizeof names / sizeof names[0] && strcmp(names[i].name, name) != 0) i++;
    if (i == sizeof names / sizeof names[0]) {
      snprintf(room, room_size, "there is a member \"%.60s\" that is not known", name);
      return room;
    }
    memcpy((char *)m + names[i].offset, &found, sizeof found);
  }
  return NULL;
}

/* JSON without the blanks between its tokens. */
static const char *squeeze(maph_slice text, arena *a, maph_slice *out) {
  const char *p = text.data, *end = p + text.size;
  char *start = arena_take(a, text.size), *to = start;
  bool quoted = false;
  if (start == NULL) return "out of memory";
  for (; p < end; p++) {
    if (!quoted && strchr(" \t\r\n", *p)) continue;
    if (*p == '"') quoted = !quoted;
    if (*p == '\\') *to++ = *p++;
    *to++ = *p;
  }
  *out = maph_bytes(start, (size_t)(to - start));
  return NULL;
}

/* Digits, and nothing else. */
static bool whole_number(const member *m, arena *a, uint64_t *number) {
  maph_slice digits;
  char text[24];
  if (squeeze(m->text, a, &digits) != NULL || digits.size >= sizeof text) return false;
  memcpy(text, digits.data, digits.size);
  text[digits.size] = 0;
  return number_parse(text, COUNT, number);
}

/* A string member as bytes, decoded when its encoding member says base64. */
static const char *read_bytes(const json_t *value, const json_t *encoding, arena *a,
                              maph_slice *bytes) {
  maph_slice text = maph_bytes(json_string_value(value), json_string_length(value));
  void *out;
  size_t n;
  if (encoding == NULL) return arena_copy(a, text, bytes) ? NULL : "out of memory";
  if (!json_is_string(encoding) || strcmp(json_string_value(encoding), "base64") != 0)
    return "the only encoding is base64";
  if ((out = arena_take(a, text.size / 4 * 3 + 4)) == NULL) return "out of memory";
  if ((n = base64_decode(text.data, text.size, out)) == SIZE_MAX) return "that is not base64";
  *bytes = maph_bytes(out, n);
  return NULL;
}

static const char *read_value(const members *m, arena *a, row *r) {
  if (m->value.json == NULL) return "there is no value";
  if (json_is_string(m->value.json)) {
    const char *mistake = read_bytes(m->value.json, m->encoding.json, a, &r->value);
    if (mistake == NULL) r->type = m->encoding.json ? MAPH_BLOB : type_of_bytes(r->value);
    return mistake;
  }
  if (m->encoding.json) return "encoding is for a value that is a string";
  r->type = MAPH_JSON;
  return squeeze(m->value.text, a, &r->value);
}

static const char *read_types(const members *m, arena *a, row *r) {
  if (m->type.json) {
    int type = json_is_string(m->type.json) ? type_from_name(json_string_value(m->type.json)) : -1;
    if (type < 0) return "type is blob, text, json, integer, real or null";
    r->type = type;
  }
  if (m->key_is_text.json) {
    if (!json_is_boolean(m->key_is_text.json)) return "key_is_text is true or false";
    r->key_type = json_is_true(m->key_is_text.json) ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
  }
  if (m->media_type.json == NULL) return NULL;
  if (!json_is_string(m->media_type.json)) return "media_type is a string";
  return read_bytes(m->media_type.json, m->media_type_encoding.json, a, &r->media_type);
}

static const char *read_expiry(const members *m, arena *a, row *r) {
  uint64_t seconds;
  if (m->ttl.json && m->expires_at.json) return "ttl or expires_at, not both";
  if (m->ttl.json) return row_ttl(whole_number(&m->ttl, a, &seconds) ? seconds : 0, r);
  if (m->expires_at.json && !whole_number(&m->expires_at, a, &r->expires))
    return "expires_at is milliseconds since 1970";
  return NULL;
}

static const char *read_when(const members *m, row *r) {
  if ((m->if_absent.json && !json_is_boolean(m->if_absent.json))
      || (m->if_present.json && !json_is_boolean(m->if_present.json)))
    return "if_absent and if_present are true or false";
  if (json_is_true(m->if_absent.json) && json_is_true(m->if_present.json))
    return "if_absent or if_present, not both";
  if (json_is_true(m->if_absent.json)) r->when = MAPH_IF_ABSENT;
  if (json_is_true(m->if_present.json)) r->when = MAPH_IF_PRESENT;
  return NULL;
}

static const char *read_row(json_t *json, maph_slice line, arena *a, row *r, char *room,
                            size_t room_size) {
  const char *mistake;
  members m;
  if (!json_is_object(json)) return "an entry is a JSON object with key and value";
  if ((mistake = sort_members(json, line, &m, room, room_size)) != NULL) return mistake;
  if (m.key.json == NULL || !json_is_string(m.key.json)) return "there is no key that is a string";
  if ((mistake = read_bytes(m.key.json, m.key_encoding.json, a, &r->key)) != NULL) return mistake;
  if ((mistake = read_value(&m, a, r)) != NULL) return mistake;
  if ((mistake = read_types(&m, a, r)) != NULL || (mistake = read_when(&m, r)) != NULL)
    return mistake;
  return read_expiry(&m, a, r);
}

const char *json_row(maph_slice line, arena *a, row *r, char *room, size_t room_size) {
  json_error_t error;
  const char *mistake;
  json_t *json = json_loadb(
      line.data, line.size,
      JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
  memset(r, 0, sizeof *r);
  if (json == NULL) {
    if (json_error_code(&error) != json_error_numeric_overflow)
      snprintf(room, room_size, "not JSON: %s, at byte %d", error.text, error.position);
    else
      snprintf(room, room_size, "a number beyond 1.8e308, which only a string can hold, at byte %d",
               error.position);
    return room;
  }
  mistake = read_row(json, line, a, r, room, room_size);
  json_decref(json);
  return mistake ? mistake : row_check(r);
}
