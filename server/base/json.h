/*
** json.h - writing JSON and base64; reading JSON where it lies.
*/
#ifndef MAPH_BASE_JSON_H
#define MAPH_BASE_JSON_H

#include "base/buffer.h"
#include "maph.h"

bool utf8_valid(const void *data, size_t size);
void emit_string(buffer *b, const void *utf8, size_t size); /* "..." escaped */
/* The same without the quotes, also of a part. */
void emit_escaped(buffer *b, const void *utf8, size_t size);
/* "name":"text", or "name":"base64","encoding_name":"base64" where the bytes are not UTF-8. */
void emit_bytes(buffer *b, const char *name, const char *encoding_name, maph_slice bytes);
/* members, without braces */
void emit_entry(buffer *b, const maph_entry *entry, bool with_value);
/* Standard or url alphabet; SIZE_MAX: not base64. */
size_t base64_decode(const char *text, size_t size, void *out);
void emit_base64(buffer *b, const void *data, size_t size);
void emit_base64url(buffer *b, const void *data, size_t size);

/* Reading: blanks are skipped before each thing, and after a mistake nothing is read.  `mistake`
** says what is wrong at p. */
typedef struct json_reader {
  const char *p, *end, *mistake;
} json_reader;
bool reader_next(json_reader *r, char c);   /* take c if it is next */
bool reader_expect(json_reader *r, char c); /* it must be */
bool reader_end(json_reader *r);            /* nothing more may come */
/* Any value: its text, with lists in it at most that deep. */
bool reader_value(json_reader *r, int depth, maph_slice *text);
/* a string: its text with the quotes */
bool reader_string(json_reader *r, maph_slice *text);
/* What a string that was read means, without its quotes: not more than its size. */
size_t reader_unescape(maph_slice inner, char *out);
/* A value that was read without the blanks between its tokens; out may be the text. */
size_t reader_squeeze(maph_slice text, char *out);
/* Checked before a recursive parser sees it. */
bool json_depth_within(const char *text, size_t size, int depth);
const char *type_name(int type);            /* MAPH_TEXT -> "text" */
int type_from_name(const char *name);       /* -1: no such type */
const char *perfect_name(int perfect_hash); /* MAPH_PERFECT_PILOT -> "pilot"; 0: "none" */

#endif
