/*
** pilot.c - the perfect hash "pilot": one byte a bucket of some three keys, 2.7 bits a key, and
** 0.6 for the remap.
**
** After PTHash (Pibiri, Trani 2021) and PtrHash (Groot Koerkamp 2025), in one part: keys fall into
** buckets by the upper bits of their hash; a bucket's pilot is the first of 256 values that sends
** all its keys to free slots.  Buckets are placed from large to small.  Where no pilot is free of
** collisions the one that does least harm is taken, and the buckets it evicts are placed again, as
** in cuckoo hashing; one that was placed a moment ago is not evicted.  Of 100 slots 98 are used: 99
** would save a third of a bit a key and take half as long again.  Numbers of slots past n are
** remapped to the free ones below.
**
** A find is two multiplications, a load of the pilot (2.7 bits a key: it stays in the processor's
** cache up to tens of millions of keys), two multiplications.  Nothing in it depends on a
** comparison but the rare remap.
*/
#include "index/pilot.h"
#include "os/error.h"
#include "os/os.h"
#include "maph.h"

#include <string.h>

enum {
  BUCKET_MOST = 64,
  PILOTS = 256,
  RECENT = 16,
  TRIES = 10,
  TELL_EACH = 1 << 16,
  LOOK_AHEAD = 8
};

typedef struct building {
  const uint64_t *hash;
  uint32_t n, buckets, slots;
  uint64_t multiplier;
  uint32_t *start; /* bucket b's keys are hash[start[b]..start[b+1]) */
  /* a bit for each slot: small enough for the processor's cache, where most looks end */
  uint64_t *taken;
  uint8_t *size_there; /* of a slot that is taken: keys of its bucket.  Fits the second cache */
  uint32_t *owner;     /* of a slot that is taken: its bucket */
  uint32_t *waiting;   /* buckets to place, the next one last */
  uint32_t waiting_count;
  uint8_t *pilot;
  uint32_t recent[RECENT];
  unsigned recent_at;
} building;

static inline unsigned size_of(const building *building, uint32_t b) {
  return building->start[b + 1] - building->start[b];
}

static inline uint32_t slot_of(const building *building, uint32_t key, unsigned pilot) {
  return (uint32_t)pilot_slot(building->hash[key], pilot, building->multiplier, building->slots);
}

static inline int is_taken(const building *building, uint32_t slot) {
  return (int)(building->taken[slot / 64] >> (slot % 64) & 1);
}

static inline void take(building *building, uint32_t slot, uint32_t b) {
  building->taken[slot / 64] |= UINT64_C(1) << (slot % 64);
  building->size_there[slot] = (uint8_t)size_of(building, b);
  building->owner[slot] = b;
}

static inline int are_different(const uint32_t *slot, unsigned n) {
  unsigned i, j, same = 0;
  for (i = 1; i < n; i++)
    for (j = 0; j < i; j++) same |= slot[j] == slot[i];
  return !same;
}

/* The first pilot with which all keys of b, which are n, find free slots; they are in slot[].
** PILOTS: none.  Mostly the first key settles it; behind it no branch is guessed. */
static inline unsigned free_pilot(const building *building, uint32_t b, unsigned n,
                                  uint32_t *slot) {
  const uint64_t *hash = building->hash + building->start[b], *taken = building->taken;
  uint64_t multiplier = building->multiplier, slots = building->slots;
  unsigned pilot, i, any;
  for (pilot = 0; pilot < PILOTS; pilot++) {
    slot[0] = (uint32_t)pilot_slot(hash[0], pilot, multiplier, slots);
    if (taken[slot[0] / 64] >> slot[0] % 64 & 1) continue;
    for (i = 1, any = 0; i < n; i++) {
      slot[i] = (uint32_t)pilot_slot(hash[i], pilot, multiplier, slots);
      any |= (unsigned)(taken[slot[i] / 64] >> slot[i] % 64 & 1);
    }
    if (!any && are_different(slot, n)) break;
  }
  return pilot;
}

static void put_bucket(building *building, uint32_t b, unsigned pilot) {
  uint32_t i;
  building->pilot[b] = (uint8_t)pilot;
  for (i = building->start[b]; i < building->start[b + 1]; i++)
    take(building, slot_of(building, i, pilot), b);
}

