/*
** operation.c - one get, put or delete written as JSON.
**
**     {"op":"put", "key":"k", "value":"text"}                      the bytes of the text; type text
**     {"op":"put", "key":"k", "value":{"price":29.99}}             any other JSON: its text; type json
**     {"op":"put", "key":"k", "value":"/w==", "encoding":"base64"} bytes; type blob
**     "key_encoding":"base64"   "type"   "media_type"   "ttl": seconds   "expires_at": ms since 1970
**     "if_version": N   "if_absent": true   "if_present": true     for put and delete
**
** A member that is not known is refused: a condition with a slip of the pen must not become no condition.
*/
#include <stdlib.h>
#include "operation.h"

enum { DEPTH_MAX = 32, MEDIA_TYPE_MAX = 255 };
struct block { struct block *next; };

static void *arena_take(arena *a, size_t size){
  struct block *b = size > SIZE_MAX/2 ? NULL : malloc(sizeof *b + size);
  if( b==NULL ) return NULL;
  b->next = a->first;
  a->first = b;
  return b + 1;
}

void arena_free(arena *a){
  while( a->first ){
    struct block *next = a->first->next;
    free(a->first);
    a->first = next;
  }
}

json_t *operation_json(const char *text, size_t size, const char **mistake, char *room, size_t room_size){
  json_error_t error;
  json_t *json;
  if( !json_depth_within(text, size, DEPTH_MAX) ){ *mistake = "it is nested too deeply"; return NULL; }
  json = json_loadb(text, size, JSON_ALLOW_NUL|JSON_REJECT_DUPLICATES, &error);
  if( json ) return json;
  snprintf(room, room_size, "not JSON: %s, at byte %d", error.text, error.position);
  *mistake = room;
  return NULL;
}

/* JSON by any name that says so, and by those that say nothing: curl -d sends a form's. */
bool operation_media_type(request *r, bool *lines){
  static const char *const silent[] = { "application/x-www-form-urlencoded", "application/octet-stream", "text/plain" };
  const char *type = request_header(r, "Content-Type");
  *lines = false;
  if( type==NULL || *type==0 ) return true;
  *lines = strcasestr(type, "ndjson") || strcasestr(type, "jsonl") || strcasestr(type, "json-lines");
  if( *lines || strcasestr(type, "json") ) return true;
  for(int i = 0; i < 3; i++) if( strncasecmp(type, silent[i], strlen(silent[i]))==0 ) return true;
  reply_problem(r, 415, "bad_media_type", "the body is JSON (application/json) or a JSON text a line (application/x-ndjson)");
  return false;
}

/* A string member as bytes, decoded when its encoding member says base64. */
static const char *read_bytes(const json_t *value, const json_t *encoding, arena *a, maph_slice *bytes, bool *binary){
  size_t size = json_string_length(value), n;
  *bytes = maph_bytes(json_string_value(value), size);
  *binary = false;
  if( encoding==NULL ) return NULL;
  if( !json_is_string(encoding) || strcmp(json_string_value(encoding), "base64")!=0 ) return "the only encoding is base64";
  void *out = arena_take(a, size/4*3 + 4);
  if( out==NULL ) return "out of memory";
  if( (n = base64_decode(bytes->data, size, out))==SIZE_MAX ) return "that is not base64";
  *bytes = maph_bytes(out, n);
  *binary = true;
  return NULL;
}

static const char *read_value(const json_t *value, const json_t *encoding, arena *a, operation *o){
  const char *mistake;
  bool binary;
  if( json_is_string(value) ){
    if( (mistake = read_bytes(value, encoding, a, &o->value, &binary))!=NULL ) return mistake;
    if( o->condition.type < 0 ) o->condition.type = binary || memchr(o->value.data, 0, o->value.size) ? MAPH_BLOB : MAPH_TEXT;
  }else{
    size_t size = json_dumpb(value, NULL, 0, JSON_COMPACT|JSON_ENCODE_ANY);
    char *out = arena_take(a, size + 1);
    if( encoding ) return "encoding is for a value that is a string";
    if( size==0 || out==NULL ) return "out of memory";
    json_dumpb(value, out, size, JSON_COMPACT|JSON_ENCODE_ANY);
    o->value = maph_bytes(out, size);
    if( o->condition.type < 0 ) o->condition.type = MAPH_JSON;
  }
  return NULL;
}

/* What a member's name stands for. */
typedef struct members {
  const json_t *op, *key, *key_encoding, *value, *encoding, *type, *media_type, *media_type_encoding, *ttl, *expires_at,
               *if_version, *if_absent, *if_present, *key_is_text, *ignored;
} members;
static const struct { const char *name; size_t offset; bool imported; } names[] = {
  { "op", offsetof(members, op), false }, { "key", offsetof(members, key), true },
  { "key_encoding", offsetof(members, key_encoding), true }, { "value", offsetof(members, value), true },
  { "encoding", offsetof(members, encoding), true }, { "type", offsetof(members, type), true },
  { "media_type", offsetof(members, media_type), true }, { "media_type_encoding", offsetof(members, media_type_encoding), true },
  { "ttl", offsetof(members, ttl), true }, { "expires_at", offsetof(members, expires_at), true },
  { "if_version", offsetof(members, if_version), false }, { "if_absent", offsetof(members, if_absent), true },
  { "if_present", offsetof(members, if_present), true }, { "key_is_text", offsetof(members, key_is_text), true },
};

