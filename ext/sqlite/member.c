/*
** member.c - declared columns: the members of JSON values as columns of their own.
**
**     CREATE VIRTUAL TABLE p USING maph('p.maph', columns='name TEXT $.name, price REAL $.price')
**
** THE WORDS.  A column is NAME [TYPE] [PATH], and a comma goes between two.  PATH leads from the
** whole value, $, through members of objects: $.name, $.address.city, $."odd name"; without one it
** is $.NAME. The type gives the column the affinity that SQLite gives it in any table; without one
** anything stays what it is.
**
** READING.  The value is read once for a row, however many of its members the statement asks for,
** and no further than the last member that is declared.  A string is TEXT, a number INTEGER or
** REAL, true and false are 1 and 0, an object or array is its JSON text; null, a missing member and
** a value that is no JSON object are NULL.  Then the column's affinity applies, as it does to what
** is stored in any table: SQLite leaves that to the virtual table.  A column of type JSON has the
** JSON text of whatever is there.
**
** Writing is patch.c.
*/
#include "sql.h"
#include "entry/json.h"

enum { DONE = 255, DEPTH_MOST = 100 };

/* ------------------------------------------------------------------------------------ the words */

static int is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static int is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'
         || (unsigned char)c >= 0x80;
}

static const char *skip_blanks(const char *z) {
  while (is_blank(*z)) z++;
  return z;
}

/* A name, in double quotes or without.  NULL: there is none here. */
static const char *take_name(const char *z, char **name) {
  size_t n = 0;
  if (*z == '"') {
    const char *end = strchr(z + 1, '"');
    if (end == NULL || end == z + 1) return NULL;
    *name = sqlite3_mprintf("%.*s", (int)(end - z - 1), z + 1);
    return end + 1;
  }
  while (is_name(z[n])) n++;
  if (n == 0) return NULL;
  *name = sqlite3_mprintf("%.*s", (int)n, z);
  return z + n;
}

/* Words that say more than a type, and that a virtual table would not keep. */
static int is_constraint(const char *type) {
  static const char *const words[] = { "NOT",     "NULL",       "PRIMARY",   "UNIQUE",
                                       "DEFAULT", "COLLATE",    "CHECK",     "REFERENCES",
                                       "AS",      "CONSTRAINT", "GENERATED", "DEFERRABLE" };
  size_t i, n;
  while (*(type = skip_blanks(type))) {
    for (n = 0; type[n] && !is_blank(type[n]); n++) {}
    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
      if (strlen(words[i]) == n && sqlite3_strnicmp(type, words[i], (int)n) == 0) return 1;
    }
    type += n;
  }
  return 0;
}

static int contains(const char *type, const char *word) {
  for (; *type; type++) {
    if (sqlite3_strnicmp(type, word, (int)strlen(word)) == 0) return 1;
  }
  return 0;
}

/* As SQLite derives it from a declared type. */
static int affinity_of(const char *type) {
  if (sqlite3_stricmp(type, "JSON") == 0) return MEMBER_JSON;
  if (contains(type, "INT")) return MEMBER_INTEGER;
  if (contains(type, "CHAR") || contains(type, "CLOB") || contains(type, "TEXT"))
    return MEMBER_TEXT;
  if (contains(type, "BLOB") || type[0] == 0) return MEMBER_ANY;
  if (contains(type, "REAL") || contains(type, "FLOA") || contains(type, "DOUB"))
    return MEMBER_REAL;
  return MEMBER_NUMERIC;
}

/* Everything up to the path or the comma.  A comma may stand in parentheses: DECIMAL(10,2). */
static const char *take_type(const char *z, sql_member *member) {
  size_t n = 0, depth = 0;
  for (; z[n] && z[n] != '$' && (z[n] != ',' || depth > 0); n++) {
    if (z[n] == '(') depth++;
    if (z[n] == ')' && depth > 0) depth--;
    if (!is_name(z[n]) && !is_blank(z[n]) && !strchr("(),", z[n])) return NULL;
  }
  if (depth > 0) return NULL;
  while (n > 0 && is_blank(z[n - 1])) n--;
  member->type = sqlite3_mprintf("%.*s", (int)n, z);
  return skip_blanks(z + n);
}

static int add_part(sql_member *member, char *part) {
  if (part == NULL
      || bytes_grow(&member->path, &member->path_room,
                    (member->depth + 1) * sizeof(member->path[0]))) {
    sqlite3_free(part);
    return SQLITE_NOMEM;
  }
  member->path[member->depth++] = part;
  return SQLITE_OK;
}

static const char *take_path(const char *z, sql_member *member, const char **why) {
  char *part = NULL;
  const char *end;
  if (*z != '$') return add_part(member, sqlite3_mprintf("%s", member->name)) ? NULL : z;
  z++;
  if (*z != '.') *why = "a path leads to a member, as in $.name";
  while (*z == '.') {
    end = take_name(z + 1, &part);
    if (end == NULL) {
      *why = "a path leads through names, as in $.address.city or $.\"odd name\"";
      return NULL;
    }
    if (add_part(member, part)) return NULL;
    if (member->depth > DEPTH_MOST) *why = "a path has at most 100 names";
    z = end;
  }
  if (*z == '[') *why = "an element of an array cannot be a column";
  return *why ? NULL : skip_blanks(z);
}

