/*
** changes.c - what happens in a store, told while it happens.
**
**     GET /stores/NAME/changes?since=V             server-sent events, until the client goes
**     GET /stores/NAME/changes?since=V&wait=30  long poll: one JSON answer, as soon as there is
**       something to tell
**     GET /stores/NAME/changes/ws?since=V          WebSocket messages
**
** A change is {"op":"put"|"delete","key":...,"version":V,...}, with its value when values=1.  The
** last one of a transaction has "last":true and, as an event, `id: V`: who comes back with that
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
  request *r;
  maph_changes *changes;
  maph_slice prefix, key;
  bool one_key;        /* only changes of `key` are wanted */
  bool values, framed; /* framed: WebSocket */
  uint8_t uuid[16];    /* of the store: one of the same name made later is another */
  uint64_t told;       /* the version that the client can come back with */
  uint64_t written_us;
  follower follower;
  websocket socket;
} feed;

/* ------------------------------------------------------------------------------------ questions */
/* A whole number up to most.  1: given; 0: not given, *number stays; -1: answered 400. */
static int read_number(request *r, const char *name, maph_slice text, uint64_t most,
                       uint64_t *number) {
  char digits[20] = "";
  const char *p = text.data;
  size_t n = 0;
  while (n < text.size && n < sizeof digits - 1 && p[n] >= '0' && p[n] <= '9') {
    digits[n] = p[n];
    n++;
  }
  if (n == 0 || n < text.size || strtoull(digits, NULL, 10) > most) {
    reply_problem(r, 400, "bad_number", "%s is a whole number up to %llu", name,
                  (unsigned long long)most);
    return -1;
  }
  *number = strtoull(digits, NULL, 10);
  return 1;
}

static int query_number(request *r, const char *name, uint64_t most, uint64_t *number) {
  maph_slice text;
  return request_query(r, name, &text) ? read_number(r, name, text, most, number) : 0;
}

/* Where to begin.  False: answered. */
static bool read_since(request *r, const maph_stats *stats, uint64_t *since) {
  const char *last = request_header(r, "Last-Event-ID");
  *since = stats->version;
  if (last && *last) return read_number(r, "Last-Event-ID", maph_str(last), VERSION_MAX, since) > 0;
  return query_number(r, "since", VERSION_MAX, since) >= 0;
}

static void reply_ahead(request *r, uint64_t since, uint64_t version) {
  reply_problem(r, 410, maph_code(MAPH_COMPACTED),
                "the store is at version %llu and has no version %llu yet: it was made anew or "
                "restored since; "
                "read all of it, then follow from its version",
                (unsigned long long)version, (unsigned long long)since);
}

/* A feed for the request, which holds a watcher's place.  False: answered, and there is none. */
static bool feed_open(feed *f, request *r) {
  maph_stats stats;
  int rc;
  memset(f, 0, sizeof *f);
  f->r = r;
  request_query(r, "prefix", &f->prefix);
  f->one_key = request_query(r, "key", &f->key);
  if (!query_flag(r, "values", &f->values)) return false;
  if ((rc = maph_stat(r->store->m, &stats)) != MAPH_OK) {
    reply_store(r, rc);
    return false;
  }
  memcpy(f->uuid, stats.uuid, sizeof f->uuid);
  if (!read_since(r, &stats, &f->told)) return false;
  if (!http_watch_begin(r)) {
    reply_problem(r, 503, "too_many_watchers",
                  "all %llu places of those who wait for changes are taken",
                  (unsigned long long)option.watchers);
    return false;
  }
  rc = maph_changes_open(r->store->m, f->told, &f->changes);
  if (rc == MAPH_OK) {
    follower_make(&f->follower);
    return true;
  }
  http_watch_end(r);
  if (rc == MAPH_COMPACTED && f->told > stats.version)
    reply_ahead(r, f->told, stats.version);
  else
    reply_store(r, rc);
  return false;
}

static void feed_close(feed *f) {
  follower_free(&f->follower);
  maph_changes_close(f->changes);
  http_watch_end(f->r);
}

/* -------------------------------------------------------------------------------------- answers */
static void change_json(buffer *b, const maph_change *change, bool values) {
  bool omitted = values && !change->deleted && change->entry.value.size > VALUE_MAX;
  buffer_text(b, "{");
  emit_change(b, change, values && !omitted);
  if (omitted) buffer_text(b, ",\"value_omitted\":true");
  buffer_text(b, change->last ? ",\"last\":true}" : "}");
}

static bool wanted(const feed *f, const maph_change *change) {
  maph_slice key = change->entry.key;
  if (f->one_key && (key.size != f->key.size || memcmp(key.data, f->key.data, key.size) != 0))
    return false;
  return key.size >= f->prefix.size && memcmp(key.data, f->prefix.data, f->prefix.size) == 0;
}

