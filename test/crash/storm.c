/*
** storm.c - four processes read and two write while the store is compacted and optimized COUNT
** times, by turns: every value is checked.
**
** Each writer owns half of the keys and counts each of its keys up; before it puts it says on a
** shared board what it will put, after it what was put. So a reader knows for any key the least and
** the most that it may see: what was acknowledged before it asked, and what was begun when it had
** the answer.  A value names its key and its number and repeats a pattern made of both, of a size
** that changes.  Now and then a writer deletes a key for good measure, and puts many in one
** transaction; readers ask by get, get_many, snapshots, scans, and keep slices to look at again
** later; one more follows the changes.
*/
#include "crash.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STORM_WRITERS = 2, STORM_READERS = 4, STORM_KEYS = 3000, VALUE_MOST = 900, MANY = 24 };

/* The number of a key's last value, doubled; odd: it was deleted as that number. */
static struct weather {
  _Atomic uint32_t begun[STORM_KEYS], done[STORM_KEYS];
  atomic_int over;
  atomic_long looks, puts, feeds, fell_behind;
} * weather;

static char *path;

static maph_slice key_name(int key, char name[24]) {
  return maph_bytes(name, (size_t)snprintf(name, 24, "storm-%06d", key));
}

static size_t make_value(int key, uint32_t number, uint8_t *bytes) {
  uint64_t h = mix((uint64_t)key, number);
  size_t size = 16 + (number % 7 == 0 ? h % VALUE_MOST : h % 64), i;
  memcpy(bytes, &key, 4);
  memcpy(bytes + 4, &number, 4);
  for (i = 8; i < size; i++) bytes[i] = (uint8_t)(h >> (i % 8 * 8));
  return size;
}

/* The number in a value, which must be whole. */
static uint32_t number_in(int key, maph_slice value, const char *how) {
  uint8_t expected[VALUE_MOST + 16];
  uint32_t number;
  if (value.size < 16) {
    trouble("%s: a value of key %d is %zu bytes long", how, key, value.size);
    return 0;
  }
  memcpy(&number, (const uint8_t *)value.data + 4, 4);
  if (make_value(key, number, expected) != value.size
      || memcmp(expected, value.data, value.size) != 0)
    trouble("%s: key %d has bytes that nobody put", how, key);
  return number;
}

/* What was seen of a key, asked for when `least` was acknowledged. */
static void judge(int key, int rc, maph_slice value, uint32_t least, const char *how) {
  uint32_t most = atomic_load(&weather->begun[key]), number;
  if (rc != MAPH_OK && rc != MAPH_NOTFOUND) {
    trouble("%s: key %d: %s", how, key, maph_errmsg(NULL));
    return;
  }
  if (rc == MAPH_NOTFOUND) {
    if (least / 2 == most / 2 && least % 2 == 0 && most == least)
      trouble("%s: key %d is missing, number %u was put", how, key, least / 2);
    return;
  }
  number = number_in(key, value, how);
  if (number * 2 + 1 < least || number * 2 > most)
    trouble("%s: key %d has number %u, it may be from %u to %u", how, key, number, least / 2,
            most / 2);
  if (least % 2 == 1 && most == least)
    trouble("%s: key %d is there with number %u, it was deleted", how, key, number);
}

/* -------------------------------------------------------------------------------------- writers */

static int change_one(maph *m, maph_txn *txn, int key) {
  uint8_t bytes[VALUE_MOST + 16];
  uint32_t now = atomic_load(&weather->done[key]), next;
  int deletes = now % 2 == 0 && now > 0 && below(9) == 0, rc;
  char name[24];
  maph_slice k = key_name(key, name), v;
  next = deletes ? now + 1 : (now / 2 + 1) * 2;
  v = maph_bytes(bytes, make_value(key, next / 2, bytes));
  atomic_store(&weather->begun[key], next);
  if (deletes)
    rc = txn ? maph_txn_delete(txn, k) : maph_delete(m, k);
  else
    rc = txn ? maph_txn_put(txn, k, v) : maph_put(m, k, v);
  if (rc != MAPH_OK)
    trouble("a writer, key %d: %s", key, maph_errmsg(m));
  else if (txn == NULL)
    atomic_store(&weather->done[key], next);
  return rc;
}

