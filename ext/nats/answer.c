/*
** answer.c - the members of a JSON text that a server sent (answer.h).
*/
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "entry/base64.h"
#include "entry/json.h"
#include "nats/answer.h"

static bool member(maph_slice object, const char *name, size_t size, maph_slice *value) {
  json_reader in = json_begin(object);
  maph_slice found, inner;
  bool first = true;
  if (!json_next(&in, '{')) return false;
  while (json_member(&in, &first, &inner, &found)) {
    if (inner.size != size + 2 || memcmp((const char *)inner.data + 1, name, size) != 0) continue;
    *value = found;
    return true;
  }
  return false;
}

bool answer_find(maph_slice text, const char *path, maph_slice *value) {
  while (*path) {
    size_t size = strcspn(path, ".");
    if (!member(text, path, size, &text)) return false;
    path += size + (path[size] == '.');
  }
  *value = text;
  return true;
}

bool answer_number(maph_slice text, const char *path, uint64_t most, uint64_t otherwise,
                   uint64_t *number) {
  maph_slice value;
  *number = otherwise;
  return !answer_find(text, path, &value) || json_whole_number(value, most, number);
}

bool answer_signed(maph_slice text, const char *path, int64_t otherwise, int64_t *number) {
  maph_slice value;
  uint64_t size;
  bool below;
  *number = otherwise;
  if (!answer_find(text, path, &value)) return true;
  below = value.size > 1 && *(const char *)value.data == '-';
  value = maph_bytes((const char *)value.data + below, value.size - below);
  if (!json_whole_number(value, INT64_MAX, &size)) return false;
  *number = below ? -(int64_t)size : (int64_t)size;
  return true;
}

bool answer_true(maph_slice text, const char *path) {
  maph_slice value;
  return answer_find(text, path, &value) && value.size == 4 && memcmp(value.data, "true", 4) == 0;
}

static bool is_string(maph_slice value, maph_slice *inner) {
  const char *text = value.data;
  if (value.size < 2 || text[0] != '"') return false;
  *inner = maph_bytes(text + 1, value.size - 2);
  return true;
}

bool answer_text(maph_slice text, const char *path, char *room, size_t size) {
  maph_slice value, inner;
  size_t n;
  room[0] = 0;
  if (!answer_find(text, path, &value)) return true;
  if (!is_string(value, &inner) || inner.size >= size) return false;
  n = json_unescape(inner, room);
  room[n] = 0;
  return strlen(room) == n;
}

bool answer_base64(maph_slice text, const char *path, void **memory, maph_slice *bytes) {
  maph_slice value, inner;
  char *room;
  size_t n;
  *memory = NULL;
  *bytes = maph_bytes(NULL, 0);
  if (!answer_find(text, path, &value)) return true;
  if (!is_string(value, &inner) || (room = malloc(inner.size + 1)) == NULL) return false;
  n = json_unescape(inner, room);
  n = base64_decode(room, n, room);
  if (n == SIZE_MAX) {
    free(room);
    return false;
  }
  *memory = room;
  *bytes = maph_bytes(room, n);
  return true;
}

static bool digits(const char **at, int count, int *number) {
  *number = 0;
  for (int i = 0; i < count; i++) {
    if (!isdigit((unsigned char)**at)) return false;
    *number = *number * 10 + (*(*at)++ - '0');
  }
  return true;
}

/* Z, or +02:00; in seconds. */
static bool offset(const char **at, int *seconds) {
  int hours, minutes, sign = **at == '-' ? -1 : 1;
  *seconds = 0;
  if (**at == 'Z') {
    (*at)++;
    return true;
  }
  if (**at != '+' && **at != '-') return false;
  (*at)++;
  if (!digits(at, 2, &hours) || *(*at)++ != ':' || !digits(at, 2, &minutes)) return false;
  *seconds = sign * (hours * 3600 + minutes * 60);
  return true;
}

bool answer_time(const char *text, uint64_t *ns) {
  struct tm tm = { .tm_year = 0 };
  uint64_t fraction = 0, unit = 100000000;
  int shift;
  time_t seconds;
  if (!digits(&text, 4, &tm.tm_year) || *text++ != '-' || !digits(&text, 2, &tm.tm_mon)
      || *text++ != '-' || !digits(&text, 2, &tm.tm_mday) || *text++ != 'T'
      || !digits(&text, 2, &tm.tm_hour) || *text++ != ':' || !digits(&text, 2, &tm.tm_min)
      || *text++ != ':' || !digits(&text, 2, &tm.tm_sec))
    return false;
  if (*text == '.') {
    for (text++; isdigit((unsigned char)*text); text++, unit /= 10)
      fraction += unit * (uint64_t)(*text - '0');
  }
  if (!offset(&text, &shift) || *text != 0) return false;
  if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31) return false;
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  seconds = timegm(&tm) - shift;
  if (seconds < 0 || (uint64_t)seconds > UINT64_MAX / 1000000000 - 1) return false;
  *ns = (uint64_t)seconds * 1000000000 + fraction;
  return true;
}
