/*
** form.c - what a file is that holds no lines to import, told by its first bytes.
**
** A file of another form would be refused at its first line, with a sentence about that line that
** helps nobody: here it is named, with what makes lines of it.
*/
#include "cli.h"

static const struct {
  size_t at, size;
  const char *bytes, *what;
} forms[] = {
  { 0, 8, "maph\r\n\x1a\n", "a maph store: --format maph imports it" },
  { 0, 16, "SQLite format 3",
    "an SQLite database: sqlite3 FILE -csv -header 'SELECT ...' | "
    "maph import --format csv STORE" },
  { 0, 2, "\x1f\x8b", "compressed by gzip: zcat FILE | maph import STORE" },
  { 0, 6, "\xfd\x37zXZ\0", "compressed by xz: xzcat FILE | maph import STORE" },
  { 0, 4, "\x28\xb5\x2f\xfd", "compressed by zstd: zstdcat FILE | maph import STORE" },
  { 0, 3, "BZh", "compressed by bzip2: bzcat FILE | maph import STORE" },
  { 0, 4, "PK\3\4", "a zip archive, or a spreadsheet: save its table as CSV" },
  { 0, 2, "\xff\xfe", "text in UTF-16: iconv -f UTF-16 -t UTF-8 FILE | maph import STORE" },
  { 0, 2, "\xfe\xff", "text in UTF-16: iconv -f UTF-16 -t UTF-8 FILE | maph import STORE" },
  { 0, 5, "REDIS", "a dump of Redis: the manual, maph(1), has a recipe" },
  { 0, 10, "VERSION=3\n", "a dump of LMDB or Berkeley DB: the manual, maph(1), has a recipe" },
  { 257, 5, "ustar", "a tar archive" },
  { 0, 4, "\x04\x22\x4d\x18", "compressed by lz4: lz4cat FILE | maph import STORE" },
  { 0, 8, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old spreadsheet: save its table as CSV" },
  { 0, 4, "PAR1", "Parquet: write its table as CSV" },
  { 0, 5, "<html", "a page in HTML: save its table as CSV" },
  { 0, 9, "<!DOCTYPE", "a page in HTML: save its table as CSV" },
};

const char *form_of(maph_slice head) {
  const char *bytes = head.data;
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
    if (head.size >= forms[i].at + forms[i].size
        && memcmp(bytes + forms[i].at, forms[i].bytes, forms[i].size) == 0)
      return forms[i].what;
  return NULL;
}

/* ------------------------------------------------------------------------------- text of a form */
/* In CSV a quote cannot stand there. */
static bool is_one_object(maph_slice line) {
  const char *text = line.data;
  return line.size > 2 && text[0] == '{' && text[1] == '"' && text[line.size - 1] == '}';
}

/* The first line, without its end and the blanks before it. */
static maph_slice first_line(maph_slice head) {
  const char *text = head.data, *end;
  size_t blanks = 0, size;
  while (blanks < head.size && strchr(" \t\r\n", text[blanks])) blanks++;
  text += blanks;
  end = memchr(text, '\n', head.size - blanks);
  size = end ? (size_t)(end - text) : head.size - blanks;
  while (size > 0 && (text[size - 1] == '\r' || text[size - 1] == ' ')) size--;
  return maph_bytes(text, size);
}

static bool has(maph_slice line, char c) { return memchr(line.data, c, line.size) != NULL; }

/* As an old Mac wrote them: no line end but CR.  In JSON that is a blank. */
static bool ends_with_cr(maph_slice head, maph_slice line) {
  const char *text = line.data, *cr = memchr(text, '\r', line.size);
  if (cr == NULL || has(head, '\n')) return false;
  return *text != '{' || (cr[-1] == '}' && cr + 1 < text + line.size && cr[1] == '{');
}

static const char *form_of_table(const char *format, maph_slice line) {
  bool tabs = has(line, '\t'), commas = has(line, ',');
  if (is_one_object(line) && !tabs) return "NDJSON: --format ndjson imports it";
  if (strcmp(format, "tsv") == 0) return commas && !tabs ? "CSV: --format csv imports it" : NULL;
  if (commas) return NULL;
  if (tabs) return "TSV: --format tsv imports it";
  return has(line, ';') ? "a table with semicolons: save it with commas, or as TSV" : NULL;
}

const char *form_of_text(const char *format, maph_slice head) {
  maph_slice line = first_line(head);
  const char *text = line.data;
  if (line.size == 0) return NULL;
  if (ends_with_cr(head, line))
    return "text whose lines end with CR alone: tr '\\r' '\\n' <FILE | maph import STORE";
  if (strcmp(format, "ndjson") != 0) return form_of_table(format, line);
  if (*text == '[') return "a JSON array: jq -c '.[]' FILE | maph import STORE";
  if (*text == '{')
    return line.size == 1 ? "JSON over several lines: jq -c . FILE | maph import STORE" : NULL;
  if (has(line, '\t')) return "TSV: --format tsv imports it";
  return has(line, ',') ? "CSV: --format csv imports it" : NULL;
}
