/*
** columns.c - what the columns of CSV and TSV mean, and a record of them as a row.
**
** What a column means comes from its name (columns_plan).  With no column for the value, the other
** columns of the row become a JSON object of strings.
*/
#include <stdio.h>
#include <stdlib.h>
#include "cli.h"

enum meaning { KEY, VALUE, TYPE, MEDIA_TYPE, EXPIRES_AT, TTL, KEY_TYPE, LET_PASS, MEMBER };
typedef struct column {
  char *name;
  enum meaning meaning;
} column;

static bool add_column(column_plan *columns, maph_slice name) {
  if (name.size && memchr(name.data, 0, name.size)) {
    complain("%s: a column's name holds a NUL byte: is it text in UTF-8?", columns->source);
    return false;
  }
  size_t room = columns->count < columns->room ? columns->room : 2 * columns->room + 16;
  column *more =
      room == columns->room ? columns->list : realloc(columns->list, room * sizeof *more);
  if (more) {
    columns->list = more;
    columns->room = room;
    more[columns->count].name = strndup(name.data, name.size);
  }
  if (more == NULL || more[columns->count].name == NULL) {
    complain("out of memory");
    return false;
  }
  columns->count++;
  return true;
}

static bool name_columns(column_plan *columns, const record *header, const char *list) {
  if (list == NULL && header) {
    for (size_t k = 0; k < header->fields; k++)
      if (!add_column(columns, header->field[k])) return false;
    return true;
  }
  for (const char *p = list ? list : "key,value";; p++) {
    size_t size = strcspn(p, ",");
    if (!add_column(columns, maph_bytes(p, size))) return false;
    p += size;
    if (*p == 0) return true;
  }
}

static long column_named(const column_plan *columns, const char *name) {
  long found = -1;
  for (size_t k = 0; k < columns->count; k++) {
    if (strcmp(columns->list[k].name, name) != 0) continue;
    if (found >= 0) {
      complain("%s: two columns are named %s", columns->source, name);
      return -2;
    }
    found = (long)k;
  }
  return found;
}

static bool meaning_of(column_plan *columns, column *column, bool has_value) {
  static const struct {
    const char *name;
    enum meaning meaning;
  } known[] = {
    { "type", TYPE },     { "media_type", MEDIA_TYPE }, { "expires_at", EXPIRES_AT },
    { "ttl", TTL },       { "key_type", KEY_TYPE },     { "version", LET_PASS },
    { "size", LET_PASS },
  };
  if (!has_value) {
    column->meaning = MEMBER;
    return true;
  }
  column->meaning = LET_PASS;
  for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
    if (strcmp(column->name, known[k].name) != 0) continue;
    column->meaning = known[k].meaning;
    return true;
  }
  if (columns->args->value_column) return true;
  complain("%s: there is no use for the column %s; --value-column value lets such columns be",
           columns->source, column->name);
  return false;
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of the columns that are used. */
static bool names_differ(const column_plan *columns) {
  char **names = malloc(columns->count * sizeof *names), *twice = NULL;
  size_t n = 0;
  if (names == NULL) {
    complain("out of memory");
    return false;
  }
  for (size_t k = 0; k < columns->count; k++)
    if (columns->list[k].meaning != LET_PASS) names[n++] = columns->list[k].name;
  qsort(names, n, sizeof *names, by_name);
  for (size_t k = 1; k < n && twice == NULL; k++)
    if (strcmp(names[k - 1], names[k]) == 0) twice = names[k];
  if (twice) complain("%s: two columns are named %s", columns->source, twice);
  free(names);
  return twice == NULL;
}