static void change_many(maph *m, int me) {
  int keys[MANY], n = 0, i, first = (int)below(STORM_KEYS / STORM_WRITERS - MANY);
  maph_txn *txn;
  if (maph_txn_begin(m, below(20) ? MAPH_SYNC_OFF : MAPH_SYNC_FULL, &txn) != MAPH_OK) {
    trouble("a writer cannot begin: %s", maph_errmsg(m));
    return;
  }
  for (i = 0; i < MANY; i++) {
    keys[n] = (first + i) * STORM_WRITERS + me;
    if (change_one(m, txn, keys[n++]) != MAPH_OK) break;
  }
  if (maph_txn_commit(txn) != MAPH_OK) {
    trouble("a writer cannot commit: %s", maph_errmsg(m));
    return;
  }
  for (i = 0; i < n; i++)
    atomic_store(&weather->done[keys[i]], atomic_load(&weather->begun[keys[i]]));
}

static maph *opened(int flags, int verify) {
  maph_options options = MAPH_OPTIONS_INIT;
  maph *m;
  options.durability = MAPH_SYNC_OFF;
  options.busy_timeout_ms = 600000;
  options.verify = verify;
  must(maph_open(path, flags, &options, &m) == MAPH_OK, "opening a store");
  return m;
}

static void write_in_storm(void *arg) {
  int me = *(const int *)arg;
  maph *m = opened(MAPH_RDWR, 0);
  long n = 0;
  while (!atomic_load(&weather->over) && troubles == 0) {
    if (below(30) == 0)
      change_many(m, me);
    else
      change_one(m, NULL, (int)below(STORM_KEYS / STORM_WRITERS) * STORM_WRITERS + me);
    if (++n % 64 == 0) {
      maph_refresh(m);
      usleep(500);
    }
    if (n % 3000 == 0) {
      maph_close(m);
      m = opened(MAPH_RDWR, 0);
    }
  }
  atomic_fetch_add(&weather->puts, n);
  maph_close(m);
}

/* -------------------------------------------------------------------------------------- readers */

static void look_at_many(maph *m, maph_snapshot *snapshot, const char *how) {
  maph_slice keys[MANY], values[MANY];
  uint32_t least[MANY];
  int key[MANY], i, rc;
  char names[MANY][24];
  for (i = 0; i < MANY; i++) {
    key[i] = (int)below(STORM_KEYS);
    keys[i] = key_name(key[i], names[i]);
    least[i] = snapshot ? 0 : atomic_load(&weather->done[key[i]]);
  }
  rc = snapshot ? maph_snapshot_get_many(snapshot, MANY, keys, values)
                : maph_get_many(m, MANY, keys, values);
  if (rc != MAPH_OK) {
    trouble("%s: %s", how, maph_errmsg(m));
    return;
  }
  for (i = 0; i < MANY; i++)
    judge(key[i], values[i].data ? MAPH_OK : MAPH_NOTFOUND, values[i], least[i], how);
}

/* A snapshot does not change, however old the file is that it holds. */
static void look_at_snapshot(maph *m) {
  maph_snapshot *snapshot;
  maph_slice v[2];
  char name[24];
  int key = (int)below(STORM_KEYS), rc[2];
  if (maph_snapshot_open(m, &snapshot) != MAPH_OK) {
    trouble("a snapshot: %s", maph_errmsg(m));
    return;
  }
  rc[0] = maph_snapshot_get(snapshot, key_name(key, name), &v[0]);
  look_at_many(m, snapshot, "a snapshot's get_many");
  rc[1] = maph_snapshot_get(snapshot, key_name(key, name), &v[1]);
  if (rc[0] != rc[1]
      || (rc[0] == MAPH_OK
          && (v[0].size != v[1].size || memcmp(v[0].data, v[1].data, v[0].size) != 0)))
    trouble("a snapshot changed");
  maph_snapshot_close(snapshot);
}

