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

const char *form_of_text(const char *format, maph_slice head) {
  maph_slice line = first_line(head);
  if (line.size == 0) return NULL;
  if (strcmp(format, "ndjson") != 0)
    return is_one_object(line) && memchr(line.data, '\t', line.size) == NULL
               ? "NDJSON: --format ndjson imports it"
               : NULL;
  if (*(const char *)line.data == '[') return "a JSON array: jq -c '.[]' FILE | maph import STORE";
  if (*(const char *)line.data == '{') return NULL;
  if (memchr(line.data, '\t', line.size)) return "TSV: --format tsv imports it";
  return memchr(line.data, ',', line.size) ? "CSV: --format csv imports it" : NULL;
}
