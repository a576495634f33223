/*
** kv.c - what a message of a bucket says of its key (kv.h).
*/
#include <ctype.h>
#include <string.h>
#include <strings.h>
#include "entry/entry.h"
#include "entry/json.h"
#include "nats/kv.h"

static bool is(maph_slice text, const char *word) {
  return text.data && text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

/* The digits that are next; how many. */
static size_t take_number(const char **at, const char *end, uint64_t *number) {
  const char *from = *at;
  *number = 0;
  while (*at < end && isdigit((unsigned char)**at) && *at - from < 12)
    *number = *number * 10 + (uint64_t)(*(*at)++ - '0');
  return (size_t)(*at - from);
}

static uint64_t unit_ms(const char **at, const char *end) {
  size_t left = (size_t)(end - *at);
  if (left >= 2 && memcmp(*at, "ms", 2) == 0) {
    *at += 2;
    return 1;
  }
  switch (left ? *(*at)++ : 0) {
    case 'h': return 3600000;
    case 'm': return 60000;
    case 's': return 1000;
  }
  return 0;
}

bool kv_duration(maph_slice text, uint64_t *ms) {
  const char *at = text.data, *end = at + text.size;
  uint64_t number, fraction = 0, unit;
  *ms = 0;
  if (take_number(&at, end, &number) > 0 && at == end) {
    *ms = number * 1000;
    return true;
  }
  for (at = text.data; at < end;) {
    size_t places = 0;
    if (take_number(&at, end, &number) == 0) return false;
    if (at < end && *at == '.') {
      at++;
      if ((places = take_number(&at, end, &fraction)) == 0 || places > 9) return false;
    }
    if ((unit = unit_ms(&at, end)) == 0) return false;
    *ms += number * unit;
    if (places == 0) continue;
    fraction *= unit;
    while (places-- > 0) fraction /= 10;
    *ms += fraction;
  }
  return text.size > 0;
}

static void ends_at(kv_entry *entry, uint64_t ms) {
  if (ms == 0) ms = 1;
  if (entry->expires == 0 || ms < entry->expires) entry->expires = ms;
}

/* application/json, whatever follows behind a ; */
static bool is_json(maph_slice media_type) {
  static const char name[] = "application/json";
  const char *text = media_type.data;
  size_t size = sizeof name - 1;
  if (media_type.size < size || strncasecmp(text, name, size) != 0) return false;
  return media_type.size == size || text[size] == ';' || text[size] == ' ';
}

int kv_type_unsaid(maph_slice value, maph_slice media_type) {
  return is_json(media_type) ? MAPH_JSON : entry_type_of_bytes(value);
}

static int type_of(kv_header header, const void *message, maph_slice value, maph_slice media_type) {
  maph_slice said = header(message, "Maph-Type");
  char name[16];
  int type = -1;
  if (said.data && said.size < sizeof name) {
    memcpy(name, said.data, said.size);
    name[said.size] = 0;
    type = entry_type_from_name(name);
  }
  return type >= 0 ? type : kv_type_unsaid(value, media_type);
}

static bool is_marker(kv_header header, const void *message, maph_slice value) {
  maph_slice operation = header(message, "KV-Operation");
  if (is(operation, "DEL") || is(operation, "PURGE")) return true;
  return value.size == 0 && header(message, "Nats-Marker-Reason").data != NULL;
}

void kv_read(kv_header header, const void *message, maph_slice value, uint64_t time_ns,
             uint64_t max_age_ns, kv_entry *entry) {
  maph_slice media_type, expires, ttl;
  uint64_t ms;
  memset(entry, 0, sizeof *entry);
  if (is_marker(header, message, value)) {
    entry->deleted = true;
    return;
  }
  media_type = header(message, "Content-Type");
  if (media_type.data && entry_check_media_type(media_type) == NULL) entry->media_type = media_type;
  entry->type = type_of(header, message, value, entry->media_type);
  expires = header(message, "Maph-Expires");
  if (expires.data && json_whole_number(expires, UINT64_MAX, &ms)) ends_at(entry, ms);
  ttl = header(message, "Nats-TTL");
  if (ttl.data && kv_duration(ttl, &ms)) ends_at(entry, time_ns / 1000000 + ms);
  if (max_age_ns > 0) ends_at(entry, (time_ns + max_age_ns) / 1000000);
}

bool kv_gone(const kv_entry *entry, uint64_t now_ms) {
  return entry->deleted || (entry->expires != 0 && entry->expires <= now_ms);
}

const char *kv_check_media_type(const char *media_type) {
  const char *mistake = entry_check_media_type(maph_str(media_type));
  if (mistake) return mistake;
  if (*media_type == 0 || *media_type == ' ' || media_type[strlen(media_type) - 1] == ' ')
    return "a media type begins and ends with no blank";
  for (const char *p = media_type; *p; p++) {
    if (*p < ' ' || *p > '~') return "a media type is of printable ASCII, such as image/png";
  }
  return NULL;
}