/* NULL: *why says what is wrong, or there is no memory. */
static const char *take_member(const char *z, sql_member *member, const char **why) {
  const char *end = take_name(skip_blanks(z), &member->name);
  *why = NULL;
  if (end == NULL) {
    *why = "a column begins with its name";
    return NULL;
  }
  if (member->name == NULL) return NULL;
  end = take_type(skip_blanks(end), member);
  if (end == NULL) {
    *why = "behind its name a column has a type and a path";
    return NULL;
  }
  if (member->type == NULL) return NULL;
  if (is_constraint(member->type)) {
    *why = "a column has a type and no constraints";
    return NULL;
  }
  member->affinity = affinity_of(member->type);
  end = take_path(end, member, why);
  if (end && *end && *end != ',') {
    *why = "a comma goes between two columns";
    return NULL;
  }
  return end;
}

static int is_taken(const sql_members *members, const char *name) {
  size_t i;
  for (i = 0; i + 1 < members->count; i++) {
    if (sqlite3_stricmp(members->list[i].name, name) == 0) return 1;
  }
  return table_has_column(name);
}

int members_parse(sql_members *members, const char *words, const char **why) {
  sql_member *member;
  *why = NULL;
  for (;;) {
    if (members->count == 500) {
      *why = "there may be 500 at most";
      return SQLITE_ERROR;
    }
    if (bytes_grow(&members->list, &members->room, (members->count + 1) * sizeof(members->list[0]))
        != SQLITE_OK)
      return SQLITE_NOMEM;
    member = &members->list[members->count++];
    memset(member, 0, sizeof(*member));
    words = take_member(words, member, why);
    if (words == NULL) return *why ? SQLITE_ERROR : SQLITE_NOMEM;
    if (is_taken(members, member->name)) {
      *why =
          "each name is there once, and key, value, version, expires_at, ttl, _rowid_, rowid and "
          "oid are taken";
      return SQLITE_ERROR;
    }
    if (*words == 0) return SQLITE_OK;
    words++;
  }
}

void members_clear(sql_members *members) {
  size_t i, part;
  for (i = 0; i < members->count; i++) {
    sql_member *member = &members->list[i];
    for (part = 0; part < member->depth; part++) sqlite3_free(member->path[part]);
    sqlite3_free(member->path);
    sqlite3_free(member->name);
    sqlite3_free(member->type);
  }
  sqlite3_free(members->list);
  memset(members, 0, sizeof(*members));
}

/* -------------------------------------------------------------------------------------- reading */

int member_is_named(maph_slice quoted, const char *name) {
  maph_slice inner = maph_bytes((const char *)quoted.data + 1, quoted.size - 2);
  size_t n = strlen(name);
  char *plain;
  int is_it;
  if (memchr(inner.data, '\\', inner.size) == NULL)
    return inner.size == n && memcmp(inner.data, name, n) == 0;
  plain = sqlite3_malloc64(inner.size + 1);
  if (plain == NULL) return 0;
  is_it = json_unescape(inner, plain) == n && memcmp(plain, name, n) == 0;
  sqlite3_free(plain);
  return is_it;
}

typedef struct search {
  const sql_members *members;
  maph_slice *texts;   /* of each member; data NULL: not found */
  unsigned char *seen; /* how many names of its path lead here; or DONE */
  size_t left;         /* not found yet */
} search;

/* Look in one object, which the first `depth` names of some paths lead to. */
static void look_in(search *search, maph_slice object, size_t depth) {
  json_reader in = json_begin(object);
  maph_slice name, value;
  bool first = true;
  size_t i, nested;
  if (!json_next(&in, '{')) return;
  while (search->left > 0 && json_member(&in, &first, &name, &value)) {
    for (i = nested = 0; i < search->members->count; i++) {
      const sql_member *member = &search->members->list[i];
      if (search->seen[i] != depth || !member_is_named(name, member->path[depth])) continue;
      search->seen[i]++;
      if (member->depth == depth + 1) {
        search->texts[i] = value;
        search->seen[i] = DONE;
        search->left--;
      } else {
        nested = 1;
      }
    }
    if (nested) look_in(search, value, depth + 1);
    for (i = 0; nested && i < search->members->count; i++) {
      if (search->seen[i] > depth) search->seen[i] = DONE; /* there, or not there */
    }
  }
}

int members_find(const sql_members *members, maph_slice json, maph_slice *texts) {
  search search = { members, texts, NULL, members->count };
  memset(texts, 0, members->count * sizeof(texts[0]));
  search.seen = sqlite3_malloc64(members->count);
  if (search.seen == NULL) return SQLITE_NOMEM;
  memset(search.seen, 0, members->count);
  look_in(&search, json, 0);
  sqlite3_free(search.seen);
  return SQLITE_OK;
}

