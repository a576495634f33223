/*
** values.c - SQL values as bytes, and back.
**
** A store keeps bytes and one word that says what they are.  So that the same record reads sensibly
** from C and over HTTP, a number is kept as its decimal text:
**
**     SQL        type            bytes
**     NULL       MAPH_NULL       none
**     42         MAPH_INTEGER    "42"
**     0.1        MAPH_REAL       "0.1": the fewest digits that read back as the same double; 1.0
**                                is "1.0"
**     'abc'      MAPH_TEXT       its UTF-8, zero bytes and broken sequences as they are; MAPH_JSON
**                                if SQL made it as JSON
**     x'00ff'    MAPH_BLOB       itself
**
** A C program may write a type that the bytes do not bear out (INTEGER with "abc"): such a value
** reads as TEXT.
**
** KEYS are TEXT or BLOB; the bytes alone make the key and the record remembers which it was.  A key
** is looked up by its bytes, a number by its decimal text, so that a join on an INTEGER column
** finds the keys that a program wrote as digits.
**
** Numbers are written and read in the "C" locale, whatever that of the program that loaded us is.
*/
#include "sql.h"
#include "entry/utf8.h"
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NUMBER_MAX 40 /* bytes of value_bytes.number, the final zero included */

static locale_t plain; /* the "C" locale */
static pthread_once_t plain_once = PTHREAD_ONCE_INIT;

