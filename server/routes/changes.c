/*
** changes.c - what happens in a store, told while it happens.
**
**     GET /stores/NAME/changes?since=V             server-sent events, until the client goes
**     GET /stores/NAME/changes?since=V&wait=30  long poll: one JSON answer, as soon as there is
**       something to tell
**     GET /stores/NAME/changes/ws?since=V          WebSocket messages
**
** A change is {"op":"put"|"delete","key":...,"version":V,...}, with its value when values=1.  The
** last one of a transaction has "last":true and, as an event, `id: V`: whoever comes back with that
** (Last-Event-ID does it for an EventSource, and beats `since`) has missed nothing and never half a
** transaction.  Without `since` a feed begins now.  A version whose past was compacted away, or
** that the store never had, is 410: read the store anew and go on from its version.
**
** {"op":"reached","version":V}, as an event only its id, says that all up to V has been told: at
** the beginning, and when all changes of a transaction were kept back by `prefix`.  A feed that
** must end says {"op":"problem",...} first.
**
** A watcher holds a worker of its own kind (http.c) and sleeps until its store changes or is opened
** anew, tokens do (store/follow.c rings), its client sends or goes, a heartbeat is due, or the
** server drains: one with nothing to tell costs no time.  Each time it wakes it looks at all of
** these.  A slow client delays nobody: the feed reads the log when there is room to write.
*/
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "access/auth.h"
#include "access/guard.h"
#include "base/clock.h"
#include "base/emit.h"
#include "base/options.h"
#include "base/sentence.h"
#include "http/http.h"
#include "http/websocket.h"
#include "routes/answer.h"
#include "routes/handlers.h"
#include "routes/handling.h"
#include "store/folder.h"
#include "store/follow.h"

enum {
  FLUSH_AT = 128 * 1024,
  VALUE_MAX = 1024 * 1024,
  LIMIT_STANDARD = 1000,
  LIMIT_MAX = 100000,
  WAIT_MAX_S = 300,
  RETRY_MS = 2000,
  LOOK_EACH = 4096,
  SCAN_MAX = 1000000
};
#define VERSION_MAX (((uint64_t)1 << 48) - 1)

typedef struct feed {
  request *request;
  maph_changes *changes;
  maph_slice prefix, key;
  bool one_key;        /* only changes of `key` are wanted */
  bool values, framed; /* framed: WebSocket */
  uint8_t uuid[16];    /* of the store: one of the same name made later is another */
  bool deleted;        /* it was, while this followed it */
  bool another;        /* has the name now */
  uint64_t told;       /* the version that the client can come back with */
  uint64_t written_us;
  follower follower;
  websocket socket;
} feed;

/* ------------------------------------------------------------------------------------ questions */
/* A whole number up to most.  1: given; 0: not given, *number stays; -1: answered 400. */
static int read_number(request *request, const char *name, maph_slice text, uint64_t most,
                       uint64_t *number) {
  char digits[20] = "";
  const char *p = text.data;
  size_t n = 0;
  while (n < text.size && n < sizeof digits - 1 && p[n] >= '0' && p[n] <= '9') {
    digits[n] = p[n];
    n++;
  }
  if (n == 0 || n < text.size || strtoull(digits, NULL, 10) > most) {
    reply_problem(request, 400, "bad_number", "%s is a whole number up to %llu", name,
                  (unsigned long long)most);
    return -1;
  }
  *number = strtoull(digits, NULL, 10);
  return 1;
}

static int query_number(request *request, const char *name, uint64_t most, uint64_t *number) {
  maph_slice text;
  return request_query(request, name, &text) ? read_number(request, name, text, most, number) : 0;
}

/* Where to begin.  False: answered. */
static bool read_since(request *request, const maph_stats *stats, uint64_t *since) {
  const char *last = request_header(request, "Last-Event-ID");
  *since = stats->version;
  if (last && *last)
    return read_number(request, "Last-Event-ID", maph_str(last), VERSION_MAX, since) > 0;
  return query_number(request, "since", VERSION_MAX, since) >= 0;
}

