/*
** range.c - the rows of a range of keys, by the store's order of keys.
**
** TWO ORDERS.  A store sorts keys by their bytes.  SQLite sorts all TEXT before all BLOB, and each
** of them by its bytes.  So a range is two STRETCHES of the store's order, one read for its TEXT
** keys and one for its BLOB keys, in SQLite's order one after the other.  Keys of the other type
** are passed over.  A stretch is left out where the store has no key of its type
** (maph_snapshot_key_types): of most stores one remains.  Where nobody asks for an order, stretches
** that are alike are read as one.
**
** WHAT A BOUND SAYS.  SQLite looks at every row again, so a stretch may be too long and never too
** short.
**     TEXT     bounds TEXT keys.  Below it there is no BLOB key, above it there are all.  But what
**              SQLite makes of LIKE and GLOB arrives as bounds that the statement spells out, and
**              holds for BLOB keys by their bytes: so such an upper bound bounds them
**     BLOB     bounds BLOB keys.  All TEXT keys are below it
**     number   to a column of numbers only the keys that spell one are below it; else its text
**              bounds the keys.  No key that spells a number is at or above ':'
**     UTF-16   bounds nothing: its text has another order
** A TEXT bound that is neither spelled out nor a parameter may come from a column of numbers.
** Keys that spell a number are below it, whatever their bytes are.
**
** NOCASE.  Keys that are alike but for the case of ASCII letters lie apart.  The keys of such a
** range all begin with what its two bounds begin with, in some case: the cursor seeks from one
** spelling that may be there to the next one, upwards or downwards (next_spelling).
*/
#include "sql.h"

enum { TEXT_KEYS = 1 << MAPH_KEY_TEXT, BLOB_KEYS = 1 << MAPH_KEY_BLOB };
enum { SKIPPED_MOST = 100 }; /* keys of the other type, before asking whether this one is there */

static const char past_numbers[] = ":"; /* above every key that spells a number */

/* --------------------------------------------------------------------------------------- bounds */

static int is_lower(int letter) { return strchr("AGg>", letter) != NULL; }
static int is_inclusive(int letter) { return strchr("GgLl", letter) != NULL; }
static int is_spelled(int letter) { return strchr(">g<l", letter) != NULL; }

int range_bound(key_range *range, int letter, sqlite3_value *value) {
  key_bound *bound = is_lower(letter) ? &range->lower : &range->upper;
  int type = sqlite3_value_type(value), rc = SQLITE_OK;
  sqlite3_value *copy = NULL;
  maph_slice bytes;
  if (type == SQLITE_NULL) range->is_nothing = 1;
  if (type == SQLITE_NULL || (type != SQLITE_BLOB && !range->is_utf8)) return SQLITE_OK;
  if (type != SQLITE_TEXT && type != SQLITE_BLOB) {
    value = copy = sqlite3_value_dup(value); /* it gets a text */
    if (copy == NULL) return SQLITE_NOMEM;
  }
  rc = value_lookup_key(value, &bytes);
  if (rc == SQLITE_OK && (bound->bytes = sqlite3_malloc64(bytes.size + 1)) == NULL)
    rc = SQLITE_NOMEM;
  if (rc == SQLITE_OK) {
    memcpy(bound->bytes, bytes.data, bytes.size);
    bound->size = bytes.size;
    bound->type = type;
    bound->is_inclusive = is_inclusive(letter);
    bound->is_spelled = is_spelled(letter);
    bound->is_known = sqlite3_value_frombind(value);
  }
  sqlite3_value_free(copy);
  return rc;
}

static int is_number(const key_bound *bound) {
  return bound->type == SQLITE_INTEGER || bound->type == SQLITE_FLOAT;
}

static maph_slice bytes_of(const key_bound *bound) { return maph_bytes(bound->bytes, bound->size); }

/* --------------------------------------------------------------------------------------- nocase */

static unsigned char to_lower(unsigned char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }
static unsigned char to_upper(unsigned char c) { return c >= 'a' && c <= 'z' ? c - 32 : c; }

/* NOCASE stops at a zero byte that both have, and then the longer one is above. */
static size_t up_to_zero(const key_bound *bound) {
  const unsigned char *zero = memchr(bound->bytes, 0, bound->size);
  return zero ? (size_t)(zero - bound->bytes) : bound->size;
}

/* The least bytes of a key that NOCASE does not put below the bound.  To it 'A' to 'Z' are above
** the six bytes between 'Z' and 'a'. */
static maph_slice least_of(const key_bound *bound, unsigned char *to) {
  size_t n = up_to_zero(bound), i;
  for (i = 0; i < n; i++) {
    to[i] = to_upper(bound->bytes[i]);
    if (to[i] > 'Z' && to[i] < 'a') {
      to[i] = 'A';
      return maph_bytes(to, i + 1);
    }
  }
  return maph_bytes(to, n);
}

