/*
** import.c - import: entries from NDJSON, CSV, TSV or another store.
**
** Entries are collected, up to a batch or BYTES_MOST, and then put in one transaction: while it
** waits for input nothing is locked.  With --atomic one transaction is open from the first group to
** the end.  A store that is not there yet is loaded (maph_load_begin): what is put is seen at the
** end, all at once.  That holds for files and stores, which end soon.  Lines that come through a
** pipe go in transactions, and so does what follows the first line that has a condition.  A
** mistake, a signal or a failing store ends the import with the group that was being collected
** dropped, and a sentence that says what stays.
**
** Rows of CSV and TSV: what a column means comes from its name (plan_columns).  With no column for
** the value, the other columns of the row become a JSON object of strings.
*/
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "cli.h"

enum { BYTES_MOST = 64 * 1024 * 1024, GROUP_ATOMIC = 10000 };

enum meaning { KEY, VALUE, TYPE, MEDIA_TYPE, EXPIRES_AT, TTL, KEY_TYPE, LET_PASS, MEMBER };
typedef struct column {
  char *name;
  enum meaning meaning;
} column;

typedef struct import {
  const arguments *a;
  const char *source;
  maph *m;
  maph_txn *txn;   /* of --atomic */
  maph_load *load; /* instead of both, while the store is made */
  row *rows;
  uint64_t *lines; /* of each row; for messages */
  size_t n, room;
  arena arena;
  column *columns;
  size_t column_count, column_room;
  /* put_line: the last one that was put */
  uint64_t put, skipped, wrong, transactions, put_line;
} import;

/* ------------------------------------------------------------------------------------ the store */
static int put_row(import *i, maph_txn *t, const row *r) {
  maph_condition c = { .when = i->a->if_absent ? MAPH_IF_ABSENT : r->when,
                       .expires = r->expires,
                       .type = r->type,
                       .key_type = r->key_type,
                       .media_type = r->media_type };
  return i->load ? maph_load_put(i->load, r->key, r->value, &c)
                 : maph_txn_put_if(t, r->key, r->value, &c);
}

static bool put_rows(import *i, maph_txn *t, uint64_t *put) {
  int rc = MAPH_OK;
  *put = 0;
  for (size_t k = 0; k < i->n && rc == MAPH_OK; k++) {
    rc = put_row(i, t, &i->rows[k]);
    if (rc == MAPH_OK) ++*put;
    if (rc == MAPH_EXISTS || rc == MAPH_NOTFOUND) {
      i->skipped++;
      rc = MAPH_OK;
    }
    if (rc == MAPH_OK && file_cut_short()) rc = MAPH_IOERR;
  }
  if (rc != MAPH_OK) store_failed(i->a->operand[0], rc);
  return rc == MAPH_OK;
}

static bool commit(import *i, maph_txn *t) {
  int rc = store_commit(t);
  if (rc != MAPH_OK) {
    store_failed(i->a->operand[0], rc);
    return false;
  }
  i->transactions++;
  return true;
}

/* keep: what was loaded becomes the store.  False: it did not; said why */
static bool end_load(import *i, bool keep) {
  int rc = keep ? maph_load_finish(i->load) : maph_load_abort(i->load);
  i->load = NULL;
  if (rc != MAPH_OK) store_failed(i->a->operand[0], rc);
  if (!keep || rc != MAPH_OK) i->put = 0;
  i->transactions += i->put > 0;
  return rc == MAPH_OK;
}

static bool has_conditions(const import *i) {
  for (size_t k = 0; k < i->n; k++)
    if (i->rows[k].when != MAPH_ALWAYS) return true;
  return false;
}

/* The rows that were collected cannot be loaded: they go into what was loaded so far. */
static bool leave_load(import *i) {
  return end_load(i, true) && (i->m = store_open(i->a, i->a->operand[0], MAPH_RDWR)) != NULL;
}

