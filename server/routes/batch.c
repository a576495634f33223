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
#include "base/room.h"
#include "base/clock.h"
#include "http/body.h"
#include "routes/answer.h"
#include "routes/bucket.h"
#include "routes/handlers.h"
#include "routes/handling.h"
#include "store/bucket.h"

enum { OPERATIONS_MAX = 10000, MEMORY_FACTOR = 8 };
#define ANSWER_MAX ((size_t)64 * 1024 * 1024)

typedef struct batch {
  request *request;
  entry_operation *operations;
  size_t count, room;
  bool writes, lines; /* lines: NDJSON in and out */
  arena arena;
  bool streaming, refused; /* refused: by us, and that was answered */
  uint64_t memory;         /* reserved */
} batch;

/* -------------------------------------------------------------------------------------- parsing */
static bool no_memory(batch *batch) {
  reply_problem(batch->request, 503, "no_memory", "out of memory for the batch");
  return false;
}

/* What is wrong with the operation that was being read, or around it. */
static bool mistaken(batch *batch, const json_reader *in) {
  char sentence[JSON_SENTENCE_ROOM];
  if (in->fault == JSON_NO_MEMORY) return no_memory(batch);
  json_sentence(in, sentence);
  if (batch->lines || in->fault == JSON_MEANING)
    reply_problem(batch->request, 400, "bad_batch", "operation %zu: %s", batch->count, sentence);
  else
    reply_problem(batch->request, 400, "bad_json", "%s", sentence);
  return false;
}

static bool add_operation(batch *batch, json_reader *in) {
  static const entry_rules rules = { ENTRY_ANY, wall_ms };
  if (batch->count == OPERATIONS_MAX) {
    reply_problem(batch->request, 413, "too_many_operations", "a batch has at most %d operations",
                  OPERATIONS_MAX);
    return false;
  }
  if (batch->count == batch->room) {
    size_t room = batch->room ? 2 * batch->room : 64;
    entry_operation *more = realloc(batch->operations, room * sizeof *more);
    if (more == NULL) return no_memory(batch);
    batch->operations = more;
    batch->room = room;
  }
  if (!(batch->lines ? entry_read_line : entry_read)(in, &rules, &batch->arena,
                                                     &batch->operations[batch->count]))
    return mistaken(batch, in);
  if (batch->operations[batch->count].kind != ENTRY_GET) batch->writes = true;
  batch->count++;
  return true;
}

static bool parse_list(batch *batch, json_reader *in) {
  if (json_next(in, ']')) return true;
  do {
    if (!add_operation(batch, in)) return false;
  } while (json_next(in, ','));
  return json_expect(in, ']') || mistaken(batch, in);
}

static bool parse_document(batch *batch, maph_slice body) {
  static const char shape[] = "a batch is {\"operations\":[...]} or an array";
  json_reader in = json_begin(json_skip_mark(body));
  bool object = json_next(&in, '{'), list = false;
  maph_slice name;
  if (!object)
    list = json_next(&in, '[');
  else if (!json_next(&in, '}') && json_string(&in, &name) && json_expect(&in, ':'))
    list = name.size == 12 && memcmp(name.data, "\"operations\"", 12) == 0 && json_next(&in, '[');
  if (!list && !object) json_value(&in, &name);
  if (in.mistake) return mistaken(batch, &in);
  if (list && !parse_list(batch, &in)) return false;
  if (!list || (object && json_next(&in, ','))) {
    reply_problem(batch->request, 400, "bad_batch", shape);
    return false;
  }
  return (!object || json_expect(&in, '}')) && json_end(&in) ? true : mistaken(batch, &in);
}

static bool parse_lines(batch *batch, maph_slice body) {
  const char *at, *end = (const char *)body.data + body.size;
  body = json_skip_mark(body);
  for (at = body.data; at < end;) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *line_end = newline ? newline : end;
    maph_slice line = maph_bytes(at, (size_t)(line_end - at));
    json_reader in = json_begin(line);
    if (!json_is_blank(line) && !add_operation(batch, &in)) return false;
    at = line_end + 1;
  }
  return true;
}

