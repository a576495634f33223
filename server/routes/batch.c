/*
** batch.c - POST /stores/NAME/batch: many gets, puts and deletes in one request.
**
** The body is {"operations":[...]}, or that array alone, or with a Content-Type of
** application/x-ndjson one operation a line (operation.c says how one looks).  Operations are done
** in order.  If there is a put or delete among them all are one transaction, the gets see its
** writes, and a failed condition undoes everything; if there are only gets they are of one
** snapshot.
**
** Everything is parsed before a transaction begins, so the writer's lock is held for the work
** alone.  What batches in flight may take of memory together is bounded by option.memory; one that
** finds none left is told to come again.  Beside its body a batch takes what its strings mean,
** which is not more than they are, and an operation's size for each of a bounded number of them.
*/
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "access/auth.h"
#include "base/options.h"
#include "base/sigbus.h"
#include "http/body.h"
#include "routes/answer.h"
#include "routes/handlers.h"
#include "routes/operation.h"

enum { OPERATIONS_MAX = 10000, MEMORY_FACTOR = 8 };
#define ANSWER_MAX ((size_t)64 * 1024 * 1024)

typedef struct batch {
  request *r;
  operation *operations;
  size_t count, room;
  bool writes, lines; /* lines: NDJSON in and out */
  arena arena;
  bool streaming, refused; /* refused: by us, and that was answered */
  uint64_t memory;         /* reserved */
} batch;

/* -------------------------------------------------------------------------------------- parsing */
static bool mistaken(batch *b, const char *mistake) {
  reply_problem(b->r, 400, "bad_batch", "operation %zu: %s", b->count, mistake);
  return false;
}

static bool not_json(batch *b, const json_reader *in, const char *start) {
  char room[200];
  const char *sentence = reader_sentence(in, start, room, sizeof room);
  if (b->lines) return mistaken(b, sentence);
  reply_problem(b->r, 400, "bad_json", "%s", sentence);
  return false;
}

static bool add_operation(batch *b, json_reader *in, const char *start) {
  const char *mistake;
  if (b->count == OPERATIONS_MAX) {
    reply_problem(b->r, 413, "too_many_operations", "a batch has at most %d operations",
                  OPERATIONS_MAX);
    return false;
  }
  if (b->count == b->room) {
    size_t room = b->room ? 2 * b->room : 64;
    operation *more = realloc(b->operations, room * sizeof *more);
    if (more == NULL) {
      reply_problem(b->r, 503, "no_memory", "out of memory for the batch");
      return false;
    }
    b->operations = more;
    b->room = room;
  }
  mistake = operation_read(in, 0, &b->arena, &b->operations[b->count]);
  if (mistake == NULL && b->lines) reader_end(in);
  if (in->mistake) return not_json(b, in, start);
  if (mistake) return mistaken(b, mistake);
  if (b->operations[b->count].kind != OPERATION_GET) b->writes = true;
  b->count++;
  return true;
}

static bool parse_document(batch *b, maph_slice body) {
  static const char shape[] = "a batch is {\"operations\":[...]} or an array";
  json_reader in = { body.data, (const char *)body.data + body.size, NULL };
  maph_slice name;
  bool object = reader_next(&in, '{'), list = false, named;
  if (object && reader_string(&in, &name) && reader_expect(&in, ':')) {
    named = name.size == 12 && memcmp(name.data, "\"operations\"", 12) == 0;
    list = named && reader_next(&in, '[');
  } else if (!object)
    list = reader_next(&in, '[');
  if (in.mistake == NULL && !list) {
    if (!object && !reader_value(&in, 1, &name)) return not_json(b, &in, body.data);
    reply_problem(b->r, 400, "bad_batch", shape);
    return false;
  }
  if (list && !reader_next(&in, ']')) {
    do {
      if (!add_operation(b, &in, body.data)) return false;
    } while (reader_next(&in, ','));
    reader_expect(&in, ']');
  }
  if (object && reader_next(&in, ',')) {
    reply_problem(b->r, 400, "bad_batch", shape);
    return false;
  }
  if (object) reader_expect(&in, '}');
  return reader_end(&in) || not_json(b, &in, body.data);
}

static bool parse_lines(batch *b, maph_slice body) {
  const char *at = body.data, *end = at + body.size;
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *line_end = newline ? newline : end;
    json_reader in = { at, line_end, NULL };
    if (!reader_end(&in)) {
      in.mistake = NULL;
      if (!add_operation(b, &in, at)) return false;
    }
    at = line_end + 1;
  }
  return true;
}

