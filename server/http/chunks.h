/*
** chunks.h - the lines between the chunks of a body, made plain before civetweb reads them.
*/
#ifndef MAPH_HTTP_CHUNKS_H
#define MAPH_HTTP_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

/* How far into a chunked body one is. */
struct chunks {
  enum { SIZE, BLANK, EXTENSION, SIZE_END, DATA, DATA_CR, DATA_LF, NOT_OURS } place;
  unsigned digits;          /* of the size that is read */
  uint64_t size;            /* of it; then what is still to come of the chunk */
  uint64_t data, extension; /* bytes until now */
};

/* Of the n bytes that come next, those that stay, moved together at the beginning: how many. */
size_t chunks_pass(struct chunks *chunks, char *bytes, size_t n);

#endif