static void reply_ahead(request *request, uint64_t since, uint64_t version) {
  reply_problem(request, 410, maph_code(MAPH_COMPACTED),
                "the store is at version %llu and has no version %llu yet: it was made anew or "
                "restored since; "
                "read all of it, then follow from its version",
                (unsigned long long)version, (unsigned long long)since);
}

/* A feed for the request, which holds a watcher's place.  False: answered, and there is none. */
static bool feed_open(feed *feed, request *request) {
  maph_stats stats;
  int rc;
  memset(feed, 0, sizeof *feed);
  feed->request = request;
  request_query(request, "prefix", &feed->prefix);
  feed->one_key = request_query(request, "key", &feed->key);
  if (!query_flag(request, "values", &feed->values)) return false;
  if ((rc = maph_stat(store_of(request)->m, &stats)) != MAPH_OK) {
    reply_store(request, rc);
    return false;
  }
  memcpy(feed->uuid, stats.uuid, sizeof feed->uuid);
  if (!read_since(request, &stats, &feed->told)) return false;
  if (!http_watch_begin(request)) {
    reply_problem(request, 503, "too_many_watchers",
                  "all %llu places of those who wait for changes are taken",
                  (unsigned long long)option.watchers);
    return false;
  }
  rc = maph_changes_open(store_of(request)->m, feed->told, &feed->changes);
  if (rc == MAPH_OK) {
    follower_make(&feed->follower);
    return true;
  }
  http_watch_end(request);
  if (rc == MAPH_COMPACTED && feed->told > stats.version)
    reply_ahead(request, feed->told, stats.version);
  else
    reply_store(request, rc);
  return false;
}

static void feed_close(feed *feed) {
  follower_free(&feed->follower);
  maph_changes_close(feed->changes);
  http_watch_end(feed->request);
}

/* -------------------------------------------------------------------------------------- answers */
static void change_json(buffer *buffer, const maph_change *change, bool values) {
  bool omitted = values && !change->deleted && change->entry.value.size > VALUE_MAX;
  buffer_text(buffer, "{");
  emit_change(buffer, change, values && !omitted);
  if (omitted) buffer_text(buffer, ",\"value_omitted\":true");
  buffer_text(buffer, change->last ? ",\"last\":true}" : "}");
}

static bool wanted(const feed *feed, const maph_change *change) {
  maph_slice key = change->entry.key;
  if (feed->one_key
      && (key.size != feed->key.size || memcmp(key.data, feed->key.data, key.size) != 0))
    return false;
  return key.size >= feed->prefix.size
         && memcmp(key.data, feed->prefix.data, feed->prefix.size) == 0;
}

/* Add one change to what is to be sent. */
static void tell(feed *feed, const maph_change *change) {
  buffer *buffer = feed->request->reply.body;
  if (!wanted(feed, change)) return;
  if (feed->framed) {
    feed->request->upload.scratch->size = 0;
    change_json(feed->request->upload.scratch, change, feed->values);
    if (feed->request->upload.scratch->failed)
      buffer->failed = true;
    else
      websocket_text(buffer, feed->request->upload.scratch->data,
                     feed->request->upload.scratch->size);
  } else {
    if (change->last)
      buffer_printf(buffer, "id: %llu\n", (unsigned long long)change->entry.version);
    buffer_text(buffer, "data: ");
    change_json(buffer, change, feed->values);
    buffer_text(buffer, "\n\n");
  }
  if (change->last) feed->told = change->entry.version;
}

static void tell_reached(feed *feed) {
  char text[64];
  buffer *buffer = feed->request->reply.body;
  int n = snprintf(text, sizeof text, "{\"op\":\"reached\",\"version\":%llu}",
                   (unsigned long long)feed->told);
  if (feed->framed)
    websocket_text(buffer, text, (size_t)n);
  else
    buffer_printf(buffer, "id: %llu\n\n", (unsigned long long)feed->told);
}

