/*
** import.c - import: entries from NDJSON, CSV, TSV or another store.
**
** Entries are collected, up to a batch or BYTES_MOST, and then put in one transaction: while it
** waits for input nothing is locked.  With --atomic one transaction is open from the first group to
** the end.  A store that is not there yet, or that nobody wrote to, is loaded (maph_load_begin):
** what is put is seen at the end, all at once.  That holds for files and stores, which end soon,
** and for what comes through a pipe as long as it comes soon: after INPUT_PAUSE_MS without any, or
** where a batch takes longer than SLOW_MS, what was loaded becomes the store, and the rest goes in
** transactions.  So does what follows the first line that has a condition.  A mistake, a signal or
** a failing store ends the import with the group that was being collected dropped, and a sentence
** that says what stays.
*/
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "cli.h"

enum { BYTES_MOST = 64 * 1024 * 1024, GROUP_ATOMIC = 10000, SLOW_MS = 5000 };

typedef struct import {
  const arguments *args;
  const char *source;
  maph *m;
  maph_txn *txn;     /* of --atomic */
  maph_load *load;   /* instead of both, while the store is made */
  bool made;         /* by us, without a load */
  bool flows;        /* it comes through a pipe */
  uint64_t began_ms; /* of the rows that are collected */
  row *rows;
  uint64_t *lines; /* of each row; for messages */
  size_t n, room;
  arena arena;
  column_plan columns; /* of CSV, TSV */
  /* put_line: the last one that was put */
  uint64_t put, skipped, wrong, transactions, put_line;
} import;

/* ------------------------------------------------------------------------------------ the store */
static int put_row(import *import, maph_txn *txn, const row *row) {
  maph_condition condition = { .when = import->args->if_absent ? MAPH_IF_ABSENT : row->when,
                               .expires = row->expires,
                               .type = row->type,
                               .key_type = row->key_type,
                               .media_type = row->media_type };
  return import->load ? maph_load_put(import->load, row->key, row->value, &condition)
                      : maph_txn_put_if(txn, row->key, row->value, &condition);
}

static bool put_rows(import *import, maph_txn *txn, uint64_t *put) {
  int rc = MAPH_OK;
  *put = 0;
  for (size_t k = 0; k < import->n && rc == MAPH_OK; k++) {
    rc = put_row(import, txn, &import->rows[k]);
    if (rc == MAPH_OK) ++*put;
    if (rc == MAPH_EXISTS || rc == MAPH_NOTFOUND) {
      import->skipped++;
      rc = MAPH_OK;
    }
    if (rc == MAPH_OK && file_cut_short()) rc = FILE_CUT_SHORT;
  }
  if (rc != MAPH_OK) store_failed(import->args->operand[0], rc);
  return rc == MAPH_OK;
}

static bool commit(import *import, maph_txn *txn) {
  int rc = store_commit(txn);
  if (rc != MAPH_OK) {
    store_failed(import->args->operand[0], rc);
    return false;
  }
  import->transactions++;
  return true;
}

/* keep: what was loaded becomes the store.  False: it did not; said why */
static bool end_load(import *import, bool keep) {
  int rc = keep ? maph_load_finish(import->load) : maph_load_abort(import->load);
  import->load = NULL;
  if (rc != MAPH_OK) store_failed(import->args->operand[0], rc);
  if (!keep || rc != MAPH_OK) import->put = 0;
  import->transactions += import->put > 0;
  return rc == MAPH_OK;
}

static bool has_conditions(const import *import) {
  for (size_t k = 0; k < import->n; k++)
    if (import->rows[k].when != MAPH_ALWAYS) return true;
  return false;
}

/* The rows that were collected are not loaded: they go into what was loaded so far. */
static bool leave_load(import *import) {
  const char *path = import->args->operand[0];
  bool some = import->put > 0;
  if (!end_load(import, some)) return false;
  import->m = some ? store_open(import->args, path, MAPH_RDWR)
                   : store_open_or_make(import->args, path, &import->made);
  return import->m != NULL;
}

static bool at_pause(void *whose) {
  import *import = whose;
  return import->load == NULL || leave_load(import);
}