bool columns_plan(column_plan *columns, const arguments *args, const char *source,
                  const record *header) {
  const char *key_name = args->key_column ? args->key_column : "key",
             *value_name = args->value_column ? args->value_column : "value";
  long key, value;
  columns->args = args;
  columns->source = source;
  if (!name_columns(columns, header, args->columns)) return false;
  key = column_named(columns, key_name);
  value = column_named(columns, value_name);
  if (key == -2 || value == -2) return false;
  if (key < 0) {
    complain("%s: no column is named %s; --key-column NAME says which is the key", columns->source,
             key_name);
    return false;
  }
  if (value < 0 && args->value_column) {
    complain("%s: no column is named %s", columns->source, value_name);
    return false;
  }
  if (key == value) {
    complain("%s: one column cannot be both key and value", columns->source);
    return false;
  }
  if (columns->count == 1) {
    complain("%s: there is no column but the key: nothing to put as its value", columns->source);
    return false;
  }
  for (size_t k = 0; k < columns->count; k++) {
    column *column = &columns->list[k];
    if ((long)k == key)
      column->meaning = KEY;
    else if ((long)k == value)
      column->meaning = VALUE;
    else if (!meaning_of(columns, column, value >= 0))
      return false;
  }
  return names_differ(columns);
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
  if (*type >= 0) return NULL;
  return from_name == entry_type_from_name ? "type is blob, text, json, integer, real or null"
                                           : "key_type is bytes, text or blob";
}

static const char *read_field(enum meaning meaning, maph_slice field, arena *arena, row *row) {
  const char *mistake;
  uint64_t number;
  if (meaning != KEY && meaning != VALUE && field.size == 0) return NULL;
  switch (meaning) {
    case KEY: return arena_copy(arena, field, &row->key) ? NULL : "out of memory";
    case VALUE: return arena_copy(arena, field, &row->value) ? NULL : "out of memory";
    case MEDIA_TYPE: return arena_copy(arena, field, &row->media_type) ? NULL : "out of memory";
    case TYPE: return read_name(field, entry_type_from_name, &row->type);
    case KEY_TYPE: return read_name(field, entry_key_type_from_name, &row->key_type);
    case EXPIRES_AT: return read_number(field, &row->expires);
    case TTL:
      mistake = read_number(field, &number);
      return mistake ? mistake : row_ttl(number, row);
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
static const char *make_object(const column_plan *columns, const record *rec, arena *arena,
                               row *row) {
  size_t room = 2;
  char *out, *start;
  for (size_t k = 0; k < rec->fields; k++)
    room += 6 * (strlen(columns->list[k].name) + rec->field[k].size) + 6;
  if ((out = start = arena_take(arena, room)) == NULL) return "out of memory";
  *out++ = '{';
  for (size_t k = 0; k < rec->fields; k++) {
    if (columns->list[k].meaning != MEMBER) continue;
    if (!utf8_valid(rec->field[k]) || !utf8_valid(maph_str(columns->list[k].name)))
      return "a field that goes into JSON is not UTF-8";
    if (out - start > 1) *out++ = ',';
    escape_json(&out, maph_str(columns->list[k].name));
    *out++ = ':';
    escape_json(&out, rec->field[k]);
  }
  *out++ = '}';
  row->value = maph_bytes(start, (size_t)(out - start));
  row->type = MAPH_JSON;
  return NULL;
}

const char *columns_row(const column_plan *columns, const record *rec, arena *arena, row *row,
                        char room[COLUMNS_SENTENCE_ROOM]) {
  const char *mistake = NULL;
  bool members = true;
  if (rec->fields != columns->count) {
    snprintf(room, COLUMNS_SENTENCE_ROOM, "%zu fields, where there are %zu columns", rec->fields,
             columns->count);
    return room;
  }
  row->type = -1;
  for (size_t k = 0; k < rec->fields && mistake == NULL; k++) {
    if (columns->list[k].meaning == VALUE) members = false;
    mistake = read_field(columns->list[k].meaning, rec->field[k], arena, row);
  }
  if (mistake == NULL && members) mistake = make_object(columns, rec, arena, row);
  if (mistake) return mistake;
  if (row->type < 0) row->type = entry_type_of_bytes(row->value);
  return row_check(row);
}

void columns_free(column_plan *columns) {
  for (size_t k = 0; k < columns->count; k++) free(columns->list[k].name);
  free(columns->list);
}
