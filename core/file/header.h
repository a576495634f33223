/*
** header.h - the header page as fields: identity, checkpoints.
*/
#ifndef MAPH_HEADER_H
#define MAPH_HEADER_H

#include "file/store.h"

/* static part checked and taken over.  FORMAT CORRUPT */
int header_read(store *s, const uint8_t *base, uint64_t size);
void header_place(store *s); /* where this process sees the file */
void header_make(header *h, const uint8_t uuid[16], uint64_t generation, uint64_t base_version);
/* before the file has its name */
void header_set_perfect(store *s, uint64_t offset, uint64_t size, int algorithm);
int header_sound(const header *h); /* does the static part's checksum fit? */
uint64_t header_salt(const header *h);
void header_checkpoint(store *s, const tip *t); /* all before t->end is on disk */
/* where the last one is far behind */
void header_checkpoint_if_due(store *s, const tip *t);
void header_poison(store *s);            /* a flush failed: nothing more may be written */
int header_say_poisoned(const store *s); /* IOERR, with the sentence */
int header_checkpoint_fits(const store *s, const checkpoint *c);
/* 1 found */
int header_best_checkpoint(const store *s, const header *h, checkpoint *best);

#endif
