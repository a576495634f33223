/*
** json.h - reading and writing JSON (RFC 8259) as text.
**
** THE READER makes no tree.  It says where a value begins and ends, once it has seen that
** everything in it is JSON.  So a text costs no memory, whatever it consists of, and a number
** stays the digits that it is: 29.99 and an identifier of 30 digits come back as they were
** written.  That is why no JSON library is used: those that Debian has make doubles of numbers and
** trees of texts.
**
** What it takes, beyond the grammar:
**   - UTF-8 only, and no half of a surrogate pair: whatever is read can be written as UTF-8;
**   - lists and objects at most JSON_DEPTH deep;
**   - numbers that a double can hold, to 1.8e308, however many digits they have;
**   - a byte order mark (U+FEFF) at the very beginning of a text, where json_skip_mark is called.
** A name twice in one object is JSON; whoever reads the members decides.
**
** THE WRITER escapes what must be escaped and nothing else, but for U+007F, and on a terminal for
** what would command it.  It hands its text on in pieces, so a value of any size costs no memory.
*/
#ifndef MAPH_ENTRY_JSON_H
#define MAPH_ENTRY_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "maph.h"

/* ------------------------------------------------------------------------------------- reading */
enum { JSON_DEPTH = 32 };

/* After a mistake nothing is read any more. */
enum json_fault {
  JSON_RIGHT = 0,
  JSON_GRAMMAR, /* it is no JSON */
  JSON_LIMIT,   /* it is JSON, and more than the reader takes */
  JSON_MEANING, /* it is JSON that does not say what it should */
  JSON_NO_MEMORY
};

/* Sentences about strings. */
#define JSON_NO_SUCH_ESCAPE \
  "there is no such escape: those are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX"
#define JSON_NO_HEX "\\u is followed by four hex digits"
#define JSON_HALF_PAIR "half of a surrogate pair: write both halves, or the character itself"
#define JSON_CONTROL "a control character in a string: write it as \\uXXXX"
#define JSON_NOT_UTF8 "it is not UTF-8: convert it, or write the bytes as base64"
#define JSON_NO_END "a string has no end: close it with \""

typedef struct json_reader {
  const char *start, *p, *end; /* of the text, and how far it was read: after a mistake its place */
  const char *mistake;         /* a sentence about it, or NULL */
  enum json_fault fault;
  maph_slice quoted; /* a name that the sentence is about: its text with the quotes; or size 0 */
  uint64_t column;   /* of the mistake; 0: it follows from the place */
} json_reader;

json_reader json_begin(maph_slice text);

/* Blanks are skipped before each of these. */
bool json_next(json_reader *in, char c);   /* take c if it is next */
bool json_expect(json_reader *in, char c); /* it must be: one of , : ] } */
bool json_end(json_reader *in);            /* nothing more may come */
/* A value, or a string: where its text lies.  That of a string has its quotes. */
bool json_value(json_reader *in, maph_slice *text);
bool json_string(json_reader *in, maph_slice *text);
/* The members of an object, once its { was taken:
**     if (json_next(in, '{')) while (json_member(in, &first, &name, &value)) ...
** `first` is true at the beginning.  False: at the }, which is taken, or a mistake. */
bool json_member(json_reader *in, bool *first, maph_slice *name, maph_slice *value);

/* Note a mistake about what begins at `at`, unless there is one already; false. */
bool json_wrong(json_reader *in, const char *at, enum json_fault fault, const char *sentence);
/* The whole sentence about the mistake: what it is, what to do, and where. */
#define JSON_SENTENCE_ROOM 320
void json_sentence(const json_reader *in, char room[JSON_SENTENCE_ROOM]);
/* The column of the mistake, as editors count: characters from 1, in its line. */
uint64_t json_column(const json_reader *in);

/* The first byte of a string's text that is more than an ordinary letter: a quote, a backslash, a
** control character, or the beginning of a character of several bytes. */
const char *json_skip_letters(const char *p, const char *end);

/* What a string that was read means.  `inner` is its text without the quotes; the result is not
** longer, and may lie where the text lies. */
size_t json_unescape(maph_slice inner, char *out);
/* Is it JSON, one value and nothing more?  What is wrong is said in *in. */
bool json_whole(maph_slice text, json_reader *in);
/* A value that was read without the blanks between its tokens; out may be the text. */
size_t json_squeeze(maph_slice text, char *out);
/* A whole number, in digits alone, that is at most `most`. */
bool json_whole_number(maph_slice text, uint64_t most, uint64_t *number);

/* A line of NDJSON with nothing on it but blanks, as JSON has them: spaces, tabs, carriage
** returns. */
bool json_is_blank(maph_slice line);
/* What follows the byte order mark that a text may begin with. */
maph_slice json_skip_mark(maph_slice text);

/* ------------------------------------------------------------------------------------- writing */
/* Takes the next piece.  False: no more can be taken, and the writer goes silent. */
typedef bool (*json_put)(void *to, const void *bytes, size_t size);

enum { JSON_PIECE = 48 * 1024 }; /* the most that one put is given */
typedef struct json_writer {
  json_put put;
  void *to;
  bool for_terminal; /* \u for what would command one */
  bool failed;
  size_t size;
  char room[1024]; /* what was written and not handed on yet */
} json_writer;

/* What a merge patch (RFC 7396) makes of a target, in pieces, without blanks; target empty: there
** is none.  Both are JSON (json_whole).  False: no memory, or put took no more. */
bool json_merge(maph_slice target, maph_slice patch, json_put put, void *to);

void json_write_begin(json_writer *out, json_put put, void *to);
/* hand on the rest; false: something was not taken */
bool json_write_end(json_writer *out);
void json_write_text(json_writer *out, const char *text); /* as it is */
void json_write_raw(json_writer *out, const void *bytes, size_t size);
void json_write_number(json_writer *out, uint64_t number);
void json_write_decimals(json_writer *out, double number, int decimals);
/* a part of a string, without quotes */
void json_write_escaped(json_writer *out, maph_slice utf8);
void json_write_string(json_writer *out, maph_slice utf8);
/* "name":"text", or "name":"base64","encoding_name":"base64" where the bytes are not UTF-8. */
void json_write_bytes(json_writer *out, const char *name, const char *encoding_name,
                      maph_slice bytes);

#endif
