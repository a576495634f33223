/*
** operation.c - one get, put or delete written as JSON.
**
**     {"op":"put", "key":"k", "value":"text"}                      the bytes of the text; type text
**     {"op":"put", "key":"k", "value":{"price":29.99}}  any other JSON: its text; type json
**     {"op":"put", "key":"k", "value":"/w==", "encoding":"base64"} bytes; type blob
**     "key_encoding":"base64"   "type"  "media_type"  "ttl": seconds  "expires_at": ms since 1970
**     "if_version": N   "if_absent": true   "if_present": true     for put and delete
**
** A member that is not known, or is there twice, is refused: a condition with a slip of the pen
** must not become no condition.  Strings are taken from where they lie in the text, if they have no
** escapes; so the text must stay while the operation does.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/clock.h"
#include "http/reply.h"
#include "routes/operation.h"

enum { DEPTH_MAX = 32, MEDIA_TYPE_MAX = 255 };
#define TTL_MAX 100000000000u
struct block {
  struct block *next;
};

void *arena_take(arena *a, size_t size) {
  struct block *b = size > SIZE_MAX / 2 ? NULL : malloc(sizeof *b + size);
  if (b == NULL) return NULL;
  b->next = a->first;
  a->first = b;
  return b + 1;
}

void arena_free(arena *a) {
  while (a->first) {
    struct block *next = a->first->next;
    free(a->first);
    a->first = next;
  }
}

const char *reader_sentence(const json_reader *in, const char *start, char *room,
                            size_t room_size) {
  snprintf(room, room_size, "not JSON: %s, at byte %zu", in->mistake, (size_t)(in->p - start));
  return room;
}

/* JSON by any name that says so, and by those that say nothing: curl -d sends a form's. */
bool operation_media_type(request *r, bool *lines) {
  static const char *const silent[] = { "application/x-www-form-urlencoded",
                                        "application/octet-stream", "text/plain" };
  const char *type = request_header(r, "Content-Type");
  *lines = false;
  if (type == NULL || *type == 0) return true;
  *lines =
      strcasestr(type, "ndjson") || strcasestr(type, "jsonl") || strcasestr(type, "json-lines");
  if (*lines || strcasestr(type, "json")) return true;
  for (int i = 0; i < 3; i++)
    if (strncasecmp(type, silent[i], strlen(silent[i])) == 0) return true;
  reply_problem(r, 415, "bad_media_type",
                "the body is JSON (application/json) or a JSON text a line (application/x-ndjson)");
  return false;
}

/* ----------------------------------------------------------------------------- members, as text */
static bool is_given(maph_slice text) { return text.data != NULL; }
static bool is_string(maph_slice text) { return is_given(text) && *(const char *)text.data == '"'; }
static bool is_true(maph_slice text) { return text.size == 4 && memcmp(text.data, "true", 4) == 0; }
static bool is_boolean(maph_slice text) {
  return is_true(text) || (text.size == 5 && memcmp(text.data, "false", 5) == 0);
}

/* A whole number from `least` to `most`. */
static bool read_number(maph_slice text, uint64_t least, uint64_t most, uint64_t *number) {
  const char *p = text.data;
  uint64_t n = 0;
  if (text.size == 0 || text.size > 19) return false;
  for (size_t i = 0; i < text.size; i++) {
    if (p[i] < '0' || p[i] > '9') return false;
    n = 10 * n + (uint64_t)(p[i] - '0');
  }
  *number = n;
  return n >= least && n <= most;
}

/* What a string says. */
static const char *read_text(maph_slice text, arena *a, maph_slice *bytes) {
  char *out;
  *bytes = maph_bytes((const char *)text.data + 1, text.size - 2);
  if (memchr(bytes->data, '\\', bytes->size) == NULL) return NULL;
  if ((out = arena_take(a, bytes->size)) == NULL) return "out of memory";
  *bytes = maph_bytes(out, reader_unescape(*bytes, out));
  return NULL;
}