/* -------------------------------------------------------------------------------------- answers */
static void begin_result(batch *b, size_t i) {
  if (!b->lines) buffer_text(b->r->body, i ? ",\n" : "\n");
}
static void end_result(batch *b) {
  if (b->lines) buffer_text(b->r->body, "\n");
}

static void emit_get(batch *b, size_t i, int rc, maph_entry *e) {
  buffer *out = b->r->body;
  if (rc == MAPH_NOTFOUND && sigbus_happened()) rc = MAPH_IOERR;
  begin_result(b, i);
  if (rc == MAPH_OK) {
    e->key = b->operations[i].key;
    buffer_text(out, "{\"status\":200,");
    if (!b->streaming)
      emit_entry(out, e, true);
    else if (!reply_stream_entry(b->r, e))
      return;
    buffer_text(out, "}");
  } else {
    buffer_printf(out, "{\"status\":%d,\"code\":\"%s\",", maph_status(rc), maph_code(rc));
    emit_bytes(out, "key", "key_encoding", b->operations[i].key);
    buffer_text(out, "}");
  }
  end_result(b);
}

static void emit_write(batch *b, size_t i, int rc, const maph_outcome *outcome, uint64_t version) {
  bool put = b->operations[i].kind == OPERATION_PUT;
  begin_result(b, i);
  if (rc == MAPH_NOTFOUND)
    buffer_text(b->r->body, "{\"status\":404,\"code\":\"key_not_found\"}");
  else if (put)
    buffer_printf(b->r->body, "{\"status\":%d,\"version\":%llu}", outcome->existed ? 200 : 201,
                  (unsigned long long)version);
  else
    buffer_text(b->r->body, "{\"status\":204}");
  end_result(b);
}

static const char *answer_type(const batch *b) {
  return b->lines ? "application/x-ndjson" : "application/json";
}

/* -------------------------------------------------------------------------------------- running */
static void begin_stream(batch *b) {
  if (b->streaming) return;
  reply_start(b->r, 200);
  b->streaming = reply_stream(b->r, answer_type(b));
}

/* Only gets: one snapshot, streamed once the answer is long. */
static void run_gets(batch *b) {
  request *r = b->r;
  maph_snapshot *s = NULL;
  int rc = maph_snapshot_open(r->store->m, &s);
  if (rc != MAPH_OK) {
    reply_store(r, rc);
    return;
  }
  r->body->size = 0;
  if (!b->lines) buffer_text(r->body, "{\"success\":true,\"results\":[");
  for (size_t i = 0; i < b->count && !r->broken; i++) {
    maph_entry e;
    rc = maph_snapshot_get_entry(s, b->operations[i].key, &e);
    if (rc == MAPH_OK && e.value.size > LONG_VALUE) begin_stream(b);
    emit_get(b, i, rc, &e);
    if (r->body->failed) break;
    if (r->body->size < STREAM_AT) continue;
    begin_stream(b);
    reply_stream_body(r, 0);
  }
  maph_snapshot_close(s);
  if (!b->lines) buffer_text(r->body, "\n]}\n");
  if (r->body->failed && b->streaming)
    r->broken = true;
  else if (b->streaming) {
    reply_stream_write(r, r->body->data, r->body->size);
    reply_stream_end(r);
  } else if (r->body->failed)
    reply_problem(r, 503, "no_memory", "out of memory for the answer");
  else {
    reply_start(r, 200);
    reply_send(r, answer_type(b), r->body->data, r->body->size);
  }
}

static bool answer_too_large(batch *b) {
  b->refused = true;
  reply_problem(b->r, 413, "answer_too_large",
                "the gets of a batch that writes answer at most %llu bytes; nothing was written",
                (unsigned long long)(option.memory < ANSWER_MAX ? option.memory : ANSWER_MAX));
  return false;
}

/* An answer from inside a transaction is kept until that is committed: room for a long value in it.
** False: answered. */
static bool take_room(batch *b, size_t size) {
  if (size <= LONG_VALUE) return true;
  if (size > ANSWER_MAX - b->r->body->size || b->memory + size > option.memory)
    return answer_too_large(b);
  if (memory_reserve(size)) {
    b->memory += size;
    return true;
  }
  b->refused = true;
  reply_problem(b->r, 503, "busy", "too many large batches at once");
  return false;
}

