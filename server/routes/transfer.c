/*
** transfer.c - export and import: NDJSON streams of any length in bounded memory.
**
** An export is one snapshot, an entry a line: {"key","value","version","type",...}, with base64
** where bytes are not UTF-8.  A stream that fails on the way ends without its last chunk, so that
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
#include "routes/longline.h"

enum { GROUP_LINES = 1000, GROUP_BYTES = 1024 * 1024, LONG_LINE = 1024 * 1024, ERRORS_SHOWN = 100 };

/* --------------------------------------------------------------------------------------- export */
static bool export_entry(request *r, const maph_entry *e) {
  buffer_text(r->body, "{");
  if (!reply_stream_entry(r, e)) return false;
  buffer_text(r->body, "}\n");
  return true;
}

void store_export(request *r) {
  maph_cursor *c = NULL;
  maph_slice prefix;
  maph_entry e;
  int rc;
  request_query(r, "prefix", &prefix);
  rc = maph_cursor_open(r->store->m, NULL, prefix, &c);
  if (rc != MAPH_OK) {
    reply_store(r, rc);
    return;
  }
  r->body->size = 0;
  reply_start(r, 200);
  if (reply_stream(r, "application/x-ndjson")) {
    rc = MAPH_NOTFOUND; /* the end: HEAD reads nothing */
    while (r->method == METHOD_GET && (rc = maph_cursor_next(c, &e)) == MAPH_OK
           && export_entry(r, &e))
      ;
    if (rc != MAPH_NOTFOUND && rc != MAPH_OK) {
      log_line("export of %s stopped: %s", r->store->name, maph_errmsg(r->store->m));
      r->broken = true;
    }
    if (reply_stream_body(r, 0)) reply_stream_end(r);
  }
  maph_cursor_close(c);
}

