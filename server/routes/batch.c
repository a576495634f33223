/*
** batch.c - POST /stores/NAME/batch: many gets, puts and deletes in one request.
**
** The body is {"operations":[...]}, or that array alone, or with a Content-Type of
** application/x-ndjson one operation a line (ext/entry/entry.h says how one looks).  Operations are
** done in order.  If there is a put or delete among them all are one transaction, the gets see its
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
#include "base/emit.h"
#include "base/options.h"
#include "base/clock.h"
#include "base/sigbus.h"
#include "http/body.h"
#include "routes/answer.h"
#include "routes/handlers.h"

enum { OPERATIONS_MAX = 10000, MEMORY_FACTOR = 8 };
#define ANSWER_MAX ((size_t)64 * 1024 * 1024)

typedef struct batch {
  request *r;
  entry_operation *operations;
  size_t count, room;
  bool writes, lines; /* lines: NDJSON in and out */
  arena arena;
  bool streaming, refused; /* refused: by us, and that was answered */
  uint64_t memory;         /* reserved */
} batch;

/* -------------------------------------------------------------------------------------- parsing */
static bool no_memory(batch *b) {
  reply_problem(b->r, 503, "no_memory", "out of memory for the batch");
  return false;
}

/* What is wrong with the operation that was being read, or around it. */
static bool mistaken(batch *b, const json_reader *in) {
  char sentence[JSON_SENTENCE_ROOM];
  if (in->fault == JSON_NO_MEMORY) return no_memory(b);
  json_sentence(in, sentence);
  if (b->lines || in->fault == JSON_MEANING)
    reply_problem(b->r, 400, "bad_batch", "operation %zu: %s", b->count, sentence);
  else
    reply_problem(b->r, 400, "bad_json", "%s", sentence);
  return false;
}

static bool add_operation(batch *b, json_reader *in) {
  static const entry_rules rules = { ENTRY_ANY, wall_ms };
  if (b->count == OPERATIONS_MAX) {
    reply_problem(b->r, 413, "too_many_operations", "a batch has at most %d operations",
                  OPERATIONS_MAX);
    return false;
  }
  if (b->count == b->room) {
    size_t room = b->room ? 2 * b->room : 64;
    entry_operation *more = realloc(b->operations, room * sizeof *more);
    if (more == NULL) return no_memory(b);
    b->operations = more;
    b->room = room;
  }
  if (!(b->lines ? entry_read_line : entry_read)(in, &rules, &b->arena, &b->operations[b->count]))
    return mistaken(b, in);
  if (b->operations[b->count].kind != ENTRY_GET) b->writes = true;
  b->count++;
  return true;
}

static bool parse_list(batch *b, json_reader *in) {
  if (json_next(in, ']')) return true;
  do {
    if (!add_operation(b, in)) return false;
  } while (json_next(in, ','));
  return json_expect(in, ']') || mistaken(b, in);
}

static bool parse_document(batch *b, maph_slice body) {
  static const char shape[] = "a batch is {\"operations\":[...]} or an array";
  json_reader in = json_begin(json_skip_mark(body));
  bool object = json_next(&in, '{'), list = false;
  maph_slice name;
  if (!object)
    list = json_next(&in, '[');
  else if (!json_next(&in, '}') && json_string(&in, &name) && json_expect(&in, ':'))
    list = name.size == 12 && memcmp(name.data, "\"operations\"", 12) == 0 && json_next(&in, '[');
  if (!list && !object) json_value(&in, &name);
  if (in.mistake) return mistaken(b, &in);
  if (list && !parse_list(b, &in)) return false;
  if (!list || (object && json_next(&in, ','))) {
    reply_problem(b->r, 400, "bad_batch", shape);
    return false;
  }
  return (!object || json_expect(&in, '}')) && json_end(&in) ? true : mistaken(b, &in);
}

static bool parse_lines(batch *b, maph_slice body) {
  const char *at, *end = (const char *)body.data + body.size;
  body = json_skip_mark(body);
  for (at = body.data; at < end;) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *line_end = newline ? newline : end;
    maph_slice line = maph_bytes(at, (size_t)(line_end - at));
    json_reader in = json_begin(line);
    if (!json_is_blank(line) && !add_operation(b, &in)) return false;
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
  bool put = b->operations[i].kind == ENTRY_PUT;
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
  entry_operation *o = &b->operations[i];
  maph_outcome outcome = { 0, 0 };
  maph_entry e;
  int rc;
  if (o->kind == ENTRY_GET) {
    rc = maph_txn_get_entry(t, o->key, &e);
    if (rc == MAPH_OK && !take_room(b, e.value.size)) return MAPH_CANCELLED;
    emit_get(b, i, rc, &e);
    return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
  }
  o->condition.outcome = &outcome;
  rc = o->kind == ENTRY_PUT ? maph_txn_put_if(t, o->key, o->value, &o->condition)
                            : maph_txn_delete_if(t, o->key, &o->condition);
  if (rc == MAPH_NOTFOUND && o->kind == ENTRY_DELETE && o->condition.when == MAPH_ALWAYS) {
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
    if (b->operations[i].kind == ENTRY_GET || b->operations[i].condition.when != MAPH_ALWAYS)
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
  if (!body_is_json(r, &b.lines) || !query_durability(r, &durability)
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
      if (commit_enter(r->store)) {
        run_transaction(&b, durability);
        commit_leave(r->store);
      } else {
        reply_store(r, STORE_CROWDED);
      }
    }
  }
  free(b.operations);
  arena_free(&b.arena);
  memory_release(b.memory);
}
