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

static bool wrong_at(const reading *reading, const char *at, const char *sentence) {
  return json_wrong(reading->in, at, JSON_MEANING, sentence);
}

static bool wrong(const reading *reading, maph_slice text, const char *sentence) {
  return wrong_at(reading, text.data, sentence);
}

/* About what is not there: the place is that of the object. */
static bool lacks(const reading *reading, const char *sentence) {
  return wrong_at(reading, reading->members.start, sentence);
}

static bool no_memory(const reading *reading) {
  return json_wrong(reading->in, reading->in->p, JSON_NO_MEMORY, "out of memory");
}

static bool read_member(reading *reading, enum where where, maph_slice name, maph_slice value) {
  maph_slice *place = place_of(name, where, &reading->members);
  if (place && !is_given(*place)) {
    *place = value;
    return true;
  }
  reading->in->quoted = name;
  if (place) {
    return wrong(reading, name,
                 "twice, which is not JSON that every reader takes alike: leave one out");
  }
  return wrong(reading, name, "that is not known: correct its name, or leave it out");
}

static bool read_members(reading *reading) {
  enum where where = reading->rules->kind == ENTRY_ANY ? BATCH : IMPORT;
  maph_slice name, value;
  bool first = true;
  if (!json_next(reading->in, '{')) {
    if (!json_value(reading->in, &value)) return false;
    return wrong(
        reading, value,
        where == IMPORT
            ? "an entry is a JSON object with key and value: {\"key\":\"k\",\"value\":\"v\"}"
            : "an operation is a JSON object with op and key: {\"op\":\"get\",\"key\":\"k\"}");
  }
  reading->members.start = reading->in->p - 1;
  while (json_member(reading->in, &first, &name, &value)) {
    if (!read_member(reading, where, name, value)) return false;
  }
  return reading->in->mistake == NULL;
}

