/*
** compress.h - answers in gzip, for clients that take it.
*/
#ifndef MAPH_HTTP_COMPRESS_H
#define MAPH_HTTP_COMPRESS_H

#include "http/request.h"

/* Decide it for the answer to come, of that type and size (UINT64_MAX: not known): its `gzip`, and
** whether another Accept-Encoding would get another answer.  A part of a value is never
** compressed. */
void compress_choose(request *request, const char *content_type, uint64_t size, bool part);

typedef struct compressor compressor;
/* Takes compressed bytes; false: the client is gone. */
typedef bool (*compress_put)(void *to, const void *bytes, size_t size);

/* NULL: no memory.  size: of all that will come, UINT64_MAX: not known. */
compressor *compress_begin(uint64_t size);
bool compress_some(compressor *compressor, const void *data, size_t size, compress_put put,
                   void *to);
bool compress_end(compressor *compressor, compress_put put, void *to);
void compress_free(compressor *compressor);

#endif
