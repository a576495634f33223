/*
** store.c - how the commands open a store, and what they say when it fails.
**
** The library waits for another writer in steps of STEP_MS, between which the program looks whether
** it was told to stop.
*/
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "cli.h"

enum { STEP_MS = 200 };

/* After each step: is there another one? */
static bool wait_goes_on(const arguments *args, int rc, uint64_t *waited_ms) {
  *waited_ms += STEP_MS;
  return rc == MAPH_BUSY && *waited_ms < args->busy_timeout_ms && !stop_asked();
}

static int say_busy(const arguments *args, const char *path) {
  if (stop_asked()) return FAILED;
  return complain(
      "%s: another writer held the store for all of %llu ms: try again, or raise --busy-timeout",
      path, (unsigned long long)args->busy_timeout_ms);
}

static int open_once(const arguments *args, const char *path, int flags, uint64_t wait_ms,
                     maph **m) {
  maph_options options = MAPH_OPTIONS_INIT;
  options.verify = 1;
  options.busy_timeout_ms = (int)wait_ms;
  options.expected_keys = args->expect_keys == NOT_GIVEN ? 0 : args->expect_keys;
  if (args->perfect_hash)
    options.perfect_hash =
        strcmp(args->perfect_hash, "cmph") == 0 ? MAPH_PERFECT_CMPH : MAPH_PERFECT_PILOT;
  if (args->mode != NOT_GIVEN) options.mode = (int)args->mode;
  return maph_open(path, flags, &options, m);
}

static int open_it(const arguments *args, const char *path, int flags, maph **m) {
  uint64_t waited_ms = 0,
           step_ms = args->busy_timeout_ms < STEP_MS ? args->busy_timeout_ms : STEP_MS;
  int rc;
  do rc = open_once(args, path, flags, step_ms, m);
  while (wait_goes_on(args, rc, &waited_ms));
  return rc;
}

bool store_path(const char *path) {
  if (path[0] == 0)
    complain("the path of the store is empty");
  else if (strlen(path) >= PATH_MAX)
    complain("the path of the store is too long: %zu bytes", strlen(path));
  else if (strcmp(path, ":memory:") == 0)
    complain(":memory: is no file; ./:memory: is one of that name");
  else if (same_file(path, STDOUT_FILENO))
    complain("standard output is the store itself");
  else
    return true;
  return false;
}

/* The index of a new store is made at once, and it is not small: a slip in --keys must not fill the
** disk. */
static bool room_for_keys(const arguments *args, const char *path) {
  enum { LEAST_EACH = 16 };
  char need[32], left[32], *folder = strdup(path);
  struct statvfs disk;
  struct stat st;
  bool known = folder && args->expect_keys != NOT_GIVEN && stat(path, &st) != 0
               && statvfs(dirname(folder), &disk) == 0;
  uint64_t room = known ? (uint64_t)disk.f_bavail * disk.f_frsize : 0;
  free(folder);
  if (!known || args->expect_keys <= room / LEAST_EACH) return true;
  complain("--keys %llu: their index takes at least %s, and the disk has room for %s",
           (unsigned long long)args->expect_keys,
           bytes_for_people(args->expect_keys * LEAST_EACH, need), bytes_for_people(room, left));
  return false;
}

maph *store_open(const arguments *args, const char *path, int flags) {
  maph *m = NULL;
  int rc;
  if (!store_path(path) || ((flags & MAPH_CREATE) && !room_for_keys(args, path))) return NULL;
  rc = open_it(args, path, flags, &m);
  if (rc == MAPH_CANTOPEN && (flags & MAPH_CREATE))
    complain("%s", maph_errmsg(NULL));
  else if (rc == MAPH_BUSY)
    say_busy(args, path);
  else if (rc != MAPH_OK)
    store_failed(path, rc);
  return m;
}

maph *store_open_to_rewrite(const arguments *args, const char *path) {
  maph *m = NULL;
  int rc;
  if (!store_path(path)) return NULL;
  rc = open_once(args, path, MAPH_RDWR, args->busy_timeout_ms, &m);
  if (rc != MAPH_OK) store_failed(path, rc);
  return m;
}

maph *store_open_or_make(const arguments *args, const char *path, bool *made) {
  maph *m = NULL;
  if (!store_path(path) || (args->create && !room_for_keys(args, path))) return NULL;
  *made = args->create && open_it(args, path, MAPH_RDWR | MAPH_CREATE | MAPH_EXCL, &m) == MAPH_OK;
  if (m == NULL && stop_asked()) return NULL; /* it was not to be made, so nor is it now */
  return m ? m : store_open(args, path, args->create ? MAPH_RDWR | MAPH_CREATE : MAPH_RDWR);
}

/* Whatever is in the way of that, it can be waited for, and written to, or the command that tries
** says what is wrong. */
static bool load_into_empty(maph_load_options *o, const arguments *args, const char *path,
                            maph_load **load) {
  o->into_empty = 1;
  o->busy_timeout_ms = (int)args->busy_timeout_ms;
  maph_load_begin(path, o, load);
  return !stop_asked();
}