static bool is_slow(import *import) {
  uint64_t now = steady_ms(), took = now - import->began_ms;
  import->began_ms = now;
  return import->flows && took > SLOW_MS;
}

static bool load_group(import *import) {
  uint64_t put;
  bool ok = put_rows(import, NULL, &put);
  import->put += put;
  if (ok) import->put_line = import->lines[import->n - 1];
  if (!ok) end_load(import, false);
  import->n = 0;
  arena_free(&import->arena);
  return ok && (!is_slow(import) || leave_load(import));
}

/* Put the rows that were collected.  False: said why, and they were not put. */
static bool put_group(import *import) {
  maph_txn *txn = import->txn;
  uint64_t put;
  bool ok;
  if (import->n == 0) return true;
  if (import->load && has_conditions(import) && !leave_load(import)) return false;
  if (import->load) return load_group(import);
  if (txn == NULL && (txn = store_begin(import->args, import->m, import->args->operand[0])) == NULL)
    return false;
  if (import->args->atomic) import->txn = txn;
  ok = put_rows(import, txn, &put);
  if (ok && !import->args->atomic)
    ok = commit(import, txn);
  else if (!import->args->atomic)
    maph_txn_abort(txn);
  if (ok) {
    import->put += put;
    import->put_line = import->lines[import->n - 1];
  }
  import->n = 0;
  arena_free(&import->arena);
  return ok;
}

/* Room for one more row, zeroed. */
static row *new_row(import *import, uint64_t line) {
  if (import->n == import->room) {
    size_t room = import->room ? 2 * import->room : 1024;
    row *rows = realloc(import->rows, room * sizeof *rows);
    uint64_t *lines = rows ? realloc(import->lines, room * sizeof *lines) : NULL;
    if (rows) import->rows = rows;
    if (lines) import->lines = lines;
    if (lines == NULL) {
      complain("out of memory");
      return NULL;
    }
    import->room = room;
  }
  memset(&import->rows[import->n], 0, sizeof import->rows[0]);
  import->lines[import->n] = line;
  return &import->rows[import->n];
}

static bool row_done(import *import) {
  row *row = &import->rows[import->n++];
  if (row->expires == 0 && import->args->ttl_ms != NOT_GIVEN)
    row->expires = wall_ms() + import->args->ttl_ms;
  if (import->n < (import->args->atomic ? GROUP_ATOMIC : import->args->batch)
      && import->arena.bytes < BYTES_MOST)
    return true;
  return put_group(import);
}

/* A line is wrong: true when the import goes on without it. */
static bool wrong_line(import *import, uint64_t line, const char *mistake) {
  import->wrong++;
  complain("%s line %llu: %s", import->source, (unsigned long long)line, mistake);
  return import->args->keep_going;
}

/* --------------------------------------------------------------------------------------- NDJSON */
static bool import_ndjson(import *import, input *in) {
  enum taken taken;
  maph_slice line;
  char room[JSON_SENTENCE_ROOM];
  while ((taken = input_line(in, '\n', &line)) != AT_END && !stop_asked()) {
    const char *mistake;
    row *row;
    if (taken == TAKE_FAILED) return false;
    if (taken == TAKE_WRONG || json_is_blank(line)) continue;
    if ((row = new_row(import, in->line)) == NULL) return false;
    mistake = ndjson_row(line, &import->arena, row, room);
    if (mistake ? !wrong_line(import, in->line, mistake) : !row_done(import)) return false;
    progress_show(in->taken, in->total, BYTES);
  }
  return taken == AT_END;
}

/* ------------------------------------------------------------------------------------- CSV, TSV */
static bool goes_on(enum taken taken) { return taken == TAKEN || taken == TAKE_WRONG; }

static bool import_records(import *import, input *in, enum taken (*next)(input *, record *)) {
  record rec;
  char room[COLUMNS_SENTENCE_ROOM];
  bool ok = true;
  enum taken taken = TAKEN;
  memset(&rec, 0, sizeof rec);
  if (!import->args->no_header) taken = next(in, &rec);
  if (taken == TAKEN) {
    const record *header = import->args->no_header ? NULL : &rec;
    ok = columns_plan(&import->columns, import->args, import->source, header);
  }
  in->keeps_going = import->args->keep_going;
  while (ok && goes_on(taken) && !stop_asked() && goes_on(taken = next(in, &rec))) {
    const char *mistake;
    row *row;
    if (taken == TAKE_WRONG) continue;
    if (rec.fields == 1 && rec.field[0].size == 0) continue;
    ok = (row = new_row(import, rec.line)) != NULL;
    if (!ok) break;
    mistake = columns_row(&import->columns, &rec, &import->arena, row, room);
    ok = mistake ? wrong_line(import, rec.line, mistake) : row_done(import);
    progress_show(in->taken, in->total, BYTES);
  }
  record_free(&rec);
  return ok && taken == AT_END;
}

