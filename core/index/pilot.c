/*
** pilot.c - the perfect hash "pilot": one byte a bucket of some three keys, 2.7 bits a key and a
** little for the remap.
**
** After PTHash (Pibiri, Trani 2021) and PtrHash (Groot Koerkamp 2025), in one part: keys fall into
** buckets by the upper bits of their hash; a bucket's pilot is the first of 256 values that sends
** all its keys to free slots.  Buckets are placed from large to small.  Where no pilot is free of
** collisions the one that does least harm is taken, and the buckets it evicts are placed again, as
** in cuckoo hashing; one that was placed a moment ago is not evicted. Of 100 slots 99 are used;
** numbers of slots past n are remapped to the free ones below.
**
** A find is two multiplications, a load of the pilot (3 bits a key: it stays in the processor's
** cache up to tens of millions of keys), two multiplications.  Nothing in it depends on a
** comparison but the rare remap.
*/
#include "index/perfect.h"
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
  uint32_t *owner;   /* of a slot that is taken: its bucket */
  uint32_t *waiting; /* buckets to place, the next one last */
  uint32_t waiting_count;
  uint8_t *pilot;
  uint32_t recent[RECENT];
  unsigned recent_at;
} building;

static inline unsigned size_of(const building *x, uint32_t b) {
  return x->start[b + 1] - x->start[b];
}

static inline uint32_t slot_of(const building *x, uint32_t key, unsigned pilot) {
  return (uint32_t)pilot_slot(x->hash[key], pilot, x->multiplier, x->slots);
}

static inline int is_taken(const building *x, uint32_t slot) {
  return (int)(x->taken[slot / 64] >> (slot % 64) & 1);
}

static inline void take(building *x, uint32_t slot, uint32_t b) {
  x->taken[slot / 64] |= UINT64_C(1) << (slot % 64);
  x->owner[slot] = b;
}

/* Do all keys of b find free slots with this pilot?  Those before a taken one are in slot[]. */
static inline int all_free(const building *x, uint32_t b, unsigned pilot, uint32_t *slot) {
  unsigned i, j, n = size_of(x, b);
  for (i = 0; i < n; i++) {
    slot[i] = slot_of(x, x->start[b] + i, pilot);
    if (is_taken(x, slot[i])) return 0;
    for (j = 0; j < i; j++)
      if (slot[j] == slot[i]) return 0;
  }
  return 1;
}

static void put_bucket(building *x, uint32_t b, unsigned pilot) {
  uint32_t i;
  x->pilot[b] = (uint8_t)pilot;
  for (i = x->start[b]; i < x->start[b + 1]; i++) take(x, slot_of(x, i, pilot), b);
}

