/*
** openings.h - which stores are being opened just now, and which could not be opened.
*/
#ifndef MAPH_STORE_OPENINGS_H
#define MAPH_STORE_OPENINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A store that somebody opens just now; it lies on that thread's stack. */
typedef struct opening {
  const char *name;
  size_t size;
  struct opening *next;
} opening;

void openings_setup(void);
/* When nobody else opens that store any more, we do.  False: that lasts longer than one may
** wait. */
bool opening_begin(opening *mine);
void opening_end(const opening *mine);
/* Note whether a name could be opened, or is not there any more. */
void opening_note(const char *name, size_t size, bool failed);
/* How many names lead to a file that could not be opened when that was tried last. */
uint64_t openings_failed(void);

#endif
