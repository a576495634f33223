/*
** keys.c - GET, HEAD, PUT and DELETE of one key.
**
**     PUT /stores/NAME/keys/KEY        the body is the value, its Content-Type is kept
**     GET /stores/NAME/keys/KEY        the same bytes; ETag is the version that C and SQL show too
**     GET /stores/NAME/keys/KEY?entry=1    the entry: key, value, version and type as JSON
**
** What was put is what comes back, whatever Accept says: most clients send application/json with
** every request.  The entry is a representation of its own with a tag of its own, "17-entry", and
** comes where Accept names its type, application/vnd.maph.entry+json, and likes it no less than the
** value's.  Compressed they are "17-gzip" and "17-entry-gzip"; as the condition of a write each of
** the four stands for the version.
**
** A value goes to the client from where it lies in the mapped file.  Stored values never run as
** script in a browser: it may not load them as one (guard.c), nosniff, and a sandbox policy for
** whatever type they claim.
*/
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "access/guard.h"
#include "base/clock.h"
#include "base/emit.h"
#include "entry/utf8.h"
#include "base/options.h"
#include "base/room.h"
#include "http/accept.h"
#include "http/body.h"
#include "routes/answer.h"
#include "routes/bucket.h"
#include "routes/handlers.h"
#include "routes/handling.h"
#include "routes/keys.h"
#include "store/bucket.h"

enum { MEDIA_TYPE_MAX = 255, QUICK_MOST = 64000, ROOM_COMES_MS = 1000 };
static const char entry_type[] = "application/vnd.maph.entry+json";
/* Whose tags count: those of the value, those of the entry, both also compressed. */
enum { VALUE_TAGS = 1, ENTRY_TAGS = 2, GZIP = 4, ALL_TAGS = 15 };
#define TTL_MAX 100000000000u

/* --------------------------------------------------------------------------- the headers' lists */
static const char *skip_spaces(const char *p) { return p + strspn(p, " \t"); }

static bool cut_ending(const char *text, size_t *size, const char *ending) {
  size_t n = strlen(ending);
  if (*size <= n || memcmp(text + *size - n, ending, n) != 0) return false;
  *size -= n;
  return true;
}

/* The version in a tag of one of these kinds; 0: it is none. */
static uint64_t version_in_tag(const char *text, size_t size, int kinds) {
  int shift = cut_ending(text, &size, "-gzip") ? 2 : 0,
      kind = cut_ending(text, &size, "-entry") ? ENTRY_TAGS : VALUE_TAGS;
  if (size == 0 || size > 18 || strspn(text, "0123456789") != size) return 0;
  return kinds & kind << shift ? strtoull(text, NULL, 10) : 0;
}

/* One entity tag at *at: its version into the list, when it can be one of ours.  False:
** malformed. */
static bool parse_tag(const char **at, tag_list *tags, bool weak_counts, int kinds) {
  const char *p = *at, *digits, *end;
  uint64_t version;
  bool weak = strncmp(p, "W/", 2) == 0, quoted;
  if (weak) p += 2;
  quoted = *p == '"';
  digits = p + quoted;
  end = digits + (quoted ? strcspn(digits, "\"") : strspn(digits, "0123456789"));
  if ((quoted && *end != '"') || (!quoted && (end == digits || weak))) return false;
  version = version_in_tag(digits, (size_t)(end - digits), kinds);
  if (version && (!weak || weak_counts)) {
    if (tags->count == TAG_MAX) return false;
    tags->versions[tags->count++] = version;
  }
  *at = end + quoted;
  return true;
}

/* One line of If-Match or If-None-Match.  False: malformed. */
static bool parse_tags(const char *p, bool weak_counts, int kinds, tag_list *tags) {
  bool first = !tags->present;
  p = skip_spaces(p);
  tags->present = true;
  if (*p == '*' && *skip_spaces(p + 1) == 0) return tags->any = first;
  while (!tags->any && parse_tag(&p, tags, weak_counts, kinds)) {
    p = skip_spaces(p);
    if (*p == 0) return true;
    if (*p++ != ',') break;
    p = skip_spaces(p);
  }
  return false;
}

