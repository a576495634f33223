/*
** header.h - the header page as fields: identity, checkpoints.
*/
#ifndef MAPH_HEADER_H
#define MAPH_HEADER_H

#include "file/store.h"

/* static part checked and taken over.  FORMAT CORRUPT */
int header_read(store *store, const uint8_t *base, uint64_t size);
/* What a new file is told of itself. */
typedef struct header_identity {
  const uint8_t *uuid; /* NULL: a random one */
  uint64_t generation, base_version;
  uint64_t shift; /* of versions: store_shift */
  int given;      /* versions are */
} header_identity;
/* a header of that, which the store takes over */
void header_make(store *store, header *header, const header_identity *identity);
/* What is added to its versions for their users. */
void header_set_shift(header *header, uint64_t shift);
/* before the file has its name */
void header_set_perfect(store *store, uint64_t offset, uint64_t size, int algorithm,
                        const short_form *form);
int header_sound(const header *header); /* does the static part's checksum fit? */
uint64_t header_salt(const header *header);
/* of a file that nobody else writes to: all up to store->last is visible */
void header_show(store *store);
void header_checkpoint(store *store, const tip *tip); /* all before tip->end is on disk */
/* The same of a file that is closed: from there to `spaces` lie pads and index pieces. */
void header_checkpoint_last(store *store, const tip *tip, uint64_t spaces);
/* where the last one is far behind */
void header_checkpoint_if_due(store *store, const tip *tip);
void header_poison(store *store);            /* a flush failed: nothing more may be written */
int header_say_poisoned(const store *store); /* IOERR, with the sentence */
int header_say_given(const store *store);    /* READONLY: who follows the source writes */
/* The life, between recoveries, in which the last transaction has that version. */
uint64_t header_life(const store *store, uint64_t version);
int header_checkpoint_fits(const store *store, const checkpoint *checkpoint);
/* What the checkpoints know of what lies behind the log, where that ends at `offset`. */
typedef struct header_tail {
  uint64_t spaces; /* up to where pads and index pieces lie: `offset` if nothing is known */
  int blank;       /* where the file is clean: whoever closed it left no record's head there */
} header_tail;
header_tail header_tail_at(const store *store, const header *header, uint64_t offset);
/* 1 found */
int header_best_checkpoint(const store *store, const header *header, checkpoint *best);

#endif
