/*
** transfer.c - export and import: NDJSON streams of any length in bounded memory.
**
** An export is one snapshot, in the order of the keys' bytes where it is sorted, reversed or
** bounded.  An entry is a line: {"key","value","version","type",...}, with base64 where bytes are
** not UTF-8.  A stream that fails on the way ends without its last chunk, so that
** no client takes it for whole.
**
** An import reads such lines (version and size are let pass) and puts them in transactions of up to
** a thousand lines or a megabyte; while it waits for the client no transaction is open.  A long
** line's value waits in a file (longline.c) and is a transaction of its own.  A line that is wrong
** is reported with its number and the others go on.  An import that fails on the way says how many
** entries stayed and which line to begin again with: what was in the group that failed is not in
** the store. import(export) is the same store: keys, bytes, types, media types, expiry times;
** versions are new.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/emit.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sentence.h"
#include "entry/utf8.h"
#include "http/body.h"
#include "http/http.h"
#include "routes/answer.h"
#include "routes/handlers.h"
#include "routes/handling.h"
#include "routes/longline.h"

enum { GROUP_LINES = 1000, GROUP_BYTES = 1024 * 1024, LONG_LINE = 1024 * 1024, ERRORS_SHOWN = 100 };

/* --------------------------------------------------------------------------------------- export */
static bool export_entry(request *request, const maph_entry *entry) {
  buffer_text(request->reply.body, "{");
  if (!reply_stream_entry(request, entry)) return false;
  buffer_text(request->reply.body, "}\n");
  return true;
}

/* The entries: all in the order they were last put, or those of a range in key order. */
typedef struct source {
  maph_cursor *any; /* one of these two */
  maph_range_cursor *ordered;
} source;

static int source_open(maph *m, const maph_range *range, bool sorted, source *source) {
  *source = (struct source){ NULL, NULL };
  if (sorted || range->prefix.data || range->from.data || range->to.data || range->flags)
    return maph_range_open(m, NULL, range, &source->ordered);
  return maph_cursor_open(m, NULL, maph_str(""), &source->any);
}

static int source_next(source *source, maph_entry *entry) {
  return source->ordered ? maph_range_next(source->ordered, entry)
                         : maph_cursor_next(source->any, entry);
}

static void export_entries(request *request, source *source) {
  maph_entry entry;
  int rc = MAPH_NOTFOUND; /* the end: HEAD reads nothing */
  while (request->method == METHOD_GET && (rc = source_next(source, &entry)) == MAPH_OK
         && export_entry(request, &entry))
    ;
  if (rc != MAPH_NOTFOUND && rc != MAPH_OK) {
    log_line("export of %s stopped: %s", store_of(request)->name,
             maph_errmsg(store_of(request)->m));
    request->reply.broken = true;
  }
  if (reply_stream_body(request, 0)) reply_stream_end(request);
}

void store_export(request *request) {
  maph_range range = MAPH_RANGE_INIT;
  source source;
  bool sorted = false;
  int rc;
  if (!query_flag(request, "sorted", &sorted) || !query_range(request, &range)) return;
  rc = source_open(store_of(request)->m, &range, sorted, &source);
  if (rc != MAPH_OK) {
    reply_store(request, rc);
    return;
  }
  request->reply.body->size = 0;
  reply_start(request, 200);
  if (reply_stream(request, "application/x-ndjson")) export_entries(request, &source);
  maph_cursor_close(source.any);
  maph_range_close(source.ordered);
}

/* --------------------------------------------------------------------------------------- import */
typedef struct import {
  request *request;
  int durability;
  buffer input;         /* the unfinished line, and what came after it */
  buffer errors;        /* JSON of the first of them */
  bool begun;           /* the place of a byte order mark is passed */
  long_line *long_line; /* the line that comes in, when it is a long one */
  uint64_t memory;      /* reserved for it */
  entry_operation operations[GROUP_LINES];
  uint64_t lines[GROUP_LINES]; /* their numbers */
  size_t count, bytes;
  arena arena;
  uint64_t line, imported, failed;
  uint64_t next_line; /* the first one that no committed group holds */
} import;

static const entry_rules rules = { ENTRY_PUT, wall_ms };

/* column 0: the mistake has none. */
static void line_failed(import *import, uint64_t line, uint64_t column, const char *code,
                        const char *sentence) {
  if (import->failed++ >= ERRORS_SHOWN) return;
  buffer_printf(&import->errors, "%s{\"line\":%llu,", import->errors.size ? ",\n" : "",
                (unsigned long long)line);
  if (column) buffer_printf(&import->errors, "\"column\":%llu,", (unsigned long long)column);
  buffer_printf(&import->errors, "\"code\":\"%s\",", code);
  emit_bytes(&import->errors, "detail", "detail_encoding", maph_str(sentence));
  buffer_text(&import->errors, "}");
}

static bool no_memory(request *request) {
  request->reply.close = true;
  http_disable_keep_alive(request);
  reply_problem(request, 503, "no_memory", "out of memory for the import");
  return false;
}

