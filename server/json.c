/*
** json.c - writing JSON and base64, and the checks made before jansson parses any.
**
** Keys and values are bytes; JSON holds only UTF-8.  Bytes that are not UTF-8 go out as base64 with a member beside them
** that says so.  jansson's parser recurses once a level, and a worker has 100 KB of stack: json_depth_within comes first.
*/
#include "server.h"

/* --------------------------------------------------------------------------------------------------------------- UTF-8 */
/* Bytes of the sequence at p, 0 when it is not one (overlong, surrogate, above U+10FFFF, cut short). */
static size_t utf8_sequence(const unsigned char *p, const unsigned char *end){
  size_t left = (size_t)(end - p);
  if( p[0] < 0xC2 || p[0] > 0xF4 || left < 2 || (p[1] & 0xC0)!=0x80 ) return 0;
  if( p[0] < 0xE0 ) return 2;
  if( left < 3 || (p[2] & 0xC0)!=0x80 ) return 0;
  if( p[0] < 0xF0 ){
    if( (p[0]==0xE0 && p[1] < 0xA0) || (p[0]==0xED && p[1] > 0x9F) ) return 0;
    return 3;
  }
  if( left < 4 || (p[3] & 0xC0)!=0x80 ) return 0;
  if( (p[0]==0xF0 && p[1] < 0x90) || (p[0]==0xF4 && p[1] > 0x8F) ) return 0;
  return 4;
}

bool utf8_valid(const void *data, size_t size){
  const unsigned char *p = data, *end = p + size;
  while( p < end ){
    uint64_t word;
    while( end - p >= 8 ){
      memcpy(&word, p, 8);
      if( word & 0x8080808080808080u ) break;
      p += 8;
    }
    if( p < end && *p < 0x80 ) p++;
    else if( p < end ){
      size_t n = utf8_sequence(p, end);
      if( n==0 ) return false;
      p += n;
    }
  }
  return true;
}

/* ---------------------------------------------------------------------------------------------------------------- JSON */
static void emit_escape(buffer *b, unsigned char c){
  switch( c ){
    case '"':  buffer_append(b, "\\\"", 2); break;
    case '\\': buffer_append(b, "\\\\", 2); break;
    case '\n': buffer_append(b, "\\n", 2); break;
    case '\r': buffer_append(b, "\\r", 2); break;
    case '\t': buffer_append(b, "\\t", 2); break;
    default:   buffer_printf(b, "\\u%04x", c); break;
  }
}

void emit_escaped(buffer *b, const void *utf8, size_t size){
  const unsigned char *p = utf8, *end = p + size, *plain = p;
  for(; p < end; p++){
    if( *p >= 0x20 && *p!='"' && *p!='\\' && *p!=0x7F ) continue;
    buffer_append(b, plain, (size_t)(p - plain));
    emit_escape(b, *p);
    plain = p + 1;
  }
  buffer_append(b, plain, (size_t)(p - plain));
}

void emit_string(buffer *b, const void *utf8, size_t size){
  buffer_append(b, "\"", 1);
  emit_escaped(b, utf8, size);
  buffer_append(b, "\"", 1);
}

void emit_bytes(buffer *b, const char *name, const char *encoding_name, maph_slice bytes){
  buffer_append(b, "\"", 1);
  buffer_text(b, name);
  buffer_append(b, "\":", 2);
  if( utf8_valid(bytes.data, bytes.size) ){ emit_string(b, bytes.data, bytes.size); return; }
  buffer_append(b, "\"", 1);
  emit_base64(b, bytes.data, bytes.size);
  buffer_append(b, "\",\"", 3);
  buffer_text(b, encoding_name);
  buffer_text(b, "\":\"base64\"");
}

static const char *const type_names[] = {
  [MAPH_BLOB] = "blob", [MAPH_TEXT] = "text", [MAPH_JSON] = "json",
  [MAPH_INTEGER] = "integer", [MAPH_REAL] = "real", [MAPH_NULL] = "null"
};

const char *type_name(int type){
  return type >= MAPH_BLOB && type <= MAPH_NULL ? type_names[type] : "blob";
}

