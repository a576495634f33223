/*
** walk.c - all that is in a bucket, and how it differs from a store (walk.h).
**
** For each key of the bucket a table has 16 bytes: a hash, and the last sequence at or below the
** store's version, or that there is a later one.  Then the store's keys are looked up in it.  Two
** keys with one hash of 64 bits may hide a difference; they cannot make one, since each is asked
** again.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "nats/child.h"
#include "nats/replica.h"
#include "nats/walk.h"

enum { WALK_WAIT_MS = 200, WALK_SILENCE_MS = 10000, EXPIRY_MS = 10000 };

/* ----------------------------------------------------------------------------------------- walk */
typedef struct walk {
  connection *c;
  consumer *k;
  const char *bucket;
  uint64_t at, delivered, last;
  unsigned long long heard;
  bool done;
  walk_fn each;
  void *arg;
} walk;

static stream_rc walk_message(walk *w, const delivery *d) {
  if (d->delivered != ++w->delivered || d->sequence <= w->at) {
    message_free(d->message);
    return stream_fail(STREAM_LOST, "messages were lost on the way");
  }
  w->at = d->sequence;
  w->done = w->at > w->last || !w->each(w->arg, d) || w->at == w->last;
  message_free(d->message);
  return STREAM_OK;
}

static stream_rc walk_heartbeat(walk *w, const delivery *d) {
  uint64_t from, found;
  stream_rc rc = d->reply[0] ? consumer_answer(w->k, d->reply) : STREAM_OK;
  if (rc != STREAM_OK) return rc;
  if (d->delivered != w->delivered)
    return stream_fail(STREAM_LOST, "messages were lost on the way");
  if (d->sequence > w->at) w->at = d->sequence;
  from = w->at + 1;
  if (w->at < w->last) rc = stream_next_of(w->c, w->bucket, false, 1, &from, &found);
  w->done = rc == STREAM_OK && (w->at >= w->last || found == 0 || found > w->last);
  return rc;
}

static stream_rc walk_step(walk *w) {
  delivery d;
  event event = consumer_next(w->k, WALK_WAIT_MS, &d);
  child_stamp();
  if (event != EVENT_NOTHING) w->heard = ticks_ms();
  switch (event) {
    case EVENT_MESSAGE: return walk_message(w, &d);
    case EVENT_FLOW: return consumer_answer(w->k, d.reply);
    case EVENT_HEARTBEAT: return walk_heartbeat(w, &d);
    case EVENT_LOST:
    case EVENT_WRONG: return STREAM_LOST;
    case EVENT_NOTHING: break;
  }
  if (connection_lost(w->c)) return stream_fail(STREAM_LOST, "the connection is lost");
  if (child_told()) return stream_fail(STREAM_LOST, "told to end");
  if (ticks_ms() - w->heard > WALK_SILENCE_MS)
    return stream_fail(STREAM_LOST, "the server fell silent");
  return STREAM_OK;
}

stream_rc bucket_walk(connection *c, const char *bucket, const char *filter, stream_info *info,
                      walk_fn each, void *arg) {
  walk w = { .c = c, .bucket = bucket, .each = each, .arg = arg };
  stream_rc rc;
  child_stamp_long();
  rc = stream_look(c, bucket, info);
  if (rc != STREAM_OK || info->last == 0) return rc;
  w.last = info->last;
  rc = consumer_open(c, bucket, info->origin, filter, 1, "maph-replica compares", &w.k);
  w.heard = ticks_ms();
  while (rc == STREAM_OK && !w.done) rc = walk_step(&w);
  consumer_close(w.k);
  return rc;
}

/* ---------------------------------------------------------------------------------------- table */
typedef struct place {
  uint64_t hash, sequence; /* sequence 0: free */
} place;
#define LATER (UINT64_C(1) << 63) /* there is a message above the store's version too */
#define GONE (UINT64_C(1) << 62)  /* and the one below it says that the key is not there */
#define SEQUENCE (GONE - 1)

typedef struct table {
  place *places;
  size_t count, room; /* a power of two */
} table;

static place *table_at(const table *t, uint64_t hash) {
  size_t at = hash & (t->room - 1);
  while (t->places[at].sequence != 0 && t->places[at].hash != hash) at = (at + 1) & (t->room - 1);
  return &t->places[at];
}