/* -------------------------------------------------------------------------------- another store */
/* What a cursor hands out stays where it is until the store is closed, which is after the last
** group was put. */
static bool import_store(import *import, maph *from) {
  maph_snapshot *snapshot = NULL;
  maph_cursor *cursor = NULL;
  maph_entry entry;
  uint64_t n = 0, total = 0;
  bool ok = true;
  int rc = maph_snapshot_open(from, &snapshot);
  if (rc == MAPH_OK) {
    total = maph_snapshot_records(snapshot);
    rc = maph_cursor_open(from, snapshot, maph_str(""), &cursor);
  }
  while (ok && rc == MAPH_OK && !stop_asked()
         && (rc = maph_cursor_next(cursor, &entry)) == MAPH_OK) {
    row *row = new_row(import, ++n);
    ok = row != NULL;
    if (!ok) break;
    *row = (struct row){ .key = entry.key,
                         .value = entry.value,
                         .media_type = entry.media_type,
                         .expires = entry.expires,
                         .type = entry.type,
                         .key_type = entry.key_type };
    ok = row_done(import);
    progress_show(n, total, NUMBER);
  }
  if (ok && rc != MAPH_OK && rc != MAPH_NOTFOUND) {
    store_failed(import->source, rc);
    ok = false;
  }
  if (ok && rc == MAPH_NOTFOUND) ok = put_group(import);
  maph_cursor_close(cursor);
  maph_snapshot_close(snapshot);
  return ok && rc == MAPH_NOTFOUND;
}

/* ---------------------------------------------------------------------------------- the command */
/* Spreadsheets, and editors of Windows, begin a file with the mark U+FEFF. */
static void skip_byte_order_mark(input *in) {
  while (in->end - in->at < UTF8_MARK_SIZE && input_fill(in)) {}
  if (!utf8_begins_with_mark(maph_bytes(in->data + in->at, in->end - in->at))) return;
  in->at += UTF8_MARK_SIZE;
  in->taken += UTF8_MARK_SIZE;
}

static const char *format_name(const char *format) {
  if (strcmp(format, "csv") == 0) return "CSV";
  return strcmp(format, "tsv") == 0 ? "TSV" : "NDJSON";
}

/* Whether it is text of that format, as far as its beginning tells; with --keep-going a first line
** that is not may be a wrong one. */
static bool is_text(const import *import, input *in, const char *format) {
  const char *form, *of = "lines of text";
  while (in->end - in->at < FORM_SIZE && input_fill(in)) {}
  form = form_of(maph_bytes(in->data + in->at, in->end - in->at));
  if (form == NULL && !import->args->keep_going) {
    form = form_of_text(format, maph_bytes(in->data + in->at, in->end - in->at));
    of = format_name(format);
  }
  if (form) complain("%s is not %s but %s", import->source, of, form);
  return form == NULL && !in->failed;
}

static bool import_text(import *import, const char *format, input *in) {
  bool ok;
  skip_byte_order_mark(in);
  if (!is_text(import, in, format)) return false;
  if (strcmp(format, "csv") == 0) {
    ok = import_records(import, in, csv_record);
  } else if (strcmp(format, "tsv") == 0) {
    ok = import_records(import, in, tsv_record);
  } else {
    in->keeps_going = import->args->keep_going;
    ok = import_ndjson(import, in);
  }
  import->wrong += in->wrong;
  return ok;
}

