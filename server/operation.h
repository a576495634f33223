/*
** operation.h - one get, put or delete written as JSON; shared by batch.c and transfer.c.
*/
#ifndef MAPH_OPERATION_H
#define MAPH_OPERATION_H

#include <jansson.h>
#include "server.h"

enum operation_kind { OPERATION_GET = 1, OPERATION_PUT, OPERATION_DELETE };
typedef struct operation {
  int            kind;
  maph_slice     key, value;          /* in the JSON, or in the arena */
  maph_condition condition;
} operation;

typedef struct arena { struct block *first; } arena;    /* bytes decoded from base64, freed together */
void arena_free(arena *a);

/* kind 0: the member "op" says it; else that one, and members of an exported entry that mean nothing to a put are let pass.
** NULL, or a sentence about what is wrong. */
const char *operation_parse(const json_t *json, int kind, arena *a, operation *o);
/* Whether the body may be JSON; false: 415 answered.  *lines: it is NDJSON. */
bool operation_media_type(request *r, bool *lines);
/* Parse one JSON text within the depth that a worker's stack bears; NULL with *mistake set. */
json_t *operation_json(const char *text, size_t size, const char **mistake, char *room, size_t room_size);

#endif
