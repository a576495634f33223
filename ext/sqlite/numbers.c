/*
** numbers.c - the keys of a store that spell a number in another way than SQLite writes it.
**
** Keys are TEXT, and SQLite compares a TEXT column with a number in one of two ways.  Against a
** column of INTEGER, REAL or NUMERIC affinity the key becomes a number where it spells one: 7
** equals the keys '7', '07', '7.0' and ' 7e0'.  Against anything else the number becomes TEXT: 7
** equals '7' alone.  xFilter sees the number and not the affinity.  So a lookup of a number offers
** every key that either comparison may want, and SQLite, which knows the affinity, compares again.
**
** A key that is written as SQLite writes an INTEGER ("7", "-42") is found by its bytes.  Every
** other one that spells a number is an odd one, and this file keeps the list of them, sorted by the
** number. It is made by one pass over the store at the first lookup of a number, and kept up by the
** feed of changes and by what the connection itself writes.
**
** INVARIANT  The list has every odd key that some open view of the store sees.  It may have more: a
** key that was deleted since, or that a rollback took back.  Whoever looks one up finds out.
**
** A view that is older than the list, and a store whose file was replaced, cost another pass.
*/
#include "sql.h"
#include <stdlib.h>
#include <sys/stat.h>

enum { DIGITS_MOST = 40 }; /* of a number that count */

/* ------------------------------------------------------------------------- what spells a number */

typedef struct reader {
  const char *at, *end;
} reader;

static int is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static int take(reader *reader, const char *set, char *taken) {
  if (reader->at == reader->end || *reader->at == 0 || !strchr(set, *reader->at)) return 0;
  *taken = *reader->at++;
  return 1;
}

/* The digits from here on.  Those that count go to `digits`; `scale` counts the tens that the
** others, and a place behind the point, stand for. */
static int take_digits(reader *reader, char *digits, int *count, int *scale, int behind_point) {
  int seen = 0;
  for (; reader->at < reader->end && is_digit(*reader->at); reader->at++, seen = 1) {
    int counts = *count < DIGITS_MOST && (*count > 0 || *reader->at != '0');
    if (counts) digits[(*count)++] = *reader->at;
    if (behind_point) {
      if (counts || *count == 0) --*scale;
    } else if (!counts && *count > 0) {
      ++*scale;
    }
  }
  return seen;
}

static int take_exponent(reader *reader, int *scale) {
  char mark, sign = '+';
  int exponent = 0, seen = 0;
  if (!take(reader, "eE", &mark)) return 1;
  take(reader, "+-", &sign);
  for (; reader->at < reader->end && is_digit(*reader->at); reader->at++, seen = 1) {
    if (exponent < 100000) exponent = exponent * 10 + (*reader->at - '0');
  }
  *scale += sign == '-' ? -exponent : exponent;
  return seen;
}

/* May SQLite take the text for a number?  Blanks around it do not count, and to some versions of it
** a zero byte is the end. */
static int spells_number(maph_slice bytes, double *number) {
  maph_slice text = value_up_to_zero(bytes);
  reader reader = { text.data, (const char *)text.data + text.size };
  char digits[DIGITS_MOST + 1], written[DIGITS_MOST + 32], sign = '+', point;
  int count = 0, scale = 0, seen;
  while (reader.at < reader.end && is_space(*reader.at)) reader.at++;
  while (reader.end > reader.at && is_space(reader.end[-1])) reader.end--;
  if (reader.at == reader.end || !strchr("+-.0123456789", *reader.at) || *reader.at == 0) return 0;
  take(&reader, "+-", &sign);
  seen = take_digits(&reader, digits, &count, &scale, 0);
  if (take(&reader, ".", &point)) seen |= take_digits(&reader, digits, &count, &scale, 1);
  if (!seen || !take_exponent(&reader, &scale) || reader.at != reader.end) return 0;
  digits[count] = 0;
  sqlite3_snprintf(sizeof(written), written, "%c%se%d", sign, count ? digits : "0", scale);
  *number = value_real_of(written);
  return 1;
}

/* Is it written as SQLite writes an INTEGER? */
static int is_plain_integer(maph_slice text) {
  const char *z = text.data;
  size_t n = text.size, i;
  if (n > 0 && z[0] == '-') {
    z++;
    n--;
    if (n > 0 && z[0] == '0') return 0;
  }
  if (n == 0 || n > 18 || (z[0] == '0' && n > 1)) return 0;
  for (i = 0; i < n; i++) {
    if (!is_digit(z[i])) return 0;
  }
  return 1;
}

/* Is the key an odd one? */
static int is_odd(maph_slice key, double *number) {
  return !is_plain_integer(key) && spells_number(key, number);
}

int numbers_value(maph_slice text, double *number) {
  maph_slice part = value_numeric_part(text);
  return memchr(part.data, 0, part.size) == NULL && spells_number(part, number);
}

int numbers_spelled(maph_slice key) {
  double number;
  return spells_number(key, &number);
}

/* ------------------------------------------------------------------------------------- the list */

static int add(sql_numbers *numbers, maph_slice key, double number) {
  odd_key *odd;
  int rc = bytes_grow(&numbers->arena, &numbers->arena_room, numbers->arena_size + key.size + 1);
  if (rc == SQLITE_OK)
    rc = bytes_grow(&numbers->odd, &numbers->odd_room,
                    (numbers->count + 1) * sizeof(numbers->odd[0]));
  if (rc != SQLITE_OK) return rc;
  odd = &numbers->odd[numbers->count++];
  odd->number = number;
  odd->at = numbers->arena_size;
  odd->size = key.size;
  memcpy(numbers->arena + numbers->arena_size, key.data, key.size);
  numbers->arena_size += key.size;
  numbers->is_sorted = 0;
  return SQLITE_OK;
}