/* The line that was read last is wrong.  False: memory is, and that was answered. */
static bool line_mistaken(import *import, const json_reader *in) {
  char sentence[JSON_SENTENCE_ROOM];
  if (in->fault == JSON_NO_MEMORY) return no_memory(import->request);
  json_sentence(in, sentence);
  line_failed(import, import->line, json_column(in),
              in->fault == JSON_MEANING ? "bad_entry" : "bad_json", sentence);
  return true;
}

/* Whatever problem ends the import from here on tells how far it came. */
static void note_progress(import *import, uint64_t next_line) {
  import->next_line = next_line;
  snprintf(import->request->reply.members, sizeof import->request->reply.members,
           ",\"imported\":%llu,\"next_line\":%llu", (unsigned long long)import->imported,
           (unsigned long long)next_line);
}

/* The store does not take the group. */
static void group_failed(import *import, int rc) {
  char sentence[SENTENCE_ROOM];
  request *request = import->request;
  if (rc == MAPH_CANTOPEN) {
    reply_store(request, rc);
    return;
  }
  reply_sentence(request, rc, store_of(request)->m, sentence, sizeof sentence);
  reply_problem(request, maph_status(store_core_code(rc)), problem_code(rc, store_of(request)->m),
                "%s; %llu entries were imported and stay: begin again with line %llu", sentence,
                (unsigned long long)import->imported, (unsigned long long)import->next_line);
}

/* Put the group's operations, as one transaction.  False: the store failed, and that was
** answered. */
static bool put_group(import *import) {
  maph_txn *txn = NULL;
  uint64_t put = 0;
  int rc;
  if (!commit_enter(store_of(import->request))) {
    group_failed(import, STORE_CROWDED);
    return false;
  }
  rc = import->count ? maph_txn_begin(store_of(import->request)->m, import->durability, &txn)
                     : MAPH_OK;
  for (size_t k = 0; k < import->count && rc == MAPH_OK; k++) {
    entry_operation *operation = &import->operations[k];
    rc = maph_txn_put_if(txn, operation->key, operation->value, &operation->condition);
    if (rc == MAPH_OK)
      put++;
    else if (rc == MAPH_EXISTS || rc == MAPH_NOTFOUND || rc == MAPH_TOOBIG || rc == MAPH_MISUSE) {
      line_failed(import, import->lines[k], 0, maph_code(rc), maph_strerror(rc));
      rc = MAPH_OK;
    }
  }
  if (rc != MAPH_OK) {
    group_failed(import, rc);
    maph_txn_abort(txn);
  } else if (txn && (rc = maph_txn_commit(txn)) != MAPH_OK)
    group_failed(import, rc);
  else {
    import->imported += put;
    note_progress(import, import->line + 1);
    commit_note(store_of(import->request), import->durability, put);
  }
  commit_leave(store_of(import->request));
  arena_free(&import->arena);
  import->count = import->bytes = 0;
  return rc == MAPH_OK;
}

static bool take_line(import *import, const char *text, size_t size) {
  maph_slice line = maph_bytes(text, size);
  json_reader in;
  import->line++;
  if (json_is_blank(line)) return true;
  if (!arena_copy(&import->arena, line, &line)) return no_memory(import->request);
  import->bytes += size;
  in = json_begin(line);
  if (entry_read_line(&in, &rules, &import->arena, &import->operations[import->count]))
    import->lines[import->count++] = import->line;
  else if (!line_mistaken(import, &in))
    return false;
  return (import->count < GROUP_LINES && import->bytes < GROUP_BYTES) || put_group(import);
}

/* Take the complete lines of the input; keep the rest.  `from` is where bytes were added: before it
** there is no newline. */
static bool take_lines(import *import, size_t from) {
  char *start = import->input.data, *end = start + import->input.size,
       *newline = memchr(start + from, '\n', import->input.size - from);
  for (; newline; newline = memchr(start, '\n', (size_t)(end - start))) {
    if (!take_line(import, start, (size_t)(newline - start))) return false;
    start = newline + 1;
  }
  import->input.size = (size_t)(end - start);
  memmove(import->input.data, start, import->input.size);
  return true;
}

static bool line_too_long(import *import) {
  request *request = import->request;
  request->reply.close = true;
  http_disable_keep_alive(request);
  reply_problem(
      request, 413, "line_too_long",
      "line %llu is too long; %llu entries were imported and stay: begin again with line %llu",
      (unsigned long long)import->line + 1, (unsigned long long)import->imported,
      (unsigned long long)import->next_line);
  return false;
}

/* ---------------------------------------------------------------------------------- a long line */
/* Room for what is in memory of it, twice while that grows and once for the value. */
static bool take_room(import *import) {
  uint64_t needs = 3 * (uint64_t)long_line_memory(import->long_line);
  if (needs > option.memory) return line_too_long(import);
  if (needs <= import->memory) return true;
  if (memory_reserve(needs - import->memory)) {
    import->memory = needs;
    return true;
  }
  import->request->reply.close = true;
  http_disable_keep_alive(import->request);
  reply_problem(import->request, 503, "busy",
                "too many large lines and batches at once; %llu entries were imported and stay: "
                "begin again with line %llu",
                (unsigned long long)import->imported, (unsigned long long)import->next_line);
  return false;
}

