/*
** shown.h - bytes that somebody else chose, as a person may be shown them.
**
** What would command a terminal (utf8_is_control) and what is no UTF-8 is written \t \n \r or \xHH;
** the rest stands as it is.
*/
#ifndef MAPH_ENTRY_SHOWN_H
#define MAPH_ENTRY_SHOWN_H

#include <stdbool.h>
#include <stddef.h>
#include "maph.h"

typedef enum shown_form {
  SHOWN_LINES,    /* line ends and tabs stay */
  SHOWN_SENTENCE, /* one line */
  SHOWN_EXACT     /* one line that can be read back: backslashes, and a byte order mark at the
                     beginning, are escaped too */
} shown_form;

/* Takes SIZE bytes more; false: it cannot, and no more are brought. */
typedef bool (*shown_put)(void *to, const void *bytes, size_t size);
bool shown_write(maph_slice bytes, shown_form form, shown_put put, void *to);

/* The same into ROOM, of four times their size.  Returns how many bytes were written. */
size_t shown_text(maph_slice bytes, shown_form form, char *room);

#endif
