/*
** apply.h - what a message of a bucket makes of a store.
*/
#ifndef MAPH_NATS_APPLY_H
#define MAPH_NATS_APPLY_H

#include "nats/keys.h"
#include "nats/consumer.h"
#include "nats/stored.h"

typedef struct bucket_rules {
  key_mode keys;
  uint64_t max_age_ms; /* of the bucket: each of its entries expires so long after it was put */
} bucket_rules;
bucket_rules bucket_rules_of(const stream_info *info);

/* A put or a delete.  Its slices lie in the message, or in the change itself. */
typedef struct change {
  maph_slice key, value;
  bool deleted;
  maph_condition how; /* of a put: types, media type, expiry */
  char room[KEYS_LINE + 256];
} change;

/* What it means.  An entry that is past its expiry is a delete.  False: a key that stands for none;
** it is to be left out. */
bool change_read(const bucket_rules *rules, const delivery *from, change *to);
/* The same of a message that was asked for, in a bucket whose subjects are those of `origin`. */
bool change_read_stored(const bucket_rules *rules, const char *origin, const stored *from,
                        change *to);
/* Is the entry what a put makes of its key? */
bool change_is(const change *change, const maph_entry *entry);

/* Which incarnation of a bucket, or of a part of it, a store is of: its uuid, the same on every
** machine. */
void bucket_identity(const char *bucket, const char *filter, const stream_info *info,
                     uint8_t uuid[16]);

#endif
