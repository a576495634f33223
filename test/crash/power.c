/*
** power.c - lives, cuts, recoveries.
**
** A LIFE is one to three writers, one after the other, on one store; each is killed at a random
** step or ends.  Then the power is CUT: images are made of what pages.c says the disk may hold, and
** each is opened as after a new boot.  It must hold a state of the history, not before the last
** that was acknowledged at full; be sound; and give out only versions above all that anybody saw.
** A read-only open says MAPH_RECOVER first.  Some images live on: recovery itself is killed and
** cut, and what was done before is done again, so that stale pages have their chance.
**
** Of every third store the versions are given: after a recovery it is at the version of the state
** that it holds, and each entry at its own.
*/
#include "calls/handle.h"
#include "file/record.h"
#include "file/view.h"
#include "index/lookup.h"
#include "writer/lock.h"
#include "crash.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEEPEST = 3, IMAGES_A_CUT = 24 };

static char *path, *image_path;
static uint8_t *base; /* the store that first lives begin with */
static size_t base_size;
static long images, cuts, renamed, recovered, clean, lives, wanted;
static uint16_t boots;

/* Another number than the last one, and none that means something. */
static uint16_t next_boot(void) {
  boots = (uint16_t)(boots % (OS_TEST_NO_BOOT - 1) + 1);
  return boots;
}

/* ------------------------------------------------------------------------------------- a writer */

typedef struct session {
  const char *path;
  int transactions, crowd, closes, syncs, rewrites, replaces;
  uint64_t numbers;
} session;

/* Which state did the one before leave?  Both are possible until somebody looked. */
static void settle_quietly(writer *writer) {
  state got;
  maph_txn *txn;
  if (maph_txn_begin(writer->m[MAPH_SYNC_OFF], MAPH_SYNC_OFF, &txn) != MAPH_OK) {
    trouble("a writer cannot begin: %s", maph_errmsg(NULL));
    return;
  }
  maph_txn_abort(txn);
  if (content_read(writer->m[MAPH_SYNC_OFF], &got) != 0) return;
  if (content_match(&got, the->n, the->flight == PROMISED) < 0) {
    trouble("a writer finds the store in none of its states (%d, flight %d)", the->n,
            (int)the->flight);
    return;
  }
  if (!state_same(&got, &the->history[the->n])) the->history[++the->n] = the->maybe;
  the->flight = NOTHING;
  the->flight_survives_power = 0;
}

static void sync_all(writer *writer) {
  if (maph_sync(writer->m[MAPH_SYNC_OFF]) != MAPH_OK)
    trouble("maph_sync: %s", maph_errmsg(NULL));
  else
    the->durable = the->n;
}

/* Somebody writes at some phases of a rewrite, and after some of its flushes: what comes after the
** last one before writers are locked out is copied with the lock, and flushed then if it was
** promised. */
static writer *beside;
static void (*after_flush)(const uint8_t *of, uint64_t from, uint64_t to);

static void write_beside(writer *writer) {
  script script;
  if (below(2)) return;
  beside = NULL; /* this one flushes too */
  script_random(&script, 0);
  if (script_run(writer, &script) != MAPH_OK)
    trouble("a writer cannot write beside a rewrite: %s", maph_errmsg(NULL));
  if (below(4) == 0) sync_all(writer);
  beside = writer;
}

static int write_meanwhile(void *arg, const char *phase, uint64_t done, uint64_t total) {
  (void)phase;
  (void)done;
  (void)total;
  write_beside(arg);
  return 0;
}

static void write_after_flush(const uint8_t *of, uint64_t from, uint64_t to) {
  after_flush(of, from, to);
  if (beside && !lock_turn_is_mine(beside->m[MAPH_SYNC_OFF]->store)) write_beside(beside);
}

static void rewrite(writer *writer) {
  maph *m = writer->m[1 + below(3)];
  int rc;
  after_flush = os_test.flush;
  os_test.flush = write_after_flush;
  beside = writer;
  rc = below(3) ? maph_optimize(m, write_meanwhile, writer)
                : maph_compact(m, write_meanwhile, writer);
  beside = NULL;
  os_test.flush = after_flush;
  if (rc != MAPH_OK) trouble("a writer cannot rewrite: %s", maph_errmsg(NULL));
}

static char *copy_of(const char *file, const char *suffix) {
  static char name[500];
  snprintf(name, sizeof name, "%s.copy%s", file, suffix);
  return name;
}