static void look_at_all(maph *m) {
  static uint32_t least[STORM_KEYS];
  static int seen[STORM_KEYS];
  maph_cursor *cursor;
  maph_entry entry;
  int i, rc;
  memset(seen, 0, sizeof seen);
  for (i = 0; i < STORM_KEYS; i++) least[i] = atomic_load(&weather->done[i]);
  if (maph_cursor_open(m, NULL, maph_str("storm-"), &cursor) != MAPH_OK) {
    trouble("a scan: %s", maph_errmsg(m));
    return;
  }
  while ((rc = maph_cursor_next(cursor, &entry)) == MAPH_OK) {
    char text[8] = "";
    memcpy(text, (const char *)entry.key.data + 6, 6);
    i = atoi(text);
    if (seen[i]++) trouble("a scan shows key %d twice", i);
    judge(i, MAPH_OK, entry.value, least[i], "a scan");
  }
  if (rc != MAPH_NOTFOUND) trouble("a scan: %s", maph_errmsg(m));
  maph_cursor_close(cursor);
  for (i = 0; i < STORM_KEYS; i++)
    if (!seen[i]) judge(i, MAPH_NOTFOUND, maph_bytes(NULL, 0), least[i], "a scan");
}

static void read_in_storm(void *arg) {
  int me = *(const int *)arg;
  maph *m = opened(MAPH_RDONLY, me == 1);
  maph_slice held = { NULL, 0 };
  int held_key = 0;
  long n;
  for (n = 0; !atomic_load(&weather->over) && troubles == 0; n++) {
    int key = (int)below(STORM_KEYS), rc;
    uint32_t least = atomic_load(&weather->done[key]);
    maph_slice v;
    char name[24];
    rc = maph_get(m, key_name(key, name), &v);
    judge(key, rc, v, least, "a get");
    if (held.data) number_in(held_key, held, "a slice that is held");
    if (rc == MAPH_OK && n % 50 == 0) {
      held = v;
      held_key = key;
    }
    if (n % 8 == 0) look_at_many(m, NULL, "get_many");
    if (n % 100 == 0) look_at_snapshot(m);
    if (n % 2000 == 0) look_at_all(m);
    if (n % 500 == 499) {
      held.data = NULL;
      if (maph_refresh(m) != MAPH_OK) trouble("maph_refresh: %s", maph_errmsg(m));
    }
    if (n % 16 == 0) usleep(200);
  }
  atomic_fetch_add(&weather->looks, n);
  maph_close(m);
}

/* A feed tells of each key's numbers in order and leaves none out, or says that it fell behind. */
static void follow_in_storm(void *arg) {
  static uint32_t told[STORM_KEYS];
  maph *m = opened(MAPH_RDONLY, 0);
  maph_changes *feed = NULL;
  maph_stats st;
  maph_change change;
  long n = 0;
  (void)arg;
  while (!atomic_load(&weather->over) && troubles == 0) {
    int rc;
    if (feed == NULL) {
      memset(told, 0, sizeof told);
      if (maph_refresh(m) != MAPH_OK || maph_stat(m, &st) != MAPH_OK) {
        trouble("a follower: %s", maph_errmsg(m));
        break;
      }
      rc = maph_changes_open(m, st.version, &feed);
      if (rc == MAPH_COMPACTED) continue;
      if (rc != MAPH_OK) {
        trouble("a feed: %s", maph_errmsg(m));
        break;
      }
    }
    rc = maph_changes_next(feed, 20, &change);
    if (rc == MAPH_OK) {
      char text[8] = "";
      uint32_t number;
      int key;
      memcpy(text, (const char *)change.entry.key.data + 6, 6);
      key = atoi(text);
      number = change.deleted ? told[key] | 1 : number_in(key, change.entry.value, "a feed") * 2;
      if (told[key] && !change.deleted && number != (told[key] / 2 + 1) * 2)
        trouble("a feed goes from number %u to %u of key %d", told[key] / 2, number / 2, key);
      if (told[key] && change.deleted && told[key] % 2) trouble("a feed deletes key %d twice", key);
      if (number > atomic_load(&weather->begun[key]))
        trouble("a feed tells of number %u of key %d before it was put", number / 2, key);
      if (told[key] || !change.deleted) told[key] = number;
      n++;
    } else if (rc != MAPH_NOTFOUND) {
      if (rc == MAPH_COMPACTED)
        atomic_fetch_add(&weather->fell_behind, 1);
      else
        trouble("a feed: %s", maph_errmsg(m));
      maph_changes_close(feed);
      feed = NULL;
    }
  }
  atomic_fetch_add(&weather->feeds, n);
  maph_changes_close(feed);
  maph_close(m);
}

