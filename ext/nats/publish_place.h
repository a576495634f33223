/*
** publish_place.h - where in a store's feed a publisher goes on: what the bucket has of it.
**
** The bucket's last messages say it, and what they say is believed where the bucket has all that
** was sent, and it was sent from this file.  Else the bucket is compared with the store; and where
** the bucket is somebody else's, or ahead of the file, there is no place, and the publisher ends.
*/
#ifndef MAPH_NATS_PUBLISH_PLACE_H
#define MAPH_NATS_PUBLISH_PLACE_H

#include "nats/publish.h"

enum { PLACE_SUBJECT = KEYS_LINE + 300 }; /* bytes */

typedef struct place {
  bool compare;                /* the bucket with the store; else go on: */
  uint64_t version, skip;      /* behind that, and so many changes of the next transaction */
  char subject[PLACE_SUBJECT]; /* of the last of these */
} place;

typedef struct place_question {
  publisher *publisher; /* its store is open */
  connection *connection;
  const stream_info *info; /* of the bucket, now */
  const outgoing_rules *rules;
} place_question;

/* NOW: there is one. */
publishing place_find(const place_question *question, place *place);

#endif