/* What a dead writer left of a copy. */
static void remove_copies(const char *file) {
  unlink(copy_of(file, ""));
  unlink(copy_of(file, ".lock"));
  unlink(copy_of(file, ".new"));
}

/* The same entries in a store that was made elsewhere: its versions begin anew. */
static int copy_by_hand(maph *from, const char *copy) {
  maph_cursor *cursor = NULL;
  maph_entry entry;
  maph_txn *txn = NULL;
  maph *to;
  int rc = maph_open(copy, MAPH_RDWR | MAPH_CREATE, NULL, &to), closed;
  if (rc == MAPH_OK) rc = maph_txn_begin(to, MAPH_SYNC_OFF, &txn);
  if (rc == MAPH_OK) rc = maph_cursor_open(from, NULL, maph_bytes(NULL, 0), &cursor);
  while (rc == MAPH_OK && (rc = maph_cursor_next(cursor, &entry)) == MAPH_OK)
    rc = maph_txn_put(txn, entry.key, entry.value);
  maph_cursor_close(cursor);
  if (rc == MAPH_NOTFOUND) rc = maph_txn_commit(txn);
  closed = maph_close(to);
  return rc == MAPH_OK ? closed : rc;
}

/* A copy takes the place of the store. */
static void replace(writer *writer, const char *file) {
  const char *copy = copy_of(file, "");
  maph *m = writer->m[1 + below(3)];
  int rc = below(2) && !the->numbered ? copy_by_hand(m, copy) : maph_backup(m, copy, NULL, NULL);
  if (rc == MAPH_OK) rc = maph_replace(file, copy, 5000);
  if (rc != MAPH_OK) trouble("a writer cannot replace the store: %s", maph_errmsg(NULL));
}

static void work(void *arg) {
  const session *session = arg;
  writer writer;
  script script;
  int i;
  pages_watch(session->path);
  rng_again(session->numbers);
  if (writer_open(&writer, session->path, MAPH_RDWR) != MAPH_OK) {
    trouble("a writer cannot open the store: %s", maph_errmsg(NULL));
    return;
  }
  settle_quietly(&writer);
  for (i = 0; i < session->transactions && troubles == 0; i++) {
    script_random(&script, session->crowd && below(3) == 0);
    if (script_run(&writer, &script) != MAPH_OK)
      trouble("a writer cannot write: %s", maph_errmsg(NULL));
    if (i == session->rewrites && troubles == 0) {
      if (session->replaces)
        replace(&writer, session->path);
      else
        rewrite(&writer);
    }
    if (session->syncs && below(4) == 0) sync_all(&writer);
  }
  if (session->closes) {
    if (writer_close(&writer) != MAPH_OK)
      trouble("a writer cannot close: %s", maph_errmsg(NULL));
    else
      the->durable = the->n;
  }
}

static void one_session(const char *file, uint64_t numbers) {
  session session;
  session.path = file;
  session.transactions = (int)below(7);
  session.crowd = below(3) == 0;
  session.closes = below(3) == 0;
  session.syncs = below(3) == 0;
  session.rewrites = below(2) ? (int)below(4) : -1;
  if (session.rewrites >= session.transactions) session.transactions = session.rewrites + 1;
  session.replaces = below(3) == 0;
  session.numbers = numbers;
  atomic_store(&the->step, 0);
  atomic_store(&the->kill_at, below(5) ? 1
                                             + (long)below(below(2)                ? 40
                                                           : session.rewrites >= 0 ? 900
                                                                                   : 400)
                                       : 0);
  the->kill_near_rename = session.rewrites >= 0 && below(2) ? 1 + (long)below(8) : 0;
  if (the->kill_near_rename) atomic_store(&the->kill_at, 0);
  /* that of the backup comes first */
  the->renames_before = session.replaces && below(4) ? 1 : 0;
  remove_copies(file);
  reap(spawn(work, &session));
  pages_session_over();
}

/* ------------------------------------------------------------------------------------- an image */

/* What the header says of itself. */
static uint64_t word_of(const uint8_t *bytes, size_t at) {
  uint64_t w;
  memcpy(&w, bytes + at, 8);
  return w;
}