static void evict(building *building, uint32_t b) {
  uint32_t i;
  for (i = building->start[b]; i < building->start[b + 1]; i++) {
    uint32_t slot = slot_of(building, i, building->pilot[b]);
    building->taken[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    building->size_there[slot] = 0;
  }
  building->waiting[building->waiting_count++] = b;
}

static int is_recent(const building *building, uint32_t b) {
  unsigned i;
  for (i = 0; i < RECENT; i++)
    if (building->recent[i] == b + 1) return 1;
  return 0;
}

/* What the evictions of this pilot would cost, or UINT64_MAX: it costs `most` at least, sends two
** keys to one slot, or evicts a recent bucket. */
static inline uint64_t harm(const building *building, uint32_t b, unsigned n, unsigned pilot,
                            uint64_t most) {
  uint32_t slot[BUCKET_MOST], first = building->start[b];
  uint64_t sum = 0;
  unsigned i;
  for (i = 0; i < n; i++) {
    unsigned size;
    slot[i] = slot_of(building, first + i, pilot);
    size = building->size_there[slot[i]];
    sum += size * size;
  }
  if (likely(sum >= most) || !are_different(slot, n)) return UINT64_MAX;
  for (i = 0; i < n; i++)
    if (is_taken(building, slot[i]) && is_recent(building, building->owner[slot[i]]))
      return UINT64_MAX;
  return sum;
}

/* No pilot is free of collisions: take the least harmful.  0: there is none. */
static int place_by_force(building *building, uint32_t b, unsigned n, unsigned salt) {
  uint64_t least = UINT64_MAX;
  unsigned i, best = 0;
  uint32_t key;
  for (i = 0; i < PILOTS && least > 1; i++) {
    unsigned pilot = (i + salt) & (PILOTS - 1);
    uint64_t h = harm(building, b, n, pilot, least);
    if (h < least) {
      least = h;
      best = pilot;
    }
  }
  if (least == UINT64_MAX) return 0;
  for (key = building->start[b]; key < building->start[b + 1]; key++) {
    uint32_t slot = slot_of(building, key, best);
    if (is_taken(building, slot)) evict(building, building->owner[slot]);
  }
  put_bucket(building, b, best);
  building->recent[building->recent_at++ % RECENT] = b + 1;
  return 1;
}

static int place(building *building, uint32_t b, unsigned salt) {
  uint32_t slot[BUCKET_MOST];
  unsigned n = size_of(building, b), i, pilot = n > 0 ? free_pilot(building, b, n, slot) : 0;
  if (unlikely(pilot == PILOTS)) return place_by_force(building, b, n, salt);
  building->pilot[b] = (uint8_t)pilot;
  for (i = 0; i < n; i++) take(building, slot[i], b);
  return 1;
}

/* Large buckets last in `order`, where they are taken from first.  0: a bucket is too large. */
static int sort_buckets(building *building, uint32_t *order) {
  uint32_t count[BUCKET_MOST + 1] = { 0 }, at[BUCKET_MOST + 1], b, sum = 0;
  unsigned i;
  for (b = 0; b < building->buckets; b++) {
    if (size_of(building, b) > BUCKET_MOST) return 0;
    count[size_of(building, b)]++;
  }
  for (i = 0; i <= BUCKET_MOST; i++) {
    at[i] = sum;
    sum += count[i];
  }
  for (b = 0; b < building->buckets; b++) order[at[size_of(building, b)]++] = b;
  return 1;
}

static void find_starts(building *building) {
  uint32_t b = 0, i;
  for (i = 0; i < building->n; i++) {
    uint32_t own = (uint32_t)pilot_bucket(building->hash[i], building->buckets);
    while (b <= own) building->start[b++] = i;
  }
  while (b <= building->buckets) building->start[b++] = building->n;
}

/* 1 done, 0 these slots do not do, <0: minus the code to give up with. */
static int place_all(building *building, const uint32_t *order, perfect_progress_fn progress,
                     void *arg) {
  uint64_t placed = 0, most = 20 * (uint64_t)building->buckets + 1000;
  uint32_t left = building->buckets;
  int rc;
  memset(building->taken, 0, ((size_t)building->slots / 64 + 1) * sizeof *building->taken);
  memset(building->size_there, 0, building->slots);
  memset(building->recent, 0, sizeof building->recent);
  building->waiting_count = 0;
  while (left > 0 || building->waiting_count > 0) {
    uint32_t b =
        building->waiting_count ? building->waiting[--building->waiting_count] : order[--left];
    if (left > 2 * LOOK_AHEAD) {
      __builtin_prefetch(&building->start[order[left - 2 * LOOK_AHEAD]]);
      __builtin_prefetch(&building->hash[building->start[order[left - LOOK_AHEAD]]]);
    }
    if (!place(building, b, (unsigned)placed) || ++placed > most) return 0;
    if (progress && placed % TELL_EACH == 0
        && (rc = progress(arg, building->buckets - left, building->buckets)) != MAPH_OK)
      return -rc;
  }
  return 1;
}

/* The data as it goes to the file; the keys of slots past n get the free ones below. */
static int finish(building *building, uint32_t *number, uint8_t **data, uint64_t *size) {
  uint64_t at = pilot_remap_at(building->buckets);
  uint32_t *remap, unused = 0, i, b;
  pilot_head *head;
  *size = at + (uint64_t)(building->slots - building->n) * 4;
  *data = os_alloc(*size);
  if (*data == NULL) return MAPH_NOMEM;
  head = (pilot_head *)(void *)*data;
  head->buckets = building->buckets;
  head->slots = building->slots;
  head->multiplier = building->multiplier;
  memcpy(*data + sizeof *head, building->pilot, building->buckets);
  remap = (uint32_t *)(void *)(*data + at);
  for (i = building->n; i < building->slots; i++) {
    if (!is_taken(building, i)) continue;
    while (is_taken(building, unused)) unused++;
    remap[i - building->n] = unused++;
  }
  for (b = 0; b < building->buckets; b++) {
    for (i = building->start[b]; i < building->start[b + 1]; i++) {
      uint32_t slot = slot_of(building, i, building->pilot[b]);
      number[i] = slot < building->n ? slot : remap[slot - building->n];
    }
  }
  return MAPH_OK;
}

static int build(const uint64_t *hash, uint32_t n, uint32_t *number, uint8_t **data, uint64_t *size,
                 uint64_t *memory, perfect_progress_fn progress, void *arg) {
  building building;
  uint32_t *order = NULL;
  int rc = MAPH_OK, done = 0, tries;
  memset(&building, 0, sizeof building);
  if (n > UINT32_MAX / 64 * 63)
    return fail(MAPH_NOTFOUND, "a pilot hash of %u keys is too large", n);
  building.hash = hash;
  building.n = n;
  building.buckets = n / 3 + 1;
  building.slots = n + n / 49 + 1; /* of 50 slots 49 */
  building.start = os_alloc_table(((size_t)building.buckets + 1) * sizeof *building.start);
  building.taken = os_alloc_table(((size_t)building.slots / 64 + 1) * sizeof *building.taken);
  building.size_there = os_alloc_table(building.slots);
  building.owner = os_alloc_table((size_t)building.slots * sizeof *building.owner);
  building.waiting = os_alloc_table((size_t)building.buckets * sizeof *building.waiting);
  building.pilot = os_alloc_table(building.buckets);
  order = os_alloc_table((size_t)building.buckets * sizeof *order);
  *memory = (uint64_t)building.buckets * 13 + (uint64_t)building.slots * 5 + building.slots / 8;
  if (!building.start || !building.taken || !building.size_there || !building.owner
      || !building.waiting || !building.pilot || !order)
    rc = MAPH_NOMEM;
  if (rc == MAPH_OK) {
    find_starts(&building);
    if (!sort_buckets(&building, order))
      rc = fail(MAPH_NOTFOUND, "more than %d keys have nearly one hash", BUCKET_MOST);
  }
  for (tries = 0; rc == MAPH_OK && !done && tries < TRIES; tries++) {
    os_random(&building.multiplier, sizeof building.multiplier);
    building.multiplier |= 1;
    done = place_all(&building, order, progress, arg);
    if (done < 0) rc = -done;
  }
  if (rc == MAPH_OK && !done) rc = fail(MAPH_NOTFOUND, "no pilots were found for these %u keys", n);
  if (rc == MAPH_OK) rc = finish(&building, number, data, size);
  os_free(building.start);
  os_free(building.taken);
  os_free(building.size_there);
  os_free(building.owner);
  os_free(building.waiting);
  os_free(building.pilot);
  os_free(order);
  return rc;
}

const perfect_builder pilot_builder = { "pilot", build };

int pilot_sound(const uint8_t *data, uint64_t size, uint64_t n, pilot_head *head) {
  if (size < sizeof *head) return 0;
  memcpy(head, data, sizeof *head);
  return head->buckets > 0 && head->buckets <= size && head->slots >= n && head->slots - n <= size
         && pilot_remap_at(head->buckets) + (head->slots - n) * 4 == size;
}
