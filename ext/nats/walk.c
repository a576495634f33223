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
  connection *connection;
  consumer *consumer;
  const char *bucket;
  const stream_info *info;
  uint64_t at, delivered, last;
  unsigned long long heard;
  bool done;
  walk_fn each;
  void *arg;
} walk;

static stream_rc walk_message(walk *walk, const delivery *delivery) {
  if (delivery->delivered != ++walk->delivered || delivery->sequence <= walk->at) {
    message_free(delivery->message);
    return stream_fail(STREAM_LOST, "messages were lost on the way");
  }
  walk->at = delivery->sequence;
  walk->done = walk->at > walk->last || !walk->each(walk->arg, delivery) || walk->at == walk->last;
  message_free(delivery->message);
  return STREAM_OK;
}

static stream_rc walk_heartbeat(walk *walk, const delivery *delivery) {
  uint64_t from, found;
  stream_rc rc = delivery->reply[0] ? consumer_answer(walk->consumer, delivery->reply) : STREAM_OK;
  if (rc != STREAM_OK) return rc;
  if (delivery->delivered != walk->delivered)
    return stream_fail(STREAM_LOST, "messages were lost on the way");
  if (delivery->sequence > walk->at) walk->at = delivery->sequence;
  from = walk->at + 1;
  if (walk->at < walk->last)
    rc = stored_next_of(walk->connection, walk->bucket, false, 1, &from, &found);
  walk->done = rc == STREAM_OK && (walk->at >= walk->last || found == 0 || found > walk->last);
  return rc;
}

static stream_rc walk_step(walk *walk) {
  delivery delivery;
  event event = consumer_next(walk->consumer, WALK_WAIT_MS, &delivery);
  child_stamp();
  if (event != EVENT_NOTHING) walk->heard = ticks_ms();
  switch (event) {
    case EVENT_MESSAGE: return walk_message(walk, &delivery);
    case EVENT_FLOW: return consumer_answer(walk->consumer, delivery.reply);
    case EVENT_HEARTBEAT: return walk_heartbeat(walk, &delivery);
    case EVENT_FOREIGN: return stream_foreign(walk->bucket, walk->info, delivery.reply);
    case EVENT_LOST:
    case EVENT_WRONG: return STREAM_LOST;
    case EVENT_NOTHING: break;
  }
  if (connection_lost(walk->connection)) return stream_fail(STREAM_LOST, "the connection is lost");
  if (child_told()) return stream_fail(STREAM_LOST, "told to end");
  if (ticks_ms() - walk->heard > WALK_SILENCE_MS)
    return stream_fail(STREAM_LOST, "the server fell silent");
  return STREAM_OK;
}