static bool equals(maph_slice bytes, const char *text) {
  return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

/* A string member as bytes, decoded when its encoding member says base64. */
static const char *read_bytes(maph_slice text, maph_slice encoding, arena *a, maph_slice *bytes) {
  const char *mistake = read_text(text, a, bytes);
  maph_slice name = { "", 0 };
  void *out;
  size_t n;
  if (mistake || !is_given(encoding)) return mistake;
  if (is_string(encoding) && (mistake = read_text(encoding, a, &name)) != NULL) return mistake;
  if (!equals(name, "base64")) return "the only encoding is base64";
  if ((out = arena_take(a, bytes->size / 4 * 3 + 4)) == NULL) return "out of memory";
  if ((n = base64_decode(bytes->data, bytes->size, out)) == SIZE_MAX) return "that is not base64";
  *bytes = maph_bytes(out, n);
  return NULL;
}

static const char *read_value(maph_slice text, maph_slice encoding, arena *a, operation *o) {
  o->binary = is_given(encoding);
  if (is_string(text)) {
    const char *mistake = read_bytes(text, encoding, a, &o->value);
    if (mistake) return mistake;
    if (!o->typed)
      o->condition.type =
          o->binary || memchr(o->value.data, 0, o->value.size) ? MAPH_BLOB : MAPH_TEXT;
  } else {
    char *out = arena_take(a, text.size);
    if (o->binary) return "encoding is for a value that is a string";
    if (out == NULL) return "out of memory";
    o->value = maph_bytes(out, reader_squeeze(text, out));
    if (!o->typed) o->condition.type = MAPH_JSON;
  }
  return NULL;
}

/* What a member's name stands for. */
typedef struct members {
  maph_slice op, key, key_encoding, value, encoding, type, media_type, media_type_encoding, ttl,
      expires_at, if_version, if_absent, if_present, key_is_text, version, size;
} members;
static const struct {
  const char *name;
  size_t offset;
  bool asked, imported;
} names[] = {
  { "op", offsetof(members, op), true, false },
  { "key", offsetof(members, key), true, true },
  { "key_encoding", offsetof(members, key_encoding), true, true },
  { "value", offsetof(members, value), true, true },
  { "encoding", offsetof(members, encoding), true, true },
  { "type", offsetof(members, type), true, true },
  { "media_type", offsetof(members, media_type), true, true },
  { "media_type_encoding", offsetof(members, media_type_encoding), true, true },
  { "ttl", offsetof(members, ttl), true, true },
  { "expires_at", offsetof(members, expires_at), true, true },
  { "if_version", offsetof(members, if_version), true, false },
  { "if_absent", offsetof(members, if_absent), true, true },
  { "if_present", offsetof(members, if_present), true, true },
  { "key_is_text", offsetof(members, key_is_text), true, true },
  { "version", offsetof(members, version), false, true },
  { "size", offsetof(members, size), false, true },
};
enum { NAMES = sizeof names / sizeof names[0], NAME_MOST = 128 };

/* Where the member of that name goes; NULL: there is none. */
static maph_slice *place_of(maph_slice text, bool import, members *m) {
  char room[NAME_MOST];
  maph_slice name = { room, 0 };
  if (text.size > NAME_MOST) return NULL;
  name.size = reader_unescape(maph_bytes((const char *)text.data + 1, text.size - 2), room);
  for (int i = 0; i < NAMES; i++) {
    if ((import ? names[i].imported : names[i].asked) && equals(name, names[i].name))
      return (maph_slice *)(void *)((char *)m + names[i].offset);
  }
  return NULL;
}

static const char *read_members(json_reader *in, bool import, members *m) {
  maph_slice name, value, *place;
  memset(m, 0, sizeof *m);
  if (!reader_next(in, '{'))
    return reader_value(in, DEPTH_MAX, &value) ? "an operation is a JSON object" : in->mistake;
  if (reader_next(in, '}')) return NULL;
  do {
    if (!reader_string(in, &name) || !reader_expect(in, ':')
        || !reader_value(in, DEPTH_MAX, &value))
      return in->mistake;
    if ((place = place_of(name, import, m)) == NULL) return "there is a member that is not known";
    if (is_given(*place)) return "there is a member twice";
    *place = value;
  } while (reader_next(in, ','));
  return reader_expect(in, '}') ? NULL : in->mistake;
}

/* ---------------------------------------------------------------------------- what they ask for */
static const char *read_expiry(const members *m, operation *o) {
  uint64_t seconds;
  if (is_given(m->ttl) && is_given(m->expires_at)) return "ttl or expires_at, not both";
  if (is_given(m->ttl)) {
    if (!read_number(m->ttl, 1, TTL_MAX, &seconds))
      return "ttl is a whole number of seconds from 1 up";
    o->condition.expires = wall_ms() + seconds * 1000;
  }
  if (is_given(m->expires_at) && !read_number(m->expires_at, 0, INT64_MAX, &o->condition.expires))
    return "expires_at is milliseconds since 1970";
  return NULL;
}

static const char *read_condition(const members *m, operation *o) {
  int given = is_given(m->if_version) + is_true(m->if_absent) + is_true(m->if_present);
  if ((is_given(m->if_absent) && !is_boolean(m->if_absent))
      || (is_given(m->if_present) && !is_boolean(m->if_present)))
    return "if_absent and if_present are true or false";
  if (given > 1) return "one of if_version, if_absent, if_present";
  if (given == 1 && o->kind == OPERATION_GET) return "a get has no conditions";
  if (is_true(m->if_absent)) o->condition.when = MAPH_IF_ABSENT;
  if (is_true(m->if_present)) o->condition.when = MAPH_IF_PRESENT;
  if (is_given(m->if_version)) {
    if (!read_number(m->if_version, 0, INT64_MAX, &o->condition.version))
      return "if_version is a version";
    o->condition.when = MAPH_IF_VERSION;
  }
  return NULL;
}

/* The type's number; -1: there is none of that name. */
static int type_of(maph_slice text) {
  char room[NAME_MOST];
  if (!is_string(text) || text.size > NAME_MOST) return -1;
  room[reader_unescape(maph_bytes((const char *)text.data + 1, text.size - 2), room)] = 0;
  return type_from_name(room);
}

static const char *read_put(const members *m, arena *a, operation *o) {
  const char *mistake;
  o->typed = is_given(m->type);
  if (o->typed && (o->condition.type = type_of(m->type)) < 0)
    return "type is blob, text, json, integer, real or null";
  if (!is_given(m->value)) return "a put has a value";
  if ((mistake = read_value(m->value, m->encoding, a, o)) != NULL) return mistake;
  if (is_given(m->media_type)) {
    if (!is_string(m->media_type)) return "media_type is a string";
    if ((mistake = read_bytes(m->media_type, m->media_type_encoding, a, &o->condition.media_type))
        != NULL)
      return mistake;
    if (o->condition.media_type.size > MEDIA_TYPE_MAX) return "media_type has at most 255 bytes";
  }
  if (is_given(m->key_is_text))
    o->condition.key_type = is_true(m->key_is_text) ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
  return read_expiry(m, o);
}

static const char *read_kind(const members *m, int kind, arena *a, operation *o) {
  maph_slice op = { "", 0 };
  const char *mistake = is_string(m->op) ? read_text(m->op, a, &op) : NULL;
  if (mistake) return mistake;
  o->kind = kind                   ? kind
            : equals(op, "get")    ? OPERATION_GET
            : equals(op, "put")    ? OPERATION_PUT
            : equals(op, "delete") ? OPERATION_DELETE
                                   : 0;
  return o->kind ? NULL : "op is get, put or delete";
}

const char *operation_read(json_reader *in, int kind, arena *a, operation *o) {
  const char *mistake;
  members m;
  memset(o, 0, sizeof *o);
  if ((mistake = read_members(in, kind != 0, &m)) != NULL
      || (mistake = read_kind(&m, kind, a, o)) != NULL)
    return mistake;
  if (!is_string(m.key)) return "key is a string";
  if ((mistake = read_bytes(m.key, m.key_encoding, a, &o->key)) != NULL) return mistake;
  if (o->key.size == 0) return "a key has at least one byte";
  if (o->key.size > 65535) return "a key has at most 65535 bytes";
  if ((mistake = read_condition(&m, o)) != NULL) return mistake;
  if (o->kind == OPERATION_PUT) return read_put(&m, a, o);
  return is_given(m.value) || is_given(m.encoding) || is_given(m.type) || is_given(m.media_type)
                 || is_given(m.ttl) || is_given(m.expires_at)
             ? "only a put has a value, type or expiry"
             : NULL;
}

const char *operation_parse(maph_slice text, int kind, arena *a, operation *o, bool *json,
                            char *room, size_t room_size) {
  json_reader in = { text.data, (const char *)text.data + text.size, NULL };
  const char *mistake = operation_read(&in, kind, a, o);
  if (mistake == NULL) reader_end(&in);
  *json = in.mistake == NULL;
  return in.mistake ? reader_sentence(&in, text.data, room, room_size) : mistake;
}
