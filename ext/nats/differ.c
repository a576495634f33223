/*
** differ.c - how a bucket differs from a store (differ.h).
*/
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "nats/apply.h"
#include "nats/child.h"
#include "nats/differ.h"
#include "nats/replica.h"
#include "nats/walk.h"

/* What the last message of a key says: the key is not there, is as in the snapshot, is otherwise,
** or is not in the snapshot, and then that it is in the list once. */
typedef enum said { SAID_NOTHING, SAID_GONE, SAID_SAME, SAID_OTHER, SAID_GHOST, SAID_LISTED } said;
typedef struct place {
  uint64_t hash;
  said said;
} place;

typedef struct ghost {
  struct ghost *next;
  uint64_t hash;
  size_t size;
  char key[];
} ghost;

struct differences {
  outgoing_rules rules;
  bucket_rules reads;
  maph_snapshot *snapshot;
  place *places;
  size_t count, room; /* a power of two */
  ghost *ghosts;
  bool no_memory;
};

/* ---------------------------------------------------------------------------------------- table */
static place *place_of(const differences *differences, uint64_t hash) {
  size_t at = hash & (differences->room - 1);
  while (differences->places[at].said != SAID_NOTHING && differences->places[at].hash != hash)
    at = (at + 1) & (differences->room - 1);
  return &differences->places[at];
}

static bool grow(differences *full) {
  differences bigger = { .room = full->room ? 2 * full->room : 4096 };
  bigger.places = calloc(bigger.room, sizeof(place));
  if (bigger.places == NULL) return false;
  for (size_t i = 0; i < full->room; i++) {
    if (full->places[i].said) *place_of(&bigger, full->places[i].hash) = full->places[i];
  }
  free(full->places);
  full->places = bigger.places;
  full->room = bigger.room;
  return true;
}

static bool say(differences *differences, uint64_t hash, said said) {
  place *place;
  if (4 * differences->count >= 3 * differences->room && !grow(differences)) return false;
  place = place_of(differences, hash);
  differences->count += place->said == SAID_NOTHING;
  *place = (struct place){ hash, said };
  return true;
}

static said said_of(const differences *differences, uint64_t hash) {
  return differences->room ? place_of(differences, hash)->said : SAID_NOTHING;
}

static uint64_t hash_of(maph_slice key) { return XXH3_64bits(key.data, key.size); }

/* --------------------------------------------------------------------------------------- bucket */
static bool slices_equal(maph_slice a, maph_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static bool is_as(const change *change, const maph_entry *entry) {
  char room[OUTGOING_MEDIA_TYPE];
  return slices_equal(change->value, entry->value) && change->how.type == entry->type
         && change->how.expires == entry->expires
         && slices_equal(change->how.media_type, outgoing_media_type(entry, room));
}

static bool keep_ghost(differences *differences, maph_slice key, uint64_t hash) {
  ghost *one = said_of(differences, hash) == SAID_GHOST ? NULL : malloc(sizeof *one + key.size);
  if (one == NULL) return said_of(differences, hash) == SAID_GHOST;
  one->next = differences->ghosts;
  one->hash = hash;
  one->size = key.size;
  memcpy(one->key, key.data, key.size);
  differences->ghosts = one;
  return true;
}

static bool take(void *arg, const delivery *from) {
  static change change;
  differences *differences = arg;
  said said = SAID_GONE;
  maph_entry entry;
  uint64_t hash;
  if (!change_read(&differences->reads, from, &change)) return true;
  hash = hash_of(change.key);
  if (!change.deleted) {
    if (maph_snapshot_get_entry(differences->snapshot, change.key, &entry) == MAPH_OK)
      said = is_as(&change, &entry) ? SAID_SAME : SAID_OTHER;
    else
      said = SAID_GHOST;
  }
  if (said == SAID_GHOST && !keep_ghost(differences, change.key, hash))
    differences->no_memory = true;
  if (!differences->no_memory && !say(differences, hash, said)) differences->no_memory = true;
  return !differences->no_memory;
}

/* A key that went and came back is in the list twice, one that went for good need not be. */
static void tidy_ghosts(differences *differences) {
  ghost **link = &differences->ghosts, *one;
  while ((one = *link) != NULL) {
    place *place = place_of(differences, one->hash);
    if (place->said == SAID_GHOST) {
      place->said = SAID_LISTED;
      link = &one->next;
      continue;
    }
    *link = one->next;
    free(one);
  }
}

stream_rc differences_find(connection *connection, const outgoing_rules *rules,
                           maph_snapshot *snapshot, uint64_t *last, differences **found) {
  differences *differences = calloc(1, sizeof *differences);
  stream_info info;
  stream_rc rc;
  *found = differences;
  *last = 0;
  if (differences == NULL) return stream_fail(STREAM_MEMORY, "out of memory");
  differences->rules = *rules;
  differences->reads.keys = rules->keys;
  differences->snapshot = snapshot;
  rc = bucket_walk(connection, rules->bucket, NULL, &info, take, differences);
  if (rc == STREAM_OK && differences->no_memory) rc = stream_fail(STREAM_MEMORY, "out of memory");
  *last = info.last;
  if (rc == STREAM_OK) tidy_ghosts(differences);
  return rc;
}

/* ----------------------------------------------------------------------------------------- tell */
static bool tell_ghosts(const differences *differences, difference_tell tell, void *arg) {
  for (const ghost *one = differences->ghosts; one; one = one->next) {
    maph_entry entry = { .key = maph_bytes(one->key, one->size) };
    if (!tell(arg, &entry, true, true)) return false;
  }
  return true;
}

int differences_tell(const differences *differences, maph *store, difference_tell tell, void *arg) {
  maph_cursor *cursor;
  maph_entry entry;
  uint64_t count = 0;
  int rc;
  if (!tell_ghosts(differences, tell, arg)) return MAPH_OK;
  rc = maph_cursor_open(store, differences->snapshot, maph_bytes(NULL, 0), &cursor);
  if (rc != MAPH_OK) return rc;
  while ((rc = maph_cursor_next(cursor, &entry)) == MAPH_OK) {
    said said = said_of(differences, hash_of(entry.key));
    if (count++ % 1024 == 0) child_stamp();
    if (said == SAID_SAME) continue;
    if (!tell(arg, &entry, false, said == SAID_OTHER)) break;
  }
  maph_cursor_close(cursor);
  return rc == MAPH_NOTFOUND ? MAPH_OK : rc;
}

void differences_free(differences *differences) {
  if (differences == NULL) return;
  while (differences->ghosts) {
    ghost *next = differences->ghosts->next;
    free(differences->ghosts);
    differences->ghosts = next;
  }
  free(differences->places);
  free(differences);
}
