/*
** pieces.h - a line of an import that is too long for memory, read in pieces.
**
**     pieces *line = pieces_begin(&limits, &rules, put, file);
**     while (more of the line) pieces_take(line, bytes, size);
**     pieces_end(line);                         what was put in the file is the value's text
**     pieces_read(line, mapped, arena, &operation, &in);
*/
#ifndef MAPH_ENTRY_PIECES_H
#define MAPH_ENTRY_PIECES_H

#include "entry/entry.h"

typedef struct pieces pieces;

typedef struct pieces_limits {
  uint64_t value; /* the most bytes of the value */
  uint64_t rest;  /* of the line without it */
} pieces_limits;

/* `put` gets the value's text, piece by piece.  NULL: no memory. */
pieces *pieces_begin(const pieces_limits *limits, const entry_rules *rules, json_put put, void *to);
/* The next bytes of the line, without its LF.  False: put failed. */
bool pieces_take(pieces *line, const char *bytes, size_t size);
bool pieces_too_long(const pieces *line); /* known after pieces_read at the latest */
/* Bytes of it in memory: all but a value that is a string. */
size_t pieces_memory(const pieces *line);

/* The line is complete: put gets the last piece.  False: put failed. */
bool pieces_end(pieces *line);
uint64_t pieces_value_size(const pieces *line); /* of the text that put was given */
bool pieces_is_blank(const pieces *line);

/* What the line says, `text` being what put was given; base64 is decoded there.  The operation
** lasts until pieces_free, and as long as the text.  False: *in has the sentence about what is
** wrong. */
bool pieces_read(pieces *line, char *text, arena *arena, entry_operation *operation,
                 json_reader *in);
void pieces_free(pieces *line);

#endif