stream_rc bucket_walk(connection *connection, const char *bucket, const char *filter,
                      stream_info *info, walk_fn each, void *arg) {
  walk walk = {
    .connection = connection, .bucket = bucket, .info = info, .each = each, .arg = arg
  };
  stream_rc rc;
  child_stamp_long();
  rc = stream_look(connection, bucket, info);
  if (rc != STREAM_OK || info->last == 0) return rc;
  walk.last = info->last;
  rc = consumer_open(connection, bucket, info->origin, filter, 1, "maph-replica compares",
                     &walk.consumer);
  walk.heard = ticks_ms();
  while (rc == STREAM_OK && !walk.done) rc = walk_step(&walk);
  consumer_close(walk.consumer);
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

static place *table_at(const table *table, uint64_t hash) {
  size_t at = hash & (table->room - 1);
  while (table->places[at].sequence != 0 && table->places[at].hash != hash)
    at = (at + 1) & (table->room - 1);
  return &table->places[at];
}

static bool table_grow(table *full) {
  table bigger = { .count = full->count, .room = full->room ? 2 * full->room : 4096 };
  bigger.places = calloc(bigger.room, sizeof(place));
  if (bigger.places == NULL) return false;
  for (size_t i = 0; i < full->room; i++) {
    if (full->places[i].sequence) *table_at(&bigger, full->places[i].hash) = full->places[i];
  }
  free(full->places);
  *full = bigger;
  return true;
}

static place *table_take(table *table, uint64_t hash) {
  place *at;
  if (4 * table->count >= 3 * table->room && !table_grow(table)) return NULL;
  at = table_at(table, hash);
  if (at->sequence == 0) table->count++;
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

static void suspect(comparing *comparing, difference what, maph_slice key, uint64_t version,
                    uint64_t sequence) {
  candidate *one = malloc(sizeof *one + key.size);
  if (one == NULL) {
    comparing->no_memory = true;
    return;
  }
  one->next = comparing->first;
  one->what = what;
  one->version = version;
  one->sequence = sequence;
  one->size = key.size;
  memcpy(one->key, key.data, key.size);
  comparing->first = one;
}

static bool compare_message(void *arg, const delivery *delivery) {
  static change change;
  comparing *comparing = arg;
  maph_entry entry;
  place *place;
  int rc;
  if (comparing->rules.max_age_ms == 0 && comparing->result->info.max_age_ns)
    comparing->rules.max_age_ms = comparing->result->info.max_age_ns / 1000000;
  comparing->rules.keys = comparing->result->info.escaped ? KEYS_ESCAPED : KEYS_PLAIN;
  if (!change_read(&comparing->rules, delivery, &change)) return true;
  place = table_take(&comparing->table, XXH3_64bits(change.key.data, change.key.size));
  if (place == NULL) {
    comparing->no_memory = true;
    return false;
  }
  if (delivery->sequence > comparing->result->version) {
    place->sequence |= LATER;
    return true;
  }
  place->sequence = (place->sequence & LATER) | delivery->sequence | (change.deleted ? GONE : 0);
  if (change.deleted) return true;
  rc = maph_snapshot_get_entry(comparing->snapshot, change.key, &entry);
  if (rc != MAPH_OK || entry.version < delivery->sequence)
    suspect(comparing, DIFFERENCE_MISSING, change.key, rc == MAPH_OK ? entry.version : 0,
            delivery->sequence);
  else if (entry.version == delivery->sequence && !change_is(&change, &entry))
    suspect(comparing, DIFFERENCE_OTHER, change.key, entry.version, delivery->sequence);
  return !comparing->no_memory;
}

/* Does the table know the entry's version? */
static bool is_known(const comparing *comparing, const maph_entry *entry) {
  const place *place;
  if (comparing->table.room == 0) return false;
  place = table_at(&comparing->table, XXH3_64bits(entry->key.data, entry->key.size));
  if (place->sequence == 0) return false;
  return (place->sequence & LATER) || (place->sequence & SEQUENCE) == entry->version;
}

static int compare_store(comparing *comparing) {
  maph_cursor *cursor;
  maph_entry entry;
  int rc = maph_cursor_open(comparing->store, comparing->snapshot, maph_bytes(NULL, 0), &cursor);
  if (rc != MAPH_OK) return rc;
  while ((rc = maph_cursor_next(cursor, &entry)) == MAPH_OK && !comparing->no_memory) {
    if (comparing->result->keys++ % 1024 == 0) child_stamp();
    /* The bucket lets go of what expires by its own clock. */
    if (entry.expires && entry.expires <= now_ms() + EXPIRY_MS) continue;
    if (!is_known(comparing, &entry))
      suspect(comparing, DIFFERENCE_GHOST, entry.key, entry.version, 0);
  }
  maph_cursor_close(cursor);
  return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
}

/* Did a later message settle it?  A bucket with a history has those before it too. */
static bool is_past(const comparing *comparing, const candidate *one) {
  const place *place = table_at(&comparing->table, XXH3_64bits(one->key, one->size));
  return (place->sequence & GONE) || (place->sequence & SEQUENCE) != one->sequence;
}

static bool is_gone(const stored *message) {
  return stored_header(message, "KV-Operation").size != 0
         || stored_header(message, "Nats-Marker-Reason").size != 0;
}

/* What the leader says of the key now: a message above the version compared says nothing. */
static stream_rc ask_again(comparing *comparing, connection *connection, const candidate *one,
                           bool *differs, difference *what) {
  maph_slice key = maph_bytes(one->key, one->size);
  char form[KEYS_LINE], subject[KEYS_LINE + 300];
  size_t size;
  stored last;
  stream_rc rc;
  *what = one->what;
  *differs = true;
  if (keys_encode(KEYS_PLAIN, maph_str(comparing->result->info.origin), key, form, &size) != NULL
      && keys_encode(comparing->rules.keys, maph_str(comparing->result->info.origin), key, form,
                     &size)
             != NULL)
    return STREAM_OK;
  if (comparing->rules.keys == KEYS_ESCAPED)
    keys_encode(KEYS_ESCAPED, maph_str(comparing->result->info.origin), key, form, &size);
  snprintf(subject, sizeof subject, "$KV.%s.%.*s", comparing->result->info.origin, (int)size, form);
  child_stamp_long();
  rc = stored_get_last(connection, comparing->bucket, subject, &last);
  if (rc == STREAM_NONE) {
    *differs = one->version != 0;
    *what = DIFFERENCE_GHOST;
    return STREAM_OK;
  }
  if (rc != STREAM_OK) return rc;
  if (last.sequence > comparing->result->version) *differs = false;
  if (one->what == DIFFERENCE_MISSING && one->version == 0 && is_gone(&last)) *differs = false;
  if (one->what == DIFFERENCE_GHOST && !is_gone(&last)) {
    if (last.sequence == one->version) *differs = false;
    *what = DIFFERENCE_OTHER;
  }
  stored_free(&last);
  return STREAM_OK;
}

static stream_rc tell_all(comparing *comparing, connection *connection, difference_fn tell,
                          void *arg) {
  for (candidate *one = comparing->first; one; one = one->next) {
    difference what;
    bool differs;
    stream_rc rc;
    if (one->what == DIFFERENCE_MISSING && is_past(comparing, one)) continue;
    rc = ask_again(comparing, connection, one, &differs, &what);
    if (rc != STREAM_OK) return rc;
    if (!differs) continue;
    comparing->result->found[what]++;
    if (!tell(arg, what, maph_bytes(one->key, one->size), one->version)) break;
  }
  return STREAM_OK;
}

static void compare_end(comparing *comparing) {
  while (comparing->first) {
    candidate *next = comparing->first->next;
    free(comparing->first);
    comparing->first = next;
  }
  free(comparing->table.places);
  maph_snapshot_close(comparing->snapshot);
}

stream_rc bucket_compare(connection *connection, const char *bucket, const char *filter,
                         maph *store, comparison *result, difference_fn tell, void *arg) {
  comparing comparing = { .bucket = bucket, .store = store, .result = result };
  stream_rc rc;
  memset(result, 0, sizeof *result);
  if (maph_snapshot_open(store, &comparing.snapshot) != MAPH_OK)
    return stream_fail(STREAM_WRONG, "%s", maph_errmsg(NULL));
  result->version = maph_snapshot_version(comparing.snapshot);
  rc = bucket_walk(connection, bucket, filter, &result->info, compare_message, &comparing);
  if (rc == STREAM_OK && !comparing.no_memory && compare_store(&comparing) != MAPH_OK)
    rc = stream_fail(STREAM_WRONG, "%s", maph_errmsg(NULL));
  if (comparing.no_memory) rc = stream_fail(STREAM_MEMORY, "out of memory");
  if (rc == STREAM_OK) rc = tell_all(&comparing, connection, tell, arg);
  compare_end(&comparing);
  return rc;
}