/* ------------------------------------------------------------------------------------ the storm */

static void rewrite_once(maph *m, long i, uint64_t *pause_most, uint64_t *caught_up) {
  maph_rewrite rewrite;
  int rc = i % 2 ? maph_optimize(m, NULL, NULL) : maph_compact(m, NULL, NULL);
  if (rc != MAPH_OK) {
    trouble("rewrite %ld: %s", i, maph_errmsg(m));
    return;
  }
  if (maph_rewritten(m, &rewrite) != MAPH_OK)
    trouble("rewrite %ld: it does not tell: %s", i, maph_errmsg(m));
  if (i % 2 && rewrite.frozen_keys != rewrite.records)
    trouble("rewrite %ld: %llu of %llu keys are frozen", i, (unsigned long long)rewrite.frozen_keys,
            (unsigned long long)rewrite.records);
  if (rewrite.pause_ns > *pause_most) *pause_most = rewrite.pause_ns;
  *caught_up += rewrite.caught_up;
  if (i % 20 == 19 && maph_check(m, NULL, NULL) != MAPH_OK)
    trouble("rewrite %ld: maph_check: %s", i, maph_errmsg(m));
  if (maph_refresh(m) != MAPH_OK) trouble("rewrite %ld: maph_refresh: %s", i, maph_errmsg(m));
}

static void at_the_end(maph *m) {
  int key;
  for (key = 0; key < STORM_KEYS; key++) {
    char name[24];
    maph_slice v;
    uint32_t least = atomic_load(&weather->done[key]);
    int rc = maph_get(m, key_name(key, name), &v);
    if (atomic_load(&weather->begun[key]) != least)
      trouble("a writer ended with key %d under way", key);
    if (least) judge(key, rc, v, least, "at the end");
  }
  if (maph_check(m, NULL, NULL) != MAPH_OK) trouble("maph_check: %s", maph_errmsg(m));
}

int storm_main(long count) {
  pid_t children[STORM_WRITERS + STORM_READERS + 1];
  int numbers[STORM_WRITERS + STORM_READERS], n = 0, i;
  uint64_t pause_most = 0, caught_up = 0;
  double began = seconds();
  long done;
  maph *m;
  path = file_named("storm.maph");
  weather = shared(sizeof *weather);
  context("storm");
  m = opened(MAPH_RDWR | MAPH_CREATE, 0);
  for (i = 0; i < STORM_KEYS; i++) must(change_one(m, NULL, i) == MAPH_OK, "filling a store");
  for (i = 0; i < STORM_WRITERS; i++) {
    numbers[n] = i;
    children[n] = spawn(write_in_storm, &numbers[n]);
    n++;
  }
  for (i = 0; i < STORM_READERS; i++) {
    numbers[n] = i;
    children[n] = spawn(read_in_storm, &numbers[n]);
    n++;
  }
  children[n++] = spawn(follow_in_storm, NULL);
  for (done = 0; done < count && troubles == 0; done++)
    rewrite_once(m, done, &pause_most, &caught_up);
  atomic_store(&weather->over, 1);
  for (i = 0; i < n; i++) reap(children[i]);
  if (troubles == 0) at_the_end(m);
  maph_close(m);
  printf("%ld rewrites in %.1f s, longest pause %.1f ms, %llu transactions caught up; %ld writes, "
         "%ld looks, %ld changes told, a feed fell behind %ld times\n",
         done, seconds() - began, (double)pause_most / 1e6, (unsigned long long)caught_up,
         atomic_load(&weather->puts), atomic_load(&weather->looks), atomic_load(&weather->feeds),
         atomic_load(&weather->fell_behind));
  free(path);
  return 0;
}