static void check_versions(maph *m, int was_clean) {
  maph_txn *txn;
  uint64_t version, shift, seen;
  if (the->numbered) return; /* content_match did */
  if (maph_txn_begin(m, MAPH_SYNC_OFF, &txn) != MAPH_OK) {
    trouble("after recovery a transaction cannot begin: %s", maph_errmsg(m));
    return;
  }
  version = maph_txn_version(txn);
  maph_txn_abort(txn);
  if (version <= the->top_version)
    trouble("version %llu is given out, and somebody saw %llu", (unsigned long long)version,
            (unsigned long long)the->top_version);
  /* in the file: what replaced another one shows others */
  shift = store_shift(m->store);
  seen = the->top_version > shift ? the->top_version - shift : 0;
  if (!was_clean && (version - shift) >> 32 <= seen >> 32)
    trouble("after recovery versions go on at %llu, not at the next multiple of 2^32",
            (unsigned long long)version);
}

/* Nothing is told that came after the last version. */
static void check_numbered_feed(maph *m, uint64_t version) {
  maph_changes *feed;
  maph_change change;
  if (maph_changes_open(m, version, &feed) != MAPH_OK
      || maph_changes_next(feed, 0, &change) != MAPH_NOTFOUND
      || maph_changes_version(feed) != version)
    trouble("a feed from version %llu, the last: %s", (unsigned long long)version, maph_errmsg(m));
  maph_changes_close(feed);
}

/* No feed begins at a version that was lost, or never was. */
static void check_feed(maph *m) {
  maph_changes *feed;
  maph_stats st;
  int rc;
  if (maph_stat(m, &st) != MAPH_OK) {
    trouble("stat: %s", maph_errmsg(m));
    return;
  }
  if (the->numbered) {
    check_numbered_feed(m, st.version);
    return;
  }
  rc = maph_changes_open(m, st.version - 1, &feed);
  if (rc != MAPH_COMPACTED)
    trouble("a feed begins at version %llu, which is in a gap (%d)",
            (unsigned long long)st.version - 1, rc);
  if (rc == MAPH_OK) maph_changes_close(feed);
}

static void check_reader(int was_clean) {
  maph *m;
  int rc = maph_open(image_path, MAPH_RDONLY, NULL, &m);
  if (rc != (was_clean ? MAPH_OK : MAPH_RECOVER))
    trouble("a reader's open of what a power cut left gives %d: %s", rc, maph_errmsg(NULL));
  maph_close(m);
}

/* The state that this image recovers to, or -1. */
static int judge_image(const uint8_t *image, size_t size, const char *how) {
  int was_clean = size >= HEADER_SIZE && word_of(image, offsetof(header, clean)) == CLEAN_YES,
      at = -1, before = troubles;
  state got;
  maph *m;
  file_restore(image_path, image, size);
  os_test.boot = next_boot();
  context("power, life %ld, image %ld, %s", lives, images, how);
  check_reader(was_clean);
  if (maph_open(image_path, MAPH_RDWR, NULL, &m) != MAPH_OK) {
    trouble("it cannot be opened: %s", maph_errmsg(NULL));
    return -1;
  }
  if (content_read(m, &got) == 0) {
    at = content_match(&got, the->durable, the->flight == PROMISED && the->flight_survives_power);
    if (at < 0)
      trouble("what is recovered is no state from %d, the last at full, to %d (flight %d)",
              the->durable, the->n, (int)the->flight);
    else
      check_versions(m, was_clean);
    if (!was_clean) check_feed(m);
  }
  if (maph_close(m) != MAPH_OK) trouble("it cannot be closed: %s", maph_errmsg(NULL));
  images++;
  clean += was_clean;
  return troubles == before ? at : -1;
}

/* ---------------------------------------------------------------------------------------- lives */

static void live(const char *file, int depth, uint64_t numbers);

/* An image lives on: its recovery and what comes after is a life of its own.  Sometimes the same
** work is done again. */
static void live_on(const uint8_t *image, size_t size, int at, int depth, uint64_t numbers) {
  static board kept[DEEPEST + 1];
  char *file = file_named(depth == 2 ? "second.maph" : "third.maph");
  kept[depth] = *the;
  if (at == the->n + 1) the->history[at] = the->maybe;
  the->n = at;
  board_start();
  file_restore(file, image, size);
  os_test.boot = next_boot();
  recovered++;
  live(file, depth, numbers);
  *the = kept[depth];
  free(file);
}

typedef struct image {
  uint8_t *bytes;
  size_t size;
  const char *how;
} image;