static void make_plain(void) { plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

/* Where a number is looked for in text, does a zero byte end it?  Not in 3.40, and in 3.53. */
static int zero_ends;

static void look_at_zero(sqlite3 *db) {
  sqlite3_stmt *statement = NULL;
  if (sqlite3_prepare_v2(db, "SELECT '7' || char(0) = CAST(7 AS INTEGER)", -1, &statement, NULL)
          == SQLITE_OK
      && sqlite3_step(statement) == SQLITE_ROW) {
    zero_ends = sqlite3_column_int(statement, 0);
  }
  sqlite3_finalize(statement);
}

int value_start(sqlite3 *db) {
  pthread_once(&plain_once, make_plain);
  look_at_zero(db);
  return plain == (locale_t)0 ? SQLITE_NOMEM : SQLITE_OK;
}

maph_slice value_up_to_zero(maph_slice text) {
  const char *zero = text.size ? memchr(text.data, 0, text.size) : NULL;
  return zero ? maph_bytes(text.data, (size_t)(zero - (const char *)text.data)) : text;
}

maph_slice value_numeric_part(maph_slice text) { return zero_ends ? value_up_to_zero(text) : text; }

enum { FP_DIGITS = 1023 }; /* SQLITE_DBCONFIG_FP_DIGITS of later headers */

int value_digits(sqlite3 *db) {
  int digits = 0;
  return sqlite3_db_config(db, FP_DIGITS, 0, &digits) == SQLITE_OK && digits > 0 ? digits : 15;
}

static double real_of(const char *z, char **end) {
  locale_t programs = uselocale(plain);
  double r = strtod(z, end);
  uselocale(programs);
  return r;
}

double value_real_of(const char *z) { return real_of(z, NULL); }

static void real_to_text(double r, char *z) {
  locale_t programs;
  int digits;
  if (isinf(r)) {
    strcpy(z, r < 0 ? "-9e999" : "9e999");
    return;
  }
  programs = uselocale(plain);
  for (digits = 15; digits <= 17; digits++) {
    snprintf(z, NUMBER_MAX - 2, "%.*g", digits, r);
    if (strtod(z, NULL) == r) break;
  }
  uselocale(programs);
  if (!strpbrk(z, ".en")) strcat(z, ".0");
}

/* The bytes of a BLOB, or of anything else as UTF-8.  sqlite3_value_text() copies a text that has
** no zero byte behind it, which nobody here needs. */
static const void *bytes_of(sqlite3_value *value, int type) {
  if (type == SQLITE_BLOB || (type == SQLITE_TEXT && sqlite3_value_encoding(value) == SQLITE_UTF8))
    return sqlite3_value_blob(value);
  return sqlite3_value_text(value);
}

int value_read(sqlite3_value *value, value_bytes *out) {
  static const unsigned char nothing[1];
  const void *data = nothing;
  switch (sqlite3_value_type(value)) {
    case SQLITE_NULL:
      out->type = MAPH_NULL;
      out->bytes = maph_bytes(nothing, 0);
      return SQLITE_OK;
    case SQLITE_INTEGER:
      out->type = MAPH_INTEGER;
      snprintf(out->number, NUMBER_MAX, "%lld", (long long)sqlite3_value_int64(value));
      out->bytes = maph_str(out->number);
      return SQLITE_OK;
    case SQLITE_FLOAT:
      out->type = MAPH_REAL;
      real_to_text(sqlite3_value_double(value), out->number);
      out->bytes = maph_str(out->number);
      return SQLITE_OK;
    case SQLITE_TEXT:
      out->type = sqlite3_value_subtype(value) == 'J' ? MAPH_JSON : MAPH_TEXT;
      data = bytes_of(value, SQLITE_TEXT);
      break;
    default: out->type = MAPH_BLOB; data = bytes_of(value, SQLITE_BLOB);
  }
  if (data == NULL && sqlite3_value_bytes(value) > 0) return SQLITE_NOMEM;
  if (data == NULL) data = nothing;
  out->bytes = maph_bytes(data, (size_t)sqlite3_value_bytes(value));
  return SQLITE_OK;
}

/* The number that the bytes spell, all of them; 0 if they do not. */
static int read_number(maph_slice bytes, int type, sqlite3_int64 *i, double *r) {
  char z[NUMBER_MAX], *end = z;
  if (bytes.size == 0 || bytes.size >= NUMBER_MAX) return 0;
  memcpy(z, bytes.data, bytes.size);
  z[bytes.size] = 0;
  /* no 0x10, no nan */
  if (!strchr("-0123456789", z[0]) || strspn(z, "+-.0123456789Ee") != bytes.size) return 0;
  errno = 0;
  if (type == MAPH_INTEGER) {
    *i = strtoll(z, &end, 10);
    if (errno == ERANGE) return 0;
  } else {
    *r = real_of(z, &end);
  }
  return end == z + bytes.size;
}

int value_number_of(maph_slice text, sqlite3_int64 *whole, double *real) {
  size_t i;
  for (i = 0; i < text.size && !strchr(".eE", ((const char *)text.data)[i]); i++) {}
  if (i == text.size && read_number(text, MAPH_INTEGER, whole, real)) return 1;
  if (!numbers_value(text, real)) *real = 0;
  return 0;
}

/* With a zero byte behind it: else sqlite3_column_text() and many a function let SQLite allocate
** anew for that byte, which costs more than to copy a short text twice. */
static void result_text(sqlite3_context *ctx, maph_slice text, sql_connection *lender) {
  char copy[BUFFER_SIZE], *lent = NULL;
  if (text.size == 0) {
    sqlite3_result_text(ctx, "", -1, SQLITE_STATIC);
  } else if (text.size >= BUFFER_SIZE || memchr(text.data, 0, text.size)) {
    sqlite3_result_text64(ctx, text.data, text.size, SQLITE_TRANSIENT, SQLITE_UTF8);
  } else {
    if (lender) lent = buffer_lend(lender);
    memcpy(lent ? lent : copy, text.data, text.size);
    (lent ? lent : copy)[text.size] = 0;
    sqlite3_result_text(ctx, lent ? lent : copy, -1, lent ? buffer_back : SQLITE_TRANSIENT);
  }
}

static void result_blob(sqlite3_context *ctx, maph_slice bytes, sql_connection *lender) {
  char *lent = lender && bytes.size > 0 && bytes.size <= BUFFER_SIZE ? buffer_lend(lender) : NULL;
  if (lent) {
    memcpy(lent, bytes.data, bytes.size);
    sqlite3_result_blob64(ctx, lent, bytes.size, buffer_back);
  } else {
    sqlite3_result_blob64(ctx, bytes.size ? bytes.data : "", bytes.size, SQLITE_TRANSIENT);
  }
}

void value_result(sqlite3_context *ctx, const maph_entry *entry, sql_connection *lender) {
  sqlite3_int64 i = 0;
  double r = 0;
  switch (entry->type) {
    case MAPH_NULL: sqlite3_result_null(ctx); return;
    case MAPH_INTEGER:
      if (!read_number(entry->value, MAPH_INTEGER, &i, &r)) break;
      sqlite3_result_int64(ctx, i);
      return;
    case MAPH_REAL:
      if (!read_number(entry->value, MAPH_REAL, &i, &r)) break;
      sqlite3_result_double(ctx, r);
      return;
    case MAPH_BLOB: result_blob(ctx, entry->value, lender); return;
    default: break;
  }
  result_text(ctx, entry->value, lender);
}

/* A key whose type nobody said is text if it may be one: UTF-8, without the zero byte at which text
** ends for many. */
int value_key_is_text(const maph_entry *entry) {
  if (entry->key_type != MAPH_KEY_BYTES) return entry->key_type == MAPH_KEY_TEXT;
  return utf8_is_text(entry->key);
}

void value_result_key(sqlite3_context *ctx, maph_slice key, int is_text, sql_connection *lender) {
  if (is_text)
    result_text(ctx, key, lender);
  else
    result_blob(ctx, key, lender);
}

int value_lookup_key(sqlite3_value *value, maph_slice *key) {
  const void *data;
  int type = sqlite3_value_type(value);
  *key = maph_bytes("", 0);
  if (type == SQLITE_NULL) return SQLITE_OK;
  data = bytes_of(value, type);
  if (data == NULL) return sqlite3_value_bytes(value) == 0 ? SQLITE_OK : SQLITE_NOMEM;
  *key = maph_bytes(data, (size_t)sqlite3_value_bytes(value));
  return SQLITE_OK;
}

/* expires_at is seconds since 1970, as unixepoch() gives them; a fraction holds the milliseconds
** that the store keeps. */
int value_read_expiry(sqlite3_value *value, uint64_t *expires, char **message) {
  double seconds;
  *expires = 0;
  if (sqlite3_value_type(value) == SQLITE_NULL) return SQLITE_OK;
  seconds = sqlite3_value_double(value);
  if ((sqlite3_value_type(value) != SQLITE_INTEGER && sqlite3_value_type(value) != SQLITE_FLOAT)
      || !(seconds > 0 && seconds < 1e12)) {
    sqlite3_free(*message);
    *message = sqlite3_mprintf("expires_at is seconds since 1970 or NULL, as in unixepoch()+3600");
    return SQLITE_MISMATCH;
  }
  *expires = (uint64_t)(seconds * 1000.0 + 0.5);
  if (*expires == 0) *expires = 1;
  return SQLITE_OK;
}

int value_read_ttl(sqlite3_value *value, uint64_t *expires, char **message) {
  double seconds;
  *expires = 0;
  if (sqlite3_value_type(value) == SQLITE_NULL) return SQLITE_OK;
  seconds = sqlite3_value_double(value);
  if ((sqlite3_value_type(value) != SQLITE_INTEGER && sqlite3_value_type(value) != SQLITE_FLOAT)
      || !(seconds > 0 && seconds < 1e11)) {
    return fail(
        message, SQLITE_MISMATCH,
        sqlite3_mprintf(
            "ttl is seconds, more than 0, that the row lives from now on, or NULL, as in 3600"));
  }
  *expires = value_now_ms() + (uint64_t)(seconds * 1000.0 + 0.5);
  return SQLITE_OK;
}

void value_result_expiry(sqlite3_context *ctx, uint64_t expires) {
  if (expires == 0) return;
  if (expires % 1000 == 0) {
    sqlite3_result_int64(ctx, (sqlite3_int64)(expires / 1000));
  } else {
    sqlite3_result_double(ctx, (double)expires / 1000.0);
  }
}

uint64_t value_now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
