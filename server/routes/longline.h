/*
** longline.h - a line of an import whose value does not fit into memory; used by transfer.c.
*/
#ifndef MAPH_ROUTES_LONGLINE_H
#define MAPH_ROUTES_LONGLINE_H

#include "routes/operation.h"

typedef struct long_line long_line;

/* NULL: no memory.  The most bytes of the value, and of the line without it */
long_line *long_line_begin(uint64_t value_most, uint64_t rest_most);
/* The next bytes of the line, without its newline.  False: the file cannot be written, errno says
** why. */
bool long_line_take(long_line *l, const char *bytes, size_t size);
bool long_line_too_long(const long_line *l); /* known at its end at the latest */
/* bytes of it that are in memory: all but the value, when that is a string */
size_t long_line_memory(const long_line *l);
/* The line is complete: *o is what it says, unless it is blank or *mistake says what is wrong.  The
** operation lasts until long_line_free.  False: the file failed. */
bool long_line_end(long_line *l, arena *a, operation *o, bool *blank, const char **mistake,
                   char *room, size_t room_size);
void long_line_free(long_line *l);

#endif