/* ---------------------------------------------------------------------------------------- bytes */
static bool read_text(const reading *reading, maph_slice text, maph_slice *bytes) {
  char *out;
  *bytes = inner_of(text);
  if (!has_escapes(*bytes)) return true;
  if ((out = arena_take(reading->arena, bytes->size)) == NULL) return no_memory(reading);
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

static bool decode(const reading *reading, maph_slice text, maph_slice *bytes, char *out) {
  size_t size = base64_decode(bytes->data, bytes->size, out);
  if (size == SIZE_MAX) {
    return wrong(
        reading, text,
        "that is not base64: letters of RFC 4648 without blanks, padded whole or not at all");
  }
  *bytes = maph_bytes(out, size);
  return true;
}

/* An encoding is known, and what it encodes is there. */
static bool check_encoding(const reading *reading, maph_slice encoding, maph_slice text,
                           const char *not_a_string) {
  char room[NAME_MOST];
  if (!is_given(encoding)) return true;
  if (!read_word(encoding, room) || strcmp(room, "base64") != 0) {
    return wrong(reading, encoding, "the only encoding is \"base64\"; text needs none");
  }
  return is_string(text) || wrong(reading, encoding, not_a_string);
}

/* A string member as bytes, decoded when its encoding member is there. */
static bool read_bytes(const reading *reading, maph_slice text, maph_slice encoding,
                       maph_slice *bytes) {
  char *out;
  if (!read_text(reading, text, bytes)) return false;
  if (!is_given(encoding)) return true;
  if ((out = arena_take(reading->arena, base64_size(bytes->size))) == NULL)
    return no_memory(reading);
  return decode(reading, text, bytes, out);
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

static bool check(const reading *reading, maph_slice text, const char *sentence) {
  return sentence == NULL || wrong(reading, text, sentence);
}

/* --------------------------------------------------------------------------- what a member says */
static bool read_kind(reading *reading) {
  static const char *const names[] = { "get", "put", "delete" };
  const members *members = &reading->members;
  char room[NAME_MOST];
  reading->operation->kind = reading->rules->kind;
  if (reading->rules->kind != ENTRY_ANY) return true;
  if (!is_given(members->op)) return lacks(reading, "there is no op: it is get, put or delete");
  for (int i = 0; i < 3 && read_word(members->op, room); i++) {
    if (strcmp(room, names[i]) == 0) reading->operation->kind = ENTRY_GET + i;
  }
  return reading->operation->kind != ENTRY_ANY
         || wrong(reading, members->op, "op is get, put or delete");
}

static bool read_key(reading *reading) {
  static const char no_key[] = "there is no key that is a string: write \"key\":\"...\"";
  const members *members = &reading->members;
  entry_operation *operation = reading->operation;
  if (!is_given(members->key)) return lacks(reading, no_key);
  if (!is_string(members->key)) return wrong(reading, members->key, no_key);
  if (!check_encoding(reading, members->key_encoding, members->key, no_key)) return false;
  if (!read_bytes(reading, members->key, members->key_encoding, &operation->key)) return false;
  if (is_given(members->key_is_text)) {
    if (!is_boolean(members->key_is_text))
      return wrong(reading, members->key_is_text, "key_is_text is true or false");
    operation->condition.key_type = is_true(members->key_is_text) ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
  }
  return check(reading, members->key, entry_check_key(operation->key));
}

static bool read_type(reading *reading) {
  maph_slice type = reading->members.type;
  char room[NAME_MOST];
  reading->operation->typed = is_given(type);
  if (!is_given(type)) return true;
  if (read_word(type, room))
    reading->operation->condition.type = entry_type_from_name(room);
  else
    reading->operation->condition.type = -1;
  return reading->operation->condition.type >= 0
         || wrong(reading, type, "type is blob, text, json, integer, real or null");
}

static bool read_string_value(reading *reading) {
  const members *members = &reading->members;
  entry_operation *operation = reading->operation;
  if (reading->elsewhere && reading->elsewhere->at == members->value.data) {
    operation->value = maph_bytes(reading->elsewhere->text, reading->elsewhere->size);
    return !operation->binary
           || decode(reading, members->value, &operation->value, reading->elsewhere->text);
  }
  return read_bytes(reading, members->value, members->encoding, &operation->value);
}

static bool read_value(reading *reading) {
  const members *members = &reading->members;
  entry_operation *operation = reading->operation;
  int type = MAPH_JSON;
  if (!is_given(members->value))
    return lacks(reading, "there is no value to put: write \"value\":...");
  if (!check_encoding(reading, members->encoding, members->value,
                      "encoding is for a value that is a string")) {
    return false;
  }
  operation->binary = is_given(members->encoding);
  if (is_string(members->value)) {
    if (!read_string_value(reading)) return false;
    type = operation->binary
                   || (operation->value.size > 0
                       && memchr(operation->value.data, 0, operation->value.size))
               ? MAPH_BLOB
               : MAPH_TEXT;
  } else {
    char *out = arena_take(reading->arena, members->value.size);
    if (out == NULL) return no_memory(reading);
    operation->value = maph_bytes(out, json_squeeze(members->value, out));
  }
  if (!operation->typed) operation->condition.type = type;
  return check(reading, members->value, entry_check_value(operation->value.size));
}

static bool read_media_type(reading *reading) {
  const members *members = &reading->members;
  maph_slice *media_type = &reading->operation->condition.media_type;
  if (is_given(members->media_type) && !is_string(members->media_type)) {
    return wrong(reading, members->media_type, "media_type is a string");
  }
  if (!check_encoding(reading, members->media_type_encoding, members->media_type,
                      "media_type_encoding is for a media_type, and there is none")) {
    return false;
  }
  if (!is_given(members->media_type)) return true;
  return read_bytes(reading, members->media_type, members->media_type_encoding, media_type)
         && check(reading, members->media_type, entry_check_media_type(*media_type));
}

static bool read_expiry(reading *reading) {
  const members *members = &reading->members;
  uint64_t *expires = &reading->operation->condition.expires, seconds;
  if (is_given(members->ttl) && is_given(members->expires_at)) {
    return wrong(reading, members->ttl, "ttl or expires_at, not both");
  }
  if (is_given(members->ttl)) {
    return (json_whole_number(members->ttl, UINT64_MAX, &seconds)
            && entry_expiry_of_ttl(seconds, reading->rules->clock_ms(), expires))
           || wrong(reading, members->ttl,
                    "ttl is a whole number of seconds from 1 up to 100000000000, in digits alone");
  }
  return !is_given(members->expires_at)
         || json_whole_number(members->expires_at, UINT64_MAX, expires)
         || wrong(reading, members->expires_at,
                  "expires_at is milliseconds since 1970: a whole number, in digits alone");
}

static bool read_condition(reading *reading) {
  static const char not_boolean[] = "if_absent and if_present are true or false";
  const members *members = &reading->members;
  maph_condition *condition = &reading->operation->condition;
  int given =
      is_given(members->if_version) + is_true(members->if_absent) + is_true(members->if_present);
  if (is_given(members->if_absent) && !is_boolean(members->if_absent)) {
    return wrong(reading, members->if_absent, not_boolean);
  }
  if (is_given(members->if_present) && !is_boolean(members->if_present)) {
    return wrong(reading, members->if_present, not_boolean);
  }
  if (given > 1)
    return lacks(reading, "one condition, not two: if_version, if_absent or if_present");
  if (given == 1 && reading->operation->kind == ENTRY_GET)
    return lacks(reading, "a get has no conditions");
  if (is_true(members->if_absent)) condition->when = MAPH_IF_ABSENT;
  if (is_true(members->if_present)) condition->when = MAPH_IF_PRESENT;
  if (!is_given(members->if_version)) return true;
  condition->when = MAPH_IF_VERSION;
  return json_whole_number(members->if_version, INT64_MAX, &condition->version)
         || wrong(reading, members->if_version,
                  "if_version is a version: a whole number, in digits alone");
}

/* ------------------------------------------------------------------------------------ the whole */
static bool read_put(reading *reading) {
  return read_type(reading) && read_value(reading) && read_media_type(reading)
         && read_expiry(reading);
}

/* A get or delete has nothing of a put. */
static bool is_bare(const reading *reading) {
  const members *members = &reading->members;
  const maph_slice puts[] = {
    members->value,
    members->encoding,
    members->type,
    members->media_type,
    members->media_type_encoding,
    members->expires_at,
    members->ttl,
  };
  for (size_t i = 0; i < sizeof puts / sizeof puts[0]; i++) {
    if (is_given(puts[i])) return wrong(reading, puts[i], "only a put has a value, type or expiry");
  }
  return true;
}

static bool read_meaning(reading *reading) {
  if (!read_kind(reading) || !read_key(reading) || !read_condition(reading)) return false;
  return reading->operation->kind == ENTRY_PUT ? read_put(reading) : is_bare(reading);
}

bool entry_read(json_reader *in, const entry_rules *rules, arena *arena,
                entry_operation *operation) {
  reading reading = { .in = in, .rules = rules, .arena = arena, .operation = operation };
  memset(operation, 0, sizeof *operation);
  return read_members(&reading) && read_meaning(&reading);
}

bool entry_read_elsewhere(json_reader *in, const entry_rules *rules, arena *arena,
                          const entry_elsewhere *elsewhere, entry_operation *operation) {
  reading reading = { in, rules, arena, elsewhere, operation, { 0 } };
  memset(operation, 0, sizeof *operation);
  return read_members(&reading) && json_end(in) && read_meaning(&reading);
}

bool entry_read_line(json_reader *in, const entry_rules *rules, arena *arena,
                     entry_operation *operation) {
  return entry_read_elsewhere(in, rules, arena, NULL, operation);
}