/* ------------------------------------------------------------------------------- as SQL values */

static int read_string(maph_slice quoted, member_value *value) {
  value->type = SQLITE_TEXT;
  value->text = maph_bytes((const char *)quoted.data + 1, quoted.size - 2);
  if (memchr(value->text.data, '\\', value->text.size) == NULL) return SQLITE_OK;
  value->owned = sqlite3_malloc64(value->text.size + 1);
  if (value->owned == NULL) return SQLITE_NOMEM;
  value->text = maph_bytes(value->owned, json_unescape(value->text, value->owned));
  return SQLITE_OK;
}

static void read_number(maph_slice text, member_value *value) {
  int is_whole = value_number_of(text, &value->whole, &value->real);
  value->type = is_whole ? SQLITE_INTEGER : SQLITE_FLOAT;
}

/* Text that spells a number becomes one. */
static void number_of_text(member_value *value) {
  maph_slice part = value_numeric_part(value->text);
  const char *z = part.data;
  size_t n = part.size;
  double number;
  if (!numbers_value(value->text, &number)) return;
  while (n > 0 && !strchr("+-.0123456789", *z)) { /* blanks, and no zero byte is among them */
    z++;
    n--;
  }
  while (n > 0 && !strchr(".0123456789", z[n - 1])) n--;
  read_number(maph_bytes(z, n), value);
  if (value->type == SQLITE_FLOAT) value->real = number;
}

/* A number becomes text, as SQLite writes it. */
static int text_of_number(const sql_member *member, member_value *value) {
  value->owned = value->type == SQLITE_INTEGER
                     ? sqlite3_mprintf("%lld", value->whole)
                     : sqlite3_mprintf("%!.*g", member->digits, value->real);
  if (value->owned == NULL) return SQLITE_NOMEM;
  value->type = SQLITE_TEXT;
  value->text = maph_str(value->owned);
  return SQLITE_OK;
}

/* A REAL that is whole becomes an INTEGER; the two at the ends of the range do not. */
static void whole_of_real(member_value *value) {
  if (value->type != SQLITE_FLOAT || !(value->real > -0x1p63 && value->real < 0x1p63)) return;
  value->whole = (sqlite3_int64)value->real;
  if ((double)value->whole == value->real) value->type = SQLITE_INTEGER;
}

/* INTEGER or REAL, by the column's affinity. */
void member_number(const sql_member *member, member_value *value) {
  if (member->affinity == MEMBER_INTEGER || member->affinity == MEMBER_NUMERIC) {
    whole_of_real(value);
  } else if (member->affinity == MEMBER_REAL && value->type == SQLITE_INTEGER) {
    value->type = SQLITE_FLOAT;
    value->real = (double)value->whole;
  }
}

/* As SQLite applies a column's affinity to what is stored there. */
static int apply_affinity(const sql_member *member, member_value *value) {
  if (member->affinity == MEMBER_ANY) return SQLITE_OK;
  if (member->affinity == MEMBER_TEXT)
    return value->type == SQLITE_TEXT ? SQLITE_OK : text_of_number(member, value);
  if (value->type == SQLITE_TEXT) number_of_text(value);
  member_number(member, value);
  return SQLITE_OK;
}

int member_read(const sql_member *member, maph_slice json, member_value *value) {
  const char *z = json.data;
  int rc = SQLITE_OK;
  memset(value, 0, sizeof(*value));
  value->type = SQLITE_NULL;
  if (z == NULL || z[0] == 'n') return SQLITE_OK;
  if (member->affinity == MEMBER_JSON || z[0] == '{' || z[0] == '[') {
    value->type = SQLITE_TEXT;
    value->text = json;
    return SQLITE_OK;
  }
  if (z[0] == '"') {
    rc = read_string(json, value);
  } else if (z[0] == 't' || z[0] == 'f') {
    value->type = SQLITE_INTEGER;
    value->whole = z[0] == 't';
  } else {
    read_number(json, value);
  }
  return rc == SQLITE_OK ? apply_affinity(member, value) : rc;
}

void member_result(sqlite3_context *ctx, const sql_member *member, maph_slice json) {
  member_value value;
  if (member_read(member, json, &value) != SQLITE_OK) {
    sqlite3_result_error_nomem(ctx);
    return;
  }
  switch (value.type) {
    case SQLITE_INTEGER: sqlite3_result_int64(ctx, value.whole); break;
    case SQLITE_FLOAT: sqlite3_result_double(ctx, value.real); break;
    case SQLITE_TEXT:
      sqlite3_result_text64(ctx, value.text.data, value.text.size,
                            value.owned ? sqlite3_free : SQLITE_TRANSIENT, SQLITE_UTF8);
      return; /* and SQLite frees it */
    default: break;
  }
  sqlite3_free(value.owned);
}
