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
#include "routes/bucket.h"
#include "routes/handlers.h"
#include "routes/handling.h"
#include "routes/keys.h"
#include "store/bucket.h"

enum { NUMBER_MAX = 20, PATCH_MAX = 1024 * 1024, PATCHED_MAX = 16 * 1024 * 1024 };
/* Beside the core's codes: why a change cannot be made. */
enum { NO_NUMBER = -10, OVERFLOW = -11, NO_JSON = -12, TOO_LARGE = -13 };

/* An entry as it stays but for its value. */
static void keep(write_request *write, const maph_entry *old) {
  uint64_t expires = write->entry.expires;
  if (old == NULL) return;
  write->entry.type = old->type;
  write->entry.key_type = old->key_type;
  write->entry.media_type = old->media_type;
  write->entry.expires = expires ? expires : old->expires;
}

static void update_failed(request *request, int rc, const write_request *write,
                          const maph_outcome *outcome) {
  switch (rc) {
    case NO_NUMBER:
      reply_problem(request, 409, "not_a_number", "the value is no whole number of 64 bits");
      break;
    case OVERFLOW:
      reply_problem(request, 409, "overflow", "the sum is no whole number of 64 bits");
      break;
    case NO_JSON:
      reply_problem(request, 409, "not_json",
                    "the value is no JSON: it can be put, and not be patched");
      break;
    case TOO_LARGE:
      reply_problem(request, 413, "too_big", "values of at most %d bytes are patched", PATCHED_MAX);
      break;
    case BUCKET_ANSWERED: break;
    default: write_failed(request, rc, write, outcome);
  }
}

static int update(request *request, write_request *write, commit_change change, void *arg,
                  maph_outcome *outcome) {
  if (bucket_takes(store_of(request)->replica))
    return bucket_update(request, write, change, arg, outcome);
  return commit_update(store_of(request), write, change, arg, outcome);
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

static int count(void *arg, const maph_entry *old, write_request *write) {
  counter *counter = arg;
  int64_t number = 0;
  if (old && !read_integer(old->value, &number)) return NO_NUMBER;
  if (__builtin_add_overflow(number, counter->by, &number)) return OVERFLOW;
  write->entry.type = MAPH_INTEGER;
  keep(write, old);
  write->value = maph_bytes(counter->text, (size_t)snprintf(counter->text, sizeof counter->text,
                                                            "%lld", (long long)number));
  return MAPH_OK;
}

void key_increment(request *request) {
  counter counter = { .by = 1 };
  maph_outcome outcome;
  write_request write;
  maph_slice by;
  int rc;
  if (!read_write(request, &write) || !query_expiry(request, &write.entry.expires)) return;
  if (request_query(request, "by", &by) && !read_integer(by, &counter.by)) {
    reply_problem(request, 400, "bad_by", "by is a whole number of 64 bits, such as 5 or -1");
    return;
  }
  rc = update(request, &write, count, &counter, &outcome);
  if (rc == MAPH_OK)
    write_done(request, &outcome, write.value);
  else
    update_failed(request, rc, &write, &outcome);
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

static int patch(void *arg, const maph_entry *old, write_request *write) {
  merge *merge = arg;
  maph_slice target = { "", 0 };
  json_reader in;
  merge->out.size = 0;
  if (old && old->value.size > PATCHED_MAX) return TOO_LARGE;
  if (old && !json_whole(old->value, &in)) return NO_JSON;
  if (old) target = old->value;
  if (!json_merge(target, merge->patch, add_to_buffer, &merge->out)) return MAPH_NOMEM;
  keep(write, old);
  write->entry.type = MAPH_JSON;
  write->value = maph_bytes(merge->out.data, merge->out.size);
  return MAPH_OK;
}

static bool is_patch(request *request) {
  const char *type = request_header(request, "Content-Type");
  size_t size = type ? strcspn(type, "; \t") : 0;
  if (size == 28 && strncasecmp(type, "application/merge-patch+json", 28) == 0) return true;
  if (size == 16 && strncasecmp(type, "application/json", 16) == 0) return true;
  reply_extra(request, "Accept-Patch: application/merge-patch+json");
  reply_problem(request, 415, "bad_media_type",
                "a patch is application/merge-patch+json (RFC 7396)");
  return false;
}

void key_patch(request *request) {
  merge merge = { { "", 0 }, { 0 } };
  char sentence[JSON_SENTENCE_ROOM];
  maph_outcome outcome;
  write_request write;
  maph_slice body;
  json_reader in;
  int rc;
  if (!read_write(request, &write) || !query_expiry(request, &write.entry.expires)
      || !is_patch(request)
      || !body_all(request, option.max_body < PATCH_MAX ? option.max_body : PATCH_MAX, &body))
    return;
  if (!json_whole(body, &in)) {
    json_sentence(&in, sentence);
    reply_problem(request, 400, "bad_json", "%s", sentence);
  } else {
    merge.patch = body;
    rc = update(request, &write, patch, &merge, &outcome);
    if (rc == MAPH_OK)
      write_done(request, &outcome, maph_bytes("", 0));
    else
      update_failed(request, rc, &write, &outcome);
  }
  buffer_free(&merge.out);
}
