/*
** patch.c - declared columns that are written: one JSON object with other members than before.
**
** The text of the object is kept: what is not written stays where it is and as it is written,
** blanks and all; a member that is written takes the place of the one before, or comes last.  NULL
** becomes null where the member is there, and nothing where it is not.  What a path leads through
** is made where it is missing.
**
**     INTEGER, REAL     a number; a REAL with as many digits as it takes to come back the same
**     TEXT              a string; in a column of type JSON, and where SQL made it as JSON, that
**                       JSON
**     BLOB              refused: JSON has none
*/
#include "sql.h"
#include "entry/json.h"
#include "entry/utf8.h"
#include <math.h>

static const char no_object[] = "the value is no JSON object";

typedef struct json_text {
  char *bytes;
  size_t size, room;
  int rc; /* what went wrong; nothing more is added */
} json_text;

static bool add(void *to, const void *bytes, size_t size) {
  json_text *text = to;
  if (text->rc == SQLITE_OK)
    text->rc = bytes_grow(&text->bytes, &text->room, text->size + size + 1);
  if (text->rc != SQLITE_OK) return false;
  memcpy(text->bytes + text->size, bytes, size);
  text->size += size;
  return true;
}

static void add_words(json_text *text, const char *z) { add(text, z, strlen(z)); }

static void add_string(json_text *text, maph_slice utf8) {
  json_writer out;
  json_write_begin(&out, add, text);
  json_write_string(&out, utf8);
  json_write_end(&out);
}

/* ------------------------------------------------------------------------------ what is written */

static int refuse(char **message, const sql_member *member, const char *why) {
  return fail(message, SQLITE_MISMATCH, sqlite3_mprintf("maph: column %s: %s", member->name, why));
}

static int is_json(maph_slice bytes) {
  json_reader in;
  return json_whole(bytes, &in);
}

/* The value of a column as JSON. */
static int add_value(json_text *text, const sql_member *member, sqlite3_value *v, char **message) {
  value_bytes value;
  int rc;
  if (member->affinity == MEMBER_INTEGER || member->affinity == MEMBER_REAL
      || member->affinity == MEMBER_NUMERIC)
    sqlite3_value_numeric_type(v); /* '12' is 12 there, as in any table */
  rc = value_read(v, &value);
  if (rc != SQLITE_OK) return rc;
  if (member->affinity == MEMBER_TEXT && (value.type == MAPH_INTEGER || value.type == MAPH_REAL)) {
    const char *z = (const char *)sqlite3_value_text(v);
    if (z == NULL) return SQLITE_NOMEM;
    add_string(text, maph_str(z));
    return text->rc;
  }
  switch (value.type) {
    case MAPH_NULL: add_words(text, "null"); break;
    case MAPH_INTEGER: add(text, value.bytes.data, value.bytes.size); break;
    case MAPH_REAL:
      if (strstr(value.number, "9e999"))
        return refuse(message, member, "JSON has no infinite number");
      add(text, value.bytes.data, value.bytes.size);
      break;
    case MAPH_BLOB:
      return refuse(message, member, "JSON holds no BLOB: write it as hex() or base64");
    default:
      if (value.type == MAPH_JSON || member->affinity == MEMBER_JSON) {
        if (!is_json(value.bytes)) return refuse(message, member, "this is no JSON");
        add(text, value.bytes.data, value.bytes.size);
      } else {
        if (!utf8_valid(value.bytes)) return refuse(message, member, "JSON holds UTF-8 alone");
        add_string(text, value.bytes);
      }
  }
  return text->rc;
}

/* Is the value, with the column's affinity, the number that the member reads as?  Two of 64 bits
** that are one as REAL are two. */
static int is_number(const sql_member *member, sqlite3_value *value, const member_value *old) {
  member_value now;
  memset(&now, 0, sizeof(now));
  now.type = sqlite3_value_type(value);
  if (now.type != SQLITE_INTEGER && now.type != SQLITE_FLOAT) return 0;
  if (now.type == SQLITE_INTEGER)
    now.whole = sqlite3_value_int64(value);
  else
    now.real = sqlite3_value_double(value);
  member_number(member, &now);
  if (now.type != old->type) return 0;
  if (now.type == SQLITE_INTEGER) return now.whole == old->whole;
  return now.real == old->real && !signbit(now.real) == !signbit(old->real);
}

static int is_text(sqlite3_value *value, maph_slice text) {
  const void *has = sqlite3_value_type(value) == SQLITE_TEXT ? sqlite3_value_text(value) : NULL;
  return has && (size_t)sqlite3_value_bytes(value) == text.size
         && memcmp(has, text.data, text.size) == 0;
}

/* Is value what the member reads as?  UPDATE ... FROM hands in what it does not change: an object
** would come back as a string, and true as 1. */
static int is_same(const sql_member *member, sqlite3_value *value, maph_slice json, int *same) {
  member_value old;
  int rc = member_read(member, json, &old);
  if (rc != SQLITE_OK) return rc;
  switch (old.type) {
    case SQLITE_NULL: *same = sqlite3_value_type(value) == SQLITE_NULL; break;
    case SQLITE_TEXT: *same = is_text(value, old.text); break;
    default: *same = is_number(member, value, &old); break;
  }
  sqlite3_free(old.owned);
  return SQLITE_OK;
}