/* If-Match or If-None-Match, whose lines are one list; * stands alone.  False: answered 400. */
static bool read_tags(request *request, const char *name, int kinds, tag_list *tags) {
  bool weak_counts;
  tags->present = tags->any = false;
  tags->count = 0;
  if (request_header(request, name) == NULL) return true;
  weak_counts = strcmp(name, "If-None-Match") == 0;
  for (int i = 0; i < request->header_count; i++) {
    if (strcasecmp(request->headers[i].name, name) != 0
        || parse_tags(request->headers[i].value, weak_counts, kinds, tags))
      continue;
    reply_problem(request, 400, "bad_precondition",
                  "%s is * or at most %d entity tags such as \"17\"", name, TAG_MAX);
    return false;
  }
  return true;
}

/* bytes=A-B, bytes=A- or bytes=-N of size bytes.  1: [*first, *last]; 0: ignore the header; -1:
** nothing of it exists. */
static int parse_range(const char *text, uint64_t size, uint64_t *first, uint64_t *last) {
  char *end;
  if (text == NULL || strncmp(text, "bytes=", 6) != 0
      || strspn(text + 6, "0123456789-") != strlen(text + 6))
    return 0;
  text += 6;
  if (strlen(text) > 38 || strchr(text, '-') == NULL || strchr(text, '-') != strrchr(text, '-'))
    return 0;
  if (*text == '-') {
    uint64_t n = strtoull(text + 1, &end, 10);
    if (text[1] == 0) return 0;
    if (n == 0 || size == 0) return -1;
    *first = n < size ? size - n : 0;
    *last = size - 1;
    return 1;
  }
  *first = strtoull(text, &end, 10);
  *last = end[1] ? strtoull(end + 1, NULL, 10) : UINT64_MAX;
  if (*last < *first) return 0;
  if (*first >= size) return -1;
  if (*last >= size) *last = size - 1;
  return 1;
}

bool query_expiry(request *request, uint64_t *expires) {
  char digits[16];
  maph_slice value;
  uint64_t ttl = 0;
  *expires = 0;
  if (!request_query(request, "ttl", &value)) return true;
  if (value.size < sizeof digits) {
    memcpy(digits, value.data, value.size);
    digits[value.size] = 0;
    if (strspn(digits, "0123456789") == value.size && value.size > 0)
      ttl = strtoull(digits, NULL, 10);
  }
  if (ttl >= 1 && ttl <= TTL_MAX) {
    *expires = wall_ms() + ttl * 1000;
    return true;
  }
  reply_problem(request, 400, "bad_ttl", "ttl is a whole number of seconds from 1 up");
  return false;
}

/* ---------------------------------------------------------------------------------------- types */
static bool header_safe(maph_slice text) {
  const unsigned char *p = text.data;
  for (size_t i = 0; i < text.size; i++)
    if (p[i] < 0x20 || p[i] > 0x7E) return false;
  return text.size > 0;
}

/* The Content-Type to answer with: what was said at the PUT, else what the value's type implies. */
static void value_content_type(const maph_entry *entry, char *out) {
  if (entry->media_type.size <= MEDIA_TYPE_MAX && header_safe(entry->media_type)) {
    memcpy(out, entry->media_type.data, entry->media_type.size);
    out[entry->media_type.size] = 0;
  } else if (entry->type == MAPH_JSON)
    strcpy(out, "application/json");
  else if (entry->type == MAPH_TEXT || entry->type == MAPH_INTEGER || entry->type == MAPH_REAL)
    strcpy(out, "text/plain; charset=utf-8");
  else
    strcpy(out, "application/octet-stream");
}

/* What the Content-Type says about the bytes.  Nothing, or the form type that curl -d sends
** unasked, says nothing: then text is what is valid text.  Text and JSON that are not UTF-8 are
** bytes to SQL, whatever they are called. */
static int type_of_body(const char *media_type, maph_slice value) {
  size_t size = media_type ? strcspn(media_type, "; \t") : 0;
  bool json = (size == 16 && strncasecmp(media_type, "application/json", 16) == 0)
              || (size > 5 && strncasecmp(media_type + size - 5, "+json", 5) == 0);
  bool text = size == 0 || strncasecmp(media_type, "text/", 5) == 0;
  if (!json && !text) return MAPH_BLOB;
  if (!utf8_is_text(value)) return MAPH_BLOB;
  return json ? MAPH_JSON : MAPH_TEXT;
}