/* One operation inside the transaction; its result into the answer.  Not OK: the batch fails. */
static int run_one(batch *b, maph_txn *t, size_t i) {
  operation *o = &b->operations[i];
  maph_outcome outcome = { 0, 0 };
  maph_entry e;
  int rc;
  if (o->kind == OPERATION_GET) {
    rc = maph_txn_get_entry(t, o->key, &e);
    if (rc == MAPH_OK && !take_room(b, e.value.size)) return MAPH_CANCELLED;
    emit_get(b, i, rc, &e);
    return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
  }
  o->condition.outcome = &outcome;
  rc = o->kind == OPERATION_PUT ? maph_txn_put_if(t, o->key, o->value, &o->condition)
                                : maph_txn_delete_if(t, o->key, &o->condition);
  if (rc == MAPH_NOTFOUND && o->kind == OPERATION_DELETE && o->condition.when == MAPH_ALWAYS) {
    emit_write(b, i, rc, &outcome, 0);
    return MAPH_OK;
  }
  if (rc == MAPH_OK) emit_write(b, i, rc, &outcome, maph_txn_version(t));
  return rc;
}

static void batch_failed(batch *b, size_t i, int rc) {
  int when = i < b->count ? b->operations[i].condition.when : MAPH_ALWAYS;
  reply_extra(b->r, "Maph-Failed-Operation: %zu", i);
  if (when != MAPH_ALWAYS && (rc == MAPH_CONFLICT || rc == MAPH_EXISTS || rc == MAPH_NOTFOUND)) {
    reply_problem(b->r, 412, "precondition_failed", "operation %zu: %s; nothing was written", i,
                  maph_strerror(rc));
  } else {
    reply_store(b->r, rc);
  }
}

/* Where preconditions are asked for, every put and delete has one. */
static bool conditions_hold(batch *b) {
  for (size_t i = 0; option.conditional && i < b->count; i++) {
    if (b->operations[i].kind == OPERATION_GET || b->operations[i].condition.when != MAPH_ALWAYS)
      continue;
    reply_problem(b->r, 428, "precondition_required",
                  "operation %zu: a write here has if_version, if_absent or if_present", i);
    return false;
  }
  return true;
}

static void run_transaction(batch *b, int durability) {
  request *r = b->r;
  maph_txn *t = NULL;
  uint64_t version;
  size_t i;
  int rc;
  if (!auth_allows(r, ROLE_WRITE, maph_str(r->store->name)) || !write_allowed(r)
      || !conditions_hold(b))
    return;
  r->body->size = 0;
  rc = maph_txn_begin(r->store->m, durability, &t);
  if (rc != MAPH_OK) {
    reply_store(r, rc);
    return;
  }
  version = maph_txn_version(t);
  if (!b->lines)
    buffer_printf(r->body, "{\"success\":true,\"version\":%llu,\"results\":[",
                  (unsigned long long)version);
  for (i = 0; i < b->count && rc == MAPH_OK && !r->body->failed && r->body->size < ANSWER_MAX; i++)
    rc = run_one(b, t, i);
  if (rc != MAPH_OK || r->body->failed || r->body->size >= ANSWER_MAX) {
    if (rc != MAPH_OK && !b->refused)
      batch_failed(b, i - 1, rc);
    else if (!b->refused)
      answer_too_large(b);
    maph_txn_abort(t);
    return;
  }
  rc = maph_txn_commit(t);
  if (rc != MAPH_OK) {
    reply_store(r, rc);
    return;
  }
  commit_note(r->store, durability, b->count);
  if (!write_holds(r)) return;
  if (b->lines)
    buffer_printf(r->body, "{\"success\":true,\"version\":%llu}\n", (unsigned long long)version);
  else
    buffer_text(r->body, "\n]}\n");
  reply_start(r, 200);
  reply_send(r, answer_type(b), r->body->data, r->body->size);
}

void batch_run(request *r) {
  batch b = { .r = r };
  maph_slice body;
  int durability;
  if (!operation_media_type(r, &b.lines) || !query_durability(r, &durability)
      || !body_all(r, option.max_batch, &body))
    return;
  b.memory = (uint64_t)body.size * MEMORY_FACTOR;
  if (!memory_reserve(b.memory)) {
    reply_problem(r, 503, "busy", "too many large batches at once");
    return;
  }
  if (b.lines ? parse_lines(&b, body) : parse_document(&b, body)) {
    if (!b.writes)
      run_gets(&b);
    else {
      commit_enter();
      run_transaction(&b, durability);
      commit_leave();
    }
  }
  free(b.operations);
  arena_free(&b.arena);
  memory_release(b.memory);
}
