/*
** outgoing.h - what an entry of a store is as a message of a bucket: its subject, its headers, its
** value.  It is what kv.h reads.
*/
#ifndef MAPH_NATS_OUTGOING_H
#define MAPH_NATS_OUTGOING_H

#include "nats/keys.h"
#include "nats/stream.h"

typedef struct outgoing_rules {
  const char *bucket;
  key_mode keys;
  uint64_t most; /* bytes that a message may have, with its headers */
} outgoing_rules;
/* Of a bucket, and of the server that takes the messages. */
void outgoing_rules_of(const char *bucket, const connection *connection, const stream_info *info,
                       outgoing_rules *rules);

enum { OUTGOING_HEADERS = 3, OUTGOING_MEDIA_TYPE = 256 };
typedef struct outgoing {
  char subject[KEYS_LINE + 16];
  stream_header headers[OUTGOING_HEADERS];
  int count;
  maph_slice data; /* the entry's value */
  char media_type[OUTGOING_MEDIA_TYPE], expires[24];
} outgoing;

typedef enum outgoing_rc {
  OUTGOING_OK,
  OUTGOING_VALUE, /* it is larger than a message; a delete of the key can be sent */
  OUTGOING_LONG,  /* the key is too long for a subject: there is nothing to be sent */
  OUTGOING_KEY    /* keys of this bucket are not of such bytes */
} outgoing_rc;
outgoing_rc outgoing_read(const outgoing_rules *rules, const maph_entry *entry, bool deleted,
                          outgoing *to);

/* The media type as it travels: one that no header can be does not. */
maph_slice outgoing_media_type(const maph_entry *entry, char room[OUTGOING_MEDIA_TYPE]);

#endif