bool store_load(const arguments *args, const char *path, maph_load **load) {
  maph_load_options o = MAPH_LOAD_OPTIONS_INIT;
  int rc;
  *load = NULL;
  if (!store_path(path) || !room_for_keys(args, path)) return false;
  o.busy_timeout_ms = 0;
  o.expected_keys = args->expect_keys == NOT_GIVEN ? 0 : args->expect_keys;
  if (args->mode != NOT_GIVEN) o.mode = (int)args->mode;
  rc = args->create ? maph_load_begin(path, &o, load) : MAPH_EXISTS;
  if (rc == MAPH_OK) return true;
  /* it is there, or somebody is making it */
  if (rc == MAPH_EXISTS || rc == MAPH_BUSY) return load_into_empty(&o, args, path, load);
  store_failed(path, rc);
  return false;
}

maph_txn *store_begin(const arguments *args, maph *m, const char *path) {
  maph_txn *txn = NULL;
  uint64_t waited_ms = 0;
  int rc;
  do rc = maph_txn_begin(m, durability(args), &txn);
  while (wait_goes_on(args, rc, &waited_ms));
  if (rc == MAPH_BUSY)
    say_busy(args, path);
  else if (rc != MAPH_OK)
    store_failed(path, rc);
  return txn;
}

int store_commit(maph_txn *txn) {
  if (!stop_asked()) return maph_txn_commit(txn);
  maph_txn_abort(txn);
  return MAPH_CANCELLED;
}

bool store_is_new(maph *m) {
  maph_stats stats;
  return maph_stat(m, &stats) == MAPH_OK && stats.version == 0;
}

/* Core speaks of its own flags; what a user of the command line does instead. */
static int complain_of_core(const char *sentence) {
  static const char *const words[][2] = {
    { "open it with MAPH_RDWR|MAPH_CREATE to make it a store", "`maph create` makes it a store" },
    { "open it with MAPH_RDWR|MAPH_CREATE", "`maph create` makes one" },
  };
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    const char *found = strstr(sentence, words[i][0]);
    if (found == NULL) continue;
    return complain("%.*s%s%s", (int)(found - sentence), sentence, words[i][1],
                    found + strlen(words[i][0]));
  }
  return complain("%s", sentence);
}

int store_failed(const char *path, int rc) {
  struct stat st;
  if (rc == MAPH_CANCELLED || stop_asked()) return FAILED;
  if (rc == FILE_CUT_SHORT || (file_cut_short() && rc != MAPH_IOERR))
    return complain("%s: it was cut short by another program while in use; restore a backup, or "
                    "run `maph recover` on it",
                    path);
  if (rc == MAPH_CANTOPEN && stat(path, &st) != 0 && errno == ENOENT)
    return complain("%s: no such store; `maph create` makes one", path);
  return complain_of_core(maph_errmsg(NULL));
}

int store_close(maph *m, const char *path, int status) {
  int rc = maph_close(m);
  if (rc != MAPH_OK && status != FAILED) return store_failed(path, rc);
  if (file_cut_short() && status != FAILED) return store_failed(path, FILE_CUT_SHORT);
  return status;
}

int durability(const arguments *args) {
  static const char *const names[] = { "off", "normal", "full" };
  for (int i = 0; args->sync && i < 3; i++)
    if (strcmp(args->sync, names[i]) == 0) return MAPH_SYNC_OFF + i;
  return MAPH_SYNC_DEFAULT;
}

/* Bytes that an option gives, with escapes where --escaped says so. */
static bool bytes_from(arguments *args, const char *option, char *text, maph_slice *bytes) {
  const char *mistake = NULL;
  *bytes = text ? maph_str(text) : maph_bytes(NULL, 0);
  if (args->escaped && text) mistake = unescape(*bytes, text, &bytes->size);
  if (mistake) complain("--%s: %s", option, mistake);
  return mistake == NULL;
}

bool prefix_from(arguments *args, maph_slice *prefix) {
  if (!bytes_from(args, "prefix", args->prefix, prefix)) return false;
  if (prefix->data == NULL) *prefix = maph_str("");
  return true;
}

bool bounds_from(arguments *args, maph_slice *from, maph_slice *to) {
  return bytes_from(args, "from", args->from, from) && bytes_from(args, "to", args->to, to);
}

bool same_file(const char *path, int fd) {
  struct stat a, b;
  return stat(path, &a) == 0 && fstat(fd, &b) == 0 && S_ISREG(a.st_mode) && a.st_dev == b.st_dev
         && a.st_ino == b.st_ino;
}

const char *format_of(const arguments *args, const char *path) {
  static const char *const endings[][2] = {
    { ".csv", "csv" }, { ".tsv", "tsv" }, { ".tab", "tsv" }, { ".maph", "maph" }
  };
  size_t size = strlen(path);
  if (args->format) return args->format;
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
    size_t n = strlen(endings[i][0]);
    if (size > n && strcmp(path + size - n, endings[i][0]) == 0) return endings[i][1];
  }
  return "ndjson";
}