/* Who renamed another file over this one died before the folder was flushed.  A writer that waited
** for its lock says then that this one was replaced, and it has the name all the same. */
static void note_replaced(image *image) {
  uint64_t mark;
  if (image->size < HEADER_SIZE || below(2)) return;
  mark = word_of(image->bytes, offsetof(header, state));
  if (mark & STATE_SWITCHING) mark |= STATE_SUPERSEDED;
  memcpy(image->bytes + offsetof(header, state), &mark, 8);
}

static int make_images(image *made, int before, int most) {
  int sectors = (int)below(3) == 0, n, i;
  double all = pages_images(before, sectors);
  n = all < most ? (int)all : most;
  for (i = 0; i < n; i++) {
    made[i].bytes = pages_image(before, sectors, i, all > n, &made[i].size);
    if (before) note_replaced(&made[i]);
    made[i].how = before ? "of the file before" : sectors ? "sectors" : "pages";
  }
  return n;
}

/* The images are made of a copy of what is known at the cut: a life that goes on begins a history
** of pages of its own. */
static void cut(int depth, uint64_t numbers) {
  image made[2 * IMAGES_A_CUT];
  int n = 0, names = pages_names(), i;
  for (i = 0; i < names; i++) n += make_images(made + n, i, IMAGES_A_CUT >> (depth - 1));
  cuts++;
  renamed += names > 1;
  for (i = 0; i < n; i++) {
    int at = troubles ? -1 : judge_image(made[i].bytes, made[i].size, made[i].how);
    if (at >= 0 && depth < DEEPEST && below(8) == 0)
      live_on(made[i].bytes, made[i].size, at, depth + 1, below(2) ? numbers : rng() & UINT32_MAX);
    free(made[i].bytes);
  }
}

static void live(const char *file, int depth, uint64_t numbers) {
  int n = 1 + (int)below(depth == 1 ? 3 : 2), i;
  pages_start(file);
  lives++;
  context("power, life %ld", lives);
  for (i = 0; i < n && troubles == 0; i++)
    one_session(file, mix(numbers, (uint64_t)i) & UINT32_MAX);
  if (troubles == 0) cut(depth, numbers);
}

static void fill_numbered(maph *m, maph_slice value) {
  maph_txn *txn;
  must(maph_txn_begin(m, MAPH_SYNC_OFF, &txn) == MAPH_OK
           && maph_txn_at(txn, ++the->history[the->n].version) == MAPH_OK
           && maph_txn_put(txn, maph_str("filler"), value) == MAPH_OK
           && maph_txn_delete(txn, maph_str("filler")) == MAPH_OK
           && maph_txn_commit(txn) == MAPH_OK,
       "a filler");
}

/* A long log, so that each writer's first commit at full writes a checkpoint. */
static void lengthen(maph *m) {
  size_t size = (1 << 20) + (1 << 16);
  void *filler = calloc(1, size);
  must(filler != NULL, "memory");
  if (the->numbered)
    fill_numbered(m, maph_bytes(filler, size));
  else
    must(maph_put(m, maph_str("filler"), maph_bytes(filler, size)) == MAPH_OK
             && maph_delete(m, maph_str("filler")) == MAPH_OK,
         "a filler");
  free(filler);
}

/* A store about to split, with something in it, closed or not. */
static void make_base(int round) {
  writer writer;
  script script;
  int i, leave_clean;
  unlink(path);
  hooks_none();
  os_test.boot = next_boot();
  the->top_version = 0;
  the->numbered = round % 3 == 2;
  must(writer_open(&writer, path, MAPH_RDWR | MAPH_CREATE) == MAPH_OK, "creating a store");
  universe_make(&the->u, store_hash_seed(path), 20, 40, round % 2 ? 30 : 0);
  board_accounts(&writer);
  if (round % 4 == 1) lengthen(writer.m[MAPH_SYNC_OFF]);
  for (i = 0; i < 6; i++) {
    script_random(&script, i % 2);
    must(script_run(&writer, &script) == MAPH_OK, "filling a store");
  }
  board_start();
  leave_clean = (int)below(3);
  if (leave_clean)
    must(writer_close(&writer) == MAPH_OK, "closing a store");
  else
    must(maph_sync(writer.m[MAPH_SYNC_OFF]) == MAPH_OK, "flushing a store");
  free(base);
  base = file_read(path, &base_size);
  if (!leave_clean) must(writer_close(&writer) == MAPH_OK, "closing a store");
}