static bool load_group(import *i) {
  uint64_t put;
  bool ok = put_rows(i, NULL, &put);
  i->put += put;
  if (ok) i->put_line = i->lines[i->n - 1];
  if (!ok) end_load(i, false);
  i->n = 0;
  arena_free(&i->arena);
  return ok;
}

/* Put the rows that were collected.  False: said why, and they were not put. */
static bool put_group(import *i) {
  maph_txn *t = i->txn;
  uint64_t put;
  bool ok;
  if (i->n == 0) return true;
  if (i->load && has_conditions(i) && !leave_load(i)) return false;
  if (i->load) return load_group(i);
  if (t == NULL && (t = store_begin(i->a, i->m, i->a->operand[0])) == NULL) return false;
  if (i->a->atomic) i->txn = t;
  ok = put_rows(i, t, &put);
  if (ok && !i->a->atomic)
    ok = commit(i, t);
  else if (!i->a->atomic)
    maph_txn_abort(t);
  if (ok) {
    i->put += put;
    i->put_line = i->lines[i->n - 1];
  }
  i->n = 0;
  arena_free(&i->arena);
  return ok;
}

/* Room for one more row, zeroed. */
static row *new_row(import *i, uint64_t line) {
  if (i->n == i->room) {
    size_t room = i->room ? 2 * i->room : 1024;
    row *rows = realloc(i->rows, room * sizeof *rows);
    uint64_t *lines = rows ? realloc(i->lines, room * sizeof *lines) : NULL;
    if (rows) i->rows = rows;
    if (lines) i->lines = lines;
    if (lines == NULL) {
      complain("out of memory");
      return NULL;
    }
    i->room = room;
  }
  memset(&i->rows[i->n], 0, sizeof i->rows[0]);
  i->lines[i->n] = line;
  return &i->rows[i->n];
}

static bool row_done(import *i) {
  row *r = &i->rows[i->n++];
  if (r->expires == 0 && i->a->ttl_ms != NOT_GIVEN) r->expires = wall_ms() + i->a->ttl_ms;
  if (i->n < (i->a->atomic ? GROUP_ATOMIC : i->a->batch) && i->arena.bytes < BYTES_MOST)
    return true;
  return put_group(i);
}

/* A line is wrong: true when the import goes on without it. */
static bool wrong_line(import *i, uint64_t line, const char *mistake) {
  i->wrong++;
  complain("%s line %llu: %s", i->source, (unsigned long long)line, mistake);
  return i->a->keep_going;
}

/* --------------------------------------------------------------------------------------- NDJSON */
static bool import_ndjson(import *i, input *in) {
  enum taken taken;
  maph_slice line;
  char room[JSON_SENTENCE_ROOM];
  while ((taken = input_line(in, '\n', &line)) != AT_END && !stop_asked()) {
    const char *mistake;
    row *r;
    if (taken == TAKE_FAILED) return false;
    if (taken == TAKE_WRONG || json_is_blank(line)) continue;
    if ((r = new_row(i, in->line)) == NULL) return false;
    mistake = ndjson_row(line, &i->arena, r, room);
    if (mistake ? !wrong_line(i, in->line, mistake) : !row_done(i)) return false;
    progress_show(in->taken, in->total, BYTES);
  }
  return taken == AT_END;
}

/* ------------------------------------------------------------------------------------- CSV, TSV */
static bool add_column(import *i, maph_slice name) {
  if (name.size && memchr(name.data, 0, name.size)) {
    complain("%s: a column's name holds a NUL byte: is it text in UTF-8?", i->source);
    return false;
  }
  size_t room = i->column_count < i->column_room ? i->column_room : 2 * i->column_room + 16;
  column *more = room == i->column_room ? i->columns : realloc(i->columns, room * sizeof *more);
  if (more) {
    i->columns = more;
    i->column_room = room;
    more[i->column_count].name = strndup(name.data, name.size);
  }
  if (more == NULL || more[i->column_count].name == NULL) {
    complain("out of memory");
    return false;
  }
  i->column_count++;
  return true;
}