/* Add one change to what is to be sent. */
static void tell(feed *f, const maph_change *change) {
  buffer *b = f->r->body;
  if (!wanted(f, change)) return;
  if (f->framed) {
    f->r->scratch->size = 0;
    change_json(f->r->scratch, change, f->values);
    if (f->r->scratch->failed)
      b->failed = true;
    else
      websocket_text(b, f->r->scratch->data, f->r->scratch->size);
  } else {
    if (change->last) buffer_printf(b, "id: %llu\n", (unsigned long long)change->entry.version);
    buffer_text(b, "data: ");
    change_json(b, change, f->values);
    buffer_text(b, "\n\n");
  }
  if (change->last) f->told = change->entry.version;
}

static void tell_reached(feed *f) {
  char text[64];
  buffer *b = f->r->body;
  int n = snprintf(text, sizeof text, "{\"op\":\"reached\",\"version\":%llu}",
                   (unsigned long long)f->told);
  if (f->framed)
    websocket_text(b, text, (size_t)n);
  else
    buffer_printf(b, "id: %llu\n\n", (unsigned long long)f->told);
}

/* Send what there is.  False: the client is gone, or memory is. */
static bool flush(feed *f) {
  request *r = f->r;
  if (r->body->failed) r->broken = true;
  if (r->broken) return false;
  if (r->body->size == 0) return true;
  if (f->framed)
    http_write(r, r->body->data, r->body->size);
  else
    reply_stream_write(r, r->body->data, r->body->size);
  r->body->size = 0;
  f->written_us = now_us();
  return !r->broken;
}

/* The feed ends before its client wanted. */
static void end_with(feed *f, int status, const char *code, const char *detail) {
  char sentence[SENTENCE_ROOM];
  buffer *b = f->framed ? f->r->scratch : f->r->body;
  sentence_public(sentence, sizeof sentence, detail);
  b->size = 0;
  if (!f->framed) buffer_text(b, "event: problem\ndata: ");
  buffer_printf(b, "{\"op\":\"problem\",\"status\":%d,\"code\":\"%s\",", status, code);
  emit_bytes(b, "detail", "detail_encoding", maph_str(sentence));
  buffer_text(b, f->framed ? "}" : "}\n\n");
  if (f->framed) {
    f->r->body->size = 0;
    websocket_text(f->r->body, b->data, b->size);
  }
  if (flush(f) && f->framed) websocket_close(f->r, WEBSOCKET_FAILED);
}

/* ---------------------------------------------------------------------------------------- feeds */
static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* The store's file was rewritten, or it was deleted: go on with the handle that is now in use.
** Called when all is told. */
static int reopen(feed *f) {
  request *r = f->r;
  uint64_t since = maph_changes_version(f->changes);
  maph_stats stats;
  int rc;
  store *s = store_acquire(r->store->name, strlen(r->store->name), false, &rc);
  if (s == NULL) return rc == MAPH_NOTFOUND ? MAPH_CANTOPEN : rc;
  maph_changes_close(f->changes);
  f->changes = NULL;
  follow_end(&f->follower);
  store_release(r->store);
  r->store = s;
  rc = maph_stat(s->m, &stats);
  if (rc == MAPH_OK && memcmp(stats.uuid, f->uuid, sizeof f->uuid) != 0) rc = MAPH_CANTOPEN;
  return rc == MAPH_OK ? maph_changes_open(s->m, since, &f->changes) : rc;
}

/* Nothing that is wanted, for now: say how far it is.  False: the feed is over. */
static bool idle(feed *f) {
  request *r = f->r;
  uint64_t reached = maph_changes_version(f->changes);
  if (f->told != reached) {
    f->told = reached;
    tell_reached(f);
  }
  if (r->body->size == 0 && now_us() - f->written_us >= option.heartbeat_ms * 1000) {
    if (f->framed)
      websocket_ping(r->body);
    else
      buffer_text(r->body, ":\n\n");
  }
  return flush(f);
}

/* Whether to go on: the client listens, the server runs, the token is still good. */
static bool goes_on(feed *f) {
  request *r = f->r;
  if (http_draining()) { /* it shut the client's side */
    if (f->framed) websocket_close(r, WEBSOCKET_GOING_AWAY);
    return false;
  }
  if (f->framed ? !websocket_take(r, &f->socket) : !http_client_there(r)) return false;
  if (auth_holds(r, ROLE_READ, r->store->name)) return true;
  end_with(f, 401, "unauthorized", "the token is no longer good");
  return false;
}

/* Changes, until there is enough to send, or time to look up.  MAPH_NOTFOUND: there are no more. */
static int take_some(feed *f) {
  maph_change change;
  int rc = MAPH_OK;
  for (int n = 0; rc == MAPH_OK && n < LOOK_EACH && f->r->body->size < FLUSH_AT; n++) {
    rc = maph_changes_next(f->changes, 0, &change);
    if (rc == MAPH_OK) tell(f, &change);
  }
  return rc;
}

/* Until there is reason to look again.  Who does not follow the store yet looks once more. */
static void sleep_on(feed *f, uint64_t most_us) {
  if (f->follower.of) {
    http_sleep(f->r, f->follower.bell, f->framed, most_us);
    follow_quiet(&f->follower);
  } else if (!follow_begin(&f->follower, f->r->store)) {
    http_sleep(f->r, -1, f->framed, least(most_us, FOLLOW_SLICE_MS * 1000));
  }
}