/* Send what there is.  False: the client is gone, or memory is. */
static bool flush(feed *feed) {
  request *request = feed->request;
  if (request->reply.body->failed) request->reply.broken = true;
  if (request->reply.broken) return false;
  if (request->reply.body->size == 0) return true;
  if (feed->framed)
    http_write(request, request->reply.body->data, request->reply.body->size);
  else
    reply_stream_write(request, request->reply.body->data, request->reply.body->size);
  request->reply.body->size = 0;
  feed->written_us = now_us();
  return !request->reply.broken;
}

/* The feed ends before its client wanted. */
static void end_with(feed *feed, int status, const char *code, const char *detail) {
  char sentence[SENTENCE_ROOM];
  buffer *buffer = feed->framed ? feed->request->upload.scratch : feed->request->reply.body;
  sentence_public(sentence, sizeof sentence, detail);
  buffer->size = 0;
  if (!feed->framed) buffer_text(buffer, "event: problem\ndata: ");
  buffer_printf(buffer, "{\"op\":\"problem\",\"status\":%d,\"code\":\"%s\",", status, code);
  emit_bytes(buffer, "detail", "detail_encoding", maph_str(sentence));
  buffer_text(buffer, feed->framed ? "}" : "}\n\n");
  if (feed->framed) {
    feed->request->reply.body->size = 0;
    websocket_text(feed->request->reply.body, buffer->data, buffer->size);
  }
  if (flush(feed) && feed->framed) websocket_close(feed->request, WEBSOCKET_FAILED);
}

/* Why there was nothing to go on with. */
static const char deleted_sentence[] = "the store was deleted",
                  another_sentence[] = "another store has the name now: read all of it, then "
                                       "follow from its version";

/* ---------------------------------------------------------------------------------------- feeds */
static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* The store's file was rewritten, or it was deleted: go on with the handle that is now in use.
** Called when all is told.  Of another store nobody knows what has changed since. */
static int reopen(feed *feed) {
  request *request = feed->request;
  uint64_t since = maph_changes_version(feed->changes);
  maph_stats stats;
  int rc;
  store *store =
      store_acquire(store_of(request)->name, strlen(store_of(request)->name), false, &rc);
  feed->deleted = rc == MAPH_NOTFOUND;
  if (store == NULL) return rc;
  maph_changes_close(feed->changes);
  feed->changes = NULL;
  follow_end(&feed->follower);
  store_release(store_of(request));
  handling_of(request)->store = store;
  rc = maph_stat(store->m, &stats);
  feed->another = rc == MAPH_OK && memcmp(stats.uuid, feed->uuid, sizeof feed->uuid) != 0;
  if (feed->another) return MAPH_COMPACTED;
  return rc == MAPH_OK ? maph_changes_open(store->m, since, &feed->changes) : rc;
}

/* Nothing that is wanted, for now: say how far it is.  False: the feed is over. */
static bool idle(feed *feed) {
  request *request = feed->request;
  uint64_t reached = maph_changes_version(feed->changes);
  if (feed->told != reached) {
    feed->told = reached;
    tell_reached(feed);
  }
  if (request->reply.body->size == 0 && now_us() - feed->written_us >= option.heartbeat_ms * 1000) {
    if (feed->framed)
      websocket_ping(request->reply.body);
    else
      buffer_text(request->reply.body, ":\n\n");
  }
  return flush(feed);
}

/* Whether to go on: the client listens, the server runs, the token is still good. */
static bool goes_on(feed *feed) {
  request *request = feed->request;
  if (http_draining()) {
    if (feed->framed) websocket_close(request, WEBSOCKET_GOING_AWAY);
    return false;
  }
  if (feed->framed ? !websocket_take(request, &feed->socket) : !http_client_there(request))
    return false;
  if (auth_holds(request, ROLE_READ, store_of(request)->name)) return true;
  end_with(feed, 401, "unauthorized", "the token is no longer good");
  return false;
}

