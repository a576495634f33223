/*
** kv.h - what a message of a bucket says of its key: there or not, of which type, until when.
**
**   KV-Operation: DEL or PURGE     the key is not there
**   Nats-Marker-Reason             and no value: the same, by the server itself (since 2.11)
**   Content-Type: TYPE             the media type; application/json makes the type json
**   Maph-Type: TYPE                blob, text, json, integer, real or null
**   Maph-Expires: MILLISECONDS     since 1970
**   Nats-TTL: DURATION             from the message's time on (since 2.11), as 90, 90s or 1h30m
**
** Without a type it is text where it is UTF-8, else a blob.  Of several ends the first counts, with
** that of the bucket, whose entries live for max_age_ns.  A header that says nothing sensible, or a
** media type longer than a store takes, says nothing.
*/
#ifndef MAPH_NATS_KV_H
#define MAPH_NATS_KV_H

#include <stdbool.h>
#include <stdint.h>
#include "maph.h"

/* A header of a message; data NULL: it has none of that name. */
typedef maph_slice (*kv_header)(const void *message, const char *name);

typedef struct kv_entry {
  bool deleted;          /* and nothing else is said then */
  int type;              /* MAPH_TEXT ... */
  maph_slice media_type; /* size 0: none; lies in the message */
  uint64_t expires;      /* ms since 1970; 0: never */
} kv_entry;

void kv_read(kv_header header, const void *message, maph_slice value, uint64_t time_ns,
             uint64_t max_age_ns, kv_entry *entry);
/* Is the key not there: deleted, or over at that time? */
bool kv_gone(const kv_entry *entry, uint64_t now_ms);

/* The type that a message has whose header says none. */
int kv_type_unsaid(maph_slice value, maph_slice media_type);
/* NULL, or what is wrong with a media type that is to be a header. */
const char *kv_check_media_type(const char *media_type);
/* Go's form of a duration, or whole seconds.  False: neither, or "never". */
bool kv_duration(maph_slice text, uint64_t *ms);

#endif