/* The end of a transaction of --atomic, and what is said. */
static int finish(import *import, bool ok) {
  char put[40], transactions[40];
  if (ok) ok = put_group(import);
  if (import->load) {
    bool whole = ok && !(import->args->atomic && import->wrong && !import->args->keep_going);
    ok = end_load(import, whole || (!import->args->atomic && import->put > 0)) && ok;
  }
  if (import->txn && ok && !(import->wrong && !import->args->keep_going))
    ok = commit(import, import->txn);
  else
    maph_txn_abort(import->txn);
  progress_end();
  if (!ok && (import->args->atomic || import->transactions == 0))
    note(import->args, "nothing was put");
  else if (!ok) {
    note(import->args,
         "what was put before stays: %s, up to line %llu of %s, in %s; nothing after that was put",
         count_of(import->put, "key", put), (unsigned long long)import->put_line, import->source,
         count_of(import->transactions, "transaction", transactions));
  }
  if (!ok && import->args->atomic) import->put = 0;
  if (import->args->json) {
    output_format(&standard_output,
                  "{\"success\":%s,\"imported\":%llu,\"skipped\":%llu,\"failed\":%llu,"
                  "\"transactions\":%llu}\n",
                  ok && !import->wrong ? "true" : "false", (unsigned long long)import->put,
                  (unsigned long long)import->skipped, (unsigned long long)import->wrong,
                  (unsigned long long)import->transactions);
  } else if (ok && !import->args->quiet) {
    output_format(&standard_output, "imported %s", count_of(import->put, "key", put));
    if (import->skipped)
      output_format(&standard_output, ", left out %s by its condition",
                    count_of(import->skipped, "line", put));
    if (import->wrong)
      output_format(&standard_output, ", left out %s that %s wrong",
                    count_of(import->wrong, "line", put), import->wrong == 1 ? "was" : "were");
    output_text(&standard_output, "\n");
  }
  return output_end(&standard_output) && ok && import->wrong == 0 ? DONE : FAILED;
}

/* Is a store that is empty yet, or to be made, better loaded?  What is typed comes slowly. */
static bool may_load(import *import, const char *format, input *in, const maph *from) {
  const arguments *args = import->args;
  struct stat st;
  if (args->if_absent || args->batch != BATCH) return false;
  if (args->atomic) return strcmp(format, "ndjson") != 0; /* whose lines may have conditions */
  if (from) return true;
  if (fstat(in->fd, &st) != 0) return false;
  import->flows = S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode);
  if (import->flows) {
    in->pauses = at_pause;
    in->whose = import;
    import->began_ms = steady_ms();
  }
  return import->flows || S_ISREG(st.st_mode);
}

static int import_into(import *import, const char *format, input *in, maph *from) {
  const char *path = import->args->operand[0];
  bool useless, ok;
  int status;
  if (may_load(import, format, in, from) && !store_load(import->args, path, &import->load))
    return FAILED;
  if (import->load == NULL
      && (import->m = store_open_or_make(import->args, path, &import->made)) == NULL)
    return FAILED;
  progress_start(import->args, "import");
  ok = from ? import_store(import, from) : import_text(import, format, in);
  status = finish(import, ok && !stop_asked());
  if (import->m == NULL) return status;
  useless = import->made && status == FAILED && store_is_new(import->m);
  status = store_close(import->m, path, status);
  if (useless) maph_destroy(path, 0);
  return status;
}

static void import_free(import *import) {
  arena_free(&import->arena);
  columns_free(&import->columns);
  free(import->rows);
  free(import->lines);
}

int command_import(arguments *args) {
  const char *path = args->operand[0], *source = args->operands > 1 ? args->operand[1] : "-",
             *format = format_of(args, source);
  struct import import = { .args = args };
  maph *from = NULL;
  input in;
  int status;
  import.source = strcmp(source, "-") == 0 ? "standard input" : source;
  if (strcmp(source, "-") == 0) note_typing(args, "the entries");
  if (!input_open(&in, source, (size_t)args->max_line)) return FAILED;
  if (same_file(path, in.fd)) {
    input_close(&in);
    return complain("%s is the store itself", import.source);
  }
  if (strcmp(format, "maph") == 0 && (from = store_open(args, source, MAPH_RDONLY)) == NULL)
    status = FAILED;
  else
    status = import_into(&import, format, &in, from);
  if (from) status = store_close(from, source, status);
  input_close(&in);
  import_free(&import);
  return status;
}
