/*
** exercise.c - see exercise.h.  The rules for a file that may be damaged:
**
**  (1) Only these codes: OK NOTFOUND CORRUPT FORMAT RECOVER CANTOPEN, and for writes also READONLY
**      FULL IOERR.  Each failure has a sentence that names the file, and CORRUPT one that names the
**      offset.
**  (2) With options.verify, a value is one that was put under that key; and unless maph_check finds
**      a problem it is the current one.
**  (3) Unless maph_check finds a problem, no live key is missing.
**  (4) After maph_recover says OK the store is sound and takes a write.
*/
#include "exercise.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ the truth */

static unsigned mix(unsigned x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

static int even_sizes; /* of the store that was built last */

maph_slice truth_key(int i, char *buffer) {
  size_t pad = even_sizes ? 10 : mix((unsigned)i * 2 + 1) % 20;
  int n = snprintf(buffer, TRUTH_KEY_MAX, "key-%d-%.*s", i, (int)pad, "abcdefghijklmnopqrstuvwxyz");
  return maph_bytes(buffer, (size_t)n);
}

maph_slice truth_value(int i, int revision, unsigned char *buffer) {
  unsigned seed = mix((unsigned)(i * 64 + revision + 7)),
           size = even_sizes      ? 60
                  : seed % 7 == 0 ? seed % TRUTH_VALUE_MAX
                                  : seed % 90,
           k;
  for (k = 0; k < size; k++) buffer[k] = (unsigned char)mix(seed + k);
  return maph_bytes(buffer, size);
}

static int put_next(maph_txn *txn, truth *truth, int i) {
  char key[TRUTH_KEY_MAX];
  unsigned char value[TRUTH_VALUE_MAX];
  maph_condition condition;
  int rc;
  memset(&condition, 0, sizeof condition);
  condition.type = i % 6 == 5 ? MAPH_BLOB : i % 6;
  condition.key_type = i % 3;
  if (i % 5 == 0 && !even_sizes) condition.media_type = maph_str("text/x-test");
  if (i % 7 == 0 && !even_sizes) condition.expires = UINT64_C(1) << 44; /* the year 2527 */
  rc = maph_txn_put_if(txn, truth_key(i, key), truth_value(i, truth->revisions[i], value),
                       &condition);
  if (rc == MAPH_OK) {
    truth->revisions[i]++;
    truth->live[i] = 1;
  }
  return rc;
}

static int delete_one(maph_txn *txn, truth *truth, int i) {
  char key[TRUTH_KEY_MAX];
  int rc = maph_txn_delete(txn, truth_key(i, key));
  if (rc == MAPH_OK) truth->live[i] = 0;
  return rc;
}

/* One transaction; an aborted one leaves a pad when it was decided. */
static int build_txn(maph *m, truth *truth, unsigned round) {
  struct truth before = *truth;
  maph_txn *txn;
  int rc = maph_txn_begin(m, round % 3 == 0 ? MAPH_SYNC_FULL : MAPH_SYNC_OFF, &txn),
      abort = round % 8 == 7, k;
  if (rc != MAPH_OK) return rc;
  for (k = 0; rc == MAPH_OK && k < 5; k++) {
    int i = (int)(mix(round * 16 + (unsigned)k) % TRUTH_KEYS);
    rc = truth->live[i] && k == 3 ? delete_one(txn, truth, i) : put_next(txn, truth, i);
  }
  if (rc == MAPH_OK && abort) rc = maph_txn_prepare(txn);
  if (rc == MAPH_OK && !abort) return maph_txn_commit(txn);
  maph_txn_abort(txn);
  *truth = before;
  return rc;
}

/* Freeze what is there, and change some of it. */
static int freeze(maph *m, truth *truth, unsigned round) {
  unsigned end = round + 12;
  int rc = maph_optimize(m, NULL, NULL);
  while (rc == MAPH_OK && round < end) rc = build_txn(m, truth, round++);
  return rc;
}

int truth_build(const char *path, int kind, truth *truth) {
  maph_options options = MAPH_OPTIONS_INIT;
  maph_stats st;
  maph *m;
  unsigned round = 0;
  int rc;
  memset(truth, 0, sizeof *truth);
  even_sizes = kind == TRUTH_DIRECT;
  options.perfect_hash = kind == TRUTH_CMPH ? MAPH_PERFECT_CMPH : MAPH_PERFECT_PILOT;
  options.expected_keys = 2000; /* a directory of two segments */
  rc = maph_open(path, MAPH_RDWR | MAPH_CREATE | MAPH_EXCL, &options, &m);
  if (rc != MAPH_OK) return rc;
  while ((rc = maph_stat(m, &st)) == MAPH_OK && st.used_bytes < 63000 && rc == MAPH_OK)
    rc = build_txn(m, truth, round++);
  if (rc == MAPH_OK && kind != TRUTH_PLAIN) rc = freeze(m, truth, round);
  if (rc == MAPH_OK) return maph_close(m);
  maph_close(m);
  return rc;
}

/* ----------------------------------------------------------------------------------- complaints */

void exercise_complain(exercise *exercise, const char *format, ...) {
  va_list ap;
  if (exercise->complaint[0]) return;
  va_start(ap, format);
  vsnprintf(exercise->complaint, sizeof exercise->complaint, format, ap);
  va_end(ap);
}

enum {
  READ_CODES = 1 << MAPH_OK | 1 << MAPH_NOTFOUND | 1 << MAPH_CORRUPT | 1 << MAPH_FORMAT
               | 1 << MAPH_RECOVER | 1 << MAPH_CANTOPEN,
  WRITE_CODES = READ_CODES | 1 << MAPH_READONLY | 1 << MAPH_FULL | 1 << MAPH_IOERR
};

static const char *tail_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* Rule (1).  Returns rc. */
static int judge(exercise *exercise, const char *path, const char *call, int rc, int codes) {
  const char *sentence = maph_errmsg(NULL);
  if (rc == MAPH_OK || rc == MAPH_NOTFOUND) return rc;
  if (!(codes >> rc & 1))
    exercise_complain(exercise, "%s: code %d: %s", call, rc, sentence);
  else if (strstr(sentence, tail_of(path)) == NULL)
    exercise_complain(exercise, "%s: code %d without the file's name: %s", call, rc, sentence);
  else if (rc == MAPH_CORRUPT && !strstr(sentence, "offset ") && !strstr(sentence, "found;")
           && !strstr(sentence, "noise")) {
    exercise_complain(exercise, "%s: no place in: %s", call, sentence);
  }
  return rc;
}

static int same(maph_slice a, maph_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Touch every byte that was handed out. */
static unsigned touch(maph_slice s) {
  const volatile unsigned char *p = s.data;
  unsigned sum = 0;
  size_t i;
  for (i = 0; i < s.size; i += i + 4096 < s.size ? 512 : 1) sum += p[i];
  return sum;
}

/* Rule (2) for a verified answer. */
static void judge_value(exercise *exercise, const char *call, int i, maph_slice value) {
  unsigned char buffer[TRUTH_VALUE_MAX];
  int r;
  if (exercise->t == NULL) return;
  for (r = exercise->t->revisions[i] - 1; r >= 0; r--) {
    if (!same(value, truth_value(i, r, buffer))) continue;
    if (r != exercise->t->revisions[i] - 1 || !exercise->t->live[i]) exercise->wrong++;
    return;
  }
  exercise_complain(exercise, "%s: key %d has a value that was never put", call, i);
}

/* -------------------------------------------------------------------------------------- reading */

static void ask_each_key(maph *m, const char *path, int verified, exercise *exercise) {
  char buffer[TRUTH_KEY_MAX];
  maph_slice value;
  maph_entry entry;
  int i;
  for (i = 0; i < TRUTH_KEYS; i++) {
    maph_slice key = truth_key(i, buffer);
    int rc = judge(exercise, path, "get", maph_get(m, key, &value), READ_CODES);
    if (rc == MAPH_OK && value.data == NULL) exercise_complain(exercise, "get: OK without data");
    if (rc == MAPH_OK) touch(value);
    if (rc == MAPH_OK && verified) judge_value(exercise, "get", i, value);
    if (rc == MAPH_NOTFOUND && exercise->t && exercise->t->live[i] && verified) exercise->missing++;
    rc = judge(exercise, path, "get_entry", maph_get_entry(m, key, &entry), READ_CODES);
    if (rc == MAPH_OK) {
      touch(entry.value);
      touch(entry.media_type);
    }
  }
}

static void ask_many(maph *m, const char *path, int verified, exercise *exercise) {
  static _Thread_local char buffers[TRUTH_KEYS][TRUTH_KEY_MAX];
  maph_slice keys[TRUTH_KEYS], values[TRUTH_KEYS];
  int i, rc;
  for (i = 0; i < TRUTH_KEYS; i++) keys[i] = truth_key(i, buffers[i]);
  rc = judge(exercise, path, "get_many", maph_get_many(m, TRUTH_KEYS, keys, values), READ_CODES);
  if (rc == MAPH_NOTFOUND) exercise_complain(exercise, "get_many: NOTFOUND");
  for (i = 0; rc == MAPH_OK && i < TRUTH_KEYS; i++) {
    touch(values[i]);
    if (values[i].data && verified) judge_value(exercise, "get_many", i, values[i]);
  }
}

/* Which of the keys this is, or -1. */
static int key_number(maph_slice key) {
  char buffer[TRUTH_KEY_MAX], text[16];
  int i;
  if (key.size < 5 || key.size >= TRUTH_KEY_MAX || memcmp(key.data, "key-", 4) != 0) return -1;
  memset(text, 0, sizeof text);
  memcpy(text, (const char *)key.data + 4,
         key.size - 4 < sizeof text - 1 ? key.size - 4 : sizeof text - 1);
  return sscanf(text, "%d", &i) == 1 && i >= 0 && i < TRUTH_KEYS && same(key, truth_key(i, buffer))
             ? i
             : -1;
}

static void scan(maph *m, const char *path, int verified, exercise *exercise) {
  maph_cursor *cursor;
  maph_entry entry;
  int rc = judge(exercise, path, "cursor_open",
                 maph_cursor_open(m, NULL, maph_bytes(NULL, 0), &cursor), READ_CODES),
      seen = 0, expected = 0, i;
  if (rc != MAPH_OK) return;
  while ((rc = judge(exercise, path, "cursor_next", maph_cursor_next(cursor, &entry), READ_CODES))
         == MAPH_OK) {
    touch(entry.key);
    touch(entry.value);
    touch(entry.media_type);
    if (++seen > 10000) {
      exercise_complain(exercise, "cursor: more than 10000 entries");
      break;
    }
    if (!verified || exercise->t == NULL) continue;
    i = key_number(entry.key);
    if (i < 0)
      exercise_complain(exercise, "cursor: a key that was never put");
    else
      judge_value(exercise, "cursor", i, entry.value);
  }
  maph_cursor_close(cursor);
  for (i = 0; exercise->t && i < TRUTH_KEYS; i++) expected += exercise->t->live[i];
  if (verified && exercise->t && rc == MAPH_NOTFOUND && seen < expected)
    exercise->missing += expected - seen;
}

static void ask_snapshot(maph *m, const char *path, exercise *exercise) {
  char buffer[TRUTH_KEY_MAX];
  maph_snapshot *snapshot;
  maph_slice value;
  maph_stats st;
  int i;
  judge(exercise, path, "stat", maph_stat(m, &st), READ_CODES);
  if (judge(exercise, path, "snapshot_open", maph_snapshot_open(m, &snapshot), READ_CODES)
      != MAPH_OK)
    return;
  for (i = 0; i < TRUTH_KEYS; i += 7)
    if (judge(exercise, path, "snapshot_get",
              maph_snapshot_get(snapshot, truth_key(i, buffer), &value), READ_CODES)
        == MAPH_OK)
      touch(value);
  maph_snapshot_close(snapshot);
}

/* All that a feed tells, from as far back as the file says that it can. */
static void follow(maph *m, const char *path, exercise *exercise) {
  maph_changes *feed;
  maph_change change;
  maph_stats st;
  int rc, n = 0;
  if (judge(exercise, path, "stat", maph_stat(m, &st), READ_CODES) != MAPH_OK) return;
  rc = judge(exercise, path, "changes_open", maph_changes_open(m, st.oldest_version, &feed),
             READ_CODES | 1 << MAPH_COMPACTED);
  if (rc != MAPH_OK) return;
  while ((rc = judge(exercise, path, "changes_next", maph_changes_next(feed, 0, &change),
                     READ_CODES | 1 << MAPH_COMPACTED))
         == MAPH_OK) {
    touch(change.entry.key);
    touch(change.entry.value);
    touch(change.entry.media_type);
    if (++n > 100000) {
      exercise_complain(exercise, "changes: more than 100000");
      break;
    }
  }
  maph_changes_close(feed);
}

static int count_problem(void *arg, uint64_t offset, const char *sentence) {
  exercise *exercise = arg;
  (void)offset;
  if (sentence == NULL || sentence[0] == 0)
    exercise_complain(exercise, "check: a problem without a sentence");
  exercise->problems++;
  return 0;
}

static void run_check(maph *m, const char *path, exercise *exercise) {
  int rc;
  exercise->problems = 0;
  rc = judge(exercise, path, "check", maph_check(m, count_problem, exercise), READ_CODES);
  if ((rc == MAPH_OK) != (exercise->problems == 0) && rc != MAPH_CANTOPEN)
    exercise_complain(exercise, "check: code %d with %d problems", rc, exercise->problems);
  if (rc != MAPH_OK && exercise->problems == 0) exercise->problems = -1;
}

void exercise_read(const char *path, exercise *exercise) {
  maph_options options = MAPH_OPTIONS_INIT;
  maph *m = NULL, *plain = NULL;
  exercise->wrong = exercise->missing = 0;
  exercise->problems = -1;
  options.verify = 1;
  exercise->opened =
      judge(exercise, path, "open", maph_open(path, MAPH_RDONLY, &options, &m), READ_CODES);
  if (exercise->opened != MAPH_OK) return;
  if (judge(exercise, path, "open", maph_open(path, MAPH_RDONLY, NULL, &plain), READ_CODES)
      == MAPH_OK) {
    ask_each_key(plain, path, 0, exercise);
    ask_many(plain, path, 0, exercise);
    scan(plain, path, 0, exercise);
    ask_snapshot(plain, path, exercise);
    follow(plain, path, exercise);
    maph_close(plain);
  }
  ask_each_key(m, path, 1, exercise);
  ask_many(m, path, 1, exercise);
  scan(m, path, 1, exercise);
  run_check(m, path, exercise);
  if (exercise->problems == 0 && exercise->wrong)
    exercise_complain(exercise, "check finds nothing, yet %d verified answers are not current",
                      exercise->wrong);
  if (exercise->problems == 0 && exercise->missing)
    exercise_complain(exercise, "check finds nothing, yet %d keys are missing", exercise->missing);
  if (maph_close(m) != MAPH_OK) exercise_complain(exercise, "close: %s", maph_errmsg(NULL));
}

/* -------------------------------------------------------------------------------------- writing */

/* Where versions are given, as a forged bit may say, a transaction has to say one. */
static int say_version(maph *m, maph_txn *txn) {
  maph_stats stats;
  int rc = maph_stat(m, &stats);
  return rc == MAPH_OK && stats.versions == MAPH_VERSIONS_GIVEN
             ? maph_txn_at(txn, stats.version + 1)
             : rc;
}

static int put_one(maph *m, maph_slice key, maph_slice value) {
  maph_txn *txn;
  int rc = maph_txn_begin(m, MAPH_SYNC_DEFAULT, &txn), said;
  if (rc != MAPH_OK) return rc;
  said = say_version(m, txn);
  rc = said == MAPH_OK ? maph_txn_put(txn, key, value) : said;
  if (rc == MAPH_OK) return maph_txn_commit(txn);
  maph_txn_abort(txn);
  return said == MAPH_MISUSE ? MAPH_FULL : rc; /* the last version there is */
}

/* Try each kind of write; what succeeds must be read back, or check must say why not: the index has
** no checksums, and a forged word of it may lead astray. */
static void write_some(maph *m, const char *path, exercise *exercise) {
  char buffer[TRUTH_KEY_MAX];
  maph_slice fresh = maph_str("written after the damage"), value;
  maph_txn *txn;
  int rc = judge(exercise, path, "put", maph_put(m, fresh, fresh), WRITE_CODES), k;
  if (rc == MAPH_OK && (maph_get(m, fresh, &value) != MAPH_OK || !same(value, fresh))
      && maph_check(m, NULL, NULL) == MAPH_OK)
    exercise_complain(exercise, "put: OK, but get does not find it, and check finds nothing");
  judge(exercise, path, "delete", maph_delete(m, truth_key(3, buffer)), WRITE_CODES);
  if (judge(exercise, path, "begin", maph_txn_begin(m, MAPH_SYNC_FULL, &txn), WRITE_CODES)
      == MAPH_OK) {
    say_version(m, txn);
    for (k = 0; k < 40; k++)
      judge(exercise, path, "txn_put", maph_txn_put(txn, truth_key(k, buffer), fresh), WRITE_CODES);
    maph_txn_savepoint(txn, 0);
    judge(exercise, path, "txn_delete", maph_txn_delete(txn, truth_key(5, buffer)), WRITE_CODES);
    judge(exercise, path, "rollback_to", maph_txn_rollback_to(txn, 0), WRITE_CODES);
    judge(exercise, path, "commit", maph_txn_commit(txn), WRITE_CODES);
  }
  judge(exercise, path, "sync", maph_sync(m), WRITE_CODES);
}

/* Rule (4). */
static void must_be_sound(const char *path, exercise *exercise) {
  maph_options options = MAPH_OPTIONS_INIT;
  maph_slice word = maph_str("after recovery"), value;
  maph *m;
  int rc;
  options.verify = 1;
  if (maph_open(path, MAPH_RDWR, &options, &m) != MAPH_OK) {
    exercise_complain(exercise, "recover says OK, open then: %s", maph_errmsg(NULL));
    return;
  }
  run_check(m, path, exercise);
  if (exercise->problems)
    exercise_complain(exercise, "recover says OK, check then finds %d problems: %s",
                      exercise->problems, maph_errmsg(NULL));
  if ((rc = put_one(m, word, word)) != MAPH_FULL
      && (rc != MAPH_OK || maph_get(m, word, &value) != MAPH_OK))
    exercise_complain(exercise, "recover says OK, put then: %s", maph_errmsg(NULL));
  if (maph_close(m) != MAPH_OK)
    exercise_complain(exercise, "recover says OK, close then: %s", maph_errmsg(NULL));
}

void exercise_write(const char *path, exercise *exercise) {
  maph_options options = MAPH_OPTIONS_INIT;
  maph *m = NULL;
  options.busy_timeout_ms = 100;
  if (judge(exercise, path, "open for writing", maph_open(path, MAPH_RDWR, &options, &m),
            WRITE_CODES)
      == MAPH_OK) {
    write_some(m, path, exercise);
    if (judge(exercise, path, "optimize", maph_optimize(m, NULL, NULL), WRITE_CODES) == MAPH_OK)
      judge(exercise, path, "compact", maph_compact(m, NULL, NULL), WRITE_CODES);
    judge(exercise, path, "close", maph_close(m), WRITE_CODES);
  }
  if (judge(exercise, path, "recover", maph_recover(path, NULL, NULL), WRITE_CODES) == MAPH_OK)
    must_be_sound(path, exercise);
}
