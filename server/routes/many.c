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
#include "routes/handling.h"

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
static bool read_query(request *request, asked *asked) {
  asked->values = true;
  for (int i = 0; i < request->query_count; i++) {
    maph_slice name = request->query[i].name, value = request->query[i].value;
    if (is(name, "values")) continue;
    if (!is(name, "key")) {
      reply_problem(request, 400, "bad_query",
                    "keys that are named are answered all at once: with them goes values alone");
      return false;
    } else if (value.size == 0) {
      reply_problem(request, 400, "empty_key", "a key has at least one byte");
      return false;
    } else {
      asked->keys[asked->count++] = value;
    }
  }
  return query_flag(request, "values", &asked->values);
}

static void add_missing(buffer *buffer, maph_slice key) {
  buffer_text(buffer, "{");
  emit_bytes(buffer, "key", "key_encoding", key);
  buffer_text(buffer, ",\"missing\":true}");
}

/* All of it into the body, which is sent on the way when it streams. */
static void add_entries(request *request, const asked *asked, bool streams) {
  buffer *buffer = request->reply.body;
  for (size_t i = 0; i < asked->count && !request->reply.broken; i++) {
    const maph_entry *entry = &asked->entries[i];
    buffer_text(buffer, i ? ",\n" : "\n");
    if (entry->key.data == NULL) {
      add_missing(buffer, asked->keys[i]);
      continue;
    }
    buffer_text(buffer, "{");
    if (!streams)
      emit_entry(buffer, entry, asked->values);
    else if (!reply_stream_entry(request, entry))
      return;
    buffer_text(buffer, "}");
  }
}

static void answer(request *request, const asked *asked, uint64_t version) {
  uint64_t bytes = 0;
  bool streams;
  for (size_t i = 0; i < asked->count && asked->values; i++) bytes += asked->entries[i].value.size;
  streams = bytes > LONG_VALUE;
  request->reply.body->size = 0;
  if (streams) {
    reply_start(request, 200);
    if (!reply_stream(request, "application/json")) return;
  }
  buffer_printf(request->reply.body, "{\"version\":%llu,\"keys\":[", (unsigned long long)version);
  add_entries(request, asked, streams);
  buffer_text(request->reply.body, "\n]}\n");
  if (!streams)
    reply_json(request, 200, request->reply.body);
  else if (reply_stream_body(request, 0))
    reply_stream_end(request);
}

static void get_all(request *request, asked *asked) {
  maph_snapshot *now = NULL;
  bool missing = false;
  int rc = maph_snapshot_open(store_of(request)->m, &now);
  if (rc == MAPH_OK) rc = maph_snapshot_get_entries(now, asked->count, asked->keys, asked->entries);
  if (rc != MAPH_OK) {
    reply_store(request, rc);
  } else {
    for (size_t i = 0; i < asked->count; i++)
      missing = missing || asked->entries[i].key.data == NULL;
    /* An index page that was lost knows no key. */
    if (!missing || write_holds(request)) answer(request, asked, maph_snapshot_version(now));
  }
  maph_snapshot_close(now);
}

void keys_get(request *request) {
  asked *asked = calloc(1, sizeof *asked);
  if (asked == NULL)
    reply_problem(request, 503, "no_memory", "out of memory for the answer");
  else if (read_query(request, asked))
    get_all(request, asked);
  free(asked);
}