/* Changes, until there is enough to send, or time to look up.  MAPH_NOTFOUND: there are no more. */
static int take_some(feed *feed) {
  maph_change change;
  int rc = MAPH_OK;
  for (int n = 0; rc == MAPH_OK && n < LOOK_EACH && feed->request->reply.body->size < FLUSH_AT;
       n++) {
    rc = maph_changes_next(feed->changes, 0, &change);
    if (rc == MAPH_OK) tell(feed, &change);
  }
  return rc;
}

/* Until there is reason to look again.  Whoever does not follow the store yet looks once more. */
static void sleep_on(feed *feed, uint64_t most_us) {
  if (feed->follower.of) {
    http_sleep(feed->request, feed->follower.bell, feed->framed, most_us);
    follow_quiet(&feed->follower);
  } else if (!follow_begin(&feed->follower, store_of(feed->request))) {
    http_sleep(feed->request, -1, feed->framed, least(most_us, FOLLOW_SLICE_MS * 1000));
  }
}

static uint64_t until_heartbeat(const feed *feed) {
  uint64_t passed = now_us() - feed->written_us, all = option.heartbeat_ms * 1000;
  return passed < all ? all - passed : 0;
}

/* CANTOPEN: the file that was followed has its name no more, which another may have by now; or one
** that was made of it cannot be opened, as where the server may have no more files open.  What has
** the name tells: no store, another one, or a file that is none, or is damaged, which is what each
** other request is told too.  Where that cannot be told, whoever follows is to come again. */
static int look_at_name(feed *feed, int rc) {
  const char *name = store_of(feed->request)->name;
  maph_stats stats;
  store *now;
  int found;
  if (rc != MAPH_CANTOPEN) return rc;
  now = store_acquire(name, strlen(name), false, &found);
  feed->deleted = found == MAPH_NOTFOUND || store_occupant(name, strlen(name)) != NULL;
  feed->another = now && maph_stat(now->m, &stats) == MAPH_OK
                  && memcmp(stats.uuid, feed->uuid, sizeof feed->uuid) != 0;
  store_release(now);
  return found == MAPH_FORMAT || found == MAPH_CORRUPT ? found : rc;
}

static void watch(feed *feed) {
  int rc = MAPH_OK;
  tell_reached(feed);
  while (flush(feed) && goes_on(feed)) {
    rc = take_some(feed);
    if ((rc != MAPH_OK && rc != MAPH_NOTFOUND)
        || (feed->request->reply.body->size == 0 && !idle(feed)))
      break;
    if (rc != MAPH_NOTFOUND || feed->request->reply.body->size > 0) continue;
    if (!atomic_load(&store_of(feed->request)->retired))
      sleep_on(feed, until_heartbeat(feed));
    else if ((rc = reopen(feed)) != MAPH_OK)
      break;
  }
  rc = look_at_name(feed, rc);
  if ((!feed->deleted && (rc == MAPH_OK || rc == MAPH_NOTFOUND)) || feed->request->reply.broken)
    return;
  if (feed->deleted && folder_trouble(false))
    end_with(feed, 503, "folder_unusable", "the folder of stores cannot be read");
  else if (feed->deleted)
    end_with(feed, 404, "store_not_found", deleted_sentence);
  else if (feed->another)
    end_with(feed, 410, maph_code(MAPH_COMPACTED), another_sentence);
  else
    end_with(feed, maph_status(store_core_code(rc)), maph_code(store_core_code(rc)),
             store_errmsg(rc, store_of(feed->request)->m));
}

/* ------------------------------------------------------------------------------------ long poll */
/* Wait for a change that is wanted.  MAPH_NOTFOUND: the time is over, or the store was deleted. */
static int await(feed *feed, uint64_t wait_ms, maph_change *change) {
  uint64_t end = now_us() + wait_ms * 1000;
  for (int n = 1;; n++) {
    uint64_t now = now_us(), left = now < end ? end - now : 0;
    int rc = maph_changes_next(feed->changes, 0, change);
    if (rc == MAPH_OK && wanted(feed, change)) return rc;
    if (rc != MAPH_OK && (rc != MAPH_NOTFOUND || left == 0)) return rc;
    if (rc == MAPH_NOTFOUND && atomic_load(&store_of(feed->request)->retired)
        && (rc = reopen(feed)) != MAPH_OK)
      return rc;
    if ((rc != MAPH_OK || n % LOOK_EACH == 0)
        && (http_draining() || !http_client_there(feed->request)))
      return MAPH_NOTFOUND;
    if (rc == MAPH_NOTFOUND) sleep_on(feed, left);
  }
}

