/*
** peer_ram.c - no store at all: a hash map in this process's memory, as a program that needs
** neither a file nor a second process would write it.  The floor that stores are measured against.
**
** Open addressing over 8-byte slots of 24 bits of XXH3 and a 40-bit offset into an arena (1 TiB);
** the arena holds each entry as two sizes, key, value.  Keys are compared.  The map outlives its
** close, until its folder goes.
*/
#include "bench.h"

#include <stdlib.h>
#include <sys/mman.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { OFFSET_BITS = 40, MAPS = 2, GROUP = 32 };
#define ARENA_ROOM ((size_t)1 << 36)

typedef struct entry {
  uint32_t key_size, value_size;
  char bytes[];
} entry;

typedef struct ram_map {
  char folder[512];      /* its name */
  uint64_t *slots, mask; /* 0: empty */
  char *arena;           /* address space; memory comes as it is used */
  size_t end;
  uint64_t count;
} ram_map;

static ram_map maps[MAPS]; /* a benchmark's full store and its fresh one */

static void ram_destroy(const char *folder) {
  for (int i = 0; i < MAPS; i++) {
    ram_map *map = &maps[i];
    if (map->slots == NULL || strcmp(map->folder, folder) != 0) continue;
    free(map->slots);
    munmap(map->arena, ARENA_ROOM);
    map->slots = NULL;
  }
}

static uint64_t *new_slots(uint64_t n) {
  uint64_t *slots = calloc(n, sizeof *slots);
  if (!slots) fail("ram: out of memory for %llu slots", (unsigned long long)n);
  return slots;
}

static void *ram_open(const char *folder, level at) {
  (void)at;
  for (int i = 0; i < MAPS; i++) {
    if (maps[i].slots && strcmp(maps[i].folder, folder) == 0) return &maps[i];
  }
  fail("ram: nothing was made for %s", folder);
}

static void *ram_create(const char *folder, level at) {
  ram_destroy(folder);
  ram_map *map = maps;
  while (map < maps + MAPS && map->slots) map++;
  if (map == maps + MAPS) fail("ram: more than %d maps", MAPS);
  snprintf(map->folder, sizeof map->folder, "%s", folder);
  map->mask = 1023;
  map->slots = new_slots(map->mask + 1);
  map->arena = mmap(NULL, ARENA_ROOM, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map->arena == MAP_FAILED) fail("ram: no address space");
  map->end = 8; /* so that no slot in use is 0 */
  map->count = 0;
  return ram_open(folder, at);
}

static void ram_close(void *store) { (void)store; }

static inline entry *entry_of(const ram_map *map, uint64_t slot) {
  return (entry *)(map->arena + (slot & (((uint64_t)1 << OFFSET_BITS) - 1)));
}

/* The slot of the key, or the empty one where it belongs. */
static inline uint64_t *slot_of(const ram_map *map, uint64_t hash, slice key) {
  for (uint64_t i = hash & map->mask;; i = (i + 1) & map->mask) {
    uint64_t slot = map->slots[i];
    if (slot == 0) return &map->slots[i];
    if ((slot ^ hash) >> OFFSET_BITS) continue;
    entry *entry = entry_of(map, slot);
    if (entry->key_size == key.size && memcmp(entry->bytes, key.data, key.size) == 0)
      return &map->slots[i];
  }
}

static inline int value_in(const ram_map *map, const uint64_t *slot, slice *value) {
  *value = maph_bytes(NULL, 0);
  if (*slot == 0) return 0;
  entry *entry = entry_of(map, *slot);
  *value = maph_bytes(entry->bytes + entry->key_size, entry->value_size);
  return 1;
}

static int ram_get(void *store, slice key, slice *value) {
  ram_map *map = store;
  return value_in(map, slot_of(map, XXH3_64bits(key.data, key.size), key), value);
}