static bool table_grow(table *t) {
  table bigger = { .count = t->count, .room = t->room ? 2 * t->room : 4096 };
  bigger.places = calloc(bigger.room, sizeof(place));
  if (bigger.places == NULL) return false;
  for (size_t i = 0; i < t->room; i++) {
    if (t->places[i].sequence) *table_at(&bigger, t->places[i].hash) = t->places[i];
  }
  free(t->places);
  *t = bigger;
  return true;
}

static place *table_take(table *t, uint64_t hash) {
  place *at;
  if (4 * t->count >= 3 * t->room && !table_grow(t)) return NULL;
  at = table_at(t, hash);
  if (at->sequence == 0) t->count++;
  at->hash = hash;
  return at;
}

/* -------------------------------------------------------------------------------------- compare */
/* A key that may differ: kept until all was read. */
typedef struct candidate {
  struct candidate *next;
  difference what;
  uint64_t version;  /* in the store; 0: it is not there */
  uint64_t sequence; /* of the message that the store lacks */
  size_t size;
  char key[];
} candidate;

typedef struct comparing {
  const char *bucket;
  maph *store;
  maph_snapshot *snapshot;
  comparison *result;
  bucket_rules rules;
  table table;
  candidate *first;
  bool no_memory;
} comparing;

const char *difference_name(difference what) {
  static const char *const names[] = { "missing", "ghost", "other" };
  return names[what];
}

static void suspect(comparing *w, difference what, maph_slice key, uint64_t version,
                    uint64_t sequence) {
  candidate *one = malloc(sizeof *one + key.size);
  if (one == NULL) {
    w->no_memory = true;
    return;
  }
  one->next = w->first;
  one->what = what;
  one->version = version;
  one->sequence = sequence;
  one->size = key.size;
  memcpy(one->key, key.data, key.size);
  w->first = one;
}

static bool compare_message(void *arg, const delivery *d) {
  static change change;
  comparing *w = arg;
  maph_entry entry;
  place *place;
  int rc;
  if (w->rules.max_age_ms == 0 && w->result->info.max_age_ns)
    w->rules.max_age_ms = w->result->info.max_age_ns / 1000000;
  w->rules.keys = w->result->info.escaped ? KEYS_ESCAPED : KEYS_PLAIN;
  if (!change_read(&w->rules, d, &change)) return true;
  place = table_take(&w->table, XXH3_64bits(change.key.data, change.key.size));
  if (place == NULL) {
    w->no_memory = true;
    return false;
  }
  if (d->sequence > w->result->version) {
    place->sequence |= LATER;
    return true;
  }
  place->sequence = (place->sequence & LATER) | d->sequence | (change.deleted ? GONE : 0);
  if (change.deleted) return true;
  rc = maph_snapshot_get_entry(w->snapshot, change.key, &entry);
  if (rc != MAPH_OK || entry.version < d->sequence)
    suspect(w, DIFFERENCE_MISSING, change.key, rc == MAPH_OK ? entry.version : 0, d->sequence);
  else if (entry.version == d->sequence && !change_is(&change, &entry))
    suspect(w, DIFFERENCE_OTHER, change.key, entry.version, d->sequence);
  return !w->no_memory;
}

/* Does the table know the entry's version? */
static bool is_known(const comparing *w, const maph_entry *entry) {
  const place *place;
  if (w->table.room == 0) return false;
  place = table_at(&w->table, XXH3_64bits(entry->key.data, entry->key.size));
  if (place->sequence == 0) return false;
  return (place->sequence & LATER) || (place->sequence & SEQUENCE) == entry->version;
}

static int compare_store(comparing *w) {
  maph_cursor *cursor;
  maph_entry entry;
  int rc = maph_cursor_open(w->store, w->snapshot, maph_bytes(NULL, 0), &cursor);
  if (rc != MAPH_OK) return rc;
  while ((rc = maph_cursor_next(cursor, &entry)) == MAPH_OK && !w->no_memory) {
    if (w->result->keys++ % 1024 == 0) child_stamp();
    /* The bucket lets go of what expires by its own clock. */
    if (entry.expires && entry.expires <= now_ms() + EXPIRY_MS) continue;
    if (!is_known(w, &entry)) suspect(w, DIFFERENCE_GHOST, entry.key, entry.version, 0);
  }
  maph_cursor_close(cursor);
  return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
}