static uint64_t until_heartbeat(const feed *f) {
  uint64_t passed = now_us() - f->written_us, all = option.heartbeat_ms * 1000;
  return passed < all ? all - passed : 0;
}

static void watch(feed *f) {
  int rc = MAPH_OK;
  tell_reached(f);
  while (flush(f) && goes_on(f)) {
    rc = take_some(f);
    if ((rc != MAPH_OK && rc != MAPH_NOTFOUND) || (f->r->body->size == 0 && !idle(f))) break;
    if (rc != MAPH_NOTFOUND || f->r->body->size > 0) continue;
    if (!atomic_load(&f->r->store->retired))
      sleep_on(f, until_heartbeat(f));
    else if ((rc = reopen(f)) != MAPH_OK)
      break;
  }
  if (rc == MAPH_OK || rc == MAPH_NOTFOUND || f->r->broken) return;
  if (rc == MAPH_CANTOPEN)
    end_with(f, 404, "store_not_found", "the store was deleted");
  else
    end_with(f, maph_status(store_core_code(rc)), maph_code(store_core_code(rc)),
             store_errmsg(rc, f->r->store->m));
}

/* ------------------------------------------------------------------------------------ long poll */
/* Wait for a change that is wanted.  MAPH_NOTFOUND: the time is over. */
static int await(feed *f, uint64_t wait_ms, maph_change *change) {
  uint64_t end = now_us() + wait_ms * 1000;
  for (int n = 1;; n++) {
    uint64_t now = now_us(), left = now < end ? end - now : 0;
    int rc = maph_changes_next(f->changes, 0, change);
    if (rc == MAPH_OK && wanted(f, change)) return rc;
    if (rc != MAPH_OK && (rc != MAPH_NOTFOUND || left == 0)) return rc;
    if (rc == MAPH_NOTFOUND && atomic_load(&f->r->store->retired) && (rc = reopen(f)) != MAPH_OK)
      return rc;
    if ((rc != MAPH_OK || n % LOOK_EACH == 0) && (http_draining() || !http_client_there(f->r)))
      return MAPH_NOTFOUND;
    if (rc == MAPH_NOTFOUND) sleep_on(f, left);
  }
}

static void poll_flush(feed *f, bool *streaming) {
  if (f->r->body->size < FLUSH_AT) return;
  if (!*streaming) {
    reply_start(f->r, 200);
    *streaming = reply_stream(f->r, "application/json");
  }
  flush(f);
}

/* Whole transactions, up to where there are `limit` changes, or so many were looked at that the
** client should ask again. */
static void poll_once(feed *f, uint64_t wait_ms, uint64_t limit) {
  request *r = f->r;
  maph_change change;
  bool streaming = false;
  uint64_t n = 0, seen = 0;
  int rc = await(f, wait_ms, &change);
  r->body->size = 0;
  buffer_text(r->body, "{\"changes\":[");
  while (rc == MAPH_OK && !r->broken) {
    if (wanted(f, &change)) {
      buffer_text(r->body, n++ ? ",\n" : "\n");
      change_json(r->body, &change, f->values);
      poll_flush(f, &streaming);
    }
    if (change.last && (n >= limit || ++seen >= SCAN_MAX)) break;
    rc = maph_changes_next(f->changes, 0, &change);
  }
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) {
    if (streaming)
      r->broken = true;
    else
      reply_store(r, rc);
    return;
  }
  buffer_printf(r->body, "\n],\"version\":%llu}\n",
                (unsigned long long)maph_changes_version(f->changes));
  if (!streaming)
    reply_json(r, 200, r->body);
  else if (flush(f))
    reply_stream_end(r);
}

/* ------------------------------------------------------------------------------------- handlers */
void changes_show(request *r) {
  uint64_t wait_s = 0, limit = LIMIT_STANDARD;
  int polls = query_number(r, "wait", WAIT_MAX_S, &wait_s);
  feed f;
  if (polls < 0 || query_number(r, "limit", LIMIT_MAX, &limit) < 0 || !feed_open(&f, r)) return;
  r->body->size = 0;
  if (polls && r->method == METHOD_HEAD) {
    reply_start(r, 200);
    reply_stream(r, "application/json");
  } else if (polls)
    poll_once(&f, wait_s * 1000, limit);
  else {
    r->close = true;
    reply_start(r, 200);
    reply_header(r, "X-Accel-Buffering", "no"); /* nginx would keep events back */
    if (reply_stream(r, "text/event-stream") && r->method != METHOD_HEAD) {
      buffer_printf(r->body, "retry: %d\n", RETRY_MS);
      watch(&f);
      reply_stream_end(r);
    }
  }
  feed_close(&f);
}

/* Browsers open WebSockets across sites without asking: a foreign Origin is refused as it is for
** writes. */
void changes_socket(request *r) {
  feed f;
  if (!feed_open(&f, r)) return;
  f.framed = true;
  r->body->size = 0;
  if (guard_foreign(r)) {
    reply_problem(r, 403, "foreign_origin",
                  "a page of another site may not listen here; --origin URL allows one");
  } else if (websocket_accept(r)) {
    watch(&f);
  }
  feed_close(&f);
}