static bool name_columns(import *i, const record *header, const char *list) {
  if (list == NULL && header) {
    for (size_t k = 0; k < header->fields; k++)
      if (!add_column(i, header->field[k])) return false;
    return true;
  }
  for (const char *p = list ? list : "key,value";; p++) {
    size_t size = strcspn(p, ",");
    if (!add_column(i, maph_bytes(p, size))) return false;
    p += size;
    if (*p == 0) return true;
  }
}

static long column_named(const import *i, const char *name) {
  long found = -1;
  for (size_t k = 0; k < i->column_count; k++) {
    if (strcmp(i->columns[k].name, name) != 0) continue;
    if (found >= 0) {
      complain("%s: two columns are named %s", i->source, name);
      return -2;
    }
    found = (long)k;
  }
  return found;
}

static bool meaning_of(import *i, column *c, bool has_value) {
  static const struct {
    const char *name;
    enum meaning meaning;
  } known[] = {
    { "type", TYPE },     { "media_type", MEDIA_TYPE }, { "expires_at", EXPIRES_AT },
    { "ttl", TTL },       { "key_type", KEY_TYPE },     { "version", LET_PASS },
    { "size", LET_PASS },
  };
  if (!has_value) {
    c->meaning = MEMBER;
    return true;
  }
  c->meaning = LET_PASS;
  for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
    if (strcmp(c->name, known[k].name) != 0) continue;
    c->meaning = known[k].meaning;
    return true;
  }
  if (i->a->value_column) return true;
  complain("%s: there is no use for the column %s; --value-column value lets such columns be",
           i->source, c->name);
  return false;
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of the columns that are used. */
static bool names_differ(const import *i) {
  char **names = malloc(i->column_count * sizeof *names), *twice = NULL;
  size_t n = 0;
  if (names == NULL) {
    complain("out of memory");
    return false;
  }
  for (size_t k = 0; k < i->column_count; k++)
    if (i->columns[k].meaning != LET_PASS) names[n++] = i->columns[k].name;
  qsort(names, n, sizeof *names, by_name);
  for (size_t k = 1; k < n && twice == NULL; k++)
    if (strcmp(names[k - 1], names[k]) == 0) twice = names[k];
  if (twice) complain("%s: two columns are named %s", i->source, twice);
  free(names);
  return twice == NULL;
}

static bool plan_columns(import *i, const record *header) {
  const char *key_name = i->a->key_column ? i->a->key_column : "key",
             *value_name = i->a->value_column ? i->a->value_column : "value";
  long key, value;
  if (!name_columns(i, header, i->a->columns)) return false;
  key = column_named(i, key_name);
  value = column_named(i, value_name);
  if (key == -2 || value == -2) return false;
  if (key < 0) {
    complain("%s: no column is named %s; --key-column NAME says which is the key", i->source,
             key_name);
    return false;
  }
  if (value < 0 && i->a->value_column) {
    complain("%s: no column is named %s", i->source, value_name);
    return false;
  }
  if (key == value) {
    complain("%s: one column cannot be both key and value", i->source);
    return false;
  }
  if (i->column_count == 1) {
    complain("%s: there is no column but the key: nothing to put as its value", i->source);
    return false;
  }
  for (size_t k = 0; k < i->column_count; k++) {
    column *c = &i->columns[k];
    if ((long)k == key)
      c->meaning = KEY;
    else if ((long)k == value)
      c->meaning = VALUE;
    else if (!meaning_of(i, c, value >= 0))
      return false;
  }
  return names_differ(i);
}

static const char *read_number(maph_slice field, uint64_t *number) {
  char text[24];
  if (field.size >= sizeof text) return "that is not a whole number";
  memcpy(text, field.data, field.size);
  text[field.size] = 0;
  return number_parse(text, COUNT, number) ? NULL : "expires_at and ttl are whole numbers";
}

