/*
** workload.h - the keys, the values and the order in which they are asked for.
**
** Key number i is "key:i"; its value is a stretch of a pool of pseudo-random bytes that i picks, so
** that any value can be named (and checked) at any time without keeping it.  A salt picks another
** value for the same number.  All of it follows from the seed: two processes with the same options
** see the same store.
*/
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "maph.h"

typedef struct workload {
  uint32_t keys;               /* numbers 0 .. keys-1 */
  size_t value_min, value_max; /* bytes; between them, evenly spread, where they differ */
  uint64_t seed;
  uint8_t *pool;   /* POOL + value_max bytes */
  uint32_t *order; /* every number once, shuffled: the order of loading */
  uint32_t *asked; /* numbers of the gets, uniform */
  uint32_t gets;   /* how many of those */
} workload;

enum { POOL = 1 << 20, KEY_ROOM = 16, VALUE_MIN = 8 };

/* Keys as text, ready to be asked for or put: n slices over one buffer. */
typedef struct key_set {
  uint32_t n;
  char (*text)[KEY_ROOM];
  maph_slice *keys;
  maph_slice *values; /* of each key; NULL when made without */
} key_set;

/* keys, value_*, seed and gets are set */
void workload_init(workload *workload, uint64_t order_of_gets);
void workload_free(workload *workload);
uint64_t workload_bytes(const workload *workload);     /* of all keys and values */
uint64_t workload_value_sum(const workload *workload); /* as read_bytes sums it */

void key_set_init(key_set *keys, uint32_t room, int with_values);
void key_set_fill(key_set *keys, const workload *workload, const uint32_t *numbers, uint32_t n,
                  const char *suffix, uint64_t salt);
void key_set_free(key_set *keys);

static inline uint64_t mix(uint64_t x) { /* splitmix64's finish */
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static inline maph_slice workload_value(const workload *workload, uint32_t number, uint64_t salt) {
  uint64_t h = mix(workload->seed + number * 0x9e3779b97f4a7c15u + salt);
  size_t spread = workload->value_max - workload->value_min;
  return maph_bytes(workload->pool + (h & (POOL - 1)),
                    workload->value_min + (spread ? (h >> 24) % (spread + 1) : 0));
}

/* The key of a number, written into the end of text. */
static inline maph_slice workload_key(uint32_t number, char text[KEY_ROOM]) {
  char *p = text + KEY_ROOM;
  do {
    *--p = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  p -= 4;
  memcpy(p, "key:", 4);
  return maph_bytes(p, (size_t)(text + KEY_ROOM - p));
}

#endif
