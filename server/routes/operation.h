/*
** operation.h - one get, put or delete written as JSON; shared by batch.c and transfer.c.
*/
#ifndef MAPH_ROUTES_OPERATION_H
#define MAPH_ROUTES_OPERATION_H

#include "base/json.h"
#include "http/request.h"

enum operation_kind { OPERATION_GET = 1, OPERATION_PUT, OPERATION_DELETE };
typedef struct operation {
  int kind;
  maph_slice key, value; /* in the JSON's text, or in the arena */
  bool binary, typed;    /* the value came as base64; its type was said */
  maph_condition condition;
} operation;

/* bytes decoded from JSON and base64, freed together */
typedef struct arena {
  struct block *first;
} arena;
void *arena_take(arena *a, size_t size); /* NULL: no memory */
void arena_free(arena *a);

/* Read the next operation.  kind 0: the member "op" says it; else that one, and members of an
** exported entry that mean nothing to a put are let pass.  NULL, or a sentence about what is wrong:
** in->mistake when it is not JSON. */
const char *operation_read(json_reader *in, int kind, arena *a, operation *o);
/* The same of a text that is one operation and nothing more.  A sentence about what is no JSON is
** made in room; *json: whether it is any. */
const char *operation_parse(maph_slice text, int kind, arena *a, operation *o, bool *json,
                            char *room, size_t room_size);
/* Whether the body may be JSON; false: 415 answered.  *lines: it is NDJSON. */
bool operation_media_type(request *r, bool *lines);
/* What is wrong with a text that is no JSON, and where. */
const char *reader_sentence(const json_reader *in, const char *start, char *room, size_t room_size);

#endif
