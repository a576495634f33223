/*
** emit.h - JSON and base64 into a buffer; ext/entry writes them.
*/
#ifndef MAPH_BASE_EMIT_H
#define MAPH_BASE_EMIT_H

#include "base/buffer.h"
#include "entry/entry.h"

/* "name":"text", or "name":"base64","encoding_name":"base64" where the bytes are not UTF-8. */
void emit_bytes(buffer *b, const char *name, const char *encoding_name, maph_slice bytes);
/* Members, without braces. */
void emit_entry(buffer *b, const maph_entry *entry, bool with_value);
void emit_change(buffer *b, const maph_change *change, bool with_value);
void emit_stats(buffer *b, const maph_stats *stats);
void emit_rewrite(buffer *b, const maph_rewrite *rewrite);

void emit_base64(buffer *b, const void *data, size_t size);
void emit_base64url(buffer *b, const void *data, size_t size);

#endif