/* ----------------------------------------------------------------------------------- the object */

/* The rest of a path that leads nowhere yet: "a":{"b":VALUE} */
static void add_path(json_text *text, const sql_member *member, size_t depth, maph_slice value) {
  size_t part;
  for (part = depth; part < member->depth; part++) {
    if (part > depth) add_words(text, "{");
    add_string(text, maph_str(member->path[part]));
    add_words(text, ":");
  }
  add(text, value.data, value.size);
  for (part = depth + 1; part < member->depth; part++) add_words(text, "}");
}

static int is_null(maph_slice json) { return json.size == 4 && memcmp(json.data, "null", 4) == 0; }

static int patch(json_text *text, maph_slice object, const sql_member *member, size_t depth,
                 maph_slice value, char **message);

/* The member is there: its value gives way, or the object that it is is patched. */
static int replace(json_text *text, maph_slice old, const sql_member *member, size_t depth,
                   maph_slice value, char **message) {
  if (depth + 1 == member->depth) {
    add(text, value.data, value.size);
    return text->rc;
  }
  if (((const char *)old.data)[0] == '{')
    return patch(text, old, member, depth + 1, value, message);
  if (is_null(value)) {
    add(text, old.data, old.size);
    return text->rc;
  }
  if (!is_null(old)) return refuse(message, member, "what its path leads through is no object");
  add_words(text, "{");
  add_path(text, member, depth + 1, value);
  add_words(text, "}");
  return text->rc;
}

/* Add the object with the member at path[depth...] set. */
static int patch(json_text *text, maph_slice object, const sql_member *member, size_t depth,
                 maph_slice value, char **message) {
  const char *start = object.data, *end = start + object.size;
  json_reader in = json_begin(object);
  maph_slice name, old;
  bool first = true;
  int rc;
  if (!json_next(&in, '{')) return refuse(message, member, no_object);
  while (json_member(&in, &first, &name, &old)) {
    if (!member_is_named(name, member->path[depth])) continue;
    add(text, start, (size_t)((const char *)old.data - start));
    rc = replace(text, old, member, depth, value, message);
    start = (const char *)old.data + old.size;
    add(text, start, (size_t)(end - start));
    return rc == SQLITE_OK ? text->rc : rc;
  }
  if (in.mistake) return refuse(message, member, no_object);
  if (is_null(value)) {
    add(text, object.data, object.size);
    return text->rc;
  }
  add(text, start, (size_t)(in.p - 1 - start)); /* up to the closing brace */
  if (!first) add_words(text, ",");
  add_path(text, member, depth, value);
  add(text, in.p - 1, (size_t)(end - in.p + 1));
  return text->rc;
}

/* To the object, which was JSON before the first column was patched. */
static int patch_one(json_text *object, const sql_member *member, sqlite3_value *v,
                     char **message) {
  json_text value = { NULL, 0, 0, SQLITE_OK }, next = { NULL, 0, 0, SQLITE_OK };
  int rc = add_value(&value, member, v, message);
  if (rc == SQLITE_OK)
    rc = patch(&next, maph_bytes(object->bytes, object->size), member, 0,
               maph_bytes(value.bytes, value.size), message);
  sqlite3_free(value.bytes);
  if (rc != SQLITE_OK) {
    sqlite3_free(next.bytes);
    return rc;
  }
  sqlite3_free(object->bytes);
  *object = next;
  return SQLITE_OK;
}

int members_patch(const sql_members *members, maph_slice base, maph_slice old,
                  sqlite3_value **columns, char **json, size_t *size, char **message) {
  json_text object = { NULL, 0, 0, SQLITE_OK };
  maph_slice *texts = sqlite3_malloc64(members->count * sizeof(texts[0]));
  size_t i;
  int is_checked = base.size == 0;
  int rc = texts ? members_find(members, old, texts) : SQLITE_NOMEM;
  if (rc == SQLITE_OK) add(&object, base.size ? base.data : "{}", base.size ? base.size : 2);
  if (rc == SQLITE_OK) rc = object.rc;
  for (i = 0; i < members->count && rc == SQLITE_OK; i++) {
    int same = sqlite3_value_nochange(columns[i]);
    if (!same) rc = is_same(&members->list[i], columns[i], texts[i], &same);
    if (rc != SQLITE_OK || same) continue;
    if (!is_checked && !is_json(base)) rc = refuse(message, &members->list[i], no_object);
    is_checked = 1;
    if (rc == SQLITE_OK) rc = patch_one(&object, &members->list[i], columns[i], message);
  }
  sqlite3_free(texts);
  if (rc != SQLITE_OK) {
    sqlite3_free(object.bytes);
    return rc;
  }
  *json = object.bytes;
  *size = object.size;
  return SQLITE_OK;
}