/* Hashes first, then the entries that the slots point to, then the comparing: each step's cache
** misses overlap. */
static void get_group(const ram_map *map, size_t n, const slice *keys, slice *values) {
  uint64_t hash[GROUP];
  for (size_t i = 0; i < n; i++) {
    hash[i] = XXH3_64bits(keys[i].data, keys[i].size);
    __builtin_prefetch(&map->slots[hash[i] & map->mask]);
  }
  for (size_t i = 0; i < n; i++) {
    uint64_t slot = map->slots[hash[i] & map->mask];
    const char *e = (const char *)entry_of(map, slot);
    if (slot == 0) continue;
    __builtin_prefetch(e);
    __builtin_prefetch(e + 64);
  }
  for (size_t i = 0; i < n; i++) value_in(map, slot_of(map, hash[i], keys[i]), &values[i]);
}

static void ram_get_many(void *store, size_t n, const slice *keys, slice *values) {
  for (size_t at = 0; at < n; at += GROUP)
    get_group(store, n - at < GROUP ? n - at : GROUP, keys + at, values + at);
}

static void grow(ram_map *map) {
  uint64_t *old = map->slots, n = map->mask + 1;
  map->mask = 2 * n - 1;
  map->slots = new_slots(2 * n);
  for (uint64_t i = 0; i < n; i++) {
    if (old[i] == 0) continue;
    entry *entry = entry_of(map, old[i]);
    *slot_of(map, XXH3_64bits(entry->bytes, entry->key_size),
             maph_bytes(entry->bytes, entry->key_size)) = old[i];
  }
  free(old);
}

static void ram_put(void *store, slice key, slice value) {
  ram_map *map = store;
  if (map->count * 2 > map->mask) grow(map);
  uint64_t hash = XXH3_64bits(key.data, key.size), *slot = slot_of(map, hash, key);
  entry *entry = *slot ? entry_of(map, *slot) : NULL;
  if (!entry || entry->value_size != value.size) {
    if (ARENA_ROOM - map->end < sizeof *entry + key.size + value.size + 8)
      fail("ram: the arena is full");
    map->count += *slot == 0;
    *slot = hash >> OFFSET_BITS << OFFSET_BITS | map->end;
    entry = entry_of(map, *slot);
    entry->key_size = (uint32_t)key.size;
    entry->value_size = (uint32_t)value.size;
    memcpy(entry->bytes, key.data, key.size);
    map->end += (sizeof *entry + key.size + value.size + 7) & ~(size_t)7;
  }
  memcpy(entry->bytes + entry->key_size, value.data, value.size);
}

static void ram_put_batch(void *store, size_t n, const slice *keys, const slice *values) {
  for (size_t i = 0; i < n; i++) ram_put(store, keys[i], values[i]);
}

static void ram_scan(void *store, scan_total *total) {
  ram_map *map = store;
  for (size_t at = 8; at < map->end;) {
    entry *entry = (struct entry *)(map->arena + at);
    scan_count(total, maph_bytes(entry->bytes, entry->key_size),
               maph_bytes(entry->bytes + entry->key_size, entry->value_size));
    at += (sizeof *entry + entry->key_size + entry->value_size + 7) & ~(size_t)7;
  }
}

static uint64_t ram_used(void *store) {
  ram_map *map = store;
  return map->end + (map->mask + 1) * sizeof *map->slots;
}

static const char *ram_version(void) { return "RAM map, ours"; }

const peer peer_ram = { .name = "ram",
                        .traits = IN_MEMORY,
                        .settings = "no store: a hash map in this process, XXH3, 8-byte slots, "
                                    "arena; nothing durable, nothing shared",
                        .version = ram_version,
                        .create = ram_create,
                        .open = ram_open,
                        .close = ram_close,
                        .destroy = ram_destroy,
                        .get = ram_get,
                        .get_many = ram_get_many,
                        .put = ram_put,
                        .put_batch = ram_put_batch,
                        .scan = ram_scan,
                        .used = ram_used };