static const char *read_name(maph_slice field, int (*from_name)(const char *), int *type) {
  char text[16] = "";
  if (field.size < sizeof text) memcpy(text, field.data, field.size);
  *type = from_name(text);
  return *type >= 0                          ? NULL
         : from_name == entry_type_from_name ? "type is blob, text, json, integer, real or null"
                                             : "key_type is bytes, text or blob";
}

static const char *read_field(import *i, enum meaning meaning, maph_slice field, row *r) {
  const char *mistake;
  uint64_t number;
  if (meaning != KEY && meaning != VALUE && field.size == 0) return NULL;
  switch (meaning) {
    case KEY: return arena_copy(&i->arena, field, &r->key) ? NULL : "out of memory";
    case VALUE: return arena_copy(&i->arena, field, &r->value) ? NULL : "out of memory";
    case MEDIA_TYPE: return arena_copy(&i->arena, field, &r->media_type) ? NULL : "out of memory";
    case TYPE: return read_name(field, entry_type_from_name, &r->type);
    case KEY_TYPE: return read_name(field, entry_key_type_from_name, &r->key_type);
    case EXPIRES_AT: return read_number(field, &r->expires);
    case TTL: mistake = read_number(field, &number); return mistake ? mistake : row_ttl(number, r);
    default: return NULL;
  }
}

static void escape_json(char **out, maph_slice text) {
  static const char digits[] = "0123456789abcdef";
  const unsigned char *p = text.data, *end = p + text.size;
  char *to = *out;
  *to++ = '"';
  for (; p < end; p++) {
    if (*p == '"' || *p == '\\') {
      *to++ = '\\';
      *to++ = (char)*p;
    } else if (*p >= 0x20)
      *to++ = (char)*p;
    else {
      memcpy(to, "\\u00", 4);
      to[4] = digits[*p >> 4];
      to[5] = digits[*p & 15];
      to += 6;
    }
  }
  *to++ = '"';
  *out = to;
}

/* The row's members as a JSON object of strings. */
static const char *make_object(import *i, const record *rec, row *r) {
  size_t room = 2;
  char *out, *start;
  for (size_t k = 0; k < rec->fields; k++)
    room += 6 * (strlen(i->columns[k].name) + rec->field[k].size) + 6;
  if ((out = start = arena_take(&i->arena, room)) == NULL) return "out of memory";
  *out++ = '{';
  for (size_t k = 0; k < rec->fields; k++) {
    if (i->columns[k].meaning != MEMBER) continue;
    if (!utf8_valid(rec->field[k]) || !utf8_valid(maph_str(i->columns[k].name)))
      return "a field that goes into JSON is not UTF-8";
    if (out - start > 1) *out++ = ',';
    escape_json(&out, maph_str(i->columns[k].name));
    *out++ = ':';
    escape_json(&out, rec->field[k]);
  }
  *out++ = '}';
  r->value = maph_bytes(start, (size_t)(out - start));
  r->type = MAPH_JSON;
  return NULL;
}

static const char *read_record(import *i, const record *rec, row *r, char *room, size_t room_size) {
  const char *mistake = NULL;
  bool members = true;
  if (rec->fields != i->column_count) {
    snprintf(room, room_size, "%zu fields, where there are %zu columns", rec->fields,
             i->column_count);
    return room;
  }
  r->type = -1;
  for (size_t k = 0; k < rec->fields && mistake == NULL; k++) {
    if (i->columns[k].meaning == VALUE) members = false;
    mistake = read_field(i, i->columns[k].meaning, rec->field[k], r);
  }
  if (mistake == NULL && members) mistake = make_object(i, rec, r);
  if (mistake) return mistake;
  if (r->type < 0) r->type = entry_type_of_bytes(r->value);
  return row_check(r);
}

