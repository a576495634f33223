/*
** chunks.c - the lines between the chunks of a body, made plain before civetweb reads them.
**
**     5;name=value CR LF hello CR LF 0 CR LF CR LF        what a client may send (RFC 9112, 7.1)
**     5 CR LF hello CR LF 0 CR LF CR LF                   what civetweb reads
**
** EXTENSIONS mean nothing here and go, with the blanks before their semicolon.  They are text up to
** CR LF.  A line feed alone, a carriage return alone or another control byte ends no line: proxies
** disagree about these, and requests are smuggled by it.
**
** What is malformed in such a line is replaced by a byte that civetweb refuses, and nothing behind
** it is read.  So a line means the same whichever version of civetweb reads it: its own reader
** takes 5 CR 7 CR LF for 5, and a size of 64 bits for a negative one.
**
** EXTENSIONS_FREE bytes of them may come, and as many more as there was data.
*/
#include <stdbool.h>
#include <string.h>
#include "http/chunks.h"

enum { EXTENSIONS_FREE = 16384, DIGITS_MOST = 56 };
static const char refused = '?';

static int digit_of(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_blank(unsigned char c) { return c == ' ' || c == '\t'; }

/* A byte of what is thrown away; false: none may be there. */
static bool extends(struct chunks *chunks, unsigned char c) {
  bool is_text = is_blank(c) || (c > 32 && c != 127);
  return is_text && ++chunks->extension <= EXTENSIONS_FREE + chunks->data;
}

static bool take_digit(struct chunks *chunks, int digit) {
  if (++chunks->digits > DIGITS_MOST || chunks->size > (uint64_t)INT64_MAX >> 4) return false;
  chunks->size = chunks->size << 4 | (unsigned)digit;
  return true;
}

/* The line of a size; false: it is malformed.  *stays: the byte is one that civetweb gets. */
static bool take_of_line(struct chunks *chunks, unsigned char c, bool *stays) {
  int digit = digit_of(c);
  if (chunks->place == SIZE && digit >= 0) return take_digit(chunks, digit);
  if (chunks->place == SIZE_END) {
    chunks->place = chunks->size ? DATA : NOT_OURS;
    return c == '\n';
  }
  if (c == '\r' && chunks->digits > 0 && chunks->place != BLANK) {
    chunks->place = SIZE_END;
    return true;
  }
  *stays = false;
  if (chunks->place != EXTENSION && c == ';' && chunks->digits > 0) {
    chunks->place = EXTENSION;
  } else if (chunks->place != EXTENSION) {
    chunks->place = BLANK;
    if (!is_blank(c) || chunks->digits == 0) return false;
  }
  return extends(chunks, c);
}

/* The end of a chunk; whether it is one is seen by civetweb. */
static void take_end(struct chunks *chunks) {
  chunks->place = chunks->place == DATA_CR ? DATA_LF : SIZE;
  chunks->digits = 0;
  chunks->size = 0;
}

static size_t skip_data(struct chunks *chunks, size_t n) {
  if (n > chunks->size) n = (size_t)chunks->size;
  chunks->size -= n;
  chunks->data += n;
  if (chunks->size == 0) chunks->place = DATA_CR;
  return n;
}

size_t chunks_pass(struct chunks *chunks, char *bytes, size_t n) {
  size_t kept = 0;
  for (size_t i = 0; i < n;) {
    bool stays = true;
    if (chunks->place == NOT_OURS || chunks->place == DATA) {
      size_t run = chunks->place == DATA ? skip_data(chunks, n - i) : n - i;
      if (kept != i) memmove(bytes + kept, bytes + i, run);
      kept += run;
      i += run;
      continue;
    }
    if (chunks->place == DATA_CR || chunks->place == DATA_LF) {
      take_end(chunks);
    } else if (!take_of_line(chunks, (unsigned char)bytes[i], &stays)) {
      chunks->place = NOT_OURS;
      bytes[i] = refused;
      stays = true;
    }
    if (stays) bytes[kept++] = bytes[i];
    i++;
  }
  return kept;
}