/* Did a later message settle it?  A bucket with a history has those before it too. */
static bool is_past(const comparing *w, const candidate *one) {
  const place *place = table_at(&w->table, XXH3_64bits(one->key, one->size));
  return (place->sequence & GONE) || (place->sequence & SEQUENCE) != one->sequence;
}

static bool is_gone(const stored *message) {
  return stored_header(message, "KV-Operation").size != 0
         || stored_header(message, "Nats-Marker-Reason").size != 0;
}

/* What the leader says of the key now: a message above the version compared says nothing. */
static stream_rc ask_again(comparing *w, connection *c, const candidate *one, bool *differs,
                           difference *what) {
  maph_slice key = maph_bytes(one->key, one->size);
  char form[KEYS_LINE], subject[KEYS_LINE + 300];
  size_t size;
  stored last;
  stream_rc rc;
  *what = one->what;
  *differs = true;
  if (keys_encode(KEYS_PLAIN, maph_str(w->bucket), key, form, &size) != NULL
      && keys_encode(w->rules.keys, maph_str(w->bucket), key, form, &size) != NULL)
    return STREAM_OK;
  if (w->rules.keys == KEYS_ESCAPED)
    keys_encode(KEYS_ESCAPED, maph_str(w->bucket), key, form, &size);
  snprintf(subject, sizeof subject, "$KV.%s.%.*s", w->result->info.origin, (int)size, form);
  child_stamp_long();
  rc = stream_get_last(c, w->bucket, subject, &last);
  if (rc == STREAM_NONE) {
    *differs = one->version != 0;
    *what = DIFFERENCE_GHOST;
    return STREAM_OK;
  }
  if (rc != STREAM_OK) return rc;
  if (last.sequence > w->result->version) *differs = false;
  if (one->what == DIFFERENCE_MISSING && one->version == 0 && is_gone(&last)) *differs = false;
  if (one->what == DIFFERENCE_GHOST && !is_gone(&last)) {
    if (last.sequence == one->version) *differs = false;
    *what = DIFFERENCE_OTHER;
  }
  stored_free(&last);
  return STREAM_OK;
}

static stream_rc tell_all(comparing *w, connection *c, difference_fn tell, void *arg) {
  for (candidate *one = w->first; one; one = one->next) {
    difference what;
    bool differs;
    stream_rc rc;
    if (one->what == DIFFERENCE_MISSING && is_past(w, one)) continue;
    rc = ask_again(w, c, one, &differs, &what);
    if (rc != STREAM_OK) return rc;
    if (!differs) continue;
    w->result->found[what]++;
    if (!tell(arg, what, maph_bytes(one->key, one->size), one->version)) break;
  }
  return STREAM_OK;
}

static void compare_end(comparing *w) {
  while (w->first) {
    candidate *next = w->first->next;
    free(w->first);
    w->first = next;
  }
  free(w->table.places);
  maph_snapshot_close(w->snapshot);
}

stream_rc bucket_compare(connection *c, const char *bucket, const char *filter, maph *store,
                         comparison *result, difference_fn tell, void *arg) {
  comparing w = { .bucket = bucket, .store = store, .result = result };
  stream_rc rc;
  memset(result, 0, sizeof *result);
  if (maph_snapshot_open(store, &w.snapshot) != MAPH_OK)
    return stream_fail(STREAM_WRONG, "%s", maph_errmsg(NULL));
  result->version = maph_snapshot_version(w.snapshot);
  rc = bucket_walk(c, bucket, filter, &result->info, compare_message, &w);
  if (rc == STREAM_OK && !w.no_memory && compare_store(&w) != MAPH_OK)
    rc = stream_fail(STREAM_WRONG, "%s", maph_errmsg(NULL));
  if (w.no_memory) rc = stream_fail(STREAM_MEMORY, "out of memory");
  if (rc == STREAM_OK) rc = tell_all(&w, c, tell, arg);
  compare_end(&w);
  return rc;
}
