/*
** utf8.h - UTF-8 (RFC 3629): which bytes are text.
*/
#ifndef MAPH_ENTRY_UTF8_H
#define MAPH_ENTRY_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include "maph.h"

/* How many bytes the character at p takes, p < end.  0: there is none: a byte out of place, an
** overlong form, half of a surrogate pair, a code above U+10FFFF, or one that is cut short. */
size_t utf8_sequence(const unsigned char *p, const unsigned char *end);

bool utf8_valid(maph_slice bytes);

/* Is it UTF-8 without a zero byte?  Many programs take a zero byte for the end of a text. */
bool utf8_is_text(maph_slice bytes);

/* The same of bytes that come one by one.  All zero: at the beginning of a character. */
typedef struct utf8_state {
  unsigned char left, least, most; /* bytes still to come; what the next one may be */
} utf8_state;
bool utf8_take(utf8_state *state, unsigned char byte); /* false: it cannot stand here */

/* Write the character of that code, which is no surrogate: 1 to 4 bytes. */
size_t utf8_write(char *to, unsigned code);

/* Would a terminal take that character for a command?  C0 and DEL; C1 (U+0080 to U+009F); the marks
** that turn the direction of text (U+202A to U+202E, U+2066 to U+2069). */
bool utf8_is_control(const unsigned char *p, size_t sequence);

/* U+FEFF: at the beginning of a file it is a byte order mark, not a character. */
#define UTF8_MARK "\xEF\xBB\xBF"
#define UTF8_MARK_SIZE 3
bool utf8_begins_with_mark(maph_slice bytes);

#endif