static bool read_media_type(request *request, const char **media_type) {
  const char *text = request_header(request, "Content-Type");
  *media_type = NULL;
  if (text == NULL || *text == 0 || strncasecmp(text, "application/x-www-form-urlencoded", 33) == 0)
    return true;
  *media_type = text;
  if (strlen(text) <= MEDIA_TYPE_MAX && header_safe(maph_str(text))) return true;
  reply_problem(request, 400, "bad_content_type",
                "a Content-Type of at most %d printable characters is kept with a value",
                MEDIA_TYPE_MAX);
  return false;
}

static bool key_given(request *request) {
  if (segment_of(request, 1).size > 0) return true;
  reply_problem(request, 400, "empty_key", "a key has at least one byte");
  return false;
}

/* ------------------------------------------------------------------------------------------ GET */
/* ?entry=1 or 0, or what Accept says of the two.  False: answered 400. */
static bool wants_entry(request *request, const maph_entry *e, bool *entry) {
  char type[MEDIA_TYPE_MAX + 1];
  maph_slice asked;
  bool named, value_named;
  int quality = accept_quality(request, entry_type, &named);
  *entry = named && quality > 0;
  if (*entry) {
    value_content_type(e, type);
    *entry = quality >= accept_quality(request, type, &value_named);
  }
  if (!request_query(request, "entry", &asked)) return true;
  *entry = asked.size == 1 && *(const char *)asked.data == '1';
  if (*entry || (asked.size == 1 && *(const char *)asked.data == '0')) return true;
  reply_problem(request, 400, "bad_entry",
                "entry is 1 for key, value, version and type as JSON, or 0");
  return false;
}

/* Begin an answer of one of the two representations. */
static void start_entry(request *request, int status, const maph_entry *e, bool entry) {
  static const char *const endings[2][2] = { { "\"", "-gzip\"" }, { "-entry\"", "-entry-gzip\"" } };
  request->reply.may_be_kept = true;
  reply_start(request, status);
  reply_header_number(request, "ETag", "\"", e->version, endings[entry][request->reply.gzip]);
  if (e->expires) reply_header_number(request, "Maph-Expires-At", "", e->expires, "");
  reply_header(request, "Maph-Type", entry_type_name(e->type));
}

/* An application that asks by the query reads JSON; who names the type gets it. */
static const char *type_of_entry(const request *request) {
  maph_slice asked;
  return request_query(request, "entry", &asked) ? "application/json" : entry_type;
}

static void send_entry(request *request, const maph_entry *entry) {
  buffer *buffer = request->reply.body;
  buffer->size = 0;
  if (entry->value.size > LONG_VALUE) {
    start_entry(request, 200, entry, true);
    if (!reply_stream(request, type_of_entry(request))) return;
    buffer_text(buffer, "{");
    if (!reply_stream_entry(request, entry)) return;
    buffer_text(buffer, "}\n");
    if (reply_stream_body(request, 0)) reply_stream_end(request);
    return;
  }
  buffer_text(buffer, "{");
  emit_entry(buffer, entry, true);
  buffer_text(buffer, "}\n");
  if (buffer->failed) {
    reply_problem(request, 503, "no_memory",
                  "out of memory for the answer; ask for the value alone");
    return;
  }
  start_entry(request, 200, entry, true);
  reply_send(request, type_of_entry(request), buffer->data, buffer->size);
}

static void send_raw(request *request, const maph_entry *entry, const char *type) {
  const char *data = entry->value.data, *if_range = request_header(request, "If-Range");
  uint64_t first = 0, last = 0;
  tag_list same;
  int range = 0;
  if (!guard_destination(request)) return;
  if (if_range) {
    memset(&same, 0, sizeof same);
    if (!parse_tag(&if_range, &same, false, VALUE_TAGS) || !tags_match(&same, true, entry->version))
      if_range = "";
    else
      if_range = NULL;
  }
  if (request->method == METHOD_GET && if_range == NULL)
    range = parse_range(request_header(request, "Range"), entry->value.size, &first, &last);
  if (range < 0) {
    reply_extra(request, "Content-Range: bytes */%llu", (unsigned long long)entry->value.size);
    reply_problem(request, 416, "bad_range", "the value has %llu bytes",
                  (unsigned long long)entry->value.size);
    return;
  }
  start_entry(request, range ? 206 : 200, entry, false);
  if (!request->reply.gzip) reply_header(request, "Accept-Ranges", "bytes");
  reply_header(request, "Content-Security-Policy", "sandbox; default-src 'none'");
  if (range) {
    buffer_printf(request->reply.head, "Content-Range: bytes %llu-%llu/%llu\r\n",
                  (unsigned long long)first, (unsigned long long)last,
                  (unsigned long long)entry->value.size);
    reply_send(request, type, data + first, (size_t)(last - first + 1));
  } else if (request->method == METHOD_HEAD)
    reply_head_only(request, type, entry->value.size);
  else
    reply_send(request, type, data, entry->value.size);
}

