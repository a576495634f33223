/*
** compress.c - answers in gzip, for clients that take it.
**
** What is text is compressed from option.compress_above bytes on, where Accept-Encoding likes gzip
** no less than the bytes as they are (RFC 9110, 12.5.3).  Images, archives and what is not known to
** be text go as they are, and so do server-sent events, whose client waits for each, and values
** above MOST, which go from where they lie.
**
** A compressed answer is a representation of its own, so it has a tag of its own, "17-gzip"
** (routes/keys.c), and Vary names Accept-Encoding whether it was compressed or not.
*/
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>
#include "base/options.h"
#include "http/accept.h"
#include "http/compress.h"

enum { MOST = 16 * 1024 * 1024, PIECE = 32 * 1024, LEVEL = 1, GZIP_FORM = 16, MEMORY = 8 };

struct compressor {
  z_stream z;
  unsigned char piece[PIECE];
};

static bool ends_in(const char *type, size_t size, const char *ending) {
  size_t n = strlen(ending);
  return size > n && strncasecmp(type + size - n, ending, n) == 0;
}

static bool is_text(const char *type) {
  static const char *const others[] = { "application/json",       "application/x-ndjson",
                                        "application/xml",        "application/javascript",
                                        "application/ecmascript", "application/yaml",
                                        "application/x-yaml",     "application/toml",
                                        "application/sql",        "application/rtf",
                                        "application/graphql" };
  size_t size = strcspn(type, "; \t");
  if (size == 17 && strncasecmp(type, "text/event-stream", 17) == 0) return false;
  if (strncasecmp(type, "text/", 5) == 0) return true;
  if (ends_in(type, size, "+json") || ends_in(type, size, "+xml") || ends_in(type, size, "+yaml"))
    return true;
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (strlen(others[i]) == size && strncasecmp(type, others[i], size) == 0) return true;
  return false;
}

void compress_choose(request *request, const char *content_type, uint64_t size, bool part) {
  int quality;
  request->reply.gzip = false;
  request->reply.varies_by_encoding = option.compress_above > 0 && size >= option.compress_above
                                      && (size <= MOST || size == UINT64_MAX) && content_type
                                      && is_text(content_type);
  if (!request->reply.varies_by_encoding || part) return;
  quality = accept_encoding_quality(request, "gzip");
  request->reply.gzip = quality > 0 && quality >= accept_encoding_quality(request, "identity");
}

/* As much of a window as so many bytes need. */
static int window_for(uint64_t size) {
  int bits = 9;
  while (bits < MAX_WBITS && size >> bits > 0) bits++;
  return bits;
}

compressor *compress_begin(uint64_t size) {
  compressor *compressor = malloc(sizeof *compressor);
  if (compressor == NULL) return NULL;
  memset(&compressor->z, 0, sizeof compressor->z);
  if (deflateInit2(&compressor->z, LEVEL, Z_DEFLATED, window_for(size) + GZIP_FORM, MEMORY,
                   Z_DEFAULT_STRATEGY)
      == Z_OK)
    return compressor;
  free(compressor);
  return NULL;
}

/* Take all that lies at next_in, and put out what that gives. */
static bool run(compressor *compressor, int flush, compress_put put, void *to) {
  int rc;
  do {
    compressor->z.next_out = compressor->piece;
    compressor->z.avail_out = sizeof compressor->piece;
    rc = deflate(&compressor->z, flush);
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) return false;
    if (compressor->z.avail_out < sizeof compressor->piece
        && !put(to, compressor->piece, sizeof compressor->piece - compressor->z.avail_out))
      return false;
  } while (flush == Z_FINISH ? rc != Z_STREAM_END : compressor->z.avail_out == 0);
  return true;
}

bool compress_some(compressor *compressor, const void *data, size_t size, compress_put put,
                   void *to) {
  const unsigned char *p = data;
  while (size > 0) {
    size_t n = size < 1 << 30 ? size : 1 << 30;
    compressor->z.next_in = (unsigned char *)(uintptr_t)p;
    compressor->z.avail_in = (unsigned)n;
    if (!run(compressor, Z_NO_FLUSH, put, to)) return false;
    p += n;
    size -= n;
  }
  return true;
}

bool compress_end(compressor *compressor, compress_put put, void *to) {
  compressor->z.next_in = compressor->piece;
  compressor->z.avail_in = 0;
  return run(compressor, Z_FINISH, put, to);
}

void compress_free(compressor *compressor) {
  if (compressor == NULL) return;
  deflateEnd(&compressor->z);
  free(compressor);
}