static void drop_long_line(import *import) {
  long_line_free(import->long_line);
  import->long_line = NULL;
  memory_release(import->memory);
  import->memory = 0;
}

static bool feed_long_line(import *import, size_t size) {
  if (!long_line_take(import->long_line, import->input.data, size))
    return spool_failed(import->request, -1);
  if (long_line_too_long(import->long_line)) return line_too_long(import);
  if (!take_room(import)) return false;
  import->input.size -= size;
  memmove(import->input.data, import->input.data + size, import->input.size);
  return true;
}

/* It is complete: read it. */
static bool read_long_line(import *import) {
  json_reader in;
  import->line++;
  if (long_line_is_blank(import->long_line)) return true;
  if (!long_line_read(import->long_line, &import->arena, &import->operations[0], &in)) {
    return line_mistaken(import, &in);
  }
  if (long_line_too_long(import->long_line)) {
    import->line--;
    return line_too_long(import);
  }
  import->lines[0] = import->line;
  import->count = 1;
  return true;
}

/* Its end has come: put it, alone. */
static bool end_long_line(import *import) {
  bool ok = put_group(import);
  if (ok && !long_line_end(import->long_line)) ok = spool_failed(import->request, -1);
  if (ok && long_line_too_long(import->long_line)) ok = line_too_long(import);
  ok = ok && read_long_line(import) && put_group(import);
  drop_long_line(import);
  return ok;
}

/* The input, from `from` on newly read, goes on with a long line. */
static bool take_long_line(import *import, size_t from) {
  const char *newline = memchr(import->input.data + from, '\n', import->input.size - from);
  if (newline == NULL) return feed_long_line(import, import->input.size);
  if (!feed_long_line(import, (size_t)(newline - import->input.data)) || !end_long_line(import))
    return false;
  memmove(import->input.data, import->input.data + 1, --import->input.size);
  return take_lines(import, 0);
}

/* ----------------------------------------------------------------------------------- the stream */
static bool take_input(import *import, size_t from) {
  const pieces_limits limits = {
    .value = option.max_body > option.max_batch ? option.max_body : option.max_batch,
    .rest = option.max_batch,
  };
  if (import->long_line) return take_long_line(import, from);
  if (!take_lines(import, from)) return false;
  if (import->input.size < LONG_LINE && import->input.size <= option.max_batch) return true;
  import->long_line = long_line_begin(&limits, &rules);
  return import->long_line ? feed_long_line(import, import->input.size)
                           : no_memory(import->request);
}

/* The byte order mark that the text may begin with.  False: what came may be a part of one. */
static bool skip_mark(import *import) {
  maph_slice rest, input = maph_bytes(import->input.data, import->input.size);
  if (import->begun) return true;
  if (input.size < UTF8_MARK_SIZE && memcmp(input.data, UTF8_MARK, input.size) == 0) return false;
  import->begun = true;
  rest = json_skip_mark(input);
  memmove(import->input.data, rest.data, rest.size);
  import->input.size = rest.size;
  return true;
}

static bool take_end(import *import) {
  if (import->long_line ? !end_long_line(import)
                        : !take_line(import, import->input.data, import->input.size))
    return false;
  return put_group(import);
}

static bool read_lines(import *import) {
  for (;;) {
    size_t from = import->input.size;
    long n;
    if (!buffer_reserve(&import->input, 65536)) return no_memory(import->request);
    n = body_some(import->request, import->input.data + from, import->input.capacity - from,
                  UINT64_MAX);
    if (n < 0) return false;
    if (n == 0) return take_end(import);
    import->input.size += (size_t)n;
    if (!import->begun) from = 0;
    if (skip_mark(import) && !take_input(import, from)) return false;
  }
}

void store_import(request *request) {
  import *import;
  int durability;
  bool lines;
  if (!body_is_json(request, &lines) || !query_durability(request, &durability)
      || !change_allowed(request))
    return;
  import = calloc(1, sizeof *import);
  if (import == NULL) {
    reply_problem(request, 503, "no_memory", "out of memory for the import");
    return;
  }
  import->request = request;
  note_progress(import, 1);
  import->durability = durability;
  if (read_lines(import) && write_holds(request)) {
    request->reply.body->size = 0;
    buffer_printf(request->reply.body,
                  "{\"success\":%s,\"imported\":%llu,\"failed\":%llu,\"errors\":[",
                  import->failed ? "false" : "true", (unsigned long long)import->imported,
                  (unsigned long long)import->failed);
    buffer_append(request->reply.body, import->errors.data, import->errors.size);
    buffer_text(request->reply.body, "]}\n");
    reply_json(request, 200, request->reply.body);
  }
  arena_free(&import->arena);
  drop_long_line(import);
  buffer_free(&import->input);
  buffer_free(&import->errors);
  free(import);
}
