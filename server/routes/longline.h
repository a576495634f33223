/*
** longline.h - a line of an import whose value does not fit into memory; used by transfer.c.
*/
#ifndef MAPH_ROUTES_LONGLINE_H
#define MAPH_ROUTES_LONGLINE_H

#include "entry/pieces.h"

typedef struct long_line long_line;

/* or NULL */
long_line *long_line_begin(const pieces_limits *limits, const entry_rules *rules);
/* The next bytes of the line, without its newline.  False: the file cannot be written, errno says
** why. */
bool long_line_take(long_line *line, const char *bytes, size_t size);
bool long_line_too_long(const long_line *line); /* known at its end at the latest */
/* Bytes of it that are in memory: all but the value, when that is a string. */
size_t long_line_memory(const long_line *line);
/* The line is complete.  False: the file failed, errno says why. */
bool long_line_end(long_line *line);
bool long_line_is_blank(const long_line *line);
/* What it says; the operation lasts until long_line_free.  False: *in has the mistake. */
bool long_line_read(long_line *line, arena *arena, entry_operation *operation, json_reader *in);
void long_line_free(long_line *line);

#endif