/* -------------------------------------------------------------------------------------- answers */
static void begin_result(batch *batch, size_t i) {
  if (!batch->lines) buffer_text(batch->request->reply.body, i ? ",\n" : "\n");
}
static void end_result(batch *batch) {
  if (batch->lines) buffer_text(batch->request->reply.body, "\n");
}

static void emit_get(batch *batch, size_t i, int rc, maph_entry *entry) {
  buffer *out = batch->request->reply.body;
  if (rc == MAPH_NOTFOUND && maph_guarded(store_of(batch->request)->m)) rc = MAPH_IOERR;
  begin_result(batch, i);
  if (rc == MAPH_OK) {
    entry->key = batch->operations[i].key;
    buffer_text(out, "{\"status\":200,");
    if (!batch->streaming)
      emit_entry(out, entry, true);
    else if (!reply_stream_entry(batch->request, entry))
      return;
    buffer_text(out, "}");
  } else {
    buffer_printf(out, "{\"status\":%d,\"code\":\"%s\",", maph_status(rc), maph_code(rc));
    emit_bytes(out, "key", "key_encoding", batch->operations[i].key);
    buffer_text(out, "}");
  }
  end_result(batch);
}

static void emit_write(batch *batch, size_t i, int rc, const maph_outcome *outcome,
                       uint64_t version) {
  bool put = batch->operations[i].kind == ENTRY_PUT;
  begin_result(batch, i);
  if (rc == MAPH_NOTFOUND)
    buffer_text(batch->request->reply.body, "{\"status\":404,\"code\":\"key_not_found\"}");
  else if (put)
    buffer_printf(batch->request->reply.body, "{\"status\":%d,\"version\":%llu}",
                  outcome->existed ? 200 : 201, (unsigned long long)version);
  else
    buffer_text(batch->request->reply.body, "{\"status\":204}");
  end_result(batch);
}

static const char *answer_type(const batch *batch) {
  return batch->lines ? "application/x-ndjson" : "application/json";
}

/* -------------------------------------------------------------------------------------- running */
static void begin_stream(batch *batch) {
  if (batch->streaming) return;
  reply_start(batch->request, 200);
  batch->streaming = reply_stream(batch->request, answer_type(batch));
}

/* Only gets: one snapshot, streamed once the answer is long. */
static void run_gets(batch *batch) {
  request *request = batch->request;
  maph_snapshot *snapshot = NULL;
  int rc = maph_snapshot_open(store_of(request)->m, &snapshot);
  if (rc != MAPH_OK) {
    reply_store(request, rc);
    return;
  }
  request->reply.body->size = 0;
  if (!batch->lines) buffer_text(request->reply.body, "{\"success\":true,\"results\":[");
  for (size_t i = 0; i < batch->count && !request->reply.broken; i++) {
    maph_entry entry;
    rc = maph_snapshot_get_entry(snapshot, batch->operations[i].key, &entry);
    if (rc == MAPH_OK && entry.value.size > LONG_VALUE) begin_stream(batch);
    emit_get(batch, i, rc, &entry);
    if (request->reply.body->failed) break;
    if (request->reply.body->size < STREAM_AT) continue;
    begin_stream(batch);
    reply_stream_body(request, 0);
  }
  maph_snapshot_close(snapshot);
  if (!batch->lines) buffer_text(request->reply.body, "\n]}\n");
  if (request->reply.body->failed && batch->streaming)
    request->reply.broken = true;
  else if (batch->streaming) {
    reply_stream_write(request, request->reply.body->data, request->reply.body->size);
    reply_stream_end(request);
  } else if (request->reply.body->failed)
    reply_problem(request, 503, "no_memory", "out of memory for the answer");
  else {
    reply_start(request, 200);
    reply_send(request, answer_type(batch), request->reply.body->data, request->reply.body->size);
  }
}

static bool answer_too_large(batch *batch) {
  batch->refused = true;
  reply_problem(batch->request, 413, "answer_too_large",
                "the gets of a batch that writes answer at most %llu bytes; nothing was written",
                (unsigned long long)(option.memory < ANSWER_MAX ? option.memory : ANSWER_MAX));
  return false;
}

