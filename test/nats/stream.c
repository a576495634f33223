/*
** stream.c - the one bucket of the fake server, in memory (fake.h).
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "fake.h"

stream the_stream;

uint64_t stream_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void stream_time(uint64_t ns, char room[64]) {
  time_t seconds = (time_t)(ns / 1000000000);
  struct tm tm;
  size_t size;
  gmtime_r(&seconds, &tm);
  size = strftime(room, 64, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(room + size, 64 - size, ".%09lluZ", (unsigned long long)(ns % 1000000000));
}

void stream_begin(const char *bucket) {
  char kept[sizeof the_stream.name];
  snprintf(kept, sizeof kept, "%s", bucket);
  if (the_stream.messages)
    stream_roll_back(0);
  else
    the_stream.messages = calloc(MESSAGES_MOST, sizeof *the_stream.messages);
  if (the_stream.messages == NULL) abort();
  strcpy(the_stream.name, kept);
  stream_time(stream_now_ns(), the_stream.created);
  if (the_stream.replicas == 0) the_stream.replicas = 1;
}

static void write_message(message *m, const char *key, const bytes *headers, const bytes *data) {
  memset(m, 0, sizeof *m);
  m->alive = true;
  m->time_ns = stream_now_ns();
  m->key = strdup(key);
  bytes_add(&m->headers, headers->data, headers->size);
  bytes_add(&m->data, data->data, data->size);
}

uint64_t stream_put(const char *key, const bytes *headers, const bytes *data) {
  if (the_stream.last + 1 >= MESSAGES_MOST) return 0;
  for (uint64_t i = 1; i <= the_stream.last; i++) {
    if (the_stream.messages[i].alive && strcmp(the_stream.messages[i].key, key) == 0)
      stream_forget(i);
  }
  write_message(&the_stream.messages[++the_stream.last], key, headers, data);
  return the_stream.last;
}

bool stream_place(uint64_t sequence, const char *key, const bytes *data) {
  static const bytes nothing;
  if (sequence == 0 || sequence > the_stream.last) return false;
  stream_forget(sequence);
  write_message(&the_stream.messages[sequence], key, &nothing, data);
  return true;
}

void stream_forget(uint64_t sequence) {
  message *m = &the_stream.messages[sequence];
  if (sequence == 0 || sequence > the_stream.last || !m->alive) return;
  free(m->key);
  free(m->headers.data);
  free(m->data.data);
  memset(m, 0, sizeof *m);
}

void stream_roll_back(uint64_t sequence) {
  for (; the_stream.last > sequence; the_stream.last--) stream_forget(the_stream.last);
}

uint64_t stream_next(uint64_t sequence) {
  for (uint64_t i = sequence ? sequence : 1; i <= the_stream.last; i++)
    if (the_stream.messages[i].alive) return i;
  return 0;
}

uint64_t stream_behind(uint64_t sequence) {
  uint64_t count = 0;
  for (uint64_t i = sequence + 1; i <= the_stream.last; i++) count += the_stream.messages[i].alive;
  return count;
}

uint64_t stream_first(void) {
  uint64_t first = stream_next(1);
  return first ? first : the_stream.last + 1;
}

uint64_t stream_count(void) {
  uint64_t count = 0;
  for (uint64_t i = 1; i <= the_stream.last; i++) count += the_stream.messages[i].alive;
  return count;
}
