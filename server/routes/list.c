/*
** list.c - GET /stores/NAME/keys: a page of keys, and where the next one begins; with ?key= the
** named ones (many.c).
**
** Keys come in the order they were last put; frozen ones first, in no order.  A cursor is a place
** in the log of one generation of one store, so it costs the server nothing to keep: a key that is
** put again while somebody pages moves behind the cursor and is seen (again) there; a key that
** stays is never missed.  After the file was rewritten, or the store deleted and made anew, the
** place means nothing: 410.
**
** A page costs bounded work: with a prefix that few keys have it may be short, or empty, and say
** nevertheless where the next one begins.  Only `next` null is the end.
*/
#include <stdlib.h>
#include <string.h>
#include "base/emit.h"
#include "entry/base64.h"
#include "routes/answer.h"
#include "routes/handlers.h"

enum {
  LIMIT_STANDARD = 100,
  LIMIT_MAX = 1000,
  TOKEN_SIZE = 24,
  PAGE_BYTES = 4 * 1024 * 1024,
  PAGE_ENTRIES = 20000, /* looked at */
  VALUE_MAX = 1024 * 1024
};
typedef struct token {
  uint64_t generation, place;
  uint8_t store[8];
} token;
_Static_assert(sizeof(token) == TOKEN_SIZE, "a token is what base64 carries");

static bool read_limit(request *r, uint64_t *limit) {
  char digits[8] = "";
  maph_slice value;
  *limit = LIMIT_STANDARD;
  if (!request_query(r, "limit", &value)) return true;
  if (value.size > 0 && value.size < sizeof digits) memcpy(digits, value.data, value.size);
  *limit = strspn(digits, "0123456789") == value.size ? strtoull(digits, NULL, 10) : 0;
  if (*limit >= 1 && *limit <= LIMIT_MAX) return true;
  reply_problem(r, 400, "bad_limit", "limit is from 1 to %d", LIMIT_MAX);
  return false;
}

/* Go to where `after` says.  False: answered. */
static bool resume(request *r, maph_cursor *c, const maph_stats *stats) {
  maph_slice text;
  char bytes[TOKEN_SIZE + 8];
  token t;
  int rc;
  if (!request_query(r, "after", &text) || text.size == 0) return true;
  if (text.size != TOKEN_SIZE / 3 * 4 || base64_decode(text.data, text.size, bytes) != TOKEN_SIZE) {
    reply_problem(r, 400, "bad_cursor", "after is the `next` of an earlier page");
    return false;
  }
  memcpy(&t, bytes, sizeof t);
  if (t.generation != stats->generation || memcmp(t.store, stats->uuid, sizeof t.store) != 0) {
    reply_problem(r, 410, "cursor_gone",
                  "the store was rewritten since that page: begin again without after");
    return false;
  }
  if ((rc = maph_cursor_seek(c, t.place)) == MAPH_OK) return true;
  if (rc == MAPH_MISUSE)
    reply_problem(r, 400, "bad_cursor", "after is the `next` of an earlier page");
  else
    reply_store(r, rc);
  return false;
}

/* What is asked for. */
typedef struct page {
  maph_slice prefix;
  uint64_t limit;
  bool values;
} page;

static bool begins_with(maph_slice key, maph_slice prefix) {
  return key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

/* Entries into the page until it is full, or has cost enough; *more: there may be further ones. */
static int fill_page(request *r, maph_cursor *c, const page *p, bool *more) {
  buffer *b = r->body;
  maph_entry e;
  uint64_t n = 0;
  int rc = MAPH_OK;
  *more = true;
  for (int seen = 0; seen < PAGE_ENTRIES && n < p->limit && b->size < PAGE_BYTES; seen++) {
    rc = maph_cursor_next(c, &e);
    if (rc == MAPH_NOTFOUND) {
      *more = false;
      return MAPH_OK;
    }
    if (rc != MAPH_OK) return rc;
    if (!begins_with(e.key, p->prefix)) continue;
    buffer_text(b, n++ ? ",\n{" : "\n{");
    emit_entry(b, &e, p->values && e.value.size <= VALUE_MAX);
    buffer_text(b, p->values && e.value.size > VALUE_MAX ? ",\"value_omitted\":true}" : "}");
  }
  return rc;
}

/* What the client asked for, again, but for its `after`, as a URL; quotes and angles would end
** it. */
static void put_target(buffer *out, const request *r) {
  const char *query = r->query_text ? r->query_text : "", *separator = "?";
  buffer_text(out, r->path);
  while (*query) {
    size_t size = strcspn(query, "&");
    bool after = size >= 5 && strncmp(query, "after", 5) == 0 && (size == 5 || query[5] == '=');
    if (size > 0 && !after) {
      buffer_text(out, separator);
      separator = "&";
      for (size_t i = 0; i < size; i++)
        if (strchr("<>\"", query[i]))
          buffer_printf(out, "%%%02X", (unsigned char)query[i]);
        else
          buffer_append(out, query + i, 1);
    }
    query += size + (query[size] == '&');
  }
  buffer_text(out, separator);
}

/* Answer the page; where there is a next one, `next` and a Link header lead to it. */
static void end_page(request *r, maph_cursor *c, const maph_stats *stats, bool more) {
  buffer *b = r->body, *next = r->scratch;
  token t = { .generation = stats->generation };
  next->size = 0;
  if (more) {
    t.place = maph_cursor_tell(c);
    memcpy(t.store, stats->uuid, sizeof t.store);
    emit_base64url(next, &t, sizeof t);
    buffer_text(b, "\n],\"next\":\"");
    buffer_append(b, next->data, next->size);
    buffer_text(b, "\"}\n");
  } else {
    buffer_text(b, "\n],\"next\":null}\n");
  }
  reply_start(r, 200);
  if (more && !next->failed) {
    buffer_text(r->head, "Link: <");
    put_target(r->head, r);
    buffer_text(r->head, "after=");
    buffer_append(r->head, next->data, next->size);
    buffer_text(r->head, ">; rel=\"next\"\r\n");
  }
  reply_json(r, 200, b);
}

/* A cursor and the generation that it reads: after a rewrite between the two its places would be
** taken for those of the new file. */
static int open_cursor(store *s, maph_cursor **c, maph_stats *stats) {
  static const maph_slice all = { "", 0 };
  uint64_t before;
  int rc = maph_stat(s->m, stats);
  do {
    before = stats->generation;
    if (rc != MAPH_OK || (rc = maph_cursor_open(s->m, NULL, all, c)) != MAPH_OK) return rc;
    rc = maph_stat(s->m, stats);
    if (rc == MAPH_OK && stats->generation == before) return MAPH_OK;
    maph_cursor_close(*c);
  } while (rc == MAPH_OK);
  return rc;
}

void keys_list(request *r) {
  maph_cursor *c = NULL;
  maph_slice key;
  maph_stats stats;
  page p;
  bool more;
  int rc;
  if (request_query(r, "key", &key)) {
    keys_get(r);
    return;
  }
  if (!read_limit(r, &p.limit)) return;
  request_query(r, "prefix", &p.prefix);
  p.values = false;
  if (!query_flag(r, "values", &p.values)) return;
  rc = open_cursor(r->store, &c, &stats);
  if (rc != MAPH_OK) {
    reply_store(r, rc);
    return;
  }
  if (resume(r, c, &stats)) {
    r->body->size = 0;
    buffer_text(r->body, "{\"keys\":[");
    rc = fill_page(r, c, &p, &more);
    if (rc != MAPH_OK)
      reply_store(r, rc);
    else
      end_page(r, c, &stats, more);
  }
  maph_cursor_close(c);
}