/* The greatest of one that it does not put above, or more. */
static maph_slice greatest_of(const key_bound *bound, unsigned char *to) {
  size_t n = up_to_zero(bound), i;
  for (i = 0; i < n; i++) to[i] = to_lower(bound->bytes[i]);
  if (n < bound->size) to[n++] = 1;
  return maph_bytes(to, n);
}

/* Are they what SQLite makes of a LIKE or GLOB of a prefix?  Then a key of either type has it. */
static int is_prefix(const key_range *range) {
  const key_bound *lower = &range->lower, *upper = &range->upper;
  size_t i, n = lower->size;
  if (lower->type != SQLITE_TEXT || upper->type != SQLITE_TEXT || n == 0 || upper->size != n
      || !lower->is_spelled || !upper->is_spelled || !lower->is_inclusive || upper->is_inclusive)
    return 0;
  for (i = 0; i < n; i++) {
    unsigned char a = lower->bytes[i], b = upper->bytes[i];
    if (range->no_case) a = to_lower(a);
    if (range->no_case) b = to_lower(b);
    if (b != a + (i == n - 1)) return 0;
  }
  return 1;
}

/* What all keys of the range begin with, in lower case. */
static void find_prefix(key_range *range) {
  const key_bound *lower = &range->lower, *upper = &range->upper;
  size_t n = up_to_zero(lower), m = up_to_zero(upper), i = 0;
  while (i < n && i < m && to_lower(lower->bytes[i]) == to_lower(upper->bytes[i])) i++;
  if (is_prefix(range)) i = n;
  range->prefix_size = i;
  for (i = 0; i < range->prefix_size; i++) range->prefix[i] = to_lower(lower->bytes[i]);
}

/* To range->spelling, the least one above `key`, which has the prefix as far as `at` and differs
** there; -1: it ends.  0: there is none */
static int spelling_above(key_range *range, const unsigned char *bytes, size_t at, int differs) {
  const unsigned char *prefix = range->prefix;
  size_t n = range->prefix_size, keep = at, i;
  if (differs > prefix[at]) { /* a capital before it has to become small */
    while (keep > 0 && bytes[keep - 1] == prefix[keep - 1]) keep--;
    if (keep-- == 0) return 0;
  }
  memcpy(range->spelling, bytes, keep);
  for (i = keep; i < n; i++) range->spelling[i] = to_upper(prefix[i]);
  if (differs > to_upper(prefix[at])) range->spelling[keep] = prefix[keep];
  return 1;
}

/* The greatest one below. */
static int spelling_below(key_range *range, const unsigned char *bytes, size_t at, int differs) {
  const unsigned char *prefix = range->prefix;
  size_t keep = at;
  memcpy(range->spelling, prefix, range->prefix_size);
  if (differs < to_upper(prefix[at])) { /* a small letter before it has to become a capital */
    while (keep > 0 && bytes[keep - 1] == to_upper(prefix[keep - 1])) keep--;
    if (keep-- == 0) return 0;
  }
  memcpy(range->spelling, bytes, keep);
  if (differs < prefix[at]) range->spelling[keep] = to_upper(prefix[keep]);
  return 1;
}

/* To range->spelling, what the keys that come next begin with: the prefix in some case.  0: `key`
** does itself.  -1: there are none */
static int next_spelling(key_range *range, maph_slice key) {
  const unsigned char *bytes = key.data;
  size_t at = 0;
  int differs, found;
  while (at < range->prefix_size && at < key.size && to_lower(bytes[at]) == range->prefix[at]) at++;
  if (at == range->prefix_size) return 0;
  differs = at < key.size ? bytes[at] : -1;
  found = range->order < 0 ? spelling_below(range, bytes, at, differs)
                           : spelling_above(range, bytes, at, differs);
  return found ? 1 : -1;
}

/* ------------------------------------------------------------------------------------ stretches */

static int is_below(maph_slice a, maph_slice b) { return keys_compare(&a, &b) < 0; }

/* Where TEXT keys end: at the bound's bytes, or past all that spell numbers. */
static void end_text(key_range *range, key_stretch *stretch) {
  const key_bound *upper = &range->upper;
  maph_slice to = range->no_case ? greatest_of(upper, range->greatest) : bytes_of(upper);
  stretch->to = to;
  stretch->up_to = upper->is_inclusive || is_number(upper);
  if (upper->is_known && !is_number(upper)) return;
  if (is_below(to, maph_str(past_numbers))) stretch->to = maph_str(past_numbers);
  stretch->has_prefix = 0;
}

