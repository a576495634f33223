/*
** many.c - GET /stores/NAME/keys?key=A&key=B: the entries of those keys, in the order asked, as of
** one commit, whose version is told.
**
** A key that is not there keeps its place: {"key":"B","missing":true}.  Values come whole, however
** long; values=0 leaves them out.  As many keys as a query has parameters fit; a batch takes more.
*/
#include <stdlib.h>
#include <string.h>
#include "base/emit.h"
#include "routes/answer.h"
#include "routes/handlers.h"

typedef struct asked {
  size_t count;
  bool values;
  maph_slice keys[QUERY_MAX];
  maph_entry entries[QUERY_MAX]; /* key.data NULL: missing */
} asked;

static bool is(maph_slice text, const char *word) {
  return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

/* What the query says.  False: answered 400. */
static bool read_query(request *r, asked *a) {
  a->values = true;
  for (int i = 0; i < r->query_count; i++) {
    maph_slice name = r->query[i].name, value = r->query[i].value;
    if (is(name, "values")) continue;
    if (!is(name, "key")) {
      reply_problem(r, 400, "bad_query",
                    "keys that are named are answered all at once: with them goes values alone");
      return false;
    } else if (value.size == 0) {
      reply_problem(r, 400, "empty_key", "a key has at least one byte");
      return false;
    } else {
      a->keys[a->count++] = value;
    }
  }
  return query_flag(r, "values", &a->values);
}

static void add_missing(buffer *b, maph_slice key) {
  buffer_text(b, "{");
  emit_bytes(b, "key", "key_encoding", key);
  buffer_text(b, ",\"missing\":true}");
}

/* All of it into the body, which is sent on the way when it streams. */
static void add_entries(request *r, const asked *a, bool streams) {
  buffer *b = r->body;
  for (size_t i = 0; i < a->count && !r->broken; i++) {
    const maph_entry *e = &a->entries[i];
    buffer_text(b, i ? ",\n" : "\n");
    if (e->key.data == NULL) {
      add_missing(b, a->keys[i]);
      continue;
    }
    buffer_text(b, "{");
    if (!streams)
      emit_entry(b, e, a->values);
    else if (!reply_stream_entry(r, e))
      return;
    buffer_text(b, "}");
  }
}

static void answer(request *r, const asked *a, uint64_t version) {
  uint64_t bytes = 0;
  bool streams;
  for (size_t i = 0; i < a->count && a->values; i++) bytes += a->entries[i].value.size;
  streams = bytes > LONG_VALUE;
  r->body->size = 0;
  if (streams) {
    reply_start(r, 200);
    if (!reply_stream(r, "application/json")) return;
  }
  buffer_printf(r->body, "{\"version\":%llu,\"keys\":[", (unsigned long long)version);
  add_entries(r, a, streams);
  buffer_text(r->body, "\n]}\n");
  if (!streams)
    reply_json(r, 200, r->body);
  else if (reply_stream_body(r, 0))
    reply_stream_end(r);
}

static void get_all(request *r, asked *a) {
  maph_snapshot *now = NULL;
  bool missing = false;
  int rc = maph_snapshot_open(r->store->m, &now);
  if (rc == MAPH_OK) rc = maph_snapshot_get_entries(now, a->count, a->keys, a->entries);
  if (rc != MAPH_OK) {
    reply_store(r, rc);
  } else {
    for (size_t i = 0; i < a->count; i++) missing = missing || a->entries[i].key.data == NULL;
    /* An index page that was lost knows no key. */
    if (!missing || write_holds(r)) answer(r, a, maph_snapshot_version(now));
  }
  maph_snapshot_close(now);
}

void keys_get(request *r) {
  asked *a = calloc(1, sizeof *a);
  if (a == NULL)
    reply_problem(r, 503, "no_memory", "out of memory for the answer");
  else if (read_query(r, a))
    get_all(r, a);
  free(a);
}
