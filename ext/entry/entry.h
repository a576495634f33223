/*
** entry.h - an entry of a store as JSON: the one reader and the one writer of it, for the server
** and the command line.
**
**     {"key":"k","value":"text","version":7,"size":4,"type":"text"}
**
** WRITTEN.  Keys, values and media types are bytes, and a string of JSON holds only UTF-8.  Bytes
** that are not UTF-8 go out as base64, with a member beside them that says so.
**
**     "key"         a string; "key_encoding":"base64" beside it where its bytes are not UTF-8
**     "key_is_text" true or false where SQL said TEXT or BLOB; else not there
**     "value"       a string whatever its type; "encoding":"base64" where its bytes are not UTF-8
**     "version"     of the transaction that put it
**     "size"        bytes of the value
**     "type"        blob, text, json, integer, real or null
**     "media_type"  a string, where there is one; "media_type_encoding":"base64" as above
**     "expires_at"  milliseconds since 1970, where there is one
**
** READ, as a line of an import: the same members in any order, and
**
**     "value"       that is no string: the bytes of its JSON without the blanks between its tokens,
**                   type json, but if "type" says another
**     "value"       that is a string: what it means.  Without "type" it is text; a blob if it is
**                   base64 or holds a zero byte
**     "ttl"         seconds from 1 up, in place of expires_at
**     "if_absent", "if_present"     true: put it only then
**
** "version" and "size" mean nothing to a put, whatever they say.  So export | import is the
** identity on keys, values, types, media types and expiry times; versions are those of the new
** transactions.
**
** READ, as an operation of a batch: "op" is get, put or delete; "version" and "size" are refused;
** "if_version" is there too, and the conditions are for puts and deletes.
**
** A MISTAKE is refused, never guessed at: a member that is not known or is there twice (a condition
** with a slip of the pen must not become no condition), null where a value is needed, an encoding
** with nothing to encode, a number with a point or exponent where a whole one is needed, an expiry
** beyond 64 bits.  The sentence says what is wrong, in which column, and what to do.
**
** NDJSON.  A line ends with LF; a CR before it is a blank.  Lines of blanks are let pass, and they
** count.  A byte order mark may begin the text, and stands nowhere else.
*/
#ifndef MAPH_ENTRY_H
#define MAPH_ENTRY_H

#include "entry/arena.h"
#include "entry/json.h"

/* -------------------------------------------------------------------------------------- reading */
enum entry_kind { ENTRY_ANY = 0, ENTRY_GET, ENTRY_PUT, ENTRY_DELETE };

typedef struct entry_operation {
  int kind;              /* ENTRY_GET ... */
  maph_slice key, value; /* where they lie in the text if they have no escapes, else in the arena */
  bool binary, typed;    /* the value came as base64; its type was said */
  maph_condition condition; /* media_type as key and value */
} entry_operation;

typedef struct entry_rules {
  int kind; /* ENTRY_PUT: a line of an import; ENTRY_ANY: an operation of a batch, with an "op" */
  uint64_t (*clock_ms)(void); /* tells the time that a ttl counts from */
} entry_rules;

/* Read the object that is next.  False: in->mistake says what is wrong. */
bool entry_read(json_reader *in, const entry_rules *rules, arena *arena,
                entry_operation *operation);
/* The same of a text that is one object and nothing more. */
bool entry_read_line(json_reader *in, const entry_rules *rules, arena *arena,
                     entry_operation *operation);

/* A value that is too long for memory lies elsewhere (pieces.h): in the line an empty string stands
** for it. */
typedef struct entry_elsewhere {
  const char *at; /* of that string's first quote */
  char *text;     /* what the string means; base64 is decoded there */
  size_t size;
} entry_elsewhere;
bool entry_read_elsewhere(json_reader *in, const entry_rules *rules, arena *arena,
                          const entry_elsewhere *elsewhere, entry_operation *operation);

/* Limits of what a store takes.  NULL, or what is wrong. */
const char *entry_check_key(maph_slice key);
const char *entry_check_value(uint64_t size);
const char *entry_check_media_type(maph_slice media_type);
/* The time when what lives for so many seconds from now on ends.  False: not 1 to ENTRY_TTL_MOST.
** */
#define ENTRY_TTL_MOST 100000000000u
bool entry_expiry_of_ttl(uint64_t seconds, uint64_t now_ms, uint64_t *expires);

/* -------------------------------------------------------------------------------------- writing */
/* The members, without braces. */
void entry_write(json_writer *out, const maph_entry *entry, bool with_value);
/* The members of a change: "op", and for a put those of its entry. */
void entry_write_change(json_writer *out, const maph_change *change, bool with_value);

/* ---------------------------------------------------------------------------------------- names */
const char *entry_type_name(int type);      /* MAPH_TEXT: "text"; an unknown one: "blob" */
int entry_type_from_name(const char *name); /* -1: no type has that name */
/* of a value whose type nobody said: text or blob */
int entry_type_of_bytes(maph_slice value);
const char *entry_key_type_name(int key_type); /* MAPH_KEY_TEXT: "text"; "bytes", "blob" */
int entry_key_type_from_name(const char *name);
const char *entry_perfect_name(int perfect_hash); /* MAPH_PERFECT_PILOT: "pilot"; 0: "none" */
#define ENTRY_UUID_SIZE 37
const char *entry_uuid_text(const uint8_t *uuid, char room[ENTRY_UUID_SIZE]);

/* -------------------------------------------------------------------------------------- figures */
/* The fields of maph_stats and maph_rewrite as members, without braces. */
void entry_write_stats(json_writer *out, const maph_stats *stats);
void entry_write_rewrite(json_writer *out, const maph_rewrite *rewrite);

#endif