static void poll_flush(feed *feed, bool *streaming) {
  if (feed->request->reply.body->size < FLUSH_AT) return;
  if (!*streaming) {
    reply_start(feed->request, 200);
    *streaming = reply_stream(feed->request, "application/json");
  }
  flush(feed);
}

/* Whole transactions, up to where there are `limit` changes, or so many were looked at that the
** client should ask again. */
static void poll_once(feed *feed, uint64_t wait_ms, uint64_t limit) {
  request *request = feed->request;
  maph_change change;
  bool streaming = false;
  uint64_t n = 0, seen = 0;
  int rc = await(feed, wait_ms, &change);
  request->reply.body->size = 0;
  buffer_text(request->reply.body, "{\"changes\":[");
  while (rc == MAPH_OK && !request->reply.broken) {
    if (streaming && request->method == METHOD_HEAD) return; /* the head is all of it */
    if (wanted(feed, &change)) {
      buffer_text(request->reply.body, n++ ? ",\n" : "\n");
      change_json(request->reply.body, &change, feed->values);
      poll_flush(feed, &streaming);
    }
    if (change.last && (n >= limit || ++seen >= SCAN_MAX)) break;
    rc = maph_changes_next(feed->changes, 0, &change);
  }
  rc = look_at_name(feed, rc);
  if ((rc != MAPH_OK && rc != MAPH_NOTFOUND) || feed->deleted) {
    if (streaming)
      request->reply.broken = true;
    else if (feed->deleted)
      reply_no_store(request, deleted_sentence);
    else if (feed->another)
      reply_problem(request, 410, maph_code(MAPH_COMPACTED), "%s", another_sentence);
    else
      reply_store(request, rc);
    return;
  }
  buffer_printf(request->reply.body, "\n],\"version\":%llu}\n",
                (unsigned long long)maph_changes_version(feed->changes));
  if (!streaming)
    reply_json(request, 200, request->reply.body);
  else if (flush(feed))
    reply_stream_end(request);
}

/* ------------------------------------------------------------------------------------- handlers */
void changes_show(request *request) {
  uint64_t wait_s = 0, limit = LIMIT_STANDARD;
  int polls = query_number(request, "wait", WAIT_MAX_S, &wait_s);
  feed feed;
  if (polls < 0 || query_number(request, "limit", LIMIT_MAX, &limit) < 0
      || !feed_open(&feed, request))
    return;
  request->reply.body->size = 0;
  if (polls) {
    poll_once(&feed, request->method == METHOD_HEAD ? 0 : wait_s * 1000, limit);
  } else {
    request->reply.close = true;
    reply_start(request, 200);
    reply_header(request, "X-Accel-Buffering", "no"); /* nginx would keep events back */
    if (reply_stream(request, "text/event-stream") && request->method != METHOD_HEAD) {
      buffer_printf(request->reply.body, "retry: %d\n", RETRY_MS);
      watch(&feed);
      reply_stream_end(request);
    }
  }
  feed_close(&feed);
}

/* Browsers open WebSockets across sites without asking: a foreign Origin is refused as it is for
** writes. */
void changes_socket(request *request) {
  feed feed;
  if (!feed_open(&feed, request)) return;
  feed.framed = true;
  request->reply.body->size = 0;
  if (guard_foreign(request)) {
    reply_problem(request, 403, "foreign_origin",
                  "a page of another site may not listen here; --origin URL allows one");
  } else if (websocket_accept(request)) {
    watch(&feed);
  }
  feed_close(&feed);
}
