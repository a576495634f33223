/*
** sentence.h - the core's sentences as clients may read them.
*/
#ifndef MAPH_BASE_SENTENCE_H
#define MAPH_BASE_SENTENCE_H

#include <stdbool.h>
#include <stddef.h>

enum { SENTENCE_ROOM = 1024 };
void sentence_setup(void); /* after the options are read */
/* Without the folders' paths; whether it had one. */
bool sentence_public(char *out, size_t room, const char *sentence);

#endif