/* An answer from inside a transaction is kept until that is committed: room for a long value in it.
** False: answered. */
static bool take_room(batch *batch, size_t size) {
  if (size <= LONG_VALUE) return true;
  if (size > ANSWER_MAX - batch->request->reply.body->size || batch->memory + size > option.memory)
    return answer_too_large(batch);
  if (memory_reserve(size)) {
    batch->memory += size;
    return true;
  }
  batch->refused = true;
  reply_problem(batch->request, 503, "busy", "too many large batches at once");
  return false;
}

/* One operation inside the transaction; its result into the answer.  Not OK: the batch fails. */
static int run_one(batch *batch, maph_txn *txn, size_t i) {
  entry_operation *operation = &batch->operations[i];
  maph_outcome outcome = { 0, 0 };
  maph_entry entry;
  int rc;
  if (operation->kind == ENTRY_GET) {
    rc = maph_txn_get_entry(txn, operation->key, &entry);
    if (rc == MAPH_OK && !take_room(batch, entry.value.size)) return MAPH_CANCELLED;
    emit_get(batch, i, rc, &entry);
    return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
  }
  operation->condition.outcome = &outcome;
  rc = operation->kind == ENTRY_PUT
           ? maph_txn_put_if(txn, operation->key, operation->value, &operation->condition)
           : maph_txn_delete_if(txn, operation->key, &operation->condition);
  if (rc == MAPH_NOTFOUND && operation->kind == ENTRY_DELETE
      && operation->condition.when == MAPH_ALWAYS) {
    emit_write(batch, i, rc, &outcome, 0);
    return MAPH_OK;
  }
  if (rc == MAPH_OK) emit_write(batch, i, rc, &outcome, maph_txn_version(txn));
  return rc;
}

/* Where it is full for a batch that puts nothing, deletes find no room either. */
static void note_room(const batch *batch, int rc) {
  size_t i = 0;
  while (i < batch->count && batch->operations[i].kind != ENTRY_PUT) i++;
  if (rc == MAPH_FULL && i == batch->count) room_refused_delete();
}

static void batch_failed(batch *batch, size_t i, int rc) {
  int when = i < batch->count ? batch->operations[i].condition.when : MAPH_ALWAYS;
  note_room(batch, rc);
  reply_extra(batch->request, "Maph-Failed-Operation: %zu", i);
  if (when != MAPH_ALWAYS && (rc == MAPH_CONFLICT || rc == MAPH_EXISTS || rc == MAPH_NOTFOUND)) {
    reply_problem(batch->request, 412, "precondition_failed",
                  "operation %zu: %s; nothing was written", i, maph_strerror(rc));
  } else {
    reply_store(batch->request, rc);
  }
}

/* Where preconditions are asked for, every put and delete has one. */
static bool conditions_hold(batch *batch) {
  for (size_t i = 0; option.conditional && i < batch->count; i++) {
    if (batch->operations[i].kind == ENTRY_GET
        || batch->operations[i].condition.when != MAPH_ALWAYS)
      continue;
    reply_problem(batch->request, 428, "precondition_required",
                  "operation %zu: a write here has if_version, if_absent or if_present", i);
    return false;
  }
  return true;
}

static void run_transaction(batch *batch, int durability) {
  request *request = batch->request;
  maph_txn *txn = NULL;
  uint64_t version;
  size_t i;
  int rc;
  if (!auth_allows(request, ROLE_WRITE, maph_str(store_of(request)->name))
      || !change_allowed(request) || !conditions_hold(batch))
    return;
  request->reply.body->size = 0;
  rc = maph_txn_begin(store_of(request)->m, durability, &txn);
  if (rc != MAPH_OK) {
    reply_store(request, rc);
    return;
  }
  version = maph_txn_version(txn);
  if (!batch->lines)
    buffer_printf(request->reply.body, "{\"success\":true,\"version\":%llu,\"results\":[",
                  (unsigned long long)version);
  for (i = 0; i < batch->count && rc == MAPH_OK && !request->reply.body->failed
              && request->reply.body->size < ANSWER_MAX;
       i++)
    rc = run_one(batch, txn, i);
  if (rc != MAPH_OK || request->reply.body->failed || request->reply.body->size >= ANSWER_MAX) {
    if (rc != MAPH_OK && !batch->refused)
      batch_failed(batch, i - 1, rc);
    else if (!batch->refused)
      answer_too_large(batch);
    maph_txn_abort(txn);
    return;
  }
  rc = maph_txn_commit(txn);
  if (rc != MAPH_OK) {
    note_room(batch, rc);
    reply_store(request, rc);
    return;
  }
  commit_note(store_of(request), durability, batch->count);
  if (!write_holds(request)) return;
  if (batch->lines)
    buffer_printf(request->reply.body, "{\"success\":true,\"version\":%llu}\n",
                  (unsigned long long)version);
  else
    buffer_text(request->reply.body, "\n]}\n");
  reply_start(request, 200);
  reply_send(request, answer_type(batch), request->reply.body->data, request->reply.body->size);
}