static bool goes_on(enum taken taken) { return taken == TAKEN || taken == TAKE_WRONG; }

static bool import_records(import *i, input *in, enum taken (*next)(input *, record *)) {
  record rec;
  char room[128];
  bool ok = true;
  enum taken taken = TAKEN;
  memset(&rec, 0, sizeof rec);
  if (!i->a->no_header) taken = next(in, &rec);
  if (taken == TAKEN) ok = plan_columns(i, i->a->no_header ? NULL : &rec);
  in->keeps_going = i->a->keep_going;
  while (ok && goes_on(taken) && !stop_asked() && goes_on(taken = next(in, &rec))) {
    const char *mistake;
    row *r;
    if (taken == TAKE_WRONG) continue;
    if (rec.fields == 1 && rec.field[0].size == 0) continue;
    ok = (r = new_row(i, rec.line)) != NULL;
    if (!ok) break;
    mistake = read_record(i, &rec, r, room, sizeof room);
    ok = mistake ? wrong_line(i, rec.line, mistake) : row_done(i);
    progress_show(in->taken, in->total, BYTES);
  }
  record_free(&rec);
  return ok && taken == AT_END;
}

/* -------------------------------------------------------------------------------- another store */
/* What a cursor hands out stays where it is until the store is closed, which is after the last
** group was put. */
static bool import_store(import *i, maph *from) {
  maph_snapshot *s = NULL;
  maph_cursor *c = NULL;
  maph_entry e;
  uint64_t n = 0, total = 0;
  bool ok = true;
  int rc = maph_snapshot_open(from, &s);
  if (rc == MAPH_OK) {
    total = maph_snapshot_records(s);
    rc = maph_cursor_open(from, s, maph_str(""), &c);
  }
  while (ok && rc == MAPH_OK && !stop_asked() && (rc = maph_cursor_next(c, &e)) == MAPH_OK) {
    row *r = new_row(i, ++n);
    ok = r != NULL;
    if (!ok) break;
    *r = (row){ .key = e.key,
                .value = e.value,
                .media_type = e.media_type,
                .expires = e.expires,
                .type = e.type,
                .key_type = e.key_type };
    ok = row_done(i);
    progress_show(n, total, NUMBER);
  }
  if (ok && rc != MAPH_OK && rc != MAPH_NOTFOUND) {
    store_failed(i->source, rc);
    ok = false;
  }
  if (ok && rc == MAPH_NOTFOUND) ok = put_group(i);
  maph_cursor_close(c);
  maph_snapshot_close(s);
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

/* Whether it is text, as far as its beginning tells. */
static bool is_text(const import *i, input *in) {
  const char *form;
  while (in->end - in->at < FORM_SIZE && input_fill(in)) {}
  form = form_of(maph_bytes(in->data + in->at, in->end - in->at));
  if (form) complain("%s is not lines of text but %s", i->source, form);
  return form == NULL && !in->failed;
}

static bool import_text(import *i, const char *format, input *in) {
  bool ok;
  skip_byte_order_mark(in);
  if (!is_text(i, in)) return false;
  if (strcmp(format, "csv") == 0) {
    ok = import_records(i, in, csv_record);
  } else if (strcmp(format, "tsv") == 0) {
    ok = import_records(i, in, tsv_record);
  } else {
    in->keeps_going = i->a->keep_going;
    ok = import_ndjson(i, in);
  }
  i->wrong += in->wrong;
  return ok;
}

/* The end of a transaction of --atomic, and what is said. */
static int finish(import *i, bool ok) {
  char put[40], transactions[40];
  if (ok) ok = put_group(i);
  if (i->load) {
    bool whole = ok && !(i->a->atomic && i->wrong && !i->a->keep_going);
    ok = end_load(i, whole || (!i->a->atomic && i->put > 0)) && ok;
  }
  if (i->txn && ok && !(i->wrong && !i->a->keep_going))
    ok = commit(i, i->txn);
  else
    maph_txn_abort(i->txn);
  progress_end();
  if (!ok && (i->a->atomic || i->transactions == 0))
    note(i->a, "nothing was put");
  else if (!ok) {
    note(i->a,
         "what was put before stays: %s, up to line %llu of %s, in %s; nothing after that was put",
         count_of(i->put, "key", put), (unsigned long long)i->put_line, i->source,
         count_of(i->transactions, "transaction", transactions));
  }
  if (!ok && i->a->atomic) i->put = 0;
  if (i->a->json) {
    output_format(&standard_output,
                  "{\"success\":%s,\"imported\":%llu,\"skipped\":%llu,\"failed\":%llu,"
                  "\"transactions\":%llu}\n",
                  ok && !i->wrong ? "true" : "false", (unsigned long long)i->put,
                  (unsigned long long)i->skipped, (unsigned long long)i->wrong,
                  (unsigned long long)i->transactions);
  } else if (ok && !i->a->quiet) {
    output_format(&standard_output, "imported %s", count_of(i->put, "key", put));
    if (i->skipped)
      output_format(&standard_output, ", left out %s by its condition",
                    count_of(i->skipped, "line", put));
    if (i->wrong)
      output_format(&standard_output, ", left out %s that %s wrong",
                    count_of(i->wrong, "line", put), i->wrong == 1 ? "was" : "were");
    output_text(&standard_output, "\n");
  }
  return output_end(&standard_output) && ok && i->wrong == 0 ? DONE : FAILED;
}

/* Is a store that is to be made better loaded? */
static bool may_load(const import *i, const char *format, const input *in, const maph *from) {
  const arguments *a = i->a;
  struct stat st;
  if (!a->create || a->if_absent || a->batch != BATCH) return false;
  if (a->atomic) return strcmp(format, "ndjson") != 0; /* whose lines may have conditions */
  return from || (fstat(in->fd, &st) == 0 && S_ISREG(st.st_mode));
}

static int import_into(import *i, const char *format, input *in, maph *from) {
  const char *path = i->a->operand[0];
  bool made = false, useless, ok;
  int status;
  if (may_load(i, format, in, from) && !store_load(i->a, path, &i->load)) return FAILED;
  if (i->load == NULL && (i->m = store_open_or_make(i->a, path, &made)) == NULL) return FAILED;
  progress_start(i->a, "import");
  ok = from ? import_store(i, from) : import_text(i, format, in);
  status = finish(i, ok && !stop_asked());
  if (i->m == NULL) return status;
  useless = made && status == FAILED && store_is_new(i->m);
  status = store_close(i->m, path, status);
  if (useless) maph_destroy(path, 0);
  return status;
}

static void import_free(import *i) {
  arena_free(&i->arena);
  for (size_t k = 0; k < i->column_count; k++) free(i->columns[k].name);
  free(i->columns);
  free(i->rows);
  free(i->lines);
}

int command_import(arguments *a) {
  const char *path = a->operand[0], *source = a->operands > 1 ? a->operand[1] : "-",
             *format = format_of(a, source);
import i = {.a = a, .source = strcmp(source, "-") == 0 ? "standard input" :source };
  maph *from = NULL;
  input in;
  int status;
  if (strcmp(source, "-") == 0) note_typing(a, "the entries");
  if (!input_open(&in, source, (size_t)a->max_line)) return FAILED;
  if (same_file(path, in.fd)) {
    input_close(&in);
    return complain("%s is the store itself", i.source);
  }
  if (strcmp(format, "maph") == 0 && (from = store_open(a, source, MAPH_RDONLY)) == NULL)
    status = FAILED;
  else
    status = import_into(&i, format, &in, from);
  if (from) status = store_close(from, source, status);
  input_close(&in);
  import_free(&i);
  return status;
}
