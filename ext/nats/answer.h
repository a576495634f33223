/*
** answer.h - the members of a JSON text that a server sent.
*/
#ifndef MAPH_NATS_ANSWER_H
#define MAPH_NATS_ANSWER_H

#include <stdbool.h>
#include <stdint.h>
#include "maph.h"

/* The text of the value at `path`, names with dots between them, in one that is JSON (json_whole).
** False: there is none, or what leads there is no object.  Of a name that is there twice, the
** first. */
bool answer_find(maph_slice text, const char *path, maph_slice *value);
/* The number there, a whole one from 0 to `most`; -1 and below are taken by answer_signed.
** `otherwise` where there is none.  False: something else is there. */
bool answer_number(maph_slice text, const char *path, uint64_t most, uint64_t otherwise,
                   uint64_t *number);
bool answer_signed(maph_slice text, const char *path, int64_t otherwise, int64_t *number);
/* Is it there, and true? */
bool answer_true(maph_slice text, const char *path);
/* The string there, with a zero behind it; "" where there is none.  False: no string, one that
** does not fit, or one with a zero byte. */
bool answer_text(maph_slice text, const char *path, char *room, size_t size);
/* The string there, decoded from base64, to memory of the heap; *memory NULL where there is none.
** False: something else, or no memory. */
bool answer_base64(maph_slice text, const char *path, void **memory, maph_slice *bytes);
/* 2026-01-31T23:59:59.123456789Z, or with an offset, as nanoseconds since 1970.  False: no time. */
bool answer_time(const char *text, uint64_t *ns);

#endif
