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
void workload_init(workload *w, uint64_t order_of_gets) {
  uint64_t state = w->seed;
  size_t pool_bytes = (POOL + w->value_max + 7) & ~(size_t)7;
  w->pool = must_alloc(pool_bytes);
  for (size_t i = 0; i < pool_bytes; i += 8) {
    uint64_t word = next_random(&state);
    memcpy(w->pool + i, &word, 8);
  }
  w->order = must_alloc(sizeof(uint32_t) * w->keys);
  for (uint32_t i = 0; i < w->keys; i++) w->order[i] = i;
  shuffle(w->order, w->keys, &state);
  state = mix(w->seed + 1 + order_of_gets);
  w->asked = must_alloc(sizeof(uint32_t) * w->gets);
  for (uint32_t i = 0; i < w->gets; i++) w->asked[i] = random_below(&state, w->keys);
}

void workload_free(workload *w) {
  free(w->pool);
  free(w->order);
  free(w->asked);
  w->pool = NULL;
  w->order = w->asked = NULL;
}

uint64_t workload_bytes(const workload *w) {
  uint64_t total = 0;
  char text[KEY_ROOM];
  for (uint32_t i = 0; i < w->keys; i++)
    total += workload_key(i, text).size + workload_value(w, i, 0).size;
  return total;
}

uint64_t workload_value_sum(const workload *w) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < w->keys; i++) sum += read_bytes(workload_value(w, i, 0));
  return sum;
}

void key_set_init(key_set *s, uint32_t room, int with_values) {
  s->n = 0;
  s->text = must_alloc((size_t)KEY_ROOM * room);
  s->keys = must_alloc(sizeof(slice) * room);
  s->values = with_values ? must_alloc(sizeof(slice) * room) : NULL;
}

/* The suffix is at most one character: "!" makes keys that are missing but sort among the others,
** "+" new ones among them. */
void key_set_fill(key_set *s, const workload *w, const uint32_t *numbers, uint32_t n,
                  const char *suffix, uint64_t salt) {
  for (uint32_t i = 0; i < n; i++) {
    char text[KEY_ROOM];
    maph_slice key = workload_key(numbers[i], text);
    memcpy(s->text[i], key.data, key.size);
    s->text[i][key.size] = suffix[0];
    s->keys[i] = maph_bytes(s->text[i], key.size + (suffix[0] != 0));
    if (s->values) s->values[i] = workload_value(w, numbers[i], salt);
  }
  s->n = n;
}

void key_set_free(key_set *s) {
  free(s->text);
  free(s->keys);
  free(s->values);
  s->text = NULL;
  s->keys = s->values = NULL;
}
