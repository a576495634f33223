/*
** entry_read.c - reading an entry, or an operation of a batch, from JSON; entry.h says which
** members there are and what they mean.
**
** One pass finds the members and where their values lie; it sees all of the object before anything
** of it is believed.  Then each member is read from its place.  Strings without escapes are taken
** from where they lie, so the text must stay while the operation does.
*/
#include <string.h>
#include "entry/base64.h"
#include "entry/entry.h"
#include "entry/utf8.h"

enum { KEY_MOST = 65535, MEDIA_TYPE_MOST = 255, NAME_MOST = 128 };
#define VALUE_MOST UINT32_MAX

/* ------------------------------------------------------------------------------------- members */
/* The text of each member's value; data NULL: it is not there. */
typedef struct members {
  const char *start; /* of the object: the place of a mistake about what is not there */
  maph_slice op, key, key_encoding, key_is_text, value, encoding, type, media_type;
  maph_slice media_type_encoding, ttl, expires_at, if_version, if_absent, if_present;
  maph_slice version, size;
} members;

/* One object, while it is read. */
typedef struct reading {
  json_reader *in;
  const entry_rules *rules;
  arena *arena;
  const entry_elsewhere *elsewhere; /* or NULL */
  entry_operation *operation;
  members members;
} reading;

enum where { ANYWHERE = 0, BATCH, IMPORT };
#define MEMBER(name, where) \
  { #name, sizeof #name - 1, offsetof(members, name), where }
static const struct known {
  const char *name;
  size_t name_size, offset;
  enum where where; /* it is known there alone */
} known_members[] = {
  MEMBER(key, ANYWHERE),
  MEMBER(value, ANYWHERE),
  MEMBER(version, IMPORT),
  MEMBER(size, IMPORT),
  MEMBER(type, ANYWHERE),
  MEMBER(encoding, ANYWHERE),
  MEMBER(key_encoding, ANYWHERE),
  MEMBER(key_is_text, ANYWHERE),
  MEMBER(media_type, ANYWHERE),
  MEMBER(media_type_encoding, ANYWHERE),
  MEMBER(expires_at, ANYWHERE),
  MEMBER(ttl, ANYWHERE),
  MEMBER(if_absent, ANYWHERE),
  MEMBER(if_present, ANYWHERE),
  MEMBER(op, BATCH),
  MEMBER(if_version, BATCH),
};

/* ------------------------------------------------------------------------------ texts of values */
static bool is_given(maph_slice text) { return text.data != NULL; }

static bool is_string(maph_slice text) { return is_given(text) && *(const char *)text.data == '"'; }

static bool is_true(maph_slice text) { return text.size == 4 && memcmp(text.data, "true", 4) == 0; }

static bool is_boolean(maph_slice text) {
  return is_true(text) || (text.size == 5 && memcmp(text.data, "false", 5) == 0);
}

/* A string without its quotes. */
static maph_slice inner_of(maph_slice text) {
  return maph_bytes((const char *)text.data + 1, text.size - 2);
}

static bool has_escapes(maph_slice inner) {
  return inner.size > 0 && memchr(inner.data, '\\', inner.size) != NULL;
}

/* Where the member of that name goes; NULL: it is not known there. */
static maph_slice *place_of(maph_slice text, enum where where, members *found) {
  char room[NAME_MOST];
  maph_slice name = inner_of(text);
  if (name.size > NAME_MOST) return NULL;
  if (has_escapes(name)) name = maph_bytes(room, json_unescape(name, room));
  for (size_t i = 0; i < sizeof known_members / sizeof known_members[0]; i++) {
    const struct known *known = &known_members[i];
    if (known->name_size != name.size || memcmp(known->name, name.data, name.size) != 0) continue;
    if (known->where != ANYWHERE && known->where != where) return NULL;
    return (maph_slice *)(void *)((char *)found + known->offset);
  }
  return NULL;
}

static bool wrong_at(const reading *r, const char *at, const char *sentence) {
  return json_wrong(r->in, at, JSON_MEANING, sentence);
}

static bool wrong(const reading *r, maph_slice text, const char *sentence) {
  return wrong_at(r, text.data, sentence);
}

/* About what is not there: the place is that of the object. */
static bool lacks(const reading *r, const char *sentence) {
  return wrong_at(r, r->members.start, sentence);
}

static bool no_memory(const reading *r) {
  return json_wrong(r->in, r->in->p, JSON_NO_MEMORY, "out of memory");
}

static bool read_member(reading *r, enum where where, maph_slice name, maph_slice value) {
  maph_slice *place = place_of(name, where, &r->members);
  if (place && !is_given(*place)) {
    *place = value;
    return true;
  }
  r->in->quoted = name;
  if (place) {
    return wrong(r, name, "twice, which is not JSON that every reader takes alike: leave one out");
  }
  return wrong(r, name, "that is not known: correct its name, or leave it out");
}

static bool read_members(reading *r) {
  enum where where = r->rules->kind == ENTRY_ANY ? BATCH : IMPORT;
  maph_slice name, value;
  bool first = true;
  if (!json_next(r->in, '{')) {
    if (!json_value(r->in, &value)) return false;
    return wrong(
        r, value,
        where == IMPORT
            ? "an entry is a JSON object with key and value: {\"key\":\"k\",\"value\":\"v\"}"
            : "an operation is a JSON object with op and key: {\"op\":\"get\",\"key\":\"k\"}");
  }
  r->members.start = r->in->p - 1;
  while (json_member(r->in, &first, &name, &value)) {
    if (!read_member(r, where, name, value)) return false;
  }
  return r->in->mistake == NULL;
}

/* ---------------------------------------------------------------------------------------- bytes */
static bool read_text(const reading *r, maph_slice text, maph_slice *bytes) {
  char *out;
  *bytes = inner_of(text);
  if (!has_escapes(*bytes)) return true;
  if ((out = arena_take(r->arena, bytes->size)) == NULL) return no_memory(r);
  *bytes = maph_bytes(out, json_unescape(*bytes, out));
  return true;
}

/* A short string as a text of C; false: it is none, or holds a zero byte. */
static bool read_word(maph_slice text, char room[NAME_MOST]) {
  size_t size;
  if (!is_string(text) || text.size > NAME_MOST) return false;
  size = json_unescape(inner_of(text), room);
  room[size] = 0;
  return strlen(room) == size;
}

static bool decode(const reading *r, maph_slice text, maph_slice *bytes, char *out) {
  size_t size = base64_decode(bytes->data, bytes->size, out);
  if (size == SIZE_MAX) {
    return wrong(
        r, text,
        "that is not base64: letters of RFC 4648 without blanks, padded whole or not at all");
  }
  *bytes = maph_bytes(out, size);
  return true;
}

/* An encoding is known, and what it encodes is there. */
static bool check_encoding(const reading *r, maph_slice encoding, maph_slice text,
                           const char *not_a_string) {
  char room[NAME_MOST];
  if (!is_given(encoding)) return true;
  if (!read_word(encoding, room) || strcmp(room, "base64") != 0) {
    return wrong(r, encoding, "the only encoding is \"base64\"; text needs none");
  }
  return is_string(text) || wrong(r, encoding, not_a_string);
}

/* A string member as bytes, decoded when its encoding member is there. */
static bool read_bytes(const reading *r, maph_slice text, maph_slice encoding, maph_slice *bytes) {
  char *out;
  if (!read_text(r, text, bytes)) return false;
  if (!is_given(encoding)) return true;
  if ((out = arena_take(r->arena, base64_size(bytes->size))) == NULL) return no_memory(r);
  return decode(r, text, bytes, out);
}

/* --------------------------------------------------------------------------------------- limits */
const char *entry_check_key(maph_slice key) {
  if (key.size == 0) return "a key has at least one byte";
  return key.size > KEY_MOST ? "a key has at most 65535 bytes" : NULL;
}

const char *entry_check_value(uint64_t size) {
  return size > VALUE_MOST ? "a value has less than 4 GiB" : NULL;
}

const char *entry_check_media_type(maph_slice media_type) {
  return media_type.size > MEDIA_TYPE_MOST ? "a media type has at most 255 bytes" : NULL;
}

bool entry_expiry_of_ttl(uint64_t seconds, uint64_t now_ms, uint64_t *expires) {
  if (seconds < 1 || seconds > ENTRY_TTL_MOST) return false;
  *expires = now_ms + seconds * 1000;
  return true;
}

static bool check(const reading *r, maph_slice text, const char *sentence) {
  return sentence == NULL || wrong(r, text, sentence);
}

/* --------------------------------------------------------------------------- what a member says */
static bool read_kind(reading *r) {
  static const char *const names[] = { "get", "put", "delete" };
  const members *m = &r->members;
  char room[NAME_MOST];
  r->operation->kind = r->rules->kind;
  if (r->rules->kind != ENTRY_ANY) return true;
  if (!is_given(m->op)) return lacks(r, "there is no op: it is get, put or delete");
  for (int i = 0; i < 3 && read_word(m->op, room); i++) {
    if (strcmp(room, names[i]) == 0) r->operation->kind = ENTRY_GET + i;
  }
  return r->operation->kind != ENTRY_ANY || wrong(r, m->op, "op is get, put or delete");
}

static bool read_key(reading *r) {
  static const char no_key[] = "there is no key that is a string: write \"key\":\"...\"";
  const members *m = &r->members;
  entry_operation *o = r->operation;
  if (!is_given(m->key)) return lacks(r, no_key);
  if (!is_string(m->key)) return wrong(r, m->key, no_key);
  if (!check_encoding(r, m->key_encoding, m->key, no_key)) return false;
  if (!read_bytes(r, m->key, m->key_encoding, &o->key)) return false;
  if (is_given(m->key_is_text)) {
    if (!is_boolean(m->key_is_text))
      return wrong(r, m->key_is_text, "key_is_text is true or false");
    o->condition.key_type = is_true(m->key_is_text) ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
  }
  return check(r, m->key, entry_check_key(o->key));
}

static bool read_type(reading *r) {
  maph_slice type = r->members.type;
  char room[NAME_MOST];
  r->operation->typed = is_given(type);
  if (!is_given(type)) return true;
  if (read_word(type, room))
    r->operation->condition.type = entry_type_from_name(room);
  else
    r->operation->condition.type = -1;
  return r->operation->condition.type >= 0
         || wrong(r, type, "type is blob, text, json, integer, real or null");
}

static bool read_string_value(reading *r) {
  const members *m = &r->members;
  entry_operation *o = r->operation;
  if (r->elsewhere && r->elsewhere->at == m->value.data) {
    o->value = maph_bytes(r->elsewhere->text, r->elsewhere->size);
    return !o->binary || decode(r, m->value, &o->value, r->elsewhere->text);
  }
  return read_bytes(r, m->value, m->encoding, &o->value);
}

static bool read_value(reading *r) {
  const members *m = &r->members;
  entry_operation *o = r->operation;
  int type = MAPH_JSON;
  if (!is_given(m->value)) return lacks(r, "there is no value to put: write \"value\":...");
  if (!check_encoding(r, m->encoding, m->value, "encoding is for a value that is a string")) {
    return false;
  }
  o->binary = is_given(m->encoding);
  if (is_string(m->value)) {
    if (!read_string_value(r)) return false;
    type = o->binary || (o->value.size > 0 && memchr(o->value.data, 0, o->value.size)) ? MAPH_BLOB
                                                                                       : MAPH_TEXT;
  } else {
    char *out = arena_take(r->arena, m->value.size);
    if (out == NULL) return no_memory(r);
    o->value = maph_bytes(out, json_squeeze(m->value, out));
  }
  if (!o->typed) o->condition.type = type;
  return check(r, m->value, entry_check_value(o->value.size));
}

static bool read_media_type(reading *r) {
  const members *m = &r->members;
  maph_slice *media_type = &r->operation->condition.media_type;
  if (is_given(m->media_type) && !is_string(m->media_type)) {
    return wrong(r, m->media_type, "media_type is a string");
  }
  if (!check_encoding(r, m->media_type_encoding, m->media_type,
                      "media_type_encoding is for a media_type, and there is none")) {
    return false;
  }
  if (!is_given(m->media_type)) return true;
  return read_bytes(r, m->media_type, m->media_type_encoding, media_type)
         && check(r, m->media_type, entry_check_media_type(*media_type));
}

static bool read_expiry(reading *r) {
  const members *m = &r->members;
  uint64_t *expires = &r->operation->condition.expires, seconds;
  if (is_given(m->ttl) && is_given(m->expires_at)) {
    return wrong(r, m->ttl, "ttl or expires_at, not both");
  }
  if (is_given(m->ttl)) {
    return (json_whole_number(m->ttl, UINT64_MAX, &seconds)
            && entry_expiry_of_ttl(seconds, r->rules->clock_ms(), expires))
           || wrong(r, m->ttl,
                    "ttl is a whole number of seconds from 1 up to 100000000000, in digits alone");
  }
  return !is_given(m->expires_at) || json_whole_number(m->expires_at, UINT64_MAX, expires)
         || wrong(r, m->expires_at,
                  "expires_at is milliseconds since 1970: a whole number, in digits alone");
}

static bool read_condition(reading *r) {
  static const char not_boolean[] = "if_absent and if_present are true or false";
  const members *m = &r->members;
  maph_condition *condition = &r->operation->condition;
  int given = is_given(m->if_version) + is_true(m->if_absent) + is_true(m->if_present);
  if (is_given(m->if_absent) && !is_boolean(m->if_absent)) {
    return wrong(r, m->if_absent, not_boolean);
  }
  if (is_given(m->if_present) && !is_boolean(m->if_present)) {
    return wrong(r, m->if_present, not_boolean);
  }
  if (given > 1) return lacks(r, "one condition, not two: if_version, if_absent or if_present");
  if (given == 1 && r->operation->kind == ENTRY_GET) return lacks(r, "a get has no conditions");
  if (is_true(m->if_absent)) condition->when = MAPH_IF_ABSENT;
  if (is_true(m->if_present)) condition->when = MAPH_IF_PRESENT;
  if (!is_given(m->if_version)) return true;
  condition->when = MAPH_IF_VERSION;
  return json_whole_number(m->if_version, INT64_MAX, &condition->version)
         || wrong(r, m->if_version, "if_version is a version: a whole number, in digits alone");
}

/* ------------------------------------------------------------------------------------ the whole */
static bool read_put(reading *r) {
  return read_type(r) && read_value(r) && read_media_type(r) && read_expiry(r);
}

/* A get or delete has nothing of a put. */
static bool is_bare(const reading *r) {
  const members *m = &r->members;
  const maph_slice puts[] = {
    m->value, m->encoding, m->type, m->media_type, m->media_type_encoding, m->expires_at, m->ttl,
  };
  for (size_t i = 0; i < sizeof puts / sizeof puts[0]; i++) {
    if (is_given(puts[i])) return wrong(r, puts[i], "only a put has a value, type or expiry");
  }
  return true;
}

static bool read_meaning(reading *r) {
  if (!read_kind(r) || !read_key(r) || !read_condition(r)) return false;
  return r->operation->kind == ENTRY_PUT ? read_put(r) : is_bare(r);
}

bool entry_read(json_reader *in, const entry_rules *rules, arena *a, entry_operation *operation) {
  reading r = { .in = in, .rules = rules, .arena = a, .operation = operation };
  memset(operation, 0, sizeof *operation);
  return read_members(&r) && read_meaning(&r);
}

bool entry_read_elsewhere(json_reader *in, const entry_rules *rules, arena *a,
                          const entry_elsewhere *elsewhere, entry_operation *operation) {
  reading r = { in, rules, a, elsewhere, operation, { 0 } };
  memset(operation, 0, sizeof *operation);
  return read_members(&r) && json_end(in) && read_meaning(&r);
}

bool entry_read_line(json_reader *in, const entry_rules *rules, arena *a,
                     entry_operation *operation) {
  return entry_read_elsewhere(in, rules, a, NULL, operation);
}