/* Where TEXT keys begin, by a TEXT bound; a prefix begins so for BLOB keys too. */
static void begin_text(key_range *range, key_stretch *stretch) {
  const key_bound *lower = &range->lower;
  stretch->from = range->no_case ? least_of(lower, range->least) : bytes_of(lower);
  stretch->after_from = !range->no_case && !lower->is_inclusive;
}

static void text_stretch(key_range *range, key_stretch *stretch) {
  stretch->types = range->lower.type == SQLITE_BLOB ? 0 : TEXT_KEYS;
  stretch->has_prefix = range->prefix_size > 0;
  if (range->lower.type == SQLITE_TEXT) begin_text(range, stretch);
  if (range->upper.type && range->upper.type != SQLITE_BLOB) end_text(range, stretch);
}

static void blob_stretch(key_range *range, key_stretch *stretch) {
  const key_bound *lower = &range->lower, *upper = &range->upper;
  stretch->types = BLOB_KEYS;
  if (lower->type == SQLITE_BLOB) {
    stretch->from = bytes_of(lower);
    stretch->after_from = !lower->is_inclusive;
  }
  if (upper->type == SQLITE_BLOB) {
    stretch->to = bytes_of(upper);
    stretch->up_to = upper->is_inclusive;
  } else if (upper->type == SQLITE_TEXT && upper->is_spelled) {
    end_text(range, stretch);
    if (!is_prefix(range)) return;
    begin_text(range, stretch);
    stretch->has_prefix = range->prefix_size > 0;
  } else if (upper->type) {
    stretch->types = 0;
  }
}

static int is_same(maph_slice a, maph_slice b) {
  if (a.data == NULL || b.data == NULL) return a.data == b.data;
  return keys_compare(&a, &b) == 0;
}

static int are_alike(const key_stretch *a, const key_stretch *b) {
  return is_same(a->from, b->from) && is_same(a->to, b->to) && a->after_from == b->after_from
         && a->up_to == b->up_to && a->has_prefix == b->has_prefix;
}

static void plan_stretches(key_range *range) {
  key_stretch text, blob;
  memset(&text, 0, sizeof(text));
  memset(&blob, 0, sizeof(blob));
  text_stretch(range, &text);
  blob_stretch(range, &blob);
  range->is_alike = text.types && blob.types && are_alike(&text, &blob);
  if (range->is_alike && range->order == 0) {
    text.types |= BLOB_KEYS;
    blob.types = 0;
  }
  if (range->order < 0) {
    range->stretch[0] = blob;
    range->stretch[1] = text;
  } else {
    range->stretch[0] = text;
    range->stretch[1] = blob;
  }
}

/* Is the range everything?  Then a pass over the store in no order is faster. */
int range_is_all(const key_range *range) {
  return range->order == 0 && range->stretch[0].types == (TEXT_KEYS | BLOB_KEYS)
         && range->stretch[0].from.data == NULL && range->stretch[0].to.data == NULL;
}

/* What SQLite makes of a LIKE is spelled out.  Of another bound that compares with NOCASE the
** letter does not tell (plan.c). */
static void learn_upper(key_range *range) {
  const key_bound *lower = &range->lower;
  key_bound *upper = &range->upper;
  if (!range->no_case
      || (lower->is_spelled && lower->is_inclusive && upper->is_spelled && !upper->is_inclusive))
    upper->is_known |= upper->is_spelled;
}

int range_start(key_range *range, sql_view *view) {
  size_t most = range->lower.size + range->upper.size + 2;
  range->view = view;
  range->least = sqlite3_malloc64(4 * most);
  if (range->least == NULL) return SQLITE_NOMEM;
  range->greatest = range->least + most;
  range->prefix = range->greatest + most;
  range->spelling = range->prefix + most;
  learn_upper(range);
  if (range->no_case && range->lower.type == SQLITE_TEXT && range->upper.type == SQLITE_TEXT)
    find_prefix(range);
  plan_stretches(range);
  return SQLITE_OK;
}

void range_close(key_range *range) {
  maph_range_close(range->cursor);
  sqlite3_free(range->least);
  sqlite3_free(range->lower.bytes);
  sqlite3_free(range->upper.bytes);
  memset(range, 0, sizeof(*range));
}

/* -------------------------------------------------------------------------------------- reading */

static int core_error(const key_range *range, int maph_rc, char **message) {
  return error_of(range->view->handle, maph_rc, message);
}

/* Has the store keys of that type?  Of a file that an older library wrote, the first answer may
** cost a walk over the log. */
static int has_keys(key_range *range, int type) {
  if (range->types == 0) range->types = maph_snapshot_key_types(range->view->snapshot);
  return (range->types & type) != 0;
}