int numbers_note(sql_store *store, maph_slice key) {
  double number;
  return store->numbers.is_made && is_odd(key, &number) ? add(&store->numbers, key, number)
                                                        : SQLITE_OK;
}

void numbers_clear(sql_numbers *numbers) {
  sqlite3_free(numbers->arena);
  sqlite3_free(numbers->odd);
  memset(numbers, 0, sizeof(*numbers));
}

static int compare_odd(const void *a, const void *b, void *arena) {
  const odd_key *x = a, *y = b;
  const char *bytes = arena;
  int order = (x->number > y->number) - (x->number < y->number);
  if (order == 0)
    order = memcmp(bytes + x->at, bytes + y->at, x->size < y->size ? x->size : y->size);
  return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* By number, each key once. */
static void sort(sql_numbers *numbers) {
  size_t i, kept = 0;
  if (numbers->is_sorted || numbers->count == 0) return;
  qsort_r(numbers->odd, numbers->count, sizeof(numbers->odd[0]), compare_odd, numbers->arena);
  for (i = 0; i < numbers->count; i++) {
    if (kept == 0 || compare_odd(&numbers->odd[kept - 1], &numbers->odd[i], numbers->arena) != 0)
      numbers->odd[kept++] = numbers->odd[i];
  }
  numbers->count = kept;
  numbers->is_sorted = 1;
}

/* -------------------------------------------------------------------------------- keeping it up */

static int pass_over(sql_view *view, char **message) {
  sql_store *store = view->store;
  maph_cursor *scan = NULL;
  maph_entry entry;
  double number;
  int rc = maph_cursor_open(view->handle, view->snapshot, maph_bytes("", 0), &scan),
      failed = SQLITE_OK;
  while (rc == MAPH_OK && failed == SQLITE_OK && (rc = maph_cursor_next(scan, &entry)) == MAPH_OK) {
    if (is_odd(entry.key, &number)) failed = add(&store->numbers, entry.key, number);
    if (failed == SQLITE_OK) failed = pulse_beat(store->connection);
  }
  maph_cursor_close(scan);
  if (failed != SQLITE_OK) return failed;
  return rc == MAPH_NOTFOUND ? SQLITE_OK : error_of(view->handle, rc, message);
}

/* What was put since the list was up to date.  SQLITE_DONE: the feed does not reach back so far. */
static int follow(sql_view *view, char **message) {
  sql_numbers *numbers = &view->store->numbers;
  uint64_t until = maph_snapshot_version(view->snapshot);
  maph_changes *feed = NULL;
  maph_change change;
  double number;
  int rc, failed = SQLITE_OK;
  if (until == numbers->version) return SQLITE_OK;
  rc = maph_changes_open(view->handle, numbers->version, &feed);
  while (rc == MAPH_OK && failed == SQLITE_OK && maph_changes_version(feed) < until) {
    rc = maph_changes_next(feed, 0, &change);
    if (rc == MAPH_OK && is_odd(change.entry.key, &number))
      failed = add(numbers, change.entry.key, number);
    if (failed == SQLITE_OK) failed = pulse_beat(view->store->connection);
  }
  maph_changes_close(feed);
  if (failed != SQLITE_OK) return failed;
  if (rc == MAPH_COMPACTED) return SQLITE_DONE;
  return rc == MAPH_NOTFOUND ? SQLITE_OK : error_of(view->handle, rc, message);
}

/* A pass or less, so that the list has what this view sees. */
static int catch_up(sql_view *view, char **message) {
  sql_numbers *numbers = &view->store->numbers;
  struct stat file;
  int rc = SQLITE_DONE;
  if (view->knows_numbers) return SQLITE_OK;
  if (stat(view->store->path, &file) != 0) memset(&file, 0, sizeof(file));
  if (numbers->is_made && numbers->inode == (uint64_t)file.st_ino
      && numbers->device == (uint64_t)file.st_dev && view->serial >= numbers->serial) {
    rc = follow(view, message);
  }
  if (rc == SQLITE_DONE) {
    rc = pass_over(view, message);
    numbers->inode = (uint64_t)file.st_ino;
    numbers->device = (uint64_t)file.st_dev;
    if (view->serial > numbers->serial) numbers->serial = view->serial;
  }
  if (rc != SQLITE_OK) return rc;
  numbers->is_made = 1;
  if (maph_snapshot_version(view->snapshot) > numbers->version)
    numbers->version = maph_snapshot_version(view->snapshot);
  view->knows_numbers = 1;
  return SQLITE_OK;
}

int numbers_find(sql_view *view, double number, size_t *first, size_t *count, char **message) {
  sql_numbers *numbers = &view->store->numbers;
  double slack = number < 0 ? -number * 1e-12 : number * 1e-12;
  size_t low = 0, high, middle;
  int rc = catch_up(view, message);
  *first = *count = 0;
  if (rc != SQLITE_OK) return rc;
  sort(numbers);
  if (slack > 1e290) slack = 1e300; /* also of the infinite ones */
  for (high = numbers->count; low < high;) {
    middle = low + (high - low) / 2;
    if (numbers->odd[middle].number < number - slack)
      low = middle + 1;
    else
      high = middle;
  }
  *first = low;
  while (low < numbers->count && numbers->odd[low].number <= number + slack) low++;
  *count = low - *first;
  return SQLITE_OK;
}

maph_slice numbers_key(const sql_store *store, size_t i) {
  const odd_key *odd = &store->numbers.odd[i];
  return maph_bytes(store->numbers.arena + odd->at, odd->size);
}
