/*
** outgoing.c - what an entry of a store is as a message of a bucket (outgoing.h).
*/
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "entry/entry.h"
#include "nats/kv.h"
#include "nats/outgoing.h"
#include "nats/pipe.h"

/* What the publisher adds: the store, the transaction, the sequence before. */
enum { ADDED = 256 };

void outgoing_rules_of(const char *bucket, const connection *connection, const stream_info *info,
                       outgoing_rules *rules) {
  rules->bucket = bucket;
  rules->keys = info->escaped ? KEYS_ESCAPED : KEYS_PLAIN;
  rules->most = connection_server(connection)->max_payload;
  if (info->max_value >= 0 && (uint64_t)info->max_value < rules->most)
    rules->most = (uint64_t)info->max_value;
}

maph_slice outgoing_media_type(const maph_entry *entry, char room[OUTGOING_MEDIA_TYPE]) {
  maph_slice type = entry->media_type;
  if (type.size == 0 || type.size >= OUTGOING_MEDIA_TYPE || memchr(type.data, 0, type.size))
    return maph_bytes("", 0);
  memcpy(room, type.data, type.size);
  room[type.size] = 0;
  return kv_check_media_type(room) == NULL ? maph_bytes(room, type.size) : maph_bytes("", 0);
}

static void add(outgoing *to, const char *name, const char *value) {
  to->headers[to->count++] = (stream_header){ name, value };
}

static outgoing_rc form_subject(const outgoing_rules *rules, maph_slice key, outgoing *to) {
  maph_slice bucket = maph_str(rules->bucket);
  char form[KEYS_LINE];
  size_t size;
  if (keys_encode(rules->keys, bucket, key, form, &size) != NULL)
    return key.size > keys_longest(bucket) || rules->keys == KEYS_ESCAPED ? OUTGOING_LONG
                                                                          : OUTGOING_KEY;
  snprintf(to->subject, sizeof to->subject, "$KV.%s.%.*s", rules->bucket, (int)size, form);
  return OUTGOING_OK;
}

static void make_delete(outgoing *to) {
  to->count = 0;
  to->data = maph_bytes("", 0);
  add(to, "KV-Operation", "DEL");
}

outgoing_rc outgoing_read(const outgoing_rules *rules, const maph_entry *entry, bool deleted,
                          outgoing *to) {
  maph_slice media_type;
  outgoing_rc rc = form_subject(rules, entry->key, to);
  if (rc != OUTGOING_OK) return rc;
  make_delete(to);
  if (deleted) return OUTGOING_OK;
  to->count = 0;
  to->data = entry->value;
  media_type = outgoing_media_type(entry, to->media_type);
  if (media_type.size) add(to, "Content-Type", to->media_type);
  if (entry->type != kv_type_unsaid(entry->value, media_type))
    add(to, "Maph-Type", entry_type_name(entry->type));
  if (entry->expires) {
    snprintf(to->expires, sizeof to->expires, "%" PRIu64, entry->expires);
    add(to, "Maph-Expires", to->expires);
  }
  if (pipe_size(to->headers, to->count, to->data) + ADDED <= rules->most) return OUTGOING_OK;
  make_delete(to);
  return OUTGOING_VALUE;
}
