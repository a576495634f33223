/*
** bdz.h - the perfect hash that libcmph builds, and the search in it.
*/
#ifndef MAPH_BDZ_H
#define MAPH_BDZ_H

#include "file/frozen.h"
#include "index/builder.h"

extern const perfect_builder bdz_builder;

/* Is the data of a function for n keys one that bdz_find cannot be led astray by?  What it says of
** itself is taken over, once. */
int bdz_sound(const uint8_t *data, uint64_t size, uint64_t n, bdz *bdz);
/* a number, or n or more */
uint64_t bdz_find(const bdz *bdz, const uint8_t *data, uint64_t hash);

#endif
