/*
** base64.h - bytes as letters (RFC 4648).
*/
#ifndef MAPH_ENTRY_BASE64_H
#define MAPH_ENTRY_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* What so many bytes become at most. */
static inline size_t base64_size(size_t bytes) { return bytes / 3 * 4 + 4; }

/* Write the letters of `size` bytes to `out`, which has room for base64_size(size), and answer how
** many.  In pieces: all but the last have a multiple of three bytes.
** base64_encode uses + and /, and pads with =; base64_encode_url uses - and _, and pads nothing. */
size_t base64_encode(char *out, const void *data, size_t size);
size_t base64_encode_url(char *out, const void *data, size_t size);

/* The bytes that the letters stand for, never more than 3 for 4; `out` may be the text itself.
** SIZE_MAX: it is not base64.  Taken are both alphabets, and padding that is complete or left out;
** refused are blanks, line ends, and bits after the last byte that are not zero: each value has one
** form, so that nothing hides in a text. */
size_t base64_decode(const char *text, size_t size, void *out);

#endif
