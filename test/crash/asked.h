/*
** asked.h - what clients asked of a server in this life, and what it answered.
**
** asked.c asks and notes; judged.c holds it against what the store has afterwards.
*/
#ifndef MAPH_CRASH_ASKED_H
#define MAPH_CRASH_ASKED_H

#include "http.h"

enum {
  SHARED = CLIENTS_MAX,
  SHARED_KEYS = 24,
  OWN_MAX = 60,
  REQUESTS_MAX = 20000,
  TARGETS_MAX = 400000,
  VALUE_MOST = 24000,
  TRANSACTION_MAX = 1200,
  CONTENT_ROOM = 1 << 16,
  MANY_LINES = 1100,
  IMPORTERS = 4
};
enum what { PUT, DELETE, BATCH, IMPORT, GET, SYNC, MAKE, FILL, REMOVE };

typedef struct target {
  uint32_t owner, number, size;
  int deletes;
} target;
typedef struct request {
  enum what what;
  int client, durability, status, promised;
  uint32_t first, n; /* its targets */
  uint64_t sent_at, answered_at, version, if_version;
  int if_absent;
  uint32_t found; /* targets seen in the store being judged */
} request;

/* What a store holds: keys found by hashing, a digest of each value; version 0: nothing. */
typedef struct held {
  char key[40];
  uint64_t digest, version;
} held;
typedef struct content {
  held at[CONTENT_ROOM];
  uint64_t since;
} content;

/* A store that a client made. */
typedef struct extra {
  enum { NO_STORE, MAKING, MADE, FILLING, FILLED, REMOVING, REMOVED, STORE_UNSURE } state;
  uint32_t number;
} extra;

typedef struct life_so_far {
  uint32_t number; /* of this life */
  int power;       /* it ends with a power cut */
  uint32_t request_count, first_id;
  request requests[REQUESTS_MAX];
  target targets[TARGETS_MAX];
  extra extras[CLIENTS_MAX];
  /* the highest that anybody was told; and was when this life began */
  uint64_t top_version, floor_version;
  content base; /* what the store held then */
} life_so_far;
extern life_so_far life;

const char *key_of(const target *target);
held *held_of(content *content, const char *key);
/* Which request put this value, and is it all there?  The request, or NULL with a trouble told. */
request *request_of(maph_slice key, maph_slice value, uint32_t *index);
int is_write(const request *request);
int succeeded(const request *request);
void note_version(uint64_t version);

#endif