static const char *sort_members(const json_t *json, bool import, members *m){
  const char *name;
  json_t *value;
  memset(m, 0, sizeof *m);
  json_object_foreach((json_t*)json, name, value){
    size_t i = 0;
    while( i < sizeof names/sizeof names[0] && (strcmp(names[i].name, name)!=0 || (import && !names[i].imported)) ) i++;
    if( i < sizeof names/sizeof names[0] ) memcpy((char*)m + names[i].offset, &value, sizeof value);
    else if( !import || (strcmp(name, "version")!=0 && strcmp(name, "size")!=0) ) return "there is a member that is not known";
  }
  return NULL;
}

static const char *read_expiry(const members *m, operation *o){
  if( m->ttl && m->expires_at ) return "ttl or expires_at, not both";
  if( m->ttl ){
    if( !json_is_integer(m->ttl) || json_integer_value(m->ttl) < 1 || json_integer_value(m->ttl) > 100000000000 ) return "ttl is a whole number of seconds from 1 up";
    o->condition.expires = wall_ms() + (uint64_t)json_integer_value(m->ttl)*1000;
  }
  if( m->expires_at ){
    if( !json_is_integer(m->expires_at) || json_integer_value(m->expires_at) < 0 ) return "expires_at is milliseconds since 1970";
    o->condition.expires = (uint64_t)json_integer_value(m->expires_at);
  }
  return NULL;
}

static const char *read_condition(const members *m, operation *o){
  int given = (m->if_version!=NULL) + json_is_true(m->if_absent) + json_is_true(m->if_present);
  if( (m->if_absent && !json_is_boolean(m->if_absent)) || (m->if_present && !json_is_boolean(m->if_present)) ) return "if_absent and if_present are true or false";
  if( given > 1 ) return "one of if_version, if_absent, if_present";
  if( given==1 && o->kind==OPERATION_GET ) return "a get has no conditions";
  if( json_is_true(m->if_absent) ) o->condition.when = MAPH_IF_ABSENT;
  if( json_is_true(m->if_present) ) o->condition.when = MAPH_IF_PRESENT;
  if( m->if_version ){
    if( !json_is_integer(m->if_version) || json_integer_value(m->if_version) < 0 ) return "if_version is a version";
    o->condition.when = MAPH_IF_VERSION;
    o->condition.version = (uint64_t)json_integer_value(m->if_version);
  }
  return NULL;
}

static const char *read_put(const members *m, arena *a, operation *o){
  const char *mistake;
  bool binary;
  if( m->type ){
    o->condition.type = json_is_string(m->type) ? type_from_name(json_string_value(m->type)) : -1;
    if( o->condition.type < 0 ) return "type is blob, text, json, integer, real or null";
  }
  if( m->value==NULL ) return "a put has a value";
  if( (mistake = read_value(m->value, m->encoding, a, o))!=NULL ) return mistake;
  if( m->media_type ){
    if( !json_is_string(m->media_type) ) return "media_type is a string";
    if( (mistake = read_bytes(m->media_type, m->media_type_encoding, a, &o->condition.media_type, &binary))!=NULL ) return mistake;
    if( o->condition.media_type.size > MEDIA_TYPE_MAX ) return "media_type has at most 255 bytes";
  }
  if( m->key_is_text ) o->condition.key_type = json_is_true(m->key_is_text) ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
  return read_expiry(m, o);
}

const char *operation_parse(const json_t *json, int kind, arena *a, operation *o){
  const char *mistake, *op;
  members m;
  bool binary;
  memset(o, 0, sizeof *o);
  o->condition.type = -1;
  if( !json_is_object(json) ) return "an operation is a JSON object";
  if( (mistake = sort_members(json, kind!=0, &m))!=NULL ) return mistake;
  op = kind ? "put" : m.op && json_is_string(m.op) ? json_string_value(m.op) : "";
  o->kind = strcmp(op, "get")==0 ? OPERATION_GET : strcmp(op, "put")==0 ? OPERATION_PUT : strcmp(op, "delete")==0 ? OPERATION_DELETE : 0;
  if( o->kind==0 ) return "op is get, put or delete";
  if( m.key==NULL || !json_is_string(m.key) ) return "key is a string";
  if( (mistake = read_bytes(m.key, m.key_encoding, a, &o->key, &binary))!=NULL ) return mistake;
  if( o->key.size==0 ) return "a key has at least one byte";
  if( o->key.size > 65535 ) return "a key has at most 65535 bytes";
  if( (mistake = read_condition(&m, o))!=NULL ) return mistake;
  if( o->kind==OPERATION_PUT ) return read_put(&m, a, o);
  o->condition.type = 0;
  return m.value || m.encoding || m.type || m.media_type || m.ttl || m.expires_at ? "only a put has a value, type or expiry" : NULL;
}
