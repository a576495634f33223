/*
** apply.c - what a message of a bucket makes of a store (apply.h, kv.h).
*/
#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "entry/utf8.h"
#include "nats/apply.h"
#include "nats/kv.h"
#include "nats/replica.h"

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

bucket_rules bucket_rules_of(const stream_info *info) {
  bucket_rules rules = { .keys = info->escaped ? KEYS_ESCAPED : KEYS_PLAIN,
                         .max_age_ms = info->max_age_ns / 1000000 };
  return rules;
}

static maph_slice header_of(const void *m, const char *name) {
  const char *value = message_header((message *)m, name);
  return value ? maph_str(value) : maph_bytes(NULL, 0);
}

static bool read_key(const bucket_rules *rules, maph_slice form, change *to) {
  size_t size = 0;
  if (form.size == 0 || form.size > sizeof to->room) return false;
  if (!keys_decode(rules->keys, form, to->room, &size)) return false;
  to->key = maph_bytes(to->room, size);
  return true;
}

static bool read_message(const bucket_rules *rules, maph_slice form, kv_header header,
                         const void *message, maph_slice data, uint64_t time_ns, change *to) {
  kv_entry entry;
  to->deleted = false;
  to->value = data;
  memset(&to->how, 0, sizeof to->how);
  if (!read_key(rules, form, to)) return false;
  kv_read(header, message, data, time_ns, rules->max_age_ms * 1000000, &entry);
  to->deleted = entry.deleted || (entry.expires != 0 && kv_gone(&entry, now_ms()));
  to->how.key_type = utf8_is_text(to->key) ? MAPH_KEY_TEXT : MAPH_KEY_BLOB;
  to->how.expires = entry.expires;
  to->how.type = entry.type;
  to->how.media_type = entry.media_type;
  return true;
}

bool change_read(const bucket_rules *rules, const delivery *from, change *to) {
  return read_message(rules, from->key, header_of, from->message, message_data(from->message),
                      from->time_ns, to);
}

static maph_slice header_of_stored(const void *message, const char *name) {
  return stored_header(message, name);
}

bool change_read_stored(const bucket_rules *rules, const char *origin, const stored *from,
                        change *to) {
  char prefix[STREAM_NAME + 8];
  size_t size = (size_t)snprintf(prefix, sizeof prefix, "$KV.%s.", origin);
  const char *subject = from->subject.data;
  if (from->subject.size < size || memcmp(subject, prefix, size) != 0) return false;
  return read_message(rules, maph_bytes(subject + size, from->subject.size - size),
                      header_of_stored, from, from->data, from->time_ns, to);
}

static bool slices_equal(maph_slice a, maph_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool change_is(const change *change, const maph_entry *entry) {
  return slices_equal(change->value, entry->value) && change->how.type == entry->type
         && change->how.expires == entry->expires
         && slices_equal(change->how.media_type, entry->media_type);
}