/* Is what is going to be answered, of that type, compressed?  A part of a value never is. */
static bool choose_coding(request *request, const maph_entry *e, bool entry, const char *type) {
  bool part = !entry && request->method == METHOD_GET && request_header(request, "Range") != NULL;
  return reply_compressed(request, type, e->value.size, part);
}

static void answer_get(request *request, int rc, const maph_entry *e) {
  tag_list if_match, if_none_match;
  char type[MEDIA_TYPE_MAX + 1];
  bool entry = false, compressed;
  int kind;
  if (rc == MAPH_OK && !wants_entry(request, e, &entry)) return;
  kind = entry ? ENTRY_TAGS : VALUE_TAGS;
  if (rc == MAPH_OK && !entry) value_content_type(e, type);
  compressed =
      rc == MAPH_OK && choose_coding(request, e, entry, entry ? type_of_entry(request) : type);
  if (compressed && request->quick) {
    request->declined = true; /* that takes time */
    return;
  }
  if (!read_tags(request, "If-Match", kind | kind * GZIP, &if_match)
      || !read_tags(request, "If-None-Match", compressed ? kind * GZIP : kind, &if_none_match))
    return;
  if (if_match.present && !tags_match(&if_match, rc == MAPH_OK, e->version))
    reply_problem(request, 412, "precondition_failed", "the key is not at that version");
  else if (rc == MAPH_NOTFOUND)
    reply_problem(request, 404, "key_not_found", "there is no such key in %s",
                  store_of(request)->name);
  else if (if_none_match.present && tags_match(&if_none_match, true, e->version)) {
    start_entry(request, 304, e, entry);
    reply_empty(request, 304);
  } else if (entry)
    send_entry(request, e);
  else
    send_raw(request, e, type);
}

void key_get(request *request) {
  maph_entry entry = { 0 };
  int rc;
  if (!key_given(request)) return;
  request->reply.varies_by_accept = true;
  rc = maph_get_entry_upto(store_of(request)->m, segment_of(request, 1),
                           request->quick ? QUICK_MOST : UINT64_MAX, &entry);
  if (rc == MAPH_TOOBIG) {
    request->declined = true;
    return;
  }
  /* An index page that was lost knows no key. */
  if (rc == MAPH_NOTFOUND && !write_holds(request)) return;
  if (rc == MAPH_OK || rc == MAPH_NOTFOUND)
    answer_get(request, rc, &entry);
  else
    reply_store(request, rc);
}

/* ------------------------------------------------------------------------------- PUT and DELETE */

void write_done(request *request, const maph_outcome *outcome, maph_slice number) {
  buffer *buffer = request->reply.body;
  int status = outcome->existed ? 200 : 201;
  bool forwarded = bucket_takes(store_of(request)->replica);
  bool visible = forwarded && bucket_settle(request, outcome->version);
  if (!write_holds(request)) return;
  buffer->size = 0;
  buffer_text(buffer, outcome->existed ? "{\"success\":true,\"created\":false,\"version\":"
                                       : "{\"success\":true,\"created\":true,\"version\":");
  buffer_number(buffer, outcome->version);
  if (number.size) {
    buffer_text(buffer, ",\"value\":");
    buffer_append(buffer, number.data, number.size);
  }
  if (forwarded) buffer_text(buffer, visible ? ",\"visible\":true" : ",\"visible\":false");
  buffer_text(buffer, "}\n");
  reply_start(request, status);
  reply_header_number(request, "ETag", "\"", outcome->version, "\"");
  reply_json(request, status, buffer);
}

/* Answer a write that did not happen. */
void write_failed(request *request, int rc, const write_request *write,
                  const maph_outcome *outcome) {
  if (rc == MAPH_CONFLICT) {
    const char *why =
        write->if_none_match.any ? "there is such a key already" : "the key is at another version";
    if (outcome->version)
      reply_extra(request, "ETag: \"%llu\"", (unsigned long long)outcome->version);
    else
      why = "there is no such key";
    reply_problem(request, 412, "precondition_failed", "%s", why);
  } else if (rc == MAPH_NOTFOUND)
    reply_problem(request, 404, "key_not_found", "there is no such key in %s",
                  store_of(request)->name);
  else
    reply_store(request, rc);
}