int type_from_name(const char *name){
  for(int i = MAPH_BLOB; i <= MAPH_NULL; i++) if( strcmp(name, type_names[i])==0 ) return i;
  return -1;
}

const char *perfect_name(int perfect_hash){
  return perfect_hash==MAPH_PERFECT_PILOT ? "pilot" : perfect_hash==MAPH_PERFECT_CMPH ? "cmph" : "none";
}

void emit_entry(buffer *b, const maph_entry *entry, bool with_value){
  emit_bytes(b, "key", "key_encoding", entry->key);
  if( entry->key_type==MAPH_KEY_TEXT ) buffer_text(b, ",\"key_is_text\":true");
  if( entry->key_type==MAPH_KEY_BLOB ) buffer_text(b, ",\"key_is_text\":false");
  if( with_value ){
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
  if( entry->media_type.size ){
    buffer_append(b, ",", 1);
    emit_bytes(b, "media_type", "media_type_encoding", entry->media_type);
  }
  if( entry->expires ){
    buffer_text(b, ",\"expires_at\":");
    buffer_number(b, entry->expires);
  }
}

bool json_depth_within(const char *text, size_t size, int depth){
  int level = 0;
  bool in_string = false;
  for(size_t i = 0; i < size; i++){
    char c = text[i];
    if( in_string ){
      if( c=='\\' ) i++;
      else if( c=='"' ) in_string = false;
    }else if( c=='"' ) in_string = true;
    else if( c=='{' || c=='[' ){ if( ++level > depth ) return false; }
    else if( c=='}' || c==']' ) level--;
  }
  return true;
}

/* -------------------------------------------------------------------------------------------------------------- base64 */
static const char base64_standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[]      = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(buffer *b, const unsigned char *p, size_t size, const char *alphabet, bool padded){
  char *out;
  if( size > SIZE_MAX/8 || !buffer_reserve(b, (size + 2)/3*4) ){ b->failed = true; return; }
  out = b->data + b->size;
  for(; size >= 3; size -= 3, p += 3){
    uint32_t v = (uint32_t)p[0]<<16 | (uint32_t)p[1]<<8 | p[2];
    *out++ = alphabet[v>>18]; *out++ = alphabet[v>>12 & 63]; *out++ = alphabet[v>>6 & 63]; *out++ = alphabet[v & 63];
  }
  if( size ){
    uint32_t v = (uint32_t)p[0]<<16 | (size==2 ? (uint32_t)p[1]<<8 : 0);
    *out++ = alphabet[v>>18]; *out++ = alphabet[v>>12 & 63];
    if( size==2 ) *out++ = alphabet[v>>6 & 63];
    else if( padded ) *out++ = '=';
    if( padded ) *out++ = '=';
  }
  b->size = (size_t)(out - b->data);
}

void emit_base64(buffer *b, const void *data, size_t size){ encode(b, data, size, base64_standard, true); }
void emit_base64url(buffer *b, const void *data, size_t size){ encode(b, data, size, base64_url, false); }

static int base64_digit(char c){
  if( c >= 'A' && c <= 'Z' ) return c - 'A';
  if( c >= 'a' && c <= 'z' ) return c - 'a' + 26;
  if( c >= '0' && c <= '9' ) return c - '0' + 52;
  if( c=='+' || c=='-' ) return 62;
  if( c=='/' || c=='_' ) return 63;
  return -1;
}

size_t base64_decode(const char *text, size_t size, void *out){
  unsigned char *o = out;
  uint32_t v = 0;
  int bits = 0;
  if( size && text[size-1]=='=' ) size--;
  if( size && text[size-1]=='=' ) size--;
  if( size%4==1 ) return SIZE_MAX;
  for(size_t i = 0; i < size; i++){
    int digit = base64_digit(text[i]);
    if( digit < 0 ) return SIZE_MAX;
    v = v<<6 | (uint32_t)digit;
    bits += 6;
    if( bits >= 8 ){ bits -= 8; *o++ = (unsigned char)(v>>bits); v &= (1u<<bits) - 1; }
  }
  return v==0 ? (size_t)(o - (unsigned char*)out) : SIZE_MAX;
}