/* ------------------------------------------------------------------------------------ a replica */
/* The conditions of an operation as those of a request. */
static write_request write_of(const entry_operation *operation) {
  write_request write = { .key = operation->key,
                          .value = operation->value,
                          .is_delete = operation->kind == ENTRY_DELETE,
                          .entry = operation->condition };
  switch (operation->condition.when) {
    case MAPH_IF_VERSION:
      write.if_match.present = true;
      write.if_match.count = 1;
      write.if_match.versions[0] = operation->condition.version;
      break;
    case MAPH_IF_PRESENT: write.if_match.present = write.if_match.any = true; break;
    case MAPH_IF_ABSENT: write.if_none_match.present = write.if_none_match.any = true; break;
    default: break;
  }
  return write;
}

static void answer_forwarded(batch *batch, int rc, const maph_outcome *outcome) {
  request *request = batch->request;
  buffer *buffer = request->reply.body;
  bool visible = bucket_settle(request, outcome->version);
  buffer->size = 0;
  if (!batch->lines) buffer_text(buffer, "{\"success\":true,\"results\":[");
  emit_write(batch, 0, rc, outcome, outcome->version);
  buffer_text(buffer, batch->lines ? "{\"success\":true,\"version\":" : "\n],\"version\":");
  buffer_number(buffer, outcome->version);
  buffer_text(buffer, visible ? ",\"visible\":true}\n" : ",\"visible\":false}\n");
  reply_start(request, 200);
  reply_send(request, answer_type(batch), buffer->data, buffer->size);
}

/* To the bucket, which has no transactions: one write and nothing else. */
static void forward(batch *batch) {
  request *request = batch->request;
  maph_outcome outcome;
  write_request write;
  int rc;
  if (!auth_allows(request, ROLE_WRITE, maph_str(store_of(request)->name))
      || !conditions_hold(batch) || !bucket_read_wait(request)
      || (batch->count > 1 && !change_allowed(request)))
    return;
  write = write_of(&batch->operations[0]);
  rc = bucket_write(request, &write, &outcome);
  if (rc == MAPH_OK || (rc == MAPH_NOTFOUND && write.is_delete))
    answer_forwarded(batch, rc, &outcome);
  else if (rc != BUCKET_ANSWERED)
    batch_failed(batch, 0, rc);
}

/* ---------------------------------------------------------------------------------- the request */
void batch_run(request *request) {
  batch batch = { .request = request };
  maph_slice body;
  int durability;
  if (!body_is_json(request, &batch.lines) || !query_durability(request, &durability)
      || !body_all(request, option.max_batch, &body))
    return;
  batch.memory = (uint64_t)body.size * MEMORY_FACTOR;
  if (!memory_reserve(batch.memory)) {
    reply_problem(request, 503, "busy", "too many large batches at once");
    return;
  }
  if (batch.lines ? parse_lines(&batch, body) : parse_document(&batch, body)) {
    if (!batch.writes)
      run_gets(&batch);
    else if (bucket_takes(store_of(request)->replica))
      forward(&batch);
    else {
      if (commit_enter(store_of(request))) {
        run_transaction(&batch, durability);
        commit_leave(store_of(request));
      } else {
        reply_store(request, STORE_CROWDED);
      }
    }
  }
  free(batch.operations);
  arena_free(&batch.arena);
  memory_release(batch.memory);
}
