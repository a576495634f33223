/*
** json.c - a line of NDJSON, as the server's export and import and `maph export` write it.
**
**     {"key":"k", "value":"text"}                          the bytes of the text; type text
**     {"key":"k", "value":{"price":29.99}}                 any other JSON: its text; type json
**     {"key":"k", "value":"/w==", "encoding":"base64"}     bytes; type blob
**     "key_encoding":"base64"  "key_is_text"  "type"  "media_type"  "ttl": seconds  "expires_at": ms since 1970
**     "if_absent": true  "if_present": true
**
** version and size mean nothing to a put.  A member that is not known is refused: an expiry with a slip of the pen must not become none.
*/
#include <stdio.h>
#include <jansson.h>
#include "cli.h"

typedef struct members {
  const json_t *key, *key_encoding, *key_is_text, *value, *encoding, *type, *media_type, *media_type_encoding, *ttl, *expires_at,
               *if_absent, *if_present, *ignored;
} members;

static const struct { const char *name; size_t offset; } names[] = {
  { "key", offsetof(members, key) }, { "key_encoding", offsetof(members, key_encoding) }, { "key_is_text", offsetof(members, key_is_text) },
  { "value", offsetof(members, value) }, { "encoding", offsetof(members, encoding) }, { "type", offsetof(members, type) },
  { "media_type", offsetof(members, media_type) }, { "media_type_encoding", offsetof(members, media_type_encoding) },
  { "ttl", offsetof(members, ttl) }, { "expires_at", offsetof(members, expires_at) },
  { "if_absent", offsetof(members, if_absent) }, { "if_present", offsetof(members, if_present) },
  { "version", offsetof(members, ignored) }, { "size", offsetof(members, ignored) },
};

static const char *sort_members(json_t *json, members *m, char *room, size_t room_size){
  const char *name;
  json_t *value;
  memset(m, 0, sizeof *m);
  json_object_foreach(json, name, value){
    size_t i = 0;
    while( i < sizeof names/sizeof names[0] && strcmp(names[i].name, name)!=0 ) i++;
    if( i==sizeof names/sizeof names[0] ){
      snprintf(room, room_size, "there is a member \"%.60s\" that is not known", name);
      return room;
    }
    memcpy((char*)m + names[i].offset, &value, sizeof value);
  }
  return NULL;
}

/* A string member as bytes, decoded when its encoding member says base64. */
static const char *read_bytes(const json_t *value, const json_t *encoding, arena *a, maph_slice *bytes){
  maph_slice text = maph_bytes(json_string_value(value), json_string_length(value));
  void *out;
  size_t n;
  if( encoding==NULL ) return arena_copy(a, text, bytes) ? NULL : "out of memory";
  if( !json_is_string(encoding) || strcmp(json_string_value(encoding), "base64")!=0 ) return "the only encoding is base64";
  if( (out = arena_take(a, text.size/4*3 + 4))==NULL ) return "out of memory";
  if( (n = base64_decode(text.data, text.size, out))==SIZE_MAX ) return "that is not base64";
  *bytes = maph_bytes(out, n);
  return NULL;
}

static const char *read_value(const members *m, arena *a, row *r){
  size_t size;
  char *out;
  if( m->value==NULL ) return "there is no value";
  if( json_is_string(m->value) ){
    const char *mistake = read_bytes(m->value, m->encoding, a, &r->value);
    if( mistake==NULL ) r->type = m->encoding ? MAPH_BLOB : type_of_bytes(r->value);
    return mistake;
  }
  if( m->encoding ) return "encoding is for a value that is a string";
  size = json_dumpb(m->value, NULL, 0, JSON_COMPACT|JSON_ENCODE_ANY);
  out = arena_take(a, size);
  if( size==0 || out==NULL ) return "out of memory";
  json_dumpb(m->value, out, size, JSON_COMPACT|JSON_ENCODE_ANY);
  r->value = maph_bytes(out, size);
  r->type = MAPH_JSON;
  return NULL;
}

static const char *read_types(const members *m, arena *a, row *r){
  if( m->type ){
    int type = json_is_string(m->type) ? type_from_name(json_string_value(m->type)) : -1;
    if( type < 0 ) return "type is blob, text, json, integer, real or null";
    r->type = type;
  }
  if( m->key_is_text ){
    if( !json_is_boolean(m->key_is_text) ) return "key_is_text is true or false";
    r->key_type = json_is_true(m->key_is_text) ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
  }
  if( m->media_type==NULL ) return NULL;
  if( !json_is_string(m->media_type) ) return "media_type is a string";
  return read_bytes(m->media_type, m->media_type_encoding, a, &r->media_type);
}

static const char *read_expiry(const members *m, row *r){
  if( m->ttl && m->expires_at ) return "ttl or expires_at, not both";
  if( m->ttl ) return row_ttl(json_is_integer(m->ttl) && json_integer_value(m->ttl) > 0 ? (uint64_t)json_integer_value(m->ttl) : 0, r);
  if( m->expires_at ){
    if( !json_is_integer(m->expires_at) || json_integer_value(m->expires_at) < 0 ) return "expires_at is milliseconds since 1970";
    r->expires = (uint64_t)json_integer_value(m->expires_at);
  }
  return NULL;
}

static const char *read_when(const members *m, row *r){
  if( (m->if_absent && !json_is_boolean(m->if_absent)) || (m->if_present && !json_is_boolean(m->if_present)) ) return "if_absent and if_present are true or false";
  if( json_is_true(m->if_absent) && json_is_true(m->if_present) ) return "if_absent or if_present, not both";
  if( json_is_true(m->if_absent) ) r->when = MAPH_IF_ABSENT;
  if( json_is_true(m->if_present) ) r->when = MAPH_IF_PRESENT;
  return NULL;
}

static const char *read_row(json_t *json, arena *a, row *r, char *room, size_t room_size){
  const char *mistake;
  members m;
  if( !json_is_object(json) ) return "an entry is a JSON object with key and value";
  if( (mistake = sort_members(json, &m, room, room_size))!=NULL ) return mistake;
  if( m.key==NULL || !json_is_string(m.key) ) return "there is no key that is a string";
  if( (mistake = read_bytes(m.key, m.key_encoding, a, &r->key))!=NULL ) return mistake;
  if( (mistake = read_value(&m, a, r))!=NULL ) return mistake;
  if( (mistake = read_types(&m, a, r))!=NULL || (mistake = read_when(&m, r))!=NULL ) return mistake;
  return read_expiry(&m, r);
}

const char *json_row(maph_slice line, arena *a, row *r, char *room, size_t room_size){
  json_error_t error;
  const char *mistake;
  json_t *json = json_loadb(line.data, line.size, JSON_ALLOW_NUL|JSON_REJECT_DUPLICATES|JSON_DECODE_ANY, &error);
  memset(r, 0, sizeof *r);
  if( json==NULL ){
    snprintf(room, room_size, "not JSON: %s, at byte %d", error.text, error.position);
    return room;
  }
  mistake = read_row(json, a, r, room, room_size);
  json_decref(json);
  return mistake ? mistake : row_check(r);
}
