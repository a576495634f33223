/*
** workload.c - everything that is prepared before a clock starts: shuffles, key texts, the pool of
** value bytes.
*/
#include "bench.h"

#include <stdlib.h>

static uint64_t next_random(uint64_t *state) {
  *state += 0x9e3779b97f4a7c15u;
  return mix(*state);
}

static uint32_t random_below(uint64_t *state, uint32_t limit) {
  return (uint32_t)(((next_random(state) >> 32) * limit) >> 32);
}

static void shuffle(uint32_t *numbers, uint32_t n, uint64_t *state) {
  for (uint32_t i = n; i > 1; i--) {
    uint32_t j = random_below(state, i), t = numbers[i - 1];
    numbers[i - 1] = numbers[j];
    numbers[j] = t;
  }
}

/* order_of_gets tells two readers of one store apart: they ask for different keys, of the same
** store. */
void workload_init(workload *workload, uint64_t order_of_gets) {
  uint64_t state = workload->seed;
  size_t pool_bytes = (POOL + workload->value_max + 7) & ~(size_t)7;
  workload->pool = must_alloc(pool_bytes);
  for (size_t i = 0; i < pool_bytes; i += 8) {
    uint64_t word = next_random(&state);
    memcpy(workload->pool + i, &word, 8);
  }
  workload->order = must_alloc(sizeof(uint32_t) * workload->keys);
  for (uint32_t i = 0; i < workload->keys; i++) workload->order[i] = i;
  shuffle(workload->order, workload->keys, &state);
  state = mix(workload->seed + 1 + order_of_gets);
  workload->asked = must_alloc(sizeof(uint32_t) * workload->gets);
  for (uint32_t i = 0; i < workload->gets; i++)
    workload->asked[i] = random_below(&state, workload->keys);
}

void workload_free(workload *workload) {
  free(workload->pool);
  free(workload->order);
  free(workload->asked);
  workload->pool = NULL;
  workload->order = workload->asked = NULL;
}

uint64_t workload_bytes(const workload *workload) {
  uint64_t total = 0;
  char text[KEY_ROOM];
  for (uint32_t i = 0; i < workload->keys; i++)
    total += workload_key(i, text).size + workload_value(workload, i, 0).size;
  return total;
}

uint64_t workload_value_sum(const workload *workload) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < workload->keys; i++) sum += read_bytes(workload_value(workload, i, 0));
  return sum;
}

void key_set_init(key_set *keys, uint32_t room, int with_values) {
  keys->n = 0;
  keys->text = must_alloc((size_t)KEY_ROOM * room);
  keys->keys = must_alloc(sizeof(slice) * room);
  keys->values = with_values ? must_alloc(sizeof(slice) * room) : NULL;
}

/* The suffix is at most one character: "!" makes keys that are missing but sort among the others,
** "+" new ones among them. */
void key_set_fill(key_set *keys, const workload *workload, const uint32_t *numbers, uint32_t n,
                  const char *suffix, uint64_t salt) {
  for (uint32_t i = 0; i < n; i++) {
    char text[KEY_ROOM];
    maph_slice key = workload_key(numbers[i], text);
    memcpy(keys->text[i], key.data, key.size);
    keys->text[i][key.size] = suffix[0];
    keys->keys[i] = maph_bytes(keys->text[i], key.size + (suffix[0] != 0));
    if (keys->values) keys->values[i] = workload_value(workload, numbers[i], salt);
  }
  keys->n = n;
}

void key_set_free(key_set *keys) {
  free(keys->text);
  free(keys->keys);
  free(keys->values);
  keys->text = NULL;
  keys->keys = keys->values = NULL;
}