/* --------------------------------------------------------------------------------------- import */
typedef struct import {
  request *r;
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
static void line_failed(import *i, uint64_t line, uint64_t column, const char *code,
                        const char *sentence) {
  if (i->failed++ >= ERRORS_SHOWN) return;
  buffer_printf(&i->errors, "%s{\"line\":%llu,", i->errors.size ? ",\n" : "",
                (unsigned long long)line);
  if (column) buffer_printf(&i->errors, "\"column\":%llu,", (unsigned long long)column);
  buffer_printf(&i->errors, "\"code\":\"%s\",", code);
  emit_bytes(&i->errors, "detail", "detail_encoding", maph_str(sentence));
  buffer_text(&i->errors, "}");
}

static bool no_memory(request *r) {
  r->close = true;
  http_disable_keep_alive(r);
  reply_problem(r, 503, "no_memory", "out of memory for the import");
  return false;
}

/* The line that was read last is wrong.  False: memory is, and that was answered. */
static bool line_mistaken(import *i, const json_reader *in) {
  char sentence[JSON_SENTENCE_ROOM];
  if (in->fault == JSON_NO_MEMORY) return no_memory(i->r);
  json_sentence(in, sentence);
  line_failed(i, i->line, json_column(in), in->fault == JSON_MEANING ? "bad_entry" : "bad_json",
              sentence);
  return true;
}

/* Whatever problem ends the import from here on tells how far it came. */
static void note_progress(import *i, uint64_t next_line) {
  i->next_line = next_line;
  snprintf(i->r->members, sizeof i->r->members, ",\"imported\":%llu,\"next_line\":%llu",
           (unsigned long long)i->imported, (unsigned long long)next_line);
}

/* The store does not take the group. */
static void group_failed(import *i, int rc) {
  char sentence[SENTENCE_ROOM];
  request *r = i->r;
  if (rc == MAPH_CANTOPEN) {
    reply_store(r, rc);
    return;
  }
  reply_sentence(r, rc, r->store->m, sentence, sizeof sentence);
  reply_problem(r, maph_status(store_core_code(rc)), maph_code(store_core_code(rc)),
                "%s; %llu entries were imported and stay: begin again with line %llu", sentence,
                (unsigned long long)i->imported, (unsigned long long)i->next_line);
}

/* Put the group's operations, as one transaction.  False: the store failed, and that was
** answered. */
static bool put_group(import *i) {
  maph_txn *t = NULL;
  uint64_t put = 0;
  int rc;
  if (!commit_enter(i->r->store)) {
    group_failed(i, STORE_CROWDED);
    return false;
  }
  rc = i->count ? maph_txn_begin(i->r->store->m, i->durability, &t) : MAPH_OK;
  for (size_t k = 0; k < i->count && rc == MAPH_OK; k++) {
    entry_operation *o = &i->operations[k];
    rc = maph_txn_put_if(t, o->key, o->value, &o->condition);
    if (rc == MAPH_OK)
      put++;
    else if (rc == MAPH_EXISTS || rc == MAPH_NOTFOUND || rc == MAPH_TOOBIG || rc == MAPH_MISUSE) {
      line_failed(i, i->lines[k], 0, maph_code(rc), maph_strerror(rc));
      rc = MAPH_OK;
    }
  }
  if (rc != MAPH_OK) {
    group_failed(i, rc);
    maph_txn_abort(t);
  } else if (t && (rc = maph_txn_commit(t)) != MAPH_OK)
    group_failed(i, rc);
  else {
    i->imported += put;
    note_progress(i, i->line + 1);
    commit_note(i->r->store, i->durability, put);
  }
  commit_leave(i->r->store);
  arena_free(&i->arena);
  i->count = i->bytes = 0;
  return rc == MAPH_OK;
}

static bool take_line(import *i, const char *text, size_t size) {
  maph_slice line = maph_bytes(text, size);
  json_reader in;
  i->line++;
  if (json_is_blank(line)) return true;
  if (!arena_copy(&i->arena, line, &line)) return no_memory(i->r);
  i->bytes += size;
  in = json_begin(line);
  if (entry_read_line(&in, &rules, &i->arena, &i->operations[i->count]))
    i->lines[i->count++] = i->line;
  else if (!line_mistaken(i, &in))
    return false;
  return (i->count < GROUP_LINES && i->bytes < GROUP_BYTES) || put_group(i);
}

/* Take the complete lines of the input; keep the rest.  `from` is where bytes were added: before it
** there is no newline. */
static bool take_lines(import *i, size_t from) {
  char *start = i->input.data, *end = start + i->input.size,
       *newline = memchr(start + from, '\n', i->input.size - from);
  for (; newline; newline = memchr(start, '\n', (size_t)(end - start))) {
    if (!take_line(i, start, (size_t)(newline - start))) return false;
    start = newline + 1;
  }
  i->input.size = (size_t)(end - start);
  memmove(i->input.data, start, i->input.size);
  return true;
}

static bool line_too_long(import *i) {
  request *r = i->r;
  r->close = true;
  http_disable_keep_alive(r);
  reply_problem(
      r, 413, "line_too_long",
      "line %llu is too long; %llu entries were imported and stay: begin again with line %llu",
      (unsigned long long)i->line + 1, (unsigned long long)i->imported,
      (unsigned long long)i->next_line);
  return false;
}

/* ---------------------------------------------------------------------------------- a long line */
/* Room for what is in memory of it, twice while that grows and once for the value. */
static bool take_room(import *i) {
  uint64_t needs = 3 * (uint64_t)long_line_memory(i->long_line);
  if (needs > option.memory) return line_too_long(i);
  if (needs <= i->memory) return true;
  if (memory_reserve(needs - i->memory)) {
    i->memory = needs;
    return true;
  }
  i->r->close = true;
  http_disable_keep_alive(i->r);
  reply_problem(i->r, 503, "busy",
                "too many large lines and batches at once; %llu entries were imported and stay: "
                "begin again with line %llu",
                (unsigned long long)i->imported, (unsigned long long)i->next_line);
  return false;
}

static void drop_long_line(import *i) {
  long_line_free(i->long_line);
  i->long_line = NULL;
  memory_release(i->memory);
  i->memory = 0;
}

static bool feed_long_line(import *i, size_t size) {
  if (!long_line_take(i->long_line, i->input.data, size)) return spool_failed(i->r, -1);
  if (long_line_too_long(i->long_line)) return line_too_long(i);
  if (!take_room(i)) return false;
  i->input.size -= size;
  memmove(i->input.data, i->input.data + size, i->input.size);
  return true;
}

/* It is complete: read it. */
static bool read_long_line(import *i) {
  json_reader in;
  i->line++;
  if (long_line_is_blank(i->long_line)) return true;
  if (!long_line_read(i->long_line, &i->arena, &i->operations[0], &in)) {
    return line_mistaken(i, &in);
  }
  if (long_line_too_long(i->long_line)) {
    i->line--;
    return line_too_long(i);
  }
  i->lines[0] = i->line;
  i->count = 1;
  return true;
}

/* Its end has come: put it, alone. */
static bool end_long_line(import *i) {
  bool ok = put_group(i);
  if (ok && !long_line_end(i->long_line)) ok = spool_failed(i->r, -1);
  if (ok && long_line_too_long(i->long_line)) ok = line_too_long(i);
  ok = ok && read_long_line(i) && put_group(i);
  drop_long_line(i);
  return ok;
}

/* The input, from `from` on newly read, goes on with a long line. */
static bool take_long_line(import *i, size_t from) {
  const char *newline = memchr(i->input.data + from, '\n', i->input.size - from);
  if (newline == NULL) return feed_long_line(i, i->input.size);
  if (!feed_long_line(i, (size_t)(newline - i->input.data)) || !end_long_line(i)) return false;
  memmove(i->input.data, i->input.data + 1, --i->input.size);
  return take_lines(i, 0);
}

/* ----------------------------------------------------------------------------------- the stream */
static bool take_input(import *i, size_t from) {
  const pieces_limits limits = {
    .value = option.max_body > option.max_batch ? option.max_body : option.max_batch,
    .rest = option.max_batch,
  };
  if (i->long_line) return take_long_line(i, from);
  if (!take_lines(i, from)) return false;
  if (i->input.size < LONG_LINE && i->input.size <= option.max_batch) return true;
  i->long_line = long_line_begin(&limits, &rules);
  return i->long_line ? feed_long_line(i, i->input.size) : no_memory(i->r);
}

/* The byte order mark that the text may begin with.  False: what came may be a part of one. */
static bool skip_mark(import *i) {
  maph_slice rest, input = maph_bytes(i->input.data, i->input.size);
  if (i->begun) return true;
  if (input.size < UTF8_MARK_SIZE && memcmp(input.data, UTF8_MARK, input.size) == 0) return false;
  i->begun = true;
  rest = json_skip_mark(input);
  memmove(i->input.data, rest.data, rest.size);
  i->input.size = rest.size;
  return true;
}

static bool take_end(import *i) {
  if (i->long_line ? !end_long_line(i) : !take_line(i, i->input.data, i->input.size)) return false;
  return put_group(i);
}

static bool read_lines(import *i) {
  for (;;) {
    size_t from = i->input.size;
    long n;
    if (!buffer_reserve(&i->input, 65536)) return no_memory(i->r);
    n = body_some(i->r, i->input.data + from, i->input.capacity - from, UINT64_MAX);
    if (n < 0) return false;
    if (n == 0) return take_end(i);
    i->input.size += (size_t)n;
    if (!i->begun) from = 0;
    if (skip_mark(i) && !take_input(i, from)) return false;
  }
}

void store_import(request *r) {
  import *i;
  int durability;
  bool lines;
  if (!body_is_json(r, &lines) || !query_durability(r, &durability) || !write_allowed(r)) return;
  i = calloc(1, sizeof *i);
  if (i == NULL) {
    reply_problem(r, 503, "no_memory", "out of memory for the import");
    return;
  }
  i->r = r;
  note_progress(i, 1);
  i->durability = durability;
  if (read_lines(i) && write_holds(r)) {
    r->body->size = 0;
    buffer_printf(r->body, "{\"success\":%s,\"imported\":%llu,\"failed\":%llu,\"errors\":[",
                  i->failed ? "false" : "true", (unsigned long long)i->imported,
                  (unsigned long long)i->failed);
    buffer_append(r->body, i->errors.data, i->errors.size);
    buffer_text(r->body, "]}\n");
    reply_json(r, 200, r->body);
  }
  arena_free(&i->arena);
  drop_long_line(i);
  buffer_free(&i->input);
  buffer_free(&i->errors);
  free(i);
}
