/*
** emit.h - JSON and base64 into a buffer; ext/entry writes them.
*/
#ifndef MAPH_BASE_EMIT_H
#define MAPH_BASE_EMIT_H

#include "base/buffer.h"
#include "entry/entry.h"

/* "name":"text", or "name":"base64","encoding_name":"base64" where the bytes are not UTF-8. */
void emit_bytes(buffer *buffer, const char *name, const char *encoding_name, maph_slice bytes);
/* Members, without braces. */
void emit_entry(buffer *buffer, const maph_entry *entry, bool with_value);
void emit_change(buffer *buffer, const maph_change *change, bool with_value);
void emit_stats(buffer *buffer, const maph_stats *stats);
void emit_rewrite(buffer *buffer, const maph_rewrite *rewrite);

void emit_base64(buffer *buffer, const void *data, size_t size);
void emit_base64url(buffer *buffer, const void *data, size_t size);

#endif
