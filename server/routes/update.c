/*
** update.c - writes that depend on what is there, in one request and one transaction.
**
**     POST  /stores/NAME/keys/KEY/increment?by=5     a counter: 0 where there is no such key
**     PATCH /stores/NAME/keys/KEY                    a JSON merge patch (RFC 7396)
**
** Of any number of clients that count or patch at once none is lost, and none has to read first and
** try again.  What is known of the entry, its type, media type and expiry, stays; ?ttl= sets
** the expiry anew.
*/
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/options.h"
#include "entry/json.h"
#include "http/body.h"
#include "routes/handlers.h"
#include "routes/keys.h"

enum { NUMBER_MAX = 20, PATCH_MAX = 1024 * 1024, PATCHED_MAX = 16 * 1024 * 1024 };
/* Beside the core's codes: why a change cannot be made. */
enum { NO_NUMBER = -10, OVERFLOW = -11, NO_JSON = -12, TOO_LARGE = -13 };

/* An entry as it stays but for its value. */
static void keep(write_request *w, const maph_entry *old) {
  uint64_t expires = w->entry.expires;
  if (old == NULL) return;
  w->entry.type = old->type;
  w->entry.key_type = old->key_type;
  w->entry.media_type = old->media_type;
  w->entry.expires = expires ? expires : old->expires;
}

static void update_failed(request *r, int rc, const write_request *w, const maph_outcome *outcome) {
  switch (rc) {
    case NO_NUMBER:
      reply_problem(r, 409, "not_a_number", "the value is no whole number of 64 bits");
      break;
    case OVERFLOW:
      reply_problem(r, 409, "overflow", "the sum is no whole number of 64 bits");
      break;
    case NO_JSON:
      reply_problem(r, 409, "not_json", "the value is no JSON: it can be put, and not be patched");
      break;
    case TOO_LARGE:
      reply_problem(r, 413, "too_big", "values of at most %d bytes are patched", PATCHED_MAX);
      break;
    default: write_failed(r, rc, w, outcome);
  }
}

static void update_done(request *r, const maph_outcome *outcome, maph_slice number) {
  buffer *b = r->body;
  int status = outcome->existed ? 200 : 201;
  if (!write_holds(r)) return;
  b->size = 0;
  buffer_printf(b, "{\"success\":true,\"created\":%s,\"version\":%llu",
                outcome->existed ? "false" : "true", (unsigned long long)outcome->version);
  if (number.size) buffer_printf(b, ",\"value\":%.*s", (int)number.size, (const char *)number.data);
  buffer_text(b, "}\n");
  reply_start(r, status);
  reply_header_number(r, "ETag", "\"", outcome->version, "\"");
  reply_json(r, status, b);
}

/* -------------------------------------------------------------------------------- counters */
typedef struct counter {
  int64_t by;
  char text[NUMBER_MAX + 4];
} counter;

/* A whole number of 64 bits and nothing else. */
static bool read_integer(maph_slice text, int64_t *number) {
  const char *p = text.data;
  bool negative = text.size > 0 && *p == '-';
  uint64_t n, most = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
  if (!json_whole_number(maph_bytes(p + negative, text.size - negative), most, &n)) return false;
  *number = negative ? (int64_t)(0 - n) : (int64_t)n;
  return true;
}

static int count(void *arg, const maph_entry *old, write_request *w) {
  counter *c = arg;
  int64_t number = 0;
  if (old && !read_integer(old->value, &number)) return NO_NUMBER;
  if (__builtin_add_overflow(number, c->by, &number)) return OVERFLOW;
  w->entry.type = MAPH_INTEGER;
  keep(w, old);
  w->value =
      maph_bytes(c->text, (size_t)snprintf(c->text, sizeof c->text, "%lld", (long long)number));
  return MAPH_OK;
}

void key_increment(request *r) {
  counter c = { .by = 1 };
  maph_outcome outcome;
  write_request w;
  maph_slice by;
  int rc;
  if (!read_write(r, &w) || !query_expiry(r, &w.entry.expires)) return;
  if (request_query(r, "by", &by) && !read_integer(by, &c.by)) {
    reply_problem(r, 400, "bad_by", "by is a whole number of 64 bits, such as 5 or -1");
    return;
  }
  rc = commit_update(r->store, &w, count, &c, &outcome);
  if (rc == MAPH_OK)
    update_done(r, &outcome, w.value);
  else
    update_failed(r, rc, &w, &outcome);
}

/* --------------------------------------------------------------------------- merge patches */
typedef struct merge {
  maph_slice patch;
  buffer out;
} merge;

static bool add_to_buffer(void *to, const void *bytes, size_t size) {
  buffer_append(to, bytes, size);
  return !((buffer *)to)->failed;
}

static int patch(void *arg, const maph_entry *old, write_request *w) {
  merge *m = arg;
  maph_slice target = { "", 0 };
  json_reader in;
  if (old && old->value.size > PATCHED_MAX) return TOO_LARGE;
  if (old && !json_whole(old->value, &in)) return NO_JSON;
  if (old) target = old->value;
  if (!json_merge(target, m->patch, add_to_buffer, &m->out)) return MAPH_NOMEM;
  keep(w, old);
  w->entry.type = MAPH_JSON;
  w->value = maph_bytes(m->out.data, m->out.size);
  return MAPH_OK;
}

static bool is_patch(request *r) {
  const char *type = request_header(r, "Content-Type");
  size_t size = type ? strcspn(type, "; \t") : 0;
  if (size == 28 && strncasecmp(type, "application/merge-patch+json", 28) == 0) return true;
  if (size == 16 && strncasecmp(type, "application/json", 16) == 0) return true;
  reply_extra(r, "Accept-Patch: application/merge-patch+json");
  reply_problem(r, 415, "bad_media_type", "a patch is application/merge-patch+json (RFC 7396)");
  return false;
}

void key_patch(request *r) {
  merge m = { { "", 0 }, { 0 } };
  char sentence[JSON_SENTENCE_ROOM];
  maph_outcome outcome;
  write_request w;
  maph_slice body;
  json_reader in;
  int rc;
  if (!read_write(r, &w) || !query_expiry(r, &w.entry.expires) || !is_patch(r)
      || !body_all(r, option.max_body < PATCH_MAX ? option.max_body : PATCH_MAX, &body))
    return;
  if (!json_whole(body, &in)) {
    json_sentence(&in, sentence);
    reply_problem(r, 400, "bad_json", "%s", sentence);
  } else {
    m.patch = body;
    rc = commit_update(r->store, &w, patch, &m, &outcome);
    if (rc == MAPH_OK)
      update_done(r, &outcome, maph_bytes("", 0));
    else
      update_failed(r, rc, &w, &outcome);
  }
  buffer_free(&m.out);
}