bool read_write(request *request, write_request *write) {
  memset(write, 0, sizeof *write);
  write->key = segment_of(request, 1);
  if (!key_given(request) || !(bucket_takes(store_of(request)->replica) || change_allowed(request))
      || !bucket_read_wait(request) || !query_durability(request, &write->durability))
    return false;
  if (!read_tags(request, "If-Match", ALL_TAGS, &write->if_match)
      || !read_tags(request, "If-None-Match", ALL_TAGS, &write->if_none_match))
    return false;
  if (!option.conditional || write->if_match.present || write->if_none_match.present) return true;
  reply_problem(request, 428, "precondition_required",
                "a write here says what it replaces: If-Match, or If-None-Match: *");
  return false;
}

static bool length_given(request *request) {
  if (request->upload.length != 0 || request_header(request, "Content-Length")) return true;
  request->reply.close = true;
  reply_problem(request, 411, "length_required",
                "a PUT says how long its body is: Content-Length, 0 for an empty one, or chunked");
  return false;
}

/* A part of a value would be kept as the whole of it. */
static bool whole_value_given(request *request) {
  if (request_header(request, "Content-Range") == NULL) return true;
  reply_problem(request, 400, "bad_content_range",
                "a PUT has the whole value, without Content-Range");
  return false;
}

void key_put(request *request) {
  write_request write;
  maph_outcome outcome;
  const char *media_type;
  int rc;
  if (!length_given(request) || !whole_value_given(request) || !read_write(request, &write)
      || !query_expiry(request, &write.entry.expires) || !read_media_type(request, &media_type))
    return;
  if (!body_all(request, option.max_body, &write.value)) return;
  write.entry.type = type_of_body(media_type, write.value);
  if (media_type) write.entry.media_type = maph_str(media_type);
  rc = bucket_takes(store_of(request)->replica) ? bucket_write(request, &write, &outcome)
                                                : commit_one(store_of(request), &write, &outcome);
  if (rc == MAPH_OK)
    write_done(request, &outcome, maph_bytes("", 0));
  else if (rc != BUCKET_ANSWERED)
    write_failed(request, rc, &write, &outcome);
}

/* On a full disk the room of a file that was compacted just now is there when the last request has
** moved on from it, this one too: *until when that is waited for.  Where the store cannot be opened
** again the request has none, and *rc is why. */
static bool room_comes(request *request, uint64_t *until, int *rc) {
  struct timespec pause = { 0, 5000000 };
  store *before = store_of(request);
  int opened;
  if (*until && now_us() >= *until) return false;
  handling_of(request)->store = store_again(before, &opened);
  if (store_of(request) == NULL) *rc = opened;
  if (store_of(request) != before && *until == 0) *until = now_us() + ROOM_COMES_MS * 1000;
  if (store_of(request) == before && *until) nanosleep(&pause, NULL);
  return store_of(request) != NULL && *until > 0;
}

static void delete_from_bucket(request *request, const write_request *write) {
  maph_outcome outcome;
  int rc = bucket_write(request, write, &outcome);
  if (rc == MAPH_OK) {
    bucket_settle(request, outcome.version);
    reply_empty(request, 204);
  } else if (rc != BUCKET_ANSWERED) {
    write_failed(request, rc, write, &outcome);
  }
}

void key_delete(request *request) {
  uint64_t until = 0;
  write_request write;
  maph_outcome outcome;
  int rc;
  if (!read_write(request, &write)) return;
  write.is_delete = true;
  if (bucket_takes(store_of(request)->replica)) {
    delete_from_bucket(request, &write);
    return;
  }
  do rc = commit_one(store_of(request), &write, &outcome);
  while (rc == MAPH_FULL && room_comes(request, &until, &rc));
  if (rc == MAPH_FULL) room_refused_delete();
  if (store_of(request) == NULL && rc == MAPH_NOTFOUND)
    reply_no_store(request, "the store was removed meanwhile");
  else if (store_of(request) == NULL)
    reply_maph(request, rc, NULL);
  else if (rc != MAPH_OK)
    write_failed(request, rc, &write, &outcome);
  else if (write_holds(request))
    reply_empty(request, 204);
}
