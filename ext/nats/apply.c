/*
** apply.c - what a message of a bucket makes of a store (apply.h).
**
**     Content-Type     the media type; application/json makes the value JSON
**     Maph-Type        what SQL takes it for: blob, text, json, integer, real or null
**     Maph-Expires     milliseconds since 1970
**     Nats-TTL         seconds, or 1h30m: how long the server keeps it (from nats-server 2.11)
**     KV-Operation     DEL, PURGE
**     Nats-Marker-Reason   the server deleted the key (from 2.11)
*/
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "entry/entry.h"
#include "entry/utf8.h"
#include "nats/apply.h"

void bucket_identity(const char *bucket, const char *filter, const stream_info *info,
                     uint8_t uuid[16]) {
  char text[STREAM_NAME + 1024];
  XXH128_canonical_t id;
  int size =
      snprintf(text, sizeof text, "maph-replica%cKV_%s%c%s%c%.700s%c%s", 0, bucket, 0,
               info->created, 0, filter ? filter : "", 0, info->escaped ? "escaped" : "plain");
  XXH128_canonicalFromHash(&id, XXH3_128bits(text, (size_t)size));
  memcpy(uuid, id.digest, 16);
}

enum { MEDIA_TYPE_MOST = 255 };
#define TIME_MOST (UINT64_C(1) << 62)

static bool is_delete(message *m, maph_slice data) {
  const char *operation = message_header(m, "KV-Operation");
  if (operation && (strcmp(operation, "DEL") == 0 || strcmp(operation, "PURGE") == 0)) return true;
  return data.size == 0 && message_header(m, "Nats-Marker-Reason") != NULL;
}

static int type_of(message *m, maph_slice data, maph_slice media_type) {
  const char *said = message_header(m, "Maph-Type");
  int type = said ? entry_type_from_name(said) : -1;
  if (type >= 0) return type;
  if (media_type.size == 16 && memcmp(media_type.data, "application/json", 16) == 0)
    return MAPH_JSON;
  return entry_type_of_bytes(data);
}

/* 90, 90s, 1h30m, 1.5s as milliseconds; 0: it is none of these. */
static uint64_t ttl_ms(const char *text) {
  double all = 0;
  while (*text) {
    double number = 0, unit = 0.1, scale = 1000;
    if (!isdigit((unsigned char)*text)) return 0;
    for (; isdigit((unsigned char)*text); text++) number = number * 10 + (*text - '0');
    if (*text == '.')
      for (text++; isdigit((unsigned char)*text); text++, unit /= 10)
        number += unit * (*text - '0');
    if (text[0] == 'm' && text[1] == 's')
      scale = 1, text++;
    else if (*text == 'h')
      scale = 36e5;
    else if (*text == 'm')
      scale = 6e4;
    else if (*text != 's' && *text != 0)
      return 0;
    all += number * scale;
    if (*text) text++;
  }
  return all < 1e17 ? (uint64_t)all : 0;
}

static uint64_t earlier(uint64_t a, uint64_t b) { return b != 0 && (a == 0 || b < a) ? b : a; }

static uint64_t expiry_of(const bucket_rules *rules, message *m, uint64_t time_ms) {
  const char *at = message_header(m, "Maph-Expires"), *ttl = message_header(m, "Nats-TTL");
  uint64_t expires = rules->max_age_ms ? time_ms + rules->max_age_ms : 0, said;
  if (at && json_whole_number(maph_str(at), TIME_MOST, &said)) expires = earlier(expires, said);
  if (ttl && (said = ttl_ms(ttl)) != 0) expires = earlier(expires, time_ms + said);
  return expires;
}

static bool read_key(const bucket_rules *rules, maph_slice form, change *to) {
  size_t size = 0;
  if (form.size == 0 || form.size > sizeof to->room) return false;
  if (!keys_decode(rules->keys, form, to->room, &size)) return false;
  to->key = maph_bytes(to->room, size);
  return true;
}

bool change_read(const bucket_rules *rules, const delivery *from, uint64_t now_ms, change *to) {
  maph_slice data = message_data(from->message);
  const char *media_type;
  to->deleted = false;
  to->value = data;
  memset(&to->how, 0, sizeof to->how);
  if (!read_key(rules, from->key, to)) return false;
  to->how.key_type = utf8_is_text(to->key) ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
  to->how.expires = expiry_of(rules, from->message, from->time_ns / 1000000);
  to->deleted =
      is_delete(from->message, data) || (to->how.expires != 0 && to->how.expires <= now_ms);
  if (to->deleted) return true;
  media_type = message_header(from->message, "Content-Type");
  if (media_type && strlen(media_type) <= MEDIA_TYPE_MOST)
    to->how.media_type = maph_str(media_type);
  to->how.type = type_of(from->message, data, to->how.media_type);
  return true;
}