/* The first stretch is read at once where the other is above it, so that who wants few rows waits
** for nothing.  What passed over all keys of both knows what was there. */
static int is_needed(key_range *range) {
  const key_stretch *stretch = &range->stretch[range->at];
  if (stretch->types == 0) return 0;
  if (stretch->types == (TEXT_KEYS | BLOB_KEYS)) return 1;
  if (range->at == 0 && (range->order >= 0 || range->stretch[1].types == 0)) return 1;
  if (range->at == 1 && range->stretch[0].types == 0) return 1;
  if (range->at == 1 && range->is_alike && range->was_read && range->skipped == 0) return 0;
  return has_keys(range, stretch->types);
}

static int open_stretch(key_range *range, char **message) {
  const key_stretch *stretch = &range->stretch[range->at];
  maph_range given = MAPH_RANGE_INIT;
  int rc;
  given.from = stretch->from;
  given.to = stretch->to;
  given.flags = (stretch->after_from ? MAPH_RANGE_AFTER_FROM : 0)
                | (stretch->up_to ? MAPH_RANGE_UP_TO : 0)
                | (range->order < 0 ? MAPH_RANGE_REVERSE : 0);
  rc = maph_range_open(range->view->handle, range->view->snapshot, &given, &range->cursor);
  range->skipped = 0;
  range->was_read = 1;
  return core_error(range, rc, message);
}

/* To the keys of range->spelling, from `key`.  Downwards they end before the bytes that follow it.
*/
static int seek_spelling(key_range *range, maph_slice key) {
  size_t last = range->prefix_size - 1;
  maph_slice to = maph_bytes(range->spelling, range->prefix_size);
  if (range->order < 0) {
    if (range->spelling[last] == 0xff) return MAPH_OK; /* one key after the other */
    range->spelling[last]++;
    if (!is_below(to, key)) return MAPH_OK;
  }
  return maph_range_seek(range->cursor, to);
}

/* Should the row be passed over?  Of many that should, perhaps no other ones will come: then
** *is_last says so. */
static int is_skipped(key_range *range, const maph_entry *entry, int *rc, int *is_last) {
  const key_stretch *stretch = &range->stretch[range->at];
  int spelling;
  if (stretch->types != (TEXT_KEYS | BLOB_KEYS)
      && value_key_is_text(entry) != (stretch->types == TEXT_KEYS)) {
    *is_last = ++range->skipped == SKIPPED_MOST && !has_keys(range, stretch->types);
    return 1;
  }
  spelling = stretch->has_prefix ? next_spelling(range, entry->key) : 0;
  if (spelling > 0) *rc = seek_spelling(range, entry->key);
  *is_last = spelling < 0;
  return spelling != 0;
}

/* The next row of the stretch.  SQLITE_DONE */
static int next_in_stretch(key_range *range, maph_entry *entry, char **message) {
  int rc = MAPH_OK, is_last = 0, stop;
  while (!is_last && (rc = maph_range_next(range->cursor, entry)) == MAPH_OK) {
    if (!is_skipped(range, entry, &rc, &is_last)) return SQLITE_OK;
    if (rc != MAPH_OK) break;
    stop = pulse_beat(range->view->store->connection);
    if (stop != SQLITE_OK) return stop;
  }
  return rc == MAPH_OK || rc == MAPH_NOTFOUND ? SQLITE_DONE : core_error(range, rc, message);
}

/* By the bounds of TEXT keys, or where these are none, of BLOB keys. */
double range_estimate(key_range *range, char **message) {
  const key_stretch *stretch;
  double rows;
  range->at = range->stretch[0].types ? 0 : 1;
  stretch = &range->stretch[range->at];
  if (stretch->types == 0 || (stretch->from.data == NULL && stretch->to.data == NULL)) return -1;
  if (open_stretch(range, message) != SQLITE_OK) return -1;
  rows = (double)maph_range_estimate(range->cursor);
  maph_range_close(range->cursor);
  range->cursor = NULL;
  return rows;
}

int range_next(key_range *range, maph_entry *entry, char **message) {
  int rc = SQLITE_DONE;
  for (; range->at < 2; range->at++) {
    if (range->cursor == NULL) {
      if (!is_needed(range)) continue;
      rc = open_stretch(range, message);
      if (rc != SQLITE_OK) return rc;
    }
    rc = next_in_stretch(range, entry, message);
    if (rc != SQLITE_DONE) return rc;
    maph_range_close(range->cursor);
    range->cursor = NULL;
  }
  return SQLITE_DONE;
}