static void evict(building *x, uint32_t b) {
  uint32_t i;
  for (i = x->start[b]; i < x->start[b + 1]; i++) {
    uint32_t slot = slot_of(x, i, x->pilot[b]);
    x->taken[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
  }
  x->waiting[x->waiting_count++] = b;
}

static int is_recent(const building *x, uint32_t b) {
  unsigned i;
  for (i = 0; i < RECENT; i++)
    if (x->recent[i] == b + 1) return 1;
  return 0;
}

/* What the evictions of this pilot would cost, or UINT64_MAX: it sends two keys to one slot, or
** evicts a recent one. */
static uint64_t harm(const building *x, uint32_t b, unsigned pilot, uint64_t most) {
  uint32_t slot[BUCKET_MOST];
  uint64_t sum = 0;
  unsigned i, j, n = size_of(x, b);
  for (i = 0; i < n; i++) {
    uint32_t owner;
    slot[i] = slot_of(x, x->start[b] + i, pilot);
    for (j = 0; j < i; j++)
      if (slot[j] == slot[i]) return UINT64_MAX;
    if (!is_taken(x, slot[i])) continue;
    owner = x->owner[slot[i]];
    if (is_recent(x, owner)) return UINT64_MAX;
    sum += (uint64_t)size_of(x, owner) * size_of(x, owner);
    if (sum >= most) return UINT64_MAX;
  }
  return sum;
}

/* No pilot is free of collisions: take the least harmful.  0: there is none. */
static int place_by_force(building *x, uint32_t b, unsigned salt) {
  uint64_t least = UINT64_MAX;
  unsigned i, best = 0;
  uint32_t key;
  for (i = 0; i < PILOTS; i++) {
    unsigned pilot = (i + salt) & (PILOTS - 1);
    uint64_t h = harm(x, b, pilot, least);
    if (h < least) {
      least = h;
      best = pilot;
    }
  }
  if (least == UINT64_MAX) return 0;
  for (key = x->start[b]; key < x->start[b + 1]; key++) {
    uint32_t slot = slot_of(x, key, best);
    if (is_taken(x, slot)) evict(x, x->owner[slot]);
  }
  put_bucket(x, b, best);
  x->recent[x->recent_at++ % RECENT] = b + 1;
  return 1;
}

static int place(building *x, uint32_t b, unsigned salt) {
  uint32_t slot[BUCKET_MOST];
  unsigned pilot, i;
  for (pilot = 0; pilot < PILOTS; pilot++) {
    if (!all_free(x, b, pilot, slot)) continue;
    x->pilot[b] = (uint8_t)pilot;
    for (i = 0; i < size_of(x, b); i++) take(x, slot[i], b);
    return 1;
  }
  return place_by_force(x, b, salt);
}

/* Large buckets last in `order`, where they are taken from first.  0: a bucket is too large. */
static int sort_buckets(building *x, uint32_t *order) {
  uint32_t count[BUCKET_MOST + 1] = { 0 }, at[BUCKET_MOST + 1], b, sum = 0;
  unsigned i;
  for (b = 0; b < x->buckets; b++) {
    if (size_of(x, b) > BUCKET_MOST) return 0;
    count[size_of(x, b)]++;
  }
  for (i = 0; i <= BUCKET_MOST; i++) {
    at[i] = sum;
    sum += count[i];
  }
  for (b = 0; b < x->buckets; b++) order[at[size_of(x, b)]++] = b;
  return 1;
}

static void find_starts(building *x) {
  uint32_t b = 0, i;
  for (i = 0; i < x->n; i++) {
    uint32_t own = (uint32_t)pilot_bucket(x->hash[i], x->buckets);
    while (b <= own) x->start[b++] = i;
  }
  while (b <= x->buckets) x->start[b++] = x->n;
}

/* 1 done, 0 these slots do not do, <0: minus the code to give up with. */
static int place_all(building *x, const uint32_t *order, perfect_progress_fn progress, void *arg) {
  uint64_t placed = 0, most = 20 * (uint64_t)x->buckets + 1000;
  uint32_t left = x->buckets;
  int rc;
  memset(x->taken, 0, ((size_t)x->slots / 64 + 1) * sizeof *x->taken);
  memset(x->recent, 0, sizeof x->recent);
  x->waiting_count = 0;
  while (left > 0 || x->waiting_count > 0) {
    uint32_t b = x->waiting_count ? x->waiting[--x->waiting_count] : order[--left];
    if (left > 2 * LOOK_AHEAD) {
      __builtin_prefetch(&x->start[order[left - 2 * LOOK_AHEAD]]);
      __builtin_prefetch(&x->hash[x->start[order[left - LOOK_AHEAD]]]);
    }
    if (!place(x, b, (unsigned)placed) || ++placed > most) return 0;
    if (progress && placed % TELL_EACH == 0
        && (rc = progress(arg, x->buckets - left, x->buckets)) != MAPH_OK)
      return -rc;
  }
  return 1;
}

/* The data as it goes to the file; the keys of slots past n get the free ones below. */
static int finish(building *x, uint32_t *number, uint8_t **data, uint64_t *size) {
  uint64_t at = pilot_remap_at(x->buckets);
  uint32_t *remap, unused = 0, i, b;
  pilot_head *head;
  *size = at + (uint64_t)(x->slots - x->n) * 4;
  *data = os_alloc(*size);
  if (*data == NULL) return MAPH_NOMEM;
  head = (pilot_head *)(void *)*data;
  head->buckets = x->buckets;
  head->slots = x->slots;
  head->multiplier = x->multiplier;
  memcpy(*data + sizeof *head, x->pilot, x->buckets);
  remap = (uint32_t *)(void *)(*data + at);
  for (i = x->n; i < x->slots; i++) {
    if (!is_taken(x, i)) continue;
    while (is_taken(x, unused)) unused++;
    remap[i - x->n] = unused++;
  }
  for (b = 0; b < x->buckets; b++) {
    for (i = x->start[b]; i < x->start[b + 1]; i++) {
      uint32_t slot = slot_of(x, i, x->pilot[b]);
      number[i] = slot < x->n ? slot : remap[slot - x->n];
    }
  }
  return MAPH_OK;
}

static int build(const uint64_t *hash, uint32_t n, uint32_t *number, uint8_t **data, uint64_t *size,
                 uint64_t *memory, perfect_progress_fn progress, void *arg) {
  building x;
  uint32_t *order = NULL;
  int rc = MAPH_OK, done = 0, tries;
  memset(&x, 0, sizeof x);
  if (n > UINT32_MAX / 64 * 63)
    return fail(MAPH_NOTFOUND, "a pilot hash of %u keys is too large", n);
  x.hash = hash;
  x.n = n;
  x.buckets = n / 3 + 1;
  x.slots = n + n / 99 + 1;
  x.start = os_alloc(((size_t)x.buckets + 1) * sizeof *x.start);
  x.taken = os_alloc(((size_t)x.slots / 64 + 1) * sizeof *x.taken);
  x.owner = os_alloc((size_t)x.slots * sizeof *x.owner);
  x.waiting = os_alloc((size_t)x.buckets * sizeof *x.waiting);
  x.pilot = os_alloc(x.buckets);
  order = os_alloc((size_t)x.buckets * sizeof *order);
  *memory = (uint64_t)x.buckets * 13 + (uint64_t)x.slots * 4 + x.slots / 8;
  if (!x.start || !x.taken || !x.owner || !x.waiting || !x.pilot || !order) rc = MAPH_NOMEM;
  if (rc == MAPH_OK) {
    find_starts(&x);
    if (!sort_buckets(&x, order))
      rc = fail(MAPH_NOTFOUND, "more than %d keys have nearly one hash", BUCKET_MOST);
  }
  for (tries = 0; rc == MAPH_OK && !done && tries < TRIES; tries++) {
    os_random(&x.multiplier, sizeof x.multiplier);
    x.multiplier |= 1;
    done = place_all(&x, order, progress, arg);
    if (done < 0) rc = -done;
  }
  if (rc == MAPH_OK && !done) rc = fail(MAPH_NOTFOUND, "no pilots were found for these %u keys", n);
  if (rc == MAPH_OK) rc = finish(&x, number, data, size);
  os_free(x.start);
  os_free(x.taken);
  os_free(x.owner);
  os_free(x.waiting);
  os_free(x.pilot);
  os_free(order);
  return rc;
}

const perfect_builder pilot_builder = { "pilot", build };

int pilot_sound(const uint8_t *data, uint64_t size, uint64_t n, pilot_head *f) {
  if (size < sizeof *f) return 0;
  memcpy(f, data, sizeof *f);
  return f->buckets > 0 && f->buckets <= size && f->slots >= n && f->slots - n <= size
         && pilot_remap_at(f->buckets) + (f->slots - n) * 4 == size;
}