/* --------------------------------------------------------------------------------- a found case */

static uint64_t place_of_key(maph *m, const char *key) {
  view view;
  item it;
  must(view_latest(m->store, &view) == MAPH_OK
           && view_find(&view, maph_str(key), 0, 0, &it) == MAPH_OK,
       key);
  return it.offset;
}

static void power_off(maph *m, uint8_t **bytes, size_t *size) {
  *bytes = file_read(path, size); /* as it is on disk if every page was written */
  must(maph_close(m) == MAPH_OK, "closing a store");
  os_test.boot = next_boot();
}

/* A transaction that superseded a record is lost, the record's link is not; recovery takes the link
** back, but that page does not reach the disk before the next cut, nor does the index piece that
** lies over the lost transaction.  The record lives. */
static void a_lost_successor_stays_lost(void) {
  uint8_t *first, *second;
  size_t first_size, second_size;
  uint64_t old, lost;
  maph_cursor *cursor = NULL;
  maph_entry entry;
  maph_txn *txn;
  maph *m;
  int seen = 0, i;
  context("power, a lost successor");
  unlink(path);
  os_test.boot = next_boot();
  must(maph_open(path, MAPH_RDWR | MAPH_CREATE, NULL, &m) == MAPH_OK
           && maph_put(m, maph_str("k"), maph_str("1")) == MAPH_OK,
       "a put");
  old = place_of_key(m, "k");
  must(maph_txn_begin(m, MAPH_SYNC_OFF, &txn) == MAPH_OK
           && maph_txn_put(txn, maph_str("other"), maph_str("first")) == MAPH_OK,
       "a put");
  for (i = 0; i < 40; i++)
    must(maph_txn_put(txn, maph_str("other"), maph_str("a record before the lost one")) == MAPH_OK,
         "a put");
  must(maph_txn_put(txn, maph_str("k"), maph_str("2")) == MAPH_OK
           && maph_txn_commit(txn) == MAPH_OK,
       "a commit");
  lost = place_of_key(m, "k");
  power_off(m, &first, &first_size);
  memset(first + word_of(first, offsetof(header, committed)) - END_SIZE, 0, END_SIZE);
  file_restore(path, first, first_size);
  must(maph_open(path, MAPH_RDWR, NULL, &m) == MAPH_OK
           && maph_put(m, maph_str("next"), maph_str("3")) == MAPH_OK,
       "recovery");
  power_off(m, &second, &second_size);
  memcpy(second + old, first + old, 8);
  memcpy(second + lost, first + lost, 40);
  file_restore(path, second, second_size);
  must(maph_open(path, MAPH_RDWR, NULL, &m) == MAPH_OK
           && maph_cursor_open(m, NULL, maph_str("k"), &cursor) == MAPH_OK,
       "recovery");
  while (maph_cursor_next(cursor, &entry) == MAPH_OK) seen++;
  maph_cursor_close(cursor);
  if (word_of(second, old) != lost || lost >= word_of(second, offsetof(header, committed)))
    trouble("the case is not what it was");
  if (seen != 1) trouble("a scan does not see a record whose successor was lost");
  if (maph_check(m, NULL, NULL) != MAPH_OK) trouble("maph_check: %s", maph_errmsg(m));
  must(maph_close(m) == MAPH_OK, "closing a store");
  free(first);
  free(second);
}

int power_main(long count) {
  static board start;
  uint16_t boot_of_base;
  int round = 0;
  path = file_named("first.maph");
  image_path = file_named("image.maph");
  wanted = count;
  a_lost_successor_stays_lost();
  while (images < wanted && troubles == 0) {
    int i;
    make_base(round++);
    boot_of_base = boots;
    start = *the;
    for (i = 0; i < 40 && images < wanted && troubles == 0; i++) {
      *the = start;
      file_restore(path, base, base_size);
      os_test.boot = boot_of_base;
      live(path, 1, rng() & UINT32_MAX);
    }
  }
  printf("%ld images of %ld cuts in %ld lives, %ld recovered images lived on, %ld images were "
         "marked clean, %ld cuts came between a rename and its flush\n",
         images, cuts, lives, recovered, clean, renamed);
  free(path);
  free(image_path);
  free(base);
  return 0;
}
