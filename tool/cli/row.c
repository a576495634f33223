/*
** row.c - an entry that is to be put.
*/
#include <stdlib.h>
#include <time.h>
#include "cli.h"

/* ------------------------------------------------------------------------------------------ row */
const char *row_check(const row *row) {
  const char *mistake = entry_check_key(row->key);
  if (mistake == NULL) mistake = entry_check_value(row->value.size);
  return mistake ? mistake : entry_check_media_type(row->media_type);
}

const char *row_ttl(uint64_t seconds, row *row) {
  if (entry_expiry_of_ttl(seconds, wall_ms(), &row->expires)) return NULL;
  return "ttl is a whole number of seconds from 1 up";
}

uint64_t wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t steady_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
